/* flush.c - the flush thread's side: frames a batch, writes it, flushes it.
 *
 * The only place where records become durable. A batch is written with one call and flushed; only
 * when both returned 0 does it count. Any error poisons the store: after a failed flush the page
 * cache may say one thing and the disk another, so nothing is tried again. */
#include "store/internal.h"

static void note(struct al_store *store, struct ali_segment *segment, uint64_t lsn, uint64_t at,
                 bool is_batch)
{
    ali_lock(store); /* the worker may be looking at the index */
    ali_index_note(segment, lsn, at, is_batch);
    ali_unlock(store);
}

size_t ali_batch_frame(struct al_store *store, struct al_batch *batch, struct ali_segment *segment,
                       uint64_t at, uint64_t durable_lsn)
{
    uint8_t *p = batch->mem;
    uint64_t noted = at;
    size_t padded = (size_t)ali_round_up(batch->size), offset = ALI_BATCH_HEAD;
    bool weak = AL_PLANT(store, CRC_WITHOUT_LENGTH);
    struct ali_batch_info info = {.durable_lsn = durable_lsn,
                                  .bytes = (uint32_t)batch->size,
                                  .count = batch->count,
                                  .segment_id = segment->id};
    struct ali_frame frame = {.length = ALI_BATCH_INFO_SIZE,
                              .flags = ALI_FRAME_IS_BATCH,
                              .lsn = batch->first_lsn,
                              .salt = al_get64(segment->salt),
                              .number = (uint32_t)segment->id};

    if (AL_PLANT(store, NO_DURABLE_LSN))
        info.durable_lsn = 0;
    if (AL_PLANT(store, DURABLE_AHEAD))
        info.durable_lsn = batch->first_lsn + batch->count - 1;
    memcpy(info.salt, segment->salt, 16);
    ali_batch_info_encode(p + ALI_FRAME_SIZE, &info);
    frame.offset = (uint32_t)at;
    frame.payload_crc = al_crc32c(0, p + ALI_FRAME_SIZE, weak ? 16 : ALI_BATCH_INFO_SIZE);
    ali_frame_encode(p, weak, &frame);
    frame.flags = 0;
    note(store, segment, batch->first_lsn, at, true);
    for (uint32_t i = 0; i < batch->count; i++) {
        uint8_t *q = p + offset;

        frame.length = al_get32(q + ALI_AT_LENGTH);
        frame.offset = (uint32_t)(at + offset);
        frame.payload_crc =
            al_crc32c(0, q + ALI_FRAME_SIZE, weak && frame.length > 16 ? 16 : frame.length);
        ali_frame_complete(q, weak, &frame);
        if (at + offset >= noted + ALI_INDEX_STEP) {
            noted = at + offset;
            note(store, segment, batch->first_lsn + i, noted, false);
        }
        offset += ALI_FRAME_SIZE + frame.length;
    }
    assert(offset == batch->size);
    memset(p + offset, 0, padded - offset);
    return padded;
}

/* Ends the active segment and begins the next. Nothing is written to the new one before the one
 * before it says, durably, that there is another: then it cannot go missing unnoticed. */
static int roll(struct al_store *store, uint64_t first_lsn)
{
    struct ali_segment *segment;
    struct al_disk_file *file;
    int r = ali_segment_create(store, first_lsn, store->flushed, NULL, &segment, &file);

    if (r < 0)
        return r;
    r = ali_closing_follow(store, store->active_file);
    if (r < 0) {
        store->disk->ops->close(store->disk, file);
        return r;
    }
    ali_lock(store);
    if (store->active && store->free_target < 2)
        store->free_target++; /* there is traffic: stay ahead of it */
    ali_unlock(store);
    if (store->active_file)
        store->disk->ops->close(store->disk, store->active_file);
    store->active = segment;
    store->active_file = file;
    atomic_store(&store->maintain_due, true);
    return 0;
}

/* A file that grows as it is written costs a second flush of the device for every batch (the file
 * system's own journal): it is left as soon as a prepared one is there. */
static bool is_outgrown(struct al_store *store, const struct ali_segment *segment)
{
    bool ready;

    if (segment->is_sized)
        return false;
    ali_lock(store);
    ready = store->free_count > 0;
    ali_unlock(store);
    return ready;
}

static int write_batch(struct al_store *store, struct al_batch *batch)
{
    const struct al_disk_ops *ops = store->disk->ops;
    struct ali_segment *segment = store->active;
    uint64_t padded = ali_round_up(batch->size);
    size_t n;
    int r;

    if (!segment || ((segment->used + padded > segment->bytes || is_outgrown(store, segment)) &&
                     segment->used > segment->begin)) {
        r = roll(store, batch->first_lsn);
        if (r < 0)
            return r;
        segment = store->active;
    }
    n = ali_batch_frame(store, batch, segment, segment->used, store->flushed);
    r = ops->write(store->disk, store->active_file, batch->mem, n, segment->used);
    if (r == 0 && !AL_PLANT(store, ACK_BEFORE_FLUSH))
        r = ops->flush(store->disk, store->active_file);
    if (r < 0 && AL_PLANT(store, RETRY_FLUSH))
        r = ops->flush(store->disk, store->active_file);
    if (r < 0)
        return r;
    store->flushed = batch->first_lsn + batch->count - 1;
    store->flushed_bytes += n;
    ali_lock(store);
    segment->used += n;
    segment->last_lsn = store->flushed;
    store->durable_shared = store->flushed;
    if (store->free_target == 0 && store->flushed_bytes > store->config.first_segment_bytes / 2) {
        store->free_target = 1;
        atomic_store(&store->maintain_due, true);
    }
    ali_unlock(store);
    return 0;
}

int al_store_flush(struct al_store *store, struct al_batch *batch)
{
    if (ali_is_poisoned(store))
        return -AL_E_POISONED;
    return ali_fail(store, write_batch(store, batch), false);
}
