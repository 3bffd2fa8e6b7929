/* enroll.c - how an identity comes to its certificates: tokens, joining, renewal, revocation.
 *
 * A token is made by a client of this machine, which shows the node only its digest; whoever has
 * the token may use it once, on a link that can do nothing else. The certificate is made by the
 * driver, which has the authority's key, and answered when the record that issued it is durable. */
#include "base/identity.h"
#include "core/internal.h"
#include "crypto/hash.h"

/* ---- tokens and certificates ------------------------------------------------------------- */

/* Gives the driver the request; the answer is sent when it has issued. */
static int issue(struct al_node *node, struct ali_conn *conn, ali_ref ref, uint32_t request,
                 const struct ali_rec_identity_issue *record, struct al_str csr)
{
    char text[AL_IDENTITY_MAX + 1];
    int r;

    if (!ali_identity_text(node, ali_identity_name(ali_identity_at(node, ref)), text))
        return -AL_E_INVALID;
    r = ali_commit(node, ALI_REC_IDENTITY_ISSUE, record);
    if (r < 0)
        return r;
    conn->issuing = node->d.lsn;
    conn->issue_request = request;
    conn->issue_of = ref;
    return ali_effect_issue(node, conn->number, conn->issuing, al_str_c(text), csr);
}

static int check_issue(const struct al_node *node, const struct ali_conn *conn, struct al_str csr)
{
    if (!node->config.network.n)
        return -AL_E_UNSUPPORTED;
    if (!csr.n || csr.n > AL_PKI_REQUEST_MAX)
        return -AL_E_INVALID;
    if (conn->issuing)
        return -AL_E_BUSY;
    return node->v.disk_full ? -AL_E_DISK_FULL : 0;
}

/* Whose token this is, while it counts. */
static ali_ref find_token(const struct al_node *node, struct al_str token)
{
    uint8_t digest[32];

    al_digest256(&token, 1, digest);
    for (ali_ref ref = 0; ref < node->identities.end; ref++) {
        const struct ali_identity *identity;

        if (!al_pool_has(&node->identities, ref))
            continue;
        identity = ali_identity_at(node, ref);
        if (identity->d.token_ms > node->v.now.wall_ms &&
            memcmp(identity->d.token, digest, sizeof(digest)) == 0)
            return ref;
    }
    return AL_REF_NONE;
}

int ali_handle_join(struct al_node *node, struct ali_conn *conn, const struct al_msg_join *m)
{
    ali_ref ref = AL_REF_NONE;
    struct ali_rec_identity_issue record = {
        .joined = 1, .wall_ms = node->v.now.wall_ms, .key = m->key};
    int r = conn->joins ? check_issue(node, conn, m->csr) : -AL_E_INVALID;

    if (r == 0 && (m->token.n != 32 || (m->key.n && m->key.n != 32)))
        r = -AL_E_INVALID;
    if (r == 0) {
        ref = find_token(node, m->token);
        r = ref == AL_REF_NONE ? -AL_E_BAD_TOKEN : 0;
    }
    if (r == 0) {
        record.agent = ali_identity_name(ali_identity_at(node, ref));
        ali_links_end(node, ref, "this identity has joined again from elsewhere");
        r = issue(node, conn, ref, m->request, &record, m->csr);
    }
    node->v.counters.links_refused += r == -AL_E_BAD_TOKEN;
    if (r < 0)
        ali_send_error(node, conn, AL_MSG_JOIN, m->request, r);
    return 0;
}

int ali_handle_cert_renew(struct al_node *node, struct ali_conn *conn,
                          const struct al_msg_cert_renew *m)
{
    struct ali_rec_identity_issue record = {.wall_ms = node->v.now.wall_ms};
    int r = conn->identity == AL_REF_NONE ? -AL_E_INVALID : check_issue(node, conn, m->csr);

    if (r == 0) {
        record.agent = ali_identity_name(ali_identity_at(node, conn->identity));
        r = issue(node, conn, conn->identity, m->request, &record, m->csr);
    }
    if (r < 0)
        ali_send_error(node, conn, AL_MSG_CERT_RENEW, m->request, r);
    return 0;
}

