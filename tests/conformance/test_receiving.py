"""Attach, credit, leases, settling, order (protocol.md, section 7)."""
import time

import pytest

import agentlink as al
from agentlink import ERRORS, Refused
from pair import decoded


def payloads(deliveries):
    return [d["message"]["payload"] for d in deliveries]


def deliveries(pair, count, timeout=10.0):
    return [pair.deliver(timeout) for _ in range(count)]


def settle_refused(connection, timeout=10.0):
    v = connection.expect("SETTLE_REFUSED", timeout=timeout)
    return v["seq"], ERRORS[v["code"]]


# --- attach ----------------------------------------------------------------------------------------


def test_attach_creates_the_agent(connect, names):
    c = connect()
    attached = c.attach(names[0])
    assert attached["resumed"] == 0 and attached["agent"] > 0
    rows, _ = c.ask("AGENT_LIST", after=names[0], exact=1, limit=1)
    assert rows[0]["name"] == names[0] and rows[0]["attached"] == 1


def test_attach_without_creating(connect, names):
    with pytest.raises(Refused, match="UNKNOWN_AGENT"):
        connect().attach(names[0], flags=al.NO_CREATE)


@pytest.mark.parametrize("name", ["", "Bad", "a b", "a//b", "x" * 65])
def test_attach_bad_name(connect, name):
    with pytest.raises(Refused, match="BAD_NAME"):
        connect().attach(name)


def test_messages_wait_for_an_absent_receiver(pair):
    pair.send(b"1", b"2")
    pair.attach()
    assert [(d["seq"], d["prev_seq"], d["attempt"], d["flags"]) for d in deliveries(pair, 2)] == \
        [(1, 0, 1, 0), (2, 1, 1, al.FOLLOWS)]


def test_delivery_tells_everything(pair):
    before = time.time() * 1000
    pair.send(b"x")
    agent = pair.attach(lease_ms=7000)["agent"]
    d = pair.deliver()
    assert d["agent"] == agent and d["stream"] == pair.stream and d["from"] == pair.sender_name
    assert d["label"] == "" and d["lease"] != 0 and d["lease_ms"] == 7000
    assert before - 1000 < d["admitted_ms"] < time.time() * 1000 + 1000


def test_second_receiver_is_refused(pair, connect):
    pair.attach()
    with pytest.raises(Refused, match="ALREADY_ATTACHED"):
        connect().attach(pair.receiver_name)


def test_a_stream_of_a_shared_inbox_is_with_one_receiver(pair, connect):
    pair.attach(flags=al.SHARED)
    connect().attach(pair.receiver_name, flags=al.SHARED)
    pair.send(b"1", b"2")
    first, second = deliveries(pair, 2)
    assert (first["seq"], second["seq"], second["prev_seq"]) == (1, 2, 1)
    with pytest.raises(Refused, match="ALREADY_ATTACHED"):
        connect().attach(pair.receiver_name)


def test_one_more_than_may_share_is_told_what_to_do(pair, connect):
    for _ in range(128):
        connect().attach(pair.receiver_name, flags=al.SHARED)
    with pytest.raises(Refused, match="LIMIT: as many receivers .*; end one of them"):
        pair.attach(flags=al.SHARED)


def test_take_over_fences_the_old_receiver(pair, connect):
    pair.send(b"1", b"2")
    pair.attach()
    old = deliveries(pair, 2)
    other = connect()
    other.attach(pair.receiver_name, flags=al.TAKEOVER)
    assert ERRORS[pair.receiver.expect("DETACHED")["code"]] == "FENCED"
    new = [decoded(other.expect("DELIVER")) for _ in range(2)]
    assert payloads(new) == [b"1", b"2"] and all(d["flags"] & al.REDELIVERED for d in new)
    assert [d["attempt"] for d in new] == [2, 1]
    assert not {d["lease"] for d in old} & {d["lease"] for d in new}
    pair.receiver.ack(old[0])
    assert settle_refused(pair.receiver)[1] in ("NOT_ATTACHED", "LEASE_LOST")
    other.ack(dict(new[0], lease=old[0]["lease"]))
    assert settle_refused(other) == (1, "LEASE_LOST")
    other.ack(new[0])
    assert other.expect("ACKED")["seq"] == 1


