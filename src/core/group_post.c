/* group_post.c - what live traffic does with groups: admission and fan-out, joins and leaves, the
 * notice of the end at all members, and the retention of the history. */
#include "core/internal.h"
#include "crypto/hash.h"
#include <assert.h>

#define KIND_PREFIX "agentlink.group."

/* ---- fan-out ----------------------------------------------------------------------------- */

static struct ali_stream *stream_of(const struct al_node *node, const struct ali_member *member)
{
    return ali_stream_at(node, member->d.stream);
}

/* Passes a message that was just recorded on to the receivers that can take it. */
static void fan_out(struct al_node *node, ali_ref ref, const struct ali_rec_group_post *post)
{
    struct al_msg_envelope envelope = {0};
    uint16_t kind;

    (void)al_decode_envelope(post->envelope, &envelope);
    kind = ali_metric_find(node, envelope.kind);
    for (ali_ref m = ali_group_at(node, ref)->d.members.head; m != AL_REF_NONE;
         m = ali_member_at(node, m)->d.of_group.next) {
        const struct ali_member *member = ali_member_at(node, m);

        if (member->d.left_seq && member->d.left_seq != post->seq)
            continue;
        node->v.waiting++;
        ali_push_post(node, member->d.stream, post, kind);
    }
}

/* Every member must be able to take it behind `more` others: a hole in one stream would be a hole
 * in the group. */
static int check_members(const struct al_node *node, const struct ali_group *group, uint32_t more)
{
    for (ali_ref m = group->d.members.head; m != AL_REF_NONE;
         m = ali_member_at(node, m)->d.of_group.next) {
        const struct ali_agent *to =
            ali_agent_at(node, stream_of(node, ali_member_at(node, m))->d.to);

        if (ali_member_at(node, m)->d.left_seq)
            continue;
        if (to->inbox->d.pending + more >= node->config.inbox_max)
            return -AL_E_INBOX_FULL;
        if (ali_letters_are_full(node, to))
            return -AL_E_DLQ_FULL;
    }
    return 0;
}

static int commit_post(struct al_node *node, ali_ref ref, struct ali_rec_group_post *post)
{
    struct ali_group *group = ali_group_at(node, ref);
    uint8_t prev[32]; /* the record keeps the hash that applying it replaces */
    int r;

    memcpy(prev, group->d.hash, sizeof(prev));
    post->group = ali_agent_at(node, group->d.agent)->d.id;
    post->seq = group->d.history.next_seq;
    post->wall_ms = node->v.now.wall_ms;
    post->prev_hash = al_str_of(prev, sizeof(prev));
    r = ali_commit(node, ALI_REC_GROUP_POST, post);
    if (r == 0) {
        if (post->what == AL_GROUP_JOINED)
            node->v.waiting += post->seq - post->start_seq;
        fan_out(node, ref, post);
    }
    post->prev_hash = al_str_of(NULL, 0);
    return r;
}

/* ---- messages ---------------------------------------------------------------------------- */

int ali_group_check(const struct al_node *node, const struct ali_stream *stream,
                    const struct ali_rec_publish *record, uint32_t more)
{
    ali_ref ref = ali_agent_at(node, stream->d.to)->v.group;
    const struct ali_group *group = ali_group_at(node, ref);
    ali_ref member = ali_find_member(node, ref, stream->d.from);
    struct al_msg_envelope envelope;
    uint32_t n = sizeof(KIND_PREFIX) - 1;

    if (member == AL_REF_NONE ||
        (ali_member_at(node, member)->d.left_seq && !AL_PLANT(node, GROUP_FORMER_POSTS)))
        return -AL_E_NOT_MEMBER;
    if (al_decode_envelope(record->envelope, &envelope) < 0 ||
        (envelope.kind.n >= n && memcmp(envelope.kind.p, KIND_PREFIX, n) == 0))
        return -AL_E_INVALID; /* only the node says who came and went */
    if (record->due_ms || record->expire_ms)
        return -AL_E_UNSUPPORTED; /* everybody gets everything, in one order */
    if (record->flags & AL_PUBLISH_NOTIFY && group->v.watch_count + more >= AL_GROUP_WATCHES_MAX)
        return -AL_E_LIMIT;
    return check_members(node, group, more);
}

