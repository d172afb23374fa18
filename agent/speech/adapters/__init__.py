"""LiveKit's plugins, one provider a file, each loaded when it is first used.

They have one shape: ``hear`` builds speech to text, ``think`` a language model, ``speak`` text to
speech and ``converse`` speech to speech; a file has those that :data:`agent.providers.NEEDS` names.
None of them does network. The plugins take seconds to import, so the worker does it beforehand.
"""

from importlib import import_module
from types import ModuleType
from typing import Any, Final

from agent.settings import AgentSettings
from agent.speech.languages import Language
from agent.speech.plan import Choice
from personas.providers import Kind

_VERBS: dict[Kind, str] = {
    "stt": "hear",
    "llm": "think",
    "tts": "speak",
    "speech_to_speech": "converse",
}
#: What OpenAI's library, and the one under it, import when they are first used: over a second.
_LATE: Final = (
    "anyio._backends._asyncio",
    "anyio.streams.stapled",
    "openai.lib.streaming.chat",
    "openai.resources.audio.audio",
    "openai.resources.audio.speech",
    "openai.resources.audio.transcriptions",
    "openai.resources.chat.chat",
    "openai.resources.chat.completions.completions",
    "openai.types.chat.completions",
)


def modules_of(provider: str) -> tuple[str, ...]:
    """Name what has to be imported before *provider* is used."""
    return (module_of(provider), *(_LATE if provider.endswith("openai") else ()))


def module_of(provider: str) -> str:
    """Name the module of *provider*."""
    return f"{__name__}.{provider}"


def build(kind: Kind, choice: Choice, settings: AgentSettings, language: Language) -> Any:
    """Build what stands behind LiveKit's interface of *kind*."""
    module: ModuleType = import_module(module_of(choice.provider))
    return getattr(module, _VERBS[kind])(settings, language, choice)


async def close(part: Any) -> None:
    """Close what :func:`build` built, and the HTTP client that OpenAI's plugins were given."""
    await part.aclose()
    if (client := getattr(part, "_client", None)) is not None:
        await client.close()
