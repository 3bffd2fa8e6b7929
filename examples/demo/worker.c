/* worker.c - counts the words of a chunk and passes the counts on.
 *
 *   worker NAME
 *
 * It may be killed at any point. If it dies between sending the counts and acknowledging the
 * chunk, the chunk comes again and the counts are sent again: under the same key, so that the node
 * takes them only once. */
#include "team.h"
#include <string.h>
#include <unistd.h>

enum { THINK_US = 12000 }; /* counting is too quick to be watched */

static int on_chunk(void *ctx, struct al_delivery *delivery)
{
    struct agent *agent = ctx;
    const struct al_message *chunk = &delivery->message;
    const struct al_header headers[] = {{"file", agent_header(chunk, "file")},
                                        {"chunk", agent_header(chunk, "chunk")}};
    struct counts counts = {0};
    struct al_message message;
    char text[96];

    agent_received(agent, delivery);
    counts_text(&counts, chunk->payload, chunk->payload_size);
    counts_format(&counts, text);
    usleep(THINK_US);
    al_message_init(&message);
    message.from = agent->name;
    message.to = "merger";
    message.kind = "counts";
    message.key = chunk->key;
    message.headers = headers;
    message.header_count = 2;
    message.payload = text;
    message.payload_size = strlen(text);
    agent_send(agent, &message);
    usleep(THINK_US / 4);
    agent_done(agent, delivery);
    return 0; /* the library acknowledges */
}

int main(int argc, char **argv)
{
    struct agent agent;

    if (argc != 2)
        die("usage: worker NAME");
    agent_open(&agent, argv[1]);
    return agent_run(&agent, on_chunk, &agent);
}
