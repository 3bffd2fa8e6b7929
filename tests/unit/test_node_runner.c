/* test_node_runner.c - a whole node in this process: threads, gates, buffers, stopping, poison.
 *
 * The node runs on a disk in memory behind a disk of ours that can fail or hold back flushes; the
 * test speaks the protocol over the socket pairs of al_runner_connect. */
#include "base/errors.h"
#include "base/limits.h"
#include "node/runner_internal.h"
#include "os/clock.h"
#include "os/memory.h"
#include "support.h"
#include "wire/messages.h"
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- a disk that can be told to fail or to wait ------------------------------------------ */

struct held_disk {
    struct al_disk disk;
    struct al_disk_ops ops;
    struct al_disk *below;
    _Atomic int fail_flush; /* every flush fails */
    _Atomic int hold;       /* flushes wait while this is set */
    _Atomic int flushes;    /* that returned 0 */
    _Atomic int waiting;    /* a flush waits */
};

#define BELOW(d) ((struct held_disk *)(d))->below

static int held_open(struct al_disk *d, const char *name, unsigned flags, struct al_disk_file **f)
{
    return BELOW(d)->ops->open(BELOW(d), name, flags, f);
}
static void held_close(struct al_disk *d, struct al_disk_file *f)
{
    BELOW(d)->ops->close(BELOW(d), f);
}
static int held_size(struct al_disk *d, struct al_disk_file *f, uint64_t *size)
{
    return BELOW(d)->ops->size(BELOW(d), f, size);
}
static int held_write(struct al_disk *d, struct al_disk_file *f, const void *p, size_t n,
                      uint64_t offset)
{
    return BELOW(d)->ops->write(BELOW(d), f, p, n, offset);
}
static int held_read(struct al_disk *d, struct al_disk_file *f, void *p, size_t n, uint64_t offset,
                     size_t *ret_n)
{
    return BELOW(d)->ops->read(BELOW(d), f, p, n, offset, ret_n);
}
static int held_flush(struct al_disk *d, struct al_disk_file *f)
{
    struct held_disk *held = (struct held_disk *)d;
    int rc;

    while (held->hold) {
        held->waiting = 1;
        usleep(500);
    }
    if (held->fail_flush)
        return -AL_E_IO;
    rc = BELOW(d)->ops->flush(BELOW(d), f);
    held->flushes++;
    return rc;
}
static int held_rename(struct al_disk *d, const char *from, const char *to)
{
    return BELOW(d)->ops->rename(BELOW(d), from, to);
}
static int held_unlink(struct al_disk *d, const char *name)
{
    return BELOW(d)->ops->unlink(BELOW(d), name);
}
static int held_sync_dir(struct al_disk *d)
{
    return BELOW(d)->ops->sync_dir(BELOW(d));
}
static int held_list(struct al_disk *d, int (*fn)(void *ctx, const char *name), void *ctx)
{
    return BELOW(d)->ops->list(BELOW(d), fn, ctx);
}
static int held_space(struct al_disk *d, uint64_t *bytes)
{
    return BELOW(d)->ops->space(BELOW(d), bytes);
}
static int held_lock(struct al_disk *d)
{
    return BELOW(d)->ops->lock(BELOW(d));
}
static void held_close_disk(struct al_disk *d)
{
    BELOW(d)->ops->close_disk(BELOW(d));
}

/* ---- the node under test ----------------------------------------------------------------- */

static struct al_memory memory;
static struct held_disk held;
static struct al_runner *runner;

static int set_up(void **state)
{
    struct al_runner_config config = {0};
    struct al_store_report report;

    (void)state;
    memset(&held, 0, sizeof held);
    held.ops = (struct al_disk_ops){
        held_open,   held_close,    held_size, held_write, held_read, held_flush,     held_rename,
        held_unlink, held_sync_dir, held_list, held_space, held_lock, held_close_disk};
    held.disk.ops = &held.ops;
    assert_int_equal(al_mem_disk_new(&held.below), 0);
    config.disk = &held.disk;
    config.store.alloc = al_memory_alloc(&memory);
    al_node_config_init(&config.node, &config.store.alloc);
    config.node.name = al_str_c("test");
    config.node.payload_max = AL_PAYLOAD_MAX;
    assert_int_equal(al_runner_start(&config, &report, &runner), 0);
    assert_int_equal(al_runner_epoch(runner), 1);
    alarm(60);
    return 0;
}

