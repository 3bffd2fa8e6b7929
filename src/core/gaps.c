/* gaps.c - gaps in what a client sends: found, asked for, healed, or ended by the channel's policy.
 *
 * A PUBLISH that is ahead of its channel is held in a bounded buffer, and GAP_NACK asks for what is
 * missing: once when the gap is found, then with growing pauses for the first one that is missing.
 * What does not fit into the buffer is dropped and counts as missing. When the missing ones come,
 * everything that is now in order is taken as if it had come just then. What is still missing after
 * gap_timeout_ms ends by the policy that the client gave when it opened the channel:
 *
 *   wait   the first missing number is refused with SEQUENCE_GAP and the channel held, as after any
 *          refusal that may pass: the client decides
 *   skip   the missing numbers are given up (a GAP record, REFUSED with GAP_CLOSED); the next
 *          message tells its recipient how many are missing before it
 *   fail   likewise, and what is held behind the gap becomes dead letters
 *
 * What is held is volatile: it has no receipt, so the client sends it again after a crash. Nothing
 * else waits for a gap: the buffer is the channel's own and the time is bounded. */
#include "core/internal.h"
#include <assert.h>

/* ---- what is missing --------------------------------------------------------------------- */

static const struct ali_track *track_of(const struct al_node *node,
                                        const struct ali_channel *channel)
{
    ali_ref track = ali_find_track(node, channel->stream, channel->producer);

    return track == AL_REF_NONE ? NULL : ali_track_at(node, track);
}

/* The number that comes next. */
static uint64_t expected(const struct al_node *node, const struct ali_channel *channel)
{
    const struct ali_track *track = track_of(node, channel);

    return track && track->d.high + 1 > channel->next_pseq ? track->d.high + 1 : channel->next_pseq;
}

/* The last of the numbers that are missing from the first one on. */
static uint64_t last_missing(const struct ali_gap *gap)
{
    return gap->count ? gap->parked[0]->pseq - 1 : gap->high;
}

static void nack(struct al_node *node, const struct ali_gap *gap, uint64_t start, uint64_t end)
{
    struct al_msg_gap_nack m = {.number = gap->channel, .start = start, .end = end};

    ALI_SEND(node, gap->conn, gap_nack, &m);
}

/* Asks again after a pause; the gap ends in time even so. */
static void arm(struct al_node *node, ali_ref ref)
{
    struct ali_gap *gap = ali_gap_at(node, ref);
    uint64_t end = gap->begun_ms + node->config.gap_timeout_ms, now = ali_mono_ms(node);
    uint64_t left = end > now ? end - now : 0;

    if (gap->pause_ms < left || AL_PLANT(node, GAP_WITHOUT_END))
        left = gap->pause_ms;
    ali_timer_set(node, ALI_TIMER_GAP, ref, left);
}

static void begin(struct al_node *node, ali_ref ref, uint64_t first)
{
    struct ali_gap *gap = ali_gap_at(node, ref);

    gap->first = first;
    gap->begun_ms = ali_mono_ms(node);
    gap->pause_ms = AL_GAP_NACK_BASE_MS;
    arm(node, ref);
}

/* ---- the buffer -------------------------------------------------------------------------- */

static void unpark(struct al_node *node, struct ali_conn *conn, struct ali_gap *gap)
{
    struct ali_parked *parked = gap->parked[0];

    gap->count--;
    gap->bytes -= parked->size;
    conn->parked_bytes -= parked->size;
    memmove(gap->parked, gap->parked + 1, gap->count * sizeof(gap->parked[0]));
    al_alloc_free(&node->alloc, parked, sizeof(*parked) + parked->size);
}

void ali_gap_drop(struct al_node *node, struct ali_conn *conn, struct ali_channel *channel)
{
    struct ali_gap *gap;

    if (channel->gap == AL_REF_NONE)
        return;
    gap = ali_gap_at(node, channel->gap);
    while (gap->count)
        unpark(node, conn, gap);
    ali_timer_cancel(node, ALI_TIMER_GAP, channel->gap);
    al_pool_put(&node->gaps, channel->gap);
    channel->gap = AL_REF_NONE;
}

static bool has_room(const struct ali_conn *conn, const struct ali_gap *gap, size_t size)
{
    return gap->count == 0 ||
           (gap->count < AL_REORDER_MESSAGES_MAX && gap->bytes + size <= AL_REORDER_BYTES_MAX &&
            conn->parked_bytes + size <= AL_REORDER_CONN_BYTES_MAX);
}

