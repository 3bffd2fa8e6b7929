/* agentlink/schedule.h - messages that the node sends again and again.
 *
 * Every call asks the node and waits for the answer, as those of admin.h do, with the same errors
 * beside those named here. */
#ifndef AGENTLINK_SCHEDULE_H
#define AGENTLINK_SCHEDULE_H

#include <agentlink/client.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A schedule to be set. Zeroed: nothing; name, when and message must be filled in. */
struct al_schedule {
    const char *name; /* as for agents; unique at the node */
    const char *when; /* "MINUTE HOUR DAY MONTH WEEKDAY" in UTC (each: *, a number, a-b, lists, with
                         /step), "@hourly", "@daily", "@weekly", "@monthly", "@yearly", or
                         "@every N" with s, m, h or d behind the number */
    uint64_t until_ms; /* wall clock after which it does not fire and is removed, 0: for ever */
    bool replace;      /* one of this name, if there is one */
    const struct al_message *message; /* what is sent each time, with an id and a time of its own;
                                         at most 64 KiB; no key, no deliver_at_ms, no flags */
};

/* Makes a schedule. It fires from the next time on that `when` names; what was due while the node
 * was down or had no room is made up for by one message.
 * -AL_ERR_BAD_SCHEDULE (`when` is not readable), -AL_ERR_SCHEDULE_PAST (it would never fire),
 * -AL_ERR_EXISTS, -AL_ERR_UNKNOWN_AGENT, -AL_ERR_NOT_OWNER, -AL_ERR_BAD_NAME, -AL_ERR_INVALID,
 * -AL_ERR_TOO_LARGE, -AL_ERR_LIMIT, -AL_ERR_DISK_FULL. */
AL_API int al_schedule_set(struct al_client *client, const struct al_schedule *schedule);
/* Removes it; what it has sent already stays. -AL_ERR_NOT_FOUND, -AL_ERR_NOT_OWNER. */
AL_API int al_schedule_remove(struct al_client *client, const char *name);

struct al_schedule_info {
    const char *name;
    const char *when;
    const char *from;
    const char *to;
    const char *stream; /* label */
    const char *kind;
    uint32_t priority; /* AL_MESSAGE_PRIORITY_OF_KIND: what the kind has at each time */
    uint32_t uid;      /* owning user */
    uint64_t set_ms;   /* wall clock when it was set */
    uint64_t last_ms;  /* of the last firing, 0: none yet */
    uint64_t next_ms;  /* of the next one */
    uint64_t until_ms; /* 0: for ever */
    uint64_t ttl_ms;   /* life time of each message, 0: none */
    int error;         /* why the firing that is due waits, positive; 0 */
};
/* Called for each schedule; non-zero ends the list. */
typedef int al_schedule_fn(void *ctx, const struct al_schedule_info *schedule);
/* The schedules of this user, by name. */
AL_API int al_schedule_list(struct al_client *client, al_schedule_fn *fn, void *ctx);

#ifdef __cplusplus
}
#endif

#endif
