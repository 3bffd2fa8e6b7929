/* apply_gap.c - messages that were given up: the record, and its place in snapshots.
 *
 * A track remembers between which numbers some were given up, so that one that comes too late is
 * not mistaken for a retransmission of a message that was taken; and how many the recipient has not
 * been told of. The next message of the producer in this stream carries that count in its record.
 */
#include "core/internal.h"
#include "core/items.h"
#include <assert.h>

#define HOLE_TAG   1u
#define UNTOLD_MAX (UINT16_MAX >> ALI_SKIPPED_SHIFT)

static void holes_free(struct al_node *node, struct ali_holes *holes)
{
    if (holes)
        al_alloc_free(&node->alloc, holes, sizeof(*holes) + holes->cap * sizeof(holes->list[0]));
}

void ali_holes_free(struct al_node *node, struct ali_track *track)
{
    holes_free(node, track->d.holes);
    track->d.holes = NULL;
}

void ali_holes_deinit(struct al_node *node)
{
    holes_free(node, node->v.prepared_holes);
    node->v.prepared_holes = NULL;
}

/* Prepares a list for at least `cap` of them. */
static int holes_prepare(struct al_node *node, uint32_t cap)
{
    struct ali_holes *holes = node->v.prepared_holes;

    if (holes && holes->cap >= cap)
        return 0;
    ali_holes_deinit(node);
    holes = al_alloc_zero(&node->alloc, sizeof(*holes) + cap * sizeof(holes->list[0]));
    if (!holes)
        return -AL_E_NOMEM;
    holes->cap = cap;
    node->v.prepared_holes = holes;
    return 0;
}

/* Makes sure that one more has a place. */
static int holes_reserve(struct al_node *node, const struct ali_track *track)
{
    const struct ali_holes *holes = track ? track->d.holes : NULL;

    if (!holes)
        return holes_prepare(node, ALI_HOLES_MIN);
    if (holes->count < holes->cap || holes->cap == ALI_HOLES_MAX)
        return 0;
    return holes_prepare(node, 2 * holes->cap);
}

/* Gives the track what was prepared, if it has no place left. */
static void holes_take(struct al_node *node, struct ali_track *track)
{
    struct ali_holes *old = track->d.holes, *holes = node->v.prepared_holes;

    if (old && (old->count < old->cap || old->cap == ALI_HOLES_MAX))
        return;
    if (old) {
        memcpy(holes->list, old->list, old->count * sizeof(old->list[0]));
        holes->count = old->count;
        holes_free(node, old);
    }
    track->d.holes = holes;
    node->v.prepared_holes = NULL;
}

/* Forgets those that no client can send again: it keeps a window. */
static void holes_prune(struct ali_holes *holes, uint64_t high)
{
    uint32_t old = 0;

    while (old < holes->count && high - holes->list[old].last > AL_PUBLISH_WINDOW)
        old++;
    holes->count -= old;
    memmove(holes->list, holes->list + old, holes->count * sizeof(holes->list[0]));
}

static void holes_add(struct ali_holes *holes, struct ali_hole hole)
{
    holes_prune(holes, hole.last);
    if (holes->count && holes->list[holes->count - 1].last + 1 == hole.first) {
        holes->list[holes->count - 1].last = hole.last;
        return;
    }
    if (holes->count == ALI_HOLES_MAX) {
        holes->list[0].last = holes->list[1].last;
        holes->count--;
        memmove(holes->list + 1, holes->list + 2, (holes->count - 1) * sizeof(holes->list[0]));
    }
    holes->list[holes->count++] = hole;
}

int ali_prepare_gap(struct al_node *node, const struct ali_rec_gap *r)
{
    ali_ref stream = ali_find_stream(node, r->stream);
    ali_ref producer = ali_find_producer(node, r->producer), track;
    int e;

    if (stream == AL_REF_NONE || producer == AL_REF_NONE || r->first < 1 || r->last < r->first)
        return -AL_E_DAMAGED;
    track = ali_find_track(node, stream, producer);
    if (track != AL_REF_NONE && r->first <= ali_track_at(node, track)->d.high)
        return -AL_E_DAMAGED;
    e = holes_reserve(node, track == AL_REF_NONE ? NULL : ali_track_at(node, track));
    if (e == 0 && track == AL_REF_NONE) {
        e = al_pool_reserve(&node->tracks, 1);
        if (e == 0)
            e = al_index_reserve(&node->track_keys, 1);
    }
    return e;
}

