/* test_transport_groups.c - groups over every transport: one order for all members, joins and
 * leaves in it, history and proof. test_transport_groups inproc|file|unix [FILTER]. */
#include "transport.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define GROUP "team"

/* A client that owns group:team with members ann and bob (sequences 1 and 2). */
static struct al_client *team(const struct bus *bus)
{
    struct al_client *client = bus_open(bus);

    ok(al_group_create(client, GROUP, NULL));
    ok(al_agent_add(client, "ann"));
    ok(al_agent_add(client, "bob"));
    ok(al_group_join(client, GROUP, "ann", 0, NULL));
    ok(al_group_join(client, GROUP, "bob", 0, NULL));
    return client;
}

static uint64_t post(struct al_client *client, const char *from, const char *text)
{
    struct al_message message = text_message(from, "", text);
    struct al_receipt receipt;

    ok(al_group_post(client, GROUP, &message, 5000, &receipt));
    return receipt.seq;
}

static void ack(struct al_delivery *delivery)
{
    ok(al_ack(delivery, NULL));
}

/* ---- posts ------------------------------------------------------------------------------- */

static void test_one_order_for_all_members(void **state)
{
    struct al_client *client = team(*state);
    const char *members[] = {"ann", "bob"};
    uint64_t seq;

    assert_int_equal(post(client, "ann", "1"), 3);
    assert_int_equal(post(client, "bob", "2"), 4);
    assert_int_equal(send_text(client, "ann", "group:" GROUP, "3").seq, 5);
    for (unsigned i = 0; i < 2; i++) {
        struct al_group_chain chain = {.seq = 0};
        struct al_delivery *d;

        ok(al_attach(client, members[i], NULL));
        if (i == 0)
            ok(al_group_chain_begin(&chain, GROUP));
        for (seq = i + 1; seq <= 5; seq++) {
            d = receive(client);
            assert_int_equal(d->seq, seq);
            assert_string_equal(d->agent, members[i]);
            assert_string_equal(d->message.to, "group:team");
            assert_string_equal(d->group->name, "group:team");
            assert_string_equal(d->message.from, seq == 1 || seq == 3 || seq == 5 ? "ann" : "bob");
            assert_int_equal(d->group->what, seq < 3 ? AL_GROUP_JOIN : AL_GROUP_SAID);
            if (seq < 3) {
                assert_string_equal(d->message.kind, AL_GROUP_KIND_JOIN);
                assert_text(d, seq == 1 ? "ann" : "bob");
            } else {
                assert_text(d, seq == 3 ? "1" : seq == 4 ? "2" : "3");
            }
            assert_int_equal(al_group_chain_add_delivery(&chain, d), 0);
            assert_int_equal(al_group_chain_add_delivery(&chain, d), 1);
            ack(d);
        }
        ok(al_detach(client, members[i], false));
    }
    bus_close(client);
}

static void test_the_end_comes_when_all_have_finished(void **state)
{
    struct al_client *client = team(*state);
    struct al_message message = text_message("ann", "", "news");
    struct al_end *end;

    message.flags = AL_MESSAGE_NOTIFY;
    ok(al_group_post(client, GROUP, &message, 5000, NULL));
    ok(al_attach(client, "ann", NULL));
    for (unsigned i = 0; i < 3; i++)
        ack(receive(client));
    ok(al_client_flush(client, 5000));
    assert_int_equal(al_end_next(client, 0, &end), -AL_ERR_TIMEOUT); /* bob has not */
    ok(al_attach(client, "bob", NULL));
    for (unsigned i = 0; i < 2; i++)
        ack(receive(client));
    ok(al_end_next(client, 5000, &end));
    assert_int_equal(end->state, AL_RECORD_DELIVERED);
    assert_int_equal(end->seq, 3);
    al_end_free(end);
    bus_close(client);
}

/* Each member has its own retries and dead letters; what it lost is fetched. */
static int take_text(void *ctx, const struct al_group_entry *entry)
{
    memcpy(ctx, entry->message.payload, entry->message.payload_size);
    return 7;
}

