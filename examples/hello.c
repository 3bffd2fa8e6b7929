/* hello.c - the smallest program: an agent sends itself a message.
 *
 *     cc hello.c $(pkg-config --cflags --libs agentlink) -o hello
 *     ./hello                          a node in this process, in memory
 *     ./hello file:/tmp/hello          a node in this process, with a journal
 *     ./hello unix:/run/agentlink/agentlink.sock */
#include <agentlink/agentlink.h>
#include <stdio.h>
#include <stdlib.h>

static void check(int r, const char *what)
{
    if (r >= 0)
        return;
    fprintf(stderr, "%s: %s (%s)\n", what, al_last_error(), al_error_name(r));
    exit(1);
}

int main(int argc, char **argv)
{
    struct al_client_options options = {.node = argc > 1 ? argv[1] : "inproc:"};
    struct al_client *client;
    struct al_message message;
    struct al_receipt receipt;
    struct al_delivery *delivery;

    check(al_client_open(&options, &client), "open");
    check(al_attach(client, "world", NULL), "attach"); /* creates the agent */

    al_message_init(&message);
    message.from = "hello";
    message.to = "world";
    message.payload = "Hello, world";
    message.payload_size = 12;
    check(al_send(client, &message, 5000, &receipt), "send");
    printf("sent: stream %u, sequence %llu\n", receipt.stream, (unsigned long long)receipt.seq);

    check(al_receive(client, 5000, &delivery), "receive");
    printf("%s says: %.*s\n", delivery->message.from, (int)delivery->message.payload_size,
           (const char *)delivery->message.payload);
    check(al_ack(delivery, NULL), "ack");

    check(al_client_close(client, 5000), "close");
    return 0;
}
