"""What a persona is, and how one is read from JSON. Pure: no I/O.

A persona's text is kept exactly as its source served it; the fields that we know are read from it,
those that we do not know pass through untouched.
"""

import copy
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Self

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError, model_validator

from personas.errors import PersonaInvalid
from personas.json_text import Json, check_shape, compact, parse_object
from personas.options import OPTION_SPELLINGS, PersonaOptions

RESERVED_KEY: Final = "_call"
ENVELOPE_KEYS: Final = ("data", "result", "persona")
WRONG_FIELDS: Final = "wrong_fields"  # the reason of a PersonaInvalid that lists fields
MAX_ENVELOPES: Final = 3


class Voice(BaseModel):
    """Which voice speaks; keys that we do not know are kept."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True, hide_input_in_errors=True)

    provider: str | None = Field(default=None, description="azure, elevenlabs, …")
    id: str | None = Field(default=None, description="the provider's own name of the voice")

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, value: Any) -> Any:
        return {"id": value} if isinstance(value, str) else value


class PersonaDocument(BaseModel):
    """The fields of a persona document that we know; snake_case wins over camelCase."""

    model_config = ConfigDict(
        frozen=True, extra="allow", strict=True, hide_input_in_errors=True, title="Persona"
    )

    persona_name: str | None = Field(
        default=None,
        validation_alias=AliasChoices("persona_name", "personaName"),
        description="what the persona is called",
    )
    personality: str | None = Field(default=None, description="who the agent is: its prompt")
    conversation_structure: str | list[Any] | dict[str, Any] | None = Field(
        default=None,
        validation_alias=AliasChoices("conversation_structure", "conversationStructure"),
        description="how the conversation goes: text, a list of steps, or an object",
    )
    welcome_message: str | None = Field(
        default=None,
        validation_alias=AliasChoices("welcome_message", "welcomeMessage"),
        description="spoken first",
    )
    closing_message: str | None = Field(
        default=None,
        validation_alias=AliasChoices("closing_message", "closingMessage"),
        description="spoken at the end",
    )
    language: str | None = Field(default=None, description="language tag: de, en-US")
    voice: Voice | None = Field(default=None, description="which voice speaks")
    max_stale_s: float | None = Field(
        default=None,
        ge=0,
        validation_alias=AliasChoices("max_stale_s", "maxStaleS"),
        description="how old, in seconds, a copy of this document may be and still speak; "
        "at most a day. The router keeps to it",
    )

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, value: Json) -> Json:
        return {key: item for key, item in value.items() if item is not None}


def _spellings() -> dict[str, tuple[str, ...]]:
    spellings = {}
    for name, known in PersonaDocument.model_fields.items():
        alias = known.validation_alias
        spellings[name] = (
            tuple(str(choice) for choice in alias.choices)
            if isinstance(alias, AliasChoices)
            else (name,)
        )
    return spellings


#: How a document may spell each field, the one that wins first.
SPELLINGS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(_spellings())
KNOWN_KEYS: Final = frozenset(
    key
    for spellings in (SPELLINGS, OPTION_SPELLINGS)
    for keys in spellings.values()
    for key in keys
)
_PERSONA_KEYS = (*SPELLINGS["personality"], *SPELLINGS["conversation_structure"])
_WANTED = {
    "conversation_structure": "text, a list or an object",
    "voice": "an object of text values, or text",
    "max_stale_s": "a number of seconds, 0 or more",
}


@dataclass(frozen=True, slots=True)
class Persona:
    """One immutable snapshot; equal to another when their ``version`` is."""

    version: str  # "sha256:<64 hex>" over the document's content, not over its layout
    raw: str = field(repr=False, compare=False)  # the document, byte for byte as it was served
    persona_name: str | None = field(default=None, repr=False, compare=False)
    personality: str | None = field(default=None, repr=False, compare=False)
    welcome_message: str | None = field(default=None, repr=False, compare=False)
    closing_message: str | None = field(default=None, repr=False, compare=False)
    language: str | None = field(default=None, repr=False, compare=False)
    voice: Voice | None = field(default=None, repr=False, compare=False)
    max_stale_s: float | None = field(default=None, repr=False, compare=False)
    reserved_removed: bool = field(default=False, compare=False)  # it came with a `_call`
    _structure: str | list[Any] | Json | None = field(default=None, repr=False, compare=False)

    @property
    def conversation_structure(self) -> str | list[Any] | Json | None:
        """How the conversation goes; a copy, so that nobody can change the snapshot."""
        return copy.deepcopy(self._structure)

    @property
    def document(self) -> Mapping[str, Any]:
        """The whole document, parsed anew, so that nobody can change the snapshot."""
        parsed: Json = json.loads(self.raw)
        return parsed

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read one JSON object.

        Raises:
            PersonaInvalid: one line for each problem, which name fields and never their values.
        """
        raw, document = parse_object(text)
        removed = RESERVED_KEY in document
        if removed:
            del document[RESERVED_KEY]
            raw = compact(document)
        known, problems = read_fields(document)
        if problems:
            raise PersonaInvalid("\n".join(problems), reason=WRONG_FIELDS)
        return cls(
            version=version_of(document),
            raw=raw,
            persona_name=known.persona_name,
            personality=known.personality,
            welcome_message=known.welcome_message,
            closing_message=known.closing_message,
            language=known.language,
            voice=known.voice,
            max_stale_s=known.max_stale_s,
            reserved_removed=removed,
            _structure=known.conversation_structure,
        )

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """Read a document that is no JSON text yet (YAML); ``raw`` is then its compact JSON.

        Raises:
            PersonaInvalid: as :meth:`from_json`, and for values that JSON does not have.
        """
        check_shape(document)
        try:
            raw = compact(dict(document))
        except (TypeError, ValueError) as exc:
            raise PersonaInvalid(
                "the document holds a value that JSON does not have (a date, NaN); quote it",
                reason="not_json",
            ) from exc
        return cls.from_json(raw)


