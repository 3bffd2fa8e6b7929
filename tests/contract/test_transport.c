/* test_transport.c - messages over every transport: test_transport inproc|file|unix [FILTER]. */
#include "transport.h"
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static uint64_t wall_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- sending and receiving --------------------------------------------------------------- */

static void test_send_receive(void **state)
{
    const struct bus *bus = *state;
    struct al_client *client = bus_open(bus);
    struct al_header headers[] = {{"a", "1"}, {"b", ""}, {"a", "2"}};
    struct al_message message = text_message("alice", "team/bob", "hello");
    struct al_receipt receipt;
    struct al_delivery *d;

    ok(al_attach(client, "team/bob", NULL));
    ok(al_message_id_random(&message.id));
    message.kind = "Greeting.v1";
    message.key = "key-1";
    message.stream = "talk";
    message.priority = 7;
    message.content_type = "text/plain";
    message.correlation_id = "corr";
    message.workflow_id = "flow";
    message.reply_to = "alice";
    message.traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    message.headers = headers;
    message.header_count = 3;
    assert_int_equal(al_send(client, &message, 5000, &receipt), -AL_ERR_DENIED);
    ok(al_acl_allow(client, "alice", AL_ACL_SEND, "team/*", NULL)); /* another namespace */
    ok(al_send(client, &message, 5000, &receipt));
    assert_int_equal(al_message_id_compare(&receipt.id, &message.id), 0);
    assert_int_equal(receipt.seq, 1);
    assert_false(receipt.duplicate);
    assert_int_equal(receipt.durability, bus->is_unix || bus->is_file
                                             ? AL_DURABILITY_CLASS_LOCAL
                                             : AL_DURABILITY_CLASS_VOLATILE);
    d = receive(client);
    assert_text(d, "hello");
    assert_int_equal(al_message_id_compare(&d->message.id, &message.id), 0);
    assert_string_equal(d->agent, "team/bob");
    assert_string_equal(d->message.from, "alice");
    assert_string_equal(d->message.to, "team/bob");
    assert_string_equal(d->message.kind, "Greeting.v1");
    assert_string_equal(d->message.key, "key-1");
    assert_string_equal(d->message.stream, "talk");
    assert_int_equal(d->message.priority, 7);
    assert_string_equal(d->message.content_type, "text/plain");
    assert_string_equal(d->message.correlation_id, "corr");
    assert_string_equal(d->message.workflow_id, "flow");
    assert_int_equal(d->workflow_seq, 1);
    assert_string_equal(d->message.reply_to, "alice");
    assert_string_equal(d->message.traceparent, message.traceparent);
    assert_string_equal(d->message.tracestate, "");
    assert_int_equal(d->message.header_count, 3);
    assert_string_equal(d->message.headers[1].name, "b");
    assert_string_equal(d->message.headers[1].value, "");
    assert_string_equal(al_message_header(&d->message, "a"), "1");
    assert_null(al_message_header(&d->message, "c"));
    assert_int_equal(d->stream, receipt.stream);
    assert_int_equal(d->seq, 1);
    assert_int_equal(d->attempt, 1);
    assert_false(d->redelivered);
    assert_int_equal(d->lease_ms, 1000);
    assert_true(d->admitted_ms <= wall_ms());
    ok(al_ack(d, NULL));
    ok(al_client_flush(client, 5000));
    assert_int_equal(al_receive(client, 0, &d), -AL_ERR_TIMEOUT);
    bus_close(client);
}