static int reserve_watch(struct al_node *node, struct ali_group *group);
static void add_watch(struct ali_group *group, const struct ali_watch *watch);

int ali_group_admit(struct al_node *node, const struct ali_channel *channel,
                    const struct ali_rec_publish *record, struct ali_receipt_run *ret_receipt)
{
    const struct ali_stream *stream = ali_stream_at(node, channel->stream);
    const struct ali_agent *from = ali_agent_at(node, stream->d.from);
    ali_ref ref = ali_agent_at(node, stream->d.to)->v.group;
    struct ali_rec_group_post post = {.what = AL_GROUP_MESSAGE,
                                      .stream = record->stream,
                                      .producer = record->producer,
                                      .pseq = record->pseq,
                                      .flags = record->flags,
                                      .author = al_str_of(from->d.name, from->d.name_size),
                                      .envelope = record->envelope};
    bool notify = record->flags & AL_PUBLISH_NOTIFY;
    uint8_t room[8];
    int r = notify ? reserve_watch(node, ali_group_at(node, ref)) : 0;

    post.ext = ali_ext_put_u32(room, ALI_POST_EXT_EVICT, record->dedup_evict);
    if (r == 0)
        r = commit_post(node, ref, &post);
    if (r < 0)
        return r;
    if (notify) { /* nobody waits for a post that was not admitted: its place is another's */
        struct ali_watch watch = {
            .seq = post.seq, .producer = record->producer, .stream = record->stream};

        memcpy(watch.id.b, record->envelope.p, 16);
        add_watch(ali_group_at(node, ref), &watch);
    }
    node->v.counters.accepted++;
    ret_receipt->stream = post.stream;
    ret_receipt->seq = post.seq;
    return 0;
}

/* ---- membership -------------------------------------------------------------------------- */

/* The envelope of a notice: who came or went, under an id that follows from its place. */
static int put_notice(const struct al_node *node, const struct ali_group *group, bool joined,
                      struct al_str who, struct al_buf *out)
{
    const struct ali_agent *agent = ali_agent_at(node, group->d.agent);
    struct al_msg_envelope envelope = {
        .timestamp_ms = node->v.now.wall_ms,
        .kind = al_str_c(joined ? KIND_PREFIX "join" : KIND_PREFIX "leave"),
        .content_type = al_str_c("text/plain"),
        .payload = who};
    uint8_t seq[8];
    struct al_str parts[3] = {al_str_of(agent->d.name, agent->d.name_size),
                              al_str_of(seq, sizeof(seq)), al_str_of(group->d.hash, 32)};
    int r = al_buf_reserve(out, al_size_envelope(&envelope));

    if (r < 0)
        return r;
    al_put64(seq, group->d.history.next_seq);
    al_digest128(parts, 3, envelope.message_id.b);
    envelope.message_id.b[6] = (uint8_t)(0x80 | (envelope.message_id.b[6] & 0x0f)); /* a UUID 8 */
    envelope.message_id.b[8] = (uint8_t)(0x80 | (envelope.message_id.b[8] & 0x3f));
    out->size = (size_t)(al_encode_envelope(out->data, &envelope) - out->data);
    return 0;
}

/* The stream to a member that comes back: what it may begin with. 0 or -AL_E_BUSY. */
static int check_return(const struct al_node *node, ali_ref stream_ref,
                        struct ali_rec_group_post *post, bool from_now)
{
    const struct ali_runs *runs = &ali_stream_at(node, stream_ref)->d.runs;

    post->stream = ali_stream_at(node, stream_ref)->d.id;
    if (!from_now && post->start_seq < runs->next_seq)
        post->start_seq = runs->next_seq;
    return ali_runs_count(runs) && post->start_seq != runs->next_seq ? -AL_E_BUSY : 0;
}

/* Someone joins; from_seq as in GROUP_JOIN. 0 or why not. */
static int join(struct al_node *node, ali_ref ref, ali_ref agent, uint64_t from_seq,
                struct ali_rec_group_post *post)
{
    const struct ali_group *group = ali_group_at(node, ref);
    const struct ali_runs *history = &group->d.history;
    ali_ref member = ali_find_member(node, ref, agent), stream;
    uint32_t count = 0;

