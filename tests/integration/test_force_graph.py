"""The example of an orchestrator and a compute agent: on every bus, and with input that is wrong."""
import pathlib
import re
import subprocess
import xml.etree.ElementTree as ElementTree

import pytest

from node import ROOT, program


def force_graph(tmp_path, *args):
    binary = (pathlib.Path(program("agentlinkd")).parent.parent / "examples" / "force_graph" /
              "force_graph")
    return subprocess.run([str(binary), "--svg", str(tmp_path / "graph.svg"), *args],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=100, cwd=ROOT, check=False, text=True)


@pytest.mark.parametrize("bus", ["inproc:", "file:", "unix:"])
def test_every_round_once_on_every_bus(tmp_path, make_node, bus):
    url = {"inproc:": lambda: "inproc:fg", "file:": lambda: "file:%s/data" % tmp_path,
           "unix:": lambda: "unix:" + make_node().socket}[bus]()
    done = force_graph(tmp_path, "--bus", url, "--rounds", "60", "--fail-every", "10")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"60 rounds computed once each, 6 first attempts failed on purpose",
                     done.stdout), done.stdout
    assert "order violations 0" in done.stdout
    rows = dict((line.split()[0], line.split()[1:5]) for line in done.stdout.splitlines()
                if re.match(r"[A-Z]\w+ +\d", line))
    assert rows == {"InitializeGPU": ["1", "1", "0", "0"],
                    "SetSharedGPUContext": ["1", "1", "0", "0"],
                    "UpdateGPUGraphData": ["1", "1", "0", "0"],
                    "UploadConstraintsToGPU": ["1", "1", "0", "0"],
                    "ComputeForces": ["60", "60", "0", "6"],
                    "UpdateNodePositions": ["60", "60", "0", "0"]}
    picture = ElementTree.parse(tmp_path / "graph.svg").getroot()
    assert len(picture.findall(".//{*}circle")) == 36 and len(picture.findall(".//{*}line")) == 60


def test_wrong_input_is_named(tmp_path):
    graph = tmp_path / "graph.txt"
    graph.write_text("a b\nb c d\n")
    done = force_graph(tmp_path, "--graph", str(graph))
    assert done.returncode == 1 and "line 2: not two names" in done.stderr
    graph.write_text("# nothing\n")
    assert "no edges" in force_graph(tmp_path, "--graph", str(graph)).stderr
    assert "cannot be read" in force_graph(tmp_path, "--graph", "/nowhere").stderr
    for wrong in (["--rounds", "0"], ["--rounds", "-1"], ["--what", "1"], ["--bus"]):
        done = force_graph(tmp_path, *wrong)
        assert done.returncode == 2 and "usage:" in done.stderr, wrong
