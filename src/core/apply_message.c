/* apply_message.c - records that bring messages in, and move them. */
#include "core/internal.h"
#include "core/of_kind.h"
#include <assert.h>

#define OF_STREAM   offsetof(struct ali_track, d.of_stream)
#define OF_PRODUCER offsetof(struct ali_track, d.of_producer)

/* ---- marks and scheduled messages -------------------------------------------------------- */

static int mark_reserve(struct al_node *node)
{
    int r = al_pool_reserve(&node->marks, 1);

    return r < 0 ? r : al_index_reserve(&node->mark_keys, 1);
}

ali_ref ali_mark_add(struct al_node *node, ali_ref stream, uint64_t seq)
{
    ali_ref ref = al_pool_take(&node->marks);
    struct ali_mark *mark = ali_mark_at(node, ref);

    ali_fresh(node, &mark->object);
    mark->d.stream = stream;
    mark->d.seq = seq;
    mark->v.kind = UINT16_MAX;
    al_index_add(&node->mark_keys, ali_hash_pair(stream, seq), ref);
    ali_stream_at(node, stream)->d.mark_count++;
    return ref;
}

void ali_mark_remove(struct al_node *node, ali_ref ref)
{
    struct ali_mark *mark = ali_mark_at(node, ref);
    struct ali_stream *stream = ali_stream_at(node, mark->d.stream);

    ali_touch(node, ALI_PART_MARK, ref, &mark->object);
    ali_timer_cancel(node, ALI_TIMER_MARK, ref);
    stream->d.mark_count--;
    if (mark->d.gone)
        stream->d.gone_count--;
    al_index_remove(&node->mark_keys, ali_hash_pair(mark->d.stream, mark->d.seq), ref);
    al_pool_put(&node->marks, ref);
}

void ali_delayed_remove(struct al_node *node, ali_ref ref)
{
    struct ali_delayed *delayed = ali_delayed_at(node, ref);
    struct ali_stream *stream = ali_stream_at(node, delayed->d.stream);
    struct ali_agent *to = ali_agent_at(node, stream->d.to);

    ali_touch(node, ALI_PART_DELAYED, ref, &delayed->object);
    ali_number_tag_drop(node, AL_REF_NONE, delayed->d.id);
    ali_timer_cancel(node, ALI_TIMER_DELAYED, ref);
    stream->d.letter_count--;
    to->inbox->d.pending--;
    to->inbox->v.delayed--;
    al_index_remove(&node->delayed_ids, ali_hash_number(delayed->d.id), ref);
    al_pool_put(&node->delayed, ref);
}

/* ---- publish ----------------------------------------------------------------------------- */

/* Where a PUBLISH record belongs. */
struct target {
    ali_ref stream_ref, producer_ref, track_ref; /* track: AL_REF_NONE if it is new */
    ali_ref base_ref;                            /* the track's stream */
    struct ali_stream *stream;
};

/* The stream of the track; AL_REF_NONE: there is none, or it is none of this sender's. */
static ali_ref find_base(const struct al_node *node, const struct ali_rec_publish *r,
                         ali_ref stream)
{
    uint32_t number = r->ext.n ? ali_ext_get_u32(r->ext, ALI_PUBLISH_EXT_TRACK) : 0;
    ali_ref base = number ? ali_find_stream(node, number) : AL_REF_NONE;

    if (!number)
        return ali_track_stream(node, stream);
    return base != AL_REF_NONE && ali_is_sibling(node, stream, base) ? base : AL_REF_NONE;
}

static int find_target(struct al_node *node, const struct ali_rec_publish *r,
                       struct target *ret_target)
{
    struct target t = {.stream_ref = ali_find_stream(node, r->stream),
                       .producer_ref = ali_find_producer(node, r->producer)};

    if (t.stream_ref == AL_REF_NONE || t.producer_ref == AL_REF_NONE)
        return -AL_E_DAMAGED;
    t.stream = ali_stream_at(node, t.stream_ref);
    t.base_ref = find_base(node, r, t.stream_ref);
    if (t.base_ref == AL_REF_NONE)
        return -AL_E_DAMAGED;
    t.track_ref = ali_find_track(node, t.base_ref, t.producer_ref);
    *ret_target = t;
    return 0;
}

/* Memory for what every admission changes; *ret_target is where it belongs. */
static int prepare_admission(struct al_node *node, const struct ali_rec_publish *r,
                             struct target *ret_target)
{
    int e = find_target(node, r, ret_target);
    struct al_id id;

