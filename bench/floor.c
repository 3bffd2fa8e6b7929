/* floor.c - floor-direct: the least that a durable broker has to do, as a yardstick.
 *
 * One thread, one epoll. Everything that was read in one turn (publishes and acks) goes to the log
 * with one write that is durable when it returns (O_DIRECT | O_DSYNC, padded to 4 KiB, into a file
 * that was filled with zeros beforehand and is used round and round); only then are publishes
 * confirmed, messages passed to the one consumer, and acks answered. There is no index, checksum,
 * recovery, retry, lease or second recipient: nobody can be faster and still keep what it
 * confirms, so ratios against it say what all the rest costs.
 *
 * Frames: u8 type, u32 size of the body, body.
 *   'H' hello, answered by 'H'      'S' subscribe, answered by 'H'
 *   'P' publish: payload            'C' confirmed: u32 count
 *   'D' deliver: u64 id, payload    'A' ack: u64 id      'K' acks taken: u32 count */
#include "floor.h"
#include "base/bytes.h"
#include "bench.h"
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define BLOCK      4096u
#define LOG_BYTES  (256ull << 20)
#define TURN_BYTES (64u << 20) /* most that one turn can log */
#define CLIENTS    2048u
#define EVENTS     128

struct client {
    int fd;
    bool wants_out;
    uint32_t confirmed, acked; /* to be told after the flush */
    struct bench_buf in, out;
};

static struct {
    int epoll_fd, listen_fd, log_fd;
    struct client *clients[CLIENTS];
    unsigned client_count;
    struct client *consumer;
    uint8_t *log; /* this turn's records, aligned */
    size_t log_size;
    uint64_t log_offset;
    uint64_t last_id;
} floor_state;

static void put_head(struct bench_buf *out, uint8_t type, uint32_t size)
{
    uint8_t *p = ali_buf_room(out, FLOOR_HEAD_SIZE);

    p[0] = type;
    al_put32(p + 1, size);
    out->end += FLOOR_HEAD_SIZE;
}

static void put_bytes(struct bench_buf *out, const void *p, size_t n)
{
    memcpy(ali_buf_room(out, n), p, n);
    out->end += n;
}

static void put_count(struct bench_buf *out, uint8_t type, uint32_t *count)
{
    if (*count == 0)
        return;
    put_head(out, type, 4);
    put_bytes(out, count, 4);
    *count = 0;
}

static void log_record(uint32_t type, uint64_t id, const void *p, uint32_t n)
{
    uint8_t *out = floor_state.log + floor_state.log_size;

    if (floor_state.log_size + 16 + n > TURN_BYTES)
        ali_fail("floor: more than %u bytes in one turn", TURN_BYTES);
    al_put32(out, n);
    al_put32(out + 4, type);
    al_put64(out + 8, id);
    if (n)
        memcpy(out + 16, p, n);
    floor_state.log_size += 16 + n;
}

static void flush_log(void)
{
    size_t size = (floor_state.log_size + BLOCK - 1) / BLOCK * BLOCK;

    if (size == 0)
        return;
    memset(floor_state.log + floor_state.log_size, 0, size - floor_state.log_size);
    if (floor_state.log_offset + size > LOG_BYTES)
        floor_state.log_offset = 0;
    if (pwrite(floor_state.log_fd, floor_state.log, size, (off_t)floor_state.log_offset) !=
        (ssize_t)size)
        ali_fail("floor: log: %s", strerror(errno));
    floor_state.log_offset += size;
    floor_state.log_size = 0;
}

static void set_events(struct client *client, int operation, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = client};

    epoll_ctl(floor_state.epoll_fd, operation, client->fd, &event);
    client->wants_out = events & EPOLLOUT;
}

static void write_client(struct client *client)
{
    struct bench_buf *out = &client->out;

    while (ali_buf_size(out) > 0) {
        ssize_t put = send(client->fd, out->data + out->start, ali_buf_size(out), MSG_NOSIGNAL);

        if (put > 0) {
            out->start += (size_t)put;
            continue;
        }
        if (errno == EAGAIN && !client->wants_out)
            set_events(client, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
        return; /* a client that is gone shows when it is read */
    }
    out->start = out->end = 0;
    if (client->wants_out)
        set_events(client, EPOLL_CTL_MOD, EPOLLIN);
}

static void handle_frame(struct client *client, uint8_t type, const uint8_t *body, uint32_t size)
{
    struct client *to = floor_state.consumer;

    switch (type) {
    case FLOOR_PUBLISH:
        log_record(FLOOR_PUBLISH, ++floor_state.last_id, body, size);
        client->confirmed++;
        if (!to)
            break;
        put_head(&to->out, FLOOR_DELIVER, 8 + size);
        put_bytes(&to->out, &floor_state.last_id, 8);
        put_bytes(&to->out, body, size);
        break;
    case FLOOR_ACK:
        log_record(FLOOR_ACK, al_get64(body), NULL, 0);
        client->acked++;
        break;
    case FLOOR_SUBSCRIBE:
        floor_state.consumer = client;
        put_head(&client->out, FLOOR_HELLO, 0);
        break;
    default:
        put_head(&client->out, FLOOR_HELLO, 0);
    }
}

static void drop_client(struct client *client)
{
    unsigned i = 0;

    while (floor_state.clients[i] != client)
        i++;
    floor_state.clients[i] = floor_state.clients[--floor_state.client_count];
    if (floor_state.consumer == client)
        floor_state.consumer = NULL;
    close(client->fd);
    free(client->in.data);
    free(client->out.data);
    free(client);
}

static void read_client(struct client *client)
{
    struct bench_buf *in = &client->in;
    uint8_t *room = ali_buf_room(in, BENCH_READ_SIZE);
    ssize_t got = recv(client->fd, room, BENCH_READ_SIZE, 0);

    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0) {
        drop_client(client);
        return;
    }
    in->end += (size_t)got;
    while (ali_buf_size(in) >= FLOOR_HEAD_SIZE) {
        const uint8_t *frame = in->data + in->start;
        uint32_t size = al_get32(frame + 1);

        if (ali_buf_size(in) < FLOOR_HEAD_SIZE + (size_t)size)
            break;
        handle_frame(client, frame[0], frame + FLOOR_HEAD_SIZE, size);
        in->start += FLOOR_HEAD_SIZE + size;
    }
    if (in->start == in->end)
        in->start = in->end = 0;
}

