/* async.c - many sends at once, receipts by callback, in a loop of the program's own with poll().
 *
 *     ./async [NODE] [COUNT] */
#include <agentlink/agentlink.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

struct progress {
    unsigned long taken, refused;
};

static void on_receipt(void *ctx, int error, const struct al_receipt *receipt)
{
    struct progress *progress = ctx;

    (void)receipt;
    if (error == 0) {
        progress->taken++;
        return;
    }
    if (progress->refused++ == 0)
        fprintf(stderr, "refused: %s\n", al_last_error());
}

int main(int argc, char **argv)
{
    struct al_client_options options = {.node = argc > 1 ? argv[1] : "inproc:"};
    unsigned long count = argc > 2 ? strtoul(argv[2], NULL, 10) : 10000, sent = 0;
    struct progress progress = {0, 0};
    struct al_client *client;
    struct al_message message;
    struct pollfd pollfd = {.events = POLLIN};
    int r;

    r = al_client_open(&options, &client);
    if (r >= 0)
        r = al_agent_add(client, "sink");
    if (r < 0 && r != -AL_ERR_EXISTS) {
        fprintf(stderr, "async: %s\n", al_last_error());
        al_client_close(client, 0);
        return 1;
    }
    pollfd.fd = al_client_fd(client);
    al_message_init(&message);
    message.from = "source";
    message.to = "sink";
    message.payload = "x";
    message.payload_size = 1;
    while (progress.taken + progress.refused < count) {
        while (sent < count) {
            r = al_send_async(client, &message, on_receipt, &progress, NULL);
            if (r == -AL_ERR_BUSY)
                break; /* the window is full: receipts make room */
            if (r < 0) {
                fprintf(stderr, "async: %s\n", al_last_error());
                return 1;
            }
            sent++;
        }
        if (al_client_dispatch(client, 0) == 0) /* writes what is queued, calls back */
            (void)poll(&pollfd, 1, 1000);
    }
    printf("%lu sent, %lu taken, %lu refused\n", sent, progress.taken, progress.refused);
    return al_client_close(client, 5000) < 0 || progress.refused > 0;
}
