/* node.h - the pure node: events in, effects out.
 *
 * A node is a fold over a journal. The core decides, hands out a record to persist, applies it to
 * its state at once, and goes on with the next event while the disk works. It makes no system call,
 * reads no clock, draws no randomness, starts no thread: the daemon, the embedded node, the
 * simulator and the fuzzers are drivers of this same code.
 *
 * Contract of the effects. They are carried out in order. Records get consecutive LSNs. Everything
 * that is sent waits for the newest record that existed when it was produced: a driver may write
 * the bytes of a SEND to its connection only when every PERSIST that was handed out before it (in
 * this call or an earlier one) is durable. So nobody ever sees a state that a crash could undo.
 *
 * Threads: one at a time; a node has no locks.
 *
 * Crash: a driver that dies forgets the node, and makes a new one from the newest snapshot
 * (al_node_load) and the records behind it (al_node_replay), then calls al_node_start. */
#ifndef AL_CORE_NODE_H
#define AL_CORE_NODE_H

#include "base/bytes.h"
#include "base/time.h"
#include <stdbool.h>

struct al_node;

/* Retry policy: one object for ack timeout, NACK, disconnect and crash (requirements D1, D2).
 * Delay before attempt n + 1 is min(base · factor^(n−1), cap) ± 20 % jitter. */
struct al_policy {
    uint32_t ack_timeout_ms; /* lease time of a stream's head; 1 … AL_LEASE_MAX_MS */
    uint32_t retry_base_ms;
    uint32_t retry_factor; /* 1 … 10 */
    uint32_t retry_cap_ms;
    uint32_t retry_max; /* retries after the first attempt; 0 … AL_RETRY_COUNT_MAX */
};

/* When the circuit breaker of a destination opens (requirement D9), and for how long. */
struct al_breaker_policy {
    uint32_t percent;         /* errors of the last minute; 0: never opens */
    uint32_t samples;         /* outcomes that are needed before; at least 1 */
    uint32_t call_timeout_ms; /* without ACK or EXTEND for so long: an error */
    uint32_t open_ms;         /* then a probe goes out */
    uint32_t own;             /* of a kind, 1: its messages have a breaker of their own */
};

/* What each stream to an agent keeps of what has ended well (requirement O4). */
struct al_retain {
    uint64_t count;  /* messages; 0: nothing is kept */
    uint64_t bytes;  /* payloads */
    uint64_t age_ms; /* since the end; 0: any */
};

struct al_kind_policy {
    struct al_str kind, title; /* must stay valid as long as the node */
    uint32_t priority;         /* default priority for senders; AL_PRIORITY_NONE */
    struct al_policy policy;
    struct al_breaker_policy breaker;
};

struct al_node_config {
    struct al_alloc alloc;
    uint8_t hash_seed[16]; /* of the hash tables: random per start, does not influence effects */
    uint64_t random_seed;  /* of jitter */
    uint32_t admin_uid;    /* may change the permissions, as root may; 0: only root */
    struct al_str name;    /* shown to clients; must stay valid */
    uint32_t payload_max;
    uint32_t records_max; /* finished delivery records and recent message ids kept */
    uint64_t records_ttl_ms;
    uint32_t dedup_max; /* idempotency keys kept */
    uint64_t dedup_ttl_ms;
    uint32_t dlq_max;         /* dead letters per agent */
    uint64_t dlq_bytes;       /* their payloads; what is out when it is full may still be added */
    uint32_t gap_timeout_ms;  /* then a gap in what a client sends ends by its channel's policy */
    uint64_t inbox_max;       /* pending messages per agent */
    uint32_t workflows_max;   /* workflows whose messages are numbered */
    uint32_t workflow_blocks; /* of 128 numbers that are not all processed, of all workflows */
    uint64_t workflow_ttl_ms; /* one that is not used for so long is forgotten */
    struct al_policy policy;
    struct al_breaker_policy breaker;
    struct al_str network;   /* identities are spiffe://NETWORK/...; empty: there are none */
    struct al_str addresses; /* where links are taken, shown to who makes a token */
    uint8_t authority[32];   /* SHA-256 of its certificate */
    struct al_retain retain; /* of agents that are created; count 0: nothing is kept */
    const struct al_kind_policy *kinds; /* defaults; what is registered counts before them */
    uint32_t kind_count;
    uint32_t plant; /* simulator builds: a planted bug (plants.h); 0 everywhere else */
};

