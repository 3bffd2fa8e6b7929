/* state.h - the node's state: the data structures, first thing to read in this room.
 *
 * Every object has a durable half (`d`) and a volatile half (`v`). The durable half is changed only
 * by applying a record (apply.c) and is all that the fold, the snapshot and the state hash see. The
 * volatile half is what connections and leases need and is gone after a restart.
 *
 *   agent     a name with an inbox; dead letters; at most one receiver
 *   producer  a numbered source of messages; its high-water marks are tracks
 *   stream    (from, to, label, priority): order holds inside it; pending messages are runs
 *   track     (stream, producer): highest producer sequence taken - the first dedup layer
 *   mark      a pending message that needs an entry of its own: it can expire, or it is gone from
 *             the middle of its stream
 *   delayed   a scheduled message: no sequence yet
 *   letter    a dead letter
 *   kind      what holds for all messages of a kind
 *   group     a conversation: an agent called "group:NAME" whose messages go to all members
 *   history   of a stream: messages that have ended well and are kept for replay
 *   member    of a group; its stream is the one from the group to it
 *   workflow, numbering, number tag   numbers of messages with a workflow id: workflow.h
 *   rule      of the permissions: acl.h
 *   ids, ended, keys   rings: recent message ids, finished deliveries, idempotency keys
 *
 * Objects live in pools; an object is named by its reference (4 bytes), which never leaves the
 * node: records and frames use the numbers in the durable half. */
#ifndef AL_CORE_STATE_H
#define AL_CORE_STATE_H

#include "base/errors.h"
#include "base/id.h"
#include "base/index.h"
#include "base/limits.h"
#include "base/pool.h"
#include "base/recent.h"
#include "base/text.h"
#include "base/wheel.h"
#include "core/acl.h"
#include "core/health.h"
#include "core/node.h"
#include "core/object.h"
#include "core/plants.h"
#include "core/records.h"
#include "core/runs.h"
#include "core/workflow.h"
#include "wire/messages.h"

/* ---- agents ------------------------------------------------------------------------------ */

/* A list of flows, through a pair of pointers in them. */
struct ali_flow;
struct ali_flows {
    struct ali_flow *head, *tail;
};

/* By priority: the streams to an agent that have a message to push, and when the level was served
 * last. Made with the first stream to the agent: a group, or who only sends, has none. */
struct ali_levels {
    struct ali_flows ready[AL_PRIORITY_COUNT];
    uint64_t since_ms[AL_PRIORITY_COUNT]; /* mono */
};

struct ali_agent {
    struct ali_object object;
    struct {
        uint32_t id, uid;
        char *name; /* name_size bytes, allocated */
        uint64_t created_ms : 48, name_size : 8;
    } d;
    struct ali_inbox *inbox; /* ali_no_inbox: it is a group (agent.c) */
    struct {
        struct ali_list streams; /* streams to this agent */
        uint32_t channel_count;  /* channels open from or to it */
        uint32_t stream_count;   /* streams to it */
        ali_ref group;           /* it is this group, AL_REF_NONE: an ordinary agent */
    } v;
};

/* Somebody who receives for an agent, or may again for a while: attach.c. An inbox has one of its
 * own, for the exclusive receiver; it also holds what waits for no receiver in particular. Those
 * that share an inbox have one each, which lives as long as the session or its leases. */
struct ali_receiver {
    struct ali_receiver *next, *prev;           /* among those that share the inbox */
    struct ali_receiver *conn_next, *conn_prev; /* among those of the connection */
    ali_ref agent;
    uint32_t conn;             /* AL_REF_NONE: none at present */
    uint32_t session;          /* one more with every new session */
    bool is_shared;            /* not the inbox's own */
    bool has_session;          /* a session exists, perhaps without a connection for a while */
    bool keeps_leases;         /* the session said goodbye but its leases run on */
    struct al_id instance;     /* of the session */
    uint32_t ready_mask;       /* levels with a stream that has a message to push */
    struct ali_levels *levels; /* NULL: there was none yet */
    struct ali_flows busy;     /* streams with pushed messages */
    uint32_t credit, credit_bytes, lease_ms;
    uint32_t planned; /* messages being read back for it */
    uint32_t out;     /* messages pushed and not settled */
    uint32_t volatile_out;
    uint64_t out_bytes;
    uint64_t await_ms; /* mono: until then its instance may come back; 0: it is not awaited */
};

