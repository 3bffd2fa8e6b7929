/* driver_io.c - what the node's process does with its disk: batches, reads, snapshots, carrying.
 *
 * In the real runner these are the flush thread and the worker. Here each is an action at a
 * simulated time, so that everything else can happen before, between and after. */
#include "base/errors.h"
#include "ledger.h"
#include "sim.h"
#include <stdlib.h>
#include <string.h>

#define GATHER_MAX     8192u        /* records of one segment, or of one read */
#define EXPECTED_BYTES (512u << 10) /* by the snapshot none to three times as much is expected */
#define IDLE_SEAL_NS   (100 * AL_NS_PER_MS)

static bool is_current(const struct sim *sim, uint32_t generation)
{
    return sim->driver.generation == generation && sim->driver.up && !sim->failed;
}

bool sim_driver_background_error(struct sim *sim, int r, const char *what)
{
    const char *misuse = sim_disk_misuse(sim->disk);

    if (misuse)
        sim_fail(sim, "the store misuses the disk: %s", misuse);
    if (sim_disk_was_cut(sim->disk)) {
        sim_driver_crash(sim, true,
                         sim_disk_faults(sim->disk)->cut_is_kill
                             ? "the node is killed during disk work"
                             : "the power goes during disk work");
        return true;
    }
    if (r < 0) {
        sim_note(sim, what, (uint64_t)(int64_t)r, 0, 0);
        if (!sim->faults_on && r != -AL_E_BUSY && r != -AL_E_POISONED)
            sim_fail(sim, "a call of the store says %s without any fault", al_error_name(r));
    }
    return false;
}

/* ---- batches ----------------------------------------------------------------------------- */

static void batch_done(struct sim *sim, uint32_t who, uint32_t generation)
{
    struct sim_driver *d = &sim->driver;
    uint64_t lsn = 0;

    (void)who;
    if (!is_current(sim, generation))
        return;
    al_store_done(d->store, d->batch, &lsn);
    d->batch = NULL;
    if (lsn < d->durable_lsn || lsn > d->lsn || lsn != d->batch_lsn) {
        sim_fail(sim, "al_store_done says that %llu is durable; it should be %llu",
                 (unsigned long long)lsn, (unsigned long long)d->batch_lsn);
        return;
    }
    d->sealed_lsn = d->durable_lsn;
    d->durable_lsn = lsn;
    sim_note(sim, "durable up to record %", lsn, 0, 0);
    sim_driver_release(sim);
    sim_driver_pump(sim);
}

static void flush_batch(struct sim *sim, uint32_t who, uint32_t generation)
{
    struct sim_driver *d = &sim->driver;
    uint64_t delay;
    int r;

    (void)who;
    if (!is_current(sim, generation))
        return;
    sim_faults_plan_cut(sim);
    if (d->has_commit && sim->faults_on && sim->profile.power_cut_ms && sim_chance(sim, 250)) {
        sim_disk_faults(sim->disk)->cut_after = 2; /* it is written, and not flushed */
        sim_disk_faults(sim->disk)->cut_is_kill = false;
    }
    r = al_store_flush(d->store, d->batch);
    if (sim_driver_background_error(sim, r, "flush: !"))
        return;
    if (r < 0) {
        sim_driver_crash(sim, false, "the journal is poisoned: the node stops (exit 3)");
        return;
    }
    delay = sim_delay(sim, sim->profile.flush_us);
    if (sim->faults_on && sim_chance(sim, sim->profile.slow_flush)) {
        sim->tally.fault[SIM_FAULT_SLOW_DISK]++;
        delay += sim_rand_below(&sim->rand, 700) * AL_NS_PER_MS;
    }
    sim_after(sim, delay, batch_done, 0, generation);
}

static void take_batch(struct sim *sim, bool seal)
{
    struct sim_driver *d = &sim->driver;

    if (d->batch)
        return;
    d->batch = al_store_take(d->store, seal);
    if (!d->batch) {
        if (al_store_filling(d->store) > 0) /* a snapshot or a segment met a failing disk */
            sim_driver_crash(sim, false, "the journal is poisoned: the node stops (exit 3)");
        return;
    }
    d->has_commit = d->commit_lsn > d->durable_lsn;
    d->batch_lsn = d->lsn;
    sim_after(sim, sim_delay(sim, 30), flush_batch, 0, d->generation);
}

static void take_action(struct sim *sim, uint32_t who, uint32_t generation)
{
    (void)who;
    if (!is_current(sim, generation))
        return;
    sim->driver.take_scheduled = false;
    take_batch(sim, false);
}

