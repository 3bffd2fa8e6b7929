/* test_store_segments.c - the life of segments and snapshots: prepared, filled, released, recycled.
 */
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
    assert_int_equal(driver_open(&f->driver, fault_disk_attach(f->fault)), 0);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    if (f->driver.store)
        driver_close(&f->driver);
    fault_disk_free(f->fault);
    free(f);
    return 0;
}

static void reopen(struct fixture *f)
{
    driver_close(&f->driver);
    assert_int_equal(driver_open(&f->driver, fault_disk_attach(f->fault)), 0);
}

static unsigned count_files(const struct fault_disk *fault, const char *prefix)
{
    unsigned n = 0;

    for (size_t i = 0; i < fault->seen_count; i++)
        n += strncmp(fault->seen[i].name, prefix, strlen(prefix)) == 0;
    return n;
}

static void prepared_ahead(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(driver_maintain(&f->driver), 0);
    assert_int_equal(count_files(f->fault, ""), 0); /* an idle store has nothing on disk */
    assert_int_equal(driver_put(&f->driver, 1), 0);
    assert_int_equal(driver_maintain(&f->driver), 0);
    assert_int_equal(count_files(f->fault, "free-"), 0);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(driver_put(&f->driver, 5), 0);
        assert_int_equal(driver_maintain(&f->driver), 0);
    }
    assert_in_range(count_files(f->fault, "free-"), 2, 4);
    assert_int_equal(count_files(f->fault, "new-"), 0);
    reopen(f); /* what is prepared is used, not prepared again */
    assert_in_range(count_files(f->fault, "free-"), 1, 4);
    assert_int_equal(driver_put(&f->driver, 5), 0);
    assert_in_range(count_files(f->fault, "free-"), 0, 3);
}

/* Without maintain the flush makes its own segments. */
static void nothing_prepared(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < 200; i++)
        assert_int_equal(driver_put(&f->driver, 5), 0);
    assert_int_equal(count_files(f->fault, "free-"), 0);
    assert_true(count_files(f->fault, "journal-") > 5);
    reopen(f);
    assert_int_equal(f->driver.lsn, 1000);
    assert_int_equal(driver_read(&f->driver, 1, 1000), 0);
}

static void released_only_when_no_snapshot_needs_it(void **state)
{
    struct fixture *f = *state;
    struct al_segment_info list[32];
    uint64_t first_snapshot, lsn = 1;
    size_t n;

    for (int i = 0; i < 60; i++)
        assert_int_equal(driver_put(&f->driver, 10), 0);
    assert_int_equal(al_store_segments(f->driver.store, list, 32), 0); /* no snapshot at all */
    assert_int_equal(driver_snapshot(&f->driver), 0);
    first_snapshot = f->driver.lsn;
    assert_int_equal(al_store_segments(f->driver.store, list, 32), 0); /* no second generation */
    for (int i = 0; i < 60; i++)
        assert_int_equal(driver_put(&f->driver, 10), 0);
    assert_int_equal(driver_snapshot(&f->driver), 0);
    n = al_store_segments(f->driver.store, list, 32);
    assert_true(n >= 2);
    for (size_t i = 0; i < n; i++) {
        assert_true(list[i].last_lsn <= first_snapshot);
        assert_true(list[i].first_lsn == (i ? list[i - 1].last_lsn + 1 : 1));
        assert_int_equal(al_store_scan(f->driver.store, list[i].id, driver_check, &f->driver), 0);
        al_store_release(f->driver.store, list[i].id);
    }
    assert_int_equal(al_store_segments(f->driver.store, list, 32), 0);
    assert_int_equal(driver_maintain(&f->driver), 0);
    /* Still named by the newest snapshot: there until the next. */
    assert_int_equal(driver_read(&f->driver, 1, 5), 0);
    assert_int_equal(driver_put(&f->driver, 1), 0);
    assert_int_equal(driver_snapshot(&f->driver), 0);
    assert_int_equal(driver_maintain(&f->driver), 0);
    reopen(f);
    assert_int_equal(al_store_read(f->driver.store, &lsn, 1, driver_check, &f->driver),
                     -AL_E_NOT_FOUND);
    assert_int_equal(driver_read(&f->driver, first_snapshot + 1, f->driver.lsn), 0);
}

