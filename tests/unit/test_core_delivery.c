/* test_core_delivery.c - admission, delivery, settlement and retry, as transcripts. */
#include "core_driver.h"
#include "support.h"

/* Connection 0 sends as "a" to "b", which connection 1 receives with this credit. */
static void begin(struct driver *d, uint32_t credit)
{
    driver_init(d, NULL);
    driver_open(d, 0, 1000, 1);
    driver_open(d, 1, 1000, 2);
    driver_attach(d, 1, "b", credit);
    driver_channel(d, 0, "a", "b");
    driver_forget(d);
}

static void end(struct driver *d)
{
    driver_check_replay(d);
    driver_deinit(d);
}

static void test_messages_go_through(void **state)
{
    struct driver d;

    (void)state;
    begin(&d, 10);
    driver_publish(&d, 0, 1, 3);
    driver_expect(&d, "1: DELIVER 1:1 after 0 attempt 1 'm1'\n"
                      "1: DELIVER 1:2 after 1 attempt 1 'm2'\n"
                      "1: DELIVER 1:3 after 2 attempt 1 'm3'\n"
                      "0: RECEIPT 1 x3 -> 1:1\n");
    driver_ack(&d, 1, 1, 1);
    driver_ack(&d, 1, 1, 2);
    driver_expect(&d, "1: ACKED 1:1-1 x1\n1: ACKED 1:2-2 x1\n");
    end(&d);
}

static void test_credit_bounds_what_is_out(void **state)
{
    struct driver d;

    (void)state;
    begin(&d, 2);
    driver_publish(&d, 0, 1, 4);
    driver_expect(&d, "1: DELIVER 1:1 after 0 attempt 1 'm1'\n"
                      "1: DELIVER 1:2 after 1 attempt 1 'm2'\n"
                      "0: RECEIPT 1 x4 -> 1:1\n");
    driver_ack(&d, 1, 1, 1);
    driver_expect(&d, "1: ACKED 1:1-1 x1\n1: DELIVER 1:3 after 2 attempt 1 'm3'\n");
    end(&d);
}

static void test_records_of_a_long_run_stay(void **state)
{
    struct al_msg_record_get get = {.request = 1, .stream = 1, .seq = 1};
    struct driver d;

    (void)state;
    begin(&d, 200);
    driver_publish(&d, 0, 1, 150);
    for (uint64_t seq = 1; seq <= 150; seq++) {
        struct al_msg_ack ack = {.agent = d.agent[1],
                                 .stream = 1,
                                 .seq = seq,
                                 .lease = (uint64_t)1 << 40 | seq,
                                 .status = AL_STATUS_SUCCESS};

        assert_int_equal(al_put_ack(&d.in, &ack), 0);
    }
    driver_forget(&d);
    driver_send(&d, 1);
    driver_expect(&d, "1: ACKED 1:1-150 x150\n");
    assert_int_equal(al_put_record_get(&d.in, &get), 0);
    driver_send(&d, 0);
    driver_expect(&d, "0: RECORD 1:1 state 4 attempts 1 ''\n");
    end(&d);
}

static void test_acks_in_order_only(void **state)
{
    struct driver d;

    (void)state;
    begin(&d, 10);
    driver_publish(&d, 0, 1, 3);
    driver_forget(&d);
    driver_ack(&d, 1, 1, 2);
    driver_expect(&d, "1: SETTLE_REFUSED 1:2 OUT_OF_ORDER\n");
    d.lease[1][1]++;
    driver_ack(&d, 1, 1, 1);
    driver_expect(&d, "1: SETTLE_REFUSED 1:1 LEASE_LOST\n");
    end(&d);
}

