"""Unordered streams (protocol.md, section 6.1)."""
import pytest

from agentlink import Refused

UNORDERED = 4


@pytest.fixture
def bundle(pair):
    """A pair with a second channel, number 2, that is unordered."""
    pair.ready = pair.sender.channel(2, pair.producer, pair.receiver_name, pair.sender_name,
                                     flags=UNORDERED)
    return pair


def send(pair, first, count):
    for pseq in range(first, first + count):
        pair.sender.publish(2, pseq, b"%d" % pseq)
    return [pair.sender.expect("RECEIPT") for _ in range(count)]


def test_each_message_has_a_stream_to_itself(bundle):
    receipts = send(bundle, 1, 4)
    assert [r["seq"] for r in receipts] == [1] * 4
    streams = [r["stream"] for r in receipts]
    assert len(set(streams + [bundle.stream, bundle.ready["stream"]])) == 6
    bundle.attach()
    out = [bundle.deliver() for _ in range(4)]
    assert [d["stream"] for d in out] == streams
    for delivery in (out[2], out[0], out[3]):
        bundle.receiver.ack(delivery)
        assert bundle.receiver.expect("ACKED")["stream"] == delivery["stream"]
    bundle.receiver.nack(out[1])
    again = bundle.deliver()
    assert (again["stream"], again["attempt"], again["prev_seq"]) == (streams[1], 2, 0)
    bundle.receiver.ack(again)
    bundle.receiver.expect("ACKED")
    assert send(bundle, 5, 1)[0]["stream"] in streams  # used again, with the next sequence


def test_the_list_shows_the_sum(bundle):
    send(bundle, 1, 3)
    rows, _ = bundle.receiver.ask("STREAM_LIST", agent=bundle.receiver_name, limit=100)
    assert [(r["stream"], r["pending"]) for r in rows] == [
        (bundle.stream, 0), (bundle.ready["stream"], 3)]


def test_policies_that_give_up_are_refused(pair):
    for policy in (2, 3):
        with pytest.raises(Refused, match="UNSUPPORTED"):
            pair.sender.channel(2, pair.producer, pair.receiver_name, pair.sender_name,
                                flags=UNORDERED | policy)
