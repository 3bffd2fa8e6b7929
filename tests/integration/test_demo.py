"""The demo, as "make demo" runs it: it passes, says what it must say, and leaves nothing behind."""
import os
import pathlib
import re
import signal
import subprocess
import tempfile

import pytest
from node import ROOT, program


@pytest.fixture
def home():
    """A directory with a short name: the path of a socket in it must not be long."""
    with tempfile.TemporaryDirectory(prefix="al-", dir="/tmp") as path:
        yield pathlib.Path(path)


def run_demo(home):
    environment = dict(os.environ, TMPDIR=str(home))
    return subprocess.Popen([str(ROOT / "examples" / "demo" / "run"),
                             str(pathlib.Path(program("agentlinkd")).parent)],
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, env=environment)


def processes_that_mention(word):
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and word.encode() in (entry / "cmdline").read_bytes():
                found.append(entry.name)
        except OSError:
            continue
    return found


def test_demo(home):
    demo = run_demo(home)
    out = demo.communicate(timeout=115)[0].decode()
    assert demo.returncode == 0, out
    for pattern in (r"kill -9 worker-2", r"kill -9 the node", r"lost +0  ok",
                    r"order violations +0  ok", r"without the mark +0  ok",
                    r"counted by the team = counted directly: equal", r"node starts: 2",
                    r"demo passed"):
        assert re.search(pattern, out), (pattern, out)
    sent = re.search(r"messages sent .* (\d+)", out).group(1)
    assert re.search(r"delivered and handled +%s\b" % sent, out), out
    assert int(re.search(r"suppressed by the node .* (\d+)", out).group(1)) >= 1, out
    assert list(home.iterdir()) == []


def test_interrupted_demo_leaves_nothing(home):
    demo = run_demo(home)
    shown = b""
    while b"the work:" not in shown:  # everybody is there
        line = demo.stdout.readline()
        assert line, shown
        shown += line
    demo.send_signal(signal.SIGINT)
    out = demo.communicate(timeout=30)[0].decode()
    assert demo.returncode == 1 and "interrupted" in out, out
    assert list(home.iterdir()) == []
    assert processes_that_mention(str(home)) == []
