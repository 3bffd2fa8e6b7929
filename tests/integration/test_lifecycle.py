"""Start, stop, second start, usage: the command-line contract of agentlinkd."""
import json
import os
import re
import signal
import socket
import subprocess
import time

import pytest

import agentlink as al
from agentlink import Agent, Connection
from node import ROOT, NodeFailed, program


def run(*args, timeout=20, **values):
    return subprocess.run([program("agentlinkd"), *map(str, args)], capture_output=True, text=True,
                          timeout=timeout, check=False, **values)


def test_ready_line(node):
    """Exactly one line: "ready" and name=value pairs, the addresses really bound among them."""
    assert re.fullmatch(r"ready( [a-z_]+=\S+)+", node.ready_line), node.ready_line
    assert "unix:" + node.socket in node.ready.values()
    node.stop()
    assert node.rest == b"", "more than one line on stdout"


def test_ready_means_ready(make_node):
    node = make_node(start=False)
    node.start()
    Connection(node.socket, timeout=1).close()
    assert node.start_seconds < 5


def test_several_sockets(make_node):
    node = make_node(start=False)
    second = str(node.home / "second.sock")
    node.args += ["--listen", "unix:" + second]
    node.start()
    for path in (node.socket, second):
        with Connection(path) as c:
            c.send("PING", token=1)
            c.expect("PONG")
    assert second in node.ready_line


def test_sigterm_is_clean(node, make_pair):
    pair = make_pair(node)
    pair.send(b"1")
    assert node.stop() == 0
    assert not os.path.exists(node.socket), "the socket file is left behind"


def test_sigint_is_clean(node):
    node.signal(signal.SIGINT)
    assert node.wait() == 0


def test_sigterm_under_load_keeps_every_receipt(make_node):
    node = make_node()
    with Connection(node.socket) as c:
        c.add("b")
    sender = Agent(node.socket, "a").connect()
    for n in range(3000):
        sender.send("b", b"%d" % n)
        if n == 1500:
            node.signal(signal.SIGTERM)
            break
    try:
        while True:
            frame = sender.conn.recv(5)
            if frame is None:
                break
            if frame[0] != "GOODBYE":
                sender._handle_frame(*frame)
    except al.Closed:
        pass
    receipted = len(sender.receipts)
    assert node.wait() == 0
    node.start()
    with Connection(node.socket) as c:
        row, = c.ask("AGENT_LIST", after="b", exact=1, limit=1)[0]
    assert row["ready"] >= receipted > 0


def test_second_start_on_the_same_directory(node, make_pair):
    done = run("--data", node.data, "--listen", f"unix:{node.home}/other.sock")
    assert done.returncode not in (0, 3, 4) and done.stdout == ""
    assert str(node.data) in done.stderr, done.stderr
    assert re.search("use|lock|running", done.stderr), done.stderr
    make_pair(node).send(b"the first one goes on")


def test_second_start_on_the_same_socket(node, make_pair):
    done = run("--data", node.home / "other", "--listen", f"unix:{node.socket}")
    assert done.returncode not in (0, 3, 4) and node.socket in done.stderr, done.stderr
    make_pair(node).send(b"the first one goes on")


def test_socket_file_of_a_killed_node_is_replaced(node):
    node.kill()
    assert os.path.exists(node.socket)
    node.start()
    Connection(node.socket).close()


def test_file_in_the_place_of_the_socket_is_kept(make_node):
    node = make_node(start=False)
    with open(node.socket, "w") as f:
        f.write("precious")
    with pytest.raises(NodeFailed) as failure:
        node.start()
    assert failure.value.code not in (0, 3, 4) and node.socket in failure.value.log
    with open(node.socket) as f:
        assert f.read() == "precious"


@pytest.mark.parametrize("args", [["--no-such-option"], ["--listen", "nonsense"], ["extra"],
                                  ["--data"], ["--listen", "unix:" + "x" * 300],
                                  ["--config", "/nonexistent/agentlink.conf"]])
def test_usage_errors(args, tmp_path):
    done = run("--data", tmp_path / "d", *args)
    assert done.returncode == 2 and done.stdout == "" and done.stderr.strip(), done


def test_the_file_of_the_document_is_accepted(make_node):
    page = (ROOT / "docs/configuration.md").read_text()
    node = make_node(config=re.search(r"^```json\n(.*?)^```", page, re.M | re.S).group(1))
    with Connection(node.socket) as c:
        assert c.welcome["node"] == "node-1"


