/* sim_disk.c - the simulated disk: files, the calls of the store, and their errors.
 *
 * See sim_disk.h for the model. What happens at power cuts and corruption is in disk_crash.c. */
#include "base/errors.h"
#include "disk_model.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *sim_xrealloc(void *ptr, size_t size)
{
    void *p = realloc(ptr, size ? size : 1);

    if (!p) {
        fputs("al_sim: out of memory\n", stderr);
        exit(2);
    }
    return p;
}

void sim_disk_tell(struct sim_disk *disk, const char *text, const char *name, uint64_t more)
{
    uint64_t arg[3] = {0, 0, more};
    size_t n = strlen(name), digits = n;

    if (!disk->watch)
        return;
    memcpy(&arg[0], name, n < 8 ? n : 8);
    while (digits > 0 && strchr("0123456789abcdef", name[digits - 1]))
        digits--;
    arg[1] = strtoull(name + digits, NULL, 16);
    disk->watch(disk->watch_ctx, text, arg);
}

/* The name of a file, for the watcher. */
static const char *name_of(const struct sim_disk *disk, uint32_t inode)
{
    for (uint32_t i = 0; i < disk->now.count; i++) {
        if (disk->now.entry[i].inode == inode)
            return disk->now.entry[i].name;
    }
    return "unnamed";
}

/* ---- inodes and names -------------------------------------------------------------------- */

uint32_t sim_inode_new(struct sim_disk *disk)
{
    struct sim_inode *inode = sim_xrealloc(NULL, sizeof(*inode));
    uint32_t number = 0;

    memset(inode, 0, sizeof(*inode));
    while (number < disk->inode_count && disk->inodes[number])
        number++;
    if (number == disk->inode_count) {
        disk->inodes = sim_xrealloc(disk->inodes, (number + 1) * sizeof(*disk->inodes));
        disk->inode_count++;
    }
    disk->inodes[number] = inode;
    return number;
}

void sim_inode_grow(struct sim_inode *inode, uint32_t size)
{
    uint32_t cap = inode->cap ? inode->cap : 4096;

    while (cap < size)
        cap *= 2;
    if (cap == inode->cap)
        return;
    for (unsigned i = 0; i < SIM_IMAGES; i++) {
        inode->image[i] = sim_xrealloc(inode->image[i], cap);
        memset(inode->image[i] + inode->cap, 0, cap - inode->cap);
    }
    inode->state = sim_xrealloc(inode->state, cap / SIM_SECTOR);
    memset(inode->state + inode->cap / SIM_SECTOR, SIM_CLEAN, (cap - inode->cap) / SIM_SECTOR);
    inode->cap = cap;
}

static void inode_free(struct sim_disk *disk, uint32_t number)
{
    struct sim_inode *inode = disk->inodes[number];

    for (unsigned i = 0; i < SIM_IMAGES; i++)
        free(inode->image[i]);
    free(inode->state);
    free(inode);
    disk->inodes[number] = NULL;
}

int sim_names_find(const struct sim_names *names, const char *name)
{
    for (uint32_t i = 0; i < names->count; i++) {
        if (strcmp(names->entry[i].name, name) == 0)
            return (int)i;
    }
    return -1;
}

void sim_names_set(struct sim_names *names, const char *name, uint32_t inode)
{
    int i = sim_names_find(names, name);

    if (i < 0) {
        assert(names->count < SIM_NAMES && strlen(name) < SIM_NAME_MAX);
        i = (int)names->count++;
        memcpy(names->entry[i].name, name, strlen(name) + 1);
    }
    names->entry[i].inode = inode;
}

void sim_names_copy(struct sim_names *to, const struct sim_names *from)
{
    memcpy(to->entry, from->entry, from->count * sizeof(from->entry[0]));
    to->count = from->count;
}

void sim_names_remove(struct sim_names *names, const char *name)
{
    int i = sim_names_find(names, name);

    if (i >= 0)
        names->entry[i] = names->entry[--names->count];
}

