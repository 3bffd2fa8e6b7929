"""What a client sees when the node was killed or stopped (protocol.md, sections 4, 6.7, 7.2), and
the Agent, which does all of it by itself."""
import threading
import time

import pytest

import agentlink as al
from agentlink import Agent, Closed, Connection
from pair import Pair, decoded


@pytest.fixture
def own(fresh_node):
    """A node of our own, and a function that connects to it."""
    node, connections = fresh_node(), []

    def connect(**values):
        connections.append(Connection(node.socket, **values))
        return connections[-1]
    yield node, connect
    for connection in connections:
        connection.close()


def test_everything_durable_survives_kill(own):
    node, connect = own
    pair = Pair(connect, ("a", "b"))
    pair.send(*[b"%d" % n for n in range(10)])
    pair.attach()
    got = [pair.deliver() for _ in range(10)]
    for d in got[:4]:
        pair.receiver.ack(d)
    acked = 0
    while acked < 4:
        acked += pair.receiver.expect("ACKED")["count"]
    epoch = pair.sender.welcome["node_epoch"]
    node.kill()
    node.start()
    receiver = connect(instance=pair.receiver.instance)
    assert receiver.welcome["node_epoch"] == epoch + 1
    assert receiver.attach("b")["resumed"] == 0
    again = [decoded(receiver.expect("DELIVER")) for _ in range(6)]
    assert [d["seq"] for d in again] == [5, 6, 7, 8, 9, 10]
    assert all(d["flags"] & al.REDELIVERED for d in again)
    receiver.ack(dict(again[0], lease=got[4]["lease"]))
    assert receiver.expect("SETTLE_REFUSED")["seq"] == 5
    sender = connect()
    sender.producer(pair.producer, 1)
    ready = sender.channel(1, pair.producer, "b", "a", first_pseq=5)
    assert (ready["stream"], ready["last_pseq"]) == (pair.stream, 10)
    for pseq in range(5, 12):
        sender.publish(1, pseq, b"%d" % (pseq - 1))
    flags = {}
    while len(flags) < 7:
        run = sender.expect("RECEIPT")
        flags.update({run["pseq"] + i: run["duplicate"] for i in range(run["count"])})
    assert flags == {**{n: 1 for n in range(5, 11)}, 11: 0}


def test_state_after_kill(own):
    """Keys, dead letters, scheduled messages, records: all in the journal."""
    node, connect = own
    pair = Pair(connect, ("a", "b"))
    pair.send(b"keyed", key="k")
    pair.send(b"bad")
    pair.attach()
    pair.receiver.ack(pair.deliver(), response=b"stored")
    pair.receiver.ack(pair.deliver(), status=al.FAILED, reason="no")
    pair.receiver.expect("ACKED", where=lambda v: v["last_seq"] == 2)
    due = int(time.time() * 1000) + 3000
    pair.send(b"later", due_ms=due)
    node.kill()
    node.start()
    c = connect()
    c.channel(1, c.producer()["producer"], "b", "a")
    c.publish(1, 1, b"keyed", key="k", flags=al.NOTIFY)
    assert c.expect("RECEIPT")["duplicate"] == 1
    assert c.expect("END")["response"] == b"stored"
    rows, _ = c.ask("DLQ_LIST", agent="b", limit=5)
    assert [(r["seq"], r["reason"]) for r in rows] == [(2, "")]
    assert c.ask("DLQ_GET", message_id=rows[0]["message_id"])[0][0]["reason"] == "no"
    assert c.record(stream=pair.stream, seq=1)["state"] == al.DELIVERED
    c.attach("b")
    assert decoded(c.expect("DELIVER", timeout=8))["message"]["payload"] == b"later"
    assert time.time() * 1000 > due - 50


def test_attempts_survive_kill(own):
    node, connect = own
    pair = Pair(connect, ("a", "b"))
    pair.send(b"1")
    pair.attach()
    pair.receiver.nack(pair.deliver(), reason="one")
    pair.receiver.nack(pair.deliver(), reason="two", retry_after_ms=300)
    pair.receiver.send("PING", token=1)
    pair.receiver.expect("PONG")
    pair.send(b"2")  # its receipt says that the nack, which has no answer, is on disk as well
    node.kill()
    node.start()
    c = connect()
    c.attach("b")
    d = c.expect("DELIVER")
    assert d["attempt"] in (3, 4) and d["flags"] & al.REDELIVERED
    log = al.parse_attempts(c.record(stream=pair.stream, seq=1)["attempts_log"])
    assert [a["reason"] for a in log][:2] == ["one", "two"]


def test_stop_in_good_order_says_goodbye(own):
    node, connect = own
    c = connect()
    pair = Pair(connect, ("a", "b"))
    pair.send(b"1")
    assert node.stop() == 0
    try:
        frames = [name for name, _ in c.closed()]
    except Closed:
        frames = []
    assert frames in ([], ["GOODBYE"])
    node.start()
    again = connect()
    again.producer(pair.producer, 1)  # the node's goodbye retires nobody
    assert again.channel(1, pair.producer, "b", "a")["last_pseq"] == 1


def test_agent_talks_through_restarts(own):
    """The Agent of agentlink.py sends 2,000 messages while the node is killed three times."""
    node, _ = own
    total, sent_all = 2000, threading.Event()
    Connection(node.socket).add("b")

    def send():
        sender = Agent(node.socket, "a").connect()
        for n in range(total):
            sender.send("b", b"%d" % n)
            if n % 50 == 0:
                sender.settle_sends(below=200)
        sender.settle_sends(timeout=60)
        sent_all.set()
        sender.goodbye()

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    receiver = Agent(node.socket, "b").connect()
    seen, done, kills, end = [], set(), 0, time.monotonic() + 90
    while len(done) < total and time.monotonic() < end:
        d = receiver.receive(0.5)
        if d:
            n = int(d["message"]["payload"])
            if n not in done:
                seen.append(n)
                done.add(n)
            else:
                assert d["flags"] & al.REDELIVERED, f"message {n} came twice without a mark"
            receiver.ack(d)
        if kills < 3 and len(done) > (kills + 1) * total // 4:
            node.kill()
            node.start()
            kills += 1
    assert seen == list(range(total)) and kills == 3
    thread.join(30)
    assert sent_all.is_set()
