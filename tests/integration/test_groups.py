"""agentlink group: words, tables, JSON, exit codes, proof; over a crash of node and member."""
import json
import re

import pytest
from test_cli import DAMAGED, REFUSED, UNREACHABLE, USAGE, Cli, cli
from test_metrics import exposition


@pytest.fixture
def al(node):
    """The program with a group of ann and bob."""
    run = Cli("unix:" + node.socket)
    for name in ("ann", "bob", "cid"):
        run("agents", "add", name)
    run("group", "create", "team")
    run("group", "join", "team", "ann")
    run("group", "join", "group:team", "bob")
    return run


def post(al, text, who="ann", *more):
    return al.json("group", "post", "team", "--as", who, "--data", text, *more)[0]


def test_tables_and_json_say_the_same(al):
    assert post(al, "hello")["seq"] == 3
    row = al.json("group", "ls")[0]
    assert (row["group"], row["members"], row["first_seq"], row["next_seq"]) == (
        "group:team", 2, 1, 4)
    text = al("group", "ls").stdout.decode()
    assert "group:team" in text and "MEMBERS" in text
    members = al.json("group", "members", "team")
    assert [(m["agent"], m["joined_seq"], m["pending"]) for m in members] == [
        ("ann", 1, 3), ("bob", 2, 2)]
    al("recv", "--as", "bob", "--count", 1)
    assert al.json("group", "members", "team")[1]["acked_seq"] == 2
    got = al.json("recv", "--as", "bob", "--count", 1)[0]
    assert (got["from"], got["to"], got["seq"], got["data"]) == ("ann", "group:team", 3, "hello")
    entries = al.json("group", "history", "team")
    assert [(e["seq"], e["what"], e["from"]) for e in entries] == [
        (1, "join", "ann"), (2, "join", "bob"), (3, "message", "ann")]
    assert entries[2]["prev_hash"] == entries[1]["hash"]
    assert entries[2]["hash"] == row["hash"]
    assert "hello" in al("group", "history", "team", "--from", 3).stdout.decode()
    assert al.json("group", "leave", "team", "bob")[0]["seq"] == 4
    al("group", "remove", "team", "--force")
    assert al.json("group", "ls") == []


@pytest.mark.parametrize("args, code, words", [
    (("create", "team"), REFUSED, "there is a group 'group:team' already"),
    (("create", "no good"), USAGE, "not the name of a group"),
    (("join", "team", "ann"), REFUSED, "is a member of 'group:team' already"),
    (("join", "team", "dan"), REFUSED, "agents add dan"),
    (("join", "none", "cid"), REFUSED, "group create none"),
    (("join", "team", "cid", "--from", "99"), USAGE, "no message of that number yet"),
    (("leave", "team", "cid"), REFUSED, "'cid' is not a member"),
    (("post", "team", "--as", "cid", "--data", "x"), REFUSED, "'cid' is not a member"),
    (("post", "none", "--as", "ann", "--data", "x"), REFUSED, "group create none"),
    (("post", "team", "--data", "x"), USAGE, "--as"),
    (("members", "none"), REFUSED, "group create none"),
    (("history", "team", "--as", "cid"), REFUSED, "'cid' is not a member"),
    (("remove", "team"), REFUSED, "is in use"),
    (("verify",), USAGE, "either GROUP or --file"),
    (("verify", "--file", "/nonexistent"), USAGE, "No such file"),
])
def test_what_goes_wrong_is_said(al, args, code, words):
    result = al("group", *args, code=code)
    assert words in result.stderr.decode() and result.stdout == b""


def test_without_a_node(tmp_path):
    result = cli("--node", f"unix:{tmp_path}/none", "group", "ls")
    assert result.returncode == UNREACHABLE


def test_a_payload_from_a_file(al, tmp_path):
    data = bytes(range(256))
    (tmp_path / "data").write_bytes(data)
    al("group", "post", "team", "--as", "ann", "--file", tmp_path / "data")
    al("group", "post", "team", "--as", "ann", "--file", "-", stdin=b"from stdin")
    entries = al.json("group", "history", "team", "--from", 3)
    assert "data_base64" in entries[0] and entries[1]["data"] == "from stdin"
    assert al.json("group", "verify", "team")[0]["ok"]


