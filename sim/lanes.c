/* lanes.c - unordered streams, as the journal has them: no message of one waits for another.
 *
 * A lane of an unordered stream may have one message at a time: pending, waiting for its time, or
 * sent again from the dead letters. That is followed from the records alone. */
#include "core/records.h"
#include "ledger.h"
#include <stdlib.h>
#include <string.h>

struct lane {
    bool is_lane, is_base;
    uint32_t pending;
};

struct sim_lanes {
    struct lane *list; /* by the node's number of the stream */
    uint32_t cap;
};

struct sim_lanes *sim_lanes_new(void)
{
    struct sim_lanes *lanes = sim_xrealloc(NULL, sizeof(*lanes));

    memset(lanes, 0, sizeof(*lanes));
    return lanes;
}

void sim_lanes_free(struct sim_lanes *lanes)
{
    if (lanes)
        free(lanes->list);
    free(lanes);
}

static struct lane *lane_at(struct sim_lanes *lanes, uint32_t number)
{
    if (number >= lanes->cap) {
        uint32_t cap = number + 64;

        lanes->list = sim_xrealloc(lanes->list, cap * sizeof(*lanes->list));
        memset(lanes->list + lanes->cap, 0, (cap - lanes->cap) * sizeof(*lanes->list));
        lanes->cap = cap;
    }
    return &lanes->list[number];
}

static void come(struct sim *sim, uint32_t stream)
{
    struct lane *lane = lane_at(sim->ledger->lanes, stream);

    if (lane->is_lane && lane->pending++)
        sim_fail(sim, "unordered messages wait for each other in stream %u", stream);
    sim->ledger->unordered += lane->is_lane;
}

static void go(struct sim *sim, uint32_t stream, uint32_t count)
{
    struct lane *lane = lane_at(sim->ledger->lanes, stream);

    if (lane->is_lane)
        lane->pending -= count < lane->pending ? count : lane->pending;
}

bool sim_is_unordered(const struct sim *sim, uint32_t stream)
{
    const struct sim_lanes *lanes = sim->ledger->lanes;

    return stream < lanes->cap && (lanes->list[stream].is_lane || lanes->list[stream].is_base);
}

void sim_lanes_record(struct sim *sim, unsigned type, struct al_str payload)
{
    union {
        struct ali_rec_stream_open open;
        struct ali_rec_publish publish;
        struct ali_rec_ack ack;
        struct ali_rec_dead dead;
        struct ali_rec_cancel cancel;
        struct ali_rec_redrive redrive;
    } r;

    if (type == ALI_REC_STREAM_OPEN && ali_decode_rec_stream_open(payload, &r.open) == 0)
        *lane_at(sim->ledger->lanes, r.open.stream) =
            (struct lane){.is_lane = r.open.flags & ALI_STREAM_LANE,
                          .is_base = r.open.flags & ALI_STREAM_UNORDERED};
    else if (type == ALI_REC_PUBLISH && ali_decode_rec_publish(payload, &r.publish) == 0)
        come(sim, r.publish.stream);
    else if (type == ALI_REC_REDRIVE && ali_decode_rec_redrive(payload, &r.redrive) == 0)
        come(sim, r.redrive.stream);
    else if (type == ALI_REC_ACK && ali_decode_rec_ack(payload, &r.ack) == 0)
        go(sim, r.ack.stream, r.ack.count);
    else if (type == ALI_REC_DEAD && ali_decode_rec_dead(payload, &r.dead) == 0)
        go(sim, r.dead.stream, 1);
    else if (type == ALI_REC_CANCEL && ali_decode_rec_cancel(payload, &r.cancel) == 0)
        go(sim, r.cancel.stream, 1);
}

void sim_lanes_reset(struct sim *sim)
{
    struct sim_lanes *lanes = sim->ledger->lanes;

    if (lanes->cap)
        memset(lanes->list, 0, lanes->cap * sizeof(*lanes->list));
    for (size_t i = 0; i < sim->shadow.count; i++) {
        const struct sim_record *record = &sim->shadow.list[i];

        sim_lanes_record(sim, record->type,
                         al_str_of(sim->shadow.bytes.data + record->offset, record->size));
    }
}
