"""A real livekit-server on loopback: on free ports, with keys of its own, gone when we are.

``python -m router.demo.livekit_server`` makes sure that the binary is there, building it when it is
not, and prints its path.
"""

import json
import secrets
import signal
import socket
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from router.demo import binary
from router.demo.errors import ProcessFailed, SetupFailed
from router.demo.processes import Child, answers, free_port
from router.demo.settings import DemoSettings

#: What the router needs; without ``room_started`` its own delivery is the first of a room's queue.
WEBHOOK_EVENTS = (
    "participant_joined",
    "participant_left",
    "participant_connection_aborted",
    "room_finished",
    "egress_started",
    "egress_updated",
    "egress_ended",
)
START_TIMEOUT_S = 15.0
_STOP_GRACE_S = 2.0
_PORT_TRIES = 3  # between choosing a port and listening on it, another program may take it


class LiveKitServer:
    """One server process, running inside ``async with``.

    It listens on 127.0.0.1 alone, media over one UDP port. Webhooks of *include_events* (None for
    all) go to *webhook_urls*. *target_load* is the load from which on the server gives a worker no
    more jobs; above 1 it always does, as fits a machine that callers, agent and server share.
    """

    api_key = "persona-router"

    def __init__(
        self,
        program: Path,
        *,
        webhook_urls: Sequence[str] = (),
        include_events: Sequence[str] | None = WEBHOOK_EVENTS,
        target_load: float = 2.0,
        log_path: Path | None = None,
    ) -> None:
        self.api_secret = secrets.token_urlsafe(36)
        self._program = program
        self._webhook_urls = list(webhook_urls)
        self._include_events = include_events
        self._target_load = target_load
        self._own_folder = tempfile.TemporaryDirectory(prefix="livekit-server-")
        self.log_path = log_path or Path(self._own_folder.name) / "livekit-server.log"
        self._child: Child | None = None
        self._port = 0

    @property
    def url(self) -> str:
        """Address for participants and agents."""
        return f"ws://127.0.0.1:{self._port}"

    @property
    def http_url(self) -> str:
        """Address for the server API."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def child(self) -> Child:
        """The process."""
        if self._child is None:
            raise ProcessFailed("livekit-server has not been started")
        return self._child

    def _config(self) -> dict[str, Any]:
        webhook: dict[str, Any] = {"api_key": self.api_key, "urls": self._webhook_urls}
        if self._include_events is not None:
            webhook["filter_params"] = {"include_events": list(self._include_events)}
        return {
            "port": self._port,
            "bind_addresses": ["127.0.0.1"],
            "keys": {self.api_key: self.api_secret},
            "rtc": {
                "udp_port": free_port(socket.SOCK_DGRAM),
                "tcp_port": 0,  # it would listen on every address
                "use_external_ip": False,
                "node_ip": "127.0.0.1",
                "enable_loopback_candidate": True,
                "ips": {"includes": ["127.0.0.1/32"]},
            },
            "agents": {"target_load": self._target_load},
            "logging": {"json": True, "level": "info"},
        } | ({"webhook": webhook} if self._webhook_urls else {})

    async def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            ProcessFailed: it did not get ready.
        """
        for tries_left in reversed(range(_PORT_TRIES)):
            self._port = free_port()
            config = Path(self._own_folder.name) / "livekit.json"  # YAML includes JSON
            config.write_text(json.dumps(self._config()), encoding="utf-8")
            self._child = Child(
                "livekit-server", [self._program, "--config", config], log_path=self.log_path
            )
            try:
                await self._child.wait_until(
                    lambda: answers(self._port),
                    timeout_s=START_TIMEOUT_S,
                    what="answer over HTTP",
                )
            except ProcessFailed:
                self._child.kill()
                if not tries_left or "address already in use" not in self._child.log():
                    raise
            else:
                return

    async def stop(self) -> None:
        """End it and remove its files, except a log file that was named."""
        if self._child is not None:
            # The first signal would have it wait for the participants to leave, the second not;
            # and it forgets one that comes in its first 100 ms, hence the short grace.
            self._child.send(signal.SIGINT)
            await self._child.stop(grace_s=_STOP_GRACE_S)
        self._own_folder.cleanup()

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()


def _to_stderr(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def main() -> int:
    """Make sure that the binary is there; its path goes to stdout, progress to stderr."""
    try:
        path = binary.ensure(DemoSettings.load(), _to_stderr)
    except SetupFailed as exc:
        _to_stderr(f"livekit-server: {exc}")
        return 3
    except KeyboardInterrupt:
        return 130
    sys.stdout.write(f"{path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
