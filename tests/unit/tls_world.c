/* tls_world.c - a network for tests. */
#include "tls_world.h"
#include "base/errors.h"
#include "os/tls_internal.h"

#include <openssl/x509v3.h>
#include <stdlib.h>

uint64_t world_wall_ms = WORLD_START_MS;

static struct al_test_alloc memory;

static uint64_t wall(void *ctx)
{
    (void)ctx;
    return world_wall_ms;
}

/* ---- certificates -----------------------------------------------------------------------------
 */

struct world_ca world_ca_new(const char *network)
{
    struct world_ca ca;

    assert_int_equal(al_pki_key_new(&ca.key), 0);
    assert_int_equal(al_pki_ca_new(ca.key, al_str_c(network), world_wall_ms, 3650, &ca.cert), 0);
    return ca;
}

void world_ca_free(struct world_ca *ca)
{
    al_pki_key_free(ca->key);
    al_pki_cert_free(ca->cert);
}

struct world_party world_party_new(const struct world_ca *ca, const char *identity)
{
    static uint64_t serial;
    struct al_pki_issue issue = {.serial = ++serial,
                                 .now_ms = world_wall_ms,
                                 .lifetime_ms = 24 * WORLD_HOUR_MS,
                                 .identity = al_str_c(identity)};
    struct world_party party;
    struct al_buf request, der;
    char why[256] = "";

    al_test_alloc_init(&memory);
    al_buf_init(&request, &memory.alloc);
    al_buf_init(&der, &memory.alloc);
    assert_int_equal(al_pki_key_new(&party.key), 0);
    assert_int_equal(al_pki_request_new(party.key, &request), 0);
    issue.request = al_str_of(request.data, request.size);
    if (al_pki_issue(ca->cert, ca->key, &issue, &der, why, sizeof why) < 0)
        fail_msg("%s", why);
    assert_int_equal(al_pki_cert_parse(al_str_of(der.data, der.size), &party.chain), 0);
    al_buf_deinit(&request);
    al_buf_deinit(&der);
    return party;
}

void world_party_free(struct world_party *party)
{
    al_pki_key_free(party->key);
    al_pki_cert_free(party->chain);
}

static void add_extension(X509 *x, int nid, const char *text)
{
    X509_EXTENSION *extension;

    if (!text)
        return;
    extension = X509V3_EXT_conf_nid(NULL, NULL, nid, text);
    assert_non_null(extension);
    assert_int_equal(X509_add_ext(x, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

struct world_party world_odd_new(const struct world_ca *ca, const struct world_odd *odd)
{
    int64_t from_ms = odd->from_ms || odd->to_ms ? odd->from_ms : -60000;
    int64_t to_ms = odd->from_ms || odd->to_ms ? odd->to_ms : 24 * (int64_t)WORLD_HOUR_MS;
    X509 *x = X509_new_ex(ali_ssl_library(), NULL), *issuer;
    struct world_party party;

    assert_int_equal(al_pki_key_new(&party.key), 0);
    issuer = odd->self_signed ? x : ca->cert->x[0];
    assert_int_equal(X509_set_version(x, X509_VERSION_3), 1);
    assert_int_equal(ASN1_INTEGER_set(X509_get_serialNumber(x), 77), 1);
    ASN1_TIME_set(X509_getm_notBefore(x), ((int64_t)world_wall_ms + from_ms) / 1000);
    ASN1_TIME_set(X509_getm_notAfter(x), ((int64_t)world_wall_ms + to_ms) / 1000);
    assert_int_equal(X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
                                                (const unsigned char *)"odd", -1, -1, 0),
                     1);
    assert_int_equal(X509_set_issuer_name(x, X509_get_subject_name(issuer)), 1);
    assert_int_equal(X509_set_pubkey(x, party.key->pkey), 1);
    add_extension(x, NID_basic_constraints, odd->basic);
    add_extension(x, NID_subject_alt_name, odd->names);
    add_extension(x, NID_ext_key_usage, odd->purposes);
    assert_true(X509_sign(x, odd->self_signed ? party.key->pkey : ca->key->pkey, EVP_sha256()) > 0);
    party.chain = ali_cert_new(x);
    assert_non_null(party.chain);
    X509_free(x);
    return party;
}

/* ---- contexts and links -----------------------------------------------------------------------
 */

struct al_tls_config world_config(const struct world_party *party, const struct world_ca *ca)
{
    return (struct al_tls_config){.key = party ? party->key : NULL,
                                  .chain = party ? party->chain : NULL,
                                  .authorities = ca ? ca->cert : NULL,
                                  .wall_ms = wall};
}

struct al_tls_context *world_context(enum al_tls_side side, const struct world_party *party,
                                     const struct world_ca *ca)
{
    struct al_tls_config config = world_config(party, ca);
    struct al_tls_context *context = NULL;
    char why[256] = "";

    if (al_tls_context_new(&config, side, &context, why, sizeof why) < 0)
        fail_msg("%s", why);
    return context;
}

struct al_tls_context *world_context_odd(enum al_tls_side side, const struct world_party *good,
                                         const struct world_ca *ca, const struct world_party *odd)
{
    struct al_tls_context *context = world_context(side, good, ca);

    assert_int_equal(
        SSL_CTX_use_cert_and_key(context->ssl, odd->chain->x[0], odd->key->pkey, NULL, 1), 1);
    return context;
}

struct world_link world_link_new(struct al_tls_context *server, struct al_tls_context *client)
{
    struct world_link link;
    int fds[2];

    assert_int_equal(al_socket_pair(fds), 0);
    assert_int_equal(al_tls_open(server, fds[0], &link.server), 0);
    assert_int_equal(al_tls_open(client, fds[1], &link.client), 0);
    al_tls_context_unref(server);
    al_tls_context_unref(client);
    return link;
}

static void step(struct al_stream *stream)
{
    uint8_t waste[4096];

    (void)al_stream_flush(stream);
    while (al_stream_read(stream, waste, sizeof waste) > 0)
        ;
}

void world_link_run(struct world_link *link)
{
    for (int i = 0; i < 8; i++) {
        step(&link->client);
        step(&link->server);
    }
}

void world_link_open(struct world_link *link)
{
    world_link_run(link);
    if (al_tls_state(link->server.tls) < 0)
        fail_msg("server: %s", al_tls_why(link->server.tls)->text);
    if (al_tls_state(link->client.tls) < 0)
        fail_msg("client: %s", al_tls_why(link->client.tls)->text);
    assert_int_equal(al_tls_state(link->server.tls), 1);
    assert_int_equal(al_tls_state(link->client.tls), 1);
}

void world_link_close(struct world_link *link)
{
    al_stream_close(&link->client);
    al_stream_close(&link->server);
}
