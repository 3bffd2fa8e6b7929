/* test_transport_life.c - failures over every transport: retries, leases, clients and nodes that
 * go away; and administration. test_transport_life inproc|file|unix [FILTER]. */
#include "transport.h"
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- retries and leases ------------------------------------------------------------------ */

static void test_nack(void **state)
{
    struct al_client *client = bus_open(*state);
    struct al_delivery *d;

    ok(al_attach(client, "b", NULL));
    send_text(client, "a", "b", "1");
    send_text(client, "a", "b", "2");
    d = receive(client);
    assert_text(d, "1");
    ok(al_nack(d, 0, "not now"));
    d = receive(client); /* the first again, not the second */
    assert_text(d, "1");
    assert_int_equal(d->attempt, 2);
    assert_true(d->redelivered);
    ok(al_ack(d, NULL));
    assert_text(d = receive(client), "2");
    assert_int_equal(d->attempt, 1);
    ok(al_ack(d, NULL));
    bus_close(client);
}

static int take_letter(void *ctx, const struct al_dead_letter *letter)
{
    struct al_message_id *id = ctx;

    *id = letter->message.id;
    return 0;
}

static int check_letter(void *ctx, const struct al_dead_letter *letter)
{
    (void)ctx;
    assert_int_equal(letter->message.payload_size, 4);
    assert_memory_equal(letter->message.payload, "oops", 4);
    assert_string_equal(letter->message.from, "a");
    assert_string_equal(letter->message.to, "b");
    assert_int_equal(letter->log_count, 4);
    assert_int_equal(letter->log[0].attempt, 1);
    assert_int_equal(letter->log[0].error, AL_ERR_CANCELLED);
    assert_string_equal(letter->log[0].reason, "no");
    return 7;
}

static void test_dead_letter(void **state)
{
    struct al_client *client = bus_open(*state);
    struct al_message message = text_message("a", "b", "oops");
    struct al_message_id id = {{0}};
    struct al_receipt receipt;
    struct al_delivery *d;
    struct al_end *end;
    uint64_t count;
    unsigned i;

    ok(al_attach(client, "b", NULL));
    message.flags = AL_MESSAGE_NOTIFY;
    ok(al_send(client, &message, 5000, &receipt));
    for (i = 1; i <= 4; i++) {
        d = receive(client);
        assert_int_equal(d->attempt, i);
        ok(al_nack(d, 0, "no"));
    }
    ok(al_end_next(client, 5000, &end));
    assert_int_equal(end->state, AL_RECORD_DEAD);
    assert_int_equal(end->attempts, 4);
    assert_int_equal(al_message_id_compare(&end->id, &receipt.id), 0);
    al_end_free(end);
    ok(al_dead_letter_list(client, "b", take_letter, &id));
    assert_int_equal(al_message_id_compare(&id, &receipt.id), 0);
    assert_int_equal(al_dead_letter_get(client, &id, check_letter, NULL), 7);
    ok(al_dead_letter_redrive(client, "b", &id, &count));
    assert_int_equal(count, 1);
    d = receive(client);
    assert_text(d, "oops");
    assert_int_equal(d->attempt, 1);
    ok(al_ack(d, &(struct al_ack_options){.status = AL_ACK_FAILED, .reason = "never"}));
    ok(al_client_flush(client, 5000));
    assert_int_equal(al_dead_letter_purge(client, "b", NULL, &count), 0);
    assert_int_equal(count, 1);
    assert_int_equal(al_dead_letter_get(client, &id, check_letter, NULL), -AL_ERR_NOT_FOUND);
    bus_close(client);
}

/* A handler may take much longer than the lease: the library renews it. */
static void test_lease_renewal(void **state)
{
    struct al_client *client = bus_open(*state);
    struct al_client_info info;
    struct al_delivery *d;

    ok(al_attach(client, "b", NULL));
    send_text(client, "a", "b", "slow");
    d = receive(client);
    assert_int_equal(d->lease_ms, 1000);
    pause_ms(2500);
    assert_false(al_delivery_is_lost(d));
    ok(al_ack(d, NULL));
    ok(al_client_flush(client, 5000));
    assert_int_equal(al_receive(client, 300, &d), -AL_ERR_TIMEOUT);
    al_client_get_info(client, &info);
    assert_true(info.extended >= 3);
    assert_int_equal(info.received, 1);
    bus_close(client);
}

/* A program that is attached and busy with other things has not refused anything: what comes for it
 * waits, however often its lease would have ended. */
