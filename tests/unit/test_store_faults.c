/* test_store_faults.c - every call to the disk fails, at every occurrence; the power goes at every
 * call, during work and during recovery.
 *
 * One workload (batches, seals, snapshots, releases, recycling, restarts) runs until the n-th call
 * fails, for n = 1, 2, 3 … until it passes without a failure. After each: everything that was
 * acknowledged is there, nothing else but a prefix of what was appended, and recovery itself may be
 * interrupted at any call and started again. */
#include "base/errors.h"
#include "fault_disk.h"
#include "store_driver.h"
#include <stdlib.h>

/* Does everything a node does. 0, or the first error. */
static int work(struct driver *driver, struct fault_disk *fault, uint64_t seed)
{
    struct al_test_random random = {seed};
    int r = driver_open(driver, fault_disk_attach(fault));

    for (int i = 0; i < 40 && r == 0; i++) {
        r = driver_put(driver, (unsigned)al_test_below(&random, 60));
        if (r == 0 && al_test_below(&random, 4) == 0)
            r = driver_seal(driver);
        if (r == 0 && al_test_below(&random, 4) == 0)
            r = driver_snapshot(driver);
        if (r == 0 && al_test_below(&random, 2) == 0)
            driver_release(driver);
        if (r == 0 && al_test_below(&random, 2) == 0)
            r = driver_maintain(driver);
        if (r == 0 && al_test_below(&random, 10) == 0) {
            driver_close(driver);
            r = driver_open(driver, fault_disk_attach(fault));
        }
    }
    return r;
}

/* Nothing more is accepted after an error that may have cost data. */
static void is_poisoned(struct driver *driver)
{
    assert_int_equal(al_store_append(driver->store, driver->lsn + 1, 1, al_str_c("x")),
                     -AL_E_POISONED);
    assert_null(al_store_take(driver->store, true));
    assert_int_equal(al_store_maintain(driver->store), -AL_E_POISONED);
    assert_int_equal(driver_snapshot(driver), -AL_E_POISONED);
}

/* Opens, checks that what was acknowledged is there, works a little, opens again. */
static void recover(struct driver *driver, struct fault_disk *fault, uint64_t acked,
                    uint64_t appended)
{
    int r = driver_open(driver, fault_disk_attach(fault));

    if (r < 0)
        print_message("# open: %d %s\n", r, driver->report.detail);
    assert_int_equal(r, 0);
    assert_in_range(driver->lsn, acked, appended);
    assert_int_equal(driver_put(driver, 10), 0);
    assert_int_equal(driver_snapshot(driver), 0);
    assert_int_equal(driver_put(driver, 10), 0);
    acked = driver->acked;
    driver_close(driver);
    assert_int_equal(driver_open(driver, fault_disk_attach(fault)), 0);
    assert_int_equal(driver->lsn, acked);
    driver_close(driver);
}

struct plan {
    unsigned mask; /* calls that fail */
    int error;
    bool applies_failed; /* a failing write may have happened */
    bool power_cut;
    bool stay_broken; /* later calls fail too */
};

/* Fails call n; true if the workload got that far. */
static bool one(const struct plan *plan, uint64_t n, struct al_test_random *random)
{
    struct fault_disk *fault = fault_disk_new();
    struct driver driver;
    uint64_t acked, appended;
    bool failed;
    int r;

    driver_init(&driver);
    fault->count_mask = plan->mask;
    fault->fail_at = n;
    fault->fail_error = plan->error;
    fault->fail_once = !plan->stay_broken;
    fault->applies_failed = plan->applies_failed;
    r = work(&driver, fault, 99);
    failed = fault->calls >= n;
    acked = driver.acked;
    appended = driver.lsn;
    if (r == 0)
        assert_true(!failed || plan->error == -AL_E_DISK_FULL);
    else
        assert_true(failed);
    if (driver.store) {
        if (r < 0 && plan->error == -AL_E_IO && (plan->mask & FAULT_CHANGES) == plan->mask)
            is_poisoned(&driver);
        driver_close(&driver);
    }
    if (plan->power_cut)
        fault_disk_cut(fault, random, (unsigned[]){0, 128, 256}[al_test_below(random, 3)]);
    else
        fault_disk_kill(fault);
    recover(&driver, fault, acked, appended);
    fault_disk_free(fault);
    return failed;
}

static void all(const struct plan *plan, const char *what)
{
    struct al_test_random random = al_test_random_new(what);
    uint64_t n = 1;

    while (one(plan, n, &random))
        n++;
    print_message("# %s: %llu calls failed in turn\n", what, (unsigned long long)n - 1);
    assert_true(n > 15);
}

static void every_change_fails_once(void **state)
{
    (void)state;
    all(&(struct plan){.mask = FAULT_CHANGES, .error = -AL_E_IO}, "change fails");
}

