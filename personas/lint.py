"""What an author should know about a persona before a caller meets it. Pure: no I/O."""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from personas.errors import PersonaInvalid
from personas.json_text import compact
from personas.model import (
    KNOWN_KEYS,
    PLACEHOLDER,
    PLACEHOLDER_DEFAULTS,
    RESERVED_KEY,
    SPELLINGS,
    WRONG_FIELDS,
    Persona,
    PersonaDocument,
    placeholder_name,
    read_fields,
)
from personas.options import OPTION_SPELLINGS, PersonaOptions, Service, read_options
from personas.providers import PROVIDERS, provider_of
from personas.tools import offer

PROMPT_WARNING_BYTES: Final = 20 * 1024
PROMPT_ERROR_BYTES: Final = 300 * 1024

# ISO 639-1, and three that speech services have besides.
_LANGUAGES: Final = """
aa ab ae af ak am an ar as av ay az ba be bg bh bi bm bn bo br bs ca ce ch co cr cs cu cv cy da de
dv dz ee el en eo es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia id
ie ig ii ik io is it iu ja jv ka kg ki kj kk kl km kn ko kr ks ku kv kw ky la lb lg li ln lo lt lu
lv mg mh mi mk ml mn mr ms mt my na nb nd ne ng nl nn no nr nv ny oc oj om or os pa pi pl ps pt qu
rm rn ro ru rw sa sc sd se sg si sk sl sm sn so sq sr ss st su sv sw ta te tg th ti tk tl tn to tr
ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za zh zu fil wuu yue
"""
_TAG = re.compile(r"([A-Za-z]{2,3})(?:[-_][A-Za-z0-9]{2,8})*")
_CLOSE_ENOUGH: Final = 0.8
_SPELLINGS: Final = {**SPELLINGS, **OPTION_SPELLINGS}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing about a persona: an ``error`` keeps it from working, a ``warning`` does not."""

    level: Literal["error", "warning"]
    field: str
    message: str
    fix: str


def lint(persona: Persona | Mapping[str, Any]) -> list[Finding]:
    """Check a persona, or a document that may not be one yet; errors first."""
    document = persona.document if isinstance(persona, Persona) else persona
    known, problems = read_fields(document)
    found = [
        Finding("error", field, message.strip(), "see `persona-router personas schema`")
        for field, _, message in (problem.partition(":") for problem in problems)
    ]
    found += _keys(document)
    options, unread = read_options(document)
    found += _unread(unread)
    found += _tools(options)
    found += _recording(options)
    found += _providers(options)
    found += _whole(document)
    if isinstance(persona, Persona) and persona.reserved_removed:
        found.append(_RESERVED)
    if not problems:
        found += _prompt_size(known)
        found += _speech(known)
        found += _placeholders(known)
    return sorted(found, key=lambda finding: finding.level != "error")


def _unread(problems: Iterable[str]) -> Iterator[Finding]:
    for field, _, message in (problem.partition(":") for problem in problems):
        yield Finding("error", field, message.strip(), "see `persona-router personas schema`")


def _tools(options: PersonaOptions) -> Iterator[Finding]:
    for unmet in offer(options, direction="outbound").problems:
        yield Finding("error", unmet.field, unmet.what, unmet.fix)


def _recording(options: PersonaOptions) -> Iterator[Finding]:
    if options.recording_message and not options.record:
        said = "it is never said: calls are not recorded"
        yield Finding("warning", "recording_message", said, "add `record: true`, or leave it out")
    if options.record and options.speech_to_speech:
        said = "a model that speaks by itself cannot say it word for word: nothing is recorded"
        yield Finding("warning", "record", said, "leave out `speech_to_speech`")


def _providers(options: PersonaOptions) -> Iterator[Finding]:
    for kind, known in PROVIDERS.items():
        service: Service | None = getattr(options, kind)
        if service is not None and provider_of(service.provider) not in known:
            yield _unknown_provider(kind, known)


def _unknown_provider(field: str, known: tuple[str, ...]) -> Finding:
    message = "no such provider is known; another one takes its place"
    return Finding("error", field, message, f"name one of {', '.join(known)}")


_RESERVED = Finding(
    "error",
    RESERVED_KEY,
    "this key is reserved: router and agent put the call's own settings there",
    "rename it; until then it is left out",
)


def _whole(document: Mapping[str, Any]) -> Iterator[Finding]:
    try:
        Persona.from_document(document)
    except PersonaInvalid as exc:
        if exc.reason != WRONG_FIELDS:
            yield Finding("error", "document", str(exc), "see `persona-router personas schema`")


def _keys(document: Mapping[str, Any]) -> Iterator[Finding]:
    for key in map(str, document):
        if key == RESERVED_KEY:
            yield _RESERVED
        elif key not in KNOWN_KEYS:
            near = difflib.get_close_matches(key, sorted(KNOWN_KEYS), 1, _CLOSE_ENOUGH)
            if near:
                yield Finding(
                    "warning",
                    key,
                    "nothing reads this field, and its name is close to one that is read",
                    f"did you mean `{near[0]}`?",
                )
    for name, keys in _SPELLINGS.items():
        if sum(document.get(key) is not None for key in keys) > 1:
            yield Finding(
                "warning", name, f"it is there as {' and as '.join(keys)}", f"keep `{keys[0]}`"
            )


def _prompt_size(known: PersonaDocument) -> Iterator[Finding]:
    structure = known.conversation_structure
    text = structure if isinstance(structure, str) else compact({"": structure})
    size = len(((known.personality or "") + text).encode())
    if size > PROMPT_WARNING_BYTES:
        yield Finding(
            "error" if size > PROMPT_ERROR_BYTES else "warning",
            "personality",
            f"the prompt has {size / 1024:.0f} KiB; a model answers slower the more it has to read",
            f"bring it below {PROMPT_WARNING_BYTES // 1024} KiB",
        )


def _speech(known: PersonaDocument) -> Iterator[Finding]:
    if not (known.welcome_message or "").strip():
        yield Finding(
            "warning",
            "welcome_message",
            "there is none, so the caller waits until the model has made one up",
            "write the first sentence that the caller is to hear",
        )
    tag = _TAG.fullmatch(known.language or "en")
    if tag is None or tag[1].lower() not in _LANGUAGES.split():
        yield Finding(
            "warning",
            "language",
            "this is no language code",
            "use a code such as `en`, `de` or `es-MX`; in YAML write Norwegian as 'no'",
        )
    if known.voice and known.voice.id and not known.voice.provider:
        yield Finding(
            "warning",
            "voice.provider",
            "a voice's name alone does not say whose voice it is",
            "add `provider: azure` (or elevenlabs, …)",
        )
    owner = known.voice.provider if known.voice else None
    speaking = tuple(dict.fromkeys((*PROVIDERS["tts"], *PROVIDERS["speech_to_speech"])))
    if owner and provider_of(owner) not in speaking:
        yield _unknown_provider("voice.provider", speaking)


def _placeholders(known: PersonaDocument) -> Iterator[Finding]:
    for field, text in _texts(known):
        for literal, name in dict.fromkeys(
            (found[0], placeholder_name(found)) for found in PLACEHOLDER.finditer(text)
        ):
            default = PLACEHOLDER_DEFAULTS.get(name)
            unfilled = f'"{default}" is said' if default else "its whole sentence is left out"
            yield Finding(
                "warning",
                field,
                f"the placeholder {literal} is filled per call; where it is not, {unfilled}",
                "make sure that every call brings it, or reword the sentence",
            )


def _texts(known: PersonaDocument) -> Iterator[tuple[str, str]]:
    structure = known.conversation_structure
    yield "personality", known.personality or ""
    yield "conversation_structure", "\n".join(_strings(structure))
    yield "welcome_message", known.welcome_message or ""
    yield "closing_message", known.closing_message or ""


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _strings(item)
