/* session.h - the client's side of the protocol, pure: bytes in, bytes out, time as a parameter.
 *
 * A session outlives its connections. It knows what was sent and has no receipt, what was received
 * and is not settled, which acks are not confirmed, which ends are awaited; when a connection is
 * lost and another one made, it says everything again that the node may not have heard, with the
 * same numbers. It makes no system call, reads no clock and draws no randomness, so that the
 * simulator can drive it like the node.
 *
 * A driver (connection.c) calls ali_csession_connected, then hands over what it reads by
 * ali_csession_bytes and writes what stands in `out`, calls ali_csession_tick when the deadline has
 * come, and ali_csession_disconnected when the connection is gone. It reads before it ticks, so
 * that a silence is never the driver's own.
 *
 * What comes of it is pulled: finished sends from `results`, commits from `commits_due`, ends from
 * `ends`, notices from `notices`, messages by ali_csession_take.
 *
 * Invariants
 * - A message stands in its channel's queue from the send until its answer; the node answers a
 *   channel in order, so answers take from the front.
 * - What is behind `unsent` in a channel has not been written on this connection.
 * - A channel is held from a refusal until everything in flight on it is answered and it is
 * resumed; nothing is written on it meanwhile.
 * - Of one stream at most one delivery is with the program (unless pipelined; then a handler has at
 *   most one, and others are with commits under way); deliveries of a
 * stream stand in order of their sequences, those with the program first.
 * - An ack is kept, ready to be written again, until the node has confirmed it.
 *
 * Threads: none of its own; the driver's lock guards it. */
#ifndef AL_CLIENT_SESSION_H
#define AL_CLIENT_SESSION_H

#include "agentlink/agentlink.h"
#include "base/bytes.h"
#include "base/id.h"
#include "base/index.h"
#include "base/limits.h"
#include "base/pool.h"
#include "base/time.h"
#include "wire/messages.h"

struct ali_csession;
struct ali_channel;
struct ali_attach;
struct ali_rstream;
struct ali_rgap; /* gaps.h */

#define ALI_NODE_NAME_MAX 255u
#define ALI_DETAIL_MAX    255u

/* ---- what is sent ------------------------------------------------------------------------ */

#define ALI_PSEQ_AT (AL_WIRE_HEADER_SIZE + 4u) /* where a PUBLISH frame has its pseq */

/* An outgoing message: kept until its answer, then handed out as its result. */
struct ali_out {
    struct ali_out *next;
    struct ali_channel *channel;
    al_receipt_fn *fn; /* async: called with the result; may be NULL */
    void *ctx;
    bool *waiter;  /* sync: set to true when done; the waiter then owns this. NULL: it gave up */
    uint64_t pseq; /* 0: volatile */
    struct al_message_id id;
    uint32_t stream; /* the receipt, when answered with error 0 */
    uint64_t seq;
    int error; /* the answer: 0 or negative */
    uint8_t durability;
    bool duplicate;
    bool answered; /* removed from the queue when everything before it is */
    bool written;  /* on any connection: its outcome may be unknown */
    bool inflight; /* written on this connection and not answered */
    bool notify;
    bool is_volatile;
    bool is_sync;        /* of al_send() */
    char *detail;        /* of a refusal; ALI_DETAIL_MAX + 1 bytes, or NULL */
    uint32_t frame_size; /* PUBLISH with its header */
    uint8_t frame[];
};

/* One stream as seen by its sender. */
struct ali_channel {
    struct ali_channel *next, *prev; /* session->channels, most recently used first */
    uint32_t number;
    uint64_t hash;
    enum { ALI_CHANNEL_IDLE, ALI_CHANNEL_OPENING, ALI_CHANNEL_READY } state;
    bool held;         /* the node refused one: it takes nothing until the channel is resumed */
    bool reports;      /* held: what was in flight behind the refused one is refused too; otherwise
                          it is written again */
    bool repaired;     /* something was written twice: answers may come twice */
    bool needs_resume; /* an asynchronous send was refused: the program must resume */
    uint64_t retry_ns; /* AL_REFUSAL_RETRY: when it is resumed */
    uint32_t retry_ms; /* the pause before that */
    uint64_t next_pseq;
    uint32_t inflight; /* written on this connection and not answered */
    struct ali_out *head, *tail, *unsent;
    uint8_t priority;
    bool takes_kinds;              /* a message may leave its priority to its kind */
    struct al_str from, to, label; /* stand one behind the other, from first */
};

/* A part of a reply. */
struct ali_part {
    struct ali_part *next;
    uint32_t attempt, number;
    uint32_t size;
    uint8_t data[];
};

/* The parts of a reply that have come and are not taken. */
struct ali_parts {
    struct ali_part *head, **tail;
    uint64_t attempt_id; /* of PART: those that came last; 0: none */
    uint32_t attempt;    /* how often parts were begun */
    uint32_t last;       /* number of the last one */
    uint32_t size;       /* bytes of this attempt so far */
};

