/* test_core_lanes.c - unordered streams: nothing waits for anything. */
#include "core_driver.h"
#include "support.h"

static void open_channel(struct driver *d, uint8_t flags, const char *to)
{
    struct al_msg_producer_open producer = {.request = 1};
    struct al_msg_channel_open channel = {.channel = 1,
                                          .first_pseq = 1,
                                          .priority = AL_PRIORITY_DEFAULT,
                                          .flags = flags,
                                          .from = al_str_c("a"),
                                          .to = al_str_c(to)};

    assert_int_equal(al_put_producer_open(&d->in, &producer), 0);
    driver_send(d, 0);
    channel.producer = d->producer[0];
    assert_int_equal(al_put_channel_open(&d->in, &channel), 0);
    driver_send(d, 0);
}

static void begin(struct driver *d, uint32_t credit)
{
    driver_init(d, NULL);
    d->mute_health = true;
    driver_open(d, 0, 1000, 1);
    driver_open(d, 1, 1000, 2);
    driver_attach(d, 1, "b", credit);
    driver_forget(d);
    open_channel(d, AL_CHANNEL_UNORDERED, "b");
    driver_expect(d, "0: PRODUCER_READY 1\n0: CHANNEL_READY stream 1 last 0\n");
}

static void end(struct driver *d)
{
    driver_check_replay(d);
    driver_deinit(d);
}

static void publish(struct driver *d, uint64_t first, uint64_t last)
{
    for (uint64_t pseq = first; pseq <= last; pseq++)
        driver_put_publish(d, &(struct driver_message){.pseq = pseq, .text = "x"});
    driver_send(d, 0);
}

/* Settles the message that is out in this lane. */
static void ack(struct driver *d, uint32_t lane, uint64_t seq)
{
    d->lease[1][seq & 15] = d->stream_lease[lane];
    driver_ack(d, 1, lane, seq);
}

static void test_acks_come_in_any_order_and_lanes_are_used_again(void **state)
{
    struct driver d;

    (void)state;
    begin(&d, 10);
    publish(&d, 1, 3);
    driver_expect(&d, "1: DELIVER 2:1 after 0 attempt 1 'x'\n"
                      "1: DELIVER 3:1 after 0 attempt 1 'x'\n"
                      "0: RECEIPT 1 x1 -> 2:1\n"
                      "1: DELIVER 4:1 after 0 attempt 1 'x'\n"
                      "0: RECEIPT 2 x1 -> 3:1\n"
                      "0: RECEIPT 3 x1 -> 4:1\n");
    ack(&d, 4, 1);
    ack(&d, 2, 1);
    driver_expect(&d, "1: ACKED 4:1-1 x1\n1: ACKED 2:1-1 x1\n");
    publish(&d, 4, 6); /* two lanes are free */
    driver_expect(&d, "1: DELIVER 4:2 after 1 attempt 1 'x'\n"
                      "1: DELIVER 2:2 after 1 attempt 1 'x'\n"
                      "0: RECEIPT 4 x1 -> 4:2\n"
                      "1: DELIVER 5:1 after 0 attempt 1 'x'\n"
                      "0: RECEIPT 5 x1 -> 2:2\n"
                      "0: RECEIPT 6 x1 -> 5:1\n");
    end(&d);
}

static void test_a_retry_holds_nothing_up(void **state)
{
    struct driver d;

    (void)state;
    begin(&d, 2);
    publish(&d, 1, 4);
    driver_forget(&d);
    d.lease[1][1] = d.stream_lease[2];
    driver_nack(&d, 1, 2, 1, "no");
    driver_expect(&d, "1: DELIVER 4:1 after 0 attempt 1 'x'\n"); /* the third; credit 2 */
    ack(&d, 3, 1);
    driver_expect(&d, "1: ACKED 3:1-1 x1\n1: DELIVER 5:1 after 0 attempt 1 'x'\n");
    ack(&d, 4, 1);
    driver_forget(&d);
    driver_tick(&d, 200);
    driver_expect(&d, "1: DELIVER 2:1 after 0 attempt 2 redelivered 'x'\n");
    end(&d);
}

