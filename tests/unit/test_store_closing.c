/* test_store_closing.c - the newest journal file goes missing, and the start says so.
 *
 * Two laws. Of the disk, at every moment: the closing block of the newest segment is blank, and
 * when something was acknowledged out of the newest segment, the one before it names it. Of a
 * start: without the newest files, one or several, a directory is refused, the missing file is
 * named, and nothing is changed; except where no journal file and no snapshot is left. */
#include "base/errors.h"
#include "fault_disk.h"
#include "store/frame.h"
#include "store_driver.h"
#include <stdio.h>
#include <stdlib.h>

#define BATCHES 8192u /* where they begin */

struct fixture {
    struct fault_disk *fault;
    struct driver driver;
};

/* The tag of a sealed segment is not looked at: its keys are not here. */
static bool decode(const uint8_t *block, struct ali_closing *ret_closing)
{
    return ali_closing_decode(block, getenv("AL_TEST_SEALED") != NULL, NULL, ret_closing);
}

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

static int reopen(struct fixture *f)
{
    if (f->driver.store)
        driver_close(&f->driver);
    return driver_open(&f->driver, fault_disk_attach(f->fault));
}

/* ---- files ------------------------------------------------------------------------------ */

static unsigned count_files(const struct fault_disk *fault, const char *prefix)
{
    unsigned n = 0;

    for (size_t i = 0; i < fault->seen_count; i++)
        n += strncmp(fault->seen[i].name, prefix, strlen(prefix)) == 0;
    return n;
}

/* The newest journal file but `skip`; false: there are not so many. */
static bool newest(const struct fault_disk *fault, unsigned skip, char ret_name[64])
{
    char below[64] = "journal-~";

    for (unsigned round = 0; round <= skip; round++) {
        ret_name[0] = 0;
        for (size_t i = 0; i < fault->seen_count; i++) {
            const char *name = fault->seen[i].name;

            if (strncmp(name, "journal-", 8) == 0 && strcmp(name, below) < 0 &&
                strcmp(name, ret_name) > 0)
                snprintf(ret_name, 64, "%s", name);
        }
        snprintf(below, sizeof(below), "%s", ret_name);
    }
    return ret_name[0] != 0;
}

static uint8_t *closing_of(struct fault_disk *fault, unsigned skip)
{
    char name[64];
    uint64_t *size;

    assert_true(newest(fault, skip, name));
    return fault_disk_file(fault, name, &size) + ALI_CLOSING_AT;
}

static bool is_blank(const uint8_t *block)
{
    return ali_is_zero(block, AL_DISK_BLOCK);
}

static void remove_file(struct fault_disk *fault, const char *name)
{
    struct al_disk *disk = fault_disk_attach(fault);

    assert_int_equal(disk->ops->unlink(disk, name), 0);
    disk->ops->close_disk(disk);
    fault_disk_heal(fault);
}

/* ---- the laws --------------------------------------------------------------------------- */

/* The first law, of what stands on a disk; what is up to `acked` was acknowledged. */
static void disk_obeys(struct fault_disk *fault, uint64_t acked)
{
    struct ali_segment_header header;
    struct ali_closing closing;
    char name[64];
    uint64_t *size;

    if (!newest(fault, 0, name))
        return;
    assert_int_equal(ali_segment_header_decode(fault_disk_file(fault, name, &size), &header), 0);
    assert_true(header.has_closing);
    assert_true(is_blank(closing_of(fault, 0)));
    if (acked <= header.durable_lsn || count_files(fault, "journal-") < 2)
        return;
    assert_true(decode(closing_of(fault, 1), &closing) || count_files(fault, "snap"));
    assert_false(is_blank(closing_of(fault, 1)));
}

static void on_row(void *ctx, const struct al_verify_row *row)
{
    bool *is_named = ctx;

    *is_named |= strcmp(row->verdict, "damaged") == 0 && strcmp(row->kind, "segment") == 0;
}

/* What verify says of a disk, and whether of a segment. */
static int verify(struct fault_disk *fault, bool *ret_is_named)
{
    struct al_disk *disk = fault_disk_attach(fault);
    struct al_store_report report;
    struct al_test_alloc alloc;
    int r;

    *ret_is_named = false;
    al_test_alloc_init(&alloc);
    r = al_store_verify(&alloc.alloc, disk, NULL, on_row, ret_is_named, &report);
    disk->ops->close_disk(disk);
    assert_int_equal(alloc.live_bytes, 0);
    assert_int_equal(r != 0, report.detail[0] != 0);
    return r;
}

