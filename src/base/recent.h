/* recent.h - the last N things that happened, found by hash.
 *
 * A ring of fixed-size entries with hash chains through it. Entries are numbered 0, 1, 2 …; entry
 * n stands in slot n % cap. A chain runs from newer to older, so the first link that points at a
 * number already overwritten ends it: eviction needs no unlinking and an insertion touches one
 * random cache line. The ring grows up to its limit, so that an idle node pays nothing. */
#ifndef AL_BASE_RECENT_H
#define AL_BASE_RECENT_H

#include "base/bytes.h"
#include <stdbool.h>

struct al_recent {
    uint8_t *entries; /* cap × (8-byte link + entry_size) */
    uint32_t *heads;  /* head_mask + 1 entry numbers, see HEAD_MODULUS in recent.c; 0: none */
    uint64_t first;   /* oldest number still held */
    uint64_t next;    /* number of the next entry */
    uint32_t cap;     /* slots now: a power of two until the limit is reached */
    uint32_t limit;   /* slots at most */
    uint32_t head_mask;
    uint32_t entry_size;
    const struct al_alloc *alloc;
};

/* Compares the key that `ctx` describes with an entry. */
typedef bool al_recent_eq_fn(const void *ctx, const void *entry);
/* The hash that was used when `entry` was added: needed to rebuild chains when the ring grows. */
typedef uint64_t al_recent_hash_fn(const void *ctx, const void *entry);

/* An empty ring of at most `limit` entries of entry_size bytes; allocates nothing. */
void al_recent_init(struct al_recent *recent, const struct al_alloc *alloc, size_t entry_size,
                    uint32_t limit);
/* Frees; afterwards it is an empty ring again. */
void al_recent_deinit(struct al_recent *recent);
/* Makes sure that `count` al_recent_add cannot fail and that none drops an entry before the limit
 * is reached: what is held depends on what was added, not on how the ring grew. 0, -AL_E_NOMEM. */
int al_recent_reserve(struct al_recent *recent, uint32_t count, al_recent_hash_fn *hash,
                      const void *ctx);
/* Tells the processor that an entry with this hash will be added soon: its chain begins at a random
 * place in memory. */
void al_recent_prefetch(const struct al_recent *recent, uint64_t hash);
/* Adds an entry at the front and returns its room (zeroed); the oldest falls out at the limit. */
void *al_recent_add(struct al_recent *recent, uint64_t hash);
/* The newest entry that equals, or NULL. */
void *al_recent_find(const struct al_recent *recent, uint64_t hash, al_recent_eq_fn *eq,
                     const void *ctx);
/* Entry by number; first <= number < next. */
void *al_recent_at(const struct al_recent *recent, uint64_t number);
/* The number of an entry that is held. */
uint64_t al_recent_number(const struct al_recent *recent, const void *entry);
/* Starts empty at this number (loading a snapshot). */
void al_recent_reset(struct al_recent *recent, uint64_t first);

#endif