    if (e < 0)
        return e;
    if (r->envelope.n < 16)
        return -AL_E_DAMAGED;
    if (r->pseq && ret_target->track_ref == AL_REF_NONE) {
        e = al_pool_reserve(&node->tracks, 1);
        if (e == 0)
            e = al_index_reserve(&node->track_keys, 1);
    }
    if (e < 0)
        return e;
    memcpy(id.b, r->envelope.p, 16);
    return ali_ids_reserve(node, &id);
}

int ali_prepare_admission(struct al_node *node, const struct ali_rec_publish *r)
{
    struct target t;
    int e = prepare_admission(node, r, &t);

    return e < 0 ? e : ali_keys_reserve(node);
}

int ali_prepare_publish(struct al_node *node, const struct ali_rec_publish *r)
{
    struct target t = {0};
    int e = prepare_admission(node, r, &t);

    if (e < 0)
        return e;
    if (r->due_ms ? r->seq != 0 : r->seq != t.stream->d.runs.next_seq)
        return -AL_E_DAMAGED;
    if (!ali_has_inbox(ali_agent_at(node, t.stream->d.from)) ||
        !ali_has_inbox(ali_agent_at(node, t.stream->d.to)))
        return -AL_E_DAMAGED; /* what a group gets and sends are records of their own */
    e = r->seq ? ali_runs_reserve(&t.stream->d.runs, &node->alloc)
               : al_pool_reserve(&node->delayed, 1);
    if (e == 0 && !r->seq)
        e = al_index_reserve(&node->delayed_ids, 1);
    if (e == 0 && r->expire_ms)
        e = mark_reserve(node);
    return e < 0 ? e : ali_keys_reserve(node);
}

ali_ref ali_track_add(struct al_node *node, ali_ref stream, ali_ref producer)
{
    ali_ref ref = al_pool_take(&node->tracks);
    struct ali_track *track = ali_track_at(node, ref);

    ali_fresh(node, &track->object);
    track->d.stream = stream;
    track->d.producer = producer;
    al_index_add(&node->track_keys, ali_hash_pair(stream, producer), ref);
    ali_list_push(&node->tracks, OF_STREAM, &ali_stream_at(node, stream)->d.tracks, ref);
    ali_list_push(&node->tracks, OF_PRODUCER, &ali_producer_at(node, producer)->d.tracks, ref);
    return ref;
}

/* The stream of the track is in use, though the message is in another one. */
static void use_base(struct al_node *node, ali_ref ref, uint64_t wall_ms)
{
    struct ali_stream *base = ali_stream_at(node, ref);

    ali_touch(node, ALI_PART_STREAM, ref, &base->object);
    base->d.used_ms = wall_ms;
}

/* The high-water mark of the producer in this stream moves: the first dedup layer. */
static void advance_track(struct al_node *node, const struct target *t,
                          const struct ali_rec_publish *r)
{
    struct ali_producer *producer = ali_producer_at(node, t->producer_ref);
    ali_ref ref = t->track_ref;
    struct ali_track *track;

    ali_touch(node, ALI_PART_PRODUCER, t->producer_ref, &producer->object);
    producer->d.used_ms = r->wall_ms;
    if (t->base_ref != t->stream_ref)
        use_base(node, t->base_ref, r->wall_ms);
    if (ref == AL_REF_NONE)
        ref = ali_track_add(node, t->base_ref, t->producer_ref);
    track = ali_track_at(node, ref);
    ali_touch(node, ALI_PART_TRACK, ref, &track->object);
    /* A producer sequence that was skipped (a duplicate under another key or id) ends the run, even
     * if somebody else's message makes the numbers fit: it would be given that message's place. */
    if (!r->seq || t->base_ref != t->stream_ref) {
        track->d.run_pseq = 0;
    } else if (!track->d.run_pseq || r->pseq != track->d.high + 1 ||
               track->d.run_seq + (r->pseq - track->d.run_pseq) != r->seq) {
        track->d.run_pseq = r->pseq;
        track->d.run_seq = r->seq;
    }
    track->d.high = r->pseq;
    if (r->flags >> ALI_SKIPPED_SHIFT)
        track->d.untold = 0;
}

static uint32_t payload_bytes(const struct ali_rec_publish *r)
{
    struct al_msg_envelope envelope;

    if (al_decode_envelope(r->envelope, &envelope) < 0)
        return 0;
    return envelope.payload.n < AL_PAYLOAD_MAX ? (uint32_t)envelope.payload.n : AL_PAYLOAD_MAX;
}

