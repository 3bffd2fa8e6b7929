/* apply_end.c - records that end deliveries, and the dead letters. */
#include "core/internal.h"
#include <assert.h>

#define LETTER_LINK offsetof(struct ali_letter, d.link)
#define LOG_MAX     32u /* attempts kept in a message's history; the oldest go first */

/* Takes the first entry out of the runs, and those behind it that ended before their turn, so that
 * the head of a stream is always a message that is really pending. Returns the first one's LSN. */
static uint64_t pop_head(struct al_node *node, ali_ref ref)
{
    struct ali_stream *stream = ali_stream_at(node, ref);
    uint64_t lsn = stream->d.runs.head->first_lsn;
    ali_ref mark;

    if (stream->d.mark_count) {
        mark = ali_find_mark(node, ref, stream->d.runs.first_seq);
        if (mark != AL_REF_NONE)
            ali_mark_remove(node, mark);
    }
    ali_runs_pop(&stream->d.runs, &node->alloc);
    while (stream->d.gone_count && ali_runs_count(&stream->d.runs) &&
           ali_seq_is_gone(node, stream, ref, stream->d.runs.first_seq)) {
        ali_mark_remove(node, ali_find_mark(node, ref, stream->d.runs.first_seq));
        ali_runs_pop(&stream->d.runs, &node->alloc);
    }
    if (ali_has_flow(stream) && stream->v.flow->next.seq < stream->d.runs.first_seq)
        stream->v.flow->next = ali_runs_begin(&stream->d.runs);
    if (!ali_runs_count(&stream->d.runs))
        ali_flow_emptied(node, ref);
    if (stream->d.numbering != AL_REF_NONE)
        ali_numbering_drop(node, ref);
    stream->d.attempts = 0;
    ali_trouble_free(node, stream);
    return lsn;
}

/* A stream with nothing in it has nothing under another sequence either. Not to be asked while a
 * message is on its way from the runs to the letters. */
static void forget_moves(struct al_node *node, ali_ref ref)
{
    struct ali_stream *stream = ali_stream_at(node, ref);

    ali_lane_free(node, ref);
    if (!ali_runs_count(&stream->d.runs) && !stream->d.letter_count)
        stream->d.moved_count = 0;
}

/* ---- ack --------------------------------------------------------------------------------- */

int ali_prepare_ack(struct al_node *node, const struct ali_rec_ack *r)
{
    ali_ref ref = ali_find_stream(node, r->stream);
    const struct ali_runs *runs;

    if (ref == AL_REF_NONE)
        return -AL_E_DAMAGED;
    runs = &ali_stream_at(node, ref)->d.runs;
    if (r->last_seq < runs->first_seq || r->last_seq >= runs->next_seq || r->count < 1 ||
        r->count > ali_runs_count(runs) ||
        (r->count > 1 && (r->reason.n || r->response.n || r->metadata.n || r->attempts_log.n)))
        return -AL_E_DAMAGED; /* what was said was said about one message */
    return ali_ended_reserve(node, r->count);
}

void ali_apply_ack(struct al_node *node, uint64_t lsn, const struct ali_rec_ack *r)
{
    ali_ref ref = ali_find_stream(node, r->stream);
    struct ali_stream *stream = ali_stream_at(node, ref);
    bool detailed = r->reason.n || r->response.n || r->metadata.n || r->attempts_log.n;
    uint16_t attempts = r->attempts;

    ali_touch(node, ALI_PART_STREAM, ref, &stream->object);
    while (ali_runs_count(&stream->d.runs) && stream->d.runs.first_seq <= r->last_seq) {
        uint64_t seq = stream->d.runs.first_seq;
        struct ali_ended *ended = ali_ended_add(node, r->stream, seq);

        ended->state = r->status == AL_STATUS_PARTIAL ? AL_STATE_PARTIAL : AL_STATE_DELIVERED;
        ended->attempts = attempts;
        ended->end_ms = r->wall_ms;
        ended->workflow_seq = ali_number_end(node, ref, seq, ended->state, r->wall_ms);
        if (detailed) {
            ended->lsn = lsn;
            ali_live_add(node, lsn);
        }
        if (stream->d.key_count)
            ali_key_end(node, ended);
        attempts = 1;
        ali_live_drop(node, pop_head(node, ref));
        ali_agent_at(node, stream->d.to)->inbox->d.pending--;
        stream->d.prev_seq = seq;
    }
    forget_moves(node, ref);
    stream->d.used_ms = r->wall_ms;
}

/* ---- a failed attempt -------------------------------------------------------------------- */

