"""Gaps: what is lost on the way is asked for, and ends by the channel's policy (section 6.8)."""
import time
import uuid

import pytest

import agentlink as al
from agentlink import ERRORS, Refused
from pair import Pair, decoded

TIMEOUT = 5.0  # of a gap


def gappy(connect, names, policy):
    """A pair whose channel 1 was opened with this policy."""
    pair = Pair(connect, names)
    pair.sender.send("CHANNEL_CLOSE", channel=1)
    pair.sender.channel(1, pair.producer, pair.receiver_name, pair.sender_name, flags=policy)
    return pair


def publish(pair, *numbers, **values):
    """In one write: the node sees all of them before it does anything else."""
    sender, frames = pair.sender, []
    sender.send_raw = frames.append
    for n in numbers:
        message_id = uuid.uuid5(uuid.NAMESPACE_OID, f"{pair.sender_name} {n}").bytes
        sender.publish(1, n, b"%d" % n, message_id=message_id, **values)
    del sender.send_raw
    sender.send_raw(b"".join(frames))


def payloads(pair, count):
    pair.attach(credit=256)
    return [decoded(d)["message"]["payload"] for _, d in
            (pair.receiver.expect("DELIVER", "DETACHED") for _ in range(count))]


def nack(pair, timeout=10.0):
    n = pair.sender.expect("GAP_NACK", timeout=timeout)
    assert n["number"] == 1
    return n["start"], n["end"]


def refusals(pair, count):
    out = []
    for _ in range(count):
        r = pair.sender.expect("REFUSED")
        out.append((r["pseq"], ERRORS[r["code"]]))
    return out


@pytest.mark.parametrize("policy", [al.GAPS_WAIT, al.GAPS_SKIP, al.GAPS_FAIL])
def test_a_gap_heals_when_the_missing_one_comes(connect, names, policy):
    pair = gappy(connect, names, policy)
    publish(pair, 1, 3, 4)
    assert pair.receipts(1)[0]["pseq"] == 1
    assert nack(pair) == (2, 2)
    publish(pair, 2)
    assert [(r["pseq"], r["seq"]) for r in pair.receipts(3)] == [(2, 2), (3, 3), (4, 4)]
    assert payloads(pair, 4) == [b"1", b"2", b"3", b"4"]


def test_each_gap_is_asked_for_once_at_once_and_then_with_pauses(connect, names):
    pair = gappy(connect, names, al.GAPS_WAIT)
    begun = time.monotonic()  # the pauses are the node's: we may see a frame late, never early
    publish(pair, 1, 4, 7, 5)
    assert [nack(pair), nack(pair)] == [(2, 3), (5, 6)]
    assert nack(pair) == (2, 3) and time.monotonic() - begun >= 0.09
    assert nack(pair) == (2, 3) and time.monotonic() - begun >= 0.29
    publish(pair, 2, 3)
    assert [r["pseq"] for r in pair.receipts(5)] == [1, 2, 3, 4, 5]
    missing = nack(pair)
    while missing == (2, 3):  # asked for once more before they came
        missing = nack(pair)
    assert missing == (6, 6)
    publish(pair, 6)
    assert [r["pseq"] for r in pair.receipts(2)] == [6, 7]
    assert payloads(pair, 7) == [b"%d" % n for n in range(1, 8)]


def test_what_is_held_has_no_receipt_and_comes_once(connect, names):
    pair = gappy(connect, names, al.GAPS_WAIT)
    publish(pair, 2, 2, 3, 3)
    assert nack(pair) == (1, 1)
    assert not [f for f in pair.sender.quiet(0.05) if f[0] == "RECEIPT"]
    publish(pair, 1)
    assert [r["duplicate"] for r in pair.receipts(3)] == [0, 0, 0]
    assert payloads(pair, 3) == [b"1", b"2", b"3"]
    assert pair.receiver.quiet(0.2) == []


