/* api_receive.c - attaching, receiving, settling. */
#include "base/errors.h"
#include "base/limits.h"
#include "client/client.h"
#include "client/processed.h"
#include "crypto/hash.h"
#include "os/clock.h"
#include <assert.h>
#include <errno.h>
#include <unistd.h>

#define WRITE_AT (64u << 10) /* so many bytes of acks come together before they are written */

/* ---- attaching --------------------------------------------------------------------------- */

static int attach_failed(const char *agent, int error, const char *detail)
{
    return ali_client_fail(error, "cannot receive for '%.130s': %s", agent ? agent : "",
                           detail && *detail ? detail : al_error_text(error));
}

/* Is there anything to wait for? Another thread may detach, or attach anew, meanwhile. */
static bool is_pending(const struct ali_attach *attach)
{
    return attach && attach->state != ALI_ATTACH_DONE && attach->state != ALI_ATTACH_ENDED;
}

/* With the lock: waits for the node's answer. */
static int await_attached(struct al_client *client, const char *agent, uint32_t serial)
{
    uint64_t deadline = ali_deadline_ns(client->request_timeout_ms);
    struct ali_attach *attach;
    int r;

    ali_client_io(client, false);
    while (is_pending(attach = ali_attach_serial(client->session, serial)) &&
           al_clock_mono_ns() < deadline)
        ali_client_wait(client, deadline);
    if (!attach)
        return attach_failed(agent, -AL_E_NOT_ATTACHED, "it was detached by another thread");
    if (attach->state == ALI_ATTACH_DONE)
        return 0;
    if (attach->error) /* ENDED, or tried again until the caller's time was over */
        r = attach_failed(agent, attach->error, attach->detail);
    else if (client->session->link == ALI_LINK_UP)
        r = attach_failed(agent, -AL_E_TIMEOUT, "the node did not answer in time");
    else
        r = attach_failed(agent, -AL_E_UNREACHABLE, client->connect_detail);
    ali_attach_free(client->session, attach, -AL_E_NOT_ATTACHED);
    return r;
}

static int attach(struct al_client *client, const char *agent,
                  const struct al_attach_options *options, al_handler_fn *fn, void *ctx)
{
    struct ali_attach *one = NULL;
    int r;

    ali_client_lock(client);
    r = ali_keeper_start(client);
    if (r >= 0)
        r = ali_csession_attach(client->session, agent, options, fn == NULL, &one);
    if (r < 0) {
        attach_failed(agent, r,
                      r == -AL_E_EXISTS    ? "this client receives for it already"
                      : r == -AL_E_INVALID ? "credit, credit_bytes or lease_ms is beyond "
                                             "its limit"
                                           : NULL);
    } else {
        assert(one);
        one->handler = fn;
        one->handler_ctx = ctx;
        r = await_attached(client, agent, one->serial);
    }
    ali_client_unlock(client);
    return r;
}

int al_attach(struct al_client *client, const char *agent, const struct al_attach_options *options)
{
    return attach(client, agent, options, NULL, NULL);
}

int al_handle(struct al_client *client, const char *agent, const struct al_attach_options *options,
              al_handler_fn *fn, void *ctx)
{
    if (!fn)
        return attach_failed(agent, -AL_E_INVALID, "there is no handler");
    return attach(client, agent, options, fn, ctx);
}

int al_set_credit(struct al_client *client, const char *agent, uint32_t credit,
                  uint32_t credit_bytes)
{
    int r = -AL_E_NOT_ATTACHED;

    ali_client_lock(client);
    if (agent)
        r = ali_csession_credit(client->session, agent, credit, credit_bytes);
    ali_client_unlock(client);
    return r < 0 ? attach_failed(agent, r,
                                 r == -AL_E_INVALID ? "credit or credit_bytes is beyond its limit"
                                                    : NULL)
                 : 0;
}

int al_detach(struct al_client *client, const char *agent, bool keep_leases)
{
    int r = -AL_E_NOT_ATTACHED;

    ali_client_lock(client);
    if (agent)
        r = ali_csession_detach(client->session, agent, keep_leases);
    ali_client_flush(client);
    ali_client_unlock(client);
    return r < 0
               ? ali_client_fail(r, "this client does not receive for '%.130s'", agent ? agent : "")
               : 0;
}

/* ---- receiving --------------------------------------------------------------------------- */