/* Release of something that is not closed, not there or still needed does no harm. */
static void careless_release(void **state)
{
    struct fixture *f = *state;

    for (uint64_t id = 0; id < 10; id++)
        al_store_release(f->driver.store, id);
    assert_int_equal(driver_put(&f->driver, 200), 0);
    for (uint64_t id = 0; id < 10; id++)
        al_store_release(f->driver.store, id);
    assert_int_equal(driver_maintain(&f->driver), 0);
    reopen(f);
    assert_int_equal(f->driver.lsn, 200);
    assert_int_equal(driver_read(&f->driver, 1, 200), 0);
}

/* Steady work in a bounded number of files; frames of former lives never come back. */
static void recycled_for_ever(void **state)
{
    struct fixture *f = *state;
    unsigned most = 0;

    for (int round = 0; round < 120; round++) {
        for (int i = 0; i < 10; i++)
            assert_int_equal(driver_put(&f->driver, 20), 0);
        assert_int_equal(driver_snapshot(&f->driver), 0);
        driver_release(&f->driver);
        assert_int_equal(driver_maintain(&f->driver), 0);
        if (count_files(f->fault, "") > most)
            most = count_files(f->fault, "");
        if (round % 7 == 3)
            reopen(f);
    }
    assert_int_equal(f->driver.lsn, 120 * 200);
    assert_in_range(most, 3, 20);
    assert_int_equal(count_files(f->fault, "snapshot-"), 2);
}

/* A large state has few snapshots and so many segments between them: what one releases serves until
 * the next, nothing is zeroed anew. */
static void released_segments_are_kept_in_stock(void **state)
{
    struct fixture *f = *state;
    uint64_t made = 0;

    for (int round = 0; round < 8; round++) {
        for (int i = 0; i < 40; i++) {
            assert_int_equal(driver_put(&f->driver, 20), 0);
            assert_int_equal(driver_maintain(&f->driver), 0);
        }
        assert_int_equal(driver_snapshot(&f->driver), 0);
        driver_release(&f->driver);
        assert_int_equal(driver_maintain(&f->driver), 0);
        if (round == 4)
            made = f->fault->made;
    }
    assert_in_range(f->fault->made - made, 3, 5); /* the snapshots, and a round may be longer */
}

/* What will be written until something is released is prepared while nothing is written, and only
 * then; but a disk is not filled with it. */
static void quiet_time_prepares_what_is_expected(void **state)
{
    enum { EXPECTED = 12 };
    struct fixture *f = *state;

    al_store_expect(f->driver.store, EXPECTED * f->driver.config.segment_bytes);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(driver_put(&f->driver, 5), 0);
        assert_int_equal(driver_maintain(&f->driver), 0);
        assert_in_range(count_files(f->fault, "free-"), 0, 4);
    }
    assert_int_equal(driver_seal(&f->driver), 0);
    assert_true(al_store_wants_maintain(f->driver.store));
    assert_int_equal(al_store_maintain(f->driver.store), 1); /* begins one, */
    assert_int_equal(driver_put(&f->driver, 5), 0);          /* which waits while this is written */
    assert_int_equal(driver_maintain(&f->driver), 0);
    assert_int_equal(count_files(f->fault, "new-"), 1);
    assert_int_equal(driver_seal(&f->driver), 0);
    f->fault->capacity = fault_disk_used(f->fault) + 30 * f->driver.config.segment_bytes;
    assert_int_equal(driver_maintain(&f->driver), 0);
    assert_in_range(count_files(f->fault, "free-"), 1, 4);
    f->fault->capacity = UINT64_MAX / 2;
    assert_int_equal(driver_put(&f->driver, 5), 0);
    assert_int_equal(driver_seal(&f->driver), 0);
    assert_int_equal(driver_maintain(&f->driver), 0);
    assert_int_equal(count_files(f->fault, "free-"), EXPECTED);
    assert_int_equal(count_files(f->fault, "new-"), 0);
    al_store_expect(f->driver.store, UINT64_MAX);
    assert_int_equal(driver_put(&f->driver, 5), 0);
    assert_int_equal(driver_seal(&f->driver), 0);
    assert_int_equal(driver_maintain(&f->driver), 0);
    assert_int_equal(count_files(f->fault, "free-"), 31); /* never more */
}