static void test_a_dead_letter_is_fetched_from_the_history(void **state)
{
    struct al_client *client = team(*state);
    struct al_group_query missed = {.group = GROUP, .agent = "bob", .first_seq = 3, .last_seq = 3};
    struct al_group_chain chain = {.seq = 0};
    struct al_delivery *d;
    char text[16] = "";

    post(client, "ann", "poison");
    post(client, "ann", "after it");
    ok(al_attach(client, "bob", NULL));
    d = receive(client);
    assert_int_equal(al_group_chain_add_delivery(&chain, d), 0);
    ack(d);
    d = receive(client);
    assert_text(d, "poison");
    ok(al_ack(d, &(struct al_ack_options){.status = AL_ACK_FAILED, .reason = "no"}));
    d = receive(client);
    assert_text(d, "after it");
    assert_int_equal(al_group_chain_add_delivery(&chain, d), -AL_ERR_SEQUENCE_GAP);
    assert_int_equal(chain.bad_seq, 4);
    ack(d);
    assert_int_equal(al_group_history(client, &missed, take_text, text), 7);
    assert_string_equal(text, "poison");
    bus_close(client);
}

/* ---- members ----------------------------------------------------------------------------- */

struct roster {
    unsigned count;
    char names[4][16];
    struct al_group_member last;
};

static int note_member(void *ctx, const struct al_group_member *member)
{
    struct roster *roster = ctx;

    assert_true(roster->count < 4);
    snprintf(roster->names[roster->count++], 16, "%s", member->agent);
    roster->last = *member;
    return 0;
}

static void test_late_joiners_catch_up_and_leavers_get_no_more(void **state)
{
    struct al_client *client = team(*state);
    struct roster roster = {.count = 0};
    struct al_delivery *d;
    uint64_t seq;

    post(client, "ann", "before");
    ok(al_agent_add(client, "cid"));
    ok(al_group_join(client, GROUP, "cid", 2, &seq));
    assert_int_equal(seq, 4);
    ok(al_group_members(client, GROUP, note_member, &roster));
    assert_int_equal(roster.count, 3);
    assert_string_equal(roster.names[2], "cid");
    assert_int_equal(roster.last.joined_seq, 2);
    assert_int_equal(roster.last.pending, 3);
    ok(al_group_leave(client, "group:" GROUP, "cid", &seq));
    assert_int_equal(seq, 5);
    post(client, "ann", "behind its back");
    ok(al_attach(client, "cid", NULL));
    for (seq = 2; seq <= 5; seq++) {
        d = receive(client);
        assert_int_equal(d->seq, seq);
        assert_int_equal(d->group->what, seq == 3   ? AL_GROUP_SAID
                                         : seq == 5 ? AL_GROUP_LEAVE
                                                    : AL_GROUP_JOIN);
        ack(d);
    }
    assert_int_equal(al_receive(client, 100, &d), -AL_ERR_TIMEOUT);
    bus_close(client);
}

static void test_refusals_say_what_and_where(void **state)
{
    struct al_client *client = team(*state);
    struct al_message message = text_message("cid", "", "x");

    assert_int_equal(al_group_create(client, GROUP, NULL), -AL_ERR_EXISTS);
    assert_non_null(strstr(al_last_error(), "group:team"));
    assert_int_equal(al_group_create(client, "no good", NULL), -AL_ERR_BAD_NAME);
    assert_int_equal(al_group_join(client, GROUP, "ann", 0, NULL), -AL_ERR_EXISTS);
    assert_non_null(strstr(al_last_error(), "'ann' is a member"));
    assert_int_equal(al_group_join(client, GROUP, "ann", 99, NULL), -AL_ERR_EXISTS);
    assert_int_equal(al_group_join(client, GROUP, "cid", 0, NULL), -AL_ERR_UNKNOWN_AGENT);
    assert_non_null(strstr(al_last_error(), "agents add cid"));
    assert_int_equal(al_group_join(client, GROUP, "c d", 0, NULL), -AL_ERR_BAD_NAME);
    assert_int_equal(al_group_join(client, "none", "ann", 0, NULL), -AL_ERR_UNKNOWN_GROUP);
    assert_non_null(strstr(al_last_error(), "group create none"));
    ok(al_agent_add(client, "cid"));
    assert_int_equal(al_group_join(client, GROUP, "cid", 99, NULL), -AL_ERR_INVALID);
    assert_int_equal(al_group_leave(client, GROUP, "cid", NULL), -AL_ERR_NOT_MEMBER);
    assert_int_equal(al_group_post(client, GROUP, &message, 5000, NULL), -AL_ERR_NOT_MEMBER);
    assert_non_null(strstr(al_last_error(), "'cid' is not a member"));
    message.from = "ann";
    assert_int_equal(al_group_post(client, "none", &message, 5000, NULL), -AL_ERR_UNKNOWN_GROUP);
    message.ttl_ms = 5;
    assert_int_equal(al_group_post(client, GROUP, &message, 5000, NULL), -AL_ERR_UNSUPPORTED);
    assert_int_equal(al_group_remove(client, GROUP, false), -AL_ERR_BUSY);
    bus_close(client);
}

