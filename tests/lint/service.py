#!/usr/bin/python3
"""service.py - the systemd unit leaves the node as little as it needs.

    service.py UNIT

systemd's own judgement of the unit, without running it: an exposure of 1.2 at most (0: nothing is
open, 10: everything). A unit without any protection has 9.6.
"""

import re
import subprocess
import sys

from report import Report

EXPOSURE_MAX = 1.2


def analyze(*arguments):
    """(exit code, output) of systemd-analyze; (None, why) if it cannot do this."""
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", *arguments]
    try:
        result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                check=False)
    except FileNotFoundError:
        return None, "systemd-analyze is not installed"
    if "unrecognized option" in result.stdout:
        return None, "this systemd-analyze has no --offline (systemd 250 has)"
    return result.returncode, result.stdout


def problems(unit):
    """What is wrong with the unit."""
    with open(unit, encoding="utf-8") as file:
        text = file.read()
    for name in re.findall(r"@[A-Z]+@", text):
        yield "%s was not filled in" % name
    if re.search(r"^PrivateUsers=(?!no)", text, re.M):
        yield "PrivateUsers hides from the node who connects"
    code, output = analyze("--threshold=%d" % round(EXPOSURE_MAX * 10), unit)
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", output)
    if not found:
        yield output
    elif code or float(found.group(1)) > EXPOSURE_MAX:
        yield "exposure %s, at most %s is wanted" % (found.group(1), EXPOSURE_MAX)


def main():
    report = Report()
    if analyze("--help")[0] is None:
        print("1..0 # SKIP NOT CHECKED: " + analyze("--help")[1])
        return 0
    report.point("the unit leaves little open", list(problems(sys.argv[1])))
    return report.done()


if __name__ == "__main__":
    sys.exit(main())
