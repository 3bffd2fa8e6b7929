/* plants.h - bugs planted on purpose, so that the simulator can prove that it bites.
 *
 * They exist only in builds with -DAL_PLANTS and act only when their bit is set in
 * al_store_config.plants. In every other build AL_PLANT is the constant false and the compiler
 * removes them. Each one is a mistake that a real journal has made. */
#ifndef AL_STORE_PLANTS_H
#define AL_STORE_PLANTS_H

/* P(symbol, name, what goes wrong) */
#define AL_STORE_PLANTS(P)                                                                       \
    P(ACK_BEFORE_FLUSH, "ack-before-flush", "a batch counts as durable before its flush")        \
    P(NO_SEGMENT_DIR_SYNC, "no-segment-dir-sync", "a new segment's name is not made durable")    \
    P(NO_SNAPSHOT_DIR_SYNC, "no-snapshot-dir-sync",                                              \
      "a snapshot's name is not made durable, the one before goes at once")                      \
    P(CRC_WITHOUT_LENGTH, "crc-without-length",                                                  \
      "checksums leave out the length and all but 16 bytes of the payload")                      \
    P(SNAPSHOT_NO_FLUSH, "snapshot-no-flush", "a snapshot is named without flush and read-back") \
    P(SNAPSHOT_WRONG_LSN, "snapshot-wrong-lsn", "a snapshot says it holds one record more")      \
    P(EARLY_RELEASE, "early-release", "a segment is recycled while a snapshot needs it")         \
    P(NO_DURABLE_LSN, "no-durable-lsn", "batches do not carry the durable LSN")                  \
    P(NO_TAIL_REWRITE, "no-tail-rewrite", "recovery keeps the unsealed tail where it is")        \
    P(DURABLE_AHEAD, "durable-ahead", "a batch says that it is itself durable")                  \
    P(STOP_AT_BAD, "stop-at-bad", "recovery takes every bad frame for the end of the journal")   \
    P(SKIP_PAYLOAD_CRC, "skip-payload-crc", "payload checksums are not looked at")               \
    P(RETRY_FLUSH, "retry-flush", "a failed flush is tried again and believed")                  \
    P(SNAPSHOT_AHEAD, "snapshot-ahead", "a snapshot does not wait for its records")              \
    P(NO_HEADER_FLUSH, "no-header-flush", "a segment is named before it is flushed")             \
    P(NO_CLOSING_BLOCK, "no-closing-block", "a segment does not say which one follows it")       \
    P(KEY_KEPT, "key-kept", "after a start files are sealed under the keys of the first start")

/* The bit of each plant. */
enum al_store_plant {
#define AL_X(symbol, name, text) AL_PLANT_STORE_##symbol,
    AL_STORE_PLANTS(AL_X)
#undef AL_X
        AL_PLANT_STORE_COUNT
};
_Static_assert(AL_PLANT_STORE_COUNT <= 64, "one bit each");

/* AL_PLANT asks a store, AL_PLANT_BITS a copy of its bits. */
#ifdef AL_PLANTS
#define AL_PLANT_BITS(bits, symbol) (((bits) >> AL_PLANT_STORE_##symbol & 1u) != 0)
#else
#define AL_PLANT_BITS(bits, symbol) ((void)(bits), 0)
#endif
#define AL_PLANT(store, symbol) AL_PLANT_BITS((store)->config.plants, symbol)

#endif
