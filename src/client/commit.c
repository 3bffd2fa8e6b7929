/* commit.c - commits that are under way: numbered, written, answered, said again.
 *
 * The node takes a producer's commits in the order of their numbers and answers each. A refused one
 * has not used its number: whatever was written behind it is then refused too (SEQUENCE_GAP), and
 * is written again under the numbers that are right now. After a reconnect everything without an
 * answer is written again under the same numbers, and the node knows those that it has applied.
 *
 * A commit that the node has not seen before it forgot the leases (a restart) is refused for them.
 * The message comes again, to us or to somebody else. If to us, the delivery gets its new lease and
 * the commit is written again with it, so that the program never hears of it; until then it is
 * parked.
 *
 * Invariant: in the list, what is in flight stands in the order of its numbers, and what was ever
 * in flight without an answer stands before what never was. */
#include "base/errors.h"
#include "base/limits.h"
#include "client/gaps.h"
#include "client/session.h"
#include <assert.h>

#define UNDER_WAY_MAX 1024u
#define INFLIGHT_MAX  64u
#define NO_PART       UINT32_MAX
/* Where a COMMIT frame has its fields. */
#define REQUEST_AT  AL_WIRE_HEADER_SIZE
#define PRODUCER_AT (REQUEST_AT + 4u)
#define EPOCH_AT    (PRODUCER_AT + 8u)
#define CSEQ_AT     (EPOCH_AT + 4u)
#define AGENT_AT    (CSEQ_AT + 8u)

/* ---- the list ---------------------------------------------------------------------------- */

static void set_state(struct ali_csession *session, struct al_commit *commit, unsigned state)
{
    session->commit_inflight -= commit->state == ALI_COMMIT_INFLIGHT;
    session->commit_void -= commit->state == ALI_COMMIT_VOID;
    commit->state = state;
    session->commit_inflight += commit->state == ALI_COMMIT_INFLIGHT;
    session->commit_void += commit->state == ALI_COMMIT_VOID;
}

static void push(struct ali_csession *session, struct al_commit *commit)
{
    commit->next = NULL;
    *session->commits_end = commit;
    session->commits_end = &commit->next;
    session->commit_count++;
}

static void unlink_commit(struct ali_csession *session, struct al_commit *commit)
{
    struct al_commit **link = &session->commits;

    while (*link != commit)
        link = &(*link)->next;
    *link = commit->next;
    if (!commit->next)
        session->commits_end = link;
    session->commit_count--;
}

/* ---- queueing ---------------------------------------------------------------------------- */

/* The unsettled message before it in its stream, NULL: none. */
static const struct ali_delivery *before(const struct ali_delivery *delivery)
{
    do
        delivery = delivery->prev;
    while (delivery && delivery->pub.seq == 0);
    return delivery;
}

/* Nothing of its stream before the delivery may be unsettled but by this commit, or by one that is
 * under way already: the node takes that one first. */
static int check_delivery(const struct al_commit *commit, const struct ali_delivery *delivery)
{
    const struct al_commit *first;

    if (!delivery)
        return -AL_E_INVALID;
    if (!delivery->stream)
        return delivery->detached ? delivery->detached : -AL_E_INVALID;
    if (!delivery->held || delivery->dropped)
        return -AL_E_INVALID;
    if (!before(delivery))
        return 0;
    first = before(delivery)->commit;
    return first == commit || (first && ali_commit_is_under_way(first)) ? 0 : -AL_E_OUT_OF_ORDER;
}

static int watch_ends(struct ali_csession *session, struct al_commit *commit, uint32_t *ret_failed)
{
    int r = 0;

    for (*ret_failed = 0; *ret_failed < commit->send_count && r == 0; ++*ret_failed) {
        if (commit->notify[*ret_failed])
            r = ali_watch_add(session, &commit->receipts[*ret_failed].id);
        if (r < 0)
            return r;
    }
    return 0;
}

