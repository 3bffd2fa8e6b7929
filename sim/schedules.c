/* schedules.c - a client that sets schedules, sets them anew, lists them and removes them.
 *
 * What they send is received by the consumers. A schedule's number is used once: who was told that
 * it is removed must never hear of it again. */
#include "base/errors.h"
#include "roles.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What a process sent before its end still arrives, but not after this time. */
#define STRAY_NS (3000 * AL_NS_PER_MS)

struct scheduler {
    uint8_t asked; /* type of the question under way, 0: none */
    uint32_t request, timer;
    uint64_t stray_ns[SIM_TIMERS]; /* a SCHEDULE_SET may still be under way */
    uint32_t rows;                 /* bits of the timers that the list has shown */
};

static void scheduler_init(struct sim *sim, struct sim_client *client)
{
    static const char *const texts[] = {"* * * * *", "*/2 * * * *"};
    struct scheduler *s = sim_xrealloc(NULL, sizeof(*s));

    memset(s, 0, sizeof(*s));
    client->role_state = s;
    for (uint32_t i = 0; i < SIM_TIMERS; i++) {
        struct sim_timer *timer = &sim->ledger->timers[i];
        uint64_t every = sim_rand_range(&sim->rand, 1, 3);

        timer->from = (uint32_t)sim_rand_below(&sim->rand, sim->profile.agents);
        timer->to = (uint32_t)sim_rand_below(&sim->rand, sim->profile.agents);
        if (sim_chance(sim, 250)) {
            snprintf(timer->text, sizeof(timer->text), "%s", texts[i % 2]);
        } else {
            timer->every_ms = (uint32_t)(every * 1000);
            snprintf(timer->text, sizeof(timer->text), "@every %us", (unsigned)every);
        }
        if (sim_chance(sim, 200))
            timer->ttl_ms = sim_rand_range(&sim->rand, 20, 3000);
        if (sim_chance(sim, 200))
            timer->until_ms = SIM_WALL_START + sim_rand_range(&sim->rand, 2000, 20000);
    }
}

static void scheduler_free(struct sim *sim, struct sim_client *client)
{
    (void)sim;
    free(client->role_state);
}

/* ---- questions --------------------------------------------------------------------------- */

static uint32_t ask(struct sim_client *client, uint8_t type, uint32_t timer)
{
    struct scheduler *s = client->role_state;

    s->asked = type;
    s->timer = timer;
    s->rows = 0;
    return s->request = ++client->next_request;
}

bool sim_timer_is_of_kind(uint32_t timer)
{
    return timer % 2;
}

static void ask_set(struct sim *sim, struct sim_client *client, uint32_t number)
{
    struct sim_timer *timer = &sim->ledger->timers[number];
    struct al_msg_schedule_set m = {.request = ask(client, AL_MSG_SCHEDULE_SET, number),
                                    .priority = sim_timer_is_of_kind(number) ? AL_PRIORITY_NONE
                                                                             : AL_PRIORITY_DEFAULT,
                                    .ttl_ms = timer->ttl_ms,
                                    .until_ms = timer->until_ms,
                                    .text = al_str_c(timer->text)};
    struct al_msg_envelope envelope = {.kind = al_str_c("sim.tick")};
    char name[8], from[16], to[16], label[8];
    uint8_t payload[4], bytes[128];

    snprintf(name, sizeof(name), "t%u", (unsigned)number % 100);
    sim_agent_name(timer->from, from);
    sim_agent_name(timer->to, to);
    sim_label_text(SIM_TIMER_LABEL + number, label);
    al_put32(payload, number);
    envelope.payload = al_str_of(payload, sizeof(payload));
    m.envelope = al_str_of(bytes, (size_t)(al_encode_envelope(bytes, &envelope) - bytes));
    m.flags = timer->state == SIM_TIMER_SET ? AL_SCHEDULE_REPLACE : 0;
    m.name = al_str_c(name);
    m.from = al_str_c(from);
    m.to = al_str_c(to);
    m.label = al_str_c(label);
    timer->state = SIM_TIMER_UNSURE;
    SIM_PUT(sim, client, schedule_set, &m);
}

static void ask_remove(struct sim *sim, struct sim_client *client, uint32_t number)
{
    struct al_msg_schedule_remove m = {.request = ask(client, AL_MSG_SCHEDULE_REMOVE, number)};
    char name[8];

    snprintf(name, sizeof(name), "t%u", (unsigned)number % 100);
    m.name = al_str_c(name);
    sim->ledger->timers[number].state = SIM_TIMER_UNSURE;
    SIM_PUT(sim, client, schedule_remove, &m);
}

