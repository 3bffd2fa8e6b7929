/* file_disk.c - a directory as a disk.
 *
 * Files opened with AL_DISK_DIRECT are written with O_DIRECT and O_DSYNC where the file system has
 * it: one call then writes and flushes, and an error belongs to its own write. On file systems that
 * refuse O_DIRECT (tmpfs, some network ones) writes go through the page cache and flush() is
 * fdatasync; reads first drop the cache, because recovery must see the disk and not a memory of it.
 *
 * The lock is a flock on the directory itself: no file to leave behind, and it ends with the
 * process. */
#include "os/file_disk.h"
#include "base/errors.h"
#include "os/read_ahead.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

struct al_disk_file {
    int fd;
    bool is_synced; /* every write is on disk when it returns */
    bool is_cached; /* reads may come from the page cache */
    bool is_dirty;
    struct al_read_ahead *ahead; /* NULL: nothing was ever read ahead, or there was no thread */
    struct piece {
        void *p;
        size_t n;
        uint64_t offset;
    } piece; /* under way */
};

struct file_disk {
    struct al_disk disk;
    int dir_fd;
};

static struct file_disk *self(struct al_disk *disk)
{
    return (struct file_disk *)(void *)disk;
}

static int from_errno(int error)
{
    switch (error) {
    case ENOSPC:
    case EDQUOT:
        return -AL_E_DISK_FULL;
    case ENOENT:
        return -AL_E_NOT_FOUND;
    case EEXIST:
        return -AL_E_EXISTS;
    case ENOMEM:
        return -AL_E_NOMEM;
    case EACCES:
    case EPERM:
    case EROFS:
        return -AL_E_DENIED;
    default:
        return -AL_E_IO;
    }
}

/* ---- files ------------------------------------------------------------------------------ */

static int open_fd(int dir_fd, const char *name, int flags)
{
    int fd;

    do
        fd = openat(dir_fd, name, flags | O_CLOEXEC | O_NOFOLLOW, 0600);
    while (fd < 0 && errno == EINTR);
    return fd;
}

static int file_open(struct al_disk *disk, const char *name, unsigned flags,
                     struct al_disk_file **ret_file)
{
    struct file_disk *dir = self(disk);
    struct al_disk_file *file = calloc(1, sizeof *file);
    bool writes = (flags & AL_DISK_WRITE) != 0;
    int mode = writes ? (flags & AL_DISK_READ ? O_RDWR : O_WRONLY) : O_RDONLY;

    if (!file)
        return -AL_E_NOMEM;
    if (flags & AL_DISK_CREATE)
        mode |= O_CREAT | O_EXCL;
    file->fd = -1;
    if (flags & AL_DISK_DIRECT) {
        file->fd = open_fd(dir->dir_fd, name, mode | O_DIRECT | (writes ? O_DSYNC : 0));
        file->is_synced = file->fd >= 0 && writes;
        if (file->fd < 0 && errno == EINVAL)
            mode &= ~O_EXCL; /* the refused open may have made the file */
    }
    if (file->fd < 0 && (!(flags & AL_DISK_DIRECT) || errno == EINVAL)) {
        file->fd = open_fd(dir->dir_fd, name, mode);
        file->is_cached = true;
    }
    if (file->fd < 0) {
        int r = from_errno(errno);

        free(file);
        return r;
    }
    *ret_file = file;
    return 0;
}

static void file_close(struct al_disk *disk, struct al_disk_file *file)
{
    (void)disk;
    al_read_ahead_free(file->ahead);
    close(file->fd);
    free(file);
}

static int file_size(struct al_disk *disk, struct al_disk_file *file, uint64_t *ret_size)
{
    struct stat st;

    (void)disk;
    if (fstat(file->fd, &st) < 0)
        return from_errno(errno);
    *ret_size = (uint64_t)st.st_size;
    return 0;
}

static int file_write(struct al_disk *disk, struct al_disk_file *file, const void *p, size_t n,
                      uint64_t offset)
{
    const char *from = p;

    (void)disk;
    if (!file->is_synced)
        file->is_dirty = true;
    while (n) {
        ssize_t done = pwrite(file->fd, from, n, (off_t)offset);

        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return from_errno(errno);
        if (done == 0)
            return -AL_E_IO;
        from += done;
        offset += (uint64_t)done;
        n -= (size_t)done;
    }
    return 0;
}

static int read_all(void *ctx, void *p, size_t n, uint64_t offset, size_t *ret_n)
{
    const struct al_disk_file *file = ctx;
    char *to = p;
    size_t have = 0;

    if (file->is_cached && !file->is_dirty)
        (void)posix_fadvise(file->fd, (off_t)offset, (off_t)n, POSIX_FADV_DONTNEED);
    while (have < n) {
        ssize_t done = pread(file->fd, to + have, n - have, (off_t)(offset + have));

        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return from_errno(errno);
        have += (size_t)done;
        /* A direct read that ends off a block boundary has reached the end of the file. */
        if (done == 0 || (!file->is_cached && (size_t)done % AL_DISK_BLOCK))
            break;
    }
    *ret_n = have;
    return 0;
}

static int file_read(struct al_disk *disk, struct al_disk_file *file, void *p, size_t n,
                     uint64_t offset, size_t *ret_n)
{
    (void)disk;
    return read_all(file, p, n, offset, ret_n);
}

