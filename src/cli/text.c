/* text.c - text for people: escaping of hostile text, times, sizes, colour.
 *
 * Agent names, kinds, reasons and payloads come from strangers. Whatever a terminal could act on
 * (escape sequences, C1 controls), or show other than it is (bidirectional overrides, invisible
 * format characters), is printed as a visible escape. */
#include "base/text.h"
#include "cli/cli.h"
#include <inttypes.h>
#include <string.h>
#include <time.h>
#include <wchar.h>

/* Code points that change how others are shown, or show nothing at all. */
static bool is_deceptive(uint32_t cp)
{
    static const struct {
        uint32_t first, last;
    } ranges[] = {{0xad, 0xad},       {0x61c, 0x61c},    {0x115f, 0x1160}, {0x180e, 0x180e},
                  {0x200b, 0x200f},   {0x2028, 0x202e},  {0x2060, 0x206f}, {0x3164, 0x3164},
                  {0xfe00, 0xfe0f},   {0xfeff, 0xfeff},  {0xfff0, 0xfffb}, {0xfffe, 0xffff},
                  {0x1d173, 0x1d17a}, {0xe0000, 0xe0fff}};

    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++)
        if (cp >= ranges[i].first && cp <= ranges[i].last)
            return true;
    return false;
}

/* The code point at p and its length; length 0 where the bytes are not UTF-8. */
static unsigned next_code_point(const uint8_t *p, const uint8_t *end, uint32_t *ret_cp)
{
    unsigned len = p[0] < 0x80 ? 1 : p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    uint32_t cp = len == 1 ? p[0] : p[0] & (0x7fu >> len);

    if ((size_t)(end - p) < len || !al_utf8_is_valid(al_str_of(p, len)))
        return 0;
    for (unsigned i = 1; i < len; i++)
        cp = cp << 6 | (p[i] & 0x3f);
    *ret_cp = cp;
    return len;
}

/* The visible form of one code point (or bad byte, len 0) in ret; "" if it may stand for itself. */
static void visible_form(uint32_t cp, unsigned len, bool keep_lines, char ret[12])
{
    static const char letters[] = "abtnvfr"; /* from 7 (bell) to 13 */

    ret[0] = '\0';
    if (cp == '\n' && keep_lines)
        return;
    if (len > 0 && cp >= 7 && cp <= 13)
        snprintf(ret, 12, "\\%c", letters[cp - 7]);
    else if (len == 0 || cp < 0x20 || cp == 0x7f)
        snprintf(ret, 12, "\\x%02x", (unsigned)cp);
    else if (cp == '\\')
        snprintf(ret, 12, "\\\\");
    else if ((cp >= 0x80 && cp < 0xa0) || (cp <= 0xffff && is_deceptive(cp)))
        snprintf(ret, 12, "\\u%04x", (unsigned)cp);
    else if (is_deceptive(cp))
        snprintf(ret, 12, "\\U%08x", (unsigned)cp);
}

/* out may be NULL: then only the width is counted. */
static size_t escape(FILE *out, struct al_str text, bool keep_lines)
{
    const uint8_t *p = text.p, *end = text.p + text.n;
    size_t width = 0;

    while (p < end) {
        uint32_t cp = *p;
        unsigned len = next_code_point(p, end, &cp);
        char form[12];

        visible_form(cp, len, keep_lines, form);
        if (form[0]) {
            width += strlen(form);
            if (out)
                fputs(form, out);
        } else {
            int columns = cp < 0x80 ? 1 : wcwidth((wchar_t)cp);

            width += columns < 0 ? 1 : (size_t)columns;
            if (out)
                fwrite(p, 1, len, out);
        }
        p += len ? len : 1;
    }
    return width;
}

size_t ali_put_escaped(FILE *out, struct al_str text, bool keep_lines)
{
    return escape(out, text, keep_lines);
}

size_t ali_escaped_width(struct al_str text)
{
    return escape(NULL, text, false);
}

const char *ali_format_time(uint64_t wall_ms, char ret_text[ALI_TIME_CAP])
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm tm;

    if (wall_ms == 0 || wall_ms / 1000 > 253402300799u || !gmtime_r(&seconds, &tm)) {
        snprintf(ret_text, ALI_TIME_CAP, "-");
        return ret_text;
    }
    snprintf(ret_text, ALI_TIME_CAP, "%04u-%02u-%02uT%02u:%02u:%02u.%03uZ",
             ((unsigned)tm.tm_year + 1900u) % 10000u, ((unsigned)tm.tm_mon + 1u) % 100u,
             (unsigned)tm.tm_mday % 100u, (unsigned)tm.tm_hour % 100u, (unsigned)tm.tm_min % 100u,
             (unsigned)tm.tm_sec % 100u, (unsigned)(wall_ms % 1000));
    return ret_text;
}

const char *ali_format_span(uint64_t ms, char ret_text[ALI_SHORT_CAP])
{
    uint64_t s = ms / 1000;

    if (ms < 1000)
        snprintf(ret_text, ALI_SHORT_CAP, "%" PRIu64 " ms", ms);
    else if (s < 60)
        snprintf(ret_text, ALI_SHORT_CAP, "%" PRIu64 ".%" PRIu64 " s", s, ms % 1000 / 100);
    else if (s < 3600)
        snprintf(ret_text, ALI_SHORT_CAP, "%" PRIu64 " min %" PRIu64 " s", s / 60, s % 60);
    else if (s < 86400)
        snprintf(ret_text, ALI_SHORT_CAP, "%" PRIu64 " h %" PRIu64 " min", s / 3600, s % 3600 / 60);
    else
        snprintf(ret_text, ALI_SHORT_CAP, "%" PRIu64 " d %" PRIu64 " h", s / 86400,
                 s % 86400 / 3600);
    return ret_text;
}

const char *ali_format_size(uint64_t bytes, char ret_text[ALI_SHORT_CAP])
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)bytes / 1024;
    size_t unit = 0;

    if (bytes < 1024) {
        snprintf(ret_text, ALI_SHORT_CAP, "%" PRIu64 " B", bytes);
        return ret_text;
    }
    while (value >= 1024 && unit + 1 < sizeof units / sizeof units[0]) {
        value /= 1024;
        unit++;
    }
    snprintf(ret_text, ALI_SHORT_CAP, "%.1f %s", value, units[unit]);
    return ret_text;
}

static bool is_styled(const struct ali_cli *cli)
{
    return cli->out_terminal && !cli->no_color && !cli->globals.no_color && !cli->json;
}

const char *ali_style_begin(const struct ali_cli *cli, enum ali_style style)
{
    static const char *const codes[] = {"",         "\033[1m",  "\033[2m",
                                        "\033[32m", "\033[33m", "\033[31m"};

    return is_styled(cli) ? codes[style] : "";
}

const char *ali_style_end(const struct ali_cli *cli)
{
    return is_styled(cli) ? "\033[0m" : "";
}
