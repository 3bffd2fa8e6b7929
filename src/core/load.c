/* load.c - a snapshot's items become state again.
 *
 * Items come in the order of enum ali_part, so what an item refers to is there already. Counts,
 * live records and the order of dead letters are derived when the last item is in. */
#include "core/internal.h"
#include "core/items.h"

static int load_meta(struct al_node *node, const struct ali_item_meta *item)
{
    struct al_str version;

    if (node->d.lsn || node->agents.count || item->lsn > ALI_NUMBER_MAX / 2)
        return -AL_E_DAMAGED;
    node->d.lsn = item->lsn;
    node->d.epoch = item->epoch;
    if (al_ext_find(item->ext, ALI_META_EXT_ACL_VERSION, &version) && version.n == 8)
        node->acl.version = al_get64(version.p);
    /* The counters are set when all is loaded: the items come in through apply, which checks. */
    node->v.meta_agent = item->next_agent;
    node->v.meta_stream = item->next_stream;
    node->v.meta_producer = item->next_producer;
    node->v.meta_identity = ali_ext_get_u32(item->ext, ALI_META_EXT_IDENTITY) + 1;
    node->d.next_position = item->next_position;
    node->v.live_base = item->live_base;
    al_recent_reset(&node->d.ids, item->ids_first);
    al_recent_reset(&node->d.ended, item->ended_first);
    al_recent_reset(&node->d.keys, item->keys_first);
    /* A ring whose first entry is gone was full: no growing step by step. */
    if (item->ids_first && ali_ids_reserve_full(node) < 0)
        return -AL_E_NOMEM;
    return item->ended_first ? ali_ended_reserve_full(node) : 0;
}

static int load_agent(struct al_node *node, const struct ali_item_agent *item)
{
    struct ali_rec_agent_add record = {
        .agent = item->agent, .uid = item->uid, .wall_ms = item->created_ms, .name = item->name};
    int r;

    node->d.next_agent = 0;
    if (ali_find_agent(node, item->agent) != AL_REF_NONE)
        return -AL_E_DAMAGED;
    r = ali_prepare_agent_add(node, &record);
    if (r == 0)
        ali_apply_agent_add(node, 0, &record);
    return r;
}

static int load_producer(struct al_node *node, const struct ali_item_producer *item)
{
    struct ali_rec_producer_open record = {.producer = item->producer,
                                           .epoch = item->epoch,
                                           .uid = item->uid,
                                           .wall_ms = item->used_ms};
    int r;

    node->d.next_producer = 0;
    if (ali_find_producer(node, item->producer) != AL_REF_NONE)
        return -AL_E_DAMAGED;
    r = ali_prepare_producer_open(node, &record);
    if (r == 0)
        ali_apply_producer_open(node, 0, &record);
    return r;
}

static int load_runs(struct al_node *node, struct ali_runs *into, struct al_str runs)
{
    const uint8_t *in = runs.p, *end = runs.p + runs.n;
    uint64_t lsn = 0;

    while (in < end) {
        uint64_t coded = 0;
        size_t len = al_varint_get(in, end, &coded);

        lsn += (uint64_t)al_unzigzag(coded);
        if (len == 0 || lsn == 0 || lsn > node->d.lsn)
            return -AL_E_DAMAGED;
        if (ali_runs_reserve(into, &node->alloc) < 0)
            return -AL_E_NOMEM;
        ali_runs_push(into, lsn);
        in += len;
    }
    return 0;
}

static int load_trouble(struct al_node *node, struct ali_stream *stream,
                        const struct ali_item_stream *item)
{
    struct ali_trouble *trouble;

    if (!item->attempt_ms && !item->due_ms && !item->log.n)
        return 0;
    trouble = ali_trouble_get(node, stream);
    if (!trouble)
        return -AL_E_NOMEM;
    trouble->attempt_ms = item->attempt_ms;
    trouble->due_ms = item->due_ms;
    return al_buf_put(&trouble->log, item->log.p, item->log.n);
}

