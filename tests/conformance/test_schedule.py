"""The node sends by itself: SCHEDULE_SET and its relatives (protocol.md, section 9)."""
import time

import pytest

import agentlink as al
from agentlink import ERRORS, Refused


def set_schedule(connection, names, name="tick", text="@every 1s", payload=b"tick", **values):
    body = al.envelope(payload, message_id=al.ZERO_ID, kind="tick")
    connection.ask("SCHEDULE_SET", **dict(dict(priority=4, name=name, to=names[1], text=text,
                                               envelope=body, **{"from": names[0]}), **values))


def rows(connection):
    return {row["name"]: row for row in connection.ask("SCHEDULE_LIST", limit=100)[0]}


def refusal(action, *args, **values):
    with pytest.raises(Refused) as refused:
        action(*args, **values)
    return refused.value.code


@pytest.fixture
def own(fresh_node):
    """A node of our own with the agents a and b, and a function that connects to it."""
    node, connections = fresh_node(), []

    def connect():
        connections.append(al.Connection(node.socket))
        return connections[-1]
    connect().add("a", "b")
    yield node, connect
    for connection in connections:
        connection.close()


def test_it_fires_again_and_again(own):
    c = own[1]()
    set_schedule(c, "ab")
    c.attach("b")
    got = [c.expect("DELIVER") for _ in range(3)]
    envelopes = [al.decode_body("ENVELOPE", d["envelope"]) for d in got]
    assert [d["seq"] for d in got] == [1, 2, 3] and {d["from"] for d in got} == {"a"}
    assert {(e["kind"], e["payload"]) for e in envelopes} == {("tick", b"tick")}
    assert len({e["message_id"] for e in envelopes} - {al.ZERO_ID}) == 3
    row = rows(c)["tick"]
    # A busy machine makes one late, and so the next seem early: none is before its own time.
    for n, d in enumerate(got, 1):
        assert n * 1000 <= d["admitted_ms"] - row["set_ms"] < n * 1000 + 5000
    assert row["text"] == "@every 1s" and row["kind"] == "tick" and row["last_ms"] > 0
    assert row["next_ms"] > row["last_ms"]


def test_removed_it_is_silent(own):
    c = own[1]()
    set_schedule(c, "ab")
    c.ask("SCHEDULE_REMOVE", name="tick")
    c.attach("b")
    assert c.quiet(1.5) == [] and rows(c) == {}
    assert refusal(c.ask, "SCHEDULE_REMOVE", name="tick") == "NOT_FOUND"


@pytest.mark.parametrize("text", ["", "x", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *",
                                  "* * 0 * *", "* * * 13 *", "* * * * 8", "5-1 * * * *",
                                  "*/0 * * * *", "1,,2 * * * *", " * * * * *", "@every 0s",
                                  "@every s", "@every 10", "@often", "* * * * *" + " " * 120])
def test_what_cannot_be_read(own, text):
    assert refusal(set_schedule, own[1](), "ab", text=text) == "BAD_SCHEDULE"


def test_what_would_never_fire(own):
    c, now = own[1](), int(time.time() * 1000)
    assert refusal(set_schedule, c, "ab", until_ms=now - 1000) == "SCHEDULE_PAST"
    assert refusal(set_schedule, c, "ab", text="0 0 30 2 *") == "SCHEDULE_PAST"
    assert rows(c) == {}


def test_other_refusals(own):
    c = own[1]()
    set_schedule(c, "ab", text="@yearly")
    assert refusal(set_schedule, c, "ab") == "EXISTS"
    set_schedule(c, "ab", text="@monthly", flags=1)
    assert rows(c)["tick"]["text"] == "@monthly"
    assert refusal(set_schedule, c, ("a", "nobody"), name="x") == "UNKNOWN_AGENT"
    assert refusal(set_schedule, c, "ab", name="Bad Name") == "BAD_NAME"
    assert refusal(set_schedule, c, "ab", name="x", priority=10) == "INVALID"
    assert refusal(set_schedule, c, "ab", name="x", payload=b"x" * 65537) == "TOO_LARGE"
    keyed = al.envelope(b"", message_id=al.ZERO_ID, key="k")
    assert refusal(set_schedule, c, "ab", name="x", envelope=keyed) == "INVALID"
    assert refusal(c.ask, "AGENT_REMOVE", name="b", flags=1) == "BUSY"


def test_until(own):
    c = own[1]()
    c.attach("b")
    set_schedule(c, "ab", until_ms=int(time.time() * 1000) + 2900)
    assert c.expect("DELIVER")["seq"] == 1
    end = time.monotonic() + 20
    while rows(c):
        assert time.monotonic() < end
        time.sleep(0.05)
    assert len(c.quiet(1.5)) <= 1  # the second time, which was before the end


def test_after_a_restart_once_for_what_was_missed(own):
    node, connect = own
    c = connect()
    set_schedule(c, "ab")
    c.attach("b")
    first = c.expect("DELIVER")
    c.ack(first)
    c.expect("ACKED")
    before = rows(c)["tick"]
    node.kill()
    time.sleep(3.2)
    node.start()
    c = connect()
    after = rows(c)["tick"]
    assert (after["text"], after["set_ms"]) == (before["text"], before["set_ms"])
    c.attach("b")
    got = [c.expect("DELIVER") for _ in range(2)]
    assert [d["seq"] for d in got] == [2, 3] and got[0]["admitted_ms"] - first["admitted_ms"] > 3000
    assert got[1]["admitted_ms"] - got[0]["admitted_ms"] <= 4000


def test_its_producer_is_the_nodes_own(own):
    c = own[1]()
    set_schedule(c, "ab", text="@yearly")
    producer = c.producer()["producer"] - 1
    assert refusal(c.producer, producer, 0xFFFFFFFF) == "DENIED"
