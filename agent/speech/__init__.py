"""How this call hears, thinks and speaks: chosen by the settings and the persona.

Every part stands behind LiveKit's plugin interfaces, so the conversation does not know which set
it runs on.
"""

from collections.abc import AsyncIterable, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final, Literal

from livekit import rtc
from livekit.agents import (
    NOT_GIVEN,
    AgentSession,
    APIConnectOptions,
    inference,
    llm,
    stt,
    tokenize,
    tts,
)
from livekit.agents.vad import VAD
from livekit.agents.voice import SpeechHandle
from livekit.agents.voice.agent_session import SessionConnectOptions
from livekit.agents.voice.turn import TurnDetectionMode

from agent.job import Brief
from agent.providers import KINDS, is_installed
from agent.settings import AgentSettings
from agent.speech import adapters, chains
from agent.speech.keys import trust
from agent.speech.languages import Language
from agent.speech.offline import EspeakTTS, ToneTTS, find_espeak
from agent.speech.plan import Choice, Plan, plan, spoken_language
from agent.speech.scripted import ScriptedLLM
from personas.providers import Kind

TextTransform = (
    Literal["filter_markdown", "filter_emoji"] | Callable[[AsyncIterable[str]], AsyncIterable[str]]
)
PLAIN: Final[tuple[TextTransform, ...]] = ("filter_markdown", "filter_emoji")
NOISE_CANCELLATION: Final = "livekit.plugins.noise_cancellation"
#: LiveKit imports these when they are first needed, which stops a call's loop for a moment.
LATE_IMPORTS: Final = (
    "livekit.agents.llm.async_toolset",
    "livekit.agents.voice.run_result",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Speech:
    """The parts of one call. Without ``ears`` the caller's words come as text.

    A ``mind`` that is a realtime model hears and speaks by itself: then there is no ``mouth``.
    """

    language: Language
    mind: llm.LLM[Any] | llm.RealtimeModel
    mouth: tts.TTS[Any] | None
    ears: stt.STT[Any] | None = None
    vad: VAD | None = None
    turn_detection: TurnDetectionMode | None = None
    text_transforms: tuple[TextTransform, ...] = PLAIN
    timeout_s: float = 5.0
    noise_cancellation: rtc.NoiseCancellationOptions | None = None
    problems: tuple[str, ...] = ()
    built: tuple[Any, ...] = ()  # the providers' plugins, within the chains

    async def aclose(self) -> None:
        """Close every connection; only after the session that used them."""
        for chain in (self.ears, self.mind, self.mouth):
            if chain is not None:
                await chain.aclose()
        for part in self.built:
            await adapters.close(part)

    @property
    def hears_audio(self) -> bool:
        """Whether the caller's audio is listened to."""
        return self.ears is not None or isinstance(self.mind, llm.RealtimeModel)

    @property
    def connect(self) -> SessionConnectOptions:
        """How long the session waits for each part, and how often it tries."""
        return chains.session(self.timeout_s)

    async def frames(self, text: str) -> AsyncIterator[rtc.AudioFrame]:
        """Speak *text*, outside of a session; nothing, if only the model can speak.

        Raises:
            livekit.agents.APIError: no voice answered.
        """
        if self.mouth is None:
            return
        options = APIConnectOptions(max_retry=0, timeout=self.timeout_s)
        async with aclosing(self.mouth.synthesize(text, conn_options=options)) as spoken:
            async for event in spoken:
                yield event.frame

    def say(
        self,
        session: AgentSession[Any],
        text: str,
        audio: AsyncIterable[rtc.AudioFrame] | None = None,
        *,
        interruptible: bool = True,
    ) -> SpeechHandle:
        """Have *session* speak *text* word for word, from *audio* where there is some.

        A model that speaks by itself listens by itself too, and can always be interrupted.
        """
        if audio is None and self.mouth is None:
            return session.generate_reply(
                instructions=f"Say exactly this, in these words, and nothing else:\n{text}"
            )
        return session.say(
            text,
            audio=audio if audio is not None else NOT_GIVEN,
            allow_interruptions=NOT_GIVEN if interruptible else False,
        )


def modules(settings: AgentSettings) -> tuple[str, ...]:
    """Name what has to be imported before the first call."""
    if settings.speech_mode == "offline":
        return LATE_IMPORTS
    kinds = (*KINDS, "speech_to_speech")
    providers = dict.fromkeys(name for kind in kinds for name in settings.usable(kind))
    needed = (module for name in providers for module in adapters.modules_of(name))
    return (*LATE_IMPORTS, *dict.fromkeys(needed))


def warm_up(settings: AgentSettings) -> None:
    """Do once, while there is no call yet, what is slow the first time.

    That is: reading the machine's certificates, building the parts of a call, and the tables by
    which LiveKit takes text apart.
    """
    tokenize.basic.hyphenate_word("hyphenate")
    tokenize.blingfire.SentenceTokenizer().tokenize("One. Two.")
    if settings.speech_mode == "providers":
        trust()
    choose(settings, Brief())


def choose(settings: AgentSettings, brief: Brief) -> Speech:
    """Build the speech of one call; no network, and no persona can make it fail.

    What the persona asks for in vain is named in ``problems``, and the house's choice takes its
    place.
    """
    if settings.speech_mode == "offline":
        return _offline(brief)
    return _provided(settings, brief)


def _provided(settings: AgentSettings, brief: Brief) -> Speech:
    wanted = plan(brief, settings)
    noise, timeout_s = _noise_cancellation(settings), settings.speech_timeout_s
    if wanted.speech_to_speech is not None:
        choice = wanted.speech_to_speech
        both = adapters.build("speech_to_speech", choice, settings, wanted.language)
        return Speech(
            language=wanted.language,
            mind=both,
            mouth=None,
            turn_detection="realtime_llm",
            noise_cancellation=noise,
            timeout_s=timeout_s,
            problems=wanted.problems,
        )
    listening = inference.VAD(model="silero")  # LiveKit's own build of it, on this machine

    def built(kind: Kind, choices: tuple[Choice, ...]) -> list[Any]:
        return [adapters.build(kind, choice, settings, wanted.language) for choice in choices]

    ears = built("stt", wanted.stt)
    minds = built("llm", wanted.llm)
    mouths = built("tts", wanted.tts)
    mouth, problems = _mouth(wanted, mouths, brief)
    return Speech(
        language=wanted.language,
        mind=chains.thinking(minds, timeout_s=timeout_s),
        mouth=mouth,
        ears=chains.hearing(ears, listening, timeout_s=timeout_s),
        vad=listening,
        turn_detection=(
            inference.TurnDetector(version="v1-mini")
            if settings.turn_detection == "model"
            else "vad"
        ),
        noise_cancellation=noise,
        timeout_s=timeout_s,
        problems=wanted.problems + problems,
        built=(*ears, *minds, *mouths),
    )


def _mouth(
    wanted: Plan, mouths: list[tts.TTS[Any]], brief: Brief
) -> tuple[tts.TTS[Any], tuple[str, ...]]:
    if mouths:
        return chains.speaking(mouths), ()
    problem = f"tts: nobody who can be used speaks {wanted.language.code}: the offline voice"
    return _offline_voice(brief, wanted.language), (problem,)


def _noise_cancellation(settings: AgentSettings) -> rtc.NoiseCancellationOptions | None:
    """Give LiveKit Cloud's noise cancellation for telephony, if it is asked for and there."""
    if not settings.noise_cancellation or not is_installed(NOISE_CANCELLATION):
        return None
    options: rtc.NoiseCancellationOptions = import_module(NOISE_CANCELLATION).BVCTelephony()
    return options


def _offline(brief: Brief) -> Speech:
    language, problems = spoken_language(brief)
    return Speech(
        language=language,
        mind=ScriptedLLM(
            persona_name=brief.persona_name,
            personality=brief.personality,
            closing_message=brief.closing_message,
            language=language.code,
        ),
        mouth=_offline_voice(brief, language),
        problems=problems,
    )


def _offline_voice(brief: Brief, language: Language) -> tts.TTS[str]:
    voice = (brief.voice.id if brief.voice else None) or brief.persona_name or brief.version
    program = find_espeak()
    if program is None:
        return ToneTTS(voice=voice)
    return EspeakTTS(program=program, voice=voice, espeak_language=language.espeak)
