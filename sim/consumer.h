/* consumer.h - a client that receives: what it keeps (consumer.c), and what it misses (missing.c).
 */
#ifndef AL_SIM_CONSUMER_H
#define AL_SIM_CONSUMER_H

#include "sim.h"

#define SIM_CONSUMER_QUEUE 512u

struct delivery {
    uint32_t stream, message, agent; /* agent: the node's number */
    uint64_t seq, lease, after;      /* after: the sequence that must have come, 0 */
    bool redelivered, running, extended;
    uint64_t done_at_ns;
    uint32_t lease_ms;
    uint64_t run; /* the lease under which its first part was said; 0: no parts */
    uint32_t said, parts;
    uint64_t next_part_ns;
};

/* What it knows of a message that it has dealt with. */
struct done {
    uint8_t status; /* 0: not dealt with */
    uint32_t parts;
    uint64_t run;
};

/* What has come of a stream. */
struct come {
    uint64_t high;       /* everything up to here */
    uint64_t done_lease; /* what came under it, or an older one, is done */
    uint64_t end;        /* the last one that is missing, 0 */
    uint64_t begun_ns, ask_ns;
    uint32_t pause_ms;
};

struct consumer {
    uint32_t agent; /* index of the agent it receives */
    uint32_t number;
    bool attached, asked, rude;
    bool resumed;      /* the session had another connection before: acks may have got lost */
    struct come *come; /* by stream */
    uint32_t come_cap;
    uint64_t ask_ns; /* nothing that is missing is asked for again before this */
    uint32_t credit, rounds;
    uint64_t retry_at_ns, pause_until_ns;
    struct delivery queue[SIM_CONSUMER_QUEUE];
    uint32_t count;
    struct done *processed; /* by message; on its own disk */
    uint32_t processed_cap;
    struct delivery late[8]; /* acks that are sent after the lease was lost */
    uint32_t late_count;
    uint32_t settling;    /* the request of a SETTLE: nothing else is said until its answer */
    struct delivery kept; /* it goes on with its parts when it gets the message again */
    struct al_buf body;
};

/* What has come of this stream. */
struct come *sim_come_at(struct consumer *c, uint32_t stream);
/* On another connection everything comes again. */
void sim_come_forget(struct consumer *c);
/* From this sequence on nothing has come that counts. */
void sim_come_void(struct consumer *c, uint32_t stream, uint64_t seq);
/* Its handler has returned: under this lease it does not come again on this connection. */
void sim_come_done(struct consumer *c, const struct delivery *d);
/* A delivery stands in the queue: asks for what is missing before it. */
void sim_come_add(struct sim *sim, struct sim_client *client, const struct delivery *d);
/* Asks again where it is time; breaks the connection where it was in vain. */
void sim_come_ask_again(struct sim *sim, struct sim_client *client);
/* Asks for what has not been given out to anybody, as far as it knows. */
void sim_come_ask_beyond(struct sim *sim, struct sim_client *client);

#endif
