"""A proxy before a node's socket that loses, doubles and swaps deliveries, as it is told."""
import os
import socket
import struct
import threading

HEADER = struct.Struct("<IBBH")
DELIVER = 0x25
STREAM_SEQ = struct.Struct("<IIQ")  # agent, stream, seq: a DELIVER begins with them
PASS, LOSE, DOUBLE, SWAP = range(4)  # SWAP: behind the next frame that goes the same way


class Proxy:
    """Listens on `path` and forwards to `node`. fate(stream, seq, times) says what becomes of a
    delivery that is seen for the `times`-th time; everything else passes."""

    def __init__(self, path, node, fate):
        self.node, self.fate = node, fate
        self.seen, self.done = {}, {LOSE: 0, DOUBLE: 0, SWAP: 0}
        self.connections = 0
        self.sockets = []
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(os.fspath(path))
        self.listener.listen()
        self.threads = []
        self.spawn(self.accept)

    def spawn(self, fn, *args):
        self.threads.append(threading.Thread(target=fn, args=args, daemon=True))
        self.threads[-1].start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            node = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            node.connect(self.node)
            self.connections += 1
            self.sockets += [client, node]
            self.spawn(self.up, client, node)
            self.spawn(self.down, node, client)

    @staticmethod
    def shut(*sockets):
        for one in sockets:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def up(self, client, node):
        try:
            while data := client.recv(1 << 16):
                node.sendall(data)
        except OSError:
            pass
        self.shut(client, node)

    def treat(self, frame, late):
        """What is written now; what is put off stands in `late`."""
        out = frame
        if frame[4] == DELIVER:
            _, stream, seq = STREAM_SEQ.unpack_from(frame, HEADER.size)
            times = self.seen[stream, seq] = self.seen.get((stream, seq), 0) + 1
            fate = self.fate(stream, seq, times)
            if fate != PASS:
                self.done[fate] += 1
            if fate == LOSE:
                return b""
            if fate == DOUBLE:
                out = frame + frame
            if fate == SWAP and not late:
                late.append(frame)
                return b""
        return out + (late.pop() if late else b"")

    def down(self, node, client):
        inbox, late = bytearray(), []
        try:
            while data := node.recv(1 << 16):
                inbox += data
                out = bytearray()
                while len(inbox) >= HEADER.size:
                    size = HEADER.size + HEADER.unpack_from(inbox)[0]
                    if len(inbox) < size:
                        break
                    out += self.treat(bytes(inbox[:size]), late)
                    del inbox[:size]
                client.sendall(out)
        except OSError:
            pass
        self.shut(client, node)

    def close(self):
        self.shut(self.listener, *self.sockets)
        self.listener.close()
        for thread in self.threads:
            thread.join(timeout=10)
        for one in self.sockets:
            one.close()
