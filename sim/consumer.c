/* consumer.c - a client that receives: handlers, acks, nacks, extensions, late acks, crashes.
 *
 * It runs one handler per stream, in order, as a library would. It keeps a list of what it has
 * processed on its own disk, so that a redelivery of finished work is acked without work. It is
 * not always polite: it starts prefetched messages without waiting for news, it lets leases run
 * out and acks afterwards, it takes over from others, it vanishes.
 *
 * Where its connections lose deliveries (profile.lost_delivery) it keeps of each stream up to where
 * everything has come, holds what is behind a gap, asks for what is missing, and breaks a
 * connection that does not give it. */
#include "consumer.h"
#include "base/errors.h"
#include "roles.h"
#include <stdlib.h>
#include <string.h>

static void consumer_init(struct sim *sim, struct sim_client *client)
{
    struct consumer *c = sim_xrealloc(NULL, sizeof(*c));
    uint32_t nth = client->index - sim->profile.producers;

    memset(c, 0, sizeof(*c));
    c->agent = nth % sim->profile.agents;
    c->rude = nth >= sim->profile.agents; /* a second receiver: takes over now and then */
    c->credit = (uint32_t)sim_rand_skewed(&sim->rand, 40);
    al_buf_init(&c->body, &sim_heap);
    client->role_state = c;
}

static void consumer_free(struct sim *sim, struct sim_client *client)
{
    struct consumer *c = client->role_state;

    (void)sim;
    free(c->processed);
    free(c->come);
    al_buf_deinit(&c->body);
    free(c);
}

/* ---- what it has processed --------------------------------------------------------------- */

static struct done *processed_at(struct consumer *c, uint32_t message)
{
    if (message >= c->processed_cap) {
        uint32_t cap = c->processed_cap ? c->processed_cap : 256;

        while (cap <= message)
            cap *= 2;
        c->processed = sim_xrealloc(c->processed, cap * sizeof(*c->processed));
        memset(c->processed + c->processed_cap, 0,
               (cap - c->processed_cap) * sizeof(*c->processed));
        c->processed_cap = cap;
    }
    return &c->processed[message];
}

/* ---- attaching --------------------------------------------------------------------------- */

static void attach(struct sim *sim, struct sim_client *client)
{
    struct consumer *c = client->role_state;
    struct al_msg_attach m = {.credit = c->credit, .credit_bytes = 1u << 20};
    char name[16];

    sim_agent_name(c->agent, name);
    m.request = c->agent + 1 + 64 * ++c->rounds;
    m.agent = al_str_c(name);
    if (sim->profile.shared)
        m.flags = AL_ATTACH_SHARED;
    if (c->rude && sim->load_on && sim_chance(sim, 100)) /* exclusively, in any case */
        m.flags = AL_ATTACH_TAKEOVER;
    if (sim_chance(sim, 300))
        m.lease_ms = (uint32_t)sim_rand_range(&sim->rand, 30, 700);
    c->asked = true;
    SIM_PUT(sim, client, attach, &m);
}

/* The session is over: what is queued is void. */
static void drop_queue(struct consumer *c)
{
    c->count = 0;
    c->attached = c->asked = false;
    sim_come_forget(c);
}

/* The session goes on with a new connection: the node gives out again what is not settled. */
static void keep_running(struct consumer *c)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < c->count; i++) {
        if (c->queue[i].running)
            c->queue[kept++] = c->queue[i];
    }
    c->count = kept;
    sim_come_forget(c);
}

static void consumer_ready(struct sim *sim, struct sim_client *client)
{
    struct consumer *c = client->role_state;

    if (!c->asked && !c->attached)
        attach(sim, client);
}

static void consumer_disconnected(struct sim *sim, struct sim_client *client)
{
    struct consumer *c = client->role_state;

    (void)sim;
    c->attached = c->asked = false; /* the queue stays: the session may go on */
    sim_come_forget(c);
    c->settling = 0;
}

static void consumer_crashed(struct sim *sim, struct sim_client *client)
{
    struct consumer *c = client->role_state;

    (void)sim;
    drop_queue(c);
    c->late_count = 0;
    c->kept.run = 0;
    c->settling = 0;
}

