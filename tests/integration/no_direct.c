/* no_direct.c - preloaded into the node under test: a file system that refuses O_DIRECT, as some
 * do, so that the node takes its other way to the disk (page cache and fdatasync). */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <unistd.h>

int openat(int dir_fd, const char *path, int flags, ...)
{
    va_list args;
    int mode;

    va_start(args, flags);
    mode = va_arg(args, int);
    va_end(args);
    if (flags & O_DIRECT) {
        errno = EINVAL;
        return -1;
    }
    return (int)syscall(SYS_openat, dir_fd, path, flags, mode);
}

int openat64(int dir_fd, const char *path, int flags, ...) __attribute__((alias("openat")));
