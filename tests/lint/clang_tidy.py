#!/usr/bin/python3
"""clang_tidy.py - clang-tidy over every compiled source file; one point per file.

    clang_tidy.py BUILD_DIR

Which checks are on stands in .clang-tidy. A file that was clean is not looked at again while
nothing that it is made of has changed: what the preprocessor makes of it, the checks, the tool. That
is remembered in AL_LINT_CACHE (default: ~/.cache/agentlink-lint), as empty files.
"""

import hashlib
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

import files
from report import Report

# What gcc takes and clang 14 does not know.
GCC_ONLY = re.compile(r" -f(?:stack-clash-protection|cf-protection=full)(?= )")


def compilation_database(build, folder):
    """A copy of the build's commands that clang understands; returns them by source file."""
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
    return sources


def cache_folder():
    """Where clean files are remembered; None if that is nowhere."""
    folder = os.environ.get("AL_LINT_CACHE") or os.path.expanduser("~/.cache/agentlink-lint")
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError:
        return None
    return folder


def fingerprint(command, salt):
    """A name for everything that the checks of one file can depend on; None if it is not known."""
    words = shlex.split(command["command"])
    words = [w for i, w in enumerate(words) if w not in ("-o", "-c") and words[i - 1] != "-o"]
    result = subprocess.run(["clang-14", "-E", "-dD", "-C", *words[1:]], cwd=command["directory"],
                            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    if result.returncode:
        return None
    text = salt + shlex.join(words).encode() + result.stdout
    for root in (files.ROOT, os.path.relpath(files.ROOT, command["directory"])):
        text = text.replace(root.encode() + b"/", b"")  # so that another clone knows it too
    return hashlib.sha256(text).hexdigest()


def check_once(command, folder, cache, salt):
    """Problems of one file, unless it is known to be clean."""
    name = cache and fingerprint(command, salt)
    mark = name and os.path.join(cache, name)
    if mark and os.path.exists(mark):
        return []
    problems = check(os.path.join(command["directory"], command["file"]), folder)
    if mark and not problems and os.access(cache, os.W_OK):
        with open(mark, "wb"):
            pass
    return problems


def check(path, folder):
    """Problems of one file."""
    result = subprocess.run(["clang-tidy-14", "-p", folder, "--quiet", "--warnings-as-errors=*",
                             "--extra-arg=-Wno-unknown-warning-option",
                             # clang 14 wants to be told twice what gcc takes at once
                             "--extra-arg=-enable-trivial-auto-var-init-zero-knowing-it-will-be-"
                             "removed-from-clang", path],
                            cwd=files.ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            text=True, check=False)
    if result.returncode == 0:
        return []
    lines = (result.stdout or result.stderr).replace(files.ROOT + "/", "").splitlines()
    return [line for line in lines if re.search(r": (error|warning): ", line)] or lines[:20]


def main():
    report = Report()
    with tempfile.TemporaryDirectory() as folder:
        commands = compilation_database(sys.argv[1], folder)
        sources, cache = sorted(commands), cache_folder()
        salt = files.read(".clang-tidy").encode() + subprocess.run(
            ["clang-tidy-14", "--version"], stdout=subprocess.PIPE, check=True).stdout
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            results = pool.map(lambda path: check_once(commands[path], folder, cache, salt), sources)
            for path, problems in zip(sources, results):
                report.point(os.path.relpath(path, files.ROOT), problems)
    return report.done()


if __name__ == "__main__":
    sys.exit(main())
