/* failure.c - failed attempts: tried again later, or a dead letter; and what expires.
 *
 * Every failed attempt - time-out of the lease, NACK, disconnect - takes the same way:
 * ali_head_failed. */
#include "core/internal.h"

/* min(base · factor^(n−1), cap) ± 20 %. */
static uint64_t retry_delay_ms(struct al_node *node, const struct al_policy *policy,
                               unsigned attempt)
{
    uint64_t delay = policy->retry_base_ms;
    uint32_t spread;

    for (unsigned i = 1; i < attempt && delay < policy->retry_cap_ms; i++)
        delay *= policy->retry_factor;
    if (delay > policy->retry_cap_ms)
        delay = policy->retry_cap_ms;
    spread = (uint32_t)(delay * AL_RETRY_JITTER_PERCENT / 100);
    return delay - spread + ali_random(node, 2 * spread + 1);
}

static void finish_dead(struct al_node *node, ali_ref stream, const struct ali_push *what,
                        const struct ali_rec_dead *record)
{
    struct al_msg_end end = {.message_id = record->message_id,
                             .stream = record->stream,
                             .seq = record->seq,
                             .state = record->state,
                             .attempts = record->attempts,
                             .end_ms = record->wall_ms,
                             .reason = record->reason};

    node->v.counters.failed++;
    node->v.counters.expired += record->state == AL_STATE_EXPIRED;
    if (what->kind != UINT16_MAX) {
        node->v.metrics[what->kind].failure++;
        ali_metric_end(node, &node->v.metrics[what->kind], what->admitted_ms);
    }
    ali_tell_end(node, ali_stream_at(node, stream), what, &end);
}

/* The attempts of a head that dies, the last one included, in the node's scratch buffer. */
static int final_log(struct al_node *node, const struct ali_stream *stream,
                     const struct al_msg_attempt *last, struct al_str *ret_log)
{
    struct al_buf *log = &node->v.scratch;
    int r;

    log->size = 0;
    r = al_buf_reserve(log, ali_trouble_of(stream)->log.size + ali_attempt_size(last));
    if (r < 0)
        return r;
    al_buf_put(log, ali_trouble_of(stream)->log.data, ali_trouble_of(stream)->log.size);
    ali_log_attempt(log, last);
    *ret_log = al_str_of(log->data, log->size);
    return 0;
}

int ali_message_dead(struct al_node *node, ali_ref ref, const struct ali_push *what,
                     const struct ali_death *death)
{
    struct ali_stream *stream = ali_stream_at(node, ref);
    struct ali_push message = *what;
    uint64_t seq = message.seq;
    bool is_pushed = stream->v.flow->pushed_count && ali_push_at(stream, 0)->seq == seq;
    struct ali_rec_dead record = {.stream = stream->d.id,
                                  .seq = seq,
                                  .position = node->d.next_position,
                                  .message_id = message.id,
                                  .code = (uint16_t)death->code,
                                  .state = death->state,
                                  .wall_ms = node->v.now.wall_ms,
                                  .reason = death->reason};
    uint8_t bytes[8];
    int r = 0;

    record.ext = ali_ext_put_u32(bytes, ALI_DEAD_EXT_BYTES, message.bytes);

    if (seq == stream->d.runs.first_seq) {
        record.attempts = (uint16_t)(stream->d.attempts + (death->state == AL_STATE_FAILED));
        record.attempts_log =
            al_str_of(ali_trouble_of(stream)->log.data, ali_trouble_of(stream)->log.size);
    }
    if (death->last) {
        record.attempts = death->last->attempt;
        r = final_log(node, stream, death->last, &record.attempts_log);
    }
    if (r == 0)
        r = ali_commit(node, ALI_REC_DEAD, &record);
    if (r < 0)
        return r;
    ali_letter_log(node, &record);
    if (is_pushed)
        ali_push_drop(node, ref);
    else
        node->v.waiting--;
    finish_dead(node, ref, &message, &record);
    ali_stream_settled(node, ref);
    return 0;
}

static bool has_expired(const struct al_node *node, ali_ref ref, uint64_t seq)
{
    ali_ref mark =
        ali_stream_at(node, ref)->d.mark_count ? ali_find_mark(node, ref, seq) : AL_REF_NONE;

    return mark != AL_REF_NONE && ali_mark_at(node, mark)->d.expire_ms &&
           ali_remaining_ms(node, ali_mark_at(node, mark)->d.wall_ms,
                            ali_mark_at(node, mark)->d.expire_ms) == 0;
}

/* Calls the later messages back, so that the head can be tried again before them. */
static void recall_after_failure(struct al_node *node, ali_ref ref, int code)
{
    struct ali_stream *stream = ali_stream_at(node, ref);
    uint64_t head = stream->d.runs.first_seq;

    if (AL_PLANT(node, RETRY_OVERTAKES) && stream->v.flow->pushed_count > 1)
        return;
    ali_stream_recall(node, ref, code == AL_E_TIMEOUT ? head : head + 1, code);
}

/* The head's last attempt has failed, or there is no time left for another one. */
static int head_dead(struct al_node *node, ali_ref ref, const struct ali_push *head, bool expired,
                     const struct al_msg_attempt *last)
{
    struct ali_death death = {.state = expired ? AL_STATE_EXPIRED : AL_STATE_DEAD,
                              .code = expired ? AL_E_EXPIRED : AL_E_DEAD_LETTERED,
                              .reason = last->reason,
                              .last = last};
    int r;

    recall_after_failure(node, ref, last->code);
    r = ali_message_dead(node, ref, head, &death);
    ali_stream_ready(node, ref);
    return r;
}

