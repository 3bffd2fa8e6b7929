/* mem_disk.c - a disk in memory: for `inproc:` nodes and for tests.
 *
 * Files are tables of 64 KiB pieces; a piece that holds only zeros is not allocated, so preparing
 * segments costs nothing. Flushing does nothing: what is written is as durable as the process.
 * One mutex guards everything, which keeps the promise that files may be used from any thread. */
#include "base/errors.h"
#include "store/disk.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define PIECE (64u << 10)

struct mem_node {
    struct mem_node *next;
    char name[64];
    uint8_t **pieces;
    size_t piece_count;
    uint64_t size;
    unsigned refs;  /* open files */
    bool is_linked; /* has a name */
};

struct al_disk_file {
    struct mem_node *node;
    unsigned flags;
};

struct mem_disk {
    struct al_disk disk;
    pthread_mutex_t lock;
    struct mem_node *nodes;
    bool is_locked;
};

static struct mem_disk *self(struct al_disk *disk)
{
    return (struct mem_disk *)(void *)disk;
}

static void node_free(struct mem_node *node)
{
    for (size_t i = 0; i < node->piece_count; i++)
        free(node->pieces[i]);
    free(node->pieces);
    free(node);
}

static struct mem_node **find(struct mem_disk *mem, const char *name)
{
    struct mem_node **link = &mem->nodes;

    while (*link && strcmp((*link)->name, name) != 0)
        link = &(*link)->next;
    return link;
}

static void node_unlink(struct mem_node **link)
{
    struct mem_node *node = *link;

    *link = node->next;
    node->is_linked = false;
    if (node->refs == 0)
        node_free(node);
}

static int open_locked(struct mem_disk *mem, const char *name, unsigned flags,
                       struct al_disk_file **ret_file)
{
    struct mem_node *node = *find(mem, name);
    struct al_disk_file *file;

    if (strlen(name) >= sizeof node->name)
        return -AL_E_INVALID;
    if (node && (flags & AL_DISK_CREATE))
        return -AL_E_EXISTS;
    if (!node && !(flags & AL_DISK_CREATE))
        return -AL_E_NOT_FOUND;
    file = malloc(sizeof *file);
    if (!file)
        return -AL_E_NOMEM;
    if (!node) {
        node = calloc(1, sizeof *node);
        if (!node) {
            free(file);
            return -AL_E_NOMEM;
        }
        memcpy(node->name, name, strlen(name) + 1);
        node->is_linked = true;
        node->next = mem->nodes;
        mem->nodes = node;
    }
    node->refs++;
    file->node = node;
    file->flags = flags;
    *ret_file = file;
    return 0;
}

static int mem_open(struct al_disk *disk, const char *name, unsigned flags,
                    struct al_disk_file **ret_file)
{
    struct mem_disk *mem = self(disk);
    int r;

    pthread_mutex_lock(&mem->lock);
    r = open_locked(mem, name, flags, ret_file);
    pthread_mutex_unlock(&mem->lock);
    return r;
}

static void mem_close(struct al_disk *disk, struct al_disk_file *file)
{
    struct mem_disk *mem = self(disk);

    pthread_mutex_lock(&mem->lock);
    file->node->refs--;
    if (!file->node->is_linked && file->node->refs == 0)
        node_free(file->node);
    pthread_mutex_unlock(&mem->lock);
    free(file);
}

static int mem_size(struct al_disk *disk, struct al_disk_file *file, uint64_t *ret_size)
{
    struct mem_disk *mem = self(disk);

    pthread_mutex_lock(&mem->lock);
    *ret_size = file->node->size;
    pthread_mutex_unlock(&mem->lock);
    return 0;
}

static bool is_zero(const uint8_t *p, size_t n)
{
    return n == 0 || (p[0] == 0 && memcmp(p, p + 1, n - 1) == 0);
}

static int grow(struct mem_node *node, uint64_t size)
{
    size_t count = (size_t)((size + PIECE - 1) / PIECE);
    uint8_t **pieces;

    if (count <= node->piece_count)
        return 0;
    pieces = realloc(node->pieces, count * sizeof *pieces);
    if (!pieces)
        return -AL_E_NOMEM;
    memset(pieces + node->piece_count, 0, (count - node->piece_count) * sizeof *pieces);
    node->pieces = pieces;
    node->piece_count = count;
    return 0;
}

static int write_locked(struct mem_node *node, const uint8_t *p, size_t n, uint64_t offset)
{
    int r = grow(node, offset + n);

    if (r < 0)
        return r;
    while (n) {
        size_t i = (size_t)(offset / PIECE), at = (size_t)(offset % PIECE);
        size_t part = PIECE - at < n ? PIECE - at : n;

        if (!node->pieces[i] && !is_zero(p, part)) {
            node->pieces[i] = calloc(1, PIECE);
            if (!node->pieces[i])
                return -AL_E_NOMEM;
        }
        if (node->pieces[i])
            memcpy(node->pieces[i] + at, p, part);
        p += part;
        offset += part;
        n -= part;
    }
    if (offset > node->size)
        node->size = offset;
    return 0;
}