static void file_read_begin(struct al_disk *disk, struct al_disk_file *file, void *p, size_t n,
                            uint64_t offset)
{
    (void)disk;
    if (!file->ahead)
        file->ahead = al_read_ahead_new(read_all, file);
    if (file->ahead)
        al_read_ahead_begin(file->ahead, p, n, offset);
    else
        file->piece = (struct piece){.p = p, .n = n, .offset = offset};
}

static int file_read_end(struct al_disk *disk, struct al_disk_file *file, size_t *ret_n)
{
    (void)disk;
    if (file->ahead)
        return al_read_ahead_end(file->ahead, ret_n);
    return read_all(file, file->piece.p, file->piece.n, file->piece.offset, ret_n);
}

static int file_flush(struct al_disk *disk, struct al_disk_file *file)
{
    (void)disk;
    if (!file->is_dirty)
        return 0;
    if (fdatasync(file->fd) < 0)
        return from_errno(errno);
    file->is_dirty = false;
    return 0;
}

/* ---- the directory ---------------------------------------------------------------------- */

static int file_rename(struct al_disk *disk, const char *from, const char *to)
{
    int fd = self(disk)->dir_fd;

    return renameat(fd, from, fd, to) < 0 ? from_errno(errno) : 0;
}

static int file_unlink(struct al_disk *disk, const char *name)
{
    return unlinkat(self(disk)->dir_fd, name, 0) < 0 ? from_errno(errno) : 0;
}

static int file_sync_dir(struct al_disk *disk)
{
    return fsync(self(disk)->dir_fd) < 0 ? from_errno(errno) : 0;
}

static int file_list(struct al_disk *disk, int (*fn)(void *ctx, const char *name), void *ctx)
{
    int fd = open_fd(self(disk)->dir_fd, ".", O_RDONLY | O_DIRECTORY), r = 0;
    struct dirent *entry;
    DIR *dir;

    if (fd < 0)
        return from_errno(errno);
    dir = fdopendir(fd);
    if (!dir) {
        r = from_errno(errno);
        close(fd);
        return r;
    }
    for (;;) {
        errno = 0;
        entry = readdir(dir);
        if (!entry) {
            r = errno ? from_errno(errno) : 0;
            break;
        }
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        r = fn(ctx, entry->d_name);
        if (r)
            break;
    }
    closedir(dir);
    return r;
}

static int file_space(struct al_disk *disk, uint64_t *ret_free_bytes)
{
    struct statvfs st;

    if (fstatvfs(self(disk)->dir_fd, &st) < 0)
        return from_errno(errno);
    *ret_free_bytes = (uint64_t)st.f_bavail * st.f_frsize;
    return 0;
}

static int file_lock(struct al_disk *disk)
{
    int r;

    do
        r = flock(self(disk)->dir_fd, LOCK_EX | LOCK_NB);
    while (r < 0 && errno == EINTR);
    if (r < 0)
        return errno == EWOULDBLOCK ? -AL_E_LOCKED : from_errno(errno);
    return 0;
}

static void file_close_disk(struct al_disk *disk)
{
    close(self(disk)->dir_fd);
    free(self(disk));
}

static const struct al_disk_ops file_ops = {
    .open = file_open,
    .close = file_close,
    .size = file_size,
    .write = file_write,
    .read = file_read,
    .read_begin = file_read_begin,
    .read_end = file_read_end,
    .flush = file_flush,
    .rename = file_rename,
    .unlink = file_unlink,
    .sync_dir = file_sync_dir,
    .list = file_list,
    .space = file_space,
    .lock = file_lock,
    .close_disk = file_close_disk,
};

/* Flushes the directory that holds `path`, so that a directory made there stays. */
static int sync_parent(const char *path)
{
    char parent[4096];
    const char *slash = strrchr(path, '/');
    size_t n = slash ? (size_t)(slash - path) : 0;
    int fd, r;

    if (n >= sizeof parent)
        return -AL_E_INVALID;
    memcpy(parent, path, n);
    parent[n] = 0;
    fd = open(slash ? (n ? parent : "/") : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return from_errno(errno);
    r = fsync(fd) < 0 ? from_errno(errno) : 0;
    close(fd);
    return r;
}

/* mkdir -p */
static int make_path(const char *path)
{
    char part[4096];
    size_t n = strlen(path);
    int r = 0;

    if (n >= sizeof part)
        return -AL_E_INVALID;
    for (size_t i = 1; i <= n && r == 0; i++) {
        if (path[i] != '/' && path[i] != 0)
            continue;
        memcpy(part, path, i);
        part[i] = 0;
        if (mkdir(part, 0700) == 0)
            r = sync_parent(part);
        else if (errno != EEXIST)
            r = from_errno(errno);
    }
    return r;
}

int al_file_disk_open(const char *path, bool create, struct al_disk **ret_disk)
{
    struct file_disk *dir = calloc(1, sizeof *dir);
    int r = 0;

    if (!dir)
        return -AL_E_NOMEM;
    if (create)
        r = make_path(path);
    if (r == 0) {
        dir->dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (dir->dir_fd < 0)
            r = from_errno(errno);
    }
    if (r < 0) {
        free(dir);
        return r;
    }
    dir->disk.ops = &file_ops;
    *ret_disk = &dir->disk;
    return 0;
}
