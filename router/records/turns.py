"""What a record of a call comes to say, and who hears of it. Pure: of rows, no database."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from personas.reports import AnyCallEvent, ClosedEvent
from router.records.call_news import ended
from router.records.notices import Happened
from router.records.outbox import Notice
from router.records.summary import summary

ROUTER: Final = 0  # the attempt of the router's own events
COUNTED: Final = {
    "turn": "turns",
    "fact": "facts",
    "tool_call": "tool_calls",
    "problem": "problems",
}
#: The first words of a call come before the rest, whatever else a report tells.
_FIRST: Final = ("call.began", "call.answered")
_LAST: Final = "call.ended"
_NOTED: Final = frozenset({*COUNTED, "persona_applied"})


@dataclass(frozen=True, slots=True)
class Turned:
    """What a record has come to say that it did not say before."""

    rang_s: float | None = None  # it was picked up after so long
    disposition: str | None = None  # it was closed
    events: tuple[AnyCallEvent, ...] = ()  # what agents told, repeated ones left out
    end: Happened | None = None  # what others are told of it


def told_together(told: Sequence[tuple[int, AnyCallEvent]]) -> dict[str, Any]:
    """Return what events, each with the attempt that told it, say of their call."""
    agents = [event for attempt, event in told if attempt != ROUTER]
    ours = [
        event for attempt, event in told if attempt == ROUTER and isinstance(event, ClosedEvent)
    ]
    return summary(agents, ours[0] if ours else None)


def notices_of(call_id: str, tenant: str, new: Sequence[AnyCallEvent], now: float) -> list[Notice]:
    """Return what is noted of *new* events of a call, at *now* (Unix seconds)."""
    return [
        Notice(
            at=now,
            tenant=tenant,
            kind="call.changed" if event.kind == "persona_applied" else event.kind,
            call_id=call_id,
            attempt=event.attempt,
            seq=event.seq,
        )
        for event in new
        if event.kind in _NOTED
    ]


def changes(before: Any, columns: Mapping[str, Any], now: float) -> list[Notice]:
    """Return what changed for a call, of its record as it was and what is to become of it."""
    found = []
    answered_at, ended_at = columns.get("answered_at"), columns.get("ended_at")
    if before.answered_at is None and answered_at is not None:
        how = {"answered_at": answered_at, "ring_ms": columns.get("ring_ms")}
        found.append(Notice.of("call.answered", now, before.tenant, before.call_id, **how))
    if before.ended_at is None and ended_at is not None:
        names = ("ended_at", "disposition", "duration_s", "closed_by")
        how = {name: columns[name] for name in names}
        found.append(Notice.of(_LAST, now, before.tenant, before.call_id, **how))
    elif before.ended_at is not None and ended_at is None:  # another agent took over
        found.append(Notice.of("call.changed", now, before.tenant, before.call_id))
    return found


def turn_of(notice: Notice) -> int:
    """Return the place of a notice among those of one report."""
    return (notice.kind not in _FIRST) + (notice.kind == _LAST)


def ring(before: Any, columns: Mapping[str, Any]) -> dict[str, float]:
    """Return how long an inbound call rang."""
    answered_at = columns.get("answered_at")
    if answered_at is None or columns.get("direction", before.direction) != "inbound":
        return {}
    return {"ring_ms": round(max(0.0, answered_at - before.started_at) * 1000, 1)}


def turned_of(before: Any, record: Mapping[str, Any]) -> Turned:
    """Return what *record* says for the first time; *before*: its row as it was."""
    rang_ms = record["ring_ms"] if before.ring_ms is None else None
    closed = before.ended_at is None and record["ended_at"] is not None
    return Turned(
        rang_s=None if rang_ms is None else rang_ms / 1000,
        disposition=record["disposition"] if closed else None,
        end=ended(before, record),
    )


def ends_of(turned: Iterable[Turned]) -> list[Happened]:
    """Return the ends of calls among what has turned."""
    return [one.end for one in turned if one.end is not None]
