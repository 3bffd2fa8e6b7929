/* messages.h - the native protocol: one table of all messages.
 *
 * The table yields the enum, the structs, the codec, the codec's tests and the tables of
 * docs/spec/protocol.md. Adding a message: a row in AL_MESSAGES and its AL_FIELDS_ macro. Numbers
 * are never reused. Texts and byte fields of a decoded message are views into the frame. */
#ifndef AL_WIRE_MESSAGES_H
#define AL_WIRE_MESSAGES_H

#include "wire/fields.h"
#include "wire/messages_acl.h"
#include "wire/messages_history.h"
#include "wire/messages_identity.h"
#include "wire/messages_workflow.h"
#include "wire/values.h"

#define AL_WIRE_MAGIC       0x4b4e4c41u /* "ALNK" */
#define AL_WIRE_VERSION     1u
#define AL_WIRE_HEADER_SIZE 8u

/* ---- session ---------------------------------------------------------------------------- */
#define AL_FIELDS_HELLO(U8, U16, U32, U64, ID, STR, BYTES)                        \
    U32(magic, "0x4b4e4c41, the bytes ALNK")                                      \
    U16(version_min, "lowest protocol version the client speaks")                 \
    U16(version_max, "highest")                                                   \
    U64(features, "optional features the client knows; 0 today")                  \
    ID(instance, "random id of this client instance; the same after a reconnect") \
    STR(client, "software name and version, for logs")
#define AL_FIELDS_WELCOME(U8, U16, U32, U64, ID, STR, BYTES)       \
    U16(version, "version in use from here on")                    \
    U64(features, "features both sides know")                      \
    U64(node_epoch, "grows by one with every start of the node")   \
    U32(payload_max, "largest payload in bytes")                   \
    U32(publish_window, "publishes that may be without a receipt") \
    U32(credit_max, "largest credit of an attach, in messages")    \
    U32(uid, "the user that the node sees on this connection")     \
    STR(node, "name of the node")
#define AL_FIELDS_PING(U8, U16, U32, U64, ID, STR, BYTES) U64(token, "any value")
#define AL_FIELDS_PONG(U8, U16, U32, U64, ID, STR, BYTES) U64(token, "the value of the ping")
#define AL_FIELDS_GOODBYE(U8, U16, U32, U64, ID, STR, BYTES)                       \
    U8(flags, "1: keep leases until they time out; they can be settled by SETTLE") \
    STR(reason, "for logs; may be empty")
#define AL_FIELDS_ERROR(U8, U16, U32, U64, ID, STR, BYTES)                           \
    U32(request, "request or channel number of the refused frame, 0 if it has none") \
    U16(code, "number of the error table")                                           \
    U8(about, "type of the refused frame")                                           \
    U8(fatal, "1: the connection is closed behind this frame")                       \
    STR(detail, "what was wrong, where, and what to do")

/* ---- publish ---------------------------------------------------------------------------- */
#define AL_FIELDS_PRODUCER_OPEN(U8, U16, U32, U64, ID, STR, BYTES)                        \
    U32(request, "number chosen by the client, returned in the answer")                   \
    U64(producer, "0: a new producer; otherwise the one to go on with after a reconnect") \
    U32(epoch, "epoch of that producer")
#define AL_FIELDS_PRODUCER_READY(U8, U16, U32, U64, ID, STR, BYTES) \
    U32(request, "from PRODUCER_OPEN")                              \
    U64(producer, "its number, never given out again")              \
    U32(epoch, "its epoch")
#define AL_FIELDS_CHANNEL_OPEN(U8, U16, U32, U64, ID, STR, BYTES)                            \
    U32(channel, "number chosen by the client, unique on the connection, not 0")             \
    U64(producer, "a producer that was made ready on this connection")                       \
    U64(first_pseq, "lowest producer sequence that will be sent on this channel")            \
    U8(priority, "0 (lowest) to 9; part of the stream's identity")                           \
    U8(flags, "what becomes of a gap: 0 refused, 1 wait, 2 skip, 3 fail; 4 more: unordered") \
    STR(from, "sending agent")                                                               \
    STR(to, "receiving agent")                                                               \
    STR(label, "stream label; may be empty")
#define AL_FIELDS_CHANNEL_READY(U8, U16, U32, U64, ID, STR, BYTES) \
    U32(channel, "the channel")                                    \
    U32(stream, "number of the stream")                            \
    U64(last_pseq, "highest producer sequence of this producer that the stream has taken")
#define AL_FIELDS_CHANNEL_RESUME(U8, U16, U32, U64, ID, STR, BYTES) \
    U32(channel, "a channel that is held after a refusal")          \
    U64(first_pseq, "the producer sequence that will be sent next")
#define AL_FIELDS_CHANNEL_CLOSE(U8, U16, U32, U64, ID, STR, BYTES) U32(channel, "the channel")
#define AL_FIELDS_PUBLISH(U8, U16, U32, U64, ID, STR, BYTES)                     \
    U32(channel, "the channel")                                                  \
    U64(pseq, "producer sequence: one more than the one before on this channel") \
    U16(flags, "1: tell the end (END); 2: volatile, no receipt; "                \
               "4: priority of its kind")                                        \
    U64(ttl_ms, "0, or life time from admission")                                \
    U64(due_ms, "0, or not delivered before this wall-clock time")               \
    BYTES(envelope, "the message: an ENVELOPE body")
#define AL_FIELDS_RECEIPT(U8, U16, U32, U64, ID, STR, BYTES)                                   \
    U32(channel, "the channel")                                                                \
    U64(pseq, "first producer sequence of the run")                                            \
    U32(count, "length of the run: pseq, pseq + 1, …")                                         \
    U32(stream, "the stream")                                                                  \
    U64(seq,                                                                                   \
        "stream sequence of the first; they run with pseq. 0: not known any more, or not due") \
    U8(durability, "0 volatile, 1 local: flushed to this node's disk, 2 replicated")           \
    U8(duplicate, "1: the message was there already, this is its first receipt")
#define AL_FIELDS_REFUSED(U8, U16, U32, U64, ID, STR, BYTES)                        \
    U32(channel, "the channel")                                                     \
    U64(pseq, "the producer sequence that was refused")                             \
    U16(code, "number of the error table; the channel is held until it is resumed") \
    STR(detail, "what was wrong and what to do")

/* What the sender wrote; the node passes it on byte for byte. */
#define AL_FIELDS_ENVELOPE(U8, U16, U32, U64, ID, STR, BYTES)               \
    ID(message_id, "UUID version 4 by the sender")                          \
    U64(timestamp_ms, "the sender's wall clock")                            \
    STR(kind, "kind of message; may be empty")                              \
    STR(key, "idempotency key; may be empty")                               \
    STR(content_type, "media type of the payload; may be empty")            \
    BYTES(headers, "pairs {u16 length, name, u16 length, value}")           \
    BYTES(ext, "optional fields {u16 tag, u16 length, value}: see AL_EXT_") \
    BYTES(payload, "the payload")

