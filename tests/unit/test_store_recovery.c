/* test_store_recovery.c - damaged and torn journals: what is kept, what is refused.
 *
 * The law: what a seal or a later batch says was durable is there, byte for byte, or opening fails
 * and names the place. What nothing confirms may be lost, from some record on to the end, and then
 * that is reported. Whatever opening says, it must not change a file when it refuses. */
#include "base/errors.h"
#include "fault_disk.h"
#include "store/frame.h"
#include "store_driver.h"
#include <stdlib.h>

#define JOURNAL  "journal-0000000000000001"
#define SNAPSHOT "snapshot-0000000000000002"
#define BATCHES  8192u /* where they begin */

struct fixture {
    struct fault_disk *fault;
    struct driver driver;
    uint64_t sealed; /* newest record that something on disk confirms */
    uint64_t seed;
    uint64_t used; /* bytes of JOURNAL up to the end of the last batch */
};

/* Where the content of JOURNAL ends: behind its last block that is not zero. */
static uint64_t content_end(struct fixture *f)
{
    uint64_t *size, at;
    const uint8_t *p = fault_disk_file(f->fault, JOURNAL, &size);

    for (at = *size; at && ali_is_zero(p + at - 4096, 4096); at -= 4096)
        ;
    return at;
}

/* Three batches and, if asked for, a seal; small records, one segment. */
static void build(struct fixture *f, bool seal)
{
    f->fault = fault_disk_new();
    driver_init(&f->driver);
    f->driver.payload_max = 900;
    f->driver.config.random_seed += f->seed;
    f->driver.config.first_segment_bytes = f->driver.config.segment_bytes;
    assert_int_equal(driver_open(&f->driver, fault_disk_attach(f->fault)), 0);
    assert_int_equal(driver_put(&f->driver, 5), 0);
    assert_int_equal(driver_put(&f->driver, 30), 0);
    f->sealed = f->driver.lsn;
    assert_int_equal(driver_put(&f->driver, 7), 0);
    if (seal) {
        f->sealed = f->driver.lsn;
        assert_int_equal(driver_seal(&f->driver), 0);
    }
    driver_close(&f->driver);
    f->used = content_end(f);
    assert_true(f->used >= BATCHES + 3 * 4096 && f->used < f->driver.config.segment_bytes);
}

static int set_up_sealed(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    build(f, true);
    *state = f;
    return 0;
}

