/* run.c - one seed: setup, safety under faults, liveness without them, the final account. */
#include "base/errors.h"
#include "roles.h"
#include <stdlib.h>
#include <string.h>

#define SAFETY_MAX_NS       (300 * AL_NS_PER_SEC)
#define LIVENESS_MAX_NS     (150 * AL_NS_PER_SEC)
#define LIVENESS_MESSAGE_NS (10 * AL_NS_PER_MS)
#define LIVENESS_STEPS      100000u /* core events that the last phase may take */

static struct sim *current;

const struct sim *sim_run_current(void)
{
    return current;
}

/* ---- faults ------------------------------------------------------------------------------ */

/* Recurring faults: what happens, and how often by the profile. */
typedef void fault_fn(struct sim *sim);

static void fault_power(struct sim *sim)
{
    if (!sim->driver.up)
        return;
    if (sim_chance(sim, 750)) { /* in the midst of disk work */
        sim->cut_planned = true;
        return;
    }
    sim_driver_crash(sim, true, "the power goes");
}

static void fault_kill(struct sim *sim)
{
    if (!sim->driver.up)
        return;
    if (sim_chance(sim, 250)) {
        sim_driver_stop(sim);
        return;
    }
    sim->tally.fault[SIM_FAULT_NODE_KILL]++;
    sim_driver_crash(sim, false, "the node is killed");
}

static void fault_conn(struct sim *sim)
{
    uint32_t n = (uint32_t)sim_rand_below(&sim->rand, SIM_CONNS);

    for (uint32_t i = 0; i < SIM_CONNS; i++) {
        uint32_t at = (n + i) % SIM_CONNS;

        if (sim->conns[at].client_side && sim->conns[at].node_side) {
            sim->tally.fault[SIM_FAULT_CONN_LOST]++;
            sim_net_break(sim, at);
            return;
        }
    }
}

static void fault_client(struct sim *sim)
{
    uint32_t n = (uint32_t)sim_rand_below(&sim->rand, sim->client_count);

    sim->tally.fault[SIM_FAULT_CLIENT_CRASH]++;
    sim_client_crash(sim, &sim->clients[n]);
}

static void fault_wall(struct sim *sim)
{
    static const int64_t reach_ms[] = {50, 3000, 3600 * 1000, 30ll * 3600 * 1000};
    uint64_t how = sim_rand_below(&sim->rand, sim->profile.short_jumps ? 2 : 4);
    int64_t by = (int64_t)sim_rand_below(&sim->rand, (uint64_t)reach_ms[how]);

    if (sim_chance(sim, 500))
        by = -by;
    sim->tally.fault[SIM_FAULT_WALL_JUMP]++;
    sim->wall_shift_ms += by;
    sim_note(sim, by < 0 ? "the wall clock goes back by % ms" : "the wall clock jumps by % ms",
             (uint64_t)(by < 0 ? -by : by), 0, 0);
}

static void repair_action(struct sim *sim, uint32_t who, uint32_t generation)
{
    (void)who;
    (void)generation;
    if (sim_disk_is_corrupt(sim->disk) && sim->driver.up) /* it may have read the damage already */
        sim_driver_crash(sim, false, "the operator stops the node to bring sectors back");
    sim_disk_repair(sim->disk);
}

static void fault_corrupt(struct sim *sim)
{
    static const enum sim_fault kinds[] = {SIM_FAULT_BIT_FLIP, SIM_FAULT_STALE_SECTOR,
                                           SIM_FAULT_MISDIRECTED, SIM_FAULT_ZEROED_SECTOR};
    uint64_t kind = sim_rand_below(&sim->rand, 4);

    if (!sim_disk_corrupt(sim->disk, kinds[kind], true))
        return;
    sim_note(sim, "a sector of the disk is damaged (kind %)", kind, 0, 0);
    sim_after(sim, sim_delay(sim, 400000), repair_action, 0, 0);
}

static void fault_trial(struct sim *sim)
{
    uint64_t what = sim_rand_below(&sim->rand, 3);

    if (what == 0)
        sim_check_copy(sim);
    else
        sim_check_corruption(sim);
}

static void room_again(struct sim *sim, uint32_t who, uint32_t generation)
{
    (void)who;
    (void)generation;
    sim_disk_set_capacity(sim->disk, sim->profile.capacity_bytes);
}