#define AL_FIELDS_GAP_NACK(U8, U16, U32, U64, ID, STR, BYTES)                       \
    U32(number, "to a client: the channel; to the node: the stream")                \
    U64(start, "first missing number: producer sequence, to the node the sequence") \
    U64(end, "last missing number")

/* A reply in parts as a response: of media type AL_PARTS_TYPE. */
#define AL_FIELDS_PARTS(U8, U16, U32, U64, ID, STR, BYTES)         \
    U64(attempt, "as in PART")                                     \
    U32(count, "how many parts there are: the end mark")           \
    BYTES(parts, "all of them in order, each {u32 length, bytes}") \
    STR(response_type, "media type of the response proper")        \
    BYTES(response, "the response proper, behind the last part")

/* ---- deliver ---------------------------------------------------------------------------- */
#define AL_FIELDS_ATTACH(U8, U16, U32, U64, ID, STR, BYTES)                   \
    U32(request, "number chosen by the client")                               \
    U8(flags, "1: take over; 2: do not create the agent; 4: share the inbox") \
    U32(credit, "messages that may be given out and not settled at one time") \
    U32(credit_bytes, "payload bytes likewise")                               \
    U32(lease_ms, "0: by kind; otherwise lease time of each message")         \
    STR(agent, "agent whose inbox is to be received")
#define AL_FIELDS_ATTACHED(U8, U16, U32, U64, ID, STR, BYTES)   \
    U32(request, "from ATTACH")                                 \
    U32(agent, "number of the agent, used in the frames below") \
    U8(resumed, "1: the session of this instance goes on, its leases hold")
#define AL_FIELDS_DETACH(U8, U16, U32, U64, ID, STR, BYTES) \
    U32(agent, "the agent")                                 \
    U8(flags, "1: keep leases until they time out")
#define AL_FIELDS_DETACHED(U8, U16, U32, U64, ID, STR, BYTES) \
    U32(agent, "the agent")                                   \
    U16(code, "0 as asked for, or why: FENCED, NOT_FOUND")    \
    STR(detail, "for logs")
#define AL_FIELDS_CREDIT(U8, U16, U32, U64, ID, STR, BYTES) \
    U32(agent, "the agent")                                 \
    U32(credit, "new limit in messages; 0 pauses")          \
    U32(credit_bytes, "new limit in payload bytes")
#define AL_FIELDS_DELIVER(U8, U16, U32, U64, ID, STR, BYTES)                                     \
    U32(agent, "receiving agent")                                                                \
    U32(stream, "the stream")                                                                    \
    U64(seq, "sequence in the stream")                                                           \
    U64(prev_seq, "sequence of the message before it in this stream that was not dropped, or 0") \
    U64(lease, "lease: names this attempt; must come back with ACK, NACK, EXTEND")               \
    U32(lease_ms, "lease time, counted while the message is the head of its stream")             \
    U16(attempt, "1 for the first attempt")                                                      \
    U8(flags, "1: redelivered (possibly seen before); 2: a gap was closed before; 4: follows")   \
    U8(priority, "of the stream")                                                                \
    U64(admitted_ms, "wall clock of the node at admission")                                      \
    STR(from, "sending agent")                                                                   \
    STR(label, "stream label")                                                                   \
    BYTES(envelope, "the message: an ENVELOPE body")
#define AL_FIELDS_ACK(U8, U16, U32, U64, ID, STR, BYTES)                         \
    U32(agent, "receiving agent")                                                \
    U32(stream, "the stream")                                                    \
    U64(seq, "sequence")                                                         \
    U64(lease, "lease from DELIVER")                                             \
    U8(status, "1 SUCCESS, 2 PARTIAL_SUCCESS, 3 FAILED (dead letter, no retry)") \
    U8(flags, "1: also every earlier one of the stream that is out")             \
    STR(reason, "reason or error; may be empty")                                 \
    STR(response_type, "media type of the response; may be empty")               \
    BYTES(metadata, "headers-style pairs")                                       \
    BYTES(response, "the reply; may be empty")
#define AL_FIELDS_ACKED(U8, U16, U32, U64, ID, STR, BYTES)                                       \
    U32(agent, "the agent")                                                                      \
    U32(stream, "the stream")                                                                    \
    U64(seq, "first sequence of the run whose ack (or final NACK) is durable")                   \
    U32(count, "acks in the run; sequences rise but may have holes where messages were dropped") \
    U64(last_seq, "last sequence of the run")
#define AL_FIELDS_NACK(U8, U16, U32, U64, ID, STR, BYTES)     \
    U32(agent, "receiving agent")                             \
    U32(stream, "the stream")                                 \
    U64(seq, "sequence")                                      \
    U64(lease, "lease from DELIVER")                          \
    U32(retry_after_ms, "0: by policy; otherwise not before") \
    STR(reason, "why; kept in the attempt history")
#define AL_FIELDS_EXTEND(U8, U16, U32, U64, ID, STR, BYTES)       \
    U32(agent, "receiving agent")                                 \
    U32(stream, "the stream")                                     \
    U64(seq, "sequence")                                          \
    U64(lease, "lease from DELIVER")                              \
    U32(lease_ms, "new lease time from now; 0: the original one") \
    U16(retrying, "0, or the RETRYING status: the receiver's own attempt count")
#define AL_FIELDS_PART(U8, U16, U32, U64, ID, STR, BYTES)                                  \
    U32(agent, "receiving agent")                                                          \
    U32(stream, "the stream")                                                              \
    U64(seq, "sequence")                                                                   \
    U64(lease, "lease from DELIVER")                                                       \
    U64(attempt, "the lease under which the first part was sent: names this run of parts") \
    U32(part, "1, 2, 3, … within the attempt")                                             \
    BYTES(data, "the part; not empty")
#define AL_FIELDS_REPLY_PART(U8, U16, U32, U64, ID, STR, BYTES) \
    ID(message_id, "the message that is being replied to")      \
    U32(stream, "its stream")                                   \
    U64(seq, "its sequence")                                    \
    U64(attempt, "from PART")                                   \
    U32(part, "from PART")                                      \
    BYTES(data, "the part")
#define AL_FIELDS_RECALL(U8, U16, U32, U64, ID, STR, BYTES)                                       \
    U32(agent, "the agent")                                                                       \
    U32(stream, "the stream")                                                                     \
    U64(seq, "from this sequence on, leases given out before are void")                           \
    U16(code, "why: TIMEOUT, CANCELLED (an earlier message failed, or this one was taken back), " \
              "FENCED, UNKNOWN_GROUP (the group was removed)")
