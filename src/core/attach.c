/* attach.c - receivers: one per agent, with a session that outlives a lost connection for a while.
 *
 * Leases belong to the session. When its connection is lost, the same instance may come back
 * within AL_SESSION_GRACE_MS and goes on: what it has out is sent again under the same leases.
 * Otherwise the session ends: the heads of its streams have lost an attempt, everything else goes
 * back as it was. A polite leave (DETACH, GOODBYE) gives everything back at once and costs no
 * attempt, unless the leases were to be kept: then each runs until its own time-out. */
#include "core/internal.h"

#define OF_CONN offsetof(struct ali_agent, v.link)

/* ---- ending ------------------------------------------------------------------------------ */

int ali_session_end(struct al_node *node, ali_ref ref, int code)
{
    struct ali_agent *agent = ali_agent_at(node, ref);
    struct ali_flow *flow, *next;
    int r = ali_acks_flush(node);

    al_wheel_cancel(&node->v.wheel, &agent->inbox->v.timer);
    agent->inbox->v.has_session = false;
    agent->inbox->v.keeps_leases = false;
    agent->inbox->v.volatile_out = 0;
    for (flow = agent->inbox->v.busy.head; r == 0 && flow; flow = next) {
        ali_ref stream = flow->stream;

        next = flow->busy.next;
        if (flow->session != agent->inbox->v.session)
            continue; /* kept by a session before this one: runs until its own time-outs */
        if (code) {
            r = ali_head_failed(node, stream, code, 0, al_str_c("the receiver went away"));
        } else {
            ali_stream_recall(node, stream, 0, 0);
            ali_stream_ready(node, stream);
        }
    }
    return r;
}

/* The session is without a connection from here on. */
void ali_session_leave(struct al_node *node, ali_ref ref, bool keep_leases)
{
    struct ali_agent *agent = ali_agent_at(node, ref);
    struct ali_conn *conn = ali_conn_at(node, agent->inbox->v.conn);

    if (conn) {
        ali_list_remove(&node->agents, OF_CONN, &conn->agents, ref);
        conn->attach_count--;
    }
    agent->inbox->v.conn = AL_REF_NONE;
    agent->inbox->v.keeps_leases = keep_leases;
    if (!keep_leases)
        ali_timer_set(node, &agent->inbox->v.timer, ALI_TIMER_SESSION, ref, AL_SESSION_GRACE_MS);
}

void ali_session_lost(struct al_node *node, struct ali_conn *conn)
{
    while (conn->agents.head != AL_REF_NONE)
        ali_session_leave(node, conn->agents.head, false);
}

int ali_session_goodbye(struct al_node *node, struct ali_conn *conn, bool keep_leases)
{
    int r = 0;

    while (conn->agents.head != AL_REF_NONE && r == 0) {
        ali_ref ref = conn->agents.head;

        ali_session_leave(node, ref, keep_leases);
        if (!keep_leases)
            r = ali_session_end(node, ref, 0);
    }
    return r;
}

int ali_session_timer(struct al_node *node, ali_ref ref)
{
    const struct ali_agent *agent = ali_agent_at(node, ref);

    if (agent->inbox->v.conn != AL_REF_NONE || !agent->inbox->v.has_session)
        return 0;
    return ali_session_end(node, ref, AL_E_CLOSED);
}

/* ---- attaching --------------------------------------------------------------------------- */

static void send_detached(struct al_node *node, uint32_t conn, uint32_t agent, int code)
{
    struct al_msg_detached detached = {.agent = agent,
                                       .code = (uint16_t)code,
                                       .detail = al_str_c(code ? al_error_text(code) : "")};

    ALI_SEND(node, conn, detached, &detached);
}

/* Makes way for a new session: 0, -AL_E_ALREADY_ATTACHED, -AL_E_NOMEM. *ret_resumed: it is the
 * same instance, whose leases hold. */
