/* main.c - al_sim: runs seeds, in parallel if asked, and reports. */
#include "../src/core/plants.h"
#undef AL_PLANT
#include "../src/store/plants.h"
#undef AL_PLANT
#include "crypto/seal.h"
#include "sim.h"
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define JOBS_MAX     64u
#define SEED_SECONDS 120u /* a seed that takes longer hangs */
#define PLANT_SEEDS  400u /* a planted bug must be found within so many */
#define REACH_SEEDS  200u /* every situation must be reached within so many */

/* ---- plants ------------------------------------------------------------------------------ */

enum room { ROOM_CORE, ROOM_STORE, ROOM_DRIVER };

static const struct plant {
    enum room room;
    uint64_t which; /* core: its number; store, driver: its bit */
    const char *name, *text;
} plants[] = {
#define AL_X(symbol, name, text) {ROOM_CORE, ALI_PLANT_##symbol, name, text},
    AL_CORE_PLANTS(AL_X)
#undef AL_X
#define AL_X(symbol, name, text) {ROOM_STORE, 1ull << AL_PLANT_STORE_##symbol, name, text},
        AL_STORE_PLANTS(AL_X)
#undef AL_X
            {ROOM_DRIVER, SIM_PLANT_EARLY_SEND, "early-send",
             "frames leave before their records are durable"},
};

#define PLANTS (sizeof(plants) / sizeof(plants[0]))

static void list_plants(void)
{
    for (size_t i = 0; i < PLANTS; i++)
        printf("%-22s %s\n", plants[i].name, plants[i].text);
}

static void set_plant(struct sim_options *options, const struct plant *plant)
{
    options->core_plant = plant->room == ROOM_CORE ? (uint32_t)plant->which : 0;
    options->store_plants = plant->room == ROOM_STORE ? plant->which : 0;
    options->driver_plants = plant->room == ROOM_DRIVER ? plant->which : 0;
}

/* ---- workers ----------------------------------------------------------------------------- */

/* A worker that dies at an assertion leaves its trace behind. */
static void on_fatal(int signal_number)
{
    const struct sim *sim = sim_run_current();

    signal(signal_number, SIG_DFL);
    if (sim) {
        printf("\nseed %" PRIu64 " FAILED at step %" PRIu64 ": %s\n\n", sim->seed, sim->step,
               signal_number == SIGALRM ? "it hangs" : strsignal(signal_number));
        sim_trace_print(&sim->trace, stdout);
        printf("\nseed %" PRIu64 " FAILED at step %" PRIu64 ": %s\nagain: al_sim --seed %" PRIu64
               "\n",
               sim->seed, sim->step,
               signal_number == SIGALRM ? "it hangs" : strsignal(signal_number), sim->seed);
        fflush(stdout);
    }
    raise(signal_number);
}

static void catch_fatal(void)
{
    static const int signals[] = {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGALRM};

    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
        signal(signals[i], on_fatal);
}

struct worker {
    pid_t pid;
    int fd;
    struct sim_result part;
    size_t have;
    uint64_t next_seed;
};

static int write_all(int fd, const void *p, size_t n)
{
    const char *at = p;

    while (n > 0) {
        ssize_t r = write(fd, at, n);

        if (r <= 0)
            return -1;
        at += r;
        n -= (size_t)r;
    }
    return 0;
}

/* Runs every jobs-th seed and writes the results to fd; stops at the first failure. */
static void work(const struct sim_options *options, uint64_t first, int fd)
{
    for (uint64_t seed = first; seed <= options->last_seed; seed += options->jobs) {
        struct sim_result result;

        alarm(SEED_SECONDS);
        sim_run_seed(options, seed, NULL, &result);
        alarm(0);
        if (write_all(fd, &result, sizeof(result)) < 0 || result.failed)
            break;
    }
}

static int start_worker(const struct sim_options *options, uint32_t index, struct worker *worker)
{
    int fds[2];

    memset(worker, 0, sizeof(*worker));
    worker->next_seed = options->first_seed + index;
    if (pipe(fds) < 0)
        return -1;
    fflush(stdout);
    worker->pid = fork();
    if (worker->pid < 0)
        return -1;
    if (worker->pid == 0) {
        close(fds[0]);
        if (!freopen("/dev/null", "w", stderr)) /* an assertion's text comes with the second run */
            _exit(2);
        work(options, worker->next_seed, fds[1]);
        _exit(0);
    }
    close(fds[1]);
    worker->fd = fds[0];
    return 0;
}