/* What an agent has and a group has not: messages, dead letters, a receiver. */
struct ali_inbox {
    struct {
        uint32_t value_count, value_bytes;
        uint64_t pending;   /* messages in its inbox, scheduled ones included */
        uint32_t key_count; /* idempotency keys it holds as a sender */
        uint32_t letter_count;
        uint64_t letter_bytes;   /* payloads of its dead letters */
        struct ali_list letters; /* by position */
        struct ali_list values;  /* its own state */
        struct al_retain retain; /* of each stream to it; count 0: nothing is kept */
    } d;
    struct {
        struct ali_receiver own;
        struct ali_receiver *shared; /* those who share it, next to be served first; NULL: nobody */
        uint32_t shared_count;
        uint32_t member_count;       /* groups it is a member of */
        uint64_t delayed;            /* of pending: scheduled */
        struct al_timer timer;       /* of the receiver that is awaited the shortest */
        bool dirty;                  /* on the node's list of agents to pump */
        uint8_t gate;                /* state of its breaker; not 0: ask before a push */
        struct ali_breaker *breaker; /* its own, then those of kinds; NULL: no outcome yet */
    } v;
};

/* ---- streams ----------------------------------------------------------------------------- */

#define ALI_STREAM_FLAGS_MAX 15u

/* Failed attempts of the head of a stream. */
struct ali_trouble {
    uint64_t attempt_ms; /* wall clock of the last one */
    uint64_t due_ms;     /* wall clock before which the head waits for its next attempt, 0 */
    struct al_buf log;   /* ATTEMPT bodies, each behind a u16 length */
};

struct ali_stream {
    struct ali_object object;
    struct {
        uint32_t id;
        ali_ref from, to;      /* agents */
        ali_ref history;       /* what has ended well and is kept, AL_REF_NONE */
        ali_ref numbering;     /* workflow numbers of its messages, AL_REF_NONE: none had one */
        uint32_t mark_count;   /* marks on pending messages of this stream */
        uint32_t gone_count;   /* pending entries that have ended already */
        uint32_t letter_count; /* dead letters and scheduled messages that refer to the stream */
        uint32_t key_count;    /* keys of messages that have not ended */
        uint32_t moved_count;  /* pending or dead messages whose record names another sequence:
                                  scheduled or redriven ones; never too small */
        uint16_t attempts;     /* failed attempts of the head */
        uint8_t priority : 4, flags : 4;
        uint8_t label_size;
        char *label;          /* label_size bytes, allocated */
        uint64_t prev_seq;    /* last sequence that ended well, 0 */
        uint64_t used_ms;     /* wall clock of the last change */
        struct ali_runs runs; /* pending messages */
        struct ali_list tracks;
        struct ali_trouble *trouble; /* NULL: no attempt of the head has failed */
    } d;
    struct {
        struct ali_link link; /* among the streams to the agent */
        ali_ref member;       /* whose it is, if it comes from a group; AL_REF_NONE */
        ali_ref lane;         /* of an unordered stream or a lane: lanes.c; AL_REF_NONE */
        uint32_t channel_count;
        uint32_t watch_count;  /* connections that wait for the end of one of its messages */
        struct ali_flow *flow; /* ali_no_flow while nothing is pending (flow.c) */
    } v;
};

