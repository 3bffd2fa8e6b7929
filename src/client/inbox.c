/* inbox.c - what the node has given out to us.
 *
 * Deliveries are kept per stream in order of their sequences: first those with the program, then
 * the queued ones. The same message may be given out again: after a lost lease, or on a new
 * connection. Then
 * - if the program has acknowledged it already, the ack is repeated (settle.c);
 * - if the program is still working on it, the new lease is simply put in: the handler goes on, and
 *   its ack counts;
 * - otherwise it is queued, in place of the older copy.
 *
 * After a NACK the node recalls what it gave out behind the nacked message; but some of it may be
 * on its way to us. Until we see that a delivery was made after the NACK, the stream gives nothing
 * to the program. The signs are: RECALL; the answer to the NACK; the nacked message itself; a
 * message whose predecessor stands before the nacked one (which was dropped meanwhile). Until then
 * the NACK is kept: if the connection is lost and the session resumed, it is said again, so that
 * the pause that it asks for is not lost with the connection.
 *
 * A connection may lose deliveries, or bring them twice or out of order: see gaps.c. What waits for
 * one that is missing stands in the queue like the others, behind stream->high.
 *
 * Volatile messages have no sequence (0) and no lease: they stand in the queue where they came and
 * are acknowledged only for their credit. */
#include "base/errors.h"
#include "base/limits.h"
#include "base/text.h"
#include "client/gaps.h"
#include "client/session.h"
#include <assert.h>

/* ---- streams ----------------------------------------------------------------------------- */

struct stream_key {
    const struct ali_csession *session;
    uint32_t number;
};

static struct ali_rstream *rstream_at(const struct ali_csession *session, uint32_t ref)
{
    return al_pool_at(&session->rstream_pool, ref);
}

static bool number_eq(const void *ctx, uint32_t ref)
{
    const struct stream_key *key = ctx;

    return rstream_at(key->session, ref)->number == key->number;
}

/* Stream numbers are the node's, and dense: spreading them is enough. */
static uint64_t number_hash(uint32_t number)
{
    return (number + 1ull) * 0x9e3779b97f4a7c15ull;
}

struct ali_rstream *ali_rstream_find(struct ali_csession *session, uint32_t number)
{
    struct stream_key key = {session, number};
    uint32_t ref = al_index_find(&session->rstream_index, number_hash(number), number_eq, &key);

    return ref == AL_REF_NONE ? NULL : rstream_at(session, ref);
}

static int rstream_get(struct ali_csession *session, struct ali_attach *attach, uint32_t number,
                       struct ali_rstream **ret_stream)
{
    struct ali_rstream *stream = ali_rstream_find(session, number);
    uint32_t ref;
    int r;

    if (stream) {
        if (stream->attach != attach)
            return -AL_E_PROTOCOL;
        *ret_stream = stream;
        return 0;
    }
    r = al_pool_reserve(&session->rstream_pool, 1);
    if (r >= 0)
        r = al_index_reserve(&session->rstream_index, 1);
    if (r < 0)
        return r;
    ref = al_pool_take(&session->rstream_pool);
    stream = rstream_at(session, ref);
    stream->ref = ref;
    stream->number = number;
    stream->attach = attach;
    stream->acks_end = &stream->acks;
    if (session->done[number % AL_RSTREAMS_REMEMBERED].stream == number)
        stream->done_lease = session->done[number % AL_RSTREAMS_REMEMBERED].lease;
    stream->next = attach->streams;
    if (stream->next)
        stream->next->prev = stream;
    attach->streams = stream;
    al_index_add(&session->rstream_index, number_hash(number), ref);
    *ret_stream = stream;
    return 0;
}

static unsigned ready_list(const struct ali_rstream *stream)
{
    return stream->attach->pull ? ALI_READY_PULL : ALI_READY_HANDLER;
}

static void set_ready(struct ali_csession *session, struct ali_rstream *stream, bool ready)
{
    unsigned list = ready_list(stream);

    if (stream->ready == ready)
        return;
    stream->ready = ready;
    if (ready) {
        stream->ready_next = NULL;
        stream->ready_prev = session->ready_tail[list];
        if (stream->ready_prev)
            stream->ready_prev->ready_next = stream;
        else
            session->ready_head[list] = stream;
        session->ready_tail[list] = stream;
        return;
    }
    if (stream->ready_prev)
        stream->ready_prev->ready_next = stream->ready_next;
    else
        session->ready_head[list] = stream->ready_next;
    if (stream->ready_next)
        stream->ready_next->ready_prev = stream->ready_prev;
    else
        session->ready_tail[list] = stream->ready_prev;
}

