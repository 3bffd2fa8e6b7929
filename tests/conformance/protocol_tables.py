"""The messages and errors of docs/spec/protocol.md, as data: what agentlink.py encodes and decodes."""

_TABLE = """
HELLO 0x01: u32 magic, u16 version_min, u16 version_max, u64 features, id instance, str client
WELCOME 0x02: u16 version, u64 features, u64 node_epoch, u32 payload_max, u32 publish_window,
    u32 credit_max, u32 uid, str node
PING 0x03: u64 token
PONG 0x04: u64 token
GOODBYE 0x05: u8 flags, str reason
ERROR 0x06: u32 request, u16 code, u8 about, u8 fatal, str detail
PRODUCER_OPEN 0x10: u32 request, u64 producer, u32 epoch
PRODUCER_READY 0x11: u32 request, u64 producer, u32 epoch
CHANNEL_OPEN 0x12: u32 channel, u64 producer, u64 first_pseq, u8 priority, u8 flags, str from,
    str to, str label
CHANNEL_READY 0x13: u32 channel, u32 stream, u64 last_pseq
CHANNEL_RESUME 0x14: u32 channel, u64 first_pseq
CHANNEL_CLOSE 0x15: u32 channel
PUBLISH 0x16: u32 channel, u64 pseq, u16 flags, u64 ttl_ms, u64 due_ms, bytes envelope
RECEIPT 0x17: u32 channel, u64 pseq, u32 count, u32 stream, u64 seq, u8 durability, u8 duplicate
REFUSED 0x18: u32 channel, u64 pseq, u16 code, str detail
ATTACH 0x20: u32 request, u8 flags, u32 credit, u32 credit_bytes, u32 lease_ms, str agent
ATTACHED 0x21: u32 request, u32 agent, u8 resumed
DETACH 0x22: u32 agent, u8 flags
DETACHED 0x23: u32 agent, u16 code, str detail
CREDIT 0x24: u32 agent, u32 credit, u32 credit_bytes
DELIVER 0x25: u32 agent, u32 stream, u64 seq, u64 prev_seq, u64 lease, u32 lease_ms, u16 attempt,
    u8 flags, u8 priority, u64 admitted_ms, str from, str label, bytes envelope
ACK 0x26: u32 agent, u32 stream, u64 seq, u64 lease, u8 status, u8 flags, str reason,
    str response_type, bytes metadata, bytes response
ACKED 0x27: u32 agent, u32 stream, u64 seq, u32 count, u64 last_seq
NACK 0x28: u32 agent, u32 stream, u64 seq, u64 lease, u32 retry_after_ms, str reason
EXTEND 0x29: u32 agent, u32 stream, u64 seq, u64 lease, u32 lease_ms, u16 retrying
RECALL 0x2a: u32 agent, u32 stream, u64 seq, u16 code
SETTLE_REFUSED 0x2b: u32 agent, u32 stream, u64 seq, u64 lease, u16 code
SETTLE 0x2c: u32 request, id message_id, u8 action, u32 time_ms, str agent, str reason,
    str response_type, bytes response
END 0x30: id message_id, u32 stream, u64 seq, u8 state, u16 attempts, u64 end_ms, str reason,
    str response_type, bytes response
END_WATCH 0x31: u32 stream, u64 seq
RECORD_GET 0x40: u32 request, id message_id, u32 stream, u64 seq
RECORD 0x41: u32 request, id message_id, u32 stream, u64 seq, u8 state, u16 attempts,
    u64 last_attempt_ms, u64 due_ms, u64 end_ms, str from, str to, str label, str reason,
    bytes attempts_log
AGENT_LIST 0x42: u32 request, u32 limit, u8 exact, str after
AGENT_ROW 0x43: u32 request, u32 agent, u32 uid, u8 attached, u64 created_ms, u64 ready,
    u64 leased, u64 delayed, u64 dead, u64 leased_bytes, u32 streams, str name
DONE 0x44: u32 request, u16 code, u64 count, str detail
AGENT_ADD 0x45: u32 request, str name
AGENT_REMOVE 0x46: u32 request, u8 flags, str name
STREAM_LIST 0x47: u32 request, u32 limit, u32 after, str agent
STREAM_ROW 0x48: u32 request, u32 stream, u8 priority, u64 next_seq, u64 head_seq, u64 pending,
    u32 leased, u16 attempts, u64 due_ms, str from, str label
DLQ_LIST 0x49: u32 request, u32 limit, u64 after, str agent
DLQ_ROW 0x4a: u32 request, u64 position, id message_id, u32 stream, u64 seq, u16 attempts,
    u16 code, u64 dead_ms, str from, str to, str label, str reason, bytes attempts_log,
    bytes envelope
DLQ_GET 0x4b: u32 request, id message_id
DLQ_REDRIVE 0x4c: u32 request, id message_id, str agent
DLQ_PURGE 0x4d: u32 request, id message_id, str agent
STATUS_GET 0x50: u32 request
STATUS 0x51: u32 request, u64 node_epoch, u64 start_ms, u64 lsn, u64 agents, u64 streams,
    u64 connections, u64 waiting, u64 leased, u64 delayed, u64 dead, u64 accepted, u64 delivered,
    u64 failed, u64 retried, u64 redelivered, u64 duplicates, u64 refused, u64 expired,
    u64 volatile_sent, u64 volatile_dropped, u64 state_bytes, u8 disk_full, str node
METRICS_GET 0x52: u32 request
METRICS_ROW 0x53: u32 request, u64 sent, u64 success, u64 failure, u64 retries,
    u64 latency_sum_ms, str kind
CANCEL 0x80: u32 request, id message_id, u32 stream, u64 seq
SCHEDULE_SET 0x81: u32 request, u8 flags, u8 priority, u64 ttl_ms, u64 until_ms, str name, str from,
    str to, str label, str text, bytes envelope
SCHEDULE_REMOVE 0x82: u32 request, str name
SCHEDULE_LIST 0x83: u32 request, u32 limit, str after
SCHEDULE_ROW 0x84: u32 request, u32 uid, u8 priority, u16 code, u64 set_ms, u64 last_ms, u64 next_ms,
    u64 until_ms, u64 ttl_ms, str name, str from, str to, str label, str text, str kind
KIND_LIST 0x54: u32 request, str kind
KIND_ROW 0x55: u32 request, u8 flags, u8 priority, u32 ack_timeout_ms, u32 retry_base_ms,
    u32 retry_factor, u32 retry_cap_ms, u32 retry_max, u8 breaker_own, u8 breaker_percent,
    u32 breaker_samples, u32 call_timeout_ms, u32 breaker_open_ms, u64 sent, u64 success,
    u64 failure, u64 retries, u64 latency_sum_ms, str kind, str title, bytes latency
KIND_SET 0x56: u32 request, u8 priority, u32 ack_timeout_ms, u32 retry_base_ms, u32 retry_factor,
    u32 retry_cap_ms, u32 retry_max, u8 breaker_own, u8 breaker_percent, u32 breaker_samples,
    u32 call_timeout_ms, u32 breaker_open_ms, str kind, str title
KIND_REMOVE 0x57: u32 request, str kind
HEALTH_GET 0x58: u32 request
FIGURES 0x59: u32 request, u32 delivery_ppm, u32 recent_delivery_ppm, u32 retry_ppm,
    u32 duplicate_ppm, u64 recovery_ms, u64 ordering_violations, u64 breakers_open
HEALTH_ROW 0x5a: u32 request, u8 state, u64 since_ms, str component, str reason
ALERT_ROW 0x5b: u32 request, u8 state, u64 since_ms, str alert, str condition
BREAKER_LIST 0x5c: u32 request, u8 flags, str agent
BREAKER_ROW 0x5d: u32 request, u8 state, u64 since_ms, u32 left_ms, u64 successes, u64 errors,
    u64 opened, u64 waiting, str agent, str kind
COMMIT 0x60: u32 request, u64 producer, u32 epoch, u64 cseq, str agent, bytes acks, bytes sends,
    bytes changes
COMMITTED 0x61: u32 request, u16 code, u32 index, u8 duplicate, str detail
KV_GET 0x62: u32 request, str agent, str key
KV_LIST 0x63: u32 request, u32 limit, str agent, str after
KV_ROW 0x64: u32 request, str key, bytes value
PART 0x85: u32 agent, u32 stream, u64 seq, u64 lease, u64 attempt, u32 part, bytes data
REPLY_PART 0x86: id message_id, u32 stream, u64 seq, u64 attempt, u32 part, bytes data
GAP_NACK 0x68: u32 number, u64 start, u64 end
RETAIN_SET 0x69: u32 request, u64 keep_count, u64 keep_bytes, u64 keep_ms, u8 off, str agent
HISTORY_LIST 0x6a: u32 request, u32 limit, u32 after, str agent
HISTORY_ROW 0x6b: u32 request, u32 stream, u64 keep_count, u64 keep_bytes, u64 keep_ms,
    u64 from_seq, u64 first_seq, u64 last_seq, u64 count, u64 bytes, u64 first_ms, u64 last_ms,
    u8 priority, str from, str label
REPLAY 0x6c: u32 request, u32 limit, u32 stream, u64 first_seq, u64 last_seq, u64 from_ms,
    u64 until_ms, str agent
REPLAYED 0x6d: u32 request, u32 stream, u64 seq, u64 admitted_ms, u64 end_ms, u8 priority, str from,
    str label, bytes envelope
GROUP_ADD 0x70: u32 request, u64 keep_ms, u64 keep_count, u64 keep_bytes, str group
GROUP_REMOVE 0x71: u32 request, u8 flags, str group
GROUP_LIST 0x72: u32 request, u32 limit, u8 exact, str after
GROUP_ROW 0x73: u32 request, u32 group, u32 uid, u64 created_ms, u64 first_seq, u64 next_seq,
    u64 keep_ms, u64 keep_count, u64 keep_bytes, u64 bytes, u32 members, str name, bytes hash
GROUP_JOIN 0x74: u32 request, u64 from_seq, str group, str agent
GROUP_LEAVE 0x75: u32 request, str group, str agent
GROUP_MEMBERS 0x76: u32 request, str group
GROUP_MEMBER 0x77: u32 request, u32 stream, u64 joined_seq, u64 left_seq, u64 acked_seq,
    u64 pending, u32 dead, str agent
GROUP_HISTORY 0x78: u32 request, u32 limit, u64 first_seq, str group, str agent
GROUP_ENTRY 0x79: u32 request, u64 seq, u8 what, u64 wall_ms, str author, bytes prev_hash,
    bytes envelope
WORKFLOW_GET 0x8c: u32 request, u32 limit, u64 first, str space, str workflow
WORKFLOW_LIST 0x8d: u32 request, u32 limit, u64 after, str space
WORKFLOW_ROW 0x8e: u32 request, u64 number, u64 allocated, u64 processed, u64 pending, u64 failed,
    u64 dead, u64 expired, u64 cancelled, u64 used_ms, str space, str workflow
WORKFLOW_RANGE 0x8f: u32 request, u64 first, u64 last, u8 state
ACL_SET 0xa0: u32 request, u8 effect, u8 actions, u8 hops, u64 expire_ms,
    str subject, str object, str kind, str by
ACL_REMOVE 0xa1: u32 request, u64 rule, str by
ACL_LIST 0xa2: u32 request, u64 after, u32 limit
ACL_ROW 0xa3: u32 request, u64 rule, u8 effect, u8 actions, u8 hops, u8 state, u64 parent,
    u64 wall_ms, u64 expire_ms, u32 uid, str subject, str object, str kind, str by
ACL_TEST 0xa4: u32 request, u8 action, str subject, str object, str kind
ACL_VERDICT 0xa5: u32 request, u8 allowed, u64 rule, u64 version
IDENTITY_NEW 0xa8: u32 request, u64 ttl_ms, str agent, bytes token
IDENTITY_READY 0xa9: u32 request, u64 expires_ms, str identity, str addresses, bytes authority
JOIN 0xaa: u32 request, bytes token, bytes key, bytes csr
CERTIFICATE 0xab: u32 request, u64 serial, str identity, bytes certificate, bytes authorities
CERT_RENEW 0xac: u32 request, bytes csr
IDENTITY_REVOKE 0xad: u32 request, u8 flags, str agent
IDENTITY_LIST 0xae: u32 request, u32 limit, u8 exact, str after
IDENTITY_ROW 0xaf: u32 request, u32 number, u32 uid, u8 state, u8 links, u64 made_ms, u64 token_ms,
    u64 serial, u64 issued_ms, str agent, bytes key
ENVELOPE 0x00: id message_id, u64 timestamp_ms, str kind, str key, str content_type,
    bytes headers, bytes ext, bytes payload
ATTEMPT 0x00: u16 attempt, u16 code, u64 at_ms, str reason
PARTS 0x00: u64 attempt, u32 count, bytes parts, str response_type, bytes response
COMMIT_SEND 0x00: u8 priority, u16 flags, u64 ttl_ms, u64 due_ms, str to, str label,
    bytes envelope
COMMIT_KV 0x00: u8 action, str key, bytes value
"""


