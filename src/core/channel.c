/* channel.c - producers and channels: how a connection is allowed to publish.
 *
 * A producer is durable: it numbers what a client sends, so that a retransmission is recognised
 * after any crash. A channel is a connection's short name for (producer, stream). */
#include "core/internal.h"
#include "core/of_kind.h"
#include <assert.h>

#define PRODUCERS_PER_CONN_MAX 1024u
#define OF_CONN                offsetof(struct ali_producer, v.link)

/* ---- producers --------------------------------------------------------------------------- */

static void leave(struct al_node *node, ali_ref ref)
{
    struct ali_producer *producer = ali_producer_at(node, ref);
    struct ali_conn *conn = ali_conn_at(node, producer->v.conn);

    if (!conn)
        return;
    ali_list_remove(&node->producers, OF_CONN, &conn->producers, ref);
    conn->producer_count--;
    producer->v.conn = AL_REF_NONE;
}

void ali_producer_take(struct al_node *node, struct ali_conn *conn, ali_ref ref)
{
    leave(node, ref); /* the newest connection has it */
    ali_producer_at(node, ref)->v.conn = conn->number;
    conn->producer_count++;
    ali_list_push(&node->producers, OF_CONN, &conn->producers, ref);
}

int ali_handle_producer_open(struct al_node *node, struct ali_conn *conn,
                             const struct al_msg_producer_open *m)
{
    struct al_msg_producer_ready ready = {.request = m->request};
    struct ali_rec_producer_open record = {.producer = node->d.next_producer,
                                           .epoch = 1,
                                           .uid = conn->uid,
                                           .wall_ms = node->v.now.wall_ms};
    ali_ref ref = m->producer ? ali_find_producer(node, m->producer) : AL_REF_NONE;
    struct ali_producer *producer;
    int r = 0;

    if (conn->producer_count >= PRODUCERS_PER_CONN_MAX)
        r = -AL_E_LIMIT;
    else if (m->producer && ref == AL_REF_NONE)
        r = -AL_E_PRODUCER_RETIRED;
    else if (!m->producer && node->v.disk_full)
        r = -AL_E_DISK_FULL;
    else if (!m->producer)
        r = ali_commit(node, ALI_REC_PRODUCER_OPEN, &record);
    if (r == 0 && ref == AL_REF_NONE)
        ref = ali_find_producer(node, record.producer);
    producer = r == 0 ? ali_producer_at(node, ref) : NULL;
    if (producer && (producer->d.uid != conn->uid || producer->d.epoch == ALI_OWN_EPOCH))
        r = -AL_E_DENIED;
    else if (producer && m->producer && producer->d.epoch != m->epoch)
        r = -AL_E_FENCED;
    if (r < 0) {
        ali_send_error(node, conn, AL_MSG_PRODUCER_OPEN, m->request, r);
        return 0;
    }
    assert(producer);
    ali_producer_take(node, conn, ref);
    ready.producer = producer->d.id;
    ready.epoch = producer->d.epoch;
    ALI_SEND(node, conn->number, producer_ready, &ready);
    return 0;
}

void ali_producers_leave(struct al_node *node, struct ali_conn *conn)
{
    while (conn->producers.head != AL_REF_NONE)
        leave(node, conn->producers.head);
}

int ali_producers_retire(struct al_node *node, struct ali_conn *conn)
{
    ali_channels_close(node, conn);
    while (conn->producers.head != AL_REF_NONE) {
        ali_ref ref = conn->producers.head;
        struct ali_rec_producer_close record = {.producer = ali_producer_at(node, ref)->d.id};
        int r;

        leave(node, ref);
        r = ali_commit(node, ALI_REC_PRODUCER_CLOSE, &record);
        if (r < 0)
            return r;
    }
    return 0;
}

/* ---- channels ---------------------------------------------------------------------------- */

struct ali_channel *ali_channel_at(const struct ali_conn *conn, uint32_t number)
{
    return number >= 1 && number <= conn->channel_cap ? conn->channels[number - 1] : NULL;
}

static int make_room(struct al_node *node, struct ali_conn *conn, uint32_t number)
{
    uint32_t cap = conn->channel_cap ? conn->channel_cap : 4;
    struct ali_channel **channels;

    if (number < 1 || number > AL_CHANNELS_PER_CONN_MAX)
        return -AL_E_LIMIT;
    if (number <= conn->channel_cap)
        return conn->channels[number - 1] ? -AL_E_EXISTS : 0;
    while (cap < number)
        cap *= 2;
    channels = al_alloc_zero(&node->alloc, cap * sizeof(*channels));
    if (!channels)
        return -AL_E_NOMEM;
    if (conn->channel_cap)
        memcpy(channels, conn->channels, conn->channel_cap * sizeof(*channels));
    al_alloc_free(&node->alloc, conn->channels, conn->channel_cap * sizeof(*channels));
    conn->channels = channels;
    conn->channel_cap = cap;
    return 0;
}

