"""What a call's record says, of what was reported: the same in whatever order it came. Pure.

Of several agents of one call, the one of the highest attempt that was elected (``opened``) has the
last word. What the router thinks of the end counts only when no such agent tells it.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from personas.reports import AnyCallEvent, Closed, ClosedEvent, Opened, PersonaApplied

#: Kinds that ``summary`` reads.
KINDS: Final = ("opened", "persona_applied", "closed")

ANSWERED: Final = "answered"
NOT_ANSWERED: Final = "no_answer"

_OF_OPENED: Final = (
    "direction",
    "room",
    "room_sid",
    "sip_call_id",
    "caller",
    "dialed_number",
    "trunk",
    "language",
    "campaign_id",
    "lead_id",
    "answered_at",
)


def summary(events: Iterable[AnyCallEvent], router_closed: ClosedEvent | None) -> dict[str, Any]:
    """Return the columns of ``calls`` that *events* say something about.

    *events* are the agents'; *router_closed* is when and why the router took the call to be over.
    """
    told = sorted(events, key=lambda event: (event.attempt, event.seq))
    columns: dict[str, Any] = {}
    for event in told:
        if isinstance(event, Opened):
            columns |= {
                name: value for name in _OF_OPENED if (value := getattr(event, name)) is not None
            }
        elif isinstance(event, PersonaApplied):
            columns |= {
                "persona_version": event.version,
                "persona_origin": event.origin,
                "persona_because": event.because,
                "persona_name": event.name,
            }
            if event.language:
                columns["language"] = event.language
    return columns | _ending(told, router_closed)


def _ending(told: Sequence[AnyCallEvent], router_closed: ClosedEvent | None) -> dict[str, Any]:
    elected = max((event.attempt for event in told if isinstance(event, Opened)), default=0)
    closings = [
        event for event in told if isinstance(event, ClosedEvent) and event.attempt >= elected
    ]
    if closings:
        return _closed(closings[-1], closings[-1].at, "agent")
    if router_closed is None:
        # An agent may have taken over from one that had closed the call already.
        return dict.fromkeys(("ended_at", "reason", "disposition", "duration_s", "closed_by"))
    opened = [event.at for event in told if isinstance(event, Opened)]
    duration_s = max(0.0, router_closed.at - min(opened)) if opened else 0.0
    disposition = ANSWERED if opened else NOT_ANSWERED
    guess = router_closed.model_copy(update={"duration_s": duration_s, "disposition": disposition})
    return _closed(guess, router_closed.at, "router")


def _closed(closed: Closed, at: float, by: str) -> dict[str, Any]:
    return {
        "ended_at": at,
        "reason": closed.reason,
        "disposition": closed.disposition,
        "duration_s": closed.duration_s,
        "closed_by": by,
    }
