/* records.h - what the journal holds: one table of record types.
 *
 * A record is an outcome, never a request: applying it reads no clock, draws no randomness and
 * consults no configuration. Types and fields are only ever added (docs/spec/disk-format.md). */
#ifndef AL_CORE_RECORDS_H
#define AL_CORE_RECORDS_H

#include "wire/fields.h"

#define AL_FIELDS_REC_EPOCH(U8, U16, U32, U64, ID, STR, BYTES) \
    U64(epoch, "number of this start of the node")             \
    U64(wall_ms, "wall clock")
#define AL_FIELDS_REC_AGENT_ADD(U8, U16, U32, U64, ID, STR, BYTES) \
    U32(agent, "its number, never given out again")                \
    U32(uid, "owning user")                                        \
    U64(wall_ms, "wall clock")                                     \
    STR(name, "its name")
#define AL_FIELDS_REC_AGENT_REMOVE(U8, U16, U32, U64, ID, STR, BYTES) \
    U32(agent, "the agent; its streams and dead letters go with it")
#define AL_FIELDS_REC_PRODUCER_OPEN(U8, U16, U32, U64, ID, STR, BYTES) \
    U64(producer, "its number, never given out again")                 \
    U32(epoch, "its epoch")                                            \
    U32(uid, "owning user")                                            \
    U64(wall_ms, "wall clock")
#define AL_FIELDS_REC_PRODUCER_CLOSE(U8, U16, U32, U64, ID, STR, BYTES) \
    U64(producer, "retired: it is never accepted again")
#define AL_FIELDS_REC_STREAM_OPEN(U8, U16, U32, U64, ID, STR, BYTES) \
    U32(stream, "its number, never given out again")                 \
    U32(from, "sending agent")                                       \
    U32(to, "receiving agent")                                       \
    U8(priority, "0 to 9")                                           \
    U8(flags, "1 unordered, 2 a lane of an unordered stream")        \
    U64(wall_ms, "wall clock")                                       \
    STR(label, "label")
#define AL_FIELDS_REC_STREAM_CLOSE(U8, U16, U32, U64, ID, STR, BYTES) \
    U32(stream, "an empty stream that nobody used for a long time")
#define AL_FIELDS_REC_PUBLISH(U8, U16, U32, U64, ID, STR, BYTES)                  \
    U32(stream, "the stream")                                                     \
    U64(seq, "its sequence; 0: scheduled, gets one when due")                     \
    U64(producer, "who sent it")                                                  \
    U64(pseq, "producer sequence")                                                \
    U16(flags, "of PUBLISH; from bit 4 on: messages given up in a gap before it") \
    U64(wall_ms, "admission")                                                     \
    U64(expire_ms, "wall clock of expiry, 0: never")                              \
    U64(due_ms, "wall clock before which it is not delivered, 0: at once")        \
    U32(dedup_evict, "idempotency keys that this admission drops, oldest first")  \
    BYTES(envelope, "an ENVELOPE body")
/* The fields of PUBLISH stand behind the first two. */
#define AL_FIELDS_REC_NUMBERED(U8, U16, U32, U64, ID, STR, BYTES)       \
    U64(workflow, "number of the workflow: LSN of its WORKFLOW record") \
    U64(number, "of the message in it: one more than the one before")   \
    AL_FIELDS_REC_PUBLISH(U8, U16, U32, U64, ID, STR, BYTES)
#define AL_FIELDS_REC_WORKFLOW(U8, U16, U32, U64, ID, STR, BYTES)                      \
    U8(over, "0: it begins, its number is the LSN of this record; 1: it is forgotten") \
    U64(wall_ms, "wall clock")                                                         \
    STR(space, "namespace of the senders")                                             \
    STR(workflow, "the workflow id")
#define AL_FIELDS_REC_DUE(U8, U16, U32, U64, ID, STR, BYTES)                \
    U64(delayed, "number of the scheduled message: the LSN of its PUBLISH") \
    U64(seq, "sequence it gets in its stream")
