/* test_store_sealed.c - sealed journals: nothing readable on the disk, nothing forged believed.
 *
 * Accidents are found by checksums, which need no key; test_store_recovery.c runs on sealed
 * journals for that. Here somebody changes a byte and makes every checksum right again. */
#include "base/crc32c.h"
#include "base/errors.h"
#include "fault_disk.h"
#include "store/frame.h"
#include "store_driver.h"
#include <stdio.h>

#define JOURNAL  "journal-0000000000000001"
#define SNAPSHOT "snapshot-0000000000000001"
#define CANARY   "the canary must not be seen by anybody who has only the disk"

/* A directory with a segment that holds a few records, and perhaps a snapshot; closed. */
static struct fault_disk *build(struct driver *driver, bool snapshot)
{
    struct fault_disk *fault = fault_disk_new();

    driver_init(driver);
    driver->payload_max = 300;
    driver->config.first_segment_bytes = driver->config.segment_bytes; /* one segment */
    driver_seal_with(driver, 1);
    assert_int_equal(driver_open(driver, fault_disk_attach(fault)), 0);
    assert_int_equal(driver_put(driver, 3), 0);
    assert_int_equal(driver_put(driver, 2), 0);
    if (snapshot)
        assert_int_equal(driver_snapshot(driver), 0);
    assert_int_equal(driver_put(driver, 1), 0);
    assert_int_equal(driver_seal(driver), 0);
    driver_close(driver);
    return fault;
}

static void on_row(void *ctx, const struct al_verify_row *row)
{
    int *torn = ctx;

    *torn |= strcmp(row->verdict, "torn tail") == 0;
}

/* What verify says; 1: well, but for a torn tail. */
static int verify(struct fault_disk *fault, const uint8_t *key)
{
    int torn = 0;
    struct al_store_report report;
    struct al_disk *disk = fault_disk_attach(fault);
    struct al_test_alloc alloc;
    int r;

    al_test_alloc_init(&alloc);
    r = al_store_verify(&alloc.alloc, disk, key, on_row, &torn, &report);
    disk->ops->close_disk(disk);
    assert_int_equal(alloc.live_bytes, 0);
    return r == 0 ? torn : r;
}

static uint64_t content_end(struct fault_disk *fault, const char *name)
{
    uint64_t *size, at;
    const uint8_t *p = fault_disk_file(fault, name, &size);

    for (at = *size; at && ali_is_zero(p + at - AL_DISK_BLOCK, AL_DISK_BLOCK); at -= AL_DISK_BLOCK)
        ;
    return at;
}

/* Makes the checksums right again: of the header block, of its slots, and of every frame from the
 * first to the last, by the lengths that stood there before. */
static void mend(uint8_t *p, const uint8_t *before, uint64_t begin, uint64_t end)
{
    for (unsigned slot = 0; slot < 2; slot++) {
        uint8_t *q = p + ALI_SLOTS_AT + (size_t)slot * ALI_SLOT_SIZE;

        if (!ali_is_zero(q, ALI_SLOT_SIZE))
            al_put32(q + ALI_SLOT_SIZE - 4, al_crc32c(0, q, ALI_SLOT_SIZE - 4));
    }
    ali_block_finish(p);
    for (uint64_t at = begin; at < end;) {
        uint32_t length = al_get32(before + at), now = al_get32(p + at);

        if (ali_is_zero(before + at, ALI_FRAME_SIZE)) { /* padding */
            at = ali_round_up(at + 1);
            continue;
        }
        if (now <= end - at - ALI_FRAME_SIZE)
            al_put32(p + at + 32, al_crc32c(0, p + at + ALI_FRAME_SIZE, now));
        al_put32(p + at + 36, al_crc32c(0, p + at, 36));
        at += ALI_FRAME_SIZE + (uint64_t)length;
        if (end - at < ALI_FRAME_SIZE || ali_is_zero(before + at, 4))
            at = ali_round_up(at);
    }
}

/* Flips a bit of one byte after the other (beyond 12 KiB only of one in `stride`), mends, and
 * looks. Zeros that fill up a last block, and the seal behind everything, count as a torn tail when
 * they are not what they were: nothing is lost, and it is said. */