int ali_issued(struct al_node *node, const struct al_event *event)
{
    struct ali_conn *conn = ali_conn_at(node, event->conn);
    char text[AL_IDENTITY_MAX + 1];
    struct al_issued issued = {0};
    const struct ali_identity *identity;
    ali_ref ref;
    int r = event->status;

    if (!conn || conn->issuing != event->serial)
        return 0; /* it has gone meanwhile */
    ref = conn->issue_of;
    conn->issuing = 0;
    if (!al_pool_has(&node->identities, ref) ||
        ali_identity_at(node, ref)->d.serial != event->serial)
        r = -AL_E_REVOKED; /* meanwhile, or it has joined elsewhere */
    if (r == 0)
        r = al_issued_decode(event->data, &issued);
    if (r < 0) {
        ali_send_error(node, conn, conn->joins ? AL_MSG_JOIN : AL_MSG_CERT_RENEW,
                       conn->issue_request, r);
        return 0;
    }
    identity = ali_identity_at(node, ref);
    (void)ali_identity_text(node, ali_identity_name(identity), text);
    struct al_msg_certificate answer = {.request = conn->issue_request,
                                        .serial = event->serial,
                                        .identity = al_str_c(text),
                                        .certificate = issued.certificate,
                                        .authorities = issued.authorities};
    ALI_SEND(node, conn->number, certificate, &answer);
    return 0;
}

/* ---- administration ---------------------------------------------------------------------- */

#define TOKEN_TTL_MS     (60u * 60 * 1000)
#define TOKEN_TTL_MAX_MS (7ull * 24 * 60 * 60 * 1000)

/* Whether this user may make, or has made, an identity for that agent. */
static int check_maker(const struct al_node *node, const struct ali_conn *conn, struct al_str name,
                       ali_ref ref)
{
    ali_ref agent = ali_find_agent_name(node, name);

    if (conn->uid >= AL_UID_REMOTE)
        return -AL_E_DENIED;
    if (ali_is_administrator(node, conn))
        return 0;
    if (ref != AL_REF_NONE && ali_identity_at(node, ref)->d.uid != conn->uid)
        return -AL_E_NOT_OWNER;
    return agent != AL_REF_NONE && !ali_may_act(node, conn, ali_agent_at(node, agent))
               ? -AL_E_NOT_OWNER
               : 0;
}

static int make(struct al_node *node, struct ali_conn *conn, const struct al_msg_identity_new *m,
                struct ali_rec_identity_set *record)
{
    ali_ref ref, agent; /* the agent is the maker's, who may act as it here */
    int r;

    if (!node->config.network.n)
        return -AL_E_UNSUPPORTED;
    if (!al_name_is_valid(m->agent))
        return -AL_E_BAD_NAME;
    if (m->token.n != 32 || m->ttl_ms > TOKEN_TTL_MAX_MS || (m->ttl_ms && m->ttl_ms < 1000))
        return -AL_E_INVALID;
    ref = ali_find_identity(node, record->agent);
    r = check_maker(node, conn, record->agent, ref);
    if (r == 0 && node->v.disk_full)
        r = -AL_E_DISK_FULL;
    if (r == 0 && ref == AL_REF_NONE && node->identities.count >= AL_IDENTITIES_MAX)
        r = -AL_E_LIMIT;
    if (r < 0)
        return r;
    if (ali_find_agent_name(node, record->agent) == AL_REF_NONE) {
        r = ali_agent_get(node, conn, m->agent, true, &agent);
        if (r < 0)
            return r;
    }
    record->identity =
        ref == AL_REF_NONE ? node->d.next_identity : ali_identity_at(node, ref)->d.number;
    return ali_commit(node, ALI_REC_IDENTITY_SET, record);
}

