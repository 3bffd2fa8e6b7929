/* sealed.c - sealed files: where a file's key stands, and why no nonce is used twice.
 *
 * A segment or snapshot is sealed under a random key of its own. The key stands in its header
 * block, wrapped under the master key, in one of two slots. Rewrapping (al_store_rekey) writes the
 * slot that is not in use and then clears the other, so at any time one of the two is whole; both
 * lie in the first sector of the block, and each has its own CRC, so the block's own need not
 * change.
 *
 * What is sealed: the payloads of records and of a snapshot's items are secret and authentic. What
 * the store itself says (header, batch frames, closing block, a snapshot's store section and
 * trailer) is authentic only: it is about LSNs, salts and offsets, and `journal verify` needs it
 * without a key.
 *
 * No nonce is used twice under one key, because
 *
 * 1. a key belongs to one life of one file. ali_sealed_begin draws a new one whenever a header
 * block is written: for a recycled segment, for the segment into which recovery rewrites a tail,
 * for each attempt of either, for each snapshot. What is drawn comes from 32 random bytes of this
 *    opening and a count, so neither a crash nor a second start leads to the same key;
 * 2. only frames of records and items use a nonce. A record's is its LSN: the LSNs of a segment
 *    only grow, because a segment is written front to back, by one process, each batch once.
 *    A failed write poisons the store, and after a start nothing is appended to a segment that was
 *    there before: what recovery keeps of a tail goes into a new file. An item frame's is its
 *    running number, and a snapshot that was begun is never taken up again;
 * 3. everything else, also the closing block, which may be written twice and differently, has tags
 *    of keyed BLAKE2b, which knows no nonce;
 * 4. wrapping draws a random nonce of 24 bytes each time. */
#include "store/internal.h"

/* Offsets in a slot. */
enum {
    SLOT_USED = 0, /* u32 1; 0: the slot is empty, all zeros */
    SLOT_ID = 8,   /* of the master key */
    SLOT_NONCE = 24,
    SLOT_KEY = 48,
    SLOT_CRC = ALI_SLOT_SIZE - 4
};
_Static_assert(SLOT_KEY + AL_SEAL_WRAPPED <= SLOT_CRC, "it fits");

#define KEY_FAILED 1 /* the slot is of this master key, and does not open */

/* What the seal of a slot and the tag cover besides: the header proper. */
static struct al_str head_of(const uint8_t *block)
{
    return al_str_of(block, ALI_HEADER_TAG_AT);
}

static struct al_str rest_of(const uint8_t *block)
{
    return al_str_of(block + ALI_SLOTS_END, AL_DISK_BLOCK - 4 - ALI_SLOTS_END);
}

static bool slot_is_whole(const uint8_t *slot)
{
    return al_get32(slot + SLOT_USED) == 1 && ali_is_zero(slot + 4, SLOT_ID - 4) &&
           !ali_is_zero(slot + SLOT_ID, AL_SEAL_ID) &&
           ali_is_zero(slot + SLOT_KEY + AL_SEAL_WRAPPED, SLOT_CRC - SLOT_KEY - AL_SEAL_WRAPPED) &&
           al_get32(slot + SLOT_CRC) == al_crc32c(0, slot, SLOT_CRC);
}

static void slot_fill(uint8_t *block, unsigned number, const uint8_t *master,
                      const uint8_t nonce[AL_SEAL_NONCE], const uint8_t key[AL_SEAL_KEY])
{
    uint8_t *slot = block + ALI_SLOTS_AT + (size_t)number * ALI_SLOT_SIZE;

    memset(slot, 0, ALI_SLOT_SIZE);
    al_put32(slot + SLOT_USED, 1);
    al_seal_key_id(master, slot + SLOT_ID);
    memcpy(slot + SLOT_NONCE, nonce, AL_SEAL_NONCE);
    al_seal_wrap(master, nonce, head_of(block), key, slot + SLOT_KEY);
    al_put32(slot + SLOT_CRC, al_crc32c(0, slot, SLOT_CRC));
}

