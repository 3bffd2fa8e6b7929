/* batch.c - filling batches in the core thread, and finding records that are still in memory.
 *
 * The end of the journal is kept in memory exactly as it will stand on disk: a batch begins on a
 * block boundary inside a chunk, with room for its batch frame; each record is appended behind
 * room for its frame header. The core fills in only length, type and LSN; flush.c does the rest in
 * its own thread. Where the journal is sealed it does so into a copy, so that what is in memory
 * stays readable; room for each record's tag is left here too, so both have one layout. While a
 * batch is being flushed the core fills the next one behind it in the same
 * chunk. Chunks whose batches are all durable stay as a read cache until their memory is needed:
 * memory is reused and stays warm, because touching a fresh page costs more than appending ten
 * records to an old one.
 *
 * A record in memory is found through a ring of offsets, one for each of the newest ALI_RING
 * records, and the chunk list (a handful), which says in which chunk an LSN is.
 *
 * The worker may look things up while the core appends. Chunks and their list change only under
 * the lock, which an append that fits does not take. It stores the ring entry first and then
 * `appended`, both with release order; a reader loads the entry first and `appended` after it, and
 * trusts the entry only if no later record can have taken its slot. */
#include "store/internal.h"

#define MIN_ROOM (64u << 10) /* do not begin a batch where less than this is left */

/* ---- chunks ----------------------------------------------------------------------------- */

static void chunk_free(struct al_store *store, struct ali_chunk *chunk)
{
    store->chunk_bytes -= chunk->cap;
    ali_pages_free(&store->alloc, chunk->mem, chunk->cap);
    al_alloc_free(&store->alloc, chunk, sizeof *chunk);
}

static struct ali_chunk *chunk_new(struct al_store *store, size_t cap)
{
    struct ali_chunk *chunk = al_alloc_zero(&store->alloc, sizeof *chunk);

    if (!chunk)
        return NULL;
    chunk->mem = ali_pages_new(&store->alloc, cap);
    if (!chunk->mem) {
        al_alloc_free(&store->alloc, chunk, sizeof *chunk);
        return NULL;
    }
    chunk->cap = cap;
    store->chunk_bytes += cap;
    return chunk;
}

/* A chunk with at least `cap` bytes at the end of the list: the oldest one again if nothing in it
 * waits for the disk and memory is used up, otherwise a new one. Lock held. */
static struct ali_chunk *chunk_push(struct al_store *store, size_t cap)
{
    struct ali_chunk *chunk = NULL, **end;

    cap = ali_round_up(cap < ALI_CHUNK_BYTES ? ALI_CHUNK_BYTES : cap);
    while (store->chunks && store->chunks->refs == 0 &&
           store->chunk_bytes + cap > ALI_CACHE_BYTES) {
        struct ali_chunk *oldest = store->chunks;

        store->chunks = oldest->next;
        if (!chunk && oldest->cap == cap) {
            chunk = oldest;
            break;
        }
        chunk_free(store, oldest);
    }
    if (!chunk)
        chunk = chunk_new(store, cap);
    if (!chunk)
        return NULL;
    chunk->next = NULL;
    chunk->used = 0;
    chunk->first_lsn = 0;
    chunk->refs = 0;
    for (end = &store->chunks; *end; end = &(*end)->next)
        ;
    *end = chunk;
    return chunk;
}

static struct ali_chunk *chunk_last(const struct al_store *store)
{
    struct ali_chunk *chunk = store->chunks;

    while (chunk && chunk->next)
        chunk = chunk->next;
    return chunk;
}

/* ---- filling ---------------------------------------------------------------------------- */

static struct al_batch *batch_struct(struct al_store *store)
{
    struct al_batch *batch = store->spare;

    if (batch)
        store->spare = batch->next;
    else
        batch = al_alloc_new(&store->alloc, sizeof *batch);
    if (batch)
        memset(batch, 0, sizeof *batch);
    return batch;
}

static void batch_place(struct al_batch *batch, struct ali_chunk *chunk)
{
    batch->chunk = chunk;
    batch->mem = chunk->mem + chunk->used;
    batch->room = chunk->cap - chunk->used;
    if (batch->room > ALI_BATCH_MAX && batch->size + ALI_FRAME_SIZE <= ALI_BATCH_MAX)
        batch->room = ALI_BATCH_MAX;
    chunk->refs++;
}

