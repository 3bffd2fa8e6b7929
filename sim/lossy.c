/* lossy.c - frames lost or overtaken inside a connection: publishes on channels whose gaps the node
 * repairs, and deliveries to consumers, which repair theirs.
 *
 * Deliveries also come twice. What the consumer makes of it shows in the order of its handlers. A
 * few publishes never get through while faults are on, so that gaps are ended by their policy too.
 * The checkers: a gap is not asked for longer than its time; who is given a message before which
 * some were given up is told so. That nothing given up is ever delivered, and nothing receipted
 * lost, the ledger knows anyway. */
#include "base/errors.h"
#include "roles.h"

#define DOOMED_ONE_IN 120u
#define SLACK_NS      (300 * AL_NS_PER_MS) /* the node is late */

void sim_lossy_init(struct sim *sim, struct sim_lossy *lossy)
{
    *lossy = (struct sim_lossy){0};
    al_buf_init(&lossy->late, &sim_heap);
    if (sim->profile.lost_frame)
        lossy->gaps = (uint8_t)sim_rand_below(&sim->rand, AL_GAPS_FAIL + 1);
}

static void put(struct sim *sim, struct sim_client *client, struct al_str frames)
{
    struct al_buf *out = sim_client_out(sim, client);

    if (!out || frames.n == 0)
        return;
    al_buf_put(out, frames.p, frames.n);
    sim_client_sent(sim, client);
}

static bool is_lost(struct sim *sim, const struct al_msg_publish *m)
{
    return sim_mix64(sim->seed ^ m->pseq * 977) % DOOMED_ONE_IN == 0 ||
           sim_chance(sim, sim->profile.lost_frame);
}

void sim_lossy_publish(struct sim *sim, struct sim_client *client, struct sim_lossy *lossy,
                       const struct al_msg_publish *m)
{
    struct al_buf frame;

    if (sim->faults_on && is_lost(sim, m)) {
        sim->tally.fault[SIM_FAULT_LOST_FRAME]++;
        sim_note(sim, "  lost: channel %, pseq %", m->channel, m->pseq, 0);
        return;
    }
    al_buf_init(&frame, &sim_heap);
    al_put_publish(&frame, m);
    if (sim->faults_on && lossy->late.size == 0 && sim_chance(sim, sim->profile.overtaken_frame)) {
        sim->tally.fault[SIM_FAULT_LATE_FRAME_UP]++;
        al_buf_put(&lossy->late, frame.data, frame.size);
    } else {
        put(sim, client, al_str_of(frame.data, (uint32_t)frame.size));
        put(sim, client, al_str_of(lossy->late.data, (uint32_t)lossy->late.size));
        al_buf_clear(&lossy->late);
    }
    al_buf_deinit(&frame);
}

static bool is_delivery(const struct al_frame *frame)
{
    struct al_msg_deliver m;

    return frame->type == AL_MSG_DELIVER && al_decode_deliver(frame->body, &m) == 0 && m.seq;
}

void sim_lossy_down(struct sim *sim, uint32_t n, struct al_str frames)
{
    uint32_t share = sim->faults_on ? sim->profile.lost_delivery : 0;
    struct sim_conn *conn = &sim->conns[n];
    struct al_frame frame;
    int64_t size;

    if (sim->clients[conn->client].role != SIM_CONSUMER || (!share && !conn->late.size)) {
        al_buf_put(&conn->down.bytes, frames.p, frames.n);
        return;
    }
    for (; (size = al_frame_next(frames, AL_FRAME_MAX, &frame)) > 0;
         frames = al_str_of(frames.p + size, frames.n - (uint32_t)size)) {
        bool is_hit = share && is_delivery(&frame);

        if (is_hit && sim_chance(sim, share)) {
            sim->tally.fault[SIM_FAULT_LOST_DELIVERY]++;
            sim_note(sim, "  lost: a delivery on connection %", n, 0, 0);
            continue;
        }
        if (is_hit && !conn->late.size && sim_chance(sim, share)) {
            sim->tally.fault[SIM_FAULT_LATE_DELIVERY]++;
            al_buf_put(&conn->late, frames.p, (size_t)size);
            continue;
        }
        al_buf_put(&conn->down.bytes, frames.p, (size_t)size);
        if (is_hit && sim_chance(sim, share)) {
            sim->tally.fault[SIM_FAULT_TWICE_DELIVERED]++;
            al_buf_put(&conn->down.bytes, frames.p, (size_t)size);
        }
        if (conn->late.size && sim_chance(sim, 300)) {
            al_buf_put(&conn->down.bytes, conn->late.data, conn->late.size);
            al_buf_clear(&conn->late);
        }
    }
}

