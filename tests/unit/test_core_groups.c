/* test_core_groups.c - groups: one order for all members, joins and leaves in it, the history. */
#include "core_driver.h"
#include "crypto/hash.h"
#include "support.h"

static void small(struct al_node_config *config)
{
    config->dedup_max = 16;
    config->records_max = 16;
    config->inbox_max = 20;
    config->policy.retry_max = 0;
}

static void put_add(struct driver *d, const char *name)
{
    struct al_msg_agent_add add = {.request = 1, .name = al_str_c(name)};

    assert_int_equal(al_put_agent_add(&d->in, &add), 0);
}

static void join(struct driver *d, const char *agent, uint64_t from_seq)
{
    struct al_msg_group_join m = {.request = 2,
                                  .from_seq = from_seq,
                                  .group = al_str_c("group:team"),
                                  .agent = al_str_c(agent)};

    assert_int_equal(al_put_group_join(&d->in, &m), 0);
    driver_send(d, 0);
}

static void leave(struct driver *d, const char *agent)
{
    struct al_msg_group_leave m = {
        .request = 3, .group = al_str_c("group:team"), .agent = al_str_c(agent)};

    assert_int_equal(al_put_group_leave(&d->in, &m), 0);
    driver_send(d, 0);
}

static void show(struct driver *d)
{
    struct al_msg_group_list list = {.request = 4, .exact = 1, .after = al_str_c("group:team")};
    struct al_msg_group_members members = {.request = 5, .group = al_str_c("group:team")};

    assert_int_equal(al_put_group_list(&d->in, &list), 0);
    assert_int_equal(al_put_group_members(&d->in, &members), 0);
    driver_send(d, 0);
}

static void history(struct driver *d, uint64_t first_seq, const char *agent)
{
    struct al_msg_group_history m = {.request = 6,
                                     .first_seq = first_seq,
                                     .group = al_str_c("group:team"),
                                     .agent = al_str_c(agent)};

    assert_int_equal(al_put_group_history(&d->in, &m), 0);
    driver_send(d, 0);
}

/* Connection 0 owns group:team with members "a" and "b" and publishes as "a" on channel 1. */
static void begin_with(struct driver *d, uint64_t keep_count)
{
    struct al_msg_group_add add = {
        .request = 1, .keep_count = keep_count, .group = al_str_c("group:default/team")};

    driver_init(d, small);
    driver_open(d, 0, 1000, 1);
    put_add(d, "a");
    put_add(d, "b");
    put_add(d, "c");
    assert_int_equal(al_put_group_add(&d->in, &add), 0);
    driver_send(d, 0);
    join(d, "a", 0);
    join(d, "b", 0);
    driver_channel(d, 0, "a", "group:team");
    driver_forget(d);
    al_chain_begin(al_str_c("group:team"), d->chain);
}

static void begin(struct driver *d)
{
    begin_with(d, 0);
}

static void end(struct driver *d)
{
    driver_check_replay(d);
    driver_deinit(d);
}

static void test_a_message_reaches_every_member_under_the_groups_sequence(void **state)
{
    struct driver d;

    (void)state;
    begin(&d);
    driver_open(&d, 1, 1000, 2);
    driver_attach(&d, 1, "b", 10);
    driver_expect(&d, "1: ATTACHED\n"
                      "1: DELIVER 2:2 after 0 attempt 1 'b' by b\n");
    driver_publish(&d, 0, 1, 2);
    driver_expect(&d, "1: DELIVER 2:3 after 2 attempt 1 'm1' by a\n"
                      "1: DELIVER 2:4 after 3 attempt 1 'm2' by a\n"
                      "0: RECEIPT 1 x2 -> 3:3\n");
    driver_ack(&d, 1, 2, 2);
    driver_ack(&d, 1, 2, 3);
    driver_forget(&d);
    show(&d);
    driver_expect(&d, "0: GROUP group:team 1-5 members 2\n0: DONE OK 1\n"
                      "0: MEMBER a 1-0 acked 0 pending 4 dead 0\n"
                      "0: MEMBER b 2-0 acked 3 pending 1 dead 0\n0: DONE OK 2\n");
    end(&d);
}

