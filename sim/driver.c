/* driver.c - the node's process: starts it, feeds it events, carries out its effects, ends it.
 *
 * This mirrors the real runner, with one difference: everything that the runner leaves to threads
 * and the kernel happens here at a time that the seed decides. The rule that it must keep is the
 * gate: bytes of a SEND leave only when every record handed out before is durable. */
#include "base/errors.h"
#include "core/records.h"
#include "ledger.h"
#include "sim.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* Usual time until the process is started again, and the longest one. */
#define RESTART_US     20000u
#define RESTART_MAX_US 1500000u
/* Starts in a row that may bring fewer records than this before the next one waits longer. */
#define VAIN_STARTS      6u
#define PROGRESS_RECORDS 16u

static void restart(struct sim *sim, uint32_t who, uint32_t generation);

/* ---- configuration ----------------------------------------------------------------------- */

static void *core_realloc(void *ctx, void *ptr, size_t old_size, size_t new_size)
{
    struct sim *sim = ctx;

    if (new_size > old_size && sim->alloc_may_fail && sim->faults_on && sim->profile.no_memory &&
        sim_rand_below(&sim->rand, 100000) < sim->profile.no_memory) {
        sim->tally.fault[SIM_FAULT_NO_MEMORY]++;
        sim_note(sim, "an allocation of % bytes fails", new_size, 0, 0);
        return NULL;
    }
    sim->alloc_bytes += new_size - old_size;
    return sim_heap.realloc_fn(NULL, ptr, old_size, new_size);
}

void sim_driver_config(struct sim *sim, struct al_node_config *ret_config)
{
    const struct sim_profile *p = &sim->profile;
    uint64_t seed[2];

    al_node_config_init(ret_config, &sim->core_alloc);
    seed[0] = sim_rand_next(&sim->rand);
    seed[1] = sim_rand_next(&sim->rand);
    memcpy(ret_config->hash_seed, seed, sizeof(seed));
    ret_config->random_seed = sim_rand_next(&sim->rand);
    ret_config->name = al_str_c("sim");
    ret_config->network = al_str_c("sim.net");
    ret_config->payload_max = 65536;
    ret_config->records_max = p->records_max;
    ret_config->records_ttl_ms = p->records_ttl_ms;
    ret_config->dedup_max = p->dedup_max;
    ret_config->dedup_ttl_ms = p->dedup_ttl_ms;
    ret_config->dlq_max = p->dlq_max;
    ret_config->dlq_bytes = p->dlq_bytes;
    ret_config->gap_timeout_ms = p->gap_timeout_ms;
    ret_config->inbox_max = p->inbox_max;
    ret_config->policy = p->policy;
    ret_config->breaker = p->breaker;
    ret_config->plant = sim->options->core_plant;
}

void sim_driver_store_config(struct sim *sim, struct al_store_config *ret_config)
{
    *ret_config = (struct al_store_config){
        .alloc = sim_heap,
        .segment_bytes = sim->profile.segment_bytes,
        .first_segment_bytes = sim->profile.first_segment_bytes,
        .read_bytes = sim->profile.first_segment_bytes / 2,
        .reserve_bytes = sim->profile.reserve_bytes,
        .random_seed = sim_rand_next(&sim->rand),
        .plants = sim->options->store_plants,
    };
    /* Fixed, but for what file keys are drawn from: that differs at every start, as entropy does.
     */
    memset(ret_config->seal.key, SIM_MASTER_KEY, sizeof(ret_config->seal.key));
    al_put64(ret_config->seal.seed, ret_config->random_seed);
    ret_config->seal.has_key = sim->profile.sealed_from != 0;
    ret_config->seal.is_on =
        ret_config->seal.has_key && sim->driver.starts >= sim->profile.sealed_from;
}

/* ---- effects ----------------------------------------------------------------------------- */

static void hold(struct sim_conn *conn, const uint8_t *p, size_t n, uint64_t lsn)
{
    al_buf_put(&conn->held, p, n);
    if (conn->gate_count == conn->gate_cap) {
        conn->gate_cap = conn->gate_cap ? conn->gate_cap * 2 : 16;
        conn->gates = sim_xrealloc(conn->gates, conn->gate_cap * sizeof(*conn->gates));
    }
    conn->gates[conn->gate_count++] = (struct sim_gate){lsn, conn->held.size};
}