/* What was damaged in these sectors of a file is written over or gone: nothing to bring back. */
static void forget_corruption(struct sim_disk *disk, uint32_t inode, uint32_t first, uint32_t last)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < disk->corruption_count; i++) {
        const struct sim_corruption *c = &disk->corruption[i];

        if (c->inode != inode || c->sector < first || c->sector > last)
            disk->corruption[kept++] = *c;
    }
    disk->corruption_count = kept;
}

/* Frees the files that no name, no handle and no pending operation refers to. */
void sim_disk_collect(struct sim_disk *disk)
{
    for (uint32_t i = 0; i < disk->now.count; i++)
        disk->inodes[disk->now.entry[i].inode]->used = true;
    for (uint32_t i = 0; i < disk->safe.count; i++)
        disk->inodes[disk->safe.entry[i].inode]->used = true;
    for (uint32_t i = 0; i < disk->op_count; i++)
        disk->inodes[disk->ops[i].inode]->used = true;
    for (uint32_t n = 0; n < disk->inode_count; n++) {
        struct sim_inode *inode = disk->inodes[n];

        if (!inode)
            continue;
        if (!inode->used && inode->opens == 0) {
            forget_corruption(disk, n, 0, UINT32_MAX);
            inode_free(disk, n);
        } else {
            inode->used = false;
        }
    }
}

static void add_op(struct sim_disk *disk, enum sim_op_kind kind, const char *from, const char *to,
                   uint32_t inode)
{
    struct sim_op *op;

    if (disk->op_count == SIM_OPS)
        sim_disk_commit_oldest(disk);
    op = &disk->ops[disk->op_count++];
    op->kind = kind;
    op->inode = inode;
    snprintf(op->from, sizeof(op->from), "%s", from);
    snprintf(op->to, sizeof(op->to), "%s", to);
}

/* ---- errors ------------------------------------------------------------------------------ */

static struct sim_handle *handle_of(struct al_disk *base)
{
    return (struct sim_handle *)base;
}

/* True when this call of the given kind is to fail. */
static bool fails(struct sim_disk *disk, enum sim_call call, uint32_t share, enum sim_fault fault)
{
    if (disk->stuck[call] || (share && sim_rand_below(&disk->rand, 100000) < share)) {
        disk->tally->fault[fault]++;
        if (disk->faults.persistent)
            disk->stuck[call] = true;
        return true;
    }
    return false;
}

/* The planned end has come. */
static void strike(struct sim_disk *disk)
{
    disk->was_cut = true;
    if (disk->faults.cut_is_kill) {
        disk->tally->fault[SIM_FAULT_NODE_KILL]++;
        sim_disk_kill(disk);
    } else {
        sim_disk_power_cut(disk);
    }
}

/* Before a changing call: 0, or the error it must return. *ret_cut: the end comes right
 * behind the call's effect. */
static int before_change(struct sim_handle *handle, bool *ret_cut)
{
    struct sim_disk *disk = handle->disk;

    *ret_cut = false;
    if (handle->dead)
        return -AL_E_IO;
    if (disk->faults.cut_after && --disk->faults.cut_after == 0) {
        if (sim_rand_permille(&disk->rand, 500)) {
            *ret_cut = true;
            return 0;
        }
        strike(disk);
        return -AL_E_IO;
    }
    return 0;
}

/* Behind a changing call: passes r on, or ends it all. */
static int after_change(struct sim_handle *handle, bool cut, int r)
{
    if (!cut || handle->dead)
        return r;
    strike(handle->disk);
    return -AL_E_IO;
}

static int misuse(struct sim_disk *disk, const char *text)
{
    if (!disk->misuse)
        disk->misuse = text;
    return -AL_E_IO;
}

/* ---- calls ------------------------------------------------------------------------------- */

static int disk_open(struct al_disk *base, const char *name, unsigned flags,
                     struct al_disk_file **ret_file)
{
    struct sim_handle *handle = handle_of(base);
    struct sim_disk *disk = handle->disk;
    struct al_disk_file *file;
    int at = sim_names_find(&disk->now, name), r;
    uint32_t inode;
    bool cut = false;

