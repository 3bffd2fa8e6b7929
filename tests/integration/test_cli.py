"""The agentlink program as its users see it: words, exit codes, JSON, tables, terminals."""
import base64
import json
import os
import pathlib
import pty
import re
import select
import shutil
import signal
import subprocess
import time
import uuid

import pytest
from agentlink import Agent
from node import ROOT, program

DONE, REFUSED, USAGE, UNREACHABLE, DAMAGED, DEAD, UNKNOWN, NOTHING = 0, 1, 2, 3, 4, 5, 6, 124

COMMANDS = ["send", "request", "recv", "ack", "nack", "extend", "record", "agents ls",
            "agents add", "agents remove", "agents show", "inbox", "dlq ls", "dlq show",
            "dlq redrive", "dlq purge", "group create", "group join", "group history", "group verify", "status", "top", "metrics",
            "kinds ls", "kinds set", "kinds remove", "kinds generic", "breakers", "health", "journal verify", "bench", "kv get", "kv put", "kv ls", "kv rm"]


def environment(**more):
    clean = {k: v for k, v in os.environ.items() if k not in ("AGENTLINK_NODE", "NO_COLOR")}
    return dict(clean, LC_ALL="C", **more)


def cli(*args, stdin=b"", timeout=60, env=None, stdout=subprocess.PIPE):
    """Runs agentlink; stdout stays bytes."""
    return subprocess.run([program("agentlink"), *map(str, args)], input=stdin, stdout=stdout,
                          stderr=subprocess.PIPE, timeout=timeout, env=env or environment(),
                          check=False)


class Cli:
    """agentlink against one node."""

    def __init__(self, address):
        self.address = address

    def __call__(self, *args, code=DONE, **options):
        result = cli("--node", self.address, *args, **options)
        assert result.returncode == code, (args, result.returncode, result.stdout, result.stderr)
        return result

    def json(self, *args, **options):
        """The JSON lines that a command prints."""
        lines = self(*args, "--json", **options).stdout.decode().splitlines()
        return [json.loads(line) for line in lines]

    def send(self, to, *args, sender="alice", **options):
        return self.json("send", "--as", sender, "--to", to, *args, **options)[0]

    def start(self, *args):
        """Starts it in the background."""
        return subprocess.Popen([program("agentlink"), "--node", self.address, *map(str, args)],
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, bufsize=0,
                                stderr=subprocess.PIPE, env=environment())


@pytest.fixture
def al(node):
    """The program with an empty node that knows the agent bob."""
    run = Cli("unix:" + node.socket)
    run("agents", "add", "bob")
    return run


def on_terminal(args, env=None, keys=b"", until=b"", seconds=30.0, on_show=None):
    """Runs agentlink with a terminal as stdout and stderr; returns (exit code, bytes shown).
    Calls on_show when something has been shown, presses `keys` when `until` has."""
    master, slave = pty.openpty()
    process = subprocess.Popen([program("agentlink"), *map(str, args)], stdin=slave, stdout=slave,
                               stderr=slave, env=env or environment(TERM="xterm"), close_fds=True)
    os.close(slave)
    shown, end = b"", time.monotonic() + seconds
    while time.monotonic() < end:
        if not select.select([master], [], [], 0.2)[0]:
            if process.poll() is not None:
                break
            continue
        try:
            shown += os.read(master, 65536)
        except OSError:  # the other side is closed
            break
        if on_show:
            on_show()
            on_show = None
        if keys and until in shown:
            os.write(master, keys)
            keys = b""
    if process.poll() is None and time.monotonic() >= end:
        process.kill()
    code = process.wait(5)
    os.close(master)
    return code, shown


# ---- texts ------------------------------------------------------------------------------------


def test_overview_names_every_command():
    result = cli("--help")
    assert result.returncode == DONE and result.stderr == b""
    for command in COMMANDS:
        assert re.search(r"^  %s( |$)" % command, result.stdout.decode(), re.M), command
    assert cli("help").stdout == result.stdout
    bare = cli()
    assert bare.returncode == USAGE and bare.stdout == b"" and bare.stderr == result.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_each_command(command):
    first = cli(*command.split(), "--help")
    assert first.returncode == DONE and first.stderr == b""
    assert first.stdout.decode().startswith("agentlink %s - " % command)
    assert all(len(line) <= 80 for line in first.stdout.decode().splitlines())
    assert cli("help", *command.split()).stdout == first.stdout
    assert cli("--help", *command.split()).stdout == first.stdout


def test_commands_that_come_later_are_not_there():
    text = cli("--help").stdout.decode()
    for word in ("audit", "token"):
        assert not re.search(r"^  %s" % word, text, re.M)
        assert cli(word).returncode == USAGE


def test_version():
    assert re.fullmatch(rb"agentlink \d+\.\d+\.\d+\n", cli("--version").stdout)


