/* test_store_basics.c - what a store does when nothing goes wrong. */
#include "base/errors.h"
#include "fault_disk.h"
#include "store_driver.h"
#include <stdlib.h>

struct fixture {
    struct fault_disk *fault;
    struct driver driver;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    f->fault = fault_disk_new();
    driver_init(&f->driver);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    fault_disk_free(f->fault);
    free(f);
    return 0;
}

static void reopen(struct fixture *f)
{
    if (f->driver.store)
        driver_close(&f->driver);
    assert_int_equal(driver_open(&f->driver, fault_disk_attach(f->fault)), 0);
}

static void empty_directory(void **state)
{
    struct fixture *f = *state;

    reopen(f);
    assert_int_equal(f->driver.report.last_lsn, 0);
    assert_null(al_store_take(f->driver.store, true));
    assert_false(al_store_wants_seal(f->driver.store));
    assert_int_equal(al_store_filling(f->driver.store), 0);
    assert_true(al_store_has_space(f->driver.store));
    assert_int_equal(driver_maintain(&f->driver), 0);
    reopen(f);
    driver_close(&f->driver);
}

static void records_come_back(void **state)
{
    struct fixture *f = *state;
    struct al_test_random random = al_test_random_new("records");

    for (int round = 0; round < 30; round++) {
        uint64_t before = f->driver.lsn;

        reopen(f);
        assert_int_equal(f->driver.lsn, before);
        for (int i = 0; i < 10; i++) {
            assert_int_equal(driver_put(&f->driver, (unsigned)al_test_below(&random, 20)), 0);
            assert_int_equal(f->driver.acked, f->driver.lsn);
            if (al_test_below(&random, 3) == 0)
                assert_int_equal(driver_seal(&f->driver), 0);
            if (al_test_below(&random, 3) == 0)
                assert_int_equal(driver_maintain(&f->driver), 0);
        }
        assert_int_equal(driver_read(&f->driver, 1, f->driver.lsn), 0);
    }
    driver_close(&f->driver);
}

static void sizes_at_the_edges(void **state)
{
    struct fixture *f = *state;

    f->driver.payload_max = 200000; /* more than a segment */
    reopen(f);
    for (int i = 0; i < 60; i++)
        assert_int_equal(driver_put(&f->driver, 1), 0);
    assert_int_equal(driver_put(&f->driver, 200), 0);     /* beyond a chunk: the batch moves */
    assert_int_equal(driver_append(&f->driver, 1000), 0); /* beyond a batch: several to take */
    assert_true(al_store_filling(f->driver.store) > 8u << 20);
    assert_int_equal(driver_read(&f->driver, 1, f->driver.lsn), 0);
    assert_int_equal(driver_flush(&f->driver), 0);
    assert_int_equal(driver_read(&f->driver, 1, f->driver.lsn), 0);
    reopen(f);
    assert_int_equal(f->driver.lsn, 1260);
    assert_int_equal(driver_read(&f->driver, 1, f->driver.lsn), 0);
    driver_close(&f->driver);
}

static void one_record_of_sixteen_megabytes(void **state)
{
    struct fixture *f = *state;
    size_t n = (16u << 20) + 123;
    uint8_t *big = malloc(n);
    struct al_store_replay nothing = {0};
    struct al_store *store;
    struct al_batch *batch;
    uint64_t lsn;

    for (size_t i = 0; i < n; i++)
        big[i] = (uint8_t)(i * 2654435761u >> 13);
    al_test_alloc_init(&f->driver.alloc);
    f->driver.config.alloc = f->driver.alloc.alloc;
    assert_int_equal(al_store_open(&f->driver.config, fault_disk_attach(f->fault), &nothing,
                                   &f->driver.report, &store),
                     0);
    assert_int_equal(al_store_append(store, 1, 5, al_str_of(big, n)), 0);
    assert_int_equal(al_store_append(store, 2, 6, al_str_of(big, 10)), 0);
    while ((batch = al_store_take(store, false))) {
        assert_int_equal(al_store_flush(store, batch), 0);
        al_store_done(store, batch, &lsn);
    }
    assert_int_equal(lsn, 2);
    al_store_close(store);
    assert_int_equal(al_store_open(&f->driver.config, fault_disk_attach(f->fault), &nothing,
                                   &f->driver.report, &store),
                     0);
    assert_int_equal(f->driver.report.records_replayed, 2);
    al_store_close(store);
    assert_int_equal(f->driver.alloc.live_bytes, 0);
    free(big);
}

static int count_one(void *ctx, uint64_t lsn, uint16_t type, struct al_str payload)
{
    (void)lsn;
    (void)type;
    (void)payload;
    ++*(int *)ctx;
    return 0;
}

static void memory_and_order(void **state)
{
    struct fixture *f = *state;
    uint64_t lsns[] = {3, 1, 2, 2};
    uint64_t unknown[] = {1, 99};
    int calls = 0;

    reopen(f);
    assert_int_equal(driver_append(&f->driver, 3), 0);
    assert_int_equal(al_store_read_cached(f->driver.store, lsns, 4, driver_check, &f->driver), 0);
    assert_int_equal(al_store_read_cached(f->driver.store, unknown, 2, count_one, &calls),
                     -AL_E_NOT_FOUND);
    assert_int_equal(calls, 0);
    assert_int_equal(driver_flush(&f->driver), 0);
    assert_int_equal(al_store_read_cached(f->driver.store, lsns, 4, driver_check, &f->driver), 0);
    reopen(f);
    assert_int_equal(al_store_read(f->driver.store, lsns, 4, driver_check, &f->driver), 0);
    assert_int_equal(al_store_read(f->driver.store, unknown, 2, count_one, &calls),
                     -AL_E_NOT_FOUND);
    driver_close(&f->driver);
}

