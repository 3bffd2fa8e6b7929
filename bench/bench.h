/* bench.h - what the parts of al_bench share.
 *
 * al_bench measures a real node as its clients see it, beside a floor: a server that does only
 * what no durable broker can avoid (floor.c). One single-threaded client speaks to both over the
 * same loop (work.c); what differs between them is a `struct bench_peer`: how to start the server
 * and how to write and read its frames. Figures are quoted as ratios of runs that took turns on
 * one machine, because absolute ones move with the machine.
 *
 * Units: times in nanoseconds unless a name says otherwise. Errors: a benchmark that cannot go on
 * says why and ends the process with 1 (ali_fail); servers that were started end with it. */
#ifndef AL_BENCH_BENCH_H
#define AL_BENCH_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define BENCH_PATH_MAX  512u
#define BENCH_WARM      300000u      /* messages after which the rings of a node are full */
#define BENCH_READ_SIZE (256u << 10) /* bytes per read, and of frames made before a write */

/* ---- util.c ------------------------------------------------------------------------------ */

/* Says what was wrong and ends the process with 1. */
void ali_fail(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));
/* Ends the process, with what it started, if a signal asked for that. */
void ali_check_interrupted(void);
/* Makes SIGINT and SIGTERM end the process that way. */
void ali_catch_signals(void);
/* CLOCK_MONOTONIC. */
uint64_t ali_now_ns(void);
uint64_t ali_wall_ms(void);
/* Memory or the end. */
void *ali_alloc(size_t size);
void *ali_realloc(void *ptr, size_t size);
/* A progress line on stderr, only where a person watches. */
void ali_note(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The random bytes that message `number` carries behind its first 16 (number, time). */
const uint8_t *ali_payload_at(uint64_t number);
/* Fills the pool of payload bytes; once, before everything else. */
void ali_payload_init(void);
/* CPU time that the process has used so far, all threads; 0 when it is gone. */
uint64_t ali_cpu_ns(pid_t pid);
/* CPU time that this machine has used so far, for all processes and the kernel. */
uint64_t ali_cpu_machine_ns(void);
/* KiB that the process has had written to disks so far; 0 when it is gone. */
double ali_written_kib(pid_t pid);
/* Resident memory in KiB. */
double ali_rss_kib(pid_t pid);
/* The same once background work has ended: when it does not change for a second. */
double ali_rss_settled(pid_t pid);
/* Waits until the machine is nearly idle, at most ali_patience seconds. */
void ali_wait_quiet(void);
extern double ali_patience;
/* A run during which others used more than so many percent of a core is made again, so often. */
#define BENCH_DISTURBED 20.0
#define BENCH_ATTEMPTS  3u
/* Touches and gives back fresh memory, so that the run that follows does not pay the host for it.
 */
void ali_warm_memory(void);

/* ---- rows.c: figures --------------------------------------------------------------------- */

/* Keeps one measured value; `pair` numbers the repetition. Texts must stay valid. */
void ali_row_add(const char *peer, const char *workload, size_t size, const char *metric,
                 double value, const char *unit);
/* Repetition that the rows added from here on belong to. */
void ali_row_set_pair(unsigned pair);
/* Makes ali_row_keep print. */
void ali_row_set_raw(bool raw);
/* Forgets the rows that were added since there were `count` of them: a run that is not to be used.
 */
size_t ali_row_count(void);
void ali_row_forget(size_t count);
/* The opposite: prints them if every run is to be printed. */
void ali_row_keep(size_t count);
/* The newest value of this metric, 0 if there is none. */
double ali_row_last(const char *metric);
/* Median over the repetitions; false if there is none. */
bool ali_row_median(const char *peer, const char *workload, size_t size, const char *metric,
                    double *ret_value);
/* Median over the repetitions of peer / base within one repetition; false if there is none. */
bool ali_row_ratio(const char *peer, const char *base, const char *workload, size_t size,
                   const char *metric, double *ret_value);
/* Prints one line: peer, workload, size, metric, value, unit, separated by tabs. */
void ali_row_print(const char *peer, const char *workload, size_t size, const char *metric,
                   double value, const char *unit);
/* Prints the medians of all rows of this workload and size, in the order they first came. */
void ali_row_print_medians(const char *workload, size_t size);

/* A set of times; sorts on demand. */
struct bench_times {
    uint32_t *us100; /* hundredths of a microsecond, at most 42 s */
    size_t count, cap;
};
void ali_times_init(struct bench_times *times, size_t cap);
void ali_times_deinit(struct bench_times *times);
/* Values beyond the capacity are left out: nothing grows while the clock runs. */
static inline void ali_times_add(struct bench_times *times, uint64_t ns)
{
    if (times->count < times->cap)
        times->us100[times->count++] = ns / 10 < UINT32_MAX ? (uint32_t)(ns / 10) : UINT32_MAX;
}
/* Adds rows <name>_p50, _p90, _p99 in microseconds. */
void ali_times_rows(struct bench_times *times, const char *peer, const char *workload, size_t size,
                    const char *name);

/* ---- link.c: connections ----------------------------------------------------------------- */

struct bench_buf {
    uint8_t *data;
    size_t start, end, cap; /* what is unread or unwritten is [start, end) */
};

struct bench_run;

struct bench_link {
    int fd;
    bool wants_out; /* EPOLLOUT is registered */
    bool is_consumer;
    unsigned in_flight; /* publishes without a receipt */
    uint64_t published; /* publishes so far */
    uint64_t sent_ns;   /* when the newest publish was made */
    struct bench_buf in, out;
    struct bench_run *run;
    uint8_t *frame; /* agentlink: the PUBLISH frame of this link, filled in per message */
    size_t frame_size;
    size_t key_at; /* agentlink: where the key stands in it */
    uint64_t salt; /* agentlink: makes message ids of this link differ from all others */
};

/* Room for n more bytes at data + end. */
uint8_t *ali_buf_room(struct bench_buf *buf, size_t n);
static inline size_t ali_buf_size(const struct bench_buf *buf)
{
    return buf->end - buf->start;
}

/* Connects: "unix:PATH" or "tcp:PORT" (loopback). NULL if nobody listens. */
struct bench_link *ali_link_open(const char *address, struct bench_run *run);
void ali_link_close(struct bench_link *link);
/* Registers with the run's epoll. */
void ali_link_watch(struct bench_link *link);
/* Writes what the socket takes; the rest when it is ready again. */
void ali_link_write(struct bench_link *link);
/* One read; true if there was something. */
bool ali_link_read(struct bench_link *link);
/* Set-up only: writes all, or waits until more has come in. false: nothing for 10 s, or gone. */
bool ali_link_write_all(struct bench_link *link);
bool ali_link_read_more(struct bench_link *link);

/* ---- work.c: one run --------------------------------------------------------------------- */

/* Idempotency keys of publishes: the message's number. */
enum bench_keys {
    BENCH_KEYS_NONE,
    BENCH_KEYS_NEW,   /* each is new to the node; acks carry a response */
    BENCH_KEYS_AGAIN, /* each was there before and is answered with that response */
};

/* What a message waits for besides its recipient. */
enum bench_later {
    BENCH_LATER_NO,
    BENCH_LATER_MIXED,    /* every second one expires far ahead, the others are scheduled */
    BENCH_LATER_DELAYED,  /* scheduled for a time far ahead */
    BENCH_LATER_EXPIRING, /* waits now and expires far ahead */
};

struct bench_run {
    const struct bench_peer *peer;
    size_t size;   /* payload bytes */
    bool tell_end; /* publishes ask for the end notice */
    enum bench_later later;
    enum bench_keys keys;
    const char *recipient; /* agent or group that is sent to */
    unsigned copies;       /* members of the group, each of which gets every message; otherwise 1 */
    uint64_t notices;      /* messages that the node made itself: acked, not counted */
    int epoll_fd;
    uint64_t sent, confirmed, received, acked, ended;
    uint8_t *seen; /* one bit per message */
    uint64_t seen_cap;
    struct bench_times confirm_times, receive_times;
    bool time_confirms; /* window 1 only: times are taken from link->sent_ns */
};

struct bench_server;

/* What drivers tell the run. */
void ali_run_confirmed(struct bench_link *link, unsigned count);
/* `copy` is the member's number below run->copies. */
void ali_run_received(struct bench_run *run, const uint8_t *payload, size_t size, unsigned copy);

struct bench_load {
    const char *workload; /* name in the rows */
    size_t size;          /* payload bytes */
    unsigned producers;
    unsigned window;   /* publishes without a receipt, per producer */
    double seconds;    /* publishes that long, then waits for the rest; 0: `messages` decide */
    uint64_t messages; /* 0: `seconds` decide */
    bool consume;      /* with a consumer */
    enum bench_later later;
    enum bench_keys keys;
    const char *recipient;
    unsigned members; /* 0: the recipient is an agent; otherwise a group with so many */
};
/* W1, W3 and filling: windows of publishes, one consumer that acks each by itself. Adds rows;
 * returns messages per second. */
double ali_run_load(const struct bench_server *server, const struct bench_load *load);
/* W2: one message at a time, from publish to the end of its ack and the sender's notice. */
void ali_run_cycle(const struct bench_server *server, size_t size, double seconds);
/* Receives and acks `messages` that ali_run_load left; all must come, in order, once. */
void ali_run_drain(const struct bench_server *server, const struct bench_load *load);

/* ---- peers: peer_floor.c, peer_agentlink.c ----------------------------------------------- */

struct bench_peer {
    const char *name;
    bool is_floor;
    bool is_tcp;
    void (*greet)(struct bench_link *link);
    /* Blocking set-up of a producer (by number) or consumer. */
    void (*open_producer)(struct bench_link *link, unsigned number);
    void (*open_consumer)(struct bench_link *link);
    /* Writes one publish of run->size bytes into link->out. */
    void (*publish)(struct bench_link *link, uint64_t number, uint64_t now_ns);
    /* Takes every whole frame in link->in, answers into link->out. */
    void (*parse)(struct bench_link *link);
};
extern const struct bench_peer ali_peer_floor_tcp, ali_peer_floor_unix, ali_peer_agentlink;

/* Makes streams between two agents, or groups, so that there are `count` of them. */
void ali_make_streams(const struct bench_server *server, unsigned count);
void ali_make_groups(const struct bench_server *server, unsigned count);

/* Writes the payload of message `number`: number, time, random bytes. */
static inline void ali_payload_write(uint8_t *out, size_t size, uint64_t number, uint64_t now_ns)
{
    __builtin_memcpy(out, &number, 8);
    __builtin_memcpy(out + 8, &now_ns, 8);
    __builtin_memcpy(out + 16, ali_payload_at(number) + 16, size - 16);
}

/* ---- server.c: processes ----------------------------------------------------------------- */

struct bench_server {
    const struct bench_peer *peer;
    pid_t pid;                    /* 0: not ours (--connect) */
    char dir[BENCH_PATH_MAX];     /* its own temporary directory */
    char address[BENCH_PATH_MAX]; /* unix:PATH or tcp:PORT */
    double ready_ms;              /* start to the line "ready" */
};
/* Where things are; set once. */
struct bench_places {
    char daemon[BENCH_PATH_MAX];
    char dir[BENCH_PATH_MAX];     /* temporary directories are made in here */
    char connect[BENCH_PATH_MAX]; /* address of a node that runs already, or empty */
};
extern struct bench_places ali_places;
/* Makes a directory, starts the server in it and waits until it is ready. */
void ali_server_start(struct bench_server *server, const struct bench_peer *peer);
/* Starts it again on the directory it had; after ali_server_kill. */
void ali_server_restart(struct bench_server *server);
/* kill -9; the directory stays. */
void ali_server_kill(struct bench_server *server);
/* SIGTERM, wait, remove the directory. */
void ali_server_stop(struct bench_server *server);

/* ---- floor.c, memory.c, report.c --------------------------------------------------------- */

/* The program `al_bench floor ADDRESS FILE`: does not return while it is well. */
int ali_floor_main(const char *address, const char *file);

/* W4: memory, start, recovery; `repeats` times. */
void ali_memory_measure(unsigned repeats, uint64_t backlog);
/* Memory of each of so many messages that merely wait, are delayed, can expire. */
void ali_entries_measure(unsigned count);
/* W1 beside a million messages that wait for a time, against W1 without; `pairs` times. */
void ali_timers_measure(unsigned pairs, double seconds);
/* The same beside 100,000 streams and 10,000 groups in which nothing happens, and their memory. */
void ali_idle_measure(unsigned pairs, double seconds);
/* W6: keyed sends against the same again, answered with the stored response; `pairs` times. */
void ali_duplicates_measure(unsigned pairs);
/* Time from a delivery's loss being noticeable until it is in the program's hand; `pairs` times. */
void ali_gap_repair_measure(unsigned pairs);
/* Prints the ratio rows of one workload. */
void ali_report_ratios(const char *workload, size_t size);
/* Compares what was measured with every bar; a table of figure, bar and verdict for people if
 * `print`. Returns how many are missed. */
unsigned ali_report_bars(bool print);

#endif
