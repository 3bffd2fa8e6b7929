/* workflow_account.c - numbers of messages with a workflow id: dense, nobody's twice, their states
 * true.
 *
 * Which messages have a workflow is drawn from their numbers. What receivers got is checked as it
 * comes. At the end the shadow journal is read with a list of messages and nothing else: the
 * records say what has become of each, and the node must have said the same. */
#include "base/errors.h"
#include "core/records.h"
#include "ledger.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define IDS 3u

uint32_t sim_workflow_of(const struct sim_message *message)
{
    uint32_t draw = message->key ? message->key : message->number; /* the same message, the same */

    if (message->to >= SIM_AGENTS || message->flags & AL_PUBLISH_VOLATILE || draw % 2)
        return SIM_NONE;
    return (message->from % 4 == 3 ? IDS : 0) + draw / 2 % IDS;
}

void sim_workflow_name(uint32_t flow, struct al_str *ret_space, char ret_id[8])
{
    *ret_space = al_str_c(flow < IDS ? "default" : "lab");
    snprintf(ret_id, 8, "w%u", flow % IDS);
}

void sim_workflows_free(struct sim_ledger *ledger)
{
    for (uint32_t i = 0; i < SIM_FLOWS; i++) {
        free(ledger->flows[i].messages);
        free(ledger->flows[i].states);
    }
}

static void make_room(struct sim_flow *flow, uint64_t number)
{
    uint64_t cap = flow->cap ? flow->cap : 64;

    if (number < flow->cap)
        return;
    while (cap <= number)
        cap *= 2;
    flow->messages = sim_xrealloc(flow->messages, cap * sizeof(*flow->messages));
    flow->states = sim_xrealloc(flow->states, cap);
    memset(flow->messages + flow->cap, 0, (cap - flow->cap) * sizeof(*flow->messages));
    memset(flow->states + flow->cap, 0, cap - flow->cap);
    flow->cap = cap;
}

/* ---- what receivers got ------------------------------------------------------------------ */

void sim_workflow_told_deliver(struct sim *sim, const struct al_frame *frame,
                               const struct al_msg_deliver *m)
{
    size_t size = al_size_deliver(m);
    struct al_str ext = al_str_of(frame->body.p + size, frame->body.n - size), value;
    struct al_msg_envelope envelope;
    struct sim_message *message = NULL;
    uint32_t flow = SIM_NONE;
    uint64_t number = 0;

    if (al_decode_envelope(m->envelope, &envelope) == 0)
        message = sim_message_find(sim, &envelope.message_id);
    if (message)
        flow = sim_workflow_of(message);
    if (al_ext_find(ext, AL_DELIVER_EXT_WORKFLOW_SEQ, &value) && value.n == 8)
        number = al_get64(value.p);
    if ((flow == SIM_NONE) != (number == 0)) {
        sim_fail(sim, "%u:%llu comes %s number", m->stream, (unsigned long long)m->seq,
                 number ? "without a workflow and with a" : "with a workflow and without a");
        return;
    }
    if (!message || !number)
        return;
    if (message->workflow_seq && message->workflow_seq != number &&
        !sim_key_may_have_expired(sim, message))
        sim_fail(sim, "message %u had number %llu and has %llu", message->number,
                 (unsigned long long)message->workflow_seq, (unsigned long long)number);
    message->workflow_seq = number;
    make_room(&sim->ledger->flows[flow], number);
    if (sim->ledger->flows[flow].messages[number] &&
        sim->ledger->flows[flow].messages[number] != message->number + 1)
        sim_fail(sim, "messages %u and %u have number %llu of one workflow",
                 sim->ledger->flows[flow].messages[number] - 1, message->number,
                 (unsigned long long)number);
    sim->ledger->flows[flow].messages[number] = message->number + 1;
}

/* ---- what the node says ------------------------------------------------------------------ */

void sim_workflow_told_nothing(struct sim *sim)
{
    for (uint32_t i = 0; i < SIM_FLOWS; i++) {
        struct sim_flow *flow = &sim->ledger->flows[i];

        memset(&flow->row, 0, sizeof(flow->row));
        if (flow->cap)
            memset(flow->states, 0, flow->cap);
    }
}

