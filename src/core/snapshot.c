/* snapshot.c - the state at one LSN, written out beside the work.
 *
 * begin fixes the LSN; next walks the parts of the state in the order in which they are loaded. An
 * object that is about to change or go before its turn is written out first, into the buffer of its
 * part (ali_touch); an object that is made meanwhile is marked as not wanted. So the items are the
 * state at one LSN, without a copy of it and without a pause. */
#include "core/internal.h"
#include "core/items.h"
#include "crypto/hash.h"

/* ---- objects to items -------------------------------------------------------------------- */

static int put_meta(const struct al_node *node, uint64_t live_base, struct al_buf *out)
{
    struct ali_item_meta item = {.lsn = node->d.lsn,
                                 .epoch = node->d.epoch,
                                 .next_agent = node->d.next_agent,
                                 .next_stream = node->d.next_stream,
                                 .next_producer = node->d.next_producer,
                                 .next_position = node->d.next_position,
                                 .live_base = live_base,
                                 .ids_first = node->d.ids.first,
                                 .ended_first = node->d.ended.first,
                                 .keys_first = node->d.keys.first};
    uint8_t room[20];

    item.ext = al_str_of(room, 0);
    if (node->acl.version)
        item.ext = ali_ext_put_u64(room, ALI_META_EXT_ACL_VERSION, node->acl.version);
    item.ext.p = room;
    item.ext.n +=
        ali_ext_put_u32(room + item.ext.n, ALI_META_EXT_IDENTITY, node->d.next_identity - 1).n;
    return ali_put_item_meta(out, &item);
}

static int put_agent(const struct ali_agent *agent, struct al_buf *out)
{
    struct ali_item_agent item = {.agent = agent->d.id,
                                  .uid = agent->d.uid,
                                  .created_ms = agent->d.created_ms,
                                  .name = al_str_of(agent->d.name, agent->d.name_size)};

    return ali_retain_put(agent, &item, out);
}

static int put_producer(const struct ali_producer *producer, struct al_buf *out)
{
    struct ali_item_producer item = {.producer = producer->d.id,
                                     .epoch = producer->d.epoch,
                                     .uid = producer->d.uid,
                                     .used_ms = producer->d.used_ms};

    return ali_put_item_producer(out, &item);
}

static int put_runs(const struct ali_runs *runs, struct al_buf *out)
{
    uint64_t last = 0;

    for (struct ali_cursor at = ali_runs_begin(runs); at.seq < runs->next_seq;
         ali_cursor_next(runs, &at)) {
        if (al_buf_reserve(out, 10) < 0)
            return -AL_E_NOMEM;
        out->size += al_varint_put(out->data + out->size, al_zigzag((int64_t)(at.lsn - last)));
        last = at.lsn;
    }
    return 0;
}

static int put_stream(const struct al_node *node, const struct ali_stream *stream,
                      struct al_buf *out)
{
    struct al_buf runs;
    uint8_t base[8];
    struct ali_item_stream item = {
        .stream = stream->d.id,
        .from = ali_agent_at(node, stream->d.from)->d.id,
        .to = ali_agent_at(node, stream->d.to)->d.id,
        .priority = stream->d.priority,
        .flags = stream->d.flags,
        .prev_seq = stream->d.prev_seq,
        .used_ms = stream->d.used_ms,
        .first_seq = stream->d.runs.first_seq,
        .next_seq = stream->d.runs.next_seq,
        .attempts = stream->d.attempts,
        .attempt_ms = ali_trouble_of(stream)->attempt_ms,
        .due_ms = ali_trouble_of(stream)->due_ms,
        .moved_count = stream->d.moved_count,
        .label = al_str_of(stream->d.label, stream->d.label_size),
        .log = al_str_of(ali_trouble_of(stream)->log.data, ali_trouble_of(stream)->log.size)};
    int r;

    item.ext = ali_ext_put_u32(base, ALI_STREAM_EXT_BASE, ali_lane_base(node, stream));
    if (AL_PLANT(node, SEQ_REUSED) && item.first_seq == item.next_seq && item.next_seq > 1)
        item.first_seq = --item.next_seq;
    al_buf_init(&runs, &node->alloc);
    r = put_runs(&stream->d.runs, &runs);
    item.runs = al_str_of(runs.data, runs.size);
    if (r == 0)
        r = ali_put_item_stream(out, &item);
    al_buf_deinit(&runs);
    return r;
}

