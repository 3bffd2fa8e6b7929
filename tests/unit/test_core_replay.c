/* test_core_replay.c - histories of streams: what is kept, what is replayed, what is forgotten. */
#include "core_driver.h"
#include "support.h"
#include <stdio.h>
#include <stdlib.h>

static void small(struct al_node_config *config)
{
    config->records_max = 16;
    config->dedup_max = 16;
    config->policy.retry_max = 0;
    config->breaker.percent = 0; /* many messages fail here, at random */
}

static void retain(struct driver *d, uint64_t count, uint64_t bytes, uint64_t age_ms)
{
    struct al_msg_retain_set m = {.request = 1,
                                  .keep_count = count,
                                  .keep_bytes = bytes,
                                  .keep_ms = age_ms,
                                  .agent = al_str_c("b")};

    assert_int_equal(al_put_retain_set(&d->in, &m), 0);
    driver_send(d, 1);
}

static void list(struct driver *d)
{
    struct al_msg_history_list m = {.request = 2, .agent = al_str_c("b")};

    assert_int_equal(al_put_history_list(&d->in, &m), 0);
    driver_send(d, 1);
}

static void replay(struct driver *d, struct al_msg_replay m)
{
    m.request = 3;
    m.stream = m.stream ? m.stream : 1;
    m.agent = al_str_c("b");
    assert_int_equal(al_put_replay(&d->in, &m), 0);
    driver_send(d, 1);
}

/* Connection 1 receives as "b"; connection 0 sends to it on channel 1 as "a". */
static void connect(struct driver *d)
{
    driver_open(d, 0, 1000, 1);
    driver_channel(d, 0, "a", "b");
    driver_open(d, 1, 1000, 2);
    driver_attach(d, 1, "b", 10);
}

static void begin(struct driver *d)
{
    driver_init(d, small);
    driver_open(d, 1, 1000, 2);
    driver_attach(d, 1, "b", 10);
    driver_open(d, 0, 1000, 1);
    driver_channel(d, 0, "a", "b");
    driver_forget(d);
}

static void end(struct driver *d)
{
    driver_snapshot_begin(d);
    while (driver_snapshot_step(d, 64))
        continue;
    driver_check_replay(d);
    driver_check_snapshot(d);
    driver_deinit(d);
}

static void publish_and_ack(struct driver *d, uint64_t first, uint64_t last)
{
    for (uint64_t seq = first; seq <= last; seq++) {
        driver_publish(d, 0, seq, seq);
        driver_ack(d, 1, 1, seq);
    }
    driver_forget(d);
}

static void test_without_limits_nothing_is_kept(void **state)
{
    struct driver d;

    (void)state;
    begin(&d);
    publish_and_ack(&d, 1, 3);
    replay(&d, (struct al_msg_replay){.first_seq = 1});
    list(&d);
    driver_expect(&d, "1: DONE NO_HISTORY 0\n1: HISTORY 0 from 0: 0-0, 0 with 0 bytes\n"
                      "1: DONE OK 0\n");
    assert_int_equal(al_node_live_count(d.node, 1, d.record_count), 0);
    end(&d);
}

static void test_a_range_comes_again_in_its_order(void **state)
{
    struct driver d;

    (void)state;
    begin(&d);
    retain(&d, 10, 0, 0);
    publish_and_ack(&d, 1, 4);
    driver_publish(&d, 0, 5, 5);
    driver_forget(&d);
    replay(&d, (struct al_msg_replay){.first_seq = 2, .last_seq = 3});
    driver_expect(&d, "1: REPLAYED 1:2 by a 'm2'\n1: REPLAYED 1:3 by a 'm3'\n1: DONE OK 2\n");
    replay(&d, (struct al_msg_replay){.limit = 1});
    driver_expect(&d, "1: REPLAYED 1:1 by a 'm1'\n1: DONE OK 1\n");
    replay(&d, (struct al_msg_replay){.first_seq = 4}); /* 5 is out, it has not ended */
    driver_expect(&d, "1: REPLAYED 1:4 by a 'm4'\n1: DONE OK 1\n");
    replay(&d, (struct al_msg_replay){.first_seq = 5});
    driver_expect(&d, "1: DONE OK 0\n");
    replay(&d, (struct al_msg_replay){.stream = 7});
    driver_expect(&d, "1: DONE NOT_FOUND 0\n");
    driver_ack(&d, 1, 1, 5);
    driver_expect(&d, "1: ACKED 1:5-5 x1\n"); /* a replay changes nothing for deliveries */
    end(&d);
}