static void test_each_message_has_a_clock_of_its_own(void **state)
{
    struct driver d;

    (void)state;
    begin(&d, 2);
    publish(&d, 1, 2);
    driver_forget(&d);
    driver_tick(&d, AL_ACK_TIMEOUT_DEFAULT_MS + 20);
    driver_expect(&d, "1: RECALL 2:1 TIMEOUT\n1: RECALL 3:1 TIMEOUT\n");
    end(&d);
}

static void test_a_retransmission_finds_its_place_after_a_restart(void **state)
{
    struct driver d;

    (void)state;
    begin(&d, 1);
    publish(&d, 1, 3);
    driver_snapshot_begin(&d);
    while (driver_snapshot_step(&d, 64)) {
    }
    driver_check_snapshot(&d);
    for (unsigned i = 0; i < 2; i++) {
        struct al_msg_producer_open again = {.request = 1, .producer = 1, .epoch = 1};
        struct al_msg_channel_open channel = {.channel = 1,
                                              .producer = 1,
                                              .first_pseq = 1,
                                              .priority = AL_PRIORITY_DEFAULT,
                                              .flags = AL_CHANNEL_UNORDERED,
                                              .from = al_str_c("a"),
                                              .to = al_str_c("b")};

        driver_restart(&d, i);
        driver_open(&d, 0, 1000, 1);
        assert_int_equal(al_put_producer_open(&d.in, &again), 0);
        assert_int_equal(al_put_channel_open(&d.in, &channel), 0);
        driver_send(&d, 0);
        driver_forget(&d);
        publish(&d, 2, 3);
        driver_expect(&d, "0: RECEIPT 2 x1 -> 3:1 duplicate\n0: RECEIPT 3 x1 -> 4:1 duplicate\n");
    }
    end(&d);
}

static void test_the_ordered_stream_of_the_same_label_is_another_one(void **state)
{
    struct driver d;

    (void)state;
    begin(&d, 10);
    driver_open(&d, 2, 1000, 3);
    driver_channel(&d, 2, "a", "b");
    driver_expect(&d, "2: PRODUCER_READY 2\n2: CHANNEL_READY stream 2 last 0\n");
    end(&d);
}

static void test_an_agent_goes_with_its_lanes(void **state)
{
    struct al_msg_agent_remove remove = {.request = 1, .flags = 1, .name = al_str_c("b")};
    struct al_msg_channel_close close = {.channel = 1};
    struct driver d;

    (void)state;
    begin(&d, 2);
    publish(&d, 1, 5);
    ack(&d, 2, 1);
    driver_forget(&d);
    assert_int_equal(al_put_channel_close(&d.in, &close), 0);
    assert_int_equal(al_put_agent_remove(&d.in, &remove), 0);
    driver_send(&d, 0);
    driver_expect(&d, "1: DETACHED NOT_FOUND\n0: DONE OK 1\n");
    end(&d);
}

static void test_what_cannot_be_unordered_is_refused(void **state)
{
    struct al_msg_group_add group = {.request = 1, .group = al_str_c("group:g")};
    struct driver d;

    (void)state;
    begin(&d, 2);
    driver_close(&d, 0);
    driver_open(&d, 0, 1000, 1);
    assert_int_equal(al_put_group_add(&d.in, &group), 0);
    driver_send(&d, 0);
    driver_forget(&d);
    open_channel(&d, AL_CHANNEL_UNORDERED | AL_GAPS_SKIP, "b");
    driver_expect(&d, "0: PRODUCER_READY 2\n0: ERROR UNSUPPORTED about CHANNEL_OPEN\n");
    open_channel(&d, AL_CHANNEL_UNORDERED, "group:g");
    driver_expect(&d, "0: PRODUCER_READY 3\n0: ERROR UNSUPPORTED about CHANNEL_OPEN\n");
    end(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_acks_come_in_any_order_and_lanes_are_used_again),
        cmocka_unit_test(test_a_retry_holds_nothing_up),
        cmocka_unit_test(test_each_message_has_a_clock_of_its_own),
        cmocka_unit_test(test_a_retransmission_finds_its_place_after_a_restart),
        cmocka_unit_test(test_the_ordered_stream_of_the_same_label_is_another_one),
        cmocka_unit_test(test_an_agent_goes_with_its_lanes),
        cmocka_unit_test(test_what_cannot_be_unordered_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
