/* test_base_wheel.c - the timer wheel against a naive table of deadlines, and a million timers. */
#include "base/wheel.h"
#include "support.h"
#include <stdlib.h>

#define TIMERS 400u
#define START  1700000000123u

struct model {
    struct al_wheel wheel;
    struct al_timer timer[TIMERS];
    uint64_t due[TIMERS]; /* UINT64_MAX: not armed */
    uint64_t now_ms;
};

/* Timers stand in an array; a name is a place in it. */
static struct al_timer *timer_at(void *ctx, uint32_t name)
{
    return (struct al_timer *)ctx + name;
}

static uint64_t earliest(const struct model *model)
{
    uint64_t min = UINT64_MAX;

    for (uint32_t i = 0; i < TIMERS; i++)
        min = model->due[i] < min ? model->due[i] : min;
    return min;
}

/* Moves time and takes out what is due: exactly the timers whose time has come, none twice. */
static void advance(struct model *model, uint64_t now_ms)
{
    uint32_t i;
    uint64_t last = 0, bound = earliest(model);

    /* The bound is never later than the earliest deadline, nor than now if that has passed. */
    bound = bound > model->now_ms ? bound : model->now_ms;
    assert_true(al_wheel_next_ms(&model->wheel) <= bound);
    model->now_ms = now_ms;
    while ((i = al_wheel_pop(&model->wheel, now_ms)) != AL_TIMER_NONE) {
        const struct al_timer *timer = &model->timer[i];

        assert_true(model->due[i] <= now_ms); /* never early */
        assert_true(timer->deadline_ms >= last || timer->deadline_ms <= model->wheel.tick_ms);
        assert_false(timer->is_armed);
        last = timer->deadline_ms;
        model->due[i] = UINT64_MAX;
    }
    assert_true(earliest(model) > now_ms); /* never late */
    assert_true(al_wheel_next_ms(&model->wheel) > now_ms);
}

static uint64_t random_delay(struct al_test_random *random)
{
    /* From the same tick up to years ahead, every level of the wheel. */
    return al_test_below(random, 1ull << al_test_below(random, 38));
}

static void mutate(struct model *model, struct al_test_random *random)
{
    uint32_t i = (uint32_t)al_test_below(random, TIMERS);

    if (al_test_below(random, 4) == 0) {
        al_wheel_cancel(&model->wheel, i);
        model->due[i] = UINT64_MAX;
        return;
    }
    model->due[i] = model->now_ms + random_delay(random);
    if (al_test_below(random, 20) == 0)
        model->due[i] = model->now_ms - al_test_below(random, 1000); /* in the past */
    al_wheel_add(&model->wheel, i, model->due[i]);
    assert_true(model->timer[i].is_armed);
}

static void behaves_like_a_table_of_deadlines(void **state)
{
    struct al_test_random random = al_test_random_new("wheel");
    static struct model model;

    (void)state;
    memset(&model, 0, sizeof(model));
    al_wheel_init(&model.wheel, START, timer_at, model.timer);
    model.now_ms = START;
    for (uint32_t i = 0; i < TIMERS; i++)
        model.due[i] = UINT64_MAX;
    for (int step = 0; step < 20000; step++) {
        uint64_t armed = 0, next;

        mutate(&model, &random);
        for (uint32_t i = 0; i < TIMERS; i++)
            armed += model.due[i] != UINT64_MAX;
        assert_true(model.wheel.count == armed);
        next = al_wheel_next_ms(&model.wheel);
        if (al_test_below(&random, 3) == 0) /* sleep exactly as long as the wheel says */
            advance(&model, next == UINT64_MAX || next < model.now_ms ? model.now_ms : next);
        else if (al_test_below(&random, 3) == 0) /* or oversleep */
            advance(&model, model.now_ms + random_delay(&random));
        /* A clock that jumps back gives nothing out and spoils nothing. */
        assert_int_equal(
            al_wheel_pop(&model.wheel, model.wheel.tick_ms - 1 - al_test_below(&random, 100000)),
            AL_TIMER_NONE);
    }
    advance(&model, UINT64_MAX / 2);
    assert_true(model.wheel.count == 0);
    assert_true(al_wheel_next_ms(&model.wheel) == UINT64_MAX);
}