static void add_delayed(struct al_node *node, const struct target *t, uint64_t lsn,
                        const struct ali_rec_publish *r)
{
    ali_ref ref = al_pool_take(&node->delayed);
    struct ali_delayed *delayed = ali_delayed_at(node, ref);

    ali_fresh(node, &delayed->object);
    delayed->d.id = delayed->d.lsn = lsn & ALI_NUMBER_MAX; /* there is none above */
    delayed->d.stream = t->stream_ref;
    delayed->d.wall_ms = ali_time_held(r->wall_ms);
    delayed->d.due_ms = ali_time_held(r->due_ms);
    delayed->d.expire_ms = ali_time_held(r->expire_ms);
    delayed->d.producer = r->producer & ALI_NUMBER_MAX; /* producers have no higher numbers */
    delayed->d.notify = (r->flags & AL_PUBLISH_NOTIFY) != 0;
    delayed->d.bytes = payload_bytes(r);
    memcpy(delayed->d.message_id.b, r->envelope.p, 16);
    al_index_add(&node->delayed_ids, ali_hash_number(lsn), ref);
    t->stream->d.letter_count++;
    ali_agent_at(node, t->stream->d.to)->inbox->v.delayed++;
}

static void add_expiry(struct al_node *node, ali_ref stream, uint64_t seq,
                       const struct ali_rec_publish *r)
{
    struct ali_mark *mark = ali_mark_at(node, ali_mark_add(node, stream, seq));

    mark->d.expire_ms = ali_time_held(r->expire_ms);
    mark->d.wall_ms = ali_time_held(r->wall_ms);
    mark->d.producer = r->producer;
    mark->d.notify = (r->flags & AL_PUBLISH_NOTIFY) != 0;
    mark->d.bytes = payload_bytes(r);
    memcpy(mark->d.id.b, r->envelope.p, 16);
}

static void remember_key(struct al_node *node, const struct target *t, uint64_t lsn,
                         const struct ali_rec_publish *r)
{
    const struct ali_agent *from = ali_agent_at(node, t->stream->d.from);
    struct al_msg_envelope envelope;
    uint8_t digest[16], body[16];
    struct ali_key *key;

    for (uint32_t i = 0; i < r->dedup_evict && node->d.keys.first < node->d.keys.next; i++)
        ali_keys_evict(node);
    if (al_decode_envelope(r->envelope, &envelope) < 0 || envelope.key.n == 0)
        return;
    ali_key_digest(from->d.id, envelope.key, digest);
    key = ali_keys_add(node, digest, t->stream->d.id, r->seq ? r->seq : lsn | ALI_KEY_SCHEDULED);
    ali_body_digest(ali_agent_at(node, t->stream->d.to), &envelope, body);
    memcpy(key->body, body, sizeof(key->body));
    ali_key_open(node, key);
    key->agent = from->d.id;
    key->wall_ms = r->wall_ms;
    ali_agent_at(node, t->stream->d.from)->inbox->d.key_count++;
}

/* What every admission changes. */
static void apply_admission(struct al_node *node, const struct target *t,
                            const struct ali_rec_publish *r)
{
    struct ali_recent_id *recent;
    struct al_id id;

    ali_touch(node, ALI_PART_STREAM, t->stream_ref, &t->stream->object);
    if (r->pseq) /* 0: of a commit, which has a number of its own */
        advance_track(node, t, r);
    t->stream->d.used_ms = r->wall_ms;
    memcpy(id.b, r->envelope.p, 16);
    recent = ali_ids_add(node, &id);
    recent->stream = t->stream->d.id;
    recent->seq = r->seq; /* 0: scheduled, known by its id all the same */
}

void ali_apply_admission(struct al_node *node, const struct ali_rec_publish *r)
{
    struct target t = {0};
    int e = find_target(node, r, &t);

    assert(e == 0);
    (void)e;
    apply_admission(node, &t, r);
    if (node->v.started || !AL_PLANT(node, GROUP_KEY_LOST))
        remember_key(node, &t, 0, r);
}

void ali_apply_publish(struct al_node *node, uint64_t lsn, const struct ali_rec_publish *r)
{
    struct target t = {0};
    int e = find_target(node, r, &t);

    assert(e == 0);
    (void)e;
    apply_admission(node, &t, r);
    ali_agent_at(node, t.stream->d.to)->inbox->d.pending++;
    ali_live_add(node, lsn);
    if (r->seq)
        ali_runs_push(&t.stream->d.runs, lsn);
    else
        add_delayed(node, &t, lsn, r);
    if (r->seq && r->expire_ms)
        add_expiry(node, t.stream_ref, r->seq, r);
    remember_key(node, &t, lsn, r);
}

