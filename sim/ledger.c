/* ledger.c - messages, streams, slots: the bookkeeping of the facts. */
#include "ledger.h"
#include "base/errors.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEQ_MAX 1000000u

struct sim_ledger *sim_ledger_new(void)
{
    struct sim_ledger *ledger = sim_xrealloc(NULL, sizeof(*ledger));

    memset(ledger, 0, sizeof(*ledger));
    ledger->tap_generation = 1;
    ledger->dead = sim_letters_new();
    ledger->lanes = sim_lanes_new();
    ledger->kinds = sim_kinds_new();
    ledger->identities = sim_identities_new();
    ledger->seals = sim_seals_new();
    sim_groups_init(ledger);
    return ledger;
}

void sim_ledger_free(struct sim_ledger *ledger)
{
    if (!ledger)
        return;
    for (uint32_t i = 0; i < ledger->stream_cap; i++)
        free(ledger->streams[i].slots);
    free(ledger->streams);
    free(ledger->messages);
    free(ledger->keys);
    for (uint32_t g = 0; g < SIM_GROUPS; g++)
        free(ledger->groups[g].entries);
    free(ledger->firings);
    sim_workflows_free(ledger);
    sim_letters_free(ledger->dead);
    sim_lanes_free(ledger->lanes);
    sim_kinds_free(ledger->kinds);
    free(ledger->identities);
    sim_seals_free(ledger->seals);
    free(ledger->pending);
    free(ledger->said);
    free(ledger);
}

/* ---- messages ---------------------------------------------------------------------------- */

static struct al_id make_id(const struct sim *sim, uint32_t number)
{
    uint64_t a = sim_mix64(sim->seed * 31 + number), b = sim_mix64(a);
    uint8_t random[16];

    al_put64(random, a);
    al_put64(random + 8, b);
    al_put32(random, number);
    return al_id_from_random(random);
}

struct sim_message *sim_message_new(struct sim *sim)
{
    struct sim_ledger *ledger = sim->ledger;
    struct sim_message *message;

    if (ledger->message_count == ledger->message_cap) {
        ledger->message_cap = ledger->message_cap ? ledger->message_cap * 2 : 256;
        ledger->messages =
            sim_xrealloc(ledger->messages, ledger->message_cap * sizeof(*ledger->messages));
    }
    message = &ledger->messages[ledger->message_count];
    memset(message, 0, sizeof(*message));
    message->number = ledger->message_count++;
    message->id = make_id(sim, message->number);
    return message;
}

struct sim_message *sim_message_find(struct sim *sim, const struct al_id *id)
{
    uint32_t number = al_get32(id->b);
    struct sim_message *message;

    if (number >= sim->ledger->message_count)
        return NULL;
    message = &sim->ledger->messages[number];
    return al_id_eq(&message->id, id) ? message : NULL;
}

void sim_message_envelope(const struct sim *sim, const struct sim_message *message,
                          struct al_buf *ret_envelope)
{
    struct al_msg_envelope m = {.message_id = message->id, .timestamp_ms = SIM_WALL_START};
    uint64_t seed = sim_mix64(sim->seed ^ (message->key ? message->key * 977u + message->body
                                                        : message->number + 1000003u));
    static const uint8_t wants_parts[] = {AL_EXT_PARTS, 0, 1, 0, '1'};
    uint32_t flow = sim_workflow_of(message);
    uint8_t ext[24];
    char key[16];
    uint8_t *payload = sim_xrealloc(NULL, message->size + 8);
    size_t size;