static void do_send(struct sim *sim, const struct al_effect *effect)
{
    struct sim_conn *conn = &sim->conns[effect->conn];
    const uint8_t *p = sim->driver.effects.data.data + effect->offset;

    if (effect->conn >= SIM_CONNS || !conn->opened) {
        sim_fail(sim, "the core sends to connection %u, which is not open", effect->conn);
        return;
    }
    sim_tap_down(sim, effect->conn, al_str_of(p, effect->size));
    for (uint32_t i = 0; i + 8 <= effect->size; i += 8)
        sim_trace_mix(&sim->trace, al_get64(p + i));
    hold(conn, p, effect->size, sim->driver.lsn);
}

static void do_persist(struct sim *sim, const struct al_effect *effect)
{
    struct sim_driver *d = &sim->driver;
    struct al_str payload = al_str_of(d->effects.data.data + effect->offset, effect->size);
    int r;

    if (effect->lsn != d->lsn + 1) {
        sim_fail(sim, "record %llu follows record %llu", (unsigned long long)effect->lsn,
                 (unsigned long long)d->lsn);
        return;
    }
    d->lsn = effect->lsn;
    if (effect->record_type == ALI_REC_COMMIT)
        d->commit_lsn = effect->lsn;
    sim_breaker_record(sim, effect->record_type, payload);
    sim_acl_record(sim, effect->record_type, payload);
    sim_tap_record(sim, effect->record_type);
    sim_shadow_add(sim, effect);
    sim_letters_record(sim, effect->record_type, payload);
    sim_lanes_record(sim, effect->record_type, payload);
    sim_kinds_record(sim, effect->record_type, payload);
    sim_identities_record(sim, effect->lsn, effect->record_type, payload);
    sim_note(sim, "  record %, type %, % bytes", effect->lsn, effect->record_type, effect->size);
    r = al_store_append(d->store, effect->lsn, (uint16_t)effect->record_type, payload);
    if (r < 0)
        d->poisoned = r;
}

static void close_now(struct sim *sim, uint32_t n, uint32_t generation)
{
    if (sim->conns[n].generation == generation && sim->conns[n].node_side)
        sim_net_close_by_node(sim, n);
}

void sim_driver_release(struct sim *sim)
{
    uint64_t durable = sim->driver.durable_lsn;

    if (sim->options->driver_plants & SIM_PLANT_EARLY_SEND)
        durable = sim->driver.lsn;
    for (uint32_t n = 0; n < SIM_CONNS; n++) {
        struct sim_conn *conn = &sim->conns[n];
        uint32_t open = 0;
        size_t size;

        while (open < conn->gate_count && conn->gates[open].lsn <= durable)
            open++;
        if (open > 0) {
            size = conn->gates[open - 1].end;
            if (conn->node_side && conn->client_side)
                sim_lossy_down(sim, n, al_str_of(conn->held.data, (uint32_t)size));
            al_buf_drop(&conn->held, size);
            conn->gate_count -= open;
            memmove(conn->gates, conn->gates + open, conn->gate_count * sizeof(*conn->gates));
            for (uint32_t i = 0; i < conn->gate_count; i++)
                conn->gates[i].end -= size;
            sim_net_kick_down(sim, n);
        }
        if (conn->node_side && conn->node_closing && conn->gate_count == 0 &&
            conn->close_lsn <= durable) {
            conn->node_closing = false;
            sim_after(sim, 0, close_now, n, conn->generation);
        }
    }
}

