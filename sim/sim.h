/* sim.h - the simulated world: one node, its disk, its clients, and the clock they share.
 *
 * Everything that happens is an action in one queue, ordered by simulated time and then by the
 * order in which it was scheduled. An action may draw random numbers and schedule further ones.
 * Nothing else moves the clock.
 *
 *   driver*.c   the node: core and store, kept running as the real runner does it
 *   net.c       connections: bytes that arrive late and in pieces, or not at all
 *   client.c    what all clients share; producer.c, consumer.c, tool.c, …: the roles
 *   ledger.c    what every client was told: the facts that the node must never contradict
 *   tap.c       watches every frame at the node and checks it against ledger and protocol
 *   lossy.c     frames that get lost, doubled, overtaken; missing.c: what a consumer makes of it
 *   parts.c     replies in parts: what is said, and what must come of it
 *   retain*.c   what streams keep, and its replay
 *   check.c     shadow journal, replay, corruption trials
 *   run.c       one seed: setup, safety phase, liveness phase, final account */
#ifndef AL_SIM_SIM_H
#define AL_SIM_SIM_H

#include "base/bytes.h"
#include "base/id.h"
#include "base/limits.h"
#include "base/time.h"
#include "core/node.h"
#include "faults.h"
#include "rand.h"
#include "sim_disk.h"
#include "store/store.h"
#include "trace.h"
#include "wire/messages.h"
#include <stdbool.h>

#define SIM_NONE        UINT32_MAX
#define SIM_AGENTS      8u
#define SIM_GROUPS      3u                        /* behind the agents: number SIM_AGENTS and up */
#define SIM_GROUP_TEMP  (SIM_AGENTS + SIM_GROUPS) /* a group that comes and goes */
#define SIM_CLIENTS     24u
#define SIM_CHANNELS    6u /* of a producer */
#define SIM_CONNS       48u
#define SIM_WALL_START  1700000000000ull
#define SIM_UID         1000u
#define SIM_FOREIGN_UID 1001u

struct sim;
struct sim_message;

/* ---- options and profile ----------------------------------------------------------------- */

/* Bugs that the simulator's own driver can make; the others are in core and store. */
#define SIM_MASTER_KEY 0x6b /* the key of sealed journals: this byte, 32 times */

enum sim_driver_plant {
    SIM_PLANT_EARLY_SEND = 1, /* frames leave before their batch is durable */
};

struct sim_options {
    uint64_t first_seed, last_seed;
    uint32_t steps; /* core events of the safety phase; 0: by seed */
    uint32_t jobs;
    bool verbose, live_trace;
    uint32_t core_plant;                  /* enum ali_plant */
    uint64_t store_plants, driver_plants; /* bits */
};

/* What a seed is like: drawn once at its start. Shares are per 1000 unless they say otherwise. */
struct sim_profile {
    uint32_t steps;
    uint32_t agents, producers, consumers, tools;
    uint32_t enrollers;        /* clients that come from elsewhere: 0 or 1 */
    uint32_t groups, groupers; /* groups, and clients that administer them */
    uint32_t schedulers;       /* clients that set schedules */
    uint32_t committers;       /* agents whose every effect is a commit: 0 or 1 */
    bool rules;                /* the rules of the permissions change all the time */
    bool shared;               /* receivers share the inboxes */
    uint32_t historians; /* clients that have streams keep what ended, and replay it: 0 or 1 */
    /* the node */
    uint32_t segment_bytes, first_segment_bytes, snapshot_bytes, carry_percent;
    uint32_t sealed_from; /* the start from which on the journal is sealed; 0: never */
    uint64_t capacity_bytes, reserve_bytes, dlq_bytes;
    struct al_policy policy;
    struct al_breaker_policy breaker;
    uint32_t records_max, dedup_max, dlq_max, inbox_max;
    uint64_t records_ttl_ms, dedup_ttl_ms;
    /* the load */
    uint32_t payload_max, publish_gap_us, window;
    uint32_t keyed, notify, ttl, due, volatile_, priorities, labels, of_kind;
    uint32_t ack_fail, nack, slow_handler, late_ack, extend, no_processed, parts;
    /* the faults: mean simulated milliseconds between two; 0: never */
    uint32_t power_cut_ms, kill_ms, conn_lost_ms, client_crash_ms, wall_jump_ms, corrupt_ms;
    uint32_t trial_ms, stall_ms, full_ms;
    bool short_jumps;   /* of the wall clock: seconds, not hours */
    uint32_t no_memory; /* per 100000 allocations */
    uint32_t duplicate_frame, garbage_frame;
    uint32_t lost_frame, overtaken_frame; /* publishes, where the channel repairs gaps */
    uint32_t gap_timeout_ms;
    uint32_t lost_delivery; /* likewise doubled and overtaken; of consumers */
    struct sim_disk_faults disk;
    uint32_t flush_us, slow_flush; /* usual time of a flush; share of slow ones */
    uint32_t net_us, chunk;        /* usual one-way delay; largest piece, 0: any */
};

