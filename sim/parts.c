/* parts.c - replies in parts: what recipients say, and the checks of what requesters get.
 *
 * What a part says follows from its message, its run and its number, so that whoever holds one can
 * tell whether it is right. The tap notes each PART that comes in under a lease that counts; a
 * REPLY_PART must be one of those, in their order, each once, and go to where the message came
 * from. The end mark must be the one that the acknowledgement had. */
#include "base/errors.h"
#include "ledger.h"
#include <string.h>

#define MANY_PRODUCERS UINT64_MAX

/* ---- what is said ------------------------------------------------------------------------ */

uint32_t sim_part_text(const struct sim_message *message, uint64_t attempt, uint32_t part,
                       uint8_t ret_text[SIM_PART_SIZE])
{
    uint64_t mix = sim_mix64(attempt * 131 + message->number * 7919ull + part);
    uint32_t size = 1 + (uint32_t)(mix % (mix >> 60 ? 40 : SIM_PART_SIZE - 8));

    for (uint32_t i = 0; i < size; i += 8) {
        mix = sim_mix64(mix);
        al_put64(ret_text + i, mix);
    }
    return size;
}

static bool is_said(const struct sim_message *message, uint64_t attempt, uint32_t part,
                    struct al_str data)
{
    uint8_t text[SIM_PART_SIZE];
    uint32_t size = sim_part_text(message, attempt, part, text);

    return data.n == size && memcmp(data.p, text, size) == 0;
}

void sim_parts_response(const struct sim_message *message, uint64_t attempt, uint32_t count,
                        struct al_str response, struct al_buf *ret_body)
{
    uint8_t text[SIM_PART_SIZE], size[4];
    struct al_msg_parts m = {.attempt = attempt,
                             .count = count,
                             .response_type = al_str_c(response.n ? "text/plain" : ""),
                             .response = response};
    struct al_buf list;

    al_buf_init(&list, &sim_heap);
    for (uint32_t part = 1; part <= count; part++) {
        uint32_t n = sim_part_text(message, attempt, part, text);

        al_put32(size, n);
        al_buf_put(&list, size, sizeof(size));
        al_buf_put(&list, text, n);
    }
    m.parts = al_str_of(list.data, (uint32_t)list.size);
    al_buf_clear(ret_body);
    al_buf_reserve(ret_body, al_size_parts(&m));
    ret_body->size = (size_t)(al_encode_parts(ret_body->data, &m) - ret_body->data);
    al_buf_deinit(&list);
}

/* ---- the tap: where messages come from --------------------------------------------------- */

void sim_parts_producer(struct sim *sim, uint32_t conn, uint64_t producer)
{
    for (uint32_t i = 0; i < SIM_CONNS; i++) {
        if (sim->ledger->producers[i] == producer)
            sim->ledger->producers[i] = 0;
    }
    sim->ledger->producers[conn] = producer;
}

void sim_parts_published(struct sim *sim, uint32_t conn, struct al_str envelope)
{
    uint64_t producer = sim->ledger->producers[conn];
    struct al_msg_envelope m;
    struct sim_message *message;

    if (al_decode_envelope(envelope, &m) < 0)
        return;
    message = sim_message_find(sim, &m.message_id);
    if (message && message->producer && message->producer != producer)
        message->producer = MANY_PRODUCERS;
    else if (message)
        message->producer = producer;
}

/* ---- the tap: parts ---------------------------------------------------------------------- */

/* True if the node knows this lease for certain, and where its sender is. */
static bool must_arrive(const struct sim *sim, const struct sim_slot *slot)
{
    const struct sim_message *message = &sim->ledger->messages[slot->message - 1];

    if (slot->lease_void || !slot->out || sim->mono_ns >= slot->given_ns + slot->lease_ns ||
        !(message->flags & AL_PUBLISH_NOTIFY) || !message->producer)
        return false;
    for (uint32_t i = 0; i < SIM_CONNS; i++) {
        if (sim->ledger->producers[i] == message->producer && !sim->conns[i].deaf)
            return true;
    }
    return false;
}

void sim_parts_up(struct sim *sim, const struct al_msg_part *m)
{
    struct sim_ledger *ledger = sim->ledger;
    struct sim_slot *slot;
    struct sim_said *said;

    if (m->stream == 0 || m->stream >= ledger->stream_cap || m->seq == 0 ||
        m->seq > ledger->streams[m->stream].last_seq)
        return;
    slot = &ledger->streams[m->stream].slots[m->seq];
    if (!sim_lease_is_good(sim, slot, m->lease) || !slot->message)
        return;
    if (ledger->said_count == ledger->said_cap) {
        ledger->said_cap = ledger->said_cap ? ledger->said_cap * 2 : 16;
        ledger->said = sim_xrealloc(ledger->said, ledger->said_cap * sizeof(*ledger->said));
    }
    said = &ledger->said[ledger->said_count++];
    *said = (struct sim_said){.stream = m->stream,
                              .part = m->part,
                              .seq = m->seq,
                              .attempt = m->attempt,
                              .acked = slot->pending != 0};
    said->must_arrive = !said->acked && must_arrive(sim, slot);
    slot->tries += said->acked; /* this one will be refused, not the ack */
}

