/* settle.c - what receivers say about their deliveries: ACK, NACK, EXTEND, PART, SETTLE.
 *
 * Plain acks of one stream are collected into one record per step; whatever else happens first
 * flushes that run, so everybody but the ack path sees settled state. */
#include "core/internal.h"

/* ---- acks -------------------------------------------------------------------------------- */

int ali_acks_flush(struct al_node *node)
{
    struct ali_ack_run run = node->v.acks;
    struct ali_rec_ack record = {.stream = run.stream_id,
                                 .last_seq = run.last_seq,
                                 .count = run.count,
                                 .status = AL_STATUS_SUCCESS,
                                 .attempts = 1,
                                 .wall_ms = node->v.now.wall_ms};
    struct al_msg_acked acked = {.agent = run.agent_id,
                                 .stream = run.stream_id,
                                 .seq = run.first_seq,
                                 .count = run.count,
                                 .last_seq = run.last_seq};
    int r;

    if (!run.count)
        return 0;
    node->v.acks.count = 0;
    r = ali_keep_flush(node, run.stream_id);
    if (r == 0)
        r = ali_commit(node, ALI_REC_ACK, &record);
    if (r < 0) {
        node->v.effects->failed = true; /* what is out no longer fits what is pending: stop */
        return r;
    }
    ALI_SEND(node, run.conn, acked, &acked);
    ali_stream_settled(node, run.stream);
    return 0;
}

/* A pushed message and where it stands in its stream. */
struct place {
    ali_ref stream;
    uint32_t index;
};

/* Whatever its lease is. */
static int find_seq(struct al_node *node, uint32_t stream_id, uint64_t seq, struct place *ret_place)
{
    ali_ref ref = ali_find_stream(node, stream_id);
    struct ali_stream *stream;
    uint32_t low = 0, high;

    if (ref == AL_REF_NONE)
        return -AL_E_NOT_FOUND;
    stream = ali_stream_at(node, ref);
    high = stream->v.flow->pushed_count;
    while (low < high && ali_push_at(stream, low)->seq != seq) { /* sequences rise */
        uint32_t middle = low + (high - low) / 2;

        if (ali_push_at(stream, middle)->seq < seq)
            low = middle + 1;
        else if (ali_push_at(stream, middle)->seq == seq)
            low = middle;
        else
            high = middle;
    }
    if (low >= high)
        return -AL_E_LEASE_LOST;
    *ret_place = (struct place){ref, low};
    return 0;
}

static int find_pushed(struct al_node *node, uint32_t stream_id, uint64_t seq, uint64_t lease,
                       struct place *ret_place)
{
    struct place place;
    int r = find_seq(node, stream_id, seq, &place);

    if (r < 0)
        return r;
    if (ali_push_at(ali_stream_at(node, place.stream), place.index)->lease != lease &&
        !AL_PLANT(node, STALE_LEASE))
        return -AL_E_LEASE_LOST;
    *ret_place = place;
    return 0;
}

static void count_success(struct al_node *node, ali_ref stream, const struct ali_push *push)
{
    ali_breaker_outcome(node, stream, push->kind, true);
    node->v.counters.delivered++;
    if (push->kind != UINT16_MAX) {
        struct ali_metric *row = &node->v.metrics[push->kind];

        row->success++;
        ali_metric_end(node, row, push->admitted_ms);
    }
}

/* Adds the head of the stream to the run of plain acks. */
static int ack_plainly(struct al_node *node, const struct ali_agent *to, ali_ref ref)
{
    struct ali_stream *stream = ali_stream_at(node, ref);
    const struct ali_push *push = ali_push_at(stream, 0);
    struct ali_ack_run *run = &node->v.acks;

    if (run->count && (run->stream != ref || run->conn != stream->v.flow->receiver->conn)) {
        int r = ali_acks_flush(node);

        if (r < 0)
            return r;
    }
    if (!run->count)
        *run = (struct ali_ack_run){.stream = ref,
                                    .agent_id = to->d.id,
                                    .stream_id = stream->d.id,
                                    .conn = stream->v.flow->receiver->conn,
                                    .first_seq = push->seq};
    if (ali_keep_add(node, stream, push) < 0)
        return -AL_E_NOMEM;
    run->count++;
    run->last_seq = push->seq;
    count_success(node, ref, push);
    ali_push_drop(node, ref);
    return 0;
}

