/* channel.c - channels: one per stream that this client sends to.
 *
 * A channel binds a number to (producer, from, to, label, priority), so that a message on the wire
 * names its stream in four bytes. Its queue holds what has no answer yet, in the order of the
 * sends; numbers (pseq) run without a hole from the front to the end, because what is refused for
 * good has used its number, and what is refused for a while is numbered again when the channel is
 * resumed: everything behind the first such refusal is known not to have been taken.
 *
 * A message that was taken by the library before it knew the node, or came from an earlier start of
 * it, may be larger than the node reads: its frame would end the connection, every connection. It
 * is answered here instead, and its number skipped by CHANNEL_RESUME; that waits until nothing is
 * in flight on the channel, because it would also lift the hold of a refusal under way.
 *
 * A channel is opened when it has something to send, closed when there are too many, and opened
 * again after a reconnect. */
#include "base/errors.h"
#include "base/limits.h"
#include "base/text.h"
#include "client/session.h"
#include "crypto/hash.h"
#include <assert.h>

#define OUT_HIGH  (1u << 20) /* no more is encoded while so much waits to be written */
#define UNORDERED 0x80u      /* beside the priority, in what identifies a stream */

/* What identifies a stream to its sender. */
struct stream_key {
    struct al_str from, to, label;
    uint8_t priority;
    struct ali_csession *session;
};

static struct ali_channel *channel_at(const struct ali_csession *session, uint32_t ref)
{
    return al_pool_at(&session->channel_pool, ref);
}

struct ali_channel *ali_channel_find(struct ali_csession *session, uint32_t number)
{
    if (number == 0 || !al_pool_has(&session->channel_pool, number - 1))
        return NULL;
    return channel_at(session, number - 1);
}

static bool key_matches(const struct stream_key *key, const struct ali_channel *channel)
{
    return al_str_eq(key->to, channel->to) && al_str_eq(key->from, channel->from) &&
           al_str_eq(key->label, channel->label) && key->priority == channel->priority;
}

static bool key_eq(const void *ctx, uint32_t ref)
{
    const struct stream_key *key = ctx;

    return key_matches(key, channel_at(key->session, ref));
}

static int key_check(const struct stream_key *key)
{
    if (!al_name_is_valid(key->from) || !ali_recipient_is_valid(key->to))
        return -AL_E_BAD_NAME;
    if (key->label.n > AL_LABEL_MAX || !al_text_is_plain(key->label) ||
        (key->priority & ~UNORDERED) >= AL_PRIORITY_COUNT)
        return -AL_E_INVALID;
    return 0;
}

/* from, to, label, each behind a separator that no name contains; `key` is checked. */
static uint64_t key_hash(const struct stream_key *key)
{
    uint8_t text[AL_NAME_MAX + AL_GROUP_NAME_MAX + AL_LABEL_MAX + 3], *end = text;

    assert(key->from.p && key->to.p);
    memcpy(end, key->from.p, key->from.n);
    end += key->from.n;
    *end++ = 0;
    memcpy(end, key->to.p, key->to.n);
    end += key->to.n;
    *end++ = key->priority;
    if (key->label.n)
        memcpy(end, key->label.p, key->label.n);
    end += key->label.n;
    return al_hash64(key->session->config.instance.b, text, (size_t)(end - text));
}

static void list_remove(struct ali_csession *session, struct ali_channel *channel)
{
    if (channel->prev)
        channel->prev->next = channel->next;
    else
        session->channels = channel->next;
    if (channel->next)
        channel->next->prev = channel->prev;
    else
        session->channels_last = channel->prev;
}

static void list_push(struct ali_csession *session, struct ali_channel *channel)
{
    channel->prev = NULL;
    channel->next = session->channels;
    if (channel->next)
        channel->next->prev = channel;
    else
        session->channels_last = channel;
    session->channels = channel;
}

