/* rings.c - what is remembered for a while: recent message ids, finished deliveries. */
#include "core/internal.h"
#include "crypto/hash.h"

/* ---- recent message ids ------------------------------------------------------------------ */

static uint64_t id_hash(const void *ctx, const void *entry)
{
    const struct al_node *node = ctx;

    return al_hash64(node->config.hash_seed, ((const struct ali_recent_id *)entry)->id.b, 16);
}

static bool id_is(const void *ctx, const void *entry)
{
    return al_id_eq(ctx, &((const struct ali_recent_id *)entry)->id);
}

struct ali_recent_id *ali_find_id(const struct al_node *node, const struct al_id *id)
{
    return al_recent_find(&node->d.ids, al_hash64(node->config.hash_seed, id->b, 16), id_is, id);
}

int ali_ids_reserve(struct al_node *node, const struct al_id *id)
{
    int r = al_recent_reserve(&node->d.ids, 1, id_hash, node);

    if (r < 0)
        return r;
    node->v.hashed_id = *id;
    node->v.id_hash = al_hash64(node->config.hash_seed, id->b, 16);
    al_recent_prefetch(&node->d.ids, node->v.id_hash);
    return 0;
}

int ali_ids_reserve_full(struct al_node *node)
{
    return al_recent_reserve(&node->d.ids, node->d.ids.limit, id_hash, node);
}

static bool is_full(const struct al_recent *ring)
{
    return ring->next - ring->first == ring->cap;
}

struct ali_recent_id *ali_ids_add(struct al_node *node, const struct al_id *id)
{
    struct ali_recent_id *entry;

    if (is_full(&node->d.ids))
        ali_snapshot_keep_entry(node, ALI_PART_ID, node->d.ids.first);
    if (!al_id_eq(&node->v.hashed_id, id))
        node->v.id_hash = al_hash64(node->config.hash_seed, id->b, 16);
    node->v.hashed_id = *id;
    entry = al_recent_add(&node->d.ids, node->v.id_hash);
    entry->id = *id;
    return entry;
}

/* ---- finished deliveries ----------------------------------------------------------------- */

static uint64_t ended_hash(const void *ctx, const void *entry)
{
    const struct ali_ended *ended = entry;

    (void)ctx;
    return ali_hash_pair(ended->stream, ended->seq);
}

static bool ended_is(const void *ctx, const void *entry)
{
    const struct ali_ended *want = ctx, *ended = entry;

    return ended->stream == want->stream && ended->seq == want->seq;
}

struct ali_ended *ali_find_ended(const struct al_node *node, uint32_t stream, uint64_t seq)
{
    struct ali_ended want = {.stream = stream, .seq = seq};

    return al_recent_find(&node->d.ended, ended_hash(NULL, &want), ended_is, &want);
}

int ali_ended_reserve_full(struct al_node *node)
{
    return al_recent_reserve(&node->d.ended, node->d.ended.limit, ended_hash, NULL);
}

int ali_ended_reserve(struct al_node *node, uint32_t count)
{
    return al_recent_reserve(&node->d.ended, count, ended_hash, NULL);
}

struct ali_ended *ali_ended_add(struct al_node *node, uint32_t stream, uint64_t seq)
{
    struct ali_ended want = {.stream = stream, .seq = seq}, *entry;

    if (is_full(&node->d.ended)) {
        const struct ali_ended *oldest = al_recent_at(&node->d.ended, node->d.ended.first);

        ali_snapshot_keep_entry(node, ALI_PART_ENDED, node->d.ended.first);
        if (oldest->lsn)
            ali_live_drop(node, oldest->lsn);
    }
    entry = al_recent_add(&node->d.ended, ended_hash(NULL, &want));
    entry->number = node->d.ended.next - 1;
    entry->stream = stream;
    entry->seq = seq;
    return entry;
}