/* ---- settling ---------------------------------------------------------------------------- */

static void send_ack(struct sim *sim, struct sim_client *client, const struct delivery *d,
                     unsigned status, bool cumulative)
{
    struct al_msg_ack m = {.agent = d->agent,
                           .stream = d->stream,
                           .seq = d->seq,
                           .lease = d->lease,
                           .status = (uint8_t)status,
                           .flags = cumulative ? AL_ACK_CUMULATIVE : 0};
    struct consumer *c = client->role_state;
    char text[32] = "";

    if (d->seq && d->message != SIM_NONE && d->message % 3) {
        sim_message_response(&sim->ledger->messages[d->message], status, text);
        m.response = al_str_c(text);
        m.response_type = al_str_c("text/plain");
    }
    if (d->parts) {
        sim_parts_response(&sim->ledger->messages[d->message], d->run, d->parts, m.response,
                           &c->body);
        m.response = al_str_of(c->body.data, c->body.size);
        m.response_type = al_str_c(AL_PARTS_TYPE);
    }
    SIM_PUT(sim, client, ack, &m);
}

static void send_part(struct sim *sim, struct sim_client *client, const struct delivery *d,
                      uint32_t part)
{
    struct al_msg_part m = {.agent = d->agent,
                            .stream = d->stream,
                            .seq = d->seq,
                            .lease = d->lease,
                            .attempt = d->run,
                            .part = part};
    uint8_t text[SIM_PART_SIZE];

    m.data = al_str_of(text, sim_part_text(&sim->ledger->messages[d->message], d->run, part, text));
    SIM_PUT(sim, client, part, &m);
}

static void send_nack(struct sim *sim, struct sim_client *client, const struct delivery *d)
{
    struct al_msg_nack m = {.agent = d->agent,
                            .stream = d->stream,
                            .seq = d->seq,
                            .lease = d->lease,
                            .reason = al_str_c("not now")};

    if (sim_chance(sim, 200))
        m.retry_after_ms = (uint32_t)sim_rand_range(&sim->rand, 1, 300);
    SIM_PUT(sim, client, nack, &m);
}

static void remove_delivery(struct consumer *c, uint32_t index)
{
    c->count--;
    memmove(c->queue + index, c->queue + index + 1, (c->count - index) * sizeof(*c->queue));
}

/* As somebody with the command line would: by the message's id. */
static void settle(struct sim *sim, struct sim_client *client, const struct delivery *d,
                   unsigned status)
{
    struct al_msg_settle m = {.request = ++client->next_request,
                              .message_id = sim->ledger->messages[d->message].id,
                              .action = (uint8_t)status};

    ((struct consumer *)client->role_state)->settling = m.request;
    SIM_PUT(sim, client, settle, &m);
}

/* The handler has returned: ack, nack, or something worse. */
static void finish(struct sim *sim, struct sim_client *client, uint32_t index)
{
    struct consumer *c = client->role_state;
    const struct sim_profile *p = &sim->profile;
    struct delivery d = c->queue[index];
    unsigned status = AL_STATUS_SUCCESS;

    remove_delivery(c, index);
    sim_come_done(c, &d);
    if (sim->load_on && sim_chance(sim, p->nack)) {
        send_nack(sim, client, &d);
        if (p->lost_delivery) /* what is behind it waits for it to come again */
            sim_come_void(c, d.stream, d.seq);
        return;
    }
    if (sim->load_on && sim_chance(sim, p->ack_fail))
        status = AL_STATUS_FAILED;
    else if (sim_chance(sim, 100))
        status = AL_STATUS_PARTIAL;
    if (status != AL_STATUS_FAILED && d.message != SIM_NONE)
        *processed_at(c, d.message) = (struct done){(uint8_t)status, d.parts, d.run};
    if (d.message != SIM_NONE && sim->ledger->messages[d.message].to < SIM_AGENTS &&
        sim_chance(sim, 30)) {
        settle(sim, client, &d, status);
        return;
    }
    while (d.said < d.parts)
        send_part(sim, client, &d, ++d.said);
    send_ack(sim, client, &d, status, false);
    if (sim->faults_on && sim_chance(sim, p->duplicate_frame)) {
        sim->tally.fault[SIM_FAULT_DUPLICATE_FRAME]++;
        /* One more, behind the end mark: refused, unless that was, for one before it is out. */
        if (d.parts && !c->resumed && !p->lost_delivery && sim_chance(sim, 500))
            send_part(sim, client, &d, d.parts + 1);
        else
            send_ack(sim, client, &d, status, sim_chance(sim, 500));
    }
}

