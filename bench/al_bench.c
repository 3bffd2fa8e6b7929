/* al_bench.c - measures a node against the floor of the machine, and against its bars.
 *
 * Every workload runs in turns: floor, node, floor, node … each on a fresh server in a fresh
 * directory, so that what else happens on the machine hits both; what is printed are medians, and
 * medians of the ratios within each turn. docs/performance.md explains workloads and figures. */
#include "bench.h"
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/vfs.h>
#include <unistd.h>

#define TMPFS_ID    0x01021994
#define BACKLOG     1000000u
#define MEMORY_RUNS 3u /* memory does not vary */
#define PAIRS_MAX   100u

static const struct workload {
    const char *name;
    size_t size;
    unsigned producers, window; /* 0: w2, which has its own loop */
    bool has_bar;               /* part of a run without arguments */
    unsigned members;           /* of the group that is sent to; 0: one agent */
} workloads[] = {
    {"w1-win256", 256, 1, 256, true},
    {"w1-win4096", 256, 1, 4096, true},
    {"w1-win256", 4096, 1, 256, true},
    {"w1-win4096", 4096, 1, 4096, false},
    {"w2", 256, 0, 0, true},
    {"w2", 4096, 0, 0, false},
    {"w3", 256, 64, 1, true},
    {"w3", 4096, 64, 1, false},
    {"w5-group16", 256, 1, 256, true, 16},
};

static struct {
    unsigned pairs;
    double seconds;
    size_t size;      /* 0: all that have a bar */
    const char *only; /* one peer, or NULL */
    bool check;
    char *const *names; /* workloads that were asked for, NULL: those with a bar */
} options = {.pairs = 5, .seconds = 1.5};

static const char *const USAGE =
    "usage: al_bench [OPTION]... [WORKLOAD]...\n"
    "Measures agentlinkd in turns with a floor: the least that a durable broker has to do.\n"
    "\n"
    "workloads: w1-win256 w1-win4096 w2 w3 w4 entries w5-group16 duplicates timers\n"
    "           idle gap-repair;\n"
    "           without any: all that have a bar\n"
    "  --pairs N       turns per workload (5; ratios that are quoted need 10)\n"
    "  --seconds S     length of one run (1.5)\n"
    "  --patience S    longest wait for a quiet machine before each run (3)\n"
    "  --size BYTES    payload size, 256 or 4096\n"
    "  --only PEER     agentlink, floor-direct or floor-direct-unix alone\n"
    "  --daemon PATH   agentlinkd to measure (default: the one beside this program)\n"
    "  --connect ADDR  measure the node that runs at unix:PATH instead\n"
    "  --dir DIR       where temporary data goes: a directory on a real disk (/var/tmp)\n"
    "  --raw           print every run, not only medians\n"
    "  --check         exit with 1 if a bar is missed\n"
    "\n"
    "output: peer, workload, size, metric, value, unit, separated by tabs\n";

static bool is_wanted(const struct workload *workload)
{
    if (options.size != 0 && options.size != workload->size)
        return false;
    if (!options.names)
        return workload->has_bar || options.size != 0;
    for (char *const *name = options.names; *name; name++)
        if (!strcmp(*name, workload->name))
            return workload->has_bar || options.size != 0;
    return false;
}

static bool is_named(const char *name)
{
    for (char *const *given = options.names; given && *given; given++)
        if (!strcmp(*given, name))
            return true;
    return options.names == NULL && !options.only;
}

static void run_server(const struct workload *workload, const struct bench_peer *peer)
{
    struct bench_load load = {.workload = workload->name,
                              .size = workload->size,
                              .producers = workload->producers,
                              .window = workload->window,
                              .seconds = options.seconds,
                              .consume = true,
                              .members = peer->is_floor ? 0 : workload->members,
                              .recipient = workload->members ? "group:fan" : "consumer"};
    struct bench_server server;

    ali_wait_quiet();
    ali_server_start(&server, peer);
    ali_warm_memory();
    if (workload->window > 0)
        (void)ali_run_load(&server, &load);
    else
        ali_run_cycle(&server, workload->size, options.seconds);
    ali_server_stop(&server);
}

