/* append_file.c - pwrite, fdatasync, flock, rename. */
#include "os/append_file.h"
#include "base/errors.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h> /* renameat */
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

struct al_append_file {
    int fd, dir_fd;
    char name[NAME_MAX + 1], fresh[NAME_MAX + 1]; /* in dir_fd; `fresh` is renamed to `name` */
};

static int from_errno(int error)
{
    switch (error) {
    case ENOMEM:
        return -AL_E_NOMEM;
    case ENOENT:
        return -AL_E_NOT_FOUND;
    case ENOSPC:
    case EDQUOT:
        return -AL_E_DISK_FULL;
    default:
        return -AL_E_IO;
    }
}

static int split_path(struct al_append_file *file, const char *path)
{
    const char *slash = strrchr(path, '/');
    size_t dir_size = slash ? (size_t)(slash - path) : 0;
    size_t name_size = strlen(slash ? slash + 1 : path);
    char dir[PATH_MAX];

    if (dir_size >= sizeof(dir) || name_size == 0 || name_size + sizeof(".new") > NAME_MAX)
        return -AL_E_INVALID;
    memcpy(dir, path, dir_size);
    dir[dir_size] = 0;
    memcpy(file->name, slash ? slash + 1 : path, name_size + 1);
    memcpy(file->fresh, file->name, name_size);
    memcpy(file->fresh + name_size, ".new", sizeof(".new"));
    file->dir_fd = open(slash ? (dir_size ? dir : "/") : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return file->dir_fd < 0 ? from_errno(errno) : 0;
}

static int lock_fd(int fd)
{
    int r;

    do
        r = flock(fd, LOCK_EX | LOCK_NB);
    while (r < 0 && errno == EINTR);
    if (r < 0)
        return errno == EWOULDBLOCK ? -AL_E_LOCKED : from_errno(errno);
    return 0;
}

static int open_and_lock(struct al_append_file *file, uint64_t *ret_size)
{
    struct stat st;
    int r;

    file->fd = openat(file->dir_fd, file->name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (file->fd < 0)
        return from_errno(errno);
    r = lock_fd(file->fd);
    if (r < 0)
        return r;
    if (fstat(file->fd, &st) < 0 || fsync(file->dir_fd) < 0)
        return from_errno(errno);
    if (!S_ISREG(st.st_mode))
        return -AL_E_INVALID;
    *ret_size = (uint64_t)st.st_size;
    return 0;
}

int al_append_file_open(const char *path, struct al_append_file **ret_file, uint64_t *ret_size)
{
    struct al_append_file *file = calloc(1, sizeof(*file));
    int r;

    if (!file)
        return -AL_E_NOMEM;
    file->fd = file->dir_fd = -1;
    r = split_path(file, path);
    if (r == 0)
        r = open_and_lock(file, ret_size);
    if (r < 0) {
        al_append_file_close(file);
        return r;
    }
    *ret_file = file;
    return 0;
}

int al_append_file_read(struct al_append_file *file, uint64_t offset, void *p, size_t n)
{
    uint8_t *at = p;

    while (n > 0) {
        ssize_t got = pread(file->fd, at, n, (off_t)offset);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return -AL_E_IO;
        at += got;
        offset += (uint64_t)got;
        n -= (size_t)got;
    }
    return 0;
}

static int write_at(int fd, uint64_t offset, const void *p, size_t n)
{
    const uint8_t *at = p;

    while (n > 0) {
        ssize_t put = pwrite(fd, at, n, (off_t)offset);

        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return put < 0 ? from_errno(errno) : -AL_E_IO;
        at += put;
        offset += (uint64_t)put;
        n -= (size_t)put;
    }
    return 0;
}

int al_append_file_write(struct al_append_file *file, uint64_t offset, const void *p, size_t n)
{
    return write_at(file->fd, offset, p, n);
}

int al_append_file_flush(struct al_append_file *file)
{
    return fdatasync(file->fd) < 0 ? from_errno(errno) : 0;
}

int al_append_file_cut(struct al_append_file *file, uint64_t size)
{
    if (ftruncate(file->fd, (off_t)size) < 0 || fsync(file->fd) < 0)
        return from_errno(errno);
    return 0;
}

int al_append_file_fresh(const struct al_append_file *file, struct al_append_file **ret_fresh)
{
    struct al_append_file *fresh = calloc(1, sizeof(*fresh));
    int r;

    if (!fresh)
        return -AL_E_NOMEM;
    fresh->dir_fd = -1;
    fresh->fd = openat(file->dir_fd, file->fresh, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fresh->fd < 0) {
        r = from_errno(errno);
        free(fresh);
        return r;
    }
    r = lock_fd(fresh->fd); /* before it has the name: there is never a moment without a lock */
    if (r < 0) {
        al_append_file_close(fresh);
        return r;
    }
    *ret_fresh = fresh;
    return 0;
}

int al_append_file_adopt(struct al_append_file *file, struct al_append_file *fresh)
{
    int r = 0;

    if (fsync(fresh->fd) < 0 || renameat(file->dir_fd, file->fresh, file->dir_fd, file->name) < 0) {
        r = from_errno(errno);
        (void)unlinkat(file->dir_fd, file->fresh, 0);
    } else {
        int old = file->fd;

        file->fd = fresh->fd;
        fresh->fd = old;
        if (fsync(file->dir_fd) < 0)
            r = from_errno(errno);
    }
    al_append_file_close(fresh);
    return r;
}

void al_append_file_close(struct al_append_file *file)
{
    if (!file)
        return;
    if (file->fd >= 0)
        close(file->fd);
    if (file->dir_fd >= 0)
        close(file->dir_fd);
    free(file);
}
