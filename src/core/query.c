/* query.c - questions: delivery records, ends, status, metrics.
 *
 * Reasons, responses and histories of finished deliveries stay in the journal; an answer that needs
 * them waits for the record to be read back. */
#include "core/internal.h"

/* ---- delivery records -------------------------------------------------------------------- */

static bool is_kept(const struct al_node *node, const struct ali_ended *ended)
{
    return ended && ended->end_ms + node->config.records_ttl_ms > node->v.now.wall_ms;
}

/* The id of a recent message by its place: a walk from the newest on, for questions of people. */
static struct al_id id_of(const struct al_node *node, uint32_t stream, uint64_t seq)
{
    const struct al_recent *ids = &node->d.ids;

    for (uint64_t number = ids->next; number-- > ids->first;) {
        const struct ali_recent_id *recent = al_recent_at(ids, number);

        if (recent->stream == stream && recent->seq == seq)
            return recent->id;
    }
    return (struct al_id){{0}};
}

/* Fills what is known of a message without reading; false: there never was such a message. */
static bool describe(const struct al_node *node, ali_ref stream_ref, uint64_t seq,
                     struct al_msg_record *row)
{
    const struct ali_stream *stream = ali_stream_at(node, stream_ref);
    const struct ali_agent *from = ali_agent_at(node, stream->d.from);
    const struct ali_agent *to = ali_agent_at(node, stream->d.to);
    const struct ali_ended *ended = ali_find_ended(node, stream->d.id, seq);
    bool is_head = seq == stream->d.runs.first_seq;

    if (to->v.group != AL_REF_NONE)
        return ali_group_describe(node, stream_ref, seq, row);
    if (seq == 0 || seq >= stream->d.runs.next_seq)
        return false;
    row->stream = stream->d.id;
    row->seq = seq;
    row->from = al_str_of(from->d.name, from->d.name_size);
    row->to = al_str_of(to->d.name, to->d.name_size);
    row->label = al_str_of(stream->d.label, stream->d.label_size);
    if (seq < stream->d.runs.first_seq || ali_seq_is_gone(node, stream, stream_ref, seq)) {
        row->state = is_kept(node, ended) ? ended->state : AL_STATE_ENDED;
        row->attempts = is_kept(node, ended) ? ended->attempts : 0;
        row->end_ms = row->last_attempt_ms = is_kept(node, ended) ? ended->end_ms : 0;
        return true;
    }
    row->attempts = is_head ? stream->d.attempts : 0;
    row->last_attempt_ms = is_head ? ali_trouble_of(stream)->attempt_ms : 0;
    if (is_head)
        row->attempts_log =
            al_str_of(ali_trouble_of(stream)->log.data, ali_trouble_of(stream)->log.size);
    if (stream->v.flow->pushed_count && seq >= ali_push_at(stream, 0)->seq &&
        seq < stream->v.flow->next.seq) {
        row->state = AL_STATE_LEASED;
        row->attempts++;
        return true;
    }
    row->state = is_head && stream->v.flow->is_held ? AL_STATE_DELAYED : AL_STATE_WAITING;
    row->due_ms = is_head && stream->v.flow->is_held ? ali_trouble_of(stream)->due_ms : 0;
    if (to->inbox->v.gate || stream->v.flow->is_blocked)
        row->reason = al_str_c("held: the circuit breaker of the recipient is open");
    return true;
}

/* Who may ask about a stream: its sender and its recipient. */
static bool may_ask(const struct al_node *node, const struct ali_conn *conn, ali_ref stream_ref)
{
    const struct ali_stream *stream = ali_stream_at(node, stream_ref);

    return ali_may_act(node, conn, ali_agent_at(node, stream->d.from)) ||
           ali_may_act(node, conn, ali_agent_at(node, stream->d.to));
}

static int read_end(struct al_node *node, const struct ali_conn *conn, enum ali_read_kind kind,
                    const struct al_msg_record *row, const struct ali_ended *ended)
{
    struct ali_read read = {.kind = kind,
                            .conn = conn->number,
                            .conn_serial = node->v.conn_serials[conn->number],
                            .client_request = row->request,
                            .stream = ended->stream,
                            .seq = ended->seq,
                            .lsn = ended->lsn,
                            .id = row->message_id};

    return ali_effect_read(node, &read, &ended->lsn, 1);
}

