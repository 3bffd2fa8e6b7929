/* ask.c - asking the node and waiting for the answer; reading attempt logs. */
#include "client/ask.h"
#include "base/errors.h"
#include "base/limits.h"
#include "os/clock.h"

void ali_ask_begin(struct ali_ask *ask, struct al_client *client, bool changes)
{
    memset(ask, 0, sizeof(*ask));
    ask->client = client;
    ali_request_init(&ask->request, &client->alloc);
    ask->request.changes = changes;
}

uint32_t ali_ask_number(struct ali_ask *ask)
{
    ali_client_lock(ask->client);
    ask->request.number = ali_csession_number(ask->client->session);
    ali_client_unlock(ask->client);
    return ask->request.number;
}

/* With the lock: nothing came in time. */
static int too_late(struct ali_ask *ask)
{
    struct al_client *client = ask->client;

    ali_csession_unask(client->session, &ask->request);
    if (ask->request.changes && ask->request.written)
        return ali_client_fail(-AL_E_UNKNOWN_OUTCOME, "the node did not answer in time: the change "
                                                      "may or may not have been made");
    if (client->session->link == ALI_LINK_UP)
        return ali_client_fail(-AL_E_TIMEOUT, "the node did not answer in time");
    return ali_client_failed(-AL_E_UNREACHABLE, client->connect_detail);
}

static int ask_locked(struct ali_ask *ask)
{
    struct al_client *client = ask->client;
    uint64_t deadline = ali_deadline_ns(client->request_timeout_ms);
    int r = ali_csession_ask(client->session, &ask->request);

    if (r < 0)
        return ali_client_failed(r, NULL);
    ali_client_io(client, false);
    while (!ask->request.done && al_clock_mono_ns() < deadline)
        ali_client_wait(client, deadline);
    if (!ask->request.done)
        return too_late(ask);
    if (ask->request.error < 0)
        return ali_client_failed(ask->request.error, ask->request.detail);
    return 0;
}

int ali_ask_end(struct ali_ask *ask, int put)
{
    int r;

    if (put < 0)
        return ali_client_failed(put, NULL);
    ali_client_lock(ask->client);
    r = ask_locked(ask);
    ali_client_unlock(ask->client);
    return r;
}

bool ali_ask_row(struct ali_ask *ask, unsigned type, struct al_frame *ret_frame)
{
    const struct al_buf *rows = &ask->request.rows;
    int64_t n;

    if (ask->at == rows->size)
        return false;
    n = al_frame_next(al_str_of(rows->data + ask->at, rows->size - ask->at), AL_FRAME_MAX,
                      ret_frame);
    if (n <= 0 || ret_frame->type != type)
        return false;
    ask->at += (size_t)n;
    ask->rows++;
    return true;
}

void ali_ask_deinit(struct ali_ask *ask)
{
    ali_request_deinit(&ask->request);
}

/* ---- attempts ---------------------------------------------------------------------------- */

/* Steps through a log: 1 and an attempt, 0 at the end, -AL_E_PROTOCOL. */
static int attempt_next(struct al_str *log, struct al_msg_attempt *ret_attempt)
{
    uint32_t n;

    if (log->n == 0)
        return 0;
    if (log->n < 2 || log->n - 2 < al_get16(log->p))
        return -AL_E_PROTOCOL;
    n = al_get16(log->p);
    if (al_decode_attempt(al_str_of(log->p + 2, n), ret_attempt) < 0)
        return -AL_E_PROTOCOL;
    *log = al_str_of(log->p + 2 + n, log->n - 2 - n);
    return 1;
}

int ali_attempts_measure(struct al_str log, size_t *ret_count, size_t *ret_text_size)
{
    struct al_msg_attempt attempt;
    size_t count = 0, text_size = 0;
    int r;

    while ((r = attempt_next(&log, &attempt)) == 1) {
        count++;
        text_size += attempt.reason.n + 1;
    }
    if (r < 0)
        return r;
    *ret_count = count;
    *ret_text_size = text_size;
    return 0;
}

void ali_attempts_fill(struct al_str log, struct al_attempt *attempts, uint8_t **room)
{
    struct al_msg_attempt attempt;
    size_t i;

    for (i = 0; attempt_next(&log, &attempt) == 1; i++) {
        attempts[i] = (struct al_attempt){.attempt = attempt.attempt,
                                          .error = attempt.code,
                                          .at_ms = attempt.at_ms,
                                          .reason = ali_text_copy(room, attempt.reason)};
    }
}
