/* agentlink/client.h - a client: a program's link to one node. */
#ifndef AGENTLINK_CLIENT_H
#define AGENTLINK_CLIENT_H

#include <agentlink/errors.h>
#include <agentlink/message.h>

#ifdef __cplusplus
extern "C" {
#endif

struct al_client;

/* Where memory comes from. realloc_fn(ctx, NULL, 0, n) allocates, (ctx, p, old, n) changes the
 * size, (ctx, p, old, 0) frees and returns NULL; NULL otherwise means that there is no memory. It
 * is called from several threads at once. */
struct al_client_memory {
    void *(*realloc_fn)(void *ctx, void *ptr, size_t old_size, size_t new_size);
    void *ctx;
};

/* When and how often a message is tried again. Zero in any field: the default. */
struct al_retry_policy {
    uint32_t ack_timeout_ms; /* lease time of the head of a stream; default 5000, at most 1 h */
    uint32_t base_ms;        /* first delay; default 100 */
    uint32_t factor;         /* 1 to 10; default 2 */
    uint32_t cap_ms;         /* longest delay; default 1600 */
    int32_t retries;         /* after the first attempt; default 5, at most 100; -1: none */
};

/* The policy of one kind of message. */
struct al_kind_options {
    const char *kind;
    struct al_retry_policy policy;
};

/* Settings of a node inside this process (`file:`, `inproc:`). They count when this call starts the
 * node; a client that joins a running one takes it as it is. */
struct al_embedded_options {
    const char *name;              /* shown by status; default "embedded" */
    uint32_t payload_max;          /* bytes; default 1 MiB, at most 16 MiB */
    uint64_t inbox_max;            /* pending messages per agent; default 100,000,000 */
    struct al_retry_policy policy; /* of every kind without its own */
    const struct al_kind_options *kinds;
    size_t kind_count;
};

/* What to do when the node refuses a send for a reason that may pass (a full inbox, a full disk).
 */
enum al_refusal_mode {
    /* Report it: al_send() returns the error, al_send_async() calls back with it. Messages sent
     * behind it in the same stream are refused too, so that the order holds; see
     * al_stream_resume(). */
    AL_REFUSAL_REPORT = 0,
    /* Keep the message and everything behind it in the stream, and try again with growing pauses
     * (50 ms to 1 s) until the node takes it. */
    AL_REFUSAL_RETRY = 1
};

/* What the node does when a message is lost between here and there and does not come although it
 * asks for it again, for 5 s: the messages behind it in its stream wait meanwhile. */
enum al_gap_policy {
    /* Refuses the missing one with -AL_ERR_SEQUENCE_GAP, which may pass: see al_refusal_mode. */
    AL_GAP_WAIT = 0,
    /* Gives it up: it ends with -AL_ERR_GAP_CLOSED, and the recipient of the next one is told how
     * many are missing (al_delivery.missing). */
    AL_GAP_SKIP = 1,
    /* Gives it up likewise; those that waited behind it become dead letters. */
    AL_GAP_FAIL = 2
};

/* Options of al_client_open(). Zeroed: every default. */
struct al_client_options {
    /* Which node:
     *   unix:PATH    the daemon that listens on this socket
     *   tls:HOST:PORT  a node elsewhere, over TLS 1.3, with the certificate that al_join() has put
     *                into `identity`; several HOST:PORT separated by commas take turns. The library
     *                renews the certificate at half of its life.
     *   file:DIR     a node in this process with its journal in DIR (created if missing); a second
     *                client of this process on the same DIR shares it; another process is refused
     *                with -AL_ERR_LOCKED. It stops when its last client closes.
     *   inproc:NAME  a node in this process, in memory only; all clients of this process with the
     *                same NAME (may be empty) share it. Receipts say AL_DURABILITY_CLASS_VOLATILE;
     *                what is in it goes with its last client.
     * NULL: the environment's AGENTLINK_NODE, otherwise the daemon's default socket:
     * /run/agentlink/agentlink.sock for root, $XDG_RUNTIME_DIR/agentlink.sock for others. */
    const char *node;
    const char *identity;        /* tls: directory of the identity; NULL: the environment's
                                    AGENTLINK_IDENTITY, otherwise ~/.config/agentlink/identity */
    const char *name;            /* of the software, for the node's logs; default "libagentlink" */
    uint32_t connect_timeout_ms; /* al_client_open() waits this long for the node; default 5000 */
    bool connect_later;          /* do not wait: al_client_open() succeeds without a node */
    uint32_t request_timeout_ms; /* of attaching, queries, administration; default 10000 */
    uint32_t ping_interval_ms;   /* silence after which the node is asked; default 10000 */
    uint32_t ping_timeout_ms;    /* silence after a ping that means lost; default 10000 */
    uint32_t window;             /* sends without a receipt at one time; default 4096, at most what
                                    the node grants (65536) */
    size_t outbox_bytes;         /* memory for them; default 64 MiB */
    uint32_t lease_cap_ms;       /* leases are renewed this long at most; default 1 h; see
                                    receive.h */
    enum al_refusal_mode refusals;
    enum al_gap_policy gaps;                    /* to groups always AL_GAP_WAIT */
    const struct al_embedded_options *embedded; /* NULL: defaults */
    const struct al_client_memory *memory;      /* NULL: malloc; must live as long as the client */
};

/* Connects to a node, or starts one in this process. `options` may be NULL and is not needed any
 * more when the call returns.
 *
 * From here on the connection keeps itself up: after a loss the library reconnects (pauses of 10 ms
 * growing to 2 s, with jitter), sends everything again that has no receipt yet, with the same ids
 * and sequences, so that nothing is lost or doubled, and goes on receiving. If the client was away
 * for so long that the node has retired its sequence (24 h), sends that are without a receipt end
 * with -AL_ERR_UNKNOWN_OUTCOME and the client goes on with a new one.
 *
 * 0; -AL_ERR_UNREACHABLE (nobody listens), -AL_ERR_TIMEOUT, -AL_ERR_DENIED (not allowed on that
 * socket; tls: one side refuses the other's certificate), -AL_ERR_REVOKED, -AL_ERR_NOT_FOUND (tls:
 * no identity), -AL_ERR_VERSION, -AL_ERR_INVALID (options), -AL_ERR_NOMEM, -AL_ERR_IO; `file:` also
 * -AL_ERR_LOCKED, -AL_ERR_DAMAGED, -AL_ERR_FORMAT, -AL_ERR_DISK_FULL. */
AL_API int al_client_open(const struct al_client_options *options, struct al_client **ret_client);

/* Says goodbye and frees the client: writes what is queued, waits up to timeout_ms for the missing
 * receipts and ack confirmations, then detaches. Leases of messages that were received and not
 * settled end at once (they are given out again without spending an attempt of theirs where the
 * node can see that). All deliveries of this client become invalid. No callback is called.
 * 0: everything sent has its answer. -AL_ERR_UNKNOWN_OUTCOME: something was still without one.
 * The client is freed in every case. NULL is accepted. */
AL_API int al_client_close(struct al_client *client, int timeout_ms);
/* Frees the client at once, as if the program had died: what is queued is not written, the node
 * sees a lost connection. NULL is accepted. */
AL_API void al_client_abort(struct al_client *client);

/* Facts about the connection. */
struct al_client_info {
    bool connected;       /* the node has answered on the current connection */
    uint64_t node_epoch;  /* starts of the node so far */
    uint32_t payload_max; /* largest payload in bytes */
    uint32_t uid;         /* the user that the node sees */
    char node[256];       /* name of the node */
    /* Counters since al_client_open(). */
    uint64_t connects;   /* connections made */
    uint64_t sent;       /* messages given to the library */
    uint64_t receipted;  /* of them with a receipt */
    uint64_t refused;    /* of them refused */
    uint64_t resent;     /* sent again after a reconnect or a pause, or because it was missing */
    uint64_t ended;      /* end notices */
    uint64_t received;   /* messages given to the program */
    uint64_t settled;    /* acks and nacks by the program */
    uint64_t confirmed;  /* of them confirmed durable by the node */
    uint64_t suppressed; /* redeliveries that were answered without the program: it had done them */
    uint64_t extended;   /* lease renewals */
    uint64_t asked_again; /* ranges of deliveries that were missed and asked for */
    uint64_t repeated;    /* deliveries that came twice under one lease: the program saw one */
    uint64_t committed;   /* commits that the node has applied */
    uint64_t requests;    /* requests started, al_request() included */
    uint64_t replies;     /* of them with a reply */
    uint64_t no_replies;  /* of them whose deadline passed */
    uint64_t parts_sent;  /* parts of replies sent */
    uint64_t parts;       /* parts of replies that came, also with the end */
    /* Now. */
    uint64_t unreceipted; /* sends without a receipt */
    uint64_t unconfirmed; /* acks and nacks without confirmation */
    uint64_t queued;      /* messages received and not yet given to the program */
    uint64_t held;        /* messages given to the program and not settled */
    uint64_t uncommitted; /* commits without an answer */
    uint64_t outstanding; /* requests under way */
};

/* Fills in the facts as of now. */
AL_API void al_client_get_info(struct al_client *client, struct al_client_info *ret_info);

/* ---- waiting and callbacks --------------------------------------------------------------- */

/* Exchanges bytes with the node and calls back whatever is due: receipts, ends, notices, handlers.
 * Waits up to timeout_ms for the first callback if none is due; then calls back all that are, but
 * stops after 1024. Returns how many were called, 0 on timeout or when al_client_stop() was called;
 * -AL_ERR_NOMEM. A lost connection is not an error: it is repaired here. */
AL_API int al_client_dispatch(struct al_client *client, int timeout_ms);
/* Dispatches until al_client_stop(). 0, -AL_ERR_NOMEM. */
AL_API int al_client_run(struct al_client *client);
/* Ends the al_client_run() that is under way, or the next one; wakes a waiting al_client_dispatch()
 * and al_receive(). May be called from any thread and from a signal handler. */
AL_API void al_client_stop(struct al_client *client);
/* A descriptor that is readable whenever al_client_dispatch(client, 0) has something to do, for
 * use with poll() or epoll. Owned by the client; it stays the same over reconnects. */
AL_API int al_client_fd(struct al_client *client);
/* Writes what is queued and waits until every send has its receipt or refusal and every ack its
 * confirmation, dispatching callbacks meanwhile (handlers are not started). 0; -AL_ERR_TIMEOUT. */
AL_API int al_client_flush(struct al_client *client, int timeout_ms);

enum al_notice_type {
    AL_NOTICE_CONNECTED = 1,    /* the node has answered; also after a reconnect */
    AL_NOTICE_DISCONNECTED = 2, /* the connection was lost; error says why */
    AL_NOTICE_DETACHED = 3,     /* receiving has ended without being asked: agent, error
                                   (-AL_ERR_FENCED: taken over; -AL_ERR_NOT_FOUND: agent removed;
                                   -AL_ERR_ALREADY_ATTACHED: somebody came while we were away) */
    AL_NOTICE_LEASE_LOST = 4, /* a message that the program holds was recalled: agent, stream, seq,
                                 id. If it is given out again to this client before the program
                                 settles it, the program's answer counts all the same */
    AL_NOTICE_SETTLE_REFUSED =
        5 /* an ack or nack was refused for good: agent, stream, seq, error */
};

/* Something that happened by itself. */
struct al_notice {
    enum al_notice_type type;
    int error;         /* 0 or negative */
    const char *agent; /* NULL where it does not apply */
    uint32_t stream;
    uint64_t seq;
    struct al_message_id id;
    const char *detail; /* for people; never NULL */
};

/* Called by al_client_dispatch(); the notice is valid during the call. */
typedef void al_notice_fn(void *ctx, const struct al_notice *notice);
/* Sets the callback for notices; NULL: none (the default). */
AL_API void al_on_notice(struct al_client *client, al_notice_fn *fn, void *ctx);

#ifdef __cplusplus
}
#endif

#endif
