/* segment.c - the table of segments, their sparse indexes, and how a segment comes into being.
 *
 * A segment is made complete before it gets its name: header, a blank closing block (closing.c)
 * and, in recovery, the rewritten tail are written and flushed into a prepared file "free-…" or a
 * fresh "new-…", then it is renamed to "journal-<id>" and the directory is flushed. So a file with
 * that name always has a whole header; anything else under that name is damage. A crash before the
 * rename leaves a file that the next start ignores.
 *
 * A prepared file may hold frames of its former life. They cannot be taken for new ones: the salt
 * is mixed from the injected seed, the segment's id and whatever header the file had before, so it
 * differs from every salt that can be found in the file. */
#include "store/internal.h"

/* ---- table ------------------------------------------------------------------------------ */

int ali_table_add(const struct al_alloc *alloc, struct ali_table *table,
                  struct ali_segment *segment)
{
    if (table->count == table->cap) {
        size_t cap = table->cap ? 2 * table->cap : 16;
        struct ali_segment **list = alloc->realloc_fn(
            alloc->ctx, table->list, table->cap * sizeof *list, cap * sizeof *list);

        if (!list)
            return -AL_E_NOMEM;
        table->list = list;
        table->cap = cap;
    }
    table->list[table->count++] = segment;
    return 0;
}

struct ali_segment *ali_table_find(const struct ali_table *table, uint64_t lsn)
{
    size_t low = 0, high = table->count;
    struct ali_segment *segment;

    while (low < high) { /* the last one that begins at or below lsn: it supersedes earlier ones */
        size_t middle = low + (high - low) / 2;

        if (table->list[middle]->first_lsn <= lsn)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0)
        return NULL;
    segment = table->list[low - 1];
    return lsn <= segment->last_lsn ? segment : NULL;
}

struct ali_segment *ali_table_by_id(const struct ali_table *table, uint64_t id)
{
    for (size_t i = 0; i < table->count; i++)
        if (table->list[i]->id == id)
            return table->list[i];
    return NULL;
}

void ali_table_remove(struct ali_table *table, const struct ali_segment *segment)
{
    size_t i = 0;

    while (i < table->count && table->list[i] != segment)
        i++;
    assert(i < table->count);
    table->count--;
    memmove(table->list + i, table->list + i + 1, (table->count - i) * sizeof *table->list);
}

void ali_table_free(const struct al_alloc *alloc, struct ali_table *table)
{
    for (size_t i = 0; i < table->count; i++)
        ali_segment_free(alloc, table->list[i]);
    al_alloc_free(alloc, table->list, table->cap * sizeof *table->list);
    memset(table, 0, sizeof *table);
}

struct ali_segment *ali_segment_new(const struct al_alloc *alloc, uint64_t id, uint64_t bytes)
{
    struct ali_segment *segment = al_alloc_zero(alloc, sizeof *segment);

    if (!segment)
        return NULL;
    segment->id = id;
    segment->bytes = bytes;
    segment->index_cap = (uint32_t)(bytes / ALI_INDEX_STEP) + 8;
    segment->index = al_alloc_new(alloc, segment->index_cap * sizeof *segment->index);
    if (!segment->index) {
        al_alloc_free(alloc, segment, sizeof *segment);
        return NULL;
    }
    return segment;
}

void ali_segment_free(const struct al_alloc *alloc, struct ali_segment *segment)
{
    if (!segment)
        return;
    al_seal_wipe(&segment->seal, sizeof segment->seal);
    al_alloc_free(alloc, segment->index, segment->index_cap * sizeof *segment->index);
    al_alloc_free(alloc, segment, sizeof *segment);
}

/* ---- sparse index ----------------------------------------------------------------------- */

void ali_index_note(struct ali_segment *segment, uint64_t lsn, uint64_t offset, bool is_batch)
{
    uint32_t n = segment->index_count;
    uint64_t delta = lsn - segment->first_lsn;

    if (n && offset - segment->index[n - 1].offset < ALI_INDEX_STEP)
        return;
    if (n == segment->index_cap || delta >= ALI_INDEX_IS_BATCH || offset > UINT32_MAX)
        return; /* reads walk a little further */
    segment->index[n].delta = (uint32_t)delta | (is_batch ? ALI_INDEX_IS_BATCH : 0);
    segment->index[n].offset = (uint32_t)offset;
    segment->index_count = n + 1;
}