static void ask_list(struct sim *sim, struct sim_client *client)
{
    struct al_msg_schedule_list m = {.request = ask(client, AL_MSG_SCHEDULE_LIST, 0)};

    SIM_PUT(sim, client, schedule_list, &m);
}

/* At the end: all that is there goes, and what may be there. */
static void remove_all(struct sim *sim, struct sim_client *client)
{
    for (uint32_t i = 0; i < SIM_TIMERS; i++) {
        enum sim_timer_state state = sim->ledger->timers[i].state;

        if (state == SIM_TIMER_SET || state == SIM_TIMER_UNSURE) {
            ask_remove(sim, client, i);
            return;
        }
    }
}

static void ask_at_random(struct sim *sim, struct sim_client *client)
{
    uint32_t number = (uint32_t)sim_rand_below(&sim->rand, SIM_TIMERS);
    enum sim_timer_state state = sim->ledger->timers[number].state;
    uint64_t what = sim_rand_below(&sim->rand, 20);

    if (!sim->load_on && state != SIM_TIMER_UNSURE)
        ask_list(sim, client);
    else if (state == SIM_TIMER_UNSURE || (state == SIM_TIMER_FREE && what < 8))
        ask_set(sim, client, number);
    else if (state == SIM_TIMER_SET && what == 0)
        ask_remove(sim, client, number);
    else if (state == SIM_TIMER_SET && what == 1)
        ask_set(sim, client, number);
    else if (what == 2)
        ask_list(sim, client);
}

/* ---- answers ----------------------------------------------------------------------------- */

static void set_done(struct sim *sim, uint32_t number, unsigned code)
{
    static const unsigned fine[] = {AL_E_NOMEM,         AL_E_DISK_FULL,     AL_E_LIMIT,
                                    AL_E_UNKNOWN_AGENT, AL_E_SCHEDULE_PAST, AL_E_IO,
                                    AL_E_DENIED};
    struct sim_timer *timer = &sim->ledger->timers[number];
    bool is_fine = code == 0 || code == AL_E_EXISTS;

    if (is_fine) {
        timer->state = SIM_TIMER_SET;
        timer->last_ms = timer->next_ms = 0;
    }
    for (unsigned i = 0; i < sizeof(fine) / sizeof(fine[0]); i++)
        is_fine |= code == fine[i];
    if (!is_fine)
        sim_fail(sim, "SCHEDULE_SET is answered with %s", al_error_name((int)code));
    if (code == AL_E_SCHEDULE_PAST) /* one that was there goes by itself, in its time */
        timer->state = SIM_TIMER_SET;
}

static void remove_done(struct sim *sim, const struct scheduler *s, uint32_t number, unsigned code)
{
    bool sure = sim->mono_ns > s->stray_ns[number];

    if (code == 0 || code == AL_E_NOT_FOUND)
        sim->ledger->timers[number].state = sure ? SIM_TIMER_GONE : SIM_TIMER_UNSURE;
    else if (code != AL_E_NOMEM && code != AL_E_IO)
        sim_fail(sim, "SCHEDULE_REMOVE is answered with %s", al_error_name((int)code));
}

/* The list was complete: all that must be there was in it. */
static void list_done(struct sim *sim, const struct scheduler *s, const struct al_msg_done *m)
{
    for (uint32_t i = 0; i < SIM_TIMERS && m->code == 0; i++) {
        const struct sim_timer *timer = &sim->ledger->timers[i];

        if (timer->state == SIM_TIMER_SET && !timer->until_ms && !(s->rows >> i & 1))
            sim_fail(sim, "schedule t%u was set and is not in the list", i);
    }
}

static void on_done(struct sim *sim, struct sim_client *client, const struct al_msg_done *m)
{
    struct scheduler *s = client->role_state;
    uint8_t asked = s->asked;

    if (!asked || m->request != s->request)
        return;
    sim_note(sim, "client %: $ is done: !", client->index, asked, m->code);
    s->asked = 0;
    if (asked == AL_MSG_SCHEDULE_SET)
        set_done(sim, s->timer, m->code);
    else if (asked == AL_MSG_SCHEDULE_REMOVE)
        remove_done(sim, s, s->timer, m->code);
    else
        list_done(sim, s, m);
}