/* What became of the first `count` messages: their ends come, or (error) never will. */
static void tell_watches(struct ali_csession *session, const struct al_commit *commit,
                         uint32_t count, int error)
{
    for (uint32_t i = 0; i < count; i++) {
        const struct al_receipt *receipt = &commit->receipts[i];
        struct ali_out out = {.id = receipt->id,
                              .stream = receipt->stream,
                              .seq = receipt->seq,
                              .duplicate = receipt->duplicate,
                              .error = error};

        if (commit->notify[i])
            ali_watch_receipt(session, &out);
    }
}

int ali_commit_queue(struct ali_csession *session, struct al_commit *commit, struct al_now now,
                     uint32_t *ret_bad)
{
    uint32_t watched = 0;
    int r = 0;

    session->now = now;
    *ret_bad = NO_PART;
    if (commit->state != ALI_COMMIT_BUILT || commit->due || session->commit_count >= UNDER_WAY_MAX)
        return -AL_E_BUSY;
    if (commit->ack_count + commit->send_count + commit->change_count == 0)
        return -AL_E_INVALID;
    for (uint32_t i = 0; i < commit->ack_count && r == 0; i++) {
        *ret_bad = i;
        r = check_delivery(commit, commit->ack[i].delivery);
    }
    if (r < 0)
        return r;
    *ret_bad = NO_PART;
    r = ali_commit_encode(session, commit);
    if (r == 0)
        r = watch_ends(session, commit, &watched);
    if (r < 0) {
        tell_watches(session, commit, watched, r);
        return r;
    }
    commit->error = 0;
    commit->written = false;
    set_state(session, commit, ALI_COMMIT_QUEUED);
    push(session, commit);
    if (ali_commit_pump(session) < 0)
        session->give_up = true; /* it is kept: the next connection says it */
    return 0;
}

static int write_commit(struct ali_csession *session, struct al_commit *commit)
{
    size_t acks_at = AGENT_AT + 1 + strlen(commit->agent) + 4;
    uint8_t *frame = commit->frame.data;
    int r;

    commit->request = ali_csession_number(session);
    commit->cseq = session->commit_cseq + session->commit_inflight + 1;
    al_put32(frame + REQUEST_AT, commit->request);
    al_put64(frame + PRODUCER_AT, session->producer);
    al_put32(frame + EPOCH_AT, session->producer_epoch);
    al_put64(frame + CSEQ_AT, commit->cseq);
    for (uint32_t i = 0; i < commit->ack_count; i++) {
        struct ali_commit_ack *ack = &commit->ack[i];

        if (ack->delivery)
            ack->lease = ack->delivery->lease;
        al_put64(frame + acks_at + ack->lease_at, ack->lease);
    }
    r = al_buf_put(&session->out, frame, commit->frame.size);
    if (r < 0)
        return r;
    commit->written = true;
    set_state(session, commit, ALI_COMMIT_INFLIGHT);
    return 0;
}

int ali_commit_pump(struct ali_csession *session)
{
    struct al_commit *commit;
    int r = 0;

    if (!session->commits || session->link != ALI_LINK_UP || session->goodbye_sent)
        return 0;
    if (session->producer_state != ALI_PRODUCER_READY)
        return ali_outbox_want_producer(session);
    /* Answers about numbers that are void come first. */
    for (commit = session->commits; commit && r == 0 && session->commit_void == 0;
         commit = commit->next)
        if (commit->state == ALI_COMMIT_QUEUED && session->commit_inflight < INFLIGHT_MAX)
            r = write_commit(session, commit);
    return r;
}

bool ali_commit_withdraw(struct ali_csession *session, struct al_commit *commit)
{
    if (commit->written)
        return false;
    assert(ali_commit_is_under_way(commit));
    unlink_commit(session, commit);
    set_state(session, commit, ALI_COMMIT_BUILT);
    tell_watches(session, commit, commit->send_count, -AL_E_TIMEOUT);
    return true;
}

/* ---- answers ----------------------------------------------------------------------------- */

static struct al_commit *find(struct ali_csession *session, uint32_t request)
{
    struct al_commit *commit = session->commits;

