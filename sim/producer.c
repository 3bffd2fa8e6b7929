/* producer.c - a client that sends: channels, sequences, retransmission, refusals, end notices.
 *
 * It keeps what has no answer and sends it again after a reconnect, with the same sequences. When
 * its process crashes it has forgotten its producer; messages with an idempotency key are then sent
 * again by a new one, of the others the outcome stays unknown. */
#include "base/errors.h"
#include "roles.h"
#include <stdlib.h>
#include <string.h>

#define CHANNELS  SIM_CHANNELS
#define COPIES_NS (3000 * AL_NS_PER_MS) /* so long a frame may be under way */

/* A message on its way: sent under pseq and not answered, or waiting to be sent. */
struct item {
    uint32_t message;
    uint64_t pseq;
};

struct channel {
    uint32_t from, to;
    uint8_t label, priority;
    bool open, ready, held, broken, unordered;
    uint64_t next_pseq; /* of the next new message */
    struct item *items; /* oldest first; the first `sent` of them have been sent */
    uint32_t count, cap, sent, unanswered, held_count;
    uint64_t resume_at_ns, resumed_ns, backoff_ms;
    struct sim_lossy lossy;
};

struct producer {
    uint64_t producer; /* 0: none yet */
    uint32_t epoch;
    bool opened, waiting_open;
    struct channel channels[CHANNELS];
    uint32_t channel_count, budget;
    struct al_buf envelope;
    bool goodbye;
    uint64_t watch_at_ns;
};

static void producer_init(struct sim *sim, struct sim_client *client)
{
    struct producer *p = sim_xrealloc(NULL, sizeof(*p));

    memset(p, 0, sizeof(*p));
    al_buf_init(&p->envelope, &sim_heap);
    p->channel_count = (uint32_t)sim_rand_range(&sim->rand, 1, CHANNELS);
    for (uint32_t i = 0; i < p->channel_count; i++) {
        struct channel *c = &p->channels[i];

        c->from = (uint32_t)sim_rand_below(&sim->rand, sim->profile.agents);
        c->to = (uint32_t)sim_rand_below(&sim->rand, sim->profile.agents);
        c->label = (uint8_t)sim_rand_below(&sim->rand, sim->profile.labels);
        c->priority = (uint8_t)(sim_rand_below(&sim->rand, sim->profile.priorities) * 4);
        c->next_pseq = 1;
        if (sim->profile.groups && sim_chance(sim, 400))
            c->to = SIM_AGENTS + (uint32_t)sim_rand_below(&sim->rand, sim->profile.groups);
        sim_lossy_init(sim, &c->lossy);
        if (c->to >= SIM_AGENTS && c->lossy.gaps > AL_GAPS_WAIT) /* others are refused */
            c->lossy.gaps = AL_GAPS_WAIT;
        c->unordered = c->to < SIM_AGENTS && sim_chance(sim, 250);
        if (c->unordered && c->lossy.gaps > AL_GAPS_WAIT)
            c->lossy.gaps = AL_GAPS_WAIT;
        for (uint32_t k = 0; k < i; k++) { /* one channel per stream */
            const struct channel *o = &p->channels[k];

            if (o->from == c->from && o->to == c->to && o->label == c->label &&
                o->priority == c->priority)
                c->broken = true;
        }
    }
    client->role_state = p;
}

static void producer_free(struct sim *sim, struct sim_client *client)
{
    struct producer *p = client->role_state;

    (void)sim;
    for (uint32_t i = 0; i < CHANNELS; i++) {
        free(p->channels[i].items);
        al_buf_deinit(&p->channels[i].lossy.late);
    }
    al_buf_deinit(&p->envelope);
    free(p);
}

/* ---- queue of a channel ------------------------------------------------------------------ */

static void add_item(struct channel *c, uint32_t message)
{
    if (c->count == c->cap) {
        c->cap = c->cap ? c->cap * 2 : 16;
        c->items = sim_xrealloc(c->items, c->cap * sizeof(*c->items));
    }
    c->items[c->count++] = (struct item){message, c->next_pseq++};
}

