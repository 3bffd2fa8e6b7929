/* tls_internal.h - the objects behind tls.h: contexts (tls.c), checks (tls_verify.c), links
 * (tls_link.c). */
#ifndef AL_OS_TLS_INTERNAL_H
#define AL_OS_TLS_INTERNAL_H

#include "os/ssl_internal.h"
#include "os/stream.h"
#include <openssl/ssl.h>
#include <stdatomic.h>

#define ALI_ALPN_LINK "agentlink/1"
#define ALI_ALPN_JOIN "agentlink-join/1"

/* Behind tls.h. Nothing but the count changes once it is made. */
struct al_tls_context {
    _Atomic unsigned refs;
    enum al_tls_side side;
    bool allows_join;
    SSL_CTX *ssl;
    X509
        *authority; /* server: the one that vouches for the leaf, sent on join links; may be NULL */
    char network[AL_NETWORK_MAX + 1]; /* of peers; "": any (joiner) */
    uint8_t fingerprint[32];          /* joiner */
    uint64_t (*wall_ms)(void *ctx);
    void *wall_ctx;
    uint32_t rekey_records;
};

/* Behind tls.h. */
struct al_tls {
    SSL *ssl;
    struct al_tls_context *context;
    int fd;                             /* of the stream */
    int state;                          /* 0: handshake, 1: done, negative: failed */
    bool holds_reads;                   /* what was taken from the socket is enough for now */
    bool may_have_more;                 /* something of it may be left */
    bool saw_bytes, saw_end, saw_close; /* anything came; the socket ended; close_notify came */
    bool has_begun, has_heard; /* first flight is out; something came after the handshake */
    bool is_deaf;              /* the peer takes nothing any more */
    bool has_ended;            /* close_notify is written */
    uint32_t handshake_bytes;
    uint32_t records; /* written under this key */
    uint8_t *out;     /* cipher text from out_begin to out_end waits for room */
    size_t out_begin, out_end, out_cap;
    X509 *authority; /* joiner: found */
    bool is_known;   /* peer.cert was filled */
    struct al_tls_peer peer;
    struct al_tls_failure failure; /* reason AL_TLS_NONE: none yet */
};

/* The method of the BIO between OpenSSL and the socket; NULL: no memory. Any thread. */
const BIO_METHOD *ali_tls_bio(void);
/* Registers the checks of certificates and protocols with a new context. */
void ali_tls_verify_init(struct al_tls_context *context);
/* Notes why the link fails, unless that is known already. `detail` may be NULL. */
void ali_tls_fail(struct al_tls *tls, enum al_tls_reason reason, const char *detail);
/* Likewise from the alert that the peer sent. */
void ali_tls_fail_alert(struct al_tls *tls, int alert);
/* Likewise from an error code of OpenSSL, by us or by the peer. */
void ali_tls_fail_error(struct al_tls *tls, unsigned long error);

#endif
