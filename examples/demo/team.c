/* team.c - what the agents of the demo share. */
#include "team.h"
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct al_client *running; /* for the signal handler */

void die(const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    vfprintf(stderr, format, ap);
    va_end(ap);
    fputc('\n', stderr);
    exit(1);
}

static void on_term(int number)
{
    (void)number;
    al_client_stop(running); /* may be called here: client.h says so */
}

void agent_open(struct agent *agent, const char *name)
{
    const struct al_client_options options = {.name = name, .connect_timeout_ms = 30000};
    const struct sigaction action = {.sa_handler = on_term};
    const char *dir = getenv("DEMO_DIR");
    char path[512];

    agent->name = name;
    snprintf(path, sizeof path, "%s/%s.trace", dir ? dir : ".", name);
    agent->trace_fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (agent->trace_fd < 0)
        die("%s: %s: %s", name, path, strerror(errno));
    if (al_client_open(&options, &agent->client))
        die("%s: %s", name, al_last_error());
    running = agent->client;
    sigaction(SIGTERM, &action, NULL);
}

int agent_run(struct agent *agent, al_handler_fn *handler, void *ctx)
{
    const struct al_attach_options options = {.credit = 8};

    if (al_handle(agent->client, agent->name, &options, handler, ctx))
        die("%s: %s", agent->name, al_last_error());
    if (al_client_run(agent->client))
        die("%s: %s", agent->name, al_last_error());
    return al_client_close(agent->client, 5000) ? 1 : 0;
}

__attribute__((format(printf, 2, 3))) static void trace(struct agent *agent, const char *format,
                                                        ...)
{
    char line[128];
    va_list ap;
    int n;

    va_start(ap, format);
    n = vsnprintf(line, sizeof line, format, ap);
    va_end(ap);
    if (write(agent->trace_fd, line, (size_t)n) != n)
        die("%s: trace: %s", agent->name, strerror(errno));
}

void agent_send(struct agent *agent, const struct al_message *message)
{
    struct al_receipt receipt;
    int r;

    do
        r = al_send(agent->client, message, 10000, &receipt);
    while (r && al_error_is_retryable(r));
    if (r)
        die("%s: to %s: %s", agent->name, message->to, al_last_error());
    trace(agent, "S %u %llu %d\n", receipt.stream, (unsigned long long)receipt.seq,
          receipt.duplicate);
}

void agent_received(struct agent *agent, const struct al_delivery *delivery)
{
    trace(agent, "R %u %llu %d %u\n", delivery->stream, (unsigned long long)delivery->seq,
          delivery->redelivered, delivery->attempt);
}

void agent_done(struct agent *agent, const struct al_delivery *delivery)
{
    trace(agent, "D %u %llu\n", delivery->stream, (unsigned long long)delivery->seq);
}

void agent_known(struct agent *agent, const struct al_delivery *delivery)
{
    trace(agent, "X %u %llu\n", delivery->stream, (unsigned long long)delivery->seq);
}

const char *agent_header(const struct al_message *message, const char *name)
{
    const char *value = al_message_header(message, name);

    if (!value)
        die("a message from %s has no header '%s'", message->from, name);
    return value;
}

void counts_text(struct counts *counts, const char *text, size_t n)
{
    bool in_word = false;
    size_t column = 0;

    counts->bytes += n;
    for (size_t i = 0; i < n; i++) {
        bool is_space = isspace((unsigned char)text[i]);

        counts->words += !is_space && !in_word;
        in_word = !is_space;
        if (text[i] == '\n') {
            counts->lines++;
            column = 0;
        } else if (++column > counts->longest) {
            counts->longest = column;
        }
    }
}

void counts_add(struct counts *a, const struct counts *b)
{
    a->lines += b->lines;
    a->words += b->words;
    a->bytes += b->bytes;
    if (b->longest > a->longest)
        a->longest = b->longest;
}

void counts_format(const struct counts *counts, char ret_text[96])
{
    snprintf(ret_text, 96, "%llu %llu %llu %llu", counts->lines, counts->words, counts->bytes,
             counts->longest);
}

bool counts_parse(const char *text, size_t n, struct counts *ret_counts)
{
    char copy[96];

    if (n >= sizeof copy)
        return false;
    memcpy(copy, text, n);
    copy[n] = '\0';
    return sscanf(copy, "%llu %llu %llu %llu", &ret_counts->lines, &ret_counts->words,
                  &ret_counts->bytes, &ret_counts->longest) == 4;
}

char *read_file(const char *path, size_t *ret_size)
{
    FILE *file = fopen(path, "re");
    char *text = NULL;
    size_t size = 0, cap = 0, n = 1;

    while (file && n > 0) {
        if (cap - size < 4096) {
            cap = cap ? cap * 2 : 1 << 16;
            text = realloc(text, cap);
            if (!text)
                die("out of memory");
        }
        n = fread(text + size, 1, cap - size, file);
        size += n;
    }
    if (!file || ferror(file))
        die("%s: %s", path, strerror(errno));
    fclose(file);
    *ret_size = size;
    return text;
}
