"""A full disk: publishes are refused loudly, acks are still taken, nothing is lost, and when there
is room again the node goes on."""
import os
import subprocess
import time

import pytest

from agentlink import ERRORS
from node import NodeFailed

SIZE = 200 << 20


@pytest.fixture
def small_disk(tmp_path):
    if os.getuid() != 0:
        pytest.skip("needs root, to mount a small file system")
    path = tmp_path / "disk"
    path.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(path)],
                          capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("cannot mount here: " + done.stderr.strip())
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)


def publish_until_refused(pair, limit):
    """Publishes 256 KiB messages until DISK_FULL; how many were taken."""
    block, taken = b"z" * (256 << 10), 0
    while taken < limit:
        pair.publish(block)
        name, v = pair.sender.expect("RECEIPT", "REFUSED", timeout=20)
        if name == "REFUSED":
            assert ERRORS[v["code"]] == "DISK_FULL", v
            return taken, v["pseq"]
        taken += v["count"]
    raise AssertionError("never refused")


def test_full_disk(make_node, make_pair, small_disk):
    node = make_node(data=small_disk / "data")
    pair = make_pair(node)
    pair.attach(credit=4, lease_ms=3600000)  # settled when the disk is full
    taken, refused = publish_until_refused(pair, SIZE >> 18)
    assert taken > 100
    assert pair.sender.status()["disk_full"] == 1
    for seq in range(1, taken + 1):
        d = pair.deliver(timeout=20)
        assert d["seq"] == seq
        pair.receiver.ack(d)
    done = 0
    while done < taken:
        done += pair.receiver.expect("ACKED", timeout=20)["count"]
    resume(pair, refused, small_disk)
    assert node.stop() == 0


def resume(pair, pseq, disk):
    """Goes on with the refused message until it is taken."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        pair.sender.send("CHANNEL_RESUME", channel=1, first_pseq=pseq)
        pair.sender.publish(1, pseq, b"after")
        name, v = pair.sender.expect("RECEIPT", "REFUSED", timeout=20)
        if name == "RECEIPT":
            return
        assert ERRORS[v["code"]] == "DISK_FULL"
        time.sleep(0.3)
    files = sorted((file.name, file.stat().st_blocks << 9) for file in disk.rglob("*"))
    raise AssertionError(f"everything is acknowledged, but the disk stays full: {files}")


def test_somebody_else_fills_the_disk(make_node, make_pair, small_disk):
    """… and makes room again: nothing was lost, the node never stopped."""
    node = make_node(data=small_disk / "data")
    pair = make_pair(node)
    pair.send(*[b"m%d" % n for n in range(100)])
    filler = small_disk / "filler"
    with open(filler, "wb", buffering=0) as f:
        try:
            while True:
                f.write(b"x" * (1 << 20))
        except OSError:
            pass
    try:
        taken, refused = publish_until_refused(pair, SIZE >> 18)
        pair.attach()
        for n in range(20):
            pair.receiver.ack(pair.deliver())
        assert pair.receiver.expect("ACKED")["seq"] == 1
    finally:
        filler.unlink()
    resume(pair, refused, small_disk)
    node.kill()
    node.start()
    assert pair.connect().ask("AGENT_LIST", after="b", exact=1, limit=1)[0][0]["ready"] >= \
        80 + taken


def test_start_on_a_full_disk(make_node, small_disk):
    """No room at all: a clear message, exit code neither 0 nor damage."""
    with open(small_disk / "filler", "wb") as f:
        try:
            while True:
                f.write(b"x" * 65536)
        except OSError:
            pass
    node = make_node(data=small_disk / "data", start=False)
    with pytest.raises(NodeFailed) as failure:
        node.start()
    assert failure.value.code not in (0, 4) and failure.value.code > 0
    assert "full" in failure.value.log or "space" in failure.value.log
