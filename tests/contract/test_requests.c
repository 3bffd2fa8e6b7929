/* test_requests.c - requests over every transport: many at once, deadlines, cancellation, nodes
 * that go away. test_requests inproc|file|unix [FILTER]. */
#include "transport.h"
#include <pthread.h>
#include <stdio.h>
#include <string.h>

/* The next message, answered with its own text. */
static void answer_one(struct al_client *worker)
{
    struct al_delivery *d = receive(worker);
    struct al_ack_options ack = {.response = d->message.payload,
                                 .response_size = d->message.payload_size};

    ok(al_ack(d, &ack));
    ok(al_client_flush(worker, 5000));
}

static void assert_reply(const struct al_end *end, const char *text)
{
    assert_int_equal(end->response_size, strlen(text));
    assert_memory_equal(end->response, text, strlen(text));
}

static struct al_request *start(struct al_client *client, const char *to, const char *text,
                                uint32_t reply_by_ms)
{
    struct al_message message = text_message("asker", to, text);
    struct al_request_options options = {.reply_by_ms = reply_by_ms};
    struct al_request *request;

    ok(al_request_start(client, &message, &options, &request));
    return request;
}

/* ---- many at once ------------------------------------------------------------------------ */

static void test_waits_in_any_order(void **state)
{
    struct al_client *asker = bus_open(*state), *worker = bus_open(*state);
    struct al_request *requests[20];
    const struct al_end *end;
    struct al_client_info info;
    struct al_receipt receipt;
    char text[8];

    ok(al_attach(worker, "b", NULL));
    for (int i = 0; i < 20; i++) {
        snprintf(text, sizeof(text), "%d", i);
        requests[i] = start(asker, "b", text, 0);
    }
    assert_int_equal(al_request_wait(requests[0], 0, &end), -AL_ERR_TIMEOUT);
    al_client_get_info(asker, &info);
    assert_int_equal(info.outstanding, 20);
    for (int i = 0; i < 20; i++)
        answer_one(worker);
    for (int i = 19; i >= 0; i--) {
        snprintf(text, sizeof(text), "%d", i);
        ok(al_request_wait(requests[i], 5000, &end));
        assert_reply(end, text);
        ok(al_request_wait(requests[i], 0, &end)); /* again: the same */
        assert_reply(end, text);
        assert_true(al_request_receipt(requests[i], &receipt));
        assert_int_equal(receipt.seq, i + 1);
        assert_int_equal(al_request_cancel(requests[i]), -AL_ERR_ALREADY_ENDED);
        al_request_free(requests[i]);
    }
    al_client_get_info(asker, &info);
    assert_int_equal(info.outstanding, 0);
    assert_int_equal(info.requests, 20);
    assert_int_equal(info.replies, 20);
    bus_close(worker);
    bus_close(asker);
}

struct calls {
    unsigned count, good, late, refused;
};

static void called(void *ctx, struct al_request *request, int error, const struct al_end *end)
{
    struct calls *calls = ctx;

    calls->count++;
    if (error == 0) {
        assert_non_null(end);
        calls->good++;
    } else if (error == -AL_ERR_NO_REPLY) {
        assert_null(end);
        assert_non_null(strstr(al_last_error(), "by the deadline"));
        calls->late++;
    } else {
        assert_int_equal(error, -AL_ERR_UNKNOWN_AGENT);
        assert_non_null(strstr(al_last_error(), "nobody"));
        calls->refused++;
    }
    al_request_free(request);
}

static void test_calls_back(void **state)
{
    struct al_client *asker = bus_open(*state), *worker = bus_open(*state);
    struct calls calls = {0, 0, 0, 0};
    struct al_request_options options = {.reply_by_ms = 5000, .fn = called, .ctx = &calls};
    struct al_message message = text_message("asker", "b", "good");
    struct al_request *request;

    ok(al_attach(worker, "b", NULL));
    ok(al_agent_add(worker, "idle"));
    for (int i = 0; i < 10; i++)
        ok(al_request_start(asker, &message, &options, &request));
    message.to = "nobody";
    ok(al_request_start(asker, &message, &options, &request));
    message.to = "idle";
    options.reply_by_ms = 1500;
    message.ttl_ms = 60000;
    ok(al_request_start(asker, &message, &options, &request));
    for (int i = 0; i < 10; i++)
        answer_one(worker);
    while (calls.count < 12)
        assert_true(al_client_dispatch(asker, 5000) > 0);
    assert_int_equal(calls.good, 10);
    assert_int_equal(calls.late, 1);
    assert_int_equal(calls.refused, 1);
    assert_int_equal(al_client_dispatch(asker, 0), 0);
    bus_close(worker);
    bus_close(asker);
}

