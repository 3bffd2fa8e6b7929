/* commits.c - an agent whose every effect is one commit.
 *
 * The client sends numbers to the agent "cw" under idempotency keys, and is itself that agent and
 * the one that hears of the effects, "ck". For each number the handler acknowledges with an answer,
 * tells "ck" and counts in its state, in one commit; some numbers it refuses (FAILED), and tells
 * and counts them all the same. In every second seed it tells the group "cg", in which it is alone
 * with "ck". The facts are kept apart: effects.h. */
#include "base/errors.h"
#include "effects.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PADDED 3000u /* payload of a message that makes its commit span sectors */

struct work {
    uint32_t stream, number;
    uint64_t seq, lease;
};

/* What its process knows. */
struct process {
    uint32_t requests, attach[2], agent[2], attached; /* 0: cw, 1: ck */
    uint32_t ask_publish, ask_commit;                 /* requests of PRODUCER_OPEN */
    uint64_t pseq, producer;
    uint32_t epoch;
    uint64_t cseq; /* of the last commit that was applied */
    bool has_channel, has_producer;
    uint32_t joining; /* request of the last GROUP_JOIN */
    bool joined;      /* or there is no group */
    bool state_known; /* it was listed since the last doubt */
    uint32_t list_request, letters_request;
    struct sim_state listed;
    struct work queue[8];
    uint32_t count;
    uint32_t publishing; /* number + 1 under way */
    bool again;          /* it is a repetition, whose answer is waited for */
    struct al_id again_id;
    uint64_t again_ns;   /* it is waited for until then */
    uint64_t hold_ns;    /* nothing is published before */
    bool held;           /* the channel is */
    struct al_buf frame; /* the commit under way */
    uint32_t request;    /* of it, 0: none */
    bool written_before, bad;
    uint32_t letters;
};

struct committer {
    struct sim_effects facts;
    struct process process;
};

static struct al_id new_id(struct sim *sim, struct sim_effects *facts)
{
    uint8_t random[16];

    al_put64(random, sim_mix64(sim->seed * 31 + ++facts->serial));
    al_put64(random + 8, sim_mix64(facts->serial ^ 0x636f6d6d6974ull));
    return al_id_from_random(random);
}

static void process_init(struct process *p)
{
    memset(p, 0, sizeof(*p));
    al_buf_init(&p->frame, &sim_heap);
}

static void commits_init(struct sim *sim, struct sim_client *client)
{
    struct committer *c = sim_xrealloc(NULL, sizeof(*c));

    (void)sim;
    memset(c, 0, sizeof(*c));
    process_init(&c->process);
    client->role_state = c;
}

static void commits_free(struct sim *sim, struct sim_client *client)
{
    struct committer *c = client->role_state;

    (void)sim;
    al_buf_deinit(&c->process.frame);
    free(c);
}

static void answer_text(uint32_t number, char ret_text[24])
{
    snprintf(ret_text, 24, "answer %u", (unsigned)(number * 2654435761u));
}

/* ---- connecting -------------------------------------------------------------------------- */

static void attach(struct sim *sim, struct sim_client *client, unsigned which)
{
    struct process *p = &((struct committer *)client->role_state)->process;
    struct al_msg_attach m = {.request = p->attach[which] = ++p->requests,
                              .flags = AL_ATTACH_TAKEOVER,
                              .credit = 4,
                              .credit_bytes = 1u << 20,
                              .agent = al_str_c(which ? "ck" : "cw")};

    SIM_PUT(sim, client, attach, &m);
}

static void open_producer(struct sim *sim, struct sim_client *client, uint32_t *ret_request,
                          uint64_t producer, uint32_t epoch)
{
    struct process *p = &((struct committer *)client->role_state)->process;
    struct al_msg_producer_open m = {
        .request = *ret_request = ++p->requests, .producer = producer, .epoch = epoch};

    SIM_PUT(sim, client, producer_open, &m);
}

static bool tells_group(const struct sim *sim)
{
    return sim->seed >> 2 & 1; /* world.c: committers are there when seed % 4 == 1 */
}

