/* items.h - what a snapshot holds: one table of items, in the order in which they are loaded. */
#ifndef AL_CORE_ITEMS_H
#define AL_CORE_ITEMS_H

#include "wire/fields.h"

#define AL_FIELDS_ITEM_META(U8, U16, U32, U64, ID, STR, BYTES)          \
    U64(lsn, "the snapshot is the state behind this record")            \
    U64(epoch, "starts of the node so far")                             \
    U32(next_agent, "number of the next agent")                         \
    U32(next_stream, "number of the next stream")                       \
    U64(next_producer, "number of the next producer")                   \
    U64(next_position, "place of the next dead letter")                 \
    U64(live_base, "no live record stands before this number times 64") \
    U64(ids_first, "number of the oldest recent id")                    \
    U64(ended_first, "number of the oldest finished delivery")          \
    U64(keys_first, "number of the oldest idempotency key")
#define AL_FIELDS_ITEM_AGENT(U8, U16, U32, U64, ID, STR, BYTES) \
    U32(agent, "its number")                                    \
    U32(uid, "owning user")                                     \
    U64(created_ms, "wall clock")                               \
    STR(name, "its name")
#define AL_FIELDS_ITEM_PRODUCER(U8, U16, U32, U64, ID, STR, BYTES) \
    U64(producer, "its number")                                    \
    U32(epoch, "its epoch")                                        \
    U32(uid, "owning user")                                        \
    U64(used_ms, "wall clock of its last message")
#define AL_FIELDS_ITEM_STREAM(U8, U16, U32, U64, ID, STR, BYTES)             \
    U32(stream, "its number")                                                \
    U32(from, "sending agent")                                               \
    U32(to, "receiving agent")                                               \
    U8(priority, "0 to 9")                                                   \
    U8(flags, "of STREAM_OPEN")                                              \
    U64(prev_seq, "last sequence that ended well")                           \
    U64(used_ms, "wall clock of its last change")                            \
    U64(first_seq, "sequence of the first pending message")                  \
    U64(next_seq, "sequence of the next message")                            \
    U16(attempts, "failed attempts of the head")                             \
    U64(attempt_ms, "wall clock of the last of them")                        \
    U64(due_ms, "wall clock of the next attempt")                            \
    U32(moved_count, "pending messages whose record names another sequence") \
    STR(label, "label")                                                      \
    BYTES(log, "ATTEMPT bodies of the head, each behind a u16 length")       \
    BYTES(runs, "LSNs of the pending messages, as zigzag varint differences from 0 on")
#define AL_FIELDS_ITEM_TRACK(U8, U16, U32, U64, ID, STR, BYTES)                            \
    U32(stream, "the stream")                                                              \
    U64(producer, "the producer")                                                          \
    U64(high, "highest producer sequence taken")                                           \
    U64(run_pseq, "from here on the sequences run with the producer sequences, 0: no run") \
    U64(run_seq, "sequence of run_pseq")
#define AL_FIELDS_ITEM_MARK(U8, U16, U32, U64, ID, STR, BYTES) \
    U32(stream, "the stream")                                  \
    U64(seq, "a pending message")                              \
    U64(expire_ms, "wall clock of its expiry, 0: none")        \
    U64(wall_ms, "its admission")                              \
    U64(producer, "who sent it")                               \
    ID(message_id, "its id")                                   \
    U8(gone, "1: it has ended already")                        \
    U8(notify, "1: its sender wants to be told")
#define AL_FIELDS_ITEM_DELAYED(U8, U16, U32, U64, ID, STR, BYTES) \
    U64(delayed, "its number: LSN of its admission")              \
    U64(lsn, "where its record stands now")                       \
    U32(stream, "the stream")                                     \
    U64(wall_ms, "its admission")                                 \
    U64(due_ms, "wall clock when it is due")                      \
    U64(expire_ms, "wall clock of its expiry, 0: none")           \
    U64(producer, "who sent it")                                  \
    ID(message_id, "its id")                                      \
    U8(notify, "1: its sender wants to be told")
#define AL_FIELDS_ITEM_LETTER(U8, U16, U32, U64, ID, STR, BYTES) \
    U64(position, "its place")                                   \
    U32(stream, "the stream")                                    \
    U64(seq, "its sequence")                                     \
    U64(lsn, "where the message's record stands")                \
    U64(dead_lsn, "where its DEAD record stands")                \
    U64(dead_ms, "wall clock")                                   \
    ID(message_id, "its id")                                     \
    U16(attempts, "attempts made")                               \
    U16(code, "why")
#define AL_FIELDS_ITEM_ID(U8, U16, U32, U64, ID, STR, BYTES) \
    ID(message_id, "a recent message")                       \
    U32(stream, "its stream")                                \
    U64(seq, "its sequence")
