/* tls.h - contexts of TLS 1.3 links, and what a handshake found out.
 *
 * Two protocols, told apart by ALPN before anybody shows a certificate:
 *
 *   agentlink/1       both sides show certificates and check the other's: signed by an authority of
 *                     the bundle, in time, for this purpose, one identity, of the same network. The
 *                     server's must be a node's. No host name is looked at: the identity is the
 * name. agentlink-join/1  for somebody who has no certificate yet. The server asks for none; the
 * client (AL_TLS_JOINER) knows the fingerprint of an authority and accepts a node that this one
 * vouches for. What such a client may do is decided by the token that it brings, above.
 *
 * Anything else is refused: no ALPN or another one, TLS 1.2, resumption, early data, renegotiation.
 *
 * How to use it (server):                       (client, joiner):
 *   al_tls_context_new, once and per new leaf     al_tls_context_new
 *   accept; al_tls_open(context, fd, &stream)     connect; al_tls_open(context, fd, &stream)
 *   both: watch the descriptor for reading, and for writing while al_stream_is_blocked
 *     readable: al_stream_read until BUSY, as long as al_stream_has_more
 *     writable: al_stream_flush
 *   al_tls_state is 1: al_tls_peer says who it is. Before that nothing can be read or written.
 *   A caller ends what has not finished its handshake in time, and at the peer's not_after_ms.
 *
 * A client is through with its handshake before the server has looked at its certificate: whether
 * it was accepted tells only the first byte (or the refusal) that it reads.
 *
 * A context may be used by many threads. A link (struct al_tls, part of its stream) belongs to one
 * thread at a time. A link keeps its context: a new one changes nothing for old links. */
#ifndef AL_OS_TLS_H
#define AL_OS_TLS_H

#include "os/pki.h"

struct al_stream;

/* Certificates and rules that links begin with; counted references. */
struct al_tls_context;
/* The TLS half of one stream. */
struct al_tls;

/* Which end of a link, and which protocol a client speaks. */
enum al_tls_side {
    AL_TLS_SERVER = 1,
    AL_TLS_CLIENT, /* agentlink/1 */
    AL_TLS_JOINER, /* agentlink-join/1, as client */
};

/* What al_tls_context_new needs. It copies or refers to what it needs; all stays the caller's. */
struct al_tls_config {
    const struct al_pki_key *key;    /* of the leaf; NULL for AL_TLS_JOINER */
    const struct al_pki_cert *chain; /* leaf, then those between it and the authority; likewise */
    const struct al_pki_cert *authorities; /* trusted; more than one during an overlap; likewise */
    struct al_str network;      /* peers must be of it; empty: the leaf's own (joiner: any) */
    const uint8_t *fingerprint; /* joiner: SHA-256 of the authority's DER, 32 bytes; else NULL */
    bool allows_join;           /* server: agentlink-join/1 is spoken too */
    /* Wall clock for "in time", in ms since 1970; NULL: the system's. Any thread may call it. */
    uint64_t (*wall_ms)(void *ctx);
    void *wall_ctx;
    uint32_t rekey_records; /* new keys after so many records written; 0: AL_TLS_REKEY_RECORDS */
};

/* Makes a context. Own mistakes are found here: a key that is not the leaf's, a leaf without
 * identity, of another network, or (server) not a node's; an authority that is none. Whether the
 * leaf is in time is not looked at: clocks jump, and the peer tells. 0; -AL_E_INVALID with ret_why;
 * -AL_E_NOMEM. */
int al_tls_context_new(const struct al_tls_config *config, enum al_tls_side side,
                       struct al_tls_context **ret_context, char *ret_why, size_t why_size);
/* Another reference; returns it. */
struct al_tls_context *al_tls_context_ref(struct al_tls_context *context);
/* Gives a reference back; the last one frees. NULL is accepted. */
void al_tls_context_unref(struct al_tls_context *context);

/* Begins a link over a connected (or, for clients, connecting) non-blocking socket. On success
 * ret_stream has the descriptor, and al_stream_close closes it; on failure the caller still has it.
 * Sends nothing yet: a client's stream is "blocked" until al_stream_flush. 0 or -AL_E_NOMEM. */
