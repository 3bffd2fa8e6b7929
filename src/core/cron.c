/* cron.c - when a schedule fires. Pure: the same text and time give the same answer everywhere. */
#include "core/cron.h"
#include "base/errors.h"
#include "base/limits.h"
#include <string.h>

#define DAY_MS      (24ull * 3600 * 1000)
#define MINUTE_MS   60000ull
#define DAYS_AHEAD  (9u * 366) /* a 29th of February is at most eight years away */
#define FIELD_COUNT 5u

/* ---- reading ----------------------------------------------------------------------------- */

/* Takes a number of at most 4 digits from the text; false if none stands there. */
static bool take_number(struct al_str *text, unsigned *ret_number)
{
    unsigned number = 0, digits = 0;

    while (text->n && *text->p >= '0' && *text->p <= '9' && digits < 4) {
        number = number * 10 + (unsigned)(*text->p - '0');
        text->p++;
        text->n--;
        digits++;
    }
    *ret_number = number;
    return digits > 0;
}

static bool take_char(struct al_str *text, char c)
{
    if (!text->n || *text->p != (uint8_t)c)
        return false;
    text->p++;
    text->n--;
    return true;
}

/* One of a list: *, a or a-b, with /step behind it or not. */
static bool take_range(struct al_str *text, unsigned low, unsigned high, uint64_t *ret_set)
{
    unsigned from = low, to = high, step = 1;

    if (!take_char(text, '*')) {
        if (!take_number(text, &from))
            return false;
        to = from;
        if (take_char(text, '-')) {
            if (!take_number(text, &to))
                return false;
        } else if (text->n && *text->p == '/') {
            to = high;
        }
    }
    if (take_char(text, '/') && !take_number(text, &step))
        return false;
    if (from < low || to > high || from > to || step < 1)
        return false;
    for (unsigned i = from; i <= to; i += step)
        *ret_set |= 1ull << i;
    return true;
}

static bool take_field(struct al_str *text, unsigned low, unsigned high, uint64_t *ret_set,
                       bool *ret_any)
{
    *ret_set = 0;
    *ret_any = text->n && *text->p == '*';
    do {
        if (!take_range(text, low, high, ret_set))
            return false;
    } while (take_char(text, ','));
    return true;
}

static int read_every(struct al_str text, struct ali_cron *ret_cron)
{
    static const struct {
        char unit;
        uint64_t ms;
    } units[] = {{'s', 1000}, {'m', MINUTE_MS}, {'h', 3600000}, {'d', DAY_MS}};
    unsigned number;

    if (!take_number(&text, &number) || text.n != 1)
        return -AL_E_BAD_SCHEDULE;
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
        if (*text.p == (uint8_t)units[i].unit)
            ret_cron->every_ms = number * units[i].ms;
    return ret_cron->every_ms >= AL_SCHEDULE_EVERY_MIN_MS ? 0 : -AL_E_BAD_SCHEDULE;
}

/* The five fields that a word stands for; empty: it is none. */
static struct al_str fields_of(struct al_str word)
{
    static const char *const words[][2] = {{"@hourly", "0 * * * *"},
                                           {"@daily", "0 0 * * *"},
                                           {"@weekly", "0 0 * * 0"},
                                           {"@monthly", "0 0 1 * *"},
                                           {"@yearly", "0 0 1 1 *"}};

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (al_str_eq(word, al_str_c(words[i][0])))
            return al_str_c(words[i][1]);
    return al_str_of(NULL, 0);
}

int ali_cron_read(struct al_str text, struct ali_cron *ret_cron)
{
    static const char every[] = "@every ";
    static const struct {
        unsigned low, high;
    } limits[FIELD_COUNT] = {{0, 59}, {0, 23}, {1, 31}, {1, 12}, {0, 7}};
    struct ali_cron cron = {0};
    uint64_t sets[FIELD_COUNT];
    bool any[FIELD_COUNT];
    int r = 0;

    if (text.n > sizeof(every) - 1 && memcmp(text.p, every, sizeof(every) - 1) == 0) {
        r = read_every(
            al_str_of(text.p + sizeof(every) - 1, text.n - (uint32_t)(sizeof(every) - 1)), &cron);
        if (r == 0)
            *ret_cron = cron;
        return r;
    }
    if (text.n && *text.p == '@')
        text = fields_of(text);
    if (text.n > AL_SCHEDULE_TEXT_MAX)
        return -AL_E_BAD_SCHEDULE;
    for (unsigned i = 0; i < FIELD_COUNT; i++) {
        if ((i && !take_char(&text, ' ')) ||
            !take_field(&text, limits[i].low, limits[i].high, &sets[i], &any[i]))
            return -AL_E_BAD_SCHEDULE;
    }
    if (text.n)
        return -AL_E_BAD_SCHEDULE;
    cron.minutes = sets[0];
    cron.hours = (uint32_t)sets[1];
    cron.days = (uint32_t)sets[2];
    cron.months = (uint16_t)sets[3];
    cron.weekdays = (uint8_t)((sets[4] | sets[4] >> 7) & 0x7f); /* 7 is Sunday, too */
    cron.any_day = any[2];
    cron.any_weekday = any[4];
    *ret_cron = cron;
    return 0;
}

/* ---- reckoning --------------------------------------------------------------------------- */

/* Month and day of a day counted from 1 January 1970 (the civil calendar, without leap seconds). */
static void civil(uint64_t days, unsigned *ret_month, unsigned *ret_day)
{
    uint64_t z = days + 719468, era = z / 146097, in_era = z % 146097;
    uint64_t year = (in_era - in_era / 1460 + in_era / 36524 - in_era / 146096) / 365;
    uint64_t in_year = in_era - (365 * year + year / 4 - year / 100);
    uint64_t shifted = (5 * in_year + 2) / 153; /* March is 0 */

    (void)era;
    *ret_day = (unsigned)(in_year - (153 * shifted + 2) / 5 + 1);
    *ret_month = (unsigned)(shifted < 10 ? shifted + 3 : shifted - 9);
}

static bool fires_on(const struct ali_cron *cron, uint64_t days)
{
    unsigned month, day, weekday = (unsigned)((days + 4) % 7); /* 1 January 1970: Thursday */
    bool by_day, by_weekday;

    civil(days, &month, &day);
    if (!(cron->months >> month & 1))
        return false;
    by_day = cron->days >> day & 1;
    by_weekday = cron->weekdays >> weekday & 1;
    return cron->any_day || cron->any_weekday ? by_day && by_weekday : by_day || by_weekday;
}

/* The first minute of the day, from `minute` on, at which it fires; 1440: none. */
static unsigned minute_from(const struct ali_cron *cron, unsigned minute)
{
    for (; minute < 1440; minute++)
        if (cron->hours >> minute / 60 & 1 && cron->minutes >> minute % 60 & 1)
            break;
    return minute;
}

uint64_t ali_cron_next(const struct ali_cron *cron, uint64_t anchor_ms, uint64_t after_ms)
{
    uint64_t first = after_ms / MINUTE_MS + 1, days = first / 1440;
    unsigned minute = (unsigned)(first % 1440);

    if (cron->every_ms) {
        uint64_t times = after_ms > anchor_ms ? (after_ms - anchor_ms) / cron->every_ms : 0;

        return anchor_ms + (times + 1) * cron->every_ms;
    }
    for (unsigned i = 0; i < DAYS_AHEAD; i++, days++, minute = 0) {
        if (!fires_on(cron, days))
            continue;
        minute = minute_from(cron, minute);
        if (minute < 1440)
            return (days * 1440 + minute) * MINUTE_MS;
    }
    return UINT64_MAX;
}
