/* rows.c - measured values, their medians, and ratios of runs that took turns. */
#include "bench.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAIRS_MAX 256u

struct row {
    const char *peer, *workload, *unit;
    char *metric; /* its own copy */
    size_t size;
    unsigned pair;
    double value;
};

static struct row *rows;
static size_t row_count, row_cap;
static unsigned row_pair;
static bool row_raw;

void ali_row_set_pair(unsigned pair)
{
    row_pair = pair;
}
void ali_row_set_raw(bool raw)
{
    row_raw = raw;
}

static char *copy_text(const char *text)
{
    return memcpy(ali_alloc(strlen(text) + 1), text, strlen(text) + 1);
}

void ali_row_print(const char *peer, const char *workload, size_t size, const char *metric,
                   double value, const char *unit)
{
    int digits = fabs(value) >= 1000 || value == floor(value) ? 0 : fabs(value) >= 10 ? 1 : 3;

    printf("%s\t%s\t%zu\t%s\t", peer, workload, size, metric);
    printf("%.*f", digits, value);
    printf("\t%s\n", unit);
    fflush(stdout);
}

void ali_row_add(const char *peer, const char *workload, size_t size, const char *metric,
                 double value, const char *unit)
{
    if (row_count == row_cap) {
        row_cap = row_cap ? 2 * row_cap : 1024;
        rows = ali_realloc(rows, row_cap * sizeof(*rows));
    }
    rows[row_count++] = (struct row){.peer = peer,
                                     .workload = workload,
                                     .metric = copy_text(metric),
                                     .unit = unit,
                                     .size = size,
                                     .pair = row_pair,
                                     .value = value};
}

size_t ali_row_count(void)
{
    return row_count;
}

void ali_row_forget(size_t count)
{
    while (row_count > count)
        free(rows[--row_count].metric);
}

void ali_row_keep(size_t count)
{
    for (size_t i = count; row_raw && i < row_count; i++)
        ali_row_print(rows[i].peer, rows[i].workload, rows[i].size, rows[i].metric, rows[i].value,
                      rows[i].unit);
}

double ali_row_last(const char *metric)
{
    for (size_t i = row_count; i-- > 0;)
        if (!strcmp(rows[i].metric, metric))
            return rows[i].value;
    return 0;
}

static bool row_is(const struct row *row, const char *peer, const char *workload, size_t size,
                   const char *metric)
{
    return row->size == size && !strcmp(row->peer, peer) && !strcmp(row->workload, workload) &&
           !strcmp(row->metric, metric);
}

static int compare_values(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static bool median_of(double *values, size_t count, double *ret_value)
{
    if (count == 0)
        return false;
    qsort(values, count, sizeof(*values), compare_values);
    *ret_value = count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
    return true;
}

bool ali_row_median(const char *peer, const char *workload, size_t size, const char *metric,
                    double *ret_value)
{
    double values[PAIRS_MAX];
    size_t count = 0;

    for (size_t i = 0; i < row_count && count < PAIRS_MAX; i++)
        if (row_is(&rows[i], peer, workload, size, metric))
            values[count++] = rows[i].value;
    return median_of(values, count, ret_value);
}

bool ali_row_ratio(const char *peer, const char *base, const char *workload, size_t size,
                   const char *metric, double *ret_value)
{
    double values[PAIRS_MAX];
    size_t count = 0;

    for (size_t i = 0; i < row_count; i++) {
        if (!row_is(&rows[i], peer, workload, size, metric))
            continue;
        for (size_t k = 0; k < row_count && count < PAIRS_MAX; k++)
            if (rows[k].pair == rows[i].pair && rows[k].value > 0 &&
                row_is(&rows[k], base, workload, size, metric)) {
                values[count++] = rows[i].value / rows[k].value;
                break;
            }
    }
    return median_of(values, count, ret_value);
}

void ali_row_print_medians(const char *workload, size_t size)
{
    for (size_t i = 0; i < row_count; i++) {
        const struct row *row = &rows[i];
        double value;
        size_t k = 0;

        if (row->size != size || strcmp(row->workload, workload) != 0)
            continue;
        while (!row_is(&rows[k], row->peer, workload, size, row->metric))
            k++;
        if (k < i) /* printed with its first row */
            continue;
        if (ali_row_median(row->peer, workload, size, row->metric, &value))
            ali_row_print(row->peer, workload, size, row->metric, value, row->unit);
    }
}

/* ---- times ------------------------------------------------------------------------------- */

void ali_times_init(struct bench_times *times, size_t cap)
{
    times->us100 = ali_alloc(cap * sizeof(*times->us100)); /* touched outside the clock */
    times->count = 0;
    times->cap = cap;
}

void ali_times_deinit(struct bench_times *times)
{
    free(times->us100);
    *times = (struct bench_times){0};
}

static int compare_times(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

void ali_times_rows(struct bench_times *times, const char *peer, const char *workload, size_t size,
                    const char *name)
{
    static const unsigned percents[] = {50, 90, 99};

    if (times->count == 0)
        return;
    qsort(times->us100, times->count, sizeof(*times->us100), compare_times);
    for (size_t i = 0; i < sizeof(percents) / sizeof(percents[0]); i++) {
        size_t rank = times->count * percents[i] / 100;
        char metric[64];

        snprintf(metric, sizeof(metric), "%s_p%u", name, percents[i]);
        ali_row_add(peer, workload, size, metric, times->us100[rank] / 100.0, "us");
    }
}
