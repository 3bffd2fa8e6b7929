/* runner_internal.h - the insides of a runner, shared by the files of src/node.
 *
 * Three threads. The *core thread* runs the loop and owns everything in struct al_runner that is
 * not marked otherwise. The *flush thread* sees one batch at a time. The *worker thread* sees one
 * job at a time. Batches and jobs change hands through mailboxes; whoever took one out owns it.
 *
 * Batches are numbered by the runner: 1, 2, 3 … At any moment at most two are not durable: the one
 * that is out to be flushed and the one that is being filled. Bytes for a connection wait for the
 * newest of them that existed when the core produced the bytes. So a connection needs at most two
 * gates, and no list of frames: only "up to this position after that batch". */
#ifndef AL_NODE_RUNNER_INTERNAL_H
#define AL_NODE_RUNNER_INTERNAL_H

#include "base/limits.h"
#include "node/runner.h"
#include "os/loop.h"
#include "os/stream.h"
#include "os/thread.h"

/* ---- limits of the runner ---------------------------------------------------------------- */

/* What one read takes at most, and the largest frame that needs no buffer of its own. */
#define ALI_INPUT_BYTES (256u << 10)
/* Partial frames of all connections together; who goes beyond is closed. */
#define ALI_INPUT_TOTAL_MAX (256u << 20)
/* A connection that does not read its answers is not read from beyond this, until half is gone.
 * More than the largest credit: a receiver's acks must come in while deliveries wait for it. */
#define ALI_OUTPUT_PAUSE (AL_CREDIT_BYTES_MAX + (16u << 20))
/* Room asked of the kernel for written answers. With its default of 208 KiB a receiver with 4096
 * messages in flight got them in small portions with a wake-up each and fell behind (968 instead of
 * 1100 thousand messages a second). */
#define ALI_SOCKET_ROOM (1 << 20)
/* Answers of all connections together; beyond it, whoever has more than its share of it (or than
 * ALI_OUTPUT_HOG) and gets still more is closed: its peer comes back and is given everything again.
 * So twice this is never reached. */
#define ALI_OUTPUT_TOTAL_MAX (512u << 20)
#define ALI_OUTPUT_HOG       (4u << 20)
/* The core does not run further ahead of the disk than this. */
#define ALI_BATCH_MAX (8u << 20)
/* Free buffers kept for reuse: so much always, so much while there is that much to do. A message to
 * a group of 16 is written 16 times; what 256 of them need is more than a mebibyte in a turn, and
 * taking fresh pages for it every time costs a third of the processor that a copy costs. */
#define ALI_BUFFERS_KEPT     (2u << 20)
#define ALI_BUFFERS_KEPT_MAX (8u << 20)
#define ALI_WARM_NS          (200 * AL_NS_PER_MS) /* after the last turn with that much to do */
#define ALI_SEAL_IDLE_NS     (100 * AL_NS_PER_MS)
#define ALI_STOP_NS          (5 * AL_NS_PER_SEC)
#define ALI_CLOSE_LINGER_NS  (5 * AL_NS_PER_SEC)
#define ALI_ACCEPT_PAUSE_NS  (100 * AL_NS_PER_MS) /* after running out of descriptors */
#define ALI_ACCEPT_LOG_NS    (10 * AL_NS_PER_SEC)
#define ALI_MAINTAIN_WAIT_NS AL_NS_PER_SEC /* after a failed preparation of segments */

#define ALI_ADDRESSES_ROOM 4096u /* text of all TCP addresses that are listened on */
/* Links from elsewhere whose handshake is not done: so many at a time, for so long each; and how
 * many are carried on in one turn of the loop (each takes up to a millisecond of it). */
#define ALI_GUESTS_MAX          256u
#define ALI_GUEST_NS            (5 * AL_NS_PER_SEC)
#define ALI_HANDSHAKES_PER_TURN 4u
#define ALI_JOIN_MS             10000u               /* a link that joins is closed after so long */
#define ALI_LINKS_IDLE_NS       (10 * AL_NS_PER_SEC) /* without links the clock is looked at */

/* ---- buffers.c --------------------------------------------------------------------------- */

#define ALI_BUFFER_CLASSES 6 /* 4 KiB, 16 KiB, 64 KiB, 256 KiB, 1 MiB, 4 MiB */