/* A run that others disturbed is made again; the last attempt counts whatever happens. */
static void run_once(const struct workload *workload, const struct bench_peer *peer)
{
    for (unsigned attempt = 1; attempt <= BENCH_ATTEMPTS; attempt++) {
        size_t before = ali_row_count();

        run_server(workload, peer);
        if (attempt == BENCH_ATTEMPTS || ali_row_last("other_cpu") <= BENCH_DISTURBED) {
            ali_row_keep(before);
            return;
        }
        ali_row_forget(before);
    }
}

static void run_workload(const struct workload *workload)
{
    static const struct bench_peer *const peers[] = {&ali_peer_floor_tcp, &ali_peer_agentlink,
                                                     &ali_peer_floor_unix};

    for (unsigned pair = 0; pair < options.pairs; pair++) {
        ali_note("%s %zu B, turn %u of %u", workload->name, workload->size, pair + 1,
                 options.pairs);
        ali_row_set_pair(pair);
        for (size_t i = 0; i < sizeof(peers) / sizeof(peers[0]); i++)
            if (!options.only || !strcmp(options.only, peers[i]->name))
                run_once(workload, peers[i]);
    }
    ali_note("%s", "");
    ali_row_print_medians(workload->name, workload->size);
    ali_report_ratios(workload->name, workload->size);
}

/* The daemon stands beside this program, or where the build puts it. */
static void find_daemon(const char *program)
{
    static const char *const places[] = {"agentlinkd", "../src/node/agentlinkd",
                                         "../bin/agentlinkd"};
    char own[PATH_MAX], path[PATH_MAX + 64];
    ssize_t size = readlink("/proc/self/exe", own, sizeof(own) - 1);
    const char *starts[] = {program, own};

    own[size > 0 ? size : 0] = 0;
    for (size_t i = 0; i < 2 && !ali_places.daemon[0]; i++) {
        const char *slash = strrchr(starts[i], '/');

        for (size_t k = 0; slash && k < sizeof(places) / sizeof(places[0]); k++) {
            snprintf(path, sizeof(path), "%.*s/%s", (int)(slash - starts[i]), starts[i], places[k]);
            if (access(path, X_OK) == 0 && strlen(path) < sizeof(ali_places.daemon)) {
                memcpy(ali_places.daemon, path, strlen(path) + 1);
                break;
            }
        }
    }
}

static void check_places(const char *program)
{
    struct statfs fs;
    struct rlimit files;

    if (!ali_places.dir[0])
        snprintf(ali_places.dir, sizeof(ali_places.dir), "/var/tmp");
    if (statfs(ali_places.dir, &fs) < 0)
        ali_fail("%s: no such directory; choose another with --dir", ali_places.dir);
    if (fs.f_type == TMPFS_ID)
        ali_fail("%s is in memory, where nothing is durable; choose a directory on a disk with "
                 "--dir",
                 ali_places.dir);
    if (!ali_places.daemon[0])
        find_daemon(program);
    if (!ali_places.connect[0] && access(ali_places.daemon, X_OK) != 0 &&
        (!options.only || !strcmp(options.only, "agentlink")))
        ali_fail("no agentlinkd beside this program; name it with --daemon");
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < 4096) {
        files.rlim_cur = files.rlim_max < 4096 ? files.rlim_max : 4096;
        setrlimit(RLIMIT_NOFILE, &files);
    }
}

static void take_text(char place[BENCH_PATH_MAX], const char *text)
{
    if (strlen(text) >= BENCH_PATH_MAX)
        ali_fail("too long: %s", text);
    memcpy(place, text, strlen(text) + 1);
}

static double take_number(const char *text, double min, double max)
{
    char *end;
    double value = strtod(text, &end);

    if (*text == 0 || *end != 0 || !(value >= min && value <= max))
        ali_fail("'%s' is not a number from %g to %g", text, min, max);
    return value;
}

