/* tls_verify.c - who is let in: protocol, certificate, identity; and the words for who is not. */
#include "base/errors.h"
#include "os/tls_internal.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#define EXT_VERSIONS 43 /* supported_versions, RFC 8446 */
#define EXT_ALPN     16

#define VERIFY_STRICT (SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT)

/* ---- reasons ----------------------------------------------------------------------------------
 */

struct reason_text {
    const char *token, *what, *hint;
};
static const struct reason_text reason_texts[] = {
#define AL_X(symbol, token, what, hint) {token, what, hint},
    AL_TLS_REASONS(AL_X)
#undef AL_X
};
#define REASON_COUNT (sizeof reason_texts / sizeof reason_texts[0])

const char *al_tls_reason_token(enum al_tls_reason reason)
{
    return (unsigned)reason < REASON_COUNT ? reason_texts[reason].token : "unknown";
}

void ali_tls_fail(struct al_tls *tls, enum al_tls_reason reason, const char *detail)
{
    struct al_tls_failure *failure = &tls->failure;
    const struct reason_text *text = &reason_texts[reason];

    if (failure->reason != AL_TLS_NONE)
        return;
    failure->reason = reason;
    (void)snprintf(failure->text, sizeof failure->text, "%s%s%s%s: %s",
                   failure->by_peer ? "the other end refuses us: " : "", text->what,
                   detail ? ": " : "", detail ? detail : "", text->hint);
}

void ali_tls_fail_alert(struct al_tls *tls, int alert)
{
    enum al_tls_reason reason = AL_TLS_MALFORMED;

    switch (alert) {
    case SSL_AD_CERTIFICATE_REQUIRED:
        reason = AL_TLS_NO_CERTIFICATE;
        break;
    case SSL_AD_UNKNOWN_CA:
        reason = AL_TLS_UNKNOWN_CA;
        break;
    case SSL_AD_CERTIFICATE_EXPIRED:
        reason = AL_TLS_EXPIRED;
        break;
    case SSL_AD_BAD_CERTIFICATE:
        reason = AL_TLS_NOT_YET_VALID;
        break;
    case SSL_AD_CERTIFICATE_UNKNOWN:
        reason = AL_TLS_WRONG_NAME;
        break;
    case SSL_AD_UNSUPPORTED_CERTIFICATE:
        reason = AL_TLS_WRONG_PURPOSE;
        break;
    case SSL_AD_DECRYPT_ERROR:
        reason = AL_TLS_BAD_SIGNATURE;
        break;
    case SSL_AD_PROTOCOL_VERSION:
        reason = AL_TLS_TLS_VERSION;
        break;
    case SSL_AD_NO_APPLICATION_PROTOCOL:
        reason = AL_TLS_NO_PROTOCOL;
        break;
    case SSL_AD_HANDSHAKE_FAILURE:
    case SSL_AD_INSUFFICIENT_SECURITY:
        reason = AL_TLS_NO_CIPHER;
        break;
    case SSL_AD_INTERNAL_ERROR:
        reason = AL_TLS_INTERNAL;
        break;
    default:
        break;
    }
    if (tls->failure.reason == AL_TLS_NONE)
        tls->failure.by_peer = true;
    ali_tls_fail(tls, reason, SSL_alert_desc_string_long(alert));
}

void ali_tls_fail_error(struct al_tls *tls, unsigned long error)
{
    int code = ERR_GET_LIB(error) == ERR_LIB_SSL ? ERR_GET_REASON(error) : 0;
    enum al_tls_reason reason = AL_TLS_MALFORMED;

    if (code >= SSL_AD_REASON_OFFSET && code < SSL_AD_REASON_OFFSET + 256) {
        ali_tls_fail_alert(tls, code - SSL_AD_REASON_OFFSET);
        return;
    }
    switch (code) {
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
        reason = AL_TLS_NO_CERTIFICATE;
        break;
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_WRONG_SSL_VERSION:
    case SSL_R_VERSION_TOO_LOW:
        reason = AL_TLS_TLS_VERSION;
        break;
    case SSL_R_NO_SHARED_CIPHER:
    case SSL_R_NO_SHARED_GROUPS:
    case SSL_R_NO_SUITABLE_KEY_SHARE:
    case SSL_R_NO_SUITABLE_GROUPS:
    case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
    case SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS:
        reason = AL_TLS_NO_CIPHER;
        break;
    case SSL_R_EXCESSIVE_MESSAGE_SIZE:
        reason = AL_TLS_TOO_LARGE;
        break;
    case SSL_R_BAD_SIGNATURE:
        reason = AL_TLS_BAD_SIGNATURE;
        break;
    case SSL_R_CERTIFICATE_VERIFY_FAILED: /* with a reason noted already */
    case SSL_R_EE_KEY_TOO_SMALL:
        reason = AL_TLS_BAD_CERTIFICATE;
        break;
    default:
        if (ERR_GET_REASON(error) == ERR_R_MALLOC_FAILURE)
            reason = AL_TLS_INTERNAL;
        break;
    }
    ali_tls_fail(tls, reason, ERR_reason_error_string(error));
}