static void carry_out(struct sim *sim)
{
    struct sim_driver *d = &sim->driver;

    for (size_t i = 0; i < d->effects.count && !sim->failed; i++) {
        const struct al_effect *effect = &d->effects.list[i];

        switch (effect->type) {
        case AL_EFFECT_PERSIST:
            do_persist(sim, effect);
            break;
        case AL_EFFECT_SEND:
            do_send(sim, effect);
            break;
        case AL_EFFECT_CLOSE:
            sim->conns[effect->conn].node_closing = true;
            sim->conns[effect->conn].deaf = true;
            sim->conns[effect->conn].close_lsn = d->lsn;
            sim_note(sim, "  the node closes connection %", effect->conn, 0, 0);
            break;
        case AL_EFFECT_READ:
            sim_driver_add_read(sim, effect);
            break;
        case AL_EFFECT_ISSUE:
            sim_identities_issue(
                sim, effect, al_str_of(d->effects.data.data + effect->offset, effect->record_type));
            break;
        case AL_EFFECT_NOTICE:
            sim_breaker_notice(sim, effect);
            sim_letters_notice(sim, effect);
            break;
        }
    }
    sim_tap_step_end(sim);
    sim_identities_check(sim);
    sim_breaker_check(sim);
    sim_letters_check(sim);
}

/* ---- events ------------------------------------------------------------------------------ */

static void tick(struct sim *sim, uint32_t who, uint32_t generation)
{
    struct al_event event = {.type = AL_EVENT_TICK};

    (void)who;
    if (sim->driver.generation != generation || !sim->driver.up)
        return;
    if (sim->mono_ns < sim->driver.tick_at_ns)
        return; /* an earlier one was scheduled and has moved the deadline */
    sim->driver.tick_at_ns = AL_NEVER_NS;
    sim_driver_step(sim, &event);
}

static void plan_tick(struct sim *sim)
{
    struct sim_driver *d = &sim->driver;
    uint64_t at = al_node_deadline_ns(d->node), late;

    if (at == AL_NEVER_NS)
        return;
    if (at < sim->mono_ns)
        at = sim->mono_ns;
    late = sim_rand_below(&sim->rand, sim_chance(sim, 30) ? 20 * AL_NS_PER_MS : 300000);
    at += 1000 + late;
    if (at >= d->tick_at_ns)
        return;
    d->tick_at_ns = at;
    sim_after(sim, at - sim->mono_ns, tick, 0, d->generation);
}

/* An event failed. The runner stops the node then, whatever the reason; here the reason must be a
 * fault. */
static void step_failed(struct sim *sim, const struct al_event *event, int r)
{
    if (r == -AL_E_NOMEM && sim->profile.no_memory)
        sim_driver_crash(sim, false, "the node is out of memory and stops");
    else if ((r == -AL_E_IO || r == -AL_E_POISONED) && event->type == AL_EVENT_READ_DONE &&
             event->status == r)
        sim_driver_crash(sim, false, "a read failed: the node stops");
    else
        sim_fail(sim, "al_node_step says %s to an event of type %d", al_error_name(r), event->type);
}

int sim_driver_step(struct sim *sim, struct al_event *event)
{
    struct sim_driver *d = &sim->driver;
    int r;

    event->now = sim_now(sim);
    sim->step++;
    d->events++;
    sim->alloc_may_fail = true;
    r = al_node_step(d->node, event, &d->effects);
    sim->alloc_may_fail = false;
    if (r < 0) {
        step_failed(sim, event, r);
        return r;
    }
    if (event->type == AL_EVENT_BYTES && d->effects.consumed <= event->data.n)
        sim_tap_up(sim, event->conn, al_str_of(event->data.p, d->effects.consumed));
    carry_out(sim);
    if (d->poisoned) { /* the state has moved on and the journal has not */
        sim_driver_crash(sim, false, "the journal takes no records: the node stops (exit 3)");
        return d->poisoned;
    }
    plan_tick(sim);
    sim_driver_release(sim);
    sim_driver_pump(sim);
    return 0;
}

void sim_driver_open(struct sim *sim, uint32_t n)
{
    struct al_event event = {
        .type = AL_EVENT_OPEN, .conn = n, .uid = sim->clients[sim->conns[n].client].uid};

    sim_identities_open(sim, n, &event);
    sim->conns[n].opened = true;
    sim->conns[n].deaf = false;
    sim_driver_step(sim, &event);
}