/* The stream of this channel, made if it is new. */
int ali_stream_get(struct al_node *node, const struct ali_conn *conn,
                   const struct al_msg_channel_open *m, ali_ref *ret_stream)
{
    bool unordered = m->flags & AL_CHANNEL_UNORDERED;
    ali_ref from, to;
    int r;

    if (unordered && (m->flags & AL_GAPS_FAIL) > AL_GAPS_WAIT) /* without order there is no gap */
        return -AL_E_UNSUPPORTED;
    if (m->priority >= AL_PRIORITY_COUNT || m->flags > (AL_CHANNEL_UNORDERED | AL_GAPS_FAIL) ||
        m->label.n > AL_LABEL_MAX || !al_text_is_plain(m->label) || m->first_pseq < 1)
        return -AL_E_INVALID;
    if (al_group_name_is_valid(m->to)) {
        ali_ref group = ali_find_group(node, m->to);

        to = group == AL_REF_NONE ? group : ali_group_at(node, group)->d.agent;
        if (m->flags > AL_GAPS_WAIT || unordered) /* the one order of all has no place for a gap */
            return -AL_E_UNSUPPORTED;
    } else {
        to = ali_find_agent_name(node, ali_name_normal(m->to));
    }
    if (to == AL_REF_NONE)
        return al_name_is_valid(m->to)         ? -AL_E_UNKNOWN_AGENT
               : al_group_name_is_valid(m->to) ? -AL_E_UNKNOWN_GROUP
                                               : -AL_E_BAD_NAME;
    r = ali_agent_get(node, conn, m->from, true, &from);
    if (r < 0)
        return r;
    return ali_stream_open(node, from, to,
                           (uint8_t)(m->priority | (unordered ? ALI_PRIORITY_UNORDERED : 0)),
                           m->label, ret_stream);
}

static void send_ready(struct al_node *node, struct ali_conn *conn, uint32_t number,
                       const struct ali_channel *channel)
{
    ali_ref track = ali_find_track(node, channel->stream, channel->producer);
    struct al_msg_channel_ready ready = {
        .channel = number,
        .stream = ali_stream_at(node, channel->stream)->d.id,
        .last_pseq = track == AL_REF_NONE ? 0 : ali_track_at(node, track)->d.high};

    ALI_SEND(node, conn->number, channel_ready, &ready);
}

int ali_handle_channel_open(struct al_node *node, struct ali_conn *conn,
                            const struct al_msg_channel_open *m)
{
    ali_ref producer = ali_find_producer(node, m->producer), stream = AL_REF_NONE;
    struct ali_channel *channel = NULL;
    struct ali_stream *target;
    int r = make_room(node, conn, m->channel);

    if (r == 0 &&
        (producer == AL_REF_NONE || ali_producer_at(node, producer)->v.conn != conn->number))
        r = -AL_E_PRODUCER_RETIRED;
    if (r == 0)
        r = ali_stream_get(node, conn, m, &stream);
    if (r == 0) {
        channel = al_alloc_zero(&node->alloc, sizeof(*channel));
        r = channel ? 0 : -AL_E_NOMEM;
    }
    if (r < 0) {
        ali_send_error(node, conn, AL_MSG_CHANNEL_OPEN, m->channel, r);
        return 0;
    }
    assert(channel);
    conn->channels[m->channel - 1] = channel;
    target = ali_stream_at(node, stream);
    target->v.channel_count++;
    ali_agent_at(node, target->d.from)->v.channel_count++;
    ali_agent_at(node, target->d.to)->v.channel_count++;
    channel->stream = stream;
    channel->producer = producer;
    channel->producer_id = m->producer;
    channel->next_pseq = m->first_pseq;
    channel->kind = UINT16_MAX;
    channel->gaps = m->flags & AL_GAPS_FAIL;
    channel->gap = AL_REF_NONE;
    send_ready(node, conn, m->channel, channel);
    return 0;
}

static void close_channel(struct al_node *node, struct ali_conn *conn, uint32_t number)
{
    struct ali_channel *channel = ali_channel_at(conn, number);
    struct ali_stream *stream;

    if (!channel)
        return;
    ali_gap_drop(node, conn, channel);
    stream = ali_stream_at(node, channel->stream);
    stream->v.channel_count--;
    ali_agent_at(node, stream->d.from)->v.channel_count--;
    ali_agent_at(node, stream->d.to)->v.channel_count--;
    al_alloc_free(&node->alloc, channel, sizeof(*channel));
    conn->channels[number - 1] = NULL;
}

void ali_channels_close(struct al_node *node, struct ali_conn *conn)
{
    ali_receipts_flush(node, conn);
    for (uint32_t number = 1; number <= conn->channel_cap; number++)
        close_channel(node, conn, number);
}

int ali_handle_channel_close(struct al_node *node, struct ali_conn *conn,
                             const struct al_msg_channel_close *m)
{
    close_channel(node, conn, m->channel);
    return 0;
}

int ali_handle_channel_resume(struct al_node *node, struct ali_conn *conn,
                              const struct al_msg_channel_resume *m)
{
    struct ali_channel *channel = ali_channel_at(conn, m->channel);

    if (!channel || m->first_pseq < 1) {
        ali_send_error(node, conn, AL_MSG_CHANNEL_RESUME, m->channel,
                       channel ? -AL_E_INVALID : -AL_E_NOT_FOUND);
        return 0;
    }
    ali_gap_drop(node, conn, channel);
    channel->held = false;
    channel->next_pseq = m->first_pseq;
    send_ready(node, conn, m->channel, channel);
    return 0;
}
