/* numbers.c - what has become of the numbers of one workflow: bits in blocks.
 *
 * A number is PROCESSED when no plane of its block has its bit, or when its block is not there. So
 * a block goes with the last of its numbers that was anything else, and neither the order in which
 * messages end nor their count makes more than three bits per number. */
#include "core/internal.h"

#define BLOCK sizeof(struct ali_number_block)

/* Index of the first block that is not before `base`. */
static uint32_t find_block(const struct ali_workflow *workflow, uint32_t base)
{
    uint32_t low = 0, high = workflow->d.block_count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (workflow->d.blocks[middle].base < base)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool has_block(const struct ali_workflow *workflow, uint32_t index, uint32_t base)
{
    return index < workflow->d.block_count && workflow->d.blocks[index].base == base;
}

unsigned ali_block_state(const struct ali_number_block *block, uint32_t bit)
{
    unsigned state = 0;

    for (unsigned plane = 0; plane < ALI_BLOCK_PLANES; plane++)
        state |= (unsigned)(block->planes[plane][bit / 64] >> bit % 64 & 1) << plane;
    return state;
}

static void put_bits(struct ali_number_block *block, uint32_t bit, unsigned state)
{
    for (unsigned plane = 0; plane < ALI_BLOCK_PLANES; plane++) {
        uint64_t one = 1ull << bit % 64;

        if (state >> plane & 1)
            block->planes[plane][bit / 64] |= one;
        else
            block->planes[plane][bit / 64] &= ~one;
    }
}

static bool is_clear(const struct ali_number_block *block)
{
    uint64_t any = 0;

    for (unsigned plane = 0; plane < ALI_BLOCK_PLANES; plane++)
        any |= block->planes[plane][0] | block->planes[plane][1];
    return any == 0;
}

bool ali_numbers_grow(const struct ali_workflow *workflow)
{
    uint32_t count = workflow->d.block_count;

    return !count ||
           workflow->d.blocks[count - 1].base != (workflow->d.allocated + 1) / ALI_BLOCK_NUMBERS;
}

int ali_numbers_reserve(struct al_node *node, struct ali_workflow *workflow)
{
    uint32_t cap = workflow->d.block_cap ? workflow->d.block_cap * 2 : 1;
    struct ali_number_block *blocks;

    if (!ali_numbers_grow(workflow) || workflow->d.block_count < workflow->d.block_cap)
        return 0;
    blocks = node->alloc.realloc_fn(node->alloc.ctx, workflow->d.blocks,
                                    workflow->d.block_cap * BLOCK, cap * BLOCK);
    if (!blocks)
        return -AL_E_NOMEM;
    workflow->d.blocks = blocks;
    workflow->d.block_cap = cap;
    return 0;
}

static void remove_block(struct al_node *node, struct ali_workflow *workflow, uint32_t index)
{
    struct ali_number_block *block = &workflow->d.blocks[index];

    workflow->d.block_count--;
    node->flows.blocks--;
    memmove(block, block + 1, (workflow->d.block_count - index) * BLOCK);
    if (workflow->d.block_count)
        return;
    al_alloc_free(&node->alloc, workflow->d.blocks, workflow->d.block_cap * BLOCK);
    workflow->d.blocks = NULL;
    workflow->d.block_cap = 0;
}

static void insert_block(struct al_node *node, struct ali_workflow *workflow, uint32_t index,
                         uint32_t base)
{
    struct ali_number_block *block = &workflow->d.blocks[index];

    memmove(block + 1, block, (workflow->d.block_count - index) * BLOCK);
    memset(block, 0, BLOCK);
    block->base = base;
    workflow->d.block_count++;
    node->flows.blocks++;
}

unsigned ali_number_get(const struct ali_workflow *workflow, uint32_t number)
{
    uint32_t base = number / ALI_BLOCK_NUMBERS, index = find_block(workflow, base);

    return has_block(workflow, index, base)
               ? ali_block_state(&workflow->d.blocks[index], number % ALI_BLOCK_NUMBERS)
               : ALI_NUMBER_PROCESSED;
}

void ali_number_set(struct al_node *node, struct ali_workflow *workflow, uint32_t number,
                    unsigned state)
{
    uint32_t base = number / ALI_BLOCK_NUMBERS, index = find_block(workflow, base);
    unsigned old = ali_number_get(workflow, number);

    if (state == old)
        return;
    if (!has_block(workflow, index, base))
        insert_block(node, workflow, index, base);
    put_bits(&workflow->d.blocks[index], number % ALI_BLOCK_NUMBERS, state);
    if (is_clear(&workflow->d.blocks[index]))
        remove_block(node, workflow, index);
}

/* The numbers of half a block that are in this state, as bits. */
static uint64_t bits_in(const struct ali_number_block *block, unsigned half, unsigned state)
{
    uint64_t bits = UINT64_MAX;

    for (unsigned plane = 0; plane < ALI_BLOCK_PLANES; plane++)
        bits &= state >> plane & 1 ? block->planes[plane][half] : ~block->planes[plane][half];
    return bits;
}

/* By hand: the compiler's own is a call into its library where the processor is not known. */
static unsigned count_bits(uint64_t bits)
{
    unsigned count = 0;

    for (; bits; bits &= bits - 1)
        count++;
    return count;
}

bool ali_numbers_pend(const struct ali_workflow *workflow)
{
    for (uint32_t i = 0; i < workflow->d.block_count; i++)
        for (unsigned half = 0; half < ALI_BLOCK_NUMBERS / 64; half++)
            if (bits_in(&workflow->d.blocks[i], half, ALI_NUMBER_PENDING))
                return true;
    return false;
}

void ali_numbers_count(const struct ali_workflow *workflow, uint64_t counts[ALI_NUMBER_STATES])
{
    memset(counts, 0, ALI_NUMBER_STATES * sizeof(counts[0]));
    for (uint32_t i = 0; i < workflow->d.block_count; i++)
        for (unsigned state = 1; state < ALI_NUMBER_STATES; state++)
            for (unsigned half = 0; half < ALI_BLOCK_NUMBERS / 64; half++)
                counts[state] += count_bits(bits_in(&workflow->d.blocks[i], half, state));
    counts[ALI_NUMBER_PROCESSED] = workflow->d.allocated;
    for (unsigned state = 1; state < ALI_NUMBER_STATES; state++)
        counts[ALI_NUMBER_PROCESSED] -= counts[state];
}

/* The last number of the stretch in this state that `number`, which is in the block, belongs to. */
static uint64_t stretch_end(const struct ali_workflow *workflow, uint32_t index, uint64_t number,
                            unsigned state)
{
    for (; index < workflow->d.block_count; index++) {
        const struct ali_number_block *block = &workflow->d.blocks[index];
        uint64_t base = (uint64_t)block->base * ALI_BLOCK_NUMBERS;

        for (; number >= base && number < base + ALI_BLOCK_NUMBERS; number++)
            if (ali_block_state(block, (uint32_t)(number - base)) != state)
                return number - 1;
        if (number < base)
            break;
    }
    return number - 1;
}

bool ali_numbers_next(const struct ali_workflow *workflow, uint64_t *first, uint64_t *ret_last,
                      unsigned *ret_state)
{
    uint64_t number = *first ? *first : 1;
    uint32_t index;

    if (number > workflow->d.allocated)
        return false;
    index = find_block(workflow, (uint32_t)(number / ALI_BLOCK_NUMBERS));
    for (; index < workflow->d.block_count; index++) {
        const struct ali_number_block *block = &workflow->d.blocks[index];
        uint64_t base = (uint64_t)block->base * ALI_BLOCK_NUMBERS;

        if (number < base)
            number = base;
        for (; number < base + ALI_BLOCK_NUMBERS; number++) {
            unsigned state = ali_block_state(block, (uint32_t)(number - base));

            if (!state)
                continue;
            *first = number;
            *ret_last = stretch_end(workflow, index, number, state);
            *ret_state = state;
            return true;
        }
    }
    return false;
}