/* Also checks that everything was given back. */
static int tear_down(void **state)
{
    (void)state;
    held.hold = 0;
    al_runner_free(runner);
    runner = NULL;
    alarm(0);
    assert_int_equal(memory.bytes, 0);
    return 0;
}

/* ---- a client ---------------------------------------------------------------------------- */

struct client {
    int fd;
    struct al_buf out, in;
    size_t at; /* of `in`: consumed */
};

static struct al_alloc plain;

static void client_open(struct client *client)
{
    plain = al_memory_alloc(&memory);
    al_buf_init(&client->out, &plain);
    al_buf_init(&client->in, &plain);
    client->at = 0;
    assert_int_equal(al_runner_connect(runner, &client->fd), 0);
}

static void client_close(struct client *client)
{
    close(client->fd);
    al_buf_deinit(&client->out);
    al_buf_deinit(&client->in);
}

/* Sends what was collected; waits for room. */
static void client_flush(struct client *client)
{
    size_t at = 0;

    while (at < client->out.size) {
        ssize_t n = send(client->fd, client->out.data + at, client->out.size - at, MSG_NOSIGNAL);
        struct pollfd pollfd = {.fd = client->fd, .events = POLLOUT};

        if (n > 0)
            at += (size_t)n;
        else
            assert_int_equal(poll(&pollfd, 1, 20000), 1);
    }
    al_buf_clear(&client->out);
}

/* The next frame within so long; false: none, or the node has closed (*ret_type 0). */
static bool client_next(struct client *client, int timeout_ms, struct al_frame *ret_frame)
{
    struct pollfd pollfd = {.fd = client->fd, .events = POLLIN};

    al_buf_drop(&client->in, client->at);
    client->at = 0;
    for (;;) {
        int64_t size =
            al_frame_next(al_str_of(client->in.data, client->in.size), AL_FRAME_MAX, ret_frame);
        ssize_t n;

        assert_true(size >= 0);
        if (size > 0) {
            client->at = (size_t)size;
            return true;
        }
        if (poll(&pollfd, 1, timeout_ms) != 1)
            return false;
        assert_int_equal(al_buf_reserve(&client->in, 65536), 0);
        n = recv(client->fd, client->in.data + client->in.size, 65536, 0);
        if (n <= 0) {
            ret_frame->type = 0;
            return false;
        }
        client->in.size += (size_t)n;
    }
}

/* The next frame, which must be of this type. */
static struct al_frame expect(struct client *client, unsigned type)
{
    struct al_frame frame = {0};

    if (!client_next(client, 20000, &frame))
        fail_msg("no %s came", al_msg_name(type));
    if (frame.type != type)
        fail_msg("%s came instead of %s", al_msg_name(frame.type), al_msg_name(type));
    return frame;
}

static void client_hello(struct client *client)
{
    struct al_msg_hello hello = {
        .magic = AL_WIRE_MAGIC, .version_min = 1, .version_max = 1, .client = al_str_c("test")};

    hello.instance.b[0] = (uint8_t)(client->fd + 1);
    al_put_hello(&client->out, &hello);
    client_flush(client);
    expect(client, AL_MSG_WELCOME);
}

/* Receives agent "b"; returns the agent's number. */
static uint32_t client_attach(struct client *client, uint32_t credit)
{
    /* No lease ends here: sanitizers on a busy machine take their time. */
    struct al_msg_attach attach = {.request = 1,
                                   .credit = credit,
                                   .credit_bytes = 64u << 20,
                                   .lease_ms = 3600000,
                                   .agent = al_str_c("b")};
    struct al_msg_attached attached;
    struct al_frame frame;

    al_put_attach(&client->out, &attach);
    client_flush(client);
    frame = expect(client, AL_MSG_ATTACHED);
    assert_int_equal(al_decode_attached(frame.body, &attached), 0);
    return attached.agent;
}

/* Opens channel 1 from "a" to "b". */
static void client_channel(struct client *client)
{
    struct al_msg_producer_open open = {.request = 2};
    struct al_msg_producer_ready ready;
    struct al_msg_channel_open channel = {
        .channel = 1, .first_pseq = 1, .priority = 4, .from = al_str_c("a"), .to = al_str_c("b")};
    struct al_frame frame;

    al_put_producer_open(&client->out, &open);
    client_flush(client);
    frame = expect(client, AL_MSG_PRODUCER_READY);
    assert_int_equal(al_decode_producer_ready(frame.body, &ready), 0);
    channel.producer = ready.producer;
    al_put_channel_open(&client->out, &channel);
    client_flush(client);
    expect(client, AL_MSG_CHANNEL_READY);
}

