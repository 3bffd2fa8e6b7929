/* tap.c - what goes over the wire at the node, checked at the moment it happens.
 *
 * The tap sees every frame that the core has consumed and every frame that it hands out, in order
 * and before any crash can undo it. It follows leases and credit by the words of the protocol
 * alone and compares what the core hands out with that and with the ledger. */
#include "base/errors.h"
#include "core/records.h"
#include "ledger.h"
#include <string.h>

bool sim_lease_is_good(const struct sim *sim, const struct sim_slot *slot, uint64_t lease)
{
    return slot->tap_generation == sim->ledger->tap_generation && !slot->lease_void &&
           slot->lease == lease;
}

/* Connection numbers are used again; with its generation one is unique. */
static uint32_t conn_name(const struct sim *sim, uint32_t conn)
{
    return sim->conns[conn].generation * SIM_CONNS + conn;
}

static struct sim_inbox *inbox_of(struct sim *sim, uint32_t number)
{
    for (uint32_t i = 0; i < SIM_AGENTS; i++) {
        if (sim->ledger->inboxes[i].number == number)
            return &sim->ledger->inboxes[i];
    }
    return NULL;
}

/* Who has the message of this slot; NULL: somebody who is not there any more. */
static struct sim_receiver *holder_of(struct sim *sim, const struct sim_stream *stream,
                                      const struct sim_slot *slot)
{
    struct sim_receiver *receiver = &sim->ledger->inboxes[stream->to].receivers[slot->holder];

    return receiver->attach == slot->attach ? receiver : NULL;
}

static void set_out(struct sim *sim, const struct sim_stream *stream, struct sim_slot *slot)
{
    struct sim_receiver *receiver = holder_of(sim, stream, slot);

    if (!slot->out && receiver)
        receiver->out++;
    slot->out = true;
}

static void not_out(struct sim *sim, const struct sim_stream *stream, struct sim_slot *slot)
{
    struct sim_receiver *receiver = holder_of(sim, stream, slot);

    if (slot->tap_generation != sim->ledger->tap_generation)
        return;
    if (slot->out && receiver && receiver->out > 0)
        receiver->out--;
    slot->out = false;
}

/* Leases of the stream from seq on no longer count. */
static void void_from(struct sim *sim, struct sim_stream *stream, uint64_t seq)
{
    if (stream->conn_seq >= seq)
        stream->conn_seq = seq - 1;
    for (; seq <= stream->max_out && seq < stream->slot_cap; seq++) {
        struct sim_slot *slot = &stream->slots[seq];

        slot->void_step = slot->lease_void ? 0 : sim->step;
        slot->void_out = slot->out;
        not_out(sim, stream, slot);
        slot->lease_void = true;
    }
}

/* Memory was missing for the NACK that made them void in this step: they count as before, unless
 * the node had recalled them by then, which the NACK of a last attempt does first. */
static void unvoid_from(struct sim *sim, struct sim_stream *stream, uint64_t seq)
{
    for (; seq <= stream->max_out && seq < stream->slot_cap; seq++) {
        struct sim_slot *slot = &stream->slots[seq];

        if (slot->tap_generation != sim->ledger->tap_generation || slot->void_step != sim->step)
            continue;
        slot->lease_void = false;
        slot->unsure = slot->void_out;
        if (slot->void_out)
            set_out(sim, stream, slot);
        if (slot->void_out && holder_of(sim, stream, slot))
            holder_of(sim, stream, slot)->unsure++;
    }
}

/* Nothing is out with this client, or with any (SIM_NONE), as far as the tap can know; with `all`,
 * the leases are void, too. */