static void forge(struct driver *driver, struct fault_disk *fault, const char *name, uint64_t begin,
                  uint64_t stride, bool opens)
{
    uint64_t *size, end = content_end(fault, name);
    const uint8_t *before = fault_disk_file(fault, name, &size);

    assert_int_equal(verify(fault, driver->config.seal.key), 0);
    for (uint64_t at = 0; at < end; at += at < 12288 ? 1 : stride) {
        struct fault_disk *copy = fault_disk_clone(fault);
        struct driver again = *driver;
        uint8_t *p = fault_disk_file(copy, name, &size);
        bool may_be_torn = before[at] == 0 || at >= end - AL_DISK_BLOCK;
        int r;

        p[at] ^= (uint8_t)(1u << at % 8);
        mend(p, before, begin, end);
        if (memcmp(p, before, end) == 0) { /* it was a checksum: mended */
            fault_disk_free(copy);
            continue;
        }
        r = verify(copy, driver->config.seal.key);
        if (r != -AL_E_DAMAGED && (r != 1 || !may_be_torn))
            fail_msg("a changed byte at %llu of %s is not seen", (unsigned long long)at, name);
        r = driver_open(&again, fault_disk_attach(copy));
        if (r == 0)
            driver_close(&again);
        if (r == 0 && !opens && may_be_torn && again.report.torn_bytes)
            r = -AL_E_DAMAGED;
        if (!opens && r != -AL_E_DAMAGED && r != -AL_E_SEAL_KEY && r != -AL_E_FORMAT)
            fail_msg("with a changed byte at %llu of %s opening says %d", (unsigned long long)at,
                     name, r);
        fault_disk_free(copy);
    }
}

static void no_byte_of_a_segment_can_be_forged(void **state)
{
    struct driver driver;
    struct fault_disk *fault = build(&driver, false);

    (void)state;
    forge(&driver, fault, JOURNAL, 2 * AL_DISK_BLOCK, 1, false);
    fault_disk_free(fault);
}

/* Opening passes over a snapshot that is not right, as over a damaged one, and says so. */
static void no_byte_of_a_snapshot_can_be_forged(void **state)
{
    struct driver driver;
    struct fault_disk *fault = build(&driver, true);
    uint64_t *size, end;

    (void)state;
    fault_disk_file(fault, SNAPSHOT, &size);
    end = *size;
    assert_true(end > 64u << 10); /* more than one frame of items */
    forge(&driver, fault, SNAPSHOT, AL_DISK_BLOCK, 97, true);
    fault_disk_free(fault);
}

static bool disk_shows(struct fault_disk *fault, const void *what, size_t n)
{
    for (size_t i = 0; i < fault->seen_count; i++) {
        uint64_t *size;
        const uint8_t *p = fault_disk_file(fault, fault->seen[i].name, &size);

        for (uint64_t at = 0; at + n <= *size; at++)
            if (p[at] == *(const uint8_t *)what && memcmp(p + at, what, n) == 0)
                return true;
    }
    return false;
}

static void put_canaries(bool seal, bool expect_seen)
{
    struct fault_disk *fault = fault_disk_new();
    struct al_snapshot_writer *writer;
    struct driver driver;
    struct al_batch *batch;
    uint8_t item[4 + sizeof CANARY];
    uint64_t lsn;

    driver_init(&driver);
    driver.config.seal.is_on = false;
    if (seal)
        driver_seal_with(&driver, 0x5a);
    assert_int_equal(driver_open(&driver, fault_disk_attach(fault)), 0);
    assert_int_equal(al_store_append(driver.store, 1, 7, al_str_c(CANARY)), 0);
    batch = al_store_take(driver.store, false);
    assert_int_equal(al_store_flush(driver.store, batch), 0);
    al_store_done(driver.store, batch, &lsn);
    assert_int_equal(disk_shows(fault, CANARY, strlen(CANARY)), expect_seen);
    assert_int_equal(al_store_snapshot_begin(driver.store, 1, &writer), 0);
    al_put32(item, sizeof CANARY);
    memcpy(item + 4, CANARY, sizeof CANARY);
    assert_int_equal(al_store_snapshot_write(writer, al_str_of(item, sizeof item)), 0);
    assert_int_equal(al_store_snapshot_commit(writer), 0);
    assert_int_equal(disk_shows(fault, CANARY, strlen(CANARY)), expect_seen);
    if (seal)
        assert_false(disk_shows(fault, driver.config.seal.key, AL_SEAL_KEY));
    driver_close(&driver);
    fault_disk_free(fault);
}

