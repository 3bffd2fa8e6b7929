/* publish.c - admission: a message is checked, recognised if it was here before, recorded. */
#include "core/internal.h"
#include "core/of_kind.h"
#include <assert.h>

/* ---- receipts ---------------------------------------------------------------------------- */

void ali_receipts_flush(struct al_node *node, struct ali_conn *conn)
{
    struct ali_receipt_run *run = &conn->run;
    struct al_msg_receipt receipt = {.channel = run->channel,
                                     .pseq = run->pseq,
                                     .count = run->count,
                                     .stream = run->stream,
                                     .seq = run->seq,
                                     .durability = run->durability,
                                     .duplicate = run->duplicate};

    if (run->count)
        ALI_SEND(node, conn->number, receipt, &receipt);
    run->count = 0;
}

static void add_receipt(struct al_node *node, struct ali_conn *conn,
                        const struct ali_receipt_run *one)
{
    struct ali_receipt_run *run = &conn->run;

    if (run->count && run->channel == one->channel && run->stream == one->stream &&
        run->duplicate == one->duplicate && run->seq && one->seq &&
        run->pseq + run->count == one->pseq && run->seq + run->count == one->seq) {
        run->count++;
        return;
    }
    ali_receipts_flush(node, conn);
    *run = *one;
}

/* What was wrong, in more words where the error alone does not say it. */
static struct al_str detail_of(struct al_node *node, const struct ali_channel *channel,
                               const struct al_msg_publish *m, int error)
{
    if (error == -AL_E_UNSUPPORTED && m->flags & AL_PUBLISH_OF_KIND && channel->gaps > AL_GAPS_WAIT)
        return al_str_c("the priority of its kind needs a channel whose gaps are waited for");
    return ali_acl_error_text(node, error);
}

void ali_refuse(struct al_node *node, struct ali_conn *conn, const struct al_msg_publish *m,
                int error)
{
    struct ali_channel *channel = ali_channel_at(conn, m->channel);
    struct al_msg_refused refused = {.channel = m->channel,
                                     .pseq = m->pseq,
                                     .code = (uint16_t)-error,
                                     .detail = detail_of(node, channel, m, error)};

    node->v.counters.refused++;
    ali_health_refused(node, error);
    /* 7 never lands before 6; and the client must have seen the refusal of 6 before a 7 raises the
     * high-water mark over it, or a resent 6 would look as if it had been taken. */
    channel->held |= error != -AL_E_GAP_CLOSED;
    ali_receipts_flush(node, conn);
    ALI_SEND(node, conn->number, refused, &refused);
}

/* ---- recognition ------------------------------------------------------------------------- */

/* True if the message of that id went to the stream of the track: to itself, a lane of it, or one
 * that differs by the priority of the message's kind. */
static bool is_of_track(const struct al_node *node, const struct ali_track *track,
                        const struct ali_recent_id *recent)
{
    ali_ref ref = ali_find_stream(node, recent->stream);

    return ref != AL_REF_NONE && ali_is_sibling(node, ref, track->d.stream);
}

/* The place that a message taken earlier has, as far as it is still known. */
static void first_place_of(const struct al_node *node, const struct ali_track *track, uint64_t pseq,
                           const struct al_id *id, struct ali_receipt_run *receipt)
{
    const struct ali_recent_id *recent = ali_find_id(node, id);

    if (track->d.run_pseq && pseq >= track->d.run_pseq && pseq <= track->d.high) {
        receipt->seq = track->d.run_seq + (pseq - track->d.run_pseq);
    } else if (recent && is_of_track(node, track, recent)) {
        receipt->seq = recent->seq;
        if (!AL_PLANT(node, KIND_RECEIPT))
            receipt->stream = recent->stream;
    }
}

/* True if this number lies where some were given up, and nothing shows that it was taken. */
static bool was_given_up(const struct al_node *node, const struct ali_track *track, uint64_t pseq,
                         const struct al_id *id)
{
    const struct ali_recent_id *recent;

    for (uint32_t i = 0; i < track->d.holes->count; i++) {
        if (pseq < track->d.holes->list[i].first || pseq > track->d.holes->list[i].last)
            continue;
        recent = ali_find_id(node, id);
        return !recent || !is_of_track(node, track, recent);
    }
    return false;
}

