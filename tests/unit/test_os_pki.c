/* test_os_pki.c - keys and certificates: what is written is read again, and what is wrong is not.
 */
#include "base/errors.h"
#include "os/ssl_internal.h"
#include "tls_world.h"
#include <dirent.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define AGENT "spiffe://net.test/team/agent/worker"

static char home[64], path[96], other[96], why[512];
static struct al_test_alloc memory;
static struct world_ca ca;

static int set_up(void **state)
{
    (void)state;
    snprintf(home, sizeof home, "/tmp/al-test-XXXXXX");
    if (!mkdtemp(home))
        return -1;
    snprintf(path, sizeof path, "%s/file.pem", home);
    snprintf(other, sizeof other, "%s/other.pem", home);
    why[0] = 0;
    al_test_alloc_init(&memory);
    ca = world_ca_new("net.test");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    unlink(path);
    unlink(other);
    world_ca_free(&ca);
    assert_int_equal(memory.live_bytes, 0);
    return rmdir(home); /* fails if a temporary file was left */
}

static void put_file(const char *name, const void *p, size_t n, mode_t mode)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, p, n), (ssize_t)n);
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

/* ---- files ------------------------------------------------------------------------------------
 */

static void files_hold_what_was_written(void **state)
{
    struct al_pki_key *key, *wrong;
    struct al_pki_cert *cert;
    struct al_pki_info wrote, read;
    struct stat st;

    (void)state;
    assert_int_equal(al_pki_key_write(ca.key, path, false, why, sizeof why), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(al_pki_key_read(path, &key, why, sizeof why), 0);
    assert_true(al_pki_key_fits(key, ca.cert));
    assert_int_equal(al_pki_cert_write(ca.cert, other, false, why, sizeof why), 0);
    assert_int_equal(al_pki_cert_read(other, &cert, why, sizeof why), 0);
    assert_int_equal(al_pki_cert_count(cert), 1);
    assert_int_equal(al_pki_cert_info(ca.cert, 0, &wrote), 0);
    assert_int_equal(al_pki_cert_info(cert, 0, &read), 0);
    assert_memory_equal(wrote.fingerprint, read.fingerprint, 32);
    /* What is there stays, unless it is to be replaced. */
    assert_int_equal(al_pki_key_new(&wrong), 0);
    assert_int_equal(al_pki_key_write(wrong, path, false, why, sizeof why), -AL_E_EXISTS);
    assert_non_null(strstr(why, path));
    al_pki_key_free(key);
    assert_int_equal(al_pki_key_read(path, &key, why, sizeof why), 0);
    assert_true(al_pki_key_fits(key, ca.cert));
    assert_int_equal(al_pki_key_write(wrong, path, true, why, sizeof why), 0);
    al_pki_key_free(key);
    assert_int_equal(al_pki_key_read(path, &key, why, sizeof why), 0);
    assert_false(al_pki_key_fits(key, ca.cert));
    al_pki_key_free(key);
    al_pki_key_free(wrong);
    al_pki_cert_free(cert);
}

static void several_certificates_in_one_file(void **state)
{
    struct world_ca second = world_ca_new("net.test");
    struct al_pki_cert *cert;
    struct al_pki_info wanted, got;

    (void)state;
    assert_int_equal(al_pki_cert_append(second.cert, ca.cert), 0);
    assert_int_equal(al_pki_cert_write(second.cert, path, false, why, sizeof why), 0);
    assert_int_equal(al_pki_cert_read(path, &cert, why, sizeof why), 0);
    assert_int_equal(al_pki_cert_count(cert), 2);
    assert_int_equal(al_pki_cert_info(ca.cert, 0, &wanted), 0);
    assert_int_equal(al_pki_cert_info(cert, 1, &got), 0);
    assert_memory_equal(wanted.fingerprint, got.fingerprint, 32);
    for (unsigned i = 2; i < AL_PKI_CERTS_MAX; i++)
        assert_int_equal(al_pki_cert_append(cert, ca.cert), 0);
    assert_int_equal(al_pki_cert_append(cert, ca.cert), -AL_E_LIMIT);
    al_pki_cert_free(cert);
    world_ca_free(&second);
}

static void key_that_others_can_reach_is_refused(void **state)
{
    static const mode_t modes[] = {0640, 0604, 0620, 0602, 0610, 0644, 0666, 0777};
    struct al_pki_key *key = NULL;

    (void)state;
    assert_int_equal(al_pki_key_write(ca.key, path, false, why, sizeof why), 0);
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        assert_int_equal(chmod(path, modes[i]), 0);
        assert_int_equal(al_pki_key_read(path, &key, why, sizeof why), -AL_E_DENIED);
        assert_non_null(strstr(why, "chmod 600"));
        assert_non_null(strstr(why, path));
    }
    assert_null(key);
    assert_int_equal(chmod(path, 0400), 0);
    assert_int_equal(al_pki_key_read(path, &key, why, sizeof why), 0);
    al_pki_key_free(key);
}