static void nothing_can_be_read_without_the_key(void **state)
{
    (void)state;
    put_canaries(true, false);
}

/* The test above can fail. */
static void what_is_not_sealed_can_be_read(void **state)
{
    (void)state;
    put_canaries(false, true);
}

/* No key, or another one: said, with the name of the right one, and nothing is touched. */
static void without_the_key_it_does_not_open(void **state)
{
    for (int snapshot = 0; snapshot < 2; snapshot++)
        for (int other = 0; other < 2; other++) {
            struct driver driver, wrong;
            struct fault_disk *fault = build(&driver, snapshot);
            char id[2 * AL_SEAL_ID + 1];
            uint8_t raw[AL_SEAL_ID];

            (void)state;
            al_seal_key_id(driver.config.seal.key, raw);
            for (unsigned i = 0; i < AL_SEAL_ID; i++)
                snprintf(id + 2 * (size_t)i, 3, "%02x", raw[i]);
            wrong = driver;
            fault->calls = 0;
            fault->count_mask = FAULT_CHANGES;
            if (other)
                driver_seal_with(&wrong, 2);
            else
                wrong.config.seal.is_on = wrong.config.seal.has_key = false;
            assert_int_equal(driver_open(&wrong, fault_disk_attach(fault)), -AL_E_SEAL_KEY);
            assert_non_null(strstr(wrong.report.detail, id));
            assert_int_equal(fault->calls, 0);
            assert_int_equal(verify(fault, NULL), 0);
            raw[0] ^= 1; /* as good as any other key */
            memcpy(wrong.config.seal.key, raw, sizeof raw);
            assert_int_equal(verify(fault, wrong.config.seal.key), -AL_E_DAMAGED);
            assert_int_equal(driver_open(&driver, fault_disk_attach(fault)), 0);
            assert_int_equal(driver.lsn, 6);
            driver_close(&driver);
            fault_disk_free(fault);
        }
}

/* What was there before stays readable; what comes is sealed; and with the key, but sealing off,
 * the other way round. */
static void sealed_and_unsealed_segments_live_together(void **state)
{
    struct fault_disk *fault = fault_disk_new();
    struct driver driver;

    (void)state;
    driver_init(&driver);
    driver.config.seal.is_on = false;
    for (int i = 0; i < 8; i++) {
        assert_int_equal(driver_open(&driver, fault_disk_attach(fault)), 0);
        assert_int_equal(driver_put(&driver, 20), 0);
        assert_int_equal(driver_read(&driver, 1, driver.lsn), 0);
        if (i % 3 == 2)
            assert_int_equal(driver_snapshot(&driver), 0);
        driver_close(&driver);
        assert_int_equal(verify(fault, NULL), 0);
        driver_seal_with(&driver, 9);
        assert_int_equal(verify(fault, driver.config.seal.key), 0);
        driver.config.seal.is_on = i % 2 == 0;
    }
    fault_disk_free(fault);
}

/* ---- another master key ------------------------------------------------------------------ */

static void set_keys(struct al_store_rekey *how, uint8_t old_key, uint8_t new_key, bool is_end)
{
    memset(how, 0, sizeof *how);
    memset(how->old_key, old_key, AL_SEAL_KEY);
    memset(how->new_key, new_key, AL_SEAL_KEY);
    how->seed[0] = (uint8_t)(1 + is_end);
    how->is_end = is_end;
}

static int rekey(struct fault_disk *fault, const struct al_store_rekey *how)
{
    struct al_store_report report;
    struct al_test_alloc alloc;
    struct al_disk *disk = fault_disk_attach(fault);
    uint64_t files = 0;
    int r;

    al_test_alloc_init(&alloc);
    r = al_store_rekey(&alloc.alloc, disk, how, &report, &files);
    disk->ops->close_disk(disk);
    assert_int_equal(alloc.live_bytes, 0);
    return r < 0 ? r : (int)files;
}