static void send_acked(struct al_node *node, const struct ali_conn *conn, uint32_t agent,
                       uint32_t stream, uint64_t seq)
{
    struct al_msg_acked acked = {
        .agent = agent, .stream = stream, .seq = seq, .count = 1, .last_seq = seq};

    ALI_SEND(node, conn->number, acked, &acked);
}

void ali_tell_end(struct al_node *node, const struct ali_stream *stream,
                  const struct ali_push *push, const struct al_msg_end *end)
{
    uint32_t told = push->notify ? ali_send_end(node, push->producer, end) : AL_REF_NONE;

    if (stream->v.watch_count)
        ali_waiter_tell(node, end, told);
}

/* Ends the head with everything that the receiver said about it. conn may be NULL: not attached. */
static int ack_in_detail(struct al_node *node, const struct ali_conn *conn, ali_ref ref,
                         const struct al_msg_ack *m)
{
    struct ali_stream *stream = ali_stream_at(node, ref);
    struct ali_push push;
    struct al_msg_end end;
    struct ali_rec_ack record;
    int r = ali_acks_flush(node);

    if (r < 0)
        return r;
    push = *ali_push_at(stream, 0);
    record = (struct ali_rec_ack){.stream = stream->d.id,
                                  .last_seq = push.seq,
                                  .count = 1,
                                  .status = m->status,
                                  .attempts = (uint16_t)(stream->d.attempts + 1),
                                  .wall_ms = node->v.now.wall_ms,
                                  .reason = m->reason,
                                  .response_type = m->response_type,
                                  .metadata = m->metadata,
                                  .response = m->response,
                                  .attempts_log = al_str_of(ali_trouble_of(stream)->log.data,
                                                            ali_trouble_of(stream)->log.size)};
    end = (struct al_msg_end){.message_id = push.id,
                              .stream = record.stream,
                              .seq = push.seq,
                              .state = m->status == AL_STATUS_PARTIAL ? AL_STATE_PARTIAL
                                                                      : AL_STATE_DELIVERED,
                              .attempts = record.attempts,
                              .end_ms = record.wall_ms,
                              .reason = m->reason,
                              .response_type = m->response_type,
                              .response = m->response};
    r = ali_commit(node, ALI_REC_ACK, &record);
    if (r < 0)
        return r;
    count_success(node, ref, &push);
    ali_push_drop(node, ref);
    if (conn)
        send_acked(node, conn, m->agent, record.stream, push.seq);
    ali_tell_end(node, stream, &push, &end);
    ali_stream_settled(node, ref);
    return 0;
}

/* Likewise, and keeps it for replay if the stream does that. */
static int keep_and_end(struct al_node *node, const struct ali_conn *conn, ali_ref ref,
                        const struct al_msg_ack *m)
{
    const struct ali_stream *stream = ali_stream_at(node, ref);
    int r = ali_acks_flush(node);

    if (r == 0)
        r = ali_keep_one(node, stream, ali_push_at(stream, 0)->seq);
    return r < 0 ? r : ack_in_detail(node, conn, ref, m);
}

/* Settles the message at place well, and everything before it. */
static int settle_well(struct al_node *node, const struct ali_conn *conn, struct place place,
                       const struct al_msg_ack *m)
{
    struct ali_stream *stream = ali_stream_at(node, place.stream);
    const struct ali_agent *to = ali_agent_at(node, stream->d.to);
    struct al_msg_ack bare = {.agent = m->agent, .status = AL_STATUS_SUCCESS};

    for (uint32_t i = 0; i <= place.index; i++) {
        const struct ali_push *push = ali_push_at(stream, 0);
        const struct al_msg_ack *one = i == place.index ? m : &bare;
        /* While a run is open its first message stands for the head's attempts. */
        bool in_run = node->v.acks.count && node->v.acks.stream == place.stream;
        bool plain = one->status == AL_STATUS_SUCCESS && !one->reason.n && !one->response.n &&
                     !one->metadata.n && !push->notify && !stream->v.watch_count &&
                     (in_run || stream->d.attempts == 0);
        int r = plain ? ack_plainly(node, to, place.stream)
                      : keep_and_end(node, conn, place.stream, one);

        if (r < 0)
            return r;
    }
    return 0;
}

