/* group.c - administration of groups: adding and removing them, and the questions about them. */
#include "core/internal.h"

/* The name as it is kept: namespace "default" goes without saying. buf has AL_GROUP_NAME_MAX. */
static struct al_str normal_name(struct al_str name, char *buf)
{
    struct al_str rest = ali_name_normal(al_str_of(name.p + 6, name.n - 6));

    memcpy(buf, "group:", 6);
    memcpy(buf + 6, rest.p, rest.n);
    return al_str_of(buf, 6 + (size_t)rest.n);
}

ali_ref ali_find_group(const struct al_node *node, struct al_str name)
{
    char buf[AL_GROUP_NAME_MAX];
    ali_ref agent;

    if (!al_group_name_is_valid(name))
        return AL_REF_NONE;
    agent = ali_find_agent_name(node, normal_name(name, buf));
    return agent == AL_REF_NONE ? AL_REF_NONE : ali_agent_at(node, agent)->v.group;
}

/* ---- adding and removing ----------------------------------------------------------------- */

int ali_handle_group_add(struct al_node *node, struct ali_conn *conn,
                         const struct al_msg_group_add *m)
{
    char buf[AL_GROUP_NAME_MAX];
    struct ali_rec_group_add record = {.group = node->d.next_agent,
                                       .uid = conn->uid,
                                       .wall_ms = node->v.now.wall_ms,
                                       .keep_ms =
                                           m->keep_ms ? m->keep_ms : AL_GROUP_KEEP_DEFAULT_MS,
                                       .keep_count = m->keep_count,
                                       .keep_bytes = m->keep_bytes};
    int r = al_group_name_is_valid(m->group) ? 0 : -AL_E_BAD_NAME;

    if (r == 0 && ali_find_group(node, m->group) != AL_REF_NONE)
        r = -AL_E_EXISTS;
    if (r == 0 && node->agents.count >= AL_AGENTS_MAX)
        r = -AL_E_LIMIT;
    if (r == 0 && node->v.disk_full)
        r = -AL_E_DISK_FULL;
    if (r == 0) {
        record.name = normal_name(m->group, buf);
        r = ali_commit(node, ALI_REC_GROUP_ADD, &record);
    }
    ali_send_done(node, conn, m->request, r, r == 0);
    return 0;
}

static struct ali_stream *stream_of(const struct al_node *node, ali_ref member)
{
    return ali_stream_at(node, ali_member_at(node, member)->d.stream);
}

/* 0 if the group may go: nobody posts to it, and its members have read everything, or must not. */
static int check_removal(const struct al_node *node, const struct ali_group *group, bool force)
{
    if (ali_agent_at(node, group->d.agent)->v.channel_count)
        return -AL_E_BUSY;
    for (ali_ref m = group->d.members.head; m != AL_REF_NONE && !force;
         m = ali_member_at(node, m)->d.of_group.next)
        if (ali_runs_count(&stream_of(node, m)->d.runs) || stream_of(node, m)->d.letter_count)
            return -AL_E_BUSY;
    return 0;
}

/* Members that hold a copy are told that it can no longer be acked. */
static void recall_copies(struct al_node *node, const struct ali_group *group)
{
    for (ali_ref m = group->d.members.head; m != AL_REF_NONE;
         m = ali_member_at(node, m)->d.of_group.next)
        if (stream_of(node, m)->v.flow->pushed_count)
            ali_stream_recall(node, ali_member_at(node, m)->d.stream,
                              ali_push_at(stream_of(node, m), 0)->seq, AL_E_UNKNOWN_GROUP);
}

int ali_handle_group_remove(struct al_node *node, struct ali_conn *conn,
                            const struct al_msg_group_remove *m)
{
    ali_ref ref = ali_find_group(node, m->group);
    const struct ali_group *group = ref == AL_REF_NONE ? NULL : ali_group_at(node, ref);
    struct ali_rec_group_remove record = {0};
    int r = group ? 0 : -AL_E_UNKNOWN_GROUP;

    if (group && !ali_may_manage(node, conn, group->d.agent))
        r = -AL_E_NOT_OWNER;
    if (r == 0)
        r = check_removal(node, group, m->flags & 1);
    if (r == 0) {
        record.group = ali_agent_at(node, group->d.agent)->d.id;
        recall_copies(node, group);
        r = ali_commit(node, ALI_REC_GROUP_REMOVE, &record);
    }
    ali_send_done(node, conn, m->request, r, r == 0);
    return 0;
}

