/* key_file.c - see key_file.h.
 *
 * A key that others can read is refused: whoever set it so does not know it. Files must belong to
 * the user of this process or to root. A command gets no input and this process's standard error,
 * and is killed when its time is over. */
#include "os/key_file.h"

#include "base/errors.h"
#include "os/clock.h"
#include "os/entropy.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define TEXT_MAX  (2 * AL_KEY_BYTES + 2) /* hexadecimal digits, \r\n */
#define WORDS_MAX 32
#define NS_PER_MS 1000000u

extern char **environ;

/* Where texts for people go. */
struct where {
    char *text;
    size_t size;
};

static int fail(const struct where *where, int error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static int fail(const struct where *where, int error, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(where->text, where->size, format, args);
    va_end(args);
    return error;
}

/* ---- what a key looks like --------------------------------------------------------------- */

static int digit(uint8_t c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* 32 bytes, or 64 digits and perhaps a line end. */
static bool parse(const uint8_t *text, size_t n, uint8_t ret_key[AL_KEY_BYTES])
{
    if (n == AL_KEY_BYTES) {
        memcpy(ret_key, text, n);
        return true;
    }
    while (n > 2 * AL_KEY_BYTES && (text[n - 1] == '\n' || text[n - 1] == '\r'))
        n--;
    if (n != 2 * AL_KEY_BYTES)
        return false;
    for (size_t i = 0; i < AL_KEY_BYTES; i++) {
        int high = digit(text[2 * i]), low = digit(text[2 * i + 1]);

        if (high < 0 || low < 0)
            return false;
        ret_key[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

/* ---- files ------------------------------------------------------------------------------- */

/* Reads up to n bytes until the end. The count, or -1 and errno. */
static ssize_t read_all(int fd, uint8_t *p, size_t n)
{
    size_t have = 0;

    while (have < n) {
        ssize_t got = read(fd, p + have, n - have);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -1;
        if (got == 0)
            break;
        have += (size_t)got;
    }
    return (ssize_t)have;
}

/* `forbidden`: bits of the mode that must not be set. */
static int read_open(int fd, const char *path, mode_t forbidden, uint8_t ret_key[AL_KEY_BYTES],
                     const struct where *where)
{
    uint8_t text[TEXT_MAX + 1];
    struct stat st;
    ssize_t n;
    bool good;

    if (fstat(fd, &st))
        return fail(where, -AL_E_IO, "the master key %s: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return fail(where, -AL_E_INVALID, "the master key %s is not a file", path);
    if (st.st_mode & forbidden)
        return fail(where, -AL_E_INVALID,
                    "the master key %s can be read by others (mode %04o): chmod 600 it, and change "
                    "the key if somebody may have",
                    path, (unsigned)(st.st_mode & 07777));
    if (st.st_uid != geteuid() && st.st_uid != 0)
        return fail(where, -AL_E_INVALID, "the master key %s belongs to user %u, not to %u", path,
                    (unsigned)st.st_uid, (unsigned)geteuid());
    n = read_all(fd, text, sizeof text);
    if (n < 0)
        return fail(where, -AL_E_IO, "the master key %s: %s", path, strerror(errno));
    good = parse(text, (size_t)n, ret_key);
    explicit_bzero(text, sizeof text);
    if (!good)
        return fail(where, -AL_E_INVALID,
                    "%s is not a master key: it must hold 32 bytes or 64 hexadecimal digits", path);
    snprintf(where->text, where->size, "the master key %s", path);
    return 0;
}

static int read_file(const char *path, mode_t forbidden, uint8_t ret_key[AL_KEY_BYTES],
                     const struct where *where)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY), r;

    if (fd < 0)
        return fail(where, errno == ENOENT ? -AL_E_NOT_FOUND : -AL_E_IO, "the master key %s: %s",
                    path, strerror(errno));
    r = read_open(fd, path, forbidden, ret_key, where);
    close(fd);
    return r;
}

bool al_key_default_path(const char *dir, char *ret_path, size_t size)
{
    return (size_t)snprintf(ret_path, size, "%s/" AL_KEY_FILE, dir) < size;
}

/* ---- making ------------------------------------------------------------------------------ */

static int write_key(const char *path, const uint8_t key[AL_KEY_BYTES])
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    bool good = fd >= 0 && write(fd, key, AL_KEY_BYTES) == (ssize_t)AL_KEY_BYTES && fsync(fd) == 0;

    if (fd >= 0)
        close(fd);
    return good ? 0 : -1;
}

static int sync_parent(const char *path)
{
    char dir[PATH_MAX];
    char *slash;
    int fd, r;

    snprintf(dir, sizeof dir, "%s", path);
    slash = strrchr(dir, '/');
    if (!slash)
        snprintf(dir, sizeof dir, ".");
    else if (slash > dir)
        *slash = 0;
    else
        slash[1] = 0;
    fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    r = fd < 0 ? -1 : fsync(fd);
    if (fd >= 0)
        close(fd);
    return r;
}

/* A key is complete before it has its name: a crash or a second process never leaves half of one.
 */
static int put(const char *path, const uint8_t key[AL_KEY_BYTES], bool replaces)
{
    char temporary[PATH_MAX];
    int saved, r = -1;

    if ((size_t)snprintf(temporary, sizeof temporary, "%s.%ld", path, (long)getpid()) >=
        sizeof temporary) {
        errno = ENAMETOOLONG;
        return -AL_E_IO;
    }
    (void)unlink(temporary);
    if (write_key(temporary, key) == 0)
        r = replaces ? rename(temporary, path) : link(temporary, path);
    if (r == 0 || (!replaces && errno == EEXIST))
        r = sync_parent(path);
    saved = errno;
    (void)unlink(temporary);
    errno = saved;
    return r ? -AL_E_IO : 0;
}

int al_key_make(const char *path)
{
    uint8_t key[AL_KEY_BYTES];
    int r = al_entropy_fill(key, sizeof key);

    if (r == 0)
        r = put(path, key, false);
    explicit_bzero(key, sizeof key);
    return r;
}

int al_key_replace(const char *path, const uint8_t key[AL_KEY_BYTES])
{
    return put(path, key, true);
}

/* ---- commands ---------------------------------------------------------------------------- */

/* Reads what the command prints until it ends; -1: too late or unreadable. */
static ssize_t read_output(int fd, uint8_t *p, size_t n)
{
    uint64_t deadline = al_clock_mono_ns() + (uint64_t)AL_KEY_COMMAND_MS * NS_PER_MS;
    size_t have = 0;

    while (have < n) {
        uint64_t now = al_clock_mono_ns();
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        ssize_t got;

        if (now >= deadline)
            return -1;
        if (poll(&wait, 1, (int)((deadline - now) / NS_PER_MS) + 1) <= 0)
            continue;
        got = read(fd, p + have, n - have);
        if (got < 0)
            return -1;
        if (got == 0)
            break;
        have += (size_t)got;
    }
    return (ssize_t)have;
}

static int spawn(char **words, int out, pid_t *ret_pid)
{
    posix_spawn_file_actions_t actions;
    int r;

    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, out, 1);
    r = posix_spawnp(ret_pid, words[0], &actions, NULL, words, environ);
    posix_spawn_file_actions_destroy(&actions);
    return r;
}

static int run(char **words, uint8_t ret_key[AL_KEY_BYTES], const struct where *where)
{
    uint8_t text[TEXT_MAX + 1];
    int ends[2], status = 0, r;
    ssize_t n;
    pid_t pid;
    bool good;

    if (pipe2(ends, O_CLOEXEC))
        return fail(where, -AL_E_IO, "the key command: %s", strerror(errno));
    r = spawn(words, ends[1], &pid);
    close(ends[1]);
    if (r) {
        close(ends[0]);
        return fail(where, -AL_E_IO, "the key command %s: %s", words[0], strerror(r));
    }
    n = read_output(ends[0], text, sizeof text);
    close(ends[0]);
    if (n < 0 || n == (ssize_t)sizeof text)
        kill(pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    good =
        n >= 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0 && parse(text, (size_t)n, ret_key);
    explicit_bzero(text, sizeof text);
    if (n < 0)
        return fail(where, -AL_E_TIMEOUT, "the key command %s did not end within %d seconds",
                    words[0], AL_KEY_COMMAND_MS / 1000);
    if (!good)
        return fail(where, -AL_E_INVALID,
                    "the key command %s failed, or did not print 32 bytes or 64 hexadecimal digits",
                    words[0]);
    snprintf(where->text, where->size, "the key command %s", words[0]);
    return 0;
}

static int read_command(const char *command, uint8_t ret_key[AL_KEY_BYTES],
                        const struct where *where)
{
    char *copy = strdup(command), *state = NULL, *words[WORDS_MAX + 1];
    size_t count = 0;
    int r;

    if (!copy)
        return -AL_E_NOMEM;
    for (char *word = strtok_r(copy, " ", &state); word && count < WORDS_MAX;
         word = strtok_r(NULL, " ", &state))
        words[count++] = word;
    words[count] = NULL;
    r = count ? run(words, ret_key, where) : fail(where, -AL_E_INVALID, "the key command is empty");
    free(copy);
    return r;
}

/* ---- all together ------------------------------------------------------------------------ */

int al_key_read(const struct al_key_source *source, const char *dir, uint8_t ret_key[AL_KEY_BYTES],
                char *ret_where, size_t where_size)
{
    const struct where where = {ret_where, where_size};
    const char *credentials = getenv("CREDENTIALS_DIRECTORY");
    char path[PATH_MAX];
    int r;

    if (source->command)
        return read_command(source->command, ret_key, &where);
    if (source->file) {
        r = read_file(source->file, 077, ret_key, &where);
        return r == -AL_E_NOT_FOUND ? -AL_E_IO : r; /* what was named must be there */
    }
    if (credentials &&
        (size_t)snprintf(path, sizeof path, "%s/" AL_KEY_CREDENTIAL, credentials) < sizeof path) {
        r = read_file(path, 07, ret_key, &where);
        if (r != -AL_E_NOT_FOUND)
            return r;
    }
    if (!al_key_default_path(dir, path, sizeof path))
        return fail(&where, -AL_E_INVALID, "the path of the data directory is too long");
    return read_file(path, 077, ret_key, &where);
}
