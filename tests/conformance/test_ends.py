"""How messages end and how one asks: END, records, dead letters, SETTLE, administration
(protocol.md, sections 7.6, 8 and 9)."""
import time
import uuid

import pytest

import agentlink as al
from agentlink import ERRORS, Refused
from pair import Pair


# --- end notices ------------------------------------------------------------------------------------


@pytest.mark.parametrize("status,state", [(al.SUCCESS, al.DELIVERED), (al.PARTIAL, al.PARTIALLY),
                                          (al.FAILED, al.FAILED_STATE)])
def test_end_carries_the_reply(pair, status, state):
    message = uuid.uuid4().bytes
    pair.send(b"?", flags=al.NOTIFY, message_id=message)
    pair.attach()
    pair.receiver.ack(pair.deliver(), status=status, reason="because", response_type="text/plain",
                      response=b"reply", metadata=al.pairs({"a": "b"}))
    end = pair.sender.expect("END")
    assert (end["message_id"], end["stream"], end["seq"]) == (message, pair.stream, 1)
    assert (end["state"], end["attempts"], end["reason"]) == (state, 1, "because")
    if status != al.FAILED:
        assert (end["response_type"], end["response"]) == ("text/plain", b"reply")
    assert abs(end["end_ms"] - time.time() * 1000) < 5000


def test_no_end_unless_asked(pair):
    pair.send(b"1")
    pair.attach()
    pair.receiver.ack(pair.deliver())
    pair.receiver.expect("ACKED")
    assert pair.sender.quiet(0.3) == []


def test_end_watch_after_the_end(pair, connect):
    pair.send(b"1")
    pair.attach()
    pair.receiver.ack(pair.deliver(), response=b"r")
    pair.receiver.expect("ACKED")
    late = connect()
    late.send("END_WATCH", stream=pair.stream, seq=1)
    end = late.expect("END")
    assert (end["state"], end["stream"], end["seq"], end["response"]) == \
        (al.DELIVERED, pair.stream, 1, b"r")


def test_end_follows_the_producer_to_its_new_connection(pair, connect):
    pair.send(b"1", flags=al.NOTIFY)
    pair.sender.close()
    again = connect()
    again.producer(pair.producer, 1)
    again.send("END_WATCH", stream=pair.stream, seq=1)
    assert again.quiet(0.2) == []
    pair.attach()
    pair.receiver.ack(pair.deliver(), response=b"r")
    end = again.expect("END")
    assert (end["seq"], end["response"]) == (1, b"r")


def test_end_watch_of_what_never_was(connect, pair):
    pair.sender.send("END_WATCH", stream=4000000000, seq=1)
    with pytest.raises(Refused, match="NOT_FOUND"):
        pair.sender.expect("END", timeout=3)
    pair.sender.send("END_WATCH", stream=pair.stream, seq=55)
    with pytest.raises(Refused, match="NOT_FOUND"):
        pair.sender.expect("END", timeout=3)


# --- records ------------------------------------------------------------------------------------------


def test_record_through_its_life(pair):
    message = uuid.uuid4().bytes
    pair.send(b"1", message_id=message)

    def state(**values):
        record = pair.receiver.record(**values)  # behind what the receiver has sent
        assert (record["from"], record["to"]) == (pair.sender_name, pair.receiver_name)
        assert record["message_id"] in ([message] if "message_id" in values else [message, bytes(16)])
        return record["state"]
    assert state(message_id=message) == state(stream=pair.stream, seq=1) == al.WAITING
    pair.attach()
    d = pair.deliver()
    assert state(message_id=message) == al.LEASED
    before = time.time() * 1000
    pair.receiver.nack(d, reason="later", retry_after_ms=2000)
    record = pair.receiver.record(message_id=message)
    assert record["state"] == al.DELAYED and record["due_ms"] > before + 1900
    assert record["attempts"] == 1
    assert [a["reason"] for a in al.parse_attempts(record["attempts_log"])] == ["later"]
    pair.receiver.ack(pair.deliver(), status=al.PARTIAL, reason="half")
    pair.receiver.expect("ACKED")
    for values in (dict(stream=pair.stream, seq=1), dict(message_id=message)):
        assert state(**values) == al.PARTIALLY
        record = pair.receiver.record(**values)
        assert (record["reason"], record["attempts"]) == ("half", 2) and record["end_ms"] > 0