static int set_up_open(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    build(f, false);
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

/* Opens a damaged copy and applies the law. Returns what open returned. */
static int open_damaged(struct fixture *f, struct fault_disk *copy)
{
    struct driver driver = f->driver;
    int r;

    r = driver_open(&driver, fault_disk_attach(copy));
    if (r == 0) {
        assert_true(driver.lsn >= f->sealed);
        assert_true(driver.lsn <= f->driver.lsn);
        f->driver.report = driver.report;
        assert_int_equal(driver_put(&driver, 3), 0);
        assert_int_equal(driver_read(&driver, 1, driver.lsn), 0);
        driver_close(&driver);
        assert_int_equal(driver_open(&driver, fault_disk_attach(copy)), 0);
        driver_close(&driver);
        return 0;
    }
    assert_int_equal(r, -AL_E_DAMAGED);
    assert_non_null(strstr(driver.report.detail, "offset"));
    assert_int_equal(copy->calls, 0); /* nothing was changed */
    return r;
}

static int verify(struct fixture *f, struct fault_disk *copy)
{
    struct al_store_report report;
    struct al_disk *disk = fault_disk_attach(copy);
    struct al_test_alloc alloc;
    int r;

    (void)f;
    al_test_alloc_init(&alloc);
    r = al_store_verify(&alloc.alloc, disk, NULL, NULL, NULL, &report);
    disk->ops->close_disk(disk);
    assert_int_equal(alloc.live_bytes, 0);
    return r;
}

static uint64_t step(uint64_t sampled)
{
    const char *soak = getenv("AL_SOAK");

    return soak && *soak == '1' ? 1 : sampled;
}

/* ---- flips ------------------------------------------------------------------------------ */

static void flips(struct fixture *f, const char *name, uint64_t end, uint64_t stride)
{
    struct al_test_random random = al_test_random_new(name);
    uint64_t damaged = 0, torn = 0, size = 0, *size_p;

    fault_disk_file(f->fault, name, &size_p);
    size = *size_p;
    for (uint64_t at = 0; at < size; at += 1 + al_test_below(&random, stride)) {
        struct fault_disk *copy = fault_disk_clone(f->fault);
        uint8_t *p = fault_disk_file(copy, name, &size_p);
        int r, v;

        p[at] ^= (uint8_t)(1u << al_test_below(&random, 8));
        v = verify(f, copy);
        r = open_damaged(f, copy);
        if (at >= end) { /* free space behind the last batch: nothing refers to it */
            assert_int_equal(r, 0);
            assert_int_equal(v, 0);
        } else if (r == 0) { /* hit what nothing confirms: seen, and said */
            assert_true(f->driver.report.torn_bytes > 0 || f->driver.report.detail[0]);
            torn++;
        } else {
            assert_int_equal(v, -AL_E_DAMAGED);
            damaged++;
        }
        fault_disk_free(copy);
    }
    print_message("# %s: %llu flips found as damage, %llu as torn tail\n", name,
                  (unsigned long long)damaged, (unsigned long long)torn);
    assert_true(damaged > 0 || end == 0);
}

static void every_flip_is_seen(void **state)
{
    struct fixture *f = *state;

    flips(f, JOURNAL, f->used, step(40) * 2 - 1);
}

/* ---- truncation ------------------------------------------------------------------------- */

static void every_length(void **state)
{
    struct fixture *f = *state;
    uint64_t stride = step(40), *size;

    for (uint64_t length = 0; length < f->used; length += stride) {
        struct fault_disk *copy = fault_disk_clone(f->fault);

        fault_disk_file(copy, JOURNAL, &size);
        *size = length;
        /* The direct read of a real file of odd length ends there too. */
        open_damaged(f, copy);
        fault_disk_free(copy);
    }
}

static void whole_file_gone(void **state)
{
    struct fixture *f = *state;
    struct al_disk *disk = fault_disk_attach(f->fault);

    /* Alone it leaves an empty directory: only the names say what was there. */
    assert_int_equal(disk->ops->unlink(disk, JOURNAL), 0);
    disk->ops->close_disk(disk);
    f->fault->calls = 0;
    f->sealed = 0;
    assert_int_equal(open_damaged(f, f->fault), 0);
}

/* ---- sectors ---------------------------------------------------------------------------- */

static void sectors_zeroed_swapped_moved(void **state)
{
    struct fixture *f = *state;
    struct al_test_random random = al_test_random_new("sectors");
    uint64_t *size;

    for (int i = 0; i < 300; i++) {
        struct fault_disk *copy = fault_disk_clone(f->fault);
        uint8_t *p = fault_disk_file(copy, JOURNAL, &size), save[4096];
        size_t n = al_test_below(&random, 2) ? 512 : 4096;
        uint64_t a = al_test_below(&random, f->used / n) * n;
        uint64_t b = al_test_below(&random, f->used / n) * n;

        memcpy(save, p + a, n);
        if (al_test_below(&random, 2) == 0) {
            memset(p + a, 0, n);
        } else {
            memcpy(p + a, p + b, n);
            if (al_test_below(&random, 2) == 0)
                memcpy(p + b, save, n);
        }
        open_damaged(f, copy);
        fault_disk_free(copy);
    }
}

/* The last batch arrives sector by sector in any order; what is kept is a prefix. */
static void torn_last_batch(void **state)
{
    struct fixture *f = *state;
    struct al_test_random random = al_test_random_new("torn");
    uint64_t *size;

    for (int i = 0; i < 300; i++) {
        struct fault_disk *copy = fault_disk_clone(f->fault);
        uint8_t *p = fault_disk_file(copy, JOURNAL, &size);

        for (uint64_t at = f->used - 4096; at < f->used; at += 512)
            if (al_test_below(&random, 3) == 0)
                memset(p + at, 0, 512);
        assert_int_equal(open_damaged(f, copy), 0);
        fault_disk_free(copy);
    }
}

/* A whole frame of another file, life or place is never taken for one of this. */
static void foreign_frames(void **state)
{
    struct fixture *f = *state;
    struct fixture other = {0};
    uint64_t *size;
    uint8_t *mine, *theirs;

    struct fault_disk *copy = fault_disk_clone(f->fault);

    build(&other, true); /* the same seed: the same file */
    theirs = fault_disk_file(other.fault, JOURNAL, &size);
    mine = fault_disk_file(copy, JOURNAL, &size);
    assert_memory_equal(mine, theirs, f->used);
    fault_disk_free(other.fault);
    other.seed = 1000; /* the same records in the same places, another salt */
    build(&other, true);
    theirs = fault_disk_file(other.fault, JOURNAL, &size);
    assert_memory_not_equal(mine, theirs, f->used);
    memcpy(mine + BATCHES, theirs + BATCHES, 4096);
    assert_int_equal(open_damaged(f, copy), -AL_E_DAMAGED);
    fault_disk_free(copy);
    copy = fault_disk_clone(f->fault);
    mine = fault_disk_file(copy, JOURNAL, &size);
    memcpy(mine + BATCHES + 4096, mine + BATCHES, 4096); /* the same salt in another place */
    assert_int_equal(open_damaged(f, copy), -AL_E_DAMAGED);
    fault_disk_free(copy);
    fault_disk_free(other.fault);
}

/* ---- snapshots -------------------------------------------------------------------------- */

static void add_snapshots(struct fixture *f)
{
    assert_int_equal(driver_open(&f->driver, fault_disk_attach(f->fault)), 0);
    assert_int_equal(driver_snapshot(&f->driver), 0);
    assert_int_equal(driver_put(&f->driver, 20), 0);
    assert_int_equal(driver_snapshot(&f->driver), 0);
    assert_int_equal(driver_put(&f->driver, 3), 0);
    assert_int_equal(driver_seal(&f->driver), 0);
    f->sealed = f->driver.lsn;
    driver_close(&f->driver);
}

/* The newest is damaged anywhere: the one before serves, loudly, and nothing is lost. */
static void flips_in_the_newest_snapshot(void **state)
{
    struct fixture *f = *state;
    struct al_test_random random = al_test_random_new("snapshot");
    uint64_t *size_p, size;

    add_snapshots(f);
    fault_disk_file(f->fault, SNAPSHOT, &size_p);
    size = *size_p;
    for (uint64_t at = 0; at < size; at += 1 + al_test_below(&random, step(700) * 2 - 1)) {
        struct fault_disk *copy = fault_disk_clone(f->fault);
        uint8_t *p = fault_disk_file(copy, SNAPSHOT, &size_p);

        if (al_test_below(&random, 4) == 0)
            *size_p = at;
        else
            p[at] ^= (uint8_t)(1 + al_test_below(&random, 255));
        assert_int_equal(verify(f, copy), -AL_E_DAMAGED);
        assert_int_equal(open_damaged(f, copy), 0);
        assert_int_equal(f->driver.report.snapshot_generation, 1);
        assert_non_null(strstr(f->driver.report.detail, SNAPSHOT));
        fault_disk_free(copy);
    }
}

static void both_snapshots_damaged(void **state)
{
    struct fixture *f = *state;
    struct fault_disk *copy;
    uint64_t *size;

    add_snapshots(f);
    fault_disk_file(f->fault, SNAPSHOT, &size)[5000] ^= 1;
    fault_disk_file(f->fault, "snapshot-0000000000000001", &size)[5000] ^= 1;
    copy = fault_disk_clone(f->fault);
    assert_int_equal(open_damaged(f, copy), 0); /* the journal reaches back to record 1 */
    assert_int_equal(f->driver.report.snapshot_generation, 2);
    assert_int_equal(f->driver.report.snapshot_lsn, 0);
    fault_disk_free(copy);
    copy = fault_disk_clone(f->fault);
    {
        struct al_disk *disk = fault_disk_attach(copy);

        assert_int_equal(disk->ops->unlink(disk, JOURNAL), 0);
        disk->ops->close_disk(disk);
        copy->calls = 0;
    }
    assert_int_equal(open_damaged(f, copy), -AL_E_DAMAGED);
    fault_disk_free(copy);
}

static void a_listed_segment_is_gone(void **state)
{
    struct fixture *f = *state;
    struct al_disk *disk;

    add_snapshots(f);
    disk = fault_disk_attach(f->fault);
    assert_int_equal(disk->ops->unlink(disk, JOURNAL), 0);
    disk->ops->close_disk(disk);
    f->fault->calls = 0;
    assert_int_equal(verify(f, f->fault), -AL_E_DAMAGED);
    assert_int_equal(open_damaged(f, f->fault), -AL_E_DAMAGED);
}

static void a_newer_format_is_refused(void **state)
{
    struct fixture *f = *state;
    uint64_t *size;
    uint8_t *p = fault_disk_file(f->fault, JOURNAL, &size), save[AL_DISK_BLOCK];

    memcpy(save, p, sizeof save);
    p[8] = 2; /* version */
    ali_block_finish(p);
    assert_int_equal(driver_open(&f->driver, fault_disk_attach(f->fault)), -AL_E_FORMAT);
    memcpy(p, save, sizeof save);
    p[24] |= 0x80; /* an incompatible feature */
    ali_block_finish(p);
    assert_int_equal(driver_open(&f->driver, fault_disk_attach(f->fault)), -AL_E_FORMAT);
    if (getenv("AL_TEST_SEALED"))
        return; /* a compatible one is under the seal: nobody but its writer can add it */
    memcpy(p, save, sizeof save);
    p[16] = 1; /* a compatible one */
    ali_block_finish(p);
    assert_int_equal(driver_open(&f->driver, fault_disk_attach(f->fault)), 0);
    driver_close(&f->driver);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_flip_is_seen, set_up_sealed, tear_down),
        cmocka_unit_test_setup_teardown(every_flip_is_seen, set_up_open, tear_down),
        cmocka_unit_test_setup_teardown(every_length, set_up_sealed, tear_down),
        cmocka_unit_test_setup_teardown(every_length, set_up_open, tear_down),
        cmocka_unit_test_setup_teardown(whole_file_gone, set_up_sealed, tear_down),
        cmocka_unit_test_setup_teardown(sectors_zeroed_swapped_moved, set_up_sealed, tear_down),
        cmocka_unit_test_setup_teardown(sectors_zeroed_swapped_moved, set_up_open, tear_down),
        cmocka_unit_test_setup_teardown(torn_last_batch, set_up_open, tear_down),
        cmocka_unit_test_setup_teardown(foreign_frames, set_up_sealed, tear_down),
        cmocka_unit_test_setup_teardown(flips_in_the_newest_snapshot, set_up_sealed, tear_down),
        cmocka_unit_test_setup_teardown(both_snapshots_damaged, set_up_sealed, tear_down),
        cmocka_unit_test_setup_teardown(a_listed_segment_is_gone, set_up_sealed, tear_down),
        cmocka_unit_test_setup_teardown(a_newer_format_is_refused, set_up_sealed, tear_down),
    };

    return cmocka_run_group_tests_name("store_recovery", tests, NULL, NULL);
}
