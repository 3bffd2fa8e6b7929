/* replay.c - what live traffic does with histories: keeping what is acknowledged, the limits that a
 * recipient sets, and replay: messages again that have ended, which nobody has to acknowledge. */
#include "core/internal.h"
#include <assert.h>
#include <stdio.h>

/* ---- keeping ----------------------------------------------------------------------------- */

/* True if the stream keeps what ends well. A group has a history of its own. */
static bool keeps(const struct al_node *node, const struct ali_stream *stream)
{
    return ali_agent_at(node, stream->d.to)->inbox->d.retain.count &&
           !(stream->d.flags & ALI_STREAM_LANE) && stream->v.member == AL_REF_NONE &&
           ali_agent_at(node, stream->d.from)->v.group == AL_REF_NONE;
}

int ali_keep_add(struct al_node *node, const struct ali_stream *stream, const struct ali_push *push)
{
    struct al_buf *keep = &node->v.keep;
    uint32_t count;

    if (!keeps(node, stream))
        return 0;
    count = ali_history_count(node, stream);
    if (count &&
        ali_history_entry(ali_history_at(node, stream->d.history), count - 1)->seq >= push->seq)
        return 0; /* before a crash it was as good as acknowledged */
    if (al_buf_reserve(keep, 20) < 0)
        return -AL_E_NOMEM;
    if (!keep->size)
        node->v.keep_seq = 0;
    keep->size += al_varint_put(keep->data + keep->size, push->seq - node->v.keep_seq);
    keep->size += al_varint_put(keep->data + keep->size, push->bytes);
    node->v.keep_seq = push->seq;
    return 0;
}

int ali_keep_flush(struct al_node *node, uint32_t stream)
{
    struct ali_rec_keep record = {.stream = stream,
                                  .wall_ms = node->v.now.wall_ms,
                                  .entries = al_str_of(node->v.keep.data, node->v.keep.size)};
    int r;

    if (!record.entries.n)
        return 0;
    r = ali_commit(node, ALI_REC_KEEP, &record);
    al_buf_clear(&node->v.keep);
    return r;
}

int ali_keep_one(struct al_node *node, const struct ali_stream *stream, uint64_t seq)
{
    int r = 0;

    if (!keeps(node, stream))
        return 0;
    for (uint32_t i = 0; i < stream->v.flow->pushed_count && r == 0; i++)
        if (ali_push_at(stream, i)->seq == seq)
            r = ali_keep_add(node, stream, ali_push_at(stream, i));
    return r < 0 ? r : ali_keep_flush(node, stream->d.id);
}

int ali_history_trim(struct al_node *node, ali_ref ref)
{
    const struct ali_history *history = ali_history_at(node, ref);
    const struct ali_stream *stream = ali_stream_at(node, history->d.stream);
    uint64_t age_ms = ali_agent_at(node, stream->d.to)->inbox->d.retain.age_ms;
    uint64_t now = node->v.now.wall_ms;
    uint32_t count = ali_history_count(node, stream), old = 0;
    struct ali_rec_forget record = {.stream = stream->d.id};

    while (age_ms && old < count && now > ali_history_entry(history, old)->end_ms &&
           now - ali_history_entry(history, old)->end_ms >= age_ms)
        record.last_seq = ali_history_entry(history, old++)->seq;
    return old ? ali_commit(node, ALI_REC_FORGET, &record) : 0;
}

/* ---- limits ------------------------------------------------------------------------------ */

int ali_retain_commit(struct al_node *node, uint32_t agent, const struct al_retain *retain)
{
    struct ali_rec_retain_set record = {.agent = agent,
                                        .keep_count = retain->count,
                                        .keep_bytes = retain->bytes,
                                        .keep_ms = retain->age_ms};

    return ali_commit(node, ALI_REC_RETAIN_SET, &record);
}

