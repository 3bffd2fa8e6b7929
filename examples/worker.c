/* worker.c - an agent that works: it upper-cases what it is sent and answers with the result.
 *
 *     ./worker unix:/run/agentlink/agentlink.sock worker.done &
 *     agentlink request --as me --to worker --data 'make me big'
 *
 * Kill it at any moment: a message that was not acknowledged is given to the next worker. The file
 * (it may be left out) remembers what was acknowledged, should the node not have heard of it.
 * Ctrl-C ends it politely. */
#include <agentlink/agentlink.h>
#include <ctype.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

static struct al_client *client;

static void on_signal(int number)
{
    (void)number;
    al_client_stop(client); /* the one call that a signal handler may make */
}

/* May take as long as it needs: the library renews the lease meanwhile. */
static int work(void *ctx, struct al_delivery *delivery)
{
    const char *in = delivery->message.payload;
    size_t size = delivery->message.payload_size, i;
    struct al_ack_options ack = {.response_type = "text/plain"};
    char *out = malloc(size + 1);
    int r;

    (void)ctx;
    if (!out)
        return -AL_ERR_NOMEM; /* tried again later, by policy */
    for (i = 0; i < size; i++)
        out[i] = (char)toupper((unsigned char)in[i]);
    ack.response = out;
    ack.response_size = size;
    r = al_ack(delivery, &ack);
    free(out);
    printf("%s #%llu: %zu bytes%s\n", delivery->message.from, (unsigned long long)delivery->seq,
           size, delivery->redelivered ? " (again)" : "");
    return r;
}

int main(int argc, char **argv)
{
    struct al_client_options options = {.node = argc > 1 ? argv[1] : NULL, .name = "worker"};
    struct al_attach_options attach = {0};
    int r = 0;

    if (argc > 2)
        r = al_processed_open(argv[2], NULL, &attach.processed);
    if (r >= 0)
        r = al_client_open(&options, &client);
    if (r >= 0)
        r = al_handle(client, "worker", &attach, work, NULL);
    if (r < 0) {
        fprintf(stderr, "worker: %s\n", al_last_error());
        al_client_close(client, 0);
        return 1;
    }
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    r = al_client_run(client);
    if (al_client_close(client, 5000) < 0)
        r = -1;
    al_processed_close(attach.processed);
    return r < 0;
}