/* ---- actions ----------------------------------------------------------------------------- */

typedef void sim_action_fn(struct sim *sim, uint32_t who, uint32_t generation);

struct sim_action {
    uint64_t at_ns, order;
    sim_action_fn *fn;
    uint32_t who, generation;
};

struct sim_queue {
    struct sim_action *heap;
    uint32_t count, cap;
    uint64_t order;
};

/* ---- connections ------------------------------------------------------------------------- */

struct sim_pipe {
    struct al_buf bytes; /* under way */
    bool scheduled, eof; /* eof: nothing follows `bytes` */
};

/* Bytes that the node has produced and that wait for a record to be durable. */
struct sim_gate {
    uint64_t lsn;
    size_t end; /* of its bytes in `held` */
};

struct sim_conn {
    uint32_t client, generation;
    bool client_side, node_side, node_closing; /* node_closing: close behind what is held */
    bool opened;                               /* the core knows it */
    bool broken;                               /* nothing moves any more, in either direction */
    bool deaf; /* the core has handed out CLOSE: nothing more is read */
    struct sim_pipe up, down;
    struct al_buf in; /* arrived at the node, not consumed yet */
    struct al_buf held;
    struct al_buf late; /* a delivery that waits to be overtaken */
    struct sim_gate *gates;
    uint32_t gate_count, gate_cap;
    uint64_t close_lsn;
    uint64_t issue_serial; /* of the certificate that is being made for it */
    /* As it was opened, or what has been said on it: the client may be on another one by now. */
    enum al_link link;
    uint32_t far_agent;
    uint64_t serial;
    uint8_t presented;
};

/* ---- the node and its driver ------------------------------------------------------------- */

/* A record as the driver handed it to the store. The shadow journal keeps all of them. */
struct sim_record {
    uint32_t type;
    uint32_t size;
    size_t offset;
};

struct sim_shadow {
    struct sim_record *list; /* record n has LSN n + 1 */
    size_t count, cap;
    struct al_buf bytes;
};

struct sim_read {
    bool used;
    uint64_t request;
    uint64_t *lsns;
    uint32_t count;
};

#define SIM_READS 64u

enum sim_carry_state { SIM_CARRY_NONE, SIM_CARRY_WAITS };

