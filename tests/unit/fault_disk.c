/* fault_disk.c - see fault_disk.h. */
#include "fault_disk.h"
#include "base/errors.h"
#include <stdio.h>
#include <stdlib.h>

struct al_disk_file {
    struct fault_disk *fault;
    int inode;
    unsigned flags;
};

struct handle {
    struct al_disk disk;
    struct fault_disk *fault;
};

static struct fault_disk *self(struct al_disk *disk)
{
    return ((struct handle *)(void *)disk)->fault;
}

/* Counts a call: 0, or the error it must return. */
static int enter(struct fault_disk *fault, enum fault_call call)
{
    if (fault->is_dead)
        return -AL_E_IO;
    if (!(fault->count_mask & call))
        return 0;
    fault->calls++;
    if (fault->fail_at == 0 || fault->calls != fault->fail_at)
        return 0;
    fault->is_dead = !fault->fail_once;
    return fault->fail_error;
}

/* ---- names and inodes ------------------------------------------------------------------- */

static struct fault_name *find(struct fault_name *names, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(names[i].name, name) == 0)
            return &names[i];
    return NULL;
}

static void drop(struct fault_name *names, size_t *count, const char *name)
{
    struct fault_name *found = find(names, *count, name);

    if (found)
        *found = names[--*count];
}

static void put(struct fault_name *names, size_t *count, const char *name, int inode)
{
    drop(names, count, name);
    assert_true(*count < FAULT_FILES);
    snprintf(names[*count].name, sizeof(names[0].name), "%s", name);
    names[(*count)++].inode = inode;
}

static void apply(struct fault_name *names, size_t *count, const struct fault_op *op)
{
    if (op->from[0])
        drop(names, count, op->from);
    if (op->to[0])
        put(names, count, op->to, op->inode);
}

static void add_op(struct fault_disk *fault, const char *from, const char *to, int inode)
{
    struct fault_op op = {.inode = inode};

    snprintf(op.from, sizeof(op.from), "%s", from);
    snprintf(op.to, sizeof(op.to), "%s", to);
    apply(fault->seen, &fault->seen_count, &op);
    assert_true(fault->op_count < FAULT_OPS);
    fault->ops[fault->op_count++] = op;
}

static void sync_names(struct fault_disk *fault)
{
    memcpy(fault->durable, fault->seen, sizeof(fault->seen));
    fault->durable_count = fault->seen_count;
    fault->op_count = 0;
}

static void grow(struct fault_inode *inode, uint64_t size)
{
    uint64_t cap = inode->cap ? inode->cap : 65536;

    while (cap < size)
        cap *= 2;
    if (cap == inode->cap)
        return;
    inode->seen = realloc(inode->seen, cap);
    inode->durable = realloc(inode->durable, cap);
    inode->dirty = realloc(inode->dirty, cap / FAULT_SECTOR);
    assert_true(inode->seen && inode->durable && inode->dirty);
    memset(inode->seen + inode->cap, 0, cap - inode->cap);
    memset(inode->durable + inode->cap, 0, cap - inode->cap);
    memset(inode->dirty + inode->cap / FAULT_SECTOR, 0, (cap - inode->cap) / FAULT_SECTOR);
    inode->cap = cap;
}

static void inode_clear(struct fault_inode *inode)
{
    free(inode->seen);
    free(inode->durable);
    free(inode->dirty);
    memset(inode, 0, sizeof(*inode));
}

/* Forgets contents that no name leads to and nobody has open. */
static void collect(struct fault_disk *fault)
{
    for (int i = 0; i < (int)FAULT_FILES; i++) {
        bool is_named = fault->inodes[i].open_files > 0;

        for (size_t k = 0; k < fault->seen_count; k++)
            is_named |= fault->seen[k].inode == i;
        for (size_t k = 0; k < fault->durable_count; k++)
            is_named |= fault->durable[k].inode == i;
        for (size_t k = 0; k < fault->op_count; k++)
            is_named |= fault->ops[k].inode == i;
        if (!is_named)
            inode_clear(&fault->inodes[i]);
    }
}

uint64_t fault_disk_used(const struct fault_disk *fault)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < fault->seen_count; i++)
        bytes += fault->inodes[fault->seen[i].inode].size;
    return bytes;
}

/* ---- the interface ---------------------------------------------------------------------- */

static int fault_open(struct al_disk *disk, const char *name, unsigned flags,
                      struct al_disk_file **ret_file)
{
    struct fault_disk *fault = self(disk);
    struct fault_name *found = find(fault->seen, fault->seen_count, name);
    struct al_disk_file *file;
    int r = enter(fault, FAULT_OPEN), inode = 0;