static void test_only_members_post(void **state)
{
    struct driver d;

    (void)state;
    begin(&d);
    leave(&d, "a");
    driver_expect(&d, "0: DONE OK 3\n");
    driver_publish(&d, 0, 1, 1);
    driver_expect(&d, "0: REFUSED 1 NOT_MEMBER\n");
    leave(&d, "a");
    driver_expect(&d, "0: DONE NOT_MEMBER 0\n");
    join(&d, "b", 0);
    driver_expect(&d, "0: DONE EXISTS 0\n");
    join(&d, "nobody", 0);
    driver_expect(&d, "0: DONE UNKNOWN_AGENT 0\n");
    history(&d, 0, "c");
    driver_expect(&d, "0: DONE NOT_MEMBER 0\n");
    end(&d);
}

static void test_what_a_group_cannot_do_is_refused(void **state)
{
    struct driver_message later = {.pseq = 1, .text = "later", .due_ms = 1u << 30};
    struct driver_message mortal = {.pseq = 1, .text = "mortal", .ttl_ms = 5};
    struct driver_message notice = {.pseq = 1, .text = "c", .kind = "agentlink.group.join"};
    struct al_msg_channel_resume resume = {.channel = 1, .first_pseq = 1};
    struct driver d;

    (void)state;
    begin(&d);
    later.due_ms = d.now.wall_ms + 1000;
    driver_put_publish(&d, &later);
    assert_int_equal(al_put_channel_resume(&d.in, &resume), 0);
    driver_put_publish(&d, &mortal);
    assert_int_equal(al_put_channel_resume(&d.in, &resume), 0);
    driver_put_publish(&d, &notice);
    driver_send(&d, 0);
    driver_expect(&d, "0: REFUSED 1 UNSUPPORTED\n0: CHANNEL_READY stream 3 last 0\n"
                      "0: REFUSED 1 UNSUPPORTED\n0: CHANNEL_READY stream 3 last 0\n"
                      "0: REFUSED 1 INVALID\n");
    end(&d);
}

static void test_a_late_joiner_catches_up_from_the_history(void **state)
{
    struct driver d;

    (void)state;
    begin(&d);
    driver_publish(&d, 0, 1, 2);
    driver_forget(&d);
    join(&d, "c", 3);
    driver_expect(&d, "0: DONE OK 5\n");
    driver_publish(&d, 0, 3, 3);
    driver_forget(&d);
    driver_check_replay(&d);
    driver_open(&d, 1, 1000, 2);
    driver_attach(&d, 1, "c", 10);
    driver_expect(&d, "1: ATTACHED\n"
                      "1: DELIVER 4:3 after 0 attempt 1 'm1' by a\n"
                      "1: DELIVER 4:4 after 3 attempt 1 'm2' by a\n"
                      "1: DELIVER 4:5 after 4 attempt 1 'c' by c\n"
                      "1: DELIVER 4:6 after 5 attempt 1 'm3' by a\n");
    end(&d);
}

static void test_who_left_gets_the_notice_and_nothing_more(void **state)
{
    struct driver d;

    (void)state;
    begin(&d);
    driver_publish(&d, 0, 1, 1);
    leave(&d, "b");
    driver_publish(&d, 0, 2, 2);
    driver_forget(&d);
    join(&d, "b", 0); /* it still has mail of before: a hole in its stream is not allowed */
    driver_expect(&d, "0: DONE BUSY 0\n");
    driver_open(&d, 1, 1000, 2);
    driver_attach(&d, 1, "b", 10);
    driver_expect(&d, "1: ATTACHED\n"
                      "1: DELIVER 2:2 after 0 attempt 1 'b' by b\n"
                      "1: DELIVER 2:3 after 2 attempt 1 'm1' by a\n"
                      "1: DELIVER 2:4 after 3 attempt 1 'b' by b\n");
    for (uint64_t seq = 2; seq <= 4; seq++)
        driver_ack(&d, 1, 2, seq);
    driver_forget(&d);
    join(&d, "b", 0);
    driver_expect(&d, "1: DELIVER 2:6 after 0 attempt 1 'b' by b\n0: DONE OK 6\n");
    end(&d);
}

static void test_a_retransmission_gets_its_first_receipt(void **state)
{
    struct driver d;

    (void)state;
    begin(&d);
    driver_publish(&d, 0, 1, 2);
    driver_expect(&d, "0: RECEIPT 1 x2 -> 3:3\n");
    driver_publish(&d, 0, 1, 3);
    driver_expect(&d, "0: RECEIPT 1 x2 -> 3:3 duplicate\n0: RECEIPT 3 x1 -> 3:5\n");
    end(&d);
}