/* Bytes of one connection: data[begin, end) is in use. Without content it holds no memory. */
struct ali_buffer {
    uint8_t *data;
    size_t begin, end, cap;
};

/* Memory that is free stands in a list through itself. */
struct ali_spare {
    struct ali_spare *next;
};

/* The stock that all connections share. */
struct ali_buffers {
    const struct al_alloc *alloc;
    struct ali_spare *free_lists[ALI_BUFFER_CLASSES];
    size_t kept_bytes;
    bool is_pressed; /* there was more to do than ALI_BUFFERS_KEPT is for; cleared by the user */
};

/* An empty stock. */
void ali_buffers_init(struct ali_buffers *stock, const struct al_alloc *alloc);
/* Frees what was kept; no buffer may be in use. */
void ali_buffers_deinit(struct ali_buffers *stock);
/* Frees the largest until no more than so much is kept. */
void ali_buffers_trim(struct ali_buffers *stock, size_t kept_max);
/* Bytes that wait in the buffer. */
static inline size_t ali_buffer_size(const struct ali_buffer *buf)
{
    return buf->end - buf->begin;
}
/* Makes room for `more` bytes at the end; moves the content. 0 or -AL_E_NOMEM. */
int ali_buffer_reserve(struct ali_buffers *stock, struct ali_buffer *buf, size_t more);
/* Appends. 0 or -AL_E_NOMEM. */
int ali_buffer_put(struct ali_buffers *stock, struct ali_buffer *buf, const void *p, size_t n);
/* Gives the memory back and forgets the content. */
void ali_buffer_drop(struct ali_buffers *stock, struct ali_buffer *buf);

/* ---- peer.c ------------------------------------------------------------------------------ */

struct ali_gate {
    uint64_t batch; /* when this one is durable … */
    uint64_t end;   /* … everything up to this position may be written */
};

struct ali_peer {
    struct al_watch watch;
    struct al_stream stream; /* its descriptor is the one that is watched */
    struct al_runner *runner;
    uint64_t expire_ms;    /* wall clock: when its certificate ends, 0: it has none */
    struct ali_buffer in;  /* a frame that has not come in whole */
    struct ali_buffer out; /* answers; positions count from the connection's first byte */
    uint64_t sent;         /* position of out.data[out.begin] */
    uint64_t released;     /* position up to which may be written */
    struct ali_gate gates[2];
    uint64_t close_deadline_ns;
    uint32_t id;
    uint8_t gate_count;
    bool listed;  /* listed in the runner: has something to write or to wait for */
    bool blocked; /* the socket takes no more; waits for AL_LOOP_WRITE */
    bool paused;  /* too much output waits: not read from */
    bool mute;    /* the peer takes no answers any more; they are thrown away */
    bool closing; /* close when everything is written */
    bool joins;   /* it came with a token alone: nothing makes it last longer */
    bool dead;    /* waits to be freed; the descriptor is closed */
};

/* Four tables of the same length in one allocation: connections by number, and three lists that can
 * never hold more than all connections, so that adding to one cannot fail. */
struct ali_slot {
    struct ali_peer *conn; /* by number; NULL: free */
    struct ali_peer *listed;
    struct ali_peer *dead;
    uint32_t free_id;
};

/* Takes over fd. Closes it on failure. */
void ali_peer_open(struct al_runner *runner, int fd, uint32_t uid);
/* Takes over a stream whose handshake is done; `event` says who it is, `first` what came with it,
 * and at expire_ms it is closed. */
void ali_peer_open_link(struct al_runner *runner, struct al_stream stream, struct al_event *event,
                        uint64_t expire_ms, struct al_str first);
/* Its certificate was renewed and ends then. */
void ali_peer_renewed(struct al_runner *runner, uint32_t conn, uint64_t expire_ms);
/* Closes links whose certificate has ended. */
void ali_peers_expire(struct al_runner *runner, uint64_t wall_ms);
/* Appends an answer that must wait for `gate` (a batch number, 0: nothing). */
void ali_peer_send(struct ali_peer *conn, const void *p, size_t n, uint64_t gate);
/* Closes when everything sent before is written. */
void ali_peer_close_soon(struct ali_peer *conn);
/* Closes the descriptor now; the core is told at the end of the turn. */
void ali_peer_break(struct ali_peer *conn);
/* Writes what the durable batches allow, for all connections. */
void ali_peers_release(struct al_runner *runner);
/* Tells the core of broken connections and frees them; closes those that linger too long. True if
 * there were any. */
