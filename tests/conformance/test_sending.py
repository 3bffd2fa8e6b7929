"""Producers, channels, receipts, duplicates, refusals (protocol.md, section 6)."""
import time
import uuid

import pytest

import agentlink as al
from agentlink import ERRORS, Refused, envelope


def refused(pair, timeout=10.0):
    values = pair.sender.expect("REFUSED", timeout=timeout)
    return values["pseq"], ERRORS[values["code"]]


# --- producers and channels ----------------------------------------------------------------------


def test_producers_are_distinct(connect):
    c = connect()
    ids = [c.producer()["producer"] for _ in range(5)]
    assert 0 not in ids and len(set(ids)) == 5


def test_unknown_producer_is_retired(connect):
    with pytest.raises(Refused, match="PRODUCER_RETIRED"):
        connect().producer(1 << 60, 1)


def test_goodbye_retires_the_producer(connect):
    c = connect()
    ready = c.producer()
    c.send("GOODBYE")
    c.closed()
    with pytest.raises(Refused, match="PRODUCER_RETIRED"):
        connect().producer(ready["producer"], ready["epoch"])


def test_closing_does_not_retire_the_producer(connect):
    c = connect()
    ready = c.producer()
    c.close()
    assert connect().producer(ready["producer"], ready["epoch"])["producer"] == ready["producer"]


@pytest.mark.parametrize("to,from_,code", [
    ("nobody-at-all", "a", "UNKNOWN_AGENT"), ("Bad Name", "a", "BAD_NAME"), ("", "a", "BAD_NAME"),
    ("a/b/c", "a", "BAD_NAME"), ("x" * 65, "a", "BAD_NAME"), ("ok", "", "BAD_NAME"),
    ("ok", "UPPER", "BAD_NAME"), ("ok", "a/", "BAD_NAME"), ("ok", "/a", "BAD_NAME")])
def test_channel_names(connect, names, to, from_, code):
    c = connect()
    c.add(names[1])
    to, producer_name = names[1] if to == "ok" else to, names[0]
    producer = c.producer()["producer"]
    with pytest.raises(Refused, match=code) as error:
        c.channel(7, producer, to, from_)
    assert error.value.about == "CHANNEL_OPEN" and error.value.detail
    assert c.channel(7, producer, names[1], producer_name)["channel"] == 7  # the number is still free


def test_channel_error_carries_its_number(connect):
    c = connect()
    c.send("CHANNEL_OPEN", channel=42, producer=c.producer()["producer"], first_pseq=1,
           from_="a", to="nobody-at-all")
    _, error = c.recv()
    assert error["request"] == 42 and error["fatal"] == 0


@pytest.mark.parametrize("field,value,code", [
    ("priority", 10, "INVALID"), ("label", "tab\there", "INVALID"), ("label", "x" * 129, "INVALID"),
    ("channel", 0, "INVALID|LIMIT"), ("channel", 4097, "LIMIT"), ("first_pseq", 0, "INVALID"),
    ("producer", 1 << 50, "PRODUCER_RETIRED")])
def test_channel_values(connect, names, field, value, code):
    c = connect()
    c.add(names[1])
    values = dict(channel=1, producer=c.producer()["producer"], to=names[1], from_=names[0])
    with pytest.raises(Refused, match=code):
        c.channel(**dict(values, **{field: value}))


def test_channel_number_in_use(pair):
    with pytest.raises(Refused, match="EXISTS"):
        pair.sender.channel(1, pair.producer, pair.receiver_name, pair.sender_name)


def test_same_stream_same_number_of_stream(pair, connect):
    """(from, to, label, priority) is the stream's identity."""
    other = connect()
    producer = other.producer()["producer"]

    def stream(channel, **values):
        return other.channel(channel, producer, pair.receiver_name, pair.sender_name,
                             **values)["stream"]
    assert stream(1) == pair.stream
    streams = {stream(2, label="x"), stream(3, priority=4), stream(4, label="x", priority=4),
               pair.stream}
    assert len(streams) == 4


