/* memory.c - malloc and free behind struct al_alloc.
 *
 * The account is one relaxed atomic: it is a figure for people and a limit against runaway growth,
 * nothing is ordered by it. */
#include "os/memory.h"

#include <malloc.h>
#include <stdatomic.h>
#include <stdlib.h>

/* Grows the account by `more`; false if the limit forbids it. */
static bool charge(struct al_memory *memory, size_t more)
{
    size_t limit = atomic_load_explicit(&memory->limit, memory_order_relaxed);
    size_t before = atomic_fetch_add_explicit(&memory->bytes, more, memory_order_relaxed);

    if (limit == 0 || before + more <= limit)
        return true;
    atomic_fetch_sub_explicit(&memory->bytes, more, memory_order_relaxed);
    return false;
}

static void *memory_realloc(void *ctx, void *ptr, size_t old_size, size_t new_size)
{
    struct al_memory *memory = ctx;
    void *fresh;

    if (new_size == 0) {
        free(ptr);
        atomic_fetch_sub_explicit(&memory->bytes, old_size, memory_order_relaxed);
        return NULL;
    }
    if (new_size > old_size && !charge(memory, new_size - old_size))
        return NULL;
    fresh = realloc(ptr, new_size);
    if (!fresh) {
        if (new_size > old_size)
            atomic_fetch_sub_explicit(&memory->bytes, new_size - old_size, memory_order_relaxed);
        return NULL;
    }
    if (new_size < old_size)
        atomic_fetch_sub_explicit(&memory->bytes, old_size - new_size, memory_order_relaxed);
    return fresh;
}

struct al_alloc al_memory_alloc(struct al_memory *memory)
{
    return (struct al_alloc){.realloc_fn = memory_realloc, .ctx = memory};
}

void al_memory_tune(void)
{
    mallopt(M_ARENA_MAX, 1);
    /* Fixed thresholds: glibc would otherwise raise them with every big block that is freed, and
     * keep ever more at the top of the heap. */
    mallopt(M_MMAP_THRESHOLD, 1 << 20);
    mallopt(M_TRIM_THRESHOLD, 4 << 20);
}
