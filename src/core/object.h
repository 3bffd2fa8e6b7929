/* object.h - what objects of the state have in common: references, lists, snapshots, widths. */
#ifndef AL_CORE_OBJECT_H
#define AL_CORE_OBJECT_H

#include "base/index.h"
#include "base/limits.h"
#include <stdint.h>

/* Place of an object in its pool; AL_REF_NONE: none. */
typedef uint32_t ali_ref;

/* A doubly linked list of objects of one pool, through a pair of references. */
struct ali_link {
    ali_ref prev, next; /* AL_REF_NONE at the ends */
};
struct ali_list {
    ali_ref head, tail;
};

/* First field of every object that snapshots contain: the snapshot that has it already. */
struct ali_object {
    uint32_t snapshot;
};

/* Of marks and scheduled messages a node may hold millions, and each costs an entry of an index as
 * well (10 to 12.5 bytes); so their durable halves have no gaps. Bits that a number needs: */
#define ALI_NUMBER_BITS 52 /* LSN or producer: thirty years at 4 million a second */
#define ALI_TIME_BITS   46 /* wall clock in ms: until the year 4199 */
#define ALI_BYTES_BITS  25 /* size of a payload */
#define ALI_NUMBER_MAX  ((1ull << ALI_NUMBER_BITS) - 1)
#define ALI_TIME_MAX    ((1ull << ALI_TIME_BITS) - 1)
_Static_assert(AL_PAYLOAD_MAX < 1u << ALI_BYTES_BITS, "every payload can be counted");
#define ALI_DENSE __attribute__((packed, aligned(4)))

/* A wall-clock time as far as a mark or a scheduled message can hold it. */
static inline uint64_t ali_time_held(uint64_t wall_ms)
{
    return wall_ms < ALI_TIME_MAX ? wall_ms : ALI_TIME_MAX;
}

#endif
