"""The router and the agent as real processes, with an environment of their own.

They inherit nothing but what a program needs to run: neither the user's keys nor a ``.env`` of the
working folder reaches them.
"""

import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from router.demo.errors import ProcessFailed
from router.demo.livekit_server import LiveKitServer
from router.demo.processes import Child, answers, free_port

ROUTER_START_TIMEOUT_S = 30.0
AGENT_START_TIMEOUT_S = 90.0
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "SSL_CERT_FILE")
_REGISTERED = "registered worker"  # as livekit-agents logs it, after its processes are warm


class _Service(ABC):
    """A process in a folder of its own: its working folder, its state and its log are there."""

    name = ""
    arguments: tuple[str, ...] = ()

    def __init__(self, folder: Path, *, port: int, environ: Mapping[str, str]) -> None:
        self.folder = folder
        self.log_path = folder / f"{self.name}.log"
        self.port = port or free_port()
        self.env = {name: environ[name] for name in _INHERITED if name in environ}
        self._child: Child | None = None

    @property
    def url(self) -> str:
        """Address of its HTTP port."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def child(self) -> Child:
        """The process."""
        if self._child is None:
            raise ProcessFailed(f"{self.name} has not been started")
        return self._child

    async def start(self) -> None:
        """Start it, again if it was stopped, and wait until it is ready.

        Raises:
            ProcessFailed: it did not get ready.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self._child = Child(
            self.name,
            [sys.executable, "-m", *self.arguments],
            log_path=self.log_path,
            env=self.env,
            cwd=self.folder,
        )
        try:
            await self._wait(self._child)
        except BaseException:
            self._child.kill()
            raise

    @abstractmethod
    async def _wait(self, child: Child) -> None:
        """Return when it is ready."""

    async def stop(self, *, grace_s: float = 10.0) -> None:
        """Stop it with SIGTERM; harmless when it is not running."""
        if self._child is not None:
            await self._child.stop(grace_s=grace_s)

    def kill(self) -> None:
        """Kill it, as ``kill -9`` would."""
        self.child.kill()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()


class RouterProcess(_Service):
    """``persona-router serve``; ready when ``/readyz`` says so.

    LiveKit's configuration holds the address of the router, so the router's port is chosen first:
    make this, give ``webhook_url`` to a LiveKitServer, then :meth:`connect` to it and start.
    *settings* are environment variables and win over everything else.
    """

    name = "router"
    arguments: tuple[str, ...] = ("router", "serve")

    def __init__(
        self,
        folder: Path,
        *,
        environ: Mapping[str, str],
        persona_api_base: str = "off",
        settings: Mapping[str, str] | None = None,
        port: int = 0,
    ) -> None:
        super().__init__(folder, port=port, environ=environ)
        self.env |= {
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
            "PERSONA_API_BASE": persona_api_base,
            "STATE_DIR": str(folder / "state"),
        }
        self.env |= dict(settings or {})

    @property
    def webhook_url(self) -> str:
        """Where LiveKit delivers."""
        return f"{self.url}/livekit-webhook"

    def connect(self, livekit: LiveKitServer) -> None:
        """Name the server in the environment of the next start."""
        self.env |= _livekit_environment(livekit)

    async def _wait(self, child: Child) -> None:
        await child.wait_until(
            lambda: answers(self.port, "/readyz"),
            timeout_s=ROUTER_START_TIMEOUT_S,
            what="200 from /readyz",
        )


class AgentProcess(_Service):
    """``python -m agent`` with the offline speech; ready when it is registered with LiveKit."""

    name = "agent"
    arguments = ("agent",)

    def __init__(
        self,
        folder: Path,
        livekit: LiveKitServer,
        *,
        environ: Mapping[str, str],
        settings: Mapping[str, str] | None = None,
        port: int = 0,
    ) -> None:
        super().__init__(folder, port=port, environ=environ)
        self.env |= {"SPEECH": "offline", "AGENT_HEALTH_PORT": str(self.port)}
        self.env |= _livekit_environment(livekit)
        self.env |= dict(settings or {})

    async def _wait(self, child: Child) -> None:
        before = child.log().count(_REGISTERED) if child.log_path.is_file() else 0
        await child.wait_until(
            lambda: child.log().count(_REGISTERED) > before and answers(self.port, "/worker"),
            timeout_s=AGENT_START_TIMEOUT_S,
            what="registration with LiveKit",
        )


def _livekit_environment(livekit: LiveKitServer) -> dict[str, str]:
    return {
        "LIVEKIT_URL": livekit.url,
        "LIVEKIT_API_KEY": livekit.api_key,
        "LIVEKIT_API_SECRET": livekit.api_secret,
    }
