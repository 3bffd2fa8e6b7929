/* test_core_dedup.c - retransmissions, ids and idempotency keys: nothing is admitted twice. */
#include "core_driver.h"
#include "support.h"

static void small(struct al_node_config *config)
{
    config->dedup_max = 16;
    config->records_max = 16;
    config->dedup_ttl_ms = 10000;
}

/* Connection 0 sends as "a" to "b", which nobody receives yet. */
static void begin(struct driver *d)
{
    struct al_msg_agent_add add = {.request = 1, .name = al_str_c("b")};

    driver_init(d, small);
    driver_open(d, 0, 1000, 1);
    assert_int_equal(al_put_agent_add(&d->in, &add), 0);
    driver_send(d, 0);
    driver_channel(d, 0, "a", "b");
    driver_forget(d);
}

static void end(struct driver *d)
{
    driver_check_replay(d);
    driver_deinit(d);
}

static void put_keyed(struct driver *d, uint64_t pseq, uint8_t id, const char *key,
                      const char *text)
{
    driver_put_publish(d,
                       &(struct driver_message){.pseq = pseq, .id = id, .key = key, .text = text});
}

/* Opens the producer of connection 0 again on connection conn, and its channel. */
static void resume(struct driver *d, uint32_t conn, uint64_t first_pseq)
{
    struct al_msg_producer_open producer = {.request = 1, .producer = d->producer[0], .epoch = 1};
    struct al_msg_channel_open channel = {.channel = 1,
                                          .producer = d->producer[0],
                                          .first_pseq = first_pseq,
                                          .priority = AL_PRIORITY_DEFAULT,
                                          .from = al_str_c("a"),
                                          .to = al_str_c("b")};

    assert_int_equal(al_put_producer_open(&d->in, &producer), 0);
    assert_int_equal(al_put_channel_open(&d->in, &channel), 0);
    driver_send(d, conn);
}

static void test_retransmission_after_reconnect(void **state)
{
    struct driver d;

    (void)state;
    begin(&d);
    driver_publish(&d, 0, 1, 3);
    driver_close(&d, 0);
    driver_restart(&d, false);
    driver_open(&d, 1, 1000, 1);
    driver_forget(&d);
    resume(&d, 1, 2);
    driver_expect(&d, "1: PRODUCER_READY 1\n1: CHANNEL_READY stream 1 last 3\n");
    driver_publish(&d, 1, 2, 4);
    driver_expect(&d, "1: RECEIPT 2 x2 -> 1:2 duplicate\n1: RECEIPT 4 x1 -> 1:4\n");
    end(&d);
}

/* The channel of begin(), open with gaps that are skipped in the end. */
static void open_gappy(struct driver *d)
{
    struct al_msg_producer_open producer = {.request = 1, .producer = d->producer[0], .epoch = 1};
    struct al_msg_channel_open channel = {.channel = 1,
                                          .producer = d->producer[0],
                                          .first_pseq = 1,
                                          .flags = AL_GAPS_SKIP,
                                          .priority = AL_PRIORITY_DEFAULT,
                                          .from = al_str_c("a"),
                                          .to = al_str_c("b")};

    driver_open(d, 1, 1000, 1);
    assert_int_equal(al_put_producer_open(&d->in, &producer), 0);
    assert_int_equal(al_put_channel_open(&d->in, &channel), 0);
    driver_send(d, 1);
    driver_forget(d);
}

static void what_was_taken_is_told_from_what_was_given_up(struct driver *d)
{
    driver_forget(d);
    driver_publish(d, 1, 2, 2);
    driver_expect(d, "1: RECEIPT 2 x1 -> 1:0 duplicate\n");
    driver_publish(d, 1, 3, 3);
    driver_expect(d, "1: REFUSED 3 GAP_CLOSED\n");
}