/* Looks for the message among those that were sent under another producer sequence: by id, then by
 * idempotency key. 1: it was here, *ret_receipt tells where, *ret_key is the key if it was found by
 * that; 0: new; negative: refused. */
static int find_earlier(const struct al_node *node, const struct ali_stream *stream,
                        const struct al_msg_envelope *envelope, struct ali_receipt_run *ret_receipt,
                        const struct ali_key **ret_key)
{
    const struct ali_recent_id *recent = ali_find_id(node, &envelope->message_id);
    ali_ref other = recent ? ali_find_stream(node, recent->stream) : AL_REF_NONE;
    uint8_t key[16], body[16];
    const struct ali_key *entry;

    if (other != AL_REF_NONE && ali_stream_at(node, other)->d.from == stream->d.from &&
        ali_stream_at(node, other)->d.to == stream->d.to) {
        ret_receipt->stream = recent->stream;
        ret_receipt->seq = recent->seq;
        return 1;
    }
    if (!envelope->key.n)
        return 0;
    ali_key_digest(ali_agent_at(node, stream->d.from)->d.id, envelope->key, key);
    entry = ali_find_key(node, key);
    if (!entry || entry->wall_ms + node->config.dedup_ttl_ms <= node->v.now.wall_ms)
        return 0;
    ali_body_digest(ali_agent_at(node, stream->d.to), envelope, body);
    if (memcmp(body, entry->body, sizeof(entry->body)) != 0)
        return -AL_E_KEY_CONFLICT;
    if (entry->state >= AL_STATE_FAILED && entry->state <= AL_STATE_EXPIRED)
        return -AL_E_KEY_DEAD;
    ret_receipt->stream = entry->stream;
    ret_receipt->seq = entry->seq & ALI_KEY_SCHEDULED ? 0 : entry->seq;
    *ret_key = entry;
    return 1;
}

/* ---- admission --------------------------------------------------------------------------- */

int ali_check_envelope(const struct al_node *node, const struct al_msg_envelope *envelope)
{
    struct al_str headers = envelope->headers, name, value;
    int r;

    if (envelope->payload.n > node->config.payload_max || envelope->headers.n > AL_HEADERS_MAX ||
        envelope->ext.n > AL_EXT_MAX || envelope->key.n > AL_KEY_MAX ||
        envelope->content_type.n > AL_CONTENT_TYPE_MAX)
        return -AL_E_TOO_LARGE;
    if (al_id_is_zero(&envelope->message_id) ||
        (envelope->kind.n && !al_kind_is_valid(envelope->kind)) ||
        !al_text_is_plain(envelope->key) || !al_text_is_plain(envelope->content_type) ||
        al_wire_check_optional(envelope->ext.p, envelope->ext.p + envelope->ext.n) < 0)
        return -AL_E_INVALID;
    do
        r = al_headers_next(&headers, &name, &value);
    while (r == 1);
    return r < 0 ? -AL_E_INVALID : 0;
}

static int check_room(const struct al_node *node, const struct ali_stream *stream,
                      const struct al_msg_publish *m)
{
    const struct ali_agent *to = ali_agent_at(node, stream->d.to);

    if (node->v.disk_full)
        return -AL_E_DISK_FULL;
    if (to->inbox->d.pending >= node->config.inbox_max)
        return -AL_E_INBOX_FULL;
    if (ali_letters_are_full(node, to))
        return -AL_E_DLQ_FULL;
    if (m->ttl_ms > AL_TTL_MAX_MS || m->due_ms > node->v.now.wall_ms + AL_TTL_MAX_MS)
        return -AL_E_INVALID;
    if (m->ttl_ms && m->due_ms && m->due_ms >= node->v.now.wall_ms + m->ttl_ms)
        return -AL_E_EXPIRED;
    return 0;
}

/* Whether the channel's sender may send this kind. What was allowed the last time is allowed again
 * as long as the rules are the same and the kind is, so that a stream of messages asks once. */