bool ali_peers_reap(struct al_runner *runner, uint64_t now_ns);
/* Closes and frees all, without telling the core. */
void ali_peers_deinit(struct al_runner *runner);
/* What comes in from now on stays in the sockets. */
void ali_peers_stop_reading(struct al_runner *runner);
/* True when no connection has anything left to write. */
bool ali_peers_are_drained(const struct al_runner *runner);

/* ---- listen.c ---------------------------------------------------------------------------- */

/* A socket that is listened on. */
struct ali_port {
    struct al_watch watch;
    struct al_listener listener; /* a Unix socket; fd -1: it is TCP */
    int tcp_fd;                  /* -1: it is a Unix socket */
    struct al_runner *runner;
};

/* Binds all sockets; on failure `why` is filled and nothing stays bound. TCP ones listen at once:
 * what comes early waits. */
int ali_ports_bind(struct al_runner *runner, const struct al_runner_config *config, char *why,
                   size_t why_size);
/* Begins to accept. Errors as ali_ports_bind. */
int ali_ports_start(struct al_runner *runner, char *why, size_t why_size);
/* Listens again after a pause for want of descriptors. */
void ali_ports_resume(struct al_runner *runner);
void ali_ports_close(struct al_runner *runner);
/* Takes in the socket pairs of al_runner_connect. */
void ali_connects_take(struct al_runner *runner);

/* ---- links.c ----------------------------------------------------------------------------- */

struct ali_guest;

/* A certificate on its way to the core. */
struct ali_issued {
    uint32_t conn;
    uint64_t serial, not_after_ms;
    int status;
    struct al_buf data;
    struct ali_issued *next;
};

/* Begins a handshake; takes over fd. */
void ali_guest_open(struct al_runner *runner, int fd);
/* Once a turn: ends what is too slow or has expired, renews the node's own certificate. */
void ali_links_run(struct al_runner *runner, struct al_now now);
/* When to call that at the latest. */
uint64_t ali_links_deadline_ns(const struct al_runner *runner);
/* Forgets all guests. */
void ali_links_close(struct al_runner *runner);
/* An ISSUE effect; and the answers, between steps. */
void ali_issue(struct al_runner *runner, const struct al_effect *effect, const uint8_t *data);
void ali_issued_run(struct al_runner *runner);

/* ---- worker.c ---------------------------------------------------------------------------- */

enum ali_job_type {
    ALI_JOB_READ,  /* records by LSN, for the core */
    ALI_JOB_CARRY, /* records by LSN, to be carried forward; may stop early */
    ALI_JOB_MAINTAIN,
    ALI_JOB_SNAPSHOT_WRITE,
    ALI_JOB_SNAPSHOT_COMMIT,
    ALI_JOB_SNAPSHOT_ABORT,
    ALI_JOB_STOP,
};

/* One piece of work; also carries its answer. Freed with ali_job_free. */
struct ali_job {
    enum ali_job_type type;
    int status;
    uint64_t request;    /* READ */
    struct al_buf lsns;  /* READ, CARRY: uint64_t each */
    struct al_buf views; /* answer: struct al_record_view each */
    struct al_buf data;  /* answer: payloads; SNAPSHOT_WRITE: the bytes */
    struct al_snapshot_writer *writer;
    struct ali_job *next; /* in the core's lists */
};

/* Jobs in order, through their own links. */
struct ali_job_list {
    struct ali_job *first, *last;
};

/* Appends a job that is in no list. */
void ali_job_list_push(struct ali_job_list *list, struct ali_job *job);
/* Takes the first job, NULL when there is none. */
struct ali_job *ali_job_list_pop(struct ali_job_list *list);