def test_same_instance_replaces_itself(pair, connect):
    pair.send(b"1")
    pair.attach()
    first = pair.deliver()
    again = connect(instance=pair.receiver.instance)
    assert again.attach(pair.receiver_name)["resumed"] == 1
    assert ERRORS[pair.receiver.expect("DETACHED")["code"]] == "FENCED"
    pair.receiver.ack(first)
    assert settle_refused(pair.receiver)[1] == "NOT_ATTACHED"
    again.ack(first)  # the lease is the session's, not the connection's
    assert again.expect("ACKED")["seq"] == 1


def test_session_resumes_within_the_grace(pair, connect):
    pair.send(b"1", b"2")
    pair.attach()
    old = deliveries(pair, 2)
    pair.receiver.close()
    again = connect(instance=pair.receiver.instance)
    assert again.attach(pair.receiver_name)["resumed"] == 1
    new = [decoded(again.expect("DELIVER")) for _ in range(2)]
    assert [(d["seq"], d["lease"], d["attempt"], d["flags"]) for d in new] == \
        [(d["seq"], d["lease"], 1, al.REDELIVERED | d["flags"]) for d in old]
    again.ack(old[0])
    assert again.expect("ACKED")["seq"] == 1
    pair.send(b"3")
    assert again.expect("DELIVER")["seq"] == 3
    again.ack(old[1])
    assert again.expect("ACKED")["seq"] == 2
    record = pair.sender.record(stream=pair.stream, seq=2)
    assert (record["state"], record["attempts"]) == (al.DELIVERED, 1)


def test_what_was_on_its_way_comes_again(pair, connect):
    """More than the socket holds is out, hardly anything of it was read."""
    pair.send(*[b"%03d" % n + b"z" * 20000 for n in range(100)])
    pair.attach(credit=100)
    pair.deliver()
    pair.receiver.close()
    again = connect(instance=pair.receiver.instance)
    assert again.attach(pair.receiver_name, credit=100)["resumed"] == 1
    for n in range(100):
        d = decoded(again.expect("DELIVER"))
        assert d["message"]["payload"][:3] == b"%03d" % n and d["attempt"] == 1
        again.ack(d)
    assert again.expect("ACKED")["seq"] == 1


def test_another_instance_does_not_resume(pair, connect):
    pair.send(b"1")
    pair.attach()
    old = pair.deliver()
    pair.receiver.close()
    again = connect()
    assert again.attach(pair.receiver_name)["resumed"] == 0
    again.ack(old)
    assert settle_refused(again) == (1, "LEASE_LOST")
    assert again.expect("DELIVER")["attempt"] == 2


def test_disconnect_spends_an_attempt_of_the_head_only(pair, connect):
    pair.send(b"1", b"2")
    pair.attach()
    deliveries(pair, 2)
    pair.receiver.close()
    time.sleep(1.5)  # the grace of one second, and the first retry delay
    pair.receiver = connect()
    pair.attach()
    one, two = deliveries(pair, 2)
    assert (one["attempt"], two["attempt"]) == (2, 1)
    assert one["flags"] & al.REDELIVERED and two["flags"] & al.REDELIVERED
    log = al.parse_attempts(pair.sender.record(stream=pair.stream, seq=1)["attempts_log"])
    assert [(a["attempt"], ERRORS[a["code"]]) for a in log] == [(1, "CLOSED")]


def test_absent_receiver_spends_nothing(pair):
    pair.send(b"1")
    time.sleep(1.2)
    pair.attach()
    assert pair.deliver()["attempt"] == 1


