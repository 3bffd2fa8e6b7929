/* unix_socket.h - Unix stream sockets: listening without stealing, and who is at the other end. */
#ifndef AL_OS_UNIX_SOCKET_H
#define AL_OS_UNIX_SOCKET_H

#include <stddef.h>
#include <stdint.h>

/* A bound socket; the path and the lock beside it ("PATH.lock") are ours while it lives. */
struct al_listener {
    int fd;
    int lock_fd;
    char path[108];
};

/* Binds without listening yet: from here on nobody else gets the path, and connecting is refused.
 * A socket file that a dead process left behind is replaced; one that is alive, or locked, never
 * is; a file that is not a socket is never touched. On failure `ret_why` (of why_size bytes) says
 * in English what was wrong and what to do.
 * 0, -AL_E_LOCKED (in use), -AL_E_EXISTS (not a socket), -AL_E_TOO_LARGE (path), -AL_E_IO. */
int al_listener_bind(struct al_listener *listener, const char *path, char *ret_why,
                     size_t why_size);
/* Begins to accept; every user may connect, who is let in decides al_socket_peer. 0, -AL_E_IO. */
int al_listener_start(struct al_listener *listener, char *ret_why, size_t why_size);
/* Removes the socket file, closes, unlocks. Harmless on one that was never bound (fd -1). */
void al_listener_close(struct al_listener *listener);

/* Accepts one connection, non-blocking. 0; -AL_E_BUSY: none there (or gone again);
 * -AL_E_LIMIT: no descriptors or memory left; -AL_E_IO. */
int al_socket_accept(int listen_fd, int *ret_fd);
/* The user at the other end, as the kernel saw it at connect time. 0 or -AL_E_IO. */
int al_socket_peer(int fd, uint32_t *ret_uid);
/* Connects, non-blocking from then on. 0; -AL_E_UNREACHABLE (errno); -AL_E_TOO_LARGE (path). */
int al_socket_connect_unix(const char *path, int *ret_fd);
/* Two connected ends, both non-blocking. 0 or -AL_E_IO (errno). */
int al_socket_pair(int ret_fds[2]);

/* Asks for so many bytes of room for what was written and not yet read by the peer. The kernel
 * gives what its administrator allows; it takes memory only for what is there. */
void al_socket_set_room(int fd, int bytes);

/* Reads what is there: > 0 bytes; 0: the peer has closed; -AL_E_BUSY: nothing now; -AL_E_IO. */
int64_t al_socket_read(int fd, void *p, size_t n);
/* Writes what fits: > 0 bytes; -AL_E_BUSY: no room now; -AL_E_CLOSED: the peer is gone. Raises no
 * signal. */
int64_t al_socket_write(int fd, const void *p, size_t n);

#endif