/* Fills in every default but hash_seed, random_seed. */
void al_node_config_init(struct al_node_config *config, const struct al_alloc *alloc);

enum al_event_type {
    AL_EVENT_TICK,      /* time has passed: call at al_node_deadline_ns at the latest */
    AL_EVENT_OPEN,      /* a connection was accepted: conn, link, uid; REMOTE: data, serial */
    AL_EVENT_BYTES,     /* bytes came in on conn: data; see al_effects.consumed */
    AL_EVENT_CLOSED,    /* conn is gone; its number may be used again */
    AL_EVENT_READ_DONE, /* answer to a READ effect: request, status, records in the order asked */
    AL_EVENT_CARRY,     /* old records: those that still matter are persisted again */
    AL_EVENT_DISK,      /* disk_full changed */
    AL_EVENT_ISSUED,    /* answer to an ISSUE effect: conn, serial, status, data (al_issued) */
};

/* How a connection came. */
enum al_link {
    AL_LINK_LOCAL,  /* from this machine, as a user: uid */
    AL_LINK_REMOTE, /* with a certificate that was verified: identity (data) and serial */
    AL_LINK_JOIN,   /* with nothing: it may only use a token */
};

/* A journal record as it was persisted. */
struct al_record_view {
    uint64_t lsn;
    uint16_t type;
    struct al_str payload;
};

struct al_event {
    enum al_event_type type;
    struct al_now now;  /* never goes back in mono_ns; wall_ms may jump */
    uint32_t conn;      /* number chosen by the driver, dense: it indexes a table */
    enum al_link link;  /* OPEN */
    uint32_t uid;       /* OPEN: the peer's user, below AL_UID_REMOTE */
    uint64_t serial;    /* OPEN, ISSUED: of the certificate */
    struct al_str data; /* BYTES; OPEN: identity; ISSUED */
    uint64_t request;   /* READ_DONE */
    int status;         /* READ_DONE, ISSUED: 0 or a negative error */
    const struct al_record_view *records; /* READ_DONE, CARRY */
    uint32_t record_count;
    bool disk_full; /* DISK */
};

/* Owners from this number on are identities, not users of this machine. */
#define AL_UID_REMOTE 0x80000000u

/* Data of an ISSUED event: DER of a certificate and of the authorities, one behind the other. */
struct al_issued {
    struct al_str certificate, authorities;
};
/* Appends it. 0 or -AL_E_NOMEM. */
int al_issued_encode(struct al_buf *out, const struct al_issued *issued);
/* Views into data. 0 or -AL_E_INVALID. */
int al_issued_decode(struct al_str data, struct al_issued *ret_issued);

/* Record bytes after which the answer to a READ may end: a driver holds no more in memory. */
#define AL_READ_BYTES (1u << 20)

enum al_effect_type {
    AL_EFFECT_PERSIST, /* append record: lsn, record_type, data */
    AL_EFFECT_SEND,    /* write data to conn */
    AL_EFFECT_CLOSE,  /* close conn when what was sent before is written; AL_EVENT_CLOSED follows */
    AL_EFFECT_READ,   /* read records back: request, data is an array of uint64_t LSNs; the answer
                          may end behind the first two records that fill AL_READ_BYTES */
    AL_EFFECT_ISSUE,  /* make a certificate for conn: lsn is its serial, data the identity and,
                         behind record_type bytes, a PKCS#10 request; AL_EVENT_ISSUED follows, in
                         a later step */
    AL_EFFECT_NOTICE, /* something that people should know: record_type is an al_node_notice, conn
                         the length of its subject, at the beginning of data; the rest is the
                         detail; lsn is a number where the notice has one. May be ignored */
};

/* What happened; `subject` and `detail` of the notice. */
enum al_node_notice {
    AL_NOTICE_BREAKER_OPEN = 1, /* agent; kind */
    AL_NOTICE_BREAKER_HALF_OPEN,
    AL_NOTICE_BREAKER_CLOSED,
    AL_NOTICE_HEALTH_CHANGED, /* component; state and reason */
    AL_NOTICE_ALERT_FIRING,   /* alert; condition */
    AL_NOTICE_ALERT_OVER,
    AL_NOTICE_DEAD_LETTER,         /* agent; a DLQ_ROW body with its reason */
    AL_NOTICE_DEAD_LETTERS_MISSING /* none; lsn: so many more died and were not named */
};
/* Its name in a log: "breaker_open" and so on. */
const char *al_node_notice_name(unsigned notice);

