/* util.c - time, memory, payloads, and what a process uses. */
#include "base/time.h"
#include "bench.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

/* Payloads are slices of one pool that fits into the second-level cache only in part, as the
 * payloads of a real sender would. */
#define POOL_SIZE   (2u << 20)
#define PAYLOAD_MAX (64u << 10)
#define WARM_BYTES  (768ull << 20)

/* Quiet: less than this share of one core is in use. */
#define QUIET_SLICE_US 200000
#define QUIET_SHARE    0.12

static uint8_t *payload_pool;
static volatile sig_atomic_t interrupted;

void ali_fail(const char *format, ...)
{
    va_list args;

    fflush(stdout);
    fputs("al_bench: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(1);
}

void ali_note(const char *format, ...)
{
    va_list args;

    if (!isatty(STDERR_FILENO))
        return;
    fputs("\r\033[K", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
}

static void on_signal(int number)
{
    interrupted = number;
}

void ali_catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal}; /* no SA_RESTART: waits end at once */

    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

void ali_check_interrupted(void)
{
    if (interrupted)
        exit(128 + interrupted);
}

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec time;

    if (clock_gettime(clock, &time) < 0)
        return 0;
    return (uint64_t)time.tv_sec * AL_NS_PER_SEC + (uint64_t)time.tv_nsec;
}

uint64_t ali_now_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}
uint64_t ali_wall_ms(void)
{
    return clock_ns(CLOCK_REALTIME) / AL_NS_PER_MS;
}

void *ali_realloc(void *ptr, size_t size)
{
    void *more = realloc(ptr, size);

    if (!more)
        ali_fail("out of memory: %zu bytes", size);
    return more;
}

void *ali_alloc(size_t size)
{
    return memset(ali_realloc(NULL, size), 0, size);
}

void ali_payload_init(void)
{
    size_t filled = 0;

    payload_pool = ali_alloc(POOL_SIZE + PAYLOAD_MAX);
    while (filled < POOL_SIZE + PAYLOAD_MAX) {
        ssize_t got = getrandom(payload_pool + filled, POOL_SIZE + PAYLOAD_MAX - filled, 0);

        if (got < 0 && errno != EINTR)
            ali_fail("no random bytes: %s", strerror(errno));
        filled += got > 0 ? (size_t)got : 0;
    }
}

const uint8_t *ali_payload_at(uint64_t number)
{
    return payload_pool + (number * 0x9e3779b1u & (POOL_SIZE - 1));
}

uint64_t ali_cpu_ns(pid_t pid)
{
    clockid_t clock;

    return pid > 0 && clock_getcpuclockid(pid, &clock) == 0 ? clock_ns(clock) : 0;
}

uint64_t ali_cpu_machine_ns(void)
{
    unsigned long long user, nice, system, idle, wait, irq, soft, steal;
    FILE *file = fopen("/proc/stat", "re");
    int got = 0;

    if (file) {
        got = fscanf(file, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &user, &nice, &system,
                     &idle, &wait, &irq, &soft, &steal);
        fclose(file);
    }
    if (got != 8)
        return 0;
    return (user + nice + system + steal) * (AL_NS_PER_SEC / (uint64_t)sysconf(_SC_CLK_TCK));
}

double ali_rss_kib(pid_t pid)
{
    char path[64], line[256];
    double kib = 0;
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    file = fopen(path, "re");
    if (!file)
        ali_fail("%s: %s", path, strerror(errno));
    while (fgets(line, sizeof(line), file))
        if (sscanf(line, "VmRSS: %lf", &kib) == 1)
            break;
    fclose(file);
    return kib;
}

double ali_written_kib(pid_t pid)
{
    char path[64], line[256];
    double bytes = 0;
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/io", (int)pid);
    file = pid > 0 ? fopen(path, "re") : NULL;
    while (file && fgets(line, sizeof(line), file))
        if (sscanf(line, "write_bytes: %lf", &bytes) == 1)
            break;
    if (file)
        fclose(file);
    return bytes / 1024;
}

double ali_patience = 3;

void ali_wait_quiet(void)
{
    uint64_t begin_ns = ali_now_ns();

    while ((double)(ali_now_ns() - begin_ns) < ali_patience * 1e9) {
        uint64_t from_ns = ali_now_ns(), busy_ns = ali_cpu_machine_ns();

        ali_check_interrupted();
        usleep(QUIET_SLICE_US);
        busy_ns = ali_cpu_machine_ns() - busy_ns;
        if ((double)busy_ns < QUIET_SHARE * (double)(ali_now_ns() - from_ns))
            return;
    }
}

/* On a virtual machine the first touch of a page that the host has taken back costs microseconds;
 * who runs first would pay for who runs second. */
void ali_warm_memory(void)
{
    uint8_t *pages =
        mmap(NULL, WARM_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (pages == MAP_FAILED)
        return;
    for (size_t i = 0; i < WARM_BYTES; i += 4096)
        pages[i] = 1;
    munmap(pages, WARM_BYTES);
}
