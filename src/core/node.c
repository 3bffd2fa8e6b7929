/* node.c - the node as a whole: making it, stepping it, its timers. */
#include "core/internal.h"
#include <assert.h>

#define SWEEP_MS       60000u
#define RING_LIMIT_MIN 16u

void al_node_config_init(struct al_node_config *config, const struct al_alloc *alloc)
{
    *config = (struct al_node_config){
        .alloc = *alloc,
        .name = al_str_c("node"),
        .payload_max = AL_PAYLOAD_DEFAULT_MAX,
        .records_max = AL_RECORDS_DEFAULT,
        .records_ttl_ms = AL_RECORDS_TTL_DEFAULT_MS,
        .dedup_max = AL_DEDUP_ENTRIES_DEFAULT,
        .dedup_ttl_ms = AL_DEDUP_TTL_DEFAULT_MS,
        .dlq_max = AL_DLQ_MESSAGES_DEFAULT,
        .dlq_bytes = AL_DLQ_BYTES_DEFAULT,
        .gap_timeout_ms = AL_GAP_TIMEOUT_MS,
        .workflows_max = AL_WORKFLOWS_DEFAULT,
        .workflow_blocks = AL_WORKFLOW_BLOCKS_DEFAULT,
        .workflow_ttl_ms = AL_WORKFLOW_TTL_DEFAULT_MS,
        .inbox_max = AL_INBOX_MESSAGES_MAX,
        .policy = {.ack_timeout_ms = AL_ACK_TIMEOUT_DEFAULT_MS,
                   .retry_base_ms = AL_RETRY_BASE_DEFAULT_MS,
                   .retry_factor = AL_RETRY_FACTOR_DEFAULT,
                   .retry_cap_ms = AL_RETRY_CAP_DEFAULT_MS,
                   .retry_max = AL_RETRY_COUNT_DEFAULT},
        .breaker = {.percent = AL_BREAKER_PERCENT_DEFAULT,
                    .samples = AL_BREAKER_SAMPLES_DEFAULT,
                    .call_timeout_ms = AL_BREAKER_CALL_DEFAULT_MS,
                    .open_ms = AL_BREAKER_OPEN_DEFAULT_MS},
    };
}

static bool config_is_valid(const struct al_node_config *config)
{
    for (uint32_t i = 0; i < config->kind_count; i++) {
        const struct al_kind_policy *kind = &config->kinds[i];

        if (!al_kind_is_valid(kind->kind) || kind->title.n > AL_KIND_TITLE_MAX ||
            !ali_policy_is_valid(&kind->policy) || !ali_breaker_policy_is_valid(&kind->breaker))
            return false;
    }
    return ali_policy_is_valid(&config->policy) && ali_breaker_policy_is_valid(&config->breaker) &&
           config->payload_max >= 1 && config->payload_max <= AL_PAYLOAD_MAX &&
           config->records_max >= RING_LIMIT_MIN && config->dedup_max >= RING_LIMIT_MIN &&
           config->retain.count <= AL_RETAIN_COUNT_MAX &&
           config->retain.bytes <= AL_RETAIN_BYTES_MAX && config->dlq_max >= 1 &&
           config->dlq_bytes >= 1 && config->gap_timeout_ms >= 1 && config->workflows_max >= 1 &&
           config->workflow_blocks >= 1 && config->inbox_max >= 1 && config->name.n <= 255;
}

static void *counted_realloc(void *ctx, void *ptr, size_t old_size, size_t new_size)
{
    struct al_node *node = ctx;
    void *fresh = node->config.alloc.realloc_fn(node->config.alloc.ctx, ptr, old_size, new_size);

    if (fresh || new_size == 0)
        node->state_bytes += new_size - old_size;
    return fresh;
}