def test_default_namespace(connect, names):
    c = connect()
    c.add(names[1])
    producer = c.producer()["producer"]
    one = c.channel(1, producer, names[1], names[0])
    two = c.channel(2, producer, "default/" + names[1], "default/" + names[0])
    assert one["stream"] == two["stream"]


def test_channel_close_frees_the_number_and_keeps_the_receipts(pair):
    pair.publish(b"last")
    pair.sender.send("CHANNEL_CLOSE", channel=1)
    assert pair.receipts()[0]["pseq"] == 1
    ready = pair.sender.channel(1, pair.producer, pair.receiver_name, pair.sender_name,
                                first_pseq=2)
    assert ready["last_pseq"] == 1


# --- publish and receipts ------------------------------------------------------------------------


def test_receipt(pair):
    receipt, = pair.send(b"hello")
    assert receipt["stream"] == pair.stream and receipt["seq"] == 1
    assert receipt["durability"] == 1 and receipt["duplicate"] == 0


def test_receipts_are_runs(pair):
    """Ten thousand in one write: each is covered once, in order, sequences run with pseqs."""
    pair.sender.send_raw(b"".join(
        al.encode("PUBLISH", channel=1, pseq=n, envelope=envelope(b"x"))
        for n in range(1, 10001)))
    frames, expected = 0, 1
    while expected <= 10000:
        run = pair.sender.expect("RECEIPT")
        assert run["pseq"] == run["seq"] == expected and run["count"] >= 1
        expected += run["count"]
        frames += 1
    assert expected == 10001 and frames < 5000


def test_envelope_passes_byte_for_byte(pair):
    body = envelope(bytes(range(256)) * 16, kind="Kind.a-b:c/d", key="k", content_type="text/plain",
                    headers=al.pairs({"h": "v", "bin": b"\x00\xff"}),
                    ext=b"\x01\x00\x02\x00id" + b"\x99\x99\x01\x00z")
    pair.sender.send("PUBLISH", channel=1, pseq=1, envelope=body)
    pair.receipts()
    pair.attach()
    assert pair.deliver()["envelope"] == body


def test_empty_and_largest_payload(pair):
    largest = pair.sender.welcome["payload_max"]
    pair.send(b"", b"z" * largest)
    pair.attach()
    first = pair.deliver()
    assert first["message"]["payload"] == b""
    pair.receiver.ack(first)
    assert pair.deliver()["message"]["payload"] == b"z" * largest


def test_too_large_is_refused_and_the_channel_held(pair):
    pair.publish(b"z" * (pair.sender.welcome["payload_max"] + 1))
    pair.publish(b"fits")
    assert refused(pair) == (1, "TOO_LARGE")
    assert refused(pair) == (2, "STREAM_HELD")
    assert pair.sender.resume(1, 2)["last_pseq"] == 0
    pair.sender.publish(1, 2, b"fits")
    receipt, = pair.receipts()
    assert (receipt["pseq"], receipt["seq"]) == (2, 1)


@pytest.mark.parametrize("values,code", [
    (dict(kind="has space"), "INVALID"), (dict(kind="k" * 65), "INVALID"),
    (dict(key="k" * 129), "TOO_LARGE"), (dict(content_type="c" * 128), "TOO_LARGE"),
    (dict(headers=b"\x05\x00abc"), "INVALID"), (dict(headers=al.pairs({"n": b"v" * 33000})), "TOO_LARGE"),
    (dict(ext=b"\x01\x00\xff\x00x"), "INVALID"), (dict(ext=b"\x01\x00\x00\x50" + b"x" * 0x5000), "TOO_LARGE"),
    (dict(message_id=bytes(16)), "INVALID")])
