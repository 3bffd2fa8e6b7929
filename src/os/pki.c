/* pki.c - our corner of OpenSSL, and keys. */
#include "os/pki.h"
#include "base/errors.h"
#include "os/ssl_internal.h"

#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/provider.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define RSA_BITS_MIN 2048

/* ---- the library ------------------------------------------------------------------------------
 */

static OSSL_LIB_CTX *library;
static pthread_once_t library_once = PTHREAD_ONCE_INIT;

static void library_open(void)
{
    OSSL_LIB_CTX *ctx;

    /* OpenSSL's clean-up at exit would pull the floor from under threads that still run. */
    if (!OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT, NULL))
        return;
    ctx = OSSL_LIB_CTX_new();
    if (ctx && !OSSL_PROVIDER_load(ctx, "default")) {
        OSSL_LIB_CTX_free(ctx);
        ctx = NULL;
    }
    library = ctx;
}

OSSL_LIB_CTX *ali_ssl_library(void)
{
    (void)pthread_once(&library_once, library_open);
    return library;
}

int al_pki_program_init(void)
{
    if (!OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_NO_ATEXIT, NULL))
        return -AL_E_NOMEM;
    return ali_ssl_library() ? 0 : -AL_E_NOMEM;
}

/* ---- keys -------------------------------------------------------------------------------------
 */

static int key_wrap(EVP_PKEY *pkey, struct al_pki_key **ret_key)
{
    struct al_pki_key *key = pkey ? calloc(1, sizeof *key) : NULL;

    if (!key) {
        EVP_PKEY_free(pkey);
        return -AL_E_NOMEM;
    }
    key->pkey = pkey;
    *ret_key = key;
    return 0;
}

int al_pki_key_new(struct al_pki_key **ret_key)
{
    OSSL_LIB_CTX *ctx = ali_ssl_library();
    EVP_PKEY *pkey;

    if (!ctx)
        return -AL_E_NOMEM;
    ERR_set_mark();
    pkey = EVP_PKEY_Q_keygen(ctx, NULL, "EC", "P-256");
    ERR_pop_to_mark();
    return pkey ? key_wrap(pkey, ret_key) : -AL_E_IO;
}

bool ali_key_is_p256(const EVP_PKEY *pkey)
{
    char group[32], encoding[32];

    return EVP_PKEY_is_a(pkey, "EC") &&
           EVP_PKEY_get_utf8_string_param(pkey, OSSL_PKEY_PARAM_GROUP_NAME, group, sizeof group,
                                          NULL) &&
           EVP_PKEY_get_utf8_string_param(pkey, OSSL_PKEY_PARAM_EC_ENCODING, encoding,
                                          sizeof encoding, NULL) &&
           strcmp(group, "prime256v1") == 0 && strcmp(encoding, "named_curve") == 0;
}

static bool is_p384(const EVP_PKEY *pkey)
{
    char group[32];

    return EVP_PKEY_is_a(pkey, "EC") &&
           EVP_PKEY_get_utf8_string_param(pkey, OSSL_PKEY_PARAM_GROUP_NAME, group, sizeof group,
                                          NULL) &&
           strcmp(group, "secp384r1") == 0;
}

static bool is_good_key(const EVP_PKEY *pkey)
{
    return ali_key_is_p256(pkey) || is_p384(pkey) || EVP_PKEY_is_a(pkey, "ED25519") ||
           (EVP_PKEY_is_a(pkey, "RSA") && EVP_PKEY_get_bits(pkey) >= RSA_BITS_MIN);
}

/* Never asks anybody. */
static int no_passphrase(char *buffer, int size, int writing, void *ctx)
{
    (void)buffer, (void)size, (void)writing, (void)ctx;
    return -1;
}

int al_pki_key_read(const char *path, struct al_pki_key **ret_key, char *ret_why, size_t why_size)
{
    EVP_PKEY *pkey = NULL;
    uint8_t *data;
    size_t size;
    BIO *bio;
    int r = ali_file_read(path, true, &data, &size, ret_why, why_size);

    if (r < 0)
        return r;
    ERR_set_mark();
    bio = ali_ssl_library() ? BIO_new_mem_buf(data, (int)size) : NULL;
    if (bio)
        pkey = PEM_read_bio_PrivateKey_ex(bio, NULL, no_passphrase, NULL, ali_ssl_library(), NULL);
    BIO_free(bio);
    ERR_pop_to_mark();
    OPENSSL_cleanse(data, size);
    free(data);
    if (!pkey)
        return ali_why(-AL_E_INVALID, ret_why, why_size,
                       "%s holds no private key in PEM without a passphrase", path);
    if (!is_good_key(pkey)) {
        EVP_PKEY_free(pkey);
        return ali_why(-AL_E_INVALID, ret_why, why_size,
                       "the key in %s is not P-256, P-384, Ed25519 or RSA of %d bits", path,
                       RSA_BITS_MIN);
    }
    r = key_wrap(pkey, ret_key);
    return r < 0 ? ali_why(r, ret_why, why_size, "no memory to read %s", path) : 0;
}

int al_pki_key_write(const struct al_pki_key *key, const char *path, bool replace, char *ret_why,
                     size_t why_size)
{
    BIO *bio = BIO_new(BIO_s_mem()); /* wipes what it frees */
    char *data = NULL;
    int ok, r;

    ERR_set_mark();
    ok = bio && PEM_write_bio_PKCS8PrivateKey(bio, key->pkey, NULL, NULL, 0, NULL, NULL);
    ERR_pop_to_mark();
    if (ok) {
        long n = BIO_get_mem_data(bio, &data);
        struct ali_file_content content = {data, (size_t)n, replace};

        r = ali_file_write(path, &content, ret_why, why_size);
    } else {
        r = ali_why(-AL_E_NOMEM, ret_why, why_size, "no memory to write %s", path);
    }
    BIO_free(bio);
    return r;
}

bool al_pki_key_fits(const struct al_pki_key *key, const struct al_pki_cert *cert)
{
    bool fits;

    ERR_set_mark();
    fits = X509_check_private_key(cert->x[0], key->pkey) == 1;
    ERR_pop_to_mark();
    return fits;
}

void al_pki_key_free(struct al_pki_key *key)
{
    if (!key)
        return;
    EVP_PKEY_free(key->pkey);
    free(key);
}
