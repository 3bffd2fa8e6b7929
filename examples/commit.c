/* commit.c - an agent that adds up: its answer, a message and its state are one step.
 *
 *     ./commit unix:/run/agentlink/agentlink.sock 3        for three messages; 0: for ever
 *
 * Whoever sends "adder" a number gets the sum so far, and "book" is told of each number. The sum is
 * the agent's own state at the node. What is no number is refused for good, and remembered, in one
 * step as well. Kill this program or the node at any moment: no number is added twice or forgotten,
 * and the book has each once. */
#include <agentlink/agentlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int read_sum(void *ctx, const struct al_state_value *value)
{
    char text[24] = "";

    if (value->value_size < sizeof(text))
        memcpy(text, value->value, value->value_size);
    *(long *)ctx = strtol(text, NULL, 10);
    return 0;
}

/* Adds the number in the message, or refuses it; returns how it went. */
static int add(struct al_client *client, struct al_delivery *delivery)
{
    struct al_ack_options answer = {.response_type = "text/plain"};
    struct al_message note = delivery->message; /* to be passed on */
    struct al_commit *commit;
    const char *key = "sum";
    char text[24] = "", *end;
    long sum = 0, number;
    int r = al_state_get(client, "adder", "sum", read_sum, &sum);

    if (r < 0 && r != -AL_ERR_NOT_FOUND)
        return r;
    if (delivery->message.payload_size < sizeof(text))
        memcpy(text, delivery->message.payload, delivery->message.payload_size);
    number = strtol(text, &end, 10);
    if (end == text || *end) {
        answer = (struct al_ack_options){.status = AL_ACK_FAILED, .reason = "not a number"};
        key = "refused";
    } else {
        snprintf(text, sizeof(text), "%ld", sum + number);
        answer.response = text;
        answer.response_size = strlen(text);
    }
    memset(&note.id, 0, sizeof(note.id)); /* a message of its own */
    note.key = NULL;
    note.from = "adder";
    note.to = "book";

    r = al_commit_begin(client, "adder", &commit);
    if (r < 0)
        return r;
    r = al_commit_ack(commit, delivery, &answer);
    if (r == 0)
        r = al_commit_send(commit, &note);
    if (r == 0)
        r = al_commit_put(commit, key, text, strlen(text));
    if (r == 0)
        r = al_commit(commit, -1);
    al_commit_free(commit);
    return r;
}

int main(int argc, char **argv)
{
    struct al_client_options options = {.node = argc > 1 ? argv[1] : NULL};
    long count = argc > 2 ? strtol(argv[2], NULL, 10) : 0;
    struct al_client *client;
    struct al_delivery *delivery;
    int r = al_client_open(&options, &client);

    if (r == 0)
        r = al_attach(client, "adder", NULL);
    for (long done = 0; r == 0 && (count == 0 || done < count); done++) {
        r = al_receive(client, -1, &delivery);
        if (r < 0)
            break;
        r = add(client, delivery);
        if (r < 0)
            al_delivery_drop(delivery); /* nothing was done: it comes again */
        r = r == -AL_ERR_LEASE_LOST ? 0 : r;
    }
    if (r < 0)
        fprintf(stderr, "%s (%s)\n", al_last_error(), al_error_name(r));
    return r < 0 || al_client_close(client, 5000) < 0;
}
