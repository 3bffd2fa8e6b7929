/* enroller.c - programs that come from elsewhere, and somebody who lets them in and throws them
 * out.
 *
 * One client plays all of them in turn: on each connection it is the administrator of the node's
 * machine, a program that joins with a token, or one that shows a certificate it was once given,
 * new or old. What must come of it is followed from the records alone: which token counts, which
 * certificates do. */
#include "base/errors.h"
#include "core/identities.h"
#include "core/records.h"
#include "crypto/hash.h"
#include "roles.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AGENTS  3u
#define SERIALS 8u /* certificates that the programs remember, of each agent */
#define TOKEN   32u

/* What the records say of an identity. */
struct fact {
    uint8_t state; /* AL_IDENTITY_; 0: there is none */
    uint32_t number;
    uint8_t token[TOKEN]; /* digest */
    uint64_t token_ms, valid_serial, serial;
    uint64_t changes;    /* joinings and revocations */
    bool was_good;       /* the token, when it was last used */
    uint8_t used[TOKEN]; /* likewise its digest */
};

struct sim_identities {
    struct fact list[AGENTS];
};

struct enroller {
    uint32_t agent; /* of this connection */
    uint32_t left;  /* what is still to be done on it */
    bool asked;     /* it has presented its token */
    bool welcome;   /* expected, as the facts were when it was opened */
    uint64_t changes;
    uint8_t next_token, tokens[AGENTS]; /* what the secrets are filled with; 0: none yet */
    uint64_t serials[AGENTS][SERIALS];
};

static void name_of(uint32_t agent, char text[8])
{
    snprintf(text, 8, "far%u", agent);
}

static uint32_t find(struct al_str name)
{
    char text[8];

    for (uint32_t i = 0; i < AGENTS; i++) {
        name_of(i, text);
        if (al_str_eq(al_str_c(text), name))
            return i;
    }
    return AGENTS;
}

static void digest_of(uint8_t secret, uint8_t ret_digest[TOKEN])
{
    uint8_t bytes[TOKEN];
    struct al_str text = al_str_of(bytes, TOKEN);

    memset(bytes, secret, TOKEN);
    al_digest256(&text, 1, ret_digest);
}

/* ---- the facts --------------------------------------------------------------------------- */

struct sim_identities *sim_identities_new(void)
{
    struct sim_identities *identities = sim_xrealloc(NULL, sizeof(*identities));

    memset(identities, 0, sizeof(*identities));
    return identities;
}

static struct fact *fact_of(struct sim *sim, struct al_str agent)
{
    uint32_t i = find(agent);

    return i < AGENTS ? &sim->ledger->identities->list[i] : NULL;
}

static void note_set(struct fact *fact, const struct ali_rec_identity_set *r)
{
    if (!fact->state)
        fact->state = AL_IDENTITY_WAITS;
    fact->number = r->identity;
    fact->token_ms = r->token_ms;
    memcpy(fact->token, r->token.p, TOKEN);
}

static void note_issue(struct fact *fact, uint64_t lsn, const struct ali_rec_identity_issue *r)
{
    fact->serial = lsn;
    if (!r->joined)
        return;
    fact->was_good = fact->token_ms > r->wall_ms;
    memcpy(fact->used, fact->token, TOKEN);
    fact->state = AL_IDENTITY_ACTIVE;
    fact->valid_serial = lsn;
    fact->token_ms = 0;
    fact->changes++;
}

static void note_revoke(struct fact *fact, const struct ali_rec_identity_revoke *r)
{
    uint64_t changes = fact->changes + 1;

    if (r->forget)
        memset(fact, 0, sizeof(*fact));
    else
        fact->state = AL_IDENTITY_REVOKED;
    fact->token_ms = 0;
    fact->changes = changes;
}