static void test_busy_program(void **state)
{
    struct al_client *client = bus_open(*state), *sender = bus_open(*state);
    struct al_delivery *d;

    ok(al_attach(client, "b", NULL));
    for (int i = 0; i < 2; i++) {
        pause_ms(200); /* long enough for everything to have come to rest */
        send_text(sender, "a", "b", "for later");
        pause_ms(2500);
        d = receive(client);
        assert_text(d, "for later");
        assert_int_equal(d->attempt, 1);
        assert_false(d->redelivered);
        ok(al_ack(d, NULL));
    }
    bus_close(client);
    bus_close(sender);
}

static void note_lost(void *ctx, const struct al_notice *notice)
{
    unsigned *lost = ctx;

    *lost += notice->type == AL_NOTICE_LEASE_LOST;
}

/* Beyond the cap it is given out again; the program that still works on it gets the new lease. */
static void test_lease_cap(void **state)
{
    struct al_client *client =
        bus_open_with(*state, (struct al_client_options){.lease_cap_ms = 300});
    struct al_client_info info;
    struct al_delivery *d;
    unsigned lost = 0;

    al_on_notice(client, note_lost, &lost);
    ok(al_attach(client, "b", NULL));
    send_text(client, "a", "b", "slow");
    d = receive(client);
    for (unsigned tries = 0; lost == 0 && tries < 100; tries++)
        ok(al_client_dispatch(client, 100));
    assert_true(lost >= 1);
    ok(al_ack(d, NULL));
    ok(al_client_flush(client, 5000)); /* the kept ack answers the next attempt */
    assert_int_equal(al_receive(client, 300, &d), -AL_ERR_TIMEOUT);
    al_client_get_info(client, &info);
    assert_int_equal(info.received, 1);
    bus_close(client);
}

static void test_drop(void **state)
{
    struct al_client *client = bus_open(*state);
    struct al_delivery *d;

    ok(al_attach(client, "b", NULL));
    send_text(client, "a", "b", "1");
    send_text(client, "a", "b", "2");
    al_delivery_drop(receive(client));
    d = receive(client); /* after its lease */
    assert_text(d, "1");
    assert_int_equal(d->attempt, 2);
    assert_true(d->redelivered);
    ok(al_ack(d, NULL));
    assert_text(d = receive(client), "2");
    ok(al_ack(d, NULL));
    bus_close(client);
}

static void test_keep_leases(void **state)
{
    struct al_client *client = bus_open(*state);
    struct al_settlement settlement = {.action = AL_SETTLE_ACTION_EXTEND, .time_ms = 5000};
    struct al_message message = text_message("a", "b", "x");
    struct al_record_info *record;
    struct al_receipt receipt;
    struct al_delivery *d;

    ok(al_attach(client, "b", NULL));
    ok(al_send(client, &message, 5000, &receipt));
    d = receive(client);
    settlement.id = d->message.id;
    ok(al_detach(client, "b", true));
    assert_int_equal(al_ack(d, NULL), -AL_ERR_NOT_ATTACHED);
    al_delivery_drop(d);
    ok(al_settle(client, &settlement));
    settlement.action = AL_SETTLE_ACTION_PARTIAL;
    settlement.reason = "half";
    ok(al_settle(client, &settlement));
    assert_int_equal(al_settle(client, &settlement), -AL_ERR_NOT_FOUND);
    ok(al_record_get_at(client, receipt.stream, receipt.seq, &record));
    assert_int_equal(record->state, AL_RECORD_PARTIAL);
    assert_string_equal(record->reason, "half");
    al_record_free(record);
    bus_close(client);
}

/* ---- several clients, and clients that die ----------------------------------------------- */

static void test_attach_conflict(void **state)
{
    struct al_client *first = bus_open(*state), *second = bus_open(*state);
    struct al_delivery *d, *other;

    ok(al_attach(first, "b", NULL));
    assert_int_equal(al_attach(first, "b", NULL), -AL_ERR_EXISTS);
    assert_int_equal(al_attach(second, "b", NULL), -AL_ERR_ALREADY_ATTACHED);
    assert_non_null(strstr(al_last_error(), "'b'"));
    send_text(first, "a", "b", "x");
    d = receive(first);
    ok(al_attach(second, "b", &(struct al_attach_options){.takeover = true}));
    other = receive(second);
    assert_text(other, "x");
    assert_true(other->redelivered);
    assert_int_equal(al_receive(first, 1000, &(struct al_delivery *){NULL}), -AL_ERR_FENCED);
    assert_int_equal(al_ack(d, NULL), -AL_ERR_FENCED);
    al_delivery_drop(d);
    ok(al_ack(other, NULL));
    assert_int_equal(al_attach(second, "c", &(struct al_attach_options){.no_create = true}),
                     -AL_ERR_UNKNOWN_AGENT);
    bus_close(first);
    bus_close(second);
}

