/* test_core_cron.c - when schedules fire, against a naive clock that steps minute by minute. */
#include "base/errors.h"
#include "core/cron.h"
#include "support.h"
#include <stdio.h>
#include <time.h>

#define MINUTE 60000ull

static uint64_t at(int year, int month, int day, int hour, int minute)
{
    struct tm tm = {.tm_year = year - 1900,
                    .tm_mon = month - 1,
                    .tm_mday = day,
                    .tm_hour = hour,
                    .tm_min = minute};

    return (uint64_t)timegm(&tm) * 1000;
}

static uint64_t next(const char *text, uint64_t after_ms)
{
    struct ali_cron cron;

    assert_int_equal(ali_cron_read(al_str_c(text), &cron), 0);
    return ali_cron_next(&cron, 0, after_ms);
}

static void known_answers(void **state)
{
    uint64_t now = at(2026, 11, 21, 12, 30); /* a Saturday */

    (void)state;
    assert_int_equal(next("* * * * *", now), now + MINUTE);
    assert_int_equal(next("* * * * *", now - 1), now);
    assert_int_equal(next("0 8 * * 1-5", now), at(2026, 11, 23, 8, 0));
    assert_int_equal(next("*/15 12 * * *", now), at(2026, 11, 21, 12, 45));
    assert_int_equal(next("@hourly", now), at(2026, 11, 21, 13, 0));
    assert_int_equal(next("@weekly", now), at(2026, 11, 22, 0, 0));
    assert_int_equal(next("0 0 * * 7", now), at(2026, 11, 22, 0, 0));
    assert_int_equal(next("@yearly", now), at(2027, 1, 1, 0, 0));
    assert_int_equal(next("0 0 29 2 *", now), at(2028, 2, 29, 0, 0));
    assert_int_equal(next("0 0 29 2 *", at(2096, 3, 1, 0, 0)), at(2104, 2, 29, 0, 0));
    assert_int_equal(next("0 0 13 * 5", now), at(2026, 11, 27, 0, 0)); /* one of them is enough */
    assert_true(next("0 0 31 4 *", now) == UINT64_MAX);
}

static void every_counts_from_its_anchor(void **state)
{
    struct ali_cron cron;

    (void)state;
    assert_int_equal(ali_cron_read(al_str_c("@every 10s"), &cron), 0);
    assert_int_equal(ali_cron_next(&cron, 5000, 5000), 15000);
    assert_int_equal(ali_cron_next(&cron, 5000, 14999), 15000);
    assert_int_equal(ali_cron_next(&cron, 5000, 15000), 25000);
    assert_int_equal(ali_cron_next(&cron, 5000, 1000), 15000); /* the clock was set back */
}

/* A set of numbers as text, and as bits. */
static uint64_t draw_set(struct al_test_random *random, unsigned low, unsigned high, char text[64])
{
    unsigned a = low + (unsigned)al_test_below(random, high - low + 1);
    unsigned b = a + (unsigned)al_test_below(random, high - a + 1);
    unsigned step = 1 + (unsigned)al_test_below(random, 3);
    uint64_t set = 0;

    switch (al_test_below(random, 4)) {
    case 0:
        snprintf(text, 64, "*");
        return UINT64_MAX;
    case 1:
        snprintf(text, 64, "%u,%u", b, a);
        return 1ull << a | 1ull << b;
    case 2:
        snprintf(text, 64, "%u-%u/%u", a, b, step);
        for (unsigned i = a; i <= b; i += step)
            set |= 1ull << i;
        return set;
    default:
        snprintf(text, 64, "%u", a);
        return 1ull << a;
    }
}

static void against_a_clock_that_steps(void **state)
{
    struct al_test_random random = al_test_random_new("core_cron");

    (void)state;
    for (unsigned n = 0; n < 200; n++) {
        char f[5][64], text[330];
        uint64_t set[5] = {draw_set(&random, 0, 59, f[0]), draw_set(&random, 0, 23, f[1]),
                           draw_set(&random, 1, 31, f[2]), draw_set(&random, 1, 12, f[3]),
                           draw_set(&random, 0, 6, f[4])};
        uint64_t after = at(2024, 1, 1, 0, 0) + al_test_below(&random, 1u << 20) * MINUTE;
        uint64_t found, naive = after - after % MINUTE;
        unsigned steps = 0;

        snprintf(text, sizeof(text), "%s %s %s %s %s", f[0], f[1], f[2], f[3], f[4]);
        found = next(text, after);
        for (bool fires = false; !fires && steps < 600000; steps++) {
            time_t seconds;
            struct tm tm;
            bool day, weekday, one;

            naive += MINUTE;
            seconds = (time_t)(naive / 1000);
            gmtime_r(&seconds, &tm);
            day = set[2] >> tm.tm_mday & 1;
            weekday = set[4] >> tm.tm_wday & 1;
            one = f[2][0] != '*' && f[4][0] != '*';
            fires = set[0] >> tm.tm_min & 1 && set[1] >> tm.tm_hour & 1 &&
                    set[3] >> (tm.tm_mon + 1) & 1 && (one ? day || weekday : day && weekday);
        }
        if (steps < 600000 && found != naive)
            fail_msg("'%s' after %llu: %llu, and the clock says %llu", text,
                     (unsigned long long)after, (unsigned long long)found,
                     (unsigned long long)naive);
        if (steps == 600000)
            assert_true(found > naive);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_answers),
        cmocka_unit_test(every_counts_from_its_anchor),
        cmocka_unit_test(against_a_clock_that_steps),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