/* What a stream needs while messages of it are pending: flow.c. */
struct ali_flow_link {
    struct ali_flow *prev, *next;
};
struct ali_flow {
    ali_ref stream;                /* AL_REF_NONE: the stream is gone */
    struct ali_receiver *receiver; /* who has its messages; the inbox's own: nobody in particular */
    bool is_ready, is_busy, is_held; /* is_held: the head waits for its retry time */
    bool is_blocked;                 /* by the breaker of a kind */
    bool is_loose;                   /* its stream ran empty in this step, or is gone */
    struct ali_flow *next_loose;     /* also among those kept for later */
    struct ali_flow_link ready;      /* in the agent's levels */
    struct ali_flow_link busy;       /* among those of the agent with messages out */
    uint32_t planned;                /* messages that `reading` reads */
    uint32_t misses;                 /* reads in a row that found nothing */
    uint64_t reading;                /* outstanding READ request, 0 */
    /* A receiver came back: its messages again_next to again_end are sent once more. */
    uint64_t again, again_next, again_end; /* again: outstanding READ request, 0 */
    struct ali_cursor next;                /* next message to push */
    uint64_t seen_seq;                     /* up to here they were possibly given out before */
    struct ali_push *pushed;               /* ring of messages given out, oldest first */
    uint32_t pushed_first, pushed_count, pushed_cap;
    uint32_t session;  /* of the receiver when they were given out */
    uint64_t lease_ms; /* mono deadline of the head's lease; lazy: the timer may be earlier */
    uint64_t call_ms;  /* mono: the head counts as an error then; 0: it has; UINT64_MAX: never */
    struct al_timer timer; /* lease of the head, or its retry */
};

/* What of a stream has ended well and can be replayed (history.c). */
struct ali_kept {
    uint64_t seq, lsn, end_ms;
    uint32_t bytes; /* payload */
};
struct ali_history {
    struct ali_object object;
    struct {
        ali_ref stream;
        uint64_t from_seq;     /* nothing that ended well from here on is missing */
        uint64_t gone_ms;      /* end of the newest message that was forgotten, 0 */
        uint64_t moved_seq;    /* no record of a later one names another sequence */
        uint64_t bytes;        /* payloads kept */
        struct al_buf entries; /* struct ali_kept by sequence, */
        uint32_t first;        /* of which so many at the beginning are forgotten */
    } d;
};

/* Circuit breaker of a destination (breaker.c). */
enum { ALI_BREAKER_CLOSED, ALI_BREAKER_OPEN, ALI_BREAKER_HALF_OPEN };
#define ALI_BREAKER_SLOTS 6u
struct ali_breaker {
    struct ali_breaker *next;
    uint8_t state;
    uint16_t kind; /* metrics row of the kind whose own it is; UINT16_MAX: the agent's */
    uint32_t ok[ALI_BREAKER_SLOTS], errors[ALI_BREAKER_SLOTS]; /* outcomes by time */
    uint64_t slot;         /* number of the newest slot: mono time over its length */
    uint64_t since_ms;     /* wall clock of the last change */
    uint64_t until_ms;     /* mono: end of the open state; half-open: when to look again */
    uint64_t opened;       /* how often it has opened */
    ali_ref probe;         /* half-open: stream of the probe, AL_REF_NONE */
    uint64_t probe_lease;  /* its lease */
    struct al_timer timer; /* of the agent's breaker, for all of the list */
};

/* A message given out: what its end needs to know. */
struct ali_push {
    uint64_t seq, lsn, lease, producer;
    struct al_id id;
    uint64_t admitted_ms;
    uint32_t bytes;
    uint32_t lease_ms; /* lease time of this message */
    uint64_t hard_ms;  /* mono: no extension beyond, set when its clock starts */
    uint16_t kind;     /* metrics row */
    bool notify;
    uint16_t retrying; /* the receiver's own count, from EXTEND */
};

/* ---- groups ------------------------------------------------------------------------------ */

/* A piece of a group's history that is forgotten as one. */
struct ali_slice {
    uint64_t first_seq, first_ms, last_ms, bytes;
};

/* A sender waits for the end of a message at every member. */
struct ali_watch {
    uint64_t seq, producer; /* producer 0: whoever asked with END_WATCH */
    uint32_t stream, conn, conn_serial;
    struct al_id id;
};

#define ALI_SLICES_MAX 8192u /* AL_GROUP_SLICES and a few are what there really are */

