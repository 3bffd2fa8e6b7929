/* groups.c - a client that administers groups: makes them, lets agents join and leave, reads.
 *
 * Posting is the producers' business, receiving the consumers': a group is one more recipient, and
 * its messages come to the same inboxes. At the end the last of these clients is the auditor: it
 * fetches every group's row, members and whole history. */
#include "base/errors.h"
#include "roles.h"
#include <stdlib.h>
#include <string.h>

/* The question under way; type 0: none. */
struct question {
    uint8_t type;
    uint32_t request, group, agent, ask;
    uint64_t from_seq; /* GROUP_JOIN; GROUP_HISTORY: the first one wanted */
    uint64_t next_seq; /* the next entry that must come, 0: any */
    uint64_t rows, asked_ns;
};

enum audit { AUDIT_NO, AUDIT_ROW, AUDIT_MEMBERS, AUDIT_HISTORY, AUDIT_DONE };

struct grouper {
    struct question open;
    enum audit audit;
    uint32_t group; /* that is being audited */
    uint64_t next_seq;
};

static void grouper_init(struct sim *sim, struct sim_client *client)
{
    struct grouper *g = sim_xrealloc(NULL, sizeof(*g));

    (void)sim;
    memset(g, 0, sizeof(*g));
    client->role_state = g;
}

static void grouper_free(struct sim *sim, struct sim_client *client)
{
    (void)sim;
    free(client->role_state);
}

static struct question *ask(struct sim *sim, struct sim_client *client, uint8_t type,
                            uint32_t group)
{
    struct grouper *g = client->role_state;

    g->open = (struct question){.type = type,
                                .request = ++client->next_request,
                                .group = group,
                                .agent = SIM_NONE,
                                .asked_ns = sim->mono_ns};
    return &g->open;
}

/* It is answered, or cannot be any more. */
static void close_question(struct sim *sim, struct grouper *g)
{
    if (g->open.type && g->open.ask)
        sim_group_ask_over(sim, g->open.group, g->open.agent);
    g->open.type = 0;
}

/* ---- questions --------------------------------------------------------------------------- */

/* The first group keeps everything, the others a little. */
static void add_group(struct sim *sim, struct sim_client *client, uint32_t group)
{
    struct al_msg_group_add m = {.keep_ms = 100ull * 365 * 24 * 3600 * 1000};
    char name[16];

    sim_agent_name(SIM_AGENTS + group, name);
    m.request = ask(sim, client, AL_MSG_GROUP_ADD, group)->request;
    m.group = al_str_c(name);
    if (group == 1 || group == SIM_GROUPS)
        m.keep_count = 40;
    if (group == 2) {
        m.keep_bytes = 6000;
        m.keep_ms = 3000;
    }
    SIM_PUT(sim, client, group_add, &m);
}

static void ask_join(struct sim *sim, struct sim_client *client, uint32_t group, uint32_t agent)
{
    struct question *q = ask(sim, client, AL_MSG_GROUP_JOIN, group);
    uint64_t last = group < SIM_GROUPS ? sim->ledger->groups[group].last_seq : 1;
    struct al_msg_group_join m = {.request = q->request};
    char name[16], who[16];

    sim_agent_name(SIM_AGENTS + group, name);
    sim_agent_name(agent, who);
    m.group = al_str_c(name);
    m.agent = al_str_c(who);
    if (last > 0 && sim_chance(sim, 400))
        m.from_seq = sim_rand_range(&sim->rand, 1, last);
    q->agent = agent;
    q->from_seq = m.from_seq;
    if (group < SIM_GROUPS)
        q->ask = sim_group_asks_join(sim, group, agent, m.from_seq);
    SIM_PUT(sim, client, group_join, &m);
}

static void ask_leave(struct sim *sim, struct sim_client *client, uint32_t group, uint32_t agent)
{
    struct question *q = ask(sim, client, AL_MSG_GROUP_LEAVE, group);
    struct al_msg_group_leave m = {.request = q->request};
    char name[16], who[16];

    sim_agent_name(SIM_AGENTS + group, name);
    sim_agent_name(agent, who);
    m.group = al_str_c(name);
    m.agent = al_str_c(who);
    q->agent = agent;
    if (group < SIM_GROUPS)
        q->ask = sim_group_asks_leave(sim, group, agent);
    SIM_PUT(sim, client, group_leave, &m);
}

