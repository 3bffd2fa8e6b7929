/* wheel.h - one timer structure for everything: a hierarchical wheel.
 *
 * Eight levels of 64 slots, one tick of 1 ms at the lowest. Adding and cancelling are O(1); a timer
 * moves down at most seven times in its life. Timers are embedded in their owner. A timer never
 * fires before its deadline and at most one tick plus the caller's lateness after it. */
#ifndef AL_BASE_WHEEL_H
#define AL_BASE_WHEEL_H

#include <stdbool.h>
#include <stdint.h>

#define AL_WHEEL_LEVELS 8u
#define AL_WHEEL_SLOTS  64u

struct al_timer {
    struct al_timer *next, **link; /* link: the pointer that points here; NULL: not armed */
    uint64_t deadline_ms;
    uint32_t owner; /* the caller's reference */
    uint8_t kind;   /* the caller's kind of timer */
    uint8_t level, slot;
};

struct al_wheel {
    struct al_timer *slots[AL_WHEEL_LEVELS][AL_WHEEL_SLOTS];
    struct al_timer **ends[AL_WHEEL_LEVELS][AL_WHEEL_SLOTS]; /* the pointer behind the last one */
    uint64_t occupied[AL_WHEEL_LEVELS];
    uint64_t tick_ms; /* next tick to look at: every timer before it has been handed out */
    uint64_t count;
};

/* An empty wheel whose first tick is now_ms. */
void al_wheel_init(struct al_wheel *wheel, uint64_t now_ms);
/* Arms or re-arms; a deadline in the past fires at the next al_wheel_pop. */
void al_wheel_add(struct al_wheel *wheel, struct al_timer *timer, uint64_t deadline_ms);
/* Disarms; harmless when it is not armed. */
void al_wheel_cancel(struct al_wheel *wheel, struct al_timer *timer);
/* True between al_wheel_add and the pop or cancel that ends it. */
static inline bool al_timer_is_armed(const struct al_timer *timer)
{
    return timer->link != 0;
}
/* Takes out one timer that is due at now_ms, NULL when there is none. Call until NULL. */
struct al_timer *al_wheel_pop(struct al_wheel *wheel, uint64_t now_ms);
/* A time not later than the earliest deadline; UINT64_MAX when no timer is armed. Calling
 * al_wheel_pop then either gives a timer or moves this bound forward. */
uint64_t al_wheel_next_ms(const struct al_wheel *wheel);

#endif
