/* core_world.c - the driver that the core's fuzz target runs in. */
#include "core_world.h"
#include "base/errors.h"
#include "base/limits.h"
#include <assert.h>
#include <stdlib.h>

static void *plain_realloc(void *ctx, void *ptr, size_t old_size, size_t new_size)
{
    (void)ctx;
    (void)old_size;
    if (new_size)
        return realloc(ptr, new_size);
    free(ptr);
    return NULL;
}

static const struct al_alloc alloc = {plain_realloc, NULL};

static struct al_node *new_node(void)
{
    struct al_node_config config;
    struct al_node *node = NULL;
    int r;

    al_node_config_init(&config, &alloc);
    config.name = al_str_c("fuzz");
    config.random_seed = 1;
    /* Small limits, so that they are reached. */
    config.payload_max = 4096;
    config.records_max = 64;
    config.dedup_max = 64;
    config.dlq_max = 8;
    config.inbox_max = 64;
    config.policy.retry_max = 2;
    r = al_node_new(&config, &node);
    assert(r == 0 && node);
    return node;
}

/* ---- effects ----------------------------------------------------------------------------- */

static void persist(struct world *world, const struct al_effect *effect, const uint8_t *data)
{
    struct al_record_view *record = &world->records[world->record_count];
    uint8_t *copy = malloc(effect->size ? effect->size : 1);

    assert(copy && world->record_count < WORLD_RECORDS_MAX);
    memcpy(copy, data, effect->size);
    *record = (struct al_record_view){effect->lsn, (uint16_t)effect->record_type,
                                      al_str_of(copy, effect->size)};
    world->record_count++;
    assert(effect->lsn == world->record_count); /* dense */
}

static void remember(struct world *world, struct al_str body)
{
    struct al_msg_deliver *slot = &world->sent[world->sent_count++ % WORLD_SENT_MAX];
    struct al_msg_envelope envelope;
    int r = al_decode_deliver(body, slot);

    assert(r == 0 && al_decode_envelope(slot->envelope, &envelope) == 0);
    /* A volatile message has neither sequence nor lease. */
    assert(slot->attempt >= 1 && (slot->seq > slot->prev_seq || (!slot->seq && !slot->lease)));
    slot->from = slot->label = slot->envelope = al_str_of(NULL, 0); /* views into the effects */
}

/* Who may send what, from the table. */
static bool is_from_node(unsigned type)
{
    enum { C, N, B };

    switch (type) {
#define AL_X(symbol, lower, number, direction, doc) \
    case (number):                                  \
        return (direction) != C;
        AL_MESSAGES(AL_X)
#undef AL_X
    default:
        return false;
    }
}

static bool decodes(const struct al_frame *frame)
{
    switch (frame->type) {
#define AL_X(symbol, lower, number, direction, doc)     \
    case (number): {                                    \
        struct al_msg_##lower m;                        \
        return al_decode_##lower(frame->body, &m) == 0; \
    }
        AL_MESSAGES(AL_X)
#undef AL_X
    default:
        return false;
    }
}

static void check_sent(struct world *world, struct al_str bytes)
{
    while (bytes.n) {
        struct al_frame frame;
        int64_t n = al_frame_next(bytes, AL_FRAME_MAX, &frame);

        assert(n > 0 && is_from_node(frame.type) && decodes(&frame));
        if (frame.type == AL_MSG_DELIVER)
            remember(world, frame.body);
        bytes = al_str_of(bytes.p + n, bytes.n - (size_t)n);
    }
}

static void queue_read(struct world *world, const struct al_effect *effect, const uint8_t *data)
{
    struct world_read *read = &world->reads[world->read_count++];

    assert(world->read_count <= WORLD_READS_MAX && effect->size % 8 == 0);
    read->request = effect->lsn;
    read->count = effect->size / 8;
    assert(read->count && read->count <= sizeof(read->lsns) / 8);
    memcpy(read->lsns, data, effect->size);
}

static void close_conn(struct world *world, uint32_t conn);

static void carry_out(struct world *world)
{
    static const uint8_t issued[] = {1, 0, 0, 0, 'C', 'A'};
    /* A step may follow from an effect (CLOSED), so the list is taken over first. */
    struct al_effects effects = world->effects;

    al_effects_init(&world->effects, &alloc);
    for (size_t i = 0; i < effects.count; i++) {
        const struct al_effect *effect = &effects.list[i];
        const uint8_t *data = effects.data.data + effect->offset;

        assert(effect->offset + effect->size <= effects.data.size || effect->size == 0);
        switch (effect->type) {
        case AL_EFFECT_PERSIST:
            persist(world, effect, data);
            break;
        case AL_EFFECT_SEND:
            assert(effect->conn < WORLD_CONNS && effect->size > 0);
            check_sent(world, al_str_of(data, effect->size));
            break;
        case AL_EFFECT_CLOSE:
            close_conn(world, effect->conn);
            break;
        case AL_EFFECT_READ:
            queue_read(world, effect, data);
            break;
        case AL_EFFECT_ISSUE:
            assert(effect->conn < WORLD_CONNS && effect->record_type < effect->size);
            if (world->open[effect->conn])
                world_step(world, (struct al_event){.type = AL_EVENT_ISSUED,
                                                    .conn = effect->conn,
                                                    .serial = effect->lsn,
                                                    .data = al_str_of(issued, sizeof issued)});
            break;
        case AL_EFFECT_NOTICE:
            assert(*al_node_notice_name(effect->record_type) && effect->conn <= effect->size);
            break;
        }
    }
    al_effects_deinit(&effects);
}

