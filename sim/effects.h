/* effects.h - what commits.c knows for certain: which numbers took effect, and what follows.
 *
 * Written apart from the node, and from the client's process, which crashes. A commit took effect
 * when the node said so, or when the state says so afterwards; whatever else follows from it must
 * then be there, and nothing of it otherwise. */
#ifndef AL_SIM_EFFECTS_H
#define AL_SIM_EFFECTS_H

#include "roles.h"

#define SIM_NUMBERS   60u
#define SIM_BATCH_MAX 2u

/* The state of "cw": all of it follows from these. */
struct sim_state {
    uint32_t count, last;
};

struct sim_number {
    bool sent, receipted, effected, dead, audited;
    bool told; /* "ck" has heard of it */
};

struct sim_effects {
    struct sim_number numbers[SIM_NUMBERS];
    struct sim_state state, next; /* next: when the commit that has no outcome was applied */
    bool open;                    /* there is such a commit */
    uint32_t batch[SIM_BATCH_MAX], batch_size;
    uint32_t told_seqs[4 * SIM_NUMBERS]; /* by sequence at "ck": number + 1 */
    uint32_t serial;                     /* of everything that needs a new id */
    uint32_t heard, dead_told;           /* distinct messages at "ck"; of its dead letters */
};

/* True of a number whose commit acknowledges it with FAILED: it takes effect and is a dead letter.
 */
bool sim_is_refused(uint32_t number);
/* The open commit was applied; or certainly not. */
void sim_effects_applied(struct sim *sim, struct sim_effects *f);
void sim_effects_void(struct sim *sim, struct sim_effects *f);
/* True if this number is part of the commit that has no outcome. */
bool sim_effects_in_batch(const struct sim_effects *f, uint32_t number);
/* The whole state was listed, and nothing that could change it is under way. */
void sim_effects_state(struct sim *sim, struct sim_effects *f, struct sim_state listed);
/* "ck" gets a message about this number. */
void sim_effects_told(struct sim *sim, struct sim_effects *f, uint64_t seq, uint32_t number);
/* The end: each number took effect once, or is a dead letter. */
void sim_effects_account(struct sim *sim, const struct sim_effects *f);

#endif
