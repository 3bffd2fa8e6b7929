"""agentlink metrics and agentlink kinds against a real node."""
import json
import re
import struct
import subprocess

from agentlink import Connection, encode_body
from node import ROOT, program
from test_cli import REFUSED, Cli, al, environment  # noqa: F401  (al is a fixture)

SAMPLE = re.compile(r'^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{(?:[a-z_]+="(?:[^"\\\n]|\\["\\n])*",?)+\})? '
                    r'([0-9.e+-]+|NaN|\+Inf)$')


def exposition(text):
    """Checks the Prometheus text format; returns {name{labels}: value}."""
    kinds, values, ended = {}, {}, set()
    family = None
    assert text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("# HELP "):
            name = line.split(" ", 3)[2]
            assert name not in ended, "a family in two places"
            if family:
                ended.add(family)
            family = name
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name == family and name not in kinds
            kinds[name] = kind
        else:
            match = SAMPLE.match(line)
            assert match, line
            base = re.sub(r"_(bucket|sum|count)$", "", match[1]) \
                if kinds[family] == "histogram" else match[1]
            assert base == family, line
            assert kinds[family] != "counter" or match[1].endswith("_total")
            key = match[1] + (match[2] or "")
            assert key not in values
            values[key] = float(match[3])
    return values


def traffic(al):  # noqa: F811
    for i in range(3):
        al.send("bob", "--kind", "job", "--data", i)
    al("recv", "--as", "bob", "--count", "2", "--timeout", "10s")
    bad = al.json("recv", "--as", "bob", "--count", "1", "--no-ack", "--timeout", "10s")[0]
    al("ack", bad["message_id"], "--status", "failed", "--reason", "no")


def test_summary_for_people(al):  # noqa: F811
    traffic(al)
    text = al("metrics").stdout.decode()
    for line in (r"total sent +3", r"acknowledged +2", r"failed +1", r"retried +0",
                 r"success rate +66\.67 %", r"failure rate +33\.33 %",
                 r"job +3 +2 +1 +0 +[0-9.]+ +66\.67 %"):
        assert re.search(line, text), (line, text)


def test_what_only_some_nodes_count(al):  # noqa: F811
    assert "kept for replay" not in al("metrics").stdout.decode()
    al("retain", "bob", "--count", "10")
    traffic(al)
    al("replay", "bob", "--from", "alice")
    text = al("metrics").stdout.decode()
    assert re.search(r"kept for replay +2", text) and re.search(r"replayed +2", text), text
    total, job = al.json("metrics")
    assert total["kept"] == total["replayed"] == 2 and "kept" not in job
    values = exposition(al("metrics", "--prometheus").stdout.decode())
    for field, name in (("parts", "reply_parts_total"), ("commits", "commits_total"),
                        ("parts_dropped", "reply_parts_dropped_total"),
                        ("parts_refused", "reply_parts_refused_total"),
                        ("commits_repeated", "commits_repeated_total"),
                        ("commits_refused", "commits_refused_total")):
        assert total[field] == values["agentlink_" + name] == 0


def test_what_should_not_happen_is_counted(al, node):  # noqa: F811
    """A part under a lease that is void, a commit that is said twice, one that cannot be done."""
    with Connection(node.socket) as c:
        commit = dict(producer=c.producer()["producer"], epoch=1, cseq=1, agent="bob")
        change = encode_body("COMMIT_KV", dict(action=1, key="k", value=b"v"))
        commit["changes"] = struct.pack("<I", len(change)) + change
        for duplicate in (0, 1):
            c.send("COMMIT", request=c.request(), **commit)
            answer = c.expect("COMMITTED")
            assert (answer["code"], answer["duplicate"]) == (0, duplicate)
        c.send("COMMIT", request=c.request(), **dict(commit, cseq=3))
        assert c.expect("COMMITTED")["code"]
        al.send("bob", "--data", "x")
        c.attach("bob")
        d = c.expect("DELIVER")
        values = dict(agent=d["agent"], stream=d["stream"], seq=d["seq"], lease=d["lease"] + 1)
        c.send("PART", part=1, data=b"late", attempt=d["lease"] + 1, **values)
        c.expect("SETTLE_REFUSED")
    text = al("metrics").stdout.decode()
    assert re.search(r"commits repeated +1", text) and re.search(r"parts refused +1", text), text
    total = al.json("metrics")[0]
    values = exposition(al("metrics", "--prometheus").stdout.decode())
    for field, name in (("commits", "commits_total"), ("parts_refused", "reply_parts_refused_total"),
                        ("commits_repeated", "commits_repeated_total"),
                        ("commits_refused", "commits_refused_total")):
        assert total[field] == values["agentlink_" + name] == 1