    for (uint32_t i = 0; i < message->size; i += 8) {
        seed = sim_mix64(seed);
        al_put64(payload + i, seed);
    }
    m.kind = al_str_c(sim_kind_name(message));
    snprintf(key, sizeof(key), "k%u", message->key);
    if (message->key)
        m.key = al_str_c(key);
    m.content_type = al_str_c("application/octet-stream");
    if (message->wants_parts)
        m.ext = al_str_of(wants_parts, sizeof(wants_parts));
    if (flow != SIM_NONE) {
        struct al_str space;
        uint32_t n = m.ext.n;
        char id[8];

        sim_workflow_name(flow, &space, id);
        memcpy(ext, wants_parts, n);
        al_put16(ext + n, AL_EXT_WORKFLOW_ID);
        al_put16(ext + n + 2, (uint16_t)strlen(id));
        memcpy(ext + n + 4, id, strlen(id));
        m.ext = al_str_of(ext, n + 4 + strlen(id));
    }
    m.payload = al_str_of(payload, message->size);
    size = al_size_envelope(&m);
    al_buf_clear(ret_envelope);
    al_buf_reserve(ret_envelope, size);
    al_encode_envelope(ret_envelope->data, &m);
    ret_envelope->size = size;
    free(payload);
}

void sim_message_response(const struct sim_message *message, unsigned status, char ret_text[32])
{
    snprintf(ret_text, 32, "answer %u status %u", message->number, status);
}

void sim_label_text(unsigned label, char ret_text[8])
{
    ret_text[0] = 0;
    if (label)
        snprintf(ret_text, 8, "l%u", label % 1000);
}

uint32_t sim_key_new(struct sim *sim)
{
    struct sim_ledger *ledger = sim->ledger;

    if (ledger->key_count + 1 >= ledger->key_cap) {
        ledger->key_cap = ledger->key_cap ? ledger->key_cap * 2 : 64;
        ledger->keys = sim_xrealloc(ledger->keys, ledger->key_cap * sizeof(*ledger->keys));
    }
    ledger->key_count++;
    memset(&ledger->keys[ledger->key_count], 0, sizeof(*ledger->keys));
    return ledger->key_count;
}

/* ---- streams ----------------------------------------------------------------------------- */

struct sim_stream *sim_stream(struct sim *sim, uint32_t number)
{
    struct sim_ledger *ledger = sim->ledger;

    if (number == 0 || number > 100000) {
        sim_fail(sim, "the node speaks of stream %u", number);
        return NULL;
    }
    if (number >= ledger->stream_cap) {
        uint32_t cap = ledger->stream_cap ? ledger->stream_cap : 64;

        while (cap <= number)
            cap *= 2;
        ledger->streams = sim_xrealloc(ledger->streams, cap * sizeof(*ledger->streams));
        memset(ledger->streams + ledger->stream_cap, 0,
               (cap - ledger->stream_cap) * sizeof(*ledger->streams));
        ledger->stream_cap = cap;
    }
    return &ledger->streams[number];
}

struct sim_slot *sim_slot(struct sim *sim, uint32_t number, uint64_t seq)
{
    struct sim_stream *stream = sim_stream(sim, number);

    if (!stream)
        return NULL;
    if (seq == 0 || seq > SEQ_MAX) {
        sim_fail(sim, "the node speaks of sequence %llu in stream %u", (unsigned long long)seq,
                 number);
        return NULL;
    }
    if (seq >= stream->slot_cap) {
        uint32_t cap = stream->slot_cap ? stream->slot_cap : 32;

        while (cap <= seq)
            cap *= 2;
        stream->slots = sim_xrealloc(stream->slots, cap * sizeof(*stream->slots));
        memset(stream->slots + stream->slot_cap, 0,
               (cap - stream->slot_cap) * sizeof(*stream->slots));
        stream->slot_cap = cap;
    }
    if (seq > stream->last_seq)
        stream->last_seq = seq;
    return &stream->slots[seq];
}

void sim_told_stream(struct sim *sim, uint32_t number, const struct sim_message *like)
{
    struct sim_stream *stream = sim_stream(sim, number);

    if (!stream)
        return;
    if (!stream->known) {
        stream->known = true;
        stream->from = like->from;
        stream->to = like->to;
        stream->label = like->label;
        stream->priority = like->priority;
    } else if (stream->from != like->from || stream->to != like->to ||
               stream->label != like->label || stream->priority != like->priority) {
        sim_fail(sim, "stream %u has become another stream", number);
    }
}

