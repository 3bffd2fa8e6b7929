/* test_core_letters.c - the room of dead-letter queues by bytes, and what the log is told. */
#include "core_driver.h"
#include "support.h"

static void small(struct al_node_config *config)
{
    config->policy.retry_max = 0;
    config->dlq_bytes = 8;
}

static void begin(struct driver *d, void (*tune)(struct al_node_config *config))
{
    driver_init(d, tune);
    d->mute_health = true;
    driver_open(d, 0, 1000, 1);
    driver_open(d, 1, 1000, 2);
    driver_attach(d, 1, "b", 10);
    driver_channel(d, 0, "a", "b");
    driver_forget(d);
}

static void end(struct driver *d)
{
    driver_check_replay(d);
    driver_deinit(d);
}

static void publish(struct driver *d, uint64_t pseq, const char *text)
{
    driver_put_publish(d, &(struct driver_message){.pseq = pseq, .text = text});
    driver_send(d, 0);
}

/* A message that its receiver gives up at once. */
static void die(struct driver *d, uint64_t pseq, uint64_t seq, const char *text)
{
    publish(d, pseq, text);
    driver_nack(d, 1, 1, seq, "no");
    driver_forget(d);
}

/* What AGENT_LIST says of the bytes of b's dead letters. */
static uint64_t dead_bytes(struct driver *d)
{
    struct al_msg_agent_list list = {.request = 1, .exact = 1, .after = al_str_c("b")};
    struct al_msg_agent_row row;
    struct al_frame frame;
    struct al_str value = {0};
    size_t size;

    assert_int_equal(al_put_agent_list(&d->in, &list), 0);
    driver_send(d, 0);
    driver_forget(d);
    assert_true(al_frame_next(al_str_of(d->effects.data.data, (uint32_t)d->effects.data.size),
                              AL_FRAME_MAX, &frame) > 0);
    assert_int_equal(frame.type, AL_MSG_AGENT_ROW);
    assert_int_equal(al_decode_agent_row(frame.body, &row), 0);
    size = al_size_agent_row(&row);
    assert_true(al_ext_find(al_str_of(frame.body.p + size, frame.body.n - (uint32_t)size),
                            AL_AGENT_EXT_DEAD_BYTES, &value));
    assert_int_equal(value.n, 8);
    return al_get64(value.p);
}

static void resume(struct driver *d, uint64_t pseq)
{
    struct al_msg_channel_resume m = {.channel = 1, .first_pseq = pseq};

    assert_int_equal(al_put_channel_resume(&d->in, &m), 0);
    driver_send(d, 0);
    driver_forget(d);
}

static void change(struct driver *d, bool redrive)
{
    struct al_msg_dlq_redrive again = {.request = 1, .agent = al_str_c("b")};
    struct al_msg_dlq_purge purge = {.request = 1, .agent = al_str_c("b")};

    assert_int_equal(
        redrive ? al_put_dlq_redrive(&d->in, &again) : al_put_dlq_purge(&d->in, &purge), 0);
    driver_send(d, 1);
}

static void test_a_queue_that_is_full_of_bytes_refuses_new_messages(void **state)
{
    struct driver d;

    (void)state;
    begin(&d, small);
    die(&d, 1, 1, "1234567");
    assert_int_equal(dead_bytes(&d), 7);
    die(&d, 2, 2, "8"); /* the last one that has room */
    assert_int_equal(dead_bytes(&d), 8);
    publish(&d, 3, "x");
    driver_expect(&d, "0: REFUSED 3 DLQ_FULL\n");
    change(&d, false);
    driver_expect(&d, "1: DONE OK 2\n");
    assert_int_equal(dead_bytes(&d), 0);
    resume(&d, 3);
    publish(&d, 3, "x");
    driver_expect(&d, "1: DELIVER 1:3 after 0 attempt 1 'x'\n0: RECEIPT 3 x1 -> 1:3\n");
    end(&d);
}

