/* agentlink/send.h - sending, receipts, end notices, requests. */
#ifndef AGENTLINK_SEND_H
#define AGENTLINK_SEND_H

#include <agentlink/client.h>

#ifdef __cplusplus
extern "C" {
#endif

/* How safe a message is when its receipt comes. */
enum al_durability_class {
    AL_DURABILITY_CLASS_VOLATILE = 0,  /* in memory, or fire and forget: at most once */
    AL_DURABILITY_CLASS_LOCAL = 1,     /* flushed to the node's disk */
    AL_DURABILITY_CLASS_REPLICATED = 2 /* on several machines */
};

/* The node has taken a message. */
struct al_receipt {
    struct al_message_id id;
    uint32_t stream; /* number of the stream */
    uint64_t seq;    /* its sequence in the stream; 0: not due yet, or a duplicate so old that it
                        is not known any more, or volatile */
    enum al_durability_class durability;
    bool duplicate; /* it had been taken before: this is about the first one */
};

/* ---- sending ----------------------------------------------------------------------------- */

/* Sends and waits for the receipt. ret_receipt may be NULL. With AL_MESSAGE_VOLATILE the call
 * returns when the message is written to the connection.
 *
 * 0: the node has it, as safe as the receipt says.
 * Certainly not taken: -AL_ERR_UNKNOWN_AGENT, -AL_ERR_INBOX_FULL, -AL_ERR_DLQ_FULL,
 * -AL_ERR_DISK_FULL, -AL_ERR_DEDUP_FULL, -AL_ERR_KEY_CONFLICT, -AL_ERR_KEY_DEAD, -AL_ERR_EXPIRED,
 * -AL_ERR_NOT_OWNER, -AL_ERR_TOO_LARGE, -AL_ERR_BAD_NAME, -AL_ERR_INVALID, -AL_ERR_STREAM_HELD,
 * -AL_ERR_NOMEM, -AL_ERR_BUSY (the window is full of other threads' sends),
 * -AL_ERR_UNREACHABLE, -AL_ERR_TIMEOUT (it never left this process).
 * -AL_ERR_UNKNOWN_OUTCOME: it was written but no answer came in time; the library goes on trying
 * as long as the client lives. Sending it again with the same key or id is safe only with a key. */
AL_API int al_send(struct al_client *client, const struct al_message *message, int timeout_ms,
                   struct al_receipt *ret_receipt);

/* Called by al_client_dispatch() once for each al_send_async(): error is 0, or why the node refused
 * (the receipt then has the id only, and al_last_error() the details). */
typedef void al_receipt_fn(void *ctx, int error, const struct al_receipt *receipt);

/* Queues a message; everything it points to is copied. `fn` may be NULL. Queued messages are
 * written together: when 64 KiB have come together, and by every call that dispatches or waits; a
 * program that sends and then turns to other things calls al_client_dispatch(client, 0).
 * Messages of one stream are taken in the order of the calls. ret_id may be NULL.
 * 0; -AL_ERR_BUSY (window or outbox full: dispatch and try again), -AL_ERR_STREAM_HELD, and for
 * messages that cannot be sent -AL_ERR_INVALID, -AL_ERR_BAD_NAME, -AL_ERR_TOO_LARGE, -AL_ERR_NOMEM;
 * after an error `fn` is not called. */
AL_API int al_send_async(struct al_client *client, const struct al_message *message,
                         al_receipt_fn *fn, void *ctx, struct al_message_id *ret_id);

/* After an al_send_async() was refused for a reason that may pass (al_error_is_retryable()), the
 * stream is held: messages sent behind the refused one are refused with -AL_ERR_STREAM_HELD, so
 * that none of them overtakes it. The program decides what to send again, calls this, and sends.
 * (from, to, stream and priority of `message` say which stream; AL_MESSAGE_PRIORITY_OF_KIND is
 * AL_MESSAGE_PRIORITY_DEFAULT here, for such messages go the same way to the node.) al_send() needs
 * no such call: its caller knows of the refusal. 0 also when the stream was not held. */
AL_API int al_stream_resume(struct al_client *client, const struct al_message *message);

/* ---- ends -------------------------------------------------------------------------------- */

/* Where a message stands, or how it ended. */
enum al_record_state {
    AL_RECORD_WAITING = 1,   /* in the inbox */
    AL_RECORD_LEASED = 2,    /* with the recipient */
    AL_RECORD_DELAYED = 3,   /* waits for its time or a retry */
    AL_RECORD_DELIVERED = 4, /* ended: SUCCESS */
    AL_RECORD_PARTIAL = 5,   /* ended: PARTIAL_SUCCESS */
    AL_RECORD_FAILED = 6,    /* ended: FAILED by the recipient; it is a dead letter */
    AL_RECORD_DEAD = 7,      /* ended: retries used up; it is a dead letter */
    AL_RECORD_EXPIRED = 8,   /* ended: life time over; it is a dead letter */
    AL_RECORD_ENDED = 9,     /* ended; the node does not keep how any more */
    AL_RECORD_CANCELLED = 10 /* ended: taken back by the sender, al_cancel() */
};
/* The name of a state, for instance "DELIVERED"; "UNKNOWN" for other numbers. */
AL_API const char *al_record_state_name(enum al_record_state state);

/* How a message ended. */
struct al_end {
    struct al_message_id id;
    uint32_t stream;
    uint64_t seq;
    enum al_record_state state; /* AL_RECORD_DELIVERED or above */
    uint32_t attempts;          /* attempts made */
    uint64_t end_ms;            /* the node's wall clock */
    const char *reason;         /* the recipient's or the node's words; never NULL */
    const char *response_type;  /* media type of the response; never NULL */
    const void *response;       /* the reply of the recipient's ack */
    size_t response_size;
    bool duplicate; /* the node had the message already: this is the first one's end and answer */
    uint32_t parts; /* of a reply in parts: how many, the response not counted */
    uint32_t parts_attempt; /* they are those of this attempt: see struct al_part; 0: no parts */
};
/* Frees an end that the library gave to the program. NULL is accepted. */
AL_API void al_end_free(struct al_end *end);

/* Called by al_client_dispatch() for every end of a message sent with AL_MESSAGE_NOTIFY that no
 * al_send_wait() or al_request() waits for; valid during the call. An end is told once per client
 * and message, also over reconnects and restarts of the node. */
typedef void al_end_fn(void *ctx, const struct al_end *end);
/* Sets the callback for ends; NULL: none, ends are kept for al_end_next() (the default). */
AL_API void al_on_end(struct al_client *client, al_end_fn *fn, void *ctx);
/* Waits for the next end when there is no callback. The caller frees it with al_end_free().
 * 0, -AL_ERR_TIMEOUT, -AL_ERR_CANCELLED (al_client_stop()). None is dropped: with 65536 ends that
 * the program has not taken, sends with AL_MESSAGE_NOTIFY are refused with -AL_ERR_BUSY. */
AL_API int al_end_next(struct al_client *client, int timeout_ms, struct al_end **ret_end);

/* Sends and waits until the message has ended, however it did: look at state. The caller frees it
 * with al_end_free(). Errors as al_send(); also -AL_ERR_TIMEOUT with a receipt: taken, but not
 * ended in time (ret_receipt, may be NULL, is then written; its id is zero otherwise). */
AL_API int al_send_wait(struct al_client *client, const struct al_message *message, int timeout_ms,
                        struct al_receipt *ret_receipt, struct al_end **ret_end);

/* Takes back a message that has not ended: one that waits, is scheduled or is with its recipient,
 * whose lease is then void (al_delivery_is_lost()). Its end is AL_RECORD_CANCELLED; a recipient
 * that has it in hand may have done some of the work. Only the sender's user may. 0: it has ended
 * as cancelled, durably. -AL_ERR_ALREADY_ENDED: too late, it ended otherwise. -AL_ERR_NOT_FOUND,
 * -AL_ERR_NOT_OWNER, -AL_ERR_BUSY (try again), -AL_ERR_UNREACHABLE, -AL_ERR_TIMEOUT,
 * -AL_ERR_UNKNOWN_OUTCOME (the connection broke before the answer: ask for its record),
 * -AL_ERR_NOMEM. */
AL_API int al_cancel(struct al_client *client, const struct al_message_id *id);
/* Likewise, by stream and sequence as in the receipt: also of messages whose id is no longer known.
 */
AL_API int al_cancel_at(struct al_client *client, uint32_t stream, uint64_t seq);

/* Asks and waits for the answer: a request (request.h) whose deadline is timeout_ms from now, which
 * is also the message's life time unless it has one. 0 only if the recipient answered SUCCESS or
 * PARTIAL_SUCCESS: the reply is the response of ret_end, which the caller frees with al_end_free().
 * -AL_ERR_DEAD_LETTERED: FAILED or retries used up (al_last_error() has the reason);
 * -AL_ERR_EXPIRED, -AL_ERR_TIMEOUT: nobody answered in time; -AL_ERR_CANCELLED: taken back by
 * al_cancel(); otherwise as al_send(). */
AL_API int al_request(struct al_client *client, const struct al_message *message, int timeout_ms,
                      struct al_end **ret_end);

#ifdef __cplusplus
}
#endif

#endif
