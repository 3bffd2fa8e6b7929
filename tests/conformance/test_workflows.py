"""Numbers of workflows (protocol.md, section 18)."""
import struct
import time
import uuid

import pytest

from agentlink import ERRORS, Refused
from pair import Pair

PENDING, FAILED, CANCELLED = 1, 2, 5


@pytest.fixture
def flow():
    """A workflow that nobody else uses."""
    return "flow-" + uuid.uuid4().hex


def in_workflow(text):
    """The optional field 2 of an envelope."""
    raw = text.encode()
    return struct.pack("<HH", 2, len(raw)) + raw


def workflow(connection, name, **values):
    """The row, and the ranges as (first, last, state)."""
    rows, done = connection.ask("WORKFLOW_GET", workflow=name, **values)
    ranges = [(row["first"], row["last"], row["state"]) for row in rows[1:]]
    assert done["count"] == len(ranges)
    return rows[0], ranges


def test_numbers_and_what_becomes_of_them(pair, flow):
    pair.send(b"1", b"2", b"3", b"4", ext=in_workflow(flow))
    pair.send(b"other")
    row, ranges = workflow(pair.sender, flow)
    assert (row["allocated"], row["processed"], row["pending"]) == (4, 0, 4)
    assert (row["space"], row["workflow"]) == ("default", flow)
    assert ranges == [(1, 4, PENDING)]
    pair.attach()
    first, second = pair.deliver(), pair.deliver()
    pair.receiver.ack(first)
    pair.receiver.ack(second, status=3)
    pair.receiver.ask("CANCEL", stream=pair.stream, seq=4)
    row, ranges = workflow(pair.receiver, flow)
    assert (row["allocated"], row["processed"], row["failed"], row["cancelled"]) == (4, 1, 1, 1)
    assert ranges == [(2, 2, FAILED), (3, 3, PENDING), (4, 4, CANCELLED)]


def test_ranges_come_in_pages(pair, flow):
    later = int(time.time() * 1000) + 3600 * 1000
    for n in range(6):
        pair.send(b"x", ext=in_workflow(flow), due_ms=later if n % 2 else 0)
    pair.attach()
    for _ in range(3):
        pair.receiver.ack(pair.deliver())
    got, first = [], 0
    while True:
        _, ranges = workflow(pair.sender, flow, first=first, limit=2)
        if not ranges:
            break
        got += ranges
        first = ranges[-1][1] + 1
    assert got == [(2, 2, PENDING), (4, 4, PENDING), (6, 6, PENDING)]


def test_a_restart_changes_nothing(fresh_node, connect, flow):
    node = fresh_node()
    pair = Pair(lambda: connect(node.socket), ("a", "b"))
    pair.send(b"1", b"2", ext=in_workflow(flow))
    node.kill()
    node.start()
    row, ranges = workflow(connect(node.socket), flow)
    assert (row["allocated"], ranges) == (2, [(1, 2, PENDING)])


def test_what_is_refused(pair, flow):
    with pytest.raises(Refused) as refused:
        pair.sender.ask("WORKFLOW_GET", workflow=flow)
    assert refused.value.code == "NOT_FOUND"
    pair.publish(b"x", ext=in_workflow("x" * 256))
    assert ERRORS[pair.sender.expect("REFUSED")["code"]] == "TOO_LARGE"


def test_the_list(pair, flow):
    pair.send(b"1", ext=in_workflow(flow))
    pair.send(b"2", ext=in_workflow(flow + "b"))
    rows, _ = pair.sender.ask("WORKFLOW_LIST", space="default")
    assert [row["workflow"] for row in rows[-2:]] == [flow, flow + "b"]
    rows, _ = pair.sender.ask("WORKFLOW_LIST", after=rows[-2]["number"])
    assert [row["workflow"] for row in rows] == [flow + "b"]
    assert pair.sender.ask("WORKFLOW_LIST", space="elsewhere")[0] == []
