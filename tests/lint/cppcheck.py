#!/usr/bin/python3
"""cppcheck.py - cppcheck over the sources; warnings, performance and portability findings fail.

    cppcheck.py
"""

import os
import subprocess
import sys

import files
from report import Report

SUPPRESS = [
    "missingIncludeSystem",
    "unmatchedSuppression",
    "preprocessorErrorDirective",  # other byte orders
    "pointerSize",  # memcpy(&pointer, from, sizeof(pointer)) is meant
]


def main():
    report = Report()
    command = ["cppcheck", "--quiet", "--std=c11", "--language=c", "--inline-suppr",
               "--enable=warning,performance,portability", "--error-exitcode=1",
               "--template={file}:{line}: {severity}: {message} [{id}]", "-Iinclude", "-Isrc",
               "-D_GNU_SOURCE", "-D__x86_64__", "-D__BYTE_ORDER__=1234",
               "-D__ORDER_LITTLE_ENDIAN__=1234", "-j", str(os.cpu_count() or 1)]
    command += ["--suppress=" + name for name in SUPPRESS]
    sources = [f for f in files.sources(".c") if f.startswith(("src/", "sim/", "bench/", "fuzz/"))]
    result = subprocess.run(command + sources, cwd=files.ROOT, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, check=False)
    report.point("cppcheck over %d files" % len(sources),
                 result.stdout.splitlines() or ["exit code %d" % result.returncode]
                 if result.returncode else [])
    return report.done()


if __name__ == "__main__":
    sys.exit(main())
