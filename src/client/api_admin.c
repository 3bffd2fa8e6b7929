/* api_admin.c - questions about agents, streams, dead letters and the node, and changes to them. */
#include "base/errors.h"
#include "base/limits.h"
#include "base/text.h"
#include "client/ask.h"
#include <stdio.h>

#define PAGE 500u

/* Texts in rows stand in the frame without NUL: copies them to `room`. */
static const char *text_at(char room[256], struct al_str text)
{
    uint8_t *at = (uint8_t *)room;

    return ali_text_copy(&at, text);
}

static int check_name(const char *name)
{
    if (name && al_name_is_valid(al_str_c(name)))
        return 0;
    return ali_client_fail(-AL_E_BAD_NAME,
                           "'%.130s' is not a name: [namespace/]name, each part 1 "
                           "to 64 of a-z 0-9 . _ -",
                           name ? name : "");
}

/* ---- agents ------------------------------------------------------------------------------ */

/* One page of agents; `after` is moved to the last name. */
static int agent_page(struct ali_ask *ask, struct al_msg_agent_list *m, char after[256],
                      al_agent_fn *fn, void *ctx)
{
    struct al_msg_agent_row row = {0};
    struct al_frame frame;
    struct al_str value;
    char name[256];
    int r;

    m->request = ali_ask_number(ask);
    r = ali_ask_end(ask, al_put_agent_list(&ask->request.frame, m));
    while (r == 0 && ali_ask_row(ask, AL_MSG_AGENT_ROW, &frame)) {
        struct al_agent_info info;

        r = al_decode_agent_row(frame.body, &row);
        if (r < 0)
            return ali_client_failed(r, NULL);
        info = (struct al_agent_info){.name = text_at(name, row.name),
                                      .number = row.agent,
                                      .uid = row.uid,
                                      .attached = row.attached != 0,
                                      .receivers = row.attached,
                                      .created_ms = row.created_ms,
                                      .ready = row.ready,
                                      .leased = row.leased,
                                      .delayed = row.delayed,
                                      .dead = row.dead,
                                      .leased_bytes = row.leased_bytes,
                                      .streams = row.streams};
        if (al_ext_find(ali_ext_behind(frame.body, row.name), AL_AGENT_EXT_DEAD_BYTES, &value) &&
            value.n >= 8)
            info.dead_bytes = al_get64(value.p);
        memcpy(after, name, sizeof(name));
        r = fn(ctx, &info);
    }
    return r;
}

int al_agent_list(struct al_client *client, al_agent_fn *fn, void *ctx)
{
    char after[256] = "";
    uint32_t rows = PAGE;
    int r = 0;

    while (r == 0 && rows == PAGE) {
        struct al_msg_agent_list m = {.limit = PAGE, .after = al_str_c(after)};
        struct ali_ask ask;

        ali_ask_begin(&ask, client, false);
        r = agent_page(&ask, &m, after, fn, ctx);
        rows = ask.rows;
        ali_ask_deinit(&ask);
    }
    return r;
}

int al_agent_show(struct al_client *client, const char *name, al_agent_fn *fn, void *ctx)
{
    struct al_msg_agent_list m = {.limit = 1, .exact = 1, .after = al_str_c(name)};
    struct ali_ask ask;
    char after[256];
    int r = check_name(name);

    if (r < 0)
        return r;
    ali_ask_begin(&ask, client, false);
    r = agent_page(&ask, &m, after, fn, ctx);
    if (r == 0 && ask.rows == 0)
        r = ali_client_fail(-AL_E_NOT_FOUND, "there is no agent '%s'", name);
    ali_ask_deinit(&ask);
    return r;
}

int al_agent_add(struct al_client *client, const char *name)
{
    struct al_msg_agent_add m = {.name = al_str_c(name)};
    struct ali_ask ask;
    int r = check_name(name);

    if (r < 0)
        return r;
    ali_ask_begin(&ask, client, true);
    m.request = ali_ask_number(&ask);
    r = ali_ask_end(&ask, al_put_agent_add(&ask.request.frame, &m));
    ali_ask_deinit(&ask);
    return r;
}

int al_agent_remove(struct al_client *client, const char *name, bool force)
{
    struct al_msg_agent_remove m = {.flags = force, .name = al_str_c(name)};
    struct ali_ask ask;
    int r = check_name(name);

    if (r < 0)
        return r;
    ali_client_lock(client);
    r = ali_csession_close_channels(client->session, m.name); /* they would keep the agent busy */
    ali_client_unlock(client);
    if (r < 0)
        return ali_client_failed(r, NULL);
    ali_ask_begin(&ask, client, true);
    m.request = ali_ask_number(&ask);
    r = ali_ask_end(&ask, al_put_agent_remove(&ask.request.frame, &m));
    ali_ask_deinit(&ask);
    return r;
}

