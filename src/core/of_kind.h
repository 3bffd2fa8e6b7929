/* of_kind.h - streams of messages that have the priority of their kind. */
#ifndef AL_CORE_OF_KIND_H
#define AL_CORE_OF_KIND_H

#include "core/internal.h"

/* The stream of these agents, this priority (with ALI_PRIORITY_UNORDERED: the unordered one) and
 * label, made if it is new. 0, -AL_E_LIMIT, -AL_E_DISK_FULL, -AL_E_NOMEM. */
int ali_stream_open(struct al_node *node, ali_ref from, ali_ref to, uint8_t priority,
                    struct al_str label, ali_ref *ret_stream);
/* The stream that differs from this one, which is no lane, by its priority, made if it is new; the
 * same one if the kind has no priority (AL_PRIORITY_NONE). Errors as above. */
int ali_stream_of_kind(struct al_node *node, ali_ref stream, uint8_t priority, ali_ref *ret_stream);
/* True if both streams are of the same sender, recipient and label. */
bool ali_is_sibling(const struct al_node *node, ali_ref a, ali_ref b);
/* The priority of a message without a channel: AL_PRIORITY_NONE stands for that of its kind. */
uint8_t ali_priority_of_kind(const struct al_node *node, uint8_t priority, struct al_str kind);

#endif
