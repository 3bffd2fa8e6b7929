/* errors.h - every error of AgentLink, in one table.
 *
 * A function returns 0 on success and the negative value of one of these on failure. Numbers are
 * wire format: they are only ever added, never reused. `retryable` tells a client whether the same
 * request may succeed later without anybody changing it. */
#ifndef AL_BASE_ERRORS_H
#define AL_BASE_ERRORS_H

#include <stdbool.h>

/* X(symbol, number, retryable, text) */
#define AL_ERRORS(X)                                                                              \
    X(NOMEM, 1, true, "out of memory")                                                            \
    X(INVALID, 2, false, "invalid argument")                                                      \
    X(IO, 3, false, "input/output error")                                                         \
    X(PROTOCOL, 4, false, "malformed or unexpected frame")                                        \
    X(TOO_LARGE, 5, false, "larger than the limit")                                               \
    X(VERSION, 6, false, "no protocol version in common")                                         \
    X(UNKNOWN_AGENT, 7, false, "unknown agent; create it with 'agentlink agents add NAME'")       \
    X(INBOX_FULL, 8, true, "the recipient's inbox is full")                                       \
    X(EXPIRED, 9, false, "the message expired before it was processed")                           \
    X(ALREADY_ATTACHED, 10, true, "another receiver is attached to this agent")                   \
    X(NOT_ATTACHED, 11, false, "this connection is not attached to that agent")                   \
    X(NOT_OWNER, 12, false, "the agent's name belongs to another user")                           \
    X(BAD_NAME, 13, false, "not a valid name: [namespace/]name, parts of [a-z0-9._-]{1,64}")      \
    X(KEY_CONFLICT, 14, false, "the idempotency key was used with a different message")           \
    X(KEY_DEAD, 15, false, "the message first sent with this idempotency key was dead-lettered")  \
    X(DEDUP_FULL, 16, true, "the store of idempotency keys is full")                              \
    X(DLQ_FULL, 17, true, "the recipient's dead-letter queue is full; purge or redrive it")       \
    X(DISK_FULL, 18, true, "the disk is full; acknowledgements are still taken")                  \
    X(LEASE_LOST, 19, false, "the lease was superseded: the message was given out again")         \
    X(OUT_OF_ORDER, 20, false, "earlier messages of this stream are not acknowledged yet")        \
    X(NOT_FOUND, 21, false, "not found")                                                          \
    X(PRODUCER_RETIRED, 22, false, "this producer said goodbye or expired; open a new one")       \
    X(SEQUENCE_GAP, 23, true, "a producer sequence is missing before this message")               \
    X(STREAM_HELD, 24, true, "an earlier message of this stream was refused; resume the channel") \
    X(WINDOW, 25, false, "more in flight than the window that was granted")                       \
    X(UNREACHABLE, 26, true, "the node cannot be reached")                                        \
    X(TIMEOUT, 27, true, "timed out")                                                             \
    X(CLOSED, 28, true, "closed")                                                                 \
    X(POISONED, 29, false, "the journal failed to write and stopped")                             \
    X(DAMAGED, 30, false, "stored data is damaged")                                               \
    X(LOCKED, 31, false, "in use by another process")                                             \
    X(FORMAT, 32, false, "written by an incompatible version")                                    \
    X(DENIED, 33, false, "not permitted")                                                         \
    X(EXISTS, 34, false, "exists already")                                                        \
    X(BUSY, 35, true, "busy")                                                                     \
    X(FENCED, 36, false, "taken over by another receiver")                                        \
    X(LIMIT, 37, true, "a limit was reached")                                                     \
    X(UNKNOWN_OUTCOME, 38, true, "outcome unknown: repeat with an idempotency key")               \
    X(CANCELLED, 39, false, "cancelled")                                                          \
    X(UNSUPPORTED, 40, false, "not supported")                                                    \
    X(DEAD_LETTERED, 41, false, "the message was dead-lettered")                                  \
    X(ALREADY_ENDED, 42, false, "the message has ended already")                                  \
    X(BAD_SCHEDULE, 43, false,                                                                    \
      "not a schedule: 'MINUTE HOUR DAY MONTH WEEKDAY' in UTC, or '@every 10s'")                  \
    X(SCHEDULE_PAST, 44, false, "the schedule would never fire: it lies in the past")             \
    X(GAP_CLOSED, 45, false, "it came too late: the gap it was missing from has been closed")     \
    X(UNKNOWN_GROUP, 46, false, "unknown group; create it with 'agentlink group create NAME'")    \
    X(NOT_MEMBER, 47, false, "only members of the group may do that")                             \
    X(NO_REPLY, 48, true, "no reply came by the deadline")                                        \
    X(NOT_RETAINED, 49, false, "so much of the past is not kept any more")                        \
    X(NO_HISTORY, 50, false, "nothing is kept of this agent's messages; see 'agentlink retain'")  \
    X(NO_QUORUM, 51, true, "fewer replies than the quorum")                                       \
    X(AMBIGUOUS, 52, false, "several agents have this message out; name the one that is meant")   \
    X(WORKFLOW_FULL, 53, true, "no room for another number of a workflow")                        \
    X(SEAL_KEY, 54, false, "stored data is sealed under a key that is not here")                  \
    X(REVOKED, 55, false, "this certificate does not count any more")                             \
    X(BAD_TOKEN, 56, false, "the join token is unknown, used up or too old; ask for a new one")

/* AL_E_NOMEM and so on, positive; functions return them negated. */
enum al_error {
    AL_OK = 0,
#define AL_X(symbol, number, retryable, text) AL_E_##symbol = (number),
    AL_ERRORS(AL_X)
#undef AL_X
};

/* The English text of an error; accepts positive and negative values, never NULL. */
const char *al_error_text(int error);
/* The symbol without prefix, for instance "INBOX_FULL"; "OK" for 0, "UNKNOWN" for anything else. */
const char *al_error_name(int error);
/* True if the same request may succeed later as it stands. */
bool al_error_is_retryable(int error);

#endif
