/* log.c - one line per event, one write per line, so that lines of threads do not mix.
 *
 * Events come from threads that must not stand still because somebody has stopped reading the log.
 * The descriptor belongs to whoever started the program, so it is not made non-blocking; instead it
 * is asked whether it has room. A pipe or socket that says so takes a line of this length. */
#include "os/log.h"

#include "base/errors.h"
#include "base/text.h"

#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES 2048

static const char *const level_names[] = {"debug", "info", "warning", "error"};
static const char *const level_colours[] = {"\033[2m", "", "\033[33m", "\033[31m"};

const char *al_log_level_name(enum al_log_level level)
{
    return level_names[level];
}

int al_log_level_parse(const char *text, enum al_log_level *ret_level)
{
    for (unsigned i = 0; i < sizeof level_names / sizeof level_names[0]; i++) {
        if (strcmp(text, level_names[i]) == 0) {
            *ret_level = (enum al_log_level)i;
            return 0;
        }
    }
    return -AL_E_INVALID;
}

void al_log_fields_init(struct al_log_fields *fields)
{
    fields->size = 0;
    fields->text[0] = 0;
}

/* Appends n bytes and the terminator if they fit. */
static bool put_raw(struct al_log_fields *fields, const char *p, size_t n)
{
    if (fields->size + n + 1 > sizeof fields->text)
        return false;
    memcpy(fields->text + fields->size, p, n);
    fields->size += n;
    fields->text[fields->size] = 0;
    return true;
}

static bool put_key(struct al_log_fields *fields, const char *key)
{
    return (fields->size == 0 || put_raw(fields, ",", 1)) && put_raw(fields, "\"", 1) &&
           put_raw(fields, key, strlen(key)) && put_raw(fields, "\":", 2);
}

/* One byte of a text. Bytes above 0x7f pass when the whole text is UTF-8. */
static bool put_byte(struct al_log_fields *fields, uint8_t byte, bool utf8)
{
    char escape[8];

    if (byte == '"' || byte == '\\') {
        escape[0] = '\\';
        escape[1] = (char)byte;
        return put_raw(fields, escape, 2);
    }
    if (byte < 0x20 || byte == 0x7f || (byte > 0x7f && !utf8)) {
        snprintf(escape, sizeof escape, "\\u%04x", byte);
        return put_raw(fields, escape, 6);
    }
    escape[0] = (char)byte;
    return put_raw(fields, escape, 1);
}

void al_log_put_text(struct al_log_fields *fields, const char *key, const char *value)
{
    size_t start = fields->size, n = strlen(value);
    bool utf8 = al_utf8_is_valid(al_str_of(value, n));
    bool fits = put_key(fields, key) && put_raw(fields, "\"", 1);

    for (size_t i = 0; fits && i < n; i++)
        fits = put_byte(fields, (uint8_t)value[i], utf8);
    if (fits && put_raw(fields, "\"", 1))
        return;
    fields->size = start;
    fields->text[start] = 0;
}

void al_log_put_number(struct al_log_fields *fields, const char *key, uint64_t value)
{
    char digits[24];
    size_t start = fields->size;
    int n = snprintf(digits, sizeof digits, "%llu", (unsigned long long)value);

    if (put_key(fields, key) && put_raw(fields, digits, (size_t)n))
        return;
    fields->size = start;
    fields->text[start] = 0;
}

void al_logger_init(struct al_logger *logger, int fd, enum al_log_level level)
{
    logger->fd = fd;
    logger->level = level;
    logger->readable = isatty(fd) == 1;
    atomic_init(&logger->lost, 0);
}

/* "key":"value",… becomes key="value" …; keys have no quotes or colons in them. */
static size_t make_readable(char *out, size_t cap, const char *json)
{
    bool in_text = false, is_key = true;
    size_t n = 0;

    for (; *json && n + 2 < cap; json++) {
        if (in_text && *json == '\\' && json[1]) {
            out[n++] = *json++;
            out[n++] = *json;
            continue;
        }
        if (*json == '"') {
            in_text = !in_text;
            if (!is_key)
                out[n++] = '"';
        } else if (!in_text && *json == ':') {
            is_key = false;
            out[n++] = '=';
        } else if (!in_text && *json == ',') {
            is_key = true;
            out[n++] = ' ';
        } else {
            out[n++] = *json;
        }
    }
    out[n] = 0;
    return n;
}

static void put_line(const struct al_logger *logger, enum al_log_level level, const char *event,
                     const char *fields_json)
{
    char line[LINE_MAX_BYTES], readable[LINE_MAX_BYTES - 256], stamp[32];
    struct timespec ts;
    struct tm tm;
    int n;

    clock_gettime(CLOCK_REALTIME, &ts);
    if (logger->readable) {
        localtime_r(&ts.tv_sec, &tm);
        strftime(stamp, sizeof stamp, "%H:%M:%S", &tm);
        make_readable(readable, sizeof readable, fields_json);
        n = snprintf(line, sizeof line, "%s%s.%03ld %-7s %s%s%s\033[0m\n", level_colours[level],
                     stamp, ts.tv_nsec / 1000000, level_names[level], event,
                     readable[0] ? "  " : "", readable);
    } else {
        gmtime_r(&ts.tv_sec, &tm);
        strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &tm);
        n = snprintf(line, sizeof line,
                     "{\"time\":\"%s.%03ldZ\",\"level\":\"%s\",\"event\":\"%s\"%s%s}\n", stamp,
                     ts.tv_nsec / 1000000, level_names[level], event, fields_json[0] ? "," : "",
                     fields_json);
    }
    if (n > 0 && n < (int)sizeof line)
        (void)!write(logger->fd, line, (size_t)n);
}

static bool has_room(const struct al_logger *logger)
{
    struct pollfd pollfd = {.fd = logger->fd, .events = POLLOUT};

    return poll(&pollfd, 1, 0) != 0; /* an error shows in the write */
}

void al_logger_write(void *ctx, enum al_log_level level, const char *event, const char *fields_json)
{
    struct al_logger *logger = ctx;
    struct al_log_fields fields;
    uint64_t lost;

    if (level < logger->level)
        return;
    if (!has_room(logger)) {
        atomic_fetch_add(&logger->lost, 1);
        return;
    }
    lost = atomic_exchange(&logger->lost, 0);
    if (lost) {
        al_log_fields_init(&fields);
        al_log_put_number(&fields, "count", lost);
        put_line(logger, AL_LOG_WARNING, "log_lines_lost", fields.text);
        if (!has_room(logger)) {
            atomic_fetch_add(&logger->lost, 1);
            return;
        }
    }
    put_line(logger, level, event, fields_json);
}
