/* breaker.c - circuit breakers, as a checker sees them: what the node announces, it must keep.
 *
 * The node says when a destination's breaker opens, is half-open, and closes. From "open" on
 * nothing new may be given out to that agent and no attempt may be spent on a message to it;
 * half-open, one message at a time may be out that was not before; and an open breaker must not
 * stay so for ever. */
#include "base/errors.h"
#include "core/records.h"
#include "ledger.h"
#include <string.h>

#define LATE_NS (5000 * AL_NS_PER_MS) /* a clock that stands still is a fault like others */

void sim_breaker_reset(struct sim *sim)
{
    memset(sim->ledger->breakers, 0, sizeof(sim->ledger->breakers));
}

void sim_breaker_notice(struct sim *sim, const struct al_effect *effect)
{
    const uint8_t *data = sim->driver.effects.data.data + effect->offset;
    uint32_t agent = sim_agent_find(al_str_of(data, effect->conn));
    struct sim_breaker *breaker = &sim->ledger->breakers[agent < SIM_AGENTS ? agent : 0];

    if (agent >= SIM_AGENTS || effect->record_type > AL_NOTICE_BREAKER_CLOSED)
        return;
    sim_note(sim, "  breaker of agent %: state %", agent, effect->record_type, 0);
    if (effect->record_type == AL_NOTICE_BREAKER_HALF_OPEN &&
        breaker->state != AL_NOTICE_BREAKER_OPEN)
        sim_fail(sim, "the breaker of agent %u is half-open and was not open", agent);
    if (effect->record_type == AL_NOTICE_BREAKER_OPEN)
        sim->ledger->breakers_opened++;
    breaker->state = (uint8_t)effect->record_type;
    breaker->since_ns = sim->mono_ns;
}

void sim_breaker_deliver(struct sim *sim, uint32_t agent)
{
    if (sim->ledger->breakers[agent].state == AL_NOTICE_BREAKER_OPEN)
        sim_fail(sim, "agent %u is given a message although its breaker is open", agent);
}

void sim_breaker_record(struct sim *sim, uint32_t type, struct al_str payload)
{
    struct ali_rec_attempt attempt;
    const struct sim_stream *stream;

    if (type != ALI_REC_ATTEMPT || ali_decode_rec_attempt(payload, &attempt) < 0 ||
        attempt.stream >= sim->ledger->stream_cap)
        return;
    stream = &sim->ledger->streams[attempt.stream];
    if (stream->known && stream->to < SIM_AGENTS &&
        sim->ledger->breakers[stream->to].state == AL_NOTICE_BREAKER_OPEN)
        sim_fail(sim, "%u:%llu spends an attempt although the breaker of agent %u is open",
                 attempt.stream, (unsigned long long)attempt.seq, stream->to);
}

void sim_breaker_check(struct sim *sim)
{
    uint64_t limit_ns = sim->profile.breaker.open_ms * AL_NS_PER_MS + LATE_NS;

    for (uint32_t i = 0; i < SIM_AGENTS && sim->driver.up; i++) {
        const struct sim_breaker *breaker = &sim->ledger->breakers[i];

        if (breaker->state == AL_NOTICE_BREAKER_OPEN && sim->mono_ns > breaker->since_ns + limit_ns)
            sim_fail(sim, "the breaker of agent %u has been open for %llu ms; it was to be %u", i,
                     (unsigned long long)((sim->mono_ns - breaker->since_ns) / AL_NS_PER_MS),
                     sim->profile.breaker.open_ms);
    }
}