/* Everything in order, one at a time per stream, whatever its size. */
static void test_order(void **state)
{
    const struct bus *bus = *state;
    struct al_client *sender = bus_open(bus), *receiver = bus_open(bus);
    static char payload[3000];
    const unsigned count = 1000;
    uint64_t last[2] = {0, 0};
    struct al_client_info info;
    unsigned i;

    ok(al_attach(receiver, "b", &(struct al_attach_options){.credit = 50}));
    for (i = 0; i < count; i++) {
        struct al_message message = text_message("a", "b", payload);

        message.stream = i % 2 ? "odd" : "even";
        message.payload_size = (i * 7919u) % sizeof(payload);
        memset(payload, 'a' + i % 26, message.payload_size);
        ok(al_send_async(sender, &message, NULL, NULL, NULL));
    }
    ok(al_client_flush(sender, 10000));
    for (i = 0; i < count; i++) {
        struct al_delivery *d = receive(receiver);
        unsigned odd = d->message.stream[0] == 'o', number = (unsigned)(d->seq - 1) * 2 + odd;

        assert_int_equal(d->seq, last[odd] + 1);
        assert_int_equal(d->prev_seq, last[odd]);
        last[odd] = d->seq;
        assert_int_equal(d->message.payload_size, (number * 7919u) % sizeof(payload));
        if (d->message.payload_size)
            assert_int_equal(((const char *)d->message.payload)[d->message.payload_size - 1],
                             'a' + number % 26);
        ok(al_ack(d, NULL));
    }
    ok(al_client_flush(receiver, 10000));
    al_client_get_info(sender, &info);
    assert_int_equal(info.sent, count);
    assert_int_equal(info.receipted, count);
    al_client_get_info(receiver, &info);
    assert_int_equal(info.received, count);
    assert_int_equal(info.confirmed, count);
    assert_int_equal(info.held + info.queued + info.unconfirmed, 0);
    bus_close(sender);
    bus_close(receiver);
}

/* Unordered messages are with the program at the same time, and one that fails holds none up. */
static void test_unordered(void **state)
{
    const struct bus *bus = *state;
    struct al_client *sender = bus_open(bus), *receiver = bus_open(bus);
    struct al_delivery *d[3];
    struct al_message_id failed;
    unsigned i;

    ok(al_attach(receiver, "b", NULL));
    for (i = 0; i < 3; i++) {
        struct al_message message = text_message("a", "b", "x");

        message.flags = AL_MESSAGE_UNORDERED;
        ok(al_send_async(sender, &message, NULL, NULL, NULL));
    }
    ok(al_client_flush(sender, 10000));
    for (i = 0; i < 3; i++)
        d[i] = receive(receiver);
    failed = d[1]->message.id;
    ok(al_ack(d[2], NULL));
    ok(al_nack(d[1], 0, "not now"));
    ok(al_ack(d[0], NULL));
    d[1] = receive(receiver);
    assert_memory_equal(&d[1]->message.id, &failed, sizeof(failed));
    assert_int_equal(d[1]->attempt, 2);
    ok(al_ack(d[1], NULL));
    ok(al_client_flush(receiver, 10000));
    bus_close(sender);
    bus_close(receiver);
}

static void set_priority(struct al_client *client, const char *kind, uint32_t priority)
{
    struct al_kind_info info;

    al_kind_info_init(&info, kind);
    info.priority = priority;
    ok(al_kind_set(client, &info));
}

/* Receives the next message, which has this text and this priority, and came by this receipt. */
static void check_next(struct al_client *client, const char *text, unsigned priority,
                       const struct al_receipt *receipt)
{
    struct al_delivery *d = receive(client);

    assert_text(d, text);
    assert_int_equal(d->message.priority, priority);
    if (receipt)
        assert_true(d->stream == receipt->stream && d->seq == receipt->seq);
    ok(al_ack(d, NULL));
}

/* The kind's priority counts where the sender gives none, as it is registered just then. */
static void test_priority_of_kind(void **state)
{
    struct al_client *client = bus_open(*state);
    struct al_message message = text_message("a", "b", "x");
    struct al_receipt receipt, before;
    struct al_commit *commit;

    ok(al_attach(client, "b", NULL));
    set_priority(client, "urgent", 9);
    assert_int_equal(message.priority, AL_MESSAGE_PRIORITY_OF_KIND);
    ok(al_send(client, &message, 5000, NULL)); /* it has no kind */
    check_next(client, "x", AL_MESSAGE_PRIORITY_DEFAULT, NULL);
    message.kind = "urgent";
    ok(al_send(client, &message, 5000, &before));
    check_next(client, "x", 9, &before);
    message.priority = 2;
    ok(al_send(client, &message, 5000, NULL));
    check_next(client, "x", 2, NULL);
    message.priority = AL_MESSAGE_PRIORITY_OF_KIND;
    message.flags = AL_MESSAGE_UNORDERED;
    ok(al_send(client, &message, 5000, &receipt));
    check_next(client, "x", 9, &receipt);
    message.flags = AL_MESSAGE_VOLATILE;
    ok(al_send(client, &message, 5000, NULL));
    check_next(client, "x", 9, NULL);
    message.flags = 0;
    ok(al_commit_begin(client, "a", &commit));
    ok(al_commit_send(commit, &message));
    ok(al_commit(commit, 5000));
    al_commit_free(commit);
    check_next(client, "x", 9, NULL);
    set_priority(client, "urgent", 1);
    ok(al_send(client, &message, 5000, &receipt));
    assert_int_not_equal(receipt.stream, before.stream);
    check_next(client, "x", 1, &receipt);
    ok(al_kind_remove(client, "urgent"));
    ok(al_send(client, &message, 5000, NULL));
    check_next(client, "x", AL_MESSAGE_PRIORITY_DEFAULT, NULL);
    bus_close(client);
}