static void put_key(const char *name, EVP_PKEY *pkey, const char *passphrase)
{
    FILE *file = fopen(name, "w");

    assert_non_null(file);
    assert_int_equal(chmod(name, 0600), 0);
    assert_true(PEM_write_PKCS8PrivateKey(file, pkey, passphrase ? EVP_aes_256_cbc() : NULL, NULL,
                                          0, NULL, (void *)(uintptr_t)passphrase));
    fclose(file);
}

static void bad_files_are_named(void **state)
{
    struct al_pki_key *key;
    struct al_pki_cert *cert;
    EVP_PKEY *weak;
    char *big = calloc(1, AL_PKI_FILE_MAX + 1);

    (void)state;
    assert_int_equal(al_pki_key_read(path, &key, why, sizeof why), -AL_E_NOT_FOUND);
    assert_non_null(strstr(why, path));
    assert_int_equal(al_pki_cert_read(home, &cert, why, sizeof why), -AL_E_INVALID);
    assert_int_equal(mkfifo(path, 0600), 0); /* must not wait for a writer */
    assert_int_equal(al_pki_key_read(path, &key, why, sizeof why), -AL_E_INVALID);
    assert_int_equal(unlink(path), 0);
    put_file(path, big, AL_PKI_FILE_MAX + 1, 0600);
    assert_int_equal(al_pki_cert_read(path, &cert, why, sizeof why), -AL_E_TOO_LARGE);
    put_file(path, "", 0, 0600);
    assert_int_equal(al_pki_key_read(path, &key, why, sizeof why), -AL_E_INVALID);
    assert_int_equal(al_pki_cert_read(path, &cert, why, sizeof why), -AL_E_INVALID);
    put_key(path, ca.key->pkey, NULL);
    assert_int_equal(al_pki_cert_read(path, &cert, why, sizeof why), -AL_E_INVALID);
    put_key(path, ca.key->pkey, "secret"); /* asks nobody */
    assert_int_equal(al_pki_key_read(path, &key, why, sizeof why), -AL_E_INVALID);
    weak = EVP_RSA_gen(1024);
    put_key(path, weak, NULL);
    EVP_PKEY_free(weak);
    assert_int_equal(al_pki_key_read(path, &key, why, sizeof why), -AL_E_INVALID);
    assert_non_null(strstr(why, "2048"));
    assert_int_equal(al_pki_cert_write(ca.cert, "/tmp/al-no-such/x", true, why, sizeof why),
                     -AL_E_NOT_FOUND);
    assert_int_equal(al_pki_key_write(ca.key, "", true, why, sizeof why), -AL_E_INVALID);
    free(big);
}

/* ---- issuing ----------------------------------------------------------------------------------
 */

static struct al_pki_issue issue_of(struct al_buf *request)
{
    return (struct al_pki_issue){.serial = 7,
                                 .now_ms = world_wall_ms,
                                 .lifetime_ms = WORLD_HOUR_MS,
                                 .identity = al_str_c(AGENT),
                                 .request = al_str_of(request->data, request->size)};
}

