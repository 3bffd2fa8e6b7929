/* carry.c - old records that still matter are persisted again, so that their segment can go. */
#include "core/internal.h"

int ali_unwrap(const struct al_record_view *view, unsigned type, struct al_str *ret_payload)
{
    struct ali_rec_carry carry;

    if (view->type == type) {
        *ret_payload = view->payload;
        return 0;
    }
    if (view->type == ALI_REC_NUMBERED && type == ALI_REC_PUBLISH &&
        view->payload.n >= ALI_NUMBERED_HEAD) { /* the state knows the number */
        *ret_payload =
            al_str_of(view->payload.p + ALI_NUMBERED_HEAD, view->payload.n - ALI_NUMBERED_HEAD);
        return 0;
    }
    if (view->type != ALI_REC_CARRY || ali_decode_rec_carry(view->payload, &carry) < 0 ||
        carry.type != type)
        return -AL_E_DAMAGED;
    *ret_payload = carry.payload;
    return 0;
}

int ali_unwrap_message(const struct al_record_view *view, struct ali_rec_publish *ret_record,
                       struct ali_rec_group_post *ret_post)
{
    struct al_str payload;

    ret_post->group = 0;
    if (ali_unwrap(view, ALI_REC_PUBLISH, &payload) == 0)
        return ali_decode_rec_publish(payload, ret_record) < 0 ? -AL_E_DAMAGED : 0;
    if (ali_unwrap(view, ALI_REC_GROUP_POST, &payload) < 0 ||
        ali_decode_rec_group_post(payload, ret_post) < 0 || ret_post->prev_hash.n != 32)
        return -AL_E_DAMAGED;
    *ret_record = (struct ali_rec_publish){
        .seq = ret_post->seq, .wall_ms = ret_post->wall_ms, .envelope = ret_post->envelope};
    return 0;
}

static int commit_carry(struct al_node *node, struct ali_rec_carry *record,
                        const struct al_record_view *view, struct al_str payload)
{
    record->old_lsn = view->lsn;
    record->payload = payload;
    return ali_commit(node, ALI_REC_CARRY, record);
}

/* The sequence under which a message stands now, 0 if nobody refers to this record any more. It is
 * the one of its admission, except for scheduled and redriven messages: those are searched. */
static uint64_t find_seq(const struct al_node *node, ali_ref stream_ref, uint64_t lsn,
                         uint64_t admitted_seq)
{
    const struct ali_stream *stream = ali_stream_at(node, stream_ref);
    const struct ali_runs *runs = &stream->d.runs;
    struct ali_cursor at = ali_runs_begin(runs);
    ali_ref letter = ali_find_letter(node, stream->d.id, admitted_seq);

    if (letter != AL_REF_NONE && ali_letter_at(node, letter)->d.lsn == lsn)
        return admitted_seq;
    if (admitted_seq >= runs->first_seq && admitted_seq < runs->next_seq &&
        ali_runs_seek(runs, admitted_seq).lsn == lsn &&
        !ali_seq_is_gone(node, stream, stream_ref, admitted_seq))
        return admitted_seq;
    if (!stream->d.moved_count)
        return 0;
    for (; ali_runs_find(runs, lsn, &at); ali_cursor_next(runs, &at))
        if (!ali_seq_is_gone(node, stream, stream_ref, at.seq))
            return at.seq;
    for (ali_ref ref = ali_agent_at(node, stream->d.to)->inbox->d.letters.head; ref != AL_REF_NONE;
         ref = ali_letter_at(node, ref)->d.link.next)
        if (ali_letter_at(node, ref)->d.lsn == lsn)
            return ali_letter_at(node, ref)->d.seq;
    return 0;
}

static int carry_pending(struct al_node *node, ali_ref stream_ref,
                         const struct al_record_view *view, uint64_t admitted_seq,
                         struct al_str payload)
{
    struct ali_rec_carry record = {.what = ALI_CARRY_MESSAGE,
                                   .type = ALI_REC_PUBLISH,
                                   .stream = ali_stream_at(node, stream_ref)->d.id,
                                   .key = find_seq(node, stream_ref, view->lsn, admitted_seq)};

    return record.key ? commit_carry(node, &record, view, payload) : 0;
}

/* A message that has ended, and is kept. */
static int carry_kept(struct al_node *node, ali_ref stream_ref, const struct al_record_view *view,
                      uint64_t admitted_seq, struct al_str payload)
{
    struct ali_rec_carry record = {
        .what = ALI_CARRY_HISTORY,
        .type = ALI_REC_PUBLISH,
        .stream = ali_stream_at(node, stream_ref)->d.id,
        .key = ali_history_seq_of(node, stream_ref, view->lsn, admitted_seq)};

    return record.key ? commit_carry(node, &record, view, payload) : 0;
}

