"""Many connections, slow consumers, readers that do not read: memory stays bounded."""
import resource
import socket
import time

import agentlink as al
import tracing
from agentlink import Connection


def raise_file_limit(wanted):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def test_many_connections(make_node, make_pair, soak):
    count = 9990 if soak else 1000
    if raise_file_limit(count + 200) < count + 100:
        count = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 200
    node = make_node()
    idle = node.resident_kib()
    connections = [Connection(node.socket) for _ in range(count)]
    try:
        grown = node.resident_kib() - idle
        for n, c in enumerate(connections):
            c.send("PING", token=n)
        for n, c in enumerate(connections):
            assert c.expect("PONG")["token"] == n
        pair = make_pair(node)
        pair.send(b"work goes on")
        assert pair.sender.status()["connections"] == count + 2
        assert grown < 16 * count, f"{grown} KiB for {count} idle connections"
    finally:
        for c in connections:
            c.close()
    end = time.monotonic() + 10
    while pair.sender.status()["connections"] > 2 and time.monotonic() < end:
        time.sleep(0.05)
    assert pair.sender.status()["connections"] == 2


def test_every_connection_works(make_node, soak):
    """Hundreds of agents, each sending to its neighbour, at the same time."""
    count = 2000 if soak else 300
    raise_file_limit(count + 200)
    node = make_node()
    connections = [Connection(node.socket) for _ in range(count)]
    for n, c in enumerate(connections):
        c.attach(f"agent{n}")
    for n, c in enumerate(connections):
        c.channel(1, c.producer()["producer"], f"agent{(n + 1) % count}", f"agent{n}")
    for pseq in (1, 2, 3):
        for n, c in enumerate(connections):
            c.publish(1, pseq, b"%d" % n)
    for n, c in enumerate(connections):
        for seq in (1, 2, 3):
            d = c.expect("DELIVER")
            assert (d["seq"], d["from"]) == (seq, f"agent{(n - 1) % count}")
            c.ack(d)
    for c in connections:
        c.close()


def test_beyond_the_limit_of_connections(make_node):
    """One too many is turned away; the others stay."""
    node = make_node(start=False)
    node.wrapper = ["prlimit", "--nofile=128"]
    node.start()
    connections, refused, begin = [], 0, time.monotonic()
    for _ in range(130):
        try:
            connections.append(Connection(node.socket, timeout=0.4))
        except (OSError, al.Closed, al.Refused, TimeoutError):
            refused += 1
    assert refused > 0 and len(connections) >= 60
    for c in connections:
        c.send("PING", token=1)
        c.expect("PONG")
        c.close()
    end = time.monotonic() + 20
    while True:  # until the node has noticed
        try:
            Connection(node.socket).close()
            break
        except (OSError, al.Closed, TimeoutError):
            assert time.monotonic() < end
            time.sleep(0.05)
    said = node.log().count("out_of_descriptors")
    assert 1 <= said <= 1 + (time.monotonic() - begin) / 10, "the log is flooded"


def test_slow_consumer(make_node, make_pair, soak):
    """A backlog lives in the journal: 40 MiB waiting may cost only a fraction of that."""
    node = make_node()
    pair = make_pair(node)
    agent = pair.attach(credit=4, lease_ms=3600000)["agent"]  # nobody settles for a while
    block = b"x" * 4096
    rounds = 100 if soak else 10
    pair.send(*[block] * 100)
    before = node.resident_kib()
    for _ in range(rounds):
        pair.send(*[block] * 1000)
    grown = node.resident_kib() - before
    assert grown < 12 * 1024 + rounds * 100, f"{grown} KiB for {rounds * 4} MiB waiting"
    pair.receiver.send("CREDIT", agent=agent, credit=64, credit_bytes=1 << 20)
    got = 0
    while got < 2000:
        d = pair.deliver()
        got += 1
        assert d["seq"] == got and d["message"]["payload"] == block
        pair.receiver.ack(d)
    assert node.resident_kib() - before < 24 * 1024 + rounds * 100


