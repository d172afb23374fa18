"""The languages we speak, and what each provider calls them. Pure."""

import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from personas.model import Voice

DEFAULT_LANGUAGE: Final = "en"
AZURE_VOICE: Final = re.compile(
    r"(?P<locale>[a-z]{2,3}-[A-Z]{2})(?:-[A-Za-z]+)?-[A-Za-z]+(?::[A-Za-z]+)?Neural"
)


@dataclass(frozen=True, slots=True)
class Language:
    """One language: its codes and the voice it is spoken with when a persona names none."""

    code: str
    stt: str  # Deepgram
    locale: str  # Azure
    voice: str  # Azure
    espeak: str


LANGUAGES: Final = MappingProxyType(
    {
        language.code: language
        for language in (
            Language("en", "en-US", "en-US", "en-US-JennyNeural", "en-us"),
            Language("de", "de", "de-DE", "de-DE-KatjaNeural", "de"),
            Language("es", "es", "es-ES", "es-ES-ElviraNeural", "es"),
            Language("fr", "fr", "fr-FR", "fr-FR-DeniseNeural", "fr-fr"),
            Language("hi", "hi", "hi-IN", "hi-IN-SwaraNeural", "hi"),
        )
    }
)


def language_of(tag: str | None) -> Language | None:
    """Find the language of a tag such as ``de`` or ``de-AT``; ``None``: we do not speak it."""
    if not tag or not tag.strip():
        return LANGUAGES[DEFAULT_LANGUAGE]
    return LANGUAGES.get(tag.strip().replace("_", "-").split("-")[0].lower())


def azure_voice(voice: Voice | None, language: Language) -> tuple[str, str]:
    """Give the Azure voice that speaks, and what is wrong with the persona's own choice."""
    if voice is None or voice.id is None:
        return language.voice, ""
    if voice.provider not in (None, "azure"):
        return language.voice, "voice of another provider: the language's own voice"
    if not AZURE_VOICE.fullmatch(voice.id):
        return language.voice, "no Azure voice has such a name: the language's own voice"
    return voice.id, ""