void sim_identities_record(struct sim *sim, uint64_t lsn, unsigned type, struct al_str payload)
{
    union {
        struct ali_rec_identity_set set;
        struct ali_rec_identity_issue issue;
        struct ali_rec_identity_revoke revoke;
    } r;

    if (type == ALI_REC_IDENTITY_SET && ali_decode_rec_identity_set(payload, &r.set) == 0)
        note_set(fact_of(sim, r.set.agent), &r.set);
    else if (type == ALI_REC_IDENTITY_ISSUE &&
             ali_decode_rec_identity_issue(payload, &r.issue) == 0)
        note_issue(fact_of(sim, r.issue.agent), lsn, &r.issue);
    else if (type == ALI_REC_IDENTITY_REVOKE &&
             ali_decode_rec_identity_revoke(payload, &r.revoke) == 0)
        note_revoke(fact_of(sim, r.revoke.agent), &r.revoke);
}

void sim_identities_reset(struct sim *sim)
{
    memset(sim->ledger->identities, 0, sizeof(*sim->ledger->identities));
    for (size_t i = 0; i < sim->shadow.count; i++) {
        const struct sim_record *record = &sim->shadow.list[i];

        sim_identities_record(sim, i + 1, record->type,
                              al_str_of(sim->shadow.bytes.data + record->offset, record->size));
    }
}

static bool counts(const struct fact *fact, uint64_t serial)
{
    return fact->state == AL_IDENTITY_ACTIVE && serial >= fact->valid_serial &&
           serial <= fact->serial;
}

/* ---- what the driver does ---------------------------------------------------------------- */

void sim_identities_open(struct sim *sim, uint32_t n, struct al_event *event)
{
    struct sim_client *client = &sim->clients[sim->conns[n].client];
    struct enroller *e = client->role_state;
    const struct fact *fact;

    sim->conns[n].link = client->role == SIM_ENROLLER ? client->link : AL_LINK_LOCAL;
    if (sim->conns[n].link == AL_LINK_LOCAL)
        return;
    sim->conns[n].far_agent = e->agent;
    sim->conns[n].serial = client->serial;
    event->link = client->link;
    if (client->link == AL_LINK_JOIN) {
        client->uid = AL_UID_REMOTE;
        return;
    }
    fact = &sim->ledger->identities->list[e->agent];
    event->serial = client->serial;
    event->data = al_str_c(client->identity);
    client->uid = AL_UID_REMOTE | fact->number;
    e->welcome = counts(fact, client->serial);
    e->changes = fact->changes;
}

/* After each step: no link goes on whose certificate does not count. */
void sim_identities_check(struct sim *sim)
{
    for (uint32_t n = 0; n < SIM_CONNS; n++) {
        const struct sim_conn *conn = &sim->conns[n];

        if (!conn->node_side || !conn->opened || conn->node_closing || conn->deaf ||
            conn->link != AL_LINK_REMOTE)
            continue;
        if (!counts(&sim->ledger->identities->list[conn->far_agent], conn->serial))
            sim_fail(sim, "connection %u goes on with certificate %llu, which does not count", n,
                     (unsigned long long)conn->serial);
    }
}

static void answer(struct sim *sim, uint32_t n, uint32_t generation)
{
    static const uint8_t issued[] = {1, 0, 0, 0, 'C', 'A'};
    struct al_event event = {.type = AL_EVENT_ISSUED,
                             .conn = n,
                             .serial = sim->conns[n].issue_serial,
                             .data = al_str_of(issued, sizeof(issued))};

    if (sim->conns[n].generation != generation || !sim->conns[n].node_side || !sim->driver.up)
        return;
    if (sim_chance(sim, 100)) {
        event.status = -AL_E_EXPIRED;
        event.data = al_str_of(NULL, 0);
    }
    sim_driver_step(sim, &event);
}