static void seal_action(struct sim *sim, uint32_t who, uint32_t generation)
{
    struct sim_driver *d = &sim->driver;

    (void)who;
    if (!is_current(sim, generation))
        return;
    d->seal_scheduled = false;
    if (sim->mono_ns - d->busy_at_ns < IDLE_SEAL_NS || al_store_filling(d->store) > 0)
        sim_driver_pump(sim);
    else
        take_batch(sim, true);
}

/* ---- reads ------------------------------------------------------------------------------- */

struct gather {
    struct sim *sim;
    struct al_buf bytes;
    struct al_record_view views[GATHER_MAX];
    size_t offsets[GATHER_MAX];
    const uint64_t *wanted;
    uint32_t count, want;
};

static int on_read(void *ctx, uint64_t lsn, uint16_t type, struct al_str payload)
{
    struct gather *g = ctx;

    if (g->count >= g->want || lsn != g->wanted[g->count] ||
        !sim_shadow_is(g->sim, lsn, type, payload)) {
        sim_fail(g->sim, "the store reads record %llu wrongly", (unsigned long long)lsn);
        return -AL_E_INVALID;
    }
    g->views[g->count] = (struct al_record_view){lsn, type, {NULL, payload.n}};
    g->offsets[g->count++] = g->bytes.size;
    al_buf_put(&g->bytes, payload.p, payload.n);
    return 0;
}

static void read_action(struct sim *sim, uint32_t who, uint32_t generation)
{
    static struct gather g; /* large; one simulation per process at a time */
    struct sim_driver *d = &sim->driver;
    struct sim_read *read = &d->reads[who];
    struct al_event event = {.type = AL_EVENT_READ_DONE};
    int r;

    if (!is_current(sim, generation))
        return;
    g.sim = sim;
    g.count = 0;
    g.want = read->count;
    g.wanted = read->lsns;
    al_buf_init(&g.bytes, &sim_heap);
    r = al_store_read_cached(d->store, read->lsns, read->count, on_read, &g);
    if (r == -AL_E_NOT_FOUND) {
        if (g.count > 0)
            sim_fail(sim, "al_store_read_cached gave records and said NOT_FOUND");
        r = al_store_read(d->store, read->lsns, read->count, on_read, &g);
    }
    free(read->lsns);
    read->used = false;
    if (sim->failed || sim_driver_background_error(sim, r, "read: !"))
        goto out;
    if (r == -AL_E_DAMAGED) {
        if (!sim_disk_is_corrupt(sim->disk))
            sim_fail(sim, "a read says DAMAGED though nothing was damaged");
        sim_driver_crash(sim, false, "a read finds damage: the node stops (exit 4)");
        sim_disk_repair(sim->disk);
        goto out;
    }
    for (uint32_t i = 0; i < g.count; i++)
        g.views[i].payload.p = g.bytes.data + g.offsets[i];
    event.request = read->request;
    event.status = r;
    event.records = g.views;
    event.record_count = r < 0 ? 0 : g.count;
    sim_note(sim, "records read back for request %: %, !", read->request, event.record_count,
             (uint64_t)(int64_t)r);
    sim_driver_step(sim, &event);
out:
    al_buf_deinit(&g.bytes);
}

void sim_driver_add_read(struct sim *sim, const struct al_effect *effect)
{
    struct sim_driver *d = &sim->driver;
    struct sim_read *read;
    uint32_t n = 0;

    while (n < SIM_READS && d->reads[n].used)
        n++;
    if (n == SIM_READS || effect->size / 8 > GATHER_MAX) {
        sim_fail(sim, "the core has more reads under way than any node may");
        return;
    }
    read = &d->reads[n];
    *read =
        (struct sim_read){true, effect->lsn, sim_xrealloc(NULL, effect->size), effect->size / 8};
    memcpy(read->lsns, d->effects.data.data + effect->offset, effect->size);
    sim_note(sim, "  request %: % records, from record % on", read->request, read->count,
             read->lsns[0]);
    sim_after(sim, sim_delay(sim, sim_chance(sim, 500) ? 5 : 400), read_action, n, d->generation);
}

/* ---- upkeep, snapshots ------------------------------------------------------------------- */

static void tell_space(struct sim *sim)
{
    struct sim_driver *d = &sim->driver;
    struct al_event event = {.type = AL_EVENT_DISK};

    if (!al_store_has_space(d->store) == d->disk_full)
        return;
    event.disk_full = !d->disk_full;
    sim_note(sim, event.disk_full ? "the disk is nearly full" : "the disk has room again", 0, 0, 0);
    d->disk_full = event.disk_full;
    sim_driver_step(sim, &event);
}

