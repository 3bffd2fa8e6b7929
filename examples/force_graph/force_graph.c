/* force_graph.c - an orchestrator that has a graph laid out by another agent, over any bus.
 *
 *     force_graph [--bus URL] [--graph FILE] [--svg FILE] [--rounds N] [--fail-every N]
 *
 * It registers the six kinds of a graph engine with their timeouts and retries, and sends: what to
 * make room for, what to share, the graph, what stays in place, then round after round of forces;
 * the compute agent tells the positions after each. Some rounds fail at the first attempt on
 * purpose and are retried by the kind's policy. It ends with a table of the kinds, a picture, and
 * exit code 0 only if every round was computed once, in order, and the layout became good. */
#include "agents.h"
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct options {
    const char *bus, *graph, *svg;
    uint32_t rounds, fail_every;
};

struct orchestrator {
    struct al_client *client;
    struct graph graph;
    uint32_t round; /* whose positions came last */
    uint32_t violations;
};

/* ---- talking to the compute agent -------------------------------------------------------- */

static int ask(struct orchestrator *o, const char *kind, const void *payload, size_t size,
               char ret_answer[64])
{
    struct al_message message;
    struct al_end *end;
    int r;

    al_message_init(&message);
    message.from = ORCHESTRATOR;
    message.to = COMPUTE;
    message.kind = kind;
    message.payload = payload;
    message.payload_size = size;
    r = al_request(o->client, &message, 30000, &end);
    if (r < 0) {
        fprintf(stderr, "force_graph: %s: %s\n", kind, al_last_error());
        return r;
    }
    snprintf(ret_answer, 64, "%.*s", (int)(end->response_size < 63 ? end->response_size : 63),
             (const char *)end->response);
    al_end_free(end);
    return 0;
}

static int ask_text(struct orchestrator *o, const char *kind, const char *text, char ret_answer[64])
{
    return ask(o, kind, text, strlen(text), ret_answer);
}

static int send_edges(struct orchestrator *o)
{
    size_t size = o->graph.edges * 8u;
    uint8_t *bytes = malloc(size);
    char text[64];
    int r;

    if (!bytes)
        return -AL_ERR_NOMEM;
    for (size_t i = 0; i < size / 4; i++) {
        uint32_t n = o->graph.edge[i / 2][i % 2];

        for (unsigned k = 0; k < 4; k++)
            bytes[4 * i + k] = (uint8_t)(n >> 8 * k);
    }
    r = ask(o, "UpdateGPUGraphData", bytes, size, text);
    free(bytes);
    return r;
}

static int on_positions(void *ctx, struct al_delivery *delivery)
{
    struct orchestrator *o = ctx;
    size_t size = o->graph.nodes * sizeof(struct point);
    uint32_t round = 0;

    for (size_t i = 0; i < delivery->message.header_count; i++) {
        if (strcmp(delivery->message.headers[i].name, "round") == 0)
            round = (uint32_t)strtoul(delivery->message.headers[i].value, NULL, 10);
    }
    if (strcmp(delivery->message.kind, "UpdateNodePositions") != 0 ||
        delivery->message.payload_size != size)
        return al_ack(delivery, &(struct al_ack_options){.status = AL_ACK_FAILED,
                                                         .reason = "not the positions I expect"});
    if (round > o->round) {
        o->violations += round != o->round + 1;
        memcpy(o->graph.at, delivery->message.payload, size);
        o->round = round;
    }
    return 0;
}

/* ---- the work ---------------------------------------------------------------------------- */