/* Behind ATTACH, which makes the agents; EXISTS is as good as done. */
static void join_group(struct sim *sim, struct sim_client *client)
{
    struct process *p = &((struct committer *)client->role_state)->process;
    struct al_msg_group_add add = {.request = ++p->requests, .group = al_str_c("group:cg")};
    struct al_msg_group_join join = {.group = al_str_c("group:cg")};

    p->joined = !tells_group(sim);
    if (p->joined)
        return;
    SIM_PUT(sim, client, group_add, &add);
    join.request = ++p->requests;
    join.agent = al_str_c("cw");
    SIM_PUT(sim, client, group_join, &join);
    join.request = p->joining = ++p->requests;
    join.agent = al_str_c("ck");
    SIM_PUT(sim, client, group_join, &join);
}

static void commits_ready(struct sim *sim, struct sim_client *client)
{
    struct process *p = &((struct committer *)client->role_state)->process;

    if (p->ask_publish) /* it did not wait for WELCOME */
        return;
    attach(sim, client, 0);
    attach(sim, client, 1);
    join_group(sim, client);
    open_producer(sim, client, &p->ask_publish, 0, 0);
    open_producer(sim, client, &p->ask_commit, p->producer, p->epoch);
}

/* The connection is gone; the process goes on. */
static void commits_disconnected(struct sim *sim, struct sim_client *client)
{
    struct process *p = &((struct committer *)client->role_state)->process;

    (void)sim;
    p->attached = p->count = 0;
    p->ask_publish = p->ask_commit = p->publishing = 0;
    p->has_channel = p->has_producer = p->state_known = p->again = p->held = false;
    p->joining = 0;
    p->list_request = p->letters_request = 0;
    p->written_before = true;
}

static void commits_crashed(struct sim *sim, struct sim_client *client)
{
    struct process *p = &((struct committer *)client->role_state)->process;

    (void)sim;
    al_buf_deinit(&p->frame);
    process_init(p);
}

/* Something went wrong that is allowed to: begin again. */
static void start_over(struct sim *sim, struct sim_client *client)
{
    if (client->conn != SIM_NONE)
        sim_net_break(sim, client->conn);
}

/* ---- publishing -------------------------------------------------------------------------- */

static void publish(struct sim *sim, struct sim_client *client, uint32_t number, bool again)
{
    struct committer *c = client->role_state;
    struct process *p = &c->process;
    struct al_msg_publish m = {.channel = 1, .pseq = p->pseq + 1};
    struct al_msg_envelope envelope = {.message_id = new_id(sim, &c->facts)};
    uint8_t payload[4], bytes[128];
    char key[16];

    snprintf(key, sizeof(key), "c%u", (unsigned)number % 1000);
    al_put32(payload, number);
    envelope.key = al_str_c(key);
    envelope.kind = al_str_c("sim.number");
    envelope.payload = al_str_of(payload, sizeof(payload));
    m.envelope = al_str_of(bytes, (size_t)(al_encode_envelope(bytes, &envelope) - bytes));
    m.flags = again ? AL_PUBLISH_NOTIFY : 0;
    p->publishing = number + 1;
    p->again = again;
    p->again_id = envelope.message_id;
    p->again_ns = sim->mono_ns + 3000 * AL_NS_PER_MS;
    c->facts.numbers[number].sent = true;
    SIM_PUT(sim, client, publish, &m);
}

/* A new number, an old one again, or nothing; without load, what has not been asked about. */
static void publish_at_random(struct sim *sim, struct sim_client *client)
{
    struct committer *c = client->role_state;
    struct process *p = &c->process;
    uint32_t start = (uint32_t)sim_rand_below(&sim->rand, SIM_NUMBERS);

    if (!p->has_channel || p->publishing || p->held || sim->mono_ns < p->hold_ns)
        return;
    for (uint32_t i = 0; i < SIM_NUMBERS; i++) {
        uint32_t number = sim->load_on ? i : (start + i) % SIM_NUMBERS;
        const struct sim_number *one = &c->facts.numbers[number];

        if (one->receipted && sim->load_on ? sim_chance(sim, 30)
                                           : one->receipted && !one->audited) {
            publish(sim, client, number, true);
            return;
        }
        if (!one->receipted && (sim->load_on || one->sent)) {
            publish(sim, client, number, false);
            return;
        }
    }
}