static void on_row(struct sim *sim, struct sim_client *client, const struct al_msg_schedule_row *m)
{
    struct scheduler *s = client->role_state;
    struct sim_timer *timer;
    unsigned number = 0;

    if (m->request != s->request || s->asked != AL_MSG_SCHEDULE_LIST)
        return;
    for (uint32_t i = 1; i < m->name.n && i < 3; i++)
        number = number * 10 + (m->name.p[i] - (unsigned)'0');
    if (m->name.n < 2 || m->name.p[0] != 't' || number >= SIM_TIMERS) {
        sim_fail(sim, "a schedule that nobody set is listed");
        return;
    }
    timer = &sim->ledger->timers[number];
    s->rows |= 1u << number;
    if (timer->state == SIM_TIMER_FREE || timer->state == SIM_TIMER_GONE)
        sim_fail(sim, "schedule t%u is listed; it was %s", number,
                 timer->state == SIM_TIMER_FREE ? "never set" : "removed");
    if (!al_str_eq(m->text, al_str_c(timer->text)) || m->ttl_ms != timer->ttl_ms ||
        m->until_ms != timer->until_ms || m->next_ms <= m->last_ms || m->next_ms <= m->set_ms)
        sim_fail(sim, "schedule t%u is listed with other settings, or fires backwards", number);
    timer->last_ms = m->last_ms;
    timer->next_ms = m->next_ms;
    timer->code = m->code;
}

static void scheduler_frame(struct sim *sim, struct sim_client *client,
                            const struct al_frame *frame)
{
    struct scheduler *s = client->role_state;
    union {
        struct al_msg_schedule_row row;
        struct al_msg_done done;
        struct al_msg_error error;
    } m;

    if (frame->type == AL_MSG_SCHEDULE_ROW && SIM_GET(sim, frame, schedule_row, &m.row))
        on_row(sim, client, &m.row);
    else if (frame->type == AL_MSG_DONE && SIM_GET(sim, frame, done, &m.done))
        on_done(sim, client, &m.done);
    else if (frame->type == AL_MSG_ERROR && SIM_GET(sim, frame, error, &m.error))
        s->asked = 0;
}

/* ---- the last phase ---------------------------------------------------------------------- */

bool sim_schedules_have_fired(const struct sim *sim)
{
    uint64_t now = sim_now(sim).wall_ms, calm = now - (sim->mono_ns - sim->calm_ns) / AL_NS_PER_MS;

    for (uint32_t i = 0; i < SIM_TIMERS; i++) {
        const struct sim_timer *timer = &sim->ledger->timers[i];

        if (timer->state == SIM_TIMER_UNSURE)
            return false;
        /* Not those that wait for room, or for the clock that was set back. */
        if (timer->state == SIM_TIMER_SET && timer->every_ms && !timer->until_ms && !timer->code &&
            timer->last_ms < calm && timer->next_ms <= now + timer->every_ms)
            return false;
    }
    return true;
}

bool sim_schedules_are_gone(const struct sim *sim)
{
    for (uint32_t i = 0; i < SIM_TIMERS; i++) {
        if (sim->ledger->timers[i].state == SIM_TIMER_SET ||
            sim->ledger->timers[i].state == SIM_TIMER_UNSURE)
            return false;
    }
    return true;
}

/* ---- waking ------------------------------------------------------------------------------ */

static void nothing(struct sim *sim, struct sim_client *client)
{
    (void)sim;
    (void)client;
}

static void scheduler_disconnected(struct sim *sim, struct sim_client *client)
{
    struct scheduler *s = client->role_state;

    if (s->asked == AL_MSG_SCHEDULE_SET)
        s->stray_ns[s->timer] = sim->mono_ns + STRAY_NS;
    s->asked = 0; /* what was asked may be done */
}

static void scheduler_wake(struct sim *sim, struct sim_client *client)
{
    const struct scheduler *s = client->role_state;

    if (client->ready && !s->asked) {
        if (sim->timers_off)
            remove_all(sim, client);
        else
            ask_at_random(sim, client);
    }
    sim_client_wake(sim, client, sim_delay(sim, 30000));
}

const struct sim_role_ops sim_scheduler_ops = {
    .init = scheduler_init,
    .free = scheduler_free,
    .ready = nothing,
    .frame = scheduler_frame,
    .disconnected = scheduler_disconnected,
    .crashed = scheduler_disconnected,
    .wake = scheduler_wake,
};
