/* network.h - what a node needs to be reached from elsewhere: its authority and its certificate.
 *
 * DIR/identity of a data directory holds authority.key and authority.pem (the network's authority),
 * node.key and node.pem (what the node shows). They are made when they are first needed. A network
 * has a random name, so that two of them are never taken for each other.
 *
 * Threads: one at a time. */
#ifndef AL_NODE_NETWORK_H
#define AL_NODE_NETWORK_H

#include "base/bytes.h"
#include "os/tls.h"

struct al_network;

struct al_network_config {
    const char *data;     /* data directory; it exists */
    const char *node;     /* the node's name */
    uint64_t lifetime_ms; /* of certificates */
};

/* Reads what is there, makes what is not. On failure ret_why says what was wrong, where, and what
 * to do; a damaged or missing part is never replaced silently. 0; -AL_E_INVALID, -AL_E_DENIED,
 * -AL_E_EXPIRED (the authority), -AL_E_IO, -AL_E_DISK_FULL, -AL_E_NOMEM. */
int al_network_open(const struct al_network_config *config, uint64_t now_ms,
                    struct al_network **ret_network, char *ret_why, size_t why_size);
/* NULL is accepted. */
void al_network_close(struct al_network *network);
/* Its name, the part of every identity behind spiffe://. */
const char *al_network_name(const struct al_network *network);
/* SHA-256 of the authority's certificate, 32 bytes. */
const uint8_t *al_network_fingerprint(const struct al_network *network);
/* Makes a certificate for the key of a request; appends the data of an ISSUED event (core/node.h).
 * ret_not_after_ms: when it ends. 0, -AL_E_INVALID (the request), -AL_E_EXPIRED, -AL_E_NOMEM. */
int al_network_issue(const struct al_network *network, const struct al_pki_issue *issue,
                     struct al_buf *ret_data, uint64_t *ret_not_after_ms);
/* Server and client side of links that begin now; a reference of the network's. */
struct al_tls_context *al_network_context(const struct al_network *network);
/* Renews the node's own certificate if it is time; links that are there stay. Returns when to call
 * again, wall clock. Failure is told in ret_why ("" otherwise) and tried again in a minute. */
uint64_t al_network_renew(struct al_network *network, uint64_t now_ms, char *ret_why,
                          size_t why_size);

#endif
