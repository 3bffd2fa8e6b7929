/* pki_cert.c - certificates: parsing, PEM files, what they say. */
#include "base/errors.h"
#include "os/ssl_internal.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int ali_x509_parse(struct al_str der, X509 **ret_x)
{
    const unsigned char *p = der.p;
    OSSL_LIB_CTX *library = ali_ssl_library();
    X509 *x;

    if (der.n > AL_PKI_CERT_MAX)
        return -AL_E_TOO_LARGE;
    x = library ? X509_new_ex(library, NULL) : NULL;
    if (!x)
        return -AL_E_NOMEM;
    ERR_set_mark();
    if (!d2i_X509(&x, &p, (long)der.n) || p != der.p + der.n || !X509_get0_pubkey(x)) {
        ERR_pop_to_mark();
        X509_free(x); /* a failed d2i has freed it and left NULL */
        return -AL_E_INVALID;
    }
    ERR_pop_to_mark();
    *ret_x = x;
    return 0;
}

struct al_pki_cert *ali_cert_new(X509 *x)
{
    struct al_pki_cert *cert = calloc(1, sizeof *cert);

    if (!cert)
        return NULL;
    if (!X509_up_ref(x)) {
        free(cert);
        return NULL;
    }
    cert->x[cert->count++] = x;
    return cert;
}

int al_pki_cert_parse(struct al_str der, struct al_pki_cert **ret_cert)
{
    struct al_pki_cert *cert;
    X509 *x;
    int r = ali_x509_parse(der, &x);

    if (r < 0)
        return r;
    cert = ali_cert_new(x);
    X509_free(x);
    if (!cert)
        return -AL_E_NOMEM;
    *ret_cert = cert;
    return 0;
}

/* ---- PEM --------------------------------------------------------------------------------------
 */

/* The next block: 1; 0 at the end; negative. */
static int pem_next(BIO *bio, struct al_pki_cert *cert)
{
    char *name = NULL, *header = NULL;
    unsigned char *data = NULL;
    long n = 0;
    int r;

    if (!PEM_read_bio(bio, &name, &header, &data, &n)) {
        unsigned long error = ERR_peek_last_error();

        return ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_NO_START_LINE
                   ? 0
                   : -AL_E_INVALID;
    }
    if (strcmp(name, PEM_STRING_X509) != 0 || header[0] || n < 0)
        r = -AL_E_INVALID;
    else if (cert->count == AL_PKI_CERTS_MAX || n > (long)AL_PKI_CERT_MAX)
        r = -AL_E_TOO_LARGE;
    else
        r = ali_x509_parse(al_str_of(data, (size_t)n), &cert->x[cert->count]);
    if (r == 0)
        cert->count++;
    OPENSSL_free(name);
    OPENSSL_free(header);
    OPENSSL_clear_free(data, n > 0 ? (size_t)n : 0); /* it may have been a key */
    return r < 0 ? r : 1;
}

int al_pki_cert_parse_pem(struct al_str pem, struct al_pki_cert **ret_cert)
{
    struct al_pki_cert *cert;
    BIO *bio;
    int r;

    if (pem.n > AL_PKI_FILE_MAX)
        return -AL_E_TOO_LARGE;
    if (pem.n == 0)
        return -AL_E_INVALID;
    cert = calloc(1, sizeof *cert);
    bio = BIO_new_mem_buf(pem.p, (int)pem.n);
    ERR_set_mark();
    if (!cert || !bio) {
        r = -AL_E_NOMEM;
    } else {
        do
            r = pem_next(bio, cert);
        while (r > 0);
        if (r == 0 && cert->count == 0)
            r = -AL_E_INVALID;
    }
    ERR_pop_to_mark();
    BIO_free(bio);
    if (r < 0) {
        al_pki_cert_free(cert);
        return r;
    }
    *ret_cert = cert;
    return 0;
}

int al_pki_cert_read(const char *path, struct al_pki_cert **ret_cert, char *ret_why,
                     size_t why_size)
{
    uint8_t *data;
    size_t size;
    int r = ali_file_read(path, false, &data, &size, ret_why, why_size);

    if (r < 0)
        return r;
    r = al_pki_cert_parse_pem(al_str_of(data, size), ret_cert);
    OPENSSL_cleanse(data, size);
    free(data);
    if (r == -AL_E_TOO_LARGE)
        (void)ali_why(
            r, ret_why, why_size,
            "%s: at most %u certificates of at most %u bytes; take out what is not needed", path,
            AL_PKI_CERTS_MAX, AL_PKI_CERT_MAX);
    else if (r == -AL_E_INVALID)
        (void)ali_why(r, ret_why, why_size,
                      "%s does not hold certificates and nothing else, in PEM "
                      "(-----BEGIN CERTIFICATE-----)",
                      path);
    else if (r < 0)
        (void)ali_why(r, ret_why, why_size, "no memory to read %s", path);
    return r;
}

