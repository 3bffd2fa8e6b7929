/* relay.c - passes messages on, each exactly once, with many steps under way at a time.
 *
 *     ./relay unix:/run/agentlink/agentlink.sock intake shelf
 *
 * What "intake" gets goes to "shelf": for each message a commit of its ack and of the copy, begun
 * without waiting for the one before, so that the speed is not one flush of the journal per
 * message. Kill this program or the node at any moment, and start it again: the shelf has each
 * message once, in order. */
#include <agentlink/agentlink.h>
#include <stdio.h>
#include <string.h>

struct relay {
    struct al_client *client;
    const char *from, *to;
};

static void on_commit(void *ctx, struct al_commit *commit, int error)
{
    (void)ctx;
    if (error < 0) /* nothing of it was done: its message comes again */
        fprintf(stderr, "relay: %s (%s)\n", al_last_error(), al_error_name(error));
    al_commit_free(commit);
}

static int pass_on(void *ctx, struct al_delivery *delivery)
{
    const struct relay *relay = ctx;
    struct al_message copy = delivery->message;
    struct al_commit *commit;
    int r;

    memset(&copy.id, 0, sizeof(copy.id)); /* a message of its own */
    copy.key = NULL;
    copy.from = relay->from;
    copy.to = relay->to;
    r = al_commit_begin(relay->client, relay->from, &commit);
    if (r < 0)
        return r;
    r = al_commit_ack(commit, delivery, NULL);
    if (r == 0)
        r = al_commit_send(commit, &copy);
    if (r == 0)
        r = al_commit_async(commit, on_commit, NULL);
    if (r < 0)
        al_commit_free(commit);
    return r; /* 0: the commit settles the delivery */
}

int main(int argc, char **argv)
{
    struct al_client_options options = {.node = argc > 1 ? argv[1] : NULL};
    struct al_attach_options many = {.pipelined = true};
    struct relay relay = {.from = argc > 2 ? argv[2] : "intake",
                          .to = argc > 3 ? argv[3] : "shelf"};
    int r = al_client_open(&options, &relay.client);

    if (r == 0)
        r = al_handle(relay.client, relay.from, &many, pass_on, &relay);
    if (r == 0)
        r = al_client_run(relay.client);
    if (r < 0)
        fprintf(stderr, "relay: %s (%s)\n", al_last_error(), al_error_name(r));
    return r < 0;
}