#define AL_FIELDS_REC_ACK(U8, U16, U32, U64, ID, STR, BYTES)    \
    U32(stream, "the stream")                                   \
    U64(last_seq, "every pending message up to here has ended") \
    U32(count, "how many")                                      \
    U8(status, "1 SUCCESS, 2 PARTIAL_SUCCESS")                  \
    U16(attempts, "attempts of the first of them")              \
    U64(wall_ms, "wall clock")                                  \
    STR(reason, "the receiver's words")                         \
    STR(response_type, "media type of the response")            \
    BYTES(metadata, "pairs")                                    \
    BYTES(response, "the reply")                                \
    BYTES(attempts_log, "ATTEMPT bodies, each behind a u16 length")
#define AL_FIELDS_REC_ATTEMPT(U8, U16, U32, U64, ID, STR, BYTES) \
    U32(stream, "the stream")                                    \
    U64(seq, "its head")                                         \
    U16(attempt, "number of the attempt that failed")            \
    U16(code, "why")                                             \
    U64(wall_ms, "wall clock")                                   \
    U64(due_ms, "wall clock of the next attempt")                \
    STR(reason, "the receiver's words")
#define AL_FIELDS_REC_DEAD(U8, U16, U32, U64, ID, STR, BYTES)              \
    U32(stream, "the stream")                                              \
    U64(seq, "the message")                                                \
    U64(position, "place in the dead-letter queue, never given out again") \
    ID(message_id, "its id")                                               \
    U16(attempts, "attempts made")                                         \
    U16(code, "why")                                                       \
    U8(state, "6 failed, 7 dead, 8 expired")                               \
    U64(wall_ms, "wall clock")                                             \
    STR(reason, "reason or error")                                         \
    BYTES(attempts_log, "ATTEMPT bodies, each behind a u16 length")
#define AL_FIELDS_REC_REDRIVE(U8, U16, U32, U64, ID, STR, BYTES) \
    U32(stream, "stream of the dead letter that is sent again")  \
    U64(old_seq, "its sequence so far")                          \
    U64(seq, "its new sequence in its stream")                   \
    U64(wall_ms, "wall clock")
#define AL_FIELDS_REC_PURGE(U8, U16, U32, U64, ID, STR, BYTES) \
    U32(stream, "stream of the dead letter that is deleted")   \
    U64(seq, "its sequence")
#define AL_FIELDS_REC_CARRY(U8, U16, U32, U64, ID, STR, BYTES)                       \
    U64(old_lsn, "where it stood")                                                   \
    U8(what, "1 a pending or dead message, 2 a scheduled message, 3 a DEAD record, " \
             "4 an ACK or DEAD record of a finished delivery, "                      \
             "5 a group's message, 6 a message of a stream's history")               \
    U16(type, "record type of the payload")                                          \
    U64(key, "1, 3, 4, 5, 6: sequence; 2: number")                                   \
    U32(stream, "1, 3, 4, 6: the stream; 5: the group")                              \
    BYTES(payload, "the record as it was")
#define AL_FIELDS_REC_KIND_SET(U8, U16, U32, U64, ID, STR, BYTES)       \
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
#define AL_FIELDS_REC_KIND_REMOVE(U8, U16, U32, U64, ID, STR, BYTES) STR(kind, "the kind")

#define AL_FIELDS_REC_RULE_SET(U8, U16, U32, U64, ID, STR, BYTES)          \
    U64(rule, "its number: the version of the rules that it makes")        \
    U64(parent, "rule by whose right it was passed on, 0: none")           \
    U64(wall_ms, "when it was made")                                       \
    U64(expire_ms, "wall clock, 0: for ever")                              \
    U32(uid, "user who made it")                                           \
    U8(effect, "1 allow, 2 deny, 3 the subject is a member of the target") \
    U8(actions, "1 send, 2 join, 4 read, 8 administer, added up")          \
    U8(hops, "how often the right may be passed on, one after the other")  \
    STR(subject, "who, in full")                                           \
    STR(target, "to whom, in full")                                        \
    STR(kind, "kinds of messages; empty: all")                             \
    STR(by, "agent that made it; empty: the node's administrator")
#define AL_FIELDS_REC_RULE_REMOVE(U8, U16, U32, U64, ID, STR, BYTES)    \
    U64(version, "of the rules, from here on")                          \
    U64(rule, "the rule; what was passed on by its right goes with it") \
    U64(wall_ms, "wall clock")                                          \
    U32(uid, "user who removed it")                                     \
    STR(by, "agent that removed it; empty: the node's administrator")