def test_receiver_that_does_not_read(make_node, make_pair, connect):
    """Deliveries into a full socket do not pile up in the node; everybody else goes on."""
    node = make_node()
    pair = make_pair(node)
    pair.send(*[b"y" * 60000] * 300)
    before = node.resident_kib()
    deaf = connect(node)
    deaf.send("ATTACH", request=1, agent="b", credit=65536, credit_bytes=64 << 20)
    time.sleep(1.0)
    assert node.resident_kib() - before < 80 * 1024
    other = make_pair(node, ("c", "d"))
    other.send(b"others go on")
    other.attach()
    other.receiver.ack(other.deliver())
    other.receiver.expect("ACKED")


def test_asker_that_does_not_read(make_node, make_pair, connect):
    """Endless questions without reading the answers: back pressure, not memory."""
    node = make_node()
    deaf = connect(node)
    deaf.sock.settimeout(2)
    before = node.resident_kib()
    asked = al.encode("METRICS_GET", request=1) + al.encode("STATUS_GET", request=2)
    stalled = False
    try:
        for _ in range(20000):
            deaf.send_raw(asked * 100)
    except (socket.timeout, al.Closed, OSError):
        stalled = True
    assert stalled, "the node reads on although nobody takes its answers"
    assert node.resident_kib() - before < 200 * 1024
    make_pair(node).send(b"others go on")


def publishes(first, count):
    body = al.envelope(b"")
    return b"".join(al.encode("PUBLISH", channel=1, pseq=n, envelope=body)
                    for n in range(first, first + count))


def deaf_publisher(node, connect):
    """A connection that will never read, with channel 1 open from a to b."""
    c = connect(node)
    c.add("b")
    c.channel(1, c.producer()["producer"], "b", "a")
    return c


def test_publisher_that_does_not_read_its_receipts(make_node, make_pair, connect):
    """Four windows full without reading one answer. The node does not count them: receipts come in
    runs, and a few of them are all that waits."""
    node = make_node()
    deaf = deaf_publisher(node, connect)
    goal = 4 * deaf.welcome["publish_window"]
    before = node.resident_kib()
    for first in range(1, goal + 1, 1000):
        deaf.send_raw(publishes(first, 1000))
    grown = node.resident_kib() - before
    assert grown < 40 * 1024, f"{grown} KiB"
    make_pair(node, ("c", "d")).send(b"others go on")


def test_publisher_that_does_not_read_its_refusals(make_node, make_pair, connect):
    """Refusals come one by one, each almost as long as its publish: the node stops reading before
    they take its memory."""
    node = make_node()
    deaf = deaf_publisher(node, connect)
    deaf.sock.settimeout(2)
    before = node.resident_kib()
    held = publishes(9, 1) * 10000  # 9 is not the next one
    stalled = False
    try:
        for _ in range(400):
            deaf.send_raw(held)
    except (socket.timeout, al.Closed, OSError):
        stalled = True
    assert stalled, "the node reads on although nobody takes its answers"
    assert node.resident_kib() - before < 200 * 1024
    make_pair(node, ("c", "d")).send(b"others go on")


@tracing.needs_strace
def test_window_exceeded(make_node, make_pair, tmp_path, connect):
    """More publishes without an answer than publish_window: WINDOW, nothing else is disturbed.

    The flush is slowed down so that receipts cannot come in time."""
    node = make_node(wrapper=tracing.wrapper(tmp_path / "t", "fdatasync:delay_enter=3000000:when=2+"))
    c = connect(node)
    c.sock.settimeout(60)
    c.add("b")
    c.channel(1, c.producer()["producer"], "b", "a")
    window = c.welcome["publish_window"]
    body = al.envelope(b"")
    c.send_raw(b"".join(al.encode("PUBLISH", channel=1, pseq=n, envelope=body)
                        for n in range(1, window + 2000)))
    answers, refused = 0, 0
    while answers + refused < window + 1999:
        name, v = c.expect("RECEIPT", "REFUSED", timeout=60)
        if name == "REFUSED":
            assert al.ERRORS[v["code"]] == "WINDOW"
            refused += 1
        else:
            answers += v["count"]
    assert answers >= window
    make_pair(node, ("c", "d")).send(b"others go on")