/* ---- streams ----------------------------------------------------------------------------- */

static int stream_page(struct ali_ask *ask, struct al_msg_stream_list *m, al_stream_fn *fn,
                       void *ctx)
{
    struct al_msg_stream_row row = {0};
    struct al_frame frame;
    struct al_str value;
    char from[256], label[256];
    int r;

    m->request = ali_ask_number(ask);
    r = ali_ask_end(ask, al_put_stream_list(&ask->request.frame, m));
    while (r == 0 && ali_ask_row(ask, AL_MSG_STREAM_ROW, &frame)) {
        struct al_stream_info info;

        r = al_decode_stream_row(frame.body, &row);
        if (r < 0)
            return ali_client_failed(r, NULL);
        info = (struct al_stream_info){.stream = row.stream,
                                       .from = text_at(from, row.from),
                                       .label = text_at(label, row.label),
                                       .priority = row.priority,
                                       .next_seq = row.next_seq,
                                       .head_seq = row.head_seq,
                                       .pending = row.pending,
                                       .leased = row.leased,
                                       .attempts = row.attempts,
                                       .due_ms = row.due_ms};
        info.unordered =
            al_ext_find(ali_ext_behind(frame.body, row.label), AL_STREAM_EXT_UNORDERED, &value) &&
            value.n >= 4 && al_get32(value.p) == 1;
        m->after = row.stream;
        r = fn(ctx, &info);
    }
    return r;
}

int al_stream_list(struct al_client *client, const char *agent, al_stream_fn *fn, void *ctx)
{
    struct al_msg_stream_list m = {.limit = PAGE, .agent = al_str_c(agent)};
    uint32_t rows = PAGE;
    int r = check_name(agent);

    while (r == 0 && rows == PAGE) {
        struct ali_ask ask;

        ali_ask_begin(&ask, client, false);
        r = stream_page(&ask, &m, fn, ctx);
        rows = ask.rows;
        ali_ask_deinit(&ask);
    }
    return r;
}

/* ---- settling by id ---------------------------------------------------------------------- */

int al_settle(struct al_client *client, const struct al_settlement *settlement)
{
    struct al_msg_settle m = {.action = (uint8_t)settlement->action,
                              .time_ms = settlement->time_ms,
                              .agent = al_str_c(settlement->agent),
                              .reason = al_str_c(settlement->reason),
                              .response_type = al_str_c(settlement->response_type),
                              .response =
                                  al_str_of(settlement->response, settlement->response_size)};
    struct ali_ask ask;
    struct al_buf buf;
    int r;

    if (settlement->action < AL_SETTLE_ACTION_SUCCESS ||
        settlement->action > AL_SETTLE_ACTION_EXTEND || m.reason.n > AL_REASON_MAX ||
        m.response_type.n > AL_CONTENT_TYPE_MAX || (m.response.n && !m.response.p))
        return ali_client_fail(-AL_E_INVALID,
                               "the action, reason (at most %u bytes) or type of "
                               "the response is not valid",
                               AL_REASON_MAX);
    if (settlement->response_size > AL_RESPONSE_MAX)
        return ali_client_fail(-AL_E_TOO_LARGE, "the response has %zu bytes, at most %u",
                               settlement->response_size, AL_RESPONSE_MAX);
    r = settlement->agent && *settlement->agent ? check_name(settlement->agent) : 0;
    if (r < 0)
        return r;
    memcpy(m.message_id.b, settlement->id.bytes, 16);
    al_buf_init(&buf, &client->alloc);
    if (settlement->part_count)
        r = ali_parts_wrap_texts(settlement->parts, settlement->part_count, &buf, &m.response,
                                 &m.response_type);
    if (r < 0) {
        al_buf_deinit(&buf);
        return ali_client_fail(r, "a part has 1 to %u bytes, the reply at most %u", AL_PART_MAX,
                               AL_RESPONSE_MAX);
    }
    ali_ask_begin(&ask, client, true);
    m.request = ali_ask_number(&ask);
    r = ali_ask_end(&ask, al_put_settle(&ask.request.frame, &m));
    ali_ask_deinit(&ask);
    al_buf_deinit(&buf);
    return r;
}

/* ---- the node ---------------------------------------------------------------------------- */

/* Figures that came later stand behind the others: an older node does not send them. */
static void fill_late_figures(const struct al_msg_status *m, struct al_str body,
                              struct al_status_info *status)
{
    struct al_str ext = ali_ext_behind(body, m->node), value;