#define AL_FIELDS_REC_CANCEL(U8, U16, U32, U64, ID, STR, BYTES)                       \
    U32(stream, "the stream")                                                         \
    U64(seq, "the message that its sender takes back")                                \
    U64(delayed, "0, or number of the scheduled message that gets this sequence now") \
    U16(attempts, "attempts made")                                                    \
    U64(wall_ms, "wall clock")
#define AL_FIELDS_REC_GROUP_ADD(U8, U16, U32, U64, ID, STR, BYTES) \
    U32(group, "its number, one of the agents' numbers")           \
    U32(uid, "owning user")                                        \
    U64(wall_ms, "wall clock")                                     \
    U64(keep_ms, "age up to which its history is kept, 0: any")    \
    U64(keep_count, "messages that its history keeps, 0: any")     \
    U64(keep_bytes, "bytes of envelopes that it keeps, 0: any")    \
    STR(name, "its name, group: in front")
#define AL_FIELDS_REC_GROUP_REMOVE(U8, U16, U32, U64, ID, STR, BYTES) \
    U32(group, "the group; what its members have not read goes with it")
#define AL_FIELDS_REC_GROUP_POST(U8, U16, U32, U64, ID, STR, BYTES)               \
    U32(group, "the group")                                                       \
    U64(seq, "sequence in the group, and in the stream to each member")           \
    U8(what, "1 a message, 2 a member joins, 3 a member leaves")                  \
    U64(wall_ms, "admission")                                                     \
    U32(stream, "1: of the author to the group; 2: of the group to the member")   \
    U32(agent, "2, 3: the member")                                                \
    U64(producer, "1: who sent it")                                               \
    U64(pseq, "1: producer sequence")                                             \
    U16(flags, "of PUBLISH")                                                      \
    U64(start_seq, "2: first message that the new member gets")                   \
    STR(author, "1: sending agent; 2, 3: the member")                             \
    BYTES(prev_hash, "hash of the message before: see the chain of the protocol") \
    BYTES(envelope, "an ENVELOPE body")
#define AL_FIELDS_REC_GROUP_TRIM(U8, U16, U32, U64, ID, STR, BYTES) \
    U32(group, "the group")                                         \
    U64(first_seq, "its history begins here now")

#define AL_FIELDS_REC_SCHEDULE_SET(U8, U16, U32, U64, ID, STR, BYTES)     \
    STR(name, "its name; one of that name is replaced")                   \
    U32(stream, "where its messages go")                                  \
    U64(producer, "who sends them: a new producer of the node's own")     \
    U32(uid, "owning user")                                               \
    U64(wall_ms, "wall clock; it fires later than this")                  \
    U64(until_ms, "wall clock after which it does not fire, 0: for ever") \
    U64(ttl_ms, "life time of each message, 0: none")                     \
    STR(text, "when")                                                     \
    BYTES(envelope, "an ENVELOPE body; each message gets its own id and time")
#define AL_FIELDS_REC_SCHEDULE_REMOVE(U8, U16, U32, U64, ID, STR, BYTES) \
    STR(name, "the schedule; its producer goes with it")
#define AL_FIELDS_REC_COMMIT(U8, U16, U32, U64, ID, STR, BYTES)                   \
    U64(producer, "who committed")                                                \
    U64(cseq, "number of the commit")                                             \
    U32(count, "so many records follow that count only if all of them are there") \
    U64(wall_ms, "wall clock")
#define AL_FIELDS_REC_KV_SET(U8, U16, U32, U64, ID, STR, BYTES) \
    U32(agent, "whose state")                                   \
    STR(key, "the key")                                         \
    BYTES(value, "its value from here on")
#define AL_FIELDS_REC_KV_DELETE(U8, U16, U32, U64, ID, STR, BYTES) \
    U32(agent, "whose state")                                      \
    STR(key, "the key, which is gone")
