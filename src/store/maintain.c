/* maintain.c - work beside the work: preparing segments, recycling old ones, watching the space.
 *
 * Called by a worker in slices. Prepared files make a flush twice as fast (the file system has
 * nothing to allocate); a recycled file needs no zeroing, because its old frames carry another
 * salt. What a long time without released segments will need is prepared while nothing is written
 * (al_store_expect), and left where it is when writing begins. On a full disk prepared files are
 * given back, or they would keep it full for ever. The order is always: what makes a file
 * unnecessary is durable first (snapshots), then it is renamed, the directory is flushed, and only
 * then it may be overwritten. */
#include "store/internal.h"

void ali_space_sample(struct al_store *store)
{
    uint64_t bytes = 0;

    if (store->disk->ops->space(store->disk, &bytes) != 0)
        return;
    store->space_bytes = bytes;
    atomic_store(&store->has_space, bytes >= store->config.reserve_bytes);
}

bool ali_segment_is_free(const struct al_store *store, const struct ali_segment *segment)
{
    bool is_empty = segment->last_lsn < segment->first_lsn;

    if (!segment->closed || !segment->released)
        return false;
    if (AL_PLANT(store, EARLY_RELEASE))
        return true;
    if (segment->listed)
        return false;
    if (is_empty) /* a snapshot that is being written, or cannot be read now, may list it */
        return !store->writer && !store->passed_over;
    return segment->last_lsn <= store->snapshot_lsn[1];
}

/* ---- recycling -------------------------------------------------------------------------- */

/* On a full disk prepared files are what stands in the way: one is kept. Lock held. */
static bool wants_less(const struct al_store *store)
{
    return store->free_count > 0 && !al_store_has_space(store);
}

/* Segments are released in one go after a snapshot and used up one by one until the next. Those
 * that were not kept would have to be zeroed again: twice the writing. Lock held. */
static bool wants_stock(const struct al_store *store)
{
    size_t between = store->free_stock > 2 ? store->free_stock : 2;

    if (between < store->free_ahead) /* or they would be zeroed again in the next quiet time */
        between = store->free_ahead;
    return store->free_count < store->free_target + between &&
           store->free_count < ALI_FREE_MAX - 1 && !wants_less(store);
}

/* Takes one free segment out of the table; NULL if there is none. */
static struct ali_segment *take_free(struct al_store *store, uint64_t *ret_number, bool *ret_keep)
{
    struct ali_segment *segment = NULL;

    ali_lock(store);
    for (size_t i = 0; i < store->table.count && !segment; i++)
        if (ali_segment_is_free(store, store->table.list[i]))
            segment = store->table.list[i];
    if (segment) {
        ali_table_remove(&store->table, segment);
        *ret_keep = segment->is_sized && segment->bytes == store->config.segment_bytes &&
                    wants_stock(store);
        *ret_number = store->next_number++;
    }
    ali_unlock(store);
    return segment;
}

static void add_free(struct al_store *store, uint64_t number)
{
    ali_lock(store);
    if (store->free_count < ALI_FREE_MAX)
        store->free_list[store->free_count++] =
            (struct ali_free){.number = number, .bytes = store->config.segment_bytes};
    ali_unlock(store);
}

/* 1: one was recycled, 0: nothing to do, or an error. */
static int recycle_one(struct al_store *store)
{
    const struct al_disk_ops *ops = store->disk->ops;
    char from[ALI_NAME_CAP], to[ALI_NAME_CAP];
    struct ali_segment *segment;
    uint64_t number = 0, id;
    bool keep = false;
    int r;

    segment = take_free(store, &number, &keep);
    if (!segment)
        return 0;
    id = segment->id;
    if (store->cursor_segment == id) {
        store->cursor_segment = 0;
        ali_reader_close(&store->reader);
    }
    ali_segment_free(&store->alloc, segment);
    ali_name_format(ALI_NAME_JOURNAL, id, from);
    if (!keep) {
        r = ops->unlink(store->disk, from);
        return r < 0 ? r : 1;
    }
    ali_name_format(ALI_NAME_FREE, number, to);
    r = ops->rename(store->disk, from, to);
    if (r == 0)
        r = ops->sync_dir(store->disk);
    if (r < 0)
        return r;
    add_free(store, number);
    return 1;
}

/* Gives a prepared file back to a full disk. 1: one was, 0: there is nothing to give, or an error.
 */
static int give_back_one(struct al_store *store)
{
    char name[ALI_NAME_CAP];
    bool found = false;
    int r;

    ali_lock(store);
    if (wants_less(store) && store->free_count > 1) {
        ali_name_format(ALI_NAME_FREE, store->free_list[--store->free_count].number, name);
        found = true;
    }
    ali_unlock(store);
    if (!found)
        return 0;
    r = store->disk->ops->unlink(store->disk, name);
    return r < 0 ? r : 1;
}

/* ---- zeroing ---------------------------------------------------------------------------- */