void sim_driver_closed(struct sim *sim, uint32_t n)
{
    struct al_event event = {.type = AL_EVENT_CLOSED, .conn = n};
    struct sim_conn *conn = &sim->conns[n];

    al_buf_clear(&conn->in);
    al_buf_clear(&conn->held);
    conn->gate_count = 0;
    conn->node_closing = false;
    if (!conn->opened || !sim->driver.up)
        return;
    sim_note(sim, "the node sees connection % closed", n, 0, 0);
    conn->opened = false;
    sim_tap_closed(sim, n);
    sim_driver_step(sim, &event);
}

/* How much of the bytes to show at once: the core must not care. */
static size_t portion(struct sim *sim, const struct sim_conn *conn)
{
    struct al_frame frame;
    int64_t n;

    if (!sim_chance(sim, 500))
        return conn->in.size;
    n = al_frame_next(al_str_of(conn->in.data, conn->in.size), AL_FRAME_MAX, &frame);
    return n > 0 ? (size_t)n : conn->in.size;
}

void sim_driver_bytes(struct sim *sim, uint32_t n)
{
    struct sim_conn *conn = &sim->conns[n];
    uint32_t generation = conn->generation, process = sim->driver.generation;

    while (conn->in.size > 0 && sim->driver.up && conn->opened && !conn->deaf && !sim->failed) {
        struct al_event event = {.type = AL_EVENT_BYTES, .conn = n};
        size_t before = conn->in.size, shown = portion(sim, conn);

        event.data = al_str_of(conn->in.data, shown);
        sim_driver_step(sim, &event);
        if (sim->driver.generation != process || conn->generation != generation)
            return;
        assert(conn->in.size == before);
        if (sim->driver.effects.consumed > shown)
            sim_fail(sim, "the core consumed more than it was given");
        else
            al_buf_drop(&conn->in, sim->driver.effects.consumed);
        if (sim->driver.effects.consumed == 0 && shown == before)
            return;
    }
    if (conn->deaf)
        al_buf_clear(&conn->in);
}

/* ---- the process ------------------------------------------------------------------------- */

static void release_memory(struct sim *sim)
{
    struct sim_driver *d = &sim->driver;

    if (d->writer)
        al_store_snapshot_abort(d->writer);
    d->writer = NULL;
    if (d->batch && d->batch_flushed) /* the store wants back what it gave out */
        d->batch_flushed = false;
    al_store_close(d->store);
    al_node_free(d->node);
    d->store = NULL;
    d->node = NULL;
    d->batch = NULL;
    for (uint32_t i = 0; i < SIM_READS; i++) {
        if (d->reads[i].used)
            free(d->reads[i].lsns);
        d->reads[i].used = false;
    }
    al_effects_deinit(&d->effects);
    al_effects_init(&d->effects, &sim->core_alloc);
}

/* Starts the process again after about delay_us. When several starts in a row came to nothing (the
 * disk is full, and stays so for a while) there is more and more time between them, as with every
 * supervisor. */
static void plan_restart(struct sim *sim, uint64_t delay_us)
{
    struct sim_driver *d = &sim->driver;

    if (d->durable_lsn >= d->vain_lsn + PROGRESS_RECORDS) {
        d->vain_lsn = d->durable_lsn;
        d->vain_starts = 0;
    }
    if (++d->vain_starts > VAIN_STARTS)
        delay_us <<= d->vain_starts - VAIN_STARTS < 6 ? d->vain_starts - VAIN_STARTS : 6;
    if (delay_us > RESTART_MAX_US)
        delay_us = RESTART_MAX_US;
    sim_after(sim, sim_delay(sim, delay_us), restart, 0, d->generation);
}

void sim_driver_crash(struct sim *sim, bool cut, const char *why)
{
    struct sim_driver *d = &sim->driver;

    sim_note(sim, why, 0, 0, 0);
    sim_note(sim, "the node's process ends; records up to %, durable up to %", d->lsn,
             d->durable_lsn, 0);
    d->generation++;
    d->up = false;
    if (!sim_disk_was_cut(sim->disk)) {
        if (cut)
            sim_disk_power_cut(sim->disk);
        else
            sim_disk_kill(sim->disk);
    }
    release_memory(sim);
    sim_net_node_gone(sim);
    sim_tap_reset(sim);
    plan_restart(sim, sim_chance(sim, 100) ? RESTART_MAX_US : RESTART_US);
}