    if (member != AL_REF_NONE && !ali_member_at(node, member)->d.left_seq)
        return -AL_E_EXISTS;
    for (ali_ref m = group->d.members.head; m != AL_REF_NONE;
         m = ali_member_at(node, m)->d.of_group.next)
        count++;
    if (count >= AL_GROUP_MEMBERS_MAX || node->streams.count >= AL_STREAMS_MAX)
        return -AL_E_LIMIT;
    if (from_seq > history->next_seq)
        return -AL_E_INVALID;
    post->start_seq = from_seq ? from_seq : history->next_seq;
    if (post->start_seq < history->first_seq)
        post->start_seq = history->first_seq;
    post->stream = node->d.next_stream;
    stream =
        ali_find_stream_key(node, group->d.agent, agent, AL_PRIORITY_DEFAULT, al_str_of(NULL, 0));
    return stream == AL_REF_NONE ? 0 : check_return(node, stream, post, from_seq == 0);
}

static int leave(const struct al_node *node, ali_ref ref, ali_ref agent)
{
    ali_ref member = ali_find_member(node, ref, agent);

    return member == AL_REF_NONE || ali_member_at(node, member)->d.left_seq ? -AL_E_NOT_MEMBER : 0;
}

/* Decides on a join or a leave, and tells all members. *ret_seq is its place. */
static int change(struct al_node *node, ali_ref ref, ali_ref agent, uint64_t from_seq, bool joins,
                  uint64_t *ret_seq)
{
    const struct ali_agent *who = ali_agent_at(node, agent);
    struct ali_rec_group_post post = {.what = joins ? AL_GROUP_JOINED : AL_GROUP_LEFT,
                                      .agent = who->d.id,
                                      .author = al_str_of(who->d.name, who->d.name_size)};
    struct al_buf envelope;
    int r = joins ? join(node, ref, agent, from_seq, &post) : leave(node, ref, agent);

    if (r == 0 && joins && node->v.disk_full)
        r = -AL_E_DISK_FULL;
    if (r == 0 && joins)
        r = check_members(node, ali_group_at(node, ref), 0);
    if (r < 0)
        return r;
    al_buf_init(&envelope, &node->alloc);
    r = put_notice(node, ali_group_at(node, ref), joins, post.author, &envelope);
    post.envelope = al_str_of(envelope.data, envelope.size);
    if (r == 0)
        r = commit_post(node, ref, &post);
    al_buf_deinit(&envelope);
    *ret_seq = post.seq;
    if (r == 0)
        (void)ali_group_trim(node, ref); /* it is admitted: the sweep tries again */
    if (r == 0 && !joins)
        ali_group_settled(node, ref); /* what only it had not finished is over now */
    return r;
}

int ali_handle_group_join(struct al_node *node, struct ali_conn *conn,
                          const struct al_msg_group_join *m)
{
    ali_ref ref = ali_find_group(node, m->group), agent = AL_REF_NONE;
    uint64_t seq = 0;
    int r = ref == AL_REF_NONE ? -AL_E_UNKNOWN_GROUP : 0;

    if (r == 0 && !ali_may_manage(node, conn, ali_group_at(node, ref)->d.agent))
        r = -AL_E_NOT_OWNER;
    if (r == 0 && al_name_is_valid(m->agent))
        agent = ali_find_agent_name(node, ali_name_normal(m->agent));
    if (r == 0 && agent == AL_REF_NONE)
        r = al_name_is_valid(m->agent) ? -AL_E_UNKNOWN_AGENT : -AL_E_BAD_NAME;
    if (r == 0)
        r = ali_acl_check(node, agent, ali_group_at(node, ref)->d.agent, ALI_ACL_JOIN,
                          al_str_of(NULL, 0));
    if (r == 0)
        r = change(node, ref, agent, m->from_seq, true, &seq);
    ali_send_done(node, conn, m->request, r, seq);
    return 0;
}

int ali_handle_group_leave(struct al_node *node, struct ali_conn *conn,
                           const struct al_msg_group_leave *m)
{
    ali_ref ref = ali_find_group(node, m->group), agent = AL_REF_NONE;
    uint64_t seq = 0;
    int r = ref == AL_REF_NONE ? -AL_E_UNKNOWN_GROUP : 0;

    if (r == 0 && al_name_is_valid(m->agent))
        agent = ali_find_agent_name(node, ali_name_normal(m->agent));
    if (r == 0 && agent == AL_REF_NONE)
        r = al_name_is_valid(m->agent) ? -AL_E_UNKNOWN_AGENT : -AL_E_BAD_NAME;
    if (r == 0 && !ali_may_act(node, conn, ali_agent_at(node, agent)) &&
        !ali_may_manage(node, conn, ali_group_at(node, ref)->d.agent))
        r = -AL_E_NOT_OWNER;
    if (r == 0)
        r = change(node, ref, agent, 0, false, &seq);
    ali_send_done(node, conn, m->request, r, seq);
    return 0;
}

