/* schedule_account.c - messages of schedules: each time at most once, and each of them ends.
 *
 * What the receivers got is checked as it comes: no two messages for one time. At the end the
 * shadow journal tells what fired: never twice in one period, never after it was removed or was
 * over, and every message of it was dealt with like any other. */
#include "base/errors.h"
#include "core/records.h"
#include "ledger.h"
#include <string.h>

/* ---- what receivers got ------------------------------------------------------------------ */

bool sim_schedule_told_deliver(struct sim *sim, uint32_t agent, const struct al_msg_deliver *m)
{
    struct sim_ledger *ledger = sim->ledger;
    struct sim_message like = {.to = agent, .priority = sim_stream_priority(sim, m->stream)};
    struct al_msg_envelope envelope;
    struct sim_slot *slot;
    uint32_t timer;

    if (al_decode_envelope(m->envelope, &envelope) < 0 ||
        !al_str_eq(envelope.kind, al_str_c("sim.tick")))
        return false;
    timer = envelope.payload.n == 4 ? al_get32(envelope.payload.p) : SIM_TIMERS;
    if (timer >= SIM_TIMERS || ledger->timers[timer].state == SIM_TIMER_FREE ||
        ledger->timers[timer].to != agent) {
        sim_fail(sim, "%u:%llu is of a schedule that nobody set", m->stream,
                 (unsigned long long)m->seq);
        return true;
    }
    ledger->deliveries++;
    like.from = ledger->timers[timer].from;
    like.label = (uint8_t)(SIM_TIMER_LABEL + timer);
    sim_told_stream(sim, m->stream, &like);
    slot = sim_slot(sim, m->stream, m->seq);
    if (slot)
        slot->flags |= SIM_SLOT_SEEN;
    for (uint32_t i = 0; i < ledger->firing_count; i++) {
        const struct sim_firing *firing = &ledger->firings[i];

        if (al_id_eq(&firing->id, &envelope.message_id))
            return true;
        if (firing->timer == timer && firing->wall_ms == m->admitted_ms)
            sim_fail(sim, "schedule t%u fired twice at %llu", timer,
                     (unsigned long long)m->admitted_ms);
    }
    if (ledger->firing_count == ledger->firing_cap) {
        ledger->firing_cap = ledger->firing_cap ? ledger->firing_cap * 2 : 64;
        ledger->firings =
            sim_xrealloc(ledger->firings, ledger->firing_cap * sizeof(*ledger->firings));
    }
    ledger->firings[ledger->firing_count++] =
        (struct sim_firing){envelope.message_id, timer, m->admitted_ms};
    return true;
}

bool sim_schedule_told_letter(struct sim *sim, const struct al_msg_dlq_row *m)
{
    struct sim_slot *slot;
    char label[8];

    for (uint32_t i = 0; i < SIM_TIMERS; i++) {
        sim_label_text(SIM_TIMER_LABEL + i, label);
        if (!al_str_eq(m->label, al_str_c(label)))
            continue;
        slot = sim_slot(sim, m->stream, m->seq);
        if (slot)
            slot->flags |= SIM_SLOT_DEAD | SIM_SLOT_ENDED;
        return true;
    }
    return false;
}

/* ---- the journal ------------------------------------------------------------------------- */

/* A schedule as the records so far have it. */
struct life {
    bool set;
    uint64_t producer, old_producer; /* old: of one that is gone */
    uint64_t set_ms, last_ms;
};

static uint32_t timer_of(struct al_str name)
{
    uint32_t number = 0;

    for (uint32_t i = 1; i < name.n; i++)
        number = number * 10 + (uint32_t)(name.p[i] - '0');
    return number < SIM_TIMERS ? number : 0;
}

/* Which of its times a wall clock belongs to. */
static uint64_t period(const struct sim_timer *timer, const struct life *life, uint64_t wall_ms)
{
    if (timer->every_ms)
        return (wall_ms - life->set_ms) / timer->every_ms;
    return wall_ms / (timer->text[1] == '/' ? 120000 : 60000);
}

