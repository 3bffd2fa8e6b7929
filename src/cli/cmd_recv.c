/* cmd_recv.c - agentlink recv.
 *
 * A message is acknowledged only after it was written and stdout was flushed: if this program is
 * killed, or its reader goes away, the message is given out again. The acks are confirmed before
 * the program ends; if they cannot be, it says so and ends with 6. */
#include "base/limits.h"
#include "cli/node.h"
#include <limits.h>
#include <signal.h>

#define NACK_REASON "agentlink recv --nack"
#define CREDIT_MAX  65536

struct recv_values {
    const char *as;
    uint64_t count, timeout_ms, credit, lease_ms;
    bool nack, no_ack, takeover, shared;
};

#define OFFSET(field) offsetof(struct recv_values, field)

static const struct ali_option recv_options[] = {
    {"as", 0, "AGENT", ALI_TEXT, OFFSET(as), .help = "receiving agent; created if it is new",
     .complete = ALI_AGENTS, .required = true},
    {"count", 0, "N", ALI_COUNT, OFFSET(count), .min = 1,
     .help = "stop after N messages; without it, when nothing more comes in time"},
    {"timeout", 0, "TIME", ALI_DURATION, OFFSET(timeout_ms), .preset = "5s",
     .help = "how long to wait for the next message"},
    {"nack", 0, NULL, ALI_FLAG, OFFSET(nack), .help = "give each message back: it is tried again"},
    {"no-ack", 0, NULL, ALI_FLAG, OFFSET(no_ack),
     .help = "settle nothing: messages stay leased for 'agentlink ack' until the lease ends"},
    {"lease", 0, "TIME", ALI_DURATION, OFFSET(lease_ms), .max = AL_LEASE_MAX_MS,
     .help = "lease time of each message, at most 1h (default: by its kind)"},
    {"credit", 0, "N", ALI_COUNT, OFFSET(credit), .min = 1, .max = CREDIT_MAX,
     .help = "messages given out at one time (default: 64, never more than --count)"},
    {"takeover", 0, NULL, ALI_FLAG, OFFSET(takeover),
     .help = "take the agent over from another receiver"},
    {"shared", 0, NULL, ALI_FLAG, OFFSET(shared),
     .help = "share the inbox with other receivers that say so: each stream is with one of them"},
    {.name = NULL},
};

static void print_plain(struct ali_cli *cli, const struct al_delivery *d)
{
    struct al_str data = al_str_of(d->message.payload, d->message.payload_size);

    printf("%s%s%s  ", ali_style_begin(cli, ALI_DIM), ali_id_text(&d->message.id),
           ali_style_end(cli));
    fputs(ali_style_begin(cli, ALI_BOLD), stdout);
    ali_put_escaped(stdout, al_str_c(d->message.from), false);
    printf("%s  %u:%llu  ", ali_style_end(cli), d->stream, (unsigned long long)d->seq);
    printf("%s", d->message.kind && *d->message.kind ? "" : "-");
    ali_put_escaped(stdout, al_str_c(d->message.kind), false);
    printf("  %u%s  ", d->attempt, d->redelivered ? "*" : "");
    ali_put_escaped(stdout, data, false);
    putchar('\n');
}

static void print_json(struct ali_cli *cli, const struct al_delivery *d)
{
    json_t *object = ali_json_message(&d->message, d->stream, d->seq);

    json_object_set_new(object, "attempt", ali_json_count(d->attempt));
    json_object_set_new(object, "redelivered", json_boolean(d->redelivered));
    if (d->workflow_seq)
        json_object_set_new(object, "workflow_seq", ali_json_count(d->workflow_seq));
    ali_json_print(cli, object);
}

static int settle(struct ali_cli *cli, const struct recv_values *values,
                  struct al_delivery *delivery)
{
    int r = values->nack ? al_nack(delivery, 0, NACK_REASON) : al_ack(delivery, NULL);

    if (r == 0)
        return 0;
    al_delivery_drop(delivery);
    return ali_say_error(cli, r);
}

/* Prints and settles one message: 0, or an exit code. `wanted` more are to come. Settling makes
 * room for another one, which would be given out, seen by nobody and marked or charged for it: near
 * the end the credit goes down with what is still wanted. */
static int take(struct ali_cli *cli, const struct recv_values *values, struct al_delivery *delivery,
                uint64_t wanted)
{
    int code, r = 0;

    if (cli->json)
        print_json(cli, delivery);
    else
        print_plain(cli, delivery);
    code = ali_flush(cli, 0);
    if (code) {
        al_delivery_drop(delivery);
        return code;
    }
    if (values->no_ack)
        return 0; /* held until the detach that leaves its lease behind */
    if (wanted < values->credit)
        r = al_set_credit(cli->client, values->as, (uint32_t)wanted, 0);
    if (r) {
        al_delivery_drop(delivery);
        return ali_say_error(cli, r);
    }
    return settle(cli, values, delivery);
}

