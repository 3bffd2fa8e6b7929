/* identity.c - who may come from beyond this machine, and as which agent.
 *
 * On a Unix socket the kernel says who somebody is. A link that came over the network says it with
 * a certificate, which the driver has verified: chain, time, purpose, name. What a certificate
 * cannot say is decided here: whether the identity still exists, and whether this certificate still
 * counts. An identity waits for its token, is active, or revoked; a token is used once, and joining
 * again voids every certificate that was issued before. The serial number of a certificate is the
 * LSN of the record that issued it, so it is never used twice and the order of serials is the order
 * of time.
 *
 * The key of the authority is the driver's (AL_EFFECT_ISSUE): the core has no secrets. Tokens are
 * made by clients; the node sees the digest first and the token itself when it is used up.
 *
 * To everything else in the core the holder is a user whose number has the highest bit: producers,
 * groups and schedules that it makes are its own like any other user's. */
#include "base/identity.h"
#include "core/internal.h"
#include "core/items.h"
#include "crypto/hash.h"
#include <assert.h>

struct ali_identity *ali_identity_at(const struct al_node *node, ali_ref ref)
{
    return al_pool_at(&node->identities, ref);
}

struct al_str ali_identity_name(const struct ali_identity *identity)
{
    return al_str_of(identity->d.name, identity->d.name_size);
}

struct key {
    const struct al_node *node;
    struct al_str name;
};

static bool name_is(const void *ctx, uint32_t ref)
{
    const struct key *key = ctx;

    return al_str_eq(ali_identity_name(ali_identity_at(key->node, ref)), key->name);
}

ali_ref ali_find_identity(const struct al_node *node, struct al_str name)
{
    struct key key = {.node = node, .name = name};

    return al_index_find(&node->identity_names, ali_hash_name(node, name), name_is, &key);
}

bool ali_identity_text(const struct al_node *node, struct al_str name, char *ret_text)
{
    struct al_identity identity;

    return al_identity_of(node->config.network, AL_ROLE_AGENT, name, &identity) == 0 &&
           al_identity_format(&identity, ret_text) == 0;
}

/* ---- records ----------------------------------------------------------------------------- */

int ali_prepare_identity_set(struct al_node *node, const struct ali_rec_identity_set *r)
{
    ali_ref ref = ali_find_identity(node, r->agent);
    int e;

    if (!al_name_is_valid(r->agent) || r->token.n != 32 || !r->identity ||
        r->identity >= AL_UID_REMOTE)
        return -AL_E_DAMAGED;
    if (ref != AL_REF_NONE)
        return ali_identity_at(node, ref)->d.number == r->identity ? 0 : -AL_E_DAMAGED;
    if (r->identity < node->d.next_identity)
        return -AL_E_DAMAGED;
    e = al_pool_reserve(&node->identities, 1);
    return e < 0 ? e : al_index_reserve(&node->identity_names, 1);
}

static ali_ref add(struct al_node *node, uint32_t number, struct al_str name)
{
    ali_ref ref = al_pool_take(&node->identities);
    struct ali_identity *identity = ali_identity_at(node, ref);

    ali_fresh(node, &identity->object);
    identity->d.number = number;
    identity->d.name_size = (uint8_t)name.n;
    memcpy(identity->d.name, name.p, name.n);
    al_index_add(&node->identity_names, ali_hash_name(node, name), ref);
    if (number >= node->d.next_identity)
        node->d.next_identity = number + 1;
    return ref;
}

void ali_apply_identity_set(struct al_node *node, uint64_t lsn,
                            const struct ali_rec_identity_set *r)
{
    ali_ref ref = ali_find_identity(node, r->agent);
    struct ali_identity *identity;

    (void)lsn;
    if (ref == AL_REF_NONE) {
        ref = add(node, r->identity, r->agent);
        ali_identity_at(node, ref)->d.state = AL_IDENTITY_WAITS;
    } else {
        ali_touch(node, ALI_PART_IDENTITY, ref, &ali_identity_at(node, ref)->object);
    }
    identity = ali_identity_at(node, ref);
    identity->d.uid = r->uid;
    identity->d.made_ms = r->wall_ms;
    identity->d.token_ms = r->token_ms;
    memcpy(identity->d.token, r->token.p, sizeof(identity->d.token));
}

