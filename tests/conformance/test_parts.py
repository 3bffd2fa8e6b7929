"""Replies in parts: PART, REPLY_PART (protocol.md, section 8.5)."""
import agentlink as al


def part(pair, delivery, number, data, **values):
    values = {"agent": delivery["agent"], "stream": delivery["stream"], "seq": delivery["seq"],
              "lease": delivery["lease"], "attempt": delivery["lease"], **values}
    pair.receiver.send("PART", part=number, data=data, **values)


def expect_part(pair, number, data):
    came = pair.sender.expect("REPLY_PART")
    assert (came["part"], came["data"]) == (number, data)
    return came


def test_parts_are_passed_on_in_order(pair):
    pair.attach()
    pair.send(b"ask", flags=al.NOTIFY)
    delivery = pair.deliver()
    for number, data in enumerate((b"one", b"two", b"three"), 1):
        part(pair, delivery, number, data)
    for number, data in enumerate((b"one", b"two", b"three"), 1):
        came = expect_part(pair, number, data)
        assert came["message_id"] == delivery["message"]["message_id"]
        assert (came["stream"], came["seq"]) == (delivery["stream"], delivery["seq"])
        assert came["attempt"] == delivery["lease"]
    pair.receiver.ack(delivery)
    assert pair.sender.expect("END")["state"] == al.DELIVERED


def test_the_response_is_told_as_it_is(pair):
    pair.attach()
    pair.send(b"ask", flags=al.NOTIFY)
    delivery = pair.deliver()
    body = al.encode_body("PARTS", {"attempt": delivery["lease"], "count": 1,
                                    "parts": b"\x01\x00\x00\x00a", "response_type": "text/plain",
                                    "response": b"done"})
    pair.receiver.ack(delivery, response=body, response_type="application/vnd.agentlink.parts")
    end = pair.sender.expect("END")
    assert end["response"] == body
    assert end["response_type"] == "application/vnd.agentlink.parts"


def test_a_fenced_off_attempt_says_nothing(pair):
    pair.attach()
    pair.send(b"ask", flags=al.NOTIFY)
    delivery = pair.deliver()
    pair.receiver.nack(delivery)
    again = pair.deliver()
    part(pair, delivery, 1, b"late")
    refused = pair.receiver.expect("SETTLE_REFUSED")
    assert (refused["seq"], al.ERRORS[refused["code"]]) == (delivery["seq"], "LEASE_LOST")
    part(pair, again, 1, b"in time")
    expect_part(pair, 1, b"in time")


def test_limits_of_a_part(pair):
    pair.attach()
    pair.send(b"ask", flags=al.NOTIFY)
    delivery = pair.deliver()
    for number, data, code in ((0, b"x", "INVALID"), (1, b"", "INVALID"),
                               (1, bytes(65537), "TOO_LARGE"), (16385, b"x", "TOO_LARGE")):
        part(pair, delivery, number, data)
        assert al.ERRORS[pair.receiver.expect("SETTLE_REFUSED")["code"]] == code
    part(pair, delivery, 1, bytes(65536))
    expect_part(pair, 1, bytes(65536))


def test_nobody_is_told_who_did_not_ask(pair):
    pair.attach()
    pair.send(b"tell")
    delivery = pair.deliver()
    part(pair, delivery, 1, b"x")
    pair.receiver.ack(delivery)
    pair.receiver.expect("ACKED")
    assert [f for f in pair.sender.quiet(0.2) if f[0] == "REPLY_PART"] == []
