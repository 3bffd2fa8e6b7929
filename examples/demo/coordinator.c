/* coordinator.c - gives out the files, waits for the merged result, and checks it.
 *
 *   coordinator FILE...
 *
 * The check counts every file directly, without any agent. Writes "result" into DEMO_DIR and ends
 * with 0 only if both agree. */
#include "team.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct coordinator {
    struct agent agent;
    struct counts direct;
    bool has_result, agrees;
};

/* One message for each file, and one that says how many there are. */
static void give_out(struct coordinator *c, char **files, int count)
{
    struct al_message message;
    char key[600], total[16];

    for (int i = 0; i < count; i++) {
        al_message_init(&message);
        message.from = c->agent.name;
        message.to = "splitter";
        message.kind = "file";
        message.key = key;
        message.payload = files[i];
        message.payload_size = strlen(files[i]);
        snprintf(key, sizeof key, "file-%d", i);
        agent_send(&c->agent, &message);
    }
    al_message_init(&message);
    message.from = c->agent.name;
    message.to = "merger";
    message.kind = "total";
    message.key = "total";
    message.payload = total;
    message.payload_size = (size_t)snprintf(total, sizeof total, "%d", count);
    agent_send(&c->agent, &message);
}

static int on_result(void *ctx, struct al_delivery *delivery)
{
    struct coordinator *c = ctx;
    struct counts merged;
    char text[96];

    agent_received(&c->agent, delivery);
    if (!counts_parse(delivery->message.payload, delivery->message.payload_size, &merged))
        die("coordinator: the result makes no sense");
    counts_format(&c->direct, text);
    c->has_result = true;
    c->agrees = strlen(text) == delivery->message.payload_size &&
                memcmp(text, delivery->message.payload, delivery->message.payload_size) == 0;
    agent_done(&c->agent, delivery);
    al_client_stop(c->agent.client);
    return 0;
}

static void write_result(const struct coordinator *c, int files)
{
    char path[512];
    FILE *out;

    snprintf(path, sizeof path, "%s/result", getenv("DEMO_DIR"));
    out = fopen(path, "we");
    if (!out)
        die("coordinator: %s: cannot be written", path);
    fprintf(out, "%d %llu %llu %llu %llu\n", files, c->direct.lines, c->direct.words,
            c->direct.bytes, c->direct.longest);
    if (fclose(out))
        die("coordinator: %s: cannot be written", path);
}

int main(int argc, char **argv)
{
    struct coordinator c = {0};

    if (argc < 2 || !getenv("DEMO_DIR"))
        die("usage: DEMO_DIR=DIR coordinator FILE...");
    for (int i = 1; i < argc; i++) {
        size_t size;
        char *text = read_file(argv[i], &size);

        counts_text(&c.direct, text, size);
        free(text);
    }
    agent_open(&c.agent, "coordinator");
    give_out(&c, argv + 1, argc - 1);
    if (agent_run(&c.agent, on_result, &c) || !c.has_result)
        return 1;
    write_result(&c, argc - 1);
    return c.agrees ? 0 : 2;
}