#define AL_FIELDS_SETTLE_REFUSED(U8, U16, U32, U64, ID, STR, BYTES) \
    U32(agent, "the agent")                                         \
    U32(stream, "the stream")                                       \
    U64(seq, "sequence of the refused ACK, NACK or EXTEND")         \
    U64(lease, "its lease")                                         \
    U16(code, "LEASE_LOST, OUT_OF_ORDER, NOT_FOUND, NOT_ATTACHED")
#define AL_FIELDS_SETTLE(U8, U16, U32, U64, ID, STR, BYTES)                \
    U32(request, "number chosen by the client")                            \
    ID(message_id, "a message that is out")                                \
    U8(action, "1 SUCCESS, 2 PARTIAL_SUCCESS, 3 FAILED, 4 NACK, 5 EXTEND") \
    U32(time_ms, "NACK: retry after; EXTEND: lease time")                  \
    STR(agent, "receiving agent; empty: the one that has it out")          \
    STR(reason, "reason or error")                                         \
    STR(response_type, "media type of the response")                       \
    BYTES(response, "the reply")
#define AL_FIELDS_END(U8, U16, U32, U64, ID, STR, BYTES) \
    ID(message_id, "the message")                        \
    U32(stream, "its stream")                            \
    U64(seq, "its sequence")                             \
    U8(state, "how it ended: a state of RECORD")         \
    U16(attempts, "attempts made")                       \
    U64(end_ms, "wall clock of the end")                 \
    STR(reason, "reason or error")                       \
    STR(response_type, "media type of the response")     \
    BYTES(response, "the reply")
#define AL_FIELDS_END_WATCH(U8, U16, U32, U64, ID, STR, BYTES) \
    U32(stream, "stream of a message that this client sent")   \
    U64(seq, "its sequence: END follows, at once if it has ended already")

/* ---- queries and administration ---------------------------------------------------------- */
#define AL_FIELDS_RECORD_GET(U8, U16, U32, U64, ID, STR, BYTES)               \
    U32(request, "number chosen by the client")                               \
    ID(message_id, "a recent message, or zero to ask by stream and sequence") \
    U32(stream, "the stream")                                                 \
    U64(seq, "the sequence")
#define AL_FIELDS_RECORD(U8, U16, U32, U64, ID, STR, BYTES)                                    \
    U32(request, "from RECORD_GET")                                                            \
    ID(message_id, "zero where it is not known any more")                                      \
    U32(stream, "the stream")                                                                  \
    U64(seq, "the sequence")                                                                   \
    U8(state,                                                                                  \
       "1 waiting, 2 leased, 3 delayed, 4 delivered, 5 partial, 6 failed, 7 dead, 8 expired, " \
       "9 ended, outcome no longer kept, 10 cancelled")                                        \
    U16(attempts, "attempts made")                                                             \
    U64(last_attempt_ms, "wall clock of the last attempt, 0: none")                            \
    U64(due_ms, "wall clock before which it is not tried again, 0: now")                       \
    U64(end_ms, "wall clock of the end, 0: not ended")                                         \
    STR(from, "sending agent")                                                                 \
    STR(to, "receiving agent")                                                                 \
    STR(label, "stream label")                                                                 \
    STR(reason, "reason or error of the end")                                                  \
    BYTES(attempts_log, "ATTEMPT bodies, each behind a u16 length")
#define AL_FIELDS_ATTEMPT(U8, U16, U32, U64, ID, STR, BYTES)                   \
    U16(attempt, "number of the attempt")                                      \
    U16(code, "why it failed: TIMEOUT, CLOSED (disconnect), CANCELLED (nack)") \
    U64(at_ms, "wall clock")                                                   \
    STR(reason, "the receiver's words")
#define AL_FIELDS_AGENT_LIST(U8, U16, U32, U64, ID, STR, BYTES)             \
    U32(request, "number chosen by the client; answers: AGENT_ROW …, DONE") \
    U32(limit, "rows at most; go on with `after` = last name")              \
    U8(exact, "1: only the agent called `after`")                           \
    STR(after, "names behind this one")
#define AL_FIELDS_AGENT_ROW(U8, U16, U32, U64, ID, STR, BYTES)      \
    U32(request, "from AGENT_LIST")                                 \
    U32(agent, "number of the agent")                               \
    U32(uid, "owning user")                                         \
    U8(attached, "receivers that are attached, at most 255")        \
    U64(created_ms, "wall clock")                                   \
    U64(ready, "messages waiting")                                  \
    U64(leased, "messages out with a receiver")                     \
    U64(delayed, "messages waiting for a time")                     \
    U64(dead, "dead letters")                                       \
    U64(leased_bytes, "payload bytes of the messages that are out") \
    U32(streams, "streams to this agent")                           \
    STR(name, "its name")
#define AL_FIELDS_AGENT_ADD(U8, U16, U32, U64, ID, STR, BYTES) \
    U32(request, "number chosen by the client; answer: DONE")  \
    STR(name, "the new agent")
#define AL_FIELDS_AGENT_REMOVE(U8, U16, U32, U64, ID, STR, BYTES) \
    U32(request, "number chosen by the client; answer: DONE")     \
    U8(flags, "1: even if messages are waiting; they are lost")   \
    STR(name, "the agent")
#define AL_FIELDS_DONE(U8, U16, U32, U64, ID, STR, BYTES) \
    U32(request, "the request that is finished")          \
    U16(code, "0, or number of the error table")          \
    U64(count, "rows or messages concerned")              \
    STR(detail, "text for people")
#define AL_FIELDS_STREAM_LIST(U8, U16, U32, U64, ID, STR, BYTES)             \
    U32(request, "number chosen by the client; answers: STREAM_ROW …, DONE") \
    U32(limit, "rows at most")                                               \
    U32(after, "streams with a higher number")                               \
    STR(agent, "receiving agent")
#define AL_FIELDS_STREAM_ROW(U8, U16, U32, U64, ID, STR, BYTES) \
    U32(request, "from STREAM_LIST")                            \
    U32(stream, "the stream")                                   \
    U8(priority, "its priority")                                \
    U64(next_seq, "sequence of the next message")               \
    U64(head_seq, "oldest pending sequence, 0: none")           \
    U64(pending, "messages pending")                            \
    U32(leased, "of them out")                                  \
    U16(attempts, "failed attempts of the head")                \
    U64(due_ms, "head waits for a retry until then, 0: no")     \
    STR(from, "sending agent")                                  \
    STR(label, "label")
