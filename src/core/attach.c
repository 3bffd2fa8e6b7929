/* attach.c - receivers and their sessions, which outlive a lost connection for a while.
 *
 * An agent has one receiver, or several that share its inbox: all of them asked for that. Leases
 * belong to the session. When its connection is lost, the same instance may come back within
 * AL_SESSION_GRACE_MS and goes on: what it has out is sent again under the same leases. Otherwise
 * the session ends: the heads of its streams have lost an attempt, everything else goes back as it
 * was. A polite leave (DETACH, GOODBYE) gives everything back at once and costs no attempt, unless
 * the leases were to be kept: then each runs until its own time-out. */
#include "core/internal.h"

/* ---- ending ------------------------------------------------------------------------------ */

int ali_session_end(struct al_node *node, struct ali_receiver *receiver, int code)
{
    struct ali_flow *flow, *next;
    int r = ali_acks_flush(node);

    ali_receiver_await(node, receiver, 0);
    receiver->keeps_leases = false;
    receiver->volatile_out = 0;
    for (flow = receiver->busy.head; r == 0 && flow; flow = next) {
        ali_ref stream = flow->stream;

        next = flow->busy.next;
        if (flow->session != receiver->session)
            continue; /* kept by a session before this one: runs until its own time-outs */
        if (code) {
            r = ali_head_failed(node, stream, code, 0, al_str_c("the receiver went away"));
        } else {
            ali_stream_recall(node, stream, 0, 0);
            ali_stream_ready(node, stream);
        }
    }
    receiver->has_session = false;
    ali_receiver_done(node, receiver);
    return r;
}

void ali_session_leave(struct al_node *node, struct ali_receiver *receiver, bool keep_leases)
{
    struct ali_conn *conn = ali_conn_at(node, receiver->conn);

    if (conn) {
        if (receiver->conn_prev)
            receiver->conn_prev->conn_next = receiver->conn_next;
        else
            conn->receivers = receiver->conn_next;
        if (receiver->conn_next)
            receiver->conn_next->conn_prev = receiver->conn_prev;
        conn->attach_count--;
    }
    receiver->conn = AL_REF_NONE;
    receiver->keeps_leases = keep_leases;
    if (!keep_leases)
        ali_receiver_await(node, receiver, AL_SESSION_GRACE_MS);
}

/* Politely: everything goes back at once, unless the leases are to be kept. */
static int leave_politely(struct al_node *node, struct ali_receiver *receiver, bool keep_leases)
{
    ali_session_leave(node, receiver, keep_leases);
    if (!keep_leases)
        return ali_session_end(node, receiver, 0);
    ali_receiver_done(node, receiver);
    return 0;
}

void ali_session_lost(struct al_node *node, struct ali_conn *conn)
{
    while (conn->receivers)
        ali_session_leave(node, conn->receivers, false);
}

int ali_session_goodbye(struct al_node *node, struct ali_conn *conn, bool keep_leases)
{
    int r = 0;

    while (conn->receivers && r == 0)
        r = leave_politely(node, conn->receivers, keep_leases);
    return r;
}

/* True while its instance may still come back for what it has out. */
static bool is_awaited(const struct ali_receiver *receiver)
{
    return receiver->has_session && receiver->conn == AL_REF_NONE && !receiver->keeps_leases;
}

int ali_session_timer(struct al_node *node, ali_ref ref)
{
    const struct ali_inbox *inbox = ali_agent_at(node, ref)->inbox;
    struct ali_receiver *receiver = &ali_agent_at(node, ref)->inbox->v.own, *next;
    uint64_t now = ali_mono_ms(node);
    int r = 0;

    for (; receiver && r == 0; receiver = next) {
        next = ali_receiver_next(inbox, receiver);
        if (!receiver->await_ms || receiver->await_ms >= now)
            continue;
        ali_receiver_await(node, receiver, 0);
        if (is_awaited(receiver))
            r = ali_session_end(node, receiver, AL_E_CLOSED);
    }
    return r;
}

static void send_detached(struct al_node *node, uint32_t conn, uint32_t agent, int code,
                          const char *detail)
{
    struct al_msg_detached detached = {
        .agent = agent, .code = (uint16_t)code, .detail = al_str_c(detail)};

    ALI_SEND(node, conn, detached, &detached);
}

