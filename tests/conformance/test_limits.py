"""What happens at the limits, on nodes with small ones; and names that belong to other users
(protocol.md, sections 5, 6.4, 6.5, 10, 11)."""
import json
import os
import pathlib
import subprocess
import sys
import time
import uuid

import pytest

import agentlink as al
from agentlink import ERRORS, Connection, Refused
from pair import Pair


@pytest.fixture
def small(fresh_node):
    """small(config…): a Pair on a node of its own, with pair.node."""
    connections = []

    def make(**config):
        node = fresh_node(config=json.dumps(config))

        def connect(**values):
            connections.append(Connection(node.socket, **values))
            return connections[-1]
        pair = Pair(connect, ("a", "b"))
        pair.node = node
        return pair

    yield make
    for connection in connections:
        connection.close()


def refusal(pair):
    v = pair.sender.expect("REFUSED")
    return v["pseq"], ERRORS[v["code"]]


def fail_one(pair, payload=b"bad"):
    pair.send(payload)
    pair.receiver.ack(pair.deliver(), status=al.FAILED)
    pair.receiver.expect("ACKED")


def test_full_inbox(small):
    pair = small(limits={"inbox_messages": 3})
    pair.send(b"1", b"2", b"3")
    pair.publish(b"4")
    assert refusal(pair) == (4, "INBOX_FULL")
    pair.attach(credit=1)
    pair.receiver.ack(pair.deliver())
    pair.receiver.expect("ACKED")
    pair.sender.resume(1, 4)
    pair.sender.publish(1, 4, b"4")
    assert pair.receipts()[0]["seq"] == 4


def test_full_dead_letter_queue(small):
    pair = small(limits={"dead_letters": 2})
    pair.attach()
    fail_one(pair)
    fail_one(pair)
    pair.publish(b"3")
    assert refusal(pair) == (3, "DLQ_FULL")
    pair.receiver.ask("DLQ_PURGE", agent="b")
    pair.sender.resume(1, 3)
    pair.sender.publish(1, 3, b"3")
    assert pair.receipts()[0]["seq"] == 3


def test_full_bytes_of_dead_letters(small):
    pair = small(limits={"dead_letter_bytes": 6})
    pair.attach()
    fail_one(pair, b"12345")
    fail_one(pair, b"6")
    pair.publish(b"7")
    assert refusal(pair) == (3, "DLQ_FULL")
    pair.receiver.ask("DLQ_PURGE", agent="b")
    pair.sender.resume(1, 3)
    pair.sender.publish(1, 3, b"7")
    assert pair.receipts()[0]["seq"] == 3


def test_full_key_store(small):
    """Nobody may hold more than half of it; messages without a key are not concerned."""
    pair = small(limits={"dedup_keys": 20})
    for n in range(10):
        pair.send(b"x", key=f"k{n}")
    pair.publish(b"x", key="one more")
    assert refusal(pair) == (11, "DEDUP_FULL")
    pair.sender.resume(1, 11)
    pair.sender.publish(1, 11, b"without a key")
    pair.receipts()
    other = pair.connect()
    other.channel(1, other.producer()["producer"], "b", "c")
    for n in range(10):
        other.publish(1, n + 1, b"x", key=f"k{n}")
    other.publish(1, 11, b"x", key="one more")
    assert ERRORS[other.expect("REFUSED")["code"]] == "DEDUP_FULL"


def test_keys_expire(small):
    pair = small(limits={"dedup_ttl_ms": 2000})
    pair.send(b"x", key="k")
    assert pair.send(b"x", key="k")[0]["duplicate"] == 1
    time.sleep(2.1)
    again, = pair.send(b"another body", key="k")
    assert (again["duplicate"], again["seq"]) == (0, 2)


def test_finished_records_are_bounded(small):
    pair = small(limits={"records": 16})
    pair.attach(credit=100)
    pair.send(*[b"x"] * 40)
    for _ in range(40):
        pair.receiver.ack(pair.deliver())
    pair.receiver.expect("ACKED", where=lambda v: v["last_seq"] == 40)
    states = [pair.sender.record(stream=pair.stream, seq=n)["state"] for n in range(1, 41)]
    assert states[-16:] == [al.DELIVERED] * 16
    assert states[:20] == [al.ENDED] * 20


def test_finished_records_expire(small):
    pair = small(limits={"records_ttl_ms": 2000})
    pair.attach()
    pair.send(b"x")
    pair.receiver.ack(pair.deliver(), response=b"r")
    pair.receiver.expect("ACKED")
    assert pair.sender.record(stream=pair.stream, seq=1)["state"] == al.DELIVERED
    time.sleep(2.1)
    assert pair.sender.record(stream=pair.stream, seq=1)["state"] == al.ENDED
    pair.sender.send("END_WATCH", stream=pair.stream, seq=1)
    end = pair.sender.expect("END")
    assert (end["state"], end["response"]) == (al.ENDED, b"")


