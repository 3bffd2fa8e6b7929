/* test_os_tls_link.c - links with strangers and on bad lines: other programs, other versions,
 * noise, altered and missing bytes; and what a link costs. */
#include "base/errors.h"
#include "os/tls_internal.h"
#include "tls_world.h"
#include <malloc.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define NODE  "spiffe://net.test/default/node/n1"
#define AGENT "spiffe://net.test/team/agent/worker"

static struct world_ca ca;
static struct world_party node, agent;

static int set_up(void **state)
{
    (void)state;
    ca = world_ca_new("net.test");
    node = world_party_new(&ca, NODE);
    agent = world_party_new(&ca, AGENT);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    world_ca_free(&ca);
    world_party_free(&node);
    world_party_free(&agent);
    return 0;
}

static struct world_link new_link(void)
{
    return world_link_new(world_context(AL_TLS_SERVER, &node, &ca),
                          world_context(AL_TLS_CLIENT, &agent, &ca));
}

static void assert_reason(const struct al_stream *stream, enum al_tls_reason reason)
{
    const struct al_tls_failure *why = al_tls_why(stream->tls);

    if (!why || why->reason != reason)
        fail_msg("%s expected, not %s", al_tls_reason_token(reason),
                 why ? al_tls_reason_token(why->reason) : "success");
}

/* ---- what is no TLS ---------------------------------------------------------------------------
 */

/* A server, and a bare socket at the other end. */
static struct al_stream bare(enum al_tls_side side, int *ret_fd)
{
    struct al_tls_context *context =
        world_context(side, side == AL_TLS_SERVER ? &node : &agent, &ca);
    struct al_stream stream;
    int fds[2];

    assert_int_equal(al_socket_pair(fds), 0);
    assert_int_equal(al_tls_open(context, fds[0], &stream), 0);
    al_tls_context_unref(context);
    *ret_fd = fds[1];
    return stream;
}

static void other_protocols_are_named(void **state)
{
    static const char *const texts[] = {"GET / HTTP/1.1\r\n\r\n", "G", "\n", "SSH-2.0-x\r\n",
                                        "\x80\x2e\x01\x03\x01"};
    char byte;
    int fd;

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        for (int side = AL_TLS_SERVER; side <= AL_TLS_CLIENT; side++) {
            struct al_stream stream = bare((enum al_tls_side)side, &fd);

            (void)al_stream_flush(&stream);
            assert_int_equal(al_socket_write(fd, texts[i], strlen(texts[i])), strlen(texts[i]));
            assert_int_equal(al_stream_read(&stream, &byte, 1), -AL_E_DENIED);
            assert_reason(&stream, AL_TLS_NOT_TLS);
            assert_int_equal(al_stream_write(&stream, "x", 1), -AL_E_DENIED);
            assert_int_equal(al_stream_read(&stream, &byte, 1), -AL_E_DENIED);
            al_stream_close(&stream);
            close(fd);
        }
    }
}

static void noise_is_refused(void **state)
{
    struct al_test_random random = al_test_random_new("noise");

    (void)state;
    for (int i = 0; i < 200; i++) {
        uint8_t bytes[600];
        struct al_stream stream;
        char byte;
        int fd;

        al_test_fill(&random, bytes, sizeof bytes);
        bytes[0] = 22; /* like a record with the start of a hello, so that it gets further */
        if (i % 2) {
            memcpy(bytes, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11);
        }
        stream = bare(AL_TLS_SERVER, &fd);
        assert_int_equal(al_socket_write(fd, bytes, sizeof bytes), sizeof bytes);
        if (al_stream_read(&stream, &byte, 1) == -AL_E_BUSY) { /* asks for more: there is none */
            close(fd);
            fd = -1;
            assert_int_equal(al_stream_read(&stream, &byte, 1), -AL_E_CLOSED);
        }
        assert_true(al_tls_state(stream.tls) < 0);
        al_stream_close(&stream);
        if (fd >= 0)
            close(fd);
    }
}

static void endless_hello_is_cut_off(void **state)
{
    uint8_t record[5 + 16384] = {22, 3, 1, 0x40, 0, 1, 1, 0x80, 0}; /* a hello of 98304 bytes */
    struct al_stream stream;
    int64_t r = -AL_E_BUSY;
    size_t sent = 0;
    char byte;
    int fd;

    (void)state;
    stream = bare(AL_TLS_SERVER, &fd);
    for (int i = 0; i < 6 && r == -AL_E_BUSY; i++) {
        assert_int_equal(al_socket_write(fd, record, sizeof record), sizeof record);
        sent += sizeof record;
        memset(record + 5, 0, 4);
        r = al_stream_read(&stream, &byte, 1);
    }
    assert_int_equal(r, -AL_E_DENIED);
    assert_reason(&stream, AL_TLS_TOO_LARGE);
    assert_true(sent <= AL_TLS_HANDSHAKE_MAX + 2 * sizeof record);
    al_stream_close(&stream);
    close(fd);
}

