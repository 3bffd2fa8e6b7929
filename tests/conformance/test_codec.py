"""The codec, the document and the vectors agree. Needs no node."""
import json
import pathlib
import re
import subprocess
import sys

import pytest

import agentlink as al
import make_vectors

HERE = pathlib.Path(__file__).resolve().parent
DOC = (HERE.parent.parent / "docs" / "spec" / "protocol.md").read_text()


def rows_of(name):
    """The cells of the table `name` of protocol.md, without its head."""
    text = re.search(rf"<!-- table:{name} -->(.*?)<!-- end -->", DOC, re.S)
    assert text, f"protocol.md has no table {name}"
    rows = [[cell.strip().strip("`") for cell in line.strip().strip("|").split("|")]
            for line in text.group(1).strip().splitlines()]
    return rows[2:]


@pytest.mark.parametrize("name", [n for n in al.MESSAGES if n != "PONG"])
def test_field_table(name):
    assert [(r[0], r[1]) for r in rows_of(name)] == al.MESSAGES[name][1]


def test_message_table():
    assert {r[1]: int(r[0], 16) for r in rows_of("MESSAGES")} == \
        {name: number for name, (number, _) in al.MESSAGES.items() if number}


def test_error_table():
    rows = rows_of("ERRORS")
    assert {int(r[0]): r[1] for r in rows} == al.ERRORS
    assert {r[1] for r in rows if r[2] == "yes"} == al.RETRYABLE


def vectors(*names):
    return [pytest.param(row, id=f"{row.get('message', 'invalid')}-{row['what']}")
            for name in names for row in json.loads((HERE / "vectors" / f"{name}.json").read_text())]


@pytest.mark.parametrize("row", vectors("session", "publish", "deliver", "end", "query",
                                        "once", "schedule", "group", "inner", "gaps", "reply", "workflow", "acl",
                                        "identity",
                                        "optional"))
def test_vector(row):
    name, data = row["message"], bytes.fromhex(row["hex"])
    number, fields = al.MESSAGES[name]
    values = make_vectors.from_json(fields, row["fields"])
    if number:
        decoded_name, decoded, size = al.decode(data)
        assert (decoded_name, decoded, size) == (name, values, len(data))
    else:
        assert al.decode_body(name, data) == values
    if not row["what"].startswith("optional"):
        assert make_vectors.frame(name, values) == data


@pytest.mark.parametrize("row", vectors("invalid"))
def test_invalid_vector(row):
    data = bytes.fromhex(row["hex"])
    if row["error"] == "TOO_LARGE":
        assert int.from_bytes(data[:4], "little") > 16830464
        return
    with pytest.raises(al.ProtocolError):
        al.decode(data)


def test_vectors_and_example_are_current():
    done = subprocess.run([sys.executable, str(HERE / "make_vectors.py"), "--check"],
                          capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_example_decodes_from_the_text():
    """Reads the bytes back out of the document, as a reader would."""
    text = DOC.split("<!-- example -->")[1].split("<!-- /example -->")[0]
    seen = []
    for block in re.findall(r"^([<>]) (\w+).*\n((?: {4}[0-9a-f ]+\n)+)", text, re.M):
        data = bytes.fromhex(block[2].replace("\n", " "))
        name, _, size = al.decode(data)
        assert (name, size) == (block[1], len(data))
        seen.append((block[0], name))
    assert seen == [(f[0], f[1]) for f in make_vectors.example_frames()]


def test_pairs():
    items = {"a": b"1", "ü": b"\x00\xff", "empty": b""}
    assert al.parse_pairs(al.pairs(items)) == items


def test_unknown_field_is_our_error():
    with pytest.raises(al.ProtocolError):
        al.encode("PING", tokn=1)
