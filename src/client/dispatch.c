/* dispatch.c - callbacks and handlers, and the calls that run them.
 *
 * A callback is taken from the session with the lock and called without it, so that it may call
 * anything. Nothing is pending? Then the socket is looked at, and after that the call waits. */
#include "base/errors.h"
#include "client/client.h"
#include "os/clock.h"

#define CALLBACKS_AT_ONCE 1024

/* ---- callbacks --------------------------------------------------------------------------- */

/* With the lock: one receipt. False: there is none. */
static bool call_receipt(struct al_client *client)
{
    struct ali_out *out = ali_csession_take_result(client->session);
    struct al_receipt receipt;

    if (!out)
        return false;
    ali_client_unlock(client);
    receipt = ali_send_receipt(out);
    if (out->error < 0)
        ali_client_failed(out->error, out->detail);
    out->fn(out->ctx, out->error, &receipt);
    ali_client_lock(client);
    ali_out_free(client->session, out);
    return true;
}

static bool call_end(struct al_client *client)
{
    struct al_end *end = client->end_fn ? ali_csession_take_end(client->session) : NULL;
    al_end_fn *fn = client->end_fn;
    void *ctx = client->end_ctx;

    if (!end)
        return false;
    ali_client_unlock(client);
    fn(ctx, end);
    al_end_free(end);
    ali_client_lock(client);
    return true;
}

static bool call_notice(struct al_client *client)
{
    struct ali_notice *notice = ali_csession_take_notice(client->session);
    al_notice_fn *fn = client->notice_fn;
    void *ctx = client->notice_ctx;

    while (notice && !fn) { /* nobody listens */
        ali_notice_free(client->session, notice);
        notice = ali_csession_take_notice(client->session);
    }
    if (!notice)
        return false;
    ali_client_unlock(client);
    fn(ctx, &notice->notice);
    ali_client_lock(client);
    ali_notice_free(client->session, notice);
    return true;
}

void al_on_notice(struct al_client *client, al_notice_fn *fn, void *ctx)
{
    ali_client_lock(client);
    client->notice_fn = fn;
    client->notice_ctx = ctx;
    ali_client_unlock(client);
}

/* ---- handlers ---------------------------------------------------------------------------- */

/* With the lock: does what the handler's return value says, if it has not settled itself. */
static void handler_returned(struct al_client *client, struct ali_delivery *delivery, int result)
{
    struct ali_csession *session = client->session;
    int r = 0;

    delivery->in_handler = false;
    if (delivery->commit && ali_commit_is_under_way(delivery->commit)) {
        delivery->let_go = result != AL_HANDLER_KEEPS; /* its answer settles it */
        if (delivery->stream)
            ali_rstream_update(session, delivery->stream);
        return;
    }
    if (delivery->settled) {
        ali_delivery_free(session, delivery);
        return;
    }
    if (delivery->dropped) {
        delivery->dropped = false;
        ali_csession_drop(session, delivery);
        return;
    }
    if (result == AL_HANDLER_KEEPS)
        return;
    ali_commit_forget(delivery);
    if (result < 0)
        r = ali_csession_nack(session, delivery, 0, al_error_text(result), al_clock_now());
    else
        r = ali_client_ack(client, delivery, NULL);
    if (r < 0) /* detached meanwhile, or no memory: it will come again */
        ali_csession_drop(session, delivery);
}

static bool call_handler(struct al_client *client)
{
    struct ali_delivery *delivery =
        ali_csession_take(client->session, ALI_READY_HANDLER, al_clock_now());
    al_handler_fn *fn;
    void *ctx;
    int result;

    if (!delivery)
        return false;
    if (ali_client_answers(client, delivery))
        return true;
    fn = delivery->stream->attach->handler;
    ctx = delivery->stream->attach->handler_ctx;
    delivery->in_handler = true;
    ali_client_unlock(client);
    result = fn(ctx, &delivery->pub);
    ali_client_lock(client);
    handler_returned(client, delivery, result);
    return true;
}

/* ---- dispatching ------------------------------------------------------------------------- */

/* With the lock: calls back what is pending; returns how many. */
static int call_back(struct al_client *client, bool handlers)
{
    int count = 0;

    while (count < CALLBACKS_AT_ONCE && !atomic_load(&client->stop)) {
        if (!call_notice(client) && !call_receipt(client) && !ali_commit_call(client) &&
            !call_end(client) && !ali_requests_call(client) && !(handlers && call_handler(client)))
            break;
        count++;
    }
    if (count)
        ali_client_flush(client);
    return count;
}

/* With the lock. */
static int dispatch(struct al_client *client, uint64_t deadline)
{
    int count = call_back(client, true);

    if (count == 0) {
        ali_client_io(client, ali_client_may_read(client));
        count = call_back(client, true);
    }
    while (count == 0 && !atomic_load(&client->stop) && al_clock_mono_ns() < deadline) {
        ali_client_wait(client, deadline);
        count = call_back(client, true);
    }
    return count;
}

int al_client_dispatch(struct al_client *client, int timeout_ms)
{
    int count;

    ali_client_lock(client);
    count = dispatch(client, ali_deadline_ns(timeout_ms));
    if (count == 0) /* otherwise the next call tells of it */
        (void)ali_client_take_stop(client);
    ali_client_unlock(client);
    return count;
}

int al_client_run(struct al_client *client)
{
    ali_client_lock(client);
    client->runs++;
    while (!atomic_load(&client->stop))
        (void)dispatch(client, AL_NEVER_NS);
    client->runs--;
    (void)ali_client_take_stop(client); /* the last one takes it back */
    ali_client_unlock(client);
    return 0;
}

int al_client_flush(struct al_client *client, int timeout_ms)
{
    const struct ali_csession *session = client->session;
    uint64_t deadline = ali_deadline_ns(timeout_ms);
    bool done;

    ali_client_lock(client);
    ali_client_io(client, false);
    for (;;) {
        while (call_back(client, false) == CALLBACKS_AT_ONCE)
            ;
        done = session->unreceipted == 0 && session->unconfirmed == 0 &&
               session->commit_count == 0 && ali_csession_output(session).n == 0;
        if (done || al_clock_mono_ns() >= deadline)
            break;
        ali_client_wait(client, deadline);
    }
    if (!done)
        ali_client_fail(-AL_E_TIMEOUT,
                        "sends without a receipt: %u, acks without confirmation: %u%s",
                        session->unreceipted, session->unconfirmed,
                        session->link == ALI_LINK_UP ? "" : "; there is no connection");
    ali_client_unlock(client);
    return done ? 0 : -AL_E_TIMEOUT;
}
