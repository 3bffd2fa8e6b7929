"""A node under test: starts the real agentlinkd in a directory of its own and ends it again.

Used by the conformance and the integration suite. Every process is ended by its own pid; nothing
outlives the test. AL_BIN names the directory of the programs (default: build/bin)."""
import os
import pathlib
import select
import shutil
import signal
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
START_TIMEOUT = float(os.environ.get("AL_START_TIMEOUT", "30"))


def program(name):
    """Path of a program of the build under test."""
    base = pathlib.Path(os.environ.get("AL_BIN", ROOT / "build" / "bin"))
    path = base / name
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: build it, or set AL_BIN")
    return str(path)


class NodeFailed(Exception):
    """The node ended instead of getting ready."""

    def __init__(self, code, log):
        super().__init__(f"agentlinkd ended with {code} before it was ready:\n{log[-3000:]}")
        self.code, self.log = code, log


class Node:
    """One agentlinkd and its data directory. start() may be called again after an end."""

    def __init__(self, args=(), wrapper=(), data=None, config=None):
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="al-"))
        self.data = pathlib.Path(data) if data else self.home / "data"
        self.socket = str(self.home / "n.sock")
        self.log_path = self.home / "node.log"
        self.args, self.wrapper = list(args), list(wrapper)
        self.process, self.ready_line, self.ready, self.start_seconds = None, None, {}, None
        if config is not None:
            (self.home / "node.conf").write_text(config)
            self.args += ["--config", str(self.home / "node.conf")]

    def command(self):
        return [program("agentlinkd"), "--data", str(self.data),
                "--listen", "unix:" + self.socket] + self.args

    def start(self, wrapper=None, timeout=START_TIMEOUT):
        """Starts and waits for the ready line. wrapper: for instance ["strace", "-D", …], which
        must leave agentlinkd our own child."""
        assert self.process is None
        begin = time.monotonic()
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                (self.wrapper if wrapper is None else list(wrapper)) + self.command(),
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log)
        line = self._read_line(begin + timeout)
        self.start_seconds = time.monotonic() - begin
        if not line.startswith("ready"):
            code = self.wait(5, kill=True)
            raise NodeFailed(code, self.log())
        self.ready_line = line
        self.ready = dict(part.split("=", 1) for part in line.split()[1:])
        return self

    def _read_line(self, end):
        data, fd = b"", self.process.stdout.fileno()
        while not data.endswith(b"\n"):
            ready, _, _ = select.select([fd], [], [], max(0, end - time.monotonic()))
            byte = os.read(fd, 1) if ready else b""
            if not byte:
                break
            data += byte
        return data.decode().rstrip("\n")

    @property
    def pid(self):
        return self.process.pid

    def signal(self, number):
        os.kill(self.process.pid, number)

    def wait(self, timeout=15.0, kill=False):
        """Waits for the end; returns the exit code (negative: a signal)."""
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait(5)
            if not kill:
                raise AssertionError("agentlinkd did not end within %s s:\n%s" %
                                     (timeout, self.log()[-2000:])) from None
        finally:
            self.rest = self.process.stdout.read() if self.process.poll() is not None else b""
            self.process.stdout.close()
            self.process = None
        return code

    def kill(self):
        """kill -9, and waits for the end."""
        self.signal(signal.SIGKILL)
        return self.wait()

    def stop(self, timeout=15.0):
        """SIGTERM, and waits for the end."""
        self.signal(signal.SIGTERM)
        return self.wait(timeout)

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def resident_kib(self):
        with open(f"/proc/{self.pid}/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))

    def cleanup(self, keep=False):
        if self.process is not None:
            if self.process.poll() is None:
                self.process.kill()
            self.wait(5, kill=True)
        if not keep:
            shutil.rmtree(self.home, ignore_errors=True)