void ali_sealed_begin(struct al_store *store, uint8_t *block, struct al_seal *ret_seal)
{
    uint8_t key[AL_SEAL_KEY], nonce[AL_SEAL_KEY];

    ali_lock(store); /* segments and snapshots are made by different threads */
    al_seal_draw(&store->seal_source, key);
    al_seal_draw(&store->seal_source, nonce);
    if (AL_PLANT(store, KEY_KEPT)) { /* the count without the seed */
        memset(key, 0, sizeof key);
        al_put64(key, store->seal_source.count);
    }
    ali_unlock(store);
    slot_fill(block, 0, store->config.seal.key, nonce, key);
    al_seal_init(ret_seal, key, block + 40);
    al_seal_tag(ret_seal, head_of(block), rest_of(block), block + ALI_HEADER_TAG_AT);
    ali_block_finish(block);
    al_seal_wipe(key, sizeof key);
}

/* 0 and the file's key; KEY_FAILED; or -AL_E_SEAL_KEY: neither slot is of this master key. */
static int file_key(const uint8_t *master, const uint8_t *block, uint8_t ret_key[AL_SEAL_KEY])
{
    uint8_t id[AL_SEAL_ID];
    int r = -AL_E_SEAL_KEY;

    if (!master)
        return r;
    al_seal_key_id(master, id);
    for (unsigned i = 0; i < 2; i++) {
        const uint8_t *slot = block + ALI_SLOTS_AT + (size_t)i * ALI_SLOT_SIZE;

        if (!slot_is_whole(slot) || memcmp(slot + SLOT_ID, id, sizeof id) != 0)
            continue;
        if (al_seal_unwrap(master, slot + SLOT_NONCE, head_of(block), slot + SLOT_KEY, ret_key))
            return 0;
        r = KEY_FAILED;
    }
    return r;
}

bool ali_sealed_slots_are_whole(const uint8_t *block)
{
    unsigned used = 0;

    for (unsigned i = 0; i < 2; i++) {
        const uint8_t *slot = block + ALI_SLOTS_AT + (size_t)i * ALI_SLOT_SIZE;

        if (slot_is_whole(slot))
            used++;
        else if (!ali_is_zero(slot, ALI_SLOT_SIZE))
            return false;
    }
    return used > 0;
}

int ali_sealed_open(const uint8_t *key, const uint8_t *block, struct al_seal *ret_seal)
{
    uint8_t secret[AL_SEAL_KEY];
    struct al_seal seal;
    int r = ali_sealed_slots_are_whole(block) ? file_key(key, block, secret) : KEY_FAILED;

    if (r == 0) {
        al_seal_init(&seal, secret, block + 40);
        if (!al_seal_tag_is(&seal, head_of(block), rest_of(block), block + ALI_HEADER_TAG_AT) ||
            !ali_is_zero(block + ALI_HEADER_TAG_AT + AL_SEAL_TAG,
                         ALI_SLOTS_AT - ALI_HEADER_TAG_AT - AL_SEAL_TAG))
            r = KEY_FAILED;
    }
    if (r == 0)
        *ret_seal = seal;
    al_seal_wipe(secret, sizeof secret);
    al_seal_wipe(&seal, sizeof seal);
    return r == KEY_FAILED ? -AL_E_DAMAGED : r;
}

/* Where the slot of this master key stands; 2: nowhere. */
static unsigned slot_of(const uint8_t *master, const uint8_t *block)
{
    uint8_t id[AL_SEAL_ID];
    unsigned i = 0;

    al_seal_key_id(master, id);
    for (; i < 2; i++) {
        const uint8_t *slot = block + ALI_SLOTS_AT + (size_t)i * ALI_SLOT_SIZE;

        if (slot_is_whole(slot) && memcmp(slot + SLOT_ID, id, sizeof id) == 0)
            break;
    }
    return i;
}

int ali_sealed_add(const uint8_t *old_key, const uint8_t *new_key,
                   const uint8_t nonce[AL_SEAL_NONCE], uint8_t *block)
{
    uint8_t key[AL_SEAL_KEY];
    unsigned old = slot_of(old_key, block);
    int r;

    if (slot_of(new_key, block) < 2)
        return file_key(new_key, block, key) == 0 ? 0 : -AL_E_DAMAGED;
    r = file_key(old_key, block, key);
    if (r == 0)
        slot_fill(block, 1 - old, new_key, nonce, key);
    al_seal_wipe(key, sizeof key);
    return r == 0 ? 1 : r == KEY_FAILED ? -AL_E_DAMAGED : r;
}

