/* schedule.c - messages that the node sends again and again: setting, firing, listing.
 *
 * What was due while the node was down or could not fire (inbox or disk full) is made up for by one
 * firing. The wall clock decides; it is looked at every AL_SCHEDULE_LOOK_MS at least, so that a
 * clock that is set forward is noticed. After it was set back nothing that has fired fires again:
 * the schedule waits until the clock has passed its last firing. */
#include "core/cron.h"
#include "core/internal.h"
#include "core/of_kind.h"

/* ---- firing ------------------------------------------------------------------------------ */

/* Wall clock of the last firing, 0: none yet. */
static uint64_t last_ms(const struct al_node *node, const struct ali_schedule *schedule)
{
    ali_ref producer = ali_find_producer(node, schedule->d.producer);
    ali_ref track = ali_find_track(node, schedule->d.stream, producer);

    if (AL_PLANT(node, SCHEDULE_AGAIN) && track != AL_REF_NONE &&
        ali_track_at(node, track)->d.high < node->v.start_ms)
        return 0;
    return track == AL_REF_NONE ? 0 : ali_track_at(node, track)->d.high;
}

/* Wall clock of the next firing; it may have passed. UINT64_MAX: never again. */
static uint64_t next_ms(const struct al_node *node, const struct ali_schedule *schedule)
{
    uint64_t last = last_ms(node, schedule), next;
    struct ali_cron cron;

    if (ali_cron_read(al_str_of(schedule->d.text, schedule->d.text_size), &cron) < 0)
        return UINT64_MAX;
    next = ali_cron_next(&cron, schedule->d.wall_ms, last ? last : schedule->d.wall_ms);
    return schedule->d.until_ms && next > schedule->d.until_ms ? UINT64_MAX : next;
}

static void arm(struct al_node *node, ali_ref ref, uint64_t at_least_ms)
{
    struct ali_schedule *schedule = ali_schedule_at(node, ref);
    uint64_t now = node->v.now.wall_ms, next = next_ms(node, schedule);
    uint64_t delay = next > now && next != UINT64_MAX ? next - now : 0;

    if (delay > AL_SCHEDULE_LOOK_MS)
        delay = AL_SCHEDULE_LOOK_MS;
    ali_timer_set(node, ALI_TIMER_SCHEDULE, ref, delay > at_least_ms ? delay : at_least_ms);
}

/* The message of this firing, in the node's scratch buffer. */
static int make_envelope(struct al_node *node, const struct ali_schedule *schedule,
                         struct al_msg_envelope *ret_envelope)
{
    struct al_buf *out = &node->v.scratch;
    uint8_t random[16];
    int r = al_decode_envelope(al_str_of(schedule->d.envelope, schedule->d.envelope_size),
                               ret_envelope);

    if (r < 0)
        return -AL_E_DAMAGED;
    for (unsigned i = 0; i < 16; i += 4)
        al_put32(random + i, ali_random(node, UINT32_MAX));
    ret_envelope->message_id = al_id_from_random(random);
    ret_envelope->timestamp_ms = node->v.now.wall_ms;
    out->size = 0;
    r = al_buf_reserve(out, al_size_envelope(ret_envelope));
    if (r < 0)
        return r;
    out->size = (size_t)(al_encode_envelope(out->data, ret_envelope) - out->data);
    return 0;
}

/* Room for the message, as for any other. */
static int check_room(const struct al_node *node, const struct ali_stream *stream)
{
    const struct ali_agent *to = ali_agent_at(node, stream->d.to);

    if (node->v.disk_full)
        return -AL_E_DISK_FULL;
    if (to->inbox->d.pending >= node->config.inbox_max)
        return -AL_E_INBOX_FULL;
    return ali_letters_are_full(node, to) ? -AL_E_DLQ_FULL : 0;
}

