/* gaps.c - what was lost on the way between here and the node, in either direction.
 *
 * What the node misses of ours it asks for, and gets it once more.
 *
 * What we miss of its deliveries shows when the next one comes: a DELIVER that FOLLOWS names in
 * prev_seq the message that is out before it. A stream's `high` is the sequence up to which
 * everything that is out has come; a delivery behind it whose predecessor is not here stays in the
 * queue (no longer than the credit allows), and GAP_NACK asks for what is missing: once for each
 * gap when it is found, then with growing pauses for the first one. The node gives it out again
 * under its lease; or, if it is not out any more, what is first behind it, which then follows
 * nothing; or it recalls what is here. So each answer moves the stream on. A gap that is not
 * closed in AL_GAP_TIMEOUT_MS ends the connection: it loses what it is asked for. The session goes
 * on with another one, on which the node gives out in order everything that is out. Nothing is
 * skipped: the missing message is neither lost nor ended, and what is behind it could not be
 * acknowledged before it anyway.
 *
 * A lost delivery that nothing follows shows only when its lease runs out at the node.
 *
 * What comes twice under one lease is dropped. As leases of a stream rise, one number says what is
 * over (done_lease); the session remembers it of the streams that have gone quiet. */
#include "client/gaps.h"
#include "base/errors.h"
#include "base/limits.h"
#include "client/session.h"

/* ---- what the node misses ---------------------------------------------------------------- */

int ali_outbox_gap_nack(struct ali_csession *session, const struct al_msg_gap_nack *m)
{
    struct ali_channel *channel = ali_channel_find(session, m->number);
    struct ali_out *out;
    int r = 0;

    if (!channel)
        return 0; /* closed meanwhile */
    for (out = channel->head; out != channel->unsent && r >= 0; out = out->next) {
        if (!out->inflight || out->pseq < m->start || out->pseq > m->end)
            continue;
        channel->repaired = true;
        session->stats.resent++;
        r = al_buf_put(&session->out, out->frame, out->frame_size);
    }
    return r;
}

/* ---- what we miss ------------------------------------------------------------------------ */

/* Asks for what is missing from `start` to `end`. */
static int ask(struct ali_csession *session, const struct ali_rstream *stream, uint64_t start,
               uint64_t end)
{
    struct al_msg_gap_nack m = {.number = stream->number, .start = start, .end = end};

    session->stats.asked_again++;
    return al_put_gap_nack(&session->out, &m);
}

/* The first missing ones have their time from now on. */
static void begin(struct ali_csession *session, struct ali_rgap *gap)
{
    gap->begun_ns = session->now.mono_ns;
    gap->pause_ms = AL_GAP_NACK_BASE_MS;
    gap->ask_ns = gap->begun_ns + gap->pause_ms * AL_NS_PER_MS;
    if (gap->ask_ns < session->renew_ns)
        session->renew_ns = gap->ask_ns;
}

/* Something up to `end` is missing. */
static int open_gap(struct ali_csession *session, struct ali_rstream *stream, uint64_t end)
{
    struct ali_rgap *gap = stream->gap;

    if (!gap) {
        gap = al_alloc_zero(&session->config.alloc, sizeof(*gap));
        if (!gap)
            return -AL_E_NOMEM;
        stream->gap = gap;
        begin(session, gap);
    }
    if (end > gap->end)
        gap->end = end;
    return 0;
}

void ali_gap_free(struct ali_csession *session, struct ali_rstream *stream)
{
    if (!stream->gap)
        return;
    al_alloc_free(&session->config.alloc, stream->gap, sizeof(*stream->gap));
    stream->gap = NULL;
}

/* The first delivery that waits for a missing one, NULL: none. */
static struct ali_delivery *first_waiting(const struct ali_rstream *stream)
{
    struct ali_delivery *delivery = stream->queued;

    while (delivery && delivery->pub.seq <= stream->high)
        delivery = delivery->next;
    return delivery;
}