static void leaf_says_what_it_should(void **state)
{
    struct al_pki_key *key;
    struct al_pki_cert *leaf;
    struct al_pki_issue issue;
    struct al_pki_info info;
    struct al_buf request, der;
    X509 *x;

    (void)state;
    al_buf_init(&request, &memory.alloc);
    al_buf_init(&der, &memory.alloc);
    assert_int_equal(al_pki_key_new(&key), 0);
    assert_int_equal(al_pki_request_new(key, &request), 0);
    issue = issue_of(&request);
    issue.serial = UINT64_MAX;
    assert_int_equal(al_pki_issue(ca.cert, ca.key, &issue, &der, why, sizeof why), 0);
    assert_int_equal(al_pki_cert_parse(al_str_of(der.data, der.size), &leaf), 0);
    assert_int_equal(al_pki_cert_info(leaf, 0, &info), 0);
    assert_string_equal(info.identity, AGENT);
    assert_true(info.serial == UINT64_MAX);
    assert_int_equal(info.not_before_ms, world_wall_ms - AL_PKI_SKEW_MS);
    assert_int_equal(info.not_after_ms, world_wall_ms + WORLD_HOUR_MS);
    assert_false(info.is_authority);
    assert_true(al_pki_key_fits(key, leaf));
    assert_false(al_pki_key_fits(ca.key, leaf));
    x = leaf->x[0];
    assert_int_equal(X509_verify(x, ca.key->pkey), 1);
    assert_int_equal(X509_get_extended_key_usage(x), XKU_SSL_SERVER | XKU_SSL_CLIENT);
    assert_int_equal(X509_get_key_usage(x), KU_DIGITAL_SIGNATURE);
    assert_int_equal(X509_NAME_entry_count(X509_get_subject_name(x)), 0);
    assert_int_equal(X509_check_issued(ca.cert->x[0], x), X509_V_OK);
    assert_int_equal(X509_get_ext_count(x), 5);
    al_pki_cert_free(leaf);
    al_pki_key_free(key);
    al_buf_deinit(&request);
    al_buf_deinit(&der);
}

static void leaf_does_not_outlive_its_authority(void **state)
{
    struct al_pki_cert *short_ca, *leaf;
    struct al_pki_issue issue;
    struct al_pki_info info;
    struct al_buf request, der;

    (void)state;
    al_buf_init(&request, &memory.alloc);
    al_buf_init(&der, &memory.alloc);
    assert_int_equal(al_pki_ca_new(ca.key, al_str_c("net.test"), world_wall_ms, 1, &short_ca), 0);
    assert_int_equal(al_pki_request_new(ca.key, &request), 0);
    issue = issue_of(&request);
    issue.lifetime_ms = UINT64_MAX;
    assert_int_equal(al_pki_issue(short_ca, ca.key, &issue, &der, why, sizeof why), 0);
    assert_int_equal(al_pki_cert_parse(al_str_of(der.data, der.size), &leaf), 0);
    assert_int_equal(al_pki_cert_info(leaf, 0, &info), 0);
    assert_int_equal(info.not_after_ms, world_wall_ms + 24 * WORLD_HOUR_MS);
    issue.now_ms = world_wall_ms + 24 * WORLD_HOUR_MS;
    assert_int_equal(al_pki_issue(short_ca, ca.key, &issue, &der, why, sizeof why), -AL_E_EXPIRED);
    al_pki_cert_free(leaf);
    al_pki_cert_free(short_ca);
    al_buf_deinit(&request);
    al_buf_deinit(&der);
}

