/* wheel.c - hierarchical timer wheel. */
#include "base/wheel.h"
#include <assert.h>
#include <string.h>

#define BITS 6u

void al_wheel_init(struct al_wheel *wheel, uint64_t now_ms)
{
    memset(wheel, 0, sizeof(*wheel));
    for (unsigned level = 0; level < AL_WHEEL_LEVELS; level++)
        for (unsigned slot = 0; slot < AL_WHEEL_SLOTS; slot++)
            wheel->ends[level][slot] = &wheel->slots[level][slot];
    wheel->tick_ms = now_ms;
}

/* The level is given by the highest bit in which the tick and the deadline differ. */
static unsigned level_of(uint64_t tick_ms, uint64_t at_ms)
{
    uint64_t differ = tick_ms ^ at_ms;
    unsigned level = differ ? (63u - (unsigned)__builtin_clzll(differ)) / BITS : 0;

    return level < AL_WHEEL_LEVELS ? level : AL_WHEEL_LEVELS - 1;
}

static void insert(struct al_wheel *wheel, struct al_timer *timer)
{
    /* What is due already stands in the slot of the next tick. */
    uint64_t at = timer->deadline_ms > wheel->tick_ms ? timer->deadline_ms : wheel->tick_ms;
    struct al_timer ***end;

    timer->level = (uint8_t)level_of(wheel->tick_ms, at);
    timer->slot = (uint8_t)((at >> (BITS * timer->level)) & (AL_WHEEL_SLOTS - 1));
    end = &wheel->ends[timer->level][timer->slot];
    timer->next = NULL;
    timer->link = *end;
    **end = timer;
    *end = &timer->next;
    wheel->occupied[timer->level] |= 1ull << timer->slot;
    wheel->count++;
}

void al_wheel_cancel(struct al_wheel *wheel, struct al_timer *timer)
{
    if (!timer->link)
        return;
    *timer->link = timer->next;
    if (timer->next)
        timer->next->link = timer->link;
    else
        wheel->ends[timer->level][timer->slot] = timer->link;
    if (!wheel->slots[timer->level][timer->slot])
        wheel->occupied[timer->level] &= ~(1ull << timer->slot);
    timer->link = NULL;
    timer->next = NULL;
    wheel->count--;
}

void al_wheel_add(struct al_wheel *wheel, struct al_timer *timer, uint64_t deadline_ms)
{
    uint64_t horizon = wheel->tick_ms + (1ull << (BITS * AL_WHEEL_LEVELS - 1));

    al_wheel_cancel(wheel, timer);
    timer->deadline_ms = deadline_ms < horizon ? deadline_ms : horizon;
    insert(wheel, timer);
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
        struct al_timer *timer = wheel->slots[level][slot];

        if (!timer || (at & ((1ull << (BITS * level)) - 1)))
            continue;
        wheel->slots[level][slot] = NULL;
        wheel->ends[level][slot] = &wheel->slots[level][slot];
        wheel->occupied[level] &= ~(1ull << slot);
        while (timer) {
            struct al_timer *next = timer->next;

            wheel->count--;
            timer->link = NULL;
            insert(wheel, timer);
            timer = next;
        }
    }
}

struct al_timer *al_wheel_pop(struct al_wheel *wheel, uint64_t now_ms)
{
    for (;;) {
        struct al_timer *timer = wheel->slots[0][wheel->tick_ms & (AL_WHEEL_SLOTS - 1)];
        uint64_t next;

        if (timer) {
            if (wheel->tick_ms > now_ms)
                return NULL;
            al_wheel_cancel(wheel, timer);
            return timer;
        }
        next = al_wheel_next_ms(wheel);
        if (next > now_ms) {
            /* Every slot that begins up to now is empty: the tick may stand at now. */
            if (now_ms > wheel->tick_ms)
                wheel->tick_ms = now_ms;
            return NULL;
        }
        advance(wheel, next);
    }
}