void ali_channel_free(struct ali_csession *session, struct ali_channel *channel)
{
    size_t names = (size_t)channel->from.n + channel->to.n + channel->label.n;

    assert(!channel->head);
    list_remove(session, channel);
    al_index_remove(&session->channel_index, channel->hash, channel->number - 1);
    al_alloc_free(&session->config.alloc, (void *)(uintptr_t)channel->from.p, names);
    al_pool_put(&session->channel_pool, channel->number - 1);
}

/* Could it be closed and opened again without anybody noticing? */
static bool channel_is_idle(const struct ali_channel *channel)
{
    return !channel->head && !channel->needs_resume && !channel->held &&
           channel->state != ALI_CHANNEL_OPENING;
}

static int channel_close(struct ali_csession *session, struct ali_channel *channel)
{
    struct al_msg_channel_close m = {.channel = channel->number};
    int r = 0;

    if (channel->state == ALI_CHANNEL_READY)
        r = al_put_channel_close(&session->out, &m);
    if (r >= 0)
        ali_channel_free(session, channel);
    return r;
}

/* Closes the idle channel that was used longest ago. 0, -AL_E_LIMIT: all are in use. */
static int channel_evict(struct ali_csession *session)
{
    struct ali_channel *channel = session->channels_last;

    while (channel && !channel_is_idle(channel))
        channel = channel->prev;
    return channel ? channel_close(session, channel) : -AL_E_LIMIT;
}

int ali_csession_close_channels(struct ali_csession *session, struct al_str agent)
{
    struct ali_channel *channel = session->channels, *next;
    int r = 0;

    for (; channel && r >= 0; channel = next) {
        next = channel->next;
        if (channel_is_idle(channel) &&
            (al_str_eq(channel->from, agent) || al_str_eq(channel->to, agent)))
            r = channel_close(session, channel);
    }
    return r;
}

/* A hole in a group would be one for all its members: there a gap is waited for, always. Where
 * there is no order, nothing is to be told of one. */
static uint8_t channel_flags(const struct ali_csession *session, const struct ali_channel *channel)
{
    if (channel->priority & UNORDERED)
        return AL_CHANNEL_UNORDERED | (AL_GAPS_WAIT + AL_GAP_WAIT);
    return (uint8_t)(AL_GAPS_WAIT +
                     (al_group_name_is_valid(channel->to) ? AL_GAP_WAIT : session->config.gaps));
}

static int channel_new(struct ali_csession *session, const struct stream_key *key, uint64_t hash,
                       struct ali_channel **ret_channel)
{
    size_t size = (size_t)key->from.n + key->to.n + key->label.n;
    struct ali_channel *channel;
    uint8_t *names;
    uint32_t ref;
    int r;

    if (session->channel_pool.count >= AL_CHANNELS_PER_CONN_MAX) {
        r = channel_evict(session);
        if (r < 0)
            return r;
    }
    r = al_pool_reserve(&session->channel_pool, 1);
    if (r >= 0)
        r = al_index_reserve(&session->channel_index, 1);
    if (r < 0)
        return r;
    names = al_alloc_new(&session->config.alloc, size);
    if (!names)
        return -AL_E_NOMEM;
    memcpy(names, key->from.p, key->from.n);
    memcpy(names + key->from.n, key->to.p, key->to.n);
    if (key->label.n)
        memcpy(names + key->from.n + key->to.n, key->label.p, key->label.n);
    ref = al_pool_take(&session->channel_pool);
    channel = channel_at(session, ref);
    channel->number = ref + 1;
    channel->hash = hash;
    channel->from = al_str_of(names, key->from.n);
    channel->to = al_str_of(names + key->from.n, key->to.n);
    channel->label = al_str_of(names + key->from.n + key->to.n, key->label.n);
    channel->priority = key->priority;
    channel->takes_kinds = (channel_flags(session, channel) & AL_GAPS_FAIL) == AL_GAPS_WAIT &&
                           !al_group_name_is_valid(channel->to);
    channel->next_pseq = session->pseq_high + 1;
    al_index_add(&session->channel_index, hash, ref);
    list_push(session, channel);
    *ret_channel = channel;
    return 0;
}