struct al_effect {
    enum al_effect_type type;
    uint32_t conn;
    uint64_t lsn; /* PERSIST; READ: the request */
    uint32_t record_type;
    uint32_t size;
    size_t offset; /* data stands at effects->data.data + offset, size bytes */
};

struct al_effects {
    struct al_effect *list;
    size_t count, cap;
    struct al_buf data;
    bool failed;     /* memory ran out while they were made */
    size_t consumed; /* BYTES: how much of event.data was used; give the rest again, with more */
    const struct al_alloc *alloc;
};

/* Empty effects; `alloc` must stay valid. No allocation. */
void al_effects_init(struct al_effects *effects, const struct al_alloc *alloc);
/* Frees the memory; the effects are empty again. */
void al_effects_deinit(struct al_effects *effects);
/* Keeps the memory, forgets the content. */
void al_effects_clear(struct al_effects *effects);

/* A node without state. 0, -AL_E_NOMEM, -AL_E_INVALID (a setting out of range). */
int al_node_new(const struct al_node_config *config, struct al_node **ret_node);
/* Frees; NULL is accepted. */
void al_node_free(struct al_node *node);

/* Recovery, in this order: load every item of a snapshot, load_done, replay every record behind
 * it, start. Errors: -AL_E_NOMEM; -AL_E_DAMAGED: an item or record that cannot follow from what
 * came before; -AL_E_FORMAT: a type that this version does not know. */
int al_node_load(struct al_node *node, struct al_str item);
int al_node_load_done(struct al_node *node, uint64_t snapshot_lsn);
int al_node_replay(struct al_node *node, const struct al_record_view *record);
/* Begins a new epoch; effects hold its record. No frame may be handled before it. */
int al_node_start(struct al_node *node, struct al_now now, struct al_effects *ret_effects);

/* How long recovery took until the node could be started: a key figure. Before al_node_start. */
void al_node_set_recovery_ms(struct al_node *node, uint64_t recovery_ms);

/* Handles one event; fills ret_effects (cleared first). 0; everything that a client did wrong is
 * answered. What fails stops the node for good, without loss, since nothing of this step was handed
 * to anybody: -AL_E_NOMEM: not even an error answer could be made. -AL_E_DAMAGED: a record read
 * back does not fit the state. */
int al_node_step(struct al_node *node, const struct al_event *event,
                 struct al_effects *ret_effects);
/* When to call with AL_EVENT_TICK if nothing else happens; AL_NEVER_NS. */
uint64_t al_node_deadline_ns(const struct al_node *node);

/* Newest LSN handed out; the next PERSIST has the next one. */
uint64_t al_node_lsn(const struct al_node *node);
/* The epoch that al_node_start began: how often the node has been started. */
uint64_t al_node_epoch(const struct al_node *node);
/* How many records with LSN in [first, last] still hold something the state refers to (message
 * bodies, dead letters). Never too small; too large by what its neighbours in a 64-LSN bucket
 * hold. A segment with 0 that a snapshot covers can go; one with few is carried (AL_EVENT_CARRY).
 */
uint64_t al_node_live_count(const struct al_node *node, uint64_t first_lsn, uint64_t last_lsn);

/* Snapshots are taken beside the work: begin fixes the LSN, then next gives items in slices of
 * about `budget` bytes between events until it returns 0. What is changed meanwhile is written
 * out in its old form first. Each item is one al_node_load later; an item in the stream is
 * u32 length and then that many bytes. */
int al_node_snapshot_begin(struct al_node *node, uint64_t *ret_lsn);
/* 1: more to come; 0: that was all; -AL_E_NOMEM: the snapshot is given up. */
int al_node_snapshot_next(struct al_node *node, size_t budget, struct al_buf *out);
void al_node_snapshot_abort(struct al_node *node);

/* A hash of the durable state; equal states, equal hashes, on every machine. Slow: for tests. */
uint64_t al_node_state_hash(const struct al_node *node);

#endif