void ali_rstream_free(struct ali_csession *session, struct ali_rstream *stream)
{
    set_ready(session, stream, false);
    ali_gap_free(session, stream);
    session->done[stream->number % AL_RSTREAMS_REMEMBERED].stream = stream->number;
    session->done[stream->number % AL_RSTREAMS_REMEMBERED].lease = stream->done_lease;
    if (stream->prev)
        stream->prev->next = stream->next;
    else
        stream->attach->streams = stream->next;
    if (stream->next)
        stream->next->prev = stream->prev;
    al_index_remove(&session->rstream_index, number_hash(stream->number), stream->ref);
    al_pool_put(&session->rstream_pool, stream->ref);
}

/* True if a commit under way settles the last message that the program had, and none before it has
 * to come again first. */
static bool is_left_to_commits(const struct ali_rstream *stream)
{
    const struct ali_delivery *last = stream->queued ? stream->queued->prev : stream->tail;
    const struct ali_delivery *first = stream->head;

    return first && !first->dropped && last && last->let_go && last->commit &&
           ali_commit_is_under_way(last->commit);
}

void ali_rstream_update(struct ali_csession *session, struct ali_rstream *stream)
{
    const struct ali_attach *attach = stream->attach;
    bool free_to_go = stream->held_count == 0 ||
                      (attach->options.pipelined && (attach->pull || is_left_to_commits(stream)));

    if (!stream->head && !stream->acks && !stream->nack) {
        ali_rstream_free(session, stream);
        return;
    }
    set_ready(session, stream,
              attach->state == ALI_ATTACH_DONE && stream->queued &&
                  stream->queued->pub.seq <= stream->high && free_to_go && !stream->nack);
}

void ali_rstream_remove(struct ali_csession *session, struct ali_delivery *delivery)
{
    struct ali_rstream *stream = delivery->stream;
    bool was_head = stream->head == delivery;

    if (delivery->prev)
        delivery->prev->next = delivery->next;
    else
        stream->head = delivery->next;
    if (delivery->next)
        delivery->next->prev = delivery->prev;
    else
        stream->tail = delivery->prev;
    if (stream->queued == delivery)
        stream->queued = delivery->next;
    if (delivery->held)
        stream->held_count--;
    else
        stream->attach->queued--;
    delivery->stream = NULL;
    delivery->next = delivery->prev = NULL;
    if (was_head && stream->head)
        ali_lease_head(session, stream->head);
    (void)session;
}

/* Behind the last one with a smaller sequence; a volatile one goes to the end. */
static void rstream_insert(struct ali_csession *session, struct ali_rstream *stream,
                           struct ali_delivery *delivery)
{
    struct ali_delivery *after = stream->tail, *at = after;

    for (; at && !at->held && delivery->pub.seq; at = at->prev) {
        if (at->pub.seq && at->pub.seq < delivery->pub.seq)
            break;
        if (at->pub.seq)
            after = at->prev;
    }
    delivery->stream = stream;
    delivery->prev = after;
    delivery->next = after ? after->next : stream->head;
    if (delivery->prev)
        delivery->prev->next = delivery;
    else
        stream->head = delivery;
    if (delivery->next)
        delivery->next->prev = delivery;
    else
        stream->tail = delivery;
    if (stream->queued == delivery->next)
        stream->queued = delivery;
    stream->attach->queued++;
    if (stream->head == delivery)
        ali_lease_head(session, delivery);
}

void ali_rstream_void(struct ali_csession *session, struct ali_rstream *stream, uint64_t seq)
{
    struct ali_delivery *delivery = stream->head, *next;

    for (; delivery; delivery = next) {
        next = delivery->next;
        if (delivery->pub.seq < seq || delivery->pub.seq == 0 ||
            (delivery->held && !delivery->dropped))
            continue;
        ali_rstream_remove(session, delivery);
        ali_delivery_free(session, delivery);
    }
}

/* ---- deliveries -------------------------------------------------------------------------- */

/* Was this made before the node had seen our NACK? Then it is void, and RECALL follows; unless it
 * is the NACKed message itself that was lost when it came again. */
static bool is_stale(struct ali_csession *session, struct ali_rstream *stream,
                     const struct al_msg_deliver *m)
{
    uint64_t nacked;

    if (!stream->nack || m->seq == 0)
        return false;
    nacked = stream->nack->seq;
    if (m->seq > nacked && m->prev_seq >= nacked)
        return true;
    if (m->seq == nacked && m->lease == stream->nack->lease) /* once more, after a reconnect */
        return true;
    ali_nack_over(session, stream);
    ali_rstream_void(session, stream, nacked + 1);
    return false;
}

/* The copy that we have of this message, NULL: none. */
static struct ali_delivery *find_copy(const struct ali_rstream *stream, uint64_t seq)
{
    struct ali_delivery *delivery = stream->tail;

    /* From the end: most messages are new. */
    while (delivery && seq && delivery->pub.seq != seq) {
        if (delivery->pub.seq && delivery->pub.seq < seq)
            return NULL;
        delivery = delivery->prev;
    }
    return seq ? delivery : NULL;
}