def test_polite_leave_spends_nothing(pair, connect):
    pair.send(b"1", b"2")
    agent = pair.attach()["agent"]
    deliveries(pair, 2)
    pair.receiver.send("DETACH", agent=agent)
    assert pair.receiver.expect("DETACHED")["code"] == 0
    pair.receiver = connect()
    pair.attach()
    one, two = deliveries(pair, 2)
    assert one["flags"] & two["flags"] & al.REDELIVERED
    assert (one["attempt"], two["attempt"]) == (1, 1)


def test_goodbye_gives_back_at_once(pair, connect):
    pair.send(b"1")
    pair.attach()
    pair.deliver()
    pair.receiver.send("GOODBYE")
    pair.receiver.closed()
    pair.receiver = connect()
    pair.attach()
    d = pair.deliver()
    assert d["flags"] & al.REDELIVERED and d["attempt"] == 1  # the grace would have cost one


def test_detach_of_what_is_not_attached(connect):
    c = connect()
    c.send("DETACH", agent=4000000)
    name, v = c.recv()
    assert name in ("DETACHED", "ERROR") and ERRORS[v["code"]] in ("NOT_ATTACHED", "NOT_FOUND")
    c.send("PING", token=1)
    c.expect("PONG")


# --- credit ------------------------------------------------------------------------------------------


def test_credit_is_a_window(pair):
    pair.send(*[b"%d" % n for n in range(6)])
    pair.attach(credit=2)
    first = deliveries(pair, 2)
    assert pair.receiver.quiet(0.3) == []
    pair.receiver.ack(first[0])
    assert pair.deliver()["seq"] == 3
    assert [n for n, _ in pair.receiver.quiet(0.2) if n == "DELIVER"] == []


def test_credit_zero_pauses(pair):
    agent = pair.attach(credit=0)["agent"]
    pair.send(b"1")
    assert pair.receiver.quiet(0.3) == []
    pair.receiver.send("CREDIT", agent=agent, credit=5, credit_bytes=1 << 20)
    assert pair.deliver()["seq"] == 1
    pair.receiver.send("CREDIT", agent=agent, credit=0, credit_bytes=0)
    pair.send(b"2")
    assert pair.receiver.quiet(0.3) == []


def test_credit_in_bytes(pair):
    pair.send(*[b"z" * 1000] * 6)
    pair.attach(credit=100, credit_bytes=3000)
    deliveries(pair, 2)
    assert len([f for f in pair.receiver.quiet(0.3) if f[0] == "DELIVER"]) <= 2


def test_one_large_message_is_always_let_through(pair):
    pair.send(b"z" * 100000)
    pair.attach(credit=10, credit_bytes=1)
    assert len(pair.deliver()["message"]["payload"]) == 100000


@pytest.mark.parametrize("values", [dict(credit=65537), dict(credit_bytes=(64 << 20) + 1),
                                    dict(lease_ms=3600001)])
def test_attach_over_the_limits(pair, values):
    with pytest.raises(Refused, match="INVALID"):
        pair.attach(**values)
    pair.attach(credit=65536, credit_bytes=64 << 20, lease_ms=3600000)


# --- settling -----------------------------------------------------------------------------------------


def test_acks_are_acknowledged_as_runs(pair):
    pair.send(*[b"%d" % n for n in range(100)])
    pair.attach(credit=100)
    for d in deliveries(pair, 100):
        pair.receiver.ack(d)
    count, last = 0, 0
    while count < 100:
        run = pair.receiver.expect("ACKED")
        assert run["seq"] == last + 1 and run["last_seq"] == last + run["count"]
        count, last = count + run["count"], run["last_seq"]
    assert pair.sender.record(stream=pair.stream, seq=100)["state"] == al.DELIVERED