def test_records_of_a_run(fresh_node):
    """Five hundred acks in one write: every one of them has its record."""
    node = fresh_node()
    pair = Pair(lambda: al.Connection(node.socket), ("a", "b"))
    pair.send(*[b"x"] * 500)
    pair.attach(credit=500)
    pair.receiver.send_raw(b"".join(
        al.encode("ACK", agent=d["agent"], stream=d["stream"], seq=d["seq"], lease=d["lease"],
                  status=al.SUCCESS) for d in [pair.deliver() for _ in range(500)]))
    pair.receiver.expect("ACKED", where=lambda v: v["last_seq"] == 500)
    states = [pair.sender.record(stream=pair.stream, seq=n)["state"] for n in range(1, 501)]
    assert states == [al.DELIVERED] * 500


def test_record_not_found(connect, pair):
    for values in (dict(message_id=uuid.uuid4().bytes), dict(stream=4000000000, seq=1),
                   dict(stream=pair.stream, seq=99)):
        with pytest.raises(Refused, match="NOT_FOUND"):
            pair.sender.record(**values)


# --- dead letters -------------------------------------------------------------------------------------


def dead(pair, count, prefix="m"):
    """Publishes count messages and fails them; their ids in order."""
    ids = [uuid.uuid4().bytes for _ in range(count)]
    for n, message in enumerate(ids):
        pair.publish(b"%s%d" % (prefix.encode(), n), message_id=message)
    pair.receipts(count)
    for _ in range(count):
        pair.receiver.ack(pair.deliver(), status=al.FAILED, reason="no")
    left = count
    while left:
        left -= pair.receiver.expect("ACKED")["count"]
    return ids


def letters(pair, **values):
    rows, done = pair.receiver.ask("DLQ_LIST", **dict(dict(agent=pair.receiver_name, limit=1000),
                                                      **values))
    assert done["count"] == len(rows)
    return rows


def test_dlq_list_and_pages(pair):
    pair.attach(credit=1)
    ids = dead(pair, 7)
    rows = letters(pair)
    assert [r["message_id"] for r in rows] == ids
    assert all(r["envelope"] == b"" and r["to"] == pair.receiver_name for r in rows)
    paged, after = [], 0
    while True:
        page = letters(pair, limit=3, after=after)
        if not page:
            break
        assert len(page) <= 3
        paged += page
        after = page[-1]["position"]
    assert [r["position"] for r in paged] == [r["position"] for r in rows]


def test_dlq_get(pair):
    pair.attach(credit=1)
    ids = dead(pair, 1)
    rows, done = pair.receiver.ask("DLQ_GET", message_id=ids[0])
    assert done["code"] == 0 and len(rows) == 1
    assert al.decode_body("ENVELOPE", rows[0]["envelope"])["payload"] == b"m0"
    assert rows[0]["reason"] == "no" and ERRORS[rows[0]["code"]] == "CANCELLED"
    with pytest.raises(Refused, match="NOT_FOUND"):
        pair.receiver.ask("DLQ_GET", message_id=uuid.uuid4().bytes)


def test_redrive_keeps_the_order(pair):
    pair.attach(credit=1)
    ids = dead(pair, 5)
    pair.send(b"newer")
    newer = pair.deliver()
    _, done = pair.receiver.ask("DLQ_REDRIVE", agent=pair.receiver_name)
    assert done["count"] == 5
    pair.receiver.ack(newer)
    for n in range(5):
        d = pair.deliver()
        assert d["message"]["payload"] == b"m%d" % n and d["message"]["message_id"] == ids[n]
        assert d["seq"] == 7 + n and d["attempt"] == 1
        pair.receiver.ack(d)
    assert letters(pair) == []
    assert pair.sender.record(message_id=ids[4])["state"] == al.DELIVERED


