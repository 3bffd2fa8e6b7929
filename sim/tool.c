/* tool.c - a client that asks and administers: what a person with the command line would do.
 *
 * While the load runs it asks at random. At the end it is the auditor: it lists every dead letter
 * and asks for the record of every message, and the ledger compares. */
#include "base/errors.h"
#include "roles.h"
#include <stdlib.h>
#include <string.h>

#define WINDOW 8u

/* A question under way: RECORD_GET remembers what was known when it was asked. */
struct question {
    uint32_t request;     /* 0: free */
    uint8_t type, action; /* action: of SETTLE */
    bool asked_ended;
    uint32_t message;
    uint64_t asked_ns;
};

enum audit { AUDIT_NO, AUDIT_LETTERS, AUDIT_RECORDS, AUDIT_FLOWS, AUDIT_DONE };
#define FLOW_PAGE 7u /* ranges asked for at one time */

struct tool {
    struct question open[WINDOW];
    bool have_agents;
    uint64_t pending, status_at_ns;
    uint64_t asked_ns; /* when the question was sent that `pending` answers */
    enum audit audit;
    uint32_t agent;        /* whose letters are being listed */
    uint64_t after;        /* paging */
    uint32_t next_message; /* whose record is asked next */
    bool page_open;
    uint32_t page_rows;
    bool wants_letters;
    uint32_t flow;       /* workflow that is asked about */
    uint64_t flow_first; /* paging */
};

static void tool_init(struct sim *sim, struct sim_client *client)
{
    struct tool *t = sim_xrealloc(NULL, sizeof(*t));

    (void)sim;
    memset(t, 0, sizeof(*t));
    t->pending = UINT64_MAX;
    client->role_state = t;
}

static void tool_free(struct sim *sim, struct sim_client *client)
{
    (void)sim;
    free(client->role_state);
}

static struct question *ask(struct sim_client *client, uint8_t type)
{
    struct tool *t = client->role_state;

    for (unsigned i = 0; i < WINDOW; i++) {
        if (t->open[i].request == 0) {
            t->open[i] = (struct question){.request = ++client->next_request, .type = type};
            return &t->open[i];
        }
    }
    return NULL;
}

static struct question *find_question(struct tool *t, uint32_t request)
{
    for (unsigned i = 0; i < WINDOW; i++) {
        if (request && t->open[i].request == request)
            return &t->open[i];
    }
    return NULL;
}

static bool is_quiet(const struct tool *t)
{
    for (unsigned i = 0; i < WINDOW; i++) {
        if (t->open[i].request)
            return false;
    }
    return true;
}

/* ---- questions --------------------------------------------------------------------------- */

static void add_agents(struct sim *sim, struct sim_client *client)
{
    for (uint32_t i = 0; i < sim->profile.agents; i++) {
        struct al_msg_agent_add m = {.request = 0xffff};
        char name[16];

        sim_agent_name(i, name);
        m.name = al_str_c(name);
        SIM_PUT(sim, client, agent_add, &m);
    }
}

static void ask_record(struct sim *sim, struct sim_client *client, uint32_t number)
{
    const struct sim_message *message = &sim->ledger->messages[number];
    struct question *q = ask(client, AL_MSG_RECORD_GET);
    struct al_msg_record_get m = {0};

    if (!q)
        return;
    q->message = number;
    m.request = q->request;
    if (message->stream && !sim_chance(sim, 200)) {
        struct sim_slot *slot = sim_slot(sim, message->stream, message->seq);

        m.stream = message->stream;
        m.seq = message->seq;
        q->asked_ended = slot->flags & SIM_SLOT_ENDED;
    } else {
        m.message_id = message->id;
    }
    SIM_PUT(sim, client, record_get, &m);
}

static void ask_letters(struct sim *sim, struct sim_client *client, uint32_t agent, uint64_t after,
                        uint32_t limit)
{
    struct question *q = ask(client, AL_MSG_DLQ_LIST);
    struct al_msg_dlq_list m = {.limit = limit, .after = after};
    char name[16];

    if (!q)
        return;
    sim_agent_name(agent, name);
    m.request = q->request;
    m.agent = al_str_c(name);
    SIM_PUT(sim, client, dlq_list, &m);
}

static void ask_status(struct sim *sim, struct sim_client *client)
{
    struct question *q = ask(client, AL_MSG_STATUS_GET);
    struct al_msg_status_get m = {0};

    if (!q)
        return;
    q->asked_ns = sim->mono_ns;
    m.request = q->request;
    SIM_PUT(sim, client, status_get, &m);
}

/* A dead letter that a list has shown, SIM_NONE if there is none at hand. */
static uint32_t pick_letter(struct sim *sim)
{
    uint32_t n = sim->ledger->message_count;

    for (unsigned i = 0; i < 50 && n > 0; i++) {
        uint32_t at = (uint32_t)sim_rand_below(&sim->rand, n);

        if (sim->ledger->messages[at].dead_listed && !sim->ledger->messages[at].purged)
            return at;
    }
    return SIM_NONE;
}

