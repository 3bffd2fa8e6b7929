/* parse.c - durations, counts, sizes and places, as people write them on a command line. */
#include "base/limits.h"
#include "cli/cli.h"
#include <string.h>

/* The digits at *text, at most 18 of them so that nothing overflows; moves *text behind them. */
static int take_digits(const char **text, uint64_t *ret_value)
{
    const char *p = *text;
    uint64_t value = 0;

    while (*p >= '0' && *p <= '9') {
        if (p - *text >= 18)
            return -AL_E_INVALID;
        value = value * 10 + (uint64_t)(*p++ - '0');
    }
    if (p == *text)
        return -AL_E_INVALID;
    *text = p;
    *ret_value = value;
    return 0;
}

int ali_parse_count(const char *text, uint64_t *ret_count)
{
    uint64_t value;

    if (take_digits(&text, &value) || *text)
        return -AL_E_INVALID;
    *ret_count = value;
    return 0;
}

/* Milliseconds of a unit, 0 if there is no such unit. */
static uint64_t unit_ms(const char *unit)
{
    static const struct {
        const char *name;
        uint64_t ms;
    } units[] = {{"ms", 1},      {"s", 1000},    {"m", 60000},
                 {"min", 60000}, {"h", 3600000}, {"d", 86400000}};

    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
        if (strcmp(unit, units[i].name) == 0)
            return units[i].ms;
    return 0;
}

int ali_parse_duration(const char *text, uint64_t *ret_ms)
{
    uint64_t whole, part = 0, scale = 1, unit;

    if (take_digits(&text, &whole))
        return -AL_E_INVALID;
    if (*text == '.') {
        const char *start = ++text;

        if (take_digits(&text, &part) || text - start > 9)
            return -AL_E_INVALID;
        for (ptrdiff_t i = 0; i < text - start; i++)
            scale *= 10;
    }
    if (*text == '\0' && whole == 0 && part == 0) {
        *ret_ms = 0;
        return 0;
    }
    unit = unit_ms(text);
    if (unit == 0 || whole > AL_TTL_MAX_MS / unit)
        return -AL_E_INVALID;
    *ret_ms = whole * unit + part * unit / scale;
    return 0;
}

int ali_parse_size(const char *text, uint64_t *ret_bytes)
{
    static const char units[] = "kMGT";
    uint64_t value;
    unsigned shift = 0;

    if (take_digits(&text, &value))
        return -AL_E_INVALID;
    if (*text) {
        const char *unit = strchr(units, *text == 'K' ? 'k' : *text);

        if (!unit || (text[1] && strcmp(text + 1, "iB") != 0))
            return -AL_E_INVALID;
        shift = 10u * (unsigned)(unit - units + 1);
    }
    if (value > UINT64_MAX >> shift)
        return -AL_E_INVALID;
    *ret_bytes = value << shift;
    return 0;
}

int ali_parse_place(const char *text, uint32_t *ret_stream, uint64_t *ret_seq)
{
    uint64_t stream, seq;

    if (take_digits(&text, &stream) || *text++ != ':' || take_digits(&text, &seq) || *text)
        return -AL_E_INVALID;
    if (stream == 0 || stream > UINT32_MAX || seq == 0)
        return -AL_E_INVALID;
    *ret_stream = (uint32_t)stream;
    *ret_seq = seq;
    return 0;
}