#define AL_FIELDS_DLQ_LIST(U8, U16, U32, U64, ID, STR, BYTES)             \
    U32(request, "number chosen by the client; answers: DLQ_ROW …, DONE") \
    U32(limit, "rows at most")                                            \
    U64(after, "positions behind this one")                               \
    STR(agent, "receiving agent; empty: all")
#define AL_FIELDS_DLQ_ROW(U8, U16, U32, U64, ID, STR, BYTES)                                       \
    U32(request, "from DLQ_LIST or DLQ_GET")                                                       \
    U64(position, "place in the queue")                                                            \
    ID(message_id, "the message")                                                                  \
    U32(stream, "its stream")                                                                      \
    U64(seq, "its sequence")                                                                       \
    U16(attempts, "attempts made")                                                                 \
    U16(code, "why: EXPIRED, DEAD_LETTERED (retries used up), CANCELLED (FAILED by the receiver)") \
    U64(dead_ms, "wall clock of the death")                                                        \
    STR(from, "sending agent")                                                                     \
    STR(to, "receiving agent")                                                                     \
    STR(label, "stream label")                                                                     \
    STR(reason, "DLQ_GET only: reason or error")                                                   \
    BYTES(attempts_log, "DLQ_GET only: as in RECORD")                                              \
    BYTES(envelope, "DLQ_GET only: the message")
#define AL_FIELDS_DLQ_GET(U8, U16, U32, U64, ID, STR, BYTES)            \
    U32(request, "number chosen by the client; answers: DLQ_ROW, DONE") \
    ID(message_id, "the message")
#define AL_FIELDS_DLQ_REDRIVE(U8, U16, U32, U64, ID, STR, BYTES)             \
    U32(request, "number chosen by the client; answer: DONE with the count") \
    ID(message_id, "one message, or zero: all of the agent, in their order") \
    STR(agent, "receiving agent")
#define AL_FIELDS_DLQ_PURGE(U8, U16, U32, U64, ID, STR, BYTES)               \
    U32(request, "number chosen by the client; answer: DONE with the count") \
    ID(message_id, "one message, or zero: all of the agent")                 \
    STR(agent, "receiving agent")
#define AL_FIELDS_STATUS_GET(U8, U16, U32, U64, ID, STR, BYTES) \
    U32(request, "number chosen by the client; answer: STATUS")
#define AL_FIELDS_STATUS(U8, U16, U32, U64, ID, STR, BYTES)            \
    U32(request, "from STATUS_GET")                                    \
    U64(node_epoch, "starts of this node so far")                      \
    U64(start_ms, "wall clock of this start")                          \
    U64(lsn, "last journal record")                                    \
    U64(agents, "agents")                                              \
    U64(streams, "streams")                                            \
    U64(connections, "open connections")                               \
    U64(waiting, "messages waiting")                                   \
    U64(leased, "messages out")                                        \
    U64(delayed, "messages that wait for a time")                      \
    U64(dead, "dead letters")                                          \
    U64(accepted, "messages accepted since this start")                \
    U64(delivered, "deliveries ended well")                            \
    U64(failed, "deliveries ended badly")                              \
    U64(retried, "failed attempts")                                    \
    U64(redelivered, "deliveries marked as possibly seen")             \
    U64(duplicates, "duplicate publishes suppressed")                  \
    U64(refused, "publishes refused")                                  \
    U64(expired, "messages expired")                                   \
    U64(volatile_sent, "volatile messages passed on")                  \
    U64(volatile_dropped, "volatile messages dropped")                 \
    U64(state_bytes, "memory of the node's state")                     \
    U8(disk_full, "1: publishes are refused because the disk is full") \
    STR(node, "name of the node")
#define AL_FIELDS_METRICS_GET(U8, U16, U32, U64, ID, STR, BYTES) \
    U32(request, "number chosen by the client; answers: METRICS_ROW …, DONE")
#define AL_FIELDS_METRICS_ROW(U8, U16, U32, U64, ID, STR, BYTES)             \
    U32(request, "from METRICS_GET")                                         \
    U64(sent, "messages accepted")                                           \
    U64(success, "deliveries ended well")                                    \
    U64(failure, "deliveries ended badly")                                   \
    U64(retries, "failed attempts")                                          \
    U64(latency_sum_ms, "admission to end, summed over success and failure") \
    STR(kind, "kind; empty: messages without one")

/* ---- taking back ------------------------------------------------------------------------- */
#define AL_FIELDS_CANCEL(U8, U16, U32, U64, ID, STR, BYTES)                   \
    U32(request, "number chosen by the client; answer: DONE")                 \
    ID(message_id, "a message of this user, or zero: by stream and sequence") \
    U32(stream, "its stream")                                                 \
    U64(seq, "its sequence")
/* ---- kinds ------------------------------------------------------------------------------ */
#define AL_FIELDS_KIND_LIST(U8, U16, U32, U64, ID, STR, BYTES)             \
    U32(request, "number chosen by the client; answers: KIND_ROW …, DONE") \
    STR(kind, "only this kind; empty: all")
#define AL_FIELDS_KIND_ROW(U8, U16, U32, U64, ID, STR, BYTES)                                      \
    U32(request, "from KIND_LIST")                                                                 \
    U8(flags, "1: in the node's configuration; 2: registered; 4: seen since the node's start")     \
    U8(priority, "default priority for senders, 0 to 9; 255: none of its own")                     \
    U32(ack_timeout_ms, "lease time")                                                              \
    U32(retry_base_ms, "delay before the first retry")                                             \
    U32(retry_factor, "grows with each one by this factor")                                        \
    U32(retry_cap_ms, "but not beyond")                                                            \
    U32(retry_max, "retries before it becomes a dead letter")                                      \
    U8(breaker_own, "1: messages of this kind have a circuit breaker of their own")                \
    U8(breaker_percent, "errors that open the breaker, in percent; 0: never")                      \
    U32(breaker_samples, "outcomes that are needed before it may open")                            \
    U32(call_timeout_ms, "without ACK or EXTEND for so long: an error")                            \
    U32(breaker_open_ms, "stays open for so long before a probe")                                  \
    U64(sent, "messages accepted")                                                                 \
    U64(success, "deliveries ended well")                                                          \
    U64(failure, "deliveries ended badly")                                                         \
    U64(retries, "failed attempts")                                                                \
    U64(latency_sum_ms, "admission to end, summed over success and failure")                       \
    STR(kind, "kind; empty: messages without one")                                                 \
    STR(title, "readable name; may be empty")                                                      \
    BYTES(latency, "deliveries that ended within 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, " \
                   "5000, 10000, 30000, 60000 ms and later: 16 counts, u64 each, not cumulative")