static void on_receipt(struct sim *sim, struct sim_effects *f, struct process *p,
                       const struct al_msg_receipt *m)
{
    uint32_t number = p->publishing - 1;

    if (!p->publishing || m->pseq != p->pseq + 1) {
        sim_fail(sim, "a receipt for %llu", (unsigned long long)m->pseq);
        return;
    }
    p->pseq++;
    if (p->again && !m->duplicate)
        sim_fail(sim, "number %u is sent again under its key and is not a duplicate", number);
    f->numbers[number].receipted = true;
    if (!p->again)
        p->publishing = 0; /* otherwise its end follows */
}

static void on_refused(struct sim *sim, struct sim_effects *f, struct process *p,
                       const struct al_msg_refused *m)
{
    struct sim_number *one = &f->numbers[p->publishing ? p->publishing - 1 : 0];

    p->held = true;
    p->hold_ns = sim->mono_ns + sim_delay(sim, 20000);
    p->publishing = 0;
    if (m->code == AL_E_KEY_DEAD) {
        one->receipted = one->dead = one->audited = true;
        if (one->effected && !sim_is_refused((uint32_t)(one - f->numbers)))
            sim_fail(sim, "a number has taken effect and its key is refused as dead");
    } else if (m->code == AL_E_DEDUP_FULL && !sim->load_on) {
        one->sent = one->receipted; /* no room for its key, and there will be none */
    } else if (!al_error_is_retryable(m->code)) {
        sim_fail(sim, "a number is refused: %s", al_error_name(m->code));
    }
}

/* The stored answer of a number that was sent again. */
static void on_end(struct sim *sim, struct sim_effects *f, struct process *p,
                   const struct al_msg_end *m)
{
    uint32_t number = p->publishing - 1;
    char want[24];

    if (!p->publishing || !p->again || !al_id_eq(&m->message_id, &p->again_id))
        return;
    p->publishing = 0;
    if (m->state != AL_STATE_DELIVERED) {
        f->numbers[number].dead = true;
        f->numbers[number].audited = true;
        if (f->numbers[number].effected && !sim_is_refused(number))
            sim_fail(sim, "number %u has taken effect and ended in state %u", number, m->state);
        return;
    }
    if (sim_is_refused(number))
        sim_fail(sim, "number %u was refused and has ended well", number);
    answer_text(number, want);
    if (!al_str_eq(m->response, al_str_c(want)))
        sim_fail(sim, "number %u sent again gets another answer than the first: '%.*s'", number,
                 (int)m->response.n, (const char *)m->response.p);
    if (!f->numbers[number].effected && !sim_effects_in_batch(f, number))
        sim_fail(sim, "number %u has an answer and has not taken effect", number);
    f->numbers[number].audited = true;
}

/* ---- committing -------------------------------------------------------------------------- */

static void put_body(struct al_buf *list, const uint8_t *body, const uint8_t *end)
{
    uint8_t size[4];

    al_put32(size, (uint32_t)(end - body));
    al_buf_put(list, size, sizeof(size));
    al_buf_put(list, body, (size_t)(end - body));
}

static void put_ack(struct al_buf *list, const struct work *work)
{
    struct al_msg_ack m = {.stream = work->stream,
                           .seq = work->seq,
                           .lease = work->lease,
                           .status =
                               sim_is_refused(work->number) ? AL_STATUS_FAILED : AL_STATUS_SUCCESS};
    uint8_t body[128];
    char text[24];

    answer_text(work->number, text);
    if (m.status == AL_STATUS_SUCCESS)
        m.response = al_str_c(text);
    else
        m.reason = al_str_c("refused in its commit");
    put_body(list, body, al_encode_ack(body, &m));
}

static void put_send(struct sim *sim, struct sim_effects *facts, struct al_buf *list,
                     uint32_t number)
{
    struct al_msg_commit_send m = {.priority = number % 2 ? AL_PRIORITY_NONE : AL_PRIORITY_DEFAULT,
                                   .to = al_str_c(tells_group(sim) ? "group:cg" : "ck")};
    struct al_msg_envelope envelope = {.message_id = new_id(sim, facts)};
    uint8_t payload[PADDED] = {0}, inner[PADDED + 128], body[PADDED + 256];

    al_put32(payload, number);
    envelope.payload = al_str_of(payload, sim_chance(sim, 600) ? 4 : PADDED);
    m.envelope = al_str_of(inner, (size_t)(al_encode_envelope(inner, &envelope) - inner));
    put_body(list, body, al_encode_commit_send(body, &m));
}

