/* test_commits.c - al_commit() and an agent's state over every transport: all of a commit or
 * nothing, once, also where the node goes away in the middle. test_commits inproc|file|unix
 * [FILTER]. */
#include "transport.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- state as text ----------------------------------------------------------------------- */

static int add_text(void *ctx, const struct al_state_value *value)
{
    char *text = ctx;

    snprintf(text + strlen(text), 200 - strlen(text), "%s%s=%.*s", *text ? " " : "", value->key,
             (int)value->value_size, (const char *)value->value);
    return 0;
}

static void assert_state(struct al_client *client, const char *agent, const char *want)
{
    char text[200] = "";

    ok(al_state_list(client, agent, add_text, text));
    assert_string_equal(text, want);
}

/* ---- one commit -------------------------------------------------------------------------- */

static void test_all_of_it(void **state)
{
    struct al_client *asker = bus_open(*state), *worker = bus_open(*state);
    struct al_message question = text_message("asker", "b", "how much"), next;
    struct al_ack_options answer = {.response = "42", .response_size = 2};
    const struct al_receipt *receipts;
    struct al_request *request;
    struct al_client_info info;
    struct al_commit *commit;
    struct al_delivery *d;
    const struct al_end *end;
    struct al_end *next_end;
    char text[200] = "";

    ok(al_attach(worker, "b", NULL));
    ok(al_attach(asker, "asker", NULL));
    ok(al_request_start(asker, &question, NULL, &request));
    d = receive(worker);
    next = text_message(NULL, "asker", "more to come");
    next.flags = AL_MESSAGE_NOTIFY;
    ok(al_commit_begin(worker, "b", &commit));
    ok(al_commit_ack(commit, d, &answer));
    ok(al_commit_send(commit, &next));
    ok(al_commit_put(commit, "asked", "1", 1));
    ok(al_commit_put(commit, "gone", "x", 1));
    assert_int_equal(al_ack(d, NULL), -AL_ERR_INVALID); /* it is the commit's */
    assert_int_equal(al_commit_receipts(commit, &receipts), 0);
    ok(al_commit(commit, 5000));
    ok(al_commit(commit, 5000)); /* it is done */
    assert_int_equal(al_commit_put(commit, "late", "", 0), -AL_ERR_BUSY);
    assert_int_equal(al_commit_receipts(commit, &receipts), 1);
    assert_int_equal(receipts[0].seq, 1);
    assert_false(receipts[0].duplicate);
    d = receive(asker);
    assert_text(d, "more to come");
    assert_string_equal(d->message.from, "b");
    assert_memory_equal(&d->message.id, &receipts[0].id, sizeof(receipts[0].id));
    assert_int_equal(d->stream, receipts[0].stream);
    al_commit_free(commit);
    ok(al_ack(d, NULL));
    ok(al_end_next(worker, 5000, &next_end));
    assert_int_equal(next_end->state, AL_RECORD_DELIVERED);
    al_end_free(next_end);
    ok(al_request_wait(request, 5000, &end));
    assert_int_equal(end->response_size, 2);
    al_request_free(request);
    assert_state(worker, "b", "asked=1 gone=x");
    ok(al_commit_begin(worker, "b", &commit));
    ok(al_commit_delete(commit, "gone"));
    ok(al_commit_delete(commit, "never"));
    ok(al_commit(commit, 5000));
    al_commit_free(commit);
    ok(al_state_get(worker, "b", "asked", add_text, text));
    assert_string_equal(text, "asked=1");
    assert_int_equal(al_state_get(worker, "b", "gone", add_text, text), -AL_ERR_NOT_FOUND);
    al_client_get_info(worker, &info);
    assert_int_equal(info.committed, 2);
    assert_int_equal(info.uncommitted, 0);
    bus_close(worker);
    bus_close(asker);
}