static void test_redriven_letters_give_their_room_back_and_take_it_again(void **state)
{
    struct driver d;

    (void)state;
    begin(&d, small);
    die(&d, 1, 1, "12345");
    change(&d, true);
    driver_expect(&d, "1: DONE OK 1\n1: DELIVER 1:2 after 0 attempt 1 redelivered '12345'\n");
    assert_int_equal(dead_bytes(&d), 0);
    driver_nack(&d, 1, 1, 2, "no");
    assert_int_equal(dead_bytes(&d), 5);
    end(&d);
}

static void test_the_bytes_survive_restarts_and_snapshots(void **state)
{
    struct driver d;

    (void)state;
    begin(&d, small);
    die(&d, 1, 1, "12345678");
    driver_snapshot_begin(&d);
    while (driver_snapshot_step(&d, 64)) {
    }
    driver_check_snapshot(&d);
    for (unsigned i = 0; i < 2; i++) {
        driver_restart(&d, i);
        driver_open(&d, 0, 1000, 1);
        driver_channel(&d, 0, "a", "b");
        driver_forget(&d);
        assert_int_equal(dead_bytes(&d), 8);
        driver_put_publish(&d, &(struct driver_message){.pseq = 1, .text = "x", .id = 99});
        driver_send(&d, 0);
        driver_expect(&d, "0: REFUSED 1 DLQ_FULL\n");
    }
    end(&d);
}

/* The one that waits and the scheduled one are never with a receiver. */
static void test_messages_that_expire_unseen_have_a_size(void **state)
{
    struct driver d;

    (void)state;
    driver_init(&d, small);
    d.mute_health = true;
    driver_open(&d, 0, 1000, 1);
    driver_open(&d, 1, 1000, 2);
    driver_attach(&d, 1, "b", 10);
    driver_close(&d, 1);
    driver_channel(&d, 0, "a", "b");
    driver_put_publish(&d, &(struct driver_message){.pseq = 1, .text = "123", .ttl_ms = 100});
    driver_put_publish(&d,
                       &(struct driver_message){
                           .pseq = 2, .text = "4567", .due_ms = d.now.wall_ms + 50, .ttl_ms = 100});
    driver_send(&d, 0);
    driver_snapshot_begin(&d);
    while (driver_snapshot_step(&d, 64)) {
    }
    driver_restart(&d, true);
    driver_tick(&d, 200);
    driver_open(&d, 0, 1000, 1);
    assert_int_equal(dead_bytes(&d), 7);
    driver_check_snapshot(&d);
    end(&d);
}

static void no_retries(struct al_node_config *config)
{
    config->policy.retry_max = 0;
    config->breaker.percent = 0;
}

static void test_the_log_names_a_bounded_number_and_counts_the_others(void **state)
{
    struct driver d;

    (void)state;
    begin(&d, no_retries);
    for (uint64_t seq = 1; seq <= AL_DLQ_LOG_LINES + 40; seq++)
        die(&d, seq, seq, "x");
    assert_int_equal(d.letters_logged, AL_DLQ_LOG_LINES);
    driver_tick(&d, AL_DLQ_LOG_MS + 11000); /* they are counted though nobody dies any more */
    driver_expect(&d, "40 dead letters not logged\n");
    die(&d, AL_DLQ_LOG_LINES + 41, AL_DLQ_LOG_LINES + 41, "x");
    assert_int_equal(d.letters_logged, AL_DLQ_LOG_LINES + 1);
    end(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_queue_that_is_full_of_bytes_refuses_new_messages),
        cmocka_unit_test(test_redriven_letters_give_their_room_back_and_take_it_again),
        cmocka_unit_test(test_the_bytes_survive_restarts_and_snapshots),
        cmocka_unit_test(test_messages_that_expire_unseen_have_a_size),
        cmocka_unit_test(test_the_log_names_a_bounded_number_and_counts_the_others),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
