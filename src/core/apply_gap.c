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

static int holes_reserve(struct al_node *node)
{
    if (!node->v.prepared_holes)
        node->v.prepared_holes =
            al_alloc_zero(&node->alloc, ALI_HOLES_MAX * sizeof(*node->v.prepared_holes));
    return node->v.prepared_holes ? 0 : -AL_E_NOMEM;
}

/* Gives the track what holes_reserve has made, if it has none. */
static void holes_take(struct al_node *node, struct ali_track *track)
{
    if (track->d.holes)
        return;
    track->d.holes = node->v.prepared_holes;
    node->v.prepared_holes = NULL;
}

void ali_holes_free(struct al_node *node, struct ali_track *track)
{
    al_alloc_free(&node->alloc, track->d.holes, ALI_HOLES_MAX * sizeof(*track->d.holes));
    track->d.holes = NULL;
}

static void holes_add(struct ali_track *track, struct ali_hole hole)
{
    struct ali_hole *holes = track->d.holes;

    if (track->d.hole_count && holes[track->d.hole_count - 1].last + 1 == hole.first) {
        holes[track->d.hole_count - 1].last = hole.last;
        return;
    }
    if (track->d.hole_count == ALI_HOLES_MAX) {
        holes[0].last = holes[1].last;
        track->d.hole_count--;
        memmove(holes + 1, holes + 2, (ALI_HOLES_MAX - 2) * sizeof(*holes));
    }
    holes[track->d.hole_count++] = hole;
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
    e = holes_reserve(node);
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
    holes_add(track, (struct ali_hole){r->first, r->last});
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
    for (uint32_t i = 0; i < track->d.hole_count; i++) {
        al_put64(holes + 2 + (size_t)16 * i, track->d.holes[i].first);
        al_put64(holes + 10 + (size_t)16 * i, track->d.holes[i].last);
    }
    r = al_ext_put(out, HOLE_TAG, al_str_of(holes, 2 + 16u * track->d.hole_count));
    if (r == 0)
        al_put32(out->data + at, (uint32_t)(out->size - at - 4));
    return r;
}

int ali_gap_load(struct al_node *node, struct al_str body)
{
    struct ali_item_track item;
    struct ali_track *track;
    struct al_str holes;
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
    if (holes_reserve(node) < 0)
        return -AL_E_NOMEM;
    track = ali_track_at(node, ali_find_track(node, ali_find_stream(node, item.stream),
                                              ali_find_producer(node, item.producer)));
    holes_take(node, track);
    track->d.untold = al_get16(holes.p);
    track->d.hole_count = (uint8_t)((holes.n - 2) / 16);
    for (uint32_t i = 0; i < track->d.hole_count; i++) {
        struct ali_hole hole = {al_get64(holes.p + 2 + (size_t)16 * i),
                                al_get64(holes.p + 10 + (size_t)16 * i)};

        if (hole.first <= last || hole.last < hole.first || hole.last > track->d.high)
            return -AL_E_DAMAGED;
        last = hole.last;
        track->d.holes[i] = hole;
    }
    return track->d.untold <= UNTOLD_MAX ? 0 : -AL_E_DAMAGED;
}
