/* wheel.c - hierarchical timer wheel. */
#include "base/wheel.h"
#include <assert.h>

#define BITS         6u
#define DEADLINE_MAX ((1ull << 48) - 1) /* as far as a timer can say: eight thousand years */

_Static_assert(sizeof(struct al_timer) == 16, "millions of them");

void al_wheel_init(struct al_wheel *wheel, uint64_t now_ms, al_timer_at_fn *at, void *ctx)
{
    *wheel = (struct al_wheel){.tick_ms = now_ms, .at = at, .ctx = ctx};
}

static struct al_timer *timer_at(const struct al_wheel *wheel, uint32_t name)
{
    return wheel->at(wheel->ctx, name);
}

static bool is_occupied(const struct al_wheel *wheel, unsigned level, unsigned slot)
{
    return wheel->occupied[level] >> slot & 1;
}

/* The level is given by the highest bit in which the tick and the deadline differ. */
static unsigned level_of(uint64_t tick_ms, uint64_t at_ms)
{
    uint64_t differ = tick_ms ^ at_ms;
    unsigned level = differ ? (63u - (unsigned)__builtin_clzll(differ)) / BITS : 0;

    return level < AL_WHEEL_LEVELS ? level : AL_WHEEL_LEVELS - 1;
}

static void insert(struct al_wheel *wheel, uint32_t name, struct al_timer *timer)
{
    /* What is due already stands in the slot of the next tick. */
    uint64_t at = timer->deadline_ms > wheel->tick_ms ? timer->deadline_ms : wheel->tick_ms;
    unsigned level = level_of(wheel->tick_ms, at);
    unsigned slot = (unsigned)(at >> (BITS * level)) & (AL_WHEEL_SLOTS - 1);
    uint32_t *tail = &wheel->tails[level][slot];

    timer->level = level & 0xf;
    timer->slot = slot & (AL_WHEEL_SLOTS - 1);
    timer->is_armed = true;
    timer->next = timer->prev = AL_TIMER_NONE;
    if (is_occupied(wheel, level, slot)) {
        timer->prev = *tail;
        timer_at(wheel, *tail)->next = name;
    } else {
        wheel->heads[level][slot] = name;
        wheel->occupied[level] |= 1ull << slot;
    }
    *tail = name;
    wheel->count++;
}

static void take_out(struct al_wheel *wheel, uint32_t name, struct al_timer *timer)
{
    unsigned level = timer->level, slot = timer->slot;

    if (timer->prev != AL_TIMER_NONE) {
        struct al_timer *prev = timer_at(wheel, timer->prev);

        assert(prev->is_armed && prev->next == name);
        prev->next = timer->next;
    } else {
        assert(wheel->heads[level][slot] == name);
        wheel->heads[level][slot] = timer->next;
    }
    if (timer->next != AL_TIMER_NONE) {
        struct al_timer *next = timer_at(wheel, timer->next);

        assert(next->is_armed && next->prev == name);
        next->prev = timer->prev;
    } else {
        wheel->tails[level][slot] = timer->prev;
    }
    if (wheel->heads[level][slot] == AL_TIMER_NONE)
        wheel->occupied[level] &= ~(1ull << slot);
    timer->is_armed = false;
    wheel->count--;
}

void al_wheel_cancel(struct al_wheel *wheel, uint32_t name)
{
    struct al_timer *timer = timer_at(wheel, name);

    if (timer->is_armed)
        take_out(wheel, name, timer);
}

void al_wheel_add(struct al_wheel *wheel, uint32_t name, uint64_t deadline_ms)
{
    uint64_t horizon = wheel->tick_ms + (1ull << (BITS * AL_WHEEL_LEVELS - 1));
    struct al_timer *timer = timer_at(wheel, name);

    if (timer->is_armed)
        take_out(wheel, name, timer);
    if (deadline_ms > horizon)
        deadline_ms = horizon;
    timer->deadline_ms = deadline_ms < DEADLINE_MAX ? deadline_ms : DEADLINE_MAX;
    insert(wheel, name, timer);
}

/* Start of the first occupied slot of this level that is still to come, or UINT64_MAX. The slot
 * that the tick stands in counts on level 0 only: higher ones were taken apart on entering. */
static uint64_t level_next(const struct al_wheel *wheel, unsigned level)
{
    unsigned shift = BITS * level, here = (unsigned)(wheel->tick_ms >> shift) & 63;
    unsigned first = level ? here + 1 : here;
    uint64_t base = wheel->tick_ms >> (shift + BITS) << (shift + BITS);
    uint64_t later = first > 63 ? 0 : wheel->occupied[level] & (~0ull << first);

    return later ? base + ((uint64_t)__builtin_ctzll(later) << shift) : UINT64_MAX;
}

uint64_t al_wheel_next_ms(const struct al_wheel *wheel)
{
    for (unsigned level = 0; wheel->count && level < AL_WHEEL_LEVELS; level++) {
        uint64_t at = level_next(wheel, level); /* a lower level always comes first */

        if (at != UINT64_MAX)
            return at;
    }
    return UINT64_MAX;
}

/* Moves to tick `at` and takes apart the slots of higher levels that begin there. */
static void advance(struct al_wheel *wheel, uint64_t at)
{
    wheel->tick_ms = at;
    for (unsigned level = AL_WHEEL_LEVELS - 1; level > 0; level--) {
        unsigned slot = (unsigned)(at >> (BITS * level)) & (AL_WHEEL_SLOTS - 1);
        uint32_t name = wheel->heads[level][slot];

        if (!is_occupied(wheel, level, slot) || (at & ((1ull << (BITS * level)) - 1)))
            continue;
        wheel->occupied[level] &= ~(1ull << slot);
        while (name != AL_TIMER_NONE) {
            struct al_timer *timer = timer_at(wheel, name);
            uint32_t next = timer->next;

            wheel->count--;
            insert(wheel, name, timer);
            name = next;
        }
    }
}

uint32_t al_wheel_pop(struct al_wheel *wheel, uint64_t now_ms)
{
    for (;;) {
        unsigned slot = wheel->tick_ms & (AL_WHEEL_SLOTS - 1);
        uint64_t next;

        if (is_occupied(wheel, 0, slot)) {
            uint32_t name = wheel->heads[0][slot];

            if (wheel->tick_ms > now_ms)
                return AL_TIMER_NONE;
            take_out(wheel, name, timer_at(wheel, name));
            return name;
        }
        next = al_wheel_next_ms(wheel);
        if (next > now_ms) {
            /* Every slot that begins up to now is empty: the tick may stand at now. */
            if (now_ms > wheel->tick_ms)
                wheel->tick_ms = now_ms;
            return AL_TIMER_NONE;
        }
        advance(wheel, next);
    }
}