static void random_reads(void **state)
{
    struct fixture *f = *state;
    struct al_test_random random = al_test_random_new("reads");

    f->driver.config.segment_bytes = 1u << 20;
    reopen(f);
    for (int i = 0; i < 40; i++)
        assert_int_equal(driver_put(&f->driver, (unsigned)al_test_below(&random, 500)), 0);
    assert_int_equal(driver_snapshot(&f->driver), 0);
    reopen(f); /* nothing in memory; cold segments come from the snapshot's list */
    assert_int_equal(f->driver.report.records_replayed, 0);
    for (int i = 0; i < 2000; i++) {
        uint64_t first = 1 + al_test_below(&random, f->driver.lsn);
        uint64_t last = first + al_test_below(&random, 20);

        if (last > f->driver.lsn)
            last = f->driver.lsn;
        assert_int_equal(driver_read(&f->driver, first, last), 0);
    }
    driver_close(&f->driver);
}

static void one_batch_is_out(void **state)
{
    struct fixture *f = *state;
    struct al_batch *first, *second;

    reopen(f);
    assert_int_equal(driver_append(&f->driver, 2), 0);
    first = al_store_take(f->driver.store, false);
    assert_non_null(first);
    assert_int_equal(driver_append(&f->driver, 3), 0); /* goes on while the first is out */
    assert_null(al_store_take(f->driver.store, false));
    assert_int_equal(al_store_flush(f->driver.store, first), 0);
    al_store_done(f->driver.store, first, &f->driver.acked);
    assert_int_equal(f->driver.acked, 2);
    assert_false(al_store_wants_seal(f->driver.store)); /* the next batch will carry it */
    second = al_store_take(f->driver.store, false);
    assert_non_null(second);
    assert_int_equal(al_store_flush(f->driver.store, second), 0);
    al_store_done(f->driver.store, second, &f->driver.acked);
    assert_int_equal(f->driver.acked, 5);
    assert_true(al_store_wants_seal(f->driver.store));
    assert_int_equal(driver_seal(&f->driver), 0);
    assert_false(al_store_wants_seal(f->driver.store));
    assert_null(al_store_take(f->driver.store, true));
    reopen(f);
    assert_int_equal(f->driver.lsn, 5);
    driver_close(&f->driver);
}

static void callback_errors_travel(void **state)
{
    struct fixture *f = *state;
    struct al_store_replay replay = {.record = count_one};
    struct al_store *store = NULL;
    int calls = 0;

    reopen(f);
    assert_int_equal(driver_put(&f->driver, 5), 0);
    driver_close(&f->driver);
    replay.ctx = &calls;
    assert_int_equal(al_store_open(&f->driver.config, fault_disk_attach(f->fault), &replay,
                                   &f->driver.report, &store),
                     0);
    assert_int_equal(calls, 5);
    al_store_close(store);
    f->driver.config.segment_bytes = 1000; /* not a multiple of a block */
    assert_int_equal(al_store_open(&f->driver.config, fault_disk_attach(f->fault), &replay,
                                   &f->driver.report, &store),
                     -AL_E_INVALID);
}

/* Every allocation of opening, working and reading fails once: an error, no leak, nothing lost. */
static void out_of_memory(void **state)
{
    struct fixture *f = *state;
    uint64_t calls = 1, limit = 1;

    reopen(f);
    assert_int_equal(driver_put(&f->driver, 50), 0);
    assert_int_equal(driver_snapshot(&f->driver), 0);
    assert_int_equal(driver_put(&f->driver, 50), 0);
    driver_close(&f->driver);
    for (uint64_t at = 1; at <= limit; at++) {
        struct fault_disk *copy = fault_disk_clone(f->fault);
        struct driver driver = f->driver;
        struct al_store_replay nothing = {0};
        uint64_t lsns[] = {1, 60, 100};
        int r;

        al_test_alloc_init(&driver.alloc);
        driver.alloc.fail_at = at;
        driver.alloc.fail_once = true;
        driver.config.alloc = driver.alloc.alloc;
        r = al_store_open(&driver.config, fault_disk_attach(copy), &nothing, &driver.report,
                          &driver.store);
        if (r == 0) {
            driver.lsn = 100;
            r = driver_put(&driver, 5);
            if (r == 0)
                r = al_store_read(driver.store, lsns, 3, driver_check, &driver);
            if (r == 0)
                r = driver_snapshot(&driver);
            if (r == 0)
                r = driver_maintain(&driver);
            al_store_close(driver.store);
        }
        assert_true(r == 0 || r == -AL_E_NOMEM);
        assert_int_equal(driver.alloc.live_bytes, 0);
        calls = driver.alloc.calls;
        if (r == -AL_E_NOMEM && at == limit)
            limit++;
        driver.store = NULL;
        assert_int_equal(driver_open(&driver, fault_disk_attach(copy)), 0);
        assert_true(driver.lsn >= 100);
        driver_close(&driver);
        fault_disk_free(copy);
    }
    assert_true(limit > 10);
    assert_true(calls >= 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(empty_directory, set_up, tear_down),
        cmocka_unit_test_setup_teardown(records_come_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(sizes_at_the_edges, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_record_of_sixteen_megabytes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(memory_and_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(random_reads, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_batch_is_out, set_up, tear_down),
        cmocka_unit_test_setup_teardown(callback_errors_travel, set_up, tear_down),
        cmocka_unit_test_setup_teardown(out_of_memory, set_up, tear_down),
    };

    return cmocka_run_group_tests_name("store_basics", tests, NULL, NULL);
}