/* Two that share the inbox: each stream is with one of them, and goes to the other when it dies. */
static void test_shared_inbox(void **state)
{
    const struct al_attach_options shared = {.shared = true};
    struct al_client *first = bus_open(*state), *second = bus_open(*state);
    struct al_client *sender = bus_open(*state);
    struct al_delivery *one, *two;

    ok(al_attach(first, "b", &shared));
    ok(al_attach(second, "b", &shared));
    assert_int_equal(al_attach(sender, "b", NULL), -AL_ERR_ALREADY_ATTACHED);
    send_text(sender, "a", "b", "1");
    send_text(sender, "c", "b", "2");
    one = receive(first);
    two = receive(second);
    assert_true(one->message.payload_size == 1 && two->message.payload_size == 1);
    assert_memory_not_equal(one->message.payload, two->message.payload, 1);
    ok(al_ack(one, NULL));
    al_client_abort(second); /* the first one alone is left */
    two = receive(first);
    assert_true(two->redelivered);
    ok(al_ack(two, NULL));
    bus_close(first);
    bus_close(sender);
}

/* A receiver that dies in the middle: the next one gets the message, marked. */
static void test_abort(void **state)
{
    struct al_client *sender = bus_open(*state), *client = bus_open(*state);
    struct al_delivery *d;

    ok(al_attach(client, "b", NULL));
    send_text(sender, "a", "b", "1");
    send_text(sender, "a", "b", "2");
    assert_text(receive(client), "1");
    al_client_abort(client);
    client = bus_open(*state);
    ok(al_attach(client, "b", NULL)); /* even if the node has not noticed yet */
    d = receive(client);
    assert_text(d, "1");
    assert_true(d->redelivered);
    assert_int_equal(d->attempt, 2);
    ok(al_ack(d, NULL));
    assert_text(d = receive(client), "2");
    assert_int_equal(d->attempt, 1);
    ok(al_ack(d, NULL));
    bus_close(client);
    bus_close(sender);
}

/* What is closed politely with a message in hand costs it no attempt. */
static void test_close_gives_back(void **state)
{
    struct al_client *client = bus_open(*state);
    struct al_delivery *d;

    ok(al_attach(client, "b", NULL));
    send_text(client, "a", "b", "1");
    assert_text(receive(client), "1");
    bus_close(client);
    client = bus_open(*state);
    ok(al_attach(client, "b", NULL));
    assert_text(d = receive(client), "1");
    ok(al_ack(d, NULL));
    bus_close(client);
}

/* ---- administration ---------------------------------------------------------------------- */

static int count_agent(void *ctx, const struct al_agent_info *agent)
{
    char(*names)[64] = ctx;
    unsigned i = 0;

    while (names[i][0])
        i++;
    snprintf(names[i], 64, "%s:%llu:%d", agent->name, (unsigned long long)agent->ready,
             agent->attached);
    return 0;
}

static int check_stream(void *ctx, const struct al_stream_info *stream)
{
    const struct al_receipt *receipt = ctx;

    assert_int_equal(stream->stream, receipt->stream);
    assert_string_equal(stream->from, "a");
    assert_string_equal(stream->label, "");
    assert_int_equal(stream->priority, 4);
    assert_int_equal(stream->head_seq, 1);
    assert_int_equal(stream->pending, 1);
    return 42;
}

