"""kill -9 of the node and of agents under load, checked against an outside ledger: nothing lost,
nothing out of order, every duplicate delivery marked."""
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

from agentlink import Connection
from worker import Ledger

WORKER = str(pathlib.Path(__file__).resolve().parent / "worker.py")


class Process:
    """A worker process that is started again after every kill."""

    def __init__(self, home, *args):
        self.args = [sys.executable, "-B", WORKER] + [str(a) for a in args]
        self.errors = open(home / f"{args[3]}.err", "ab")  # closed with the process object
        self.process, self.kills = None, 0
        self.start()

    def start(self):
        self.process = subprocess.Popen(self.args, stderr=self.errors)

    def kill(self):
        if self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGKILL)
            self.kills += 1
        self.process.wait(10)
        self.start()

    def is_done(self):
        code = self.process.poll()
        if code not in (None, 0):
            self.errors.flush()
            raise AssertionError(f"{self.args[3:]} ended with {code}: " +
                                 pathlib.Path(self.errors.name).read_text()[-2000:])
        return code == 0

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        self.errors.close()


def check(sent, received, labels, total, complete=True):
    """Compares the ledgers; the numbers of deliveries and of repeated ones."""
    receipts = {label: 0 for label in labels}
    for words in sent:
        if words[0] == "receipt":
            assert int(words[2]) == receipts[words[1]] + 1 or int(words[2]) <= receipts[words[1]]
            receipts[words[1]] = max(receipts[words[1]], int(words[2]))
    last = {label: 0 for label in labels}   # handed out last
    top = {label: 0 for label in labels}    # handed out ever
    acked = {label: 0 for label in labels}
    got = again = 0
    for words in received:
        assert words[0] != "wrong", f"content of {words[1:]} is not what was sent"
        if words[0] == "acked":
            acked[words[1]] = max(acked[words[1]], int(words[2]))
        if words[0] != "got":
            continue
        label, n, marked = words[1], int(words[2]), words[4] == "1"
        got += 1
        assert n > acked[label], f"{label}/{n} came again after its ack was durable"
        if n <= top[label]:
            again += 1
            assert marked, f"{label}/{n} came twice without a mark"
        else:
            assert n == top[label] + 1, f"{label}: {n} after {top[label]}: one was skipped"
            top[label] = n
        assert n == last[label] + 1 or n <= last[label], f"{label}: {n} after {last[label]}"
        last[label] = n
    for label in labels:
        assert top[label] >= receipts[label], f"{label}: receipted {receipts[label]}, got {top[label]}"
        if complete:
            assert receipts[label] == top[label] == total
    return got, again


def run(node, home, kills, agent_kills, total):
    """Kills node and agents in turn while three streams run; returns the two ledgers' paths."""
    source = random.Random(int(os.environ.get("AL_SEED", "7")))
    with Connection(node.socket) as c:
        c.add("b")
    ledgers = [home / "sent", home / "received"]
    for path in ledgers:
        Ledger(path)
    sender = Process(home, "send", node.socket, ledgers[0], "a", "b", 3, total)
    receiver = Process(home, "receive", node.socket, ledgers[1], "b", total)
    node_kills, end = 0, time.monotonic() + 60 + 3 * (kills + agent_kills) + total / 50
    try:
        while not sender.is_done() or not all_ended(node):
            assert time.monotonic() < end, "does not come to an end; node log:\n" + node.log()[-2000:]
            assert node.is_running(), "the node ended by itself:\n" + node.log()[-2000:]
            receiver.is_done()
            time.sleep(source.uniform(0.05, 0.35))
            victim = source.random()
            if node_kills < kills and victim < 0.6:
                node.kill()
                node.start()
                node_kills += 1
            elif sender.kills + receiver.kills < agent_kills:
                (sender if victim < 0.8 and not sender.is_done() else receiver).kill()
    finally:
        sender.end()
        receiver.end()
    return ledgers, node_kills, sender.kills + receiver.kills


def all_ended(node):
    """True if nothing waits for b any more. (A receiver that was killed between the durable ack and
    its ACKED never writes that down, so its ledger cannot tell.)"""
    with Connection(node.socket) as c:
        row, = c.ask("AGENT_LIST", after="b", exact=1, limit=1)[0]
    return row["ready"] + row["leased"] + row["delayed"] == 0


def test_kill_under_load(make_node, soak):
    kills, agent_kills = (200, 200) if soak else (15, 10)
    total = 20000 if soak else 1500
    node = make_node()
    ledgers, node_kills, killed = run(node, node.home, kills, agent_kills, total)
    got, again = check(Ledger(ledgers[0]).read(), Ledger(ledgers[1]).read(),
                       ["s0", "s1", "s2"], total)
    print(f"node killed {node_kills}, agents {killed}; {got} deliveries, {again} repeated")
    assert got >= 3 * total and node_kills >= min(kills, 5)
    assert node.stop() == 0


def test_the_checker_bites():
    """The ledger check itself must find what it is there for."""
    sent = [["receipt", "s0", "1"], ["receipt", "s0", "2"]]

    def received(*rows):
        return [row.split() for row in rows]

    good = received("got s0 1 1 0", "got s0 2 1 0", "acked s0 2")
    assert check(sent, good, ["s0"], 2) == (2, 0)
    for bad in (received("got s0 1 1 0"),                                     # lost
                received("got s0 2 1 0", "got s0 1 1 0"),                     # overtaken
                received("got s0 1 1 0", "got s0 1 2 0", "got s0 2 1 0"),     # not marked
                received("got s0 1 1 0", "acked s0 1", "got s0 1 2 1", "got s0 2 1 0"),
                received("wrong s0 1", "got s0 1 1 0", "got s0 2 1 0")):
        try:
            check(sent, bad, ["s0"], 2)
        except AssertionError:
            continue
        raise RuntimeError(f"the check accepted {bad}")
