/* flow.c - what a stream needs only while it has messages: made when it gets one, given back at the
 * end of the step in which its last one has gone.
 *
 * A node may know a hundred thousand streams of which a hundred are at work. A stream without
 * messages points to ali_no_flow, which can be read like any other and cannot be written. Some
 * flows are kept for the next stream: one that runs empty with every message costs no allocation.
 */
#include "core/internal.h"
#include <assert.h>

#define FLOWS_KEPT 32u
#define RING_KEPT  64u /* places for what is out that an idle flow keeps */

const struct ali_flow ali_no_flow = {.stream = AL_REF_NONE};

/* ---- lists ------------------------------------------------------------------------------- */

static struct ali_flow_link *link_at(struct ali_flow *flow, size_t offset)
{
    return (struct ali_flow_link *)(void *)((uint8_t *)flow + offset);
}

void ali_flow_push(struct ali_flows *list, size_t offset, struct ali_flow *flow)
{
    struct ali_flow_link *link = link_at(flow, offset);

    link->prev = list->tail;
    link->next = NULL;
    if (list->tail)
        link_at(list->tail, offset)->next = flow;
    else
        list->head = flow;
    list->tail = flow;
}

void ali_flow_unlink(struct ali_flows *list, size_t offset, struct ali_flow *flow)
{
    struct ali_flow_link *link = link_at(flow, offset);

    if (link->prev)
        link_at(link->prev, offset)->next = link->next;
    else
        list->head = link->next;
    if (link->next)
        link_at(link->next, offset)->prev = link->prev;
    else
        list->tail = link->prev;
    link->prev = link->next = NULL;
}

/* ---- the ring of what is out ------------------------------------------------------------- */

int ali_flow_reserve_push(struct al_node *node, struct ali_stream *stream)
{
    struct ali_flow *flow = stream->v.flow;
    uint32_t cap = flow->pushed_cap ? flow->pushed_cap * 2 : 4;
    struct ali_push *ring;

    if (flow->pushed_count < flow->pushed_cap)
        return 0;
    ring = al_alloc_new(&node->alloc, cap * sizeof(*ring));
    if (!ring)
        return -AL_E_NOMEM;
    for (uint32_t i = 0; i < flow->pushed_count; i++)
        ring[i] = *ali_push_at(stream, i);
    al_alloc_free(&node->alloc, flow->pushed, flow->pushed_cap * sizeof(*ring));
    flow->pushed = ring;
    flow->pushed_cap = cap;
    flow->pushed_first = 0;
    return 0;
}

static void free_ring(struct al_node *node, struct ali_flow *flow)
{
    al_alloc_free(&node->alloc, flow->pushed, flow->pushed_cap * sizeof(*flow->pushed));
    flow->pushed = NULL;
    flow->pushed_cap = flow->pushed_first = 0;
}

void ali_flow_shrink(struct al_node *node, struct ali_flow *flow)
{
    if (!flow->pushed_count && flow->pushed_cap > RING_KEPT)
        free_ring(node, flow);
}

/* ---- flows ------------------------------------------------------------------------------- */

struct ali_flow *ali_flow_none(void)
{
    return (struct ali_flow *)(uintptr_t)&ali_no_flow; /* writing to it would be a crash */
}

struct ali_flow *ali_flow_get(struct al_node *node, ali_ref ref)
{
    struct ali_stream *stream = ali_stream_at(node, ref);
    struct ali_flow *flow = node->v.spare_flows;
    struct ali_push *ring = NULL;
    uint32_t cap = 0;

    if (ali_has_flow(stream))
        return stream->v.flow;
    if (flow) {
        node->v.spare_flows = flow->next_loose;
        node->v.spare_flow_count--;
        ring = flow->pushed;
        cap = flow->pushed_cap;
    } else {
        flow = al_alloc_new(&node->alloc, sizeof(*flow));
        if (!flow) {
            node->v.effects->failed = true;
            return NULL;
        }
    }
    *flow = (struct ali_flow){.stream = ref,
                              .receiver = &ali_agent_at(node, stream->d.to)->inbox->v.own,
                              .next = ali_runs_begin(&stream->d.runs),
                              .pushed = ring,
                              .pushed_cap = cap};
    stream->v.flow = flow;
    return flow;
}