void sim_lossy_follows(struct sim *sim, struct sim_lossy *lossy, struct sim_message *message)
{
    (void)sim;
    message->follows = lossy->gaps ? lossy->last_message : 0;
    lossy->last_message = message->number + 1;
}

void sim_lossy_asked(struct sim *sim, uint32_t conn, const struct al_msg_gap_nack *m)
{
    struct sim_stream *stream = sim_stream(sim, m->number);

    if (!stream || m->start == 0 || m->end < m->start)
        return;
    if (m->start > stream->max_out) {
        sim->tally.reached[SIM_REACHED_NOT_OUT]++;
        sim->unanswered[conn] = m->number;
        return;
    }
    if (stream->conn_seq >= m->start)
        stream->conn_seq = m->start - 1;
    for (uint64_t seq = m->start; seq <= stream->max_out && seq < stream->slot_cap; seq++)
        stream->slots[seq].asked_again = true;
}

static void note_answer(struct sim *sim, uint32_t conn, const struct al_frame *frame)
{
    struct al_msg_recall recall;
    struct al_msg_error error;

    if ((frame->type == AL_MSG_RECALL && al_decode_recall(frame->body, &recall) == 0 &&
         recall.stream == sim->unanswered[conn]) ||
        (frame->type == AL_MSG_ERROR && al_decode_error(frame->body, &error) == 0 &&
         error.about == AL_MSG_GAP_NACK))
        sim->unanswered[conn] = 0;
}

void sim_lossy_step_end(struct sim *sim)
{
    for (uint32_t conn = 0; conn < SIM_CONNS; conn++) {
        if (sim->unanswered[conn] && !sim->profile.no_memory)
            sim_fail(sim,
                     "of stream %u nothing is out that was asked for; the receiver is not told",
                     sim->unanswered[conn]);
        sim->unanswered[conn] = 0;
    }
}

void sim_lossy_tap(struct sim *sim, uint32_t conn, const struct al_frame *frame)
{
    struct al_msg_gap_nack m;
    struct al_msg_refused refused;

    if (sim->unanswered[conn])
        note_answer(sim, conn, frame);
    if (frame->type == AL_MSG_REFUSED && al_decode_refused(frame->body, &refused) == 0 &&
        refused.channel >= 1 && refused.channel <= SIM_CHANNELS)
        sim->gaps[conn][refused.channel - 1].start = 0; /* held, or given up */
    if (frame->type != AL_MSG_GAP_NACK || al_decode_gap_nack(frame->body, &m) < 0 || m.number < 1 ||
        m.number > SIM_CHANNELS)
        return;
    if (sim->gaps[conn][m.number - 1].generation != sim->conns[conn].generation ||
        sim->gaps[conn][m.number - 1].start != m.start) {
        sim->gaps[conn][m.number - 1].generation = sim->conns[conn].generation;
        sim->gaps[conn][m.number - 1].start = m.start;
        sim->gaps[conn][m.number - 1].since_ns = sim->mono_ns;
    } else if (sim->mono_ns - sim->gaps[conn][m.number - 1].since_ns >
               sim->profile.gap_timeout_ms * AL_NS_PER_MS + SLACK_NS) {
        sim_fail(sim, "the gap at %llu is still asked for after its time",
                 (unsigned long long)m.start);
    }
}

void sim_lossy_deliver(struct sim *sim, const struct al_frame *frame)
{
    struct al_msg_envelope envelope;
    struct sim_message *message;
    struct al_msg_deliver m;
    struct al_str count;
    const uint8_t *end;

    if (al_decode_deliver(frame->body, &m) < 0 || al_decode_envelope(m.envelope, &envelope) < 0 ||
        !(message = sim_message_find(sim, &envelope.message_id)))
        return;
    message->delivered = true;
    end = m.envelope.p + m.envelope.n;
    if ((m.flags & AL_DELIVER_GAP) &&
        al_ext_find(al_str_of(end, (uint32_t)(frame->body.p + frame->body.n - end)),
                    AL_DELIVER_EXT_GAP, &count) &&
        count.n == 2)
        message->missing_before = al_get16(count.p);
}

/* How many were given up right before this one. */
static uint32_t given_up_before(const struct sim *sim, const struct sim_message *message)
{
    uint32_t count = 0;

    while (message->follows && sim->ledger->messages[message->follows - 1].given_up) {
        message = &sim->ledger->messages[message->follows - 1];
        count++;
    }
    return count;
}

void sim_lossy_account(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->ledger->message_count && !sim->failed; i++) {
        const struct sim_message *m = &sim->ledger->messages[i];
        uint32_t count = given_up_before(sim, m);

        if (count && m->delivered && m->missing_before < count && !sim->clients[m->sender].life)
            sim_fail(sim, "message %u was delivered, %u before it were given up, it says %u",
                     m->number, count, m->missing_before);
    }
}
