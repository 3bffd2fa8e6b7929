/* deliver.c - from the inbox to the receiver: ready streams, pushes, reading bodies back.
 *
 * A message that comes in while its receiver waits goes out at once, from the bytes at hand. A
 * backlog is read back from the journal in batches: the stream leaves the ready list, a READ effect
 * names the LSNs, and when the records come they are pushed if nothing has changed meanwhile - the
 * LSN under the stream's cursor says so. Everything waits in lists. */
#include "core/internal.h"
#include <assert.h>

#define READY_LINK offsetof(struct ali_flow, ready)
#define BUSY_LINK  offsetof(struct ali_flow, busy)
#define READ_BATCH 256u
#define MISSES_MAX 8u    /* reads of one stream that may find nothing, one after another */
#define AGE_MS     1000u /* a waiting level gains one priority per second: nothing starves */

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

/* The level that is served next: strict priority, with ageing. Returns its rank, 0: none is ready.
 */
static uint64_t pick_level(const struct al_node *node, const struct ali_receiver *receiver,
                           unsigned *ret_level)
{
    uint64_t now = ali_mono_ms(node), best_rank = 0;

    for (unsigned level = 0; level < AL_PRIORITY_COUNT; level++) {
        uint64_t rank;

        if (!(receiver->ready_mask >> level & 1))
            continue;
        rank = 1 + level + (now - receiver->levels->since_ms[level]) / AGE_MS;
        if (rank >= best_rank) {
            best_rank = rank;
            *ret_level = level;
        }
    }
    return best_rank;
}

/* ---- pushing ----------------------------------------------------------------------------- */

static bool has_credit(const struct al_node *node, const struct ali_receiver *receiver)
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
    return has_credit(node, receiver) &&
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

/* What is known of a message that is about to be pushed. */
struct parcel {
    const struct ali_rec_publish *record;
    uint64_t seq; /* may differ from the record's: redriven, or scheduled */
    uint16_t kind;
    const struct ali_rec_group_post *post; /* NULL, or what a group's record says besides */
    uint32_t number;                       /* in its workflow, 0 */
};

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
                          const struct parcel *parcel, unsigned skipped)
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
                        const struct parcel *parcel)
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

static void send_deliver(struct al_node *node, const struct ali_stream *stream, uint32_t index,
                         const struct parcel *parcel)
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

/* Pushes the message under the stream's cursor. 0 or -AL_E_NOMEM. */
static int push(struct al_node *node, ali_ref ref, const struct parcel *parcel)
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
    send_deliver(node, stream, stream->v.flow->pushed_count - 1, parcel);
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
static void push_newest(struct al_node *node, ali_ref ref, const struct parcel *parcel)
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
            if (push(node, ref, parcel) == 0)
                return;
        }
    }
    ali_stream_ready(node, ref);
}

