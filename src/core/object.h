/* object.h - what all objects of the state have in common: references, lists, snapshots. */
#ifndef AL_CORE_OBJECT_H
#define AL_CORE_OBJECT_H

#include "base/index.h"
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

#endif