static void handle_letter(struct sim *sim, struct sim_client *client, uint64_t how)
{
    uint32_t number = pick_letter(sim);
    struct sim_message *message;
    struct question *q;
    char name[16];

    if (number == SIM_NONE || !(q = ask(client, AL_MSG_DLQ_GET)))
        return;
    message = &sim->ledger->messages[number];
    sim_agent_name(message->to, name);
    q->message = number;
    if (how == 0) {
        struct al_msg_dlq_get m = {.request = q->request, .message_id = message->id};

        SIM_PUT(sim, client, dlq_get, &m);
    } else if (how == 1) {
        struct al_msg_dlq_redrive m = {
            .request = q->request, .message_id = message->id, .agent = al_str_c(name)};

        message->redrives++;
        message->dead_listed = false;
        if (sim_chance(sim, 150)) {
            memset(&m.message_id, 0, sizeof(m.message_id));
            sim->ledger->inboxes[message->to].redrives++;
        }
        SIM_PUT(sim, client, dlq_redrive, &m);
    } else {
        struct al_msg_dlq_purge m = {
            .request = q->request, .message_id = message->id, .agent = al_str_c(name)};

        message->purged = true;
        SIM_PUT(sim, client, dlq_purge, &m);
    }
}

static void settle_by_id(struct sim *sim, struct sim_client *client)
{
    uint32_t n = sim->ledger->message_count;
    const struct sim_message *message;
    struct al_msg_settle m = {0};
    struct question *q;

    if (n == 0)
        return;
    message = &sim->ledger->messages[n - 1 - sim_rand_below(&sim->rand, n < 60 ? n : 60)];
    if (!message->stream || message->to >= SIM_AGENTS || /* which member's? */
        !(q = ask(client, AL_MSG_SETTLE)))
        return;
    m.request = q->request;
    m.message_id = message->id;
    q->action = m.action = (uint8_t)sim_rand_range(&sim->rand, 1, 5);
    q->message = message->number;
    m.time_ms = (uint32_t)sim_rand_range(&sim->rand, 1, 200);
    SIM_PUT(sim, client, settle, &m);
}

static void list_something(struct sim *sim, struct sim_client *client, bool streams)
{
    struct question *q = ask(client, streams ? AL_MSG_STREAM_LIST : AL_MSG_AGENT_LIST);
    char name[16];

    if (!q)
        return;
    sim_agent_name((uint32_t)sim_rand_below(&sim->rand, sim->profile.agents), name);
    if (streams) {
        struct al_msg_stream_list m = {.request = q->request, .limit = 10};

        m.agent = al_str_c(name);
        SIM_PUT(sim, client, stream_list, &m);
    } else {
        struct al_msg_agent_list m = {.request = q->request, .limit = 3};

        m.after = al_str_c(name);
        SIM_PUT(sim, client, agent_list, &m);
    }
}

/* Mostly something that may still wait. */
static void cancel_something(struct sim *sim, struct sim_client *client)
{
    uint32_t n = sim->ledger->message_count;
    struct al_msg_cancel m;
    struct question *q;
    uint32_t number;

    if (n == 0)
        return;
    number = n - 1 - (uint32_t)sim_rand_below(&sim->rand, n < 40 ? n : 40);
    if (!sim_cancel_make(sim, number, &m) || !(q = ask(client, AL_MSG_CANCEL)))
        return;
    q->message = number;
    m.request = q->request;
    SIM_PUT(sim, client, cancel, &m);
}

static void ask_at_random(struct sim *sim, struct sim_client *client)
{
    uint64_t what = sim_rand_below(&sim->rand, 20), how;
    uint32_t n = sim->ledger->message_count, agent;

    switch (what) {
    case 0:
        ask_status(sim, client);
        break;
    case 1:
    case 2:
        agent = (uint32_t)sim_rand_below(&sim->rand, sim->profile.agents);
        ask_letters(sim, client, agent, 0, 20);
        break;
    case 3:
    case 4:
    case 5:
        how = sim_rand_below(&sim->rand, 7);
        handle_letter(sim, client, how < 4 ? 1 : how < 6 ? 0 : 2);
        break;
    case 6:
        settle_by_id(sim, client);
        break;
    case 7:
        list_something(sim, client, true);
        break;
    case 8:
        list_something(sim, client, false);
        break;
    case 9:
    case 10:
        cancel_something(sim, client);
        break;
    default:
        if (n > 0) {
            uint32_t back = (uint32_t)sim_rand_skewed(&sim->rand, n);

            ask_record(sim, client, n - back);
        }
    }
}