struct ali_group {
    struct ali_object object;
    struct {
        ali_ref agent;        /* the agent of the same name: recipient of what is posted */
        uint32_t slice_count; /* at most ALI_SLICES_MAX */
        uint64_t keep_ms, keep_count, keep_bytes; /* of the history; 0: no limit */
        uint64_t bytes;                           /* envelopes in the history */
        uint8_t hash[32];                         /* of the newest message: the end of the chain */
        struct ali_runs history;  /* its next sequence is that of the next message */
        struct ali_slice *slices; /* of the history, oldest first */
        struct ali_list members;  /* former ones with mail included */
    } d;
    struct {
        struct ali_watch *watches; /* by sequence */
        uint64_t watch_count : 17, watch_cap : 17, slice_cap : 14;
        uint64_t member_count : 16; /* without the former ones */
    } v;
};

struct ali_member {
    struct ali_object object;
    struct {
        ali_ref group, stream;
        uint64_t joined_seq, left_seq; /* first message it got; the one that told of its leaving */
        struct ali_link of_group;
    } d;
};

/* ---- producers --------------------------------------------------------------------------- */

struct ali_producer {
    struct ali_object object;
    struct {
        uint64_t id;
        uint32_t epoch, uid;
        uint64_t used_ms;
        struct ali_list tracks;
        ali_ref commits; /* AL_REF_NONE: it has never committed */
    } d;
    struct {
        uint32_t conn;        /* the newest connection that opened it, AL_REF_NONE */
        struct ali_link link; /* among those of the connection */
    } v;
};

/* Producer sequences that were given up. Those further back than a window reaches cannot be asked
 * about any more and are forgotten; of more gaps than this in one window the oldest run together.
 */
#define ALI_HOLES_MIN 4u
#define ALI_HOLES_MAX 256u
struct ali_hole {
    uint64_t first, last;
};
struct ali_holes {
    uint32_t count, cap;
    struct ali_hole list[]; /* cap of them; the numbers rise */
};

struct ali_track {
    struct ali_object object;
    struct {
        ali_ref stream, producer;
        uint64_t high;              /* highest producer sequence taken */
        uint64_t run_pseq, run_seq; /* from run_pseq on: seq = run_seq + (pseq - run_pseq) */
        struct ali_holes *holes;    /* given up in gaps; NULL: none */
        uint16_t untold;            /* given up, and not yet counted in the record of a message */
        struct ali_link of_stream, of_producer;
    } d;
};

/* ---- single messages --------------------------------------------------------------------- */

struct ali_mark {
    struct ali_object object;
    struct ALI_DENSE {
        ali_ref stream;
        struct al_id id;
        uint64_t seq, producer;
        uint64_t wall_ms : ALI_TIME_BITS, expire_ms : ALI_TIME_BITS;
        uint64_t bytes : ALI_BYTES_BITS; /* payload; it and times are 0 if only marked as gone */
        uint64_t gone : 1, notify : 1;
    } d;
    struct {
        struct al_timer timer;
        uint16_t kind;
    } v;
};

struct ali_delayed {
    struct ali_object object;
    struct ALI_DENSE {
        ali_ref stream;
        struct al_id message_id;
        uint64_t id : ALI_NUMBER_BITS;  /* LSN of its PUBLISH */
        uint64_t lsn : ALI_NUMBER_BITS; /* where the record stands now */
        uint64_t producer : ALI_NUMBER_BITS;
        uint64_t wall_ms : ALI_TIME_BITS, due_ms : ALI_TIME_BITS, expire_ms : ALI_TIME_BITS;
        uint64_t bytes : ALI_BYTES_BITS, notify : 1; /* payload */
    } d;
    struct {
        struct al_timer timer;
    } v;
};
_Static_assert(sizeof(struct ali_mark) == 80 && sizeof(struct ali_delayed) == 80, "object.h");

struct ali_letter {
    struct ali_object object;
    struct {
        uint64_t position;
        ali_ref agent, stream;
        uint64_t seq, lsn, dead_lsn; /* the message; the DEAD record */
        uint64_t dead_ms;
        struct al_id id;
        uint32_t bytes; /* payload; 0: a version that did not count them wrote it */
        uint16_t attempts, code;
        struct ali_link link;
    } d;
};

