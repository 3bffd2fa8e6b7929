/* connection.c - connections: hello and goodbye, and the dispatch of frames. */
#include "core/internal.h"

#define FRAME_MAX_BEFORE_HELLO 1024u /* nobody unknown gets more of our memory */
#define FRAME_MAX_OF_JOIN      (AL_PKI_REQUEST_MAX + 256u)

struct ali_conn *ali_conn_at(const struct al_node *node, uint32_t number)
{
    return number < node->v.conn_cap ? node->v.conns[number] : NULL;
}

static int grow(struct al_node *node, uint32_t number)
{
    uint32_t cap = node->v.conn_cap ? node->v.conn_cap : 16;
    struct ali_conn **conns;
    uint32_t *serials;

    while (cap <= number)
        cap *= 2;
    conns = al_alloc_zero(&node->alloc, cap * sizeof(*conns));
    serials = al_alloc_zero(&node->alloc, cap * sizeof(*serials));
    if (!conns || !serials) {
        al_alloc_free(&node->alloc, conns, cap * sizeof(*conns));
        al_alloc_free(&node->alloc, serials, cap * sizeof(*serials));
        return -AL_E_NOMEM;
    }
    if (node->v.conn_cap) {
        memcpy(conns, node->v.conns, node->v.conn_cap * sizeof(*conns));
        memcpy(serials, node->v.conn_serials, node->v.conn_cap * sizeof(*serials));
    }
    al_alloc_free(&node->alloc, node->v.conns, node->v.conn_cap * sizeof(*conns));
    al_alloc_free(&node->alloc, node->v.conn_serials, node->v.conn_cap * sizeof(*serials));
    node->v.conns = conns;
    node->v.conn_serials = serials;
    node->v.conn_cap = cap;
    return 0;
}

int ali_conn_open(struct al_node *node, const struct al_event *event)
{
    uint32_t number = event->conn;
    struct ali_conn *conn = al_alloc_zero(&node->alloc, sizeof(*conn));

    if (!conn || (number >= node->v.conn_cap && grow(node, number) < 0)) {
        al_alloc_free(&node->alloc, conn, sizeof(*conn));
        return -AL_E_NOMEM;
    }
    conn->number = number;
    conn->producers = conn->watches = ALI_LIST_EMPTY;
    node->v.conns[number] = conn;
    node->v.conn_serials[number]++;
    node->v.conn_count++;
    ali_link_open(node, conn, event);
    return 0;
}

void ali_conn_free(struct al_node *node, struct ali_conn *conn)
{
    for (uint32_t i = 0; i < conn->channel_cap; i++) {
        if (conn->channels[i])
            ali_gap_drop(node, conn, conn->channels[i]);
        al_alloc_free(&node->alloc, conn->channels[i], sizeof(**conn->channels));
    }
    al_alloc_free(&node->alloc, conn->channels, conn->channel_cap * sizeof(*conn->channels));
    al_alloc_free(&node->alloc, conn, sizeof(*conn));
}

void ali_conn_closed(struct al_node *node, uint32_t number)
{
    struct ali_conn *conn = ali_conn_at(node, number);

    if (!conn)
        return;
    ali_session_lost(node, conn);
    ali_channels_close(node, conn);
    ali_producers_leave(node, conn);
    ali_waiter_leave(node, conn);
    ali_link_closed(node, conn);
    node->v.conns[number] = NULL;
    node->v.conn_count--;
    ali_conn_free(node, conn);
}

bool ali_may_act(const struct al_node *node, const struct ali_conn *conn,
                 const struct ali_agent *agent)
{
    return conn->uid == agent->d.uid || conn->uid == 0 ||
           ali_link_is_of(node, conn, al_str_of(agent->d.name, agent->d.name_size));
}

/* ---- session frames ---------------------------------------------------------------------- */

int ali_handle_hello(struct al_node *node, struct ali_conn *conn, const struct al_msg_hello *m)
{
    struct al_msg_welcome welcome = {.version = AL_WIRE_VERSION,
                                     .node_epoch = node->d.epoch,
                                     .payload_max = node->config.payload_max,
                                     .publish_window = AL_PUBLISH_WINDOW,
                                     .credit_max = AL_CREDIT_MAX,
                                     .uid = conn->uid,
                                     .node = node->config.name};

    if (conn->ready || m->magic != AL_WIRE_MAGIC) {
        ali_send_fatal(node, conn, AL_MSG_HELLO, AL_E_PROTOCOL,
                       conn->ready ? "second HELLO" : "HELLO without the magic number");
        return 0;
    }
    if (m->version_min > AL_WIRE_VERSION || m->version_max < AL_WIRE_VERSION) {
        ali_send_fatal(node, conn, AL_MSG_HELLO, AL_E_VERSION,
                       "this node speaks protocol version 1 only");
        return 0;
    }
    conn->ready = true;
    conn->instance = m->instance;
    ALI_SEND(node, conn->number, welcome, &welcome);
    return 0;
}

int ali_handle_ping(struct al_node *node, struct ali_conn *conn, const struct al_msg_ping *m)
{
    struct al_msg_pong pong = {.token = m->token};

    ALI_SEND(node, conn->number, pong, &pong);
    return 0;
}

int ali_handle_pong(struct al_node *node, struct ali_conn *conn, const struct al_msg_pong *m)
{
    (void)node;
    (void)conn;
    (void)m;
    return 0;
}

