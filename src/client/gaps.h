/* gaps.h - what a receiver misses: deliveries that were lost on their way, or came twice. */
#ifndef AL_CLIENT_GAPS_H
#define AL_CLIENT_GAPS_H

#include "client/session.h"

/* Deliveries of a stream that are missing. */
struct ali_rgap {
    uint64_t end;      /* the last one that is known to be missing */
    uint64_t asked;    /* up to here they have been asked for */
    uint64_t begun_ns; /* when the first of them was found missing, or came last */
    uint64_t ask_ns;   /* when the first ones are asked for again */
    uint32_t pause_ms; /* before that */
};

/* The sequence that must have come before this delivery, 0: none. */
static inline uint64_t ali_deliver_after(const struct al_msg_deliver *m)
{
    return m->flags & AL_DELIVER_FOLLOWS ? m->prev_seq : 0;
}
/* True if this is a late copy of something that has ended. */
static inline bool ali_deliver_is_over(const struct ali_rstream *stream,
                                       const struct al_msg_deliver *m)
{
    return m->seq && m->lease <= stream->done_lease;
}
/* What was out under this lease, and before it, has ended. */
static inline void ali_lease_is_over(struct ali_rstream *stream, uint64_t lease)
{
    if (lease > stream->done_lease)
        stream->done_lease = lease;
}
/* Where something is missing or was: a delivery has come (NULL: the program has answered it
 * before). 0, -AL_E_NOMEM. */
int ali_gap_came(struct ali_csession *session, struct ali_rstream *stream,
                 const struct al_msg_deliver *m, struct ali_delivery *delivery);
/* Likewise, and anywhere else. */
static inline int ali_gap_pass(struct ali_csession *session, struct ali_rstream *stream,
                               const struct al_msg_deliver *m, struct ali_delivery *delivery)
{
    if (stream->gap || ali_deliver_after(m) > stream->high)
        return ali_gap_came(session, stream, m, delivery);
    if (m->seq > stream->high)
        stream->high = m->seq;
    return 0;
}
/* A delivery was dropped that may be void: if nothing says so soon, it is asked for. 0,
 * -AL_E_NOMEM. */
int ali_gap_doubt(struct ali_csession *session, struct ali_rstream *stream, uint64_t seq);
/* Nothing from this sequence on is out any more. */
void ali_gap_recalled(struct ali_csession *session, struct ali_rstream *stream, uint64_t seq);
/* The same session goes on with another connection. */
void ali_gap_resumed(struct ali_csession *session, struct ali_rstream *stream);
void ali_gap_free(struct ali_csession *session, struct ali_rstream *stream);
/* Asks again if it is time. 0, -AL_E_NOMEM; -AL_E_SEQUENCE_GAP: in vain, give the connection up. */
int ali_gap_tick(struct ali_csession *session, struct ali_rstream *stream);
/* Of the frame table: GAP_NACK was refused. */
int ali_gap_error(struct ali_csession *session, const struct al_msg_error *m);

#endif
