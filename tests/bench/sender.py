"""Sends deliveries as LiveKit does: the rooms at the same time, in each room one after the other.

A bare protocol on uvloop, so that what is measured is the receiver.
"""

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Self, cast


@dataclass(slots=True)
class Sent:
    """What came of a load."""

    seconds: float
    ok: int
    other: int

    @property
    def count(self) -> int:
        return self.ok + self.other


class _Connection(asyncio.Protocol):
    """Sends one request after the other over one kept-alive connection."""

    def __init__(self, requests: Iterator[bytes], done: "asyncio.Future[None]") -> None:
        self._requests = requests
        self._done = done
        self._answer = b""
        self.ok = self.other = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._next()

    def _next(self) -> None:
        request = next(self._requests, None)
        if request is None:
            self._transport.close()
        else:
            self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._answer += data
        if not _is_whole(self._answer):
            return
        if _is_ok(self._answer):
            self.ok += 1
        else:
            self.other += 1
        self._answer = b""
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is None:
            self._done.set_result(None)
        else:
            self._done.set_exception(exc)


def _is_ok(answer: bytes) -> bool:
    return answer.startswith(b"HTTP/1.1 200")


def _is_whole(answer: bytes) -> bool:
    head, separator, body = answer.partition(b"\r\n\r\n")
    if not separator:
        return False
    length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
    return len(body) >= int(length or b"0")


async def send(port: int, calls: Sequence[Sequence[bytes]], *, at_once: int) -> Sent:
    """Send *calls*, *at_once* of them at any time, and wait for every answer."""
    loop = asyncio.get_running_loop()
    waiting = iter(calls)
    ended: list[asyncio.Future[None]] = []
    connections: list[_Connection] = []
    started = time.perf_counter()
    for _ in range(at_once):
        done: asyncio.Future[None] = loop.create_future()
        _, connection = await loop.create_connection(
            lambda done=done: _Connection(chain.from_iterable(waiting), done),
            "127.0.0.1",
            port,
        )
        ended.append(done)
        connections.append(connection)
    await asyncio.gather(*ended)
    return Sent(
        seconds=time.perf_counter() - started,
        ok=sum(one.ok for one in connections),
        other=sum(one.other for one in connections),
    )


class Line:
    """One kept-alive connection for one delivery at a time; use it with ``async with``."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def deliver(self, request: bytes) -> None:
        """Send *request* and wait until it is answered with 200."""
        self._writer.write(request)
        answer = b""
        while not _is_whole(answer):
            answer += await self._reader.read(65536)
        if not _is_ok(answer):
            raise RuntimeError(f"a delivery was answered with {answer[:12]!r}")

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()
        await self._writer.wait_closed()