bool sim_key_may_have_expired(const struct sim *sim, const struct sim_message *message)
{
    return message->key &&
           sim->mono_ns - message->sent_ns >= sim->profile.dedup_ttl_ms * AL_NS_PER_MS;
}

/* Message and place belong together from now on. */
static struct sim_slot *bind(struct sim *sim, struct sim_message *message, uint32_t stream,
                             uint64_t seq)
{
    struct sim_slot *slot = sim_slot(sim, stream, seq);

    if (!slot)
        return NULL;
    sim_message_placed(sim, message, stream);
    sim_told_stream(sim, stream, message);
    if (slot->message && slot->message != message->number + 1) {
        sim_fail(sim, "%u:%llu was message %u and is now message %u", stream,
                 (unsigned long long)seq, slot->message - 1, message->number);
        return NULL;
    }
    if (message->refused) {
        sim_fail(sim, "message %u was refused for good and is at %u:%llu", message->number, stream,
                 (unsigned long long)seq);
        return NULL;
    }
    if (message->stream && (message->stream != stream || message->seq < seq) &&
        !sim_key_may_have_expired(sim, message) &&
        message->redrives + sim->ledger->inboxes[message->to].redrives == 0) {
        sim_fail(sim, "message %u was taken twice: at %u:%llu and at %u:%llu", message->number,
                 message->stream, (unsigned long long)message->seq, stream,
                 (unsigned long long)seq);
        return NULL;
    }
    if (message->to >= SIM_AGENTS)
        sim_group_place(sim, message, seq);
    slot->message = message->number + 1;
    if (!message->stream || message->seq < seq) {
        message->stream = stream;
        message->seq = seq;
    }
    return slot;
}

/* ---- publishing -------------------------------------------------------------------------- */

static void told_key(struct sim *sim, struct sim_message *message, uint32_t stream, uint64_t seq)
{
    struct sim_key *key = &sim->ledger->keys[message->key];
    uint64_t ttl_ns = sim->profile.dedup_ttl_ms * AL_NS_PER_MS;

    if (!key->stream) {
        *key = (struct sim_key){stream, seq, message->sent_ns, message->body};
        return;
    }
    if (key->stream == stream && key->seq == seq) {
        if (key->body != message->body)
            sim_fail(sim, "key k%u was used for two different messages, and both were taken",
                     message->key);
        return;
    }
    /* A redriven message has moved; a key may expire. */
    if (sim->ledger->messages[message->number].redrives ||
        sim->ledger->inboxes[message->to].redrives || sim->mono_ns - key->sent_ns >= ttl_ns)
        return;
    sim_fail(sim, "key k%u was taken twice: at %u:%llu and at %u:%llu", message->key, key->stream,
             (unsigned long long)key->seq, stream, (unsigned long long)seq);
}

void sim_told_receipt(struct sim *sim, struct sim_message *message,
                      const struct al_msg_receipt *receipt, uint64_t seq)
{
    uint32_t stream = receipt->stream;
    struct sim_slot *slot;

    sim->ledger->receipts++;
    if (message->flags & AL_PUBLISH_VOLATILE)
        sim_fail(sim, "volatile message %u got a receipt", message->number);
    if (receipt->durability != AL_DURABILITY_LOCAL)
        sim_fail(sim, "a receipt with durability %u", receipt->durability);
    if (!message->receipted)
        message->receipt_ns = sim->mono_ns;
    message->receipted = true;
    if (seq == 0)
        return;
    if (receipt->duplicate) {
        /* "the first receipt": the place may belong to an earlier message with the same key, and
         * to one that was redriven since */
        slot = sim_slot(sim, stream, seq);
        if (slot && slot->message && slot->message != message->number + 1) {
            const struct sim_message *first = &sim->ledger->messages[slot->message - 1];

            if (!message->key || first->key != message->key)
                sim_fail(sim, "the receipt of message %u points at message %u", message->number,
                         first->number);
            else if (message->key)
                told_key(sim, message, stream, seq);
            message->receipted = false; /* the first one counts */
            return;
        }
        if (slot && !slot->message && message->stream && message->seq > seq)
            return; /* where it stood before it was redriven */
    }
    if (message->key)
        told_key(sim, message, stream, seq);
    if (!sim->failed)
        (void)bind(sim, message, stream, seq);
}

