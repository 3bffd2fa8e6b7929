/* recent.c - ring with hash chains. */
#include "base/recent.h"
#include "base/errors.h"
#include <assert.h>

/* A head holds its entry's number modulo this, plus 1: what is held spans less. */
#define HEAD_MODULUS 0xffffffffull

void al_recent_init(struct al_recent *recent, const struct al_alloc *alloc, size_t entry_size,
                    uint32_t limit)
{
    assert(limit > 0);
    *recent = (struct al_recent){
        .alloc = alloc, .entry_size = (uint32_t)((entry_size + 7) & ~7ull), .limit = limit};
}

static size_t stride(const struct al_recent *recent)
{
    return 8 + (size_t)recent->entry_size;
}

static uint8_t *slot_of(const struct al_recent *recent, uint64_t number)
{
    assert(recent->cap > 0);
    return recent->entries + (number % recent->cap) * stride(recent);
}

void al_recent_deinit(struct al_recent *recent)
{
    if (recent->cap) {
        al_alloc_free(recent->alloc, recent->entries, recent->cap * stride(recent));
        al_alloc_free(recent->alloc, recent->heads, ((size_t)recent->head_mask + 1) * 4);
    }
    al_recent_init(recent, recent->alloc, recent->entry_size, recent->limit);
}

void *al_recent_at(const struct al_recent *recent, uint64_t number)
{
    assert(number >= recent->first && number < recent->next);
    return slot_of(recent, number) + 8;
}

uint64_t al_recent_number(const struct al_recent *recent, const void *entry)
{
    uint64_t slot = (uint64_t)((const uint8_t *)entry - 8 - recent->entries) / stride(recent);
    uint64_t first_slot = recent->first % recent->cap;

    return recent->first + (slot + recent->cap - first_slot) % recent->cap;
}

/* The newest number that the head can mean, plus 1; 0: none. One that was overwritten so long ago
 * that it looks like a newer one leads into another chain, where nothing equals. */
static uint64_t number_of(const struct al_recent *recent, uint32_t head)
{
    uint64_t newest = recent->next - 1;
    uint64_t back = (newest % HEAD_MODULUS + HEAD_MODULUS + 1 - head) % HEAD_MODULUS;

    return head ? newest - back + 1 : 0;
}

static void link_in(struct al_recent *recent, uint64_t hash, uint64_t number)
{
    uint32_t *head = &recent->heads[hash & recent->head_mask];
    uint64_t before;

    before = number_of(recent, *head);
    al_put64(slot_of(recent, number), before <= number ? before : 0); /* never itself */
    *head = (uint32_t)(number % HEAD_MODULUS + 1);
}

static int grow(struct al_recent *recent, uint64_t need, al_recent_hash_fn *hash, const void *ctx)
{
    struct al_recent bigger = *recent;
    uint64_t heads = 64, cap = recent->cap ? recent->cap : 64;

    while (cap < need)
        cap *= 2;
    bigger.cap = cap < recent->limit ? (uint32_t)cap : recent->limit;
    while (heads < bigger.cap)
        heads *= 2;
    bigger.head_mask = (uint32_t)heads - 1;
    bigger.entries = al_alloc_new(recent->alloc, bigger.cap * stride(recent));
    bigger.heads = al_alloc_zero(recent->alloc, heads * 4);
    if (!bigger.entries || !bigger.heads) {
        al_alloc_free(recent->alloc, bigger.entries, bigger.cap * stride(recent));
        al_alloc_free(recent->alloc, bigger.heads, heads * 4);
        return -AL_E_NOMEM;
    }
    for (uint64_t n = recent->first; n < recent->next; n++) {
        memcpy(slot_of(&bigger, n) + 8, al_recent_at(recent, n), recent->entry_size);
        link_in(&bigger, hash(ctx, al_recent_at(recent, n)), n);
    }
    if (recent->cap) {
        al_alloc_free(recent->alloc, recent->entries, recent->cap * stride(recent));
        al_alloc_free(recent->alloc, recent->heads, ((size_t)recent->head_mask + 1) * 4);
    }
    *recent = bigger;
    return 0;
}

int al_recent_reserve(struct al_recent *recent, uint32_t count, al_recent_hash_fn *hash,
                      const void *ctx)
{
    uint64_t need = recent->next - recent->first + count;

    if (need <= recent->cap || recent->cap == recent->limit)
        return 0;
    return grow(recent, need, hash, ctx);
}

void al_recent_prefetch(const struct al_recent *recent, uint64_t hash)
{
    if (recent->cap)
        __builtin_prefetch(&recent->heads[hash & recent->head_mask], 1);
}

void *al_recent_add(struct al_recent *recent, uint64_t hash)
{
    uint64_t number = recent->next++;
    uint8_t *slot;

    assert(recent->cap > 0);
    if (recent->next - recent->first > recent->cap)
        recent->first++;
    link_in(recent, hash, number);
    slot = slot_of(recent, number);
    memset(slot + 8, 0, recent->entry_size);
    return slot + 8;
}

void *al_recent_find(const struct al_recent *recent, uint64_t hash, al_recent_eq_fn *eq,
                     const void *ctx)
{
    uint64_t link;

    if (!recent->cap || recent->next == recent->first)
        return NULL;
    link = number_of(recent, recent->heads[hash & recent->head_mask]);
    /* Numbers fall along the chain, so it ends at the first that was overwritten. */
    while (link != 0 && link - 1 >= recent->first) {
        uint8_t *slot = slot_of(recent, link - 1);

        if (eq(ctx, slot + 8))
            return slot + 8;
        link = al_get64(slot);
    }
    return NULL;
}

void al_recent_reset(struct al_recent *recent, uint64_t first)
{
    assert(recent->next == recent->first);
    recent->first = recent->next = first;
}