/* A message that the node sends again and again. Its producer is the node's own; the producer
 * sequence of each message is the wall clock of the firing, so that the producer's track says what
 * was fired last, with the message itself. */
struct ali_schedule {
    struct ali_object object;
    struct {
        uint8_t name_size, text_size;
        char name[AL_NAME_MAX], text[AL_SCHEDULE_TEXT_MAX];
        ali_ref stream;
        uint64_t producer;
        uint32_t uid;
        uint64_t wall_ms, until_ms, ttl_ms;
        uint8_t *envelope; /* envelope_size bytes, allocated */
        uint32_t envelope_size;
        bool of_kind; /* each message goes where its kind's priority is then: of_kind.c */
    } d;
    struct {
        struct al_timer timer;
        uint16_t code; /* why the firing that is due waits, 0 */
    } v;
};

/* One value of an agent's own state; and the last commit of a producer. */
struct ali_kv {
    struct ali_object object;
    struct {
        ali_ref agent;
        uint32_t size; /* of the value */
        uint8_t key_size;
        uint8_t *bytes; /* the key, behind it the value */
        struct ali_link link;
    } d;
};
struct ali_commits {
    struct ali_object object;
    struct {
        ali_ref producer;
        uint64_t cseq;
    } d;
};

/* A commit that is being replayed: its records wait until the last one is there. */
struct ali_held_commit {
    bool active;
    uint32_t left;
    uint64_t next_lsn;
    struct al_buf records; /* {u16 type, u32 size, payload} */
};

/* Ring entries. */
struct ali_recent_id {
    struct al_id id;
    uint64_t seq;
    uint32_t stream;
};
struct ali_ended {
    uint64_t number; /* of the entry in its ring */
    uint64_t seq, end_ms;
    uint64_t lsn; /* ACK or DEAD record that holds reason, response, history; 0: it had none */
    uint32_t stream;
    uint16_t attempts, code;
    uint8_t state;
    uint32_t workflow_seq; /* its number in its workflow, 0: it had none */
};
#define ALI_KEY_SCHEDULED    (1ull << 63) /* in seq: number of a scheduled message, not a sequence */
#define ALI_KEY_TIME_MAX     ((1ull << 48) - 1)
#define ALI_KEY_ATTEMPTS_MAX 0xfffu
struct ali_key {
    uint8_t key[16], body[8]; /* digests of (sender, key) and of the message */
    uint64_t seq, wall_ms;
    uint64_t lsn; /* the ACK record that holds the answer, 0: there is none */
    uint64_t end_ms : 48, attempts : 12, state : 4; /* how it ended; state 0: it has not */
    uint32_t stream, agent;                         /* the message; the sender's number */
};

/* ---- connections ------------------------------------------------------------------------- */

struct ali_channel {
    bool open, held;
    bool failing; /* a gap of policy `fail` is being ended: what is admitted is not pushed */
    uint8_t gaps; /* AL_GAPS_… */
    ali_ref gap;  /* in al_node.gaps; AL_REF_NONE: nothing is missing */
    ali_ref stream, track, producer;
    uint64_t next_pseq;
    uint64_t producer_id;
    uint32_t acl_generation; /* the last message was allowed by these rules, 0 */
    uint16_t kind;           /* metrics row of the last message */
    uint8_t kind_size;
    char kind_name[AL_KIND_MAX];
};

/* Receipts that are still to be sent, as one run. */
struct ali_receipt_run {
    uint32_t channel, stream, count;
    uint64_t pseq, seq;
    uint8_t durability, duplicate;
};

