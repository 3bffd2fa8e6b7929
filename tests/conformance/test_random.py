"""Senders and receivers that do anything the protocol allows, in random order, while connections
break and the node is killed. AL_SEED picks the first seed, AL_SOAK=1 runs more of them.

What must hold whatever happens, checked as frames come in:
  * a message is not delivered before every earlier one of its stream was (none expires here);
  * a second delivery of a message is marked, and has a lease of its own unless the session resumed;
  * nothing is delivered again after its ACKED;
  * a stream never has two messages out in the wrong order.
And at the end: every receipted message has ended, and what was acked is not among the dead."""
import os
import random
import time

import pytest

import agentlink as al
from agentlink import Closed, Connection, Refused

SEED = int(os.environ.get("AL_SEED", "1"))
SEEDS = 40 if os.environ.get("AL_SOAK", "") not in ("", "0") else 3
LABELS = ("", "x", "y")
RECEIVERS = ("b0", "b1")


class Sender:
    """Publishes over three labels to every receiver; sends again whatever has no receipt."""

    def __init__(self, world, name):
        self.world, self.name = world, name
        self.instance, self.conn = os.urandom(16), None
        self.producer, self.streams = 0, {}
        self.next, self.pending, self.receipted = {}, {}, {}
        self.channels = {n + 1: (to, label) for n, (to, label) in enumerate(
            (to, label) for to in RECEIVERS for label in LABELS)}
        for channel in self.channels:
            self.next[channel], self.pending[channel] = 1, {}

    def connect(self):
        self.conn = Connection(self.world.node.socket, instance=self.instance)
        self.producer = self.conn.producer(self.producer, 1 if self.producer else 0)["producer"]
        for channel, (to, label) in self.channels.items():
            first = min(self.pending[channel], default=self.next[channel])
            ready = self.conn.channel(channel, self.producer, to, self.name, label=label,
                                      first_pseq=first)
            self.streams[channel] = ready["stream"]
            for pseq in sorted(self.pending[channel]):
                self.put(channel, pseq)

    def put(self, channel, pseq):
        self.conn.send("PUBLISH", channel=channel, pseq=pseq,
                       envelope=self.pending[channel][pseq])

    def act(self, source):
        channel = source.choice(list(self.channels))
        for _ in range(source.choice((1, 1, 2, 5, 20))):
            pseq = self.next[channel]
            self.next[channel] += 1
            body = al.envelope(b"%d %d " % (channel, pseq) + b"." * source.choice((0, 10, 3000)))
            self.pending[channel][pseq] = body
            self.put(channel, pseq)

    def handle(self, name, v):
        assert name in ("RECEIPT", "END"), (name, v)
        for i in range(v["count"]):
            if self.pending[v["channel"]].pop(v["pseq"] + i, None) is not None:
                assert v["stream"] == self.streams[v["channel"]]
                self.receipted[v["stream"], v["pseq"] + i] = True


class Receiver:
    """Settles what it gets in every way there is."""

    def __init__(self, world, name):
        self.world, self.name = world, name
        self.instance, self.conn, self.agent = os.urandom(16), None, None
        self.out = {}      # stream -> deliveries that we hold, in order
        self.leases = {}   # (stream, seq) -> leases seen
        self.top, self.acked = {}, {}
        self.lease_ms = 300

    def connect(self, takeover=False):
        if takeover:
            self.instance = os.urandom(16)
        self.conn = Connection(self.world.node.socket, instance=self.instance)
        attached = self.conn.attach(self.name, credit=self.world.source.choice((1, 3, 30)),
                                    lease_ms=self.lease_ms, flags=al.TAKEOVER)
        self.agent, self.resumed = attached["agent"], attached["resumed"]
        self.out.clear()  # what is still out is told again

    def act(self, source):
        busy = [held for held in self.out.values() if held]
        if not busy:
            return
        held = source.choice(busy)
        head, what = held[0], source.random()
        if what < 0.6:
            self.conn.ack(held.pop(0))
        elif what < 0.7:
            last = source.randrange(len(held))
            self.conn.ack(held[last], flags=al.CUMULATIVE)
            del held[:last + 1]
        elif what < 0.8:
            self.conn.nack(head, retry_after_ms=source.choice((0, 1, 30)), reason="random")
            del held[:]
        elif what < 0.83:
            self.conn.ack(held.pop(0), status=al.FAILED, reason="random")
        elif what < 0.86:
            self.conn.ack(held.pop(0), status=al.PARTIAL, response=b"r" * source.choice((0, 5000)))
        elif what < 0.9:
            self.conn.extend(head)
        elif what < 0.92:  # nonsense: must be refused and change nothing
            self.conn.ack(dict(head, lease=head["lease"] ^ 0xFFFF))

    def handle(self, name, v):
        if name == "DELIVER":
            self.delivered(v)
        elif name == "RECALL":
            held = self.out.get(v["stream"], [])
            self.out[v["stream"]] = [d for d in held if d["seq"] < v["seq"]]
        elif name == "ACKED":
            self.acked[v["stream"]] = max(self.acked.get(v["stream"], 0), v["last_seq"])
        else:
            assert name in ("SETTLE_REFUSED", "DETACHED"), (name, v)

    def delivered(self, v):
        stream, seq, marked = v["stream"], v["seq"], v["flags"] & al.REDELIVERED
        leases = self.leases.setdefault((stream, seq), set())
        held = self.out.setdefault(stream, [])
        top = self.top.get(stream, 0)
        what = f"stream {stream} seq {seq}"
        assert seq > self.acked.get(stream, 0), f"{what} came after its ACKED"
        assert seq <= top + 1, f"{what} came although {top + 1} never did"
        assert not leases or marked, f"{what} came again without a mark"
        self.top[stream] = max(top, seq)
        assert v["lease"] not in leases or self.resumed, f"{what}: a lease for the second time"
        held[:] = [d for d in held if d["seq"] != seq]  # its lease ran out while we slept
        assert not held or held[-1]["seq"] < seq, f"{what} is out behind {held[-1]['seq']}"
        leases.add(v["lease"])
        held.append(v)
        self.world.deliveries += 1


