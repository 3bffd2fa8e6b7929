/* trace.c - the ring of recent events and the hash over all events. */
#include "trace.h"
#include "base/errors.h"
#include "rand.h"
#include "wire/messages.h"
#include <inttypes.h>

void sim_trace_init(struct sim_trace *trace)
{
    trace->count = 0;
    trace->hash = 0;
    trace->live = NULL;
}

void sim_trace_mix(struct sim_trace *trace, uint64_t value)
{
    trace->hash = sim_mix64(sim_rotl64(trace->hash, 17) ^ value);
}

static void print_arg(FILE *out, char how, uint64_t arg)
{
    const char *name;

    switch (how) {
    case '#':
        fprintf(out, "%" PRIx64, arg);
        break;
    case '@':
        for (unsigned i = 0; i < 8 && (arg >> 8 * i & 0xff); i++)
            fputc((int)(arg >> 8 * i & 0xff), out);
        break;
    case '$':
        name = al_msg_name((unsigned)arg);
        fputs(name ? name : "(unknown frame)", out);
        break;
    case '!':
        fputs(al_error_name((int)(int64_t)arg), out);
        break;
    default:
        fprintf(out, "%" PRIu64, arg);
    }
}

static void print_line(FILE *out, const struct sim_trace_line *line)
{
    unsigned used = 0;

    fprintf(out, "%6" PRIu64 " %10" PRIu64 ".%03u ms  ", line->step, line->at_ns / 1000000,
            (unsigned)(line->at_ns / 1000 % 1000));
    for (const char *p = line->text; *p; p++) {
        if ((*p == '%' || *p == '#' || *p == '$' || *p == '!' || *p == '@') && used < 3)
            print_arg(out, *p, line->arg[used++]);
        else
            fputc(*p, out);
    }
    fputc('\n', out);
}

void sim_trace_add(struct sim_trace *trace, const struct sim_trace_line *line)
{
    trace->lines[trace->count++ % SIM_TRACE_LINES] = *line;
    trace->hash = sim_mix64(sim_rotl64(trace->hash, 17) ^ line->at_ns ^ (line->arg[0] << 40) ^
                            (line->arg[1] << 20) ^ line->arg[2] ^
                            (uint64_t)(unsigned char)line->text[0] << 56);
    if (trace->live)
        print_line(trace->live, line);
}

void sim_trace_print(const struct sim_trace *trace, FILE *out)
{
    uint64_t first = trace->count > SIM_TRACE_LINES ? trace->count - SIM_TRACE_LINES : 0;

    fputs("  step         time       what happened\n", out);
    for (uint64_t i = first; i < trace->count; i++)
        print_line(out, &trace->lines[i % SIM_TRACE_LINES]);
}