void ali_sessions_removed(struct al_node *node, ali_ref ref)
{
    struct ali_agent *agent = ali_agent_at(node, ref);
    struct ali_receiver *receiver = &agent->inbox->v.own, *next;

    for (; receiver; receiver = next) {
        next = ali_receiver_next(agent->inbox, receiver);
        if (receiver->conn != AL_REF_NONE)
            send_detached(node, receiver->conn, agent->d.id, AL_E_NOT_FOUND,
                          "the agent was removed");
        ali_session_leave(node, receiver, true);
        receiver->has_session = false;
        ali_receiver_done(node, receiver);
    }
}

/* ---- attaching --------------------------------------------------------------------------- */

/* A connected receiver goes, for that of this connection. */
static void replace(struct al_node *node, struct ali_receiver *receiver,
                    const struct ali_conn *conn, bool keep_leases)
{
    if (receiver->conn != conn->number)
        send_detached(node, receiver->conn, ali_agent_at(node, receiver->agent)->d.id, AL_E_FENCED,
                      al_error_text(AL_E_FENCED));
    ali_session_leave(node, receiver, keep_leases);
}

/* Makes way for a new session of this receiver: 0, -AL_E_ALREADY_ATTACHED, -AL_E_NOMEM.
 * *ret_resumed: it is the same instance, whose leases hold. */
static int make_way(struct al_node *node, struct ali_receiver *receiver,
                    const struct ali_conn *conn, bool takeover, bool *ret_resumed)
{
    bool same = receiver->has_session && al_id_eq(&receiver->instance, &conn->instance);

    *ret_resumed = false;
    if (!receiver->has_session)
        return 0;
    if (receiver->conn != AL_REF_NONE) {
        if (!same && !takeover)
            return -AL_E_ALREADY_ATTACHED;
        replace(node, receiver, conn, same);
    }
    ali_receiver_await(node, receiver, 0);
    receiver->volatile_out = 0;
    if (same) {
        *ret_resumed = true;
        return 0;
    }
    if (receiver->keeps_leases) /* they run until their own time-outs */
        return 0;
    return ali_session_end(node, receiver, takeover ? AL_E_FENCED : AL_E_CLOSED);
}

/* A new session; what an earlier one kept holds up its streams until it is settled. */
static void begin_session(struct al_node *node, struct ali_receiver *receiver)
{
    receiver->has_session = true;
    receiver->session++;
    for (const struct ali_flow *flow = receiver->busy.head; flow; flow = flow->busy.next)
        ali_stream_unready(node, flow->stream);
}

/* The exclusive receiver goes, for others that share the inbox. */
static int end_exclusive(struct al_node *node, struct ali_inbox *inbox, const struct ali_conn *conn,
                         bool takeover)
{
    struct ali_receiver *own = &inbox->v.own;
    bool resumed;
    int r = make_way(node, own, conn, takeover, &resumed);

    if (r == 0 && resumed) /* the same program, which wants to share now */
        r = ali_session_end(node, own, 0);
    if (r == 0 && own->has_session) { /* its leases run on */
        begin_session(node, own);
        own->has_session = false;
    }
    return r;
}

/* Those who share the inbox go, for an exclusive receiver. */
static int end_shared(struct al_node *node, struct ali_inbox *inbox, const struct ali_conn *conn,
                      bool takeover)
{
    struct ali_receiver *receiver = inbox->v.shared, *next;
    int r = 0;

    for (; receiver && !takeover; receiver = ali_receiver_next(inbox, receiver)) {
        if (receiver->conn != AL_REF_NONE && !al_id_eq(&receiver->instance, &conn->instance))
            return -AL_E_ALREADY_ATTACHED;
    }
    for (receiver = inbox->v.shared; receiver && r == 0; receiver = next) {
        bool same = al_id_eq(&receiver->instance, &conn->instance);

        next = ali_receiver_next(inbox, receiver);
        if (receiver->keeps_leases)
            continue; /* they run until their own time-outs */
        if (receiver->conn != AL_REF_NONE)
            replace(node, receiver, conn, false);
        r = ali_session_end(node, receiver, same ? 0 : takeover ? AL_E_FENCED : AL_E_CLOSED);
    }
    return r;
}

/* The receiver of this connection's instance among those that share the inbox, or one more. */
static int share(struct al_node *node, ali_ref ref, const struct ali_conn *conn, bool takeover,
                 struct ali_receiver **ret_receiver, bool *ret_resumed)
{
    struct ali_inbox *inbox = ali_agent_at(node, ref)->inbox;
    struct ali_receiver *receiver = inbox->v.shared;
    int r;