static void maintain_action(struct sim *sim, uint32_t who, uint32_t generation)
{
    struct sim_driver *d = &sim->driver;
    int r;

    (void)who;
    if (!is_current(sim, generation))
        return;
    sim_faults_plan_cut(sim);
    r = al_store_maintain(d->store);
    if (sim_driver_background_error(sim, r, "upkeep: !"))
        return;
    d->maintain_scheduled = false;
    tell_space(sim);
    if (!is_current(sim, generation))
        return;
    if (r < 0) { /* try again, but not at once */
        d->maintain_scheduled = true;
        sim_after(sim, sim_delay(sim, 20000), maintain_action, 0, generation);
        return;
    }
    sim_driver_pump(sim);
}

static void commit_snapshot(struct sim *sim, uint32_t who, uint32_t generation)
{
    struct sim_driver *d = &sim->driver;
    int r;

    (void)who;
    if (!is_current(sim, generation))
        return;
    sim_faults_plan_cut(sim);
    r = al_store_snapshot_commit(d->writer);
    if (r != -AL_E_BUSY)
        d->writer = NULL;
    if (sim_driver_background_error(sim, r, "snapshot commit: !"))
        return;
    if (r == -AL_E_BUSY)
        sim_after(sim, sim_delay(sim, 3000), commit_snapshot, 0, generation);
    else if (r == 0) {
        sim_note(sim, "snapshot at % is on disk", d->snapshot_lsn, 0, 0);
        al_store_expect(d->store, d->snapshot_lsn % 4 * (uint64_t)EXPECTED_BYTES);
    }
    sim_driver_pump(sim);
}

static void snapshot_slice(struct sim *sim, uint32_t who, uint32_t generation)
{
    struct sim_driver *d = &sim->driver;
    size_t budget;
    int more, r;

    (void)who;
    if (!is_current(sim, generation))
        return;
    al_buf_clear(&d->scratch);
    budget = (size_t)sim_rand_range(&sim->rand, 32, 8000);
    sim->alloc_may_fail = true;
    more = al_node_snapshot_next(d->node, budget, &d->scratch);
    sim->alloc_may_fail = false;
    if (more < 0) {
        sim_note(sim, "the snapshot is given up: !", (uint64_t)(int64_t)more, 0, 0);
        al_store_snapshot_abort(d->writer);
        d->writer = NULL;
        return;
    }
    sim_faults_plan_cut(sim);
    r = al_store_snapshot_write(d->writer, al_str_of(d->scratch.data, d->scratch.size));
    if (sim_driver_background_error(sim, r, "snapshot write: !"))
        return;
    if (r < 0) {
        if (more == 1)
            al_node_snapshot_abort(d->node);
        al_store_snapshot_abort(d->writer);
        d->writer = NULL;
        return;
    }
    sim_after(sim, sim_delay(sim, 300), more == 1 ? snapshot_slice : commit_snapshot, 0,
              generation);
}

static void begin_snapshot(struct sim *sim)
{
    struct sim_driver *d = &sim->driver;
    int r;

    sim->alloc_may_fail = true;
    r = al_node_snapshot_begin(d->node, &d->snapshot_lsn);
    sim->alloc_may_fail = false;
    if (r < 0) {
        sim_note(sim, "no memory for a snapshot", 0, 0, 0);
        return;
    }
    if (d->snapshot_lsn != d->lsn)
        sim_fail(sim, "a snapshot begins at another record than the newest");
    sim_faults_plan_cut(sim);
    r = al_store_snapshot_begin(d->store, d->snapshot_lsn, &d->writer);
    if (r < 0) {
        d->writer = NULL;
        al_node_snapshot_abort(d->node);
    }
    if (sim_driver_background_error(sim, r, "snapshot begin: !") || r < 0)
        return;
    sim_note(sim, "a snapshot of the state at record % begins", d->snapshot_lsn, 0, 0);
    sim_after(sim, sim_delay(sim, 300), snapshot_slice, 0, d->generation);
}

/* ---- carrying ---------------------------------------------------------------------------- */

static int on_scan(void *ctx, uint64_t lsn, uint16_t type, struct al_str payload)
{
    struct gather *g = ctx;

    if (!sim_shadow_is(g->sim, lsn, type, payload)) {
        sim_fail(g->sim, "the store scans record %llu wrongly", (unsigned long long)lsn);
        return -AL_E_INVALID;
    }
    if (g->count == GATHER_MAX)
        return -AL_E_LIMIT;
    g->views[g->count] = (struct al_record_view){lsn, type, {NULL, payload.n}};
    g->offsets[g->count++] = g->bytes.size;
    al_buf_put(&g->bytes, payload.p, payload.n);
    return 0;
}

/* Gives all records of a closed segment to the core; those that still matter come back as new
 * records. 0, or why the segment cannot be released yet. */
