"""An agent that speaks the AgentLink protocol, written from docs/spec/protocol.md alone.

It shares no code with the node or the C library: if the two disagree, the document decides which
one is wrong. Standard library only. Three layers, each usable by itself:

    encode / decode      frames <-> dictionaries                     (protocol.md, sections 2 and 3)
    Connection           one socket: hello, send a frame, receive one           (sections 4 and 5)
    Agent                producer, channels, resend after a reconnect, inbox   (sections 6, 7, 8)

Nothing here starts a thread: an Agent works while one of its methods runs.
"""
import os
import select
import socket
import struct
import time
import uuid

MAGIC, VERSION = 0x4B4E4C41, 1
HEADER = struct.Struct("<IBBH")  # body length, type, flags, reserved

# --- the tables ------------------------------------------------------------------------------

_U = {"u8": ("<B", 1), "u16": ("<H", 2), "u32": ("<I", 4), "u64": ("<Q", 8)}

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
}
RETRYABLE = {"NOMEM", "INBOX_FULL", "ALREADY_ATTACHED", "DEDUP_FULL", "DLQ_FULL", "DISK_FULL",
             "SEQUENCE_GAP", "STREAM_HELD", "UNREACHABLE", "TIMEOUT", "CLOSED", "BUSY", "LIMIT",
             "UNKNOWN_OUTCOME", "NO_REPLY", "NO_QUORUM", "WORKFLOW_FULL"}

SUCCESS, PARTIAL, FAILED, SETTLE_NACK, SETTLE_EXTEND = 1, 2, 3, 4, 5
(WAITING, LEASED, DELAYED, DELIVERED, PARTIALLY, FAILED_STATE, DEAD, EXPIRED,
 ENDED, CANCELLED) = range(1, 11)
NOTIFY, VOLATILE = 1, 2
TAKEOVER, NO_CREATE, SHARED = REDELIVERED, GAP_BEFORE, FOLLOWS = 1, 2, 4
GAPS_REFUSED, GAPS_WAIT, GAPS_SKIP, GAPS_FAIL = range(4)
CUMULATIVE = KEEP_LEASES = 1
ZERO_ID = bytes(16)


class ProtocolError(Exception):
    """The other side broke the protocol, or a value does not fit its field."""


class Refused(Exception):
    """The node refused a request; .code is the error's name, .detail its words."""

    def __init__(self, code, detail="", about=None):
        super().__init__(f"{code}: {detail}" + (f" (about {about})" if about else ""))
        self.code, self.detail, self.about = code, detail, about


class Closed(Exception):
    """The connection is gone."""


# --- frames <-> dictionaries -----------------------------------------------------------------


def encode_body(name, values):
    """The body of message `name`; fields that `values` leaves out are 0 or empty."""
    out = bytearray()
    fields = MESSAGES[name][1]
    unknown = set(values) - {field for field, _ in fields}
    if unknown:
        raise ProtocolError(f"{name} has no field {sorted(unknown)}")
    for field, kind in fields:
        value = values.get(field)
        if kind in _U:
            out += struct.pack(_U[kind][0], value or 0)
        elif kind == "id":
            value = bytes(16) if value is None else bytes(value)
            if len(value) != 16:
                raise ProtocolError(f"{name}.{field}: an id has 16 bytes")
            out += value
        else:
            raw = value.encode() if isinstance(value, str) else bytes(value or b"")
            if kind == "str" and len(raw) > 255:
                raise ProtocolError(f"{name}.{field}: longer than 255 bytes")
            out += struct.pack("<B" if kind == "str" else "<I", len(raw)) + raw
    return bytes(out)


def encode(name, /, **values):
    """A whole frame. `from` is a Python keyword: pass it as from_."""
    if "from_" in values:
        values["from"] = values.pop("from_")
    body = encode_body(name, values)
    return HEADER.pack(len(body), MESSAGES[name][0], 0, 0) + body


def decode_body(name, body):
    """The fields of a body as a dictionary; str fields as str, ids and bytes as bytes."""
    values, at = {}, 0

    def take(n):
        nonlocal at
        if len(body) - at < n:
            raise ProtocolError(f"{name} is cut short in {field}")
        at += n
        return body[at - n:at]

    for field, kind in MESSAGES[name][1]:
        if kind in _U:
            values[field] = struct.unpack(_U[kind][0], take(_U[kind][1]))[0]
        elif kind == "id":
            values[field] = bytes(take(16))
        elif kind == "str":
            values[field] = bytes(take(take(1)[0])).decode("utf-8", "surrogateescape")
        else:
            values[field] = bytes(take(struct.unpack("<I", take(4))[0]))
    field = "its optional fields"
    while at < len(body):  # optional fields {u16 tag, u16 length, bytes}: skipped when unknown
        tag, length = struct.unpack("<HH", take(4))
        value = take(length)
        if name == "DELIVER" and tag == 1:
            values["missing"] = struct.unpack("<H", value)[0]
        elif name == "COMMITTED" and tag == 1:  # (stream, seq, duplicate) of each message
            values["receipts"] = list(struct.iter_unpack("<IQB", value))
    return values


