/* reader.c - reading files in large aligned pieces, and reading records back by LSN.
 *
 * A reader shows a file through a window. Asking for bytes outside it moves the window: one read
 * of `chunk` bytes or of what was asked for, whichever is more. So a walk over a segment costs one
 * system call every few megabytes and no copy.
 *
 * al_store_read keeps one reader and one position between calls. Reading a backlog in order goes on
 * where the last call ended; anything else starts at the sparse index. Only what is durable is
 * read from disk, and what is durable never changes, so the window cannot be stale. (A closing
 * block does change; nothing here looks at one.) */
#include "store/internal.h"

#define NEAR_BYTES (128u << 10) /* window of a read that starts somewhere new */
#define FAR_BYTES  (1u << 20)   /* window of one that goes on */

/* ---- window ----------------------------------------------------------------------------- */

void ali_reader_init(struct ali_reader *reader, const struct al_alloc *alloc, struct al_disk *disk,
                     size_t chunk)
{
    memset(reader, 0, sizeof *reader);
    reader->alloc = alloc;
    reader->disk = disk;
    reader->chunk = chunk;
    reader->limit = 0;
}

void ali_reader_close(struct ali_reader *reader)
{
    if (reader->file)
        reader->disk->ops->close(reader->disk, reader->file);
    reader->file = NULL;
    reader->size = 0;
    reader->limit = 0;
}

void ali_reader_deinit(struct ali_reader *reader)
{
    ali_reader_close(reader);
    ali_pages_free(reader->alloc, reader->mem, reader->cap);
    reader->mem = NULL;
    reader->cap = 0;
}

int ali_reader_open(struct ali_reader *reader, const char *name)
{
    const struct al_disk_ops *ops = reader->disk->ops;
    int r;

    ali_reader_close(reader);
    memset(reader->name, 0, sizeof reader->name);
    memcpy(reader->name, name, strlen(name));
    r = ops->open(reader->disk, name, AL_DISK_READ | AL_DISK_DIRECT, &reader->file);
    if (r < 0)
        return r;
    r = ops->size(reader->disk, reader->file, &reader->limit);
    if (r < 0)
        ali_reader_close(reader);
    return r;
}

int ali_reader_get(struct ali_reader *reader, uint64_t at, size_t n, const uint8_t **ret_p)
{
    uint64_t from = ali_round_down(at), want = ali_round_up(at + n) - from;
    int r;

    if (at >= reader->at && at + n <= reader->at + reader->size) {
        *ret_p = reader->mem + (at - reader->at);
        return 0;
    }
    if (at + n > reader->limit)
        return 1;
    if (want < reader->chunk)
        want = reader->chunk;
    if (from + want > reader->limit)
        want = ali_round_up(reader->limit - from);
    if (want > reader->cap) {
        ali_pages_free(reader->alloc, reader->mem, reader->cap);
        reader->cap = reader->size = 0;
        reader->mem = ali_pages_new(reader->alloc, (size_t)want);
        if (!reader->mem)
            return -AL_E_NOMEM;
        reader->cap = (size_t)want;
    }
    reader->at = from;
    reader->size = 0;
    r = reader->disk->ops->read(reader->disk, reader->file, reader->mem, (size_t)want, from,
                                &reader->size);
    if (r < 0) {
        reader->size = 0;
        return r;
    }
    if (at + n > reader->at + reader->size)
        return 1;
    *ret_p = reader->mem + (at - reader->at);
    return 0;
}

/* ---- by LSN ----------------------------------------------------------------------------- */

/* Copies a record out of memory; 1 if it was there. */
static int copy_cached(struct al_store *store, uint64_t lsn, uint16_t *ret_type)
{
    const uint8_t *p;
    int r = 0;

    ali_lock(store);
    p = ali_cache_find(store, lsn);
    if (p) {
        al_buf_clear(&store->copy);
        r = al_buf_put(&store->copy, p + ALI_FRAME_SIZE, al_get32(p + ALI_AT_LENGTH));
        *ret_type = al_get16(p + ALI_AT_TYPE);
    }
    ali_unlock(store);
    return r < 0 ? r : p != NULL;
}

/* Puts the cursor at or before lsn. */
static int seek(struct al_store *store, uint64_t lsn)
{
    struct ali_scan *cursor = &store->cursor;
    struct ali_segment *segment;
    char name[ALI_NAME_CAP];
    struct ali_place place = {0};
    uint64_t id = 0, used = 0;
    bool go_on;
    int r;

    ali_lock(store);
    segment = ali_table_find(&store->table, lsn);
    if (segment) {
        id = segment->id;
        used = segment->used;
        place = ali_index_find(segment, lsn, false);
    }
    ali_unlock(store);
    if (!segment)
        return -AL_E_NOT_FOUND;
    go_on = store->cursor_segment == id && cursor->expect <= lsn && cursor->expect >= place.lsn;
    store->reader.chunk = go_on ? FAR_BYTES : NEAR_BYTES;
    if (store->cursor_segment != id) {
        store->cursor_segment = 0;
        ali_name_format(ALI_NAME_JOURNAL, id, name);
        r = ali_reader_open(&store->reader, name);
        if (r < 0)
            return r == -AL_E_NOT_FOUND ? -AL_E_DAMAGED : r;
    }
    store->reader.limit = used;
    if (!go_on)
        ali_scan_begin(cursor, &store->reader, segment, place);
    store->cursor_segment = id;
    return 0;
}

int ali_read_stored(struct al_store *store, uint64_t lsn, struct ali_record *ret_record)
{
    int r = seek(store, lsn);

    while (r == 0) {
        r = ali_scan_next(&store->cursor, ret_record);
        if (r == 0)
            r = -AL_E_DAMAGED;
        else if (r == 1 && ret_record->lsn == lsn)
            return 0;
        else if (r == 1)
            r = 0;
    }
    store->cursor_segment = 0; /* the position is good for nothing now */
    return r;
}

int al_store_read(struct al_store *store, const uint64_t *lsns, size_t count,
                  int (*fn)(void *ctx, uint64_t lsn, uint16_t type, struct al_str payload),
                  void *ctx)
{
    struct ali_record record;
    int r;

    for (size_t i = 0; i < count; i++) {
        if (ali_is_poisoned(store))
            return -AL_E_POISONED;
        record.lsn = lsns[i];
        r = copy_cached(store, lsns[i], &record.type);
        if (r == 1)
            record.payload = al_str_of(store->copy.data, store->copy.size);
        else if (r == 0)
            r = ali_read_stored(store, lsns[i], &record);
        if (r < 0)
            return r;
        r = fn(ctx, record.lsn, record.type, record.payload);
        if (r)
            return r;
    }
    return 0;
}

int al_store_scan(struct al_store *store, uint64_t segment_id,
                  int (*fn)(void *ctx, uint64_t lsn, uint16_t type, struct al_str payload),
                  void *ctx)
{
    struct ali_segment *segment;
    uint64_t lsn = 0, last = 0;

    if (ali_is_poisoned(store))
        return -AL_E_POISONED;
    ali_lock(store);
    segment = ali_table_by_id(&store->table, segment_id);
    if (segment && segment->closed) {
        lsn = segment->first_lsn;
        last = segment->last_lsn;
    }
    ali_unlock(store);
    if (!lsn)
        return -AL_E_NOT_FOUND;
    for (; lsn <= last; lsn++) {
        struct ali_record record;
        int r = ali_read_stored(store, lsn, &record);

        if (r < 0)
            return r;
        r = fn(ctx, lsn, record.type, record.payload);
        if (r)
            return r;
    }
    return 0;
}