static int check_ack(const struct al_node *node, const struct al_msg_ack *m)
{
    if (m->status < AL_STATUS_SUCCESS || m->status > AL_STATUS_FAILED ||
        m->reason.n > AL_REASON_MAX || !al_utf8_is_valid(m->reason) ||
        !al_text_is_plain(m->response_type))
        return -AL_E_INVALID;
    if (m->response.n > AL_RESPONSE_MAX || m->metadata.n > AL_HEADERS_MAX ||
        m->response.n > node->config.payload_max)
        return -AL_E_TOO_LARGE;
    return 0;
}

/* The place of what a receiver has out under this lease. */
static int find_held(struct al_node *node, const struct ali_receiver *receiver, uint32_t stream_id,
                     uint64_t seq, uint64_t lease, struct place *ret_place)
{
    ali_ref ref = ali_find_stream(node, stream_id);
    const struct ali_flow *flow;

    if (ref == AL_REF_NONE || ali_stream_at(node, ref)->d.to != receiver->agent)
        return -AL_E_NOT_FOUND;
    flow = ali_stream_at(node, ref)->v.flow;
    if (flow->pushed_count && flow->receiver != receiver)
        return -AL_E_LEASE_LOST; /* another one that shares the inbox has the stream now */
    return find_pushed(node, stream_id, seq, lease, ret_place);
}

/* Ends the head badly, as the receiver asked. */
static int settle_failed(struct al_node *node, struct place place, struct al_str reason)
{
    const struct ali_stream *stream = ali_stream_at(node, place.stream);
    int r = place.index ? -AL_E_OUT_OF_ORDER : ali_acks_flush(node);

    if (r < 0)
        return r;
    ali_breaker_outcome(node, place.stream, ali_push_at(stream, 0)->kind, false);
    return ali_message_dead(node, place.stream, ali_push_at(stream, 0),
                            &(struct ali_death){AL_STATE_FAILED, AL_E_CANCELLED, reason, NULL});
}

/* The message that ACK, NACK, EXTEND and PART name, and the lease that they name it by. */
struct leased {
    uint32_t agent, stream;
    uint64_t seq, lease;
};
#define LEASED(m) .agent = (m)->agent, .stream = (m)->stream, .seq = (m)->seq, .lease = (m)->lease

static void settle_refused(struct al_node *node, struct ali_conn *conn, const struct leased *what,
                           int error)
{
    struct al_msg_settle_refused refused = {LEASED(what), .code = (uint16_t)-error};

    ALI_SEND(node, conn->number, settle_refused, &refused);
}

/* Where it is out, if this connection holds the lease. */
static int find_leased(struct al_node *node, const struct ali_conn *conn, const struct leased *what,
                       struct place *ret_place)
{
    const struct ali_receiver *receiver = ali_find_receiver(node, conn, what->agent);

    return receiver ? find_held(node, receiver, what->stream, what->seq, what->lease, ret_place)
                    : -AL_E_NOT_ATTACHED;
}

int ali_handle_ack(struct al_node *node, struct ali_conn *conn, const struct al_msg_ack *m)
{
    struct ali_receiver *receiver = ali_find_receiver(node, conn, m->agent);
    struct place place = {0};
    int r = receiver ? check_ack(node, m) : -AL_E_NOT_ATTACHED;

    if (r == 0 && m->seq == 0) { /* volatile: only its credit comes back */
        if (receiver->volatile_out)
            receiver->volatile_out--;
        ali_agent_dirty(node, receiver->agent);
        return 0;
    }
    if (r == 0)
        r = find_held(node, receiver, m->stream, m->seq, m->lease, &place);
    if (r == 0 && place.index && !(m->flags & AL_ACK_CUMULATIVE) &&
        !AL_PLANT(node, ACK_OUT_OF_ORDER))
        r = -AL_E_OUT_OF_ORDER;
    if (r == 0)
        r = m->status == AL_STATUS_FAILED ? settle_failed(node, place, m->reason)
                                          : settle_well(node, conn, place, m);
    if (r < 0) {
        settle_refused(node, conn, &(struct leased){LEASED(m)}, r);
    } else if (m->status == AL_STATUS_FAILED) {
        send_acked(node, conn, m->agent, m->stream, m->seq);
    }
    return 0;
}

/* ---- acks of a commit -------------------------------------------------------------------- */

