"""Which number was called, and does that call need an agent? Pure: no I/O, no clock, no chance.

It reads a verified event and the numbering plan. It does not look a persona up, knows nothing of
claims, and never fails: what it cannot make sense of it ignores or refuses, and says why.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from personas.phone import DialedNumber, parse, read_dialed

_E164 = re.compile(r"\+[1-9]\d{6,14}", re.ASCII)
KIND_SIP = "SIP"
KIND_AGENT = "AGENT"


class Participant(NamedTuple):
    """A party in a room, as an event names it."""

    sid: str
    identity: str
    kind: str  # "STANDARD", "SIP", "AGENT", …
    attributes: Mapping[str, str]
    joined_at: float = 0.0  # Unix seconds by LiveKit's clock; 0: not said
    left_because: str = ""  # "USER_REJECTED", …; empty: is there, or not said


@dataclass(frozen=True, slots=True)
class Egress:
    """What LiveKit tells of a recording; times are Unix seconds, 0: not said."""

    egress_id: str
    status: str  # EGRESS_ACTIVE, EGRESS_COMPLETE …
    location: str
    started_at: float
    ended_at: float
    error: str


class Event(NamedTuple):
    """A verified webhook delivery."""

    event_id: str  # the same in every delivery of one event
    name: str  # "participant_joined", …
    created_at: float  # unix seconds, whole: LiveKit's clock
    room: str  # "" where the event has no room
    room_sid: str
    participant: Participant | None
    room_created_at: float = 0.0  # Unix seconds by LiveKit's clock; 0: not said
    egress: Egress | None = None


class InboundCall(NamedTuple):
    """A caller who is ringing."""

    room: str
    room_sid: str
    sip_call_id: str | None
    participant_identity: str
    trunk_id: str | None
    caller: str | None  # E.164, or as the carrier wrote it; None: withheld
    dialed: DialedNumber


@dataclass(frozen=True, slots=True)
class Answer:
    """Send an agent to this call, speaking as the persona of ``call.dialed``."""

    call: InboundCall
    because: str


@dataclass(frozen=True, slots=True)
class Ignore:
    """Nothing to do for this event."""

    because: str


@dataclass(frozen=True, slots=True)
class Refuse:
    """A caller whom no agent can be sent to."""

    because: str


Decision: TypeAlias = Answer | Ignore | Refuse


@dataclass(frozen=True, slots=True)
class NumberingPlan:
    """How the dialed number of a call is read."""

    default_region: str | None = None
    region_by_trunk: Mapping[str, str] = field(default_factory=dict)
    number_by_trunk: Mapping[str, str] = field(default_factory=dict)  # for hidden numbers

    def region(self, trunk_id: str | None) -> str | None:
        """Return the region in which national numbers of *trunk_id* are read."""
        return self.region_by_trunk.get(trunk_id or "", self.default_region)


NOT_A_JOIN = Ignore("not a participant_joined event")
NOT_SIP = Ignore("the participant is not a SIP caller")
NOT_INBOUND = Ignore("the SIP participant has no sip.ruleID: an outbound leg")
NO_ROOM = Refuse("the event names no room: there is nowhere to send an agent")


def decide(event: Event, plan: NumberingPlan) -> Decision:
    """Say whether *event* is a caller who needs an agent, and which number was dialed."""
    participant = event.participant
    if event.name != "participant_joined":
        return NOT_A_JOIN
    if participant is None or participant.kind != KIND_SIP:
        return NOT_SIP
    attributes = participant.attributes
    if not attributes.get("sip.ruleID"):
        return NOT_INBOUND
    if not event.room or not event.room_sid:
        return NO_ROOM
    trunk_id = attributes.get("sip.trunkID") or None
    dialed, because = _dialed(attributes.get("sip.trunkPhoneNumber", ""), trunk_id, plan)
    call = InboundCall(
        room=event.room,
        room_sid=event.room_sid,
        sip_call_id=attributes.get("sip.callID") or None,
        participant_identity=participant.identity,
        trunk_id=trunk_id,
        caller=_caller(attributes.get("sip.phoneNumber", ""), plan.region(trunk_id)),
        dialed=dialed,
    )
    return Answer(call, because)


def _dialed(raw: str, trunk_id: str | None, plan: NumberingPlan) -> tuple[DialedNumber, str]:
    region = plan.region(trunk_id)
    if raw:
        dialed = read_dialed(raw, region)
        if dialed.number is None:
            return dialed, "the dialed number is unknown: not a number that can be dialed"
        return dialed, "the dialed number"
    if trunk_id and (known := plan.number_by_trunk.get(trunk_id)):
        dialed = read_dialed(known, region)
        if dialed.number is not None:
            return dialed, "the number is hidden; its trunk has this one"
    return read_dialed("", region), "the number is hidden, and its trunk does not settle it"


def _caller(raw: str, region: str | None) -> str | None:
    if not raw or _E164.fullmatch(raw):  # as most carriers write it; nothing depends on it
        return raw or None
    number = parse(raw, region)
    return number.e164 if number else raw[:64]
