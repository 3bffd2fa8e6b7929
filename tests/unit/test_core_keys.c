/* test_core_keys.c - what an idempotency key holds once its message has ended, and who waits. */
#include "core/records.h"
#include "core_driver.h"
#include "support.h"

static void small(struct al_node_config *config)
{
    config->dedup_max = 64;
    config->records_max = 16;
    config->dedup_ttl_ms = 10ull * 3600 * 1000;
}

/* Connection 0 sends as "a" to "b", which connection 1 receives. */
static void begin(struct driver *d)
{
    driver_init(d, small);
    driver_open(d, 1, 1000, 2);
    driver_attach(d, 1, "b", 64);
    driver_open(d, 0, 1000, 1);
    driver_channel(d, 0, "a", "b");
    driver_forget(d);
}

static void take_snapshot(struct driver *d)
{
    driver_snapshot_begin(d);
    while (driver_snapshot_step(d, 64))
        ;
}

static void end(struct driver *d)
{
    driver_check_replay(d);
    if (d->snapshot_bytes.size)
        driver_check_snapshot(d);
    take_snapshot(d);
    driver_check_snapshot(d);
    driver_deinit(d);
}

static void send_keyed(struct driver *d, uint32_t conn, uint64_t pseq, uint8_t id, const char *key)
{
    driver_put_publish(
        d, &(struct driver_message){
               .pseq = pseq, .id = id, .key = key, .text = "ask", .flags = AL_PUBLISH_NOTIFY});
    driver_send(d, conn);
}

static void answer(struct driver *d, uint32_t conn, uint32_t stream, uint64_t seq, const char *text)
{
    struct al_msg_ack ack = {.agent = d->agent[conn],
                             .stream = stream,
                             .seq = seq,
                             .lease = d->lease[conn][seq & 15],
                             .status = AL_STATUS_SUCCESS,
                             .response = al_str_c(text)};

    assert_int_equal(al_put_ack(&d->in, &ack), 0);
    driver_send(d, conn);
}

/* A program that knows nothing of the first one: a connection and a producer of its own. */
static void come_again(struct driver *d, uint32_t conn)
{
    driver_open(d, conn, 1000, 9);
    driver_channel(d, conn, "a", "b");
    driver_forget(d);
}

static void push_out_the_records(struct driver *d, uint64_t first_pseq)
{
    for (uint64_t pseq = first_pseq; pseq < first_pseq + 20; pseq++) {
        driver_put_publish(d, &(struct driver_message){.pseq = pseq, .id = 0, .text = "filler"});
        driver_send(d, 0);
        answer(d, 1, 1, pseq, "");
    }
    driver_forget(d);
}

static void test_the_answer_lives_as_long_as_the_key(void **state)
{
    struct driver d;

    (void)state;
    begin(&d);
    send_keyed(&d, 0, 1, 1, "k");
    answer(&d, 1, 1, 1, "forty-two");
    push_out_the_records(&d, 2);
    driver_carry(&d, 1, 12); /* the answer's record goes forward with the key */
    driver_restart(&d, false);
    come_again(&d, 2);
    send_keyed(&d, 2, 1, 90, "k");
    driver_expect(&d, "2: RECEIPT 1 x1 -> 1:1 duplicate\n"
                      "2: END 1:1 state 4 attempts 1 '' 'forty-two'\n");
    take_snapshot(&d);
    driver_restart(&d, true);
    come_again(&d, 2);
    send_keyed(&d, 2, 1, 91, "k");
    driver_expect(&d, "2: RECEIPT 1 x1 -> 1:1 duplicate\n"
                      "2: END 1:1 state 4 attempts 1 '' 'forty-two'\n");
    end(&d);
}

/* Who waits is told so when what should be the answer is something else. */
static void test_an_answer_that_is_none_is_an_error(void **state)
{
    struct driver d;
    size_t acked;

    (void)state;
    begin(&d);
    send_keyed(&d, 0, 1, 1, "k");
    answer(&d, 1, 1, 1, "forty-two");
    acked = d.record_count - 1;
    assert_int_equal(d.journal[acked].type, ALI_REC_ACK);
    come_again(&d, 2);
    d.journal[acked].type = ALI_REC_FORGET;
    send_keyed(&d, 2, 1, 90, "k");
    driver_expect(&d, "2: RECEIPT 1 x1 -> 1:1 duplicate\n2: ERROR DAMAGED about END_WATCH\n");
    d.journal[acked].type = ALI_REC_ACK;
    end(&d);
}

static void test_a_duplicate_waits_for_the_first(void **state)
{
    struct driver d;

    (void)state;
    begin(&d);
    driver_put_publish(&d, &(struct driver_message){.pseq = 1, .key = "k", .text = "ask"});
    driver_send(&d, 0); /* its sender did not even ask */
    driver_close(&d, 0);
    come_again(&d, 2);
    send_keyed(&d, 2, 1, 90, "k");
    driver_expect(&d, "2: RECEIPT 1 x1 -> 1:1 duplicate\n");
    answer(&d, 1, 1, 1, "done");
    driver_expect(&d, "1: ACKED 1:1-1 x1\n2: END 1:1 state 4 attempts 1 '' 'done'\n");
    end(&d);
}