static int check_rights(struct al_node *node, struct ali_channel *channel, struct al_str kind)
{
    const struct ali_stream *stream = ali_stream_at(node, channel->stream);

    if (channel->acl_generation == ali_acl_generation(node) && channel->kind_size == kind.n &&
        memcmp(channel->kind_name, kind.p, kind.n) == 0)
        return 0;
    channel->acl_generation = 0;
    return ali_acl_check(node, stream->d.from, stream->d.to, ALI_ACL_SEND, kind);
}

/* Expired ones go; a full store refuses. */
int ali_keys_room(const struct al_node *node, ali_ref from_ref, uint32_t more, uint32_t *ret_evict)
{
    const struct al_recent *keys = &node->d.keys;
    const struct ali_agent *from = ali_agent_at(node, from_ref);
    uint64_t now = node->v.now.wall_ms, number = keys->first;

    while (number < keys->next && number - keys->first < 16) {
        const struct ali_key *oldest = al_recent_at(keys, number);

        if (oldest->wall_ms + node->config.dedup_ttl_ms > now)
            break;
        number++;
    }
    *ret_evict = (uint32_t)(number - keys->first);
    if (keys->next - number + more > node->config.dedup_max)
        return -AL_E_DEDUP_FULL;
    /* A fair share: no sender holds more than half. */
    if (from->inbox->d.key_count + more > (node->config.dedup_max + 1) / 2 + *ret_evict)
        return -AL_E_DEDUP_FULL;
    return 0;
}

static bool is_to_group(const struct al_node *node, const struct ali_stream *stream)
{
    return ali_agent_at(node, stream->d.to)->v.group != AL_REF_NONE;
}

/* The channel's kind is that of its newest message. */
static void find_kind(struct al_node *node, struct ali_channel *channel, struct al_str kind)
{
    if (channel->kind == UINT16_MAX || channel->kind_size != kind.n ||
        memcmp(channel->kind_name, kind.p, kind.n) != 0) {
        channel->kind = ali_metric_find(node, kind);
        channel->kind_size = (uint8_t)kind.n;
        memcpy(channel->kind_name, kind.p, kind.n);
    }
}

static void note_kind(struct al_node *node, struct ali_channel *channel, struct al_str kind)
{
    find_kind(node, channel, kind);
    channel->acl_generation = node->acl.generation; /* it was allowed: check_rights */
    if (channel->kind != UINT16_MAX)
        node->v.metrics[channel->kind].sent++;
}

/* Arms what the admitted message needs, and passes it on if its recipient can take it. */
static void admitted(struct al_node *node, const struct ali_channel *channel, ali_ref stream,
                     const struct ali_rec_publish *record)
{
    uint64_t now = node->v.now.wall_ms;

    node->v.counters.accepted++;
    if (!record->seq) {
        ali_ref ref = ali_find_delayed(node, node->d.lsn);

        ali_timer_set(node, ALI_TIMER_DELAYED, ref, record->due_ms - now);
        return;
    }
    node->v.waiting++;
    if (record->expire_ms) {
        ali_ref ref = ali_find_mark(node, stream, record->seq);

        ali_mark_at(node, ref)->v.kind = channel->kind;
        ali_timer_set(node, ALI_TIMER_MARK, ref, record->expire_ms - now);
    }
    if (!channel->failing)
        ali_push_new(node, stream, record, channel->kind);
}

/* Where the message goes: to the channel's stream or the one of its kind's priority, or to a lane.
 */
static int find_place(struct al_node *node, struct ali_channel *channel,
                      const struct al_msg_publish *m, struct al_str kind, ali_ref *ret_stream)
{
    ali_ref base = channel->stream;
    uint8_t priority;
    int r = 0;

    if (m->flags & AL_PUBLISH_OF_KIND) {
        find_kind(node, channel, kind);
        priority = channel->kind == UINT16_MAX ? ali_terms_of(node, kind).priority
                                               : ali_terms_at(node, channel->kind).priority;
        r = ali_stream_of_kind(node, channel->stream, priority, &base);
    }
    return r < 0 ? r : ali_lane_get(node, base, ret_stream);
}

