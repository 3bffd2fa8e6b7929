/* tcp_socket.c - TCP sockets. */
#include "os/tcp_socket.h"

#include "base/errors.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LISTEN_BACKLOG 4096

struct parts {
    char host[AL_TCP_ADDRESS_MAX], port[8];
};

static int bad_address(const char *address, char *ret_why, size_t why_size)
{
    snprintf(ret_why, why_size, "address %.80s: say HOST:PORT, or [HOST]:PORT for IPv6", address);
    return -AL_E_INVALID;
}

/* Digits only, at most 65535. */
static int port_is_valid(const char *port)
{
    unsigned long value = 0;

    for (const char *p = port; *p; p++) {
        if (*p < '0' || *p > '9' || p - port >= 5)
            return 0;
        value = value * 10 + (unsigned long)(*p - '0');
    }
    return *port && value <= 65535;
}

static int split(const char *address, struct parts *ret_parts, char *ret_why, size_t why_size)
{
    const char *colon = strrchr(address, ':'), *host = address, *end = colon;

    if (!colon || !port_is_valid(colon + 1))
        return bad_address(address, ret_why, why_size);
    if (host[0] == '[') {
        host++;
        end = colon - 1;
        if (end < host || *end != ']')
            return bad_address(address, ret_why, why_size);
    } else if (memchr(host, ':', (size_t)(colon - host))) {
        return bad_address(address, ret_why, why_size);
    }
    if (end == host || (size_t)(end - host) >= sizeof ret_parts->host)
        return bad_address(address, ret_why, why_size);
    memcpy(ret_parts->host, host, (size_t)(end - host));
    ret_parts->host[end - host] = 0;
    snprintf(ret_parts->port, sizeof ret_parts->port, "%s", colon + 1);
    return 0;
}

static int resolve(const char *address, int flags, struct addrinfo **ret_list, char *ret_why,
                   size_t why_size)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = flags | AI_NUMERICSERV};
    struct parts parts;
    int r = split(address, &parts, ret_why, why_size);

    if (r < 0)
        return r;
    r = getaddrinfo(strcmp(parts.host, "*") == 0 ? NULL : parts.host, parts.port, &hints, ret_list);
    if (r == 0)
        return 0;
    snprintf(ret_why, why_size, "address %.80s: %s", address, gai_strerror(r));
    return flags & AI_PASSIVE ? -AL_E_INVALID : -AL_E_UNREACHABLE;
}

static int bind_one(const struct addrinfo *info)
{
    int one = 1, fd = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return -1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, info->ai_addr, info->ai_addrlen) == 0 && listen(fd, LISTEN_BACKLOG) == 0)
        return fd;
    one = errno;
    close(fd);
    errno = one;
    return -1;
}

int al_tcp_listen(const char *address, int *ret_fd, char *ret_why, size_t why_size)
{
    struct addrinfo *list;
    int fd, r = resolve(address, AI_PASSIVE, &list, ret_why, why_size);

    if (r < 0)
        return r;
    fd = bind_one(list);
    freeaddrinfo(list);
    if (fd >= 0) {
        *ret_fd = fd;
        return 0;
    }
    snprintf(ret_why, why_size, "cannot listen on tls:%.80s: %s%s", address, strerror(errno),
             errno == EADDRINUSE ? "; stop the program that does, or choose another port" : "");
    return errno == EADDRINUSE ? -AL_E_LOCKED : errno == EACCES ? -AL_E_DENIED : -AL_E_IO;
}

int al_tcp_address(int fd, char ret_address[AL_TCP_ADDRESS_MAX])
{
    struct sockaddr_storage storage;
    socklen_t size = sizeof storage;
    char host[128], port[8];

    if (getsockname(fd, (struct sockaddr *)&storage, &size) < 0 ||
        getnameinfo((struct sockaddr *)&storage, size, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return -AL_E_IO;
    snprintf(ret_address, AL_TCP_ADDRESS_MAX, strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
    return 0;
}

int al_tcp_connect(const char *address, int *ret_fd, char *ret_why, size_t why_size)
{
    struct addrinfo *list;
    int error = 0, fd = -1, r = resolve(address, 0, &list, ret_why, why_size);

    if (r < 0)
        return r;
    for (struct addrinfo *info = list; info && fd < 0; info = info->ai_next) {
        fd = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0) {
            error = errno;
        } else if (connect(fd, info->ai_addr, info->ai_addrlen) < 0 && errno != EINPROGRESS) {
            error = errno;
            close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(list);
    if (fd < 0) {
        snprintf(ret_why, why_size, "cannot connect to tls:%.80s: %s", address, strerror(error));
        errno = error;
        return -AL_E_UNREACHABLE;
    }
    al_tcp_prepare(fd);
    *ret_fd = fd;
    return 0;
}

int al_tcp_connect_error(int fd)
{
    int error = 0;
    socklen_t size = sizeof error;

    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0 ? errno : error;
}

void al_tcp_prepare(int fd)
{
    int one = 1;

    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}
