/* messages_history.h - fields of the messages about what streams keep, and replay: part of the
 * table in messages.h. */
#ifndef AL_WIRE_MESSAGES_HISTORY_H
#define AL_WIRE_MESSAGES_HISTORY_H

#define AL_FIELDS_RETAIN_SET(U8, U16, U32, U64, ID, STR, BYTES)                                \
    U32(request, "number chosen by the client; answer: DONE")                                  \
    U64(keep_count, "messages that each stream to the agent keeps; 0: as many as are allowed") \
    U64(keep_bytes, "payload bytes that each keeps; 0: as many as are allowed")                \
    U64(keep_ms, "age, counted from the end, up to which they are kept; 0: any")               \
    U8(off, "1: nothing is kept from here on, and what was kept is forgotten")                 \
    STR(agent, "receiving agent")
#define AL_FIELDS_HISTORY_LIST(U8, U16, U32, U64, ID, STR, BYTES)             \
    U32(request, "number chosen by the client; answers: HISTORY_ROW …, DONE") \
    U32(limit, "streams at most")                                             \
    U32(after, "streams with a higher number; 0: the agent's own row first")  \
    STR(agent, "receiving agent")
#define AL_FIELDS_HISTORY_ROW(U8, U16, U32, U64, ID, STR, BYTES)                     \
    U32(request, "from HISTORY_LIST")                                                \
    U32(stream, "the stream; 0: the agent's limits and the sums of all its streams") \
    U64(keep_count, "messages that each stream keeps, 0: nothing is kept")           \
    U64(keep_bytes, "payload bytes that each keeps")                                 \
    U64(keep_ms, "age up to which they are kept, 0: any")                            \
    U64(from_seq, "nothing that ended well from here on is missing")                 \
    U64(first_seq, "oldest message that is kept, 0: there is none")                  \
    U64(last_seq, "newest one")                                                      \
    U64(count, "messages kept")                                                      \
    U64(bytes, "their payload bytes")                                                \
    U64(first_ms, "wall clock of the end of the oldest")                             \
    U64(last_ms, "of the newest")                                                    \
    U8(priority, "of the stream")                                                    \
    STR(from, "sending agent")                                                       \
    STR(label, "stream label")
#define AL_FIELDS_REPLAY(U8, U16, U32, U64, ID, STR, BYTES)                                        \
    U32(request, "number chosen by the client; answers: REPLAYED …, DONE; go on behind the last" \
                 " one until there is none")                                                       \
    U32(limit, "messages at most")                                                                 \
    U32(stream, "the stream")                                                                      \
    U64(first_seq, "first message wanted, 0: the oldest that is kept")                             \
    U64(last_seq, "last one, 0: the newest")                                                       \
    U64(from_ms, "only what ended at this wall clock or later, 0: any")                            \
    U64(until_ms, "only what ended before, 0: any")                                                \
    STR(agent, "its recipient")
#define AL_FIELDS_REPLAYED(U8, U16, U32, U64, ID, STR, BYTES) \
    U32(request, "from REPLAY")                               \
    U32(stream, "the stream")                                 \
    U64(seq, "sequence in the stream")                        \
    U64(admitted_ms, "wall clock of its admission")           \
    U64(end_ms, "wall clock of its end")                      \
    U8(priority, "of the stream")                             \
    STR(from, "sending agent")                                \
    STR(label, "stream label")                                \
    BYTES(envelope, "the message: an ENVELOPE body, as it was delivered")

#endif