static void remove_item(struct channel *c, uint32_t index)
{
    c->count--;
    memmove(c->items + index, c->items + index + 1, (c->count - index) * sizeof(*c->items));
    if (index < c->sent)
        c->sent--;
}

static uint32_t find_item(const struct channel *c, uint64_t pseq)
{
    for (uint32_t i = 0; i < c->count; i++) {
        if (c->items[i].pseq == pseq)
            return i;
    }
    return SIM_NONE;
}

/* ---- sending ----------------------------------------------------------------------------- */

static void send_item(struct sim *sim, struct sim_client *client, uint32_t number, uint32_t index)
{
    struct producer *p = client->role_state;
    struct channel *c = &p->channels[number];
    struct sim_message *message = &sim->ledger->messages[c->items[index].message];
    struct al_msg_publish m = {.channel = number + 1,
                               .pseq = c->items[index].pseq,
                               .flags = message->flags,
                               .ttl_ms = message->ttl_ms,
                               .due_ms = message->due_ms};

    sim_message_envelope(sim, message, &p->envelope);
    m.envelope = al_str_of(p->envelope.data, p->envelope.size);
    if (!message->sent) {
        message->sent_ns = sim->mono_ns;
        message->sent_life = client->life;
    }
    message->sent = true;
    if (c->lossy.gaps) { /* answers are not counted here: some frames have none, some have two */
        sim_lossy_publish(sim, client, &c->lossy, &m);
        return;
    }
    SIM_PUT(sim, client, publish, &m);
    c->unanswered++;
    if (sim->faults_on && sim_chance(sim, sim->profile.duplicate_frame)) {
        sim->tally.fault[SIM_FAULT_DUPLICATE_FRAME]++;
        SIM_PUT(sim, client, publish, &m);
        c->unanswered++;
    }
}

static void send_pending(struct sim *sim, struct sim_client *client, uint32_t number)
{
    struct producer *p = client->role_state;
    struct channel *c = &p->channels[number];

    while (client->conn != SIM_NONE && c->ready && !c->held && c->sent < c->count &&
           c->sent < sim->profile.window) {
        const struct sim_message *message = &sim->ledger->messages[c->items[c->sent].message];
        bool silent = message->flags & AL_PUBLISH_VOLATILE;
        uint32_t unanswered = c->unanswered;

        send_item(sim, client, number, c->sent);
        if (silent) { /* no answer will come */
            c->unanswered = unanswered;
            remove_item(c, c->sent);
        } else {
            c->sent++;
        }
    }
}

static void draw_message(struct sim *sim, struct sim_client *client, const struct channel *c)
{
    const struct sim_profile *p = &sim->profile;
    struct sim_message *m = sim_message_new(sim);
    struct sim_key *key;

    m->sender = client->index;
    m->from = c->from;
    m->to = c->to;
    m->label = c->label;
    m->priority = m->channel_priority = c->priority;
    m->size = (uint32_t)sim_rand_skewed(&sim->rand, p->payload_max) - 1;
    if (sim_chance(sim, p->notify))
        m->flags |= AL_PUBLISH_NOTIFY;
    if (sim_chance(sim, p->ttl))
        m->ttl_ms = sim_rand_range(&sim->rand, 20, 3000);
    if (sim_chance(sim, p->due))
        m->due_ms = sim_now(sim).wall_ms + sim_rand_range(&sim->rand, 1, 2500);
    if (c->to >= SIM_AGENTS)
        m->ttl_ms = m->due_ms = 0; /* refused */
    if (sim_chance(sim, p->keyed)) {
        m->key = sim_key_new(sim);
        key = &sim->ledger->keys[m->key];
        key->body = 0;
    } else if (!c->lossy.gaps && sim_chance(sim, p->volatile_)) {
        m->flags = AL_PUBLISH_VOLATILE;
        m->ttl_ms = m->due_ms = 0;
    }
    if (c->lossy.gaps <= AL_GAPS_WAIT && sim_chance(sim, p->of_kind))
        m->flags |= AL_PUBLISH_OF_KIND;
    m->wants_parts =
        c->to < SIM_AGENTS && (m->flags & AL_PUBLISH_NOTIFY) && sim_chance(sim, p->parts);
}

