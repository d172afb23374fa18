"""Writes down a conversation: what LiveKit's session says of itself, as events of the record."""

from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

import structlog
from livekit import rtc
from livekit.agents import (
    AgentSession,
    ConversationItemAddedEvent,
    SessionUsageUpdatedEvent,
    llm,
)
from livekit.agents.metrics import AgentSessionUsage

from agent import job
from agent.report import Reporter
from personas.reports import Latency, Opened, PersonaApplied, Problem, Turn, Usage

log = structlog.get_logger(__name__)

_STAGES: Final[Mapping[str, Literal["stt", "llm", "tts", "interruption", "end_of_turn"]]] = {
    "stt_usage": "stt",
    "llm_usage": "llm",
    "tts_usage": "tts",
    "interruption_usage": "interruption",
    "eot_usage": "end_of_turn",
}


class Minutes:
    """Notes the turns of a session, how quick the answers were, and the use of the models."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._asked: Mapping[str, Any] = {}  # measures of the caller's last turn
        self._usage: dict[tuple[str, str, str], Usage] = {}
        self._told: dict[tuple[str, str, str], Usage] = {}
        self.turns = 0

    def attend(self, session: AgentSession[None]) -> None:
        """Listen to *session*."""
        session.on("conversation_item_added", self._on_item)
        session.on("session_usage_updated", self._on_usage)

    def close(self) -> None:
        """Note what is not noted yet."""
        self._note_usage()

    def _on_item(self, event: ConversationItemAddedEvent) -> None:
        item = event.item
        if not isinstance(item, llm.ChatMessage) or item.role not in {"assistant", "user"}:
            return
        words = (item.text_content or "").strip()
        if words:
            self.turns += 1
            by: Literal["agent", "caller"] = "agent" if item.role == "assistant" else "caller"
            self._reporter.note(Turn(by=by, text=words, interrupted=item.interrupted))
        if item.role == "user":
            self._asked = item.metrics
            return
        measured = latency(self._asked, item.metrics)
        if measured is not None:
            self._reporter.note(measured)
        self._asked = {}
        self._note_usage()

    def _on_usage(self, event: SessionUsageUpdatedEvent) -> None:
        for one in usage(event.usage):
            self._usage[one.stage, one.provider, one.model] = one

    def _note_usage(self) -> None:
        for of, one in self._usage.items():
            if self._told.get(of) != one:
                self._told[of] = one
                self._reporter.note(one)


def opened(room: rtc.Room, room_sid: str) -> Opened:
    """Say where we are, and what the SIP participant there says of the call."""
    attributes: Mapping[str, str] = {}
    for participant in room.remote_participants.values():
        if participant.kind == rtc.ParticipantKind.PARTICIPANT_KIND_SIP:
            attributes = participant.attributes
    return Opened(
        room=room.name,
        room_sid=room_sid or None,
        sip_call_id=attributes.get("sip.callID"),
        trunk=attributes.get("sip.trunkID"),
    )


def answered(brief: job.Brief, other_side: str | None, at: float | None) -> Opened:
    """Say that the other side can hear us from now on (Unix seconds), and who they are.

    None: not yet, we are about to dial.
    """
    call = brief.call
    return Opened(
        direction=brief.direction,
        caller=other_side,
        dialed_number=(call.dialed_number or call.dialed_as) if call else brief.phone_number,
        language=brief.language,
        campaign_id=call.campaign_id if call else brief.campaign_id,
        lead_id=call.lead_id if call else None,
        answered_at=at,
    )


def latency(caller: Mapping[str, Any], agent: Mapping[str, Any]) -> Latency | None:
    """Put together what the caller's turn and the answer to it measured, in seconds."""
    measured = Latency(
        total_ms=_ms(agent.get("e2e_latency")),
        stt_ms=_ms(caller.get("transcription_delay")),
        end_of_turn_ms=_ms(caller.get("end_of_turn_delay")),
        llm_ms=_ms(agent.get("llm_node_ttft")),
        tts_ms=_ms(agent.get("tts_node_ttfb")),
    )
    return None if measured == Latency() else measured


def usage(used: AgentSessionUsage) -> list[Usage]:
    """Give what each model was used for so far."""
    found = []
    for one in used.model_usage:
        if one.type not in _STAGES:
            continue  # a kind that a newer library knows
        values = one.model_dump()
        found.append(
            Usage(
                stage=_STAGES[one.type],
                provider=one.provider,
                model=one.model,
                input_tokens=values.get("input_tokens", 0),
                cached_tokens=values.get("input_cached_tokens", 0),
                output_tokens=values.get("output_tokens", 0),
                characters=values.get("characters_count", 0),
                audio_s=values.get("audio_duration", 0.0),
                requests=values.get("total_requests", 0),
            )
        )
    return found


def _ms(seconds: object) -> float | None:
    """Give milliseconds; what was measured across two clocks may come out below zero."""
    if not isinstance(seconds, int | float) or isinstance(seconds, bool):
        return None
    return round(max(0.0, float(seconds)) * 1000, 1)


def note_applied(
    reporter: Reporter, brief: job.Brief, *, language: str, others: Iterable[str]
) -> None:
    """Note who speaks from now on, and what is wrong: with the metadata, and the *others*.

    The log has places, names of fields and whether a value is there; of the values, only the
    agent's name.
    """
    reporter.note(
        PersonaApplied(
            version=brief.version,
            origin=brief.origin,
            because=brief.because,
            name=brief.persona_name,
            language=language,
        )
    )
    problems = [
        *(Problem(what=problem.what, code=problem.code) for problem in brief.problems),
        *(Problem(what=problem) for problem in others),
    ]
    for problem in problems:
        reporter.note(problem)
    (log.error if problems else log.info)(
        "persona.applied",
        version=brief.version,
        origin=brief.origin,
        because=brief.because,
        found=[f"{found.place}: {found.layout}" for found in brief.found],
        keys={found.place: list(found.keys) for found in brief.found},
        problems=[f"{problem.code}: {problem.what}" for problem in problems],
        language=language,
        direction=brief.direction,
        agent_name=brief.persona_name,
        voice_source=brief.voice_source,
        customer_known=brief.customer_known,
        phone_known=brief.phone_known,
        call_reason_known=brief.call_reason is not None,
    )
