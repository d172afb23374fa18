"""Google hears and speaks at once, with Gemini Live."""

from google.genai import types
from livekit.agents import llm
from livekit.plugins import google

from agent.settings import AgentSettings
from agent.speech import chains
from agent.speech.keys import address, secret, trust
from agent.speech.languages import Language
from agent.speech.plan import Choice


def converse(settings: AgentSettings, language: Language, choice: Choice) -> llm.RealtimeModel:
    """Build speech to speech."""
    return google.realtime.RealtimeModel(
        model=choice.model or settings.google_realtime_model,
        voice=choice.voice or settings.google_realtime_voice,
        language=language.locale,
        api_key=secret(settings.google_api_key),
        vertexai=False,
        conn_options=chains.realtime(settings.speech_timeout_s),
        http_options=types.HttpOptions(
            base_url=address(settings.google_base_url),
            timeout=int(settings.speech_timeout_s * 1000),
            async_client_args={"ssl": trust()},  # else each call reads the certificates again
        ),
    )
