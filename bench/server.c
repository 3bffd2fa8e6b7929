/* server.c - the servers that are measured: processes of our own, in directories of our own.
 *
 * A server's address is read from its line "ready" on stdout. All are ended with this process
 * (PR_SET_PDEATHSIG, atexit), and only by their process id. */
#include "bench.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define READY_TIMEOUT_NS (60ull * 1000000000)
#define STOP_TIMEOUT_NS  (20ull * 1000000000)
#define SERVERS_MAX      4

struct bench_places ali_places;

static struct bench_server *live[SERVERS_MAX];

static void remove_tree(const char *path)
{
    DIR *dir = opendir(path);
    struct dirent *entry;

    while (dir && (entry = readdir(dir))) {
        char inner[BENCH_PATH_MAX + 300];

        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
            continue;
        snprintf(inner, sizeof(inner), "%s/%s", path, entry->d_name);
        if (unlink(inner) < 0 && (errno == EISDIR || errno == EPERM))
            remove_tree(inner);
    }
    if (dir)
        closedir(dir);
    rmdir(path);
}

static void clean_up(void)
{
    for (int i = 0; i < SERVERS_MAX; i++) {
        if (!live[i])
            continue;
        if (live[i]->pid > 0) {
            kill(live[i]->pid, SIGKILL);
            waitpid(live[i]->pid, NULL, 0);
        }
        if (live[i]->dir[0])
            remove_tree(live[i]->dir);
    }
}

static void remember(struct bench_server *server)
{
    static bool registered;
    int i = 0;

    if (!registered)
        atexit(clean_up);
    registered = true;
    while (i < SERVERS_MAX && live[i])
        i++;
    if (i == SERVERS_MAX)
        ali_fail("more than %d servers", SERVERS_MAX);
    live[i] = server;
}

static void forget(const struct bench_server *server)
{
    for (int i = 0; i < SERVERS_MAX; i++)
        if (live[i] == server)
            live[i] = NULL;
}

/* In the child: stdout into the pipe, stderr into a file, then the program. */
static void __attribute__((noreturn)) become_server(const struct bench_server *server, int out_fd)
{
    char data[BENCH_PATH_MAX + 16], listen[BENCH_PATH_MAX + 32], log[BENCH_PATH_MAX + 16];
    int log_fd, null_fd = open("/dev/null", O_RDONLY);

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    snprintf(data, sizeof(data), "%s/data", server->dir);
    snprintf(log, sizeof(log), "%s/stderr", server->dir);
    snprintf(listen, sizeof(listen), "unix:%s/socket", server->dir);
    log_fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    dup2(null_fd, STDIN_FILENO);
    dup2(out_fd, STDOUT_FILENO);
    dup2(log_fd, STDERR_FILENO);
    if (server->peer->is_floor)
        execl("/proc/self/exe", "al_bench", "floor", server->peer->is_tcp ? "tcp:0" : listen, data,
              (char *)NULL);
    else
        execl(ali_places.daemon, "agentlinkd", "--data", data, "--listen", listen, (char *)NULL);
    fprintf(stderr, "cannot start %s: %s\n", ali_places.daemon, strerror(errno));
    _exit(127);
}

/* The end of what the server wrote on stderr, for our own error message. */
static void __attribute__((noreturn)) fail_start(const struct bench_server *server)
{
    char path[BENCH_PATH_MAX + 16], text[2048];
    ssize_t got = 0;
    int fd;

    snprintf(path, sizeof(path), "%s/stderr", server->dir);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        lseek(fd, -(off_t)(sizeof(text) - 1), SEEK_END);
        got = read(fd, text, sizeof(text) - 1);
        close(fd);
    }
    ali_fail("%s did not start: %.*s", server->peer->name, got > 0 ? (int)got : 0, text);
}

/* Waits for "ready …\n"; a floor over TCP says there which port it got. */
static void await_ready(struct bench_server *server, int fd, uint64_t begin_ns)
{
    char line[1024];
    size_t size = 0;

    while (size < sizeof(line) - 1) {
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        ssize_t got;

        if (ali_now_ns() - begin_ns > READY_TIMEOUT_NS || poll(&ready, 1, 60000) <= 0)
            fail_start(server);
        got = read(fd, line + size, sizeof(line) - 1 - size);
        if (got <= 0)
            fail_start(server);
        size += (size_t)got;
        line[size] = 0;
        if (strchr(line, '\n'))
            break;
    }
    server->ready_ms = (double)(ali_now_ns() - begin_ns) / 1e6;
    if (strncmp(line, "ready", 5) != 0)
        fail_start(server);
    if (server->peer->is_tcp)
        sscanf(line, "ready %64[^\n]", server->address);
    else
        snprintf(server->address, sizeof(server->address), "unix:%.*s/socket",
                 (int)sizeof(server->address) - 16, server->dir);
}

void ali_server_restart(struct bench_server *server)
{
    uint64_t begin_ns = ali_now_ns();
    int out[2];

    if (pipe2(out, O_CLOEXEC) < 0)
        ali_fail("pipe: %s", strerror(errno));
    ali_check_interrupted();
    fflush(NULL);
    server->pid = fork();
    if (server->pid < 0)
        ali_fail("fork: %s", strerror(errno));
    if (server->pid == 0)
        become_server(server, out[1]);
    close(out[1]);
    await_ready(server, out[0], begin_ns);
    close(out[0]); /* it has said all that it says there */
}

void ali_server_start(struct bench_server *server, const struct bench_peer *peer)
{
    *server = (struct bench_server){.peer = peer};
    if (ali_places.connect[0] && !peer->is_floor) {
        memcpy(server->address, ali_places.connect, sizeof(server->address));
        return;
    }
    snprintf(server->dir, sizeof(server->dir), "%.400s/al_bench.XXXXXX", ali_places.dir);
    if (!mkdtemp(server->dir))
        ali_fail("%s: %s; choose another directory with --dir", server->dir, strerror(errno));
    remember(server);
    ali_server_restart(server);
}

void ali_server_kill(struct bench_server *server)
{
    if (server->pid <= 0)
        return;
    kill(server->pid, SIGKILL);
    waitpid(server->pid, NULL, 0);
    server->pid = 0;
}

void ali_server_stop(struct bench_server *server)
{
    uint64_t begin_ns = ali_now_ns();
    int status = 0;

    if (server->pid > 0) {
        kill(server->pid, SIGTERM);
        while (waitpid(server->pid, &status, WNOHANG) == 0) {
            if (ali_now_ns() - begin_ns > STOP_TIMEOUT_NS)
                ali_fail("%s did not stop within %llu s of SIGTERM", server->peer->name,
                         STOP_TIMEOUT_NS / 1000000000);
            usleep(1000);
        }
        server->pid = 0;
        if (!server->peer->is_floor && (!WIFEXITED(status) || WEXITSTATUS(status) != 0))
            fail_start(server);
    }
    if (server->dir[0])
        remove_tree(server->dir);
    forget(server);
}
