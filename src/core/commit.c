/* commit.c - COMMIT: acks, messages and changes of state, all or nothing.
 *
 * First every part is checked against the state as it is; one that cannot be done refuses the whole
 * and names itself. Then a COMMIT record tells how many records belong to it, and they follow. On
 * replay they count only if all of them are there (apply.c). What the parts would say to others is
 * said behind the last record: nobody hears of half a commit. */
#include "core/internal.h"
#include <assert.h>

#define NO_PART UINT32_MAX

struct part {
    enum { PART_ACK, PART_SEND, PART_CHANGE } what;
    union {
        struct al_msg_ack ack;
        struct ali_send_part send;
        struct al_msg_commit_kv change;
    };
};

struct commit {
    struct part *parts;
    uint32_t count;
    uint32_t bad; /* the part that cannot be done; NO_PART */
    uint32_t records;
    uint32_t evict; /* idempotency keys that go */
    ali_ref agent, producer;
};

/* ---- parts ------------------------------------------------------------------------------- */

/* Takes the next body off; 1, 0 at the end, -AL_E_PROTOCOL. */
static int next_body(struct al_str *list, struct al_str *ret_body)
{
    uint32_t size;

    if (list->n == 0)
        return 0;
    if (list->n < 4)
        return -AL_E_PROTOCOL;
    size = al_get32(list->p);
    if (size > list->n - 4)
        return -AL_E_PROTOCOL;
    *ret_body = al_str_of(list->p + 4, size);
    *list = al_str_of(list->p + 4 + size, list->n - 4 - size);
    return 1;
}

static int decode_part(struct part *part, struct al_str body)
{
    switch (part->what) {
    case PART_ACK:
        return al_decode_ack(body, &part->ack);
    case PART_SEND:
        return al_decode_commit_send(body, &part->send.m);
    default:
        return al_decode_commit_kv(body, &part->change);
    }
}

static int read_parts(struct commit *commit, const struct al_msg_commit *m)
{
    struct al_str lists[3] = {m->acks, m->sends, m->changes}, body;
    int r = 0;

    for (unsigned what = PART_ACK; what <= PART_CHANGE && r >= 0; what++) {
        while (r >= 0 && (r = next_body(&lists[what], &body)) == 1) {
            struct part *part = &commit->parts[commit->count];

            if (commit->count == AL_COMMIT_PARTS_MAX)
                return commit->bad = NO_PART, -AL_E_LIMIT;
            commit->count++;
            memset(part, 0, sizeof(*part));
            part->what = what;
            commit->bad = commit->count - 1;
            r = decode_part(part, body);
        }
    }
    commit->bad = r < 0 ? commit->bad : NO_PART;
    return r < 0 ? r : commit->count ? 0 : -AL_E_INVALID;
}

/* ---- checks ------------------------------------------------------------------------------ */

static int check_ack(struct al_node *node, struct ali_conn *conn, struct commit *commit,
                     uint32_t index)
{
    struct part *part = &commit->parts[index];
    uint32_t before = 0;

    part->ack.agent = ali_agent_at(node, commit->agent)->d.id;
    for (uint32_t i = 0; i < index; i++)
        before += commit->parts[i].ack.stream == part->ack.stream;
    commit->records++;
    return ali_ack_part_check(node, conn, commit->agent, &part->ack, before);
}

static int check_send(struct al_node *node, struct ali_conn *conn, struct commit *commit,
                      uint32_t index)
{
    struct ali_send_part *send = &commit->parts[index].send;
    uint32_t keys = 0, messages = 0;
    int r;

    for (uint32_t i = 0; i < index; i++) {
        const struct ali_send_part *other = &commit->parts[i].send;

        if (commit->parts[i].what != PART_SEND || other->duplicate)
            continue;
        messages++;
        keys += other->envelope.key.n != 0;
    }
    r = ali_send_part_check(node, conn, commit->agent, send, messages);
    if (r < 0 || send->duplicate)
        return r;
    for (uint32_t i = 0; i < index; i++) { /* one commit, twice the same message: a mistake */
        const struct al_msg_envelope *other = &commit->parts[i].send.envelope;

        if (commit->parts[i].what == PART_SEND &&
            (al_id_eq(&other->message_id, &send->envelope.message_id) ||
             (other->key.n && al_str_eq(other->key, send->envelope.key))))
            return -AL_E_INVALID;
    }
    commit->records++;
    return send->envelope.key.n ? ali_keys_room(node, commit->agent, keys + 1, &commit->evict) : 0;
}