#define AL_FIELDS_ITEM_ENDED(U8, U16, U32, U64, ID, STR, BYTES)        \
    U32(stream, "stream of a finished delivery")                       \
    U64(seq, "its sequence")                                           \
    U64(end_ms, "wall clock of the end")                               \
    U64(lsn, "ACK or DEAD record with the details, 0: there are none") \
    U16(attempts, "attempts made")                                     \
    U16(code, "why it failed")                                         \
    U8(state, "a state of RECORD")
/* Of a key, before it held the answer: not written any more. */
#define AL_FIELDS_ITEM_KEY(U8, U16, U32, U64, ID, STR, BYTES) \
    ID(key, "digest of sender and key")                       \
    ID(body, "digest of the message")                         \
    U32(stream, "its stream")                                 \
    U64(seq, "its sequence")                                  \
    U64(wall_ms, "its admission")                             \
    U32(agent, "the sender")
#define AL_FIELDS_ITEM_KIND(U8, U16, U32, U64, ID, STR, BYTES)          \
    U32(uid, "who registered it")                                       \
    U8(priority, "default priority for senders, 0 to 9; 255: none")     \
    U32(ack_timeout_ms, "lease time")                                   \
    U32(retry_base_ms, "delay before the first retry")                  \
    U32(retry_factor, "grows with each one by this factor")             \
    U32(retry_cap_ms, "but not beyond")                                 \
    U32(retry_max, "retries")                                           \
    U8(breaker_own, "1: its messages have a breaker of their own")      \
    U8(breaker_percent, "errors that open the breaker; 0: never")       \
    U32(breaker_samples, "outcomes that are needed before it may open") \
    U32(call_timeout_ms, "without ACK or EXTEND for so long: an error") \
    U32(breaker_open_ms, "stays open for so long before a probe")       \
    STR(kind, "the kind")                                               \
    STR(title, "readable name")
#define AL_FIELDS_ITEM_KEYED(U8, U16, U32, U64, ID, STR, BYTES)                   \
    ID(key, "digest of sender and key")                                           \
    U64(body, "digest of the message")                                            \
    U32(stream, "its stream")                                                     \
    U64(seq, "its sequence; with the highest bit: number of a scheduled message") \
    U64(wall_ms, "its admission")                                                 \
    U32(agent, "the sender")                                                      \
    U64(lsn, "ACK record with the answer, 0: there is none")                      \
    U64(end_ms, "wall clock of its end, 0: it is in work")                        \
    U16(attempts, "attempts made")                                                \
    U8(state, "a state of RECORD, 0: it is in work")
#define AL_FIELDS_ITEM_KV(U8, U16, U32, U64, ID, STR, BYTES) \
    U32(agent, "whose state")                                \
    STR(key, "the key")                                      \
    BYTES(value, "its value")
#define AL_FIELDS_ITEM_COMMITS(U8, U16, U32, U64, ID, STR, BYTES) \
    U64(producer, "a producer that has committed")                \
    U64(cseq, "its last commit")

#define AL_FIELDS_ITEM_SCHEDULE(U8, U16, U32, U64, ID, STR, BYTES)        \
    STR(name, "its name")                                                 \
    U32(stream, "where its messages go")                                  \
    U64(producer, "who sends them")                                       \
    U32(uid, "owning user")                                               \
    U64(wall_ms, "when it was set")                                       \
    U64(until_ms, "wall clock after which it does not fire, 0: for ever") \
    U64(ttl_ms, "life time of each message, 0: none")                     \
    STR(text, "when")                                                     \
    BYTES(envelope, "an ENVELOPE body")
#define AL_FIELDS_ITEM_GROUP(U8, U16, U32, U64, ID, STR, BYTES)                             \
    U32(group, "its number; the agent of this number holds name and owner")                 \
    U64(keep_ms, "age up to which its history is kept, 0: any")                             \
    U64(keep_count, "messages that its history keeps, 0: any")                              \
    U64(keep_bytes, "bytes of envelopes that it keeps, 0: any")                             \
    U64(first_seq, "oldest message of its history")                                         \
    U64(next_seq, "sequence of the next message")                                           \
    BYTES(hash, "of the newest message")                                                    \
    BYTES(slices, "of the history: u64 first sequence, u64 first and u64 last wall clock, " \
                  "u64 bytes")                                                              \
    BYTES(runs, "LSNs of the history, as those of a stream")
#define AL_FIELDS_ITEM_MEMBER(U8, U16, U32, U64, ID, STR, BYTES) \
    U32(stream, "from the group to the member")                  \
    U64(joined_seq, "first message that it got")                 \
    U64(left_seq, "the message that told of its leaving, 0: it is a member")
#define AL_FIELDS_ITEM_HISTORY(U8, U16, U32, U64, ID, STR, BYTES)                          \
    U32(stream, "the stream")                                                              \
    U64(from_seq, "nothing that ended well from here on is missing")                       \
    U64(gone_ms, "wall clock of the newest end that was forgotten, 0: none")               \
    U64(moved_seq, "the record of no later one names another sequence")                    \
    BYTES(entries, "per message four varints: sequence and zigzag of LSN and wall clock, " \
                   "each minus the one before, payload bytes")