static void ask_removal(struct sim *sim, struct sim_client *client)
{
    struct al_msg_group_remove m = {.flags = sim_chance(sim, 700)};
    char name[16];

    m.request = ask(sim, client, AL_MSG_GROUP_REMOVE, SIM_GROUPS)->request;
    sim_agent_name(SIM_GROUP_TEMP, name);
    m.group = al_str_c(name);
    SIM_PUT(sim, client, group_remove, &m);
}

/* The group that comes and goes: joins and leaves are all its messages. */
static void change_temp(struct sim *sim, struct sim_client *client, uint32_t agent)
{
    uint64_t what = sim_rand_below(&sim->rand, 8);

    if (what < 2)
        add_group(sim, client, SIM_GROUPS);
    else if (what < 6)
        ask_join(sim, client, SIM_GROUPS, agent);
    else if (what < 7)
        ask_leave(sim, client, SIM_GROUPS, agent);
    else
        ask_removal(sim, client);
}

/* agent: SIM_NONE asks as the group's owner. */
static void ask_history(struct sim *sim, struct sim_client *client, uint32_t group, uint32_t agent,
                        uint64_t first_seq)
{
    struct question *q = ask(sim, client, AL_MSG_GROUP_HISTORY, group);
    struct al_msg_group_history m = {.request = q->request, .first_seq = first_seq};
    char name[16], who[16];

    sim_agent_name(SIM_AGENTS + group, name);
    m.group = al_str_c(name);
    if (agent != SIM_NONE) {
        sim_agent_name(agent, who);
        m.agent = al_str_c(who);
    }
    if (sim->load_on)
        m.limit = (uint32_t)sim_rand_range(&sim->rand, 1, 30);
    q->agent = agent;
    q->from_seq = first_seq;
    q->next_seq = sim->ledger->groups[group].limited ? 0 : first_seq;
    SIM_PUT(sim, client, group_history, &m);
}

static void ask_row(struct sim *sim, struct sim_client *client, uint32_t group)
{
    struct al_msg_group_list m = {.exact = 1};
    char name[16];

    m.request = ask(sim, client, AL_MSG_GROUP_LIST, group)->request;
    sim_agent_name(SIM_AGENTS + group, name);
    m.after = al_str_c(name);
    SIM_PUT(sim, client, group_list, &m);
}

static void ask_members(struct sim *sim, struct sim_client *client, uint32_t group)
{
    struct al_msg_group_members m = {0};
    char name[16];

    m.request = ask(sim, client, AL_MSG_GROUP_MEMBERS, group)->request;
    sim_agent_name(SIM_AGENTS + group, name);
    m.group = al_str_c(name);
    for (uint32_t a = 0; a < SIM_AGENTS; a++)
        sim->ledger->groups[group].members[a].in_row = false;
    SIM_PUT(sim, client, group_members, &m);
}

static void ask_letters(struct sim *sim, struct sim_client *client, uint32_t agent)
{
    struct al_msg_dlq_list m = {.limit = 50};
    struct question *q = ask(sim, client, AL_MSG_DLQ_LIST, 0);
    char name[16];

    sim_agent_name(agent, name);
    m.request = q->request;
    m.agent = al_str_c(name);
    q->agent = agent;
    SIM_PUT(sim, client, dlq_list, &m);
}

/* Of a group: an ordinary letter is the tool's. It was listed, so the ledger knows of it. */
static void purge(struct sim *sim, struct sim_client *client, const struct al_msg_dlq_row *m)
{
    struct al_msg_dlq_purge p = {
        .request = UINT32_MAX, .message_id = m->message_id, .agent = m->to};

    SIM_PUT(sim, client, dlq_purge, &p);
}

static void ask_at_random(struct sim *sim, struct sim_client *client)
{
    uint64_t what = sim_rand_below(&sim->rand, 24);
    uint32_t group = (uint32_t)sim_rand_below(&sim->rand, sim->profile.groups);
    uint32_t agent = (uint32_t)sim_rand_below(&sim->rand, sim->profile.agents);
    uint64_t last = sim->ledger->groups[group].last_seq;

    if (!sim->load_on && what != 11)
        return;
    if (what < 4)
        ask_join(sim, client, group, agent);
    else if (what == 4)
        ask_leave(sim, client, group, agent);
    else if (what < 9)
        ask_history(sim, client, group, what < 7 ? SIM_NONE : agent,
                    sim_rand_range(&sim->rand, 1, last + 1));
    else if (what == 9)
        ask_row(sim, client, group);
    else if (what == 10)
        ask_members(sim, client, group);
    else if (what == 11)
        ask_letters(sim, client, agent);
    else if (what < 16)
        change_temp(sim, client, agent);
}