static void test_cumulative_ack(void **state)
{
    struct al_msg_ack ack;
    struct driver d;

    (void)state;
    begin(&d, 10);
    driver_put_publish(
        &d, &(struct driver_message){.pseq = 1, .text = "m1", .flags = AL_PUBLISH_NOTIFY});
    driver_publish(&d, 0, 2, 4);
    driver_forget(&d);
    ack = (struct al_msg_ack){.agent = d.agent[1],
                              .stream = 1,
                              .seq = 3,
                              .lease = d.lease[1][3],
                              .status = AL_STATUS_SUCCESS,
                              .flags = AL_ACK_CUMULATIVE,
                              .response = al_str_c("pong")};
    assert_int_equal(al_put_ack(&d.in, &ack), 0);
    driver_send(&d, 1);
    driver_expect(&d, "1: ACKED 1:1-1 x1\n"
                      "0: END 1:1 state 4 attempts 1 '' ''\n"
                      "1: ACKED 1:2-2 x1\n"
                      "1: ACKED 1:3-3 x1\n");
    end(&d);
}

static void test_nack_holds_the_stream_and_retries(void **state)
{
    struct driver d;

    (void)state;
    begin(&d, 10);
    driver_publish(&d, 0, 1, 2);
    driver_forget(&d);
    driver_nack(&d, 1, 1, 1, "busy");
    driver_expect(&d, "1: RECALL 1:2 CANCELLED\n");
    driver_tick(&d, 75); /* 100 ms - 20 % jitter have not passed */
    driver_expect(&d, "");
    driver_tick(&d, 60);
    driver_expect(&d, "1: DELIVER 1:1 after 0 attempt 2 redelivered 'm1'\n"
                      "1: DELIVER 1:2 after 1 attempt 1 redelivered 'm2'\n");
    end(&d);
}

static void test_a_held_stream_gives_its_credit_to_others(void **state)
{
    struct driver d;

    (void)state;
    begin(&d, 1);
    driver_open(&d, 2, 1000, 3);
    driver_channel(&d, 2, "x", "b");
    driver_publish(&d, 0, 1, 1);
    driver_put_publish(&d, &(struct driver_message){.pseq = 1, .id = 9, .text = "other"});
    driver_send(&d, 2);
    driver_forget(&d);
    driver_nack(&d, 1, 1, 1, "busy"); /* the neighbour does not wait for the retry */
    driver_expect(&d, "1: DELIVER 2:1 after 0 attempt 1 'other'\n");
    end(&d);
}

static void test_retries_end_in_a_dead_letter(void **state)
{
    static const unsigned longest_ms[] = {125, 245, 485, 965, 1925};
    struct al_msg_dlq_list list = {.request = 1, .agent = al_str_c("b")};
    struct driver d;

    (void)state;
    begin(&d, 10);
    driver_put_publish(
        &d, &(struct driver_message){.pseq = 1, .text = "m1", .flags = AL_PUBLISH_NOTIFY});
    driver_send(&d, 0);
    for (unsigned i = 0; i < 5; i++) {
        driver_forget(&d);
        driver_nack(&d, 1, 1, 1, "no");
        driver_tick(&d, longest_ms[i]);
    }
    driver_expect(&d, "1: DELIVER 1:1 after 0 attempt 6 redelivered 'm1'\n");
    driver_nack(&d, 1, 1, 1, "never");
    driver_expect(&d, "0: END 1:1 state 7 attempts 6 'never' ''\n1: ACKED 1:1-1 x1\n");
    assert_int_equal(al_put_dlq_list(&d.in, &list), 0);
    driver_send(&d, 1);
    driver_expect(&d, "1: LETTER 1:1 DEAD_LETTERED attempts 6\n1: DONE OK 1\n");
    end(&d);
}

static void test_lease_times_out_and_is_fenced(void **state)
{
    uint64_t old_lease;
    struct driver d;

    (void)state;
    begin(&d, 10);
    driver_publish(&d, 0, 1, 1);
    old_lease = d.lease[1][1];
    driver_forget(&d);
    driver_tick(&d, 4990);
    driver_expect(&d, "");
    driver_tick(&d, 150);
    driver_expect(&d, "1: RECALL 1:1 TIMEOUT\n"
                      "1: DELIVER 1:1 after 0 attempt 2 redelivered 'm1'\n");
    assert_true(d.lease[1][1] != old_lease);
    d.lease[1][1] = old_lease;
    driver_ack(&d, 1, 1, 1);
    driver_expect(&d, "1: SETTLE_REFUSED 1:1 LEASE_LOST\n");
    end(&d);
}