void ali_apply_gap(struct al_node *node, uint64_t lsn, const struct ali_rec_gap *r)
{
    ali_ref stream = ali_find_stream(node, r->stream);
    ali_ref producer = ali_find_producer(node, r->producer);
    ali_ref ref = ali_find_track(node, stream, producer);
    struct ali_track *track;
    uint64_t untold;

    (void)lsn;
    ali_touch(node, ALI_PART_PRODUCER, producer, &ali_producer_at(node, producer)->object);
    ali_producer_at(node, producer)->d.used_ms = r->wall_ms;
    ali_touch(node, ALI_PART_STREAM, stream, &ali_stream_at(node, stream)->object);
    ali_stream_at(node, stream)->d.used_ms = r->wall_ms;
    if (ref == AL_REF_NONE)
        ref = ali_track_add(node, stream, producer);
    track = ali_track_at(node, ref);
    ali_touch(node, ALI_PART_TRACK, ref, &track->object);
    holes_take(node, track);
    holes_add(track->d.holes, (struct ali_hole){r->first, r->last});
    track->d.high = r->last;
    track->d.run_pseq = 0;
    untold = track->d.untold + (r->last - r->first + 1);
    track->d.untold = (uint16_t)(untold < UNTOLD_MAX ? untold : UNTOLD_MAX);
}

/* The hole stands behind the item's fields as an optional one: most tracks have none. */
int ali_gap_put(const struct ali_track *track, const struct ali_item_track *item,
                struct al_buf *out)
{
    size_t at = out->size;
    uint8_t holes[2 + 16 * ALI_HOLES_MAX];
    int r = ali_put_item_track(out, item);

    if (r < 0)
        return r;
    al_put16(holes, track->d.untold);
    for (uint32_t i = 0; i < track->d.holes->count; i++) {
        al_put64(holes + 2 + (size_t)16 * i, track->d.holes->list[i].first);
        al_put64(holes + 10 + (size_t)16 * i, track->d.holes->list[i].last);
    }
    r = al_ext_put(out, HOLE_TAG, al_str_of(holes, 2 + 16u * track->d.holes->count));
    if (r == 0)
        al_put32(out->data + at, (uint32_t)(out->size - at - 4));
    return r;
}

int ali_gap_load(struct al_node *node, struct al_str body)
{
    struct ali_item_track item;
    struct ali_track *track;
    struct al_str holes;
    uint32_t count, cap = ALI_HOLES_MIN;
    uint64_t last = 0;
    size_t fixed = 0;

#define AL_FIXED_U8(name, doc)    fixed += 1;
#define AL_FIXED_U16(name, doc)   fixed += 2;
#define AL_FIXED_U32(name, doc)   fixed += 4;
#define AL_FIXED_U64(name, doc)   fixed += 8;
#define AL_FIXED_OTHER(name, doc) static_assert(0, "a track has numbers only");
    AL_FIELDS_ITEM_TRACK(AL_FIXED_U8, AL_FIXED_U16, AL_FIXED_U32, AL_FIXED_U64, AL_FIXED_OTHER,
                         AL_FIXED_OTHER, AL_FIXED_OTHER)
    if (!al_ext_find(al_str_of(body.p + fixed, body.n - fixed), HOLE_TAG, &holes))
        return 0;
    if (holes.n < 18 || holes.n > 2 + 16 * ALI_HOLES_MAX || (holes.n - 2) % 16 ||
        ali_decode_item_track(body, &item) < 0)
        return -AL_E_DAMAGED;
    count = (holes.n - 2) / 16;
    track = ali_track_at(node, ali_find_track(node, ali_find_stream(node, item.stream),
                                              ali_find_producer(node, item.producer)));
    while (cap < count)
        cap *= 2;
    if (holes_prepare(node, cap) < 0)
        return -AL_E_NOMEM;
    holes_take(node, track);
    track->d.untold = al_get16(holes.p);
    for (uint32_t i = 0; i < count; i++) {
        struct ali_hole hole = {al_get64(holes.p + 2 + (size_t)16 * i),
                                al_get64(holes.p + 10 + (size_t)16 * i)};

        if (hole.first <= last || hole.last < hole.first || hole.last > track->d.high)
            return -AL_E_DAMAGED;
        last = hole.last;
        track->d.holes->list[track->d.holes->count++] = hole;
    }
    return track->d.untold <= UNTOLD_MAX ? 0 : -AL_E_DAMAGED;
}
