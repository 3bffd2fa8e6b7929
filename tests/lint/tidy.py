#!/usr/bin/python3
"""tidy.py - rules of the house that no compiler checks.

    tidy.py BUILD_DIR          (for compile_commands.json: what is compiled at all)

Each rule is one point: sizes of functions and files, titles, documentation of declarations, names,
left-over markers, files that nothing uses.
"""

import json
import os
import re
import sys

import declarations
import files
from report import Report

FUNCTION_LINES_MAX = 70
PARAMETERS_MAX = 6  # 5 is the aim; an operation that mirrors a system call may need one more
FILE_LINES_MAX = 800
# Split, so that this file does not find itself.
MARKERS = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK")) + r")\b")


def functions(text):
    """(name, first line, last line, parameters) of every function that starts in column 0."""
    lines = text.split("\n")
    for number, line in enumerate(lines):
        if line != "{":
            continue
        first = number
        while first > 0 and lines[first - 1] and not re.match(r"[}#/*]|.*[;{}]$|.*\*/$",
                                                              lines[first - 1]):
            first -= 1
        last = number
        while last + 1 < len(lines) and lines[last] != "}":
            last += 1
        head = re.sub(r"__attribute__\(\(.*?\)\)\)?", "", " ".join(lines[first:number]))
        match = re.search(r"(\w+)\s*\((.*)\)\s*$", head)
        if match:
            yield match.group(1), first, last, count_parameters(match.group(2))


def count_parameters(text):
    """Parameters in the text between the brackets."""
    if text.strip() in ("", "void"):
        return 0
    depth, count = 0, 1
    for char in text:
        depth += (char == "(") - (char == ")")
        count += char == "," and depth == 0
    return count


def long_functions():
    for path in files.sources(".c", ".h"):
        for name, first, last, _ in functions(files.read(path)):
            if last - first + 1 > FUNCTION_LINES_MAX:
                yield "%s:%d: %s has %d lines" % (path, first + 1, name, last - first + 1)


def wide_functions():
    for path in files.sources(".c", ".h"):
        for name, first, _, parameters in functions(files.read(path)):
            if parameters > PARAMETERS_MAX:
                yield "%s:%d: %s has %d parameters" % (path, first + 1, name, parameters)


def long_files():
    for path in files.sources(".c", ".h", ".py", ".sh"):
        lines = files.read(path).count("\n")
        if lines > FILE_LINES_MAX:
            yield "%s has %d lines" % (path, lines)


def missing_titles():
    for path in files.sources(".c", ".h"):
        name = os.path.basename(path)
        if not re.match(r"/\* (\S+/)?%s - \S" % re.escape(name), files.read(path)):
            yield "%s: does not begin with \"/* %s - what it is\"" % (path, name)


def left_over_markers():
    for path in files.walk():
        if not path.endswith((".c", ".h", ".py", ".sh", ".md", ".build", ".txt")) and \
                os.path.basename(path) not in ("Makefile", "run"):
            continue
        for number, line in enumerate(files.read(path).split("\n")):
            if MARKERS.search(line):
                yield "%s:%d: %s" % (path, number + 1, line.strip())


def is_built_by_a_test(path):
    """A library that a pytest module beside it compiles and preloads."""
    folder, name = os.path.split(path)
    stem = os.path.splitext(name)[0]
    return any(stem in files.read(p) for p in files.walk()
               if os.path.dirname(p) == folder and p.endswith(".py"))


def dead_sources(build):
    with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as file:
        compiled = {os.path.realpath(os.path.join(c["directory"], c["file"]))
                    for c in json.load(file)}
    recipes = {p: files.read(p) for p in files.walk() if os.path.basename(p) == "meson.build"}
    for path in files.sources(".c"):
        if os.path.realpath(os.path.join(files.ROOT, path)) in compiled:
            continue
        name = os.path.basename(path)
        if any(name in text for text in recipes.values()) or is_built_by_a_test(path):
            continue
        yield "%s: not compiled and in no meson.build" % path


def dead_headers():
    included = set()
    for path in files.sources(".c", ".h"):
        for name in re.findall(r'#\s*include\s*["<]([^">]+)[">]', files.read(path)):
            included.add(name)
            included.add(os.path.normpath(os.path.join(os.path.dirname(path), name)))
    for path in files.sources(".h"):
        short = re.sub(r"^(src|include)/", "", path)
        if path not in included and short not in included and \
                not path.startswith("include/"):
            yield "%s: nobody includes it" % path


def undocumented():
    for path in files.sources(".h"):
        if not path.startswith(("include/", "src/")):
            continue
        for line, text in declarations.undocumented(files.read(path),
                                                     path.startswith("include/")):
            yield "%s:%d: no comment: %s" % (path, line, text)


def misnamed():
    """al_ crosses rooms, ali_ crosses files inside one, static has no prefix (HACKING)."""
    for path in files.sources(".h"):
        if not path.startswith(("include/", "src/")):
            continue
        for line, name in declarations.function_names(files.read(path)):
            if not name.startswith(("al_", "ali_")):
                yield "%s:%d: %s has no prefix al_ or ali_" % (path, line, name)
            if path.startswith("include/") and name.startswith("ali_"):
                yield "%s:%d: %s is internal but public" % (path, line, name)


def main():
    report = Report()
    report.point("functions have at most %d lines" % FUNCTION_LINES_MAX, list(long_functions()))
    report.point("functions have at most %d parameters" % PARAMETERS_MAX, list(wide_functions()))
    report.point("files have at most %d lines" % FILE_LINES_MAX, list(long_files()))
    report.point("every source file opens with its title", list(missing_titles()))
    report.point("no left-over markers", list(left_over_markers()))
    report.point("every source is compiled", list(dead_sources(sys.argv[1])))
    report.point("every header is included", list(dead_headers()))
    report.point("every declaration in a header is documented", list(undocumented()))
    report.point("names tell who may call", list(misnamed()))
    return report.done()


if __name__ == "__main__":
    sys.exit(main())