/* The number of a message in its workflow, as far as it is known; delayed: of a scheduled one. */
static uint32_t number_of(const struct al_node *node, const struct al_msg_record *row,
                          uint64_t delayed)
{
    ali_ref ref = ali_find_stream(node, row->stream);
    const struct ali_ended *ended = ali_find_ended(node, row->stream, row->seq);
    uint32_t number;

    if (delayed)
        return ali_number_of_delayed(node, delayed);
    number = ref == AL_REF_NONE ? 0 : ali_number_of(node, ref, row->seq);
    return !number && is_kept(node, ended) ? ended->workflow_seq : number;
}

static void send_record(struct al_node *node, const struct ali_conn *conn,
                        const struct al_msg_record *row, uint64_t delayed)
{
    uint32_t number = number_of(node, row, delayed);
    uint8_t room[12];
    struct al_str ext = ali_ext_put_u64(room, AL_RECORD_EXT_WORKFLOW_SEQ, number);

    if (number)
        ALI_SEND_EXT(node, conn->number, record, row, ext);
    else
        ALI_SEND(node, conn->number, record, row);
}

static bool describe_delayed(const struct al_node *node, const struct ali_conn *conn,
                             const struct al_id *id, struct al_msg_record *row,
                             uint64_t *ret_delayed)
{
    for (ali_ref ref = 0; ref < node->delayed.end; ref++) {
        const struct ali_delayed *delayed = ali_delayed_at(node, ref);
        const struct ali_stream *stream;

        if (!al_pool_has(&node->delayed, ref) || !al_id_eq(&delayed->d.message_id, id) ||
            !may_ask(node, conn, delayed->d.stream))
            continue;
        stream = ali_stream_at(node, delayed->d.stream);
        row->stream = stream->d.id;
        *ret_delayed = delayed->d.id;
        row->state = AL_STATE_DELAYED;
        row->due_ms = delayed->d.due_ms;
        row->label = al_str_of(stream->d.label, stream->d.label_size);
        row->from = al_str_of(ali_agent_at(node, stream->d.from)->d.name,
                              ali_agent_at(node, stream->d.from)->d.name_size);
        row->to = al_str_of(ali_agent_at(node, stream->d.to)->d.name,
                            ali_agent_at(node, stream->d.to)->d.name_size);
        return true;
    }
    return false;
}

int ali_handle_record_get(struct al_node *node, struct ali_conn *conn,
                          const struct al_msg_record_get *m)
{
    struct al_msg_record row = {.request = m->request, .message_id = m->message_id};
    uint32_t stream_id = m->stream;
    uint64_t seq = m->seq, delayed = 0;
    const struct ali_ended *ended;
    ali_ref ref;

    if (!al_id_is_zero(&m->message_id)) {
        const struct ali_recent_id *recent = ali_find_id(node, &m->message_id);

        stream_id = recent ? recent->stream : 0;
        seq = recent ? recent->seq : 0;
        if (!seq && describe_delayed(node, conn, &m->message_id, &row, &delayed)) {
            send_record(node, conn, &row, delayed);
            return 0;
        }
    }
    ref = ali_find_stream(node, stream_id);
    if (ref == AL_REF_NONE || !may_ask(node, conn, ref) || !describe(node, ref, seq, &row)) {
        ali_send_error(node, conn, AL_MSG_RECORD_GET, m->request, -AL_E_NOT_FOUND);
        return 0;
    }
    if (al_id_is_zero(&row.message_id))
        row.message_id = id_of(node, stream_id, seq);
    ended = row.end_ms ? ali_find_ended(node, stream_id, seq) : NULL;
    if (ended && ended->lsn && read_end(node, conn, ALI_READ_RECORD, &row, ended) == 0)
        return 0;
    send_record(node, conn, &row, 0);
    return 0;
}

/* ---- ends -------------------------------------------------------------------------------- */