def test_the_manual_is_current():
    assert cli("--generate", "markdown").stdout == (ROOT / "docs" / "cli.md").read_bytes()


def test_the_man_pages_are_well_formed(tmp_path):
    if not shutil.which("groff"):
        pytest.skip("groff is not installed")
    page = tmp_path / "agentlink.1"
    page.write_bytes(cli("--generate", "man").stdout)
    for path in (page, ROOT / "docs" / "man" / "agentlinkd.8"):
        result = subprocess.run(["groff", "-man", "-Tutf8", "-ww", "-z", str(path)],
                                stderr=subprocess.PIPE, check=False)
        assert result.returncode == 0 and result.stderr == b"", path


def bash_completion(words, path):
    script = '. "%s"; COMP_WORDS=("$@"); COMP_CWORD=$(($#-1)); _agentlink; ' \
             'printf "%%s\\n" "${COMPREPLY[@]}"' % path
    result = subprocess.run(["bash", "-c", script, "-", *words], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, check=True, env=environment())
    assert result.stderr == b""
    return result.stdout.decode().split()


def test_bash_completion(tmp_path):
    path = tmp_path / "agentlink"
    path.write_bytes(cli("--completion", "bash").stdout)
    assert "dlq" in bash_completion(["agentlink", ""], path)
    assert bash_completion(["agentlink", "sen"], path) == ["send"]
    assert bash_completion(["agentlink", "dlq", "re"], path) == ["redrive"]
    assert bash_completion(["agentlink", "--node", "x", "send", "--pri"], path) == ["--priority"]
    assert bash_completion(["agentlink", "ack", "x", "--status", "p"], path) == ["partial"]


# ---- errors -----------------------------------------------------------------------------------


@pytest.mark.parametrize("args, words", [
    (["snd"], "did you mean 'send'"),
    (["sned"], "did you mean 'send'"),
    (["agents", "lst"], "did you mean 'ls'"),
    (["dlq"], "usage: agentlink dlq"),
    (["frobnicate"], "--help"),
    (["send", "--frob"], "--frob"),
    (["send", "--as", "a"], "--to AGENT is missing"),
    (["send", "--as", "a", "--to", "b", "--priority", "10"], "0 to 9"),
    (["send", "--as", "a", "--to", "b", "--ttl", "5"], "500ms"),
    (["send", "--as", "a", "--to", "b", "--ttl", "4000d"], "ten years"),
    (["send", "--as", "a", "--to", "b", "--header", "x"], "NAME=VALUE"),
    (["send", "--as", "a", "--to", "b", "--data", "x", "--file", "y"], "more than one payload"),
    (["send", "--as", "a", "--to", "b", "--file", "/nonexistent"], "No such file"),
    (["send", "--as", "a", "--to", "b", "word"], "--data"),
    (["send", "--as", "a", "--to", "b", "--volatile", "--wait"], "--volatile"),
    (["recv"], "--as AGENT is missing"),
    (["recv", "--as", "a", "--nack", "--no-ack"], "exclude"),
    (["recv", "--as", "a", "--lease", "2h"], "'2h' is more than 1 h"),
    (["nack", str(uuid.uuid4()), "--retry-after", "25h"], "is more than 1 d"),
    (["extend", str(uuid.uuid4()), "--for", "61m"], "is more than 1 h"),
    (["kinds", "set", "K", "--ack-timeout", "2h"], "'2h' is more than 1 h"),
    (["kinds", "set", "K", "--breaker-open", "25h"], "'25h' is more than 1 d"),
    (["ack"], "ID is missing"),
    (["ack", "123"], "no message id"),
    (["ack", str(uuid.uuid4()), "--status", "perhaps"], "success|partial|failed"),
    (["record", "12"], "STREAM:SEQ"),
    (["status", "extra"], "too many"),
    (["--node", "nonsense", "status"], "nonsense"),
])
def test_usage(args, words, tmp_path):
    result = cli(*args, env=environment(AGENTLINK_NODE="unix:%s/none" % tmp_path))
    assert result.returncode == USAGE, result
    assert result.stdout == b""
    assert words in result.stderr.decode()


def test_unreachable_names_the_socket_and_the_daemon(tmp_path):
    address = "unix:%s/nobody.sock" % tmp_path
    begin = time.monotonic()
    for result in (cli("--node", address, "status"),
                   cli("status", env=environment(AGENTLINK_NODE=address))):
        assert result.returncode == UNREACHABLE
        assert address.encode() in result.stderr and b"agentlinkd" in result.stderr
    assert time.monotonic() - begin < 4  # nobody is there: nothing to wait for (which takes five)


def test_a_node_that_restarts_is_waited_for(al, node):
    node.kill()
    sender = al.start("send", "--as", "alice", "--to", "bob", "--data", "x")
    time.sleep(0.3)
    node.start()
    assert sender.wait(10) == DONE, sender.communicate()
    sender.communicate()


