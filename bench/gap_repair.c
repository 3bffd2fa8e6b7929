/* gap_repair.c - how soon a delivery that was lost on its way is in the program's hand.
 *
 * The library's session, driven here over a real socket: of two messages of a stream that the node
 * gives out one behind the other, the first DELIVER is thrown away before the session sees it. The
 * clock runs from the second one, which shows that something is missing, until the session hands
 * out the first. Beside it the round trip of a PING on the same connection, in the same run: a
 * repair is a round trip and a read of the journal. The bar is two round trips and a millisecond.
 */
#include "base/errors.h"
#include "bench.h"
#include "client/session.h"
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define REPAIRS    500u
#define SIZE       256u
#define PATIENCE_S 20

struct bench_gap {
    struct ali_csession *session;
    struct bench_link *link;
    uint64_t lost_seq; /* of the delivery to be thrown away, 0: none */
    bool lost;
    uint64_t shown_ns, pong_ns;
    uint64_t number; /* of messages */
};

static void *heap_realloc(void *ctx, void *ptr, size_t old_size, size_t size)
{
    (void)ctx;
    (void)old_size;
    if (size)
        return realloc(ptr, size);
    free(ptr);
    return NULL;
}

static struct al_now now(void)
{
    return (struct al_now){.mono_ns = ali_now_ns(), .wall_ms = ali_wall_ms()};
}

static void check(int r, const char *what)
{
    if (r < 0)
        ali_fail("%s: %s", what, al_error_text(r));
}

static void write_out(struct bench_gap *gap)
{
    struct al_str output;

    while ((output = ali_csession_output(gap->session)).n) {
        ssize_t n = write(gap->link->fd, output.p, output.n);

        if (n < 0 && errno != EAGAIN)
            ali_fail("write: %s", strerror(errno));
        if (n > 0)
            ali_csession_written(gap->session, (size_t)n);
    }
}

/* Hands a frame to the session, or loses it. */
static void pass(struct bench_gap *gap, struct al_str bytes, const struct al_frame *frame)
{
    struct al_msg_deliver m;
    size_t used;

    if (frame->type == AL_MSG_PONG)
        gap->pong_ns = ali_now_ns();
    if (frame->type == AL_MSG_DELIVER && al_decode_deliver(frame->body, &m) == 0 && !gap->lost) {
        gap->lost = true;
        gap->lost_seq = m.seq;
        return;
    }
    if (frame->type == AL_MSG_DELIVER && !gap->shown_ns)
        gap->shown_ns = ali_now_ns();
    check(ali_csession_bytes(gap->session, bytes, now(), &used), "session");
    write_out(gap);
}

/* Waits for bytes and handles the whole frames. */
static void turn(struct bench_gap *gap)
{
    struct pollfd poll_fd = {.fd = gap->link->fd, .events = POLLIN};
    struct bench_buf *in = &gap->link->in;
    struct al_frame frame;
    int64_t n;

    write_out(gap);
    if (poll(&poll_fd, 1, PATIENCE_S * 1000) <= 0 || !ali_link_read(gap->link))
        ali_fail("the node says nothing for %d s", PATIENCE_S);
    while ((n = al_frame_next(al_str_of(in->data + in->start, (uint32_t)ali_buf_size(in)),
                              AL_FRAME_MAX, &frame)) > 0) {
        pass(gap, al_str_of(in->data + in->start, (uint32_t)n), &frame);
        in->start += (size_t)n;
    }
}

static void open_session(struct bench_gap *gap, const struct bench_server *server,
                         struct bench_run *run)
{
    struct ali_csession_config config = {.alloc = {.realloc_fn = heap_realloc},
                                         .client_name = "al_bench",
                                         .ping_interval_ms = 60000,
                                         .ping_timeout_ms = 60000,
                                         .window = 100,
                                         .outbox_bytes = 1 << 20,
                                         .lease_cap_ms = 3600000};
    struct ali_attach *attach;

    memset(gap, 0, sizeof(*gap));
    gap->lost = true; /* not yet */
    gap->link = ali_link_open(server->address, run);
    if (!gap->link)
        ali_fail("cannot connect to %s", server->address);
    memcpy(config.instance.b, "gap-repair bench", sizeof(config.instance.b));
    check(ali_csession_new(&config, &gap->session), "session");
    check(ali_csession_connected(gap->session, now()), "hello");
    while (gap->session->link != ALI_LINK_UP)
        turn(gap);
    check(ali_csession_attach(gap->session, "consumer", NULL, true, &attach), "attach");
    while (attach->state != ALI_ATTACH_DONE)
        turn(gap);
}

