"""The priority of a message's kind (protocol.md, section 6.3, flag 4 of PUBLISH)."""
import pytest

import agentlink as al
from agentlink import NOTIFY, VOLATILE

OF_KIND = 4
NONE = 255


@pytest.fixture
def kinds(pair):
    """A pair with a kind of its own, and functions that register it anew and send such messages."""
    kind = f"kind-of-{pair.receiver_name}".replace("/", "-")

    def register(priority):
        pair.sender.ask("KIND_SET", priority=priority, ack_timeout_ms=5000, retry_base_ms=100,
                        retry_factor=2, retry_cap_ms=1600, retry_max=3, breaker_samples=10,
                        call_timeout_ms=5000, breaker_open_ms=30000, kind=kind)

    def send(payload=b"", flags=OF_KIND, **values):
        receipt, = pair.send(payload, flags=flags, kind=kind, **values)
        return receipt
    pair.kind, pair.register, pair.kinded = kind, register, send
    register(7)
    yield pair
    pair.sender.ask("KIND_REMOVE", kind=kind)


def take(pair):
    delivery = pair.deliver()
    pair.receiver.ack(delivery)
    pair.receiver.expect("ACKED")
    return delivery


def test_it_goes_to_the_stream_of_its_kind(kinds):
    plain, kinded, unflagged = kinds.send(b"p")[0], kinds.kinded(b"k"), kinds.kinded(b"u", flags=0)
    assert [r["stream"] for r in (plain, unflagged)] == [kinds.stream] * 2
    assert kinded["stream"] != kinds.stream and kinded["seq"] == 1
    assert [r["pseq"] for r in (plain, kinded, unflagged)] == [1, 2, 3]  # one numbering
    kinds.attach()
    first = take(kinds)
    assert (first["priority"], first["stream"], first["from"], first["label"]) == \
        (7, kinded["stream"], kinds.sender_name, "")
    assert [take(kinds)["message"]["payload"] for _ in "pu"] == [b"p", b"u"]


def test_the_registration_of_the_moment_counts(kinds):
    streams = {}
    for priority in (7, 5, NONE, 7, 0):  # the channel's is 0
        kinds.register(priority)
        streams.setdefault(priority, []).append(kinds.kinded()["stream"])
    assert streams[NONE] == streams[0] == [kinds.stream]
    assert streams[7][0] == streams[7][1] and len({streams[7][0], streams[5][0], kinds.stream}) == 3


def test_it_is_recognised_when_the_kind_has_changed(kinds):
    taken = [kinds.kinded(b"1", message_id=b"\1" * 16), kinds.kinded(b"2", message_id=b"\2" * 16)]
    kinds.register(1)
    for n, receipt in enumerate(taken, 1):  # on the same channel, then after a reconnect
        kinds.sender.publish(1, n, b"%d" % n, flags=OF_KIND, kind=kinds.kind,
                             message_id=bytes([n]) * 16)
        again = kinds.sender.expect("RECEIPT")
        assert (again["stream"], again["seq"], again["duplicate"]) == \
            (receipt["stream"], receipt["seq"], 1)
    sender = kinds.connect()
    sender.producer(kinds.producer, 1)
    ready = sender.channel(1, kinds.producer, kinds.receiver_name, kinds.sender_name)
    assert (ready["stream"], ready["last_pseq"]) == (kinds.stream, 2)
    sender.publish(1, 2, b"2", flags=OF_KIND, kind=kinds.kind, message_id=b"\2" * 16)
    sender.publish(1, 3, b"3", flags=OF_KIND, kind=kinds.kind)
    again, new = sender.expect("RECEIPT"), sender.expect("RECEIPT")
    assert (again["stream"], again["seq"], again["duplicate"]) == (taken[1]["stream"], 2, 1)
    assert new["stream"] not in (kinds.stream, taken[0]["stream"]) and new["seq"] == 1
    kinds.attach()
    assert [take(kinds)["message"]["payload"] for _ in "123"] == [b"1", b"2", b"3"]


def test_ends_records_and_keys_name_that_stream(kinds):
    receipt = kinds.kinded(b"x", flags=OF_KIND | NOTIFY, key="once")
    same = kinds.kinded(b"x", key="once")
    assert (same["stream"], same["seq"], same["duplicate"]) == (receipt["stream"], 1, 1)
    assert kinds.sender.record(stream=receipt["stream"], seq=1)["state"] == 1
    kinds.attach()
    take(kinds)
    ended = kinds.sender.expect("END")
    assert (ended["stream"], ended["seq"]) == (receipt["stream"], 1)


def test_volatile_and_unordered(kinds):
    kinds.attach()
    kinds.sender.publish(1, 0, b"v", flags=OF_KIND | VOLATILE, kind=kinds.kind)
    assert (kinds.deliver()["priority"], kinds.stream) == (7, kinds.stream)
    kinds.sender.channel(2, kinds.producer, kinds.receiver_name, kinds.sender_name, flags=4)
    kinds.sender.publish(2, 1, b"u", flags=OF_KIND, kind=kinds.kind)
    receipt, delivery = kinds.sender.expect("RECEIPT"), kinds.deliver()
    assert (delivery["priority"], delivery["stream"]) == (7, receipt["stream"])


@pytest.mark.parametrize("policy", [2, 3])
def test_where_gaps_are_given_up_it_is_refused(kinds, policy):
    kinds.sender.channel(2, kinds.producer, kinds.receiver_name, kinds.sender_name, flags=policy,
                         label="gaps")
    kinds.sender.publish(2, 1, b"x", flags=OF_KIND, kind=kinds.kind)
    refused = kinds.sender.expect("REFUSED")
    assert al.ERRORS[refused["code"]] == "UNSUPPORTED" and "gaps" in refused["detail"]
