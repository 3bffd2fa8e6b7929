"""The agentlink program against nodes that do not behave: mute, hostile, or gone in mid-sentence.

The nodes are scripts of this file that speak the protocol's frames, as far as they want to."""
import json
import socket
import threading

import pytest
from agentlink import Closed, decode, encode
from test_cli import REFUSED, UNKNOWN, UNREACHABLE, cli, on_terminal

WELCOME = dict(version=1, features=0, node_epoch=1, payload_max=1 << 20, publish_window=1024,
               credit_max=1024, uid=0, node="script")


class ScriptedNode:
    """Answers each frame as `answers` says: name -> function(values) -> [(name, values), …], where
    the name None hangs up."""

    def __init__(self, path, answers):
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()
        self.address, self.seen = "unix:%s" % path, []
        self.answers = dict({"HELLO": lambda v: [("WELCOME", WELCOME)],
                             "PING": lambda v: [("PONG", v)],
                             "GOODBYE": lambda v: [("GOODBYE", v)]}, **answers)
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            try:
                self.serve(sock)
            except (OSError, Closed):
                pass
            sock.close()

    def serve(self, sock):
        inbox = bytearray()
        while data := sock.recv(65536):
            inbox += data
            while frame := decode(inbox):
                name, values, size = frame
                del inbox[:size]
                self.seen.append(name)
                for reply, fields in self.answers.get(name, lambda v: [])(values):
                    if reply is None:
                        return
                    sock.sendall(encode(reply, **fields))

    def close(self):
        """Ends the thread first: what it waits for could be the next node's by its number."""
        self.listener.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.listener.close()


@pytest.fixture
def scripted(tmp_path):
    nodes = []

    def make(**answers):
        nodes.append(ScriptedNode(tmp_path / ("n%d" % len(nodes)), answers))
        return nodes[-1]

    yield make
    for node in nodes:
        node.close()


PUBLISHING = dict(
    PRODUCER_OPEN=lambda v: [("PRODUCER_READY", dict(request=v["request"], producer=7, epoch=1))],
    CHANNEL_OPEN=lambda v: [("CHANNEL_READY", dict(channel=v["channel"], stream=3, last_pseq=0))])


def test_no_receipt_means_unknown_outcome(scripted):
    node = scripted(**PUBLISHING)
    result = cli("--node", node.address, "send", "--as", "a", "--to", "b", "--data", "x",
                 "--timeout", "500ms")
    assert "PUBLISH" in node.seen
    assert result.returncode == UNKNOWN
    assert b"--key" in result.stderr and result.stdout == b""


def test_hanging_up_on_a_publish_means_unknown_outcome(scripted):
    node = scripted(PUBLISH=lambda v: [(None, None)], **PUBLISHING)
    result = cli("--node", node.address, "send", "--as", "a", "--to", "b", "--data", "x",
                 "--timeout", "500ms")
    assert "PUBLISH" in node.seen and result.returncode == UNKNOWN


def test_a_mute_node_is_not_reachable(scripted):
    node = scripted(HELLO=lambda v: [])
    result = cli("--node", node.address, "status", timeout=20)
    assert result.returncode == UNREACHABLE and node.address.encode() in result.stderr


def test_a_node_of_another_version(scripted):
    node = scripted(HELLO=lambda v: [("ERROR", dict(request=0, code=6, about=1, fatal=1,
                                                    detail="only version 9 here")),
                                    (None, None)])
    result = cli("--node", node.address, "status", timeout=20)
    assert result.returncode == REFUSED and b"only version 9" in result.stderr


STATUS = dict(node_epoch=1, start_ms=1, lsn=1, agents=1, streams=0, connections=1, waiting=0,
              leased=0, delayed=0, dead=0, accepted=0, delivered=0, failed=0, retried=0,
              redelivered=0, duplicates=0, refused=0, expired=0, volatile_sent=0,
              volatile_dropped=0, state_bytes=0, disk_full=0)
EVIL = "\x1b]0;own\x07\u202e\u2066\x9b2J\\|"


def test_names_from_a_hostile_node_are_escaped(scripted):
    row = dict(agent=1, uid=0, attached=0, created_ms=0, ready=2 ** 64 - 1, leased=0, delayed=0,
               dead=0, leased_bytes=2 ** 64 - 1, streams=0, name=EVIL)
    node = scripted(
        STATUS_GET=lambda v: [("STATUS", dict(STATUS, request=v["request"], node=EVIL))],
        AGENT_LIST=lambda v: [("AGENT_ROW", dict(row, request=v["request"])),
                              ("DONE", dict(request=v["request"], code=0, count=1, detail=""))])
    for command in (["status"], ["agents", "ls"], ["agents", "show", "x"]):
        code, shown = on_terminal(["--node", node.address, "--no-color", *command])
        assert code == 0 and b"\\x1b]0;own\\a\\u202e\\u2066\\u009b2J\\\\|" in shown, (command, shown)
        assert b"\x1b" not in shown and b"\x07" not in shown and "\u202e".encode() not in shown
        code, shown = on_terminal(["--node", node.address, "--json", *command])
        assert code == 0 and shown.isascii() and b"\x1b" not in shown
        assert EVIL in json.loads(shown).values()


def test_words_of_a_refusal_are_escaped(scripted):
    node = scripted(AGENT_ADD=lambda v: [("DONE", dict(request=v["request"], code=33, count=0,
                                                       detail="no " + EVIL))])
    result = cli("--node", node.address, "agents", "add", "x")
    assert result.returncode == REFUSED
    assert b"\x1b" not in result.stderr and b"\x07" not in result.stderr