/* The next one that was said, from where the last one was found. */
static const struct sim_said *next_said(struct sim_ledger *ledger,
                                        const struct al_msg_reply_part *m)
{
    while (ledger->said_next < ledger->said_count) {
        struct sim_said *said = &ledger->said[ledger->said_next++];

        if (said->stream == m->stream && said->seq == m->seq && said->attempt == m->attempt &&
            said->part == m->part) {
            said->must_arrive = false;
            return said;
        }
    }
    return NULL;
}

static void check_place(struct sim *sim, uint32_t conn, const struct sim_message *message)
{
    if (sim->conns[conn].client != message->sender)
        sim_fail(sim, "a part for message %u of client %u goes to client %u", message->number,
                 message->sender, sim->conns[conn].client);
    else if (message->producer != MANY_PRODUCERS &&
             message->producer != sim->ledger->producers[conn])
        sim_fail(sim, "a part for message %u goes to a connection without its producer",
                 message->number);
    else if (!(message->flags & AL_PUBLISH_NOTIFY))
        sim_fail(sim, "a part for message %u, whose sender wants to be told nothing",
                 message->number);
}

void sim_parts_down(struct sim *sim, uint32_t conn, const struct al_msg_reply_part *m)
{
    const struct sim_message *message = sim_message_find(sim, &m->message_id);
    const struct sim_said *said = next_said(sim->ledger, m);
    const struct sim_slot *slot;

    sim_note(sim, "  node passes on part % of %:%", m->part, m->stream, m->seq);
    if (!said) {
        sim_fail(sim,
                 "part %u of %u:%llu is passed on; none was said under a lease that counts, or it "
                 "was passed on before",
                 m->part, m->stream, (unsigned long long)m->seq);
        return;
    }
    slot = &sim->ledger->streams[m->stream].slots[m->seq];
    if (!message || slot->message != message->number + 1) {
        sim_fail(sim, "a part of the reply to %u:%llu names another message", m->stream,
                 (unsigned long long)m->seq);
        return;
    }
    if (said->acked && slot->pending)
        sim_fail(sim, "part %u of %u:%llu is passed on behind the end mark", m->part, m->stream,
                 (unsigned long long)m->seq);
    if (!is_said(message, m->attempt, m->part, m->data))
        sim_fail(sim, "part %u of message %u has become another", m->part, message->number);
    check_place(sim, conn, message);
    sim->tally.reached[SIM_REACHED_PART]++;
}

void sim_parts_step_end(struct sim *sim)
{
    struct sim_ledger *ledger = sim->ledger;

    for (uint32_t i = 0; i < ledger->said_count; i++) {
        if (ledger->said[i].must_arrive)
            sim_fail(sim, "part %u of %u:%llu is not passed on; its lease counts, its sender waits",
                     ledger->said[i].part, ledger->said[i].stream,
                     (unsigned long long)ledger->said[i].seq);
    }
    ledger->said_count = ledger->said_next = 0;
}

void sim_parts_acked(struct sim_slot *slot, const struct al_msg_ack *m)
{
    struct al_msg_parts parts;

    slot->mark_attempt = slot->mark_count = 0;
    if (m && al_str_eq(m->response_type, al_str_c(AL_PARTS_TYPE)) &&
        al_decode_parts(m->response, &parts) == 0) {
        slot->mark_attempt = parts.attempt;
        slot->mark_count = parts.count;
    }
}

/* ---- what requesters get ----------------------------------------------------------------- */

void sim_told_part(struct sim *sim, const struct al_msg_reply_part *m)
{
    struct sim_message *message = sim_message_find(sim, &m->message_id);

    if (!message)
        return; /* the tap has said so */
    if (message->end_told && !message->key && !message->redrives &&
        !sim->ledger->inboxes[message->to].redrives)
        sim_fail(sim, "a part of the reply to message %u comes behind its end", message->number);
    if (message->part_attempt == m->attempt && m->part <= message->part_last)
        sim_fail(sim, "message %u: part %u comes behind part %u", message->number, m->part,
                 message->part_last);
    message->part_attempt = m->attempt;
    message->part_last = m->part;
}

bool sim_parts_check_end(struct sim *sim, const struct sim_message *message,
                         const struct sim_slot *slot, const struct al_msg_end *m,
                         struct al_str *ret_response)
{
    struct al_msg_parts parts;
    struct al_str list;
    uint32_t part = 0;

    *ret_response = m->response;
    if (!al_str_eq(m->response_type, al_str_c(AL_PARTS_TYPE)))
        return !slot->mark_count;
    if (al_decode_parts(m->response, &parts) < 0 || parts.attempt != slot->mark_attempt ||
        parts.count != slot->mark_count ||
        (message->part_attempt == parts.attempt && message->part_last > parts.count))
        return false;
    for (list = parts.parts; list.n >= 4; part++) {
        uint32_t size = al_get32(list.p);

        if (size > list.n - 4 ||
            !is_said(message, parts.attempt, part + 1, al_str_of(list.p + 4, size)))
            return false;
        list = al_str_of(list.p + 4 + size, list.n - 4 - size);
    }
    *ret_response = parts.response;
    sim->tally.reached[SIM_REACHED_PARTS_END]++;
    return list.n == 0 && part == parts.count;
}