def test_the_default_socket(make_node, tmp_path):
    """Without --node and AGENTLINK_NODE: the socket in XDG_RUNTIME_DIR (root: /run/agentlink)."""
    if os.geteuid() == 0:
        expected = b"/run/agentlink/agentlink.sock"
    else:
        expected = b"%s/agentlink.sock" % bytes(tmp_path)
    if os.path.exists(expected):
        pytest.skip("a real node runs here")
    result = cli("status", env=environment(XDG_RUNTIME_DIR=str(tmp_path)))
    assert result.returncode == UNREACHABLE and expected in result.stderr


def test_unknown_recipient_says_how_to_make_it(al):
    error = al("send", "--as", "alice", "--to", "nobody", "--data", "x", code=REFUSED).stderr
    assert b"agentlink agents add nobody" in error
    assert al("send", "--as", "alice", "--to", "No Body", "--data", "x", code=USAGE).stderr


# ---- send and receive ---------------------------------------------------------------------------


def test_send_and_receive(al):
    sent = al.send("bob", "--data", "h\u00e9llo", "--kind", "greeting", "--header", "a=1",
                   "--header", "b=x=y", "--priority", "7", "--stream", "talk", "--content-type",
                   "text/plain", "--correlation-id", "c1")
    assert uuid.UUID(sent["message_id"]).version == 4
    assert sent["durability"] == "local" and sent["duplicate"] is False and sent["seq"] == 1
    got = al.json("recv", "--as", "bob", "--count", "1")
    assert len(got) == 1
    got = got[0]
    for name in ("message_id", "stream", "seq"):
        assert got[name] == sent[name]
    assert (got["from"], got["to"], got["kind"]) == ("alice", "bob", "greeting")
    assert got["data"] == "h\u00e9llo" and "data_base64" not in got
    assert got["headers"] == {"a": "1", "b": "x=y"} and got["content_type"] == "text/plain"
    assert got["attempt"] == 1 and got["redelivered"] is False
    assert got["priority"] == 7 and got["label"] == "talk" and got["correlation_id"] == "c1"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", got["timestamp"])
    al("recv", "--as", "bob", "--timeout", "300ms", code=NOTHING)


def test_plain_output_in_a_pipe(al):
    sent = al("send", "--as", "alice", "--to", "bob", "--data", "x y").stdout.decode()
    head, row = sent.splitlines()
    assert head.split() == ["MESSAGE", "ID", "STREAM:SEQ", "DURABILITY", "DUPLICATE"]
    assert row.split()[2:] == ["local", "no"]
    line = al("recv", "--as", "bob", "--count", "1").stdout.decode()
    assert line.split() == [row.split()[0], "alice", row.split()[1], "-", "1", "x", "y"]
    assert b"\x1b" not in sent.encode()


@pytest.mark.parametrize("data", [b"", b"\xff\x00\x01", b"line\nline\n", bytes(range(256)) * 300],
                         ids=["empty", "binary", "lines", "every-byte"])
def test_payload_from_standard_input(al, data):
    al("send", "--as", "alice", "--to", "bob", "-", stdin=data)
    got = al.json("recv", "--as", "bob", "--count", "1")[0]
    if b"\xff" in data:
        assert base64.b64decode(got["data_base64"], validate=True) == data and "data" not in got
    else:
        assert got["data"].encode() == data and "data_base64" not in got


def test_payload_from_a_file(al, tmp_path):
    (tmp_path / "f").write_bytes(b"from a file")
    al("send", "--as", "alice", "--to", "bob", "--file", tmp_path / "f")
    al("send", "--as", "alice", "--to", "bob", "--file", "-", stdin=b"from a pipe")
    got = al.json("recv", "--as", "bob", "--count", "2")
    assert [m["data"] for m in got] == ["from a file", "from a pipe"]


def test_too_large_is_refused(al):
    result = al("send", "--as", "alice", "--to", "bob", "-", stdin=bytes(2 << 20), code=REFUSED)
    assert result.stderr


def test_order_and_count(al):
    for i in range(20):
        al.send("bob", "--data", i)
    first = al.json("recv", "--as", "bob", "--count", "5")
    rest = al.json("recv", "--as", "bob", "--timeout", "500ms", code=NOTHING)
    assert [int(m["data"]) for m in first + rest] == list(range(20))
    assert [m["seq"] for m in first + rest] == list(range(1, 21))
    # What was not printed was not touched.
    assert all(m["attempt"] == 1 and not m["redelivered"] for m in first + rest)


def send_many(al, count):
    agent = Agent(al.address.split(":", 1)[1], "alice").connect()
    for i in range(count):
        agent.send("bob", b"%d" % i)
    agent.settle_sends()
    agent.goodbye()


