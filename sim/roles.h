/* roles.h - what a role of client consists of. */
#ifndef AL_SIM_ROLES_H
#define AL_SIM_ROLES_H

#include "ledger.h"

struct sim_role_ops {
    void (*init)(struct sim *sim, struct sim_client *client);
    void (*free)(struct sim *sim, struct sim_client *client);
    /* WELCOME came. */
    void (*ready)(struct sim *sim, struct sim_client *client);
    void (*frame)(struct sim *sim, struct sim_client *client, const struct al_frame *frame);
    void (*disconnected)(struct sim *sim, struct sim_client *client);
    /* Its process died; what it kept on its own disk stays. */
    void (*crashed)(struct sim *sim, struct sim_client *client);
    /* Time for something: called again and again while it asks for it. */
    void (*wake)(struct sim *sim, struct sim_client *client);
};

extern const struct sim_role_ops sim_producer_ops, sim_consumer_ops, sim_tool_ops, sim_vandal_ops,
    sim_grouper_ops, sim_scheduler_ops, sim_commits_ops, sim_historian_ops, sim_warden_ops,
    sim_enroller_ops;

/* Puts a frame into the client's connection: SIM_PUT(sim, client, lower-case name, struct). */
#define SIM_PUT(sim, client, lower, msg)                       \
    do {                                                       \
        struct al_buf *out_ = sim_client_out((sim), (client)); \
        if (out_) {                                            \
            al_put_##lower(out_, (msg));                       \
            sim_client_sent((sim), (client));                  \
        }                                                      \
    } while (0)

/* Decodes a frame from the node; a failure of the run when it is malformed. */
#define SIM_GET(sim, frame, lower, msg)              \
    (al_decode_##lower((frame)->body, (msg)) == 0 || \
     (sim_fail((sim), "the node sends a malformed " #lower), false))

/* True when everything that this producer has sent is answered. */
bool sim_producer_is_idle(const struct sim *sim, const struct sim_client *client);
/* True when a message of this producer still waits for its END. */
uint32_t sim_producer_open_ends(const struct sim *sim, const struct sim_client *client);
/* The tool asks for everything: used by the final account. */
void sim_tool_audit(struct sim *sim, struct sim_client *client);
bool sim_tool_audit_done(const struct sim_client *client);
/* Sum of pending messages by the newest answer to a status question; UINT64_MAX: none yet. */
uint64_t sim_tool_pending(const struct sim_client *client);
/* When that question was sent. */
uint64_t sim_tool_asked_ns(const struct sim_client *client);
/* This client fetches all that the groups hold: used by the final account. */
void sim_grouper_audit(struct sim *sim, struct sim_client *client);
bool sim_grouper_audit_done(const struct sim_client *client);
/* True when every number was asked about and has its answer; then the account of the effects. */
bool sim_commits_done(const struct sim_client *client);
void sim_commits_account(struct sim *sim, const struct sim_client *client);
/* This client has all replayed that is kept: used by the final account. */
void sim_historian_audit(struct sim *sim, struct sim_client *client);
bool sim_historian_audit_done(const struct sim *sim, const struct sim_client *client);
/* True when every schedule that must fire has done so since the faults stopped. */
bool sim_schedules_have_fired(const struct sim *sim);
/* True when the client knows that none is left: after sim.timers_off was set. */
bool sim_schedules_are_gone(const struct sim *sim);

#endif