/* Where a message of the schedule goes that is admitted now; errors as of ali_stream_open. */
static int find_place(struct al_node *node, const struct ali_schedule *schedule, struct al_str kind,
                      ali_ref *ret_stream)
{
    uint8_t priority = AL_PRIORITY_NONE;

    if (schedule->d.of_kind)
        priority = ali_terms_of(node, kind).priority;
    return ali_stream_of_kind(node, schedule->d.stream, priority, ret_stream);
}

static int fire(struct al_node *node, ali_ref ref)
{
    struct ali_schedule *schedule = ali_schedule_at(node, ref);
    ali_ref stream_ref = schedule->d.stream;
    const struct ali_stream *stream = ali_stream_at(node, stream_ref);
    uint64_t now = node->v.now.wall_ms;
    struct ali_rec_publish record = {
        .producer = schedule->d.producer,
        .pseq = AL_PLANT(node, SCHEDULE_EACH) ? next_ms(node, schedule) : now,
        .wall_ms = now,
        .expire_ms = schedule->d.ttl_ms ? now + schedule->d.ttl_ms : 0};
    struct al_msg_envelope envelope;
    uint64_t workflow = 0;
    uint8_t track[8];
    uint16_t kind;
    int r = check_room(node, stream);

    if (r == 0)
        r = make_envelope(node, schedule, &envelope);
    if (r == 0 && !AL_PLANT(node, ACL_UNCHECKED))
        r = ali_acl_check(node, stream->d.from, stream->d.to, ALI_ACL_SEND, envelope.kind);
    if (r == 0)
        r = find_place(node, schedule, envelope.kind, &stream_ref);
    if (r < 0)
        return r;
    if (stream_ref != schedule->d.stream)
        record.ext = ali_ext_put_u32(track, ALI_PUBLISH_EXT_TRACK, stream->d.id);
    record.stream = ali_stream_at(node, stream_ref)->d.id;
    record.seq = ali_stream_at(node, stream_ref)->d.runs.next_seq;
    record.envelope = al_str_of(node->v.scratch.data, node->v.scratch.size);
    r = ali_workflow_get(node, stream->d.from, &envelope, &workflow);
    if (r == 0)
        r = ali_commit_publish(node, &record, workflow);
    if (r < 0)
        return r;
    kind = ali_metric_find(node, envelope.kind);
    if (kind != UINT16_MAX)
        node->v.metrics[kind].sent++;
    node->v.counters.accepted++;
    node->v.waiting++;
    if (record.expire_ms) {
        ali_ref mark = ali_find_mark(node, stream_ref, record.seq);

        ali_mark_at(node, mark)->v.kind = kind;
        ali_timer_set(node, ALI_TIMER_MARK, mark, schedule->d.ttl_ms);
    }
    ali_push_new(node, stream_ref, &record, kind);
    return 0;
}

int ali_schedule_timer(struct al_node *node, ali_ref ref)
{
    struct ali_schedule *schedule = ali_schedule_at(node, ref);
    struct ali_rec_schedule_remove remove = {
        .name = al_str_of(schedule->d.name, schedule->d.name_size)};
    uint64_t next = next_ms(node, schedule);
    int r = 0;

    if (next == UINT64_MAX) /* it has fired for the last time */
        return ali_commit(node, ALI_REC_SCHEDULE_REMOVE, &remove);
    if (next <= node->v.now.wall_ms)
        r = fire(node, ref);
    schedule->v.code = (uint16_t)-r;
    arm(node, ref, r < 0 ? AL_SCHEDULE_RETRY_MS : 0);
    return r == -AL_E_DAMAGED ? r : 0;
}

void ali_schedules_start(struct al_node *node)
{
    for (ali_ref ref = 0; ref < node->schedules.end; ref++)
        if (al_pool_has(&node->schedules, ref))
            arm(node, ref, 0);
}

/* ---- setting ----------------------------------------------------------------------------- */

static int check_text(const struct al_node *node, const struct al_msg_schedule_set *m)
{
    uint64_t now = node->v.now.wall_ms, next;
    struct ali_cron cron;
    int r = m->text.n > AL_SCHEDULE_TEXT_MAX ? -AL_E_BAD_SCHEDULE : ali_cron_read(m->text, &cron);

    if (r < 0)
        return r;
    next = ali_cron_next(&cron, now, now);
    return next == UINT64_MAX || (m->until_ms && next > m->until_ms) ? -AL_E_SCHEDULE_PAST : 0;
}