def test_count_touches_nothing_else(al):
    """More than the credit at one time: what was given out ahead is no more than was wanted."""
    send_many(al, 200)
    first = al.json("recv", "--as", "bob", "--count", "100")
    begin = time.monotonic()
    rest = al.json("recv", "--as", "bob", "--count", "100")
    assert time.monotonic() - begin < 4, "the rest had to wait for leases"
    assert [int(m["data"]) for m in first + rest] == list(range(200))
    assert all(m["attempt"] == 1 and not m["redelivered"] for m in first + rest)


def test_nack_count_touches_nothing_else(al):
    for i in range(3):
        al.send("bob", "--stream", i, "--data", i)
    al.json("recv", "--as", "bob", "--count", "2", "--nack")
    got = sorted((m["data"], m["attempt"]) for m in al.json("recv", "--as", "bob", "--count", "3"))
    assert [attempt for _, attempt in got] == [2, 2, 1]


def test_no_ack_counts_beyond_the_usual_credit(al):
    send_many(al, 150)
    assert len(al.json("recv", "--as", "bob", "--count", "100", "--no-ack")) == 100


def test_an_agent_can_go_when_its_receiver_has(al):
    al.send("bob", "--data", "x")
    al("recv", "--as", "bob", "--count", "1")
    al("agents", "remove", "bob")


def test_why_an_agent_cannot_go(al):
    al("agents", "add", "alice")
    al.send("bob", "--data", "x")
    assert b"1 messages and dead letters wait" in al("agents", "remove", "bob", code=REFUSED).stderr
    for force in ([], ["--force"]):
        assert b"at other agents" in al("agents", "remove", "alice", *force, code=REFUSED).stderr
    receiver = al.start("recv", "--as", "carol", "--timeout", "20s")
    deadline = time.monotonic() + 8
    while "carol" not in [a["name"] for a in al.json("agents", "ls") if a["attached"]]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert b"a receiver is attached" in al("agents", "remove", "carol", code=REFUSED).stderr
    receiver.send_signal(signal.SIGTERM)
    receiver.communicate(timeout=10)


def test_redrive_of_an_unknown_id(al):
    for command in ("redrive", "purge"):
        result = al("dlq", command, str(uuid.uuid4()), code=REFUSED)
        assert b"there is no dead letter" in result.stderr


def test_settings_of_a_kind_can_be_zero(al):
    al("kinds", "set", "K", "--retries", "0", "--priority", "0", "--breaker-percent", "0")
    al("kinds", "set", "K", "--retry-base", "2s", "--retry-cap", "2s")
    kind = next(k for k in al.json("kinds", "ls") if k["kind"] == "K")
    assert (kind["retry_max"], kind["priority"], kind["breaker_percent"]) == (0, 0, 0)
    assert kind["retry_base_ms"] == kind["retry_cap_ms"] == 2000
    al("kinds", "set", "K", "--retry-cap", "1s", code=REFUSED)  # below the first delay


def test_a_kind_that_is_not_registered(al):
    assert b"'nope' is not registered" in al("kinds", "remove", "nope", code=REFUSED).stderr


@pytest.mark.parametrize("option, value, word", [("--kind", "two words", "`kind`"),
                                                 ("--stream", "a\nb", "`stream`"),
                                                 ("--key", "k" * 129, "`key`")])
def test_the_wrong_field_is_named(al, option, value, word):
    result = al("send", "--as", "alice", "--to", "bob", option, value, code=USAGE)
    assert word in result.stderr.decode()


def test_one_at_a_time_touches_nothing_else(al):
    for i in range(4):
        al.send("bob", "--data", i)
    for i in range(4):
        begin = time.monotonic()
        got = al.json("recv", "--as", "bob", "--count", "1")[0]
        assert (got["data"], got["attempt"], got["redelivered"]) == (str(i), 1, False)
        assert time.monotonic() - begin < 2


def test_key_makes_a_repetition_harmless(al):
    one = al.send("bob", "--key", "k1", "--data", "x")
    two = al.send("bob", "--key", "k1", "--data", "x")
    assert two["duplicate"] is True
    assert two["message_id"] in (one["message_id"], None)  # None: the node does not know it any more
    assert (two["stream"], two["seq"]) == (one["stream"], one["seq"])
    al("send", "--as", "alice", "--to", "bob", "--key", "k1", "--data", "other", code=REFUSED)
    assert len(al.json("recv", "--as", "bob", "--timeout", "300ms", code=NOTHING)) == 1


def test_delay(al):
    begin = time.monotonic()
    al.send("bob", "--data", "later", "--delay", "700ms")
    al("recv", "--as", "bob", "--count", "1", "--timeout", "5s")
    assert time.monotonic() - begin >= 0.7


def test_volatile_is_said_to_be(al):
    receiver = al.start("recv", "--as", "bob", "--count", "1", "--json", "--timeout", "10s")
    deadline = time.monotonic() + 8
    while not al.json("agents", "show", "bob")[0]["attached"] and time.monotonic() < deadline:
        time.sleep(0.05)
    sent = al.send("bob", "--data", "v", "--volatile")
    assert sent["durability"] == "volatile"
    out, _ = receiver.communicate(timeout=15)
    assert receiver.returncode == DONE and json.loads(out)["data"] == "v"