struct sim_driver {
    struct al_node *node;
    struct al_store *store;
    struct al_batch *batch; /* out */
    bool batch_flushed;     /* its flush returned 0, done has not been called */
    uint64_t batch_lsn;     /* newest record in it */
    struct al_effects effects;
    uint32_t generation; /* of this process; actions of an older one are void */
    bool up;
    uint64_t lsn;         /* newest record handed to the store */
    uint64_t durable_lsn; /* as al_store_done said */
    uint64_t sealed_lsn;  /* durable before the newest batch: carried by it */
    uint64_t tick_at_ns;  /* of the tick that is scheduled */
    uint64_t commit_lsn;  /* newest commit */
    bool has_commit;      /* the batch that is out has one */
    bool half_commit;     /* what was recovered last ends within a commit */
    bool take_scheduled, seal_scheduled, maintain_scheduled, clean_scheduled, disk_full;
    int poisoned;        /* what al_store_append said */
    uint64_t busy_at_ns; /* last time that there was something to write */
    struct al_snapshot_writer *writer;
    uint64_t snapshot_lsn, snapshot_after_ns;
    enum sim_carry_state carry_state;
    uint64_t carry_segment;
    uint64_t carry_lsn; /* release the segment when this is durable */
    struct sim_read reads[SIM_READS];
    struct al_buf scratch;
    struct al_store_report report;
    uint64_t starts, events;
    uint64_t vain_lsn; /* durable_lsn when the starts since then began */
    uint32_t vain_starts;
};

/* ---- clients ----------------------------------------------------------------------------- */

enum sim_role {
    SIM_PRODUCER,
    SIM_CONSUMER,
    SIM_TOOL,
    SIM_VANDAL,
    SIM_ENROLLER,
    SIM_GROUPER,
    SIM_SCHEDULER,
    SIM_COMMITTER,
    SIM_HISTORIAN,
    SIM_WARDEN
};

struct sim_client {
    uint32_t index;
    enum sim_role role;
    uint32_t conn, conn_generation; /* SIM_NONE: not connected */
    bool ready;                     /* WELCOME came */
    bool wake_scheduled;
    enum al_link link; /* how its next connection comes, and with what; LOCAL but for enrollers */
    uint64_t serial;
    char identity[64];
    uint32_t uid, life; /* life: grows with every crash */
    struct al_id instance;
    struct al_buf in;
    uint32_t next_request;
    void *role_state;
};

struct sim_ledger;
struct sim_acl;

/* ---- the world --------------------------------------------------------------------------- */

struct sim {
    uint64_t seed;
    const struct sim_options *options;
    struct sim_profile profile;
    struct sim_rand rand;
    uint64_t mono_ns;
    int64_t wall_shift_ms;
    uint64_t step;    /* core events so far */
    uint64_t idle_ns; /* since then every sender has all its answers; 0: not so */
    bool faults_on, load_on, failed, wall_jumped;
    bool acl_open;    /* the warden has let everybody talk to everybody */
    bool timers_off;  /* the last phase: schedules are removed */
    uint64_t calm_ns; /* since then there are no faults, 0 */
    char failure[600];
    bool alloc_may_fail, cut_planned;
    uint64_t alloc_bytes;
    struct al_alloc core_alloc;
    struct sim_queue queue;
    struct sim_trace trace;
    struct sim_tally tally;
    struct sim_disk *disk;
    struct sim_driver driver;
    struct sim_shadow shadow;
    struct sim_conn conns[SIM_CONNS];
    struct sim_client clients[SIM_CLIENTS];
    uint32_t client_count;
    struct sim_ledger *ledger;
    struct sim_acl *acl;
    struct { /* the gap of each channel that the node has asked for last, and since when */
        uint32_t generation;
        uint64_t start, since_ns;
    } gaps[SIM_CONNS][SIM_CHANNELS];
    uint32_t unanswered[SIM_CONNS]; /* the stream of which it asked in this step for what is not
                                       out, 0 */
};

/* The allocator of everything in the simulator but the core: never fails. */
extern const struct al_alloc sim_heap;
void *sim_xrealloc(void *ptr, size_t size);

/* world.c */
void sim_profile_draw(struct sim *sim);
/* Runs fn after delay_ns. */
void sim_after(struct sim *sim, uint64_t delay_ns, sim_action_fn *fn, uint32_t who,
               uint32_t generation);
