"""A sender and a receiver for tests of one stream."""
from agentlink import decode_body


class Pair:
    """A sender with an open channel (number 1) and a receiver's connection, not yet attached."""

    def __init__(self, connect, names):
        self.sender_name, self.receiver_name = names
        self.connect = connect
        self.sender, self.receiver = connect(), connect()
        self.receiver.add(self.receiver_name)
        self.producer = self.sender.producer()["producer"]
        self.ready = self.sender.channel(1, self.producer, self.receiver_name, self.sender_name)
        self.stream, self.pseq = self.ready["stream"], 0

    def publish(self, payload=b"", **values):
        """Publishes the next message on channel 1; its pseq."""
        self.pseq += 1
        self.sender.publish(1, self.pseq, payload, **values)
        return self.pseq

    def receipts(self, count=1, timeout=10.0):
        """RECEIPT values, one per message, once `count` of them came."""
        out = []
        while len(out) < count:
            run = self.sender.expect("RECEIPT", timeout=timeout)
            out += [dict(run, pseq=run["pseq"] + i, seq=run["seq"] and run["seq"] + i, count=1)
                    for i in range(run["count"])]
        assert len(out) == count
        return out

    def send(self, *payloads, **values):
        """Publishes and waits for the receipts."""
        for payload in payloads:
            self.publish(payload, **values)
        return self.receipts(len(payloads))

    def attach(self, **values):
        return self.receiver.attach(self.receiver_name, **values)

    def deliver(self, timeout=10.0):
        """The next DELIVER, with its envelope decoded as ["message"]."""
        return decoded(self.receiver.expect("DELIVER", timeout=timeout))


def decoded(delivery):
    return dict(delivery, message=decode_body("ENVELOPE", delivery["envelope"]))