    r = flags & AL_DISK_CREATE ? before_change(handle, &cut) : handle->dead ? -AL_E_IO : 0;
    if (r < 0)
        return r;
    if (fails(disk, SIM_CALL_NAME, disk->faults.name_permille, SIM_FAULT_NAME_ERROR))
        return after_change(handle, cut, -AL_E_IO);
    if (flags & AL_DISK_CREATE ? at >= 0 : at < 0)
        return after_change(handle, cut, at >= 0 ? -AL_E_EXISTS : -AL_E_NOT_FOUND);
    if (flags & AL_DISK_CREATE) {
        if (fails(disk, SIM_CALL_FULL, disk->faults.full_permille, SIM_FAULT_DISK_FULL))
            return after_change(handle, cut, -AL_E_DISK_FULL);
        inode = sim_inode_new(disk);
        sim_names_set(&disk->now, name, inode);
        add_op(disk, SIM_OP_CREATE, name, "", inode);
        sim_disk_tell(disk, "    disk: create @%", name, 0);
    } else {
        inode = disk->now.entry[at].inode;
    }
    r = after_change(handle, cut, 0);
    if (r < 0)
        return r;
    file = sim_xrealloc(NULL, sizeof(*file));
    *file = (struct al_disk_file){inode, flags, handle->generation};
    disk->inodes[inode]->opens++;
    disk->open_files++;
    *ret_file = file;
    return 0;
}

static void disk_close(struct al_disk *base, struct al_disk_file *file)
{
    struct sim_handle *handle = handle_of(base);
    struct sim_disk *disk = handle->disk;

    if (!handle->dead) {
        disk->inodes[file->inode]->opens--;
        disk->open_files--;
        sim_disk_collect(disk);
    }
    free(file);
}

static int disk_size(struct al_disk *base, struct al_disk_file *file, uint64_t *ret_size)
{
    struct sim_handle *handle = handle_of(base);

    if (handle->dead)
        return -AL_E_IO;
    *ret_size = handle->disk->inodes[file->inode]->size;
    return 0;
}

static bool is_unaligned(const struct al_disk_file *file, const void *p, size_t n, uint64_t offset)
{
    return (file->flags & AL_DISK_DIRECT) &&
           (n % AL_DISK_BLOCK || offset % AL_DISK_BLOCK || (uintptr_t)p % AL_DISK_BLOCK);
}

/* Puts n bytes into the page cache; sectors become pending. */
static void write_cache(struct sim_disk *disk, struct sim_inode *inode, const uint8_t *p, size_t n,
                        uint64_t offset)
{
    uint32_t first = (uint32_t)(offset / SIM_SECTOR);
    uint32_t last = (uint32_t)((offset + n - 1) / SIM_SECTOR);

    sim_inode_grow(inode, (uint32_t)(offset + n));
    for (uint32_t i = 0; i < disk->inode_count; i++)
        if (disk->inodes[i] == inode)
            forget_corruption(disk, i, first, last);
    for (uint32_t s = first; s <= last; s++) {
        /* The kernel may have written an earlier version back on its own. */
        if (inode->state[s] == SIM_PENDING && (sim_rand_next(&disk->rand) & 7) == 0)
            sim_sector_persist(inode, s);
        inode->state[s] = SIM_PENDING;
    }
    if (inode->pending_end == inode->pending_first)
        inode->pending_first = first, inode->pending_end = first;
    if (first < inode->pending_first)
        inode->pending_first = first;
    if (last + 1 > inode->pending_end)
        inode->pending_end = last + 1;
    memcpy(inode->image[SIM_IMAGE_CACHE] + offset, p, n);
    if (offset + n > inode->size)
        inode->size = (uint32_t)(offset + n);
    inode->written_at = ++disk->write_count;
}