#define AL_FIELDS_KIND_SET(U8, U16, U32, U64, ID, STR, BYTES)                       \
    U32(request, "number chosen by the client; answer: DONE")                       \
    U8(priority, "0 to 9; 255: none of its own")                                    \
    U32(ack_timeout_ms, "1 to 3600000")                                             \
    U32(retry_base_ms, "1 to 86400000")                                             \
    U32(retry_factor, "1 to 10")                                                    \
    U32(retry_cap_ms, "1 to 86400000")                                              \
    U32(retry_max, "0 to 100")                                                      \
    U8(breaker_own, "1: messages of this kind have a circuit breaker of their own") \
    U8(breaker_percent, "1 to 100; 0: never opens")                                 \
    U32(breaker_samples, "1 to 1000000")                                            \
    U32(call_timeout_ms, "1 to 3600000")                                            \
    U32(breaker_open_ms, "1 to 86400000")                                           \
    STR(kind, "the kind; not empty")                                                \
    STR(title, "readable name, at most 64 bytes; may be empty")
#define AL_FIELDS_KIND_REMOVE(U8, U16, U32, U64, ID, STR, BYTES) \
    U32(request, "number chosen by the client; answer: DONE")    \
    STR(kind, "the kind; what the configuration says counts again")
#define AL_FIELDS_BREAKER_LIST(U8, U16, U32, U64, ID, STR, BYTES)             \
    U32(request, "number chosen by the client; answers: BREAKER_ROW …, DONE") \
    U8(flags, "1: also those that are closed")                                \
    STR(agent, "receiving agent; empty: all, at most 10,000 rows")
#define AL_FIELDS_BREAKER_ROW(U8, U16, U32, U64, ID, STR, BYTES)                            \
    U32(request, "from BREAKER_LIST")                                                       \
    U8(state, "0 closed, 1 open, 2 half-open: a probe decides")                             \
    U64(since_ms, "wall clock of the last change, 0: none yet")                             \
    U32(left_ms, "open: time until half-open")                                              \
    U64(successes, "deliveries that ended well in the last minute")                         \
    U64(errors, "of the last minute: nacks, lease time-outs, FAILED, calls without answer") \
    U64(opened, "how often it has opened since the node's start")                           \
    U64(waiting, "messages that wait for the agent")                                        \
    STR(agent, "the destination")                                                           \
    STR(kind, "kind whose own breaker it is; empty: the agent's")
/* ---- commits and an agent's own state ---------------------------------------------------- */
#define AL_FIELDS_COMMIT(U8, U16, U32, U64, ID, STR, BYTES)                  \
    U32(request, "number chosen by the client; answer: COMMITTED")           \
    U64(producer, "the client's producer, which numbers its commits")        \
    U32(epoch, "its epoch")                                                  \
    U64(cseq, "number of the commit: one more than the producer's last one") \
    STR(agent, "whose deliveries, messages and state")                       \
    BYTES(acks, "ACK bodies, each behind a u32 length")                      \
    BYTES(sends, "COMMIT_SEND bodies, each behind a u32 length")             \
    BYTES(changes, "COMMIT_KV bodies, each behind a u32 length")
#define AL_FIELDS_COMMITTED(U8, U16, U32, U64, ID, STR, BYTES)                        \
    U32(request, "from COMMIT")                                                       \
    U16(code, "0: all of it is durable; otherwise nothing of it was applied")         \
    U32(index, "code not 0: the bad part, counted from 0 over acks, sends, changes; " \
               "4294967295: no part is")                                              \
    U8(duplicate, "1: it was applied already, when it was sent first")                \
    STR(detail, "what was wrong")
#define AL_FIELDS_COMMIT_SEND(U8, U16, U32, U64, ID, STR, BYTES) \
    U8(priority, "of the stream; 255: of its kind now")          \
    U16(flags, "1: tell the end (END)")                          \
    U64(ttl_ms, "as in PUBLISH")                                 \
    U64(due_ms, "as in PUBLISH")                                 \
    STR(to, "receiving agent")                                   \
    STR(label, "stream label")                                   \
    BYTES(envelope, "the message: an ENVELOPE body")
#define AL_FIELDS_COMMIT_KV(U8, U16, U32, U64, ID, STR, BYTES) \
    U8(action, "1 set, 2 delete")                              \
    STR(key, "1 to 255 bytes of text")                         \
    BYTES(value, "set: at most 16 KiB")
#define AL_FIELDS_KV_GET(U8, U16, U32, U64, ID, STR, BYTES)            \
    U32(request, "number chosen by the client; answers: KV_ROW, DONE") \
    STR(agent, "whose state")                                          \
    STR(key, "the key")
#define AL_FIELDS_KV_LIST(U8, U16, U32, U64, ID, STR, BYTES)           \
    U32(request, "number chosen by the client; answers: KV_ROW, DONE") \
    U32(limit, "rows at most; 0: as many as there may be")             \
    STR(agent, "whose state")                                          \
    STR(after, "keys behind this one")
#define AL_FIELDS_KV_ROW(U8, U16, U32, U64, ID, STR, BYTES) \
    U32(request, "from KV_GET or KV_LIST")                  \
    STR(key, "the key")                                     \
    BYTES(value, "its value")

/* ---- key figures, health and alerts ------------------------------------------------------ */
#define AL_FIELDS_HEALTH_GET(U8, U16, U32, U64, ID, STR, BYTES) \
    U32(request, "number chosen by the client; answers: FIGURES, HEALTH_ROW …, ALERT_ROW …, DONE")
#define AL_FIELDS_FIGURES(U8, U16, U32, U64, ID, STR, BYTES)                                   \
    U32(request, "from HEALTH_GET")                                                            \
    U32(delivery_ppm, "deliveries that ended well, of those that ended since the start, in "   \
                      "millionths; 4294967295: none has")                                      \
    U32(recent_delivery_ppm, "likewise of the last minute")                                    \
    U32(retry_ppm, "failed attempts, of all attempts that have ended")                         \
    U32(duplicate_ppm, "publishes that were suppressed as duplicates, of all that were taken") \
    U64(recovery_ms, "how long the last start took")                                           \
    U64(ordering_violations, "messages given out before an earlier one of their stream")       \
    U64(breakers_open, "circuit breakers that are not closed")
#define AL_FIELDS_HEALTH_ROW(U8, U16, U32, U64, ID, STR, BYTES)                                  \
    U32(request, "from HEALTH_GET")                                                              \
    U8(state, "0 ok, 1 degraded, 2 unhealthy")                                                   \
    U64(since_ms, "wall clock of the last change, 0: none since the start")                      \
    STR(component,                                                                               \
        "node (the worst of the others), disk, limits, destinations, delivery, order, recovery") \
    STR(reason, "why it is not ok")