static int check_change(const struct al_node *node, struct commit *commit, uint32_t index)
{
    const struct al_msg_commit_kv *m = &commit->parts[index].change;
    const struct ali_agent *agent = ali_agent_at(node, commit->agent);
    uint64_t bytes = agent->inbox->d.value_bytes, count = agent->inbox->d.value_count;

    if (m->key.n == 0 || !al_utf8_is_valid(m->key) ||
        (m->action != AL_KV_SET && m->action != AL_KV_DELETE))
        return -AL_E_INVALID;
    if (m->value.n > AL_KV_VALUE_MAX)
        return -AL_E_TOO_LARGE;
    if (m->action == AL_KV_SET && node->v.disk_full)
        return -AL_E_DISK_FULL;
    for (uint32_t i = 0; i <= index; i++) {
        const struct al_msg_commit_kv *other = &commit->parts[i].change;
        ali_ref old;

        if (commit->parts[i].what != PART_CHANGE || other->action != AL_KV_SET)
            continue;
        old = ali_find_value(node, commit->agent, other->key);
        count += old == AL_REF_NONE;
        bytes += other->key.n + other->value.n;
        if (old != AL_REF_NONE)
            bytes -= ali_value_at(node, old)->d.key_size + ali_value_at(node, old)->d.size;
    }
    for (uint32_t i = 0; i < index; i++)
        if (commit->parts[i].what == PART_CHANGE && al_str_eq(commit->parts[i].change.key, m->key))
            return -AL_E_INVALID;
    commit->records +=
        m->action == AL_KV_SET || ali_find_value(node, commit->agent, m->key) != AL_REF_NONE;
    return m->action == AL_KV_SET && (count > AL_KV_KEYS_MAX || bytes > AL_KV_BYTES_MAX)
               ? -AL_E_LIMIT
               : 0;
}

static int do_change(struct al_node *node, const struct commit *commit,
                     const struct al_msg_commit_kv *m)
{
    uint32_t agent = ali_agent_at(node, commit->agent)->d.id;
    struct ali_rec_kv_set set = {.agent = agent, .key = m->key, .value = m->value};
    struct ali_rec_kv_delete delete = {.agent = agent, .key = m->key};

    if (m->action == AL_KV_SET)
        return ali_commit(node, ALI_REC_KV_SET, &set);
    if (ali_find_value(node, commit->agent, m->key) == AL_REF_NONE)
        return 0;
    return ali_commit(node, ALI_REC_KV_DELETE, &delete);
}

static int check_parts(struct al_node *node, struct ali_conn *conn, struct commit *commit)
{
    int r = 0;

    for (uint32_t i = 0; i < commit->count && r == 0; i++) {
        commit->bad = i;
        r = commit->parts[i].what == PART_ACK    ? check_ack(node, conn, commit, i)
            : commit->parts[i].what == PART_SEND ? check_send(node, conn, commit, i)
                                                 : check_change(node, commit, i);
        if (r == 0 && commit->parts[i].what == PART_CHANGE &&
            commit->parts[i].change.action == AL_KV_SET && AL_PLANT(node, COMMIT_IN_PART))
            r = do_change(node, commit, &commit->parts[i].change);
    }
    return r;
}

/* ---- records ----------------------------------------------------------------------------- */

int ali_prepare_commit(struct al_node *node, const struct ali_rec_commit *r)
{
    ali_ref producer = ali_find_producer(node, r->producer);

    if (producer == AL_REF_NONE || r->count > AL_COMMIT_PARTS_MAX)
        return -AL_E_DAMAGED;
    return al_pool_reserve(&node->commits, 1);
}

void ali_apply_commit(struct al_node *node, uint64_t lsn, const struct ali_rec_commit *r)
{
    ali_ref ref = ali_find_producer(node, r->producer);
    struct ali_producer *producer = ali_producer_at(node, ref);

    (void)lsn;
    ali_touch(node, ALI_PART_PRODUCER, ref, &producer->object);
    producer->d.used_ms = r->wall_ms;
    ali_commits_set(node, ref, r->cseq);
}

void ali_commits_set(struct al_node *node, ali_ref producer_ref, uint64_t cseq)
{
    struct ali_producer *producer = ali_producer_at(node, producer_ref);
    struct ali_commits *commits;

    if (producer->d.commits == AL_REF_NONE) {
        producer->d.commits = al_pool_take(&node->commits);
        commits = ali_commits_at(node, producer->d.commits);
        ali_fresh(node, &commits->object);
        commits->d.producer = producer_ref;
    } else {
        commits = ali_commits_at(node, producer->d.commits);
        ali_touch(node, ALI_PART_COMMITS, producer->d.commits, &commits->object);
    }
    commits->d.cseq = cseq;
}