def test_ack_out_of_order_is_refused(pair):
    pair.send(b"1", b"2")
    pair.attach()
    one, two = deliveries(pair, 2)
    pair.receiver.ack(two)
    assert settle_refused(pair.receiver) == (2, "OUT_OF_ORDER")
    pair.receiver.ack(one)
    pair.receiver.ack(two)
    acked = pair.receiver.expect("ACKED")
    assert acked["seq"] == 1


def test_cumulative_ack(pair):
    pair.send(b"1", b"2", b"3", b"4")
    pair.attach()
    four = deliveries(pair, 4)
    pair.receiver.ack(four[2], flags=al.CUMULATIVE)
    run = pair.receiver.expect("ACKED")
    assert (run["seq"], run["count"], run["last_seq"]) == (1, 3, 3)
    pair.receiver.ack(four[3])
    assert pair.receiver.expect("ACKED")["seq"] == 4
    states = [pair.sender.record(stream=pair.stream, seq=n)["state"] for n in (1, 2, 3, 4)]
    assert states == [al.DELIVERED] * 4


def test_cumulative_ack_of_tracked_messages(pair):
    """Each of them is acknowledged and told, whatever the node does inside."""
    pair.send(b"1", b"2", flags=al.NOTIFY)
    pair.send(b"3")
    pair.attach()
    three = deliveries(pair, 3)
    pair.receiver.ack(three[2], flags=al.CUMULATIVE)
    acked = []
    while 3 not in acked:
        run = pair.receiver.expect("ACKED")
        acked += range(run["seq"], run["last_seq"] + 1)
    assert acked == [1, 2, 3]
    assert [pair.sender.expect("END")["seq"] for _ in range(2)] == [1, 2]


def test_nack_is_not_acknowledged_unless_it_ends_the_message(pair):
    """ACKED says: it will not come again. After a nack it does."""
    pair.send(b"1")
    pair.attach()
    pair.receiver.nack(pair.deliver())
    name, v = pair.receiver.expect("ACKED", "DELIVER")
    assert name == "DELIVER" and v["attempt"] == 2


def test_double_ack(pair):
    pair.send(b"1")
    pair.attach()
    d = pair.deliver()
    pair.receiver.ack(d)
    pair.receiver.ack(d)
    assert pair.receiver.expect("ACKED")["count"] == 1
    assert settle_refused(pair.receiver)[1] in ("LEASE_LOST", "NOT_FOUND")


@pytest.mark.parametrize("what", ["ack", "nack", "extend"])
def test_settle_what_never_was(pair, what):
    agent = pair.attach()["agent"]
    ghost = dict(agent=agent, stream=pair.stream, seq=77, lease=5)
    getattr(pair.receiver, what)(ghost)
    assert settle_refused(pair.receiver)[1] in ("NOT_FOUND", "LEASE_LOST")
    getattr(pair.receiver, what)(dict(ghost, stream=4000000000))
    assert settle_refused(pair.receiver)[1] in ("NOT_FOUND", "LEASE_LOST")
    getattr(pair.receiver, what)(dict(ghost, agent=4000000000))
    assert settle_refused(pair.receiver)[1] in ("NOT_ATTACHED", "NOT_FOUND")


def test_settle_from_a_stranger(pair, connect):
    pair.send(b"1")
    pair.attach()
    d = pair.deliver()
    other = connect()
    other.ack(d)
    assert settle_refused(other)[1] == "NOT_ATTACHED"
    pair.receiver.ack(d)
    pair.receiver.expect("ACKED")


@pytest.mark.parametrize("values,code", [
    (dict(status=0), "INVALID"), (dict(status=4), "INVALID"), (dict(status=200), "INVALID"),
    (dict(reason="r" * 241), "INVALID"), (dict(response=b"r" * ((1 << 20) + 1)), "TOO_LARGE"),
    (dict(metadata=b"m" * 32769), "TOO_LARGE")])