static void clear_agent(struct sim *sim, uint32_t agent, uint32_t client, bool all)
{
    struct sim_ledger *ledger = sim->ledger;

    for (uint32_t n = 0; n < ledger->stream_cap; n++) {
        struct sim_stream *stream = &ledger->streams[n];

        if (stream->to != agent)
            continue;
        for (uint64_t seq = 1; seq <= stream->max_out && seq < stream->slot_cap; seq++) {
            if (client != SIM_NONE && stream->slots[seq].holder != client)
                continue;
            stream->slots[seq].out = false;
            stream->slots[seq].lease_void |= all;
        }
    }
    for (uint32_t i = 0; i < SIM_CLIENTS; i++) {
        if (client == SIM_NONE || client == i)
            ledger->inboxes[agent].receivers[i].out = ledger->inboxes[agent].receivers[i].unsure =
                0;
    }
}

void sim_tap_reset(struct sim *sim)
{
    struct sim_ledger *ledger = sim->ledger;

    ledger->tap_generation++;
    sim_breaker_reset(sim);
    ledger->pending_count = 0;
    for (uint32_t i = 0; i < SIM_AGENTS; i++) {
        ledger->inboxes[i].number = 0; /* numbers may be given anew */
        memset(ledger->inboxes[i].receivers, 0, sizeof(ledger->inboxes[i].receivers));
    }
    for (uint32_t n = 0; n < ledger->stream_cap; n++)
        ledger->streams[n].max_out = ledger->streams[n].conn_seq = ledger->streams[n].conn_attach =
            0;
    ledger->said_count = ledger->said_next = 0;
    memset(ledger->producers, 0, sizeof(ledger->producers));
}

void sim_tap_closed(struct sim *sim, uint32_t conn)
{
    sim->ledger->producers[conn] = 0;
    for (uint32_t i = 0; i < SIM_AGENTS; i++) {
        for (uint32_t k = 0; k < SIM_CLIENTS; k++) {
            if (sim->ledger->inboxes[i].receivers[k].conn == conn)
                sim->ledger->inboxes[i].receivers[k].attached = false;
        }
    }
}

/* The client behind a connection, as a receiver of this inbox. */
static struct sim_receiver *receiver_on(struct sim *sim, struct sim_inbox *inbox, uint32_t conn)
{
    return &inbox->receivers[sim->conns[conn].client];
}

/* commits.c sees to what it is told itself. */
static bool keeps_own_ledger(const struct sim *sim, uint32_t conn)
{
    return sim->clients[sim->conns[conn].client].role == SIM_COMMITTER;
}

/* ---- client to node ---------------------------------------------------------------------- */

/* A settlement under a good lease has come in; whether the core takes it is seen in this step. */
static void note_good(struct sim *sim, uint32_t stream, uint64_t seq, unsigned status)
{
    struct sim_ledger *ledger = sim->ledger;
    struct sim_slot *slot = sim_slot(sim, stream, seq);

    if (!slot)
        return;
    if (ledger->pending_count == ledger->pending_cap) {
        ledger->pending_cap = ledger->pending_cap ? ledger->pending_cap * 2 : 32;
        ledger->pending =
            sim_xrealloc(ledger->pending, ledger->pending_cap * sizeof(*ledger->pending));
    }
    ledger->pending[ledger->pending_count].stream = stream;
    ledger->pending[ledger->pending_count++].seq = seq;
    if (slot->valid_step != sim->step)
        slot->tries = 0;
    slot->tries++;
    slot->pending |= (uint8_t)(1u << status);
    slot->valid_step = sim->step;
    not_out(sim, sim_stream(sim, stream), slot);
}

/* The stream, if it is one: clients may name anything. */
static struct sim_stream *known_stream(const struct sim *sim, uint32_t number)
{
    return number && number < sim->ledger->stream_cap ? &sim->ledger->streams[number] : NULL;
}