/* An end that is awaited. */
struct ali_watch {
    struct al_message_id id;
    uint32_t sends; /* of this id, that are awaited */
    uint32_t stream;
    uint64_t seq; /* 0: not known; otherwise it stands in watch_places */
    bool receipted;
    bool is_duplicate;       /* of a message that another client may have sent */
    bool polled;             /* its record is asked for now and then */
    struct al_end **waiter;  /* sync: gets the end */
    struct ali_parts *parts; /* gets the parts of the reply; NULL: nobody asked for them */
};

/* An end with its texts behind it; it may outlive the session. */
struct ali_end {
    struct ali_end *next; /* session->ends */
    struct al_alloc alloc;
    size_t size;
    struct al_end end;
};

/* ---- what is received -------------------------------------------------------------------- */

struct ali_delivery {
    struct al_delivery pub;                    /* first: the program's pointer is this one */
    void *client;                              /* the driver's: struct al_client */
    struct ali_rstream *stream;                /* NULL: not attached any more */
    struct ali_delivery *next, *prev;          /* in the stream, by sequence */
    struct ali_delivery *all_next, **all_link; /* session->deliveries */
    uint64_t lease;
    uint64_t after;      /* sequence out before it, which must come first; 0: none. See gaps.c */
    uint32_t lease_ms;   /* as it is now: `pub` is the program's once it is held */
    uint64_t renew_ns;   /* when the head renews its lease */
    uint64_t cap_ns;     /* no renewal after this */
    bool held;           /* with the program */
    bool lost;           /* its lease is void */
    bool dropped;        /* let go by the program: only keeps its place in the stream */
    bool in_handler;     /* freed when the handler returns */
    bool settled;        /* in_handler: acked or nacked already */
    bool let_go;         /* by the program while its commit was under way */
    struct al_buf parts; /* of the reply, each {u32 length, bytes} */
    uint32_t part_count;
    uint64_t parts_attempt;   /* the lease of the first one */
    struct al_commit *commit; /* it is part of, NULL: none */
    int detached;             /* why it cannot be settled any more: 0 or negative */
    size_t size;
};

/* An ack without confirmation, or a nack without a sign that the node has seen it. */
struct ali_unconfirmed {
    struct ali_unconfirmed *next;
    uint64_t seq;
    uint64_t lease;
    uint64_t expires_ns; /* waiting: forgotten then */
    bool waiting;        /* the lease was lost: sent again when the message comes again */
    bool resent;
    uint32_t frame_size;
    uint8_t frame[]; /* ACK or NACK with its header */
};

/* One stream as seen by its receiver. */
struct ali_rstream {
    struct ali_rstream *next, *prev;             /* attach->streams */
    struct ali_rstream *ready_next, *ready_prev; /* session->ready[…] */
    struct ali_attach *attach;
    uint32_t ref; /* in session->rstream_pool */
    uint32_t number;
    uint32_t held_count;
    bool ready;
    uint64_t high;        /* everything out up to here has come; what is behind it waits */
    uint64_t done_lease;  /* what came under it, or an older one, and is not here, is over */
    struct ali_rgap *gap; /* NULL: nothing is missing */
    struct ali_unconfirmed *nack; /* not NULL: what was given out before it is void; see inbox.c */
    struct ali_delivery *head, *tail, *queued; /* queued: first one not with the program */
    struct ali_unconfirmed *acks, **acks_end;
};

struct ali_attach {
    struct ali_attach *next;
    enum {
        ALI_ATTACH_WANTED, /* to be asked for when there is a connection, at ask_ns */
        ALI_ATTACH_ASKED,
        ALI_ATTACH_DONE,
        ALI_ATTACH_ENDED /* see error; only memory of it is left */
    } state;
    uint32_t serial; /* tells it from a later one of the same agent */
    uint32_t request;
    uint32_t number;      /* of the agent */
    int error;            /* ENDED: why; WANTED: why not yet, or 0 */
    uint64_t ask_ns;      /* WANTED: not before this */
    uint64_t patience_ns; /* until then another receiver may be on its way out */
    bool announced;       /* the program knows that it was attached */
    bool pull;            /* for al_receive(), otherwise for a handler */
    uint32_t queued;      /* messages not with the program */
    uint32_t credit_most; /* the largest credit there was: what is on its way may fill it */
    struct al_attach_options options;
    al_handler_fn *handler;
    void *handler_ctx;
    struct ali_rstream *streams;
    char detail[ALI_DETAIL_MAX + 1];
    size_t size;
    char agent[];
};

/* ---- what is committed ------------------------------------------------------------------- */

/* An ack in a commit. */
struct ali_commit_ack {
    struct ali_delivery *delivery; /* NULL: it was settled or dropped otherwise */
    size_t lease_at;               /* where its lease stands: in `acks`, then in the frame */
    uint64_t lease;                /* as it was written last */
};