static void __attribute__((noreturn)) usage(FILE *out, int status)
{
    fputs(USAGE, out);
    exit(status);
}

static void take_option(int option, const char *value)
{
    switch (option) {
    case 'p':
        options.pairs = (unsigned)take_number(value, 1, PAIRS_MAX);
        break;
    case 's':
        options.seconds = take_number(value, 0.1, 600);
        break;
    case 'q':
        ali_patience = take_number(value, 0, 600);
        break;
    case 'b':
        options.size = (size_t)take_number(value, 256, 4096);
        break;
    case 'o':
        if (strcmp(value, "agentlink") != 0 && strncmp(value, "floor-direct", 12) != 0)
            ali_fail("'%s' is not agentlink, floor-direct or floor-direct-unix", value);
        options.only = value;
        break;
    case 'd':
        take_text(ali_places.daemon, value);
        break;
    case 'c':
        take_text(ali_places.connect, value);
        break;
    case 't':
        take_text(ali_places.dir, value);
        break;
    case 'r':
        ali_row_set_raw(true);
        break;
    case 'k':
        options.check = true;
        break;
    case 'h':
        usage(stdout, 0);
    default:
        usage(stderr, 2);
    }
}

static void take_arguments(int argc, char **argv)
{
    static const struct option known[] = {
        {"pairs", required_argument, NULL, 'p'},  {"seconds", required_argument, NULL, 's'},
        {"size", required_argument, NULL, 'b'},   {"only", required_argument, NULL, 'o'},
        {"daemon", required_argument, NULL, 'd'}, {"connect", required_argument, NULL, 'c'},
        {"dir", required_argument, NULL, 't'},    {"raw", no_argument, NULL, 'r'},
        {"check", no_argument, NULL, 'k'},        {"patience", required_argument, NULL, 'q'},
        {"help", no_argument, NULL, 'h'},         {0},
    };
    int option;

    while ((option = getopt_long(argc, argv, "h", known, NULL)) != -1)
        take_option(option, optarg);
    options.names = optind < argc ? argv + optind : NULL;
    for (int i = optind; i < argc; i++) {
        bool is_known = !strcmp(argv[i], "w4") || !strcmp(argv[i], "duplicates") ||
                        !strcmp(argv[i], "entries") || !strcmp(argv[i], "timers") ||
                        !strcmp(argv[i], "idle") || !strcmp(argv[i], "gap-repair");

        for (size_t k = 0; k < sizeof(workloads) / sizeof(workloads[0]); k++)
            is_known |= !strcmp(argv[i], workloads[k].name);
        if (!is_known) {
            fprintf(stderr, "al_bench: unknown workload '%s'\n", argv[i]);
            usage(stderr, 2);
        }
    }
}

int main(int argc, char **argv)
{
    unsigned missed;

    if (argc == 4 && !strcmp(argv[1], "floor"))
        return ali_floor_main(argv[2], argv[3]);
    take_arguments(argc, argv);
    check_places(argv[0]);
    ali_catch_signals();
    ali_payload_init();
    for (size_t i = 0; i < sizeof(workloads) / sizeof(workloads[0]); i++)
        if (is_wanted(&workloads[i]))
            run_workload(&workloads[i]);
    if (is_named("w4"))
        ali_memory_measure(options.pairs < MEMORY_RUNS ? options.pairs : MEMORY_RUNS, BACKLOG);
    if (is_named("entries"))
        ali_entries_measure(BACKLOG);
    if (is_named("duplicates"))
        ali_duplicates_measure(options.pairs);
    if (is_named("timers"))
        ali_timers_measure(options.pairs, options.seconds);
    if (is_named("idle"))
        ali_idle_measure(options.pairs, options.seconds);
    if (is_named("gap-repair"))
        ali_gap_repair_measure(options.pairs);
    missed = ali_report_bars(isatty(STDOUT_FILENO) != 0);
    return options.check && missed > 0 ? 1 : 0;
}