static void init_tables(struct al_node *node)
{
    const struct al_alloc *alloc = &node->alloc;
    struct al_index *indexes[] = {&node->agent_names,    &node->agent_ids,    &node->stream_ids,
                                  &node->stream_keys,    &node->producer_ids, &node->track_keys,
                                  &node->mark_keys,      &node->delayed_ids,  &node->letter_ids,
                                  &node->schedule_names, &node->key_places};

    al_pool_init(&node->agents, alloc, sizeof(struct ali_agent), 6);
    al_pool_init(&node->streams, alloc, sizeof(struct ali_stream), 6);
    al_pool_init(&node->producers, alloc, sizeof(struct ali_producer), 6);
    al_pool_init(&node->tracks, alloc, sizeof(struct ali_track), 6);
    al_pool_init(&node->marks, alloc, sizeof(struct ali_mark), 8);
    al_pool_init(&node->delayed, alloc, sizeof(struct ali_delayed), 8);
    al_pool_init(&node->letters, alloc, sizeof(struct ali_letter), 6);
    al_pool_init(&node->schedules, alloc, sizeof(struct ali_schedule), 6);
    al_pool_init(&node->kinds, alloc, sizeof(struct ali_kind), 6);
    al_pool_init(&node->identities, alloc, sizeof(struct ali_identity), 6);
    al_index_init(&node->identity_names, alloc);
    al_pool_init(&node->gaps, alloc, sizeof(struct ali_gap), 6);
    ali_lanes_init(node);
    ali_acl_init(node);
    al_pool_init(&node->groups, alloc, sizeof(struct ali_group), 6);
    al_pool_init(&node->members, alloc, sizeof(struct ali_member), 6);
    al_pool_init(&node->histories, alloc, sizeof(struct ali_history), 6);
    ali_workflows_init(node);
    al_buf_init(&node->v.prepared_kept, alloc);
    al_buf_init(&node->v.keep, alloc);
    for (size_t i = 0; i < sizeof(indexes) / sizeof(indexes[0]); i++)
        al_index_init(indexes[i], alloc);
    al_pool_init(&node->values, alloc, sizeof(struct ali_kv), 6);
    al_pool_init(&node->commits, alloc, sizeof(struct ali_commits), 6);
    al_index_init(&node->value_keys, alloc);
    al_buf_init(&node->v.held.records, alloc);
    al_index_init(&node->v.watch_places, alloc);
    al_index_init(&node->v.snapshot.kept_index, alloc);
    al_pool_init(&node->v.watches, alloc, sizeof(struct ali_waiter), 6);
    al_pool_init(&node->v.reads, alloc, sizeof(struct ali_read), 6);
    al_recent_init(&node->d.ids, alloc, sizeof(struct ali_recent_id), node->config.records_max);
    al_recent_init(&node->d.ended, alloc, sizeof(struct ali_ended), node->config.records_max);
    al_recent_init(&node->d.keys, alloc, sizeof(struct ali_key), node->config.dedup_max);
    al_buf_init(&node->v.scratch, alloc);
    for (unsigned i = 0; i < ALI_PART_COUNT; i++)
        al_buf_init(&node->v.snapshot.early[i], alloc);
}

/* On the wheel a timer is known by its kind and the reference of its object. */
static uint32_t timer_name(enum ali_timer_kind kind, ali_ref owner)
{
    assert(owner < AL_POOL_ENTRIES_MAX);
    return (uint32_t)kind << AL_POOL_REF_BITS | owner;
}

static struct al_timer *timer_at(void *ctx, uint32_t name)
{
    struct al_node *node = ctx;
    ali_ref owner = name & (AL_POOL_ENTRIES_MAX - 1);

    switch ((enum ali_timer_kind)(name >> AL_POOL_REF_BITS)) {
    case ALI_TIMER_SESSION:
        return &ali_agent_at(node, owner)->inbox->v.timer;
    case ALI_TIMER_STREAM:
        return &ali_stream_at(node, owner)->v.flow->timer;
    case ALI_TIMER_MARK:
        return &ali_mark_at(node, owner)->v.timer;
    case ALI_TIMER_DELAYED:
        return &ali_delayed_at(node, owner)->v.timer;
    case ALI_TIMER_BREAKER:
        return &ali_agent_at(node, owner)->inbox->v.breaker->timer;
    case ALI_TIMER_SCHEDULE:
        return &ali_schedule_at(node, owner)->v.timer;
    case ALI_TIMER_HEALTH:
        return &node->v.health.timer;
    case ALI_TIMER_GAP:
        return &ali_gap_at(node, owner)->timer;
    case ALI_TIMER_SWEEP:
        break;
    }
    return &node->v.sweep;
}

