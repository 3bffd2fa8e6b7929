"""Runs a node under strace and reads the trace: what was written and flushed before what was sent.

strace runs with -D, so that agentlinkd stays our own child and can be killed by its pid."""
import re
import shutil

import pytest

WRITES = ("pwrite64", "pwritev", "pwritev2", "write", "writev")
FLUSHES = ("fdatasync", "fsync", "sync_file_range")
SENDS = ("sendto", "sendmsg", "write", "writev")
RECEIPT, REFUSED, ACKED = 0x17, 0x18, 0x27

needs_strace = pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")


def wrapper(path, *inject, preload=None):
    """The command in front of agentlinkd. inject: for instance "fdatasync:error=EIO:when=3";
    preload: a library for the node."""
    calls = ",".join(sorted(set(WRITES + FLUSHES + SENDS + ("openat",))))
    command = ["strace", "-D", "-f", "-y", "-xx", "-s", "20000", "-o", str(path),
               "-e", "trace=" + calls]
    for rule in inject:
        command += ["-e", "inject=" + rule]
    if preload:
        command += ["-E", f"LD_PRELOAD={preload}"]
    return command


_LINE = re.compile(r"^(\d+) +(?:<\.\.\. (\w+) resumed>(.*)|(\w+)\((.*))$", re.S)
_FD = re.compile(r"(\d+)<((?:[^<>]|<[^>]*>)*)>")


class Event:
    """The beginning or the end of a system call, in the order in which they happened. `synced`:
    the file was opened with O_DSYNC, a write that has returned is on disk."""

    __slots__ = ("index", "tid", "call", "fd", "path", "text", "begins", "ends", "result",
                 "injected", "synced")

    def __init__(self, index, tid, call, text):
        self.index, self.tid, self.call, self.text = index, tid, call, text
        self.begins = self.ends = self.injected = self.synced = False
        self.result, self.fd, self.path = None, None, ""
        found = _FD.match(text)
        if found:
            self.fd, self.path = int(found.group(1)), unescape(found.group(2))

    def is_socket(self):
        return self.path.startswith(("socket:", "UNIX", "unix")) or "SOCK" in self.path


def unescape(text):
    return re.sub(r"\\x([0-9a-f]{2})", lambda m: chr(int(m.group(1), 16)), text)


def data_of(text):
    """The bytes in the quoted strings of a call, one behind the other."""
    return b"".join(bytes.fromhex(part.replace("\\x", ""))
                    for part in re.findall(r'"((?:\\x[0-9a-f]{2})*)"', text))


def read(path):
    """Events of a trace. A call that no other thread interrupted begins and ends in one event."""
    events, open_calls, synced = [], {}, {}
    with open(path, errors="replace") as trace:
        for index, line in enumerate(trace):
            found = _LINE.match(line.rstrip("\n"))
            if not found:
                continue
            tid, resumed, rest, call, text = found.groups()
            if resumed:
                begin = open_calls.pop(tid, None)
                if begin is None:
                    continue
                event = Event(index, tid, resumed, begin.text)
                event.fd, event.path = begin.fd, begin.path
                tail = rest
            else:
                event = Event(index, tid, call, text)
                event.begins = True
                tail = text
            if tail.endswith("<unfinished ...>"):
                open_calls[tid] = event
            else:
                event.ends = True
                value = re.search(r"\) += (-?\d+)(.*)$", tail)
                event.result = int(value.group(1)) if value else None
                event.injected = "(INJECTED)" in tail
            if event.ends and event.call == "openat" and event.result is not None:
                synced[event.result] = "O_DSYNC" in event.text
            event.synced = synced.get(event.fd, False) and not event.is_socket()
            events.append(event)
    return events


def frames(data):
    """(type, body) of the whole frames in data that begins with one."""
    at, out = 0, []
    while len(data) - at >= 8:
        length = int.from_bytes(data[at:at + 4], "little")
        if data[at + 5:at + 8] != b"\0\0\0" or len(data) - at - 8 < length:
            break
        out.append((data[at + 4], data[at + 8:at + 8 + length]))
        at += 8 + length
    return out
