/* apply.c - the one way in which state changes: decide → record → apply.
 *
 * ali_commit is the live path and al_node_replay the recovery path of the same two steps: prepare
 * reserves every piece of memory that the change needs, apply makes the change and cannot fail. In
 * between, the live path hands the record out to be persisted. */
#include "core/internal.h"
#include "crypto/hash.h"

/* ---- hashing and finding ----------------------------------------------------------------- */

uint64_t ali_hash_number(uint64_t number)
{
    /* Numbers are given out by this node, one after the other: mixing is enough. */
    number ^= number >> 32;
    number *= 0xd6e8feb86659fd93ull;
    number ^= number >> 32;
    return number;
}

uint64_t ali_hash_pair(uint64_t a, uint64_t b)
{
    return ali_hash_number(a * 0x9e3779b97f4a7c15ull + b);
}

uint64_t ali_hash_name(const struct al_node *node, struct al_str name)
{
    return al_hash64(node->config.hash_seed, name.p, name.n);
}

uint64_t ali_hash_stream_key(const struct al_node *node, ali_ref from, ali_ref to, uint8_t priority,
                             struct al_str label)
{
    return ali_hash_pair(ali_hash_pair(from, to), ali_hash_name(node, label) + priority);
}

struct key {
    const struct al_node *node;
    uint64_t a, b;
    uint8_t priority;
    struct al_str text;
};

static bool agent_id_is(const void *ctx, uint32_t ref)
{
    const struct key *key = ctx;

    return ali_agent_at(key->node, ref)->d.id == key->a;
}

ali_ref ali_find_agent(const struct al_node *node, uint32_t id)
{
    struct key key = {.node = node, .a = id};

    return al_index_find(&node->agent_ids, ali_hash_number(id), agent_id_is, &key);
}

static bool agent_name_is(const void *ctx, uint32_t ref)
{
    const struct key *key = ctx;
    const struct ali_agent *agent = ali_agent_at(key->node, ref);

    return al_str_eq(al_str_of(agent->d.name, agent->d.name_size), key->text);
}

ali_ref ali_find_agent_name(const struct al_node *node, struct al_str name)
{
    struct key key = {.node = node, .text = name};

    return al_index_find(&node->agent_names, ali_hash_name(node, name), agent_name_is, &key);
}

static bool stream_id_is(const void *ctx, uint32_t ref)
{
    const struct key *key = ctx;

    return ali_stream_at(key->node, ref)->d.id == key->a;
}

ali_ref ali_find_stream(const struct al_node *node, uint32_t id)
{
    struct key key = {.node = node, .a = id};

    return al_index_find(&node->stream_ids, ali_hash_number(id), stream_id_is, &key);
}

static bool stream_key_is(const void *ctx, uint32_t ref)
{
    const struct key *key = ctx;
    const struct ali_stream *stream = ali_stream_at(key->node, ref);

    return stream->d.from == key->a && stream->d.to == key->b &&
           ali_stream_priority(stream) == key->priority &&
           al_str_eq(al_str_of(stream->d.label, stream->d.label_size), key->text);
}

ali_ref ali_find_stream_key(const struct al_node *node, ali_ref from, ali_ref to, uint8_t priority,
                            struct al_str label)
{
    struct key key = {.node = node, .a = from, .b = to, .priority = priority, .text = label};

    return al_index_find(&node->stream_keys, ali_hash_stream_key(node, from, to, priority, label),
                         stream_key_is, &key);
}

static bool producer_id_is(const void *ctx, uint32_t ref)
{
    const struct key *key = ctx;

    return ali_producer_at(key->node, ref)->d.id == key->a;
}

ali_ref ali_find_producer(const struct al_node *node, uint64_t id)
{
    struct key key = {.node = node, .a = id};

    return al_index_find(&node->producer_ids, ali_hash_number(id), producer_id_is, &key);
}

static bool track_is(const void *ctx, uint32_t ref)
{
    const struct key *key = ctx;
    const struct ali_track *track = ali_track_at(key->node, ref);

    return track->d.stream == key->a && track->d.producer == key->b;
}

