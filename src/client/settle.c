/* settle.c - acks, nacks, leases: how the program's answers reach the node.
 *
 * An ack is kept as a frame until the node has confirmed that it is durable. On a new connection
 * the unconfirmed ones are written again, with their old leases. If the node says that the lease is
 * void, either the message has ended (the confirmation was lost: its record says so), or it will be
 * given out again, to us or to somebody else; if to us, the kept ack answers it and the program
 * never sees the message twice. A kept ack that hears nothing more is forgotten after some minutes.
 * A nack is kept as long as its effect was not seen (inbox.c), and repeated under the same lease.
 *
 * Only the head of a stream runs its lease clock at the node, so only heads are renewed: at a third
 * of their lease, whether they are with the program or still queued, until the cap. */
#include "base/errors.h"
#include "base/limits.h"
#include "base/text.h"
#include "client/gaps.h"
#include "client/session.h"
#include <assert.h>

#define LEASE_AT     (AL_WIRE_HEADER_SIZE + 16u) /* where an ACK or NACK has its lease */
#define WAITING_MAX  4096u
#define WAITING_MS   (10u * 60 * 1000)
#define RENEW_PART   3u
#define RENEW_MIN_MS 10u

/* ---- kept acks --------------------------------------------------------------------------- */

static void unconfirmed_free(struct ali_csession *session, struct ali_unconfirmed *ack)
{
    session->unconfirmed--;
    session->waiting -= ack->waiting;
    al_alloc_free(&session->config.alloc, ack, sizeof(*ack) + ack->frame_size);
}

/* Takes *link out of the stream's list. */
static struct ali_unconfirmed *unconfirmed_unlink(struct ali_rstream *stream,
                                                  struct ali_unconfirmed **link)
{
    struct ali_unconfirmed *ack = *link;

    *link = ack->next;
    if (!ack->next)
        stream->acks_end = link;
    return ack;
}

static struct ali_unconfirmed **unconfirmed_find(struct ali_rstream *stream, uint64_t seq)
{
    struct ali_unconfirmed **link = &stream->acks;

    while (*link && (*link)->seq != seq)
        link = &(*link)->next;
    return *link ? link : NULL;
}

void ali_settle_forget(struct ali_csession *session, struct ali_rstream *stream)
{
    while (stream->acks)
        unconfirmed_free(session, unconfirmed_unlink(stream, &stream->acks));
    ali_nack_over(session, stream);
}

void ali_nack_over(struct ali_csession *session, struct ali_rstream *stream)
{
    struct ali_unconfirmed *nack = stream->nack;

    stream->nack = NULL;
    if (nack)
        al_alloc_free(&session->config.alloc, nack, sizeof(*nack) + nack->frame_size);
}

static int ack_write(struct ali_csession *session, struct ali_rstream *stream,
                     struct ali_unconfirmed *ack)
{
    al_put32(ack->frame + AL_WIRE_HEADER_SIZE, stream->attach->number);
    al_put64(ack->frame + LEASE_AT, ack->lease);
    return al_buf_put(&session->out, ack->frame, ack->frame_size);
}

int ali_nack_resend(struct ali_csession *session, struct ali_rstream *stream)
{
    return stream->nack ? ack_write(session, stream, stream->nack) : 0;
}

/* The lease is void: the ack waits for the message to be given out again. */
static void ack_wait(struct ali_csession *session, struct ali_unconfirmed *ack)
{
    if (ack->waiting)
        return;
    ack->waiting = true;
    ack->expires_ns = session->now.mono_ns + WAITING_MS * AL_NS_PER_MS;
    session->waiting++;
    if (ack->expires_ns < session->renew_ns)
        session->renew_ns = ack->expires_ns;
}

int ali_settle_resend(struct ali_csession *session, struct ali_rstream *stream)
{
    struct ali_unconfirmed *ack;
    int r = 0;

    for (ack = stream->acks; ack && r >= 0; ack = ack->next) {
        session->waiting -= ack->waiting;
        ack->waiting = false;
        ack->resent = true;
        r = ack_write(session, stream, ack);
    }
    return r;
}