/* ---- deadlines and refusals -------------------------------------------------------------- */

static int finished(struct al_request *request)
{
    int r = al_request_wait(request, 5000, NULL);

    assert_int_not_equal(r, -AL_ERR_TIMEOUT);
    return r;
}

static void test_ends_are_distinct(void **state)
{
    struct al_client *asker = bus_open(*state), *worker = bus_open(*state);
    struct al_ack_options failed = {.status = AL_ACK_FAILED, .reason = "cannot"};
    struct al_message message = text_message("asker", "b", "short");
    struct al_request_options options = {.reply_by_ms = 5000};
    struct al_request *request;
    struct al_client_info info;

    ok(al_attach(worker, "b", NULL));
    request = start(asker, "b", "late", 1500);
    assert_int_equal(al_request_wait(request, 10, NULL), -AL_ERR_TIMEOUT);
    assert_non_null(strstr(al_last_error(), "still under way"));
    assert_int_equal(finished(request), -AL_ERR_NO_REPLY);
    assert_null(al_request_end(request));
    al_request_free(request);
    answer_one(worker); /* its reply is not missed by anybody */

    request = start(asker, "b", "bad", 0);
    ok(al_ack(receive(worker), &failed));
    assert_int_equal(finished(request), -AL_ERR_DEAD_LETTERED);
    assert_non_null(strstr(al_last_error(), "cannot"));
    assert_int_equal(al_request_end(request)->state, AL_RECORD_FAILED);
    al_request_free(request);

    bus_close(worker);
    message.ttl_ms = 50;
    ok(al_request_start(asker, &message, &options, &request));
    assert_int_equal(finished(request), -AL_ERR_EXPIRED);
    al_request_free(request);
    al_client_get_info(asker, &info);
    assert_int_equal(info.no_replies, 1);
    assert_int_equal(info.replies, 0);
    bus_close(asker);
}

static void test_refused_at_once(void **state)
{
    struct al_client *asker = bus_open(*state);
    struct al_message message = text_message("asker", "No Name", "x");
    struct al_request_options options = {.reply_by_ms = UINT32_MAX};
    struct al_request *requests[AL_REQUESTS_MAX], *request = NULL;

    ok(al_agent_add(asker, "b"));
    assert_int_equal(al_request_start(asker, &message, NULL, &request), -AL_ERR_BAD_NAME);
    message.to = "b";
    assert_int_equal(al_request_start(asker, &message, &options, &request), -AL_ERR_INVALID);
    ok(al_message_id_random(&message.id));
    ok(al_request_start(asker, &message, NULL, &request));
    assert_int_equal(al_message_id_compare(&message.id, &(struct al_message_id){{0}}) != 0, 1);
    assert_int_equal(al_request_start(asker, &message, NULL, &requests[0]), -AL_ERR_EXISTS);
    al_request_free(request);
    memset(&message.id, 0, sizeof(message.id));
    message.to = "nobody";
    for (int i = 0; i < AL_REQUESTS_MAX; i++) {
        while (al_request_start(asker, &message, NULL, &requests[i]) == -AL_ERR_BUSY)
            ok(al_client_dispatch(asker, 1000));
    }
    assert_int_equal(al_request_start(asker, &message, NULL, &request), -AL_ERR_LIMIT);
    assert_int_equal(finished(requests[7]), -AL_ERR_UNKNOWN_AGENT);
    bus_close(asker); /* frees those that are left */
}

/* ---- taking back ------------------------------------------------------------------------- */

