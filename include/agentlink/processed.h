/* agentlink/processed.h - the processed-store: what a program remembers across its own crashes.
 *
 * A program that is killed between al_ack() and the node's confirmation gets the message again when
 * it is back. With a processed-store it does not see it: al_ack() writes the message id and the
 * answer to a small file and flushes it before the ack leaves; a message whose id stands there is
 * acknowledged by the library with the stored answer, and neither the handler nor al_receive()
 * gets it.
 *
 * What it cannot do is look into the time before al_ack(): a program that is killed after an effect
 * on the outside world and before al_ack() will see the message again, marked `redelivered`. Give
 * the message id to the outside system as its own idempotency key, or keep the effect in AgentLink
 * (messages and state of one commit).
 *
 * SUCCESS and PARTIAL are stored; FAILED is not, so that a dead letter that is sent again is
 * processed. Volatile messages are not stored. A group's message stands there once for each member
 * that uses the store, under an id of its own: al_processed_has() does not know it. */
#ifndef AGENTLINK_PROCESSED_H
#define AGENTLINK_PROCESSED_H

#include <agentlink/message.h>

#ifdef __cplusplus
extern "C" {
#endif

struct al_processed;

/* Bounds; zeroed: the defaults. The oldest entries go first. Keep more than can be under way
 * between a crash and the restart. */
struct al_processed_options {
    uint32_t entries_max; /* default 100,000; at most 10,000,000; about 60 bytes of memory each */
    uint64_t bytes_max;   /* of the entries with their answers; default 256 MiB */
};

/* Opens or creates the store in the file `path`, which belongs to one process at a time. `options`
 * may be NULL. An entry that a crash cut off at the end of the file was never relied on and is
 * removed. 0; -AL_ERR_LOCKED; -AL_ERR_DAMAGED: the file is not what was written; it is left as it
 * is; -AL_ERR_NOT_FOUND: its directory does not exist; -AL_ERR_FORMAT: something else stands in the
 * file; -AL_ERR_INVALID: a bound out of range; -AL_ERR_IO, -AL_ERR_DISK_FULL, -AL_ERR_NOMEM. */
AL_API int al_processed_open(const char *path, const struct al_processed_options *options,
                             struct al_processed **ret_processed);
/* Closes it, after the clients that use it. NULL is accepted. */
AL_API void al_processed_close(struct al_processed *processed);
/* True if a message with this id stands in the store. Any thread. */
AL_API bool al_processed_has(struct al_processed *processed, const struct al_message_id *id);
/* Entries in the store. Any thread. */
AL_API uint32_t al_processed_count(struct al_processed *processed);

#ifdef __cplusplus
}
#endif

#endif