/* ---- the end at all members -------------------------------------------------------------- */

/* The lowest sequence that some member has not finished with. */
static uint64_t lowest_pending(const struct al_node *node, const struct ali_group *group)
{
    uint64_t lowest = group->d.history.next_seq;

    for (ali_ref m = group->d.members.head; m != AL_REF_NONE;
         m = ali_member_at(node, m)->d.of_group.next) {
        const struct ali_member *member = ali_member_at(node, m);

        if (!member->d.left_seq && stream_of(node, member)->d.runs.first_seq < lowest)
            lowest = stream_of(node, member)->d.runs.first_seq;
        if (AL_PLANT(node, GROUP_END_EARLY))
            break;
    }
    return lowest;
}

/* How a message ended that nobody has to finish any more. */
static uint8_t outcome(const struct al_node *node, const struct ali_group *group, uint64_t seq)
{
    for (ali_ref m = group->d.members.head; m != AL_REF_NONE;
         m = ali_member_at(node, m)->d.of_group.next) {
        const struct ali_stream *stream = stream_of(node, ali_member_at(node, m));
        const struct ali_ended *ended = ali_find_ended(node, stream->d.id, seq);

        if ((ended && ended->state >= AL_STATE_FAILED && ended->state <= AL_STATE_EXPIRED) ||
            (stream->d.letter_count && ali_find_letter(node, stream->d.id, seq) != AL_REF_NONE))
            return AL_STATE_PARTIAL;
    }
    return AL_STATE_DELIVERED;
}

bool ali_group_describe(const struct al_node *node, ali_ref stream_ref, uint64_t seq,
                        struct al_msg_record *row)
{
    const struct ali_stream *stream = ali_stream_at(node, stream_ref);
    const struct ali_agent *from = ali_agent_at(node, stream->d.from);
    const struct ali_agent *to = ali_agent_at(node, stream->d.to);
    const struct ali_group *group = ali_group_at(node, to->v.group);

    if (seq == 0 || seq >= group->d.history.next_seq)
        return false;
    row->stream = stream->d.id;
    row->seq = seq;
    row->from = al_str_of(from->d.name, from->d.name_size);
    row->to = al_str_of(to->d.name, to->d.name_size);
    row->label = al_str_of(stream->d.label, stream->d.label_size);
    row->state = seq < lowest_pending(node, group) ? outcome(node, group, seq) : AL_STATE_WAITING;
    row->attempts = row->state != AL_STATE_WAITING;
    return true;
}

/* Room for one more. 0 or -AL_E_NOMEM. */
static int reserve_watch(struct al_node *node, struct ali_group *group)
{
    uint32_t cap = group->v.watch_cap ? group->v.watch_cap * 2 : 8;
    struct ali_watch *watches;

    if (group->v.watch_count < group->v.watch_cap)
        return 0;
    watches = node->alloc.realloc_fn(node->alloc.ctx, group->v.watches,
                                     group->v.watch_cap * sizeof(*watches), cap * sizeof(*watches));
    if (!watches)
        return -AL_E_NOMEM;
    group->v.watches = watches;
    group->v.watch_cap = cap & 0x1ffff;
    return 0;
}

/* Keeps the table, which has room, sorted by sequence. */
static void add_watch(struct ali_group *group, const struct ali_watch *watch)
{
    uint32_t at = group->v.watch_count;

    while (at > 0 && group->v.watches[at - 1].seq > watch->seq)
        at--;
    memmove(&group->v.watches[at + 1], &group->v.watches[at],
            (group->v.watch_count - at) * sizeof(*watch));
    group->v.watches[at] = *watch;
    group->v.watch_count++;
}

/* True if the watch is for this connection, or for one that will not be told any more: whoever it
 * was asks again when it is back. */
