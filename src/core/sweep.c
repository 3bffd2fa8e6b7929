/* sweep.c - once a minute: producers that vanished without a goodbye, streams nobody uses. */
#include "core/internal.h"

#define SWEEP_MS       60000u
#define OBJECTS_MAX    1000u            /* looked at in one sweep, of each sort */
#define STREAM_IDLE_MS (3600ull * 1000) /* an empty stream is kept this long */

static bool is_older(const struct al_node *node, uint64_t used_ms, uint64_t age_ms)
{
    return node->v.now.wall_ms > used_ms && node->v.now.wall_ms - used_ms > age_ms;
}

static int sweep_producer(struct al_node *node, ali_ref ref)
{
    const struct ali_producer *producer = ali_producer_at(node, ref);
    struct ali_rec_producer_close record = {.producer = producer->d.id};

    if (producer->v.conn != AL_REF_NONE || producer->d.epoch == ALI_OWN_EPOCH ||
        !is_older(node, producer->d.used_ms, AL_PRODUCER_TTL_MS))
        return 0;
    return ali_commit(node, ALI_REC_PRODUCER_CLOSE, &record);
}

static int sweep_stream(struct al_node *node, ali_ref ref)
{
    const struct ali_stream *stream = ali_stream_at(node, ref);
    struct ali_rec_stream_close record = {.stream = stream->d.id};
    /* What is known of its finished deliveries is asked for by the stream. */
    uint64_t idle_ms =
        node->config.records_ttl_ms > STREAM_IDLE_MS ? node->config.records_ttl_ms : STREAM_IDLE_MS;

    if (stream->v.member != AL_REF_NONE && !ali_member_at(node, stream->v.member)->d.left_seq)
        return 0;
    /* A producer that lives on is remembered here as long as one that is away. */
    if (stream->d.tracks.head != AL_REF_NONE && idle_ms < AL_PRODUCER_TTL_MS)
        idle_ms = AL_PRODUCER_TTL_MS;
    if (ali_history_count(node, stream) || stream->v.channel_count || stream->d.letter_count ||
        ali_lane_count(node, stream) || stream->d.mark_count || ali_runs_count(&stream->d.runs) ||
        !is_older(node, stream->d.used_ms, idle_ms))
        return 0;
    return ali_commit(node, ALI_REC_STREAM_CLOSE, &record);
}

int ali_sweep(struct al_node *node)
{
    ali_ref end = node->streams.end > node->producers.end ? node->streams.end : node->producers.end;
    int r = 0;

    if (node->groups.end > end)
        end = node->groups.end;
    if (node->histories.end > end)
        end = node->histories.end;
    if (node->flows.list.end > end)
        end = node->flows.list.end;
    for (unsigned i = 0; i < OBJECTS_MAX && i < end && r == 0; i++) {
        ali_ref ref = node->v.sweep_at++;

        if (ref >= end)
            ref = node->v.sweep_at = 0;
        if (al_pool_has(&node->producers, ref))
            r = sweep_producer(node, ref);
        if (r == 0 && al_pool_has(&node->streams, ref))
            r = sweep_stream(node, ref);
        if (r == 0 && al_pool_has(&node->groups, ref))
            r = ali_group_trim(node, ref);
        if (r == 0 && al_pool_has(&node->flows.list, ref))
            r = ali_workflow_sweep(node, ref);
        if (r == 0 && al_pool_has(&node->histories, ref))
            r = ali_history_trim(node, ref);
    }
    ali_timer_set(node, ALI_TIMER_SWEEP, 0, SWEEP_MS);
    return r;
}
