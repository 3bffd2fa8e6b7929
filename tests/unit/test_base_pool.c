/* test_base_pool.c - the pool against a naive model; stable addresses; rebuilding the free list. */
#include "base/errors.h"
#include "base/pool.h"
#include "support.h"

#define ENTRIES 2000u

struct entry {
    uint64_t value, check;
};

static void fill(struct al_pool *pool, uint32_t ref, uint64_t value)
{
    struct entry *entry = al_pool_at(pool, ref);

    assert_true(entry->value == 0 && entry->check == 0); /* handed out zeroed */
    *entry = (struct entry){value, ~value};
}

static void behaves_like_an_array(void **state)
{
    struct al_test_random random = al_test_random_new("pool");
    static uint64_t model[ENTRIES]; /* 0: free */
    static struct entry *address[ENTRIES];
    struct al_test_alloc test;
    struct al_pool pool;
    uint32_t count = 0;

    (void)state;
    memset(model, 0, sizeof(model));
    memset(address, 0, sizeof(address));
    al_test_alloc_init(&test);
    al_pool_init(&pool, &test.alloc, sizeof(struct entry), 6);
    for (uint64_t i = 1; i < 30000; i++) {
        uint32_t ref = (uint32_t)al_test_below(&random, ENTRIES);

        if (al_pool_has(&pool, ref)) {
            const struct entry *entry = al_pool_at(&pool, ref);

            assert_true(entry->value == model[ref] && entry->check == ~model[ref]);
            assert_ptr_equal(entry, address[ref]); /* entries never move */
            al_pool_put(&pool, ref);
            model[ref] = 0;
            count--;
        } else if (count < ENTRIES / 2) {
            assert_int_equal(al_pool_reserve(&pool, 1), 0);
            ref = al_pool_take(&pool);
            assert_true(ref < ENTRIES && model[ref] == 0);
            fill(&pool, ref, i);
            model[ref] = i;
            address[ref] = al_pool_at(&pool, ref);
            count++;
        }
        assert_int_equal(pool.count, count);
    }
    for (uint32_t ref = 0; ref < ENTRIES; ref++)
        assert_int_equal(al_pool_has(&pool, ref), model[ref] != 0);
    al_pool_deinit(&pool);
    assert_int_equal(test.live_bytes, 0);
}

static void last_freed_is_reused_first(void **state)
{
    struct al_test_alloc test;
    struct al_pool pool;

    (void)state;
    al_test_alloc_init(&test);
    al_pool_init(&pool, &test.alloc, 8, 6);
    assert_int_equal(al_pool_reserve(&pool, 10), 0);
    for (uint32_t i = 0; i < 10; i++)
        assert_int_equal(al_pool_take(&pool), i);
    al_pool_put(&pool, 3);
    al_pool_put(&pool, 7);
    assert_int_equal(al_pool_reserve(&pool, 3), 0);
    assert_int_equal(al_pool_take(&pool), 7);
    assert_int_equal(al_pool_take(&pool), 3);
    assert_int_equal(al_pool_take(&pool), 10);
    al_pool_deinit(&pool);
}

static void every_allocation_may_fail(void **state)
{
    struct al_test_alloc test;

    (void)state;
    for (uint64_t fail_at = 1;; fail_at++) {
        struct al_pool pool;
        int r;

        al_test_alloc_init(&test);
        test.fail_at = fail_at;
        test.fail_once = true;
        al_pool_init(&pool, &test.alloc, 8, 6);
        r = al_pool_reserve(&pool, 1000);
        assert_true(r == 0 || r == -AL_E_NOMEM);
        if (r < 0) /* a later try goes on where this one stopped */
            assert_int_equal(al_pool_reserve(&pool, 1000), 0);
        for (uint32_t i = 0; i < 1000; i++)
            assert_int_equal(al_pool_take(&pool), i);
        al_pool_deinit(&pool);
        assert_int_equal(test.live_bytes, 0);
        if (r == 0)
            break;
    }
}

static void absurd_requests_are_refused(void **state)
{
    struct al_test_alloc test;
    struct al_pool pool;

    (void)state;
    al_test_alloc_init(&test);
    test.fail_at = 20;
    al_pool_init(&pool, &test.alloc, 8, 6);
    assert_int_equal(al_pool_reserve(&pool, UINT32_MAX), -AL_E_NOMEM);
    al_pool_deinit(&pool);
    assert_int_equal(test.live_bytes, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(behaves_like_an_array),
        cmocka_unit_test(last_freed_is_reused_first),
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(absurd_requests_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