ali_ref ali_find_track(const struct al_node *node, ali_ref stream, ali_ref producer)
{
    struct key key = {.node = node, .a = stream, .b = producer};

    return al_index_find(&node->track_keys, ali_hash_pair(stream, producer), track_is, &key);
}

static bool mark_is(const void *ctx, uint32_t ref)
{
    const struct key *key = ctx;
    const struct ali_mark *mark = ali_mark_at(key->node, ref);

    return mark->d.stream == key->a && mark->d.seq == key->b;
}

ali_ref ali_find_mark(const struct al_node *node, ali_ref stream, uint64_t seq)
{
    struct key key = {.node = node, .a = stream, .b = seq};

    return al_index_find(&node->mark_keys, ali_hash_pair(stream, seq), mark_is, &key);
}

static bool delayed_is(const void *ctx, uint32_t ref)
{
    const struct key *key = ctx;

    return ali_delayed_at(key->node, ref)->d.id == key->a;
}

ali_ref ali_find_delayed(const struct al_node *node, uint64_t id)
{
    struct key key = {.node = node, .a = id};

    return al_index_find(&node->delayed_ids, ali_hash_number(id), delayed_is, &key);
}

static bool letter_is(const void *ctx, uint32_t ref)
{
    const struct key *key = ctx;
    const struct ali_letter *letter = ali_letter_at(key->node, ref);

    return letter->d.seq == key->b && ali_stream_at(key->node, letter->d.stream)->d.id == key->a;
}

ali_ref ali_find_letter(const struct al_node *node, uint32_t stream, uint64_t seq)
{
    struct key key = {.node = node, .a = stream, .b = seq};

    return al_index_find(&node->letter_ids, ali_hash_pair(stream, seq), letter_is, &key);
}

bool ali_seq_is_gone(const struct al_node *node, const struct ali_stream *stream, ali_ref ref,
                     uint64_t seq)
{
    ali_ref mark;

    if (!stream->d.gone_count)
        return false;
    mark = ali_find_mark(node, ref, seq);
    return mark != AL_REF_NONE && ali_mark_at(node, mark)->d.gone;
}

/* ---- committing -------------------------------------------------------------------------- */

static int prepare(struct al_node *node, unsigned type, const void *record)
{
    int r = ali_live_reserve(node, node->d.lsn + 1);

    if (r < 0)
        return r;
    switch (type) {
#define AL_X(symbol, lower, number, doc) \
    case (number):                       \
        return ali_prepare_##lower(node, record);
        AL_RECORDS(AL_X)
#undef AL_X
    default:
        return -AL_E_FORMAT;
    }
}

static void apply(struct al_node *node, uint64_t lsn, unsigned type, const void *record)
{
    node->d.lsn = lsn;
    switch (type) {
#define AL_X(symbol, lower, number, doc)      \
    case (number):                            \
        ali_apply_##lower(node, lsn, record); \
        break;
        AL_RECORDS(AL_X)
#undef AL_X
    default:
        break;
    }
}

static int emit(struct al_node *node, uint64_t lsn, unsigned type, const void *record)
{
    struct al_effects *effects = node->v.effects;
    size_t size = 0, from = effects->data.size;

    switch (type) {
#define AL_X(symbol, lower, number, doc)                           \
    case (number):                                                 \
        size = ali_size_rec_##lower(record);                       \
        if (ali_effects_room(node, size) < 0)                      \
            return -AL_E_NOMEM;                                    \
        ali_encode_rec_##lower(effects->data.data + from, record); \
        break;
        AL_RECORDS(AL_X)
#undef AL_X
    default:
        return -AL_E_FORMAT;
    }
    effects->data.size += size;
    effects->list[effects->count++] = (struct al_effect){.type = AL_EFFECT_PERSIST,
                                                         .lsn = lsn,
                                                         .record_type = type,
                                                         .offset = from,
                                                         .size = (uint32_t)size};
    return 0;
}

int ali_commit(struct al_node *node, enum ali_record_type type, const void *record)
{
    int r = prepare(node, type, record);

    if (r < 0)
        return r;
    r = emit(node, node->d.lsn + 1, type, record);
    if (r < 0)
        return r;
    apply(node, node->d.lsn + 1, type, record);
    return 0;
}