static void test_large(void **state)
{
    struct al_client *client = bus_open(*state);
    const size_t size = 1 << 20;
    char *payload = malloc(size + 1);
    struct al_message message = text_message("a", "b", "");
    struct al_delivery *d;
    size_t i;

    assert_non_null(payload);
    for (i = 0; i < size; i++)
        payload[i] = (char)(i * 31);
    ok(al_attach(client, "b", NULL));
    message.payload = payload;
    message.payload_size = size + 1;
    assert_int_equal(al_send(client, &message, 5000, NULL), -AL_ERR_TOO_LARGE);
    message.payload_size = size;
    ok(al_send(client, &message, 5000, NULL));
    d = receive(client);
    assert_int_equal(d->message.payload_size, size);
    assert_memory_equal(d->message.payload, payload, size);
    ok(al_ack(d, &(struct al_ack_options){.response = payload, .response_size = size}));
    bus_close(client);
    free(payload);
}

static void test_pipelined(void **state)
{
    struct al_client *client = bus_open(*state);
    struct al_delivery *first, *second, *d;

    ok(al_attach(client, "b", &(struct al_attach_options){.pipelined = true}));
    send_text(client, "a", "b", "1");
    send_text(client, "a", "b", "2");
    first = receive(client);
    second = receive(client);
    assert_text(second, "2");
    assert_int_equal(al_ack(second, NULL), -AL_ERR_OUT_OF_ORDER);
    ok(al_ack(first, NULL));
    ok(al_ack(second, NULL));
    ok(al_detach(client, "b", false));
    ok(al_attach(client, "b", NULL));
    send_text(client, "a", "b", "3");
    send_text(client, "a", "b", "4");
    first = receive(client);
    assert_int_equal(al_receive(client, 100, &d), -AL_ERR_TIMEOUT); /* 3 is not settled yet */
    ok(al_ack(first, NULL));
    assert_text(d = receive(client), "4");
    ok(al_ack(d, NULL));
    bus_close(client);
}

static void test_volatile(void **state)
{
    struct al_client *client = bus_open(*state);
    struct al_message message = text_message("a", "b", "tick");
    struct al_receipt receipt;
    struct al_delivery *d;
    unsigned i;

    ok(al_attach(client, "b", &(struct al_attach_options){.credit = 4}));
    message.flags = AL_MESSAGE_VOLATILE;
    for (i = 0; i < 20; i++) { /* more than the credit: it comes back with the ack */
        ok(al_send(client, &message, 5000, &receipt));
        assert_int_equal(receipt.durability, AL_DURABILITY_CLASS_VOLATILE);
        assert_int_equal(receipt.seq, 0);
        d = receive(client);
        assert_text(d, "tick");
        assert_int_equal(d->seq, 0);
        ok(al_ack(d, NULL));
    }
    message.flags |= AL_MESSAGE_NOTIFY;
    assert_int_equal(al_send(client, &message, 5000, &receipt), -AL_ERR_INVALID);
    send_text(client, "a", "b", "tracked");
    assert_text(d = receive(client), "tracked");
    ok(al_ack(d, NULL));
    bus_close(client);
}