/* Sets a key to a number, or deletes it: 0 is said by its absence. */
static void put_change(struct al_buf *list, const char *key, uint32_t value)
{
    struct al_msg_commit_kv m = {.action = value ? AL_KV_SET : AL_KV_DELETE, .key = al_str_c(key)};
    uint8_t bytes[64] = {0}, body[128];

    al_put32(bytes, value);
    m.value = al_str_of(bytes, value ? 4 + value % 48 : 0);
    put_body(list, body, al_encode_commit_kv(body, &m));
}

/* One part of this cannot be done, at times; then nothing of it may be. */
static void make_commit(struct sim *sim, struct committer *c)
{
    struct process *p = &c->process;
    struct sim_effects *f = &c->facts;
    struct al_buf acks, sends, changes;
    struct al_msg_commit m = {.agent = al_str_c("cw"), .producer = p->producer, .epoch = p->epoch};

    al_buf_init(&acks, &sim_heap);
    al_buf_init(&sends, &sim_heap);
    al_buf_init(&changes, &sim_heap);
    f->batch_size = 1 + (p->count > 1 && sim_chance(sim, 300));
    f->next = f->state;
    for (uint32_t i = 0; i < f->batch_size; i++) {
        const struct work *work = &p->queue[i];

        f->batch[i] = work->number;
        f->next.count++;
        f->next.last = work->number % 3;
        put_ack(&acks, work);
        put_send(sim, f, &sends, work->number);
    }
    put_change(&changes, "count", f->next.count);
    put_change(&changes, "last", f->next.last);
    p->bad = sim->load_on && sim_chance(sim, 100);
    if (p->bad) { /* behind what is fine */
        uint8_t body[64];
        struct al_msg_commit_kv wrong = {.action = 9, .key = al_str_c("wrong")};

        put_body(&changes, body, al_encode_commit_kv(body, &wrong));
    }
    m.request = p->request = ++p->requests;
    m.cseq = p->cseq + 1;
    m.acks = al_str_of(acks.data, (uint32_t)acks.size);
    m.sends = al_str_of(sends.data, (uint32_t)sends.size);
    m.changes = al_str_of(changes.data, (uint32_t)changes.size);
    al_buf_clear(&p->frame);
    al_put_commit(&p->frame, &m);
    f->open = true;
    p->written_before = false;
    al_buf_deinit(&acks);
    al_buf_deinit(&sends);
    al_buf_deinit(&changes);
}

static void write_commit(struct sim *sim, struct sim_client *client)
{
    struct process *p = &((struct committer *)client->role_state)->process;
    struct al_buf *out = sim_client_out(sim, client);

    if (!out)
        return;
    al_buf_put(out, p->frame.data, p->frame.size);
    sim_client_sent(sim, client);
}

static void ask_state(struct sim *sim, struct sim_client *client)
{
    struct process *p = &((struct committer *)client->role_state)->process;
    struct al_msg_kv_list m = {.request = p->list_request = ++p->requests, .agent = al_str_c("cw")};

    p->listed = (struct sim_state){0, 0};
    p->state_known = false;
    SIM_PUT(sim, client, kv_list, &m);
}

static void drop_work(struct process *p, uint64_t from_seq)
{
    while (p->count && p->queue[p->count - 1].seq >= from_seq)
        p->count--;
}

static void forget_effected(const struct sim_effects *f, struct process *p)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < p->count; i++)
        if (!f->numbers[p->queue[i].number].effected)
            p->queue[kept++] = p->queue[i];
    p->count = kept;
}

