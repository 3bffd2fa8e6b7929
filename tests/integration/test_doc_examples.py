"""The shell examples of the guides run as they stand, one after the other, against an empty node."""
import os
import re
import subprocess

import pytest
from node import ROOT, program

GUIDES = ["dead-letters", "groups", "permissions", "request-reply", "scheduling", "streams",
          "workflow-sequences"]


def run_guide(guide, node, tmp_path):
    text = (ROOT / "docs" / f"{guide}.md").read_text()
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert blocks
    env = dict(os.environ, AGENTLINK_NODE="unix:" + node.socket, LC_ALL="C.UTF-8",
               PATH=f"{os.path.dirname(program('agentlink'))}:{os.environ['PATH']}")
    for block in blocks:
        # "! command" in a list without -e would go unnoticed: each line must do what it says
        lines = [f"{{ {line}; }} || {{ echo 'failed: {line.split()[0]}' >&2; exit 1; }}"
                 if line.startswith("!") else line for line in block.splitlines()]
        done = subprocess.run(["bash", "-euo", "pipefail", "-c", "\n".join(lines)], cwd=tmp_path,
                              env=env, timeout=60, capture_output=True, text=True, check=False)
        assert done.returncode == 0, block + done.stdout + done.stderr


@pytest.mark.parametrize("guide", GUIDES)
def test_the_examples_of(guide, node, tmp_path):
    run_guide(guide, node, tmp_path)
