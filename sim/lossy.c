/* lossy.c - frames lost or overtaken inside a connection, on channels whose gaps the node repairs.
 *
 * Only publishes suffer. A few messages never get through while faults are on, so that gaps are
 * ended by their policy too. The checkers: a gap is not asked for longer than its time; who is
 * given a message before which some were given up is told so. That nothing given up is ever
 * delivered, and nothing receipted lost, the ledger knows anyway. */
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

void sim_lossy_follows(struct sim *sim, struct sim_lossy *lossy, struct sim_message *message)
{
    (void)sim;
    message->follows = lossy->gaps ? lossy->last_message : 0;
    lossy->last_message = message->number + 1;
}

void sim_lossy_tap(struct sim *sim, uint32_t conn, const struct al_frame *frame)
{
    struct al_msg_gap_nack m;
    struct al_msg_refused refused;

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
