/* cron.h - when a schedule fires: five cron fields in UTC, or "@every" and a time. */
#ifndef AL_CORE_CRON_H
#define AL_CORE_CRON_H

#include "base/bytes.h"
#include <stdbool.h>

/* A schedule's text, read. Sets of numbers are bits. */
struct ali_cron {
    uint64_t every_ms; /* 0: by the fields below */
    uint64_t minutes;
    uint32_t hours, days;
    uint16_t months;
    uint8_t weekdays;          /* bit 0: Sunday */
    bool any_day, any_weekday; /* begins with *: if neither does, one of them is enough */
};

/* Reads "MINUTE HOUR DAY MONTH WEEKDAY" (each: *, a number, a-b, lists of them, /step), or
 * "@hourly", "@daily", "@weekly", "@monthly", "@yearly", or "@every N" with s, m, h or d behind the
 * number. 0 or -AL_E_BAD_SCHEDULE. */
int ali_cron_read(struct al_str text, struct ali_cron *ret_cron);
/* The first wall clock after after_ms at which it fires; UINT64_MAX: never again. anchor_ms: from
 * when "@every" counts. */
uint64_t ali_cron_next(const struct ali_cron *cron, uint64_t anchor_ms, uint64_t after_ms);

#endif