static void test_only_the_recipient_may_ask(void **state)
{
    struct al_msg_replay m = {.request = 4, .stream = 1, .agent = al_str_c("b")};
    struct al_msg_retain_set set = {.request = 5, .agent = al_str_c("b")};
    struct driver d;

    (void)state;
    begin(&d);
    driver_open(&d, 2, 1001, 3);
    driver_forget(&d);
    assert_int_equal(al_put_replay(&d.in, &m), 0);
    assert_int_equal(al_put_retain_set(&d.in, &set), 0);
    set.keep_count = AL_RETAIN_COUNT_MAX + 1;
    driver_send(&d, 2);
    assert_int_equal(al_put_retain_set(&d.in, &set), 0);
    driver_send(&d, 1);
    driver_expect(&d, "2: DONE NOT_OWNER 0\n2: DONE NOT_OWNER 0\n1: DONE TOO_LARGE 0\n");
    end(&d);
}

static void test_count_and_bytes_are_kept_exactly(void **state)
{
    struct driver d;

    (void)state;
    begin(&d);
    retain(&d, 3, 0, 0);
    publish_and_ack(&d, 1, 5);
    replay(&d, (struct al_msg_replay){0});
    driver_expect(&d, "1: REPLAYED 1:3 by a 'm3'\n1: REPLAYED 1:4 by a 'm4'\n"
                      "1: REPLAYED 1:5 by a 'm5'\n1: DONE OK 3\n");
    replay(&d, (struct al_msg_replay){.first_seq = 2});
    replay(&d, (struct al_msg_replay){.first_seq = 3, .last_seq = 3});
    driver_expect(&d, "1: DONE NOT_RETAINED 0\n1: REPLAYED 1:3 by a 'm3'\n1: DONE OK 1\n");
    retain(&d, 0, 5, 0); /* two bytes each */
    list(&d);
    driver_expect(&d, "1: DONE OK 1\n1: HISTORY 0 from 0: 0-0, 2 with 4 bytes\n"
                      "1: HISTORY 1 from 4: 4-5, 2 with 4 bytes\n1: DONE OK 1\n");
    publish_and_ack(&d, 6, 6);
    list(&d);
    driver_expect(&d, "1: HISTORY 0 from 0: 0-0, 2 with 4 bytes\n"
                      "1: HISTORY 1 from 5: 5-6, 2 with 4 bytes\n1: DONE OK 1\n");
    retain(&d, 0, 1, 0); /* none fits */
    publish_and_ack(&d, 7, 7);
    replay(&d, (struct al_msg_replay){0});
    replay(&d, (struct al_msg_replay){.first_seq = 7});
    driver_expect(&d, "1: DONE OK 0\n1: DONE NOT_RETAINED 0\n");
    assert_int_equal(al_node_live_count(d.node, 1, d.record_count), 0);
    end(&d);
}

static void test_age_and_times(void **state)
{
    struct driver d;
    uint64_t base;

    (void)state;
    begin(&d);
    base = d.now.wall_ms;
    retain(&d, 0, 0, 60000);
    publish_and_ack(&d, 1, 1);
    driver_tick(&d, 10000);
    publish_and_ack(&d, 2, 2);
    driver_tick(&d, 10000);
    publish_and_ack(&d, 3, 3);
    replay(&d, (struct al_msg_replay){.from_ms = base + 5000, .until_ms = base + 20000});
    driver_expect(&d, "1: REPLAYED 1:2 by a 'm2'\n1: DONE OK 1\n");
    replay(&d, (struct al_msg_replay){.from_ms = base + 20000});
    driver_expect(&d, "1: REPLAYED 1:3 by a 'm3'\n1: DONE OK 1\n");
    driver_tick(&d, 45000); /* 65 s: the first one is too old */
    driver_forget(&d);
    replay(&d, (struct al_msg_replay){.from_ms = base});
    replay(&d, (struct al_msg_replay){.first_seq = 1});
    replay(&d, (struct al_msg_replay){.from_ms = base + 1});
    driver_expect(&d, "1: DONE NOT_RETAINED 0\n1: DONE NOT_RETAINED 0\n"
                      "1: REPLAYED 1:2 by a 'm2'\n1: REPLAYED 1:3 by a 'm3'\n1: DONE OK 2\n");
    driver_tick(&d, 120000); /* the sweep forgets the rest although nobody asks */
    assert_int_equal(al_node_live_count(d.node, 1, d.record_count), 0);
    end(&d);
}

