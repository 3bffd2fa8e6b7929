/* agentlink/commit.h - acks, messages and an agent's own state in one step.
 *
 * A handler that is to take effect once does not ack, then send, then remember: it puts all of it
 * into one *commit*. The node applies the whole of it or nothing, also when it or the program is
 * killed in the middle; it is one entry in the journal. A message whose commit was applied is
 * settled; one whose commit was not comes again.
 *
 *     al_commit_begin(client, "writer", &commit);
 *     al_commit_ack(commit, delivery, &options);          the answer
 *     al_commit_send(commit, &message);                   what follows from it
 *     al_commit_put(commit, "chapters", "3", 1);          what is remembered
 *     r = al_commit(commit, 10000);
 *     al_commit_free(commit);
 *
 * al_commit_async() does not wait, so that many are under way at a time.
 *
 * State is a small set of keys and values that belongs to the agent: at most 1,000 keys and 1 MiB
 * of keys and values together; it survives everything the journal survives. */
#ifndef AGENTLINK_COMMIT_H
#define AGENTLINK_COMMIT_H

#include <agentlink/receive.h>
#include <agentlink/send.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Limits of one commit and of an agent's state, in bytes without NUL. */
#define AL_COMMIT_PARTS    256
#define AL_STATE_KEY_MAX   255
#define AL_STATE_VALUE_MAX 16384

/* ---- building ---------------------------------------------------------------------------- */

/* A commit: the program's until al_commit_free(); one thread at a time uses it. */
struct al_commit;

/* Begins a commit of an agent, which is the recipient of its deliveries, the sender of its messages
 * and the owner of its state. The agent must exist; this client must receive for it only if the
 * commit has acks. 0, -AL_ERR_BAD_NAME, -AL_ERR_NOMEM. */
AL_API int al_commit_begin(struct al_client *client, const char *agent,
                           struct al_commit **ret_commit);
/* Adds the ack of a delivery; `options` may be NULL: SUCCESS. Everything is copied. AL_ACK_FAILED
 * is final as in al_ack(): the message becomes a dead letter with `reason`, without retry, in one
 * step with the rest; what is to be tried again is not for a commit but for al_nack(). The delivery
 * stays the program's to read; it is settled by al_commit(), and by nothing else until then:
 * al_ack() and al_nack() refuse it. Acks of one stream are added in its order. The parts of a reply
 * that were said before end with it; al_delivery_part() refuses more.
 * 0; -AL_ERR_INVALID (volatile, settled or in a commit already), -AL_ERR_TOO_LARGE, -AL_ERR_LIMIT
 * (AL_COMMIT_PARTS), -AL_ERR_BUSY (the commit is under way or applied), -AL_ERR_NOMEM. */
AL_API int al_commit_ack(struct al_commit *commit, struct al_delivery *delivery,
                         const struct al_ack_options *options);
/* Adds a message; everything it points to is copied. `from` is the commit's agent and may be NULL.
 * With AL_MESSAGE_NOTIFY its end is told as of any message. Not volatile; to a group as in
 * groups.h: the agent is a member, and the message has no time. 0; -AL_ERR_INVALID,
 * -AL_ERR_BAD_NAME, -AL_ERR_TOO_LARGE, -AL_ERR_LIMIT, -AL_ERR_BUSY, -AL_ERR_NOMEM. */
AL_API int al_commit_send(struct al_commit *commit, const struct al_message *message);
/* Adds a change: sets a key of the agent's state. Errors as above. The same key twice in one commit
 * is refused by the node. */
AL_API int al_commit_put(struct al_commit *commit, const char *key, const void *value,
                         size_t value_size);
/* Adds a change: deletes a key; one that is not there is no error. Errors as above. */
AL_API int al_commit_delete(struct al_commit *commit, const char *key);

/* ---- committing -------------------------------------------------------------------------- */

/* Commits and waits until all of it is durable.
 *
 * 0: applied, once. Its deliveries are freed (in a handler: when it returns).
 * -AL_ERR_UNKNOWN_OUTCOME: no answer came in time. The library goes on trying as long as the client
 * lives, and the node applies it once at most; calling this again waits for the same commit.
 * Everything else: nothing of it was applied; al_commit_bad_part() and al_last_error() say which
 * part is to blame, the deliveries are the program's as before, and the commit may be tried again
 * as it is. Beside the errors of al_send() and al_ack(): -AL_ERR_LEASE_LOST (the message is given
 * out again; when it has come back to this client while the commit was under way, the library has
 * tried it again by itself), -AL_ERR_NOT_MEMBER and -AL_ERR_UNSUPPORTED (a message to a group),
 * -AL_ERR_LIMIT (too many parts, keys or bytes of state), -AL_ERR_BUSY (1,024 commits of this
 * client are under way), -AL_ERR_UNREACHABLE and -AL_ERR_TIMEOUT (it never left this process),
 * -AL_ERR_NOMEM. */
