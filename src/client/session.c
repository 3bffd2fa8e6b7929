/* session.c - the life of a session: connections come and go, frames are told apart, time passes.
 *
 * What a connection needs before anything else is HELLO and WELCOME. On WELCOME each part of the
 * session says again what the node may not have heard: the producer is resumed and channels are
 * reopened (outbox.c), agents are attached (attach.c), ends are watched (watch.c), questions asked
 * (request.c). Memory failure while a frame is handled gives the connection up: what was lost is
 * said again on the next one, so there is one way to recover, not two. */
#include "client/session.h"
#include "base/errors.h"
#include "base/limits.h"
#include "client/gaps.h"
#include <assert.h>

#define OUT_KEEP_MAX (1u << 20)  /* a larger empty output buffer is given back */
#define OUT_MOVE_MIN (64u << 10) /* written bytes below this stay in front of the others */

int ali_csession_new(const struct ali_csession_config *config, struct ali_csession **ret_session)
{
    struct ali_csession *session = al_alloc_zero(&config->alloc, sizeof(*session));

    if (!session)
        return -AL_E_NOMEM;
    session->config = *config;
    al_buf_init(&session->out, &session->config.alloc);
    al_buf_init(&session->scratch_headers, &session->config.alloc);
    al_buf_init(&session->scratch_ext, &session->config.alloc);
    al_pool_init(&session->channel_pool, &session->config.alloc, sizeof(struct ali_channel), 6);
    al_pool_init(&session->watch_pool, &session->config.alloc, sizeof(struct ali_watch), 6);
    al_pool_init(&session->rstream_pool, &session->config.alloc, sizeof(struct ali_rstream), 6);
    al_index_init(&session->channel_index, &session->config.alloc);
    al_index_init(&session->watch_index, &session->config.alloc);
    al_index_init(&session->watch_places, &session->config.alloc);
    al_index_init(&session->rstream_index, &session->config.alloc);
    session->payload_max = AL_PAYLOAD_MAX;
    session->publish_window = config->window;
    session->results_end = &session->results;
    session->ends_end = &session->ends;
    session->commits_end = &session->commits;
    session->notices_end = &session->notices;
    session->renew_ns = AL_NEVER_NS;
    session->watch_poll_ns = AL_NEVER_NS;
    *ret_session = session;
    return 0;
}

void ali_csession_free(struct ali_csession *session)
{
    struct ali_notice *notice;
    struct al_alloc alloc;

    if (!session)
        return;
    alloc = session->config.alloc;
    ali_request_disconnected(session);
    ali_commit_deinit(session);
    ali_inbox_deinit(session);
    ali_outbox_deinit(session);
    ali_watch_deinit(session);
    while ((notice = ali_csession_take_notice(session)))
        ali_notice_free(session, notice);
    al_buf_deinit(&session->out);
    al_buf_deinit(&session->scratch_headers);
    al_buf_deinit(&session->scratch_ext);
    al_alloc_free(&alloc, session, sizeof(*session));
}

void ali_detail_set(char ret_text[ALI_DETAIL_MAX + 1], struct al_str text)
{
    uint32_t n = text.n < ALI_DETAIL_MAX ? text.n : ALI_DETAIL_MAX;

    if (n)
        memcpy(ret_text, text.p, n);
    ret_text[n] = 0;
}

uint32_t ali_csession_number(struct ali_csession *session)
{
    if (++session->next_number == 0)
        session->next_number = 1;
    return session->next_number;
}

/* ---- notices ----------------------------------------------------------------------------- */

#define NOTICES_MAX 4096u /* a program that does not ask for them does not collect more */

void ali_csession_notice(struct ali_csession *session, const struct al_notice *notice)
{
    size_t agent_size = notice->agent ? strlen(notice->agent) + 1 : 0;
    size_t detail_size = notice->detail ? strlen(notice->detail) + 1 : 1;
    size_t size = sizeof(struct ali_notice) + agent_size + detail_size;
    struct ali_notice *copy;
    uint8_t *room;

    if (session->notice_count >= NOTICES_MAX)
        return;
    copy = al_alloc_zero(&session->config.alloc, size);
    if (!copy)
        return;
    room = (uint8_t *)(copy + 1);
    copy->size = size;
    copy->notice = *notice;
    if (notice->agent)
        copy->notice.agent = ali_text_copy(&room, al_str_c(notice->agent));
    copy->notice.detail = ali_text_copy(&room, al_str_c(notice->detail));
    *session->notices_end = copy;
    session->notices_end = &copy->next;
    session->notice_count++;
}

