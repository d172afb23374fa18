"""What is said in one call: the session, its agent and tools, greeting, limits, goodbye.

Who is in the room and how the call ends is :mod:`agent.call`'s.
"""

import asyncio
import contextlib
import math
import time
from collections.abc import Coroutine
from dataclasses import replace
from functools import partial
from typing import Any, Final, Protocol

import structlog
from livekit import rtc
from livekit.agents import (
    NOT_GIVEN,
    Agent,
    AgentSession,
    AgentStateChangedEvent,
    CloseEvent,
    UserStateChangedEvent,
    llm,
    utils,
)
from livekit.agents.voice.room_io import (
    AudioInputOptions,
    RoomOptions,
    TextInputEvent,
    TextInputOptions,
)

from agent import instructions, job, machines, speech, tools
from agent.errors import ToolUnavailable, TransferFailed
from agent.limits import MAX_ASKS, Limits
from agent.minutes import Minutes, answered, note_applied
from agent.opening import Opening
from agent.phrases import phrases
from agent.presence import ATTRIBUTE_NAME, Presence
from agent.report import Reporter
from agent.speech import apology, failing
from agent.speech.prepared import Prepared
from agent.stages import Stages
from agent.wording import goodbye
from personas.contract import ATTRIBUTE_FIRST_WORD, ATTRIBUTE_ORIGIN, ATTRIBUTE_VERSION
from personas.facts import Facts
from personas.options import TransferTarget
from personas.reports import Problem, Turn
from personas.tools import RECORD

log = structlog.get_logger(__name__)

CLOSE_TIMEOUT_S: Final = 2.0  # for the connections to the providers
RECORDING_SAID_S: Final = 60.0  # behind whatever is said when it is its turn
RECORD_TIMEOUT_S: Final = 8.0
GREETING_TIMEOUT_S: Final = 5.0  # for the first sound of a greeting that is being prepared
SPEECH_TIMEOUT_S: Final = 8.0  # for an announcement to begin
SPEECH_S_A_CHAR: Final = 0.15  # slower than anybody speaks
CHANGE_TIMEOUT_S: Final = 15.0  # for a turn to end at which the persona may change
TURN_TIMEOUT_S: Final = 5.0  # for the end of a turn, before it is broken off


class Ways(Protocol):
    """What a conversation needs of its call."""

    def end(self, reason: str) -> None:
        """Leave, and end the room for everyone."""
        ...

    async def refer(self, target: TransferTarget) -> None:
        """Hand the caller on.

        Raises:
            TransferFailed: in words for the model; the caller is still there.
        """
        ...