static void test_cancel(void **state)
{
    struct al_client *asker = bus_open(*state), *worker = bus_open(*state);
    struct al_request *first, *second;
    struct al_delivery *d;

    ok(al_attach(worker, "b", NULL));
    first = start(asker, "b", "first", 0);
    second = start(asker, "b", "second", 0);
    d = receive(worker);
    assert_text(d, "first");
    ok(al_request_cancel(second)); /* waits */
    ok(al_request_cancel(second)); /* and is taken back already */
    assert_int_equal(finished(second), -AL_ERR_CANCELLED);
    ok(al_request_cancel(first)); /* is with the worker */
    assert_int_equal(finished(first), -AL_ERR_CANCELLED);
    while (!al_delivery_is_lost(d)) /* whose lease is void */
        (void)al_receive(worker, 10, &d);
    al_delivery_drop(d);
    al_request_free(first);
    al_request_free(second);
    first = start(asker, "b", "third", 0);
    answer_one(worker);
    ok(finished(first));
    al_request_free(first);
    bus_close(worker);
    bus_close(asker);
}

static void test_cancel_unsent(void **state)
{
    const struct bus *bus = *state;
    struct al_client_options options = {.node = "unix:/tmp/al-no-such-socket",
                                        .connect_later = true};
    struct al_client *asker;
    struct al_request *request;

    (void)bus;
    ok(al_client_open(&options, &asker));
    request = start(asker, "b", "x", 0);
    ok(al_request_cancel(request));
    assert_int_equal(finished(request), -AL_ERR_CANCELLED);
    al_request_free(request);
    request = start(asker, "b", "x", 30);
    assert_int_equal(finished(request), -AL_ERR_UNREACHABLE);
    al_request_free(request);
    (void)start(asker, "b", "left", 0);
    ok(al_client_close(asker, 0) == -AL_ERR_UNKNOWN_OUTCOME ? 0 : -1);
}

/* ---- replies in parts -------------------------------------------------------------------- */

static struct al_request *start_in_parts(struct al_client *client, const char *text)
{
    struct al_message message = text_message("asker", "b", text);
    struct al_request_options options = {.parts = true};
    struct al_request *request;

    ok(al_request_start(client, &message, &options, &request));
    return request;
}

static void expect_part(struct al_request *request, uint32_t attempt, uint32_t number,
                        const char *text)
{
    struct al_part part;

    ok(al_request_next_part(request, 5000, &part));
    assert_int_equal(part.attempt, attempt);
    assert_int_equal(part.number, number);
    assert_int_equal(part.size, strlen(text));
    assert_memory_equal(part.data, text, part.size);
}

static void expect_end(struct al_request *request, uint32_t attempt, uint32_t count,
                       const char *text)
{
    const struct al_end *end;
    struct al_part part;

    assert_int_equal(al_request_next_part(request, 5000, &part), -AL_ERR_ALREADY_ENDED);
    ok(al_request_wait(request, 0, &end));
    assert_reply(end, text);
    assert_int_equal(end->parts, count);
    assert_int_equal(end->parts_attempt, attempt);
    al_request_free(request);
}

static void test_parts(void **state)
{
    struct al_client *asker = bus_open(*state), *worker = bus_open(*state);
    struct al_ack_options ack = {.response = "end", .response_size = 3};
    struct al_client_info info;
    struct al_request *request, *plain;
    struct al_delivery *d;
    struct al_part part;

    ok(al_attach(worker, "b", NULL));
    request = start_in_parts(asker, "tell");
    d = receive(worker);
    assert_true(d->wants_parts);
    ok(al_delivery_part(d, "one", 3));
    expect_part(request, 1, 1, "one"); /* while the worker works */
    assert_int_equal(al_request_next_part(request, 0, &part), -AL_ERR_TIMEOUT);
    ok(al_delivery_part(d, "two", 3));
    ok(al_nack(d, 0, "again")); /* the parts of this attempt are void */
    d = receive(worker);
    ok(al_delivery_part(d, "un", 2));
    ok(al_delivery_part(d, "deux", 4));
    do
        ok(al_request_next_part(request, 5000, &part));
    while (part.attempt == 1);
    assert_int_equal(part.number, 1);
    assert_memory_equal(part.data, "un", 2);
    ok(al_ack(d, &ack));
    ok(al_client_flush(worker, 5000));
    expect_part(request, 2, 2, "deux");
    expect_end(request, 2, 2, "end");
    al_client_get_info(asker, &info);
    assert_true(info.parts >= 3);

    plain = start(asker, "b", "plain", 0);
    d = receive(worker);
    assert_false(d->wants_parts);
    assert_int_equal(al_delivery_part(d, "x", 1), -AL_ERR_UNSUPPORTED);
    assert_int_equal(al_request_next_part(plain, 0, &part), -AL_ERR_INVALID);
    ok(al_ack(d, NULL));
    assert_int_equal(finished(plain), 0);
    al_request_free(plain);
    bus_close(worker);
    bus_close(asker);
}

