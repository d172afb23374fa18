"""What a persona may call the providers of speech and thought. Pure."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

Kind: TypeAlias = Literal["stt", "llm", "tts", "speech_to_speech"]

#: In the order in which the agent tries them; it has an adapter for each.
PROVIDERS: Final[Mapping[Kind, tuple[str, ...]]] = MappingProxyType(
    {
        "stt": ("deepgram", "azure", "azure_openai", "openai"),
        "llm": ("azure_openai", "openai"),
        "tts": ("azure", "elevenlabs", "deepgram", "azure_openai", "openai"),
        "speech_to_speech": ("openai", "google"),
    }
)
_SPELLINGS: Final = MappingProxyType(
    {
        "azureopenai": "azure_openai",
        "eleven": "elevenlabs",
        "eleven_labs": "elevenlabs",
        "gemini": "google",
        "microsoft": "azure",
    }
)


def provider_of(name: str) -> str:
    """Give the one spelling of a provider's name; of one that we do not know, its own."""
    folded = name.strip().lower().replace("-", "_").replace(" ", "_")
    return _SPELLINGS.get(folded, folded)