def test_the_history_of_a_workflow(al):
    post(al, "of no flow")
    post(al, "of seven", "bob", "--workflow-id", "7")
    assert [e["seq"] for e in al.json("group", "history", "team", "--workflow-id", "7")] == [4]


def test_metrics_show_groups(al):
    post(al, "counted", "ann", "--kind", "note")
    text = al("metrics").stdout.decode()
    assert re.search(r"group:team +2 +3 ", text), text
    values = exposition(al("metrics", "--prometheus").stdout.decode())
    assert values['agentlink_group_members{group="group:team"}'] == 2
    assert values['agentlink_group_messages_total{group="group:team"}'] == 3
    assert values['agentlink_group_history_bytes{group="group:team"}'] > 0


# ---- proof ------------------------------------------------------------------------------------


def kept(al):
    """The history as a member keeps it: five messages behind two joins."""
    for i in range(5):
        post(al, f"number {i}", "ann" if i % 2 else "bob")
    return al.json("group", "history", "team")


def verify(al, tmp_path, entries, *more, code=0):
    (tmp_path / "kept").write_text("".join(json.dumps(e) + "\n" for e in entries))
    result = al("group", "verify", "--file", tmp_path / "kept", "--json", *more, code=code)
    return json.loads(result.stdout), result.stderr.decode()


def test_an_honest_history_is_verified(al, tmp_path):
    entries = kept(al)
    proof = al.json("group", "verify", "team", "--as", "bob")[0]
    assert (proof["ok"], proof["first_seq"], proof["last_seq"], proof["count"]) == (True, 1, 7, 7)
    assert proof["hash"] == entries[-1]["hash"]
    assert verify(al, tmp_path, entries)[0] == proof
    assert verify(al, tmp_path, entries[3:])[0]["from_begin"] is False
    assert verify(al, tmp_path, entries, "--expect", proof["hash"])[0]["ok"]
    assert al("group", "verify", "team", "--expect", "00" * 32, code=DAMAGED)
    assert b"yes" in al("group", "verify", "team").stdout


@pytest.mark.parametrize("field, value", [
    ("data", "forged"), ("from", "cid"), ("what", "leave"), ("admitted_ms", 1), ("kind", "other"),
    ("workflow_id", "w"), ("hash", "00" * 32), ("prev_hash", "00" * 32), ("message_id", "0" * 36),
    ("envelope_base64", "AAAA"), ("extra", 1),
])
def test_every_altered_field_is_found(al, tmp_path, field, value):
    entries = kept(al)
    entries[3][field] = value
    proof, words = verify(al, tmp_path, entries, code=DAMAGED)
    assert not proof["ok"] and proof["bad_seq"] == 4 and "at sequence 4" in words


def test_what_is_left_out_moved_or_cut_is_found(al, tmp_path):
    entries = kept(al)
    for at in range(6):
        proof, words = verify(al, tmp_path, entries[:at] + entries[at + 1:],
                              code=DAMAGED if at else 0)
        if at:
            assert proof["bad_seq"] == at + 2 and "missing" in words
    swapped = entries[:2] + [entries[3], entries[2]] + entries[4:]
    assert verify(al, tmp_path, swapped, code=DAMAGED)[0]["bad_seq"] == 4
    assert verify(al, tmp_path, entries[:5], "--expect", entries[-1]["hash"],
                  code=DAMAGED)[0]["bad_seq"] == 5
    (tmp_path / "kept").write_text(json.dumps(entries[0]) + "\n{\n")
    al("group", "verify", "--file", tmp_path / "kept", code=DAMAGED)


# ---- crashes ------------------------------------------------------------------------------------


def test_order_and_proof_survive_kill_of_node_and_member(al, node):
    for i in range(20):
        post(al, str(i))
    before = al.json("group", "verify", "team")[0]
    member = al.start("recv", "--as", "bob", "--count", 5, "--no-ack", "--lease", "1h")
    assert member.stdout.readline()
    member.kill()
    member.wait()
    member.stdout.close()
    member.stderr.close()
    node.kill()
    node.start()
    assert al.json("group", "verify", "team")[0] == before
    post(al, "after", "bob")
    got = al.json("recv", "--as", "bob", "--count", 22)
    assert [d["seq"] for d in got] == list(range(2, 24))
    assert al.json("group", "verify", "team")[0]["last_seq"] == 23
