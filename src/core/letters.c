/* letters.c - the dead-letter queues: list, show, redrive, purge. */
#include "core/internal.h"

#define LETTER_LINK offsetof(struct ali_letter, d.link)

/* ---- order ------------------------------------------------------------------------------- */

bool ali_letter_by_position(const struct al_node *node, ali_ref a, ali_ref b)
{
    return ali_letter_at(node, a)->d.position <= ali_letter_at(node, b)->d.position;
}

/* The order of their streams, in which they are sent again. */
static bool by_stream(const struct al_node *node, ali_ref a, ali_ref b)
{
    const struct ali_letter *x = ali_letter_at(node, a), *y = ali_letter_at(node, b);

    return x->d.stream != y->d.stream ? x->d.stream < y->d.stream : x->d.seq <= y->d.seq;
}

static struct ali_link *link_of(const struct al_node *node, ali_ref ref)
{
    return ali_link_at(&node->letters, LETTER_LINK, ref);
}

/* Takes the first letter off one of two sorted chains. */
static ali_ref take_first(const struct al_node *node, ali_ref *a, ali_ref *b, ali_before_fn *before)
{
    ali_ref *from = *b == AL_REF_NONE || (*a != AL_REF_NONE && before(node, *a, *b)) ? a : b;
    ali_ref ref = *from;

    *from = link_of(node, ref)->next;
    return ref;
}

/* Cuts a chain behind its first n letters; returns what followed. */
static ali_ref cut(const struct al_node *node, ali_ref head, uint32_t n)
{
    ali_ref rest;

    while (head != AL_REF_NONE && --n)
        head = link_of(node, head)->next;
    if (head == AL_REF_NONE)
        return AL_REF_NONE;
    rest = link_of(node, head)->next;
    link_of(node, head)->next = AL_REF_NONE;
    return rest;
}

/* Merge sort from the bottom up: no recursion, no memory. */
void ali_letters_sort(struct al_node *node, struct ali_agent *agent, ali_before_fn *before)
{
    for (uint32_t width = 1; width < agent->inbox->d.letter_count; width *= 2) {
        ali_ref rest = agent->inbox->d.letters.head;
        struct ali_list sorted = ALI_LIST_EMPTY;

        while (rest != AL_REF_NONE) {
            ali_ref a = rest, b = cut(node, a, width);

            rest = b == AL_REF_NONE ? AL_REF_NONE : cut(node, b, width);
            while (a != AL_REF_NONE || b != AL_REF_NONE)
                ali_list_push(&node->letters, LETTER_LINK, &sorted,
                              take_first(node, &a, &b, before));
        }
        agent->inbox->d.letters = sorted;
    }
}

/* ---- browsing ---------------------------------------------------------------------------- */

static void fill_row(const struct al_node *node, ali_ref ref, struct al_msg_dlq_row *row)
{
    const struct ali_letter *letter = ali_letter_at(node, ref);
    const struct ali_stream *stream = ali_stream_at(node, letter->d.stream);
    const struct ali_agent *from = ali_agent_at(node, stream->d.from);
    const struct ali_agent *to = ali_agent_at(node, letter->d.agent);

    row->position = letter->d.position;
    row->message_id = letter->d.id;
    row->stream = stream->d.id;
    row->seq = letter->d.seq;
    row->attempts = letter->d.attempts;
    row->code = letter->d.code;
    row->dead_ms = letter->d.dead_ms;
    row->from = al_str_of(from->d.name, from->d.name_size);
    row->to = al_str_of(to->d.name, to->d.name_size);
    row->label = al_str_of(stream->d.label, stream->d.label_size);
}

static void send_row(struct al_node *node, const struct ali_conn *conn, ali_ref ref,
                     const struct al_msg_dlq_row *row)
{
    uint8_t room[8];
    struct al_str ext = ali_ext_put_u32(room, AL_DLQ_EXT_BYTES, ali_letter_at(node, ref)->d.bytes);

    ALI_SEND_EXT(node, conn->number, dlq_row, row, ext);
}

/* Letters of an agent behind a position; the list is in their order. Returns how many were sent. */
static uint32_t send_letters(struct al_node *node, struct ali_conn *conn, ali_ref agent,
                             const struct al_msg_dlq_list *m, uint32_t limit)
{
    uint32_t count = 0;

    for (ali_ref ref = ali_agent_at(node, agent)->inbox->d.letters.head;
         ref != AL_REF_NONE && count < limit; ref = ali_letter_at(node, ref)->d.link.next) {
        struct al_msg_dlq_row row = {.request = m->request};

        if (ali_letter_at(node, ref)->d.position <= m->after)
            continue;
        fill_row(node, ref, &row);
        send_row(node, conn, ref, &row);
        count++;
    }
    return count;
}