def test_bad_envelope(pair, values, code):
    pair.publish(b"bad", **values)
    assert refused(pair) == (1, code)
    pair.sender.resume(1, 1)
    pair.sender.publish(1, 1, b"good")
    assert pair.receipts()[0]["seq"] == 1


@pytest.mark.parametrize("cut", [0, 3, 15, 24, 30])
def test_cut_envelope_is_a_malformed_frame(pair, cut):
    pair.send(b"good")
    pair.sender.send("PUBLISH", channel=1, pseq=2, envelope=envelope(b"abc")[:cut])
    name, error = pair.sender.closed()[-1]
    assert (name, ERRORS[error["code"]], error["fatal"]) == ("ERROR", "PROTOCOL", 1)


def test_ttl_over_the_limit(pair):
    pair.publish(b"x", ttl_ms=1 << 62)
    assert refused(pair) == (1, "INVALID")


def test_publish_on_a_channel_that_is_not_open(pair):
    pair.sender.publish(9, 1, b"x")
    name, error = pair.sender.closed()[-1]
    assert (name, ERRORS[error["code"]], error["fatal"]) == ("ERROR", "PROTOCOL", 1)


def test_open_and_publish_in_one_write(connect, names):
    """Allowed, for those who know that the open will not be refused."""
    c = connect()
    c.add(names[1])
    producer = c.producer()["producer"]
    c.send_raw(al.encode("CHANNEL_OPEN", channel=3, producer=producer, first_pseq=1, from_=names[0],
                         to=names[1]) +
               al.encode("PUBLISH", channel=3, pseq=1, envelope=envelope(b"x")))
    c.expect("CHANNEL_READY")
    assert c.expect("RECEIPT")["pseq"] == 1


# --- order after refusals ------------------------------------------------------------------------


def test_gap_holds_the_channel_until_resumed(pair):
    pair.send(b"1")
    for pseq in (3, 4):
        pair.sender.publish(1, pseq, b"%d" % pseq)
    assert refused(pair) == (3, "SEQUENCE_GAP")
    assert refused(pair) == (4, "STREAM_HELD")
    pair.sender.publish(1, 2, b"2")
    assert refused(pair) == (2, "STREAM_HELD")
    pair.sender.publish(1, 1, b"1")
    assert pair.receipts()[0]["duplicate"] == 1  # a retransmission is recognised all the same
    assert pair.sender.resume(1, 2) == dict(channel=1, stream=pair.stream, last_pseq=1)
    for pseq in (2, 3, 4):
        pair.sender.publish(1, pseq, b"%d" % pseq)
    assert [r["seq"] for r in pair.receipts(3)] == [2, 3, 4]
    pair.attach()
    got = []
    for _ in range(4):
        got.append(pair.deliver())
    assert [d["message"]["payload"] for d in got] == [b"1", b"2", b"3", b"4"]


def test_resume_of_a_channel_that_is_not_open(pair):
    with pytest.raises(Refused, match="NOT_FOUND"):
        pair.sender.resume(9, 1)
    pair.send(b"the connection goes on")


# --- duplicates ------------------------------------------------------------------------------------


def test_retransmission_on_the_same_channel(pair):
    pair.send(b"1", b"2", b"3")
    for pseq in (1, 2, 3):
        pair.sender.publish(1, pseq, b"%d" % pseq)
    again = pair.receipts(3)
    assert [r["pseq"] for r in again] == [1, 2, 3] and all(r["duplicate"] for r in again)
    pair.attach()
    assert [pair.deliver()["message"]["payload"] for _ in range(3)] == [b"1", b"2", b"3"]
    assert pair.receiver.quiet(0.3) == []


