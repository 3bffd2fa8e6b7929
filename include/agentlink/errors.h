/* agentlink/errors.h - error codes.
 *
 * Numbers are part of the protocol: they are only ever added. "May succeed later" marks the errors
 * for which al_error_is_retryable() is true: the same request may go through without a change. */
#ifndef AGENTLINK_ERRORS_H
#define AGENTLINK_ERRORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Marks what the shared library exports. */
#if defined(__GNUC__)
#define AL_API __attribute__((visibility("default")))
#else
#define AL_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Functions return the negative value. */
enum al_error_code {
    AL_ERR_NOMEM = 1,             /* out of memory; may succeed later */
    AL_ERR_INVALID = 2,           /* an argument is not valid */
    AL_ERR_IO = 3,                /* input/output error */
    AL_ERR_PROTOCOL = 4,          /* the other side sent something malformed or unexpected */
    AL_ERR_TOO_LARGE = 5,         /* larger than the limit */
    AL_ERR_VERSION = 6,           /* no protocol version in common */
    AL_ERR_UNKNOWN_AGENT = 7,     /* the recipient does not exist; `agentlink agents add NAME` */
    AL_ERR_INBOX_FULL = 8,        /* the recipient's inbox is full; may succeed later */
    AL_ERR_EXPIRED = 9,           /* the message's life time was over before it was processed */
    AL_ERR_ALREADY_ATTACHED = 10, /* another receiver has this agent; may succeed later */
    AL_ERR_NOT_ATTACHED = 11,     /* this client does not receive for that agent */
    AL_ERR_NOT_OWNER = 12,        /* the agent's name belongs to another user */
    AL_ERR_BAD_NAME = 13,         /* not a valid name: [namespace/]name of [a-z0-9._-]{1,64} */
    AL_ERR_KEY_CONFLICT = 14,     /* the idempotency key was used with a different message */
    AL_ERR_KEY_DEAD = 15,     /* the first message with this idempotency key was dead-lettered */
    AL_ERR_DEDUP_FULL = 16,   /* no room for more idempotency keys; may succeed later */
    AL_ERR_DLQ_FULL = 17,     /* the recipient's dead-letter queue is full; may succeed later */
    AL_ERR_DISK_FULL = 18,    /* the node's disk is full; may succeed later */
    AL_ERR_LEASE_LOST = 19,   /* the message was given out again meanwhile: the ack came too late */
    AL_ERR_OUT_OF_ORDER = 20, /* earlier messages of the stream are not acknowledged yet */
    AL_ERR_NOT_FOUND = 21,    /* there is no such thing (any more) */
    AL_ERR_PRODUCER_RETIRED = 22, /* the node has forgotten this client: see al_client_open() */
    AL_ERR_SEQUENCE_GAP = 23,     /* a message before this one is missing; may succeed later */
    AL_ERR_STREAM_HELD = 24, /* an earlier message of the stream was refused; may succeed later:
                                see al_stream_resume() */
    AL_ERR_WINDOW = 25,      /* more in flight than the node allows */
    AL_ERR_UNREACHABLE = 26, /* the node cannot be reached; may succeed later */
    AL_ERR_TIMEOUT = 27,     /* nothing came in time; may succeed later */
    AL_ERR_CLOSED = 28,      /* closed; may succeed later */
    AL_ERR_POISONED = 29,    /* the node's journal failed to write and stopped */
    AL_ERR_DAMAGED = 30,     /* stored data is damaged */
    AL_ERR_LOCKED = 31,      /* the directory is in use by another process */
    AL_ERR_FORMAT = 32,      /* written by an incompatible version */
    AL_ERR_DENIED = 33,      /* not permitted */
    AL_ERR_EXISTS = 34,      /* exists already */
    AL_ERR_BUSY = 35,        /* no room right now: dispatch and try again; may succeed later */
    AL_ERR_FENCED = 36,      /* another receiver has taken over */
    AL_ERR_LIMIT = 37,       /* a limit was reached; may succeed later */
    AL_ERR_UNKNOWN_OUTCOME =
        38,                    /* it may or may not have happened: repeat with an idempotency key */
    AL_ERR_CANCELLED = 39,     /* cancelled */
    AL_ERR_UNSUPPORTED = 40,   /* not supported */
    AL_ERR_DEAD_LETTERED = 41, /* the message was dead-lettered */
    AL_ERR_ALREADY_ENDED = 42, /* the message has ended already */
    AL_ERR_BAD_SCHEDULE = 43,  /* not a readable schedule */
    AL_ERR_SCHEDULE_PAST = 44, /* the schedule would never fire: it lies in the past */
    AL_ERR_GAP_CLOSED = 45,    /* it came too late: the gap it was missing from was closed */
    AL_ERR_UNKNOWN_GROUP = 46, /* unknown group; create it with 'agentlink group create NAME' */
    AL_ERR_NOT_MEMBER = 47,    /* only members of the group may do that */
    AL_ERR_NO_REPLY = 48,      /* no reply came by the deadline; may succeed later */
    AL_ERR_NOT_RETAINED = 49,  /* a replay reaches further back than messages are kept */
    AL_ERR_NO_HISTORY = 50,    /* nothing is kept of this agent's messages: al_retain_set */
    AL_ERR_NO_QUORUM = 51,     /* fewer replies than the quorum; may succeed later */
    AL_ERR_AMBIGUOUS = 52, /* several agents have this message out; name the one that is meant */
    AL_ERR_WORKFLOW_FULL = 53, /* no room for another number of a workflow; may succeed later */
    AL_ERR_SEAL_KEY = 54,      /* the directory is sealed under a key that is not here */
    AL_ERR_REVOKED = 55,       /* this certificate does not count any more */
    AL_ERR_BAD_TOKEN = 56      /* the join token is unknown, used up or too old */
};

/* The English text of an error; takes positive and negative values, never returns NULL. */
AL_API const char *al_error_text(int error);
/* The symbol without its prefix, for instance "INBOX_FULL"; "OK" for 0, "UNKNOWN" for others. */
AL_API const char *al_error_name(int error);
/* True if the same request may succeed later as it stands. */
AL_API bool al_error_is_retryable(int error);

/* What was wrong, where, and what to do: of the last call of this thread that failed, on any
 * client. Never NULL; "" before the first failure. Valid until the thread's next call that fails.
 */
AL_API const char *al_last_error(void);

/* The version of the library, for instance "0.1.0". */
AL_API const char *al_version(void);

#ifdef __cplusplus
}
#endif

#endif