static void every_change_fails_but_happens(void **state)
{
    (void)state;
    all(&(struct plan){.mask = FAULT_CHANGES, .error = -AL_E_IO, .applies_failed = true},
        "change fails but happens");
}

static void every_read_fails_once(void **state)
{
    (void)state;
    all(&(struct plan){.mask = FAULT_READ | FAULT_OPEN | FAULT_OTHER, .error = -AL_E_IO},
        "read fails");
}

static void power_goes_at_every_change(void **state)
{
    const struct plan plan = {.mask = FAULT_CHANGES,
                              .error = -AL_E_IO,
                              .applies_failed = true,
                              .power_cut = true,
                              .stay_broken = true};

    (void)state;
    for (int i = 0; i < 3; i++)
        all(&plan, "power goes");
}

static void disk_is_full_at_every_write(void **state)
{
    (void)state;
    all(&(struct plan){.mask = FAULT_WRITE, .error = -AL_E_DISK_FULL}, "disk full");
}

/* Crash with an unsealed tail; then the power goes at every call of the recovery, too. */
static void recovery_is_interrupted(void **state)
{
    struct al_test_random random = al_test_random_new("recovery");
    uint64_t interrupted = 0;

    (void)state;
    for (int round = 0; round < 25; round++) {
        struct fault_disk *fault = fault_disk_new();
        struct driver driver;
        uint64_t acked, appended;
        bool done = false;

        driver_init(&driver);
        fault->fail_at = 20 + al_test_below(&random, 150);
        fault->applies_failed = true;
        (void)work(&driver, fault, al_test_random64(&random));
        acked = driver.acked;
        appended = driver.lsn;
        if (driver.store)
            driver_close(&driver);
        fault_disk_cut(fault, &random, (unsigned)al_test_below(&random, 257));
        for (uint64_t n = 1; !done; n++) {
            struct fault_disk *copy = fault_disk_clone(fault);

            copy->fail_at = n;
            copy->applies_failed = true;
            done = driver_open(&driver, fault_disk_attach(copy)) == 0;
            if (done) {
                acked = driver.lsn; /* what opening returned stays */
                driver_close(&driver);
            }
            fault_disk_cut(copy, &random, (unsigned)al_test_below(&random, 257));
            recover(&driver, copy, acked, appended);
            fault_disk_free(copy);
            interrupted++;
        }
        fault_disk_free(fault);
    }
    print_message("# recovery was interrupted %llu times\n", (unsigned long long)interrupted);
    assert_true(interrupted > 50);
}

/* Many lives of one directory, each ended by a failure or a power cut somewhere. */
static void many_lives(void **state)
{
    struct al_test_random random = al_test_random_new("lives");
    struct fault_disk *fault = fault_disk_new();
    struct driver driver;
    uint64_t acked = 0, appended = 0;

    (void)state;
    driver_init(&driver);
    for (int life = 0; life < 150; life++) {
        int r;

        fault->fail_at = 1 + al_test_below(&random, 120);
        fault->applies_failed = true;
        fault->count_mask = FAULT_CHANGES;
        driver.acked = acked;
        driver.lsn = appended;
        r = driver_open(&driver, fault_disk_attach(fault));
        if (r == 0) {
            assert_in_range(driver.lsn, acked, appended);
            for (int i = 0; i < 20 && r == 0; i++) {
                r = driver_put(&driver, (unsigned)al_test_below(&random, 40));
                if (r == 0 && al_test_below(&random, 5) == 0)
                    r = driver_snapshot(&driver);
                if (r == 0)
                    driver_release(&driver);
                if (r == 0 && al_test_below(&random, 2) == 0)
                    r = driver_maintain(&driver);
            }
            driver_close(&driver);
        } else {
            if (r == -AL_E_DAMAGED)
                print_message("# %s\n", driver.report.detail);
            assert_true(r != -AL_E_DAMAGED);
        }
        acked = driver.acked;
        appended = driver.lsn;
        if (al_test_below(&random, 3) == 0)
            fault_disk_kill(fault); /* what was not flushed is still to be seen, for a while */
        else
            fault_disk_cut(fault, &random, (unsigned)al_test_below(&random, 257));
    }
    assert_true(acked > 1000);
    fault_disk_free(fault);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_change_fails_once),
        cmocka_unit_test(every_change_fails_but_happens),
        cmocka_unit_test(every_read_fails_once),
        cmocka_unit_test(power_goes_at_every_change),
        cmocka_unit_test(disk_is_full_at_every_write),
        cmocka_unit_test(recovery_is_interrupted),
        cmocka_unit_test(many_lives),
    };

    return cmocka_run_group_tests_name("store_faults", tests, NULL, NULL);
}
