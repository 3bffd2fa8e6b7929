/* pool.c - blocks of fixed-size entries. */
#include "base/pool.h"
#include "base/errors.h"
#include <assert.h>

void al_pool_init(struct al_pool *pool, const struct al_alloc *alloc, size_t entry_size,
                  unsigned block_shift)
{
    assert(entry_size >= 4 && block_shift >= 6 && block_shift < 24);
    *pool = (struct al_pool){.alloc = alloc,
                             .entry_size = (uint32_t)((entry_size + 7) & ~7ull),
                             .block_shift = block_shift,
                             .free_head = AL_REF_NONE};
}

static size_t block_bytes(const struct al_pool *pool)
{
    return (size_t)pool->entry_size << pool->block_shift;
}

static size_t used_bytes(const struct al_pool *pool, uint32_t blocks)
{
    return ((size_t)blocks << pool->block_shift) / 8;
}

void al_pool_deinit(struct al_pool *pool)
{
    for (uint32_t i = 0; i < pool->block_count; i++)
        al_alloc_free(pool->alloc, pool->blocks[i], block_bytes(pool));
    al_alloc_free(pool->alloc, pool->blocks, pool->block_cap * sizeof(*pool->blocks));
    al_alloc_free(pool->alloc, pool->used, used_bytes(pool, pool->block_cap));
    al_pool_init(pool, pool->alloc, pool->entry_size, pool->block_shift);
}

static int grow_tables(struct al_pool *pool)
{
    uint32_t cap = pool->block_cap ? pool->block_cap * 2 : 4;
    const struct al_alloc *alloc = pool->alloc;
    uint8_t **blocks = al_alloc_zero(alloc, cap * sizeof(*blocks));
    uint64_t *used = al_alloc_zero(alloc, used_bytes(pool, cap));

    if (!blocks || !used) {
        al_alloc_free(alloc, blocks, cap * sizeof(*blocks));
        al_alloc_free(alloc, used, used_bytes(pool, cap));
        return -AL_E_NOMEM;
    }
    if (pool->block_count) {
        memcpy(blocks, pool->blocks, pool->block_count * sizeof(*blocks));
        memcpy(used, pool->used, used_bytes(pool, pool->block_count));
    }
    al_alloc_free(alloc, pool->blocks, pool->block_cap * sizeof(*blocks));
    al_alloc_free(alloc, pool->used, used_bytes(pool, pool->block_cap));
    pool->blocks = blocks;
    pool->used = used;
    pool->block_cap = cap;
    return 0;
}

static int add_block(struct al_pool *pool)
{
    uint8_t *block;
    int r;

    if (pool->block_count >= (AL_POOL_ENTRIES_MAX >> pool->block_shift))
        return -AL_E_NOMEM;
    if (pool->block_count == pool->block_cap) {
        r = grow_tables(pool);
        if (r < 0)
            return r;
    }
    block = al_alloc_new(pool->alloc, block_bytes(pool));
    if (!block)
        return -AL_E_NOMEM;
    pool->blocks[pool->block_count++] = block;
    return 0;
}

int al_pool_reserve(struct al_pool *pool, uint32_t more)
{
    uint64_t need = (uint64_t)pool->count + more;

    while (((uint64_t)pool->block_count << pool->block_shift) < need) {
        int r = add_block(pool);

        if (r < 0)
            return r;
    }
    return 0;
}

static void mark(struct al_pool *pool, uint32_t ref)
{
    pool->used[ref >> 6] |= 1ull << (ref & 63);
    pool->count++;
    memset(al_pool_at(pool, ref), 0, pool->entry_size);
}

uint32_t al_pool_take(struct al_pool *pool)
{
    uint32_t ref = pool->free_head;

    if (ref != AL_REF_NONE) {
        pool->free_head = al_get32(al_pool_at(pool, ref));
    } else {
        assert(pool->end < ((uint64_t)pool->block_count << pool->block_shift));
        ref = pool->end++;
    }
    mark(pool, ref);
    return ref;
}

void al_pool_put(struct al_pool *pool, uint32_t ref)
{
    assert(al_pool_has(pool, ref));
    pool->used[ref >> 6] &= ~(1ull << (ref & 63));
    pool->count--;
    al_put32(al_pool_at(pool, ref), pool->free_head);
    pool->free_head = ref;
}