/* 0 if some agent is received by al_receive(), otherwise why none is. */
static int check_attached(const struct al_client *client)
{
    const struct ali_attach *one;
    int error = -AL_E_NOT_ATTACHED;

    for (one = client->session->attaches; one; one = one->next) {
        if (one->pull && one->state != ALI_ATTACH_ENDED)
            return 0;
        if (one->pull)
            error = one->error;
    }
    for (one = client->session->attaches; one; one = one->next) {
        if (one->pull)
            return ali_client_fail(error, "'%.130s' is not received any more: %s", one->agent,
                                   *one->detail ? one->detail : al_error_text(error));
    }
    return ali_client_fail(error, "this client receives for no agent; call al_attach() first");
}

int al_receive(struct al_client *client, int timeout_ms, struct al_delivery **ret_delivery)
{
    uint64_t deadline = ali_deadline_ns(timeout_ms);
    struct ali_delivery *delivery;
    bool looked = false;
    int r = 0;

    ali_client_lock(client);
    for (;;) {
        delivery = ali_csession_take(client->session, ALI_READY_PULL, al_clock_now());
        if (delivery && ali_client_answers(client, delivery))
            continue;
        if (delivery)
            break;
        if (!looked) { /* what is in the socket has come in time, also for a timeout of 0 */
            ali_client_io(client, ali_client_may_read(client));
            looked = true;
            continue;
        }
        r = check_attached(client);
        if (r < 0)
            break;
        if (ali_client_take_stop(client)) {
            r = ali_client_failed(-AL_E_CANCELLED, "al_client_stop() was called");
            break;
        }
        if (al_clock_mono_ns() >= deadline) {
            r = ali_client_failed(-AL_E_TIMEOUT, "no message came in time");
            break;
        }
        ali_client_wait(client, deadline);
    }
    ali_client_unlock(client);
    if (delivery)
        *ret_delivery = &delivery->pub;
    return r;
}

void al_client_stop(struct al_client *client)
{
    int saved = errno; /* for signal handlers */
    uint64_t one = 1;

    atomic_store(&client->stop, true);
    (void)!write(client->event_fd, &one, sizeof(one));
    errno = saved;
}

/* ---- settling ---------------------------------------------------------------------------- */

static struct ali_delivery *whole(struct al_delivery *delivery)
{
    return (struct ali_delivery *)(void *)delivery; /* its first member */
}

static int settle_failed(const struct al_delivery *delivery, int error)
{
    return ali_client_fail(error, "stream %u, sequence %llu of '%.130s': %s", delivery->stream,
                           (unsigned long long)delivery->seq, delivery->agent,
                           al_error_text(error));
}

/* With the lock: writes now, unless the program has more to do first: then acks come together. */
static void settled(struct al_client *client)
{
    const struct ali_csession *session = client->session;

    if (ali_csession_output(session).n >= WRITE_AT ||
        (!ali_csession_is_ready(session, ALI_READY_PULL) &&
         !ali_csession_is_ready(session, ALI_READY_HANDLER)))
        ali_client_flush(client);
}

/* The store in which what is done of this delivery is to stand, NULL: none. */
static struct al_processed *store_of(const struct ali_delivery *delivery)
{
    return delivery->stream && delivery->pub.seq ? delivery->stream->attach->options.processed
                                                 : NULL;
}

/* Under which id it stands there. A group's message comes to each member under the same one. */
static struct al_message_id store_id(const struct ali_delivery *delivery)
{
    const struct al_delivery *pub = &delivery->pub;
    struct al_str parts[2] = {al_str_c(pub->agent), al_str_of(pub->message.id.bytes, 16)};
    struct al_message_id id = pub->message.id;

    if (pub->group)
        al_digest128(parts, 2, id.bytes);
    return id;
}

bool ali_client_answers(struct al_client *client, struct ali_delivery *delivery)
{
    struct al_processed *store = store_of(delivery);
    struct ali_processed_answer *answer;
    struct al_message_id id;
    int found, r;

    if (!store)
        return false;
    id = store_id(delivery);
    found = ali_processed_find(store, &id, &answer);
    if (found == 0)
        return false;
    if (found < 0) { /* not known: better later than twice */
        r = ali_csession_nack(client->session, delivery, 0, "the processed-store cannot be read",
                              al_clock_now());
    } else {
        r = ali_csession_ack(client->session, delivery, &answer->options, al_clock_now());
        client->session->stats.suppressed++;
        ali_processed_answer_free(answer);
    }
    if (r < 0)
        ali_csession_drop(client->session, delivery);
    else
        settled(client);
    return true;
}

