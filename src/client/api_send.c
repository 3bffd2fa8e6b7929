/* api_send.c - sending: al_send() and its relatives. */
#include "base/errors.h"
#include "base/text.h"
#include "client/client.h"
#include "os/clock.h"
#include <assert.h>

#define WRITE_AT (64u << 10) /* so much comes together before an asynchronous send writes */

/* ---- what is wrong with a message -------------------------------------------------------- */

static int explain_name(int error, const char *what, const char *name)
{
    return ali_client_fail(error,
                           "'%.130s' in `%s` is not a name: [namespace/]name, each part 1 to "
                           "64 of a-z 0-9 . _ -",
                           name ? name : "", what);
}

/* Says in words why this message cannot be sent. */
static int explain(const struct al_client *client, const struct al_message *message, int error)
{
    const struct ali_csession *session = client->session;
    const struct ali_csession_config *config = &session->config;

    switch (-error) {
    case AL_E_BAD_NAME:
        if (!al_name_is_valid(al_str_c(message->from)))
            return explain_name(error, "from", message->from);
        if (!ali_recipient_is_valid(al_str_c(message->to)))
            return explain_name(error, "to", message->to);
        return explain_name(error, "reply_to", message->reply_to);
    case AL_E_TOO_LARGE:
        if (message->payload_size > session->payload_max)
            return ali_client_fail(error, "the payload has %zu bytes; this node takes at most %u",
                                   message->payload_size, session->payload_max);
        return ali_client_fail(error,
                               "the headers or the identifiers of the message are longer "
                               "than %d bytes together",
                               AL_MESSAGE_HEADERS_MAX);
    case AL_E_INVALID:
        return ali_client_failed(error, ali_message_flaw(message));
    case AL_E_BUSY:
        if (session->unreceipted < config->window && session->end_count)
            return ali_client_fail(error,
                                   "%u ends wait to be taken by al_end_next() or a "
                                   "callback, or the outbox is full (%zu of %zu bytes)",
                                   session->end_count, session->outbox_bytes, config->outbox_bytes);
        return ali_client_fail(error,
                               "%u sends are without a receipt (window %u, %zu of %zu "
                               "bytes); dispatch and try again",
                               session->unreceipted, config->window, session->outbox_bytes,
                               config->outbox_bytes);
    case AL_E_STREAM_HELD:
        return ali_client_fail(error,
                               "an earlier message of this stream to '%.130s' was refused; "
                               "send it again after al_stream_resume()",
                               message->to ? message->to : "");
    default:
        return ali_client_failed(error, NULL);
    }
}

/* ---- receipts ---------------------------------------------------------------------------- */

struct al_receipt ali_send_receipt(const struct ali_out *out)
{
    return (struct al_receipt){.id = out->id,
                               .stream = out->stream,
                               .seq = out->seq,
                               .durability = (enum al_durability_class)out->durability,
                               .duplicate = out->duplicate};
}

static int refused(const struct ali_out *out, const char *to)
{
    const char *text = out->detail && *out->detail ? out->detail : al_error_text(out->error);

    return ali_client_fail(out->error, "to '%.130s': %s", to, text);
}

/* No answer came in time. Takes the message back if that is still possible. */
static int gave_up(struct al_client *client, struct ali_out *out, const char *to)
{
    bool connected = client->session->link == ALI_LINK_UP;

    if (!ali_csession_withdraw(client->session, out)) {
        out->waiter = NULL;
        if (out->answered && out->error < 0) /* refused behind one that has no answer yet */
            return refused(out, to);
        return ali_client_fail(-AL_E_UNKNOWN_OUTCOME,
                               "no receipt came in time: the message may or may not have been "
                               "taken; send it again with the same id or key to be sure");
    }
    if (!connected)
        return ali_client_fail(-AL_E_UNREACHABLE, "not sent: %s",
                               client->connect_detail[0] ? client->connect_detail
                                                         : "there is no connection to the node");
    return ali_client_fail(-AL_E_TIMEOUT, "not sent: the node did not open the stream in time");
}

int ali_send_queue(struct al_client *client, struct ali_send *send, uint64_t deadline,
                   struct ali_out **ret_out)
{
    int r = ali_client_random(client, send->fresh.b);

    if (r < 0)
        return ali_client_failed(r, NULL);
    send->fresh = al_id_from_random(send->fresh.b);
    for (;;) {
        r = ali_csession_send(client->session, send, al_clock_now(), ret_out);
        if (r != -AL_E_BUSY || al_clock_mono_ns() >= deadline)
            break;
        ali_client_flush(client);
        ali_client_wait(client, deadline);
    }
    return r < 0 ? explain(client, send->message, r) : 0;
}