static void up_ack(struct sim *sim, const struct al_msg_ack *m)
{
    struct sim_stream *stream = known_stream(sim, m->stream);
    struct sim_slot *slot;

    if (!stream || m->seq == 0 || m->seq > stream->last_seq)
        return;
    slot = &stream->slots[m->seq];
    if (!sim_lease_is_good(sim, slot, m->lease) || m->status > AL_STATUS_FAILED)
        return;
    note_good(sim, m->stream, m->seq, m->status);
    slot->by_many = false;
    sim_parts_acked(slot, m);
    for (uint64_t seq = m->seq - 1; (m->flags & AL_ACK_CUMULATIVE) && seq > 0; seq--) {
        bool asked; /* by itself in this step: that may be refused, and this one counts */

        slot = &stream->slots[seq];
        asked = slot->pending && slot->valid_step == sim->step;
        if (slot->tap_generation == sim->ledger->tap_generation && !slot->lease_void &&
            (slot->out || asked)) {
            note_good(sim, m->stream, seq, m->status);
            slot->by_many = asked;
            if (!asked)
                sim_parts_acked(slot, NULL);
        }
    }
}

static void up_nack(struct sim *sim, const struct al_msg_nack *m)
{
    struct sim_stream *stream = known_stream(sim, m->stream);
    struct sim_slot *slot;

    if (!stream || m->seq == 0 || m->seq > stream->last_seq)
        return;
    slot = &stream->slots[m->seq];
    if (!sim_lease_is_good(sim, slot, m->lease))
        return;
    if (slot->pending) { /* acked just before: this one will be refused */
        slot->tries++;
        return;
    }
    slot->flags |= SIM_SLOT_NACKED;
    slot->valid_step = sim->step;
    if (!slot->out) /* of a receiver that came back: its lease may have run out unseen */
        return;
    for (uint64_t seq = 1; seq < m->seq; seq++) { /* not the head: it will be refused */
        if (stream->slots[seq].out &&
            sim_lease_is_good(sim, &stream->slots[seq], stream->slots[seq].lease))
            return;
    }
    void_from(sim, stream, m->seq);
}

static void up_settle(struct sim *sim, uint32_t conn, const struct al_msg_settle *m)
{
    struct sim_message *message = sim_message_find(sim, &m->message_id);
    struct sim_ledger *ledger = sim->ledger;
    uint32_t at = m->request % 16;

    if (!message || !message->stream)
        return;
    ledger->settles[at].conn = conn_name(sim, conn);
    ledger->settles[at].request = m->request;
    ledger->settles[at].message = message->number;
    ledger->settles[at].action = m->action;
}

/* DONE without an error: the SETTLE was taken. */
static void down_settled(struct sim *sim, uint32_t conn, const struct al_msg_done *m)
{
    struct sim_ledger *ledger = sim->ledger;
    uint32_t at = m->request % 16;
    const struct sim_message *message;
    struct sim_slot *slot;

    if (ledger->settles[at].conn != conn_name(sim, conn) ||
        ledger->settles[at].request != m->request || m->request == 0)
        return;
    ledger->settles[at].request = 0;
    if (m->code)
        return;
    message = &ledger->messages[ledger->settles[at].message];
    slot = sim_slot(sim, message->stream, message->seq);
    if (!slot || slot->tap_generation != ledger->tap_generation) {
        sim_fail(sim, "message %u is settled by id; it was not out", message->number);
        return;
    }
    if (ledger->settles[at].action <= AL_STATUS_FAILED) {
        note_good(sim, message->stream, message->seq, ledger->settles[at].action);
        sim_parts_acked(slot, NULL);
        slot->lease_void = true;
    } else if (ledger->settles[at].action == AL_SETTLE_NACK) {
        slot->flags |= SIM_SLOT_NACKED;
        void_from(sim, sim_stream(sim, message->stream), message->seq);
    }
}

static void up_attach(struct sim *sim, uint32_t conn, const struct al_msg_attach *m)
{
    uint32_t agent = m->request % 64;
    struct sim_receiver *receiver;

    if (agent == 0 || agent > SIM_AGENTS)
        return;
    receiver = receiver_on(sim, &sim->ledger->inboxes[agent - 1], conn);
    receiver->asked_credit = m->credit;
    receiver->asked_shared = m->flags & AL_ATTACH_SHARED;
}