int ali_handle_identity_new(struct al_node *node, struct ali_conn *conn,
                            const struct al_msg_identity_new *m)
{
    uint64_t now = node->v.now.wall_ms;
    char text[AL_IDENTITY_MAX + 1];
    struct ali_rec_identity_set record = {.uid = conn->uid,
                                          .wall_ms = now,
                                          .token_ms = now + (m->ttl_ms ? m->ttl_ms : TOKEN_TTL_MS),
                                          .agent = ali_name_normal(m->agent),
                                          .token = m->token};
    struct al_msg_identity_ready ready = {
        .request = m->request,
        .expires_ms = record.token_ms,
        .addresses = node->config.addresses,
        .authority = al_str_of(node->config.authority, sizeof(node->config.authority))};
    int r = make(node, conn, m, &record);

    if (r == 0 && !ali_identity_text(node, record.agent, text))
        r = -AL_E_BAD_NAME;
    if (r < 0) {
        ali_send_error(node, conn, AL_MSG_IDENTITY_NEW, m->request, r);
        return 0;
    }
    ready.identity = al_str_c(text);
    ALI_SEND(node, conn->number, identity_ready, &ready);
    return 0;
}

int ali_handle_identity_revoke(struct al_node *node, struct ali_conn *conn,
                               const struct al_msg_identity_revoke *m)
{
    ali_ref ref = al_name_is_valid(m->agent) ? ali_find_identity(node, ali_name_normal(m->agent))
                                             : AL_REF_NONE;
    struct ali_rec_identity_revoke record = {.forget = m->flags & 1,
                                             .wall_ms = node->v.now.wall_ms};
    int r = ref == AL_REF_NONE ? -AL_E_NOT_FOUND
                               : check_maker(node, conn, ali_name_normal(m->agent), ref);

    if (r == 0) {
        record.agent = ali_identity_name(ali_identity_at(node, ref));
        if (!AL_PLANT(node, REVOKED_STAYS))
            ali_links_end(node, ref, "this identity was revoked");
        r = ali_commit(node, ALI_REC_IDENTITY_REVOKE, &record);
    }
    ali_send_done(node, conn, m->request, r, r == 0);
    return 0;
}

/* ---- listing ----------------------------------------------------------------------------- */

static void send_row(struct al_node *node, struct ali_conn *conn, uint32_t request, ali_ref ref)
{
    const struct ali_identity *identity = ali_identity_at(node, ref);
    uint32_t links = identity->v.link_count;
    struct al_msg_identity_row row = {.request = request,
                                      .number = identity->d.number,
                                      .uid = identity->d.uid,
                                      .state = identity->d.state,
                                      .links = (uint8_t)(links < UINT8_MAX ? links : UINT8_MAX),
                                      .made_ms = identity->d.made_ms,
                                      .token_ms = identity->d.token_ms,
                                      .serial = identity->d.serial,
                                      .issued_ms = identity->d.issued_ms,
                                      .agent = ali_identity_name(identity),
                                      .key =
                                          al_str_of(identity->d.key, identity->d.has_key ? 32 : 0)};

    ALI_SEND(node, conn->number, identity_row, &row);
}

static bool by_name(const struct al_node *node, ali_ref a, ali_ref b)
{
    return ali_compare(ali_identity_name(ali_identity_at(node, a)),
                       ali_identity_name(ali_identity_at(node, b))) <= 0;
}

int ali_handle_identity_list(struct al_node *node, struct ali_conn *conn,
                             const struct al_msg_identity_list *m)
{
    struct ali_page page;

    if (m->exact) {
        ali_ref ref = al_name_is_valid(m->after)
                          ? ali_find_identity(node, ali_name_normal(m->after))
                          : AL_REF_NONE;

        if (ref != AL_REF_NONE)
            send_row(node, conn, m->request, ref);
        ali_send_done(node, conn, m->request, ref == AL_REF_NONE ? -AL_E_NOT_FOUND : 0,
                      ref != AL_REF_NONE);
        return 0;
    }
    ali_page_init(&page, m->limit, by_name);
    for (ali_ref ref = 0; ref < node->identities.end; ref++)
        if (al_pool_has(&node->identities, ref) &&
            ali_compare(ali_identity_name(ali_identity_at(node, ref)), m->after) > 0)
            ali_page_offer(node, &page, ref);
    ali_page_sort(node, &page);
    for (uint32_t i = 0; i < page.count; i++)
        send_row(node, conn, m->request, page.refs[i]);
    ali_send_done(node, conn, m->request, 0, page.count);
    return 0;
}
