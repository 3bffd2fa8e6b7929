/* fuzz_tls.c - what a server hears before it knows anybody.
 *
 * Nobody who only talks, and cannot answer what the server says, gets through the handshake. */
#include "base/errors.h"
#include "fuzz.h"
#include "os/memory.h"
#include "os/stream.h"
#include <assert.h>
#include <stdlib.h>
#include <unistd.h>

static uint64_t wall_ms(void *ctx)
{
    (void)ctx;
    return 1800000000000ull;
}

/* A node of a network of its own. */
static struct al_tls_context *make_context(void)
{
    static struct al_memory memory;
    struct al_alloc alloc = al_memory_alloc(&memory);
    struct al_pki_issue issue = {.serial = 1, .now_ms = wall_ms(NULL), .lifetime_ms = 3600000};
    struct al_tls_config config = {.allows_join = true, .wall_ms = wall_ms};
    struct al_tls_context *context = NULL;
    struct al_pki_key *key = NULL;
    struct al_pki_cert *ca = NULL, *leaf = NULL;
    struct al_buf request, der;

    al_buf_init(&request, &alloc);
    al_buf_init(&der, &alloc);
    issue.identity = al_str_c("spiffe://net.test/default/node/n1");
    if (al_pki_key_new(&key) < 0 || al_pki_request_new(key, &request) < 0 ||
        al_pki_ca_new(key, al_str_c("net.test"), issue.now_ms, 10, &ca) < 0)
        abort();
    issue.request = al_str_of(request.data, request.size);
    if (al_pki_issue(ca, key, &issue, &der, NULL, 0) < 0 ||
        al_pki_cert_parse(al_str_of(der.data, der.size), &leaf) < 0)
        abort();
    config.key = key;
    config.chain = leaf;
    config.authorities = ca;
    if (al_tls_context_new(&config, AL_TLS_SERVER, &context, NULL, 0) < 0)
        abort();
    al_pki_key_free(key);
    al_pki_cert_free(ca);
    al_pki_cert_free(leaf);
    al_buf_deinit(&request);
    al_buf_deinit(&der);
    return context;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct al_tls_context *context;
    struct al_stream stream;
    size_t sent = 0;
    int64_t got = -AL_E_BUSY;
    char bytes[256];
    int fds[2];

    if (!context)
        context = make_context();
    if (al_socket_pair(fds) < 0 || al_tls_open(context, fds[0], &stream) < 0)
        abort();
    while (sent < size && got == -AL_E_BUSY) {
        int64_t put = al_socket_write(fds[1], data + sent, size - sent);

        sent += put > 0 ? (size_t)put : 0;
        got = al_stream_read(&stream, bytes, sizeof bytes);
        assert(got < 0);
        while (al_socket_read(fds[1], bytes, sizeof bytes) > 0)
            ;
    }
    close(fds[1]);
    got = al_stream_read(&stream, bytes, sizeof bytes);
    assert(got == -AL_E_CLOSED || got == -AL_E_DENIED);
    assert(al_tls_peer(stream.tls) == NULL && al_tls_why(stream.tls)->text[0]);
    al_stream_close(&stream);
    return 0;
}
