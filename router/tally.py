"""Counts what happens to calls: who was sent, when agents came and spoke, what was told of them.

Joins of agents are counted by the router that sent them, if it is also the one that LiveKit tells
of the join: of several replicas each counts its share. Their times are by LiveKit's clock and the
agent's; where clocks disagree by more than a stage took, it counts as 0.
"""

from collections.abc import Callable
from typing import Final

from personas.contract import ATTRIBUTE_FIRST_WORD
from personas.dispositions import Disposition
from personas.reports import AnyCallEvent
from router.metrics import Metrics
from router.records.calls import Dispatched
from router.records.turns import Turned
from router.routing import KIND_AGENT, Event

MOST: Final = 10_000  # calls whose agent is awaited
DISPOSITIONS: Final = frozenset(Disposition)
LATENCIES: Final = ("total", "stt", "end_of_turn", "llm", "tts")


class Tally:
    """Counts what it is told. *clock* gives Unix seconds."""

    def __init__(self, metrics: Metrics, *, clock: Callable[[], float]) -> None:
        self._metrics = metrics
        self._clock = clock
        self._sent: dict[str, float] = {}  # by room sid, the oldest first; Unix seconds

    def sent(self, call: Dispatched) -> None:
        """Count an agent that is on its way to a caller; calls that we place do not ring here."""
        if call.direction != "inbound" or call.room_sid is None:
            return
        if call.attempt == 1:
            self._metrics.calls[call.persona_origin].inc()
        self._sent.pop(call.room_sid, None)
        self._sent[call.room_sid] = self._clock()
        if len(self._sent) > MOST:
            del self._sent[next(iter(self._sent))]

    def delivered(self, event: Event) -> None:
        """Count what *event* says of an agent, if it does."""
        participant = event.participant
        if event.name == "room_finished":
            self._sent.pop(event.room_sid, None)
        elif participant is None or participant.kind != KIND_AGENT:
            return
        elif event.name == "participant_joined":
            sent_at = self._sent.pop(event.room_sid, None)
            if sent_at is not None:
                joined_at = participant.joined_at or self._clock()
                self._metrics.stages["agent_joined"].observe(max(0.0, joined_at - sent_at))
        elif event.name == "participant_left" and participant.joined_at:
            spoke_at = _seconds(participant.attributes.get(ATTRIBUTE_FIRST_WORD, ""))
            if spoke_at is not None:
                took_s = max(0.0, spoke_at - participant.joined_at)
                self._metrics.stages["first_word"].observe(took_s)

    def turned(self, turned: Turned) -> None:
        """Count what a call's record has come to say."""
        if turned.rang_s is not None:
            self._metrics.ring.observe(turned.rang_s)
        if (how := turned.disposition) is not None:
            self._metrics.calls_closed[how if how in DISPOSITIONS else "other"].inc()
        for event in turned.events:
            self._event(event)

    def _event(self, event: AnyCallEvent) -> None:
        self._metrics.report_events[event.kind].inc()
        if event.kind == "problem":
            self._metrics.call_problems[event.code].inc()
        elif event.kind == "latency":
            for stage in LATENCIES:
                if (took_ms := getattr(event, f"{stage}_ms")) is not None:
                    self._metrics.turns[stage].observe(took_ms / 1000)


def _seconds(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
