/* rekey.c - another master key for a directory whose node is stopped.
 *
 * Only the header blocks change: each file's key is wrapped again, its data stays. First the new
 * slot is written beside the old one, in every file; from then on both keys open everything, and
 * the caller puts the new key where the node finds it. Then the old slots are cleared. A crash
 * anywhere leaves a directory that the key opens which stood in its place at that time: before the
 * change the old one does, whatever has been written, and behind it the new one. The whole can be
 * repeated until it is through.
 *
 * A slot lies inside one sector, and the other one is not touched while it is written. */
#include "store/internal.h"

struct rekey {
    struct al_disk *disk;
    const struct al_store_rekey *how;
    struct al_seal_source source;
    uint8_t *block;
    struct al_store_report *report;
    uint64_t files;
};

static int damaged(struct rekey *rekey, const char *name, const char *what)
{
    ali_text_add(rekey->report->detail, sizeof rekey->report->detail, name);
    ali_text_add(rekey->report->detail, sizeof rekey->report->detail, ": ");
    ali_text_add(rekey->report->detail, sizeof rekey->report->detail, what);
    return -AL_E_DAMAGED;
}

/* Changes the block as it is to be. 1: it must be written, 0: it is right, or an error. */
static int change(struct rekey *rekey, const char *name)
{
    uint8_t nonce[AL_SEAL_KEY];
    int r;

    if (rekey->how->is_end) {
        r = ali_sealed_keep(rekey->how->new_key, rekey->block);
    } else {
        al_seal_draw(&rekey->source, nonce);
        r = ali_sealed_add(rekey->how->old_key, rekey->how->new_key, nonce, rekey->block);
    }
    if (r == -AL_E_SEAL_KEY) {
        ali_text_add(rekey->report->detail, sizeof rekey->report->detail, name);
        ali_text_add(rekey->report->detail, sizeof rekey->report->detail, " is ");
        ali_sealed_say(rekey->report->detail, sizeof rekey->report->detail, rekey->block);
    }
    return r == -AL_E_DAMAGED ? damaged(rekey, name, "the seal of its header is broken") : r;
}

static int rekey_open(struct rekey *rekey, const char *name, bool is_snapshot,
                      struct al_disk_file *file)
{
    const struct al_disk_ops *ops = rekey->disk->ops;
    struct ali_snapshot_header snapshot;
    struct ali_segment_header segment;
    size_t n = 0;
    int r = ops->read(rekey->disk, file, rekey->block, AL_DISK_BLOCK, 0, &n);

    if (r < 0)
        return r;
    if (n == AL_DISK_BLOCK && !ali_block_is_sealed(rekey->block))
        return 0;
    r = n < AL_DISK_BLOCK ? -AL_E_DAMAGED
        : is_snapshot     ? ali_snapshot_header_decode(rekey->block, &snapshot)
                          : ali_segment_header_decode(rekey->block, &segment);
    if (r < 0)
        return r == -AL_E_DAMAGED ? damaged(rekey, name, "the header is damaged") : r;
    r = change(rekey, name);
    if (r == 1) {
        rekey->files++;
        r = ops->write(rekey->disk, file, rekey->block, AL_DISK_BLOCK, 0);
        if (r == 0)
            r = ops->flush(rekey->disk, file);
    }
    return r;
}

static int rekey_file(void *ctx, const char *name)
{
    struct rekey *rekey = ctx;
    struct al_disk_file *file;
    uint64_t number;
    enum ali_name_kind kind = ali_name_parse(name, &number);
    int r;

    if (kind != ALI_NAME_JOURNAL && kind != ALI_NAME_SNAPSHOT)
        return 0;
    r = rekey->disk->ops->open(rekey->disk, name, AL_DISK_READ | AL_DISK_WRITE | AL_DISK_DIRECT,
                               &file);
    if (r < 0)
        return r;
    r = rekey_open(rekey, name, kind == ALI_NAME_SNAPSHOT, file);
    rekey->disk->ops->close(rekey->disk, file);
    return r;
}

int al_store_rekey(const struct al_alloc *alloc, struct al_disk *disk,
                   const struct al_store_rekey *how, struct al_store_report *ret_report,
                   uint64_t *ret_files)
{
    struct rekey rekey = {.disk = disk, .how = how, .report = ret_report};
    int r;

    memset(ret_report, 0, sizeof *ret_report);
    memcpy(rekey.source.seed, how->seed, sizeof rekey.source.seed);
    rekey.block = ali_pages_new(alloc, AL_DISK_BLOCK);
    r = rekey.block ? disk->ops->list(disk, rekey_file, &rekey) : -AL_E_NOMEM;
    ali_pages_free(alloc, rekey.block, AL_DISK_BLOCK);
    al_seal_wipe(&rekey.source, sizeof rekey.source);
    if (r == 0)
        *ret_files = rekey.files;
    return r;
}
