/* director.c - runs the demo: a node, a team of agents, two murders, and the accounts.
 *
 *   director BIN_DIR AGENTS_DIR TEXTS_DIR
 *
 *   coordinator --file--> splitter --chunk--> worker-1..3 --counts--> merger --result-->
 * coordinator
 *
 * The team counts lines, words and bytes of real files. A worker is killed with kill -9 at the
 * worst moment there is: its result is sent and the chunk not acknowledged. Then the node is killed
 * with kill -9 in mid-work. Both are started again; nobody else is told. At the end the traces of
 * all agents are checked against each other and the result against a count without agents. */
#include "director.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DEADLINE_MS = 110000, STOP_MS = 8000, VICTIM = 1 };

/* In the order in which they are started; the workers first. */
static const char *const names[] = {"worker-1", "worker-2",    "worker-3", "splitter",
                                    "merger",   "coordinator", NULL};
enum { COORDINATOR = 5, AGENTS = 6 };

struct demo {
    const char *bin, *agents;
    char dir[96], socket[108], address[120], data[108]; /* a socket's path ends at 107 */
    struct input input;
    pid_t node, pids[AGENTS];
    unsigned long long start_ms;
    bool terminal;
    int node_starts, kills;
};

static struct demo demo;

/* ---- the screen -------------------------------------------------------------------------- */

__attribute__((format(printf, 1, 2))) static void tell(const char *format, ...)
{
    unsigned long long ms = now_ms() - demo.start_ms;
    va_list ap;

    if (demo.terminal)
        fputs("\r\033[K", stdout);
    printf("%5llu.%llu s  ", ms / 1000, ms % 1000 / 100);
    va_start(ap, format);
    vprintf(format, ap);
    va_end(ap);
    putchar('\n');
    fflush(stdout);
}

/* A bar on a terminal; in a pipe a line whenever another tenth is done. */
static void show_progress(unsigned long long done)
{
    static unsigned long long told;
    unsigned long long total = demo.input.chunks, tenth = total ? done * 10 / total : 0;

    if (demo.terminal) {
        unsigned long long ms = now_ms() - demo.start_ms;

        printf("\r%5llu.%llu s  [%-40.*s] %llu of %llu chunks counted\033[K", ms / 1000,
               ms % 1000 / 100, (int)(total ? done * 40 / total : 0),
               "########################################", done, total);
        fflush(stdout);
    } else if (tenth > told) {
        told = tenth;
        tell("%llu of %llu chunks counted", done, total);
    }
}

/* ---- the cast ---------------------------------------------------------------------------- */

static void end_everything(void)
{
    for (int i = 0; i < AGENTS; i++)
        process_end(&demo.pids[i], SIGKILL, STOP_MS);
    process_end(&demo.node, SIGKILL, STOP_MS);
    if (demo.dir[0])
        remove_tree(demo.dir);
}

static void show_log(const char *name)
{
    char path[200], line[400];
    FILE *file;

    snprintf(path, sizeof path, "%s/%s.log", demo.dir, name);
    file = fopen(path, "re");
    while (file && fgets(line, sizeof line, file))
        fprintf(stderr, "  %s: %s", name, line);
    if (file)
        fclose(file);
}

__attribute__((noreturn, format(printf, 1, 2))) static void fail(const char *format, ...)
{
    va_list ap;

    if (demo.terminal)
        fputs("\r\033[K", stdout);
    fflush(stdout);
    fputs("demo FAILED: ", stderr);
    va_start(ap, format);
    vfprintf(stderr, format, ap);
    va_end(ap);
    fputc('\n', stderr);
    show_log("agentlinkd");
    for (int i = 0; i < AGENTS; i++)
        show_log(names[i]);
    end_everything();
    exit(1);
}

static volatile sig_atomic_t interrupted;

static void on_interrupt(int number)
{
    (void)number;
    interrupted = 1;
}

/* Waits for the node's "ready" line. */
static void wait_ready(int fd)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    char line[512];
    ssize_t n = poll(&poll_fd, 1, 20000) == 1 ? read(fd, line, sizeof line - 1) : -1;

    close(fd);
    if (n < 5 || memcmp(line, "ready", 5) != 0)
        fail("the node did not say that it is ready");
}

static void start_node(void)
{
    char program[512];
    const char *argv[] = {program, "--data", demo.data, "--listen", demo.address, NULL};
    int out;

    snprintf(program, sizeof program, "%s/agentlinkd", demo.bin);
    demo.node = process_start(demo.dir, "agentlinkd", argv, &out);
    wait_ready(out);
    demo.node_starts++;
}

