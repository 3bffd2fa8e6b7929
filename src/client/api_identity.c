/* api_identity.c - identities: made, listed and revoked on the node's machine. */
#include "base/errors.h"
#include "base/limits.h"
#include "base/text.h"
#include "client/ask.h"
#include "client/token.h"
#include "crypto/hash.h"
#include <agentlink/identity.h>
#include <stdio.h>

static int check_agent(const char *agent)
{
    if (agent && al_name_is_valid(al_str_c(agent)))
        return 0;
    return ali_client_fail(-AL_E_BAD_NAME, "'%.130s' is not the name of an agent",
                           agent ? agent : "");
}

/* ---- making ------------------------------------------------------------------------------ */

static int fill_token(const struct al_msg_identity_ready *ready, const char *addresses,
                      struct ali_token *token, struct al_identity_token *ret_token)
{
    char room[sizeof(token->addresses)];

    snprintf(room, sizeof(room), "%.*s", (int)ready->addresses.n, (const char *)ready->addresses.p);
    if (!addresses || !*addresses)
        addresses = room;
    if (!*addresses)
        return ali_client_fail(-AL_E_UNSUPPORTED,
                               "the node takes no links from elsewhere; start it "
                               "with --listen tls:HOST:PORT");
    if (ready->authority.n != sizeof(token->fingerprint) ||
        strlen(addresses) >= sizeof(token->addresses) ||
        ready->identity.n >= sizeof(ret_token->identity))
        return ali_client_failed(-AL_E_PROTOCOL, NULL);
    snprintf(token->addresses, sizeof(token->addresses), "%s", addresses);
    memcpy(token->fingerprint, ready->authority.p, sizeof(token->fingerprint));
    ali_token_format(token, ret_token->token);
    snprintf(ret_token->identity, sizeof(ret_token->identity), "%.*s", (int)ready->identity.n,
             (const char *)ready->identity.p);
    ret_token->expires_ms = ready->expires_ms;
    return 0;
}

static int ask_new(struct al_client *client, struct al_msg_identity_new *m, const char *addresses,
                   struct ali_token *token, struct al_identity_token *ret_token)
{
    struct al_msg_identity_ready ready = {0};
    struct al_frame frame;
    struct ali_ask ask;
    int r;

    ali_ask_begin(&ask, client, true);
    m->request = ali_ask_number(&ask);
    r = ali_ask_end(&ask, al_put_identity_new(&ask.request.frame, m));
    if (r == -AL_E_UNSUPPORTED)
        r = ali_client_fail(r, "the node takes no links from elsewhere; start it with --listen "
                               "tls:HOST:PORT");
    if (r == 0 && (!ali_ask_row(&ask, AL_MSG_IDENTITY_READY, &frame) ||
                   al_decode_identity_ready(frame.body, &ready) < 0))
        r = ali_client_failed(-AL_E_PROTOCOL, NULL);
    if (r == 0)
        r = fill_token(&ready, addresses, token, ret_token);
    ali_ask_deinit(&ask);
    return r;
}

int al_identity_new(struct al_client *client, const char *agent, uint64_t ttl_ms,
                    const char *addresses, struct al_identity_token *ret_token)
{
    struct al_msg_identity_new m = {.ttl_ms = ttl_ms};
    struct ali_token token = {0};
    struct al_str secret = al_str_of(token.secret, sizeof(token.secret));
    uint8_t digest[32];
    int r = check_agent(agent);

    if (r < 0)
        return r;
    if (ttl_ms && (ttl_ms < 1000 || ttl_ms > 7ull * 24 * 3600 * 1000))
        return ali_client_fail(-AL_E_INVALID, "a token lives 1 second to 7 days");
    r = ali_token_make(&token);
    if (r < 0)
        return ali_client_failed(r, NULL);
    al_digest256(&secret, 1, digest);
    m.agent = al_str_c(agent);
    m.token = al_str_of(digest, sizeof(digest));
    r = ask_new(client, &m, addresses, &token, ret_token);
    ali_token_wipe(&token);
    return r;
}

/* ---- the others -------------------------------------------------------------------------- */

int al_identity_revoke(struct al_client *client, const char *agent, bool forget)
{
    struct al_msg_identity_revoke m = {.flags = forget};
    struct ali_ask ask;
    int r = check_agent(agent);

    if (r < 0)
        return r;
    m.agent = al_str_c(agent);
    ali_ask_begin(&ask, client, true);
    m.request = ali_ask_number(&ask);
    r = ali_ask_end(&ask, al_put_identity_revoke(&ask.request.frame, &m));
    if (r == -AL_E_NOT_FOUND)
        r = ali_client_fail(r, "there is no identity of %.130s; agentlink identity ls lists them",
                            agent);
    ali_ask_deinit(&ask);
    return r;
}

/* One page; `after` becomes the last name of it. */
static int list_page(struct al_client *client, char after[AL_NAME_MAX + 1], bool exact,
                     uint32_t *ret_count, al_identity_fn *fn, void *ctx)
{
    struct al_msg_identity_list m = {.exact = exact, .after = al_str_c(after)};
    struct al_msg_identity_row row;
    struct al_frame frame;
    struct ali_ask ask;
    int r;

    ali_ask_begin(&ask, client, false);
    m.request = ali_ask_number(&ask);
    r = ali_ask_end(&ask, al_put_identity_list(&ask.request.frame, &m));
    while (r == 0 && ali_ask_row(&ask, AL_MSG_IDENTITY_ROW, &frame)) {
        struct al_identity_info info;

        if (al_decode_identity_row(frame.body, &row) < 0 || row.agent.n > AL_NAME_MAX) {
            r = ali_client_failed(-AL_E_PROTOCOL, NULL);
            break;
        }
        memcpy(after, row.agent.p, row.agent.n);
        after[row.agent.n] = 0;
        info = (struct al_identity_info){.agent = after,
                                         .state = row.state,
                                         .uid = row.uid,
                                         .links = row.links,
                                         .made_ms = row.made_ms,
                                         .token_ms = row.token_ms,
                                         .serial = row.serial,
                                         .issued_ms = row.issued_ms};
        r = fn(ctx, &info);
    }
    *ret_count = ask.rows;
    ali_ask_deinit(&ask);
    return r;
}

int al_identity_list(struct al_client *client, const char *agent, al_identity_fn *fn, void *ctx)
{
    char after[AL_NAME_MAX + 1] = "";
    uint32_t count;
    int r = agent ? check_agent(agent) : 0;

    if (r == 0 && agent)
        snprintf(after, sizeof(after), "%s", agent);
    do {
        if (r == 0)
            r = list_page(client, after, agent, &count, fn, ctx);
    } while (r == 0 && !agent && count > 0);
    return r;
}