int al_node_new(const struct al_node_config *config, struct al_node **ret_node)
{
    struct al_node *node;

    if (!config_is_valid(config))
        return -AL_E_INVALID;
    node = al_alloc_zero(&config->alloc, sizeof(*node));
    if (!node)
        return -AL_E_NOMEM;
    node->config = *config;
    node->alloc = (struct al_alloc){counted_realloc, node};
    node->state_bytes = sizeof(*node);
    init_tables(node);
    node->d.next_agent = node->d.next_stream = node->d.next_identity = 1;
    node->d.next_producer = node->d.next_position = 1;
    node->v.loading = true;
    al_wheel_init(&node->v.wheel, 0, timer_at, node);
    node->v.random = config->random_seed;
    *ret_node = node;
    return 0;
}

static void free_objects(struct al_node *node)
{
    for (uint32_t i = 0; i < node->v.conn_cap; i++)
        if (node->v.conns[i])
            ali_conn_free(node, node->v.conns[i]);
    ali_flows_free(node);
    for (ali_ref ref = 0; ref < node->streams.end; ref++) {
        struct ali_stream *stream;

        if (!al_pool_has(&node->streams, ref))
            continue;
        stream = ali_stream_at(node, ref);
        ali_runs_deinit(&stream->d.runs, &node->alloc);
        al_alloc_free(&node->alloc, stream->d.label, stream->d.label_size);
        ali_trouble_free(node, stream);
    }
    for (ali_ref ref = 0; ref < node->agents.end; ref++)
        if (al_pool_has(&node->agents, ref))
            ali_agent_free(node, ali_agent_at(node, ref));
    for (ali_ref ref = 0; ref < node->tracks.end; ref++)
        if (al_pool_has(&node->tracks, ref))
            ali_holes_free(node, ali_track_at(node, ref));
    for (ali_ref ref = 0; ref < node->groups.end; ref++)
        if (al_pool_has(&node->groups, ref))
            ali_group_free(node, ref);
    for (ali_ref ref = 0; ref < node->histories.end; ref++)
        if (al_pool_has(&node->histories, ref))
            al_buf_deinit(&ali_history_at(node, ref)->d.entries);
}

void al_node_free(struct al_node *node)
{
    struct al_alloc outer;

    if (!node)
        return;
    free_objects(node);
    ali_schedules_free(node);
    struct al_pool *pools[] = {&node->agents,    &node->streams, &node->producers, &node->tracks,
                               &node->marks,     &node->delayed, &node->letters,   &node->kinds,
                               &node->schedules, &node->gaps,    &node->groups,    &node->members};
    struct al_index *indexes[] = {&node->agent_names,    &node->agent_ids,    &node->stream_ids,
                                  &node->stream_keys,    &node->producer_ids, &node->track_keys,
                                  &node->mark_keys,      &node->delayed_ids,  &node->letter_ids,
                                  &node->schedule_names, &node->key_places};
    for (size_t i = 0; i < sizeof(pools) / sizeof(pools[0]); i++)
        al_pool_deinit(pools[i]);
    for (size_t i = 0; i < sizeof(indexes) / sizeof(indexes[0]); i++)
        al_index_deinit(indexes[i]);
    al_recent_deinit(&node->d.ids);
    al_recent_deinit(&node->d.ended);
    al_recent_deinit(&node->d.keys);
    ali_values_deinit(node);
    al_pool_deinit(&node->values);
    al_pool_deinit(&node->lanes);
    al_pool_deinit(&node->commits);
    al_pool_deinit(&node->histories);
    al_pool_deinit(&node->identities);
    al_index_deinit(&node->identity_names);
    ali_workflows_deinit(node);
    ali_acl_deinit(node);
    al_buf_deinit(&node->v.prepared_kept);
    al_buf_deinit(&node->v.keep);
    al_index_deinit(&node->value_keys);
    al_buf_deinit(&node->v.held.records);
    al_pool_deinit(&node->v.watches);
    al_index_deinit(&node->v.watch_places);
    al_node_snapshot_abort(node);
    al_alloc_free(&node->alloc, node->v.conns, node->v.conn_cap * sizeof(*node->v.conns));
    al_alloc_free(&node->alloc, node->v.conn_serials,
                  node->v.conn_cap * sizeof(*node->v.conn_serials));
    al_alloc_free(&node->alloc, node->v.dirty, node->v.dirty_cap * sizeof(*node->v.dirty));
    al_pool_deinit(&node->v.reads);
    al_alloc_free(&node->alloc, node->v.metrics, node->v.metric_cap * sizeof(*node->v.metrics));
    al_alloc_free(&node->alloc, node->v.live, node->v.live_cap * sizeof(*node->v.live));
    al_alloc_free(&node->alloc, node->v.prepared_label, node->v.prepared_size);
    ali_agent_unprepare(node);
    al_alloc_free(&node->alloc, node->v.prepared_envelope, node->v.prepared_envelope_size);
    ali_holes_deinit(node);
    ali_runs_deinit(&node->v.prepared_runs, &node->alloc);
    al_buf_deinit(&node->v.scratch);
    outer = node->config.alloc;
    al_alloc_free(&outer, node, sizeof(*node));
}