/* Following al_wheel_next_ms alone reaches every deadline on its very tick, in few wake-ups. */
static void sleeping_to_the_bound_is_exact(void **state)
{
    struct al_test_random random = al_test_random_new("wheel, sleep");

    (void)state;
    for (int round = 0; round < 3000; round++) {
        struct al_wheel wheel;
        struct al_timer timer = {0};
        uint32_t popped = AL_TIMER_NONE;
        uint64_t now = START + random_delay(&random), due = now + random_delay(&random);
        int wakes = 0;

        al_wheel_init(&wheel, now, timer_at, &timer);
        al_wheel_add(&wheel, 0, due);
        while (popped == AL_TIMER_NONE) {
            uint64_t next = al_wheel_next_ms(&wheel);

            assert_true(next >= now && next <= due);
            now = next;
            popped = al_wheel_pop(&wheel, now);
            assert_true(++wakes <= 8);
        }
        assert_true(now == due);
    }
}

static void cancel_and_rearm(void **state)
{
    struct al_wheel wheel;
    struct al_timer timers[2] = {0};
    const uint32_t a = 0, b = 1;

    (void)state;
    al_wheel_init(&wheel, START, timer_at, timers);
    al_wheel_cancel(&wheel, a); /* not armed: harmless */
    al_wheel_add(&wheel, a, START + 5);
    al_wheel_add(&wheel, b, START + 5);
    al_wheel_add(&wheel, a, START + 50); /* re-armed, not twice */
    assert_true(wheel.count == 2);
    assert_int_equal(al_wheel_pop(&wheel, START + 4), AL_TIMER_NONE);
    assert_int_equal(al_wheel_pop(&wheel, START + 5), b);
    assert_int_equal(al_wheel_pop(&wheel, START + 49), AL_TIMER_NONE);
    al_wheel_cancel(&wheel, a);
    al_wheel_cancel(&wheel, a);
    assert_int_equal(al_wheel_pop(&wheel, START + 1000), AL_TIMER_NONE);
    assert_true(wheel.count == 0);
}

static void time_that_stands_still_or_jumps_back_is_harmless(void **state)
{
    struct al_wheel wheel;
    struct al_timer timer = {0};

    (void)state;
    al_wheel_init(&wheel, START, timer_at, &timer);
    al_wheel_add(&wheel, 0, START + 10);
    assert_int_equal(al_wheel_pop(&wheel, START + 9), AL_TIMER_NONE);
    assert_int_equal(al_wheel_pop(&wheel, START - 1000), AL_TIMER_NONE);
    assert_int_equal(al_wheel_pop(&wheel, START + 9), AL_TIMER_NONE);
    assert_int_equal(al_wheel_pop(&wheel, START + 10), 0);
    al_wheel_add(&wheel, 0, 0); /* long past */
    assert_int_equal(al_wheel_pop(&wheel, START + 10), 0);
}

/* A million timers over an hour: all fire, in order, none early. */
static void a_million_timers(void **state)
{
    enum { COUNT = 1000000, SPAN_MS = 3600000 };
    struct al_test_random random = al_test_random_new("wheel, million");
    struct al_timer *timers = calloc(COUNT, sizeof(*timers));
    struct al_wheel wheel;
    uint32_t fired = 0, i;

    (void)state;
    assert_non_null(timers);
    al_wheel_init(&wheel, START, timer_at, timers);
    for (i = 0; i < COUNT; i++)
        al_wheel_add(&wheel, i, START + al_test_below(&random, SPAN_MS));
    for (i = 0; i < COUNT; i += 2)
        al_wheel_cancel(&wheel, i);
    assert_true(wheel.count == COUNT / 2);
    for (uint64_t now = START; now < START + SPAN_MS + 97; now += 97) {
        while ((i = al_wheel_pop(&wheel, now)) != AL_TIMER_NONE) {
            assert_true(timers[i].deadline_ms <= now && timers[i].deadline_ms + 97 > now);
            fired++;
        }
    }
    assert_int_equal(fired, COUNT / 2);
    free(timers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(behaves_like_a_table_of_deadlines),
        cmocka_unit_test(sleeping_to_the_bound_is_exact),
        cmocka_unit_test(cancel_and_rearm),
        cmocka_unit_test(time_that_stands_still_or_jumps_back_is_harmless),
        cmocka_unit_test(a_million_timers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