static void publish_new(struct sim *sim, struct sim_client *client)
{
    struct producer *p = client->role_state;
    uint32_t number = (uint32_t)sim_rand_below(&sim->rand, p->channel_count);
    struct channel *c = &p->channels[number];
    uint32_t burst = sim_chance(sim, 100) ? 12 : 1;

    if (c->broken || c->count > 200)
        return;
    for (uint32_t i = 0; i < burst; i++) {
        draw_message(sim, client, c);
        sim_lossy_follows(sim, &c->lossy, &sim->ledger->messages[sim->ledger->message_count - 1]);
        add_item(c, sim->ledger->message_count - 1);
    }
    send_pending(sim, client, number);
}

/* ---- opening ----------------------------------------------------------------------------- */

static void open_channels(struct sim *sim, struct sim_client *client)
{
    struct producer *p = client->role_state;

    for (uint32_t i = 0; i < p->channel_count; i++) {
        struct channel *c = &p->channels[i];
        char from[16], to[16], label[8];
        struct al_msg_channel_open m = {.channel = i + 1, .producer = p->producer};

        if (c->broken)
            continue;
        sim_agent_name(c->from, from);
        sim_agent_name(c->to, to);
        sim_label_text(c->label, label);
        m.first_pseq = c->count ? c->items[0].pseq : c->next_pseq;
        m.priority = c->priority;
        m.flags = c->lossy.gaps | (c->unordered ? AL_CHANNEL_UNORDERED : 0);
        al_buf_clear(&c->lossy.late);
        m.from = al_str_c(from);
        m.to = al_str_c(to);
        m.label = al_str_c(label);
        c->open = true;
        c->ready = c->held = false;
        c->sent = c->unanswered = 0;
        c->backoff_ms = 0;
        c->lossy.heard_ns = sim->mono_ns;
        SIM_PUT(sim, client, channel_open, &m);
    }
}

static void producer_ready(struct sim *sim, struct sim_client *client)
{
    struct producer *p = client->role_state;
    struct al_msg_producer_open m = {.request = 1, .producer = p->producer, .epoch = p->epoch};

    if (p->waiting_open)
        return;
    p->waiting_open = true;
    p->opened = p->goodbye = false;
    SIM_PUT(sim, client, producer_open, &m);
}

static void producer_disconnected(struct sim *sim, struct sim_client *client)
{
    struct producer *p = client->role_state;

    (void)sim;
    p->opened = p->waiting_open = false;
    for (uint32_t i = 0; i < p->channel_count; i++)
        p->channels[i].open = p->channels[i].ready = false;
    if (p->goodbye) { /* retired, perhaps: begin anew */
        p->producer = 0;
        p->goodbye = false;
        for (uint32_t i = 0; i < p->channel_count; i++)
            p->channels[i].next_pseq = 1;
        for (uint32_t i = 0; i < p->channel_count; i++)
            p->channels[i].lossy.last_message = 0;
    }
}

/* All that is not answered is taken over by a new producer (keys) or given up. */
static void start_over(struct sim *sim, struct producer *p)
{
    p->producer = 0;
    p->epoch = 0;
    for (uint32_t i = 0; i < p->channel_count; i++) {
        struct channel *c = &p->channels[i];
        uint32_t kept = 0;

        for (uint32_t k = 0; k < c->count; k++) {
            const struct sim_message *m = &sim->ledger->messages[c->items[k].message];

            if (m->key && !m->due_ms)
                c->items[kept++].message = c->items[k].message;
        }
        c->count = kept;
        c->sent = c->unanswered = 0;
        c->lossy.last_message = 0;
        c->next_pseq = 1;
        for (uint32_t k = 0; k < kept; k++)
            c->items[k].pseq = c->next_pseq++;
    }
}

static void producer_crashed(struct sim *sim, struct sim_client *client)
{
    producer_disconnected(sim, client);
    start_over(sim, client->role_state);
}

/* ---- answers ----------------------------------------------------------------------------- */