static void closed_early(void **state)
{
    char byte;
    int fd;

    (void)state;
    for (int side = AL_TLS_SERVER; side <= AL_TLS_CLIENT; side++) {
        struct al_stream stream = bare((enum al_tls_side)side, &fd);

        (void)al_stream_flush(&stream);
        close(fd);
        assert_int_equal(al_stream_read(&stream, &byte, 1), -AL_E_CLOSED);
        assert_reason(&stream, AL_TLS_CLOSED);
        al_stream_close(&stream);
    }
}

/* ---- other programs ---------------------------------------------------------------------------
 */

/* A client of OpenSSL's own. */
struct stranger {
    SSL_CTX *context;
    SSL *ssl;
    unsigned long error;
};

static struct stranger stranger_new(int fd, int version, const char *alpn)
{
    struct stranger stranger = {SSL_CTX_new_ex(ali_ssl_library(), NULL, TLS_client_method()), NULL,
                                0};

    assert_non_null(stranger.context);
    SSL_CTX_set_max_proto_version(stranger.context, version);
    stranger.ssl = SSL_new(stranger.context);
    if (alpn)
        assert_int_equal(
            SSL_set_alpn_protos(stranger.ssl, (const unsigned char *)alpn, (unsigned)strlen(alpn)),
            0);
    assert_int_equal(SSL_set_fd(stranger.ssl, fd), 1);
    SSL_set_connect_state(stranger.ssl);
    return stranger;
}

static void stranger_free(struct stranger *stranger)
{
    SSL_free(stranger->ssl);
    SSL_CTX_free(stranger->context);
}

/* Both go on until nothing moves; the last alert that the stranger got, or 0. */
static int stranger_run(struct stranger *stranger, struct al_stream *stream)
{
    char bytes[64];

    for (int i = 0; i < 6; i++) {
        size_t n;

        ERR_clear_error();
        if (!SSL_read_ex(stranger->ssl, bytes, sizeof bytes, &n)) {
            unsigned long error = ERR_peek_error();

            if (!stranger->error)
                stranger->error = error;
        }
        ERR_clear_error();
        (void)al_stream_read(stream, bytes, sizeof bytes);
    }
    return ERR_GET_REASON(stranger->error) >= SSL_AD_REASON_OFFSET
               ? ERR_GET_REASON(stranger->error) - SSL_AD_REASON_OFFSET
               : 0;
}

static void strangers_are_told_why(void **state)
{
    static const struct {
        int version;
        const char *alpn;
        enum al_tls_reason reason;
        int alert;
    } rows[] = {
        {TLS1_2_VERSION, "\x0b" ALI_ALPN_LINK, AL_TLS_TLS_VERSION, SSL_AD_PROTOCOL_VERSION},
        {TLS1_2_VERSION, NULL, AL_TLS_TLS_VERSION, SSL_AD_PROTOCOL_VERSION},
        {TLS1_3_VERSION, NULL, AL_TLS_NO_PROTOCOL, SSL_AD_NO_APPLICATION_PROTOCOL},
        {TLS1_3_VERSION, "\x02h2", AL_TLS_NO_PROTOCOL, SSL_AD_NO_APPLICATION_PROTOCOL},
        {TLS1_3_VERSION,
         "\x0b"
         "agentlink/2",
         AL_TLS_NO_PROTOCOL, SSL_AD_NO_APPLICATION_PROTOCOL},
        {TLS1_3_VERSION, "\x10" ALI_ALPN_JOIN, AL_TLS_NO_PROTOCOL, SSL_AD_NO_APPLICATION_PROTOCOL},
        {TLS1_3_VERSION, "\x0b" ALI_ALPN_LINK, AL_TLS_NO_CERTIFICATE, SSL_AD_CERTIFICATE_REQUIRED},
        {TLS1_3_VERSION, "\x02h2\x0b" ALI_ALPN_LINK, AL_TLS_NO_CERTIFICATE,
         SSL_AD_CERTIFICATE_REQUIRED},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int fd;
        struct al_stream stream = bare(AL_TLS_SERVER, &fd);
        struct stranger stranger = stranger_new(fd, rows[i].version, rows[i].alpn);

        assert_int_equal(stranger_run(&stranger, &stream), rows[i].alert);
        assert_reason(&stream, rows[i].reason);
        assert_false(al_tls_why(stream.tls)->by_peer);
        al_stream_close(&stream);
        stranger_free(&stranger);
        close(fd);
    }
}