void sim_workflow_told_row(struct sim *sim, uint32_t flow, const struct al_msg_workflow_row *m)
{
    sim->ledger->flows[flow].row = *m;
    sim->ledger->flows[flow].row.space = sim->ledger->flows[flow].row.workflow =
        al_str_of(NULL, 0); /* views into the frame */
}

void sim_workflow_told_range(struct sim *sim, uint32_t flow, const struct al_msg_workflow_range *m)
{
    struct sim_flow *told = &sim->ledger->flows[flow];

    if (m->first < 1 || m->last < m->first || m->last > told->row.allocated || m->state < 1 ||
        m->state > 5) {
        sim_fail(sim, "a range %llu to %llu of a workflow with %llu numbers",
                 (unsigned long long)m->first, (unsigned long long)m->last,
                 (unsigned long long)told->row.allocated);
        return;
    }
    make_room(told, m->last);
    for (uint64_t number = m->first; number <= m->last; number++) {
        if (told->states[number])
            sim_fail(sim, "number %llu stands in two ranges", (unsigned long long)number);
        told->states[number] = m->state;
    }
}

/* ---- the journal ------------------------------------------------------------------------- */

struct numbered {
    uint32_t flow, stream;
    uint64_t number, seq, delayed; /* seq 0: it stands nowhere */
    uint8_t state;                 /* as in WORKFLOW_RANGE, 0 processed */
};

struct journal {
    struct numbered *list;
    uint32_t count, cap;
    uint64_t begun[SIM_FLOWS]; /* LSN of the workflow's record */
    uint64_t numbers[SIM_FLOWS];
};

static void begin_flow(struct sim *sim, struct journal *j, uint64_t lsn,
                       const struct ali_rec_workflow *r)
{
    for (uint32_t i = 0; i < SIM_FLOWS; i++) {
        struct al_str space;
        char id[8];

        sim_workflow_name(i, &space, id);
        if (!al_str_eq(space, r->space) || !al_str_eq(al_str_c(id), r->workflow))
            continue;
        if (r->over || j->begun[i])
            sim_fail(sim, "the workflow %s begins twice, or is forgotten", id);
        j->begun[i] = lsn;
        return;
    }
    sim_fail(sim, "the journal has a workflow that nobody named");
}

static void add_number(struct sim *sim, struct journal *j, uint64_t lsn,
                       const struct ali_rec_numbered *r)
{
    uint32_t flow = 0;

    while (flow < SIM_FLOWS && (!j->begun[flow] || j->begun[flow] != r->workflow))
        flow++;
    if (flow == SIM_FLOWS || r->number != j->numbers[flow] + 1) {
        sim_fail(sim, "number %llu follows %llu in a workflow", (unsigned long long)r->number,
                 (unsigned long long)(flow < SIM_FLOWS ? j->numbers[flow] : 0));
        return;
    }
    j->numbers[flow]++;
    if (j->count == j->cap) {
        j->cap = j->cap ? j->cap * 2 : 256;
        j->list = sim_xrealloc(j->list, j->cap * sizeof(*j->list));
    }
    j->list[j->count++] = (struct numbered){.flow = flow,
                                            .stream = r->stream,
                                            .number = r->number,
                                            .seq = r->seq,
                                            .delayed = r->seq ? 0 : lsn,
                                            .state = 1};
}

/* The message at that place, NULL: it has no number. */
static struct numbered *at_place(struct journal *j, uint32_t stream, uint64_t seq)
{
    for (uint32_t i = 0; i < j->count; i++)
        if (j->list[i].stream == stream && j->list[i].seq == seq)
            return &j->list[i];
    return NULL;
}

static void give_seq(struct journal *j, uint64_t delayed, uint64_t seq)
{
    for (uint32_t i = 0; delayed && i < j->count; i++)
        if (j->list[i].delayed == delayed)
            j->list[i].seq = seq;
}

static void end_until(struct journal *j, uint32_t stream, uint64_t last_seq)
{
    for (uint32_t i = 0; i < j->count; i++) {
        struct numbered *n = &j->list[i];

        if (n->stream == stream && n->seq && n->seq <= last_seq && n->state == 1)
            n->state = 0;
    }
}

