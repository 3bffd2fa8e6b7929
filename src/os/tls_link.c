/* tls_link.c - one TLS link: plain text on one side, a non-blocking socket on the other.
 *
 * OpenSSL reads and writes through a BIO of our own. Reading, it takes from the socket what is
 * there, a record's worth per system call. Writing, everything is always taken: what the socket
 * has no room for is kept here, so that OpenSSL never has to be asked for the same write again, and
 * nothing new is taken while something is kept. So at most one record and a flight of the handshake
 * wait. Both buffers exist only while they hold something. */
#include "base/errors.h"
#include "os/tls_internal.h"

#include <assert.h>
#include <openssl/err.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define RECORD_TYPE_ALERT     21
#define RECORD_TYPE_HANDSHAKE 22
#define READ_TRIES            8 /* of one call: a peer cannot keep us with what is no message */

/* ---- cipher text ------------------------------------------------------------------------------
 */

static int keep(struct al_tls *tls, const uint8_t *p, size_t n)
{
    size_t have = tls->out_end - tls->out_begin;

    if (have + n > AL_TLS_PENDING_MAX)
        return -1;
    if (!tls->out || tls->out_end + n > tls->out_cap) {
        size_t cap = have + n;
        uint8_t *out = malloc(cap);

        if (!out)
            return -1;
        if (tls->out)
            memcpy(out, tls->out + tls->out_begin, have);
        free(tls->out);
        tls->out = out;
        tls->out_begin = 0;
        tls->out_end = have;
        tls->out_cap = cap;
    }
    memcpy(tls->out + tls->out_end, p, n);
    tls->out_end += n;
    return 0;
}

static void drop_output(struct al_tls *tls)
{
    free(tls->out);
    tls->out = NULL;
    tls->out_begin = tls->out_end = tls->out_cap = 0;
}

/* Sends what is kept: 0, -AL_E_BUSY, -AL_E_CLOSED. */
static int send_output(struct al_tls *tls)
{
    while (tls->out_begin < tls->out_end && !tls->is_deaf) {
        int64_t put =
            al_socket_write(tls->fd, tls->out + tls->out_begin, tls->out_end - tls->out_begin);

        if (put == -AL_E_BUSY)
            return -AL_E_BUSY;
        if (put < 0)
            tls->is_deaf = true;
        else
            tls->out_begin += (size_t)put;
    }
    drop_output(tls);
    return tls->is_deaf ? -AL_E_CLOSED : 0;
}

/* OpenSSL writes. That the peer is gone is none of its business: it may still read what the peer
 * said last. */
static int on_write(BIO *bio, const char *p, size_t n, size_t *ret_n)
{
    struct al_tls *tls = BIO_get_data(bio);
    size_t done = 0;

    BIO_clear_retry_flags(bio);
    *ret_n = n;
    if (!tls->out && !tls->is_deaf) {
        int64_t put = al_socket_write(tls->fd, p, n);

        if (put >= 0)
            done = (size_t)put;
        else if (put != -AL_E_BUSY)
            tls->is_deaf = true;
    }
    if (done == n || tls->is_deaf)
        return 1;
    if (keep(tls, (const uint8_t *)p + done, n - done) < 0) {
        ali_tls_fail(tls, AL_TLS_INTERNAL, "no memory for what waits to be sent");
        return 0;
    }
    return 1;
}

/* Of the handshake: is it TLS at all, and not too much of it? */
static bool is_acceptable(struct al_tls *tls, const uint8_t *p, size_t n)
{
    if (!tls->saw_bytes && p[0] != RECORD_TYPE_HANDSHAKE &&
        (tls->context->side == AL_TLS_SERVER || p[0] != RECORD_TYPE_ALERT)) {
        ali_tls_fail(tls, AL_TLS_NOT_TLS, NULL);
        return false;
    }
    tls->handshake_bytes += (uint32_t)n;
    if (tls->handshake_bytes > AL_TLS_HANDSHAKE_MAX) {
        ali_tls_fail(tls, AL_TLS_TOO_LARGE, NULL);
        return false;
    }
    return true;
}