def test_resend_after_a_reconnect(pair, connect):
    """Section 6.7: same producer on a new connection, everything again, one new message."""
    bodies = [envelope(b"%d" % n) for n in range(1, 7)]
    for n in range(5):
        pair.sender.send("PUBLISH", channel=1, pseq=n + 1, envelope=bodies[n])
    pair.receipts(5)
    pair.sender.close()
    pair.sender = connect()
    pair.sender.producer(pair.producer, 1)
    ready = pair.sender.channel(5, pair.producer, pair.receiver_name, pair.sender_name)
    assert ready == dict(channel=5, stream=pair.stream, last_pseq=5)
    for n in range(6):
        pair.sender.send("PUBLISH", channel=5, pseq=n + 1, envelope=bodies[n])
    receipts = pair.receipts(6)
    assert [(r["pseq"], r["duplicate"]) for r in receipts] == \
        [(n, 1 if n < 6 else 0) for n in range(1, 7)]
    assert receipts[5]["seq"] == 6
    assert all(r["seq"] in (0, r["pseq"]) for r in receipts)
    pair.attach()
    assert [pair.deliver()["envelope"] for _ in range(6)] == bodies


def test_producer_moves_to_the_newer_connection(pair, connect):
    other = connect()
    other.producer(pair.producer, 1)
    pair.publish(b"from the old one")
    name, error = pair.sender.closed()[-1]
    assert (name, ERRORS[error["code"]], error["fatal"]) == ("ERROR", "FENCED", 1)
    other.channel(1, pair.producer, pair.receiver_name, pair.sender_name)
    other.publish(1, 1, b"from the new one")
    assert other.expect("RECEIPT")["seq"] == 1


def keyed(pair, key, payload, **values):
    return pair.publish(payload, key=key, **values)


def test_key_duplicate_gets_the_first_receipt(pair, connect):
    keyed(pair, "k1", b"body")
    first, = pair.receipts()
    keyed(pair, "k1", b"body")
    again, = pair.receipts()
    assert again["duplicate"] == 1 and first["duplicate"] == 0
    assert (again["stream"], again["seq"]) == (first["stream"], first["seq"])
    other = connect()  # another producer, another label: the key is the sender's
    other.channel(1, other.producer()["producer"], pair.receiver_name, pair.sender_name, label="x")
    other.publish(1, 1, b"body", key="k1")
    third = other.expect("RECEIPT")
    assert third["duplicate"] == 1
    assert (third["stream"], third["seq"]) == (first["stream"], first["seq"])
    pair.attach()
    pair.deliver()
    assert pair.receiver.quiet(0.3) == []


def test_key_conflict(pair):
    keyed(pair, "k2", b"body")
    keyed(pair, "k2", b"another body")
    assert refused(pair) == (2, "KEY_CONFLICT")
    pair.sender.resume(1, 2)
    pair.sender.publish(1, 2, b"plain")
    assert [r["seq"] for r in pair.receipts(2)] == [1, 2]


def test_message_id_is_recognised_without_producer_and_key(pair, connect):
    message = uuid.uuid4().bytes
    first, = pair.send(b"body", message_id=message)
    other = connect()
    other.channel(1, other.producer()["producer"], pair.receiver_name, pair.sender_name)
    other.publish(1, 1, b"body", message_id=message)
    again = other.expect("RECEIPT")
    assert (again["duplicate"], again["stream"], again["seq"]) == (1, first["stream"], 1)
    other.publish(1, 2, b"next")
    assert other.expect("RECEIPT")["seq"] == 2


def test_key_belongs_to_its_sender(pair, connect):
    keyed(pair, "k3", b"body")
    pair.receipts()
    other = connect()
    other.channel(1, other.producer()["producer"], pair.receiver_name, pair.sender_name + "-b")
    other.publish(1, 1, b"another body", key="k3")
    assert other.expect("RECEIPT")["duplicate"] == 0


def test_key_of_a_processed_message_gives_the_stored_response(pair):
    keyed(pair, "k4", b"question")
    pair.receipts()
    pair.attach()
    pair.receiver.ack(pair.deliver(), response_type="text/plain", response=b"answer")
    pair.receiver.expect("ACKED")
    keyed(pair, "k4", b"question", flags=al.NOTIFY)
    assert pair.receipts()[0]["duplicate"] == 1
    end = pair.sender.expect("END")
    assert end["state"] == al.DELIVERED and end["response"] == b"answer"
    assert end["response_type"] == "text/plain"