void sim_told_refused(struct sim *sim, struct sim_message *message, int code)
{
    sim->ledger->refusals++;
    if (al_error_is_retryable(code))
        return;
    sim_note(sim, "message % is refused for good: !", message->number, (uint64_t)code, 0);
    if (message->receipted)
        sim_fail(sim, "message %u has a receipt and is refused: %s", message->number,
                 al_error_name(code));
    /* A number of this life was given up: a copy from an earlier one may have come in meanwhile. */
    if (code == AL_E_GAP_CLOSED && message->sent_life != sim->clients[message->sender].life)
        return;
    message->refused = code != AL_E_KEY_DEAD;
    if (code == AL_E_NOT_MEMBER)
        sim_group_refused(sim, message);
    if (message->stream && code != AL_E_KEY_DEAD)
        sim_fail(sim, "message %u is at %u:%llu and is refused: %s", message->number,
                 message->stream, (unsigned long long)message->seq, al_error_name(code));
}

/* ---- delivering -------------------------------------------------------------------------- */

/* What prev_seq says about the places in between: they were dropped. */
static void told_prev(struct sim *sim, const struct al_msg_deliver *m)
{
    struct sim_stream *stream = sim_stream(sim, m->stream);

    if (m->prev_seq >= m->seq) {
        sim_fail(sim, "%u:%llu names %llu as the one before", m->stream, (unsigned long long)m->seq,
                 (unsigned long long)m->prev_seq);
        return;
    }
    for (uint64_t seq = m->prev_seq + 1; seq < m->seq && seq < stream->slot_cap; seq++) {
        struct sim_slot *slot = &stream->slots[seq];

        if (slot->end_state == AL_STATE_DELIVERED || slot->end_state == AL_STATE_PARTIAL)
            sim_fail(sim, "%u:%llu ended well, but %llu names %llu as the one before", m->stream,
                     (unsigned long long)seq, (unsigned long long)m->seq,
                     (unsigned long long)m->prev_seq);
        if (!(slot->flags & SIM_SLOT_SKIPPED))
            slot->flags |= SIM_SLOT_SKIPPED;
    }
}

void sim_check_body(struct sim *sim, const struct sim_message *message, struct al_str envelope)
{
    struct al_buf buf;

    al_buf_init(&buf, &sim_heap);
    sim_message_envelope(sim, message, &buf);
    if (buf.size != envelope.n || memcmp(buf.data, envelope.p, buf.size) != 0)
        sim_fail(sim, "message %u comes with another content than it was sent with",
                 message->number);
    al_buf_deinit(&buf);
}