/* The message came again: puts the new lease into the copy that we have. */
static void adopt(struct ali_csession *session, struct ali_delivery *copy,
                  const struct al_msg_deliver *m)
{
    if (m->lease <= copy->lease)
        session->stats.repeated++;
    if (m->lease < copy->lease && !copy->lost) /* overtaken by a later attempt */
        return;
    copy->lease = m->lease;
    copy->after = ali_deliver_after(m);
    copy->lease_ms = m->lease_ms;
    copy->lost = false;
    if (!copy->held) {
        copy->pub.attempt = m->attempt;
        copy->pub.lease_ms = m->lease_ms;
        copy->pub.redelivered |= (m->flags & AL_DELIVER_REDELIVERED) != 0;
    }
    if (copy->stream->head == copy)
        ali_lease_head(session, copy);
    if (copy->commit)
        ali_commit_leased(session, copy->commit);
}

/* Queues a delivery, or puts it in place of the copy that we have. */
static int take(struct ali_csession *session, struct ali_rstream *stream,
                const struct al_msg_deliver *m, struct ali_delivery **ret_delivery)
{
    struct ali_delivery *delivery = find_copy(stream, m->seq);
    const struct ali_attach *attach = stream->attach;
    int r = 0;

    if (delivery && delivery->dropped) { /* let go, and given out again: a message like any other */
        ali_rstream_remove(session, delivery);
        ali_delivery_free(session, delivery);
        delivery = NULL;
    }
    if (delivery) {
        adopt(session, delivery, m);
    } else if (attach->queued >= attach->credit_most) { /* what we have may always come again */
        r = -AL_E_PROTOCOL;
    } else {
        r = ali_delivery_new(session, m, attach->agent, &delivery);
        if (r >= 0)
            rstream_insert(session, stream, delivery);
    }
    *ret_delivery = delivery;
    return r;
}

int ali_inbox_deliver(struct ali_csession *session, const struct al_msg_deliver *m)
{
    struct ali_attach *attach = ali_attach_at(session, m->agent);
    struct ali_delivery *delivery = NULL;
    struct ali_rstream *stream;
    int r;

    if (!attach) /* on its way when we detached */
        return 0;
    r = rstream_get(session, attach, m->stream, &stream);
    if (r < 0)
        return r;
    if (ali_deliver_is_over(stream, m)) {
        session->stats.repeated++;
    } else if (is_stale(session, stream, m)) {
        r = m->seq > stream->nack->seq ? ali_gap_doubt(session, stream, m->seq) : 0;
    } else {
        r = ali_settle_again(session, stream, m);
        if (r == 0)
            r = take(session, stream, m, &delivery);
        if (r >= 0)
            r = ali_gap_pass(session, stream, m, delivery);
    }
    ali_rstream_update(session, stream);
    return r;
}

int ali_inbox_recall(struct ali_csession *session, const struct al_msg_recall *m)
{
    struct al_notice notice = {.type = AL_NOTICE_LEASE_LOST, .error = -(int)m->code, .detail = ""};
    struct ali_rstream *stream = ali_rstream_find(session, m->stream);
    struct ali_delivery *delivery;

    if (!stream)
        return 0;
    if (stream->nack && m->seq <= stream->nack->seq + 1) {
        ali_gap_recalled(session, stream, stream->nack->seq);
        ali_nack_over(session, stream);
    }
    ali_rstream_void(session, stream, m->seq);
    ali_gap_recalled(session, stream, m->seq);
    for (delivery = stream->head; delivery; delivery = delivery->next) {
        if (delivery->pub.seq < m->seq || delivery->pub.seq == 0 || delivery->lost)
            continue;
        delivery->lost = true;
        notice.agent = delivery->pub.agent;
        notice.stream = m->stream;
        notice.seq = delivery->pub.seq;
        notice.id = delivery->pub.message.id;
        ali_csession_notice(session, &notice);
    }
    ali_rstream_update(session, stream);
    return 0;
}

struct ali_delivery *ali_csession_take(struct ali_csession *session, unsigned ready,
                                       struct al_now now)
{
    struct ali_rstream *stream = session->ready_head[ready];
    struct ali_delivery *delivery;

    session->now = now;
    if (!stream)
        return NULL;
    delivery = stream->queued;
    assert(delivery && !delivery->held);
    delivery->held = true;
    delivery->cap_ns = now.mono_ns + session->config.lease_cap_ms * AL_NS_PER_MS;
    stream->queued = delivery->next;
    stream->held_count++;
    stream->attach->queued--;
    session->stats.received++;
    set_ready(session, stream, false); /* to the end of the line */
    ali_rstream_update(session, stream);
    return delivery;
}

void ali_inbox_deinit(struct ali_csession *session)
{
    while (session->attaches)
        ali_attach_free(session, session->attaches, -AL_E_CLOSED);
    while (session->deliveries)
        ali_delivery_free(session, session->deliveries);
    al_pool_deinit(&session->rstream_pool);
    al_index_deinit(&session->rstream_index);
}