#define AL_FIELDS_REC_GAP(U8, U16, U32, U64, ID, STR, BYTES) \
    U32(stream, "the stream")                                \
    U64(producer, "whose messages are missing")              \
    U64(first, "first producer sequence that was given up")  \
    U64(last, "last one")                                    \
    U64(wall_ms, "wall clock")

#define AL_FIELDS_REC_RETAIN_SET(U8, U16, U32, U64, ID, STR, BYTES)        \
    U32(agent, "whose streams keep what has ended well")                   \
    U64(keep_count, "messages that each stream keeps, 0: nothing is kept") \
    U64(keep_bytes, "bytes of payload that each stream keeps")             \
    U64(keep_ms, "age, counted from the end, up to which it keeps them, 0: any")
#define AL_FIELDS_REC_KEEP(U8, U16, U32, U64, ID, STR, BYTES)              \
    U32(stream, "the stream")                                              \
    U64(wall_ms, "wall clock of the end of these messages, which follows") \
    BYTES(entries, "per message two varints: sequence minus the one before, payload bytes")
#define AL_FIELDS_REC_FORGET(U8, U16, U32, U64, ID, STR, BYTES) \
    U32(stream, "the stream")                                   \
    U64(last_seq, "its history up to here has outlived its age")
#define AL_FIELDS_REC_IDENTITY_SET(U8, U16, U32, U64, ID, STR, BYTES) \
    U32(identity, "its number")                                       \
    U32(uid, "user who made it")                                      \
    U64(wall_ms, "wall clock")                                        \
    U64(token_ms, "wall clock up to which the token counts")          \
    STR(agent, "the agent that its holder may act as")                \
    BYTES(token, "digest of the token, 32 bytes")
#define AL_FIELDS_REC_IDENTITY_ISSUE(U8, U16, U32, U64, ID, STR, BYTES)            \
    U8(joined, "1: with the token, which is used up; older certificates are void") \
    U64(wall_ms, "wall clock")                                                     \
    STR(agent, "whose identity; the serial number is the LSN of this record")      \
    BYTES(key, "Ed25519 key, 32 bytes; empty: as before")
#define AL_FIELDS_REC_IDENTITY_REVOKE(U8, U16, U32, U64, ID, STR, BYTES) \
    U8(forget, "1: it is gone")                                          \
    U64(wall_ms, "wall clock")                                           \
    STR(agent, "whose identity")

/* M(symbol, lower, number, meaning) */
#define AL_RECORDS(M)                                                     \
    M(EPOCH, epoch, 1, "the node started")                                \
    M(AGENT_ADD, agent_add, 2, "an agent exists")                         \
    M(AGENT_REMOVE, agent_remove, 3, "an agent is gone")                  \
    M(PRODUCER_OPEN, producer_open, 4, "a producer exists")               \
    M(PRODUCER_CLOSE, producer_close, 5, "a producer is retired")         \
    M(STREAM_OPEN, stream_open, 6, "a stream exists")                     \
    M(STREAM_CLOSE, stream_close, 7, "a stream is gone")                  \
    M(PUBLISH, publish, 8, "a message was admitted")                      \
    M(DUE, due, 9, "a scheduled message is due")                          \
    M(ACK, ack, 10, "deliveries ended well")                              \
    M(ATTEMPT, attempt, 11, "an attempt failed")                          \
    M(DEAD, dead, 12, "a message became a dead letter")                   \
    M(REDRIVE, redrive, 13, "a dead letter is sent again")                \
    M(PURGE, purge, 14, "a dead letter was deleted")                      \
    M(CARRY, carry, 15, "an old record was copied forward")               \
    M(CANCEL, cancel, 34, "a message was taken back by its sender")       \
    M(KIND_SET, kind_set, 28, "a kind was registered")                    \
    M(KIND_REMOVE, kind_remove, 29, "the registration of a kind is gone") \
    M(RULE_SET, rule_set, 48, "a rule of the permissions exists")         \
    M(RULE_REMOVE, rule_remove, 49, "a rule is gone")                     \
    M(SCHEDULE_SET, schedule_set, 35, "a schedule exists")                \
    M(SCHEDULE_REMOVE, schedule_remove, 36, "a schedule is gone")         \
    M(COMMIT, commit, 16, "the next records count only together")         \
    M(KV_SET, kv_set, 17, "a value of an agent's state")                  \
    M(KV_DELETE, kv_delete, 18, "a value is gone")                        \
    M(GAP, gap, 30, "missing messages of a producer were given up")       \
    M(RETAIN_SET, retain_set, 31, "what an agent's streams keep")         \
    M(KEEP, keep, 32, "messages that are about to end are kept")          \
    M(FORGET, forget, 33, "a stream's history was shortened")             \
    M(GROUP_ADD, group_add, 20, "a group exists")                         \
    M(GROUP_REMOVE, group_remove, 21, "a group is gone")                  \
    M(GROUP_POST, group_post, 22, "a group's next message")               \
    M(GROUP_TRIM, group_trim, 23, "a group's history was shortened")      \
    M(WORKFLOW, workflow, 40, "a workflow begins or is forgotten")        \
    M(NUMBERED, numbered, 41, "a message of a workflow was admitted")     \
    M(IDENTITY_SET, identity_set, 52, "an identity waits for its token")  \
    M(IDENTITY_ISSUE, identity_issue, 53, "it gets a certificate")        \
    M(IDENTITY_REVOKE, identity_revoke, 54, "an identity is revoked")

