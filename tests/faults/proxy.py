"""A fault proxy: stands between two parts, and passes on, spoils or swallows what they say.

A fault of the line concerns every byte; faults of single requests (HTTP/1.1, by the end of their
path) concern one question and its answer. Both can be changed at any time.
"""

import asyncio
import contextlib
import socket
import struct
from collections import Counter
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self, TypeAlias

MAX_HEAD_BYTES: Final = 64 * 1024
CHUNK_BYTES: Final = 64 * 1024
_NOW: Final = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends RST at once
_UNAVAILABLE: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
    b'Content-Length: 22\r\n\r\n{"code":"unavailable"}'
)


@dataclass(frozen=True, slots=True)
class Pass:
    """Everything goes by."""


@dataclass(frozen=True, slots=True)
class Delay:
    """What is said arrives *s* seconds late, in both directions."""

    s: float


@dataclass(frozen=True, slots=True)
class Cut:
    """Connections are reset, those that are open and those that come."""


@dataclass(frozen=True, slots=True)
class Drop:
    """Connections stay open, and what is said never arrives."""


@dataclass(frozen=True, slots=True)
class Garble:
    """One byte in *every* is another one, in both directions."""

    every: int = 16


@dataclass(frozen=True, slots=True)
class HalfOpen:
    """New connections are accepted and never answered: nobody is behind the door."""


LineFault: TypeAlias = Pass | Delay | Cut | Drop | Garble | HalfOpen


@dataclass(frozen=True, slots=True)
class Unavailable:
    """The request is answered 503, and nothing was done."""


@dataclass(frozen=True, slots=True)
class Hang:
    """Nothing happens for *s* seconds; then the request is done all the same, or is cut."""

    s: float
    does: bool = False


@dataclass(frozen=True, slots=True)
class LoseAnswer:
    """The request is done; instead of its answer comes a reset."""


RequestFault: TypeAlias = Unavailable | Hang | LoseAnswer


class FaultProxy:
    """Listens on a free loopback port for what listens on *target_port*; use ``async with``.

    *requests* holds a fault for each end of a path, and ``asked`` counts every request that came
    by its path. A connection that is upgraded, or sends a body without Content-Length, is a line
    of bytes from there on.
    """

    def __init__(self, target_port: int) -> None:
        self.target_port = target_port
        self.port = 0
        self.requests: dict[str, RequestFault] = {}
        self.asked: Counter[str] = Counter()
        self._fault: LineFault = Pass()
        self._links: dict[asyncio.Task[None], _Link] = {}

    @property
    def fault(self) -> LineFault:
        """What is wrong with the line; setting it takes effect at once."""
        return self._fault

    @fault.setter
    def fault(self, fault: LineFault) -> None:
        self._fault = fault
        if isinstance(fault, Cut):
            for link in self._links.values():
                link.reset()

    def fault_of(self, path: str) -> RequestFault | None:
        """Return what goes wrong with a request to *path*."""
        return next((one for end, one in self.requests.items() if path.endswith(end)), None)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(
            self._accept, "127.0.0.1", 0, limit=MAX_HEAD_BYTES
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.close()
        links = dict(self._links)
        for task, link in links.items():
            task.cancel()
            link.reset()
        await asyncio.gather(*links, return_exceptions=True)
        await self._server.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = _Link(self, reader, writer)
        task = asyncio.create_task(link.run())
        self._links[task] = link
        task.add_done_callback(self._links.pop)


class _Link:
    """One connection: *near* is who connected to the proxy, *far* is the target."""

    def __init__(
        self, proxy: FaultProxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._proxy = proxy
        self._from_near, self._near = reader, writer
        self._far: asyncio.StreamWriter | None = None
        self._lose = False  # the next answer

    def reset(self) -> None:
        """Cut both sides with RST."""
        for writer in (self._near, self._far):
            if writer is not None and not writer.is_closing():
                known: socket.socket = writer.get_extra_info("socket")
                known.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NOW)
                writer.transport.abort()

    async def run(self) -> None:
        """Carry this connection until one side ends it."""
        try:
            if isinstance(self._proxy.fault, Cut):
                self.reset()
            elif isinstance(self._proxy.fault, HalfOpen):
                while await self._from_near.read(CHUNK_BYTES):
                    pass
            else:
                await self._carry()
        except OSError:
            self.reset()  # one side is gone; so shall be the other
        finally:
            for writer in (self._near, self._far):
                if writer is not None:
                    writer.close()
                    with contextlib.suppress(OSError):
                        await writer.wait_closed()

    async def _carry(self) -> None:
        from_far, far = await asyncio.open_connection("127.0.0.1", self._proxy.target_port)
        self._far = far
        ways = {
            asyncio.create_task(self._inward(far)),
            asyncio.create_task(self._outward(from_far)),
        }
        try:
            done, _ = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
        for way in done:
            way.result()

    async def _inward(self, far: asyncio.StreamWriter) -> None:
        while head := await self._head():
            method, _, rest = head.partition(b" ")
            length = _length(head)
            if not method.isalpha() or length is None:
                await self._say(far, head)
                break
            body = await self._from_near.readexactly(length)
            path = rest.partition(b" ")[0].decode("latin-1")
            self._proxy.asked[path] += 1
            if not await self._ask(far, head + body, self._proxy.fault_of(path)):
                return
            if b"\r\nupgrade:" in head.lower():
                break
        while chunk := await self._from_near.read(CHUNK_BYTES):
            await self._say(far, chunk)

    async def _head(self) -> bytes:
        """Read the head of a request, or bytes that are none; empty at the end."""
        try:
            return await self._from_near.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as exc:
            return exc.partial
        except asyncio.LimitOverrunError as exc:
            return await self._from_near.read(exc.consumed)

    async def _ask(
        self, far: asyncio.StreamWriter, request: bytes, fault: RequestFault | None
    ) -> bool:
        """Do what *fault* says with one request; False: the connection is over."""
        match fault:
            case Unavailable():
                await self._say(self._near, _UNAVAILABLE)
                return True
            case Hang(s, does):
                await asyncio.sleep(s)
                if not does:
                    self.reset()
                    return False
            case LoseAnswer():
                self._lose = True
        await self._say(far, request)
        return True

    async def _outward(self, from_far: asyncio.StreamReader) -> None:
        while chunk := await from_far.read(CHUNK_BYTES):
            if self._lose:
                self.reset()
                return
            await self._say(self._near, chunk)

    async def _say(self, writer: asyncio.StreamWriter, said: bytes) -> None:
        match self._proxy.fault:
            case Delay(s):
                await asyncio.sleep(s)
            case Drop() | HalfOpen():
                return
            case Garble(every):
                said = garbled(said, every)
            case Pass() | Cut():
                pass
        writer.write(said)
        await writer.drain()


def garbled(said: bytes, every: int) -> bytes:
    """Return *said* with one byte in *every* turned around."""
    return bytes(byte ^ 0xFF if at % every == 0 else byte for at, byte in enumerate(said))


def _length(head: bytes) -> int | None:
    """Return the length of the body that follows *head*; None: it is not known beforehand."""
    length = 0
    for line in head.lower().split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name == b"transfer-encoding":
            return None
        if name == b"content-length":
            length = int(value)
    return length