void sim_identities_issue(struct sim *sim, const struct al_effect *effect, struct al_str identity)
{
    struct sim_conn *conn = &sim->conns[effect->conn];
    uint8_t digest[TOKEN];

    if (conn->link == AL_LINK_LOCAL) {
        sim_fail(sim, "a certificate for a client that asked for none");
        return;
    }
    for (uint32_t i = 0; i < AGENTS; i++) {
        const struct fact *fact = &sim->ledger->identities->list[i];
        char text[64];

        snprintf(text, sizeof(text), "spiffe://sim.net/default/agent/far%u", i);
        if (!al_str_eq(identity, al_str_c(text)))
            continue;
        digest_of(conn->presented, digest);
        if (conn->link == AL_LINK_JOIN &&
            (!fact->was_good || memcmp(digest, fact->used, TOKEN) != 0))
            sim_fail(sim, "far%u joins with a token that does not count", i);
        if (conn->link == AL_LINK_REMOTE && i != conn->far_agent)
            sim_fail(sim, "far%u is given the certificate of far%u", conn->far_agent, i);
    }
    sim->tally.reached[SIM_REACHED_JOINED] += conn->link == AL_LINK_JOIN;
    conn->issue_serial = effect->lsn;
    sim_after(sim, sim_delay(sim, 2000), answer, effect->conn, conn->generation);
}

/* ---- the role ---------------------------------------------------------------------------- */

/* Who to be on the next connection. */
static void choose(struct sim *sim, struct sim_client *client)
{
    struct enroller *e = client->role_state;
    uint64_t serial;

    e->agent = (uint32_t)sim_rand_below(&sim->rand, AGENTS);
    e->left = 1 + (uint32_t)sim_rand_below(&sim->rand, 4);
    e->asked = false;
    serial = e->serials[e->agent][sim_chance(sim, 700) ? 0 : sim_rand_below(&sim->rand, SERIALS)];
    client->uid = SIM_UID;
    client->link = AL_LINK_LOCAL;
    if (serial && sim_chance(sim, 500))
        client->link = AL_LINK_REMOTE;
    else if (e->tokens[e->agent] && sim_chance(sim, 600))
        client->link = AL_LINK_JOIN;
    client->serial = serial;
    snprintf(client->identity, sizeof(client->identity), "spiffe://sim.net/default/agent/far%u",
             e->agent);
}

static void enroller_init(struct sim *sim, struct sim_client *client)
{
    struct enroller *e = sim_xrealloc(NULL, sizeof(*e));

    memset(e, 0, sizeof(*e));
    client->role_state = e;
    choose(sim, client);
}

static void enroller_free(struct sim *sim, struct sim_client *client)
{
    (void)sim;
    free(client->role_state);
}

static void administer(struct sim *sim, struct sim_client *client)
{
    struct enroller *e = client->role_state;
    struct al_msg_identity_new new = {.request = ++client->next_request,
                                      .ttl_ms = sim_chance(sim, 300) ? 1000 : 0};
    struct al_msg_identity_revoke revoke = {.request = client->next_request,
                                            .flags = sim_chance(sim, 200)};
    uint8_t digest[TOKEN];
    char name[8];

    name_of(e->agent, name);
    new.agent = revoke.agent = al_str_c(name);
    if (sim_chance(sim, 300)) {
        SIM_PUT(sim, client, identity_revoke, &revoke);
        return;
    }
    if (++e->next_token == 0)
        e->next_token = 1;
    e->tokens[e->agent] = e->next_token;
    digest_of(e->next_token, digest);
    new.token = al_str_of(digest, TOKEN);
    SIM_PUT(sim, client, identity_new, &new);
    e->agent = (uint32_t)sim_rand_below(&sim->rand, AGENTS);
}

static void join(struct sim *sim, struct sim_client *client)
{
    struct enroller *e = client->role_state;
    uint8_t secret[TOKEN], presented = e->tokens[e->agent];
    struct al_msg_join m = {.request = ++client->next_request,
                            .token = al_str_of(secret, TOKEN),
                            .csr = al_str_c("request")};

    if (e->asked)
        return; /* the answer may take a while */
    e->asked = true;
    if (sim_chance(sim, 150)) /* an old one, or one that nobody has made yet */
        presented = (uint8_t)sim_rand_below(&sim->rand, 256);
    memset(secret, presented, TOKEN);
    sim->conns[client->conn].presented = presented;
    SIM_PUT(sim, client, join, &m);
}

