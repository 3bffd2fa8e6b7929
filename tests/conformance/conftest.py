"""Fixtures of the conformance suite."""
import itertools
import sys
import pathlib

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from agentlink import Connection  # noqa: E402
from node import Node  # noqa: E402
from pair import Pair  # noqa: E402

_serial = itertools.count(1)


@pytest.fixture(scope="session")
def node():
    """One node for all tests that neither configure nor end it."""
    n = Node()
    try:
        n.start()
        yield n
        assert n.is_running(), "the node ended during the tests:\n" + n.log()[-3000:]
        assert n.stop() == 0
    finally:
        n.cleanup()


@pytest.fixture
def fresh_node():
    """make(args…, config=…) starts a node that belongs to this test."""
    nodes = []

    def make(*args, start=True, **values):
        nodes.append(Node(args, **values))
        return nodes[-1].start() if start else nodes[-1]

    yield make
    for n in nodes:
        n.cleanup()


@pytest.fixture
def connect(node):
    """connect() gives a new connection to the shared node, closed when the test ends."""
    connections = []

    def make(path=None, **values):
        connections.append(Connection(path or node.socket, **values))
        return connections[-1]

    yield make
    for connection in connections:
        connection.close()


@pytest.fixture
def names():
    """Two agent names that no other test uses: (sender, receiver)."""
    n = next(_serial)
    return f"from{n}", f"to{n}"


@pytest.fixture
def pair(connect, names):
    return Pair(connect, names)