    while (commit && !(commit->request == request &&
                       (commit->state == ALI_COMMIT_INFLIGHT || commit->state == ALI_COMMIT_VOID)))
        commit = commit->next;
    return commit;
}

static void push_due(struct ali_csession *session, struct al_commit *commit)
{
    struct al_commit **link = &session->commits_due;

    while (*link)
        link = &(*link)->next;
    *link = commit;
    commit->next = NULL;
    commit->due = true;
}

static void finish_delivery(struct ali_csession *session, struct ali_delivery *delivery)
{
    ali_lease_is_over(delivery->stream, delivery->lease);
    ali_settle_finish(session, delivery);
}

/* It is over: error 0, or nothing of it was applied (UNKNOWN_OUTCOME: nobody knows). */
static void finish(struct ali_csession *session, struct al_commit *commit, int error,
                   struct al_str detail)
{
    unlink_commit(session, commit);
    set_state(session, commit, error ? ALI_COMMIT_BUILT : ALI_COMMIT_DONE);
    commit->error = error;
    ali_detail_set(commit->detail, detail);
    tell_watches(session, commit, commit->send_count, error);
    session->stats.committed += error == 0;
    for (uint32_t i = 0; i < commit->ack_count; i++) {
        struct ali_delivery *delivery = commit->ack[i].delivery;

        if (!delivery || (error && !commit->abandoned && !delivery->let_go))
            continue;
        ali_commit_forget(delivery);
        if (error && delivery->in_handler)
            delivery->dropped = true; /* when the handler returns */
        else if (error)
            ali_csession_drop(session, delivery);
        else if (delivery->stream)
            finish_delivery(session, delivery);
        else if (!delivery->in_handler)
            ali_delivery_free(session, delivery);
    }
    if (commit->abandoned)
        ali_commit_free(session, commit);
    else if (commit->fn)
        push_due(session, commit);
}

/* What is in flight has numbers behind a refused one. */
static void void_others(struct ali_csession *session)
{
    for (struct al_commit *commit = session->commits; commit; commit = commit->next)
        if (commit->state == ALI_COMMIT_INFLIGHT)
            set_state(session, commit, ALI_COMMIT_VOID);
}

/* How many of its deliveries wait for a new lease; -1: one will never have one. */
static int count_lost(const struct al_commit *commit)
{
    int count = 0;

    for (uint32_t i = 0; i < commit->ack_count; i++) {
        const struct ali_delivery *delivery = commit->ack[i].delivery;

        if (!delivery || !delivery->stream)
            return -1;
        count += delivery->lost;
    }
    return count;
}

static bool has_new_lease(const struct al_commit *commit)
{
    for (uint32_t i = 0; i < commit->ack_count; i++)
        if (commit->ack[i].delivery && commit->ack[i].delivery->lease != commit->ack[i].lease)
            return true;
    return false;
}

/* It went to the node before another one that settles what stands before it, and which was itself
 * said again meanwhile. One that is parked has lost the leases of both. */
static bool has_overtaken(const struct al_commit *commit)
{
    for (uint32_t i = 0; i < commit->ack_count; i++) {
        const struct ali_delivery *delivery = commit->ack[i].delivery, *first;

        first = delivery && delivery->stream ? before(delivery) : NULL;
        if (first && first->commit && first->commit != commit &&
            ali_commit_is_under_way(first->commit) && first->commit->state != ALI_COMMIT_PARKED)
            return true;
    }
    return false;
}

/* Nothing was applied, and it may be tried again: behind the others. */
static void try_again(struct ali_csession *session, struct al_commit *commit, unsigned state)
{
    unlink_commit(session, commit);
    commit->written = false;
    set_state(session, commit, state);
    push(session, commit);
}

