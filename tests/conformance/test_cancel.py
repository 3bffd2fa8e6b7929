"""A sender takes messages back: CANCEL (protocol.md, section 8.3)."""
import time
import uuid

import pytest

import agentlink as al
from agentlink import ERRORS, Refused
from pair import Pair


def cancel(connection, **values):
    """Asks; the name of the code of DONE."""
    try:
        connection.ask("CANCEL", **values)
    except Refused as refused:
        return refused.code
    return "OK"


def state(connection, stream, seq):
    return connection.record(stream=stream, seq=seq)["state"]


def test_a_waiting_message_is_not_delivered_any_more(pair):
    pair.send(b"1", b"2", b"3")
    assert cancel(pair.sender, stream=pair.stream, seq=2) == "OK"
    pair.attach()
    assert [pair.deliver()["message"]["payload"] for _ in range(2)] == [b"1", b"3"]
    assert pair.receiver.quiet(0.2) == []
    assert state(pair.sender, pair.stream, 2) == al.CANCELLED


@pytest.mark.parametrize("seq", [1, 2, 3])
def test_every_place_of_a_stream(pair, seq):
    pair.send(b"1", b"2", b"3", flags=al.NOTIFY)
    assert cancel(pair.sender, stream=pair.stream, seq=seq) == "OK"
    end = pair.sender.expect("END")
    assert (end["seq"], end["state"], end["attempts"]) == (seq, al.CANCELLED, 0)
    pair.attach()
    left = [s for s in (1, 2, 3) if s != seq]
    for s in left:
        delivery = pair.deliver()
        assert delivery["seq"] == s
        pair.receiver.ack(delivery)
    assert [pair.sender.expect("END")["seq"] for _ in left] == left


def test_by_id_and_from_another_connection(pair, connect):
    message = uuid.uuid4().bytes
    pair.send(b"1", message_id=message, flags=al.NOTIFY)
    assert cancel(connect(), message_id=message) == "OK"
    end = pair.sender.expect("END")
    assert (end["message_id"], end["state"]) == (message, al.CANCELLED)


def test_a_leased_message_is_recalled(pair):
    pair.send(b"1", b"2", b"3", flags=al.NOTIFY)
    pair.attach(credit=3)
    first, second, _ = [pair.deliver() for _ in range(3)]
    assert cancel(pair.sender, stream=pair.stream, seq=2) == "OK"
    recall = pair.receiver.expect("RECALL")
    assert (recall["seq"], ERRORS[recall["code"]]) == (2, "CANCELLED")
    third = pair.deliver()
    assert (third["seq"], third["flags"], third["attempt"]) == (3, al.REDELIVERED | al.FOLLOWS, 1)
    pair.receiver.ack(first)  # its lease holds
    pair.receiver.ack(third)
    pair.receiver.ack(second)
    refused = pair.receiver.expect("SETTLE_REFUSED")
    assert (refused["seq"], ERRORS[refused["code"]]) == (2, "LEASE_LOST")
    ends = sorted((e["seq"], e["state"]) for e in (pair.sender.expect("END") for _ in range(3)))
    assert ends == [(1, al.DELIVERED), (2, al.CANCELLED), (3, al.DELIVERED)]


def test_a_leased_head_is_recalled(pair):
    pair.send(b"1", b"2")
    pair.attach(credit=2)
    pair.deliver(), pair.deliver()
    assert cancel(pair.sender, stream=pair.stream, seq=1) == "OK"
    assert pair.receiver.expect("RECALL")["seq"] == 1
    again = pair.deliver()
    assert again["seq"] == 2
    pair.receiver.ack(again)
    pair.receiver.expect("ACKED")


def test_a_message_that_waits_for_its_retry(pair):
    pair.send(b"1", b"2")
    pair.attach(credit=1)
    pair.receiver.nack(pair.deliver(), retry_after_ms=60000)
    assert cancel(pair.sender, stream=pair.stream, seq=1) == "OK"
    assert pair.deliver()["seq"] == 2


def test_a_scheduled_message(pair):
    message = uuid.uuid4().bytes
    pair.send(b"later", due_ms=int(time.time() * 1000) + 3600000, message_id=message,
              flags=al.NOTIFY)
    pair.send(b"now")
    assert cancel(pair.sender, message_id=message) == "OK"
    end = pair.sender.expect("END")
    assert (end["message_id"], end["state"], end["seq"]) == (message, al.CANCELLED, 2)
    assert state(pair.sender, pair.stream, 2) == al.CANCELLED
    pair.attach()
    assert pair.deliver()["message"]["payload"] == b"now"
    assert pair.receiver.quiet(0.2) == []


def test_too_late(pair):
    pair.send(b"1")
    pair.attach()
    pair.receiver.ack(pair.deliver())
    pair.receiver.expect("ACKED")
    assert cancel(pair.sender, stream=pair.stream, seq=1) == "ALREADY_ENDED"
    pair.send(b"2")
    assert cancel(pair.sender, stream=pair.stream, seq=2) == "OK"
    assert cancel(pair.sender, stream=pair.stream, seq=2) == "ALREADY_ENDED"


def test_what_never_was(pair):
    assert cancel(pair.sender, message_id=uuid.uuid4().bytes) == "NOT_FOUND"
    assert cancel(pair.sender, stream=4000000000, seq=1) == "NOT_FOUND"
    assert cancel(pair.sender, stream=pair.stream, seq=9) == "NOT_FOUND"
    assert cancel(pair.sender) == "NOT_FOUND"


def test_it_outlives_a_restart(fresh_node):
    node = fresh_node()
    pair = Pair(lambda: al.Connection(node.socket), ("alice", "bob"))
    pair.send(b"1", b"2", b"3")
    assert cancel(pair.sender, stream=pair.stream, seq=1) == "OK"
    assert cancel(pair.sender, stream=pair.stream, seq=3) == "OK"
    pair.sender.close(), pair.receiver.close()
    node.kill()
    node.start()
    with al.Connection(node.socket) as receiver:
        assert [state(receiver, pair.stream, seq) for seq in (1, 2, 3)] == \
            [al.CANCELLED, al.WAITING, al.CANCELLED]
        receiver.attach("bob")
        assert receiver.expect("DELIVER")["seq"] == 2
        assert receiver.quiet(0.3) == []