def test_recv_makes_a_new_agent(al):
    al("recv", "--as", "newcomer", "--timeout", "0", code=NOTHING)
    assert al.json("agents", "show", "newcomer")[0]["name"] == "newcomer"


def test_a_second_receiver_is_refused(al):
    first = al.start("recv", "--as", "bob", "--timeout", "20s")
    try:
        deadline = time.monotonic() + 8
        while not al.json("agents", "show", "bob")[0]["attached"] and time.monotonic() < deadline:
            time.sleep(0.05)
        assert b"--takeover" in al("recv", "--as", "bob", code=REFUSED).stderr
        al("recv", "--as", "bob", "--takeover", "--timeout", "200ms", code=NOTHING)
        assert first.wait(10) == REFUSED  # it was taken over
    finally:
        first.kill()
        first.communicate()


# ---- acknowledged only when written ---------------------------------------------------------------


def test_no_ack_when_the_reader_has_gone(al):
    al.send("bob", "--data", "precious")
    read_end, write_end = os.pipe()
    os.close(read_end)
    result = cli("--node", al.address, "recv", "--as", "bob", "--count", "1", stdout=write_end)
    os.close(write_end)
    assert result.returncode == REFUSED
    assert [m["data"] for m in al.json("recv", "--as", "bob", "--count", "1")] == ["precious"]


def test_no_ack_when_the_output_cannot_be_written(al):
    al.send("bob", "--data", "precious")
    with open("/dev/full", "wb") as full:
        result = cli("--node", al.address, "recv", "--as", "bob", "--count", "1", stdout=full)
    assert result.returncode == REFUSED and b"No space left" in result.stderr
    assert [m["data"] for m in al.json("recv", "--as", "bob", "--count", "1")] == ["precious"]


def test_no_ack_when_the_output_is_closed(al):
    al.send("bob", "--data", "precious")
    receiver = subprocess.run(["sh", "-c", 'exec "$@" >&-', "sh", program("agentlink"), "--node",
                               al.address, "recv", "--as", "bob", "--count", "1"],
                              stderr=subprocess.PIPE, env=environment(), timeout=60, check=False)
    assert receiver.returncode == REFUSED and b"Bad file descriptor" in receiver.stderr
    assert [m["data"] for m in al.json("recv", "--as", "bob", "--count", "1")] == ["precious"]


def test_killed_receiver_loses_nothing(al):
    for i in range(5):
        al.send("bob", "--data", i)
    receiver = al.start("recv", "--as", "bob", "--timeout", "20s", "--json")
    seen = [json.loads(receiver.stdout.readline())["data"]]
    receiver.send_signal(signal.SIGKILL)
    seen += [json.loads(line)["data"] for line in receiver.communicate()[0].splitlines()
             if line.endswith(b"}")]
    rest = al.json("recv", "--as", "bob", "--timeout", "3s", code=NOTHING)
    assert sorted(set(seen) | {m["data"] for m in rest}) == list("01234")
    assert all(m["redelivered"] for m in rest if m["data"] in seen)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_receiver_says_goodbye(al, number):
    al.send("bob", "--data", "one")
    receiver = al.start("recv", "--as", "bob", "--timeout", "20s", "--json")
    assert json.loads(receiver.stdout.readline())["data"] == "one"
    receiver.send_signal(number)
    assert receiver.wait(10) == 128 + number
    assert receiver.communicate() == (b"", b"")
    al("recv", "--as", "bob", "--timeout", "300ms", code=NOTHING)  # "one" was acknowledged
    assert al.json("status")[0]["delivered"] == 1


# ---- settling ---------------------------------------------------------------------------------------


def test_request_gets_the_response_of_the_ack(al):
    asker = al.start("request", "--as", "alice", "--to", "bob", "--data", "6*7", "--timeout", "20s")
    got = al.json("recv", "--as", "bob", "--count", "1", "--no-ack", "--lease", "20s",
                  "--timeout", "10s")[0]
    al("ack", got["message_id"], "--as", "bob", "--response", "42\x1b[31m")
    out, err = asker.communicate(timeout=20)
    assert (asker.returncode, out) == (DONE, b"42\x1b[31m"), err  # a pipe gets it as it is


def test_send_wait_tells_the_end(al):
    sender = al.start("send", "--as", "alice", "--to", "bob", "--data", "x", "--wait", "--json")
    got = al.json("recv", "--as", "bob", "--count", "1", "--no-ack", "--timeout", "10s")[0]
    al("ack", got["message_id"], "--status", "partial", "--reason", "half", "--response", "r")
    out, _ = sender.communicate(timeout=20)
    end = json.loads(out)
    assert sender.returncode == DONE
    assert (end["state"], end["reason"], end["data"]) == ("PARTIAL", "half", "r")
    assert end["message_id"] == got["message_id"] and end["durability"] == "local"