static void up_frame(struct sim *sim, uint32_t conn, const struct al_frame *frame)
{
    union {
        struct al_msg_ack ack;
        struct al_msg_nack nack;
        struct al_msg_settle settle;
        struct al_msg_attach attach;
        struct al_msg_credit credit;
        struct al_msg_detach detach;
        struct al_msg_cancel cancel;
        struct al_msg_gap_nack gap;
        struct al_msg_publish publish;
        struct al_msg_part part;
    } m;
    struct sim_inbox *inbox;

    switch (frame->type) {
    case AL_MSG_ACK:
        if (al_decode_ack(frame->body, &m.ack) == 0)
            up_ack(sim, &m.ack);
        break;
    case AL_MSG_NACK:
        if (al_decode_nack(frame->body, &m.nack) == 0)
            up_nack(sim, &m.nack);
        break;
    case AL_MSG_SETTLE:
        if (al_decode_settle(frame->body, &m.settle) == 0)
            up_settle(sim, conn, &m.settle);
        break;
    case AL_MSG_GAP_NACK:
        if (al_decode_gap_nack(frame->body, &m.gap) == 0)
            sim_lossy_asked(sim, conn, &m.gap);
        break;
    case AL_MSG_CANCEL:
        if (al_decode_cancel(frame->body, &m.cancel) == 0)
            sim_cancel_up(sim, conn, &m.cancel);
        break;
    case AL_MSG_PUBLISH:
        if (al_decode_publish(frame->body, &m.publish) == 0)
            sim_parts_published(sim, conn, m.publish.envelope);
        break;
    case AL_MSG_PART:
        if (al_decode_part(frame->body, &m.part) == 0)
            sim_parts_up(sim, &m.part);
        break;
    case AL_MSG_GOODBYE:
        sim_tap_closed(sim, conn);
        break;
    case AL_MSG_ATTACH:
        if (al_decode_attach(frame->body, &m.attach) == 0)
            up_attach(sim, conn, &m.attach);
        break;
    case AL_MSG_CREDIT:
        if (al_decode_credit(frame->body, &m.credit) == 0) {
            inbox = inbox_of(sim, m.credit.agent);
            if (inbox && receiver_on(sim, inbox, conn)->attached)
                receiver_on(sim, inbox, conn)->credit = m.credit.credit;
        }
        break;
    default:
        break;
    }
}

void sim_tap_up(struct sim *sim, uint32_t conn, struct al_str frames)
{
    struct al_frame frame;
    int64_t n;

    while ((n = al_frame_next(frames, AL_FRAME_MAX, &frame)) > 0) {
        sim_note(sim, "client % to node: $, % bytes", sim->conns[conn].client, frame.type,
                 frame.body.n);
        if (!keeps_own_ledger(sim, conn))
            up_frame(sim, conn, &frame);
        frames.p += n;
        frames.n -= (uint32_t)n;
    }
}

/* ---- node to client ---------------------------------------------------------------------- */

/* The group that comes and goes has gone: what was out of it is void, nobody is told. */
void sim_tap_record(struct sim *sim, uint32_t type)
{
    for (uint32_t n = 0; n < sim->ledger->stream_cap && type == ALI_REC_GROUP_REMOVE; n++) {
        struct sim_stream *stream = &sim->ledger->streams[n];

        /* What was seen before a crash may be another's stream by now. */
        if (!stream->temp || stream->temp_generation != sim->ledger->tap_generation)
            continue;
        void_from(sim, stream, 1);
        stream->gone_generation = sim->ledger->tap_generation;
    }
}