    while (receiver && !al_id_eq(&receiver->instance, &conn->instance))
        receiver = ali_receiver_next(inbox, receiver);
    if (!receiver && inbox->v.shared_count >= AL_RECEIVERS_MAX)
        return -AL_E_LIMIT;
    r = end_exclusive(node, inbox, conn, takeover);
    if (r == 0 && !receiver) {
        receiver = ali_receiver_share(node, ref);
        r = receiver ? 0 : -AL_E_NOMEM;
    }
    if (r == 0)
        r = make_way(node, receiver, conn, takeover, ret_resumed);
    *ret_receiver = receiver;
    return r;
}

/* Finds the receiver and makes way for it. */
static int find_way(struct al_node *node, ali_ref ref, const struct ali_conn *conn, unsigned flags,
                    struct ali_receiver **ret_receiver, bool *ret_resumed)
{
    struct ali_inbox *inbox = ali_agent_at(node, ref)->inbox;
    bool takeover = flags & AL_ATTACH_TAKEOVER;
    int r;

    if (flags & AL_ATTACH_SHARED)
        return share(node, ref, conn, takeover, ret_receiver, ret_resumed);
    r = end_shared(node, inbox, conn, takeover);
    *ret_receiver = &inbox->v.own;
    return r < 0 ? r : make_way(node, &inbox->v.own, conn, takeover, ret_resumed);
}

/* Why it is refused. */
static const char *refusal(const struct ali_conn *conn, ali_ref ref, unsigned flags, int error)
{
    if (error != -AL_E_LIMIT)
        return al_error_text(error);
    if (conn->attach_count >= AL_ATTACHES_PER_CONN_MAX)
        return "the connection receives for as many agents as it may; use another one";
    if (ref != AL_REF_NONE && flags & AL_ATTACH_SHARED)
        return "as many receivers as may share the inbox already do; end one of them";
    return "the node has as many agents as it may; remove one";
}

static void join(struct ali_conn *conn, struct ali_receiver *receiver,
                 const struct al_msg_attach *m)
{
    receiver->keeps_leases = false;
    receiver->conn = conn->number;
    receiver->instance = conn->instance;
    receiver->credit = m->credit;
    receiver->credit_bytes = m->credit_bytes;
    receiver->lease_ms = m->lease_ms;
    receiver->conn_prev = NULL;
    receiver->conn_next = conn->receivers;
    if (conn->receivers)
        conn->receivers->conn_prev = receiver;
    conn->receivers = receiver;
    conn->attach_count++;
}

int ali_handle_attach(struct al_node *node, struct ali_conn *conn, const struct al_msg_attach *m)
{
    struct al_msg_attached attached = {.request = m->request};
    struct ali_receiver *receiver = NULL;
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
        r = find_way(node, ref, conn, m->flags, &receiver, &resumed);
    if (r != 0) {
        ali_send_error_detail(node, conn, AL_MSG_ATTACH, m->request, r,
                              refusal(conn, ref, m->flags, r));
        return 0;
    }
    if (!resumed)
        begin_session(node, receiver);
    join(conn, receiver, m);
    attached.agent = ali_agent_at(node, ref)->d.id;
    attached.resumed = resumed;
    ALI_SEND(node, conn->number, attached, &attached);
    if (!AL_PLANT(node, SHARED_STUCK) || !receiver->is_shared)
        ali_agent_dirty(node, ref);
    return resumed ? ali_push_again(node, receiver) : 0;
}

int ali_handle_detach(struct al_node *node, struct ali_conn *conn, const struct al_msg_detach *m)
{
    struct ali_receiver *receiver = ali_find_receiver(node, conn, m->agent);
    int r;

    if (!receiver) {
        send_detached(node, conn->number, m->agent, AL_E_NOT_ATTACHED,
                      al_error_text(AL_E_NOT_ATTACHED));
        return 0;
    }
    r = leave_politely(node, receiver, m->flags & AL_KEEP_LEASES);
    send_detached(node, conn->number, m->agent, 0, "");
    return r;
}

int ali_handle_credit(struct al_node *node, struct ali_conn *conn, const struct al_msg_credit *m)
{
    struct ali_receiver *receiver = ali_find_receiver(node, conn, m->agent);

    if (!receiver || m->credit > AL_CREDIT_MAX || m->credit_bytes > AL_CREDIT_BYTES_MAX) {
        ali_send_error(node, conn, AL_MSG_CREDIT, 0, receiver ? -AL_E_INVALID : -AL_E_NOT_ATTACHED);
        return 0;
    }
    receiver->credit = m->credit;
    receiver->credit_bytes = m->credit_bytes;
    ali_agent_dirty(node, receiver->agent);
    return 0;
}