static void authority_is_one(void **state)
{
    struct al_pki_info info;
    struct al_pki_cert *cert = NULL;
    X509 *x = ca.cert->x[0];

    (void)state;
    assert_int_equal(al_pki_cert_info(ca.cert, 0, &info), 0);
    assert_true(info.is_authority);
    assert_string_equal(info.identity, "");
    assert_true(info.serial != 0 && info.serial <= INT64_MAX);
    assert_int_equal(info.not_after_ms - world_wall_ms, 3650ull * 24 * WORLD_HOUR_MS);
    assert_int_equal(X509_get_key_usage(x), KU_KEY_CERT_SIGN);
    assert_int_equal(X509_get_pathlen(x), 0);
    assert_int_equal(X509_self_signed(x, 1), 1);
    assert_int_equal(al_pki_ca_new(ca.key, al_str_c("Net"), 1, 1, &cert), -AL_E_INVALID);
    assert_int_equal(al_pki_ca_new(ca.key, al_str_c("net"), 1, 0, &cert), -AL_E_INVALID);
    assert_int_equal(al_pki_ca_new(ca.key, al_str_c("net"), 1, AL_PKI_CA_DAYS_MAX + 1, &cert),
                     -AL_E_INVALID);
    assert_null(cert);
    /* The longest name of a network, and the smallest clock. */
    assert_int_equal(
        al_pki_ca_new(ca.key,
                      al_str_c("a23456789.123456789.123456789.123456789.123456789.123456789.123"),
                      0, AL_PKI_CA_DAYS_MAX, &cert),
        0);
    assert_int_equal(al_pki_cert_info(cert, 0, &info), 0);
    assert_int_equal(info.not_before_ms, 0);
    al_pki_cert_free(cert);
}

static void refused(const struct al_pki_key *ca_key, const struct al_pki_issue *issue, int error,
                    const char *word)
{
    struct al_buf der;

    al_buf_init(&der, &memory.alloc);
    assert_int_equal(al_pki_issue(ca.cert, ca_key, issue, &der, why, sizeof why), error);
    assert_int_equal(der.size, 0);
    if (!strstr(why, word))
        fail_msg("%s: %s", word, why);
}

/* A request of a key that we do not take, signed properly. */
static void odd_request(EVP_PKEY *pkey, struct al_buf *ret_der)
{
    struct al_pki_key key = {pkey};

    assert_non_null(pkey);
    al_buf_clear(ret_der);
    assert_int_equal(al_pki_request_new(&key, ret_der), 0);
    EVP_PKEY_free(pkey);
}

static void bad_requests_are_refused(void **state)
{
    struct al_pki_issue issue;
    struct al_pki_key *key;
    struct al_buf request;
    uint8_t big[AL_PKI_REQUEST_MAX + 1] = {0x30};

    (void)state;
    al_buf_init(&request, &memory.alloc);
    assert_int_equal(al_pki_key_new(&key), 0);
    assert_int_equal(al_pki_request_new(key, &request), 0);
    issue = issue_of(&request);
    refused(key, &issue, -AL_E_INVALID, "do not belong together");
    issue.serial = 0;
    refused(ca.key, &issue, -AL_E_INVALID, "serial");
    issue = issue_of(&request);
    issue.lifetime_ms = 999;
    refused(ca.key, &issue, -AL_E_INVALID, "lifetime");
    issue = issue_of(&request);
    issue.identity = al_str_c("spiffe://net.test/team/agent/worker/");
    refused(ca.key, &issue, -AL_E_INVALID, "spiffe://");
    issue = issue_of(&request);
    issue.request.n--;
    refused(ca.key, &issue, -AL_E_INVALID, "PKCS#10");
    issue.request = al_str_of(big, sizeof big);
    refused(ca.key, &issue, -AL_E_TOO_LARGE, "at most");
    assert_int_equal(al_buf_put(&request, "", 1), 0);
    issue = issue_of(&request); /* a byte behind it */
    refused(ca.key, &issue, -AL_E_INVALID, "PKCS#10");
    odd_request(EVP_PKEY_Q_keygen(ali_ssl_library(), NULL, "EC", "P-384"), &request);
    issue = issue_of(&request);
    refused(ca.key, &issue, -AL_E_INVALID, "P-256");
    odd_request(EVP_PKEY_Q_keygen(ali_ssl_library(), NULL, "EC", "secp256k1"), &request);
    issue = issue_of(&request);
    refused(ca.key, &issue, -AL_E_INVALID, "P-256");
    odd_request(EVP_PKEY_Q_keygen(ali_ssl_library(), NULL, "ED25519"), &request);
    issue = issue_of(&request);
    refused(ca.key, &issue, -AL_E_INVALID, "P-256");
    odd_request(EVP_PKEY_Q_keygen(ali_ssl_library(), NULL, "RSA", (size_t)2048), &request);
    issue = issue_of(&request);
    refused(ca.key, &issue, -AL_E_INVALID, "P-256");
    al_pki_key_free(key);
    al_buf_deinit(&request);
}