static void on_committed(struct sim *sim, struct sim_client *client,
                         const struct al_msg_committed *m)
{
    static const unsigned fine[] = {
        AL_E_LEASE_LOST, AL_E_NOT_FOUND,  AL_E_OUT_OF_ORDER, AL_E_NOT_ATTACHED,     AL_E_NOMEM,
        AL_E_DISK_FULL,  AL_E_INBOX_FULL, AL_E_DLQ_FULL,     AL_E_PRODUCER_RETIRED, AL_E_FENCED};
    struct committer *c = client->role_state;
    struct process *p = &c->process;
    bool is_fine = p->bad && m->code == AL_E_INVALID;

    if (!p->request || m->request != p->request)
        return;
    p->request = 0;
    if (m->code == 0) {
        if (p->bad)
            sim_fail(sim, "a commit is applied although one part of it cannot be done");
        if (m->duplicate && !p->written_before)
            sim_fail(sim, "a new commit is taken for one that was applied");
        p->cseq++;
        if (c->facts.open)
            sim_effects_applied(sim, &c->facts);
        forget_effected(&c->facts, p);
        p->state_known = true;
        return;
    }
    for (unsigned i = 0; i < sizeof(fine) / sizeof(fine[0]); i++)
        is_fine |= m->code == fine[i];
    if (!is_fine)
        sim_fail(sim, "COMMIT is answered with %s", al_error_name(m->code));
    if (m->code == AL_E_LEASE_LOST || m->code == AL_E_NOT_FOUND || m->code == AL_E_OUT_OF_ORDER)
        drop_work(p, 0);
    /* The node knows its number: it would say so if it had applied it. */
    if (c->facts.open && m->code != AL_E_PRODUCER_RETIRED && m->code != AL_E_FENCED)
        sim_effects_void(sim, &c->facts);
    if (m->code == AL_E_PRODUCER_RETIRED)
        p->producer = p->cseq = 0;
    if (m->code == AL_E_PRODUCER_RETIRED || m->code == AL_E_FENCED || m->code == AL_E_NOT_ATTACHED)
        start_over(sim, client);
    else
        ask_state(sim, client); /* it must be as it was */
}

/* ---- frames ------------------------------------------------------------------------------ */

/* Attached and with a producer: nothing of an earlier connection can change the state any more. */
static void settled_in(struct sim *sim, struct sim_client *client)
{
    struct process *p = &((struct committer *)client->role_state)->process;

    if (p->attached != 3 || !p->has_producer)
        return;
    if (p->request)
        write_commit(sim, client); /* it is not known what became of it */
    else
        ask_state(sim, client);
}

static void on_producer(struct sim *sim, struct sim_client *client,
                        const struct al_msg_producer_ready *m)
{
    struct process *p = &((struct committer *)client->role_state)->process;
    struct al_msg_channel_open open = {.channel = 1,
                                       .producer = m->producer,
                                       .first_pseq = 1,
                                       .priority = AL_PRIORITY_DEFAULT,
                                       .from = al_str_c("cs"),
                                       .to = al_str_c("cw")};

    if (m->request == p->ask_publish) {
        p->pseq = 0;
        SIM_PUT(sim, client, channel_open, &open);
    } else if (m->request == p->ask_commit) {
        p->producer = m->producer;
        p->epoch = m->epoch;
        p->has_producer = true;
        settled_in(sim, client);
    }
}

static void on_attached(struct sim *sim, struct sim_client *client, const struct al_msg_attached *m)
{
    struct process *p = &((struct committer *)client->role_state)->process;

    for (unsigned i = 0; i < 2; i++) {
        if (m->request != p->attach[i])
            continue;
        p->agent[i] = m->agent;
        p->attached |= 1u << i;
        settled_in(sim, client);
    }
}

static bool is_notice(const struct al_msg_envelope *envelope)
{
    static const char prefix[] = "agentlink.group.";

    return envelope->kind.n > sizeof(prefix) &&
           memcmp(envelope->kind.p, prefix, sizeof(prefix) - 1) == 0;
}