/* OpenSSL reads. */
static int on_read(BIO *bio, char *p, size_t n, size_t *ret_n)
{
    struct al_tls *tls = BIO_get_data(bio);
    int64_t got;

    BIO_clear_retry_flags(bio);
    *ret_n = 0;
    if (tls->holds_reads) {
        BIO_set_retry_read(bio);
        return 0;
    }
    got = al_socket_read(tls->fd, p, n);
    if (got == -AL_E_BUSY) {
        BIO_set_retry_read(bio);
        return 0;
    }
    if (got <= 0) {
        tls->saw_end = true;
        return 0;
    }
    if (tls->state == 0 && !is_acceptable(tls, (const uint8_t *)p, (size_t)got))
        return 0;
    tls->saw_bytes = true;
    tls->holds_reads = true;
    *ret_n = (size_t)got;
    return 1;
}

static long on_control(BIO *bio, int command, long number, void *p)
{
    const struct al_tls *tls = BIO_get_data(bio);

    (void)number, (void)p;
    switch (command) {
    case BIO_CTRL_FLUSH:
        return 1;
    case BIO_CTRL_EOF:
        return tls->saw_end;
    default:
        return 0;
    }
}

static BIO_METHOD *method;
static pthread_once_t method_once = PTHREAD_ONCE_INIT;

static void method_make(void)
{
    BIO_METHOD *made = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "AgentLink stream");

    if (made && BIO_meth_set_write_ex(made, on_write) && BIO_meth_set_read_ex(made, on_read) &&
        BIO_meth_set_ctrl(made, on_control))
        method = made;
    else
        BIO_meth_free(made);
}

const BIO_METHOD *ali_tls_bio(void)
{
    (void)pthread_once(&method_once, method_make);
    return method;
}

/* ---- opening ----------------------------------------------------------------------------------
 */

static void link_free(struct al_tls *tls)
{
    SSL_free(tls->ssl);
    al_tls_context_unref(tls->context);
    X509_free(tls->authority);
    free(tls->out);
    free(tls);
}

int al_tls_open(struct al_tls_context *context, int fd, struct al_stream *ret_stream)
{
    struct al_tls *tls = calloc(1, sizeof *tls);
    const BIO_METHOD *bio_method = ali_tls_bio();
    BIO *bio;

    if (!tls)
        return -AL_E_NOMEM;
    ERR_set_mark();
    tls->fd = fd;
    tls->context = al_tls_context_ref(context);
    tls->ssl = SSL_new(context->ssl);
    bio = bio_method ? BIO_new(bio_method) : NULL;
    if (!tls->ssl || !bio || !SSL_set_app_data(tls->ssl, tls)) {
        BIO_free(bio);
        link_free(tls);
        ERR_pop_to_mark();
        return -AL_E_NOMEM;
    }
    BIO_set_data(bio, tls);
    BIO_set_init(bio, 1);
    SSL_set_bio(tls->ssl, bio, bio);
    if (context->side == AL_TLS_SERVER)
        SSL_set_accept_state(tls->ssl);
    else
        SSL_set_connect_state(tls->ssl);
    tls->has_begun = context->side == AL_TLS_SERVER;
    ERR_pop_to_mark();
    *ret_stream = (struct al_stream){fd, tls};
    return 0;
}

/* ---- the handshake ----------------------------------------------------------------------------
 */

/* The link has failed in OpenSSL: finds out why and returns the error that stays. */
static int fail_with(struct al_tls *tls, int ssl_error)
{
    unsigned long error = ERR_peek_error();
    bool was_done = tls->state == 1;
    int code = ERR_GET_LIB(error) == ERR_LIB_SSL ? ERR_GET_REASON(error) : 0;
    bool alert = code >= SSL_AD_REASON_OFFSET;

    if (ssl_error == SSL_ERROR_ZERO_RETURN || (tls->saw_end && !alert))
        ali_tls_fail(tls, AL_TLS_CLOSED, was_done ? "cut off without a proper end" : NULL);
    else
        ali_tls_fail_error(tls, error);
    ERR_clear_error();
    if (tls->failure.by_peer && !tls->has_heard)
        tls->state = -AL_E_DENIED; /* after our handshake too: now we know what became of it */
    else if (was_done)
        tls->state = -AL_E_IO;
    else
        tls->state = tls->failure.reason == AL_TLS_CLOSED ? -AL_E_CLOSED : -AL_E_DENIED;
    return tls->state;
}