static int register_kinds(struct al_client *client)
{
    struct al_kind_info kind;
    int r = 0;

#define X(symbol, text, timeout, retries)  \
    if (r >= 0) {                          \
        al_kind_info_init(&kind, #symbol); \
        kind.title = text;                 \
        kind.ack_timeout_ms = timeout;     \
        kind.retry_max = retries;          \
        kind.retry_base_ms = 20;           \
        r = al_kind_set(client, &kind);    \
    }
    FORCE_GRAPH_KINDS(X)
#undef X
    if (r < 0)
        fprintf(stderr, "force_graph: kind '%s': %s\n", kind.kind, al_last_error());
    return r;
}

static int set_up(struct orchestrator *o)
{
    char text[64], answer[64];
    int r;

    snprintf(text, sizeof(text), "nodes %u", o->graph.nodes);
    r = ask_text(o, "InitializeGPU", text, answer);
    if (r >= 0)
        r = ask_text(o, "SetSharedGPUContext", "context 1", answer);
    if (r >= 0)
        r = send_edges(o);
    snprintf(text, sizeof(text), "pin 0 at %.1f %.1f", AREA / 10, AREA / 10);
    return r < 0 ? r : ask_text(o, "UploadConstraintsToGPU", text, answer);
}

static int lay_out(struct orchestrator *o, uint32_t rounds)
{
    char text[64], answer[64];

    for (uint32_t round = 1; round <= rounds; round++) {
        double temperature = AREA / 5 * pow(1 - (round - 1.0) / rounds, 1.5) + 0.1;
        int r;

        snprintf(text, sizeof(text), "round %u temperature %.3f", round, temperature);
        r = ask_text(o, "ComputeForces", text, answer);
        for (int i = 0; r >= 0 && o->round < round && i < 50; i++)
            r = al_client_dispatch(o->client, 200);
        if (r < 0)
            return r;
        if (o->round < round) {
            fprintf(stderr, "force_graph: the positions of round %u do not come\n", round);
            return -AL_ERR_TIMEOUT;
        }
    }
    return 0;
}

/* ---- the report -------------------------------------------------------------------------- */

static int print_kind(void *ctx, const struct al_kind_info *kind)
{
    uint64_t ended = kind->success + kind->failure;

    (void)ctx;
    if (kind->sent)
        printf("%-24s %7llu %8llu %8llu %8llu %9.2f ms  %s\n", kind->kind,
               (unsigned long long)kind->sent, (unsigned long long)kind->success,
               (unsigned long long)kind->failure, (unsigned long long)kind->retries,
               ended ? (double)kind->latency_sum_ms / (double)ended : 0, kind->title);
    return 0;
}

/* Waits until the node has counted the last acks, then prints; 0 if everything is as it must be. */
static int report(struct orchestrator *o, const struct compute *compute,
                  const struct options *options, double before)
{
    double after = graph_stress(&o->graph);
    uint32_t expected = options->fail_every ? options->rounds / options->fail_every : 0;
    bool good = compute->rounds == options->rounds && compute->violations == 0 &&
                o->violations == 0 && compute->failures == expected && after < 0.75 * before;

    (void)al_client_flush(o->client, 5000);
    printf("%-24s %7s %8s %8s %8s %12s  %s\n", "kind", "sent", "success", "failure", "retries",
           "mean", "what");
    if (al_kind_list(o->client, print_kind, NULL) < 0)
        fprintf(stderr, "force_graph: %s\n", al_last_error());
    printf(
        "\n%u nodes, %u edges, %u rounds computed once each, %u first attempts failed on purpose\n"
        "order violations %u, edge length against distance %.2f -> %.2f\n",
        o->graph.nodes, o->graph.edges, compute->rounds, compute->failures,
        compute->violations + o->violations, before, after);
    if (graph_draw(&o->graph, options->svg) < 0) {
        perror(options->svg);
        return 1;
    }
    printf("%s: %s\n", good ? "as it must be" : "NOT AS IT MUST BE", options->svg);
    return good ? 0 : 1;
}

/* ---- command line ------------------------------------------------------------------------ */

static int usage(const char *wrong)
{
    if (wrong)
        fprintf(stderr, "force_graph: %s\n", wrong);
    fputs("usage: force_graph [--bus URL] [--graph FILE] [--svg FILE] [--rounds N] "
          "[--fail-every N]\n"
          "  --bus URL       inproc: (default), file:DIR, unix:PATH\n"
          "  --graph FILE    lines of two node names (default examples/force_graph/grid.txt)\n"
          "  --svg FILE      the picture (default force_graph.svg)\n"
          "  --rounds N      1 to 10000 (default 200)\n"
          "  --fail-every N  each N-th round fails at its first attempt; 0: none (default 15)\n",
          wrong ? stderr : stdout);
    return wrong ? 2 : 0;
}

static bool parse_number(const char *text, uint32_t most, uint32_t *ret_number)
{
    char *end;
    unsigned long n = strtoul(text, &end, 10);

    *ret_number = (uint32_t)n;
    return end != text && *end == 0 && n <= most && text[0] != '-';
}

/* NULL, or what is wrong. */
static const char *parse(int argc, char **argv, struct options *options)
{
    for (int i = 1; i + 1 < argc; i += 2) {
        const char *name = argv[i], *value = argv[i + 1];

        if (strcmp(name, "--bus") == 0)
            options->bus = value;
        else if (strcmp(name, "--graph") == 0)
            options->graph = value;
        else if (strcmp(name, "--svg") == 0)
            options->svg = value;
        else if (strcmp(name, "--rounds") == 0 && parse_number(value, 10000, &options->rounds) &&
                 options->rounds)
            continue;
        else if (strcmp(name, "--fail-every") == 0 &&
                 parse_number(value, 10000, &options->fail_every))
            continue;
        else
            return "an option is not known, or its value is not right";
    }
    return argc % 2 ? NULL : "an option has no value";
}

static int open_client(const char *bus, const char *name, struct al_client **ret_client)
{
    struct al_client_options options = {.node = bus, .name = name};
    int r = al_client_open(&options, ret_client);

    if (r < 0)
        fprintf(stderr, "force_graph: %s: %s\n", bus, al_last_error());
    return r;
}

static int run(struct orchestrator *o, const struct options *options)
{
    struct compute compute = {.fail_every = options->fail_every};
    double before;
    pthread_t thread;
    int r = open_client(options->bus, "compute", &compute.client);

    if (r < 0)
        return 1;
    graph_scatter(&o->graph);
    before = graph_stress(&o->graph);
    r = register_kinds(o->client);
    if (r >= 0)
        r = al_handle(o->client, ORCHESTRATOR, NULL, on_positions, o);
    if (r >= 0)
        r = al_agent_add(compute.client, COMPUTE);
    if (r == -AL_ERR_EXISTS)
        r = 0;
    if (r < 0)
        fprintf(stderr, "force_graph: %s\n", al_last_error());
    if (r < 0 || pthread_create(&thread, NULL, compute_run, &compute) != 0) {
        al_client_close(compute.client, 0);
        return 1;
    }
    r = set_up(o);
    if (r >= 0)
        r = lay_out(o, options->rounds);
    al_client_stop(compute.client);
    pthread_join(thread, NULL);
    al_client_close(compute.client, 5000);
    return r < 0 ? 1 : report(o, &compute, options, before);
}

int main(int argc, char **argv)
{
    struct options options = {.bus = "inproc:force-graph",
                              .graph = "examples/force_graph/grid.txt",
                              .svg = "force_graph.svg",
                              .rounds = 200,
                              .fail_every = 15};
    static struct orchestrator o;
    const char *wrong;
    int r;

    if (argc == 2 && strcmp(argv[1], "--help") == 0)
        return usage(NULL);
    wrong = parse(argc, argv, &options);
    if (wrong)
        return usage(wrong);
    r = graph_read(&o.graph, options.graph, &wrong);
    if (wrong) {
        fprintf(stderr, "force_graph: %s", options.graph);
        if (r < 0 && r > -1000000)
            fprintf(stderr, ", line %d", -r);
        fprintf(stderr, ": %s\n", wrong);
        return 1;
    }
    if (open_client(options.bus, "orchestrator", &o.client) < 0)
        return 1;
    r = run(&o, &options);
    if (al_client_close(o.client, 5000) < 0)
        r = 1;
    return r;
}