struct ali_conn {
    uint32_t number, uid;
    uint32_t identity; /* reference of who it came as, AL_REF_NONE: from this machine */
    uint64_t issuing;  /* serial of the certificate that it waits for, 0: none */
    uint32_t issue_of, issue_request; /* then: the identity; the client's number */
    bool joins;                       /* it came with nothing but a token, and may only use that */
    bool ready;                       /* HELLO was taken */
    bool closing;                     /* CLOSE was handed out: nothing more is read */
    struct al_id instance;
    struct ali_channel **channels; /* by channel number - 1; NULL: not open */
    uint32_t channel_cap;
    struct ali_receipt_run run;
    struct ali_receiver *receivers; /* attached here, newest first */
    struct ali_list producers;      /* opened here */
    uint32_t attach_count, producer_count;
    struct ali_list watches; /* ends that it waits for */
    uint32_t watch_count;
    uint64_t parked_bytes; /* held in reorder buffers */
};

/* A PUBLISH that came before its turn. */
struct ali_parked {
    uint64_t pseq;
    uint32_t size;
    uint8_t body[];
};

/* A channel that misses messages: gaps.c. */
struct ali_gap {
    uint32_t conn, channel;
    uint64_t high;     /* highest producer sequence that has been seen */
    uint64_t begun_ms; /* mono: since then the first missing one is missing */
    uint64_t first;    /* the first missing one then */
    uint32_t pause_ms; /* before the next GAP_NACK */
    uint32_t count, bytes;
    struct ali_parked *parked[AL_REORDER_MESSAGES_MAX]; /* by pseq */
    struct al_timer timer;
};

/* A connection waits for the end of a message that it did not send itself: waiters.c. */
struct ali_waiter {
    uint32_t conn, stream;
    uint64_t seq;         /* as in ali_key: of a scheduled message with ALI_KEY_SCHEDULED */
    struct al_id id;      /* under which it asked; zero: by the place */
    struct ali_link link; /* among those of the connection */
};

/* An answer that waits for records to be read back. */
enum ali_read_kind {
    ALI_READ_STREAM,
    ALI_READ_AGAIN,
    ALI_READ_END,
    ALI_READ_RECORD,
    ALI_READ_LETTER,
    ALI_READ_CANCEL,
    ALI_READ_KEY,
    ALI_READ_GROUP,
    ALI_READ_REPLAY
};
struct ali_read {
    uint64_t
        request; /* of the READ effect: a number of its own above, its place in the lower half */
    enum ali_read_kind kind;
    uint32_t conn, conn_serial, client_request;
    uint32_t stream;
    uint64_t seq;
    uint64_t lsn;    /* of the record that holds an end */
    struct al_id id; /* as far as it is known */
};

/* What holds for the messages of a kind; points into a kind or the configuration. */
struct ali_terms {
    const struct al_policy *policy;
    const struct al_breaker_policy *breaker;
    uint8_t priority; /* AL_PRIORITY_NONE: none of its own */
};

/* Counters of one kind of message. */
struct ali_metric {
    uint8_t name_size;
    char name[AL_KIND_MAX];
    uint64_t sent, success, failure, retries, latency_sum_ms;
    uint64_t latency[AL_LATENCY_BUCKETS]; /* ends by latency: kind.c has the bounds */
    struct ali_terms terms;               /* kept in step by ali_terms_refresh */
};

/* A registered kind. */
struct ali_kind {
    struct ali_object object;
    struct {
        uint32_t uid; /* who registered it first */
        uint8_t name_size, title_size, priority;
        char name[AL_KIND_MAX], title[AL_KIND_TITLE_MAX];
        struct al_policy policy;
        struct al_breaker_policy breaker;
    } d;
};

/* Acks of one stream that are still to be persisted, as one record. */
struct ali_ack_run {
    ali_ref stream;
    uint32_t agent_id, stream_id, conn, count;
    uint64_t first_seq, last_seq;
};

