"""Hello, ping, goodbye, and everything that must not be said (protocol.md, sections 2 to 5)."""
import json
import os
import pathlib
import random
import socket
import struct
import subprocess
import sys
import time

import pytest

import agentlink as al
from agentlink import Closed, Connection, encode

VECTORS = pathlib.Path(__file__).resolve().parent / "vectors"
HELLO = dict(magic=al.MAGIC, version_min=1, version_max=1, instance=b"\x01" * 16, client="t")


def fatal(connection, code, about=None):
    """The connection must get exactly a fatal ERROR as its last frame, then the end."""
    frames = connection.closed()
    assert frames, "closed without an ERROR frame"
    name, error = frames[-1]
    assert name == "ERROR", frames
    assert al.ERRORS[error["code"]] == code and error["fatal"] == 1, error
    assert error["detail"], "an error without words"
    if about:
        assert error["about"] == al.MESSAGES[about][0]
    return frames[:-1]


@pytest.fixture
def bystander(connect):
    """Another connection, which must not notice anything."""
    connection = connect()
    yield connection
    connection.send("PING", token=99)
    assert connection.expect("PONG")["token"] == 99


# --- hello -------------------------------------------------------------------------------------


def test_welcome(connect):
    w = connect().welcome
    assert w["version"] == 1 and w["features"] == 0 and w["node_epoch"] >= 1
    assert w["payload_max"] == 1 << 20 and w["publish_window"] == 65536
    assert w["credit_max"] == 65536 and w["uid"] == os.getuid()


def test_hello_picks_a_common_version(connect):
    c = connect(hello=False)
    assert c.hello(version_min=1, version_max=9)["version"] == 1


def test_unknown_features_are_ignored(connect):
    assert connect(hello=False).hello(features=(1 << 64) - 1)["features"] == 0


@pytest.mark.parametrize("low,high", [(2, 9), (0, 0), (3, 2)])
def test_no_common_version(connect, bystander, low, high):
    c = connect(hello=False)
    c.send("HELLO", **dict(HELLO, version_min=low, version_max=high))
    frames = c.closed()
    assert frames[-1][0] == "ERROR" and frames[-1][1]["fatal"] == 1
    assert al.ERRORS[frames[-1][1]["code"]] in ("VERSION", "PROTOCOL")


def test_wrong_magic(connect, bystander):
    c = connect(hello=False)
    c.send("HELLO", **dict(HELLO, magic=0x12345678))
    assert fatal(c, "PROTOCOL", "HELLO") == []


@pytest.mark.parametrize("first", ["PING", "GOODBYE", "PUBLISH", "ATTACH", "STATUS_GET", "AGENT_LIST"])
def test_first_frame_must_be_hello(connect, bystander, first):
    c = connect(hello=False)
    c.send(first)
    assert fatal(c, "PROTOCOL", first) == []


def test_second_hello(connect, bystander):
    c = connect()
    c.send("HELLO", **HELLO)
    fatal(c, "PROTOCOL", "HELLO")


def test_hello_byte_by_byte(connect):
    c = connect(hello=False)
    for byte in encode("HELLO", **HELLO) + encode("PING", token=3):
        c.send_raw(bytes([byte]))
        time.sleep(0.001)
    c.expect("WELCOME")
    assert c.expect("PONG")["token"] == 3


def test_no_need_to_wait_for_welcome(connect):
    c = connect(hello=False)
    c.send_raw(encode("HELLO", **HELLO) + b"".join(encode("PING", token=n) for n in range(500)))
    c.expect("WELCOME")
    assert [c.expect("PONG")["token"] for _ in range(500)] == list(range(500))


def test_optional_fields_of_a_later_version(connect):
    c = connect(hello=False)
    body = al.encode_body("HELLO", HELLO) + struct.pack("<HH", 77, 3) + b"abc"
    c.send_raw(al.HEADER.pack(len(body), 1, 0, 0) + body)
    c.expect("WELCOME")


# --- ping and goodbye ----------------------------------------------------------------------------


def test_ping(connect):
    c = connect()
    for token in (0, 1, (1 << 64) - 1):
        c.send("PING", token=token)
        assert c.expect("PONG")["token"] == token


def test_goodbye_is_answered_and_closed(connect):
    c = connect()
    c.send_raw(encode("PING", token=1) + encode("GOODBYE", reason="done"))
    assert [name for name, _ in c.closed()] == ["PONG", "GOODBYE"]


# --- what must not be said -------------------------------------------------------------------------


