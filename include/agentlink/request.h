/* agentlink/request.h - requests: asking an agent and getting its reply.
 *
 * A request is a message whose end is awaited; the reply is the response of the recipient's ack. It
 * has a *reply-by deadline*: it is the message's life time at the node, and no wait outlasts it. A
 * client may have many requests under way at once; they survive reconnects and restarts of the
 * node. al_request() in send.h is the short form for one at a time. */
#ifndef AGENTLINK_REQUEST_H
#define AGENTLINK_REQUEST_H

#include <agentlink/send.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Requests of one client that were started and not freed. */
#define AL_REQUESTS_MAX 4096

/* A request that was started: the program's until al_request_free(). */
struct al_request;

/* Called by al_client_dispatch() once when the request is finished; `error` as al_request_wait()
 * says it, with al_last_error() set. `end` is the end of the message, NULL where there is none. May
 * free the request. */
typedef void al_request_fn(void *ctx, struct al_request *request, int error,
                           const struct al_end *end);

/* A part of a reply. */
struct al_part {
    uint32_t attempt; /* 1, 2, …: rises when another attempt begins its parts again; those of
                         earlier attempts are void */
    uint32_t number;  /* 1, 2, … within the attempt, without a hole */
    const void *data;
    size_t size;
};

/* Called by al_client_dispatch() for each part, in order, each once and before the al_request_fn;
 * the part is valid during the call. May free the request. */
typedef void al_part_fn(void *ctx, struct al_request *request, const struct al_part *part);

/* Options of al_request_start(). Zeroed: every default. */
struct al_request_options {
    uint32_t reply_by_ms; /* deadline from now; default 30000, at most 24 days. It is also the
                             life time (ttl_ms) of a message that has none */
    al_request_fn *fn;    /* NULL: al_request_wait() */
    bool parts;           /* take the reply in parts if it comes so: al_request_next_part() */
    al_part_fn *part_fn;  /* likewise, each part is called back */
    void *ctx;            /* of both */
};

/* Sends a request and returns without waiting; everything `message` points to is copied.
 * `options` may be NULL. Requests of one stream are taken in the order of the calls. 0; errors as
 * al_send_async(); -AL_ERR_LIMIT (AL_REQUESTS_MAX), -AL_ERR_EXISTS (a request with this message id
 * is under way). What the node refuses later finishes the request. */
AL_API int al_request_start(struct al_client *client, const struct al_message *message,
                            const struct al_request_options *options,
                            struct al_request **ret_request);

/* Waits for the request to finish, at most timeout_ms (0: only looks) and never beyond its
 * deadline. May be called again, with the same result. ret_end may be NULL; the end stays the
 * request's.
 *
 * -AL_ERR_TIMEOUT: this wait is over, the request is still under way.
 * Everything else is how it finished:
 * 0: SUCCESS or PARTIAL_SUCCESS, the reply is the response of the end.
 * -AL_ERR_NO_REPLY: the deadline has passed. Whoever works on it may still finish.
 * -AL_ERR_EXPIRED: the message's own life time (ttl_ms), shorter than the deadline, was over.
 * -AL_ERR_DEAD_LETTERED: FAILED, or retries used up. -AL_ERR_CANCELLED: taken back.
 * -AL_ERR_UNREACHABLE: the deadline has passed and it never left this process.
 * -AL_ERR_UNKNOWN_OUTCOME: written, but the deadline passed without a receipt; or ended, and the
 * node does not keep how. Otherwise why the node refused it, as al_send(). */
AL_API int al_request_wait(struct al_request *request, int timeout_ms,
                           const struct al_end **ret_end);

/* Waits for the next part of the reply, at most timeout_ms. The part stays valid until the next
 * call, or until the request is freed. Parts come in order, each once, also over reconnects. When
 * part 1 of a higher attempt comes, forget what the attempt before said. 0; -AL_ERR_TIMEOUT;
 * -AL_ERR_ALREADY_ENDED: there is no further one, al_request_wait() tells how it ended and the end
 * how many parts of which attempt were the reply; -AL_ERR_INVALID: not asked for, or called back.
 */
AL_API int al_request_next_part(struct al_request *request, int timeout_ms,
                                struct al_part *ret_part);

/* The end of the message, NULL: it has not ended or its end is not known. Also of a request that
 * failed: state, reason. The request's. */
AL_API const struct al_end *al_request_end(const struct al_request *request);
/* The receipt of the message; false: there is none yet. */
AL_API bool al_request_receipt(struct al_request *request, struct al_receipt *ret_receipt);
/* The id of the message. */
AL_API struct al_message_id al_request_id(const struct al_request *request);

/* Takes the request back: see al_cancel(). Waits for the node's answer (request_timeout_ms, and not
 * beyond the deadline). 0: nobody will do it (any more); the request is finished with
 * -AL_ERR_CANCELLED. -AL_ERR_ALREADY_ENDED: too late, it has finished or its end is on the way.
 * Otherwise errors of al_cancel(); the request is under way as before. */
AL_API int al_request_cancel(struct al_request *request);

/* ---- requests to a group ----------------------------------------------------------------- */

/* What one member of a group replied. */
struct al_reply {
    const char *agent;
    const struct al_end *end; /* state AL_RECORD_DELIVERED or AL_RECORD_PARTIAL */
};

/* The replies of a group, in the order in which they came. */
struct al_replies {
    struct al_message_id id; /* of the request */
    uint64_t seq;            /* its place in the group */
    uint32_t quorum;         /* how many were asked for */
    uint32_t members;        /* how many were asked: all members but the author */
    uint32_t failed;         /* of them that will not reply: it became a dead letter there */
    uint32_t count;          /* replies */
    const struct al_reply *replies;
};

/* Posts a request to a group, of which message->from is a member, and waits until `quorum` of the
 * other members have acknowledged it; 0: all of them. Every member gets it and each has a delivery
 * of its own, whatever becomes of the others; who replies later than that is not heard. Members
 * that join later are not asked. With a key that was used before the members are not asked again:
 * the replies are those to the first request, as far as their records are kept. The caller frees
 * the replies with al_replies_free().
 *
 * 0: the quorum is in. -AL_ERR_NO_QUORUM: the deadline has passed, or so many members have failed
 * that it cannot be reached any more; *ret_replies is written all the same, with what there is.
 * -AL_ERR_INVALID: the group has fewer other members than the quorum; nobody was asked. Otherwise
 * errors of al_group_post() and al_group_members(). The replies of members are seen by the user
 * that owns the group or the member: those of others count as failed. */
AL_API int al_request_group(struct al_client *client, const char *group,
                            const struct al_message *message, uint32_t quorum, int timeout_ms,
                            struct al_replies **ret_replies);
/* NULL is accepted. */
AL_API void al_replies_free(struct al_replies *replies);

/* ---- the end of a request ---------------------------------------------------------------- */

/* Frees the request; one that is under way is not awaited any more, its message stays. Not while
 * another thread uses it. al_client_close() and al_client_abort() free those that are left. NULL is
 * accepted. */
AL_API void al_request_free(struct al_request *request);

#ifdef __cplusplus
}
#endif

#endif