static void refused(struct ali_csession *session, struct al_commit *commit,
                    const struct al_msg_committed *m)
{
    int lost = count_lost(commit);

    set_state(session, commit, ALI_COMMIT_QUEUED);
    void_others(session);
    if (m->code == AL_E_LEASE_LOST && lost > 0 && !commit->abandoned) {
        try_again(session, commit, ALI_COMMIT_PARKED);
    } else if ((m->code == AL_E_LEASE_LOST && lost == 0 && has_new_lease(commit)) ||
               (m->code == AL_E_OUT_OF_ORDER && has_overtaken(commit))) {
        try_again(session, commit, ALI_COMMIT_QUEUED);
    } else {
        commit->bad = m->index;
        finish(session, commit, -(int)m->code, m->detail);
    }
}

int ali_commit_answer(struct ali_csession *session, const struct al_msg_committed *m)
{
    struct al_commit *commit = find(session, m->request);

    if (!commit)
        return -AL_E_PROTOCOL;
    if (m->code == AL_E_SEQUENCE_GAP && commit->state == ALI_COMMIT_VOID) {
        commit->written = false;
        set_state(session, commit, ALI_COMMIT_QUEUED);
    } else if (m->code) {
        refused(session, commit, m);
    } else {
        session->commit_cseq = commit->cseq;
        commit->duplicate = m->duplicate;
        ali_commit_receipts(session, commit);
        finish(session, commit, 0, al_str_c(NULL));
    }
    return ali_commit_pump(session);
}

int ali_commit_error(struct ali_csession *session, const struct al_msg_error *m)
{
    struct al_commit *commit = find(session, m->request);

    if (!commit)
        return 0;
    set_state(session, commit, ALI_COMMIT_QUEUED);
    void_others(session);
    commit->bad = NO_PART;
    finish(session, commit, m->code ? -(int)m->code : -AL_E_PROTOCOL, m->detail);
    return ali_commit_pump(session);
}

/* ---- leases, connections, the end -------------------------------------------------------- */

void ali_commit_leased(struct ali_csession *session, struct al_commit *commit)
{
    if (commit->state != ALI_COMMIT_PARKED || count_lost(commit) != 0)
        return;
    try_again(session, commit, ALI_COMMIT_QUEUED);
    if (ali_commit_pump(session) < 0)
        session->give_up = true;
}

void ali_commit_detached(struct ali_csession *session)
{
    struct al_commit *commit = session->commits, *next;

    for (; commit; commit = next) {
        next = commit->next;
        if (commit->state != ALI_COMMIT_PARKED || count_lost(commit) >= 0)
            continue;
        commit->bad = NO_PART;
        finish(session, commit, -AL_E_LEASE_LOST, al_str_c(NULL));
    }
}

void ali_commit_disconnected(struct ali_csession *session)
{
    for (struct al_commit *commit = session->commits; commit; commit = commit->next) {
        if (commit->state == ALI_COMMIT_VOID)
            commit->written = false;
        if (commit->state != ALI_COMMIT_PARKED)
            set_state(session, commit, ALI_COMMIT_QUEUED);
    }
}

void ali_commit_fail(struct ali_csession *session, int error, struct al_str detail,
                     bool written_only)
{
    struct al_commit *commit = session->commits, *next;

    for (; commit; commit = next) {
        next = commit->next;
        if (written_only && !commit->written)
            continue;
        commit->bad = NO_PART;
        finish(session, commit, commit->written ? -AL_E_UNKNOWN_OUTCOME : error, detail);
    }
    if (written_only)
        session->commit_cseq = 0; /* the next producer begins anew */
}

struct al_commit *ali_commit_take_due(struct ali_csession *session)
{
    struct al_commit *commit = session->commits_due;

    if (!commit)
        return NULL;
    session->commits_due = commit->next;
    commit->due = false;
    return commit;
}

void ali_commit_deinit(struct ali_csession *session)
{
    struct al_commit *commit;

    while ((commit = session->commits)) {
        unlink_commit(session, commit);
        set_state(session, commit, ALI_COMMIT_BUILT);
        if (commit->abandoned || commit->fn) /* otherwise the program has it */
            ali_commit_free(session, commit);
    }
    while ((commit = ali_commit_take_due(session)))
        ali_commit_free(session, commit);
}
