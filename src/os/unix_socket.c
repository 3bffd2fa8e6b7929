/* unix_socket.c - Unix stream sockets.
 *
 * The question when listening is whether a socket file belongs to somebody alive. Connecting to it
 * tells, but leaves a gap between the test and the unlink in which another process may have bound
 * its own. So a lock file stands beside the socket: whoever holds its lock may test, unlink and
 * bind. The kernel drops the lock when its holder dies, however it dies. The lock file is removed
 * at the end; since somebody may have opened it just before, a lock counts only if the path still
 * names the locked file. */
#include "os/unix_socket.h"

#include "base/errors.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define LISTEN_BACKLOG 4096

static int make_address(const char *path, struct sockaddr_un *ret_address)
{
    size_t n = strlen(path);

    if (n == 0 || n >= sizeof ret_address->sun_path)
        return -AL_E_TOO_LARGE;
    memset(ret_address, 0, sizeof *ret_address);
    ret_address->sun_family = AF_UNIX;
    memcpy(ret_address->sun_path, path, n + 1);
    return 0;
}

static int lock_path_format(const char *path, char ret_lock[PATH_MAX])
{
    int n = snprintf(ret_lock, PATH_MAX, "%s.lock", path);

    return n > 0 && n < PATH_MAX ? 0 : -AL_E_TOO_LARGE;
}

/* Takes the lock file: 0 and its descriptor, -AL_E_LOCKED, -AL_E_IO. */
static int lock_take(const char *lock_path, int *ret_fd)
{
    for (int attempt = 0; attempt < 8; attempt++) {
        struct stat locked, named;
        int fd = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

        if (fd < 0)
            return -AL_E_IO;
        if (flock(fd, LOCK_EX | LOCK_NB)) {
            int error = errno;

            close(fd);
            errno = error;
            return error == EWOULDBLOCK ? -AL_E_LOCKED : -AL_E_IO;
        }
        if (fstat(fd, &locked) == 0 && stat(lock_path, &named) == 0 &&
            locked.st_ino == named.st_ino && locked.st_dev == named.st_dev) {
            *ret_fd = fd;
            return 0;
        }
        close(fd); /* its holder removed it just now: once more */
    }
    return -AL_E_LOCKED;
}

/* With the lock held: makes the path free. 0, -AL_E_LOCKED (alive), -AL_E_EXISTS, -AL_E_IO. */
static int clear_stale(const char *path)
{
    struct stat st;
    int fd, rc;

    if (lstat(path, &st))
        return errno == ENOENT ? 0 : -AL_E_IO;
    if (!S_ISSOCK(st.st_mode))
        return -AL_E_EXISTS;
    rc = al_socket_connect_unix(path, &fd);
    if (rc == 0) {
        close(fd);
        return -AL_E_LOCKED;
    }
    /* Refused: nobody listens. Anything else (EAGAIN: a full backlog, EACCES) may be alive. */
    if (errno != ECONNREFUSED)
        return -AL_E_LOCKED;
    return unlink(path) && errno != ENOENT ? -AL_E_IO : 0;
}

static int bind_fail(int error, const char *path, char *ret_why, size_t why_size)
{
    switch (error) {
    case -AL_E_LOCKED:
        snprintf(ret_why, why_size,
                 "socket %s is in use by a running process; stop it or choose another path", path);
        break;
    case -AL_E_EXISTS:
        snprintf(ret_why, why_size, "%s exists and is not a socket; choose another path", path);
        break;
    case -AL_E_TOO_LARGE:
        snprintf(ret_why, why_size,
                 "socket path must have 1 to %zu bytes, this one has %zu; choose a shorter one",
                 sizeof((struct sockaddr_un *)0)->sun_path - 1, strlen(path));
        break;
    default:
        snprintf(ret_why, why_size, "cannot listen on %s: %s", path, strerror(errno));
    }
    return error;
}