static void test_admin(void **state)
{
    struct al_client *client = bus_open(*state);
    char names[8][64] = {""};
    struct al_receipt receipt;
    struct al_record_info *record;
    struct al_status_info status;

    ok(al_agent_add(client, "x"));
    ok(al_agent_add(client, "team/y"));
    assert_int_equal(al_agent_add(client, "x"), -AL_ERR_EXISTS);
    assert_int_equal(al_agent_add(client, "X"), -AL_ERR_BAD_NAME);
    receipt = send_text(client, "a", "x", "hello");
    ok(al_agent_list(client, count_agent, names));
    assert_string_equal(names[0], "a:0:0");
    assert_string_equal(names[1], "team/y:0:0");
    assert_string_equal(names[2], "x:1:0");
    assert_string_equal(names[3], "");
    memset(names, 0, sizeof(names));
    ok(al_agent_show(client, "x", count_agent, names));
    assert_string_equal(names[0], "x:1:0");
    assert_int_equal(al_agent_show(client, "z", count_agent, names), -AL_ERR_UNKNOWN_AGENT);
    assert_int_equal(al_stream_list(client, "x", check_stream, &receipt), 42);
    ok(al_record_get(client, &receipt.id, &record));
    assert_int_equal(record->state, AL_RECORD_WAITING);
    assert_int_equal(record->stream, receipt.stream);
    assert_int_equal(record->seq, receipt.seq);
    assert_string_equal(record->from, "a");
    assert_string_equal(record->to, "x");
    al_record_free(record);
    assert_int_equal(al_record_get_at(client, receipt.stream, 99, &record), -AL_ERR_NOT_FOUND);
    ok(al_status_get(client, &status));
    assert_int_equal(status.agents, 3);
    assert_int_equal(status.waiting, 1);
    assert_int_equal(status.accepted, 1);
    assert_int_equal(al_agent_remove(client, "x", false), -AL_ERR_BUSY);
    ok(al_agent_remove(client, "x", true));
    assert_int_equal(al_agent_remove(client, "x", true), -AL_ERR_UNKNOWN_AGENT);
    bus_close(client);
}

static int add_names(void *ctx, const struct al_agent_info *agent)
{
    char *last = ctx;

    if (agent->name[0] != 'n')
        return 0;
    assert_true(strcmp(last, agent->name) < 0);
    snprintf(last, 64, "%s", agent->name);
    return 0;
}

static void test_admin_pages(void **state)
{
    struct al_client *client = bus_open(*state);
    char name[64], last[64] = "";
    unsigned i;

    for (i = 0; i < 1100; i++) {
        snprintf(name, sizeof(name), "n%04u", i);
        ok(al_agent_add(client, name));
    }
    ok(al_agent_list(client, add_names, last));
    assert_string_equal(last, "n1099");
    bus_close(client);
}

static int find_kind(void *ctx, const struct al_metrics_info *metrics)
{
    uint64_t *sent = ctx;

    if (strcmp(metrics->kind, "Job") == 0)
        *sent = metrics->sent;
    return 0;
}

static void test_metrics(void **state)
{
    struct al_client *client = bus_open(*state);
    struct al_message message = text_message("a", "b", "x");
    uint64_t sent = 0;

    ok(al_agent_add(client, "b"));
    message.kind = "Job";
    ok(al_send(client, &message, 5000, NULL));
    ok(al_send(client, &message, 5000, NULL));
    ok(al_metrics_list(client, find_kind, &sent));
    assert_int_equal(sent, 2);
    bus_close(client);
}

/* ---- a node that goes away --------------------------------------------------------------- */

/* Everything that was acknowledged is there after a restart; `file:` and `unix:` only. */
static void test_restart(void **state)
{
    struct bus *bus = *state;
    struct al_client *client;
    struct al_delivery *d;
    char text[16];
    unsigned i;

    if (!bus->is_file && !bus->is_unix)
        return; /* an embedded node lives and dies with its clients */
    client = bus_open(bus);
    ok(al_agent_add(client, "b"));
    for (i = 0; i < 50; i++) {
        snprintf(text, sizeof(text), "%u", i);
        send_text(client, "a", "b", text);
    }
    bus_close(client);
    bus_stop(bus);
    bus_start(bus);
    client = bus_open(bus);
    ok(al_attach(client, "b", NULL));
    for (i = 0; i < 50; i++) {
        d = receive(client);
        snprintf(text, sizeof(text), "%u", i);
        assert_text(d, text);
        ok(al_ack(d, NULL));
    }
    bus_close(client);
}

/* A node that restarts under its clients: they reconnect, nothing is lost or doubled, ends are
 * told. */