static void on_receipt(struct sim *sim, struct sim_client *client, const struct al_msg_receipt *m)
{
    struct producer *p = client->role_state;
    struct channel *c;

    if (m->channel == 0 || m->channel > p->channel_count || m->count == 0 || m->count > 100000) {
        sim_fail(sim, "a receipt for channel %u, %u messages", m->channel, m->count);
        return;
    }
    c = &p->channels[m->channel - 1];
    for (uint32_t i = 0; i < m->count && !sim->failed; i++) {
        uint32_t index = find_item(c, m->pseq + i);

        c->unanswered -= c->unanswered > 0;
        if (index == SIM_NONE)
            continue; /* answered before: a frame was sent twice */
        sim_told_receipt(sim, &sim->ledger->messages[c->items[index].message], m,
                         m->seq ? m->seq + i : 0);
        remove_item(c, index);
    }
    c->backoff_ms = 0;
    c->held_count = 0;
    c->lossy.heard_ns = sim->mono_ns;
    send_pending(sim, client, m->channel - 1);
}

static void on_refused(struct sim *sim, struct sim_client *client, const struct al_msg_refused *m)
{
    struct producer *p = client->role_state;
    struct channel *c;
    uint32_t index;

    if (m->channel == 0 || m->channel > p->channel_count)
        return;
    c = &p->channels[m->channel - 1];
    c->unanswered -= c->unanswered > 0;
    index = find_item(c, m->pseq);
    sim_note(sim, "  refused: !, channel %, pseq %", m->code, m->channel, m->pseq);
    if (index == SIM_NONE)
        return;
    if (c->lossy.gaps && m->code == AL_E_STREAM_HELD && !c->held &&
        sim->mono_ns - c->resumed_ns < COPIES_NS)
        return; /* of a copy, sent before it was resumed; or a late copy has stopped it again */
    c->lossy.heard_ns = sim->mono_ns;
    sim_told_refused(sim, &sim->ledger->messages[c->items[index].message], m->code);
    if (m->code == AL_E_GAP_CLOSED) { /* the channel goes on */
        sim->ledger->messages[c->items[index].message].given_up = true;
        remove_item(c, index);
        return;
    }
    if (!c->held) {
        c->backoff_ms = c->backoff_ms ? c->backoff_ms * 2 : 20;
        if (c->backoff_ms > 500)
            c->backoff_ms = 500;
        c->resume_at_ns = sim->mono_ns + c->backoff_ms * AL_NS_PER_MS;
        c->held_count++;
    }
    c->held = true;
    /* A full store of keys may be so for a day: when the load is over nobody waits for that. */
    if (!al_error_is_retryable(m->code) || (!sim->load_on && m->code == AL_E_DEDUP_FULL))
        remove_item(c, index);
}

/* A channel that is held goes on when every answer has come and some time has passed. When the
 * load is over a channel that is refused again and again (full queues) gives up. */
static void resume_channels(struct sim *sim, struct sim_client *client)
{
    struct producer *p = client->role_state;

    for (uint32_t i = 0; i < p->channel_count; i++) {
        struct channel *c = &p->channels[i];
        struct al_msg_channel_resume m = {.channel = i + 1};

        if (!c->open || !c->held || c->unanswered > 0 || sim->mono_ns < c->resume_at_ns)
            continue;
        if (!sim->load_on && c->held_count > 20)
            c->count = 0;
        m.first_pseq = c->count ? c->items[0].pseq : c->next_pseq;
        c->held = false;
        c->resumed_ns = sim->mono_ns;
        c->sent = 0;
        al_buf_clear(&c->lossy.late);
        c->lossy.heard_ns = sim->mono_ns;
        SIM_PUT(sim, client, channel_resume, &m);
        send_pending(sim, client, i);
    }
}