static int put_track(const struct al_node *node, const struct ali_track *track, struct al_buf *out)
{
    struct ali_item_track item = {.stream = ali_stream_at(node, track->d.stream)->d.id,
                                  .producer = ali_producer_at(node, track->d.producer)->d.id,
                                  .high = track->d.high,
                                  .run_pseq = track->d.run_pseq,
                                  .run_seq = track->d.run_seq};

    if (AL_PLANT(node, DEDUP_FORGOTTEN))
        return 0;
    if (!track->d.holes)
        return ali_put_item_track(out, &item);
    return ali_gap_put(track, &item, out);
}

static int put_mark(const struct al_node *node, const struct ali_mark *mark, struct al_buf *out)
{
    uint8_t bytes[8];
    struct ali_item_mark item = {.stream = ali_stream_at(node, mark->d.stream)->d.id,
                                 .seq = mark->d.seq,
                                 .expire_ms = mark->d.expire_ms,
                                 .wall_ms = mark->d.wall_ms,
                                 .producer = mark->d.producer,
                                 .message_id = mark->d.id,
                                 .gone = mark->d.gone,
                                 .notify = mark->d.notify};

    if (AL_PLANT(node, CANCEL_COMES_BACK) && mark->d.gone)
        return 0;
    item.ext = ali_ext_put_u32(bytes, ALI_ITEM_EXT_BYTES, mark->d.bytes);
    return ali_put_item_mark(out, &item);
}

static int put_delayed(const struct al_node *node, const struct ali_delayed *delayed,
                       struct al_buf *out)
{
    uint8_t bytes[8];
    struct ali_item_delayed item = {.delayed = delayed->d.id,
                                    .lsn = delayed->d.lsn,
                                    .stream = ali_stream_at(node, delayed->d.stream)->d.id,
                                    .wall_ms = delayed->d.wall_ms,
                                    .due_ms = delayed->d.due_ms,
                                    .expire_ms = delayed->d.expire_ms,
                                    .producer = delayed->d.producer,
                                    .message_id = delayed->d.message_id,
                                    .notify = delayed->d.notify};

    item.ext = ali_ext_put_u32(bytes, ALI_ITEM_EXT_BYTES, delayed->d.bytes);
    return ali_put_item_delayed(out, &item);
}

static int put_letter(const struct al_node *node, const struct ali_letter *letter,
                      struct al_buf *out)
{
    uint8_t bytes[8];
    struct ali_item_letter item = {.position = letter->d.position,
                                   .stream = ali_stream_at(node, letter->d.stream)->d.id,
                                   .seq = letter->d.seq,
                                   .lsn = letter->d.lsn,
                                   .dead_lsn = letter->d.dead_lsn,
                                   .dead_ms = letter->d.dead_ms,
                                   .message_id = letter->d.id,
                                   .attempts = letter->d.attempts,
                                   .code = letter->d.code};

    item.ext = ali_ext_put_u32(bytes, ALI_ITEM_EXT_BYTES, letter->d.bytes);
    return ali_put_item_letter(out, &item);
}

static int put_id(const struct al_node *node, uint64_t number, struct al_buf *out)
{
    const struct ali_recent_id *recent = al_recent_at(&node->d.ids, number);
    struct ali_item_id item = {
        .message_id = recent->id, .stream = recent->stream, .seq = recent->seq};

    return ali_put_item_id(out, &item);
}

static int put_ended(const struct al_node *node, uint64_t number, struct al_buf *out)
{
    const struct ali_ended *ended = al_recent_at(&node->d.ended, number);
    struct ali_item_ended item = {.stream = ended->stream,
                                  .seq = ended->seq,
                                  .end_ms = ended->end_ms,
                                  .lsn = ended->lsn,
                                  .attempts = ended->attempts,
                                  .code = ended->code,
                                  .state = ended->state};

    return ali_ended_put(ended, &item, out);
}