static void test_reconnect(void **state)
{
    struct bus *bus = *state;
    struct al_client *sender, *receiver;
    struct answers answers = {0, 0, 0, 0};
    struct al_client_info info;
    struct al_delivery *d;
    struct al_end *end;
    char text[16];
    unsigned i, got = 0;

    if (!bus->is_unix)
        return; /* an embedded node lives and dies with its clients */
    sender = bus_open(bus);
    receiver = bus_open(bus);
    ok(al_attach(receiver, "b", NULL));
    for (i = 0; i < 600; i++) {
        struct al_message message = text_message("a", "b", text);

        snprintf(text, sizeof(text), "%u", i);
        message.payload_size = strlen(text);
        message.flags = AL_MESSAGE_NOTIFY;
        ok(al_send_async(sender, &message, count_answer, &answers, NULL));
        if (i % 200 == 199) {
            ok(al_client_dispatch(sender, 0));
            bus_stop(bus);
            bus_start(bus);
        }
        if (i % 2 == 0)
            continue;
        snprintf(text, sizeof(text), "%u", got);
        if (al_receive(receiver, 0, &d) < 0)
            continue;
        assert_text(d, text);
        ok(al_ack(d, NULL));
        got++;
    }
    ok(al_client_flush(sender, 10000));
    assert_int_equal(answers.good, 600);
    for (; got < 600; got++) {
        d = receive(receiver);
        snprintf(text, sizeof(text), "%u", got);
        assert_text(d, text);
        ok(al_ack(d, NULL));
    }
    ok(al_client_flush(receiver, 10000));
    for (i = 0; i < 600; i++) {
        ok(al_end_next(sender, 5000, &end));
        assert_true(end->state == AL_RECORD_DELIVERED);
        al_end_free(end);
    }
    al_client_get_info(sender, &info);
    assert_int_equal(info.ended, 600);
    assert_true(info.connects >= 2);
    assert_int_equal(al_end_next(sender, 50, &end), -AL_ERR_TIMEOUT);
    bus_close(sender);
    bus_close(receiver);
}

/* The answer to the ping came while the program did not look: the node is not given up for that,
 * which would leave the outcome of the change unknown. */
static void test_silence_of_our_own(void **state)
{
    struct al_client *client = bus_open_with(
        *state, (struct al_client_options){.ping_interval_ms = 500, .ping_timeout_ms = 500});
    struct al_client_info info;

    pause_ms(600);
    ok(al_client_dispatch(client, 0));
    pause_ms(1200);
    ok(al_agent_add(client, "late"));
    al_client_get_info(client, &info);
    assert_int_equal(info.connects, 1);
    bus_close(client);
}

/* Sent before the node was known, and more than it takes: refused, and nothing else disturbed. */
static void test_too_large_before_known(void **state)
{
    static char large[2 << 20];
    struct al_client *other = bus_open(*state);
    struct al_client *client =
        bus_open_with(*state, (struct al_client_options){.connect_later = true});
    struct al_message message = text_message("a", "b", "small");
    struct answers answers = {0, 0, 0, 0};
    struct al_client_info info;

    ok(al_agent_add(other, "b"));
    ok(al_send_async(client, &message, count_answer, &answers, NULL));
    message.payload = large;
    message.payload_size = sizeof(large);
    ok(al_send_async(client, &message, count_answer, &answers, NULL));
    message = text_message("a", "b", "small too");
    ok(al_send_async(client, &message, count_answer, &answers, NULL));
    ok(al_client_flush(client, 5000));
    assert_int_equal(answers.good, 2);
    assert_int_equal(answers.other, 1);
    al_client_get_info(client, &info);
    assert_int_equal(info.connects, 1);
    bus_close(client);
    bus_close(other);
}

static void *attach_late(void *ctx)
{
    return al_attach(ctx, "b", NULL) == -AL_ERR_NOT_ATTACHED ? ctx : NULL;
}

/* One thread waits to be attached, another one thinks better of it. */
static void test_detach_while_attaching(void **state)
{
    struct al_client_options options = {.node = "unix:/tmp/al-no-such-socket",
                                        .connect_later = true};
    struct al_client *client;
    pthread_t thread;
    void *result;

    (void)state;
    ok(al_client_open(&options, &client));
    assert_int_equal(pthread_create(&thread, NULL, attach_late, client), 0);
    while (al_detach(client, "b", false) < 0)
        pause_ms(1);
    pthread_join(thread, &result);
    assert_ptr_equal(result, client);
    ok(al_client_close(client, 0));
}