int ali_channel_get(struct ali_csession *session, const struct al_message *message,
                    struct ali_channel **ret_channel)
{
    struct stream_key key = {.from = al_str_c(message->from),
                             .to = al_str_c(message->to),
                             .label = al_str_c(message->stream),
                             .priority = ali_message_priority(message, AL_PRIORITY_DEFAULT),
                             .session = session};
    struct ali_channel *channel = session->channels;
    uint64_t hash;
    uint32_t ref;
    int r;

    if (key.priority >= AL_PRIORITY_COUNT)
        return -AL_E_INVALID;
    if (message->flags & AL_MESSAGE_UNORDERED)
        key.priority |= UNORDERED;
    if (channel && key_matches(&key, channel)) { /* most sends go where the last one went */
        *ret_channel = channel;
        return 0;
    }
    r = key_check(&key);
    if (r < 0)
        return r;
    hash = key_hash(&key);
    ref = al_index_find(&session->channel_index, hash, key_eq, &key);
    if (ref == AL_REF_NONE)
        return channel_new(session, &key, hash, ret_channel);
    channel = channel_at(session, ref);
    list_remove(session, channel);
    list_push(session, channel);
    *ret_channel = channel;
    return 0;
}

/* ---- writing ----------------------------------------------------------------------------- */

static int channel_open(struct ali_csession *session, struct ali_channel *channel)
{
    struct al_msg_channel_open m = {.channel = channel->number,
                                    .producer = session->producer,
                                    .first_pseq = channel->next_pseq,
                                    .priority = channel->priority & (uint8_t)~UNORDERED,
                                    .flags = channel_flags(session, channel),
                                    .from = channel->from,
                                    .to = channel->to,
                                    .label = channel->label};
    struct ali_out *out;
    int r;

    for (out = channel->head; out; out = out->next) {
        if (!out->is_volatile && !out->answered) {
            m.first_pseq = out->pseq;
            break;
        }
    }
    r = al_put_channel_open(&session->out, &m);
    if (r >= 0)
        channel->state = ALI_CHANNEL_OPENING;
    return r;
}

/* Everything from here on was refused or never written: its numbers are free again. */
static void renumber(struct ali_channel *channel, struct ali_out *out, uint64_t pseq)
{
    for (; out; out = out->next) {
        if (out->is_volatile || out->answered)
            continue;
        out->pseq = pseq++;
        al_put64(out->frame + ALI_PSEQ_AT, out->pseq);
    }
    channel->next_pseq = pseq;
}

/* Lets go of the hold. */
static int channel_resume(struct ali_csession *session, struct ali_channel *channel)
{
    struct al_msg_channel_resume m = {.channel = channel->number};
    struct ali_out *out = channel->unsent;
    int r;

    assert(channel->inflight == 0);
    while (out && (out->is_volatile || out->answered))
        out = out->next;
    m.first_pseq = out ? out->pseq : channel->next_pseq;
    r = al_put_channel_resume(&session->out, &m);
    if (r < 0)
        return r;
    renumber(channel, channel->unsent, m.first_pseq);
    channel->held = false;
    channel->retry_ns = 0;
    return 0;
}

/* True while a held channel must stay so. */
static bool stays_held(const struct ali_csession *session, const struct ali_channel *channel)
{
    if (channel->inflight > 0 || channel->needs_resume)
        return true;
    return session->now.mono_ns < channel->retry_ns;
}

static bool is_too_large(const struct ali_csession *session, const struct ali_out *out)
{
    return out->frame_size - AL_WIRE_HEADER_SIZE >
           session->payload_max + (AL_FRAME_MAX - AL_PAYLOAD_MAX);
}

/* Answers the next entry, which the node would not even read. */
static int skip_large(struct ali_csession *session, struct ali_channel *channel)
{
    struct ali_out *out = channel->unsent;
    struct al_msg_channel_resume m = {.channel = channel->number, .first_pseq = out->pseq + 1};
    int r = out->is_volatile ? 0 : al_put_channel_resume(&session->out, &m);

    if (r < 0)
        return r;
    channel->unsent = out->next;
    session->unsent--;
    ali_channel_answer(session, out, out->written ? -AL_E_UNKNOWN_OUTCOME : -AL_E_TOO_LARGE,
                       al_str_c("the message is larger than this node takes"));
    ali_channel_release(session, channel);
    return 0;
}