static void test_the_author_learns_the_end_when_all_have_finished(void **state)
{
    struct driver_message message = {.pseq = 1, .text = "m1", .flags = AL_PUBLISH_NOTIFY};
    struct al_msg_end_watch watch = {.stream = 3, .seq = 3};
    struct driver d;

    (void)state;
    begin(&d);
    driver_open(&d, 1, 1000, 2);
    driver_open(&d, 2, 1000, 3);
    driver_attach(&d, 1, "a", 10);
    driver_attach(&d, 2, "b", 10);
    driver_put_publish(&d, &message);
    driver_send(&d, 0);
    for (uint64_t seq = 1; seq <= 3; seq++)
        driver_ack(&d, 1, 1, seq);
    driver_ack(&d, 2, 2, 2);
    driver_forget(&d);
    driver_ack(&d, 2, 2, 3);
    driver_expect(&d, "2: ACKED 2:3-3 x1\n0: END 3:3 state 4 attempts 1 '' ''\n");
    assert_int_equal(al_put_end_watch(&d.in, &watch), 0);
    driver_send(&d, 0);
    driver_expect(&d, "0: END 3:3 state 4 attempts 1 '' ''\n");
    end(&d);
}

/* ---- idempotency keys -------------------------------------------------------------------- */

static void post(struct driver *d, uint32_t conn, struct driver_message message)
{
    message.key = "once";
    driver_put_publish(d, &message);
    driver_send(d, conn);
}

static void test_a_key_is_posted_once(void **state)
{
    struct driver d;

    (void)state;
    begin(&d);
    post(&d, 0, (struct driver_message){.pseq = 1, .text = "m"});
    driver_expect(&d, "0: RECEIPT 1 x1 -> 3:3\n");
    post(&d, 0, (struct driver_message){.pseq = 2, .text = "m"});
    driver_expect(&d, "0: RECEIPT 2 x1 -> 3:3 duplicate\n");
    driver_publish(&d, 0, 3, 3);
    driver_expect(&d, "0: RECEIPT 3 x1 -> 3:4\n");
    driver_snapshot_begin(&d);
    while (driver_snapshot_step(&d, 64))
        ;
    driver_restart(&d, true);
    driver_open(&d, 0, 1000, 1);
    driver_channel(&d, 0, "a", "group:team");
    driver_forget(&d);
    leave(&d, "a"); /* a former member may not post, but is told what it has posted */
    driver_expect(&d, "0: DONE OK 5\n");
    post(&d, 0, (struct driver_message){.pseq = 1, .text = "m", .id = 40});
    driver_expect(&d, "0: RECEIPT 1 x1 -> 3:3 duplicate\n");
    post(&d, 0, (struct driver_message){.pseq = 2, .text = "another", .id = 41});
    driver_expect(&d, "0: REFUSED 2 KEY_CONFLICT\n");
    driver_check_snapshot(&d);
    end(&d);
}

/* Each of those who post it waits for the end at all members; who comes later is told at once. */
static void test_all_who_post_under_a_key_learn_the_end(void **state)
{
    struct driver_message message = {.pseq = 1, .text = "m", .flags = AL_PUBLISH_NOTIFY};
    struct driver d;

    (void)state;
    begin(&d);
    leave(&d, "b");
    driver_open(&d, 1, 1000, 2);
    driver_attach(&d, 1, "a", 10);
    post(&d, 0, message); /* id 1 */
    driver_open(&d, 2, 1000, 3);
    driver_channel(&d, 2, "a", "group:team");
    message.id = 20;
    driver_forget(&d);
    post(&d, 2, message);
    driver_expect(&d, "2: RECEIPT 1 x1 -> 3:4 duplicate\n");
    message.pseq = 2; /* once more: one END per connection */
    message.id = 21;
    post(&d, 2, message);
    driver_expect(&d, "2: RECEIPT 2 x1 -> 3:4 duplicate\n");
    for (uint64_t seq = 1; seq <= 3; seq++)
        driver_ack(&d, 1, 1, seq);
    driver_forget(&d);
    driver_ack(&d, 1, 1, 4);
    driver_expect(&d, "1: ACKED 1:4-4 x1\n"
                      "0: END 3:4 state 4 attempts 1 '' ''\n"
                      "2: END 3:4 state 4 attempts 1 '' ''\n");
    message.pseq = 3;
    message.id = 22;
    post(&d, 2, message);
    driver_expect(&d, "2: RECEIPT 3 x1 -> 3:4 duplicate\n"
                      "2: END 3:4 state 4 attempts 1 '' ''\n");
    end(&d);
}