void sim_told_deliver(struct sim *sim, const struct al_msg_deliver *m)
{
    struct al_msg_envelope envelope;
    struct sim_message *message;
    struct sim_slot *slot;
    char text[16];

    sim->ledger->deliveries++;
    if (al_decode_envelope(m->envelope, &envelope) < 0 ||
        !(message = sim_message_find(sim, &envelope.message_id)) || !message->sent) {
        sim_fail(sim, "%u:%llu is a message that nobody sent", m->stream,
                 (unsigned long long)m->seq);
        return;
    }
    sim_check_body(sim, message, m->envelope);
    if (message->to >= SIM_AGENTS)
        sim_fail(sim, "message %u to a group comes without the group", message->number);
    sim_message_placed(sim, message, m->stream);
    sim_agent_name(message->from, text);
    if (!al_str_eq(m->from, al_str_c(text)) || m->priority != message->priority)
        sim_fail(sim, "message %u comes with another sender or priority", message->number);
    sim_label_text(message->label, text);
    if (!al_str_eq(m->label, al_str_c(text)))
        sim_fail(sim, "message %u comes with another label", message->number);
    if (message->flags & AL_PUBLISH_VOLATILE)
        return;
    slot = sim->failed ? NULL : bind(sim, message, m->stream, m->seq);
    if (!slot)
        return;
    if (m->attempt < 1 || m->attempt > sim->profile.policy.retry_max + 1)
        sim_fail(sim, "message %u comes as attempt %u of at most %u", message->number, m->attempt,
                 sim->profile.policy.retry_max + 1);
    slot->flags |= SIM_SLOT_SEEN;
    sim->ledger->redeliveries += m->flags & AL_DELIVER_REDELIVERED;
    told_prev(sim, m);
}

void sim_handler_started(struct sim *sim, uint32_t number, uint64_t seq, uint64_t lease,
                         bool redelivered)
{
    struct sim_slot *slot = sim_slot(sim, number, seq);
    struct sim_stream *stream = sim_stream(sim, number);

    if (!slot)
        return;
    sim->ledger->starts++;
    slot->starts++;
    if (slot->message)
        sim->ledger->messages[slot->message - 1].starts++;
    /* A receiver that has lost its lease and does not know it yet cannot be helped; what it does
     * counts for the marks of later deliveries only. */
    if (!sim_lease_is_good(sim, slot, lease))
        return;
    if (slot->starts > 1 && !redelivered)
        sim_fail(sim, "%u:%llu is worked on again and was not marked as redelivered", number,
                 (unsigned long long)seq);
    if (seq < stream->max_started && slot->starts == 1)
        sim_fail(sim, "%u:%llu comes to a handler after %llu of its stream", number,
                 (unsigned long long)seq, (unsigned long long)stream->max_started);
    if (seq > stream->max_started)
        stream->max_started = seq;
}

void sim_handler_skipped(struct sim *sim, uint32_t number, uint64_t seq, uint64_t lease)
{
    struct sim_slot *slot = sim_slot(sim, number, seq);

    if (slot && sim_lease_is_good(sim, slot, lease))
        slot->starts++; /* its turn has come; if it comes again, that is no overtaking */
}

/* ---- ends -------------------------------------------------------------------------------- */

static void told_ended(struct sim *sim, struct sim_slot *slot, uint32_t stream, uint64_t seq,
                       uint8_t state)
{
    slot->flags |= SIM_SLOT_ENDED;
    if (state == 0 || state == AL_STATE_ENDED)
        return;
    if (slot->end_state && slot->end_state != state)
        sim_fail(sim, "%u:%llu ended in state %u and in state %u", stream, (unsigned long long)seq,
                 slot->end_state, state);
    slot->end_state = state;
    if (state < AL_STATE_FAILED && !slot->well_ns)
        slot->well_ns = sim->mono_ns;
    if (slot->message && state >= AL_STATE_FAILED)
        sim->ledger->messages[slot->message - 1].dead_seen = true;
}

void sim_told_acked(struct sim *sim, const struct al_msg_acked *m)
{
    uint32_t count = 0;

    sim->ledger->acks++;
    for (uint64_t seq = m->seq; seq <= m->last_seq; seq++) {
        struct sim_slot *slot = sim_slot(sim, m->stream, seq);

        if (!slot)
            return;
        if (slot->good || (slot->flags & SIM_SLOT_NACKED)) {
            told_ended(sim, slot, m->stream, seq, 0);
            if (!slot->well_ns && !(slot->good & 1u << AL_STATUS_FAILED) &&
                !(slot->flags & SIM_SLOT_NACKED))
                slot->well_ns = sim->mono_ns;
            count++;
        }
    }
    if (count < m->count)
        sim_fail(sim, "%u acks of stream %u are confirmed from %llu to %llu; %u were given",
                 m->count, m->stream, (unsigned long long)m->seq, (unsigned long long)m->last_seq,
                 count);
}