def test_json_has_the_histogram(al):  # noqa: F811
    traffic(al)
    total, job = al.json("metrics")
    assert total["total"] and job["kind"] == "job"
    for row in (total, job):
        assert sum(b["count"] for b in row["latency_histogram"]) == row["success"] + row["failure"]
        bounds = [b["le_ms"] for b in row["latency_histogram"]]
        assert bounds[0] == 1 and bounds[-2:] == [60000, None] and bounds[:-1] == sorted(bounds[:-1])


def test_prometheus_is_valid(al):  # noqa: F811
    traffic(al)
    values = exposition(al("metrics", "--prometheus").stdout.decode())
    assert values['agentlink_messages_sent_total{kind="job"}'] == 3
    name = 'agentlink_delivery_latency_seconds'
    assert values[name + '_count{kind="job"}'] == values[name + '_bucket{kind="job",le="+Inf"}'] == 3
    counts = [v for k, v in values.items() if k.startswith(name + '_bucket{kind="job"')]
    assert counts == sorted(counts)


def test_kinds_are_registered_and_durable(al, node):  # noqa: F811
    al("kinds", "set", "ComputeForces", "--ack-timeout", "10s", "--retries", "3",
       "--title", "Compute forces", "--priority", "7")
    al("kinds", "set", "ComputeForces", "--retries", "5")  # the rest stays
    node.kill()
    node.start()
    row, = al.json("kinds", "ls")
    assert (row["kind"], row["origin"], row["title"], row["ack_timeout_ms"], row["retry_max"],
            row["priority"]) == ("ComputeForces", "registered", "Compute forces", 10000, 5, 7)
    al.send("bob", "--kind", "ComputeForces", "--data", "x")
    got = al.json("recv", "--as", "bob", "--count", "1", "--timeout", "10s")[0]
    assert got["kind"] == "ComputeForces"
    row, = al.json("kinds", "ls")
    assert (row["sent"], row["success"]) == (1, 1)
    assert "ComputeForces" in al("kinds", "ls").stdout.decode()
    al("kinds", "remove", "ComputeForces")
    assert b"not" in al("kinds", "remove", "ComputeForces", code=REFUSED).stderr
    assert b"two words" in al("kinds", "set", "two words", code=REFUSED).stderr


def test_a_kind_says_the_priority(al, node):  # noqa: F811
    def received(*options, kind="order"):
        al.send("bob", "--kind", kind, "--data", "x", *options)
        return al.json("recv", "--as", "bob", "--count", "1", "--timeout", "10s")[0]["priority"]
    al("kinds", "set", "order", "--priority", "8")
    assert [received(), received("--priority", "0"), received("--priority", "4"),
            received("--unordered"), received(kind="other")] == [8, 0, 4, 8, 4]
    node.kill()
    node.start()
    assert received() == 8
    al("kinds", "set", "order", "--priority", "2")
    assert received() == 2
    al("kinds", "remove", "order")
    assert received() == 4


def test_a_schedule_follows_its_kind(al):  # noqa: F811
    al("kinds", "set", "pulse", "--priority", "8")
    al("schedule", "add", "tick", "@every 1s", "--as", "cron", "--to", "bob", "--kind", "pulse")
    al("schedule", "add", "own", "@yearly", "--as", "cron", "--to", "bob", "--kind", "pulse",
       "--priority", "3")
    assert {row["schedule"]: row["priority"] for row in al.json("schedule", "ls")} == \
        {"tick": None, "own": 3}

    def received():
        return al.json("recv", "--as", "bob", "--count", "1", "--timeout", "20s")[0]["priority"]
    assert received() == 8
    al("kinds", "set", "pulse", "--priority", "1")
    while received() != 1:
        pass
    al("schedule", "rm", "tick")


def test_generic_kinds(al):  # noqa: F811
    al("kinds", "generic")
    rows = {row["kind"]: row for row in al.json("kinds", "ls")}
    assert len(rows) == 6 and all(1000 <= r["ack_timeout_ms"] <= 10000 and 2 <= r["retry_max"] <= 5
                                  for r in rows.values())