int ali_prepare_identity_issue(struct al_node *node, const struct ali_rec_identity_issue *r)
{
    return ali_find_identity(node, r->agent) == AL_REF_NONE || (r->key.n && r->key.n != 32)
               ? -AL_E_DAMAGED
               : 0;
}

void ali_apply_identity_issue(struct al_node *node, uint64_t lsn,
                              const struct ali_rec_identity_issue *r)
{
    ali_ref ref = ali_find_identity(node, r->agent);
    struct ali_identity *identity = ali_identity_at(node, ref);

    ali_touch(node, ALI_PART_IDENTITY, ref, &identity->object);
    identity->d.serial = lsn;
    identity->d.issued_ms = r->wall_ms;
    if (r->joined) {
        identity->d.state = AL_IDENTITY_ACTIVE;
        identity->d.valid_serial = lsn;
        if (!AL_PLANT(node, TOKEN_TWICE)) {
            identity->d.token_ms = 0;
            memset(identity->d.token, 0, sizeof(identity->d.token));
        }
    }
    if (r->key.n) {
        identity->d.has_key = true;
        memcpy(identity->d.key, r->key.p, sizeof(identity->d.key));
    }
}

int ali_prepare_identity_revoke(struct al_node *node, const struct ali_rec_identity_revoke *r)
{
    return ali_find_identity(node, r->agent) == AL_REF_NONE ? -AL_E_DAMAGED : 0;
}

void ali_apply_identity_revoke(struct al_node *node, uint64_t lsn,
                               const struct ali_rec_identity_revoke *r)
{
    ali_ref ref = ali_find_identity(node, r->agent);
    struct ali_identity *identity = ali_identity_at(node, ref);

    (void)lsn;
    ali_touch(node, ALI_PART_IDENTITY, ref, &identity->object);
    identity->d.state = AL_IDENTITY_REVOKED;
    identity->d.token_ms = 0;
    memset(identity->d.token, 0, sizeof(identity->d.token));
    if (!r->forget)
        return;
    assert(identity->v.link_count == 0 || !node->v.started);
    al_index_remove(&node->identity_names, ali_hash_name(node, ali_identity_name(identity)), ref);
    al_pool_put(&node->identities, ref);
}

int ali_identity_put(const struct ali_identity *identity, struct al_buf *out)
{
    struct ali_item_identity item = {
        .identity = identity->d.number,
        .uid = identity->d.uid,
        .state = identity->d.state,
        .made_ms = identity->d.made_ms,
        .token_ms = identity->d.token_ms,
        .valid_serial = identity->d.valid_serial,
        .serial = identity->d.serial,
        .issued_ms = identity->d.issued_ms,
        .agent = ali_identity_name(identity),
        .token = al_str_of(identity->d.token, identity->d.token_ms ? 32 : 0),
        .key = al_str_of(identity->d.key, identity->d.has_key ? 32 : 0)};

    return ali_put_item_identity(out, &item);
}