/* Adds a PUBLISH with a payload of n bytes that all are the low byte of pseq. */
static void put_publish(struct client *client, uint64_t pseq, size_t n)
{
    struct al_msg_envelope envelope = {.timestamp_ms = 1};
    struct al_msg_publish publish = {.channel = 1, .pseq = pseq};
    uint8_t random[16] = {0}, *body = malloc(n + 256), *payload = malloc(n + 1);

    al_put64(random, pseq);
    envelope.message_id = al_id_from_random(random);
    memset(payload, (int)(pseq & 0xff), n);
    envelope.payload = al_str_of(payload, n);
    publish.envelope = al_str_of(body, (size_t)(al_encode_envelope(body, &envelope) - body));
    assert_int_equal(al_put_publish(&client->out, &publish), 0);
    free(body);
    free(payload);
}

/* Takes a DELIVER, checks its payload, and adds the ACK. */
static void take_deliver(struct client *client, struct al_frame frame, uint64_t seq, size_t n)
{
    struct al_msg_deliver deliver;
    struct al_msg_envelope envelope;
    struct al_msg_ack ack = {.status = AL_STATUS_SUCCESS};

    assert_int_equal(al_decode_deliver(frame.body, &deliver), 0);
    assert_int_equal(al_decode_envelope(deliver.envelope, &envelope), 0);
    assert_int_equal(deliver.seq, seq);
    assert_int_equal(envelope.payload.n, n);
    for (size_t i = 0; i < n; i += 1 + n / 16)
        assert_int_equal(envelope.payload.p[i], seq & 0xff);
    ack.agent = deliver.agent;
    ack.stream = deliver.stream;
    ack.seq = seq;
    ack.lease = deliver.lease;
    al_put_ack(&client->out, &ack);
}

/* ---- tests ------------------------------------------------------------------------------- */

/* Nothing may be seen of a message whose record is still on its way to the disk. */
static void answers_wait_for_the_disk(void **state)
{
    struct client sender, receiver;
    struct al_frame frame;

    (void)state;
    client_open(&sender);
    client_open(&receiver);
    client_hello(&sender);
    client_hello(&receiver);
    client_attach(&receiver, 10);
    client_channel(&sender);

    held.waiting = 0;
    held.hold = 1;
    put_publish(&sender, 1, 100);
    client_flush(&sender);
    while (!held.waiting)
        usleep(500);
    assert_false(client_next(&sender, 50, &frame));
    assert_false(client_next(&receiver, 50, &frame));
    held.hold = 0;
    expect(&sender, AL_MSG_RECEIPT);
    frame = expect(&receiver, AL_MSG_DELIVER);
    take_deliver(&receiver, frame, 1, 100);
    client_flush(&receiver);
    expect(&receiver, AL_MSG_ACKED);
    client_close(&sender);
    client_close(&receiver);
}

/* Frames of every size around the shared buffer's, in one stream; cut anywhere by the socket. */
static void frames_of_all_sizes(void **state)
{
    static const size_t sizes[] = {0,      1,         4000,   65536, 262000,         262144,
                                   262300, 1u << 20,  300000, 5,     (3u << 20) + 1, 16u << 20,
                                   100,    262144 - 8};
    const size_t count = sizeof sizes / sizeof sizes[0];
    struct client sender, receiver;

    (void)state;
    client_open(&sender);
    client_open(&receiver);
    client_hello(&sender);
    client_hello(&receiver);
    client_attach(&receiver, 1);
    client_channel(&sender);
    for (size_t i = 0; i < count; i++)
        put_publish(&sender, i + 1, sizes[i]);
    client_flush(&sender);
    for (size_t i = 0; i < count; i++) {
        take_deliver(&receiver, expect(&receiver, AL_MSG_DELIVER), i + 1, sizes[i]);
        client_flush(&receiver);
        expect(&receiver, AL_MSG_ACKED);
    }
    client_close(&sender);
    client_close(&receiver);
}