static void on_error(struct sim *sim, struct sim_client *client, const struct al_msg_error *m)
{
    struct producer *p = client->role_state;

    if (m->about == AL_MSG_PRODUCER_OPEN) {
        p->waiting_open = false;
        if (m->code == AL_E_PRODUCER_RETIRED)
            start_over(sim, p);
        else if (m->code != AL_E_NOMEM && m->code != AL_E_DISK_FULL)
            sim_fail(sim, "PRODUCER_OPEN is refused: %s", al_error_name(m->code));
        sim_net_close_by_client(sim, client);
        sim_client_disconnected(sim, client);
    } else if (m->about == AL_MSG_CHANNEL_OPEN && m->request >= 1 &&
               m->request <= p->channel_count) {
        p->channels[m->request - 1].open = false;
        sim_net_close_by_client(sim, client); /* try again with a new connection */
        sim_client_disconnected(sim, client);
    } else if (m->about == AL_MSG_END_WATCH || m->about == AL_MSG_PUBLISH) {
        return; /* fatal ones close the connection */
    } else if (m->code != AL_E_NOMEM) {
        sim_fail(sim, "a producer gets ERROR %s about %s", al_error_name(m->code),
                 al_msg_name(m->about) ? al_msg_name(m->about) : "?");
    }
}

static void on_ready(struct sim *sim, struct sim_client *client, const struct al_frame *frame)
{
    struct producer *p = client->role_state;
    struct al_msg_producer_ready m;

    if (!SIM_GET(sim, frame, producer_ready, &m))
        return;
    if (p->producer && (m.producer != p->producer || m.epoch != p->epoch))
        sim_fail(sim, "producer %llu was resumed as %llu", (unsigned long long)p->producer,
                 (unsigned long long)m.producer);
    p->producer = m.producer;
    p->epoch = m.epoch;
    p->opened = true;
    p->waiting_open = false;
    p->watch_at_ns = sim->mono_ns;
    open_channels(sim, client);
    sim_client_wake(sim, client, 0);
}

static void on_channel(struct sim *sim, struct sim_client *client, const struct al_frame *frame)
{
    struct producer *p = client->role_state;
    struct al_msg_channel_ready m;
    struct sim_message like = {0};
    struct channel *c;

    if (!SIM_GET(sim, frame, channel_ready, &m) || m.channel == 0 || m.channel > p->channel_count)
        return;
    c = &p->channels[m.channel - 1];
    c->ready = true;
    like.from = c->from;
    like.to = c->to;
    like.label = c->label;
    like.priority = c->priority;
    sim_told_stream(sim, m.stream, &like);
    send_pending(sim, client, m.channel - 1);
}

static void on_gap(struct sim *sim, struct sim_client *client, const struct al_frame *frame)
{
    struct producer *p = client->role_state;
    struct al_msg_gap_nack m;
    struct channel *c;

    if (!SIM_GET(sim, frame, gap_nack, &m) || m.number == 0 || m.number > p->channel_count)
        return;
    c = &p->channels[m.number - 1];
    if (!c->lossy.gaps || m.start < 1 || m.end < m.start)
        sim_fail(sim, "GAP_NACK %llu to %llu of channel %u", (unsigned long long)m.start,
                 (unsigned long long)m.end, m.number);
    for (uint32_t i = 0; i < c->sent && !c->held && client->conn != SIM_NONE; i++) {
        if (c->items[i].pseq >= m.start && c->items[i].pseq <= m.end)
            send_item(sim, client, m.number - 1, i);
    }
}

/* What was lost at the end of a burst nobody misses: it is sent again after a silence. */
static void repeat_tails(struct sim *sim, struct sim_client *client)
{
    struct producer *p = client->role_state;

    for (uint32_t n = 0; n < p->channel_count; n++) {
        struct channel *c = &p->channels[n];

        if (!c->lossy.gaps || !c->ready || c->held || c->sent == 0 ||
            sim->mono_ns - c->lossy.heard_ns < 1500 * AL_NS_PER_MS)
            continue;
        c->lossy.heard_ns = sim->mono_ns;
        for (uint32_t i = 0; i < c->sent && client->conn != SIM_NONE; i++)
            send_item(sim, client, n, i);
    }
}