static int carry_segment(struct sim *sim, const struct al_segment_info *segment)
{
    static struct gather g;
    struct sim_driver *d = &sim->driver;
    struct al_event event = {.type = AL_EVENT_CARRY};
    int r;

    g.sim = sim;
    g.count = 0;
    al_buf_init(&g.bytes, &sim_heap);
    r = al_store_scan(d->store, segment->id, on_scan, &g);
    if (sim->failed || sim_driver_background_error(sim, r, "scan: !")) {
        r = -AL_E_CANCELLED;
        goto out;
    }
    if (r == -AL_E_DAMAGED) {
        if (!sim_disk_is_corrupt(sim->disk))
            sim_fail(sim, "a scan says DAMAGED though nothing was damaged");
        sim_driver_crash(sim, false, "a scan finds damage: the node stops (exit 4)");
        sim_disk_repair(sim->disk);
        goto out;
    }
    if (r < 0)
        goto out;
    for (uint32_t i = 0; i < g.count; i++)
        g.views[i].payload.p = g.bytes.data + g.offsets[i];
    event.records = g.views;
    event.record_count = g.count;
    sim_note(sim, "segment % is carried forward: % records", segment->id, g.count, 0);
    r = sim_driver_step(sim, &event);
out:
    al_buf_deinit(&g.bytes);
    return r;
}

/* Few records are alive, or there are many segments and much was written since the last time. */
static bool is_worth_carrying(struct sim *sim, const struct al_segment_info *segment, size_t count)
{
    uint64_t records = segment->last_lsn - segment->first_lsn + 1;
    uint64_t live = al_node_live_count(sim->driver.node, segment->first_lsn, segment->last_lsn);

    return live * 100 <= records * sim->profile.carry_percent ||
           (count > 4 && sim->driver.lsn > sim->driver.carry_lsn + 3 * records);
}

/* What was carried is durable at its new place: the old one can go. */
static void release_carried(struct sim *sim)
{
    struct sim_driver *d = &sim->driver;

    if (d->carry_state != SIM_CARRY_WAITS || d->durable_lsn < d->carry_lsn)
        return;
    sim_note(sim, "segment % is released", d->carry_segment, 0, 0);
    al_store_release(d->store, d->carry_segment);
    d->carry_state = SIM_CARRY_NONE;
}

static void clean_action(struct sim *sim, uint32_t who, uint32_t generation)
{
    struct sim_driver *d = &sim->driver;
    struct al_segment_info list[8];
    size_t count;

    (void)who;
    if (!is_current(sim, generation))
        return;
    d->clean_scheduled = false;
    release_carried(sim);
    count = al_store_segments(d->store, list, 8);
    if (d->carry_state == SIM_CARRY_NONE && count > 0) {
        bool empty = al_node_live_count(d->node, list[0].first_lsn, list[0].last_lsn) == 0;

        if (empty ||
            (is_worth_carrying(sim, &list[0], count) && carry_segment(sim, &list[0]) == 0)) {
            if (!is_current(sim, generation))
                return;
            sim->cut_planned |= sim->faults_on && sim->profile.power_cut_ms && sim_chance(sim, 50);
            d->carry_state = SIM_CARRY_WAITS;
            d->carry_segment = list[0].id;
            d->carry_lsn = d->lsn;
        }
    }
    if (is_current(sim, generation))
        sim_driver_pump(sim);
}

/* ---- what next --------------------------------------------------------------------------- */

void sim_driver_pump(struct sim *sim)
{
    struct sim_driver *d = &sim->driver;

    if (!d->up || sim->failed)
        return;
    if (al_store_filling(d->store) > 0) {
        d->busy_at_ns = sim->mono_ns;
        if (!d->batch && !d->take_scheduled) {
            d->take_scheduled = true;
            sim_after(sim, sim_delay(sim, 20), take_action, 0, d->generation);
        }
    } else if (!d->batch && !d->seal_scheduled && al_store_wants_seal(d->store)) {
        d->seal_scheduled = true;
        sim_after(sim, IDLE_SEAL_NS + 1000, seal_action, 0, d->generation);
    }
    if (!d->maintain_scheduled && al_store_wants_maintain(d->store)) {
        d->maintain_scheduled = true;
        sim_after(sim, sim_delay(sim, 500), maintain_action, 0, d->generation);
    }
    if (!d->clean_scheduled) {
        d->clean_scheduled = true;
        sim_after(sim, sim_delay(sim, 60000), clean_action, 0, d->generation);
    }
    if (!d->writer && al_store_since_snapshot(d->store) > sim->profile.snapshot_bytes &&
        sim->mono_ns >= d->snapshot_after_ns) {
        d->snapshot_after_ns = sim->mono_ns + 20 * AL_NS_PER_MS; /* also when it fails */
        begin_snapshot(sim);
    }
}