static void test_delayed(void **state)
{
    struct al_client *client = bus_open(*state);
    struct al_message message = text_message("a", "b", "later");
    struct al_receipt receipt;
    struct al_delivery *d;
    struct al_end *end;

    ok(al_attach(client, "b", NULL));
    message.deliver_at_ms = wall_ms() + 1500;
    message.flags = AL_MESSAGE_NOTIFY;
    ok(al_send(client, &message, 5000, &receipt));
    assert_int_equal(receipt.seq, 0);
    assert_int_equal(al_receive(client, 100, &d), -AL_ERR_TIMEOUT);
    d = receive(client);
    assert_true(wall_ms() >= message.deliver_at_ms);
    assert_int_equal(d->seq, 1);
    ok(al_ack(d, NULL));
    ok(al_end_next(client, 5000, &end));
    assert_int_equal(end->state, AL_RECORD_DELIVERED);
    al_end_free(end);
    bus_close(client);
}

/* ---- errors ------------------------------------------------------------------------------ */

static void test_refusals(void **state)
{
    struct al_client *client = bus_open(*state);
    struct al_message message = text_message("a", "nobody", "x");

    assert_int_equal(al_send(client, &message, 5000, NULL), -AL_ERR_UNKNOWN_AGENT);
    assert_non_null(strstr(al_last_error(), "nobody"));
    assert_non_null(strstr(al_last_error(), "agents add"));
    ok(al_agent_add(client, "nobody"));
    ok(al_send(client, &message, 5000, NULL));
    message.to = "No Body";
    assert_int_equal(al_send(client, &message, 5000, NULL), -AL_ERR_BAD_NAME);
    assert_non_null(strstr(al_last_error(), "No Body"));
    message.to = "nobody";
    message.kind = "not a kind";
    assert_int_equal(al_send(client, &message, 5000, NULL), -AL_ERR_INVALID);
    message.kind = NULL;
    message.priority = 10;
    assert_int_equal(al_send(client, &message, 5000, NULL), -AL_ERR_INVALID);
    message.priority = AL_MESSAGE_PRIORITY_OF_KIND;
    message.ttl_ms = 10;
    message.deliver_at_ms = wall_ms() + 60000;
    assert_int_equal(al_send(client, &message, 5000, NULL), -AL_ERR_EXPIRED);
    message.ttl_ms = message.deliver_at_ms = 0;
    ok(al_send(client, &message, 5000, NULL)); /* a refusal for good holds nothing up */
    bus_close(client);
}

static void test_dedup(void **state)
{
    struct al_client *client = bus_open(*state), *other = bus_open(*state);
    struct al_message message = text_message("a", "b", "pay 5");
    struct al_receipt first, second;

    ok(al_agent_add(client, "b"));
    message.key = "payment-1";
    ok(al_send(client, &message, 5000, &first));
    assert_false(first.duplicate);
    ok(al_send(other, &message, 5000, &second));
    assert_true(second.duplicate);
    assert_int_equal(second.stream, first.stream);
    assert_int_equal(second.seq, first.seq);
    message.payload = "pay 6";
    assert_int_equal(al_send(other, &message, 5000, &second), -AL_ERR_KEY_CONFLICT);
    message.key = NULL;
    message.payload = "pay 7";
    message.id = first.id; /* the same id is the same message */
    ok(al_send(other, &message, 5000, &second));
    assert_true(second.duplicate);
    bus_close(client);
    bus_close(other);
}

/* The inbox holds 2000: what comes behind is refused, and nothing overtakes. */
static void test_inbox_full(void **state)
{
    struct al_client *client = bus_open(*state);
    struct al_message message = text_message("a", "b", "x");
    struct answers answers = {0, 0, 0, 0};
    struct al_delivery *d;
    unsigned i;

    ok(al_agent_add(client, "b"));
    for (i = 0; i < 2010; i++)
        ok(al_send_async(client, &message, count_answer, &answers, NULL));
    ok(al_client_flush(client, 10000));
    assert_int_equal(answers.good, 2000);
    assert_int_equal(answers.full, 1);
    assert_int_equal(answers.held, 9);
    assert_int_equal(al_send_async(client, &message, NULL, NULL, NULL), -AL_ERR_STREAM_HELD);
    assert_int_equal(al_send(client, &message, 5000, NULL), -AL_ERR_STREAM_HELD);
    ok(al_stream_resume(client, &message));
    assert_int_equal(al_send(client, &message, 5000, NULL), -AL_ERR_INBOX_FULL);
    assert_int_equal(al_send(client, &message, 5000, NULL), -AL_ERR_INBOX_FULL);
    ok(al_attach(client, "b", NULL));
    d = receive(client);
    ok(al_ack(d, NULL));
    ok(al_client_flush(client, 5000));
    ok(al_send(client, &message, 5000, NULL));
    bus_close(client);
}