/* ---- groups ------------------------------------------------------------------------------ */

static int note_group(void *ctx, const struct al_group_info *info)
{
    snprintf((char *)ctx + strlen(ctx), 100, "%s %u %llu-%llu %llu;", info->name, info->members,
             (unsigned long long)info->first_seq, (unsigned long long)info->next_seq,
             (unsigned long long)info->keep_count);
    return 0;
}

static void test_groups_are_listed_and_removed(void **state)
{
    struct al_client *client = team(*state);
    char text[300] = "";

    ok(al_group_create(client, "ops/alarm", &(struct al_group_options){.keep_count = 10}));
    ok(al_group_list(client, note_group, text));
    assert_string_equal(text, "group:ops/alarm 0 1-1 10;group:team 2 1-3 0;");
    text[0] = 0;
    ok(al_group_show(client, GROUP, note_group, text));
    assert_string_equal(text, "group:team 2 1-3 0;");
    ok(al_group_remove(client, GROUP, true));
    ok(al_group_remove(client, "ops/alarm", false));
    assert_int_equal(al_group_show(client, GROUP, note_group, text), -AL_ERR_UNKNOWN_GROUP);
    bus_close(client);
}

/* ---- history and proof ------------------------------------------------------------------- */

static int note_entry(void *ctx, const struct al_group_entry *entry)
{
    snprintf((char *)ctx + strlen(ctx), 60, "%llu %s %.*s;", (unsigned long long)entry->seq,
             entry->author, (int)entry->message.payload_size, (const char *)entry->message.payload);
    return 0;
}

static void test_history_by_place_and_by_workflow(void **state)
{
    struct al_client *client = team(*state);
    struct al_message message = text_message("bob", "", "of a flow");
    struct al_group_query query = {.group = GROUP};
    char text[400] = "";

    post(client, "ann", "one");
    message.workflow_id = "flow-7";
    ok(al_group_post(client, GROUP, &message, 5000, NULL));
    post(client, "ann", "two");
    ok(al_group_history(client, &query, note_entry, text));
    assert_string_equal(text, "1 ann ann;2 bob bob;3 ann one;4 bob of a flow;5 ann two;");
    text[0] = 0;
    query.first_seq = 3;
    query.last_seq = 4;
    query.agent = "bob";
    ok(al_group_history(client, &query, note_entry, text));
    assert_string_equal(text, "3 ann one;4 bob of a flow;");
    text[0] = 0;
    ok(al_group_history(client, &(struct al_group_query){.group = GROUP, .workflow_id = "flow-7"},
                        note_entry, text));
    assert_string_equal(text, "4 bob of a flow;");
    query.agent = "cid";
    assert_int_equal(al_group_history(client, &query, note_entry, text), -AL_ERR_NOT_MEMBER);
    bus_close(client);
}

static int count_entry(void *ctx, const struct al_group_entry *entry)
{
    (void)entry;
    ++*(unsigned *)ctx;
    return 0;
}