AL_API int al_commit(struct al_commit *commit, int timeout_ms);
/* Called by al_client_dispatch() once for each al_commit_async() that returned 0; `error` as
 * al_commit(), al_last_error() has the words. -AL_ERR_UNKNOWN_OUTCOME: the node has forgotten who
 * committed, for the connection was lost too long; it was applied once or not at all. The commit is
 * the program's again: to be looked at, tried again after an error, and freed. */
typedef void al_commit_fn(void *ctx, struct al_commit *commit, int error);
/* Commits without waiting: an agent can have several commits under way (1,024 of a client). They
 * are applied in the order of the calls; messages of one stream may be in different commits if
 * those are begun in their order (al_attach_options.pipelined gives a program more than one of
 * them). A refused commit stops none of another stream; one that settles what comes behind it in
 * its stream is then refused too (-AL_ERR_OUT_OF_ORDER), for the order holds.
 *
 * There is no time-out: the library says it again until there is an outcome. Until then the commit
 * is the library's: al_commit() waits for it (the callback comes all the same), al_commit_free()
 * lets it go on without a callback, and a client that is closed frees it without one, as client.h
 * says. A handler that returns meanwhile leaves its delivery to it: settled when the commit is
 * applied, given out again when it is refused; AL_HANDLER_KEEPS keeps it for another try. `fn` may
 * be NULL: the commit stays the program's, to be waited for.
 * 0; at once, and without a callback: -AL_ERR_BUSY (it is under way, applied, or its callback is
 * due; or 1,024 are under way), -AL_ERR_INVALID (no part, or a delivery was settled otherwise),
 * -AL_ERR_OUT_OF_ORDER, -AL_ERR_TOO_LARGE, -AL_ERR_NOMEM. */
AL_API int al_commit_async(struct al_commit *commit, al_commit_fn *fn, void *ctx);
/* After 0: the receipts of the commit's messages in the order of al_commit_send(), valid until
 * al_commit_free(); returns their number. seq is 0 for one that is not due yet. Before: returns 0.
 */
AL_API size_t al_commit_receipts(const struct al_commit *commit,
                                 const struct al_receipt **ret_receipts);

/* Kinds of parts. */
enum al_commit_part {
    AL_COMMIT_PART_NONE = 0,    /* no single part is to blame */
    AL_COMMIT_PART_ACK = 1,     /* of al_commit_ack() */
    AL_COMMIT_PART_MESSAGE = 2, /* of al_commit_send() */
    AL_COMMIT_PART_CHANGE = 3   /* of al_commit_put() and al_commit_delete() */
};
/* After an error of al_commit(): the kind of the part that could not be done; *ret_index (may be
 * NULL) counts from 0 among the parts of its kind. */
AL_API enum al_commit_part al_commit_bad_part(const struct al_commit *commit, size_t *ret_index);
/* Frees a commit, before its client is closed. One without an outcome goes on without the program:
 * its deliveries are settled when it is applied, and given out again when it is not. NULL is
 * accepted. */
AL_API void al_commit_free(struct al_commit *commit);

/* ---- the agent's state ------------------------------------------------------------------- */

/* A key of an agent's state. */
struct al_state_value {
    const char *key;
    const void *value;
    size_t value_size;
};
/* Called for each key, in the order of their bytes; valid during the call. Non-zero ends the list.
 */
typedef int al_state_fn(void *ctx, const struct al_state_value *value);

/* Asks for one value of an agent's state; `fn` is called once. Only the agent's owner may. 0 or
 * what `fn` returned; -AL_ERR_NOT_FOUND (no such key), -AL_ERR_UNKNOWN_AGENT, -AL_ERR_NOT_OWNER,
 * -AL_ERR_BAD_NAME, -AL_ERR_UNREACHABLE, -AL_ERR_TIMEOUT, -AL_ERR_NOMEM. */
AL_API int al_state_get(struct al_client *client, const char *agent, const char *key,
                        al_state_fn *fn, void *ctx);
/* Lists an agent's state. Errors likewise. */
AL_API int al_state_list(struct al_client *client, const char *agent, al_state_fn *fn, void *ctx);

#ifdef __cplusplus
}
#endif

#endif
