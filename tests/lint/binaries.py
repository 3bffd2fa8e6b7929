#!/usr/bin/python3
"""binaries.py - what was built is what was meant: hardening, libraries, exported symbols.

    binaries.py BUILD_DIR
"""

import glob
import json
import os
import platform
import re
import subprocess
import sys

import declarations
import files
from report import Report

PROGRAMS = ("agentlinkd", "agentlink", "al_sim", "al_bench")
# Only these may be loaded (design: Debian packages by name, each for a reason).
LIBRARIES = re.compile(r"(libc|libm|libsodium|libjansson|libssl|libcrypto|libagentlink|ld-linux-x86-64)\.so\b.*")


def run(*command):
    """Output of a tool."""
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout


def find_program(build, name):
    """Path of a program in the build directory, or None."""
    for pattern in ("src/*/%s", "sim/%s", "bench/%s"):
        for path in glob.glob(os.path.join(build, pattern % name)):
            if os.path.isfile(path) and os.access(path, os.X_OK):
                return path
    return None


def hardening(path):
    """What protection is missing in a program or shared library."""
    dynamic, segments = run("readelf", "-Wd", path), run("readelf", "-Wl", path)
    symbols = run("nm", "-D", "--undefined-only", path)
    if "DYN (" not in run("readelf", "-Wh", path):
        yield "not position-independent"
    if "BIND_NOW" not in dynamic and not re.search(r"FLAGS_1.*\bNOW\b", dynamic):
        yield "symbols are bound lazily"
    if "GNU_RELRO" not in segments:
        yield "no read-only relocations"
    if re.search(r"GNU_STACK.*\bRWE\b", segments):
        yield "executable stack"
    if "__stack_chk_fail" not in symbols:
        yield "no stack protector"
    if not re.search(r"__\w+_chk\b", symbols.replace("__stack_chk_fail", "")):
        yield "no fortified calls"
    if re.search(r"^\s*LOAD\b.*\bRWE\b", segments, re.M):
        yield "a segment is writable and executable"
    if re.search(r"\((RPATH|RUNPATH)\).*\[(?!\$ORIGIN)", dynamic):
        yield "looks for libraries in a fixed directory"
    if "TEXTREL" in dynamic:
        yield "text relocations"
    if platform.machine() == "x86_64" and "endbr64" not in run("objdump", "-d", "-j", ".text", path):
        yield "no marks for indirect jumps"


# What leaves no trace in a program: the compiler was given it for every file.
FLAGS = ("-fstack-clash-protection", "-fstack-protector-strong", "-ftrivial-auto-var-init=zero",
         "-fno-delete-null-pointer-checks", "-fno-strict-overflow", "-D_FORTIFY_SOURCE=3")


def without_flags(build):
    """Files of the product that were compiled without one of the flags."""
    with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as file:
        commands = json.load(file)
    for entry in commands:
        if "/src/" in entry["file"].replace("..", ""):
            words = entry["command"].split()
            for flag in FLAGS:
                if flag not in words:
                    yield "%s: no %s" % (entry["file"], flag)


def libraries(path):
    """Shared libraries that nobody agreed to."""
    for name in re.findall(r"\(NEEDED\).*\[(.*)\]", run("readelf", "-Wd", path)):
        if not LIBRARIES.fullmatch(name):
            yield "loads " + name


def public_functions():
    """Functions that the public headers promise."""
    names = set()
    for path in files.sources(".h"):
        if path.startswith("include/"):
            names |= {name for _, name in declarations.function_names(files.read(path))
                      if name != "__attribute__"}
    return names


def exports(path):
    """Differences between what the library exports and what the headers promise."""
    exported = {}
    for line in run("nm", "-D", "--defined-only", path).splitlines():
        kind, name = line.split()[-2:]
        if kind != "A":  # version names
            exported[name.split("@")[0]] = name
    for name in sorted(exported):
        if "@@" not in exported[name]:
            yield "%s has no version" % name
        if name not in public_functions():
            yield "%s is exported but in no public header" % name
    for name in sorted(public_functions() - set(exported)):
        yield "%s is in a public header but not exported" % name


def main():
    build = sys.argv[1]
    report = Report()
    report.point("every file is compiled hardened", list(without_flags(build)))
    for name in PROGRAMS:
        path = find_program(build, name)
        report.point("%s is built" % name, [] if path else ["not found in " + build])
        if path:
            report.point("%s is hardened" % name, list(hardening(path)))
            report.point("%s loads known libraries only" % name, list(libraries(path)))
    shared = [p for p in glob.glob(os.path.join(build, "src/*/libagentlink.so*"))
              if os.path.isfile(p) and not os.path.islink(p) and not p.endswith(".symbols")]
    report.point("libagentlink.so is built", [] if shared else ["not found"])
    for path in shared:
        report.point("the library is hardened", list(hardening(path)))
        report.point("the library loads known libraries only", list(libraries(path)))
        report.point("the library exports what its headers promise", list(exports(path)))
    return report.done()


if __name__ == "__main__":
    sys.exit(main())
