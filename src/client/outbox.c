/* outbox.c - what was sent and has no receipt: queueing, answers, and saying it again.
 *
 * The producer is asked for at the first send (a client that only receives costs the node no
 * producer) and resumed after every reconnect. Then each channel with a queue is opened again from
 * its oldest unanswered number and everything in it written again: the node takes what it has not
 * seen and repeats the receipts of the rest. If the node has retired the producer meanwhile, nobody
 * can tell any more what was taken: those sends end with UNKNOWN_OUTCOME, honestly. */
#include "base/errors.h"
#include "base/limits.h"
#include "client/session.h"
#include <assert.h>

#define RETRY_MIN_MS 50u
#define RETRY_MAX_MS 1000u

static const struct al_str NO_DETAIL;

void ali_out_free(struct ali_csession *session, struct ali_out *out)
{
    if (!out)
        return;
    al_alloc_free(&session->config.alloc, out->detail, ALI_DETAIL_MAX + 1);
    al_alloc_free(&session->config.alloc, out, sizeof(*out) + out->frame_size);
}

struct ali_out *ali_csession_take_result(struct ali_csession *session)
{
    struct ali_out *out = session->results;

    if (!out)
        return NULL;
    session->results = out->next;
    if (!session->results)
        session->results_end = &session->results;
    return out;
}

/* ---- sending ----------------------------------------------------------------------------- */

/* PUBLISH with an empty envelope, then the envelope in its place: one pass, no copy between. */
static void encode(struct ali_out *out, const struct al_msg_publish *publish,
                   const struct al_msg_envelope *envelope, size_t envelope_size)
{
    uint8_t *end;

    al_put32(out->frame, out->frame_size - AL_WIRE_HEADER_SIZE);
    al_put32(out->frame + 4, AL_MSG_PUBLISH);
    end = al_encode_publish(out->frame + AL_WIRE_HEADER_SIZE, publish);
    al_put32(end - 4, (uint32_t)envelope_size);
    end = al_encode_envelope(end, envelope);
    assert(end == out->frame + out->frame_size);
    (void)end;
}

static int out_new(struct ali_csession *session, const struct ali_send *send,
                   struct ali_channel *channel, struct ali_out **ret_out)
{
    const struct al_message *message = send->message;
    struct al_msg_publish publish = {
        .channel = channel->number, .ttl_ms = message->ttl_ms, .due_ms = message->deliver_at_ms};
    struct al_msg_envelope envelope;
    size_t size, envelope_size;
    bool of_kind =
        channel->takes_kinds && ali_message_priority(message, AL_PRIORITY_NONE) == AL_PRIORITY_NONE;
    struct ali_out *out;
    int r;

    r = ali_message_envelope(message, &session->scratch_headers, &session->scratch_ext, &envelope);
    if (r < 0)
        return r;
    if (al_message_id_is_zero(&message->id))
        envelope.message_id = send->fresh;
    if (envelope.timestamp_ms == 0)
        envelope.timestamp_ms = session->now.wall_ms;
    envelope_size = al_size_envelope(&envelope);
    size = AL_WIRE_HEADER_SIZE + al_size_publish(&publish) + envelope_size;
    if (session->unreceipted >= session->config.window ||
        (session->unreceipted && session->outbox_bytes + size > session->config.outbox_bytes))
        return -AL_E_BUSY;
    out = al_alloc_new(&session->config.alloc, sizeof(*out) + size);
    if (!out)
        return -AL_E_NOMEM;
    memset(out, 0, sizeof(*out));
    out->channel = channel;
    out->fn = send->fn;
    out->ctx = send->ctx;
    out->waiter = send->waiter;
    out->is_sync = send->waiter != NULL;
    out->frame_size = (uint32_t)size;
    out->notify = message->flags & AL_MESSAGE_NOTIFY;
    out->is_volatile = message->flags & AL_MESSAGE_VOLATILE;
    memcpy(out->id.bytes, envelope.message_id.b, 16);
    if (!out->is_volatile)
        out->pseq = channel->next_pseq;
    publish.pseq = out->pseq;
    publish.flags = (uint16_t)((out->notify ? AL_PUBLISH_NOTIFY : 0) |
                               (out->is_volatile ? AL_PUBLISH_VOLATILE : 0) |
                               (of_kind ? AL_PUBLISH_OF_KIND : 0));
    encode(out, &publish, &envelope, envelope_size);
    *ret_out = out;
    return 0;
}

static void enqueue(struct ali_csession *session, struct ali_channel *channel, struct ali_out *out)
{
    if (channel->tail)
        channel->tail->next = out;
    else
        channel->head = out;
    channel->tail = out;
    if (!channel->unsent)
        channel->unsent = out;
    if (!out->is_volatile && channel->next_pseq++ > session->pseq_high)
        session->pseq_high = out->pseq;
    session->unsent++;
    session->unreceipted++;
    session->outbox_bytes += out->frame_size;
    session->stats.sent++;
}