static void on_deliver(struct sim *sim, struct sim_client *client, const struct al_msg_deliver *m)
{
    struct committer *c = client->role_state;
    struct process *p = &c->process;
    struct al_msg_ack ack = {.agent = m->agent,
                             .stream = m->stream,
                             .seq = m->seq,
                             .lease = m->lease,
                             .status = AL_STATUS_SUCCESS};
    struct al_msg_envelope envelope;
    uint32_t number;

    if (al_decode_envelope(m->envelope, &envelope) == 0 &&
        (is_notice(&envelope) ||
         (m->agent == p->agent[0] && envelope.kind.n == 0 && tells_group(sim)))) {
        SIM_PUT(sim, client, ack, &ack); /* of a join; or its own, as a member */
        return;
    }
    if (al_decode_envelope(m->envelope, &envelope) < 0 ||
        (envelope.payload.n != 4 && envelope.payload.n != PADDED)) {
        sim_fail(sim, "a number with another body");
        return;
    }
    number = al_get32(envelope.payload.p);
    if (m->agent == p->agent[1]) {
        sim_effects_told(sim, &c->facts, m->seq, number);
        SIM_PUT(sim, client, ack, &ack);
        return;
    }
    if (number >= SIM_NUMBERS || c->facts.numbers[number].effected) {
        sim_fail(sim, "number %u has taken effect and is given out again", number);
        return;
    }
    drop_work(p, m->seq);
    if (p->count < 8)
        p->queue[p->count++] = (struct work){m->stream, number, m->seq, m->lease};
}

static void on_row(struct sim *sim, struct process *p, const struct al_msg_kv_row *m)
{
    uint32_t value = m->value.n >= 4 ? al_get32(m->value.p) : 0;
    bool is_count = al_str_eq(m->key, al_str_c("count"));

    if (m->request != p->list_request)
        return;
    if ((!is_count && !al_str_eq(m->key, al_str_c("last"))) || value == 0 ||
        m->value.n != 4 + value % 48)
        sim_fail(sim, "the state has '%.*s' = %u in %u bytes", (int)m->key.n,
                 (const char *)m->key.p, value, m->value.n);
    *(is_count ? &p->listed.count : &p->listed.last) = value;
}

static void on_done(struct sim *sim, struct sim_client *client, const struct al_msg_done *m)
{
    struct committer *c = client->role_state;
    struct process *p = &c->process;

    if (m->request == p->list_request && m->code == 0) {
        p->list_request = 0;
        p->state_known = true;
        sim_effects_state(sim, &c->facts, p->listed);
        forget_effected(&c->facts, p);
    } else if (m->request == p->letters_request && m->code == 0) {
        p->letters_request = 0;
        c->facts.dead_told = p->letters + 1;
    } else if (m->request == p->joining && (m->code == 0 || m->code == AL_E_EXISTS)) {
        p->joined = true;
    } else if (p->joining && m->request < p->joining && m->request + 3 > p->joining &&
               (m->code == 0 || m->code == AL_E_EXISTS)) {
        return;
    } else {
        start_over(sim, client);
    }
}

static void on_error(struct sim *sim, struct sim_client *client, const struct al_msg_error *m)
{
    struct process *p = &((struct committer *)client->role_state)->process;

    if (m->code == AL_E_PROTOCOL)
        sim_fail(sim, "ERROR PROTOCOL about %s",
                 al_msg_name(m->about) ? al_msg_name(m->about) : "?");
    if (m->code == AL_E_PRODUCER_RETIRED) {
        p->producer = p->cseq = 0;
        p->request = 0; /* the state says what became of it */
    }
    start_over(sim, client);
}

static void control_frame(struct sim *sim, struct sim_client *client, const struct al_frame *frame)
{
    struct process *p = &((struct committer *)client->role_state)->process;
    union {
        struct al_msg_producer_ready producer;
        struct al_msg_attached attached;
        struct al_msg_recall recall;
        struct al_msg_kv_row row;
        struct al_msg_done done;
        struct al_msg_error error;
    } m;

    if (frame->type == AL_MSG_PRODUCER_READY && SIM_GET(sim, frame, producer_ready, &m.producer))
        on_producer(sim, client, &m.producer);
    else if (frame->type == AL_MSG_CHANNEL_READY)
        p->has_channel = true;
    else if (frame->type == AL_MSG_ATTACHED && SIM_GET(sim, frame, attached, &m.attached))
        on_attached(sim, client, &m.attached);
    else if (frame->type == AL_MSG_DETACHED)
        start_over(sim, client);
    else if (frame->type == AL_MSG_RECALL && SIM_GET(sim, frame, recall, &m.recall) &&
             m.recall.agent == p->agent[0])
        drop_work(p, m.recall.seq);
    else if (frame->type == AL_MSG_KV_ROW && SIM_GET(sim, frame, kv_row, &m.row))
        on_row(sim, p, &m.row);
    else if (frame->type == AL_MSG_DLQ_ROW)
        p->letters++;
    else if (frame->type == AL_MSG_DONE && SIM_GET(sim, frame, done, &m.done))
        on_done(sim, client, &m.done);
    else if (frame->type == AL_MSG_ERROR && SIM_GET(sim, frame, error, &m.error))
        on_error(sim, client, &m.error);
}