static int make_way(struct al_node *node, ali_ref ref, const struct ali_conn *conn, bool takeover,
                    bool *ret_resumed)
{
    struct ali_agent *agent = ali_agent_at(node, ref);
    bool same = agent->inbox->v.has_session && al_id_eq(&agent->inbox->v.instance, &conn->instance);

    *ret_resumed = false;
    if (!agent->inbox->v.has_session)
        return 0;
    if (agent->inbox->v.conn != AL_REF_NONE) {
        if (!same && !takeover)
            return -AL_E_ALREADY_ATTACHED;
        if (agent->inbox->v.conn != conn->number)
            send_detached(node, agent->inbox->v.conn, agent->d.id, AL_E_FENCED);
        ali_session_leave(node, ref, same);
    }
    al_wheel_cancel(&node->v.wheel, &agent->inbox->v.timer);
    agent->inbox->v.volatile_out = 0;
    if (same) {
        *ret_resumed = true;
        return 0;
    }
    if (agent->inbox->v.keeps_leases) /* they run until their own time-outs */
        return 0;
    return ali_session_end(node, ref, takeover ? AL_E_FENCED : AL_E_CLOSED);
}

/* A new session; what an earlier one kept holds up its streams until it is settled. */
static void begin_session(struct al_node *node, struct ali_agent *agent)
{
    agent->inbox->v.has_session = true;
    agent->inbox->v.session++;
    for (const struct ali_flow *flow = agent->inbox->v.busy.head; flow; flow = flow->busy.next)
        ali_stream_unready(node, flow->stream);
}

int ali_handle_attach(struct al_node *node, struct ali_conn *conn, const struct al_msg_attach *m)
{
    struct al_msg_attached attached = {.request = m->request};
    struct ali_agent *agent;
    bool resumed = false;
    ali_ref ref = AL_REF_NONE;
    int r = 0;

    if (m->credit > AL_CREDIT_MAX || m->credit_bytes > AL_CREDIT_BYTES_MAX ||
        m->lease_ms > AL_LEASE_MAX_MS)
        r = -AL_E_INVALID;
    else if (conn->attach_count >= AL_ATTACHES_PER_CONN_MAX)
        r = -AL_E_LIMIT;
    if (r == 0)
        r = ali_agent_get(node, conn, m->agent, !(m->flags & AL_ATTACH_NO_CREATE), &ref);
    if (r == 0)
        r = make_way(node, ref, conn, m->flags & AL_ATTACH_TAKEOVER, &resumed);
    if (r < 0) {
        ali_send_error(node, conn, AL_MSG_ATTACH, m->request, r);
        return 0;
    }
    agent = ali_agent_at(node, ref);
    if (!resumed)
        begin_session(node, agent);
    agent->inbox->v.keeps_leases = false;
    agent->inbox->v.conn = conn->number;
    agent->inbox->v.instance = conn->instance;
    agent->inbox->v.credit = m->credit;
    agent->inbox->v.credit_bytes = m->credit_bytes;
    agent->inbox->v.lease_ms = m->lease_ms;
    ali_list_push(&node->agents, OF_CONN, &conn->agents, ref);
    conn->attach_count++;
    attached.agent = agent->d.id;
    attached.resumed = resumed;
    ALI_SEND(node, conn->number, attached, &attached);
    ali_agent_dirty(node, ref);
    return resumed ? ali_push_again(node, ref) : 0;
}

int ali_handle_detach(struct al_node *node, struct ali_conn *conn, const struct al_msg_detach *m)
{
    ali_ref ref = ali_find_agent(node, m->agent);
    int r = 0;

    if (ref == AL_REF_NONE || ali_agent_at(node, ref)->inbox->v.conn != conn->number) {
        send_detached(node, conn->number, m->agent, AL_E_NOT_ATTACHED);
        return 0;
    }
    ali_session_leave(node, ref, m->flags & AL_KEEP_LEASES);
    if (!(m->flags & AL_KEEP_LEASES))
        r = ali_session_end(node, ref, 0);
    send_detached(node, conn->number, m->agent, 0);
    return r;
}

int ali_handle_credit(struct al_node *node, struct ali_conn *conn, const struct al_msg_credit *m)
{
    ali_ref ref = ali_find_agent(node, m->agent);
    struct ali_agent *agent = ref == AL_REF_NONE ? NULL : ali_agent_at(node, ref);

    if (!agent || agent->inbox->v.conn != conn->number || m->credit > AL_CREDIT_MAX ||
        m->credit_bytes > AL_CREDIT_BYTES_MAX) {
        ali_send_error(node, conn, AL_MSG_CREDIT, 0,
                       agent && agent->inbox->v.conn == conn->number ? -AL_E_INVALID
                                                                     : -AL_E_NOT_ATTACHED);
        return 0;
    }
    agent->inbox->v.credit = m->credit;
    agent->inbox->v.credit_bytes = m->credit_bytes;
    ali_agent_dirty(node, ref);
    return 0;
}