/* Each single bit of it is covered by its signature, or by its form. */
static void altered_request_is_refused(void **state)
{
    struct al_pki_issue issue;
    struct al_pki_key *key;
    struct al_buf request, der;

    (void)state;
    al_buf_init(&request, &memory.alloc);
    al_buf_init(&der, &memory.alloc);
    assert_int_equal(al_pki_key_new(&key), 0);
    assert_int_equal(al_pki_request_new(key, &request), 0);
    issue = issue_of(&request);
    for (size_t bit = 0; bit < request.size * 8; bit++) {
        request.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (al_pki_issue(ca.cert, ca.key, &issue, &der, NULL, 0) != -AL_E_INVALID)
            fail_msg("bit %zu of byte %zu", bit % 8, bit / 8);
        request.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_int_equal(al_pki_issue(ca.cert, ca.key, &issue, &der, NULL, 0), 0);
    al_pki_key_free(key);
    al_buf_deinit(&request);
    al_buf_deinit(&der);
}

/* ---- parsing ----------------------------------------------------------------------------------
 */

static void only_whole_certificates_are_parsed(void **state)
{
    struct al_pki_cert *cert = NULL;
    struct al_buf der;

    (void)state;
    al_buf_init(&der, &memory.alloc);
    assert_int_equal(al_pki_cert_der(ca.cert, 0, &der), 0);
    for (size_t n = 0; n < der.size; n++)
        assert_int_equal(al_pki_cert_parse(al_str_of(der.data, n), &cert), -AL_E_INVALID);
    assert_int_equal(al_buf_put(&der, "", 1), 0);
    assert_int_equal(al_pki_cert_parse(al_str_of(der.data, der.size), &cert), -AL_E_INVALID);
    assert_int_equal(al_pki_cert_parse(al_str_of(der.data, AL_PKI_CERT_MAX + 1), &cert),
                     -AL_E_TOO_LARGE);
    assert_int_equal(al_pki_cert_parse_pem(al_str_c("-----BEGIN CERTIFICATE-----\n"), &cert),
                     -AL_E_INVALID);
    assert_int_equal(al_pki_cert_parse_pem(al_str_c("no PEM at all\n"), &cert), -AL_E_INVALID);
    assert_null(cert);
    al_buf_deinit(&der);
}

/* The program around us may have errors of its own waiting. */
static void callers_errors_stay(void **state)
{
    struct al_pki_cert *cert;
    struct al_pki_key *key;
    unsigned long before;

    (void)state;
    ERR_clear_error();
    ERR_raise(ERR_LIB_USER, 42);
    before = ERR_peek_error();
    assert_int_equal(al_pki_cert_parse(al_str_c("x"), &cert), -AL_E_INVALID);
    assert_int_equal(al_pki_cert_parse_pem(al_str_c("x"), &cert), -AL_E_INVALID);
    put_file(path, "x", 1, 0600);
    assert_int_equal(al_pki_key_read(path, &key, why, sizeof why), -AL_E_INVALID);
    assert_int_equal(ERR_get_error(), before);
    assert_int_equal(ERR_get_error(), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(files_hold_what_was_written),
        TEST(several_certificates_in_one_file),
        TEST(key_that_others_can_reach_is_refused),
        TEST(bad_files_are_named),
        TEST(leaf_says_what_it_should),
        TEST(leaf_does_not_outlive_its_authority),
        TEST(authority_is_one),
        TEST(bad_requests_are_refused),
        TEST(altered_request_is_refused),
        TEST(only_whole_certificates_are_parsed),
        TEST(callers_errors_stay),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