/* Takes the next action out and moves the clock to it; false when there is none. */
bool sim_queue_pop(struct sim *sim, struct sim_action *ret_action);
/* A random time around mean_us, in nanoseconds; rarely ten times as long. */
uint64_t sim_delay(struct sim *sim, uint64_t mean_us);
/* A line of the trace: text with up to three arguments, see trace.h. */
void sim_note(struct sim *sim, const char *text, uint64_t a, uint64_t b, uint64_t c);
/* The first call decides: the run has failed; printf format. */
void sim_fail(struct sim *sim, const char *format, ...) __attribute__((format(printf, 2, 3)));
struct al_now sim_now(const struct sim *sim);
bool sim_chance(struct sim *sim, uint32_t permille);
/* The name of an agent; from SIM_AGENTS on, of a group. */
void sim_agent_name(uint32_t agent, char ret_name[16]);
/* The agent or group of this name; SIM_NONE. */
uint32_t sim_agent_find(struct al_str name);

/* net.c */
/* Connects a client; false when the node is down or full. */
bool sim_net_connect(struct sim *sim, struct sim_client *client);
/* After bytes were put into conn->up.bytes or conn->down.bytes. */
void sim_net_kick_up(struct sim *sim, uint32_t conn);
void sim_net_kick_down(struct sim *sim, uint32_t conn);
/* The connection breaks: what is under way is lost, both sides learn of it at their own time. */
void sim_net_break(struct sim *sim, uint32_t conn);
/* The client closes; what it sent before still arrives. */
void sim_net_close_by_client(struct sim *sim, struct sim_client *client);
/* The node closed its side, in order; or vanished. */
void sim_net_close_by_node(struct sim *sim, uint32_t conn);
void sim_net_node_gone(struct sim *sim);
void sim_net_free(struct sim *sim);

/* driver.c */
void sim_driver_start(struct sim *sim);
/* Gives one event to the core and carries out its effects. */
int sim_driver_step(struct sim *sim, struct al_event *event);
void sim_driver_bytes(struct sim *sim, uint32_t conn);
void sim_driver_open(struct sim *sim, uint32_t conn);
void sim_driver_closed(struct sim *sim, uint32_t conn);
/* Ends the process at this instant; the power goes as well if `cut`. Restarts later. */
void sim_driver_crash(struct sim *sim, bool cut, const char *why);
/* Stops the process in good order: everything is flushed first. */
void sim_driver_stop(struct sim *sim);
/* Releases frames whose records are durable. */
void sim_driver_release(struct sim *sim);
void sim_driver_free(struct sim *sim);
void sim_driver_config(struct sim *sim, struct al_node_config *ret_config);
void sim_driver_store_config(struct sim *sim, struct al_store_config *ret_config);
/* Recovers a node from a disk: what it finds is compared with the shadow journal. */
int sim_recover(struct sim *sim, struct sim_disk *disk, struct al_store_report *ret_report,
                struct al_node **ret_node, struct al_store **ret_store);
/* driver_io.c: schedules what the disk should do next. */
void sim_driver_pump(struct sim *sim);
void sim_driver_add_read(struct sim *sim, const struct al_effect *effect);
/* Checks -AL_E_NOMEM and others of the store's background calls: true if the process died. */
bool sim_driver_background_error(struct sim *sim, int r, const char *what);

/* breaker.c: checks what the node does against what it said of its breakers. */
void sim_breaker_reset(struct sim *sim);
void sim_breaker_notice(struct sim *sim, const struct al_effect *effect);
/* A message is given out under a new lease. */
void sim_breaker_deliver(struct sim *sim, uint32_t agent);
/* A record was handed out. */
void sim_breaker_record(struct sim *sim, uint32_t type, struct al_str payload);
/* After every step: none is open for too long. */
void sim_breaker_check(struct sim *sim);