def _parse_table(text):
    table = {}
    for row in text.strip().replace("\n    ", " ").split("\n"):
        head, fields = row.split(": ", 1)
        name, number = head.split(" ")
        pairs = [tuple(f.split(" ")) for f in fields.split(", ")]
        table[name] = (int(number, 16), [(field, kind) for kind, field in pairs])
    return table


MESSAGES = _parse_table(_TABLE)
NAMES = {number: name for name, (number, _) in MESSAGES.items() if number}

ERRORS = {
    1: "NOMEM", 2: "INVALID", 3: "IO", 4: "PROTOCOL", 5: "TOO_LARGE", 6: "VERSION",
    7: "UNKNOWN_AGENT", 8: "INBOX_FULL", 9: "EXPIRED", 10: "ALREADY_ATTACHED",
    11: "NOT_ATTACHED", 12: "NOT_OWNER", 13: "BAD_NAME", 14: "KEY_CONFLICT", 15: "KEY_DEAD",
    16: "DEDUP_FULL", 17: "DLQ_FULL", 18: "DISK_FULL", 19: "LEASE_LOST", 20: "OUT_OF_ORDER",
    21: "NOT_FOUND", 22: "PRODUCER_RETIRED", 23: "SEQUENCE_GAP", 24: "STREAM_HELD",
    25: "WINDOW", 26: "UNREACHABLE", 27: "TIMEOUT", 28: "CLOSED", 29: "POISONED",
    30: "DAMAGED", 31: "LOCKED", 32: "FORMAT", 33: "DENIED", 34: "EXISTS", 35: "BUSY",
    36: "FENCED", 37: "LIMIT", 38: "UNKNOWN_OUTCOME", 39: "CANCELLED", 40: "UNSUPPORTED",
    41: "DEAD_LETTERED", 42: "ALREADY_ENDED", 43: "BAD_SCHEDULE", 44: "SCHEDULE_PAST",
    45: "GAP_CLOSED", 46: "UNKNOWN_GROUP", 47: "NOT_MEMBER", 48: "NO_REPLY", 49: "NOT_RETAINED",
    50: "NO_HISTORY", 51: "NO_QUORUM", 52: "AMBIGUOUS", 53: "WORKFLOW_FULL", 54: "SEAL_KEY",
    55: "REVOKED", 56: "BAD_TOKEN",
}
RETRYABLE = {"NOMEM", "INBOX_FULL", "ALREADY_ATTACHED", "DEDUP_FULL", "DLQ_FULL", "DISK_FULL",
             "SEQUENCE_GAP", "STREAM_HELD", "UNREACHABLE", "TIMEOUT", "CLOSED", "BUSY", "LIMIT",
             "UNKNOWN_OUTCOME", "NO_REPLY", "NO_QUORUM", "WORKFLOW_FULL"}