/* Many gaps in one window, and the ids between them long forgotten; also after a restart. */
static void test_many_gaps_are_told_apart(void **state)
{
    struct driver d;

    (void)state;
    begin(&d);
    driver_close(&d, 0);
    open_gappy(&d);
    for (uint64_t pseq = 2; pseq <= 80; pseq += 2) { /* 1, 3, 5, … never come */
        driver_publish(&d, 1, pseq, pseq);
        driver_tick(&d, AL_GAP_TIMEOUT_MS + 5);
    }
    what_was_taken_is_told_from_what_was_given_up(&d);
    driver_snapshot_begin(&d);
    while (driver_snapshot_step(&d, 64))
        ;
    driver_close(&d, 1);
    driver_restart(&d, true);
    open_gappy(&d);
    what_was_taken_is_told_from_what_was_given_up(&d);
    end(&d);
}

static void test_gap_and_hold(void **state)
{
    struct al_msg_channel_resume resume_at = {.channel = 1, .first_pseq = 2};
    struct driver d;

    (void)state;
    begin(&d);
    driver_publish(&d, 0, 1, 1);
    driver_publish(&d, 0, 3, 3);
    driver_publish(&d, 0, 2, 2); /* held: 2 may not come before the refusal of 3 was seen */
    driver_expect(&d, "0: RECEIPT 1 x1 -> 1:1\n"
                      "0: REFUSED 3 SEQUENCE_GAP\n"
                      "0: REFUSED 2 STREAM_HELD\n");
    assert_int_equal(al_put_channel_resume(&d.in, &resume_at), 0);
    driver_publish(&d, 0, 2, 3);
    driver_expect(&d, "0: CHANNEL_READY stream 1 last 1\n0: RECEIPT 2 x2 -> 1:2\n");
    end(&d);
}

static void test_refused_for_good_is_never_receipted(void **state)
{
    struct al_msg_channel_resume resume_at = {.channel = 1, .first_pseq = 3};
    struct driver d;

    (void)state;
    begin(&d);
    put_keyed(&d, 1, 1, "k", "one");
    put_keyed(&d, 2, 2, "k", "two"); /* the same key for something else */
    put_keyed(&d, 3, 3, "", "three");
    driver_send(&d, 0);
    driver_expect(&d, "0: RECEIPT 1 x1 -> 1:1\n"
                      "0: REFUSED 2 KEY_CONFLICT\n"
                      "0: REFUSED 3 STREAM_HELD\n");
    assert_int_equal(al_put_channel_resume(&d.in, &resume_at), 0);
    put_keyed(&d, 3, 3, "", "three");
    driver_send(&d, 0);
    driver_expect(&d, "0: CHANNEL_READY stream 1 last 1\n0: RECEIPT 3 x1 -> 1:2\n");
    end(&d);
}

static void test_goodbye_retires_the_producer(void **state)
{
    struct al_msg_goodbye goodbye = {0};
    struct driver d;

    (void)state;
    begin(&d);
    driver_publish(&d, 0, 1, 1);
    driver_forget(&d);
    assert_int_equal(al_put_goodbye(&d.in, &goodbye), 0);
    driver_send(&d, 0);
    driver_expect(&d, "0: GOODBYE\n0: closed\n");
    driver_close(&d, 0);
    driver_open(&d, 1, 1000, 1);
    resume(&d, 1, 1);
    driver_expect(&d, "1: ERROR PRODUCER_RETIRED about PRODUCER_OPEN\n"
                      "1: ERROR PRODUCER_RETIRED about CHANNEL_OPEN\n");
    end(&d);
}

static void test_key_of_another_producer(void **state)
{
    struct driver d;

    (void)state;
    begin(&d);
    put_keyed(&d, 1, 1, "order-7", "pay");
    driver_send(&d, 0);
    driver_open(&d, 1, 1000, 9); /* the client restarted: new ids, new producer, same key */
    driver_channel(&d, 1, "a", "b");
    driver_forget(&d);
    put_keyed(&d, 1, 77, "order-7", "pay");
    put_keyed(&d, 2, 78, "order-8", "pay");
    driver_send(&d, 1);
    driver_expect(&d, "1: RECEIPT 1 x1 -> 1:1 duplicate\n1: RECEIPT 2 x1 -> 1:2\n");
    driver_restart(&d, false);
    driver_open(&d, 1, 1000, 9);
    driver_channel(&d, 1, "a", "b");
    driver_forget(&d);
    put_keyed(&d, 1, 79, "order-8", "pay");
    driver_send(&d, 1);
    driver_expect(&d, "1: RECEIPT 1 x1 -> 1:2 duplicate\n");
    driver_tick(&d, 11000); /* the key's time is over */
    put_keyed(&d, 2, 80, "order-8", "pay");
    driver_send(&d, 1);
    driver_expect(&d, "1: RECEIPT 2 x1 -> 1:3\n");
    end(&d);
}