static void snapshot_rules(void **state)
{
    struct fixture *f = *state;
    struct al_snapshot_writer *writer, *second;

    assert_int_equal(driver_append(&f->driver, 50), 0);
    assert_int_equal(driver_flush(&f->driver), 0);
    assert_true(al_store_since_snapshot(f->driver.store) > 50 * 40);
    assert_int_equal(driver_append(&f->driver, 10), 0);
    assert_int_equal(al_store_snapshot_begin(f->driver.store, 60, &writer), 0);
    assert_int_equal(al_store_since_snapshot(f->driver.store), 0);
    assert_int_equal(al_store_snapshot_begin(f->driver.store, 60, &second), -AL_E_BUSY);
    assert_int_equal(al_store_snapshot_commit(writer), -AL_E_BUSY); /* not durable yet */
    assert_int_equal(driver_flush(&f->driver), 0);
    al_store_snapshot_abort(writer);
    assert_int_equal(al_store_snapshot_begin(f->driver.store, 60, &writer), 0);
    assert_int_equal(al_store_snapshot_write(writer, al_str_c("\x02\x00\x00")), 0);
    al_store_snapshot_abort(writer); /* half written */
    assert_int_equal(count_files(f->fault, "new-"), 0);
    assert_int_equal(al_store_snapshot_begin(f->driver.store, 60, &writer), 0);
    driver_close(&f->driver); /* closing gives up what is open */
    assert_int_equal(driver_open(&f->driver, fault_disk_attach(f->fault)), 0);
    assert_int_equal(f->driver.report.snapshot_lsn, 0);
    assert_int_equal(driver_snapshot(&f->driver), 0);
    reopen(f);
    assert_int_equal(f->driver.report.snapshot_lsn, 60);
    assert_int_equal(f->driver.report.records_replayed, 0);
}

/* A disk that fills up: refused in time, what is under way goes on, room comes back. */
static void disk_full(void **state)
{
    struct fixture *f = *state;
    uint64_t acked;
    int r;

    f->fault->capacity = 1u << 20;
    while (al_store_has_space(f->driver.store)) {
        assert_int_equal(driver_put(&f->driver, 5), 0);
        r = al_store_maintain(f->driver.store);
        assert_true(r == 0 || r == 1 || r == -AL_E_DISK_FULL);
    }
    assert_int_equal(al_store_maintain(f->driver.store), -AL_E_DISK_FULL);
    assert_true(al_store_wants_maintain(f->driver.store)); /* so it is asked again */
    for (int i = 0; i < 5; i++)                            /* the reserve takes acks */
        assert_int_equal(driver_put(&f->driver, 2), 0);
    f->fault->capacity = 2u << 20;
    assert_true(al_store_maintain(f->driver.store) >= 0);
    assert_true(al_store_has_space(f->driver.store));
    f->fault->capacity = 1u << 20;
    while (driver_put(&f->driver, 5) == 0)
        ;
    acked = f->driver.acked; /* nothing left at all: stopped, and everything is there */
    f->fault->capacity = 8u << 20;
    reopen(f);
    assert_in_range(f->driver.lsn, acked, acked + 5);
}

/* Everything is released on a full disk: prepared files do not keep it full. */
static void full_of_prepared_files(void **state)
{
    struct fixture *f = *state;
    int r = 1;

    f->driver.config.reserve_bytes = 512u << 10;
    reopen(f);
    while (count_files(f->fault, "journal-") < 6) /* without maintain: it fell behind */
        assert_int_equal(driver_put(&f->driver, 5), 0);
    f->fault->capacity = fault_disk_used(f->fault) + (500u << 10); /* the rest is somebody else's */
    assert_int_equal(al_store_maintain(f->driver.store), -AL_E_DISK_FULL);
    for (int round = 0; round < 4; round++) {
        assert_int_equal(driver_put(&f->driver, 1), 0);
        assert_int_equal(driver_snapshot(&f->driver), 0);
        driver_release(&f->driver);
        for (int i = 0; i < 30; i++)
            r = al_store_maintain(f->driver.store);
    }
    assert_int_equal(r, 0);
    assert_true(al_store_has_space(f->driver.store));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(prepared_ahead, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nothing_prepared, set_up, tear_down),
        cmocka_unit_test_setup_teardown(released_only_when_no_snapshot_needs_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(careless_release, set_up, tear_down),
        cmocka_unit_test_setup_teardown(recycled_for_ever, set_up, tear_down),
        cmocka_unit_test_setup_teardown(released_segments_are_kept_in_stock, set_up, tear_down),
        cmocka_unit_test_setup_teardown(quiet_time_prepares_what_is_expected, set_up, tear_down),
        cmocka_unit_test_setup_teardown(snapshot_rules, set_up, tear_down),
        cmocka_unit_test_setup_teardown(disk_full, set_up, tear_down),
        cmocka_unit_test_setup_teardown(full_of_prepared_files, set_up, tear_down),
    };

    return cmocka_run_group_tests_name("store_segments", tests, NULL, NULL);
}