int ali_handle_retain_set(struct al_node *node, struct ali_conn *conn,
                          const struct al_msg_retain_set *m)
{
    struct al_retain retain = {m->keep_count ? m->keep_count : AL_RETAIN_COUNT_MAX,
                               m->keep_bytes ? m->keep_bytes : AL_RETAIN_BYTES_MAX, m->keep_ms};
    ali_ref agent = AL_REF_NONE;
    int r = ali_agent_get(node, conn, m->agent, false, &agent);

    if (m->off)
        retain = (struct al_retain){0};
    if (r == 0 && (retain.count > AL_RETAIN_COUNT_MAX || retain.bytes > AL_RETAIN_BYTES_MAX))
        r = -AL_E_TOO_LARGE;
    if (r == 0)
        r = ali_acks_flush(node);
    if (r == 0)
        r = ali_retain_commit(node, ali_agent_at(node, agent)->d.id, &retain);
    ali_send_done(node, conn, m->request, r, r == 0);
    return 0;
}

/* ---- what is kept ------------------------------------------------------------------------ */

/* Messages of the history that have ended: all but what a crash left at its end. */
static uint32_t ended_count(const struct ali_stream *stream, const struct ali_history *history,
                            uint32_t count)
{
    while (count && ali_history_entry(history, count - 1)->seq >= stream->d.runs.first_seq)
        count--;
    return count;
}

static void fill_row(const struct al_node *node, const struct ali_stream *stream,
                     struct al_msg_history_row *row)
{
    const struct ali_history *history = ali_history_at(node, stream->d.history);
    uint32_t count = ended_count(stream, history, ali_history_count(node, stream));

    row->from_seq = history->d.from_seq;
    row->count = count;
    row->bytes = history->d.bytes;
    row->first_seq = row->last_seq = row->first_ms = row->last_ms = 0;
    if (!count)
        return;
    row->first_seq = ali_history_entry(history, 0)->seq;
    row->first_ms = ali_history_entry(history, 0)->end_ms;
    row->last_seq = ali_history_entry(history, count - 1)->seq;
    row->last_ms = ali_history_entry(history, count - 1)->end_ms;
}

/* Forgets what is too old in all streams to the agent, and adds up the rest. */
static int sum_up(struct al_node *node, const struct ali_agent *agent,
                  struct al_msg_history_row *sum)
{
    int r = 0;

    for (ali_ref ref = agent->v.streams.head; ref != AL_REF_NONE && r == 0;
         ref = ali_stream_at(node, ref)->v.link.next) {
        const struct ali_stream *stream = ali_stream_at(node, ref);
        struct al_msg_history_row row;

        if (stream->d.history == AL_REF_NONE)
            continue;
        r = ali_history_trim(node, stream->d.history);
        fill_row(node, stream, &row);
        sum->count += row.count;
        sum->bytes += row.bytes;
        if (row.count && (!sum->first_ms || row.first_ms < sum->first_ms))
            sum->first_ms = row.first_ms;
        if (row.last_ms > sum->last_ms)
            sum->last_ms = row.last_ms;
    }
    return r;
}

/* The streams with a history and the smallest numbers behind `after`. */
static void find_histories(const struct al_node *node, const struct ali_agent *agent,
                           uint32_t after, struct ali_page *page)
{
    for (ali_ref ref = agent->v.streams.head; ref != AL_REF_NONE;
         ref = ali_stream_at(node, ref)->v.link.next) {
        const struct ali_stream *stream = ali_stream_at(node, ref);

        if (stream->d.history != AL_REF_NONE && stream->d.id > after)
            ali_page_offer(node, page, ref);
    }
    ali_page_sort(node, page);
}

int ali_handle_history_list(struct al_node *node, struct ali_conn *conn,
                            const struct al_msg_history_list *m)
{
    struct al_msg_history_row row = {.request = m->request};
    const struct ali_agent *agent;
    struct ali_page page;
    ali_ref ref = AL_REF_NONE;
    int r = ali_acks_flush(node);

    ali_page_init(&page, m->limit, ali_stream_by_number);
    if (r == 0)
        r = ali_agent_get(node, conn, m->agent, false, &ref);
    if (r == 0) {
        agent = ali_agent_at(node, ref);
        row.keep_count = agent->inbox->d.retain.count;
        row.keep_bytes = agent->inbox->d.retain.bytes;
        row.keep_ms = agent->inbox->d.retain.age_ms;
        r = sum_up(node, agent, &row);
    }
    if (r == 0 && !m->after)
        ALI_SEND(node, conn->number, history_row, &row);
    if (r == 0)
        find_histories(node, ali_agent_at(node, ref), m->after, &page);
    for (uint32_t i = 0; i < page.count; i++) {
        const struct ali_stream *stream = ali_stream_at(node, page.refs[i]);
        const struct ali_agent *from = ali_agent_at(node, stream->d.from);

        row.stream = stream->d.id;
        row.priority = stream->d.priority;
        row.from = al_str_of(from->d.name, from->d.name_size);
        row.label = al_str_of(stream->d.label, stream->d.label_size);
        fill_row(node, stream, &row);
        ALI_SEND(node, conn->number, history_row, &row);
    }
    ali_send_done(node, conn, m->request, r, page.count);
    return 0;
}