/* Begins a batch with room for `need` bytes of records. Lock held. */
static int batch_begin(struct al_store *store, size_t need, uint64_t lsn)
{
    struct ali_chunk *chunk = chunk_last(store);
    struct al_batch *batch = batch_struct(store);
    size_t want = store->last_size + store->last_size / 4 + need + ALI_BATCH_HEAD;

    if (!batch)
        return -AL_E_NOMEM;
    if (want < MIN_ROOM)
        want = MIN_ROOM;
    if (!chunk || chunk->cap - chunk->used < want)
        chunk = chunk_push(store, want);
    if (!chunk) {
        batch->next = store->spare;
        store->spare = batch;
        return -AL_E_NOMEM;
    }
    batch->size = ALI_BATCH_HEAD;
    batch->first_lsn = lsn;
    batch_place(batch, chunk);
    if (batch->room < batch->size + need)
        batch->room = chunk->cap - chunk->used; /* a single record beyond the bound */
    if (!chunk->first_lsn)
        chunk->first_lsn = lsn;
    store->fill = batch;
    return 0;
}

/* Moves the batch being filled to a larger chunk. Lock held. */
static int batch_grow(struct al_store *store, size_t need)
{
    struct al_batch *batch = store->fill;
    struct ali_chunk *from = batch->chunk, *to;
    size_t shift = (size_t)(batch->mem - from->mem);
    uint32_t i;

    /* The old chunk must not be recycled while its bytes are copied: refs is at least 1. */
    to = chunk_push(store, 2 * (batch->size + need));
    if (!to)
        return -AL_E_NOMEM;
    memcpy(to->mem, batch->mem, batch->size);
    for (i = 0; i < batch->count; i++) {
        _Atomic uint32_t *entry = &store->ring[(batch->first_lsn + i) & (ALI_RING - 1)];
        uint32_t offset = atomic_load_explicit(entry, memory_order_relaxed);

        atomic_store_explicit(entry, offset - (uint32_t)shift, memory_order_release);
    }
    to->first_lsn = batch->first_lsn;
    if (from->first_lsn == batch->first_lsn)
        from->first_lsn = 0;
    from->refs--;
    batch_place(batch, to);
    return 0;
}

/* Closes the batch being filled: it waits to be taken. */
static void batch_close(struct al_store *store)
{
    struct al_batch *batch = store->fill;

    batch->chunk->used += ali_round_up(batch->size);
    store->last_size = batch->size;
    store->appended_bytes += ali_round_up(batch->size);
    batch->next = NULL;
    *store->pending_end = batch;
    store->pending_end = &batch->next;
    store->fill = NULL;
}

/* The slow path of append: makes sure that `need` bytes fit into store->fill. */
static int make_room(struct al_store *store, size_t need, uint64_t lsn)
{
    struct al_batch *batch = store->fill;
    int r = 0;

    ali_lock(store);
    if (batch && (batch->size + need > ALI_BATCH_MAX || batch->count == ALI_RING / 2)) {
        batch_close(store);
        batch = NULL;
    }
    if (!batch)
        r = batch_begin(store, need, lsn);
    else if (batch->size + need > batch->room)
        r = batch_grow(store, need);
    ali_unlock(store);
    return r;
}

int al_store_append(struct al_store *store, uint64_t lsn, uint16_t type, struct al_str payload)
{
    struct al_batch *batch = store->fill;
    size_t need = ALI_FRAME_SIZE + (size_t)payload.n + store->tag_bytes;
    uint8_t *p;
    uint32_t offset;
    int r;

    if (ali_is_poisoned(store))
        return -AL_E_POISONED;
    assert(lsn == atomic_load_explicit(&store->appended, memory_order_relaxed) + 1);
    if (!batch || batch->size + need > batch->room || batch->count == ALI_RING / 2) {
        r = make_room(store, need, lsn);
        if (r < 0)
            return r;
        batch = store->fill;
    }
    p = batch->mem + batch->size;
    al_put32(p + ALI_AT_LENGTH, payload.n);
    al_put16(p + ALI_AT_TYPE, type);
    al_put64(p + ALI_AT_LSN, lsn);
    if (payload.n)
        memcpy(p + ALI_FRAME_SIZE, payload.p, payload.n);
    offset = (uint32_t)(p - batch->chunk->mem);
    atomic_store_explicit(&store->ring[lsn & (ALI_RING - 1)], offset, memory_order_release);
    batch->size += need;
    batch->count++;
    atomic_store_explicit(&store->appended, lsn, memory_order_release);
    return 0;
}

size_t al_store_filling(const struct al_store *store)
{
    size_t n = store->fill ? store->fill->size : 0;

    for (const struct al_batch *batch = store->pending; batch; batch = batch->next)
        n += batch->size;
    return n;
}

/* ---- giving out and taking back --------------------------------------------------------- */

static struct al_batch *take_seal(struct al_store *store)
{
    struct al_batch *batch = &store->seal;

