/* live.c - how many records of a stretch of the journal still matter.
 *
 * Two bytes per bucket of 64 LSNs: enough to decide whether a segment can go or is worth carrying
 * forward, also when a segment holds a few dozen large messages only. A record is referred to at
 * most twice (a DEAD record: by its letter and by its finished delivery); only the record of a
 * group's message has more references: its history and each member (AL_GROUP_MEMBERS_MAX). */
#include "core/internal.h"
#include <assert.h>

#define BUCKET_SHIFT 6u

_Static_assert((AL_GROUP_MEMBERS_MAX + 8) << BUCKET_SHIFT <= UINT16_MAX, "counters are 16 bits");

static size_t bytes_of(uint32_t cap)
{
    return cap * sizeof(uint16_t);
}

/* Drops counters that have reached zero at the old end. */
static void trim(struct al_node *node)
{
    uint32_t zero = 0;

    while (zero < node->v.live_cap && node->v.live[zero] == 0)
        zero++;
    if (zero < node->v.live_cap / 2)
        return;
    memmove(node->v.live, node->v.live + zero, bytes_of(node->v.live_cap - zero));
    memset(node->v.live + (node->v.live_cap - zero), 0, bytes_of(zero));
    node->v.live_base += zero;
}

int ali_live_reserve(struct al_node *node, uint64_t lsn)
{
    uint64_t bucket = lsn >> BUCKET_SHIFT;
    uint32_t cap = node->v.live_cap;
    uint16_t *live;

    if (cap && bucket < node->v.live_base + cap)
        return 0;
    if (cap)
        trim(node);
    if (cap && bucket < node->v.live_base + cap)
        return 0;
    while (bucket >= node->v.live_base + cap)
        cap = cap ? cap * 2 : 64;
    live = al_alloc_zero(&node->alloc, bytes_of(cap));
    if (!live)
        return -AL_E_NOMEM;
    if (node->v.live_cap)
        memcpy(live, node->v.live, bytes_of(node->v.live_cap));
    al_alloc_free(&node->alloc, node->v.live, bytes_of(node->v.live_cap));
    node->v.live = live;
    node->v.live_cap = cap;
    return 0;
}

static uint16_t *counter(struct al_node *node, uint64_t lsn)
{
    uint64_t bucket = lsn >> BUCKET_SHIFT;

    assert(bucket >= node->v.live_base && bucket < node->v.live_base + node->v.live_cap);
    return &node->v.live[bucket - node->v.live_base];
}

bool ali_live_is_known(const struct al_node *node, uint64_t lsn)
{
    return lsn <= node->d.lsn && lsn >> BUCKET_SHIFT >= node->v.live_base;
}

void ali_live_add(struct al_node *node, uint64_t lsn)
{
    uint16_t *count = counter(node, lsn);

    assert(*count < UINT16_MAX);
    ++*count;
}

void ali_live_drop(struct al_node *node, uint64_t lsn)
{
    uint16_t *count = counter(node, lsn);

    assert(*count > 0);
    --*count;
}

uint64_t al_node_live_count(const struct al_node *node, uint64_t first_lsn, uint64_t last_lsn)
{
    uint64_t from = first_lsn >> BUCKET_SHIFT, to = last_lsn >> BUCKET_SHIFT, sum = 0;

    if (from < node->v.live_base)
        from = node->v.live_base;
    for (uint64_t b = from; b <= to && b < node->v.live_base + node->v.live_cap; b++)
        sum += node->v.live[b - node->v.live_base];
    return sum;
}