/* Letters of all agents behind a position. */
static uint32_t send_all_letters(struct al_node *node, struct ali_conn *conn,
                                 const struct al_msg_dlq_list *m, uint32_t limit)
{
    struct ali_page page;

    ali_page_init(&page, limit, ali_letter_by_position);
    for (ali_ref ref = 0; ref < node->letters.end; ref++)
        if (al_pool_has(&node->letters, ref) && ali_letter_at(node, ref)->d.position > m->after &&
            ali_may_act(node, conn, ali_agent_at(node, ali_letter_at(node, ref)->d.agent)))
            ali_page_offer(node, &page, ref);
    ali_page_sort(node, &page);
    for (uint32_t i = 0; i < page.count; i++) {
        struct al_msg_dlq_row row = {.request = m->request};

        fill_row(node, page.refs[i], &row);
        send_row(node, conn, page.refs[i], &row);
    }
    return page.count;
}

int ali_handle_dlq_list(struct al_node *node, struct ali_conn *conn,
                        const struct al_msg_dlq_list *m)
{
    uint32_t limit = m->limit && m->limit < ALI_PAGE_ROWS_MAX ? m->limit : ALI_PAGE_ROWS_MAX;
    uint32_t count = 0;
    ali_ref agent = AL_REF_NONE;
    int r = m->agent.n ? ali_agent_get(node, conn, m->agent, false, &agent) : 0;

    if (r == 0)
        count = m->agent.n ? send_letters(node, conn, agent, m, limit)
                           : send_all_letters(node, conn, m, limit);
    ali_send_done(node, conn, m->request, r, count);
    return 0;
}

/* A letter by its message; agent: its name, or empty for whoever has one. A group's message can be
 * dead at several members. */
static ali_ref find_letter_by_id(const struct al_node *node, const struct ali_conn *conn,
                                 const struct al_id *id, struct al_str agent)
{
    ali_ref owner = agent.n ? ali_find_agent_name(node, ali_name_normal(agent)) : AL_REF_NONE;

    for (ali_ref ref = 0; ref < node->letters.end; ref++) {
        const struct ali_letter *letter = ali_letter_at(node, ref);

        if (al_pool_has(&node->letters, ref) && al_id_eq(&letter->d.id, id) &&
            (!agent.n || letter->d.agent == owner) &&
            ali_may_act(node, conn, ali_agent_at(node, letter->d.agent)))
            return ref;
    }
    return AL_REF_NONE;
}

int ali_handle_dlq_get(struct al_node *node, struct ali_conn *conn, const struct al_msg_dlq_get *m)
{
    ali_ref ref = find_letter_by_id(node, conn, &m->message_id, al_str_of(NULL, 0));
    struct ali_read read = {.kind = ALI_READ_LETTER,
                            .conn = conn->number,
                            .conn_serial = node->v.conn_serials[conn->number],
                            .client_request = m->request};
    uint64_t lsns[2];
    int r;

    if (ref == AL_REF_NONE) {
        ali_send_done(node, conn, m->request, -AL_E_NOT_FOUND, 0);
        return 0;
    }
    read.stream = ali_stream_at(node, ali_letter_at(node, ref)->d.stream)->d.id;
    read.seq = ali_letter_at(node, ref)->d.seq;
    lsns[0] = ali_letter_at(node, ref)->d.lsn;
    lsns[1] = ali_letter_at(node, ref)->d.dead_lsn;
    r = ali_effect_read(node, &read, lsns, 2);
    if (r < 0)
        ali_send_done(node, conn, m->request, r, 0);
    return 0;
}

/* The letter's two records have been read. */
void ali_letter_read(struct al_node *node, struct ali_conn *conn, const struct ali_read *read,
                     const struct al_event *event)
{
    ali_ref ref = ali_find_letter(node, read->stream, read->seq);
    struct al_msg_dlq_row row = {.request = read->client_request};
    struct ali_rec_publish publish;
    struct ali_rec_group_post post;
    struct ali_rec_dead dead;
    struct al_str payload;

    if (ref == AL_REF_NONE || event->status < 0 || event->record_count != 2 ||
        ali_unwrap_message(&event->records[0], &publish, &post) < 0 ||
        ali_unwrap(&event->records[1], ALI_REC_DEAD, &payload) < 0 ||
        ali_decode_rec_dead(payload, &dead) < 0) {
        ali_send_done(node, conn, read->client_request,
                      event->status < 0 ? event->status : -AL_E_NOT_FOUND, 0);
        return;
    }
    fill_row(node, ref, &row);
    row.reason = dead.reason;
    row.attempts_log = dead.attempts_log;
    row.envelope = publish.envelope;
    send_row(node, conn, ref, &row);
    ali_send_done(node, conn, read->client_request, 0, 1);
}

/* A group's message keeps its place in the group: it cannot come again at another one. */
static bool is_of_group(const struct al_node *node, ali_ref ref)
{
    return ali_stream_at(node, ali_letter_at(node, ref)->d.stream)->v.member != AL_REF_NONE;
}

