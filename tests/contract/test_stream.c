/* test_stream.c - the contract of streams: plain and under TLS, the same bytes come out.
 *
 *     test_stream plain|tls
 *
 * Everything goes by the rules that stream.h gives to a loop: read when the descriptor is readable
 * or al_stream_has_more, flush when it is writable and al_stream_is_blocked. A stream that keeps
 * something back without saying so makes the test stand still, and that is noticed: when no
 * descriptor is ready and nobody has more, nothing would ever move again. */
#include "base/errors.h"
#include "tls_world.h"
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static bool is_tls;

static uint64_t seed; /* of the next pair */

struct end {
    struct al_stream stream;
    uint64_t sent, got;   /* bytes of the pattern */
    uint64_t want;        /* to send */
    bool ends, has_ended; /* says so behind them, has said so */
    bool saw_end;
    bool write_waits; /* BUSY, and not blocked: for the peer's part of the handshake */
};
struct pair {
    struct end a, b;
    int relay[2]; /* between them; -1: they are connected directly */
    bool relay_ended[2];
    uint8_t held[2][1024];
    size_t held_begin[2], held_end[2];
    struct al_test_random random;
};

static struct world_ca ca;
static struct world_party node, agent;

static uint8_t pattern(uint64_t at)
{
    return (uint8_t)(at * 131 + (at >> 8) * 7 + (at >> 16));
}

/* ---- pairs ------------------------------------------------------------------------------------
 */

static void open_ends(struct pair *pair, int a, int b)
{
    pair->a.stream = (struct al_stream){a, NULL};
    pair->b.stream = (struct al_stream){b, NULL};
    if (is_tls) {
        struct al_tls_context *server = world_context(AL_TLS_SERVER, &node, &ca);
        struct al_tls_context *client = world_context(AL_TLS_CLIENT, &agent, &ca);

        assert_int_equal(al_tls_open(client, a, &pair->a.stream), 0);
        assert_int_equal(al_tls_open(server, b, &pair->b.stream), 0);
        al_tls_context_unref(server);
        al_tls_context_unref(client);
    }
}

static void pair_open(struct pair *pair, bool relayed, int room)
{
    int near[2], far[2];

    memset(pair, 0, sizeof *pair);
    pair->random = (struct al_test_random){seed++};
    pair->relay[0] = pair->relay[1] = -1;
    assert_int_equal(al_socket_pair(near), 0);
    if (!relayed) {
        open_ends(pair, near[0], near[1]);
    } else {
        assert_int_equal(al_socket_pair(far), 0);
        open_ends(pair, near[0], far[1]);
        pair->relay[0] = near[1];
        pair->relay[1] = far[0];
    }
    for (int i = 0; room && i < 2; i++) {
        al_socket_set_room(near[i], room);
        if (relayed)
            al_socket_set_room(far[i], room);
    }
}

static void pair_close(struct pair *pair)
{
    al_stream_close(&pair->a.stream);
    al_stream_close(&pair->b.stream);
    for (int i = 0; i < 2; i++)
        if (pair->relay[i] >= 0)
            close(pair->relay[i]);
}

/* ---- by the rules -----------------------------------------------------------------------------
 */

static bool is_ready(int fd, short events)
{
    struct pollfd poll_fd = {fd, events, 0};

    return poll(&poll_fd, 1, 0) == 1;
}

static void read_once(struct pair *pair, struct end *end)
{
    uint8_t bytes[20000];
    size_t n =
        1 + al_test_below(&pair->random, al_test_below(&pair->random, 4) ? 64 : sizeof bytes);
    int64_t got = al_stream_read(&end->stream, bytes, n);

    end->write_waits = false;
    if (got == -AL_E_BUSY) {
        assert_false(al_stream_has_more(&end->stream));
        return;
    }
    if (got < 0)
        fail_msg("read: %s", al_error_text((int)got));
    assert_true((uint64_t)got <= n);
    assert_false(end->saw_end);
    for (int64_t i = 0; i < got; i++)
        assert_int_equal(bytes[i], pattern(end->got + (uint64_t)i));
    end->got += (uint64_t)got;
    end->saw_end = got == 0;
}

static void write_once(struct pair *pair, struct end *end)
{
    uint8_t bytes[40000];
    size_t n =
        1 + al_test_below(&pair->random, al_test_below(&pair->random, 3) ? 200 : sizeof bytes);
    int64_t put;

    if (n > end->want - end->sent)
        n = end->want - end->sent;
    for (size_t i = 0; i < n; i++)
        bytes[i] = pattern(end->sent + i);
    put = al_stream_write(&end->stream, bytes, n);
    if (put == -AL_E_BUSY) {
        end->write_waits = !al_stream_is_blocked(&end->stream) && end->stream.tls;
        return;
    }
    if (put < 0)
        fail_msg("write: %s", al_error_text((int)put));
    assert_true(put > 0 && (uint64_t)put <= n);
    end->sent += (uint64_t)put;
}