static void fault_full(struct sim *sim)
{
    uint64_t room = sim_rand_below(&sim->rand, 300000);

    sim_note(sim, "somebody else fills the disk but for % bytes", room, 0, 0);
    sim_disk_set_capacity(sim->disk, sim_disk_used(sim->disk) + room);
    sim_after(sim, sim_delay(sim, 400000), room_again, 0, 0);
}

static const struct {
    fault_fn *fn;
    size_t mean; /* offset of the mean in the profile */
} recurring[] = {
    {fault_power, offsetof(struct sim_profile, power_cut_ms)},
    {fault_kill, offsetof(struct sim_profile, kill_ms)},
    {fault_conn, offsetof(struct sim_profile, conn_lost_ms)},
    {fault_client, offsetof(struct sim_profile, client_crash_ms)},
    {fault_wall, offsetof(struct sim_profile, wall_jump_ms)},
    {fault_corrupt, offsetof(struct sim_profile, corrupt_ms)},
    {fault_trial, offsetof(struct sim_profile, trial_ms)},
    {fault_full, offsetof(struct sim_profile, full_ms)},
};

static uint32_t mean_of(const struct sim *sim, uint32_t n)
{
    uint32_t mean;

    memcpy(&mean, (const char *)&sim->profile + recurring[n].mean, sizeof(mean));
    return mean;
}

static void fault_action(struct sim *sim, uint32_t n, uint32_t generation)
{
    (void)generation;
    if (!sim->faults_on)
        return;
    recurring[n].fn(sim);
    sim_after(sim, sim_delay(sim, mean_of(sim, n) * 1000ull), fault_action, n, 0);
}

void sim_faults_plan_cut(struct sim *sim)
{
    if (!sim->cut_planned)
        return;
    sim->cut_planned = false;
    sim_disk_faults(sim->disk)->cut_after = sim_rand_range(&sim->rand, 1, 9);
    sim_disk_faults(sim->disk)->cut_is_kill = sim_chance(sim, 350);
}

static void on_disk(void *ctx, const char *text, const uint64_t arg[3])
{
    sim_note(ctx, text, arg[0], arg[1], arg[2]);
}

/* ---- setup ------------------------------------------------------------------------------- */

/* Clients stand in the order of their roles. */
static enum sim_role role_of(const struct sim_profile *p, uint32_t index)
{
    const uint32_t counts[] = {
        p->producers,  p->consumers,  p->tools,      1, p->enrollers, p->groupers,
        p->schedulers, p->committers, p->historians, 1};
    unsigned role = SIM_PRODUCER;

    while (index >= counts[role])
        index -= counts[role++];
    return (enum sim_role)role;
}

static struct sim *setup(const struct sim_options *options, uint64_t seed)
{
    struct sim *sim = sim_xrealloc(NULL, sizeof(*sim));
    const struct sim_profile *p = &sim->profile;

    memset(sim, 0, sizeof(*sim));
    sim->seed = seed;
    sim->options = options;
    sim_rand_init(&sim->rand, seed);
    sim_trace_init(&sim->trace);
    if (options->live_trace)
        sim->trace.live = stdout;
    sim_profile_draw(sim);
    sim->faults_on = sim->load_on = true;
    sim->ledger = sim_ledger_new();
    sim->disk = sim_disk_new(sim_rand_next(&sim->rand), &sim->tally);
    sim_disk_set_capacity(sim->disk, p->capacity_bytes);
    *sim_disk_faults(sim->disk) = p->disk;
    sim_disk_watch(sim->disk, on_disk, sim);
    sim_disk_on_write(sim->disk, sim_seals_write);
    sim_driver_start(sim);
    sim->client_count = p->producers + p->consumers + p->tools + 1 + p->enrollers + p->groupers +
                        p->schedulers + p->committers + p->historians + 1;
    for (uint32_t i = 0; i < sim->client_count; i++) {
        sim_client_init(sim, i, role_of(p, i));
    }
    for (uint32_t i = 0; i < sizeof(recurring) / sizeof(recurring[0]); i++) {
        if (mean_of(sim, i))
            sim_after(sim, sim_delay(sim, mean_of(sim, i) * 1000ull), fault_action, i, 0);
    }
    return sim;
}

