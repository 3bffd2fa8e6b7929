/* agentlink/receive.h - receiving and acknowledging.
 *
 * A client attaches to an agent and gets its messages, either one at a time by al_receive() or by a
 * handler. Each message is *leased*: the program settles it with al_ack() or al_nack() before the
 * lease ends, otherwise it is given out again. While the program holds a message the library renews
 * its lease, so that a handler may take ten minutes; it stops renewing after lease_cap_ms
 * (al_client_options), so that a program that hangs does not hold a message for ever.
 *
 * At least once: after a crash between processing and ack the message comes again, marked
 * `redelivered`. As long as the client lives it is better than that: a message that the program has
 * acknowledged and that comes again because the confirmation was lost is answered by the library
 * from memory, and the program never sees it twice; with a processed-store (processed.h) also after
 * a crash. What no library can do is take back an effect on the outside world that happened before
 * a crash.
 *
 * Order: of one stream the program gets the next message only when the one before is settled. */
#ifndef AGENTLINK_RECEIVE_H
#define AGENTLINK_RECEIVE_H

#include <agentlink/client.h>
#include <agentlink/processed.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Options of al_attach() and al_handle(). Zeroed: every default. */
struct al_attach_options {
    uint32_t credit;       /* messages given out and not settled at one time; default 64 */
    uint32_t credit_bytes; /* payload bytes likewise; default 16 MiB */
    uint32_t lease_ms;     /* 0: by the kind's policy; otherwise lease time of each message */
    bool takeover;         /* take the agent over from another receiver */
    bool shared;           /* share the inbox with others that say so too, at most 128: each stream
                              is with one of them while it has messages out */
    bool no_create;        /* -AL_ERR_UNKNOWN_AGENT instead of creating the agent */
    bool pipelined; /* give out the next message of a stream before the one before is settled.
                       al_receive(): at any time; the program settles them in order.
                       Handlers: when the one before has left its message to a commit that
                       is under way (al_commit_async()) */
    struct al_processed *processed; /* what the program has done before: see processed.h; must live
                                       until the client is closed; several agents may share it */
};

/* Begins to receive the inbox of an agent; creates the agent if it does not exist. `options` may be
 * NULL. Waits for the node's answer (request_timeout_ms). Another receiver may be one that was
 * killed just now and whose connection the system has not closed yet, so the library asks again for
 * a second before it says -AL_ERR_ALREADY_ATTACHED; so it does after a reconnect.
 * 0; -AL_ERR_ALREADY_ATTACHED, -AL_ERR_NOT_OWNER, -AL_ERR_UNKNOWN_AGENT, -AL_ERR_BAD_NAME,
 * -AL_ERR_EXISTS (by this client already), -AL_ERR_LIMIT, -AL_ERR_UNREACHABLE, -AL_ERR_TIMEOUT,
 * -AL_ERR_NOMEM. */
AL_API int al_attach(struct al_client *client, const char *agent,
                     const struct al_attach_options *options);
/* Changes how many messages are given out and not settled at one time, from what is given out next;
 * what is out stays out. 0 pauses. credit_bytes 0: as before. Settling a message makes room for
 * another one, so a program that wants n more and no others keeps the credit at most at n.
 * 0, -AL_ERR_NOT_ATTACHED, -AL_ERR_INVALID (beyond the limits), -AL_ERR_NOMEM. */
AL_API int al_set_credit(struct al_client *client, const char *agent, uint32_t credit,
                         uint32_t credit_bytes);
/* Stops receiving. Messages not yet given to the program go back to the node; with keep_leases what
 * the program holds can still be settled, from anywhere, by al_settle(). Deliveries that the
 * program holds stay valid memory until they are settled or dropped. 0, -AL_ERR_NOT_ATTACHED. */
AL_API int al_detach(struct al_client *client, const char *agent, bool keep_leases);

struct al_group_place;

/* A received message. Read only; valid until it is settled or dropped. */
struct al_delivery {
    struct al_message message;
    const char *agent;    /* the agent that received it */
    uint32_t stream;      /* number of the stream */
    uint64_t seq;         /* sequence in the stream */
    uint64_t prev_seq;    /* sequence of the message before it that was not dropped, or 0 */
    uint32_t attempt;     /* 1 for the first */
    bool redelivered;     /* possibly seen before, by this program or its predecessor */
    uint32_t lease_ms;    /* lease time; renewed by the library */
    uint64_t admitted_ms; /* the node's wall clock when it took the message */
    uint32_t missing;     /* messages of this sender that were given up just before this one */
    const struct al_group_place *group; /* NULL, or where it stands in the group it came through:
                                           see groups.h; `seq` is then the group's sequence */
    uint64_t workflow_seq; /* its number in its workflow, 0: it has none; see workflow.h */
    bool wants_parts;      /* the sender takes the reply in parts: al_delivery_part() */
};

/* Waits for a message of any agent that is attached without a handler.
 * 0; -AL_ERR_TIMEOUT; -AL_ERR_CANCELLED (al_client_stop() was called); -AL_ERR_NOT_ATTACHED (no
 * such agent), or why the last one was detached: -AL_ERR_FENCED, -AL_ERR_NOT_FOUND,
 * -AL_ERR_ALREADY_ATTACHED; -AL_ERR_NOMEM. */