/* A snapshot that is being taken: snapshot.c. */
enum ali_part {
    ALI_PART_META,
    ALI_PART_AGENT,
    ALI_PART_PRODUCER,
    ALI_PART_STREAM,
    ALI_PART_TRACK,
    ALI_PART_MARK,
    ALI_PART_DELAYED,
    ALI_PART_LETTER,
    ALI_PART_ID,
    ALI_PART_ENDED,
    ALI_PART_KEY, /* old form of KEYED */
    ALI_PART_KIND,
    ALI_PART_SCHEDULE,
    ALI_PART_KEYED,
    ALI_PART_KV,
    ALI_PART_COMMITS,
    ALI_PART_GROUP,
    ALI_PART_MEMBER,
    ALI_PART_HISTORY,
    ALI_PART_WORKFLOW,
    ALI_PART_NUMBERING,
    ALI_PART_NUMBER_TAG,
    ALI_PART_RULE,
    ALI_PART_IDENTITY,
    ALI_PART_COUNT
};
struct ali_kept_key {
    uint64_t number;
    struct ali_key old;
};
struct ali_snapshot {
    bool active, failed;
    uint32_t number;                     /* compared with ali_object.snapshot */
    unsigned part;                       /* being walked */
    uint64_t at[ALI_PART_COUNT];         /* next reference or ring number of each */
    uint64_t end[ALI_PART_COUNT];        /* one past the last of each when the snapshot began */
    struct al_buf early[ALI_PART_COUNT]; /* old forms of what was changed before its turn */
    /* Keys are loaded in their order: those that changed wait here for their turn. */
    struct ali_kept_key *kept;
    uint32_t kept_count, kept_cap;
    struct al_index kept_index;
};

/* What the log was told of dead letters in the stretch of time that began at since_ms (mono). */
struct ali_letter_log {
    uint64_t since_ms, missing; /* missing: not named */
    uint32_t lines;
};

/* Counters over all kinds, since this start. */
struct ali_counters {
    uint64_t accepted, delivered, failed, retried, redelivered, duplicates, refused, expired,
        volatile_sent, volatile_dropped, replayed, parts, parts_dropped, parts_refused, commits,
        commits_repeated, commits_refused, asked_again, links_refused;
};

struct al_node {
    struct al_node_config config;
    struct al_alloc alloc; /* counts into state_bytes, then asks config.alloc */
    uint64_t state_bytes;
    struct {
        uint64_t lsn; /* newest record applied */
        uint64_t epoch;
        uint32_t next_agent, next_stream, next_identity;
        uint64_t next_producer, next_position;
        uint64_t kept;         /* messages in all histories */
        uint64_t letter_bytes; /* payloads of all dead letters */
        struct al_recent ids, ended, keys;
    } d;
    struct al_pool agents, streams, producers, tracks, marks, delayed, letters, kinds, schedules,
        values, commits, groups, members, histories, identities;
    struct ali_workflows flows;
    struct ali_acl acl;
    struct al_pool gaps;  /* volatile */
    struct al_pool lanes; /* of unordered streams; what is durable of them is in the streams */
    struct al_index agent_names, agent_ids, identity_names, stream_ids, stream_keys, producer_ids,
        track_keys, mark_keys, delayed_ids, letter_ids, schedule_names, key_places, value_keys;
    struct {
        struct al_now now;
        uint64_t start_ms;
        bool started, disk_full, loading;
        struct al_effects *effects; /* of the call under way */
        struct ali_conn **conns;
        uint32_t conn_cap, conn_count;
        uint32_t *conn_serials; /* one more with every use of a connection number */
        struct al_wheel wheel;
        struct ali_ack_run acks;
        ali_ref *dirty; /* agents to pump at the end of the step */
        uint32_t dirty_count, dirty_cap;
        struct ali_flow *loose_flows; /* to be given back at the end of the step */
        struct ali_flow *spare_flows; /* kept for the next stream that gets a message */
        uint32_t spare_flow_count;
        struct al_pool reads; /* outstanding */
        uint64_t read_count;  /* since the start */
        uint64_t lease_counter;
        uint64_t random;
        struct ali_metric *metrics;
        uint32_t metric_count, metric_cap;
        struct ali_counters counters;
        struct ali_health health;
        struct ali_letter_log letter_log;
        struct ali_snapshot snapshot;
        uint16_t *live; /* live records per bucket of LSNs, from live_base on */
        uint64_t live_base;
        struct al_id hashed_id; /* id_hash is that of this one: for the ring of recent ids */
        uint64_t id_hash;
        uint32_t live_cap;
        struct al_timer sweep;
        ali_ref sweep_at;
        struct al_pool watches;
        struct al_index watch_places;
        uint64_t breakers_open;   /* open or half-open */
        uint64_t waiting, leased; /* sums over all agents; scheduled ones: delayed.count */
        uint32_t meta_agent, meta_stream,
            meta_identity; /* while loading: counters of the snapshot */
        uint64_t meta_producer;
        struct ali_held_commit held;
        uint8_t *prepared_value; /* between prepare and apply of KV_SET */
        uint32_t prepared_value_size;
        struct ali_holes *prepared_holes; /* for a track that has none or is full: GAP */
        char *prepared_label;             /* between prepare and apply of STREAM_OPEN */
        uint32_t prepared_size;
        char *prepared_name; /* likewise of AGENT_ADD */
        uint32_t prepared_name_size;
        struct ali_inbox *prepared_inbox; /* NULL: of a group */
        struct ali_runs prepared_runs;    /* likewise: room for what a new member gets */
        uint8_t *prepared_envelope;       /* likewise of SCHEDULE_SET */
        uint32_t prepared_envelope_size;
        struct al_buf prepared_kept; /* likewise of KEEP, for a stream without history */
        struct al_buf keep;          /* entries of KEEP for the run of acks */
        uint64_t keep_seq;           /* sequence of the last of them */
        struct al_buf scratch;       /* the history of attempts for a DEAD record */
    } v;
};