static void teardown(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->client_count; i++)
        sim_client_free(sim, &sim->clients[i]);
    sim_driver_free(sim);
    sim_net_free(sim);
    sim_shadow_free(sim);
    sim_ledger_free(sim->ledger);
    sim_acl_free(sim);
    sim_disk_free(sim->disk);
    free(sim->queue.heap);
    if (sim->alloc_bytes != 0 && !sim->failed)
        sim_fail(sim, "the core leaks %llu bytes", (unsigned long long)sim->alloc_bytes);
}

/* ---- phases ------------------------------------------------------------------------------ */

static bool one_action(struct sim *sim)
{
    struct sim_action action;

    if (sim->failed || !sim_queue_pop(sim, &action))
        return false;
    action.fn(sim, action.who, action.generation);
    return true;
}

static void safety(struct sim *sim)
{
    while (sim->step < sim->profile.steps && sim->mono_ns < SAFETY_MAX_NS && one_action(sim))
        continue;
}

static struct sim_client *first_tool(struct sim *sim)
{
    return &sim->clients[sim->profile.producers + sim->profile.consumers];
}

/* All senders have all answers, and a question sent after that found nothing pending. */
static bool is_idle(struct sim *sim)
{
    bool idle = sim->driver.up;

    for (uint32_t i = 0; i < sim->profile.producers && idle; i++)
        idle = sim_producer_is_idle(sim, &sim->clients[i]);
    if (!idle)
        sim->idle_ns = 0;
    else if (!sim->idle_ns)
        sim->idle_ns = sim->mono_ns;
    return idle && sim_tool_pending(first_tool(sim)) == 0 &&
           sim_tool_asked_ns(first_tool(sim)) > sim->idle_ns;
}

/* Runs until fn is true; false: it did not become true in time. */
static bool run_until(struct sim *sim, bool (*fn)(struct sim *sim), uint64_t limit_ns)
{
    uint64_t end_ns = sim->mono_ns + limit_ns;
    uint64_t end_step = sim->step + LIVENESS_STEPS + 4ull * sim->ledger->message_count;

    while (!fn(sim)) {
        if (sim->mono_ns > end_ns || sim->step > end_step || !one_action(sim))
            return false;
    }
    return true;
}

static bool audit_is_done(struct sim *sim)
{
    return sim_tool_audit_done(first_tool(sim));
}

static struct sim_client *last_grouper(struct sim *sim)
{
    return &sim->clients[sim->client_count - 2 - sim->profile.schedulers - sim->profile.committers -
                         sim->profile.historians];
}

static bool group_audit_is_done(struct sim *sim)
{
    return sim_grouper_audit_done(last_grouper(sim));
}

/* What the groups hold in the end, and what every member got of it. */
static void account_groups(struct sim *sim)
{
    if (!sim->profile.groups || sim->failed)
        return;
    sim_grouper_audit(sim, last_grouper(sim));
    if (!run_until(sim, group_audit_is_done, LIVENESS_MAX_NS) && !sim->failed)
        sim_fail(sim, "the audit's questions about groups are not answered");
    if (!sim->failed)
        sim_group_account(sim);
}

static bool have_fired(struct sim *sim)
{
    return sim_schedules_have_fired(sim);
}

static bool are_gone(struct sim *sim)
{
    return sim_schedules_are_gone(sim);
}

/* Every schedule still fires; then each is removed. */
static void end_schedules(struct sim *sim)
{
    if (!sim->profile.schedulers || sim->failed)
        return;
    if (!run_until(sim, have_fired, LIVENESS_MAX_NS) && !sim->failed)
        sim_fail(sim, "the faults have stopped and a schedule does not fire");
    sim->timers_off = true;
    if (!sim->failed && !run_until(sim, are_gone, LIVENESS_MAX_NS) && !sim->failed)
        sim_fail(sim, "the faults have stopped and a schedule cannot be removed");
}

static struct sim_client *committer(struct sim *sim)
{
    return &sim->clients[sim->client_count - 2 - sim->profile.historians];
}

static bool commits_are_done(struct sim *sim)
{
    return sim_commits_done(committer(sim));
}

/* Every number is asked about once more; then all effects must be there, once. */
static void end_commits(struct sim *sim)
{
    if (!sim->profile.committers || sim->failed)
        return;
    if (!run_until(sim, commits_are_done, LIVENESS_MAX_NS) && !sim->failed)
        sim_fail(sim, "the faults have stopped and numbers sent again have no answer");
    if (!sim->failed)
        sim_commits_account(sim, committer(sim));
}