int ali_handle_goodbye(struct al_node *node, struct ali_conn *conn, const struct al_msg_goodbye *m)
{
    struct al_msg_goodbye goodbye = {0};
    int r = ali_session_goodbye(node, conn, m->flags & AL_KEEP_LEASES);

    if (r == 0)
        r = ali_producers_retire(node, conn);
    if (r < 0)
        return r;
    ALI_SEND(node, conn->number, goodbye, &goodbye);
    conn->closing = true;
    ali_effect_close(node, conn->number);
    return 0;
}

/* ---- dispatch ---------------------------------------------------------------------------- */

union any_message {
#define ALI_H(symbol, lower) struct al_msg_##lower lower;
    ALI_HANDLED(ALI_H)
#undef ALI_H
};

#define ALI_CASE(symbol, lower)                           \
    case AL_MSG_##symbol:                                 \
        if (al_decode_##lower(frame->body, &m.lower) < 0) \
            break;                                        \
        return ali_handle_##lower(node, conn, &m.lower);

/* Frames about groups, history, workflows and permissions: see dispatch. */
static int dispatch_later(struct al_node *node, struct ali_conn *conn, const struct al_frame *frame)
{
    union any_message m;

    switch (frame->type) {
        ALI_CASE(GROUP_ADD, group_add)
        ALI_CASE(GROUP_REMOVE, group_remove)
        ALI_CASE(GROUP_LIST, group_list)
        ALI_CASE(GROUP_JOIN, group_join)
        ALI_CASE(GROUP_LEAVE, group_leave)
        ALI_CASE(GROUP_MEMBERS, group_members)
        ALI_CASE(GROUP_HISTORY, group_history)
        ALI_CASE(RETAIN_SET, retain_set)
        ALI_CASE(HISTORY_LIST, history_list)
        ALI_CASE(REPLAY, replay)
        ALI_CASE(WORKFLOW_GET, workflow_get)
        ALI_CASE(WORKFLOW_LIST, workflow_list)
        ALI_CASE(ACL_SET, acl_set)
        ALI_CASE(ACL_REMOVE, acl_remove)
        ALI_CASE(ACL_LIST, acl_list)
        ALI_CASE(ACL_TEST, acl_test)
    default:
        ali_send_fatal(node, conn, frame->type, AL_E_PROTOCOL,
                       "only a node sends frames of this type");
        return 0;
    }
    ali_send_fatal(node, conn, frame->type, AL_E_PROTOCOL, "the frame is cut short or malformed");
    return 0;
}

/* Decodes one body and calls its handler; 1: this type is not for the node to receive. */
static int dispatch(struct al_node *node, struct ali_conn *conn, const struct al_frame *frame)
{
    union any_message m;

    switch (frame->type) {
        ALI_HANDLED(ALI_CASE)
    default:
        return dispatch_later(node, conn, frame);
    }
    ali_send_fatal(node, conn, frame->type, AL_E_PROTOCOL, "the frame is cut short or malformed");
    return 0;
}

static int handle_frame(struct al_node *node, struct ali_conn *conn, const struct al_frame *frame)
{
    int r;

    if (!conn->ready && frame->type != AL_MSG_HELLO) {
        ali_send_fatal(node, conn, frame->type, AL_E_PROTOCOL, "the first frame must be HELLO");
        return 0;
    }
    if (conn->joins && frame->type != AL_MSG_HELLO && frame->type != AL_MSG_JOIN) {
        ali_send_fatal(node, conn, frame->type, AL_E_DENIED,
                       "without a certificate nothing but JOIN is taken");
        return 0;
    }
    /* Acks and receipts are collected into runs; whatever else comes must find them applied. */
    if (frame->type != AL_MSG_ACK) {
        r = ali_acks_flush(node);
        if (r < 0)
            return r;
    }
    if (frame->type != AL_MSG_PUBLISH)
        ali_receipts_flush(node, conn);
    return dispatch(node, conn, frame);
}

static uint32_t frame_limit(const struct al_node *node, const struct ali_conn *conn)
{
    return !conn->ready  ? FRAME_MAX_BEFORE_HELLO
           : conn->joins ? FRAME_MAX_OF_JOIN
                         : node->config.payload_max + (AL_FRAME_MAX - AL_PAYLOAD_MAX);
}

int ali_conn_bytes(struct al_node *node, struct ali_conn *conn, struct al_str data,
                   size_t *ret_consumed)
{
    uint32_t frame_max = frame_limit(node, conn);
    size_t consumed = 0;
    int r = 0;

    while (!conn->closing && r == 0) {
        struct al_str rest = al_str_of(data.p + consumed, data.n - consumed);
        struct al_frame frame;
        int64_t size = al_frame_next(rest, frame_max, &frame);

        if (size == 0)
            break;
        if (size < 0) {
            ali_send_fatal(node, conn, rest.p[4], (int)size,
                           size == -AL_E_TOO_LARGE ? "the frame is larger than the node takes"
                                                   : "no valid frame header");
            break;
        }
        consumed += (size_t)size;
        r = handle_frame(node, conn, &frame);
        frame_max = frame_limit(node, conn);
    }
    ali_receipts_flush(node, conn);
    *ret_consumed = conn->closing ? data.n : consumed;
    return r;
}