/* ---- certificates -----------------------------------------------------------------------------
 */

/* A finding: our reason, and the code that makes OpenSSL send the alert which ali_tls_fail_alert
 * understands. */
static int refuse(struct al_tls *tls, X509_STORE_CTX *store, enum al_tls_reason reason,
                  const char *detail)
{
    int code;

    ali_tls_fail(tls, reason, detail);
    switch (reason) {
    case AL_TLS_UNKNOWN_CA:
        code = X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY;
        break;
    case AL_TLS_EXPIRED:
        code = X509_V_ERR_CERT_HAS_EXPIRED;
        break;
    case AL_TLS_NOT_YET_VALID:
    case AL_TLS_BAD_CERTIFICATE:
        code = X509_V_ERR_CERT_NOT_YET_VALID; /* bad_certificate */
        break;
    case AL_TLS_WRONG_PURPOSE:
        code = X509_V_ERR_INVALID_PURPOSE; /* unsupported_certificate */
        break;
    case AL_TLS_BAD_SIGNATURE:
        code = X509_V_ERR_CERT_SIGNATURE_FAILURE; /* decrypt_error */
        break;
    case AL_TLS_INTERNAL:
        code = X509_V_ERR_UNSPECIFIED;
        break;
    default:
        code = X509_V_ERR_SUBTREE_MINMAX; /* certificate_unknown */
        break;
    }
    X509_STORE_CTX_set_error(store, code);
    return 0;
}

/* OpenSSL's finding in ours. */
static enum al_tls_reason reason_of(int code)
{
    switch (code) {
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_CERT_UNTRUSTED:
        return AL_TLS_UNKNOWN_CA;
    case X509_V_ERR_CERT_HAS_EXPIRED:
        return AL_TLS_EXPIRED;
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return AL_TLS_NOT_YET_VALID;
    case X509_V_ERR_INVALID_PURPOSE:
        return AL_TLS_WRONG_PURPOSE;
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
        return AL_TLS_BAD_SIGNATURE;
    case X509_V_ERR_OUT_OF_MEM:
    case X509_V_ERR_UNSPECIFIED:
        return AL_TLS_INTERNAL;
    default:
        return AL_TLS_BAD_CERTIFICATE;
    }
}

/* What our rules add: one identity, of this network, for this end, in the right role. */
static int check_identity(struct al_tls *tls, X509_STORE_CTX *store)
{
    const struct al_tls_context *context = tls->context;
    uint32_t wanted = context->side == AL_TLS_SERVER ? XKU_SSL_CLIENT : XKU_SSL_SERVER;
    X509 *leaf = X509_STORE_CTX_get0_cert(store);
    struct al_pki_info *info = &tls->peer.cert;
    uint32_t purposes = X509_get_extended_key_usage(leaf);
    struct al_identity identity;
    int r = ali_x509_info(leaf, info);

    if (r < 0)
        return refuse(tls, store, r == -AL_E_NOMEM ? AL_TLS_INTERNAL : AL_TLS_BAD_CERTIFICATE,
                      NULL);
    /* No extension would mean every purpose. */
    if (info->is_authority || purposes == UINT32_MAX || !(purposes & wanted))
        return refuse(tls, store, AL_TLS_WRONG_PURPOSE, info->identity);
    if (al_identity_parse(al_str_c(info->identity), &identity) < 0)
        return refuse(tls, store, AL_TLS_WRONG_NAME, NULL);
    if (context->network[0] && !al_str_eq(identity.network, al_str_c(context->network)))
        return refuse(tls, store, AL_TLS_WRONG_NETWORK, info->identity);
    if (context->side != AL_TLS_SERVER && identity.role != AL_ROLE_NODE)
        return refuse(tls, store, AL_TLS_WRONG_ROLE, info->identity);
    tls->is_known = true;
    return 1;
}

/* Joiner: the authority with the right fingerprint among what the node has sent. */
static X509 *find_fingerprint(const struct al_tls_context *context, X509_STORE_CTX *store)
{
    STACK_OF(X509) *sent = X509_STORE_CTX_get0_untrusted(store);

    for (int i = 0; i < sk_X509_num(sent); i++) {
        X509 *x = sk_X509_value(sent, i);
        struct al_pki_info info;

        if (ali_x509_info(x, &info) == 0 && info.is_authority &&
            memcmp(info.fingerprint, context->fingerprint, sizeof info.fingerprint) == 0)
            return x;
    }
    return NULL;
}

static int check_chain(struct al_tls *tls, X509_STORE_CTX *store)
{
    const struct al_tls_context *context = tls->context;
    char detail[96];
    int code;

    X509_STORE_CTX_set_time(store, 0, (time_t)(context->wall_ms(context->wall_ctx) / 1000));
    X509_STORE_CTX_set_depth(store, (int)AL_PKI_CHAIN_DEPTH);
    if (X509_verify_cert(store) == 1)
        return check_identity(tls, store);
    code = X509_STORE_CTX_get_error(store);
    (void)snprintf(detail, sizeof detail, "%s (number %d of its chain)",
                   X509_verify_cert_error_string(code), X509_STORE_CTX_get_error_depth(store) + 1);
    return refuse(tls, store, reason_of(code), detail);
}