static void test_the_message_id_is_a_key(void **state)
{
    struct driver d;

    (void)state;
    begin(&d);
    put_keyed(&d, 1, 5, "", "x");
    driver_send(&d, 0);
    driver_open(&d, 1, 1000, 9);
    driver_channel(&d, 1, "a", "b");
    driver_forget(&d);
    driver_put_publish(&d, &(struct driver_message){.pseq = 1, .id = 5, .text = "x"});
    driver_send(&d, 1);
    driver_expect(&d, "1: RECEIPT 1 x1 -> 1:1 duplicate\n");
    end(&d);
}

static void test_a_full_store_refuses_a_greedy_sender(void **state)
{
    struct driver d;

    (void)state;
    begin(&d);
    for (uint8_t i = 1; i <= 9; i++) {
        char key[2] = {(char)('0' + i), 0};

        put_keyed(&d, i, i, key, "x");
    }
    driver_send(&d, 0);
    driver_expect(&d, "0: RECEIPT 1 x8 -> 1:1\n0: REFUSED 9 DEDUP_FULL\n");
    end(&d);
}

static void test_a_key_whose_message_died_says_so(void **state)
{
    struct driver d;

    (void)state;
    begin(&d);
    driver_put_publish(&d,
                       &(struct driver_message){.pseq = 1, .key = "k", .text = "x", .ttl_ms = 50});
    driver_send(&d, 0);
    driver_tick(&d, 100);
    driver_forget(&d);
    put_keyed(&d, 2, 9, "k", "x");
    driver_send(&d, 0);
    driver_expect(&d, "0: REFUSED 2 KEY_DEAD\n");
    end(&d);
}

static void test_a_duplicate_gets_the_stored_outcome(void **state)
{
    struct al_msg_ack ack;
    struct driver d;

    (void)state;
    begin(&d);
    driver_open(&d, 1, 1000, 2);
    driver_attach(&d, 1, "b", 5);
    put_keyed(&d, 1, 1, "k", "ask");
    driver_send(&d, 0);
    ack = (struct al_msg_ack){.agent = d.agent[1],
                              .stream = 1,
                              .seq = 1,
                              .lease = d.lease[1][1],
                              .status = AL_STATUS_SUCCESS,
                              .response = al_str_c("answer")};
    assert_int_equal(al_put_ack(&d.in, &ack), 0);
    driver_send(&d, 1);
    driver_forget(&d);
    driver_put_publish(
        &d, &(struct driver_message){
                .pseq = 2, .id = 50, .key = "k", .text = "ask", .flags = AL_PUBLISH_NOTIFY});
    driver_send(&d, 0);
    driver_expect(&d, "0: RECEIPT 2 x1 -> 1:1 duplicate\n"
                      "0: END 1:1 state 4 attempts 1 '' 'answer'\n");
    end(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_retransmission_after_reconnect),
        cmocka_unit_test(test_many_gaps_are_told_apart),
        cmocka_unit_test(test_gap_and_hold),
        cmocka_unit_test(test_refused_for_good_is_never_receipted),
        cmocka_unit_test(test_goodbye_retires_the_producer),
        cmocka_unit_test(test_key_of_another_producer),
        cmocka_unit_test(test_the_message_id_is_a_key),
        cmocka_unit_test(test_a_full_store_refuses_a_greedy_sender),
        cmocka_unit_test(test_a_key_whose_message_died_says_so),
        cmocka_unit_test(test_a_duplicate_gets_the_stored_outcome),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
