"""Known-bad routers, each with one mistake that is easily made; the checks must catch them.

A process of its own, on our own adapters. POLICY is its mistake:

- ``looks``: whether there is a dispatch, before it creates one. Two can look before either acts.
- ``repeats``: CreateDispatch, when the answer to it was lost.
- ``later``: answers the delivery first, and dispatches in a task, which a restart loses.
- ``keeps``: every delivery, for ever.
- ``forgets``: what the database was not there to hear of.
"""

import asyncio
import os
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from personas.contract import ATTRIBUTE_ATTEMPT, ATTRIBUTE_CALL
from router.app import WEBHOOK_PATH
from router.db import Store
from router.dispatch import LiveKit
from router.errors import DispatchUnknown, StoreUnavailable
from router.events import verify
from router.records.claims import Claim, Claims
from router.routing import Answer, InboundCall, decide
from router.services import livekit_from, plan_from
from router.settings import RouterSettings

LEASE_S: Final = 5.0
LOOKING_UP_S: Final = 1.0  # a persona that is slow to come
FIRST: Final = {ATTRIBUTE_ATTEMPT: "1"}


class NaiveRouter:
    """What the policies work on."""

    def __init__(self, settings: RouterSettings) -> None:
        self.settings = settings
        self.livekit: LiveKit
        self.claims: Claims
        self.kept: list[bytes] = []
        self.tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def opened(self, _app: Starlette) -> AsyncIterator[None]:
        """Open LiveKit and the database."""
        store = await Store(self.settings.store_url()).open()
        self.claims = Claims(
            store,
            owner="naive",
            lease_s=LEASE_S,
            clock=time.time,
            new_id=lambda: uuid.uuid4().hex,
        )
        async with livekit_from(self.settings) as self.livekit:
            yield
        await store.aclose()

    async def looks(self, call: InboundCall, _body: bytes) -> None:
        dispatches: Any = await self.livekit._api.agent_dispatch.list_dispatch(call.room)
        if not dispatches:
            await self.livekit.dispatch(call.room, "{}", FIRST)

    async def repeats(self, call: InboundCall, _body: bytes) -> None:
        taken = await self.claims.take(
            room=call.room, room_sid=call.room_sid, sip_call_id=call.sip_call_id
        )
        if isinstance(taken, Claim):
            try:
                await self.livekit.dispatch(call.room, "{}", FIRST)
            except DispatchUnknown:
                await self.livekit.dispatch(call.room, "{}", FIRST)

    async def forgets(self, call: InboundCall, _body: bytes) -> None:
        names: Any = {"room_sid": call.room_sid, "sip_call_id": call.sip_call_id}
        try:
            taken = await self.claims.take(room=call.room, **names)
        except StoreUnavailable:
            taken = Claim("unclaimed", 1)
        if isinstance(taken, Claim):
            attributes = FIRST | {ATTRIBUTE_CALL: taken.call_id}
            await self.livekit.dispatch(call.room, "{}", attributes)
            self.claims.dispatched(
                taken, dispatch_id="", persona_source="", persona_version="", failed=print
            )

    async def later(self, call: InboundCall, _body: bytes) -> None:
        async def work() -> None:
            await asyncio.sleep(LOOKING_UP_S)
            await self.livekit.dispatch(call.room, "{}", FIRST)

        task = asyncio.create_task(work())
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def keeps(self, call: InboundCall, body: bytes) -> None:
        self.kept.append(body * 50)  # so that two minutes show it
        await self.livekit.dispatch(call.room, "{}", FIRST)


def main() -> None:
    """Serve until ended."""
    naive = NaiveRouter(RouterSettings.load())
    policies: dict[str, Callable[[InboundCall, bytes], Awaitable[None]]] = {
        "looks": naive.looks,
        "repeats": naive.repeats,
        "later": naive.later,
        "keeps": naive.keeps,
        "forgets": naive.forgets,
    }
    policy = policies[os.environ["POLICY"]]
    settings = naive.settings
    keys = {key: secret.encode() for key, secret in settings.webhook_keys().items()}

    async def webhook(request: Request) -> Response:
        body = await request.body()
        event = verify(request.headers["authorization"], body, time.time(), keys)
        decision = decide(event, plan_from(settings))
        if isinstance(decision, Answer):
            await policy(decision.call, body)
        return Response()

    app = Starlette(routes=[Route(WEBHOOK_PATH, webhook, methods=["POST"])], lifespan=naive.opened)
    uvicorn.run(
        app,
        host=settings.host,
        port=settings.port,
        log_level="warning",
        timeout_keep_alive=120,
    )


if __name__ == "__main__":
    main()
