"""Answers that are stored with the idempotency key, and who waits for an end (protocol.md, sections
6.4 and 8.2)."""
import uuid

import agentlink as al


def again(connect, pair, key, text=b"ask", flags=al.NOTIFY):
    """The same message from a program that knows nothing of the first one; its id."""
    other = connect()
    other.channel(1, other.producer()["producer"], pair.receiver_name, pair.sender_name)
    message = uuid.uuid4().bytes
    other.publish(1, 1, text, key=key, flags=flags, message_id=message)
    return other, message


def test_a_duplicate_gets_the_stored_answer(pair, connect):
    pair.send(b"ask", key="k1")
    pair.attach()
    pair.receiver.ack(pair.deliver(), reason="well", response_type="text/plain", response=b"answer")
    pair.receiver.expect("ACKED")
    ends = []
    for _ in range(2):
        other, message = again(connect, pair, "k1")
        receipt = other.expect("RECEIPT")
        assert (receipt["duplicate"], receipt["stream"], receipt["seq"]) == (1, pair.stream, 1)
        end = other.expect("END")
        assert end.pop("message_id") == message
        assert (end["state"], end["response"]) == (al.DELIVERED, b"answer")
        ends.append(end)
    assert ends[0] == ends[1]
    assert pair.receiver.quiet(0.2) == []


def test_a_duplicate_waits_for_the_first(pair, connect):
    pair.send(b"ask", key="k2")
    pair.attach()
    d = pair.deliver()
    others = [again(connect, pair, "k2") for _ in range(2)]
    for other, _ in others:
        assert other.expect("RECEIPT")["duplicate"] == 1
        assert other.quiet(0.1) == []
    pair.receiver.ack(d, response=b"for all")
    for other, message in others:
        end = other.expect("END")
        assert (end["message_id"], end["response"]) == (message, b"for all")
        assert other.quiet(0.1) == []


def test_who_did_not_ask_is_not_told(pair, connect):
    pair.send(b"ask", key="k3")
    pair.attach()
    other, _ = again(connect, pair, "k3", flags=0)
    assert other.expect("RECEIPT")["duplicate"] == 1
    pair.receiver.ack(pair.deliver(), response=b"r")
    pair.receiver.expect("ACKED")
    assert other.quiet(0.2) == []


def test_end_watch_of_what_somebody_else_sent(pair, connect):
    pair.send(b"1")
    pair.attach()
    d = pair.deliver()
    watcher = connect()
    watcher.send("END_WATCH", stream=pair.stream, seq=1)
    assert watcher.quiet(0.1) == []
    pair.receiver.ack(d, response=b"r")
    end = watcher.expect("END")
    assert (end["stream"], end["seq"], end["response"]) == (pair.stream, 1, b"r")


def test_a_dead_message_is_told_to_who_waits(pair, connect):
    pair.send(b"1", key="k4")
    pair.attach()
    d = pair.deliver()
    other, _ = again(connect, pair, "k4", b"1")
    other.expect("RECEIPT")
    pair.receiver.ack(d, status=al.FAILED, reason="no")
    end = other.expect("END")
    assert (end["state"], end["reason"]) == (al.FAILED_STATE, "no")
    late, _ = again(connect, pair, "k4", b"1")
    assert late.expect("REFUSED")["code"] == 15
