/* ledger.h - the facts: what was sent, and what each client was told about it.
 *
 * The ledger is written apart from the node and shares no code with it but the codec. A fact enters
 * it when a client has received it, so no crash can take it back; from then on the node must never
 * contradict it. Beside the facts it keeps what the tap saw on the node's side of the connections
 * since the node's last start: leases, and acks under a good lease. */
#ifndef AL_SIM_LEDGER_H
#define AL_SIM_LEDGER_H

#include "sim.h"

/* A message as its sender made it, and its fate. */
struct sim_message {
    struct al_id id;
    uint32_t number, sender; /* client */
    uint32_t from, to;       /* agents; to: SIM_AGENTS and up: a group */
    uint8_t label, priority; /* with the priority of its kind: where it was placed last */
    uint8_t channel_priority;
    uint16_t flags; /* of PUBLISH */
    uint32_t size;  /* of the payload */
    uint64_t ttl_ms, due_ms;
    uint32_t key; /* 0: none */
    uint8_t body; /* variant of the body: keys can be used twice with different ones */
    /* facts */
    bool sent, receipted, refused, purged, lost_agent, end_told, dead_seen, dead_listed;
    uint32_t stream; /* where it stands now, 0: not known */
    uint64_t seq;
    uint64_t sent_ns, receipt_ns;
    uint32_t sent_life;            /* of its sender: the first that sent it */
    uint32_t redrives;             /* asked for, perhaps done */
    bool cancel_asked, cancelled;  /* cancelled: a client was told so */
    uint32_t cancelled_generation; /* of the tap: the node said so since its last start */
    uint8_t good;                  /* statuses of acks under a good lease: bit per AL_STATUS_ */
    uint32_t starts;
    /* gaps */
    uint32_t follows;        /* number + 1 of the one before on its channel; 0: none */
    bool given_up;           /* its sender was told GAP_CLOSED */
    uint64_t workflow_seq;   /* with which it was delivered, 0: not yet */
    bool delivered;          /* a client got it */
    uint32_t missing_before; /* as it was told */
    uint64_t group_seq;      /* to a group: where somebody saw it, 0 */
    /* replies in parts */
    bool wants_parts;
    uint64_t producer;     /* the tap: under which it was published */
    uint64_t run;          /* the newest run of parts that a recipient has begun */
    uint64_t part_attempt; /* what its sender got last: the run, the number of the part */
    uint32_t part_last;
};

/* Flags of a slot. */
enum {
    SIM_SLOT_ENDED = 1,   /* a client was told that it has ended */
    SIM_SLOT_SKIPPED = 2, /* a prev_seq said that it was dropped */
    SIM_SLOT_SEEN = 4,    /* a delivery of it reached a client */
    SIM_SLOT_NACKED = 8,  /* a client gave an attempt up */
    SIM_SLOT_DEAD = 16,   /* of a group or a schedule: it was listed as a dead letter */
};

/* A place in a stream. */
struct sim_slot {
    uint32_t message;    /* number + 1; 0: not known */
    uint8_t flags, good; /* good: as in the message, here */
    uint8_t end_state;   /* AL_STATE_ that a client was told, 0 */
    uint16_t starts;
    /* the tap's side, valid while tap_generation fits */
    uint32_t tap_generation, attach;
    uint32_t holder;  /* the client that has it, or had it last */
    bool asked_again; /* the receiver has missed it, or says so */
    uint64_t lease;
    bool lease_void, out, acked;
    bool by_many;                /* an ack of many came behind its own in that step */
    bool void_out;               /* it was out when a NACK made its lease void */
    bool unsure;                 /* of that NACK nobody knows what it has done */
    uint64_t void_step;          /* step in which that was, 0: it was void before */
    uint8_t pending;             /* statuses of acks in this step, not refused yet */
    uint64_t given_ns, lease_ns; /* when it was given out, and for how long at least */
    uint8_t tries;               /* good settlements that came in that step */
    uint64_t valid_step;         /* step in which a good settlement came in */
    uint64_t mark_attempt;       /* the end mark of the newest ack under a good lease */
    uint32_t mark_count;         /* 0: it had no parts */
    /* retention: when an ack under a good lease came in first; when a client was told that it ended
     * well; the wall clock of the end, as a replay said it; limits may have pushed it out */
    uint64_t good_ns, well_ns, kept_ms;
    bool pushed_out;
};