/* NULL when there is no memory. */
struct ali_job *ali_job_new(struct al_runner *runner, enum ali_job_type type);
/* Frees a job with its buffers; NULL is accepted. */
void ali_job_free(struct al_runner *runner, struct ali_job *job);
/* Starts the thread. */
int ali_worker_start(struct al_runner *runner);
/* Ends the thread after all jobs; their answers are thrown away. */
void ali_worker_stop(struct al_runner *runner);
/* Hands a job to the worker, in order; it comes back in ali_worker_take. */
void ali_worker_post(struct al_runner *runner, struct ali_job *job);
/* Hands on what waits for room; call every turn. */
void ali_worker_pump(struct al_runner *runner);
/* A finished job or NULL. */
struct ali_job *ali_worker_take(struct al_runner *runner);
/* READ effect: from memory at once if possible, otherwise by the worker. */
void ali_read_begin(struct al_runner *runner, uint64_t request, struct al_str lsns);

/* ---- journal.c --------------------------------------------------------------------------- */

/* Starts the flush thread. 0 or a negative error. */
int ali_journal_start(struct al_runner *runner);
/* Ends it; nothing may be out. */
void ali_journal_stop(struct al_runner *runner);
/* The batch that something produced now must wait for; 0: nothing. */
uint64_t ali_journal_gate(const struct al_runner *runner);
/* A PERSIST effect. */
int ali_journal_append(struct al_runner *runner, uint64_t lsn, uint32_t type, struct al_str data);
/* Hands out a batch if there is one and the disk is free. `quiet`: nothing else is to be done. */
void ali_journal_kick(struct al_runner *runner, bool quiet);
/* Takes back a flushed batch; true if there was one. */
bool ali_journal_poll(struct al_runner *runner);
/* Waits until nothing is out any more. */
void ali_journal_wait(struct al_runner *runner);
/* When to seal; AL_NEVER_NS. */
uint64_t ali_journal_deadline_ns(const struct al_runner *runner);
/* Seals if it is time, or at once if `now_ns` is AL_NEVER_NS. */
void ali_journal_seal(struct al_runner *runner, uint64_t now_ns);

/* ---- upkeep.c ---------------------------------------------------------------------------- */

/* How far the snapshot under way is. */
enum ali_snapshot_state { ALI_SNAP_NONE, ALI_SNAP_ITEMS, ALI_SNAP_WRITING, ALI_SNAP_COMMITTING };

#define ALI_RELEASE_MAX 64

struct ali_upkeep {
    enum ali_snapshot_state snapshot;
    struct al_snapshot_writer *writer;
    struct al_buf items; /* of the snapshot, not yet handed to the worker */
    size_t slice_bytes;  /* budget that keeps a slice within its time */
    uint64_t snapshot_lsn;
    uint64_t snapshot_bytes, last_snapshot_bytes;
    uint64_t snapshot_start_ns;
    uint64_t commit_gate;       /* the batch that must be durable before it is committed */
    unsigned writes_out;        /* SNAPSHOT_WRITE jobs under way */
    uint64_t snapshot_retry_ns; /* not before: after a failure */
    uint64_t snapshot_full_ns;  /* not before: while the disk is full */
    uint64_t committed_lsn[2];  /* of the newest two snapshots of this start */

    bool maintain_out;
    uint64_t maintain_retry_ns;

    bool sift;              /* closed segments are to be looked at */
    uint64_t carry_segment; /* 0: none */
    uint64_t carry_next, carry_last;
    bool carry_out;
    uint64_t release_ids[ALI_RELEASE_MAX];
    size_t release_count;
    uint64_t release_gate; /* the batch that must be durable before they go */
};

/* One slice of whatever housekeeping is due. True: call again without sleeping. */
bool ali_upkeep_run(struct al_runner *runner, uint64_t now_ns);
/* When to call again at the latest. */
uint64_t ali_upkeep_deadline_ns(const struct al_runner *runner);
/* A job of housekeeping came back; takes it over. */
void ali_upkeep_done(struct al_runner *runner, struct ali_job *job);
/* Begins a snapshot if `min_bytes` were written since the last one. */
void ali_upkeep_snapshot(struct al_runner *runner, uint64_t min_bytes);
void ali_upkeep_deinit(struct al_runner *runner);

/* ---- turn.c ------------------------------------------------------------------------------ */

