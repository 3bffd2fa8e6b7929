/* ssl_internal.h - what pki and tls share: the library context, and the objects behind pki.h. */
#ifndef AL_OS_SSL_INTERNAL_H
#define AL_OS_SSL_INTERNAL_H

#include "base/limits.h"
#include "os/pki.h"
#include <openssl/evp.h>
#include <openssl/x509.h>

/* A key, behind pki.h. */
struct al_pki_key {
    EVP_PKEY *pkey;
};

/* Certificates, behind pki.h. */
struct al_pki_cert {
    unsigned count;
    X509 *x[AL_PKI_CERTS_MAX];
};

/* Our own context of OpenSSL with the default provider and no configuration; NULL if there was no
 * memory at the first call. Lives as long as the process. Any thread. */
OSSL_LIB_CTX *ali_ssl_library(void);
/* Formats why, if there is room, and returns `error`. */
int ali_why(int error, char *ret_why, size_t why_size, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* P-256, with the curve named and not spelled out. */
bool ali_key_is_p256(const EVP_PKEY *pkey);
/* One certificate from DER: 0, -AL_E_INVALID, -AL_E_TOO_LARGE, -AL_E_NOMEM. */
int ali_x509_parse(struct al_str der, X509 **ret_x);
/* What it says: 0, -AL_E_INVALID, -AL_E_NOMEM. */
int ali_x509_info(X509 *x, struct al_pki_info *ret_info);
/* A handle with one certificate, which it takes a reference of; NULL: no memory. */
struct al_pki_cert *ali_cert_new(X509 *x);

/* Reads a whole small file into malloc'ed memory (*ret_size bytes and a zero behind them). With
 * `is_secret` only the owner may have access to it. Errors of al_pki_key_read. */
int ali_file_read(const char *path, bool is_secret, uint8_t **ret_data, size_t *ret_size,
                  char *ret_why, size_t why_size);
/* What a file is to hold and whether it may take another one's place. */
struct ali_file_content {
    const void *p;
    size_t n;
    bool replace;
};
/* Writes a whole file, mode 0600, so that it is there with all its content or not at all. Errors of
 * al_pki_key_write. */
int ali_file_write(const char *path, const struct ali_file_content *content, char *ret_why,
                   size_t why_size);

#endif
