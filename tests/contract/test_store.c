/* test_store.c - the store on every kind of disk: work, snapshots, restarts, damage. */
#include "base/errors.h"
#include "disks.h"
#include "store_driver.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void work(struct driver *driver, unsigned rounds)
{
    for (unsigned i = 0; i < rounds; i++) {
        assert_int_equal(driver_put(driver, 1 + i % 40), 0);
        if (i % 9 == 4)
            assert_int_equal(driver_snapshot(driver), 0);
        driver_release(driver);
        assert_int_equal(driver_maintain(driver), 0);
    }
    assert_int_equal(driver_seal(driver), 0);
    assert_int_equal(driver->acked, driver->lsn);
}

static void in_one_life(void **state)
{
    struct driver driver;

    driver_init(&driver);
    assert_int_equal(driver_open(&driver, disk_place_open(*state)), 0);
    work(&driver, 60);
    assert_int_equal(driver_read(&driver, driver.lsn - 300, driver.lsn), 0);
    driver_close(&driver);
}

static void in_many_lives(void **state)
{
    const struct disk_place *place = *state;
    struct driver driver;
    uint64_t lsn = 0;

    driver_init(&driver);
    for (unsigned life = 0; life < 6 && place->kind->is_lasting; life++) {
        assert_int_equal(driver_open(&driver, disk_place_open(place)), 0);
        assert_int_equal(driver.lsn, lsn);
        work(&driver, 15);
        lsn = driver.lsn;
        driver_close(&driver);
    }
}

/* Recovery reads in pieces, and records lie across where they meet: some are
 * longer than a piece, some have too much before the place to be put together there. */
static void in_small_pieces(void **state)
{
    const struct disk_place *place = *state;
    struct driver driver;
    uint64_t lsn = 0;

    driver_init(&driver);
    driver.config.segment_bytes = driver.config.first_segment_bytes = 1u << 20;
    driver.payload_max = 12000;
    for (uint32_t pieces = 0; pieces < 12 && place->kind->is_lasting; pieces++) {
        driver.config.read_bytes = pieces * AL_DISK_BLOCK; /* 0: the default */
        assert_int_equal(driver_open(&driver, disk_place_open(place)), 0);
        assert_int_equal(driver.lsn, lsn);
        assert_true(lsn == 0 || driver.report.records_replayed == lsn);
        assert_int_equal(driver_put(&driver, 60), 0);
        assert_int_equal(driver_seal(&driver), 0);
        lsn = driver.lsn;
        driver_close(&driver);
    }
}

static void locked(void **state)
{
    const struct disk_place *place = *state;
    struct driver first, second;

    if (!place->kind->is_lasting)
        return;
    driver_init(&first);
    driver_init(&second);
    assert_int_equal(driver_open(&first, disk_place_open(place)), 0);
    assert_int_equal(driver_open(&second, disk_place_open(place)), -AL_E_LOCKED);
    driver_close(&first);
}

static void on_row(void *ctx, const struct al_verify_row *row)
{
    unsigned *counts = ctx;

    assert_non_null(row->detail);
    counts[0]++;
    counts[1] += strcmp(row->verdict, "damaged") == 0;
    counts[2] += strcmp(row->kind, "segment") == 0 && strcmp(row->verdict, "ok") == 0;
    counts[3] += strcmp(row->kind, "snapshot") == 0 && strcmp(row->verdict, "ok") == 0;
    counts[4] += strcmp(row->verdict, "unknown") == 0;
}

static int verify(const struct disk_place *place, unsigned counts[5])
{
    struct al_disk *disk = disk_place_open(place);
    struct al_store_report report;
    struct al_test_alloc alloc;
    int r;

    memset(counts, 0, 5 * sizeof(*counts));
    al_test_alloc_init(&alloc);
    r = al_store_verify(&alloc.alloc, disk, NULL, on_row, counts, &report);
    assert_int_equal(alloc.live_bytes, 0);
    assert_int_equal(r != 0, report.detail[0] != 0);
    disk->ops->close_disk(disk);
    return r;
}

static void damage(const struct disk_place *place, const char *name, off_t at)
{
    char path[256];
    uint8_t byte;
    int fd;

    snprintf(path, sizeof(path), "%s/%s", place->path, name);
    fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 0x10;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

static void verified(void **state)
{
    const struct disk_place *place = *state;
    struct driver driver;
    unsigned counts[5];
    char path[256];
    FILE *file;

    if (!place->kind->is_lasting)
        return;
    driver_init(&driver);
    assert_int_equal(verify(place, counts), 0); /* an empty directory is well */
    assert_int_equal(driver_open(&driver, disk_place_open(place)), 0);
    for (int i = 0; i < 30; i++)
        assert_int_equal(driver_put(&driver, 20), 0);
    assert_int_equal(driver_snapshot(&driver), 0);
    assert_int_equal(driver_put(&driver, 20), 0);
    driver_close(&driver);
    snprintf(path, sizeof(path), "%s/README", place->path);
    file = fopen(path, "w");
    assert_non_null(file);
    fclose(file);
    assert_int_equal(verify(place, counts), 0);
    assert_true(counts[1] == 0 && counts[2] >= 3 && counts[3] == 1 && counts[4] == 1);
    damage(place, "journal-0000000000000001", 8192 + 50); /* cold: opening does not look */
    assert_int_equal(verify(place, counts), -AL_E_DAMAGED);
    assert_int_equal(counts[1], 1);
    assert_int_equal(driver_open(&driver, disk_place_open(place)), 0);
    assert_int_equal(driver_read(&driver, 1, 1), -AL_E_DAMAGED); /* but reading does */
    driver_close(&driver);
    damage(place, "snapshot-0000000000000001", 5000);
    assert_int_equal(verify(place, counts), -AL_E_DAMAGED);
    assert_int_equal(counts[1], 2);
    assert_int_equal(driver_open(&driver, disk_place_open(place)), -AL_E_DAMAGED);
    assert_non_null(strstr(driver.report.detail, "journal-0000000000000001"));
}

int main(void)
{
    const struct disk_test tests[] = {
        {"in one life", in_one_life},
        {"in many lives", in_many_lives},
        {"in small pieces", in_small_pieces},
        {"locked", locked},
        {"verified", verified},
    };

    return disk_tests_run("store", tests, sizeof(tests) / sizeof(tests[0]));
}