static int load_stream(struct al_node *node, const struct ali_item_stream *item)
{
    struct ali_rec_stream_open record = {.stream = item->stream,
                                         .from = item->from,
                                         .to = item->to,
                                         .priority = item->priority,
                                         .flags = item->flags,
                                         .wall_ms = item->used_ms,
                                         .label = item->label,
                                         .ext = item->ext};
    struct ali_stream *stream;
    int r;

    node->d.next_stream = 0;
    if (ali_find_stream(node, item->stream) != AL_REF_NONE)
        return -AL_E_DAMAGED;
    r = ali_prepare_stream_open(node, &record);
    if (r < 0)
        return r;
    ali_apply_stream_open(node, 0, &record);
    stream = ali_stream_at(node, ali_find_stream(node, item->stream));
    stream->d.prev_seq = item->prev_seq;
    stream->d.attempts = item->attempts;
    stream->d.moved_count = item->moved_count;
    stream->d.runs.first_seq = stream->d.runs.next_seq = item->first_seq;
    r = load_trouble(node, stream, item);
    if (r == 0)
        r = load_runs(node, &stream->d.runs, item->runs);
    if (r == 0 && stream->d.runs.next_seq != item->next_seq)
        return -AL_E_DAMAGED;
    return r;
}

static int load_track(struct al_node *node, const struct ali_item_track *item)
{
    ali_ref stream = ali_find_stream(node, item->stream);
    ali_ref producer = ali_find_producer(node, item->producer), ref;
    struct ali_track *track;
    int r;

    if (stream == AL_REF_NONE || producer == AL_REF_NONE ||
        ali_find_track(node, stream, producer) != AL_REF_NONE)
        return -AL_E_DAMAGED;
    r = al_pool_reserve(&node->tracks, 1);
    if (r == 0)
        r = al_index_reserve(&node->track_keys, 1);
    if (r < 0)
        return r;
    ref = ali_track_add(node, stream, producer);
    track = ali_track_at(node, ref);
    track->d.high = item->high;
    track->d.run_pseq = item->run_pseq;
    track->d.run_seq = item->run_seq;
    return 0;
}

static uint32_t payload_bytes(struct al_str ext)
{
    uint32_t bytes = ali_ext_get_u32(ext, ALI_ITEM_EXT_BYTES);

    return bytes < AL_PAYLOAD_MAX ? bytes : AL_PAYLOAD_MAX;
}

static int load_mark(struct al_node *node, const struct ali_item_mark *item)
{
    ali_ref stream = ali_find_stream(node, item->stream);
    struct ali_mark *mark;
    int r;

    if (stream == AL_REF_NONE || ali_find_mark(node, stream, item->seq) != AL_REF_NONE ||
        item->seq < ali_stream_at(node, stream)->d.runs.first_seq ||
        item->seq >= ali_stream_at(node, stream)->d.runs.next_seq)
        return -AL_E_DAMAGED;
    r = al_pool_reserve(&node->marks, 1);
    if (r == 0)
        r = al_index_reserve(&node->mark_keys, 1);
    if (r < 0)
        return r;
    mark = ali_mark_at(node, ali_mark_add(node, stream, item->seq));
    mark->d.expire_ms = ali_time_held(item->expire_ms);
    mark->d.wall_ms = ali_time_held(item->wall_ms);
    mark->d.producer = item->producer;
    mark->d.id = item->message_id;
    mark->d.notify = item->notify != 0;
    mark->d.bytes = payload_bytes(item->ext);
    mark->d.gone = item->gone != 0;
    ali_stream_at(node, stream)->d.gone_count += item->gone != 0;
    return 0;
}

/* True if the stream goes to an agent with an inbox: a group has none. */
static bool receives(const struct al_node *node, ali_ref stream)
{
    return ali_has_inbox(ali_agent_at(node, ali_stream_at(node, stream)->d.to));
}