static int put_keyed(const struct al_node *node, const struct ali_key *key, struct al_buf *out)
{
    struct ali_item_keyed item = {.body = al_get64(key->body),
                                  .stream = key->stream,
                                  .seq = key->seq,
                                  .wall_ms = key->wall_ms,
                                  .agent = key->agent,
                                  .lsn = key->lsn,
                                  .end_ms = key->end_ms,
                                  .attempts = key->attempts,
                                  .state = key->state};

    (void)node;
    memcpy(item.key.b, key->key, 16);
    if (AL_PLANT(node, KEY_FORGOTTEN))
        item.key.b[0] ^= 1;
    return ali_put_item_keyed(out, &item);
}

static int put_schedule(const struct al_node *node, const struct ali_schedule *schedule,
                        struct al_buf *out)
{
    struct ali_item_schedule item = {
        .name = al_str_of(schedule->d.name, schedule->d.name_size),
        .stream = ali_stream_at(node, schedule->d.stream)->d.id,
        .producer = schedule->d.producer,
        .uid = schedule->d.uid,
        .wall_ms = schedule->d.wall_ms,
        .until_ms = schedule->d.until_ms,
        .ttl_ms = schedule->d.ttl_ms,
        .text = al_str_of(schedule->d.text, schedule->d.text_size),
        .envelope = al_str_of(schedule->d.envelope, schedule->d.envelope_size)};
    uint8_t of_kind[8];

    item.ext = ali_ext_put_u32(of_kind, ALI_SCHEDULE_EXT_OF_KIND, schedule->d.of_kind);
    return ali_put_item_schedule(out, &item);
}

static int put_kv(const struct al_node *node, const struct ali_kv *value, struct al_buf *out)
{
    struct ali_item_kv item = {.agent = ali_agent_at(node, value->d.agent)->d.id,
                               .key = al_str_of(value->d.bytes, value->d.key_size),
                               .value =
                                   al_str_of(value->d.bytes + value->d.key_size, value->d.size)};

    return ali_put_item_kv(out, &item);
}

static int put_commits(const struct al_node *node, const struct ali_commits *commits,
                       struct al_buf *out)
{
    struct ali_item_commits item = {.producer = ali_producer_at(node, commits->d.producer)->d.id,
                                    .cseq = commits->d.cseq};

    if (AL_PLANT(node, COMMIT_FORGOTTEN))
        return 0;
    return ali_put_item_commits(out, &item);
}

static int put_slices(const struct ali_group *group, struct al_buf *out)
{
    uint32_t count;
    const struct ali_slice *slices = ali_slices(group, &count);

    if (al_buf_reserve(out, (size_t)count * 32) < 0)
        return -AL_E_NOMEM;
    for (uint32_t i = 0; i < count; i++) {
        al_put64(out->data + out->size, slices[i].first_seq);
        al_put64(out->data + out->size + 8, slices[i].first_ms);
        al_put64(out->data + out->size + 16, slices[i].last_ms);
        al_put64(out->data + out->size + 24, slices[i].bytes);
        out->size += 32;
    }
    return 0;
}

static int put_group(const struct al_node *node, const struct ali_group *group, struct al_buf *out)
{
    struct al_buf runs, slices;
    struct ali_item_group item = {.group = ali_agent_at(node, group->d.agent)->d.id,
                                  .keep_ms = group->d.keep_ms,
                                  .keep_count = group->d.keep_count,
                                  .keep_bytes = group->d.keep_bytes,
                                  .first_seq = group->d.history.first_seq,
                                  .next_seq = group->d.history.next_seq,
                                  .hash = al_str_of(group->d.hash, sizeof(group->d.hash))};
    int r;

    al_buf_init(&runs, &node->alloc);
    al_buf_init(&slices, &node->alloc);
    r = put_runs(&group->d.history, &runs);
    if (r == 0)
        r = put_slices(group, &slices);
    item.runs = al_str_of(runs.data, runs.size);
    item.slices = al_str_of(slices.data, slices.size);
    if (r == 0)
        r = ali_put_item_group(out, &item);
    al_buf_deinit(&runs);
    al_buf_deinit(&slices);
    return r;
}

static int put_member(const struct al_node *node, const struct ali_member *member,
                      struct al_buf *out)
{
    struct ali_item_member item = {.stream = ali_stream_at(node, member->d.stream)->d.id,
                                   .joined_seq = member->d.joined_seq,
                                   .left_seq = member->d.left_seq};

