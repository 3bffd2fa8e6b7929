/* retain.h - the facts about what streams keep: see retain_ledger.c. */
#ifndef AL_SIM_RETAIN_H
#define AL_SIM_RETAIN_H

#include "roles.h"

/* A REPLAY under way. */
struct sim_replay {
    uint32_t agent, stream, limit;
    uint64_t first_seq, last_seq, from_ms, until_ms; /* as it was asked */
    uint64_t asked_ns, asked_wall_ms;
    uint64_t newest; /* of what came */
    uint32_t rows;
    uint64_t bytes;
};

/* A client is about to ask that an agent's streams keep so much (count 0: nothing); it is told that
 * this is done. */
void sim_retain_asked(struct sim *sim, uint32_t agent, const struct sim_limits *limits);
void sim_retain_told(struct sim *sim, uint32_t agent, const struct sim_limits *limits,
                     uint64_t asked_ns);
/* A message comes; the answer ends. */
void sim_replay_row(struct sim *sim, struct sim_replay *q, const struct al_msg_replayed *m);
void sim_replay_done(struct sim *sim, struct sim_replay *q, const struct al_msg_done *m);
/* A row of HISTORY_LIST, asked for at `asked_ns`. */
void sim_history_row(struct sim *sim, uint32_t agent, uint64_t asked_ns,
                     const struct al_msg_history_row *m);

#endif
