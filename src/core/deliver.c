/* deliver.c - from the inbox to the receiver: what is pushed, leased, recalled.
 *
 * A message that comes in while its receiver waits goes out at once, from the bytes at hand; what
 * has to wait is read back (backlog.c). */
#include "core/deliver.h"
#include <assert.h>

#define BUSY_LINK offsetof(struct ali_flow, busy)

/* ---- pushing ----------------------------------------------------------------------------- */

bool ali_has_credit(const struct al_node *node, const struct ali_receiver *receiver)
{
    const struct ali_agent *agent = ali_agent_at(node, receiver->agent);
    uint64_t out = (uint64_t)receiver->out + receiver->volatile_out;

    return receiver->conn != AL_REF_NONE && out < receiver->credit &&
           (out == 0 || receiver->out_bytes < receiver->credit_bytes) &&
           (!agent->inbox->v.gate || ali_breaker_admits(node, agent));
}

/* True if there is credit that no message being read back has been promised. */
static bool has_spare_credit(const struct al_node *node, const struct ali_receiver *receiver)
{
    return ali_has_credit(node, receiver) &&
           (uint64_t)receiver->out + receiver->volatile_out + receiver->planned < receiver->credit;
}

/* Who may have a message at once: whose its stream is or, of those that share the inbox, the next
 * one with credit to spare. NULL: nobody, or something else waits before it. */
static struct ali_receiver *find_spare(const struct al_node *node, struct ali_inbox *inbox,
                                       struct ali_receiver *whose)
{
    struct ali_receiver *receiver = inbox->v.shared;

    if (inbox->v.own.ready_mask)
        return NULL;
    if (whose->is_shared || !receiver)
        return !whose->ready_mask && has_spare_credit(node, whose) ? whose : NULL;
    do {
        if (!receiver->ready_mask && has_spare_credit(node, receiver)) {
            inbox->v.shared = receiver->next; /* to the end of the line */
            return receiver;
        }
        receiver = receiver->next;
    } while (receiver != inbox->v.shared);
    return NULL;
}

/* Appends an optional field to the DELIVER frame that was just written at `from`. */
static void put_optional(struct al_node *node, size_t from, uint16_t tag, struct al_str value)
{
    struct al_buf *data = &node->v.effects->data;

    if (ali_effects_room(node, 4 + (size_t)value.n) < 0)
        return;
    (void)al_ext_put(data, tag, value);
    al_put32(data->data + from, (uint32_t)(data->size - from - AL_WIRE_HEADER_SIZE));
}

/* What stands behind a DELIVER: of a group's message the group and what the chain needs; the count
 * of those that were given up before it; its number. */
static void put_optionals(struct al_node *node, size_t from, struct al_str group,
                          const struct ali_parcel *parcel, unsigned skipped)
{
    uint8_t count[2], number[8];

    if (parcel->post) {
        put_optional(node, from, AL_DELIVER_EXT_GROUP, group);
        put_optional(node, from, AL_DELIVER_EXT_PREV_HASH, parcel->post->prev_hash);
    }
    if (skipped) {
        al_put16(count, (uint16_t)skipped);
        put_optional(node, from, AL_DELIVER_EXT_GAP, al_str_of(count, sizeof(count)));
    }
    if (parcel->number) {
        al_put64(number, parcel->number);
        put_optional(node, from, AL_DELIVER_EXT_WORKFLOW_SEQ, al_str_of(number, sizeof(number)));
    }
}

static void put_deliver(struct al_node *node, uint32_t conn, struct al_msg_deliver *deliver,
                        const struct ali_parcel *parcel)
{
    size_t from = node->v.effects->data.size;
    struct al_str group = deliver->from;
    unsigned skipped = parcel->post ? 0 : parcel->record->flags >> ALI_SKIPPED_SHIFT;

    if (AL_PLANT(node, GAP_UNTOLD))
        skipped = 0;
    if (!parcel->post && !skipped && !parcel->number) {
        ALI_SEND(node, conn, deliver, deliver);
        return;
    }
    if (parcel->post)
        deliver->from = parcel->post->author;
    if (skipped)
        deliver->flags |= AL_DELIVER_GAP;
    if (ali_effects_room(node, AL_WIRE_HEADER_SIZE + al_size_deliver(deliver)) < 0 ||
        al_put_deliver(&node->v.effects->data, deliver) < 0)
        return;
    put_optionals(node, from, group, parcel, skipped);
    ali_effect_send(node, conn, from);
}