/* Holds the message if there is room; one that is held already is not held twice. */
static void park(struct al_node *node, struct ali_conn *conn, struct ali_gap *gap,
                 const struct al_msg_publish *m)
{
    size_t size = al_size_publish(m);
    struct ali_parked *parked;
    uint32_t at = gap->count;

    while (at > 0 && gap->parked[at - 1]->pseq > m->pseq)
        at--;
    if ((at > 0 && gap->parked[at - 1]->pseq == m->pseq) || !has_room(conn, gap, size))
        return;
    parked = al_alloc_new(&node->alloc, sizeof(*parked) + size);
    if (!parked)
        return; /* like one that never came */
    parked->pseq = m->pseq;
    parked->size = (uint32_t)size;
    al_encode_publish(parked->body, m);
    memmove(gap->parked + at + 1, gap->parked + at, (gap->count - at) * sizeof(gap->parked[0]));
    gap->parked[at] = parked;
    gap->count++;
    gap->bytes += (uint32_t)size;
    conn->parked_bytes += size;
}

int ali_gap_open(struct al_node *node, struct ali_conn *conn, const struct al_msg_publish *m)
{
    struct ali_channel *channel = ali_channel_at(conn, m->channel);
    uint64_t first = expected(node, channel);
    struct ali_gap *gap;
    bool is_new = channel->gap == AL_REF_NONE;

    if (channel->gaps == AL_GAPS_REFUSED || m->pseq - first > AL_GAP_SPAN_MAX)
        return -AL_E_SEQUENCE_GAP;
    if (is_new) {
        if (al_pool_reserve(&node->gaps, 1) < 0)
            return -AL_E_NOMEM;
        channel->gap = al_pool_take(&node->gaps);
        gap = ali_gap_at(node, channel->gap);
        gap->conn = conn->number;
        gap->channel = m->channel;
        gap->high = first - 1;
        ali_receipts_flush(node, conn);
        begin(node, channel->gap, first);
    }
    gap = ali_gap_at(node, channel->gap);
    park(node, conn, gap, m);
    if (m->pseq > gap->high + 1)
        nack(node, gap, gap->high + 1, m->pseq - 1);
    if (m->pseq > gap->high)
        gap->high = m->pseq;
    return 1;
}

/* ---- healing ----------------------------------------------------------------------------- */

/* Takes the first message of the buffer, or refuses it: it is answered. */
static void take(struct al_node *node, struct ali_conn *conn, struct ali_gap *gap)
{
    struct al_msg_publish m;
    int r = al_decode_publish(al_str_of(gap->parked[0]->body, gap->parked[0]->size), &m);

    assert(r == 0);
    (void)r;
    (void)ali_publish_one(node, conn, &m);
    unpark(node, conn, gap);
}

/* The channel is held: everything that has been seen or missed and not taken is refused, so that
 * the client knows where it stands. */
static void refuse_all(struct al_node *node, struct ali_conn *conn, struct ali_channel *channel,
                       struct ali_gap *gap)
{
    struct al_msg_publish m = {.channel = gap->channel, .pseq = expected(node, channel) + 1};

    for (; m.pseq <= gap->high; m.pseq++)
        ali_refuse(node, conn, &m, -AL_E_STREAM_HELD);
    ali_gap_drop(node, conn, channel);
}

int ali_gap_advance(struct al_node *node, struct ali_conn *conn, uint32_t number)
{
    struct ali_channel *channel = ali_channel_at(conn, number);
    struct ali_gap *gap = ali_gap_at(node, channel->gap);
    uint64_t first;

    while (gap->count && !channel->held && gap->parked[0]->pseq <= expected(node, channel))
        take(node, conn, gap);
    first = expected(node, channel);
    if (channel->held) {
        refuse_all(node, conn, channel, gap);
    } else if (first > gap->high) {
        ali_gap_drop(node, conn, channel);
    } else if (first != gap->first) {
        begin(node, channel->gap, first); /* another gap, which has its own time */
        if (!gap->count)                  /* of what was dropped nobody has asked again */
            nack(node, gap, first, gap->high);
    }
    return 0;
}

/* ---- the end of a gap that did not heal -------------------------------------------------- */

/* Gives up the first missing ones. 0 or -AL_E_NOMEM. */
static int give_up(struct al_node *node, struct ali_conn *conn, struct ali_channel *channel,
                   const struct ali_gap *gap)
{
    struct ali_rec_gap record = {.stream = ali_stream_at(node, channel->stream)->d.id,
                                 .producer = channel->producer_id,
                                 .first = expected(node, channel),
                                 .last = last_missing(gap),
                                 .wall_ms = node->v.now.wall_ms};
    struct al_msg_publish m = {.channel = gap->channel, .pseq = record.first};
    int r;

    if (record.last < record.first)
        return 0;
    r = ali_commit(node, ALI_REC_GAP, &record);
    if (r < 0)
        return r;
    channel->next_pseq = record.last + 1;
    for (; m.pseq <= record.last; m.pseq++)
        ali_refuse(node, conn, &m, -AL_E_GAP_CLOSED);
    return 0;
}