/* A disk that must be refused with a word about a journal file, and must not be touched. */
static void is_refused(const struct driver *driver, struct fault_disk *fault, const char *word)
{
    struct driver other = *driver;
    bool is_named;

    fault_disk_heal(fault);
    assert_int_equal(verify(fault, &is_named), -AL_E_DAMAGED);
    assert_true(is_named);
    assert_int_equal(driver_open(&other, fault_disk_attach(fault)), -AL_E_DAMAGED);
    if (!strstr(other.report.detail, word))
        fail_msg("\"%s\" is not in: %s", word, other.report.detail);
    assert_non_null(strstr(other.report.detail, "offset"));
    assert_int_equal(fault->calls, 0);
}

/* The second law: without the n newest files, for every n. */
static void disk_is_guarded(const struct driver *driver, const struct fault_disk *fault)
{
    struct fault_disk *copy = fault_disk_clone(fault);
    unsigned snapshots = count_files(fault, "snapshot-");
    char name[64];

    while (newest(copy, 0, name)) {
        struct fault_disk *tried;

        remove_file(copy, name);
        if (!count_files(copy, "journal-") && !snapshots)
            break;
        tried = fault_disk_clone(copy);
        is_refused(driver, tried, "journal-");
        fault_disk_free(tried);
    }
    fault_disk_free(copy);
}

/* ---- ordinary life ---------------------------------------------------------------------- */

static void after_a_segment_change(void **state)
{
    struct fixture *f = *state;
    char name[64];

    while (count_files(f->fault, "journal-") < 5) {
        assert_int_equal(driver_put(&f->driver, 5), 0);
        disk_obeys(f->fault, f->driver.acked);
    }
    driver_close(&f->driver);
    disk_is_guarded(&f->driver, f->fault);
    assert_true(newest(f->fault, 0, name));
    remove_file(f->fault, name);
    is_refused(&f->driver, f->fault, name); /* by its name */
}

static void after_a_start(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(driver_put(&f->driver, 3), 0);
    for (int i = 0; i < 4; i++) {
        if (i % 2)
            assert_int_equal(driver_seal(&f->driver), 0); /* otherwise the tail is rewritten */
        assert_int_equal(reopen(f), 0);
        assert_int_equal(driver_put(&f->driver, 1), 0);
        disk_obeys(f->fault, f->driver.acked);
    }
    driver_close(&f->driver);
    disk_is_guarded(&f->driver, f->fault);
}

/* Before the first batch behind a start there is no new file, and nothing to miss but the last. */
static void after_a_start_without_work(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < 20; i++)
        assert_int_equal(driver_put(&f->driver, 10), 0);
    assert_int_equal(driver_seal(&f->driver), 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(reopen(f), 0);
        assert_int_equal(driver_snapshot(&f->driver), 0);
        driver_release(&f->driver);
        assert_int_equal(driver_maintain(&f->driver), 0);
    }
    assert_int_equal(reopen(f), 0);
    driver_release(&f->driver);
    assert_int_equal(driver_snapshot(&f->driver), 0);
    assert_int_equal(driver_maintain(&f->driver), 0);
    /* Nothing needs the last segment, but it has to say what follows: it stays. */
    assert_int_equal(count_files(f->fault, "journal-"), 1);
    assert_int_equal(driver_put(&f->driver, 1), 0);
    assert_int_equal(count_files(f->fault, "journal-"), 2);
    driver_close(&f->driver);
    disk_is_guarded(&f->driver, f->fault);
}

/* Segments come and go for long; at no time is the newest one without a witness. */
static void while_segments_are_recycled(void **state)
{
    struct fixture *f = *state;
    struct al_test_random random = al_test_random_new("recycled");

    for (int round = 0; round < 80; round++) {
        for (int i = 0; i < 6; i++)
            assert_int_equal(driver_put(&f->driver, 1 + (unsigned)al_test_below(&random, 30)), 0);
        if (al_test_below(&random, 2) == 0)
            assert_int_equal(driver_snapshot(&f->driver), 0);
        driver_release(&f->driver);
        if (al_test_below(&random, 2) == 0)
            assert_int_equal(driver_maintain(&f->driver), 0);
        if (al_test_below(&random, 3) == 0)
            assert_int_equal(reopen(f), 0);
        else if (al_test_below(&random, 3) == 0)
            assert_int_equal(driver_seal(&f->driver), 0);
        disk_obeys(f->fault, f->driver.acked);
        disk_is_guarded(&f->driver, f->fault);
    }
    assert_true(count_files(f->fault, "journal-") < 20);
}