static bool all_is_replayed(struct sim *sim)
{
    return sim_historian_audit_done(sim, &sim->clients[sim->client_count - 2]);
}

/* All that is kept comes once more. */
static void end_replays(struct sim *sim)
{
    if (!sim->profile.historians || sim->failed)
        return;
    sim_historian_audit(sim, &sim->clients[sim->client_count - 2]);
    if (!run_until(sim, all_is_replayed, LIVENESS_MAX_NS) && !sim->failed)
        sim_fail(sim, "the faults have stopped and what is kept is not replayed");
}

static bool ends_are_known(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->profile.producers; i++) {
        if (sim_producer_open_ends(sim, &sim->clients[i]) > 0)
            return false;
    }
    return true;
}

/* A slow receiver with a credit of one needs its time for each message. */
static uint64_t liveness_limit_ns(const struct sim *sim)
{
    return LIVENESS_MAX_NS + sim->ledger->message_count * LIVENESS_MESSAGE_NS;
}

static void liveness(struct sim *sim)
{
    uint64_t limit_ns = liveness_limit_ns(sim);

    sim->faults_on = sim->load_on = false;
    sim->calm_ns = sim->mono_ns;
    memset(sim_disk_faults(sim->disk), 0, sizeof(struct sim_disk_faults));
    sim_disk_heal(sim->disk);
    sim_disk_repair(sim->disk);
    sim_disk_set_capacity(sim->disk, UINT64_MAX / 2);
    sim->profile.capacity_bytes = UINT64_MAX / 2;
    sim_note(sim, "--- the faults stop ---", 0, 0, 0);
    end_schedules(sim);
    if (!run_until(sim, is_idle, limit_ns) && !sim->failed)
        sim_fail(sim,
                 "the faults have stopped, and after %llu s not everything has ended: node %s, "
                 "%llu pending",
                 (unsigned long long)(limit_ns / AL_NS_PER_SEC), sim->driver.up ? "up" : "down",
                 (unsigned long long)sim_tool_pending(first_tool(sim)));
    if (!sim->failed && !run_until(sim, ends_are_known, LIVENESS_MAX_NS) && !sim->failed)
        sim_fail(sim, "a sender is never told the end of a tracked message");
    end_commits(sim);
    if (sim->failed)
        return;
    sim_tool_audit(sim, first_tool(sim));
    if (!run_until(sim, audit_is_done, LIVENESS_MAX_NS) && !sim->failed)
        sim_fail(sim, "the audit's questions are not answered");
    if (!sim->failed) {
        sim_final_account(sim);
        sim_lossy_account(sim);
        sim_schedule_account(sim);
        if (!sim->failed)
            sim_workflow_account(sim);
    }
    account_groups(sim);
    end_replays(sim);
    if (!sim->failed)
        sim_check_replay(sim);
    if (!sim->failed)
        sim_check_copy(sim);
}

static void report_failure(const struct sim *sim, FILE *out)
{
    fprintf(out, "\nseed %llu FAILED at step %llu: %s\n\n", (unsigned long long)sim->seed,
            (unsigned long long)sim->step, sim->failure);
    sim_trace_print(&sim->trace, out);
    fprintf(out, "\nseed %llu FAILED at step %llu: %s\nagain: al_sim --seed %llu\n",
            (unsigned long long)sim->seed, (unsigned long long)sim->step, sim->failure,
            (unsigned long long)sim->seed);
}

void sim_run_seed(const struct sim_options *options, uint64_t seed, FILE *out,
                  struct sim_result *ret_result)
{
    struct sim *sim = setup(options, seed);

    current = sim;
    safety(sim);
    if (!sim->failed)
        liveness(sim);
    *ret_result = (struct sim_result){.seed = seed,
                                      .events = sim->step,
                                      .starts = sim->driver.starts,
                                      .trace_hash = sim->trace.hash,
                                      .messages = sim->ledger->message_count,
                                      .simulated_ms = sim->mono_ns / AL_NS_PER_MS,
                                      .tally = sim->tally};
    teardown(sim);
    ret_result->failed = sim->failed;
    memcpy(ret_result->failure, sim->failure, sizeof(ret_result->failure));
    if (sim->failed && out)
        report_failure(sim, out);
    current = NULL;
    free(sim);
}
