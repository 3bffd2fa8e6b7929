/* agent.c - agents: names and who owns them, listing, adding, removing. */
#include "core/internal.h"

struct al_str ali_name_normal(struct al_str name)
{
    static const char prefix[] = "default/";
    uint32_t n = sizeof(prefix) - 1;

    if (name.n > n && memcmp(name.p, prefix, n) == 0)
        return al_str_of(name.p + n, name.n - n);
    return name;
}

int ali_agent_get(struct al_node *node, const struct ali_conn *conn, struct al_str full_name,
                  bool create, ali_ref *ret_agent)
{
    struct al_str name = ali_name_normal(full_name);
    struct ali_rec_agent_add record = {.agent = node->d.next_agent,
                                       .uid = conn->uid,
                                       .wall_ms = node->v.now.wall_ms,
                                       .name = name};
    ali_ref ref;
    int r;

    if (!al_name_is_valid(full_name))
        return -AL_E_BAD_NAME;
    ref = ali_find_agent_name(node, name);
    if (ref == AL_REF_NONE) {
        if (!create)
            return -AL_E_UNKNOWN_AGENT;
        if (conn->uid >= AL_UID_REMOTE && !ali_link_is_of(node, conn, name))
            return -AL_E_NOT_OWNER; /* a certificate is for one agent */
        if (node->agents.count >= AL_AGENTS_MAX)
            return -AL_E_LIMIT;
        if (node->v.disk_full)
            return -AL_E_DISK_FULL;
        r = ali_commit(node, ALI_REC_AGENT_ADD, &record);
        if (r == 0 && node->config.retain.count)
            r = ali_retain_commit(node, record.agent, &node->config.retain);
        if (r < 0)
            return r;
        ref = ali_find_agent_name(node, name);
    }
    if (!ali_may_act(node, conn, ali_agent_at(node, ref)))
        return -AL_E_NOT_OWNER;
    *ret_agent = ref;
    return 0;
}

bool ali_may_manage(struct al_node *node, const struct ali_conn *conn, ali_ref ref)
{
    const struct ali_agent *agent = ali_agent_at(node, ref);

    return ali_may_act(node, conn, agent) ||
           ali_acl_check_admin(node, conn, al_str_of(agent->d.name, agent->d.name_size)) == 0;
}

int ali_agent_manage(struct al_node *node, const struct ali_conn *conn, struct al_str name,
                     ali_ref *ret_agent)
{
    int r = ali_agent_get(node, conn, name, false, ret_agent);
    ali_ref ref =
        r == -AL_E_NOT_OWNER ? ali_find_agent_name(node, ali_name_normal(name)) : AL_REF_NONE;

    if (ref == AL_REF_NONE || !ali_may_manage(node, conn, ref))
        return r;
    *ret_agent = ref;
    return 0;
}

int ali_handle_agent_add(struct al_node *node, struct ali_conn *conn,
                         const struct al_msg_agent_add *m)
{
    ali_ref ref;
    int r;

    if (al_name_is_valid(m->name) &&
        ali_find_agent_name(node, ali_name_normal(m->name)) != AL_REF_NONE)
        r = -AL_E_EXISTS;
    else
        r = ali_agent_get(node, conn, m->name, true, &ref);
    ali_send_done(node, conn, m->request, r, r == 0);
    return 0;
}

/* 0 if the agent may go: nothing waits for it (unless forced), and nothing of it is under way. */
static int check_removal(const struct al_node *node, ali_ref ref, bool force)
{
    const struct ali_agent *agent = ali_agent_at(node, ref);

    const struct ali_out_sum out = ali_inbox_out(agent->inbox);

    if ((out.receivers || out.messages) && !force)
        return -AL_E_ALREADY_ATTACHED;
    if (agent->v.channel_count || agent->inbox->v.member_count || ali_schedule_uses(node, ref) ||
        ((agent->inbox->d.pending || agent->inbox->d.letter_count) && !force))
        return -AL_E_BUSY;
    for (ali_ref s = 0; s < node->streams.end; s++) {
        const struct ali_stream *stream = ali_stream_at(node, s);

        if (al_pool_has(&node->streams, s) && stream->d.from == ref && stream->d.to != ref &&
            (ali_runs_count(&stream->d.runs) || stream->d.letter_count))
            return -AL_E_BUSY; /* what it sent still waits at somebody else's */
    }
    return 0;
}

int ali_handle_agent_remove(struct al_node *node, struct ali_conn *conn,
                            const struct al_msg_agent_remove *m)
{
    struct ali_rec_agent_remove record = {0};
    ali_ref ref = AL_REF_NONE;
    int r = ali_agent_manage(node, conn, m->name, &ref);

    if (r == 0)
        r = check_removal(node, ref, m->flags & 1);
    if (r == 0) {
        record.agent = ali_agent_at(node, ref)->d.id;
        ali_sessions_removed(node, ref);
        r = ali_commit(node, ALI_REC_AGENT_REMOVE, &record);
    }
    ali_send_done(node, conn, m->request, r, r == 0);
    return 0;
}

/* ---- listing ----------------------------------------------------------------------------- */

