/* tls.c - contexts: which certificates and which rules links begin with.
 *
 * Every setting is made here, and everything that a configuration file of the system could have
 * brought in is put back first: two nodes behave alike whatever stands in their openssl.cnf. */
#include "os/tls.h"
#include "base/errors.h"
#include "os/clock.h"
#include "os/tls_internal.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#define CIPHERS "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256"
#define GROUPS  "X25519:P-256"
/* What we sign with, and what an authority that somebody else runs may sign with. */
#define SIGNATURES                                                               \
    "ecdsa_secp256r1_sha256:ecdsa_secp384r1_sha384:ed25519:rsa_pss_rsae_sha256:" \
    "rsa_pss_rsae_sha384:rsa_pss_pss_sha256:RSA+SHA256:RSA+SHA384"
#define SECURITY_LEVEL 2 /* RSA of 2048 bits, no SHA-1 */

static uint64_t system_wall_ms(void *ctx)
{
    (void)ctx;
    return al_clock_wall_ms();
}

/* ---- settings ---------------------------------------------------------------------------------
 */

static bool set_protocol(SSL_CTX *ssl)
{
    char groups[] = GROUPS, signatures[] = SIGNATURES; /* OpenSSL's macros cast const away */

    (void)SSL_CTX_clear_options(ssl, SSL_CTX_get_options(ssl));
    (void)SSL_CTX_set_options(ssl, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
                                       SSL_OP_NO_TICKET | SSL_OP_ENABLE_MIDDLEBOX_COMPAT |
                                       SSL_OP_CIPHER_SERVER_PREFERENCE);
    /* Without NO_AUTO_CHAIN a server sends its root too, to everybody. */
    (void)SSL_CTX_set_mode(ssl, SSL_MODE_NO_AUTO_CHAIN | SSL_MODE_RELEASE_BUFFERS |
                                    SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_security_level(ssl, SECURITY_LEVEL);
    SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_read_ahead(ssl, 1);
    SSL_CTX_set_max_cert_list(ssl, AL_TLS_CHAIN_MAX);
    SSL_CTX_set_post_handshake_auth(ssl, 0);
    return SSL_CTX_set_min_proto_version(ssl, TLS1_3_VERSION) &&
           SSL_CTX_set_max_proto_version(ssl, TLS1_3_VERSION) &&
           SSL_CTX_set_ciphersuites(ssl, CIPHERS) && SSL_CTX_set1_groups_list(ssl, groups) &&
           SSL_CTX_set1_sigalgs_list(ssl, signatures) &&
           SSL_CTX_set1_client_sigalgs_list(ssl, signatures) && SSL_CTX_set_num_tickets(ssl, 0) &&
           SSL_CTX_set_max_early_data(ssl, 0) && SSL_CTX_set_recv_max_early_data(ssl, 0);
}

/* The own leaf and what stands between it and the authority. */
static bool set_leaf(SSL_CTX *ssl, const struct al_pki_key *key, const struct al_pki_cert *chain)
{
    STACK_OF(X509) *rest = sk_X509_new_null();
    bool ok = rest != NULL;

    for (unsigned i = 1; ok && i < chain->count; i++)
        ok = sk_X509_push(rest, chain->x[i]) > 0;
    ok = ok && SSL_CTX_use_cert_and_key(ssl, chain->x[0], key->pkey, rest, 1);
    sk_X509_free(rest);
    return ok;
}

static bool set_authorities(SSL_CTX *ssl, const struct al_pki_cert *authorities)
{
    X509_STORE *store = X509_STORE_new();
    bool ok = store != NULL;

    for (unsigned i = 0; ok && authorities && i < authorities->count; i++)
        ok = X509_STORE_add_cert(store, authorities->x[i]);
    /* Who is in the bundle is trusted, also if another one vouches for it. */
    ok = ok && X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
    if (ok)
        SSL_CTX_set_cert_store(ssl, store);
    else
        X509_STORE_free(store);
    return ok;
}

/* ---- the caller's own mistakes ----------------------------------------------------------------
 */

static int check_authorities(const struct al_pki_cert *authorities, char *ret_why, size_t why_size)
{
    for (unsigned i = 0; i < authorities->count; i++) {
        if (X509_check_ca(authorities->x[i]) != 1)
            return ali_why(
                -AL_E_INVALID, ret_why, why_size,
                "certificate %u of the authorities is not an authority's (it may not sign "
                "certificates)",
                i + 1);
    }
    return 0;
}

static int check_leaf(struct al_tls_context *context, const struct al_tls_config *config,
                      char *ret_why, size_t why_size)
{
    struct al_identity identity;
    struct al_pki_info info;

    if (!al_pki_key_fits(config->key, config->chain))
        return ali_why(-AL_E_INVALID, ret_why, why_size,
                       "the key is not the certificate's: take the two that were made together");
    if (al_pki_cert_info(config->chain, 0, &info) < 0 || info.is_authority ||
        al_identity_parse(al_str_c(info.identity), &identity) < 0)
        return ali_why(-AL_E_INVALID, ret_why, why_size,
                       "the certificate does not name one AgentLink identity "
                       "(spiffe://NETWORK/NAMESPACE/node/NAME)");
    if (context->side == AL_TLS_SERVER && identity.role != AL_ROLE_NODE)
        return ali_why(-AL_E_INVALID, ret_why, why_size,
                       "the certificate is of %s; to serve it must be a node's", info.identity);
    if (config->network.n && !al_str_eq(config->network, identity.network))
        return ali_why(-AL_E_INVALID, ret_why, why_size,
                       "the certificate is of %s, not of the network %.*s", info.identity,
                       (int)config->network.n, (const char *)config->network.p);
    memcpy(context->network, identity.network.p, identity.network.n);
    return 0;
}

static int check_config(struct al_tls_context *context, const struct al_tls_config *config,
                        char *ret_why, size_t why_size)
{
    if (config->network.n && !al_network_is_valid(config->network))
        return ali_why(-AL_E_INVALID, ret_why, why_size, "not a name of a network: [a-z0-9.-]");
    if (context->side == AL_TLS_JOINER) {
        if (!config->fingerprint)
            return ali_why(-AL_E_INVALID, ret_why, why_size,
                           "to join, the fingerprint of the authority is needed");
        memcpy(context->fingerprint, config->fingerprint, sizeof context->fingerprint);
        if (config->network.n)
            memcpy(context->network, config->network.p, config->network.n);
        return 0;
    }
    if (!config->key || !config->chain || !config->authorities)
        return ali_why(-AL_E_INVALID, ret_why, why_size,
                       "a key, its certificate and the authorities are needed");
    if (check_authorities(config->authorities, ret_why, why_size) < 0)
        return -AL_E_INVALID;
    return check_leaf(context, config, ret_why, why_size);
}

/* ---- contexts ---------------------------------------------------------------------------------
 */

/* Server: the authority that vouches for the end of its chain. */
static void find_authority(struct al_tls_context *context, const struct al_tls_config *config)
{
    X509 *last = config->chain->x[config->chain->count - 1];

    for (unsigned i = 0; i < config->authorities->count; i++) {
        X509 *x = config->authorities->x[i];

        if (X509_check_issued(x, last) == X509_V_OK && X509_cmp(x, last) != 0 && X509_up_ref(x)) {
            context->authority = x;
            return;
        }
    }
}

static bool set_alpn(SSL_CTX *ssl, enum al_tls_side side)
{
    static const uint8_t link[] = "\x0b" ALI_ALPN_LINK, join[] = "\x10" ALI_ALPN_JOIN;

    if (side == AL_TLS_CLIENT)
        return SSL_CTX_set_alpn_protos(ssl, link, sizeof link - 1) == 0;
    if (side == AL_TLS_JOINER)
        return SSL_CTX_set_alpn_protos(ssl, join, sizeof join - 1) == 0;
    return true;
}

static int fill(struct al_tls_context *context, const struct al_tls_config *config)
{
    enum al_tls_side side = context->side;
    OSSL_LIB_CTX *library = ali_ssl_library();
    bool ok;

    ERR_set_mark();
    if (library)
        context->ssl = SSL_CTX_new_ex(
            library, NULL, side == AL_TLS_SERVER ? TLS_server_method() : TLS_client_method());
    ok = context->ssl && set_protocol(context->ssl) && set_alpn(context->ssl, side) &&
         set_authorities(context->ssl, config->authorities) &&
         (side == AL_TLS_JOINER || set_leaf(context->ssl, config->key, config->chain));
    if (ok) {
        ali_tls_verify_init(context);
        if (side == AL_TLS_SERVER)
            find_authority(context, config);
    }
    ERR_pop_to_mark();
    return ok ? 0 : -AL_E_NOMEM;
}

int al_tls_context_new(const struct al_tls_config *config, enum al_tls_side side,
                       struct al_tls_context **ret_context, char *ret_why, size_t why_size)
{
    struct al_tls_context *context = calloc(1, sizeof *context);
    int r;

    if (!context)
        return ali_why(-AL_E_NOMEM, ret_why, why_size, "no memory for TLS");
    atomic_init(&context->refs, 1);
    context->side = side;
    context->allows_join = config->allows_join;
    context->wall_ms = config->wall_ms ? config->wall_ms : system_wall_ms;
    context->wall_ctx = config->wall_ctx;
    context->rekey_records = config->rekey_records ? config->rekey_records : AL_TLS_REKEY_RECORDS;
    r = check_config(context, config, ret_why, why_size);
    if (r == 0) {
        r = fill(context, config);
        if (r < 0)
            (void)ali_why(r, ret_why, why_size, "OpenSSL cannot make a TLS context (no memory?)");
    }
    if (r < 0) {
        al_tls_context_unref(context);
        return r;
    }
    *ret_context = context;
    return 0;
}

struct al_tls_context *al_tls_context_ref(struct al_tls_context *context)
{
    atomic_fetch_add_explicit(&context->refs, 1, memory_order_relaxed);
    return context;
}

void al_tls_context_unref(struct al_tls_context *context)
{
    if (!context || atomic_fetch_sub_explicit(&context->refs, 1, memory_order_acq_rel) > 1)
        return;
    SSL_CTX_free(context->ssl);
    X509_free(context->authority);
    free(context);
}
