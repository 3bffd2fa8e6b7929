/* agentlink/replay.h - messages again that have ended: what streams keep, and replay.
 *
 * A recipient may have its streams keep what it has acknowledged, by count, bytes and age, and ask
 * for it again. What is replayed is no delivery: there is nothing to acknowledge, nothing is
 * counted as delivered, and handlers are not called. Dead letters, cancelled and expired messages
 * are not kept here; groups have a history of their own.
 *
 * Every call asks the node and waits for the answer, as those of admin.h do, with the same errors
 * beside those named here. */
#ifndef AGENTLINK_REPLAY_H
#define AGENTLINK_REPLAY_H

#include <agentlink/client.h>
#include <agentlink/message.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What each stream to an agent keeps; the first limit that is reached counts. Zeroed: as much as
 * a stream may keep, 100,000 messages and 1 GiB, of any age. */
struct al_retention {
    uint64_t count;  /* messages, at most 100,000; 0: that many */
    uint64_t bytes;  /* of their payloads, at most 1 GiB; 0: that many */
    uint64_t age_ms; /* counted from the acknowledgement, 0: any */
};

/* From here on the streams to the agent keep that; what is beyond is forgotten at once. NULL:
 * nothing is kept, and what was kept is forgotten. -AL_ERR_TOO_LARGE (more than a stream may keep),
 * -AL_ERR_UNKNOWN_AGENT, -AL_ERR_NOT_OWNER, -AL_ERR_BAD_NAME. */
AL_API int al_retain_set(struct al_client *client, const char *agent,
                         const struct al_retention *retention);

/* What a stream keeps. */
struct al_history_info {
    uint32_t stream;               /* 0: the agent, with the sums of all its streams */
    struct al_retention retention; /* count 0: nothing is kept */
    const char *from;
    const char *label;
    uint32_t priority;
    uint64_t from_seq;  /* nothing that ended well from this sequence on is missing */
    uint64_t first_seq; /* oldest message that is kept, 0: there is none */
    uint64_t last_seq;  /* newest one */
    uint64_t count;
    uint64_t bytes;    /* of the payloads */
    uint64_t first_ms; /* wall clock of the acknowledgement of the oldest */
    uint64_t last_ms;  /* of the newest */
};
/* Called for each; non-zero ends the list. */
typedef int al_history_fn(void *ctx, const struct al_history_info *history);
/* First the agent itself, with its limits and the sums, then every stream that has kept something.
 */
AL_API int al_history_list(struct al_client *client, const char *agent, al_history_fn *fn,
                           void *ctx);

/* What is to be replayed. Zeroed: nothing; agent and stream must be filled in. */
struct al_replay_range {
    const char *agent;  /* recipient; must belong to the user */
    uint32_t stream;    /* number: from a delivery, a receipt or al_history_list() */
    uint64_t first_seq; /* 0: the oldest that is kept */
    uint64_t last_seq;  /* 0: the newest */
    uint64_t from_ms;   /* acknowledged at this wall clock or later, 0: any */
    uint64_t until_ms;  /* before this wall clock, 0: any */
    uint64_t limit;     /* messages at most, 0: all */
};
/* A message that was acknowledged long ago. */
struct al_replayed {
    struct al_message message; /* as it was delivered */
    uint32_t stream;
    uint64_t seq;
    uint64_t admitted_ms; /* wall clock when the node took it */
    uint64_t ended_ms;    /* wall clock of its acknowledgement */
};
/* Called for each message in the order of the stream; what it points to is valid until it returns.
 * Non-zero ends the replay, which then returns that. */
typedef int al_replay_fn(void *ctx, const struct al_replayed *replayed);
/* Replays a range. -AL_ERR_NOT_RETAINED: first_seq or from_ms lies before what is kept;
 * al_last_error() says what there is. -AL_ERR_NO_HISTORY: nothing is kept of this agent's messages.
 * -AL_ERR_NOT_FOUND: no such stream to this agent. -AL_ERR_NOT_OWNER, -AL_ERR_UNKNOWN_AGENT,
 * -AL_ERR_BAD_NAME. */
AL_API int al_replay(struct al_client *client, const struct al_replay_range *range,
                     al_replay_fn *fn, void *ctx);

#ifdef __cplusplus
}
#endif

#endif
