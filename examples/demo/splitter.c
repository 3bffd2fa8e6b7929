/* splitter.c - cuts each file into chunks of whole lines and gives them to the workers in turn.
 *
 * Every message that it sends has a key made of its input, so that a file which is handled twice
 * after a crash does not produce a chunk twice. */
#include "team.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* End of the chunk that begins at `at`: behind CHUNK_LINES lines, or at the end of the text. */
static size_t chunk_end(const char *text, size_t size, size_t at)
{
    for (unsigned lines = 0; at < size && lines < CHUNK_LINES; lines++) {
        const char *newline = memchr(text + at, '\n', size - at);

        at = newline ? (size_t)(newline - text) + 1 : size;
    }
    return at;
}

static void send_chunk(struct agent *agent, const char *file, unsigned index, const char *text,
                       size_t size)
{
    char key[64], number[16], to[16];
    const struct al_header headers[] = {{"file", file}, {"chunk", number}};
    struct al_message message;
    unsigned turn = index;

    /* A worker is chosen by file and chunk alone: the same again after a crash. */
    for (const char *p = file; *p; p++)
        turn += (unsigned char)*p;
    snprintf(key, sizeof key, "%s-chunk-%u", file, index);
    snprintf(number, sizeof number, "%u", index);
    snprintf(to, sizeof to, "worker-%u", turn % WORKERS + 1);
    al_message_init(&message);
    message.from = agent->name;
    message.to = to;
    message.kind = "chunk";
    message.key = key;
    message.headers = headers;
    message.header_count = 2;
    message.content_type = "text/plain";
    message.payload = text;
    message.payload_size = size;
    agent_send(agent, &message);
}

/* Tells the merger how many chunks of the file it has to wait for. */
static void send_plan(struct agent *agent, const char *file, unsigned chunks)
{
    char key[64], number[16];
    const struct al_header headers[] = {{"file", file}};
    struct al_message message;

    snprintf(key, sizeof key, "%s-plan", file);
    al_message_init(&message);
    message.from = agent->name;
    message.to = "merger";
    message.kind = "plan";
    message.key = key;
    message.headers = headers;
    message.header_count = 1;
    message.payload = number;
    message.payload_size = (size_t)snprintf(number, sizeof number, "%u", chunks);
    agent_send(agent, &message);
}

static int on_file(void *ctx, struct al_delivery *delivery)
{
    struct agent *agent = ctx;
    const struct al_message *message = &delivery->message;
    unsigned chunks = 0;
    size_t size;
    char path[512];
    char *text;

    agent_received(agent, delivery);
    snprintf(path, sizeof path, "%.*s", (int)message->payload_size, (const char *)message->payload);
    text = read_file(path, &size);
    for (size_t at = 0; at < size; chunks++) {
        size_t end = chunk_end(text, size, at);

        send_chunk(agent, message->key, chunks, text + at, end - at);
        at = end;
    }
    send_plan(agent, message->key, chunks);
    free(text);
    agent_done(agent, delivery);
    return 0; /* the library acknowledges */
}

int main(void)
{
    struct agent agent;

    agent_open(&agent, "splitter");
    return agent_run(&agent, on_file, &agent);
}
