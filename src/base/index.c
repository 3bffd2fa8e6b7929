/* index.c - open addressing, linear probing, backward-shift deletion. */
#include "base/index.h"
#include "base/errors.h"
#include <assert.h>

static uint32_t fold(uint64_t hash)
{
    return (uint32_t)((hash * 0x9e3779b97f4a7c15ull) >> 32);
}

void al_index_init(struct al_index *index, const struct al_alloc *alloc)
{
    *index = (struct al_index){.alloc = alloc};
}

static size_t bytes_of(const struct al_index *index)
{
    return index->slots ? ((size_t)index->mask + 1) * sizeof(*index->slots) : 0;
}

void al_index_deinit(struct al_index *index)
{
    al_alloc_free(index->alloc, index->slots, bytes_of(index));
    *index = (struct al_index){.alloc = index->alloc};
}

static void place(struct al_index_slot *slots, uint32_t mask, struct al_index_slot slot)
{
    uint32_t i = slot.tag & mask;

    while (slots[i].ref != AL_REF_NONE)
        i = (i + 1) & mask;
    slots[i] = slot;
}

static int grow(struct al_index *index, uint64_t slot_count)
{
    struct al_index_slot *slots;

    if (slot_count > UINT32_MAX / 2)
        return -AL_E_NOMEM;
    slots = al_alloc_new(index->alloc, slot_count * sizeof(*slots));
    if (!slots)
        return -AL_E_NOMEM;
    memset(slots, 0xff, slot_count * sizeof(*slots));
    for (uint64_t i = 0; index->slots && i <= index->mask; i++)
        if (index->slots[i].ref != AL_REF_NONE)
            place(slots, (uint32_t)slot_count - 1, index->slots[i]);
    al_alloc_free(index->alloc, index->slots, bytes_of(index));
    index->slots = slots;
    index->mask = (uint32_t)slot_count - 1;
    return 0;
}

int al_index_reserve(struct al_index *index, uint32_t more)
{
    uint64_t need = ((uint64_t)index->count + more) * 5 / 4 + 1, slots = 8;

    if (index->slots && need <= (uint64_t)index->mask + 1)
        return 0;
    while (slots < need)
        slots *= 2;
    return grow(index, slots);
}

uint32_t al_index_find(const struct al_index *index, uint64_t hash, al_index_eq_fn *eq,
                       const void *ctx)
{
    uint32_t tag = fold(hash);

    if (!index->slots)
        return AL_REF_NONE;
    for (uint32_t i = tag & index->mask;; i = (i + 1) & index->mask) {
        const struct al_index_slot *slot = &index->slots[i];

        if (slot->ref == AL_REF_NONE)
            return AL_REF_NONE;
        if (slot->tag == tag && eq(ctx, slot->ref))
            return slot->ref;
    }
}

void al_index_add(struct al_index *index, uint64_t hash, uint32_t ref)
{
    assert(index->slots && index->count <= index->mask);
    place(index->slots, index->mask, (struct al_index_slot){ref, fold(hash)});
    index->count++;
}

void al_index_remove(struct al_index *index, uint64_t hash, uint32_t ref)
{
    uint32_t mask = index->mask, hole = fold(hash) & mask, i;

    while (index->slots[hole].ref != ref) {
        assert(index->slots[hole].ref != AL_REF_NONE);
        hole = (hole + 1) & mask;
    }
    /* Close the hole: move back every later entry of the run that may stand there. */
    for (i = (hole + 1) & mask; index->slots[i].ref != AL_REF_NONE; i = (i + 1) & mask) {
        uint32_t home = index->slots[i].tag & mask;

        if (((i - home) & mask) >= ((i - hole) & mask)) {
            index->slots[hole] = index->slots[i];
            hole = i;
        }
    }
    index->slots[hole].ref = AL_REF_NONE;
    index->count--;
}
