/* backlog.c - what waits is read back from the journal and pushed, and what is out once more.
 *
 * A backlog is read in batches: the stream leaves the ready list, a READ effect names the LSNs, and
 * when the records come they are pushed if nothing has changed meanwhile - the LSN under the
 * stream's cursor says so. Everything waits in lists. */
#include "core/deliver.h"
#include <stdio.h>

#define READ_BATCH 256u
#define MISSES_MAX 8u    /* reads of one stream that may find nothing, one after another */
#define AGE_MS     1000u /* a waiting level gains one priority per second: nothing starves */

/* ---- who is served ----------------------------------------------------------------------- */

/* The level that is served next: strict priority, with ageing. Returns its rank, 0: none is
 * ready. */
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

    if (!(receiver->ready_mask | inbox->v.own.ready_mask))
        return 0; /* before anything is asked: many may share the inbox */
    if (!ali_has_credit(node, receiver) || receiver->out + receiver->planned >= receiver->credit)
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

/* A message that was admitted may be forbidden by now: then it becomes a dead letter. Asked before
 * it is pushed; what is out stays with its receiver. Returns 1 if it has died, 0, or an error. */
static int refuse(struct al_node *node, ali_ref ref, const struct ali_parcel *parcel,
                  const struct al_msg_envelope *envelope)
{
    const struct ali_stream *stream = ali_stream_at(node, ref);
    ali_ref from = parcel->post ? ali_find_agent_name(node, parcel->post->author) : stream->d.from;
    ali_ref to = parcel->post ? stream->d.from : stream->d.to;
    struct ali_push what = {.seq = parcel->seq,
                            .producer = parcel->record->producer,
                            .id = envelope->message_id,
                            .admitted_ms = parcel->record->wall_ms,
                            .bytes = envelope->payload.n,
                            .kind = parcel->kind,
                            .notify = parcel->record->flags & AL_PUBLISH_NOTIFY};
    struct ali_death death = {.state = AL_STATE_DEAD, .code = AL_E_DENIED};
    char text[96] = "no rule allows it across namespaces any more";
    struct ali_verdict verdict;
    int r;

    if (from == AL_REF_NONE || (parcel->post && parcel->post->what != AL_GROUP_MESSAGE) ||
        AL_PLANT(node, ACL_WAITING_PASSES))
        return 0;
    verdict = ali_acl_verdict(node, from, to, ALI_ACL_SEND, envelope->kind);
    if (verdict.allowed)
        return 0;
    if (verdict.rule)
        snprintf(text, sizeof(text), "rule %llu denies it by now",
                 (unsigned long long)verdict.rule);
    death.reason = al_str_c(text);
    node->acl.denied_deliver++;
    r = ali_message_dead(node, ref, &what, &death);
    return r < 0 ? r : 1;
}

static int push_read(struct al_node *node, ali_ref ref, const struct al_event *event)
{
    struct ali_stream *stream = ali_stream_at(node, ref);

    ali_cursor_refresh(&stream->d.runs, &stream->v.flow->next);
    for (uint32_t i = 0; i < event->record_count; i++) {
        struct ali_rec_publish record;
        struct ali_rec_group_post post;
        struct ali_parcel parcel = {.record = &record};
        struct al_msg_envelope envelope;
        int r;

        while (stream->v.flow->next.seq < stream->d.runs.next_seq &&
               ali_seq_is_gone(node, stream, ref, stream->v.flow->next.seq))
            ali_cursor_next(&stream->d.runs, &stream->v.flow->next);
        if (stream->v.flow->next.seq == stream->d.runs.next_seq ||
            stream->v.flow->next.lsn != event->records[i].lsn ||
            !ali_has_credit(node, stream->v.flow->receiver) || ali_is_out_elsewhere(stream))
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
        r = refuse(node, ref, &parcel, &envelope);
        if (r < 0)
            return r;
        if (r == 0 && ali_push(node, ref, &parcel) < 0)
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
        struct ali_parcel parcel = {
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
        ali_send_deliver(node, stream, i, &parcel);
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