/* What a timer is for; on the wheel it is known by this and the reference of the object. */
enum ali_timer_kind {
    ALI_TIMER_SESSION,
    ALI_TIMER_STREAM,
    ALI_TIMER_MARK,
    ALI_TIMER_DELAYED,
    ALI_TIMER_SWEEP,
    ALI_TIMER_BREAKER,
    ALI_TIMER_SCHEDULE,
    ALI_TIMER_HEALTH,
    ALI_TIMER_GAP
};

/* The agent at a reference in use. */
static inline struct ali_agent *ali_agent_at(const struct al_node *node, ali_ref ref)
{
    return al_pool_at(&node->agents, ref);
}
/* The stream at a reference in use. */
static inline struct ali_stream *ali_stream_at(const struct al_node *node, ali_ref ref)
{
    return al_pool_at(&node->streams, ref);
}
/* The producer at a reference in use. */
static inline struct ali_producer *ali_producer_at(const struct al_node *node, ali_ref ref)
{
    return al_pool_at(&node->producers, ref);
}
/* The track at a reference in use. */
static inline struct ali_track *ali_track_at(const struct al_node *node, ali_ref ref)
{
    return al_pool_at(&node->tracks, ref);
}
/* The mark at a reference in use. */
static inline struct ali_mark *ali_mark_at(const struct al_node *node, ali_ref ref)
{
    return al_pool_at(&node->marks, ref);
}
/* The gap at a reference in use. */
static inline struct ali_gap *ali_gap_at(const struct al_node *node, ali_ref ref)
{
    return al_pool_at(&node->gaps, ref);
}
/* The scheduled message at a reference in use. */
static inline struct ali_delayed *ali_delayed_at(const struct al_node *node, ali_ref ref)
{
    return al_pool_at(&node->delayed, ref);
}
/* The schedule at a reference in use. */
static inline struct ali_schedule *ali_schedule_at(const struct al_node *node, ali_ref ref)
{
    return al_pool_at(&node->schedules, ref);
}
/* The dead letter at a reference in use. */
static inline struct ali_letter *ali_letter_at(const struct al_node *node, ali_ref ref)
{
    return al_pool_at(&node->letters, ref);
}

/* The group at a reference in use. */
static inline struct ali_group *ali_group_at(const struct al_node *node, ali_ref ref)
{
    return al_pool_at(&node->groups, ref);
}
/* The history at a reference in use. */
static inline struct ali_history *ali_history_at(const struct al_node *node, ali_ref ref)
{
    return al_pool_at(&node->histories, ref);
}
/* The member at a reference in use. */
static inline struct ali_member *ali_member_at(const struct al_node *node, ali_ref ref)
{
    return al_pool_at(&node->members, ref);
}

#endif