    if (r < 0)
        return r;
    if (found && (flags & AL_DISK_CREATE))
        return -AL_E_EXISTS;
    if (!found && !(flags & AL_DISK_CREATE))
        return -AL_E_NOT_FOUND;
    if (found) {
        inode = found->inode;
    } else {
        collect(fault);
        while (inode < (int)FAULT_FILES && fault->inodes[inode].is_used)
            inode++;
        assert_true(inode < (int)FAULT_FILES);
        fault->inodes[inode].is_used = true;
        fault->made++;
        add_op(fault, "", name, inode);
    }
    file = malloc(sizeof(*file));
    assert_non_null(file);
    *file = (struct al_disk_file){.fault = fault, .inode = inode, .flags = flags};
    fault->open_files++;
    fault->inodes[inode].open_files++;
    *ret_file = file;
    return 0;
}

static void fault_close(struct al_disk *disk, struct al_disk_file *file)
{
    self(disk)->open_files--;
    file->fault->inodes[file->inode].open_files--;
    free(file);
}

static int fault_size(struct al_disk *disk, struct al_disk_file *file, uint64_t *ret_size)
{
    int r = enter(self(disk), FAULT_OTHER);

    if (r == 0)
        *ret_size = file->fault->inodes[file->inode].size;
    return r;
}

static int fault_write(struct al_disk *disk, struct al_disk_file *file, const void *p, size_t n,
                       uint64_t offset)
{
    struct fault_disk *fault = self(disk);
    struct fault_inode *inode = &fault->inodes[file->inode];
    bool was_dead = fault->is_dead;
    int r = enter(fault, FAULT_WRITE);

    assert_true(file->flags & AL_DISK_WRITE);
    if (file->flags & AL_DISK_DIRECT)
        assert_true((n | offset | (uintptr_t)p) % AL_DISK_BLOCK == 0);
    if (r < 0 && (was_dead || !fault->applies_failed))
        return r;
    if (offset + n > inode->size &&
        fault_disk_used(fault) + (offset + n - inode->size) > fault->capacity)
        return -AL_E_DISK_FULL;
    grow(inode, offset + n);
    memcpy(inode->seen + offset, p, n);
    for (uint64_t s = offset / FAULT_SECTOR; s * FAULT_SECTOR < offset + n; s++)
        inode->dirty[s] = 1;
    if (offset + n > inode->size)
        inode->size = offset + n;
    return r;
}

static int fault_read(struct al_disk *disk, struct al_disk_file *file, void *p, size_t n,
                      uint64_t offset, size_t *ret_n)
{
    struct fault_inode *inode = &self(disk)->inodes[file->inode];
    int r = enter(self(disk), FAULT_READ);

    if (r < 0)
        return r;
    if (file->flags & AL_DISK_DIRECT)
        assert_true((n | offset | (uintptr_t)p) % AL_DISK_BLOCK == 0);
    if (offset >= inode->size)
        n = 0;
    else if (n > inode->size - offset)
        n = (size_t)(inode->size - offset);
    if (n)
        memcpy(p, inode->seen + offset, n);
    *ret_n = n;
    return 0;
}

static int fault_flush(struct al_disk *disk, struct al_disk_file *file)
{
    struct fault_inode *inode = &self(disk)->inodes[file->inode];
    int r = enter(self(disk), FAULT_FLUSH);

    if (r < 0)
        return r;
    for (uint64_t s = 0; s < inode->cap / FAULT_SECTOR; s++) {
        if (inode->dirty[s])
            memcpy(inode->durable + s * FAULT_SECTOR, inode->seen + s * FAULT_SECTOR, FAULT_SECTOR);
        inode->dirty[s] = 0;
    }
    inode->durable_size = inode->size;
    return 0;
}

static int fault_rename(struct al_disk *disk, const char *from, const char *to)
{
    struct fault_disk *fault = self(disk);
    struct fault_name *found = find(fault->seen, fault->seen_count, from);
    bool was_dead = fault->is_dead;
    int r = enter(fault, FAULT_RENAME);

    if (r < 0 && (was_dead || !fault->applies_failed))
        return r;
    if (!found)
        return -AL_E_NOT_FOUND;
    add_op(fault, from, to, found->inode);
    return r;
}

static int fault_unlink(struct al_disk *disk, const char *name)
{
    struct fault_disk *fault = self(disk);
    struct fault_name *found = find(fault->seen, fault->seen_count, name);
    int r = enter(fault, FAULT_UNLINK);

    if (r < 0)
        return r;
    if (!found)
        return -AL_E_NOT_FOUND;
    add_op(fault, name, "", found->inode);
    return 0;
}

static int fault_sync_dir(struct al_disk *disk)
{
    int r = enter(self(disk), FAULT_SYNC_DIR);

    if (r == 0)
        sync_names(self(disk));
    return r;
}

static int fault_list(struct al_disk *disk, int (*fn)(void *ctx, const char *name), void *ctx)
{
    struct fault_disk *fault = self(disk);
    struct fault_name names[FAULT_FILES];
    size_t count = fault->seen_count;
    int r = enter(fault, FAULT_OTHER);

    memcpy(names, fault->seen, sizeof(names));
    for (size_t i = 0; i < count && r == 0; i++)
        r = fn(ctx, names[i].name);
    return r;
}