int ali_key_tell(struct al_node *node, struct ali_conn *conn, const struct ali_key *key,
                 const struct al_id *id)
{
    struct ali_ended ended = {.stream = key->stream, .seq = key->seq, .lsn = key->lsn};
    struct al_msg_record row = {0};
    struct al_msg_end end = {.stream = key->stream,
                             .seq = key->seq,
                             .state = key->state,
                             .attempts = key->attempts,
                             .end_ms = key->end_ms};

    if (key->state == 0)
        return 1;
    if (id)
        row.message_id = end.message_id = *id;
    if (key->lsn && !AL_PLANT(node, ANSWER_LOST))
        return read_end(node, conn, ALI_READ_KEY, &row, &ended);
    ALI_SEND(node, conn->number, end, &end);
    return 0;
}

int ali_end_tell(struct al_node *node, struct ali_conn *conn, uint32_t stream, uint64_t seq,
                 const struct al_id *id)
{
    ali_ref ref = ali_find_stream(node, stream);
    struct al_msg_record row = {0};
    struct al_msg_end end = {.stream = stream, .seq = seq};
    const struct ali_ended *ended;
    const struct ali_key *key;

    if (ref == AL_REF_NONE || !may_ask(node, conn, ref) || !describe(node, ref, seq, &row))
        return -AL_E_NOT_FOUND;
    if (row.state < AL_STATE_DELIVERED &&
        ali_agent_at(node, ali_stream_at(node, ref)->d.to)->v.group != AL_REF_NONE) {
        struct al_id posted = id ? *id : id_of(node, stream, seq);

        ali_group_watch(node, conn, ref, seq, &posted); /* it tells when all members are done */
        return 0;
    }
    if (row.state < AL_STATE_DELIVERED)
        return 1;
    key = row.state == AL_STATE_ENDED ? ali_find_key_of(node, stream, seq) : NULL;
    if (key && key->state) /* lives longer than the delivery record */
        return ali_key_tell(node, conn, key, id);
    row.message_id = end.message_id = id ? *id : id_of(node, stream, seq);
    ended = row.end_ms ? ali_find_ended(node, stream, seq) : NULL;
    if (ended && ended->lsn && !AL_PLANT(node, ANSWER_LOST))
        return read_end(node, conn, ALI_READ_END, &row, ended);
    end.state = row.state;
    end.attempts = row.attempts;
    end.end_ms = row.end_ms;
    ALI_SEND(node, conn->number, end, &end);
    return 0;
}

int ali_handle_end_watch(struct al_node *node, struct ali_conn *conn,
                         const struct al_msg_end_watch *m)
{
    int r = ali_end_tell(node, conn, m->stream, m->seq, NULL);

    if (r == 1)
        r = ali_waiter_add(node, conn, m->stream, m->seq, NULL);
    if (r < 0)
        ali_send_error(node, conn, AL_MSG_END_WATCH, m->stream, r);
    return 0;
}

/* What an ACK or DEAD record says about the message it ended. */
struct outcome {
    struct al_str reason, response_type, response, log;
    struct al_id id;
};

static void read_outcome(const struct al_event *event, struct outcome *outcome)
{
    struct ali_rec_ack ack;
    struct ali_rec_dead dead;
    struct al_str payload;

    memset(outcome, 0, sizeof(*outcome));
    if (event->status < 0 || event->record_count != 1)
        return;
    if (ali_unwrap(&event->records[0], ALI_REC_ACK, &payload) == 0 &&
        ali_decode_rec_ack(payload, &ack) == 0) {
        outcome->reason = ack.reason;
        outcome->response = ack.response;
        outcome->response_type = ack.response_type;
        outcome->log = ack.attempts_log;
    } else if (ali_unwrap(&event->records[0], ALI_REC_DEAD, &payload) == 0 &&
               ali_decode_rec_dead(payload, &dead) == 0) {
        outcome->reason = dead.reason;
        outcome->log = dead.attempts_log;
        outcome->id = dead.message_id;
    }
}