/* One part is wrong: nothing is applied, the error names the part, and without it the rest is. */
static void test_none_of_it(void **state)
{
    struct al_client *client = bus_open(*state);
    struct al_message to_nobody = text_message("b", "nobody", "x"), to_a = to_nobody;
    struct al_status_info status;
    struct al_commit *commit;
    struct al_delivery *d;
    size_t index = 9;

    ok(al_agent_add(client, "a"));
    ok(al_attach(client, "b", NULL));
    (void)send_text(client, "a", "b", "1");
    d = receive(client);
    to_a.to = "a";
    ok(al_commit_begin(client, "b", &commit));
    assert_int_equal(al_commit(commit, 1000), -AL_ERR_INVALID); /* no part */
    ok(al_commit_ack(commit, d, NULL));
    ok(al_commit_send(commit, &to_a));
    ok(al_commit_send(commit, &to_nobody));
    ok(al_commit_put(commit, "k", "v", 1));
    assert_int_equal(al_commit(commit, 5000), -AL_ERR_UNKNOWN_AGENT);
    assert_non_null(strstr(al_last_error(), "message 2 to 'nobody'"));
    assert_int_equal(al_commit_bad_part(commit, &index), AL_COMMIT_PART_MESSAGE);
    assert_int_equal(index, 1);
    assert_state(client, "b", "");
    ok(al_agent_add(client, "nobody"));
    ok(al_commit(commit, 5000)); /* as it is */
    assert_int_equal(al_commit_bad_part(commit, NULL), AL_COMMIT_PART_NONE);
    al_commit_free(commit);
    assert_state(client, "b", "k=v");

    ok(al_commit_begin(client, "b", &commit));
    ok(al_commit_put(commit, "k", "1", 1));
    ok(al_commit_put(commit, "k", "2", 1));
    assert_int_equal(al_commit(commit, 5000), -AL_ERR_INVALID);
    assert_non_null(strstr(al_last_error(), "change 2 of key 'k'"));
    al_commit_free(commit);
    ok(al_commit_begin(client, "nobody-there", &commit));
    ok(al_commit_put(commit, "k", "1", 1));
    assert_int_equal(al_commit(commit, 5000), -AL_ERR_UNKNOWN_AGENT);
    assert_int_equal(al_commit_bad_part(commit, NULL), AL_COMMIT_PART_NONE);
    al_commit_free(commit);
    assert_int_equal(al_commit_begin(client, "No", &commit), -AL_ERR_BAD_NAME);
    ok(al_status_get(client, &status));
    assert_int_equal(status.commits, 1);
    assert_true(status.commits_refused >= 2); /* what the library refuses does not get there */
    bus_close(client);
}

/* FAILED is final: the sender hears of it, the rest of the commit is done, nothing comes again. */
static void test_refusal(void **state)
{
    struct al_client *asker = bus_open(*state), *worker = bus_open(*state);
    struct al_message question = text_message("asker", "b", "how much"), note;
    struct al_ack_options never = {.status = AL_ACK_FAILED, .reason = "nobody knows"};
    struct al_request *request;
    struct al_status_info status;
    struct al_commit *commit;
    struct al_delivery *d;

    ok(al_agent_add(asker, "book"));
    ok(al_attach(worker, "b", &(struct al_attach_options){.pipelined = true}));
    ok(al_request_start(asker, &question, NULL, &request));
    d = receive(worker);
    (void)send_text(asker, "asker", "b", "how many");
    note = text_message(NULL, "book", "refused one");
    ok(al_commit_begin(worker, "b", &commit));
    ok(al_commit_ack(commit, d, &never));
    ok(al_commit_ack(commit, receive(worker), NULL));
    ok(al_commit_send(commit, &note));
    ok(al_commit_put(commit, "refused", "1", 1));
    ok(al_commit(commit, 5000));
    al_commit_free(commit);
    assert_int_equal(al_request_wait(request, 5000, NULL), -AL_ERR_DEAD_LETTERED);
    assert_non_null(strstr(al_last_error(), "nobody knows"));
    al_request_free(request);
    assert_state(worker, "b", "refused=1");
    ok(al_status_get(asker, &status));
    assert_int_equal(status.dead, 1);
    assert_int_equal(status.waiting, 1); /* the note */
    assert_int_equal(status.leased, 0);
    bus_close(worker);
    bus_close(asker);
}

