#!/usr/bin/python3
"""Writes the golden vectors and the worked example of protocol.md from the Python codec.

    make_vectors.py            writes vectors/*.json and the example
    make_vectors.py --check    exit 1 if a file would change

Vectors are golden: once released they are only ever added to. A vector has the message's name, its
fields, and the whole frame in hex. u64 values are decimal strings (JSON readers lose bits above
2^53), ids and bytes are hex. vectors/invalid.json holds frames and bodies that must be refused.
"""
import json
import pathlib
import sys
import uuid

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import agentlink as al  # noqa: E402

PROTOCOL = HERE.parent.parent / "docs" / "spec" / "protocol.md"
FAMILIES = {"session": range(0x01, 0x10), "publish": range(0x10, 0x20),
            "deliver": range(0x20, 0x30), "end": range(0x30, 0x40), "query": range(0x40, 0x60),
            "once": range(0x60, 0x68),
            "schedule": range(0x80, 0x85),
            "reply": range(0x85, 0x8c),
            "gaps": range(0x68, 0x70),
            "group": range(0x70, 0x80),
            "workflow": range(0x8c, 0x90),
            "acl": range(0xa0, 0xa8),
            "identity": range(0xa8, 0xb0)}


def counting(fields):
    """Every field another value, so that no two of them can be swapped unseen."""
    values, n = {}, 0
    for field, kind in fields:
        n += 1
        if kind == "str":
            values[field] = f"{field}-{n}"
        elif kind == "bytes":
            values[field] = bytes(range(n, n + 5))
        elif kind == "id":
            values[field] = bytes((n * 16 + i) & 0xFF for i in range(16))
        else:
            size = int(kind[1:]) // 8
            values[field] = int.from_bytes(bytes(0x10 * n + i & 0xFF for i in range(size)), "big")
    return values


def highest(fields):
    """The largest value of every field (texts of 255 bytes; byte fields stay short)."""
    values = {}
    for field, kind in fields:
        values[field] = {"str": "é" * 127 + "z", "bytes": b"\xff" * 300,
                         "id": b"\xff" * 16}.get(kind)
        if values[field] is None:
            values[field] = (1 << int(kind[1:])) - 1
    return values


def as_json(fields, values):
    out = {}
    for field, kind in fields:
        value = values.get(field)
        if kind in ("id", "bytes"):
            value = bytes(value if value is not None else (16 if kind == "id" else b"")).hex()
        elif kind == "str":
            value = value or ""
        else:
            value = str(value or 0) if kind == "u64" else value or 0
        out[field] = value
    return out


def from_json(fields, values):
    out = {}
    for field, kind in fields:
        value = values[field]
        out[field] = (bytes.fromhex(value) if kind in ("id", "bytes") else
                      int(value) if kind == "u64" else value)
    return out


def frame(name, values):
    """The frame; ENVELOPE and ATTEMPT have no number: just the body."""
    number = al.MESSAGES[name][0]
    body = al.encode_body(name, values)
    return al.HEADER.pack(len(body), number, 0, 0) + body if number else body


def vector(name, what, values):
    return {"message": name, "what": what,
            "fields": as_json(al.MESSAGES[name][1], values), "hex": frame(name, values).hex()}


def valid():
    files = {}
    for name, (number, fields) in al.MESSAGES.items():
        family = next((f for f, r in FAMILIES.items() if number in r), "inner")
        rows = files.setdefault(family, [])
        rows.append(vector(name, "zeros", {}))
        rows.append(vector(name, "counting", counting(fields)))
        rows.append(vector(name, "highest", highest(fields)))
    return files


