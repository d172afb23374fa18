"""What many have in place of our router: a handler that sends an agent, and looks no further.

A negative control. With *repeats* it does the request again whenever the answer was none.
"""

import asyncio
import time
from functools import partial
from types import TracebackType
from typing import Self

from aiohttp import web

from router.dispatch import LiveKit
from router.errors import DeliveryRefused, DispatchRefused, DispatchUnknown
from router.events import verify
from router.routing import Answer, NumberingPlan, decide

TIMEOUT_S = 1.0


class PlainRouter:
    """Listens from ``async with`` on; :meth:`connect` tells it of LiveKit before the first call."""

    def __init__(self, *, repeats: int = 0) -> None:
        self._repeats = repeats
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    def connect(self, *, url: str, api_key: str, api_secret: str) -> None:
        """Take LiveKit's address and key."""
        self._keys = {api_key: api_secret.encode()}
        self._livekit = partial(
            LiveKit,
            url=url,
            api_key=api_key,
            api_secret=api_secret,
            agent_name="friday-ai-agent",
            timeout_s=TIMEOUT_S,
        )

    async def _hook(self, request: web.Request) -> web.Response:
        body = await request.read()
        try:
            event = verify(request.headers.get("Authorization"), body, time.time(), self._keys)
        except DeliveryRefused as exc:
            return web.Response(status=exc.status)
        decision = decide(event, NumberingPlan(default_region="US"))
        if isinstance(decision, Answer):
            task = asyncio.create_task(self._send(decision.call.room))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return web.Response()

    async def _send(self, room: str) -> None:
        async with self._livekit() as livekit:
            for _ in range(1 + self._repeats):
                try:
                    await livekit.dispatch(room, "{}", {})
                except (DispatchRefused, DispatchUnknown):
                    continue
                return

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/livekit-webhook", self._hook)
        self._runner = web.AppRunner(app, shutdown_timeout=0, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._runner.cleanup()