def test_configuration_is_the_default(make_node):
    node = make_node(config=json.dumps(
        {"kinds": {"slow": {"ack_timeout_ms": 60000, "title": "Slow", "priority": 1,
                            "breaker": {"percent": 0}}}}))
    al = Cli("unix:" + node.socket)  # noqa: F811
    row, = al.json("kinds", "ls")
    assert (row["origin"], row["ack_timeout_ms"], row["title"], row["breaker_percent"]) == \
        ("configuration", 60000, "Slow", 0)
    al("agents", "add", "bob")
    al.send("bob", "--kind", "slow", "--data", "x")
    got, = al.json("recv", "--as", "bob", "--count", "1", "--timeout", "10s")
    assert got["priority"] == row["priority"] == 1
    al("kinds", "set", "slow", "--ack-timeout", "2s")
    row, = al.json("kinds", "ls")
    assert (row["origin"], row["ack_timeout_ms"], row["breaker_percent"]) == ("registered", 2000, 0)


def test_the_document_is_true(al, tmp_path):  # noqa: F811
    """Runs the commands of docs/metrics.md, in their order."""
    text = (ROOT / "docs" / "metrics.md").read_text()
    commands = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert len(commands) >= 3
    (tmp_path / "agentlink").symlink_to(program("agentlink"))
    result = subprocess.run(
        ["bash", "-euc", "".join(commands)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, timeout=120, check=False,
        env=environment(AGENTLINK_NODE=al.address, PATH=f"{tmp_path}:/usr/bin:/bin"))
    assert result.returncode == 0, result.stdout.decode()
    assert b"report.build" in result.stdout and b"AVG LATENCY MS" in result.stdout


def test_a_breaker_opens_holds_and_closes(make_node):
    node = make_node(config=json.dumps({
        "breaker": {"samples": 3, "open_ms": 4000},
        "retry": {"base_ms": 1, "cap_ms": 1, "max": 50}}))
    al = Cli("unix:" + node.socket)  # noqa: F811
    al("agents", "add", "bob")
    sent = al.send("bob", "--data", "x")
    al("recv", "--as", "bob", "--nack", "--count", "3", "--timeout", "5s")
    row, = al.json("breakers")
    assert (row["agent"], row["state"], row["errors"], row["opened"]) == ("bob", "open", 3, 1)
    assert "circuit breaker" in al("agents", "show", "bob").stdout.decode()
    values = exposition(al("metrics", "--prometheus").stdout.decode())
    assert values['agentlink_breaker_state{agent="bob",kind=""}'] == 1
    assert b"circuit breaker" in al("record", sent["message_id"]).stdout
    got = al.json("recv", "--as", "bob", "--count", "1", "--timeout", "30s")[0]
    assert got["attempt"] == 4  # it has waited, and spent nothing
    assert al.json("breakers") == []
    log = node.log_path.read_text()
    assert all(name in log for name in ("breaker_open", "breaker_half_open", "breaker_closed"))


def test_health_and_its_exit_code(make_node):
    node = make_node(config=json.dumps({
        "breaker": {"samples": 2, "open_ms": 60000}, "retry": {"base_ms": 1, "cap_ms": 1}}))
    al = Cli("unix:" + node.socket)  # noqa: F811
    al("agents", "add", "bob")
    report, = al.json("health")
    assert report["healthy"] and report["delivery_rate"] is None and report["recovery_ms"] >= 0
    assert [c["state"] for c in report["components"]] == ["ok"] * 7
    assert {a["alert"]: a["state"] for a in report["alerts"]} == \
        {"delivery_rate": "ok", "recovery_time": "ok", "ordering_violation": "ok"}
    al.send("bob", "--data", "x")
    al("recv", "--as", "bob", "--nack", "--count", "2", "--timeout", "5s")
    report, = al.json("health", code=REFUSED)
    states = {c["component"]: c["state"] for c in report["components"]}
    assert states["destinations"] == states["node"] == "degraded" and not report["healthy"]
    assert report["breakers_open"] == 1 and report["retry_rate"] == 1.0
    assert b"breaker" in al("health", code=REFUSED).stdout
    values = exposition(al("metrics", "--prometheus").stdout.decode())
    assert values['agentlink_health{component="destinations"}'] == 1
    assert values['agentlink_alert_firing{alert="delivery_rate"}'] == 0
    assert "health_changed" in node.log_path.read_text()