static int redrive(struct al_node *node, ali_ref ref)
{
    const struct ali_letter *letter = ali_letter_at(node, ref);
    ali_ref stream_ref = letter->d.stream;
    const struct ali_stream *stream = ali_stream_at(node, stream_ref);
    struct ali_rec_redrive record = {.stream = stream->d.id,
                                     .old_seq = letter->d.seq,
                                     .seq = stream->d.runs.next_seq,
                                     .wall_ms = node->v.now.wall_ms};
    struct ali_flow *flow;
    int r;

    if (is_of_group(node, ref))
        return -AL_E_UNSUPPORTED;
    if (node->v.disk_full)
        return -AL_E_DISK_FULL;
    if (ali_agent_at(node, letter->d.agent)->inbox->d.pending >= node->config.inbox_max)
        return -AL_E_INBOX_FULL;
    r = ali_commit(node, ALI_REC_REDRIVE, &record);
    if (r < 0)
        return r;
    node->v.waiting++;
    /* Perhaps seen; its record does not tell if it was a scheduled one. */
    flow = ali_flow_get(node, stream_ref);
    if (!flow)
        return -AL_E_NOMEM;
    flow->seen_seq = record.seq;
    ali_stream_ready(node, stream_ref);
    return 0;
}

static int purge(struct al_node *node, ali_ref ref)
{
    const struct ali_letter *letter = ali_letter_at(node, ref);
    struct ali_rec_purge record = {.stream = ali_stream_at(node, letter->d.stream)->d.id,
                                   .seq = letter->d.seq};

    return ali_commit(node, ALI_REC_PURGE, &record);
}

/* Does it to one letter by id, or to all of an agent in the order of their streams. */
static void for_letters(struct al_node *node, struct ali_conn *conn,
                        const struct al_msg_dlq_purge *m,
                        int (*action)(struct al_node *node, ali_ref ref))
{
    ali_ref agent = AL_REF_NONE, ref;
    uint64_t count = 0;
    int r = 0;

    if (!al_id_is_zero(&m->message_id)) {
        ref = find_letter_by_id(node, conn, &m->message_id, m->agent);
        r = ref == AL_REF_NONE ? -AL_E_NOT_FOUND : action(node, ref);
        ali_send_done(node, conn, m->request, r, r == 0);
        return;
    }
    r = ali_agent_manage(node, conn, m->agent, &agent);
    if (r == 0) {
        struct ali_agent *owner = ali_agent_at(node, agent);

        /* A message can die before an earlier one of its stream; they come back in order. */
        ali_letters_sort(node, owner, by_stream);
        for (ref = owner->inbox->d.letters.head; r == 0 && ref != AL_REF_NONE;) {
            ali_ref next = ali_letter_at(node, ref)->d.link.next;

            if (action != redrive || !is_of_group(node, ref)) {
                r = action(node, ref);
                count += r == 0;
            }
            ref = next;
        }
        ali_letters_sort(node, owner, ali_letter_by_position);
    }
    ali_send_done(node, conn, m->request, r, count);
}

int ali_handle_dlq_redrive(struct al_node *node, struct ali_conn *conn,
                           const struct al_msg_dlq_redrive *m)
{
    struct al_msg_dlq_purge which = {
        .request = m->request, .message_id = m->message_id, .agent = m->agent};

    for_letters(node, conn, &which, redrive);
    return 0;
}

int ali_handle_dlq_purge(struct al_node *node, struct ali_conn *conn,
                         const struct al_msg_dlq_purge *m)
{
    for_letters(node, conn, m, purge);
    return 0;
}

/* ---- the log ----------------------------------------------------------------------------- */

void ali_letter_log_turn(struct al_node *node)
{
    struct ali_letter_log *log = &node->v.letter_log;

    if (ali_mono_ms(node) < log->since_ms + AL_DLQ_LOG_MS)
        return;
    if (log->missing)
        ali_effect_notice(node, AL_NOTICE_DEAD_LETTERS_MISSING, al_str_c(""), al_str_c(""),
                          log->missing);
    *log = (struct ali_letter_log){.since_ms = ali_mono_ms(node)};
}

void ali_letter_log(struct al_node *node, const struct ali_rec_dead *record)
{
    ali_ref ref = ali_find_letter(node, record->stream, record->seq);
    struct al_msg_dlq_row row = {.reason = record->reason};
    uint8_t body[sizeof(row) + 4 * 256]; /* four texts, and no log or envelope */

    ali_letter_log_turn(node);
    if (node->v.letter_log.lines == AL_DLQ_LOG_LINES && !AL_PLANT(node, LETTER_LOG_FLOOD)) {
        node->v.letter_log.missing++;
        return;
    }
    node->v.letter_log.lines++;
    fill_row(node, ref, &row);
    al_encode_dlq_row(body, &row);
    ali_effect_notice(node, AL_NOTICE_DEAD_LETTER, row.to,
                      al_str_of(body, (uint32_t)al_size_dlq_row(&row)), 0);
}