/* A PART that came in under a good lease in this step. */
struct sim_said {
    uint32_t stream, part;
    uint64_t seq, attempt;
    bool acked;       /* behind an ack in the same step */
    bool must_arrive; /* it has not been passed on, and nothing forbids that */
};

struct sim_stream {
    bool known;
    uint32_t from, to;
    uint8_t label, priority;
    struct sim_slot *slots; /* by sequence; 0 is not used */
    uint32_t slot_cap;
    uint64_t last_seq, max_started, max_out;
    uint32_t conn_attach;     /* to whom it was given out last, */
    uint64_t conn_seq;        /* and the newest given out there */
    bool temp;                /* the tap: of the group that comes and goes */
    uint32_t temp_generation; /* and that was seen since the node's last start: this one */
    uint32_t gone_generation; /* of the tap: the group was removed since the node's last start */
};

struct sim_key {
    uint32_t stream;
    uint64_t seq, sent_ns;
    uint8_t body;
};

/* What the tap knows about a client as an agent's receiver. */
struct sim_receiver {
    bool attached, shared;
    uint32_t conn, credit, out;
    uint32_t unsure; /* of those that are out: perhaps they are not */
    uint32_t attach; /* the inbox's count of ATTACHED then */
    uint32_t asked_credit;
    bool asked_shared;
};

/* And about the agent. */
struct sim_inbox {
    uint32_t number;   /* the node's number for the agent, 0: not known */
    uint32_t attaches; /* counts ATTACHED */
    struct sim_receiver receivers[SIM_CLIENTS];
    uint32_t redrives; /* asked for, for the whole inbox */
    uint32_t removed;
};

/* What the node has said of a destination's breaker: breaker.c. */
struct sim_breaker {
    uint8_t state; /* the last notice, 0: none */
    uint64_t since_ns;
};

/* A place in a group's order. */
struct sim_entry {
    bool placed;        /* what, author, message are known */
    bool known, hashed; /* the rest is; hash is */
    bool in_history;    /* the audit found it there */
    bool from_known;    /* of a join: from_seq is what was asked for */
    uint8_t what;       /* AL_GROUP_ */
    uint32_t author;    /* agent */
    uint32_t message;   /* number + 1 */
    uint64_t wall_ms, from_seq;
    uint8_t prev_hash[32], hash[32];
};

/* What is known of an agent in a group. */
struct sim_member {
    int8_t certain;      /* 1: it is a member, -1: it is not, 0: somebody is changing that */
    uint32_t changes;    /* asked for */
    uint32_t open;       /* of them without an answer */
    bool overtaken;      /* when the newest was asked for another one was open */
    uint64_t since_ns;   /* of what is certain */
    uint64_t lowest_ask; /* sequence that a join asked to begin with; UINT64_MAX: none has */
    bool in_row;         /* GROUP_MEMBER says so, as follows */
    uint64_t joined_seq, left_seq, acked_seq, pending;
};

struct sim_group {
    bool made, limited;        /* limited: the history is not kept for ever */
    struct sim_entry *entries; /* by sequence; 0 is not used */
    uint32_t entry_cap;
    uint64_t last_seq, first_seq; /* first_seq: of the history, as it was told last */
    struct sim_member members[SIM_AGENTS];
};

