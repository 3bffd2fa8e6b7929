/* link.c - the client's connections: a socket, a buffer each way, one epoll. */
#include "bench.h"
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define SETUP_TIMEOUT_MS 10000
/* A Unix socket takes no more than its buffer in one write, and says that it is writable again
 * only when three quarters are free: small ones make the window choppy. TCP grows by itself. */
#define UNIX_BUFFER_SIZE (1 << 20)

uint8_t *ali_buf_room(struct bench_buf *buf, size_t n)
{
    if (buf->end + n > buf->cap && buf->start > 0) {
        memmove(buf->data, buf->data + buf->start, buf->end - buf->start);
        buf->end -= buf->start;
        buf->start = 0;
    }
    if (buf->end + n > buf->cap) {
        buf->cap = 2 * (buf->end + n);
        buf->data = ali_realloc(buf->data, buf->cap);
    }
    return buf->data + buf->end;
}

static int connect_unix(const char *path)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    int size = UNIX_BUFFER_SIZE, fd;

    if (strlen(path) >= sizeof(to.sun_path))
        ali_fail("socket path too long: %s", path);
    memcpy(to.sun_path, path, strlen(path) + 1);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    if (connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0)
        return fd;
    close(fd);
    return -1;
}

static int connect_tcp(unsigned port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -1;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0)
        return fd;
    close(fd);
    return -1;
}

struct bench_link *ali_link_open(const char *address, struct bench_run *run)
{
    struct bench_link *link;
    int fd;

    if (strncmp(address, "unix:", 5) == 0)
        fd = connect_unix(address + 5);
    else if (strncmp(address, "tcp:", 4) == 0)
        fd = connect_tcp((unsigned)atoi(address + 4));
    else
        ali_fail("'%s' is neither unix:PATH nor tcp:PORT", address);
    if (fd < 0)
        return NULL;
    if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
        ali_fail("fcntl: %s", strerror(errno));
    link = ali_alloc(sizeof(*link));
    link->fd = fd;
    link->run = run;
    return link;
}

void ali_link_close(struct bench_link *link)
{
    if (!link)
        return;
    close(link->fd);
    free(link->in.data);
    free(link->out.data);
    free(link->frame);
    free(link);
}

static void watch(struct bench_link *link, int operation, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = link};

    if (epoll_ctl(link->run->epoll_fd, operation, link->fd, &event) < 0)
        ali_fail("epoll_ctl: %s", strerror(errno));
    link->wants_out = events & EPOLLOUT;
}

void ali_link_watch(struct bench_link *link)
{
    watch(link, EPOLL_CTL_ADD, EPOLLIN);
}

void ali_link_write(struct bench_link *link)
{
    struct bench_buf *out = &link->out;

    while (ali_buf_size(out) > 0) {
        ssize_t put = send(link->fd, out->data + out->start, ali_buf_size(out), MSG_NOSIGNAL);

        if (put > 0) {
            out->start += (size_t)put;
        } else if (put < 0 && errno == EAGAIN) {
            if (!link->wants_out)
                watch(link, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
            return;
        } else if (errno != EINTR) {
            ali_fail("%s: write: %s", link->run->peer->name, strerror(errno));
        }
    }
    out->start = out->end = 0;
    if (link->wants_out)
        watch(link, EPOLL_CTL_MOD, EPOLLIN);
}

bool ali_link_read(struct bench_link *link)
{
    uint8_t *room = ali_buf_room(&link->in, BENCH_READ_SIZE);
    ssize_t got = recv(link->fd, room, BENCH_READ_SIZE, 0);

    if (got > 0) {
        link->in.end += (size_t)got;
        return true;
    }
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    ali_fail("%s: the server closed the connection%s%s", link->run->peer->name, got < 0 ? ": " : "",
             got < 0 ? strerror(errno) : "");
}

bool ali_link_write_all(struct bench_link *link)
{
    struct bench_buf *out = &link->out;

    while (ali_buf_size(out) > 0) {
        ssize_t put = send(link->fd, out->data + out->start, ali_buf_size(out), MSG_NOSIGNAL);
        struct pollfd ready = {.fd = link->fd, .events = POLLOUT};

        if (put > 0)
            out->start += (size_t)put;
        else if (errno != EAGAIN || poll(&ready, 1, SETUP_TIMEOUT_MS) <= 0)
            return false;
    }
    out->start = out->end = 0;
    return true;
}

bool ali_link_read_more(struct bench_link *link)
{
    struct pollfd ready = {.fd = link->fd, .events = POLLIN};

    return poll(&ready, 1, SETUP_TIMEOUT_MS) > 0 && ali_link_read(link);
}