static void test_the_sender_is_told_once(void **state)
{
    struct al_msg_end_watch watch = {.stream = 1, .seq = 1};
    struct driver d;

    (void)state;
    begin(&d);
    send_keyed(&d, 0, 1, 1, "k");
    driver_forget(&d);
    assert_int_equal(al_put_end_watch(&d.in, &watch), 0);
    assert_int_equal(al_put_end_watch(&d.in, &watch), 0);
    driver_send(&d, 0);
    driver_open(&d, 2, 1000, 9); /* and somebody else of the same user */
    driver_forget(&d);
    assert_int_equal(al_put_end_watch(&d.in, &watch), 0);
    driver_send(&d, 2);
    driver_expect(&d, "");
    driver_ack(&d, 1, 1, 1);
    driver_expect(&d, "1: ACKED 1:1-1 x1\n"
                      "0: END 1:1 state 4 attempts 1 '' ''\n"
                      "2: END 1:1 state 4 attempts 1 '' ''\n");
    end(&d);
}

static void test_a_redriven_message_takes_its_key_along(void **state)
{
    struct al_msg_ack failed = {.stream = 1, .seq = 1, .status = AL_STATUS_FAILED};
    struct al_msg_dlq_redrive redrive = {.request = 5, .agent = al_str_c("b")};
    struct driver d;

    (void)state;
    begin(&d);
    send_keyed(&d, 0, 1, 1, "k");
    failed.agent = d.agent[1];
    failed.lease = d.lease[1][1];
    assert_int_equal(al_put_ack(&d.in, &failed), 0);
    driver_send(&d, 1);
    driver_forget(&d);
    come_again(&d, 2);
    send_keyed(&d, 2, 1, 90, "k");
    driver_expect(&d, "2: REFUSED 1 KEY_DEAD\n");
    assert_int_equal(al_put_dlq_redrive(&d.in, &redrive), 0);
    driver_send(&d, 1);
    take_snapshot(&d);
    answer(&d, 1, 1, 2, "at last");
    come_again(&d, 3);
    send_keyed(&d, 3, 1, 91, "k");
    driver_expect(&d, "3: RECEIPT 1 x1 -> 1:2 duplicate\n"
                      "3: END 1:2 state 4 attempts 1 '' 'at last'\n");
    end(&d);
}

static void test_a_scheduled_message_keeps_its_key(void **state)
{
    struct driver d;

    (void)state;
    begin(&d);
    driver_put_publish(&d,
                       &(struct driver_message){
                           .pseq = 1, .key = "k", .text = "ask", .due_ms = d.now.wall_ms + 1000});
    driver_send(&d, 0);
    driver_forget(&d);
    come_again(&d, 2);
    send_keyed(&d, 2, 1, 90, "k");
    driver_expect(&d, "2: RECEIPT 1 x1 -> 1:0 duplicate\n");
    take_snapshot(&d);
    driver_tick(&d, 1100);
    driver_forget(&d);
    answer(&d, 1, 1, 1, "on time");
    driver_expect(&d, "1: ACKED 1:1-1 x1\n2: END 1:1 state 4 attempts 1 '' 'on time'\n");
    end(&d);
}

static void test_a_snapshot_has_the_keys_as_they_were(void **state)
{
    struct driver d;

    (void)state;
    begin(&d);
    for (uint8_t i = 1; i <= 12; i++) {
        char key[2] = {(char)('a' + i), 0};

        send_keyed(&d, 0, i, i, key);
    }
    driver_snapshot_begin(&d);
    for (uint8_t i = 1; i <= 12; i++) { /* they end while it is taken, from the far end on */
        (void)driver_snapshot_step(&d, 40);
        answer(&d, 1, 1, i, "x");
    }
    while (driver_snapshot_step(&d, 64))
        ;
    end(&d);
}

static void test_a_removed_agent_leaves_dead_keys(void **state)
{
    struct al_msg_agent_remove remove = {.request = 7, .flags = 1, .name = al_str_c("b")};
    struct driver d;

    (void)state;
    begin(&d);
    send_keyed(&d, 0, 1, 1, "k");
    driver_close(&d, 0);
    assert_int_equal(al_put_agent_remove(&d.in, &remove), 0);
    driver_send(&d, 1);
    driver_open(&d, 3, 1000, 4);
    driver_attach(&d, 3, "b", 4);
    come_again(&d, 2);
    send_keyed(&d, 2, 1, 90, "k");
    driver_expect(&d, "2: REFUSED 1 KEY_DEAD\n");
    end(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_answer_lives_as_long_as_the_key),
        cmocka_unit_test(test_an_answer_that_is_none_is_an_error),
        cmocka_unit_test(test_a_duplicate_waits_for_the_first),
        cmocka_unit_test(test_the_sender_is_told_once),
        cmocka_unit_test(test_a_redriven_message_takes_its_key_along),
        cmocka_unit_test(test_a_scheduled_message_keeps_its_key),
        cmocka_unit_test(test_a_snapshot_has_the_keys_as_they_were),
        cmocka_unit_test(test_a_removed_agent_leaves_dead_keys),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