/* A schedule, by its number: its name is t and the number, its label l and SIM_TIMER_LABEL more. */
#define SIM_TIMERS      12u
#define SIM_TIMER_LABEL 100u
enum sim_timer_state { SIM_TIMER_FREE, SIM_TIMER_UNSURE, SIM_TIMER_SET, SIM_TIMER_GONE };
struct sim_timer {
    enum sim_timer_state state; /* as its client knows it; UNSURE: asked for, not answered */
    uint32_t from, to;
    uint32_t every_ms; /* 0: by text */
    char text[16];
    uint64_t until_ms, ttl_ms;
    uint64_t last_ms, next_ms; /* by the newest SCHEDULE_ROW: the last firing, the next one */
    unsigned code;             /* likewise: why the one that is due waits, 0 */
};

/* A message of a schedule that a client got. */
struct sim_firing {
    struct al_id id;
    uint32_t timer;
    uint64_t wall_ms;
};

/* What each stream to an agent keeps. */
#define SIM_ANY UINT64_MAX
struct sim_limits {
    uint64_t count, bytes, age_ms;
};

/* What is known of that. */
struct sim_retained {
    struct sim_limits least, most; /* between them, whether a request was carried out or not */
    bool is_sure;                  /* they are the same */
    bool is_on;                    /* certainly, since on_ns */
    uint64_t on_ns, off_ns;        /* off_ns: all that ended before was to be forgotten, 0 */
};

/* What a client was told of a workflow: workflow_account.c. */
#define SIM_FLOWS 6u /* three in each of two namespaces */
struct sim_flow {
    uint32_t *messages; /* by number: message + 1 that was delivered with it, 0 */
    uint8_t *states;    /* by number: as the node said at the end */
    uint64_t cap;
    struct al_msg_workflow_row row;
};

struct sim_ledger {
    struct sim_message *messages;
    uint32_t message_count, message_cap;
    struct sim_stream *streams; /* by the node's number */
    uint32_t stream_cap;
    struct sim_key *keys;
    uint32_t key_count, key_cap;
    struct sim_inbox inboxes[SIM_AGENTS + SIM_GROUPS]; /* those of groups are never used */
    struct sim_group groups[SIM_GROUPS];
    struct sim_timer timers[SIM_TIMERS];
    struct sim_retained retained[SIM_AGENTS];
    struct sim_firing *firings;
    uint32_t firing_count, firing_cap;
    struct sim_breaker breakers[SIM_AGENTS];
    uint64_t breakers_opened;
    struct sim_letters *dead; /* letters.c */
    struct sim_flow flows[SIM_FLOWS];
    struct sim_lanes *lanes;           /* lanes.c */
    struct sim_kinds *kinds;           /* kinds.c */
    struct sim_identities *identities; /* enroller.c */
    struct sim_seals *seals;           /* seals.c */
    uint64_t unordered;                /* messages of unordered streams that were taken */
    uint32_t tap_generation;
    struct { /* SETTLE frames that are not answered yet */
        uint32_t conn, request, message;
        uint8_t action;
    } settles[16];
    struct { /* CANCEL frames likewise */
        uint32_t conn, request, message;
    } cancels[16];
    struct {
        uint32_t stream;
        uint64_t seq;
    } * pending; /* slots with a settlement in this step */
    uint32_t pending_count, pending_cap;
    struct sim_said *said; /* of this step; the first `said_next` of them are dealt with */
    uint32_t said_count, said_cap, said_next;
    uint64_t producers[SIM_CONNS]; /* the producer that a connection has, as far as the tap saw */
    uint64_t receipts, deliveries, starts, redeliveries, acks, ends, records, refusals, letters;
};

struct sim_ledger *sim_ledger_new(void);
void sim_ledger_free(struct sim_ledger *ledger);

/* ---- messages ---------------------------------------------------------------------------- */

/* A new message with a number and an id; the caller fills in the rest. */
struct sim_message *sim_message_new(struct sim *sim);
/* Sent again after the key's time, a message is a new one: its sender was told so. */
bool sim_key_may_have_expired(const struct sim *sim, const struct sim_message *message);
/* The message with this id; NULL: nobody ever sent it. */
struct sim_message *sim_message_find(struct sim *sim, const struct al_id *id);
/* Its envelope, the same whenever it is made. */
void sim_message_envelope(const struct sim *sim, const struct sim_message *message,
                          struct al_buf *ret_envelope);