/* With the lock: sends and waits for the receipt. */
static int send_locked(struct al_client *client, const struct al_message *message,
                       uint64_t deadline, struct al_receipt *ret_receipt)
{
    bool done = false;
    struct ali_send send = {.message = message, .waiter = &done};
    struct ali_out *out = NULL;
    int r;

    r = ali_send_queue(client, &send, deadline, &out);
    if (r < 0)
        return r;
    ali_client_flush(client);
    while (!done && al_clock_mono_ns() < deadline)
        ali_client_wait(client, deadline);
    assert(out);
    if (!done)
        return gave_up(client, out, message->to);
    if (out->error < 0)
        r = refused(out, message->to);
    else
        *ret_receipt = ali_send_receipt(out);
    ali_out_free(client->session, out);
    return r;
}

int al_send(struct al_client *client, const struct al_message *message, int timeout_ms,
            struct al_receipt *ret_receipt)
{
    struct al_receipt receipt;
    int r;

    ali_client_lock(client);
    r = send_locked(client, message, ali_deadline_ns(timeout_ms), &receipt);
    ali_client_unlock(client);
    if (r >= 0 && ret_receipt)
        *ret_receipt = receipt;
    return r;
}

int al_send_async(struct al_client *client, const struct al_message *message, al_receipt_fn *fn,
                  void *ctx, struct al_message_id *ret_id)
{
    struct ali_send send = {.message = message, .fn = fn, .ctx = ctx};
    int r;

    ali_client_lock(client);
    r = ali_send_queue(client, &send, 0, NULL);
    if (r >= 0 && ali_csession_output(client->session).n >= WRITE_AT)
        ali_client_flush(client);
    ali_client_unlock(client);
    if (r < 0 || !ret_id)
        return r;
    *ret_id = message->id;
    if (al_message_id_is_zero(&message->id))
        memcpy(ret_id->bytes, send.fresh.b, 16);
    return 0;
}

int al_stream_resume(struct al_client *client, const struct al_message *message)
{
    int r;

    ali_client_lock(client);
    r = ali_csession_resume(client->session, message, al_clock_now());
    if (r < 0)
        explain(client, message, r);
    else
        ali_client_flush(client);
    ali_client_unlock(client);
    return r;
}

/* ---- ends -------------------------------------------------------------------------------- */

void al_on_end(struct al_client *client, al_end_fn *fn, void *ctx)
{
    ali_client_lock(client);
    client->end_fn = fn;
    client->end_ctx = ctx;
    ali_client_unlock(client);
}

int al_end_next(struct al_client *client, int timeout_ms, struct al_end **ret_end)
{
    uint64_t deadline = ali_deadline_ns(timeout_ms);
    struct al_end *end;
    int r = 0;

    ali_client_lock(client);
    ali_client_io(client, ali_client_may_read(client));
    for (;;) {
        end = ali_csession_take_end(client->session);
        if (end)
            break;
        if (ali_client_take_stop(client)) {
            r = ali_client_failed(-AL_E_CANCELLED, "al_client_stop() was called");
            break;
        }
        if (al_clock_mono_ns() >= deadline) {
            r = ali_client_failed(-AL_E_TIMEOUT, "no message ended in time");
            break;
        }
        ali_client_wait(client, deadline);
    }
    ali_client_unlock(client);
    if (end)
        *ret_end = end;
    return r;
}

/* With the lock: sends, waits for the receipt, then for the end. */
static int send_wait_locked(struct al_client *client, const struct al_message *message,
                            uint64_t deadline, struct al_receipt *ret_receipt,
                            struct al_end **ret_end)
{
    struct al_end *end = NULL;
    int r;

    r = send_locked(client, message, deadline, ret_receipt);
    if (r < 0)
        return r;
    if (!ali_watch_wait(client->session, &ret_receipt->id, &end))
        end =
            ali_csession_find_end(client->session, &ret_receipt->id); /* it came with the receipt */
    while (!end && al_clock_mono_ns() < deadline)
        ali_client_wait(client, deadline);
    if (!end) {
        (void)ali_watch_wait(client->session, &ret_receipt->id, NULL);
        return ali_client_fail(-AL_E_TIMEOUT,
                               "the message was taken (stream %u, sequence %llu) but "
                               "has not ended in time",
                               ret_receipt->stream, (unsigned long long)ret_receipt->seq);
    }
    *ret_end = end;
    return 0;
}

int al_send_wait(struct al_client *client, const struct al_message *message, int timeout_ms,
                 struct al_receipt *ret_receipt, struct al_end **ret_end)
{
    struct al_message copy = *message;
    struct al_receipt receipt = {.seq = 0};
    int r;

    copy.flags |= AL_MESSAGE_NOTIFY;
    if (al_message_id_is_zero(&copy.id)) {
        r = al_message_id_random(&copy.id);
        if (r < 0)
            return r;
    }
    ali_client_lock(client);
    r = send_wait_locked(client, &copy, ali_deadline_ns(timeout_ms), &receipt, ret_end);
    if (r < 0 && !(message->flags & AL_MESSAGE_NOTIFY))
        ali_watch_forget(client->session, &copy.id); /* the program did not ask for it */
    ali_client_unlock(client);
    if (ret_receipt && (r == 0 || r == -AL_E_TIMEOUT))
        *ret_receipt = receipt;
    return r;
}