/* ---- events ------------------------------------------------------------------------------ */

void world_step(struct world *world, struct al_event event)
{
    int r;

    event.now = world->now;
    r = al_node_step(world->node, &event, &world->effects);
    assert(r == 0); /* memory never runs out here and what is read back is true */
    assert(event.type != AL_EVENT_BYTES || world->effects.consumed <= event.data.n);
    carry_out(world);
}

static void close_conn(struct world *world, uint32_t conn)
{
    assert(conn < WORLD_CONNS && world->open[conn]);
    world->open[conn] = false;
    world_step(world, (struct al_event){.type = AL_EVENT_CLOSED, .conn = conn});
}

void world_bytes(struct world *world, uint32_t conn, struct al_str bytes)
{
    if (!world->open[conn]) {
        world->open[conn] = true;
        world_step(world, (struct al_event){.type = AL_EVENT_OPEN, .conn = conn, .uid = conn / 2});
    }
    if (world->open[conn] && bytes.n)
        world_step(world, (struct al_event){.type = AL_EVENT_BYTES, .conn = conn, .data = bytes});
}

void world_answer(struct world *world)
{
    struct world_read read;
    struct al_record_view records[256];

    if (!world->read_count)
        return;
    read = world->reads[0];
    world->read_count--;
    memmove(world->reads, world->reads + 1, world->read_count * sizeof(read));
    for (uint32_t i = 0; i < read.count; i++) {
        assert(read.lsns[i] >= 1 && read.lsns[i] <= world->record_count);
        records[i] = world->records[read.lsns[i] - 1];
    }
    world_step(world, (struct al_event){.type = AL_EVENT_READ_DONE,
                                        .request = read.request,
                                        .records = records,
                                        .record_count = read.count});
}

void world_carry(struct world *world, uint32_t first, uint32_t count)
{
    if (first >= world->record_count)
        return;
    if (count > world->record_count - first)
        count = world->record_count - first;
    world_step(world, (struct al_event){.type = AL_EVENT_CARRY,
                                        .records = world->records + first,
                                        .record_count = count});
    /* Nothing that was carried may still be needed where it was, unless it is in the bucket of
     * something newer; the count is allowed to be too large but never below zero. */
    assert(al_node_live_count(world->node, first + 1, first + count) <= world->record_count);
}

/* ---- deaths ------------------------------------------------------------------------------ */

/* Replaces the node by one that was recovered; the states must be equal. */
static void take_over(struct world *world, struct al_node *node)
{
    int r;

    assert(al_node_lsn(node) == al_node_lsn(world->node));
    assert(al_node_state_hash(node) == al_node_state_hash(world->node));
    al_node_free(world->node);
    world->node = node;
    world->read_count = 0;
    memset(world->open, 0, sizeof(world->open));
    world->now.mono_ns = 0; /* another boot */
    r = al_node_start(node, world->now, &world->effects);
    assert(r == 0);
    carry_out(world);
}

static void replay(struct world *world, struct al_node *node, uint64_t behind)
{
    for (uint64_t lsn = behind + 1; lsn <= world->record_count; lsn++) {
        int r = al_node_replay(node, &world->records[lsn - 1]);

        assert(r == 0);
    }
}

void world_restart(struct world *world)
{
    struct al_node *node = new_node();

    replay(world, node, 0);
    take_over(world, node);
}

void world_restart_from_snapshot(struct world *world)
{
    struct al_node *node = new_node();
    struct al_buf items;
    uint64_t lsn = 0;
    size_t at = 0;
    int r = al_node_snapshot_begin(world->node, &lsn);

    assert(r == 0 && lsn <= world->record_count);
    al_buf_init(&items, &alloc);
    /* Between the slices the node goes on: what changes must be written in its old form. */
    while ((r = al_node_snapshot_next(world->node, 64, &items)) == 1) {
        if (world->record_count < WORLD_RECORDS_MAX / 2)
            world_answer(world);
        world->now.mono_ns += AL_NS_PER_MS;
        world_step(world, (struct al_event){.type = AL_EVENT_TICK});
    }
    assert(r == 0);
    while (at < items.size) {
        uint32_t size = al_get32(items.data + at);

        assert(items.size - at - 4 >= size);
        r = al_node_load(node, al_str_of(items.data + at + 4, size));
        assert(r == 0);
        at += 4 + (size_t)size;
    }
    r = al_node_load_done(node, lsn);
    assert(r == 0);
    replay(world, node, lsn);
    al_buf_deinit(&items);
    take_over(world, node);
}

/* ---- the world --------------------------------------------------------------------------- */

void world_init(struct world *world)
{
    int r;

    memset(world, 0, sizeof(*world));
    world->now = (struct al_now){.mono_ns = AL_NS_PER_SEC, .wall_ms = 1700000000000u};
    al_effects_init(&world->effects, &alloc);
    world->node = new_node();
    r = al_node_start(world->node, world->now, &world->effects);
    assert(r == 0);
    carry_out(world);
}

void world_deinit(struct world *world)
{
    al_node_free(world->node);
    al_effects_deinit(&world->effects);
    for (uint32_t i = 0; i < world->record_count; i++) {
        uint8_t *payload;

        memcpy(&payload, &world->records[i].payload.p, sizeof(payload)); /* ours after all */
        free(payload);
    }
}
