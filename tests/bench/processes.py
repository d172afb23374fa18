"""The processes that are measured, and those that stand around them."""

import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from router.demo.processes import Child, free_port
from router.demo.services import RouterProcess
from router.demo.settings import DemoSettings
from tests.bench.load import KEY, SECRET

START_TIMEOUT_S = 90.0  # a machine may be busy with everything else
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Running:
    """A process that takes deliveries at *port*."""

    child: Child
    port: int

    def cpu_s(self) -> float:
        """Return the processor time that it has used."""
        fields = Path(f"/proc/{self.child.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def resident_bytes(self) -> int:
        """Return the memory that it holds."""
        return int(Path(f"/proc/{self.child.pid}/statm").read_text().split()[1]) * _PAGE


class ListeningRouter(RouterProcess):
    """The router, taken as ready when it listens: what it asks may be in this very process."""

    async def _wait(self, child: Child) -> None:
        await listening(child, self.port)


@asynccontextmanager
async def edge(folder: Path) -> AsyncIterator[int]:
    """Run what stands in for LiveKit and the persona API; give its port."""
    port = free_port()
    child = Child("edge", _python("tests.bench.edge", port), log_path=folder / "edge.log")
    async with AsyncExitStack() as stack:
        stack.push_async_callback(child.stop)
        await listening(child, port)
        yield port


@asynccontextmanager
async def router(
    folder: Path,
    *,
    livekit_port: int,
    edge_port: int,
    api_key: str = KEY,
    api_secret: str = SECRET,
) -> AsyncIterator[Running]:
    """Run the router with its default settings, beside *edge* as persona API."""
    process = ListeningRouter(
        folder / "router",
        environ=DemoSettings.load().environ,
        persona_api_base=f"http://127.0.0.1:{edge_port}/mobile",
        settings={
            "LIVEKIT_URL": f"ws://127.0.0.1:{livekit_port}",
            "LIVEKIT_API_KEY": api_key,
            "LIVEKIT_API_SECRET": api_secret,
            "LIVEKIT_WEBHOOK_KEYS": f"{KEY}:{SECRET}",
        },
    )
    async with process:
        yield Running(process.child, process.port)


@asynccontextmanager
async def plain_app(folder: Path) -> AsyncIterator[Running]:
    """Run what the router is compared with."""
    port = free_port()
    child = Child(
        "plain",
        _python(
            "uvicorn",
            "tests.bench.plain_app:app",
            f"--port={port}",
            "--no-access-log",
            "--timeout-keep-alive=120",
        ),
        log_path=folder / "plain.log",
        env={**os.environ, "LIVEKIT_API_KEY": KEY, "LIVEKIT_API_SECRET": SECRET},
    )
    async with AsyncExitStack() as stack:
        stack.push_async_callback(child.stop)
        await listening(child, port)
        yield Running(child, port)


def _python(module: str, *arguments: object) -> list[str]:
    return [sys.executable, "-m", module, *map(str, arguments)]


async def listening(child: Child, port: int) -> None:
    """Wait until *child* takes connections at *port*."""
    await child.wait_until(
        lambda: _listens(port), timeout_s=START_TIMEOUT_S, what="connection accepted"
    )


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
