/* check.c - the shadow journal, and nodes that are recovered from copies of the disk.
 *
 * The shadow journal keeps every record that the core handed out, as long as it may still count.
 * Whatever the store gives back is compared with it. A second node that recovers from a copy of the
 * disk and is given the rest of the shadow journal must have the state of the live one; so must a
 * third that has seen nothing but the shadow journal from the first record on. */
#include "base/errors.h"
#include "ledger.h"
#include "sim.h"
#include <stdlib.h>
#include <string.h>

/* ---- shadow journal ---------------------------------------------------------------------- */

void sim_shadow_add(struct sim *sim, const struct al_effect *effect)
{
    struct sim_shadow *shadow = &sim->shadow;

    if (!shadow->bytes.alloc)
        al_buf_init(&shadow->bytes, &sim_heap);
    if (shadow->count == shadow->cap) {
        shadow->cap = shadow->cap ? shadow->cap * 2 : 1024;
        shadow->list = sim_xrealloc(shadow->list, shadow->cap * sizeof(*shadow->list));
    }
    shadow->list[shadow->count++] =
        (struct sim_record){effect->record_type, effect->size, shadow->bytes.size};
    al_buf_put(&shadow->bytes, sim->driver.effects.data.data + effect->offset, effect->size);
    if (shadow->count != effect->lsn)
        sim_fail(sim, "the first record of this start has LSN %llu; %llu records are known",
                 (unsigned long long)effect->lsn, (unsigned long long)shadow->count);
}

void sim_shadow_truncate(struct sim *sim, uint64_t last_lsn)
{
    struct sim_shadow *shadow = &sim->shadow;

    if (last_lsn >= shadow->count)
        return;
    shadow->bytes.size = shadow->list[last_lsn].offset;
    shadow->count = (size_t)last_lsn;
}

static struct al_record_view shadow_view(const struct sim *sim, uint64_t lsn)
{
    const struct sim_record *record = &sim->shadow.list[lsn - 1];

    return (struct al_record_view){
        lsn, (uint16_t)record->type,
        al_str_of(sim->shadow.bytes.data + record->offset, record->size)};
}

bool sim_shadow_is(const struct sim *sim, uint64_t lsn, uint16_t type, struct al_str payload)
{
    struct al_record_view view;

    if (lsn == 0 || lsn > sim->shadow.count)
        return false;
    view = shadow_view(sim, lsn);
    return view.type == type && al_str_eq(view.payload, payload);
}

void sim_shadow_free(struct sim *sim)
{
    free(sim->shadow.list);
    if (sim->shadow.bytes.alloc)
        al_buf_deinit(&sim->shadow.bytes);
}

/* ---- replay ------------------------------------------------------------------------------ */

/* Gives node the records first … last of the shadow journal. */
static bool replay_shadow(struct sim *sim, struct al_node *node, uint64_t first, uint64_t last)
{
    for (uint64_t lsn = first; lsn <= last; lsn++) {
        struct al_record_view view = shadow_view(sim, lsn);
        int r = al_node_replay(node, &view);

        if (r < 0) {
            sim_fail(sim, "replay of record %llu says %s", (unsigned long long)lsn,
                     al_error_name(r));
            return false;
        }
    }
    return true;
}

void sim_check_replay(struct sim *sim)
{
    struct al_node_config config;
    struct al_node *node;

    if (!sim->driver.up)
        return;
    sim_driver_config(sim, &config);
    if (al_node_new(&config, &node) < 0) {
        sim_fail(sim, "al_node_new fails");
        return;
    }
    sim_note(sim, "check: pure replay of % records", sim->shadow.count, 0, 0);
    if (replay_shadow(sim, node, 1, sim->shadow.count) &&
        al_node_state_hash(node) != al_node_state_hash(sim->driver.node))
        sim_fail(sim, "pure replay of %llu records gives another state than the live node has",
                 (unsigned long long)sim->shadow.count);
    al_node_free(node);
}

void sim_check_copy(struct sim *sim)
{
    static struct sim_tally nobody_reads_this;
    bool cut = sim_chance(sim, 500);
    struct sim_disk *copy =
        sim_disk_clone(sim->disk, sim_rand_next(&sim->rand), cut, &nobody_reads_this);
    struct al_store_report report;
    struct al_node *node = NULL;
    struct al_store *store = NULL;
    int r;

    if (!sim->driver.up || sim_disk_is_corrupt(sim->disk)) {
        sim_disk_free(copy);
        return;
    }
    sim_note(sim,
             cut ? "check: recovery of a copy as after a power cut"
                 : "check: recovery of a copy as after a kill",
             0, 0, 0);
    r = sim_recover(sim, copy, &report, &node, &store);
    if (r < 0) {
        sim_fail(sim, "recovery of an undamaged copy says %s: %s", al_error_name(r), report.detail);
    } else if (report.last_lsn < sim->driver.durable_lsn) {
        sim_fail(sim, "a copy recovers up to %llu; %llu is durable",
                 (unsigned long long)report.last_lsn, (unsigned long long)sim->driver.durable_lsn);
    } else if (replay_shadow(sim, node, report.last_lsn + 1, sim->shadow.count) &&
               al_node_state_hash(node) != al_node_state_hash(sim->driver.node)) {
        sim_fail(sim,
                 "snapshot at %llu and records behind it give another state than the live node "
                 "has at %llu",
                 (unsigned long long)report.snapshot_lsn, (unsigned long long)sim->driver.lsn);
    }
    al_store_close(store);
    al_node_free(node);
    sim_disk_free(copy);
}

