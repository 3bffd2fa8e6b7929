/* support.h - what unit tests share: an allocator that counts and can fail, and seeded randomness.
 *
 * Every property test draws from al_test_random and prints its seed; AL_TEST_SEED=N repeats it. */
#ifndef AL_TEST_SUPPORT_H
#define AL_TEST_SUPPORT_H

#include "base/bytes.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* An allocator over malloc that checks sizes given back and can run out of memory. */
struct al_test_alloc {
    struct al_alloc alloc; /* give this to the code under test */
    size_t live_bytes;     /* allocated and not freed */
    size_t live_count;     /* blocks likewise */
    uint64_t calls;        /* allocations and growths asked for */
    uint64_t fail_at;      /* this call (counted from 1) and later ones fail; 0: none */
    bool fail_once;        /* only call number fail_at fails */
};

/* Ready to use, nothing fails. */
void al_test_alloc_init(struct al_test_alloc *test);

/* A small generator (splitmix64): the same sequence for the same seed on every machine. */
struct al_test_random {
    uint64_t state;
};

/* Seeds from AL_TEST_SEED or the clock and prints the seed as a TAP comment. */
struct al_test_random al_test_random_new(const char *what);
/* 64 random bits. */
uint64_t al_test_random64(struct al_test_random *random);
/* A number in [0, bound); bound must not be 0. */
uint64_t al_test_below(struct al_test_random *random, uint64_t bound);
/* A number with a random count of significant bits: small and huge values are equally likely. */
uint64_t al_test_any_size(struct al_test_random *random);
/* Fills n bytes. */
void al_test_fill(struct al_test_random *random, void *p, size_t n);

#endif