def test_policy_of_a_kind(small):
    pair = small(retry={"base_ms": 5000, "factor": 1, "cap_ms": 5000, "max": 5},
                 kinds={"Quick": {"ack_timeout_ms": 250, "base_ms": 50, "factor": 1, "cap_ms": 50,
                                  "max": 2}})
    pair.send(b"x", kind="Quick", flags=al.NOTIFY)
    begin = time.monotonic()
    pair.attach()
    assert [pair.deliver()["lease_ms"] for _ in range(3)] == [250] * 3
    end = pair.sender.expect("END")
    assert (end["state"], end["attempts"]) == (al.DEAD, 3)
    assert 0.75 < time.monotonic() - begin < 5
    log = al.parse_attempts(
        pair.receiver.ask("DLQ_LIST", agent="b")[0] and
        pair.receiver.ask("DLQ_GET", message_id=end["message_id"])[0][0]["attempts_log"])
    assert [ERRORS[a["code"]] for a in log] == ["TIMEOUT"] * 3


def test_small_payloads(small):
    """payload_max is told in WELCOME; a frame beyond payload_max + 53,248 is not even read."""
    pair = small(limits={"payload_bytes": 4096})
    assert pair.sender.welcome["payload_max"] == 4096
    pair.send(b"x" * 4096)
    pair.publish(b"x" * 4097)
    assert refusal(pair) == (2, "TOO_LARGE")
    pair.sender.send_raw(al.HEADER.pack(4096 + 53248 + 1, 0x16, 0, 0))
    name, error = pair.sender.closed()[-1]
    assert (name, ERRORS[error["code"]], error["fatal"]) == ("ERROR", "TOO_LARGE", 1)


def test_connections(small):
    pair = small(limits={"connections": 10})
    keep = []
    for _ in range(8):
        keep.append(pair.connect())
    late = Connection(pair.node.socket, hello=False)
    name, error = late.closed()[-1]
    assert (name, ERRORS[error["code"]], error["fatal"]) == ("ERROR", "LIMIT", 1)
    keep.pop().close()
    end = time.monotonic() + 20
    while True:  # until the node has noticed
        try:
            pair.connect()
            break
        except (al.Closed, Refused):
            assert time.monotonic() < end
            time.sleep(0.02)


def test_attaches_of_a_connection(fresh_node):
    node = fresh_node()
    with Connection(node.socket) as c:
        for n in range(1024):
            c.attach(f"a{n}")
        with pytest.raises(Refused, match="LIMIT"):
            c.attach("one-more")


def test_channels_of_a_connection(fresh_node):
    node = fresh_node()
    with Connection(node.socket) as c:
        c.add("b")
        producer = c.producer()["producer"]
        c.send_raw(b"".join(al.encode("CHANNEL_OPEN", channel=n, producer=producer, first_pseq=1,
                                      from_="a", to="b", label=str(n)) for n in range(1, 4097)))
        for n in range(1, 4097):
            assert c.expect("CHANNEL_READY")["channel"] == n
        with pytest.raises(Refused, match="LIMIT"):
            c.channel(4097, producer, "b", "a")


# --- users -----------------------------------------------------------------------------------------

OTHER_USER = r"""
import json, os, sys
sys.path.insert(0, sys.argv[1])
os.setgid(65534); os.setuid(65534)
from agentlink import *
c = Connection(sys.argv[2])
out = {"uid": c.welcome["uid"]}
def attempt(name, action):
    try:
        action()
        out[name] = "done"
    except Refused as error:
        out[name] = error.code
attempt("attach", lambda: c.attach("b"))
producer = c.producer()["producer"]
attempt("send as a", lambda: c.channel(1, producer, "b", "a"))
attempt("send to b", lambda: c.channel(2, producer, "b", "mine"))
c.publish(2, 1, b"from somebody else")
out["receipt"] = c.expect("RECEIPT")["seq"]
attempt("take up a producer of root", lambda: c.producer(int(sys.argv[3]), 1))
attempt("record of others", lambda: c.record(stream=int(sys.argv[4]), seq=1))
attempt("remove", lambda: c.ask("AGENT_REMOVE", name="b", flags=1))
attempt("streams", lambda: c.ask("STREAM_LIST", agent="b", limit=5))
attempt("dead letters", lambda: c.ask("DLQ_LIST", agent="b", limit=5))
attempt("purge", lambda: c.ask("DLQ_PURGE", agent="b"))
attempt("settle", lambda: c.ask("SETTLE", message_id=bytes.fromhex(sys.argv[5]), action=1))
attempt("own", lambda: c.attach("mine"))
print(json.dumps(out))
"""


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, to become somebody else")
def test_names_belong_to_users(small):
    pair = small(allowed_uids=[65534])
    message = uuid.uuid4().bytes
    pair.send(b"private", message_id=message)
    pair.attach()
    delivery = pair.deliver()
    os.chmod(pair.node.home, 0o755)
    os.chmod(pair.node.socket, 0o777)
    done = subprocess.run(
        [sys.executable, "-c", OTHER_USER, str(pathlib.Path(al.__file__).parent), pair.node.socket,
         str(pair.producer), str(pair.stream), message.hex()],
        capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "uid": 65534, "attach": "NOT_OWNER", "send as a": "NOT_OWNER", "send to b": "done",
        "receipt": 1, "take up a producer of root": "DENIED", "record of others": "NOT_FOUND",
        "remove": "NOT_OWNER", "streams": "NOT_OWNER", "dead letters": "NOT_OWNER",
        "purge": "NOT_OWNER", "settle": "NOT_FOUND", "own": "done"}
    pair.receiver.ack(delivery)
    assert pair.receiver.expect("ACKED")["seq"] == 1
    root = pair.connect()  # root may do it all
    root.attach("mine", flags=al.TAKEOVER)