#define AL_FIELDS_ALERT_ROW(U8, U16, U32, U64, ID, STR, BYTES)                           \
    U32(request, "from HEALTH_GET")                                                      \
    U8(state, "0 ok, 1 pending: the condition holds, not for long enough yet, 2 firing") \
    U64(since_ms, "wall clock of the last change, 0: none since the start")              \
    STR(alert, "delivery_rate, recovery_time, ordering_violation")                       \
    STR(condition, "when it fires")

/* ---- schedules --------------------------------------------------------------------------- */
#define AL_FIELDS_SCHEDULE_SET(U8, U16, U32, U64, ID, STR, BYTES)    \
    U32(request, "number chosen by the client; answer: DONE")        \
    U8(flags, "1: replace one of this name")                         \
    U8(priority, "of the messages; 255: of their kind, each time")   \
    U64(ttl_ms, "0, or life time of each message")                   \
    U64(until_ms, "0, or wall clock after which it does not fire")   \
    STR(name, "name of the schedule, as for agents")                 \
    STR(from, "sending agent")                                       \
    STR(to, "receiving agent")                                       \
    STR(label, "stream label")                                       \
    STR(text, "when: five cron fields in UTC, or @every and a time") \
    BYTES(envelope, "an ENVELOPE body without key; each message gets its own id and time")
#define AL_FIELDS_SCHEDULE_REMOVE(U8, U16, U32, U64, ID, STR, BYTES) \
    U32(request, "number chosen by the client; answer: DONE")        \
    STR(name, "the schedule")
#define AL_FIELDS_SCHEDULE_LIST(U8, U16, U32, U64, ID, STR, BYTES)             \
    U32(request, "number chosen by the client; answers: SCHEDULE_ROW …, DONE") \
    U32(limit, "rows at most; go on with `after` = last name")                 \
    STR(after, "names behind this one")
#define AL_FIELDS_SCHEDULE_ROW(U8, U16, U32, U64, ID, STR, BYTES)         \
    U32(request, "from SCHEDULE_LIST")                                    \
    U32(uid, "owning user")                                               \
    U8(priority, "of the messages; 255: of their kind")                   \
    U16(code, "why the firing that is due could not be done yet, 0")      \
    U64(set_ms, "wall clock when it was set")                             \
    U64(last_ms, "wall clock of the last firing, 0: none yet")            \
    U64(next_ms, "wall clock of the next one")                            \
    U64(until_ms, "wall clock after which it does not fire, 0: for ever") \
    U64(ttl_ms, "life time of each message, 0: none")                     \
    STR(name, "the schedule")                                             \
    STR(from, "sending agent")                                            \
    STR(to, "receiving agent")                                            \
    STR(label, "stream label")                                            \
    STR(text, "when")                                                     \
    STR(kind, "kind of the messages")

/* ---- groups ----------------------------------------------------------------------------- */
#define AL_FIELDS_GROUP_ADD(U8, U16, U32, U64, ID, STR, BYTES)         \
    U32(request, "number chosen by the client; answer: DONE")          \
    U64(keep_ms, "age up to which the history is kept, 0: 7 days")     \
    U64(keep_count, "messages that the history keeps, 0: any number")  \
    U64(keep_bytes, "bytes of envelopes that it keeps, 0: any number") \
    STR(group, "the new group: group:[namespace/]name")
#define AL_FIELDS_GROUP_REMOVE(U8, U16, U32, U64, ID, STR, BYTES) \
    U32(request, "number chosen by the client; answer: DONE")     \
    U8(flags, "1: even if members have not read everything")      \
    STR(group, "the group")
#define AL_FIELDS_GROUP_LIST(U8, U16, U32, U64, ID, STR, BYTES)             \
    U32(request, "number chosen by the client; answers: GROUP_ROW …, DONE") \
    U32(limit, "rows at most; go on with `after` = last name")              \
    U8(exact, "1: only the group called `after`")                           \
    STR(after, "names behind this one")
#define AL_FIELDS_GROUP_ROW(U8, U16, U32, U64, ID, STR, BYTES)           \
    U32(request, "from GROUP_LIST")                                      \
    U32(group, "number of the group")                                    \
    U32(uid, "owning user")                                              \
    U64(created_ms, "wall clock")                                        \
    U64(first_seq, "oldest message of the history; next_seq when empty") \
    U64(next_seq, "sequence of the next message")                        \
    U64(keep_ms, "age up to which the history is kept, 0: any")          \
    U64(keep_count, "messages that it keeps, 0: any number")             \
    U64(keep_bytes, "bytes of envelopes that it keeps, 0: any number")   \
    U64(bytes, "bytes of envelopes in the history")                      \
    U32(members, "members")                                              \
    STR(name, "its name")                                                \
    BYTES(hash, "of the newest message: the end of the chain, 32 bytes")
#define AL_FIELDS_GROUP_JOIN(U8, U16, U32, U64, ID, STR, BYTES)                            \
    U32(request, "number chosen by the client; answer: DONE, count is the sequence of it") \
    U64(from_seq, "first message that the member gets; 0: the one about its joining")      \
    STR(group, "the group; it must belong to the user")                                    \
    STR(agent, "the new member; the agent must exist")
#define AL_FIELDS_GROUP_LEAVE(U8, U16, U32, U64, ID, STR, BYTES)                           \
    U32(request, "number chosen by the client; answer: DONE, count is the sequence of it") \
    STR(group, "the group")                                                                \
    STR(agent, "the member; it or the group must belong to the user")
#define AL_FIELDS_GROUP_MEMBERS(U8, U16, U32, U64, ID, STR, BYTES)             \
    U32(request, "number chosen by the client; answers: GROUP_MEMBER …, DONE") \
    STR(group, "the group")
#define AL_FIELDS_GROUP_MEMBER(U8, U16, U32, U64, ID, STR, BYTES)                     \
    U32(request, "from GROUP_MEMBERS")                                                \
    U32(stream, "from the group to the member; its sequences are those of the group") \
    U64(joined_seq, "first message that it got")                                      \
    U64(left_seq, "0, or the last one: it has left and still has mail")               \
    U64(acked_seq, "its deliveries up to here have ended")                            \
    U64(pending, "deliveries that have not")                                          \
    U32(dead, "of those that have ended: dead letters that are still kept")           \
    STR(agent, "the member")
#define AL_FIELDS_GROUP_HISTORY(U8, U16, U32, U64, ID, STR, BYTES)                \
    U32(request, "number chosen by the client; answers: GROUP_ENTRY …, DONE")     \
    U32(limit, "entries at most; go on behind the last one")                      \
    U64(first_seq, "first message wanted; older ones than are kept are left out") \
    STR(group, "the group")                                                       \
    STR(agent, "member that asks; empty: the group's owner")