static int ack(struct al_client *client, struct ali_delivery *delivery,
               const struct al_ack_options *options)
{
    struct al_processed *store = store_of(delivery);
    struct al_message_id id;
    int r = 0;

    if (store && !(options && options->status == AL_ACK_FAILED)) {
        r = ali_csession_check_ack(client->session, delivery, options);
        if (r < 0)
            return r;
        id = store_id(delivery);
        ali_client_unlock(client); /* it waits for the disk */
        r = ali_processed_put(store, &id, options);
        ali_client_lock(client);
    }
    return r < 0 ? r : ali_csession_ack(client->session, delivery, options, al_clock_now());
}

int ali_client_ack(struct al_client *client, struct ali_delivery *delivery,
                   const struct al_ack_options *options)
{
    struct al_ack_options wrapped;
    struct al_buf buf;
    int r;

    if (!delivery->part_count || (options && options->status == AL_ACK_FAILED))
        return ack(client, delivery, options);
    al_buf_init(&buf, &client->alloc);
    r = ali_parts_wrap(delivery, options, &buf, &wrapped);
    if (r >= 0)
        r = ack(client, delivery, &wrapped);
    al_buf_deinit(&buf);
    return r;
}

int al_delivery_part(struct al_delivery *delivery, const void *data, size_t size)
{
    struct al_client *client = whole(delivery)->client;
    int r;

    ali_client_lock(client);
    r = data && size <= UINT32_MAX
            ? ali_csession_part(client->session, whole(delivery), al_str_of(data, (uint32_t)size),
                                al_clock_now())
            : -AL_E_INVALID;
    if (r == -AL_E_UNSUPPORTED)
        ali_client_fail(r, "'%.130s' did not ask for a reply in parts", delivery->message.from);
    else if (r < 0)
        settle_failed(delivery, r);
    else
        ali_client_flush(client);
    ali_client_unlock(client);
    return r;
}

int al_ack(struct al_delivery *delivery, const struct al_ack_options *options)
{
    struct al_client *client = whole(delivery)->client;
    int r;

    ali_client_lock(client);
    r = ali_client_ack(client, whole(delivery), options);
    if (r < 0)
        settle_failed(delivery, r);
    else
        settled(client);
    ali_client_unlock(client);
    return r;
}

int al_nack(struct al_delivery *delivery, uint32_t retry_after_ms, const char *reason)
{
    struct al_client *client = whole(delivery)->client;
    int r;

    ali_client_lock(client);
    r = ali_csession_nack(client->session, whole(delivery), retry_after_ms, reason, al_clock_now());
    if (r < 0)
        settle_failed(delivery, r);
    else
        settled(client);
    ali_client_unlock(client);
    return r;
}

static int extend(struct al_delivery *delivery, uint32_t lease_ms, uint32_t retrying)
{
    struct al_client *client = whole(delivery)->client;
    int r;

    ali_client_lock(client);
    r = ali_csession_extend(client->session, whole(delivery), lease_ms, retrying, al_clock_now());
    if (r < 0)
        settle_failed(delivery, r);
    else
        ali_client_flush(client);
    ali_client_unlock(client);
    return r;
}

int al_extend(struct al_delivery *delivery, uint32_t lease_ms)
{
    return extend(delivery, lease_ms, 0);
}

int al_retrying(struct al_delivery *delivery, uint32_t attempt)
{
    if (attempt == 0)
        return settle_failed(delivery, -AL_E_INVALID);
    return extend(delivery, 0, attempt);
}

void al_delivery_drop(struct al_delivery *delivery)
{
    struct al_client *client;

    if (!delivery)
        return;
    client = whole(delivery)->client;
    ali_client_lock(client);
    if (whole(delivery)->commit && ali_commit_is_under_way(whole(delivery)->commit))
        whole(delivery)->let_go = true; /* its answer decides */
    else if (whole(delivery)->in_handler)
        whole(delivery)->dropped = true; /* when the handler returns */
    else
        ali_csession_drop(client->session, whole(delivery));
    ali_client_unlock(client);
}

bool al_delivery_is_lost(const struct al_delivery *delivery)
{
    const struct ali_delivery *one = (const struct ali_delivery *)(const void *)delivery;
    struct al_client *client = one->client;
    bool lost;

    ali_client_lock(client);
    lost = one->lost || (!one->stream && !one->settled);
    ali_client_unlock(client);
    return lost;
}