int ali_ack_part_check(struct al_node *node, struct ali_conn *conn, ali_ref agent,
                       const struct al_msg_ack *m, uint32_t before)
{
    const struct ali_receiver *receiver = ali_receiver_on(ali_agent_at(node, agent)->inbox, conn);
    struct place place = {0};
    int r = receiver ? check_ack(node, m) : -AL_E_NOT_ATTACHED;

    if (r == 0 && (m->flags || m->seq == 0))
        r = -AL_E_INVALID;
    if (r == 0)
        r = find_held(node, receiver, m->stream, m->seq, m->lease, &place);
    return r == 0 && place.index != before ? -AL_E_OUT_OF_ORDER : r;
}

int ali_ack_part(struct al_node *node, struct ali_conn *conn, const struct al_msg_ack *m)
{
    struct place place = {.stream = ali_find_stream(node, m->stream)};
    int r;

    if (m->status != AL_STATUS_FAILED)
        return ack_in_detail(node, conn, place.stream, m);
    r = settle_failed(node, place, m->reason);
    if (r == 0)
        send_acked(node, conn, m->agent, m->stream, m->seq);
    return r;
}

/* ---- NACK, EXTEND, SETTLE ---------------------------------------------------------------- */

static int nack(struct al_node *node, struct place place, uint32_t retry_after_ms,
                struct al_str reason)
{
    if (place.index)
        return -AL_E_OUT_OF_ORDER;
    if (reason.n > AL_REASON_MAX || !al_utf8_is_valid(reason) ||
        retry_after_ms > AL_RETRY_CAP_MAX_MS)
        return -AL_E_INVALID;
    return ali_head_failed(node, place.stream, AL_E_CANCELLED, retry_after_ms, reason);
}

static int extend(struct al_node *node, struct place place, uint32_t lease_ms, uint16_t retrying)
{
    struct ali_stream *stream = ali_stream_at(node, place.stream);
    struct ali_push *push = ali_push_at(stream, place.index);
    uint64_t until = ali_mono_ms(node) + (lease_ms ? lease_ms : push->lease_ms);

    if (lease_ms > AL_LEASE_MAX_MS)
        return -AL_E_INVALID;
    push->retrying = retrying;
    if (place.index) { /* its clock does not run yet */
        push->lease_ms = lease_ms ? lease_ms : push->lease_ms;
        return 0;
    }
    stream->v.flow->lease_ms = until < push->hard_ms ? until : push->hard_ms;
    if (stream->v.flow->call_ms)
        stream->v.flow->call_ms = ali_breaker_call_ms(node, push);
    if (stream->v.flow->timer.deadline_ms > stream->v.flow->lease_ms + 1)
        ali_timer_set(node, ALI_TIMER_STREAM, place.stream,
                      stream->v.flow->lease_ms - ali_mono_ms(node));
    return 0;
}

int ali_handle_nack(struct al_node *node, struct ali_conn *conn, const struct al_msg_nack *m)
{
    struct place place;
    int r = find_leased(node, conn, &(struct leased){LEASED(m)}, &place);

    if (r == 0)
        r = nack(node, place, m->retry_after_ms, m->reason);
    if (r < 0) {
        settle_refused(node, conn, &(struct leased){LEASED(m)}, r);
    } else if (ali_find_ended(node, m->stream, m->seq)) { /* that was its last attempt */
        send_acked(node, conn, m->agent, m->stream, m->seq);
    }
    return 0;
}

int ali_handle_extend(struct al_node *node, struct ali_conn *conn, const struct al_msg_extend *m)
{
    struct place place;
    int r = find_leased(node, conn, &(struct leased){LEASED(m)}, &place);

    if (r == 0)
        r = extend(node, place, m->lease_ms, m->retrying);
    if (r < 0)
        settle_refused(node, conn, &(struct leased){LEASED(m)}, r);
    return 0;
}

/* Passes a part of a reply on. It is no record: what counts is the ack, which has all parts in its
 * response. Who is not there now gets them with the end. */