def test_more_than_the_buffer_holds_is_asked_for_again(connect, names):
    pair = gappy(connect, names, al.GAPS_WAIT)
    publish(pair, *range(2, 101))
    assert nack(pair) == (1, 1)
    publish(pair, 1)
    assert [r["pseq"] for r in pair.receipts(65)] == list(range(1, 66))
    while True:
        start, end = nack(pair)
        if start != 1:
            break
    assert (start, end) == (66, 100)
    publish(pair, *range(66, 101))
    assert [r["pseq"] for r in pair.receipts(35)] == list(range(66, 101))
    assert payloads(pair, 100) == [b"%d" % n for n in range(1, 101)]


def test_a_number_far_ahead_is_refused_at_once(connect, names):
    pair = gappy(connect, names, al.GAPS_WAIT)
    publish(pair, 1)
    pair.receipts(1)
    publish(pair, 2 + 4096)
    assert refusals(pair, 1) == [(4098, "SEQUENCE_GAP")]


def test_wait_ends_with_a_refusal_and_a_held_channel(connect, names):
    pair = gappy(connect, names, al.GAPS_WAIT)
    begun = time.monotonic()
    publish(pair, 1, 3, 5)
    assert refusals(pair, 4) == [(2, "SEQUENCE_GAP"), (3, "STREAM_HELD"), (4, "STREAM_HELD"),
                                 (5, "STREAM_HELD")]
    assert time.monotonic() - begun > TIMEOUT - 0.1
    pair.sender.resume(1, 2)
    publish(pair, 2, 3)
    assert [r["pseq"] for r in pair.receipts(3)] == [1, 2, 3]
    assert payloads(pair, 3) == [b"1", b"2", b"3"]


def test_skip_tells_sender_and_recipient(connect, names):
    pair = gappy(connect, names, al.GAPS_SKIP)
    publish(pair, 1, 4, 5)
    assert refusals(pair, 2) == [(2, "GAP_CLOSED"), (3, "GAP_CLOSED")]
    assert [(r["pseq"], r["seq"]) for r in pair.receipts(3)] == [(1, 1), (4, 2), (5, 3)]
    publish(pair, 3)  # too late
    assert refusals(pair, 1) == [(3, "GAP_CLOSED")]
    publish(pair, 6)  # and the channel is not held
    assert pair.receipts(1)[0]["seq"] == 4
    pair.attach()
    got = [pair.deliver() for _ in range(4)]
    assert [d["message"]["payload"] for d in got] == [b"1", b"4", b"5", b"6"]
    assert [d.get("missing", 0) for d in got] == [0, 2, 0, 0]
    assert [d["flags"] & al.GAP_BEFORE for d in got] == [0, al.GAP_BEFORE, 0, 0]


def test_fail_makes_dead_letters(connect, names):
    pair = gappy(connect, names, al.GAPS_FAIL)
    publish(pair, 1, 3, 5, flags=al.NOTIFY)
    assert refusals(pair, 2) == [(2, "GAP_CLOSED"), (4, "GAP_CLOSED")]
    assert [r["pseq"] for r in pair.receipts(3)] == [1, 3, 5]
    ends = [pair.sender.expect("END") for _ in range(2)]
    assert [(e["seq"], e["state"]) for e in ends] == [(2, al.DEAD), (3, al.DEAD)]
    publish(pair, 6)
    pair.receipts(1)
    assert payloads(pair, 2) == [b"1", b"6"]
    rows, _ = pair.receiver.ask("DLQ_LIST", agent=pair.receiver_name, limit=9)
    assert [(r["seq"], ERRORS[r["code"]]) for r in rows] == [(2, "SEQUENCE_GAP"),
                                                             (3, "SEQUENCE_GAP")]


def test_a_closed_gap_is_remembered_over_a_restart(fresh_node, names):
    node = fresh_node()
    pair = gappy(lambda: al.Connection(node.socket), names, al.GAPS_SKIP)
    publish(pair, 1, 3)
    assert refusals(pair, 1) == [(2, "GAP_CLOSED")]
    pair.receipts(2)
    node.kill()
    node.start()
    again = al.Connection(node.socket)
    again.producer(pair.producer, 1)
    ready = again.channel(1, pair.producer, pair.receiver_name, pair.sender_name, first_pseq=1,
                          flags=al.GAPS_SKIP)
    assert ready["last_pseq"] == 3
    pair.sender = again
    publish(pair, 1, 2, 3)
    assert refusals(pair, 1) == [(2, "GAP_CLOSED")]
    assert [(r["pseq"], r["duplicate"]) for r in pair.receipts(2)] == [(1, 1), (3, 1)]
    pair.receiver = al.Connection(node.socket)
    pair.attach()
    assert [pair.deliver().get("missing", 0) for _ in range(2)] == [0, 1]