/* A batch that is larger than a segment, in the middle and at the end. */
static void large_batches(void **state)
{
    struct fixture *f = *state;

    f->driver.payload_max = 200000;
    for (int i = 0; i < 30; i++) {
        assert_int_equal(driver_put(&f->driver, 1 + (unsigned)i % 3), 0);
        disk_obeys(f->fault, f->driver.acked);
    }
    disk_is_guarded(&f->driver, f->fault);
    assert_int_equal(reopen(f), 0);
    assert_int_equal(driver_read(&f->driver, 1, f->driver.lsn), 0);
}

/* ---- the cost and the order of a change ------------------------------------------------- */

/* Puts small batches until the next one begins a new segment; returns a copy from before it. */
static struct fault_disk *before_a_change(struct fixture *f)
{
    for (;;) {
        struct fault_disk *copy = fault_disk_clone(f->fault);
        unsigned count = count_files(f->fault, "journal-");

        assert_int_equal(driver_put(&f->driver, 1), 0);
        if (count_files(f->fault, "journal-") > count)
            return copy;
        fault_disk_free(copy);
    }
}

static uint64_t calls_of_a_change(struct fixture *f, unsigned mask)
{
    for (;;) {
        unsigned count = count_files(f->fault, "journal-");

        fault_disk_heal(f->fault);
        f->fault->count_mask = mask;
        assert_int_equal(driver_put(&f->driver, 1), 0);
        if (count_files(f->fault, "journal-") > count)
            return f->fault->calls;
    }
}

static void one_write_and_one_flush_more(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < 40; i++) { /* until files are prepared */
        assert_int_equal(driver_put(&f->driver, 20), 0);
        assert_int_equal(driver_maintain(&f->driver), 0);
    }
    assert_true(count_files(f->fault, "free-") >= 2);
    /* The header, the closing block, the batch; the name. */
    assert_int_equal(calls_of_a_change(f, FAULT_WRITE), 3);
    assert_int_equal(driver_maintain(&f->driver), 0);
    assert_int_equal(calls_of_a_change(f, FAULT_FLUSH), 3);
    assert_int_equal(driver_maintain(&f->driver), 0);
    assert_int_equal(calls_of_a_change(f, FAULT_RENAME | FAULT_SYNC_DIR | FAULT_UNLINK), 2);
}

/* All room is reserved before: with a prepared file a change fits on a disk that is full. */
static void a_full_disk(void **state)
{
    struct fixture *f = *state;
    unsigned before;

    for (int i = 0; i < 40; i++) {
        assert_int_equal(driver_put(&f->driver, 20), 0);
        assert_int_equal(driver_maintain(&f->driver), 0);
    }
    before = count_files(f->fault, "journal-");
    f->fault->capacity = 0; /* nothing may grow */
    assert_true(count_files(f->fault, "free-") >= 2);
    while (count_files(f->fault, "free-") > 0)
        assert_int_equal(driver_put(&f->driver, 1), 0);
    assert_true(count_files(f->fault, "journal-") >= before + 2);
    driver_close(&f->driver);
    disk_is_guarded(&f->driver, f->fault);
}

/* ---- crashes ---------------------------------------------------------------------------- */

/* Everything that begins segments: batches, seals, restarts, snapshots, recycling. */
static int work(struct driver *driver, struct fault_disk *fault, uint64_t seed)
{
    struct al_test_random random = {seed};
    int r = driver_open(driver, fault_disk_attach(fault));

    for (int i = 0; i < 24 && r == 0; i++) {
        r = driver_put(driver, 1 + (unsigned)al_test_below(&random, 50));
        if (r == 0 && al_test_below(&random, 5) == 0)
            r = driver_snapshot(driver);
        driver_release(driver);
        if (r == 0 && al_test_below(&random, 3) == 0)
            r = driver_maintain(driver);
        if (r == 0 && al_test_below(&random, 4) == 0) {
            if (al_test_below(&random, 2) == 0)
                r = driver_seal(driver);
            driver_close(driver);
            if (r == 0)
                r = driver_open(driver, fault_disk_attach(fault));
        }
    }
    return r;
}

/* Ends the life of a store that failed. */
static void crash(struct driver *driver, struct fault_disk *fault, struct al_test_random *random)
{
    if (driver->store)
        driver_close(driver);
    if (al_test_below(random, 4) == 0)
        fault_disk_kill(fault);
    else
        fault_disk_cut(fault, random, (unsigned[]){0, 128, 256}[al_test_below(random, 3)]);
}