int ali_prepare_attempt(struct al_node *node, const struct ali_rec_attempt *r)
{
    ali_ref ref = ali_find_stream(node, r->stream);
    struct ali_trouble *trouble;
    struct ali_stream *stream;

    if (ref == AL_REF_NONE)
        return -AL_E_DAMAGED;
    stream = ali_stream_at(node, ref);
    if (!ali_runs_count(&stream->d.runs) || stream->d.runs.first_seq != r->seq)
        return -AL_E_DAMAGED;
    trouble = ali_trouble_get(node, stream);
    return trouble ? al_buf_reserve(&trouble->log, 2 + sizeof(struct al_msg_attempt) + r->reason.n)
                   : -AL_E_NOMEM;
}

size_t ali_attempt_size(const struct al_msg_attempt *attempt)
{
    return 2 + al_size_attempt(attempt);
}

void ali_log_attempt(struct al_buf *log, const struct al_msg_attempt *attempt)
{
    unsigned count = 0;

    for (size_t at = 0; at < log->size; at += 2 + (size_t)al_get16(log->data + at))
        count++;
    if (count >= LOG_MAX) /* the oldest one goes */
        al_buf_drop(log, 2 + (size_t)al_get16(log->data));
    al_put16(log->data + log->size, (uint16_t)al_size_attempt(attempt));
    al_encode_attempt(log->data + log->size + 2, attempt);
    log->size += ali_attempt_size(attempt);
}

void ali_apply_attempt(struct al_node *node, uint64_t lsn, const struct ali_rec_attempt *r)
{
    ali_ref ref = ali_find_stream(node, r->stream);
    struct ali_stream *stream = ali_stream_at(node, ref);
    struct al_msg_attempt entry = {
        .attempt = r->attempt, .code = r->code, .at_ms = r->wall_ms, .reason = r->reason};

    (void)lsn;
    ali_touch(node, ALI_PART_STREAM, ref, &stream->object);
    stream->d.attempts = r->attempt;
    stream->d.trouble->attempt_ms = r->wall_ms;
    stream->d.trouble->due_ms = r->due_ms;
    ali_log_attempt(&stream->d.trouble->log, &entry);
}

/* ---- dead letters ------------------------------------------------------------------------ */

int ali_prepare_dead(struct al_node *node, const struct ali_rec_dead *r)
{
    ali_ref ref = ali_find_stream(node, r->stream);
    const struct ali_runs *runs;
    int e;

    if (ref == AL_REF_NONE)
        return -AL_E_DAMAGED;
    runs = &ali_stream_at(node, ref)->d.runs;
    if (r->seq < runs->first_seq || r->seq >= runs->next_seq ||
        ali_seq_is_gone(node, ali_stream_at(node, ref), ref, r->seq))
        return -AL_E_DAMAGED;
    e = al_pool_reserve(&node->letters, 1);
    if (e == 0)
        e = al_index_reserve(&node->letter_ids, 1);
    if (e == 0)
        e = al_pool_reserve(&node->marks, 1);
    if (e == 0)
        e = al_index_reserve(&node->mark_keys, 1);
    if (e == 0)
        e = ali_number_tag_reserve(node, ref);
    return e < 0 ? e : ali_ended_reserve(node, 1);
}

/* Marks a message in the middle of its stream as gone; its entry goes when its turn comes. */
static uint64_t leave_hole(struct al_node *node, ali_ref ref, uint64_t seq)
{
    struct ali_stream *stream = ali_stream_at(node, ref);
    uint64_t lsn = ali_runs_seek(&stream->d.runs, seq).lsn;
    ali_ref mark_ref = ali_find_mark(node, ref, seq);
    struct ali_mark *mark;

    if (mark_ref == AL_REF_NONE)
        mark_ref = ali_mark_add(node, ref, seq);
    mark = ali_mark_at(node, mark_ref);
    ali_touch(node, ALI_PART_MARK, mark_ref, &mark->object);
    ali_timer_cancel(node, ALI_TIMER_MARK, mark_ref);
    mark->d.gone = true;
    mark->d.expire_ms = 0;
    stream->d.gone_count++;
    return lsn;
}

