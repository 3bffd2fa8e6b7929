/* audit.c - reads the traces of all agents and checks them against each other.
 *
 * Sequences of a stream are dense from 1, and one agent receives a stream: its trace has the events
 * of the stream in the order in which they happened, also over kill -9. */
#include "director.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STREAMS_MAX = 256 };

enum { SENT = 1, RECEIVED = 2, DONE = 4 };

struct stream {
    unsigned char *marks; /* by sequence */
    unsigned long long size;
    unsigned long long handled_to; /* every sent sequence up to here is handled */
};

static struct stream streams[STREAMS_MAX];

static unsigned char *mark_of(unsigned stream, unsigned long long seq)
{
    struct stream *s = &streams[stream];

    if (stream >= STREAMS_MAX || seq > 1u << 24)
        die("audit: stream %u:%llu cannot be", stream, seq);
    if (seq >= s->size) {
        unsigned long long size = (seq + 1) * 2;

        s->marks = realloc(s->marks, size);
        if (!s->marks)
            die("audit: out of memory");
        memset(s->marks + s->size, 0, size - s->size);
        s->size = size;
    }
    return &s->marks[seq];
}

/* True if a message of the stream before seq was sent and is not handled yet. */
static bool is_early(unsigned stream, unsigned long long seq)
{
    struct stream *s = &streams[stream];

    while (s->handled_to + 1 < seq && (*mark_of(stream, s->handled_to + 1) & (SENT | DONE)) != SENT)
        s->handled_to++;
    return s->handled_to + 1 < seq;
}

static void on_sent(struct audit *audit, unsigned stream, unsigned long long seq, int duplicate)
{
    audit->suppressed_node += duplicate != 0;
    if (seq == 0)
        return; /* the node does not know the first one's place any more */
    audit->sent += !(*mark_of(stream, seq) & SENT);
    *mark_of(stream, seq) |= SENT;
}

static void on_received(struct audit *audit, const char *line)
{
    unsigned stream = 0, attempt = 0;
    unsigned long long seq = 0;
    int redelivered = 0;

    if (sscanf(line, "R %u %llu %d %u", &stream, &seq, &redelivered, &attempt) != 4)
        die("audit: '%s' makes no sense", line);
    audit->retried += attempt > 1;
    audit->redelivered += redelivered != 0;
    if ((*mark_of(stream, seq) & RECEIVED) && !redelivered)
        audit->unmarked++;
    audit->disorder += is_early(stream, seq);
    *mark_of(stream, seq) |= RECEIVED;
}

static void on_line(struct audit *audit, const char *line, bool sent_pass)
{
    unsigned stream;
    unsigned long long seq;
    int duplicate;

    if (sent_pass && sscanf(line, "S %u %llu %d", &stream, &seq, &duplicate) == 3) {
        on_sent(audit, stream, seq, duplicate);
    } else if (!sent_pass && line[0] == 'R') {
        on_received(audit, line);
    } else if (!sent_pass && sscanf(line, "D %u %llu", &stream, &seq) == 2) {
        audit->delivered += !(*mark_of(stream, seq) & DONE);
        *mark_of(stream, seq) |= DONE;
    } else if (!sent_pass && line[0] == 'X') {
        audit->suppressed_agent++;
    }
}

static FILE *open_trace(const char *dir, const char *name)
{
    char path[600];

    snprintf(path, sizeof path, "%s/%s.trace", dir, name);
    return fopen(path, "re");
}

static void read_trace(struct audit *audit, const char *dir, const char *name, bool sent_pass)
{
    FILE *file = open_trace(dir, name);
    char line[160];

    if (!file)
        die("audit: %s has left no trace", name);
    while (fgets(line, sizeof line, file))
        on_line(audit, line, sent_pass);
    fclose(file);
}

void audit_traces(const char *dir, const char *const *names, struct audit *ret_audit)
{
    struct audit audit = {0};

    for (size_t i = 0; names[i]; i++)
        read_trace(&audit, dir, names[i], true);
    for (size_t i = 0; names[i]; i++)
        read_trace(&audit, dir, names[i], false);
    for (unsigned s = 0; s < STREAMS_MAX; s++) {
        for (unsigned long long seq = 0; seq < streams[s].size; seq++)
            audit.lost += (streams[s].marks[seq] & (SENT | DONE)) == SENT;
        free(streams[s].marks);
        streams[s] = (struct stream){0};
    }
    *ret_audit = audit;
}

unsigned long long trace_count(const char *dir, const char *name, char event)
{
    FILE *file = open_trace(dir, name);
    unsigned long long count = 0;
    char line[160];

    while (file && fgets(line, sizeof line, file))
        count += line[0] == event;
    if (file)
        fclose(file);
    return count;
}

char trace_last(const char *dir, const char *name)
{
    FILE *file = open_trace(dir, name);
    char line[160] = "";

    /* A trace has short lines; of a long trace the end is enough. */
    if (file && fseek(file, -120, SEEK_END))
        rewind(file);
    while (file && fgets(line, sizeof line, file))
        continue;
    if (file)
        fclose(file);
    return line[0];
}