def test_failed_is_a_dead_letter(al):
    sender = al.start("send", "--as", "alice", "--to", "bob", "--data", "x", "--wait", "--json")
    got = al.json("recv", "--as", "bob", "--count", "1", "--no-ack", "--timeout", "10s")[0]
    al("ack", got["message_id"], "--status", "failed", "--reason", "cannot be done")
    out, _ = sender.communicate(timeout=20)
    assert sender.returncode == DEAD and json.loads(out)["state"] == "FAILED"
    letter = al.json("dlq", "ls", "bob")[0]
    assert letter["message_id"] == got["message_id"] and letter["error"] == "CANCELLED"
    assert al.json("dlq", "show", got["message_id"])[0]["reason"] == "cannot be done"


def test_expired_is_a_dead_letter(al):
    end = al.send("bob", "--data", "x", "--ttl", "300ms", "--wait", code=DEAD)
    assert end["state"] == "EXPIRED"
    assert al.json("dlq", "ls")[0]["error"] == "EXPIRED"


def test_wait_and_request_give_up_in_time(al):
    result = al("send", "--as", "alice", "--to", "bob", "--data", "x", "--wait", "--timeout",
                "2s", code=NOTHING)
    assert b"agentlink record" in result.stderr and result.stdout
    al("request", "--as", "alice", "--to", "bob", "--data", "x", "--timeout", "2s",
       code=NOTHING)


def test_nack_comes_again(al):
    al.send("bob", "--data", "x")
    first = al.json("recv", "--as", "bob", "--count", "1", "--nack")[0]
    second = al.json("recv", "--as", "bob", "--count", "1")[0]
    assert first["attempt"] == 1 and second["attempt"] == 2
    assert first["message_id"] == second["message_id"] and second["redelivered"] is True


def test_nack_by_id_keeps_the_reason(al):
    sent = al.send("bob", "--data", "x")
    al.json("recv", "--as", "bob", "--count", "1", "--no-ack")
    begin = time.monotonic()
    al("nack", sent["message_id"], "--reason", "no paper", "--retry-after", "3s")
    record = al.json("record", sent["message_id"])[0]
    assert record["state"] == "DELAYED" and record["log"][0]["reason"] == "no paper"
    assert al.json("recv", "--as", "bob", "--count", "1")[0]["attempt"] == 2
    assert time.monotonic() - begin > 2.9


def test_extend_keeps_the_lease(al):
    sent = al.send("bob", "--data", "x")
    al.json("recv", "--as", "bob", "--count", "1", "--no-ack", "--lease", "2s")
    al("extend", sent["message_id"], "--for", "30s")
    time.sleep(2.5)
    al("ack", sent["message_id"])
    assert al.json("record", sent["message_id"])[0]["state"] == "DELIVERED"


def test_a_lease_that_ended_is_told(al):
    sent = al.send("bob", "--data", "x")
    al.json("recv", "--as", "bob", "--count", "1", "--no-ack", "--lease", "200ms")
    time.sleep(1.0)
    error = al("ack", sent["message_id"], code=REFUSED).stderr
    assert sent["message_id"].encode() in error
    assert al("ack", str(uuid.uuid4()), code=REFUSED).stderr


# ---- dead letters ------------------------------------------------------------------------------------


def kill_message(al, data):
    """Sends a message and has it fail."""
    sent = al.send("bob", "--data", data)
    al.json("recv", "--as", "bob", "--count", "1", "--no-ack")
    al("ack", sent["message_id"], "--status", "failed", "--reason", "bad " + data)
    return sent["message_id"]


def test_dead_letters(al):
    ids = [kill_message(al, name) for name in ("one", "two", "three", "four")]
    assert [m["message_id"] for m in al.json("dlq", "ls", "bob")] == ids
    assert [m["bytes"] for m in al.json("dlq", "ls")] == [3, 3, 5, 4]
    assert al.json("agents", "show", "bob")[0]["dead_bytes"] == 15
    assert al.json("status")[0]["dead_bytes"] == 15
    shown = al.json("dlq", "show", ids[1])[0]
    assert shown["data"] == "two" and shown["reason"] == "bad two" and shown["from"] == "alice"
    text = al("dlq", "show", ids[1]).stdout.decode()
    assert re.search(r"payload +two", text) and re.search(r"cause +FAILED", text)
    assert al.json("dlq", "redrive", ids[3])[0]["count"] == 1
    assert al.json("dlq", "purge", "bob", ids[0])[0]["count"] == 1
    assert al("dlq", "redrive", "bob").stdout == b"2 dead letters sent again\n"
    got = al.json("recv", "--as", "bob", "--count", "3")
    assert [m["data"] for m in got] == ["four", "two", "three"]
    assert [m["attempt"] for m in got] == [1, 1, 1]
    kill_message(al, "five")
    assert al("dlq", "purge", "bob").stdout == b"1 dead letter deleted\n"
    assert al("dlq", "ls").stdout.decode().split()[:2] == ["MESSAGE", "ID"]
    al("dlq", "show", ids[0], code=REFUSED)
    al("dlq", "purge", "stranger", code=REFUSED)


