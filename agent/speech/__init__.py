"""How this call hears, thinks and speaks: chosen by the settings and the persona.

Every part stands behind LiveKit's plugin interfaces, so the conversation does not know which set
it runs on.
"""

from collections.abc import AsyncIterable, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final, Literal
from xml.sax.saxutils import escape

from livekit import rtc
from livekit.agents import APIConnectOptions, llm, stt, tts
from livekit.agents.vad import VAD

from agent.job import Brief
from agent.settings import AgentSettings, SpeechMode
from agent.speech.languages import (
    DEFAULT_LANGUAGE,
    LANGUAGES,
    Language,
    azure_voice,
    language_of,
)
from agent.speech.offline import EspeakTTS, ToneTTS, find_espeak
from agent.speech.scripted import ScriptedLLM

TextTransform = (
    Literal["filter_markdown", "filter_emoji"] | Callable[[AsyncIterable[str]], AsyncIterable[str]]
)
PLAIN: Final[tuple[TextTransform, ...]] = ("filter_markdown", "filter_emoji")


@dataclass(frozen=True, slots=True, kw_only=True)
class Speech:
    """The parts of one call. Without ``ears`` the caller's words come as text."""

    language: Language
    mind: llm.LLM[str]
    mouth: tts.TTS[str]
    ears: stt.STT[str] | None = None
    vad: VAD | None = None
    text_transforms: tuple[TextTransform, ...] = PLAIN
    escapes_xml: bool = False
    problems: tuple[str, ...] = ()

    @property
    def hears_audio(self) -> bool:
        """Whether the caller's audio is listened to."""
        return self.ears is not None

    async def frames(self, text: str) -> AsyncIterator[rtc.AudioFrame]:
        """Speak *text*, outside of a session, in one try.

        Raises:
            livekit.agents.APIError: the voice did not answer.
        """
        spoken_text = escape(text) if self.escapes_xml else text
        stream = self.mouth.synthesize(spoken_text, conn_options=APIConnectOptions(max_retry=0))
        async with aclosing(stream) as spoken:
            async for event in spoken:
                yield event.frame


def modules(mode: SpeechMode) -> tuple[str, ...]:
    """Name what has to be imported before the first call."""
    return ("agent.speech.providers",) if mode == "providers" else ()


def choose(settings: AgentSettings, brief: Brief) -> Speech:
    """Build the speech of one call; no network, and no persona can make it fail.

    A language or voice that we do not have is named in ``problems``, and the default of the
    language speaks.
    """
    language = language_of(brief.language)
    problems: tuple[str, ...] = ()
    if language is None:
        language = LANGUAGES[DEFAULT_LANGUAGE]
        problems = ("unknown language: English",)
    if settings.speech_mode == "offline":
        return _offline(brief, language, problems)
    return _providers(settings, brief, language, problems)


def _offline(brief: Brief, language: Language, problems: tuple[str, ...]) -> Speech:
    voice = (brief.voice.id if brief.voice else None) or brief.persona_name or brief.version
    program = find_espeak()
    speaker: tts.TTS[str] = (
        EspeakTTS(program=program, voice=voice, espeak_language=language.espeak)
        if program
        else ToneTTS(voice=voice)
    )
    return Speech(
        language=language,
        mind=ScriptedLLM(
            persona_name=brief.persona_name,
            personality=brief.personality,
            closing_message=brief.closing_message,
            language=language.code,
        ),
        mouth=speaker,
        problems=problems,
    )


def _providers(
    settings: AgentSettings, brief: Brief, language: Language, problems: tuple[str, ...]
) -> Speech:
    from agent.speech import providers  # noqa: PLC0415 - seconds; the worker has imported it

    voice, problem = azure_voice(brief.voice, language)
    return Speech(
        language=language,
        mind=providers.thinking(settings),
        mouth=providers.speaking(settings, language, voice),
        ears=providers.hearing(settings, language),
        vad=providers.listening(),
        text_transforms=(*PLAIN, providers.escape_xml),
        escapes_xml=True,
        problems=(*problems, problem) if problem else problems,
    )
