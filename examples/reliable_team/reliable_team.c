/* reliable_team.c - a team that talks over a plan, on every bus, while its members and the node
 * die.
 *
 *   reliable_team BIN_DIR          all three (BIN_DIR has agentlinkd); exit 0: all went well
 *   reliable_team side URL INDEX LOG       one side, for the daemon
 *   reliable_team team URL DIR [crash]     all sides in this process
 *
 * inproc:  all in one process; a member and the manager die as far as threads can (no goodbye).
 * file:    the process with the team and the node in it is killed with kill -9 and started again.
 * unix:    a daemon and a process for each side; a member, then the node, are killed with kill -9.
 *
 * On each the editor says everything twice. In the end every side must have heard the same: each
 * turn once, in order, and a history that proves itself from its first message on. */
#include "../demo/director.h"
#include "check.h"
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATIENCE_MS 50000u

/* One bus at work. */
struct stage {
    const char *self, *bin;
    char dir[256], url[300];
    pid_t team, node, sides[SIDES];
    unsigned long long give_up_ms;
};

void die(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    fputs("reliable_team: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(1);
}

static int is_late(const struct stage *stage)
{
    return now_ms() > stage->give_up_ms;
}

/* Waits until the first side but one has heard so many words; the one that is killed is another. */
static void wait_for(const struct stage *stage, unsigned words)
{
    while (log_count(stage->dir, 1) < words) {
        if (is_late(stage))
            die("%s: nothing goes on; logs are in %s", stage->url, stage->dir);
        sleep_ms(5);
    }
}

static int wait_end(const struct stage *stage, pid_t *pid)
{
    int code;

    while ((code = process_poll(pid)) < 0) {
        if (is_late(stage))
            die("%s: does not come to an end; logs are in %s", stage->url, stage->dir);
        sleep_ms(5);
    }
    return code;
}

/* ---- one process ------------------------------------------------------------------------- */

static void start_team(struct stage *stage, const char *crash)
{
    const char *argv[] = {stage->self, "team", stage->url, stage->dir, crash, NULL};

    stage->team = process_start(stage->dir, "team", argv, NULL);
}

static int run_inproc(struct stage *stage)
{
    snprintf(stage->url, sizeof(stage->url), "inproc:team");
    start_team(stage, "crash");
    return wait_end(stage, &stage->team);
}

static int run_file(struct stage *stage)
{
    snprintf(stage->url, sizeof(stage->url), "file:%s/journal", stage->dir);
    start_team(stage, NULL);
    wait_for(stage, 5);
    (void)process_end(&stage->team, SIGKILL, 1000);
    start_team(stage, NULL);
    return wait_end(stage, &stage->team);
}

/* ---- a daemon ---------------------------------------------------------------------------- */

static void start_node(struct stage *stage)
{
    char program[400], data[300], line[16] = "";
    const char *argv[] = {program, "--data", data, "--listen", stage->url, NULL};
    int out;

    snprintf(program, sizeof(program), "%s/agentlinkd", stage->bin);
    snprintf(data, sizeof(data), "%s/data", stage->dir);
    stage->node = process_start(stage->dir, "node", argv, &out);
    if (read(out, line, 5) != 5 || strncmp(line, "ready", 5) != 0)
        die("%s does not start; its log is in %s", program, stage->dir);
    close(out);
}

static void start_side(struct stage *stage, unsigned index)
{
    char number[8], log[600];
    const char *argv[] = {stage->self, "side", stage->url, number, log, NULL};

    snprintf(number, sizeof(number), "%u", index);
    snprintf(log, sizeof(log), "%s/%s.said", stage->dir, side_names[index]);
    stage->sides[index] = process_start(stage->dir, side_names[index], argv, NULL);
}

static int run_unix(struct stage *stage)
{
    int bad = 0;

    snprintf(stage->url, sizeof(stage->url), "unix:%s/socket", stage->dir);
    start_node(stage);
    if (team_build(stage->url) < 0)
        die("%s: %s", stage->url, al_last_error());
    for (unsigned i = 0; i < SIDES; i++)
        start_side(stage, i);
    wait_for(stage, 3);
    (void)process_end(&stage->sides[0], SIGKILL, 1000);
    start_side(stage, 0);
    wait_for(stage, 6);
    (void)process_end(&stage->node, SIGKILL, 1000);
    start_node(stage);
    for (unsigned i = 0; i < SIDES; i++)
        bad |= wait_end(stage, &stage->sides[i]);
    (void)process_end(&stage->node, SIGTERM, 5000);
    return bad;
}

/* ---- the table --------------------------------------------------------------------------- */

static const struct {
    const char *bus, *killed;
    int (*run)(struct stage *stage);
} stages[] = {
    {"inproc:", "member, manager", run_inproc},
    {"file:DIR", "everybody with the node", run_file},
    {"unix:PATH", "member, node", run_unix},
};

/* Runs one and prints its row; 1 if it went well. */
static int run_stage(const char *self, const char *bin, unsigned i)
{
    struct stage stage = {.self = self, .bin = bin, .give_up_ms = now_ms() + PATIENCE_MS};
    struct outcome o;
    int code, good;

    snprintf(stage.dir, sizeof(stage.dir), "/tmp/reliable-team-XXXXXX");
    if (!mkdtemp(stage.dir))
        die("no temporary directory");
    code = stages[i].run(&stage);
    logs_check(stage.dir, &o);
    good = code == 0 && outcome_is_good(&o);
    printf("%-10s %-24s %5u %6u %6u %6u %9u %8s  %s\n", stages[i].bus, stages[i].killed, o.said,
           o.duplicates, o.twice, o.missing, o.disagree, o.broken ? "NO" : "yes",
           good ? "ok" : "FAILED");
    fflush(stdout);
    if (good)
        remove_tree(stage.dir);
    else
        fprintf(stderr, "logs are in %s\n", stage.dir);
    return good;
}

static int run_all(const char *bin)
{
    char self[400];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    unsigned good = 0, count = sizeof(stages) / sizeof(stages[0]);

    if (n < 0)
        die("/proc/self/exe cannot be read");
    self[n] = 0;
    printf("%u sides talk in %u turns; the editor says everything twice.\n\n", SIDES, TURNS);
    printf("%-10s %-24s %5s %6s %6s %6s %9s %8s\n", "BUS", "KILLED", "SAID", "PASSED", "TWICE",
           "HOLES", "DISAGREE", "PROVEN");
    for (unsigned i = 0; i < count; i++)
        good += (unsigned)run_stage(self, bin, i);
    printf("\n%s\n",
           good == count ? "every turn once, in one order, on every bus" : "something went wrong");
    return good == count ? 0 : 1;
}

int main(int argc, char **argv)
{
    if (argc == 2)
        return run_all(argv[1]);
    if (argc == 5 && strcmp(argv[1], "side") == 0 && argv[3][0] >= '0' && argv[3][0] < '0' + SIDES)
        return side_run(argv[2], (unsigned)(argv[3][0] - '0'), argv[4], 0) != 0;
    if ((argc == 4 || argc == 5) && strcmp(argv[1], "team") == 0)
        return team_run(argv[2], argv[3], argc == 5);
    fprintf(stderr, "usage: reliable_team BIN_DIR\n");
    return 2;
}
