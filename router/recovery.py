"""What does a room need? Pure: a room, its claim, what was seen before → one action.

It sends nobody and removes nobody, has no clock of its own, and never trusts LiveKit's list of
dispatches or its count of participants: both say what was the case, not what is.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from personas.contract import (
    ATTRIBUTE_ATTEMPT,
    ATTRIBUTE_BEAT,
    ATTRIBUTE_CALL,
    ATTRIBUTE_ORIGIN,
    ATTRIBUTE_VERSION,
)
from router.routing import KIND_AGENT, KIND_SIP, Participant

ClaimState = Literal["claimed", "released", "dispatched", "unknown", "answered", "ended"]


@dataclass(frozen=True, slots=True)
class Limits:
    """How long is too long, in seconds."""

    answer_timeout_s: float = 3.0  # from a dispatch to its agent in the room
    adopt_after_s: float = 0.5  # a caller without a claim: the webhook may be on its way
    gone_s: float = 3.0  # an agent that has left a caller
    quiet_s: float = 1.5  # an agent whose sign of life is due: from then on it is looked at often
    frozen_s: float = 6.0  # an agent that gives no sign of life
    alone_s: float = 10.0  # a room without a caller
    attempts: int = 5  # in a row, without an agent


@dataclass(frozen=True, slots=True)
class Watched:
    """A call's claim, as the watch sees it."""

    call_id: str
    room_sid: str
    room: str
    state: ClaimState
    attempt: int
    failures: int  # attempts in a row that brought no agent
    lease_until: float  # unix seconds
    updated_at: float  # unix seconds
    persona_version: str | None = None  # what was sent to its last agent, if that is known


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of a room before; times are of the router's own monotonic clock."""

    first_at: float
    no_caller_since: float | None = None
    no_agent_since: float | None = None
    beats: tuple[tuple[str, str, float], ...] = ()  # identity, sign of life, since when the same


@dataclass(frozen=True, slots=True)
class Well:
    """Nothing to do; look again later."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do yet; look again soon, and at *until* (monotonic) if that is known."""

    until: float | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Confirm:
    """The agent is there."""

    call: Watched


@dataclass(frozen=True, slots=True)
class Adopt:
    """A caller whom nobody has claimed: their webhook was lost, or is late."""

    caller: Participant
    because: str = "no webhook has come for a caller"


@dataclass(frozen=True, slots=True)
class Redispatch:
    """Send another agent, as the next attempt."""

    call: Watched
    caller: Participant
    because: str
    remove: tuple[str, ...] = ()  # identities that must not be there when it comes
    resume: bool = False  # the caller has been spoken to
    fallback: bool = False  # the fallback agent, not ours


@dataclass(frozen=True, slots=True)
class Ourselves:
    """Answer the caller without an agent: the last resort."""

    call: Watched
    caller: Participant
    because: str


@dataclass(frozen=True, slots=True)
class GiveUp:
    """End the ringing, so that the carrier's overflow works."""

    call: Watched
    caller: Participant
    because: str


@dataclass(frozen=True, slots=True)
class EndRoom:
    """Nobody is there to be answered."""

    call: Watched
    because: str


Action: TypeAlias = Well | Wait | Confirm | Adopt | Redispatch | Ourselves | GiveUp | EndRoom


@dataclass(frozen=True, slots=True)
class Means:
    """What there is beside our agent."""

    fallback_agent: bool = False
    last_resort: bool = False  # the router can answer a call itself


@dataclass(frozen=True, slots=True)
class Look:
    """One look at a room: who is there, and what time it is."""

    participants: Sequence[Participant]
    seen: Seen  # this look included
    at: float  # monotonic seconds
    now: float  # unix seconds

    @property
    def caller(self) -> Participant | None:
        """The inbound SIP caller, if there is one."""
        for one in self.participants:
            if one.kind == KIND_SIP and one.attributes.get("sip.ruleID"):
                return one
        return None

    @property
    def agents(self) -> tuple[Participant, ...]:
        """Every agent, whoever sent it."""
        return tuple(one for one in self.participants if one.kind == KIND_AGENT)


def look_at(
    participants: Sequence[Participant], before: Seen | None, *, at: float, now: float
) -> Look:
    """Add what a room looks like at this moment to what was seen *before*."""
    before = before or Seen(first_at=at)
    known = {identity: (beat, since) for identity, beat, since in before.beats}
    beats = []
    for agent in participants:
        if agent.kind == KIND_AGENT:
            beat = agent.attributes.get(ATTRIBUTE_BEAT, "")
            was, since = known.get(agent.identity, ("", at))
            beats.append((agent.identity, beat, since if beat == was else at))
    look = Look(participants, before, at, now)
    seen = Seen(
        first_at=before.first_at,
        no_caller_since=None if look.caller else _since(before.no_caller_since, at),
        no_agent_since=None if look.agents else _since(before.no_agent_since, at),
        beats=tuple(beats),
    )
    return replace(look, seen=seen)


