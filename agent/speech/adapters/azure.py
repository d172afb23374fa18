"""Azure Speech hears and speaks."""

from typing import Final
from xml.sax.saxutils import escape

from livekit.agents import NOT_GIVEN, stt, tts
from livekit.agents.types import DEFAULT_API_CONNECT_OPTIONS, APIConnectOptions
from livekit.plugins import azure

from agent.settings import AgentSettings
from agent.speech.keys import secret
from agent.speech.languages import Language
from agent.speech.plan import Choice
from agent.speech.punctual import punctual
from agent.speech.voices import locale_of

#: What XML 1.0 cannot hold, not even escaped.
_UNWRITABLE: Final = dict.fromkeys((*range(9), 11, 12, *range(14, 32), 0xFFFE, 0xFFFF))


def hear(settings: AgentSettings, language: Language, choice: Choice) -> stt.STT[str]:
    """Build speech to text; it has no model to choose."""
    del choice
    host = settings.azure_speech_host
    made = azure.STT(
        language=language.locale,
        speech_key=secret(settings.azure_speech_key),
        speech_host=host or NOT_GIVEN,
        speech_region=settings.azure_speech_region or NOT_GIVEN if not host else NOT_GIVEN,
    )
    if host:  # the plugin adds the region of the environment, and Azure's SDK refuses both
        made._config.speech_region = NOT_GIVEN  # noqa: SLF001
    return made


def speak(settings: AgentSettings, language: Language, choice: Choice) -> tts.TTS[str]:
    """Build text to speech; a voice's own locale wins over *language*."""
    voice = choice.voice or language.voice
    return punctual(
        WellFormed(
            voice=voice,
            language=locale_of(voice) or language.locale,
            speech_key=secret(settings.azure_speech_key),
            speech_region=settings.azure_speech_region,
            speech_endpoint=settings.azure_speech_endpoint,
        ),
        timeout_s=settings.speech_timeout_s,
    )


def as_xml(text: str) -> str:
    """Write *text* so that it can stand in SSML."""
    return escape(text.translate(_UNWRITABLE))


class WellFormed(azure.TTS):
    """Escapes what the plugin would paste into SSML as it is.

    Here and not in the session's text transforms: of several voices in a row only Azure's may see
    the escapes.
    """

    def synthesize(
        self, text: str, *, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS
    ) -> tts.ChunkedStream:
        """Speak *text*."""
        return super().synthesize(as_xml(text), conn_options=conn_options)