static void visit(struct sim *sim, struct sim_client *client)
{
    struct enroller *e = client->role_state;
    struct al_msg_cert_renew renew = {.request = ++client->next_request,
                                      .csr = al_str_c("request")};
    struct al_msg_agent_remove remove = {.request = client->next_request};
    char name[8];

    if (sim_chance(sim, 500)) {
        SIM_PUT(sim, client, cert_renew, &renew);
        return;
    }
    name_of((e->agent + 1) % AGENTS, name); /* somebody else: refused, or the node has a hole */
    remove.name = al_str_c(name);
    SIM_PUT(sim, client, agent_remove, &remove);
}

static void enroller_wake(struct sim *sim, struct sim_client *client)
{
    struct enroller *e = client->role_state;

    if (!sim->load_on)
        return;
    if (e->left == 0) {
        sim_net_close_by_client(sim, client);
        choose(sim, client);
        sim_client_wake(sim, client, sim_delay(sim, 20000));
        return;
    }
    e->left--;
    if (client->link == AL_LINK_LOCAL)
        administer(sim, client);
    else if (client->link == AL_LINK_JOIN)
        join(sim, client);
    else
        visit(sim, client);
    sim_client_wake(sim, client, sim_delay(sim, 20000));
}

static void enroller_ready(struct sim *sim, struct sim_client *client)
{
    const struct enroller *e = client->role_state;
    const struct fact *fact = &sim->ledger->identities->list[e->agent];

    if (client->link == AL_LINK_REMOTE && !e->welcome && e->changes == fact->changes)
        sim_fail(sim, "certificate %llu of far%u is let in, and does not count",
                 (unsigned long long)client->serial, e->agent);
    sim_client_wake(sim, client, sim_delay(sim, 10000));
}

static void keep_serial(struct enroller *e, struct al_str identity, uint64_t serial)
{
    for (uint32_t i = 0; i < AGENTS; i++) {
        char text[64];

        snprintf(text, sizeof(text), "spiffe://sim.net/default/agent/far%u", i);
        if (!al_str_eq(identity, al_str_c(text)))
            continue;
        memmove(&e->serials[i][1], &e->serials[i][0], (SERIALS - 1) * sizeof(serial));
        e->serials[i][0] = serial;
    }
}

static void refused(struct sim *sim, const struct sim_client *client, const struct al_msg_error *m)
{
    const struct enroller *e = client->role_state;
    const struct fact *fact = &sim->ledger->identities->list[e->agent];

    if (!m->fatal || m->code != AL_E_REVOKED)
        return;
    sim->tally.reached[SIM_REACHED_REVOKED]++;
    if (client->link != AL_LINK_REMOTE || (e->welcome && e->changes == fact->changes))
        sim_fail(sim, "certificate %llu of far%u is refused, and counts",
                 (unsigned long long)client->serial, e->agent);
}

static void enroller_frame(struct sim *sim, struct sim_client *client, const struct al_frame *frame)
{
    struct al_msg_certificate certificate;
    struct al_msg_error error;
    struct al_msg_done done;

    if (frame->type == AL_MSG_CERTIFICATE && SIM_GET(sim, frame, certificate, &certificate))
        keep_serial(client->role_state, certificate.identity, certificate.serial);
    else if (frame->type == AL_MSG_ERROR && SIM_GET(sim, frame, error, &error))
        refused(sim, client, &error);
    else if (frame->type == AL_MSG_DONE && SIM_GET(sim, frame, done, &done) &&
             client->link == AL_LINK_REMOTE && done.code == 0)
        sim_fail(sim, "a program from elsewhere has removed another agent");
}

static void enroller_disconnected(struct sim *sim, struct sim_client *client)
{
    choose(sim, client);
}

const struct sim_role_ops sim_enroller_ops = {
    .init = enroller_init,
    .free = enroller_free,
    .ready = enroller_ready,
    .frame = enroller_frame,
    .disconnected = enroller_disconnected,
    .crashed = enroller_disconnected,
    .wake = enroller_wake,
};
