/* group_account.c - every group at the end: who was a member when, and what each member got.
 *
 * The audit has fetched the whole history. From the joins and leaves in it follows what each agent
 * had to get, and what it must not have got: nothing from before its joining, unless it asked to
 * catch up, nothing from behind its leaving, and everything in between. */
#include "base/errors.h"
#include "ledger.h"
#include <stdlib.h>
#include <string.h>

enum { MAY = 1, MUST = 2, DONE = 4 };

/* The history as the audit found it: nothing is missing, and every receipt is true. */
static void check_history(struct sim *sim, uint32_t number)
{
    const struct sim_group *group = &sim->ledger->groups[number];

    for (uint64_t seq = group->first_seq; seq <= group->last_seq && !sim->failed; seq++) {
        const struct sim_entry *entry = &group->entries[seq];

        if (!entry->in_history)
            sim_fail(sim, "group %u: %llu is not in the history, which goes from %llu to %llu",
                     number, (unsigned long long)seq, (unsigned long long)group->first_seq,
                     (unsigned long long)group->last_seq);
    }
    for (uint32_t i = 0; i < sim->ledger->message_count && !sim->failed; i++) {
        const struct sim_message *m = &sim->ledger->messages[i];

        if (m->to == SIM_AGENTS + number && m->receipted && m->stream &&
            m->seq >= group->first_seq &&
            (m->seq > group->last_seq || group->entries[m->seq].message != i + 1))
            sim_fail(sim, "group %u: message %u was acknowledged as %llu and is not there", number,
                     i, (unsigned long long)m->seq);
    }
}

/* A join: from where on the agent may get messages, and from where it must. */
static void mark_join(const struct sim_group *group, uint32_t agent, uint64_t seq, uint64_t left,
                      uint8_t *marks)
{
    const struct sim_entry *entry = &group->entries[seq];
    uint64_t low = entry->from_known ? entry->from_seq : group->members[agent].lowest_ask;
    uint64_t must = entry->from_known && entry->from_seq && !group->limited ? entry->from_seq : seq;

    for (uint64_t at = low ? low : seq; at < seq; at++)
        marks[at] |= MAY;
    for (uint64_t at = must > left ? must : left + 1; at < seq; at++)
        marks[at] |= MUST;
}

/* Marks what the agent may and must have got; false: the run has failed. */
static bool mark_membership(struct sim *sim, uint32_t number, uint32_t agent, uint8_t *marks,
                            bool *ret_inside)
{
    const struct sim_group *group = &sim->ledger->groups[number];
    bool inside = false;
    uint64_t left = 0;

    for (uint64_t seq = 1; seq <= group->last_seq && !sim->failed; seq++) {
        const struct sim_entry *entry = &group->entries[seq];
        bool own = entry->author == agent;

        if (own && entry->what == AL_GROUP_JOINED) {
            if (inside)
                sim_fail(sim, "group %u: agent %u joins at %llu and is a member", number, agent,
                         (unsigned long long)seq);
            mark_join(group, agent, seq, left, marks);
            inside = true;
        }
        if (own && !inside)
            sim_fail(sim, "group %u: agent %u is no member and posts, or leaves, at %llu", number,
                     agent, (unsigned long long)seq);
        if (inside)
            marks[seq] |= MAY | MUST;
        if (own && entry->what == AL_GROUP_LEFT) {
            inside = false;
            left = seq;
        }
    }
    *ret_inside = inside;
    return !sim->failed;
}

/* What the agent's streams from the group say. */
static void mark_deliveries(struct sim *sim, uint32_t number, uint32_t agent, uint8_t *marks)
{
    const struct sim_group *group = &sim->ledger->groups[number];

    for (uint32_t n = 0; n < sim->ledger->stream_cap; n++) {
        const struct sim_stream *stream = &sim->ledger->streams[n];

        if (!stream->known || stream->from != SIM_AGENTS + number || stream->to != agent)
            continue;
        for (uint64_t seq = 1; seq < stream->slot_cap && seq <= stream->last_seq; seq++) {
            const struct sim_slot *slot = &stream->slots[seq];
            bool seen = slot->flags & (SIM_SLOT_SEEN | SIM_SLOT_DEAD);

            if (seen && (seq > group->last_seq || !(marks[seq] & MAY)))
                sim_fail(sim,
                         "group %u: agent %u got %llu, which is from before its joining or "
                         "behind its leaving",
                         number, agent, (unsigned long long)seq);
            else if (seen && ((slot->flags & SIM_SLOT_DEAD) ||
                              (slot->good & (1u << AL_STATUS_SUCCESS | 1u << AL_STATUS_PARTIAL))))
                marks[seq] |= DONE;
        }
    }
}

static void check_member(struct sim *sim, uint32_t number, uint32_t agent, uint8_t *marks)
{
    const struct sim_group *group = &sim->ledger->groups[number];
    const struct sim_member *member = &group->members[agent];
    bool inside;

    if (!mark_membership(sim, number, agent, marks, &inside))
        return;
    mark_deliveries(sim, number, agent, marks);
    for (uint64_t seq = 1; seq <= group->last_seq && !sim->failed; seq++)
        if ((marks[seq] & (MUST | DONE)) == MUST)
            sim_fail(sim,
                     "group %u: agent %u, a member, never dealt with %llu, and it is not a "
                     "dead letter",
                     number, agent, (unsigned long long)seq);
    if (inside != (member->in_row && !member->left_seq))
        sim_fail(sim, "group %u: by its history agent %u is %s; GROUP_MEMBERS says otherwise",
                 number, agent, inside ? "a member" : "none");
    if (inside && (member->pending || member->acked_seq != group->last_seq))
        sim_fail(sim, "group %u: agent %u has %llu pending and has finished %llu of %llu", number,
                 agent, (unsigned long long)member->pending, (unsigned long long)member->acked_seq,
                 (unsigned long long)group->last_seq);
}

/* Of a history that is not kept for ever, members and receipts may not tell everything. */
static bool is_complete(const struct sim_group *group)
{
    for (uint64_t seq = 1; seq <= group->last_seq; seq++)
        if (!group->entries[seq].placed)
            return false;
    return true;
}

void sim_group_account(struct sim *sim)
{
    for (uint32_t g = 0; g < sim->profile.groups && !sim->failed; g++) {
        const struct sim_group *group = &sim->ledger->groups[g];
        uint8_t *marks = sim_xrealloc(NULL, group->last_seq + 2);

        check_history(sim, g);
        for (uint32_t a = 0; a < SIM_AGENTS && is_complete(group) && !sim->failed; a++) {
            memset(marks, 0, group->last_seq + 2);
            check_member(sim, g, a, marks);
        }
        free(marks);
    }
}