struct ali_notice *ali_csession_take_notice(struct ali_csession *session)
{
    struct ali_notice *notice = session->notices;

    if (!notice)
        return NULL;
    session->notices = notice->next;
    if (!session->notices)
        session->notices_end = &session->notices;
    session->notice_count--;
    return notice;
}

void ali_notice_free(struct ali_csession *session, struct ali_notice *notice)
{
    if (notice)
        al_alloc_free(&session->config.alloc, notice, notice->size);
}

/* ---- connections ------------------------------------------------------------------------- */

int ali_csession_connected(struct ali_csession *session, struct al_now now)
{
    struct al_msg_hello hello = {
        .magic = AL_WIRE_MAGIC,
        .version_min = AL_WIRE_VERSION,
        .version_max = AL_WIRE_VERSION,
        .instance = session->config.instance,
        .client = al_str_c(session->config.client_name),
    };

    assert(session->link == ALI_LINK_DOWN);
    session->now = now;
    session->link = ALI_LINK_HELLO;
    session->last_rx_ns = now.mono_ns;
    session->ping_ns = 0;
    session->fatal = 0;
    session->give_up = false;
    session->fatal_detail[0] = 0;
    session->goodbye_sent = session->goodbye_seen = false;
    al_buf_clear(&session->out);
    session->out_done = 0;
    return al_put_hello(&session->out, &hello);
}

void ali_csession_disconnected(struct ali_csession *session, int error, struct al_now now)
{
    struct al_notice notice = {.type = AL_NOTICE_DISCONNECTED};

    session->now = now;
    if (session->link == ALI_LINK_DOWN)
        return;
    if (session->link == ALI_LINK_UP) {
        notice.error = session->fatal ? session->fatal : error;
        notice.detail = session->fatal ? session->fatal_detail : al_error_text(error);
        ali_csession_notice(session, &notice);
    }
    session->link = ALI_LINK_DOWN;
    al_buf_clear(&session->out);
    session->out_done = 0;
    ali_outbox_disconnected(session);
    ali_attach_disconnected(session);
    ali_commit_disconnected(session);
    ali_request_disconnected(session);
}

static int handle_welcome(struct ali_csession *session, struct al_str body)
{
    struct al_notice notice = {.type = AL_NOTICE_CONNECTED};
    struct al_msg_welcome m;
    int r = al_decode_welcome(body, &m);

    if (r < 0)
        return r;
    if (session->link != ALI_LINK_HELLO || m.version != AL_WIRE_VERSION)
        return -AL_E_PROTOCOL;
    session->link = ALI_LINK_UP;
    session->stats.connects++;
    session->node_epoch = m.node_epoch;
    session->payload_max = m.payload_max;
    session->publish_window = m.publish_window ? m.publish_window : 1;
    session->credit_max = m.credit_max;
    session->uid = m.uid;
    ali_detail_set(session->node, m.node);
    notice.detail = session->node;
    ali_csession_notice(session, &notice);
    r = ali_attach_welcome(session);
    if (r >= 0)
        r = ali_outbox_welcome(session);
    if (r >= 0)
        r = ali_watch_welcome(session);
    if (r >= 0)
        r = ali_request_welcome(session);
    return r;
}

static int handle_ping(struct ali_csession *session, struct al_str body)
{
    struct al_msg_ping m;
    struct al_msg_pong pong;
    int r = al_decode_ping(body, &m);

    if (r < 0)
        return r;
    pong.token = m.token;
    return al_put_pong(&session->out, &pong);
}

static int handle_pong(struct ali_csession *session, struct al_str body)
{
    struct al_msg_pong m;
    int r = al_decode_pong(body, &m);

    if (r >= 0 && m.token == session->ping_token)
        session->ping_ns = 0;
    return r;
}

static int handle_error(struct ali_csession *session, struct al_str body)
{
    struct al_msg_error m;
    int r = al_decode_error(body, &m);

    if (r < 0)
        return r;
    if (m.fatal) {
        session->fatal = m.code ? -(int)m.code : -AL_E_PROTOCOL;
        ali_detail_set(session->fatal_detail, m.detail);
        return session->fatal; /* nothing follows: there is no use in waiting for the end */
    }
    switch (m.about) {
    case AL_MSG_PRODUCER_OPEN:
    case AL_MSG_CHANNEL_OPEN:
    case AL_MSG_CHANNEL_RESUME:
    case AL_MSG_CHANNEL_CLOSE:
    case AL_MSG_PUBLISH:
        return ali_outbox_error(session, &m);
    case AL_MSG_ATTACH:
        return ali_attach_error(session, &m);
    case AL_MSG_GAP_NACK:
        return ali_gap_error(session, &m);
    case AL_MSG_COMMIT:
        return ali_commit_error(session, &m);
    case AL_MSG_END_WATCH:
        ali_watch_error(session, &m);
        return 0;
    default:
        return ali_request_error(session, &m);
    }
}

