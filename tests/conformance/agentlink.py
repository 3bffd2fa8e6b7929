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

from protocol_tables import ERRORS, MESSAGES, NAMES, RETRYABLE

MAGIC, VERSION = 0x4B4E4C41, 1
HEADER = struct.Struct("<IBBH")  # body length, type, flags, reserved

# --- the tables ------------------------------------------------------------------------------

_U = {"u8": ("<B", 1), "u16": ("<H", 2), "u32": ("<I", 4), "u64": ("<Q", 8)}

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