static int do_parts(struct al_node *node, struct ali_conn *conn, struct commit *commit)
{
    uint64_t producer = ali_producer_at(node, commit->producer)->d.id;
    int r = 0;

    for (uint32_t i = 0; i < commit->count && r == 0; i++) {
        struct part *part = &commit->parts[i];

        if (part->what == PART_ACK) {
            r = ali_ack_part(node, conn, &part->ack);
        } else if (part->what == PART_CHANGE) {
            r = do_change(node, commit, &part->change);
        } else if (!part->send.duplicate) {
            bool keyed = part->send.envelope.key.n;

            r = ali_send_part(node, &part->send, producer, keyed ? commit->evict : 0);
            commit->evict = keyed ? 0 : commit->evict; /* with the first key: they go once */
        }
    }
    return r;
}

/* Brings the records from `first` on before everything else that was said since. */
static int records_first(struct al_node *node, size_t first)
{
    struct al_effects *effects = node->v.effects;
    size_t count = effects->count - first, to = first, kept = 0;
    struct al_effect *others = al_alloc_new(&node->alloc, count * sizeof(*others));

    if (!others)
        return -AL_E_NOMEM;
    for (size_t i = first; i < effects->count; i++) {
        if (effects->list[i].type == AL_EFFECT_PERSIST)
            effects->list[to++] = effects->list[i];
        else
            others[kept++] = effects->list[i];
    }
    memcpy(effects->list + to, others, kept * sizeof(*others));
    al_alloc_free(&node->alloc, others, count * sizeof(*others));
    return 0;
}

/* What the acks are about to end well is kept. */
static int keep_acked(struct al_node *node, const struct commit *commit)
{
    int r = ali_acks_flush(node);

    for (uint32_t i = 0; i < commit->count && r == 0; i++) {
        const struct al_msg_ack *ack = &commit->parts[i].ack;

        if (commit->parts[i].what == PART_ACK && ack->status != AL_STATUS_FAILED)
            r = ali_keep_one(node, ali_stream_at(node, ali_find_stream(node, ack->stream)),
                             ack->seq);
    }
    return r;
}

static int apply_all(struct al_node *node, struct ali_conn *conn, struct commit *commit,
                     uint64_t cseq)
{
    struct ali_rec_commit record = {.producer = ali_producer_at(node, commit->producer)->d.id,
                                    .cseq = cseq,
                                    .count = commit->records,
                                    .wall_ms = node->v.now.wall_ms};
    size_t first = node->v.effects->count;
    uint64_t lsn;
    int r = keep_acked(node, commit); /* before it: what is kept without an end does no harm */

    if (r == 0)
        r = ali_commit(node, ALI_REC_COMMIT, &record);
    if (r < 0)
        return r;
    lsn = node->d.lsn;
    r = do_parts(node, conn, commit);
    if (r < 0)
        return r; /* memory ran out: the node stops, and nothing of this was handed out */
    assert(node->d.lsn == lsn + record.count);
    return records_first(node, first);
}

/* ---- the frame --------------------------------------------------------------------------- */

/* The producer of a commit: of this connection, or one that nobody holds for the moment. */
static int get_producer(struct al_node *node, struct ali_conn *conn, const struct al_msg_commit *m,
                        ali_ref *ret_producer)
{
    ali_ref ref = ali_find_producer(node, m->producer);
    const struct ali_producer *producer;

    if (ref == AL_REF_NONE)
        return -AL_E_PRODUCER_RETIRED;
    producer = ali_producer_at(node, ref);
    if (producer->d.uid != conn->uid)
        return -AL_E_DENIED;
    if (producer->d.epoch != m->epoch ||
        (producer->v.conn != conn->number && producer->v.conn != AL_REF_NONE))
        return -AL_E_FENCED;
    if (producer->v.conn == AL_REF_NONE)
        ali_producer_take(node, conn, ref);
    *ret_producer = ref;
    return 0;
}

static uint64_t last_cseq(const struct al_node *node, ali_ref producer)
{
    ali_ref ref = ali_producer_at(node, producer)->d.commits;

    return ref == AL_REF_NONE ? 0 : ali_commits_at(node, ref)->d.cseq;
}