AL_API int al_receive(struct al_client *client, int timeout_ms, struct al_delivery **ret_delivery);

/* ---- settling ---------------------------------------------------------------------------- */

enum al_ack_status {
    AL_ACK_SUCCESS = 1, /* done */
    AL_ACK_PARTIAL = 2, /* done in part; the reason says what is missing */
    AL_ACK_FAILED = 3   /* never possible: dead letter at once, no retry */
};

/* What an ack says. Zeroed: SUCCESS without a word. */
struct al_ack_options {
    enum al_ack_status status; /* 0: SUCCESS */
    const char *reason;        /* reason or error, at most 240 bytes; kept in the record */
    const char *response_type; /* media type of the response */
    const void *response;      /* the reply: stored, and told to the sender in the end notice */
    size_t response_size;      /* at most 1 MiB */
    const struct al_header *metadata;
    size_t metadata_count;
};

/* Ends a delivery; `options` may be NULL: SUCCESS. Queued and written with the next batch, within
 * 50 ms at the latest; al_client_flush() waits until it is durable at the node. On success the
 * delivery is freed. On failure the caller still has it: -AL_ERR_INVALID, -AL_ERR_TOO_LARGE,
 * -AL_ERR_OUT_OF_ORDER (an earlier one of a pipelined stream is not settled), -AL_ERR_NOMEM,
 * -AL_ERR_NOT_ATTACHED (detached meanwhile), -AL_ERR_FENCED (taken over by another receiver). With
 * a processed-store it waits for one flush of that file, and returns its errors: -AL_ERR_IO,
 * -AL_ERR_DISK_FULL, -AL_ERR_NOMEM. */
AL_API int al_ack(struct al_delivery *delivery, const struct al_ack_options *options);
/* Ends this attempt; the message is tried again by policy, or not before retry_after_ms if that is
 * not 0. Spends one attempt. Ownership and errors as al_ack(). `reason` may be NULL. */
AL_API int al_nack(struct al_delivery *delivery, uint32_t retry_after_ms, const char *reason);
/* Sets the lease to lease_ms from now (0: the original time) and goes on renewing it. Needed only
 * by a program that knows better than the library, or beyond lease_cap_ms: the cap counts from
 * here. 0, -AL_ERR_NOT_ATTACHED, -AL_ERR_FENCED, -AL_ERR_NOMEM. */
AL_API int al_extend(struct al_delivery *delivery, uint32_t lease_ms);
/* The RETRYING status: the program is trying again by itself, for the attempt-th time (at least 1).
 * Keeps the lease, resets its time, spends no retry. Errors as al_extend(). */
AL_API int al_retrying(struct al_delivery *delivery, uint32_t attempt);
/* Replies in parts: this is the next one, at most 64 KiB and not empty. It is passed on to the
 * sender at once and without waiting for a disk; the ack says all parts again, together with its
 * own response behind them, and that is what is stored. The parts of one reply and its response are
 * at most 1 MiB together, and 16384. An attempt that ends otherwise, or is fenced off, takes its
 * parts with it: the next one begins again, and the sender is told so. A part that gets lost on its
 * way reaches the sender with the end. Written at once. 0; -AL_ERR_UNSUPPORTED (the sender did not
 * ask for parts), -AL_ERR_TOO_LARGE, -AL_ERR_OUT_OF_ORDER, -AL_ERR_INVALID, -AL_ERR_NOMEM,
 * -AL_ERR_NOT_ATTACHED, -AL_ERR_FENCED. */
AL_API int al_delivery_part(struct al_delivery *delivery, const void *data, size_t size);
/* Lets go without settling: the lease is not renewed any more and the message is given out again
 * when it ends. NULL is accepted. */
AL_API void al_delivery_drop(struct al_delivery *delivery);
/* True if the lease is known to be lost and the message was not given to this client again: an ack
 * would come too late. A long handler may look here to stop early. */
AL_API bool al_delivery_is_lost(const struct al_delivery *delivery);

/* ---- handlers ---------------------------------------------------------------------------- */

/* A handler may return this to keep the delivery and settle it later, from any thread. */
#define AL_HANDLER_KEEPS 1

/* Handles a message. It may settle the delivery itself. If it has not: 0 acknowledges with SUCCESS,
 * a negative error nacks with its text, AL_HANDLER_KEEPS leaves it. The delivery is valid until the
 * handler returns, also after it was settled. */
typedef int al_handler_fn(void *ctx, struct al_delivery *delivery);

/* Attaches like al_attach() and has every message of the agent handled by `fn`, from
 * al_client_dispatch() or al_client_run(). One handler at a time per stream; where several threads
 * dispatch, handlers of different streams run at the same time. Errors as al_attach(). */
AL_API int al_handle(struct al_client *client, const char *agent,
                     const struct al_attach_options *options, al_handler_fn *fn, void *ctx);

#ifdef __cplusplus
}
#endif

#endif