/* A frame that comes byte by byte, and one whose header promises more than is allowed. */
static void dribble_and_lie(void **state)
{
    struct client slow, liar;
    struct al_msg_ping ping = {.token = 7};
    struct al_msg_error error;
    struct al_frame frame;
    uint8_t header[8] = {0xff, 0xff, 0xff, 0x7f, AL_MSG_PUBLISH};

    (void)state;
    client_open(&slow);
    client_hello(&slow);
    al_put_ping(&slow.out, &ping);
    for (size_t i = 0; i < slow.out.size; i++) {
        assert_int_equal(send(slow.fd, slow.out.data + i, 1, 0), 1);
        usleep(1000);
    }
    expect(&slow, AL_MSG_PONG);

    client_open(&liar);
    client_hello(&liar);
    assert_int_equal(send(liar.fd, header, sizeof header, 0), sizeof header);
    frame = expect(&liar, AL_MSG_ERROR);
    assert_int_equal(al_decode_error(frame.body, &error), 0);
    assert_int_equal(error.fatal, 1);
    assert_false(client_next(&liar, 5000, &frame));
    assert_int_equal(frame.type, 0); /* closed */
    client_close(&liar);
    client_close(&slow);
}

#define STREAMED 20000u

/* Many messages through small windows; the receiver does not read for a while in the middle. */
static void many_messages_with_a_lazy_receiver(void **state)
{
    struct client sender, receiver;
    uint64_t sent = 0, receipted = 0, received = 0;

    (void)state;
    client_open(&sender);
    client_open(&receiver);
    client_hello(&sender);
    client_hello(&receiver);
    client_attach(&receiver, 5000);
    client_channel(&sender);
    while (received < STREAMED) {
        struct al_frame frame;

        while (sent < STREAMED && sent - receipted < 512)
            put_publish(&sender, ++sent, 1000);
        client_flush(&sender);
        while (receipted < sent && client_next(&sender, 5000, &frame)) {
            struct al_msg_receipt receipt;

            assert_int_equal(frame.type, AL_MSG_RECEIPT);
            assert_int_equal(al_decode_receipt(frame.body, &receipt), 0);
            assert_int_equal(receipt.pseq, receipted + 1);
            receipted += receipt.count;
        }
        if (receipted < STREAMED / 2)
            continue;
        while (received < receipted && client_next(&receiver, 5000, &frame)) {
            if (frame.type == AL_MSG_DELIVER)
                take_deliver(&receiver, frame, ++received, 1000);
            if (received % 100 == 0)
                client_flush(&receiver);
        }
        client_flush(&receiver);
    }
    client_close(&sender);
    client_close(&receiver);
}

/* After a flush has failed nobody hears anything any more, and the end is told. */
static void a_failed_flush_ends_the_node(void **state)
{
    struct client sender;
    struct al_frame frame;
    int fd;

    (void)state;
    client_open(&sender);
    client_hello(&sender);
    client_attach(&sender, 10);
    client_channel(&sender);
    held.fail_flush = 1;
    put_publish(&sender, 1, 10);
    client_flush(&sender);
    assert_false(client_next(&sender, 5000, &frame));
    assert_int_equal(frame.type, 0); /* closed without an answer */
    assert_int_equal(al_runner_wait(runner), -AL_E_POISONED);
    assert_int_equal(al_runner_connect(runner, &fd), -AL_E_CLOSED);
    client_close(&sender);
}

/* What was accepted before the stop is flushed and answered. */
static void stop_drains(void **state)
{
    struct client sender, receiver;

    (void)state;
    client_open(&sender);
    client_open(&receiver);
    client_hello(&sender);
    client_hello(&receiver);
    client_attach(&receiver, 10);
    client_channel(&sender);
    held.waiting = 0;
    held.hold = 1;
    put_publish(&sender, 1, 100);
    client_flush(&sender);
    while (!held.waiting)
        usleep(500);
    al_runner_stop(runner);
    usleep(20000);
    held.hold = 0;
    expect(&sender, AL_MSG_RECEIPT);
    assert_int_equal(al_runner_wait(runner), 0);
    client_close(&sender);
    client_close(&receiver);
}