union any_record {
#define AL_X(symbol, lower, number, doc) struct ali_rec_##lower lower;
    AL_RECORDS(AL_X)
#undef AL_X
};

static int replay_one(struct al_node *node, const struct al_record_view *view)
{
    union any_record record;
    int r;

    switch (view->type) {
#define AL_X(symbol, lower, number, doc)                          \
    case (number):                                                \
        r = ali_decode_rec_##lower(view->payload, &record.lower); \
        break;
        AL_RECORDS(AL_X)
#undef AL_X
    default:
        return -AL_E_FORMAT;
    }
    if (r < 0)
        return -AL_E_DAMAGED;
    r = prepare(node, view->type, &record);
    if (r < 0)
        return r;
    apply(node, view->lsn, view->type, &record);
    return 0;
}

/* ---- commits: several records, all or nothing -------------------------------------------- */

#define HELD_HEADER 6u

static bool is_member(const struct al_node *node, unsigned type)
{
    (void)node;
    if (type == ALI_REC_GROUP_POST && AL_PLANT(node, COMMIT_POST_APART))
        return false;
    if (type == ALI_REC_DEAD && AL_PLANT(node, COMMIT_DEAD_APART))
        return false;
    return type == ALI_REC_ACK || type == ALI_REC_DEAD || type == ALI_REC_PUBLISH ||
           type == ALI_REC_NUMBERED || type == ALI_REC_GROUP_POST || type == ALI_REC_KV_SET ||
           type == ALI_REC_KV_DELETE;
}

static int held_commit_apply(struct al_node *node);

void ali_held_commit_drop(struct al_node *node)
{
    struct ali_held_commit *held = &node->v.held;

    if (held->active && AL_PLANT(node, COMMIT_HALVED))
        (void)held_commit_apply(node);
    if (held->active)
        node->d.lsn = held->next_lsn - 1; /* its numbers are used up */
    held->active = false;
    al_buf_deinit(&held->records);
}

static int held_commit_add(struct al_node *node, const struct al_record_view *view)
{
    struct ali_held_commit *held = &node->v.held;
    uint8_t header[HELD_HEADER];
    int r;

    al_put16(header, view->type);
    al_put32(header + 2, view->payload.n);
    r = al_buf_put(&held->records, header, sizeof(header));
    if (r == 0)
        r = al_buf_put(&held->records, view->payload.p, view->payload.n);
    held->next_lsn = view->lsn + 1;
    return r;
}

/* The last one is there: all of them count. */
static int held_commit_apply(struct al_node *node)
{
    struct ali_held_commit *held = &node->v.held;
    int r = 0;

    held->active = false;
    for (size_t at = 0; r == 0 && at < held->records.size;) {
        const uint8_t *one = held->records.data + at;
        struct al_record_view view = {.lsn = node->d.lsn + 1,
                                      .type = al_get16(one),
                                      .payload = al_str_of(one + HELD_HEADER, al_get32(one + 2))};

        at += HELD_HEADER + (size_t)view.payload.n;
        r = replay_one(node, &view);
    }
    al_buf_deinit(&held->records);
    return r;
}

int al_node_replay(struct al_node *node, const struct al_record_view *view)
{
    struct ali_held_commit *held = &node->v.held;
    struct ali_rec_commit commit;
    int r;

    if (view->lsn != al_node_lsn(node) + 1)
        return -AL_E_DAMAGED;
    if (held->active && is_member(node, view->type)) {
        r = held_commit_add(node, view);
        return r == 0 && --held->left == 0 ? held_commit_apply(node) : r;
    }
    ali_held_commit_drop(node); /* the node died within it */
    if (view->type != ALI_REC_COMMIT)
        return replay_one(node, view);
    if (ali_decode_rec_commit(view->payload, &commit) < 0 || commit.count > AL_COMMIT_PARTS_MAX)
        return -AL_E_DAMAGED;
    if (commit.count == 0)
        return replay_one(node, view);
    held->active = true;
    held->left = commit.count;
    return held_commit_add(node, view);
}
