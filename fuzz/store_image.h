/* store_image.h - a small store in memory whose files the fuzzer changes, shared by two targets.
 *
 * Random bytes never get past a checksum, so an input is a list of changes to files that were
 * whole: bytes to overwrite, and places where checksums are made right again afterwards. */
#ifndef AL_FUZZ_STORE_IMAGE_H
#define AL_FUZZ_STORE_IMAGE_H

#include "base/crc32c.h"
#include "base/errors.h"
#include "fuzz.h"
#include "store/frame.h"
#include "store/store.h"
#include <assert.h>
#include <stdlib.h>

#define IMAGE_FILE_MAX (256u << 10)

static inline void *image_realloc(void *ctx, void *ptr, size_t old_size, size_t new_size)
{
    (void)ctx;
    (void)old_size;
    if (new_size == 0) {
        free(ptr);
        return NULL;
    }
    return realloc(ptr, new_size);
}

static const struct al_alloc image_alloc = {image_realloc, NULL};

/* A memory disk that survives close_disk, so that one image can be opened several times. */
struct image {
    struct al_disk *disk;
    struct al_disk_ops ops;
    const struct al_disk_ops *own_ops;
};

static inline void image_stay(struct al_disk *disk)
{
    (void)disk;
}

static inline int image_no_lock(struct al_disk *disk)
{
    (void)disk;
    return 0;
}

static inline void image_init(struct image *image)
{
    int r = al_mem_disk_new(&image->disk);

    if (r < 0)
        abort();
    image->own_ops = image->disk->ops;
    image->ops = *image->own_ops;
    image->ops.close_disk = image_stay;
    image->ops.lock = image_no_lock;
    image->disk->ops = &image->ops;
}

static inline void image_deinit(struct image *image)
{
    image->disk->ops = image->own_ops;
    image->disk->ops->close_disk(image->disk);
}

/* What replay counts. */
struct image_seen {
    uint64_t items, records, first, last;
};

static inline int image_item(void *ctx, struct al_str item)
{
    struct image_seen *seen = ctx;

    assert(item.n == 0 || item.p);
    seen->items++;
    return 0;
}

static inline int image_record(void *ctx, uint64_t lsn, uint16_t type, struct al_str payload)
{
    struct image_seen *seen = ctx;

    (void)type;
    (void)payload;
    assert(seen->records == 0 || lsn == seen->last + 1); /* never a gap */
    if (seen->records++ == 0)
        seen->first = lsn;
    seen->last = lsn;
    return 0;
}

static inline int image_open(struct image *image, struct image_seen *seen,
                             struct al_store **ret_store)
{
    struct al_store_config config = {.alloc = image_alloc,
                                     .segment_bytes = 64u << 10,
                                     .first_segment_bytes = 32u << 10,
                                     .random_seed = 11};
    struct al_store_replay replay = {image_item, NULL, image_record, seen};
    struct al_store_report report;

    *seen = (struct image_seen){0};
    return al_store_open(&config, image->disk, &replay, &report, ret_store);
}

static inline void image_put(struct al_store *store, uint64_t *lsn, unsigned count)
{
    struct al_batch *batch;
    uint64_t durable;

    for (unsigned i = 0; i < count; i++) {
        uint8_t payload[200];

        memset(payload, (int)*lsn, sizeof(payload));
        ++*lsn;
        if (al_store_append(store, *lsn, 3, al_str_of(payload, *lsn * 37 % 200)) < 0)
            abort();
    }
    batch = al_store_take(store, count == 0);
    if (batch) {
        if (al_store_flush(store, batch) < 0)
            abort();
        al_store_done(store, batch, &durable);
    }
}

static inline void image_snapshot(struct al_store *store, uint64_t lsn)
{
    struct al_snapshot_writer *writer;

    if (al_store_snapshot_begin(store, lsn, &writer) < 0 ||
        al_store_snapshot_write(writer, al_str_of("\x03\0\0\0abc\x01\0\0\0x", 12)) < 0 ||
        al_store_snapshot_commit(writer) < 0)
        abort();
}

/* Applies the input to one file: records of {u8 what, u24 where, then by kind}. */
static inline void image_change(struct image *image, const char *name, const uint8_t *data,
                                size_t size)
{
    static _Alignas(AL_DISK_BLOCK) uint8_t content[IMAGE_FILE_MAX];
    const struct al_disk_ops *ops = image->disk->ops;
    struct al_disk_file *file;
    size_t n = 0;

    if (ops->open(image->disk, name, AL_DISK_READ | AL_DISK_WRITE, &file) < 0 ||
        ops->read(image->disk, file, content, sizeof(content), 0, &n) < 0 || n < AL_DISK_BLOCK)
        abort();
    for (; size >= 4; data += 4, size -= 4) {
        uint32_t what = data[0], at = (al_get32(data) >> 8) % (uint32_t)(n - ALI_FRAME_SIZE);
        uint32_t length;

        switch (what % 4) {
        case 0: /* one byte */
        case 1:
            content[at] = (uint8_t)(what >> 2) | (uint8_t)(what << 6);
            break;
        case 2: /* checksums of a header block */
            ali_block_finish(content);
            break;
        case 3: /* checksums of a frame */
            length = al_get32(content + at);
            if (length <= n - at - ALI_FRAME_SIZE)
                al_put32(content + at + 32, al_crc32c(0, content + at + ALI_FRAME_SIZE, length));
            al_put32(content + at + 36, al_crc32c(0, content + at, 36));
            break;
        }
    }
    if (ops->write(image->disk, file, content, n, 0) < 0)
        abort();
    ops->close(image->disk, file);
}

static inline int image_any(void *ctx, uint64_t lsn, uint16_t type, struct al_str payload)
{
    uint64_t *sum = ctx;

    *sum += lsn + type;
    for (uint32_t i = 0; i < payload.n; i++)
        *sum += payload.p[i];
    return 0;
}

/* Whatever is in the files: verify and open end with a verdict; what opens, opens again the same.
 */
static inline void image_check(struct image *image)
{
    struct al_store_report report;
    struct al_store *store;
    struct image_seen seen = {0};
    uint64_t sum = 0, last;
    int r = al_store_verify(&image_alloc, image->disk, NULL, NULL, NULL, &report);

    assert(r == 0 || r == -AL_E_DAMAGED);
    r = image_open(image, &seen, &store);
    assert(r == 0 || r == -AL_E_DAMAGED || r == -AL_E_FORMAT || r == -AL_E_IO);
    if (r < 0)
        return;
    last = seen.last;
    for (uint64_t lsn = seen.first; seen.records && lsn <= seen.last; lsn++) {
        r = al_store_read(store, &lsn, 1, image_any, &sum);
        assert(r == 0); /* what was replayed can be read */
    }
    for (uint64_t lsn = 1; lsn < 200; lsn += 7)
        (void)al_store_read(store, &lsn, 1, image_any, &sum);
    al_store_close(store);
    r = image_open(image, &seen, &store);
    assert(r == 0 && (seen.records == 0 || seen.last == last));
    al_store_close(store);
}

#endif