static void flow_free(struct al_node *node, struct ali_flow *flow)
{
    free_ring(node, flow);
    al_alloc_free(&node->alloc, flow, sizeof(*flow));
}

/* Nobody points to the flow any more. */
static void put_away(struct al_node *node, struct ali_flow *flow)
{
    if (node->v.spare_flow_count == FLOWS_KEPT) {
        flow_free(node, flow);
        return;
    }
    flow->pushed_count = 0;
    ali_flow_shrink(node, flow);
    flow->next_loose = node->v.spare_flows;
    node->v.spare_flows = flow;
    node->v.spare_flow_count++;
}

/* The stream works no more: its flow is out of all lists. */
static struct ali_flow *detach(struct al_node *node, ali_ref ref)
{
    struct ali_stream *stream = ali_stream_at(node, ref);
    struct ali_flow *flow = stream->v.flow;

    ali_stream_unready(node, ref);
    ali_stream_forget_reading(node, stream);
    ali_timer_cancel(node, ALI_TIMER_STREAM, ref);
    assert(!flow->is_busy);
    stream->v.flow = ali_flow_none();
    flow->stream = AL_REF_NONE;
    return flow;
}

void ali_flow_emptied(struct al_node *node, ali_ref ref)
{
    struct ali_flow *flow = ali_stream_at(node, ref)->v.flow;

    if (flow == &ali_no_flow || flow->is_loose)
        return;
    flow->is_loose = true;
    flow->next_loose = node->v.loose_flows;
    node->v.loose_flows = flow;
}

void ali_flow_drop(struct al_node *node, ali_ref ref)
{
    struct ali_flow *flow;

    if (!ali_has_flow(ali_stream_at(node, ref)))
        return;
    flow = detach(node, ref);
    if (!flow->is_loose) /* else the end of the step finds it */
        put_away(node, flow);
}

void ali_flows_rest(struct al_node *node)
{
    struct ali_flow *flow;

    while ((flow = node->v.loose_flows)) {
        struct ali_stream *stream =
            flow->stream == AL_REF_NONE ? NULL : ali_stream_at(node, flow->stream);

        node->v.loose_flows = flow->next_loose;
        flow->is_loose = false;
        if (stream) {
            if (ali_runs_count(&stream->d.runs) || flow->pushed_count)
                continue; /* it has got another one */
            ali_runs_release(&stream->d.runs, &node->alloc);
            detach(node, flow->stream);
        }
        put_away(node, flow);
    }
}

void ali_flows_free(struct al_node *node)
{
    struct ali_flow *flow;

    for (ali_ref ref = 0; ref < node->streams.end; ref++)
        if (al_pool_has(&node->streams, ref) && ali_has_flow(ali_stream_at(node, ref)))
            flow_free(node, ali_stream_at(node, ref)->v.flow);
    while ((flow = node->v.spare_flows)) {
        node->v.spare_flows = flow->next_loose;
        flow_free(node, flow);
    }
    assert(!node->v.loose_flows);
}

/* ---- failed attempts --------------------------------------------------------------------- */

const struct ali_trouble *ali_trouble_of(const struct ali_stream *stream)
{
    static const struct ali_trouble none;

    return stream->d.trouble ? stream->d.trouble : &none;
}

struct ali_trouble *ali_trouble_get(struct al_node *node, struct ali_stream *stream)
{
    struct ali_trouble *trouble = stream->d.trouble;

    if (trouble)
        return trouble;
    trouble = al_alloc_zero(&node->alloc, sizeof(*trouble));
    if (trouble)
        al_buf_init(&trouble->log, &node->alloc);
    stream->d.trouble = trouble;
    return trouble;
}

void ali_trouble_free(struct al_node *node, struct ali_stream *stream)
{
    if (!stream->d.trouble)
        return;
    al_buf_deinit(&stream->d.trouble->log);
    al_alloc_free(&node->alloc, stream->d.trouble, sizeof(*stream->d.trouble));
    stream->d.trouble = NULL;
}