static void start_agent(int i)
{
    char program[512];
    const char *argv[ARGS_MAX] = {program};
    size_t kind = strcspn(names[i], "-");
    int n = 1;

    snprintf(program, sizeof program, "%s/demo-%.*s", demo.agents, (int)kind, names[i]);
    if (names[i][kind])
        argv[n++] = names[i];
    for (unsigned f = 0; i == COORDINATOR && f < demo.input.count; f++)
        argv[n++] = demo.input.paths[f];
    demo.pids[i] = process_start(demo.dir, names[i], argv, NULL);
}

/* Agents exist from their first attach; here they are made beforehand, so that nobody sends to a
 * colleague who is not there yet. */
static void add_agents(void)
{
    const struct al_client_options options = {.name = "director"};
    struct al_client *client;

    if (al_client_open(&options, &client))
        fail("%s", al_last_error());
    for (int i = 0; i < AGENTS; i++)
        if (al_agent_add(client, names[i]))
            fail("%s: %s", names[i], al_last_error());
    al_client_close(client, STOP_MS);
}

/* ---- the plot
 * ------------------------------------------------------------------------------------ */

/* Stops the victim between "result sent" and "chunk acknowledged", then kills it there. */
static void kill_worker(void)
{
    unsigned long long give_up_ms = now_ms() + 3000;
    pid_t pid = demo.pids[VICTIM];

    for (;;) {
        kill(pid, SIGSTOP);
        sleep_ms(1);
        if (trace_last(demo.dir, names[VICTIM]) == 'S' || now_ms() > give_up_ms)
            break;
        kill(pid, SIGCONT);
        sleep_ms(2);
    }
    process_end(&demo.pids[VICTIM], SIGKILL, STOP_MS);
    demo.kills++;
    tell("kill -9 %s (pid %d), its result sent and its chunk not acknowledged", names[VICTIM],
         (int)pid);
}

static void kill_node(void)
{
    pid_t pid = demo.node;

    process_end(&demo.node, SIGKILL, STOP_MS);
    demo.kills++;
    tell("kill -9 the node (pid %d) in mid-work", (int)pid);
    sleep_ms(700);
    start_node();
    tell("the node is started again and has recovered; the agents reconnect by themselves");
}

/* Kills and restarts as the work goes on; returns when the coordinator has ended. */
static int run_plot(void)
{
    unsigned long long respawn_ms = 0, total = demo.input.chunks;
    bool worker_killed = false, node_killed = false;
    int code;

    while ((code = process_poll(&demo.pids[COORDINATOR])) < 0) {
        unsigned long long done = trace_count(demo.dir, "worker-1", 'D') +
                                  trace_count(demo.dir, "worker-2", 'D') +
                                  trace_count(demo.dir, "worker-3", 'D');

        show_progress(done < total ? done : total);
        if (!worker_killed && done * 100 > total * 25) {
            kill_worker();
            worker_killed = true;
            respawn_ms = now_ms() + 1000;
        }
        if (respawn_ms && now_ms() > respawn_ms) {
            start_agent(VICTIM);
            tell("%s is started again", names[VICTIM]);
            respawn_ms = 0;
        }
        if (!node_killed && worker_killed && !respawn_ms && done * 100 > total * 60) {
            kill_node();
            node_killed = true;
        }
        for (int i = 0; i < COORDINATOR; i++)
            if (process_poll(&demo.pids[i]) >= 0)
                fail("%s has ended by itself", names[i]);
        if (process_poll(&demo.node) >= 0)
            fail("the node has ended by itself");
        if (interrupted)
            fail("interrupted");
        if (now_ms() - demo.start_ms > DEADLINE_MS)
            fail("not finished in %d seconds", DEADLINE_MS / 1000);
        sleep_ms(50);
    }
    if (!worker_killed || !node_killed)
        fail("the work was over before the killing began");
    return code;
}

static void stop_team(void)
{
    for (int i = 0; i < COORDINATOR; i++) {
        int code = process_end(&demo.pids[i], SIGTERM, STOP_MS);

        if (code != 0)
            fail("%s ended with %d", names[i], code);
    }
    if (process_end(&demo.node, SIGTERM, STOP_MS) != 0)
        fail("the node did not stop cleanly");
}

static int verify_journal(void)
{
    char program[512];
    const char *argv[] = {program, "journal", "verify", demo.data, NULL};
    pid_t pid;

    snprintf(program, sizeof program, "%s/agentlink", demo.bin);
    pid = process_start(demo.dir, "verify", argv, NULL);
    return process_end(&pid, 0, 60000);
}

