/* support.c - counting allocator and seeded randomness of the unit tests. */
#include "support.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static bool must_fail(struct al_test_alloc *test)
{
    test->calls++;
    if (!test->fail_at)
        return false;
    return test->fail_once ? test->calls == test->fail_at : test->calls >= test->fail_at;
}

/* Each block carries its size in front, so that a wrong old_size is caught on the spot. */
static void *counted_realloc(void *ctx, void *ptr, size_t old_size, size_t new_size)
{
    struct al_test_alloc *test = ctx;
    uint64_t *head = ptr ? (uint64_t *)ptr - 2 : NULL;

    assert(!head || head[0] == old_size);
    if (new_size == 0) {
        if (head) {
            test->live_bytes -= old_size;
            test->live_count--;
        }
        free(head);
        return NULL;
    }
    if (must_fail(test))
        return NULL;
    head = realloc(head, 16 + new_size);
    assert(head);
    if (new_size > old_size) /* garbage, so that nobody relies on zeroes */
        memset((uint8_t *)(head + 2) + old_size, 0xa5, new_size - old_size);
    head[0] = new_size;
    test->live_bytes += new_size - old_size;
    test->live_count += ptr ? 0 : 1;
    return head + 2;
}

void al_test_alloc_init(struct al_test_alloc *test)
{
    *test = (struct al_test_alloc){.alloc = {.realloc_fn = counted_realloc, .ctx = test}};
}

struct al_test_random al_test_random_new(const char *what)
{
    const char *text = getenv("AL_TEST_SEED");
    struct timespec now;
    uint64_t seed;

    if (text) {
        seed = strtoull(text, NULL, 0);
    } else {
        clock_gettime(CLOCK_REALTIME, &now);
        seed = (uint64_t)now.tv_sec * 1000000007u + (uint64_t)now.tv_nsec;
    }
    printf("# %s: AL_TEST_SEED=%llu\n", what, (unsigned long long)seed);
    fflush(stdout);
    return (struct al_test_random){seed};
}

uint64_t al_test_random64(struct al_test_random *random)
{
    uint64_t z = (random->state += 0x9e3779b97f4a7c15u);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint64_t al_test_below(struct al_test_random *random, uint64_t bound)
{
    return al_test_random64(random) % bound;
}

uint64_t al_test_any_size(struct al_test_random *random)
{
    return al_test_random64(random) >> al_test_below(random, 64);
}

void al_test_fill(struct al_test_random *random, void *p, size_t n)
{
    uint8_t *out = p;

    for (size_t i = 0; i < n; i++)
        out[i] = (uint8_t)al_test_random64(random);
}
