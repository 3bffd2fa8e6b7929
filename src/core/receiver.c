/* receiver.c - who has the messages of an inbox: one exclusive receiver, or several that share it.
 *
 * A stream belongs to one receiver as long as it has messages out, or being read back for it, so
 * that its order holds however many share the inbox. Otherwise it belongs to nobody in particular,
 * which is to say to the inbox's own receiver: that is the exclusive one, and where streams wait
 * until one of those that share the inbox has credit (backlog.c). */
#include "core/internal.h"
#include <assert.h>

#define READY_LINK offsetof(struct ali_flow, ready)

/* ---- those that share an inbox ------------------------------------------------------------ */

struct ali_receiver *ali_receiver_share(struct al_node *node, ali_ref ref)
{
    struct ali_inbox *inbox = ali_agent_at(node, ref)->inbox;
    struct ali_receiver *receiver = al_alloc_zero(&node->alloc, sizeof(*receiver));
    struct ali_levels *levels = al_alloc_zero(&node->alloc, sizeof(*levels));

    if (!receiver || !levels) {
        al_alloc_free(&node->alloc, receiver, sizeof(*receiver));
        al_alloc_free(&node->alloc, levels, sizeof(*levels));
        return NULL;
    }
    receiver->agent = ref;
    receiver->is_shared = true;
    receiver->conn = AL_REF_NONE;
    receiver->levels = levels;
    receiver->next = receiver->prev = receiver;
    if (inbox->v.shared) { /* at the end of the line */
        receiver->next = inbox->v.shared;
        receiver->prev = inbox->v.shared->prev;
        receiver->next->prev = receiver->prev->next = receiver;
    } else {
        inbox->v.shared = receiver;
    }
    inbox->v.shared_count++;
    return receiver;
}

void ali_receiver_free(struct al_node *node, struct ali_receiver *receiver)
{
    struct ali_inbox *inbox = ali_agent_at(node, receiver->agent)->inbox;

    assert(receiver->is_shared);
    if (inbox->v.shared == receiver)
        inbox->v.shared = receiver->next == receiver ? NULL : receiver->next;
    receiver->next->prev = receiver->prev;
    receiver->prev->next = receiver->next;
    inbox->v.shared_count--;
    al_alloc_free(&node->alloc, receiver->levels, sizeof(*receiver->levels));
    al_alloc_free(&node->alloc, receiver, sizeof(*receiver));
}

void ali_receiver_done(struct al_node *node, struct ali_receiver *receiver)
{
    if (receiver->is_shared && receiver->conn == AL_REF_NONE &&
        (!receiver->has_session || receiver->keeps_leases) && !receiver->busy.head &&
        !receiver->planned) {
        ali_receiver_await(node, receiver, 0);
        ali_receiver_free(node, receiver);
    }
}

void ali_receiver_await(struct al_node *node, struct ali_receiver *receiver, uint64_t delay_ms)
{
    struct ali_inbox *inbox = ali_agent_at(node, receiver->agent)->inbox;
    uint64_t now = ali_mono_ms(node), first = UINT64_MAX;

    if (!delay_ms && !receiver->await_ms)
        return;
    receiver->await_ms = delay_ms ? now + delay_ms : 0;
    for (const struct ali_receiver *r = &inbox->v.own; r; r = ali_receiver_next(inbox, r))
        if (r->await_ms && r->await_ms < first)
            first = r->await_ms;
    if (first == UINT64_MAX)
        ali_timer_cancel(node, ALI_TIMER_SESSION, receiver->agent);
    else
        ali_timer_set(node, ALI_TIMER_SESSION, receiver->agent, first > now ? first - now : 0);
}

struct ali_receiver *ali_receiver_next(const struct ali_inbox *inbox,
                                       const struct ali_receiver *receiver)
{
    if (!receiver->is_shared)
        return inbox->v.shared;
    return receiver->next == inbox->v.shared ? NULL : receiver->next;
}

/* ---- questions --------------------------------------------------------------------------- */

struct ali_receiver *ali_receiver_on(struct ali_inbox *inbox, const struct ali_conn *conn)
{
    struct ali_receiver *receiver = &inbox->v.own;

    while (receiver && receiver->conn != conn->number)
        receiver = ali_receiver_next(inbox, receiver);
    return receiver;
}

