/* test_core_breaker.c - circuit breakers: when they open, what they spare, how they close. */
#include "core_driver.h"
#include "support.h"

static struct al_kind_policy kinds[1];

static void configure(struct al_node_config *config)
{
    config->breaker = (struct al_breaker_policy){
        .percent = 50, .samples = 4, .call_timeout_ms = 5000, .open_ms = 30000};
    kinds[0] = (struct al_kind_policy){.kind = al_str_c("own"),
                                       .priority = AL_PRIORITY_NONE,
                                       .policy = config->policy,
                                       .breaker = config->breaker};
    kinds[0].breaker.own = 1;
    config->kinds = kinds;
    config->kind_count = 1;
    config->policy.retry_base_ms = config->policy.retry_cap_ms = 10;
    config->policy.ack_timeout_ms = 20000;
}

static void begin(struct driver *d)
{
    driver_init(d, configure);
    d->mute_health = true;
    driver_open(d, 0, 1000, 1);
    driver_open(d, 1, 1000, 2);
    driver_attach(d, 1, "b", 1);
    driver_channel(d, 0, "a", "b");
    driver_forget(d);
}

static void end(struct driver *d)
{
    driver_check_replay(d);
    driver_deinit(d);
}

static void refuse(struct driver *d, uint64_t seq, unsigned times)
{
    for (unsigned i = 0; i < times; i++) {
        driver_nack(d, 1, 1, seq, "no");
        driver_tick(d, 15);
    }
}

static void state_is(struct driver *d, const char *expected)
{
    struct al_msg_breaker_list m = {.request = 1, .flags = 1, .agent = al_str_c("b")};

    driver_forget(d);
    assert_int_equal(al_put_breaker_list(&d->in, &m), 0);
    driver_send(d, 0);
    driver_expect(d, expected);
}

static void opens_at_half_and_waits_without_attempts(void **state)
{
    struct al_msg_record_get get = {.request = 1, .stream = 1, .seq = 1};
    struct driver d;

    (void)state;
    begin(&d);
    driver_publish(&d, 0, 1, 2);
    refuse(&d, 1, 3);
    state_is(&d, "0: BREAKER b '' state 0 left 0 ok 0 errors 3 opened 0 waiting 1\n0: DONE OK 1\n");
    driver_nack(&d, 1, 1, 1, "no");
    driver_expect(&d, "breaker_open b ''\n");
    driver_tick(&d, 29000);
    driver_expect(&d, ""); /* nothing is given out */
    assert_int_equal(al_put_record_get(&d.in, &get), 0);
    driver_send(&d, 0); /* the sender can see why, and that no attempt is spent */
    driver_expect(&d, "0: RECORD 1:1 state 1 attempts 4 "
                      "'held: the circuit breaker of the recipient is open'\n");
    driver_tick(&d, 1100);
    driver_expect(&d, "breaker_half_open b ''\n"
                      "1: DELIVER 1:1 after 0 attempt 5 redelivered 'm1'\n");
    driver_ack(&d, 1, 1, 1);
    driver_expect(&d, "breaker_closed b ''\n1: ACKED 1:1-1 x1\n"
                      "1: DELIVER 1:2 after 1 attempt 1 'm2'\n");
    end(&d);
}

static void successes_keep_it_closed(void **state)
{
    struct driver d;

    (void)state;
    begin(&d);
    driver_publish(&d, 0, 1, 9);
    for (uint64_t seq = 1; seq <= 6; seq++)
        driver_ack(&d, 1, 1, seq);
    refuse(&d, 7, 5);
    state_is(&d, "0: BREAKER b '' state 0 left 0 ok 6 errors 5 opened 0 waiting 2\n0: DONE OK 1\n");
    for (uint64_t seq = 7; seq <= 9; seq++)
        driver_ack(&d, 1, 1, seq);
    driver_tick(&d, 61000); /* what is older than a minute does not count */
    state_is(&d, "0: BREAKER b '' state 0 left 0 ok 0 errors 0 opened 0 waiting 0\n0: DONE OK 1\n");
    end(&d);
}

