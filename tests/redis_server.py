"""A real Redis server for tests, on loopback and a free port."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HOW = "install Redis (Debian: apt-get install redis-server) or put redis-server on PATH"
START_S = 10.0


class RedisServer:
    """A server that can be frozen, stopped and started again on its port; it keeps nothing."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, empty, and wait until it takes connections."""
        binary = shutil.which("redis-server")
        assert binary is not None, HOW
        options = {"bind": "127.0.0.1", "port": self.port, "save": "", "appendonly": "no"}
        arguments = [text for name, value in options.items() for text in (f"--{name}", str(value))]
        self._process = subprocess.Popen(
            [binary, *arguments], cwd=self._folder, stdout=subprocess.DEVNULL
        )
        ends_at = time.monotonic() + START_S
        while time.monotonic() < ends_at:
            with socket.socket() as probe:
                probe.settimeout(0.1)
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
        raise TimeoutError("redis-server did not start")

    def stop(self) -> None:
        """Kill it, frozen or not."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(timeout=START_S)
            self._process = None

    def freeze(self) -> None:
        """Have it take connections and answer nothing."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)


def present() -> bool:
    """Whether there is a Redis server on this machine."""
    return shutil.which("redis-server") is not None


@contextmanager
def running(folder: Path) -> Iterator[RedisServer]:
    """Start a server; stop it."""
    server = RedisServer(folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()