static int admit(struct al_node *node, struct ali_channel *channel, const struct al_msg_publish *m,
                 const struct al_msg_envelope *envelope, uint16_t untold,
                 struct ali_receipt_run *ret_receipt)
{
    const struct ali_stream *stream = ali_stream_at(node, channel->stream);
    uint64_t now = node->v.now.wall_ms;
    bool scheduled = m->due_ms > now;
    ali_ref place = channel->stream;
    uint8_t track[8];
    struct ali_rec_publish record = {
        .stream = stream->d.id,
        .seq = scheduled ? 0 : stream->d.runs.next_seq,
        .producer = channel->producer_id,
        .pseq = m->pseq,
        .flags = (uint16_t)((m->flags & ALI_FLAGS_MASK) | untold << ALI_SKIPPED_SHIFT),
        .wall_ms = now,
        .expire_ms = m->ttl_ms ? now + m->ttl_ms : 0,
        .due_ms = scheduled ? m->due_ms : 0,
        .envelope = m->envelope};
    uint64_t workflow = 0;
    int r = check_rights(node, channel, envelope->kind);

    if (r == 0)
        r = check_room(node, stream, m);
    if (r == 0 && m->flags & AL_PUBLISH_OF_KIND && channel->gaps > AL_GAPS_WAIT)
        r = -AL_E_UNSUPPORTED; /* whom would be told what is missing? */
    if (r == 0 && is_to_group(node, stream)) {
        r = ali_group_check(node, stream, &record, 0);
        if (r == 0 && envelope->key.n)
            r = ali_keys_room(node, stream->d.from, 1, &record.dedup_evict);
        if (r == 0)
            r = ali_group_admit(node, channel, &record, ret_receipt);
        if (r == 0)
            (void)ali_group_trim(node, ali_agent_at(node, stream->d.to)->v.group);
        if (r == 0)
            note_kind(node, channel, envelope->kind);
        return r;
    }
    if (r == 0 && envelope->key.n)
        r = ali_keys_room(node, stream->d.from, 1, &record.dedup_evict);
    if (r == 0)
        r = ali_workflow_get(node, stream->d.from, envelope, &workflow);
    if (r == 0)
        r = find_place(node, channel, m, envelope->kind, &place);
    if (r == 0 && place != channel->stream) {
        record.stream = ali_stream_at(node, place)->d.id;
        record.seq = scheduled ? 0 : ali_stream_at(node, place)->d.runs.next_seq;
        if (ali_track_stream(node, place) != channel->stream && !AL_PLANT(node, KIND_TRACK))
            record.ext = ali_ext_put_u32(track, ALI_PUBLISH_EXT_TRACK, stream->d.id);
    }
    if (r == 0)
        r = ali_commit_publish(node, &record, workflow);
    if (r < 0)
        return r;
    note_kind(node, channel, envelope->kind);
    ret_receipt->stream = record.stream;
    ret_receipt->seq = record.seq;
    admitted(node, channel, place, &record);
    return 0;
}

/* The high-water mark of the channel's producer in its stream. */
static const struct ali_track *track_of(struct al_node *node, struct ali_channel *channel)
{
    ali_ref track = ali_find_track(node, channel->stream, channel->producer);

    return track == AL_REF_NONE ? NULL : ali_track_at(node, track);
}

static bool was_taken(const struct al_node *node, const struct ali_track *track, uint64_t pseq)
{
    (void)node;
    if (AL_PLANT(node, DEDUP_OFF_BY_ONE))
        return track && pseq < track->d.high;
    return track && pseq <= track->d.high;
}

/* True if something is missing before this number. */
static bool is_ahead(const struct al_node *node, const struct ali_channel *channel,
                     const struct ali_track *track, uint64_t pseq)
{
    (void)node;
    if (AL_PLANT(node, GAP_OVERTAKEN) && channel->gap != AL_REF_NONE)
        return false;
    return pseq > channel->next_pseq && pseq != (track ? track->d.high + 1 : channel->next_pseq);
}

/* The stored answer of the first one, behind the receipt; or END when it comes. `taken`: a
 * retransmission on its own producer, which is told anyway. */
