"""Groups: one order for all members, joins and leaves in it, a history that proves itself
(protocol.md, section 16)."""
import hashlib
import struct

import pytest

import agentlink as al
from agentlink import Refused, decode_body
from pair import decoded

GROUP = "group:team"


@pytest.fixture
def node(fresh_node):
    return fresh_node()


@pytest.fixture
def team(connect):
    """A connection that owns the group and posts as ann, on channel 1; members ann and bob."""
    conn = connect()
    conn.add("ann", "bob", "cid")
    conn.ask("GROUP_ADD", group=GROUP)
    for name in ("ann", "bob"):
        conn.ask("GROUP_JOIN", group=GROUP, agent=name)
    conn.channel(1, conn.producer()["producer"], GROUP, "ann")
    return conn


def post(conn, *payloads, first=1):
    for i, payload in enumerate(payloads):
        conn.publish(1, first + i, payload)
    seqs = []
    while len(seqs) < len(payloads):
        run = conn.expect("RECEIPT")
        seqs += range(run["seq"], run["seq"] + run["count"])
    return seqs


def rows(conn, name, **values):
    """The rows of a list."""
    out, done = conn.ask(name, **values)
    assert done["count"] == len(out)
    return [row[1] if isinstance(row, tuple) else row for row in out]


def history(conn, **values):
    return rows(conn, "GROUP_HISTORY", **{"group": GROUP, **values})


def digest(data):
    return hashlib.blake2b(data, digest_size=32).digest()


def chain(prev, entry):
    author = entry["author"].encode()
    return digest(prev + struct.pack("<QQBB", entry["seq"], entry["wall_ms"], entry["what"],
                                     len(author)) + author + digest(entry["envelope"]))


def test_every_member_gets_every_message_in_one_order(team, connect):
    assert post(team, b"1", b"2", b"3") == [3, 4, 5]
    for name, first in (("ann", 1), ("bob", 2)):
        receiver = connect()
        receiver.attach(name)
        got = [decoded(receiver.expect("DELIVER")) for _ in range(first, 6)]
        assert [d["seq"] for d in got] == list(range(first, 6))
        assert [d["message"]["payload"] for d in got[-3:]] == [b"1", b"2", b"3"]
        assert [d["from"] for d in got[-3:]] == ["ann"] * 3
        assert got[2 - first]["message"]["kind"] == "agentlink.group.join"
        assert got[2 - first]["message"]["payload"] == b"bob"
        for d in got:
            receiver.ack(d)
            receiver.expect("ACKED")


def test_members_have_cursors_and_records_of_their_own(team, connect):
    post(team, b"1")
    receiver = connect()
    receiver.attach("bob")
    receiver.ack(receiver.expect("DELIVER"))
    receiver.expect("ACKED")
    ann, bob = rows(team, "GROUP_MEMBERS", group=GROUP)
    assert (ann["agent"], ann["acked_seq"], ann["pending"]) == ("ann", 0, 3)
    assert (bob["agent"], bob["joined_seq"], bob["acked_seq"], bob["pending"]) == ("bob", 2, 2, 1)
    assert team.record(stream=bob["stream"], seq=2)["state"] == al.DELIVERED
    assert team.record(stream=ann["stream"], seq=2)["state"] == al.WAITING


def test_the_chain_proves_order_and_completeness(team):
    post(team, b"1", b"2")
    team.ask("GROUP_LEAVE", group=GROUP, agent="bob")
    entries = history(team)
    assert [(e["what"], e["author"]) for e in entries] == [
        (2, "ann"), (2, "bob"), (1, "ann"), (1, "ann"), (3, "bob")]
    last = digest(GROUP.encode())
    for entry in entries:
        assert entry["prev_hash"] == last
        last = chain(last, entry)
    (row,) = rows(team, "GROUP_LIST", exact=1, after=GROUP)
    assert row["hash"] == last
    assert row["next_seq"] == 6


def test_history_by_range(team):
    post(team, b"1", b"2", b"3")
    entries = history(team, first_seq=4, limit=1, agent="bob")
    assert [decode_body("ENVELOPE", e["envelope"])["payload"] for e in entries] == [b"2"]
    assert history(team, first_seq=6) == []
    with pytest.raises(Refused) as refused:
        team.ask("GROUP_HISTORY", group=GROUP, agent="cid")
    assert refused.value.code == "NOT_MEMBER"


