"""The node gives up what it does not need before it serves."""
import json
import os
import re


def status(pid):
    with open("/proc/%d/status" % pid, encoding="utf-8") as file:
        return dict(re.findall(r"^(\w+):\s*(.*)$", file.read(), re.M))


def kernel_has_seccomp():
    return os.path.exists("/proc/sys/kernel/seccomp/actions_avail")


def test_it_says_what_is_in_force(node):
    lines = [json.loads(line) for line in node.log().splitlines() if line.startswith("{")]
    said = [line["in_force"] for line in lines if line["event"] == "sandbox"]
    assert len(said) == 1
    assert node.ready["sandbox"] == said[0]
    assert ("seccomp" in said[0]) == kernel_has_seccomp()


def test_every_thread_is_in_it(node):
    threads = os.listdir("/proc/%d/task" % node.pid)
    assert len(threads) >= 3
    for thread in threads:
        found = status(int(thread))
        assert found["NoNewPrivs"] == "1"
        if kernel_has_seccomp():
            assert found["Seccomp"] == "2"