/* Fails if it is not that envelope. */
void sim_check_body(struct sim *sim, const struct sim_message *message, struct al_str envelope);
/* The response that a receiver gives to it. */
void sim_message_response(const struct sim_message *message, unsigned status, char ret_text[32]);
void sim_label_text(unsigned label, char ret_text[8]);
uint32_t sim_key_new(struct sim *sim);

/* The slot, made if need be; NULL (and a failure) when the numbers cannot be right. */
struct sim_slot *sim_slot(struct sim *sim, uint32_t stream, uint64_t seq);
struct sim_stream *sim_stream(struct sim *sim, uint32_t stream);

/* ---- what clients were told -------------------------------------------------------------- */

void sim_told_stream(struct sim *sim, uint32_t stream, const struct sim_message *like);
void sim_told_receipt(struct sim *sim, struct sim_message *message,
                      const struct al_msg_receipt *receipt, uint64_t seq);
void sim_told_refused(struct sim *sim, struct sim_message *message, int code);
void sim_told_deliver(struct sim *sim, const struct al_msg_deliver *m);
void sim_told_acked(struct sim *sim, const struct al_msg_acked *m);
void sim_told_end(struct sim *sim, const struct al_msg_end *m);
/* `asked_ended`: the slot was known to have ended when the question was sent. */
void sim_told_record(struct sim *sim, const struct al_msg_record *m, bool asked_ended);
/* A client was told that its SETTLE is done, with the status of an ack. */
void sim_told_settled(struct sim *sim, const struct sim_message *message, unsigned status);
/* A client was told that it ended well and is kept; its slot. */
struct sim_slot *sim_told_kept(struct sim *sim, struct sim_message *message, uint32_t stream,
                               uint64_t seq);
void sim_told_letter(struct sim *sim, const struct al_msg_dlq_row *m);
/* A receiver begins to work on a delivery. */
void sim_handler_started(struct sim *sim, uint32_t stream, uint64_t seq, uint64_t lease,
                         bool redelivered);
/* A receiver has dealt with this message under an earlier sequence and settles it without work. */
void sim_handler_skipped(struct sim *sim, uint32_t stream, uint64_t seq, uint64_t lease);
/* The account at the end: every message that was acknowledged must have met its end. */
void sim_final_account(struct sim *sim);

/* ---- parts.c: replies in parts ----------------------------------------------------------- */

#define SIM_PART_SIZE 1208u
/* What part `part` of a run says; its size. */
uint32_t sim_part_text(const struct sim_message *message, uint64_t attempt, uint32_t part,
                       uint8_t ret_text[SIM_PART_SIZE]);
/* The body of an acknowledgement behind so many parts. */
void sim_parts_response(const struct sim_message *message, uint64_t attempt, uint32_t count,
                        struct al_str response, struct al_buf *ret_body);
/* The tap: a connection has got this producer; a message comes in; a part comes in, goes out; an
 * ack under a good lease came in, NULL: one without a response. */
void sim_parts_producer(struct sim *sim, uint32_t conn, uint64_t producer);
void sim_parts_published(struct sim *sim, uint32_t conn, struct al_str envelope);
void sim_parts_up(struct sim *sim, const struct al_msg_part *m);
void sim_parts_down(struct sim *sim, uint32_t conn, const struct al_msg_reply_part *m);
void sim_parts_acked(struct sim_slot *slot, const struct al_msg_ack *m);
void sim_parts_step_end(struct sim *sim);
/* A requester gets a part; its END: false if the end mark is wrong, otherwise the response proper.
 */
void sim_told_part(struct sim *sim, const struct al_msg_reply_part *m);
bool sim_parts_check_end(struct sim *sim, const struct sim_message *message,
                         const struct sim_slot *slot, const struct al_msg_end *m,
                         struct al_str *ret_response);

