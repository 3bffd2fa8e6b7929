/* test_base_recent.c - the ring of recent entries against a naive list. */
#include "base/errors.h"
#include "base/recent.h"
#include "core/state.h"
#include "support.h"
#include <string.h>

struct entry {
    uint64_t key, value;
};

static uint64_t hash_of(uint64_t key, uint64_t mask)
{
    return (key * 0x9e3779b97f4a7c15u >> 20) & mask;
}

static bool equals(const void *ctx, const void *entry)
{
    const uint64_t *key = ctx;

    return ((const struct entry *)entry)->key == *key;
}

static uint64_t hash_entry(const void *ctx, const void *entry)
{
    return hash_of(((const struct entry *)entry)->key, *(const uint64_t *)ctx);
}

/* Newest value of the key among the last `limit` additions, 0: none. */
static uint64_t naive_find(const struct entry *all, uint64_t count, uint64_t limit, uint64_t key)
{
    for (uint64_t n = count; n-- > 0 && count - n <= limit;)
        if (all[n].key == key)
            return all[n].value;
    return 0;
}

static void compare(const struct al_recent *recent, const struct entry *all, uint64_t mask)
{
    uint64_t count = recent->next, held = count - recent->first;

    for (uint64_t key = 0; key < 80; key++) {
        const struct entry *found = al_recent_find(recent, hash_of(key, mask), equals, &key);
        uint64_t want = naive_find(all, count, held, key);

        assert_true(found ? found->value == want : want == 0);
    }
    for (uint64_t n = recent->first; n < count; n++)
        assert_memory_equal(al_recent_at(recent, n), &all[n], sizeof(*all));
}

static void run_model(uint32_t limit, uint64_t mask, struct al_test_random *random)
{
    static struct entry all[5000];
    struct al_test_alloc test;
    struct al_recent recent;

    al_test_alloc_init(&test);
    al_recent_init(&recent, &test.alloc, sizeof(struct entry), limit);
    for (uint64_t n = 0; n < 5000; n++) {
        struct entry *room;

        all[n] = (struct entry){al_test_below(random, 80), n + 1};
        assert_int_equal(al_recent_reserve(&recent, 1, hash_entry, &mask), 0);
        room = al_recent_add(&recent, hash_of(all[n].key, mask));
        assert_true(room->key == 0 && room->value == 0);
        *room = all[n];
        assert_true(recent.next - recent.first == (n + 1 < limit ? n + 1 : limit));
        if (n % 97 == 0)
            compare(&recent, all, mask);
    }
    compare(&recent, all, mask);
    al_recent_deinit(&recent);
    assert_int_equal(test.live_bytes, 0);
}

static void behaves_like_a_list(void **state)
{
    struct al_test_random random = al_test_random_new("recent");

    (void)state;
    run_model(1, UINT64_MAX, &random);
    run_model(100, UINT64_MAX, &random); /* not a power of two */
    run_model(256, 3, &random);          /* long chains */
    run_model(100000, UINT64_MAX, &random);
}

static void an_empty_ring_finds_nothing(void **state)
{
    struct al_test_alloc test;
    struct al_recent recent;
    uint64_t key = 1;

    (void)state;
    al_test_alloc_init(&test);
    al_recent_init(&recent, &test.alloc, sizeof(struct entry), 10);
    assert_null(al_recent_find(&recent, 1, equals, &key));
    assert_int_equal(test.calls, 0); /* and costs nothing */
    al_recent_deinit(&recent);
}

static void numbering_goes_on_after_a_reset(void **state)
{
    struct al_test_alloc test;
    struct al_recent recent;
    uint64_t mask = UINT64_MAX, key = 42;

    (void)state;
    al_test_alloc_init(&test);
    al_recent_init(&recent, &test.alloc, sizeof(struct entry), 50);
    al_recent_reset(&recent, 1000003);
    for (uint64_t i = 0; i < 120; i++) {
        struct entry *room;

        assert_int_equal(al_recent_reserve(&recent, 1, hash_entry, &mask), 0);
        room = al_recent_add(&recent, hash_of(i, mask));
        *room = (struct entry){i, i + 1};
    }
    assert_true(recent.next == 1000123 && recent.first == 1000073);
    assert_null(al_recent_find(&recent, hash_of(key, mask), equals, &key)); /* fell out */
    key = 70;
    assert_ptr_equal(al_recent_find(&recent, hash_of(key, mask), equals, &key),
                     al_recent_at(&recent, 1000073));
    al_recent_deinit(&recent);
    assert_int_equal(test.live_bytes, 0);
}

