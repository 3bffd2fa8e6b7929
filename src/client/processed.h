/* processed.h - the processed-store as the client uses it; see agentlink/processed.h. */
#ifndef AL_CLIENT_PROCESSED_H
#define AL_CLIENT_PROCESSED_H

#include "base/bytes.h"
#include <agentlink/processed.h>
#include <agentlink/receive.h>

/* Writes what an ack says about this message and flushes it. Blocks; any thread. An id that is
 * there already stays as it is. 0; -AL_E_IO, -AL_E_DISK_FULL: the store failed, now or before;
 * -AL_E_NOMEM; -AL_E_TOO_LARGE (headers). */
int ali_processed_put(struct al_processed *processed, const struct al_message_id *id,
                      const struct al_ack_options *options);

/* A stored answer in one block. */
struct ali_processed_answer {
    struct al_ack_options options; /* points into the block */
    size_t size;
};

/* The stored answer of a message: 1 and *ret_answer, which ali_processed_answer_free() frees; 0: it
 * is not there; -AL_E_IO, -AL_E_DAMAGED, -AL_E_NOMEM. Any thread. */
int ali_processed_find(struct al_processed *processed, const struct al_message_id *id,
                       struct ali_processed_answer **ret_answer);
void ali_processed_answer_free(struct ali_processed_answer *answer);

#endif