/* A member answers the group as one step with the ack of what it answers. */
static void test_to_a_group(void **state)
{
    struct al_client *asker = bus_open(*state), *worker = bus_open(*state);
    struct al_message question = text_message("a", "group:team", "who is there"), reply;
    const struct al_receipt *receipts;
    struct al_commit *commit;
    struct al_delivery *d;

    ok(al_group_create(asker, "team", NULL));
    ok(al_agent_add(asker, "a"));
    ok(al_group_join(asker, "team", "a", 0, NULL));
    ok(al_attach(worker, "b", NULL));
    ok(al_group_join(worker, "team", "b", 0, NULL));
    ok(al_ack(receive(worker), NULL)); /* that it joined */
    ok(al_group_post(asker, "team", &question, 5000, NULL));
    d = receive(worker);
    assert_text(d, "who is there");
    reply = text_message(NULL, "group:team", "I am");
    reply.key = "keyed";
    ok(al_commit_begin(worker, "b", &commit));
    ok(al_commit_ack(commit, d, NULL));
    ok(al_commit_put(commit, "asked", "1", 1));
    ok(al_commit_send(commit, &reply));
    ok(al_commit(commit, 5000));
    assert_int_equal(al_commit_receipts(commit, &receipts), 1);
    assert_int_equal(receipts[0].seq, 4); /* behind two joins and the question */
    al_commit_free(commit);
    ok(al_commit_begin(worker, "b",
                       &commit)); /* a program that does not know that it has said it */
    ok(al_commit_send(commit, &reply));
    ok(al_commit(commit, 5000));
    assert_int_equal(al_commit_receipts(commit, &receipts), 1);
    assert_int_equal(receipts[0].seq, 4);
    assert_true(receipts[0].duplicate);
    al_commit_free(commit);
    assert_state(worker, "b", "asked=1");
    d = receive(worker); /* its own, as everybody gets it */
    assert_text(d, "I am");
    ok(al_ack(d, NULL));
    bus_close(worker);
    bus_close(asker);
}

static void expect_part(struct al_request *request, uint32_t number, const char *text)
{
    struct al_part part;

    ok(al_request_next_part(request, 5000, &part));
    assert_int_equal(part.number, number);
    assert_int_equal(part.size, strlen(text));
    assert_memory_equal(part.data, text, part.size);
}

/* What was said of a reply before it ends with a commit: the same end mark as by an ack. */
static void test_reply_in_parts(void **state)
{
    struct al_client *asker = bus_open(*state), *worker = bus_open(*state);
    struct al_message question = text_message("asker", "b", "how much");
    struct al_request_options options = {.parts = true};
    struct al_ack_options answer = {.response = "42", .response_size = 2};
    struct al_status_info status;
    struct al_request *request;
    struct al_commit *commit;
    struct al_delivery *d;
    const struct al_end *end;
    struct al_part part;

    ok(al_attach(worker, "b", NULL));
    ok(al_request_start(asker, &question, &options, &request));
    d = receive(worker);
    ok(al_delivery_part(d, "so", 2));
    ok(al_delivery_part(d, "much", 4));
    ok(al_commit_begin(worker, "b", &commit));
    ok(al_commit_ack(commit, d, &answer));
    assert_int_equal(al_delivery_part(d, "more", 4), -AL_ERR_INVALID); /* the end mark stands */
    ok(al_commit_put(commit, "asked", "1", 1));
    ok(al_commit(commit, 5000));
    al_commit_free(commit);
    expect_part(request, 1, "so");
    expect_part(request, 2, "much");
    assert_int_equal(al_request_next_part(request, 5000, &part), -AL_ERR_ALREADY_ENDED);
    ok(al_request_wait(request, 5000, &end));
    assert_int_equal(end->parts, 2);
    assert_int_equal(end->parts_attempt, 1);
    assert_int_equal(end->response_size, 2);
    assert_memory_equal(end->response, "42", 2);
    al_request_free(request);
    ok(al_status_get(asker, &status));
    assert_int_equal(status.parts, 2);
    assert_int_equal(status.parts_dropped + status.parts_refused, 0);
    assert_int_equal(status.commits, 1);
    assert_int_equal(status.commits_repeated + status.commits_refused, 0);
    bus_close(worker);
    bus_close(asker);
}

