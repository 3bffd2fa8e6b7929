/* store.c - opening and closing the store, and its small questions. */
#include "store/internal.h"

uint8_t *ali_pages_new(const struct al_alloc *alloc, size_t size)
{
    uint8_t *base = al_alloc_new(alloc, size + 2 * AL_DISK_BLOCK), *pages;

    if (!base)
        return NULL;
    pages =
        (uint8_t *)(((uintptr_t)base + 2 * AL_DISK_BLOCK - 1) & ~(uintptr_t)(AL_DISK_BLOCK - 1));
    memcpy(pages - sizeof base, &base, sizeof base); /* at least a block minus one byte is before */
    return pages;
}

void ali_pages_free(const struct al_alloc *alloc, uint8_t *pages, size_t size)
{
    uint8_t *base;

    if (!pages)
        return;
    memcpy(&base, pages - sizeof base, sizeof base);
    al_alloc_free(alloc, base, size + 2 * AL_DISK_BLOCK);
}

int ali_fail(struct al_store *store, int error, bool disk_full_is_harmless)
{
    if (error >= 0 || (disk_full_is_harmless && error == -AL_E_DISK_FULL))
        return error;
    atomic_store(&store->poisoned, 1);
    return error;
}

static void set_defaults(struct al_store_config *config)
{
    if (!config->segment_bytes)
        config->segment_bytes = ALI_SEGMENT_DEFAULT;
    if (!config->first_segment_bytes)
        config->first_segment_bytes = ALI_FIRST_DEFAULT;
    if (config->first_segment_bytes > config->segment_bytes)
        config->first_segment_bytes = config->segment_bytes;
    if (!config->read_bytes)
        config->read_bytes = ALI_READ_CHUNK;
    if (!config->reserve_bytes)
        config->reserve_bytes = ALI_RESERVE_DEFAULT;
}

static int store_new(const struct al_store_config *config, struct al_disk *disk,
                     struct al_store **ret_store)
{
    struct al_store *store = al_alloc_zero(&config->alloc, sizeof *store);

    if (!store)
        return -AL_E_NOMEM;
    store->config = *config;
    set_defaults(&store->config);
    store->alloc = config->alloc;
    store->disk = disk;
    store->pending_end = &store->pending;
    store->next_segment_id = store->next_number = store->next_snapshot = 1;
    store->generation = 1;
    atomic_store(&store->has_space, true);
    store->space_bytes = UINT64_MAX;
    al_buf_init(&store->copy, &store->alloc);
    ali_reader_init(&store->reader, &store->alloc, disk, ALI_READ_CHUNK);
    store->reader.plants = config->plants;
    store->reader.key = config->seal.has_key ? store->config.seal.key : NULL;
    store->tag_bytes = config->seal.is_on ? AL_SEAL_TAG : 0;
    memcpy(store->seal_source.seed, config->seal.seed, sizeof store->seal_source.seed);
    store->ring = al_alloc_new(&store->alloc, ALI_RING * sizeof *store->ring);
    if (!store->ring) {
        al_alloc_free(&config->alloc, store, sizeof *store);
        return -AL_E_NOMEM;
    }
    pthread_mutex_init(&store->lock, NULL);
    *ret_store = store;
    return 0;
}

int al_store_open(const struct al_store_config *config, struct al_disk *disk,
                  const struct al_store_replay *replay, struct al_store_report *ret_report,
                  struct al_store **ret_store)
{
    struct al_store *store = NULL;
    int r;

    memset(ret_report, 0, sizeof *ret_report);
    if (config->segment_bytes % AL_DISK_BLOCK || config->read_bytes % AL_DISK_BLOCK ||
        config->first_segment_bytes % AL_DISK_BLOCK || config->segment_bytes > UINT32_MAX / 2 ||
        (config->seal.is_on && !config->seal.has_key)) {
        disk->ops->close_disk(disk);
        return -AL_E_INVALID;
    }
    r = store_new(config, disk, &store);
    if (r < 0) {
        disk->ops->close_disk(disk);
        return r;
    }
    r = disk->ops->lock(disk);
    if (r == 0)
        r = ali_recover(store, replay, ret_report);
    if (r) {
        al_store_close(store);
        return r;
    }
    ali_space_sample(store);
    *ret_store = store;
    return 0;
}

void al_store_close(struct al_store *store)
{
    struct al_alloc alloc;

    if (!store)
        return;
    alloc = store->alloc;
    al_store_snapshot_abort(store->writer);
    if (store->active_file)
        store->disk->ops->close(store->disk, store->active_file);
    if (store->zeroing.file)
        store->disk->ops->close(store->disk, store->zeroing.file);
    ali_reader_deinit(&store->reader);
    ali_batches_free(store);
    ali_table_free(&alloc, &store->table);
    al_buf_deinit(&store->copy);
    al_alloc_free(&alloc, (void *)(uintptr_t)store->ring, ALI_RING * sizeof *store->ring);
    pthread_mutex_destroy(&store->lock);
    store->disk->ops->close_disk(store->disk);
    al_seal_wipe(&store->config.seal, sizeof store->config.seal);
    al_seal_wipe(&store->seal_source, sizeof store->seal_source);
    al_alloc_free(&alloc, store, sizeof *store);
}

void al_store_watch_space(struct al_store *store, bool now)
{
    uint64_t bytes = 0;

    if (!now && store->appended_bytes - store->watched_bytes < ALI_WATCH_BYTES)
        return;
    store->watched_bytes = store->appended_bytes;
    if (store->disk->ops->space(store->disk, &bytes) == 0 && bytes < store->config.reserve_bytes) {
        atomic_store(&store->has_space, false);
        atomic_store(&store->maintain_due, true); /* it says when there is room again */
    }
}

bool al_store_has_space(const struct al_store *store)
{
    return atomic_load_explicit(&store->has_space, memory_order_relaxed);
}

void al_store_expect(struct al_store *store, uint64_t bytes)
{
    uint64_t count = bytes / store->config.segment_bytes;

    ali_lock(store);
    store->free_ahead = count < ALI_FREE_MAX - 1 ? (size_t)count : ALI_FREE_MAX - 1;
    ali_unlock(store);
}

bool al_store_wants_maintain(const struct al_store *store)
{
    return atomic_load_explicit(&store->maintain_due, memory_order_relaxed);
}

uint64_t al_store_since_snapshot(const struct al_store *store)
{
    return store->appended_bytes - store->snapshot_began_bytes;
}

/* ---- segments as the core sees them ----------------------------------------------------- */

size_t al_store_segments(struct al_store *store, struct al_segment_info *ret_list, size_t cap)
{
    size_t n = 0;

    ali_lock(store);
    for (size_t i = 0; i < store->table.count && n < cap; i++) {
        const struct ali_segment *segment = store->table.list[i];

        if (!segment->closed || segment->released || segment->last_lsn > store->snapshot_lsn[1])
            continue;
        ret_list[n++] = (struct al_segment_info){.id = segment->id,
                                                 .first_lsn = segment->first_lsn,
                                                 .last_lsn = segment->last_lsn,
                                                 .bytes = segment->bytes};
    }
    ali_unlock(store);
    return n;
}

void al_store_release(struct al_store *store, uint64_t segment_id)
{
    struct ali_segment *segment;

    ali_lock(store);
    segment = ali_table_by_id(&store->table, segment_id);
    if (segment && segment->closed) {
        segment->released = true;
        if (ali_segment_is_free(store, segment))
            atomic_store(&store->maintain_due, true);
    }
    ali_unlock(store);
}