/* A commit: built by the program, then queued until the node has answered. */
struct al_commit {
    struct al_commit *next; /* session->commits, or session->commits_due */
    void *client;           /* the driver's: struct al_client */
    al_commit_fn *fn;       /* called back when it has its outcome; NULL: waited for */
    void *ctx;
    enum {
        ALI_COMMIT_BUILT,    /* with the program; also after a refusal */
        ALI_COMMIT_QUEUED,   /* to be written */
        ALI_COMMIT_INFLIGHT, /* written on this connection */
        ALI_COMMIT_VOID,     /* likewise, but its number is not the next one any more */
        ALI_COMMIT_PARKED,   /* refused for a lost lease; waits for the message to come again */
        ALI_COMMIT_DONE      /* applied */
    } state;
    bool written;   /* it may have been applied */
    bool abandoned; /* the program has freed it */
    bool due;       /* it has its outcome, which is to be called back */
    bool duplicate; /* applied: it was the second time that the node saw it */
    uint32_t request;
    uint64_t cseq;
    struct al_buf acks, sends, changes; /* bodies, each behind its length */
    struct al_buf frame;                /* COMMIT with its header */
    struct ali_commit_ack *ack;         /* AL_COMMIT_PARTS_MAX of them */
    struct al_receipt *receipts;        /* likewise: of the messages */
    bool *notify;                       /* likewise */
    uint32_t ack_count, send_count, change_count;
    int error;    /* the answer */
    uint32_t bad; /* the part that was refused; UINT32_MAX */
    char detail[ALI_DETAIL_MAX + 1];
    char agent[AL_MESSAGE_NAME_MAX + 1];
};

/* ---- requests ---------------------------------------------------------------------------- */

/* A question to the node; lives with the caller that waits for it. */
struct ali_request {
    struct ali_request *next, **link; /* session->requests */
    uint32_t number;
    bool changes; /* not asked twice: the outcome is unknown if the answer is lost */
    bool written;
    bool done;
    int error;
    uint64_t count; /* of DONE */
    char detail[ALI_DETAIL_MAX + 1];
    struct al_buf frame; /* the question; its first body field is the number */
    struct al_buf rows;  /* the answers, frame by frame */
    /* Not NULL: nobody waits; called when it is done, and frees it. */
    int (*fn)(struct ali_csession *session, struct ali_request *request);
    struct al_message_id about; /* for fn: what it was asked for */
    uint32_t about_stream;
    uint64_t about_seq;
};

/* ---- notices ----------------------------------------------------------------------------- */

/* A notice with its texts behind it. */
struct ali_notice {
    struct ali_notice *next;
    size_t size;
    struct al_notice notice;
};

/* ---- the session ------------------------------------------------------------------------- */

struct ali_csession_config {
    struct al_alloc alloc;
    struct al_id instance;   /* random: names this client to the node */
    const char *client_name; /* must stay valid */
    uint32_t ping_interval_ms, ping_timeout_ms;
    uint32_t window;
    size_t outbox_bytes;
    uint32_t lease_cap_ms;
    enum al_refusal_mode refusals;
    enum al_gap_policy gaps;
    bool durability_volatile; /* an in-memory node: receipts say so */
    void *client;             /* put into every delivery */
};

/* No connection; HELLO was said; WELCOME has come. */
enum ali_link { ALI_LINK_DOWN, ALI_LINK_HELLO, ALI_LINK_UP };
/* Not asked for on this connection; asked for; there. */
enum ali_producer { ALI_PRODUCER_NONE, ALI_PRODUCER_ASKED, ALI_PRODUCER_READY };
/* Who takes a ready stream's messages: al_receive(), or a handler. */
enum { ALI_READY_PULL, ALI_READY_HANDLER, ALI_READY_COUNT };

struct ali_csession {
    struct ali_csession_config config;
    struct al_now now; /* of the call that is being handled */

    /* The connection. */
    enum ali_link link;
    struct al_buf out; /* to be written from out_done on */
    size_t out_done;
    uint64_t last_rx_ns;
    uint64_t ping_ns; /* 0, or when the unanswered ping was sent */
    uint64_t ping_token;
    bool goodbye_sent, goodbye_seen;
    bool give_up; /* something could not be queued: the next connection says it */
    int fatal;    /* why the node will close, 0: it will not */
    char fatal_detail[ALI_DETAIL_MAX + 1];

    /* From WELCOME. */
    uint64_t node_epoch;
    uint32_t payload_max, publish_window, credit_max, uid;
    char node[ALI_NODE_NAME_MAX + 1];

    /* Sending. */
    enum ali_producer producer_state;
    uint64_t producer;
    uint32_t producer_epoch, producer_request;
    struct ali_channel *channels, *channels_last;
    struct al_pool channel_pool;   /* a channel's number is its reference + 1 */
    struct al_index channel_index; /* by (from, to, label, priority) */
    uint64_t pseq_high;            /* no channel has used a higher one */
    uint32_t unreceipted;          /* tracked sends without an answer */
    uint32_t unsent;               /* entries from `unsent` of some channel on */
    uint32_t inflight;
    bool pump_failed; /* there was no memory: pumped again at the next tick */
    size_t outbox_bytes;
    struct ali_out *results, **results_end;
    uint32_t next_number; /* of requests, attaches, producers */
    struct al_buf scratch_headers, scratch_ext;

    /* Ends. */
    struct al_pool watch_pool;
    struct al_index watch_index;  /* by message id */
    struct al_index watch_places; /* by stream and sequence */
    uint32_t watch_polled;        /* how many are polled */
    uint64_t watch_poll_ns;       /* when some of them are asked for; AL_NEVER_NS */
    uint32_t watch_cursor;
    struct ali_end *ends, **ends_end;
    uint32_t end_count;