void sim_driver_stop(struct sim *sim)
{
    struct sim_driver *d = &sim->driver;
    uint64_t lsn;

    if (d->batch) {
        sim_driver_crash(sim, false, "the node is killed while a batch is out");
        return;
    }
    while ((d->batch = al_store_take(d->store, false)) != NULL) {
        int r = al_store_flush(d->store, d->batch);

        if (sim_driver_background_error(sim, r, "flush at the stop: !"))
            return;
        if (r < 0) {
            sim_driver_crash(sim, false, "the journal is poisoned at the stop");
            return;
        }
        al_store_done(d->store, d->batch, &lsn);
        d->batch = NULL;
        d->durable_lsn = lsn;
    }
    sim_note(sim, "the node stops in good order; records up to %", d->durable_lsn, 0, 0);
    sim_driver_release(sim);
    d->generation++;
    d->up = false;
    release_memory(sim);
    sim_net_node_gone(sim);
    sim_tap_reset(sim);
    plan_restart(sim, RESTART_US);
}

/* ---- recovery ---------------------------------------------------------------------------- */

struct recovery {
    struct sim *sim;
    struct al_node *node;
    uint64_t lsn, commit_end; /* commit_end: of the newest commit, the last record */
};

static int on_item(void *ctx, struct al_str item)
{
    return al_node_load(((struct recovery *)ctx)->node, item);
}

static int on_snapshot(void *ctx, uint64_t lsn)
{
    struct recovery *rec = ctx;

    rec->lsn = lsn;
    return al_node_load_done(rec->node, lsn);
}

static int on_record(void *ctx, uint64_t lsn, uint16_t type, struct al_str payload)
{
    struct recovery *rec = ctx;
    struct al_record_view view = {lsn, type, payload};
    struct ali_rec_commit commit;

    if (lsn != rec->lsn + 1) {
        sim_fail(rec->sim, "recovery gives record %llu behind %llu", (unsigned long long)lsn,
                 (unsigned long long)rec->lsn);
        return -AL_E_INVALID;
    }
    rec->lsn = lsn;
    if (type == ALI_REC_COMMIT && ali_decode_rec_commit(payload, &commit) == 0)
        rec->commit_end = lsn + commit.count;
    if (!sim_shadow_is(rec->sim, lsn, type, payload)) {
        sim_fail(rec->sim, "recovery gives record %llu with a content that was never written",
                 (unsigned long long)lsn);
        return -AL_E_INVALID;
    }
    return al_node_replay(rec->node, &view);
}

int sim_recover(struct sim *sim, struct sim_disk *disk, struct al_store_report *ret_report,
                struct al_node **ret_node, struct al_store **ret_store)
{
    struct al_node_config node_config;
    struct al_store_config store_config;
    struct recovery rec = {.sim = sim};
    struct al_store_replay replay = {on_item, on_snapshot, on_record, &rec};
    struct al_disk *handle = sim_disk_attach(disk);
    int r;

    sim_driver_config(sim, &node_config);
    sim_driver_store_config(sim, &store_config);
    r = al_node_new(&node_config, &rec.node);
    if (r < 0) {
        handle->ops->close_disk(handle);
        return r;
    }
    memset(ret_report, 0, sizeof(*ret_report));
    r = al_store_open(&store_config, handle, &replay, ret_report, ret_store);
    if (r < 0) {
        al_node_free(rec.node);
        return r;
    }
    if (!sim->failed && ret_report->last_lsn != rec.lsn)
        sim_fail(sim, "recovery reports last record %llu and gave %llu",
                 (unsigned long long)ret_report->last_lsn, (unsigned long long)rec.lsn);
    sim->driver.half_commit = rec.lsn < rec.commit_end;
    *ret_node = rec.node;
    return 0;
}