static int fault_space(struct al_disk *disk, uint64_t *ret_free_bytes)
{
    struct fault_disk *fault = self(disk);
    uint64_t bytes = fault_disk_used(fault);

    *ret_free_bytes = bytes < fault->capacity ? fault->capacity - bytes : 0;
    return 0;
}

static int fault_lock(struct al_disk *disk)
{
    return enter(self(disk), FAULT_OTHER);
}

static void fault_close_disk(struct al_disk *disk)
{
    free(disk);
}

static const struct al_disk_ops fault_ops = {
    .open = fault_open,
    .close = fault_close,
    .size = fault_size,
    .write = fault_write,
    .read = fault_read,
    .flush = fault_flush,
    .rename = fault_rename,
    .unlink = fault_unlink,
    .sync_dir = fault_sync_dir,
    .list = fault_list,
    .space = fault_space,
    .lock = fault_lock,
    .close_disk = fault_close_disk,
};

/* ---- for tests -------------------------------------------------------------------------- */

struct fault_disk *fault_disk_new(void)
{
    struct fault_disk *fault = calloc(1, sizeof(*fault));

    assert_non_null(fault);
    fault->capacity = UINT64_MAX / 2;
    fault_disk_heal(fault);
    return fault;
}

void fault_disk_free(struct fault_disk *fault)
{
    if (!fault)
        return;
    for (size_t i = 0; i < FAULT_FILES; i++)
        inode_clear(&fault->inodes[i]);
    free(fault);
}

struct al_disk *fault_disk_attach(struct fault_disk *fault)
{
    struct handle *handle = malloc(sizeof(*handle));

    assert_non_null(handle);
    assert_int_equal(fault->open_files, 0); /* the one before has closed everything */
    handle->disk.ops = &fault_ops;
    handle->fault = fault;
    return &handle->disk;
}

void fault_disk_heal(struct fault_disk *fault)
{
    fault->count_mask = FAULT_CHANGES;
    fault->calls = fault->fail_at = 0;
    fault->fail_error = -AL_E_IO;
    fault->fail_once = fault->is_dead = fault->applies_failed = false;
}

void fault_disk_kill(struct fault_disk *fault)
{
    assert_int_equal(fault->open_files, 0);
    fault_disk_heal(fault);
}

void fault_disk_cut(struct fault_disk *fault, struct al_test_random *random, unsigned chance)
{
    bool in_order = al_test_below(random, 2) == 0;

    for (size_t i = 0; i < fault->op_count; i++) {
        if (al_test_below(random, 256) < chance)
            apply(fault->durable, &fault->durable_count, &fault->ops[i]);
        else if (in_order)
            break;
    }
    memcpy(fault->seen, fault->durable, sizeof(fault->seen));
    fault->seen_count = fault->durable_count;
    fault->op_count = 0;
    for (size_t i = 0; i < FAULT_FILES; i++) {
        struct fault_inode *inode = &fault->inodes[i];

        for (uint64_t s = 0; s < inode->cap / FAULT_SECTOR; s++) {
            uint64_t at = s * FAULT_SECTOR;

            if (inode->dirty[s] && al_test_below(random, 256) < chance) {
                memcpy(inode->durable + at, inode->seen + at, FAULT_SECTOR);
                if (at + FAULT_SECTOR > inode->durable_size)
                    inode->durable_size = at + FAULT_SECTOR;
            }
            inode->dirty[s] = 0;
        }
        if (inode->durable_size > inode->size)
            inode->durable_size = inode->size;
        inode->size = inode->durable_size;
        if (inode->cap)
            memcpy(inode->seen, inode->durable, inode->cap);
    }
    fault_disk_kill(fault);
    collect(fault);
}

uint8_t *fault_disk_file(struct fault_disk *fault, const char *name, uint64_t **ret_size)
{
    struct fault_name *found = find(fault->seen, fault->seen_count, name);

    if (!found)
        return NULL;
    *ret_size = &fault->inodes[found->inode].size;
    return fault->inodes[found->inode].seen;
}

struct fault_disk *fault_disk_clone(const struct fault_disk *fault)
{
    struct fault_disk *copy = malloc(sizeof(*copy));

    assert_non_null(copy);
    memcpy(copy, fault, sizeof(*copy));
    for (size_t i = 0; i < FAULT_FILES; i++) {
        const struct fault_inode *from = &fault->inodes[i];
        struct fault_inode *to = &copy->inodes[i];

        to->seen = to->durable = to->dirty = NULL;
        to->cap = 0;
        if (!from->cap)
            continue;
        grow(to, from->cap);
        memcpy(to->seen, from->seen, from->cap);
        memcpy(to->durable, from->durable, from->cap);
        memcpy(to->dirty, from->dirty, from->cap / FAULT_SECTOR);
    }
    copy->open_files = 0;
    fault_disk_heal(copy);
    return copy;
}