def invalid():
    """Frames that a decoder must refuse, with the reason."""
    ping = al.encode("PING", token=7)
    hello = al.encode("HELLO", magic=al.MAGIC, version_min=1, version_max=1,
                      instance=b"\x11" * 16, client="x")

    def row(what, data, error):
        return {"what": what, "hex": bytes(data).hex(), "error": error}

    def framed(number, body, flags=0, reserved=0):
        return al.HEADER.pack(len(body), number, flags, reserved) + body

    rows = [
        row("type 0", framed(0, b""), "PROTOCOL"),
        row("unknown type 0x7f", framed(0x7F, b"12345678"), "PROTOCOL"),
        row("unknown type 0xff", framed(0xFF, b""), "PROTOCOL"),
        row("flag MORE", framed(0x03, ping[8:], flags=1), "PROTOCOL"),
        row("flag 0x80", framed(0x03, ping[8:], flags=0x80), "PROTOCOL"),
        row("reserved 1", framed(0x03, ping[8:], reserved=1), "PROTOCOL"),
        row("reserved 0x8000", framed(0x03, ping[8:], reserved=0x8000), "PROTOCOL"),
        row("body one over the limit", al.HEADER.pack(16830465, 0x16, 0, 0), "TOO_LARGE"),
        row("body of 4 GiB - 1", al.HEADER.pack(0xFFFFFFFF, 0x16, 0, 0), "TOO_LARGE"),
        row("empty PING", framed(0x03, b""), "PROTOCOL"),
        row("empty HELLO", framed(0x01, b""), "PROTOCOL"),
        row("HELLO, text cut by one byte", framed(0x01, hello[8:-1]), "PROTOCOL"),
        row("PING, half an optional field", framed(0x03, ping[8:] + b"\x01\x00\x05"), "PROTOCOL"),
        row("PING, optional field too long", framed(0x03, ping[8:] + b"\x01\x00\x05\x00abcd"),
            "PROTOCOL"),
        row("PUBLISH, envelope length beyond the body",
            framed(0x16, al.encode("PUBLISH", channel=1, pseq=1)[8:-4] + b"\x01\x00\x00\x00"),
            "PROTOCOL"),
        row("PUBLISH, envelope length 4 GiB - 1",
            framed(0x16, al.encode("PUBLISH", channel=1, pseq=1)[8:-4] + b"\xff" * 4 + b"abc"),
            "PROTOCOL"),
    ]
    for name in ("DELIVER", "ACK", "ATTACH", "RECORD", "DLQ_ROW", "STATUS"):
        number, fields = al.MESSAGES[name]
        body = al.encode_body(name, counting(fields))
        for cut in (1, len(body) // 2, len(body) - 1):
            rows.append(row(f"{name}, {cut} bytes short", framed(number, body[:-cut]), "PROTOCOL"))
    return rows


def accepted():
    """Frames with optional fields behind the body: accepted, the fields skipped."""
    rows = []
    for tail in (b"\x01\x00\x00\x00", b"\xfe\xff\x03\x00abc" + b"\x01\x00\x00\x00"):
        body = al.encode_body("PING", {"token": 9}) + tail
        rows.append({"message": "PING", "what": f"optional fields {tail.hex()}",
                     "fields": {"token": "9"},
                     "hex": (al.HEADER.pack(len(body), 0x03, 0, 0) + body).hex()})
    return rows


def files():
    out = {f"{name}.json": rows for name, rows in valid().items()}
    out["optional.json"] = accepted()
    out["invalid.json"] = invalid()
    return {HERE / "vectors" / name: json.dumps(rows, indent=1, ensure_ascii=False) + "\n"
            for name, rows in out.items()}


# --- the worked example ------------------------------------------------------------------------

def example_frames():
    """(direction, message, values, remark), one connection that sends and receives."""
    when, message = 1767225600000, uuid.UUID("00112233-4455-4677-8899-aabbccddeeff").bytes
    body = al.encode_body("ENVELOPE", {"message_id": message, "timestamp_ms": when,
                                       "kind": "greeting", "payload": b"hi"})
    return [
        (">", "HELLO", dict(magic=al.MAGIC, version_min=1, version_max=1,
                            instance=bytes(range(0xA0, 0xB0)), client="example"), ""),
        ("<", "WELCOME", dict(version=1, node_epoch=3, payload_max=1 << 20, publish_window=65536,
                              credit_max=65536, uid=1000, node="node"), ""),
        (">", "ATTACH", dict(request=1, credit=16, credit_bytes=65536, agent="bob"),
         "creates bob and receives for it"),
        ("<", "ATTACHED", dict(request=1, agent=1), "bob is number 1"),
        (">", "PRODUCER_OPEN", dict(request=2), ""),
        ("<", "PRODUCER_READY", dict(request=2, producer=1, epoch=1), ""),
        (">", "CHANNEL_OPEN", {"channel": 1, "producer": 1, "first_pseq": 1, "priority": 4,
                               "from": "ann", "to": "bob"}, ""),
        ("<", "CHANNEL_READY", dict(channel=1, stream=1), "stream 1, nothing taken yet"),
        (">", "PUBLISH", dict(channel=1, pseq=1, flags=al.NOTIFY, envelope=body),
         "asks to be told the end"),
        ("<", "RECEIPT", dict(channel=1, pseq=1, count=1, stream=1, seq=1, durability=1),
         "it is on disk"),
        ("<", "DELIVER", {"agent": 1, "stream": 1, "seq": 1, "lease": 0x300000001,
                          "lease_ms": 5000, "attempt": 1, "priority": 4, "admitted_ms": when + 1,
                          "from": "ann", "envelope": body}, ""),
        (">", "ACK", dict(agent=1, stream=1, seq=1, lease=0x300000001, status=al.SUCCESS,
                          response_type="text/plain", response=b"hello ann"), "done, with a reply"),
        ("<", "ACKED", dict(agent=1, stream=1, seq=1, count=1, last_seq=1),
         "bob may forget it"),
        ("<", "END", dict(message_id=message, stream=1, seq=1, state=al.DELIVERED, attempts=1,
                          end_ms=when + 2, response_type="text/plain", response=b"hello ann"),
         "ann has the reply"),
        (">", "GOODBYE", {}, ""),
        ("<", "GOODBYE", {}, "the node closes"),
    ]


def example_text():
    lines = ["```"]
    for direction, name, values, remark in example_frames():
        shown = ", ".join(f"{k}={_show(k, v)}" for k, v in values.items())
        lines.append(f"{direction} {name}  {shown}" + (f"   ; {remark}" if remark else ""))
        data = frame(name, values)
        chunks = [data[:8]] + [data[i:i + 24] for i in range(8, len(data), 24)]
        lines += ["    " + " ".join(f"{b:02x}" for b in chunk) for chunk in chunks]
    return "\n".join(lines + ["```"])


def _show(field, value):
    if isinstance(value, bytes):
        return {"message_id": "00112233-…", "instance": "a0a1…af", "envelope": "{…}"}.get(
            field, repr(value)[1:].replace("'", '"'))
    return f'"{value}"' if isinstance(value, str) else hex(value) if value > 1 << 32 and \
        field == "lease" else str(value)


def main():
    check = "--check" in sys.argv[1:]
    todo = files()
    doc = PROTOCOL.read_text()
    head, rest = doc.split("<!-- example -->\n", 1)
    tail = rest.split("<!-- /example -->", 1)[1]
    todo[PROTOCOL] = f"{head}<!-- example -->\n\n{example_text()}\n\n<!-- /example -->{tail}"
    stale = [p for p, text in todo.items() if not p.exists() or p.read_text() != text]
    for path in stale:
        print(("stale: " if check else "wrote ") + str(path.relative_to(HERE.parent.parent)))
        if not check:
            path.write_text(todo[path])
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