void ali_apply_dead(struct al_node *node, uint64_t lsn, const struct ali_rec_dead *r)
{
    ali_ref stream_ref = ali_find_stream(node, r->stream), ref;
    struct ali_stream *stream = ali_stream_at(node, stream_ref);
    struct ali_agent *to = ali_agent_at(node, stream->d.to);
    struct ali_letter *letter;
    struct ali_ended *ended;
    uint64_t body_lsn;
    uint32_t number;

    ali_touch(node, ALI_PART_STREAM, stream_ref, &stream->object);
    number = ali_number_end(node, stream_ref, r->seq, r->state, r->wall_ms);
    body_lsn = r->seq == stream->d.runs.first_seq ? pop_head(node, stream_ref)
                                                  : leave_hole(node, stream_ref, r->seq);
    ali_history_drop(node, stream, r->seq);
    to->inbox->d.pending--;
    ref = al_pool_take(&node->letters);
    letter = ali_letter_at(node, ref);
    ali_fresh(node, &letter->object);
    letter->d.position = r->position;
    letter->d.agent = stream->d.to;
    letter->d.stream = stream_ref;
    letter->d.seq = r->seq;
    letter->d.lsn = body_lsn; /* its reference to the message's record goes over */
    letter->d.dead_lsn = lsn;
    letter->d.dead_ms = r->wall_ms;
    letter->d.id = r->message_id;
    letter->d.attempts = r->attempts;
    letter->d.code = r->code;
    letter->d.bytes = ali_ext_get_u32(r->ext, ALI_DEAD_EXT_BYTES);
    ali_letter_link(node, ref);
    node->d.next_position = r->position + 1;
    ali_live_add(node, lsn);
    ended = ali_ended_add(node, r->stream, r->seq);
    ended->state = r->state;
    ended->attempts = r->attempts;
    ended->code = r->code;
    ended->end_ms = r->wall_ms;
    ended->lsn = lsn;
    ended->workflow_seq = number;
    ali_live_add(node, lsn);
    if (stream->d.key_count)
        ali_key_end(node, ended);
    stream->d.used_ms = r->wall_ms;
}

/* ---- taken back by the sender ------------------------------------------------------------ */

int ali_prepare_cancel(struct al_node *node, const struct ali_rec_cancel *r)
{
    ali_ref ref = ali_find_stream(node, r->stream);
    const struct ali_stream *stream;
    int e = 0;

    if (ref == AL_REF_NONE)
        return -AL_E_DAMAGED;
    stream = ali_stream_at(node, ref);
    if (r->delayed) {
        ali_ref delayed = ali_find_delayed(node, r->delayed);
        struct ali_rec_due due = {.delayed = r->delayed, .seq = r->seq};

        if (delayed == AL_REF_NONE || ali_delayed_at(node, delayed)->d.stream != ref)
            return -AL_E_DAMAGED;
        e = ali_prepare_due(node, &due);
    } else if (r->seq < stream->d.runs.first_seq || r->seq >= stream->d.runs.next_seq ||
               ali_seq_is_gone(node, stream, ref, r->seq)) {
        return -AL_E_DAMAGED;
    }
    if (e == 0)
        e = al_pool_reserve(&node->marks, 1);
    if (e == 0)
        e = al_index_reserve(&node->mark_keys, 1);
    return e < 0 ? e : ali_ended_reserve(node, 1);
}

/* Nothing refers to the message's record afterwards. A scheduled message gets its sequence with the
 * same record: it never was in the stream for anybody to see, and its end has a place to ask by. */
void ali_apply_cancel(struct al_node *node, uint64_t lsn, const struct ali_rec_cancel *r)
{
    ali_ref ref = ali_find_stream(node, r->stream);
    struct ali_stream *stream = ali_stream_at(node, ref);
    struct ali_rec_due due = {.delayed = r->delayed, .seq = r->seq};
    struct ali_ended *ended;
    uint64_t body_lsn;
    uint32_t number;

    if (r->delayed)
        ali_apply_due(node, lsn, &due);
    ali_touch(node, ALI_PART_STREAM, ref, &stream->object);
    number = ali_number_end(node, ref, r->seq, AL_STATE_CANCELLED, r->wall_ms);
    body_lsn =
        r->seq == stream->d.runs.first_seq ? pop_head(node, ref) : leave_hole(node, ref, r->seq);
    ali_live_drop(node, body_lsn);
    ali_history_drop(node, stream, r->seq);
    ali_agent_at(node, stream->d.to)->inbox->d.pending--;
    forget_moves(node, ref);
    ended = ali_ended_add(node, r->stream, r->seq);
    ended->state = AL_STATE_CANCELLED;
    ended->code = AL_E_CANCELLED;
    ended->attempts = r->attempts;
    ended->end_ms = r->wall_ms;
    ended->workflow_seq = number;
    if (stream->d.key_count)
        ali_key_end(node, ended);
    stream->d.used_ms = r->wall_ms;
}

