/* test_core_parts.c - parts of replies: what the node passes on, and to whom. */
#include "base/errors.h"
#include "core_driver.h"
#include "support.h"

static void begin(struct driver *d, uint16_t flags)
{
    driver_init(d, NULL);
    driver_open(d, 0, 1000, 1);
    driver_open(d, 1, 1000, 2);
    driver_attach(d, 1, "b", 10);
    driver_channel(d, 0, "a", "b");
    for (uint64_t pseq = 1; pseq <= 2; pseq++)
        driver_put_publish(d,
                           &(struct driver_message){.pseq = pseq, .text = "ask", .flags = flags});
    driver_send(d, 0);
    driver_forget(d);
}

static void put_part(struct driver *d, uint64_t seq, uint64_t lease, uint32_t number,
                     struct al_str data)
{
    struct al_msg_part part = {.agent = d->agent[1],
                               .stream = 1,
                               .seq = seq,
                               .lease = lease,
                               .attempt = 7,
                               .part = number,
                               .data = data};

    assert_int_equal(al_put_part(&d->in, &part), 0);
    driver_send(d, 1);
}

static void part(struct driver *d, uint64_t seq, uint32_t number, const char *text)
{
    put_part(d, seq, d->lease[1][seq & 15], number, al_str_c(text));
}

static void parts_go_to_who_asked(void **state)
{
    struct driver d;

    (void)state;
    begin(&d, AL_PUBLISH_NOTIFY);
    part(&d, 1, 1, "one");
    part(&d, 1, 2, "two");
    driver_expect(&d, "0: REPLY_PART 1:1 attempt 7 part 1 'one'\n"
                      "0: REPLY_PART 1:1 attempt 7 part 2 'two'\n");
    driver_close(&d, 0);
    driver_forget(&d);
    part(&d, 1, 3, "three"); /* nobody is there: it comes with the end */
    driver_expect(&d, "");
    driver_check_replay(&d); /* no part is a record */
    driver_deinit(&d);
}

static void nobody_asked_for_the_end(void **state)
{
    struct driver d;

    (void)state;
    begin(&d, 0);
    part(&d, 1, 1, "one");
    driver_expect(&d, "");
    driver_deinit(&d);
}

static void a_lease_that_is_over_says_nothing(void **state)
{
    uint64_t old;
    struct driver d;

    (void)state;
    begin(&d, AL_PUBLISH_NOTIFY);
    old = d.lease[1][1];
    driver_nack(&d, 1, 1, 1, "later");
    driver_forget(&d);
    put_part(&d, 1, old, 1, al_str_c("late"));
    driver_expect(&d, "1: SETTLE_REFUSED 1:1 LEASE_LOST\n");
    driver_tick(&d, 200);
    driver_forget(&d);
    put_part(&d, 1, old, 1, al_str_c("late"));
    driver_expect(&d, "1: SETTLE_REFUSED 1:1 LEASE_LOST\n");
    part(&d, 1, 1, "again");
    driver_expect(&d, "0: REPLY_PART 1:1 attempt 7 part 1 'again'\n");
    driver_ack(&d, 1, 1, 1);
    driver_forget(&d);
    part(&d, 1, 2, "behind the ack");
    driver_expect(&d, "1: SETTLE_REFUSED 1:1 LEASE_LOST\n");
    driver_deinit(&d);
}

static void what_is_no_part_is_refused(void **state)
{
    static uint8_t large[AL_PART_MAX + 1];
    struct al_msg_part stranger = {.agent = 99, .stream = 1, .seq = 1, .part = 1};
    struct driver d;

    (void)state;
    begin(&d, AL_PUBLISH_NOTIFY);
    part(&d, 1, 0, "number 0");
    part(&d, 1, 1, "");
    put_part(&d, 1, d.lease[1][1], 1, al_str_of(large, sizeof(large)));
    part(&d, 1, AL_PARTS_MAX + 1, "x");
    part(&d, 3, 1, "never sent");
    driver_expect(&d, "1: SETTLE_REFUSED 1:1 INVALID\n"
                      "1: SETTLE_REFUSED 1:1 INVALID\n"
                      "1: SETTLE_REFUSED 1:1 TOO_LARGE\n"
                      "1: SETTLE_REFUSED 1:1 TOO_LARGE\n"
                      "1: SETTLE_REFUSED 1:3 LEASE_LOST\n");
    assert_int_equal(al_put_part(&d.in, &stranger), 0);
    driver_send(&d, 0);
    driver_expect(&d, "0: SETTLE_REFUSED 1:1 NOT_ATTACHED\n");
    driver_deinit(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_go_to_who_asked),
        cmocka_unit_test(nobody_asked_for_the_end),
        cmocka_unit_test(a_lease_that_is_over_says_nothing),
        cmocka_unit_test(what_is_no_part_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
