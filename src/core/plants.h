/* plants.h - planted bugs: mistakes that the simulator must find, compiled into its builds only.
 *
 * AL_PLANT(node, NAME) is false in every other build. A plant is one line at the place where a
 * careful person could really have slipped. */
#ifndef AL_CORE_PLANTS_H
#define AL_CORE_PLANTS_H

/* X(SYMBOL, "name-on-the-command-line", "what is wrong") */
#define AL_CORE_PLANTS(X)                                                                          \
    X(STALE_LEASE, "stale-lease", "an ack with a superseded lease is accepted")                    \
    X(DEDUP_OFF_BY_ONE, "dedup-off-by-one", "the newest producer sequence is taken as new again")  \
    X(DEDUP_FORGOTTEN, "dedup-forgotten", "snapshots leave out the producers' high-water marks")   \
    X(ACK_OUT_OF_ORDER, "ack-out-of-order", "an ack of a later message ends the earlier ones")     \
    X(RETRY_OVERTAKES, "retry-overtakes", "a failed head does not recall the later messages")      \
    X(REDELIVERED_UNMARKED, "redelivered-unmarked", "redelivery after a restart is not marked")    \
    X(ATTEMPT_NOT_DURABLE, "attempt-not-durable", "a failed attempt is counted in memory only")    \
    X(EXPIRY_OF_LEASED, "expiry-of-leased", "a message that is out can expire under the receiver") \
    X(CREDIT_LEAK, "credit-leak", "recalled messages do not give their credit back")               \
    X(SEQ_REUSED, "seq-reused", "a snapshot stores the next sequence one too low")                 \
    X(CARRY_FORGETS, "carry-forgets", "carrying a message forward does not move its place")        \
    X(BREAKER_SPENDS, "breaker-spends", "while a breaker is open, failures spend attempts")        \
    X(BREAKER_LEAKS, "breaker-leaks", "an open breaker lets messages through")                     \
    X(BREAKER_STUCK, "breaker-stuck", "a breaker that opens again stays open for ever")            \
    X(LIVE_UNCOUNTED, "live-uncounted", "redriven dead letters do not keep their segment alive")   \
    X(CANCEL_NOT_RECALLED, "cancel-not-recalled", "a message that is out is cancelled in place")   \
    X(CANCEL_IN_MEMORY, "cancel-in-memory", "a scheduled message is cancelled until the restart")  \
    X(CANCEL_COMES_BACK, "cancel-comes-back", "snapshots forget messages cancelled in the middle") \
    X(GAP_WITHOUT_END, "gap-without-end", "a gap that does not heal is never ended")               \
    X(GAP_OVERTAKEN, "gap-overtaken", "one arrival lets everything behind a gap go")               \
    X(GAP_UNTOLD, "gap-untold", "the recipient is not told of messages that were given up")

/* Number of the bit in al_node_config.plants. */
enum ali_plant {
#define AL_X(symbol, name, doc) ALI_PLANT_##symbol,
    AL_CORE_PLANTS(AL_X)
#undef AL_X
        ALI_PLANT_COUNT
};
_Static_assert(ALI_PLANT_COUNT <= 64, "one bit each");

#ifdef AL_PLANTS
#define AL_PLANT(node, symbol) ((node)->config.plants >> ALI_PLANT_##symbol & 1u)
#else
#define AL_PLANT(node, symbol) (0)
#endif

#endif