int ali_csession_send(struct ali_csession *session, const struct ali_send *send, struct al_now now,
                      struct ali_out **ret_out)
{
    struct ali_channel *channel;
    struct ali_out *out;
    int r;

    session->now = now;
    r = ali_message_check(send->message, session->payload_max);
    if (r >= 0)
        r = ali_channel_get(session, send->message, &channel);
    if (r < 0)
        return r;
    if (channel->needs_resume)
        return -AL_E_STREAM_HELD;
    r = out_new(session, send, channel, &out);
    if (r < 0)
        return r;
    if (out->notify) {
        r = ali_watch_add(session, &out->id);
        if (r < 0) {
            ali_out_free(session, out);
            return r;
        }
    }
    enqueue(session, channel, out);
    if (ret_out)
        *ret_out = out;
    if (ali_channel_pump(session, channel) < 0)
        session->pump_failed = true; /* it is queued all the same */
    return 0;
}

bool ali_csession_withdraw(struct ali_csession *session, struct ali_out *out)
{
    struct ali_channel *channel = out->channel;
    struct ali_out *before = channel->head, *behind;

    if (out->written || out->answered)
        return false;
    if (before == out) {
        channel->head = out->next;
        before = NULL;
    } else {
        while (before->next != out)
            before = before->next;
        before->next = out->next;
    }
    if (channel->tail == out)
        channel->tail = before;
    if (channel->unsent == out)
        channel->unsent = out->next;
    /* What stands behind it was never written either: it moves up. */
    for (behind = out->next; behind && !out->is_volatile; behind = behind->next) {
        if (behind->is_volatile)
            continue;
        behind->pseq--;
        al_put64(behind->frame + ALI_PSEQ_AT, behind->pseq);
    }
    channel->next_pseq -= !out->is_volatile;
    session->unsent--;
    session->unreceipted--;
    session->outbox_bytes -= out->frame_size;
    out->error = -AL_E_TIMEOUT;
    if (out->notify)
        ali_watch_receipt(session, out);
    ali_out_free(session, out);
    return true;
}

int ali_csession_resume(struct ali_csession *session, const struct al_message *message,
                        struct al_now now)
{
    struct ali_channel *channel;
    int r;

    session->now = now;
    r = ali_channel_get(session, message, &channel);
    if (r < 0)
        return r;
    channel->needs_resume = false;
    return ali_channel_pump(session, channel);
}

/* ---- the producer ------------------------------------------------------------------------ */

int ali_outbox_want_producer(struct ali_csession *session)
{
    struct al_msg_producer_open m = {.producer = session->producer,
                                     .epoch = session->producer_epoch};
    int r;

    if (session->producer_state != ALI_PRODUCER_NONE)
        return 0;
    m.request = session->producer_request = ali_csession_number(session);
    r = al_put_producer_open(&session->out, &m);
    if (r >= 0)
        session->producer_state = ALI_PRODUCER_ASKED;
    return r;
}

void ali_outbox_pump(struct ali_csession *session)
{
    struct ali_channel *channel;

    session->pump_failed = false;
    for (channel = session->channels; channel && session->unsent; channel = channel->next) {
        if (ali_channel_pump(session, channel) < 0)
            session->pump_failed = true;
    }
}

int ali_outbox_welcome(struct ali_csession *session)
{
    return session->unsent || session->commits ? ali_outbox_want_producer(session) : 0;
}

int ali_outbox_producer_ready(struct ali_csession *session, const struct al_msg_producer_ready *m)
{
    if (session->producer_state != ALI_PRODUCER_ASKED || m->request != session->producer_request)
        return -AL_E_PROTOCOL;
    session->producer_state = ALI_PRODUCER_READY;
    session->producer = m->producer;
    session->producer_epoch = m->epoch;
    ali_outbox_pump(session);
    return ali_commit_pump(session);
}

/* The node does not know the producer any more: what was written may or may not have been taken. */
static int producer_lost(struct ali_csession *session, struct al_str detail)
{
    struct ali_channel *channel;
    struct ali_out *out;

    for (channel = session->channels; channel; channel = channel->next) {
        for (out = channel->head; out; out = out->next) {
            if (out->written && !out->answered)
                ali_channel_answer(session, out, -AL_E_UNKNOWN_OUTCOME, detail);
        }
        ali_channel_release(session, channel);
        channel->state = ALI_CHANNEL_IDLE;
        channel->held = false;
    }
    ali_commit_fail(session, -AL_E_UNKNOWN_OUTCOME, detail, true);
    session->producer = 0;
    session->producer_epoch = 0;
    session->producer_state = ALI_PRODUCER_NONE;
    return ali_outbox_welcome(session);
}

