#!/usr/bin/python3
"""docs.py - what the documents say about the tree is true: links, make targets, code, sizes.

    docs.py
"""

import os
import re
import subprocess
import sys

import files
from report import Report

README_LINES_MAX = 150


def documents():
    return [f for f in files.walk(".") if f.endswith(".md")]


def dead_links():
    """Relative links that lead nowhere; anchors that no heading makes."""
    for path in documents():
        text = files.read(path)
        for target in re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", text):
            if re.match(r"[a-z]+:", target):
                continue
            name, _, anchor = target.partition("#")
            other = os.path.normpath(os.path.join(os.path.dirname(path), name)) if name else path
            if not os.path.exists(os.path.join(files.ROOT, other)):
                yield "%s: %s is not there" % (path, target)
            elif anchor and anchor not in anchors(files.read(other)):
                yield "%s: no heading for #%s" % (path, anchor)


def anchors(text):
    """Anchors as Markdown renderers make them from headings."""
    for heading in re.findall(r"^#+ +(.*)$", text, re.MULTILINE):
        yield re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def named_files():
    """Paths in backquotes that look like files of the tree."""
    for path in documents():
        for name in re.findall(r"`((?:src|include|sim|tests|tools|fuzz|bench|docs)/[\w./-]+)`",
                               files.read(path)):
            if not os.path.exists(os.path.join(files.ROOT, name)):
                yield "%s: %s is not there" % (path, name)


def make_targets():
    """make TARGET in a document, without such a target in the Makefile."""
    targets = set(re.findall(r"^([a-z-]+):", files.read("Makefile"), re.MULTILINE))
    for path in documents():
        for name in re.findall(r"(?:^    |`)make ([a-z-]+)", files.read(path), re.MULTILINE):
            if name not in targets:
                yield "%s: make %s" % (path, name)


def c_blocks():
    """Blocks of C in the documents that do not compile against the public headers."""
    for path in documents():
        for number, block in enumerate(re.findall(r"^```c\n(.*?)^```", files.read(path),
                                                  re.MULTILINE | re.DOTALL)):
            if "#include" not in block:
                continue  # an excerpt
            result = subprocess.run(["gcc", "-std=gnu17", "-Wall", "-Wextra", "-Werror",
                                     "-Iinclude", "-fsyntax-only", "-x", "c", "-"],
                                    cwd=files.ROOT, input=block, text=True, check=False,
                                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            if result.returncode:
                yield "%s, block %d:\n%s" % (path, number + 1, result.stdout)


def readme_size():
    lines = files.read("README.md").count("\n")
    if lines > README_LINES_MAX:
        yield "README.md has %d lines" % lines


def main():
    report = Report()
    report.point("links lead somewhere", list(dead_links()))
    report.point("named files exist", list(named_files()))
    report.point("named make targets exist", list(make_targets()))
    report.point("C in the documents compiles", list(c_blocks()))
    report.point("README has at most %d lines" % README_LINES_MAX, list(readme_size()))
    return report.done()


if __name__ == "__main__":
    sys.exit(main())