int ali_settle_again(struct ali_csession *session, struct ali_rstream *stream,
                     const struct al_msg_deliver *m)
{
    struct ali_unconfirmed **link = m->seq ? unconfirmed_find(stream, m->seq) : NULL;
    struct ali_unconfirmed *ack = link ? *link : NULL;
    int r;

    if (!ack)
        return 0;
    if (ack->lease == m->lease && !ack->waiting)
        return 1; /* the ack is on its way */
    if (ali_deliver_after(m) > stream->high)
        return 1; /* what is missing before it is acked first: it will come again with it */
    ack->lease = m->lease;
    session->waiting -= ack->waiting;
    ack->waiting = false;
    session->stats.suppressed++;
    r = ack_write(session, stream, ack);
    return r < 0 ? r : 1;
}

int ali_settle_acked(struct ali_csession *session, const struct al_msg_acked *m)
{
    struct ali_rstream *stream = ali_rstream_find(session, m->stream);
    struct ali_unconfirmed **link;

    if (!stream)
        return 0;
    link = &stream->acks;
    while (*link) {
        if ((*link)->seq < m->seq || (*link)->seq > m->last_seq) {
            link = &(*link)->next;
            continue;
        }
        ali_lease_is_over(stream, (*link)->lease);
        unconfirmed_free(session, unconfirmed_unlink(stream, link));
        session->stats.confirmed++;
    }
    if (stream->nack && m->last_seq >= stream->nack->seq) {
        ali_lease_is_over(stream, stream->nack->lease);
        ali_nack_over(session, stream);
    }
    ali_rstream_update(session, stream);
    return 0;
}

/* ---- refusals ---------------------------------------------------------------------------- */

static void forget_ack(struct ali_csession *session, struct ali_rstream *stream, uint64_t seq,
                       int error)
{
    struct ali_unconfirmed **link = unconfirmed_find(stream, seq);
    struct al_notice notice = {.type = AL_NOTICE_SETTLE_REFUSED,
                               .error = error,
                               .agent = stream->attach->agent,
                               .stream = stream->number,
                               .seq = seq,
                               .detail = al_error_text(error)};

    if (!link)
        return;
    unconfirmed_free(session, unconfirmed_unlink(stream, link));
    if (error < 0)
        ali_csession_notice(session, &notice);
    else
        session->stats.confirmed++;
}

/* The record of a message whose ack was refused has come: did it end by that ack? */
static int record_came(struct ali_csession *session, struct ali_request *request)
{
    struct ali_rstream *stream = ali_rstream_find(session, request->about_stream);
    struct ali_unconfirmed **link = stream ? unconfirmed_find(stream, request->about_seq) : NULL;
    struct al_msg_record record;
    int r = ali_request_record(request, &record);

    if (link && (*link)->waiting) {
        if (r == -AL_E_NOT_FOUND ||
            (r == 0 && (record.state == AL_STATE_DELIVERED || record.state == AL_STATE_PARTIAL ||
                        record.state == AL_STATE_ENDED)))
            forget_ack(session, stream, request->about_seq, 0);
        else if (r == 0 && record.state > AL_STATE_DELAYED)
            forget_ack(session, stream, request->about_seq, -AL_E_LEASE_LOST);
        ali_rstream_update(session, stream);
    }
    ali_request_free(session, request);
    return r == -AL_E_PROTOCOL ? r : 0;
}

static int ack_refused(struct ali_csession *session, struct ali_rstream *stream,
                       struct ali_unconfirmed *ack, const struct al_msg_settle_refused *m)
{
    struct al_msg_record_get question = {.stream = stream->number, .seq = ack->seq};

    if (m->code == AL_E_LEASE_LOST && session->waiting < WAITING_MAX) {
        ack_wait(session, ack);
        return ali_csession_ask_record(session, &question, NULL, record_came);
    }
    forget_ack(session, stream, ack->seq, m->code == AL_E_NOT_FOUND ? 0 : -(int)m->code);
    return 0;
}

int ali_settle_refused(struct ali_csession *session, const struct al_msg_settle_refused *m)
{
    struct ali_rstream *stream = ali_rstream_find(session, m->stream);
    struct ali_unconfirmed **link;
    struct ali_delivery *delivery;
    int r = 0;

    if (!stream)
        return 0;
    link = unconfirmed_find(stream, m->seq);
    if (link && (*link)->lease == m->lease) {
        r = ack_refused(session, stream, *link, m);
    } else {
        for (delivery = stream->head; delivery; delivery = delivery->next) {
            if (delivery->pub.seq == m->seq && delivery->lease == m->lease)
                delivery->lost = true; /* an EXTEND came too late */
        }
    }
    if (stream->nack && m->seq == stream->nack->seq)
        ali_nack_over(session, stream);
    ali_rstream_update(session, stream);
    return r;
}

