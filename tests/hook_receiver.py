"""Somebody who is told of events: an HTTP server on loopback that checks every signature.

It checks by the words of the specification, not with the router's own functions.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web

from router.seals import Seal

SEAL = Seal(["devsecret_devsecret_devsecret_devsecret"])


@dataclass(frozen=True, slots=True)
class Told:
    """One request."""

    webhook_id: str
    timestamp: int
    signatures: tuple[str, ...]
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)

    def is_signed_with(self, secret: str) -> bool:
        key = base64.b64decode(secret.removeprefix("whsec_"))
        content = f"{self.webhook_id}.{self.timestamp}.".encode() + self.body
        wanted = "v1," + base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
        return any(hmac.compare_digest(wanted, one) for one in self.signatures)


@dataclass
class Receiver:
    """``answer`` gives the status (and headers) for the next request; by default 204."""

    answer: Callable[[], int | tuple[int, Mapping[str, str]]] = lambda: 204
    told: list[Told] = field(default_factory=list)
    url: str = ""
    port: int = 0

    async def _take(self, request: web.Request) -> web.StreamResponse:
        named = request.headers
        self.told.append(
            Told(
                named["webhook-id"],
                int(named["webhook-timestamp"]),
                tuple(named["webhook-signature"].split()),
                await request.read(),
            )
        )
        assert request.content_type == "application/json"
        answer = self.answer()
        status, headers = answer if isinstance(answer, tuple) else (answer, {})
        return web.Response(status=status, headers=headers)

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/hooks", self._take)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{self.port}/hooks"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()