/* Heads hold numbers modulo 2^32 - 1: nothing is lost where they wrap, whatever the hashes. */
static void wrapping_heads_find_everything(void **state)
{
    (void)state;
    for (uint64_t mask = 0; mask < 16; mask = mask * 2 + 1) {
        struct al_test_alloc test;
        struct al_recent recent;

        al_test_alloc_init(&test);
        al_recent_init(&recent, &test.alloc, sizeof(struct entry), 50);
        al_recent_reset(&recent, 3 * 0xffffffffull - 60);
        for (uint64_t i = 0; i < 120; i++) {
            struct entry *room;

            assert_int_equal(al_recent_reserve(&recent, 1, hash_entry, &mask), 0);
            room = al_recent_add(&recent, hash_of(i, mask));
            *room = (struct entry){i, i + 1};
            for (uint64_t key = 0; key <= i; key++) {
                bool held = key + 50 > i;

                assert_true((al_recent_find(&recent, hash_of(key, mask), equals, &key) != NULL) ==
                            held);
            }
        }
        al_recent_deinit(&recent);
    }
}

/* What a full store of a million idempotency keys costs: at most 96 bytes each beside its answer,
 * which stays in the journal. */
static void a_key_costs_little(void **state)
{
    struct al_test_alloc test;
    struct al_recent recent;
    uint64_t mask = UINT64_MAX;

    (void)state;
    al_test_alloc_init(&test);
    al_recent_init(&recent, &test.alloc, sizeof(struct ali_key), 1000000);
    for (uint64_t i = 0; i < 1000000; i++) {
        assert_int_equal(al_recent_reserve(&recent, 1, hash_entry, &mask), 0);
        memcpy(al_recent_add(&recent, hash_of(i, mask)), &i, sizeof(i));
    }
    print_message("# %zu bytes for each of 1000000 keys\n", test.live_bytes / 1000000);
    assert_true(test.live_bytes <= 96u * 1000000u);
    al_recent_deinit(&recent);
    assert_int_equal(test.live_bytes, 0);
}

static void no_memory_to_grow_leaves_it_as_it_was(void **state)
{
    struct al_test_alloc test;
    struct al_recent recent;
    uint64_t mask = UINT64_MAX, key = 5;

    (void)state;
    al_test_alloc_init(&test);
    al_recent_init(&recent, &test.alloc, sizeof(struct entry), 1000);
    for (uint64_t i = 0; i < 64; i++) {
        assert_int_equal(al_recent_reserve(&recent, 1, hash_entry, &mask), 0);
        *(struct entry *)al_recent_add(&recent, hash_of(i, mask)) = (struct entry){i, i};
    }
    for (uint64_t fail = 1; fail <= 2; fail++) {
        test.fail_at = test.calls + fail;
        test.fail_once = true;
        assert_int_equal(al_recent_reserve(&recent, 1, hash_entry, &mask), -AL_E_NOMEM);
        assert_non_null(al_recent_find(&recent, hash_of(key, mask), equals, &key));
    }
    assert_int_equal(al_recent_reserve(&recent, 1, hash_entry, &mask), 0);
    al_recent_deinit(&recent);
    assert_int_equal(test.live_bytes, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(behaves_like_a_list),
        cmocka_unit_test(an_empty_ring_finds_nothing),
        cmocka_unit_test(numbering_goes_on_after_a_reset),
        cmocka_unit_test(wrapping_heads_find_everything),
        cmocka_unit_test(a_key_costs_little),
        cmocka_unit_test(no_memory_to_grow_leaves_it_as_it_was),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
