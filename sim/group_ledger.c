/* group_ledger.c - the facts about groups: one order for all, one chain of hashes.
 *
 * Written apart from the node. Whatever a client is told about a place in a group's order, by a
 * receipt, a delivery, an entry of the history, or the answer to a join, goes to the same entry:
 * two words that differ are a failure, whoever heard them. So all members see one order. The hashes
 * are computed here by the words of the protocol, with nothing of the node's. */
#include "base/errors.h"
#include "ledger.h"
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define SEQ_MAX 1000000u

void sim_groups_init(struct sim_ledger *ledger)
{
    for (uint32_t g = 0; g < SIM_GROUPS; g++) {
        ledger->groups[g].limited = g > 0;
        ledger->groups[g].first_seq = 1;
        for (uint32_t a = 0; a < SIM_AGENTS; a++) {
            ledger->groups[g].members[a].certain = -1;
            ledger->groups[g].members[a].lowest_ask = UINT64_MAX;
        }
    }
}

static struct sim_entry *entry_at(struct sim *sim, uint32_t number, uint64_t seq)
{
    struct sim_group *group = &sim->ledger->groups[number];

    if (seq == 0 || seq > SEQ_MAX) {
        sim_fail(sim, "the node speaks of sequence %llu in group %u", (unsigned long long)seq,
                 number);
        return NULL;
    }
    if (seq >= group->entry_cap) {
        uint32_t cap = group->entry_cap ? group->entry_cap : 64;

        while (cap <= seq)
            cap *= 2;
        group->entries = sim_xrealloc(group->entries, cap * sizeof(*group->entries));
        memset(group->entries + group->entry_cap, 0,
               (cap - group->entry_cap) * sizeof(*group->entries));
        group->entry_cap = cap;
    }
    if (seq > group->last_seq)
        group->last_seq = seq;
    return &group->entries[seq];
}

/* What stands at seq; message: number + 1, or 0. */
static struct sim_entry *place(struct sim *sim, uint32_t number, uint64_t seq,
                               const struct sim_entry *what)
{
    struct sim_entry *entry = entry_at(sim, number, seq);

    if (!entry)
        return NULL;
    if (!entry->placed) {
        entry->placed = true;
        entry->what = what->what;
        entry->author = what->author;
        entry->message = what->message;
    } else if (entry->what != what->what || entry->author != what->author ||
               entry->message != what->message) {
        sim_fail(sim,
                 "group %u: sequence %llu is (%u, agent %u, message %u) to one client and "
                 "(%u, agent %u, message %u) to another",
                 number, (unsigned long long)seq, entry->what, entry->author, entry->message - 1,
                 what->what, what->author, what->message - 1);
        return NULL;
    }
    return entry;
}

void sim_group_place(struct sim *sim, const struct sim_message *message, uint64_t seq)
{
    struct sim_entry what = {
        .what = AL_GROUP_MESSAGE, .author = message->from, .message = message->number + 1};

    (void)place(sim, message->to - SIM_AGENTS, seq, &what);
}

/* ---- joins and leaves -------------------------------------------------------------------- */

static uint32_t ask(struct sim *sim, uint32_t number, uint32_t agent)
{
    struct sim_member *member = &sim->ledger->groups[number].members[agent];

    member->certain = 0;
    member->overtaken = member->open++ > 0;
    return ++member->changes;
}

void sim_group_ask_over(struct sim *sim, uint32_t number, uint32_t agent)
{
    sim->ledger->groups[number].members[agent].open--;
}

uint32_t sim_group_asks_join(struct sim *sim, uint32_t number, uint32_t agent, uint64_t from_seq)
{
    struct sim_member *member = &sim->ledger->groups[number].members[agent];

    if (from_seq && from_seq < member->lowest_ask)
        member->lowest_ask = from_seq;
    return ask(sim, number, agent);
}

uint32_t sim_group_asks_leave(struct sim *sim, uint32_t number, uint32_t agent)
{
    return ask(sim, number, agent);
}

void sim_group_told_change(struct sim *sim, uint32_t number, uint32_t agent, bool joined,
                           uint64_t seq, uint32_t asked)
{
    struct sim_member *member = &sim->ledger->groups[number].members[agent];
    struct sim_entry what = {.what = joined ? AL_GROUP_JOINED : AL_GROUP_LEFT, .author = agent};

    (void)place(sim, number, seq, &what);
    if (member->changes != asked || member->overtaken)
        return; /* somebody else has asked meanwhile: nobody knows which was first */
    member->certain = joined ? 1 : -1;
    member->since_ns = sim->mono_ns;
}

void sim_group_told_from(struct sim *sim, uint32_t number, uint64_t seq, uint64_t from_seq)
{
    struct sim_entry *entry = entry_at(sim, number, seq);

    if (!entry)
        return;
    entry->from_known = true;
    entry->from_seq = from_seq;
}