/* Lets go what no longer waits, up to the next gap. */
static void close_up(struct ali_csession *session, struct ali_rstream *stream)
{
    struct ali_delivery *waiting = first_waiting(stream);
    uint64_t high = stream->high;

    while (waiting && waiting->after <= stream->high) {
        if (waiting->pub.seq > stream->high)
            stream->high = waiting->pub.seq;
        waiting = waiting->next;
    }
    if (!stream->gap)
        return;
    if (stream->high >= stream->gap->end)
        ali_gap_free(session, stream);
    else if (stream->high != high)
        begin(session, stream->gap);
}

/* The newest sequence before this delivery that is here. */
static uint64_t newest_before(const struct ali_rstream *stream, const struct ali_delivery *delivery)
{
    const struct ali_delivery *before = delivery->prev;

    while (before && !before->held && before->pub.seq == 0)
        before = before->prev;
    return before && !before->held && before->pub.seq > stream->high ? before->pub.seq
                                                                     : stream->high;
}

int ali_gap_came(struct ali_csession *session, struct ali_rstream *stream,
                 const struct al_msg_deliver *m, struct ali_delivery *delivery)
{
    uint64_t after = ali_deliver_after(m), start, end;
    int r;

    if (after <= stream->high) {
        if (m->seq > stream->high && stream->gap)
            begin(session, stream->gap);
        if (m->seq > stream->high)
            stream->high = m->seq;
        close_up(session, stream);
        return 0;
    }
    /* What was not kept has to come once more, behind what is missing. */
    end = delivery ? after : m->seq;
    r = open_gap(session, stream, end);
    if (r < 0)
        return r;
    start = (delivery ? newest_before(stream, delivery) : stream->high) + 1;
    if (start <= stream->gap->asked)
        start = stream->gap->asked + 1;
    if (start > end)
        return 0;
    stream->gap->asked = end;
    return ask(session, stream, start, end);
}

int ali_gap_doubt(struct ali_csession *session, struct ali_rstream *stream, uint64_t seq)
{
    return open_gap(session, stream, seq);
}

void ali_gap_recalled(struct ali_csession *session, struct ali_rstream *stream, uint64_t seq)
{
    struct ali_rgap *gap = stream->gap;

    seq = seq ? seq : 1;
    if (stream->high >= seq)
        stream->high = seq - 1;
    if (!gap)
        return;
    if (gap->end >= seq)
        gap->end = seq - 1;
    if (gap->asked >= seq)
        gap->asked = seq - 1;
    if (gap->end <= stream->high)
        ali_gap_free(session, stream);
}

void ali_gap_resumed(struct ali_csession *session, struct ali_rstream *stream)
{
    if (!stream->gap)
        return;
    stream->gap->asked = 0; /* everything comes again, and may be lost again */
    begin(session, stream->gap);
}

int ali_gap_tick(struct ali_csession *session, struct ali_rstream *stream)
{
    const struct ali_delivery *waiting = first_waiting(stream);
    struct ali_rgap *gap = stream->gap;
    uint64_t now = session->now.mono_ns;
    uint64_t end_ns = gap->begun_ns + AL_GAP_TIMEOUT_MS * AL_NS_PER_MS;
    int r = 0;

    if (now >= end_ns) {
        session->fatal = -AL_E_SEQUENCE_GAP;
        ali_detail_set(session->fatal_detail,
                       al_str_c("a delivery was lost and did not come for 5 s, though asked for"));
        return session->fatal;
    }
    if (now >= gap->ask_ns) {
        r = ask(session, stream, stream->high + 1,
                waiting && waiting->after > stream->high ? waiting->after : gap->end);
        if (gap->pause_ms < AL_GAP_NACK_MAX_MS)
            gap->pause_ms *= 2;
        gap->ask_ns = now + gap->pause_ms * AL_NS_PER_MS;
    }
    if (gap->ask_ns < session->renew_ns)
        session->renew_ns = gap->ask_ns;
    if (end_ns < session->renew_ns)
        session->renew_ns = end_ns;
    return r;
}

int ali_gap_error(struct ali_csession *session, const struct al_msg_error *m)
{
    struct al_msg_recall recall = {.stream = m->request, .seq = 1, .code = m->code};

    return ali_inbox_recall(session, &recall); /* the node has nothing out of such a stream */
}