/* Connections from several threads, opened and dropped at every stage. */
static void *knock(void *ctx)
{
    struct al_msg_hello hello = {
        .magic = AL_WIRE_MAGIC, .version_min = 1, .version_max = 1, .client = al_str_c("knock")};
    struct al_test_alloc test;
    struct al_buf frame;
    uint8_t answer[512];

    (void)ctx;
    al_test_alloc_init(&test);
    al_buf_init(&frame, &test.alloc);
    al_put_hello(&frame, &hello);
    for (int i = 0; i < 300; i++) {
        struct pollfd pollfd = {.events = POLLIN};
        int fd, rc = al_runner_connect(runner, &fd);

        if (rc == -AL_E_BUSY) { /* the node has not taken in the last ones yet */
            usleep(200);
            continue;
        }
        if (rc)
            return (void *)1;
        pollfd.fd = fd;
        if (i % 3 && send(fd, frame.data, i % 3 == 1 ? frame.size : 5, MSG_NOSIGNAL) < 0)
            return (void *)1;
        if (i % 3 == 1 && (poll(&pollfd, 1, 10000) != 1 || recv(fd, answer, sizeof answer, 0) <= 0))
            return (void *)1;
        close(fd);
    }
    al_buf_deinit(&frame);
    return NULL;
}

static void connections_come_and_go(void **state)
{
    pthread_t threads[4];
    struct client client;
    void *failed;

    (void)state;
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, knock, NULL), 0);
    for (size_t i = 0; i < 4; i++) {
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    client_open(&client);
    client_hello(&client);
    client_close(&client);
}

/* Nothing to do: sealed once, then the disk and the processor are left alone. */
static void idle_node_seals_once(void **state)
{
    struct client client;
    int flushes;

    (void)state;
    client_open(&client);
    client_hello(&client);
    client_attach(&client, 1);
    flushes = held.flushes;
    for (unsigned tries = 0; held.flushes == flushes && tries < 10000; tries++)
        usleep(1000);
    usleep(500000);
    assert_true(held.flushes - flushes >= 1 && held.flushes - flushes <= 2);
    flushes = held.flushes;
    usleep(250000);
    assert_int_equal(held.flushes, flushes);
    client_close(&client);
}

/* ---- the stock of buffers ---------------------------------------------------------------- */

static void stock_keeps_while_it_is_wanted_and_gives_back(void **state)
{
    struct ali_buffer bufs[8] = {0};
    struct ali_buffers stock;
    struct al_test_alloc test;

    (void)state;
    al_test_alloc_init(&test);
    ali_buffers_init(&stock, &test.alloc);
    assert_int_equal(ali_buffer_reserve(&stock, &bufs[0], 3u << 20), 0);
    ali_buffer_drop(&stock, &bufs[0]);
    assert_int_equal(stock.kept_bytes, test.live_bytes); /* the next one gets it warm */
    assert_true(stock.kept_bytes > ALI_BUFFERS_KEPT && stock.is_pressed);
    assert_int_equal(ali_buffer_reserve(&stock, &bufs[0], 3u << 20), 0);
    assert_int_equal(stock.kept_bytes, 0);
    for (unsigned i = 1; i < 8; i++)
        assert_int_equal(ali_buffer_reserve(&stock, &bufs[i], 1u << 20), 0);
    for (unsigned i = 0; i < 8; i++)
        ali_buffer_drop(&stock, &bufs[i]);
    assert_true(stock.kept_bytes <= ALI_BUFFERS_KEPT_MAX);
    assert_int_equal(stock.kept_bytes, test.live_bytes);
    ali_buffers_trim(&stock, ALI_BUFFERS_KEPT);
    assert_true(stock.kept_bytes > 0 && stock.kept_bytes <= ALI_BUFFERS_KEPT);
    assert_int_equal(stock.kept_bytes, test.live_bytes);
    ali_buffers_deinit(&stock);
    assert_int_equal(test.live_bytes, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(answers_wait_for_the_disk, set_up, tear_down),
        cmocka_unit_test_setup_teardown(frames_of_all_sizes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(dribble_and_lie, set_up, tear_down),
        cmocka_unit_test_setup_teardown(many_messages_with_a_lazy_receiver, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_failed_flush_ends_the_node, set_up, tear_down),
        cmocka_unit_test_setup_teardown(stop_drains, set_up, tear_down),
        cmocka_unit_test_setup_teardown(connections_come_and_go, set_up, tear_down),
        cmocka_unit_test_setup_teardown(idle_node_seals_once, set_up, tear_down),
        cmocka_unit_test(stock_keeps_while_it_is_wanted_and_gives_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