int ali_sealed_keep(const uint8_t *key, uint8_t *block)
{
    unsigned own = slot_of(key, block);
    uint8_t *other = block + ALI_SLOTS_AT + (own ? 0 : ALI_SLOT_SIZE), secret[AL_SEAL_KEY];

    if (own == 2 || file_key(key, block, secret) != 0)
        return own == 2 ? -AL_E_SEAL_KEY : -AL_E_DAMAGED;
    al_seal_wipe(secret, sizeof secret);
    if (ali_is_zero(other, ALI_SLOT_SIZE))
        return 0;
    memset(other, 0, ALI_SLOT_SIZE);
    return 1;
}

int ali_sealed_load(struct ali_reader *reader, struct ali_segment *segment)
{
    struct ali_segment_header header;
    const uint8_t *p;
    int r;

    if (!segment->is_sealed || segment->has_keys)
        return 0;
    r = ali_reader_get(reader, 0, AL_DISK_BLOCK, &p);
    if (r < 0)
        return r;
    r = r > 0 ? -AL_E_DAMAGED : ali_segment_header_decode(p, &header);
    if (r == 0 && (!header.is_sealed || memcmp(header.salt, segment->salt, 16) != 0))
        r = -AL_E_DAMAGED;
    if (r == 0)
        r = ali_sealed_open(reader->key, p, &segment->seal);
    segment->has_keys = r == 0;
    return r;
}

void ali_sealed_say(char *text, size_t cap, const uint8_t *block)
{
    ali_text_add(text, cap, "sealed under the key ");
    for (unsigned i = 0, said = 0; i < 2; i++) {
        const uint8_t *slot = block + ALI_SLOTS_AT + (size_t)i * ALI_SLOT_SIZE;
        char hex[2 * AL_SEAL_ID + 1];

        if (!slot_is_whole(slot))
            continue;
        for (unsigned k = 0; k < AL_SEAL_ID; k++) {
            hex[2 * k] = "0123456789abcdef"[slot[SLOT_ID + k] >> 4];
            hex[2 * k + 1] = "0123456789abcdef"[slot[SLOT_ID + k] & 15];
        }
        hex[2 * AL_SEAL_ID] = 0;
        ali_text_add(text, cap, said++ ? " or " : "");
        ali_text_add(text, cap, hex);
    }
}

/* ---- is anything sealed? ----------------------------------------------------------------- */

struct search {
    struct al_disk *disk;
    uint8_t *block;
    bool found;
};

static int look_at(void *ctx, const char *name)
{
    struct search *search = ctx;
    const struct al_disk_ops *ops = search->disk->ops;
    struct al_disk_file *file;
    uint64_t number;
    size_t n = 0;
    enum ali_name_kind kind = ali_name_parse(name, &number);
    int r;

    if (search->found || (kind != ALI_NAME_JOURNAL && kind != ALI_NAME_SNAPSHOT))
        return 0;
    r = ops->open(search->disk, name, AL_DISK_READ, &file);
    if (r < 0)
        return r == -AL_E_NOT_FOUND ? 0 : r;
    r = ops->read(search->disk, file, search->block, AL_DISK_BLOCK, 0, &n);
    ops->close(search->disk, file);
    /* Also of a damaged header: nobody makes a new key where one may be needed. */
    search->found = r == 0 && n == AL_DISK_BLOCK && ali_block_is_sealed(search->block);
    return r;
}

int al_store_is_sealed(const struct al_alloc *alloc, struct al_disk *disk, bool *ret_is_sealed)
{
    struct search search = {.disk = disk, .block = ali_pages_new(alloc, AL_DISK_BLOCK)};
    int r;

    if (!search.block)
        return -AL_E_NOMEM;
    r = disk->ops->list(disk, look_at, &search);
    ali_pages_free(alloc, search.block, AL_DISK_BLOCK);
    if (r == 0)
        *ret_is_sealed = search.found;
    return r;
}