static void test_switching_off_forgets(void **state)
{
    struct al_msg_retain_set off = {.request = 1, .off = 1, .agent = al_str_c("b")};
    struct driver d;

    (void)state;
    begin(&d);
    retain(&d, 3, 0, 0);
    publish_and_ack(&d, 1, 5);
    assert_int_equal(al_put_retain_set(&d.in, &off), 0);
    driver_send(&d, 1);
    publish_and_ack(&d, 6, 6);
    assert_int_equal(al_node_live_count(d.node, 1, d.record_count), 0);
    retain(&d, 3, 0, 0);
    publish_and_ack(&d, 7, 7);
    replay(&d, (struct al_msg_replay){.first_seq = 6});
    replay(&d, (struct al_msg_replay){.first_seq = 7});
    driver_expect(&d, "1: DONE NOT_RETAINED 0\n1: REPLAYED 1:7 by a 'm7'\n1: DONE OK 1\n");
    end(&d);
}

static void put_ack(struct driver *d, uint64_t seq, uint8_t status, uint8_t flags, const char *why)
{
    struct al_msg_ack ack = {.agent = d->agent[1],
                             .stream = 1,
                             .seq = seq,
                             .lease = d->lease[1][seq & 15],
                             .status = status,
                             .flags = flags,
                             .reason = al_str_c(why)};

    assert_int_equal(al_put_ack(&d->in, &ack), 0);
}

static void test_every_way_to_end_well_is_kept_and_no_other(void **state)
{
    struct al_msg_settle settle = {
        .request = 4, .action = AL_STATUS_SUCCESS, .message_id.b = {9, [15] = 1}};
    struct driver d;

    (void)state;
    begin(&d);
    retain(&d, 20, 0, 0);
    driver_publish(&d, 0, 1, 9);
    driver_forget(&d);
    put_ack(&d, 3, AL_STATUS_PARTIAL, AL_ACK_CUMULATIVE, "half"); /* 1, 2 plainly, 3 in detail */
    put_ack(&d, 4, AL_STATUS_SUCCESS, 0, "");
    put_ack(&d, 5, AL_STATUS_SUCCESS, 0, "");
    put_ack(&d, 6, AL_STATUS_FAILED, 0, "no");
    put_ack(&d, 7, AL_STATUS_SUCCESS, 0, "");
    driver_send(&d, 1);
    driver_nack(&d, 1, 1, 8, "no"); /* no retries: a dead letter */
    assert_int_equal(al_put_settle(&d.in, &settle), 0);
    driver_send(&d, 1); /* by its id, from the command line */
    driver_forget(&d);
    replay(&d, (struct al_msg_replay){.first_seq = 1});
    driver_expect(&d, "1: REPLAYED 1:1 by a 'm1'\n1: REPLAYED 1:2 by a 'm2'\n"
                      "1: REPLAYED 1:3 by a 'm3'\n1: REPLAYED 1:4 by a 'm4'\n"
                      "1: REPLAYED 1:5 by a 'm5'\n1: REPLAYED 1:7 by a 'm7'\n"
                      "1: REPLAYED 1:9 by a 'm9'\n1: DONE OK 7\n");
    end(&d);
}

static void test_redriven_and_scheduled_messages_are_kept_where_they_end(void **state)
{
    struct al_msg_dlq_redrive redrive = {.request = 9, .agent = al_str_c("b")};
    struct driver d;

    (void)state;
    begin(&d);
    retain(&d, 20, 0, 0);
    driver_publish(&d, 0, 1, 1);
    driver_nack(&d, 1, 1, 1, "no");
    driver_put_publish(
        &d, &(struct driver_message){.pseq = 2, .text = "later", .due_ms = d.now.wall_ms + 5000});
    driver_send(&d, 0);
    driver_publish(&d, 0, 3, 3); /* sequence 2 */
    driver_ack(&d, 1, 1, 2);
    driver_tick(&d, 6000);
    assert_int_equal(al_put_dlq_redrive(&d.in, &redrive), 0);
    driver_send(&d, 1);
    driver_ack(&d, 1, 1, 3);
    driver_ack(&d, 1, 1, 4);
    driver_carry(&d, 1, d.record_count);
    driver_forget(&d);
    replay(&d, (struct al_msg_replay){0});
    driver_expect(&d, "1: REPLAYED 1:2 by a 'm3'\n1: REPLAYED 1:3 by a 'later'\n"
                      "1: REPLAYED 1:4 by a 'm1'\n1: DONE OK 3\n");
    end(&d);
}