static int disk_write(struct al_disk *base, struct al_disk_file *file, const void *p, size_t n,
                      uint64_t offset)
{
    struct sim_handle *handle = handle_of(base);
    struct sim_disk *disk = handle->disk;
    struct sim_inode *inode;
    bool cut;
    int r = before_change(handle, &cut);

    if (r < 0)
        return r;
    if (!(file->flags & AL_DISK_WRITE) || is_unaligned(file, p, n, offset))
        return misuse(disk, "a write to a read-only file, or an unaligned direct write");
    if (n == 0)
        return after_change(handle, cut, 0);
    if (disk->on_write)
        disk->on_write(disk->watch_ctx, p, n, offset);
    inode = disk->inodes[file->inode];
    if (offset + n > SIM_FILE_MAX)
        return misuse(disk, "a file grew beyond every limit");
    if (fails(disk, SIM_CALL_WRITE, disk->faults.write_permille, SIM_FAULT_WRITE_ERROR)) {
        r = -AL_E_IO;
    } else if (fails(disk, SIM_CALL_FULL, disk->faults.full_permille, SIM_FAULT_DISK_FULL)) {
        r = -AL_E_DISK_FULL;
    } else if (offset + n > inode->size &&
               sim_disk_used(disk) + (offset + n - inode->size) > disk->capacity) {
        disk->tally->fault[SIM_FAULT_DISK_FULL]++;
        r = -AL_E_DISK_FULL;
    }
    if (r < 0) /* a failed write may have put a part in place */
        n = (size_t)sim_rand_below(&disk->rand, n / SIM_SECTOR + 1) * SIM_SECTOR;
    if (r == -AL_E_DISK_FULL && offset + n > inode->size)
        n = 0;
    else if (cut && n > SIM_SECTOR)
        n -= (size_t)sim_rand_below(&disk->rand, n / SIM_SECTOR) * SIM_SECTOR;
    if (n)
        write_cache(disk, inode, p, n, offset);
    sim_disk_tell(disk, r < 0 ? "    disk: FAILED write @% at %" : "    disk: write @% at %",
                  name_of(disk, file->inode), offset);
    return after_change(handle, cut, r);
}

static int disk_read(struct al_disk *base, struct al_disk_file *file, void *p, size_t n,
                     uint64_t offset, size_t *ret_n)
{
    struct sim_handle *handle = handle_of(base);
    struct sim_disk *disk = handle->disk;
    const struct sim_inode *inode;
    uint8_t *out = p;

    if (handle->dead)
        return -AL_E_IO;
    if (!(file->flags & AL_DISK_READ) || is_unaligned(file, p, n, offset))
        return misuse(disk, "a read of a write-only file, or an unaligned direct read");
    if (fails(disk, SIM_CALL_READ, disk->faults.read_permille, SIM_FAULT_READ_ERROR)) {
        sim_disk_tell(disk, "    disk: FAILED read @% at %", name_of(disk, file->inode), offset);
        return -AL_E_IO;
    }
    inode = disk->inodes[file->inode];
    if (offset >= inode->size) {
        *ret_n = 0;
        return 0;
    }
    if (n > inode->size - offset)
        n = (size_t)(inode->size - offset);
    memcpy(out, inode->image[SIM_IMAGE_CACHE] + offset, n);
    if (file->flags & AL_DISK_DIRECT) { /* direct reads see the platter behind a failed flush */
        for (uint64_t at = offset; at < offset + n; at += SIM_SECTOR) {
            size_t part = offset + n - at < SIM_SECTOR ? (size_t)(offset + n - at) : SIM_SECTOR;

            if (inode->state[at / SIM_SECTOR] == SIM_PHANTOM)
                memcpy(out + (at - offset), inode->image[SIM_IMAGE_SAFE] + at, part);
        }
    }
    *ret_n = n;
    return 0;
}

static int disk_flush(struct al_disk *base, struct al_disk_file *file)
{
    struct sim_handle *handle = handle_of(base);
    struct sim_disk *disk = handle->disk;
    struct sim_inode *inode;
    bool cut;
    int r = before_change(handle, &cut);

    if (r < 0)
        return r;
    inode = disk->inodes[file->inode];
    if (fails(disk, SIM_CALL_FLUSH, disk->faults.flush_permille, SIM_FAULT_FLUSH_ERROR)) {
        for (uint32_t s = inode->pending_first; s < inode->pending_end; s++) {
            if (inode->state[s] != SIM_PENDING)
                continue;
            if (sim_rand_permille(&disk->rand, 400))
                sim_sector_persist(inode, s);
            else
                inode->state[s] = SIM_PHANTOM;
        }
        inode->pending_end = inode->pending_first = 0;
        sim_disk_tell(disk, "    disk: FAILED flush @%", name_of(disk, file->inode), 0);
        return after_change(handle, cut, -AL_E_IO);
    }
    for (uint32_t s = inode->pending_first; s < inode->pending_end; s++) {
        if (inode->state[s] == SIM_PENDING)
            sim_sector_persist(inode, s);
    }
    inode->pending_end = inode->pending_first = 0;
    inode->safe_size = inode->size;
    sim_disk_tell(disk, "    disk: flush @%", name_of(disk, file->inode), 0);
    return after_change(handle, cut, 0);
}