static int load_delayed(struct al_node *node, const struct ali_item_delayed *item)
{
    ali_ref stream = ali_find_stream(node, item->stream), ref;
    struct ali_delayed *delayed;
    int r;

    if (stream == AL_REF_NONE || !receives(node, stream) || !ali_live_is_known(node, item->lsn) ||
        item->delayed > node->d.lsn || item->producer > ALI_NUMBER_MAX ||
        ali_find_delayed(node, item->delayed) != AL_REF_NONE)
        return -AL_E_DAMAGED;
    r = al_pool_reserve(&node->delayed, 1);
    if (r == 0)
        r = al_index_reserve(&node->delayed_ids, 1);
    if (r < 0)
        return r;
    ref = al_pool_take(&node->delayed);
    delayed = ali_delayed_at(node, ref);
    delayed->d.id = item->delayed & ALI_NUMBER_MAX;
    delayed->d.lsn = item->lsn & ALI_NUMBER_MAX;
    delayed->d.stream = stream;
    delayed->d.wall_ms = ali_time_held(item->wall_ms);
    delayed->d.due_ms = ali_time_held(item->due_ms);
    delayed->d.expire_ms = ali_time_held(item->expire_ms);
    delayed->d.producer = item->producer & ALI_NUMBER_MAX;
    delayed->d.message_id = item->message_id;
    delayed->d.notify = item->notify != 0;
    delayed->d.bytes = payload_bytes(item->ext);
    al_index_add(&node->delayed_ids, ali_hash_number(item->delayed), ref);
    ali_stream_at(node, stream)->d.letter_count++;
    return 0;
}

static int load_letter(struct al_node *node, const struct ali_item_letter *item)
{
    ali_ref stream = ali_find_stream(node, item->stream), ref;
    struct ali_letter *letter;
    int r;

    if (stream == AL_REF_NONE || !receives(node, stream) || !ali_live_is_known(node, item->lsn) ||
        !ali_live_is_known(node, item->dead_lsn) ||
        ali_find_letter(node, item->stream, item->seq) != AL_REF_NONE)
        return -AL_E_DAMAGED;
    r = al_pool_reserve(&node->letters, 1);
    if (r == 0)
        r = al_index_reserve(&node->letter_ids, 1);
    if (r < 0)
        return r;
    ref = al_pool_take(&node->letters);
    letter = ali_letter_at(node, ref);
    letter->d.position = item->position;
    letter->d.agent = ali_stream_at(node, stream)->d.to;
    letter->d.stream = stream;
    letter->d.seq = item->seq;
    letter->d.lsn = item->lsn;
    letter->d.dead_lsn = item->dead_lsn;
    letter->d.dead_ms = item->dead_ms;
    letter->d.id = item->message_id;
    letter->d.attempts = item->attempts;
    letter->d.code = item->code;
    letter->d.bytes = ali_ext_get_u32(item->ext, ALI_ITEM_EXT_BYTES);
    ali_letter_link(node, ref);
    return 0;
}

static int load_id(struct al_node *node, const struct ali_item_id *item)
{
    struct ali_recent_id *recent;
    int r = ali_ids_reserve(node, &item->message_id);

    if (r < 0)
        return r;
    recent = ali_ids_add(node, &item->message_id);
    recent->stream = item->stream;
    recent->seq = item->seq;
    return 0;
}

static int load_ended(struct al_node *node, const struct ali_item_ended *item)
{
    struct ali_ended *ended;
    int r = ali_ended_reserve(node, 1);

    if (r < 0 || (item->lsn && !ali_live_is_known(node, item->lsn)))
        return r < 0 ? r : -AL_E_DAMAGED;
    if (item->lsn) {
        r = ali_live_reserve(node, node->d.lsn);
        if (r < 0)
            return r;
        ali_live_add(node, item->lsn);
    }
    ended = ali_ended_add(node, item->stream, item->seq);
    ended->end_ms = item->end_ms;
    ended->lsn = item->lsn;
    ended->attempts = item->attempts;
    ended->code = item->code;
    ended->state = item->state;
    return 0;
}

