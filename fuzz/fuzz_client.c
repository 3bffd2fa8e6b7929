/* fuzz_client.c - a client's session at the mercy of a hostile node.
 *
 * The input is what the node says once the client has greeted, attached and sent. The client takes
 * every message it is given and settles it one way or another; a connection given up is made again
 * (which puts resending and re-acking into play) and the rest of the input goes on there. What must
 * hold: no crash, the books balance, and nothing is left when the session is freed. */
#include "base/errors.h"
#include "client/session.h"
#include "fuzz.h"
#include <assert.h>
#include <stdlib.h>

#define STEP_MS 400u /* between two pieces of input: leases and pings come due */

static size_t live_bytes;

static void *count_realloc(void *ctx, void *ptr, size_t old_size, size_t new_size)
{
    void *fresh = NULL;

    (void)ctx;
    live_bytes += new_size - old_size;
    if (new_size == 0)
        free(ptr);
    else
        fresh = realloc(ptr, new_size);
    return fresh;
}

static void connect_and_greet(struct ali_csession *session, struct al_now now)
{
    struct al_msg_welcome welcome = {
        .version = 1, .payload_max = 1 << 20, .publish_window = 8, .credit_max = 64};
    struct al_buf in;
    size_t used;

    assert(ali_csession_connected(session, now) == 0);
    al_buf_init(&in, &session->config.alloc);
    assert(al_put_welcome(&in, &welcome) == 0);
    assert(ali_csession_bytes(session, al_str_of(in.data, in.size), now, &used) == 0);
    al_buf_deinit(&in);
}

static void send_some(struct ali_csession *session, struct al_now now)
{
    struct al_message message;
    struct ali_send send = {.message = &message};
    unsigned i;

    al_message_init(&message);
    message.from = "a";
    message.flags = AL_MESSAGE_NOTIFY;
    for (i = 0; i < 12; i++) {
        message.to = i % 3 ? "b" : "c";
        message.id.bytes[0] = (uint8_t)(i + 1);
        (void)ali_csession_send(session, &send, now, NULL);
    }
}

/* Takes what came of the input, as a program would. */
static void behave(struct ali_csession *session, struct al_now now, uint8_t mood)
{
    struct ali_delivery *delivery;
    struct ali_notice *notice;
    struct ali_out *out;
    struct al_end *end;

    while ((delivery = ali_csession_take(session, ALI_READY_PULL, now))) {
        if (mood % 4 == 3)
            ali_csession_drop(session, delivery);
        else if (mood % 4 == 2)
            continue; /* held until the end */
        else if ((mood % 4 == 1 ? ali_csession_nack(session, delivery, 0, "no", now)
                                : ali_csession_ack(session, delivery, NULL, now)) < 0)
            ali_csession_drop(session, delivery);
        mood = (uint8_t)(mood * 5 + 1);
    }
    while ((notice = ali_csession_take_notice(session)))
        ali_notice_free(session, notice);
    while ((out = ali_csession_take_result(session)))
        ali_out_free(session, out);
    while ((end = ali_csession_take_end(session)))
        al_end_free(end);
    ali_csession_written(session, ali_csession_output(session).n);
}

/* One piece of the node's words; a connection that is given up is made again. */
static void say(struct ali_csession *session, struct al_str piece, struct al_now now)
{
    size_t used = 0;
    int r = ali_csession_bytes(session, piece, now, &used);

    assert(used <= piece.n);
    if (r == 0)
        r = ali_csession_tick(session, now);
    if (r < 0) {
        ali_csession_disconnected(session, r, now);
        connect_and_greet(session, now);
    }
    assert(session->inflight <= 8);
    assert(session->waiting <= session->unconfirmed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ali_csession_config config = {.alloc = {.realloc_fn = count_realloc},
                                         .client_name = "fuzz",
                                         .ping_interval_ms = 3000,
                                         .ping_timeout_ms = 3000,
                                         .window = 16,
                                         .outbox_bytes = 1 << 16,
                                         .lease_cap_ms = 5000};
    struct al_now now = {.mono_ns = AL_NS_PER_SEC, .wall_ms = 1};
    struct ali_csession *session;
    struct ali_attach *attach;

    live_bytes = 0;
    if (size < 1)
        return 0;
    config.refusals = data[0] & 1 ? AL_REFUSAL_RETRY : AL_REFUSAL_REPORT;
    assert(ali_csession_new(&config, &session) == 0);
    connect_and_greet(session, now);
    assert(ali_csession_attach(session, "b", NULL, true, &attach) == 0);
    send_some(session, now);
    for (data++, size--; size;) { /* {u8 length / 4, frames} … */
        size_t n = 1 + 4 * (size_t)data[0];

        n = n < size ? n : size;
        say(session, al_str_of(data + 1, n - 1), now);
        behave(session, now, data[0]);
        now.mono_ns += STEP_MS * AL_NS_PER_MS;
        data += n;
        size -= n;
    }
    ali_csession_free(session);
    assert(live_bytes == 0);
    return 0;
}
