/* cmd_bench.c - agentlink bench: a short self-test of a node, from here.
 *
 * One thread sends, another receives and acknowledges every message, each over its own connection.
 * Three parts: receipts one at a time, full turns one at a time (sent, on disk, received,
 * acknowledged, ack on disk, end told), and throughput with many in flight. The agents it makes are
 * removed at the end. */
#include "cli/node.h"
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { STALL_MS = 30000, RECEIVE_MS = 200 };

struct bench_values {
    uint64_t count, turns, size;
};

#define OFFSET(field) offsetof(struct bench_values, field)

static const struct ali_option bench_options[] = {
    {"count", 0, "N", ALI_COUNT, OFFSET(count), .preset = "20000", .min = 1, .max = 10000000,
     .help = "messages of the throughput part"},
    {"turns", 0, "N", ALI_COUNT, OFFSET(turns), .preset = "300", .min = 1, .max = 100000,
     .help = "messages of each latency part"},
    {"size", 0, "BYTES", ALI_COUNT, OFFSET(size), .preset = "256", .max = 1048576,
     .help = "payload of each message"},
    {.name = NULL},
};

struct bench {
    struct ali_cli *cli;
    const struct bench_values *values;
    struct al_client *sender, *receiver;
    char to[64], from[64]; /* both exist only while the bench runs */
    struct al_message message;
    uint64_t receipts, failures; /* of the throughput part */
    int error;                   /* the first failure's */
    atomic_ullong received;
    atomic_bool stop;
};

/* Ctrl-C ends the measuring, not the program: its agents are still to be removed. A second one ends
 * it at once. */
static volatile sig_atomic_t caught;

static void on_signal(int number)
{
    caught = number;
}

