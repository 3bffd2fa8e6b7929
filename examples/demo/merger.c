/* merger.c - adds up the counts of all chunks of all files and sends the sum to the coordinator.
 *
 * It remembers which chunks it has counted, so that a chunk which arrives twice counts once. Its
 * sums live in memory; the demo does not kill it. An agent whose memory must survive stores it
 * before it acknowledges. */
#include "team.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILES_MAX = 1000, CHUNKS_MAX = 2000 };

struct file {
    char name[40];
    unsigned chunks, seen; /* chunks: 0 until the plan has come */
    bool planned;
    bool has[CHUNKS_MAX];
};

struct merger {
    struct agent agent;
    struct file *files;
    unsigned file_count, files_done, files_total;
    struct counts sum;
};

static struct file *file_of(struct merger *m, const char *name)
{
    struct file *file;

    for (unsigned i = 0; i < m->file_count; i++)
        if (strcmp(m->files[i].name, name) == 0)
            return &m->files[i];
    if (m->file_count == FILES_MAX)
        die("merger: too many files");
    file = &m->files[m->file_count++];
    snprintf(file->name, sizeof file->name, "%s", name);
    return file;
}

static unsigned number_of(const struct al_message *message)
{
    char text[16];

    snprintf(text, sizeof text, "%.*s", (int)message->payload_size, (const char *)message->payload);
    return (unsigned)strtoul(text, NULL, 10);
}

/* False if the chunk was counted before. */
static bool add_counts(struct merger *m, const struct al_message *message)
{
    struct file *file = file_of(m, agent_header(message, "file"));
    unsigned long chunk = strtoul(agent_header(message, "chunk"), NULL, 10);
    struct counts counts;

    if (chunk >= CHUNKS_MAX || !counts_parse(message->payload, message->payload_size, &counts))
        die("merger: counts of chunk %lu of %s make no sense", chunk, file->name);
    if (file->has[chunk])
        return false;
    file->has[chunk] = true;
    file->seen++;
    counts_add(&m->sum, &counts);
    m->files_done += file->planned && file->seen == file->chunks;
    return true;
}

static bool add_plan(struct merger *m, const struct al_message *message)
{
    struct file *file = file_of(m, agent_header(message, "file"));

    if (file->planned)
        return false;
    file->planned = true;
    file->chunks = number_of(message);
    m->files_done += file->seen == file->chunks;
    return true;
}

static void send_sum(struct merger *m)
{
    struct al_message message;
    char text[96];

    counts_format(&m->sum, text);
    al_message_init(&message);
    message.from = m->agent.name;
    message.to = "coordinator";
    message.kind = "result";
    message.key = "result";
    message.payload = text;
    message.payload_size = strlen(text);
    agent_send(&m->agent, &message);
}

static int on_message(void *ctx, struct al_delivery *delivery)
{
    struct merger *m = ctx;
    const struct al_message *message = &delivery->message;
    bool is_new = true;

    agent_received(&m->agent, delivery);
    if (strcmp(message->kind, "counts") == 0)
        is_new = add_counts(m, message);
    else if (strcmp(message->kind, "plan") == 0)
        is_new = add_plan(m, message);
    else
        m->files_total = number_of(message);
    if (!is_new)
        agent_known(&m->agent, delivery);
    if (m->files_total > 0 && m->files_done == m->files_total)
        send_sum(m);
    agent_done(&m->agent, delivery);
    return 0; /* the library acknowledges */
}

int main(void)
{
    struct merger m = {.files = calloc(FILES_MAX, sizeof *m.files)};
    int code;

    if (!m.files)
        die("merger: out of memory");
    agent_open(&m.agent, "merger");
    code = agent_run(&m.agent, on_message, &m);
    free(m.files);
    return code;
}
