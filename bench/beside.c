/* beside.c - W1 on a node that holds much and uses none of it, in turns with W1 on an empty one. */
#include "bench.h"

#define TIMERS  1000000u
#define STREAMS 100000u
#define GROUPS  10000u

static struct bench_load w1(const char *workload, double seconds)
{
    return (struct bench_load){.workload = workload,
                               .size = 256,
                               .producers = 1,
                               .window = 256,
                               .seconds = seconds,
                               .consume = true,
                               .recipient = "consumer"};
}

/* W1; again if others disturbed it. */
static double run_undisturbed(const struct bench_server *server, const struct bench_load *load)
{
    for (unsigned attempt = 1;; attempt++) {
        size_t before = ali_row_count();
        double rate;

        ali_wait_quiet();
        rate = ali_run_load(server, load);
        if (attempt == BENCH_ATTEMPTS || ali_row_last("other_cpu") <= BENCH_DISTURBED) {
            ali_row_keep(before);
            return rate;
        }
        ali_row_forget(before);
    }
}

/* Two nodes that take turns; rows of `workload` and `without` it. */
static void measure(const char *workload, const char *without, const struct bench_server *plain,
                    const struct bench_server *busy, unsigned pairs, double seconds)
{
    const struct bench_load base_load = w1(without, seconds), load = w1(workload, seconds);

    for (unsigned i = 0; i < pairs; i++) {
        double base;

        ali_note("%s, pair %u of %u", workload, i + 1, pairs);
        ali_row_set_pair(i);
        base = run_undisturbed(plain, &base_load);
        ali_row_add(busy->peer->name, workload, 256, "ratio_without",
                    run_undisturbed(busy, &load) / base, "x");
    }
    ali_row_print_medians(without, 256);
    ali_row_print_medians(workload, 256);
}

void ali_timers_measure(unsigned pairs, double seconds)
{
    struct bench_load fill = {.workload = "timers-fill",
                              .size = 256,
                              .producers = 1,
                              .window = 4096,
                              .messages = TIMERS,
                              .later = BENCH_LATER_MIXED,
                              .recipient = "later"};
    struct bench_server plain, busy;

    ali_note("timers: filling");
    ali_server_start(&plain, &ali_peer_agentlink);
    ali_server_start(&busy, &ali_peer_agentlink);
    ali_row_set_pair(0);
    (void)ali_run_load(&busy, &fill);
    ali_row_add(busy.peer->name, "w1-timers", 256, "rss_1M_timers", ali_rss_kib(busy.pid), "KiB");
    measure("w1-timers", "w1-no-timers", &plain, &busy, pairs, seconds);
    ali_server_stop(&plain);
    ali_server_stop(&busy);
}

/* Bytes of memory for each of `count` objects. */
static void make_idle(const struct bench_server *server, const char *metric, unsigned count,
                      void (*make)(const struct bench_server *server, unsigned count))
{
    const unsigned first = count / 100; /* what making them needs besides is there afterwards */
    double before;

    make(server, first);
    before = ali_rss_settled(server->pid);
    make(server, count);
    ali_row_add(server->peer->name, "w1-idle", 256, metric,
                (ali_rss_settled(server->pid) - before) * 1024 / (count - first), "B");
}

void ali_idle_measure(unsigned pairs, double seconds)
{
    struct bench_load warm = w1("w1-warm", 0);
    struct bench_server plain, busy;

    warm.messages = BENCH_WARM;
    ali_note("idle streams and groups: making them");
    ali_server_start(&plain, &ali_peer_agentlink);
    ali_server_start(&busy, &ali_peer_agentlink);
    ali_row_set_pair(0);
    (void)ali_run_load(&busy, &warm); /* its buffers and rings */
    make_idle(&busy, "bytes_per_stream", STREAMS, ali_make_streams);
    make_idle(&busy, "bytes_per_group", GROUPS, ali_make_groups);
    measure("w1-idle", "w1-no-idle", &plain, &busy, pairs, seconds);
    ali_server_stop(&plain);
    ali_server_stop(&busy);
}
