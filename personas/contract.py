"""What crosses the line from router to agent: job metadata. Pure: no I/O.

The persona document stands at the top level, exactly as its source served it, plus one reserved
key, ``_call``, with what the agent has to know about this call. So an agent that reads
``personality`` straight from the metadata works too.
"""

import json
from dataclasses import dataclass
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError
from pydantic_core import PydanticSerializationError

from personas.errors import BadMetadata, PersonaInvalid
from personas.json_text import compact, parse_object
from personas.model import (
    KNOWN_KEYS,
    RESERVED_KEY,
    Persona,
    PersonaDocument,
    version_of,
    with_spellings,
)

__all__ = [
    "ATTRIBUTE_ATTEMPT",
    "ATTRIBUTE_BEAT",
    "ATTRIBUTE_CALL",
    "ATTRIBUTE_FIRST_WORD",
    "ATTRIBUTE_ORIGIN",
    "ATTRIBUTE_VERSION",
    "MAX_METADATA_BYTES",
    "RESERVED_KEY",
    "CallConfig",
    "DialOrder",
    "Encoded",
    "Metadata",
    "Origin",
    "Report",
    "Ring",
    "Source",
    "decode",
    "encode",
    "json_schema",
    "read_metadata",
]

MAX_METADATA_BYTES: Final = 400 * 1024  # LiveKit refuses more than 512 KiB
SCHEMA: Final = 1

#: Attributes of the agent's participant.
ATTRIBUTE_ATTEMPT: Final = "persona.attempt"
ATTRIBUTE_CALL: Final = "persona.call"
ATTRIBUTE_BEAT: Final = "persona.beat"
ATTRIBUTE_FIRST_WORD: Final = "persona.first_word_at"  # Unix seconds
ATTRIBUTE_ORIGIN: Final = "persona.origin"
ATTRIBUTE_VERSION: Final = "persona.version"

Source = Literal["api", "stale", "last_known_good", "file", "house"]

_FROZEN = ConfigDict(
    frozen=True,
    extra="ignore",  # a newer router may say more
    hide_input_in_errors=True,
    populate_by_name=True,
    serialize_by_alias=True,
    allow_inf_nan=False,
)


def _is_none(value: object) -> bool:
    return value is None


class Origin(BaseModel):
    """Which source gave the persona, and why that one."""

    model_config = _FROZEN

    source: Source
    age_s: float = Field(default=0.0, ge=0, description="how old that copy was, in seconds")
    version: str = Field(description="the persona's content hash, sha256:<64 hex>")
    because: str = Field(description="one sentence, without numbers or prompts")


class Ring(BaseModel):
    """Where the ring time went; Unix seconds, 0 when unknown."""

    model_config = _FROZEN

    webhook_at: float = Field(default=0.0, description="first byte of the delivery")
    dispatched_at: float = Field(default=0.0, description="CreateDispatch request sent")


class Report(BaseModel):
    """Where the agent reports to, and with which token."""

    model_config = _FROZEN

    url: str
    token: str = Field(repr=False, description="good for this call alone")


class DialOrder(BaseModel):
    """Whom the agent has to dial, once, before it speaks."""

    model_config = _FROZEN

    number: str = Field(description="E.164", repr=False)
    trunk_id: str | None = Field(default=None, description="null: the agent's SIP_TRUNK_ID")
    identity: str = Field(description="of the callee's participant: out-<attempt>")
    caller_number: str | None = Field(default=None, description="E.164; null: the trunk's own")
    not_after: float = Field(description="Unix seconds: later it must not be dialed any more")


class CallConfig(BaseModel):
    """What the agent has to know about this call."""

    model_config = _FROZEN

    schema_: Literal[1] = Field(default=SCHEMA, alias="schema")
    call_id: str
    direction: Literal["inbound", "outbound"] = "inbound"
    room: str
    dialed_number: str | None = Field(default=None, description="E.164; null: unknown")
    dialed_as: str | None = Field(default=None, description="as the trunk gave it")
    caller: str | None = Field(default=None, description="E.164; null: withheld or unknown")
    origin: Origin
    variables: dict[str, str] = Field(default={}, description="fill placeholders")
    memory: list[JsonValue] = Field(default=[], description="of earlier calls; dropped first")
    report: Report | None = None
    traceparent: str | None = Field(default=None, description="W3C trace context")
    ring: Ring = Ring()
    dial: DialOrder | None = Field(
        default=None, description="null: nobody is to be dialed", exclude_if=_is_none
    )
    campaign_id: str | None = Field(default=None, exclude_if=_is_none)
    lead_id: str | None = Field(default=None, exclude_if=_is_none)
    resume: bool = Field(default=False, description="the caller was cut off from another agent")
    attempt: int = Field(default=1, ge=1, description="dispatches of this call, this one included")


