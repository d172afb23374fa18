"""What has become of a call that we had dialed, by what can be seen of it. Pure: no I/O, no clock.

It never says to dial again. What a phone may have done and nobody can tell any more is
``uncertain``; an agent's report, which may come later, says it better. What is seen are the room,
the callee's participant in it, and what LiveKit's events told of both.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, Self, TypeAlias

from router.routing import KIND_AGENT, Event, Participant

STATUS: Final = "sip.callStatus"
NOBODY_S: Final = 30.0  # for an agent to come and dial: its order is good for 20 s
REPORT_S: Final = 30.0  # for the report of an agent that has left
ALONE_S: Final = 6.0  # for another agent to take a callee over
LONGEST_RING_S: Final = 150.0  # an agent that is in the room and says nothing by then


Ended: TypeAlias = Literal["answered", "no_answer", "declined", "canceled"]

#: Why LiveKit says that a callee has left who had not picked up. Any other reason leaves it open.
_LEFT: Final[Mapping[str, Ended]] = {
    "USER_UNAVAILABLE": "no_answer",
    "USER_REJECTED": "declined",  # or busy: LiveKit has one word for both
    "ROOM_DELETED": "canceled",
    "PARTICIPANT_REMOVED": "canceled",
}


@dataclass(frozen=True, slots=True)
class Heard:
    """What LiveKit's events told of an attempt, in Unix seconds; None: nothing."""

    agent_seen_at: float | None = None  # an agent joined, or left
    callee_seen_at: float | None = None
    left_at: float | None = None  # the callee did
    left_as: Ended | None = None  # how it ended by that
    room_gone_at: float | None = None

    def and_then(self, later: Self) -> Self:
        """Add what was heard later."""
        return replace(
            self,
            agent_seen_at=later.agent_seen_at or self.agent_seen_at,
            callee_seen_at=later.callee_seen_at or self.callee_seen_at,
            left_at=self.left_at or later.left_at,
            left_as=self.left_as or later.left_as,
            room_gone_at=self.room_gone_at or later.room_gone_at,
        )


NOTHING_HEARD: Final = Heard()


def heard(event: Event, at: float) -> Heard:
    """Read what an event says of the attempt whose room it is about; *at* is when it came."""
    if event.name == "room_finished":
        return Heard(room_gone_at=at)
    who = event.participant
    if who is None or event.name not in {"participant_joined", "participant_left"}:
        return NOTHING_HEARD
    if who.kind == KIND_AGENT:
        return Heard(agent_seen_at=at)
    if who.identity != event.room:  # room and callee of an attempt have one name
        return NOTHING_HEARD
    if event.name == "participant_joined":
        return Heard(callee_seen_at=at)
    spoke = who.attributes.get(STATUS) == "active"
    left_as: Ended | None = "answered" if spoke else _LEFT.get(who.left_because)
    return Heard(callee_seen_at=at, left_at=at, left_as=left_as)


@dataclass(frozen=True, slots=True)
class Sight:
    """What was seen of an attempt so far, by the router's own clock; None: never."""

    since: float  # when it was first looked at
    agent_at: float | None = None  # when an agent was seen last
    callee_at: float | None = None
    unbroken: bool = True  # it was looked at all the time since the agent was sent
    left_at: float | None = None  # when the callee left, by an event
    left_as: Ended | None = None
    adopted_at: float | None = None  # when a router first took it over from one that had died

    def told(self, events: Heard) -> Self:
        """Add what events told."""
        return replace(
            self,
            agent_at=_later(self.agent_at, events.agent_seen_at),
            callee_at=_later(self.callee_at, events.callee_seen_at),
            left_at=events.left_at,
            left_as=events.left_as,
        )


@dataclass(frozen=True, slots=True)
class Wait:
    """Look again."""


@dataclass(frozen=True, slots=True)
class PickedUp:
    """Somebody, or something, answers."""


@dataclass(frozen=True, slots=True)
class Over:
    """It is over; *end_room*: the room has to go as well."""

    state: Literal[Ended, "failed", "uncertain"]
    because: str
    end_room: bool = False


Resolution: TypeAlias = Wait | PickedUp | Over


def seen(sight: Sight, participants: Sequence[Participant], identity: str, now: float) -> Sight:
    """Add what the room shows at *now*; no room, nobody."""
    agent = any(one.kind == KIND_AGENT for one in participants)
    callee = any(one.identity == identity for one in participants)
    return replace(
        sight,
        agent_at=now if agent else sight.agent_at,
        callee_at=now if callee else sight.callee_at,
    )


def resolve(
    participants: Sequence[Participant],
    identity: str,
    *,
    answered: bool,
    dialed_at: float,
    sight: Sight,
    now: float,
) -> Resolution:
    """Say what has become of it; *answered*: somebody had picked up; times are Unix seconds."""
    callee = next((one for one in participants if one.identity == identity), None)
    agent = any(one.kind == KIND_AGENT for one in participants)
    if callee is not None:
        return _with_callee(callee, answered=answered, agent=agent, sight=sight, now=now)
    if agent:
        if now - dialed_at > LONGEST_RING_S and not answered:
            return Over("uncertain", "the agent does not say what became of it", end_room=True)
        return Wait()
    return _nobody(answered=answered, dialed_at=dialed_at, sight=sight, now=now)


def _nobody(*, answered: bool, dialed_at: float, sight: Sight, now: float) -> Resolution:
    came = sight.agent_at is not None or sight.callee_at is not None
    # Routers that look at it may die as well: the time counts from the first of them.
    since = sight.adopted_at or sight.since
    last = max(since if came or not sight.unbroken else 0.0, dialed_at)
    last = max(last, sight.agent_at or 0.0, sight.callee_at or 0.0, sight.left_at or 0.0)
    if now - last < (REPORT_S if came else NOBODY_S):
        return Wait()
    if answered:
        return Over("answered", "the room is gone")
    if sight.left_as is not None:
        return Over(sight.left_as, "LiveKit told how the callee left", end_room=True)
    if sight.unbroken and not came:
        return Over("failed", "no agent came", end_room=True)
    because = "the agent did not say what became of it" if came else "nobody saw it"
    return Over("uncertain", because, end_room=True)


def _with_callee(
    callee: Participant, *, answered: bool, agent: bool, sight: Sight, now: float
) -> Resolution:
    if not agent and now - max(sight.since, sight.agent_at or 0.0) > ALONE_S:
        if answered or callee.attributes.get(STATUS) == "active":
            return Over("answered", "the agent was lost", end_room=True)
        return Over("canceled", "the agent was lost while it rang", end_room=True)
    if callee.attributes.get(STATUS) == "active" and not answered:
        return PickedUp()
    return Wait()


def _later(one: float | None, other: float | None) -> float | None:
    return max(one or 0.0, other or 0.0) or None