struct ali_receiver *ali_find_receiver(const struct al_node *node, const struct ali_conn *conn,
                                       uint32_t agent)
{
    ali_ref ref = ali_find_agent(node, agent);

    return ref == AL_REF_NONE ? NULL : ali_receiver_on(ali_agent_at(node, ref)->inbox, conn);
}

struct ali_out_sum ali_inbox_out(const struct ali_inbox *inbox)
{
    struct ali_out_sum sum = {0};

    for (const struct ali_receiver *r = &inbox->v.own; r; r = ali_receiver_next(inbox, r)) {
        sum.receivers += r->conn != AL_REF_NONE;
        sum.planned += r->planned;
        sum.messages += r->out;
        sum.bytes += r->out_bytes;
    }
    return sum;
}

/* ---- whose a stream is ------------------------------------------------------------------- */

bool ali_is_out_elsewhere(const struct ali_stream *stream)
{
    return stream->v.flow->pushed_count &&
           stream->v.flow->session != stream->v.flow->receiver->session;
}

void ali_stream_unbind(struct al_node *node, ali_ref ref)
{
    struct ali_flow *flow = ali_stream_at(node, ref)->v.flow;
    struct ali_receiver *receiver = flow->receiver;

    if (!receiver->is_shared || flow->reading || flow->again || flow->pushed_count)
        return;
    ali_stream_unready(node, ref);
    flow->receiver = &ali_agent_at(node, receiver->agent)->inbox->v.own;
    ali_receiver_done(node, receiver);
}

/* ---- ready lists ------------------------------------------------------------------------- */

void ali_agent_dirty(struct al_node *node, ali_ref ref)
{
    struct ali_agent *agent = ali_agent_at(node, ref);

    if (agent->inbox->v.dirty ||
        (!agent->inbox->v.shared &&
         (!agent->inbox->v.own.ready_mask || agent->inbox->v.own.conn == AL_REF_NONE)))
        return;
    if (node->v.dirty_count == node->v.dirty_cap) {
        uint32_t cap = node->v.dirty_cap ? node->v.dirty_cap * 2 : 16;
        ali_ref *dirty =
            node->alloc.realloc_fn(node->alloc.ctx, node->v.dirty,
                                   node->v.dirty_cap * sizeof(*dirty), cap * sizeof(*dirty));

        if (!dirty) {
            node->v.effects->failed = true;
            return;
        }
        node->v.dirty = dirty;
        node->v.dirty_cap = cap;
    }
    agent->inbox->v.dirty = true;
    node->v.dirty[node->v.dirty_count++] = ref;
}

void ali_stream_ready(struct al_node *node, ali_ref ref)
{
    struct ali_stream *stream = ali_stream_at(node, ref);
    unsigned level = stream->d.priority;
    struct ali_receiver *receiver;

    if (!ali_runs_count(&stream->d.runs) || !ali_flow_get(node, ref))
        return;
    ali_stream_unbind(node, ref);
    if (stream->v.flow->is_ready || stream->v.flow->is_held || stream->v.flow->is_blocked ||
        stream->v.flow->reading || stream->v.flow->again || ali_is_out_elsewhere(stream) ||
        stream->v.flow->next.seq == stream->d.runs.next_seq)
        return;
    receiver = stream->v.flow->receiver;
    if (!(receiver->ready_mask >> level & 1))
        receiver->levels->since_ms[level] = ali_mono_ms(node);
    stream->v.flow->is_ready = true;
    ali_flow_push(&receiver->levels->ready[level], READY_LINK, stream->v.flow);
    receiver->ready_mask |= 1u << level;
    ali_agent_dirty(node, stream->d.to);
}

void ali_stream_unready(struct al_node *node, ali_ref ref)
{
    struct ali_stream *stream = ali_stream_at(node, ref);
    struct ali_receiver *receiver = stream->v.flow->receiver;
    unsigned level = stream->d.priority;

    if (!stream->v.flow->is_ready)
        return;
    stream->v.flow->is_ready = false;
    ali_flow_unlink(&receiver->levels->ready[level], READY_LINK, stream->v.flow);
    if (!receiver->levels->ready[level].head)
        receiver->ready_mask &= ~(1u << level);
}
