/* work.c - the workloads: one single-threaded client that publishes, receives and acks.
 *
 * The client is the same for every peer and as light as it can be made, because it has one of the
 * machine's cores to itself in the best case: it takes what one read gives, answers it in one
 * write, and sleeps in epoll_wait when there is nothing to do. Every message is checked: right
 * bytes, right size, never twice. */
#include "bench.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#define EVENTS        128
#define STUCK_NS      (60ull * 1000000000)
#define MESSAGES_MAX  (64ull << 20) /* one run never has more */
#define TIMES_MAX     (1u << 20)
#define W2_CYCLES_MAX (1u << 17)

void ali_run_confirmed(struct bench_link *link, unsigned count)
{
    if (count > link->in_flight)
        ali_fail("%s: %u receipts for %u publishes", link->run->peer->name, count, link->in_flight);
    link->in_flight -= count;
    link->run->confirmed += count;
    if (link->run->time_confirms)
        ali_times_add(&link->run->confirm_times, ali_now_ns() - link->sent_ns);
}

void ali_run_received(struct bench_run *run, const uint8_t *payload, size_t size, unsigned copy)
{
    uint64_t number, sent_ns, bit;

    if (size != run->size)
        ali_fail("%s: payload of %zu bytes, not %zu", run->peer->name, size, run->size);
    memcpy(&number, payload, 8);
    memcpy(&sent_ns, payload + 8, 8);
    if (memcmp(payload + 16, ali_payload_at(number) + 16, size - 16) != 0)
        ali_fail("%s: the payload of message %llu differs", run->peer->name,
                 (unsigned long long)number);
    bit = number * run->copies + copy;
    if (number >= run->seen_cap || bit >= run->seen_cap || (run->seen[bit >> 3] >> (bit & 7) & 1))
        ali_fail("%s: message %llu came twice or was never sent", run->peer->name,
                 (unsigned long long)number);
    run->seen[bit >> 3] |= (uint8_t)(1u << (bit & 7));
    run->received++;
    if (sent_ns)
        ali_times_add(&run->receive_times, ali_now_ns() - sent_ns);
}

/* ---- what was used ----------------------------------------------------------------------- */

struct usage {
    uint64_t server_ns, client_ns, machine_ns, at_ns;
    double written_kib;
};

static struct usage usage_now(pid_t server)
{
    return (struct usage){.server_ns = ali_cpu_ns(server),
                          .client_ns = ali_cpu_ns(getpid()),
                          .machine_ns = ali_cpu_machine_ns(),
                          .at_ns = ali_now_ns(),
                          .written_kib = ali_written_kib(server)};
}

/* other_cpu is what neither server nor client used, flushing in the kernel included: it tells
 * whether the machine was quiet. */
static void usage_rows(const struct bench_server *server, const struct bench_load *load,
                       const struct usage *before, uint64_t messages)
{
    struct usage after = usage_now(server->pid);
    double server_us = (double)(after.server_ns - before->server_ns) / 1e3;
    double client_us = (double)(after.client_ns - before->client_ns) / 1e3;
    double machine_us = (double)(after.machine_ns - before->machine_ns) / 1e3;
    double wall_us = (double)(after.at_ns - before->at_ns) / 1e3;
    double other = 100 * (machine_us - server_us - client_us) / wall_us;
    const char *peer = server->peer->name;

    if (server->pid > 0) {
        ali_row_add(peer, load->workload, load->size, "server_cpu_per_msg",
                    server_us / (double)messages, "us");
        ali_row_add(peer, load->workload, load->size, "server_written_per_msg",
                    (after.written_kib - before->written_kib) * 1024 / (double)messages, "B");
    }
    ali_row_add(peer, load->workload, load->size, "client_cpu_per_msg",
                client_us / (double)messages, "us");
    ali_row_add(peer, load->workload, load->size, "other_cpu", other > 0 ? other : 0, "%core");
}

/* ---- runs -------------------------------------------------------------------------------- */

static void run_init(struct bench_run *run, const struct bench_server *server,
                     const struct bench_load *load)
{
    *run = (struct bench_run){.peer = server->peer,
                              .size = load->size,
                              .later = load->later,
                              .keys = load->keys,
                              .tell_end = load->keys == BENCH_KEYS_AGAIN,
                              .recipient = load->recipient,
                              .copies = load->members ? load->members : 1,
                              .seen_cap = MESSAGES_MAX};
    run->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (run->epoll_fd < 0)
        ali_fail("epoll_create1: %s", strerror(errno));
    run->seen = ali_alloc(MESSAGES_MAX / 8);
    ali_times_init(&run->receive_times, TIMES_MAX);
    ali_times_init(&run->confirm_times, TIMES_MAX);
}