static int load_keyed(struct al_node *node, const struct ali_item_keyed *item)
{
    ali_ref agent = ali_find_agent(node, item->agent);
    struct ali_key *key;
    int r = ali_keys_reserve(node);

    if (r == 0)
        r = ali_live_reserve(node, node->d.lsn);
    if (r < 0)
        return r;
    if ((item->lsn && !ali_live_is_known(node, item->lsn)) || item->state > 0xf ||
        (agent != AL_REF_NONE && !ali_has_inbox(ali_agent_at(node, agent))))
        return -AL_E_DAMAGED;
    key = ali_keys_add(node, item->key.b, item->stream, item->seq);
    al_put64(key->body, item->body);
    key->wall_ms = item->wall_ms;
    key->agent = item->agent;
    key->lsn = item->lsn;
    key->end_ms = item->end_ms & ALI_KEY_TIME_MAX;
    key->attempts = item->attempts & ALI_KEY_ATTEMPTS_MAX;
    key->state = item->state & 0xf;
    if (key->lsn)
        ali_live_add(node, key->lsn);
    if (key->state == 0)
        ali_key_open(node, key);
    if (agent != AL_REF_NONE)
        ali_agent_at(node, agent)->inbox->d.key_count++;
    return 0;
}

static int load_kind(struct al_node *node, const struct ali_item_kind *item)
{
    return ali_load_kind(node, item);
}

static int load_identity(struct al_node *node, const struct ali_item_identity *item)
{
    return ali_identity_load(node, item);
}

static int load_schedule(struct al_node *node, const struct ali_item_schedule *item)
{
    struct ali_rec_schedule_set record = {.name = item->name,
                                          .stream = item->stream,
                                          .producer = item->producer,
                                          .uid = item->uid,
                                          .wall_ms = item->wall_ms,
                                          .until_ms = item->until_ms,
                                          .ttl_ms = item->ttl_ms,
                                          .text = item->text,
                                          .envelope = item->envelope,
                                          .ext = item->ext};

    return ali_schedule_load(node, &record);
}

/* From a snapshot of a version in which keys knew nothing of the end: the delivery record does. */
static int load_key(struct al_node *node, const struct ali_item_key *item)
{
    struct ali_item_keyed keyed = {.key = item->key,
                                   .body = al_get64(item->body.b),
                                   .stream = item->stream,
                                   .seq = item->seq,
                                   .wall_ms = item->wall_ms,
                                   .agent = item->agent};
    const struct ali_ended *ended = ali_find_ended(node, item->stream, item->seq);
    ali_ref stream = ali_find_stream(node, item->stream);

    if (ended) {
        keyed.state = ended->state;
        keyed.attempts = ended->attempts;
        keyed.end_ms = ended->end_ms;
        keyed.lsn = ended->state <= AL_STATE_PARTIAL ? ended->lsn : 0;
    } else if (ali_find_letter(node, item->stream, item->seq) != AL_REF_NONE) {
        keyed.state = AL_STATE_DEAD;
    } else if (stream == AL_REF_NONE || item->seq < ali_stream_at(node, stream)->d.runs.first_seq) {
        keyed.state = AL_STATE_ENDED;
    }
    return load_keyed(node, &keyed);
}

static int load_kv(struct al_node *node, const struct ali_item_kv *item)
{
    struct ali_rec_kv_set record = {.agent = item->agent, .key = item->key, .value = item->value};
    int r = ali_prepare_kv_set(node, &record);

    if (r == 0)
        ali_apply_kv_set(node, 0, &record);
    return r;
}

static int load_commits(struct al_node *node, const struct ali_item_commits *item)
{
    ali_ref producer = ali_find_producer(node, item->producer);
    int r = al_pool_reserve(&node->commits, 1);

    if (r < 0 || producer == AL_REF_NONE)
        return r < 0 ? r : -AL_E_DAMAGED;
    ali_commits_set(node, producer, item->cseq);
    return 0;
}