def decode(data):
    """The first frame of data: (name, values, size), or None if it is not whole yet."""
    if len(data) < HEADER.size:
        return None
    length, number, flags, reserved = HEADER.unpack_from(data)
    if number not in NAMES or flags or reserved:
        raise ProtocolError(f"no frame begins here: {bytes(data[:8]).hex()}")
    if len(data) - HEADER.size < length:
        return None
    body = memoryview(data)[HEADER.size:HEADER.size + length]
    return NAMES[number], decode_body(NAMES[number], body), HEADER.size + length


def pairs(items):
    """Headers or metadata: {name: value} as bytes."""
    out = bytearray()
    for text in (t for item in dict(items).items() for t in item):
        raw = text.encode() if isinstance(text, str) else text
        out += struct.pack("<H", len(raw)) + raw
    return bytes(out)


def parse_pairs(data):
    """The reverse of pairs(); values stay bytes."""
    texts, at = [], 0
    while at < len(data):
        (length,) = struct.unpack_from("<H", data, at)
        texts.append(data[at + 2:at + 2 + length])
        at += 2 + length
    return {texts[i].decode(): texts[i + 1] for i in range(0, len(texts), 2)}


def parse_attempts(data):
    """The attempts_log of RECORD and DLQ_ROW as a list of ATTEMPT dictionaries."""
    rows, at = [], 0
    while at < len(data):
        (length,) = struct.unpack_from("<H", data, at)
        rows.append(decode_body("ATTEMPT", data[at + 2:at + 2 + length]))
        at += 2 + length
    return rows


def envelope(payload=b"", message_id=None, **values):
    """An ENVELOPE body with a fresh id and this machine's time unless given."""
    values.setdefault("timestamp_ms", int(time.time() * 1000))
    if isinstance(payload, str):
        payload = payload.encode()
    return encode_body("ENVELOPE", dict(values, payload=payload,
                                        message_id=message_id or uuid.uuid4().bytes))


# --- one connection --------------------------------------------------------------------------