/* ---- the accounts
 * ----------------------------------------------------------------------------------- */

static bool row(const char *what, unsigned long long value, bool must_be_zero)
{
    const char *verdict = !must_be_zero ? "" : value == 0 ? "ok" : "WRONG";

    printf("  %-46s %8llu  %s\n", what, value, verdict);
    return !must_be_zero || value == 0;
}

static bool show_accounts(int coordinator_code)
{
    unsigned long long files = 0;
    struct counts counts = {0};
    struct audit audit;
    char path[200];
    FILE *file;
    bool good = true;
    int verified = verify_journal();

    audit_traces(demo.dir, names, &audit);
    printf("\n");
    good &= row("messages sent (receipt: on disk)", audit.sent, false);
    good &= row("messages delivered and handled", audit.delivered, false);
    good &= row("retried (attempt above 1)", audit.retried, false);
    good &= row("deliveries marked as possibly seen before", audit.redelivered, false);
    good &= row("duplicates suppressed by the node (same key)", audit.suppressed_node, false);
    good &= row("duplicates recognised by the agents", audit.suppressed_agent, false);
    good &= row("delivered again without the mark", audit.unmarked, true);
    good &= row("lost", audit.lost, true);
    good &= row("order violations", audit.disorder, true);
    good &= audit.sent == audit.delivered;
    snprintf(path, sizeof path, "%s/result", demo.dir);
    file = fopen(path, "re");
    if (!file || fscanf(file, "%llu %llu %llu %llu %llu", &files, &counts.lines, &counts.words,
                        &counts.bytes, &counts.longest) != 5)
        good = false;
    if (file)
        fclose(file);
    printf("\n  %llu files: %llu lines, %llu words, %llu bytes, longest line %llu\n", files,
           counts.lines, counts.words, counts.bytes, counts.longest);
    printf("  counted by the team = counted directly: %s\n",
           coordinator_code == 0 ? "equal" : "DIFFERENT");
    printf("  journal checked byte by byte: %s\n", verified == 0 ? "ok" : "DAMAGED");
    printf("  killed with kill -9: %d processes; node starts: %d\n", demo.kills, demo.node_starts);
    return good && coordinator_code == 0 && verified == 0;
}

static void prepare(const char *texts)
{
    const char *tmp = getenv("TMPDIR");
    char path[120];

    tmp = tmp && *tmp ? tmp : "/tmp";
    if (strlen(tmp) > 70)
        die("TMPDIR=%s: too long for the path of a socket", tmp);
    snprintf(demo.dir, sizeof demo.dir, "%.70s/agentlink-demo-XXXXXX", tmp);
    if (!mkdtemp(demo.dir))
        die("%s: %s", demo.dir, strerror(errno));
    snprintf(demo.data, sizeof demo.data, "%s/data", demo.dir);
    snprintf(demo.socket, sizeof demo.socket, "%s/node.sock", demo.dir);
    snprintf(demo.address, sizeof demo.address, "unix:%s", demo.socket);
    setenv("AGENTLINK_NODE", demo.address, 1);
    setenv("DEMO_DIR", demo.dir, 1);
    snprintf(path, sizeof path, "%s/input", demo.dir);
    input_choose(&demo.input, texts, path);
}

int main(int argc, char **argv)
{
    bool good;
    int code;

    if (argc != 4)
        die("usage: director BIN_DIR AGENTS_DIR TEXTS_DIR");
    demo.bin = argv[1];
    demo.agents = argv[2];
    demo.terminal = isatty(STDOUT_FILENO);
    demo.start_ms = now_ms();
    signal(SIGINT, on_interrupt);
    signal(SIGTERM, on_interrupt);
    prepare(argv[3]);
    start_node();
    tell("a node, its journal in %s", demo.data);
    add_agents();
    for (int i = 0; i < AGENTS; i++)
        start_agent(i);
    tell("six agents: coordinator -> splitter -> %d workers -> merger -> coordinator", WORKERS);
    tell("the work: %u files of this repository, %u chunks", demo.input.count, demo.input.chunks);
    code = run_plot();
    tell("the coordinator has the result; everybody goes home");
    stop_team();
    good = show_accounts(code);
    if (!good)
        fail("see above");
    end_everything();
    input_free(&demo.input);
    printf("\ndemo passed: every message was processed, in order, and counted once\n");
    return 0;
}