static int check_message(const struct al_node *node, const struct al_msg_schedule_set *m)
{
    struct al_msg_envelope envelope;

    if (!al_name_is_valid(m->name))
        return -AL_E_BAD_NAME;
    if (al_decode_envelope(m->envelope, &envelope) < 0 ||
        (m->priority >= AL_PRIORITY_COUNT && m->priority != AL_PRIORITY_NONE) ||
        m->label.n > AL_LABEL_MAX || !al_text_is_plain(m->label) || m->ttl_ms > AL_TTL_MAX_MS ||
        envelope.key.n)
        return -AL_E_INVALID;
    if (m->envelope.n > AL_SCHEDULE_BYTES_MAX)
        return -AL_E_TOO_LARGE;
    if (al_id_is_zero(&envelope.message_id)) /* each firing has its own */
        envelope.message_id.b[0] = 1;
    return ali_check_envelope(node, &envelope);
}

/* The stream of the schedule's messages, made if it is new. */
static int get_stream(struct al_node *node, const struct ali_conn *conn,
                      const struct al_msg_schedule_set *m, ali_ref *ret_stream)
{
    uint8_t priority = m->priority == AL_PRIORITY_NONE ? AL_PRIORITY_DEFAULT : m->priority;
    ali_ref from, to = ali_find_agent_name(node, ali_name_normal(m->to));
    int r;

    if (to == AL_REF_NONE)
        return al_name_is_valid(m->to) ? -AL_E_UNKNOWN_AGENT : -AL_E_BAD_NAME;
    if (ali_agent_at(node, to)->v.group != AL_REF_NONE)
        return -AL_E_UNSUPPORTED;
    r = ali_agent_get(node, conn, m->from, true, &from);
    if (r < 0)
        return r;
    return ali_stream_open(node, from, to, priority, m->label, ret_stream);
}

static int check_rights(struct al_node *node, const struct ali_stream *stream,
                        const struct al_msg_schedule_set *m)
{
    struct al_msg_envelope envelope = {0};

    (void)al_decode_envelope(m->envelope, &envelope);
    return ali_acl_check(node, stream->d.from, stream->d.to, ALI_ACL_SEND, envelope.kind);
}

/* 0 if the connection's user may change the schedule. */
static int check_owner(const struct al_node *node, const struct ali_conn *conn, ali_ref ref)
{
    uint32_t uid = ali_schedule_at(node, ref)->d.uid;

    return conn->uid == uid || conn->uid == 0 ? 0 : -AL_E_NOT_OWNER;
}

int ali_handle_schedule_set(struct al_node *node, struct ali_conn *conn,
                            const struct al_msg_schedule_set *m)
{
    struct al_str name = ali_name_normal(m->name);
    struct ali_rec_schedule_set record = {.name = name,
                                          .producer = node->d.next_producer,
                                          .uid = conn->uid,
                                          .wall_ms = node->v.now.wall_ms,
                                          .until_ms = m->until_ms,
                                          .ttl_ms = m->ttl_ms,
                                          .text = m->text,
                                          .envelope = m->envelope};
    ali_ref old = ali_find_schedule(node, name), stream = AL_REF_NONE;
    uint8_t of_kind[8];
    int r = check_message(node, m);

    if (r == 0)
        r = check_text(node, m);
    if (r == 0 && old != AL_REF_NONE)
        r = m->flags & AL_SCHEDULE_REPLACE ? check_owner(node, conn, old) : -AL_E_EXISTS;
    if (r == 0 && old == AL_REF_NONE && node->schedules.count >= AL_SCHEDULES_MAX)
        r = -AL_E_LIMIT;
    if (r == 0 && node->v.disk_full)
        r = -AL_E_DISK_FULL;
    if (r == 0)
        r = get_stream(node, conn, m, &stream);
    if (r == 0)
        r = check_rights(node, ali_stream_at(node, stream), m);
    if (r == 0) {
        record.stream = ali_stream_at(node, stream)->d.id;
        record.ext =
            ali_ext_put_u32(of_kind, ALI_SCHEDULE_EXT_OF_KIND, m->priority == AL_PRIORITY_NONE);
        r = ali_commit(node, ALI_REC_SCHEDULE_SET, &record);
    }
    if (r == 0)
        arm(node, ali_find_schedule(node, name), 0);
    ali_send_done(node, conn, m->request, r, r == 0);
    return 0;
}