static void test_a_long_history_comes_in_parts_and_proves_itself(void **state)
{
    struct al_client *client = team(*state);
    struct al_group_query query = {.group = GROUP};
    struct al_message message = text_message("ann", "group:" GROUP, "x");
    struct answers answers = {.good = 0};
    struct al_group_proof proof;
    unsigned count = 0;

    for (unsigned i = 0; i < 700; i++)
        ok(al_send_async(client, &message, count_answer, &answers, NULL));
    ok(al_client_flush(client, 10000));
    assert_int_equal(answers.good, 700);
    ok(al_group_history(client, &query, count_entry, &count));
    assert_int_equal(count, 702);
    ok(al_group_verify(client, GROUP, "bob", &proof));
    assert_int_equal(proof.first_seq, 1);
    assert_int_equal(proof.last_seq, 702);
    assert_int_equal(proof.count, 702);
    assert_true(proof.from_begin);
    assert_int_equal(proof.bad_seq, 0);
    bus_close(client);
}

static void test_what_is_left_of_a_short_history_proves_itself(void **state)
{
    struct al_client *client = bus_open(*state);
    struct al_group_proof proof;

    ok(al_group_create(client, GROUP, &(struct al_group_options){.keep_count = 5}));
    ok(al_group_verify(client, GROUP, NULL, &proof));
    assert_int_equal(proof.count, 0);
    ok(al_agent_add(client, "ann"));
    ok(al_group_join(client, GROUP, "ann", 0, NULL));
    for (unsigned i = 0; i < 20; i++)
        post(client, "ann", "x");
    ok(al_group_verify(client, GROUP, NULL, &proof));
    assert_int_equal(proof.last_seq, 21);
    assert_true(proof.first_seq > 10);
    assert_false(proof.from_begin);
    bus_close(client);
}

static void test_order_and_chain_outlive_the_node(void **state)
{
    struct bus *bus = *state;
    struct al_client *client;
    struct al_group_proof before, after;
    struct al_delivery *d;

    if (!bus->is_unix && !bus->is_file)
        return; /* memory does not */
    client = team(bus);
    post(client, "ann", "1");
    ok(al_group_verify(client, GROUP, NULL, &before));
    bus_close(client);
    bus_stop(bus);
    bus_start(bus);
    client = bus_open(bus);
    ok(al_group_verify(client, GROUP, NULL, &after));
    assert_int_equal(after.first_seq, before.first_seq);
    assert_int_equal(after.last_seq, before.last_seq);
    assert_int_equal(after.count, before.count);
    assert_memory_equal(after.hash, before.hash, sizeof(before.hash));
    assert_int_equal(post(client, "bob", "2"), 4);
    ok(al_attach(client, "bob", NULL));
    for (uint64_t seq = 2; seq <= 4; seq++) {
        d = receive(client);
        assert_int_equal(d->seq, seq);
        ack(d);
    }
    bus_close(client);
}

/* Several members may share a program and its processed-store: one does not answer for another. */
static void test_members_that_share_a_processed_store(void **state)
{
    struct bus *bus = *state;
    struct al_client *client = team(bus);
    struct al_attach_options options = {.credit = 10};
    struct al_delivery *d;
    char path[160];

    snprintf(path, sizeof(path), "%s/done", bus->dir);
    ok(al_processed_open(path, NULL, &options.processed));
    post(client, "ann", "for both");
    ok(al_attach(client, "ann", &options));
    ok(al_attach(client, "bob", &options));
    for (unsigned i = 0; i < 5; i++) {
        d = receive(client);
        assert_non_null(d->group);
        ack(d);
    }
    assert_int_equal(al_processed_count(options.processed), 5);
    bus_close(client);
    al_processed_close(options.processed);
}

int main(int argc, char **argv)
{
#define T(name) cmocka_unit_test_setup_teardown(test_##name, bus_setup, bus_teardown)
    const struct CMUnitTest tests[] = {
        T(one_order_for_all_members),
        T(the_end_comes_when_all_have_finished),
        T(a_dead_letter_is_fetched_from_the_history),
        T(late_joiners_catch_up_and_leavers_get_no_more),
        T(refusals_say_what_and_where),
        T(groups_are_listed_and_removed),
        T(history_by_place_and_by_workflow),
        T(a_long_history_comes_in_parts_and_proves_itself),
        T(what_is_left_of_a_short_history_proves_itself),
        T(order_and_chain_outlive_the_node),
        T(members_that_share_a_processed_store),
    };

    if (argc > 1)
        bus_transport = argv[1];
    if (argc > 2)
        cmocka_set_test_filter(argv[2]);
    return cmocka_run_group_tests_name(bus_transport, tests, NULL, NULL);
}
