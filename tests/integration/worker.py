#!/usr/bin/python3
"""A sending or receiving agent process that may be killed at any moment and started again.

    worker.py send SOCKET LEDGER NAME TO LABELS TOTAL
    worker.py receive SOCKET LEDGER NAME TOTAL

The ledger is the outside truth: an append-only file, one write per line, so that what was written
is there whatever happens to the process. Lines:

    producer ID EPOCH       the sender's producer, taken up again by the next life
    receipt LABEL N         message N of stream LABEL is durable, says the node
    life                    the process began
    got LABEL N ATTEMPT R   message N was handed to the handler; R = 1: marked redelivered
    acked LABEL N           the node says that the acks up to N are durable

Message N of a stream has pseq N and content that follows from (LABEL, N), so that another life can
send it again byte for byte."""
import os
import pathlib
import sys
import time
import uuid

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "conformance"))
from agentlink import Agent, Refused  # noqa: E402

SPACE = uuid.UUID("6a1f3f5e-7c55-4f0e-9d53-0d8c3f1f0c11")


def content(label, n):
    """Payload of message n: between 0 and about 3 KiB, so that records straddle blocks."""
    return (f"{label} {n} " + f"{n:08x}" * (n * 7919 % 400)).encode()


def message_id(name, label, n):
    return uuid.uuid5(SPACE, f"{name}/{label}/{n}").bytes


class Ledger:
    def __init__(self, path):
        self.path = path
        self.fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def write(self, *words):
        os.write(self.fd, (" ".join(map(str, words)) + "\n").encode())

    def read(self):
        text = pathlib.Path(self.path).read_text()
        return [line.split(" ") for line in text[:text.rfind("\n") + 1].splitlines()]


def send(path, ledger_path, name, to, label_count, total):
    ledger = Ledger(ledger_path)
    agent = Agent(path, name, patience=60)
    done = {f"s{n}": 0 for n in range(int(label_count))}
    for words in ledger.read():
        if words[0] == "producer":
            agent.producer_id, agent.producer_epoch = int(words[1]), int(words[2])
        elif words[0] == "receipt":
            done[words[1]] = max(done[words[1]], int(words[2]))
    agent.connect()
    while not agent.producer_id:
        ready = agent._guard(lambda: agent.conn.producer())
        if ready:  # otherwise the node was killed before it could answer
            agent.producer_id, agent.producer_epoch = ready["producer"], ready["epoch"]
    ledger.write("producer", agent.producer_id, agent.producer_epoch)
    channels = {}
    for label in done:
        channels[label] = agent._channel(to, label, 4)
        channels[label].next_pseq = done[label] + 1
    labels = {channel.number: label for label, channel in channels.items()}

    def note():
        for number, pseq, _ in agent.receipts:
            ledger.write("receipt", labels[number], pseq)
        agent.receipts.clear()

    for n in range(1, int(total) + 1):
        for label in done:
            if n > done[label]:
                agent.send(to, content(label, n), label=label, timestamp_ms=1,
                           message_id=message_id(name, label, n))
        agent.work(0)
        while agent.unreceipted() > 60:
            agent.work(0.05)
        note()
    agent.settle_sends(timeout=120)
    note()


def receive(path, ledger_path, name, total):
    ledger = Ledger(ledger_path)
    ledger.write("life")
    agent = Agent(path, name, credit=40, patience=60, flags=1)
    agent.connect()
    labels, acked = {}, 0

    def note():
        for run in agent.acked:
            ledger.write("acked", labels[run["stream"]], run["last_seq"])
        agent.acked.clear()

    while True:
        delivery = agent.receive(0.2)
        note()
        if delivery is None:
            continue
        label, n = delivery["label"], delivery["seq"]
        labels[delivery["stream"]] = label
        if delivery["message"]["payload"] != content(label, n):
            ledger.write("wrong", label, n)
        ledger.write("got", label, n, delivery["attempt"], delivery["flags"] & 1)
        time.sleep(0.0005)
        agent.ack(delivery)


if __name__ == "__main__":
    try:
        {"send": send, "receive": receive}[sys.argv[1]](*sys.argv[2:])
    except Refused as error:
        print(error, file=sys.stderr)
        sys.exit(1)