/* ---- answers ----------------------------------------------------------------------------- */

int ali_outbox_channel_ready(struct ali_csession *session, const struct al_msg_channel_ready *m)
{
    struct ali_channel *channel = ali_channel_find(session, m->channel);

    if (!channel || channel->state == ALI_CHANNEL_IDLE)
        return -AL_E_PROTOCOL;
    channel->state = ALI_CHANNEL_READY; /* it was already, if this answers CHANNEL_RESUME */
    return ali_channel_pump(session, channel);
}

int ali_outbox_receipt(struct ali_csession *session, const struct al_msg_receipt *m)
{
    struct ali_channel *channel = ali_channel_find(session, m->channel);
    struct ali_out *out;

    if (!channel)
        return -AL_E_PROTOCOL;
    /* The sender of the numbers is us: a receipt for what is not in flight is a broken node. */
    for (out = channel->head; out; out = out->next) {
        uint64_t index = out->pseq - m->pseq;

        if (out->is_volatile || out->answered || index >= m->count) {
            if (!out->is_volatile && out->pseq >= m->pseq && index >= m->count)
                break;
            continue;
        }
        if (!out->inflight && !channel->repaired)
            return -AL_E_PROTOCOL;
        out->stream = m->stream;
        out->seq = m->seq ? m->seq + index : 0;
        out->durability =
            session->config.durability_volatile ? AL_DURABILITY_VOLATILE : m->durability;
        out->duplicate = m->duplicate;
        ali_channel_answer(session, out, 0, NO_DETAIL);
    }
    ali_channel_release(session, channel);
    channel->retry_ms = 0;
    if (session->unsent)
        ali_outbox_pump(session);
    return 0;
}

static struct ali_out *find_pseq(struct ali_channel *channel, uint64_t pseq)
{
    struct ali_out *out = channel->head;

    while (out && (out->is_volatile || out->answered || out->pseq != pseq))
        out = out->next;
    return out;
}

/* Everything from `out` on is to be written again once the channel is resumed. */
static void rewind_to(struct ali_csession *session, struct ali_channel *channel,
                      struct ali_out *out)
{
    struct ali_out *one;

    for (one = out; one != channel->unsent; one = one->next)
        session->unsent++;
    channel->unsent = out;
}

/* Refused because of an earlier one: it is in the queue behind the rewound ones. */
static void refused_behind(struct ali_csession *session, struct ali_channel *channel,
                           struct ali_out *out)
{
    if (channel->reports) {
        ali_channel_answer(session, out, -AL_E_STREAM_HELD, NO_DETAIL);
        return;
    }
    out->inflight = false;
    channel->inflight--;
    session->inflight--;
}

/* For a reason that may pass: the message is kept, and tried again after a pause. */
static void hold_for_retry(struct ali_csession *session, struct ali_channel *channel,
                           struct ali_out *out)
{
    uint64_t pause = channel->retry_ms ? 2ull * channel->retry_ms : RETRY_MIN_MS;

    channel->retry_ms = (uint32_t)(pause < RETRY_MAX_MS ? pause : RETRY_MAX_MS);
    channel->retry_ns = session->now.mono_ns + channel->retry_ms * AL_NS_PER_MS;
    channel->reports = false;
    rewind_to(session, channel, out);
    refused_behind(session, channel, out);
}

/* Reports a refusal that may pass, and with it everything of the stream that was not written. */
static void hold_and_report(struct ali_csession *session, struct ali_channel *channel,
                            struct ali_out *out, const struct al_msg_refused *m)
{
    struct ali_out *behind;

    channel->reports = true;
    if (!out->is_sync) /* a caller that has given up was told that the outcome is unknown */
        channel->needs_resume = true;
    for (behind = channel->unsent; behind; behind = behind->next) {
        if (!behind->answered)
            ali_channel_answer(session, behind, -AL_E_STREAM_HELD, NO_DETAIL);
    }
    ali_channel_answer(session, out, -(int)m->code, m->detail);
}

/* Refuses one for good; what stands behind it has done nothing wrong and is written again. */
static void refuse_for_good(struct ali_csession *session, struct ali_channel *channel,
                            struct ali_out *out, const struct al_msg_refused *m)
{
    channel->reports = false;
    rewind_to(session, channel, out->next);
    ali_channel_answer(session, out, -(int)m->code, m->detail);
}