    if (AL_PLANT(node, GROUP_LEAVE_LOST))
        item.left_seq = 0;
    return ali_put_item_member(out, &item);
}

/* ---- parts ------------------------------------------------------------------------------- */

/* The pool of a part, NULL if it is not kept in one. */
static const struct al_pool *pool_of(const struct al_node *node, unsigned part)
{
    const struct al_pool *const pools[ALI_PART_COUNT] = {
        [ALI_PART_AGENT] = &node->agents,
        [ALI_PART_PRODUCER] = &node->producers,
        [ALI_PART_STREAM] = &node->streams,
        [ALI_PART_TRACK] = &node->tracks,
        [ALI_PART_MARK] = &node->marks,
        [ALI_PART_DELAYED] = &node->delayed,
        [ALI_PART_LETTER] = &node->letters,
        [ALI_PART_KIND] = &node->kinds,
        [ALI_PART_SCHEDULE] = &node->schedules,
        [ALI_PART_KV] = &node->values,
        [ALI_PART_COMMITS] = &node->commits,
        [ALI_PART_GROUP] = &node->groups,
        [ALI_PART_MEMBER] = &node->members,
        [ALI_PART_HISTORY] = &node->histories,
        [ALI_PART_WORKFLOW] = &node->flows.list,
        [ALI_PART_NUMBERING] = &node->flows.numberings,
        [ALI_PART_NUMBER_TAG] = &node->flows.tags,
        [ALI_PART_RULE] = &node->acl.rules,
        [ALI_PART_IDENTITY] = &node->identities,
    };

    return pools[part];
}

static const struct al_recent *ring_of(const struct al_node *node, unsigned part)
{
    return part == ALI_PART_ID      ? &node->d.ids
           : part == ALI_PART_ENDED ? &node->d.ended
           : part == ALI_PART_KEYED ? &node->d.keys
                                    : NULL;
}

static int put_object(const struct al_node *node, unsigned part, uint64_t number,
                      struct al_buf *out)
{
    const void *object =
        pool_of(node, part) ? al_pool_at(pool_of(node, part), (ali_ref)number) : NULL;

    switch (part) {
    case ALI_PART_META:
        return put_meta(node, node->v.live_base, out);
    case ALI_PART_AGENT:
        return put_agent(object, out);
    case ALI_PART_PRODUCER:
        return put_producer(object, out);
    case ALI_PART_STREAM:
        return put_stream(node, object, out);
    case ALI_PART_TRACK:
        return put_track(node, object, out);
    case ALI_PART_MARK:
        return put_mark(node, object, out);
    case ALI_PART_DELAYED:
        return put_delayed(node, object, out);
    case ALI_PART_LETTER:
        return put_letter(node, object, out);
    case ALI_PART_ID:
        return put_id(node, number, out);
    case ALI_PART_ENDED:
        return put_ended(node, number, out);
    case ALI_PART_KIND:
        return ali_put_kind(object, out);
    case ALI_PART_SCHEDULE:
        return put_schedule(node, object, out);
    case ALI_PART_KV:
        return put_kv(node, object, out);
    case ALI_PART_COMMITS:
        return put_commits(node, object, out);
    case ALI_PART_GROUP:
        return put_group(node, object, out);
    case ALI_PART_MEMBER:
        return put_member(node, object, out);
    case ALI_PART_HISTORY:
        return ali_history_put(node, object, out);
    case ALI_PART_WORKFLOW:
        return ali_workflow_put(node, object, out);
    case ALI_PART_NUMBERING:
        return ali_numbering_put(node, object, out);
    case ALI_PART_NUMBER_TAG:
        return ali_number_tag_put(node, object, out);
    case ALI_PART_RULE:
        return ali_rule_put(object, out);
    case ALI_PART_IDENTITY:
        return ali_identity_put(object, out);
    case ALI_PART_KEYED:
        return put_keyed(node, al_recent_at(&node->d.keys, number), out);
    default: /* ALI_PART_KEY: nothing */
        return 0;
    }
}

/* ---- taking one -------------------------------------------------------------------------- */