def test_key_of_a_dead_message(pair):
    keyed(pair, "k5", b"poison")
    pair.receipts()
    pair.attach()
    pair.receiver.ack(pair.deliver(), status=al.FAILED, reason="cannot")
    pair.receiver.expect("ACKED")
    keyed(pair, "k5", b"poison")
    assert refused(pair) == (2, "KEY_DEAD")


# --- time and volatile ---------------------------------------------------------------------------


def test_scheduled_message(pair):
    pair.attach()
    due = int(time.time() * 1000) + 1500
    pair.publish(b"later", due_ms=due)
    pair.publish(b"now")
    receipts = pair.receipts(2)
    assert receipts[0]["seq"] == 0 and receipts[0]["duplicate"] == 0 and receipts[1]["seq"] == 1
    first = pair.deliver()
    assert first["message"]["payload"] == b"now"
    pair.receiver.ack(first)
    second = pair.deliver()
    assert second["message"]["payload"] == b"later" and second["seq"] == 2
    assert -5 <= time.time() * 1000 - due < 5000


def test_expired_message_is_told(pair):
    message = uuid.uuid4().bytes
    begin = time.monotonic()
    pair.publish(b"short lived", ttl_ms=300, flags=al.NOTIFY, message_id=message)
    pair.receipts()
    end = pair.sender.expect("END")
    assert 0.25 < time.monotonic() - begin < 5
    assert end["state"] == al.EXPIRED and end["message_id"] == message
    pair.attach()
    assert pair.receiver.quiet(0.3) == []
    rows, _ = pair.receiver.ask("DLQ_LIST", agent=pair.receiver_name, limit=10)
    assert [(r["message_id"], ERRORS[r["code"]]) for r in rows] == [(message, "EXPIRED")]


def test_expiry_is_not_a_gap(pair):
    pair.send(b"1")
    pair.send(b"2", ttl_ms=100)
    pair.send(b"3")
    time.sleep(0.8)
    pair.attach()
    one, three = pair.deliver(), pair.deliver()
    assert (one["seq"], three["seq"], three["prev_seq"]) == (1, 3, 1)


def test_volatile_reaches_an_attached_receiver(pair):
    pair.attach()
    pair.sender.publish(1, 0, b"fleeting", flags=al.VOLATILE)
    delivery = pair.deliver()
    assert delivery["message"]["payload"] == b"fleeting"
    assert (delivery["seq"], delivery["lease"], delivery["from"]) == (0, 0, pair.sender_name)
    pair.send(b"durable")
    assert pair.sender.quiet(0.2) == []


def test_volatile_counts_in_the_credit_until_acked(pair):
    pair.attach(credit=1)
    for payload in (b"1", b"2"):
        pair.sender.publish(1, 0, payload, flags=al.VOLATILE)
    first = pair.deliver()
    assert first["message"]["payload"] == b"1" and pair.receiver.quiet(0.2) == []
    pair.receiver.ack(first)
    pair.receiver.send("PING", token=1)
    pair.receiver.expect("PONG")
    pair.sender.publish(1, 0, b"3", flags=al.VOLATILE)
    assert pair.deliver()["message"]["payload"] == b"3"


def test_volatile_without_receiver_is_dropped_and_counted(pair):
    before = pair.sender.status()["volatile_dropped"]
    pair.sender.publish(1, 0, b"fleeting", flags=al.VOLATILE)
    pair.send(b"durable")
    assert pair.sender.status()["volatile_dropped"] == before + 1
    pair.attach()
    assert pair.deliver()["message"]["payload"] == b"durable"
    assert pair.receiver.quiet(0.2) == []