static int open_with(const struct driver *driver, struct fault_disk *fault, uint8_t key)
{
    struct driver other = *driver;
    int r;

    driver_seal_with(&other, key);
    r = driver_open(&other, fault_disk_attach(fault));
    if (r == 0) {
        assert_int_equal(other.lsn, 6);
        assert_int_equal(driver_read(&other, 1, 6), 0);
        driver_close(&other);
    }
    return r;
}

static void a_new_key_takes_the_place_of_the_old(void **state)
{
    struct driver driver;
    struct fault_disk *fault = build(&driver, true);
    struct al_store_rekey how;
    uint8_t key[AL_SEAL_KEY];

    (void)state;
    set_keys(&how, 1, 2, true);
    assert_int_equal(rekey(fault, &how), -AL_E_SEAL_KEY); /* not the end before the beginning */
    set_keys(&how, 3, 2, false);
    assert_int_equal(rekey(fault, &how), -AL_E_SEAL_KEY); /* neither */
    set_keys(&how, 1, 2, false);
    assert_int_equal(rekey(fault, &how), 2); /* a segment and a snapshot */
    assert_int_equal(rekey(fault, &how), 0);
    for (uint8_t k = 1; k <= 2; k++) {
        struct fault_disk *copy = fault_disk_clone(fault);

        memset(key, k, sizeof key);
        assert_int_equal(verify(copy, key), 0);
        assert_int_equal(open_with(&driver, copy, k), 0);
        fault_disk_free(copy);
    }
    set_keys(&how, 1, 2, true);
    assert_int_equal(rekey(fault, &how), 2);
    assert_int_equal(rekey(fault, &how), 0);
    assert_int_equal(open_with(&driver, fault, 1), -AL_E_SEAL_KEY);
    assert_int_equal(verify(fault, key), 0);
    assert_int_equal(open_with(&driver, fault, 2), 0);
    fault_disk_free(fault);
}

/* The power goes at each call: before the key changes its place the old one opens everything,
 * behind it the new one, and once more goes through. */
static void rekeying_may_crash_anywhere(void **state)
{
    struct driver driver;
    struct fault_disk *fault = build(&driver, true);

    (void)state;
    for (int is_end = 0; is_end < 2; is_end++) {
        struct al_store_rekey how;
        int r = -1;

        set_keys(&how, 1, 2, is_end);
        for (uint64_t call = 1; r < 0; call++) {
            struct fault_disk *copy = fault_disk_clone(fault), *again;
            struct al_test_random random = {call};

            copy->count_mask = FAULT_CHANGES;
            copy->calls = 0;
            copy->fail_at = call;
            copy->fail_error = -AL_E_IO;
            r = rekey(copy, &how);
            fault_disk_heal(copy);
            fault_disk_cut(copy, &random, 128);
            again = fault_disk_clone(copy);
            assert_int_equal(open_with(&driver, copy, is_end ? 2 : 1), 0);
            assert_true(rekey(again, &how) >= 0);
            assert_int_equal(open_with(&driver, again, 2), 0);
            fault_disk_free(copy);
            fault_disk_free(again);
        }
        assert_true(rekey(fault, &how) > 0);
    }
    fault_disk_free(fault);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_byte_of_a_segment_can_be_forged),
        cmocka_unit_test(no_byte_of_a_snapshot_can_be_forged),
        cmocka_unit_test(nothing_can_be_read_without_the_key),
        cmocka_unit_test(what_is_not_sealed_can_be_read),
        cmocka_unit_test(without_the_key_it_does_not_open),
        cmocka_unit_test(sealed_and_unsealed_segments_live_together),
        cmocka_unit_test(a_new_key_takes_the_place_of_the_old),
        cmocka_unit_test(rekeying_may_crash_anywhere),
    };

    al_seal_start();
    return cmocka_run_group_tests_name("store_sealed", tests, NULL, NULL);
}
