/* world.c - clock, queue of actions, random profile, notes and failures. */
#include "sim.h"
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static void *heap_realloc(void *ctx, void *ptr, size_t old_size, size_t new_size)
{
    (void)ctx;
    (void)old_size;
    if (new_size == 0) {
        free(ptr);
        return NULL;
    }
    return sim_xrealloc(ptr, new_size);
}

const struct al_alloc sim_heap = {heap_realloc, NULL};

/* ---- queue ------------------------------------------------------------------------------- */

static bool is_before(const struct sim_action *a, const struct sim_action *b)
{
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->order < b->order;
}

void sim_after(struct sim *sim, uint64_t delay_ns, sim_action_fn *fn, uint32_t who,
               uint32_t generation)
{
    struct sim_queue *queue = &sim->queue;
    struct sim_action action = {sim->mono_ns + delay_ns, queue->order++, fn, who, generation};
    uint32_t at = queue->count++;

    if (queue->count > queue->cap) {
        queue->cap = queue->cap ? queue->cap * 2 : 256;
        queue->heap = sim_xrealloc(queue->heap, queue->cap * sizeof(*queue->heap));
    }
    while (at > 0 && is_before(&action, &queue->heap[(at - 1) / 2])) {
        queue->heap[at] = queue->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    queue->heap[at] = action;
}

bool sim_queue_pop(struct sim *sim, struct sim_action *ret_action)
{
    struct sim_queue *queue = &sim->queue;
    struct sim_action last;
    uint32_t at = 0;

    if (queue->count == 0)
        return false;
    *ret_action = queue->heap[0];
    last = queue->heap[--queue->count];
    for (;;) {
        uint32_t child = 2 * at + 1;

        if (child >= queue->count)
            break;
        if (child + 1 < queue->count && is_before(&queue->heap[child + 1], &queue->heap[child]))
            child++;
        if (!is_before(&queue->heap[child], &last))
            break;
        queue->heap[at] = queue->heap[child];
        at = child;
    }
    queue->heap[at] = last;
    sim->mono_ns = ret_action->at_ns;
    return true;
}

/* ---- small things ------------------------------------------------------------------------ */

uint64_t sim_delay(struct sim *sim, uint64_t mean_us)
{
    uint64_t ns = mean_us * 1000 / 2;

    ns += sim_rand_below(&sim->rand, mean_us * 1000 + 1);
    if (sim_rand_below(&sim->rand, 50) == 0)
        ns *= 10;
    return ns;
}

void sim_note(struct sim *sim, const char *text, uint64_t a, uint64_t b, uint64_t c)
{
    struct sim_trace_line line = {sim->mono_ns, sim->step, text, {a, b, c}};

    sim_trace_add(&sim->trace, &line);
}

void sim_fail(struct sim *sim, const char *format, ...)
{
    va_list args;

    if (sim->failed)
        return;
    sim->failed = true;
    va_start(args, format);
    vsnprintf(sim->failure, sizeof(sim->failure), format, args);
    va_end(args);
    sim_note(sim, "*** the check fails here ***", 0, 0, 0);
}

struct al_now sim_now(const struct sim *sim)
{
    int64_t wall = (int64_t)(SIM_WALL_START + sim->mono_ns / AL_NS_PER_MS) + sim->wall_shift_ms;

    return (struct al_now){sim->mono_ns, (uint64_t)wall};
}

bool sim_chance(struct sim *sim, uint32_t permille)
{
    return permille > 0 && sim_rand_permille(&sim->rand, permille);
}

void sim_agent_name(uint32_t agent, char ret_name[16])
{
    /* Two of them live in a namespace of their own, and one of the groups. */
    if (agent < SIM_AGENTS)
        snprintf(ret_name, 16, agent % 4 == 3 ? "lab/a%u" : "a%u", (unsigned)agent % 100);
    else
        snprintf(ret_name, 16, agent == SIM_AGENTS + 1 ? "group:lab/g%u" : "group:g%u",
                 (unsigned)(agent - SIM_AGENTS) % 10);
}

uint32_t sim_agent_find(struct al_str name)
{
    char text[16];

    for (uint32_t i = 0; i <= SIM_GROUP_TEMP; i++) {
        sim_agent_name(i, text);
        if (al_str_eq(al_str_c(text), name))
            return i;
    }
    return SIM_NONE;
}

/* ---- profile ----------------------------------------------------------------------------- */

/* One of the values, or 0 with the given chance. */
static uint32_t pick(struct sim *sim, uint32_t none_permille, uint32_t lo, uint32_t hi)
{
    if (sim_rand_permille(&sim->rand, none_permille))
        return 0;
    return (uint32_t)sim_rand_range(&sim->rand, lo, hi);
}

static void draw_node(struct sim *sim, struct sim_profile *p)
{
    p->segment_bytes = 65536u << sim_rand_below(&sim->rand, 3);
    p->first_segment_bytes = 16384u << sim_rand_below(&sim->rand, 3);
    p->snapshot_bytes = pick(sim, 0, 20000, 200000);
    p->carry_percent = pick(sim, 0, 5, 60);
    p->reserve_bytes = 65536;
    p->policy.ack_timeout_ms = pick(sim, 0, 50, 600);
    p->policy.retry_base_ms = pick(sim, 0, 5, 60);
    p->policy.retry_factor = pick(sim, 0, 1, 3);
    p->policy.retry_cap_ms = p->policy.retry_base_ms * pick(sim, 0, 1, 8);
    p->policy.retry_max = pick(sim, 100, 1, 4);
    p->records_max = pick(sim, 0, 1, 4) == 1 ? 64 : 4096;
    p->records_ttl_ms = pick(sim, 0, 1, 3) == 1 ? 2000 : 3600000;
    p->dedup_max = pick(sim, 0, 1, 5) == 1 ? 16 : 4096;
    p->dedup_ttl_ms = pick(sim, 0, 1, 3) == 1 ? 4000 : 24ull * 3600 * 1000;
    p->dlq_max = pick(sim, 0, 1, 4) == 1 ? 8 : 10000;
    p->inbox_max = pick(sim, 0, 1, 4) == 1 ? 20 : 100000;
}

static void draw_load(struct sim *sim, struct sim_profile *p)
{
    p->agents = pick(sim, 0, 2, SIM_AGENTS);
    p->producers = pick(sim, 0, 2, 5);
    p->consumers = p->agents + pick(sim, 300, 1, 3);
    p->tools = pick(sim, 0, 1, 2);
    p->payload_max = pick(sim, 0, 1, 4) == 1 ? 6000 : 400;
    p->publish_gap_us = pick(sim, 0, 200, 12000);
    p->window = pick(sim, 0, 1, 64);
    p->keyed = pick(sim, 200, 50, 600);
    p->notify = pick(sim, 200, 50, 900);
    p->ttl = pick(sim, 300, 10, 200);
    p->due = pick(sim, 300, 10, 150);
    p->volatile_ = pick(sim, 400, 10, 100);
    p->priorities = pick(sim, 0, 1, 3);
    p->labels = pick(sim, 0, 1, 4);
    p->ack_fail = pick(sim, 200, 5, 60);
    p->nack = pick(sim, 200, 10, 200);
    p->slow_handler = pick(sim, 200, 5, 60);
    p->late_ack = pick(sim, 0, 100, 900);
    p->extend = pick(sim, 0, 100, 900);
    p->no_processed = pick(sim, 500, 100, 900);
    p->parts = pick(sim, 400, 50, 700);
}

static void draw_faults(struct sim *sim, struct sim_profile *p)
{
    p->power_cut_ms = pick(sim, 150, 300, 4000);
    p->kill_ms = pick(sim, 300, 500, 6000);
    p->conn_lost_ms = pick(sim, 150, 80, 1500);
    p->client_crash_ms = pick(sim, 250, 200, 3000);
    p->wall_jump_ms = pick(sim, 500, 200, 3000);
    p->corrupt_ms = pick(sim, 600, 500, 4000);
    p->trial_ms = pick(sim, 300, 400, 2500);
    p->stall_ms = pick(sim, 500, 300, 3000);
    p->full_ms = pick(sim, 600, 500, 4000);
    p->no_memory = pick(sim, 600, 1, 60);
    p->duplicate_frame = pick(sim, 300, 5, 60);
    p->garbage_frame = pick(sim, 300, 20, 300);
    p->disk.write_permille = pick(sim, 600, 5, 100);
    p->disk.flush_permille = pick(sim, 600, 5, 200);
    p->disk.read_permille = pick(sim, 700, 5, 100);
    p->disk.name_permille = pick(sim, 700, 20, 400);
    p->disk.full_permille = pick(sim, 700, 5, 50);
    p->disk.persistent = sim_rand_permille(&sim->rand, 300);
    p->flush_us = pick(sim, 0, 50, 3000);
    p->slow_flush = pick(sim, 500, 5, 100);
    p->net_us = pick(sim, 0, 10, 2000);
    p->chunk = pick(sim, 500, 1, 300);
    p->lost_frame = pick(sim, 650, 5, 200);
    p->gap_timeout_ms = pick(sim, 0, 20, 600);
    p->overtaken_frame = p->lost_frame ? pick(sim, 300, 5, 100) : 0;
    p->lost_delivery = pick(sim, 500, 5, 100);
}

void sim_profile_draw(struct sim *sim)
{
    struct sim_profile *p = &sim->profile;

    p->steps = sim->options->steps ? sim->options->steps : 6000;
    draw_node(sim, p);
    draw_load(sim, p);
    draw_faults(sim, p);
    p->breaker =
        (struct al_breaker_policy){.percent = 2 + sim_rand_below(&sim->rand, 50),
                                   .samples = 2 + sim_rand_below(&sim->rand, 9),
                                   .call_timeout_ms = 50 + sim_rand_below(&sim->rand, 3000),
                                   .open_ms = 50 + sim_rand_below(&sim->rand, 2000)};
    if (sim_rand_permille(&sim->rand, 300))
        p->breaker.percent = 0;
    p->capacity_bytes = p->full_ms ? p->segment_bytes * 24ull : UINT64_MAX / 2;
    /* What was to be due in a second is due in a day when the clock went back before it was sent.
     */
    p->short_jumps = sim_rand_permille(&sim->rand, 500);
    if (p->wall_jump_ms && !p->short_jumps)
        p->due = 0;
    if (p->wall_jump_ms) /* a jump would end every key's life at once */
        p->dedup_ttl_ms = 10ull * 365 * 24 * 3600 * 1000;
    if (sim->seed % 3 == 0) { /* no more, for the others to stay as fast as they are */
        p->groups = pick(sim, 0, 1, SIM_GROUPS);
        p->groupers = pick(sim, 0, 1, 2);
    }
    p->schedulers = sim->seed % 4 == 2;
    p->rules = sim->seed % 8 == 2 || sim->seed % 8 == 7;
    /* A third of the journals is sealed (it costs the simulator a third of its speed): half of
     * these from the first start on, half after some starts without. */
    if (sim->seed % 3 == 1)
        p->sealed_from = sim->seed % 2 ? 1 : 2 + (uint32_t)(sim->seed / 6 % 3);
    /* A key that has expired is a new message, and one that died by a full list of dead letters
     * says nothing about commits. */
    p->committers = sim->seed % 4 == 1;
    p->historians = sim->seed % 4 == 3 || sim->seed % 8 == 4;
    p->shared = sim->seed % 8 == 0;
    p->enrollers = sim->seed % 8 == 2 || sim->seed % 8 == 5;
    if (p->shared) /* as many again, at most */
        p->consumers = p->agents + (p->agents < 3 ? p->agents : 3);
    if (p->committers) {
        p->dedup_ttl_ms = 10ull * 365 * 24 * 3600 * 1000;
        p->dedup_max = 4096;
        p->dlq_max = 10000;
    }
    p->of_kind = pick(sim, 400, 50, 700);
    /* Likewise, by the bytes of a few letters. */
    p->dlq_bytes = sim->seed % 4 == 3 ? 300 : AL_DLQ_BYTES_DEFAULT;
}
