/* client_peer.c - a scripted node at the other end of a client's session. */
#include "client_peer.h"
#include "base/errors.h"
#include "base/limits.h"
#include <string.h>

void peer_init(struct peer *peer, const struct ali_csession_config *config)
{
    struct ali_csession_config all = config ? *config : (struct ali_csession_config){.window = 0};

    memset(peer, 0, sizeof(*peer));
    al_test_alloc_init(&peer->memory);
    al_buf_init(&peer->in, &peer->memory.alloc);
    al_buf_init(&peer->frame, &peer->memory.alloc);
    peer->now = (struct al_now){.mono_ns = 1000 * AL_NS_PER_SEC, .wall_ms = 1700000000000};
    all.alloc = peer->memory.alloc;
    all.client_name = "test";
    all.instance.b[0] = 1;
    all.window = all.window ? all.window : 100;
    all.outbox_bytes = all.outbox_bytes ? all.outbox_bytes : 1 << 20;
    all.ping_interval_ms = all.ping_interval_ms ? all.ping_interval_ms : 10000;
    all.ping_timeout_ms = all.ping_timeout_ms ? all.ping_timeout_ms : 5000;
    all.lease_cap_ms = all.lease_cap_ms ? all.lease_cap_ms : 60000;
    assert_int_equal(ali_csession_new(&all, &peer->session), 0);
}

void peer_deinit(struct peer *peer)
{
    ali_csession_free(peer->session);
    al_buf_deinit(&peer->in);
    al_buf_deinit(&peer->frame);
    assert_int_equal(peer->memory.live_count, 0);
}

int peer_sleep(struct peer *peer, uint64_t ms)
{
    peer->now.mono_ns += ms * AL_NS_PER_MS;
    peer->now.wall_ms += ms;
    return ali_csession_tick(peer->session, peer->now);
}

void peer_connect(struct peer *peer)
{
    assert_int_equal(ali_csession_connected(peer->session, peer->now), 0);
    {
        TAKE(peer, HELLO, hello, hello);
        assert_int_equal(hello.magic, AL_WIRE_MAGIC);
        assert_int_equal(hello.instance.b[0], 1);
    }
    assert_silent(peer);
    FEED(peer, welcome, .version = AL_WIRE_VERSION, .payload_max = 1 << 20, .publish_window = 1000,
         .credit_max = 1000, .node = al_str_c("scripted"));
    assert_int_equal(peer->session->link, ALI_LINK_UP);
}

void peer_lose(struct peer *peer)
{
    ali_csession_disconnected(peer->session, -AL_E_CLOSED, peer->now);
    al_buf_clear(&peer->in);
}

/* ---- frames ------------------------------------------------------------------------------ */

unsigned peer_peek(const struct peer *peer)
{
    struct al_str output = ali_csession_output(peer->session);
    struct al_frame frame;

    return al_frame_next(output, AL_FRAME_MAX, &frame) > 0 ? frame.type : 0;
}

const char *peer_next_name(const struct peer *peer)
{
    unsigned type = peer_peek(peer);

    return type ? al_msg_name(type) : "nothing";
}

struct al_str peer_take(struct peer *peer, unsigned type)
{
    struct al_str output = ali_csession_output(peer->session);
    struct al_frame frame;
    int64_t n = al_frame_next(output, AL_FRAME_MAX, &frame);

    assert_string_equal(peer_next_name(peer), al_msg_name(type));
    assert_true(n > 0);
    al_buf_clear(&peer->frame);
    assert_int_equal(al_buf_put(&peer->frame, frame.body.p, frame.body.n), 0);
    ali_csession_written(peer->session, (size_t)n);
    return al_str_of(peer->frame.data, peer->frame.size);
}

void peer_feed(struct peer *peer)
{
    size_t used = 0;

    peer->error = ali_csession_bytes(peer->session, al_str_of(peer->in.data, peer->in.size),
                                     peer->now, &used);
    al_buf_drop(&peer->in, used);
}

/* ---- sending ----------------------------------------------------------------------------- */