def test_ack_that_is_not_valid(pair, values, code):
    pair.send(b"1")
    pair.attach()
    d = pair.deliver()
    pair.receiver.ack(d, **values)
    assert settle_refused(pair.receiver) == (1, code)
    pair.receiver.ack(d)
    pair.receiver.expect("ACKED")


def test_nack_is_for_the_head(pair):
    pair.send(b"1", b"2")
    pair.attach()
    _, two = deliveries(pair, 2)
    pair.receiver.nack(two)
    assert settle_refused(pair.receiver) == (2, "OUT_OF_ORDER")


# --- retry -----------------------------------------------------------------------------------------


def test_nack_recalls_what_is_behind(pair):
    pair.send(b"1", b"2", b"3")
    pair.attach()
    old = deliveries(pair, 3)
    pair.receiver.nack(old[0], reason="not now")
    recall = pair.receiver.expect("RECALL")
    assert recall["stream"] == pair.stream and recall["seq"] == 2
    assert ERRORS[recall["code"]] == "CANCELLED"
    pair.receiver.ack(old[1])
    assert settle_refused(pair.receiver) == (2, "LEASE_LOST")
    new = deliveries(pair, 3)
    assert payloads(new) == [b"1", b"2", b"3"]
    assert [d["attempt"] for d in new] == [2, 1, 1]
    assert all(d["flags"] & al.REDELIVERED for d in new)
    for d in new:
        pair.receiver.ack(d)
    assert pair.receiver.expect("ACKED")["seq"] == 1


def test_retry_schedule_and_dead_letter(pair):
    """100, 200, 400, 800, 1600 ms, each ± 20 %, then dead with the whole history."""
    pair.send(b"poison", flags=al.NOTIFY)
    pair.attach()
    delays, last = [], None
    for attempt in range(1, 7):
        d = pair.deliver()
        now = time.monotonic()
        assert d["attempt"] == attempt and bool(d["flags"] & al.REDELIVERED) == (attempt > 1)
        delays += [now - last] if last else []
        last = time.monotonic()
        pair.receiver.nack(d, reason=f"no {attempt}")
    for delay, expected in zip(delays, (0.1, 0.2, 0.4, 0.8, 1.6)):
        assert expected * 0.79 - 0.005 < delay, delays  # a busy machine makes it longer, never shorter
    assert sum(delays) < 3.1 * 1.21 + 5, delays
    assert pair.receiver.expect("ACKED")["seq"] == 1
    end = pair.sender.expect("END")
    assert (end["state"], end["attempts"]) == (al.DEAD, 6)
    rows, _ = pair.receiver.ask("DLQ_GET", message_id=d["message"]["message_id"])
    log = al.parse_attempts(rows[0]["attempts_log"])
    assert [(a["attempt"], a["reason"]) for a in log] == [(n, f"no {n}") for n in range(1, 7)]
    assert ERRORS[rows[0]["code"]] == "DEAD_LETTERED" and rows[0]["attempts"] == 6
    assert al.decode_body("ENVELOPE", rows[0]["envelope"])["payload"] == b"poison"


def test_retry_after(pair):
    pair.send(b"1")
    pair.attach()
    d = pair.deliver()
    begin = time.monotonic()
    pair.receiver.nack(d, retry_after_ms=700)
    pair.deliver()
    assert 0.65 < time.monotonic() - begin < 5


def test_poison_holds_only_its_own_stream(pair):
    pair.sender.channel(2, pair.producer, pair.receiver_name, pair.sender_name, label="other")
    pair.send(b"poison")
    pair.attach()
    pair.receiver.nack(pair.deliver(), retry_after_ms=60000)
    pair.sender.publish(2, 1, b"fine")
    assert pair.deliver()["label"] == "other"


