/* connection.c - the socket of a client: connecting, reading, writing, and beginning again.
 *
 * Every transport of the library is a stream socket that speaks the native protocol: a Unix socket
 * of a daemon, or one end of a pair whose other end a node in this process holds. A connection that
 * fails in any way - refused, closed, silent, or saying something that makes no sense - is closed
 * and made again after a pause; the session knows what has to be said again. */
#include "base/errors.h"
#include "base/limits.h"
#include "client/client.h"
#include "os/clock.h"
#include <errno.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <unistd.h>

#define PAUSE_MIN_MS  10u
#define PAUSE_MAX_MS  2000u
#define IN_MIN        (64u << 10)
#define IN_KEEP_MAX   (1u << 20) /* a larger empty input buffer is given back */
#define READS_AT_ONCE 16u        /* then others get their turn */
/* A connection that lasted this long was a good one: the next is tried soon. Where the node ends
 * each one at once, the pauses grow as if nobody listened. */
#define STEADY_NS (100 * AL_NS_PER_MS)

/* ---- connecting -------------------------------------------------------------------------- */

/* xorshift64*: pauses differ between clients; nothing depends on its quality. */
static uint64_t jitter_next(struct al_client *client)
{
    uint64_t x = client->jitter | 1;

    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    client->jitter = x;
    return x * 0x2545f4914f6cdd1dull;
}

/* Sets when the next connection is tried: pauses double, ± 25 %. */
static void plan_connect(struct al_client *client)
{
    uint64_t pause = client->pause_ms;

    pause = pause - pause / 4 + jitter_next(client) % (pause / 2 + 1);
    client->connect_ns = al_clock_mono_ns() + pause * AL_NS_PER_MS;
    client->pause_ms = client->pause_ms * 2 < PAUSE_MAX_MS ? client->pause_ms * 2 : PAUSE_MAX_MS;
}

void ali_client_disconnect(struct al_client *client, int error)
{
    if (client->stream.fd >= 0) {
        if (client->session->link != ALI_LINK_UP) {
            client->connect_error = client->session->fatal ? client->session->fatal : error;
            snprintf(client->connect_detail, sizeof(client->connect_detail), "%s",
                     client->session->fatal ? client->session->fatal_detail
                                            : "the node closed the connection before its greeting");
            if (client->remote && !client->session->fatal)
                (void)ali_remote_failure(client->remote, &client->stream, client->connect_detail,
                                         sizeof(client->connect_detail));
        }
        (void)epoll_ctl(client->epoll_fd, EPOLL_CTL_DEL, client->stream.fd, NULL);
        al_stream_close(&client->stream);
        client->stream = (struct al_stream){.fd = -1};
    }
    client->in_size = 0;
    client->wants_write = false;
    ali_csession_disconnected(client->session, error, al_clock_now());
    if (client->up_ns && al_clock_mono_ns() - client->up_ns >= STEADY_NS)
        client->pause_ms = PAUSE_MIN_MS;
    client->up_ns = 0;
    plan_connect(client);
}

static int connect_failed(struct al_client *client, int error)
{
    if (errno == EACCES || errno == EPERM)
        error = -AL_E_DENIED;
    client->connect_error = error;
    if (client->embedded)
        snprintf(client->connect_detail, sizeof(client->connect_detail),
                 "the node in this process has stopped: %s", al_error_text(error));
    else if (!client->remote)
        snprintf(client->connect_detail, sizeof(client->connect_detail),
                 "cannot connect to unix:%s: %s", client->path, strerror(errno));
    plan_connect(client);
    return error;
}

static int open_stream(struct al_client *client, struct al_stream *ret_stream)
{
    *ret_stream = (struct al_stream){.fd = -1};
    if (client->remote)
        return ali_remote_connect(client->remote, ret_stream, client->connect_detail,
                                  sizeof(client->connect_detail));
    if (client->embedded)
        return ali_embedded_connect(client->embedded, &ret_stream->fd);
    return al_socket_connect_unix(client->path, &ret_stream->fd);
}

static int try_connect(struct al_client *client)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = 1};
    struct al_stream stream;
    int r;

    errno = 0;
    r = open_stream(client, &stream);
    if (r < 0)
        return connect_failed(client, r);
    client->wants_write = al_stream_is_blocked(&stream); /* until it is connected */
    event.events |= client->wants_write ? EPOLLOUT : 0u;
    if (epoll_ctl(client->epoll_fd, EPOLL_CTL_ADD, stream.fd, &event) < 0) {
        al_stream_close(&stream);
        return connect_failed(client, -AL_E_NOMEM);
    }
    client->stream = stream;
    client->in_size = 0;
    r = ali_csession_connected(client->session, al_clock_now());
    if (r < 0)
        ali_client_disconnect(client, r);
    return r;
}

/* ---- reading ----------------------------------------------------------------------------- */

static int in_reserve(struct al_client *client)
{
    size_t cap = client->in_cap ? client->in_cap * 2 : IN_MIN;
    uint8_t *in;

    if (client->in_size < client->in_cap)
        return 0;
    if (client->in_cap >= AL_FRAME_MAX + AL_WIRE_HEADER_SIZE)
        return -AL_E_TOO_LARGE; /* unreachable: a frame that long is refused by its header */
    in = client->alloc.realloc_fn(client->alloc.ctx, client->in, client->in_cap, cap);
    if (!in)
        return -AL_E_NOMEM;
    client->in = in;
    client->in_cap = cap;
    return 0;
}

