/* agentlink/admin.h - delivery records, agents, streams, dead letters, status, metrics.
 *
 * Every call asks the node and waits for the answer, at most request_timeout_ms of the client's
 * options. Beside the errors named at a call: -AL_ERR_UNREACHABLE, -AL_ERR_TIMEOUT,
 * -AL_ERR_UNKNOWN_OUTCOME (a change was asked for and the connection was lost before the answer),
 * -AL_ERR_DENIED, -AL_ERR_NOMEM.
 *
 * Lists are given row by row to a callback, after the node has sent a page of them; a row and its
 * texts are valid during the call. A callback that returns non-zero ends the list and its value is
 * returned. Callbacks run without the client's lock. */
#ifndef AGENTLINK_ADMIN_H
#define AGENTLINK_ADMIN_H

#include <agentlink/client.h>
#include <agentlink/receive.h>
#include <agentlink/send.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- delivery records -------------------------------------------------------------------- */

/* A failed attempt. */
struct al_attempt {
    uint32_t attempt;   /* its number, from 1 */
    int error;          /* why: AL_ERR_TIMEOUT, AL_ERR_CLOSED (disconnect), AL_ERR_CANCELLED (nack);
                           positive */
    uint64_t at_ms;     /* wall clock */
    const char *reason; /* the recipient's words; never NULL */
};

/* What the node knows of a message. Texts are never NULL. */
struct al_record_info {
    struct al_message_id id; /* zero where it is not known any more */
    uint32_t stream;
    uint64_t seq; /* 0: not due yet */
    enum al_record_state state;
    uint32_t attempts;        /* attempts made */
    uint64_t last_attempt_ms; /* wall clock of the last one, 0: none */
    uint64_t due_ms;          /* not tried before this wall-clock time, 0: now */
    uint64_t end_ms;          /* wall clock of the end, 0: not ended */
    const char *from;
    const char *to;
    const char *label;            /* stream label */
    const char *reason;           /* reason or error of the end */
    const struct al_attempt *log; /* failed attempts, oldest first */
    size_t log_count;
    uint64_t workflow_seq; /* its number in its workflow, 0: none, or not known any more */
};

/* The record of a recent message by its id (the node keeps 100,000 ids). The caller frees it with
 * al_record_free(). -AL_ERR_NOT_FOUND. */
AL_API int al_record_get(struct al_client *client, const struct al_message_id *id,
                         struct al_record_info **ret_record);
/* The record of a message by stream and sequence, as in its receipt. -AL_ERR_NOT_FOUND. */
AL_API int al_record_get_at(struct al_client *client, uint32_t stream, uint64_t seq,
                            struct al_record_info **ret_record);
/* Frees; NULL is accepted. */
AL_API void al_record_free(struct al_record_info *record);

/* What is done with it. */
enum al_settle_action {
    AL_SETTLE_ACTION_SUCCESS = 1,
    AL_SETTLE_ACTION_PARTIAL = 2,
    AL_SETTLE_ACTION_FAILED = 3,
    AL_SETTLE_ACTION_NACK = 4,
    AL_SETTLE_ACTION_EXTEND = 5
};

/* What to do with a message that is out with a receiver. */
struct al_settlement {
    struct al_message_id id;
    enum al_settle_action action;
    const char *agent; /* the receiving agent; NULL: the only one of the user's that has it out */
    uint32_t time_ms;  /* NACK: retry after, 0 by policy; EXTEND: lease time */
    const char *reason;
    const char *response_type;
    const void *response;
    size_t response_size;
    const char *const *parts; /* texts: the reply's parts before the response (receive.h) */
    size_t part_count;
};

/* Settles a leased message by its id, without being attached: what a receiver left with its lease
 * (al_detach() with keep_leases, `agentlink recv --no-ack`). -AL_ERR_NOT_FOUND, -AL_ERR_LEASE_LOST,
 * -AL_ERR_OUT_OF_ORDER, -AL_ERR_NOT_OWNER, -AL_ERR_INVALID, -AL_ERR_AMBIGUOUS (a message to a group
 * that several members have out: name one). */