struct heard {
    uint32_t parts;
    int finished;
};

static void hear_part(void *ctx, struct al_request *request, const struct al_part *part)
{
    struct heard *heard = ctx;

    (void)request;
    assert_int_equal(heard->finished, 0);
    assert_int_equal(part->number, ++heard->parts);
}

static void hear_end(void *ctx, struct al_request *request, int error, const struct al_end *end)
{
    struct heard *heard = ctx;

    assert_int_equal(error, 0);
    assert_int_equal(end->parts, heard->parts);
    heard->finished++;
    al_request_free(request);
}

static void test_parts_called_back(void **state)
{
    struct al_client *asker = bus_open(*state), *worker = bus_open(*state);
    struct heard heard = {0, 0};
    struct al_message message = text_message("asker", "b", "tell");
    struct al_request_options options = {
        .part_fn = hear_part, .fn = hear_end, .ctx = &heard, .reply_by_ms = 20000};
    struct al_request *request;
    struct al_delivery *d;

    ok(al_attach(worker, "b", NULL));
    ok(al_request_start(asker, &message, &options, &request));
    d = receive(worker);
    for (int i = 0; i < 300; i++)
        ok(al_delivery_part(d, &i, sizeof(i)));
    while (heard.parts < 100)
        ok(al_client_dispatch(asker, 5000));
    ok(al_ack(d, NULL));
    ok(al_client_flush(worker, 5000));
    while (!heard.finished)
        ok(al_client_dispatch(asker, 5000));
    assert_int_equal(heard.parts, 300);
    bus_close(worker);
    bus_close(asker);
}

/* Parts that are lost with a node come with the end; a repeated request gets the stored ones. */
static void test_parts_survive_a_restart(void **state)
{
    struct bus *bus = *state;
    struct al_message message = text_message("asker", "b", "tell");
    struct al_request_options options = {.parts = true, .reply_by_ms = 20000};
    struct al_ack_options ack = {.response = "end", .response_size = 3};
    struct al_client *asker, *worker;
    struct al_request *request;
    struct al_delivery *d;

    if (!bus->is_unix)
        return; /* an embedded node lives and dies with its clients */
    asker = bus_open(bus);
    worker = bus_open(bus);
    ok(al_attach(worker, "b", NULL));
    message.key = "k";
    ok(al_request_start(asker, &message, &options, &request));
    d = receive(worker);
    ok(al_delivery_part(d, "one", 3));
    expect_part(request, 1, 1, "one");
    bus_stop(bus);
    ok(al_delivery_part(d, "two", 3));
    bus_start(bus);
    ok(al_delivery_part(d, "three", 5));
    ok(al_ack(d, &ack));
    ok(al_client_flush(worker, 10000));
    bus_stop(bus);
    bus_start(bus);
    expect_part(request, 1, 2, "two");
    expect_part(request, 1, 3, "three");
    expect_end(request, 1, 3, "end");
    bus_close(worker);
    ok(al_request_start(asker, &message, &options, &request)); /* nobody works any more */
    expect_part(request, 1, 1, "one");
    expect_part(request, 1, 2, "two");
    expect_part(request, 1, 3, "three");
    expect_end(request, 1, 3, "end");
    bus_close(asker);
}