/* What the descriptors and the stream allow, once; true if there was anything. */
static bool turn(struct pair *pair, struct end *end)
{
    int fd = end->stream.fd;
    bool moved = false;

    if (al_stream_is_blocked(&end->stream)) {
        if (is_ready(fd, POLLOUT)) {
            int r = al_stream_flush(&end->stream);

            assert_true(r == 0 || r == -AL_E_BUSY);
            moved = true;
        }
    } else if (end->sent < end->want && !end->write_waits && is_ready(fd, POLLOUT)) {
        write_once(pair, end);
        moved = !end->write_waits;
    } else if (end->sent == end->want && end->ends && !end->has_ended) {
        int r = al_stream_end(&end->stream);

        assert_true(r == 0 || r == -AL_E_BUSY);
        end->has_ended = r == 0 || al_stream_is_blocked(&end->stream);
        moved = end->has_ended;
    }
    if (!end->saw_end && (al_stream_has_more(&end->stream) || is_ready(fd, POLLIN))) {
        read_once(pair, end);
        moved = true;
    }
    return moved;
}

/* Carries a few bytes from one side to the other. */
static bool carry(struct pair *pair, int from)
{
    size_t have = pair->held_end[from] - pair->held_begin[from];
    int64_t n;

    if (have == 0) {
        if (pair->relay_ended[from])
            return false;
        n = al_socket_read(pair->relay[from], pair->held[from], sizeof pair->held[from]);
        if (n == 0) {
            pair->relay_ended[from] = true;
            return shutdown(pair->relay[!from], SHUT_WR) == 0;
        }
        if (n < 0)
            return false;
        pair->held_begin[from] = 0;
        pair->held_end[from] = have = (size_t)n;
    }
    if (have > 1 && al_test_below(&pair->random, 2))
        have = 1 + al_test_below(&pair->random, have);
    n = al_socket_write(pair->relay[!from], pair->held[from] + pair->held_begin[from], have);
    if (n <= 0)
        return false;
    pair->held_begin[from] += (size_t)n;
    return true;
}

/* Until everything has arrived. */
static void run(struct pair *pair)
{
    struct end *a = &pair->a, *b = &pair->b;

    for (;;) {
        bool moved = turn(pair, a);

        moved = turn(pair, b) || moved;
        for (int from = 0; pair->relay[0] >= 0 && from < 2; from++)
            moved = carry(pair, from) || moved;
        if (a->got == b->want && b->got == a->want && a->saw_end == b->ends &&
            b->saw_end == a->ends)
            return;
        if (!moved)
            fail_msg("stands still: a sent %llu got %llu, b sent %llu got %llu",
                     (unsigned long long)a->sent, (unsigned long long)a->got,
                     (unsigned long long)b->sent, (unsigned long long)b->got);
    }
}

/* ---- tests ------------------------------------------------------------------------------------
 */

static void bytes_come_out_as_they_went_in(void **state)
{
    struct pair pair;

    (void)state;
    pair_open(&pair, false, 0);
    pair.a.want = 3000000;
    pair.b.want = 2000000;
    run(&pair);
    pair_close(&pair);
}

static void tiny_buffers(void **state)
{
    struct pair pair;

    (void)state;
    pair_open(&pair, false, 1);
    pair.a.want = 400000;
    pair.b.want = 500000;
    pair.a.ends = pair.b.ends = true;
    run(&pair);
    pair_close(&pair);
}

/* The handshake and every record arrive in pieces, down to single bytes. */
static void any_split_on_the_way(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        struct pair pair;

        pair_open(&pair, true, i % 2);
        pair.a.want = 60000;
        pair.b.want = i % 3 ? 50000 : 1;
        pair.a.ends = i % 4 == 0;
        run(&pair);
        pair_close(&pair);
    }
}

static void one_side_ends_and_listens_on(void **state)
{
    struct pair pair;
    char byte;

    (void)state;
    pair_open(&pair, false, 0);
    pair.a.want = 100000;
    pair.a.ends = true;
    run(&pair);
    assert_true(pair.b.saw_end);
    assert_int_equal(al_stream_read(&pair.b.stream, &byte, 1), 0); /* and stays so */
    assert_int_equal(al_stream_read(&pair.a.stream, &byte, 1), -AL_E_BUSY);
    pair.b.want = 100000;
    pair.b.ends = true;
    run(&pair);
    assert_int_equal(al_stream_read(&pair.a.stream, &byte, 1), 0);
    pair_close(&pair);
}

