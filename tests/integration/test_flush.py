"""Proof from outside: each receipt (and each ACKED) leaves the node after the flush of its record,
and never after a write or flush that failed.

The node has two ways to the disk: "direct" (O_DIRECT and O_DSYNC: a write that has returned is on
disk), and "cached" (page cache, then fdatasync) where a file system refuses O_DIRECT."""
import pathlib
import subprocess
import tempfile

import pytest

import agentlink as al
import tracing
from node import NodeFailed
from tracing import needs_strace

pytestmark = needs_strace

READABLE = '{"seal": {"enabled": false}}'  # what is written must be seen in the trace


@pytest.fixture(scope="session")
def no_direct(tmp_path_factory):
    """A library that makes every file system refuse O_DIRECT."""
    path = tmp_path_factory.mktemp("preload") / "no_direct.so"
    source = pathlib.Path(__file__).resolve().parent / "no_direct.c"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(path), str(source)], check=True)
    return path


@pytest.fixture
def traced(no_direct):
    """traced(mode, path, inject…): the wrapper for a node in one of the two modes."""
    return lambda mode, path, *inject: tracing.wrapper(
        path, *inject, preload=no_direct if mode == "cached" else None)


def one_at_a_time(pair, count, size=100):
    """publish → receipt → delivery → ack → acked, each waited for. Payloads carry a mark."""
    pair.attach()
    for n in range(1, count + 1):
        pair.send(mark(n) + b"." * size)
        delivery = pair.deliver()
        pair.receiver.ack(delivery, response=b"reply to " + mark(n))
        assert pair.receiver.expect("ACKED")["seq"] == n


def mark(n):
    return b"<<message-%06d>>" % n


def durable_after(events, needle):
    """Index of the event at which a file write that contains needle was on disk: the end of the
    write itself if the file is open with O_DSYNC, otherwise the end of a flush that began later."""
    wrote = None
    for event in events:
        if (wrote is None and event.ends and event.call in tracing.WRITES and not event.is_socket()
                and needle in tracing.data_of(event.text)):
            assert event.result and event.result > 0
            if event.synced:
                return event.index
            wrote, begun = event, set()
        elif wrote and event.call in tracing.FLUSHES and event.fd == wrote.fd:
            if event.begins:
                begun.add(event.tid)
            if event.ends and event.result == 0 and event.tid in begun:
                return event.index
    raise AssertionError(f"{needle} was never written and flushed")


def sends(events, kind):
    """(index, body) of every frame of this type that began to be sent to a socket."""
    out = []
    for event in events:
        if event.begins and event.call in tracing.SENDS and event.is_socket():
            out += [(event.index, body) for number, body in tracing.frames(tracing.data_of(event.text))
                    if number == kind]
    return out


@pytest.mark.parametrize("mode", ["direct", "cached"])
def test_receipts_leave_after_the_flush(make_node, make_pair, tmp_path, traced, mode):
    path = tmp_path / "trace"
    node = make_node(wrapper=traced(mode, path), config=READABLE)
    one_at_a_time(make_pair(node), 60)
    node.stop()
    events = tracing.read(path)
    synced = {e.synced for e in events if e.ends and mark(1) in tracing.data_of(e.text)
              and not e.is_socket()}
    assert synced == {mode == "direct"}, "the node took another way to the disk than meant"
    receipts = [(i, al.decode_body("RECEIPT", b)) for i, b in sends(events, tracing.RECEIPT)]
    acks = [(i, al.decode_body("ACKED", b)) for i, b in sends(events, tracing.ACKED)]
    assert [r["pseq"] for _, r in receipts] == list(range(1, 61))
    assert [a["seq"] for _, a in acks] == list(range(1, 61))
    for index, receipt in receipts:
        assert durable_after(events, mark(receipt["pseq"]) + b"...") < index
    for index, acked in acks:
        assert durable_after(events, b"reply to " + mark(acked["seq"])) < index


def test_the_proof_can_fail():
    """The reader finds a receipt that was sent before its flush ended."""
    lines = ['7 pwrite64(5</d/seg>, "%s", 16, 0) = 16' % "".join(f"\\x{b:02x}" for b in mark(1)),
             "7 fdatasync(5</d/seg> <unfinished ...>",
             '8 sendto(9<socket:[3]>, "\\x00\\x00\\x00\\x00\\x17\\x00\\x00\\x00", 8, 0, NULL, 0) = 8',
             "7 <... fdatasync resumed>) = 0"]

    def judge(order):
        with tempfile.NamedTemporaryFile("w", suffix=".trace") as f:
            f.write("\n".join(lines[i] for i in order) + "\n")
            f.flush()
            events = tracing.read(f.name)
        return durable_after(events, mark(1)) < sends(events, tracing.RECEIPT)[0][0]
    assert not judge([0, 1, 2, 3]) and judge([0, 1, 3, 2])


# --- injected failures ------------------------------------------------------------------------------