def test_redrive_keeps_the_order_of_the_stream(pair):
    """The second message dies first, by expiry; redriven they are in their old order."""
    pair.send(b"one", ttl_ms=900)
    pair.send(b"two", ttl_ms=200)
    end = time.monotonic() + 20
    while len(letters(pair)) < 2:
        assert time.monotonic() < end
        time.sleep(0.05)
    pair.receiver.ask("DLQ_REDRIVE", agent=pair.receiver_name)
    pair.attach()
    assert [pair.deliver()["message"]["payload"] for _ in range(2)] == [b"one", b"two"]


def test_redrive_one(pair):
    pair.attach(credit=1)
    ids = dead(pair, 3)
    _, done = pair.receiver.ask("DLQ_REDRIVE", agent=pair.receiver_name, message_id=ids[1])
    assert done["count"] == 1
    assert pair.deliver()["message"]["message_id"] == ids[1]
    assert [r["message_id"] for r in letters(pair)] == [ids[0], ids[2]]


def test_purge(pair):
    pair.attach(credit=1)
    ids = dead(pair, 3)
    _, done = pair.receiver.ask("DLQ_PURGE", agent=pair.receiver_name, message_id=ids[0])
    assert done["count"] == 1
    _, done = pair.receiver.ask("DLQ_PURGE", agent=pair.receiver_name)
    assert done["count"] == 2 and letters(pair) == []
    with pytest.raises(Refused, match="NOT_FOUND"):
        pair.receiver.ask("DLQ_PURGE", agent=pair.receiver_name, message_id=ids[0])


# --- settle by id -------------------------------------------------------------------------------------


def settle(connection, message_id, action, **values):
    return connection.ask("SETTLE", message_id=message_id, action=action, **values)[1]


def out_message(pair):
    """A message that is out with a receiver that has left."""
    message = uuid.uuid4().bytes
    pair.send(b"1", message_id=message, flags=al.NOTIFY)
    pair.attach(lease_ms=20000)
    pair.deliver()
    pair.receiver.send("GOODBYE", flags=al.KEEP_LEASES)
    pair.receiver.closed()
    return message


def test_settle_success(pair, connect):
    message = out_message(pair)
    other = connect()
    assert settle(other, message, al.SUCCESS, agent=pair.receiver_name, response=b"by id",
                  response_type="text/plain")["code"] == 0
    end = pair.sender.expect("END")
    assert (end["state"], end["response"]) == (al.DELIVERED, b"by id")
    with pytest.raises(Refused, match="NOT_FOUND|LEASE_LOST"):
        settle(other, message, al.SUCCESS)


def test_settle_nack_and_failed(pair, connect):
    message = out_message(pair)
    other = connect()
    settle(other, message, al.SETTLE_NACK, reason="again")
    other.attach(pair.receiver_name)
    d = other.expect("DELIVER")
    assert d["attempt"] == 2
    settle(other, message, al.FAILED, reason="enough")
    assert pair.sender.expect("END")["state"] == al.FAILED_STATE


def test_settle_extend(pair, connect):
    message = uuid.uuid4().bytes
    pair.send(b"1", message_id=message)
    pair.attach(lease_ms=1500)
    d = pair.deliver()
    settle(connect(), message, al.SETTLE_EXTEND, time_ms=10000)
    assert pair.receiver.quiet(2.0) == []
    pair.receiver.ack(d)
    pair.receiver.expect("ACKED")


def test_settle_what_is_not_out(pair, connect):
    message = uuid.uuid4().bytes
    pair.send(b"1", message_id=message)
    for target in (message, uuid.uuid4().bytes):
        with pytest.raises(Refused, match="NOT_FOUND|LEASE_LOST"):
            settle(pair.receiver, target, al.SUCCESS)


# --- administration --------------------------------------------------------------------------------


def test_agent_add_twice(connect, names):
    c = connect()
    c.add(names[0])
    with pytest.raises(Refused, match="EXISTS"):
        c.add(names[0])


def test_agent_list_pages(connect, names):
    c = connect()
    prefix = f"page-{names[0]}/"
    wanted = sorted(prefix + f"a{n:02}" for n in range(12))
    c.add(*reversed(wanted))
    got, after = [], prefix
    while True:
        rows, done = c.ask("AGENT_LIST", limit=5, after=after)
        assert done["count"] == len(rows) <= 5
        got += [r["name"] for r in rows if r["name"].startswith(prefix)]
        if not rows or not rows[-1]["name"].startswith(prefix):
            break
        after = rows[-1]["name"]
    assert got == wanted