/* ---- totals ------------------------------------------------------------------------------ */

struct totals {
    uint64_t seeds, events, starts, messages, simulated_ms;
    struct sim_tally tally;
    uint64_t failed_seed; /* lowest one */
    bool failed;
};

static void add_result(struct totals *t, const struct sim_result *result)
{
    t->seeds++;
    t->events += result->events;
    t->starts += result->starts;
    t->messages += result->messages;
    t->simulated_ms += result->simulated_ms;
    for (unsigned i = 0; i < SIM_FAULT_COUNT; i++)
        t->tally.fault[i] += result->tally.fault[i];
    for (unsigned i = 0; i < SIM_REACHED_COUNT; i++)
        t->tally.reached[i] += result->tally.reached[i];
}

static void note_failed(struct totals *t, uint64_t seed)
{
    if (!t->failed || seed < t->failed_seed)
        t->failed_seed = seed;
    t->failed = true;
}

static const char *const situations[] = {
#define AL_X(symbol, text) text,
    SIM_SITUATIONS(AL_X)
#undef AL_X
};

static void print_totals(const struct totals *t, double seconds)
{
    static const char *const texts[] = {
#define AL_X(symbol, text) text,
        SIM_FAULTS(AL_X)
#undef AL_X
    };
    uint64_t faults = 0, n = t->seeds ? t->seeds : 1;

    for (unsigned i = 0; i < SIM_FAULT_COUNT; i++)
        faults += t->tally.fault[i];
    printf("%-52s %12s %10s\n", "", "total", "per seed");
    printf("%-52s %12" PRIu64 " %10.1f\n", "core events", t->events, (double)t->events / (double)n);
    printf("%-52s %12" PRIu64 " %10.1f\n", "messages", t->messages,
           (double)t->messages / (double)n);
    printf("%-52s %12" PRIu64 " %10.1f\n", "starts of the node", t->starts,
           (double)t->starts / (double)n);
    printf("%-52s %12.0f %10.1f\n", "simulated seconds", (double)t->simulated_ms / 1000,
           (double)t->simulated_ms / 1000 / (double)n);
    printf("%-52s %12" PRIu64 " %10.1f\n", "faults", faults, (double)faults / (double)n);
    for (unsigned i = 0; i < SIM_FAULT_COUNT; i++)
        printf("  %-50s %12" PRIu64 " %10.2f\n", texts[i], t->tally.fault[i],
               (double)t->tally.fault[i] / (double)n);
    printf("situations\n");
    for (unsigned i = 0; i < SIM_REACHED_COUNT; i++)
        printf("  %-50s %12" PRIu64 " %10.2f\n", situations[i], t->tally.reached[i],
               (double)t->tally.reached[i] / (double)n);
    printf("%" PRIu64 " seeds in %.1f s\n", t->seeds, seconds);
}

/* True if so many seeds have reached every situation: otherwise nothing was checked in it. */
static bool reached_all(const struct totals *t)
{
    bool all = true;

    for (unsigned i = 0; i < SIM_REACHED_COUNT && t->seeds >= REACH_SEEDS; i++) {
        if (t->tally.reached[i])
            continue;
        printf("never reached in %" PRIu64 " seeds: %s\n", t->seeds, situations[i]);
        all = false;
    }
    return all;
}