/* The directory opens, holds what was acknowledged, and after the next batch is guarded. */
static void goes_on(struct driver *driver, struct fault_disk *fault, uint64_t acked)
{
    int r;

    disk_obeys(fault, acked);
    r = driver_open(driver, fault_disk_attach(fault));
    if (r < 0)
        print_message("# open: %d %s\n", r, driver->report.detail);
    assert_int_equal(r, 0);
    assert_true(driver->lsn >= acked);
    assert_int_equal(driver_put(driver, 1), 0);
    disk_obeys(fault, driver->acked);
    driver_close(driver);
    disk_is_guarded(driver, fault);
}

/* Fails the n-th changing call for every n, in a work that begins a segment every few calls. */
static void at_every_call(void **state)
{
    struct al_test_random random = al_test_random_new("every call");
    bool failed = true;
    uint64_t n;

    (void)state;
    for (n = 1; failed; n++) {
        struct fault_disk *fault = fault_disk_new();
        struct driver driver;
        uint64_t acked;

        driver_init(&driver);
        fault->fail_at = n;
        fault->applies_failed = al_test_below(&random, 2) == 0;
        (void)work(&driver, fault, 5);
        failed = fault->calls >= n;
        acked = driver.acked;
        crash(&driver, fault, &random);
        goes_on(&driver, fault, acked);
        fault_disk_free(fault);
    }
    print_message("# %llu calls failed in turn\n", (unsigned long long)n - 2);
    assert_true(n > 100);
}

/* The start itself crashes again and again, at any call, with an unsealed tail; what one left
 * undone the next one does. */
static void starts_that_crash(void **state)
{
    struct al_test_random random = al_test_random_new("starts");
    uint64_t crashes = 0;

    (void)state;
    for (int round = 0; round < 60; round++) {
        struct fault_disk *fault = fault_disk_new();
        struct driver driver;
        uint64_t acked;

        driver_init(&driver);
        fault->fail_at = 10 + al_test_below(&random, 100);
        (void)work(&driver, fault, al_test_random64(&random));
        acked = driver.acked;
        crash(&driver, fault, &random);
        for (int i = 0; i < 6; i++) {
            disk_obeys(fault, acked);
            fault->fail_at = 1 + al_test_below(&random, 12);
            fault->applies_failed = al_test_below(&random, 2) == 0;
            if (driver_open(&driver, fault_disk_attach(fault)) == 0) {
                assert_true(driver.lsn >= acked);
                acked = driver.lsn;
                if (driver_put(&driver, 1) == 0)
                    (void)driver_put(&driver, 1 + (unsigned)al_test_below(&random, 40));
                acked = driver.acked > acked ? driver.acked : acked;
            } else {
                assert_string_equal(driver.report.detail, ""); /* the disk failed, no damage */
            }
            crashes += fault->is_dead;
            crash(&driver, fault, &random);
        }
        goes_on(&driver, fault, acked);
        fault_disk_free(fault);
    }
    print_message("# %llu crashes\n", (unsigned long long)crashes);
    assert_true(crashes > 60);
}

/* A crash right behind the name of the new segment, before anything names it. */
static void the_next_start_names_it(void **state)
{
    struct fixture *f = *state;
    struct fault_disk *copy;
    struct ali_closing closing;

    for (int i = 0; i < 10; i++)
        assert_int_equal(driver_put(&f->driver, 20), 0);
    driver_close(&f->driver);
    memset(closing_of(f->fault, 1), 0, AL_DISK_BLOCK);
    copy = fault_disk_clone(f->fault);
    assert_int_equal(driver_open(&f->driver, fault_disk_attach(copy)), 0);
    driver_close(&f->driver);
    assert_true(decode(closing_of(copy, 1), &closing)); /* also without a batch */
    disk_is_guarded(&f->driver, copy);
    fault_disk_free(copy);
}

/* The batch of the newest segment never arrived. */
static void empty_the_newest(struct fault_disk *fault)
{
    char name[64];
    uint64_t *size;
    uint8_t *p;

    assert_true(newest(fault, 0, name));
    p = fault_disk_file(fault, name, &size);
    memset(p + BATCHES, 0, *size - BATCHES);
}