static void tell_duplicate(struct al_node *node, struct ali_conn *conn,
                           const struct ali_receipt_run *receipt, const struct ali_key *key,
                           const struct al_id *id, bool taken)
{
    ali_ref stream = ali_find_stream(node, receipt->stream);
    uint64_t seq = key ? key->seq : receipt->seq;
    int r;

    ali_receipts_flush(node, conn);
    if (stream != AL_REF_NONE && is_to_group(node, ali_stream_at(node, stream)))
        key = NULL; /* the end at all members is not kept with it */
    r = key ? ali_key_tell(node, conn, key, id)
            : ali_end_tell(node, conn, receipt->stream, receipt->seq, id);
    if (r == 1 && !taken)
        r = ali_waiter_add(node, conn, receipt->stream, seq, id);
    if (r < 0) /* it asks again */
        ali_send_error(node, conn, AL_MSG_END_WATCH, receipt->stream, r);
}

static int publish(struct al_node *node, struct ali_conn *conn, struct ali_channel *channel,
                   const struct al_msg_publish *m, const struct al_msg_envelope *envelope)
{
    const struct ali_track *track = track_of(node, channel);
    struct ali_receipt_run receipt = {.channel = m->channel,
                                      .pseq = m->pseq,
                                      .count = 1,
                                      .stream = ali_stream_at(node, channel->stream)->d.id,
                                      .durability = AL_DURABILITY_LOCAL};
    const struct ali_key *key = NULL;
    bool taken = was_taken(node, track, m->pseq);
    int r;

    if (taken) {
        if (track->d.holes && was_given_up(node, track, m->pseq, &envelope->message_id))
            return -AL_E_GAP_CLOSED;
        first_place_of(node, track, m->pseq, &envelope->message_id, &receipt);
        receipt.duplicate = 1;
    } else if (channel->held) {
        return -AL_E_STREAM_HELD;
    } else if (m->pseq < 1) {
        return -AL_E_SEQUENCE_GAP;
    } else if (is_ahead(node, channel, track, m->pseq)) {
        return ali_gap_open(node, conn, m);
    } else {
        r = ali_check_envelope(node, envelope);
        if (r == 0)
            r = find_earlier(node, ali_stream_at(node, channel->stream), envelope, &receipt, &key);
        if (r < 0)
            return r;
        receipt.duplicate = r == 1;
        if (r == 0)
            r = admit(node, channel, m, envelope, track ? track->d.untold : 0, &receipt);
        if (r < 0)
            return r;
    }
    if (m->pseq >= channel->next_pseq)
        channel->next_pseq = m->pseq + 1;
    node->v.counters.duplicates += receipt.duplicate;
    add_receipt(node, conn, &receipt);
    if (receipt.duplicate && (receipt.seq || key) && (m->flags & AL_PUBLISH_NOTIFY))
        tell_duplicate(node, conn, &receipt, key, &envelope->message_id, taken);
    return 0;
}

int ali_publish_one(struct al_node *node, struct ali_conn *conn, const struct al_msg_publish *m)
{
    struct ali_channel *channel = ali_channel_at(conn, m->channel);
    struct al_msg_envelope envelope;
    int r = al_decode_envelope(m->envelope, &envelope);

    assert(r == 0);
    r = publish(node, conn, channel, m, &envelope);
    if (r < 0)
        ali_refuse(node, conn, m, r);
    return r > 0;
}

static void publish_volatile(struct al_node *node, struct ali_channel *channel,
                             const struct al_msg_publish *m, const struct al_msg_envelope *envelope)
{
    ali_ref stream = channel->stream;
    int r = ali_check_envelope(node, envelope);

    if (r == 0)
        r = check_rights(node, channel, envelope->kind);
    if (r == 0 && m->flags & AL_PUBLISH_OF_KIND && !is_to_group(node, ali_stream_at(node, stream)))
        r = ali_stream_of_kind(node, channel->stream, ali_terms_of(node, envelope->kind).priority,
                               &stream);
    if (r == 0)
        ali_push_volatile(node, stream, m);
    else
        node->v.counters.volatile_dropped++;
}