int ali_outbox_refused(struct ali_csession *session, const struct al_msg_refused *m)
{
    struct ali_channel *channel = ali_channel_find(session, m->channel);
    struct ali_out *out;

    if (!channel || m->code == 0)
        return -AL_E_PROTOCOL;
    out = find_pseq(channel, m->pseq);
    if (channel->repaired &&
        (!out || !out->inflight || (m->code == AL_E_STREAM_HELD && !channel->held)))
        return 0; /* of a copy that is not the last one */
    if (!out || !out->inflight)
        return -AL_E_PROTOCOL;
    if (m->code == AL_E_PRODUCER_RETIRED) {
        (void)producer_lost(session, m->detail);
        return -AL_E_PRODUCER_RETIRED; /* its channels are still open there: begin afresh */
    }
    if (m->code == AL_E_GAP_CLOSED) { /* what stands behind it is taken */
        channel->repaired = true;
        ali_channel_answer(session, out, -AL_E_GAP_CLOSED, m->detail);
    } else if (channel->held) {
        refused_behind(session, channel, out);
    } else {
        channel->held = true;
        if (!al_error_is_retryable(m->code))
            refuse_for_good(session, channel, out, m);
        else if (session->config.refusals == AL_REFUSAL_RETRY)
            hold_for_retry(session, channel, out);
        else
            hold_and_report(session, channel, out, m);
    }
    ali_channel_release(session, channel);
    if (session->unsent)
        ali_outbox_pump(session);
    return 0;
}

int ali_outbox_error(struct ali_csession *session, const struct al_msg_error *m)
{
    struct al_msg_channel_close close = {.channel = m->request};
    struct ali_channel *channel;
    int error = m->code ? -(int)m->code : -AL_E_PROTOCOL;

    if (m->about == AL_MSG_PRODUCER_OPEN) {
        if (m->code == AL_E_PRODUCER_RETIRED)
            return producer_lost(session, m->detail);
        session->producer_state = ALI_PRODUCER_NONE;
        for (channel = session->channels; channel; channel = channel->next)
            ali_channel_fail(session, channel, error, m->detail);
        ali_commit_fail(session, error, m->detail, false);
        return 0;
    }
    channel = ali_channel_find(session, m->request);
    if (!channel || m->about == AL_MSG_CHANNEL_CLOSE)
        return 0;
    if (m->code == AL_E_PRODUCER_RETIRED) {
        (void)producer_lost(session, m->detail);
        return error;
    }
    channel->state = ALI_CHANNEL_IDLE;
    channel->held = false;
    ali_channel_fail(session, channel, error, m->detail);
    return m->about == AL_MSG_CHANNEL_OPEN ? 0 : al_put_channel_close(&session->out, &close);
}

/* ---- connections and time ---------------------------------------------------------------- */

void ali_outbox_disconnected(struct ali_csession *session)
{
    struct ali_channel *channel;
    struct ali_out *out;

    session->producer_state = ALI_PRODUCER_NONE;
    session->inflight = 0;
    session->unsent = 0;
    for (channel = session->channels; channel; channel = channel->next) {
        channel->state = ALI_CHANNEL_IDLE;
        channel->inflight = 0;
        channel->unsent = NULL;
        ali_channel_release(session, channel);
        channel->unsent = channel->head;
        for (out = channel->head; out; out = out->next) {
            out->inflight = false;
            session->unsent++;
        }
        /* Behind a reported refusal nothing was taken, answered or not. */
        if (channel->held && channel->reports) {
            for (out = channel->head; out; out = out->next)
                out->written = false;
            ali_channel_fail(session, channel, -AL_E_STREAM_HELD, NO_DETAIL);
        }
        channel->held = channel->repaired = false;
    }
}

uint64_t ali_outbox_deadline_ns(const struct ali_csession *session)
{
    const struct ali_channel *channel;
    uint64_t deadline = AL_NEVER_NS;

    if (session->pump_failed)
        return session->now.mono_ns + AL_NS_PER_MS;
    if (session->config.refusals != AL_REFUSAL_RETRY || !session->unsent)
        return AL_NEVER_NS;
    for (channel = session->channels; channel; channel = channel->next) {
        if (channel->held && channel->unsent && channel->inflight == 0 &&
            channel->retry_ns < deadline)
            deadline = channel->retry_ns;
    }
    return deadline;
}

int ali_outbox_tick(struct ali_csession *session)
{
    if (session->now.mono_ns >= ali_outbox_deadline_ns(session) || session->pump_failed)
        ali_outbox_pump(session);
    return 0;
}

void ali_outbox_deinit(struct ali_csession *session)
{
    struct ali_channel *channel;
    struct ali_out *out;

    while ((channel = session->channels)) {
        while ((out = channel->head)) {
            channel->head = out->next;
            ali_out_free(session, out);
        }
        ali_channel_free(session, channel);
    }
    while ((out = ali_csession_take_result(session)))
        ali_out_free(session, out);
    al_pool_deinit(&session->channel_pool);
    al_index_deinit(&session->channel_index);
}