/* What cannot be part of a commit is refused when it is added. */
static void test_parts(void **state)
{
    struct al_client *client = bus_open(*state);
    struct al_message message = text_message("other", "b", "x");
    static char large[AL_STATE_VALUE_MAX + 1];
    struct al_commit *commit, *other;
    struct al_delivery *d, *second;
    char key[16];

    ok(al_attach(client, "b", &(struct al_attach_options){.pipelined = true}));
    (void)send_text(client, "a", "b", "1");
    (void)send_text(client, "a", "b", "2");
    d = receive(client);
    second = receive(client);
    ok(al_commit_begin(client, "b", &commit));
    ok(al_commit_begin(client, "b", &other));
    assert_int_equal(al_commit_send(commit, &message), -AL_ERR_INVALID); /* not from b */
    message = text_message("b", "Bad Name", "x");
    assert_int_equal(al_commit_send(commit, &message), -AL_ERR_BAD_NAME);
    assert_int_equal(al_commit_put(commit, "", "x", 1), -AL_ERR_INVALID);
    assert_int_equal(al_commit_put(commit, "k", large, sizeof(large)), -AL_ERR_TOO_LARGE);
    ok(al_commit_ack(other, second, NULL));
    assert_int_equal(al_commit_ack(commit, second, NULL), -AL_ERR_INVALID); /* in another one */
    assert_int_equal(al_commit(other, 5000), -AL_ERR_OUT_OF_ORDER);
    al_commit_free(other); /* lets go of it */
    ok(al_commit_ack(commit, d, NULL));
    ok(al_commit_ack(commit, second, NULL));
    for (int i = 0; i < AL_COMMIT_PARTS - 2; i++) {
        snprintf(key, sizeof(key), "k%d", i);
        ok(al_commit_put(commit, key, "v", 1));
    }
    assert_int_equal(al_commit_put(commit, "more", "v", 1), -AL_ERR_LIMIT);
    ok(al_commit(commit, 5000));
    al_commit_free(commit);
    bus_close(client);
}

/* A commit that is dropped leaves its messages to be settled otherwise. */
static void test_dropped(void **state)
{
    struct al_client *client = bus_open(*state);
    struct al_commit *commit;
    struct al_delivery *d;

    ok(al_attach(client, "b", NULL));
    (void)send_text(client, "a", "b", "1");
    (void)send_text(client, "a", "b", "2");
    d = receive(client);
    ok(al_commit_begin(client, "b", &commit));
    ok(al_commit_ack(commit, d, NULL));
    al_commit_free(commit);
    ok(al_ack(d, NULL));
    d = receive(client);
    ok(al_commit_begin(client, "b", &commit));
    ok(al_commit_ack(commit, d, NULL));
    al_delivery_drop(d);
    assert_int_equal(al_commit(commit, 5000), -AL_ERR_INVALID);
    al_commit_free(commit);
    bus_close(client);
}

/* ---- asynchronous ------------------------------------------------------------------------ */

#define MANY 40

struct outcomes {
    int good, bad, last_error;
    bool again; /* a refused one is tried again */
};

static void on_commit(void *ctx, struct al_commit *commit, int error)
{
    struct outcomes *outcomes = ctx;

    outcomes->good += error == 0;
    outcomes->bad += error < 0;
    outcomes->last_error = error;
    if (error < 0)
        assert_non_null(strstr(al_last_error(), "message 1 to 'nobody'"));
    if (error < 0 && outcomes->again)
        ok(al_commit_async(commit, on_commit, outcomes));
    else
        al_commit_free(commit);
}

static void dispatch_until(struct al_client *client, const struct outcomes *outcomes, int count)
{
    for (int i = 0; i < 500 && outcomes->good + outcomes->bad < count; i++)
        (void)al_client_dispatch(client, 100);
    assert_int_equal(outcomes->good + outcomes->bad, count);
}

/* Many of one stream are under way at a time; they are applied in its order. */
static void test_many_at_once(void **state)
{
    struct al_client *worker = bus_open(*state), *reader = bus_open(*state);
    struct outcomes outcomes = {0};
    struct al_client_info info;
    struct al_commit *commit;
    struct al_message copy;
    char text[16];

    ok(al_agent_add(worker, "c"));
    ok(al_attach(worker, "b", &(struct al_attach_options){.pipelined = true, .credit = MANY}));
    for (int i = 0; i < MANY; i++) {
        snprintf(text, sizeof(text), "%d", i);
        (void)send_text(reader, "a", "b", text);
    }
    for (int i = 0; i < MANY; i++) {
        struct al_delivery *d = receive(worker);

        snprintf(text, sizeof(text), "%d", i);
        copy = text_message(NULL, "c", text);
        ok(al_commit_begin(worker, "b", &commit));
        ok(al_commit_ack(commit, d, NULL));
        ok(al_commit_send(commit, &copy));
        ok(al_commit_put(commit, "last", text, strlen(text)));
        ok(al_commit_async(commit, on_commit, &outcomes));
    }
    dispatch_until(worker, &outcomes, MANY);
    assert_int_equal(outcomes.good, MANY);
    al_client_get_info(worker, &info);
    assert_int_equal(info.committed, MANY);
    assert_int_equal(info.uncommitted, 0);
    assert_state(worker, "b", "last=39");
    ok(al_attach(reader, "c", NULL));
    for (int i = 0; i < MANY; i++) {
        struct al_delivery *d = receive(reader);

        snprintf(text, sizeof(text), "%d", i);
        assert_text(d, text);
        ok(al_ack(d, NULL));
    }
    bus_close(worker);
    bus_close(reader);
}

