/* test_store_golden.c - journals written by every version so far: each later one must open them.
 *
 * The newest directory in AL_GOLDEN (tests/golden) holds what `write_golden` does, so it also shows
 * when the format changes by accident: the same work must give the same bytes. A deliberate change
 * keeps the directories that are there, raises the format's version or takes a feature bit, and
 * adds a directory of its own. AL_GOLDEN_WRITE=DIR writes the files instead of testing. */
#include "base/errors.h"
#include "fault_disk.h"
#include "store_driver.h"
#include <stdio.h>
#include <stdlib.h>

#define FILES 6u

/* What each version did with the same records. */
static const struct golden {
    const char *dir;
    const char *names[FILES];
    bool has_closing; /* segments name their successors */
} versions[] = {
    {"journal-1",
     {"journal-0000000000000001", "journal-0000000000000002", "journal-0000000000000003",
      "snapshot-0000000000000001", "snapshot-0000000000000002"},
     false},
    {"journal-2",
     {"journal-0000000000000001", "journal-0000000000000002", "journal-0000000000000003",
      "journal-0000000000000004", "snapshot-0000000000000001", "snapshot-0000000000000002"},
     true},
};
static const struct golden *const newest = &versions[sizeof(versions) / sizeof(versions[0]) - 1];

static void golden_config(struct driver *driver)
{
    driver_init(driver);
    driver->payload_max = 600;
    driver->config.segment_bytes = driver->config.first_segment_bytes = 16u << 10;
}

/* Two generations of the store, two snapshots, a seal, an unsealed end. */
static void write_golden(struct fault_disk *fault)
{
    struct driver driver;

    golden_config(&driver);
    assert_int_equal(driver_open(&driver, fault_disk_attach(fault)), 0);
    assert_int_equal(driver_put(&driver, 5), 0);
    assert_int_equal(driver_put(&driver, 30), 0);
    assert_int_equal(driver_snapshot(&driver), 0);
    assert_int_equal(driver_put(&driver, 20), 0);
    assert_int_equal(driver_seal(&driver), 0);
    driver_close(&driver);
    assert_int_equal(driver_open(&driver, fault_disk_attach(fault)), 0);
    assert_int_equal(driver_put(&driver, 10), 0);
    assert_int_equal(driver_snapshot(&driver), 0);
    assert_int_equal(driver_put(&driver, 3), 0);
    assert_int_equal(driver.lsn, 68);
    driver_close(&driver);
}

static FILE *golden_file(const char *dir, const char *name, const char *mode)
{
    char path[512];
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    file = fopen(path, mode);
    if (!file)
        fail_msg("%s: cannot open", path);
    return file;
}

/* The whole content of a file of a version. */
static size_t golden_read(const struct golden *golden, const char *name, uint8_t *out, size_t cap)
{
    const char *root = getenv("AL_GOLDEN");
    char dir[400];
    FILE *file;
    size_t n;

    assert_non_null(root);
    snprintf(dir, sizeof(dir), "%s/%s", root, golden->dir);
    file = golden_file(dir, name, "r");
    n = fread(out, 1, cap, file);
    fclose(file);
    return n;
}

static _Alignas(AL_DISK_BLOCK) uint8_t bytes[1u << 20];

static void the_same_work_gives_the_same_bytes(void **state)
{
    struct fault_disk *fault = fault_disk_new();

    (void)state;
    write_golden(fault);
    for (size_t i = 0; i < fault->seen_count; i++) {
        const char *name = fault->seen[i].name;
        uint64_t *size;
        const uint8_t *p = fault_disk_file(fault, name, &size);

        assert_int_equal(golden_read(newest, name, bytes, sizeof(bytes)), *size);
        assert_memory_equal(bytes, p, *size);
    }
    assert_int_equal(fault->seen_count, FILES);
    fault_disk_free(fault);
}

/* A disk with the files of a version. */
static struct fault_disk *load(const struct golden *golden)
{
    struct fault_disk *fault = fault_disk_new();
    struct al_disk *disk = fault_disk_attach(fault);

