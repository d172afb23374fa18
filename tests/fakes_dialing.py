"""LiveKit's rooms and the agents in them, as a dialer sees them: what a test says happens."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from personas.reports import CallReport, Closed, Opened, numbered
from router.errors import DispatchError, LiveKitUnavailable
from router.routing import Participant


@dataclass
class FakeLine:
    """Takes dispatches, and shows in each room whom ``show`` has put there."""

    failing: DispatchError | None = None
    away: bool = False
    orders: list[Mapping[str, Any]] = field(default_factory=list)  # the job metadata
    rooms: dict[str, list[Participant]] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)

    async def dispatch(
        self, room: str, metadata: str, attributes: Mapping[str, str], agent_name: str | None = None
    ) -> str:
        if self.failing is not None:
            raise self.failing
        self.orders.append(json.loads(metadata))
        return "AD_1"

    async def participants(self, room: str) -> Sequence[Participant]:
        if self.away:
            raise LiveKitUnavailable("not_reached")
        if room not in self.rooms:
            raise LiveKitUnavailable("not_found")
        return self.rooms[room]

    async def remove(self, room: str, identity: str) -> None:
        if self.away:
            raise LiveKitUnavailable("not_reached")
        self.removed.append(identity)
        if room not in self.rooms:
            raise LiveKitUnavailable("not_found")

    async def end(self, room: str) -> None:
        if self.away:
            raise LiveKitUnavailable("not_reached")
        self.ended.append(room)
        self.rooms.pop(room, None)

    def show(self, room: str, *, agent: bool = True, callee: str | None = "dialing") -> None:
        """Put an agent, and a callee of this status, into *room*."""
        there = [Participant("PA_a", "agent-x", "AGENT", {})] if agent else []
        if callee is not None:
            there.append(Participant("PA_c", room, "SIP", {"sip.callStatus": callee}))
        self.rooms[room] = there

    @property
    def dialed(self) -> list[str]:
        """The numbers that agents were told to dial, in order."""
        return [order["_call"]["dial"]["number"] for order in self.orders]


def report(
    attempt_id: str, disposition: str, *, answered_at: float | None = None, reason: str = "over"
) -> CallReport:
    """Give what an agent reports at the end of a call."""
    events = [
        numbered(Opened(answered_at=answered_at), seq=1, attempt=1, at=1.0),
        numbered(Closed(reason=reason, disposition=disposition), seq=2, attempt=1, at=2.0),
    ]
    return CallReport(call_id=attempt_id, events=tuple(events))