/* ---- replay ------------------------------------------------------------------------------ */

/* The stream to be replayed: it must go to an agent of this connection's user. */
static int get_stream(struct al_node *node, const struct ali_conn *conn,
                      const struct al_msg_replay *m, ali_ref *ret_stream)
{
    ali_ref agent = AL_REF_NONE, ref;
    int r = ali_agent_get(node, conn, m->agent, false, &agent);

    if (r < 0)
        return r;
    ref = ali_find_stream(node, m->stream);
    if (ref == AL_REF_NONE || ali_stream_at(node, ref)->d.to != agent)
        return -AL_E_NOT_FOUND;
    if (!ali_agent_at(node, agent)->inbox->d.retain.count)
        return -AL_E_NO_HISTORY;
    if (ali_stream_at(node, ref)->d.flags & (ALI_STREAM_UNORDERED | ALI_STREAM_LANE))
        return -AL_E_UNSUPPORTED;
    *ret_stream = ref;
    return 0;
}

/* Says what is still there; `text` has room for AL_REASON_MAX. */
static struct al_str say_what_is_kept(const struct al_msg_history_row *row, char *text)
{
    int n;

    if (row->count)
        n = snprintf(text, AL_REASON_MAX,
                     "so much of the past is not kept any more: of stream %u there are still "
                     "sequences %llu to %llu, which ended since %llu ms of the epoch",
                     row->stream, (unsigned long long)row->first_seq,
                     (unsigned long long)row->last_seq, (unsigned long long)row->first_ms);
    else
        n = snprintf(text, AL_REASON_MAX,
                     "so much of the past is not kept any more: of stream %u nothing is left "
                     "before sequence %llu",
                     row->stream, (unsigned long long)row->from_seq);
    return al_str_of(text, (size_t)n);
}

static void refuse(struct al_node *node, const struct ali_conn *conn, uint32_t request,
                   const struct ali_stream *stream)
{
    struct al_msg_history_row row = {.stream = stream->d.id};
    struct al_msg_done done = {.request = request, .code = AL_E_NOT_RETAINED};
    char text[AL_REASON_MAX];

    fill_row(node, stream, &row);
    done.detail = say_what_is_kept(&row, text);
    ALI_SEND(node, conn->number, done, &done);
}

static bool is_wanted(const struct al_msg_replay *m, const struct ali_kept *kept)
{
    return kept->seq >= m->first_seq && (!m->last_seq || kept->seq <= m->last_seq) &&
           kept->end_ms >= m->from_ms && (!m->until_ms || kept->end_ms < m->until_ms);
}

/* True if something that is asked for by name is not there any more. */
static bool is_beyond(const struct ali_history *history, const struct al_msg_replay *m)
{
    return (m->first_seq && m->first_seq < history->d.from_seq) ||
           (m->from_ms && m->from_ms <= history->d.gone_ms);
}

/* Reads the first messages that are wanted; *ret_count of them. */
static int read_wanted(struct al_node *node, const struct ali_conn *conn,
                       const struct al_msg_replay *m, const struct ali_stream *stream,
                       uint32_t *ret_count)
{
    const struct ali_history *history = ali_history_at(node, stream->d.history);
    uint32_t end = ended_count(stream, history, ali_history_count(node, stream)), count = 0;
    uint32_t limit = m->limit && m->limit < AL_REPLAY_ROWS_MAX ? m->limit : AL_REPLAY_ROWS_MAX;
    struct ali_read read = {.kind = ALI_READ_REPLAY,
                            .conn = conn->number,
                            .conn_serial = node->v.conn_serials[conn->number],
                            .client_request = m->request,
                            .stream = stream->d.id};
    uint64_t lsns[AL_REPLAY_ROWS_MAX];

    for (uint32_t i = 0; i < end && count < limit; i++) {
        const struct ali_kept *kept = ali_history_entry(history, i);

        if (!is_wanted(m, kept))
            continue;
        if (AL_PLANT(node, REPLAY_RISING) && count && kept->lsn < lsns[count - 1])
            continue;
        if (!count)
            read.seq = kept->seq;
        lsns[count++] = kept->lsn;
    }
    *ret_count = count;
    return count ? ali_effect_read(node, &read, lsns, count) : 0;
}