static void test_carrying_and_restarts_change_nothing(void **state)
{
    static const char all[] = "1: REPLAYED 1:2 by a 'm2'\n1: REPLAYED 1:3 by a 'm3'\n"
                              "1: REPLAYED 1:4 by a 'm4'\n1: DONE OK 3\n";
    struct driver d;

    (void)state;
    begin(&d);
    retain(&d, 3, 0, 0);
    publish_and_ack(&d, 1, 4);
    driver_carry(&d, 1, d.record_count);
    driver_forget(&d);
    replay(&d, (struct al_msg_replay){0});
    driver_expect(&d, all);
    driver_snapshot_begin(&d);
    while (driver_snapshot_step(&d, 16))
        driver_carry(&d, 1, d.record_count); /* while the snapshot is taken */
    driver_check_snapshot(&d);
    driver_restart(&d, true);
    connect(&d);
    driver_forget(&d);
    replay(&d, (struct al_msg_replay){0});
    driver_expect(&d, all);
    driver_restart(&d, false);
    connect(&d);
    driver_forget(&d);
    replay(&d, (struct al_msg_replay){0});
    driver_expect(&d, all);
    assert_int_equal(al_node_live_count(d.node, 1, d.record_count), 3 * 1);
    end(&d);
}

/* The journal ends behind KEEP, in front of the ack. */
static void lose_the_ack(struct driver *d)
{
    assert_int_equal(d->journal[d->record_count - 1].type, 10);
    free(d->journal[--d->record_count].payload);
    driver_restart(d, false);
    connect(d);
    driver_forget(d);
}

static void test_a_crash_between_keeping_and_ending(void **state)
{
    struct driver d;

    (void)state;
    begin(&d);
    retain(&d, 5, 0, 0);
    publish_and_ack(&d, 1, 2);
    lose_the_ack(&d);
    replay(&d, (struct al_msg_replay){0});
    driver_expect(&d, "1: REPLAYED 1:1 by a 'm1'\n1: DONE OK 1\n");
    driver_ack(&d, 1, 1, 2);
    replay(&d, (struct al_msg_replay){0});
    driver_expect(&d, "1: ACKED 1:2-2 x1\n1: REPLAYED 1:1 by a 'm1'\n"
                      "1: REPLAYED 1:2 by a 'm2'\n1: DONE OK 2\n");
    lose_the_ack(&d);
    driver_nack(&d, 1, 1, 2, "not this time");
    driver_forget(&d);
    replay(&d, (struct al_msg_replay){0});
    driver_expect(&d, "1: REPLAYED 1:1 by a 'm1'\n1: DONE OK 1\n");
    end(&d);
}

static void test_what_is_forgotten_while_it_is_read_is_asked_for_again(void **state)
{
    struct driver d;

    (void)state;
    begin(&d);
    retain(&d, 2, 0, 0);
    publish_and_ack(&d, 1, 2);
    d.hold_reads = true;
    replay(&d, (struct al_msg_replay){0});
    publish_and_ack(&d, 3, 3);
    d.hold_reads = false;
    driver_answer_reads(&d);
    driver_expect(&d, "1: DONE BUSY 0\n");
    d.hold_reads = true;
    replay(&d, (struct al_msg_replay){0});
    driver_carry(&d, 1, d.record_count);
    d.hold_reads = false;
    driver_answer_reads(&d);
    replay(&d, (struct al_msg_replay){0});
    driver_expect(&d, "1: DONE BUSY 0\n1: REPLAYED 1:2 by a 'm2'\n1: REPLAYED 1:3 by a 'm3'\n"
                      "1: DONE OK 2\n");
    end(&d);
}

static void with_retention(struct al_node_config *config)
{
    small(config);
    config->retain = (struct al_retain){2, 1000, 0};
}

static void test_agents_begin_with_the_limits_of_the_configuration(void **state)
{
    struct driver d;

    (void)state;
    driver_init(&d, with_retention);
    driver_open(&d, 1, 1000, 2);
    driver_attach(&d, 1, "b", 10);
    driver_open(&d, 0, 1000, 1);
    driver_channel(&d, 0, "a", "b");
    publish_and_ack(&d, 1, 3);
    list(&d);
    driver_expect(&d, "1: HISTORY 0 from 0: 0-0, 2 with 4 bytes\n"
                      "1: HISTORY 1 from 2: 2-3, 2 with 4 bytes\n1: DONE OK 1\n");
    end(&d);
}

