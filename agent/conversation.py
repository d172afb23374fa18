"""What is said in one call: the session, the agent with its instructions, the greeting.

Who is in the room and how the call ends is :mod:`agent.call`'s.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final, Literal

import structlog
from livekit import rtc
from livekit.agents import (
    NOT_GIVEN,
    Agent,
    AgentSession,
    AgentStateChangedEvent,
    CloseEvent,
    ConversationItemAddedEvent,
    llm,
)
from livekit.agents.voice.room_io import RoomOptions

from agent import instructions, job, speech
from agent.presence import ATTRIBUTE_NAME, ATTRIBUTE_ORIGIN, ATTRIBUTE_VERSION, Presence
from agent.speech.prepared import Prepared
from agent.stages import Stages
from agent.transcript import Transcript
from personas.contract import ATTRIBUTE_FIRST_WORD

log = structlog.get_logger(__name__)

GREETING_TIMEOUT_S: Final = 5.0  # for the first sound of a greeting that is being prepared


class Conversation:
    """Speaks as one persona to one caller; *end* is called with a reason when it cannot go on."""

    def __init__(
        self,
        brief: job.Brief,
        parts: speech.Speech,
        *,
        transcript: Transcript,
        presence: Presence,
        stages: Stages,
        end: Callable[[str], None],
    ) -> None:
        self._brief = brief
        self._transcript = transcript
        self._presence = presence
        self._stages = stages
        self._end = end
        self._session: AgentSession[None] = AgentSession(
            llm=parts.mind,
            tts=parts.mouth,
            stt=parts.ears or NOT_GIVEN,
            vad=parts.vad,
            turn_handling={
                "turn_detection": "vad" if parts.hears_audio else None,
                "interruption": {"mode": "vad"},
            },
            tts_text_transforms=parts.text_transforms,
            user_away_timeout=None,
        )
        self._hears_audio = parts.hears_audio
        self._session.on("conversation_item_added", self._on_item)
        self._session.on("agent_state_changed", self._on_state)
        self._session.on("close", self._on_session_closed)
        self._apply(brief, parts)

    async def start(self, room: rtc.Room, caller: str) -> None:
        """Publish our track and listen to *caller*, whose identity it is."""
        await self._session.start(
            _agent(self._brief),
            room=room,
            room_options=RoomOptions(
                participant_identity=caller,
                audio_input=self._hears_audio,
                close_on_disconnect=False,
            ),
            session_host=False,
            record=False,
        )

    async def greet(self, prepared: Prepared | None, *, through_model: bool) -> None:
        """Say the welcome message, from *prepared* audio where it fits.

        A persona without one greets *through_model* or waits to be spoken to.
        """
        welcome = self._brief.welcome_message
        if not welcome:
            if through_model:
                self._session.generate_reply(
                    instructions="Greet the other side and say who you are."
                )
            return
        wanted = prepared is not None and prepared.text == welcome
        if prepared is not None and wanted and await prepared.sounds(GREETING_TIMEOUT_S):
            self._session.say(welcome, audio=prepared.frames())
        else:
            self._session.say(welcome)

    def _apply(self, brief: job.Brief, parts: speech.Speech) -> None:
        self._transcript.persona_applied(
            version=brief.version, origin=brief.origin, because=brief.because
        )
        problems = (*brief.problems, *parts.problems)
        (log.error if problems else log.info)(
            "persona.applied",
            version=brief.version,
            origin=brief.origin,
            because=brief.because,
            found=[f"{found.place}: {found.layout}" for found in brief.found],
            keys={found.place: list(found.keys) for found in brief.found},
            problems=list(problems),
            language=parts.language.code,
            direction=brief.direction,
        )
        self._presence.show(
            {
                ATTRIBUTE_NAME: brief.persona_name or "",
                ATTRIBUTE_VERSION: brief.version,
                ATTRIBUTE_ORIGIN: brief.origin,
            }
        )

    def _on_item(self, event: ConversationItemAddedEvent) -> None:
        item = event.item
        if isinstance(item, llm.ChatMessage) and item.role in ("assistant", "user"):
            by: Literal["agent", "caller"] = "agent" if item.role == "assistant" else "caller"
            self._transcript.said(by, item.text_content or "")

    def _on_state(self, event: AgentStateChangedEvent) -> None:
        if event.new_state == "speaking" and "first_word" not in self._stages:
            self._stages.reach("first_word")
            self._presence.show({ATTRIBUTE_FIRST_WORD: f"{time.time():.3f}"})
            log.info("call.greeted", **{f"{step}_ms": ms for step, ms in self._stages})

    def _on_session_closed(self, event: CloseEvent) -> None:
        if event.error is not None:
            log.error("session.failed", kind=event.error.type)
            self._end("speech failed")


def filled(brief: job.Brief) -> job.Brief:
    """Fill the placeholders of everything that is spoken word for word."""

    def spoken(text: str | None) -> str | None:
        return instructions.fill(text, known, language=brief.language) or None if text else None

    known = brief.variables
    if brief.persona_name:
        known = {"resource name": brief.persona_name, **known}
    resumed = brief.call is not None and brief.call.resume
    greeting = instructions.cut_off(brief.language) if resumed else brief.welcome_message
    return replace(
        brief,
        welcome_message=spoken(greeting),
        closing_message=spoken(brief.closing_message),
    )


def prepare(brief: job.Brief, parts: speech.Speech) -> Prepared | None:
    """Begin to synthesise the greeting, if there is one."""
    text = brief.welcome_message
    return Prepared(text, parts.frames(text)) if text else None


def _agent(brief: job.Brief) -> Agent:
    return Agent(
        instructions=instructions.compose(
            persona_name=brief.persona_name,
            personality=brief.personality,
            conversation_structure=brief.conversation_structure,
            campaign_prompt=brief.campaign_prompt,
            call_reason=brief.call_reason,
            closing_message=brief.closing_message,
            language=brief.language,
            variables=brief.variables,
        )
    )
