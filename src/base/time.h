/* time.h - units of time. The core gets time as a parameter: monotonic nanoseconds for timers,
 * wall-clock milliseconds since 1970 for everything that is stored or shown. */
#ifndef AL_BASE_TIME_H
#define AL_BASE_TIME_H

#include <stdint.h>

#define AL_NS_PER_MS  1000000ull
#define AL_NS_PER_SEC 1000000000ull
#define AL_NEVER_NS   UINT64_MAX /* a deadline that never comes */

/* The two clocks, read together. */
struct al_now {
    uint64_t mono_ns;
    uint64_t wall_ms;
};

#endif