static int disk_rename(struct al_disk *base, const char *from, const char *to)
{
    struct sim_handle *handle = handle_of(base);
    struct sim_disk *disk = handle->disk;
    int at = sim_names_find(&disk->now, from), r;
    uint32_t inode;
    bool cut;

    r = before_change(handle, &cut);
    if (r < 0)
        return r;
    if (fails(disk, SIM_CALL_NAME, disk->faults.name_permille, SIM_FAULT_NAME_ERROR))
        return after_change(handle, cut, -AL_E_IO);
    if (at < 0)
        return after_change(handle, cut, -AL_E_NOT_FOUND);
    inode = disk->now.entry[at].inode;
    sim_names_remove(&disk->now, from);
    sim_names_set(&disk->now, to, inode);
    add_op(disk, SIM_OP_RENAME, from, to, inode);
    sim_disk_tell(disk, "    disk: rename @%", from, 0);
    sim_disk_tell(disk, "    disk:     to @%", to, 0);
    sim_disk_collect(disk);
    return after_change(handle, cut, 0);
}

static int disk_unlink(struct al_disk *base, const char *name)
{
    struct sim_handle *handle = handle_of(base);
    struct sim_disk *disk = handle->disk;
    int at = sim_names_find(&disk->now, name), r;
    bool cut;

    r = before_change(handle, &cut);
    if (r < 0)
        return r;
    if (fails(disk, SIM_CALL_NAME, disk->faults.name_permille, SIM_FAULT_NAME_ERROR))
        return after_change(handle, cut, -AL_E_IO);
    if (at < 0)
        return after_change(handle, cut, -AL_E_NOT_FOUND);
    add_op(disk, SIM_OP_UNLINK, name, "", disk->now.entry[at].inode);
    sim_names_remove(&disk->now, name);
    sim_disk_tell(disk, "    disk: unlink @%", name, 0);
    sim_disk_collect(disk);
    return after_change(handle, cut, 0);
}

static int disk_sync_dir(struct al_disk *base)
{
    struct sim_handle *handle = handle_of(base);
    struct sim_disk *disk = handle->disk;
    bool cut;
    int r = before_change(handle, &cut);

    if (r < 0)
        return r;
    if (fails(disk, SIM_CALL_NAME, disk->faults.name_permille, SIM_FAULT_NAME_ERROR))
        return after_change(handle, cut, -AL_E_IO);
    sim_names_copy(&disk->safe, &disk->now);
    disk->op_count = 0;
    sim_disk_tell(disk, "    disk: sync of the directory", "", 0);
    sim_disk_collect(disk);
    return after_change(handle, cut, 0);
}

static int disk_list(struct al_disk *base, int (*fn)(void *ctx, const char *name), void *ctx)
{
    struct sim_handle *handle = handle_of(base);
    struct sim_names copy;
    int r = 0;

    if (handle->dead)
        return -AL_E_IO;
    if (fails(handle->disk, SIM_CALL_NAME, handle->disk->faults.name_permille,
              SIM_FAULT_NAME_ERROR))
        return -AL_E_IO;
    sim_names_copy(&copy, &handle->disk->now);
    for (uint32_t i = copy.count; i > 0 && r == 0; i--) { /* any order */
        uint32_t pick = (uint32_t)sim_rand_below(&handle->disk->rand, i);

        r = fn(ctx, copy.entry[pick].name);
        copy.entry[pick] = copy.entry[i - 1];
    }
    return r;
}

static int disk_space(struct al_disk *base, uint64_t *ret_free_bytes)
{
    struct sim_handle *handle = handle_of(base);
    uint64_t used = sim_disk_used(handle->disk);

    if (handle->dead)
        return -AL_E_IO;
    *ret_free_bytes = used < handle->disk->capacity ? handle->disk->capacity - used : 0;
    return 0;
}