static int write_one(struct ali_csession *session, struct ali_channel *channel)
{
    struct ali_out *out = channel->unsent;
    int r;

    if (!out->answered) {
        r = al_buf_put(&session->out, out->frame, out->frame_size);
        if (r < 0)
            return r;
    }
    channel->unsent = out->next;
    session->unsent--;
    if (out->answered)
        return 0;
    session->stats.resent += out->written;
    out->written = true;
    if (out->is_volatile) {
        ali_channel_answer(session, out, 0, (struct al_str){NULL, 0});
        ali_channel_release(session, channel);
        return 0;
    }
    out->inflight = true;
    channel->inflight++;
    session->inflight++;
    return 0;
}

int ali_channel_pump(struct ali_csession *session, struct ali_channel *channel)
{
    int r = 0;

    if (session->link != ALI_LINK_UP || session->goodbye_sent || !channel->unsent)
        return 0;
    if (session->producer_state != ALI_PRODUCER_READY)
        return ali_outbox_want_producer(session);
    if (channel->state == ALI_CHANNEL_IDLE)
        return channel_open(session, channel);
    if (channel->state == ALI_CHANNEL_OPENING)
        return 0;
    if (channel->held) {
        if (stays_held(session, channel))
            return 0;
        r = channel_resume(session, channel);
    }
    while (r >= 0 && channel->unsent && session->inflight < session->publish_window &&
           ali_csession_output(session).n < OUT_HIGH) {
        if (channel->unsent->answered || !is_too_large(session, channel->unsent))
            r = write_one(session, channel);
        else if (channel->inflight == 0)
            r = skip_large(session, channel);
        else
            break;
    }
    return r;
}

/* ---- answers ----------------------------------------------------------------------------- */

static void hand_out(struct ali_csession *session, struct ali_out *out)
{
    session->unreceipted--;
    session->outbox_bytes -= out->frame_size;
    out->next = NULL;
    out->channel = NULL;
    if (out->waiter) {
        *out->waiter = true;
    } else if (out->fn) {
        *session->results_end = out;
        session->results_end = &out->next;
    } else {
        ali_out_free(session, out);
    }
}

void ali_channel_answer(struct ali_csession *session, struct ali_out *out, int error,
                        struct al_str detail)
{
    struct ali_channel *channel = out->channel;

    assert(!out->answered);
    out->answered = true;
    out->error = error;
    if (out->inflight) {
        out->inflight = false;
        channel->inflight--;
        session->inflight--;
    }
    if (error == 0)
        session->stats.receipted++;
    else
        session->stats.refused++;
    if (error < 0 && detail.n && (out->waiter || out->fn)) {
        out->detail = al_alloc_new(&session->config.alloc, ALI_DETAIL_MAX + 1);
        if (out->detail)
            ali_detail_set(out->detail, detail);
    }
    if (out->notify)
        ali_watch_receipt(session, out);
}

void ali_channel_release(struct ali_csession *session, struct ali_channel *channel)
{
    struct ali_out *out;

    while ((out = channel->head) && out->answered) {
        channel->head = out->next;
        if (!channel->head)
            channel->tail = NULL;
        if (channel->unsent == out) {
            channel->unsent = out->next;
            session->unsent--;
        }
        hand_out(session, out);
    }
}

void ali_channel_fail(struct ali_csession *session, struct ali_channel *channel, int error,
                      struct al_str detail)
{
    struct ali_out *out;

    for (out = channel->head; out; out = out->next) {
        if (!out->answered)
            ali_channel_answer(session, out, out->written ? -AL_E_UNKNOWN_OUTCOME : error, detail);
    }
    ali_channel_release(session, channel);
    assert(!channel->head && channel->inflight == 0);
}
