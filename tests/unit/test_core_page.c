/* test_core_page.c - pages of a list against a sorted array. */
#include "core/internal.h"
#include "support.h"
#include <stdlib.h>

#define ENTRIES 3000u

static uint32_t keys[ENTRIES]; /* by reference; no two alike */

static bool by_key(const struct al_node *node, ali_ref a, ali_ref b)
{
    (void)node;
    return keys[a] <= keys[b];
}

static int compare(const void *a, const void *b)
{
    uint32_t one = keys[*(const ali_ref *)a], other = keys[*(const ali_ref *)b];

    return (one > other) - (one < other);
}

static void shuffle(struct al_test_random *random, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        keys[i] = i;
    for (uint32_t i = count; i > 1; i--) {
        uint32_t j = (uint32_t)al_test_below(random, i), key = keys[i - 1];

        keys[i - 1] = keys[j];
        keys[j] = key;
    }
}

static void check(uint32_t count, uint32_t limit)
{
    struct ali_page page;
    ali_ref sorted[ENTRIES];
    uint32_t want = limit && limit < ALI_PAGE_ROWS_MAX ? limit : ALI_PAGE_ROWS_MAX;

    ali_page_init(&page, limit, by_key);
    for (uint32_t i = 0; i < count; i++) {
        sorted[i] = i;
        ali_page_offer(NULL, &page, i);
    }
    ali_page_sort(NULL, &page);
    qsort(sorted, count, sizeof(*sorted), compare);
    assert_int_equal(page.count, count < want ? count : want);
    for (uint32_t i = 0; i < page.count; i++)
        assert_int_equal(page.refs[i], sorted[i]);
}

static void test_a_page_is_the_first_rows_in_order(void **state)
{
    struct al_test_random random = al_test_random_new("page");

    (void)state;
    for (unsigned round = 0; round < 300; round++) {
        uint32_t count = 1 + (uint32_t)al_test_below(&random, round < 250 ? 20 : ENTRIES);

        shuffle(&random, count);
        check(count, (uint32_t)al_test_below(&random, round < 250 ? 25 : 2 * ALI_PAGE_ROWS_MAX));
    }
}

/* Tables are often sorted one way or the other already. */
static void test_order_of_the_offers_does_not_matter(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < ENTRIES; i++)
        keys[i] = i;
    check(ENTRIES, 0);
    for (uint32_t i = 0; i < ENTRIES; i++)
        keys[i] = ENTRIES - i;
    check(ENTRIES, 0);
    check(ENTRIES, 1);
    check(0, 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_page_is_the_first_rows_in_order),
        cmocka_unit_test(test_order_of_the_offers_does_not_matter),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
