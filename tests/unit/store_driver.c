/* store_driver.c - see store_driver.h. */
#include "store_driver.h"
#include "base/errors.h"
#include <stdlib.h>

#define SNAPSHOT_ITEMS 40u

static uint8_t scratch[1u << 20];

static uint64_t hash(uint64_t x)
{
    struct al_test_random random = {x * 0x9e3779b97f4a7c15ull};

    return al_test_random64(&random);
}

uint32_t driver_payload(const struct driver *driver, uint64_t lsn, uint8_t *out)
{
    struct al_test_random random = {hash(lsn)};
    uint32_t n = (uint32_t)al_test_below(&random, driver->payload_max + 1);

    if (al_test_below(&random, 8) != 0)
        n /= 16;
    for (uint32_t i = 0; i < n; i++)
        out[i] = (uint8_t)(lsn * 31 + i * (7 + lsn % 5) + (i >> 8));
    return n;
}

uint16_t driver_type(uint64_t lsn)
{
    return (uint16_t)(1 + hash(lsn) % 40);
}

int driver_check(void *ctx, uint64_t lsn, uint16_t type, struct al_str payload)
{
    const struct driver *driver = ctx;
    uint32_t n = driver_payload(driver, lsn, scratch);

    assert_int_equal(type, driver_type(lsn));
    assert_int_equal(payload.n, n);
    if (n)
        assert_memory_equal(payload.p, scratch, n);
    return 0;
}

/* ---- replay ----------------------------------------------------------------------------- */

/* Item i of a snapshot at lsn: the LSN, then bytes that follow from both. */
static uint32_t item_content(uint64_t lsn, uint64_t i, uint8_t *out)
{
    uint32_t n = 8 + (uint32_t)(hash(lsn + i) % 5000);

    al_put64(out, lsn);
    memset(out + 8, (int)(lsn + i), n - 8);
    return n;
}

static int on_item(void *ctx, struct al_str item)
{
    struct driver *driver = ctx;
    uint32_t n;

    assert_true(item.n >= 8);
    if (driver->item == 0)
        driver->item_lsn = al_get64(item.p);
    n = item_content(driver->item_lsn, driver->item++, scratch);
    assert_int_equal(item.n, n);
    assert_memory_equal(item.p, scratch, n);
    return 0;
}

static int on_done(void *ctx, uint64_t lsn)
{
    struct driver *driver = ctx;

    assert_int_equal(driver->item, SNAPSHOT_ITEMS);
    assert_int_equal(driver->item_lsn, lsn);
    driver->next = lsn + 1;
    return 0;
}

static int on_record(void *ctx, uint64_t lsn, uint16_t type, struct al_str payload)
{
    struct driver *driver = ctx;

    assert_int_equal(lsn, driver->next); /* no gap, no repetition */
    driver->next++;
    return driver_check(ctx, lsn, type, payload);
}

void driver_init(struct driver *driver)
{
    memset(driver, 0, sizeof(*driver));
    driver->payload_max = 2000;
    driver->config.segment_bytes = 64u << 10;
    driver->config.first_segment_bytes = 16u << 10;
    driver->config.reserve_bytes = 64u << 10;
    driver->config.read_bytes = 8u << 10;
    driver->config.random_seed = 7;
    if (getenv("AL_TEST_SEALED"))
        driver_seal_with(driver, 1);
}

void driver_seal_with(struct driver *driver, uint8_t key)
{
    driver->config.seal.is_on = driver->config.seal.has_key = true;
    memset(driver->config.seal.key, key, AL_SEAL_KEY);
}

int driver_open(struct driver *driver, struct al_disk *disk)
{
    struct al_store_replay replay = {on_item, on_done, on_record, driver};
    int r;

    al_test_alloc_init(&driver->alloc);
    driver->config.alloc = driver->alloc.alloc;
    driver->config.random_seed++;
    al_put64(driver->config.seal.seed, driver->config.random_seed);
    driver->store = NULL;
    driver->next = 1;
    driver->item = driver->item_lsn = 0;
    r = al_store_open(&driver->config, disk, &replay, &driver->report, &driver->store);
    if (r == 0) {
        assert_int_equal(driver->report.last_lsn, driver->next - 1);
        driver->lsn = driver->acked = driver->report.last_lsn;
    } else {
        assert_null(driver->store);
        assert_int_equal(driver->alloc.live_bytes, 0);
    }
    return r;
}

void driver_close(struct driver *driver)
{
    al_store_close(driver->store);
    driver->store = NULL;
    assert_int_equal(driver->alloc.live_bytes, 0);
}

/* ---- work ------------------------------------------------------------------------------- */

int driver_append(struct driver *driver, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        uint32_t size = driver_payload(driver, driver->lsn + 1, scratch);
        int r = al_store_append(driver->store, driver->lsn + 1, driver_type(driver->lsn + 1),
                                al_str_of(scratch, size));

        if (r < 0)
            return r;
        driver->lsn++;
    }
    return 0;
}

static int flush_one(struct driver *driver, bool seal, bool *ret_any)
{
    struct al_batch *batch = al_store_take(driver->store, seal);
    int r;

    *ret_any = batch != NULL;
    if (!batch)
        return 0;
    r = al_store_flush(driver->store, batch);
    if (r == 0)
        al_store_done(driver->store, batch, &driver->acked);
    return r;
}

int driver_flush(struct driver *driver)
{
    bool any = true;
    int r = 0;

    while (any && r == 0)
        r = flush_one(driver, false, &any);
    return r;
}

int driver_put(struct driver *driver, unsigned n)
{
    int r = driver_append(driver, n);

    return r < 0 ? r : driver_flush(driver);
}

int driver_seal(struct driver *driver)
{
    bool any;

    return al_store_wants_seal(driver->store) ? flush_one(driver, true, &any) : 0;
}

int driver_snapshot(struct driver *driver)
{
    struct al_snapshot_writer *writer;
    uint64_t lsn = driver->lsn;
    int r = al_store_snapshot_begin(driver->store, lsn, &writer);

    for (uint64_t i = 0; i < SNAPSHOT_ITEMS && r == 0; i++) {
        uint8_t head[4];
        uint32_t n = item_content(lsn, i, scratch);

        al_put32(head, n);
        r = al_store_snapshot_write(writer, al_str_of(head, 4));
        if (r == 0)
            r = al_store_snapshot_write(writer, al_str_of(scratch, n));
        if (r < 0)
            al_store_snapshot_abort(writer);
    }
    return r < 0 ? r : al_store_snapshot_commit(writer);
}

int driver_maintain(struct driver *driver)
{
    int r = 1;

    while (r == 1 && al_store_wants_maintain(driver->store))
        r = al_store_maintain(driver->store);
    return r < 0 ? r : 0;
}

size_t driver_release(struct driver *driver)
{
    struct al_segment_info list[64];
    size_t n = al_store_segments(driver->store, list, 64);

    for (size_t i = 0; i < n; i++)
        al_store_release(driver->store, list[i].id);
    return n;
}

int driver_read(struct driver *driver, uint64_t first, uint64_t last)
{
    for (uint64_t lsn = first; lsn <= last; lsn++) {
        int r = al_store_read(driver->store, &lsn, 1, driver_check, driver);

        if (r < 0)
            return r;
    }
    return 0;
}
