"""The languages we speak, and what each provider calls them. Pure."""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

DEFAULT_LANGUAGE: Final = "en"


@dataclass(frozen=True, slots=True)
class Language:
    """One language: its codes and the voices it is spoken with when a persona names none.

    OpenAI's, ElevenLabs' and Gemini's voices speak every one of them.
    """

    code: str
    stt: str  # Deepgram
    locale: str  # Azure, Gemini
    voice: str  # Azure
    deepgram_voice: str | None  # None: Deepgram does not speak it
    espeak: str


LANGUAGES: Final = MappingProxyType(
    {
        language.code: language
        for language in (
            Language("en", "en-US", "en-US", "en-US-JennyNeural", "aura-2-thalia-en", "en-us"),
            Language("de", "de", "de-DE", "de-DE-KatjaNeural", "aura-2-elara-de", "de"),
            Language("es", "es", "es-ES", "es-ES-ElviraNeural", "aura-2-celeste-es", "es"),
            Language("fr", "fr", "fr-FR", "fr-FR-DeniseNeural", "aura-2-agathe-fr", "fr-fr"),
            Language("hi", "hi", "hi-IN", "hi-IN-SwaraNeural", None, "hi"),
        )
    }
)


def language_of(tag: str | None) -> Language | None:
    """Find the language of a tag such as ``de`` or ``de-AT``; ``None``: we do not speak it."""
    if not tag or not tag.strip():
        return LANGUAGES[DEFAULT_LANGUAGE]
    return LANGUAGES.get(tag.strip().replace("_", "-").split("-")[0].lower())