static void test_extend_renews_the_lease(void **state)
{
    struct al_msg_extend extend;
    struct driver d;

    (void)state;
    begin(&d, 10);
    driver_publish(&d, 0, 1, 1);
    driver_forget(&d);
    for (int i = 0; i < 5; i++) {
        driver_tick(&d, 4000);
        extend = (struct al_msg_extend){
            .agent = d.agent[1], .stream = 1, .seq = 1, .lease = d.lease[1][1]};
        assert_int_equal(al_put_extend(&d.in, &extend), 0);
        driver_send(&d, 1);
    }
    driver_ack(&d, 1, 1, 1);
    driver_expect(&d, "1: ACKED 1:1-1 x1\n");
    end(&d);
}

static void test_failed_is_final(void **state)
{
    struct al_msg_ack ack;
    struct driver d;

    (void)state;
    begin(&d, 10);
    driver_put_publish(
        &d, &(struct driver_message){.pseq = 1, .text = "m1", .flags = AL_PUBLISH_NOTIFY});
    driver_publish(&d, 0, 2, 2);
    driver_forget(&d);
    ack = (struct al_msg_ack){.agent = d.agent[1],
                              .stream = 1,
                              .seq = 1,
                              .lease = d.lease[1][1],
                              .status = AL_STATUS_FAILED,
                              .reason = al_str_c("bad input")};
    assert_int_equal(al_put_ack(&d.in, &ack), 0);
    driver_send(&d, 1);
    driver_expect(&d, "0: END 1:1 state 6 attempts 1 'bad input' ''\n1: ACKED 1:1-1 x1\n");
    driver_ack(&d, 1, 1, 2);
    driver_expect(&d, "1: ACKED 1:2-2 x1\n");
    end(&d);
}

static void test_disconnect_costs_heads_an_attempt(void **state)
{
    struct driver d;

    (void)state;
    begin(&d, 10);
    driver_publish(&d, 0, 1, 2);
    driver_close(&d, 1);
    driver_tick(&d, 2000);
    driver_open(&d, 2, 1000, 3);
    driver_attach(&d, 2, "b", 10);
    driver_expect(&d, "2: ATTACHED\n"
                      "2: DELIVER 1:1 after 0 attempt 2 redelivered 'm1'\n"
                      "2: DELIVER 1:2 after 1 attempt 1 redelivered 'm2'\n");
    end(&d);
}

static void test_the_same_instance_resumes(void **state)
{
    struct driver d;

    (void)state;
    begin(&d, 10);
    driver_publish(&d, 0, 1, 2);
    d.lease[2][1] = d.lease[1][1];
    driver_close(&d, 1);
    driver_tick(&d, 500);
    driver_open(&d, 2, 1000, 2);
    driver_attach(&d, 2, "b", 10);
    driver_expect(&d, "2: ATTACHED resumed\n"
                      "2: DELIVER 1:1 after 0 attempt 1 redelivered 'm1'\n"
                      "2: DELIVER 1:2 after 1 attempt 1 redelivered 'm2'\n");
    assert_true(d.lease[2][1] == d.lease[1][1]); /* the leases hold */
    driver_ack(&d, 2, 1, 1);
    driver_expect(&d, "2: ACKED 1:1-1 x1\n");
    end(&d);
}