/* ---- settling ---------------------------------------------------------------------------- */

static bool can_write(const struct ali_csession *session, const struct ali_rstream *stream)
{
    return session->link == ALI_LINK_UP && !session->goodbye_sent &&
           stream->attach->state == ALI_ATTACH_DONE;
}

static int check_settle(const struct ali_delivery *delivery)
{
    const struct ali_delivery *before;

    if (!delivery->stream)
        return delivery->detached ? delivery->detached : -AL_E_INVALID;
    if (!delivery->held || delivery->dropped || delivery->commit)
        return -AL_E_INVALID;
    for (before = delivery->prev; before && delivery->pub.seq; before = before->prev) {
        if (before->pub.seq)
            return -AL_E_OUT_OF_ORDER;
    }
    return 0;
}

/* The program has answered: the delivery leaves the stream. */
void ali_settle_finish(struct ali_csession *session, struct ali_delivery *delivery)
{
    struct ali_rstream *stream = delivery->stream;

    ali_rstream_remove(session, delivery);
    ali_rstream_update(session, stream);
    session->stats.settled++;
    delivery->settled = true;
    if (!delivery->in_handler)
        ali_delivery_free(session, delivery);
}

/* Room for a frame with a body of this size, its header written. NULL: no memory. */
static struct ali_unconfirmed *frame_new(struct ali_csession *session, unsigned type,
                                         size_t body_size)
{
    size_t size = AL_WIRE_HEADER_SIZE + body_size;
    struct ali_unconfirmed *one = al_alloc_new(&session->config.alloc, sizeof(*one) + size);

    if (!one)
        return NULL;
    memset(one, 0, sizeof(*one));
    one->frame_size = (uint32_t)size;
    al_put32(one->frame, (uint32_t)body_size);
    al_put32(one->frame + 4, type);
    return one;
}

static int ack_new(struct ali_csession *session, const struct ali_delivery *delivery,
                   const struct al_msg_ack *m, struct ali_unconfirmed **ret_ack)
{
    struct ali_unconfirmed *ack = frame_new(session, AL_MSG_ACK, al_size_ack(m));

    if (!ack)
        return -AL_E_NOMEM;
    ack->seq = delivery->pub.seq;
    ack->lease = delivery->lease;
    (void)al_encode_ack(ack->frame + AL_WIRE_HEADER_SIZE, m);
    *ret_ack = ack;
    return 0;
}

/* Makes this the nack of the stream; an earlier one was about a message that has come again. */
static int nack_keep(struct ali_csession *session, struct ali_rstream *stream,
                     const struct al_msg_nack *m)
{
    struct ali_unconfirmed *nack = frame_new(session, AL_MSG_NACK, al_size_nack(m));

    if (!nack)
        return -AL_E_NOMEM;
    ali_nack_over(session, stream);
    nack->seq = m->seq;
    nack->lease = m->lease;
    (void)al_encode_nack(nack->frame + AL_WIRE_HEADER_SIZE, m);
    stream->nack = nack;
    return 0;
}

int ali_ack_check(const struct ali_csession *session, const struct al_ack_options *options)
{
    struct al_str reason = al_str_c(options->reason), type = al_str_c(options->response_type);

    if (options->status > AL_ACK_FAILED || !al_utf8_is_valid(reason) || !al_text_is_plain(type) ||
        (options->response_size && !options->response))
        return -AL_E_INVALID;
    if (reason.n > AL_REASON_MAX || type.n > AL_CONTENT_TYPE_MAX ||
        options->response_size > AL_RESPONSE_MAX || options->response_size > session->payload_max)
        return -AL_E_TOO_LARGE;
    return 0;
}

int ali_ack_body(struct ali_csession *session, const struct al_ack_options *options,
                 struct al_msg_ack *ret_ack)
{
    int r = ali_ack_check(session, options);