/* A segment that was made and never used goes; the ones around it stay a chain. */
static void an_empty_segment(void **state)
{
    struct fixture *f = *state;
    struct fault_disk *copy;
    unsigned count;

    for (int i = 0; i < 10; i++)
        assert_int_equal(driver_put(&f->driver, 20), 0);
    copy = before_a_change(f);
    fault_disk_free(copy);
    driver_close(&f->driver);
    empty_the_newest(f->fault);
    count = count_files(f->fault, "journal-");
    assert_int_equal(reopen(f), 0);
    assert_int_equal(driver_put(&f->driver, 3), 0);
    disk_is_guarded(&f->driver, f->fault);
    assert_int_equal(count_files(f->fault, "journal-"), count + 1);
    assert_int_equal(driver_maintain(&f->driver), 0);
    assert_int_equal(count_files(f->fault, "journal-"), count);
    disk_is_guarded(&f->driver, f->fault);
    assert_int_equal(reopen(f), 0);
    assert_int_equal(driver_read(&f->driver, 1, f->driver.lsn), 0);
}

/* The same while a snapshot is being written that lists it: it stays until the next one. */
static void an_empty_segment_in_a_snapshot(void **state)
{
    struct fixture *f = *state;
    struct al_snapshot_writer *writer;
    struct al_store_report report;
    struct al_store *store;

    assert_int_equal(driver_put(&f->driver, 3), 0);
    assert_int_equal(driver_seal(&f->driver), 0);
    assert_int_equal(reopen(f), 0);
    assert_int_equal(driver_put(&f->driver, 1), 0);
    driver_close(&f->driver);
    empty_the_newest(f->fault);
    assert_int_equal(reopen(f), 0);
    assert_int_equal(al_store_snapshot_begin(f->driver.store, f->driver.lsn, &writer), 0);
    assert_int_equal(driver_put(&f->driver, 3), 0);
    assert_int_equal(driver_maintain(&f->driver), 0);
    assert_int_equal(al_store_snapshot_commit(writer), 0);
    assert_int_equal(driver_maintain(&f->driver), 0);
    driver_close(&f->driver);
    assert_int_equal(
        al_store_open(&f->driver.config, fault_disk_attach(f->fault), NULL, &report, &store), 0);
    al_store_close(store);
}

/* The same when the newest snapshot, which lists it, cannot be read for a while. */
static void an_empty_segment_in_a_damaged_snapshot(void **state)
{
    struct fixture *f = *state;
    struct fault_disk *copy;
    char name[64];
    uint64_t *size;

    assert_int_equal(driver_put(&f->driver, 3), 0);
    assert_int_equal(driver_snapshot(&f->driver), 0);
    assert_int_equal(reopen(f), 0);
    assert_int_equal(driver_put(&f->driver, 1), 0);
    driver_close(&f->driver);
    empty_the_newest(f->fault);
    assert_int_equal(reopen(f), 0);
    assert_int_equal(driver_snapshot(&f->driver), 0);
    fault_disk_file(f->fault, "snapshot-0000000000000002", &size)[5000] ^= 1;
    assert_int_equal(reopen(f), 0);
    assert_int_equal(f->driver.report.snapshot_generation, 1);
    assert_int_equal(driver_put(&f->driver, 1), 0);
    assert_int_equal(driver_maintain(&f->driver), 0);
    driver_close(&f->driver);
    copy = fault_disk_clone(f->fault);
    assert_true(newest(copy, 0, name));
    remove_file(copy, name);
    is_refused(&f->driver, copy, name);
    fault_disk_free(copy);
    fault_disk_file(f->fault, "snapshot-0000000000000002", &size)[5000] ^= 1;
    assert_int_equal(reopen(f), 0);
    assert_int_equal(driver_snapshot(&f->driver), 0);
    assert_int_equal(driver_maintain(&f->driver), 0); /* now it goes */
    assert_int_equal(reopen(f), 0);
    disk_is_guarded(&f->driver, f->fault);
}

/* ---- damage to the block ---------------------------------------------------------------- */

/* Whatever a crash or the years have made of it: harmless beside the file that it names, refused
 * without that file. */
static void check_block(struct fixture *f, const uint8_t block[AL_DISK_BLOCK], const char *word)
{
    struct fault_disk *copy = fault_disk_clone(f->fault);
    struct driver driver = f->driver;
    char name[64];
    bool is_named;

    memcpy(closing_of(copy, 1), block, AL_DISK_BLOCK);
    assert_int_equal(verify(copy, &is_named), 0);
    assert_int_equal(driver_open(&driver, fault_disk_attach(copy)), 0);
    assert_int_equal(driver.lsn, f->driver.lsn);
    driver_close(&driver);
    assert_true(newest(copy, 0, name));
    remove_file(copy, name);
    is_refused(&f->driver, copy, word);
    fault_disk_free(copy);
}

