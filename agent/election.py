"""One agent speaks: election by join order, without a word between the agents.

A single CreateDispatch can start two jobs, and the router dispatches again when an agent does not
come, so several agents may join one room. LiveKit lets participants in one after the other, and
shows each of them all who came before: of two agents exactly one finds the other already there.
It does not show who comes later at once (a participant that publishes nothing is announced up to
3 s late), so nothing here waits for such news to be safe; it only speeds things up.
"""

import asyncio
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

import aiohttp
import structlog
from livekit import api, rtc

from personas.contract import ATTRIBUTE_ATTEMPT, ATTRIBUTE_CALL

log = structlog.get_logger(__name__)

ATTRIBUTE_AGENT_NAME: Final = "lk.agent.name"  # LiveKit's own, set for each accepted job
REMOVE_TIMEOUT_S: Final = 3.0
_ATTEMPT: Final = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class Stay:
    """Speak; *remove* (identities) belong to earlier attempts."""

    remove: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Leave:
    """Go without a word."""

    because: str


Verdict: TypeAlias = Stay | Leave


@dataclass(frozen=True, slots=True)
class Rival:
    """Another agent of this call in the room."""

    identity: str
    attempt: int


def on_arrival(attempt: int, present: Iterable[Rival]) -> Verdict:
    """Decide for an agent that has just joined and finds *present* in the room."""
    rivals = tuple(present)
    if any(rival.attempt >= attempt for rival in rivals):
        return Leave("another agent was here first")
    return Stay(tuple(rival.identity for rival in rivals))


def on_newcomer(attempt: int, newcomer: Rival) -> Verdict:
    """Decide for an agent that is there when *newcomer* joins."""
    if newcomer.attempt > attempt:
        return Leave("a later attempt took over")
    return Stay()


class Seen(Protocol):
    """What is looked at of a participant."""

    @property
    def identity(self) -> str:
        """Who it is."""

    @property
    def kind(self) -> int:
        """What it is, by LiveKit's numbers."""

    @property
    def attributes(self) -> Mapping[str, str]:
        """What it says of itself."""


def rival_in(participant: Seen, *, agent_name: str, call_id: str) -> Rival | None:
    """Read *participant* as an agent of our name or of our call; anyone else is no rival."""
    if participant.kind != rtc.ParticipantKind.PARTICIPANT_KIND_AGENT:
        return None
    attributes = participant.attributes
    ours = attributes.get(ATTRIBUTE_AGENT_NAME) == agent_name
    same_call = bool(call_id) and attributes.get(ATTRIBUTE_CALL) == call_id
    if not ours and not same_call:
        return None
    attempt = attributes.get(ATTRIBUTE_ATTEMPT, "")
    return Rival(participant.identity, int(attempt) if _ATTEMPT.fullmatch(attempt) else 1)


async def remove(client: api.LiveKitAPI, room: str, identities: Iterable[str]) -> None:
    """Have agents of earlier attempts removed; one that is gone already is fine."""
    for identity in identities:
        request = api.RoomParticipantIdentity(room=room, identity=identity)
        try:
            async with asyncio.timeout(REMOVE_TIMEOUT_S):
                await client.room.remove_participant(request)
        except (TimeoutError, api.ServerError, aiohttp.ClientError) as exc:
            if not (isinstance(exc, api.ServerError) and exc.code == api.ServerErrorCode.NOT_FOUND):
                log.warning("rival.not_removed", error=type(exc).__name__)
        else:
            log.info("rival.removed")
