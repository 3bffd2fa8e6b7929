/* flush.c - the flush thread's side: frames a batch, seals it, writes it, flushes it.
 *
 * The only place where records become durable. A batch is written with one call and flushed; only
 * when both returned 0 does it count. Any error poisons the store: after a failed flush the page
 * cache may say one thing and the disk another, so nothing is tried again. */
#include "store/internal.h"

#define MIN_SEALED  (128u << 10) /* memory for sealed batches: at least */
#define KEPT_SEALED (2u << 20)   /* and not more than this between two large ones */

static void note(struct al_store *store, struct ali_segment *segment, uint64_t lsn, uint64_t at,
                 bool is_batch)
{
    ali_lock(store); /* the worker may be looking at the index */
    ali_index_note(segment, lsn, at, is_batch);
    ali_unlock(store);
}

/* Where a batch goes on its way to the disk: a copy if it is sealed. NULL: no memory. */
static uint8_t *output(struct al_store *store, const struct al_batch *batch,
                       const struct ali_segment *segment, size_t padded)
{
    size_t cap = padded < MIN_SEALED ? MIN_SEALED : padded;

    if (!segment->is_sealed)
        return batch->mem;
    if (cap > store->sealed_cap || store->sealed_cap > KEPT_SEALED) {
        ali_pages_free(&store->alloc, store->sealed_mem, store->sealed_cap);
        store->sealed_mem = ali_pages_new(&store->alloc, cap);
        store->sealed_cap = store->sealed_mem ? cap : 0;
    }
    return store->sealed_mem;
}

/* The batch frame and what it says of its records. */
static void put_head(struct al_store *store, const struct al_batch *batch,
                     const struct ali_segment *segment, const struct ali_frame *frame,
                     uint64_t durable_lsn, uint8_t *out)
{
    const struct al_seal *seal = ali_seal_of(segment);
    bool weak = AL_PLANT(store, CRC_WITHOUT_LENGTH);
    uint8_t *p = out + ALI_FRAME_SIZE;
    struct ali_batch_info info = {.durable_lsn = durable_lsn,
                                  .bytes = (uint32_t)batch->size,
                                  .count = batch->count,
                                  .segment_id = segment->id};

    if (AL_PLANT(store, NO_DURABLE_LSN))
        info.durable_lsn = 0;
    if (AL_PLANT(store, DURABLE_AHEAD))
        info.durable_lsn = batch->first_lsn + batch->count - 1;
    memcpy(info.salt, segment->salt, 16);
    ali_batch_info_encode(p, &info);
    ali_frame_encode(out, weak, frame);
    if (seal)
        al_seal_tag(seal, al_str_of(out, ALI_FRAME_HEAD), al_str_of(p, ALI_BATCH_TAG_AT),
                    p + ALI_BATCH_TAG_AT);
    ali_frame_finish(out, weak, al_crc32c(0, p, weak ? 16 : ALI_BATCH_INFO_SIZE));
}

/* One record: `from` in memory, `to` what goes to the disk (the same place if it is not sealed).
 * Returns the bytes that it takes, in both. */
static size_t put_record(struct al_store *store, const struct al_seal *seal,
                         struct ali_frame *frame, const uint8_t *from, uint8_t *to)
{
    bool weak = AL_PLANT(store, CRC_WITHOUT_LENGTH);
    uint32_t n = al_get32(from + ALI_AT_LENGTH);

    frame->length = seal ? n + AL_SEAL_TAG : n;
    if (seal) {
        al_put32(to + ALI_AT_LENGTH, frame->length);
        memcpy(to + ALI_AT_TYPE, from + ALI_AT_TYPE, 2);
        memcpy(to + ALI_AT_LSN, from + ALI_AT_LSN, 8);
    }
    ali_frame_place(to, frame);
    if (seal)
        al_seal_frame(seal, al_get64(from + ALI_AT_LSN), al_str_of(to, ALI_FRAME_HEAD),
                      al_str_of(from + ALI_FRAME_SIZE, n), to + ALI_FRAME_SIZE);
    ali_frame_finish(
        to, weak,
        al_crc32c(0, to + ALI_FRAME_SIZE, weak && frame->length > 16 ? 16 : frame->length));
    return ALI_FRAME_SIZE + (size_t)n + store->tag_bytes;
}

int ali_batch_frame(struct al_store *store, struct al_batch *batch, struct ali_segment *segment,
                    uint64_t at, uint64_t durable_lsn, struct al_str *ret_bytes)
{
    const struct al_seal *seal = ali_seal_of(segment);
    uint64_t noted = at;
    size_t padded = (size_t)ali_round_up(batch->size), offset = ALI_BATCH_HEAD;
    uint8_t *out = output(store, batch, segment, padded);
    struct ali_frame frame = {.length = ALI_BATCH_INFO_SIZE,
                              .flags = ALI_FRAME_IS_BATCH,
                              .lsn = batch->first_lsn,
                              .salt = al_get64(segment->salt),
                              .offset = (uint32_t)at,
                              .number = (uint32_t)segment->id};

    if (!out)
        return -AL_E_NOMEM;
    put_head(store, batch, segment, &frame, durable_lsn, out);
    frame.flags = 0;
    note(store, segment, batch->first_lsn, at, true);
    for (uint32_t i = 0; i < batch->count; i++) {
        frame.offset = (uint32_t)(at + offset);
        if (at + offset >= noted + ALI_INDEX_STEP) {
            noted = at + offset;
            note(store, segment, batch->first_lsn + i, noted, false);
        }
        offset += put_record(store, seal, &frame, batch->mem + offset, out + offset);
    }
    assert(offset == batch->size && (store->tag_bytes != 0) == (seal != NULL));
    memset(out + offset, 0, padded - offset);
    *ret_bytes = al_str_of(out, padded);
    return 0;
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
    struct al_str bytes = {0};
    int r;

    if (!segment || ((segment->used + padded > segment->bytes || is_outgrown(store, segment)) &&
                     segment->used > segment->begin)) {
        r = roll(store, batch->first_lsn);
        if (r < 0)
            return r;
        segment = store->active;
    }
    r = ali_batch_frame(store, batch, segment, segment->used, store->flushed, &bytes);
    if (r == 0)
        r = ops->write(store->disk, store->active_file, bytes.p, bytes.n, segment->used);
    if (r == 0 && !AL_PLANT(store, ACK_BEFORE_FLUSH))
        r = ops->flush(store->disk, store->active_file);
    if (r < 0 && AL_PLANT(store, RETRY_FLUSH))
        r = ops->flush(store->disk, store->active_file);
    if (r < 0)
        return r;
    store->flushed = batch->first_lsn + batch->count - 1;
    store->flushed_bytes += bytes.n;
    ali_lock(store);
    segment->used += bytes.n;
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
