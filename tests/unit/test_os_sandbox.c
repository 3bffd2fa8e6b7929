/* test_os_sandbox.c - what a sandboxed process can and cannot do. Each case is a child of its own:
 * there is no way back out. */
#include "os/sandbox.h"
#include "os/thread.h"
#include "support.h"
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char inside[64], outside[64];
static unsigned in_force; /* in this kernel and build, as a child found it */

static const char *path(const char *dir, const char *name)
{
    static char text[2][96];
    static unsigned which;
    char *to = text[which++ % 2];

    snprintf(to, sizeof text[0], "%s/%s", dir, name);
    return to;
}

/* Runs fn in a sandbox that may write `inside`; the child's wait status. NULL: what is in force. */
static int run(int (*fn)(void))
{
    const char *dirs[] = {"/there/is/no/such/directory", inside};
    int status = 0;
    pid_t child = fork();

    assert_true(child >= 0);
    if (child == 0) {
        unsigned now = al_sandbox_enter(dirs, 2);

        _exit(fn ? fn() : (int)now);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static int set_up(void **state)
{
    int status;

    (void)state;
    snprintf(inside, sizeof inside, "/tmp/al-inside-XXXXXX");
    snprintf(outside, sizeof outside, "/tmp/al-outside-XXXXXX");
    assert_non_null(mkdtemp(inside));
    assert_non_null(mkdtemp(outside));
    status = run(NULL);
    assert_true(WIFEXITED(status));
    in_force = (unsigned)WEXITSTATUS(status);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    rmdir(inside);
    rmdir(outside);
    return 0;
}

/* 0: everything that a node does with its directory works. */
static int work_inside(void)
{
    const char *a = path(inside, "a"), *b = path(inside, "b");
    int fd = open(a, O_RDWR | O_CREAT | O_EXCL, 0600);

    if (fd < 0 || pwrite(fd, "x", 1, 0) != 1 || fdatasync(fd) != 0 || close(fd) != 0)
        return 1;
    fd = open(a, O_RDWR | O_TRUNC);
    if (fd < 0 || close(fd) != 0 || rename(a, b) != 0 || unlink(b) != 0)
        return 2;
    fd = open(inside, O_RDONLY | O_DIRECTORY);
    return fd < 0 || fsync(fd) != 0 ? 3 : 0;
}

static int write_outside(void)
{
    int fd = open(path(outside, "a"), O_RDWR | O_CREAT, 0600);

    if (fd >= 0 || errno != EACCES)
        return 1;
    if (mkdir(path(outside, "d"), 0700) == 0 || errno != EACCES)
        return 2;
    return rmdir(outside) == 0 ? 3 : 0;
}

static void files_are_written_inside_only(void **state)
{
    (void)state;
    assert_int_equal(run(work_inside), 0);
    if (in_force & AL_SANDBOX_FILES)
        assert_int_equal(run(write_outside), 0);
}

static int execute(void)
{
    execl("/bin/true", "true", (char *)NULL);
    return 1;
}

static int leave(void)
{
    return unshare(CLONE_NEWNS) == 0 ? 1 : 2;
}

static void what_no_bug_does_is_the_end(void **state)
{
    int status;

    (void)state;
    if (!(in_force & AL_SANDBOX_CALLS))
        return; /* under a sanitizer, or an old kernel: it_has_a_name says what is in force */
    status = run(execute);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
    status = run(leave);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
}

static int refused(void)
{
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int prot = PROT_READ | PROT_EXEC;

    if (page == MAP_FAILED || mprotect(page, 4096, PROT_READ) != 0)
        return 1;
    if (mprotect(page, 4096, prot) == 0 || errno != EPERM)
        return 2;
    if (mmap(NULL, 4096, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED || errno != EPERM)
        return 3;
    if (symlink("a", path(inside, "s")) == 0 || errno != EPERM)
        return 4;
    return setuid(1) == 0 || errno != EPERM ? 5 : 0;
}

static void other_calls_are_refused(void **state)
{
    (void)state;
    if (!(in_force & AL_SANDBOX_CALLS))
        return; /* under a sanitizer, or an old kernel: it_has_a_name says what is in force */
    assert_int_equal(run(refused), 0);
}

static void *idle(void *ctx)
{
    return ctx;
}

static int threads_and_sockets(void)
{
    int pair[2], fd;
    pthread_t thread;

    if (al_thread_start(&thread, "sandboxed", idle, NULL) != 0 || pthread_join(thread, NULL) != 0)
        return 1;
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0 || write(pair[0], "x", 1) != 1)
        return 2;
    fd = open("/etc/passwd", O_RDONLY); /* reading is not confined */
    return fd < 0 ? 3 : 0;
}

static void threads_and_sockets_are_there(void **state)
{
    (void)state;
    assert_int_equal(run(threads_and_sockets), 0);
}

static void it_has_a_name(void **state)
{
    (void)state;
    assert_string_equal(al_sandbox_text(0), "none");
    assert_string_equal(al_sandbox_text(AL_SANDBOX_FILES | AL_SANDBOX_CALLS), "landlock,seccomp");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_are_written_inside_only),
        cmocka_unit_test(what_no_bug_does_is_the_end),
        cmocka_unit_test(other_calls_are_refused),
        cmocka_unit_test(threads_and_sockets_are_there),
        cmocka_unit_test(it_has_a_name),
    };

    return cmocka_run_group_tests_name("sandbox", tests, set_up, tear_down);
}