/* A delivery that this receiver has dealt with before needs no handler. */
static bool settle_known(struct sim *sim, struct sim_client *client, uint32_t index)
{
    struct consumer *c = client->role_state;
    struct delivery d = c->queue[index];
    struct done done = {0};

    if (d.message != SIM_NONE)
        done = *processed_at(c, d.message);
    if (!done.status || !d.redelivered || sim_chance(sim, sim->profile.no_processed))
        return false;
    remove_delivery(c, index);
    sim_come_done(c, &d);
    sim_handler_skipped(sim, d.stream, d.seq, d.lease);
    d.run = done.run;
    d.parts = done.parts;
    send_ack(sim, client, &d, done.status, false);
    return true;
}

/* Whether the reply comes in parts, and how many. */
static void plan_parts(struct sim *sim, struct consumer *c, struct delivery *d)
{
    struct sim_message *message = &sim->ledger->messages[d->message];

    if (c->kept.run && c->kept.message == d->message && c->kept.run == message->run) {
        d->run = c->kept.run;
        d->said = c->kept.said;
        d->parts = d->said + (uint32_t)sim_rand_skewed(&sim->rand, 4);
    } else if (message->run != d->lease) { /* otherwise the name is taken: it was handed on */
        d->run = message->run = d->lease;
        d->parts = (uint32_t)sim_rand_skewed(&sim->rand, 6);
    }
    c->kept.run = 0;
    d->next_part_ns = sim->mono_ns;
}

static void start_handler(struct sim *sim, struct sim_client *client, uint32_t index)
{
    struct consumer *c = client->role_state;
    struct delivery *d = &c->queue[index];
    uint64_t took = sim_delay(sim, 2000);

    d->running = true;
    if (sim->load_on && sim_chance(sim, sim->profile.slow_handler))
        took += (uint64_t)d->lease_ms * AL_NS_PER_MS * sim_rand_range(&sim->rand, 5, 25) / 10;
    d->done_at_ns = sim->mono_ns + took;
    if (d->message != SIM_NONE && sim->ledger->messages[d->message].wants_parts)
        plan_parts(sim, c, d);
    sim_note(sim, "client % works on %:%", client->index, d->stream, d->seq);
    sim_handler_started(sim, d->stream, d->seq, d->lease, d->redelivered);
}

/* True if another one of the stream is worked on, or must come first. */
static bool stream_is_busy(const struct sim *sim, struct consumer *c, uint32_t index)
{
    if (sim->profile.lost_delivery &&
        c->queue[index].seq > sim_come_at(c, c->queue[index].stream)->high)
        return true;
    for (uint32_t i = 0; i < index; i++) {
        if (c->queue[i].stream == c->queue[index].stream)
            return true;
    }
    return false;
}

static void extend(struct sim *sim, struct sim_client *client, struct delivery *d)
{
    struct al_msg_extend m = {
        .agent = d->agent, .stream = d->stream, .seq = d->seq, .lease = d->lease};

    d->extended = true;
    m.lease_ms = sim_chance(sim, 500) ? d->lease_ms * 3 : 0;
    SIM_PUT(sim, client, extend, &m);
}

static void say_parts(struct sim *sim, struct sim_client *client, struct delivery *d)
{
    if (d->said == d->parts || sim->mono_ns < d->next_part_ns)
        return;
    send_part(sim, client, d, ++d->said);
    d->next_part_ns = sim->mono_ns + sim_rand_below(&sim->rand, d->done_at_ns - sim->mono_ns + 1);
}