/* Without memory for its parts: one that was applied already is told so all the same. */
static int check_number(struct al_node *node, struct ali_conn *conn, const struct al_msg_commit *m)
{
    ali_ref producer;
    int r = get_producer(node, conn, m, &producer);

    return r == 0 && m->cseq && m->cseq <= last_cseq(node, producer) ? 1 : -AL_E_NOMEM;
}

/* 0: to be applied; 1: it was applied already. */
static int check(struct al_node *node, struct ali_conn *conn, const struct al_msg_commit *m,
                 struct commit *commit)
{
    int r = get_producer(node, conn, m, &commit->producer);

    if (r == 0 && m->cseq && m->cseq <= last_cseq(node, commit->producer) &&
        !(AL_PLANT(node, COMMIT_REPEATED) && m->cseq == last_cseq(node, commit->producer)))
        return 1;
    if (r == 0 && !AL_PLANT(node, COMMIT_REPEATED) &&
        m->cseq != last_cseq(node, commit->producer) + 1)
        r = -AL_E_SEQUENCE_GAP;
    if (r == 0)
        r = ali_agent_get(node, conn, m->agent, false, &commit->agent);
    if (r == 0)
        r = read_parts(commit, m);
    if (r == 0)
        r = check_parts(node, conn, commit);
    return r;
}

/* Where the messages of a commit are that was applied when it was sent first, as far as that is
 * still known. */
static void find_again(const struct al_node *node, struct commit *commit)
{
    for (uint32_t i = 0; i < commit->count; i++) {
        struct ali_send_part *send = &commit->parts[i].send;
        const struct ali_recent_id *recent = NULL;

        if (commit->parts[i].what != PART_SEND)
            continue;
        if (al_decode_envelope(send->m.envelope, &send->envelope) == 0)
            recent = ali_find_id(node, &send->envelope.message_id);
        send->receipt_stream = recent ? recent->stream : 0;
        send->receipt_seq = recent ? recent->seq : 0;
    }
}

/* COMMITTED, with the receipts of the messages behind it. */
static void send_committed(struct al_node *node, const struct ali_conn *conn,
                           const struct al_msg_committed *answer, const struct commit *commit)
{
    uint8_t ext[4 + AL_COMMIT_PARTS_MAX * AL_COMMIT_RECEIPT_SIZE], *end = ext + 4;

    for (uint32_t i = 0; i < commit->count && answer->code == 0; i++) {
        const struct ali_send_part *send = &commit->parts[i].send;

        if (commit->parts[i].what != PART_SEND)
            continue;
        al_put32(end, send->receipt_stream);
        al_put64(end + 4, send->receipt_seq);
        end[12] = send->duplicate;
        end += AL_COMMIT_RECEIPT_SIZE;
    }
    if (end == ext + 4) {
        ALI_SEND(node, conn->number, committed, answer);
        return;
    }
    al_put16(ext, AL_COMMITTED_EXT_RECEIPTS);
    al_put16(ext + 2, (uint16_t)(end - ext - 4));
    ALI_SEND_EXT(node, conn->number, committed, answer, al_str_of(ext, (uint32_t)(end - ext)));
}

int ali_handle_commit(struct al_node *node, struct ali_conn *conn, const struct al_msg_commit *m)
{
    struct al_msg_committed answer = {.request = m->request};
    size_t size = AL_COMMIT_PARTS_MAX * sizeof(struct part);
    struct commit commit = {.parts = al_alloc_new(&node->alloc, size), .bad = NO_PART};
    int r = commit.parts ? check(node, conn, m, &commit) : check_number(node, conn, m), e = 0;

    answer.duplicate = r == 1;
    if (r < 0) {
        answer.code = (uint16_t)-r;
        answer.index = commit.bad;
        answer.detail = ali_acl_error_text(node, r);
    } else if (r == 0) {
        e = apply_all(node, conn, &commit, m->cseq);
    } else if (commit.parts && read_parts(&commit, m) == 0) {
        find_again(node, &commit);
    } else {
        commit.count = 0; /* whoever repeats it has changed it: no receipts */
    }
    node->v.counters.commits += r == 0;
    node->v.counters.commits_repeated += r == 1;
    node->v.counters.commits_refused += r < 0;
    if (e == 0)
        send_committed(node, conn, &answer, &commit);
    al_alloc_free(&node->alloc, commit.parts, commit.parts ? size : 0);
    return e;
}
