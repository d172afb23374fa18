"""Deepgram hears, Azure OpenAI thinks, Azure speaks.

Importing this takes seconds, so the worker does it before the first call, and only with keys.
"""

from collections.abc import AsyncIterable
from xml.sax.saxutils import escape

from livekit.agents import inference, llm, stt, tts, vad
from livekit.plugins import azure, deepgram, openai
from pydantic import SecretStr

from agent.settings import AgentSettings
from agent.speech.languages import AZURE_VOICE, Language


def hearing(settings: AgentSettings, language: Language) -> stt.STT[str]:
    """Build speech to text."""
    return deepgram.STT(
        language=language.stt,
        api_key=_secret(settings.deepgram_api_key),
    )


def thinking(settings: AgentSettings) -> llm.LLM[str]:
    """Build the language model."""
    return openai.LLM.with_azure(
        model=settings.azure_openai_deployment or "",
        azure_deployment=settings.azure_openai_deployment,
        azure_endpoint=settings.azure_openai_endpoint,
        api_key=_secret(settings.azure_openai_api_key),
        api_version=settings.openai_api_version,
    )


def speaking(settings: AgentSettings, language: Language, voice: str) -> tts.TTS[str]:
    """Build text to speech; *voice* is a valid name, and its own locale wins over *language*."""
    named = AZURE_VOICE.fullmatch(voice)
    return azure.TTS(
        voice=voice,
        language=named["locale"] if named else language.locale,
        speech_key=_secret(settings.azure_speech_key),
        speech_region=settings.azure_speech_region,
        speech_endpoint=settings.azure_speech_endpoint,
    )


def listening() -> vad.VAD:
    """Build voice activity detection: the model that LiveKit's agents bring, on this machine."""
    return inference.VAD(model="silero")


async def escape_xml(text: AsyncIterable[str]) -> AsyncIterable[str]:
    """Escape what Azure's plugin would paste into SSML as it is."""
    async for part in text:
        yield escape(part)


def _secret(value: SecretStr | None) -> str:
    return value.get_secret_value() if value else ""
