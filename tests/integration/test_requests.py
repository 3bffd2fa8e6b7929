"""agentlink request: replies in parts, requests to a group."""
import json

import pytest
from test_cli import DONE, NOTHING, USAGE, Cli


@pytest.fixture
def al(node):
    """The program with an empty node that knows the agent bob."""
    run = Cli("unix:" + node.socket)
    run("agents", "add", "bob")
    return run


def test_request_prints_the_parts(al):
    ask = ("request", "--as", "alice", "--to", "bob", "--data", "x", "--timeout", "20s", "--key", "k")
    asker = al.start(*ask, "--parts", "--json")
    got = al.json("recv", "--as", "bob", "--count", "1", "--no-ack", "--lease", "20s",
                  "--timeout", "10s")[0]
    al("ack", got["message_id"], "--part", "one", "--part", "two", "--response", "three")
    out, err = asker.communicate(timeout=20)
    assert asker.returncode == DONE, err
    first, second, reply = [json.loads(line) for line in out.splitlines()]
    assert (first["attempt"], first["part"], first["data"]) == (1, 1, "one")
    assert (second["attempt"], second["part"], second["data"]) == (1, 2, "two")
    assert reply["data"] == "three" and reply["state"] == "DELIVERED"
    assert al(*ask, "--parts").stdout == b"one\ntwo\nthree"  # stored, all of it
    assert al(*ask).stdout == b"three"


def test_a_quorum_of_a_group(al):
    al("group", "create", "team")
    for name in ("chair", "ann"):
        al("agents", "add", name)
    for name in ("chair", "ann", "bob"):
        al("group", "join", "team", name)
    ask = ("request", "--as", "chair", "--to", "group:team", "--kind", "ask", "--data", "x", "--json")
    assert b"cannot be reached" in al(*ask, "--quorum", "3", code=USAGE).stderr
    asker = al.start(*ask, "--quorum", "2", "--timeout", "5s")
    while True:
        got = al.json("recv", "--as", "bob", "--count", "1", "--no-ack", "--lease", "20s",
                      "--timeout", "10s")[0]
        al("ack", got["message_id"], "--as", "bob", "--response", "yes")
        if got["kind"] == "ask":
            break
    out, err = asker.communicate(timeout=20)
    assert asker.returncode == NOTHING, err  # ann said nothing
    assert [json.loads(line)["agent"] for line in out.splitlines()] == ["bob"]
    assert json.loads(out)["data"] == "yes" and b"1 of 2 members" in err