int al_node_snapshot_begin(struct al_node *node, uint64_t *ret_lsn)
{
    struct ali_snapshot *snapshot = &node->v.snapshot;
    int r;

    if (snapshot->active)
        return -AL_E_BUSY;
    r = put_object(node, ALI_PART_META, 0, &snapshot->early[ALI_PART_META]);
    if (r < 0)
        return r;
    snapshot->active = true;
    snapshot->failed = false;
    snapshot->number++;
    snapshot->part = ALI_PART_META;
    for (unsigned part = 0; part < ALI_PART_COUNT; part++) {
        const struct al_pool *pool = pool_of(node, part);
        const struct al_recent *ring = ring_of(node, part);

        snapshot->at[part] = ring ? ring->first : 0;
        snapshot->end[part] = ring ? ring->next : pool ? pool->end : 0;
    }
    *ret_lsn = node->d.lsn;
    return 0;
}

void ali_snapshot_keep(struct al_node *node, enum ali_part part, ali_ref ref,
                       struct ali_object *object)
{
    struct ali_snapshot *snapshot = &node->v.snapshot;

    if (put_object(node, part, ref, &snapshot->early[part]) < 0)
        snapshot->failed = true;
    object->snapshot = snapshot->number;
}

static bool kept_is(const void *ctx, uint32_t ref)
{
    const struct ali_kept_key *want = ctx;

    return want[0].number == want[1 + ref].number;
}

/* The old form of a key that has changed since the snapshot began, NULL if it has not. */
static const struct ali_key *find_kept(struct ali_snapshot *snapshot, uint64_t number)
{
    uint32_t ref;

    if (!snapshot->kept_count)
        return NULL;
    snapshot->kept[0].number = number; /* the first place is for this */
    ref = al_index_find(&snapshot->kept_index, ali_hash_number(number), kept_is, snapshot->kept);
    return ref == AL_REF_NONE ? NULL : &snapshot->kept[1 + ref].old;
}

static int keep_key(struct al_node *node, uint64_t number)
{
    struct ali_snapshot *snapshot = &node->v.snapshot;
    int r = al_index_reserve(&snapshot->kept_index, 1);

    if (r < 0)
        return r;
    if (snapshot->kept_count + 1 >= snapshot->kept_cap) {
        uint32_t cap = snapshot->kept_cap ? snapshot->kept_cap * 2 : 64;
        struct ali_kept_key *kept =
            node->alloc.realloc_fn(node->alloc.ctx, snapshot->kept,
                                   snapshot->kept_cap * sizeof(*kept), cap * sizeof(*kept));

        if (!kept)
            return -AL_E_NOMEM;
        snapshot->kept = kept;
        snapshot->kept_cap = cap;
    }
    snapshot->kept[++snapshot->kept_count] = (struct ali_kept_key){
        .number = number, .old = *(struct ali_key *)al_recent_at(&node->d.keys, number)};
    al_index_add(&snapshot->kept_index, ali_hash_number(number), snapshot->kept_count - 1);
    return 0;
}

void ali_snapshot_keep_key(struct al_node *node, uint64_t number)
{
    struct ali_snapshot *snapshot = &node->v.snapshot;

    if (!snapshot->active || number < snapshot->at[ALI_PART_KEYED] ||
        number >= snapshot->end[ALI_PART_KEYED] || find_kept(snapshot, number))
        return;
    if (keep_key(node, number) < 0)
        snapshot->failed = true;
}

/* Writes one object or entry as it was when the snapshot began. */
static int put_walked(struct al_node *node, unsigned part, uint64_t number, struct al_buf *out)
{
    const struct ali_key *old =
        part == ALI_PART_KEYED ? find_kept(&node->v.snapshot, number) : NULL;

    return old ? put_keyed(node, old, out) : put_object(node, part, number, out);
}

static void forget_kept(struct al_node *node)
{
    struct ali_snapshot *snapshot = &node->v.snapshot;

    al_alloc_free(&node->alloc, snapshot->kept, snapshot->kept_cap * sizeof(*snapshot->kept));
    snapshot->kept = NULL;
    snapshot->kept_count = snapshot->kept_cap = 0;
    al_index_deinit(&snapshot->kept_index);
}