#define AL_FIELDS_GROUP_ENTRY(U8, U16, U32, U64, ID, STR, BYTES) \
    U32(request, "from GROUP_HISTORY")                           \
    U64(seq, "sequence in the group")                            \
    U8(what, "1 a message, 2 a member joined, 3 a member left")  \
    U64(wall_ms, "admission")                                    \
    STR(author, "sending agent; 2, 3: the member")               \
    BYTES(prev_hash, "hash of the message before, 32 bytes")     \
    BYTES(envelope, "the message: an ENVELOPE body")

/* M(symbol, lower-case name, number, direction, meaning); direction: C client to node, N node to
 * client, B both. ENVELOPE and ATTEMPT are bodies inside other frames and have no number. */
#define AL_MESSAGES(M)                                                                         \
    M(HELLO, hello, 0x01, C, "first frame of a client")                                        \
    M(WELCOME, welcome, 0x02, N, "first frame of the node")                                    \
    M(PING, ping, 0x03, B, "are you there")                                                    \
    M(PONG, pong, 0x04, B, "answer to PING")                                                   \
    M(GOODBYE, goodbye, 0x05, B, "retires the connection's producers; answered, then closed")  \
    M(ERROR, error, 0x06, N, "a frame was refused")                                            \
    M(PRODUCER_OPEN, producer_open, 0x10, C, "makes or resumes a producer")                    \
    M(PRODUCER_READY, producer_ready, 0x11, N, "answer")                                       \
    M(CHANNEL_OPEN, channel_open, 0x12, C, "binds a channel number to a stream")               \
    M(CHANNEL_READY, channel_ready, 0x13, N, "answer")                                         \
    M(CHANNEL_RESUME, channel_resume, 0x14, C, "goes on after a refusal")                      \
    M(CHANNEL_CLOSE, channel_close, 0x15, C, "forgets a channel number")                       \
    M(PUBLISH, publish, 0x16, C, "a message")                                                  \
    M(RECEIPT, receipt, 0x17, N, "a run of messages is durable")                               \
    M(REFUSED, refused, 0x18, N, "a message was not taken")                                    \
    M(ATTACH, attach, 0x20, C, "begins to receive an agent's inbox")                           \
    M(ATTACHED, attached, 0x21, N, "answer")                                                   \
    M(DETACH, detach, 0x22, C, "stops receiving")                                              \
    M(DETACHED, detached, 0x23, N, "receiving has stopped")                                    \
    M(CREDIT, credit, 0x24, C, "changes the credit")                                           \
    M(DELIVER, deliver, 0x25, N, "a message and its lease")                                    \
    M(ACK, ack, 0x26, C, "ends a delivery")                                                    \
    M(ACKED, acked, 0x27, N, "a run of acks is durable")                                       \
    M(NACK, nack, 0x28, C, "ends the attempt; the message is tried again by policy")           \
    M(EXTEND, extend, 0x29, C, "renews the lease")                                             \
    M(RECALL, recall, 0x2a, N, "leases are void")                                              \
    M(PART, part, 0x85, C, "a part of the reply to a message that is out")                     \
    M(REPLY_PART, reply_part, 0x86, N, "a part of a reply, passed on")                         \
    M(SETTLE_REFUSED, settle_refused, 0x2b, N, "an ACK, NACK or EXTEND was refused")           \
    M(SETTLE, settle, 0x2c, C, "settles a message by its id, without attaching; answer: DONE") \
    M(END, end, 0x30, N, "a tracked message has ended")                                        \
    M(END_WATCH, end_watch, 0x31, C, "asks for END again after a reconnect")                   \
    M(RECORD_GET, record_get, 0x40, C, "asks for a delivery record")                           \
    M(RECORD, record, 0x41, N, "a delivery record")                                            \
    M(AGENT_LIST, agent_list, 0x42, C, "lists agents")                                         \
    M(AGENT_ROW, agent_row, 0x43, N, "an agent")                                               \
    M(DONE, done, 0x44, N, "a request is finished")                                            \
    M(AGENT_ADD, agent_add, 0x45, C, "creates an agent")                                       \
    M(AGENT_REMOVE, agent_remove, 0x46, C, "removes an agent")                                 \
    M(STREAM_LIST, stream_list, 0x47, C, "lists the streams of an inbox")                      \
    M(STREAM_ROW, stream_row, 0x48, N, "a stream")                                             \
    M(DLQ_LIST, dlq_list, 0x49, C, "lists dead letters")                                       \
    M(DLQ_ROW, dlq_row, 0x4a, N, "a dead letter")                                              \
    M(DLQ_GET, dlq_get, 0x4b, C, "one dead letter with body and history")                      \
    M(DLQ_REDRIVE, dlq_redrive, 0x4c, C, "sends dead letters again")                           \
    M(DLQ_PURGE, dlq_purge, 0x4d, C, "deletes dead letters")                                   \
    M(STATUS_GET, status_get, 0x50, C, "asks for the node's status")                           \
    M(STATUS, status, 0x51, N, "the node's status")                                            \
    M(METRICS_GET, metrics_get, 0x52, C, "asks for the metrics by kind")                       \
    M(METRICS_ROW, metrics_row, 0x53, N, "the metrics of one kind")                            \
    M(CANCEL, cancel, 0x80, C, "takes a message back that has not ended")                      \
    M(KIND_LIST, kind_list, 0x54, C, "lists the kinds of messages")                            \
    M(KIND_ROW, kind_row, 0x55, N, "a kind, its settings and its metrics")                     \
    M(KIND_SET, kind_set, 0x56, C, "registers a kind")                                         \
    M(KIND_REMOVE, kind_remove, 0x57, C, "removes the registration of a kind")                 \
    M(BREAKER_LIST, breaker_list, 0x5c, C, "lists circuit breakers")                           \
    M(BREAKER_ROW, breaker_row, 0x5d, N, "a circuit breaker")                                  \
    M(SCHEDULE_SET, schedule_set, 0x81, C, "makes a schedule")                                 \
    M(SCHEDULE_REMOVE, schedule_remove, 0x82, C, "removes a schedule")                         \
    M(SCHEDULE_LIST, schedule_list, 0x83, C, "lists schedules")                                \
    M(SCHEDULE_ROW, schedule_row, 0x84, N, "a schedule")                                       \
    M(COMMIT, commit, 0x60, C, "acks, messages and changes of state, all or nothing")          \
    M(COMMITTED, committed, 0x61, N, "answer")                                                 \
    M(KV_GET, kv_get, 0x62, C, "asks for one value of an agent's state")                       \
    M(KV_LIST, kv_list, 0x63, C, "lists an agent's state")                                     \
    M(KV_ROW, kv_row, 0x64, N, "a key and its value")                                          \
    M(HEALTH_GET, health_get, 0x58, C, "asks for key figures, health and alerts")              \
    M(FIGURES, figures, 0x59, N, "key figures")                                                \
    M(HEALTH_ROW, health_row, 0x5a, N, "health of a component")                                \
    M(ALERT_ROW, alert_row, 0x5b, N, "an alert")                                               \
    M(GAP_NACK, gap_nack, 0x68, B, "numbers are missing: send them again")                     \
    M(RETAIN_SET, retain_set, 0x69, C, "says what an agent's streams keep")                    \
    M(HISTORY_LIST, history_list, 0x6a, C, "asks what is kept")                                \
    M(HISTORY_ROW, history_row, 0x6b, N, "what a stream keeps")                                \
    M(REPLAY, replay, 0x6c, C, "asks for messages again that have ended")                      \
    M(REPLAYED, replayed, 0x6d, N, "one of them; nothing is to be acknowledged")               \
    M(GROUP_ADD, group_add, 0x70, C, "creates a group")                                        \
    M(GROUP_REMOVE, group_remove, 0x71, C, "removes a group")                                  \
    M(GROUP_LIST, group_list, 0x72, C, "lists groups")                                         \
    M(GROUP_ROW, group_row, 0x73, N, "a group")                                                \
    M(GROUP_JOIN, group_join, 0x74, C, "makes an agent a member")                              \
    M(GROUP_LEAVE, group_leave, 0x75, C, "ends a membership")                                  \
    M(GROUP_MEMBERS, group_members, 0x76, C, "lists the members of a group")                   \
    M(GROUP_MEMBER, group_member, 0x77, N, "a member")                                         \
    M(GROUP_HISTORY, group_history, 0x78, C, "asks for a group's messages")                    \
    M(GROUP_ENTRY, group_entry, 0x79, N, "one of them")                                        \
    M(WORKFLOW_GET, workflow_get, 0x8c, C, "asks what has become of a workflow's numbers")     \
    M(WORKFLOW_LIST, workflow_list, 0x8d, C, "lists workflows")                                \
    M(WORKFLOW_ROW, workflow_row, 0x8e, N, "a workflow")                                       \
    M(WORKFLOW_RANGE, workflow_range, 0x8f, N, "numbers that are not processed")               \
    M(ACL_SET, acl_set, 0xa0, C, "makes a rule of the permissions")                            \
    M(ACL_REMOVE, acl_remove, 0xa1, C, "removes a rule")                                       \
    M(ACL_LIST, acl_list, 0xa2, C, "lists the rules")                                          \
    M(ACL_ROW, acl_row, 0xa3, N, "a rule")                                                     \
    M(ACL_TEST, acl_test, 0xa4, C, "asks what the rules say")                                  \
    M(ACL_VERDICT, acl_verdict, 0xa5, N, "answer")                                             \
    M(IDENTITY_NEW, identity_new, 0xa8, C, "makes an identity that waits for its token")       \
    M(IDENTITY_READY, identity_ready, 0xa9, N, "answer")                                       \
    M(JOIN, join, 0xaa, C, "uses a token up")                                                  \
    M(CERTIFICATE, certificate, 0xab, N, "answer to JOIN and CERT_RENEW")                      \
    M(CERT_RENEW, cert_renew, 0xac, C, "asks for the next certificate")                        \
    M(IDENTITY_REVOKE, identity_revoke, 0xad, C, "ends an identity and its connections")       \
    M(IDENTITY_LIST, identity_list, 0xae, C, "lists identities")                               \
    M(IDENTITY_ROW, identity_row, 0xaf, N, "an identity")

