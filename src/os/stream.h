/* stream.h - a connected stream socket, plain or under TLS 1.3: same reads and writes.
 *
 * The loop and the client library do not know which it is. TLS never waits: the descriptor stays
 * its owner's, who waits for it and calls here. On a plain socket each function is what
 * unix_socket.h does, at no further cost.
 *
 * One stream belongs to one thread at a time. Nothing here raises a signal. */
#ifndef AL_OS_STREAM_H
#define AL_OS_STREAM_H

#include "os/tls.h"
#include "os/unix_socket.h"

/* A stream; plain ones are made by hand: {fd, NULL}. */
struct al_stream {
    int fd;             /* non-blocking; -1: none */
    struct al_tls *tls; /* NULL: plain */
};

/* The TLS half of what stands below; not for callers. */
int64_t ali_tls_read(struct al_tls *tls, void *p, size_t n);
int64_t ali_tls_write(struct al_tls *tls, const void *p, size_t n);
bool ali_tls_has_more(const struct al_tls *tls);
bool ali_tls_is_blocked(const struct al_tls *tls);
int ali_tls_flush(struct al_tls *tls);

/* Reads plain text that is there, up to n bytes (n > 0): > 0 bytes; 0: the peer has ended its
 * side properly; -AL_E_BUSY: nothing now. -AL_E_IO: broken, or cut off without a proper end (TLS);
 * -AL_E_CLOSED: closed during the handshake; -AL_E_DENIED: the handshake failed, or the peer
 * refuses our certificate (al_tls_why tells for the three). During the handshake it goes on with
 * that, and says BUSY. Errors stay. Ask al_stream_is_blocked afterwards: also a read may leave
 * something to send. */
static inline int64_t al_stream_read(struct al_stream *stream, void *p, size_t n)
{
    return stream->tls ? ali_tls_read(stream->tls, p, n) : al_socket_read(stream->fd, p, n);
}
/* Takes plain text: > 0: so many bytes were taken; -AL_E_BUSY: no room now; -AL_E_CLOSED: the
 * peer is gone (a refusal may wait to be read); -AL_E_DENIED, -AL_E_IO as above. What the socket
 * does not take of their cipher text stays here, at most AL_TLS_PENDING_MAX; nothing more is taken
 * until that is gone. BUSY without al_stream_is_blocked means the handshake waits for the peer:
 * wait until the descriptor is readable and read. */
static inline int64_t al_stream_write(struct al_stream *stream, const void *p, size_t n)
{
    return stream->tls ? ali_tls_write(stream->tls, p, n) : al_socket_write(stream->fd, p, n);
}
/* True if something that was taken from the socket waits to be read: the descriptor need not
 * become readable for it. False after a read that said BUSY. */
static inline bool al_stream_has_more(const struct al_stream *stream)
{
    return stream->tls && ali_tls_has_more(stream->tls);
}
/* True if something waits for room in the socket (cipher text, the handshake's, a client's first
 * word): wait until it is writable, then al_stream_flush. */
static inline bool al_stream_is_blocked(const struct al_stream *stream)
{
    return stream->tls && ali_tls_is_blocked(stream->tls);
}
/* Sends what waits, and begins the handshake. 0: all is out; -AL_E_BUSY: not all of it;
 * -AL_E_CLOSED, -AL_E_DENIED, -AL_E_IO as al_stream_write. */
static inline int al_stream_flush(struct al_stream *stream)
{
    return stream->tls ? ali_tls_flush(stream->tls) : 0;
}
/* Ends our side properly: the peer reads 0 after everything that was written. Reading goes on.
 * Flush until 0 before; what is blocked would come behind. 0, or -AL_E_BUSY: the socket has no room
 * for the end yet (TLS): flush. -AL_E_CLOSED: there is nobody any more. */
int al_stream_end(struct al_stream *stream);
/* Ends (if there is room), closes, frees. Harmless on {-1, NULL}. What is blocked is lost: flush
 * before. Never waits. */
void al_stream_close(struct al_stream *stream);

#endif
