/* pki_issue.c - the built-in authority, requests and leaves. */
#include "base/errors.h"
#include "os/entropy.h"
#include "os/ssl_internal.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>

#define DAY_MS (24ull * 3600 * 1000)

/* ---- putting certificates together ------------------------------------------------------------
 */

static bool add_text(X509_NAME *name, int nid, const void *p, size_t n)
{
    return X509_NAME_add_entry_by_NID(name, nid, MBSTRING_ASC, p, (int)n, -1, 0) == 1;
}

static bool add_basic_constraints(X509 *x, bool is_authority)
{
    BASIC_CONSTRAINTS *constraints = BASIC_CONSTRAINTS_new();
    bool ok = constraints != NULL;

    if (ok && is_authority) {
        constraints->ca = 0xff;
        constraints->pathlen = ASN1_INTEGER_new();
        ok = constraints->pathlen && ASN1_INTEGER_set(constraints->pathlen, 0);
    }
    ok = ok && X509_add1_ext_i2d(x, NID_basic_constraints, constraints, 1, X509V3_ADD_DEFAULT) == 1;
    BASIC_CONSTRAINTS_free(constraints);
    return ok;
}

/* `bit` as RFC 5280 counts them. */
static bool add_key_usage(X509 *x, int bit)
{
    ASN1_BIT_STRING *usage = ASN1_BIT_STRING_new();
    bool ok = usage && ASN1_BIT_STRING_set_bit(usage, bit, 1) &&
              X509_add1_ext_i2d(x, NID_key_usage, usage, 1, X509V3_ADD_DEFAULT) == 1;

    ASN1_BIT_STRING_free(usage);
    return ok;
}

static bool add_purposes(X509 *x)
{
    EXTENDED_KEY_USAGE *purposes = EXTENDED_KEY_USAGE_new();
    /* Constants of OpenSSL's table: freeing them does nothing. */
    bool ok = purposes && sk_ASN1_OBJECT_push(purposes, OBJ_nid2obj(NID_server_auth)) > 0 &&
              sk_ASN1_OBJECT_push(purposes, OBJ_nid2obj(NID_client_auth)) > 0 &&
              X509_add1_ext_i2d(x, NID_ext_key_usage, purposes, 0, X509V3_ADD_DEFAULT) == 1;

    EXTENDED_KEY_USAGE_free(purposes);
    return ok;
}

static bool add_identity(X509 *x, struct al_str identity)
{
    GENERAL_NAMES *names = GENERAL_NAMES_new();
    GENERAL_NAME *name = GENERAL_NAME_new();
    ASN1_IA5STRING *uri = ASN1_IA5STRING_new();
    bool ok = names && name && uri && ASN1_STRING_set(uri, identity.p, (int)identity.n);

    if (ok) {
        GENERAL_NAME_set0_value(name, GEN_URI, uri);
        uri = NULL;
        ok = sk_GENERAL_NAME_push(names, name) > 0;
    }
    if (ok) {
        name = NULL;
        /* Critical, because there is no other name (RFC 5280, 4.2.1.6). */
        ok = X509_add1_ext_i2d(x, NID_subject_alt_name, names, 1, X509V3_ADD_DEFAULT) == 1;
    }
    ASN1_IA5STRING_free(uri);
    GENERAL_NAME_free(name);
    GENERAL_NAMES_free(names);
    return ok;
}

/* The subject's key id: SHA-256 of its key, cut to the usual 20 bytes. */
static bool add_key_id(X509 *x, EVP_MD *sha256)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    ASN1_OCTET_STRING *id = ASN1_OCTET_STRING_new();
    bool ok = id && X509_pubkey_digest(x, sha256, digest, &n) && n >= 20 &&
              ASN1_OCTET_STRING_set(id, digest, 20) &&
              X509_add1_ext_i2d(x, NID_subject_key_identifier, id, 0, X509V3_ADD_DEFAULT) == 1;

    ASN1_OCTET_STRING_free(id);
    return ok;
}

/* The id of the authority's key, if the authority has one. */
static bool add_authority_id(X509 *x, X509 *authority)
{
    const ASN1_OCTET_STRING *id = X509_get0_subject_key_id(authority);
    AUTHORITY_KEYID *keyid = AUTHORITY_KEYID_new();
    bool ok = keyid != NULL;

    if (ok && id) {
        keyid->keyid = ASN1_OCTET_STRING_dup(id);
        ok = keyid->keyid &&
             X509_add1_ext_i2d(x, NID_authority_key_identifier, keyid, 0, X509V3_ADD_DEFAULT) == 1;
    }
    AUTHORITY_KEYID_free(keyid);
    return ok;
}

static bool set_frame(X509 *x, uint64_t serial, uint64_t from_ms, uint64_t to_ms)
{
    return X509_set_version(x, X509_VERSION_3) &&
           ASN1_INTEGER_set_uint64(X509_get_serialNumber(x), serial) &&
           ASN1_TIME_set(X509_getm_notBefore(x), (time_t)(from_ms / 1000)) &&
           ASN1_TIME_set(X509_getm_notAfter(x), (time_t)(to_ms / 1000));
}