# ---- looking at the node --------------------------------------------------------------------------------


def test_agents(al):
    al("agents", "add", "team/carol")
    assert b"already" in al("agents", "add", "team/carol", code=REFUSED).stderr
    al("agents", "add", "No!", code=USAGE)
    assert [a["name"] for a in al.json("agents", "ls")] == ["bob", "team/carol"]
    al.send("bob", "--data", "x")
    bob = al.json("agents", "show", "bob")[0]
    assert (bob["waiting"], bob["leased"], bob["dead"], bob["streams"]) == (1, 0, 0, 1)
    assert re.search(r"waiting +1$", al("agents", "show", "bob").stdout.decode(), re.M)
    al("agents", "show", "nobody", code=REFUSED)
    assert b"--force" in al("agents", "remove", "bob", code=REFUSED).stderr
    al("agents", "remove", "bob", "--force")
    al("agents", "remove", "team/carol")
    assert [a["name"] for a in al.json("agents", "ls")] == ["alice"]  # made by its first send


def test_inbox_and_record(al):
    sent = al.send("bob", "--data", "x", "--stream", "s1")
    row = al.json("inbox", "bob")[0]
    assert (row["from"], row["label"], row["pending"], row["head_seq"]) == ("alice", "s1", 1, 1)
    place = "%d:%d" % (sent["stream"], sent["seq"])
    by_id, by_place = al.json("record", sent["message_id"])[0], al.json("record", place)[0]
    assert by_id["state"] == by_place["state"] == "WAITING"
    al.json("recv", "--as", "bob", "--count", "1")
    assert al.json("record", place)[0]["state"] == "DELIVERED"
    assert re.search(r"state +DELIVERED", al("record", sent["message_id"]).stdout.decode())
    al("record", "999:1", code=REFUSED)
    al("record", str(uuid.uuid4()), code=REFUSED)
    al("inbox", "nobody", code=REFUSED)


def test_status_and_top(al):
    al.send("bob", "--data", "x")
    status = al.json("status")[0]
    assert status["agents"] == 2 and status["waiting"] == 1 and status["accepted"] == 1
    assert status["disk_full"] is False and status["address"] == al.address
    text = al("status").stdout.decode()
    assert re.search(r"^waiting +1$", text, re.M) and re.search(r"^accepted +1$", text, re.M)
    snapshot = al("top").stdout.decode()
    assert re.search(r"^bob +no +1 +0", snapshot, re.M) and "\x1b" not in snapshot


def test_metrics(al):
    for kind in ("order", "order", "note"):
        al.send("bob", "--kind", kind, "--data", "x")
    al.json("recv", "--as", "bob", "--count", "2")
    text = al("metrics").stdout.decode()
    for pattern in (r"total sent +3$", r"acknowledged +2$", r"failed +0$", r"retried +0$",
                    r"success rate +100\.00 %$", r"failure rate +0\.00 %$",
                    r"^order +2 +2 +0 +0 +\d+\.\d +100\.00 %$", r"^note +1 +0 +0 +0 +- +-$"):
        assert re.search(pattern, text, re.M), (pattern, text)
    total, *kinds = al.json("metrics")
    assert total["total"] and total["sent"] == 3 and total["success_rate"] == 1.0
    assert {k["kind"]: k["success"] for k in kinds} == {"order": 2, "note": 0}
    exported = al("metrics", "--prometheus").stdout.decode()
    assert 'agentlink_messages_sent_total{kind="order"} 2' in exported
    names = set()
    for line in exported.splitlines():
        if line.startswith("# TYPE "):
            assert line.split()[2] not in names
            names.add(line.split()[2])
        elif not line.startswith("#"):
            assert re.fullmatch(r'[a-z_]+(\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")?\})? \d+(\.\d+)?', line), line


# ---- terminals -----------------------------------------------------------------------------------------


def test_hostile_text_cannot_act_on_a_terminal(al):
    evil = "\x1b]0;owned\x07 \u202egnp.exe \x9b31m \x7f \u200b end"
    al.send("bob", "--data", evil, "--header", "x=" + evil)
    args = ["--node", al.address, "recv", "--as", "bob", "--count", "1"]
    code, shown = on_terminal(args + ["--nack", "--no-color"])
    assert code == DONE
    for bad in (b"\x1b", b"\x07", b"\x7f", "\u202e".encode(), "\x9b".encode(),
                "\u200b".encode()):
        assert bad not in shown
    assert b"\\x1b]0;owned\\a" in shown and b"\\u202e" in shown
    code, shown = on_terminal(args + ["--json"])
    assert code == DONE and shown.isascii() and b"\x7f" not in shown and b"\x1b" not in shown
    assert json.loads(shown)["data"] == evil


