"""Who are we on this call? Reads the metadata of job, room and participant. Pure: no I/O.

Five layouts are understood, each recognised by its own keys: persona document (ours, and the flat
one of other backends), agent config, campaign call, campaign context and per-call greeting. House
persona < room < job < participant: the later wins, field by field, except that a job which brings
a persona of its own replaces the house persona as a whole, so that two personas never mix.
Nothing here raises, whatever the metadata: what cannot be read leaves the house persona and a word
in ``problems``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final, Literal, TypeAlias

from personas.changes import Change
from personas.contract import RESERVED_KEY, CallConfig, Report, encode, read_metadata
from personas.errors import BadMetadata, PersonaError, PersonaInvalid
from personas.model import Persona, Voice, version_of
from personas.options import NO_OPTIONS, PersonaOptions, read_options
from personas.phone import MAX_RAW_CHARS

Place: TypeAlias = Literal["room", "job", "participant"]
Direction: TypeAlias = Literal["inbound", "outbound"]
Json: TypeAlias = Mapping[str, Any]

MAX_TEXT_CHARS: Final = 100_000
MAX_KEYS_NAMED: Final = 40
DEFAULT_VOICE_PROVIDER: Final = "elevenlabs"  # of an agent config that names none
_DOCUMENT_KEYS: Final = ("personality", "conversationStructure", "conversation_structure")
_LEAD_KEYS: Final = ("company", "address", "city", "state", "zip_code", "country", "notes")


@dataclass(frozen=True, slots=True)
class Found:
    """One source that had something to say: where, in which layout, under which keys."""

    place: Place
    layout: str
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Brief:
    """Everything that the agent needs to know to hold this call."""

    persona_name: str | None = None
    personality: str | None = None
    conversation_structure: str | list[Any] | dict[str, Any] | None = None
    campaign_prompt: str | None = None
    call_reason: str | None = None
    welcome_message: str | None = None
    closing_message: str | None = None
    language: str | None = None
    voice: Voice | None = None
    variables: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    options: PersonaOptions = NO_OPTIONS  # of the persona that speaks: tools, models, limits

    call: CallConfig | None = None  # None: not dispatched by our router
    direction: Direction = "inbound"
    phone_number: str | None = None  # the number that a campaign call asks us to dial
    trunk_id: str | None = None

    version: str = ""  # content hash of what the persona was read from
    origin: str = (
        "house"  # api, stale, last_known_good, file, house; or job: sent by another backend
    )
    because: str = ""
    found: tuple[Found, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Turn:
    """Which dispatch of which call a job belongs to; the election goes by it."""

    attempt: int = 1
    call_id: str = ""
    traceparent: str | None = None  # W3C trace context of the router
    report: Report | None = None  # where to report to


def turn_of(job_metadata: str | bytes | None) -> Turn:
    """Read the attempt and the call of a job; a job of another backend is attempt 1 of no call."""
    text, _ = _text_of(job_metadata)
    if RESERVED_KEY not in text:
        return Turn()
    try:
        call = read_metadata(text).call
    except BadMetadata:
        return Turn()
    return Turn(call.attempt, call.call_id, call.traceparent, call.report) if call else Turn()


def persona_id_of(job_metadata: str | bytes | None) -> str | None:
    """Give the ``agentId`` of a campaign call, whose file :func:`read` will ask for."""
    text, _ = _text_of(job_metadata)
    if "agentId" not in text:
        return None
    try:
        return _text(read_metadata(text).document.get("agentId"))
    except BadMetadata:
        return None


def read(
    job_metadata: str | bytes | None,
    room_metadata: str | bytes | None,
    participant_metadata: str | bytes | None,
    *,
    house: Persona,
    personas_by_id: Callable[[str], Persona | None],
    dialed: str | None = None,
) -> Brief:
    """Merge what job, room and participant say over the *house* persona.

    *personas_by_id* gives the persona file of a campaign call's ``agentId``; *dialed* is what the
    caller dialed, as their own attributes have it: a persona of another number never speaks.
    """
    brief = _speaking_as(house, Brief(because="nothing else was sent"), origin="house")
    brief = _room(brief, room_metadata)
    brief = _job(brief, job_metadata, personas_by_id, dialed)
    return _participant(brief, participant_metadata)


def changed(brief: Brief, change: Change, *, house: Persona) -> Brief:
    """Give *brief* with another persona in the place of who spoke; what the call is about stays.

    Raises:
        BadMetadata: ``other_call``: the change is not of this call.
    """
    if brief.call is None or brief.call.call_id != change.call_id:
        raise BadMetadata("the change is of another call", reason="other_call")
    call = brief.call.model_copy(update={"origin": change.origin, "resume": False})
    text = encode(change.persona, call, house).text
    new = read(text, "", "", house=house, personas_by_id=lambda _: None)
    return replace(
        new,
        campaign_prompt=brief.campaign_prompt,
        call_reason=brief.call_reason,
        variables=brief.variables,
        found=brief.found,
    )


# ---- the places ---------------------------------------------------------------------------


def _room(brief: Brief, metadata: str | bytes | None) -> Brief:
    document, brief = _object(brief, "room", metadata)
    if document is None or "campaignPrompt" not in document:
        return brief
    contact = document.get("contactInfo")
    contact = contact if isinstance(contact, dict) else {}
    return replace(
        _seen(brief, "room", "campaign context", document),
        campaign_prompt=_text(document.get("campaignPrompt")),
        variables=_with(brief.variables, contact, ("name", "email", "phone")),
    )


def _job(
    brief: Brief,
    metadata: str | bytes | None,
    personas_by_id: Callable[[str], Persona | None],
    dialed: str | None,
) -> Brief:
    text, problem = _text_of(metadata)
    if problem or not text.strip():
        return _fall_back(brief, f"job metadata is {problem or 'empty'}")
    try:
        read_as = read_metadata(text)
    except BadMetadata as exc:
        return _fall_back(brief, f"job metadata is {_unusable(exc.reason)}")
    document = read_as.document
    if read_as.problem:
        brief = _problem(brief, f"_call is {read_as.problem}")
    if read_as.call:
        call = read_as.call
        variables = {**brief.variables, **call.variables}
        brief = replace(brief, call=call, direction=call.direction, variables=variables)
    if "agent_config" in document:
        return _agent_config(brief, document)
    if any(document.get(key) is not None for key in _DOCUMENT_KEYS):
        return _persona_document(brief, document, dialed)
    if "phone_number" in document:
        return _campaign_call(brief, document, personas_by_id)
    return _fall_back(brief, "job metadata has no layout that we know")


def _participant(brief: Brief, metadata: str | bytes | None) -> Brief:
    document, brief = _object(brief, "participant", metadata)
    if document is None or "custom_greeting" not in document:
        return brief
    brief = _seen(brief, "participant", "per-call greeting", document)
    greeting = _text(document["custom_greeting"])
    if greeting is None:
        return _problem(brief, "custom_greeting is not text")
    return replace(brief, welcome_message=greeting)


# ---- the layouts of a job ------------------------------------------------------------------


def _persona_document(brief: Brief, document: Json, dialed: str | None) -> Brief:
    brief = _seen(brief, "job", "persona document", document)
    try:
        persona = Persona.from_document(document)
    except PersonaInvalid as exc:
        return _fall_back(brief, f"persona document is unusable: {exc.reason}")
    call = brief.call
    if call is None:
        return _speaking_as(persona, brief, origin="job", because="the job brought it")
    if call.origin.version != persona.version:
        return _fall_back(brief, "version mismatch")
    if dialed and call.dialed_as and dialed[:MAX_RAW_CHARS] != call.dialed_as:
        return _fall_back(brief, "dialed number mismatch")
    return _speaking_as(persona, brief, origin=call.origin.source, because=call.origin.because)


def _agent_config(brief: Brief, document: Json) -> Brief:
    brief = _seen(brief, "job", "agent config", document)
    config = document["agent_config"]
    if not isinstance(config, dict):
        return _fall_back(brief, "agent_config is not an object")
    for key in ("name", "voice_external_id"):
        if _text(config.get(key)) is None:
            brief = _problem(brief, f"agent_config.{key} is missing")
    voice_id = _text(config.get("voice_external_id"))
    provider = _text(config.get("voice_provider")) or DEFAULT_VOICE_PROVIDER
    prompts = [_text(config.get(key)) for key in ("character", "prompt")]
    personality = "\n\n".join(prompt for prompt in prompts if prompt)
    if not personality:
        brief = _problem(brief, "agent_config has neither character nor prompt")
    lead = document.get("lead_data")
    variables = _with(brief.variables, lead if isinstance(lead, dict) else {}, _LEAD_KEYS)
    outbound = _text(document.get("phone_number")) is not None and brief.call is None
    return replace(
        brief,
        persona_name=_text(config.get("name")),
        personality=personality or brief.personality,
        conversation_structure=None if personality else brief.conversation_structure,
        welcome_message=_text(config.get("greeting_outbound")),
        closing_message=None,
        language=_text(config.get("language")),
        voice=Voice(provider=provider, id=voice_id) if voice_id else None,
        options=NO_OPTIONS,
        call_reason=_text(document.get("call_reason")),
        variables=_with(
            variables,
            {"name": document.get("customer_name"), "phone": document.get("phone_number")},
            ("name", "phone"),
        ),
        direction="outbound" if outbound else brief.direction,
        version=version_of(config),
        origin="job",
        because="the job brought it",
    )


def _campaign_call(
    brief: Brief, document: Json, personas_by_id: Callable[[str], Persona | None]
) -> Brief:
    brief = _seen(brief, "job", "campaign call", document)
    number = _text(document["phone_number"])
    if number is None:
        brief = _problem(brief, "phone_number is not text")
    agent_id = _text(document.get("agentId"))
    if agent_id is not None:
        brief = _persona_of_campaign(brief, agent_id, personas_by_id)
    return replace(
        brief,
        campaign_prompt=_text(document.get("campaignPrompt")) or brief.campaign_prompt,
        variables=_with(
            brief.variables,
            {"name": document.get("contactName"), "phone": number},
            ("name", "phone"),
        ),
        direction="outbound",
        phone_number=number,
        trunk_id=_text(document.get("outbound_trunk_id")),
    )


def _persona_of_campaign(
    brief: Brief, agent_id: str, personas_by_id: Callable[[str], Persona | None]
) -> Brief:
    try:
        persona = personas_by_id(agent_id)
    except PersonaError as exc:
        return _fall_back(brief, f"persona file of agentId: {exc.reason}")
    if persona is None:
        return replace(brief, because="no persona file of that agentId")
    return _speaking_as(persona, brief, origin="file", because="the campaign named it")


# ---- small steps ---------------------------------------------------------------------------


def _speaking_as(persona: Persona, brief: Brief, *, origin: str, because: str = "") -> Brief:
    options, problems = read_options(persona.document)
    return replace(
        brief,
        options=options,
        problems=(*brief.problems, *problems),
        persona_name=persona.persona_name,
        personality=persona.personality,
        conversation_structure=persona.conversation_structure,
        welcome_message=persona.welcome_message,
        closing_message=persona.closing_message,
        language=persona.language,
        voice=persona.voice,
        version=persona.version,
        origin=origin,
        because=because or brief.because,
    )


def _fall_back(brief: Brief, reason: str) -> Brief:
    """Leave the house persona, which every brief starts with, and say why."""
    return replace(_problem(brief, f"{reason}: house persona"), because=reason)


def _problem(brief: Brief, problem: str) -> Brief:
    return replace(brief, problems=(*brief.problems, problem))


def _seen(brief: Brief, place: Place, layout: str, document: Json) -> Brief:
    keys = tuple(key[:40] for key in sorted(document)[:MAX_KEYS_NAMED])
    return replace(brief, found=(*brief.found, Found(place, layout, keys)))


def _object(brief: Brief, place: Place, metadata: str | bytes | None) -> tuple[Json | None, Brief]:
    """Read optional metadata: there is nothing wrong with none, or with another's JSON."""
    text, problem = _text_of(metadata)
    if problem:
        return None, _problem(brief, f"{place} metadata is {problem}")
    if not text.strip():
        return None, brief
    try:
        return read_metadata(text).document, brief
    except BadMetadata as exc:
        return None, _problem(brief, f"{place} metadata is {_unusable(exc.reason)}")


def _text_of(metadata: str | bytes | None) -> tuple[str, str]:
    """Give metadata as text, and what is wrong with it."""
    if isinstance(metadata, bytes):
        try:
            return metadata.decode(), ""
        except UnicodeDecodeError:
            return "", "not UTF-8"
    return metadata or "", ""


def _unusable(reason: str) -> str:
    return {"not_json": "not JSON", "not_an_object": "not an object"}.get(
        reason, reason.replace("_", " ")
    )


def _text(value: Any) -> str | None:
    """Take text, or a whole number as some backends send ids; anything else is not there."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value) if abs(value) < 10**20 else ""
    if not isinstance(value, str):
        return None
    return value.strip()[:MAX_TEXT_CHARS] or None


def _with(variables: Mapping[str, str], source: Json, keys: tuple[str, ...]) -> dict[str, str]:
    """Add those of *keys* that *source* has as text."""
    return {**variables, **{key: text for key in keys if (text := _text(source.get(key)))}}