static void test_a_removed_agent_leaves_nothing_behind(void **state)
{
    struct al_msg_channel_close close = {.channel = 1};
    struct al_msg_agent_remove remove = {.request = 8, .flags = 1, .name = al_str_c("b")};
    struct driver d;

    (void)state;
    begin(&d);
    retain(&d, 5, 0, 0);
    publish_and_ack(&d, 1, 3);
    assert_int_equal(al_put_channel_close(&d.in, &close), 0);
    driver_send(&d, 0);
    assert_int_equal(al_put_agent_remove(&d.in, &remove), 0);
    driver_send(&d, 0);
    driver_expect(&d, "1: DETACHED NOT_FOUND\n0: DONE OK 1\n");
    assert_int_equal(al_node_live_count(d.node, 1, d.record_count), 0);
    end(&d);
}

/* ---- against a naive model --------------------------------------------------------------- */

struct model {
    uint64_t kept[400]; /* sequences, oldest first */
    unsigned count;
    uint64_t limit;
};

static void model_keep(struct model *model, uint64_t seq)
{
    model->kept[model->count++] = seq;
    while (model->count > model->limit)
        memmove(model->kept, model->kept + 1, --model->count * sizeof(*model->kept));
}

static void compare(struct driver *d, const struct model *model)
{
    char expected[32 * 400], *at = expected;

    driver_forget(d);
    replay(d, (struct al_msg_replay){0});
    for (unsigned i = 0; i < model->count; i++)
        at += sprintf(at, "1: REPLAYED 1:%llu by a 'm%llu'\n", (unsigned long long)model->kept[i],
                      (unsigned long long)model->kept[i]);
    (void)sprintf(at, "1: DONE OK %u\n", model->count);
    driver_expect(d, expected);
}

static void disturb(struct driver *d, struct al_test_random *random, struct model *model)
{
    switch (al_test_below(random, 4)) {
    case 0:
        driver_carry(d, 1, d->record_count);
        break;
    case 1:
        driver_snapshot_begin(d);
        while (driver_snapshot_step(d, 8 + al_test_below(random, 100)))
            if (al_test_below(random, 4) == 0)
                driver_carry(d, 1 + al_test_below(random, d->record_count), d->record_count);
        driver_check_snapshot(d);
        break;
    case 2:
        model->limit = 1 + al_test_below(random, 20);
        while (model->count > model->limit)
            memmove(model->kept, model->kept + 1, --model->count * sizeof(*model->kept));
        retain(d, model->limit, 0, 0);
        break;
    default:
        driver_check_replay(d);
    }
}

static void test_a_history_is_what_a_naive_list_would_be(void **state)
{
    struct al_test_random random = al_test_random_new("history");
    struct model model = {.limit = 5};
    uint64_t seq = 0;
    struct driver d;

    (void)state;
    begin(&d);
    retain(&d, model.limit, 0, 0);
    for (unsigned round = 0; round < 60; round++) {
        uint64_t n = 1 + al_test_below(&random, 6);

        driver_publish(&d, 0, seq + 1, seq + n);
        for (uint64_t i = 1; i <= n; i++) {
            bool good = al_test_below(&random, 5) != 0;

            put_ack(&d, seq + i, good ? AL_STATUS_SUCCESS : AL_STATUS_FAILED, 0,
                    al_test_below(&random, 3) == 0 ? "why" : "");
            if (good)
                model_keep(&model, seq + i);
        }
        driver_send(&d, 1);
        seq += n;
        disturb(&d, &random, &model);
        compare(&d, &model);
    }
    end(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_limits_nothing_is_kept),
        cmocka_unit_test(test_a_range_comes_again_in_its_order),
        cmocka_unit_test(test_only_the_recipient_may_ask),
        cmocka_unit_test(test_count_and_bytes_are_kept_exactly),
        cmocka_unit_test(test_age_and_times),
        cmocka_unit_test(test_switching_off_forgets),
        cmocka_unit_test(test_every_way_to_end_well_is_kept_and_no_other),
        cmocka_unit_test(test_redriven_and_scheduled_messages_are_kept_where_they_end),
        cmocka_unit_test(test_carrying_and_restarts_change_nothing),
        cmocka_unit_test(test_a_crash_between_keeping_and_ending),
        cmocka_unit_test(test_what_is_forgotten_while_it_is_read_is_asked_for_again),
        cmocka_unit_test(test_agents_begin_with_the_limits_of_the_configuration),
        cmocka_unit_test(test_a_removed_agent_leaves_nothing_behind),
        cmocka_unit_test(test_a_history_is_what_a_naive_list_would_be),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