static const char link_alpn[] = "\x0b" ALI_ALPN_LINK, join_alpn[] = "\x10" ALI_ALPN_JOIN;

/* The server has asked for another hello: says something else in it. */
static void on_state(const SSL *ssl, int where, int value)
{
    const char *alpn = SSL_get_app_data(ssl);

    (void)where, (void)value;
    if (SSL_get_state(ssl) == TLS_ST_CR_SRVR_HELLO)
        assert_int_equal(SSL_set_alpn_protos((SSL *)(uintptr_t)ssl, (const unsigned char *)alpn,
                                             (unsigned)strlen(alpn)),
                         0);
}

/* First as a joiner, who needs no certificate, then for a link: who changes the protocol halfway
 * gets the rules of the second one. */
static void second_hello_counts(void **state)
{
    (void)state;
    for (int to_join = 0; to_join < 2; to_join++) {
        struct al_tls_config config = world_config(&node, &ca);
        struct al_tls_context *context = NULL;
        const char *second = to_join ? join_alpn : link_alpn;
        struct al_stream stream;
        struct stranger stranger;
        int fds[2];

        config.allows_join = true;
        assert_int_equal(al_tls_context_new(&config, AL_TLS_SERVER, &context, NULL, 0), 0);
        assert_int_equal(al_socket_pair(fds), 0);
        assert_int_equal(al_tls_open(context, fds[0], &stream), 0);
        al_tls_context_unref(context);
        stranger = stranger_new(fds[1], TLS1_3_VERSION, to_join ? link_alpn : join_alpn);
        /* Its guess is a group that the server does not take, so that it is asked again. */
        assert_true(SSL_set1_groups_list(stranger.ssl, (char[]){"P-521:X25519"}) == 1);
        SSL_set_app_data(stranger.ssl, (void *)(uintptr_t)second);
        SSL_set_info_callback(stranger.ssl, on_state);
        (void)stranger_run(&stranger, &stream);
        if (to_join) {
            assert_int_equal(al_tls_state(stream.tls), 1);
            assert_true(al_tls_peer(stream.tls)->is_join);
        } else {
            assert_reason(&stream, AL_TLS_NO_CERTIFICATE);
        }
        al_stream_close(&stream);
        stranger_free(&stranger);
        close(fds[1]);
    }
}

/* Neither session nor ticket: each link begins with certificates. */
static void nothing_can_be_resumed(void **state)
{
    int fd;
    struct al_stream stream = bare(AL_TLS_SERVER, &fd);
    struct stranger stranger = stranger_new(fd, TLS1_3_VERSION, "\x0b" ALI_ALPN_LINK);

    (void)state;
    assert_int_equal(
        SSL_use_cert_and_key(stranger.ssl, agent.chain->x[0], agent.key->pkey, NULL, 1), 1);
    (void)stranger_run(&stranger, &stream);
    assert_int_equal(al_tls_state(stream.tls), 1);
    assert_int_equal(al_stream_write(&stream, "x", 1), 1);
    (void)stranger_run(&stranger, &stream);
    assert_int_equal(SSL_SESSION_is_resumable(SSL_get0_session(stranger.ssl)), 0);
    assert_string_equal(SSL_get_version(stranger.ssl), "TLSv1.3");
    al_stream_close(&stream);
    stranger_free(&stranger);
    close(fd);
}

/* ---- bad lines --------------------------------------------------------------------------------
 */

/* A link whose two ends are connected by hand. */
struct line {
    struct world_link link;
    int server_far, client_far;
    int64_t up, down; /* bytes carried */
};

static struct line line_new(void)
{
    struct al_tls_context *server = world_context(AL_TLS_SERVER, &node, &ca);
    struct al_tls_context *client = world_context(AL_TLS_CLIENT, &agent, &ca);
    struct line line = {.up = 0};
    int fds[2];

    assert_int_equal(al_socket_pair(fds), 0);
    assert_int_equal(al_tls_open(server, fds[0], &line.link.server), 0);
    line.server_far = fds[1];
    assert_int_equal(al_socket_pair(fds), 0);
    assert_int_equal(al_tls_open(client, fds[0], &line.link.client), 0);
    line.client_far = fds[1];
    al_tls_context_unref(server);
    al_tls_context_unref(client);
    return line;
}

