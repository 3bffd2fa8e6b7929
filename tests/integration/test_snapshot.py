"""Snapshots, recycled segments, records carried forward: seen from outside by what survives and by
the size of the directory."""
import time

import agentlink as al

BLOCK = 64 << 10
WINDOW = 64


def payload(n, size=BLOCK):
    return b"%08d" % n + bytes([n % 251]) * (size - 8)


def flow(pair, first, count):
    """Sends count messages and acks them as they come; checks order and content."""
    sent = receipted = got = first
    while receipted < first + count:
        while sent < first + count and sent - receipted < WINDOW:
            sent += 1
            pair.sender.publish(1, sent, payload(sent))
        receipted += pair.sender.expect("RECEIPT")["count"]
        while got < receipted:
            d = pair.deliver()
            got += 1
            assert d["seq"] == got and d["message"]["payload"] == payload(got)
            pair.receiver.ack(d)
    pair.receiver.expect("ACKED", where=lambda v: v["last_seq"] == first + count)
    pair.receiver.waiting.clear()
    pair.pseq = first + count


def size_of(node):
    return sum(f.stat().st_size for f in node.data.iterdir())


class Link:
    """What Pair is, on a node where everything exists already."""

    def __init__(self, connect, node):
        self.sender, self.receiver = connect(node), connect(node)

    def deliver(self, timeout=10.0):
        d = self.receiver.expect("DELIVER", timeout=timeout)
        return dict(d, message=al.decode_body("ENVELOPE", d["envelope"]))


def take_up(connect, node, pair):
    """The same producer, channel and inbox on a node that was started again."""
    link = Link(connect, node)
    link.producer, link.pseq, link.stream = pair.producer, pair.pseq, pair.stream
    link.sender.producer(pair.producer, 1)
    ready = link.sender.channel(1, pair.producer, "b", "a", first_pseq=pair.pseq + 1)
    assert ready["last_pseq"] == pair.pseq
    link.receiver.attach("b", credit=WINDOW)
    return link


def test_an_unread_inbox_does_not_pin_the_disk(make_node, make_pair, connect, soak):
    """A gigabyte flows past ten messages that nobody reads, with kills in between."""
    node = make_node()
    pair = make_pair(node)
    old = make_pair(node, ("x", "old"))
    old.send(*[b"old %d" % n for n in range(10)])
    pair.attach(credit=WINDOW)
    done, rounds = 0, 40 if soak else 8
    for n in range(rounds):
        flow(pair, done, 2000)
        done += 2000
        if n % 2:
            node.kill()
            node.start()
            pair = take_up(connect, node, pair)
    assert node.log().count('"event":"snapshot"') >= 3, node.log()[-2000:]
    end = time.monotonic() + 30
    while size_of(node) >= 600 << 20:
        assert time.monotonic() < end, sorted((f.name, f.stat().st_size)
                                              for f in node.data.iterdir())
        time.sleep(0.05)
    reader = connect(node)
    reader.attach("old")
    for n in range(10):
        d = reader.expect("DELIVER")
        assert al.decode_body("ENVELOPE", d["envelope"])["payload"] == b"old %d" % n
        reader.ack(d)
    row, = reader.ask("AGENT_LIST", after="b", exact=1, limit=1)[0]
    assert row["ready"] + row["leased"] == 0
    assert node.stop() == 0


def test_everything_in_a_snapshot_survives(make_node, make_pair, connect):
    """One of each: waiting, delayed, scheduled, expiring, dead, keyed, ended; a clean stop writes
    a snapshot when there is enough to replay; two restarts later all of it is as before."""
    node = make_node()
    pair = make_pair(node)
    pair.attach(credit=1)
    pair.send(b"done", flags=al.NOTIFY)
    pair.receiver.ack(pair.deliver(), response=b"the reply")
    pair.receiver.expect("ACKED")
    pair.send(b"keyed", key="k")
    pair.receiver.ack(pair.deliver(), status=al.FAILED, reason="cannot")
    pair.receiver.expect("ACKED")
    pair.send(b"nacked")
    pair.receiver.nack(pair.deliver(), reason="later", retry_after_ms=60000)
    pair.send(b"waiting", ttl_ms=3600000)
    pair.send(b"scheduled", due_ms=int(time.time() * 1000) + 3600000)
    filler = make_pair(node, ("x", "y"))
    filler.send(*[b"f" * 4096] * 600)
    expected = state_of(connect(node), pair)
    for _ in range(2):
        assert node.stop() == 0
        node.start()
        assert state_of(connect(node), pair) == expected
    assert '"event":"snapshot"' in node.log()
    node.kill()
    node.start()
    assert state_of(connect(node), pair) == expected


def state_of(c, pair):
    """What can be asked about the stream, without what a restart changes."""
    records = []
    for seq in (1, 2, 3, 4):
        r = c.record(stream=pair.stream, seq=seq)
        records.append((r["state"], r["attempts"], r["reason"],
                        [(a["attempt"], a["code"], a["reason"])
                         for a in al.parse_attempts(r["attempts_log"])]))
    row, = c.ask("AGENT_LIST", after="b", exact=1, limit=1)[0]
    letters = [(r["position"], r["message_id"], r["seq"], r["attempts"], r["code"], r["dead_ms"])
               for r in c.ask("DLQ_LIST", agent="b", limit=10)[0]]
    c.send("END_WATCH", stream=pair.stream, seq=1)
    end = c.expect("END")
    return (records, letters, (end["state"], end["response"]),
            [row[f] for f in ("agent", "uid", "ready", "delayed", "dead", "streams")])