    for (size_t i = 0; i < FILES && golden->names[i]; i++) {
        size_t n = golden_read(golden, golden->names[i], bytes, sizeof(bytes));
        struct al_disk_file *to;

        assert_int_equal(
            disk->ops->open(disk, golden->names[i], AL_DISK_WRITE | AL_DISK_CREATE, &to), 0);
        assert_int_equal(disk->ops->write(disk, to, bytes, n, 0), 0);
        disk->ops->close(disk, to);
    }
    disk->ops->close_disk(disk);
    return fault;
}

static void verify(struct fault_disk *fault, int verdict)
{
    struct al_disk *disk = fault_disk_attach(fault);
    struct al_store_report report;
    struct al_test_alloc alloc;

    al_test_alloc_init(&alloc);
    assert_int_equal(al_store_verify(&alloc.alloc, disk, NULL, NULL, NULL, &report), verdict);
    disk->ops->close_disk(disk);
}

static void every_version_can_be_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++) {
        struct fault_disk *fault = load(&versions[i]);
        struct driver driver;

        verify(fault, 0);
        golden_config(&driver);
        assert_int_equal(driver_open(&driver, fault_disk_attach(fault)), 0);
        assert_int_equal(driver.report.snapshot_lsn, 65);
        assert_int_equal(driver.lsn, 68);
        assert_int_equal(driver_read(&driver, 1, 68), 0);
        for (int k = 0; k < 3; k++) /* goes on in new segments, also across a start */
            assert_int_equal(driver_put(&driver, 30), 0);
        driver_close(&driver);
        assert_int_equal(driver_open(&driver, fault_disk_attach(fault)), 0);
        assert_int_equal(driver_put(&driver, 5), 0);
        assert_int_equal(driver_read(&driver, 1, 163), 0);
        driver_close(&driver);
        verify(fault, 0);
        fault_disk_free(fault);
    }
}

/* The newest journal file of a directory, by its name. */
static const char *newest_file(const struct fault_disk *fault)
{
    const char *name = "";

    for (size_t i = 0; i < fault->seen_count; i++)
        if (strncmp(fault->seen[i].name, "journal-", 8) == 0 &&
            strcmp(fault->seen[i].name, name) > 0)
            name = fault->seen[i].name;
    return name;
}

/* Without its newest file: segments of the first version cannot tell, but the first one that this
 * version adds to them is guarded as soon as there is a second. */
static void without_the_newest_file(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++) {
        struct fault_disk *fault = load(&versions[i]);
        struct al_disk *disk;
        struct driver driver;

        golden_config(&driver);
        if (!versions[i].has_closing) {
            assert_int_equal(driver_open(&driver, fault_disk_attach(fault)), 0);
            for (int k = 0; k < 3; k++)
                assert_int_equal(driver_put(&driver, 30), 0);
            driver_close(&driver);
        }
        disk = fault_disk_attach(fault);
        assert_int_equal(disk->ops->unlink(disk, newest_file(fault)), 0);
        disk->ops->close_disk(disk);
        verify(fault, -AL_E_DAMAGED);
        assert_int_equal(driver_open(&driver, fault_disk_attach(fault)), -AL_E_DAMAGED);
        fault_disk_free(fault);
    }
}

/* Writes the directory instead of testing it. */
static int write_files(const char *dir)
{
    struct fault_disk *fault = fault_disk_new();

    write_golden(fault);
    for (size_t i = 0; i < fault->seen_count; i++) {
        uint64_t *size;
        const uint8_t *p = fault_disk_file(fault, fault->seen[i].name, &size);
        FILE *file = golden_file(dir, fault->seen[i].name, "w");

        if (fwrite(p, 1, *size, file) != *size)
            return 1;
        fclose(file);
        printf("%s\n", fault->seen[i].name);
    }
    fault_disk_free(fault);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_work_gives_the_same_bytes),
        cmocka_unit_test(every_version_can_be_read),
        cmocka_unit_test(without_the_newest_file),
    };

    if (getenv("AL_GOLDEN_WRITE"))
        return write_files(getenv("AL_GOLDEN_WRITE"));
    return cmocka_run_group_tests_name("store_golden", tests, NULL, NULL);
}
