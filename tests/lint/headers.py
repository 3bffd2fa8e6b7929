#!/usr/bin/python3
"""headers.py - every header compiles alone as C; every public header also as C++.

    headers.py
"""

import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

import files
from report import Report

C_COMMAND = ["gcc", "-std=gnu17", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror",
             "-Wno-unused-function"]
CXX_COMMAND = ["g++", "-std=c++11", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]


def includes(path):
    """Where the headers that this one includes are looked for."""
    if path.startswith("include/"):
        return ["-Iinclude"]
    return ["-Iinclude", "-Isrc", "-I.", "-I" + os.path.dirname(path)]


def compile_alone(path, command, suffix):
    """Compiles a file that includes only this header, twice (guards); [] or the problem."""
    with tempfile.NamedTemporaryFile("w", suffix=suffix) as file:
        file.write('#include "%s"\n#include "%s"\n' % ((os.path.join(files.ROOT, path),) * 2))
        file.flush()
        result = subprocess.run(command + includes(path) + ["-fsyntax-only", file.name],
                                cwd=files.ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                text=True, check=False)
    return [] if result.returncode == 0 else [result.stdout]


def main():
    headers = files.sources(".h")
    work = [("%s alone" % h, h, C_COMMAND, ".c") for h in headers]
    work += [("%s as C++" % h, h, CXX_COMMAND, ".cc") for h in headers
             if h.startswith("include/")]
    report = Report()
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        results = pool.map(lambda job: compile_alone(*job[1:]), work)
        for job, problems in zip(work, results):
            report.point(job[0], problems)
    return report.done()


if __name__ == "__main__":
    sys.exit(main())