def test_late_joiner_catches_up(team, connect):
    post(team, b"1", b"2")
    team.ask("GROUP_JOIN", group=GROUP, agent="cid", from_seq=3)
    receiver = connect()
    receiver.attach("cid")
    got = [decoded(receiver.expect("DELIVER")) for _ in range(3)]
    assert [(d["seq"], d["message"]["payload"]) for d in got] == [(3, b"1"), (4, b"2"), (5, b"cid")]


def test_a_restart_changes_nothing(team, node, connect):
    post(team, b"1", b"2")
    before = history(team)
    node.kill()
    node.start()
    after = history(connect())
    assert [(e["seq"], e["prev_hash"], e["envelope"]) for e in after] == [
        (e["seq"], e["prev_hash"], e["envelope"]) for e in before]


def test_refusals(team):
    team.ask("GROUP_LEAVE", group=GROUP, agent="ann")
    team.publish(1, 1, b"1")
    assert al.ERRORS[team.expect("REFUSED")["code"]] == "NOT_MEMBER"
    for name, values, code in (
            ("GROUP_ADD", dict(group=GROUP), "EXISTS"),
            ("GROUP_ADD", dict(group="team"), "BAD_NAME"),
            ("GROUP_JOIN", dict(group="group:none", agent="ann"), "UNKNOWN_GROUP"),
            ("GROUP_JOIN", dict(group=GROUP, agent="nobody"), "UNKNOWN_AGENT"),
            ("GROUP_JOIN", dict(group=GROUP, agent="bob"), "EXISTS"),
            ("GROUP_JOIN", dict(group=GROUP, agent="cid", from_seq=99), "INVALID"),
            ("GROUP_LEAVE", dict(group=GROUP, agent="cid"), "NOT_MEMBER"),
            ("GROUP_REMOVE", dict(group=GROUP), "BUSY"),
            ("AGENT_REMOVE", dict(name="bob", flags=1), "BUSY"),
            ("AGENT_ADD", dict(name=GROUP), "BAD_NAME")):
        with pytest.raises(Refused) as refused:
            team.ask(name, **values)
        assert refused.value.code == code, (name, values)
    with pytest.raises(Refused) as refused:
        team.channel(2, 1, "group:none", "bob")
    assert refused.value.code == "UNKNOWN_GROUP"


def commit_post(team, producer, agent, envelope):
    send = al.encode_body("COMMIT_SEND", dict(to=GROUP, envelope=envelope))
    team.send("COMMIT", request=team.request(), producer=producer, epoch=1, cseq=1, agent=agent,
              sends=struct.pack("<I", len(send)) + send)
    return team.expect("COMMITTED")


def test_a_commit_posts(team):
    team.add("stranger")
    producer = team.producer()["producer"]
    refused = commit_post(team, producer, "stranger", al.envelope(b"1"))
    assert al.ERRORS[refused["code"]] == "NOT_MEMBER"
    assert not [e for e in history(team) if e["what"] == 1]
    assert commit_post(team, producer, "ann", al.envelope(b"1", key="once"))["code"] == 0
    assert [e["seq"] for e in history(team) if e["what"] == 1] == [3]
    team.publish(1, 1, b"1", key="once")
    receipt = team.expect("RECEIPT")
    assert (receipt["seq"], receipt["duplicate"]) == (3, 1)


def test_a_key_is_posted_once(team):
    team.publish(1, 1, b"1", key="once")
    first = team.expect("RECEIPT")
    team.publish(1, 2, b"1", key="once")
    second = team.expect("RECEIPT")
    assert (second["seq"], second["duplicate"]) == (first["seq"], 1)
    team.publish(1, 3, b"2", key="once")
    assert al.ERRORS[team.expect("REFUSED")["code"]] == "KEY_CONFLICT"
    assert [e["seq"] for e in history(team) if e["what"] == 1] == [first["seq"]]


def test_no_gap_policy(team):
    with pytest.raises(Refused) as refused:
        team.channel(2, 1, GROUP, "bob", flags=2)
    assert refused.value.code == "UNSUPPORTED"


def test_the_end_comes_when_all_have_finished(team, connect):
    team.publish(1, 1, b"1", flags=al.NOTIFY)
    team.expect("RECEIPT")
    for name, count in (("ann", 3), ("bob", 2)):
        assert team.quiet(0.1) == []
        receiver = connect()
        receiver.attach(name)
        for _ in range(count):
            receiver.ack(receiver.expect("DELIVER"))
    end = team.expect("END")
    assert (end["seq"], end["state"]) == (3, al.DELIVERED)