/* ---- due --------------------------------------------------------------------------------- */

int ali_prepare_due(struct al_node *node, const struct ali_rec_due *r)
{
    ali_ref ref = ali_find_delayed(node, r->delayed);
    struct ali_stream *stream;
    int e;

    if (ref == AL_REF_NONE)
        return -AL_E_DAMAGED;
    stream = ali_stream_at(node, ali_delayed_at(node, ref)->d.stream);
    if (r->seq != stream->d.runs.next_seq)
        return -AL_E_DAMAGED;
    e = ali_runs_reserve(&stream->d.runs, &node->alloc);
    if (e == 0)
        e = mark_reserve(node);
    if (e == 0)
        e = ali_number_move_reserve(node, ali_delayed_at(node, ref)->d.stream, AL_REF_NONE,
                                    r->delayed);
    return e < 0 ? e : ali_ids_reserve(node, &ali_delayed_at(node, ref)->d.message_id);
}

void ali_apply_due(struct al_node *node, uint64_t lsn, const struct ali_rec_due *r)
{
    ali_ref ref = ali_find_delayed(node, r->delayed);
    struct ali_delayed delayed = *ali_delayed_at(node, ref);
    struct ali_stream *stream = ali_stream_at(node, delayed.d.stream);
    struct ali_recent_id *recent;

    (void)lsn;
    ali_touch(node, ALI_PART_STREAM, delayed.d.stream, &stream->object);
    ali_number_move(node, delayed.d.stream, r->seq, AL_REF_NONE, r->delayed);
    ali_delayed_remove(node, ref);
    ali_agent_at(node, stream->d.to)->inbox->d.pending++; /* it stays pending */
    ali_runs_push(&stream->d.runs, delayed.d.lsn);
    stream->d.moved_count++;
    if (stream->d.key_count)
        ali_key_move(node, stream->d.id, delayed.d.id | ALI_KEY_SCHEDULED, r->seq);
    recent = ali_ids_add(node, &delayed.d.message_id);
    recent->stream = stream->d.id;
    recent->seq = r->seq;
    if (delayed.d.expire_ms) {
        struct ali_mark *mark = ali_mark_at(node, ali_mark_add(node, delayed.d.stream, r->seq));

        mark->d.expire_ms = delayed.d.expire_ms;
        mark->d.wall_ms = delayed.d.wall_ms;
        mark->d.producer = delayed.d.producer;
        mark->d.notify = delayed.d.notify;
        mark->d.id = delayed.d.message_id;
        mark->d.bytes = delayed.d.bytes;
    }
}

/* ---- carry ------------------------------------------------------------------------------- */

/* The key whose answer stands in the record. */
static struct ali_key *carried_key(const struct al_node *node, const struct ali_rec_carry *r)
{
    struct ali_key *key = ali_find_key_of(node, r->stream, r->key);

    return key && key->lsn == r->old_lsn ? key : NULL;
}

/* One record, and up to two that refer to it: the finished delivery and the key. */
static void move_end(struct al_node *node, struct ali_ended *ended, uint64_t lsn,
                     const struct ali_rec_carry *r)
{
    struct ali_key *key = carried_key(node, r);

    if (ended && ended->lsn == r->old_lsn) {
        ali_live_add(node, lsn);
        ali_live_drop(node, r->old_lsn);
        ali_snapshot_keep_ended(node, ended);
        ended->lsn = lsn;
    }
    if (key)
        ali_key_carried(node, key, lsn);
}

/* What a carried record is of; false if nobody refers to it any more. */
static bool find_carried(struct al_node *node, const struct ali_rec_carry *r, ali_ref *ret_ref,
                         struct ali_ended **ret_ended)
{
    ali_ref ref = AL_REF_NONE;

    switch (r->what) {
    case ALI_CARRY_MESSAGE:
        ref = ali_find_stream(node, r->stream);
        break;
    case ALI_CARRY_DELAYED:
        ref = ali_find_delayed(node, r->key);
        break;
    case ALI_CARRY_DEAD:
        ref = ali_find_letter(node, r->stream, r->key);
        break;
    case ALI_CARRY_END:
        *ret_ended = ali_find_ended(node, r->stream, r->key);
        return (*ret_ended && (*ret_ended)->lsn == r->old_lsn) || carried_key(node, r);
    default:
        break;
    }
    *ret_ref = ref;
    return ref != AL_REF_NONE;
}