    /* Receiving. */
    struct ali_attach *attaches;
    struct al_pool rstream_pool;
    struct al_index rstream_index; /* by number */
    struct ali_rstream *ready_head[ALI_READY_COUNT], *ready_tail[ALI_READY_COUNT];
    struct ali_delivery *deliveries;
    struct {
        uint32_t stream;
        uint64_t lease;
    } done[AL_RSTREAMS_REMEMBERED]; /* done_lease of streams that are gone, by number */
    uint64_t renew_ns;              /* not later than the first renewal that is due */
    uint32_t unconfirmed, waiting;
    struct al_str deliver_ext; /* optional fields of the DELIVER that is being handled */

    /* Committing. */
    struct al_commit *commits, **commits_end; /* in the order of their numbers */
    struct al_commit *commits_due;            /* to be called back, the oldest first */
    uint32_t commit_count, commit_inflight, commit_void;
    uint64_t commit_cseq;        /* number of the last one that was applied */
    struct al_str committed_ext; /* optional fields of the COMMITTED that is being handled */

    struct ali_request *requests;
    struct ali_notice *notices, **notices_end;
    uint32_t notice_count;

    struct al_client_info stats; /* the counters */
};

/* ---- lifecycle (session.c) --------------------------------------------------------------- */

/* 0, -AL_E_NOMEM. */
int ali_csession_new(const struct ali_csession_config *config, struct ali_csession **ret_session);
/* Frees everything, deliveries with the program included. NULL is accepted. */
void ali_csession_free(struct ali_csession *session);

/* A connection was made: begins with HELLO. 0, -AL_E_NOMEM: give the connection up. */
int ali_csession_connected(struct ali_csession *session, struct al_now now);
/* Handles the whole frames in data; *ret_used says how many bytes they were. On failure the
 * connection is to be given up: -AL_E_PROTOCOL, -AL_E_TOO_LARGE, -AL_E_NOMEM, or what the node said
 * when it ended the session (`fatal`). */
int ali_csession_bytes(struct ali_csession *session, struct al_str data, struct al_now now,
                       size_t *ret_used);
/* The connection is gone; error says why (0 or negative). */
void ali_csession_disconnected(struct ali_csession *session, int error, struct al_now now);
/* Does what is due. 0; -AL_E_TIMEOUT: the node does not answer, give the connection up;
 * -AL_E_NOMEM likewise. */
int ali_csession_tick(struct ali_csession *session, struct al_now now);
/* When ali_csession_tick has something to do; AL_NEVER_NS. */
uint64_t ali_csession_deadline_ns(const struct ali_csession *session);
/* Bytes waiting to be written; the driver takes some off with ali_csession_written. */
static inline struct al_str ali_csession_output(const struct ali_csession *session)
{
    if (session->out_done == session->out.size)
        return al_str_of(NULL, 0); /* nothing was ever allocated, perhaps */
    return al_str_of(session->out.data + session->out_done, session->out.size - session->out_done);
}
void ali_csession_written(struct ali_csession *session, size_t size);
/* Queues GOODBYE; the node answers and closes. 0, -AL_E_NOMEM. */
int ali_csession_goodbye(struct ali_csession *session, bool keep_leases);
/* The next number for a request. */
uint32_t ali_csession_number(struct ali_csession *session);
/* Queues a notice; what there is no memory for is not told. */
void ali_csession_notice(struct ali_csession *session, const struct al_notice *notice);
/* Takes the oldest notice, NULL: none; freed with ali_notice_free. */
struct ali_notice *ali_csession_take_notice(struct ali_csession *session);
void ali_notice_free(struct ali_csession *session, struct ali_notice *notice);
/* Copies text from the node, cut to ALI_DETAIL_MAX, with a NUL. */
void ali_detail_set(char ret_text[ALI_DETAIL_MAX + 1], struct al_str text);

/* ---- sending (outbox.c, channel.c) ------------------------------------------------------- */

/* A message to be sent. */
struct ali_send {
    const struct al_message *message;
    struct al_id fresh; /* its id where message->id is zero */
    al_receipt_fn *fn;  /* as in struct ali_out */
    void *ctx;
    bool *waiter;
};
/* Checks and queues a message; writes as much as can go now. With a waiter *ret_out is the queued
 * message, which belongs to the waiter once it is done; without one it may be gone already.
 * -AL_E_INVALID, -AL_E_BAD_NAME, -AL_E_TOO_LARGE, -AL_E_BUSY, -AL_E_STREAM_HELD, -AL_E_LIMIT,
 * -AL_E_NOMEM. */
int ali_csession_send(struct ali_csession *session, const struct ali_send *send, struct al_now now,
                      struct ali_out **ret_out);
/* Takes a message back that was never written, and frees it; false: it was written, or is answered
 * and only waits for those before it. */
bool ali_csession_withdraw(struct ali_csession *session, struct ali_out *out);
/* The program knows of the refusals of this stream. 0, -AL_E_BAD_NAME, -AL_E_INVALID. */
int ali_csession_resume(struct ali_csession *session, const struct al_message *message,
                        struct al_now now);