static void failed_probe_opens_again_and_dies_at_last(void **state)
{
    struct driver d;

    (void)state;
    begin(&d);
    driver_publish(&d, 0, 1, 2);
    refuse(&d, 1, 4);
    driver_tick(&d, 31000);
    driver_forget(&d);
    driver_nack(&d, 1, 1, 1, "no"); /* attempt 5: spent, as ever */
    driver_expect(&d, "breaker_open b ''\n");
    driver_tick(&d, 31000);
    driver_expect(&d, "breaker_half_open b ''\n"
                      "1: DELIVER 1:1 after 0 attempt 6 redelivered 'm1'\n");
    driver_nack(&d, 1, 1, 1, "no"); /* that was the last retry: the neighbours are not held */
    driver_expect(&d, "breaker_open b ''\n1: ACKED 1:1-1 x1\n");
    driver_tick(&d, 31000);
    driver_expect(&d, "breaker_half_open b ''\n1: DELIVER 1:2 after 0 attempt 1 'm2'\n");
    driver_ack(&d, 1, 1, 2);
    driver_expect(&d, "breaker_closed b ''\n1: ACKED 1:2-2 x1\n");
    end(&d);
}

static void lost_connections_do_not_count(void **state)
{
    struct driver d;

    (void)state;
    begin(&d);
    driver_publish(&d, 0, 1, 1);
    for (uint8_t i = 0; i < 5; i++) {
        driver_close(&d, 1);
        driver_tick(&d, AL_SESSION_GRACE_MS + 50);
        driver_tick(&d, 50);
        driver_open(&d, 1, 1000, (uint8_t)(10 + i));
        driver_attach(&d, 1, "b", 1);
    }
    state_is(&d, "0: DONE OK 0\n");
    end(&d);
}

static void a_call_without_answer_counts_once(void **state)
{
    struct driver d;

    (void)state;
    begin(&d);
    driver_publish(&d, 0, 1, 1);
    driver_tick(&d, 4990);
    state_is(&d, "0: DONE OK 0\n");
    driver_tick(&d, 20); /* 5 s: an error, and the lease goes on */
    driver_tick(&d, 14900);
    state_is(&d, "0: BREAKER b '' state 0 left 0 ok 0 errors 1 opened 0 waiting 0\n0: DONE OK 1\n");
    driver_ack(&d, 1, 1, 1); /* late, but well: not counted twice */
    state_is(&d, "0: BREAKER b '' state 0 left 0 ok 0 errors 1 opened 0 waiting 0\n0: DONE OK 1\n");
    end(&d);
}

static void a_kind_has_its_own(void **state)
{
    struct driver_message own = {.pseq = 1, .text = "x", .kind = "own"};
    struct driver_message other = {.pseq = 2, .text = "y"};
    struct driver d;

    (void)state;
    begin(&d);
    driver_put_publish(&d, &own);
    driver_send(&d, 0);
    for (unsigned i = 0; i < 4; i++) {
        driver_nack(&d, 1, 1, 1, "no");
        driver_tick(&d, 2000);
    }
    driver_forget(&d);
    driver_put_publish(&d, &other); /* behind it in the stream: it waits */
    driver_send(&d, 0);
    driver_expect(&d, "0: RECEIPT 2 x1 -> 1:2\n");
    state_is(&d, "0: BREAKER b '' state 0 left 0 ok 0 errors 0 opened 0 waiting 2\n"
                 "0: BREAKER b 'own' state 1 left 28000 ok 0 errors 4 opened 1 waiting 2\n"
                 "0: DONE OK 2\n");
    driver_tick(&d, 30000);
    driver_expect(&d, "breaker_half_open b 'own'\n"
                      "1: DELIVER 1:1 after 0 attempt 5 redelivered 'x'\n");
    driver_ack(&d, 1, 1, 1);
    driver_expect(&d, "breaker_closed b 'own'\n1: ACKED 1:1-1 x1\n"
                      "1: DELIVER 1:2 after 1 attempt 1 'y'\n");
    end(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opens_at_half_and_waits_without_attempts),
        cmocka_unit_test(successes_keep_it_closed),
        cmocka_unit_test(failed_probe_opens_again_and_dies_at_last),
        cmocka_unit_test(lost_connections_do_not_count),
        cmocka_unit_test(a_call_without_answer_counts_once),
        cmocka_unit_test(a_kind_has_its_own),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
