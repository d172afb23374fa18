"""Google hears and speaks at once, with Gemini Live."""

from typing import Final

from google.genai import types
from livekit.agents import APIConnectOptions, llm
from livekit.plugins import google

from agent.settings import AgentSettings
from agent.speech.keys import address, secret
from agent.speech.languages import Language
from agent.speech.plan import Choice

LIVE: Final = APIConnectOptions(max_retry=1, timeout=5.0, retry_interval=0.5)


def converse(settings: AgentSettings, language: Language, choice: Choice) -> llm.RealtimeModel:
    """Build speech to speech."""
    return google.realtime.RealtimeModel(
        model=choice.model or settings.google_realtime_model,
        voice=choice.voice or settings.google_realtime_voice,
        language=language.locale,
        api_key=secret(settings.google_api_key),
        vertexai=False,
        conn_options=LIVE,
        http_options=types.HttpOptions(
            base_url=address(settings.google_base_url), timeout=int(LIVE.timeout * 1000)
        ),
    )
