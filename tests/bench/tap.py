"""A wire tap between the router and LiveKit: when a request went by, and when its answer did."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast


class Tap:
    """Passes bytes on and notes the times, in seconds of the monotonic clock.

    For one request at a time: ``asked_at`` and ``answered_at`` are of the last one.
    """

    def __init__(self, target_port: int) -> None:
        self.target_port = target_port
        self.port = 0
        self.asked_at = 0.0
        self.answered_at = 0.0


class _Inside(asyncio.Protocol):
    """The router's side of one connection."""

    def __init__(self, tap: Tap) -> None:
        self._tap = tap
        self._early: list[bytes] = []
        self._outside: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        loop = asyncio.get_running_loop()
        self._connecting = loop.create_task(self._connect(loop))

    async def _connect(self, loop: asyncio.AbstractEventLoop) -> None:
        outside, _ = await loop.create_connection(
            lambda: _Outside(self._tap, self.transport), "127.0.0.1", self._tap.target_port
        )
        self._outside = outside
        outside.writelines(self._early)

    def data_received(self, data: bytes) -> None:
        if self._tap.asked_at <= self._tap.answered_at:  # the first bytes of a request
            self._tap.asked_at = time.monotonic()
        if self._outside is None:
            self._early.append(data)
        else:
            self._outside.write(data)

    def connection_lost(self, _exc: Exception | None) -> None:
        if self._outside is not None:
            self._outside.close()


class _Outside(asyncio.Protocol):
    """LiveKit's side of it."""

    def __init__(self, tap: Tap, inside: asyncio.Transport) -> None:
        self._tap = tap
        self._inside = inside

    def data_received(self, data: bytes) -> None:
        if self._tap.answered_at < self._tap.asked_at:
            self._tap.answered_at = time.monotonic()
        if not self._inside.is_closing():
            self._inside.write(data)

    def connection_lost(self, _exc: Exception | None) -> None:
        self._inside.close()


@asynccontextmanager
async def tapped(target_port: int) -> AsyncIterator[Tap]:
    """Listen on a free port of this process."""
    tap = Tap(target_port)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Inside(tap), "127.0.0.1", 0)
    tap.port = server.sockets[0].getsockname()[1]
    try:
        yield tap
    finally:
        server.close()