int al_tls_open(struct al_tls_context *context, int fd, struct al_stream *ret_stream);

/* 1: the handshake is done; 0: not yet; negative: the link has failed, with the error that reads
 * and writes give. */
int al_tls_state(const struct al_tls *tls);

/* Who is at the other end. */
struct al_tls_peer {
    struct al_pki_info cert; /* identity "" for a peer that showed none */
    bool is_join;            /* agentlink-join/1 */
};
/* The peer, valid as long as the link; NULL before al_tls_state is 1. */
const struct al_tls_peer *al_tls_peer(const struct al_tls *tls);
/* Joiner: the authority that vouches for the node, a new certificate for the caller. 0;
 * -AL_E_NOT_FOUND: not a joiner, or the handshake is not done; -AL_E_NOMEM. */
int al_tls_peer_authority(const struct al_tls *tls, struct al_pki_cert **ret_cert);

/* Why links fail. X(symbol, token, what was wrong with the peer, what to do). Tokens are for audit
 * and metrics and never change. */
#define AL_TLS_REASONS(X)                                                                       \
    X(NONE, "none", "nothing", "")                                                              \
    X(NO_CERTIFICATE, "no_certificate", "no certificate was shown", "join the network first")   \
    X(UNKNOWN_CA, "unknown_ca", "the certificate is of an unknown authority",                   \
      "check that both sides trust the same one")                                               \
    X(EXPIRED, "expired", "the certificate has expired", "renew it; compare the clocks")        \
    X(NOT_YET_VALID, "not_yet_valid", "the certificate is not valid yet", "compare the clocks") \
    X(WRONG_NAME, "wrong_name", "the certificate does not name one AgentLink identity",         \
      "issue another one")                                                                      \
    X(WRONG_NETWORK, "wrong_network", "the certificate is of another network",                  \
      "check the address")                                                                      \
    X(WRONG_ROLE, "wrong_role", "the certificate is not a node's", "check the address")         \
    X(WRONG_PURPOSE, "wrong_purpose", "the certificate is not meant for this end of a link",    \
      "issue it for client and server")                                                         \
    X(BAD_SIGNATURE, "bad_signature", "a signature is wrong", "the certificate may be damaged") \
    X(BAD_CERTIFICATE, "bad_certificate", "the certificate is malformed or against the rules",  \
      "issue another one")                                                                      \
    X(TLS_VERSION, "tls_version", "TLS older than 1.3", "update the program at the other end")  \
    X(NOT_TLS, "not_tls", "this is not TLS", "check address and port")                          \
    X(NO_PROTOCOL, "no_protocol", "no AgentLink protocol in common", "check address and port")  \
    X(NO_CIPHER, "no_cipher", "no cipher, group or signature algorithm in common",              \
      "update the program at the other end")                                                    \
    X(TOO_LARGE, "too_large", "too many bytes before the end of the handshake",                 \
      "shorten the certificate chain")                                                          \
    X(MALFORMED, "malformed", "the handshake was malformed or altered on its way",              \
      "check what is between the two")                                                          \
    X(CLOSED, "closed", "the connection was closed during the handshake", "try again")          \
    X(INTERNAL, "internal", "this end failed", "see the log")

/* AL_TLS_NONE and so on. */
enum al_tls_reason {
#define AL_X(symbol, token, what, hint) AL_TLS_##symbol,
    AL_TLS_REASONS(AL_X)
#undef AL_X
};
/* The stable token of a reason, never NULL. */
const char *al_tls_reason_token(enum al_tls_reason reason);

/* Why a link failed. */
struct al_tls_failure {
    enum al_tls_reason reason;
    bool by_peer;   /* the peer refused us (its alert); otherwise we refused it */
    char text[240]; /* for a person: what, and what to do */
};
/* Why the link failed; NULL while it has not. Valid as long as the link. What the reason says is
 * said of the peer's certificate, or, by_peer, of our own. An alert carries less: by the peer,
 * WRONG_NAME stands for name, network and role together. */
const struct al_tls_failure *al_tls_why(const struct al_tls *tls);

#endif