/* Is it of the group that comes and goes? Its streams are never used again. */
static void note_temp(struct sim *sim, const struct al_frame *frame, const struct al_msg_deliver *m)
{
    const uint8_t *end = m->envelope.p + m->envelope.n;
    struct sim_stream *stream = sim_stream(sim, m->stream);
    struct al_str name;
    bool is_temp = al_ext_find(al_str_of(end, (size_t)(frame->body.p + frame->body.n - end)),
                               AL_DELIVER_EXT_GROUP, &name) == 1 &&
                   sim_agent_find(name) == SIM_GROUP_TEMP;

    if (stream) {
        stream->temp = is_temp; /* its number may be another's since a crash */
        stream->temp_generation = sim->ledger->tap_generation;
    }
    if (stream && is_temp && stream->gone_generation == sim->ledger->tap_generation)
        sim_fail(sim, "%u:%llu is given out; its group was removed", m->stream,
                 (unsigned long long)m->seq);
}

/* Facts that forbid this delivery. */
static void check_deliver(struct sim *sim, const struct al_msg_deliver *m,
                          const struct sim_slot *slot)
{
    const struct sim_stream *stream = sim_stream(sim, m->stream);
    bool marked = m->flags & AL_DELIVER_REDELIVERED;
    uint32_t generation = sim->ledger->tap_generation;

    if (slot->flags & SIM_SLOT_ENDED)
        sim_fail(sim, "%u:%llu has ended, a client was told so, and is delivered again", m->stream,
                 (unsigned long long)m->seq);
    if (slot->flags & SIM_SLOT_SKIPPED)
        sim_fail(sim, "%u:%llu was passed over as dropped and is delivered", m->stream,
                 (unsigned long long)m->seq);
    if (slot->tap_generation == generation && slot->acked)
        sim_fail(sim, "%u:%llu was acked and is delivered again", m->stream,
                 (unsigned long long)m->seq);
    if (!marked &&
        ((slot->flags & SIM_SLOT_SEEN) || slot->starts > 0 || slot->tap_generation == generation))
        sim_fail(sim, "%u:%llu was given out before and is not marked as redelivered", m->stream,
                 (unsigned long long)m->seq);
    if (m->seq <= stream->conn_seq)
        sim_fail(sim, "%u:%llu is given out after %llu of its stream", m->stream,
                 (unsigned long long)m->seq, (unsigned long long)stream->conn_seq);
}

/* A stream comes to this receiver: nobody else who is there may have anything of it. */
static void check_only(struct sim *sim, struct sim_stream *stream, uint32_t number,
                       const struct sim_receiver *receiver)
{
    const struct sim_inbox *inbox = &sim->ledger->inboxes[stream->to];

    if (stream->conn_attach == receiver->attach)
        return;
    for (uint32_t k = 0; k < SIM_CLIENTS && receiver->shared; k++) {
        if (inbox->receivers[k].attached && inbox->receivers[k].attach == stream->conn_attach)
            sim->tally.reached[SIM_REACHED_HANDED_ON]++;
    }
    stream->conn_attach = receiver->attach;
    stream->conn_seq = 0;
    for (uint64_t seq = 1; seq <= stream->max_out && seq < stream->slot_cap; seq++) {
        struct sim_slot *slot = &stream->slots[seq];
        const struct sim_receiver *holder = holder_of(sim, stream, slot);

        if (slot->tap_generation != sim->ledger->tap_generation || !slot->out || slot->lease_void ||
            &inbox->receivers[slot->holder] == receiver) /* its own, perhaps from before */
            continue;
        if (holder && holder->attached)
            sim_fail(sim, "stream %u is given to another receiver; client %u has %u:%llu of it",
                     number, slot->holder, number, (unsigned long long)seq);
        slot->out = false; /* whoever had it went, and the session has ended */
        slot->lease_void = true;
    }
}

