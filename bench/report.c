/* report.c - ratios against the floor, and the figures that this program has to reach. */
#include "bench.h"
#include <stdio.h>
#include <string.h>

#define MB_IN_KIB (1e6 / 1024)

/* A figure and its bar. `over` is the peer that it is a ratio to, NULL: an absolute figure. */
static const struct bar {
    const char *workload;
    size_t size;
    const char *metric, *over;
    double limit;
    bool at_least;
    double unit;       /* what is shown is the value divided by this */
    const char *shown; /* unit, for people */
    const char *text;
} bars[] = {
    {"w1-win256", 256, "rate", "floor-direct", 0.35, true, 1, "x floor", "W1 256 B, window 256"},
    {"w1-win4096", 256, "rate", "floor-direct", 0.20, true, 1, "x floor", "W1 256 B, window 4096"},
    {"w1-win256", 4096, "rate", "floor-direct", 0.50, true, 1, "x floor", "W1 4 KiB, window 256"},
    {"w2", 256, "cycle_p50", "floor-direct", 1.4, false, 1, "x floor", "W2 whole cycle, p50"},
    {"w2", 256, "cycle_p90", "floor-direct", 1.6, false, 1, "x floor", "W2 whole cycle, p90"},
    {"w3", 256, "rate", "floor-direct", 0.70, true, 1, "x floor", "W3 64 producers, window 1"},
    {"w5-group16", 256, "rate", "floor-direct", 0.50, true, 1, "x floor",
     "W5 group of 16, per copy"},
    {"w4-memory", 0, "rss_idle", NULL, 5 * MB_IN_KIB, false, MB_IN_KIB, "MB", "memory, idle"},
    {"w4-memory", 0, "rss_1000_idle_connections", NULL, 9 * MB_IN_KIB, false, MB_IN_KIB, "MB",
     "memory, 1,000 idle connections"},
    {"w4-memory", 256, "rss_backlog_1M", NULL, 32 * MB_IN_KIB, false, MB_IN_KIB, "MB",
     "memory, 1,000,000 x 256 B waiting"},
    {"w4-memory", 0, "start_to_ready", NULL, 50, false, 1, "ms", "start to ready, empty"},
    {"w4-memory", 256, "recover_to_ready", NULL, 200, false, 1, "ms",
     "kill -9 with backlog to ready"},
    {"w4-entries", 256, "bytes_waiting", NULL, 16, false, 1, "B", "memory, message that waits"},
    {"w4-entries", 256, "bytes_delayed", NULL, 100, false, 1, "B", "memory, delayed message"},
    {"w4-entries", 256, "bytes_expiring", NULL, 100, false, 1, "B", "memory, expiring message"},
    {"w6-duplicate", 256, "ratio_fresh", NULL, 1, true, 1, "x", "duplicate answered / fresh send"},
    {"w1-timers", 256, "ratio_without", NULL, 0.95, true, 1, "x", "W1 beside 1,000,000 timers"},
    {"w1-idle", 256, "ratio_without", NULL, 0.9, true, 1, "x", "W1 beside idle streams, groups"},
    {"w1-idle", 256, "bytes_per_stream", NULL, 300, false, 1, "B", "memory, idle stream"},
    {"w1-idle", 256, "bytes_per_group", NULL, 300, false, 1, "B", "memory, idle group"},
    {"gap-repair", 256, "ratio_allowed", NULL, 1, false, 1, "x",
     "gap repair / 2 round trips + 1 ms"},
};

static const char *const FLOORS[] = {"floor-direct", "floor-direct-unix"};

static void ratio_row(const char *workload, size_t size, const char *metric, const char *name)
{
    for (size_t i = 0; i < sizeof(FLOORS) / sizeof(FLOORS[0]); i++) {
        char shown[96];
        double value;

        snprintf(shown, sizeof(shown), "%sratio_%s", name, FLOORS[i]);
        for (char *p = shown; *p; p++)
            if (*p == '-')
                *p = '_';
        if (ali_row_ratio("agentlink", FLOORS[i], workload, size, metric, &value))
            ali_row_print("agentlink", workload, size, shown, value, "x");
    }
}

void ali_report_ratios(const char *workload, size_t size)
{
    ratio_row(workload, size, "rate", "");
    ratio_row(workload, size, "confirm_p50", "confirm_p50_");
    ratio_row(workload, size, "cycle_p50", "cycle_p50_");
    ratio_row(workload, size, "cycle_p90", "cycle_p90_");
}

static bool measured(const struct bar *bar, double *ret_value)
{
    if (bar->over)
        return ali_row_ratio("agentlink", bar->over, bar->workload, bar->size, bar->metric,
                             ret_value);
    return ali_row_median("agentlink", bar->workload, bar->size, bar->metric, ret_value);
}

unsigned ali_report_bars(bool print)
{
    unsigned missed = 0;

    if (print)
        printf("\n%-36s %12s %16s\n", "figure", "measured", "bar");
    for (size_t i = 0; i < sizeof(bars) / sizeof(bars[0]); i++) {
        const struct bar *bar = &bars[i];
        double value;
        bool met;

        if (!measured(bar, &value))
            continue;
        met = bar->at_least ? value >= bar->limit : value <= bar->limit;
        missed += !met;
        if (print)
            printf("%-36s %12.2f %3s %5.2f %-8s %s\n", bar->text, value / bar->unit,
                   bar->at_least ? ">=" : "<=", bar->limit / bar->unit, bar->shown,
                   met ? "met" : "MISSED");
    }
    return missed;
}