static bool sign(X509 *x, EVP_PKEY *pkey, EVP_MD *sha256)
{
    return X509_sign(x, pkey, EVP_PKEY_is_a(pkey, "ED25519") ? NULL : sha256) > 0;
}

static uint64_t skewed(uint64_t now_ms)
{
    return now_ms > AL_PKI_SKEW_MS ? now_ms - AL_PKI_SKEW_MS : 0;
}

/* ---- the authority ----------------------------------------------------------------------------
 */

static bool ca_fill(X509 *x, const struct al_pki_key *key, struct al_str network, uint64_t serial,
                    EVP_MD *sha256)
{
    static const char digits[] = "0123456789abcdef";
    X509_NAME *name = X509_get_subject_name(x);
    char text[16];

    /* The number tells two authorities of one network apart while they overlap. */
    for (int i = 0; i < 16; i++)
        text[i] = digits[serial >> (60 - 4 * i) & 15];
    return name && add_text(name, NID_organizationName, "AgentLink", 9) &&
           add_text(name, NID_commonName, network.p, network.n) &&
           add_text(name, NID_serialNumber, text, sizeof text) && X509_set_issuer_name(x, name) &&
           X509_set_pubkey(x, key->pkey) && add_basic_constraints(x, true) && add_key_usage(x, 5) &&
           add_key_id(x, sha256) && sign(x, key->pkey, sha256);
}

int al_pki_ca_new(const struct al_pki_key *key, struct al_str network, uint64_t now_ms,
                  unsigned days, struct al_pki_cert **ret_cert)
{
    OSSL_LIB_CTX *ctx = ali_ssl_library();
    struct al_pki_cert *cert = NULL;
    EVP_MD *sha256 = NULL;
    X509 *x = NULL;
    uint64_t serial;

    if (!al_network_is_valid(network) || days == 0 || days > AL_PKI_CA_DAYS_MAX)
        return -AL_E_INVALID;
    if (al_entropy_fill(&serial, sizeof serial))
        return -AL_E_IO;
    serial = (serial & INT64_MAX) | 1; /* positive, never 0 */
    ERR_set_mark();
    if (ctx) {
        x = X509_new_ex(ctx, NULL);
        sha256 = EVP_MD_fetch(ctx, "SHA256", NULL);
    }
    if (x && sha256 && set_frame(x, serial, skewed(now_ms), now_ms + days * DAY_MS) &&
        ca_fill(x, key, network, serial, sha256))
        cert = ali_cert_new(x);
    ERR_pop_to_mark();
    EVP_MD_free(sha256);
    X509_free(x);
    if (!cert)
        return -AL_E_NOMEM;
    *ret_cert = cert;
    return 0;
}

/* ---- requests ---------------------------------------------------------------------------------
 */

int al_pki_request_new(const struct al_pki_key *key, struct al_buf *ret_der)
{
    OSSL_LIB_CTX *ctx = ali_ssl_library();
    EVP_MD *sha256 = NULL;
    X509_REQ *request = NULL;
    unsigned char *der = NULL;
    int n = -1, r = -AL_E_NOMEM;

    ERR_set_mark();
    if (ctx) {
        request = X509_REQ_new_ex(ctx, NULL);
        sha256 = EVP_MD_fetch(ctx, "SHA256", NULL);
    }
    if (request && sha256 && X509_REQ_set_version(request, X509_REQ_VERSION_1) &&
        X509_REQ_set_pubkey(request, key->pkey) &&
        X509_REQ_sign(request, key->pkey, EVP_PKEY_is_a(key->pkey, "ED25519") ? NULL : sha256) > 0)
        n = i2d_X509_REQ(request, &der);
    if (n > 0)
        r = al_buf_put(ret_der, der, (size_t)n);
    ERR_pop_to_mark();
    OPENSSL_free(der);
    EVP_MD_free(sha256);
    X509_REQ_free(request);
    return r;
}

/* The key on the curve and not at infinity. */
static bool is_sound(EVP_PKEY *pkey)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(ali_ssl_library(), pkey, NULL);
    bool ok = ctx && EVP_PKEY_public_check(ctx) == 1;

    EVP_PKEY_CTX_free(ctx);
    return ok;
}

/* What a request must be; NULL if it is, or what it is not. */
static const char *request_fault(X509_REQ *request)
{
    EVP_PKEY *pkey = X509_REQ_get0_pubkey(request);

    if (!pkey || !ali_key_is_p256(pkey) || !is_sound(pkey))
        return "the key of the request is not P-256; make one with 'agentlink' or 'openssl ecparam "
               "-name prime256v1'";
    if (X509_REQ_verify_ex(request, pkey, ali_ssl_library(), NULL) != 1)
        return "the request is not signed with its own key: it is damaged, or not the sender's";
    return NULL;
}