static void test_one_receiver_per_agent(void **state)
{
    struct al_msg_attach take;
    struct driver d;

    (void)state;
    begin(&d, 10);
    driver_publish(&d, 0, 1, 1);
    driver_open(&d, 2, 1000, 3);
    driver_attach(&d, 2, "b", 10);
    driver_expect(&d, "2: ERROR ALREADY_ATTACHED about ATTACH\n");
    take = (struct al_msg_attach){.request = 1,
                                  .flags = AL_ATTACH_TAKEOVER,
                                  .credit = 1,
                                  .credit_bytes = 1000,
                                  .agent = al_str_c("b")};
    assert_int_equal(al_put_attach(&d.in, &take), 0);
    driver_send(&d, 2);
    driver_expect(&d, "1: DETACHED FENCED\n2: ATTACHED\n");
    driver_tick(&d, 200);
    driver_expect(&d, "2: DELIVER 1:1 after 0 attempt 2 redelivered 'm1'\n");
    driver_ack(&d, 1, 1, 1);
    driver_expect(&d, "1: SETTLE_REFUSED 1:1 NOT_ATTACHED\n");
    end(&d);
}

static void test_a_polite_leave_costs_nothing(void **state)
{
    struct al_msg_detach detach;
    struct driver d;

    (void)state;
    begin(&d, 10);
    driver_publish(&d, 0, 1, 2);
    driver_forget(&d);
    detach = (struct al_msg_detach){.agent = d.agent[1]};
    assert_int_equal(al_put_detach(&d.in, &detach), 0);
    driver_send(&d, 1);
    driver_attach(&d, 1, "b", 1);
    driver_expect(&d, "1: DETACHED OK\n1: ATTACHED\n"
                      "1: DELIVER 1:1 after 0 attempt 1 redelivered 'm1'\n");
    end(&d);
}

static void test_kept_leases_hold_their_stream(void **state)
{
    struct al_msg_detach detach;
    struct al_msg_settle settle = {.request = 1, .action = 1, .message_id.b = {1}};
    struct driver d;

    (void)state;
    begin(&d, 1);
    driver_publish(&d, 0, 1, 2);
    driver_forget(&d);
    detach = (struct al_msg_detach){.agent = d.agent[1], .flags = AL_KEEP_LEASES};
    assert_int_equal(al_put_detach(&d.in, &detach), 0);
    driver_send(&d, 1);
    driver_open(&d, 2, 1000, 3);
    driver_attach(&d, 2, "b", 10);
    driver_expect(&d, "2: ATTACHED\n"); /* m2 does not come before the end of m1 */
    settle.message_id.b[15] = 1;
    assert_int_equal(al_put_settle(&d.in, &settle), 0);
    driver_send(&d, 1);
    driver_expect(&d, "1: DONE OK 1\n2: DELIVER 1:2 after 1 attempt 1 'm2'\n");
    end(&d);
}

static void test_expiry_leaves_a_hole_that_is_no_gap(void **state)
{
    struct driver d;

    (void)state;
    begin(&d, 1);
    driver_put_publish(&d, &(struct driver_message){.pseq = 1, .text = "m1"});
    driver_put_publish(
        &d, &(struct driver_message){.pseq = 2, .text = "m2", .ttl_ms = 300, .flags = 1});
    driver_put_publish(&d, &(struct driver_message){.pseq = 3, .text = "m3"});
    driver_send(&d, 0);
    driver_forget(&d);
    driver_tick(&d, 400);
    driver_expect(&d, "0: END 1:2 state 8 attempts 0 'the message's time to live ended' ''\n");
    driver_ack(&d, 1, 1, 1);
    driver_expect(&d, "1: ACKED 1:1-1 x1\n1: DELIVER 1:3 after 1 attempt 1 'm3'\n");
    end(&d);
}

static void test_scheduled_messages_get_their_sequence_when_due(void **state)
{
    struct driver d;

    (void)state;
    begin(&d, 10);
    driver_put_publish(
        &d, &(struct driver_message){.pseq = 1, .text = "later", .due_ms = d.now.wall_ms + 1000});
    driver_publish(&d, 0, 2, 2);
    driver_expect(&d, "1: DELIVER 1:1 after 0 attempt 1 'm2'\n"
                      "0: RECEIPT 1 x1 -> 1:0\n"
                      "0: RECEIPT 2 x1 -> 1:1\n");
    driver_ack(&d, 1, 1, 1);
    driver_forget(&d);
    driver_restart(&d, false);
    driver_open(&d, 1, 1000, 4);
    driver_attach(&d, 1, "b", 10);
    driver_forget(&d);
    driver_tick(&d, 990);
    driver_expect(&d, "");
    driver_tick(&d, 20);
    driver_expect(&d, "1: DELIVER 1:2 after 1 attempt 1 'later'\n");
    end(&d);
}

