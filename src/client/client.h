/* client.h - a client at work: the session, its connection, its lock, its threads.
 *
 * Threads. `lock` guards everything here. At most one thread at a time waits for the socket
 * (`polling`), without the lock; others that wait do so on `changed` and are woken when something
 * has come in or the poller leaves. Whoever has the lock may write to the socket; only the poller,
 * or a thread that sees that there is none, reads from it. So a call that waits costs one poll and
 * one read, and no hand-over between threads.
 *
 * The keeper is the client's own thread, started at the first attach or request. While there are
 * messages it looks after the connection every KEEPER_MS: it renews leases, writes acks that were
 * queued for a batch, answers pings, reconnects. While there are none and the program is busy with
 * other things it is the poller, so that what the node gives out is noticed and its lease renewed;
 * a thread that wants to wait itself takes the poll over. While the program waits, the keeper
 * sleeps. */
#ifndef AL_CLIENT_CLIENT_H
#define AL_CLIENT_CLIENT_H

#include "client/session.h"
#include "os/stream.h"
#include <pthread.h>
#include <stdatomic.h>

struct ali_embedded;
struct ali_remote;

#define ALI_RANDOM_SIZE 1024u

struct al_client {
    pthread_mutex_t lock;
    pthread_cond_t changed; /* something came in, or the poller has left */
    struct al_alloc alloc;
    struct ali_csession *session;
    char *name; /* the session's; with its NUL */

    /* Where the node is. */
    char path[108]; /* unix: */
    struct ali_embedded *embedded;
    struct ali_remote *remote; /* tls: */
    uint32_t connect_timeout_ms, request_timeout_ms;

    /* The connection. */
    struct al_stream stream; /* fd -1: none */
    int epoll_fd;            /* its fd, event_fd, timer_fd: this is al_client_fd() */
    int event_fd;            /* wakes the poller */
    int timer_fd;            /* -1 until al_client_fd() is called */
    uint64_t timer_ns;       /* what it is set to */
    bool wants_write;        /* EPOLLOUT is asked for */
    bool event_set;          /* event_fd is readable on purpose: there is something to dispatch */
    uint8_t *in;
    size_t in_size, in_cap;
    uint64_t connect_ns; /* when the next connection is tried */
    uint32_t pause_ms;   /* before it */
    uint64_t remote_ns;  /* when the link has something to do by itself */
    uint64_t up_ns;      /* since when the node has answered on this one; 0: it has not */
    uint64_t jitter;
    int connect_error; /* of the last try */
    char connect_detail[256];

    bool polling;
    uint32_t waiting; /* threads on `changed` */
    uint64_t poll_until_ns;
    unsigned told; /* what there is to be taken, of which those who wait were woken */
    atomic_bool stop;
    uint32_t runs; /* al_client_run() under way: the stop is theirs */

    pthread_t keeper;
    pthread_cond_t keeper_wake;
    bool keeper_started, keeper_stop, keeper_idle;
    bool keeper_polls; /* it is the poller; others may read all the same */

    /* Requests of the program: api_request.c. */
    struct al_request *requests;      /* under way */
    struct al_request *requests_due;  /* finished, the callback is due; the newest first */
    struct al_request *requests_done; /* finished otherwise */
    bool parts_due;                   /* a part of one under way is to be called back */
    uint32_t request_count;           /* all of them */
    uint32_t request_outstanding;     /* under way */
    uint64_t requests_seen;           /* what the session had finished at the last look */
    uint64_t requests_ns;             /* not later than the first deadline of those under way */

    al_end_fn *end_fn;
    void *end_ctx;
    al_notice_fn *notice_fn;
    void *notice_ctx;

    uint8_t random[ALI_RANDOM_SIZE];
    uint32_t random_left;
};

/* ---- errors (error.c) -------------------------------------------------------------------- */