/* ---- letters.c: the room for dead letters ------------------------------------------------ */

struct sim_letters *sim_letters_new(void);
void sim_letters_free(struct sim_letters *letters);
/* A record was handed out. */
void sim_letters_record(struct sim *sim, unsigned type, struct al_str payload);
/* The node starts: what counts is what the shadow journal has. */
void sim_letters_reset(struct sim *sim);
/* The node has something to say to people. */
void sim_letters_notice(struct sim *sim, const struct al_effect *effect);
/* After every step: nothing has died unseen. */
void sim_letters_check(struct sim *sim);
/* A frame goes out. */
void sim_letters_tap(struct sim *sim, const struct al_frame *frame);

/* ---- workflow_account.c: numbers of messages with a workflow id -------------------------- */

/* The workflow of a message, SIM_NONE: it has none. */
uint32_t sim_workflow_of(const struct sim_message *message);
/* Its namespace and id. */
void sim_workflow_name(uint32_t flow, struct al_str *ret_space, char ret_id[8]);
/* A delivery came: it has a number if its message has a workflow, always the same, nobody else's.
 */
void sim_workflow_told_deliver(struct sim *sim, const struct al_frame *frame,
                               const struct al_msg_deliver *m);
/* What the node says at the end; a new account begins. */
void sim_workflow_told_nothing(struct sim *sim);
void sim_workflow_told_row(struct sim *sim, uint32_t flow, const struct al_msg_workflow_row *m);
void sim_workflow_told_range(struct sim *sim, uint32_t flow, const struct al_msg_workflow_range *m);
/* The journal has dense numbers, and what the node said of each is what its records say. */
void sim_workflow_account(struct sim *sim);
void sim_workflows_free(struct sim_ledger *ledger);

/* ---- lanes.c: unordered streams ---------------------------------------------------------- */

struct sim_lanes *sim_lanes_new(void);
void sim_lanes_free(struct sim_lanes *lanes);
/* A record was handed out; the node starts. */
void sim_lanes_record(struct sim *sim, unsigned type, struct al_str payload);
void sim_lanes_reset(struct sim *sim);
/* True if the stream is unordered, or a lane. */
bool sim_is_unordered(const struct sim *sim, uint32_t stream);

/* ---- kinds.c: messages with the priority of their kind ----------------------------------- */

struct sim_kinds *sim_kinds_new(void);
void sim_kinds_free(struct sim_kinds *kinds);
/* A record was handed out; the node starts. */
void sim_kinds_record(struct sim *sim, unsigned type, struct al_str payload);
void sim_kinds_reset(struct sim *sim);
/* The client has a kind registered anew, or its registration removed. */
void sim_kinds_change(struct sim *sim, struct sim_client *client);
const char *sim_kind_name(const struct sim_message *message);
/* The priority of a stream of the node, by the journal. */
uint8_t sim_stream_priority(const struct sim *sim, uint32_t stream);
/* A client was told that the message is in this stream. */
void sim_message_placed(const struct sim *sim, struct sim_message *message, uint32_t stream);
/* schedules.c: every message of this schedule has the priority that its kind has then. */
bool sim_timer_is_of_kind(uint32_t timer);

/* ---- cancel.c: messages that are taken back ---------------------------------------------- */

/* Fills in a CANCEL of this message; false: there is nothing to name it by. */
bool sim_cancel_make(struct sim *sim, uint32_t message, struct al_msg_cancel *ret_m);
/* A client was told that its CANCEL is done. */
void sim_told_cancelled(struct sim *sim, uint32_t message);
/* The tap: CANCEL comes in, DONE goes out, a message is given out. */
void sim_cancel_up(struct sim *sim, uint32_t conn, const struct al_msg_cancel *m);
void sim_cancel_down(struct sim *sim, uint32_t conn, const struct al_msg_done *m);
void sim_cancel_deliver(struct sim *sim, const struct al_msg_deliver *m);

/* ---- group_ledger.c: groups -------------------------------------------------------------- */