static int carry_publish(struct al_node *node, const struct al_record_view *view,
                         struct al_str payload)
{
    struct ali_rec_publish publish;
    ali_ref stream;
    int r;

    if (ali_decode_rec_publish(payload, &publish) < 0)
        return -AL_E_DAMAGED;
    stream = ali_find_stream(node, publish.stream);
    if (stream == AL_REF_NONE)
        return 0;
    if (publish.due_ms) {
        struct ali_rec_carry record = {.what = ALI_CARRY_DELAYED,
                                       .type = ALI_REC_PUBLISH,
                                       .key = view->lsn},
                             carried;
        ali_ref ref;

        if (view->type == ALI_REC_CARRY && ali_decode_rec_carry(view->payload, &carried) == 0 &&
            carried.what == ALI_CARRY_DELAYED)
            record.key = carried.key;
        ref = ali_find_delayed(node, record.key);
        if (ref != AL_REF_NONE && ali_delayed_at(node, ref)->d.lsn == view->lsn)
            return commit_carry(node, &record, view, payload);
    }
    r = carry_pending(node, stream, view, publish.seq, payload);
    return r < 0 ? r : carry_kept(node, stream, view, publish.seq, payload);
}

/* An ACK or DEAD record that finished deliveries (or a dead letter) still refer to. */
static int carry_end(struct al_node *node, uint32_t stream, uint64_t first_seq, uint64_t last_seq,
                     const struct al_record_view *view)
{
    struct ali_rec_carry carry = {.what = ALI_CARRY_END, .stream = stream};
    struct al_str payload = {0};
    ali_ref letter = ali_find_letter(node, stream, last_seq);

    carry.type = ali_unwrap(view, ALI_REC_ACK, &payload) == 0 ? ALI_REC_ACK : ALI_REC_DEAD;
    if (ali_unwrap(view, carry.type, &payload) < 0)
        return -AL_E_DAMAGED;
    for (uint64_t seq = first_seq; seq <= last_seq; seq++) {
        const struct ali_ended *ended = ali_find_ended(node, stream, seq);
        const struct ali_key *key = ali_find_key_of(node, stream, seq);
        bool wanted = (ended && ended->lsn == view->lsn) || (key && key->lsn == view->lsn);
        int r;

        carry.key = seq;
        if (wanted && (r = commit_carry(node, &carry, view, payload)) < 0)
            return r;
    }
    if (letter == AL_REF_NONE || ali_letter_at(node, letter)->d.dead_lsn != view->lsn)
        return 0;
    carry.what = ALI_CARRY_DEAD;
    return commit_carry(node, &carry, view, payload);
}

static int carry_post(struct al_node *node, const struct al_record_view *view,
                      struct al_str payload)
{
    struct ali_rec_carry record = {.what = ALI_CARRY_GROUP, .type = ALI_REC_GROUP_POST};
    struct ali_rec_group_post post;
    ali_ref group;

    if (ali_decode_rec_group_post(payload, &post) < 0)
        return -AL_E_DAMAGED;
    group = ali_find_group_id(node, post.group);
    if (group == AL_REF_NONE || !ali_group_holds(node, group, post.seq, view->lsn))
        return 0;
    record.stream = post.group;
    record.key = post.seq;
    return commit_carry(node, &record, view, payload);
}

static int carry_one(struct al_node *node, const struct al_record_view *view)
{
    struct ali_rec_ack ack;
    struct ali_rec_dead dead;
    struct al_str payload;

    if (ali_unwrap(view, ALI_REC_PUBLISH, &payload) == 0)
        return carry_publish(node, view, payload);
    if (ali_unwrap(view, ALI_REC_GROUP_POST, &payload) == 0)
        return carry_post(node, view, payload);
    if (ali_unwrap(view, ALI_REC_ACK, &payload) == 0) {
        if (ali_decode_rec_ack(payload, &ack) < 0)
            return -AL_E_DAMAGED;
        return carry_end(node, ack.stream, ack.last_seq - (ack.count ? ack.count - 1 : 0),
                         ack.last_seq, view);
    }
    if (ali_unwrap(view, ALI_REC_DEAD, &payload) == 0) {
        if (ali_decode_rec_dead(payload, &dead) < 0)
            return -AL_E_DAMAGED;
        return carry_end(node, dead.stream, dead.seq, dead.seq, view);
    }
    return 0;
}

int ali_carry(struct al_node *node, const struct al_event *event)
{
    for (uint32_t i = 0; i < event->record_count; i++) {
        int r = carry_one(node, &event->records[i]);

        if (r < 0)
            return r;
    }
    return 0;
}