/* Between two reads there is always a sign that more is there. */
static void what_is_left_is_announced(void **state)
{
    struct pair pair;
    uint8_t bytes[3000] = {1}, byte;
    unsigned announced = 0;

    (void)state;
    pair_open(&pair, false, 0);
    pair.a.want = 1;
    run(&pair); /* through the handshake */
    for (int i = 0; i < 3; i++)
        assert_int_equal(al_stream_write(&pair.a.stream, bytes, 1000), 1000);
    for (int left = 3000; left > 0; left--) {
        assert_true(al_stream_has_more(&pair.b.stream) || is_ready(pair.b.stream.fd, POLLIN));
        announced += al_stream_has_more(&pair.b.stream);
        assert_int_equal(al_stream_read(&pair.b.stream, &byte, 1), 1);
    }
    assert_int_equal(al_stream_read(&pair.b.stream, &byte, 1), -AL_E_BUSY);
    assert_false(al_stream_has_more(&pair.b.stream));
    assert_true(is_tls ? announced > 0 : announced == 0);
    pair_close(&pair);
}

/* A write that cannot go out takes nothing, says so, and goes on when there is room. */
static void blocked_takes_nothing_until_there_is_room(void **state)
{
    struct pair pair;
    uint8_t *bytes = calloc(1, 1 << 20);
    uint64_t taken = 0, got = 0;
    int64_t n;

    (void)state;
    pair_open(&pair, false, 0);
    pair.a.want = 1;
    run(&pair);
    while ((n = al_stream_write(&pair.a.stream, bytes, 1 << 20)) > 0)
        taken += (uint64_t)n;
    assert_int_equal(n, -AL_E_BUSY);
    assert_int_equal(al_stream_is_blocked(&pair.a.stream), is_tls);
    assert_int_equal(al_stream_flush(&pair.a.stream), is_tls ? -AL_E_BUSY : 0);
    assert_int_equal(al_stream_write(&pair.a.stream, bytes, 1), -AL_E_BUSY);
    while (got < taken) {
        n = al_stream_read(&pair.b.stream, bytes, 1 << 20);
        if (n == -AL_E_BUSY) {
            assert_true(al_stream_is_blocked(&pair.a.stream));
            (void)al_stream_flush(&pair.a.stream);
            continue;
        }
        assert_true(n > 0);
        got += (uint64_t)n;
    }
    assert_int_equal(al_stream_flush(&pair.a.stream), 0);
    assert_false(al_stream_is_blocked(&pair.a.stream));
    assert_int_equal(al_stream_write(&pair.a.stream, bytes, 1), 1);
    free(bytes);
    pair_close(&pair);
}

static void closing_is_the_proper_end(void **state)
{
    struct pair pair;
    char byte;
    int64_t put = 1;

    (void)state;
    pair_open(&pair, false, 0);
    pair.a.want = pair.b.want = 10;
    run(&pair);
    al_stream_close(&pair.b.stream);
    assert_int_equal(pair.b.stream.fd, -1);
    assert_null(pair.b.stream.tls);
    al_stream_close(&pair.b.stream); /* harmless */
    assert_int_equal(al_stream_read(&pair.a.stream, &byte, 1), 0);
    for (int i = 0; i < 4 && put > 0; i++)
        put = al_stream_write(&pair.a.stream, "x", 1);
    assert_int_equal(put, -AL_E_CLOSED); /* and no SIGPIPE */
    pair_close(&pair);
}

static int set_up(void **state)
{
    (void)state;
    seed = al_test_random_new("stream").state;
    ca = world_ca_new("net.test");
    node = world_party_new(&ca, "spiffe://net.test/default/node/n1");
    agent = world_party_new(&ca, "spiffe://net.test/default/agent/a1");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    world_party_free(&node);
    world_party_free(&agent);
    world_ca_free(&ca);
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_come_out_as_they_went_in),
        cmocka_unit_test(tiny_buffers),
        cmocka_unit_test(any_split_on_the_way),
        cmocka_unit_test(one_side_ends_and_listens_on),
        cmocka_unit_test(what_is_left_is_announced),
        cmocka_unit_test(blocked_takes_nothing_until_there_is_room),
        cmocka_unit_test(closing_is_the_proper_end),
    };

    if (argc != 2 || (strcmp(argv[1], "plain") != 0 && strcmp(argv[1], "tls") != 0)) {
        fprintf(stderr, "usage: %s plain|tls\n", argv[0]);
        return 2;
    }
    is_tls = strcmp(argv[1], "tls") == 0;
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