/* With AL_REFUSAL_RETRY the library keeps the refused ones and their order. */
static void test_inbox_full_retry(void **state)
{
    struct al_client *sender =
        bus_open_with(*state, (struct al_client_options){.refusals = AL_REFUSAL_RETRY});
    struct al_client *receiver = bus_open(*state);
    struct answers answers = {0, 0, 0, 0};
    char text[16];
    unsigned i;

    ok(al_agent_add(sender, "b"));
    for (i = 0; i < 2100; i++) {
        struct al_message message = text_message("a", "b", text);

        snprintf(text, sizeof(text), "%u", i);
        message.payload_size = strlen(text);
        ok(al_send_async(sender, &message, count_answer, &answers, NULL));
    }
    for (i = 0; i < 100 && (i == 0 || answers.good < 2000); i++)
        assert_int_equal(al_client_flush(sender, 300), -AL_ERR_TIMEOUT);
    assert_int_equal(answers.good, 2000);
    ok(al_attach(receiver, "b", &(struct al_attach_options){.credit = 256}));
    for (i = 0; i < 2100; i++) {
        struct al_delivery *d;

        while (al_receive(receiver, 20, &d) == -AL_ERR_TIMEOUT)
            ok(al_client_dispatch(sender, 0));
        snprintf(text, sizeof(text), "%u", i);
        assert_text(d, text);
        ok(al_ack(d, NULL));
    }
    ok(al_client_flush(sender, 5000));
    assert_int_equal(answers.good, 2100);
    assert_int_equal(answers.full + answers.held + answers.other, 0);
    bus_close(sender);
    bus_close(receiver);
}

/* ---- ends and requests ------------------------------------------------------------------- */

static int echo(void *ctx, struct al_delivery *d)
{
    struct al_ack_options ack = {.response_type = "text/echo",
                                 .response = d->message.payload,
                                 .response_size = d->message.payload_size};

    (void)ctx;
    if (d->message.payload_size == 4 && memcmp(d->message.payload, "fail", 4) == 0) {
        ack.status = AL_ACK_FAILED;
        ack.reason = "as you wish";
    }
    return al_ack(d, &ack);
}

static void *run_echo(void *ctx)
{
    ok(al_client_run(ctx));
    return NULL;
}

static void test_request(void **state)
{
    struct al_client *asker = bus_open(*state), *server = bus_open(*state);
    struct al_message message = text_message("asker", "echo", "ping");
    struct al_end *end;
    pthread_t thread;

    ok(al_handle(server, "echo", NULL, echo, NULL));
    assert_int_equal(pthread_create(&thread, NULL, run_echo, server), 0);
    ok(al_request(asker, &message, 5000, &end));
    assert_int_equal(end->response_size, 4);
    assert_memory_equal(end->response, "ping", 4);
    assert_string_equal(end->response_type, "text/echo");
    al_end_free(end);
    message = text_message("asker", "echo", "fail");
    assert_int_equal(al_request(asker, &message, 5000, &end), -AL_ERR_DEAD_LETTERED);
    assert_non_null(strstr(al_last_error(), "as you wish"));
    al_client_stop(server);
    pthread_join(thread, NULL);
    message = text_message("asker", "echo", "late");
    assert_int_equal(al_request(asker, &message, 2000, &end), -AL_ERR_TIMEOUT);
    bus_close(server);
    bus_close(asker);
}

static void test_request_cached(void **state)
{
    struct al_client *asker = bus_open(*state), *server = bus_open(*state);
    struct al_message message = text_message("asker", "echo", "once");
    struct al_end *end;
    pthread_t thread;

    ok(al_handle(server, "echo", NULL, echo, NULL));
    assert_int_equal(pthread_create(&thread, NULL, run_echo, server), 0);
    message.key = "k";
    ok(al_request(asker, &message, 5000, &end));
    al_end_free(end);
    al_client_stop(server);
    pthread_join(thread, NULL);
    bus_close(server);
    ok(al_request(asker, &message, 2000, &end)); /* nobody works any more: the stored answer */
    assert_int_equal(end->response_size, 4);
    assert_memory_equal(end->response, "once", 4);
    al_end_free(end);
    bus_close(asker);
}