    al_buf_clear(&session->scratch_headers);
    if (r >= 0)
        r = ali_headers_encode(options->metadata, options->metadata_count,
                               &session->scratch_headers);
    if (r < 0)
        return r;
    ret_ack->status = options->status ? (uint8_t)options->status : AL_STATUS_SUCCESS;
    ret_ack->reason = al_str_c(options->reason);
    ret_ack->response_type = al_str_c(options->response_type);
    ret_ack->metadata = al_str_of(session->scratch_headers.data, session->scratch_headers.size);
    ret_ack->response = al_str_of(options->response, options->response_size);
    return 0;
}

int ali_csession_check_ack(const struct ali_csession *session, const struct ali_delivery *delivery,
                           const struct al_ack_options *options)
{
    int r = check_settle(delivery);

    return r < 0 || !options ? r : ali_ack_check(session, options);
}

int ali_csession_ack(struct ali_csession *session, struct ali_delivery *delivery,
                     const struct al_ack_options *options, struct al_now now)
{
    static const struct al_ack_options success;
    struct ali_rstream *stream = delivery->stream;
    struct al_msg_ack m = {.stream = delivery->pub.stream, .seq = delivery->pub.seq};
    struct ali_unconfirmed *ack;
    int r;

    session->now = now;
    options = options ? options : &success;
    r = check_settle(delivery);
    if (r >= 0)
        r = ali_ack_body(session, options, &m);
    if (r < 0)
        return r;
    r = ack_new(session, delivery, &m, &ack);
    if (r < 0)
        return r;
    session->unconfirmed++;
    *stream->acks_end = ack;
    stream->acks_end = &ack->next;
    if (delivery->lost)
        ack_wait(session, ack);
    else if (can_write(session, stream) && ack_write(session, stream, ack) < 0)
        session->give_up = true;  /* it is kept: the next connection says it */
    if (delivery->pub.seq == 0) { /* volatile: only for its credit, nobody confirms it */
        struct ali_unconfirmed **link = &stream->acks;

        while (*link != ack)
            link = &(*link)->next;
        unconfirmed_free(session, unconfirmed_unlink(stream, link));
        session->stats.confirmed++;
    }
    ali_settle_finish(session, delivery);
    return 0;
}

int ali_csession_nack(struct ali_csession *session, struct ali_delivery *delivery,
                      uint32_t retry_after_ms, const char *reason, struct al_now now)
{
    struct ali_rstream *stream = delivery->stream;
    struct al_msg_nack m = {.stream = delivery->pub.stream,
                            .seq = delivery->pub.seq,
                            .lease = delivery->lease,
                            .retry_after_ms = retry_after_ms,
                            .reason = al_str_c(reason)};
    int r;

    session->now = now;
    r = check_settle(delivery);
    if (r < 0)
        return r;
    if (m.seq == 0) /* volatile: it is not tried again */
        return ali_csession_ack(session, delivery, NULL, now);
    if (retry_after_ms > AL_RETRY_CAP_MAX_MS || !al_utf8_is_valid(m.reason))
        return -AL_E_INVALID;
    if (m.reason.n > AL_REASON_MAX)
        return -AL_E_TOO_LARGE;
    ali_gap_recalled(session, stream, m.seq);
    /* Without a lease it will be given out again anyway: the node counts the attempt as failed. */
    if (!delivery->lost) {
        r = nack_keep(session, stream, &m);
        if (r < 0)
            return r;
        if (can_write(session, stream) && ack_write(session, stream, stream->nack) < 0)
            session->give_up = true; /* it is kept: the next connection says it */
    }
    session->stats.confirmed++;
    ali_settle_finish(session, delivery);
    return 0;
}

int ali_csession_extend(struct ali_csession *session, struct ali_delivery *delivery,
                        uint32_t lease_ms, uint32_t retrying, struct al_now now)
{
    struct al_msg_extend m = {.stream = delivery->pub.stream,
                              .seq = delivery->pub.seq,
                              .lease = delivery->lease,
                              .lease_ms = lease_ms,
                              .retrying = (uint16_t)retrying};
    int r;

    session->now = now;
    if (!delivery->stream)
        return delivery->detached ? delivery->detached : -AL_E_INVALID;
    if (lease_ms > AL_LEASE_MAX_MS || retrying > UINT16_MAX || delivery->dropped)
        return -AL_E_INVALID;
    if (lease_ms)
        delivery->lease_ms = lease_ms;
    delivery->cap_ns = now.mono_ns + session->config.lease_cap_ms * AL_NS_PER_MS;
    if (delivery->stream->head == delivery)
        ali_lease_head(session, delivery);
    if (m.seq == 0 || delivery->lost || !can_write(session, delivery->stream))
        return 0; /* renewed when there is a lease again */
    m.agent = delivery->stream->attach->number;
    r = al_put_extend(&session->out, &m);
    if (r >= 0)
        session->stats.extended++;
    return r;
}