void ali_push_new(struct al_node *node, ali_ref ref, const struct ali_rec_publish *record,
                  uint16_t kind)
{
    struct parcel parcel = {.record = record,
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
    struct parcel parcel = {.record = &record, .seq = post->seq, .kind = kind, .post = post};

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

/* ---- reading a backlog back -------------------------------------------------------------- */

/* Asks for the bodies of the stream's next messages, for this receiver. */
static int plan_read(struct al_node *node, ali_ref ref, struct ali_receiver *receiver,
                     uint32_t want)
{
    struct ali_stream *stream = ali_stream_at(node, ref);
    struct ali_cursor cursor = stream->v.flow->next;
    struct ali_read read = {.kind = ALI_READ_STREAM, .stream = stream->d.id};
    uint64_t lsns[READ_BATCH];
    uint32_t count = 0;
    int r;

    ali_cursor_refresh(&stream->d.runs, &cursor);
    while (count < want && cursor.seq < stream->d.runs.next_seq) {
        if (!ali_seq_is_gone(node, stream, ref, cursor.seq))
            lsns[count++] = cursor.lsn;
        ali_cursor_next(&stream->d.runs, &cursor);
    }
    ali_stream_unready(node, ref);
    if (count == 0) { /* only what is gone: step over it */
        stream->v.flow->next = cursor;
        return 0;
    }
    r = ali_effect_read(node, &read, lsns, count);
    if (r < 0)
        return r;
    stream->v.flow->receiver = receiver;
    stream->v.flow->reading = read.request;
    stream->v.flow->planned = count;
    receiver->planned += count;
    return 0;
}

/* Reads back for one receiver what is next: of its streams, or of those that are nobody's. Returns
 * 1 if it did, 0: there is nothing or no credit; or an error. */
static int serve(struct al_node *node, struct ali_receiver *receiver)
{
    struct ali_inbox *inbox = ali_agent_at(node, receiver->agent)->inbox;
    struct ali_receiver *from = receiver;
    unsigned level = 0, other = 0;
    uint64_t rank, want;
    int r;

    if (!has_credit(node, receiver) || receiver->out + receiver->planned >= receiver->credit)
        return 0;
    rank = pick_level(node, receiver, &level);
    if (receiver->is_shared && pick_level(node, &inbox->v.own, &other) > rank) {
        from = &inbox->v.own;
        level = other;
    } else if (!rank) {
        return 0;
    }
    want = receiver->credit - receiver->out - receiver->planned;
    if (inbox->v.gate) { /* one probe at a time */
        if (ali_inbox_out(inbox).planned)
            return 0;
        want = 1;
    }
    r = plan_read(node, from->levels->ready[level].head->stream, receiver,
                  want < READ_BATCH ? (uint32_t)want : READ_BATCH);
    from->levels->since_ms[level] = ali_mono_ms(node);
    return r < 0 ? r : 1;
}

/* Those that share an inbox get a batch each, in turn. */
static int serve_in_turn(struct al_node *node, struct ali_inbox *inbox)
{
    uint32_t idle = 0;
    int r = 0;

    while (r >= 0 && idle < inbox->v.shared_count) {
        r = serve(node, inbox->v.shared);
        idle = r > 0 ? 0 : idle + 1;
        inbox->v.shared = inbox->v.shared->next;
    }
    return r < 0 ? r : 0;
}

static int pump(struct al_node *node, ali_ref ref)
{
    struct ali_inbox *inbox = ali_agent_at(node, ref)->inbox;
    int r = 1;

    if (inbox->v.shared)
        return serve_in_turn(node, inbox);
    while (r > 0 && inbox->v.own.ready_mask)
        r = serve(node, &inbox->v.own);
    return r < 0 ? r : 0;
}

int ali_pump_dirty(struct al_node *node)
{
    int r = 0;

    for (uint32_t i = 0; i < node->v.dirty_count; i++) {
        ali_ref ref = node->v.dirty[i];

        if (!al_pool_has(&node->agents, ref))
            continue;
        ali_agent_at(node, ref)->inbox->v.dirty = false;
        if (r == 0)
            r = pump(node, ref);
    }
    node->v.dirty_count = 0;
    return r;
}

static int push_read(struct al_node *node, ali_ref ref, const struct al_event *event)
{
    struct ali_stream *stream = ali_stream_at(node, ref);

    ali_cursor_refresh(&stream->d.runs, &stream->v.flow->next);
    for (uint32_t i = 0; i < event->record_count; i++) {
        struct ali_rec_publish record;
        struct ali_rec_group_post post;
        struct parcel parcel = {.record = &record};
        struct al_msg_envelope envelope;

        while (stream->v.flow->next.seq < stream->d.runs.next_seq &&
               ali_seq_is_gone(node, stream, ref, stream->v.flow->next.seq))
            ali_cursor_next(&stream->d.runs, &stream->v.flow->next);
        if (stream->v.flow->next.seq == stream->d.runs.next_seq ||
            stream->v.flow->next.lsn != event->records[i].lsn ||
            !has_credit(node, stream->v.flow->receiver) || ali_is_out_elsewhere(stream))
            break;
        if (ali_unwrap_message(&event->records[i], &record, &post) < 0 ||
            (post.group ? post.group != ali_agent_at(node, stream->d.from)->d.id
                        : record.stream != stream->d.id) ||
            al_decode_envelope(record.envelope, &envelope) < 0)
            return -AL_E_DAMAGED;
        parcel.post = post.group ? &post : NULL;
        parcel.seq = stream->v.flow->next.seq;
        parcel.number = ali_number_of(node, ref, parcel.seq);
        parcel.kind = ali_metric_find(node, envelope.kind);
        if (push(node, ref, &parcel) < 0)
            break;
    }
    ali_stream_ready(node, ref);
    return 0;
}

/* ---- a receiver that came back ----------------------------------------------------------- */

/* What was on its way when the connection broke is lost to the receiver, though its leases hold. It
 * is sent again before anything new of its stream. */
static int plan_again(struct al_node *node, ali_ref ref)
{
    struct ali_stream *stream = ali_stream_at(node, ref);
    struct ali_read read = {.kind = ALI_READ_AGAIN, .stream = stream->d.id};
    uint64_t lsns[READ_BATCH];
    uint32_t count = 0;
    int r;

    stream->v.flow->again = 0;
    for (uint32_t i = 0; i < stream->v.flow->pushed_count && count < READ_BATCH; i++) {
        const struct ali_push *push = ali_push_at(stream, i);

        if (push->seq >= stream->v.flow->again_next && push->seq <= stream->v.flow->again_end)
            lsns[count++] = push->lsn;
    }
    if (count == 0) {
        ali_stream_ready(node, ref);
        return 0;
    }
    r = ali_effect_read(node, &read, lsns, count);
    if (r < 0)
        return r;
    stream->v.flow->again = read.request;
    ali_stream_unready(node, ref);
    return 0;
}

int ali_push_again(struct al_node *node, const struct ali_receiver *receiver)
{
    struct ali_flow *flow = receiver->busy.head;
    int r = 0;

    for (; flow && r == 0; flow = flow->busy.next) {
        const struct ali_stream *stream = ali_stream_at(node, flow->stream);

        if (ali_is_out_elsewhere(stream))
            continue;
        flow->again_next = ali_push_at(stream, 0)->seq;
        flow->again_end = ali_push_at(stream, flow->pushed_count - 1)->seq;
        r = plan_again(node, flow->stream);
    }
    return r;
}

/* The first message from this sequence on that is out with this connection; 0: none. */
static uint64_t first_out(const struct ali_conn *conn, const struct ali_stream *stream,
                          uint64_t start)
{
    uint32_t i = 0;

    if (!stream->v.flow->pushed_count || stream->v.flow->receiver->conn != conn->number ||
        ali_is_out_elsewhere(stream))
        return 0;
    while (i < stream->v.flow->pushed_count && ali_push_at(stream, i)->seq < start)
        i++;
    return i < stream->v.flow->pushed_count ? ali_push_at(stream, i)->seq : 0;
}

int ali_push_range(struct al_node *node, const struct ali_conn *conn, ali_ref ref, uint64_t start,
                   uint64_t end)
{
    struct ali_stream *stream = ali_stream_at(node, ref);
    struct ali_flow *flow = stream->v.flow;
    uint64_t first = first_out(conn, stream, start);
    struct al_msg_recall recall = {.agent = ali_agent_at(node, stream->d.to)->d.id,
                                   .stream = stream->d.id,
                                   .seq = start,
                                   .code = AL_E_CANCELLED};

    node->v.counters.asked_again++;
    if (!first) { /* it was settled, or recalled meanwhile; so was what the receiver holds */
        if (!AL_PLANT(node, GAP_UNANSWERED))
            ALI_SEND(node, conn->number, recall, &recall);
        return 0;
    }
    if (end < first) /* its prev_seq says that nothing is missing before it */
        end = first;
    if (flow->again) { /* of the other range nothing is left out */
        flow->again_next = start < flow->again_next ? start : flow->again_next;
        flow->again_end = end > flow->again_end ? end : flow->again_end;
        return 0;
    }
    flow->again_next = start;
    flow->again_end = end;
    return plan_again(node, ref);
}

/* What of the answer is still out, in order. A message whose record was carried meanwhile is read
 * at its new place before anything behind it goes out. */
static int send_again(struct al_node *node, ali_ref ref, const struct al_event *event)
{
    struct ali_stream *stream = ali_stream_at(node, ref);
    uint32_t at = 0;

    if (stream->v.flow->receiver->conn == AL_REF_NONE || ali_is_out_elsewhere(stream)) {
        stream->v.flow->again = 0; /* gone again */
        ali_stream_ready(node, ref);
        return 0;
    }
    for (uint32_t i = 0; i < stream->v.flow->pushed_count; i++) {
        const struct ali_push *push = ali_push_at(stream, i);
        struct ali_rec_publish record;
        struct ali_rec_group_post post;
        struct parcel parcel = {
            .record = &record, .seq = push->seq, .number = ali_number_of(node, ref, push->seq)};

        if (push->seq < stream->v.flow->again_next || push->seq > stream->v.flow->again_end)
            continue;
        while (at < event->record_count && event->records[at].lsn != push->lsn)
            at++; /* settled meanwhile */
        if (at == event->record_count)
            break;
        if (ali_unwrap_message(&event->records[at], &record, &post) < 0)
            return -AL_E_DAMAGED;
        parcel.post = post.group ? &post : NULL;
        send_deliver(node, stream, i, &parcel);
        stream->v.flow->again_next = parcel.seq + 1;
    }
    return plan_again(node, ref);
}

/* The records were settled or carried while they were being read, and their segment went. They are
 * asked for where they are now; again and again in vain they cannot be. */
static int read_missed(struct al_node *node, ali_ref ref, bool again, int status)
{
    struct ali_stream *stream = ali_stream_at(node, ref);

    if (status != -AL_E_NOT_FOUND || ++stream->v.flow->misses > MISSES_MAX)
        return status;
    if (!again)
        ali_stream_forget_reading(node, stream);
    else if (stream->v.flow->receiver->conn != AL_REF_NONE && !ali_is_out_elsewhere(stream))
        return plan_again(node, ref);
    else
        stream->v.flow->again = 0;
    ali_stream_ready(node, ref);
    return 0;
}

int ali_read_done(struct al_node *node, const struct al_event *event)
{
    struct ali_receiver *receiver;
    struct ali_stream *stream;
    struct ali_read read;
    uint32_t place = (uint32_t)event->request - 1;
    ali_ref ref;

    if (!al_pool_has(&node->v.reads, place))
        return 0;
    read = *(struct ali_read *)al_pool_at(&node->v.reads, place);
    if (read.request != event->request)
        return 0;
    al_pool_put(&node->v.reads, place);
    if (read.kind != ALI_READ_STREAM && read.kind != ALI_READ_AGAIN)
        return ali_query_read_done(node, &read, event);
    ref = ali_find_stream(node, read.stream);
    if (ref == AL_REF_NONE)
        return 0;
    stream = ali_stream_at(node, ref);
    if (read.request !=
        (read.kind == ALI_READ_AGAIN ? stream->v.flow->again : stream->v.flow->reading))
        return 0; /* recalled meanwhile */
    if (event->status < 0)
        return read_missed(node, ref, read.kind == ALI_READ_AGAIN, event->status);
    stream->v.flow->misses = 0;
    if (read.kind == ALI_READ_AGAIN)
        return send_again(node, ref, event);
    receiver = stream->v.flow->receiver->conn == AL_REF_NONE ? NULL : stream->v.flow->receiver;
    ali_stream_forget_reading(node, stream); /* now it may be anybody's */
    if (stream->v.flow->again)
        return 0; /* what is out comes first; this is read once more behind it */
    if (receiver)
        stream->v.flow->receiver = receiver;
    return push_read(node, ref, event);
}
