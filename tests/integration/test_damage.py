"""Flipped bytes in a node's directory: detected (exit 4) or harmless, never silent."""
import json
import random
import shutil
import subprocess
import time

import pytest

import agentlink as al
from node import NodeFailed, program

MESSAGES = 120


def build(make_node, make_pair, stop):
    """A directory with acknowledged messages, sealed; the node, ended."""
    node = make_node()
    pair = make_pair(node)
    pair.send(*[payload(n) for n in range(MESSAGES)])
    pair.attach(credit=10)
    for _ in range(10):
        pair.receiver.ack(pair.deliver())
    pair.receiver.expect("ACKED", where=lambda v: v["last_seq"] == 10)
    wait_for_seal(node)
    node.stop() if stop else node.kill()
    return node


def payload(n):
    return b"payload %d " % n + b"%06d" % n * (n % 90)


def intact(node, connect):
    """Everything acknowledged is there, and the acked ones are not."""
    c = connect(node)
    c.attach("b", credit=1000)
    for n in range(10, MESSAGES):
        got = al.decode_body("ENVELOPE", c.expect("DELIVER", timeout=5)["envelope"])["payload"]
        assert got == payload(n)


def used(path):
    """Offset behind the last byte that is not zero."""
    return len(path.read_bytes().rstrip(b"\0"))