static int mem_write(struct al_disk *disk, struct al_disk_file *file, const void *p, size_t n,
                     uint64_t offset)
{
    struct mem_disk *mem = self(disk);
    int r;

    if (!(file->flags & AL_DISK_WRITE))
        return -AL_E_INVALID;
    if ((file->flags & AL_DISK_DIRECT) && ((n | offset | (uintptr_t)p) % AL_DISK_BLOCK))
        return -AL_E_INVALID;
    pthread_mutex_lock(&mem->lock);
    r = write_locked(file->node, p, n, offset);
    pthread_mutex_unlock(&mem->lock);
    return r;
}

static int mem_read(struct al_disk *disk, struct al_disk_file *file, void *p, size_t n,
                    uint64_t offset, size_t *ret_n)
{
    struct mem_disk *mem = self(disk);
    struct mem_node *node = file->node;
    uint8_t *out = p;
    size_t left;

    if ((file->flags & AL_DISK_DIRECT) && ((n | offset | (uintptr_t)p) % AL_DISK_BLOCK))
        return -AL_E_INVALID;
    pthread_mutex_lock(&mem->lock);
    if (offset >= node->size)
        n = 0;
    else if (n > node->size - offset)
        n = (size_t)(node->size - offset);
    for (left = n; left;) {
        size_t i = (size_t)(offset / PIECE), at = (size_t)(offset % PIECE);
        size_t part = PIECE - at < left ? PIECE - at : left;

        if (node->pieces[i])
            memcpy(out, node->pieces[i] + at, part);
        else
            memset(out, 0, part);
        out += part;
        offset += part;
        left -= part;
    }
    pthread_mutex_unlock(&mem->lock);
    *ret_n = n;
    return 0;
}

static int mem_flush(struct al_disk *disk, struct al_disk_file *file)
{
    (void)disk;
    (void)file;
    return 0;
}

static int mem_rename(struct al_disk *disk, const char *from, const char *to)
{
    struct mem_disk *mem = self(disk);
    struct mem_node **link, **target;
    int r = -AL_E_NOT_FOUND;

    pthread_mutex_lock(&mem->lock);
    if (*find(mem, from) && strlen(to) < sizeof(*find(mem, from))->name) {
        target = find(mem, to);
        if (*target && *target != *find(mem, from))
            node_unlink(target);
        link = find(mem, from);
        memset((*link)->name, 0, sizeof(*link)->name);
        memcpy((*link)->name, to, strlen(to));
        r = 0;
    }
    pthread_mutex_unlock(&mem->lock);
    return r;
}

static int mem_unlink(struct al_disk *disk, const char *name)
{
    struct mem_disk *mem = self(disk);
    struct mem_node **link;
    int r = -AL_E_NOT_FOUND;

    pthread_mutex_lock(&mem->lock);
    link = find(mem, name);
    if (*link) {
        node_unlink(link);
        r = 0;
    }
    pthread_mutex_unlock(&mem->lock);
    return r;
}

static int mem_sync_dir(struct al_disk *disk)
{
    (void)disk;
    return 0;
}

/* The callback may call the disk again, so the names are copied first. */
static int mem_list(struct al_disk *disk, int (*fn)(void *ctx, const char *name), void *ctx)
{
    struct mem_disk *mem = self(disk);
    size_t count = 0, n = 0;
    char(*names)[64];
    int r = 0;

    pthread_mutex_lock(&mem->lock);
    for (struct mem_node *node = mem->nodes; node; node = node->next)
        count++;
    names = malloc((count + 1) * sizeof *names);
    for (struct mem_node *node = mem->nodes; names && node; node = node->next)
        memcpy(names[n++], node->name, sizeof *names);
    pthread_mutex_unlock(&mem->lock);
    if (!names)
        return -AL_E_NOMEM;
    for (size_t i = 0; i < n && r == 0; i++)
        r = fn(ctx, names[i]);
    free(names);
    return r;
}

static int mem_space(struct al_disk *disk, uint64_t *ret_free_bytes)
{
    (void)disk;
    *ret_free_bytes = UINT64_MAX / 2;
    return 0;
}

static int mem_lock(struct al_disk *disk)
{
    struct mem_disk *mem = self(disk);
    int r;

    pthread_mutex_lock(&mem->lock);
    r = mem->is_locked ? -AL_E_LOCKED : 0;
    mem->is_locked = true;
    pthread_mutex_unlock(&mem->lock);
    return r;
}

static void mem_close_disk(struct al_disk *disk)
{
    struct mem_disk *mem = self(disk);

    while (mem->nodes)
        node_unlink(&mem->nodes);
    pthread_mutex_destroy(&mem->lock);
    free(mem);
}

static const struct al_disk_ops mem_ops = {
    .open = mem_open,
    .close = mem_close,
    .size = mem_size,
    .write = mem_write,
    .read = mem_read,
    .flush = mem_flush,
    .rename = mem_rename,
    .unlink = mem_unlink,
    .sync_dir = mem_sync_dir,
    .list = mem_list,
    .space = mem_space,
    .lock = mem_lock,
    .close_disk = mem_close_disk,
};

int al_mem_disk_new(struct al_disk **ret_disk)
{
    struct mem_disk *mem = calloc(1, sizeof *mem);

    if (!mem)
        return -AL_E_NOMEM;
    mem->disk.ops = &mem_ops;
    pthread_mutex_init(&mem->lock, NULL);
    *ret_disk = &mem->disk;
    return 0;
}
