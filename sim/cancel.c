/* cancel.c - messages that are taken back: what was promised about them, and what must not happen.
 *
 * DONE is a fact for good when a client has it; what the tap sees at the node holds until the node
 * stops, for a crash may undo what was not flushed yet. */
#include "base/errors.h"
#include "ledger.h"
#include <string.h>

bool sim_cancel_make(struct sim *sim, uint32_t number, struct al_msg_cancel *ret_m)
{
    struct sim_message *message = &sim->ledger->messages[number];
    struct al_msg_cancel m = {.request = 0};

    if (!message->sent || (message->flags & AL_PUBLISH_VOLATILE))
        return false;
    if (message->stream && sim_chance(sim, 500)) {
        m.stream = message->stream;
        m.seq = message->seq;
    } else {
        m.message_id = message->id;
    }
    message->cancel_asked = true;
    *ret_m = m;
    return true;
}

void sim_told_cancelled(struct sim *sim, uint32_t number)
{
    struct sim_message *message = &sim->ledger->messages[number];

    sim_note(sim, "message % is cancelled", number, 0, 0);
    message->cancelled = true;
    message->dead_seen = true;
}

void sim_cancel_up(struct sim *sim, uint32_t conn, const struct al_msg_cancel *m)
{
    struct sim_ledger *ledger = sim->ledger;
    const struct sim_message *message = NULL;
    uint32_t at = m->request % 16;

    if (!al_id_is_zero(&m->message_id)) {
        message = sim_message_find(sim, &m->message_id);
    } else if (m->stream && m->stream < ledger->stream_cap) {
        const struct sim_slot *slot = sim_slot(sim, m->stream, m->seq);

        message = slot && slot->message ? &ledger->messages[slot->message - 1] : NULL;
    }
    if (!message || m->request == 0)
        return;
    ledger->cancels[at].conn = sim->conns[conn].generation * SIM_CONNS + conn;
    ledger->cancels[at].request = m->request;
    ledger->cancels[at].message = message->number;
}

void sim_cancel_down(struct sim *sim, uint32_t conn, const struct al_msg_done *m)
{
    struct sim_ledger *ledger = sim->ledger;
    uint32_t at = m->request % 16;

    if (ledger->cancels[at].conn != sim->conns[conn].generation * SIM_CONNS + conn ||
        ledger->cancels[at].request != m->request || m->request == 0)
        return;
    ledger->cancels[at].request = 0;
    if (m->code == 0)
        ledger->messages[ledger->cancels[at].message].cancelled_generation =
            ledger->tap_generation + 1;
    else if (m->code == AL_E_DAMAGED || m->code == AL_E_INVALID)
        sim_fail(sim, "a CANCEL of message %u is answered with %s", ledger->cancels[at].message,
                 al_error_name(m->code));
}

void sim_cancel_deliver(struct sim *sim, const struct al_msg_deliver *m)
{
    struct al_msg_envelope envelope;
    const struct sim_message *message;

    if (al_decode_envelope(m->envelope, &envelope) < 0)
        return;
    message = sim_message_find(sim, &envelope.message_id);
    if (message &&
        (message->cancelled || message->cancelled_generation == sim->ledger->tap_generation + 1))
        sim_fail(sim, "message %u was taken back by its sender and is given out at %u:%llu",
                 message->number, m->stream, (unsigned long long)m->seq);
}