/* ---- corruption trials ------------------------------------------------------------------- */

static int on_any(void *ctx, uint64_t lsn, uint16_t type, struct al_str payload)
{
    struct sim *sim = ctx;

    if (!sim_shadow_is(sim, lsn, type, payload)) {
        sim_fail(sim, "a damaged copy gives record %llu with a wrong content",
                 (unsigned long long)lsn);
        return -AL_E_INVALID;
    }
    return 0;
}

/* What the damaged copy still says it has must be right. */
static void read_everything(struct sim *sim, struct al_store *store, uint64_t last)
{
    for (uint64_t lsn = 1; lsn <= last && !sim->failed; lsn++) {
        int r = al_store_read(store, &lsn, 1, on_any, sim);

        if (r < 0 && r != -AL_E_NOT_FOUND && r != -AL_E_DAMAGED && r != -AL_E_IO)
            sim_fail(sim, "a read from a damaged copy says %s", al_error_name(r));
    }
}

static void judge_recovered(struct sim *sim, bool is_lost, const struct al_store_report *report,
                            struct al_node *node, struct al_store *store)
{
    /* Damage in the newest batch cannot be told from a torn tail: documented. Everything before it
     * can, and a file that is gone. */
    uint64_t known = is_lost ? sim->driver.durable_lsn : sim->driver.sealed_lsn;

    if (report->last_lsn < known) {
        sim_fail(sim,
                 "damage hides: everything up to %llu was known to be durable, recovery of the "
                 "damaged copy ends at %llu and says nothing",
                 (unsigned long long)known, (unsigned long long)report->last_lsn);
        return;
    }
    read_everything(sim, store, report->last_lsn);
    if (sim->failed || !replay_shadow(sim, node, report->last_lsn + 1, sim->shadow.count))
        return;
    if (al_node_state_hash(node) != al_node_state_hash(sim->driver.node))
        sim_fail(sim, "a damaged copy recovers into a wrong state and says nothing");
}

void sim_check_corruption(struct sim *sim)
{
    static const enum sim_fault kinds[] = {SIM_FAULT_BIT_FLIP, SIM_FAULT_STALE_SECTOR,
                                           SIM_FAULT_MISDIRECTED, SIM_FAULT_ZEROED_SECTOR};
    struct sim_disk *copy =
        sim_disk_clone(sim->disk, sim_rand_next(&sim->rand), false, &sim->tally);
    uint64_t wounds = sim_rand_skewed(&sim->rand, 4), hash;
    struct al_store_report report;
    struct al_node *node = NULL;
    struct al_store *store = NULL;
    char what[96];
    bool is_lost;
    int r;

    if (!sim->driver.up || sim_disk_is_corrupt(sim->disk)) {
        sim_disk_free(copy);
        return;
    }
    is_lost = sim_chance(sim, 200) && sim_disk_lose_newest(copy, what);
    for (uint64_t i = 0; i < wounds && !is_lost; i++) {
        uint64_t kind = sim_rand_below(&sim->rand, 4);

        sim_disk_corrupt(copy, kinds[kind], false);
    }
    if (!is_lost)
        sim_disk_last_corruption(copy, what);
    hash = sim_disk_hash(copy);
    r = sim_recover(sim, copy, &report, &node, &store);
    sim_note(sim,
             is_lost ? "check: a copy without its newest journal file: !"
                     : "check: a copy with damaged sectors: !, % of them",
             (uint64_t)(int64_t)r, wounds, 0);
    if (sim->options->live_trace)
        printf("       damaged: %s; %s\n", what, report.detail);
    if (r == 0)
        judge_recovered(sim, is_lost, &report, node, store);
    else if (r != -AL_E_DAMAGED && r != -AL_E_FORMAT)
        sim_fail(sim, "recovery of a damaged copy says %s (%s)", al_error_name(r), what);
    else if (sim_disk_hash(copy) != hash)
        sim_fail(sim, "recovery found damage and changed the disk");
    else if (report.detail[0] == 0)
        sim_fail(sim, "recovery found damage and does not say where");
    al_store_close(store);
    al_node_free(node);
    sim_disk_free(copy);
}