static void receipt(void *ctx, int error, const struct al_receipt *given)
{
    (void)ctx;
    (void)error;
    (void)given; /* results are taken */
}

static void publish(struct bench_gap *gap)
{
    struct al_message message;
    struct ali_send send = {.message = &message, .fn = receipt};
    uint8_t payload[SIZE];

    al_message_init(&message);
    message.from = "producer";
    message.to = "consumer";
    ali_payload_write(payload, SIZE, gap->number, ali_now_ns());
    message.payload = payload;
    message.payload_size = SIZE;
    memcpy(send.fresh.b, "bench", 5);
    memcpy(send.fresh.b + 8, &gap->number, sizeof(gap->number));
    gap->number++;
    check(ali_csession_send(gap->session, &send, now(), NULL), "send");
}

/* The next message for the program, which must be this one. */
static struct ali_delivery *receive(struct bench_gap *gap, uint64_t seq)
{
    struct ali_delivery *delivery;

    while (!(delivery = ali_csession_take(gap->session, ALI_READY_PULL, now())))
        turn(gap);
    if (delivery->pub.seq != seq)
        ali_fail("message %llu comes before %llu", (unsigned long long)delivery->pub.seq,
                 (unsigned long long)seq);
    return delivery;
}

static void settle(struct bench_gap *gap, struct ali_delivery *delivery)
{
    check(ali_csession_ack(gap->session, delivery, NULL, now()), "ack");
}

/* Two messages, of which the first is lost: the time until it is there. */
static uint64_t repair(struct bench_gap *gap)
{
    struct ali_delivery *delivery;
    struct ali_out *out;
    uint64_t took;

    gap->lost = false;
    gap->shown_ns = 0;
    publish(gap);
    publish(gap);
    while (!gap->shown_ns)
        turn(gap);
    delivery = receive(gap, gap->lost_seq);
    took = ali_now_ns() - gap->shown_ns;
    settle(gap, delivery);
    settle(gap, receive(gap, gap->lost_seq + 1));
    while (gap->session->unconfirmed || gap->session->unreceipted)
        turn(gap);
    while ((out = ali_csession_take_result(gap->session))) {
        check(out->error, "receipt");
        ali_out_free(gap->session, out);
    }
    return took;
}

static uint64_t ping(struct bench_gap *gap)
{
    struct al_msg_ping m = {.token = gap->number};
    uint64_t sent_ns = ali_now_ns();

    gap->pong_ns = 0;
    check(al_put_ping(&gap->session->out, &m), "ping");
    while (!gap->pong_ns)
        turn(gap);
    return gap->pong_ns - sent_ns;
}

static void measure(const struct bench_server *server, const char *workload)
{
    struct bench_times repairs, pings;
    struct bench_run run = {.peer = server->peer};
    struct bench_gap gap;
    double repaired, round_trip;

    ali_times_init(&repairs, REPAIRS);
    ali_times_init(&pings, REPAIRS);
    open_session(&gap, server, &run);
    for (unsigned i = 0; i < REPAIRS; i++) {
        ali_check_interrupted();
        ali_times_add(&pings, ping(&gap));
        ali_times_add(&repairs, repair(&gap));
    }
    if (gap.session->stats.asked_again != REPAIRS)
        ali_fail("%u deliveries were lost, %llu ranges were asked for", REPAIRS,
                 (unsigned long long)gap.session->stats.asked_again);
    ali_times_rows(&pings, server->peer->name, workload, SIZE, "ping");
    round_trip = ali_row_last("ping_p50");
    ali_times_rows(&repairs, server->peer->name, workload, SIZE, "repair");
    repaired = ali_row_last("repair_p50");
    ali_row_add(server->peer->name, workload, SIZE, "ratio_allowed",
                repaired / (2 * round_trip + 1000), "x");
    ali_csession_free(gap.session);
    ali_link_close(gap.link);
    ali_times_deinit(&repairs);
    ali_times_deinit(&pings);
}

void ali_gap_repair_measure(unsigned pairs)
{
    static const char *const workload = "gap-repair";

    for (unsigned i = 0; i < pairs; i++) {
        struct bench_server server;

        ali_note("gap repair, turn %u of %u", i + 1, pairs);
        ali_row_set_pair(i);
        ali_wait_quiet();
        ali_server_start(&server, &ali_peer_agentlink);
        measure(&server, workload);
        ali_server_stop(&server);
    }
    ali_row_print_medians(workload, SIZE);
}