void ali_send_deliver(struct al_node *node, const struct ali_stream *stream, uint32_t index,
                      const struct ali_parcel *parcel)
{
    const struct ali_agent *from = ali_agent_at(node, stream->d.from);
    const struct ali_agent *to = ali_agent_at(node, stream->d.to);
    const struct ali_push *push = ali_push_at(stream, index);
    const struct ali_receiver *receiver = stream->v.flow->receiver;
    uint32_t conn = receiver->conn;
    bool is_head = push->seq == stream->d.runs.first_seq;
    bool redriven = parcel->record->seq && parcel->record->seq != parcel->seq;
    bool seen = push->seq <= stream->v.flow->seen_seq || redriven;
    bool follows = index && !AL_PLANT(node, FOLLOWS_UNMARKED);
    struct al_msg_deliver deliver = {
        .agent = to->d.id,
        .stream = stream->d.id,
        .seq = push->seq,
        .prev_seq = index ? ali_push_at(stream, index - 1)->seq : stream->d.prev_seq,
        .lease = push->lease,
        .lease_ms = push->lease_ms,
        .attempt = (uint16_t)(is_head ? stream->d.attempts + 1 : 1),
        .flags =
            (uint8_t)((seen ? AL_DELIVER_REDELIVERED : 0) | (follows ? AL_DELIVER_FOLLOWS : 0)),
        .priority = stream->d.priority,
        .admitted_ms = push->admitted_ms,
        .from = al_str_of(from->d.name, from->d.name_size),
        .label = al_str_of(stream->d.label, stream->d.label_size),
        .envelope = parcel->record->envelope};

    if (AL_PLANT(node, SHARED_SPLIT) && index && receiver->is_shared &&
        receiver->next->conn != AL_REF_NONE)
        conn = receiver->next->conn;
    if (deliver.prev_seq >= deliver.seq)
        ali_health_order(node);
    node->v.counters.redelivered += deliver.flags & AL_DELIVER_REDELIVERED;
    put_deliver(node, conn, &deliver, parcel);
}

int ali_push(struct al_node *node, ali_ref ref, const struct ali_parcel *parcel)
{
    struct ali_stream *stream = ali_stream_at(node, ref);
    struct ali_receiver *receiver = stream->v.flow->receiver;
    struct al_msg_envelope envelope;
    struct ali_terms terms;
    struct ali_push *out;

    if (ali_flow_reserve_push(node, stream) < 0)
        return -AL_E_NOMEM;
    if (al_decode_envelope(parcel->record->envelope, &envelope) < 0)
        return -AL_E_DAMAGED;
    if (!ali_breaker_passes(node, ref, parcel->kind))
        return -AL_E_BUSY;
    terms = parcel->kind == UINT16_MAX ? ali_terms_of(node, envelope.kind)
                                       : ali_terms_at(node, parcel->kind);
    out = ali_push_at(stream, stream->v.flow->pushed_count++);
    *out = (struct ali_push){
        .seq = parcel->seq,
        .lsn = stream->v.flow->next.lsn,
        .lease = node->d.epoch << 40 | (++node->v.lease_counter & ((1ull << 40) - 1)),
        .producer = parcel->record->producer,
        .id = envelope.message_id,
        .admitted_ms = parcel->record->wall_ms,
        .bytes = envelope.payload.n,
        .lease_ms = receiver->lease_ms ? receiver->lease_ms : terms.policy->ack_timeout_ms,
        .kind = parcel->kind,
        .notify = parcel->record->flags & AL_PUBLISH_NOTIFY};
    stream->v.flow->session = receiver->session;
    ali_breaker_pushed(node, ref, out);
    ali_send_deliver(node, stream, stream->v.flow->pushed_count - 1, parcel);
    receiver->out++;
    receiver->out_bytes += out->bytes;
    node->v.waiting--;
    node->v.leased++;
    ali_cursor_next(&stream->d.runs, &stream->v.flow->next);
    if (out->seq > stream->v.flow->seen_seq)
        stream->v.flow->seen_seq = out->seq;
    if (stream->v.flow->pushed_count == 1) {
        ali_flow_push(&receiver->busy, BUSY_LINK, stream->v.flow);
        stream->v.flow->is_busy = true;
        ali_lease_start(node, ref);
    }
    return 0;
}