/* Takes the oldest result, NULL: none; freed with ali_out_free. */
struct ali_out *ali_csession_take_result(struct ali_csession *session);
void ali_out_free(struct ali_csession *session, struct ali_out *out);

/* Of the frame table: */
int ali_outbox_producer_ready(struct ali_csession *session, const struct al_msg_producer_ready *m);
int ali_outbox_channel_ready(struct ali_csession *session, const struct al_msg_channel_ready *m);
int ali_outbox_receipt(struct ali_csession *session, const struct al_msg_receipt *m);
int ali_outbox_refused(struct ali_csession *session, const struct al_msg_refused *m);
/* The node misses something: writes it again. gaps.c. */
int ali_outbox_gap_nack(struct ali_csession *session, const struct al_msg_gap_nack *m);
/* An ERROR about one of this file's frames. */
int ali_outbox_error(struct ali_csession *session, const struct al_msg_error *m);
/* WELCOME came; the connection is gone; time has passed. */
int ali_outbox_welcome(struct ali_csession *session);
void ali_outbox_disconnected(struct ali_csession *session);
int ali_outbox_tick(struct ali_csession *session);
uint64_t ali_outbox_deadline_ns(const struct ali_csession *session);
void ali_outbox_deinit(struct ali_csession *session);

/* The channel of a stream, made if it does not exist. -AL_E_BAD_NAME, -AL_E_INVALID,
 * -AL_E_TOO_LARGE, -AL_E_LIMIT, -AL_E_NOMEM. */
int ali_channel_get(struct ali_csession *session, const struct al_message *message,
                    struct ali_channel **ret_channel);
/* The channel with this number, NULL: none. */
struct ali_channel *ali_channel_find(struct ali_csession *session, uint32_t number);
/* Writes what can go: CHANNEL_OPEN, or messages within the window. 0, -AL_E_NOMEM. */
int ali_channel_pump(struct ali_csession *session, struct ali_channel *channel);
/* Closes the idle channels from and to this agent, so that they do not keep it. 0, -AL_E_NOMEM. */
int ali_csession_close_channels(struct ali_csession *session, struct al_str agent);
/* Forgets a channel whose queue is empty. */
void ali_channel_free(struct ali_csession *session, struct ali_channel *channel);
/* Says how an entry ended; it stays in the queue until ali_channel_release. */
void ali_channel_answer(struct ali_csession *session, struct ali_out *out, int error,
                        struct al_str detail);
/* Hands out what is answered at the front of the queue. */
void ali_channel_release(struct ali_csession *session, struct ali_channel *channel);
/* Answers everything in the queue: with `error`, or UNKNOWN_OUTCOME what was written before. */
void ali_channel_fail(struct ali_csession *session, struct ali_channel *channel, int error,
                      struct al_str detail);
/* Asks for a producer if there is none. 0, -AL_E_NOMEM. */
int ali_outbox_want_producer(struct ali_csession *session);
/* Pumps every channel. What there is no memory for now is tried again at the next tick. */
void ali_outbox_pump(struct ali_csession *session);

/* ---- ends (watch.c)
 * ------------------------------------------------------------------------------- */

/* Begins to wait for the end of a message. 0, -AL_E_NOMEM, -AL_E_LIMIT. */
int ali_watch_add(struct ali_csession *session, const struct al_message_id *id);
/* The message was taken, or refused (then nothing is awaited any more). */
void ali_watch_receipt(struct ali_csession *session, const struct ali_out *out);
/* A caller waits for this end: *ret_end is set when it comes. NULL: nobody waits any more.
 * False: this end is not awaited. */
bool ali_watch_wait(struct ali_csession *session, const struct al_message_id *id,
                    struct al_end **ret_end);
/* A caller waits for the end of the delivery at this place, which somebody else may have sent:
 * *ret_end is set when it comes, under this id, which must be a fresh one. 0, -AL_E_NOMEM,
 * -AL_E_LIMIT, -AL_E_BUSY. */
int ali_watch_at(struct ali_csession *session, const struct al_message_id *id, uint32_t stream,
                 uint64_t seq, struct al_end **ret_end);
/* The end is not awaited any more. */
void ali_watch_forget(struct ali_csession *session, const struct al_message_id *id);
int ali_watch_end(struct ali_csession *session, const struct al_msg_end *m);
/* An END_WATCH was refused. */
void ali_watch_error(struct ali_csession *session, const struct al_msg_error *m);
int ali_watch_welcome(struct ali_csession *session);
int ali_watch_tick(struct ali_csession *session);
void ali_watch_deinit(struct ali_csession *session);
/* The watch of this message, NULL: its end is not awaited. */
struct ali_watch *ali_watch_find(const struct ali_csession *session,
                                 const struct al_message_id *id);
/* Takes the oldest end nobody waits for, NULL: none; freed with al_end_free(). */
struct al_end *ali_csession_take_end(struct ali_csession *session);
/* Takes the end of this message out of those, NULL: it is not there. */
struct al_end *ali_csession_find_end(struct ali_csession *session, const struct al_message_id *id);

/* ---- replies in parts (parts.c)
 * --------------------------------------------------------------------- */

/* The next part of a reply, kept for the ack and written. Errors as al_delivery_part(). */
int ali_csession_part(struct ali_csession *session, struct ali_delivery *delivery,
                      struct al_str data, struct al_now now);