def test_colour_only_where_it_is_wanted(al):
    args = ["--node", al.address, "agents", "ls"]
    assert b"\x1b[1m" in on_terminal(args)[1]
    assert b"\x1b" not in on_terminal(args + ["--no-color"])[1]
    assert b"\x1b" not in on_terminal(args, env=environment(TERM="xterm", NO_COLOR="1"))[1]
    assert b"\x1b" not in al("agents", "ls").stdout


def test_top_says_when_the_node_has_gone(al, node):
    code, shown = on_terminal(["--node", al.address, "top", "--interval", "100ms"], keys=b"q",
                              until=b"waiting for the node", on_show=node.kill)
    assert code == DONE and b"waiting for the node" in shown
    assert shown.rstrip().endswith(b"\x1b[?1049l")


def test_top_is_live_and_leaves_the_terminal_as_it_was(al):
    code, shown = on_terminal(["--node", al.address, "top", "--interval", "100ms"], keys=b"q",
                              until=b"q leaves")
    assert code == DONE
    assert shown.count(b"\x1b[H") >= 1 and b"bob" in shown
    assert b"\x1b[?1049h" in shown and shown.rstrip().endswith(b"\x1b[?1049l")


# ---- the journal, and nodes of another kind -----------------------------------------------------------


def test_journal_verify(al, node, tmp_path):
    for i in range(20):
        al.send("bob", "--data", "payload number %d" % i)
    assert node.stop() == 0
    report = cli("journal", "verify", node.data)
    assert report.returncode == DONE and b"ok" in report.stdout
    *files, total = [json.loads(line) for line in
                     cli("journal", "verify", node.data, "--json").stdout.splitlines()]
    assert total["ok"] is True and total["files"] == len(files) and total["last_lsn"] > 20
    assert all(f["verdict"] in ("ok", "free", "torn tail", "unknown") for f in files)
    with_key = cli("journal", "verify", "--key-file", "%s/master.key" % node.data, node.data)
    assert with_key.returncode == DONE and with_key.stdout == report.stdout
    (tmp_path / "other").write_bytes(b"\x01" * 32)
    (tmp_path / "other").chmod(0o600)
    wrong = cli("journal", "verify", "--key-file", tmp_path / "other", node.data)
    assert wrong.returncode == DAMAGED and b"another key" in wrong.stdout
    victims = sorted(p for p in pathlib.Path(node.data).iterdir() if p.name.startswith("journal-"))
    data = bytearray(victims[0].read_bytes())
    data[8192 + 150] ^= 1  # in the first record
    victims[0].write_bytes(data)
    report = cli("journal", "verify", node.data)
    assert report.returncode == DAMAGED
    assert victims[0].name.encode() in report.stdout and b"damaged" in report.stdout
    *files, total = [json.loads(line) for line in
                     cli("journal", "verify", node.data, "--json").stdout.splitlines()]
    assert total["ok"] is False and any(f["verdict"] == "damaged" for f in files)
    assert cli("journal", "verify", tmp_path / "none").returncode == REFUSED
    (tmp_path / "empty").mkdir()
    assert cli("journal", "verify", tmp_path / "empty").returncode == REFUSED
    assert list((tmp_path / "empty").iterdir()) == []


def test_node_in_a_directory(tmp_path):
    al = Cli("file:%s/data" % tmp_path)
    al("agents", "add", "bob")
    sent = al.send("bob", "--data", "kept")
    assert sent["durability"] == "local"
    got = al.json("recv", "--as", "bob", "--count", "1")[0]
    assert got["data"] == "kept" and got["message_id"] == sent["message_id"]


def test_bench_cleans_up_behind_ctrl_c(al):
    bench = al.start("bench", "--count", "10000000", "--turns", "1")
    deadline = time.monotonic() + 20
    while not any(a["waiting"] + a["leased"] > 100 for a in al.json("agents", "ls")):
        assert time.monotonic() < deadline and bench.poll() is None
        time.sleep(0.02)
    bench.send_signal(signal.SIGINT)
    bench.communicate(timeout=60)
    assert bench.returncode == 128 + signal.SIGINT
    assert [a["name"] for a in al.json("agents", "ls")] == ["bob"]


def test_bench(al):
    rows = {r["test"]: r for r in al.json("bench", "--count", "500", "--turns", "20")}
    assert set(rows) == {"receipt", "full turn", "throughput"}
    assert rows["throughput"]["count"] == 500 and rows["throughput"]["per_second"] > 0
    assert 0 < rows["full turn"]["p50_us"] <= rows["full turn"]["p99_us"]
    assert [a["name"] for a in al.json("agents", "ls")] == ["bob"]  # its agent is gone
