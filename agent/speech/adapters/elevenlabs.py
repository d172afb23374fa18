"""ElevenLabs speaks, with the voice of the agent config's ``voice_external_id``."""

from livekit.agents import tts
from livekit.plugins import elevenlabs

from agent.settings import AgentSettings
from agent.speech.keys import address, secret
from agent.speech.languages import Language
from agent.speech.plan import Choice
from agent.speech.punctual import punctual


def speak(settings: AgentSettings, language: Language, choice: Choice) -> tts.TTS[str]:
    """Build text to speech over its WebSocket; the greeting goes over HTTP."""
    return punctual(
        elevenlabs.TTS(
            voice_id=choice.voice or settings.elevenlabs_voice,
            model=choice.model or settings.elevenlabs_model,
            language=language.code,
            encoding="pcm_24000",
            api_key=secret(settings.eleven_api_key),
            base_url=address(settings.elevenlabs_base_url),
        ),
        timeout_s=settings.speech_timeout_s,
    )