    if (!store->seal_mem) {
        store->seal_mem = ali_pages_new(&store->alloc, AL_DISK_BLOCK);
        if (!store->seal_mem)
            return NULL; /* the next one will do */
    }
    memset(batch, 0, sizeof *batch);
    batch->mem = store->seal_mem;
    batch->size = ALI_BATCH_HEAD;
    batch->first_lsn = store->durable + 1;
    return batch;
}

struct al_batch *al_store_take(struct al_store *store, bool seal)
{
    struct al_batch *batch = NULL;

    if (store->out || ali_is_poisoned(store))
        return NULL;
    if (!store->pending && store->fill) {
        ali_lock(store);
        batch_close(store);
        ali_unlock(store);
    }
    if (store->pending) {
        batch = store->pending;
        store->pending = batch->next;
        if (!store->pending)
            store->pending_end = &store->pending;
    } else if (seal && store->carried < store->durable) {
        batch = take_seal(store);
    }
    if (batch && batch->count)
        atomic_store_explicit(&store->is_quiet, false, memory_order_relaxed);
    store->out = batch;
    return batch;
}

void al_store_done(struct al_store *store, struct al_batch *batch, uint64_t *ret_lsn)
{
    assert(batch == store->out);
    store->carried = batch->first_lsn - 1;
    if (batch->count) {
        store->durable = batch->first_lsn + batch->count - 1;
        ali_lock(store);
        batch->chunk->refs--;
        ali_unlock(store);
        batch->next = store->spare;
        store->spare = batch;
    } else {
        atomic_store_explicit(&store->is_quiet, true, memory_order_relaxed);
        if (store->free_ahead)
            atomic_store(&store->maintain_due, true);
    }
    store->out = NULL;
    *ret_lsn = store->durable;
}

bool al_store_wants_seal(const struct al_store *store)
{
    return store->carried < store->durable && !store->out && !store->fill && !store->pending;
}

/* ---- records in memory ------------------------------------------------------------------ */

const uint8_t *ali_cache_find(const struct al_store *store, uint64_t lsn)
{
    const struct ali_chunk *found = NULL;
    uint32_t offset =
        atomic_load_explicit(&store->ring[lsn & (ALI_RING - 1)], memory_order_acquire);
    uint64_t appended = atomic_load_explicit(&store->appended, memory_order_acquire);

    /* Record appended + 1 may be on its way into the ring: its slot is not to be trusted. */
    if (lsn > appended || lsn + ALI_RING <= appended + 1)
        return NULL;
    for (const struct ali_chunk *chunk = store->chunks; chunk; chunk = chunk->next)
        if (chunk->first_lsn && chunk->first_lsn <= lsn)
            found = chunk;
    return found ? found->mem + offset : NULL;
}

int al_store_read_cached(struct al_store *store, const uint64_t *lsns, size_t count,
                         int (*fn)(void *ctx, uint64_t lsn, uint16_t type, struct al_str payload),
                         void *ctx)
{
    for (size_t i = 0; i < count; i++)
        if (!ali_cache_find(store, lsns[i]))
            return -AL_E_NOT_FOUND;
    for (size_t i = 0; i < count; i++) {
        const uint8_t *p = ali_cache_find(store, lsns[i]);
        int r = fn(ctx, lsns[i], al_get16(p + ALI_AT_TYPE),
                   al_str_of(p + ALI_FRAME_SIZE, al_get32(p + ALI_AT_LENGTH)));

        if (r)
            return r;
    }
    return 0;
}

void ali_batches_close(struct al_store *store)
{
    if (store->fill)
        batch_close(store);
}

void ali_batches_done(struct al_store *store)
{
    struct al_batch *batch;

    while ((batch = store->pending)) {
        store->pending = batch->next;
        batch->chunk->refs--;
        batch->next = store->spare;
        store->spare = batch;
    }
    store->pending_end = &store->pending;
}

void ali_batches_free(struct al_store *store)
{
    struct al_batch *batch;

    ali_batches_close(store);
    if (store->out && store->out != &store->seal) {
        store->out->next = store->pending;
        store->pending = store->out;
    }
    while ((batch = store->pending)) {
        store->pending = batch->next;
        al_alloc_free(&store->alloc, batch, sizeof *batch);
    }
    while ((batch = store->spare)) {
        store->spare = batch->next;
        al_alloc_free(&store->alloc, batch, sizeof *batch);
    }
    while (store->chunks) {
        struct ali_chunk *chunk = store->chunks;

        store->chunks = chunk->next;
        chunk_free(store, chunk);
    }
    ali_pages_free(&store->alloc, store->seal_mem, AL_DISK_BLOCK);
    ali_pages_free(&store->alloc, store->sealed_mem, store->sealed_cap);
}
