"""kill -9 of the node and of an agent that commits, about every 200 ms, checked against a file that
neither knows: each message has its effect exactly once, in order, and the state counts them all."""
import os
import pathlib
import signal
import subprocess
import threading
import time

from agentlink import Agent, Connection
from node import program

EXAMPLE = pathlib.Path(program("agentlink")).parent.parent / "examples/example-commit"


class Adder:
    """examples/commit.c, started again after every kill. It adds up what it is sent, answers, and
    tells "book" of each number."""

    def __init__(self, node):
        self.node, self.kills, self.process = node, 0, None
        self.start()

    def start(self):
        self.process = subprocess.Popen([EXAMPLE, "unix:" + self.node.socket],
                                        stderr=subprocess.DEVNULL)

    def kill(self):
        if self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGKILL)
            self.kills += 1
        self.process.wait(10)
        self.start()

    def end(self):
        self.process.kill()
        self.process.wait(10)


def send(node, total, stop):
    """Sends 1 … total, in order; what has no receipt is sent again."""
    agent = Agent(node.socket, "me", patience=60)
    agent.connect()
    for n in range(1, total + 1):
        agent.send("adder", str(n).encode())
        while agent.unreceipted() > 200 and not stop.is_set():
            agent.work(0.02)
        if stop.is_set():
            return
    agent.settle_sends(timeout=120)


def keep_book(node, path, total, stop):
    """Writes what "book" gets: sequence and number, one write each."""
    agent = Agent(node.socket, "book", credit=200, patience=60, flags=1)
    agent.connect()
    seen = 0
    with open(path, "ab", buffering=0) as book:
        while seen < total and not stop.is_set():
            delivery = agent.receive(0.2)
            if delivery is not None:
                book.write(b"%d %s\n" % (delivery["seq"], delivery["message"]["payload"]))
                agent.ack(delivery)
                seen = max(seen, delivery["seq"])
        agent.work(0.3)


def check(lines, total):
    """The numbers by their sequences: 1 … total, each once. Returns how often one came again."""
    by_seq = {}
    for line in lines:
        seq, number = map(int, line.split())
        assert by_seq.setdefault(seq, number) == number, f"{seq} was {by_seq[seq]} and is {number}"
    numbers = [by_seq[seq] for seq in sorted(by_seq)]
    assert numbers == sorted(numbers), "out of order"
    assert len(numbers) == len(set(numbers)), "one had its effect twice"
    assert numbers == list(range(1, total + 1)), "one had no effect"
    return len(lines) - len(by_seq)


def state(node):
    with Connection(node.socket) as c:
        rows, _ = c.ask("KV_LIST", agent="adder")
    return {row["key"]: int(row["value"]) for row in rows}


def run(node, path, total, kills):
    with Connection(node.socket) as c:
        c.add("adder")
        c.add("book")
    stop, adder, node_kills = threading.Event(), Adder(node), 0
    threads = [threading.Thread(target=send, args=(node, total, stop)),
               threading.Thread(target=keep_book, args=(node, path, total, stop))]
    for thread in threads:
        thread.start()
    end = time.monotonic() + 60 + total / 100
    try:
        while any(thread.is_alive() for thread in threads):
            assert time.monotonic() < end, f"does not come to an end: {state(node)}"
            assert node.is_running(), "the node ended by itself:\n" + node.log()[-2000:]
            time.sleep(0.2)
            if adder.process.poll() is not None:  # it found no node, or its predecessor's session
                adder.start()
            if node_kills + adder.kills >= kills:
                continue
            if (node_kills + adder.kills) % 2:
                adder.kill()
            else:
                node.kill()
                node.start()
                node_kills += 1
    finally:
        stop.set()
        for thread in threads:
            thread.join(20)
        adder.end()
    return node_kills, adder.kills


def test_each_effect_once(make_node, tmp_path, soak):
    total, kills = (1000000, 2000) if soak else (20000, 60)
    node = make_node()
    node_kills, adder_kills = run(node, tmp_path / "book", total, kills)
    again = check((tmp_path / "book").read_text().splitlines(), total)
    assert state(node) == {"sum": total * (total + 1) // 2}
    assert node_kills >= 5 and adder_kills >= 5
    print(f"node killed {node_kills} times, agent {adder_kills}; {again} deliveries were repeated")
    assert node.stop() == 0


def test_the_checker_bites():
    good = ["1 1", "2 2", "2 2", "3 3"]
    assert check(good, 3) == 1
    for bad in (["1 1", "2 3", "3 2"], ["1 1", "2 2"], ["1 1", "2 2", "3 2"], good + ["3 4"]):
        try:
            check(bad, 3)
        except AssertionError:
            continue
        raise AssertionError(f"{bad} passes")
