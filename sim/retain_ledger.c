/* retain_ledger.c - what streams keep for replay, and what a replay must and must not bring.
 *
 * A message is certainly kept if a client was told that it ended well, its ack came in after a
 * client was told that the agent's streams keep what ends, and no later one can have pushed it
 * beyond count, bytes or age. Acks that a crash may have taken back count as if they had stayed:
 * they can only push out more. What is brought must be what was sent, in order, each once, within
 * the range and the limits; and nothing that is certainly kept may be missing. Where an answer does
 * not say that the range begins too early, nothing at all may be missing of it. */
#include "base/errors.h"
#include "retain.h"
#include <stdio.h>
#include <string.h>

#define WELL (1u << AL_STATUS_SUCCESS | 1u << AL_STATUS_PARTIAL)

/* ---- limits ------------------------------------------------------------------------------ */

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t most(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* No message of the stream that ended well; of an unknown one the payload may be of any size. */
static uint64_t size_of(const struct sim *sim, const struct sim_slot *slot)
{
    return slot->message ? sim->ledger->messages[slot->message - 1].size : 65536;
}

/* Marks what the limits may have pushed out: for good, whatever the limits are later. */
static void push_out(struct sim *sim, struct sim_stream *stream, const struct sim_limits *limits)
{
    uint64_t count = 0, bytes = 0;

    for (uint64_t seq = stream->last_seq; seq > 0; seq--) {
        struct sim_slot *slot = &stream->slots[seq];

        if (!(slot->good & WELL))
            continue;
        count++;
        bytes += size_of(sim, slot);
        if (count > limits->count || bytes > limits->bytes ||
            (sim->mono_ns - slot->good_ns) / AL_NS_PER_MS + 1 >= limits->age_ms)
            slot->pushed_out = true;
    }
}

static void push_out_all(struct sim *sim, uint32_t agent)
{
    for (uint32_t n = 1; n < sim->ledger->stream_cap; n++) {
        struct sim_stream *stream = &sim->ledger->streams[n];

        if (stream->known && stream->to == agent)
            push_out(sim, stream, &sim->ledger->retained[agent].least);
    }
}

void sim_retain_asked(struct sim *sim, uint32_t agent, const struct sim_limits *limits)
{
    struct sim_retained *r = &sim->ledger->retained[agent];

    r->is_sure = false;
    if (!limits->count) {
        r->is_on = false;
        return;
    }
    r->least = (struct sim_limits){least(r->least.count, limits->count),
                                   least(r->least.bytes, limits->bytes),
                                   least(r->least.age_ms, limits->age_ms)};
    r->most =
        (struct sim_limits){most(r->most.count, limits->count), most(r->most.bytes, limits->bytes),
                            most(r->most.age_ms, limits->age_ms)};
    push_out_all(sim, agent);
}

void sim_retain_told(struct sim *sim, uint32_t agent, const struct sim_limits *limits,
                     uint64_t asked_ns)
{
    struct sim_retained *r = &sim->ledger->retained[agent];

    push_out_all(sim, agent);
    r->least = r->most = *limits;
    r->is_sure = true;
    if (!limits->count) {
        r->off_ns = asked_ns;
        r->most = (struct sim_limits){0};
    } else if (!r->is_on) {
        r->is_on = true;
        r->on_ns = sim->mono_ns;
    }
}

/* ---- what is certain --------------------------------------------------------------------- */

/* A client was told before `asked_ns` that it ended well, and it was kept then. */
static bool was_kept(const struct sim_retained *r, const struct sim_slot *slot, uint64_t asked_ns)
{
    return r->is_on && slot->message && (slot->good & WELL) && slot->well_ns &&
           slot->well_ns <= asked_ns && slot->good_ns >= r->on_ns;
}

static bool is_kept(const struct sim_retained *r, const struct sim_slot *slot, uint64_t asked_ns)
{
    return was_kept(r, slot, asked_ns) && !slot->pushed_out;
}

static bool is_wanted(const struct sim_replay *q, uint64_t seq, const struct sim_slot *slot)
{
    if (seq < q->first_seq || (q->last_seq && seq > q->last_seq))
        return false;
    if (!q->from_ms && !q->until_ms)
        return true;
    return slot->kept_ms && slot->kept_ms >= q->from_ms &&
           (!q->until_ms || slot->kept_ms < q->until_ms);
}

/* Nothing of the range between two messages, or behind the last one, may be missing. */
static void check_missing(struct sim *sim, const struct sim_replay *q, uint64_t from, uint64_t to)
{
    struct sim_stream *stream = &sim->ledger->streams[q->stream];
    const struct sim_retained *r = &sim->ledger->retained[q->agent];
    bool all = q->first_seq || q->from_ms; /* otherwise the answer would be NOT_RETAINED */

    for (uint64_t seq = from; seq < to && seq <= stream->last_seq; seq++) {
        const struct sim_slot *slot = &stream->slots[seq];

        if (!is_wanted(q, seq, slot) || !was_kept(r, slot, q->asked_ns))
            continue;
        if (all || !slot->pushed_out)
            sim_fail(sim, "%u:%llu ended well and is kept; a replay from %llu leaves it out",
                     q->stream, (unsigned long long)seq, (unsigned long long)q->first_seq);
    }
}

/* ---- answers ----------------------------------------------------------------------------- */

/* What the range, the limits and earlier answers say about this one. */
static void check_row(struct sim *sim, struct sim_replay *q, const struct sim_slot *slot,
                      const struct al_msg_replayed *m)
{
    const struct sim_retained *r = &sim->ledger->retained[q->agent];

    if (m->stream != q->stream || m->seq <= q->newest || m->seq < q->first_seq ||
        (q->last_seq && m->seq > q->last_seq))
        sim_fail(sim, "a replay of %u from %llu to %llu brings %u:%llu behind %llu", q->stream,
                 (unsigned long long)q->first_seq, (unsigned long long)q->last_seq, m->stream,
                 (unsigned long long)m->seq, (unsigned long long)q->newest);
    else if (m->end_ms < q->from_ms || (q->until_ms && m->end_ms >= q->until_ms))
        sim_fail(sim, "%u:%llu ended at %llu; the replay was to go from %llu to %llu", m->stream,
                 (unsigned long long)m->seq, (unsigned long long)m->end_ms,
                 (unsigned long long)q->from_ms, (unsigned long long)q->until_ms);
    else if (!(slot->good & WELL))
        sim_fail(sim, "%u:%llu is replayed; no receiver has dealt with it", m->stream,
                 (unsigned long long)m->seq);
    else if (slot->well_ns && slot->well_ns <= r->off_ns)
        sim_fail(sim, "%u:%llu is replayed; it ended before its stream was to forget everything",
                 m->stream, (unsigned long long)m->seq);
    else if (slot->kept_ms && slot->kept_ms != m->end_ms)
        sim_fail(sim, "%u:%llu ended at %llu and is now said to have ended at %llu", m->stream,
                 (unsigned long long)m->seq, (unsigned long long)slot->kept_ms,
                 (unsigned long long)m->end_ms);
    else if (r->most.age_ms < SIM_ANY && m->end_ms + r->most.age_ms <= q->asked_wall_ms)
        sim_fail(sim, "%u:%llu is replayed and too old", m->stream, (unsigned long long)m->seq);
}

void sim_replay_row(struct sim *sim, struct sim_replay *q, const struct al_msg_replayed *m)
{
    const struct sim_retained *r = &sim->ledger->retained[q->agent];
    struct sim_message *message;
    struct al_msg_envelope envelope;
    struct sim_slot *slot;
    char from[16], label[8];

    if (q->rows++ == 0)
        push_out(sim, &sim->ledger->streams[q->stream], &r->least);
    if (al_decode_envelope(m->envelope, &envelope) < 0) {
        sim_fail(sim, "%u:%llu is replayed garbled", m->stream, (unsigned long long)m->seq);
        return;
    }
    message = sim_message_find(sim, &envelope.message_id);
    slot =
        message ? sim_told_kept(sim, message, m->stream, m->seq) : sim_slot(sim, m->stream, m->seq);
    if (!slot)
        return;
    check_row(sim, q, slot, m);
    if (message) {
        sim_check_body(sim, message, m->envelope);
        sim_agent_name(message->from, from);
        sim_label_text(message->label, label);
        if (!al_str_eq(m->from, al_str_c(from)) || !al_str_eq(m->label, al_str_c(label)) ||
            m->priority != message->priority || message->to != q->agent)
            sim_fail(sim, "message %u is replayed with another sender, label or priority",
                     message->number);
    } else if (!al_str_eq(envelope.kind, al_str_c("sim.tick")) || slot->message) {
        sim_fail(sim, "%u:%llu is replayed as a message that nobody sent", m->stream,
                 (unsigned long long)m->seq);
    }
    slot->kept_ms = m->end_ms;
    q->bytes += envelope.payload.n;
    if (q->rows > r->most.count || q->bytes > r->most.bytes)
        sim_fail(sim, "stream %u keeps %u messages and more, %llu bytes", q->stream, q->rows,
                 (unsigned long long)q->bytes);
    check_missing(sim, q, q->newest + 1 > q->first_seq ? q->newest + 1 : q->first_seq, m->seq);
    q->newest = m->seq;
    sim->tally.reached[SIM_REACHED_REPLAYED]++;
}

/* The oldest message from `seq` on that is certainly kept, 0. */
static uint64_t oldest_kept(const struct sim *sim, const struct sim_replay *q)
{
    const struct sim_stream *stream = &sim->ledger->streams[q->stream];

    for (uint64_t seq = 1; seq <= stream->last_seq; seq++) {
        if (is_kept(&sim->ledger->retained[q->agent], &stream->slots[seq], q->asked_ns))
            return seq;
    }
    return 0;
}

/* NOT_RETAINED: something of the range must be gone, and the text say what is there. */
static void check_refusal(struct sim *sim, const struct sim_replay *q, struct al_str detail)
{
    const struct sim_stream *stream = &sim->ledger->streams[q->stream];
    uint64_t oldest = oldest_kept(sim, q);
    const struct sim_slot *slot = oldest ? &stream->slots[oldest] : NULL;
    unsigned long long first = 0, last = 0;
    const char *at;
    char text[AL_REASON_MAX + 1];

    sim->tally.reached[SIM_REACHED_BEYOND]++;
    memcpy(text, detail.p, detail.n);
    text[detail.n] = 0;
    at = strstr(text, "sequences ");
    if (at && sscanf(at, "sequences %llu to %llu", &first, &last) != 2)
        first = 0;
    if (!q->first_seq && !q->from_ms)
        sim_fail(sim, "a replay of all that there is, is refused: %s", text);
    else if (slot && oldest <= q->first_seq && !q->from_ms)
        sim_fail(sim, "a replay from %u:%llu is refused; %llu is kept", q->stream,
                 (unsigned long long)q->first_seq, (unsigned long long)oldest);
    else if (slot && (oldest <= q->first_seq || !q->first_seq) && slot->kept_ms &&
             slot->kept_ms < q->from_ms && !sim->profile.wall_jump_ms)
        sim_fail(sim, "a replay from %llu ms is refused; what ended at %llu is kept",
                 (unsigned long long)q->from_ms, (unsigned long long)slot->kept_ms);
    else if (slot && (!first || first > oldest || last < oldest))
        sim_fail(sim, "%u:%llu is kept; the refusal says: %s", q->stream,
                 (unsigned long long)oldest, text);
    else if (first && !q->from_ms && first <= q->first_seq)
        sim_fail(sim, "a replay from %llu is refused; the refusal says: %s",
                 (unsigned long long)q->first_seq, text);
}

void sim_replay_done(struct sim *sim, struct sim_replay *q, const struct al_msg_done *m)
{
    struct sim_retained *r = &sim->ledger->retained[q->agent];
    bool keeps = r->is_on && r->on_ns <= q->asked_ns;

    push_out(sim, &sim->ledger->streams[q->stream], &r->least);
    if (m->code == AL_E_NOT_RETAINED) {
        check_refusal(sim, q, m->detail);
    } else if (m->code == AL_E_NO_HISTORY && keeps) {
        sim_fail(sim, "agent %u keeps what ends; a replay says that it does not", q->agent);
    } else if (m->code == AL_E_NOT_FOUND && oldest_kept(sim, q) &&
               !sim_is_unordered(sim, q->stream)) { /* a lane goes with its message */
        sim_fail(sim, "stream %u has kept messages and is not found", q->stream);
    } else if (m->code == 0 && m->count != q->rows) {
        sim_fail(sim, "a replay of %u messages says that there are %llu", q->rows,
                 (unsigned long long)m->count);
    } else if (m->code == 0 && !q->rows) { /* the range ends here */
        check_missing(sim, q, q->first_seq ? q->first_seq : 1, UINT64_MAX);
    }
}

void sim_history_row(struct sim *sim, uint32_t agent, uint64_t asked_ns,
                     const struct al_msg_history_row *m)
{
    struct sim_retained *r = &sim->ledger->retained[agent];
    struct sim_replay q = {.agent = agent, .stream = m->stream, .asked_ns = asked_ns};
    struct sim_stream *stream;
    uint64_t kept = 0, since = 0, oldest;

    if (r->is_sure &&
        (m->keep_count != r->least.count || (m->keep_count && m->keep_bytes != r->least.bytes)))
        sim_fail(sim, "agent %u keeps %llu messages of a stream; %llu were asked for", agent,
                 (unsigned long long)m->keep_count, (unsigned long long)r->least.count);
    if (!m->stream || !(stream = sim_stream(sim, m->stream)))
        return;
    if (m->count > r->most.count || m->bytes > r->most.bytes)
        sim_fail(sim, "stream %u keeps %llu messages, %llu bytes", m->stream,
                 (unsigned long long)m->count, (unsigned long long)m->bytes);
    push_out(sim, stream, &r->least);
    for (uint64_t seq = 1; seq <= stream->last_seq; seq++) {
        kept += is_kept(r, &stream->slots[seq], asked_ns);
        since += seq >= m->from_seq && was_kept(r, &stream->slots[seq], asked_ns);
    }
    oldest = oldest_kept(sim, &q);
    if (m->count < kept || (oldest && (m->first_seq > oldest || m->last_seq < oldest)))
        sim_fail(sim, "stream %u says that it keeps %llu messages from %llu on; %llu are certain",
                 m->stream, (unsigned long long)m->count, (unsigned long long)m->first_seq,
                 (unsigned long long)kept);
    if (m->count < since)
        sim_fail(sim, "stream %u says that nothing is missing from %llu on; it keeps %llu of %llu",
                 m->stream, (unsigned long long)m->from_seq, (unsigned long long)m->count,
                 (unsigned long long)since);
}
