"""Child processes that cannot outlive us.

Each writes its output to a file, is ended by its own process id, and on Linux the kernel kills it
when we die, however we die. The kernel ties that to the thread that started the child, so start
children from a thread that lives as long as they should.
"""

import asyncio
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path

from router.demo.errors import ProcessFailed

STOP_GRACE_S = 5.0
_POLL_S = 0.02

# Runs in the child before the real program: asks the kernel for our death signal, checks that we
# did not die before it asked, and becomes the program. An exec and no preexec_fn, because this
# process has threads of native libraries and nothing may run between its fork and its exec.
_DIE_WITH_PARENT = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)
if os.getppid() != int(sys.argv[1]):
    sys.exit(1)
os.execvp(sys.argv[2], sys.argv[2:])
"""


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """Return a loopback port that nothing listens on right now."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(port: int, path: str = "/") -> bool:
    """Say whether ``GET path`` on this loopback port is answered with 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


class Child:
    """One child process and the file that it logs to.

    *env* is its whole environment, or None for ours. It leads a process group of its own, so
    Ctrl-C reaches us alone and we decide in which order things stop.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        log_path: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.name = name
        self.log_path = log_path
        command = [str(part) for part in command]
        if sys.platform == "linux":
            guard = [sys.executable, "-I", "-S", "-c", _DIE_WITH_PARENT, str(os.getpid())]
            command = [*guard, *command]
        log_path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with log_path.open("ab") as log:
                self._process = subprocess.Popen(  # noqa: S603  # our own command, no shell
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=None if env is None else dict(env),
                    cwd=cwd,
                    start_new_session=True,
                )
        except OSError as exc:
            raise ProcessFailed(f"{name} cannot be started: {exc.strerror}") from exc

    @property
    def pid(self) -> int:
        """The process id; also the id of its process group."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative for the signal that ended it."""
        return self._process.poll()

    def log(self) -> str:
        """Return all that it wrote so far."""
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    async def wait_until(self, ready: Callable[[], bool], *, timeout_s: float, what: str) -> None:
        """Poll *ready*, in a thread, until it is true: what it asks may be in this very process.

        Raises:
            ProcessFailed: it died, or *timeout_s* passed; with the end of its log.
        """
        deadline = time.monotonic() + timeout_s
        while not await asyncio.to_thread(ready):
            if self.exit_code is not None:
                raise ProcessFailed(f"{self.name} ended with {self.exit_code}{self._log_end()}")
            if time.monotonic() > deadline:
                raise ProcessFailed(f"{self.name}: no {what} in {timeout_s:g} s{self._log_end()}")
            await asyncio.sleep(_POLL_S)

    def send(self, signal_number: signal.Signals) -> None:
        """Send it a signal, unless it has ended."""
        self._process.send_signal(signal_number)

    async def stop(self, *, grace_s: float = STOP_GRACE_S) -> int:
        """Ask it to end, and kill its group when it has not after *grace_s*; return exit code."""
        self.send(signal.SIGTERM)
        deadline = time.monotonic() + grace_s
        while self.exit_code is None:
            if time.monotonic() > deadline:
                return self.kill()
            await asyncio.sleep(_POLL_S)
        return int(self._process.returncode)

    def kill(self) -> int:
        """Kill it and the processes that it started; return its exit code."""
        if self.exit_code is None:
            os.killpg(self.pid, signal.SIGKILL)
        return self._process.wait()

    def _log_end(self, lines: int = 15) -> str:
        end = self.log().splitlines()[-lines:]
        return "".join(f"\n    {line}" for line in end)