/* The ack of a delivery with parts: *options with a response that has all of them, encoded into
 * buf, which the caller has initialised. Without parts *options as it was. -AL_E_TOO_LARGE,
 * -AL_E_NOMEM. */
int ali_parts_wrap(const struct ali_delivery *delivery, const struct al_ack_options *options,
                   struct al_buf *buf, struct al_ack_options *ret_options);
/* The same of texts: encodes them and the response into buf and puts that into *response and *type.
 * -AL_E_INVALID, -AL_E_TOO_LARGE, -AL_E_NOMEM. */
int ali_parts_wrap_texts(const char *const *texts, size_t count, struct al_buf *buf,
                         struct al_str *response, struct al_str *type);
/* Of the frame table. */
int ali_parts_came(struct ali_csession *session, const struct al_msg_reply_part *m);
/* A message has ended: if its reply is in parts, gives `parts` (may be NULL) those that it has not
 * seen, and puts the response proper into *end; *ret_count is how many parts there are. 0,
 * -AL_E_NOMEM. */
int ali_parts_end(struct ali_csession *session, struct ali_parts *parts, struct al_msg_end *end,
                  uint32_t *ret_count);
/* Empty. */
void ali_parts_init(struct ali_parts *parts);
/* Takes the oldest one, NULL: none; freed with ali_part_free. */
struct ali_part *ali_parts_take(struct ali_parts *parts);
void ali_part_free(struct ali_csession *session, struct ali_part *part);
void ali_parts_deinit(struct ali_csession *session, struct ali_parts *parts);

/* ---- receiving (inbox.c, settle.c, delivery.c)
 * ------------------------------------------------------ */

/* Begins to attach. *ret_attach stays the session's. -AL_E_EXISTS, -AL_E_BAD_NAME, -AL_E_NOMEM. */
int ali_csession_attach(struct ali_csession *session, const char *agent,
                        const struct al_attach_options *options, bool pull,
                        struct ali_attach **ret_attach);
/* Changes the credit; credit_bytes 0: as before. -AL_E_NOT_ATTACHED, -AL_E_INVALID, -AL_E_NOMEM. */
int ali_csession_credit(struct ali_csession *session, const char *agent, uint32_t credit,
                        uint32_t credit_bytes);
/* Stops receiving; -AL_E_NOT_ATTACHED. */
int ali_csession_detach(struct ali_csession *session, const char *agent, bool keep_leases);
/* The attach with this serial number, NULL: it is gone. */
struct ali_attach *ali_attach_serial(struct ali_csession *session, uint32_t serial);
/* The attach of this agent, NULL: none. */
struct ali_attach *ali_attach_find(struct ali_csession *session, const char *agent);
/* Frees an attach and what is queued in it; deliveries with the program stay, as detached. */
void ali_attach_free(struct ali_csession *session, struct ali_attach *attach, int error);
/* The next message for al_receive() or for a handler (ALI_READY_…); it is then with the program.
 * NULL: none. */
struct ali_delivery *ali_csession_take(struct ali_csession *session, unsigned ready,
                                       struct al_now now);
/* True if ali_csession_take would give something. */
static inline bool ali_csession_is_ready(const struct ali_csession *session, unsigned ready)
{
    return session->ready_head[ready] != NULL;
}

/* Of the frame table, and an ERROR about ATTACH. */
int ali_attach_attached(struct ali_csession *session, const struct al_msg_attached *m);
int ali_attach_detached(struct ali_csession *session, const struct al_msg_detached *m);
int ali_inbox_deliver(struct ali_csession *session, const struct al_msg_deliver *m);
int ali_inbox_recall(struct ali_csession *session, const struct al_msg_recall *m);
int ali_attach_error(struct ali_csession *session, const struct al_msg_error *m);
/* WELCOME came; the connection is gone; the end. */
int ali_attach_welcome(struct ali_csession *session);
void ali_attach_disconnected(struct ali_csession *session);
/* Asks again if it is time. 0, -AL_E_NOMEM. */
int ali_attach_tick(struct ali_csession *session, struct ali_attach *attach);
void ali_inbox_deinit(struct ali_csession *session);

/* The stream with this number, NULL: none. */
struct ali_rstream *ali_rstream_find(struct ali_csession *session, uint32_t number);
/* After a change: makes the stream ready or not, or frees it if it is empty. */
void ali_rstream_update(struct ali_csession *session, struct ali_rstream *stream);
/* Frees a stream that has no deliveries. */
void ali_rstream_free(struct ali_csession *session, struct ali_rstream *stream);
/* Takes a delivery out of its stream. */
void ali_rstream_remove(struct ali_csession *session, struct ali_delivery *delivery);

/* Removes what is queued from this sequence on: it will come again. */
void ali_rstream_void(struct ali_csession *session, struct ali_rstream *stream, uint64_t seq);
/* The attach with this agent number, NULL: none. */
struct ali_attach *ali_attach_at(struct ali_csession *session, uint32_t number);

/* What al_ack() would say to these options, as far as the session knows. */
int ali_csession_check_ack(const struct ali_csession *session, const struct ali_delivery *delivery,
                           const struct al_ack_options *options);
