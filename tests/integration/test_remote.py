"""Agents on other machines: tokens, certificates, renewal, revocation, over real TLS on loopback."""
import json
import os
import socket
import ssl
import subprocess
import time

import pytest
from node import Node, program
from test_doc_examples import run_guide


@pytest.fixture(name="remote")
def remote_fixture():
    node = Node(args=["--listen", "tls:127.0.0.1:0"])
    try:
        yield node.start()
    finally:
        node.cleanup()


def url(node):
    return node.ready["listen"]


def address(node):
    host, port = url(node).removeprefix("tls:").rsplit(":", 1)
    return host, int(port)


def cli(node, *args, identity=None, remote=False, check=0, timeout=30):
    command = [program("agentlink"), "--node", url(node) if remote else "unix:" + node.socket]
    if identity:
        command += ["--identity", str(identity)]
    done = subprocess.run(command + list(args), capture_output=True, text=True, timeout=timeout,
                          check=False)
    if check is not None:
        assert done.returncode == check, done.stdout + done.stderr
    return done


def join(node, agent, directory, ttl="10m"):
    token = cli(node, "identity", "new", agent, "--ttl", ttl).stdout.strip()
    cli(node, "join", token, identity=directory)
    return token


def wait_for(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.02)


def logged(node, event):
    return [line for line in map(json.loads, node.log().splitlines()) if line["event"] == event]


def test_the_guide(remote, tmp_path):
    run_guide("remote", remote, tmp_path)


def test_keys_stay_private_and_out_of_the_log(remote, tmp_path):
    token = join(remote, "worker", tmp_path / "id")
    for directory in (tmp_path / "id", remote.data / "identity"):
        assert os.stat(directory).st_mode & 0o077 == 0
        for file in directory.iterdir():
            assert os.stat(file).st_mode & 0o077 == 0, file
    assert token not in remote.log()
    everything = b"".join(file.read_bytes() for file in remote.data.iterdir() if file.is_file())
    assert token.encode()[40:80] not in everything


def test_links_and_identities_survive_kill_9(remote, tmp_path):
    join(remote, "worker", tmp_path / "id")
    port = address(remote)[1]
    remote.kill()
    remote.args[-1] = f"tls:127.0.0.1:{port}"
    remote.start()
    cli(remote, "agents", "add", "boss")
    cli(remote, "send", "--as", "boss", "--to", "worker", "--data", "still you")
    got = cli(remote, "recv", "--as", "worker", "--count", "1", "--timeout", "20s",
              identity=tmp_path / "id", remote=True)
    assert "still you" in got.stdout


def test_a_receiver_ends_when_it_is_revoked(remote, tmp_path):
    join(remote, "worker", tmp_path / "id")
    receiver = subprocess.Popen(
        [program("agentlink"), "--node", url(remote), "--identity", str(tmp_path / "id"), "recv",
         "--as", "worker", "--timeout", "60s"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True)

    def links():
        return json.loads(cli(remote, "identity", "ls", "worker", "--json").stdout)["links"]

    try:
        wait_for(lambda: links() == 1)
        begin = time.monotonic()
        cli(remote, "identity", "revoke", "worker")
        _, errors = receiver.communicate(timeout=20)
        assert time.monotonic() - begin < 10
        assert receiver.returncode == 1 and "revoked" in errors
    finally:
        if receiver.poll() is None:
            receiver.kill()
            receiver.communicate()
    refused = cli(remote, "recv", "--as", "worker", "--timeout", "1s", identity=tmp_path / "id",
                  remote=True, check=1)
    assert "does not count" in refused.stderr


def test_certificates_renew_under_a_link_that_goes_on(tmp_path):
    node = Node(args=["--listen", "tls:127.0.0.1:0"],
                config=json.dumps({"network": {"certificate_ms": 10000}}))
    try:
        node.start()
        join(node, "worker", tmp_path / "id")
        cli(node, "agents", "add", "boss")
        receiver = subprocess.Popen(
            [program("agentlink"), "--node", url(node), "--identity", str(tmp_path / "id"), "recv",
             "--as", "worker", "--count", "60", "--timeout", "60s", "--json"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        first = json.loads(cli(node, "identity", "ls", "worker", "--json").stdout)["serial"]
        for i in range(60):
            cli(node, "send", "--as", "boss", "--to", "worker", "--data", str(i))
            time.sleep(0.25)
        out, errors = receiver.communicate(timeout=60)
        assert receiver.returncode == 0, errors
        assert [json.loads(line)["data"] for line in out.splitlines()] == [
            str(i) for i in range(60)]
        assert all(not json.loads(line)["redelivered"] for line in out.splitlines())
        last = json.loads(cli(node, "identity", "ls", "worker", "--json").stdout)["serial"]
        assert last > first, "15 seconds are longer than a certificate lives"
    finally:
        node.cleanup()


def test_nothing_but_tls_13_with_a_certificate_gets_in(remote, tmp_path):
    join(remote, "worker", tmp_path / "id")

    def attempt(data=b"", **tls):
        raw = socket.create_connection(address(remote), timeout=20)
        try:
            if not tls:
                raw.sendall(data)
                while raw.recv(4096):
                    pass
                return
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.load_verify_locations(tmp_path / "id" / "authorities.pem")
            context.maximum_version = tls.get("version", ssl.TLSVersion.TLSv1_3)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            context.set_alpn_protocols([tls.get("alpn", "agentlink/1")])
            with context.wrap_socket(raw) as link:
                assert link.recv(4096) == b"", "it let us in"
        except OSError:
            pass
        finally:
            raw.close()

    attempt(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    attempt(version=ssl.TLSVersion.TLSv1_2, alpn="agentlink/1")
    attempt(alpn="agentlink/1")
    attempt(alpn="h2")
    wait_for(lambda: logged(remote, "link_refused"))
    assert json.loads(cli(remote, "identity", "ls", "worker", "--json").stdout)["links"] == 0


def test_strangers_who_say_nothing_do_not_keep_others_out(remote, tmp_path):
    strangers = [socket.create_connection(address(remote), timeout=20) for _ in range(300)]
    try:
        wait_for(lambda: logged(remote, "link_refused"))
        assert cli(remote, "status").returncode == 0
        # their time is over after 5 s, then there is room again
        token = cli(remote, "identity", "new", "worker").stdout.strip()
        wait_for(lambda: cli(remote, "join", token, identity=tmp_path / "id",
                             check=None).returncode == 0, 30)
    finally:
        for stranger in strangers:
            stranger.close()


def test_a_node_of_another_network_is_refused(remote, tmp_path):
    join(remote, "worker", tmp_path / "id")
    other = Node(args=["--listen", "tls:127.0.0.1:0"])
    try:
        other.start()
        done = cli(other, "recv", "--as", "worker", "--timeout", "1s", identity=tmp_path / "id",
                   remote=True, check=1)
        assert "authority" in done.stderr
    finally:
        other.cleanup()


def test_without_an_identity_it_says_what_to_do(remote, tmp_path):
    done = cli(remote, "recv", "--as", "worker", "--timeout", "1s", identity=tmp_path / "none",
               remote=True, check=1)
    assert "agentlink join" in done.stderr


def test_a_lost_authority_is_never_replaced(remote):
    remote.stop()
    (remote.data / "identity" / "authority.key").rename(remote.home / "kept")
    code = subprocess.run(remote.command(), capture_output=True, text=True, timeout=20, check=False)
    assert code.returncode == 2 and "authority.key" in code.stderr and "restore" in code.stderr
    (remote.home / "kept").rename(remote.data / "identity" / "authority.key")
    remote.start()