/* What was posted to a removed group is not in another one of its name. */
static void test_a_key_belongs_to_one_group(void **state)
{
    struct al_msg_group_remove remove = {.request = 8, .flags = 1, .group = al_str_c("group:team")};
    struct al_msg_group_add add = {.request = 1, .group = al_str_c("group:team")};
    struct al_msg_channel_close close = {.channel = 1};
    struct driver d;

    (void)state;
    begin(&d);
    post(&d, 0, (struct driver_message){.pseq = 1, .text = "m"});
    assert_int_equal(al_put_channel_close(&d.in, &close), 0);
    assert_int_equal(al_put_group_remove(&d.in, &remove), 0);
    assert_int_equal(al_put_group_add(&d.in, &add), 0);
    driver_send(&d, 0);
    join(&d, "a", 0);
    driver_channel(&d, 0, "a", "group:team");
    driver_forget(&d);
    post(&d, 0, (struct driver_message){.pseq = 1, .text = "m", .id = 30});
    driver_expect(&d, "0: REFUSED 1 KEY_CONFLICT\n");
    end(&d);
}

static void test_a_dead_letter_of_one_member_is_told_and_can_be_fetched(void **state)
{
    struct al_msg_dlq_redrive redrive = {.request = 7, .agent = al_str_c("b")};
    struct al_msg_end_watch watch = {.stream = 3, .seq = 3};
    struct driver d;

    (void)state;
    begin(&d);
    driver_publish(&d, 0, 1, 1);
    driver_open(&d, 1, 1000, 2);
    driver_attach(&d, 1, "b", 10);
    driver_ack(&d, 1, 2, 2);
    driver_nack(&d, 1, 2, 3, "no"); /* its only attempt */
    leave(&d, "a");
    driver_forget(&d);
    assert_int_equal(al_put_end_watch(&d.in, &watch), 0);
    assert_int_equal(al_put_dlq_redrive(&d.in, &redrive), 0);
    driver_send(&d, 0);
    driver_expect(&d, "0: END 3:3 state 5 attempts 1 '' ''\n0: DONE OK 0\n");
    history(&d, 3, "b");
    driver_expect(&d, "0: ENTRY 3 1 a 'm1'\n0: ENTRY 4 3 a 'a'\n0: DONE OK 2\n");
    end(&d);
}

static void purge(struct driver *d, const char *agent)
{
    struct al_msg_dlq_purge m = {.request = 8, .agent = al_str_c(agent)};

    m.message_id.b[0] = m.message_id.b[15] = 1; /* of driver_publish's first */
    assert_int_equal(al_put_dlq_purge(&d->in, &m), 0);
    driver_send(d, 0);
}

static void test_a_message_that_is_dead_at_two_members_is_purged_at_the_one_named(void **state)
{
    struct driver d;

    (void)state;
    begin(&d);
    driver_publish(&d, 0, 1, 1);
    driver_open(&d, 1, 1000, 2);
    driver_attach(&d, 1, "a", 10);
    driver_ack(&d, 1, 1, 1);
    driver_ack(&d, 1, 1, 2);
    driver_nack(&d, 1, 1, 3, "no");
    driver_attach(&d, 1, "b", 10);
    driver_ack(&d, 1, 2, 2);
    driver_nack(&d, 1, 2, 3, "no");
    driver_forget(&d);
    purge(&d, "b");
    purge(&d, "b");
    driver_expect(&d, "0: DONE OK 1\n0: DONE NOT_FOUND 0\n");
    show(&d);
    driver_expect(&d, "0: GROUP group:team 1-4 members 2\n0: DONE OK 1\n"
                      "0: MEMBER a 1-0 acked 3 pending 0 dead 1\n"
                      "0: MEMBER b 2-0 acked 3 pending 0 dead 0\n0: DONE OK 2\n");
    purge(&d, "a");
    driver_expect(&d, "0: DONE OK 1\n");
    end(&d);
}

static void test_the_history_proves_itself(void **state)
{
    struct driver d;

    (void)state;
    begin(&d);
    driver_publish(&d, 0, 1, 3);
    driver_forget(&d);
    history(&d, 0, "");
    driver_expect(&d, "0: ENTRY 1 2 a 'a'\n0: ENTRY 2 2 b 'b'\n0: ENTRY 3 1 a 'm1'\n"
                      "0: ENTRY 4 1 a 'm2'\n0: ENTRY 5 1 a 'm3'\n0: DONE OK 5\n");
    show(&d);
    driver_expect(&d, "0: GROUP group:team 1-6 members 2 chained\n0: DONE OK 1\n"
                      "0: MEMBER a 1-0 acked 0 pending 5 dead 0\n"
                      "0: MEMBER b 2-0 acked 1 pending 4 dead 0\n0: DONE OK 2\n");
    end(&d);
}