def test_stream_goes_on_behind_a_dead_letter(pair):
    pair.send(b"bad", b"good")
    pair.attach()
    bad, good = deliveries(pair, 2)
    pair.receiver.ack(bad, status=al.FAILED, reason="never")
    # FAILED ends the head well enough for the next: its lease stays, or it comes again.
    for name, v in pair.receiver.quiet(0.4):
        good = decoded(v) if name == "DELIVER" else good
    pair.receiver.ack(good)
    assert pair.receiver.expect("ACKED")["last_seq"] in (1, 2)
    record = pair.sender.record(stream=pair.stream, seq=1)
    assert (record["state"], record["reason"]) == (al.FAILED_STATE, "never")


# --- leases ----------------------------------------------------------------------------------------


def test_lease_timeout_and_late_ack(pair):
    pair.send(b"1")
    begin = time.monotonic()
    pair.attach(lease_ms=300)
    first = pair.deliver()
    recall = pair.receiver.expect("RECALL")
    assert 0.29 < time.monotonic() - begin < 5
    assert ERRORS[recall["code"]] == "TIMEOUT" and recall["seq"] == 1
    second = pair.deliver()
    assert second["attempt"] == 2 and second["flags"] & al.REDELIVERED
    pair.receiver.ack(first)
    assert settle_refused(pair.receiver) == (1, "LEASE_LOST")
    pair.receiver.ack(second)
    assert pair.receiver.expect("ACKED")["seq"] == 1


def test_only_the_head_runs_its_clock(pair):
    pair.send(b"1", b"2", b"3")
    pair.attach(lease_ms=2000)
    got = deliveries(pair, 3)
    for d in got:
        time.sleep(1.1)  # 1.1 + 1.1 is more than one lease
        pair.receiver.ack(d)
    count = 0
    while count < 3:
        count += pair.receiver.expect("ACKED")["count"]


def test_extend_renews(pair):
    pair.send(b"1")
    pair.attach(lease_ms=1500)
    d = pair.deliver()
    for n in range(4):
        time.sleep(0.5)
        pair.receiver.extend(d, retrying=n)
    pair.receiver.ack(d)
    assert pair.receiver.expect("ACKED")["seq"] == 1
    assert pair.sender.record(stream=pair.stream, seq=1)["attempts"] == 1


def test_extend_with_another_time(pair):
    pair.send(b"1")
    pair.attach(lease_ms=1000)
    d = pair.deliver()
    pair.receiver.extend(d, lease_ms=3000)
    assert pair.receiver.quiet(1.5) == []
    pair.receiver.expect("RECALL")


def test_extend_of_a_lost_lease(pair):
    pair.send(b"1")
    pair.attach(lease_ms=200)
    first = pair.deliver()
    pair.deliver()
    pair.receiver.extend(first)
    assert settle_refused(pair.receiver) == (1, "LEASE_LOST")


# --- order of streams -------------------------------------------------------------------------------


def test_streams_interleave_but_keep_their_order(pair):
    for channel in (2, 3, 4):
        pair.sender.channel(channel, pair.producer, pair.receiver_name, pair.sender_name,
                            label=str(channel))
    for n in range(1, 51):
        for channel in (2, 3, 4):
            pair.sender.publish(channel, n, b"%d" % n)
    pair.attach(credit=7)
    seen = {}
    for _ in range(150):
        d = pair.deliver()
        assert d["prev_seq"] == d["seq"] - 1
        seen.setdefault(d["label"], []).append(int(d["message"]["payload"]))
        pair.receiver.ack(d)
    assert seen == {str(c): list(range(1, 51)) for c in (2, 3, 4)}


def test_priority(pair):
    for channel, priority in ((2, 1), (3, 9)):
        pair.sender.channel(channel, pair.producer, pair.receiver_name, pair.sender_name,
                            priority=priority)
        for n in range(1, 4):
            pair.sender.publish(channel, n, b"p%d" % priority)
    pair.receipts(6)
    pair.attach(credit=1)
    order = []
    for _ in range(6):
        d = pair.deliver()
        order.append(d["priority"])
        pair.receiver.ack(d)
    assert order == [9, 9, 9, 1, 1, 1]
