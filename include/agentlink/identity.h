/* agentlink/identity.h - agents on other machines: tokens, joining, revocation.
 *
 * On the node's own machine a program is known by its user. From elsewhere it comes over TLS with a
 * certificate that says which one agent it may act as. How it gets that: somebody on the node's
 * machine makes an identity (al_identity_new()) and hands over the token; the program uses the
 * token once (al_join()); from then on al_client_open() with `tls:HOST:PORT` connects, and the
 * library renews the certificate by itself. al_identity_revoke() ends all of it at once.
 *
 * Calls wait for the node and behave as those of admin.h. */
#ifndef AGENTLINK_IDENTITY_H
#define AGENTLINK_IDENTITY_H

#include <agentlink/client.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Bytes of a token's text, with its terminating zero, at most. */
#define AL_TOKEN_MAX 1536

/* An identity that waits for its token. */
struct al_identity_token {
    char token[AL_TOKEN_MAX]; /* a secret: whoever has it may become the agent, once */
    char identity[257];       /* spiffe://NETWORK/NAMESPACE/agent/NAME */
    uint64_t expires_ms;      /* wall clock; the token is void then */
};
/* Makes an identity for an agent, or gives an existing one a new token: when that is used, its
 * older certificates are void. ttl_ms: life of the token, 1000 to 7 days; 0: one hour. `addresses`:
 * HOST:PORT, separated by commas, under which the node is reached from elsewhere; NULL: where it
 * listens. The caller must be of the node's machine and own the agent, or be root. 0;
 * -AL_ERR_BAD_NAME, -AL_ERR_NOT_OWNER, -AL_ERR_DENIED, -AL_ERR_INVALID, -AL_ERR_LIMIT,
 * -AL_ERR_UNSUPPORTED (the node takes no links: start it with --listen tls:HOST:PORT). */
AL_API int al_identity_new(struct al_client *client, const char *agent, uint64_t ttl_ms,
                           const char *addresses, struct al_identity_token *ret_token);

/* Ends an identity: its connections are closed, its certificates and its token are void, from the
 * moment this returns. forget: it is not listed any more either. 0; -AL_ERR_NOT_FOUND,
 * -AL_ERR_NOT_OWNER, -AL_ERR_DENIED. */
AL_API int al_identity_revoke(struct al_client *client, const char *agent, bool forget);

enum al_identity_state {
    AL_IDENTITY_STATE_WAITING = 1, /* nobody has used its token yet */
    AL_IDENTITY_STATE_ACTIVE = 2,
    AL_IDENTITY_STATE_REVOKED = 3
};
struct al_identity_info {
    const char *agent;
    enum al_identity_state state;
    uint32_t uid;       /* user who made it */
    uint32_t links;     /* connections now; 255: that or more */
    uint64_t made_ms;   /* wall clock, when it was made or got its newest token */
    uint64_t token_ms;  /* wall clock up to which its token counts, 0: it has none */
    uint64_t serial;    /* of its newest certificate, 0: none yet */
    uint64_t issued_ms; /* wall clock, when that was issued */
};
/* Called for each identity, sorted by agent; what it points to is valid during the call. Non-zero
 * ends the list. */
typedef int al_identity_fn(void *ctx, const struct al_identity_info *info);
/* All identities, or with `agent` not NULL that of this agent (-AL_ERR_NOT_FOUND). */
AL_API int al_identity_list(struct al_client *client, const char *agent, al_identity_fn *fn,
                            void *ctx);

/* Options of al_join(). Zeroed: every default. */
struct al_join_options {
    const char *identity;  /* directory that is made; as in al_client_options */
    const char *addresses; /* HOST:PORT of the node, instead of those in the token */
    bool replace;          /* an identity that is there already is replaced */
    uint32_t timeout_ms;   /* for everything together; default 10000 */
};
struct al_join_result {
    char identity[257];
    char addresses[1024]; /* for `tls:` */
};
/* Uses a token: makes a key that never leaves this machine, gets a certificate for it, and writes
 * both into the identity's directory. The node is checked: it must be vouched for by the authority
 * that the token names. 0; -AL_ERR_BAD_TOKEN; -AL_ERR_EXISTS (there is an identity already);
 * -AL_ERR_UNREACHABLE, -AL_ERR_DENIED, -AL_ERR_INVALID, -AL_ERR_IO, -AL_ERR_DISK_FULL. */
AL_API int al_join(const char *token, const struct al_join_options *options,
                   struct al_join_result *ret_result);

#ifdef __cplusplus
}
#endif

#endif