static int pass_part(struct al_node *node, struct place place, const struct al_msg_part *m)
{
    const struct ali_stream *stream = ali_stream_at(node, place.stream);
    const struct ali_push *push = ali_push_at(stream, place.index);
    struct al_msg_reply_part part = {.message_id = push->id,
                                     .stream = m->stream,
                                     .seq = m->seq,
                                     .attempt = m->attempt,
                                     .part = m->part,
                                     .data = m->data};

    if (m->part == 0 || m->data.n == 0)
        return -AL_E_INVALID;
    if (m->data.n > AL_PART_MAX || m->part > AL_PARTS_MAX)
        return -AL_E_TOO_LARGE;
    if (AL_PLANT(node, PART_UNHEARD) && stream->d.attempts)
        return 0;
    if (AL_PLANT(node, PART_ASTRAY) &&
        ali_agent_at(node, stream->d.from)->inbox->v.own.conn != AL_REF_NONE)
        ALI_SEND(node, ali_agent_at(node, stream->d.from)->inbox->v.own.conn, reply_part, &part);
    else if (push->notify && ali_send_reply_part(node, push->producer, &part))
        node->v.counters.parts++;
    else
        node->v.counters.parts_dropped++;
    if (AL_PLANT(node, PART_TWICE) && stream->v.watch_count)
        (void)ali_send_reply_part(node, push->producer, &part);
    return 0;
}

int ali_handle_part(struct al_node *node, struct ali_conn *conn, const struct al_msg_part *m)
{
    struct place place;
    int r = find_leased(node, conn, &(struct leased){LEASED(m)}, &place);

    if (r == -AL_E_LEASE_LOST && AL_PLANT(node, PART_STALE))
        r = find_seq(node, m->stream, m->seq, &place);
    if (r == 0)
        r = pass_part(node, place, m);
    node->v.counters.parts_refused += r < 0;
    if (r < 0)
        settle_refused(node, conn, &(struct leased){LEASED(m)}, r);
    return 0;
}

static bool find_out_with(const struct al_node *node, const struct ali_receiver *receiver,
                          const struct al_id *id, struct place *ret_place)
{
    for (const struct ali_flow *flow = receiver->busy.head; flow; flow = flow->busy.next) {
        const struct ali_stream *stream = ali_stream_at(node, flow->stream);

        for (uint32_t i = 0; i < stream->v.flow->pushed_count; i++) {
            if (al_id_eq(&ali_push_at(stream, i)->id, id)) {
                *ret_place = (struct place){flow->stream, i};
                return true;
            }
        }
    }
    return false;
}

/* Looks for a message that is out with one of this agent's receivers. */
static bool find_out(const struct al_node *node, const struct ali_agent *agent,
                     const struct al_id *id, struct place *ret_place)
{
    const struct ali_receiver *receiver = &agent->inbox->v.own;

    while (receiver && !find_out_with(node, receiver, id, ret_place))
        receiver = ali_receiver_next(agent->inbox, receiver);
    return receiver;
}

/* Every member of a group may have the same message out: then one has to be named. */
static int find_settled(const struct al_node *node, const struct ali_conn *conn,
                        const struct al_msg_settle *m, struct place *ret_place)
{
    ali_ref named = m->agent.n ? ali_find_agent_name(node, ali_name_normal(m->agent)) : 0;
    ali_ref end = !m->agent.n ? node->agents.end : named == AL_REF_NONE ? 0 : named + 1;
    int r = -AL_E_NOT_FOUND;

    for (ali_ref ref = named; ref < end; ref++) {
        const struct ali_agent *agent = ali_agent_at(node, ref);

        if (!al_pool_has(&node->agents, ref) || !ali_may_act(node, conn, agent))
            continue;
        if (!find_out(node, agent, &m->message_id, ret_place))
            continue;
        if (r == 0)
            return -AL_E_AMBIGUOUS;
        r = 0;
    }
    return r;
}

int ali_handle_settle(struct al_node *node, struct ali_conn *conn, const struct al_msg_settle *m)
{
    struct al_msg_ack ack = {.status = m->action,
                             .reason = m->reason,
                             .response_type = m->response_type,
                             .response = m->response};
    struct place place = {0};
    int r = find_settled(node, conn, m, &place);

    if (r == 0 && m->action == AL_SETTLE_NACK)
        r = nack(node, place, m->time_ms, m->reason);
    else if (r == 0 && m->action == AL_SETTLE_EXTEND)
        r = extend(node, place, m->time_ms, 0);
    else if (r == 0)
        r = check_ack(node, &ack);
    if (r == 0 && m->action <= AL_STATUS_FAILED && place.index)
        r = -AL_E_OUT_OF_ORDER;
    if (r == 0 && m->action == AL_STATUS_FAILED)
        r = settle_failed(node, place, m->reason);
    else if (r == 0 && m->action < AL_STATUS_FAILED)
        r = keep_and_end(node, NULL, place.stream, &ack);
    ali_send_done(node, conn, m->request, r, r == 0);
    return 0;
}
