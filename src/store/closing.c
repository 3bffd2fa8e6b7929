/* closing.c - the closing block: a segment says in which one the journal goes on.
 *
 * Everything that stands in the middle of the journal is missed when it is gone, because the LSNs
 * around it do not meet. The newest segment has nothing behind it. So each segment but the newest
 * names the one that follows it, in a block of its own behind the header: zeros while the segment
 * is the newest, one frame from then on. The block is there from the beginning, so a full disk
 * cannot keep it from being written, and nothing else ever stands in it: neither a torn tail nor
 * a rewritten one is in the way, and no record is written over.
 *
 * The order: the new segment gets its durable name; the block of the one before is written and
 * flushed; the first batch goes to the new one. So after a crash
 *
 * 1. before the name is durable, the block is blank;
 * 2. before the block is durable, the next segment is there and nothing was acknowledged out of it
 *    since it was made. The block is blank, torn or whole, or only seems so: what is seen may be in
 *    a cache. Recovery writes it, again if need be, before it makes the next segment: the chain has
 *    no gap but at its end;
 * 3. afterwards, both are there.
 *
 * A block that is not blank, torn or not, means that the next segment has had its durable name. If
 * it is written twice, it gets the same content or the name of a later segment, and no mixture of
 * two such blocks is blank.
 *
 * The newest segment never goes by itself. A segment counts as closed, and may be released, only
 * when its successor has its name; recovery leaves the last one open until then. Hence the law
 * that a start checks: the closing block of the newest segment is blank. A segment in the middle
 * may name one that is gone, because it was empty or superseded and was recycled; then there is a
 * later one, and when that is gone too, the block tells. */
#include "store/internal.h"

int ali_closing_read(struct ali_reader *reader, const struct ali_segment *segment,
                     enum ali_closing_state *ret_state, struct ali_closing *ret_closing)
{
    enum ali_closing_state state = ALI_CLOSING_NONE;
    struct ali_closing closing;
    const uint8_t *p;
    int r;

    if (ali_has_closing(segment)) {
        r = ali_reader_get(reader, ALI_CLOSING_AT, AL_DISK_BLOCK, &p);
        if (r < 0)
            return r;
        if (r == 0 && ali_is_zero(p, AL_DISK_BLOCK)) {
            state = ALI_CLOSING_BLANK;
        } else if (r == 0 &&
                   ali_closing_decode(p, segment->is_sealed, ali_seal_of(segment), &closing) &&
                   closing.id == segment->id && memcmp(closing.salt, segment->salt, 16) == 0) {
            state = ALI_CLOSING_WHOLE;
            *ret_closing = closing;
        } else {
            state = ALI_CLOSING_TORN;
        }
    }
    *ret_state = state;
    return 0;
}

int ali_closing_write(struct al_store *store, const struct ali_segment *segment,
                      struct al_disk_file *file, const struct ali_segment *next)
{
    const struct al_disk_ops *ops = store->disk->ops;
    struct ali_closing closing = {
        .id = segment->id, .next_id = next->id, .next_lsn = next->first_lsn};
    struct al_disk_file *own = NULL;
    char name[ALI_NAME_CAP];
    uint8_t *block;
    int r = 0;

    if (!ali_has_closing(segment) || AL_PLANT(store, NO_CLOSING_BLOCK))
        return 0;
    block = ali_pages_new(&store->alloc, AL_DISK_BLOCK);
    if (!block)
        return -AL_E_NOMEM;
    assert(!segment->is_sealed || segment->has_keys); /* it was made here, or walked */
    memcpy(closing.salt, segment->salt, 16);
    memcpy(closing.next_salt, next->salt, 16);
    ali_closing_encode(block, &closing, ali_seal_of(segment));
    ali_name_format(ALI_NAME_JOURNAL, segment->id, name);
    if (!file)
        r = ops->open(store->disk, name, AL_DISK_READ | AL_DISK_WRITE | AL_DISK_DIRECT, &own);
    if (r == 0)
        r = ops->write(store->disk, file ? file : own, block, AL_DISK_BLOCK, ALI_CLOSING_AT);
    if (r == 0)
        r = ops->flush(store->disk, file ? file : own);
    if (own)
        ops->close(store->disk, own);
    ali_pages_free(&store->alloc, block, AL_DISK_BLOCK);
    return r;
}

int ali_closing_follow(struct al_store *store, struct al_disk_file *file)
{
    struct ali_segment *before = NULL, *newest;
    size_t count;
    int r;

    ali_lock(store);
    count = store->table.count;
    newest = store->table.list[count - 1];
    if (count > 1)
        before = store->table.list[count - 2]; /* stays: it is not closed yet */
    ali_unlock(store);
    if (!before)
        return 0;
    r = ali_closing_write(store, before, file, newest);
    if (r < 0)
        return r;
    ali_lock(store);
    before->closed = true;
    if (before->last_lsn < before->first_lsn)
        before->released = true; /* never used: nobody will ask for what is in it */
    ali_unlock(store);
    return 0;
}
