/* tcp_socket.h - TCP: listening and connecting; what goes over it is TLS (tls.h), never plain. */
#ifndef AL_OS_TCP_SOCKET_H
#define AL_OS_TCP_SOCKET_H

#include <stddef.h>

/* Longest "HOST:PORT" that is taken or made, terminating zero included. */
#define AL_TCP_ADDRESS_MAX 300

/* Binds "HOST:PORT" ("[HOST]:PORT" for IPv6; port 0 picks a free one) and listens, non-blocking.
 * HOST is an address of this machine or a name that stands for one; "*" all of them. On failure
 * ret_why says in English what was wrong. 0; -AL_E_INVALID (no such form); -AL_E_LOCKED (in use);
 * -AL_E_DENIED; -AL_E_IO. Resolving a name may block. */
int al_tcp_listen(const char *address, int *ret_fd, char *ret_why, size_t why_size);
/* The address that a socket is really bound to, as al_tcp_listen takes it. 0 or -AL_E_IO. */
int al_tcp_address(int fd, char ret_address[AL_TCP_ADDRESS_MAX]);
/* Begins to connect, non-blocking: the socket becomes writable when it is connected or has failed.
 * 0; -AL_E_INVALID; -AL_E_UNREACHABLE (ret_why). Resolving a name may block. */
int al_tcp_connect(const char *address, int *ret_fd, char *ret_why, size_t why_size);
/* What came of al_tcp_connect once the socket is writable: 0, or the errno of the failure. */
int al_tcp_connect_error(int fd);
/* For an accepted or connecting socket: small frames go out at once. */
void al_tcp_prepare(int fd);

#endif