/* Lets time pass for the queue: handlers start, end, are extended. */
static void run_handlers(struct sim *sim, struct sim_client *client)
{
    struct consumer *c = client->role_state;
    uint32_t i = 0;

    while (i < c->count && client->conn != SIM_NONE && !c->settling && !sim->failed) {
        struct delivery *d = &c->queue[i];

        if (d->running && sim->mono_ns >= d->done_at_ns) {
            finish(sim, client, i);
            i = 0;
            continue;
        }
        if (d->running)
            say_parts(sim, client, d);
        if (d->running && !d->extended &&
            d->done_at_ns - sim->mono_ns > d->lease_ms / 2 * AL_NS_PER_MS &&
            sim_chance(sim, sim->profile.extend / 20 + 1))
            extend(sim, client, d);
        if (!d->running && !stream_is_busy(sim, c, i)) {
            if (settle_known(sim, client, i)) {
                i = 0;
                continue;
            }
            start_handler(sim, client, i);
        }
        i++;
    }
}

static uint64_t next_wake(struct sim *sim, const struct consumer *c)
{
    uint64_t at = sim->mono_ns + 20 * AL_NS_PER_MS;

    for (uint32_t i = 0; i < c->count && c->attached; i++) {
        const struct delivery *d = &c->queue[i];

        if (d->running && d->said < d->parts && d->next_part_ns < at)
            at = d->next_part_ns;
        if (d->running && d->done_at_ns < at)
            at = d->done_at_ns;
    }
    return at > sim->mono_ns ? at - sim->mono_ns : 1000;
}

/* ---- frames ------------------------------------------------------------------------------ */

static struct delivery *find_copy(struct consumer *c, const struct al_msg_deliver *m)
{
    for (uint32_t i = 0; i < c->count; i++) {
        if (c->queue[i].stream == m->stream && c->queue[i].lease == m->lease)
            return &c->queue[i];
    }
    return NULL;
}

/* A place in the queue: before those of the stream that come later and are not begun. */
static struct delivery *make_room(const struct sim *sim, struct consumer *c,
                                  const struct al_msg_deliver *m)
{
    uint32_t at = 0;

    while (
        at < c->count && sim->profile.lost_delivery &&
        !(c->queue[at].stream == m->stream && !c->queue[at].running && c->queue[at].seq > m->seq))
        at++;
    if (!sim->profile.lost_delivery)
        at = c->count;
    memmove(c->queue + at + 1, c->queue + at, (c->count++ - at) * sizeof(*c->queue));
    return &c->queue[at];
}

static void on_deliver(struct sim *sim, struct sim_client *client, const struct al_frame *frame,
                       const struct al_msg_deliver *m)
{
    struct consumer *c = client->role_state;
    struct al_msg_envelope envelope = {0};
    const struct sim_message *message;
    struct delivery *d;

    if (!sim_group_told_deliver(sim, c->agent, frame, m) &&
        !sim_schedule_told_deliver(sim, c->agent, m))
        sim_told_deliver(sim, m);
    if (!sim->failed)
        sim_workflow_told_deliver(sim, frame, m);
    if (sim->failed || al_decode_envelope(m->envelope, &envelope) < 0)
        return;
    if (m->seq == 0) { /* volatile: only its credit goes back */
        struct delivery once = {.agent = m->agent, .stream = m->stream};

        send_ack(sim, client, &once, AL_STATUS_SUCCESS, false);
        return;
    }
    if (m->lease <= sim_come_at(c, m->stream)->done_lease)
        return; /* a copy */
    d = find_copy(c, m);
    if (d) { /* it is being worked on, and the connection was lost meanwhile; or it was doubled */
        if (!(m->flags & AL_DELIVER_FOLLOWS))
            d->after = 0;
        sim_come_add(sim, client, d);
        return;
    }
    if (c->count == SIM_CONSUMER_QUEUE) {
        sim_fail(sim, "a receiver with credit %u has %u deliveries", c->credit, c->count);
        return;
    }
    message = sim_message_find(sim, &envelope.message_id); /* NULL: the node's own */
    d = make_room(sim, c, m);
    *d = (struct delivery){.stream = m->stream,
                           .message = message ? message->number : SIM_NONE,
                           .agent = m->agent,
                           .seq = m->seq,
                           .lease = m->lease,
                           .after = m->flags & AL_DELIVER_FOLLOWS ? m->prev_seq : 0,
                           .redelivered = m->flags & AL_DELIVER_REDELIVERED,
                           .lease_ms = m->lease_ms};
    sim_come_add(sim, client, d);
}