static void answer_end(struct al_node *node, const struct ali_conn *conn,
                       const struct ali_read *read, const struct outcome *outcome,
                       const struct al_msg_record *row)
{
    struct al_msg_end end = {.message_id = al_id_is_zero(&outcome->id) ? read->id : outcome->id,
                             .stream = read->stream,
                             .seq = read->seq,
                             .state = row->state,
                             .attempts = row->attempts,
                             .end_ms = row->end_ms,
                             .reason = outcome->reason,
                             .response_type = outcome->response_type,
                             .response = outcome->response};

    ALI_SEND(node, conn->number, end, &end);
}

/* The record says it all: neither the stream nor the key need to be there any more. */
static void answer_key(struct al_node *node, struct ali_conn *conn, const struct ali_read *read,
                       const struct al_event *event)
{
    struct ali_rec_ack ack;
    struct al_str payload;
    struct al_msg_end end = {.message_id = read->id, .stream = read->stream, .seq = read->seq};

    if (event->record_count != 1 || ali_unwrap(&event->records[0], ALI_REC_ACK, &payload) < 0 ||
        ali_decode_rec_ack(payload, &ack) < 0) {
        ali_send_error(node, conn, AL_MSG_END_WATCH, read->stream, -AL_E_DAMAGED);
        return;
    }
    end.state = ack.status == AL_STATUS_PARTIAL ? AL_STATE_PARTIAL : AL_STATE_DELIVERED;
    end.attempts = ack.attempts;
    end.end_ms = ack.wall_ms;
    end.reason = ack.reason;
    end.response_type = ack.response_type;
    end.response = ack.response;
    ALI_SEND(node, conn->number, end, &end);
}

int ali_query_read_done(struct al_node *node, const struct ali_read *read,
                        const struct al_event *event)
{
    struct ali_conn *conn = ali_conn_at(node, read->conn);
    struct al_msg_record row = {.request = read->client_request};
    const struct ali_ended *ended;
    struct outcome outcome;
    ali_ref ref;

    if (event->status == -AL_E_DAMAGED)
        return event->status;
    if (!conn || conn->closing || node->v.conn_serials[read->conn] != read->conn_serial)
        return 0;
    if (read->kind == ALI_READ_LETTER) {
        ali_letter_read(node, conn, read, event);
        return 0;
    }
    if (read->kind == ALI_READ_CANCEL) {
        ali_cancel_read(node, conn, read, event);
        return 0;
    }
    if (event->status < 0 && (read->kind == ALI_READ_KEY ||
                              (read->kind == ALI_READ_END && event->status != -AL_E_NOT_FOUND))) {
        /* No end is told without the response that it has: it is asked for again. */
        ali_send_error(node, conn, AL_MSG_END_WATCH, read->stream, event->status);
        return 0;
    }
    if (read->kind == ALI_READ_KEY) {
        answer_key(node, conn, read, event);
        return 0;
    }
    if (read->kind == ALI_READ_GROUP) {
        ali_group_read(node, conn, read, event);
        return 0;
    }
    if (read->kind == ALI_READ_REPLAY) {
        ali_replay_read(node, conn, read, event);
        return 0;
    }
    ref = ali_find_stream(node, read->stream);
    if (ref == AL_REF_NONE || !describe(node, ref, read->seq, &row)) {
        ali_send_error(node, conn, AL_MSG_RECORD_GET, read->client_request, -AL_E_NOT_FOUND);
        return 0;
    }
    ended = ali_find_ended(node, read->stream, read->seq);
    if (event->status == -AL_E_NOT_FOUND && ended && ended->lsn && ended->lsn != read->lsn) {
        /* It was carried while it was being read, and its segment went. */
        struct ali_read again = *read;

        again.lsn = ended->lsn;
        return ali_effect_read(node, &again, &ended->lsn, 1);
    }
    read_outcome(event, &outcome);
    if (read->kind == ALI_READ_END) {
        answer_end(node, conn, read, &outcome, &row);
        return 0;
    }
    row.reason = outcome.reason;
    row.attempts_log = outcome.log;
    row.message_id = al_id_is_zero(&outcome.id) ? read->id : outcome.id;
    send_record(node, conn, &row, 0);
    return 0;
}

/* ---- status and metrics ------------------------------------------------------------------ */

