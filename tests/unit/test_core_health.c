/* test_core_health.c - alerts and their durations, health and its reasons, as notices. */
#include "core_driver.h"
#include "support.h"
#include <stdio.h>

static void configure(struct al_node_config *config)
{
    config->breaker.percent = 0; /* they have a test of their own */
    config->inbox_max = 2;
}

static void begin(struct driver *d)
{
    driver_init(d, configure);
    driver_open(d, 0, 1000, 1);
    driver_open(d, 1, 1000, 2);
    driver_attach(d, 1, "b", 1);
    driver_channel(d, 0, "a", "b");
    driver_forget(d);
}

/* One message that ends this way, and ten seconds. */
static void deliver(struct driver *d, uint64_t seq, uint8_t status)
{
    struct al_msg_ack ack = {.agent = d->agent[1], .stream = 1, .seq = seq, .status = status};

    driver_publish(d, 0, seq, seq);
    ack.lease = d->lease[1][seq % 16];
    assert_int_equal(al_put_ack(&d->in, &ack), 0);
    driver_send(d, 1);
    driver_forget(d);
    driver_tick(d, 10010);
}

static void delivery_rate_fires_after_five_minutes(void **state)
{
    static const char pending[] =
        "health_changed delivery 'less than 99 % of the deliveries of the last minute ended well'\n"
        "health_changed node 'less than 99 % of the deliveries of the last minute ended well'\n";
    static const char firing[] =
        "alert_firing delivery_rate 'less than 99 % of the deliveries that ended in the last "
        "minute ended well, for 5 minutes'\n"
        "health_changed delivery 'less than 99 % of the deliveries of the last minute ended well'\n"
        "health_changed node 'less than 99 % of the deliveries of the last minute ended well'\n";
    static const char over[] =
        "alert_over delivery_rate 'less than 99 % of the deliveries that ended in the last "
        "minute ended well, for 5 minutes'\n"
        "health_changed delivery 'ok'\nhealth_changed node 'ok'\n";
    struct driver d;

    (void)state;
    begin(&d);
    deliver(&d, 1, AL_STATUS_FAILED);
    driver_expect(&d, pending);
    for (uint64_t seq = 2; seq <= 30; seq++) {
        deliver(&d, seq, AL_STATUS_FAILED);
        driver_expect(&d, "");
    }
    deliver(&d, 31, AL_STATUS_FAILED);
    driver_expect(&d, firing);
    for (uint64_t seq = 32; seq <= 36; seq++) { /* bad ones of the last minute still count */
        deliver(&d, seq, AL_STATUS_SUCCESS);
        driver_expect(&d, "");
    }
    deliver(&d, 37, AL_STATUS_SUCCESS);
    driver_expect(&d, over);
    driver_check_replay(&d);
    driver_deinit(&d);
}

static void a_short_dip_does_not_fire(void **state)
{
    struct driver d;

    (void)state;
    begin(&d);
    deliver(&d, 1, AL_STATUS_FAILED);
    driver_forget(&d);
    driver_tick(&d, 70000);
    driver_expect(&d, "health_changed delivery 'ok'\nhealth_changed node 'ok'\n");
    driver_tick(&d, 600000);
    driver_expect(&d, "");
    driver_deinit(&d);
}

static void a_full_inbox_is_a_reason(void **state)
{
    static const char full[] = "messages were refused: an inbox, a dead-letter queue or the store "
                               "of idempotency keys is full";
    char expected[400];
    struct driver d;

    (void)state;
    begin(&d);
    driver_publish(&d, 0, 1, 3);
    driver_forget(&d);
    driver_ack(&d, 1, 1, 1);
    driver_ack(&d, 1, 1, 2);
    driver_forget(&d);
    driver_tick(&d, 10010);
    snprintf(expected, sizeof(expected), "health_changed limits '%s'\nhealth_changed node '%s'\n",
             full, full);
    driver_expect(&d, expected);
    driver_tick(&d, 70000);
    driver_expect(&d, "health_changed limits 'ok'\nhealth_changed node 'ok'\n");
    driver_deinit(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(delivery_rate_fires_after_five_minutes),
        cmocka_unit_test(a_short_dip_does_not_fire),
        cmocka_unit_test(a_full_inbox_is_a_reason),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