def fill(node, connect, limit):
    """Publishes until the node is gone or limit; payloads that got a receipt, and all sent."""
    sent, receipted = [], []
    try:
        c = connect(node)
        c.add("b")
        c.channel(1, c.producer()["producer"], "b", "a")
        for n in range(1, limit + 1):
            payload = mark(n) + b"%08d" % n * (n * 37 % 300)
            sent.append(payload)
            c.publish(1, n, payload)
            run = c.expect("RECEIPT", "REFUSED", timeout=10)
            assert run[0] == "RECEIPT", run
            receipted.append(payload)
    except (al.Closed, OSError):
        pass
    return sent, receipted


def drain(node, connect):
    """Everything that waits for b."""
    c = connect(node)
    out = []
    c.attach("b", credit=10000)
    while True:
        frame = c.recv(0.3)
        if frame is None:
            return out
        if frame[0] == "DELIVER":
            out.append(al.decode_body("ENVELOPE", frame[1]["envelope"])["payload"])


def no_answer_after_failure(path):
    """No RECEIPT or ACKED began to be sent after the first injected failure of a journal file."""
    events = tracing.read(path)
    failed = next((e.index for e in events if e.injected), None)
    assert failed is not None
    late = [i for kind in (tracing.RECEIPT, tracing.ACKED) for i, _ in sends(events, kind)
            if i > failed]
    return not late


def calls_of(make_node, connect, path, traced, mode, call):
    """How often the fullest thread makes this call in an undisturbed run."""
    node = make_node(wrapper=traced(mode, path))
    fill(node, connect, 12)
    node.kill()
    per_thread = {}
    for event in tracing.read(path):
        if event.ends and event.call == call and not event.is_socket():
            per_thread[event.tid] = per_thread.get(event.tid, 0) + 1
    return max(per_thread.values(), default=0)


def run_with_failure(node, connect, wrapper):
    """(exit code, what was sent, what was receipted) of a run in which a call fails."""
    try:
        node.start(wrapper=wrapper)
    except NodeFailed as failure:
        assert failure.log.strip(), "no word about the failure"
        return failure.code, [], []
    sent, receipted = fill(node, connect, 12)
    if node.process.poll() is None and len(receipted) == 12:
        return node.stop(), sent, receipted
    return node.wait(), sent, receipted


@pytest.mark.parametrize("mode,call,error", [
    ("direct", "pwrite64", "EIO"), ("direct", "pwrite64", "ENOSPC"), ("direct", "fsync", "EIO"),
    ("cached", "fdatasync", "EIO"), ("cached", "fdatasync", "ENOSPC"), ("cached", "pwrite64", "EIO")])
def test_every_failure_poisons(make_node, connect, tmp_path, soak, traced, mode, call, error):
    """The Nth call fails, N = 1, 2, …: no answer after it, exit 3, nothing acknowledged is lost.

    A failure during start-up may also end with another code that is not 0; a failure in the
    background (the next segment) may pass without harm, but then everything must go on."""
    count = calls_of(make_node, connect, tmp_path / "dry", traced, mode, call)
    assert count > 0, f"the node never calls {call}"
    poisoned = 0
    for nth in range(1, min(count, 60 if soak else 10) + 1):
        path = tmp_path / f"{nth}"
        node = make_node(start=False)
        code, sent, receipted = run_with_failure(
            node, connect, traced(mode, path, f"{call}:error={error}:when={nth}"))
        where = f"{call} #{nth} {error}: exit {code}\n{node.log()[-1500:]}"
        if code == 3:
            poisoned += 1
            assert no_answer_after_failure(path), "answered after the failure; " + where
            assert node.log().strip(), "exit 3 without a word"
        elif sent:
            assert code == 0 and len(receipted) == 12, where
        else:
            assert code is not None and code > 0, where
        node.start(wrapper=[])
        found = drain(node, connect)
        assert found == sent[:len(found)] and len(found) >= len(receipted), \
            f"receipted {len(receipted)}, found {len(found)}; {where}"
        node.stop()
    assert poisoned > 0, f"no failure of {call} was noticed"


@pytest.mark.parametrize("mode,call", [("direct", "pwrite64"), ("cached", "fdatasync")])
def test_persistent_failure(make_node, connect, tmp_path, traced, mode, call):
    """From the Nth call on every one fails: the same outcome, no retry until it works."""
    node = make_node(start=False)
    node.start(wrapper=traced(mode, tmp_path / "t", f"{call}:error=EIO:when=8+"))
    sent, receipted = fill(node, connect, 60)
    assert node.wait() == 3 and len(receipted) < 60
    assert no_answer_after_failure(tmp_path / "t")
    node.start(wrapper=[])
    found = drain(node, connect)
    assert found == sent[:len(found)] and len(found) >= len(receipted)


def test_short_writes_and_interruptions(make_node, make_pair, tmp_path):
    """EINTR of a write is not a failure of the disk."""
    node = make_node(wrapper=tracing.wrapper(tmp_path / "t", "pwrite64:error=EINTR:when=4+3"))
    one_at_a_time(make_pair(node), 20)
    assert node.stop() == 0
