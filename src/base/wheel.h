/* wheel.h - one timer structure for everything: a hierarchical wheel.
 *
 * Eight levels of 64 slots, one tick of 1 ms at the lowest. Adding and cancelling are O(1); a timer
 * moves down at most seven times in its life. A timer never fires before its deadline and at most
 * one tick plus the caller's lateness after it.
 *
 * Timers are embedded in their owners and known by 4-byte names, through which they are linked: a
 * timer costs 16 bytes, and a node may have millions. The caller says what stands behind a name;
 * while a timer is armed its name has to lead to it. */
#ifndef AL_BASE_WHEEL_H
#define AL_BASE_WHEEL_H

#include <stdbool.h>
#include <stdint.h>

#define AL_WHEEL_LEVELS 8u
#define AL_WHEEL_SLOTS  64u
#define AL_TIMER_NONE   UINT32_MAX /* the name of no timer */

/* Zeroed: not armed. */
struct al_timer {
    uint32_t next, prev; /* names in the slot; AL_TIMER_NONE at the ends */
    uint64_t deadline_ms : 48, level : 4, slot : 6, is_armed : 1;
};

/* The timer of this name. */
typedef struct al_timer *al_timer_at_fn(void *ctx, uint32_t name);

struct al_wheel {
    uint32_t heads[AL_WHEEL_LEVELS][AL_WHEEL_SLOTS], tails[AL_WHEEL_LEVELS][AL_WHEEL_SLOTS];
    uint64_t
        occupied[AL_WHEEL_LEVELS]; /* one bit per slot; heads and tails of others say nothing */
    uint64_t tick_ms; /* next tick to look at: every timer before it has been handed out */
    uint64_t count;
    al_timer_at_fn *at;
    void *ctx;
};

/* An empty wheel whose first tick is now_ms. */
void al_wheel_init(struct al_wheel *wheel, uint64_t now_ms, al_timer_at_fn *at, void *ctx);
/* Arms or re-arms; a deadline in the past fires at the next al_wheel_pop. */
void al_wheel_add(struct al_wheel *wheel, uint32_t name, uint64_t deadline_ms);
/* Disarms; harmless when it is not armed. */
void al_wheel_cancel(struct al_wheel *wheel, uint32_t name);
/* Takes out one timer that is due at now_ms, AL_TIMER_NONE when there is none. Call until then. */
uint32_t al_wheel_pop(struct al_wheel *wheel, uint64_t now_ms);
/* A time not later than the earliest deadline; UINT64_MAX when no timer is armed. Calling
 * al_wheel_pop then either gives a timer or moves this bound forward. */
uint64_t al_wheel_next_ms(const struct al_wheel *wheel);

#endif