/* Pushes the stream's newest message, if nothing is before it. */
static void push_newest(struct al_node *node, ali_ref ref, const struct ali_parcel *parcel)
{
    struct ali_stream *stream = ali_stream_at(node, ref);
    struct ali_flow *flow = ali_flow_get(node, ref);
    struct ali_receiver *receiver;

    if (!flow)
        return;
    ali_cursor_refresh(&stream->d.runs, &flow->next);
    if (flow->next.seq == parcel->seq && !flow->is_held && !flow->reading && !flow->again &&
        !ali_is_out_elsewhere(stream)) {
        receiver = find_spare(node, ali_agent_at(node, stream->d.to)->inbox, flow->receiver);
        if (receiver) {
            flow->receiver = receiver;
            if (ali_push(node, ref, parcel) == 0)
                return;
        }
    }
    ali_stream_ready(node, ref);
}

void ali_push_new(struct al_node *node, ali_ref ref, const struct ali_rec_publish *record,
                  uint16_t kind)
{
    struct ali_parcel parcel = {.record = record,
                                .seq = record->seq,
                                .kind = kind,
                                .number = ali_number_of(node, ref, record->seq)};

    push_newest(node, ref, &parcel);
}

void ali_push_post(struct al_node *node, ali_ref ref, const struct ali_rec_group_post *post,
                   uint16_t kind)
{
    struct ali_rec_publish record = {
        .seq = post->seq, .wall_ms = post->wall_ms, .envelope = post->envelope};
    struct ali_parcel parcel = {.record = &record, .seq = post->seq, .kind = kind, .post = post};

    push_newest(node, ref, &parcel);
}

void ali_push_volatile(struct al_node *node, ali_ref ref, const struct al_msg_publish *m)
{
    struct ali_stream *stream = ali_stream_at(node, ref);
    struct ali_agent *from = ali_agent_at(node, stream->d.from);
    struct ali_agent *to = ali_agent_at(node, stream->d.to);
    struct ali_receiver *receiver = &to->inbox->v.own;
    struct al_msg_deliver deliver = {.agent = to->d.id,
                                     .stream = stream->d.id,
                                     .attempt = 1,
                                     .priority = stream->d.priority,
                                     .admitted_ms = node->v.now.wall_ms,
                                     .from = al_str_of(from->d.name, from->d.name_size),
                                     .label = al_str_of(stream->d.label, stream->d.label_size),
                                     .envelope = m->envelope};

    while (receiver && !has_spare_credit(node, receiver))
        receiver = ali_receiver_next(to->inbox, receiver);
    if (!receiver) {
        node->v.counters.volatile_dropped++;
        return;
    }
    receiver->volatile_out++;
    node->v.counters.volatile_sent++;
    ALI_SEND(node, receiver->conn, deliver, &deliver);
}

/* ---- leases ------------------------------------------------------------------------------ */

void ali_lease_start(struct al_node *node, ali_ref ref)
{
    struct ali_stream *stream = ali_stream_at(node, ref);
    struct ali_push *head = ali_push_at(stream, 0);
    uint64_t now = ali_mono_ms(node), due;

    stream->v.flow->lease_ms = due = now + head->lease_ms;
    stream->v.flow->call_ms = ali_breaker_call_ms(node, head);
    if (stream->v.flow->call_ms < due)
        due = stream->v.flow->call_ms;
    head->hard_ms = now + AL_LEASE_MAX_MS;
    /* An armed timer that is earlier finds out when it fires: no re-arming per message. */
    if (!stream->v.flow->timer.is_armed || stream->v.flow->timer.deadline_ms > due + 1)
        ali_timer_set(node, ALI_TIMER_STREAM, ref, due - now);
}

static void not_busy(struct al_node *node, ali_ref ref)
{
    struct ali_stream *stream = ali_stream_at(node, ref);

    if (!stream->v.flow->is_busy)
        return;
    stream->v.flow->is_busy = false;
    ali_flow_unlink(&stream->v.flow->receiver->busy, BUSY_LINK, stream->v.flow);
    ali_stream_unbind(node, ref);
}