def test_agent_row_counts(pair):
    pair.send(b"1", b"2", b"3")
    pair.publish(b"later", due_ms=int(time.time() * 1000) + 60000)
    pair.receipts()
    pair.attach(credit=1)
    pair.deliver()
    row, = pair.sender.ask("AGENT_LIST", after=pair.receiver_name, exact=1, limit=1)[0]
    assert (row["ready"], row["leased"], row["delayed"], row["dead"]) == (2, 1, 1, 0)
    assert row["attached"] == 1 and row["streams"] == 1


def test_agent_remove(connect, pair):
    pair.send(b"1")
    for flags in (0, 1):  # a channel to it is open
        with pytest.raises(Refused, match="BUSY"):
            pair.receiver.ask("AGENT_REMOVE", name=pair.receiver_name, flags=flags)
    pair.sender.send("CHANNEL_CLOSE", channel=1)
    with pytest.raises(Refused, match="BUSY"):
        pair.receiver.ask("AGENT_REMOVE", name=pair.receiver_name)
    pair.attach()
    pair.deliver()
    admin = connect()
    with pytest.raises(Refused, match="ALREADY_ATTACHED"):
        admin.ask("AGENT_REMOVE", name=pair.receiver_name)
    admin.ask("AGENT_REMOVE", name=pair.receiver_name, flags=1)
    assert ERRORS[pair.receiver.expect("DETACHED")["code"]] == "NOT_FOUND"
    with pytest.raises(Refused, match="UNKNOWN_AGENT"):
        admin.ask("AGENT_REMOVE", name=pair.receiver_name)
    with pytest.raises(Refused, match="UNKNOWN_AGENT"):
        admin.channel(1, admin.producer()["producer"], pair.receiver_name, "x")


def test_stream_list(pair):
    for channel, label in ((2, "b"), (3, "c")):
        pair.sender.channel(channel, pair.producer, pair.receiver_name, pair.sender_name,
                            label=label, priority=channel)
    pair.send(b"1", b"2")
    rows, done = pair.receiver.ask("STREAM_LIST", agent=pair.receiver_name, limit=100)
    assert done["count"] == 3
    by_label = {r["label"]: r for r in rows}
    assert set(by_label) == {"", "b", "c"}
    row = by_label[""]
    assert (row["next_seq"], row["head_seq"], row["pending"], row["from"]) == \
        (3, 1, 2, pair.sender_name)
    rest, _ = pair.receiver.ask("STREAM_LIST", agent=pair.receiver_name, limit=1,
                                after=rows[0]["stream"])
    assert len(rest) == 1 and rest[0]["stream"] == rows[1]["stream"]
    with pytest.raises(Refused, match="NOT_FOUND|UNKNOWN_AGENT"):
        pair.receiver.ask("STREAM_LIST", agent="nobody-at-all", limit=1)


def test_status_counts(pair):
    before = pair.sender.status()
    pair.send(b"1", b"2")
    pair.attach(credit=1)
    pair.receiver.ack(pair.deliver())
    pair.receiver.expect("ACKED")
    after = pair.sender.status()
    assert after["accepted"] == before["accepted"] + 2
    assert after["delivered"] == before["delivered"] + 1
    assert after["lsn"] > before["lsn"] and after["node_epoch"] == before["node_epoch"]
    assert after["connections"] >= 2 and after["state_bytes"] > 0 and after["disk_full"] == 0


def test_metrics_by_kind(pair, names):
    kind = "Kind-" + names[0]
    pair.send(b"1", b"2", kind=kind)
    pair.attach()
    pair.receiver.ack(pair.deliver())
    pair.receiver.ack(pair.deliver(), status=al.FAILED)
    pair.receiver.expect("ACKED", where=lambda v: v["last_seq"] == 2)
    rows, _ = pair.sender.ask("METRICS_GET")
    row = next(r for r in rows if r["kind"] == kind)
    assert (row["sent"], row["success"], row["failure"]) == (2, 1, 1)
