"""Deepgram hears, and speaks every language of ours but Hindi. Its voices are its models."""

from typing import Final

from livekit.agents import stt, tts
from livekit.plugins import deepgram

from agent.settings import AgentSettings
from agent.speech.keys import address, secret
from agent.speech.languages import Language
from agent.speech.plan import Choice
from agent.speech.punctual import punctual

STT_MODEL: Final = "nova-3"
ENGLISH: Final = "aura-2-thalia-en"


def hear(settings: AgentSettings, language: Language, choice: Choice) -> stt.STT[str]:
    """Build speech to text over its WebSocket."""
    return deepgram.STT(
        model=choice.model or STT_MODEL,
        language=language.stt,
        api_key=secret(settings.deepgram_api_key),
        base_url=f"{address(settings.deepgram_base_url)}/listen",
    )


def speak(settings: AgentSettings, language: Language, choice: Choice) -> tts.TTS[str]:
    """Build text to speech over its WebSocket; the greeting goes over HTTP."""
    return punctual(
        deepgram.TTS(
            model=choice.voice or language.deepgram_voice or ENGLISH,
            api_key=secret(settings.deepgram_api_key),
            base_url=f"{address(settings.deepgram_base_url)}/speak",
        ),
        timeout_s=settings.speech_timeout_s,
    )