static bool is_agreed(const struct al_tls *tls)
{
    const char *wanted = tls->peer.is_join ? ALI_ALPN_JOIN : ALI_ALPN_LINK;
    const unsigned char *name;
    unsigned size;

    SSL_get0_alpn_selected(tls->ssl, &name, &size);
    return size == strlen(wanted) && memcmp(name, wanted, size) == 0;
}

static int finish(struct al_tls *tls)
{
    if (tls->context->side == AL_TLS_JOINER)
        tls->peer.is_join = true;
    if (!is_agreed(tls)) {
        ali_tls_fail(tls, AL_TLS_NO_PROTOCOL, NULL);
        return tls->state = -AL_E_DENIED;
    }
    /* Both are our own promise: without them nobody is let in. */
    assert(SSL_version(tls->ssl) == TLS1_3_VERSION);
    assert(tls->is_known || (tls->peer.is_join && tls->context->side == AL_TLS_SERVER));
    tls->state = 1;
    tls->may_have_more = true; /* the peer may have sent on at once */
    return 1;
}

/* Goes on with the handshake: 1 done, -AL_E_BUSY, or why not. */
static int advance(struct al_tls *tls)
{
    int r, ssl_error;

    if (tls->state)
        return tls->state;
    do {
        ERR_clear_error(); /* what others left there would be taken for ours */
        tls->holds_reads = false;
        tls->has_begun = true;
        r = SSL_do_handshake(tls->ssl);
        if (r == 1)
            return finish(tls);
        ssl_error = SSL_get_error(tls->ssl, r);
        if (ssl_error != SSL_ERROR_WANT_READ)
            return fail_with(tls, ssl_error);
    } while (tls->holds_reads); /* something came: there may be more */
    return -AL_E_BUSY;
}

/* ---- reading and writing ----------------------------------------------------------------------
 */

/* One read with at most one system call: > 0, 0 (the proper end), -AL_E_BUSY, error. */
static int64_t read_some(struct al_tls *tls, void *p, size_t n)
{
    size_t got;
    int ssl_error;

    ERR_clear_error();
    if (SSL_read_ex(tls->ssl, p, n, &got)) {
        tls->has_heard = true;
        return (int64_t)got;
    }
    ssl_error = SSL_get_error(tls->ssl, 0);
    if (ssl_error == SSL_ERROR_WANT_READ)
        return -AL_E_BUSY;
    if (ssl_error == SSL_ERROR_ZERO_RETURN) {
        tls->saw_close = true;
        return 0;
    }
    return fail_with(tls, ssl_error);
}

int64_t ali_tls_read(struct al_tls *tls, void *p, size_t n)
{
    uint8_t *to = p;
    size_t done = 0;
    int64_t got = advance(tls);
    unsigned tries = 0;

    if (got < 0)
        return got;
    if (tls->saw_close)
        return 0;
    tls->holds_reads = false;
    while (done < n) {
        got = read_some(tls, to + done, n - done);
        if (got > 0) {
            done += (size_t)got;
            tls->holds_reads = true; /* the rest of what was taken, and no more */
        } else if (got == -AL_E_BUSY && done == 0 && tls->holds_reads && ++tries < READ_TRIES) {
            tls->holds_reads = false; /* what came was not whole, or not for us: once more */
        } else {
            break;
        }
    }
    tls->may_have_more = done == n || (done > 0 && got != -AL_E_BUSY);
    return done ? (int64_t)done : got;
}

bool ali_tls_has_more(const struct al_tls *tls)
{
    return tls->may_have_more && (tls->state < 0 || tls->saw_close || SSL_has_pending(tls->ssl));
}