static void end_one(struct journal *j, uint32_t stream, uint64_t seq, uint8_t state)
{
    struct numbered *n = at_place(j, stream, seq);

    if (n)
        n->state = state == AL_STATE_FAILED    ? 2
                   : state == AL_STATE_DEAD    ? 3
                   : state == AL_STATE_EXPIRED ? 4
                                               : 5;
}

/* What moves or ends a message. */
static void follow(struct journal *j, unsigned type, struct al_str payload)
{
    union {
        struct ali_rec_due due;
        struct ali_rec_ack ack;
        struct ali_rec_dead dead;
        struct ali_rec_cancel cancel;
        struct ali_rec_redrive redrive;
        struct ali_rec_purge purge;
    } r;
    struct numbered *n;

    if (type == ALI_REC_DUE && ali_decode_rec_due(payload, &r.due) == 0) {
        give_seq(j, r.due.delayed, r.due.seq);
    } else if (type == ALI_REC_ACK && ali_decode_rec_ack(payload, &r.ack) == 0) {
        end_until(j, r.ack.stream, r.ack.last_seq);
    } else if (type == ALI_REC_DEAD && ali_decode_rec_dead(payload, &r.dead) == 0) {
        end_one(j, r.dead.stream, r.dead.seq, r.dead.state);
    } else if (type == ALI_REC_CANCEL && ali_decode_rec_cancel(payload, &r.cancel) == 0) {
        give_seq(j, r.cancel.delayed, r.cancel.seq);
        end_one(j, r.cancel.stream, r.cancel.seq, AL_STATE_CANCELLED);
    } else if (type == ALI_REC_REDRIVE && ali_decode_rec_redrive(payload, &r.redrive) == 0) {
        n = at_place(j, r.redrive.stream, r.redrive.old_seq);
        if (n) {
            n->seq = r.redrive.seq;
            n->state = 1;
        }
    } else if (type == ALI_REC_PURGE && ali_decode_rec_purge(payload, &r.purge) == 0) {
        n = at_place(j, r.purge.stream, r.purge.seq);
        if (n)
            n->seq = 0;
    }
}

static void compare(struct sim *sim, const struct journal *j)
{
    for (uint32_t i = 0; i < SIM_FLOWS; i++) {
        const struct al_msg_workflow_row *row = &sim->ledger->flows[i].row;

        if (row->allocated != j->numbers[i] || row->processed + row->pending + row->failed +
                                                       row->dead + row->expired + row->cancelled !=
                                                   row->allocated)
            sim_fail(sim, "workflow %u has given out %llu numbers, it says %llu, %llu processed", i,
                     (unsigned long long)j->numbers[i], (unsigned long long)row->allocated,
                     (unsigned long long)row->processed);
    }
    for (uint32_t i = 0; i < j->count && !sim->failed; i++) {
        const struct numbered *n = &j->list[i];
        const struct sim_flow *flow = &sim->ledger->flows[n->flow];
        uint8_t told = n->number < flow->cap ? flow->states[n->number] : 0;

        if (told != n->state)
            sim_fail(sim, "number %llu of workflow %u is said to be %u and is %u",
                     (unsigned long long)n->number, n->flow, told, n->state);
    }
}

void sim_workflow_account(struct sim *sim)
{
    struct journal j = {0};

    for (size_t i = 0; i < sim->shadow.count && !sim->failed; i++) {
        const struct sim_record *record = &sim->shadow.list[i];
        struct al_str payload = al_str_of(sim->shadow.bytes.data + record->offset, record->size);
        struct ali_rec_numbered numbered;
        struct ali_rec_workflow flow;

        if (record->type == ALI_REC_WORKFLOW && ali_decode_rec_workflow(payload, &flow) == 0)
            begin_flow(sim, &j, i + 1, &flow);
        else if (record->type == ALI_REC_NUMBERED &&
                 ali_decode_rec_numbered(payload, &numbered) == 0)
            add_number(sim, &j, i + 1, &numbered);
        else
            follow(&j, record->type, payload);
    }
    if (!sim->failed)
        compare(sim, &j);
    free(j.list);
}