/* The slices follow each other inside the history: what trims it relies on that. */
static int load_slices(struct al_node *node, struct ali_group *group, struct al_str slices)
{
    uint64_t seq = 0;
    int r = slices.n % 32 ? -AL_E_DAMAGED : ali_slices_reserve(node, group, slices.n / 32);

    if (r < 0)
        return r;
    for (uint32_t at = 0; at < slices.n; at += 32) {
        struct ali_slice slice = {.first_seq = al_get64(slices.p + at),
                                  .first_ms = al_get64(slices.p + at + 8),
                                  .last_ms = al_get64(slices.p + at + 16),
                                  .bytes = al_get64(slices.p + at + 24)};

        if (slice.first_seq <= seq || slice.first_seq >= group->d.history.next_seq ||
            (at == 0 && slice.first_seq > group->d.history.first_seq))
            return -AL_E_DAMAGED;
        seq = slice.first_seq;
        group->d.bytes += slice.bytes;
        group->d.slices[group->d.slice_count++] = slice;
    }
    return 0;
}

static int load_group(struct al_node *node, const struct ali_item_group *item)
{
    ali_ref agent = ali_find_agent(node, item->group);
    struct ali_group *group;
    int r;

    if (agent == AL_REF_NONE || ali_agent_at(node, agent)->v.group != AL_REF_NONE ||
        item->hash.n != 32)
        return -AL_E_DAMAGED;
    r = al_pool_reserve(&node->groups, 1);
    if (r < 0)
        return r;
    group = ali_group_at(node, ali_group_make(node, agent));
    group->d.keep_ms = item->keep_ms;
    group->d.keep_count = item->keep_count;
    group->d.keep_bytes = item->keep_bytes;
    memcpy(group->d.hash, item->hash.p, 32);
    ali_runs_init(&group->d.history, item->first_seq);
    r = load_runs(node, &group->d.history, item->runs);
    if (r == 0)
        r = load_slices(node, group, item->slices);
    if (r == 0 && (group->d.history.next_seq != item->next_seq || item->first_seq < 1))
        return -AL_E_DAMAGED;
    return r;
}

static int load_member(struct al_node *node, const struct ali_item_member *item)
{
    ali_ref stream = ali_find_stream(node, item->stream), group = AL_REF_NONE;
    int r;

    if (stream != AL_REF_NONE && ali_stream_at(node, stream)->v.member == AL_REF_NONE)
        group = ali_agent_at(node, ali_stream_at(node, stream)->d.from)->v.group;
    if (group == AL_REF_NONE || !receives(node, stream) ||
        (!item->left_seq && ali_stream_at(node, stream)->d.runs.next_seq !=
                                ali_group_at(node, group)->d.history.next_seq))
        return -AL_E_DAMAGED;
    r = al_pool_reserve(&node->members, 1);
    if (r < 0)
        return r;
    ali_member_load(node, group, stream, item->joined_seq, item->left_seq);
    return 0;
}

static int load_history(struct al_node *node, const struct ali_item_history *item)
{
    return ali_history_load(node, item);
}

static int load_workflow(struct al_node *node, const struct ali_item_workflow *item)
{
    return ali_workflow_load(node, item);
}

static int load_numbering(struct al_node *node, const struct ali_item_numbering *item)
{
    return ali_numbering_load(node, item);
}

static int load_number_tag(struct al_node *node, const struct ali_item_number_tag *item)
{
    return ali_number_tag_load(node, item);
}

static int load_rule(struct al_node *node, const struct ali_item_rule *item)
{
    return ali_rule_load(node, item);
}

static int load_item(struct al_node *node, unsigned part, struct al_str body)
{
    switch (part) {
#define AL_X(symbol, lower)                              \
    case ALI_PART_##symbol: {                            \
        struct ali_item_##lower decoded;                 \
                                                         \
        if (ali_decode_item_##lower(body, &decoded) < 0) \
            return -AL_E_DAMAGED;                        \
        return load_##lower(node, &decoded);             \
    }
        AL_ITEMS(AL_X)
#undef AL_X
    default:
        return -AL_E_FORMAT;
    }
}

