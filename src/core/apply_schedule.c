/* apply_schedule.c - records that make and remove schedules.
 *
 * A firing has no record of its own: it is the PUBLISH record of its message, whose producer
 * sequence is the wall clock of the firing. So a message and the fact that it was sent are durable
 * together, and no crash can make a schedule fire twice or leave a message out. */
#include "core/cron.h"
#include "core/internal.h"
#include <assert.h>

struct key {
    const struct al_node *node;
    struct al_str name;
};

static bool name_is(const void *ctx, uint32_t ref)
{
    const struct key *key = ctx;
    const struct ali_schedule *schedule = ali_schedule_at(key->node, ref);

    return al_str_eq(al_str_of(schedule->d.name, schedule->d.name_size), key->name);
}

ali_ref ali_find_schedule(const struct al_node *node, struct al_str name)
{
    struct key key = {node, name};

    return al_index_find(&node->schedule_names, ali_hash_name(node, name), name_is, &key);
}

bool ali_schedule_uses(const struct al_node *node, ali_ref agent)
{
    for (ali_ref ref = 0; ref < node->schedules.end; ref++) {
        const struct ali_stream *stream;

        if (!al_pool_has(&node->schedules, ref))
            continue;
        stream = ali_stream_at(node, ali_schedule_at(node, ref)->d.stream);
        if (stream->d.from == agent || stream->d.to == agent)
            return true;
    }
    return false;
}

static void free_envelope(struct al_node *node, struct ali_schedule *schedule)
{
    al_alloc_free(&node->alloc, schedule->d.envelope, schedule->d.envelope_size);
}

void ali_schedules_free(struct al_node *node)
{
    for (ali_ref ref = 0; ref < node->schedules.end; ref++)
        if (al_pool_has(&node->schedules, ref))
            free_envelope(node, ali_schedule_at(node, ref));
}

/* Room for the schedule itself; its envelope is copied already, where it may fail. */
static int reserve(struct al_node *node, const struct ali_rec_schedule_set *r)
{
    struct ali_cron cron;
    struct al_msg_envelope envelope;
    int e;

    if (!r->name.n || r->name.n > AL_NAME_MAX || r->text.n > AL_SCHEDULE_TEXT_MAX ||
        ali_cron_read(r->text, &cron) < 0 || al_decode_envelope(r->envelope, &envelope) < 0 ||
        ali_find_stream(node, r->stream) == AL_REF_NONE)
        return -AL_E_DAMAGED;
    e = al_pool_reserve(&node->schedules, 1);
    if (e == 0)
        e = al_index_reserve(&node->schedule_names, 1);
    if (e < 0)
        return e;
    al_alloc_free(&node->alloc, node->v.prepared_envelope, node->v.prepared_envelope_size);
    node->v.prepared_envelope = al_alloc_new(&node->alloc, r->envelope.n);
    node->v.prepared_envelope_size = node->v.prepared_envelope ? r->envelope.n : 0;
    return node->v.prepared_envelope ? 0 : -AL_E_NOMEM;
}

static void add(struct al_node *node, const struct ali_rec_schedule_set *r)
{
    ali_ref ref = al_pool_take(&node->schedules);
    struct ali_schedule *schedule = ali_schedule_at(node, ref);
    ali_ref stream = ali_find_stream(node, r->stream);

    ali_fresh(node, &schedule->object);
    schedule->d.name_size = (uint8_t)r->name.n;
    memcpy(schedule->d.name, r->name.p, r->name.n);
    schedule->d.text_size = (uint8_t)r->text.n;
    memcpy(schedule->d.text, r->text.p, r->text.n);
    schedule->d.stream = stream;
    schedule->d.producer = r->producer;
    schedule->d.uid = r->uid;
    schedule->d.wall_ms = r->wall_ms;
    schedule->d.until_ms = r->until_ms;
    schedule->d.ttl_ms = r->ttl_ms;
    schedule->d.of_kind = ali_ext_get_u32(r->ext, ALI_SCHEDULE_EXT_OF_KIND);
    memcpy(node->v.prepared_envelope, r->envelope.p, r->envelope.n);
    schedule->d.envelope = node->v.prepared_envelope;
    schedule->d.envelope_size = r->envelope.n;
    node->v.prepared_envelope = NULL;
    node->v.prepared_envelope_size = 0;
    al_index_add(&node->schedule_names, ali_hash_name(node, r->name), ref);
    ali_stream_at(node, stream)->d.letter_count++; /* the stream stays while it is wanted */
}

int ali_schedule_load(struct al_node *node, const struct ali_rec_schedule_set *r)
{
    int e = ali_find_schedule(node, r->name) != AL_REF_NONE ||
                    ali_find_producer(node, r->producer) == AL_REF_NONE
                ? -AL_E_DAMAGED
                : reserve(node, r);

    if (e == 0)
        add(node, r);
    return e;
}

static struct ali_rec_producer_open producer_of(const struct ali_rec_schedule_set *r)
{
    return (struct ali_rec_producer_open){
        .producer = r->producer, .epoch = ALI_OWN_EPOCH, .uid = r->uid, .wall_ms = r->wall_ms};
}

int ali_prepare_schedule_set(struct al_node *node, const struct ali_rec_schedule_set *r)
{
    struct ali_rec_producer_open open = producer_of(r);
    int e = ali_prepare_producer_open(node, &open);

    return e < 0 ? e : reserve(node, r);
}

void ali_apply_schedule_set(struct al_node *node, uint64_t lsn,
                            const struct ali_rec_schedule_set *r)
{
    struct ali_rec_schedule_remove old = {.name = r->name};
    struct ali_rec_producer_open open = producer_of(r);

    if (ali_find_schedule(node, r->name) != AL_REF_NONE)
        ali_apply_schedule_remove(node, lsn, &old);
    ali_apply_producer_open(node, lsn, &open);
    add(node, r);
}

int ali_prepare_schedule_remove(struct al_node *node, const struct ali_rec_schedule_remove *r)
{
    return ali_find_schedule(node, r->name) == AL_REF_NONE ? -AL_E_DAMAGED : 0;
}

void ali_apply_schedule_remove(struct al_node *node, uint64_t lsn,
                               const struct ali_rec_schedule_remove *r)
{
    ali_ref ref = ali_find_schedule(node, r->name);
    struct ali_schedule *schedule = ali_schedule_at(node, ref);
    struct ali_rec_producer_close close = {.producer = schedule->d.producer};

    if (AL_PLANT(node, SCHEDULE_STAYS) && !node->v.started)
        return;
    ali_touch(node, ALI_PART_SCHEDULE, ref, &schedule->object);
    ali_timer_cancel(node, ALI_TIMER_SCHEDULE, ref);
    ali_apply_producer_close(node, lsn, &close);
    ali_stream_at(node, schedule->d.stream)->d.letter_count--;
    al_index_remove(&node->schedule_names, ali_hash_name(node, r->name), ref);
    free_envelope(node, schedule);
    al_pool_put(&node->schedules, ref);
}