/* Decodes the body and hands it to its room. */
#define HANDLE(symbol, lower, fn)                   \
    case AL_MSG_##symbol: {                         \
        struct al_msg_##lower m;                    \
        int r = al_decode_##lower(frame->body, &m); \
                                                    \
        return r < 0 ? r : fn(session, &m);         \
    }

static int handle_goodbye(struct ali_csession *session, const struct al_msg_goodbye *m)
{
    (void)m;
    session->goodbye_seen = true;
    return 0;
}

static int handle_deliver(struct ali_csession *session, struct al_str body)
{
    struct al_msg_deliver m;
    const uint8_t *end;
    int r = al_decode_deliver(body, &m);

    if (r < 0)
        return r;
    end = m.envelope.p + m.envelope.n; /* its last field */
    session->deliver_ext = al_str_of(end, (uint32_t)(body.p + body.n - end));
    return ali_inbox_deliver(session, &m);
}

static int handle_committed(struct ali_csession *session, struct al_str body)
{
    struct al_msg_committed m;
    const uint8_t *end;
    int r = al_decode_committed(body, &m);

    if (r < 0)
        return r;
    end = m.detail.p + m.detail.n; /* its last field */
    session->committed_ext = al_str_of(end, (uint32_t)(body.p + body.n - end));
    return ali_commit_answer(session, &m);
}

static int handle_frame(struct ali_csession *session, const struct al_frame *frame)
{
    switch (frame->type) {
    case AL_MSG_WELCOME:
        return handle_welcome(session, frame->body);
    case AL_MSG_PING:
        return handle_ping(session, frame->body);
    case AL_MSG_PONG:
        return handle_pong(session, frame->body);
    case AL_MSG_ERROR:
        return handle_error(session, frame->body);
    case AL_MSG_DELIVER:
        return handle_deliver(session, frame->body);
    case AL_MSG_COMMITTED:
        return handle_committed(session, frame->body);
        HANDLE(GOODBYE, goodbye, handle_goodbye)
        HANDLE(PRODUCER_READY, producer_ready, ali_outbox_producer_ready)
        HANDLE(CHANNEL_READY, channel_ready, ali_outbox_channel_ready)
        HANDLE(RECEIPT, receipt, ali_outbox_receipt)
        HANDLE(REFUSED, refused, ali_outbox_refused)
        HANDLE(GAP_NACK, gap_nack, ali_outbox_gap_nack)
        HANDLE(ATTACHED, attached, ali_attach_attached)
        HANDLE(DETACHED, detached, ali_attach_detached)
        HANDLE(RECALL, recall, ali_inbox_recall)
        HANDLE(ACKED, acked, ali_settle_acked)
        HANDLE(SETTLE_REFUSED, settle_refused, ali_settle_refused)
        HANDLE(END, end, ali_watch_end)
        HANDLE(REPLY_PART, reply_part, ali_parts_came)
    case AL_MSG_RECORD:
    case AL_MSG_AGENT_ROW:
    case AL_MSG_DONE:
    case AL_MSG_STREAM_ROW:
    case AL_MSG_DLQ_ROW:
    case AL_MSG_STATUS:
    case AL_MSG_METRICS_ROW:
    case AL_MSG_KIND_ROW:
    case AL_MSG_IDENTITY_READY:
    case AL_MSG_IDENTITY_ROW:
    case AL_MSG_CERTIFICATE:
    case AL_MSG_BREAKER_ROW:
    case AL_MSG_SCHEDULE_ROW:
    case AL_MSG_GROUP_ROW:
    case AL_MSG_GROUP_MEMBER:
    case AL_MSG_GROUP_ENTRY:
    case AL_MSG_KV_ROW:
    case AL_MSG_HISTORY_ROW:
    case AL_MSG_REPLAYED:
    case AL_MSG_FIGURES:
    case AL_MSG_HEALTH_ROW:
    case AL_MSG_ALERT_ROW:
    case AL_MSG_WORKFLOW_ROW:
    case AL_MSG_ACL_ROW:
    case AL_MSG_ACL_VERDICT:
    case AL_MSG_WORKFLOW_RANGE:
        return ali_request_answer(session, frame);
    default:
        return -AL_E_PROTOCOL; /* a frame of the client's side */
    }
}