static void down_deliver(struct sim *sim, uint32_t conn, const struct al_msg_deliver *m)
{
    struct sim_inbox *inbox = inbox_of(sim, m->agent);
    struct sim_receiver *receiver = inbox ? receiver_on(sim, inbox, conn) : NULL;
    struct sim_stream *stream;
    struct sim_slot *slot;

    sim_note(sim, "  node gives out %:%, lease #", m->stream, m->seq, m->lease);
    if (!receiver || !receiver->attached || receiver->conn != conn) {
        sim_fail(sim, "a delivery for agent number %u on connection %u, which does not receive it",
                 m->agent, conn);
        return;
    }
    if (m->seq == 0) /* volatile */
        return;
    slot = sim_slot(sim, m->stream, m->seq);
    stream = sim_stream(sim, m->stream);
    if (!slot)
        return;
    if (!stream->known)
        stream->to = (uint32_t)(inbox - sim->ledger->inboxes);
    else if (&sim->ledger->inboxes[stream->to] != inbox)
        sim_fail(sim, "stream %u is delivered to the wrong agent", m->stream);
    check_only(sim, stream, m->stream, receiver);
    check_deliver(sim, m, slot);
    sim_cancel_deliver(sim, m);
    stream->conn_seq = m->seq;
    if (slot->tap_generation == sim->ledger->tap_generation && slot->lease == m->lease) {
        if (slot->lease_void || (slot->attach == receiver->attach && !slot->asked_again))
            sim_fail(sim, "%u:%llu is given out twice under one lease", m->stream,
                     (unsigned long long)m->seq);
        slot->attach = receiver->attach; /* the receiver came back, or missed it */
        slot->asked_again = false;
        set_out(sim, stream, slot);
        return;
    }
    if (slot->tap_generation == sim->ledger->tap_generation && slot->out && !slot->lease_void &&
        !slot->unsure)
        sim_fail(sim, "%u:%llu is given out anew while it is out", m->stream,
                 (unsigned long long)m->seq);
    sim_breaker_deliver(sim, stream->to);
    sim_acl_deliver(sim, m);
    *slot = (struct sim_slot){.message = slot->message,
                              .flags = slot->flags,
                              .good = slot->good,
                              .end_state = slot->end_state,
                              .starts = slot->starts,
                              .good_ns = slot->good_ns,
                              .well_ns = slot->well_ns,
                              .kept_ms = slot->kept_ms,
                              .pushed_out = slot->pushed_out,
                              .tap_generation = sim->ledger->tap_generation,
                              .attach = receiver->attach,
                              .holder = sim->conns[conn].client,
                              .lease = m->lease,
                              .given_ns = sim->mono_ns,
                              .lease_ns = m->lease_ms * AL_NS_PER_MS,
                              .out = true,
                              .pending = slot->pending};
    if (m->seq > stream->max_out)
        stream->max_out = m->seq;
    if (++receiver->out > receiver->credit + receiver->unsure)
        sim_fail(sim, "agent number %u has %u messages out; the credit is %u", m->agent,
                 receiver->out, receiver->credit);
}

static void down_acked(struct sim *sim, const struct al_msg_acked *m)
{
    uint32_t count = 0;

    for (uint64_t seq = m->seq; seq <= m->last_seq; seq++) {
        struct sim_slot *slot = sim_slot(sim, m->stream, seq);
        bool given;

        if (!slot)
            return;
        given = slot->pending || slot->good || (slot->flags & SIM_SLOT_NACKED);
        if (!given && (seq == m->seq || seq == m->last_seq))
            sim_fail(sim, "%u:%llu is confirmed as acked; no ack under a good lease came",
                     m->stream, (unsigned long long)seq);
        if (given && slot->tap_generation == sim->ledger->tap_generation) {
            slot->acked = true;
            slot->lease_void = true;
            not_out(sim, sim_stream(sim, m->stream), slot);
        }
        count += given;
    }
    if (count < m->count)
        sim_fail(sim, "%u acks of stream %u are confirmed, %u came under a good lease", m->count,
                 m->stream, count);
}