class World:
    def __init__(self, node, seed):
        self.node, self.source, self.deliveries = node, random.Random(seed), 0
        with Connection(node.socket) as c:
            c.add(*RECEIVERS)
        self.senders = [Sender(self, "a0"), Sender(self, "a1")]
        self.receivers = [Receiver(self, name) for name in RECEIVERS]

    def all(self):
        return self.senders + self.receivers

    def pump(self, actor):
        try:
            frame = actor.conn.recv(0)
            while frame:
                actor.handle(*frame)
                frame = actor.conn.buffered()
        except Closed:
            self.reconnect(actor)

    def reconnect(self, actor, **values):
        actor.conn.close()
        end = time.monotonic() + 20
        while True:
            try:
                actor.connect(**values)
                return
            except (OSError, Closed):
                assert time.monotonic() < end
                time.sleep(0.01)

    def disturb(self, kill):
        what, source = self.source.random(), self.source
        receiver = source.choice(self.receivers)
        if what < 0.3:
            self.reconnect(source.choice(self.senders))
        elif what < 0.5:
            self.reconnect(receiver)
        elif what < 0.65:
            self.reconnect(receiver, takeover=True)
        elif what < 0.8:
            receiver.conn.send(*source.choice((("GOODBYE",), ("PING",))))
        elif kill:
            self.node.kill()
            self.node.start()
            for r in self.receivers:
                r.out.clear()

    def run(self, steps, kill):
        for actor in self.all():
            actor.connect()
        for _ in range(steps):
            actor = self.source.choice(self.all())
            try:
                actor.act(self.source)
                if self.source.random() < 0.004:
                    self.disturb(kill)
            except Closed:
                self.reconnect(actor)
            self.pump(self.source.choice(self.all()))

    def settle(self):
        """Acks everything until nothing waits. What is refused, because its lease was over, comes
        again."""
        for receiver in self.receivers:
            receiver.lease_ms = 20000  # one of 300 ms is lost on a busy machine, again and again
            self.reconnect(receiver)
        end = time.monotonic() + 120
        while self.waiting() or any(any(p.values()) for p in (s.pending for s in self.senders)):
            assert time.monotonic() < end, "does not come to rest"
            for _ in range(50):
                for actor in self.all():
                    self.pump(actor)
                for r in self.receivers:
                    for held in r.out.values():
                        while held:
                            r.conn.ack(held.pop(0))
                time.sleep(0.0003)

    def waiting(self):
        with Connection(self.node.socket) as c:
            s = c.status()
        return s["waiting"] + s["leased"] + s["delayed"]

    def judge(self):
        """Asks for the record of every receipted message; how many there are."""
        wanted = [key for sender in self.senders for key in sender.receipted]
        with Connection(self.node.socket) as c:
            for first in range(0, len(wanted), 200):
                part = wanted[first:first + 200]
                c.send_raw(b"".join(al.encode("RECORD_GET", request=n, stream=stream, seq=pseq)
                                    for n, (stream, pseq) in enumerate(part)))
                for _ in part:
                    v = c.expect("RECORD")
                    assert v["state"] in (al.DELIVERED, al.PARTIALLY, al.FAILED_STATE, al.DEAD), \
                        f"stream {v['stream']} seq {v['seq']} is in state {v['state']}"
        return len(wanted)


def handle_pong(actor, original):
    """PING was one of the disturbances; its answer is no message."""
    return lambda name, v: None if name in ("PONG", "GOODBYE") else original(name, v)


@pytest.mark.parametrize("seed", range(SEED, SEED + SEEDS))
@pytest.mark.parametrize("kill", [False, True], ids=["connections", "node"])
def test_random(fresh_node, seed, kill):
    node = fresh_node()
    world = World(node, seed)
    for actor in world.all():
        actor.handle = handle_pong(actor, actor.handle)
    try:
        world.run(2000, kill)
        world.settle()
        count = world.judge()
    except Refused as error:
        raise AssertionError(f"seed {seed}: {error}") from error
    assert count > 500 and world.deliveries >= count
    assert node.stop() == 0
