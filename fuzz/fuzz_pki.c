/* fuzz_pki.c - certificates and requests from strangers.
 *
 * The first byte tells what the rest is: 'c' a certificate (DER), 'p' certificates (PEM), 'r' a
 * request (DER) that an authority is asked to sign. */
#include "base/errors.h"
#include "fuzz.h"
#include "os/memory.h"
#include "os/pki.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define NOW_MS   1800000000000ull
#define IDENTITY "spiffe://net.test/default/agent/a"

static struct al_memory memory;

/* Whatever it says, it can be told and written down again. */
static void look(const struct al_pki_cert *cert, struct al_str der)
{
    struct al_alloc alloc = al_memory_alloc(&memory);
    struct al_identity identity;
    struct al_pki_info info;
    struct al_buf again;

    al_buf_init(&again, &alloc);
    for (unsigned i = 0; i < al_pki_cert_count(cert); i++) {
        if (al_pki_cert_info(cert, i, &info) == 0 && info.identity[0])
            assert(al_identity_parse(al_str_c(info.identity), &identity) == 0);
        if (al_pki_cert_der(cert, i, &again) < 0)
            abort();
    }
    assert(again.size > 0 && (der.n == 0 || again.size <= 2ul * der.n));
    al_buf_deinit(&again);
}

static void ask(struct al_str request)
{
    static struct al_pki_key *key;
    static struct al_pki_cert *ca;
    struct al_alloc alloc = al_memory_alloc(&memory);
    struct al_pki_issue issue = {1, NOW_MS, 3600000, al_str_c(IDENTITY), request};
    struct al_pki_cert *leaf;
    struct al_pki_info info;
    struct al_buf der;
    char why[256] = "";

    if (!ca &&
        (al_pki_key_new(&key) < 0 || al_pki_ca_new(key, al_str_c("net.test"), NOW_MS, 10, &ca) < 0))
        abort();
    al_buf_init(&der, &alloc);
    if (al_pki_issue(ca, key, &issue, &der, why, sizeof why) == 0) {
        /* Nothing of what the request says is in it. */
        if (al_pki_cert_parse(al_str_of(der.data, der.size), &leaf) < 0 ||
            al_pki_cert_info(leaf, 0, &info) < 0)
            abort();
        assert(strcmp(info.identity, IDENTITY) == 0 && !info.is_authority && info.serial == 1);
        al_pki_cert_free(leaf);
    } else {
        assert(why[0] && der.size == 0);
    }
    al_buf_deinit(&der);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct al_pki_cert *cert;
    struct al_str rest;

    if (size < 1)
        return 0;
    rest = al_str_of(data + 1, size - 1);
    if (data[0] == 'c' && al_pki_cert_parse(rest, &cert) == 0) {
        look(cert, rest);
        al_pki_cert_free(cert);
    } else if (data[0] == 'p' && al_pki_cert_parse_pem(rest, &cert) == 0) {
        look(cert, al_str_of(NULL, 0));
        al_pki_cert_free(cert);
    } else if (data[0] == 'r') {
        ask(rest);
    }
    return 0;
}
