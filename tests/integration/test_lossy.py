"""Programs behind a link that loses, doubles and swaps deliveries: they notice nothing of it."""
import json
import random

import pytest
from lossy import DOUBLE, LOSE, PASS, SWAP, Proxy
from test_cli import Cli

COUNT = 120
LEASE = "600s"  # nothing in these tests is repaired by a lease that runs out


@pytest.fixture
def lossy(node, connect, tmp_path):
    """lossy(fate): the program behind a proxy; .proxy is the proxy, .node the program before it."""
    proxies = []

    def make(fate):
        proxies.append(Proxy(tmp_path / f"lossy{len(proxies)}.sock", node.socket, fate))
        run = Cli(f"unix:{tmp_path}/lossy{len(proxies) - 1}.sock")
        run.proxy, run.node = proxies[-1], Cli("unix:" + node.socket)
        run.connect = lambda: connect(node)
        return run

    yield make
    for proxy in proxies:
        proxy.close()


def send(al, labels=("",), count=COUNT):
    al.node("agents", "add", "worker")
    sender = al.connect()
    producer = sender.producer()["producer"]
    for channel, label in enumerate(labels, 1):
        sender.channel(channel, producer, "worker", "boss", label=label)
    for n in range(1, count + 1):
        for channel, label in enumerate(labels, 1):
            sender.publish(channel, n, f"{label}{n}")
    for channel, _ in enumerate(labels, 1):
        sender.expect("RECEIPT", timeout=60,
                      where=lambda r, c=channel: r["channel"] == c and
                      r["pseq"] + r["count"] > count)


def receive(al, count, *options):
    return al.json("recv", "--as", "worker", "--count", str(count), "--lease", LEASE,
                   "--timeout", "60s", *options)


def asked_again(al):
    return al.node.json("metrics")[0]["asked_again"]


def check(al, got, labels, count=COUNT):
    for label in labels:
        assert [g["data"] for g in got if g["data"].rstrip("0123456789") == label] == \
            [f"{label}{n}" for n in range(1, count + 1)]
    assert {g["attempt"] for g in got} == {1}
    assert al.proxy.connections == 1
    assert al.node.json("inbox", "worker")[0]["pending"] == 0


# Of a stream's last delivery nothing would show that it was lost.
FATES = {
    "lost": lambda stream, seq, times: LOSE if seq % 3 == 1 and times == 1 else PASS,
    "lost_twice": lambda stream, seq, times: LOSE if seq % 40 == 7 and times <= 2 else PASS,
    "lost_in_rows": lambda stream, seq, times: LOSE if seq % 20 < 7 and times == 1 else PASS,
    "doubled": lambda stream, seq, times: DOUBLE if times == 1 else PASS,
    "swapped": lambda stream, seq, times: SWAP if seq % 4 == 2 and times == 1 else PASS,
}


@pytest.mark.parametrize("name", FATES)
@pytest.mark.parametrize("labels", [("",), ("a", "b", "c")], ids=["one stream", "three streams"])
def test_each_message_comes_once_in_order(lossy, name, labels):
    fate = FATES[name]
    al = lossy(lambda stream, seq, times: PASS if seq >= COUNT else fate(stream, seq, times))
    send(al, labels)
    check(al, receive(al, COUNT * len(labels)), labels)
    assert sum(al.proxy.done.values()) >= 3
    assert (asked_again(al) > 0) == (al.proxy.done[LOSE] > 0 or name == "swapped")


def test_any_mixture(lossy):
    choice = random.Random(5)
    fates = {}

    def fate(stream, seq, times):
        if seq >= COUNT or times > 3:
            return PASS
        return fates.setdefault((stream, seq, times),
                                choice.choice([PASS, PASS, PASS, LOSE, DOUBLE, SWAP]))

    al = lossy(fate)
    labels = ("", "x")
    send(al, labels)
    check(al, receive(al, COUNT * 2), labels)
    assert min(al.proxy.done.values()) > 10


def test_a_connection_that_does_not_give_it_is_given_up(lossy):
    """The gap never heals on the first connection; the session goes on with another one."""
    al = lossy(lambda stream, seq, times: LOSE if seq == 5 and al.proxy.connections == 1 else PASS)
    send(al, count=20)
    got = receive(al, 20)
    assert [g["data"] for g in got] == [str(n) for n in range(1, 21)]
    assert {g["attempt"] for g in got} == {1}
    assert al.proxy.connections == 2 and al.proxy.done[LOSE] >= 5
    assert asked_again(al) >= 4