static void test_the_history_keeps_what_it_is_told_to(void **state)
{
    struct driver d;

    (void)state;
    begin_with(&d, 4);
    driver_publish(&d, 0, 1, 6);
    driver_forget(&d);
    history(&d, 0, "");
    driver_expect(&d, "0: ENTRY 5 1 a 'm3'\n0: ENTRY 6 1 a 'm4'\n0: ENTRY 7 1 a 'm5'\n"
                      "0: ENTRY 8 1 a 'm6'\n0: DONE OK 4\n");
    driver_check_replay(&d);
    driver_open(&d, 1, 1000, 2);
    driver_attach(&d, 1, "b", 2); /* what a member has not read is not forgotten */
    driver_expect(&d, "1: ATTACHED\n"
                      "1: DELIVER 2:2 after 0 attempt 1 'b' by b\n"
                      "1: DELIVER 2:3 after 2 attempt 1 'm1' by a\n");
    d.now.wall_ms += 8ull * 24 * 3600 * 1000;
    driver_tick(&d, 61000); /* the sweep */
    driver_forget(&d);
    history(&d, 0, "");
    driver_expect(&d, "0: DONE OK 0\n");
    end(&d);
}

static void test_a_full_inbox_of_one_holds_the_group(void **state)
{
    struct driver d;

    (void)state;
    begin(&d);
    driver_publish(&d, 0, 1, 18);
    driver_forget(&d);
    driver_publish(&d, 0, 19, 19); /* "a" has 20 */
    driver_expect(&d, "0: REFUSED 19 INBOX_FULL\n");
    leave(&d, "a");
    driver_expect(&d, "0: DONE OK 21\n");
    end(&d);
}

static void test_snapshots_and_carried_records_hold_groups(void **state)
{
    uint64_t pseq = 4;
    struct driver d;

    (void)state;
    begin(&d);
    driver_publish(&d, 0, 1, 3);
    leave(&d, "b");
    driver_snapshot_begin(&d);
    while (driver_snapshot_step(&d, 64))
        if (pseq < 10)
            driver_publish(&d, 0, pseq, pseq), pseq++;
    assert_true(pseq > 5);
    driver_check_snapshot(&d);
    driver_carry(&d, 1, d.record_count);
    driver_check_replay(&d);
    driver_check_snapshot(&d);
    driver_restart(&d, true);
    driver_open(&d, 0, 1000, 1);
    driver_forget(&d);
    driver_open(&d, 1, 1000, 2);
    driver_attach(&d, 1, "b", 10);
    driver_expect(&d, "1: ATTACHED\n"
                      "1: DELIVER 2:2 after 0 attempt 1 redelivered 'b' by b\n"
                      "1: DELIVER 2:3 after 2 attempt 1 redelivered 'm1' by a\n"
                      "1: DELIVER 2:4 after 3 attempt 1 redelivered 'm2' by a\n"
                      "1: DELIVER 2:5 after 4 attempt 1 redelivered 'm3' by a\n"
                      "1: DELIVER 2:6 after 5 attempt 1 redelivered 'b' by b\n");
    history(&d, 1, "a");
    driver_expect(&d, "0: ENTRY 1 2 a 'a'\n0: ENTRY 2 2 b 'b'\n0: ENTRY 3 1 a 'm1'\n"
                      "0: ENTRY 4 1 a 'm2'\n0: ENTRY 5 1 a 'm3'\n0: ENTRY 6 3 b 'b'\n"
                      "0: ENTRY 7 1 a 'm4'\n0: ENTRY 8 1 a 'm5'\n0: ENTRY 9 1 a 'm6'\n"
                      "0: ENTRY 10 1 a 'm7'\n0: ENTRY 11 1 a 'm8'\n0: ENTRY 12 1 a 'm9'\n"
                      "0: DONE OK 12\n");
    end(&d);
}