static void down_refused(struct sim *sim, const struct al_msg_settle_refused *m)
{
    struct sim_stream *stream = known_stream(sim, m->stream);
    struct sim_slot *slot;

    sim_note(sim, "  node refuses to settle %:%: !", m->stream, m->seq, m->code);
    if (!stream || m->seq == 0 || m->seq > stream->last_seq)
        return;
    slot = &stream->slots[m->seq];
    if (slot->lease != m->lease || slot->tap_generation != sim->ledger->tap_generation)
        return;
    if (slot->valid_step == sim->step && slot->tries > 1) {
        slot->tries--; /* the same frame twice: one of them counts */
        if (slot->by_many && (m->code == AL_E_OUT_OF_ORDER || m->code == AL_E_NOMEM)) {
            sim_parts_acked(slot, NULL); /* its own is refused: that of many counts */
            slot->by_many = false;
        }
        return;
    }
    if (slot->valid_step == sim->step && !slot->lease_void && !slot->acked && slot->pending &&
        sim->mono_ns < slot->given_ns + slot->lease_ns &&
        (m->code == AL_E_LEASE_LOST || m->code == AL_E_NOT_FOUND))
        sim_fail(sim, "an ack of %u:%llu under the lease that counts is refused: %s", m->stream,
                 (unsigned long long)m->seq, al_error_name(m->code));
    if (m->code == AL_E_NOMEM && slot->flags & SIM_SLOT_NACKED && slot->void_step == sim->step) {
        slot->flags &= (uint8_t)~SIM_SLOT_NACKED;
        unvoid_from(sim, stream, m->seq);
        return;
    }
    slot->pending = 0;
    if ((m->code == AL_E_OUT_OF_ORDER || m->code == AL_E_NOMEM) && !slot->lease_void &&
        !slot->out) /* as if it had not been asked */
        set_out(sim, stream, slot);
}

static void down_attached(struct sim *sim, uint32_t conn, const struct al_msg_attached *m)
{
    uint32_t agent = m->request % 64;
    struct sim_receiver *receiver;
    struct sim_inbox *inbox;

    if (agent == 0 || agent > SIM_AGENTS)
        return;
    inbox = &sim->ledger->inboxes[agent - 1];
    receiver = receiver_on(sim, inbox, conn);
    /* When the session goes on, the leases hold and what is out is given out once more; but some
     * may have run out meanwhile, unseen. Who shares the inbox touches nobody else's. */
    clear_agent(sim, agent - 1, receiver->asked_shared ? sim->conns[conn].client : SIM_NONE,
                !m->resumed);
    inbox->number = m->agent;
    receiver->attached = true;
    receiver->shared = receiver->asked_shared;
    receiver->conn = conn;
    receiver->attach = ++inbox->attaches;
    receiver->credit = receiver->asked_credit;
}

/* True if something from seq on is out with another client: RECALL only tells who asked for it. */
static bool is_with_another(const struct sim *sim, const struct sim_stream *stream, uint32_t conn,
                            uint64_t seq)
{
    for (; seq && seq <= stream->max_out && seq < stream->slot_cap; seq++) {
        const struct sim_slot *slot = &stream->slots[seq];

        if (slot->tap_generation == sim->ledger->tap_generation && slot->out && !slot->lease_void &&
            slot->holder != sim->conns[conn].client)
            return true;
    }
    return false;
}