/* An optional field of figures; returns its end. */
static uint8_t *put_figures(uint8_t *at, uint16_t tag, const uint64_t *figures, uint16_t count)
{
    al_put16(at, tag);
    al_put16(at + 2, (uint16_t)(8 * count));
    for (uint16_t i = 0; i < count; i++)
        al_put64(at + 4 + 8 * i, figures[i]);
    return at + 4 + 8 * count;
}

/* Figures that came later stand behind the others as optional fields. */
static void send_status(struct al_node *node, const struct ali_conn *conn,
                        const struct al_msg_status *status)
{
    const struct ali_counters *c = &node->v.counters;
    const uint64_t replay[] = {node->d.kept, c->replayed}, dead[] = {node->d.letter_bytes};
    const uint64_t parts[] = {c->parts, c->parts_dropped, c->parts_refused};
    const uint64_t commits[] = {c->commits, c->commits_repeated, c->commits_refused};
    const uint64_t flows[] = {node->flows.list.count, node->flows.numbered, node->flows.forgotten};
    const uint64_t gaps[] = {c->asked_again};
    const struct ali_acl *acl = &node->acl;
    const uint64_t rules[] = {acl->rules.count, acl->version,   acl->denied[0],     acl->denied[1],
                              acl->denied[2],   acl->denied[3], acl->denied_deliver};
    uint8_t ext[7 * 4 + 8 * (2 + 1 + 3 + 3 + 1 + 3 + 7)], *at = ext;

    at = put_figures(at, AL_STATUS_EXT_REPLAY, replay, 2);
    at = put_figures(at, AL_STATUS_EXT_DEAD_BYTES, dead, 1);
    at = put_figures(at, AL_STATUS_EXT_PARTS, parts, 3);
    at = put_figures(at, AL_STATUS_EXT_COMMITS, commits, 3);
    at = put_figures(at, AL_STATUS_EXT_GAPS, gaps, 1);
    at = put_figures(at, AL_STATUS_EXT_WORKFLOWS, flows, 3);
    at = put_figures(at, AL_STATUS_EXT_ACL, rules, 7);
    ALI_SEND_EXT(node, conn->number, status, status, al_str_of(ext, (size_t)(at - ext)));
}

int ali_handle_status_get(struct al_node *node, struct ali_conn *conn,
                          const struct al_msg_status_get *m)
{
    const struct ali_counters *c = &node->v.counters;
    struct al_msg_status status = {.request = m->request,
                                   .node_epoch = node->d.epoch,
                                   .start_ms = node->v.start_ms,
                                   .lsn = node->d.lsn,
                                   .agents = node->agents.count,
                                   .streams = node->streams.count,
                                   .connections = node->v.conn_count,
                                   .waiting = node->v.waiting,
                                   .leased = node->v.leased,
                                   .delayed = node->delayed.count,
                                   .dead = node->letters.count,
                                   .accepted = c->accepted,
                                   .delivered = c->delivered,
                                   .failed = c->failed,
                                   .retried = c->retried,
                                   .redelivered = c->redelivered,
                                   .duplicates = c->duplicates,
                                   .refused = c->refused,
                                   .expired = c->expired,
                                   .volatile_sent = c->volatile_sent,
                                   .volatile_dropped = c->volatile_dropped,
                                   .state_bytes = node->state_bytes,
                                   .disk_full = node->v.disk_full,
                                   .node = node->config.name};

    send_status(node, conn, &status);
    return 0;
}

int ali_handle_metrics_get(struct al_node *node, struct ali_conn *conn,
                           const struct al_msg_metrics_get *m)
{
    for (uint32_t i = 0; i < node->v.metric_count; i++) {
        const struct ali_metric *row = &node->v.metrics[i];
        struct al_msg_metrics_row out = {.request = m->request,
                                         .sent = row->sent,
                                         .success = row->success,
                                         .failure = row->failure,
                                         .retries = row->retries,
                                         .latency_sum_ms = row->latency_sum_ms,
                                         .kind = al_str_of(row->name, row->name_size)};

        ALI_SEND(node, conn->number, metrics_row, &out);
    }
    ali_send_done(node, conn, m->request, 0, node->v.metric_count);
    return 0;
}
