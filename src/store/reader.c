/* reader.c - reading files in large aligned pieces, and reading records back by LSN.
 *
 * A reader shows a file through a window. Asking for bytes outside it moves the window: one read
 * of `chunk` bytes or of what was asked for, whichever is more. So a walk over a segment costs one
 * system call every few megabytes and no copy.
 *
 * A reader with a `piece` (recovery) has the piece behind the window under way meanwhile. Windows
 * then meet end to end: the end of the last one, where a frame was cut, is copied before the piece.
 * A frame with more than half a piece before the cut is read again, with what is behind it.
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
    al_buf_init(&reader->plain, alloc);
}

/* How much of a window is kept before the piece that was read ahead. */
static size_t tail_max(const struct ali_reader *reader)
{
    return ali_round_up(reader->piece / 2);
}

/* Memory of a window that is read ahead. */
static size_t piece_cap(const struct ali_reader *reader)
{
    return tail_max(reader) + reader->piece;
}

/* Waits for the piece that is under way, if one is, and forgets it. */
static void drop_next(struct ali_reader *reader)
{
    const struct al_disk_ops *ops = reader->disk->ops;
    size_t got;

    if (reader->next_size && ops->read_end)
        (void)ops->read_end(reader->disk, reader->file, &got);
    reader->next_size = 0;
}

void ali_reader_close(struct ali_reader *reader)
{
    drop_next(reader);
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
    ali_pages_free(reader->alloc, reader->next_mem, piece_cap(reader));
    reader->mem = reader->next_mem = NULL;
    reader->cap = 0;
    al_buf_deinit(&reader->plain);
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

static int reserve(struct ali_reader *reader, uint64_t want)
{
    if (reader->piece && want < piece_cap(reader))
        want = piece_cap(reader); /* it will take turns with next_mem */
    if (want <= reader->cap)
        return 0;
    ali_pages_free(reader->alloc, reader->mem, reader->cap);
    reader->cap = 0;
    reader->mem = ali_pages_new(reader->alloc, (size_t)want);
    if (!reader->mem)
        return -AL_E_NOMEM;
    reader->cap = (size_t)want;
    return 0;
}

static bool is_ahead(const struct ali_reader *reader)
{
    return reader->piece && reader->chunk == reader->piece;
}

/* Puts the window at `from`, with one read. */
static int move(struct ali_reader *reader, uint64_t from, uint64_t want)
{
    /* The first piece is short: the next one is under way while it is looked at. */
    size_t chunk = is_ahead(reader) && reader->chunk > NEAR_BYTES ? NEAR_BYTES : reader->chunk;
    int r;

    drop_next(reader);
    reader->size = 0;
    if (want < chunk)
        want = chunk;
    if (from + want > reader->limit)
        want = ali_round_up(reader->limit - from);
    r = reserve(reader, want);
    if (r < 0)
        return r;
    reader->at = from;
    reader->view = reader->mem;
    r = reader->disk->ops->read(reader->disk, reader->file, reader->mem, (size_t)want, from,
                                &reader->size);
    if (r < 0)
        reader->size = 0;
    return r;
}

/* True if the piece under way goes on where the window ends and `from` lies near that. */
static bool goes_on(const struct ali_reader *reader, uint64_t from)
{
    return reader->next_size && reader->next_at == reader->at + reader->size &&
           from >= reader->at && from <= reader->next_at &&
           reader->next_at - from <= tail_max(reader) && reader->cap == piece_cap(reader);
}

/* The window becomes its own end, from `from` on, and the piece that was read ahead. */
static int take_next(struct ali_reader *reader, uint64_t from)
{
    const struct al_disk_ops *ops = reader->disk->ops;
    size_t tail = (size_t)(reader->next_at - from), got = 0, want = reader->next_size;
    uint8_t *mem = reader->next_mem, *to = mem + tail_max(reader);
    int r;

    reader->next_size = 0;
    if (ops->read_end)
        r = ops->read_end(reader->disk, reader->file, &got);
    else
        r = ops->read(reader->disk, reader->file, to, want, reader->next_at, &got);
    if (r < 0) {
        reader->size = 0;
        return r;
    }
    memcpy(to - tail, reader->view + (from - reader->at), tail);
    reader->next_mem = reader->mem;
    reader->mem = mem;
    reader->view = to - tail;
    reader->at = from;
    reader->size = tail + got;
    return 0;
}

/* Asks for what stands behind the window. */
static int begin_next(struct ali_reader *reader)
{
    const struct al_disk_ops *ops = reader->disk->ops;
    uint64_t at = reader->at + reader->size, n = reader->piece;

    if (!is_ahead(reader) || reader->cap != piece_cap(reader) || at % AL_DISK_BLOCK ||
        at >= reader->limit)
        return 0;
    if (at + n > reader->limit)
        n = ali_round_up(reader->limit - at);
    if (!reader->next_mem)
        reader->next_mem = ali_pages_new(reader->alloc, piece_cap(reader));
    if (!reader->next_mem)
        return -AL_E_NOMEM;
    reader->next_at = at;
    reader->next_size = (size_t)n;
    if (ops->read_begin)
        ops->read_begin(reader->disk, reader->file, reader->next_mem + tail_max(reader), (size_t)n,
                        at);
    return 0;
}

int ali_reader_get(struct ali_reader *reader, uint64_t at, size_t n, const uint8_t **ret_p)
{
    uint64_t from = ali_round_down(at);
    int r = 0;

    if (at >= reader->at && at + n <= reader->at + reader->size) {
        *ret_p = reader->view + (at - reader->at);
        return 0;
    }
    if (at + n > reader->limit)
        return 1;
    if (goes_on(reader, from))
        r = take_next(reader, from);
    if (r == 0 && (at < reader->at || at + n > reader->at + reader->size))
        r = move(reader, from, ali_round_up(at + n) - from);
    if (r == 0)
        r = begin_next(reader);
    if (r < 0)
        return r;
    if (at + n > reader->at + reader->size)
        return 1;
    *ret_p = reader->view + (at - reader->at);
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
        r = ali_sealed_load(&store->reader, segment);
        if (r < 0)
            return r;
    }
    store->reader.limit = used;
    if (!go_on)
        ali_scan_begin(cursor, &store->reader, segment, place);
    cursor->from = lsn;
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