def test_limits_of_workflows(make_node):
    node = make_node(config='{"limits": {"workflows": 1}}')

    def send(workflow):
        return subprocess.run(
            [program("agentlink"), "--node", "unix:" + node.socket, "send", "--as", "a", "--to",
             "b", "--workflow-id", workflow, "--data", "x"], capture_output=True, text=True,
            timeout=20, check=False)
    with Connection(node.socket) as c:
        c.add("b")
    assert send("one").returncode == 0
    full = send("two")
    assert full.returncode != 0 and "no room for another number" in full.stderr, full
    node.stop()
    (node.home / "node.conf").write_text('{"limits": {"workflows": 2}}')
    node.start()
    assert send("two").returncode == 0 and send("three").returncode != 0


@pytest.mark.parametrize("key,value", [("workflows", 0), ("workflow_blocks", 100000001),
                                       ("workflow_ttl_ms", 999)])
def test_a_limit_out_of_range_is_named(key, value, tmp_path):
    (tmp_path / "conf").write_text('{"limits": {"%s": %d}}' % (key, value))
    done = run("--data", tmp_path / "d", "--config", tmp_path / "conf")
    assert done.returncode == 2 and f"limits.{key}" in done.stderr and str(value) in done.stderr


def test_refusal_says_what_and_says_it_once(tmp_path):
    """Whatever a start fails for: the system's words are there, and nothing is said twice."""
    shell = ["sh", "-c", 'ulimit -n 4; exec "$@"', "sh"]
    done = subprocess.run(shell + [program("agentlinkd"), "--data", tmp_path / "d", "--listen",
                                   f"unix:{tmp_path}/s"], capture_output=True, text=True,
                          timeout=20, check=False)
    assert done.returncode == 1 and "Too many open files" in done.stderr, done
    parts = done.stderr.strip().split(": ")
    assert len(parts) == len(set(parts)), done.stderr


def test_directory_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    done = run("--data", tmp_path / "file" / "d", "--listen", f"unix:{tmp_path}/s")
    assert done.returncode not in (0, 3, 4) and "file/d" in done.stderr, done


def test_start_stop_many_times(make_node):
    """Nothing is left behind by a start; the epoch counts them."""
    node = make_node(start=False)
    epochs = []
    for n in range(10):
        node.start()
        with Connection(node.socket) as c:
            epochs.append(c.welcome["node_epoch"])
        assert (node.stop() if n % 2 else node.kill()) in (0, -9)
    assert epochs == list(range(epochs[0], epochs[0] + 10))
    assert sum(f.stat().st_size for f in node.data.iterdir()) < 200 << 20


def test_restart_with_a_backlog_is_fast(make_node, make_pair):
    """No hard figure here (make bench has it): only that nothing takes seconds."""
    node = make_node()
    pair = make_pair(node)
    for _ in range(20):
        pair.send(*[b"x" * 256] * 1000)
    node.kill()
    begin = time.monotonic()
    node.start()
    assert time.monotonic() - begin < 5
    with Connection(node.socket) as c:
        assert c.ask("AGENT_LIST", after="b", exact=1, limit=1)[0][0]["ready"] == 20000


def test_log_is_json_lines(node):
    """stderr is not a terminal here."""
    node.stop()
    lines = node.log().splitlines()
    assert lines and all(isinstance(json.loads(line), dict) for line in lines)


def test_log_names_dead_letters(node, make_pair):
    pair = make_pair(node)
    pair.attach()
    pair.send(b"x")
    pair.receiver.ack(pair.deliver(), status=3, reason="broken \"thing\"")
    pair.receiver.expect("ACKED")
    node.stop()
    lines = [json.loads(line) for line in node.log().splitlines()]
    letter, = [line for line in lines if line["event"] == "dead_letter"]
    assert letter["level"] == "warning" and letter["agent"] == pair.receiver_name
    assert (letter["reason"], letter["stream"], letter["seq"]) == ('broken "thing"', pair.stream, 1)
    assert len(letter["message_id"]) == 36 and letter["error"] == "CANCELLED"


def test_socket_is_for_its_user_only(node):
    assert os.stat(node.socket).st_mode & 0o002 == 0 or os.stat(node.home).st_mode & 0o077 == 0
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(node.socket)


def test_closed_standard_descriptors(make_node):
    """Nothing of the node stands in the place of a closed standard descriptor: its log and its ready
    line would be written there, into a journal for instance."""
    node = make_node(start=False)
    shell = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"]
    process = subprocess.Popen(shell + node.command())
    try:
        end = time.monotonic() + 20
        while True:
            try:
                Connection(node.socket).close()
                break
            except OSError:
                assert time.monotonic() < end and process.poll() is None
                time.sleep(0.02)
        for number in range(3):
            assert os.readlink(f"/proc/{process.pid}/fd/{number}") == "/dev/null"
    finally:
        process.terminate()
        assert process.wait(20) == 0


def test_leftover_process(node):
    """The node is one process without children."""
    with open(f"/proc/{node.pid}/task/{node.pid}/children") as f:
        assert f.read().strip() == ""