def version_of(document: Mapping[str, Any]) -> str:
    """Hash the content of *document* without ``_call``: ``sha256:<64 hex>``.

    Layout and order of keys do not matter: the hash is over the compact JSON with sorted keys.
    """
    content = {key: value for key, value in document.items() if key != RESERVED_KEY}
    canonical = compact(content, sort_keys=True)
    return "sha256:" + hashlib.sha256(canonical.encode()).hexdigest()


def read_fields(document: Mapping[str, Any]) -> tuple[PersonaDocument, list[str]]:
    """Read the fields that we know; each problem is one line, ``field: what is wrong``."""
    try:
        known = PersonaDocument.model_validate(dict(document))
    except ValidationError as exc:
        found = [str(error["loc"][0]) for error in exc.errors(include_url=False)]
        problems = [f"{key}: must be {_wanted(key)}" for key in dict.fromkeys(found)]
        return PersonaDocument(), problems
    if not _filled(known.personality) and not _filled(known.conversation_structure):
        return known, ["personality: it or conversation_structure must be there and not be empty"]
    return known, []


def _wanted(key: str) -> str:
    name = next((name for name, keys in SPELLINGS.items() if key in keys), key)
    return _WANTED.get(name, "text")


def _filled(value: str | list[Any] | Json | None) -> bool:
    return bool(value.strip() if isinstance(value, str) else value)


# ---- envelopes ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Enveloped:
    """A persona found inside an answer."""

    raw: str  # the persona object's text, byte for byte
    objects: tuple[Mapping[str, Any], ...]  # the envelopes, outermost first, then the persona


def unwrap(text: str) -> str:
    """Give the text of the persona object in *text*, be it bare or inside envelopes.

    Raises:
        PersonaInvalid: the text is no JSON object, or (``no_persona``) there is none in it.
    """
    return find_persona(text).raw