int ali_handle_replay(struct al_node *node, struct ali_conn *conn, const struct al_msg_replay *m)
{
    const struct ali_stream *stream = NULL;
    ali_ref ref = AL_REF_NONE;
    uint32_t count = 0;
    int r = ali_acks_flush(node);

    if (r == 0)
        r = get_stream(node, conn, m, &ref);
    if (r == 0) {
        stream = ali_stream_at(node, ref);
        if (stream->d.history != AL_REF_NONE)
            r = ali_history_trim(node, stream->d.history);
    }
    if (r == 0 && stream->d.history != AL_REF_NONE) {
        if (is_beyond(ali_history_at(node, stream->d.history), m)) {
            refuse(node, conn, m->request, stream);
            return 0;
        }
        r = read_wanted(node, conn, m, stream, &count);
    }
    if (r < 0 || !count)
        ali_send_done(node, conn, m->request, r, 0);
    return 0;
}

/* The entry whose record this is, from the index on; NULL: it was carried or forgotten while it was
 * being read. */
static const struct ali_kept *find_read(const struct ali_history *history, uint32_t count,
                                        uint32_t *index, uint64_t lsn)
{
    while (*index < count && ali_history_entry(history, *index)->lsn != lsn)
        ++*index;
    return *index < count ? ali_history_entry(history, *index) : NULL;
}

static int send_replayed(struct al_node *node, const struct ali_conn *conn,
                         const struct ali_read *read, const struct ali_kept *kept,
                         const struct al_record_view *view)
{
    const struct ali_stream *stream = ali_stream_at(node, ali_find_stream(node, read->stream));
    const struct ali_agent *from = ali_agent_at(node, stream->d.from);
    struct ali_rec_publish record;
    struct ali_rec_group_post post;
    struct al_msg_replayed out = {.request = read->client_request,
                                  .stream = read->stream,
                                  .seq = kept->seq,
                                  .end_ms = kept->end_ms,
                                  .priority = stream->d.priority,
                                  .from = al_str_of(from->d.name, from->d.name_size),
                                  .label = al_str_of(stream->d.label, stream->d.label_size)};

    if (ali_unwrap_message(view, &record, &post) < 0 || post.group)
        return -AL_E_BUSY;
    out.admitted_ms = record.wall_ms;
    out.envelope = record.envelope;
    node->v.counters.replayed++;
    ALI_SEND(node, conn->number, replayed, &out);
    return 0;
}

void ali_replay_read(struct al_node *node, struct ali_conn *conn, const struct ali_read *read,
                     const struct al_event *event)
{
    ali_ref ref = ali_find_stream(node, read->stream);
    const struct ali_history *history = NULL;
    uint32_t count = 0, index = 0, sent = 0;
    /* Carried forward or forgotten while it was read: the same question has an answer. */
    int r = event->status == -AL_E_NOT_FOUND ? -AL_E_BUSY : event->status;

    if (ref != AL_REF_NONE && ali_stream_at(node, ref)->d.history != AL_REF_NONE) {
        history = ali_history_at(node, ali_stream_at(node, ref)->d.history);
        count = ali_history_count(node, ali_stream_at(node, ref));
    }
    for (; r == 0 && sent < event->record_count; sent++) {
        const struct ali_kept *kept = find_read(history, count, &index, event->records[sent].lsn);

        r = kept ? send_replayed(node, conn, read, kept, &event->records[sent]) : -AL_E_BUSY;
        if (r < 0)
            break;
    }
    ali_send_done(node, conn, read->client_request, sent ? 0 : r, sent);
}
