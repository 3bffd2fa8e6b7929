/* agentlink/workflow.h - numbers of workflows: which of a workflow's messages are there.
 *
 * A message to an agent with a workflow_id gets a number when the node admits it: 1, 2, 3, … in its
 * workflow, whoever sends it to whom. A workflow is the namespace of the senders ("default" for
 * names without one) and the id. The number comes with the delivery (al_delivery.workflow_seq) and
 * with the delivery record. Volatile messages and messages to groups have none.
 *
 * A number is pending until its message has ended, processed when it was acknowledged SUCCESS or
 * PARTIAL; a dead letter that is sent again keeps its number. The node forgets a workflow with
 * nothing pending a day after its last use, or when it needs the place (100,000 workflows).
 *
 * Every call asks the node and waits for the answer, as those of admin.h do, with the same errors
 * beside those named here. */
#ifndef AGENTLINK_WORKFLOW_H
#define AGENTLINK_WORKFLOW_H

#include <agentlink/client.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What has become of a number. */
enum al_number_state {
    AL_NUMBER_PENDING = 1,  /* not ended */
    AL_NUMBER_FAILED = 2,   /* ended FAILED by its receiver: a dead letter */
    AL_NUMBER_DEAD = 3,     /* a dead letter for another reason */
    AL_NUMBER_EXPIRED = 4,  /* its life time was over: a dead letter */
    AL_NUMBER_CANCELLED = 5 /* taken back, or gone with a removed agent */
};
/* Its name, for instance "PENDING"; "UNKNOWN" for others. */
AL_API const char *al_number_state_name(enum al_number_state state);

/* A workflow. Texts are valid during the call that gives it. */
struct al_workflow_info {
    const char *space;                         /* namespace of the senders */
    const char *workflow_id;                   /* the id */
    uint64_t allocated;                        /* numbers given out: 1 to this one */
    uint64_t processed;                        /* of these: acknowledged SUCCESS or PARTIAL */
    uint64_t pending;                          /* not ended */
    uint64_t failed, dead, expired, cancelled; /* ended otherwise: see al_number_state */
    uint64_t used_ms;                          /* wall clock of the last admission or end */
    bool complete; /* every number is processed, and there is at least one */
};

/* Consecutive numbers that are not processed. */
struct al_workflow_range {
    uint64_t first, last;
    enum al_number_state state; /* of all of them */
};
/* Called for each range, in order; non-zero ends the list. */
typedef int al_workflow_range_fn(void *ctx, const struct al_workflow_range *range);

/* Asks about one workflow: fn is called for every range of numbers that are not processed (NULL:
 * nobody is told), then *ret_info is filled in; its texts are those of the call. `space` may be
 * NULL: default. Ranges come in several answers; the counts are those of the first.
 * -AL_ERR_NOT_FOUND (never used, or forgotten); what fn returned if that is not 0. */
AL_API int al_workflow_get(struct al_client *client, const char *space, const char *workflow_id,
                           struct al_workflow_info *ret_info, al_workflow_range_fn *fn, void *ctx);

/* Called for each; non-zero ends the list. */
typedef int al_workflow_fn(void *ctx, const struct al_workflow_info *info);
/* Every workflow of a namespace (NULL: of all), in the order of their beginnings. */
AL_API int al_workflow_list(struct al_client *client, const char *space, al_workflow_fn *fn,
                            void *ctx);

#ifdef __cplusplus
}
#endif

#endif