struct piped {
    struct al_client *client;
    struct outcomes outcomes;
    uint64_t most;
};

static int commit_later(void *ctx, struct al_delivery *d)
{
    struct piped *piped = ctx;
    struct al_client_info info;
    struct al_commit *commit;

    ok(al_commit_begin(piped->client, "b", &commit));
    ok(al_commit_ack(commit, d, NULL));
    ok(al_commit_async(commit, on_commit, &piped->outcomes));
    al_client_get_info(piped->client, &info);
    if (info.uncommitted > piped->most)
        piped->most = info.uncommitted;
    return 0;
}

/* A handler gets the next message of a stream while the one before is with its commit. */
static void test_handlers_run_ahead(void **state)
{
    struct piped piped = {.client = bus_open(*state)};
    int sent = 0;

    ok(al_handle(piped.client, "b", &(struct al_attach_options){.pipelined = true}, commit_later,
                 &piped));
    /* The node may be fast enough to answer each before the next one is there, at times. */
    for (int round = 0; round < 200 && piped.most < 2; round++) {
        for (int i = 0; i < MANY; i++)
            (void)send_text(piped.client, "a", "b", "x");
        sent += MANY;
        dispatch_until(piped.client, &piped.outcomes, sent);
    }
    assert_int_equal(piped.outcomes.good, sent);
    assert_true(piped.most >= 2);
    bus_close(piped.client);
}

static void test_called_back(void **state)
{
    struct al_client *client = bus_open(*state);
    struct al_message to_nobody = text_message("b", "nobody", "x");
    struct outcomes outcomes = {0};
    struct al_commit *commit;

    ok(al_agent_add(client, "b"));
    ok(al_commit_begin(client, "b", &commit));
    assert_int_equal(al_commit_async(commit, on_commit, &outcomes), -AL_ERR_INVALID); /* no part */
    ok(al_commit_send(commit, &to_nobody));
    outcomes.again = true;
    ok(al_commit_async(commit, on_commit, &outcomes));
    assert_int_equal(al_commit_async(commit, on_commit, &outcomes), -AL_ERR_BUSY);
    dispatch_until(client, &outcomes, 1);
    assert_int_equal(outcomes.last_error, -AL_ERR_UNKNOWN_AGENT);
    outcomes.again = false;
    dispatch_until(client, &outcomes, 2);

    ok(al_commit_begin(client, "b", &commit)); /* waited for, and called back all the same */
    ok(al_commit_put(commit, "k", "v", 1));
    ok(al_commit_async(commit, on_commit, &outcomes));
    ok(al_commit(commit, 5000));
    assert_int_equal(outcomes.good, 0);
    dispatch_until(client, &outcomes, 3);
    assert_int_equal(outcomes.good, 1);

    ok(al_commit_begin(client, "b", &commit)); /* nobody waits for it */
    ok(al_commit_put(commit, "k", "w", 1));
    ok(al_commit_async(commit, on_commit, &outcomes));
    al_commit_free(commit);
    ok(al_client_flush(client, 5000));
    assert_int_equal(outcomes.good, 1);
    assert_state(client, "b", "k=w");

    ok(al_commit_begin(client, "b", &commit)); /* closing frees it, and calls nobody */
    ok(al_commit_put(commit, "k", "x", 1));
    ok(al_commit_async(commit, on_commit, &outcomes));
    bus_close(client);
    assert_int_equal(outcomes.good, 1);
}

/* ---- handlers ---------------------------------------------------------------------------- */