/* ---- requests to a group ----------------------------------------------------------------- */

/* A client that receives for a member of group:team. */
static struct al_client *member(const struct bus *bus, const char *agent)
{
    struct al_client *client = bus_open(bus);

    ok(al_attach(client, agent, NULL));
    ok(al_group_join(client, "team", agent, 0, NULL));
    return client;
}

/* Reads up to the request, which is a message of the kind "ask", and leaves it unsettled. */
static struct al_delivery *asked(struct al_client *client)
{
    struct al_delivery *d = receive(client);

    while (strcmp(d->message.kind, "ask") != 0) {
        ok(al_ack(d, NULL));
        d = receive(client);
    }
    return d;
}

struct asking {
    struct al_client *client;
    uint32_t quorum;
    int timeout_ms, result;
    const char *key;
    struct al_replies *replies;
};

static void *ask_group(void *ctx)
{
    struct asking *asking = ctx;
    struct al_message message = text_message("chair", "", "agreed?");

    message.kind = "ask";
    message.key = asking->key;
    asking->result = al_request_group(asking->client, "team", &message, asking->quorum,
                                      asking->timeout_ms, &asking->replies);
    return NULL;
}

static void reply(struct al_client *client, enum al_ack_status status)
{
    struct al_ack_options ack = {.status = status, .response = "yes", .response_size = 3};

    ok(al_ack(asked(client), &ack));
    ok(al_client_flush(client, 5000));
}

/* Under one key twice: the second gets the first one's replies, and nobody is asked again. */
static void ask_again(struct asking *asking, struct al_client *members[3])
{
    pthread_t thread;

    asking->key = "vote-2";
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&thread, NULL, ask_group, asking), 0);
        for (int k = 0; k < 3 && i == 0; k++)
            reply(members[k], AL_ACK_SUCCESS);
        pthread_join(thread, NULL);
        assert_int_equal(asking->result, 0);
        assert_true(asking->replies->count >= 2);
        assert_reply(asking->replies->replies[0].end, "yes");
        assert_int_equal(asking->replies->seq, 6); /* behind four joins and a question */
        al_replies_free(asking->replies);
    }
    asking->key = NULL;
}

static void test_quorum(void **state)
{
    struct bus *bus = *state;
    struct asking asking = {.client = bus_open(bus), .quorum = 2, .timeout_ms = 20000};
    struct al_message message = text_message("chair", "", "x");
    struct al_client *members[3];
    const char *names[3] = {"ann", "bob", "cyd"};
    struct al_replies *none = NULL;
    pthread_t thread;

    ok(al_group_create(asking.client, "team", NULL));
    ok(al_agent_add(asking.client, "chair"));
    ok(al_group_join(asking.client, "team", "chair", 0, NULL));
    for (int i = 0; i < 3; i++)
        members[i] = member(bus, names[i]);
    assert_int_equal(al_request_group(asking.client, "team", &message, 4, 100, &none),
                     -AL_ERR_INVALID);
    assert_null(none);

    assert_int_equal(pthread_create(&thread, NULL, ask_group, &asking), 0);
    reply(members[2], AL_ACK_SUCCESS);
    reply(members[0], AL_ACK_SUCCESS);
    pthread_join(thread, NULL);
    assert_int_equal(asking.result, 0);
    assert_int_equal(asking.replies->members, 3);
    assert_int_equal(asking.replies->count, 2);
    for (int i = 0; i < 2; i++) {
        assert_reply(asking.replies->replies[i].end, "yes");
        assert_int_equal(asking.replies->replies[i].end->seq, asking.replies->seq);
    }
    assert_string_not_equal(asking.replies->replies[0].agent, asking.replies->replies[1].agent);
    al_replies_free(asking.replies);
    reply(members[1], AL_ACK_SUCCESS); /* too late to be heard */

    ask_again(&asking, members);

    asking.quorum = 3; /* it cannot be reached: long before the deadline */
    assert_int_equal(pthread_create(&thread, NULL, ask_group, &asking), 0);
    reply(members[0], AL_ACK_SUCCESS);
    reply(members[1], AL_ACK_FAILED);
    pthread_join(thread, NULL);
    assert_int_equal(asking.result, -AL_ERR_NO_QUORUM);
    assert_int_equal(asking.replies->failed, 1);
    al_replies_free(asking.replies);
    reply(members[2], AL_ACK_SUCCESS);

    asking.quorum = 0; /* all of them: the deadline passes */
    asking.timeout_ms = 1500;
    assert_int_equal(pthread_create(&thread, NULL, ask_group, &asking), 0);
    reply(members[0], AL_ACK_SUCCESS);
    pthread_join(thread, NULL);
    assert_int_equal(asking.result, -AL_ERR_NO_QUORUM);
    assert_int_equal(asking.replies->quorum, 3);
    assert_int_equal(asking.replies->count, 1);
    assert_string_equal(asking.replies->replies[0].agent, "ann");
    al_replies_free(asking.replies);
    for (int i = 0; i < 3; i++)
        al_client_abort(members[i]);
    bus_close(asking.client);
}

