"""Links over TLS, section 20 of protocol.md: Python's own ssl, and a client that shares no code."""
import base64
import hashlib
import os
import select
import socket
import ssl
import subprocess
import time

import agentlink as al
import pytest
from node import Node, program


class TlsConnection(al.Connection):
    """A Connection over TLS 1.3: identity is a directory with key, certificate and authorities."""

    def __init__(self, address, identity=None, authorities=None, alpn="agentlink/1", hello=True):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname = False  # the identity is the name, not the host
        context.load_verify_locations(authorities or identity / "authorities.pem")
        context.set_alpn_protocols([alpn])
        if identity:
            context.load_cert_chain(identity / "certificate.pem", identity / "key.pem")
        self.instance = os.urandom(16)
        self.inbox, self.eof, self.requests, self.waiting = bytearray(), False, 0, []
        self.sock = context.wrap_socket(socket.create_connection(address, timeout=20))
        self.poll = select.poll()
        self.poll.register(self.sock, select.POLLIN)
        if hello:
            self.hello()

    def fill(self, timeout):
        if not self.sock.pending() and not self.poll.poll(max(0, timeout) * 1000):
            return False
        try:
            data = self.sock.recv(1 << 18)
        except OSError as error:
            raise al.Closed(str(error)) from error
        if not data:
            raise al.Closed("end of stream")
        self.inbox += data
        return True


@pytest.fixture(name="far")
def far_fixture(tmp_path):
    """A node that takes links, where the agent `worker` has joined: (node, address, identity)."""
    node = Node(args=["--listen", "tls:127.0.0.1:0"])
    try:
        node.start()
        token = subprocess.run(
            [program("agentlink"), "--node", "unix:" + node.socket, "identity", "new", "worker"],
            capture_output=True, text=True, timeout=30, check=True).stdout.strip()
        subprocess.run([program("agentlink"), "--identity", str(tmp_path / "id"), "join", token],
                       capture_output=True, timeout=30, check=True)
        host, port = node.ready["listen"].removeprefix("tls:").rsplit(":", 1)
        yield node, (host, int(port)), tmp_path / "id"
    finally:
        node.cleanup()


def test_messages_go_both_ways(far):
    node, address, identity = far
    with al.Connection(node.socket) as near, TlsConnection(address, identity) as link:
        assert link.welcome["uid"] >= 1 << 31
        assert link.sock.version() == "TLSv1.3"
        near.add("boss")
        link.attach("worker")
        near.channel(1, near.producer()["producer"], "worker", "boss")
        near.publish(1, 1, b"to the other machine")
        assert near.expect("RECEIPT")["seq"] == 1
        delivery = link.expect("DELIVER")
        assert al.decode_body("ENVELOPE", delivery["envelope"])["payload"] == b"to the other machine"
        near.attach("boss")
        link.channel(1, link.producer()["producer"], "boss", "worker")
        for i in range(200):  # more than one record of TLS
            link.publish(1, i + 1, bytes([i]) * 5000)
        got = [al.decode_body("ENVELOPE", near.expect("DELIVER")["envelope"])["payload"]
               for _ in range(64)]
        assert got == [bytes([i]) * 5000 for i in range(64)]


def test_a_certificate_is_for_one_agent(far):
    node, address, identity = far
    with al.Connection(node.socket) as near, TlsConnection(address, identity) as link:
        near.add("boss")
        for attempt in (lambda: link.attach("boss"), lambda: link.attach("somebody"),
                        lambda: link.channel(1, link.producer()["producer"], "worker", "boss")):
            with pytest.raises(al.Refused) as refused:
                attempt()
            assert refused.value.code == "NOT_OWNER"


def test_joining_takes_nothing_but_join(far):
    _, address, identity = far
    link = TlsConnection(address, authorities=identity / "authorities.pem",
                         alpn="agentlink-join/1")
    with link:
        link.send("PING", token=1)
        with pytest.raises(al.Refused) as refused:
            link.expect("PONG")
        assert refused.value.code == "DENIED"


def test_a_token_of_our_own_is_used_once(far):
    """IDENTITY_NEW with the digest of a secret that this client made, then JOIN with a request."""
    node, address, identity = far
    secret = os.urandom(32)
    with al.Connection(node.socket) as near:
        near.send("IDENTITY_NEW", request=1, ttl_ms=60000, agent="other",
                  token=hashlib.blake2b(secret, digest_size=32).digest())
        ready = near.expect("IDENTITY_READY")
        assert ready["identity"].endswith("/default/agent/other")
        der = ssl.PEM_cert_to_DER_cert((identity / "authorities.pem").read_text())
        assert ready["authority"] == hashlib.sha256(der).digest()
    for expected in ("INVALID", "BAD_TOKEN"):  # a request that is none uses the token up
        with TlsConnection(address, authorities=identity / "authorities.pem",
                           alpn="agentlink-join/1") as link:
            link.send("JOIN", request=2, token=secret, key=b"", csr=b"no request")
            with pytest.raises(al.Refused) as refused:
                link.expect("CERTIFICATE")
            assert refused.value.code == expected


def test_the_text_of_a_token(far):
    node, address, identity = far
    text = subprocess.run(
        [program("agentlink"), "--node", "unix:" + node.socket, "identity", "new", "third"],
        capture_output=True, text=True, timeout=30, check=True).stdout.strip()
    assert text.startswith("al1")
    raw = base64.urlsafe_b64decode(text[3:] + "=" * (-len(text[3:]) % 4))
    der = ssl.PEM_cert_to_DER_cert((identity / "authorities.pem").read_text())
    assert raw[0] == 1 and raw[1:33] == hashlib.sha256(der).digest()
    assert raw[65:].decode() == f"{address[0]}:{address[1]}"


def test_revoking_ends_the_link_and_the_certificate(far):
    node, address, identity = far
    with al.Connection(node.socket) as near, TlsConnection(address, identity) as link:
        near.send("IDENTITY_REVOKE", request=1, flags=0, agent="worker")
        assert near.expect("DONE")["code"] == 0
        with pytest.raises(al.Refused) as refused:
            link.expect("PONG")
        assert refused.value.code == "REVOKED"
    again = TlsConnection(address, identity, hello=False)
    with again:
        with pytest.raises(al.Refused) as refused:
            again.hello()
        assert refused.value.code == "REVOKED"


def test_a_link_that_says_nothing_after_its_handshake_stays(far):
    """It is a client like any other: only strangers are in a hurry."""
    _, address, identity = far
    with TlsConnection(address, identity) as link:
        time.sleep(6)
        link.send("PING", token=7)
        assert link.expect("PONG")["token"] == 7