def find_persona(text: str | bytes) -> Enveloped:
    """Find the persona object, bare or within up to ``MAX_ENVELOPES`` envelopes.

    An object with a personality or a conversation structure is the persona. Otherwise it is looked
    for under ``data``, ``result`` and ``persona``, in objects and in lists of exactly one object.

    Raises:
        PersonaInvalid: the text is no JSON object, or (``no_persona``) there is none in it.
    """
    raw, outermost = parse_object(text)
    found = _descend(raw, 0, outermost, ())
    if found is None:
        raise PersonaInvalid("the answer holds no persona", reason="no_persona")
    return found


def _descend(
    text: str, start: int, value: Json, outer: tuple[Mapping[str, Any], ...]
) -> Enveloped | None:
    objects = (*outer, value)
    if any(value.get(key) is not None for key in _PERSONA_KEYS):
        _, end = _DECODER.raw_decode(text, start)
        return Enveloped(text[start:end], objects)
    if len(outer) == MAX_ENVELOPES:
        return None
    # Of a key that stands there twice, the last counts, as for every parser.
    members = {key: (item, at) for key, item, at in _members(text, start) if key in ENVELOPE_KEYS}
    for item, at in members.values():
        inner, inner_at = item, at
        if isinstance(inner, list) and len(inner) == 1:
            inner, inner_at = inner[0], _skip(text, at + 1)
        if isinstance(inner, dict) and (found := _descend(text, inner_at, inner, objects)):
            return found
    return None


_DECODER = json.JSONDecoder()


def _members(text: str, start: int) -> Iterator[tuple[str, Any, int]]:
    """Walk the object at *start*, known to be valid: key, value, where the value starts."""
    at = _skip(text, start + 1)
    while text[at] != "}":
        key, at = _DECODER.raw_decode(text, at)
        at = _skip(text, _skip(text, at) + 1)
        value, end = _DECODER.raw_decode(text, at)
        yield key, value, at
        at = _skip(text, end)
        if text[at] == ",":
            at = _skip(text, at + 1)


def _skip(text: str, at: int) -> int:
    while text[at] in " \t\r\n":
        at += 1
    return at


# ---- placeholders ---------------------------------------------------------------------------

#: ``{{ name }}``, ``{name}``, ``[Prospect Name]``, ``[____@abc.com]``
PLACEHOLDER: Final = re.compile(
    r"\{\{\s*([A-Za-z_]\w*)\s*\}\}"
    r"|\{\s*([A-Za-z_]\w*)\s*\}"
    r"|\[([A-Z][\w']*(?: [A-Z][\w']*){0,3})\]"
    r"|\[(_+@[\w.-]+)\]"
)

#: What is said in place of a placeholder that nothing fills, by ``placeholder_name``.
#: ``None``: nothing sensible can be said, so the sentence that holds it is left out. The same
#: goes for a name that is not in here.
PLACEHOLDER_DEFAULTS: Final[Mapping[str, str | None]] = MappingProxyType(
    {
        "name": "there",
        "email": "your email",
        "phone": "your number",
        "prospect name": "there",
        "company name": "your company",
        "job title": None,
        "resource name": None,
    }
)


def placeholder_name(found: re.Match[str]) -> str:
    """Name what a match of ``PLACEHOLDER`` stands for: ``prospect name``, ``email``."""
    word = found[1] or found[2] or found[3]
    return word.lower().replace("_", " ") if word else "email"


# ---- schema ---------------------------------------------------------------------------------


def json_schema() -> Json:
    """Describe a persona document for editors and validators (JSON Schema, draft 2020-12)."""
    return with_spellings(PersonaDocument.model_json_schema())


def with_spellings(schema: Json) -> Json:
    """Add to *schema*, made from ``PersonaDocument``, what its model cannot express."""
    options = PersonaOptions.model_json_schema(by_alias=False)
    properties = schema["properties"] | options["properties"]
    for keys in (*SPELLINGS.values(), *OPTION_SPELLINGS.values()):
        for other in keys[1:]:
            properties[other] = {**properties[keys[0]], "title": other}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "$defs": schema.get("$defs", {}) | options["$defs"],
        "properties": properties,
        "anyOf": [{"required": [key]} for key in _PERSONA_KEYS],
    }
