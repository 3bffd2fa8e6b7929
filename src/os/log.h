/* log.h - structured events: one JSON object per line, or readable lines on a terminal. */
#ifndef AL_OS_LOG_H
#define AL_OS_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How much an event matters; what is below the logger's level is dropped. */
enum al_log_level { AL_LOG_DEBUG, AL_LOG_INFO, AL_LOG_WARNING, AL_LOG_ERROR };

/* One structured event: `event` is a short stable name, `fields_json` the inside of a JSON object
 * ("\"conn\":3,\"error\":\"…\""), already escaped, may be empty. */
typedef void al_log_fn(void *ctx, enum al_log_level level, const char *event,
                       const char *fields_json);

/* "debug", "info", "warning", "error". */
const char *al_log_level_name(enum al_log_level level);
/* 0 or -AL_E_INVALID. */
int al_log_level_parse(const char *text, enum al_log_level *ret_level);

/* Builds fields_json in a fixed room. A field that does not fit any more is left out whole; texts
 * are escaped, bytes that are not UTF-8 and control characters included. */
struct al_log_fields {
    size_t size;
    char text[1024];
};

/* No fields yet. */
void al_log_fields_init(struct al_log_fields *fields);
/* Adds a text, escaped. */
void al_log_put_text(struct al_log_fields *fields, const char *key, const char *value);
/* Adds a number. */
void al_log_put_number(struct al_log_fields *fields, const char *key, uint64_t value);

/* Writes events to a descriptor, one write each. Thread-safe. Never waits for a reader: while there
 * is no room, events are lost; how many, says an event "log_lines_lost" as soon as there is. */
struct al_logger {
    int fd;
    enum al_log_level level; /* what is below is dropped */
    bool readable;           /* for people: coloured text instead of JSON */
    _Atomic uint64_t lost;
};

/* To fd; readable when it is a terminal. */
void al_logger_init(struct al_logger *logger, int fd, enum al_log_level level);
/* An al_log_fn; ctx is a struct al_logger. */
void al_logger_write(void *ctx, enum al_log_level level, const char *event,
                     const char *fields_json);

#endif
