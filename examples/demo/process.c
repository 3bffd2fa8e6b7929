/* process.c - starting and ending the processes of the demo, each by its own pid. */
#include "director.h"
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

unsigned long long now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (unsigned long long)ts.tv_sec * 1000 + (unsigned long long)ts.tv_nsec / 1000000;
}

void sleep_ms(unsigned ms)
{
    struct timespec ts = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

    nanosleep(&ts, NULL);
}

/* In the child. Nothing of the demo outlives the director, however that ends. */
__attribute__((noreturn)) static void become(const char *const argv[], int log_fd, int stdout_fd)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(stdout_fd, STDOUT_FILENO);
    dup2(log_fd, STDERR_FILENO);
    execv(argv[0], (char *const *)(uintptr_t)argv); /* execv changes nothing */
    fprintf(stderr, "%s: %s\n", argv[0], strerror(errno));
    _exit(127);
}

pid_t process_start(const char *dir, const char *name, const char *const argv[], int *ret_stdout)
{
    int pipe_fds[2] = {-1, -1}, log_fd;
    char path[600];
    pid_t pid;

    snprintf(path, sizeof path, "%s/%s.log", dir, name);
    log_fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log_fd < 0 || (ret_stdout && pipe2(pipe_fds, O_CLOEXEC)))
        die("%s: %s", path, strerror(errno));
    fflush(NULL);
    pid = fork();
    if (pid < 0)
        die("fork: %s", strerror(errno));
    if (pid == 0)
        become(argv, log_fd, ret_stdout ? pipe_fds[1] : log_fd);
    close(log_fd);
    if (ret_stdout) {
        close(pipe_fds[1]);
        *ret_stdout = pipe_fds[0];
    }
    return pid;
}

static int code_of(int status)
{
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int process_poll(pid_t *pid)
{
    int status;

    if (*pid <= 0 || waitpid(*pid, &status, WNOHANG) != *pid)
        return -1;
    *pid = 0;
    return code_of(status);
}

int process_end(pid_t *pid, int signal, unsigned timeout_ms)
{
    unsigned long long give_up_ms = now_ms() + timeout_ms;
    int code, status;

    if (*pid <= 0)
        return -1;
    kill(*pid, signal);
    while ((code = process_poll(pid)) < 0 && now_ms() < give_up_ms)
        sleep_ms(5);
    if (code < 0) {
        kill(*pid, SIGKILL);
        code = waitpid(*pid, &status, 0) == *pid ? code_of(status) : -1;
        *pid = 0;
    }
    return code;
}

static int remove_one(const char *path, const struct stat *stat, int type, struct FTW *walk)
{
    (void)stat;
    (void)type;
    (void)walk;
    return remove(path);
}

void remove_tree(const char *dir)
{
    nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}
