/* cancel.c - a sender takes a message back that has not ended.
 *
 * What is out with a receiver is recalled, together with what is out behind it; what waits for its
 * time or its turn leaves its stream. The journal knows who sent a waiting message and whether its
 * end is to be told, the memory does not: its record is read first, and by the time it comes the
 * message may be out, or have ended. */
#include "core/internal.h"

/* What is out at this place, NULL if the message waits. */
static const struct ali_push *find_out(const struct ali_stream *stream, uint64_t seq,
                                       uint32_t *ret_index)
{
    for (uint32_t i = 0; i < stream->v.flow->pushed_count; i++) {
        if (ali_push_at(stream, i)->seq == seq) {
            *ret_index = i;
            return ali_push_at(stream, i);
        }
    }
    return NULL;
}

/* Cancels a message that is in its stream; `what` has its seq, id, producer, notify. */
static int cancel(struct al_node *node, ali_ref ref, const struct ali_push *what, uint64_t delayed)
{
    struct ali_stream *stream = ali_stream_at(node, ref);
    struct ali_push message = *what;
    struct ali_rec_cancel record = {.stream = stream->d.id,
                                    .seq = message.seq,
                                    .delayed = delayed,
                                    .wall_ms = node->v.now.wall_ms};
    struct al_msg_end end = {.message_id = message.id,
                             .stream = record.stream,
                             .seq = record.seq,
                             .state = AL_STATE_CANCELLED,
                             .end_ms = record.wall_ms};
    bool is_head = !delayed && message.seq == stream->d.runs.first_seq;
    uint32_t index, told;
    int r;

    record.attempts = is_head ? stream->d.attempts : 0;
    if (find_out(stream, message.seq, &index) && !AL_PLANT(node, CANCEL_NOT_RECALLED)) {
        record.attempts++;
        ali_stream_recall_tail(node, ref, index, AL_E_CANCELLED);
    }
    if (is_head && stream->v.flow->is_held) { /* it waited for its retry: the next one may go */
        stream->v.flow->is_held = false;
        ali_timer_cancel(node, ALI_TIMER_STREAM, ref);
    }
    r = ali_commit(node, ALI_REC_CANCEL, &record);
    ali_stream_ready(node, ref);
    if (r < 0)
        return r;
    if (!delayed)
        node->v.waiting--;
    end.attempts = record.attempts;
    if (delayed && stream->v.watch_count)
        ali_waiter_move(node, record.stream, delayed | ALI_KEY_SCHEDULED, record.seq);
    told = message.notify ? ali_send_end(node, message.producer, &end) : AL_REF_NONE;
    if (stream->v.watch_count)
        ali_waiter_tell(node, &end, told);
    return 0;
}

static int cancel_delayed(struct al_node *node, ali_ref ref)
{
    const struct ali_delayed *delayed = ali_delayed_at(node, ref);
    struct ali_push what = {
        .seq = ali_stream_at(node, delayed->d.stream)->d.runs.next_seq,
        .id = delayed->d.message_id,
        .producer = delayed->d.producer,
        .notify = delayed->d.notify,
    };

    if (AL_PLANT(node, CANCEL_IN_MEMORY)) {
        ali_timer_cancel(node, ALI_TIMER_DELAYED, ref);
        return 0;
    }
    return cancel(node, delayed->d.stream, &what, delayed->d.id);
}

/* Only who may send as the sender takes back. */
static int check_sender(const struct al_node *node, const struct ali_conn *conn, ali_ref ref)
{
    const struct ali_stream *stream = ali_stream_at(node, ref);

    if (stream->v.member != AL_REF_NONE || ali_agent_at(node, stream->d.to)->v.group != AL_REF_NONE)
        return -AL_E_UNSUPPORTED; /* everybody in a group gets everything */
    if (ali_may_act(node, conn, ali_agent_at(node, stream->d.from)))
        return 0;
    return ali_may_act(node, conn, ali_agent_at(node, stream->d.to)) ? -AL_E_NOT_OWNER
                                                                     : -AL_E_NOT_FOUND;
}