#define AL_FIELDS_ITEM_WORKFLOW(U8, U16, U32, U64, ID, STR, BYTES)                       \
    U64(workflow, "its number: LSN of the record that began it")                         \
    U64(allocated, "numbers given out")                                                  \
    U64(used_ms, "wall clock of the last admission or end")                              \
    STR(space, "namespace of the senders")                                               \
    STR(name, "the workflow id")                                                         \
    BYTES(blocks, "per 128 numbers that are not all processed: u32 first number / 128, " \
                  "three times 128 bits: bits 0, 1 and 2 of the states, as in WORKFLOW_RANGE")
#define AL_FIELDS_ITEM_NUMBERING(U8, U16, U32, U64, ID, STR, BYTES)                                \
    U32(stream, "the stream")                                                                      \
    BYTES(runs, "of its pending messages with numbers: u64 sequence, u64 workflow, u32 number of " \
                "the first, u32 count; both run on by one")
#define AL_FIELDS_ITEM_NUMBER_TAG(U8, U16, U32, U64, ID, STR, BYTES)     \
    U32(stream, "stream of a dead letter; 0: it is a scheduled message") \
    U64(key, "sequence of the dead letter, number of the scheduled one") \
    U64(workflow, "number of its workflow")                              \
    U64(number, "its number in that")
#define AL_FIELDS_ITEM_IDENTITY(U8, U16, U32, U64, ID, STR, BYTES)           \
    U32(identity, "its number")                                              \
    U32(uid, "user who made it")                                             \
    U8(state, "1 waits for its token, 2 active, 3 revoked")                  \
    U64(made_ms, "wall clock of IDENTITY_SET")                               \
    U64(token_ms, "wall clock up to which its token counts, 0: it has none") \
    U64(valid_serial, "oldest certificate that counts")                      \
    U64(serial, "newest certificate, 0: none yet")                           \
    U64(issued_ms, "wall clock when that was issued")                        \
    STR(agent, "the agent")                                                  \
    BYTES(token, "digest of its token, or empty")                            \
    BYTES(key, "Ed25519 key, or empty")

#define AL_FIELDS_ITEM_RULE(U8, U16, U32, U64, ID, STR, BYTES) \
    U64(rule, "as in RULE_SET")                                \
    U64(parent, "as in RULE_SET")                              \
    U64(wall_ms, "as in RULE_SET")                             \
    U64(expire_ms, "as in RULE_SET")                           \
    U32(uid, "as in RULE_SET")                                 \
    U8(effect, "as in RULE_SET")                               \
    U8(actions, "as in RULE_SET")                              \
    U8(hops, "as in RULE_SET")                                 \
    STR(subject, "as in RULE_SET")                             \
    STR(target, "as in RULE_SET")                              \
    STR(kind, "as in RULE_SET")                                \
    STR(by, "as in RULE_SET")

/* M(symbol, lower): in the order of enum ali_part; the item's first byte is its place here. */
#define AL_ITEMS(M)           \
    M(META, meta)             \
    M(AGENT, agent)           \
    M(PRODUCER, producer)     \
    M(STREAM, stream)         \
    M(TRACK, track)           \
    M(MARK, mark)             \
    M(DELAYED, delayed)       \
    M(LETTER, letter)         \
    M(ID, id)                 \
    M(ENDED, ended)           \
    M(KEY, key)               \
    M(KIND, kind)             \
    M(SCHEDULE, schedule)     \
    M(KEYED, keyed)           \
    M(KV, kv)                 \
    M(COMMITS, commits)       \
    M(GROUP, group)           \
    M(MEMBER, member)         \
    M(HISTORY, history)       \
    M(WORKFLOW, workflow)     \
    M(NUMBERING, numbering)   \
    M(NUMBER_TAG, number_tag) \
    M(RULE, rule)             \
    M(IDENTITY, identity)

/* Tags of optional fields: u32 payload bytes of a MARK, a DELAYED, a LETTER. */
enum { ALI_ITEM_EXT_BYTES = 1 };
/* Of META: u64 version of the rules of permissions (none: they have never changed); u32 number of
 * the newest identity that there has been. */
enum { ALI_META_EXT_ACL_VERSION = 1, ALI_META_EXT_IDENTITY = 2 };

/* Struct, decoder, and an encoder that appends {u32 length, u8 part, body} to a buffer. `ext` are
 * the optional fields behind the others, as in records. */
#define AL_X(symbol, lower)                                                      \
    struct ali_item_##lower {                                                    \
        AL_DECLARE_FIELDS(AL_FIELDS_ITEM_##symbol)                               \
        struct al_str ext;                                                       \
    };                                                                           \
    int ali_decode_item_##lower(struct al_str body, struct ali_item_##lower *m); \
    int ali_put_item_##lower(struct al_buf *out, const struct ali_item_##lower *m);
AL_ITEMS(AL_X)
#undef AL_X

#endif
