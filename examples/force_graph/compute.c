/* compute.c - the agent that computes: what it is told comes in order, so it simply obeys.
 *
 * A message may come again (its first answer was lost, or the first attempt failed). The messages
 * that set something are harmless twice; a round is numbered, and one that was computed already is
 * answered without computing it again. */
#include "agents.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What the "GPU" holds. */
struct device {
    struct compute *compute;
    struct graph *graph;
    bool shared;
    uint32_t pinned;
    uint32_t round; /* the last that was computed */
    double moved;   /* by it */
};

static bool text_is(const struct al_delivery *delivery, const char *kind)
{
    return strcmp(delivery->message.kind, kind) == 0;
}

/* The payload as a text of at most 127 bytes. */
static const char *payload_text(const struct al_delivery *delivery, char text[128])
{
    size_t n = delivery->message.payload_size < 127 ? delivery->message.payload_size : 127;

    memcpy(text, delivery->message.payload, n);
    text[n] = 0;
    return text;
}

static int fail(struct al_delivery *delivery, const char *why)
{
    return al_ack(delivery, &(struct al_ack_options){.status = AL_ACK_FAILED, .reason = why});
}

static int answer(struct al_delivery *delivery, const char *text)
{
    return al_ack(delivery, &(struct al_ack_options){.response_type = "text/plain",
                                                     .response = text,
                                                     .response_size = strlen(text)});
}

static int initialize(struct device *device, struct al_delivery *delivery)
{
    char text[128];
    unsigned nodes;

    if (sscanf(payload_text(delivery, text), "nodes %u", &nodes) != 1 || nodes == 0 ||
        nodes > NODES_MAX)
        return fail(delivery, "expected: nodes N");
    memset(device->graph, 0, sizeof(*device->graph));
    device->graph->nodes = nodes;
    device->pinned = nodes;
    device->round = 0;
    graph_scatter(device->graph);
    return answer(delivery, "ready");
}

/* Pairs of little-endian u32. */
static int set_edges(struct device *device, struct al_delivery *delivery)
{
    const uint8_t *p = delivery->message.payload;
    size_t count = delivery->message.payload_size / 8;

    if (count == 0 || count > EDGES_MAX || delivery->message.payload_size % 8)
        return fail(delivery, "expected: pairs of node numbers");
    for (size_t i = 0; i < count * 2; i++) {
        const uint8_t *q = p + 4 * i;
        uint32_t n = q[0] | (uint32_t)q[1] << 8 | (uint32_t)q[2] << 16 | (uint32_t)q[3] << 24;

        if (n >= device->graph->nodes)
            return fail(delivery, "an edge names a node that does not exist");
        device->graph->edge[i / 2][i % 2] = n;
    }
    device->graph->edges = (uint32_t)count;
    return answer(delivery, "stored");
}

static int pin(struct device *device, struct al_delivery *delivery)
{
    char text[128];
    unsigned node;
    double x, y;

    if (sscanf(payload_text(delivery, text), "pin %u at %lf %lf", &node, &x, &y) != 3 ||
        node >= device->graph->nodes)
        return fail(delivery, "expected: pin N at X Y");
    device->pinned = node;
    device->graph->at[node] = (struct point){x, y};
    return answer(delivery, "pinned");
}

/* The positions go to the orchestrator as a message of their own, once for each round. */
static int send_positions(struct device *device)
{
    size_t size = device->graph->nodes * sizeof(struct point);
    struct al_message message;
    struct al_receipt receipt;
    char key[32], round[16];
    struct al_header header = {"round", round};

    snprintf(round, sizeof(round), "%u", device->round);
    snprintf(key, sizeof(key), "positions-%u", device->round);
    al_message_init(&message);
    message.from = COMPUTE;
    message.to = ORCHESTRATOR;
    message.kind = "UpdateNodePositions";
    message.correlation_id = key;
    message.headers = &header;
    message.header_count = 1;
    message.payload = device->graph->at;
    message.payload_size = size;
    return al_send(device->compute->client, &message, 5000, &receipt);
}

static int compute_round(struct device *device, struct al_delivery *delivery)
{
    struct compute *compute = device->compute;
    char text[128];
    unsigned round;
    double temperature;
    int r = 0;

    if (sscanf(payload_text(delivery, text), "round %u temperature %lf", &round, &temperature) != 2)
        return fail(delivery, "expected: round N temperature T");
    if (compute->fail_every && round % compute->fail_every == 0 && delivery->attempt == 1) {
        compute->failures++;
        return al_nack(delivery, 0, "the GPU is busy");
    }
    if (round <= device->round) { /* computed already: the answer was lost */
        compute->again++;
    } else {
        compute->violations += round != device->round + 1;
        device->moved = graph_round(device->graph, temperature, device->pinned);
        device->round = round;
        compute->rounds++;
        r = send_positions(device);
    }
    if (r < 0)
        return r;
    snprintf(text, sizeof(text), "moved %.6f", device->moved);
    return answer(delivery, text);
}

static int on_message(void *ctx, struct al_delivery *delivery)
{
    struct device *device = ctx;

    if (text_is(delivery, "InitializeGPU"))
        return initialize(device, delivery);
    if (!device->graph->nodes)
        return fail(delivery, "InitializeGPU must come first");
    if (text_is(delivery, "SetSharedGPUContext")) {
        device->shared = true;
        return answer(delivery, "shared");
    }
    if (text_is(delivery, "UpdateGPUGraphData"))
        return set_edges(device, delivery);
    if (text_is(delivery, "UploadConstraintsToGPU"))
        return pin(device, delivery);
    if (text_is(delivery, "ComputeForces") && device->graph->edges && device->shared)
        return compute_round(device, delivery);
    return fail(delivery, "not understood, or not in this order");
}

void *compute_run(void *ctx)
{
    struct compute *compute = ctx;
    struct device device = {.compute = compute, .graph = calloc(1, sizeof(*device.graph))};

    if (!device.graph || al_handle(compute->client, COMPUTE, NULL, on_message, &device) < 0)
        fprintf(stderr, "compute: %s\n", device.graph ? al_last_error() : "out of memory");
    else
        (void)al_client_run(compute->client);
    free(device.graph);
    return NULL;
}