void ali_snapshot_keep_entry(struct al_node *node, enum ali_part part, uint64_t number)
{
    struct ali_snapshot *snapshot = &node->v.snapshot;

    /* Entries leave at the old end, where the walk begins: what was walked is safe already. */
    while (snapshot->active && snapshot->at[part] <= number &&
           snapshot->at[part] < snapshot->end[part]) {
        if (put_walked(node, part, snapshot->at[part]++, &snapshot->early[part]) < 0)
            snapshot->failed = true;
    }
}

void ali_snapshot_keep_ended(struct al_node *node, struct ali_ended *ended)
{
    ali_snapshot_keep_entry(node, ALI_PART_ENDED, ended->number);
}

static int drain_early(struct ali_snapshot *snapshot, struct al_buf *out)
{
    struct al_buf *early = &snapshot->early[snapshot->part];
    int r = al_buf_put(out, early->data, early->size);

    al_buf_deinit(early);
    return r;
}

/* Writes the object at the walk's place and steps on. */
static int walk_one(struct al_node *node, struct al_buf *out)
{
    struct ali_snapshot *snapshot = &node->v.snapshot;
    unsigned part = snapshot->part;
    const struct al_pool *pool = pool_of(node, part);
    uint64_t number = snapshot->at[part]++;

    if (pool) {
        struct ali_object *object;

        if (!al_pool_has(pool, (ali_ref)number))
            return 0;
        object = al_pool_at(pool, (ali_ref)number);
        if (object->snapshot == snapshot->number)
            return 0; /* written before a change, or newer than the snapshot */
        object->snapshot = snapshot->number;
    }
    return put_walked(node, part, number, out);
}

int al_node_snapshot_next(struct al_node *node, size_t budget, struct al_buf *out)
{
    struct ali_snapshot *snapshot = &node->v.snapshot;
    size_t limit = out->size + budget;
    unsigned steps = 0;
    int r = drain_early(snapshot, out);

    while (r == 0 && !snapshot->failed && out->size < limit && ++steps < budget) {
        if (snapshot->at[snapshot->part] < snapshot->end[snapshot->part]) {
            r = walk_one(node, out);
            continue;
        }
        r = drain_early(snapshot, out);
        if (++snapshot->part == ALI_PART_COUNT) {
            snapshot->active = false;
            forget_kept(node);
            return r < 0 ? r : 0;
        }
        if (r == 0)
            r = drain_early(snapshot, out);
    }
    if (r < 0 || snapshot->failed) {
        al_node_snapshot_abort(node);
        return -AL_E_NOMEM;
    }
    return 1;
}

void al_node_snapshot_abort(struct al_node *node)
{
    node->v.snapshot.active = false;
    forget_kept(node);
    for (unsigned part = 0; part < ALI_PART_COUNT; part++)
        al_buf_deinit(&node->v.snapshot.early[part]);
}

/* ---- the state hash ---------------------------------------------------------------------- */

/* Objects count in any order, ring entries in theirs: their number is hashed with them. */
static uint64_t add_hash(uint64_t sum, uint64_t number, struct al_buf *item)
{
    static const uint8_t seed[16] = "agentlink state";
    uint8_t tail[8];

    al_put64(tail, number);
    (void)al_buf_put(item, tail, sizeof(tail));
    sum += al_hash64(seed, item->data, item->size);
    al_buf_clear(item);
    return sum;
}

uint64_t al_node_state_hash(const struct al_node *node)
{
    struct al_buf item;
    uint64_t sum = 0;

    al_buf_init(&item, &node->alloc);
    if (put_meta(node, 0, &item) == 0)
        sum = add_hash(sum, 0, &item);
    for (unsigned part = ALI_PART_AGENT; part < ALI_PART_COUNT; part++) {
        const struct al_pool *pool = pool_of(node, part);
        const struct al_recent *ring = ring_of(node, part);
        uint64_t at = ring ? ring->first : 0;
        uint64_t end = ring ? ring->next : pool ? pool->end : 0;

        for (; at < end; at++)
            if ((!pool || al_pool_has(pool, (ali_ref)at)) && put_object(node, part, at, &item) == 0)
                sum = add_hash(sum, ring ? at : 0, &item);
    }
    al_buf_deinit(&item);
    return sum;
}