def assess(look: Look, claim: Watched | None, limits: Limits, means: Means) -> Action:
    """Say what the room needs."""
    caller = look.caller
    if caller is None:
        return _without_caller(look, claim, limits)
    if claim is None:
        return _unclaimed(look, caller, limits)
    if look.agents:
        return _with_agents(look, caller, claim, limits)
    return _without_agent(look, caller, claim, limits, means)


def mismatched(look: Look, claim: Watched) -> tuple[str, ...]:
    """Name the agents, by identity, that speak as the house persona though they were sent another.

    The agent decides so, when what reached it is not what was sent, or not for this caller.
    """
    if claim.persona_version is None or claim.state not in {"dispatched", "answered"}:
        return ()
    sent = {ATTRIBUTE_CALL: claim.call_id, ATTRIBUTE_ATTEMPT: str(claim.attempt)}
    return tuple(
        agent.identity
        for agent in look.agents
        if sent.items() <= agent.attributes.items()
        and agent.attributes.get(ATTRIBUTE_ORIGIN) == "house"
        and agent.attributes.get(ATTRIBUTE_VERSION) != claim.persona_version
    )


def _unclaimed(look: Look, caller: Participant, limits: Limits) -> Action:
    if look.agents:
        return Well()  # somebody answers it: a dispatch rule of its own, say
    young = look.at - look.seen.first_at < limits.adopt_after_s
    return Wait() if young else Adopt(caller)


def _without_caller(look: Look, claim: Watched | None, limits: Limits) -> Action:
    if claim is None:
        return Well()  # no call of ours
    since = look.at if look.seen.no_caller_since is None else look.seen.no_caller_since
    alone = look.at - since >= limits.alone_s
    return EndRoom(claim, "the caller is gone") if alone else Wait()


def _with_agents(look: Look, caller: Participant, claim: Watched, limits: Limits) -> Action:
    frozen = {
        identity
        for identity, beat, since in look.seen.beats
        if beat and look.at - since >= limits.frozen_s
    }
    if all(agent.identity in frozen for agent in look.agents):
        because, remove = "the agent gives no sign of life", tuple(sorted(frozen))
        return Redispatch(claim, caller, because, remove=remove, resume=True)
    if claim.state == "claimed" and claim.lease_until > look.now:
        return Wait()  # an attempt is under way; the election decides who stays
    if claim.state != "answered":
        return Confirm(claim)
    beats = look.seen.beats
    if all(beat and look.at - since >= limits.quiet_s for _, beat, since in beats):
        return Wait(max(since for _, _, since in beats) + limits.frozen_s)
    return Well()


def _without_agent(
    look: Look, caller: Participant, claim: Watched, limits: Limits, means: Means
) -> Action:
    if claim.state == "answered":
        since = look.at if look.seen.no_agent_since is None else look.seen.no_agent_since
        if look.at - since < limits.gone_s:
            return Wait(since + limits.gone_s)
        return Redispatch(claim, caller, "the agent has left the caller", resume=True)
    if claim.state == "claimed" and claim.lease_until > look.now:
        return Wait()
    return _not_come(look, caller, claim, limits, means)


def _not_come(
    look: Look, caller: Participant, claim: Watched, limits: Limits, means: Means
) -> Action:
    # Backing off: what LiveKit refused is tried again at once, and then less and less often too.
    waits = claim.failures / 2 + (claim.state != "released")
    if look.now - claim.updated_at < limits.answer_timeout_s * waits and claim.state != "claimed":
        return Wait()
    resume = caller.attributes.get("sip.callStatus") == "active"  # they have been spoken to
    if claim.failures + 1 < limits.attempts:
        return Redispatch(claim, caller, "no agent has come", resume=resume)
    because = "no agent has come, time after time"
    further = claim.failures + 1 - limits.attempts  # what was tried after our own agent
    if means.fallback_agent and further == 0:
        return Redispatch(claim, caller, because, resume=resume, fallback=True)
    if means.last_resort and further == int(means.fallback_agent):
        return Ourselves(claim, caller, because)
    return GiveUp(claim, caller, because)


def _since(before: float | None, at: float) -> float:
    return at if before is None else before