/* Recovery failed: decide whether it may, and when to try again. */
static void recovery_failed(struct sim *sim, int r)
{
    struct sim_driver *d = &sim->driver;
    bool cut = sim_disk_was_cut(sim->disk);

    sim_note(sim, "recovery fails: !", (uint64_t)(int64_t)r, 0, 0);
    if (!cut)
        sim_disk_kill(sim->disk);
    if (r == -AL_E_DAMAGED && sim_disk_is_corrupt(sim->disk)) {
        sim_note(sim, "the damage is found; the operator brings the sectors back", 0, 0, 0);
        sim_disk_repair(sim->disk);
    } else if (r == -AL_E_DAMAGED || r == -AL_E_FORMAT || r == -AL_E_LOCKED) {
        sim_fail(sim, "recovery says %s though nothing was damaged: %s", al_error_name(r),
                 d->report.detail);
    } else if (!cut && !sim->faults_on) {
        sim_fail(sim, "recovery says %s without any fault: %s", al_error_name(r), d->report.detail);
    }
    d->generation++;
    plan_restart(sim, RESTART_US);
}

/* The power goes again right after a start, before or after the first batch: what recovery left in
 * the page cache only is lost. */
static void early_cut(struct sim *sim, uint32_t who, uint32_t generation)
{
    (void)who;
    if (sim->driver.generation == generation && sim->driver.up && sim->faults_on)
        sim_driver_crash(sim, true, "the power goes soon after the start");
}

static void restart(struct sim *sim, uint32_t who, uint32_t generation)
{
    struct sim_driver *d = &sim->driver;
    int r;

    (void)who;
    if (d->generation != generation || d->up)
        return;
    sim->alloc_may_fail = sim_chance(sim, 100);
    sim_faults_plan_cut(sim);
    r = sim_recover(sim, sim->disk, &d->report, &d->node, &d->store);
    sim->alloc_may_fail = false;
    if (sim->failed)
        return;
    if (r < 0) {
        recovery_failed(sim, r);
        return;
    }
    sim_note(sim, "recovered: snapshot at %, last record %, % torn bytes", d->report.snapshot_lsn,
             d->report.last_lsn, d->report.torn_bytes);
    if (d->report.last_lsn < d->durable_lsn) {
        sim_fail(sim, "acknowledged records are lost: %llu was durable, recovery ends at %llu",
                 (unsigned long long)d->durable_lsn, (unsigned long long)d->report.last_lsn);
        return;
    }
    sim->tally.reached[SIM_REACHED_COMMIT_TORN] += d->half_commit;
    sim_shadow_truncate(sim, d->report.last_lsn);
    sim_acl_rebuild(sim);
    sim_letters_reset(sim);
    sim_lanes_reset(sim);
    sim_kinds_reset(sim);
    sim_identities_reset(sim);
    d->lsn = d->durable_lsn = d->sealed_lsn = d->report.last_lsn;
    d->commit_lsn = 0;
    d->tick_at_ns = AL_NEVER_NS;
    d->take_scheduled = d->seal_scheduled = d->maintain_scheduled = d->disk_full = false;
    d->clean_scheduled = false;
    d->carry_state = SIM_CARRY_NONE;
    d->poisoned = 0;
    d->starts++;
    r = al_node_start(d->node, sim_now(sim), &d->effects);
    d->up = true;
    if (r < 0) {
        sim_driver_crash(sim, false, "the node does not start for want of memory");
        return;
    }
    if (sim->faults_on && sim->profile.power_cut_ms && sim_chance(sim, 120))
        sim_after(sim, sim_delay(sim, sim_chance(sim, 500) ? 20 : 15000), early_cut, 0,
                  d->generation);
    carry_out(sim);
    plan_tick(sim);
    sim_driver_pump(sim);
}

void sim_driver_start(struct sim *sim)
{
    al_effects_init(&sim->driver.effects, &sim->core_alloc);
    al_buf_init(&sim->driver.scratch, &sim_heap);
    sim->core_alloc = (struct al_alloc){core_realloc, sim};
    sim_after(sim, 0, restart, 0, sim->driver.generation);
}

void sim_driver_free(struct sim *sim)
{
    if (sim->driver.up)
        sim_disk_kill(sim->disk);
    release_memory(sim);
    al_effects_deinit(&sim->driver.effects);
    al_buf_deinit(&sim->driver.scratch);
}