/* Hands an event to the core and carries out the effects; nothing once the node has failed. */
void ali_runner_step(struct al_runner *runner, struct al_event *event);
/* Carries out runner->effects. */
void ali_runner_effects(struct al_runner *runner);
/* Ends the node: nothing is answered any more. The first error counts. */
void ali_runner_fail(struct al_runner *runner, int error, const char *what);
/* The core thread. */
void *ali_core_main(void *ctx);
/* Ends the other threads and closes everything; the struct itself stays. */
void ali_runner_close(struct al_runner *runner);

/* ---- the runner -------------------------------------------------------------------------- */

/* Figures for people, logged at debug level when the node stops. */
struct ali_counters {
    uint64_t turns, sleeps, steps, reads, bytes_in, bytes_out, writes;
    uint64_t batches, batches_inline, batch_bytes, records;
    uint64_t reads_cached, reads_disk, snapshots, carried;
};

/* A batch on its way to the flush thread and back. */
struct ali_flush {
    struct al_batch *batch;
    int status;
};

struct al_runner {
    struct al_alloc alloc; /* thread-safe */
    struct al_node *node;
    struct al_store *store;
    struct al_loop loop;
    struct al_doorbell bell; /* wakes the core thread; rung by any thread */
    struct al_watch bell_watch;
    struct al_effects effects;
    al_log_fn *log;
    void *log_ctx;
    uint64_t epoch;
    struct ali_counters counters;

    struct ali_buffers buffers;
    uint64_t warm_until_ns;           /* mono: large buffers are kept until then */
    uint8_t *input;                   /* ALI_INPUT_BYTES, shared by all connections */
    size_t input_bytes, output_bytes; /* of all connections */

    struct ali_slot *slots;
    uint32_t slot_cap, conn_end, free_id_count, listed_count, dead_count;
    uint32_t conn_count, conns_max, closing_count;
    uint64_t linger_check_ns;

    struct ali_port *ports;
    uint32_t port_count;
    struct al_network *network; /* NULL: nothing from elsewhere; the configuration's */
    char *addresses;            /* where links are taken, separated by commas */
    struct ali_guest *guests;
    uint32_t guest_count, link_count, handshakes_left;
    uint64_t links_refused, refused_log_ns, links_check_ns;
    struct ali_issued *issued;
    uint64_t accept_retry_ns; /* 0: not paused */
    uint64_t accept_log_ns;   /* running out of descriptors is not logged before */
    uint64_t turned_away, turned_away_log_ns;
    uint32_t own_uid;
    uint32_t *allowed_uids;
    uint32_t allowed_uid_count;

    struct ali_flush flush; /* owned by the flush thread while batch_out is set and not inline */
    bool batch_out;
    uint64_t batch_filling; /* number of the batch being filled */
    uint64_t batch_done;    /* newest durable batch */
    bool filling_dirty;     /* it has records */
    uint64_t seal_ns;       /* when to seal; AL_NEVER_NS */
    struct al_mailbox to_flush, from_flush;
    struct al_doorbell flush_bell;
    pthread_t flush_thread;
    bool flush_running;

    struct ali_job_list backlog; /* jobs that wait for room in the mailbox */
    uint32_t jobs_out;           /* in the mailboxes or in the worker's hands */
    struct ali_job stop_job;     /* so that stopping needs no memory */
    struct ali_job_list ready;   /* READ answers for the core */
    struct al_mailbox to_worker, from_worker;
    struct al_doorbell worker_bell;
    pthread_t worker_thread;
    bool worker_running;
    struct ali_upkeep upkeep;
    bool disk_full;
    uint64_t space_ns; /* when the disk's space was last looked at for its own sake */

    pthread_t core_thread;
    pthread_mutex_t join_lock; /* guards joined */
    bool joined;
    _Atomic int stop; /* any thread */
    uint64_t stop_deadline_ns;
    int result;    /* of al_runner_wait; not 0: the node has failed */
    bool stopping; /* draining */

    pthread_mutex_t lock;      /* guards what follows */
    bool closed;               /* no connects any more */
    _Atomic int connect_count; /* also read without the lock */
    int connects[16];
};

/* Logs; `fields` may be NULL. */
void ali_runner_log(const struct al_runner *runner, enum al_log_level level, const char *event,
                    const struct al_log_fields *fields);

#endif