/* acl_check.c: checks what the node does against the rules of the permissions. */
void sim_acl_free(struct sim *sim);
/* A record was handed out. */
void sim_acl_record(struct sim *sim, uint32_t type, struct al_str payload);
/* A crash has cut the journal: what is left says what the rules are. */
void sim_acl_rebuild(struct sim *sim);
/* A message is given out under a new lease. */
void sim_acl_deliver(struct sim *sim, const struct al_msg_deliver *m);

/* clients */
void sim_client_init(struct sim *sim, uint32_t index, enum sim_role role);
void sim_client_free(struct sim *sim, struct sim_client *client);
void sim_client_bytes(struct sim *sim, struct sim_client *client, const void *p, size_t n);
void sim_client_disconnected(struct sim *sim, struct sim_client *client);
/* Loses the memory of a client's process. */
void sim_client_crash(struct sim *sim, struct sim_client *client);
/* The buffer to put frames in, or NULL when not connected; then sim_client_sent. */
struct al_buf *sim_client_out(struct sim *sim, struct sim_client *client);
void sim_client_sent(struct sim *sim, struct sim_client *client);
/* Calls the role's wake function after delay_ns, once. */
void sim_client_wake(struct sim *sim, struct sim_client *client, uint64_t delay_ns);

/* check.c */
void sim_shadow_add(struct sim *sim, const struct al_effect *effect);
void sim_shadow_truncate(struct sim *sim, uint64_t last_lsn);
/* True if record lsn was written with this type and content. */
bool sim_shadow_is(const struct sim *sim, uint64_t lsn, uint16_t type, struct al_str payload);
void sim_check_replay(struct sim *sim);
void sim_check_copy(struct sim *sim);
void sim_check_corruption(struct sim *sim);
void sim_shadow_free(struct sim *sim);

/* lossy.c: publishes that get lost or overtaken on channels that repair gaps */
struct sim_lossy {
    uint8_t gaps;          /* flags of CHANNEL_OPEN; 0: nothing is lost here */
    struct al_buf late;    /* a frame that waits to be overtaken */
    uint64_t heard_ns;     /* the last answer */
    uint32_t last_message; /* number + 1 of the newest one drawn */
};
void sim_lossy_init(struct sim *sim, struct sim_lossy *lossy);
/* Puts the frame into the client's output, or not, or later. */
void sim_lossy_publish(struct sim *sim, struct sim_client *client, struct sim_lossy *lossy,
                       const struct al_msg_publish *m);
/* Notes which message was sent before this one on the channel. */
void sim_lossy_follows(struct sim *sim, struct sim_lossy *lossy, struct sim_message *message);
/* Puts what the node sends on its way to the client; some deliveries get lost, doubled, overtaken.
 */
void sim_lossy_down(struct sim *sim, uint32_t conn, struct al_str frames);
/* The checker, at the node: a gap ends in time. */
void sim_lossy_tap(struct sim *sim, uint32_t conn, const struct al_frame *frame);
/* Likewise: a receiver asks for deliveries; what is not out is recalled in the same step. */
void sim_lossy_asked(struct sim *sim, uint32_t conn, const struct al_msg_gap_nack *m);
void sim_lossy_step_end(struct sim *sim);
/* The checker: what a recipient was told of missing messages. */
void sim_lossy_deliver(struct sim *sim, const struct al_frame *frame);
void sim_lossy_account(struct sim *sim);

/* run.c */
/* Sometimes plans a power cut for the disk work that follows. */
void sim_faults_plan_cut(struct sim *sim);
struct sim_result {
    uint64_t seed, events, starts, trace_hash, messages, simulated_ms;
    struct sim_tally tally;
    bool failed;
    char failure[600];
};
/* Runs one seed from setup to the final account; prints the trace to `out` if it fails. */
void sim_run_seed(const struct sim_options *options, uint64_t seed, FILE *out,
                  struct sim_result *ret_result);
/* The run under way, for the handler of fatal signals; may be NULL. */
const struct sim *sim_run_current(void);

#endif
