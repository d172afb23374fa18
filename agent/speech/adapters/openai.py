"""OpenAI thinks, hears, speaks, or does all three at once over its Realtime API."""

import openai as sdk
from livekit.agents import llm, stt, tts
from livekit.plugins import openai

from agent.settings import AgentSettings
from agent.speech import chains
from agent.speech.attentive import prompt
from agent.speech.keys import address, http_client, secret
from agent.speech.languages import Language
from agent.speech.plan import Choice
from agent.speech.punctual import punctual


def hear(settings: AgentSettings, language: Language, choice: Choice) -> stt.STT[str]:
    """Build speech to text: one request for each thing that the caller says."""
    return prompt(
        openai.STT(
            model=choice.model or settings.openai_stt_model,
            language=language.code,
            client=_client(settings),
        ),
        timeout_s=settings.speech_timeout_s,
    )


def think(settings: AgentSettings, language: Language, choice: Choice) -> llm.LLM[str]:
    """Build the language model."""
    del language
    return openai.LLM(
        model=choice.model or settings.openai_llm_model,
        client=_client(settings),
    )


def speak(settings: AgentSettings, language: Language, choice: Choice) -> tts.TTS[str]:
    """Build text to speech; its voices speak every language."""
    del language
    return punctual(
        openai.TTS(
            model=choice.model or settings.openai_tts_model,
            voice=choice.voice or settings.openai_tts_voice,
            response_format="pcm",
            client=_client(settings),
        ),
        timeout_s=settings.speech_timeout_s,
    )


def converse(settings: AgentSettings, language: Language, choice: Choice) -> llm.RealtimeModel:
    """Build speech to speech."""
    del language
    made = openai.realtime.RealtimeModel(
        model=choice.model or settings.openai_realtime_model,
        voice=choice.voice or settings.openai_realtime_voice,
        api_key=secret(settings.openai_api_key),
        base_url=address(settings.openai_base_url),
        conn_options=chains.realtime(settings.speech_timeout_s),
    )
    # OPENAI_API_VERSION, which is Azure's, makes the plugin take any address for Azure's
    made._opts.is_azure = False  # noqa: SLF001
    made._opts.api_version = None  # noqa: SLF001
    return made


def _client(settings: AgentSettings) -> sdk.AsyncClient:
    return sdk.AsyncClient(
        api_key=secret(settings.openai_api_key),
        base_url=address(settings.openai_base_url),
        max_retries=0,
        http_client=http_client(),
    )