void ali_push_drop(struct al_node *node, ali_ref ref)
{
    struct ali_stream *stream = ali_stream_at(node, ref);
    struct ali_receiver *receiver = stream->v.flow->receiver;

    assert(stream->v.flow->pushed_count > 0);
    if (AL_PLANT(node, SHARED_CREDIT) && receiver->is_shared && receiver->next->out)
        receiver = receiver->next;
    receiver->out--;
    receiver->out_bytes -= ali_push_at(stream, 0)->bytes;
    node->v.leased--;
    stream->v.flow->pushed_first =
        (stream->v.flow->pushed_first + 1) & (stream->v.flow->pushed_cap - 1);
    if (--stream->v.flow->pushed_count) {
        ali_lease_start(node, ref);
    } else {
        not_busy(node, ref);
        ali_flow_shrink(node, stream->v.flow);
        ali_stream_ready(node, ref);
    }
    ali_agent_dirty(node, stream->d.to);
}

void ali_stream_forget_reading(struct al_node *node, struct ali_stream *stream)
{
    struct ali_flow *flow = stream->v.flow;

    flow->reading = 0;
    flow->receiver->planned -= flow->planned;
    flow->planned = 0;
    ali_stream_unbind(node, flow->stream);
    ali_agent_dirty(node, stream->d.to); /* the credit it had been promised serves other streams */
}

void ali_stream_recall(struct al_node *node, ali_ref ref, uint64_t tell_from_seq, int code)
{
    struct ali_stream *stream = ali_stream_at(node, ref);
    struct ali_receiver *receiver = stream->v.flow->receiver;
    struct al_msg_recall recall = {.agent = ali_agent_at(node, stream->d.to)->d.id,
                                   .stream = stream->d.id,
                                   .seq = tell_from_seq,
                                   .code = (uint16_t)code};
    uint32_t count = stream->v.flow->pushed_count;
    uint32_t conn = receiver->conn; /* which may be freed below */
    bool tell = tell_from_seq && count && conn != AL_REF_NONE &&
                ali_push_at(stream, count - 1)->seq >= tell_from_seq;

    for (uint32_t i = 0; i < count && !AL_PLANT(node, CREDIT_LEAK); i++) {
        receiver->out--;
        receiver->out_bytes -= ali_push_at(stream, i)->bytes;
    }
    node->v.leased -= count;
    node->v.waiting += count;
    stream->v.flow->pushed_count = 0;
    not_busy(node, ref);
    ali_stream_forget_reading(node, stream);
    stream->v.flow->again = 0;
    ali_stream_unready(node, ref);
    ali_stream_unbind(node, ref);
    stream->v.flow->next = ali_runs_begin(&stream->d.runs);
    ali_timer_cancel(node, ALI_TIMER_STREAM, ref);
    if (tell)
        ALI_SEND(node, conn, recall, &recall);
    ali_agent_dirty(node, stream->d.to); /* the credit that came back serves other streams */
}

void ali_stream_recall_tail(struct al_node *node, ali_ref ref, uint32_t index, int code)
{
    struct ali_stream *stream = ali_stream_at(node, ref);
    struct ali_receiver *receiver = stream->v.flow->receiver;
    uint64_t seq = ali_push_at(stream, index)->seq;
    struct al_msg_recall recall = {.agent = ali_agent_at(node, stream->d.to)->d.id,
                                   .stream = stream->d.id,
                                   .seq = seq,
                                   .code = (uint16_t)code};

    if (index == 0 || stream->v.flow->again) {
        ali_stream_recall(node, ref, ali_push_at(stream, 0)->seq, code);
        return;
    }
    for (uint32_t i = index; i < stream->v.flow->pushed_count; i++) {
        receiver->out--;
        receiver->out_bytes -= ali_push_at(stream, i)->bytes;
        node->v.leased--;
        node->v.waiting++;
    }
    stream->v.flow->pushed_count = index;
    ali_stream_forget_reading(node, stream);
    ali_stream_unready(node, ref);
    stream->v.flow->next = ali_runs_seek(&stream->d.runs, seq);
    if (receiver->conn != AL_REF_NONE)
        ALI_SEND(node, receiver->conn, recall, &recall);
    ali_agent_dirty(node, stream->d.to); /* the credit that came back serves other streams */
}

void ali_stream_drop_volatile(struct al_node *node, ali_ref ref)
{
    struct ali_stream *stream = ali_stream_at(node, ref);

    if (!node->v.loading) {
        if (ali_has_flow(stream))
            ali_stream_recall(node, ref, 0, 0);
        node->v.waiting -= ali_runs_count(&stream->d.runs) - stream->d.gone_count;
    }
    ali_flow_drop(node, ref);
    if (stream->v.watch_count)
        ali_waiter_drop_stream(node, stream->d.id);
}
