/* pki.h - keys and certificates over OpenSSL: the built-in authority, requests, leaves, files.
 *
 * Keys that are made here are P-256, signatures ECDSA with SHA-256. A leaf says who its holder is
 * in one URI name (base/identity.h); no common name is read. Certificates are put together by typed
 * calls, never from configuration text, so that there is nothing to inject. Files are PEM.
 *
 * OpenSSL: everything lives in a library context of our own without configuration file and with the
 * default provider only; the caller's error queue is left as it was. See al_pki_program_init.
 *
 * Threads: functions are reentrant; one object must not be used by two threads at once, except that
 * a certificate and a key may be read (not written, not freed) by many.
 *
 * Memory is OpenSSL's, from malloc. Functions that take `ret_why` write a sentence there on failure
 * that says what, where and what to do; why_size may be 0. */
#ifndef AL_OS_PKI_H
#define AL_OS_PKI_H

#include "base/bytes.h"
#include "base/identity.h"
#include <stdbool.h>

/* A private key; its memory is wiped when it is freed. */
struct al_pki_key;
/* One or more certificates: a leaf and those that vouch for it, in this order; or a bundle of
 * authorities. Functions that speak of "the certificate" mean the first. */
struct al_pki_cert;

/* For programs, not for libraries; before the first use of anything here or in tls.h, in main:
 * keeps OpenSSL from reading the system's openssl.cnf, for the whole process. A library must not do
 * that to the program it lives in; it is not needed for what happens here. 0 or -AL_E_NOMEM. */
int al_pki_program_init(void);

/* ---- keys ---------------------------------------------------------------------------------- */

/* A new P-256 key. 0, -AL_E_NOMEM, -AL_E_IO (no randomness). */
int al_pki_key_new(struct al_pki_key **ret_key);
/* Reads a private key (PEM, without a passphrase; P-256, P-384, Ed25519, or RSA of 2048 bits or
 * more). A file that group or others may read or write is refused, and one that belongs to another
 * user than this process's or root. 0; -AL_E_NOT_FOUND; -AL_E_DENIED (mode, owner, or no
 * permission); -AL_E_INVALID (no such key in it); -AL_E_TOO_LARGE; -AL_E_IO, -AL_E_NOMEM. */
int al_pki_key_read(const char *path, struct al_pki_key **ret_key, char *ret_why, size_t why_size);
/* Writes it (PEM, mode 0600) to `path`, whole or not at all: temporary file beside it, flush,
 * rename, flush of the directory. `replace`: a file that is there is replaced; otherwise it stays
 * and -AL_E_EXISTS is returned. 0, -AL_E_NOT_FOUND (directory), -AL_E_DENIED, -AL_E_DISK_FULL,
 * -AL_E_IO, -AL_E_NOMEM. */
int al_pki_key_write(const struct al_pki_key *key, const char *path, bool replace, char *ret_why,
                     size_t why_size);
/* True if the certificate (the first) is of this key. */
bool al_pki_key_fits(const struct al_pki_key *key, const struct al_pki_cert *cert);
/* Wipes and frees. NULL is accepted. */
void al_pki_key_free(struct al_pki_key *key);

/* ---- the built-in authority ---------------------------------------------------------------- */

/* A self-signed authority for a network: signs certificates only, no authority below it, random
 * serial, valid from al_pki_issue's skew before now for `days` (1 to AL_PKI_CA_DAYS_MAX). 0;
 * -AL_E_INVALID (network or days); -AL_E_NOMEM, -AL_E_IO (no randomness). */
int al_pki_ca_new(const struct al_pki_key *key, struct al_str network, uint64_t now_ms,
                  unsigned days, struct al_pki_cert **ret_cert);
/* A request (PKCS#10, DER, appended) that proves possession of the key and says nothing else.
 * 0 or -AL_E_NOMEM. */
int al_pki_request_new(const struct al_pki_key *key, struct al_buf *ret_der);

/* What a leaf is to say. */
struct al_pki_issue {
    uint64_t serial;        /* not 0; unique under this authority, that is the caller's duty */
    uint64_t now_ms;        /* wall clock */
    uint64_t lifetime_ms;   /* from now on; at least one second */
    struct al_str identity; /* canonical text */
    struct al_str request;  /* DER, from anybody */
};
/* Issues a leaf for the key of the request: one URI name, good as client and server, no authority,
 * valid from AL_PKI_SKEW_MS before now until now + lifetime, but not beyond the authority's own
 * end. Of the request only the key is taken, after its signature has been checked; it must be
 * P-256. The leaf (DER) is appended. 0; -AL_E_INVALID (request, identity, serial, or ca_key is not
 * of ca); -AL_E_TOO_LARGE (request); -AL_E_EXPIRED (the authority); -AL_E_NOMEM. */
int al_pki_issue(const struct al_pki_cert *ca, const struct al_pki_key *ca_key,
                 const struct al_pki_issue *issue, struct al_buf *ret_der, char *ret_why,
                 size_t why_size);

/* ---- certificates -------------------------------------------------------------------------- */

/* One certificate from DER, nothing behind it, at most AL_PKI_CERT_MAX. 0, -AL_E_INVALID,
 * -AL_E_TOO_LARGE, -AL_E_NOMEM. */
int al_pki_cert_parse(struct al_str der, struct al_pki_cert **ret_cert);
/* The certificates of a PEM text, 1 to AL_PKI_CERTS_MAX; what stands around them is skipped, other
 * PEM blocks are refused. Errors as of al_pki_cert_parse. */
int al_pki_cert_parse_pem(struct al_str pem, struct al_pki_cert **ret_cert);
/* Likewise from a file. Also -AL_E_NOT_FOUND, -AL_E_DENIED, -AL_E_IO. */
int al_pki_cert_read(const char *path, struct al_pki_cert **ret_cert, char *ret_why,
                     size_t why_size);
/* Writes all of them as PEM; otherwise as al_pki_key_write, which also says what happens at a
 * crash. */
int al_pki_cert_write(const struct al_pki_cert *cert, const char *path, bool replace, char *ret_why,
                      size_t why_size);
/* Appends those of `more` behind the others; both stay the caller's. 0, -AL_E_LIMIT
 * (AL_PKI_CERTS_MAX), -AL_E_NOMEM. */
int al_pki_cert_append(struct al_pki_cert *cert, const struct al_pki_cert *more);
/* How many there are, at least 1. */
unsigned al_pki_cert_count(const struct al_pki_cert *cert);
/* Appends the DER of number `index`, which must exist. 0 or -AL_E_NOMEM. */
int al_pki_cert_der(const struct al_pki_cert *cert, unsigned index, struct al_buf *ret_der);
/* Frees. NULL is accepted. */
void al_pki_cert_free(struct al_pki_cert *cert);

/* What a certificate says. */
struct al_pki_info {
    char identity[AL_IDENTITY_MAX + 1];   /* canonical; "": it has none, or more than one */
    uint64_t serial;                      /* 0: it does not fit; tell those by their fingerprint */
    uint64_t not_before_ms, not_after_ms; /* wall clock; 0 before 1970 */
    bool is_authority;                    /* may sign certificates */
    uint8_t fingerprint[32];              /* SHA-256 of the DER */
};
/* Tells what number `index` says, which must exist. 0, -AL_E_INVALID (times that are no times),
 * -AL_E_NOMEM. */
int al_pki_cert_info(const struct al_pki_cert *cert, unsigned index, struct al_pki_info *ret_info);

#endif