static void test_unreachable(void **state)
{
    struct bus *bus = *state;
    struct al_client_options options = {
        .node = "unix:/tmp/al-no-such-socket", .connect_timeout_ms = 50, .request_timeout_ms = 50};
    struct al_message message = text_message("a", "b", "x");
    struct al_client *client;

    assert_int_equal(al_client_open(&options, &client), -AL_ERR_UNREACHABLE);
    assert_non_null(strstr(al_last_error(), "/tmp/al-no-such-socket"));
    options.node = "tcp:localhost";
    assert_int_equal(al_client_open(&options, &client), -AL_ERR_INVALID);
    options.node = "unix:/tmp/al-no-such-socket";
    options.connect_later = true;
    ok(al_client_open(&options, &client));
    assert_int_equal(al_send(client, &message, 50, NULL), -AL_ERR_UNREACHABLE);
    assert_int_equal(al_attach(client, "b", NULL) < 0, true);
    ok(al_client_close(client, 0));
    if (!bus->is_unix)
        return;
    client = bus_open(bus);
    ok(al_agent_add(client, "b"));
    bus_stop(bus);
    assert_int_equal(al_send(client, &message, 100, NULL), -AL_ERR_UNREACHABLE);
    bus_start(bus);
    ok(al_send(client, &message, 5000, NULL));
    bus_close(client);
}

/* ---- stopping ---------------------------------------------------------------------------- */

static void *stop_soon(void *ctx)
{
    pause_ms(100);
    al_client_stop(ctx);
    return NULL;
}

static void test_stop(void **state)
{
    struct al_client *client = bus_open(*state);
    struct al_delivery *d;
    pthread_t thread;

    ok(al_attach(client, "b", NULL));
    assert_int_equal(pthread_create(&thread, NULL, stop_soon, client), 0);
    assert_int_equal(al_receive(client, 5000, &d), -AL_ERR_CANCELLED);
    pthread_join(thread, NULL);
    assert_int_equal(pthread_create(&thread, NULL, stop_soon, client), 0);
    ok(al_client_run(client));
    pthread_join(thread, NULL);
    bus_close(client);
}

static int stop_and_return(void *ctx, struct al_delivery *d)
{
    (void)d;
    al_client_stop(ctx);
    return 0;
}

static int note_running(void *ctx, struct al_delivery *d)
{
    (void)d;
    atomic_store((atomic_bool *)ctx, true);
    return 0;
}

static void *run_in_thread(void *ctx)
{
    ok(al_client_run(ctx));
    return NULL;
}

/* A stop is told to whom it is for, and told once. */
static void test_stop_is_not_swallowed(void **state)
{
    struct al_client *client = bus_open(*state);
    struct pollfd pollfd = {.fd = al_client_fd(client), .events = POLLIN};
    atomic_bool running = false;
    unsigned tries = 0;
    pthread_t thread;

    ok(al_handle(client, "b", NULL, stop_and_return, client));
    ok(al_handle(client, "c", NULL, note_running, &running));
    send_text(client, "a", "b", "x");
    assert_int_equal(al_client_dispatch(client, 5000), 1);
    assert_int_equal(al_client_dispatch(client, 5000), 0); /* the stop that came during the other */
    ok(al_client_flush(client, 5000));
    al_client_stop(client);
    assert_int_equal(poll(&pollfd, 1, 5000), 1);
    assert_int_equal(al_client_dispatch(client, 5000), 0);
    while (poll(&pollfd, 1, 0) > 0 && tries++ < 1000)
        pause_ms(1);
    assert_true(tries < 1000); /* it does not stay readable */
    send_text(client, "a", "c", "x");
    assert_int_equal(pthread_create(&thread, NULL, run_in_thread, client), 0);
    while (!atomic_load(&running))
        pause_ms(1);
    pause_ms(50);
    al_client_stop(client);
    ok(al_client_dispatch(client, 0)); /* must not take it away from the other thread */
    pthread_join(thread, NULL);
    bus_close(client);
}

int main(int argc, char **argv)
{
#define T(name) cmocka_unit_test_setup_teardown(test_##name, bus_setup, bus_teardown)
    const struct CMUnitTest tests[] = {
        T(nack),
        T(dead_letter),
        T(lease_renewal),
        T(lease_cap),
        T(drop),
        T(keep_leases),
        T(attach_conflict),
        T(shared_inbox),
        T(abort),
        T(close_gives_back),
        T(admin),
        T(admin_pages),
        T(metrics),
        T(restart),
        T(reconnect),
        T(unreachable),
        T(busy_program),
        T(silence_of_our_own),
        T(too_large_before_known),
        T(stop),
        T(stop_is_not_swallowed),
        T(detach_while_attaching),
    };

    if (argc > 1)
        bus_transport = argv[1];
    if (argc > 2)
        cmocka_set_test_filter(argv[2]);
    return cmocka_run_group_tests_name(bus_transport, tests, NULL, NULL);
}