    if (al_ext_find(ext, AL_STATUS_EXT_REPLAY, &value) && value.n >= 16) {
        status->kept = al_get64(value.p);
        status->replayed = al_get64(value.p + 8);
    }
    if (al_ext_find(ext, AL_STATUS_EXT_PARTS, &value) && value.n >= 24) {
        status->parts = al_get64(value.p);
        status->parts_dropped = al_get64(value.p + 8);
        status->parts_refused = al_get64(value.p + 16);
    }
    if (al_ext_find(ext, AL_STATUS_EXT_COMMITS, &value) && value.n >= 24) {
        status->commits = al_get64(value.p);
        status->commits_repeated = al_get64(value.p + 8);
        status->commits_refused = al_get64(value.p + 16);
    }
    if (al_ext_find(ext, AL_STATUS_EXT_WORKFLOWS, &value) && value.n >= 24) {
        status->workflows = al_get64(value.p);
        status->workflow_numbers = al_get64(value.p + 8);
        status->workflows_forgotten = al_get64(value.p + 16);
    }
    if (al_ext_find(ext, AL_STATUS_EXT_GAPS, &value) && value.n >= 8)
        status->asked_again = al_get64(value.p);
    if (al_ext_find(ext, AL_STATUS_EXT_ACL, &value) && value.n >= 56) {
        status->acl_rules = al_get64(value.p);
        status->acl_version = al_get64(value.p + 8);
        status->denied_sends = al_get64(value.p + 16);
        status->denied_joins = al_get64(value.p + 24);
        status->denied_reads = al_get64(value.p + 32);
        status->denied_changes = al_get64(value.p + 40);
        status->denied_deliveries = al_get64(value.p + 48);
    }
    if (al_ext_find(ext, AL_STATUS_EXT_DEAD_BYTES, &value) && value.n >= 8)
        status->dead_bytes = al_get64(value.p);
}

static void fill_status(const struct al_msg_status *m, struct al_status_info *ret_status)
{
    *ret_status = (struct al_status_info){.node_epoch = m->node_epoch,
                                          .start_ms = m->start_ms,
                                          .lsn = m->lsn,
                                          .agents = m->agents,
                                          .streams = m->streams,
                                          .connections = m->connections,
                                          .waiting = m->waiting,
                                          .leased = m->leased,
                                          .delayed = m->delayed,
                                          .dead = m->dead,
                                          .accepted = m->accepted,
                                          .delivered = m->delivered,
                                          .failed = m->failed,
                                          .retried = m->retried,
                                          .redelivered = m->redelivered,
                                          .duplicates = m->duplicates,
                                          .refused = m->refused,
                                          .expired = m->expired,
                                          .volatile_sent = m->volatile_sent,
                                          .volatile_dropped = m->volatile_dropped,
                                          .state_bytes = m->state_bytes,
                                          .disk_full = m->disk_full};
    text_at(ret_status->node, m->node);
}

int al_status_get(struct al_client *client, struct al_status_info *ret_status)
{
    struct al_msg_status_get m;
    struct al_msg_status status = {0};
    struct al_frame frame;
    struct ali_ask ask;
    int r;

    ali_ask_begin(&ask, client, false);
    m.request = ali_ask_number(&ask);
    r = ali_ask_end(&ask, al_put_status_get(&ask.request.frame, &m));
    if (r == 0 &&
        (!ali_ask_row(&ask, AL_MSG_STATUS, &frame) || al_decode_status(frame.body, &status) < 0))
        r = ali_client_failed(-AL_E_PROTOCOL, NULL);
    if (r == 0) {
        fill_status(&status, ret_status);
        fill_late_figures(&status, frame.body, ret_status);
    }
    ali_ask_deinit(&ask);
    return r;
}

int al_metrics_list(struct al_client *client, al_metrics_fn *fn, void *ctx)
{
    struct al_msg_metrics_get m;
    struct al_msg_metrics_row row = {0};
    struct al_frame frame;
    struct ali_ask ask;
    char kind[256];
    int r;

    ali_ask_begin(&ask, client, false);
    m.request = ali_ask_number(&ask);
    r = ali_ask_end(&ask, al_put_metrics_get(&ask.request.frame, &m));
    while (r == 0 && ali_ask_row(&ask, AL_MSG_METRICS_ROW, &frame)) {
        struct al_metrics_info info;

        r = al_decode_metrics_row(frame.body, &row);
        if (r < 0) {
            ali_client_failed(r, NULL);
            break;
        }
        info = (struct al_metrics_info){.kind = text_at(kind, row.kind),
                                        .sent = row.sent,
                                        .success = row.success,
                                        .failure = row.failure,
                                        .retries = row.retries,
                                        .latency_sum_ms = row.latency_sum_ms};
        r = fn(ctx, &info);
    }
    ali_ask_deinit(&ask);
    return r;
}