static void line_close(struct line *line)
{
    world_link_close(&line->link);
    close(line->server_far);
    close(line->client_far);
}

/* Carries what is there; byte number *flip_at from now on is altered. */
static int64_t carry(int from, int to, int64_t *flip_at)
{
    uint8_t bytes[65536];
    int64_t n = al_socket_read(from, bytes, sizeof bytes);

    if (n <= 0)
        return 0;
    if (*flip_at >= 0 && *flip_at < n)
        bytes[*flip_at] ^= 0x20;
    *flip_at -= n;
    assert_int_equal(al_socket_write(to, bytes, (size_t)n), n);
    return n;
}

static void line_run(struct line *line, int64_t flip_up, int64_t flip_down)
{
    char waste[256];

    for (int i = 0; i < 5; i++) {
        (void)al_stream_flush(&line->link.client);
        (void)al_stream_read(&line->link.client, waste, sizeof waste);
        line->up += carry(line->client_far, line->server_far, &flip_up);
        (void)al_stream_flush(&line->link.server);
        (void)al_stream_read(&line->link.server, waste, sizeof waste);
        line->down += carry(line->server_far, line->client_far, &flip_down);
    }
}

/* Both have the same keys: what one says the other one hears. */
static void assert_works(struct line *line)
{
    int64_t none = -1;
    char bytes[4];

    assert_int_equal(al_stream_write(&line->link.client, "abc", 3), 3);
    assert_true(carry(line->client_far, line->server_far, &none) > 3);
    assert_int_equal(al_stream_read(&line->link.server, bytes, sizeof bytes), 3);
    assert_memory_equal(bytes, "abc", 3);
}

/* Wherever a byte of the handshake is altered there is no link, unless the byte means nothing (a
 * version in the head of a record). */
static void altered_handshakes_fail(void **state)
{
    struct line line = line_new();
    unsigned failed = 0, harmless = 0;
    int64_t size;

    (void)state;
    line_run(&line, -1, -1);
    assert_works(&line);
    size = line.up < line.down ? line.up : line.down;
    assert_true(size > 600);
    line_close(&line);
    for (int64_t at = 0; at < size - 8;
         at += 5) { /* signatures are a few bytes longer or shorter */
        for (int up = 0; up < 2; up++) {
            line = line_new();
            line_run(&line, up ? at : -1, up ? -1 : at);
            if (al_tls_state(line.link.server.tls) == 1 &&
                al_tls_state(line.link.client.tls) == 1) {
                assert_works(&line);
                harmless++;
            } else {
                failed++;
            }
            line_close(&line);
        }
    }
    print_message("# %u alterations refused, %u meant nothing\n", failed, harmless);
    assert_true(failed > 200 && harmless <= 8);
}

static void altered_records_deliver_nothing(void **state)
{
    const int64_t record_size = 5 + 10 + 1 + 16;

    (void)state;
    for (int64_t at = 0; at < record_size; at++) {
        struct line line = line_new();
        int64_t flip = at, got;
        char bytes[16];

        line_run(&line, -1, -1);
        assert_int_equal(al_tls_state(line.link.server.tls), 1);
        assert_int_equal(al_stream_write(&line.link.client, "0123456789", 10), 10);
        carry(line.client_far, line.server_far, &flip);
        assert_int_equal(flip, at - record_size);
        got = al_stream_read(&line.link.server, bytes, sizeof bytes);
        if (got == -AL_E_BUSY) { /* the length was altered: it waits for more */
            shutdown(line.server_far, SHUT_WR);
            got = al_stream_read(&line.link.server, bytes, sizeof bytes);
        }
        assert_int_equal(got, -AL_E_IO);
        assert_non_null(al_tls_why(line.link.server.tls));
        line_close(&line);
    }
}

static void what_is_cut_off_is_no_end(void **state)
{
    struct world_link link = new_link();
    char bytes[8];

    (void)state;
    world_link_open(&link);
    assert_int_equal(al_stream_write(&link.client, "abc", 3), 3);
    shutdown(link.client.fd, SHUT_WR);
    assert_int_equal(al_stream_read(&link.server, bytes, sizeof bytes), 3);
    assert_int_equal(al_stream_read(&link.server, bytes, sizeof bytes), -AL_E_IO);
    assert_int_equal(al_stream_read(&link.server, bytes, sizeof bytes), -AL_E_IO); /* and stays */
    assert_reason(&link.server, AL_TLS_CLOSED);
    world_link_close(&link);
}

