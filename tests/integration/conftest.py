"""Fixtures for tests of the real programs.

AL_BIN names their directory (default: build/bin). AL_SOAK=1 runs the long versions. Nodes listen on
Unix sockets in temporary directories only, and are ended by their own pid."""
import os
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "conformance"))
from agentlink import Connection  # noqa: E402
from node import Node  # noqa: E402
from pair import Pair  # noqa: E402

SOAK = os.environ.get("AL_SOAK", "") not in ("", "0")


@pytest.fixture
def soak():
    return SOAK


@pytest.fixture
def make_node():
    """make_node(args…, wrapper=…, data=…, config=…, start=True): a Node that ends with the test."""
    nodes = []

    def make(*args, start=True, **values):
        nodes.append(Node(args, **values))
        return nodes[-1].start() if start else nodes[-1]

    yield make
    for node in nodes:
        node.cleanup()


@pytest.fixture
def node(make_node):
    """A started node with an empty directory; node.socket is its address."""
    return make_node()


@pytest.fixture
def connect(request):
    """connect(node) gives a protocol connection that is closed when the test ends."""
    connections = []

    def make(node, **values):
        connections.append(Connection(node.socket, **values))
        return connections[-1]

    yield make
    for connection in connections:
        connection.close()


@pytest.fixture
def make_pair(connect):
    """make_pair(node): sender "a" with channel 1 open, receiver "b" (see conformance/pair.py)."""
    return lambda node, names=("a", "b"): Pair(lambda: connect(node), names)