/* Settling: the delivery is freed on success unless its handler is running. Errors as al_ack(). */
int ali_csession_ack(struct ali_csession *session, struct ali_delivery *delivery,
                     const struct al_ack_options *options, struct al_now now);
int ali_csession_nack(struct ali_csession *session, struct ali_delivery *delivery,
                      uint32_t retry_after_ms, const char *reason, struct al_now now);
/* EXTEND by the program; retrying: 0 or the attempt. */
int ali_csession_extend(struct ali_csession *session, struct ali_delivery *delivery,
                        uint32_t lease_ms, uint32_t retrying, struct al_now now);
void ali_csession_drop(struct ali_csession *session, struct ali_delivery *delivery);

/* Of the frame table. */
int ali_settle_acked(struct ali_csession *session, const struct al_msg_acked *m);
int ali_settle_refused(struct ali_csession *session, const struct al_msg_settle_refused *m);
/* Writes the unconfirmed acks of a stream again. 0, -AL_E_NOMEM. */
int ali_settle_resend(struct ali_csession *session, struct ali_rstream *stream);
/* The message came again: answers it if the program has acknowledged it. 1: answered, 0: not
 * known, -AL_E_NOMEM. */
int ali_settle_again(struct ali_csession *session, struct ali_rstream *stream,
                     const struct al_msg_deliver *m);
/* The node has seen the nack of this stream, or it does not matter any more. */
void ali_nack_over(struct ali_csession *session, struct ali_rstream *stream);
/* Writes the nack of a stream again, if it has one. 0, -AL_E_NOMEM. */
int ali_nack_resend(struct ali_csession *session, struct ali_rstream *stream);
/* Forgets the unconfirmed acks of a stream, and its nack. */
void ali_settle_forget(struct ali_csession *session, struct ali_rstream *stream);
/* Renews leases; forgets acks that waited too long. */
int ali_lease_tick(struct ali_csession *session);
/* A delivery has become the head of its stream: its lease runs from now. */
void ali_lease_head(struct ali_csession *session, struct ali_delivery *delivery);

/* A delivery made from the frame. 0, -AL_E_NOMEM, -AL_E_PROTOCOL (a malformed envelope). */
int ali_delivery_new(struct ali_csession *session, const struct al_msg_deliver *m,
                     const char *agent, struct ali_delivery **ret_delivery);
void ali_delivery_free(struct ali_csession *session, struct ali_delivery *delivery);

/* Takes a delivery out of its stream for good: the program has answered. */
void ali_settle_finish(struct ali_csession *session, struct ali_delivery *delivery);
/* Options of an ack alone. 0, -AL_E_INVALID, -AL_E_TOO_LARGE. */
int ali_ack_check(const struct ali_csession *session, const struct al_ack_options *options);
/* An ACK body of these options, which views them and the session's scratch buffer; agent, stream,
 * seq and lease are left to the caller. 0, -AL_E_INVALID, -AL_E_TOO_LARGE, -AL_E_NOMEM. */
int ali_ack_body(struct ali_csession *session, const struct al_ack_options *options,
                 struct al_msg_ack *ret_ack);

/* ---- commits (commit.c, commit_build.c)
 * ---------------------------------------------------------- */

/* A commit without a part, of this agent. -AL_E_BAD_NAME, -AL_E_NOMEM. */
int ali_commit_new(struct ali_csession *session, const char *agent, struct al_commit **ret_commit);
/* Frees it; what is under way goes on without it being seen. NULL is accepted. */
void ali_commit_free(struct ali_csession *session, struct al_commit *commit);
/* Adds parts. 0, -AL_E_INVALID, -AL_E_TOO_LARGE, -AL_E_BAD_NAME, -AL_E_LIMIT, -AL_E_NOMEM,
 * -AL_E_BUSY (it is under way). */
int ali_commit_add_ack(struct ali_csession *session, struct al_commit *commit,
                       struct ali_delivery *delivery, const struct al_ack_options *options);
int ali_commit_add_send(struct ali_csession *session, struct al_commit *commit,
                        const struct al_message *message, struct al_id fresh, struct al_now now);
int ali_commit_add_change(struct al_commit *commit, unsigned action, struct al_str key,
                          struct al_str value);
/* Queues it and writes what can go. 0, -AL_E_INVALID (no part, or one was settled otherwise),
 * -AL_E_OUT_OF_ORDER, -AL_E_NOT_ATTACHED …, -AL_E_TOO_LARGE, -AL_E_BUSY, -AL_E_NOMEM; *ret_bad is
 * the part that it is about, UINT32_MAX: none. */
int ali_commit_queue(struct ali_csession *session, struct al_commit *commit, struct al_now now,
                     uint32_t *ret_bad);
