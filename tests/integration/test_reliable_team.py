"""The example of a team that talks while its members and the node are killed."""
import pathlib
import re
import subprocess

from node import ROOT, program


def test_every_turn_once_on_every_bus():
    bin_dir = pathlib.Path(program("agentlinkd")).parent
    binary = bin_dir.parent / "examples" / "reliable_team" / "reliable_team"
    done = subprocess.run([str(binary), str(bin_dir)], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=170, cwd=ROOT,
                          check=False, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    for bus in ("inproc:", "file:DIR", "unix:PATH"):
        assert re.search(r"^%s .* 12 +[1-9]\d* +0 +0 +0 +yes +ok$" % bus, done.stdout, re.M), (
            bus, done.stdout)
    assert "every turn once, in one order, on every bus" in done.stdout


def test_a_wrong_command_line_is_refused():
    bin_dir = pathlib.Path(program("agentlinkd")).parent
    binary = bin_dir.parent / "examples" / "reliable_team" / "reliable_team"
    done = subprocess.run([str(binary), "side", "inproc:", "9", "/dev/null"],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60, check=False)
    assert done.returncode == 2 and b"usage" in done.stderr