static void producer_frame(struct sim *sim, struct sim_client *client, const struct al_frame *frame)
{
    union {
        struct al_msg_receipt receipt;
        struct al_msg_refused refused;
        struct al_msg_end end;
        struct al_msg_reply_part part;
        struct al_msg_error error;
    } m;

    switch (frame->type) {
    case AL_MSG_PRODUCER_READY:
        on_ready(sim, client, frame);
        break;
    case AL_MSG_CHANNEL_READY:
        on_channel(sim, client, frame);
        break;
    case AL_MSG_GAP_NACK:
        on_gap(sim, client, frame);
        break;
    case AL_MSG_RECEIPT:
        if (SIM_GET(sim, frame, receipt, &m.receipt))
            on_receipt(sim, client, &m.receipt);
        break;
    case AL_MSG_REFUSED:
        if (SIM_GET(sim, frame, refused, &m.refused))
            on_refused(sim, client, &m.refused);
        break;
    case AL_MSG_END:
        if (SIM_GET(sim, frame, end, &m.end))
            sim_told_end(sim, &m.end);
        break;
    case AL_MSG_REPLY_PART:
        if (SIM_GET(sim, frame, reply_part, &m.part))
            sim_told_part(sim, &m.part);
        break;
    case AL_MSG_ERROR:
        if (SIM_GET(sim, frame, error, &m.error))
            on_error(sim, client, &m.error);
        break;
    default:
        break;
    }
}

/* ---- waking ------------------------------------------------------------------------------ */

/* Asks for the ends that were missed. */
static void watch_ends(struct sim *sim, struct sim_client *client)
{
    uint32_t asked = 0;

    for (uint32_t i = 0; i < sim->ledger->message_count && asked < 40; i++) {
        const struct sim_message *message = &sim->ledger->messages[i];
        struct al_msg_end_watch m = {.stream = message->stream, .seq = message->seq};

        if (message->sender != client->index || !(message->flags & AL_PUBLISH_NOTIFY) ||
            !message->receipted || !message->stream || message->end_told ||
            (sim->load_on && !sim_chance(sim, 100)))
            continue;
        SIM_PUT(sim, client, end_watch, &m);
        asked++;
    }
}

static void producer_wake(struct sim *sim, struct sim_client *client)
{
    struct producer *p = client->role_state;

    if (!p->opened && client->ready && !p->waiting_open)
        producer_ready(sim, client);
    if (p->opened) {
        resume_channels(sim, client);
        repeat_tails(sim, client);
        if (sim->load_on)
            publish_new(sim, client);
        if (sim->load_on && sim->profile.of_kind && sim_chance(sim, 10))
            sim_kinds_change(sim, client);
        for (uint32_t i = 0; i < p->channel_count; i++)
            send_pending(sim, client, i);
        if (sim->mono_ns >= p->watch_at_ns) {
            p->watch_at_ns = sim->mono_ns + (sim->load_on ? 1500 : 300) * AL_NS_PER_MS;
            watch_ends(sim, client);
        }
        if (sim->faults_on && sim_producer_is_idle(sim, client) && sim_chance(sim, 3)) {
            struct al_msg_goodbye m = {0};

            p->goodbye = true;
            p->opened = false;
            SIM_PUT(sim, client, goodbye, &m);
        }
    }
    sim_client_wake(sim, client, sim_delay(sim, sim->load_on ? sim->profile.publish_gap_us : 5000));
}

bool sim_producer_is_idle(const struct sim *sim, const struct sim_client *client)
{
    const struct producer *p = client->role_state;

    (void)sim;
    for (uint32_t i = 0; i < p->channel_count; i++) {
        if (p->channels[i].count > 0)
            return false;
    }
    return p->opened;
}

uint32_t sim_producer_open_ends(const struct sim *sim, const struct sim_client *client)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < sim->ledger->message_count; i++) {
        const struct sim_message *m = &sim->ledger->messages[i];

        count += m->sender == client->index && (m->flags & AL_PUBLISH_NOTIFY) && m->receipted &&
                 m->stream && !m->end_told;
    }
    return count;
}

const struct sim_role_ops sim_producer_ops = {
    .init = producer_init,
    .free = producer_free,
    .ready = producer_ready,
    .frame = producer_frame,
    .disconnected = producer_disconnected,
    .crashed = producer_crashed,
    .wake = producer_wake,
};
