"""COMMIT and an agent's own state (protocol.md, section 8.4)."""
import struct
import uuid

import agentlink as al
import pytest
from pair import decoded

SET, DELETE = 1, 2
NO_PART = 0xffffffff


def bodies(name, rows):
    out = b""
    for row in rows:
        body = al.encode_body(name, row)
        out += struct.pack("<I", len(body)) + body
    return out


class Committer:
    """The receiver of a pair, which commits."""

    def __init__(self, pair, connection=None, producer=None, cseq=0):
        self.pair, self.connection = pair, connection or pair.receiver
        self.producer = producer or self.connection.producer()["producer"]
        self.cseq = cseq

    def __call__(self, acks=(), sends=(), changes=(), cseq=None, **values):
        frame = dict(request=self.connection.request(), producer=self.producer, epoch=1,
                     cseq=cseq or self.cseq + 1, agent=self.pair.receiver_name,
                     acks=bodies("ACK", acks), sends=bodies("COMMIT_SEND", sends),
                     changes=bodies("COMMIT_KV", changes))
        self.connection.send("COMMIT", **dict(frame, **values))
        answer = self.connection.expect("COMMITTED")
        self.receipts = answer.get("receipts", [])
        if answer["code"] == 0 and not answer["duplicate"]:
            self.cseq = cseq or self.cseq + 1
        return al.ERRORS.get(answer["code"], "ok"), answer["index"], answer["duplicate"]

    def state(self):
        rows, _ = self.connection.ask("KV_LIST", agent=self.pair.receiver_name)
        return {row["key"]: row["value"] for row in rows}


def ack(d, response=b"", **values):
    return dict(stream=d["stream"], seq=d["seq"], lease=d["lease"], status=al.SUCCESS,
                response=response, **values)


def message(to, payload=b"", **values):
    return dict(to=to, priority=4, envelope=al.envelope(payload, **values))


def put(key, value=b""):
    return dict(action=SET, key=key, value=value)


def test_ack_send_and_state_in_one(pair, connect):
    pair.send(b"ask", flags=al.NOTIFY)
    pair.attach()
    commit = Committer(pair)
    d = pair.deliver()
    assert commit([ack(d, b"done")], [message(pair.sender_name, b"next")],
                  [put("count", b"1"), put("last", b"ask")]) == ("ok", 0, 0)
    assert commit.state() == {"count": b"1", "last": b"ask"}
    assert pair.sender.expect("END")["response"] == b"done"
    other = connect()
    other.attach(pair.sender_name)
    got = decoded(other.expect("DELIVER"))
    assert got["message"]["payload"] == b"next" and got["from"] == pair.receiver_name
    assert commit.receipts == [(got["stream"], got["seq"], 0)]
    assert commit(changes=[dict(action=DELETE, key="count"), put("last", b"2")])[0] == "ok"
    assert commit.state() == {"last": b"2"}


def test_a_commit_refuses_a_message(pair):
    pair.send(b"never", b"well", flags=al.NOTIFY)
    pair.attach()
    commit = Committer(pair)
    first, second = ack(pair.deliver()), ack(pair.deliver(), b"done")
    first.update(status=al.FAILED, reason="no such thing")
    assert commit([first, second], [], [put("refused", b"1")]) == ("ok", 0, 0)
    ends = [pair.sender.expect("END") for _ in range(2)]
    assert [(end["state"], end["reason"]) for end in ends] == [(6, "no such thing"), (4, "")]
    assert commit.state() == {"refused": b"1"}
    rows, _ = pair.receiver.ask("DLQ_LIST", agent=pair.receiver_name)
    assert [row["seq"] for row in rows] == [first["seq"]]


def test_receipts_again_and_of_duplicates(pair):
    commit, known = Committer(pair), uuid.uuid4().bytes
    parts = [message(pair.sender_name, b"1", message_id=known),
             message(pair.sender_name, b"2", message_id=uuid.uuid4().bytes)]
    assert commit(sends=parts)[0] == "ok"
    first = commit.receipts
    assert [(seq, duplicate) for _, seq, duplicate in first] == [(1, 0), (2, 0)]
    assert commit(sends=parts, cseq=1) == ("ok", 0, 1)
    assert commit.receipts == first
    assert commit(sends=[parts[0], message(pair.sender_name, b"3")])[0] == "ok"
    assert commit.receipts == [first[0][:2] + (1,), (first[0][0], 3, 0)]
    assert commit(changes=[put("x")])[0] == "ok" and not commit.receipts


