/* memory.c - W4: resident memory, of one message too; start, recovery. */
#include "bench.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define IDLE_CONNECTIONS 1000u
#define SETTLES_MAX      10u     /* so often, until nothing changes any more */
#define SETTLE_US        1000000 /* lets background work end before memory is looked at */

static const char *const W4 = "w4-memory";
static const char *const ENTRIES = "w4-entries";

static void memory_row(const struct bench_server *server, size_t size, const char *metric)
{
    usleep(SETTLE_US);
    ali_row_add(server->peer->name, W4, size, metric, ali_rss_kib(server->pid), "KiB");
}

static void measure_connections(const struct bench_server *server)
{
    struct bench_run run = {.peer = server->peer};
    struct bench_link *links[IDLE_CONNECTIONS];

    for (unsigned i = 0; i < IDLE_CONNECTIONS; i++) {
        links[i] = ali_link_open(server->address, &run);
        if (!links[i])
            ali_fail("connection %u: %s", i, strerror(errno));
        server->peer->greet(links[i]);
    }
    memory_row(server, 0, "rss_1000_idle_connections");
    for (unsigned i = 0; i < IDLE_CONNECTIONS; i++)
        ali_link_close(links[i]);
}

static void measure_once(uint64_t backlog)
{
    struct bench_load fill = {.workload = "w4-fill",
                              .size = 256,
                              .producers = 1,
                              .window = 4096,
                              .messages = backlog,
                              .recipient = "consumer"};
    struct bench_load drain = fill;
    struct bench_server server;

    ali_wait_quiet();
    ali_server_start(&server, &ali_peer_agentlink);
    ali_row_add(server.peer->name, W4, 0, "start_to_ready", server.ready_ms, "ms");
    memory_row(&server, 0, "rss_idle");
    measure_connections(&server);
    ali_server_stop(&server);

    ali_server_start(&server, &ali_peer_agentlink);
    (void)ali_run_load(&server, &fill);
    memory_row(&server, 256, "rss_backlog_1M");
    ali_server_kill(&server);
    ali_wait_quiet();
    ali_server_restart(&server);
    ali_row_add(server.peer->name, W4, 256, "recover_to_ready", server.ready_ms, "ms");
    memory_row(&server, 256, "rss_after_recovery");
    drain.workload = "w4-drain";
    drain.consume = true;
    ali_run_drain(&server, &drain);
    ali_server_stop(&server);
}

void ali_memory_measure(unsigned repeats, uint64_t backlog)
{
    for (unsigned i = 0; i < repeats; i++) {
        size_t before = ali_row_count();

        ali_note("memory, start and recovery, %u of %u", i + 1, repeats);
        ali_row_set_pair(i);
        measure_once(backlog);
        ali_row_keep(before);
    }
    ali_row_print_medians(W4, 0);
    ali_row_print_medians(W4, 256);
    ali_row_print_medians("w4-fill", 256);
    ali_row_print_medians("w4-drain", 256);
}

double ali_rss_settled(pid_t pid)
{
    double before = 0, now = ali_rss_kib(pid);

    for (unsigned i = 0; i < SETTLES_MAX && (i == 0 || now != before); i++) {
        before = now;
        usleep(SETTLE_US);
        now = ali_rss_kib(pid);
    }
    return now;
}

/* Bytes of memory for each message, beside a node that has done its work and holds none. */
static void measure_entry(const char *metric, enum bench_later later, unsigned count)
{
    const struct bench_load warm = {.workload = "w1-warm",
                                    .size = 256,
                                    .producers = 1,
                                    .window = 4096,
                                    .messages = BENCH_WARM,
                                    .consume = true,
                                    .recipient = "consumer"};
    struct bench_load fill = {.workload = "w4-fill",
                              .size = 256,
                              .producers = 1,
                              .window = 4096,
                              .messages = count,
                              .later = later,
                              .recipient = "later"};
    struct bench_server server;
    double before;

    ali_server_start(&server, &ali_peer_agentlink);
    (void)ali_run_load(&server, &warm); /* its buffers and rings */
    before = ali_rss_settled(server.pid);
    (void)ali_run_load(&server, &fill);
    ali_row_add(server.peer->name, ENTRIES, 256, metric,
                (ali_rss_settled(server.pid) - before) * 1024 / count, "B");
    ali_server_stop(&server);
}

void ali_entries_measure(unsigned count)
{
    ali_note("memory of a message that waits, is delayed, can expire");
    ali_row_set_pair(0);
    measure_entry("bytes_waiting", BENCH_LATER_NO, count);
    measure_entry("bytes_delayed", BENCH_LATER_DELAYED, count);
    measure_entry("bytes_expiring", BENCH_LATER_EXPIRING, count);
    ali_row_print_medians(ENTRIES, 256);
}
