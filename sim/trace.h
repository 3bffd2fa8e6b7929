/* trace.h - what happened, in plain words: a ring of the last events and a hash of all of them.
 *
 * A line is a text with up to three numbers, kept unformatted; it is put into words only when a
 * failure is printed. The hash covers every line since the start, so two runs with the same hash
 * did the same things in the same order. */
#ifndef AL_SIM_TRACE_H
#define AL_SIM_TRACE_H

#include <stdint.h>
#include <stdio.h>

#define SIM_TRACE_LINES 600u

struct sim_trace_line {
    uint64_t at_ns, step;
    const char *text; /* a string literal: % number, # hexadecimal, $ message type, ! error,
                       * @ up to eight characters */
    uint64_t arg[3];
};

struct sim_trace {
    struct sim_trace_line lines[SIM_TRACE_LINES];
    uint64_t count; /* lines ever added */
    uint64_t hash;
    FILE *live; /* every line goes here as well when it is not NULL */
};

void sim_trace_init(struct sim_trace *trace);
/* Adds a line; arg has three entries. */
void sim_trace_add(struct sim_trace *trace, const struct sim_trace_line *line);
/* Mixes bytes into the hash without a line of their own. */
void sim_trace_mix(struct sim_trace *trace, uint64_t value);
/* Prints the lines that are still there, oldest first. */
void sim_trace_print(const struct sim_trace *trace, FILE *out);

#endif