void sim_group_refused(struct sim *sim, const struct sim_message *message)
{
    const struct sim_member *member;

    if (message->to < SIM_AGENTS) {
        sim_fail(sim, "message %u to an agent is refused: NOT_MEMBER", message->number);
        return;
    }
    member = &sim->ledger->groups[message->to - SIM_AGENTS].members[message->from];
    if (member->certain == 1 && message->sent_ns > member->since_ns)
        sim_fail(sim, "agent %u is a member of group %u and may not post message %u", message->from,
                 message->to - SIM_AGENTS, message->number);
}

/* ---- the chain --------------------------------------------------------------------------- */

static void hash_bytes(struct al_str bytes, uint8_t ret_hash[32])
{
    (void)crypto_generichash(ret_hash, 32, bytes.p, bytes.n, NULL, 0);
}

static void hash_link(const struct al_msg_group_entry *m, uint8_t ret_hash[32])
{
    crypto_generichash_state state;
    uint8_t fixed[18], envelope[32];

    al_put64(fixed, m->seq);
    al_put64(fixed + 8, m->wall_ms);
    fixed[16] = m->what;
    fixed[17] = (uint8_t)m->author.n;
    hash_bytes(m->envelope, envelope);
    (void)crypto_generichash_init(&state, NULL, 0, 32);
    (void)crypto_generichash_update(&state, m->prev_hash.p, 32);
    (void)crypto_generichash_update(&state, fixed, sizeof(fixed));
    (void)crypto_generichash_update(&state, m->author.p, m->author.n);
    (void)crypto_generichash_update(&state, envelope, sizeof(envelope));
    (void)crypto_generichash_final(&state, ret_hash, 32);
}

/* The neighbours must agree on the hash between them. */
static void check_chain(struct sim *sim, uint32_t number, uint64_t seq)
{
    const struct sim_group *group = &sim->ledger->groups[number];
    const struct sim_entry *entry = &group->entries[seq];
    uint8_t begin[32];
    char name[16];

    sim_agent_name(SIM_AGENTS + number, name);
    hash_bytes(al_str_c(name), begin);
    if (seq == 1 ? memcmp(entry->prev_hash, begin, 32) != 0
                 : group->entries[seq - 1].hashed &&
                       memcmp(entry->prev_hash, group->entries[seq - 1].hash, 32) != 0)
        sim_fail(sim, "group %u: the chain is broken before %llu", number, (unsigned long long)seq);
    if (seq + 1 < group->entry_cap && group->entries[seq + 1].known &&
        memcmp(entry->hash, group->entries[seq + 1].prev_hash, 32) != 0)
        sim_fail(sim, "group %u: the chain is broken behind %llu", number, (unsigned long long)seq);
}

/* ---- entries ----------------------------------------------------------------------------- */

/* What the entry says that it is; false: the run has failed. */
static bool identify(struct sim *sim, uint32_t number, const struct al_msg_group_entry *m,
                     struct sim_entry *ret_what)
{
    struct al_msg_envelope envelope;
    const struct sim_message *message;
    uint32_t author = sim_agent_find(m->author);

    *ret_what = (struct sim_entry){.what = m->what, .author = author};
    if (author >= SIM_AGENTS || m->prev_hash.n != 32 ||
        al_decode_envelope(m->envelope, &envelope) < 0) {
        sim_fail(sim, "group %u: entry %llu makes no sense", number, (unsigned long long)m->seq);
        return false;
    }
    if (m->what != AL_GROUP_MESSAGE) {
        const char *kind =
            m->what == AL_GROUP_JOINED ? "agentlink.group.join" : "agentlink.group.leave";

        if (!al_str_eq(envelope.kind, al_str_c(kind)) || !al_str_eq(envelope.payload, m->author))
            sim_fail(sim, "group %u: %llu is a notice of another kind", number,
                     (unsigned long long)m->seq);
        return !sim->failed;
    }
    message = sim_message_find(sim, &envelope.message_id);
    if (!message || !message->sent || message->to != SIM_AGENTS + number) {
        sim_fail(sim, "group %u: %llu is a message that nobody posted", number,
                 (unsigned long long)m->seq);
        return false;
    }
    ret_what->message = message->number + 1;
    if (message->from != author || message->refused || (message->flags & AL_PUBLISH_VOLATILE))
        sim_fail(sim, "group %u: message %u is at %llu: by another author, refused, or volatile",
                 number, message->number, (unsigned long long)m->seq);
    sim_check_body(sim, message, m->envelope);
    return !sim->failed;
}

