"""What a call's record says, of what was reported: the same in whatever order it came. Pure.

Of several agents of one call, the one of the highest attempt that was elected (``opened``) has the
last word. What the router thinks of the end counts only when no such agent tells it.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from personas.dispositions import Disposition
from personas.reports import AnyCallEvent, ClosedEvent, Opened, PersonaApplied

#: Kinds that ``summary`` reads.
KINDS: Final = ("opened", "persona_applied", "closed")

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
    answers = [event.answered_at for event in told if isinstance(event, Opened)]
    answered_at = min((at for at in answers if at is not None), default=None)
    if answered_at is not None:  # by the first agent; who takes over does not pick up again
        columns["answered_at"] = answered_at
    return columns | _ending(told, router_closed, answered_at)


def _ending(
    told: Sequence[AnyCallEvent], router_closed: ClosedEvent | None, answered_at: float | None
) -> dict[str, Any]:
    elected = {event.attempt for event in told if isinstance(event, Opened)}
    last = max(elected, default=0)
    closings = [event for event in told if isinstance(event, ClosedEvent) and event.attempt >= last]
    if closings:
        closed = closings[-1]
        whole_s = closed.duration_s
        if answered_at is not None and len(elected) > 1:  # the agent knows of its own part alone
            whole_s = max(whole_s, closed.at - answered_at)
        return _closed(closed, whole_s, closed.disposition, "agent")
    if router_closed is None:
        # An agent may have taken over from one that had closed the call already.
        return dict.fromkeys(("ended_at", "reason", "disposition", "duration_s", "closed_by"))
    if answered_at is None:
        return _closed(router_closed, 0.0, Disposition.NO_ANSWER, "router")
    whole_s = max(0.0, router_closed.at - answered_at)
    return _closed(router_closed, whole_s, Disposition.ANSWERED, "router")


def _closed(closed: ClosedEvent, duration_s: float, disposition: str, by: str) -> dict[str, Any]:
    return {
        "ended_at": closed.at,
        "reason": closed.reason,
        "disposition": str(disposition),
        "duration_s": round(duration_s, 3),
        "closed_by": by,
    }
