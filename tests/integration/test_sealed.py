"""A node's directory is sealed without anybody asking for it: the key, its loss, where it comes from."""
import json
import os
import shutil
import subprocess

import pytest

from node import NodeFailed, program

CANARY = b"a canary that nobody may see on the disk"
OFF = json.dumps({"seal": {"enabled": False}})


def shows(directory, what):
    return [p.name for p in directory.iterdir() if p.is_file() and what in p.read_bytes()]


def refused(node):
    """What a node says that does not start because of its key."""
    with pytest.raises(NodeFailed) as failure:
        node.start()
    assert failure.value.code == 2
    return failure.value.log


def configured(**seal):
    return json.dumps({"seal": seal})


def fill(make_node, make_pair, **values):
    node = make_node(**values)
    node.pair = make_pair(node)
    node.pair.send(*[CANARY + b" %d" % n for n in range(20)])
    return node


def waiting(node):
    node.pair.receiver = node.pair.connect()
    node.pair.attach(credit=100)
    return [node.pair.deliver()["message"]["payload"] for _ in range(20)]


def test_sealed_by_default(make_node, make_pair):
    node = fill(make_node, make_pair)
    key = (node.data / "master.key").read_bytes()
    assert len(key) == 32 and (node.data / "master.key").stat().st_mode & 0o777 == 0o600
    assert node.stop() == 0  # with a snapshot
    assert shows(node.data, CANARY) == [] and shows(node.data, key) == ["master.key"]
    log = node.log_path.read_bytes()
    assert CANARY not in log and key not in log and key.hex().encode() not in log
    node.start()
    assert sorted(waiting(node)) == sorted(CANARY + b" %d" % n for n in range(20))


def test_sealing_can_be_switched_off(make_node, make_pair):
    node = fill(make_node, make_pair, config=OFF)
    node.stop()
    assert shows(node.data, CANARY) != []
    assert not (node.data / "master.key").exists()


def test_a_lost_key_is_an_error_and_not_an_empty_start(make_node, make_pair):
    node = fill(make_node, make_pair)
    node.kill()
    key = node.data / "master.key"
    shutil.move(key, node.home / "kept")
    before = {p.name: p.read_bytes() for p in node.data.iterdir()}
    said = refused(node)
    assert "sealed under the key" in said and "there is no key" in said and str(key) in said
    assert {p.name: p.read_bytes() for p in node.data.iterdir()} == before
    key.write_bytes(os.urandom(32))
    key.chmod(0o600)
    assert "another one" in refused(node)
    key.chmod(0o640)
    assert "can be read by others" in refused(node)
    key.chmod(0o600)
    key.write_bytes(b"too short")
    assert "not a master key" in refused(node)
    shutil.copy(node.home / "kept", key)
    node.start()
    assert len(waiting(node)) == 20


def test_a_key_file_elsewhere(make_node, make_pair, tmp_path):
    key = tmp_path / "keys" / "node.key"
    node = make_node(config=configured(key_file=str(key)), start=False)
    assert "node.key" in failed(node)  # it is not made: it was meant to be there
    key.parent.mkdir()
    key.write_text(os.urandom(32).hex() + "\n")
    key.chmod(0o600)
    node.start()
    make_pair(node).send(CANARY)
    node.stop()
    assert not (node.data / "master.key").exists() and shows(node.data, CANARY) == []
    node.start()


def failed(node):
    with pytest.raises(NodeFailed) as failure:
        node.start()
    assert failure.value.code != 0
    return failure.value.log


def test_a_key_from_a_command(make_node, make_pair, tmp_path):
    key = tmp_path / "key"
    key.write_text(os.urandom(32).hex())
    node = fill(make_node, make_pair, config=configured(key_command="cat " + str(key)))
    node.kill()
    key.write_text("")
    assert "cat failed, or did not print" in failed(node)
    key.unlink()
    assert "cat failed" in failed(node)
    assert not (node.data / "master.key").exists()


def test_a_systemd_credential(make_node, make_pair, tmp_path, monkeypatch):
    (tmp_path / "agentlink-master-key").write_bytes(os.urandom(32))
    (tmp_path / "agentlink-master-key").chmod(0o400)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    node = fill(make_node, make_pair)
    node.stop()
    assert not (node.data / "master.key").exists() and shows(node.data, CANARY) == []
    node.start()
    node.stop()
    monkeypatch.delenv("CREDENTIALS_DIRECTORY")
    assert "there is no key" in refused(node)


def test_another_master_key(make_node, make_pair, tmp_path):
    node = fill(make_node, make_pair)
    old = (node.data / "master.key").read_bytes()
    new = tmp_path / "new.key"
    new.write_text(os.urandom(32).hex())
    new.chmod(0o600)

    def rekey(*options):
        return subprocess.run([program("agentlink"), "journal", "rekey", "--new-key-file", str(new),
                               *options, str(node.data)], capture_output=True, text=True, check=False)

    assert "a node uses this directory" in rekey().stderr
    node.stop()
    done = rekey()
    assert done.returncode == 0 and "opens every file" in done.stdout, done.stderr
    key = (node.data / "master.key").read_bytes()
    assert key.hex() == new.read_text() and key != old
    node.start()
    assert len(waiting(node)) == 20
    node.stop()
    (node.data / "master.key").write_bytes(old)
    assert "another one" in refused(node)
    assert rekey().returncode == 0  # it can be repeated, whatever was interrupted
    node.start()


def test_an_unsealed_directory_goes_on_sealed(make_node, make_pair):
    node = fill(make_node, make_pair, config=OFF)
    node.stop()
    (node.home / "node.conf").write_text("{}")
    node.start()
    assert (node.data / "master.key").exists()
    assert len(waiting(node)) == 20