/* ---- handlers ---------------------------------------------------------------------------- */

struct work {
    pthread_mutex_t lock;
    struct al_client *client;
    unsigned running, most, done, failed;
    uint64_t last;
};

static int work(void *ctx, struct al_delivery *d)
{
    struct work *w = ctx;

    pthread_mutex_lock(&w->lock);
    if (++w->running > w->most)
        w->most = w->running;
    pthread_mutex_unlock(&w->lock);
    pause_ms(2);
    pthread_mutex_lock(&w->lock);
    w->running--;
    if (d->attempt == 1 && d->seq % 5 == 0) { /* fails the first time */
        w->failed++;
        pthread_mutex_unlock(&w->lock);
        return -AL_ERR_BUSY;
    }
    assert_int_equal(d->seq, w->last + 1);
    w->last = d->seq;
    if (++w->done == 40)
        al_client_stop(w->client);
    pthread_mutex_unlock(&w->lock);
    return 0;
}

static void *dispatch_work(void *ctx)
{
    struct work *w = ctx;
    bool done = false;

    while (!done) {
        ok(al_client_dispatch(w->client, 50));
        pthread_mutex_lock(&w->lock);
        done = w->done == 40;
        pthread_mutex_unlock(&w->lock);
    }
    return NULL;
}

/* Several threads dispatch: still one handler at a time per stream, and in order over retries. */
static void test_handlers(void **state)
{
    struct al_client *sender = bus_open(*state);
    struct work w = {.lock = PTHREAD_MUTEX_INITIALIZER, .client = bus_open(*state)};
    pthread_t threads[3];
    unsigned i;

    ok(al_handle(w.client, "b", NULL, work, &w));
    for (i = 0; i < 40; i++)
        send_text(sender, "a", "b", "x");
    for (i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, dispatch_work, &w), 0);
    for (i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(w.done, 40);
    assert_int_equal(w.failed, 8);
    assert_int_equal(w.most, 1);
    bus_close(w.client);
    bus_close(sender);
}

static struct al_delivery *kept;

static int keep(void *ctx, struct al_delivery *d)
{
    (void)ctx;
    kept = d;
    return AL_HANDLER_KEEPS;
}

static void test_handler_keeps(void **state)
{
    struct al_client *client = bus_open(*state);

    kept = NULL;
    ok(al_handle(client, "b", NULL, keep, NULL));
    send_text(client, "a", "b", "1");
    send_text(client, "a", "b", "2");
    while (!kept)
        ok(al_client_dispatch(client, 1000));
    assert_text(kept, "1");
    assert_int_equal(al_client_dispatch(client, 50), 0); /* 2 waits for 1 */
    ok(al_ack(kept, NULL));
    kept = NULL;
    while (!kept)
        ok(al_client_dispatch(client, 1000));
    assert_text(kept, "2");
    ok(al_ack(kept, NULL));
    bus_close(client);
}

/* Messages that a handler has kept, for another thread. */
struct kept_queue {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct al_client *client;
    struct al_delivery *one;
    unsigned done;
};

#define KEPT 200u

static int keep_for_other(void *ctx, struct al_delivery *d)
{
    struct kept_queue *queue = ctx;

    pthread_mutex_lock(&queue->lock);
    assert_null(queue->one);
    queue->one = d;
    pthread_cond_signal(&queue->changed);
    pthread_mutex_unlock(&queue->lock);
    return AL_HANDLER_KEEPS;
}

static void *ack_kept(void *ctx)
{
    struct kept_queue *queue = ctx;

    while (queue->done < KEPT) {
        struct al_delivery *d;

        pthread_mutex_lock(&queue->lock);
        while (!queue->one)
            pthread_cond_wait(&queue->changed, &queue->lock);
        d = queue->one;
        queue->one = NULL;
        pthread_mutex_unlock(&queue->lock);
        queue->done++;
        pause_ms(1); /* the other thread has gone to sleep */
        ok(al_ack(d, NULL));
    }
    al_client_stop(queue->client);
    return NULL;
}

/* One thread dispatches, another one acknowledges: the next message of the stream is handled at
 * once, and not when the dispatching thread happens to wake up. */
