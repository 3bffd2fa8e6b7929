"""Retention and replay by the programs: what was acknowledged comes again, over kill -9, cleaning up
of the journal and restarts, and never more than the limits."""
import json
import os
import subprocess
import time

from node import program
from test_snapshot import WINDOW, flow, size_of


def cli(node, *args, code=0):
    done = subprocess.run([program("agentlink"), "--node", "unix:" + node.socket, *args],
                          capture_output=True, text=True, timeout=60, check=False,
                          env=dict(os.environ, LC_ALL="C.UTF-8"))
    assert done.returncode == code, (args, done.stdout, done.stderr)
    return done.stdout if code == 0 else done.stderr


def wait_until(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def rows(node, *args):
    return [json.loads(line) for line in cli(node, *args, "--json").splitlines()]


def replayed(node, *args):
    found = rows(node, "replay", "b", *args)
    assert all(row["replayed"] is True for row in found)
    return [(row["seq"], row["data"]) for row in found]


def exchange(pair, count, size=0):
    """Sends and acknowledges; the payload says which message it is."""
    if not pair.pseq:
        pair.attach()
    for _ in range(count):
        pair.publish(b"m%d" % (pair.pseq + 1) + b"." * size)
        delivery = pair.deliver()
        pair.receiver.ack(delivery)
        pair.receiver.expect("ACKED", where=lambda v, d=delivery: v["last_seq"] == d["seq"])


def test_acknowledged_messages_come_again_after_kill_9(make_node, make_pair):
    node = make_node()
    pair = make_pair(node)
    cli(node, "retain", "b", "--count", "5")
    exchange(pair, 8)
    expected = [(n, "m%d" % n) for n in range(4, 9)]
    assert replayed(node) == expected
    node.kill()
    node.start()
    assert replayed(node) == expected
    assert replayed(node, "--first", "5", "--last", "6") == expected[1:3]
    assert replayed(node, "--limit", "2") == expected[:2]
    status = rows(node, "status")[0]
    assert status["kept"] == 5 and status["replayed"] >= 9
    assert status["delivered"] == 0  # since this start: a replay is no delivery


def test_what_is_gone_is_refused_with_what_is_there(make_node, make_pair):
    node = make_node()
    pair = make_pair(node)
    assert "retain b --count" in cli(node, "replay", "b", code=1)
    cli(node, "retain", "b", "--count", "3")
    exchange(pair, 5)
    text = cli(node, "replay", "b", "--first", "1", code=1)
    assert "sequences 3 to 5" in text
    assert replayed(node, "--first", "3")[0] == (3, "m3")
    cli(node, "replay", "nobody", code=1)
    cli(node, "retain", "b", "--count", "100001", code=2)
    cli(node, "retain", "b", "--off", "--count", "1", code=2)
    cli(node, "retain", "b", "--off")
    assert "nothing is kept" in cli(node, "retain", "b")


def test_history_does_not_pin_the_journal(make_node, make_pair):
    """Most of a gigabyte flows past what one stream keeps, and through another that keeps a little:
    the journal is cleaned up all the same, and what was carried forward is what it was."""
    node = make_node()
    quiet, busy = make_pair(node), make_pair(node, ("c", "d"))
    cli(node, "retain", "b", "--count", "20")
    cli(node, "retain", "d", "--bytes", "1000000")
    exchange(quiet, 25, size=1000)
    kept = replayed(node)
    assert [seq for seq, _ in kept] == list(range(6, 26))
    busy.attach(credit=WINDOW)
    for first in range(0, 12000, 2000):
        flow(busy, first, 2000)
    wait_until(lambda: size_of(node) < 600 << 20)
    node.kill()
    node.start()
    assert replayed(node) == kept
    assert [row["seq"] for row in rows(node, "replay", "d")] == list(range(11986, 12001))


def test_agents_of_a_configured_node_keep_from_the_start(make_node, make_pair):
    node = make_node(config=json.dumps({"retain": {"count": 2}}))
    exchange(make_pair(node), 3)
    assert replayed(node) == [(2, "m2"), (3, "m3")]
