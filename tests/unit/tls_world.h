/* tls_world.h - a network for tests: an authority, leaves good and bad, links over socket pairs. */
#ifndef AL_TEST_TLS_WORLD_H
#define AL_TEST_TLS_WORLD_H

#include "os/stream.h"
#include "support.h"

/* When the tests happen; they move it to make clocks jump. Set by world_new. */
extern uint64_t world_wall_ms;
#define WORLD_START_MS (1800000000000ull)
#define WORLD_HOUR_MS  (3600ull * 1000)

/* An authority with its key. */
struct world_ca {
    struct al_pki_key *key;
    struct al_pki_cert *cert;
};
/* A holder of a leaf. */
struct world_party {
    struct al_pki_key *key;
    struct al_pki_cert *chain;
};

/* A new authority of a network, good for 10 years from world_wall_ms. */
struct world_ca world_ca_new(const char *network);
void world_ca_free(struct world_ca *ca);
/* A leaf by al_pki_issue, good for 24 hours from world_wall_ms. */
struct world_party world_party_new(const struct world_ca *ca, const char *identity);
void world_party_free(struct world_party *party);

/* What a leaf made by hand says; texts in the syntax of OpenSSL's configuration, NULL: none. */
struct world_odd {
    const char *names, *purposes, *basic;
    int64_t from_ms, to_ms; /* beside world_wall_ms; both 0: a day from now */
    bool self_signed;
};
struct world_party world_odd_new(const struct world_ca *ca, const struct world_odd *odd);

/* A context; fails the test if it cannot be made. `ca` vouches for peers. */
struct al_tls_context *world_context(enum al_tls_side side, const struct world_party *party,
                                     const struct world_ca *ca);
/* A context that shows a leaf which al_tls_context_new would have refused to show. */
struct al_tls_context *world_context_odd(enum al_tls_side side, const struct world_party *good,
                                         const struct world_ca *ca, const struct world_party *odd);
/* A config with the clock of the tests. */
struct al_tls_config world_config(const struct world_party *party, const struct world_ca *ca);

/* Two ends of one link, the contexts given back. */
struct world_link {
    struct al_stream server, client;
};
struct world_link world_link_new(struct al_tls_context *server, struct al_tls_context *client);
/* Lets both go on until nothing moves any more; what is read is thrown away. */
void world_link_run(struct world_link *link);
/* Likewise; fails the test unless both handshakes are done. */
void world_link_open(struct world_link *link);
void world_link_close(struct world_link *link);

#endif