/* Ctrl-C ends the receiving, not the program: what was acknowledged is confirmed and the node is
 * told, before the program ends as the signal would have ended it. A second one ends it at once. */
static struct al_client *receiving;
static volatile sig_atomic_t caught;

static void on_signal(int number)
{
    caught = number;
    al_client_stop(receiving);
}

static void catch_signals(struct al_client *client)
{
    const struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};

    receiving = client;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

static int receive_all(struct ali_cli *cli, const struct recv_values *values)
{
    int timeout_ms = values->timeout_ms > INT_MAX ? INT_MAX : (int)values->timeout_ms;

    for (uint64_t taken = 0; values->count == 0 || taken < values->count; taken++) {
        struct al_delivery *delivery;
        int r = al_receive(cli->client, timeout_ms, &delivery), code;

        if (r == -AL_E_TIMEOUT)
            return ALI_EXIT_NOTHING;
        if (r == -AL_E_CANCELLED && caught)
            return 128 + caught;
        if (r)
            return ali_say_error(cli, r);
        code = take(cli, values, delivery, values->count ? values->count - taken - 1 : UINT64_MAX);
        if (code)
            return code;
    }
    return 0;
}

static int attach_failed(const struct ali_cli *cli, const struct recv_values *values, int error)
{
    if (error == -AL_E_ALREADY_ATTACHED) {
        ali_say(cli,
                values->shared
                    ? "a receiver that does not share is attached to '%s'; end it first, or take "
                      "over with --takeover"
                    : "another receiver is attached to '%s'; end it first, join it with --shared "
                      "if it shares the inbox, or take over with --takeover",
                ali_safe_c(values->as));
        return ALI_EXIT_REFUSED;
    }
    return error == -AL_E_BAD_NAME ? (ali_say_error(cli, error), ALI_EXIT_USAGE)
                                   : ali_say_error(cli, error);
}

/* Never more than are wanted. Without acks nothing makes room: all must fit in. */
static uint64_t credit_of(const struct recv_values *values)
{
    uint64_t credit = values->credit ? values->credit : values->no_ack ? CREDIT_MAX : 64;

    return values->count && values->count < credit ? values->count : credit;
}

static int run_recv(struct ali_cli *cli, const void *values, char **args)
{
    struct recv_values own = *(const struct recv_values *)values, *v = &own;
    struct al_attach_options options = {
        .lease_ms = (uint32_t)v->lease_ms,
        .takeover = v->takeover,
        .shared = v->shared,
        .pipelined = v->no_ack,
    };
    int code, r;

    (void)args;
    if (v->nack && v->no_ack) {
        ali_say(cli, "--nack and --no-ack exclude each other");
        return ALI_EXIT_USAGE;
    }
    v->credit = credit_of(v);
    options.credit = (uint32_t)v->credit;
    options.credit_bytes = v->no_ack ? AL_CREDIT_BYTES_MAX : 0;
    code = ali_node_open(cli);
    if (code)
        return code;
    r = al_attach(cli->client, v->as, &options);
    if (r)
        return attach_failed(cli, v, r);
    catch_signals(cli->client);
    code = receive_all(cli, v);
    if (v->no_ack)
        al_detach(cli->client, v->as, true);
    if (ali_node_close(cli)) {
        ali_say(cli, "not every acknowledgement was confirmed; messages may come again");
        return code && code != ALI_EXIT_NOTHING ? code : ALI_EXIT_UNKNOWN;
    }
    return code;
}

const struct ali_command ali_cmd_recv[] = {
    {
        .name = "recv",
        .summary = "receive an agent's messages and print them",
        .doc =
            "Prints one line for each message: id, sender, stream:seq, kind, attempt (with * if\n"
            "the message may have been seen before) and payload, with control characters as\n"
            "escapes; --json prints one object for each and the payload exactly.\n\n"
            "A message is acknowledged after it was written and flushed. Ends with 0 after\n"
            "--count messages, with 124 when nothing (more) came in time.",
        .examples = "agentlink recv --as printer --count 1\n"
                    "agentlink recv --as printer --json --timeout 1m | jq -r .data\n"
                    "agentlink recv --as printer --count 1 --no-ack --lease 5m",
        .options = recv_options,
        .values_size = sizeof(struct recv_values),
        .run = run_recv,
    },
    {.name = NULL},
};