def test_unknown_policies_are_refused(connect, names):
    pair = Pair(connect, names)
    with pytest.raises(Refused, match="INVALID"):
        pair.sender.channel(2, pair.producer, pair.receiver_name, pair.sender_name, flags=8)


# --- from the node ---------------------------------------------------------------------------


def test_what_is_out_is_sent_again(pair):
    pair.send(b"1", b"2", b"3")
    pair.attach()
    first = [pair.deliver() for _ in range(3)]
    pair.receiver.send("GAP_NACK", number=pair.stream, start=2, end=3)
    again = [pair.deliver() for _ in range(2)]
    assert [(d["seq"], d["lease"]) for d in again] == [(d["seq"], d["lease"]) for d in first[1:]]
    pair.receiver.ack(first[0])
    pair.receiver.ack(again[0])
    pair.receiver.ack(again[1])
    assert pair.receiver.expect("ACKED", where=lambda a: a["last_seq"] == 3)


def test_a_delivery_says_whether_another_is_out_before_it(pair):
    pair.send(b"1", b"2", b"3")
    pair.attach()
    first = [pair.deliver() for _ in range(3)]
    assert [d["flags"] for d in first] == [0, al.FOLLOWS, al.FOLLOWS]
    for d in first:
        pair.receiver.ack(d)
    pair.receiver.expect("ACKED", where=lambda a: a["last_seq"] == 3)
    pair.send(b"4")
    fourth = pair.deliver()
    assert (fourth["prev_seq"], fourth["flags"]) == (3, 0)


def test_of_what_is_not_out_the_first_behind_it_tells(pair):
    pair.send(b"1", b"2", b"3")
    pair.attach()
    first = [pair.deliver() for _ in range(3)]
    pair.receiver.ack(first[0])
    pair.receiver.expect("ACKED")
    pair.receiver.send("GAP_NACK", number=pair.stream, start=1, end=1)
    again = pair.deliver()
    assert (again["seq"], again["lease"], again["flags"]) == \
        (2, first[1]["lease"], al.REDELIVERED)
    assert pair.receiver.quiet(0.05) == []


def test_where_nothing_is_out_it_is_recalled(pair):
    pair.send(b"1", b"2")
    pair.attach()
    for _ in range(2):
        pair.receiver.ack(pair.deliver())
    pair.receiver.expect("ACKED", where=lambda a: a["last_seq"] == 2)
    pair.receiver.send("GAP_NACK", number=pair.stream, start=2, end=2)
    recall = pair.receiver.expect("RECALL")
    assert (recall["stream"], recall["seq"], ERRORS[recall["code"]]) == \
        (pair.stream, 2, "CANCELLED")


def test_several_gaps_of_a_stream_at_once(pair):
    pair.send(*[b"%d" % n for n in range(1, 9)])
    pair.attach()
    leases = {d["seq"]: d["lease"] for d in (pair.deliver() for _ in range(8))}
    pair.receiver.send_raw(b"".join(
        al.encode("GAP_NACK", number=pair.stream, start=start, end=end)
        for start, end in ((5, 6), (2, 2), (8, 8))))
    got = {}
    while not {2, 5, 6, 8} <= set(got):
        d = pair.deliver()
        got[d["seq"]] = d["lease"]
    assert got == {seq: leases[seq] for seq in got}


def test_only_the_receiver_of_a_stream_asks(pair):
    pair.send(b"1")
    pair.attach()
    pair.deliver()
    with pytest.raises(Refused, match="NOT_ATTACHED"):
        pair.sender.send("GAP_NACK", number=pair.stream, start=1, end=1)
        pair.sender.expect("DELIVER", timeout=3)
    with pytest.raises(Refused, match="INVALID"):
        pair.receiver.send("GAP_NACK", number=pair.stream, start=2, end=1)
        pair.receiver.expect("DELIVER", timeout=3)