/* Takes it back; false: it may have been applied. */
bool ali_commit_withdraw(struct ali_csession *session, struct al_commit *commit);
/* True from queueing to the answer. */
static inline bool ali_commit_is_under_way(const struct al_commit *commit)
{
    return commit->state != ALI_COMMIT_BUILT && commit->state != ALI_COMMIT_DONE;
}
/* The delivery goes another way than its commit, which is not under way. */
void ali_commit_forget(struct ali_delivery *delivery);
/* Takes the oldest one that is to be called back; NULL: there is none. */
struct al_commit *ali_commit_take_due(struct ali_csession *session);
/* Makes the frame of its parts. 0, -AL_E_TOO_LARGE, -AL_E_NOMEM. */
int ali_commit_encode(const struct ali_csession *session, struct al_commit *commit);
/* The n-th body of a list, for a word about it; empty: there is none. */
struct al_str ali_commit_body(const struct al_buf *list, uint32_t n);
/* Takes the receipts of its messages from COMMITTED. */
void ali_commit_receipts(struct ali_csession *session, struct al_commit *commit);

/* Of the frame table, and an ERROR about COMMIT. */
int ali_commit_answer(struct ali_csession *session, const struct al_msg_committed *m);
int ali_commit_error(struct ali_csession *session, const struct al_msg_error *m);
/* Writes what can go. 0, -AL_E_NOMEM. */
int ali_commit_pump(struct ali_csession *session);
/* A delivery has a lease again; deliveries have lost their stream. */
void ali_commit_leased(struct ali_csession *session, struct al_commit *commit);
void ali_commit_detached(struct ali_csession *session);
/* The connection is gone; the producer is not known any more, or cannot be had; the end. */
void ali_commit_disconnected(struct ali_csession *session);
void ali_commit_fail(struct ali_csession *session, int error, struct al_str detail,
                     bool written_only);
void ali_commit_deinit(struct ali_csession *session);

/* ---- requests (request.c)
 * ----------------------------------------------------------------------------- */

/* A request without a question yet. */
void ali_request_init(struct ali_request *request, const struct al_alloc *alloc);
void ali_request_deinit(struct ali_request *request);
/* Asks: the frame is in request->frame with request->number in it; answered when `done`. */
int ali_csession_ask(struct ali_csession *session, struct ali_request *request);
/* Asks for a record, by id or (id zero) by stream and sequence, on behalf of nobody: fn gets it;
 * `about` is for fn and may be NULL. */
int ali_csession_ask_record(struct ali_csession *session, const struct al_msg_record_get *question,
                            const struct al_message_id *about,
                            int (*fn)(struct ali_csession *session, struct ali_request *request));
/* Frees a question that belongs to nobody. */
void ali_request_free(struct ali_csession *session, struct ali_request *request);
/* The record that came as its answer. 0, -AL_E_PROTOCOL, or its error. */
int ali_request_record(const struct ali_request *request, struct al_msg_record *ret_record);
/* Nobody waits any more. */
void ali_csession_unask(struct ali_csession *session, struct ali_request *request);
/* An answer: a row, or the end of it. */
int ali_request_answer(struct ali_csession *session, const struct al_frame *frame);
int ali_request_error(struct ali_csession *session, const struct al_msg_error *m);
int ali_request_welcome(struct ali_csession *session);
void ali_request_disconnected(struct ali_csession *session);

/* ---- messages (message.c)
 * ------------------------------------------------------------------------------- */

/* Checks everything but from, to, stream and priority. 0, -AL_E_INVALID, -AL_E_TOO_LARGE. */
int ali_message_check(const struct al_message *message, uint32_t payload_max);
/* Says in words which field is wrong in a message that was found invalid here or by its channel;
 * NULL: none. */
const char *ali_message_flaw(const struct al_message *message);
/* The message's priority, `of_kind` where that is its kind's. */
uint8_t ali_message_priority(const struct al_message *message, uint8_t of_kind);
/* True for the name of an agent or a group. */
bool ali_recipient_is_valid(struct al_str name);
/* Encodes headers and ext into the buffers and fills in the envelope, which views them and the
 * message. 0, -AL_E_TOO_LARGE, -AL_E_INVALID, -AL_E_NOMEM. */
int ali_message_envelope(const struct al_message *message, struct al_buf *headers,
                         struct al_buf *ext, struct al_msg_envelope *ret_envelope);
/* Headers of the public form, encoded. Errors as above. */
int ali_headers_encode(const struct al_header *headers, size_t count, struct al_buf *buf);
/* Bytes that ali_message_view needs for this envelope; -AL_E_PROTOCOL if it is malformed. */
int64_t ali_message_view_size(const struct al_msg_envelope *envelope, size_t *ret_header_count);
/* Makes the public form: texts with NUL, headers as an array, all at `room`; returns the end of
 * what was used. from, to, stream, priority are left to the caller. */
uint8_t *ali_message_view(const struct al_msg_envelope *envelope, size_t header_count,
                          uint8_t *room, struct al_message *ret_message);
/* Copies a text and a NUL to *room and moves it on; returns the copy. */
char *ali_text_copy(uint8_t **room, struct al_str text);

/* ---- groups (group_chain.c)
 * ------------------------------------------------------------------------------- */

/* Where the message of the DELIVER that is being handled stands in its group, whose name is
 * *ret_group; the place has no name yet. *ret_group is empty if it is of no group. 0, or
 * -AL_E_PROTOCOL. */
int ali_group_place(const struct ali_csession *session, const struct al_msg_deliver *m,
                    struct al_str kind, struct al_group_place *ret_place, struct al_str *ret_group);

#endif
