"""Who hears, thinks and speaks on this call, and who stands in when they fail. Pure.

What the persona asks for comes first, then everybody else who can be used, in the table's order.
What it asks for in vain is a problem in words, and the house's choice takes its place.
"""

from dataclasses import dataclass
from typing import Final, Protocol

from agent.job import Brief
from agent.providers import NEEDS
from agent.speech.languages import DEFAULT_LANGUAGE, LANGUAGES, Language, language_of
from agent.speech.voices import VOICES, is_voice
from personas.options import Service
from personas.providers import Kind, provider_of

HOUSE_VOICE: Final = "the house voice"
HOUSE_CHOICE: Final = "the house's choice"


class Keyed(Protocol):
    """What is known of the providers' keys."""

    def usable(self, kind: Kind) -> tuple[str, ...]:
        """Name the providers of *kind* that have all they need, in the order of the table."""

    def missing_for(self, kind: Kind, provider: str) -> tuple[str, ...]:
        """Name what *provider* lacks for *kind*."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One provider, with the model and the voice that the persona asked of it, if it did."""

    provider: str
    model: str | None = None
    voice: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """In order, for each kind: the first is used, the others when it fails."""

    language: Language
    stt: tuple[Choice, ...] = ()
    llm: tuple[Choice, ...] = ()
    tts: tuple[Choice, ...] = ()
    speech_to_speech: Choice | None = None
    problems: tuple[str, ...] = ()


def spoken_language(brief: Brief) -> tuple[Language, tuple[str, ...]]:
    """Give the language of the call, and what is wrong with the persona's own choice."""
    language = language_of(brief.language)
    if language is None:
        return LANGUAGES[DEFAULT_LANGUAGE], ("unknown language: English",)
    return language, ()


def plan(brief: Brief, keyed: Keyed) -> Plan:
    """Choose for the persona of *brief* among the providers that can be used."""
    options = brief.options
    language, problems = spoken_language(brief)
    both, why = _asked("speech_to_speech", options.speech_to_speech, keyed)
    problems += why
    if both is not None:
        voice, why = _voice(brief, both.provider)
        return Plan(
            language=language,
            speech_to_speech=Choice(both.provider, both.model, voice),
            problems=problems + why,
        )
    stt, why_stt = _asked("stt", options.stt, keyed)
    llm, why_llm = _asked("llm", options.llm, keyed)
    tts, why_tts = _speaker(brief, language, keyed)
    return Plan(
        language=language,
        stt=_chain(stt, keyed.usable("stt")),
        llm=_chain(llm, keyed.usable("llm")),
        tts=_chain(tts, _speaking(language, keyed)),
        problems=problems + why_stt + why_llm + why_tts,
    )


def _asked(
    kind: Kind, service: Service | None, keyed: Keyed
) -> tuple[Choice | None, tuple[str, ...]]:
    """Read what the persona asks for; in vain: ``None`` and why."""
    if service is None:
        return None, ()
    provider = provider_of(service.provider)
    if provider not in NEEDS[kind]:
        known = ", ".join(NEEDS[kind])
        return None, (f"{kind}: unknown provider (known: {known}): {HOUSE_CHOICE}",)
    if lacking := keyed.missing_for(kind, provider):
        return None, (f"{kind}: {provider} lacks {', '.join(lacking)}: {HOUSE_CHOICE}",)
    return Choice(provider, service.model), ()


def _speaker(
    brief: Brief, language: Language, keyed: Keyed
) -> tuple[Choice | None, tuple[str, ...]]:
    """Find who speaks first, and with which voice."""
    asked, why = _asked("tts", brief.options.tts, keyed)
    if why:
        return None, why
    if asked is not None:
        voice, why = _voice(brief, asked.provider)
        if asked.provider == "deepgram":  # a voice of Deepgram's is a model of its own
            model = asked.model if asked.model and is_voice("deepgram", asked.model) else None
            voice = voice or model or language.deepgram_voice
            if voice is None:
                return None, (*why, f"tts: deepgram does not speak {language.code}: {HOUSE_VOICE}")
        return Choice(asked.provider, asked.model, voice), why
    return _by_voice(brief, keyed)


def _by_voice(brief: Brief, keyed: Keyed) -> tuple[Choice | None, tuple[str, ...]]:
    """Find who speaks by the voice that the persona names."""
    if brief.voice is None or brief.voice.id is None:
        return None, ()
    name = brief.voice.id.strip()
    if brief.voice.provider is None:
        speaking = [provider for provider in VOICES if provider in NEEDS["tts"]]
        owners = [provider for provider in speaking if is_voice(provider, name)]
        if not owners:
            return None, (f"voice: no provider has one of such a name: {HOUSE_VOICE}",)
        usable = [provider for provider in owners if not keyed.missing_for("tts", provider)]
        provider = (usable or owners)[0]
    else:
        provider = provider_of(brief.voice.provider)
    if provider not in NEEDS["tts"]:
        known = ", ".join(NEEDS["tts"])
        return None, (f"voice: unknown provider (known: {known}): {HOUSE_VOICE}",)
    if not is_voice(provider, name):
        return None, (f"voice: {provider} has none of such a name: {HOUSE_VOICE}",)
    if lacking := keyed.missing_for("tts", provider):
        return None, (f"voice: {provider} lacks {', '.join(lacking)}: {HOUSE_VOICE}",)
    return Choice(provider, voice=name), ()


def _voice(brief: Brief, provider: str) -> tuple[str | None, tuple[str, ...]]:
    """Give the persona's voice where it is one of *provider*'s."""
    if brief.voice is None or brief.voice.id is None:
        return None, ()
    owner = provider_of(brief.voice.provider) if brief.voice.provider else provider
    if owner != provider:
        return None, (f"voice: of {owner}, but {provider} speaks: {HOUSE_VOICE}",)
    if not is_voice(provider, brief.voice.id.strip()):
        return None, (f"voice: {provider} has none of such a name: {HOUSE_VOICE}",)
    return brief.voice.id.strip(), ()


def _speaking(language: Language, keyed: Keyed) -> tuple[str, ...]:
    """Name who can speak *language*."""
    mute = {"deepgram"} if language.deepgram_voice is None else set[str]()
    return tuple(provider for provider in keyed.usable("tts") if provider not in mute)


def _chain(first: Choice | None, usable: tuple[str, ...]) -> tuple[Choice, ...]:
    others = (Choice(name) for name in usable if first is None or name != first.provider)
    return (first, *others) if first else tuple(others)
