"""A provider's service on loopback, which stands at the edge of the process and fails on command.

It is a fake: it speaks the provider's protocol as far as LiveKit's plugins use it, over real HTTP
and real WebSockets, and instead of a model it has fixed answers.
"""

import asyncio
import math
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Self

import numpy as np
from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
RATE = 24_000


class Fault(Enum):
    """What goes wrong."""

    UNAUTHORIZED = 401
    TOO_MANY = 429
    CUT = "cut"  # the connection breaks in the middle of an answer
    SILENT = "silent"  # takes the request and never answers


@dataclass
class Request:
    """What was asked."""

    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any = None
    sent: list[Any] = field(default_factory=list)  # messages of a WebSocket


def hum(seconds: float, *, hz: float, rate: int = RATE) -> bytes:
    """One tone as PCM (16 bit, mono): each fake voice has its own."""
    time = np.arange(int(seconds * rate)) / rate
    return (np.sin(2 * np.pi * hz * time) * 12_000).astype("<i2").tobytes()


def pitch_of(pcm: bytes, *, rate: int = RATE) -> float:
    """The loudest frequency of PCM, in Hz."""
    samples = np.frombuffer(pcm, dtype="<i2").astype(np.float64)
    if samples.size < 512:
        return 0.0
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(samples.size)))
    return float(spectrum.argmax() * rate / samples.size)


class Ear:
    """Tells when somebody spoke and stopped, from the loudness of 16-bit PCM."""

    def __init__(self, rate: int = 16_000) -> None:
        self._rate = rate
        self.loud_s = 0.0
        self._quiet_s = 0.0

    def hear(self, pcm: bytes) -> str:
        """``began``, ``ended`` or nothing."""
        samples = np.frombuffer(pcm[: len(pcm) // 2 * 2], dtype="<i2").astype(np.float64)
        if not samples.size:
            return ""
        lasted = samples.size / self._rate
        if math.sqrt(float(np.mean(samples**2))) > 500:
            before, self._quiet_s = self.loud_s, 0.0
            self.loud_s += lasted
            return "began" if before < 0.2 <= self.loud_s else ""
        self._quiet_s += lasted
        if self.loud_s >= 0.2 and self._quiet_s >= 0.2:
            self.loud_s = 0.0
            return "ended"
        return ""


class FakeService:
    """Base of the fakes; use it with ``async with``."""

    hz = 440.0
    text = "I would like a room"

    def __init__(self) -> None:
        self.fault: Fault | None = None
        self.requests: list[Request] = []
        self._runner: web.AppRunner | None = None
        self.port = 0
        self.tls: ssl.SSLContext | None = None

    def routes(self) -> list[web.RouteDef]:
        """What it serves."""
        raise NotImplementedError

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=64 * 2**20)
        app.add_routes(self.routes())
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=self.tls)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def taken(self, request: web.Request, *, body: Any = None) -> Request:
        """Note what was asked, and fail if that is wanted."""
        seen = Request(request.path, dict(request.query), dict(request.headers), body)
        self.requests.append(seen)
        if self.fault in (Fault.UNAUTHORIZED, Fault.TOO_MANY):
            refusal = web.HTTPUnauthorized if self.fault is Fault.UNAUTHORIZED else _TooMany
            raise refusal(text='{"error": {"message": "no"}}', content_type="application/json")
        if self.fault is Fault.SILENT:
            await asyncio.Event().wait()
        return seen

    async def pcm(self, request: web.Request, pcm: bytes) -> web.StreamResponse:
        """Answer with audio, in pieces; half of it, when the connection is to be cut."""
        response = web.StreamResponse(headers={"Content-Type": "audio/pcm"})
        response.content_length = len(pcm)
        await response.prepare(request)
        half = len(pcm) // 4 * 2
        await response.write(pcm[:half])
        if self.fault is Fault.CUT:
            cut(request)
            return response
        await response.write(pcm[half:])
        await response.write_eof()
        return response


class _TooMany(web.HTTPTooManyRequests):
    pass


def cut(request: web.Request) -> None:
    """Break the connection, without a goodbye."""
    if request.transport is not None:
        request.transport.abort()
