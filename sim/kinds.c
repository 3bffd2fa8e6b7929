/* kinds.c - default priorities of kinds, which change while messages are sent.
 *
 * Producers register kinds and remove them again, always with the terms that hold anyway, but with
 * any priority or none. What must come of it is followed from the records alone: which priority a
 * kind had when a message of it was admitted, and which stream the message went to. */
#include "core/records.h"
#include "ledger.h"
#include "roles.h"
#include <stdlib.h>
#include <string.h>

#define KINDS  5u
#define REMOVE 4u /* one change in so many takes the registration away */

static const char *const names[KINDS] = {"", "task", "note/short", "a.b-c:d", "sim.tick"};

struct place {
    uint32_t from, to; /* agents; SIM_NONE: not one of the ledger's */
    uint8_t priority, label_size;
    char label[8];
};

struct sim_kinds {
    uint8_t priority[KINDS];
    struct place *places; /* by the node's number of the stream */
    uint32_t *agents;     /* likewise of the agent or group */
    uint32_t place_cap, agent_cap;
};

const char *sim_kind_name(const struct sim_message *message)
{
    return names[(message->key ? message->key : message->number) % (KINDS - 1)];
}

static uint32_t find(struct al_str name)
{
    for (uint32_t i = 0; i < KINDS; i++)
        if (al_str_eq(al_str_c(names[i]), name))
            return i;
    return KINDS;
}

struct sim_kinds *sim_kinds_new(void)
{
    struct sim_kinds *kinds = sim_xrealloc(NULL, sizeof(*kinds));

    memset(kinds, 0, sizeof(*kinds));
    memset(kinds->priority, AL_PRIORITY_NONE, sizeof(kinds->priority));
    return kinds;
}

void sim_kinds_free(struct sim_kinds *kinds)
{
    if (kinds) {
        free(kinds->places);
        free(kinds->agents);
    }
    free(kinds);
}

/* ---- changes ----------------------------------------------------------------------------- */

void sim_kinds_change(struct sim *sim, struct sim_client *client)
{
    const struct sim_profile *p = &sim->profile;
    struct al_msg_kind_set set = {.request = ++client->next_request,
                                  .priority = (uint8_t)sim_rand_below(&sim->rand, 11),
                                  .ack_timeout_ms = p->policy.ack_timeout_ms,
                                  .retry_base_ms = p->policy.retry_base_ms,
                                  .retry_factor = p->policy.retry_factor,
                                  .retry_cap_ms = p->policy.retry_cap_ms,
                                  .retry_max = p->policy.retry_max,
                                  .breaker_percent = (uint8_t)p->breaker.percent,
                                  .breaker_samples = p->breaker.samples,
                                  .call_timeout_ms = p->breaker.call_timeout_ms,
                                  .breaker_open_ms = p->breaker.open_ms};
    struct al_msg_kind_remove remove = {.request = set.request};
    uint32_t kind = 1 + (uint32_t)sim_rand_below(&sim->rand, KINDS - 1);

    if (set.priority == 10)
        set.priority = AL_PRIORITY_NONE;
    set.kind = remove.kind = al_str_c(names[kind]);
    if (sim_rand_below(&sim->rand, REMOVE) == 0)
        SIM_PUT(sim, client, kind_remove, &remove);
    else
        SIM_PUT(sim, client, kind_set, &set);
}

/* ---- the journal ------------------------------------------------------------------------- */

static struct place *place_at(struct sim_kinds *kinds, uint32_t number)
{
    if (number >= kinds->place_cap) {
        uint32_t cap = number + 64;

        kinds->places = sim_xrealloc(kinds->places, cap * sizeof(*kinds->places));
        memset(kinds->places + kinds->place_cap, 0,
               (cap - kinds->place_cap) * sizeof(*kinds->places));
        kinds->place_cap = cap;
    }
    return &kinds->places[number];
}

static uint32_t *agent_at(struct sim_kinds *kinds, uint32_t number)
{
    if (number >= kinds->agent_cap) {
        uint32_t cap = number + 16;

        kinds->agents = sim_xrealloc(kinds->agents, cap * sizeof(*kinds->agents));
        memset(kinds->agents + kinds->agent_cap, 0xff,
               (cap - kinds->agent_cap) * sizeof(*kinds->agents));
        kinds->agent_cap = cap;
    }
    return &kinds->agents[number];
}

static void open_place(struct sim_kinds *kinds, const struct ali_rec_stream_open *r)
{
    struct place *place = place_at(kinds, r->stream);

    *place = (struct place){.from = *agent_at(kinds, r->from),
                            .to = *agent_at(kinds, r->to),
                            .priority = r->priority,
                            .label_size = (uint8_t)(r->label.n < 8 ? r->label.n : 8)};
    if (r->label.n)
        memcpy(place->label, r->label.p, place->label_size);
}

/* The priority that counts for a message of the kind whose channel has this one. */
static uint8_t priority_of(const struct sim_kinds *kinds, uint32_t kind, uint8_t otherwise)
{
    return kind >= KINDS || kinds->priority[kind] == AL_PRIORITY_NONE ? otherwise
                                                                      : kinds->priority[kind];
}

