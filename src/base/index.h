/* index.h - a hash index: from a 64-bit hash to 32-bit references into somebody else's table.
 *
 * Open addressing with linear probing and backward-shift deletion. The index stores the upper hash
 * bits beside each reference, so that growing needs no key and a probe rarely looks at one. It
 * grows by a quarter, not to the next power of two: an entry costs 10 to 12.5 bytes, and growing
 * writes the new slots from the first to the last, because all stand in the order of their tags.
 * The caller hashes keys that others choose with a seeded function (crypto/hash.h), numbers of its
 * own with any that mixes well, and compares them in `eq`. */
#ifndef AL_BASE_INDEX_H
#define AL_BASE_INDEX_H

#include "base/bytes.h"
#include <stdbool.h>

#define AL_REF_NONE UINT32_MAX

struct al_index_slot {
    uint32_t ref; /* AL_REF_NONE: empty */
    uint32_t tag; /* the hash folded to 32 bits: its home is that part of the way through */
};

struct al_index {
    struct al_index_slot *slots;
    uint32_t slot_count; /* 0 before the first insertion */
    uint32_t count;
    const struct al_alloc *alloc;
};

/* Compares the key that `ctx` describes with the entry `ref`. */
typedef bool al_index_eq_fn(const void *ctx, uint32_t ref);

/* An empty index; allocates nothing. */
void al_index_init(struct al_index *index, const struct al_alloc *alloc);
/* Frees; afterwards it is an empty index again. */
void al_index_deinit(struct al_index *index);
/* Makes sure that `more` insertions cannot fail. 0 or -AL_E_NOMEM. */
int al_index_reserve(struct al_index *index, uint32_t more);
/* The reference whose key equals, or AL_REF_NONE. */
uint32_t al_index_find(const struct al_index *index, uint64_t hash, al_index_eq_fn *eq,
                       const void *ctx);
/* Adds a reference that is not there yet; room must have been reserved. */
void al_index_add(struct al_index *index, uint64_t hash, uint32_t ref);
/* Removes exactly this reference; it must be there. */
void al_index_remove(struct al_index *index, uint64_t hash, uint32_t ref);

#endif
