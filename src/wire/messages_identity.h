/* messages_identity.h - fields of the messages about identities: included by messages.h.
 *
 * An identity is made with the digest of a token; whoever has the token joins with it, once, and
 * gets a certificate. With the certificate it connects, and renews it in good time. */
#ifndef AL_WIRE_MESSAGES_IDENTITY_H
#define AL_WIRE_MESSAGES_IDENTITY_H

/* clang-format off */
#define AL_FIELDS_IDENTITY_NEW(U8, U16, U32, U64, ID, STR, BYTES)                            \
    U32(request, "number chosen by the client; answer: IDENTITY_READY or ERROR")             \
    U64(ttl_ms, "life time of the token, 1 s to 7 days; 0: 1 hour")                          \
    STR(agent, "the agent that its holder may act as; new, or the user's own")               \
    BYTES(token, "digest of a token that the client made: BLAKE2b-256 of its 32 bytes")
#define AL_FIELDS_IDENTITY_READY(U8, U16, U32, U64, ID, STR, BYTES)                          \
    U32(request, "from IDENTITY_NEW")                                                        \
    U64(expires_ms, "wall clock up to which the token counts")                               \
    STR(identity, "spiffe://NETWORK/NAMESPACE/agent/NAME")                                   \
    STR(addresses, "where the node takes links, HOST:PORT, separated by commas; may be empty") \
    BYTES(authority, "SHA-256 of the authority's certificate (DER), 32 bytes")
#define AL_FIELDS_JOIN(U8, U16, U32, U64, ID, STR, BYTES)                                    \
    U32(request, "number chosen by the client; answer: CERTIFICATE or ERROR")                \
    BYTES(token, "the token, 32 bytes")                                                      \
    BYTES(key, "Ed25519 key that its messages can be checked with, 32 bytes; may be empty")  \
    BYTES(csr, "PKCS#10 request (DER) with a P-256 key; only the key of it is used")
#define AL_FIELDS_CERT_RENEW(U8, U16, U32, U64, ID, STR, BYTES)                              \
    U32(request, "number chosen by the client; answer: CERTIFICATE or ERROR")                \
    BYTES(csr, "PKCS#10 request (DER), with the same key or a new one")
#define AL_FIELDS_CERTIFICATE(U8, U16, U32, U64, ID, STR, BYTES)                             \
    U32(request, "from JOIN or CERT_RENEW")                                                  \
    U64(serial, "its serial number")                                                         \
    STR(identity, "who it speaks for")                                                       \
    BYTES(certificate, "X.509, DER")                                                         \
    BYTES(authorities, "certificates of the network's authorities, DER, one behind the other")
#define AL_FIELDS_IDENTITY_REVOKE(U8, U16, U32, U64, ID, STR, BYTES)                         \
    U32(request, "number chosen by the client; answer: DONE")                                \
    U8(flags, "1: and forget it")                                                            \
    STR(agent, "whose identity")
#define AL_FIELDS_IDENTITY_LIST(U8, U16, U32, U64, ID, STR, BYTES)                           \
    U32(request, "number chosen by the client; answers: IDENTITY_ROW …, DONE")               \
    U32(limit, "rows at most; go on with `after` = last agent")                              \
    U8(exact, "1: only the one of agent `after`")                                            \
    STR(after, "agents behind this one")
#define AL_FIELDS_IDENTITY_ROW(U8, U16, U32, U64, ID, STR, BYTES)                            \
    U32(request, "from IDENTITY_LIST")                                                       \
    U32(number, "its number; its user id on this node is 2147483648 more")                   \
    U32(uid, "user who made it")                                                             \
    U8(state, "1 waits for its token, 2 active, 3 revoked")                                  \
    U8(links, "its connections now, 255: that or more")                                      \
    U64(made_ms, "wall clock when it was made, or got its newest token")                     \
    U64(token_ms, "wall clock up to which its token counts, 0: it has none")                 \
    U64(serial, "of its newest certificate, 0: none yet")                                    \
    U64(issued_ms, "wall clock when that was issued")                                        \
    STR(agent, "the agent")                                                                  \
    BYTES(key, "its Ed25519 key, 32 bytes, or empty")
/* clang-format on */

#endif
