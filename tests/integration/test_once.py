"""Effectively once, with the programs: what docs/effectively-once.md shows, and its edges."""
import contextlib
import json
import os
import re
import signal
import subprocess

import pytest
from node import ROOT, program

PAGE = ROOT / "docs/effectively-once.md"


def environment(address, directory):
    path = os.path.dirname(program("agentlink"))
    built = os.path.join(os.path.dirname(path), "examples")
    return dict(os.environ, AGENTLINK_NODE=address, LC_ALL="C", HOME=str(directory),
                PATH=os.pathsep.join([path, built, os.environ["PATH"]]))


def examples():
    """The fenced examples of the page, by their heading."""
    found = {}
    for heading, text in re.findall(r"^## (.*?)$(.*?)(?=^## |\Z)", PAGE.read_text(), re.M | re.S):
        found[heading] = re.findall(r"^```sh\n(.*?)^```", text, re.M | re.S)
    return found


@pytest.fixture
def shell(node, tmp_path):
    def run(script):
        process = subprocess.Popen(["sh", "-eu", "-c", script], cwd=tmp_path, text=True,
                                   env=environment("unix:" + node.socket, tmp_path),
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   start_new_session=True)
        try:
            out, err = process.communicate(timeout=60)
        finally:
            with contextlib.suppress(ProcessLookupError):  # what it left in the background
                os.killpg(process.pid, signal.SIGKILL)
        assert process.returncode == 0, script + out + err
        return subprocess.CompletedProcess(script, 0, out, err)
    return run


@pytest.fixture
def start(node, tmp_path):
    """Starts agentlink in the background."""
    running = []

    def make(*args):
        running.append(subprocess.Popen([program("agentlink"), *args], stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True,
                                        env=environment("unix:" + node.socket, tmp_path)))
        return running[-1]

    yield make
    for one in running:
        one.kill()
        one.wait()


def test_the_page_says_what_happens(shell):
    first, again = examples()["A retry gets the stored answer"]
    assert shell(first).stdout.endswith("It was a dark night.")
    result = shell(again)
    assert result.stdout.startswith("It was a dark night.")
    assert "duplicate" in result.stderr
    assert result.stdout.count("It was a dark night.") == 2 and "duplicate" in result.stdout


def test_the_second_program_waits_for_the_first_answer(shell, start):
    ask = ("request", "--as", "me", "--to", "writer", "--key", "k", "--data", "x", "--json",
           "--timeout", "30s")
    shell("agentlink agents add writer")
    first = start(*ask)
    message = shell("agentlink recv --as writer --count 1 --no-ack --lease 1m --json").stdout
    first.kill()  # its program is gone; the message is in work
    second = start(*ask)
    third = start(*ask)
    with pytest.raises(subprocess.TimeoutExpired):
        second.wait(0.7)
    shell("agentlink ack %s --response 'once' --response-type text/plain"
          % json.loads(message)["message_id"])
    for one in (second, third):
        out, _ = one.communicate(timeout=20)
        answer = json.loads(out)
        assert (answer["data"], answer["duplicate"], answer["state"]) == ("once", True, "DELIVERED")


def test_the_answer_survives_a_restart(shell, node):
    shell("agentlink agents add writer")
    shell("agentlink send --as me --to writer --key k --data x")
    shell("id=$(agentlink recv --as writer --count 1 --no-ack --lease 1m | cut -d ' ' -f 1)\n"
          "agentlink ack $id --response kept")
    node.kill()
    node.start()
    result = shell("agentlink request --as me --to writer --key k --data x")
    assert result.stdout == "kept" and "duplicate" in result.stderr


def test_a_commit_survives_its_program(shell):
    first, again, refuse = examples()["Answer, send and remember in one step"]
    assert shell(first).stdout.splitlines()[-4:] == ["2", "5", "10", "1717"]
    lines = shell(again).stdout.splitlines()
    assert [json.loads(line)["data"] for line in lines[:4]] == ["2", "3", "5", "7"]
    assert lines[-1].split() == ["sum", "2", "17"]
    result = shell(refuse)
    assert "not a number" in result.stderr
    assert result.stdout.splitlines()[0] == "seven"
    assert result.stdout.count("FAILED") == 1


def test_a_relay_passes_everything_on_once(shell):
    script, = examples()["Many steps under way"]
    lines = shell(script).stdout.splitlines()
    assert [json.loads(line)["data"] for line in lines] == [str(n) for n in range(1, 31)]


def test_the_page_shows_what_the_examples_do():
    shown = re.findall(r"^```c\n(.*?)^```", PAGE.read_text(), re.M | re.S)
    for code, name in zip(shown, ["commit", "relay"], strict=True):
        assert code in (ROOT / f"examples/{name}.c").read_text()