static void accept_client(void)
{
    int on = 1, fd = accept4(floor_state.listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    struct client *client;

    if (fd < 0)
        return;
    if (floor_state.client_count == CLIENTS)
        ali_fail("floor: more than %u clients", CLIENTS);
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0) { /* a Unix socket */
        int bytes = 1 << 20;

        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
    }
    client = ali_alloc(sizeof(*client));
    client->fd = fd;
    floor_state.clients[floor_state.client_count++] = client;
    set_events(client, EPOLL_CTL_ADD, EPOLLIN);
}

/* Waits, reads every client that has something, flushes once, then lets out what depends on it. */
static void take_turn(void)
{
    struct epoll_event events[EVENTS];
    int count = epoll_wait(floor_state.epoll_fd, events, EVENTS, -1);

    for (int i = 0; i < count; i++) {
        struct client *client = events[i].data.ptr;

        if (!client) {
            accept_client();
            continue;
        }
        if (events[i].events & EPOLLOUT)
            write_client(client);
        if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
            read_client(client);
    }
    flush_log();
    for (unsigned i = 0; i < floor_state.client_count; i++) {
        struct client *client = floor_state.clients[i];

        put_count(&client->out, FLOOR_CONFIRMED, &client->confirmed);
        put_count(&client->out, FLOOR_ACKS_TAKEN, &client->acked);
        if (ali_buf_size(&client->out) > 0 && !client->wants_out)
            write_client(client);
    }
}

static void open_log(const char *file)
{
    int fd = open(file, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    uint8_t *zeros = ali_alloc(1 << 20);
    void *aligned = NULL;

    for (uint64_t at = 0; fd >= 0 && at < LOG_BYTES; at += 1 << 20)
        if (pwrite(fd, zeros, 1 << 20, (off_t)at) != 1 << 20)
            ali_fail("floor: %s: %s", file, strerror(errno));
    if (fd < 0 || fsync(fd) < 0)
        ali_fail("floor: %s: %s", file, strerror(errno));
    close(fd);
    free(zeros);
    floor_state.log_fd = open(file, O_RDWR | O_DIRECT | O_DSYNC | O_CLOEXEC);
    if (floor_state.log_fd < 0)
        ali_fail("floor: %s: no O_DIRECT: %s", file, strerror(errno));
    if (posix_memalign(&aligned, BLOCK, TURN_BYTES + BLOCK) != 0)
        ali_fail("floor: out of memory");
    floor_state.log = aligned;
}

static void listen_at(const char *address)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    struct sockaddr_in in = {.sin_family = AF_INET};
    socklen_t size = sizeof(in);
    bool is_unix = strncmp(address, "unix:", 5) == 0;
    int fd = socket(is_unix ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int bound;

    if (is_unix) {
        snprintf(un.sun_path, sizeof(un.sun_path), "%s", address + 5);
        bound = bind(fd, (struct sockaddr *)&un, sizeof(un));
    } else {
        in.sin_addr.s_addr = htonl(INADDR_LOOPBACK); /* port 0: the kernel picks one */
        bound = bind(fd, (struct sockaddr *)&in, sizeof(in));
    }
    if (bound < 0 || listen(fd, 1024) < 0)
        ali_fail("floor: %s: %s", address, strerror(errno));
    if (is_unix) {
        printf("ready %s\n", address);
    } else {
        getsockname(fd, (struct sockaddr *)&in, &size);
        printf("ready tcp:%u\n", ntohs(in.sin_port));
    }
    fflush(stdout);
    floor_state.listen_fd = fd;
}

int ali_floor_main(const char *address, const char *file)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};

    open_log(file);
    listen_at(address);
    floor_state.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_ctl(floor_state.epoll_fd, EPOLL_CTL_ADD, floor_state.listen_fd, &event) < 0)
        ali_fail("floor: epoll: %s", strerror(errno));
    for (;;)
        take_turn();
}