static void run_deinit(struct bench_run *run)
{
    close(run->epoll_fd);
    free(run->seen);
    ali_times_deinit(&run->receive_times);
    ali_times_deinit(&run->confirm_times);
}

static struct bench_link *open_link(const struct bench_server *server, struct bench_run *run)
{
    struct bench_link *link = ali_link_open(server->address, run);

    if (!link)
        ali_fail("%s: cannot connect to %s: %s", server->peer->name, server->address,
                 strerror(errno));
    server->peer->greet(link);
    return link;
}

static struct bench_link *open_consumer(const struct bench_server *server, struct bench_run *run)
{
    struct bench_link *link = open_link(server, run);

    link->is_consumer = true;
    server->peer->open_consumer(link);
    ali_link_watch(link);
    return link;
}

static void publish_one(struct bench_link *link, uint64_t now_ns)
{
    link->sent_ns = now_ns;
    /* A duplicate has the same payload as its first, so no time. */
    link->run->peer->publish(link, link->run->sent, link->run->keys ? 0 : now_ns);
    link->published++;
    link->in_flight++;
    link->run->sent++;
}

/* Fills the window; true if there is more to send than one write should hold. */
static bool fill_window(struct bench_link *link, const struct bench_load *load, uint64_t goal)
{
    struct bench_run *run = link->run;
    uint64_t now_ns;

    if (link->wants_out || link->in_flight >= load->window || run->sent >= goal)
        return false;
    now_ns = ali_now_ns();
    while (run->sent < goal && link->in_flight < load->window &&
           ali_buf_size(&link->out) < BENCH_READ_SIZE)
        publish_one(link, now_ns);
    ali_link_write(link);
    return !link->wants_out && link->in_flight < load->window && run->sent < goal;
}

/* Sleeps until something comes in, at most a second, and takes it. */
static bool take_events(struct bench_run *run, int timeout_ms)
{
    struct epoll_event events[EVENTS];
    int count = epoll_wait(run->epoll_fd, events, EVENTS, timeout_ms);

    ali_check_interrupted();
    for (int i = 0; i < count; i++) {
        struct bench_link *link = events[i].data.ptr;

        if (events[i].events & EPOLLOUT)
            ali_link_write(link);
        if ((events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) && ali_link_read(link)) {
            run->peer->parse(link);
            if (link->in.start == link->in.end)
                link->in.start = link->in.end = 0;
            if (link->is_consumer && ali_buf_size(&link->out) > 0 && !link->wants_out)
                ali_link_write(link);
        }
    }
    return count > 0;
}

static bool is_done(const struct bench_run *run, const struct bench_load *load, uint64_t goal)
{
    uint64_t copies = goal * run->copies;

    return run->confirmed >= goal && (!run->tell_end || run->ended >= goal) &&
           (!load->consume || (run->received >= copies && run->acked >= copies + run->notices));
}

/* Publishes and takes until everything has come back; returns how many messages that were. */
static uint64_t drive(struct bench_run *run, const struct bench_load *load,
                      struct bench_link *const *producers)
{
    const uint64_t most = MESSAGES_MAX / run->copies;
    uint64_t goal = load->seconds > 0 ? most : load->messages;
    uint64_t begin_ns = ali_now_ns(), moved_ns = begin_ns, now_ns;
    uint64_t publish_ns = (uint64_t)(load->seconds * 1e9);

    for (;;) {
        bool more = false;

        for (unsigned i = 0; i < load->producers; i++)
            more |= fill_window(producers[i], load, goal);
        if (is_done(run, load, goal))
            return goal;
        now_ns = ali_now_ns();
        if (take_events(run, more ? 0 : 1000))
            moved_ns = now_ns;
        else if (now_ns - moved_ns > STUCK_NS)
            ali_fail("%s %s: stuck: %llu sent, %llu confirmed, %llu received, %llu acks confirmed",
                     run->peer->name, load->workload, (unsigned long long)run->sent,
                     (unsigned long long)run->confirmed, (unsigned long long)run->received,
                     (unsigned long long)run->acked);
        if (load->seconds > 0 && goal == most && now_ns - begin_ns >= publish_ns)
            goal = run->sent; /* enough: wait for the rest */
    }
}