@dataclass(frozen=True, slots=True)
class Encoded:
    """Job metadata, and what was left out to make it fit, in the order of ``encode``."""

    text: str
    dropped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Metadata:
    """Job metadata, read."""

    document: dict[str, Any]  # without ``_call``
    call: CallConfig | None  # None: there was none, or it was broken
    problem: str | None  # what is wrong with ``_call``: names fields, holds no values


def encode(persona: Persona, call: CallConfig, house: Persona) -> Encoded:
    """Put *persona* and *call* into one text of at most ``MAX_METADATA_BYTES`` of UTF-8.

    What is too large loses ``memory``, then the fields of the document that we do not know; then
    the *house* persona speaks, without variables if need be. ``call.origin.version`` is that of the
    document that is sent.

    Raises:
        BadMetadata: ``too_large``, when even the house persona does not fit.
    """
    dropped: tuple[str, ...] = ()
    text = _splice(persona.raw, call)
    if _fits(text):
        return Encoded(text, dropped)
    if call.memory:
        call = call.model_copy(update={"memory": []})
        dropped = (*dropped, "memory")
        text = _splice(persona.raw, call)
        if _fits(text):
            return Encoded(text, dropped)
    document = persona.document
    known = {key: value for key, value in document.items() if key in KNOWN_KEYS}
    if len(known) < len(document):
        dropped = (*dropped, "unknown_fields")
        origin = call.origin.model_copy(update={"version": version_of(known)})
        text = _splice(compact(known), call.model_copy(update={"origin": origin}))
        if _fits(text):
            return Encoded(text, dropped)
    origin = Origin(source="house", version=house.version, because="metadata too large")
    call = call.model_copy(update={"origin": origin})
    dropped = (*dropped, "persona")
    text = _splice(house.raw, call)
    if not _fits(text) and call.variables:
        dropped = (*dropped, "variables")
        text = _splice(house.raw, call.model_copy(update={"variables": {}}))
    if not _fits(text):
        raise BadMetadata("even the house persona is too large", reason="too_large")
    return Encoded(text, dropped)


def _fits(text: str) -> bool:
    return len(text.encode()) <= MAX_METADATA_BYTES


def _splice(raw: str, call: CallConfig) -> str:
    """Add ``_call`` to the object *raw*, of which every byte stays."""
    comma = "," if raw[1:-1].strip() else ""
    return f'{raw[:-1]}{comma}"{RESERVED_KEY}":{_dump(call)}}}'


def _dump(call: CallConfig) -> str:
    try:
        return call.model_dump_json()
    except PydanticSerializationError:  # half a character in a name: that must not cost a call
        text = json.dumps(call.model_dump(), ensure_ascii=False, separators=(",", ":"))
        return text.encode("utf-8", "replace").decode()


def decode(text: str) -> tuple[dict[str, Any], CallConfig | None]:
    """Take job metadata apart: the document, and the call's configuration unless it is broken.

    Raises:
        BadMetadata: the text is no JSON object.
    """
    metadata = read_metadata(text)
    return metadata.document, metadata.call


def read_metadata(text: str) -> Metadata:
    """Take job metadata apart and say what is wrong with its ``_call``, if anything is.

    Raises:
        BadMetadata: the text is no JSON object.
    """
    try:
        _, document = parse_object(text)
    except PersonaInvalid as exc:
        raise BadMetadata(str(exc), reason=exc.reason) from exc
    if RESERVED_KEY not in document:
        return Metadata(document, None, None)
    try:
        call = CallConfig.model_validate(document.pop(RESERVED_KEY))
    except ValidationError as exc:
        errors = exc.errors(include_url=False, include_input=False, include_context=False)
        fields = dict.fromkeys(".".join(map(str, error["loc"][:2])) for error in errors)
        names = ", ".join(field or RESERVED_KEY for field in fields)
        return Metadata(document, None, f"unreadable: {names}")
    return Metadata(document, call, None)


class _JobMetadata(PersonaDocument):
    """A persona document at the top level, and the reserved key ``_call``."""

    model_config = ConfigDict(title="Job metadata")

    call: CallConfig = Field(alias=RESERVED_KEY)


def json_schema() -> dict[str, Any]:
    """Describe job metadata as the router writes it (JSON Schema, draft 2020-12)."""
    return with_spellings(_JobMetadata.model_json_schema())
