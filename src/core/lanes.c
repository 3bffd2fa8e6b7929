/* lanes.c - unordered streams: every pending message has a stream to itself.
 *
 * A sender may say that what it sends to somebody under a label needs no order (CHANNEL_OPEN). Such
 * a stream is a base, which holds the channels and the producers' high-water marks, and lanes:
 * plain streams of the same sender, recipient, label and priority, each with at most one pending
 * message. So everything that holds for a stream holds for each message alone: its own lease clock,
 * its own retries that hold up nobody, acks in any order, a handler of its own. A lane that has
 * become empty is used again; one that has stood empty for long is closed like any stream. One with
 * a dead letter is left alone until that is gone, so that a letter that is sent again waits for
 * nobody.
 *
 * The list of free lanes is volatile and may name lanes that are not free any more: whoever takes
 * one looks. */
#include "core/internal.h"

/* Of an unordered stream and of each of its lanes. */
struct ali_lane {
    uint32_t base;  /* a lane: number of the unordered stream; 0: this is one */
    uint32_t count; /* an unordered stream: its lanes */
    bool is_free;   /* a lane: on the list */
    ali_ref stream;
    struct ali_list free; /* an unordered stream: lanes that were free */
    struct ali_link link; /* a lane: among them */
};

#define FREE_LINK offsetof(struct ali_lane, link)

static struct ali_lane *lane_at(const struct al_node *node, ali_ref stream)
{
    return al_pool_at(&node->lanes, ali_stream_at(node, stream)->v.lane);
}

void ali_lanes_init(struct al_node *node)
{
    al_pool_init(&node->lanes, &node->alloc, sizeof(struct ali_lane), 6);
}

static bool is_lane(const struct ali_stream *stream)
{
    return stream->d.flags & ALI_STREAM_LANE;
}

static bool is_empty(const struct ali_stream *stream)
{
    return !ali_runs_count(&stream->d.runs) && !stream->d.letter_count;
}

/* The unordered stream's part; NULL: it is not there (yet, or any more). */
static struct ali_lane *base_of(const struct al_node *node, const struct ali_lane *lane)
{
    ali_ref base = ali_find_stream(node, lane->base);

    return base == AL_REF_NONE || ali_stream_at(node, base)->v.lane == AL_REF_NONE
               ? NULL
               : lane_at(node, base);
}

uint32_t ali_lane_base(const struct al_node *node, const struct ali_stream *stream)
{
    return is_lane(stream) ? ((struct ali_lane *)al_pool_at(&node->lanes, stream->v.lane))->base
                           : 0;
}

uint32_t ali_lane_count(const struct al_node *node, const struct ali_stream *stream)
{
    return stream->v.lane == AL_REF_NONE
               ? 0
               : ((struct ali_lane *)al_pool_at(&node->lanes, stream->v.lane))->count;
}

void ali_lane_free(struct al_node *node, ali_ref ref)
{
    const struct ali_stream *stream = ali_stream_at(node, ref);
    struct ali_lane *lane, *base;

    if (!is_lane(stream) || node->v.loading || !is_empty(stream))
        return;
    lane = lane_at(node, ref);
    base = base_of(node, lane);
    if (lane->is_free || !base) /* without it both go with their agent */
        return;
    lane->is_free = true;
    ali_list_push(&node->lanes, FREE_LINK, &base->free, stream->v.lane);
}

void ali_lane_add(struct al_node *node, ali_ref ref, uint32_t base)
{
    struct ali_stream *stream = ali_stream_at(node, ref);
    struct ali_lane *lane;

    stream->v.lane = al_pool_take(&node->lanes);
    lane = lane_at(node, ref);
    *lane = (struct ali_lane){.base = base, .stream = ref, .free = ALI_LIST_EMPTY};
    if (is_lane(stream) && base_of(node, lane))
        base_of(node, lane)->count++;
}

void ali_lane_remove(struct al_node *node, ali_ref ref)
{
    struct ali_stream *stream = ali_stream_at(node, ref);
    struct ali_lane *lane, *base;

    if (stream->v.lane == AL_REF_NONE)
        return;
    lane = lane_at(node, ref);
    base = is_lane(stream) ? base_of(node, lane) : NULL;
    if (base && lane->is_free)
        ali_list_remove(&node->lanes, FREE_LINK, &base->free, stream->v.lane);
    if (base)
        base->count--;
    al_pool_put(&node->lanes, stream->v.lane);
    stream->v.lane = AL_REF_NONE;
}

static ali_ref take_free(struct al_node *node, struct ali_lane *base)
{
    while (base->free.head != AL_REF_NONE) {
        struct ali_lane *lane = al_pool_at(&node->lanes, base->free.head);

        if (AL_PLANT(node, LANE_SHARED) && base->count > 3)
            return lane->stream;
        ali_list_remove(&node->lanes, FREE_LINK, &base->free, base->free.head);
        lane->is_free = false;
        if (is_empty(ali_stream_at(node, lane->stream)))
            return lane->stream;
    }
    return AL_REF_NONE;
}

int ali_lane_get(struct al_node *node, ali_ref base_ref, ali_ref *ret_lane)
{
    struct ali_stream *base = ali_stream_at(node, base_ref);
    struct ali_rec_stream_open record = {.stream = node->d.next_stream,
                                         .from = ali_agent_at(node, base->d.from)->d.id,
                                         .to = ali_agent_at(node, base->d.to)->d.id,
                                         .priority = base->d.priority,
                                         .flags = ALI_STREAM_LANE,
                                         .label = al_str_of(base->d.label, base->d.label_size),
                                         .wall_ms = node->v.now.wall_ms};
    uint8_t room[8];
    int r;

    if (!(base->d.flags & ALI_STREAM_UNORDERED)) {
        *ret_lane = base_ref;
        return 0;
    }
    *ret_lane = take_free(node, lane_at(node, base_ref));
    if (*ret_lane != AL_REF_NONE)
        return 0;
    if (lane_at(node, base_ref)->count >= AL_LANES_MAX)
        return -AL_E_INBOX_FULL;
    if (node->streams.count >= AL_STREAMS_MAX)
        return -AL_E_LIMIT;
    record.ext = ali_ext_put_u32(room, ALI_STREAM_EXT_BASE, base->d.id);
    r = ali_commit(node, ALI_REC_STREAM_OPEN, &record);
    if (r == 0)
        *ret_lane = ali_find_stream(node, record.stream);
    return r;
}

ali_ref ali_track_stream(const struct al_node *node, ali_ref ref)
{
    const struct ali_stream *stream = ali_stream_at(node, ref);

    return is_lane(stream) ? ali_find_stream(node, lane_at(node, ref)->base) : ref;
}

void ali_lanes_count(struct al_node *node)
{
    for (ali_ref ref = 0; ref < node->lanes.end; ref++)
        if (al_pool_has(&node->lanes, ref))
            ((struct ali_lane *)al_pool_at(&node->lanes, ref))->count = 0;
    for (ali_ref ref = 0; ref < node->lanes.end; ref++) {
        struct ali_lane *lane = al_pool_at(&node->lanes, ref);

        if (al_pool_has(&node->lanes, ref) && lane->base && base_of(node, lane))
            base_of(node, lane)->count++;
    }
}

void ali_lanes_start(struct al_node *node)
{
    for (ali_ref ref = 0; ref < node->lanes.end; ref++)
        if (al_pool_has(&node->lanes, ref))
            ali_lane_free(node, ((struct ali_lane *)al_pool_at(&node->lanes, ref))->stream);
}