static void send_row(struct al_node *node, struct ali_conn *conn, uint32_t request, ali_ref ref)
{
    const struct ali_agent *agent = ali_agent_at(node, ref);
    const struct ali_out_sum out = ali_inbox_out(agent->inbox);
    uint64_t busy = agent->inbox->d.pending - agent->inbox->v.delayed;
    uint8_t dead[12];
    struct al_msg_agent_row row = {
        .request = request,
        .agent = agent->d.id,
        .uid = agent->d.uid,
        .attached = (uint8_t)(out.receivers < UINT8_MAX ? out.receivers : UINT8_MAX),
        .created_ms = agent->d.created_ms,
        .ready = busy - out.messages,
        .leased = out.messages,
        .delayed = agent->inbox->v.delayed,
        .dead = agent->inbox->d.letter_count,
        .leased_bytes = out.bytes,
        .streams = agent->v.stream_count,
        .name = al_str_of(agent->d.name, agent->d.name_size)};

    struct al_str ext =
        ali_ext_put_u64(dead, AL_AGENT_EXT_DEAD_BYTES, agent->inbox->d.letter_bytes);

    ALI_SEND_EXT(node, conn->number, agent_row, &row, ext);
}

bool ali_agent_by_name(const struct al_node *node, ali_ref a, ali_ref b)
{
    const struct ali_agent *one = ali_agent_at(node, a), *other = ali_agent_at(node, b);

    return ali_compare(al_str_of(one->d.name, one->d.name_size),
                       al_str_of(other->d.name, other->d.name_size)) <= 0;
}

/* The agents with the smallest names behind `after`: tables are not sorted. */
static void find_agents(const struct al_node *node, struct al_str after, struct ali_page *page)
{
    for (ali_ref ref = 0; ref < node->agents.end; ref++) {
        const struct ali_agent *agent = ali_agent_at(node, ref);

        if (al_pool_has(&node->agents, ref) && agent->v.group == AL_REF_NONE &&
            ali_compare(al_str_of(agent->d.name, agent->d.name_size), after) > 0)
            ali_page_offer(node, page, ref);
    }
    ali_page_sort(node, page);
}

int ali_handle_agent_list(struct al_node *node, struct ali_conn *conn,
                          const struct al_msg_agent_list *m)
{
    struct ali_page page;

    if (m->exact) {
        ali_ref ref = al_name_is_valid(m->after)
                          ? ali_find_agent_name(node, ali_name_normal(m->after))
                          : AL_REF_NONE;

        if (ref != AL_REF_NONE)
            send_row(node, conn, m->request, ref);
        ali_send_done(node, conn, m->request, ref == AL_REF_NONE ? -AL_E_UNKNOWN_AGENT : 0,
                      ref != AL_REF_NONE);
        return 0;
    }
    ali_page_init(&page, m->limit, ali_agent_by_name);
    find_agents(node, m->after, &page);
    for (uint32_t i = 0; i < page.count; i++)
        send_row(node, conn, m->request, page.refs[i]);
    ali_send_done(node, conn, m->request, 0, page.count);
    return 0;
}

/* What waits in the lanes of an unordered stream is told as its own. */
static void add_lanes(const struct al_node *node, const struct ali_stream *base,
                      struct al_msg_stream_row *row)
{
    for (ali_ref ref = ali_agent_at(node, base->d.to)->v.streams.head; ref != AL_REF_NONE;
         ref = ali_stream_at(node, ref)->v.link.next) {
        const struct ali_stream *lane = ali_stream_at(node, ref);

        if (ali_lane_base(node, lane) != base->d.id)
            continue;
        row->pending += ali_runs_count(&lane->d.runs) - lane->d.gone_count;
        row->leased += lane->v.flow->pushed_count;
    }
}

static void send_stream_row(struct al_node *node, const struct ali_conn *conn, uint32_t request,
                            const struct ali_stream *stream)
{
    bool unordered = stream->d.flags & ALI_STREAM_UNORDERED;
    uint8_t room[8];
    struct al_str ext = ali_ext_put_u32(room, AL_STREAM_EXT_UNORDERED, unordered);
    const struct ali_agent *from = ali_agent_at(node, stream->d.from);
    uint64_t pending = ali_runs_count(&stream->d.runs) - stream->d.gone_count;
    struct al_msg_stream_row row = {
        .request = request,
        .stream = stream->d.id,
        .priority = stream->d.priority,
        .next_seq = stream->d.runs.next_seq,
        .head_seq = pending ? stream->d.runs.first_seq : 0,
        .pending = pending,
        .leased = stream->v.flow->pushed_count,
        .attempts = stream->d.attempts,
        .due_ms = stream->v.flow->is_held ? ali_trouble_of(stream)->due_ms : 0,
        .from = al_str_of(from->d.name, from->d.name_size),
        .label = al_str_of(stream->d.label, stream->d.label_size)};

    if (unordered)
        add_lanes(node, stream, &row);
    ALI_SEND_EXT(node, conn->number, stream_row, &row, ext);
}

bool ali_stream_by_number(const struct al_node *node, ali_ref a, ali_ref b)
{
    return ali_stream_at(node, a)->d.id <= ali_stream_at(node, b)->d.id;
}

int ali_handle_stream_list(struct al_node *node, struct ali_conn *conn,
                           const struct al_msg_stream_list *m)
{
    struct ali_page page;
    ali_ref agent = AL_REF_NONE;
    int r = ali_agent_get(node, conn, m->agent, false, &agent);

    ali_page_init(&page, m->limit, ali_stream_by_number);
    for (ali_ref ref = r == 0 ? ali_agent_at(node, agent)->v.streams.head : AL_REF_NONE;
         ref != AL_REF_NONE; ref = ali_stream_at(node, ref)->v.link.next)
        if (ali_stream_at(node, ref)->d.id > m->after &&
            !(ali_stream_at(node, ref)->d.flags & ALI_STREAM_LANE))
            ali_page_offer(node, &page, ref);
    ali_page_sort(node, &page);
    for (uint32_t i = 0; i < page.count; i++)
        send_stream_row(node, conn, m->request, ali_stream_at(node, page.refs[i]));
    ali_send_done(node, conn, m->request, r, page.count);
    return 0;
}