static void torn_or_flipped(void **state)
{
    struct fixture *f = *state;
    const size_t used = ALI_FRAME_SIZE + ALI_CLOSING_SIZE;
    uint8_t whole[AL_DISK_BLOCK], block[AL_DISK_BLOCK];
    char name[64];

    for (int i = 0; i < 10; i++)
        assert_int_equal(driver_put(&f->driver, 20), 0);
    assert_int_equal(driver_seal(&f->driver), 0);
    driver_close(&f->driver);
    memcpy(whole, closing_of(f->fault, 1), AL_DISK_BLOCK);
    assert_true(newest(f->fault, 0, name));
    check_block(f, whole, name);
    for (size_t n = 1; n < used; n++) { /* torn behind n bytes */
        memset(block, 0, sizeof(block));
        memcpy(block, whole, n);
        if (memcmp(block, whole, sizeof(block)) != 0)
            check_block(f, block, "closing block");
    }
    for (size_t n = 0; n < AL_DISK_BLOCK; n += n < used ? 1 : 61) {
        memcpy(block, whole, sizeof(block));
        block[n] ^= 0x20;
        check_block(f, block, "closing block");
    }
    for (size_t n = 0; n < AL_DISK_BLOCK; n += 97) { /* garbage where nothing was ever written */
        struct fault_disk *copy = fault_disk_clone(f->fault);

        closing_of(copy, 0)[n] = 1;
        is_refused(&f->driver, copy, "closing block");
        fault_disk_free(copy);
    }
}

/* The block of another segment, or of another life of this one, is not this segment's. */
static void a_foreign_block(void **state)
{
    struct fixture *f = *state;
    uint8_t block[AL_DISK_BLOCK];

    for (int i = 0; i < 21; i++)
        assert_int_equal(driver_put(&f->driver, 20), 0);
    assert_int_equal(driver_seal(&f->driver), 0);
    driver_close(&f->driver);
    memcpy(block, closing_of(f->fault, 2), AL_DISK_BLOCK);
    check_block(f, block, "closing block");
}

/* A file of the right name out of another directory. */
static void another_file_of_this_name(void **state)
{
    struct fixture *f = *state;
    struct fixture other = {.fault = fault_disk_new()};
    const uint64_t records = 200;
    char name[64];
    uint64_t *size, *other_size;
    uint8_t *p;

    driver_init(&other.driver);
    other.driver.config.random_seed += 1000;
    assert_int_equal(driver_open(&other.driver, fault_disk_attach(other.fault)), 0);
    for (uint64_t i = 0; i < records; i += 20) {
        assert_int_equal(driver_put(&f->driver, 20), 0);
        assert_int_equal(driver_put(&other.driver, 20), 0);
    }
    driver_close(&f->driver);
    driver_close(&other.driver);
    assert_true(newest(f->fault, 0, name));
    p = fault_disk_file(f->fault, name, &size);
    assert_non_null(fault_disk_file(other.fault, name, &other_size));
    assert_int_equal(*size, *other_size);
    memcpy(p, fault_disk_file(other.fault, name, &other_size), *size);
    is_refused(&f->driver, f->fault, name);
    fault_disk_free(other.fault);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(after_a_segment_change, set_up, tear_down),
        cmocka_unit_test_setup_teardown(after_a_start, set_up, tear_down),
        cmocka_unit_test_setup_teardown(after_a_start_without_work, set_up, tear_down),
        cmocka_unit_test_setup_teardown(while_segments_are_recycled, set_up, tear_down),
        cmocka_unit_test_setup_teardown(large_batches, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_write_and_one_flush_more, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_full_disk, set_up, tear_down),
        cmocka_unit_test(at_every_call),
        cmocka_unit_test(starts_that_crash),
        cmocka_unit_test_setup_teardown(the_next_start_names_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_empty_segment, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_empty_segment_in_a_snapshot, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_empty_segment_in_a_damaged_snapshot, set_up, tear_down),
        cmocka_unit_test_setup_teardown(torn_or_flipped, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_foreign_block, set_up, tear_down),
        cmocka_unit_test_setup_teardown(another_file_of_this_name, set_up, tear_down),
    };

    return cmocka_run_group_tests_name("store_closing", tests, NULL, NULL);
}