/* No message has two places: by what its sender was told, and by every other client. */
static void check_once(struct sim *sim, uint32_t number, uint64_t seq, uint32_t name)
{
    struct sim_message *message = &sim->ledger->messages[name - 1];

    if ((message->stream && message->seq != seq) ||
        (message->group_seq && message->group_seq != seq))
        sim_fail(sim, "group %u: message %u is there twice, at %llu and at %llu", number,
                 message->number, (unsigned long long)seq,
                 (unsigned long long)(message->stream ? message->seq : message->group_seq));
    message->group_seq = seq;
}

void sim_group_told_entry(struct sim *sim, uint32_t number, const struct al_msg_group_entry *m)
{
    struct sim_entry what, *entry;

    if (!identify(sim, number, m, &what) || !(entry = place(sim, number, m->seq, &what)))
        return;
    if (what.message)
        check_once(sim, number, m->seq, what.message);
    if (entry->known) {
        if (entry->wall_ms != m->wall_ms || memcmp(entry->prev_hash, m->prev_hash.p, 32) != 0)
            sim_fail(sim, "group %u: %llu has another time or hash than it had", number,
                     (unsigned long long)m->seq);
        return;
    }
    entry->wall_ms = m->wall_ms;
    memcpy(entry->prev_hash, m->prev_hash.p, 32);
    hash_link(m, what.hash);
    if (entry->hashed && memcmp(entry->hash, what.hash, 32) != 0)
        sim_fail(sim, "group %u: GROUP_ROW gave another hash of %llu", number,
                 (unsigned long long)m->seq);
    memcpy(entry->hash, what.hash, 32);
    entry->known = entry->hashed = true;
    check_chain(sim, number, m->seq);
}

void sim_group_told_row(struct sim *sim, uint32_t number, const struct al_msg_group_row *m)
{
    struct sim_group *group = &sim->ledger->groups[number];
    struct sim_entry *entry;

    if (m->first_seq < 1 || m->first_seq > m->next_seq || m->hash.n != 32) {
        sim_fail(sim, "GROUP_ROW of group %u makes no sense", number);
        return;
    }
    if (!group->limited && m->first_seq != 1)
        sim_fail(sim, "group %u is to keep everything and begins at %llu", number,
                 (unsigned long long)m->first_seq);
    if (m->first_seq > group->first_seq)
        group->first_seq = m->first_seq;
    if (m->next_seq == 1 || !(entry = entry_at(sim, number, m->next_seq - 1)))
        return;
    if (entry->hashed && memcmp(entry->hash, m->hash.p, 32) != 0)
        sim_fail(sim, "group %u: GROUP_ROW has another hash of %llu", number,
                 (unsigned long long)m->next_seq - 1);
    memcpy(entry->hash, m->hash.p, 32);
    entry->hashed = true;
}

void sim_group_told_member(struct sim *sim, uint32_t number, const struct al_msg_group_member *m)
{
    uint32_t agent = sim_agent_find(m->agent);
    struct sim_message like = {
        .from = SIM_AGENTS + number, .to = agent, .priority = AL_PRIORITY_DEFAULT};
    struct sim_member *member;

    if (agent >= SIM_AGENTS) {
        sim_fail(sim, "group %u has a member that is no agent", number);
        return;
    }
    sim_told_stream(sim, m->stream, &like);
    member = &sim->ledger->groups[number].members[agent];
    member->in_row = true;
    member->joined_seq = m->joined_seq;
    member->left_seq = m->left_seq;
    member->acked_seq = m->acked_seq;
    member->pending = m->pending;
}

/* ---- deliveries -------------------------------------------------------------------------- */

/* What stands between prev_seq and seq was dropped: nothing that is known to have ended well. */
static void check_prev(struct sim *sim, const struct al_msg_deliver *m)
{
    const struct sim_stream *stream = sim_stream(sim, m->stream);

    if (m->prev_seq >= m->seq)
        sim_fail(sim, "%u:%llu names %llu as the one before", m->stream, (unsigned long long)m->seq,
                 (unsigned long long)m->prev_seq);
    for (uint64_t seq = m->prev_seq + 1; m->prev_seq && seq < m->seq; seq++) {
        const struct sim_slot *slot = &stream->slots[seq];

        if ((slot->flags & SIM_SLOT_ENDED) && !(slot->flags & (SIM_SLOT_DEAD | SIM_SLOT_NACKED)) &&
            !(slot->good & 1u << AL_STATUS_FAILED))
            sim_fail(sim, "%u:%llu ended well, but %llu names %llu as the one before", m->stream,
                     (unsigned long long)seq, (unsigned long long)m->seq,
                     (unsigned long long)m->prev_seq);
    }
}

