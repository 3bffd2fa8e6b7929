/* clock.c - clock_gettime, which cannot fail for these two clocks. */
#include "os/clock.h"

#include <time.h>

uint64_t al_clock_mono_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * AL_NS_PER_SEC + (uint64_t)ts.tv_nsec;
}

uint64_t al_clock_wall_ms(void)
{
    struct timespec ts;

    /* The coarse clock costs a third and is exact to a few milliseconds: enough for what people
     * read. */
    clock_gettime(CLOCK_REALTIME_COARSE, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / AL_NS_PER_MS;
}

struct al_now al_clock_now(void)
{
    return (struct al_now){.mono_ns = al_clock_mono_ns(), .wall_ms = al_clock_wall_ms()};
}