/* Throws away what is not begun; what is running goes on, and its ack comes late. */
static void recall(struct sim *sim, struct consumer *c, uint32_t stream, uint64_t seq)
{
    uint32_t i = 0;

    sim_come_void(c, stream, seq);
    while (i < c->count) {
        struct delivery *d = &c->queue[i];

        if (d->stream != stream || d->seq < seq) {
            i++;
            continue;
        }
        if (d->running && c->late_count < 8 && sim_chance(sim, sim->profile.late_ack))
            c->late[c->late_count++] = *d;
        else if (d->running && d->said && sim_chance(sim, 500))
            c->kept = *d;
        remove_delivery(c, i);
    }
}

/* Acks under leases that are lost: the node must refuse every one of them. */
static void send_late(struct sim *sim, struct sim_client *client)
{
    struct consumer *c = client->role_state;

    for (uint32_t i = 0; i < c->late_count;) {
        if (sim->mono_ns < c->late[i].done_at_ns) {
            i++;
            continue;
        }
        if (sim->faults_on && c->attached && c->late[i].agent == c->number) {
            sim->tally.fault[SIM_FAULT_LATE_FRAME]++;
            if (c->late[i].said < c->late[i].parts) {
                sim->tally.reached[SIM_REACHED_PART_LATE]++;
                send_part(sim, client, &c->late[i], c->late[i].said + 1);
            }
            send_ack(sim, client, &c->late[i], AL_STATUS_SUCCESS, sim_chance(sim, 200));
        }
        c->late[i] = c->late[--c->late_count];
    }
}

static void on_error(struct sim *sim, struct sim_client *client, const struct al_msg_error *m)
{
    struct consumer *c = client->role_state;

    if (m->about == AL_MSG_SETTLE)
        c->settling = 0;
    if (m->about == AL_MSG_GAP_NACK && m->code == AL_E_NOT_ATTACHED)
        recall(sim, c, m->request, 1); /* nothing of it is out here */
    if (m->about != AL_MSG_ATTACH) {
        if (m->code != AL_E_NOMEM && m->code != AL_E_NOT_ATTACHED)
            sim_fail(sim, "a receiver gets ERROR %s about %s", al_error_name(m->code),
                     al_msg_name(m->about) ? al_msg_name(m->about) : "?");
        return;
    }
    c->asked = false;
    /* The first attach makes the agent, for which a full disk has no room. */
    if (m->code != AL_E_ALREADY_ATTACHED && m->code != AL_E_NOMEM && m->code != AL_E_DISK_FULL)
        sim_fail(sim, "ATTACH is refused: %s", al_error_name(m->code));
    c->retry_at_ns = sim->mono_ns + sim_delay(sim, c->rude ? 400000 : 40000);
}