int ali_handle_publish(struct al_node *node, struct ali_conn *conn, const struct al_msg_publish *m)
{
    struct ali_channel *channel = ali_channel_at(conn, m->channel);
    const struct ali_producer *producer;
    struct al_msg_envelope envelope;
    int r;

    if (!channel) {
        ali_send_fatal(node, conn, AL_MSG_PUBLISH, AL_E_PROTOCOL, "PUBLISH on a closed channel");
        return 0;
    }
    producer = ali_producer_at(node, channel->producer);
    if (producer->v.conn != conn->number || producer->d.id != channel->producer_id) {
        ali_send_fatal(node, conn, AL_MSG_PUBLISH, AL_E_FENCED,
                       "the producer was taken over by a newer connection");
        return 0;
    }
    if (al_decode_envelope(m->envelope, &envelope) < 0) {
        ali_send_fatal(node, conn, AL_MSG_PUBLISH, AL_E_PROTOCOL, "malformed ENVELOPE");
        return 0;
    }
    if (m->flags & AL_PUBLISH_VOLATILE) {
        publish_volatile(node, channel, m, &envelope);
        return 0;
    }
    r = publish(node, conn, channel, m, &envelope);
    if (r < 0)
        ali_refuse(node, conn, m, r);
    return channel->gap != AL_REF_NONE && r <= 0 ? ali_gap_advance(node, conn, m->channel) : 0;
}

/* ---- messages of a commit ---------------------------------------------------------------- */

/* The record of a message of a commit. */
static struct ali_rec_publish record_of(const struct al_node *node,
                                        const struct ali_send_part *part, uint64_t producer,
                                        uint32_t evict)
{
    const struct ali_stream *stream = ali_stream_at(node, part->stream);
    uint64_t now = node->v.now.wall_ms;
    bool scheduled = part->m.due_ms > now;

    return (struct ali_rec_publish){.stream = stream->d.id,
                                    .seq = scheduled ? 0 : stream->d.runs.next_seq,
                                    .producer = producer,
                                    .flags = part->m.flags,
                                    .wall_ms = now,
                                    .expire_ms = part->m.ttl_ms ? now + part->m.ttl_ms : 0,
                                    .due_ms = scheduled ? part->m.due_ms : 0,
                                    .dedup_evict = evict,
                                    .envelope = part->m.envelope};
}

int ali_send_part_check(struct al_node *node, struct ali_conn *conn, ali_ref from_ref,
                        struct ali_send_part *part, uint32_t more)
{
    const struct ali_agent *from = ali_agent_at(node, from_ref), *to;
    struct al_msg_channel_open open = {.first_pseq = 1,
                                       .priority = part->m.priority,
                                       .from = al_str_of(from->d.name, from->d.name_size),
                                       .to = part->m.to,
                                       .label = part->m.label};
    struct al_msg_publish publish = {.ttl_ms = part->m.ttl_ms, .due_ms = part->m.due_ms};
    struct ali_receipt_run receipt = {0};
    const struct ali_key *key = NULL;
    int r = part->m.flags & ~AL_PUBLISH_NOTIFY ? -AL_E_INVALID : 0;

    if (r == 0 && al_decode_envelope(part->m.envelope, &part->envelope) < 0)
        r = -AL_E_INVALID;
    if (r == 0)
        r = ali_check_envelope(node, &part->envelope);
    if (r == 0 && al_group_name_is_valid(open.to) && open.priority == AL_PRIORITY_NONE)
        open.priority = AL_PRIORITY_DEFAULT; /* one order for all: the kind's does not count */
    if (r == 0)
        open.priority = ali_priority_of_kind(node, open.priority, part->envelope.kind);
    if (r == 0)
        r = ali_stream_get(node, conn, &open, &part->stream);
    if (r < 0)
        return r;
    to = ali_agent_at(node, ali_stream_at(node, part->stream)->d.to);
    r = ali_acl_check(node, from_ref, ali_stream_at(node, part->stream)->d.to, ALI_ACL_SEND,
                      part->envelope.kind);
    if (r < 0)
        return r;
    r = find_earlier(node, ali_stream_at(node, part->stream), &part->envelope, &receipt, &key);
    part->duplicate = r == 1;
    part->receipt_stream = receipt.stream;
    part->receipt_seq = receipt.seq;
    if (r != 0)
        return r < 0 ? r : 0;
    r = check_room(node, ali_stream_at(node, part->stream), &publish);
    if (r == 0 && to->v.group != AL_REF_NONE) {
        struct ali_rec_publish record = record_of(node, part, 0, 0);

        return ali_group_check(node, ali_stream_at(node, part->stream), &record, more);
    }
    if (r == 0 && to->inbox->d.pending + more >= node->config.inbox_max)
        r = -AL_E_INBOX_FULL;
    return r < 0 ? r : ali_workflow_get(node, from_ref, &part->envelope, &part->workflow);
}