/* ---- audit ------------------------------------------------------------------------------- */

void sim_tool_audit(struct sim *sim, struct sim_client *client)
{
    struct tool *t = client->role_state;

    for (uint32_t i = 0; i < sim->ledger->message_count; i++)
        sim->ledger->messages[i].dead_listed = false;
    t->audit = AUDIT_LETTERS;
    t->agent = 0;
    t->after = 0;
    t->next_message = 0;
    t->page_open = false;
    t->wants_letters = true;
    t->flow = 0;
    t->flow_first = 0;
    sim_workflow_told_nothing(sim);
    sim_client_wake(sim, client, 0);
}

bool sim_tool_audit_done(const struct sim_client *client)
{
    return ((const struct tool *)client->role_state)->audit == AUDIT_DONE;
}

uint64_t sim_tool_asked_ns(const struct sim_client *client)
{
    return ((const struct tool *)client->role_state)->asked_ns;
}

uint64_t sim_tool_pending(const struct sim_client *client)
{
    return ((const struct tool *)client->role_state)->pending;
}

static void ask_flow(struct sim *sim, struct sim_client *client)
{
    struct tool *t = client->role_state;
    struct question *q = ask(client, AL_MSG_WORKFLOW_GET);
    struct al_msg_workflow_get m = {.limit = FLOW_PAGE, .first = t->flow_first};
    char id[8];

    sim_workflow_name(t->flow, &m.space, id);
    m.workflow = al_str_c(id);
    m.request = q->request;
    SIM_PUT(sim, client, workflow_get, &m);
}

static void on_flow(struct sim *sim, struct sim_client *client, const struct al_frame *frame)
{
    struct tool *t = client->role_state;
    struct al_msg_workflow_row row;
    struct al_msg_workflow_range range;

    if (t->audit != AUDIT_FLOWS)
        return;
    if (frame->type == AL_MSG_WORKFLOW_ROW) {
        if (SIM_GET(sim, frame, workflow_row, &row) && !t->flow_first)
            sim_workflow_told_row(sim, t->flow, &row);
    } else if (SIM_GET(sim, frame, workflow_range, &range)) {
        t->flow_first = range.last + 1;
        sim_workflow_told_range(sim, t->flow, &range);
    }
}

static void go_on(struct sim *sim, struct sim_client *client)
{
    struct tool *t = client->role_state;

    if (t->audit == AUDIT_LETTERS && !t->page_open && is_quiet(t)) {
        if (t->agent == sim->profile.agents) {
            t->audit = AUDIT_RECORDS;
        } else {
            t->page_open = true;
            t->page_rows = 0;
            ask_letters(sim, client, t->agent, t->after, 50);
        }
    }
    while (t->audit == AUDIT_RECORDS && t->next_message < sim->ledger->message_count) {
        const struct sim_message *m = &sim->ledger->messages[t->next_message];
        uint32_t before = client->next_request;

        if (m->receipted && !(m->flags & AL_PUBLISH_VOLATILE)) {
            ask_record(sim, client, t->next_message);
            if (client->next_request == before)
                return; /* all questions are under way */
        }
        t->next_message++;
    }
    if (t->audit == AUDIT_RECORDS && is_quiet(t))
        t->audit = AUDIT_FLOWS;
    if (t->audit == AUDIT_FLOWS && is_quiet(t)) {
        if (t->flow == SIM_FLOWS)
            t->audit = AUDIT_DONE;
        else
            ask_flow(sim, client);
    }
}

static void page_done(struct tool *t)
{
    t->page_open = false;
    if (t->page_rows == 0) {
        t->agent++;
        t->after = 0;
    }
}

/* ---- answers ----------------------------------------------------------------------------- */

static void on_row(struct sim *sim, struct sim_client *client, const struct al_msg_dlq_row *m)
{
    struct tool *t = client->role_state;

    if (!sim_group_told_letter(sim, m) && !sim_schedule_told_letter(sim, m))
        sim_told_letter(sim, m);
    if (t->page_open) {
        t->page_rows++;
        if (m->position <= t->after)
            sim_fail(sim, "dead letters are listed out of order");
        t->after = m->position;
    }
}

static void on_done(struct sim *sim, struct sim_client *client, const struct al_msg_done *m)
{
    struct tool *t = client->role_state;
    struct question *q = find_question(t, m->request);

    if (m->request == 0xffff) {
        t->have_agents |= m->code == 0 || m->code == AL_E_EXISTS;
        return;
    }
    if (!q)
        return;
    sim_note(sim, "client %: $ is done: !", client->index, q->type, m->code);
    if (q->type == AL_MSG_DLQ_LIST && t->page_open && m->code == 0)
        page_done(t);
    else if (q->type == AL_MSG_CANCEL && m->code == 0)
        sim_told_cancelled(sim, q->message);
    else if (q->type == AL_MSG_SETTLE && m->code == 0 && q->action <= AL_STATUS_PARTIAL)
        sim_told_settled(sim, &sim->ledger->messages[q->message], q->action);
    else if (q->type == AL_MSG_DLQ_LIST)
        t->page_open = false;
    else if (q->type == AL_MSG_WORKFLOW_GET && (m->code || m->count < FLOW_PAGE)) {
        t->flow++;
        t->flow_first = 0;
    }
    q->request = 0;
}

