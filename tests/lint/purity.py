#!/usr/bin/python3
"""purity.py - the pure rooms use only what they may: layering and purity, proven from symbols.

    purity.py ROOM=ARCHIVE...

A pure room makes no system call, reads no clock, draws no randomness, takes no memory but from the
injected allocator. So the undefined symbols of its archive are few: a stray malloc, socket or
clock_gettime shows up here. Symbols of other rooms are allowed only downwards.
"""

import re
import subprocess
import sys

from report import Report

# What the compiler makes of plain C: copies, comparisons, assertions, stack and processor checks.
PLAIN = {
    "memcpy", "memmove", "memset", "memcmp", "memchr", "strlen", "strcmp", "strncmp", "strchr",
    "__memcpy_chk", "__memmove_chk", "__memset_chk", "__strcpy_chk", "__strncpy_chk",
    "__assert_fail", "__stack_chk_fail", "__cpu_model", "_GLOBAL_OFFSET_TABLE_",
}
# Formatting numbers into a caller's buffer is pure too.
FORMAT = {"snprintf", "vsnprintf", "__snprintf_chk", "__vsnprintf_chk"}

# room: (rooms below it that it may use, further symbols as a pattern)
ROOMS = {
    "base": ((), None),
    "wire": (("base",), None),
    "crypto": (("base",), r"crypto_\w+|sodium_\w+"),
    "core": (("base", "wire", "crypto"), None),
    "store": (("base", "crypto"), r"pthread_(mutex|cond)_\w+"),
}


def symbols(archive, options):
    """Names that nm prints for an archive."""
    result = subprocess.run(["nm", "-P"] + options + [archive], check=True, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return {line.split()[0] for line in result.stdout.splitlines()
            if len(line.split()) >= 2 and not line.rstrip().endswith(":")}


def strangers(room, undefined, defined):
    """Problems of one room."""
    below, pattern = ROOMS[room]
    for name in sorted(undefined[room] - defined[room]):
        owner = next((r for r in defined if name in defined[r]), None)
        if owner in below:
            if name.startswith("ali_"):
                yield "%s uses %s, which is internal to %s" % (room, name, owner)
        elif owner:
            yield "%s uses %s of %s, which stands above it" % (room, name, owner)
        elif name not in PLAIN | FORMAT and not (pattern and re.fullmatch(pattern, name)):
            yield "%s uses %s" % (room, name)


def misnamed(defined):
    """Global symbols without the prefix of the house."""
    return [name for name in sorted(defined) if not name.startswith(("al_", "ali_"))]


def main():
    archives = dict(argument.split("=", 1) for argument in sys.argv[1:])
    undefined = {room: symbols(path, ["-u"]) for room, path in archives.items()}
    defined = {room: symbols(path, ["-g", "--defined-only"]) for room, path in archives.items()}
    report = Report()
    for room in archives:
        report.point("%s is pure" % room, list(strangers(room, undefined, defined)))
        report.point("%s defines al_ and ali_ names only" % room, misnamed(defined[room]))
        report.point("%s is not empty" % room, [] if defined[room] else ["no symbols found"])
    return report.done()


if __name__ == "__main__":
    sys.exit(main())