/* Record types as they stand in the journal. */
enum ali_record_type {
#define AL_X(symbol, lower, number, doc) ALI_REC_##symbol = (number),
    AL_RECORDS(AL_X)
#undef AL_X
};

/* Struct, size, encoder and decoder of each record, as for messages (wire/messages.h). `ext` are
 * the optional fields behind the others: what came later and most records do not need. */
#define AL_X(symbol, lower, number, doc)                                            \
    struct ali_rec_##lower {                                                        \
        AL_DECLARE_FIELDS(AL_FIELDS_REC_##symbol)                                   \
        struct al_str ext;                                                          \
    };                                                                              \
    size_t ali_size_rec_##lower(const struct ali_rec_##lower *m);                   \
    uint8_t *ali_encode_rec_##lower(uint8_t *out, const struct ali_rec_##lower *m); \
    int ali_decode_rec_##lower(struct al_str body, struct ali_rec_##lower *m);
AL_RECORDS(AL_X)
#undef AL_X

/* PUBLISH record: flags below are those of the frame, above stands the count of a closed gap. */
enum { ALI_FLAGS_MASK = 15, ALI_SKIPPED_SHIFT = 4 };

/* Tags of optional fields. */
enum { ALI_DEAD_EXT_BYTES = 1 /* u32: payload bytes of the message */ };
enum { ALI_POST_EXT_EVICT = 1 /* u32: idempotency keys that go first, as in PUBLISH */ };
enum { ALI_STREAM_EXT_BASE = 1 /* u32: the unordered stream whose lane this is; in items too */ };
enum { ALI_PUBLISH_EXT_TRACK = 1 /* u32: stream of the track, if another one than usual */ };
enum {
    ALI_SCHEDULE_EXT_OF_KIND = 1 /* u32 1: priority of the kind, at each firing; in items too */
};
/* Flags of a stream: lanes.c. */
enum { ALI_STREAM_UNORDERED = 1, ALI_STREAM_LANE = 2 };
/* Beside the priority, in what identifies a stream. */
#define ALI_PRIORITY_UNORDERED 0x80u

/* A u32 as the only optional field, written to room[8]; none if it is 0. */
struct al_str ali_ext_put_u32(uint8_t room[8], uint16_t tag, uint32_t value);
/* Likewise for a u64, also if it is 0. */
struct al_str ali_ext_put_u64(uint8_t room[12], uint16_t tag, uint64_t value);
/* The u32 of that tag; 0: there is none. */
uint32_t ali_ext_get_u32(struct al_str ext, uint16_t tag);

/* NUMBERED: a PUBLISH stands behind this many bytes. */
#define ALI_NUMBERED_HEAD 16u

/* What a CARRY record holds. */
enum {
    ALI_CARRY_MESSAGE = 1,
    ALI_CARRY_DELAYED = 2,
    ALI_CARRY_DEAD = 3,
    ALI_CARRY_END = 4,
    ALI_CARRY_GROUP = 5,
    ALI_CARRY_HISTORY = 6
};

#endif