def ends_with_seal(path):
    """True if the last block that is not zeros is a seal: a batch without records (disk-format.md)."""
    with open(path, "rb") as file:
        file.seek((used(path) - 1) // 4096 * 4096)
        block = file.read(4096)
    return len(block) == 4096 and block[:8] == b"\x38\0\0\0\0\0\1\1" and \
        block[52:56] == bytes(4)


def wait_for_seal(node):
    """An idle node seals its last batch: only then damage to it is told from a torn end."""
    end = time.monotonic() + 20
    while not any(ends_with_seal(path) for path in segments(node)):
        assert time.monotonic() < end, "the node does not seal its last batch"
        time.sleep(0.1)


def journal_files(node):
    return [p for p in sorted(node.data.iterdir())
            if p.is_file() and p.name != "master.key" and used(p)]


def start_damaged(node, connect):
    """Starts on the damaged directory: "refused", or "harmless" if nothing is missing."""
    try:
        node.start()
    except NodeFailed as failure:
        assert failure.code == 4, f"exit {failure.code}: {failure.log[-500:]}"
        assert "offset" in failure.log or "lsn" in failure.log.lower(), failure.log[-500:]
        return "refused"
    intact(node, connect)
    node.kill()
    return "harmless"


@pytest.mark.parametrize("stop", [False, True], ids=["killed", "stopped"])
def test_flipped_bytes(make_node, make_pair, connect, soak, stop):
    node = build(make_node, make_pair, stop)
    good = node.home / "good"
    shutil.copytree(node.data, good)
    source = random.Random(5)
    outcomes = {"refused": 0, "harmless": 0}
    for file in journal_files(node):
        size = used(file)
        offsets = (range(size) if soak and size < 65536 else
                   sorted({0, size - 1, *source.sample(range(size), min(size, 40))}))
        for offset in offsets:
            restore(good, node.data)
            data = bytearray(file.read_bytes())
            data[offset] ^= 1 << source.randrange(8)
            file.write_bytes(data)
            node.log_path.write_text("")
            try:
                outcomes[start_damaged(node, connect)] += 1
            except AssertionError as error:
                raise AssertionError(f"{file.name} byte {offset} of {size}: {error}") from error
    assert outcomes["refused"] > outcomes["harmless"], outcomes


def restore(source, target):
    shutil.rmtree(target)
    shutil.copytree(source, target)


def test_refusal_changes_nothing(make_node, make_pair):
    """A damaged directory is left as it is, byte for byte, however often one tries."""
    node = build(make_node, make_pair, False)
    file = max(journal_files(node), key=used)
    data = bytearray(file.read_bytes())
    data[used(file) // 2] ^= 0x10
    file.write_bytes(data)
    before = content(node)
    for _ in range(3):
        with pytest.raises(NodeFailed) as failure:
            node.start()
        assert failure.value.code == 4 and file.name in failure.value.log
        assert content(node) == before


SMALL = '{"journal": {"segment_bytes": 1048576, "first_segment_bytes": 65536}}'


@pytest.fixture
def long_journal(make_node, make_pair):
    """An ended node whose journal has several segments, and how many messages wait in it."""
    node = make_node(config=SMALL)
    pair = make_pair(node)
    for _ in range(30):
        pair.send(*[b"x" * 1000] * 100)
    wait_for_seal(node)
    node.kill()
    return node, 3000


def segments(node):
    return [p for p in journal_files(node) if p.name.startswith("journal")]


def test_missing_segment(long_journal):
    """Whichever is missing from the middle or the beginning: refused, and named."""
    node, _ = long_journal
    files = segments(node)
    assert len(files) >= 4
    for file in files[:-1]:
        data = file.read_bytes()
        file.unlink()
        node.log_path.write_text("")
        with pytest.raises(NodeFailed) as failure:
            node.start()
        assert failure.value.code == 4 and "journal" in failure.value.log, file.name
        file.write_bytes(data)


def content(node):
    return {p.name: p.read_bytes() for p in node.data.iterdir() if p.is_file()}


def refused_without(node, *files):
    """The node refuses to start without these files, names the first, and changes nothing."""
    kept = {file: file.read_bytes() for file in files}
    for file in files:
        file.unlink()
    before = content(node)
    node.log_path.write_text("")
    with pytest.raises(NodeFailed) as failure:
        node.start()
    assert failure.value.code == 4 and files[0].name in failure.value.log, failure.value.log
    assert content(node) == before
    verify = subprocess.run([program("agentlink"), "journal", "verify", str(node.data), "--json"],
                            capture_output=True, text=True, check=False)
    rows = [json.loads(line) for line in verify.stdout.splitlines()]
    assert verify.returncode != 0 and content(node) == before
    assert files[0].name in [r["file"] for r in rows if r.get("verdict") == "damaged"], rows
    for file, data in kept.items():
        file.write_bytes(data)


def waiting(node, connect):
    row, = connect(node).ask("AGENT_LIST", after="b", exact=1, limit=1)[0]
    return row["ready"]


@pytest.mark.parametrize("stop", [False, True], ids=["killed", "stopped"])
def test_missing_newest_segment(make_node, make_pair, connect, stop):
    """The newest file, or several: after changes of the segment, and right after each start."""
    node = make_node(config=SMALL)
    pair = make_pair(node)
    for _ in range(30):
        pair.send(*[b"x" * 1000] * 100)
    for _ in range(3):
        node.stop() if stop else node.kill()
        files = segments(node)
        assert len(files) >= 4
        refused_without(node, files[-1])
        refused_without(node, files[-2], files[-1])
        node.start()
        assert len(segments(node)) > len(files), "a start begins a new file"
        assert waiting(node, connect) == 3000


def test_segment_replaced_by_an_older_version(make_node, make_pair):
    """A file restored from yesterday's copy: what came later is missing."""
    node = make_node(config=SMALL)
    pair = make_pair(node)
    old = {}
    for _ in range(50):  # until the copy holds a file that goes on growing
        pair.send(*[b"x" * 100] * 20)
        pair.sender.quiet(0.4)
        old = {p.name: p.read_bytes() for p in segments(node)}
        pair.send(*[b"x" * 100] * 20)
        pair.sender.quiet(0.4)
        old = {name: data for name, data in old.items()
               if (node.data / name).exists() and (node.data / name).read_bytes() != data}
        if old:
            break
    assert old
    for _ in range(20):
        pair.send(*[b"y" * 1000] * 100)
    pair.sender.quiet(0.4)
    node.kill()
    for name, data in old.items():
        (node.data / name).write_bytes(data)
    with pytest.raises(NodeFailed) as failure:
        node.start()
    assert failure.value.code == 4


def test_segments_swapped(long_journal):
    node, _ = long_journal
    one, two = segments(node)[1:3]
    a, b = one.read_bytes(), two.read_bytes()
    one.write_bytes(b)
    two.write_bytes(a)
    with pytest.raises(NodeFailed) as failure:
        node.start()
    assert failure.value.code == 4


def test_torn_tail_is_cut(make_node, make_pair, connect):
    """Zeroes behind what was acknowledged are the normal end; garbage there is a torn tail."""
    node = build(make_node, make_pair, False)
    file = max(journal_files(node), key=used)
    data = bytearray(file.read_bytes())
    end = used(file)
    begin = (end + 4095) // 4096 * 4096
    if begin + 4096 > len(data):
        pytest.skip("no room behind the last record")
    data[begin:begin + 4096] = bytes(random.Random(3).randbytes(4096))
    file.write_bytes(data)
    assert start_damaged(node, connect) == "harmless"