int al_pki_cert_write(const struct al_pki_cert *cert, const char *path, bool replace, char *ret_why,
                      size_t why_size)
{
    BIO *bio = BIO_new(BIO_s_mem());
    int r = bio ? 0 : -AL_E_NOMEM;
    char *data = NULL;

    ERR_set_mark();
    for (unsigned i = 0; r == 0 && i < cert->count; i++)
        if (!PEM_write_bio_X509(bio, cert->x[i]))
            r = -AL_E_NOMEM;
    ERR_pop_to_mark();
    if (r == 0) {
        long n = BIO_get_mem_data(bio, &data);
        struct ali_file_content content = {data, (size_t)n, replace};

        r = ali_file_write(path, &content, ret_why, why_size);
    } else {
        (void)ali_why(r, ret_why, why_size, "no memory to write %s", path);
    }
    BIO_free(bio);
    return r;
}

/* ---- handles ----------------------------------------------------------------------------------
 */

int al_pki_cert_append(struct al_pki_cert *cert, const struct al_pki_cert *more)
{
    if (cert->count + more->count > AL_PKI_CERTS_MAX)
        return -AL_E_LIMIT;
    for (unsigned i = 0; i < more->count; i++) {
        if (!X509_up_ref(more->x[i]))
            return -AL_E_NOMEM;
        cert->x[cert->count++] = more->x[i];
    }
    return 0;
}

unsigned al_pki_cert_count(const struct al_pki_cert *cert)
{
    return cert->count;
}

int al_pki_cert_der(const struct al_pki_cert *cert, unsigned index, struct al_buf *ret_der)
{
    unsigned char *der = NULL;
    int n, r;

    ERR_set_mark();
    n = i2d_X509(cert->x[index], &der);
    ERR_pop_to_mark();
    if (n <= 0)
        return -AL_E_NOMEM;
    r = al_buf_put(ret_der, der, (size_t)n);
    OPENSSL_free(der);
    return r;
}

void al_pki_cert_free(struct al_pki_cert *cert)
{
    if (!cert)
        return;
    for (unsigned i = 0; i < cert->count; i++)
        X509_free(cert->x[i]);
    free(cert);
}

/* ---- what it says -----------------------------------------------------------------------------
 */

/* The one identity among the names, or "". */
static void read_identity(X509 *x, char ret_text[AL_IDENTITY_MAX + 1])
{
    GENERAL_NAMES *names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
    const ASN1_IA5STRING *found = NULL;
    struct al_identity identity;
    int uris = 0;

    ret_text[0] = 0;
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);

        if (name->type != GEN_URI)
            continue;
        uris++;
        found = name->d.uniformResourceIdentifier;
    }
    if (uris == 1 && ASN1_STRING_length(found) > 0 &&
        al_identity_parse(
            al_str_of(ASN1_STRING_get0_data(found), (size_t)ASN1_STRING_length(found)),
            &identity) == 0)
        (void)al_identity_format(&identity, ret_text);
    GENERAL_NAMES_free(names);
}

static int read_time(const ASN1_TIME *time, uint64_t *ret_ms)
{
    struct tm tm;
    time_t t;

    if (!ASN1_TIME_to_tm(time, &tm))
        return -AL_E_INVALID;
    t = timegm(&tm);
    *ret_ms = t > 0 ? (uint64_t)t * 1000 : 0;
    return 0;
}

int ali_x509_info(X509 *x, struct al_pki_info *ret_info)
{
    struct al_pki_info info = {.serial = 0};
    unsigned size = sizeof info.fingerprint;
    EVP_MD *sha256;
    int r;

    ERR_set_mark();
    sha256 = EVP_MD_fetch(ali_ssl_library(), "SHA256", NULL);
    r = sha256 && X509_digest(x, sha256, info.fingerprint, &size) ? 0 : -AL_E_NOMEM;
    EVP_MD_free(sha256);
    if (r == 0)
        r = read_time(X509_get0_notBefore(x), &info.not_before_ms);
    if (r == 0)
        r = read_time(X509_get0_notAfter(x), &info.not_after_ms);
    read_identity(x, info.identity);
    if (!ASN1_INTEGER_get_uint64(&info.serial, X509_get0_serialNumber(x)))
        info.serial = 0;
    info.is_authority = X509_check_ca(x) == 1;
    ERR_pop_to_mark();
    if (r == 0)
        *ret_info = info;
    return r;
}

int al_pki_cert_info(const struct al_pki_cert *cert, unsigned index, struct al_pki_info *ret_info)
{
    return ali_x509_info(cert->x[index], ret_info);
}