void ali_letter_link(struct al_node *node, ali_ref ref)
{
    struct ali_letter *letter = ali_letter_at(node, ref);
    struct ali_stream *stream = ali_stream_at(node, letter->d.stream);
    struct ali_agent *agent = ali_agent_at(node, letter->d.agent);

    al_index_add(&node->letter_ids, ali_hash_pair(stream->d.id, letter->d.seq), ref);
    ali_list_push(&node->letters, LETTER_LINK, &agent->inbox->d.letters, ref);
    agent->inbox->d.letter_count++;
    agent->inbox->d.letter_bytes += letter->d.bytes;
    node->d.letter_bytes += letter->d.bytes;
    stream->d.letter_count++;
}

void ali_letter_remove(struct al_node *node, ali_ref ref, bool with_body)
{
    struct ali_letter *letter = ali_letter_at(node, ref);
    struct ali_stream *stream = ali_stream_at(node, letter->d.stream);
    struct ali_agent *agent = ali_agent_at(node, letter->d.agent);

    ali_touch(node, ALI_PART_LETTER, ref, &letter->object);
    if (with_body)
        ali_live_drop(node, letter->d.lsn);
    ali_live_drop(node, letter->d.dead_lsn);
    ali_number_tag_drop(node, letter->d.stream, letter->d.seq);
    al_index_remove(&node->letter_ids, ali_hash_pair(stream->d.id, letter->d.seq), ref);
    ali_list_remove(&node->letters, LETTER_LINK, &agent->inbox->d.letters, ref);
    agent->inbox->d.letter_count--;
    node->d.letter_bytes -= letter->d.bytes;
    if (!AL_PLANT(node, LETTER_BYTES_STAY))
        agent->inbox->d.letter_bytes -= letter->d.bytes;
    stream->d.letter_count--;
    ali_lane_free(node, letter->d.stream);
    al_pool_put(&node->letters, ref);
}

int ali_prepare_purge(struct al_node *node, const struct ali_rec_purge *r)
{
    return ali_find_letter(node, r->stream, r->seq) == AL_REF_NONE ? -AL_E_DAMAGED : 0;
}

void ali_apply_purge(struct al_node *node, uint64_t lsn, const struct ali_rec_purge *r)
{
    ali_ref ref = ali_find_letter(node, r->stream, r->seq);
    ali_ref stream = ali_letter_at(node, ref)->d.stream;

    (void)lsn;
    ali_touch(node, ALI_PART_STREAM, stream, &ali_stream_at(node, stream)->object);
    ali_letter_remove(node, ref, true);
}

int ali_prepare_redrive(struct al_node *node, const struct ali_rec_redrive *r)
{
    ali_ref ref = ali_find_letter(node, r->stream, r->old_seq);
    struct ali_stream *stream;
    int e;

    if (ref == AL_REF_NONE)
        return -AL_E_DAMAGED;
    stream = ali_stream_at(node, ali_letter_at(node, ref)->d.stream);
    if (r->seq != stream->d.runs.next_seq)
        return -AL_E_DAMAGED;
    e = ali_runs_reserve(&stream->d.runs, &node->alloc);
    if (e == 0)
        e = ali_number_move_reserve(node, ali_letter_at(node, ref)->d.stream,
                                    ali_letter_at(node, ref)->d.stream, r->old_seq);
    return e < 0 ? e : ali_ids_reserve(node, &ali_letter_at(node, ref)->d.id);
}

void ali_apply_redrive(struct al_node *node, uint64_t lsn, const struct ali_rec_redrive *r)
{
    ali_ref ref = ali_find_letter(node, r->stream, r->old_seq);
    struct ali_letter letter = *ali_letter_at(node, ref);
    struct ali_stream *stream = ali_stream_at(node, letter.d.stream);
    struct ali_recent_id *recent;

    (void)lsn;
    ali_touch(node, ALI_PART_STREAM, letter.d.stream, &stream->object);
    if (!AL_PLANT(node, WORKFLOW_REDRIVE_LOST))
        ali_number_move(node, letter.d.stream, r->seq, letter.d.stream, r->old_seq);
    ali_letter_remove(node, ref, AL_PLANT(node, LIVE_UNCOUNTED));
    ali_runs_push(&stream->d.runs, letter.d.lsn); /* the reference to the body goes over */
    ali_agent_at(node, stream->d.to)->inbox->d.pending++;
    stream->d.moved_count++;
    ali_key_move(node, r->stream, r->old_seq, r->seq);
    recent = ali_ids_add(node, &letter.d.id);
    recent->stream = r->stream;
    recent->seq = r->seq;
    stream->d.used_ms = r->wall_ms;
}