uint64_t al_node_lsn(const struct al_node *node)
{
    return node->v.held.active ? node->v.held.next_lsn - 1 : node->d.lsn;
}

uint64_t al_node_epoch(const struct al_node *node)
{
    return node->d.epoch;
}

/* ---- time -------------------------------------------------------------------------------- */

uint32_t ali_random(struct al_node *node, uint32_t below)
{
    uint64_t z = node->v.random += 0x9e3779b97f4a7c15ull; /* splitmix64 */

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    z ^= z >> 31;
    return below ? (uint32_t)((z >> 32) * below >> 32) : 0;
}

void ali_timer_set(struct al_node *node, enum ali_timer_kind kind, ali_ref owner, uint64_t delay_ms)
{
    /* The current millisecond has begun already: one more, so that nothing fires early. */
    al_wheel_add(&node->v.wheel, timer_name(kind, owner), ali_mono_ms(node) + delay_ms + 1);
}

void ali_timer_cancel(struct al_node *node, enum ali_timer_kind kind, ali_ref owner)
{
    al_wheel_cancel(&node->v.wheel, timer_name(kind, owner));
}

uint64_t ali_remaining_ms(const struct al_node *node, uint64_t from_ms, uint64_t until_ms)
{
    uint64_t whole = until_ms > from_ms ? until_ms - from_ms : 0;
    uint64_t now = node->v.now.wall_ms;

    if (now <= from_ms) /* the clock was set back: not longer than the original wait */
        return whole;
    return until_ms > now ? until_ms - now : 0;
}

static int timer_due(struct al_node *node, uint32_t name)
{
    ali_ref owner = name & (AL_POOL_ENTRIES_MAX - 1);

    switch ((enum ali_timer_kind)(name >> AL_POOL_REF_BITS)) {
    case ALI_TIMER_SESSION:
        return ali_session_timer(node, owner);
    case ALI_TIMER_STREAM:
        return ali_stream_timer(node, owner);
    case ALI_TIMER_MARK:
        return ali_mark_timer(node, owner);
    case ALI_TIMER_SCHEDULE:
        return ali_schedule_timer(node, owner);
    case ALI_TIMER_DELAYED:
        return ali_delayed_due(node, owner);
    case ALI_TIMER_BREAKER:
        return ali_breaker_timer(node, owner);
    case ALI_TIMER_HEALTH:
        return ali_health_timer(node);
    case ALI_TIMER_GAP:
        return ali_gap_timer(node, owner);
    case ALI_TIMER_SWEEP:
        break;
    }
    return ali_sweep(node);
}

#define TIMERS_PER_STEP 4096u /* a million that are due at once do not stall the loop */

static int run_timers(struct al_node *node)
{
    uint64_t now_ms = ali_mono_ms(node);

    for (unsigned i = 0; i < TIMERS_PER_STEP; i++) {
        uint32_t name = al_wheel_pop(&node->v.wheel, now_ms);
        int r;

        if (name == AL_TIMER_NONE)
            return 0;
        r = timer_due(node, name);
        if (r < 0)
            return r;
    }
    return 0;
}

uint64_t al_node_deadline_ns(const struct al_node *node)
{
    uint64_t next_ms = al_wheel_next_ms(&node->v.wheel);

    return next_ms == UINT64_MAX ? AL_NEVER_NS : next_ms * AL_NS_PER_MS;
}

/* ---- stepping ---------------------------------------------------------------------------- */