static bool is_replaced_by(const struct al_node *node, const struct ali_watch *watch,
                           const struct ali_watch *newer)
{
    ali_ref producer = AL_REF_NONE;

    if (!watch->producer)
        return watch->conn == newer->conn ||
               node->v.conn_serials[watch->conn] != watch->conn_serial;
    producer = ali_find_producer(node, watch->producer);
    return producer == AL_REF_NONE || ali_producer_at(node, producer)->v.conn == AL_REF_NONE ||
           ali_producer_at(node, producer)->v.conn == newer->conn;
}

void ali_group_watch(struct al_node *node, const struct ali_conn *conn, ali_ref stream_ref,
                     uint64_t seq, const struct al_id *id)
{
    const struct ali_stream *stream = ali_stream_at(node, stream_ref);
    struct ali_group *group = ali_group_at(node, ali_agent_at(node, stream->d.to)->v.group);
    struct ali_watch watch = {.seq = seq,
                              .stream = stream->d.id,
                              .conn = conn->number,
                              .conn_serial = node->v.conn_serials[conn->number],
                              .id = *id};

    for (uint32_t i = 0; i < group->v.watch_count; i++) {
        struct ali_watch *other = &group->v.watches[i];

        if (other->seq == seq && other->stream == watch.stream &&
            is_replaced_by(node, other, &watch)) {
            if (al_id_is_zero(&watch.id))
                watch.id = other->id;
            *other = watch; /* one END per connection; the newest question names it */
            return;
        }
    }
    if (group->v.watch_count < AL_GROUP_WATCHES_MAX && reserve_watch(node, group) == 0)
        add_watch(group, &watch); /* otherwise its sender asks again when it wants */
}

static void tell(struct al_node *node, const struct ali_group *group, const struct ali_watch *watch)
{
    struct ali_conn *conn = watch->producer ? NULL : ali_conn_at(node, watch->conn);
    struct al_msg_end end = {.message_id = watch->id,
                             .stream = watch->stream,
                             .seq = watch->seq,
                             .state = outcome(node, group, watch->seq),
                             .attempts = 1,
                             .end_ms = node->v.now.wall_ms};

    if (end.state == AL_STATE_PARTIAL)
        end.reason = al_str_c("it became a dead letter at one member or more");
    if (watch->producer)
        ali_send_end(node, watch->producer, &end);
    else if (conn && !conn->closing && node->v.conn_serials[watch->conn] == watch->conn_serial)
        ALI_SEND(node, conn->number, end, &end);
}

void ali_group_settled(struct al_node *node, ali_ref ref)
{
    struct ali_group *group = ali_group_at(node, ref);
    uint64_t lowest;
    uint32_t done = 0;

    if (!group->v.watch_count)
        return;
    lowest = lowest_pending(node, group);
    while (done < group->v.watch_count && group->v.watches[done].seq < lowest)
        tell(node, group, &group->v.watches[done++]);
    if (!done)
        return;
    group->v.watch_count = (group->v.watch_count - done) & 0x1ffff;
    memmove(group->v.watches, group->v.watches + done,
            group->v.watch_count * sizeof(*group->v.watches));
}

/* ---- retention --------------------------------------------------------------------------- */

int ali_group_trim(struct al_node *node, ali_ref ref)
{
    const struct ali_group *group = ali_group_at(node, ref);
    uint64_t now = node->v.now.wall_ms, bytes = group->d.bytes;
    uint64_t end = group->d.history.next_seq;
    uint32_t count, gone = 0;
    const struct ali_slice *slices = ali_slices(group, &count);
    struct ali_rec_group_trim record = {.group = ali_agent_at(node, group->d.agent)->d.id};

    for (; gone < count; gone++) {
        bool last = gone + 1 == count;
        uint64_t next_seq = last ? end : slices[gone + 1].first_seq;
        bool old = group->d.keep_ms && now > slices[gone].last_ms &&
                   now - slices[gone].last_ms >= group->d.keep_ms;
        bool many = !last && group->d.keep_count && end - next_seq >= group->d.keep_count;
        bool much =
            !last && group->d.keep_bytes && bytes - slices[gone].bytes >= group->d.keep_bytes;

        if (!old && !many && !much)
            break;
        bytes -= slices[gone].bytes;
        record.first_seq = next_seq;
    }
    return gone ? ali_commit(node, ALI_REC_GROUP_TRIM, &record) : 0;
}