static void consumer_frame(struct sim *sim, struct sim_client *client, const struct al_frame *frame)
{
    struct consumer *c = client->role_state;
    union {
        struct al_msg_attached attached;
        struct al_msg_deliver deliver;
        struct al_msg_acked acked;
        struct al_msg_recall recall;
        struct al_msg_done done;
        struct al_msg_error error;
    } m;

    switch (frame->type) {
    case AL_MSG_ATTACHED:
        if (!SIM_GET(sim, frame, attached, &m.attached))
            break;
        c->attached = true;
        c->asked = false;
        c->number = m.attached.agent;
        c->resumed = m.attached.resumed;
        if (m.attached.resumed) {
            keep_running(c);
        } else { /* leases from before are void */
            drop_queue(c);
            c->attached = true;
        }
        break;
    case AL_MSG_DELIVER:
        sim_lossy_deliver(sim, frame);
        if (SIM_GET(sim, frame, deliver, &m.deliver))
            on_deliver(sim, client, frame, &m.deliver);
        break;
    case AL_MSG_ACKED:
        if (SIM_GET(sim, frame, acked, &m.acked))
            sim_told_acked(sim, &m.acked);
        break;
    case AL_MSG_RECALL:
        if (SIM_GET(sim, frame, recall, &m.recall))
            recall(sim, c, m.recall.stream, m.recall.seq);
        break;
    case AL_MSG_DONE:
        if (SIM_GET(sim, frame, done, &m.done) && m.done.request == c->settling)
            c->settling = 0;
        break;
    case AL_MSG_DETACHED:
        drop_queue(c);
        c->retry_at_ns = sim->mono_ns + sim_delay(sim, 100000);
        break;
    case AL_MSG_ERROR:
        if (SIM_GET(sim, frame, error, &m.error))
            on_error(sim, client, &m.error);
        break;
    default:
        break;
    }
    if (c->attached && client->conn != SIM_NONE && !sim->failed) {
        if (sim_chance(sim, 700)) /* otherwise the next wake sees to it */
            run_handlers(sim, client);
    }
}

/* ---- waking ------------------------------------------------------------------------------ */

/* Leases that are kept: somebody else may be working on the messages from now on. */
static void hand_on(struct sim *sim, const struct consumer *c, unsigned flags)
{
    for (uint32_t i = 0; i < c->count && (flags & AL_KEEP_LEASES); i++) {
        struct sim_slot *slot = sim_slot(sim, c->queue[i].stream, c->queue[i].seq);

        if (slot)
            slot->starts++;
    }
}

/* Now and then: detach, change the credit, say goodbye, ask for what is not missing. */
static void be_moody(struct sim *sim, struct sim_client *client)
{
    struct consumer *c = client->role_state;
    uint64_t what = sim_rand_below(&sim->rand, 1500);

    if (what == 0) {
        struct al_msg_detach m = {.agent = c->number,
                                  .flags = sim_chance(sim, 300) ? AL_KEEP_LEASES : 0};

        SIM_PUT(sim, client, detach, &m);
        hand_on(sim, c, m.flags);
        drop_queue(c);
        c->retry_at_ns = sim->mono_ns + sim_delay(sim, 50000);
    } else if (what < 6) {
        struct al_msg_credit m = {.agent = c->number, .credit_bytes = 1u << 20};

        c->credit = (uint32_t)sim_rand_skewed(&sim->rand, 40);
        m.credit = c->credit;
        if (what == 2)
            m.credit_bytes = 500;
        SIM_PUT(sim, client, credit, &m);
    } else if (what == 6) {
        struct al_msg_goodbye m = {.flags = sim_chance(sim, 300) ? AL_KEEP_LEASES : 0};

        SIM_PUT(sim, client, goodbye, &m);
        hand_on(sim, c, m.flags);
        drop_queue(c);
        c->retry_at_ns = UINT64_MAX; /* the node closes */
    } else if (what < 17 && sim->profile.lost_delivery) {
        sim_come_ask_beyond(sim, client);
    }
}

static void consumer_wake(struct sim *sim, struct sim_client *client)
{
    struct consumer *c = client->role_state;

    if (c->attached && !c->settling) {
        if (sim->faults_on)
            be_moody(sim, client);
        if (c->attached) {
            run_handlers(sim, client);
            send_late(sim, client);
            sim_come_ask_again(sim, client);
        }
    } else if (!c->attached && !c->asked && client->ready && sim->mono_ns >= c->retry_at_ns) {
        attach(sim, client);
    }
    if (client->conn != SIM_NONE)
        sim_client_wake(sim, client, next_wake(sim, c));
}

static void consumer_gone(struct sim *sim, struct sim_client *client)
{
    struct consumer *c = client->role_state;

    c->retry_at_ns = 0;
    consumer_disconnected(sim, client);
}

const struct sim_role_ops sim_consumer_ops = {
    .init = consumer_init,
    .free = consumer_free,
    .ready = consumer_ready,
    .frame = consumer_frame,
    .disconnected = consumer_gone,
    .crashed = consumer_crashed,
    .wake = consumer_wake,
};