static void down_frame(struct sim *sim, uint32_t conn, const struct al_frame *frame)
{
    union {
        struct al_msg_deliver deliver;
        struct al_msg_acked acked;
        struct al_msg_recall recall;
        struct al_msg_settle_refused refused;
        struct al_msg_attached attached;
        struct al_msg_detached detached;
        struct al_msg_done done;
        struct al_msg_error error;
        struct al_msg_reply_part part;
        struct al_msg_producer_ready producer;
    } m;
    struct sim_inbox *inbox;
    int r = 0;

    sim_lossy_tap(sim, conn, frame);
    sim_letters_tap(sim, frame);
    if (frame->type == AL_MSG_DELIVER && (r = al_decode_deliver(frame->body, &m.deliver)) == 0) {
        down_deliver(sim, conn, &m.deliver);
        note_temp(sim, frame, &m.deliver);
    } else if (frame->type == AL_MSG_ACKED && (r = al_decode_acked(frame->body, &m.acked)) == 0) {
        down_acked(sim, &m.acked);
    } else if (frame->type == AL_MSG_RECALL &&
               (r = al_decode_recall(frame->body, &m.recall)) == 0) {
        struct sim_stream *stream = sim_stream(sim, m.recall.stream);

        if (stream && !is_with_another(sim, stream, conn, m.recall.seq))
            void_from(sim, stream, m.recall.seq);
    } else if (frame->type == AL_MSG_SETTLE_REFUSED &&
               (r = al_decode_settle_refused(frame->body, &m.refused)) == 0) {
        down_refused(sim, &m.refused);
    } else if (frame->type == AL_MSG_ATTACHED &&
               (r = al_decode_attached(frame->body, &m.attached)) == 0) {
        down_attached(sim, conn, &m.attached);
    } else if (frame->type == AL_MSG_DETACHED &&
               (r = al_decode_detached(frame->body, &m.detached)) == 0) {
        inbox = inbox_of(sim, m.detached.agent);
        if (inbox && receiver_on(sim, inbox, conn)->conn == conn) {
            receiver_on(sim, inbox, conn)->attached = false;
            if (m.detached.code == AL_E_NOT_FOUND) /* otherwise what comes next decides */
                clear_agent(sim, (uint32_t)(inbox - sim->ledger->inboxes), SIM_NONE, true);
        }
    } else if (frame->type == AL_MSG_REPLY_PART &&
               (r = al_decode_reply_part(frame->body, &m.part)) == 0) {
        sim_parts_down(sim, conn, &m.part);
    } else if (frame->type == AL_MSG_PRODUCER_READY &&
               (r = al_decode_producer_ready(frame->body, &m.producer)) == 0) {
        sim_parts_producer(sim, conn, m.producer.producer);
    } else if (frame->type == AL_MSG_DONE && (r = al_decode_done(frame->body, &m.done)) == 0) {
        down_settled(sim, conn, &m.done);
        sim_cancel_down(sim, conn, &m.done);
    } else if (frame->type == AL_MSG_ERROR && (r = al_decode_error(frame->body, &m.error)) == 0) {
        sim_note(sim, "  node says ERROR ! about $, fatal %", m.error.code, m.error.about,
                 m.error.fatal);
    }
    if (r < 0)
        sim_fail(sim, "the node sends a malformed %s", al_msg_name(frame->type));
}

void sim_tap_down(struct sim *sim, uint32_t conn, struct al_str frames)
{
    struct al_frame frame;
    int64_t n;

    while (frames.n > 0) {
        n = al_frame_next(frames, AL_FRAME_MAX, &frame);
        if (n <= 0) {
            sim_fail(sim, "the node sends something that is not a frame");
            return;
        }
        sim_note(sim, "  node to client %: $, % bytes", sim->conns[conn].client, frame.type,
                 frame.body.n);
        if (!keeps_own_ledger(sim, conn))
            down_frame(sim, conn, &frame);
        frames.p += n;
        frames.n -= (uint32_t)n;
    }
}

void sim_tap_step_end(struct sim *sim)
{
    struct sim_ledger *ledger = sim->ledger;

    sim_parts_step_end(sim);
    sim_lossy_step_end(sim);
    for (uint32_t i = 0; i < ledger->pending_count; i++) {
        struct sim_slot *slot = sim_slot(sim, ledger->pending[i].stream, ledger->pending[i].seq);

        if (!slot || !slot->pending)
            continue;
        slot->good |= slot->pending;
        if (!slot->good_ns && slot->pending & (1u << AL_STATUS_SUCCESS | 1u << AL_STATUS_PARTIAL))
            slot->good_ns = sim->mono_ns;
        if (slot->message)
            ledger->messages[slot->message - 1].good |= slot->pending;
        slot->pending = 0;
    }
    ledger->pending_count = 0;
}