static void check_ended(struct sim *sim, uint32_t number, const struct ali_rec_publish *r)
{
    const struct sim_slot *slot = sim_slot(sim, r->stream, r->seq);
    uint8_t well = 1u << AL_STATUS_SUCCESS | 1u << AL_STATUS_PARTIAL;

    /* Redriven, it has another place. */
    if (slot && !(slot->good & well) && !(slot->flags & SIM_SLOT_DEAD) &&
        !sim->ledger->inboxes[sim->ledger->timers[number].to].redrives)
        sim_fail(sim, "schedule t%u: the message at %u:%llu was never dealt with", number,
                 r->stream, (unsigned long long)r->seq);
}

static bool is_known(const struct sim *sim, const struct sim_firing *firing,
                     const struct ali_rec_publish *r)
{
    return r->envelope.n >= 16 && memcmp(firing->id.b, r->envelope.p, 16) == 0 &&
           firing->wall_ms == r->wall_ms && sim->ledger->timers[firing->timer].to < SIM_AGENTS;
}

static void check_firing(struct sim *sim, struct life *lives, const struct ali_rec_publish *r,
                         uint32_t *heard)
{
    for (uint32_t i = 0; i < SIM_TIMERS; i++) {
        const struct sim_timer *timer = &sim->ledger->timers[i];
        struct life *life = &lives[i];
        uint64_t last = life->last_ms ? life->last_ms : life->set_ms;

        if (life->old_producer && r->producer == life->old_producer)
            sim_fail(sim, "schedule t%u was removed, or set anew, and fires at %llu", i,
                     (unsigned long long)r->wall_ms);
        if (!life->set || r->producer != life->producer)
            continue;
        if (r->wall_ms <= last || period(timer, life, r->wall_ms) <= period(timer, life, last))
            sim_fail(sim, "schedule t%u fired at %llu and, for the same time, at %llu", i,
                     (unsigned long long)last, (unsigned long long)r->wall_ms);
        if (timer->ttl_ms && r->expire_ms != r->wall_ms + timer->ttl_ms)
            sim_fail(sim, "schedule t%u: a message with another life time", i);
        life->last_ms = r->wall_ms;
        check_ended(sim, i, r);
        for (uint32_t k = 0; k < sim->ledger->firing_count; k++)
            *heard += is_known(sim, &sim->ledger->firings[k], r);
    }
}

/* What the journal says is there and what the client was told must be the same. */
static void check_lives(struct sim *sim, const struct life *lives)
{
    for (uint32_t i = 0; i < SIM_TIMERS; i++) {
        if (lives[i].set)
            sim_fail(sim, "schedule t%u was removed and is in the journal", i);
    }
}

void sim_schedule_account(struct sim *sim)
{
    struct life lives[SIM_TIMERS] = {{0}};
    uint32_t heard = 0;

    for (size_t i = 0; i < sim->shadow.count && sim->profile.schedulers && !sim->failed; i++) {
        const struct sim_record *record = &sim->shadow.list[i];
        struct al_str payload = al_str_of(sim->shadow.bytes.data + record->offset, record->size);
        struct ali_rec_schedule_set set;
        struct ali_rec_schedule_remove removed;
        struct ali_rec_publish publish;

        if (record->type == ALI_REC_SCHEDULE_SET &&
            ali_decode_rec_schedule_set(payload, &set) == 0) {
            struct life *life = &lives[timer_of(set.name)];

            *life = (struct life){true, set.producer, life->producer, set.wall_ms, 0};
        } else if (record->type == ALI_REC_SCHEDULE_REMOVE &&
                   ali_decode_rec_schedule_remove(payload, &removed) == 0) {
            struct life *life = &lives[timer_of(removed.name)];

            *life = (struct life){.old_producer = life->producer};
        } else if (record->type == ALI_REC_PUBLISH &&
                   ali_decode_rec_publish(payload, &publish) == 0) {
            check_firing(sim, lives, &publish, &heard);
        }
    }
    if (!sim->failed && sim->profile.schedulers && heard != sim->ledger->firing_count)
        sim_fail(sim, "%u messages of schedules were delivered, %u of them are in the journal",
                 sim->ledger->firing_count, heard);
    check_lives(sim, lives);
}