/* Sets the text of al_last_error() and returns the error. */
int ali_client_fail(int error, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same with the error's own text, or with `detail` where it is not NULL or empty. */
int ali_client_failed(int error, const char *detail);
/* With the lock, which it may let go of for a while: the ack of the program, written into the
 * processed-store first if there is one. Errors as al_ack(). */
int ali_client_ack(struct al_client *client, struct ali_delivery *delivery,
                   const struct al_ack_options *options);
/* With the lock: settles a delivery that the processed-store knows; false: the program's turn. */
bool ali_client_answers(struct al_client *client, struct ali_delivery *delivery);
/* The allocator behind options->memory, or malloc. */
struct al_alloc ali_client_alloc(const struct al_client_memory *memory);

/* ---- sending (api_send.c)
 * ----------------------------------------------------------------------------- */

/* With the lock: queues; waits for room in the window until the deadline (0: does not). The text of
 * al_last_error() says why not. */
int ali_send_queue(struct al_client *client, struct ali_send *send, uint64_t deadline,
                   struct ali_out **ret_out);
/* The receipt of an answered send. */
struct al_receipt ali_send_receipt(const struct ali_out *out);

/* ---- requests (api_request.c)
 * ------------------------------------------------------------------------- */

/* With the lock: finishes what is answered or late. */
void ali_requests_look(struct al_client *client);
/* With the lock: calls back one finished request. False: there is none. */
bool ali_requests_call(struct al_client *client);
/* Frees all that are left. */
void ali_requests_deinit(struct al_client *client);

/* With the lock: calls back one commit that has its outcome. False: there is none. api_commit.c. */
bool ali_commit_call(struct al_client *client);

/* ---- the connection (connection.c) ------------------------------------------------------- */

/* With the lock: connects if it is time, reads if told to, ticks, writes. Never blocks. */
void ali_client_io(struct al_client *client, bool read);
/* With the lock: true if nobody of the program reads, so that the caller should. */
static inline bool ali_client_may_read(const struct al_client *client)
{
    return !client->polling || client->keeper_polls;
}
/* With the lock: writes what is queued. */
void ali_client_flush(struct al_client *client);
/* With the lock: when ali_client_io has something to do by itself. */
uint64_t ali_client_deadline_ns(const struct al_client *client);
/* Closes the socket; the session hears of it. */
void ali_client_disconnect(struct al_client *client, int error);

/* ---- over the network (remote.c) ----------------------------------------------------------- */

/* Where a link goes, and what it shows. */
struct ali_remote_config {
    const char *address;        /* HOST:PORT, several separated by commas: they take turns */
    const char *identity;       /* directory; NULL: the default one */
    const uint8_t *fingerprint; /* to join: the authority's, 32 bytes; then identity is not read */
};

/* The directory of the identity: `dir`, AGENTLINK_IDENTITY, or the default. 0, -AL_E_INVALID. */
int ali_identity_dir(const char *dir, char *ret_path, size_t size);
/* Reads the identity; sets the text of al_last_error(). 0, -AL_E_NOT_FOUND, -AL_E_DENIED,
 * -AL_E_INVALID, -AL_E_NOMEM. */
int ali_remote_open(const struct ali_remote_config *config, struct ali_remote **ret_link);
/* NULL is accepted. */
void ali_remote_free(struct ali_remote *remote);
/* Begins to connect. 0, or a negative error and its text in ret_why. */
int ali_remote_connect(struct ali_remote *remote, struct al_stream *ret_stream, char *ret_why,
                       size_t why_size);
/* Before anything is read or written: -AL_E_UNREACHABLE if the connection could not be made. */
int ali_remote_check(struct ali_remote *remote, const struct al_stream *stream);
/* Why a connection that is about to be closed came to nothing; false: for no reason of its own. */
bool ali_remote_failure(const struct ali_remote *remote, const struct al_stream *stream,
                        char *ret_why, size_t why_size);
/* With the client's lock: renews the certificate when it is time. Returns when to call again. */
uint64_t ali_remote_tick(struct al_client *client, struct al_now now);
/* Opens a client over this link, which it takes over in any case. As al_client_open(). */
int ali_client_open_remote(const struct al_client_options *options, struct ali_remote *remote,
                           struct al_client **ret_client);

/* ---- waiting (wait.c)
 * ----------------------------------------------------------------------------- */

/* With the lock: waits until something may have changed or the deadline has come. */
void ali_client_wait(struct al_client *client, uint64_t deadline_ns);
/* With the lock, before it is given up by a call that changed something: wakes who must know. */
void ali_client_touch(struct al_client *client);
/* Locks; and unlocks after ali_client_touch. */
void ali_client_lock(struct al_client *client);
void ali_client_unlock(struct al_client *client);
/* With the lock: al_client_stop() was called. Takes it back, unless al_client_run() is to see it.
 */
bool ali_client_take_stop(struct al_client *client);
/* The deadline of a timeout that begins now; negative: never. */
uint64_t ali_deadline_ns(int64_t timeout_ms);
/* Starts the keeper if it is not running. 0, -AL_E_NOMEM. */
int ali_keeper_start(struct al_client *client);
void ali_keeper_stop(struct al_client *client);
/* 16 random bytes. 0, -AL_E_IO. */
int ali_client_random(struct al_client *client, uint8_t ret_bytes[16]);

/* ---- embedded nodes (embedded.c)
 * -------------------------------------------------------------------- */

/* The node of this `file:` or `inproc:` URL, started if it is not running. */
int ali_embedded_get(const char *url, const struct al_client_options *options,
                     struct ali_embedded **ret_embedded);
/* Stops the node if this was its last client. NULL is accepted. */
void ali_embedded_put(struct ali_embedded *embedded);
/* True for one without a disk. */
bool ali_embedded_is_memory(const struct ali_embedded *embedded);
/* A connection to it. 0, -AL_E_UNREACHABLE (it has stopped), -AL_E_IO. */
int ali_embedded_connect(struct ali_embedded *embedded, int *ret_fd);

#endif