/* Bodies that stand inside others. */
#define AL_INNER(M)                                            \
    M(ENVELOPE, envelope, 0, B, "what the sender wrote")       \
    M(ATTEMPT, attempt, 0, N, "one failed attempt")            \
    M(PARTS, parts, 0, C, "a reply in parts")                  \
    M(COMMIT_SEND, commit_send, 0, C, "a message of a COMMIT") \
    M(COMMIT_KV, commit_kv, 0, C, "a change of state of a COMMIT")

/* AL_MSG_HELLO and so on: the type byte of a frame. */
enum al_msg_type {
#define AL_X(symbol, lower, number, direction, doc) AL_MSG_##symbol = (number),
    AL_MESSAGES(AL_X)
#undef AL_X
};

#define AL_X(symbol, lower, number, direction, doc)                           \
    struct al_msg_##lower {                                                   \
        AL_DECLARE_FIELDS(AL_FIELDS_##symbol)                                 \
    };                                                                        \
    /* Bytes of the encoded body. */                                          \
    size_t al_size_##lower(const struct al_msg_##lower *m);                   \
    /* Encodes the body at out (al_size_ bytes); returns the end. */          \
    uint8_t *al_encode_##lower(uint8_t *out, const struct al_msg_##lower *m); \
    /* Decodes a body; views into it. 0 or -AL_E_PROTOCOL. */                 \
    int al_decode_##lower(struct al_str body, struct al_msg_##lower *m);      \
    /* Appends header and body to buf. 0 or -AL_E_NOMEM. */                   \
    int al_put_##lower(struct al_buf *buf, const struct al_msg_##lower *m);
AL_MESSAGES(AL_X)
AL_INNER(AL_X)
#undef AL_X

/* ---- frames ------------------------------------------------------------------------------ */

/* Header: u32 body length, u8 type, u8 flags (0; 1 is reserved for MORE), u16 0. */
struct al_frame {
    uint8_t type;
    struct al_str body;
};

/* Takes the first frame from data. Returns its whole size, 0 if more bytes are needed, or
 * -AL_E_PROTOCOL / -AL_E_TOO_LARGE when no valid frame can begin here. */
int64_t al_frame_next(struct al_str data, uint32_t frame_max, struct al_frame *ret_frame);
/* Name of a message type, for instance "PUBLISH"; NULL if there is none. */
const char *al_msg_name(unsigned type);

/* The optional field `tag` in a run of {u16 tag, u16 length, value}; false if it is not there. */
int al_ext_find(struct al_str ext, uint16_t tag, struct al_str *ret_value);
/* Appends an optional field. 0, -AL_E_NOMEM, -AL_E_TOO_LARGE. */
int al_ext_put(struct al_buf *buf, uint16_t tag, struct al_str value);
/* Steps through header pairs: 1 and the pair, 0 at the end, -AL_E_PROTOCOL when malformed. */
int al_headers_next(struct al_str *headers, struct al_str *ret_name, struct al_str *ret_value);
/* Appends a header pair. 0, -AL_E_NOMEM, -AL_E_TOO_LARGE. */
int al_headers_put(struct al_buf *buf, struct al_str name, struct al_str value);

#endif