int al_node_load(struct al_node *node, struct al_str item)
{
    struct al_str body = al_str_of(item.p + 1, item.n - 1);
    int r;

    if (item.n < 1)
        return -AL_E_DAMAGED;
    r = load_item(node, item.p[0], body);
    if (r == 0 && item.p[0] == ALI_PART_AGENT)
        r = ali_retain_load(node, body);
    if (r == 0 && item.p[0] == ALI_PART_ENDED)
        r = ali_ended_load(node, body);
    return r == 0 && item.p[0] == ALI_PART_TRACK ? ali_gap_load(node, body) : r;
}

/* ---- what is derived --------------------------------------------------------------------- */

static int count_stream(struct al_node *node, ali_ref ref)
{
    const struct ali_stream *stream = ali_stream_at(node, ref);

    if (ali_runs_count(&stream->d.runs) && !receives(node, ref))
        return -AL_E_DAMAGED;
    for (struct ali_cursor at = ali_runs_begin(&stream->d.runs); at.seq < stream->d.runs.next_seq;
         ali_cursor_next(&stream->d.runs, &at)) {
        if (ali_seq_is_gone(node, stream, ref, at.seq))
            continue;
        if (!ali_live_is_known(node, at.lsn))
            return -AL_E_DAMAGED;
        ali_live_add(node, at.lsn);
        ali_agent_at(node, stream->d.to)->inbox->d.pending++;
    }
    return 0;
}

static int count_history(struct al_node *node, const struct ali_group *group)
{
    const struct ali_runs *runs = &group->d.history;

    for (struct ali_cursor at = ali_runs_begin(runs); at.seq < runs->next_seq;
         ali_cursor_next(runs, &at)) {
        if (!ali_live_is_known(node, at.lsn))
            return -AL_E_DAMAGED;
        ali_live_add(node, at.lsn);
    }
    return 0;
}

int al_node_load_done(struct al_node *node, uint64_t snapshot_lsn)
{
    int r = ali_live_reserve(node, node->d.lsn);

    if (r < 0)
        return r;
    if (snapshot_lsn != node->d.lsn)
        return -AL_E_DAMAGED;
    ali_lanes_count(node);
    for (ali_ref ref = 0; ref < node->streams.end && r == 0; ref++)
        r = count_stream(node, ref);
    if (r < 0)
        return r;
    for (ali_ref ref = 0; ref < node->groups.end && r == 0; ref++)
        r = count_history(node, ali_group_at(node, ref));
    if (r < 0)
        return r;
    for (ali_ref ref = 0; ref < node->histories.end && r == 0; ref++)
        r = ali_history_count_live(node, ref);
    if (r < 0)
        return r;
    for (ali_ref ref = 0; ref < node->letters.end; ref++) {
        ali_live_add(node, ali_letter_at(node, ref)->d.lsn);
        ali_live_add(node, ali_letter_at(node, ref)->d.dead_lsn);
    }
    for (ali_ref ref = 0; ref < node->delayed.end; ref++) {
        const struct ali_delayed *delayed = ali_delayed_at(node, ref);
        struct ali_agent *to = ali_agent_at(node, ali_stream_at(node, delayed->d.stream)->d.to);

        ali_live_add(node, delayed->d.lsn);
        to->inbox->d.pending++;
        to->inbox->v.delayed++;
    }
    for (ali_ref ref = 0; ref < node->agents.end; ref++)
        ali_letters_sort(node, ali_agent_at(node, ref), ali_letter_by_position);
    if (node->v.meta_agent < node->d.next_agent || node->v.meta_stream < node->d.next_stream ||
        node->v.meta_producer < node->d.next_producer ||
        node->v.meta_identity < node->d.next_identity)
        return -AL_E_DAMAGED;
    node->d.next_agent = node->v.meta_agent;
    node->d.next_stream = node->v.meta_stream;
    node->d.next_producer = node->v.meta_producer;
    node->d.next_identity = node->v.meta_identity;
    return 0;
}