static double now_seconds(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* ---- running ranges ---------------------------------------------------------------------- */

static void take_result(const struct sim_options *options, struct worker *worker,
                        struct totals *totals)
{
    const struct sim_result *r = &worker->part;

    add_result(totals, r);
    worker->next_seed = r->seed + options->jobs;
    if (r->failed)
        note_failed(totals, r->seed);
    if (options->verbose)
        printf("seed %" PRIu64 ": %" PRIu64 " events, %" PRIu64 " starts, %" PRIu64
               " messages, trace %016" PRIx64 "%s%s\n",
               r->seed, r->events, r->starts, r->messages, r->trace_hash,
               r->failed ? " FAILED: " : "", r->failed ? r->failure : "");
}

/* Reads what a worker has written; false when it has ended. */
static bool read_worker(const struct sim_options *options, struct worker *worker,
                        struct totals *totals)
{
    ssize_t n =
        read(worker->fd, (char *)&worker->part + worker->have, sizeof(worker->part) - worker->have);
    int status;

    if (n > 0) {
        worker->have += (size_t)n;
        if (worker->have == sizeof(worker->part)) {
            worker->have = 0;
            take_result(options, worker, totals);
        }
        return true;
    }
    close(worker->fd);
    worker->fd = -1;
    waitpid(worker->pid, &status, 0);
    if (WIFSIGNALED(status) || WEXITSTATUS(status) != 0)
        note_failed(totals, worker->next_seed); /* it died in the midst of this one */
    return false;
}

/* The lowest seed that fails is wanted; who is beyond it has nothing more to find. */
static void stop_beyond_failure(const struct sim_options *options, const struct worker *workers,
                                const struct totals *totals)
{
    for (uint32_t i = 0; totals->failed && i < options->jobs; i++) {
        if (workers[i].fd >= 0 && workers[i].next_seed > totals->failed_seed)
            kill(workers[i].pid, SIGTERM);
    }
}

static void run_range(const struct sim_options *options, struct totals *totals)
{
    static struct worker workers[JOBS_MAX];
    struct pollfd polls[JOBS_MAX];
    uint32_t running = 0;

    for (uint32_t i = 0; i < options->jobs; i++) {
        if (start_worker(options, i, &workers[i]) < 0) {
            perror("al_sim");
            exit(2);
        }
        running++;
    }
    while (running > 0) {
        for (uint32_t i = 0; i < options->jobs; i++)
            polls[i] = (struct pollfd){workers[i].fd, POLLIN, 0};
        if (poll(polls, options->jobs, -1) < 0 && errno != EINTR)
            break;
        for (uint32_t i = 0; i < options->jobs; i++) {
            if (workers[i].fd >= 0 && polls[i].revents &&
                !read_worker(options, &workers[i], totals))
                running--;
        }
        stop_beyond_failure(options, workers, totals);
    }
}

/* Runs a seed in this process and prints its trace when it fails. */
static bool run_here(const struct sim_options *options, uint64_t seed)
{
    struct sim_result result;
    struct totals totals = {0};
    double begin = now_seconds();

    catch_fatal();
    alarm(SEED_SECONDS * 4);
    sim_run_seed(options, seed, stdout, &result);
    alarm(0);
    if (!result.failed) {
        add_result(&totals, &result);
        print_totals(&totals, now_seconds() - begin);
        printf("seed %" PRIu64 " clean, trace %016" PRIx64 "\n", seed, result.trace_hash);
    }
    fflush(stdout);
    return !result.failed;
}

static int run_seeds(const struct sim_options *options)
{
    struct totals totals = {0};
    double begin = now_seconds();

    if (options->first_seed == options->last_seed)
        return run_here(options, options->first_seed) ? 0 : 1;
    run_range(options, &totals);
    print_totals(&totals, now_seconds() - begin);
    if (!totals.failed) {
        if (!reached_all(&totals))
            return 1;
        printf("all clean\n");
        return 0;
    }
    printf("seed %" PRIu64 " failed; once more, with its trace:\n", totals.failed_seed);
    if (run_here(options, totals.failed_seed))
        printf("seed %" PRIu64 " failed in a worker and is clean now: not reproducible\n",
               totals.failed_seed);
    return 1;
}

/* Each planted bug until it is found; 0 when all were. */
static int run_plants(struct sim_options *options)
{
    unsigned missed = 0;

    if (options->last_seed == options->first_seed)
        options->last_seed = options->first_seed + PLANT_SEEDS - 1;
    for (size_t i = 0; i < PLANTS; i++) {
        struct totals totals = {0};
        double begin = now_seconds();

        set_plant(options, &plants[i]);
        run_range(options, &totals);
        if (totals.failed)
            printf("%-22s found with seed %-5" PRIu64 " %6.1f s   %s\n", plants[i].name,
                   totals.failed_seed - options->first_seed + 1, now_seconds() - begin,
                   plants[i].text);
        else
            printf("%-22s NOT FOUND in %" PRIu64 " seeds   %s\n", plants[i].name, totals.seeds,
                   plants[i].text);
        fflush(stdout);
        missed += !totals.failed;
    }
    printf("%zu planted bugs, %u not found\n", PLANTS, missed);
    return missed > 0;
}

/* ---- command line ------------------------------------------------------------------------ */

static void usage(FILE *out)
{
    fputs("usage: al_sim --seed N | --seeds A-B [--steps M] [--plant NAME|list|all] [--jobs N]\n"
          "              [--verbose] [--trace]\n"
          "  --seed N      one seed; its trace is printed when it fails\n"
          "  --seeds A-B   all seeds from A to B\n"
          "  --steps M     core events of the safety phase (default 6000)\n"
          "  --plant NAME  with this planted bug; list: show them; all: each until it is found\n"
          "  --jobs N      processes (default 2)\n"
          "  --verbose     a line per seed, with the hash of its trace\n"
          "  --trace       everything that happens, as it happens (with --seed)\n"
          "exit 0 clean, 1 a check failed (a planted bug was not found), 2 usage\n",
          out);
}

static int bad_usage(const char *what, const char *value)
{
    fprintf(stderr, "al_sim: %s: '%s'\n", what, value);
    usage(stderr);
    return 2;
}

static bool parse_number(const char *text, uint64_t *ret_number, const char **ret_end)
{
    char *end;

    errno = 0;
    *ret_number = strtoull(text, &end, 10);
    *ret_end = end;
    return errno == 0 && end != text && text[0] >= '0' && text[0] <= '9';
}

static bool parse_range(const char *text, struct sim_options *options)
{
    const char *end;

    if (!parse_number(text, &options->first_seed, &end))
        return false;
    options->last_seed = options->first_seed;
    if (*end == '-' && !parse_number(end + 1, &options->last_seed, &end))
        return false;
    return *end == 0 && options->last_seed >= options->first_seed;
}

static bool parse_count(const char *text, uint32_t most, uint32_t *ret_count)
{
    const char *end;
    uint64_t n;

    if (!parse_number(text, &n, &end) || *end || n == 0 || n > most)
        return false;
    *ret_count = (uint32_t)n;
    return true;
}

static bool find_plant(struct sim_options *options, const char *name)
{
    for (size_t i = 0; i < PLANTS; i++) {
        if (strcmp(plants[i].name, name) == 0) {
            set_plant(options, &plants[i]);
            return true;
        }
    }
    return false;
}

/* Takes one option with its value; 0, or what is wrong with it. */
static const char *take_option(struct sim_options *options, const char *name, const char *value)
{
    if (strcmp(name, "--seed") == 0 || strcmp(name, "--seeds") == 0)
        return parse_range(value, options) ? NULL : "not a seed or a range of seeds";
    if (strcmp(name, "--steps") == 0)
        return parse_count(value, 100000000, &options->steps) ? NULL : "not a number of steps";
    if (strcmp(name, "--jobs") == 0)
        return parse_count(value, JOBS_MAX, &options->jobs) ? NULL : "not a number of processes";
    if (strcmp(name, "--plant") == 0)
        return find_plant(options, value) ? NULL : "no such planted bug (try --plant list)";
    return "unknown option";
}

int main(int argc, char **argv)
{
    struct sim_options options = {.jobs = 2};
    bool all = false, have_seeds = false;

    al_seal_start();
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "", *wrong;

        if (strcmp(argv[i], "--help") == 0) {
            usage(stdout);
            return 0;
        }
        if (strcmp(argv[i], "--verbose") == 0) {
            options.verbose = true;
        } else if (strcmp(argv[i], "--trace") == 0) {
            options.live_trace = true;
        } else if (strcmp(argv[i], "--plant") == 0 && strcmp(value, "list") == 0) {
            list_plants();
            return 0;
        } else if (strcmp(argv[i], "--plant") == 0 && strcmp(value, "all") == 0) {
            all = true;
            i++;
        } else {
            wrong = take_option(&options, argv[i], value);
            if (wrong)
                return bad_usage(wrong, wrong[0] == 'u' ? argv[i] : value);
            have_seeds |= strncmp(argv[i], "--seed", 6) == 0;
            i++;
        }
    }
    if (all) {
        if (!have_seeds)
            options.first_seed = options.last_seed = 1;
        return run_plants(&options);
    }
    if (!have_seeds) {
        usage(stderr);
        return 2;
    }
    return run_seeds(&options);
}