static void test_a_removed_group_leaves_nothing_behind(void **state)
{
    struct al_msg_group_remove remove = {.request = 8, .group = al_str_c("group:team")};
    struct al_msg_channel_close close = {.channel = 1};
    struct driver d;

    (void)state;
    begin(&d);
    driver_publish(&d, 0, 1, 3);
    driver_forget(&d);
    assert_int_equal(al_put_group_remove(&d.in, &remove), 0);
    assert_int_equal(al_put_channel_close(&d.in, &close), 0);
    assert_int_equal(al_put_group_remove(&d.in, &remove), 0);
    remove.flags = 1;
    assert_int_equal(al_put_group_remove(&d.in, &remove), 0);
    driver_send(&d, 0);
    driver_expect(&d, "0: DONE BUSY 0\n0: DONE BUSY 0\n0: DONE OK 1\n");
    assert_int_equal(al_node_live_count(d.node, 1, d.record_count), 0);
    show(&d);
    driver_expect(&d, "0: DONE UNKNOWN_GROUP 0\n0: DONE UNKNOWN_GROUP 0\n");
    end(&d);
}

static void test_members_of_a_removed_group_are_told_about_what_they_hold(void **state)
{
    struct al_msg_group_remove remove = {.request = 8, .flags = 1, .group = al_str_c("group:team")};
    struct al_msg_channel_close close = {.channel = 1};
    struct driver d;

    (void)state;
    begin(&d);
    driver_open(&d, 1, 1000, 2);
    driver_attach(&d, 1, "b", 10);
    driver_publish(&d, 0, 1, 2);
    driver_forget(&d);
    assert_int_equal(al_put_channel_close(&d.in, &close), 0);
    assert_int_equal(al_put_group_remove(&d.in, &remove), 0);
    driver_send(&d, 0);
    driver_expect(&d, "1: RECALL 2:2 UNKNOWN_GROUP\n0: DONE OK 1\n");
    end(&d);
}

static void test_a_message_that_two_members_have_out_is_settled_by_name(void **state)
{
    struct al_msg_settle settle = {.request = 9, .action = AL_STATUS_SUCCESS};
    struct driver d;

    (void)state;
    begin(&d);
    join(&d, "c", 0);
    driver_open(&d, 1, 1000, 2);
    driver_attach(&d, 1, "b", 10);
    driver_open(&d, 2, 1000, 3);
    driver_attach(&d, 2, "c", 10);
    driver_publish(&d, 0, 1, 1);
    driver_ack(&d, 1, 2, 2); /* the joins */
    driver_ack(&d, 1, 2, 3);
    driver_ack(&d, 2, 4, 3);
    driver_forget(&d);
    settle.message_id.b[0] = 1;
    settle.message_id.b[15] = 1;
    assert_int_equal(al_put_settle(&d.in, &settle), 0);
    settle.agent = al_str_c("c");
    assert_int_equal(al_put_settle(&d.in, &settle), 0);
    settle.agent = al_str_c("");
    assert_int_equal(al_put_settle(&d.in, &settle), 0);
    driver_send(&d, 0);
    driver_expect(&d, "0: DONE AMBIGUOUS 0\n0: DONE OK 1\n0: DONE OK 1\n");
    end(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_message_reaches_every_member_under_the_groups_sequence),
        cmocka_unit_test(test_only_members_post),
        cmocka_unit_test(test_what_a_group_cannot_do_is_refused),
        cmocka_unit_test(test_a_late_joiner_catches_up_from_the_history),
        cmocka_unit_test(test_who_left_gets_the_notice_and_nothing_more),
        cmocka_unit_test(test_a_retransmission_gets_its_first_receipt),
        cmocka_unit_test(test_the_author_learns_the_end_when_all_have_finished),
        cmocka_unit_test(test_a_key_is_posted_once),
        cmocka_unit_test(test_all_who_post_under_a_key_learn_the_end),
        cmocka_unit_test(test_a_key_belongs_to_one_group),
        cmocka_unit_test(test_a_dead_letter_of_one_member_is_told_and_can_be_fetched),
        cmocka_unit_test(test_a_message_that_is_dead_at_two_members_is_purged_at_the_one_named),
        cmocka_unit_test(test_the_history_proves_itself),
        cmocka_unit_test(test_the_history_keeps_what_it_is_told_to),
        cmocka_unit_test(test_a_full_inbox_of_one_holds_the_group),
        cmocka_unit_test(test_snapshots_and_carried_records_hold_groups),
        cmocka_unit_test(test_a_removed_group_leaves_nothing_behind),
        cmocka_unit_test(test_a_message_that_two_members_have_out_is_settled_by_name),
        cmocka_unit_test(test_members_of_a_removed_group_are_told_about_what_they_hold),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
