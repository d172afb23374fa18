"""Stands in for LiveKit's rooms and dispatches, as far as a router can see them."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from livekit.protocol.agent_dispatch import (
    AgentDispatch,
    CreateAgentDispatchRequest,
    ListAgentDispatchRequest,
    ListAgentDispatchResponse,
)
from livekit.protocol.models import ParticipantInfo
from livekit.protocol.models import Room as RoomInfo
from livekit.protocol.room import (
    ListParticipantsRequest,
    ListParticipantsResponse,
    ListRoomsRequest,
    ListRoomsResponse,
)

from personas.contract import ATTRIBUTE_ATTEMPT, ATTRIBUTE_CALL
from tests.fakes import Answer, FakeLiveKit

NOT_FOUND = (404, b'{"code": "not_found", "msg": "no such room"}')


@dataclass(frozen=True, slots=True)
class Dispatched:
    """One CreateDispatch that was done."""

    room: str
    attempt: str
    call_id: str


@dataclass(slots=True)
class Room:
    """A room with a caller, and the agent that was sent last."""

    sid: str
    caller: ParticipantInfo
    agent: ParticipantInfo | None = None
    dispatches: list[AgentDispatch] = field(default_factory=list)


class FakeRooms(FakeLiveKit):
    """LiveKit's API over rooms that it keeps in memory: no media, no workers.

    Every dispatch is done, and its agent is in the room at once in place of the one before.
    *loses* says of each dispatch by its number whether the answer is lost after it was done.
    """

    def __init__(self, loses: Callable[[int], bool] = lambda _number: False) -> None:
        super().__init__()
        self._loses = loses
        self.rooms: dict[str, Room] = {}
        self.dispatched: list[Dispatched] = []
        self.lost_answers = 0
        self.answers |= {
            "CreateDispatch": self._create,
            "ListDispatch": self._dispatches,
            "ListRooms": self._list,
            "ListParticipants": self._participants,
        }

    def ring(self, joined: bytes) -> str:
        """Open the room of a caller, from the request that delivers that they joined."""
        document = json.loads(joined.partition(b"\r\n\r\n")[2])
        room, participant = document["room"], document["participant"]
        caller = ParticipantInfo(
            sid=participant["sid"],
            identity=participant["identity"],
            kind=ParticipantInfo.Kind.SIP,
            attributes=participant["attributes"],
        )
        self.rooms[room["name"]] = Room(room["sid"], caller)
        return str(room["name"])

    def close(self, room: str) -> None:
        """End a room."""
        self.rooms.pop(room, None)

    def per_attempt(self) -> Counter[tuple[str, str]]:
        """Count the dispatches of each attempt of each call."""
        return Counter((one.room, one.attempt) for one in self.dispatched)

    def _create(self, content: bytes) -> Answer | None:
        asked = CreateAgentDispatchRequest.FromString(content)
        attempt = asked.attributes.get(ATTRIBUTE_ATTEMPT, "")
        call_id = asked.attributes.get(ATTRIBUTE_CALL, "")
        self.dispatched.append(Dispatched(asked.room, attempt, call_id))
        made = AgentDispatch(
            id=f"AD_{len(self.dispatched)}", agent_name=asked.agent_name, room=asked.room
        )
        room = self.rooms.get(asked.room)
        if room is not None:
            room.dispatches.append(made)
            room.agent = ParticipantInfo(
                sid=f"PA_{made.id}",
                identity=f"agent-{made.id}",
                kind=ParticipantInfo.Kind.AGENT,
                attributes=dict(asked.attributes),
            )
        if self._loses(len(self.dispatched)):
            self.lost_answers += 1
            return None
        return 200, made.SerializeToString()

    def _dispatches(self, content: bytes) -> Answer:
        room = self.rooms.get(ListAgentDispatchRequest.FromString(content).room)
        listed = room.dispatches if room is not None else []
        return 200, ListAgentDispatchResponse(agent_dispatches=listed).SerializeToString()

    def _list(self, content: bytes) -> Answer:
        names = set(ListRoomsRequest.FromString(content).names)
        listed = [
            RoomInfo(sid=room.sid, name=name)
            for name, room in self.rooms.items()
            if not names or name in names
        ]
        return 200, ListRoomsResponse(rooms=listed).SerializeToString()

    def _participants(self, content: bytes) -> Answer:
        room = self.rooms.get(ListParticipantsRequest.FromString(content).room)
        if room is None:
            return NOT_FOUND
        present: list[Any] = [room.caller, *([room.agent] if room.agent else [])]
        return 200, ListParticipantsResponse(participants=present).SerializeToString()