class Connection:
    """One socket to the node. Frames out by send(), in by recv()."""

    def __init__(self, path, instance=None, hello=True, timeout=10.0):
        self.instance = instance or os.urandom(16)
        self.inbox = bytearray()
        self.eof = False
        self.requests = 0
        self.waiting = []  # frames that expect() passed over
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(timeout)
        self.poll = select.poll()
        self.poll.register(self.sock, select.POLLIN)
        try:
            self.sock.connect(path)
            if hello:
                self.hello(timeout=timeout)
        except BaseException:
            self.sock.close()
            raise

    def hello(self, timeout=10.0, **values):
        fields = dict(magic=MAGIC, version_min=VERSION, version_max=VERSION,
                      instance=self.instance, client="conformance agent")
        self.send("HELLO", **dict(fields, **values))
        self.welcome = self.expect("WELCOME", timeout=timeout)
        return self.welcome

    def request(self):
        self.requests += 1
        return self.requests

    def send(self, name, /, **values):
        self.send_raw(encode(name, **values))

    def send_raw(self, data):
        try:
            self.sock.sendall(data)
        except (BrokenPipeError, ConnectionError) as error:
            raise Closed(str(error)) from error

    def fill(self, timeout):
        """Reads what there is, waiting up to timeout for the first byte; False: nothing came."""
        if self.eof:
            raise Closed("end of stream")
        if not self.poll.poll(max(0, timeout) * 1000):
            return False
        try:
            data = self.sock.recv(1 << 18)
        except ConnectionError as error:
            self.eof = True
            raise Closed(str(error)) from error
        if not data:
            self.eof = True
            raise Closed("end of stream")
        self.inbox += data
        return True

    def buffered(self):
        """The next whole frame that is here already, or None."""
        frame = decode(self.inbox)
        if frame is None:
            return None
        name, values, size = frame
        del self.inbox[:size]
        return name, values

    def recv(self, timeout=10.0):
        """The next frame as (name, values); None after timeout; Closed at the end of stream."""
        if self.waiting:
            return self.waiting.pop(0)
        end = time.monotonic() + timeout
        while True:
            frame = self.buffered()
            if frame:
                return frame
            if not self.fill(end - time.monotonic()):
                return None

    def expect(self, *names, timeout=10.0, where=None):
        """The next frame with one of these names (for which `where` holds); others are kept for
        recv. An ERROR frame that was not asked for raises Refused."""
        end, kept = time.monotonic() + timeout, []
        try:
            while True:
                frame = self.recv(end - time.monotonic())
                if frame is None:
                    raise TimeoutError(f"no {' or '.join(names)} within {timeout} s; "
                                       f"got {[k[0] for k in kept]}")
                name, values = frame
                if name in names and (where is None or where(values)):
                    return (name, values) if len(names) > 1 else values
                if name == "ERROR":
                    raise Refused(ERRORS.get(values["code"], values["code"]), values["detail"],
                                  NAMES.get(values["about"]))
                kept.append(frame)
        finally:
            self.waiting = kept + self.waiting

    def quiet(self, seconds):
        """Every frame that comes within the time."""
        frames, end = [], time.monotonic() + seconds
        while True:
            frame = self.recv(end - time.monotonic())
            if frame is None:
                return frames
            frames.append(frame)

    def closed(self, timeout=5.0):
        """Waits for the node to close; the frames that came before."""
        frames, end = [], time.monotonic() + timeout
        try:
            while True:
                frame = self.recv(end - time.monotonic())
                if frame is None:
                    raise TimeoutError("the node did not close the connection")
                frames.append(frame)
        except Closed:
            return frames

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # Requests that are answered by rows and DONE, or by one frame.

    def ask(self, name, /, timeout=10.0, **values):
        """Sends a request; returns (rows, DONE). Raises Refused if DONE or ERROR has a code."""
        request = self.request()
        self.send(name, request=request, **values)
        rows = []
        while True:
            name_in, frame = self.expect(
                "DONE", "AGENT_ROW", "STREAM_ROW", "DLQ_ROW", "METRICS_ROW", "KIND_ROW",
                "BREAKER_ROW", "SCHEDULE_ROW", "KV_ROW", "FIGURES", "HEALTH_ROW", "ALERT_ROW",
                "GROUP_ROW", "GROUP_MEMBER", "GROUP_ENTRY", "WORKFLOW_ROW", "WORKFLOW_RANGE",
                "ACL_ROW", "ACL_VERDICT", timeout=timeout,
                where=lambda v: v["request"] == request)
            if name_in == "DONE":
                if frame["code"]:
                    raise Refused(ERRORS[frame["code"]], frame["detail"], name)
                return rows, frame
            rows.append(frame)

    def add(self, *names):
        for name in names:
            self.ask("AGENT_ADD", name=name)

    def record(self, message_id=ZERO_ID, stream=0, seq=0):
        request = self.request()
        self.send("RECORD_GET", request=request, message_id=message_id, stream=stream, seq=seq)
        return self.expect("RECORD", where=lambda v: v["request"] == request)

    def status(self):
        request = self.request()
        self.send("STATUS_GET", request=request)
        return self.expect("STATUS", where=lambda v: v["request"] == request)

    def producer(self, producer=0, epoch=0):
        request = self.request()
        self.send("PRODUCER_OPEN", request=request, producer=producer, epoch=epoch)
        return self.expect("PRODUCER_READY", where=lambda v: v["request"] == request)

    def channel(self, channel, producer, to, from_, first_pseq=1, **values):
        self.send("CHANNEL_OPEN", channel=channel, producer=producer, to=to, from_=from_,
                  first_pseq=first_pseq, **values)
        return self.expect("CHANNEL_READY", where=lambda v: v["channel"] == channel)

    def resume(self, channel, first_pseq):
        self.send("CHANNEL_RESUME", channel=channel, first_pseq=first_pseq)
        return self.expect("CHANNEL_READY", where=lambda v: v["channel"] == channel)

    def publish(self, channel, pseq, payload=b"", flags=0, ttl_ms=0, due_ms=0, **values):
        self.send("PUBLISH", channel=channel, pseq=pseq, flags=flags, ttl_ms=ttl_ms,
                  due_ms=due_ms, envelope=envelope(payload, **values))

    def attach(self, agent, credit=64, credit_bytes=1 << 24, lease_ms=0, flags=0):
        request = self.request()
        self.send("ATTACH", request=request, agent=agent, credit=credit,
                  credit_bytes=credit_bytes, lease_ms=lease_ms, flags=flags)
        return self.expect("ATTACHED", where=lambda v: v["request"] == request)

    def ack(self, delivery, status=SUCCESS, **values):
        self.send("ACK", status=status, **dict(_handle(delivery), **values))

    def nack(self, delivery, **values):
        self.send("NACK", **dict(_handle(delivery), **values))

    def extend(self, delivery, **values):
        self.send("EXTEND", **dict(_handle(delivery), **values))