/* Hands what was read to the session and keeps the part of a frame that is left over. */
static int in_consume(struct al_client *client)
{
    size_t used = 0;
    int r = ali_csession_bytes(client->session, al_str_of(client->in, client->in_size),
                               al_clock_now(), &used);

    if (used && used < client->in_size)
        memmove(client->in, client->in + used, client->in_size - used);
    client->in_size -= used;
    if (client->in_size == 0 && client->in_cap > IN_KEEP_MAX) {
        al_alloc_free(&client->alloc, client->in, client->in_cap);
        client->in = NULL;
        client->in_cap = 0;
    }
    return r;
}

/* Reads what is there. 0, or why the connection is over. */
static int read_some(struct al_client *client)
{
    unsigned turn;

    /* What TLS has taken from the socket does not make it readable again. */
    for (turn = 0; turn < READS_AT_ONCE || al_stream_has_more(&client->stream); turn++) {
        size_t room;
        int64_t n;
        int r = in_reserve(client);

        if (r < 0)
            return r;
        room = client->in_cap - client->in_size;
        n = al_stream_read(&client->stream, client->in + client->in_size, room);
        if (n == -AL_E_BUSY)
            return 0;
        if (n <= 0)
            return n == 0 ? -AL_E_CLOSED : (int)n;
        client->in_size += (size_t)n;
        r = in_consume(client);
        if (r < 0)
            return r;
        if ((size_t)n < room && !al_stream_has_more(&client->stream))
            return 0; /* that was all: no need to ask again */
    }
    return 0;
}

/* ---- writing ----------------------------------------------------------------------------- */

static void want_write(struct al_client *client, bool wants)
{
    struct epoll_event event = {.events = EPOLLIN | (wants ? EPOLLOUT : 0u), .data.u32 = 1};

    if (client->wants_write == wants)
        return;
    client->wants_write = wants;
    (void)epoll_ctl(client->epoll_fd, EPOLL_CTL_MOD, client->stream.fd, &event);
}

static int write_some(struct al_client *client)
{
    struct al_str output;
    int r = al_stream_flush(&client->stream);

    if (r < 0 && r != -AL_E_BUSY)
        return r;
    while ((output = ali_csession_output(client->session)).n) {
        int64_t n = al_stream_write(&client->stream, output.p, output.n);

        if (n == -AL_E_BUSY) {
            /* TLS may wait to be told something first, and not for room. */
            want_write(client, !client->stream.tls || al_stream_is_blocked(&client->stream));
            return 0;
        }
        if (n < 0)
            return (int)n;
        ali_csession_written(client->session, (size_t)n);
    }
    want_write(client, al_stream_is_blocked(&client->stream));
    return 0;
}

/* Gives the connection up, but first hears what the node said before it closed its end: why, or a
 * receipt. */
static void write_failed(struct al_client *client, int error)
{
    int r = read_some(client);

    ali_client_disconnect(client, r < 0 && r != -AL_E_IO ? r : error);
}

void ali_client_flush(struct al_client *client)
{
    int r;

    if (client->stream.fd < 0)
        return;
    r = write_some(client);
    if (r < 0)
        write_failed(client, r);
}

/* What is due. A silence may be our own: what has come meanwhile is read before the node is given
 * up for it. */
static int tick(struct al_client *client, bool has_read)
{
    int r = ali_csession_tick(client->session, al_clock_now());

    if (r != -AL_E_TIMEOUT || has_read)
        return r;
    r = read_some(client);
    return r < 0 ? r : ali_csession_tick(client->session, al_clock_now());
}

static void turn(struct al_client *client, bool read)
{
    int r = 0;

    if (client->stream.fd < 0) {
        if (client->session->goodbye_sent || al_clock_mono_ns() < client->connect_ns ||
            try_connect(client) < 0)
            return;
    }
    if (client->remote)
        r = ali_remote_check(client->remote, &client->stream);
    if (r >= 0 && read)
        r = read_some(client);
    if (r >= 0)
        r = tick(client, read);
    if (client->session->link == ALI_LINK_UP && client->up_ns == 0)
        client->up_ns = al_clock_mono_ns();
    if (r < 0) {
        ali_client_disconnect(client, r);
        return;
    }
    r = write_some(client);
    if (r < 0)
        write_failed(client, r);
}

void ali_client_io(struct al_client *client, bool read)
{
    turn(client, read);
    if (client->remote)
        client->remote_ns = ali_remote_tick(client, al_clock_now());
    ali_requests_look(client);
}

static uint64_t connection_deadline_ns(const struct al_client *client)
{
    if (client->stream.fd < 0)
        return client->session->goodbye_sent ? AL_NEVER_NS : client->connect_ns;
    return ali_csession_deadline_ns(client->session);
}

uint64_t ali_client_deadline_ns(const struct al_client *client)
{
    uint64_t deadline = connection_deadline_ns(client);

    if (client->remote && client->remote_ns < deadline)
        deadline = client->remote_ns;
    return deadline < client->requests_ns ? deadline : client->requests_ns;
}