AL_API int al_settle(struct al_client *client, const struct al_settlement *settlement);

/* ---- agents and their inboxes ------------------------------------------------------------ */

struct al_agent_info {
    const char *name;
    uint32_t number;
    uint32_t uid;          /* owning user */
    bool attached;         /* a receiver is attached */
    uint8_t receivers;     /* how many are, at most 255: they share the inbox */
    uint64_t created_ms;   /* wall clock */
    uint64_t ready;        /* messages waiting */
    uint64_t leased;       /* messages out with the receiver */
    uint64_t delayed;      /* messages that wait for a time */
    uint64_t dead;         /* dead letters */
    uint64_t leased_bytes; /* payload bytes of the messages that are out */
    uint32_t streams;
    uint64_t dead_bytes; /* payload bytes of its dead letters */
};
/* Called for each agent; non-zero ends the list. */
typedef int al_agent_fn(void *ctx, const struct al_agent_info *agent);

/* All agents, by name. */
AL_API int al_agent_list(struct al_client *client, al_agent_fn *fn, void *ctx);
/* Calls fn once, for this agent. -AL_ERR_UNKNOWN_AGENT, -AL_ERR_BAD_NAME. */
AL_API int al_agent_show(struct al_client *client, const char *name, al_agent_fn *fn, void *ctx);
/* Creates an agent, owned by this user. -AL_ERR_EXISTS, -AL_ERR_BAD_NAME, -AL_ERR_LIMIT. */
AL_API int al_agent_add(struct al_client *client, const char *name);
/* Removes an agent. -AL_ERR_BUSY if messages are waiting, unless `force`: they are lost; also if a
 * receiver is attached or another client has the agent's streams open for sending.
 * -AL_ERR_UNKNOWN_AGENT, -AL_ERR_NOT_OWNER. */
AL_API int al_agent_remove(struct al_client *client, const char *name, bool force);

struct al_stream_info {
    uint32_t stream; /* its number */
    const char *from;
    const char *label;
    uint32_t priority;
    uint64_t next_seq; /* sequence of the next message */
    uint64_t head_seq; /* oldest pending sequence, 0: none */
    uint64_t pending;  /* messages pending */
    uint32_t leased;   /* of them out */
    uint32_t attempts; /* failed attempts of the head */
    uint64_t due_ms;   /* the head waits for a retry until then, 0: no */
    bool unordered;    /* no head, no sequences of its own: `pending` and `leased` only */
};
/* Called for each stream; non-zero ends the list. */
typedef int al_stream_fn(void *ctx, const struct al_stream_info *stream);
/* The streams to an agent, by number. -AL_ERR_UNKNOWN_AGENT. */
AL_API int al_stream_list(struct al_client *client, const char *agent, al_stream_fn *fn, void *ctx);

/* ---- dead letters ------------------------------------------------------------------------ */

struct al_dead_letter {
    uint64_t position; /* place in the queue */
    uint32_t stream;
    uint64_t seq;
    uint32_t attempts;
    int error;          /* why, positive: AL_ERR_EXPIRED, AL_ERR_DEAD_LETTERED (retries used up),
                           AL_ERR_CANCELLED (FAILED by the recipient) */
    uint64_t dead_ms;   /* wall clock of the death */
    const char *reason; /* reason or error; never NULL */
    const struct al_attempt *log; /* al_dead_letter_get() only: failed attempts, oldest first */
    size_t log_count;
    struct al_message message; /* in a list: id, from, to and stream only */
    uint32_t bytes;            /* payload; 0: not known */
};
/* Called for each dead letter; non-zero ends the list. */
typedef int al_dead_letter_fn(void *ctx, const struct al_dead_letter *letter);

/* The dead letters of an agent, oldest first; NULL: of all agents. -AL_ERR_UNKNOWN_AGENT. */
AL_API int al_dead_letter_list(struct al_client *client, const char *agent, al_dead_letter_fn *fn,
                               void *ctx);
/* Calls fn once, with body and attempt history. -AL_ERR_NOT_FOUND. */
AL_API int al_dead_letter_get(struct al_client *client, const struct al_message_id *id,
                              al_dead_letter_fn *fn, void *ctx);
