/* deliver.h - what deliver.c and backlog.c share. */
#ifndef AL_CORE_DELIVER_H
#define AL_CORE_DELIVER_H

#include "core/internal.h"

/* What is known of a message that is about to be pushed. */
struct ali_parcel {
    const struct ali_rec_publish *record;
    uint64_t seq; /* may differ from the record's: redriven, or scheduled */
    uint16_t kind;
    const struct ali_rec_group_post *post; /* NULL, or what a group's record says besides */
    uint32_t number;                       /* in its workflow, 0 */
};

/* True if the receiver is there and may get one more message. */
bool ali_has_credit(const struct al_node *node, const struct ali_receiver *receiver);
/* Gives the message under the stream's cursor to the stream's receiver. 0; -AL_E_NOMEM;
 * -AL_E_DAMAGED; -AL_E_BUSY: a breaker holds it. */
int ali_push(struct al_node *node, ali_ref stream, const struct ali_parcel *parcel);
/* Sends the DELIVER of what is out at this index. */
void ali_send_deliver(struct al_node *node, const struct ali_stream *stream, uint32_t index,
                      const struct ali_parcel *parcel);

#endif
