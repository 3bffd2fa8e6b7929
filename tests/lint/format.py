#!/usr/bin/python3
"""format.py - every C file is as clang-format would write it ("make format" does).

    format.py
"""

import subprocess
import sys

import files
from report import Report


def main():
    report = Report()
    for path in files.sources(".c", ".h"):
        result = subprocess.run(["clang-format-14", "--dry-run", "-Werror", path], cwd=files.ROOT,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                check=False)
        problems = result.stdout.splitlines()[:6] if result.returncode else []
        report.point(path, problems)
    return report.done()


if __name__ == "__main__":
    sys.exit(main())