/* Sends one dead letter again (id), or all of the agent in their order (id NULL): same ids, new
 * sequences at the end, attempts 0. ret_count may be NULL. -AL_ERR_NOT_FOUND, -AL_ERR_INBOX_FULL.
 */
AL_API int al_dead_letter_redrive(struct al_client *client, const char *agent,
                                  const struct al_message_id *id, uint64_t *ret_count);
/* Deletes one dead letter (id), or all of the agent (id NULL). ret_count may be NULL.
 * -AL_ERR_NOT_FOUND. */
AL_API int al_dead_letter_purge(struct al_client *client, const char *agent,
                                const struct al_message_id *id, uint64_t *ret_count);

/* ---- the node ---------------------------------------------------------------------------- */

struct al_status_info {
    char node[256];      /* name of the node */
    uint64_t node_epoch; /* starts of this node so far */
    uint64_t start_ms;   /* wall clock of this start */
    uint64_t lsn;        /* last journal record */
    uint64_t agents, streams, connections;
    uint64_t waiting, leased, delayed, dead; /* messages, by where they are */
    /* Since this start: */
    uint64_t accepted;            /* messages accepted */
    uint64_t delivered;           /* deliveries ended well */
    uint64_t failed;              /* deliveries ended badly */
    uint64_t retried;             /* failed attempts */
    uint64_t redelivered;         /* deliveries marked as possibly seen */
    uint64_t duplicates;          /* duplicate publishes suppressed */
    uint64_t refused;             /* publishes refused */
    uint64_t expired;             /* messages expired */
    uint64_t volatile_sent;       /* volatile messages passed on */
    uint64_t volatile_dropped;    /* volatile messages dropped */
    uint64_t state_bytes;         /* memory of the node's state */
    bool disk_full;               /* publishes are refused because the disk is full */
    uint64_t kept;                /* messages that have ended and can be replayed */
    uint64_t replayed;            /* messages replayed since this start */
    uint64_t asked_again;         /* ranges of deliveries that receivers missed and asked for,
                                     since this start */
    uint64_t workflows;           /* whose messages are numbered */
    uint64_t workflow_numbers;    /* messages that got a number, since this start */
    uint64_t workflows_forgotten; /* since this start */
    uint64_t dead_bytes;          /* payload bytes of all dead letters */
    /* Since this start: */
    uint64_t parts;            /* parts of replies passed on */
    uint64_t parts_dropped;    /* whose requester was not there: they come with the end */
    uint64_t parts_refused;    /* of attempts that were fenced off, or malformed */
    uint64_t commits;          /* commits applied */
    uint64_t commits_repeated; /* that had been applied already */
    uint64_t commits_refused;  /* of which nothing was applied */
    /* Permissions (acl.h): */
    uint64_t acl_rules;   /* rules there are */
    uint64_t acl_version; /* how often they have changed */
    /* Refused by them since this start: */
    uint64_t denied_sends;      /* messages and firings of schedules */
    uint64_t denied_joins;      /* of groups */
    uint64_t denied_reads;      /* of histories of groups */
    uint64_t denied_changes;    /* of rules */
    uint64_t denied_deliveries; /* dead letters: admitted, and forbidden when it was their turn */
};
/* The node's status. */
AL_API int al_status_get(struct al_client *client, struct al_status_info *ret_status);

struct al_metrics_info {
    const char *kind;        /* "": messages without one */
    uint64_t sent;           /* messages accepted */
    uint64_t success;        /* deliveries ended well */
    uint64_t failure;        /* deliveries ended badly */
    uint64_t retries;        /* failed attempts */
    uint64_t latency_sum_ms; /* admission to end, summed over success and failure */
};
/* Called for each kind; non-zero ends the list. */
typedef int al_metrics_fn(void *ctx, const struct al_metrics_info *metrics);
/* The metrics of every kind of message that the node has seen since its start. */
AL_API int al_metrics_list(struct al_client *client, al_metrics_fn *fn, void *ctx);

#ifdef __cplusplus
}
#endif

#endif