static void test_volatile_messages_pass_or_drop(void **state)
{
    struct driver d;

    (void)state;
    begin(&d, 1);
    for (int i = 1; i <= 2; i++)
        driver_put_publish(
            &d, &(struct driver_message){.pseq = 1, .text = "v", .flags = AL_PUBLISH_VOLATILE});
    driver_send(&d, 0);
    driver_expect(&d, "1: DELIVER 1:0 after 0 attempt 1 'v'\n"); /* the credit was 1 */
    driver_ack(&d, 1, 1, 0);
    driver_expect(&d, "");
    driver_publish(&d, 0, 1, 1);
    driver_expect(&d, "1: DELIVER 1:1 after 0 attempt 1 'm1'\n0: RECEIPT 1 x1 -> 1:1\n");
    end(&d);
}

static void test_a_backlog_is_read_back(void **state)
{
    struct driver d;

    (void)state;
    driver_init(&d, NULL);
    driver_open(&d, 0, 1000, 1);
    driver_attach(&d, 0, "b", 10);
    driver_close(&d, 0);
    driver_open(&d, 1, 1000, 2);
    driver_forget(&d);
    driver_channel(&d, 1, "a", "b");
    driver_publish(&d, 1, 1, 600);
    driver_forget(&d);
    d.hold_reads = true;
    driver_open(&d, 2, 1000, 3);
    driver_attach(&d, 2, "b", 2);
    driver_expect(&d, "2: ATTACHED\n");
    driver_publish(&d, 1, 601, 601); /* does not overtake the backlog */
    driver_expect(&d, "1: RECEIPT 601 x1 -> 1:601\n");
    d.hold_reads = false;
    driver_answer_reads(&d);
    driver_expect(&d, "2: DELIVER 1:1 after 0 attempt 1 'm1'\n"
                      "2: DELIVER 1:2 after 1 attempt 1 'm2'\n");
    for (uint64_t seq = 1; seq <= 600; seq++)
        driver_ack(&d, 2, 1, seq);
    driver_forget(&d);
    driver_ack(&d, 2, 1, 601);
    driver_expect(&d, "2: ACKED 1:601-601 x1\n");
    end(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages_go_through),
        cmocka_unit_test(test_credit_bounds_what_is_out),
        cmocka_unit_test(test_records_of_a_long_run_stay),
        cmocka_unit_test(test_acks_in_order_only),
        cmocka_unit_test(test_cumulative_ack),
        cmocka_unit_test(test_nack_holds_the_stream_and_retries),
        cmocka_unit_test(test_a_held_stream_gives_its_credit_to_others),
        cmocka_unit_test(test_retries_end_in_a_dead_letter),
        cmocka_unit_test(test_lease_times_out_and_is_fenced),
        cmocka_unit_test(test_extend_renews_the_lease),
        cmocka_unit_test(test_failed_is_final),
        cmocka_unit_test(test_disconnect_costs_heads_an_attempt),
        cmocka_unit_test(test_the_same_instance_resumes),
        cmocka_unit_test(test_one_receiver_per_agent),
        cmocka_unit_test(test_a_polite_leave_costs_nothing),
        cmocka_unit_test(test_kept_leases_hold_their_stream),
        cmocka_unit_test(test_expiry_leaves_a_hole_that_is_no_gap),
        cmocka_unit_test(test_scheduled_messages_get_their_sequence_when_due),
        cmocka_unit_test(test_volatile_messages_pass_or_drop),
        cmocka_unit_test(test_a_backlog_is_read_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
