"""What stands at the edge of the router's process in tests: LiveKit."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self, TypeAlias

from aiohttp import web

from router.errors import DispatchError, LiveKitUnavailable


@dataclass(frozen=True, slots=True)
class Sent:
    """One dispatch."""

    room: str
    metadata: Mapping[str, Any]
    attributes: Mapping[str, str]
    agent_name: str | None = None


@dataclass
class FakeDispatcher:
    """Takes every dispatch; ``failing`` is raised instead, ``held`` keeps it back until set."""

    failing: DispatchError | None = None
    held: asyncio.Event | None = None
    sent: list[Sent] = field(default_factory=list)

    async def dispatch(
        self, room: str, metadata: str, attributes: Mapping[str, str], agent_name: str | None = None
    ) -> str:
        if self.held is not None:
            await self.held.wait()
        if self.failing is not None:
            raise self.failing
        self.sent.append(Sent(room, json.loads(metadata), attributes, agent_name))
        return f"AD_{len(self.sent)}"


@dataclass(frozen=True, slots=True)
class FakeTrunk:
    """An inbound trunk."""

    sip_trunk_id: str
    numbers: Sequence[str] = ()


@dataclass
class FakeTrunkDirectory:
    """LiveKit's list of trunks; ``failing`` is raised instead."""

    trunks: Sequence[FakeTrunk] = ()
    failing: LiveKitUnavailable | None = None
    asked: int = 0

    async def inbound_trunks(self) -> Sequence[FakeTrunk]:
        self.asked += 1
        if self.failing is not None:
            raise self.failing
        return self.trunks


Answer: TypeAlias = tuple[int, bytes]
MAX_FIELD_BYTES = 256 * 1024  # the name of a room stands in the token of a dispatch


class FakeLiveKit:
    """LiveKit's API as an HTTP server: answers what a test told it, and keeps what it was asked.

    ``answers`` maps a method's name (``CreateDispatch``) to status and body, or to what gives them
    for a request's body, or None for an answer that is lost; ``hang`` names methods that never
    answer, ``cut`` methods whose connection is closed instead.
    """

    def __init__(self) -> None:
        self.answers: dict[str, Answer | Callable[[bytes], Answer | None]] = {}
        self.hang: set[str] = set()
        self.cut: set[str] = set()
        self.asked: list[tuple[str, bytes, str]] = []  # method, body, authorization
        self._runner: web.AppRunner
        self.url = ""

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        method = request.path.rpartition("/")[2]
        content = await request.read()
        self.asked.append((method, content, request.headers.get("Authorization", "")))
        if method in self.cut:
            assert request.transport is not None
            request.transport.abort()
        if method in self.hang:
            await asyncio.Event().wait()
        answer: Answer | Callable[[bytes], Answer | None] | None
        answer = self.answers.get(method, (200, b""))
        if callable(answer):
            answer = answer(content)
        if answer is None:
            assert request.transport is not None
            request.transport.abort()
        status, body = answer or (500, b"")
        kind = "application/protobuf" if status == 200 else "application/json"
        return web.Response(status=status, body=body, content_type=kind)

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, max_field_size=MAX_FIELD_BYTES)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port = self._runner.addresses[0][1]
        self.url = f"ws://127.0.0.1:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()