/* ---- audit ------------------------------------------------------------------------------- */

static void go_on(struct sim *sim, struct sim_client *client)
{
    struct grouper *g = client->role_state;

    if (g->open.type || !client->ready)
        return;
    if (g->audit == AUDIT_ROW && g->group == sim->profile.groups)
        g->audit = AUDIT_DONE;
    else if (g->audit == AUDIT_ROW)
        ask_row(sim, client, g->group);
    else if (g->audit == AUDIT_MEMBERS)
        ask_members(sim, client, g->group);
    else if (g->audit == AUDIT_HISTORY)
        ask_history(sim, client, g->group, SIM_NONE, g->next_seq);
}

void sim_grouper_audit(struct sim *sim, struct sim_client *client)
{
    struct grouper *g = client->role_state;

    g->audit = AUDIT_ROW;
    g->group = 0;
    g->next_seq = 1;
    sim_client_wake(sim, client, 0);
}

bool sim_grouper_audit_done(const struct sim_client *client)
{
    return ((const struct grouper *)client->role_state)->audit == AUDIT_DONE;
}

/* The question of this step is answered without an error; rows: how many there were. */
static void audit_step(struct grouper *g, uint64_t rows)
{
    if (g->audit == AUDIT_ROW || g->audit == AUDIT_MEMBERS) {
        g->audit++;
    } else if (rows == 0) {
        g->audit = AUDIT_ROW;
        g->group++;
        g->next_seq = 1;
    }
}

/* ---- answers ----------------------------------------------------------------------------- */

static void on_entry(struct sim *sim, struct sim_client *client, const struct al_msg_group_entry *m)
{
    struct grouper *g = client->role_state;
    struct question *q = &g->open;

    if (q->type != AL_MSG_GROUP_HISTORY || m->request != q->request)
        return; /* of a question before the connection was lost */
    if (q->next_seq ? m->seq != q->next_seq : m->seq < q->from_seq)
        sim_fail(sim, "group %u: the history from %llu on gives %llu where %llu should be",
                 q->group, (unsigned long long)q->from_seq, (unsigned long long)m->seq,
                 (unsigned long long)q->next_seq);
    q->next_seq = m->seq + 1;
    q->rows++;
    sim_group_told_entry(sim, q->group, m);
    if (g->audit == AUDIT_HISTORY && !sim->failed) {
        sim->ledger->groups[q->group].entries[m->seq].in_history = true;
        g->next_seq = m->seq + 1;
    }
}

static void history_done(struct sim *sim, const struct question *q, const struct al_msg_done *m)
{
    const struct sim_group *group = &sim->ledger->groups[q->group];
    const struct sim_member *member = q->agent == SIM_NONE ? NULL : &group->members[q->agent];

    if (m->code == AL_E_NOT_MEMBER &&
        (!member || (member->certain == 1 && member->since_ns < q->asked_ns)))
        sim_fail(sim, "group %u: agent %u is a member and may not read the history", q->group,
                 q->agent);
    if (m->code == 0 && member && member->certain == -1 && member->since_ns < q->asked_ns)
        sim_fail(sim, "group %u: agent %u is no member and may read the history", q->group,
                 q->agent);
    if (m->code == 0 && m->count != q->rows)
        sim_fail(sim, "group %u: %llu entries came, DONE counts %llu", q->group,
                 (unsigned long long)q->rows, (unsigned long long)m->count);
}

static void change_done(struct sim *sim, const struct question *q, const struct al_msg_done *m)
{
    bool joined = q->type == AL_MSG_GROUP_JOIN;

    if (m->code)
        return;
    sim_group_told_change(sim, q->group, q->agent, joined, m->count, q->ask);
    if (joined && !sim->failed)
        sim_group_told_from(sim, q->group, m->count, q->from_seq);
}

static bool is_fine(unsigned code)
{
    static const unsigned fine[] = {
        0,
        AL_E_NOMEM,
        AL_E_DISK_FULL,
        AL_E_BUSY,
        AL_E_EXISTS,
        AL_E_LIMIT,
        AL_E_IO,
        AL_E_NOT_MEMBER,
        AL_E_UNKNOWN_AGENT,
        AL_E_INBOX_FULL,
        AL_E_DLQ_FULL,
        AL_E_DENIED,
        AL_E_POISONED}; /* the last words of a node whose disk has failed */

    for (unsigned i = 0; i < sizeof(fine) / sizeof(fine[0]); i++)
        if (code == fine[i])
            return true;
    return false;
}