/* ---- long lives -------------------------------------------------------------------------------
 */

static void keys_change_on_the_way(void **state)
{
    struct al_tls_config config = world_config(&agent, &ca);
    struct al_tls_context *client;
    struct world_link link;
    char bytes[8];

    (void)state;
    config.rekey_records = 3;
    assert_int_equal(al_tls_context_new(&config, AL_TLS_CLIENT, &client, NULL, 0), 0);
    link = world_link_new(world_context(AL_TLS_SERVER, &node, &ca), client);
    world_link_open(&link);
    for (int i = 0; i < 100; i++) {
        int64_t got;

        assert_int_equal(al_stream_write(&link.client, &i, sizeof i), sizeof i);
        got = al_stream_read(&link.server, bytes, sizeof bytes);
        assert_int_equal(got, sizeof i);
        assert_memory_equal(bytes, &i, sizeof i);
    }
    assert_true(link.client.tls->records < 3);
    world_link_close(&link);
}

/* ---- what it costs ----------------------------------------------------------------------------
 */

static void idle_links_are_small(void **state)
{
    enum { COUNT = 100, BAR_BYTES = 40 << 10 };
    struct al_tls_context *server = world_context(AL_TLS_SERVER, &node, &ca);
    struct al_tls_context *client = world_context(AL_TLS_CLIENT, &agent, &ca);
    struct world_link links[COUNT + 1];
    size_t before = 0, each;

    (void)state;
    for (int i = 0; i <= COUNT; i++) {
        char bytes[8];

        if (i == 1) /* the first pays for what all share */
            before = mallinfo2().uordblks;
        links[i] = world_link_new(al_tls_context_ref(server), al_tls_context_ref(client));
        world_link_open(&links[i]);
        assert_int_equal(al_stream_write(&links[i].client, "x", 1), 1);
        assert_int_equal(al_stream_write(&links[i].server, "x", 1), 1);
        assert_int_equal(al_stream_read(&links[i].client, bytes, 8), 1);
        assert_int_equal(al_stream_read(&links[i].server, bytes, 8), 1);
    }
    each = (mallinfo2().uordblks - before) / COUNT / 2; /* 0 under a sanitizer */
    print_message("# %zu bytes per end of an idle link\n", each);
    assert_true(each <= BAR_BYTES);
    for (int i = 0; i <= COUNT; i++)
        world_link_close(&links[i]);
    al_tls_context_unref(server);
    al_tls_context_unref(client);
}

static void speed_is_printed(void **state)
{
    struct al_tls_context *server = world_context(AL_TLS_SERVER, &node, &ca);
    struct al_tls_context *client = world_context(AL_TLS_CLIENT, &agent, &ca);
    clock_t start = clock(), spent; /* of the processor: others may be at work too */
    uint64_t got = 0;
    const unsigned count = 100;
    uint8_t *bytes = calloc(1, 1 << 16);
    struct world_link link;

    (void)state;
    for (unsigned i = 0; i < count; i++) {
        link = world_link_new(al_tls_context_ref(server), al_tls_context_ref(client));
        world_link_open(&link);
        world_link_close(&link);
    }
    spent = clock() - start;
    print_message("# %ld handshakes/s, both ends on one core\n",
                  count * CLOCKS_PER_SEC / (spent + 1));
    link = world_link_new(server, client);
    world_link_open(&link);
    start = clock();
    while (got < 100u << 20) {
        int64_t n;

        (void)al_stream_write(&link.client, bytes, 1 << 16);
        while ((n = al_stream_read(&link.server, bytes, 1 << 16)) > 0)
            got += (uint64_t)n;
        assert_int_equal(n, -AL_E_BUSY);
    }
    spent = clock() - start;
    print_message("# %ld MB/s, both ends on one core\n",
                  (long)(got / 1000000) * CLOCKS_PER_SEC / (spent + 1));
    world_link_close(&link);
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(other_protocols_are_named),
        cmocka_unit_test(noise_is_refused),
        cmocka_unit_test(endless_hello_is_cut_off),
        cmocka_unit_test(closed_early),
        cmocka_unit_test(strangers_are_told_why),
        cmocka_unit_test(second_hello_counts),
        cmocka_unit_test(nothing_can_be_resumed),
        cmocka_unit_test(altered_handshakes_fail),
        cmocka_unit_test(altered_records_deliver_nothing),
        cmocka_unit_test(what_is_cut_off_is_no_end),
        cmocka_unit_test(keys_change_on_the_way),
        cmocka_unit_test(idle_links_are_small),
        cmocka_unit_test(speed_is_printed),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