int ali_send_part(struct al_node *node, struct ali_send_part *part, uint64_t producer,
                  uint32_t evict)
{
    const struct ali_stream *stream = ali_stream_at(node, part->stream);
    struct ali_channel channel = {
        .stream = part->stream, .producer_id = producer, .kind = UINT16_MAX};
    struct ali_rec_publish record = record_of(node, part, producer, evict);
    struct ali_receipt_run receipt = {.stream = record.stream, .seq = record.seq};
    bool to_group = is_to_group(node, stream);
    int r = to_group ? ali_group_admit(node, &channel, &record, &receipt)
                     : ali_commit_publish(node, &record, part->workflow);

    if (r < 0)
        return r;
    part->receipt_stream = receipt.stream;
    part->receipt_seq = receipt.seq;
    note_kind(node, &channel, part->envelope.kind);
    if (!to_group)
        admitted(node, &channel, part->stream, &record);
    return 0;
}

/* ---- scheduled messages ------------------------------------------------------------------ */

int ali_delayed_due(struct al_node *node, ali_ref ref)
{
    const struct ali_delayed *delayed = ali_delayed_at(node, ref);
    ali_ref stream_ref = delayed->d.stream, mark_ref;
    const struct ali_stream *stream = ali_stream_at(node, stream_ref);
    struct ali_rec_due record = {.delayed = delayed->d.id, .seq = stream->d.runs.next_seq};
    int r = ali_commit(node, ALI_REC_DUE, &record);

    if (r < 0)
        return r;
    node->v.waiting++;
    if (stream->v.watch_count)
        ali_waiter_move(node, stream->d.id, record.delayed | ALI_KEY_SCHEDULED, record.seq);
    mark_ref = ali_find_mark(node, stream_ref, record.seq);
    if (mark_ref != AL_REF_NONE) {
        struct ali_mark *mark = ali_mark_at(node, mark_ref);

        ali_timer_set(node, ALI_TIMER_MARK, mark_ref,
                      ali_remaining_ms(node, mark->d.wall_ms, mark->d.expire_ms));
    }
    ali_stream_ready(node, stream_ref);
    return 0;
}

/* ---- notices ----------------------------------------------------------------------------- */

/* The connection that the producer is on; NULL: its sender asks with END_WATCH when it is back. */
static const struct ali_conn *conn_of(const struct al_node *node, uint64_t producer)
{
    ali_ref ref = ali_find_producer(node, producer);
    const struct ali_conn *conn;

    if (ref == AL_REF_NONE || ali_producer_at(node, ref)->v.conn == AL_REF_NONE)
        return NULL;
    conn = ali_conn_at(node, ali_producer_at(node, ref)->v.conn);
    return conn && !conn->closing ? conn : NULL;
}

uint32_t ali_send_end(struct al_node *node, uint64_t producer, const struct al_msg_end *end)
{
    const struct ali_conn *conn = conn_of(node, producer);

    if (!conn)
        return AL_REF_NONE;
    ALI_SEND(node, conn->number, end, end);
    return conn->number;
}

bool ali_send_reply_part(struct al_node *node, uint64_t producer,
                         const struct al_msg_reply_part *part)
{
    const struct ali_conn *conn = conn_of(node, producer);

    if (conn)
        ALI_SEND(node, conn->number, reply_part, part);
    return conn;
}
