"""What has become of a call that we had dialed, by what can be seen of it. Pure: no I/O, no clock.

It never says to dial again. What a phone may have done and nobody can tell any more is
``uncertain``; an agent's report, which may come later, says it better.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from router.routing import KIND_AGENT, Participant

STATUS: Final = "sip.callStatus"
NOBODY_S: Final = 30.0  # for an agent to come and dial: its order is good for 20 s
REPORT_S: Final = 30.0  # for the report of an agent that has left
ALONE_S: Final = 6.0  # for another agent to take a callee over
LONGEST_RING_S: Final = 150.0  # an agent that is in the room and says nothing by then


@dataclass(frozen=True, slots=True)
class Sight:
    """What was seen of an attempt so far, by the router's own clock; None: never."""

    since: float  # when it was first looked at
    agent_at: float | None = None  # when an agent was seen last
    callee_at: float | None = None
    unbroken: bool = True  # it was looked at all the time since the agent was sent


@dataclass(frozen=True, slots=True)
class Wait:
    """Look again."""


@dataclass(frozen=True, slots=True)
class PickedUp:
    """Somebody, or something, answers."""


@dataclass(frozen=True, slots=True)
class Over:
    """It is over; *end_room*: the room has to go as well."""

    state: Literal["answered", "failed", "canceled", "uncertain"]
    because: str
    end_room: bool = False


Resolution: TypeAlias = Wait | PickedUp | Over


def seen(sight: Sight, participants: Sequence[Participant], identity: str, now: float) -> Sight:
    """Add what the room shows at *now*; no room, nobody."""
    agent = any(one.kind == KIND_AGENT for one in participants)
    callee = any(one.identity == identity for one in participants)
    return Sight(
        sight.since,
        now if agent else sight.agent_at,
        now if callee else sight.callee_at,
        sight.unbroken,
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
    last = max(sight.since if came or not sight.unbroken else 0.0, dialed_at)
    last = max(last, sight.agent_at or 0.0, sight.callee_at or 0.0)
    if now - last < (REPORT_S if came else NOBODY_S):
        return Wait()
    if answered:
        return Over("answered", "the room is gone")
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