void sim_groups_init(struct sim_ledger *ledger);
/* A client asks that an agent joins (from_seq as in GROUP_JOIN) or leaves; the number to give back
 * when it is told that this was done, at seq. */
uint32_t sim_group_asks_join(struct sim *sim, uint32_t group, uint32_t agent, uint64_t from_seq);
uint32_t sim_group_asks_leave(struct sim *sim, uint32_t group, uint32_t agent);
/* The answer of whoever asked for a change has come, or cannot come any more. */
void sim_group_ask_over(struct sim *sim, uint32_t group, uint32_t agent);
void sim_group_told_change(struct sim *sim, uint32_t group, uint32_t agent, bool joined,
                           uint64_t seq, uint32_t ask);
void sim_group_told_from(struct sim *sim, uint32_t group, uint64_t seq, uint64_t from_seq);
/* A client was told that the message has this sequence. */
void sim_group_place(struct sim *sim, const struct sim_message *message, uint64_t seq);
void sim_group_told_entry(struct sim *sim, uint32_t group, const struct al_msg_group_entry *m);
void sim_group_told_row(struct sim *sim, uint32_t group, const struct al_msg_group_row *m);
void sim_group_told_member(struct sim *sim, uint32_t group, const struct al_msg_group_member *m);
/* False: it is not a group's. */
bool sim_group_told_deliver(struct sim *sim, uint32_t agent, const struct al_frame *frame,
                            const struct al_msg_deliver *m);
bool sim_group_told_letter(struct sim *sim, const struct al_msg_dlq_row *m);
void sim_group_told_end(struct sim *sim, const struct sim_message *message, uint8_t state);
/* A post is refused because its author is not a member. */
void sim_group_refused(struct sim *sim, const struct sim_message *message);

/* schedule_account.c: messages of schedules. False: it is none. */
bool sim_schedule_told_deliver(struct sim *sim, uint32_t agent, const struct al_msg_deliver *m);
bool sim_schedule_told_letter(struct sim *sim, const struct al_msg_dlq_row *m);
/* The journal at the end: what fired when, and how each message of it ended. */
void sim_schedule_account(struct sim *sim);

/* group_account.c: every group at the end, when all of its history was fetched. */
void sim_group_account(struct sim *sim);

/* ---- tap.c: the node's side -------------------------------------------------------------- */

void sim_tap_up(struct sim *sim, uint32_t conn, struct al_str frames);
void sim_tap_down(struct sim *sim, uint32_t conn, struct al_str frames);
void sim_tap_closed(struct sim *sim, uint32_t conn);
void sim_tap_step_end(struct sim *sim);
void sim_tap_reset(struct sim *sim);
/* A record was handed out. */
void sim_tap_record(struct sim *sim, uint32_t type);
/* True if this lease is the one that counts now, as far as the tap can know. */
bool sim_lease_is_good(const struct sim *sim, const struct sim_slot *slot, uint64_t lease);

/* ---- seals.c: keys of sealed files ------------------------------------------------------- */

struct sim_seals *sim_seals_new(void);
void sim_seals_free(struct sim_seals *seals);
/* Looks at what is written to the disk; ctx is the world. */
void sim_seals_write(void *ctx, const void *bytes, size_t n, uint64_t offset);

/* ---- enroller.c: identities, as the journal has them ------------------------------------- */

struct sim_identities *sim_identities_new(void);
/* Follows a record; after a restart all of them again. */
void sim_identities_record(struct sim *sim, uint64_t lsn, unsigned type, struct al_str payload);
void sim_identities_reset(struct sim *sim);
/* Says in the event how the client of this connection comes. */
void sim_identities_open(struct sim *sim, uint32_t conn, struct al_event *event);
/* An ISSUE effect: checked, and answered after a while. */
void sim_identities_issue(struct sim *sim, const struct al_effect *effect, struct al_str identity);
/* After each step: no link goes on whose certificate does not count. */
void sim_identities_check(struct sim *sim);

#endif