struct ali_place ali_index_find(const struct ali_segment *segment, uint64_t lsn, bool batch_only)
{
    const struct ali_index_entry *entry;
    uint32_t low = 0, high = segment->index_count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        uint64_t delta = segment->index[middle].delta & ~ALI_INDEX_IS_BATCH;

        if (segment->first_lsn + delta <= lsn)
            low = middle + 1;
        else
            high = middle;
    }
    while (low && batch_only && !(segment->index[low - 1].delta & ALI_INDEX_IS_BATCH))
        low--;
    if (low == 0)
        return (struct ali_place){segment->begin, segment->first_lsn, true};
    entry = &segment->index[low - 1];
    return (struct ali_place){entry->offset,
                              segment->first_lsn + (entry->delta & ~ALI_INDEX_IS_BATCH),
                              (entry->delta & ALI_INDEX_IS_BATCH) != 0};
}

/* ---- making one ------------------------------------------------------------------------- */

static uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15ull;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
}

static void make_salt(struct al_store *store, uint64_t id, const uint8_t *old_block,
                      uint8_t ret_salt[16])
{
    uint64_t a = mix(store->config.random_seed ^ mix(id));
    uint64_t b = mix(a ^ mix(store->generation) ^ al_crc32c(0, old_block, AL_DISK_BLOCK));

    al_put64(ret_salt, b);
    al_put64(ret_salt + 8, mix(b));
}

/* Writes zeros from `at` to `end` through a buffer of one block. */
static int zero_range(struct al_store *store, struct al_disk_file *file, uint64_t at, uint64_t end)
{
    size_t n = (size_t)(end - at < ALI_ZERO_SLICE ? end - at : ALI_ZERO_SLICE);
    uint8_t *zeros;
    int r = 0;

    if (at >= end)
        return 0;
    zeros = ali_pages_new(&store->alloc, n);
    if (!zeros)
        return -AL_E_NOMEM;
    memset(zeros, 0, n);
    for (; at < end && r == 0; at += n) {
        size_t part = (size_t)(end - at < n ? end - at : n);

        r = store->disk->ops->write(store->disk, file, zeros, part, at);
    }
    ali_pages_free(&store->alloc, zeros, n);
    return r;
}

/* What a segment is made of. */
struct source {
    char name[ALI_NAME_CAP];
    bool is_new;
    uint64_t bytes;   /* prepared size */
    uint64_t zero_to; /* of a new file: zeros are written up to here */
};

/* A prepared file if there is one; otherwise a new one: small and zeroed when the store has just
 * been opened, of full size but growing as it is written when prepared files have run out. */
static void choose_source(struct al_store *store, struct source *source)
{
    uint64_t number;

    memset(source, 0, sizeof *source);
    ali_lock(store);
    if (store->free_count) {
        const struct ali_free *entry = &store->free_list[--store->free_count];

        number = entry->number;
        source->bytes = entry->bytes;
    } else {
        number = store->next_number++;
        source->is_new = true;
        source->bytes = store->config.segment_bytes;
        if (!store->active) {
            source->bytes = source->zero_to = store->config.first_segment_bytes;
        } else if (store->free_target < 4) {
            store->free_target++; /* maintain did not keep up: prepare more ahead */
        }
    }
    ali_unlock(store);
    ali_name_format(source->is_new ? ALI_NAME_NEW : ALI_NAME_FREE, number, source->name);
}

/* Reads the block that stands where the header will be; a new file has none. */
static int old_header(struct al_store *store, const struct source *source,
                      struct al_disk_file *file, uint8_t *block)
{
    size_t n = 0;

    memset(block, 0, AL_DISK_BLOCK);
    if (source->is_new)
        return 0;
    return store->disk->ops->read(store->disk, file, block, AL_DISK_BLOCK, 0, &n);
}

