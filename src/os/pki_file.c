/* pki_file.c - small files with secrets: read with suspicion, written whole or not at all.
 *
 * The new content goes into a file of its own beside the old one, under a name that nobody else
 * chooses; it is flushed, gets the name, and the directory is flushed. After a crash the name leads
 * to the old content or to the new one. What a crash leaves behind is "NAME.new-…", mode 0600, and
 * nobody reads it. */
#include "base/errors.h"
#include "os/entropy.h"
#include "os/ssl_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/crypto.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int ali_why(int error, char *ret_why, size_t why_size, const char *format, ...)
{
    va_list args;

    if (why_size == 0)
        return error;
    va_start(args, format);
    (void)vsnprintf(ret_why, why_size, format, args);
    va_end(args);
    return error;
}

static int from_errno(int error)
{
    switch (error) {
    case ENOSPC:
    case EDQUOT:
        return -AL_E_DISK_FULL;
    case ENOENT:
    case ENOTDIR:
        return -AL_E_NOT_FOUND;
    case EEXIST:
        return -AL_E_EXISTS;
    case ENOMEM:
        return -AL_E_NOMEM;
    case EACCES:
    case EPERM:
    case EROFS:
        return -AL_E_DENIED;
    case ENAMETOOLONG:
        return -AL_E_INVALID;
    default:
        return -AL_E_IO;
    }
}

/* ---- reading --------------------------------------------------------------------------------- */

static int check_file(int fd, const char *path, bool is_secret, struct stat *ret_st, char *ret_why,
                      size_t why_size)
{
    if (fstat(fd, ret_st) < 0)
        return ali_why(-AL_E_IO, ret_why, why_size, "cannot read %s: %s", path, strerror(errno));
    if (!S_ISREG(ret_st->st_mode))
        return ali_why(-AL_E_INVALID, ret_why, why_size, "%s is not a file", path);
    if (is_secret && (ret_st->st_mode & 077))
        return ali_why(
            -AL_E_DENIED, ret_why, why_size,
            "others than its owner have access to %s (mode %03o); the key may be known to "
            "them: make a new one, or 'chmod 600 %s' if you are sure",
            path, (unsigned)(ret_st->st_mode & 0777), path);
    if (is_secret && ret_st->st_uid != geteuid() && ret_st->st_uid != 0)
        return ali_why(-AL_E_DENIED, ret_why, why_size,
                       "%s belongs to user %u; 'chown %u %s' if that is meant", path,
                       (unsigned)ret_st->st_uid, (unsigned)geteuid(), path);
    if (ret_st->st_size > (off_t)AL_PKI_FILE_MAX)
        return ali_why(-AL_E_TOO_LARGE, ret_why, why_size,
                       "%s has %lld bytes; at most %u are read: is it the right file?", path,
                       (long long)ret_st->st_size, AL_PKI_FILE_MAX);
    return 0;
}

static int read_all(int fd, uint8_t *data, size_t size)
{
    size_t have = 0;

    while (have < size) {
        ssize_t got = read(fd, data + have, size - have);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return -AL_E_IO;
        have += (size_t)got;
    }
    return 0;
}

int ali_file_read(const char *path, bool is_secret, uint8_t **ret_data, size_t *ret_size,
                  char *ret_why, size_t why_size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK), r;
    uint8_t *data = NULL;
    struct stat st;
    size_t size;

    if (fd < 0)
        return ali_why(from_errno(errno), ret_why, why_size, "cannot read %s: %s", path,
                       strerror(errno));
    r = check_file(fd, path, is_secret, &st, ret_why, why_size);
    if (r < 0)
        goto out;
    size = (size_t)st.st_size;
    data = malloc(size + 1);
    if (!data) {
        r = ali_why(-AL_E_NOMEM, ret_why, why_size, "no memory to read %s", path);
        goto out;
    }
    r = read_all(fd, data, size);
    if (r < 0) {
        OPENSSL_cleanse(data, size);
        free(data);
        (void)ali_why(r, ret_why, why_size, "cannot read all of %s; try again", path);
        goto out;
    }
    data[size] = 0;
    *ret_data = data;
    *ret_size = size;
out:
    close(fd);
    return r;
}

/* ---- writing --------------------------------------------------------------------------------- */

struct target {
    int dir_fd;
    char name[NAME_MAX + 1], fresh[NAME_MAX + 1];
};

static int target_open(const char *path, struct target *ret_target)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    size_t dir_size = slash ? (size_t)(slash - path) : 0;
    char dir[PATH_MAX];
    uint64_t random;
    int n;

    if (dir_size >= sizeof dir || name[0] == 0 || strlen(name) > NAME_MAX)
        return -AL_E_INVALID;
    if (al_entropy_fill(&random, sizeof random))
        return -AL_E_IO;
    memcpy(dir, path, dir_size);
    dir[dir_size] = 0;
    memcpy(ret_target->name, name, strlen(name) + 1);
    n = snprintf(ret_target->fresh, sizeof ret_target->fresh, "%.200s.new-%016llx", name,
                 (unsigned long long)random);
    if (n < 0 || n > NAME_MAX)
        return -AL_E_INVALID;
    ret_target->dir_fd =
        open(slash ? (dir_size ? dir : "/") : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return ret_target->dir_fd < 0 ? from_errno(errno) : 0;
}

static int write_all(int fd, const struct ali_file_content *content)
{
    const uint8_t *from = content->p;
    size_t n = content->n;

    while (n > 0) {
        ssize_t put = write(fd, from, n);

        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return put < 0 ? from_errno(errno) : -AL_E_IO;
        from += put;
        n -= (size_t)put;
    }
    return fsync(fd) < 0 ? from_errno(errno) : 0;
}

/* Gives the flushed file its name. */
static int target_name(const struct target *target, bool replace)
{
    int dir = target->dir_fd, r = 0;

    if (replace) {
        if (renameat(dir, target->fresh, dir, target->name) < 0)
            return from_errno(errno);
    } else { /* unlike rename, link leaves alone what is there */
        if (linkat(dir, target->fresh, dir, target->name, 0) < 0)
            return from_errno(errno);
        (void)unlinkat(dir, target->fresh, 0);
    }
    if (fsync(dir) < 0)
        r = from_errno(errno);
    return r;
}

int ali_file_write(const char *path, const struct ali_file_content *content, char *ret_why,
                   size_t why_size)
{
    struct target target;
    int fd = -1, r = target_open(path, &target);

    if (r < 0)
        return ali_why(r, ret_why, why_size, "cannot write %s: %s; is its directory there?", path,
                       al_error_text(r));
    fd = openat(target.dir_fd, target.fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW,
                0600);
    r = fd < 0 ? from_errno(errno) : write_all(fd, content);
    if (r == 0)
        r = target_name(&target, content->replace);
    if (r < 0 && fd >= 0)
        (void)unlinkat(target.dir_fd, target.fresh, 0);
    if (r == -AL_E_EXISTS)
        (void)ali_why(r, ret_why, why_size, "%s exists already; it was left as it is", path);
    else if (r < 0)
        (void)ali_why(r, ret_why, why_size, "cannot write %s: %s", path, al_error_text(r));
    if (fd >= 0)
        close(fd);
    close(target.dir_fd);
    return r;
}
