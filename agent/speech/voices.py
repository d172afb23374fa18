"""What the providers' voices are called. Pure.

A name is held against the provider's pattern before it is sent: Azure's goes into XML, Deepgram's
and ElevenLabs' into an address.
"""

import re
from types import MappingProxyType
from typing import Final

AZURE_VOICE: Final = re.compile(
    r"(?P<locale>[a-z]{2,3}-[A-Z]{2})(?:-[A-Za-z]+)?-[A-Za-z]+(?::[A-Za-z]+)?Neural"
)
_OPENAI_VOICE: Final = re.compile(r"[a-z]{2,20}|voice_[A-Za-z0-9]{8,64}")
#: In the order in which a voice is tried that comes without its provider.
VOICES: Final = MappingProxyType(
    {
        "azure": AZURE_VOICE,
        "deepgram": re.compile(r"aura(?:-2)?-[a-z]{2,30}-[a-z]{2}"),
        "google": re.compile(r"[A-Z][a-z]{2,20}"),
        "openai": _OPENAI_VOICE,
        "azure_openai": _OPENAI_VOICE,
        "elevenlabs": re.compile(r"[A-Za-z0-9]{16,64}"),
    }
)


def is_voice(provider: str, voice: str) -> bool:
    """Whether *provider* could have a voice of that name."""
    pattern = VOICES.get(provider)
    return pattern is not None and pattern.fullmatch(voice) is not None


def locale_of(voice: str) -> str | None:
    """Give the locale that an Azure voice is at home in."""
    named = AZURE_VOICE.fullmatch(voice)
    return named["locale"] if named else None