static void on_error(struct sim *sim, struct sim_client *client, const struct al_msg_error *m)
{
    struct tool *t = client->role_state;
    struct question *q = find_question(t, m->request);
    static const int fine[] = {AL_E_NOT_FOUND, AL_E_NOMEM, AL_E_IO,
                               AL_E_DISK_FULL, AL_E_LIMIT, AL_E_BUSY};
    bool known = false;

    for (unsigned i = 0; i < sizeof(fine) / sizeof(fine[0]); i++)
        known |= m->code == fine[i];
    if (!known)
        sim_fail(sim, "a tool gets ERROR %s about %s", al_error_name(m->code),
                 al_msg_name(m->about) ? al_msg_name(m->about) : "?");
    if (q && q->type == AL_MSG_DLQ_LIST)
        t->page_open = false;
    if (q)
        q->request = 0;
}

static void on_record(struct sim *sim, struct sim_client *client, const struct al_frame *frame)
{
    struct tool *t = client->role_state;
    struct al_msg_record m;
    struct question *q;

    if (!SIM_GET(sim, frame, record, &m))
        return;
    q = find_question(t, m.request);
    sim_told_record(sim, &m, q && q->asked_ended);
    if (q)
        q->request = 0;
}

static void tool_frame(struct sim *sim, struct sim_client *client, const struct al_frame *frame)
{
    struct tool *t = client->role_state;
    struct question *q;
    union {
        struct al_msg_dlq_row row;
        struct al_msg_done done;
        struct al_msg_error error;
        struct al_msg_status status;
    } m;

    switch (frame->type) {
    case AL_MSG_RECORD:
        on_record(sim, client, frame);
        break;
    case AL_MSG_DLQ_ROW:
        if (SIM_GET(sim, frame, dlq_row, &m.row))
            on_row(sim, client, &m.row);
        break;
    case AL_MSG_WORKFLOW_ROW:
    case AL_MSG_WORKFLOW_RANGE:
        on_flow(sim, client, frame);
        break;
    case AL_MSG_DONE:
        if (SIM_GET(sim, frame, done, &m.done))
            on_done(sim, client, &m.done);
        break;
    case AL_MSG_STATUS:
        if (!SIM_GET(sim, frame, status, &m.status))
            break;
        t->pending = m.status.waiting + m.status.leased + m.status.delayed;
        sim_note(sim, "  status: % waiting, % out, % delayed", m.status.waiting, m.status.leased,
                 m.status.delayed);
        q = find_question(t, m.status.request);
        if (q) {
            t->asked_ns = q->asked_ns;
            q->request = 0;
        }
        break;
    case AL_MSG_ERROR:
        if (SIM_GET(sim, frame, error, &m.error))
            on_error(sim, client, &m.error);
        break;
    default:
        break;
    }
    if (t->audit != AUDIT_NO)
        go_on(sim, client);
}

static void tool_ready(struct sim *sim, struct sim_client *client)
{
    struct tool *t = client->role_state;

    if (!t->have_agents)
        add_agents(sim, client);
}

static void tool_disconnected(struct sim *sim, struct sim_client *client)
{
    struct tool *t = client->role_state;

    memset(t->open, 0, sizeof(t->open));
    t->page_open = false;
    t->pending = UINT64_MAX;
    if (t->audit != AUDIT_NO)
        sim_tool_audit(sim, client);
}

static void tool_wake(struct sim *sim, struct sim_client *client)
{
    struct tool *t = client->role_state;

    if (client->ready) {
        if (t->audit != AUDIT_NO) {
            go_on(sim, client);
        } else if (!sim->load_on) {
            if (sim->mono_ns >= t->status_at_ns) {
                t->status_at_ns = sim->mono_ns + 50 * AL_NS_PER_MS;
                ask_status(sim, client);
            }
        } else if (t->have_agents) {
            ask_at_random(sim, client);
        } else {
            add_agents(sim, client);
        }
    }
    sim_client_wake(sim, client, sim_delay(sim, sim->load_on ? 12000 : 10000));
}

const struct sim_role_ops sim_tool_ops = {
    .init = tool_init,
    .free = tool_free,
    .ready = tool_ready,
    .frame = tool_frame,
    .disconnected = tool_disconnected,
    .crashed = tool_disconnected,
    .wake = tool_wake,
};