/* Only while the disk would not count as full afterwards: or the file would be given back. What is
 * for later only has to leave much more. */
static bool wants_more(struct al_store *store)
{
    const uint64_t segment_bytes = store->config.segment_bytes;
    uint64_t room = store->config.reserve_bytes + segment_bytes;
    bool now, later;

    ali_lock(store);
    now = store->free_count < store->free_target && store->free_count < ALI_FREE_MAX;
    later = store->free_count < store->free_ahead && store->free_count < ALI_FREE_MAX - 1 &&
            atomic_load_explicit(&store->is_quiet, memory_order_relaxed);
    ali_unlock(store);
    if (!now)
        room += ALI_AHEAD_ROOM * segment_bytes;
    return (now || later) && store->space_bytes >= room;
}

/* What is for later only is left where it is while something is written. */
static bool is_paused(struct al_store *store)
{
    bool paused;

    ali_lock(store);
    paused = store->zeroing.busy && store->free_ahead && store->free_count >= store->free_target &&
             !atomic_load_explicit(&store->is_quiet, memory_order_relaxed);
    ali_unlock(store);
    return paused;
}

static int zero_begin(struct al_store *store)
{
    struct ali_zeroing *zeroing = &store->zeroing;
    char name[ALI_NAME_CAP];
    int r;

    ali_lock(store);
    zeroing->number = store->next_number++;
    ali_unlock(store);
    zeroing->at = 0;
    zeroing->bytes = store->config.segment_bytes;
    ali_name_format(ALI_NAME_NEW, zeroing->number, name);
    r = store->disk->ops->open(store->disk, name,
                               AL_DISK_READ | AL_DISK_WRITE | AL_DISK_CREATE | AL_DISK_DIRECT,
                               &zeroing->file);
    zeroing->busy = r == 0;
    return r;
}

/* Gives up a file that does not fit on the disk. */
static void zero_abort(struct al_store *store)
{
    char name[ALI_NAME_CAP];

    ali_name_format(ALI_NAME_NEW, store->zeroing.number, name);
    store->disk->ops->close(store->disk, store->zeroing.file);
    store->zeroing.file = NULL;
    store->zeroing.busy = false;
    (void)store->disk->ops->unlink(store->disk, name);
}

static int zero_end(struct al_store *store)
{
    const struct al_disk_ops *ops = store->disk->ops;
    struct ali_zeroing *zeroing = &store->zeroing;
    char from[ALI_NAME_CAP], to[ALI_NAME_CAP];
    int r = ops->flush(store->disk, zeroing->file);

    ops->close(store->disk, zeroing->file);
    zeroing->file = NULL;
    zeroing->busy = false;
    ali_name_format(ALI_NAME_NEW, zeroing->number, from);
    ali_name_format(ALI_NAME_FREE, zeroing->number, to);
    if (r == 0)
        r = ops->rename(store->disk, from, to);
    if (r == 0)
        r = ops->sync_dir(store->disk);
    if (r == 0)
        add_free(store, zeroing->number);
    return r;
}

static int zero_slice(struct al_store *store)
{
    struct ali_zeroing *zeroing = &store->zeroing;
    uint64_t left = zeroing->bytes - zeroing->at;
    size_t n = left < ALI_ZERO_SLICE ? (size_t)left : ALI_ZERO_SLICE;
    uint8_t *zeros = ali_pages_new(&store->alloc, n);
    int r;

    if (!zeros)
        return -AL_E_NOMEM;
    memset(zeros, 0, n);
    r = store->disk->ops->write(store->disk, zeroing->file, zeros, n, zeroing->at);
    ali_pages_free(&store->alloc, zeros, n);
    zeroing->at += n;
    return r;
}

/* One slice of whatever is to be done: 1 it was done, 0 there is nothing, or an error. */
static int one_slice(struct al_store *store)
{
    int r = recycle_one(store);

    if (r == 0)
        r = give_back_one(store);
    if (r != 0)
        return r;
    if (is_paused(store)) {
        if (!al_store_has_space(store))
            zero_abort(store);
        return 0;
    }
    if (store->zeroing.busy)
        r = store->zeroing.at < store->zeroing.bytes ? zero_slice(store) : zero_end(store);
    else if (wants_more(store))
        r = zero_begin(store);
    else
        return 0;
    return r < 0 ? r : 1;
}

int al_store_maintain(struct al_store *store)
{
    int r;

    if (ali_is_poisoned(store))
        return -AL_E_POISONED;
    atomic_store(&store->maintain_due, false);
    ali_space_sample(store);
    r = one_slice(store);
    if (r == -AL_E_DISK_FULL && store->zeroing.busy)
        zero_abort(store);
    if (r == 0 && !al_store_has_space(store))
        r = -AL_E_DISK_FULL; /* looked at again when the driver comes back */
    if (r != 0)
        atomic_store(&store->maintain_due, true);
    return r == -AL_E_NOMEM ? r : ali_fail(store, r, true);
}
