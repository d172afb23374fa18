"""Faults of the persona API, for rehearsals.

They are a transport below the HTTP client, so that all above it is the live code path.
"""

import asyncio
import re
from dataclasses import dataclass
from typing import Final, Literal

import httpx

Kind = Literal["timeout", "500", "badjson", "slow", "stale"]

FAULTS: Final = "timeout, 500, badjson, slow=3s, stale"
_SLOW: Final = re.compile(r"slow=(\d{1,4}(?:\.\d{1,3})?)(ms|s)?")


@dataclass(frozen=True, slots=True)
class Fault:
    """What shall go wrong. ``stale``: the API answered once, and then went away."""

    kind: Kind
    slow_s: float = 0.0


def read_fault(text: str) -> Fault | None:
    """Read a fault as a command line has it; None: there is no such fault."""
    if slow := _SLOW.fullmatch(text):
        return Fault("slow", float(slow[1]) / (1000 if slow[2] == "ms" else 1))
    kinds: tuple[Kind, ...] = ("timeout", "500", "badjson", "stale")
    return next((Fault(kind) for kind in kinds if kind == text), None)


class FaultTransport(httpx.AsyncBaseTransport):
    """Sends requests through *inner* (default: the network), with *fault* on the way."""

    def __init__(self, fault: Fault, inner: httpx.AsyncBaseTransport | None = None) -> None:
        self._fault = fault
        self._inner = inner or httpx.AsyncHTTPTransport()
        self.away = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer one request, or do not."""
        kind = self._fault.kind
        if kind == "timeout":
            await asyncio.Event().wait()
        if kind == "500":
            return httpx.Response(500, request=request)
        if kind == "badjson":
            cut_off = httpx.ByteStream(b'{"persona_name": "cut o')
            return httpx.Response(200, stream=cut_off, request=request)
        if kind == "slow":
            await asyncio.sleep(self._fault.slow_s)
        if self.away:
            raise httpx.ConnectError("away", request=request)
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()