static int verify(X509_STORE_CTX *store, void *arg)
{
    const SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct al_tls *tls = SSL_get_app_data(ssl);
    STACK_OF(X509) *trusted = NULL;
    X509 *authority;
    int ok;

    (void)arg;
    if (tls->context->side != AL_TLS_JOINER)
        return check_chain(tls, store);
    authority = find_fingerprint(tls->context, store);
    if (!authority)
        return refuse(tls, store, AL_TLS_UNKNOWN_CA, "not the one whose fingerprint was given");
    trusted = sk_X509_new_null();
    if (!trusted || sk_X509_push(trusted, authority) <= 0 || !X509_up_ref(authority)) {
        sk_X509_free(trusted);
        return refuse(tls, store, AL_TLS_INTERNAL, NULL);
    }
    tls->authority = authority;
    X509_STORE_CTX_set0_trusted_stack(store, trusted);
    X509_STORE_CTX_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
    ok = check_chain(tls, store);
    X509_STORE_CTX_set0_trusted_stack(store, NULL);
    sk_X509_free(trusted);
    return ok;
}

/* ---- protocols --------------------------------------------------------------------------------
 */

static bool offers_tls13(SSL *ssl)
{
    const unsigned char *p;
    size_t n;

    if (!SSL_client_hello_get0_ext(ssl, EXT_VERSIONS, &p, &n) || n < 1)
        return false;
    for (size_t i = 1; i + 1 < n; i += 2)
        if (p[i] == 3 && p[i + 1] == 4)
            return true;
    return false;
}

/* Before anything is answered. */
static int on_hello(SSL *ssl, int *ret_alert, void *arg)
{
    struct al_tls *tls = SSL_get_app_data(ssl);
    const unsigned char *p;
    size_t n;

    (void)arg;
    if (!offers_tls13(ssl)) {
        ali_tls_fail(tls, AL_TLS_TLS_VERSION, NULL);
        *ret_alert = SSL_AD_PROTOCOL_VERSION;
        return SSL_CLIENT_HELLO_ERROR;
    }
    if (!SSL_client_hello_get0_ext(ssl, EXT_ALPN, &p, &n)) {
        ali_tls_fail(tls, AL_TLS_NO_PROTOCOL, "none was named");
        *ret_alert = SSL_AD_NO_APPLICATION_PROTOCOL;
        return SSL_CLIENT_HELLO_ERROR;
    }
    return SSL_CLIENT_HELLO_SUCCESS;
}

static const unsigned char *find_protocol(const unsigned char *list, unsigned n, const char *name)
{
    size_t size = strlen(name);

    for (unsigned i = 0; i < n; i += 1u + list[i])
        if (list[i] == size && size <= n - i - 1 && memcmp(list + i + 1, name, size) == 0)
            return list + i + 1;
    return NULL;
}

/* Which protocol, and with it: whether a certificate is asked for. After a retry it is asked again,
 * and the second hello counts: whatever the first one brought about is taken back. */
static int on_alpn(SSL *ssl, const unsigned char **ret_name, unsigned char *ret_size,
                   const unsigned char *list, unsigned list_size, void *arg)
{
    struct al_tls *tls = SSL_get_app_data(ssl);
    const struct al_tls_context *context = tls->context;
    const unsigned char *name = find_protocol(list, list_size, ALI_ALPN_LINK);

    (void)arg;
    if (name) {
        SSL_set_verify(ssl, VERIFY_STRICT, NULL);
        tls->peer.is_join = false;
        *ret_size = sizeof ALI_ALPN_LINK - 1;
    } else {
        name = context->allows_join ? find_protocol(list, list_size, ALI_ALPN_JOIN) : NULL;
        if (!name) {
            ali_tls_fail(tls, AL_TLS_NO_PROTOCOL, NULL);
            return SSL_TLSEXT_ERR_ALERT_FATAL;
        }
        /* The joiner knows the authority by its fingerprint only: show it. */
        if (context->authority && !SSL_add1_chain_cert(ssl, context->authority)) {
            ali_tls_fail(tls, AL_TLS_INTERNAL, NULL);
            return SSL_TLSEXT_ERR_ALERT_FATAL;
        }
        SSL_set_verify(ssl, SSL_VERIFY_NONE, NULL);
        tls->peer.is_join = true;
        *ret_size = sizeof ALI_ALPN_JOIN - 1;
    }
    *ret_name = name;
    return SSL_TLSEXT_ERR_OK;
}

void ali_tls_verify_init(struct al_tls_context *context)
{
    SSL_CTX *ssl = context->ssl;

    /* The strict way is the default; only on_alpn makes an exception. */
    SSL_CTX_set_verify(ssl, VERIFY_STRICT, NULL);
    SSL_CTX_set_cert_verify_callback(ssl, verify, NULL);
    if (context->side == AL_TLS_SERVER) {
        SSL_CTX_set_client_hello_cb(ssl, on_hello, NULL);
        SSL_CTX_set_alpn_select_cb(ssl, on_alpn, NULL);
    }
}
