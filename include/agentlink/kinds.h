/* agentlink/kinds.h - kinds of messages: lease times, retries, breakers, metrics.
 *
 * A message names its kind in a word of the program's choice ("report.build"). What is registered
 * for a kind holds for every message of it on the node, is durable, and counts before what the
 * node's configuration says. Calls behave as those of admin.h. */
#ifndef AGENTLINK_KINDS_H
#define AGENTLINK_KINDS_H

#include <agentlink/client.h>

#ifdef __cplusplus
extern "C" {
#endif

#define AL_KIND_LATENCY_COUNTS 16  /* entries of latency_counts */
#define AL_KIND_NO_PRIORITY    255 /* the kind has no default priority of its own */

struct al_kind_info {
    const char *kind;        /* up to 64 of A-Z a-z 0-9 . _ : / -; in a list "": messages without */
    const char *title;       /* a readable name of up to 64 bytes for logs; may be "" */
    uint32_t priority;       /* of messages with AL_MESSAGE_PRIORITY_OF_KIND: 0 to 9, or
                                AL_KIND_NO_PRIORITY */
    uint32_t ack_timeout_ms; /* lease time of a message; 1 to 10 s by how critical it is */
    uint32_t retry_base_ms;  /* delay before the first retry */
    uint32_t retry_factor;   /* it grows by this factor, 1 to 10, */
    uint32_t retry_cap_ms;   /* but not beyond */
    uint32_t retry_max;      /* retries before the message is a dead letter; 2 to 5 by importance */
    bool breaker_own; /* its messages have a circuit breaker of their own at each destination */
    uint32_t breaker_percent; /* errors of the last minute that open the breaker; 0: never */
    uint32_t breaker_samples; /* outcomes that are needed before */
    uint32_t call_timeout_ms; /* an attempt without ack or extension for so long is an error */
    uint32_t breaker_open_ms; /* how long it stays open before a probe goes out */

    /* Filled in by al_kind_list(), ignored by al_kind_set(): */
    bool configured;         /* stands in the node's configuration */
    bool registered;         /* by al_kind_set() */
    bool seen;               /* messages of it have come since the node's start */
    uint64_t sent;           /* messages accepted */
    uint64_t success;        /* deliveries ended well */
    uint64_t failure;        /* deliveries ended badly */
    uint64_t retries;        /* failed attempts */
    uint64_t latency_sum_ms; /* admission to end, summed over success and failure */
    /* Ends by latency, not cumulative: [i] counts those within al_kind_latency_bound_ms(i) and
     * above the bound before; the last one counts the rest. */
    uint64_t latency_counts[AL_KIND_LATENCY_COUNTS];
};

/* The defaults of a node, for al_kind_set(): ack timeout 5 s, 5 retries from 100 ms to 1600 ms, no
 * priority of its own, a breaker that opens at 50 % errors of at least 10 outcomes for 30 s. Sets
 * kind to `kind`, which must stay valid as long as the struct is used. */
AL_API void al_kind_info_init(struct al_kind_info *kind_info, const char *kind);
/* Upper bound of a latency count in milliseconds; 0 for the last one, which has none. */
AL_API uint32_t al_kind_latency_bound_ms(unsigned index);

/* Called for each kind; non-zero ends the list. */
typedef int al_kind_fn(void *ctx, const struct al_kind_info *kind);
/* All kinds that are registered, configured or seen. */
AL_API int al_kind_list(struct al_client *client, al_kind_fn *fn, void *ctx);
/* What holds for one kind, also if nobody has said anything about it: fn is called once. */
AL_API int al_kind_show(struct al_client *client, const char *kind, al_kind_fn *fn, void *ctx);
/* Registers a kind, or changes its registration. Durable when it returns. -AL_ERR_INVALID (a value
 * out of range), -AL_ERR_NOT_OWNER (another user registered it), -AL_ERR_LIMIT (1000 kinds). */
AL_API int al_kind_set(struct al_client *client, const struct al_kind_info *kind);
/* Removes a registration. -AL_ERR_NOT_FOUND, -AL_ERR_NOT_OWNER. */
AL_API int al_kind_remove(struct al_client *client, const char *kind);
/* The generic kinds that come with the library: command, query, task, event, stream, bulk (with
 * the prefix "generic."). They are registered only if a program asks for it. Index from 0; NULL
 * behind the last one. */
AL_API const struct al_kind_info *al_kind_generic(unsigned index);

/* ---- circuit breakers -------------------------------------------------------------------- */

enum al_breaker_state {
    AL_BREAKER_CLOSED = 0,   /* messages are given out */
    AL_BREAKER_OPEN = 1,     /* messages wait and spend no attempts */
    AL_BREAKER_HALF_OPEN = 2 /* a single message goes out as a probe and decides */
};

/* The circuit breaker of a destination: an agent, or one kind of message at an agent. */
struct al_breaker_info {
    const char *agent;
    const char *kind; /* whose own breaker it is; "": the agent's */
    enum al_breaker_state state;
    uint64_t since_ms;  /* wall clock of the last change, 0: none since the node's start */
    uint32_t left_ms;   /* open: time until half-open */
    uint64_t successes; /* deliveries that ended well in the last minute */
    uint64_t errors;  /* of the last minute: nacks, FAILED, lease time-outs, calls without answer */
    uint64_t opened;  /* how often it has opened since the node's start */
    uint64_t waiting; /* messages that wait for the agent */
};
/* Called for each breaker; non-zero ends the list. */
typedef int al_breaker_fn(void *ctx, const struct al_breaker_info *breaker);
/* The breakers of an agent, or of all (NULL; at most 10,000); with `all` also the closed ones, as
 * far as they have seen a delivery end. -AL_ERR_UNKNOWN_AGENT. */
AL_API int al_breaker_list(struct al_client *client, const char *agent, bool all, al_breaker_fn *fn,
                           void *ctx);

#ifdef __cplusplus
}
#endif

#endif