void peer_receipt(void *ctx, int error, const struct al_receipt *receipt)
{
    (void)ctx;
    (void)error;
    (void)receipt;
    fail();
}

int peer_send(struct peer *peer, const char *text, bool *done, struct ali_out **ret_out)
{
    struct al_message message;
    struct ali_send send = {.message = &message, .waiter = done, .fn = done ? NULL : peer_receipt};

    al_message_init(&message);
    message.from = "a";
    message.to = "b";
    message.payload = text;
    message.payload_size = strlen(text);
    send.fresh.b[0] = ++peer->next_id;
    return ali_csession_send(peer->session, &send, peer->now, ret_out);
}

int peer_result(struct peer *peer)
{
    struct ali_out *out = ali_csession_take_result(peer->session);
    int error;

    assert_non_null(out);
    error = out->error;
    ali_out_free(peer->session, out);
    return error;
}

void peer_open_channel(struct peer *peer)
{
    TAKE(peer, PRODUCER_OPEN, producer_open, open);
    FEED(peer, producer_ready, .request = open.request, .producer = open.producer | 9, .epoch = 1);
    {
        TAKE(peer, CHANNEL_OPEN, channel_open, channel);
        assert_int_equal(channel.channel, 1);
        assert_int_equal(channel.producer, 9);
        assert_memory_equal(channel.to.p, "b", 1);
        assert_silent(peer);
    }
    FEED(peer, channel_ready, .channel = 1, .stream = 5);
}

void peer_take_publish(struct peer *peer, uint64_t pseq, const char *text)
{
    struct al_msg_envelope envelope;
    TAKE(peer, PUBLISH, publish, m);

    assert_int_equal(m.channel, 1);
    assert_int_equal(m.pseq, pseq);
    assert_int_equal(al_decode_envelope(m.envelope, &envelope), 0);
    assert_int_equal(envelope.payload.n, strlen(text));
    assert_memory_equal(envelope.payload.p, text, envelope.payload.n);
}

/* ---- receiving --------------------------------------------------------------------------- */

void peer_attach(struct peer *peer, const struct al_attach_options *options, bool resumed)
{
    struct ali_attach *attach = ali_attach_find(peer->session, "b");

    if (!attach)
        assert_int_equal(ali_csession_attach(peer->session, "b", options, true, &attach), 0);
    {
        TAKE(peer, ATTACH, attach, m);
        FEED(peer, attached, .request = m.request, .agent = 7, .resumed = resumed);
    }
    assert_int_equal(ali_attach_find(peer->session, "b")->state, ALI_ATTACH_DONE);
}

static void put_deliver(struct peer *peer, const struct al_msg_deliver *place, const char *text)
{
    struct al_msg_envelope envelope = {.payload = al_str_c(text)};
    uint8_t body[200];

    envelope.message_id.b[0] = (uint8_t)place->seq;
    assert_true(al_size_envelope(&envelope) <= sizeof(body));
    (void)al_encode_envelope(body, &envelope);
    FEED(peer, deliver, .agent = 7, .stream = 5, .seq = place->seq, .prev_seq = place->prev_seq,
         .lease = place->lease, .flags = place->flags, .lease_ms = 900, .attempt = 1,
         .from = al_str_c("a"), .envelope = al_str_of(body, al_size_envelope(&envelope)));
}

void peer_deliver(struct peer *peer, uint64_t seq, uint64_t prev_seq, uint64_t lease,
                  const char *text)
{
    struct al_msg_deliver place = {.seq = seq, .prev_seq = prev_seq, .lease = lease};

    put_deliver(peer, &place, text);
}

void peer_follow(struct peer *peer, uint64_t seq, uint64_t prev_seq, uint64_t lease,
                 const char *text)
{
    struct al_msg_deliver place = {
        .seq = seq, .prev_seq = prev_seq, .lease = lease, .flags = AL_DELIVER_FOLLOWS};

    put_deliver(peer, &place, text);
}

struct ali_delivery *peer_next(struct peer *peer)
{
    return ali_csession_take(peer->session, ALI_READY_PULL, peer->now);
}