/* True if a pending message or dead letter has the record that is carried. */
static bool is_message(const struct al_node *node, ali_ref ref, const struct ali_rec_carry *r)
{
    const struct ali_stream *stream = ali_stream_at(node, ref);
    ali_ref letter = ali_find_letter(node, r->stream, r->key);

    if (letter != AL_REF_NONE)
        return ali_letter_at(node, letter)->d.lsn == r->old_lsn;
    return r->key >= stream->d.runs.first_seq && r->key < stream->d.runs.next_seq &&
           !ali_seq_is_gone(node, stream, ref, r->key) &&
           ali_runs_seek(&stream->d.runs, r->key).lsn == r->old_lsn;
}

int ali_prepare_carry(struct al_node *node, const struct ali_rec_carry *r)
{
    struct ali_ended *ended = NULL;
    ali_ref ref = AL_REF_NONE;

    if (r->what == ALI_CARRY_GROUP)
        return ali_group_prepare_carry(node, r);
    if (r->what == ALI_CARRY_HISTORY)
        return ali_history_prepare_carry(node, r);
    /* A ring that is smaller than it was has forgotten the delivery: nothing to move. */
    if (!find_carried(node, r, &ref, &ended))
        return r->what == ALI_CARRY_END ? 0 : -AL_E_DAMAGED;
    if (r->what != ALI_CARRY_MESSAGE)
        return 0;
    if (!is_message(node, ref, r))
        return -AL_E_DAMAGED;
    if (ali_find_letter(node, r->stream, r->key) != AL_REF_NONE)
        return 0;
    return ali_runs_reserve_move(&ali_stream_at(node, ref)->d.runs, &node->alloc, r->key);
}

void ali_stream_moved(struct al_node *node, ali_ref ref, uint64_t seq, uint64_t lsn)
{
    struct ali_stream *stream = ali_stream_at(node, ref);

    ali_touch(node, ALI_PART_STREAM, ref, &stream->object);
    ali_runs_move(&stream->d.runs, &node->alloc, seq, lsn);
    if (!ali_has_flow(stream))
        return;
    stream->v.flow->next = ali_runs_seek(&stream->d.runs, stream->v.flow->next.seq);
    for (uint32_t i = 0; i < stream->v.flow->pushed_count; i++)
        if (ali_push_at(stream, i)->seq == seq)
            ali_push_at(stream, i)->lsn = lsn;
}

static void move_message(struct al_node *node, ali_ref ref, uint64_t lsn,
                         const struct ali_rec_carry *r)
{
    ali_ref letter = ali_find_letter(node, r->stream, r->key);

    if (letter == AL_REF_NONE) {
        ali_stream_moved(node, ref, r->key, lsn);
        return;
    }
    ali_touch(node, ALI_PART_LETTER, letter, &ali_letter_at(node, letter)->object);
    ali_letter_at(node, letter)->d.lsn = lsn;
}

void ali_apply_carry(struct al_node *node, uint64_t lsn, const struct ali_rec_carry *r)
{
    struct ali_ended *ended = NULL;
    ali_ref ref = AL_REF_NONE;
    bool found;

    if (r->what == ALI_CARRY_GROUP) {
        ali_group_apply_carry(node, lsn, r);
        return;
    }
    if (r->what == ALI_CARRY_HISTORY) {
        ali_history_apply_carry(node, lsn, r);
        return;
    }
    found = find_carried(node, r, &ref, &ended);
    if (!found || AL_PLANT(node, CARRY_FORGETS))
        return;
    if (r->what == ALI_CARRY_END) {
        move_end(node, ended, lsn, r);
        return;
    }
    ali_live_add(node, lsn);
    ali_live_drop(node, r->old_lsn);
    if (r->what == ALI_CARRY_MESSAGE) {
        move_message(node, ref, lsn, r);
    } else if (r->what == ALI_CARRY_DELAYED) {
        ali_touch(node, ALI_PART_DELAYED, ref, &ali_delayed_at(node, ref)->object);
        ali_delayed_at(node, ref)->d.lsn = lsn;
    } else {
        ali_touch(node, ALI_PART_LETTER, ref, &ali_letter_at(node, ref)->object);
        ali_letter_at(node, ref)->d.dead_lsn = lsn;
    }
}