/* The message that was just admitted becomes a dead letter. */
static int kill_newest(struct al_node *node, struct ali_channel *channel,
                       const struct al_msg_envelope *envelope, bool notify)
{
    struct ali_stream *stream = ali_stream_at(node, channel->stream);
    struct ali_push what = {.seq = stream->d.runs.next_seq - 1,
                            .producer = channel->producer_id,
                            .id = envelope->message_id,
                            .bytes = envelope->payload.n,
                            .kind = channel->kind,
                            .notify = notify};
    struct ali_death death = {.state = AL_STATE_DEAD,
                              .code = AL_E_SEQUENCE_GAP,
                              .reason = al_str_c("messages before it were lost on their way")};

    return ali_message_dead(node, channel->stream, &what, &death);
}

/* Policy `fail`: takes the first held message as a dead letter. 0 or -AL_E_NOMEM. */
static int take_dead(struct al_node *node, struct ali_conn *conn, struct ali_channel *channel,
                     struct ali_gap *gap)
{
    struct ali_stream *stream = ali_stream_at(node, channel->stream);
    uint64_t seq = stream->d.runs.next_seq;
    struct al_msg_envelope envelope;
    struct al_msg_publish m;
    int r = al_decode_publish(al_str_of(gap->parked[0]->body, gap->parked[0]->size), &m);

    assert(r == 0);
    channel->failing = true;
    (void)ali_publish_one(node, conn, &m);
    channel->failing = false;
    ali_receipts_flush(node, conn);
    if (stream->d.runs.next_seq != seq && /* not a duplicate, not refused, not for later */
        al_decode_envelope(m.envelope, &envelope) == 0)
        r = kill_newest(node, channel, &envelope, m.flags & AL_PUBLISH_NOTIFY);
    unpark(node, conn, gap);
    return r;
}

static int end_gap(struct al_node *node, struct ali_conn *conn, struct ali_channel *channel,
                   struct ali_gap *gap)
{
    struct al_msg_publish first = {.channel = gap->channel, .pseq = expected(node, channel)};
    int r = 0;

    if (channel->gaps == AL_GAPS_WAIT) {
        ali_refuse(node, conn, &first, -AL_E_SEQUENCE_GAP);
        return ali_gap_advance(node, conn, gap->channel);
    }
    if (channel->gaps == AL_GAPS_SKIP) {
        r = give_up(node, conn, channel, gap);
        return r < 0 ? r : ali_gap_advance(node, conn, gap->channel);
    }
    while (r == 0 && !channel->held && expected(node, channel) <= gap->high) {
        r = give_up(node, conn, channel, gap);
        if (r == 0 && gap->count)
            r = take_dead(node, conn, channel, gap);
    }
    return r < 0 ? r : ali_gap_advance(node, conn, gap->channel);
}

int ali_gap_timer(struct al_node *node, ali_ref ref)
{
    struct ali_gap *gap = ali_gap_at(node, ref);
    struct ali_conn *conn = ali_conn_at(node, gap->conn);
    struct ali_channel *channel = ali_channel_at(conn, gap->channel);
    const struct ali_producer *producer = ali_producer_at(node, channel->producer);
    int r;

    if (conn->closing || producer->v.conn != conn->number ||
        producer->d.id != channel->producer_id) { /* it has a newer connection */
        ali_gap_drop(node, conn, channel);
        return 0;
    }
    if (ali_mono_ms(node) < gap->begun_ms + node->config.gap_timeout_ms ||
        AL_PLANT(node, GAP_WITHOUT_END)) {
        nack(node, gap, gap->first, last_missing(gap));
        if (gap->pause_ms < AL_GAP_NACK_MAX_MS)
            gap->pause_ms *= 2;
        arm(node, ref);
        return 0;
    }
    r = end_gap(node, conn, channel, gap);
    ali_receipts_flush(node, conn);
    return r;
}

/* ---- what a receiver misses -------------------------------------------------------------- */

int ali_handle_gap_nack(struct al_node *node, struct ali_conn *conn,
                        const struct al_msg_gap_nack *m)
{
    ali_ref ref = m->number ? ali_find_stream(node, m->number) : AL_REF_NONE;

    if (m->start < 1 || m->end < m->start) {
        ali_send_error(node, conn, AL_MSG_GAP_NACK, m->number, -AL_E_INVALID);
        return 0;
    }
    if (ref == AL_REF_NONE ||
        !ali_receiver_on(ali_agent_at(node, ali_stream_at(node, ref)->d.to)->inbox, conn)) {
        ali_send_error(node, conn, AL_MSG_GAP_NACK, m->number, -AL_E_NOT_ATTACHED);
        return 0;
    }
    return ali_push_range(node, conn, ref, m->start, m->end);
}
