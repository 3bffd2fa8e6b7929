/* memory.h - the allocator of programs that really run: malloc, with an account. */
#ifndef AL_OS_MEMORY_H
#define AL_OS_MEMORY_H

#include "base/bytes.h"
#include <stdbool.h>

/* An allocator over malloc. `bytes` may be read at any time from any thread. */
struct al_memory {
    _Atomic size_t bytes; /* asked for and not freed */
    _Atomic size_t limit; /* 0: none; an allocation that would go beyond it fails */
};

/* The allocator that accounts in `memory`, which must outlive everything allocated. Thread-safe. */
struct al_alloc al_memory_alloc(struct al_memory *memory);

/* For whole programs, not for libraries: makes glibc keep one arena for all threads and give big
 * blocks back. Call first thing in main. A small daemon with four threads would otherwise hold
 * four half-empty heaps. */
void al_memory_tune(void);

#endif