void ali_csession_drop(struct ali_csession *session, struct ali_delivery *delivery)
{
    ali_commit_forget(delivery);
    if (!delivery->stream || delivery->pub.seq == 0 || delivery->lost) {
        struct ali_rstream *stream = delivery->stream;

        if (stream) {
            ali_rstream_remove(session, delivery);
            ali_rstream_update(session, stream);
        }
        ali_delivery_free(session, delivery);
        return;
    }
    /* Nothing of the stream may overtake it: it keeps its place until the node calls it back. */
    delivery->dropped = true;
    ali_rstream_update(session, delivery->stream); /* nor is given out before it has come again */
}

/* ---- leases ------------------------------------------------------------------------------ */

static uint64_t renew_after_ns(const struct ali_delivery *delivery)
{
    uint64_t ms = delivery->lease_ms / RENEW_PART;

    return (ms > RENEW_MIN_MS ? ms : RENEW_MIN_MS) * AL_NS_PER_MS;
}

void ali_lease_head(struct ali_csession *session, struct ali_delivery *delivery)
{
    if (delivery->pub.seq == 0)
        return;
    if (!delivery->cap_ns)
        delivery->cap_ns = session->now.mono_ns + session->config.lease_cap_ms * AL_NS_PER_MS;
    delivery->renew_ns = session->now.mono_ns + renew_after_ns(delivery);
    if (delivery->renew_ns < session->renew_ns)
        session->renew_ns = delivery->renew_ns;
}

static int renew(struct ali_csession *session, struct ali_rstream *stream)
{
    struct ali_delivery *head = stream->head;
    struct al_msg_extend m = {.agent = stream->attach->number, .stream = stream->number};
    uint64_t now = session->now.mono_ns;
    int r = 0;

    if (!head || head->pub.seq == 0 || head->lost || head->dropped || now >= head->cap_ns)
        return 0;
    if (now >= head->renew_ns) {
        m.seq = head->pub.seq;
        m.lease = head->lease;
        m.lease_ms = head->lease_ms;
        r = al_put_extend(&session->out, &m);
        head->renew_ns = now + renew_after_ns(head);
        session->stats.extended++;
    }
    if (head->renew_ns < session->renew_ns)
        session->renew_ns = head->renew_ns;
    return r;
}

/* Forgets kept acks that have waited too long. */
static void expire(struct ali_csession *session, struct ali_rstream *stream)
{
    struct ali_unconfirmed **link = &stream->acks;

    while (*link) {
        struct ali_unconfirmed *ack = *link;

        if (ack->waiting && session->now.mono_ns >= ack->expires_ns) {
            forget_ack(session, stream, ack->seq, -AL_E_LEASE_LOST);
            continue;
        }
        if (ack->waiting && ack->expires_ns < session->renew_ns)
            session->renew_ns = ack->expires_ns;
        link = &ack->next;
    }
}

int ali_lease_tick(struct ali_csession *session)
{
    struct ali_attach *attach;
    struct ali_rstream *stream, *next;
    int r = 0;

    if (session->now.mono_ns < session->renew_ns)
        return 0;
    session->renew_ns = AL_NEVER_NS;
    for (attach = session->attaches; attach && r >= 0; attach = attach->next) {
        r = ali_attach_tick(session, attach);
        if (attach->state != ALI_ATTACH_DONE)
            continue;
        for (stream = attach->streams; stream && r >= 0; stream = next) {
            next = stream->next;
            r = renew(session, stream);
            if (r >= 0 && stream->gap)
                r = ali_gap_tick(session, stream);
            if (session->waiting)
                expire(session, stream);
            ali_rstream_update(session, stream);
        }
    }
    return r;
}