int ali_identity_load(struct al_node *node, const struct ali_item_identity *item)
{
    struct ali_identity *identity;
    int e = 0;

    if (!al_name_is_valid(item->agent) || ali_find_identity(node, item->agent) != AL_REF_NONE ||
        !item->identity || item->identity >= AL_UID_REMOTE || item->state < AL_IDENTITY_WAITS ||
        item->state > AL_IDENTITY_REVOKED || (item->token.n && item->token.n != 32) ||
        (item->key.n && item->key.n != 32))
        return -AL_E_DAMAGED;
    e = al_pool_reserve(&node->identities, 1);
    if (e == 0)
        e = al_index_reserve(&node->identity_names, 1);
    if (e < 0)
        return e;
    identity = ali_identity_at(node, add(node, item->identity, item->agent));
    identity->d.uid = item->uid;
    identity->d.state = item->state;
    identity->d.made_ms = item->made_ms;
    identity->d.token_ms = item->token_ms;
    identity->d.valid_serial = item->valid_serial;
    identity->d.serial = item->serial;
    identity->d.issued_ms = item->issued_ms;
    if (item->token.n)
        memcpy(identity->d.token, item->token.p, 32);
    identity->d.has_key = item->key.n;
    if (item->key.n)
        memcpy(identity->d.key, item->key.p, 32);
    return 0;
}

/* ---- links ------------------------------------------------------------------------------- */

/* Why this certificate does not count: 0 it does. */
static int check_certificate(const struct al_node *node, ali_ref ref, uint64_t serial)
{
    const struct ali_identity *identity;

    if (ref == AL_REF_NONE)
        return -AL_E_REVOKED; /* it was forgotten, or never made here */
    identity = ali_identity_at(node, ref);
    if (AL_PLANT(node, REVOKED_WELCOME))
        return 0;
    if (identity->d.state != AL_IDENTITY_ACTIVE || serial < identity->d.valid_serial ||
        serial > identity->d.serial)
        return -AL_E_REVOKED;
    return 0;
}

/* The identity that a verified certificate names, AL_REF_NONE. */
static ali_ref find_text(const struct al_node *node, struct al_str text)
{
    struct al_identity identity;
    char name[AL_NAME_MAX + 1];

    if (al_identity_parse(text, &identity) < 0 || identity.role != AL_ROLE_AGENT ||
        !al_str_eq(identity.network, node->config.network))
        return AL_REF_NONE;
    al_identity_full_name(&identity, name);
    return ali_find_identity(node, al_str_c(name));
}

void ali_link_open(struct al_node *node, struct ali_conn *conn, const struct al_event *event)
{
    ali_ref ref;
    int r;

    conn->identity = AL_REF_NONE;
    conn->joins = event->link == AL_LINK_JOIN;
    conn->uid = event->link == AL_LINK_LOCAL ? event->uid : AL_UID_REMOTE;
    if (event->link != AL_LINK_REMOTE)
        return;
    ref = find_text(node, event->data);
    r = check_certificate(node, ref, event->serial);
    if (r < 0) {
        node->v.counters.links_refused++;
        ali_send_fatal(node, conn, 0, r,
                       "this certificate does not count any more; join again with a new token "
                       "(agentlink identity new)");
        return;
    }
    conn->identity = ref;
    conn->uid = AL_UID_REMOTE | ali_identity_at(node, ref)->d.number;
    ali_identity_at(node, ref)->v.link_count++;
}

void ali_link_closed(struct al_node *node, struct ali_conn *conn)
{
    if (conn->identity != AL_REF_NONE)
        ali_identity_at(node, conn->identity)->v.link_count--;
    conn->identity = AL_REF_NONE;
}

bool ali_link_is_of(const struct al_node *node, const struct ali_conn *conn, struct al_str name)
{
    return conn->identity != AL_REF_NONE &&
           al_str_eq(ali_identity_name(ali_identity_at(node, conn->identity)), name);
}

void ali_links_end(struct al_node *node, ali_ref ref, const char *why)
{
    for (uint32_t i = 0; i < node->v.conn_cap && ali_identity_at(node, ref)->v.link_count; i++) {
        struct ali_conn *conn = node->v.conns[i];

        if (!conn || conn->identity != ref)
            continue;
        ali_send_fatal(node, conn, 0, AL_E_REVOKED, why);
        ali_link_closed(node, conn);
        conn->uid = AL_UID_REMOTE; /* nobody */
    }
}