/* ---- questions --------------------------------------------------------------------------- */

static void send_row(struct al_node *node, struct ali_conn *conn, uint32_t request, ali_ref ref)
{
    const struct ali_group *group = ali_group_at(node, ref);
    const struct ali_agent *agent = ali_agent_at(node, group->d.agent);
    struct al_msg_group_row row = {.request = request,
                                   .group = agent->d.id,
                                   .uid = agent->d.uid,
                                   .created_ms = agent->d.created_ms,
                                   .first_seq = group->d.history.first_seq,
                                   .next_seq = group->d.history.next_seq,
                                   .keep_ms = group->d.keep_ms,
                                   .keep_count = group->d.keep_count,
                                   .keep_bytes = group->d.keep_bytes,
                                   .bytes = group->d.bytes,
                                   .members = group->v.member_count,
                                   .name = al_str_of(agent->d.name, agent->d.name_size),
                                   .hash = al_str_of(group->d.hash, sizeof(group->d.hash))};

    ALI_SEND(node, conn->number, group_row, &row);
}

static struct al_str name_of(const struct al_node *node, ali_ref ref)
{
    const struct ali_agent *agent = ali_agent_at(node, ali_group_at(node, ref)->d.agent);

    return al_str_of(agent->d.name, agent->d.name_size);
}

static bool by_name(const struct al_node *node, ali_ref a, ali_ref b)
{
    return ali_agent_by_name(node, ali_group_at(node, a)->d.agent, ali_group_at(node, b)->d.agent);
}

int ali_handle_group_list(struct al_node *node, struct ali_conn *conn,
                          const struct al_msg_group_list *m)
{
    struct ali_page page;

    if (m->exact) {
        ali_ref ref = ali_find_group(node, m->after);

        if (ref != AL_REF_NONE)
            send_row(node, conn, m->request, ref);
        ali_send_done(node, conn, m->request, ref == AL_REF_NONE ? -AL_E_UNKNOWN_GROUP : 0,
                      ref != AL_REF_NONE);
        return 0;
    }
    ali_page_init(&page, m->limit, by_name);
    for (ali_ref ref = 0; ref < node->groups.end; ref++)
        if (al_pool_has(&node->groups, ref) && ali_compare(name_of(node, ref), m->after) > 0)
            ali_page_offer(node, &page, ref);
    ali_page_sort(node, &page);
    for (uint32_t i = 0; i < page.count; i++)
        send_row(node, conn, m->request, page.refs[i]);
    ali_send_done(node, conn, m->request, 0, page.count);
    return 0;
}

static void send_member(struct al_node *node, struct ali_conn *conn, uint32_t request, ali_ref ref)
{
    const struct ali_member *member = ali_member_at(node, ref);
    const struct ali_stream *stream = stream_of(node, ref);
    const struct ali_agent *agent = ali_agent_at(node, stream->d.to);
    struct al_msg_group_member row = {.request = request,
                                      .stream = stream->d.id,
                                      .joined_seq = member->d.joined_seq,
                                      .left_seq = member->d.left_seq,
                                      .acked_seq = stream->d.runs.first_seq - 1,
                                      .pending =
                                          ali_runs_count(&stream->d.runs) - stream->d.gone_count,
                                      .dead = stream->d.letter_count,
                                      .agent = al_str_of(agent->d.name, agent->d.name_size)};

    ALI_SEND(node, conn->number, group_member, &row);
}

/* 0 if conn owns the group, or one of its members (the one called so, if a name is given) that may
 * read it by the rules. */