/* The message is to be read before it can be cancelled. */
static int plan(struct al_node *node, const struct ali_conn *conn, uint32_t request, ali_ref ref,
                uint64_t seq)
{
    const struct ali_stream *stream = ali_stream_at(node, ref);
    struct ali_read read = {.kind = ALI_READ_CANCEL,
                            .conn = conn->number,
                            .conn_serial = node->v.conn_serials[conn->number],
                            .client_request = request,
                            .stream = stream->d.id,
                            .seq = seq};
    uint64_t lsn = ali_runs_seek(&stream->d.runs, seq).lsn;

    return ali_effect_read(node, &read, &lsn, 1);
}

/* 0 if the stream has this message and it has not ended. */
static int check_pending(const struct al_node *node, ali_ref ref, uint64_t seq)
{
    const struct ali_stream *stream = ali_stream_at(node, ref);

    if (seq == 0 || seq >= stream->d.runs.next_seq)
        return -AL_E_NOT_FOUND;
    return seq < stream->d.runs.first_seq || ali_seq_is_gone(node, stream, ref, seq)
               ? -AL_E_ALREADY_ENDED
               : 0;
}

static ali_ref find_delayed_id(const struct al_node *node, const struct ali_conn *conn,
                               const struct al_id *id)
{
    for (ali_ref ref = 0; ref < node->delayed.end; ref++)
        if (al_pool_has(&node->delayed, ref) &&
            al_id_eq(&ali_delayed_at(node, ref)->d.message_id, id) &&
            check_sender(node, conn, ali_delayed_at(node, ref)->d.stream) == 0)
            return ref;
    return AL_REF_NONE;
}

int ali_handle_cancel(struct al_node *node, struct ali_conn *conn, const struct al_msg_cancel *m)
{
    bool by_id = !al_id_is_zero(&m->message_id);
    const struct ali_recent_id *recent = by_id ? ali_find_id(node, &m->message_id) : NULL;
    ali_ref delayed = by_id && !(recent && recent->seq)
                          ? find_delayed_id(node, conn, &m->message_id)
                          : AL_REF_NONE;
    uint64_t seq = recent ? recent->seq : by_id ? 0 : m->seq;
    ali_ref ref = ali_find_stream(node, recent ? recent->stream : by_id ? 0 : m->stream);
    const struct ali_push *out = NULL;
    uint32_t index;
    int r = ref == AL_REF_NONE ? -AL_E_NOT_FOUND : 0;

    if (delayed != AL_REF_NONE) {
        r = cancel_delayed(node, delayed);
        ali_send_done(node, conn, m->request, r, r == 0);
        return 0;
    }
    if (r == 0)
        r = check_sender(node, conn, ref);
    if (r == 0)
        r = check_pending(node, ref, seq);
    if (r == 0)
        out = find_out(ali_stream_at(node, ref), seq, &index);
    if (r == 0 && !out) {
        r = plan(node, conn, m->request, ref, seq);
        if (r == 0)
            return 0;
    }
    if (r == 0)
        r = cancel(node, ref, out, 0);
    ali_send_done(node, conn, m->request, r, r == 0);
    return 0;
}

void ali_cancel_read(struct al_node *node, struct ali_conn *conn, const struct ali_read *read,
                     const struct al_event *event)
{
    ali_ref ref = ali_find_stream(node, read->stream);
    struct ali_push what = {.seq = read->seq};
    struct ali_rec_publish publish;
    struct al_msg_envelope envelope;
    struct al_str payload;
    int r = ref == AL_REF_NONE ? -AL_E_ALREADY_ENDED : check_pending(node, ref, read->seq);
    if (r == 0 && (event->status < 0 || event->record_count != 1))
        r = -AL_E_BUSY; /* it was moved meanwhile: the same question finds it where it is now */
    if (r == 0 && (ali_unwrap(&event->records[0], ALI_REC_PUBLISH, &payload) < 0 ||
                   ali_decode_rec_publish(payload, &publish) < 0 ||
                   al_decode_envelope(publish.envelope, &envelope) < 0))
        r = -AL_E_DAMAGED;
    if (r == 0) {
        what.id = envelope.message_id;
        what.producer = publish.producer;
        what.notify = publish.flags & AL_PUBLISH_NOTIFY;
        r = cancel(node, ref, &what, 0);
    }
    ali_send_done(node, conn, read->client_request, r, r == 0);
}