static void test_acked_by_another_thread(void **state)
{
    struct kept_queue queue = {.lock = PTHREAD_MUTEX_INITIALIZER,
                               .changed = PTHREAD_COND_INITIALIZER,
                               .client = bus_open(*state)};
    struct timespec begin, end;
    pthread_t thread;
    unsigned i;

    for (i = 0; i < KEPT; i++) {
        if (i == 0)
            ok(al_agent_add(queue.client, "b"));
        send_text(queue.client, "a", "b", "x");
    }
    clock_gettime(CLOCK_MONOTONIC, &begin);
    ok(al_handle(queue.client, "b", NULL, keep_for_other, &queue));
    assert_int_equal(pthread_create(&thread, NULL, ack_kept, &queue), 0);
    ok(al_client_run(queue.client));
    pthread_join(thread, NULL);
    clock_gettime(CLOCK_MONOTONIC, &end);
    assert_int_equal(queue.done, KEPT);
    assert_true(end.tv_sec - begin.tv_sec < 5); /* asleep in between it took 50 ms for each */
    bus_close(queue.client);
}

/* ---- descriptors and threads ------------------------------------------------------------- */

static void test_pollable(void **state)
{
    struct al_client *sender = bus_open(*state), *client = bus_open(*state);
    struct pollfd pollfd = {.fd = al_client_fd(client), .events = POLLIN};
    struct answers answers = {0, 0, 0, 0};
    struct al_message message = text_message("b", "b", "self");
    struct al_delivery *d;

    ok(al_attach(client, "b", NULL));
    ok(al_client_dispatch(client, 0));
    assert_int_equal(poll(&pollfd, 1, 0), 0);
    send_text(sender, "a", "b", "x");
    assert_int_equal(poll(&pollfd, 1, 5000), 1);
    ok(al_receive(client, 0, &d));
    assert_text(d, "x");
    ok(al_ack(d, NULL));
    ok(al_client_flush(client, 5000));
    assert_int_equal(poll(&pollfd, 1, 0), 0);
    ok(al_send_async(client, &message, count_answer, &answers, NULL));
    while (answers.good == 0) {
        ok(al_client_dispatch(client, 0));
        if (answers.good == 0)
            assert_int_equal(poll(&pollfd, 1, 5000), 1);
    }
    bus_close(client);
    bus_close(sender);
}

struct many {
    struct al_client *client;
    char from[8];
};

static void *send_many(void *ctx)
{
    struct many *many = ctx;
    unsigned i;

    for (i = 0; i < 100; i++)
        send_text(many->client, many->from, "b", "x");
    return NULL;
}

/* One client, many threads: senders that wait, and a receiver. */
static void test_threads(void **state)
{
    struct al_client *client = bus_open(*state);
    struct many many[4];
    pthread_t threads[4];
    uint64_t last[4] = {0, 0, 0, 0};
    unsigned i;

    ok(al_attach(client, "b", NULL));
    for (i = 0; i < 4; i++) {
        many[i].client = client;
        snprintf(many[i].from, sizeof(many[i].from), "a%u", i);
        assert_int_equal(pthread_create(&threads[i], NULL, send_many, &many[i]), 0);
    }
    for (i = 0; i < 400; i++) {
        struct al_delivery *d = receive(client);
        int who = d->message.from[1] - '0';

        assert_int_equal(d->seq, last[who] + 1);
        last[who] = d->seq;
        ok(al_ack(d, NULL));
    }
    for (i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    bus_close(client);
}

int main(int argc, char **argv)
{
#define T(name) cmocka_unit_test_setup_teardown(test_##name, bus_setup, bus_teardown)
    const struct CMUnitTest tests[] = {
        T(send_receive),
        T(order),
        T(unordered),
        T(priority_of_kind),
        T(large),
        T(pipelined),
        T(volatile),
        T(delayed),
        T(refusals),
        T(dedup),
        T(inbox_full),
        T(inbox_full_retry),
        T(request),
        T(request_cached),
        T(handlers),
        T(handler_keeps),
        T(pollable),
        T(threads),
        T(acked_by_another_thread),
    };

    if (argc > 1)
        bus_transport = argv[1];
    if (argc > 2)
        cmocka_set_test_filter(argv[2]);
    return cmocka_run_group_tests_name(bus_transport, tests, NULL, NULL);
}