static int head_again(struct al_node *node, ali_ref ref, const struct ali_push *head,
                      const struct al_msg_attempt *failed, uint64_t delay_ms)
{
    struct ali_stream *stream = ali_stream_at(node, ref);
    struct ali_rec_attempt record = {.stream = stream->d.id,
                                     .seq = head->seq,
                                     .attempt = failed->attempt,
                                     .code = failed->code,
                                     .wall_ms = failed->at_ms,
                                     .due_ms = failed->at_ms + delay_ms,
                                     .reason = failed->reason};
    int r;

    if (AL_PLANT(node, ATTEMPT_NOT_DURABLE))
        stream->d.attempts = failed->attempt;
    else if ((r = ali_commit(node, ALI_REC_ATTEMPT, &record)) < 0)
        return r;
    node->v.counters.retried++;
    if (head->kind != UINT16_MAX)
        node->v.metrics[head->kind].retries++;
    recall_after_failure(node, ref, failed->code);
    stream->v.flow->is_held = true;
    ali_timer_set(node, ALI_TIMER_STREAM, ref, delay_ms);
    return 0;
}

int ali_head_failed(struct al_node *node, ali_ref ref, int code, uint32_t retry_after_ms,
                    struct al_str reason)
{
    struct ali_stream *stream = ali_stream_at(node, ref);
    struct ali_push head = *ali_push_at(stream, 0);
    const struct al_policy *policy = ali_terms_at(node, head.kind).policy;
    struct al_msg_attempt failed = {.attempt = (uint16_t)(stream->d.attempts + 1u),
                                    .code = (uint16_t)code,
                                    .at_ms = node->v.now.wall_ms,
                                    .reason = reason};
    uint64_t delay = retry_after_ms ? retry_after_ms : retry_delay_ms(node, policy, failed.attempt);
    bool expired = has_expired(node, ref, head.seq);
    int r;

    if (!expired && ali_breaker_spares(node, stream, head.kind)) {
        recall_after_failure(node, ref, code);
        ali_stream_ready(node, ref);
        return 0;
    }
    r = expired || failed.attempt > policy->retry_max
            ? head_dead(node, ref, &head, expired, &failed)
            : head_again(node, ref, &head, &failed, delay);
    if (r == 0 && code != AL_E_CLOSED && code != AL_E_FENCED) /* a lost link says nothing */
        ali_breaker_outcome(node, ref, head.kind, false);
    return r;
}

int ali_stream_timer(struct al_node *node, ali_ref ref)
{
    struct ali_stream *stream = ali_stream_at(node, ref);
    uint64_t now = ali_mono_ms(node);
    int r;

    if (stream->v.flow->is_held) { /* time for the next attempt */
        stream->v.flow->is_held = false;
        ali_stream_ready(node, ref);
        return 0;
    }
    if (!stream->v.flow->pushed_count)
        return 0;
    if (now < stream->v.flow->lease_ms) {
        uint64_t due = stream->v.flow->lease_ms;

        if (stream->v.flow->call_ms && now >= stream->v.flow->call_ms) {
            ali_breaker_outcome(node, ref, ali_push_at(stream, 0)->kind, false);
            stream->v.flow->call_ms = 0;
        }
        if (stream->v.flow->call_ms && stream->v.flow->call_ms < due)
            due = stream->v.flow->call_ms;
        ali_timer_set(node, ALI_TIMER_STREAM, ref, due - now);
        return 0;
    }
    r = ali_acks_flush(node);
    return r < 0 ? r
                 : ali_head_failed(node, ref, AL_E_TIMEOUT, 0,
                                   al_str_c("no acknowledgement within the lease time"));
}

/* A message that waits has outlived its time. */
static int expire(struct al_node *node, const struct ali_mark *mark)
{
    struct ali_push what = {.seq = mark->d.seq,
                            .producer = mark->d.producer,
                            .id = mark->d.id,
                            .admitted_ms = mark->d.wall_ms,
                            .bytes = mark->d.bytes,
                            .kind = mark->v.kind,
                            .notify = mark->d.notify};
    ali_ref stream = mark->d.stream;
    struct ali_death death = {.state = AL_STATE_EXPIRED,
                              .code = AL_E_EXPIRED,
                              .reason = al_str_c("the message's time to live ended")};
    int r = ali_message_dead(node, stream, &what, &death);

    ali_stream_ready(node, stream);
    return r;
}

#define LOOK_AGAIN_MS 100u

int ali_mark_timer(struct al_node *node, ali_ref ref)
{
    struct ali_mark *mark = ali_mark_at(node, ref);
    struct ali_stream *stream = ali_stream_at(node, mark->d.stream);
    bool is_out = mark->d.seq < stream->v.flow->next.seq && stream->v.flow->pushed_count &&
                  mark->d.seq >= ali_push_at(stream, 0)->seq;

    if (mark->d.gone)
        return 0;
    if (is_out && !AL_PLANT(node, EXPIRY_OF_LEASED)) { /* the attempt under way may end well */
        ali_timer_set(node, ALI_TIMER_MARK, ref, LOOK_AGAIN_MS);
        return 0;
    }
    if (mark->d.seq == stream->d.runs.first_seq && stream->v.flow->is_held) {
        stream->v.flow->is_held = false; /* it waited for its retry: the next one may go */
        ali_timer_cancel(node, ALI_TIMER_STREAM, mark->d.stream);
    }
    return expire(node, mark);
}
