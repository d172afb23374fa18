"""Stands in for LiveKit, its SIP service and the agents: who is sent into a room dials and reports.

Like the real one, an agent joins, dials once as its order says, unless that came too late, and
reports what became of it, again and again until a router takes it. ``rung`` is the truth: each
phone that rang.
"""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
from livekit.protocol.agent_dispatch import AgentDispatch, CreateAgentDispatchRequest
from livekit.protocol.models import ParticipantInfo
from livekit.protocol.models import Room as RoomInfo
from livekit.protocol.room import (
    DeleteRoomRequest,
    ListParticipantsRequest,
    ListParticipantsResponse,
    ListRoomsResponse,
)

from personas.reports import CallReport, Closed, Opened, numbered
from tests.fakes import Answer, FakeLiveKit
from tests.faults.rooms import NOT_FOUND

JOINS_S: Final = (0.01, 0.1)
RINGS_S: Final = (0.1, 0.6)
REPORT_PAUSE_S: Final = 0.2
ENDINGS: Final = ("answered", "busy", "no_answer", "declined")


@dataclass(slots=True)
class Call:
    """A room that a router had opened, and who is in it."""

    room: str
    agent: bool = False
    status: str = ""  # of the callee, while there is one
    over: asyncio.Event = field(default_factory=asyncio.Event)


class FakeExchange(FakeLiveKit):
    """*ambiguous* is the share of calls of which LiveKit's answer is lost; *ports* are routers'."""

    def __init__(self, ports: Callable[[], Sequence[int]], *, ambiguous: float, seed: int) -> None:
        super().__init__()
        self._ports = ports
        self._ambiguous = ambiguous
        self._chance = random.Random(seed)  # noqa: S311  # the same run each time
        self._tasks: set[asyncio.Task[None]] = set()
        self.calls: dict[str, Call] = {}
        self.rung: Counter[str] = Counter()  # by number
        self.lost_answers = 0
        self.most_at_once = 0
        self._ringing = 0
        self.answers |= {
            "CreateDispatch": self._create,
            "ListRooms": self._rooms,
            "ListParticipants": self._participants,
            "DeleteRoom": self._delete,
        }

    @property
    def busy(self) -> bool:
        """Whether an agent has something to do or to report."""
        return bool(self._tasks)

    async def aclose(self) -> None:
        """End every agent."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _create(self, content: bytes) -> Answer | None:
        asked = CreateAgentDispatchRequest.FromString(content)
        lost = self._chance.random() < self._ambiguous / 2
        task = asyncio.create_task(self._agent(asked.room, json.loads(asked.metadata)["_call"]))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if lost:
            self.lost_answers += 1
            return None
        return 200, AgentDispatch(id="AD_1", room=asked.room).SerializeToString()

    async def _agent(self, room: str, config: dict[str, Any]) -> None:
        await asyncio.sleep(self._chance.uniform(*JOINS_S))
        call = self.calls.setdefault(room, Call(room))
        call.agent = True
        disposition, answered_at = await self._dial(call, config["dial"])
        self.calls.pop(room, None)
        await self._report(config, disposition, answered_at)

    async def _dial(self, call: Call, order: dict[str, Any]) -> tuple[str, float | None]:
        if time.time() > order["not_after"]:
            return "failed", None
        self.rung[order["number"]] += 1
        self._ringing += 1
        self.most_at_once = max(self.most_at_once, self._ringing)
        call.status = "ringing"
        try:
            async with asyncio.timeout(self._chance.uniform(*RINGS_S)):
                await call.over.wait()
                return "canceled", None
        except TimeoutError:
            pass
        finally:
            self._ringing -= 1
        if self._chance.random() < self._ambiguous / 2:
            self.lost_answers += 1
            return "uncertain", None
        ending = self._chance.choice(ENDINGS)
        if ending != "answered":
            return ending, None
        call.status = "active"
        answered_at = time.time()
        await asyncio.sleep(self._chance.uniform(*RINGS_S))
        return ending, answered_at

    async def _report(
        self, config: dict[str, Any], disposition: str, answered_at: float | None
    ) -> None:
        events = (
            numbered(Opened(room=config["room"], direction="outbound", answered_at=answered_at),
                     seq=1, attempt=1, at=time.time()),
            numbered(Closed(reason="test", disposition=disposition), seq=2, attempt=1,
                     at=time.time()),
        )  # fmt: skip
        report = CallReport(call_id=config["call_id"], events=events).model_dump_json()
        headers = {
            "Authorization": f"Bearer {config['report']['token']}",
            "Content-Type": "application/json",
        }
        async with aiohttp.ClientSession() as session:
            while True:
                port = self._chance.choice(list(self._ports()))
                url = f"http://127.0.0.1:{port}/api/reports"
                timeout = aiohttp.ClientTimeout(total=5)
                try:
                    asking = session.post(url, data=report, headers=headers, timeout=timeout)
                    async with asking as answer:
                        if answer.status == 200:
                            return
                except (aiohttp.ClientError, TimeoutError):
                    pass
                await asyncio.sleep(REPORT_PAUSE_S)

    def _rooms(self, _content: bytes) -> Answer:
        listed = [RoomInfo(sid=f"RM_{one}", name=one) for one in self.calls]
        return 200, ListRoomsResponse(rooms=listed).SerializeToString()

    def _participants(self, content: bytes) -> Answer:
        call = self.calls.get(ListParticipantsRequest.FromString(content).room)
        if call is None:
            return NOT_FOUND
        kinds = ParticipantInfo.Kind
        there = [ParticipantInfo(sid="PA_a", identity="agent-1", kind=kinds.AGENT)]
        if call.status:
            attributes = {"sip.callStatus": call.status}
            there.append(
                ParticipantInfo(
                    sid="PA_c", identity=call.room, kind=kinds.SIP, attributes=attributes
                )
            )
        return 200, ListParticipantsResponse(participants=there).SerializeToString()

    def _delete(self, content: bytes) -> Answer:
        call = self.calls.get(DeleteRoomRequest.FromString(content).room)
        if call is None:
            return NOT_FOUND
        call.over.set()
        return 200, b""