def test_a_repeated_commit_is_recognised(pair, connect):
    commit = Committer(pair)
    assert commit(changes=[put("n", b"1")]) == ("ok", 0, 0)
    assert commit(changes=[put("n", b"2")]) == ("ok", 0, 0)
    assert commit(changes=[put("n", b"2")], cseq=2) == ("ok", 0, 1)
    pair.receiver.close()
    again = connect()  # on another connection, which takes the producer up
    late = Committer(pair, again, commit.producer, 2)
    assert late(changes=[put("n", b"9")], cseq=1) == ("ok", 0, 1)
    assert late.state() == {"n": b"2"}
    assert late(changes=[put("n", b"9")], cseq=4)[0] == "SEQUENCE_GAP"
    assert late(changes=[put("n", b"3")])[0] == "ok"


@pytest.mark.parametrize("bad,code", [("lease", "LEASE_LOST"), ("to", "UNKNOWN_AGENT"),
                                      ("value", "TOO_LARGE"), ("twice", "INVALID"),
                                      ("nokey", "INVALID"), ("order", "OUT_OF_ORDER"),
                                      ("status", "INVALID"), ("same", "INVALID")])
def test_one_bad_part_refuses_all(pair, bad, code):
    pair.send(b"1", b"2")
    pair.attach()
    commit = Committer(pair)
    first, second = pair.deliver(), pair.deliver()
    acks, sends = [ack(first)], [message(pair.sender_name, b"x")]
    changes = [put("k", b"v")]
    index = {"lease": 0, "to": 2, "value": 3, "twice": 3, "nokey": 3, "order": 0, "status": 0,
             "same": 2}[bad]
    if bad == "lease":
        acks[0]["lease"] += 1
    elif bad == "order":
        acks = [ack(second)]
    elif bad == "status":
        acks[0]["status"] = al.FAILED + 1
    elif bad == "to":
        sends.append(message("nobody-" + uuid.uuid4().hex[:8]))
    elif bad == "same":
        sends.append(sends[0])
    else:
        changes.append(put({"value": "l", "twice": "k", "nokey": ""}[bad],
                           b"z" * (16385 if bad == "value" else 1)))
    assert commit(acks, sends, changes) == (code, index, 0)
    assert commit.state() == {}
    rows, _ = pair.sender.ask("AGENT_LIST", exact=1, after=pair.sender_name)
    assert rows[0]["ready"] == 0
    assert commit([ack(first), ack(second)])[0] == "ok"  # its number is still free


def test_limits(pair):
    commit = Committer(pair)
    for first in range(0, 1000, 250):
        assert commit(changes=[put("k%d" % n) for n in range(first, first + 250)])[0] == "ok"
    assert commit(changes=[put("one more")]) == ("LIMIT", 0, 0)
    assert commit(changes=[put("k7", b"changed")])[0] == "ok"
    assert commit(changes=[put("k%d" % n) for n in range(257)])[0] == "LIMIT"
    assert commit()[0] == "INVALID"
    assert len(commit.state()) == 1000


def test_who_may_and_what_is_not_there(pair, connect):
    commit = Committer(pair)
    assert commit(changes=[put("a")], agent="nobody-here") == ("UNKNOWN_AGENT", NO_PART, 0)
    assert commit(changes=[put("a")], producer=1 << 50)[0] == "PRODUCER_RETIRED"
    assert commit(changes=[put("a")], epoch=7)[0] == "FENCED"
    assert commit([dict(stream=1, seq=1, lease=1, status=1)])[0] == "NOT_ATTACHED"
    other = Committer(pair, connect(), commit.producer)
    assert other(changes=[put("a")])[0] == "FENCED"  # the first one still holds it
    with pytest.raises(al.Refused, match="NOT_FOUND"):
        commit.connection.ask("KV_GET", agent=pair.receiver_name, key="a")


def test_state_survives_a_kill(fresh_node):
    from pair import Pair
    node = fresh_node()
    pair = Pair(lambda: al.Connection(node.socket), ("a", "b"))
    commit = Committer(pair)
    commit(changes=[put("kept", b"\x00\xff" * 100)])
    node.kill()
    node.start()
    late = Committer(pair, al.Connection(node.socket), commit.producer, 1)
    assert late(changes=[put("kept", b"")], cseq=1) == ("ok", 0, 1)
    assert late.state() == {"kept": b"\x00\xff" * 100}
