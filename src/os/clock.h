/* clock.h - the two clocks: monotonic for timers, wall for everything stored or shown. */
#ifndef AL_OS_CLOCK_H
#define AL_OS_CLOCK_H

#include "base/time.h"

/* Nanoseconds since some fixed point of this boot; never goes back. Any thread. */
uint64_t al_clock_mono_ns(void);
/* Milliseconds since 1970; may jump. Any thread. */
uint64_t al_clock_wall_ms(void);
/* Both at one time. Any thread. */
struct al_now al_clock_now(void);

#endif