/* May a delivery have this end, by what its receivers did? */
static bool end_is_possible(const struct sim_message *message, const struct sim_slot *slot,
                            uint8_t state)
{
    if (message->to >= SIM_AGENTS) /* at all members */
        return state == AL_STATE_DELIVERED || state == AL_STATE_PARTIAL;
    switch (state) {
    case AL_STATE_DELIVERED:
        return slot->good & 1u << AL_STATUS_SUCCESS;
    case AL_STATE_PARTIAL:
        return slot->good & 1u << AL_STATUS_PARTIAL;
    case AL_STATE_FAILED:
        return slot->good & 1u << AL_STATUS_FAILED;
    case AL_STATE_EXPIRED:
        return message->ttl_ms > 0;
    case AL_STATE_CANCELLED:
        return message->cancel_asked;
    default:
        return state >= AL_STATE_DELIVERED && state <= AL_STATE_ENDED;
    }
}

static void check_answer(struct sim *sim, const struct sim_message *message,
                         const struct sim_slot *slot, const struct al_msg_end *m)
{
    struct al_str response;
    char text[32];

    if (m->state != AL_STATE_DELIVERED && m->state != AL_STATE_PARTIAL)
        return;
    if (!sim_parts_check_end(sim, message, slot, m, &response))
        sim_fail(sim,
                 "the end of message %u at %u:%llu comes with another end mark than the ack had",
                 message->number, m->stream, (unsigned long long)m->seq);
    if (response.n == 0)
        return;
    sim_message_response(message, m->state == AL_STATE_DELIVERED ? 1 : 2, text);
    if (!al_str_eq(response, al_str_c(text)))
        sim_fail(sim, "the end of message %u comes with a wrong response", message->number);
}

void sim_told_end(struct sim *sim, const struct al_msg_end *m)
{
    struct sim_message *message = sim_message_find(sim, &m->message_id);
    struct sim_slot *slot = sim_slot(sim, m->stream, m->seq);

    sim->ledger->ends++;
    if (!slot)
        return;
    if (!message && slot->message) /* END_WATCH: the id is not always known any more */
        message = &sim->ledger->messages[slot->message - 1];
    if (!message || (slot->message && slot->message != message->number + 1)) {
        sim_fail(sim, "END of %u:%llu is about an unknown message", m->stream,
                 (unsigned long long)m->seq);
        return;
    }
    if (!bind(sim, message, m->stream, m->seq))
        return;
    if (!end_is_possible(message, slot, m->state))
        sim_fail(sim, "END says that %u:%llu ended in state %u; nobody made it so", m->stream,
                 (unsigned long long)m->seq, m->state);
    if (message->to >= SIM_AGENTS)
        sim_group_told_end(sim, message, m->state);
    else if (message->flags & AL_PUBLISH_NOTIFY)
        check_answer(sim, message, slot, m);
    if (message->to < SIM_AGENTS)
        told_ended(sim, slot, m->stream, m->seq, m->state);
    message->end_told = true;
}

