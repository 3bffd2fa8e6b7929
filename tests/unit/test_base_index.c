/* test_base_index.c - the hash index against a naive model. */
#include "base/errors.h"
#include "base/index.h"
#include "support.h"

#define KEYS 3000u

/* Reference r stands for key r; hashes are made bad on purpose so that runs are long. */
struct model {
    bool present[KEYS];
    uint64_t hash[KEYS];
    uint32_t count;
};

struct probe {
    uint32_t key;
};

static bool equals(const void *ctx, uint32_t ref)
{
    const struct probe *probe = ctx;

    return probe->key == ref;
}

static void check_all(const struct al_index *index, const struct model *model)
{
    assert_int_equal(index->count, model->count);
    for (uint32_t key = 0; key < KEYS; key++) {
        struct probe probe = {key};
        uint32_t want = model->present[key] ? key : AL_REF_NONE;

        assert_int_equal(al_index_find(index, model->hash[key], equals, &probe), want);
    }
}

static void run_model(uint64_t hash_mask, struct al_test_random *random)
{
    static struct model model;
    struct al_test_alloc test;
    struct al_index index;

    memset(&model, 0, sizeof(model));
    for (uint32_t key = 0; key < KEYS; key++)
        model.hash[key] = al_test_random64(random) & hash_mask;
    al_test_alloc_init(&test);
    al_index_init(&index, &test.alloc);
    check_all(&index, &model);
    for (int i = 0; i < 20000; i++) {
        /* The range of keys breathes, so that the index fills and empties. */
        uint32_t key = (uint32_t)al_test_below(random, 1 + (KEYS - 1) * (1 + i % 5000) / 5000);

        if (model.present[key]) {
            al_index_remove(&index, model.hash[key], key);
            model.count--;
        } else {
            assert_int_equal(al_index_reserve(&index, 1), 0);
            al_index_add(&index, model.hash[key], key);
            model.count++;
        }
        model.present[key] = !model.present[key];
        if (i % 1000 == 0)
            check_all(&index, &model);
    }
    check_all(&index, &model);
    al_index_deinit(&index);
    assert_int_equal(test.live_bytes, 0);
}

static void good_hashes(void **state)
{
    struct al_test_random random = al_test_random_new("index");

    (void)state;
    run_model(UINT64_MAX, &random);
}

/* Everything collides at the upper end of the table, where runs wrap around. */
static void colliding_hashes(void **state)
{
    struct al_test_random random = al_test_random_new("index, collisions");

    (void)state;
    run_model(0x7, &random);
    run_model(0xff8, &random);
    run_model(0x3ff00000000, &random);
}

static void reserve_is_a_promise(void **state)
{
    struct al_test_random random = al_test_random_new("index, reserve");
    struct al_test_alloc test;
    struct al_index index;

    (void)state;
    al_test_alloc_init(&test);
    al_index_init(&index, &test.alloc);
    assert_int_equal(al_index_reserve(&index, KEYS), 0);
    test.fail_at = 1;
    for (uint32_t key = 0; key < KEYS; key++) {
        assert_int_equal(al_index_reserve(&index, KEYS - key), 0);
        al_index_add(&index, al_test_random64(&random), key);
    }
    assert_int_equal(al_index_reserve(&index, 10 * KEYS), -AL_E_NOMEM);
    assert_int_equal(al_index_reserve(&index, UINT32_MAX), -AL_E_NOMEM);
    assert_int_equal(index.count, KEYS);
    al_index_deinit(&index);
    assert_int_equal(test.live_bytes, 0);
}

/* However many entries there are, once the table is more than a few of them. */
static void an_entry_costs_10_to_13_bytes(void **state)
{
    enum { COUNT = 200000, SMALL = 64 };
    struct al_test_random random = al_test_random_new("index, memory");
    struct al_test_alloc test;
    struct al_index index;

    (void)state;
    al_test_alloc_init(&test);
    al_index_init(&index, &test.alloc);
    for (uint32_t i = 0; i < COUNT; i++) {
        assert_int_equal(al_index_reserve(&index, 1), 0);
        al_index_add(&index, al_test_random64(&random), i);
        if (i >= SMALL) {
            assert_true(test.live_bytes <= (uint64_t)(i + 1) * 13);
            assert_true(test.live_bytes >= (uint64_t)(i + 1) * 10);
        }
    }
    al_index_deinit(&index);
    assert_int_equal(test.live_bytes, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_hashes),
        cmocka_unit_test(colliding_hashes),
        cmocka_unit_test(reserve_is_a_promise),
        cmocka_unit_test(an_entry_costs_10_to_13_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