static int check_reader(struct al_node *node, const struct ali_conn *conn,
                        const struct ali_group *group, struct al_str name)
{
    if (!name.n && ali_may_act(node, conn, ali_agent_at(node, group->d.agent)))
        return 0;
    for (ali_ref m = group->d.members.head; m != AL_REF_NONE;
         m = ali_member_at(node, m)->d.of_group.next) {
        const struct ali_agent *member = ali_agent_at(node, stream_of(node, m)->d.to);

        if ((ali_member_at(node, m)->d.left_seq && !AL_PLANT(node, GROUP_HISTORY_OPEN)) ||
            !ali_may_act(node, conn, member) ||
            (name.n &&
             !al_str_eq(ali_name_normal(name), al_str_of(member->d.name, member->d.name_size))))
            continue;
        return ali_acl_check(node, stream_of(node, m)->d.to, group->d.agent, ALI_ACL_READ,
                             al_str_of(NULL, 0));
    }
    return -AL_E_NOT_MEMBER;
}

int ali_handle_group_members(struct al_node *node, struct ali_conn *conn,
                             const struct al_msg_group_members *m)
{
    ali_ref ref = ali_find_group(node, m->group);
    uint32_t count = 0;
    int r = ref == AL_REF_NONE ? -AL_E_UNKNOWN_GROUP : 0;

    if (r == 0)
        r = check_reader(node, conn, ali_group_at(node, ref), al_str_of(NULL, 0));
    if (r == 0)
        for (ali_ref at = ali_group_at(node, ref)->d.members.head; at != AL_REF_NONE;
             at = ali_member_at(node, at)->d.of_group.next, count++)
            send_member(node, conn, m->request, at);
    ali_send_done(node, conn, m->request, r, count);
    return 0;
}

/* ---- history ----------------------------------------------------------------------------- */

int ali_handle_group_history(struct al_node *node, struct ali_conn *conn,
                             const struct al_msg_group_history *m)
{
    ali_ref ref = ali_find_group(node, m->group);
    struct ali_read read = {.kind = ALI_READ_GROUP,
                            .conn = conn->number,
                            .conn_serial = node->v.conn_serials[conn->number],
                            .client_request = m->request};
    uint32_t limit = m->limit && m->limit < AL_GROUP_ROWS_MAX ? m->limit : AL_GROUP_ROWS_MAX;
    uint64_t lsns[AL_GROUP_ROWS_MAX];
    const struct ali_runs *history;
    struct ali_cursor at;
    uint32_t count = 0;
    int r = ref == AL_REF_NONE ? -AL_E_UNKNOWN_GROUP : 0;

    if (r == 0)
        r = check_reader(node, conn, ali_group_at(node, ref), m->agent);
    if (r == 0) {
        history = &ali_group_at(node, ref)->d.history;
        at = ali_runs_seek(history, m->first_seq < history->first_seq  ? history->first_seq
                                    : m->first_seq > history->next_seq ? history->next_seq
                                                                       : m->first_seq);
        for (; at.seq < history->next_seq && count < limit; ali_cursor_next(history, &at))
            lsns[count++] = at.lsn;
    }
    if (count)
        r = ali_effect_read(node, &read, lsns, count);
    if (r < 0 || !count)
        ali_send_done(node, conn, m->request, r, 0);
    return 0;
}

void ali_group_read(struct al_node *node, struct ali_conn *conn, const struct ali_read *read,
                    const struct al_event *event)
{
    uint32_t count = 0;
    /* Carried forward or forgotten while it was read: the same question has an answer. */
    int r = event->status == -AL_E_NOT_FOUND ? -AL_E_BUSY : event->status;

    for (; r == 0 && count < event->record_count; count++) {
        struct ali_rec_publish record;
        struct ali_rec_group_post post;
        struct al_msg_group_entry entry = {.request = read->client_request};

        if (ali_unwrap_message(&event->records[count], &record, &post) < 0 || !post.group) {
            r = -AL_E_BUSY;
            break;
        }
        entry.seq = post.seq;
        entry.what = post.what;
        entry.wall_ms = post.wall_ms;
        entry.author = post.author;
        entry.prev_hash = post.prev_hash;
        entry.envelope = post.envelope;
        ALI_SEND(node, conn->number, group_entry, &entry);
    }
    ali_send_done(node, conn, read->client_request, r, count);
}