int al_listener_bind(struct al_listener *listener, const char *path, char *ret_why, size_t why_size)
{
    struct sockaddr_un address;
    char lock_path[PATH_MAX];
    int rc;

    listener->fd = listener->lock_fd = -1;
    rc = make_address(path, &address);
    if (rc == 0)
        rc = lock_path_format(path, lock_path);
    if (rc == 0)
        rc = lock_take(lock_path, &listener->lock_fd);
    if (rc)
        return bind_fail(rc, path, ret_why, why_size);
    memcpy(listener->path, address.sun_path, sizeof listener->path);
    rc = clear_stale(path);
    if (rc)
        goto fail;
    rc = -AL_E_IO;
    listener->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (listener->fd < 0 || bind(listener->fd, (struct sockaddr *)&address, sizeof address))
        goto fail;
    /* Everybody may knock; the peer's credentials decide who gets in. */
    if (chmod(path, 0666)) {
        int error = errno;

        unlink(path);
        errno = error;
        goto fail;
    }
    return 0;
fail:
    bind_fail(rc, path, ret_why, why_size);
    if (listener->fd >= 0)
        close(listener->fd);
    listener->fd = -1;
    unlink(lock_path);
    close(listener->lock_fd);
    listener->lock_fd = -1;
    return rc;
}

int al_listener_start(struct al_listener *listener, char *ret_why, size_t why_size)
{
    if (listen(listener->fd, LISTEN_BACKLOG))
        return bind_fail(-AL_E_IO, listener->path, ret_why, why_size);
    return 0;
}

void al_listener_close(struct al_listener *listener)
{
    char lock_path[PATH_MAX];

    if (listener->fd < 0)
        return;
    unlink(listener->path);
    close(listener->fd);
    listener->fd = -1;
    if (lock_path_format(listener->path, lock_path) == 0)
        unlink(lock_path);
    close(listener->lock_fd);
    listener->lock_fd = -1;
}

int al_socket_accept(int listen_fd, int *ret_fd)
{
    int fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd >= 0) {
        *ret_fd = fd;
        return 0;
    }
    switch (errno) {
    case EAGAIN:
    case EINTR:
    case ECONNABORTED:
        return -AL_E_BUSY;
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
        return -AL_E_LIMIT;
    default:
        return -AL_E_IO;
    }
}

int al_socket_peer(int fd, uint32_t *ret_uid)
{
    struct ucred cred;
    socklen_t size = sizeof cred;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &size) || size != sizeof cred)
        return -AL_E_IO;
    *ret_uid = cred.uid;
    return 0;
}

int al_socket_connect_unix(const char *path, int *ret_fd)
{
    struct sockaddr_un address;
    int fd, rc = make_address(path, &address);

    if (rc)
        return rc;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -AL_E_UNREACHABLE;
    if (connect(fd, (struct sockaddr *)&address, sizeof address)) {
        int error = errno;

        close(fd);
        errno = error;
        return -AL_E_UNREACHABLE;
    }
    *ret_fd = fd;
    return 0;
}

int al_socket_pair(int ret_fds[2])
{
    return socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ret_fds) ? -AL_E_IO
                                                                                       : 0;
}

void al_socket_set_room(int fd, int bytes)
{
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
}

int64_t al_socket_read(int fd, void *p, size_t n)
{
    ssize_t got;

    do {
        got = recv(fd, p, n, 0);
    } while (got < 0 && errno == EINTR);
    if (got >= 0)
        return got;
    return errno == EAGAIN ? -AL_E_BUSY : -AL_E_IO;
}

int64_t al_socket_write(int fd, const void *p, size_t n)
{
    ssize_t put;

    do {
        put = send(fd, p, n, MSG_NOSIGNAL);
    } while (put < 0 && errno == EINTR);
    if (put >= 0)
        return put;
    return errno == EAGAIN || errno == ENOBUFS ? -AL_E_BUSY : -AL_E_CLOSED;
}
