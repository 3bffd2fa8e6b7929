/* test_core_kinds.c - kinds: registration, what holds for a message, metrics. */
#include "core_driver.h"
#include "support.h"

static struct al_kind_policy configured[1];

static void configure(struct al_node_config *config)
{
    configured[0] = (struct al_kind_policy){.kind = al_str_c("slow"),
                                            .title = al_str_c("Slow"),
                                            .priority = 7,
                                            .policy = config->policy,
                                            .breaker = config->breaker};
    configured[0].policy.ack_timeout_ms = 60000;
    config->kinds = configured;
    config->kind_count = 1;
}

static void begin(struct driver *d)
{
    driver_init(d, configure);
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

static struct al_msg_kind_set settings(const char *kind, uint32_t ack_timeout_ms, uint32_t retries)
{
    return (struct al_msg_kind_set){.request = 1,
                                    .priority = AL_PRIORITY_NONE,
                                    .ack_timeout_ms = ack_timeout_ms,
                                    .retry_base_ms = 100,
                                    .retry_factor = 2,
                                    .retry_cap_ms = 1600,
                                    .retry_max = retries,
                                    .breaker_percent = 50,
                                    .breaker_samples = 10,
                                    .call_timeout_ms = 5000,
                                    .breaker_open_ms = 30000,
                                    .kind = al_str_c(kind),
                                    .title = al_str_c("Title")};
}

static void set(struct driver *d, uint32_t conn, const struct al_msg_kind_set *m,
                const char *expected)
{
    assert_int_equal(al_put_kind_set(&d->in, m), 0);
    driver_send(d, conn);
    driver_expect(d, expected);
}

static void list(struct driver *d, const char *kind, const char *expected)
{
    struct al_msg_kind_list m = {.request = 1, .kind = al_str_c(kind)};

    assert_int_equal(al_put_kind_list(&d->in, &m), 0);
    driver_send(d, 0);
    driver_expect(d, expected);
}

static void remove_kind(struct driver *d, uint32_t conn, const char *kind, const char *expected)
{
    struct al_msg_kind_remove m = {.request = 1, .kind = al_str_c(kind)};

    assert_int_equal(al_put_kind_remove(&d->in, &m), 0);
    driver_send(d, conn);
    driver_expect(d, expected);
}

static void publish(struct driver *d, uint64_t pseq, const char *kind)
{
    struct driver_message message = {.pseq = pseq, .text = "x", .kind = kind};

    driver_put_publish(d, &message);
    driver_send(d, 0);
    driver_forget(d);
}

static void registered_before_configured_before_default(void **state)
{
    struct al_msg_kind_set m = settings("slow", 1000, 2);
    struct driver d;

    (void)state;
    begin(&d);
    list(&d, "other",
         "0: KIND 'other' '' flags 0 priority 255 timeout 5000 retries 5 sent 0 ok 0\n"
         "0: DONE OK 1\n");
    list(&d, "",
         "0: KIND 'slow' 'Slow' flags 1 priority 7 timeout 60000 retries 5 sent 0 ok 0\n"
         "0: DONE OK 1\n");
    set(&d, 0, &m, "0: DONE OK 1\n");
    list(&d, "",
         "0: KIND 'slow' 'Title' flags 3 priority 255 timeout 1000 retries 2 sent 0 ok 0\n"
         "0: DONE OK 1\n");
    remove_kind(&d, 0, "slow", "0: DONE OK 1\n");
    list(&d, "slow",
         "0: KIND 'slow' 'Slow' flags 1 priority 7 timeout 60000 retries 5 sent 0 "
         "ok 0\n0: DONE OK 1\n");
    remove_kind(&d, 0, "slow", "0: DONE NOT_FOUND 0\n");
    end(&d);
}

/* Also when messages of the kind came before its registration. */
static void registration_sets_lease_and_retries(void **state)
{
    struct al_msg_kind_set m = settings("k", 1000, 0);
    struct driver d;

    (void)state;
    begin(&d);
    publish(&d, 1, "k");
    driver_ack(&d, 1, 1, 1);
    set(&d, 0, &m, "1: ACKED 1:1-1 x1\n0: DONE OK 1\n");
    publish(&d, 2, "k");
    driver_tick(&d, 999);
    driver_expect(&d, "");
    driver_tick(&d, 5); /* the lease is over and there is no retry */
    driver_expect(&d, "1: RECALL 1:2 TIMEOUT\n");
    list(&d, "k",
         "0: KIND 'k' 'Title' flags 6 priority 255 timeout 1000 retries 0 sent 2 ok 1\n"
         "0: DONE OK 1\n");
    end(&d);
}

static void registration_survives_restart(void **state)
{
    static const char row[] =
        "0: KIND 'k' 'Title' flags 2 priority 255 timeout 1000 retries 2 sent 0 ok 0\n"
        "0: DONE OK 1\n";

    (void)state;
    for (int from_snapshot = 0; from_snapshot < 2; from_snapshot++) {
        struct al_msg_kind_set m = settings("k", 900, 2), gone = settings("gone", 900, 2);
        struct driver d;

        begin(&d);
        set(&d, 0, &m, "0: DONE OK 1\n");
        set(&d, 0, &gone, "0: DONE OK 1\n");
        driver_snapshot_begin(&d); /* what changes now is written in its old form */
        m.ack_timeout_ms = 1000;
        set(&d, 0, &m, "0: DONE OK 1\n");
        remove_kind(&d, 0, "gone", "0: DONE OK 1\n");
        while (driver_snapshot_step(&d, 64))
            ;
        driver_check_snapshot(&d);
        driver_restart(&d, from_snapshot);
        driver_open(&d, 0, 1000, 1);
        list(&d, "k", row);
        list(&d, "gone",
             "0: KIND 'gone' '' flags 0 priority 255 timeout 5000 retries 5 sent 0 "
             "ok 0\n0: DONE OK 1\n");
        end(&d);
    }
}

static void foreign_and_bad_settings_are_refused(void **state)
{
    struct al_msg_kind_set m = settings("k", 1000, 2),
                           bad[] = {
                               settings("", 1000, 2),
                               settings("two words", 1000, 2),
                               settings("k", 0, 2),
                               settings("k", AL_LEASE_MAX_MS + 1, 2),
                               settings("k", 1000, AL_RETRY_COUNT_MAX + 1),
                               settings("k", 1000, 2),
                               settings("k", 1000, 2),
                               settings("k", 1000, 2),
                               settings("k", 1000, 2),
                           };
    struct driver d;

    (void)state;
    begin(&d);
    bad[8].retry_cap_ms = bad[8].retry_base_ms - 1;
    bad[5].priority = 10;
    bad[6].breaker_percent = 101;
    bad[7].breaker_samples = 0;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        set(&d, 0, &bad[i], "0: DONE INVALID 0\n");
    set(&d, 0, &m, "0: DONE OK 1\n");
    driver_open(&d, 2, 2000, 3);
    set(&d, 2, &m, "2: DONE NOT_OWNER 0\n");
    remove_kind(&d, 2, "k", "2: DONE NOT_OWNER 0\n");
    driver_open(&d, 3, 0, 4); /* root may, and the owner stays */
    set(&d, 3, &m, "3: DONE OK 1\n");
    set(&d, 0, &m, "0: DONE OK 1\n");
    end(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(registered_before_configured_before_default),
        cmocka_unit_test(registration_sets_lease_and_retries),
        cmocka_unit_test(registration_survives_restart),
        cmocka_unit_test(foreign_and_bad_settings_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
