"""agentlink kv: an agent's own state from the command line."""
import base64
import re

from test_cli import REFUSED, USAGE, al  # noqa: F401  pylint: disable=unused-import


def test_an_agents_own_state(al, tmp_path):  # noqa: F811
    value = bytes(range(256))
    (tmp_path / "value").write_bytes(value)
    assert not al.json("kv", "ls", "--as", "bob")
    assert al.json("kv", "put", "--as", "bob", "count", "--data", "1") == [{"key": "count", "set": True}]
    al("kv", "put", "--as", "bob", "count", "--data", "2")
    al("kv", "put", "--as", "bob", "bytes", "--file", tmp_path / "value")
    al("kv", "put", "--as", "bob", "empty", "--data", "")
    al("kv", "put", "--as", "bob", "piped", "--file", "-", stdin=b"in")
    assert al("kv", "get", "--as", "bob", "count").stdout == b"2"
    assert al("kv", "get", "--as", "bob", "bytes").stdout == value
    assert al("kv", "get", "--as", "bob", "piped").stdout == b"in"
    assert al.json("kv", "ls", "--as", "bob") == [
        {"key": "bytes", "data_base64": base64.b64encode(value).decode()},
        {"key": "count", "data": "2"}, {"key": "empty", "data": ""}, {"key": "piped", "data": "in"}]
    assert re.search(r"^count +1 +2$", al("kv", "ls", "--as", "bob").stdout.decode(), re.M)
    assert al.json("kv", "rm", "--as", "bob", "count") == [{"key": "count", "removed": True}]
    assert b"kv ls --as bob" in al("kv", "get", "--as", "bob", "count", code=REFUSED).stderr
    al("kv", "rm", "--as", "bob", "count", code=REFUSED)
    assert b"nobody" in al("kv", "ls", "--as", "nobody", code=REFUSED).stderr
    al("kv", "put", "--as", "nobody", "k", "--data", "x", code=REFUSED)
    al("kv", "put", "--as", "bob", "k", code=USAGE)
    al("kv", "put", "--as", "bob", "k", "--data", "x", "--file", "y", code=USAGE)
    al("kv", "put", "--as", "bob", "k", "--file", tmp_path / "none", code=USAGE)
    assert b"16384" in al("kv", "put", "--as", "bob", "k", "--file", "-", stdin=b"x" * 16385,
                          code=USAGE).stderr
