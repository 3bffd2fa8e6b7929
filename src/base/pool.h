/* pool.h - fixed-size entries with stable addresses and small references.
 *
 * Entries live in blocks that never move; a reference is the entry's number, so that tables can
 * hold 4 bytes instead of a pointer and a snapshot can walk all entries by number while others
 * are added and removed. Freed entries are reused, last freed first: deterministic. */
#ifndef AL_BASE_POOL_H
#define AL_BASE_POOL_H

#include "base/bytes.h"
#include "base/index.h"
#include <stdbool.h>

/* References are smaller: whoever names entries of several pools has four bits to say of which. */
#define AL_POOL_REF_BITS    28u
#define AL_POOL_ENTRIES_MAX (1u << AL_POOL_REF_BITS)

struct al_pool {
    uint8_t **blocks;
    uint64_t *used; /* one bit per entry */
    uint32_t block_count;
    uint32_t block_cap;   /* room in `blocks` */
    uint32_t block_shift; /* entries per block = 1 << block_shift */
    uint32_t entry_size;
    uint32_t end;       /* one past the highest entry ever used */
    uint32_t count;     /* entries in use */
    uint32_t free_head; /* list through the first 4 bytes of free entries */
    const struct al_alloc *alloc;
};

/* Entries of entry_size bytes (at least 4), 1 << block_shift of them per block (at least 6). */
void al_pool_init(struct al_pool *pool, const struct al_alloc *alloc, size_t entry_size,
                  unsigned block_shift);
/* Frees all blocks; afterwards it is an empty pool again. */
void al_pool_deinit(struct al_pool *pool);
/* Makes sure that `more` al_pool_take cannot fail. 0 or -AL_E_NOMEM. */
int al_pool_reserve(struct al_pool *pool, uint32_t more);
/* A zeroed entry; room must have been reserved. */
uint32_t al_pool_take(struct al_pool *pool);
/* Gives back an entry that is in use. */
void al_pool_put(struct al_pool *pool, uint32_t ref);

/* The entry's memory; valid until al_pool_deinit. ref must be below pool->end. */
static inline void *al_pool_at(const struct al_pool *pool, uint32_t ref)
{
    uint32_t in_block = ref & ((1u << pool->block_shift) - 1);

    return pool->blocks[ref >> pool->block_shift] + (size_t)in_block * pool->entry_size;
}
/* True if this entry is in use; any ref may be asked for. */
static inline bool al_pool_has(const struct al_pool *pool, uint32_t ref)
{
    return ref < pool->end && (pool->used[ref >> 6] >> (ref & 63) & 1);
}

#endif
