"""What can be seen of calls from outside: LiveKit's answers, the router's metrics, both logs."""

import asyncio
import inspect
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
from livekit import api
from prometheus_client.parser import text_string_to_metric_families

from router.access import operator_token
from router.demo.deliveries import body
from router.demo.phone import Phone
from router.events import sign
from tests.e2e.bed import Bed

ANSWER_TIMEOUT_S = 5.0
POLL_S = 0.03
#: Every phone number of these tests, in any notation.
NUMBER = re.compile(r"312\W{0,3}555\W{0,3}01\W?\d\W?\d")


@dataclass(frozen=True, slots=True)
class Evidence:
    """Asks LiveKit and the router, and reads what was logged since this was made."""

    bed: Bed
    livekit: api.LiveKitAPI
    http: httpx.AsyncClient
    read_from: Mapping[str, int] = field(default_factory=dict)

    async def agents(self, room: str) -> dict[str, dict[str, str]]:
        """Return the attributes of the agents in *room* by identity; empty if there is no room."""
        request = api.ListParticipantsRequest(room=room)
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                listed = await self.livekit.room.list_participants(request)
        except api.ServerError as exc:
            if exc.code == api.ServerErrorCode.NOT_FOUND:
                return {}
            raise
        return {
            one.identity: dict(one.attributes)
            for one in listed.participants
            if one.kind == api.ParticipantInfo.Kind.AGENT
        }

    async def persona_of(self, room: str, *, timeout_s: float = 10.0) -> dict[str, str]:
        """Wait until the one agent of *room* says who it is; return name, version and origin."""

        async def shown() -> dict[str, str]:
            found = list((await self.agents(room)).values())
            assert len(found) == 1, f"{len(found)} agents"
            return found[0] if "persona.origin" in found[0] else {}

        attributes = await until(shown, timeout_s=timeout_s, what="attributes of the agent")
        return {name: attributes[f"persona.{name}"] for name in ("name", "version", "origin")}

    async def room_sid(self, room: str) -> str:
        """Return the sid of *room*, or "" if there is no such room."""
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            listed = await self.livekit.room.list_rooms(api.ListRoomsRequest(names=[room]))
        return listed.rooms[0].sid if listed.rooms else ""

    async def delete(self, room: str) -> None:
        """End *room* for everyone."""
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            await self.livekit.room.delete_room(api.DeleteRoomRequest(room=room))

    async def dispatches(self, room: str) -> list[str]:
        """Return the names of the agents that were dispatched into *room*, which must exist."""
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            listed = await self.livekit.agent_dispatch.list_dispatch(room)
        return [one.agent_name for one in listed if one.agent_name]

    async def dispatch(self, room: str, metadata: str) -> None:
        """Send our agent into *room*, as a backend that is not our router might."""
        request = api.CreateAgentDispatchRequest(
            agent_name="friday-ai-agent", room=room, metadata=metadata
        )
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            await self.livekit.agent_dispatch.create_dispatch(request)

    async def counts(self, metric: str) -> dict[str, float]:
        """Return the samples of one of the router's counters by the value of its label."""
        return await self._samples(metric, "_total")

    async def timed(self, metric: str) -> dict[str, float]:
        """Return how often one of the router's histograms was told, by the value of its label."""
        return await self._samples(metric, "_count")

    async def _samples(self, metric: str, ending: str) -> dict[str, float]:
        page = (await self.http.get("/metrics")).raise_for_status().text
        return {
            ",".join(sample.labels.values()): sample.value
            for family in text_string_to_metric_families(page)
            if family.name == f"persona_router_{metric}"
            for sample in family.samples
            if sample.name.endswith(ending)
        }

    async def deliver(self, caller: Phone) -> httpx.Response:
        """Tell the router once more that *caller* joined, signed as LiveKit signs."""
        server = self.bed.livekit
        content = body(
            room=caller.room,
            room_sid=await self.room_sid(caller.room),
            attributes=caller.attributes,
            identity=caller.identity,
        )
        token = sign(content, time.time(), server.api_key, server.api_secret.encode())
        headers = {"Authorization": token, "Content-Type": "application/webhook+json"}
        return await self.http.post("/livekit-webhook", content=content, headers=headers)

    def router_events(self, name: str) -> list[dict[str, Any]]:
        """Return the router's log lines of this event."""
        return self._events("router", self.bed.router.child.log(), name)

    def agent_events(self, name: str) -> list[dict[str, Any]]:
        """Return the agent's log lines of this event."""
        return self._events("agent", self.bed.agent.child.log(), name)

    def _events(self, whose: str, log: str, name: str) -> list[dict[str, Any]]:
        whole, _, _being_written = log[self.read_from[whose] :].rpartition("\n")
        lines = [json.loads(line) for line in whole.splitlines()]
        return [line for line in lines if line["event"] == name]


async def until(
    happened: Callable[[], Awaitable[Any] | object], *, timeout_s: float = 15.0, what: str
) -> Any:
    """Ask again and again until the answer is something; return it."""
    deadline = time.monotonic() + timeout_s
    while True:
        answer = happened()
        if inspect.isawaitable(answer):
            answer = await answer
        if answer:
            return answer
        assert time.monotonic() < deadline, f"no {what} in {timeout_s:g} s"
        await asyncio.sleep(POLL_S)  # another process is to do it; there is no event


class Operator(httpx.Auth):
    """Proves with each request what LiveKit's secret proves."""

    def __init__(self, livekit_secret: str) -> None:
        self._secret = livekit_secret

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Add the header, unless the request has one of its own."""
        token = operator_token(self._secret, time.time())
        request.headers.setdefault("Authorization", f"Bearer {token}")
        yield request


@asynccontextmanager
async def open_evidence(bed: Bed) -> AsyncIterator[Evidence]:
    """Open the connections that the questions need."""
    server = bed.livekit
    client = api.LiveKitAPI(server.http_url, server.api_key, server.api_secret, failover=False)
    try:
        async with httpx.AsyncClient(
            base_url=bed.router.url,
            timeout=20.0,
            trust_env=False,
            auth=Operator(server.api_secret),
        ) as http:
            read_from = {
                "router": len(bed.router.child.log()),
                "agent": len(bed.agent.child.log()),
            }
            yield Evidence(bed, client, http, read_from)
    finally:
        await client.aclose()


def private_in(log: str, texts: Iterable[str]) -> list[str]:
    """Return the lines of *log* that hold a phone number of these tests or one of *texts*."""
    words = list(texts)
    return [
        line
        for line in log.splitlines()
        if NUMBER.search(line) or any(text in line for text in words)
    ]