def _handle(delivery):
    return {field: delivery[field] for field in ("agent", "stream", "seq", "lease")}


# --- an agent that survives --------------------------------------------------------------------


class _Channel:
    """One stream of ours: what was sent and is not yet receipted, by producer sequence."""

    def __init__(self, number, from_, to, label, priority):
        self.number, self.from_, self.to = number, from_, to
        self.label, self.priority = label, priority
        self.next_pseq = 1
        self.open = False
        self.unreceipted = {}   # pseq -> (flags, ttl_ms, due_ms, envelope)
        self.unanswered = set() # pseqs sent on this connection without RECEIPT or REFUSED so far
        self.held_from = None   # pseq to go on with after a refusal
        self.resume_at = 0.0


class Agent:
    """Sends and receives over one connection at a time; goes on after the node was away.

    What was published and has no receipt is sent again, under the same producer sequence, on
    every new connection: the node recognises what it has. Deliveries come by receive(), and the
    caller settles them in order per stream."""

    def __init__(self, path, name, credit=256, lease_ms=0, flags=0, patience=30.0):
        self.path, self.name = path, name
        self.credit, self.lease_ms, self.attach_flags = credit, lease_ms, flags
        self.patience = patience
        self.instance = os.urandom(16)
        self.conn = None
        self.producer_id, self.producer_epoch = 0, 0
        self.channels, self.by_number = {}, {}
        self.receiving = False
        self.agent_number = None
        self.deliveries = []    # not yet handed to the caller
        self.receipts = []      # (channel, pseq, RECEIPT values)
        self.refusals = []      # (channel, pseq, code)
        self.ends, self.acked, self.settle_refused = [], [], []
        self.reconnects = 0

    # connection

    def connect(self):
        """Connects, and takes up the producer, the channels and the inbox where they were."""
        end = time.monotonic() + self.patience
        while True:
            try:
                self.conn = Connection(self.path, instance=self.instance)
                self._take_up()
                return self
            except (OSError, Closed):
                self._drop()
                if time.monotonic() > end:
                    raise
                time.sleep(0.02)

    def _drop(self):
        if self.conn:
            self.conn.close()
        self.conn = None
        self.deliveries.clear()  # volatile: they come again, marked
        for channel in self.channels.values():
            channel.open, channel.held_from = False, None
            channel.unanswered.clear()

    def _take_up(self):
        if self.producer_id:
            ready = self.conn.producer(self.producer_id, self.producer_epoch)
            self.producer_epoch = ready["epoch"]
        for channel in self.channels.values():
            self._open(channel)
        if self.receiving:
            self._attach()

    def _again(self):
        self._drop()
        self.reconnects += 1
        self.connect()

    def _guard(self, action):
        """Runs action; on a lost connection reconnects (which sends again) and returns None."""
        if self.conn is None:
            self.connect()
        try:
            return action()
        except (Closed, ConnectionError):
            self._again()
            return None

    # sending

    def _open(self, channel):
        first = min(channel.unreceipted, default=channel.next_pseq)
        self.conn.channel(channel.number, self.producer_id, channel.to, channel.from_,
                          first_pseq=first, label=channel.label, priority=channel.priority)
        channel.open = True
        for pseq in sorted(channel.unreceipted):
            self._put(channel, pseq)

    def _put(self, channel, pseq):
        flags, ttl_ms, due_ms, body = channel.unreceipted[pseq]
        channel.unanswered.add(pseq)
        self.conn.send("PUBLISH", channel=channel.number, pseq=pseq, flags=flags, ttl_ms=ttl_ms,
                       due_ms=due_ms, envelope=body)

    def _channel(self, to, label, priority):
        key = (to, label, priority)
        if key not in self.channels:
            channel = _Channel(len(self.channels) + 1, self.name, to, label, priority)
            self.channels[key] = self.by_number[channel.number] = channel
        return self.channels[key]

    def _ready(self, channel):
        if not self.producer_id:
            ready = self.conn.producer()
            self.producer_id, self.producer_epoch = ready["producer"], ready["epoch"]
        if not channel.open:
            self._open(channel)

    def send(self, to, payload, label="", priority=4, flags=0, ttl_ms=0, due_ms=0, **values):
        """Publishes; the receipt comes later. Returns (channel number, pseq)."""
        channel = self._channel(to, label, priority)
        body = envelope(payload, **values)
        while True:
            before = self.reconnects
            self._guard(lambda: self._ready(channel))
            if before == self.reconnects:
                break
        pseq = channel.next_pseq
        channel.next_pseq += 1
        channel.unreceipted[pseq] = (flags, ttl_ms, due_ms, body)
        if channel.held_from is None:
            self._guard(lambda: self._put(channel, pseq))
        return channel.number, pseq

    def unreceipted(self):
        return sum(len(c.unreceipted) for c in self.channels.values())

    def settle_sends(self, timeout=30.0, below=0):
        """Works until at most `below` publishes have no answer."""
        end = time.monotonic() + timeout
        while self.unreceipted() > below:
            if time.monotonic() > end:
                raise TimeoutError(f"{self.unreceipted()} publishes without a receipt")
            self.work(0.05)

    # receiving

    def _attach(self):
        attached = self.conn.attach(self.name, credit=self.credit, lease_ms=self.lease_ms,
                                    flags=self.attach_flags)
        self.agent_number = attached["agent"]

    def receive(self, timeout=1.0):
        """The next delivery with its envelope decoded in ["message"], or None."""
        if not self.receiving:
            self.receiving = True
            self._guard(self._attach)
        end = time.monotonic() + timeout
        while not self.deliveries:
            left = end - time.monotonic()
            if left <= 0:
                return None
            self.work(left)
        delivery = self.deliveries.pop(0)
        delivery["message"] = decode_body("ENVELOPE", delivery["envelope"])
        return delivery

    def ack(self, delivery, status=SUCCESS, **values):
        self._guard(lambda: self.conn.ack(delivery, status, **values))

    def nack(self, delivery, **values):
        self._guard(lambda: self.conn.nack(delivery, **values))

    # the work between

    def work(self, timeout=0.0):
        """Handles what comes in within timeout, at least once what is there already."""
        def step():
            self._resume_held()
            frame = self.conn.recv(timeout)
            while frame:
                self._handle_frame(*frame)
                frame = self.conn.buffered()
        self._guard(step)

    def _handle_frame(self, name, v):
        if name == "RECEIPT":
            self._receipt(v)
        elif name == "REFUSED":
            self._refused(v)
        elif name == "DELIVER":
            self.deliveries.append(v)
        elif name == "RECALL":
            self.deliveries = [d for d in self.deliveries
                               if d["stream"] != v["stream"] or d["seq"] < v["seq"]]
        elif name == "ACKED":
            self.acked.append(v)
        elif name == "SETTLE_REFUSED":
            self.settle_refused.append(v)
        elif name == "END":
            self.ends.append(v)
        elif name == "PING":
            self.conn.send("PONG", token=v["token"])
        elif name == "GOODBYE":
            raise Closed("the node says goodbye: " + v["reason"])
        elif name in ("ERROR", "DETACHED"):
            if name == "ERROR" and v["fatal"]:
                raise ProtocolError(f"{ERRORS.get(v['code'])}: {v['detail']}")
            raise Refused(ERRORS.get(v["code"], v["code"]), v["detail"])

    def _receipt(self, v):
        channel = self.by_number[v["channel"]]
        for pseq in range(v["pseq"], v["pseq"] + v["count"]):
            channel.unanswered.discard(pseq)
            if channel.unreceipted.pop(pseq, None) is not None:
                self.receipts.append((channel.number, pseq, v))

    def _refused(self, v):
        """The channel is held now: what follows is refused too, until it is resumed."""
        channel, code = self.by_number[v["channel"]], ERRORS[v["code"]]
        channel.unanswered.discard(v["pseq"])
        if channel.held_from is not None:
            return
        channel.held_from = v["pseq"]
        channel.resume_at = time.monotonic()
        if code in RETRYABLE:
            channel.resume_at += 0.05
        else:
            channel.held_from += 1
            channel.unreceipted.pop(v["pseq"], None)
            self.refusals.append((channel.number, v["pseq"], code))

    def _resume_held(self):
        """A held channel goes on once everything sent on it was answered (section 6.5)."""
        for channel in self.channels.values():
            if (channel.held_from is None or channel.unanswered or
                    time.monotonic() < channel.resume_at):
                continue
            first, channel.held_from = channel.held_from, None
            self.conn.send("CHANNEL_RESUME", channel=channel.number, first_pseq=first)
            for pseq in sorted(channel.unreceipted):
                self._put(channel, pseq)

    def goodbye(self):
        """Retires the producer and closes."""
        if self.conn:
            self.conn.send("GOODBYE", reason="done")
            frames = self.conn.closed()
            self._drop()
            return frames
        return []

    def close(self):
        self._drop()
