/* index.c - open addressing, linear probing, backward-shift deletion. */
#include "base/index.h"
#include "base/errors.h"
#include <assert.h>

#define SLOTS_MIN   8u
#define GROWTH_PART 4u /* the index grows by this part of itself */

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
    return (size_t)index->slot_count * sizeof(*index->slots);
}

void al_index_deinit(struct al_index *index)
{
    al_alloc_free(index->alloc, index->slots, bytes_of(index));
    *index = (struct al_index){.alloc = index->alloc};
}

static uint32_t home_of(uint32_t slot_count, uint32_t tag)
{
    return (uint32_t)((uint64_t)tag * slot_count >> 32);
}

static uint32_t after(uint32_t slot_count, uint32_t i)
{
    return i + 1 < slot_count ? i + 1 : 0;
}

/* Slots from one forward to the other. */
static uint32_t distance(uint32_t slot_count, uint32_t from, uint32_t to)
{
    return to >= from ? to - from : to + slot_count - from;
}

static void place(struct al_index_slot *slots, uint32_t slot_count, struct al_index_slot slot)
{
    uint32_t i = home_of(slot_count, slot.tag);

    while (slots[i].ref != AL_REF_NONE)
        i = after(slot_count, i);
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
    for (uint32_t i = 0; i < index->slot_count; i++)
        if (index->slots[i].ref != AL_REF_NONE)
            place(slots, (uint32_t)slot_count, index->slots[i]);
    al_alloc_free(index->alloc, index->slots, bytes_of(index));
    index->slots = slots;
    index->slot_count = (uint32_t)slot_count;
    return 0;
}

int al_index_reserve(struct al_index *index, uint32_t more)
{
    uint64_t need = ((uint64_t)index->count + more) * 5 / 4 + 1;
    uint64_t slots = index->slot_count + index->slot_count / GROWTH_PART;

    if (need <= index->slot_count)
        return 0;
    if (slots < SLOTS_MIN)
        slots = SLOTS_MIN;
    return grow(index, slots < need ? need : slots);
}

uint32_t al_index_find(const struct al_index *index, uint64_t hash, al_index_eq_fn *eq,
                       const void *ctx)
{
    uint32_t tag = fold(hash);

    if (!index->slots)
        return AL_REF_NONE;
    for (uint32_t i = home_of(index->slot_count, tag);; i = after(index->slot_count, i)) {
        const struct al_index_slot *slot = &index->slots[i];

        if (slot->ref == AL_REF_NONE)
            return AL_REF_NONE;
        if (slot->tag == tag && eq(ctx, slot->ref))
            return slot->ref;
    }
}

void al_index_add(struct al_index *index, uint64_t hash, uint32_t ref)
{
    assert(index->count + 1 < index->slot_count); /* one stays empty: a search ends there */
    place(index->slots, index->slot_count, (struct al_index_slot){ref, fold(hash)});
    index->count++;
}

void al_index_remove(struct al_index *index, uint64_t hash, uint32_t ref)
{
    uint32_t slot_count = index->slot_count, hole = home_of(slot_count, fold(hash)), i;

    while (index->slots[hole].ref != ref) {
        assert(index->slots[hole].ref != AL_REF_NONE);
        hole = after(slot_count, hole);
    }
    /* Close the hole: move back every later entry of the run that may stand there. */
    for (i = after(slot_count, hole); index->slots[i].ref != AL_REF_NONE;
         i = after(slot_count, i)) {
        uint32_t home = home_of(slot_count, index->slots[i].tag);

        if (distance(slot_count, home, i) >= distance(slot_count, hole, i)) {
            index->slots[hole] = index->slots[i];
            hole = i;
        }
    }
    index->slots[hole].ref = AL_REF_NONE;
    index->count--;
}
