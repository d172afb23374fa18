"""Azure OpenAI thinks; with deployments for it, it hears and speaks too.

A model is a deployment there: what a persona names as its model is the name of one.
"""

import openai as sdk
from livekit.agents import llm, stt, tts
from livekit.plugins import openai

from agent.settings import AgentSettings
from agent.speech.attentive import prompt
from agent.speech.keys import address, http_client, secret
from agent.speech.languages import Language
from agent.speech.plan import Choice
from agent.speech.punctual import punctual


def hear(settings: AgentSettings, language: Language, choice: Choice) -> stt.STT[str]:
    """Build speech to text: one request for each thing that the caller says."""
    deployment = choice.model or settings.azure_openai_stt_deployment or ""
    return prompt(
        openai.STT(model=deployment, language=language.code, client=_client(settings, deployment)),
        timeout_s=settings.speech_timeout_s,
    )


def think(settings: AgentSettings, language: Language, choice: Choice) -> llm.LLM[str]:
    """Build the language model."""
    del language
    deployment = choice.model or settings.azure_openai_deployment or ""
    return openai.LLM(model=deployment, client=_client(settings, deployment))


def speak(settings: AgentSettings, language: Language, choice: Choice) -> tts.TTS[str]:
    """Build text to speech; its voices are OpenAI's."""
    del language
    deployment = choice.model or settings.azure_openai_tts_deployment or ""
    return punctual(
        openai.TTS(
            model=deployment,
            voice=choice.voice or settings.openai_tts_voice,
            response_format="pcm",
            client=_client(settings, deployment),
        ),
        timeout_s=settings.speech_timeout_s,
    )


def _client(settings: AgentSettings, deployment: str) -> sdk.AsyncAzureOpenAI:
    return sdk.AsyncAzureOpenAI(
        azure_endpoint=address(settings.azure_openai_endpoint or ""),
        azure_deployment=deployment,
        api_version=settings.openai_api_version,
        api_key=secret(settings.azure_openai_api_key),
        max_retries=0,
        http_client=http_client(),
    )
