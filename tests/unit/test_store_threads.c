/* test_store_threads.c - core, flush thread and worker at once, as in a node; for TSan above all.
 *
 * The core appends and takes, the flush thread flushes, the worker reads back what is durable and
 * what is not yet, maintains, writes snapshots, releases. Every record read is checked. */
#include "base/errors.h"
#include "store_driver.h"
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

#define RECORDS 60000u

/* malloc behind the allocator: the counting one of the other tests has no lock. */
static void *plain(void *ctx, void *ptr, size_t old_size, size_t new_size)
{
    (void)ctx;
    (void)old_size;
    if (new_size == 0) {
        free(ptr);
        return NULL;
    }
    return realloc(ptr, new_size);
}

struct node {
    struct driver driver;
    struct al_store *store;
    _Atomic(struct al_batch *) to_flush, flushed;
    _Atomic(struct al_snapshot_writer *) writer;
    _Atomic uint64_t appended, durable;
    atomic_bool stop;
};

static void *flush_thread(void *ctx)
{
    struct node *node = ctx;

    while (!atomic_load(&node->stop)) {
        struct al_batch *batch = atomic_exchange(&node->to_flush, NULL);

        if (!batch) {
            sched_yield();
            continue;
        }
        if (al_store_flush(node->store, batch) != 0)
            abort();
        atomic_store(&node->flushed, batch);
    }
    return NULL;
}

static int check(void *ctx, uint64_t lsn, uint16_t type, struct al_str payload)
{
    (void)ctx;
    return type == driver_type(lsn) && payload.n == 100 + lsn % 200 &&
                   payload.p[payload.n - 1] == (uint8_t)lsn
               ? 0
               : -AL_E_DAMAGED;
}

static void *worker_thread(void *ctx)
{
    struct node *node = ctx;
    uint64_t state = 1;

    while (!atomic_load(&node->stop)) {
        uint64_t appended = atomic_load(&node->appended), lsns[16];
        struct al_snapshot_writer *writer = atomic_load(&node->writer);

        state = state * 6364136223846793005u + 1442695040888963407u;
        for (size_t i = 0; i < 16 && appended > 16; i++)
            lsns[i] =
                (state >> 33) % 2 ? appended - 15 + i : 1 + (state >> 20) % (appended - 16) + i;
        if (appended > 16 && al_store_read(node->store, lsns, 16, check, NULL) != 0)
            abort();
        while (al_store_wants_maintain(node->store) && al_store_maintain(node->store) == 1)
            ;
        if (writer && al_store_snapshot_commit(writer) != -AL_E_BUSY)
            atomic_store(&node->writer, NULL);
    }
    return NULL;
}

static void take_and_give(struct node *node)
{
    struct al_batch *batch = atomic_exchange(&node->flushed, NULL);
    struct al_segment_info list[8];
    uint64_t lsn;

    if (batch) {
        al_store_done(node->store, batch, &lsn);
        atomic_store(&node->durable, lsn);
    }
    batch = al_store_take(node->store, al_store_wants_seal(node->store));
    if (batch)
        atomic_store(&node->to_flush, batch);
    (void)al_store_segments(node->store, list, 8);
}

static void append(struct node *node, uint64_t lsn)
{
    uint8_t payload[300];

    memset(payload, (uint8_t)lsn, sizeof(payload));
    assert_int_equal(
        al_store_append(node->store, lsn, driver_type(lsn), al_str_of(payload, 100 + lsn % 200)),
        0);
    atomic_store(&node->appended, lsn);
    assert_int_equal(al_store_read_cached(node->store, &lsn, 1, check, NULL), 0);
}

static void begin_snapshot(struct node *node, uint64_t lsn)
{
    struct al_snapshot_writer *writer;

    assert_int_equal(al_store_snapshot_begin(node->store, lsn, &writer), 0);
    atomic_store(&node->writer, writer);
}

static void all_at_once(void **state)
{
    struct node *node = calloc(1, sizeof(*node));
    struct al_store_config config = {.alloc = {plain, NULL},
                                     .segment_bytes = 1u << 20,
                                     .first_segment_bytes = 64u << 10,
                                     .random_seed = 3};
    struct al_store_replay nothing = {0};
    struct al_store_report report;
    struct al_disk *disk;
    pthread_t flush, worker;
    unsigned snapshots = 0;

    (void)state;
    assert_int_equal(al_mem_disk_new(&disk), 0);
    assert_int_equal(al_store_open(&config, disk, &nothing, &report, &node->store), 0);
    assert_int_equal(pthread_create(&flush, NULL, flush_thread, node), 0);
    assert_int_equal(pthread_create(&worker, NULL, worker_thread, node), 0);
    for (uint64_t lsn = 1; lsn <= RECORDS; lsn++) {
        append(node, lsn);
        if (lsn % 64 == 0) {
            take_and_give(node);
            sched_yield();
        }
        if (al_store_since_snapshot(node->store) > 2u << 20) {
            /* However the machine shares its cores out, the worker gets to every snapshot. */
            while (atomic_load(&node->writer)) {
                take_and_give(node);
                sched_yield();
            }
            begin_snapshot(node, lsn);
            snapshots++;
        }
    }
    while (atomic_load(&node->durable) < RECORDS)
        take_and_give(node);
    assert_true(snapshots >= 2);
    atomic_store(&node->stop, true);
    assert_int_equal(pthread_join(flush, NULL), 0);
    assert_int_equal(pthread_join(worker, NULL), 0);
    al_store_close(node->store);
    free(node);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(all_at_once)};

    return cmocka_run_group_tests_name("store_threads", tests, NULL, NULL);
}