static int disk_lock(struct al_disk *base)
{
    struct sim_handle *handle = handle_of(base);

    if (handle->dead)
        return -AL_E_IO;
    if (handle->disk->locked_by && handle->disk->locked_by != handle->generation)
        return -AL_E_LOCKED;
    handle->disk->locked_by = handle->generation;
    return 0;
}

static void disk_close_disk(struct al_disk *base)
{
    struct sim_handle *handle = handle_of(base);
    struct sim_disk *disk = handle->disk;

    if (!handle->dead) {
        if (disk->open_files > 0)
            misuse(disk, "the store closed the disk and left a file open");
        disk->locked_by = 0;
        disk->current = NULL;
        memset(disk->stuck, 0, sizeof(disk->stuck));
    }
    if (handle->owns_disk) {
        handle->dead = true;
        if (disk->current == handle)
            disk->current = NULL;
        sim_disk_free(disk);
    }
    free(handle);
}

static const struct al_disk_ops ops = {
    .open = disk_open,
    .close = disk_close,
    .size = disk_size,
    .write = disk_write,
    .read = disk_read,
    .flush = disk_flush,
    .rename = disk_rename,
    .unlink = disk_unlink,
    .sync_dir = disk_sync_dir,
    .list = disk_list,
    .space = disk_space,
    .lock = disk_lock,
    .close_disk = disk_close_disk,
};

/* ---- life -------------------------------------------------------------------------------- */

struct sim_disk *sim_disk_new(uint64_t seed, struct sim_tally *tally)
{
    struct sim_disk *disk = sim_xrealloc(NULL, sizeof(*disk));

    memset(disk, 0, sizeof(*disk));
    sim_rand_init(&disk->rand, seed);
    disk->tally = tally;
    disk->capacity = UINT64_MAX / 2;
    return disk;
}

void sim_disk_free(struct sim_disk *disk)
{
    if (!disk)
        return;
    for (uint32_t n = 0; n < disk->inode_count; n++) {
        if (disk->inodes[n])
            inode_free(disk, n);
    }
    free(disk->inodes);
    free(disk);
}

struct al_disk *sim_disk_attach(struct sim_disk *disk)
{
    struct sim_handle *handle = sim_xrealloc(NULL, sizeof(*handle));

    assert(!disk->current);
    *handle = (struct sim_handle){{&ops}, disk, ++disk->generation, false, false};
    disk->current = handle;
    disk->was_cut = false;
    memset(disk->stuck, 0, sizeof(disk->stuck));
    return &handle->base;
}

struct al_disk *sim_disk_standalone(uint64_t seed)
{
    static struct sim_tally nobody_reads_this;
    struct al_disk *base = sim_disk_attach(sim_disk_new(seed, &nobody_reads_this));

    handle_of(base)->owns_disk = true;
    return base;
}

void sim_disk_on_write(struct sim_disk *disk, sim_disk_write_fn *fn)
{
    disk->on_write = fn;
}

void sim_disk_watch(struct sim_disk *disk, sim_disk_watch_fn *fn, void *ctx)
{
    disk->watch = fn;
    disk->watch_ctx = ctx;
}

struct sim_disk_faults *sim_disk_faults(struct sim_disk *disk)
{
    return &disk->faults;
}
void sim_disk_heal(struct sim_disk *disk)
{
    memset(disk->stuck, 0, sizeof(disk->stuck));
}
void sim_disk_set_capacity(struct sim_disk *disk, uint64_t bytes)
{
    disk->capacity = bytes;
}
bool sim_disk_was_cut(const struct sim_disk *disk)
{
    return disk->was_cut;
}
const char *sim_disk_misuse(const struct sim_disk *disk)
{
    return disk->misuse;
}

uint64_t sim_disk_used(const struct sim_disk *disk)
{
    uint64_t used = 0;

    for (uint32_t n = 0; n < disk->inode_count; n++)
        used += disk->inodes[n] ? disk->inodes[n]->size : 0;
    return used;
}