static void test_quorum_over_a_restart(void **state)
{
    struct bus *bus = *state;
    struct asking asking = {.quorum = 2, .timeout_ms = 30000};
    struct al_client *members[2];
    pthread_t thread;

    if (!bus->is_unix)
        return; /* an embedded node lives and dies with its clients */
    asking.client = bus_open(bus);
    ok(al_group_create(asking.client, "team", NULL));
    ok(al_agent_add(asking.client, "chair"));
    ok(al_group_join(asking.client, "team", "chair", 0, NULL));
    members[0] = member(bus, "ann");
    members[1] = member(bus, "bob");
    assert_int_equal(pthread_create(&thread, NULL, ask_group, &asking), 0);
    reply(members[0], AL_ACK_SUCCESS);
    bus_stop(bus);
    bus_start(bus);
    reply(members[1], AL_ACK_SUCCESS);
    pthread_join(thread, NULL);
    assert_int_equal(asking.result, 0);
    assert_int_equal(asking.replies->count, 2);
    al_replies_free(asking.replies);
    bus_close(members[0]);
    bus_close(members[1]);
    bus_close(asking.client);
}

/* ---- nodes that go away ------------------------------------------------------------------ */

static void test_survives_a_restart(void **state)
{
    struct bus *bus = *state;
    struct al_client *asker, *worker;
    struct al_request *requests[6];
    const struct al_end *end;
    char text[8];

    if (!bus->is_unix)
        return; /* an embedded node lives and dies with its clients */
    asker = bus_open(bus);
    worker = bus_open(bus);
    ok(al_attach(worker, "b", NULL));
    for (int i = 0; i < 6; i++) {
        snprintf(text, sizeof(text), "%d", i);
        requests[i] = start(asker, "b", text, 20000);
        if (i % 2 == 0) {
            bus_stop(bus); /* before the receipt, often */
            bus_start(bus);
        }
    }
    for (int i = 0; i < 6; i++) {
        answer_one(worker);
        if (i % 2) {
            bus_stop(bus); /* before the end is heard, often */
            bus_start(bus);
        }
    }
    for (int i = 0; i < 6; i++) {
        snprintf(text, sizeof(text), "%d", i);
        ok(al_request_wait(requests[i], 10000, &end));
        assert_reply(end, text);
        al_request_free(requests[i]);
    }
    bus_close(worker);
    bus_close(asker);
}

int main(int argc, char **argv)
{
#define T(name) cmocka_unit_test_setup_teardown(test_##name, bus_setup, bus_teardown)
    const struct CMUnitTest tests[] = {
        T(waits_in_any_order),      T(calls_back), T(ends_are_distinct),
        T(refused_at_once),         T(cancel),     T(cancel_unsent),
        T(survives_a_restart),      T(parts),      T(parts_called_back),
        T(parts_survive_a_restart), T(quorum),     T(quorum_over_a_restart),
    };

    if (argc > 1)
        bus_transport = argv[1];
    if (argc > 2)
        cmocka_set_test_filter(argv[2]);
    return cmocka_run_group_tests_name(bus_transport, tests, NULL, NULL);
}