@pytest.mark.parametrize("row", [pytest.param(r, id=r["what"]) for r in
                                 json.loads((VECTORS / "invalid.json").read_text())])
def test_invalid_frame(connect, bystander, row):
    """Named, closed; what came before it has its effect, what comes behind has none."""
    c = connect()
    c.send_raw(encode("PING", token=1) + bytes.fromhex(row["hex"]) + encode("PING", token=2))
    before = fatal(c, row["error"])
    assert [(n, v["token"]) for n, v in before] == [("PONG", 1)]


@pytest.mark.parametrize("name", [n for n in ("WELCOME", "ERROR", "PRODUCER_READY",
                                              "CHANNEL_READY", "RECEIPT", "REFUSED", "ATTACHED",
                                              "DETACHED", "DELIVER", "ACKED", "RECALL",
                                              "SETTLE_REFUSED", "END", "RECORD", "AGENT_ROW",
                                              "DONE", "STREAM_ROW", "DLQ_ROW", "STATUS",
                                              "METRICS_ROW")])
def test_frames_that_only_the_node_sends(connect, bystander, name):
    c = connect()
    c.send(name)
    fatal(c, "PROTOCOL", name)


def test_pong_that_nobody_asked_for(connect):
    c = connect()
    c.send("PONG", token=5)
    c.send("PING", token=6)
    assert c.expect("PONG")["token"] == 6


@pytest.mark.parametrize("seed", range(30))
def test_noise(connect, bystander, seed):
    """Random bytes behind a valid hello: the node closes, or waits for the rest of a frame."""
    source = random.Random(seed)
    c = connect()
    try:
        c.send_raw(source.randbytes(source.choice([1, 7, 8, 9, 100, 5000])))
        c.sock.shutdown(socket.SHUT_WR)
        frames = c.closed()
    except Closed:
        return
    assert all(name == "ERROR" for name, _ in frames)


@pytest.mark.parametrize("seed", range(60))
def test_damaged_frames(connect, bystander, names, seed):
    """Valid frames with flipped bytes: any answer is allowed, a dead node is not."""
    source = random.Random(1000 + seed)
    good = [encode("PRODUCER_OPEN", request=1), encode("ATTACH", request=2, credit=5,
                                                      credit_bytes=500, agent=names[1]),
            encode("CHANNEL_OPEN", channel=1, producer=1, first_pseq=1, from_=names[0],
                   to=names[1]),
            encode("PUBLISH", channel=1, pseq=1, envelope=al.envelope(b"x")),
            encode("ACK", agent=1, stream=1, seq=1, lease=1, status=1),
            encode("SETTLE", request=3, action=1, agent=names[1]),
            encode("RECORD_GET", request=4), encode("AGENT_LIST", request=5, limit=3),
            encode("DLQ_LIST", request=6, limit=3), encode("STREAM_LIST", request=7)]
    c = connect()
    data = bytearray(b"".join(source.sample(good, len(good))))
    for _ in range(source.randint(1, 6)):
        data[source.randrange(len(data))] = source.randrange(256)
    try:
        c.send_raw(bytes(data))
        c.sock.shutdown(socket.SHUT_WR)
        c.closed()
    except Closed:
        pass


def test_half_a_frame_and_gone(connect, bystander):
    for cut in (1, 4, 8, 20):
        c = connect()
        c.send_raw(encode("CHANNEL_OPEN", channel=1, producer=1, from_="a", to="b")[:cut])
        c.close()


def test_connection_without_a_word(node, bystander):
    sockets = [socket.socket(socket.AF_UNIX) for _ in range(50)]
    for s in sockets:
        s.connect(node.socket)
    for s in sockets:
        s.close()


# --- identity ----------------------------------------------------------------------------------------

STRANGER = r"""
import os, sys
sys.path.insert(0, sys.argv[1])
os.setgid(65534); os.setuid(65534)
from agentlink import *
c = Connection(sys.argv[2], hello=False)
try:
    c.send("HELLO", magic=MAGIC, version_min=1, version_max=1, instance=b"1" * 16)
except Closed:
    pass  # the answer may be there before the question
frames = c.closed()
print([(n, ERRORS.get(v.get("code"))) for n, v in frames])
"""


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, to become somebody else")
def test_other_users_are_denied(node, bystander):
    os.chmod(node.home, 0o755)
    os.chmod(node.socket, 0o777)
    done = subprocess.run([sys.executable, "-c", STRANGER, str(VECTORS.parent), node.socket],
                          capture_output=True, text=True, timeout=30, check=False)
    assert done.stdout.strip() == "[('ERROR', 'DENIED')]", done.stdout + done.stderr