#define WORK 60

/* Counts in the state, and tells "done" of each message: all of it or nothing. */
static int work(void *ctx, struct al_delivery *d)
{
    struct al_client *client = *(struct al_client **)ctx;
    struct al_message done = text_message(NULL, "done", (const char *)d->message.payload);
    char count[16] = "", text[16];
    struct al_commit *commit;
    int r;

    done.payload_size = d->message.payload_size;
    r = al_state_get(client, "b", "count", add_text, count);
    if (r != 0 && r != -AL_ERR_NOT_FOUND)
        return r;
    snprintf(text, sizeof(text), "%d", *count ? atoi(count + strlen("count=")) + 1 : 1);
    ok(al_commit_begin(client, "b", &commit));
    ok(al_commit_ack(commit, d, NULL));
    ok(al_commit_send(commit, &done));
    ok(al_commit_put(commit, "count", text, strlen(text)));
    r = al_commit(commit, 20000);
    al_commit_free(commit);
    return r;
}

static void *run_client(void *client)
{
    (void)al_client_run(client);
    return NULL;
}

/* The node is stopped again and again while a handler commits: each message takes effect once. */
static void test_once_over_restarts(void **state)
{
    struct bus *bus = *state;
    struct al_client *sender, *worker;
    pthread_t thread;
    char text[16];

    if (!bus->is_unix)
        return; /* clients of an embedded node end with it */
    sender = bus_open(bus);
    worker = bus_open_with(bus, (struct al_client_options){.request_timeout_ms = 20000});
    ok(al_attach(sender, "done", &(struct al_attach_options){.lease_ms = 30000}));
    ok(al_handle(worker, "b", NULL, work, &worker));
    assert_int_equal(pthread_create(&thread, NULL, run_client, worker), 0);
    for (int i = 0; i < WORK; i++) {
        snprintf(text, sizeof(text), "%d", i);
        (void)send_text(sender, "a", "b", text);
        if (i % 6 == 5) {
            bus_stop(bus);
            bus_start(bus);
        }
    }
    for (int i = 0; i < WORK; i++) {
        struct al_delivery *d;

        snprintf(text, sizeof(text), "%d", i);
        ok(al_receive(sender, 20000, &d));
        assert_text(d, text);
        ok(al_ack(d, NULL));
    }
    al_client_stop(worker);
    pthread_join(thread, NULL);
    snprintf(text, sizeof(text), "count=%d", WORK);
    assert_state(sender, "b", text);
    bus_close(worker);
    bus_close(sender);
}

/* Without an answer in time the commit goes on, and may be waited for again. */
static void test_unknown_outcome(void **state)
{
    struct bus *bus = *state;
    struct al_client *client;
    struct al_commit *commit;
    int r;

    if (!bus->is_unix)
        return;
    client = bus_open(bus);
    ok(al_agent_add(client, "b"));
    for (int i = 0; i < 5; i++) {
        ok(al_commit_begin(client, "b", &commit));
        ok(al_commit_put(commit, "k", "v", 1));
        r = al_commit(commit, 0);
        assert_true(r == 0 || r == -AL_ERR_UNKNOWN_OUTCOME || r == -AL_ERR_TIMEOUT);
        bus_stop(bus);
        if (r == -AL_ERR_UNKNOWN_OUTCOME)
            assert_int_equal(al_commit_put(commit, "more", "v", 1), -AL_ERR_BUSY);
        bus_start(bus);
        ok(al_commit(commit, 10000));
        al_commit_free(commit);
    }
    assert_state(client, "b", "k=v");
    bus_close(client);
}

int main(int argc, char **argv)
{
#define T(name) cmocka_unit_test_setup_teardown(test_##name, bus_setup, bus_teardown)
    const struct CMUnitTest tests[] = {
        T(all_of_it),
        T(none_of_it),
        T(refusal),
        T(to_a_group),
        T(parts),
        T(reply_in_parts),
        T(dropped),
        T(many_at_once),
        T(handlers_run_ahead),
        T(called_back),
        T(once_over_restarts),
        T(unknown_outcome),
    };

    if (argc > 1)
        bus_transport = argv[1];
    if (argc > 2)
        cmocka_set_test_filter(argv[2]);
    return cmocka_run_group_tests_name(bus_transport, tests, NULL, NULL);
}