static void check_tick(struct sim *sim, const struct ali_rec_publish *r)
{
    struct sim_kinds *kinds = sim->ledger->kinds;
    uint8_t priority = place_at(kinds, r->stream)->priority, expected = AL_PRIORITY_DEFAULT;
    struct al_msg_envelope envelope;

    if (al_decode_envelope(r->envelope, &envelope) < 0 || find(envelope.kind) != KINDS - 1 ||
        envelope.payload.n != 4)
        return;
    if (sim_timer_is_of_kind(al_get32(envelope.payload.p)))
        expected = priority_of(kinds, KINDS - 1, AL_PRIORITY_DEFAULT);
    if (priority != expected)
        sim_fail(sim, "schedule t%u fires with priority %u, its kind has %u",
                 al_get32(envelope.payload.p), priority, expected);
}

static void check_publish(struct sim *sim, const struct ali_rec_publish *r)
{
    struct sim_kinds *kinds = sim->ledger->kinds;
    const struct place *place = place_at(kinds, r->stream);
    const struct sim_message *message;
    uint8_t expected;
    struct al_id id;
    char label[8];

    memcpy(id.b, r->envelope.p, sizeof(id.b));
    message = sim_message_find(sim, &id);
    if (!message) {
        check_tick(sim, r);
        return;
    }
    sim_label_text(message->label, label);
    if (place->from != message->from || place->to != message->to ||
        !al_str_eq(al_str_of(place->label, place->label_size), al_str_c(label)))
        sim_fail(sim, "message %u goes to stream %u, which is of others", message->number,
                 r->stream);
    expected = message->channel_priority;
    if (message->flags & AL_PUBLISH_OF_KIND)
        expected = priority_of(kinds, find(al_str_c(sim_kind_name(message))), expected);
    if (place->priority != expected)
        sim_fail(sim, "message %u goes to stream %u with priority %u, it should have %u",
                 message->number, r->stream, place->priority, expected);
    sim->tally.reached[SIM_REACHED_OF_KIND] += expected != message->channel_priority;
}

void sim_kinds_record(struct sim *sim, unsigned type, struct al_str payload)
{
    struct sim_kinds *kinds = sim->ledger->kinds;
    union {
        struct ali_rec_agent_add agent;
        struct ali_rec_group_add group;
        struct ali_rec_stream_open open;
        struct ali_rec_kind_set set;
        struct ali_rec_kind_remove remove;
        struct ali_rec_publish publish;
    } r;

    if (type == ALI_REC_NUMBERED && payload.n > ALI_NUMBERED_HEAD) {
        payload = al_str_of(payload.p + ALI_NUMBERED_HEAD, payload.n - ALI_NUMBERED_HEAD);
        type = ALI_REC_PUBLISH;
    }
    if (type == ALI_REC_AGENT_ADD && ali_decode_rec_agent_add(payload, &r.agent) == 0)
        *agent_at(kinds, r.agent.agent) = sim_agent_find(r.agent.name);
    else if (type == ALI_REC_GROUP_ADD && ali_decode_rec_group_add(payload, &r.group) == 0)
        *agent_at(kinds, r.group.group) = sim_agent_find(r.group.name);
    else if (type == ALI_REC_STREAM_OPEN && ali_decode_rec_stream_open(payload, &r.open) == 0)
        open_place(kinds, &r.open);
    else if (type == ALI_REC_KIND_SET && ali_decode_rec_kind_set(payload, &r.set) == 0 &&
             find(r.set.kind) < KINDS)
        kinds->priority[find(r.set.kind)] = r.set.priority;
    else if (type == ALI_REC_KIND_REMOVE && ali_decode_rec_kind_remove(payload, &r.remove) == 0 &&
             find(r.remove.kind) < KINDS)
        kinds->priority[find(r.remove.kind)] = AL_PRIORITY_NONE;
    else if (type == ALI_REC_PUBLISH && ali_decode_rec_publish(payload, &r.publish) == 0 &&
             r.publish.envelope.n >= 16)
        check_publish(sim, &r.publish);
}

void sim_kinds_reset(struct sim *sim)
{
    struct sim_kinds *kinds = sim->ledger->kinds;

    memset(kinds->priority, AL_PRIORITY_NONE, sizeof(kinds->priority));
    for (size_t i = 0; i < sim->shadow.count; i++) {
        const struct sim_record *record = &sim->shadow.list[i];

        sim_kinds_record(sim, record->type,
                         al_str_of(sim->shadow.bytes.data + record->offset, record->size));
    }
}

uint8_t sim_stream_priority(const struct sim *sim, uint32_t stream)
{
    const struct sim_kinds *kinds = sim->ledger->kinds;

    return stream < kinds->place_cap ? kinds->places[stream].priority : AL_PRIORITY_NONE;
}

void sim_message_placed(const struct sim *sim, struct sim_message *message, uint32_t stream)
{
    if (message->flags & AL_PUBLISH_OF_KIND && message->to < SIM_AGENTS)
        message->priority = sim_stream_priority(sim, stream);
}