static int request_parse(struct al_str der, X509_REQ **ret_request, char *ret_why, size_t why_size)
{
    const unsigned char *p = der.p;
    const char *fault;
    X509_REQ *request;

    if (der.n > AL_PKI_REQUEST_MAX)
        return ali_why(-AL_E_TOO_LARGE, ret_why, why_size,
                       "the request has %u bytes, at most %u are taken", der.n, AL_PKI_REQUEST_MAX);
    request = X509_REQ_new_ex(ali_ssl_library(), NULL);
    if (!request)
        return ali_why(-AL_E_NOMEM, ret_why, why_size, "no memory for the request");
    if (!d2i_X509_REQ(&request, &p, (long)der.n) || p != der.p + der.n)
        fault = "this is not a certificate request (PKCS#10, DER)";
    else
        fault = request_fault(request);
    if (fault) {
        X509_REQ_free(request);
        return ali_why(-AL_E_INVALID, ret_why, why_size, "%s", fault);
    }
    *ret_request = request;
    return 0;
}

/* ---- leaves -----------------------------------------------------------------------------------
 */

/* Everything but the request. *ret_end_ms: when the authority ends. */
static int issue_check(const struct al_pki_cert *ca, const struct al_pki_key *ca_key,
                       const struct al_pki_issue *issue, uint64_t *ret_end_ms, char *ret_why,
                       size_t why_size)
{
    struct al_identity identity;
    struct al_pki_info info;

    if (!ali_ssl_library() || ali_x509_info(ca->x[0], &info) < 0)
        return ali_why(-AL_E_NOMEM, ret_why, why_size, "no memory to issue a certificate");
    if (!info.is_authority || !al_pki_key_fits(ca_key, ca))
        return ali_why(-AL_E_INVALID, ret_why, why_size,
                       "certificate and key of the authority do not belong together");
    if (issue->now_ms >= info.not_after_ms)
        return ali_why(
            -AL_E_EXPIRED, ret_why, why_size,
            "the authority itself has expired: make a new one and trust both for a while");
    if (issue->serial == 0 || issue->lifetime_ms < 1000)
        return ali_why(-AL_E_INVALID, ret_why, why_size, "serial 0, or a lifetime below a second");
    if (al_identity_parse(issue->identity, &identity) < 0)
        return ali_why(-AL_E_INVALID, ret_why, why_size,
                       "not an identity: spiffe://NETWORK/NAMESPACE/agent/NAME");
    *ret_end_ms = info.not_after_ms;
    return 0;
}

static bool leaf_fill(X509 *x, X509_REQ *request, X509 *ca, struct al_str identity)
{
    return X509_set_issuer_name(x, X509_get_subject_name(ca)) &&
           X509_set_pubkey(x, X509_REQ_get0_pubkey(request)) && add_basic_constraints(x, false) &&
           add_key_usage(x, 0) && add_purposes(x) && add_identity(x, identity) &&
           add_authority_id(x, ca);
}

static int leaf_new(const struct al_pki_cert *ca, const struct al_pki_key *ca_key,
                    const struct al_pki_issue *issue, X509_REQ *request, uint64_t end_ms,
                    struct al_buf *ret_der)
{
    OSSL_LIB_CTX *ctx = ali_ssl_library();
    uint64_t to_ms =
        end_ms - issue->now_ms < issue->lifetime_ms ? end_ms : issue->now_ms + issue->lifetime_ms;
    EVP_MD *sha256 = EVP_MD_fetch(ctx, "SHA256", NULL);
    X509 *x = X509_new_ex(ctx, NULL);
    unsigned char *der = NULL;
    int n = -1, r = -AL_E_NOMEM;

    if (x && sha256 && set_frame(x, issue->serial, skewed(issue->now_ms), to_ms) &&
        leaf_fill(x, request, ca->x[0], issue->identity) && sign(x, ca_key->pkey, sha256))
        n = i2d_X509(x, &der);
    if (n > 0)
        r = al_buf_put(ret_der, der, (size_t)n);
    OPENSSL_free(der);
    EVP_MD_free(sha256);
    X509_free(x);
    return r;
}

int al_pki_issue(const struct al_pki_cert *ca, const struct al_pki_key *ca_key,
                 const struct al_pki_issue *issue, struct al_buf *ret_der, char *ret_why,
                 size_t why_size)
{
    X509_REQ *request = NULL;
    uint64_t end_ms = 0;
    int r;

    ERR_set_mark();
    r = issue_check(ca, ca_key, issue, &end_ms, ret_why, why_size);
    if (r == 0)
        r = request_parse(issue->request, &request, ret_why, why_size);
    if (r == 0) {
        r = leaf_new(ca, ca_key, issue, request, end_ms, ret_der);
        if (r < 0)
            (void)ali_why(r, ret_why, why_size, "no memory to issue a certificate");
    }
    ERR_pop_to_mark();
    X509_REQ_free(request);
    return r;
}