static uint8_t what_of(struct al_str bytes)
{
    struct al_msg_envelope envelope;

    if (al_decode_envelope(bytes, &envelope) < 0)
        return 0;
    return al_str_eq(envelope.kind, al_str_c("agentlink.group.join"))    ? AL_GROUP_JOINED
           : al_str_eq(envelope.kind, al_str_c("agentlink.group.leave")) ? AL_GROUP_LEFT
                                                                         : AL_GROUP_MESSAGE;
}

bool sim_group_told_deliver(struct sim *sim, uint32_t agent, const struct al_frame *frame,
                            const struct al_msg_deliver *m)
{
    const uint8_t *end = m->envelope.p + m->envelope.n;
    struct al_str ext = al_str_of(end, (size_t)(frame->body.p + frame->body.n - end)), name;
    struct sim_message like = {.to = agent, .priority = AL_PRIORITY_DEFAULT};
    struct al_msg_group_entry entry = {.seq = m->seq,
                                       .what = what_of(m->envelope),
                                       .wall_ms = m->admitted_ms,
                                       .author = m->from,
                                       .envelope = m->envelope};
    struct sim_slot *slot;

    if (al_ext_find(ext, AL_DELIVER_EXT_GROUP, &name) != 1)
        return false;
    sim->ledger->deliveries++;
    like.from = sim_agent_find(name);
    if (like.from < SIM_AGENTS || like.from == SIM_NONE || m->label.n ||
        m->priority != AL_PRIORITY_DEFAULT ||
        al_ext_find(ext, AL_DELIVER_EXT_PREV_HASH, &entry.prev_hash) != 1) {
        sim_fail(sim, "%u:%llu says that it is of a group and is not", m->stream,
                 (unsigned long long)m->seq);
        return true;
    }
    sim_told_stream(sim, m->stream, &like);
    if (like.from == SIM_GROUP_TEMP)
        return true; /* its next life has other messages in the same places */
    sim_group_told_entry(sim, like.from - SIM_AGENTS, &entry);
    slot = sim_slot(sim, m->stream, m->seq);
    if (!slot || sim->failed)
        return true;
    if (m->attempt < 1 || m->attempt > sim->profile.policy.retry_max + 1)
        sim_fail(sim, "%u:%llu comes as attempt %u", m->stream, (unsigned long long)m->seq,
                 m->attempt);
    slot->flags |= SIM_SLOT_SEEN;
    check_prev(sim, m);
    return true;
}

bool sim_group_told_letter(struct sim *sim, const struct al_msg_dlq_row *m)
{
    struct sim_message like = {.from = sim_agent_find(m->from),
                               .to = sim_agent_find(m->to),
                               .priority = AL_PRIORITY_DEFAULT};
    struct sim_slot *slot;

    if (like.from < SIM_AGENTS || like.from == SIM_NONE)
        return false;
    sim->ledger->letters++;
    sim_told_stream(sim, m->stream, &like);
    slot = sim_slot(sim, m->stream, m->seq);
    if (!slot || sim->failed)
        return true;
    if (m->code == AL_E_DEAD_LETTERED && m->attempts != sim->profile.policy.retry_max + 1)
        sim_fail(sim, "%u:%llu is dead after %u attempts", m->stream, (unsigned long long)m->seq,
                 m->attempts);
    slot->flags |= SIM_SLOT_ENDED | SIM_SLOT_DEAD;
    return true;
}

/* ---- the end at all members -------------------------------------------------------------- */

static const struct sim_slot *slot_of(const struct sim *sim, uint32_t group, uint32_t agent,
                                      uint64_t seq)
{
    for (uint32_t n = 0; n < sim->ledger->stream_cap; n++) {
        const struct sim_stream *stream = &sim->ledger->streams[n];

        if (stream->known && stream->from == SIM_AGENTS + group && stream->to == agent &&
            seq < stream->slot_cap && (stream->slots[seq].starts || stream->slots[seq].flags))
            return &stream->slots[seq];
    }
    return NULL;
}

/* Who was a member before it was posted and is one still has dealt with it. */
void sim_group_told_end(struct sim *sim, const struct sim_message *message, uint8_t state)
{
    uint32_t number = message->to - SIM_AGENTS;

    if (state != AL_STATE_DELIVERED)
        return; /* at a member that lost every delivery it is a dead letter */
    for (uint32_t a = 0; a < SIM_AGENTS; a++) {
        const struct sim_member *member = &sim->ledger->groups[number].members[a];
        const struct sim_slot *slot;

        if (member->certain != 1 || member->since_ns >= message->sent_ns)
            continue;
        slot = slot_of(sim, number, a, message->seq);
        if (!slot)
            sim_fail(sim,
                     "message %u is said to have ended (%u) in group %u; agent %u, a member, "
                     "never saw it",
                     message->number, state, number, a);
    }
}
