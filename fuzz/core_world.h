/* core_world.h - a driver of the pure core for fuzzing: a journal in memory, no disk, no sockets.
 *
 * It keeps the contract of core/node.h to the letter and checks the core's side of it: LSNs are
 * consecutive, what is sent is made of whole, decodable frames of the right direction, and a node
 * that replays the journal (from the start or from a snapshot) has the same state. */
#ifndef AL_FUZZ_CORE_WORLD_H
#define AL_FUZZ_CORE_WORLD_H

#include "core/node.h"
#include "wire/messages.h"

enum { WORLD_CONNS = 4, WORLD_RECORDS_MAX = 4096, WORLD_READS_MAX = 64, WORLD_SENT_MAX = 8 };

/* A READ effect that waits for its answer. */
struct world_read {
    uint64_t request;
    uint64_t lsns[256];
    uint32_t count;
};

/* The whole world of one input. */
struct world {
    struct al_node *node;
    struct al_effects effects;
    struct al_now now;
    struct al_record_view records[WORLD_RECORDS_MAX]; /* payloads owned; record i has LSN i + 1 */
    uint32_t record_count;
    struct world_read reads[WORLD_READS_MAX];
    uint32_t read_count;
    bool open[WORLD_CONNS];
    /* The newest deliveries, for settling them with true leases. */
    struct al_msg_deliver sent[WORLD_SENT_MAX];
    uint32_t sent_count;
};

/* A node without state, started. */
void world_init(struct world *world);
/* Frees everything. */
void world_deinit(struct world *world);
/* Gives the event to the node and carries the effects out. Missing: now is filled in. */
void world_step(struct world *world, struct al_event event);
/* Bytes from a client; opens the connection first if it is closed. */
void world_bytes(struct world *world, uint32_t conn, struct al_str bytes);
/* Answers the oldest READ, if there is one. */
void world_answer(struct world *world);
/* The node dies: another one replays the journal from its start, must have the same state, and goes
 * on. */
void world_restart(struct world *world);
/* Takes a snapshot, loads it into another node, which must have the same state and goes on. */
void world_restart_from_snapshot(struct world *world);
/* Has `count` records from `first` on carried forward. */
void world_carry(struct world *world, uint32_t first, uint32_t count);

#endif