class Conversation:
    """Speaks as one persona to one caller, until one of them, or a limit, ends it."""

    def __init__(
        self,
        brief: job.Brief,
        parts: speech.Speech,
        *,
        ways: Ways,
        reporter: Reporter,
        presence: Presence,
        stages: Stages,
        longest_s: float = math.inf,
        other_side: str | None = None,
    ) -> None:
        self._brief = brief
        self._ways = ways
        self._reporter = reporter
        self._presence = presence
        self._stages = stages
        self._other_side = other_side
        self._longest_s = longest_s
        self._hears_audio = parts.hears_audio
        self._limits = Limits.of(brief, longest_s=longest_s, hears_audio=parts.hears_audio)
        self._open = False  # from the greeting on
        self._leaving = False
        self._asked = 0  # after a caller who says nothing
        self._opening = Opening()
        self._tasks: set[asyncio.Task[None]] = set()
        self.facts = Facts()
        self.facts.recall(brief.call.memory if brief.call else ())
        self.minutes = Minutes(reporter)
        self.opened_at: float | None = None  # when the other side could hear us, Unix seconds
        self.met_machine = False
        self._other_identity = ""
        self.detail = ""  # why the model ended the call, in its words
        self._session: AgentSession[None] = AgentSession(
            llm=parts.mind,
            tts=parts.mouth or NOT_GIVEN,
            stt=parts.ears or NOT_GIVEN,
            vad=parts.vad,
            turn_handling={
                "turn_detection": parts.turn_detection,
                "interruption": {"mode": "vad"},
            },
            tts_text_transforms=parts.text_transforms,
            conn_options=parts.connect,
            user_away_timeout=self._limits.silence_s,
        )
        self._parts = parts
        failing.watch(self._session, self._on_failed)
        self.minutes.attend(self._session)
        self._session.on("agent_state_changed", self._on_state)
        self._session.on("user_state_changed", self._on_caller_state)
        self._session.on("user_input_transcribed", lambda _: self._on_words())
        self._session.on("close", self._on_session_closed)
        self._agent = Agent(instructions=self._instructions(), tools=self._tools())
        self._apply(brief, parts)

    # ---- the course of it ----

    async def start(self, room: rtc.Room, caller: str) -> None:
        """Publish our track and listen to *caller*, whose identity it is."""
        self._other_identity = caller
        room.on("sip_dtmf_received", partial(self._on_key, caller))
        await self._session.start(
            self._agent,
            room=room,
            room_options=RoomOptions(
                participant_identity=caller,
                audio_input=(
                    AudioInputOptions(noise_cancellation=self._parts.noise_cancellation)
                    if self._parts.hears_audio
                    else False
                ),
                text_input=TextInputOptions(text_input_cb=self._on_text),
                close_on_disconnect=False,
            ),
            session_host=False,
            record=False,
        )

    async def rehearse(self) -> AgentSession[None]:
        """Start without a room, for text alone, and give the session to talk to."""
        self._opening = Opening(silence_s=0.0)
        await self._session.start(self._agent, record=False)
        return self._session

    async def greet(self, prepared: Prepared | None, *, through_model: bool) -> None:
        """Say the welcome message, from *prepared* audio where it fits.

        A persona without one greets *through_model* or waits to be spoken to. Whom we called may
        speak first, and is then answered instead.
        """
        self._open = True
        self.opened_at = time.time()
        self._reporter.note(answered(self._brief, self._other_side, self.opened_at))
        self._spawn(self._end_in_time())
        if await self.meets_machine(self._other_identity):
            return
        await self._welcome(prepared, through_model=through_model)
        if self._brief.options.record:
            self._spawn(self._record())

    async def _welcome(self, prepared: Prepared | None, *, through_model: bool) -> None:
        if self._brief.direction == "outbound" and not await self._opening.is_ours():
            return
        welcome = self._brief.welcome_message
        if not welcome:
            if through_model:
                self._session.generate_reply(
                    instructions="Greet the other side and say who you are."
                )
            return
        wanted = prepared is not None and prepared.text == welcome
        if prepared is not None and wanted and await prepared.sounds(GREETING_TIMEOUT_S):
            self._parts.say(self._session, welcome, prepared.frames())
        else:
            self._parts.say(self._session, welcome)

    async def meets_machine(self, callee: str) -> bool:
        """Listen whether a machine picked up; if so leave the message, and end the call.

        A persona may ask for it on outbound calls. When it cannot be told, it is a person.
        """
        if not self._brief.options.detect_answering_machine or self._brief.direction != "outbound":
            return False
        heard = await machines.listen(self._session, callee) if self._hears_audio else None
        if heard is None:
            what = "answering machines cannot be told apart with these models"
            self._reporter.note(Problem(what=what))
            return False
        log.info("machine.listened", heard=heard)
        if heard not in machines.MACHINES:
            return False
        self._leaving, self.met_machine = True, True
        message = self._brief.options.voicemail_message
        if message and heard == machines.MAILBOX:
            await self._speak(message)
        self._ways.end("an answering machine picked up")
        return True

    async def hear(self, words: str) -> None:
        """Take *words* as the caller's, as if they had been spoken."""
        if self._leaving:
            return
        self._on_words()
        self._session.reset_away_timer()
        with contextlib.suppress(RuntimeError):  # what is being said is said to its end
            await self._session.interrupt()
        self._session.generate_reply(user_input=words)

    async def hang_up(
        self, reason: str, *, detail: str = "", spoken: str = "", first: str = ""
    ) -> None:
        """Say *first* and the closing message, and end the call; the first to ask for it does.

        *reason* is for logs, *detail* for the record. What was *spoken* in this turn is not said
        again.
        """
        if self._leaving:
            return
        self._leaving = True
        self.detail = detail
        await self._speak(" ".join(filter(None, (first, goodbye(self._brief, spoken)))))
        self._ways.end(reason)

    async def transfer(self, target: TransferTarget) -> None:
        """Announce it, and hand the caller on.

        Raises:
            TransferFailed: in words for the model; the caller is still there.
        """
        await self._speak(phrases(self._brief.language).transferring)
        await self._ways.refer(target)

    @property
    def brief(self) -> job.Brief:
        """Who speaks at present, and what the call is about."""
        return self._brief

    async def change(self, brief: job.Brief, parts: speech.Speech) -> None:
        """Go on as *brief*, from the next turn on: instructions, tools, language and voice.

        The limits stay those that the call began with; their words change.
        """
        with contextlib.suppress(TimeoutError, RuntimeError):
            async with asyncio.timeout(CHANGE_TIMEOUT_S):
                await self._session.wait_for_idle()
        if self._leaving:
            return
        self._brief = brief
        limits = Limits.of(brief, longest_s=self._longest_s, hears_audio=self._hears_audio)
        self._limits = replace(
            limits,
            max_duration_s=self._limits.max_duration_s,
            silence_s=self._limits.silence_s,
        )
        await self._agent.update_instructions(self._instructions())
        await self._agent.update_tools(self._tools())
        try:
            self._agent.update_options(
                llm=parts.mind, tts=parts.mouth or NOT_GIVEN, stt=parts.ears or NOT_GIVEN
            )
            self._parts = parts
        except RuntimeError:  # one of the two hears and speaks by itself
            self._reporter.note(Problem(what="the voice could not be changed during the call"))
        self._apply(brief, parts)

    async def give_up(self, failure: failing.Failure) -> None:
        """Say, in a recording, that we have a problem; then hand the caller on, or end the call."""
        if self._leaving:
            return
        self._leaving = True
        self._reporter.note(Problem(what=f"speech failed: {failure.what}"))
        for target in self._brief.options.transfer_targets[:1]:
            await self._apologise(transfers=True)
            with contextlib.suppress(TransferFailed):
                await self._ways.refer(target)
                return
        await self._apologise(transfers=False)
        self._ways.end("speech failed")

    async def aclose(self) -> None:
        """Stop what runs beside the conversation."""
        self.minutes.close()
        await utils.aio.cancel_and_wait(*self._tasks)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._parts.aclose()

    # ---- words ----

    async def _speak(self, words: str) -> None:
        """Say *words* to their end, whatever the other side does."""
        if not words:
            return
        try:
            async with asyncio.timeout(SPEECH_TIMEOUT_S + len(words) * SPEECH_S_A_CHAR):
                await self._parts.say(self._session, words, interruptible=False)
        except (RuntimeError, TimeoutError) as exc:
            log.warning("words.not_spoken", error=type(exc).__name__)

    async def _record(self) -> None:
        """Say that the call is recorded, to the end, and only then have it recorded."""
        words = self._brief.options.recording_message or phrases(self._brief.language).recording
        if self._parts.mouth is None:  # a model that speaks by itself
            self._reporter.note(Problem(what="not recorded: it cannot be said word for word"))
            return
        try:
            async with asyncio.timeout(RECORDING_SAID_S + len(words) * SPEECH_S_A_CHAR):
                await self._parts.say(self._session, words, interruptible=False)
            if self._leaving:
                return
            await self._reporter.tool(RECORD, {}, deadline_s=RECORD_TIMEOUT_S)
        except (RuntimeError, TimeoutError, ToolUnavailable) as exc:
            log.warning("call.not_recorded", error=type(exc).__name__)
            self._reporter.note(Problem(what="the call is not recorded"))

    async def _apologise(self, *, transfers: bool) -> None:
        language = self._parts.language.code
        words = apology.words(language, transfers=transfers)
        self._reporter.note(Turn(by="agent", text=words))
        await apology.apologise(self._session, language, transfers=transfers)

    def _instructions(self) -> str:
        can_hang_up = "end_call" in tools.offer_for(self._brief).built_in
        return instructions.of(self._brief, hangs_up=can_hang_up)

    def _tools(self) -> list[llm.Tool | llm.Toolset]:
        return tools.tools_for(
            self._brief,
            self._reporter,
            self,
            facts=self.facts,
            other_side=self._other_side,
        )

    def _apply(self, brief: job.Brief, parts: speech.Speech) -> None:
        others = (*parts.problems, *map(str, tools.offer_for(brief).problems))
        note_applied(self._reporter, brief, language=parts.language.code, others=others)
        self._presence.show(
            {
                ATTRIBUTE_NAME: brief.persona_name or "",
                ATTRIBUTE_VERSION: brief.version,
                ATTRIBUTE_ORIGIN: brief.origin,
            }
        )

    # ---- limits ----

    async def _end_in_time(self) -> None:
        """Wrap up when the call has lasted as long as it may."""
        if math.isinf(self._limits.max_duration_s):
            return
        await asyncio.sleep(self._limits.max_duration_s)
        await self._break_in()
        await self.hang_up("the call had lasted as long as it may", first=self._limits.wrap_up)

    async def _ask_after(self) -> None:
        """Ask whether the caller is still there; after two questions, say goodbye."""
        if not self._open or self._leaving:
            self._session.reset_away_timer()
            return
        if self._asked >= MAX_ASKS:
            await self.hang_up("the caller was silent")
            return
        self._asked += 1
        with contextlib.suppress(RuntimeError):
            await self._parts.say(self._session, self._limits.silence_message)
            self._session.reset_away_timer()

    async def _break_in(self) -> None:
        """Wait for the end of a turn, for a while, and stop what is then still being said."""
        with contextlib.suppress(TimeoutError, RuntimeError):
            async with asyncio.timeout(TURN_TIMEOUT_S):
                await self._session.wait_for_idle()
                return
        with contextlib.suppress(RuntimeError):
            await self._session.interrupt()

    # ---- what happens ----

    async def _on_text(self, _session: AgentSession[None], event: TextInputEvent) -> None:
        await self.hear(event.text)

    def _on_key(self, caller: str, event: rtc.SipDTMF) -> None:
        if event.participant is None or event.participant.identity != caller:
            return
        words = self._brief.options.dtmf.get(event.digit)
        log.info("key.pressed", known=words is not None)
        if words is not None:
            self._spawn(self.hear(words))

    def _on_sign_of_life(self) -> None:
        self._asked = 0

    def _on_words(self) -> None:
        self._on_sign_of_life()
        self._opening.on_words()

    def _on_caller_state(self, event: UserStateChangedEvent) -> None:
        self._opening.on_sound(speaking=event.new_state == "speaking")
        if event.new_state == "speaking":
            self._on_sign_of_life()
        elif event.new_state == "away":
            self._spawn(self._ask_after())

    def _on_state(self, event: AgentStateChangedEvent) -> None:
        if event.new_state == "speaking" and "first_word" not in self._stages:
            self._stages.reach("first_word")
            self._presence.show({ATTRIBUTE_FIRST_WORD: f"{time.time():.3f}"})
            log.info("call.greeted", **{f"{step}_ms": ms for step, ms in self._stages})

    def _on_failed(self, failure: failing.Failure) -> None:
        self._spawn(self.give_up(failure))

    def _on_session_closed(self, event: CloseEvent) -> None:
        if event.error is not None:
            log.error("session.failed", kind=event.error.type)
            self._reporter.note(Problem(what=f"the session ended: {event.error.type}"))
            self._ways.end("speech failed")

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def prepare(brief: job.Brief, parts: speech.Speech) -> Prepared | None:
    """Begin to synthesise the greeting, if there is one."""
    text = brief.welcome_message
    return Prepared(text, parts.frames(text)) if text and parts.mouth else None