static void commits_frame(struct sim *sim, struct sim_client *client, const struct al_frame *frame)
{
    struct committer *c = client->role_state;
    union {
        struct al_msg_receipt receipt;
        struct al_msg_refused refused;
        struct al_msg_end end;
        struct al_msg_deliver deliver;
        struct al_msg_committed committed;
    } m;

    switch (frame->type) {
    case AL_MSG_RECEIPT:
        if (SIM_GET(sim, frame, receipt, &m.receipt))
            on_receipt(sim, &c->facts, &c->process, &m.receipt);
        break;
    case AL_MSG_REFUSED:
        if (SIM_GET(sim, frame, refused, &m.refused))
            on_refused(sim, &c->facts, &c->process, &m.refused);
        break;
    case AL_MSG_END:
        if (SIM_GET(sim, frame, end, &m.end))
            on_end(sim, &c->facts, &c->process, &m.end);
        break;
    case AL_MSG_DELIVER:
        if (SIM_GET(sim, frame, deliver, &m.deliver))
            on_deliver(sim, client, &m.deliver);
        break;
    case AL_MSG_COMMITTED:
        if (SIM_GET(sim, frame, committed, &m.committed))
            on_committed(sim, client, &m.committed);
        break;
    default:
        control_frame(sim, client, frame);
    }
}

/* ---- waking, the end --------------------------------------------------------------------- */

static bool all_audited(const struct sim_effects *f)
{
    for (uint32_t i = 0; i < SIM_NUMBERS; i++)
        if (f->numbers[i].sent && !f->numbers[i].audited)
            return false;
    return true;
}

static void commits_wake(struct sim *sim, struct sim_client *client)
{
    struct committer *c = client->role_state;
    struct process *p = &c->process;
    struct al_msg_channel_resume resume = {.channel = 1, .first_pseq = p->pseq + 1};
    struct al_msg_dlq_list list = {.agent = al_str_c("ck")};

    if (client->ready && client->conn != SIM_NONE) {
        if (p->held && p->has_channel && sim->mono_ns >= p->hold_ns) {
            p->held = false;
            SIM_PUT(sim, client, channel_resume, &resume);
        }
        publish_at_random(sim, client);
        if (p->publishing && p->again && sim->mono_ns > p->again_ns)
            start_over(sim, client); /* the node had no room to note who waits: ask again */
        if (client->conn != SIM_NONE && p->state_known && p->joined && !p->request && p->count) {
            make_commit(sim, c);
            write_commit(sim, client);
        }
        if (client->conn != SIM_NONE && !sim->load_on && p->state_known && !p->letters_request &&
            all_audited(&c->facts)) {
            p->letters = 0;
            list.request = p->letters_request = ++p->requests;
            SIM_PUT(sim, client, dlq_list, &list);
        }
    }
    if (client->conn != SIM_NONE)
        sim_client_wake(sim, client, sim_delay(sim, sim->load_on ? 20000 : 10000));
}

bool sim_commits_done(const struct sim_client *client)
{
    const struct committer *c = client->role_state;

    return c->facts.dead_told && !c->facts.open && all_audited(&c->facts);
}

void sim_commits_account(struct sim *sim, const struct sim_client *client)
{
    sim_effects_account(sim, &((const struct committer *)client->role_state)->facts);
}

const struct sim_role_ops sim_commits_ops = {
    .init = commits_init,
    .free = commits_free,
    .ready = commits_ready,
    .frame = commits_frame,
    .disconnected = commits_disconnected,
    .crashed = commits_crashed,
    .wake = commits_wake,
};