double ali_run_load(const struct bench_server *server, const struct bench_load *load)
{
    struct bench_run run;
    struct bench_link *consumer = NULL;
    struct bench_link **producers = ali_alloc(load->producers * sizeof(*producers));
    const char *peer = server->peer->name;
    struct usage before;
    uint64_t begin_ns, messages;
    double seconds;

    run_init(&run, server, load);
    run.time_confirms = load->window == 1;
    if (load->consume)
        consumer = open_consumer(server, &run);
    for (unsigned i = 0; i < load->producers; i++) {
        producers[i] = open_link(server, &run);
        server->peer->open_producer(producers[i], i);
        ali_link_watch(producers[i]);
    }
    before = usage_now(server->pid);
    begin_ns = ali_now_ns();
    messages = drive(&run, load, producers) * run.copies; /* a copy counts as a message */
    seconds = (double)(ali_now_ns() - begin_ns) / 1e9;
    ali_row_add(peer, load->workload, load->size, "rate", (double)messages / seconds, "msg/s");
    ali_row_add(peer, load->workload, load->size, "messages", (double)messages, "msg");
    usage_rows(server, load, &before, messages);
    ali_times_rows(&run.receive_times, peer, load->workload, load->size, "receive");
    ali_times_rows(&run.confirm_times, peer, load->workload, load->size, "confirm");
    ali_link_close(consumer);
    for (unsigned i = 0; i < load->producers; i++)
        ali_link_close(producers[i]);
    free(producers);
    run_deinit(&run);
    return (double)messages / seconds;
}

/* One message from its publish until everybody has been told everything. */
static uint64_t one_cycle(struct bench_run *run, struct bench_link *producer)
{
    uint64_t ends = run->tell_end ? run->ended + 1 : run->ended, next = run->sent + 1;
    uint64_t begin_ns = ali_now_ns();

    publish_one(producer, begin_ns);
    ali_link_write(producer);
    while (run->confirmed < next || run->received < next || run->acked < next || run->ended < ends)
        if (!take_events(run, 10000))
            ali_fail("%s w2: stuck at message %llu: %llu confirmed, %llu received, %llu acks "
                     "confirmed, %llu ended",
                     run->peer->name, (unsigned long long)next, (unsigned long long)run->confirmed,
                     (unsigned long long)run->received, (unsigned long long)run->acked,
                     (unsigned long long)run->ended);
    return ali_now_ns() - begin_ns;
}

void ali_run_cycle(const struct bench_server *server, size_t size, double seconds)
{
    struct bench_load load = {
        .workload = "w2", .size = size, .recipient = "consumer", .producers = 1, .window = 1};
    struct bench_times cycles;
    struct bench_run run;
    struct bench_link *consumer, *producer;
    struct usage before;
    uint64_t begin_ns;

    run_init(&run, server, &load);
    ali_times_init(&cycles, W2_CYCLES_MAX);
    run.time_confirms = true;
    run.tell_end = !server->peer->is_floor;
    consumer = open_consumer(server, &run);
    producer = open_link(server, &run);
    server->peer->open_producer(producer, 0);
    ali_link_watch(producer);
    before = usage_now(server->pid);
    begin_ns = ali_now_ns();
    while (ali_now_ns() - begin_ns < (uint64_t)(seconds * 1e9) && cycles.count < W2_CYCLES_MAX)
        ali_times_add(&cycles, one_cycle(&run, producer));
    ali_row_add(server->peer->name, "w2", size, "messages", (double)run.sent, "msg");
    ali_times_rows(&run.confirm_times, server->peer->name, "w2", size, "confirm");
    ali_times_rows(&run.receive_times, server->peer->name, "w2", size, "receive");
    ali_times_rows(&cycles, server->peer->name, "w2", size, "cycle");
    usage_rows(server, &load, &before, run.sent);
    ali_link_close(consumer);
    ali_link_close(producer);
    ali_times_deinit(&cycles);
    run_deinit(&run);
}

void ali_run_drain(const struct bench_server *server, const struct bench_load *load)
{
    struct bench_run run;
    struct bench_link *consumer;
    uint64_t begin_ns;

    run_init(&run, server, load);
    begin_ns = ali_now_ns();
    consumer = open_consumer(server, &run);
    while (run.received < load->messages || run.acked < load->messages)
        if (!take_events(&run, 10000))
            ali_fail("%s %s: only %llu of %llu messages came back, %llu acks confirmed",
                     server->peer->name, load->workload, (unsigned long long)run.received,
                     (unsigned long long)load->messages, (unsigned long long)run.acked);
    ali_row_add(server->peer->name, load->workload, load->size, "drain_rate",
                (double)load->messages / ((double)(ali_now_ns() - begin_ns) / 1e9), "msg/s");
    ali_row_add(server->peer->name, load->workload, load->size, "drained", (double)run.received,
                "msg");
    ali_link_close(consumer);
    run_deinit(&run);
}