/* Header, blank closing block, batches, zeros. */
static int write_content(struct al_store *store, const struct source *source,
                         struct al_disk_file *file, struct ali_segment *segment,
                         uint64_t durable_lsn, struct al_batch *batch)
{
    const struct al_disk_ops *ops = store->disk->ops;
    uint8_t *block = ali_pages_new(&store->alloc, segment->begin);
    struct ali_segment_header header = {.id = segment->id,
                                        .first_lsn = segment->first_lsn,
                                        .durable_lsn = durable_lsn,
                                        .generation = store->generation,
                                        .bytes = segment->bytes,
                                        .flags = source->is_new ? ALI_SEGMENT_ZEROED : 0,
                                        .has_closing = true,
                                        .is_sealed = store->config.seal.is_on};
    int r;

    if (!block)
        return -AL_E_NOMEM;
    if (segment->is_sized)
        header.flags |= ALI_SEGMENT_SIZED;
    r = old_header(store, source, file, block);
    if (r < 0)
        goto out;
    make_salt(store, segment->id, block, segment->salt);
    memcpy(header.salt, segment->salt, 16);
    ali_segment_header_encode(block, &header);
    if (header.is_sealed)
        ali_sealed_begin(store, block, &segment->seal);
    segment->is_sealed = segment->has_keys = header.is_sealed;
    memset(block + ALI_CLOSING_AT, 0, segment->begin - ALI_CLOSING_AT);
    r = ops->write(store->disk, file, block, segment->begin, 0);
    for (; r == 0 && batch; batch = batch->next) {
        struct al_str bytes = {0};

        r = ali_batch_frame(store, batch, segment, segment->used, batch->first_lsn - 1, &bytes);
        if (r == 0)
            r = ops->write(store->disk, file, bytes.p, bytes.n, segment->used);
        segment->used += bytes.n;
        segment->last_lsn = batch->first_lsn + batch->count - 1;
    }
    if (r == 0)
        r = zero_range(store, file, segment->used, source->zero_to);
    if (r == 0 && !AL_PLANT(store, NO_HEADER_FLUSH))
        r = ops->flush(store->disk, file);
out:
    ali_pages_free(&store->alloc, block, segment->begin);
    return r;
}

/* Gives the file its name, for good. */
static int name_it(struct al_store *store, const char *from, uint64_t id)
{
    char name[ALI_NAME_CAP];
    int r;

    ali_name_format(ALI_NAME_JOURNAL, id, name);
    r = store->disk->ops->rename(store->disk, from, name);
    if (r == 0 && !AL_PLANT(store, NO_SEGMENT_DIR_SYNC))
        r = store->disk->ops->sync_dir(store->disk);
    return r;
}

int ali_segment_create(struct al_store *store, uint64_t first_lsn, uint64_t durable_lsn,
                       struct al_batch *batch, struct ali_segment **ret_segment,
                       struct al_disk_file **ret_file)
{
    struct source source;
    struct ali_segment *segment;
    struct al_disk_file *file = NULL;
    unsigned flags = AL_DISK_READ | AL_DISK_WRITE | AL_DISK_DIRECT;
    bool is_half_made = false;
    int r;

    choose_source(store, &source);
    segment = ali_segment_new(&store->alloc, store->next_segment_id, source.bytes);
    if (!segment)
        return -AL_E_NOMEM;
    segment->first_lsn = first_lsn;
    segment->last_lsn = first_lsn - 1;
    segment->begin = segment->used = ALI_CLOSING_AT + AL_DISK_BLOCK;
    segment->is_sized = !source.is_new || source.zero_to;
    r = store->disk->ops->open(store->disk, source.name,
                               flags | (source.is_new ? AL_DISK_CREATE : 0), &file);
    if (r == 0)
        r = write_content(store, &source, file, segment, durable_lsn, batch);
    is_half_made = r < 0 && file && source.is_new;
    if (r == 0)
        r = name_it(store, source.name, segment->id);
    if (r < 0)
        goto fail;
    ali_lock(store);
    store->next_segment_id++;
    r = ali_table_add(&store->alloc, &store->table, segment);
    ali_unlock(store);
    if (r < 0)
        goto fail;
    *ret_segment = segment;
    *ret_file = file;
    return 0;
fail:
    if (file)
        store->disk->ops->close(store->disk, file);
    if (is_half_made) /* or a full disk gets fuller with every start */
        (void)store->disk->ops->unlink(store->disk, source.name);
    ali_segment_free(&store->alloc, segment);
    return r;
}
