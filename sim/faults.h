/* faults.h - every kind of fault the simulator makes and the situations it must reach, by name, and
 * the tally of one run. */
#ifndef AL_SIM_FAULTS_H
#define AL_SIM_FAULTS_H

#include <stdint.h>

/* X(symbol, text of the report) */
#define SIM_FAULTS(X)                                                              \
    X(POWER_CUT, "power cut (between any two disk effects)")                       \
    X(NODE_KILL, "node killed")                                                    \
    X(LOST_WRITES, "power cut that lost unsynced sectors")                         \
    X(REORDERED_WRITES, "power cut that kept later sectors and lost earlier ones") \
    X(TORN_WRITES, "power cut that tore a sector")                                 \
    X(LOST_NAMES, "power cut that lost a creation, rename or unlink")              \
    X(WRITE_ERROR, "EIO from a write")                                             \
    X(FLUSH_ERROR, "EIO from a flush, pages dropped")                              \
    X(READ_ERROR, "EIO from a read")                                               \
    X(NAME_ERROR, "EIO from open, rename, unlink or directory sync")               \
    X(DISK_FULL, "ENOSPC")                                                         \
    X(SLOW_DISK, "slow disk")                                                      \
    X(BIT_FLIP, "corruption: bit flip")                                            \
    X(STALE_SECTOR, "corruption: old content came back")                           \
    X(MISDIRECTED, "corruption: write went to the wrong sector")                   \
    X(ZEROED_SECTOR, "corruption: sector turned to zeros")                         \
    X(LOST_FILE, "corruption: the newest journal file is gone")                    \
    X(CONN_LOST, "connection lost")                                                \
    X(CLIENT_CRASH, "client crashed")                                              \
    X(DUPLICATE_FRAME, "frame sent twice")                                         \
    X(LATE_FRAME, "late acknowledgement of a lost lease")                          \
    X(GARBAGE_FRAME, "malformed or senseless frame")                               \
    X(WALL_JUMP, "wall clock jumped")                                              \
    X(NO_MEMORY, "allocation failed")                                              \
    X(STALLED_NET, "network stalled")                                              \
    X(LOST_FRAME, "frame lost inside a connection")                                \
    X(LATE_FRAME_UP, "frame overtaken inside a connection")                        \
    X(LOST_DELIVERY, "delivery lost inside a connection")                          \
    X(TWICE_DELIVERED, "delivery doubled inside a connection")                     \
    X(LATE_DELIVERY, "delivery overtaken inside a connection")

enum sim_fault {
#define AL_X(symbol, text) SIM_FAULT_##symbol,
    SIM_FAULTS(AL_X)
#undef AL_X
        SIM_FAULT_COUNT
};

/* X(symbol, text): situations that a range of seeds must reach, or its checks check nothing. */
#define SIM_SITUATIONS(X)                                                \
    X(PART, "part of a reply passed on")                                 \
    X(PARTS_END, "end of a reply in parts told")                         \
    X(PART_LATE, "part said under a lease that was lost")                \
    X(COMMIT_TORN, "start of the node with half a commit on the disk")   \
    X(COMMIT_FAILED, "message refused (FAILED) by a commit")             \
    X(REPLAYED, "message replayed")                                      \
    X(BEYOND, "replay refused, of more than is kept")                    \
    X(HANDED_ON, "stream of a shared inbox went on to another receiver") \
    X(HEALED, "gap of deliveries healed")                                \
    X(NOT_OUT, "asked for deliveries that are not out")                  \
    X(OF_KIND, "message in another stream, by its kind")                 \
    X(JOINED, "program from elsewhere joined with a token")              \
    X(REVOKED, "link refused or ended, its certificate being void")      \
    X(SEALED, "file sealed under a key of its own")

enum sim_situation {
#define AL_X(symbol, text) SIM_REACHED_##symbol,
    SIM_SITUATIONS(AL_X)
#undef AL_X
        SIM_REACHED_COUNT
};

struct sim_tally {
    uint64_t fault[SIM_FAULT_COUNT], reached[SIM_REACHED_COUNT];
};

#endif
