#!/usr/bin/python3
"""clang_tidy.py - clang-tidy over every compiled source file; one point per file.

    clang_tidy.py BUILD_DIR

Which checks are on stands in .clang-tidy.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

import files
from report import Report

# What gcc takes and clang 14 does not know.
GCC_ONLY = re.compile(r" -f(?:stack-clash-protection|cf-protection)\b")


def compilation_database(build, folder):
    """A copy of the build's commands that clang understands; returns the project's sources."""
    with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as file:
        commands = json.load(file)
    sources = {}
    for command in commands:
        path = os.path.realpath(os.path.join(command["directory"], command["file"]))
        command["command"] = GCC_ONLY.sub("", command["command"])
        if path.endswith(".c"):
            sources.setdefault(path, command)
    with open(os.path.join(folder, "compile_commands.json"), "w", encoding="utf-8") as file:
        json.dump(list(sources.values()), file)
    return sorted(sources)


def check(path, folder):
    """Problems of one file."""
    result = subprocess.run(["clang-tidy-14", "-p", folder, "--quiet", "--warnings-as-errors=*",
                             "--extra-arg=-Wno-unknown-warning-option", path],
                            cwd=files.ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            text=True, check=False)
    if result.returncode == 0:
        return []
    lines = (result.stdout or result.stderr).replace(files.ROOT + "/", "").splitlines()
    return [line for line in lines if re.search(r": (error|warning): ", line)] or lines[:20]


def main():
    report = Report()
    with tempfile.TemporaryDirectory() as folder:
        sources = compilation_database(sys.argv[1], folder)
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            results = pool.map(lambda path: check(path, folder), sources)
            for path, problems in zip(sources, results):
                report.point(os.path.relpath(path, files.ROOT), problems)
    return report.done()


if __name__ == "__main__":
    sys.exit(main())