void sim_told_record(struct sim *sim, const struct al_msg_record *m, bool asked_ended)
{
    struct sim_message *message;
    struct sim_slot *slot;

    sim->ledger->records++;
    if (m->seq == 0) /* scheduled: no place yet */
        return;
    slot = sim_slot(sim, m->stream, m->seq);
    if (!slot)
        return;
    message = al_id_is_zero(&m->message_id) ? NULL : sim_message_find(sim, &m->message_id);
    if (message && !bind(sim, message, m->stream, m->seq))
        return;
    if (!slot->message)
        return; /* a message whose sender never learned that it was taken */
    message = &sim->ledger->messages[slot->message - 1];
    if (message->to >= SIM_AGENTS) { /* who joins and catches up has it before him again */
        if (m->state != AL_STATE_WAITING && !end_is_possible(message, slot, m->state))
            sim_fail(sim, "RECORD says that a group's message is in state %u", m->state);
        return;
    }
    if (m->state < AL_STATE_DELIVERED) {
        if (asked_ended)
            sim_fail(sim, "%u:%llu had ended and is in state %u again", m->stream,
                     (unsigned long long)m->seq, m->state);
        return;
    }
    if (!end_is_possible(message, slot, m->state))
        sim_fail(sim, "RECORD says that %u:%llu ended in state %u; nobody made it so", m->stream,
                 (unsigned long long)m->seq, m->state);
    told_ended(sim, slot, m->stream, m->seq, m->state);
}

void sim_told_settled(struct sim *sim, const struct sim_message *message, unsigned status)
{
    struct sim_slot *slot;

    if (!message->stream || message->redrives || sim->ledger->inboxes[message->to].redrives)
        return; /* of which of its places? */
    slot = sim_slot(sim, message->stream, message->seq);
    if (slot)
        told_ended(sim, slot, message->stream, message->seq,
                   status == AL_STATUS_SUCCESS ? AL_STATE_DELIVERED : AL_STATE_PARTIAL);
}

struct sim_slot *sim_told_kept(struct sim *sim, struct sim_message *message, uint32_t stream,
                               uint64_t seq)
{
    struct sim_slot *slot = bind(sim, message, stream, seq);

    if (!slot)
        return NULL;
    told_ended(sim, slot, stream, seq, 0);
    if (slot->end_state >= AL_STATE_FAILED)
        sim_fail(sim, "%u:%llu ended in state %u and is replayed", stream, (unsigned long long)seq,
                 slot->end_state);
    return slot;
}

void sim_told_letter(struct sim *sim, const struct al_msg_dlq_row *m)
{
    struct sim_message *message = sim_message_find(sim, &m->message_id);
    struct sim_slot *slot;

    sim->ledger->letters++;
    if (!message || !message->sent) {
        sim_fail(sim, "a dead letter that nobody sent, at %u:%llu", m->stream,
                 (unsigned long long)m->seq);
        return;
    }
    message->dead_listed = true;
    if (m->envelope.n)
        sim_check_body(sim, message, m->envelope);
    if (m->seq == 0)
        return;
    slot = bind(sim, message, m->stream, m->seq);
    if (!slot)
        return;
    if (m->code == AL_E_DEAD_LETTERED && m->attempts != sim->profile.policy.retry_max + 1)
        sim_fail(sim, "message %u is dead after %u attempts; the policy says %u", message->number,
                 m->attempts, sim->profile.policy.retry_max + 1);
    if (slot->end_state == AL_STATE_DELIVERED || slot->end_state == AL_STATE_PARTIAL)
        sim_fail(sim, "message %u ended well and is a dead letter", message->number);
    told_ended(sim, slot, m->stream, m->seq, 0);
}

/* ---- the account ------------------------------------------------------------------------- */

void sim_final_account(struct sim *sim)
{
    struct sim_ledger *ledger = sim->ledger;

    for (uint32_t i = 0; i < ledger->message_count && !sim->failed; i++) {
        const struct sim_message *m = &ledger->messages[i];
        bool well = m->good & (1u << AL_STATUS_SUCCESS | 1u << AL_STATUS_PARTIAL);

        if (!m->receipted || (m->flags & AL_PUBLISH_VOLATILE) || m->to >= SIM_AGENTS)
            continue;
        if (!well && !m->dead_listed && !m->purged && !m->lost_agent && !m->cancel_asked)
            sim_fail(sim,
                     "message %u (%u:%llu) was acknowledged and is lost: never acked by a "
                     "receiver, not a dead letter",
                     m->number, m->stream, (unsigned long long)m->seq);
    }
}