int ali_handle_schedule_remove(struct al_node *node, struct ali_conn *conn,
                               const struct al_msg_schedule_remove *m)
{
    struct ali_rec_schedule_remove record = {.name = ali_name_normal(m->name)};
    ali_ref ref = ali_find_schedule(node, record.name);
    int r = ref == AL_REF_NONE ? -AL_E_NOT_FOUND : check_owner(node, conn, ref);

    if (r == 0)
        r = ali_commit(node, ALI_REC_SCHEDULE_REMOVE, &record);
    ali_send_done(node, conn, m->request, r, r == 0);
    return 0;
}

/* ---- listing ----------------------------------------------------------------------------- */

static struct al_str agent_name(const struct al_node *node, ali_ref ref)
{
    const struct ali_agent *agent = ali_agent_at(node, ref);

    return al_str_of(agent->d.name, agent->d.name_size);
}

static void send_row(struct al_node *node, const struct ali_conn *conn, uint32_t request,
                     const struct ali_schedule *schedule)
{
    const struct ali_stream *stream = ali_stream_at(node, schedule->d.stream);
    struct al_msg_envelope envelope = {.kind = al_str_of(NULL, 0)};
    struct al_msg_schedule_row row = {.request = request,
                                      .uid = schedule->d.uid,
                                      .priority = schedule->d.of_kind ? (uint8_t)AL_PRIORITY_NONE
                                                                      : stream->d.priority,
                                      .code = schedule->v.code,
                                      .set_ms = schedule->d.wall_ms,
                                      .last_ms = last_ms(node, schedule),
                                      .next_ms = next_ms(node, schedule),
                                      .until_ms = schedule->d.until_ms,
                                      .ttl_ms = schedule->d.ttl_ms,
                                      .name = al_str_of(schedule->d.name, schedule->d.name_size),
                                      .from = agent_name(node, stream->d.from),
                                      .to = agent_name(node, stream->d.to),
                                      .label = al_str_of(stream->d.label, stream->d.label_size),
                                      .text = al_str_of(schedule->d.text, schedule->d.text_size)};

    (void)al_decode_envelope(al_str_of(schedule->d.envelope, schedule->d.envelope_size), &envelope);
    row.kind = envelope.kind;
    ALI_SEND(node, conn->number, schedule_row, &row);
}

static struct al_str name_of(const struct al_node *node, ali_ref ref)
{
    return al_str_of(ali_schedule_at(node, ref)->d.name, ali_schedule_at(node, ref)->d.name_size);
}

static bool by_name(const struct al_node *node, ali_ref a, ali_ref b)
{
    return ali_compare(name_of(node, a), name_of(node, b)) <= 0;
}

int ali_handle_schedule_list(struct al_node *node, struct ali_conn *conn,
                             const struct al_msg_schedule_list *m)
{
    struct ali_page page;

    ali_page_init(&page, m->limit, by_name);
    for (ali_ref ref = 0; ref < node->schedules.end; ref++)
        if (al_pool_has(&node->schedules, ref) && check_owner(node, conn, ref) == 0 &&
            ali_compare(name_of(node, ref), m->after) > 0)
            ali_page_offer(node, &page, ref);
    ali_page_sort(node, &page);
    for (uint32_t i = 0; i < page.count; i++)
        send_row(node, conn, m->request, ali_schedule_at(node, page.refs[i]));
    ali_send_done(node, conn, m->request, 0, page.count);
    return 0;
}