int ali_csession_bytes(struct ali_csession *session, struct al_str data, struct al_now now,
                       size_t *ret_used)
{
    struct al_frame frame;
    size_t used = 0;
    int64_t n;
    int r = 0;

    session->now = now;
    if (data.n)
        session->last_rx_ns = now.mono_ns;
    while (r >= 0) {
        n = al_frame_next(al_str_of(data.p + used, data.n - used), AL_FRAME_MAX, &frame);
        if (n <= 0) {
            r = (int)n;
            break;
        }
        /* Before WELCOME only it and a refusal may come. */
        if (session->link == ALI_LINK_HELLO && frame.type != AL_MSG_WELCOME &&
            frame.type != AL_MSG_ERROR)
            r = -AL_E_PROTOCOL;
        else
            r = handle_frame(session, &frame);
        used += (size_t)n;
    }
    *ret_used = used;
    return r < 0 ? r : 0;
}

void ali_csession_written(struct ali_csession *session, size_t size)
{
    session->out_done += size;
    assert(session->out_done <= session->out.size);
    if (session->out_done < session->out.size) {
        /* A node that is always behind must not make the buffer grow by everything ever written.
         * Never more is moved than was written since, so that it costs nothing that counts. */
        if (session->out_done >= OUT_MOVE_MIN &&
            session->out_done >= session->out.size - session->out_done) {
            al_buf_drop(&session->out, session->out_done);
            session->out_done = 0;
        }
        return;
    }
    session->out_done = 0;
    al_buf_clear(&session->out);
    if (session->out.cap > OUT_KEEP_MAX) {
        al_buf_deinit(&session->out);
        al_buf_init(&session->out, &session->config.alloc);
    }
}

int ali_csession_goodbye(struct ali_csession *session, bool keep_leases)
{
    struct al_msg_goodbye m = {.flags = keep_leases ? AL_KEEP_LEASES : 0};
    int r;

    if (session->link != ALI_LINK_UP)
        return -AL_E_CLOSED;
    r = al_put_goodbye(&session->out, &m);
    if (r >= 0)
        session->goodbye_sent = true;
    return r;
}

/* ---- time -------------------------------------------------------------------------------- */

static uint64_t ping_deadline_ns(const struct ali_csession *session)
{
    if (session->link == ALI_LINK_DOWN)
        return AL_NEVER_NS;
    if (session->ping_ns)
        return session->ping_ns + session->config.ping_timeout_ms * AL_NS_PER_MS;
    return session->last_rx_ns + session->config.ping_interval_ms * AL_NS_PER_MS;
}

static int ping_tick(struct ali_csession *session)
{
    struct al_msg_ping ping;
    int r;

    if (session->now.mono_ns < ping_deadline_ns(session))
        return 0;
    /* Anything that came since the ping is a sign of life. */
    if (session->ping_ns && session->last_rx_ns < session->ping_ns)
        return -AL_E_TIMEOUT;
    if (session->ping_ns) {
        session->ping_ns = 0;
        return 0;
    }
    if (session->link == ALI_LINK_HELLO) /* the silence is about WELCOME: no second chance */
        return -AL_E_TIMEOUT;
    ping.token = ++session->ping_token;
    r = al_put_ping(&session->out, &ping);
    if (r >= 0)
        session->ping_ns = session->now.mono_ns;
    return r;
}

int ali_csession_tick(struct ali_csession *session, struct al_now now)
{
    int r;

    session->now = now;
    if (session->link == ALI_LINK_DOWN)
        return 0;
    if (session->give_up)
        return -AL_E_NOMEM;
    r = ping_tick(session);
    if (r >= 0)
        r = ali_outbox_tick(session);
    if (r >= 0)
        r = ali_watch_tick(session);
    if (r >= 0)
        r = ali_lease_tick(session);
    return r;
}

uint64_t ali_csession_deadline_ns(const struct ali_csession *session)
{
    uint64_t deadline, other;

    if (session->link == ALI_LINK_DOWN)
        return AL_NEVER_NS;
    if (session->give_up)
        return session->now.mono_ns;
    deadline = ping_deadline_ns(session);
    other = ali_outbox_deadline_ns(session);
    if (other < deadline)
        deadline = other;
    if (session->renew_ns < deadline)
        deadline = session->renew_ns;
    if (session->watch_poll_ns < deadline)
        deadline = session->watch_poll_ns;
    return deadline;
}