/* New keys after many records: the ciphers wear out. */
static void count_record(struct al_tls *tls)
{
    if (++tls->records < tls->context->rekey_records)
        return;
    if (SSL_key_update(tls->ssl, SSL_KEY_UPDATE_NOT_REQUESTED))
        tls->records = 0;
}

int64_t ali_tls_write(struct al_tls *tls, const void *p, size_t n)
{
    const uint8_t *from = p;
    size_t done = 0;
    int r = ali_tls_flush(tls);

    if (r == 0 && tls->state == 0)
        r = -AL_E_BUSY;
    if (r < 0)
        return r;
    while (done < n && !tls->out && !tls->is_deaf) {
        size_t chunk = n - done < SSL3_RT_MAX_PLAIN_LENGTH ? n - done : SSL3_RT_MAX_PLAIN_LENGTH;
        size_t put;

        ERR_clear_error();
        if (!SSL_write_ex(tls->ssl, from + done, chunk, &put)) {
            r = fail_with(tls, SSL_get_error(tls->ssl, 0));
            return done ? (int64_t)done : r;
        }
        done += put;
        count_record(tls);
    }
    return tls->is_deaf ? -AL_E_CLOSED : (int64_t)done;
}

bool ali_tls_is_blocked(const struct al_tls *tls)
{
    return tls->out || (!tls->has_begun && tls->state == 0);
}

int ali_tls_flush(struct al_tls *tls)
{
    int r = send_output(tls);

    if (r == -AL_E_BUSY)
        return r;
    if (tls->state == 0) {
        r = advance(tls);
        if (r == -AL_E_BUSY || r > 0)
            r = tls->out ? -AL_E_BUSY : 0;
        return r;
    }
    return tls->state < 0 ? tls->state : r;
}

/* ---- the end ----------------------------------------------------------------------------------
 */

int al_stream_end(struct al_stream *stream)
{
    struct al_tls *tls = stream->tls;

    if (!tls)
        return shutdown(stream->fd, SHUT_WR) ? -AL_E_CLOSED : 0;
    if (tls->state < 1)
        return tls->state < 0 ? tls->state : -AL_E_BUSY;
    if (!tls->has_ended) {
        ERR_clear_error();
        tls->has_ended = true;
        (void)SSL_shutdown(tls->ssl);
        ERR_clear_error();
    }
    return send_output(tls);
}

/* A socket that is closed with input unread resets the connection, and the peer loses what we said
 * last, which may be why we refuse it. */
static void drain(int fd)
{
    char waste[4096];

    (void)shutdown(fd, SHUT_WR);
    for (unsigned n = 0; n < AL_TLS_HANDSHAKE_MAX; n += sizeof waste)
        if (al_socket_read(fd, waste, sizeof waste) <= 0)
            break;
}

void al_stream_close(struct al_stream *stream)
{
    struct al_tls *tls = stream->tls;

    if (tls) {
        if (send_output(tls) == 0 && tls->state == 1)
            (void)al_stream_end(stream);
        drain(stream->fd);
        link_free(tls);
    }
    if (stream->fd >= 0)
        close(stream->fd);
    *stream = (struct al_stream){-1, NULL};
}

/* ---- what was found out -----------------------------------------------------------------------
 */

int al_tls_state(const struct al_tls *tls)
{
    return tls->state;
}

const struct al_tls_peer *al_tls_peer(const struct al_tls *tls)
{
    return tls->state == 1 ? &tls->peer : NULL;
}

int al_tls_peer_authority(const struct al_tls *tls, struct al_pki_cert **ret_cert)
{
    struct al_pki_cert *cert;

    if (tls->state != 1 || !tls->authority)
        return -AL_E_NOT_FOUND;
    cert = ali_cert_new(tls->authority);
    if (!cert)
        return -AL_E_NOMEM;
    *ret_cert = cert;
    return 0;
}

const struct al_tls_failure *al_tls_why(const struct al_tls *tls)
{
    return tls->state < 0 ? &tls->failure : NULL;
}