static int handle(struct al_node *node, const struct al_event *event)
{
    struct ali_conn *conn = NULL;

    switch (event->type) {
    case AL_EVENT_TICK:
        return 0;
    case AL_EVENT_OPEN:
        return ali_conn_open(node, event);
    case AL_EVENT_BYTES:
        conn = ali_conn_at(node, event->conn);
        if (conn)
            return ali_conn_bytes(node, conn, event->data, &node->v.effects->consumed);
        node->v.effects->consumed = event->data.n;
        return 0;
    case AL_EVENT_CLOSED:
        return 0; /* al_node_step has seen to it before anything could be sent there */
    case AL_EVENT_READ_DONE:
        return ali_read_done(node, event);
    case AL_EVENT_CARRY:
        return ali_carry(node, event);
    case AL_EVENT_DISK:
        node->v.disk_full = event->disk_full;
        return 0;
    case AL_EVENT_ISSUED:
        return ali_issued(node, event);
    }
    return -AL_E_INVALID;
}

int al_node_step(struct al_node *node, const struct al_event *event, struct al_effects *ret_effects)
{
    int r;

    assert(node->v.started);
    al_effects_clear(ret_effects);
    node->v.effects = ret_effects;
    node->v.now = event->now;
    if (event->type == AL_EVENT_CLOSED)
        ali_conn_closed(node, event->conn);
    r = run_timers(node);
    if (r == 0)
        r = handle(node, event);
    if (r == 0)
        r = ali_acks_flush(node);
    if (r == 0)
        r = ali_pump_dirty(node);
    ali_flows_rest(node);
    if (r == 0 && ret_effects->failed)
        r = -AL_E_NOMEM;
    node->v.effects = NULL;
    return r;
}

static void start_stream(struct al_node *node, ali_ref ref)
{
    struct ali_stream *stream = ali_stream_at(node, ref);
    const struct ali_trouble *trouble = ali_trouble_of(stream);
    struct ali_flow *flow;

    if (!ali_runs_count(&stream->d.runs))
        return;
    flow = ali_flow_get(node, ref);
    if (!flow)
        return;
    node->v.waiting += ali_runs_count(&stream->d.runs) - stream->d.gone_count;
    /* Before the restart any of these may have been given out. */
    flow->seen_seq = AL_PLANT(node, REDELIVERED_UNMARKED) ? 0 : stream->d.runs.next_seq - 1;
    if (trouble->due_ms) {
        flow->is_held = true;
        ali_timer_set(node, ALI_TIMER_STREAM, ref,
                      ali_remaining_ms(node, trouble->attempt_ms, trouble->due_ms));
        return;
    }
    ali_stream_ready(node, ref);
}

static void start_timers(struct al_node *node)
{
    for (ali_ref ref = 0; ref < node->streams.end; ref++)
        if (al_pool_has(&node->streams, ref))
            start_stream(node, ref);
    for (ali_ref ref = 0; ref < node->marks.end; ref++) {
        struct ali_mark *mark = ali_mark_at(node, ref);

        if (al_pool_has(&node->marks, ref) && !mark->d.gone)
            ali_timer_set(node, ALI_TIMER_MARK, ref,
                          ali_remaining_ms(node, mark->d.wall_ms, mark->d.expire_ms));
    }
    for (ali_ref ref = 0; ref < node->delayed.end; ref++) {
        struct ali_delayed *delayed = ali_delayed_at(node, ref);

        if (al_pool_has(&node->delayed, ref))
            ali_timer_set(node, ALI_TIMER_DELAYED, ref,
                          ali_remaining_ms(node, delayed->d.wall_ms, delayed->d.due_ms));
    }
    ali_schedules_start(node);
    ali_timer_set(node, ALI_TIMER_SWEEP, 0, SWEEP_MS);
    (void)ali_health_timer(node);
}

int al_node_start(struct al_node *node, struct al_now now, struct al_effects *ret_effects)
{
    struct ali_rec_epoch record = {.epoch = node->d.epoch + 1, .wall_ms = now.wall_ms};
    int r;

    assert(!node->v.started);
    ali_held_commit_drop(node);
    al_effects_clear(ret_effects);
    node->v.effects = ret_effects;
    node->v.now = now;
    node->v.start_ms = now.wall_ms;
    al_wheel_init(&node->v.wheel, ali_mono_ms(node), timer_at, node);
    r = ali_commit(node, ALI_REC_EPOCH, &record);
    if (r < 0)
        return r;
    node->v.loading = false;
    node->v.started = true;
    ali_lanes_start(node);
    start_timers(node);
    node->v.effects = NULL;
    return ret_effects->failed ? -AL_E_NOMEM : 0;
}
