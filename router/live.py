"""Has the agents of calls that go on speak as another persona.

The change is sent to the agent alone, through LiveKit's server API: the agent takes it from nobody
else, and the caller does not see it.
"""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from personas.changes import TOPIC, Change, parts_of, write
from personas.contract import ATTRIBUTE_CALL, Origin, Source
from personas.found import Found
from personas.model import Persona
from personas.phone import DialedNumber, PhoneNumber, read_dialed
from router.errors import LiveKitUnavailable, NotChanged
from router.records.recollection import Recollection
from router.routing import KIND_AGENT, Participant

log = structlog.get_logger(__name__)

MAX_PERSONA_BYTES: Final = 400 * 1024
AT_ONCE: Final = 8
BECAUSE_SENT: Final = "it was changed during the call"


class Rooms(Protocol):
    """What is asked of LiveKit; each method may raise LiveKitUnavailable."""

    async def participants(self, room: str) -> list[Participant]:
        """Return who is in *room*."""
        ...

    async def send(self, room: str, identities: Sequence[str], topic: str, data: bytes) -> None:
        """Send *data*, reliably, to these participants alone."""
        ...


class Speakers(Protocol):
    """Who speaks in which call; each method may raise StoreUnavailable."""

    async def changed(self, call_id: str, *, persona: Persona, persona_source: str) -> None:
        """Write down that *persona* speaks from now on."""
        ...


@dataclass(frozen=True, slots=True)
class Changed:
    """How many calls speak as another persona now, and how many were not reached."""

    changed: int = 0
    same: int = 0
    not_reached: int = 0

    def __add__(self, other: "Changed") -> "Changed":
        return Changed(
            self.changed + other.changed,
            self.same + other.same,
            self.not_reached + other.not_reached,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class LiveCalls:
    """Changes personas of calls that go on."""

    livekit: Rooms
    claims: Speakers
    recollection: Recollection
    find: Callable[[DialedNumber], Awaitable[Found]]

    async def change(self, call_id: str, persona: Persona, source: Source = "api") -> str:
        """Have *persona* speak in a call; return its version.

        Raises:
            NotChanged: there is no such call, no agent in it, or the persona is too long.
            LiveKitUnavailable, StoreUnavailable: it may have been done.
        """
        if len(persona.raw.encode()) > MAX_PERSONA_BYTES:
            raise NotChanged("persona_too_large")
        about = await self.recollection.about(call_id)
        if about is None or about.ended or about.room is None:
            raise NotChanged("no_such_call")
        origin = Origin(source=source, version=persona.version, because=BECAUSE_SENT)
        agents = await self._agents(about.room, call_id)
        # First what the call may do, by the tools that it has: the agent asks for them at once.
        await self.claims.changed(call_id, persona=persona, persona_source=source)
        for packet in parts_of(write(Change(call_id, persona, origin)), uuid.uuid4().hex):
            await self.livekit.send(about.room, agents, TOPIC, packet)
        log.info("persona.sent", call_id=call_id, version=persona.version, source=source)
        return persona.version

    async def refresh(self, number: PhoneNumber | None) -> Changed:
        """Look the persona up anew for each call of *number* (``None``: all) that goes on.

        Raises:
            StoreUnavailable: the database did not answer.
        """
        calls = await self.recollection.going_on(number.e164 if number else None)
        places = asyncio.Semaphore(AT_ONCE)

        async def refreshed(call_id: str, dialed: str, version: str | None) -> str:
            async with places:
                found = await self.find(read_dialed(dialed))
                if found.persona.version == version:
                    return "same"
                try:
                    await self.change(call_id, found.persona, found.origin.source)
                except (NotChanged, LiveKitUnavailable) as exc:
                    log.warning("persona.not_sent", call_id=call_id, reason=exc.reason)
                    return "not_reached"
                return "changed"

        return _counted(await asyncio.gather(*(refreshed(*call) for call in calls)))

    async def _agents(self, room: str, call_id: str) -> list[str]:
        try:
            present = await self.livekit.participants(room)
        except LiveKitUnavailable as exc:
            if exc.reason == "not_found":
                raise NotChanged("no_such_call") from exc
            raise
        agents = [
            one.identity
            for one in present
            if one.kind == KIND_AGENT and one.attributes.get(ATTRIBUTE_CALL) == call_id
        ]
        if not agents:
            raise NotChanged("no_agent")
        return agents


def _counted(outcomes: Iterable[str]) -> Changed:
    words = list(outcomes)
    return Changed(words.count("changed"), words.count("same"), words.count("not_reached"))