static void catch_signals(void)
{
    const struct sigaction action = {.sa_handler = on_signal,
                                     .sa_flags = (int)SA_RESETHAND | SA_RESTART};

    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

static uint64_t now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void *receive_all(void *arg)
{
    struct bench *bench = arg;

    while (!atomic_load(&bench->stop)) {
        struct al_delivery *delivery;
        int r = al_receive(bench->receiver, RECEIVE_MS, &delivery);

        if (r == -AL_E_TIMEOUT)
            continue;
        if (r)
            break;
        atomic_fetch_add(&bench->received, 1);
        if (al_ack(delivery, NULL))
            al_delivery_drop(delivery);
    }
    return NULL;
}

/* ---- results ----------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

static double quantile_us(const uint64_t *sorted, uint64_t count, unsigned percent)
{
    uint64_t index = (count - 1) * percent / 100;

    return (double)sorted[index] / 1000;
}

static void report_latency(struct ali_cli *cli, const char *what, uint64_t *ns, uint64_t count)
{
    qsort(ns, count, sizeof *ns, by_value);
    if (cli->json) {
        ali_json_print(cli,
                       json_pack("{ss sI sf sf sf}", "test", what, "count", (json_int_t)count,
                                 "p50_us", quantile_us(ns, count, 50), "p90_us",
                                 quantile_us(ns, count, 90), "p99_us", quantile_us(ns, count, 99)));
        return;
    }
    printf("%-12s%10" PRIu64 "   p50 %8.1f us   p90 %8.1f us   p99 %8.1f us\n", what, count,
           quantile_us(ns, count, 50), quantile_us(ns, count, 90), quantile_us(ns, count, 99));
    fflush(stdout);
}

static void report_throughput(const struct bench *bench, uint64_t ns)
{
    uint64_t count = bench->values->count;
    double seconds = (double)ns / 1e9, rate = (double)count / seconds;

    if (bench->cli->json)
        ali_json_print(bench->cli,
                       json_pack("{ss sI sI sf sf}", "test", "throughput", "count",
                                 (json_int_t)count, "bytes", (json_int_t)bench->values->size,
                                 "seconds", seconds, "per_second", rate));
    else
        printf("%-12s%10" PRIu64 "   %.0f messages/s, %.1f MB/s, %.2f s\n", "throughput", count,
               rate, rate * (double)bench->values->size / 1e6, seconds);
}

/* ---- the three parts --------------------------------------------------------------------- */

static int one_turn(struct bench *bench, bool full)
{
    struct al_end *end = NULL;
    int r;

    if (!full)
        return al_send(bench->sender, &bench->message, STALL_MS, NULL);
    r = al_send_wait(bench->sender, &bench->message, STALL_MS, NULL, &end);
    al_end_free(end);
    return r;
}

static int run_latency(struct bench *bench, const char *what, bool full)
{
    uint64_t count = bench->values->turns;
    uint64_t *ns = ali_alloc(count * sizeof *ns);
    int r = 0;

    for (uint64_t i = 0; r == 0 && i < count; i++) {
        uint64_t start = now_ns();

        if (caught) {
            r = -AL_E_CANCELLED;
            break;
        }
        ali_progress(bench->cli, "%s: %" PRIu64 " of %" PRIu64, what, i, count);
        r = one_turn(bench, full);
        ns[i] = now_ns() - start;
    }
    ali_progress_end(bench->cli);
    if (r == 0)
        report_latency(bench->cli, what, ns, count);
    free(ns);
    return r;
}

static void on_receipt(void *ctx, int error, const struct al_receipt *receipt)
{
    struct bench *bench = ctx;

    (void)receipt;
    bench->receipts++;
    if (error) {
        bench->failures++;
        bench->error = bench->error ? bench->error : error;
    }
}

/* Sends the next message, dispatching while the window is full. */
static int send_one(struct bench *bench)
{
    for (;;) {
        int r;

        if (caught)
            return -AL_E_CANCELLED;
        r = al_send_async(bench->sender, &bench->message, on_receipt, bench, NULL);

        if (r != -AL_E_BUSY)
            return r;
        r = al_client_dispatch(bench->sender, STALL_MS);
        if (r < 0)
            return r;
        if (r == 0)
            return -AL_E_TIMEOUT;
    }
}

/* Waits until everything has its receipt and was received; gives up when nothing moves. */
static int drain(struct bench *bench, uint64_t goal)
{
    uint64_t last = 0, moved_ns = now_ns();

    while (bench->receipts < bench->values->count || atomic_load(&bench->received) < goal) {
        uint64_t seen;
        int r = al_client_dispatch(bench->sender, 10);

        if (caught)
            return -AL_E_CANCELLED;
        if (r < 0 || bench->error)
            return r < 0 ? r : bench->error;
        seen = bench->receipts + atomic_load(&bench->received);
        if (seen != last)
            moved_ns = now_ns();
        else if (now_ns() - moved_ns > STALL_MS * 1000000ull)
            return -AL_E_TIMEOUT;
        last = seen;
    }
    return 0;
}

static int run_throughput(struct bench *bench)
{
    uint64_t count = bench->values->count, start = now_ns();
    uint64_t goal = atomic_load(&bench->received) + count;
    int r = 0;

    for (uint64_t i = 0; r == 0 && i < count; i++) {
        ali_progress(bench->cli, "throughput: %" PRIu64 " of %" PRIu64, i, count);
        r = send_one(bench);
    }
    if (r == 0)
        r = drain(bench, goal);
    ali_progress_end(bench->cli);
    if (r == 0)
        report_throughput(bench, now_ns() - start);
    return r;
}

/* Receipts first: the receiver must not be behind when full turns are measured. */
static int run_parts(struct bench *bench)
{
    uint64_t last = 0, idle = 0;
    int r = run_latency(bench, "receipt", false);

    while (r == 0 && atomic_load(&bench->received) < bench->values->turns && idle < STALL_MS) {
        uint64_t seen = atomic_load(&bench->received);

        idle = seen == last ? idle + 10 : 0;
        last = seen;
        al_client_dispatch(bench->sender, 10);
    }
    if (r == 0)
        r = run_latency(bench, "full turn", true);
    return r ? r : run_throughput(bench);
}

static int run_with_receiver(struct bench *bench)
{
    pthread_t thread;
    int r;

    if (pthread_create(&thread, NULL, receive_all, bench)) {
        ali_say(bench->cli, "no thread: %s", strerror(errno));
        return ALI_EXIT_REFUSED;
    }
    r = run_parts(bench);
    atomic_store(&bench->stop, true);
    pthread_join(thread, NULL);
    if (r == -AL_E_CANCELLED && caught)
        return 128 + caught;
    return r ? ali_say_error(bench->cli, r) : 0;
}

/* Opens both connections and makes the agents: 0, or an exit code. */
static int prepare(struct bench *bench, char *payload)
{
    const struct al_attach_options attach = {.credit = 1024};
    struct ali_cli *cli = bench->cli;
    struct al_message_id id;
    int code = ali_node_open_extra(cli, &bench->sender), r;

    if (code == 0)
        code = ali_node_open_extra(cli, &bench->receiver);
    if (code)
        return code;
    r = al_message_id_random(&id);
    snprintf(bench->to, sizeof bench->to, "bench-%.8s", ali_id_text(&id));
    snprintf(bench->from, sizeof bench->from, "bench-%.8s-sender", ali_id_text(&id));
    memset(payload, 'x', bench->values->size);
    al_message_init(&bench->message);
    bench->message.from = bench->from;
    bench->message.to = bench->to;
    bench->message.kind = "bench";
    bench->message.payload = payload;
    bench->message.payload_size = bench->values->size;
    if (r == 0)
        r = al_attach(bench->receiver, bench->to, &attach);
    return r ? ali_say_error(cli, r) : 0;
}

static int run_bench(struct ali_cli *cli, const void *values, char **args)
{
    struct bench bench = {.cli = cli, .values = values};
    char *payload;
    int code = ali_node_open(cli);

    (void)args;
    if (code)
        return code;
    catch_signals();
    payload = ali_alloc(bench.values->size);
    code = prepare(&bench, payload);
    if (code == 0)
        code = run_with_receiver(&bench);
    /* An agent cannot go while a connection sends as it or to it. */
    al_client_close(bench.sender, STALL_MS);
    al_client_close(bench.receiver, STALL_MS);
    if (*bench.to) {
        al_agent_remove(cli->client, bench.to, true);
        al_agent_remove(cli->client, bench.from, true);
    }
    free(payload);
    return code;
}

const struct ali_command ali_cmd_bench[] = {
    {
        .name = "bench",
        .summary = "measure latency and throughput of the node, briefly",
        .doc =
            "receipt: sent and on disk. full turn: sent, on disk, received, acknowledged, ack on\n"
            "disk, sender told. throughput: every message sent, received and acknowledged, many\n"
            "at one time. Uses agents of its own, which are removed at the end.",
        .examples = "agentlink bench\nagentlink bench --count 100000 --size 1024 --json",
        .options = bench_options,
        .values_size = sizeof(struct bench_values),
        .run = run_bench,
    },
    {.name = NULL},
};