static void on_done(struct sim *sim, struct sim_client *client, const struct al_msg_done *m)
{
    struct grouper *g = client->role_state;
    struct question q = g->open;

    if (!q.type || m->request != q.request)
        return;
    sim_note(sim, "client %: $ is done: !", client->index, q.type, m->code);
    close_question(sim, g);
    if (q.group == SIM_GROUPS && (is_fine(m->code) || m->code == AL_E_UNKNOWN_GROUP))
        return; /* nothing is known of it for long */
    if (!is_fine(m->code))
        sim_fail(sim, "%s about group %u is answered with %s", al_msg_name(q.type), q.group,
                 al_error_name(m->code));
    if (q.type == AL_MSG_GROUP_ADD)
        sim->ledger->groups[q.group].made |= m->code == 0 || m->code == AL_E_EXISTS;
    else if (q.type == AL_MSG_GROUP_HISTORY)
        history_done(sim, &q, m);
    else if (q.type == AL_MSG_GROUP_JOIN || q.type == AL_MSG_GROUP_LEAVE)
        change_done(sim, &q, m);
    if (g->audit != AUDIT_NO && m->code == 0)
        audit_step(g, q.rows);
}

static void grouper_frame(struct sim *sim, struct sim_client *client, const struct al_frame *frame)
{
    struct grouper *g = client->role_state;
    const struct question *q = &g->open;
    union {
        struct al_msg_group_entry entry;
        struct al_msg_group_row row;
        struct al_msg_group_member member;
        struct al_msg_dlq_row letter;
        struct al_msg_done done;
        struct al_msg_error error;
    } m;

    switch (frame->type) {
    case AL_MSG_GROUP_ENTRY:
        if (SIM_GET(sim, frame, group_entry, &m.entry))
            on_entry(sim, client, &m.entry);
        break;
    case AL_MSG_GROUP_ROW:
        if (SIM_GET(sim, frame, group_row, &m.row) && m.row.request == q->request)
            sim_group_told_row(sim, q->group, &m.row);
        break;
    case AL_MSG_GROUP_MEMBER:
        if (SIM_GET(sim, frame, group_member, &m.member) && m.member.request == q->request)
            sim_group_told_member(sim, q->group, &m.member);
        break;
    case AL_MSG_DLQ_ROW:
        if (SIM_GET(sim, frame, dlq_row, &m.letter) && sim_group_told_letter(sim, &m.letter) &&
            sim_chance(sim, 500))
            purge(sim, client, &m.letter);
        break;
    case AL_MSG_DONE:
        if (SIM_GET(sim, frame, done, &m.done))
            on_done(sim, client, &m.done);
        break;
    case AL_MSG_ERROR:
        if (SIM_GET(sim, frame, error, &m.error) && m.error.request == q->request)
            close_question(sim, g);
        break;
    default:
        break;
    }
    if (g->audit != AUDIT_NO)
        go_on(sim, client);
}

/* ---- waking ------------------------------------------------------------------------------ */

static void nothing(struct sim *sim, struct sim_client *client)
{
    (void)sim;
    (void)client;
}

static void grouper_disconnected(struct sim *sim, struct sim_client *client)
{
    struct grouper *g = client->role_state;

    close_question(sim, g);
}

static void grouper_wake(struct sim *sim, struct sim_client *client)
{
    struct grouper *g = client->role_state;
    uint32_t group = 0;

    while (group < sim->profile.groups && sim->ledger->groups[group].made)
        group++;
    if (client->ready && !g->open.type) {
        if (g->audit != AUDIT_NO)
            go_on(sim, client);
        else if (group < sim->profile.groups)
            add_group(sim, client, group);
        else
            ask_at_random(sim, client);
    }
    sim_client_wake(sim, client, sim_delay(sim, 12000));
}

const struct sim_role_ops sim_grouper_ops = {
    .init = grouper_init,
    .free = grouper_free,
    .ready = nothing,
    .frame = grouper_frame,
    .disconnected = grouper_disconnected,
    .crashed = grouper_disconnected,
    .wake = grouper_wake,
};
