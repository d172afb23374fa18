"""Who are we on this call? Reads the metadata of job, room and participant. Pure: no I/O.

Five layouts are understood, each recognised by its own keys: persona document (ours, and the flat
one of other backends), agent config, campaign call, campaign context and per-call greeting. House
persona < room < job < participant: the later wins, field by field, except that a job which brings
a persona of its own replaces the house persona as a whole, so that two personas never mix.
Nothing here raises, whatever the metadata: what cannot be read leaves the house persona, and every
fault is named in ``problems``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias, TypeVar

from pydantic import BaseModel

from agent.brief import (
    Brief,
    Found,
    Place,
    Problem,
    add_problem,
    fall_back,
    missing,
    seen,
    speaking_as,
    with_values,
)
from personas.changes import Change
from personas.contract import RESERVED_KEY, Report, encode, read_metadata
from personas.errors import BadMetadata, PersonaError, PersonaInvalid
from personas.layouts import (
    DEFAULT_VOICE_PROVIDER,
    AgentConfigCall,
    CampaignCall,
    CampaignContext,
    Greeting,
    read_layout,
    text,
)
from personas.model import Persona, Voice, version_of
from personas.options import NO_OPTIONS
from personas.phone import MAX_RAW_CHARS
from personas.reports import ProblemCode

__all__ = [
    "Brief",
    "Found",
    "Problem",
    "Turn",
    "changed",
    "detected",
    "persona_id_of",
    "read",
    "turn_of",
]

Json: TypeAlias = Mapping[str, Any]
LayoutT = TypeVar("LayoutT", bound=BaseModel)

_DOCUMENT_KEYS: Final = ("personality", "conversationStructure", "conversation_structure")


@dataclass(frozen=True, slots=True)
class Turn:
    """Which dispatch of which call a job belongs to; the election goes by it."""

    attempt: int = 1
    call_id: str = ""
    traceparent: str | None = None  # W3C trace context of the router
    report: Report | None = None  # where to report to


def turn_of(job_metadata: str | bytes | None) -> Turn:
    """Read the attempt and the call of a job; a job of another backend is attempt 1 of no call."""
    metadata, _ = _text_of(job_metadata)
    if RESERVED_KEY not in metadata:
        return Turn()
    try:
        call = read_metadata(metadata).call
    except BadMetadata:
        return Turn()
    return Turn(call.attempt, call.call_id, call.traceparent, call.report) if call else Turn()


def persona_id_of(job_metadata: str | bytes | None) -> str | None:
    """Give the ``agentId`` of a campaign call, whose file :func:`read` will ask for."""
    metadata, _ = _text_of(job_metadata)
    if "agentId" not in metadata:
        return None
    try:
        return text(read_metadata(metadata).document.get("agentId"))
    except (BadMetadata, ValueError):
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
    brief = speaking_as(house, Brief(because="nothing else was sent"), origin="house")
    brief = _room(brief, room_metadata)
    brief = _job(brief, job_metadata, personas_by_id, dialed)
    return _participant(brief, participant_metadata)


def detected(brief: Brief, attributes: Mapping[str, str]) -> Brief:
    """Correct the direction by what LiveKit's gateway says of the other side (``sip.*``).

    Both directions carry the numbers; only a caller came by a dispatch rule, and rings.
    """
    if "sip.callID" not in attributes:
        return brief
    inbound = "sip.ruleID" in attributes or attributes.get("sip.callStatus") == "ringing"
    return replace(brief, direction="inbound" if inbound else "outbound")


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
        direction=brief.direction,
        found=brief.found,
    )


# ---- the places ---------------------------------------------------------------------------


def _room(brief: Brief, metadata: str | bytes | None) -> Brief:
    document, brief = _object(brief, "room", metadata)
    if document is None or "campaignPrompt" not in document:
        return brief
    brief, context = _layout(brief, "room", "campaign context", CampaignContext, document)
    if context.campaign_prompt is None:
        brief = missing(brief, "campaignPrompt")
    return replace(
        brief,
        campaign_prompt=context.campaign_prompt,
        campaign_id=context.campaign_id,
        variables=with_values(brief.variables, context.contact_info.model_dump()),
    )


def _job(
    brief: Brief,
    metadata: str | bytes | None,
    personas_by_id: Callable[[str], Persona | None],
    dialed: str | None,
) -> Brief:
    content, problem = _text_of(metadata)
    if problem or not content.strip():
        code: ProblemCode = "metadata_unreadable" if problem else "metadata_empty"
        return fall_back(brief, code, f"job metadata is {problem or 'empty'}")
    try:
        read_as = read_metadata(content)
    except BadMetadata as exc:
        reason = f"job metadata is {_unusable(exc.reason)}"
        return fall_back(brief, "metadata_unreadable", reason)
    document = read_as.document
    if read_as.problem:
        brief = add_problem(brief, "call_unreadable", f"_call is {read_as.problem}")
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
    return fall_back(brief, "layout_unknown", "job metadata has no layout that we know")


def _participant(brief: Brief, metadata: str | bytes | None) -> Brief:
    document, brief = _object(brief, "participant", metadata)
    if document is None or "custom_greeting" not in document:
        return brief
    brief, greeting = _layout(brief, "participant", "per-call greeting", Greeting, document)
    if greeting.custom_greeting is None:
        return missing(brief, "custom_greeting")
    return replace(brief, welcome_message=greeting.custom_greeting)


# ---- the layouts of a job ------------------------------------------------------------------


def _persona_document(brief: Brief, document: Json, dialed: str | None) -> Brief:
    brief = seen(brief, "job", "persona document", document)
    try:
        persona = Persona.from_document(document)
    except PersonaInvalid as exc:
        reason = f"persona document is unusable: {exc.reason}"
        return fall_back(brief, "persona_unusable", reason)
    call = brief.call
    if call is None:
        return speaking_as(persona, brief, origin="job", because="the job brought it")
    if call.origin.version != persona.version:
        return fall_back(brief, "version_mismatch", "version mismatch")
    if dialed and call.dialed_as and dialed[:MAX_RAW_CHARS] != call.dialed_as:
        return fall_back(brief, "dialed_mismatch", "dialed number mismatch")
    return speaking_as(persona, brief, origin=call.origin.source, because=call.origin.because)


def _agent_config(brief: Brief, document: Json) -> Brief:
    raw = document["agent_config"]
    if not isinstance(raw, dict):
        brief = seen(brief, "job", "agent config", document)
        return fall_back(brief, "required_missing", "agent_config is not an object")
    brief, sent = _layout(brief, "job", "agent config", AgentConfigCall, document)
    config = sent.agent_config
    for name in ("name", "voice_external_id"):
        if getattr(config, name) is None:
            brief = missing(brief, f"agent_config.{name}")
    personality = "\n\n".join(prompt for prompt in (config.character, config.prompt) if prompt)
    if not personality:
        brief = add_problem(
            brief, "required_missing", "agent_config has neither character nor prompt"
        )
    voice_id = config.voice_external_id
    provider = config.voice_provider or DEFAULT_VOICE_PROVIDER
    dials = sent.phone_number is not None and brief.call is None
    return replace(
        brief,
        persona_name=config.name,
        personality=personality or brief.personality,
        conversation_structure=None if personality else brief.conversation_structure,
        welcome_message=config.greeting_outbound,
        closing_message=None,
        language=config.language,
        voice=Voice(provider=provider, id=voice_id) if voice_id else None,
        voice_source="agent_config" if voice_id else "none",
        options=NO_OPTIONS,
        call_reason=sent.call_reason,
        variables=with_values(
            brief.variables,
            sent.lead_data.model_dump(),
            {"name": sent.customer_name, "phone": sent.phone_number},
        ),
        direction="outbound" if dials else brief.direction,
        phone_number=sent.phone_number if dials else None,
        trunk_id=sent.outbound_trunk_id,
        others_may_dial=dials,
        version=version_of(raw),
        origin="job",
        because="the job brought it",
    )


def _campaign_call(
    brief: Brief, document: Json, personas_by_id: Callable[[str], Persona | None]
) -> Brief:
    brief, sent = _layout(brief, "job", "campaign call", CampaignCall, document)
    if sent.phone_number is None:
        brief = missing(brief, "phone_number")
    if sent.agent_id is not None:
        brief = _persona_of_campaign(brief, sent.agent_id, personas_by_id)
    return replace(
        brief,
        options=brief.options.model_copy(update={"tools": (), "http_tools": ()}),
        campaign_prompt=sent.campaign_prompt or brief.campaign_prompt,
        variables=with_values(
            brief.variables, {"name": sent.contact_name, "phone": sent.phone_number}
        ),
        direction="outbound",
        phone_number=sent.phone_number,
        trunk_id=sent.outbound_trunk_id,
        campaign_id=sent.campaign_id or brief.campaign_id,
    )


def _persona_of_campaign(
    brief: Brief, agent_id: str, personas_by_id: Callable[[str], Persona | None]
) -> Brief:
    try:
        persona = personas_by_id(agent_id)
    except PersonaError as exc:
        reason = f"persona file of agentId: {exc.reason}"
        return fall_back(brief, "persona_file_unusable", reason)
    if persona is None:
        return replace(brief, because="no persona file of that agentId")
    return speaking_as(persona, brief, origin="file", because="the campaign named it")


# ---- small steps ---------------------------------------------------------------------------


def _layout(
    brief: Brief, place: Place, name: str, layout: type[LayoutT], document: Json
) -> tuple[Brief, LayoutT]:
    """Read one of the layouts of other backends, and name what of it cannot be used."""
    brief = seen(brief, place, name, document)
    sent, ignored = read_layout(layout, document)
    for path in ignored:
        brief = add_problem(brief, "field_ignored", f"{path} cannot be used as it is written")
    return brief, sent


def _object(brief: Brief, place: Place, metadata: str | bytes | None) -> tuple[Json | None, Brief]:
    """Read optional metadata: there is nothing wrong with none, or with another's JSON."""
    content, problem = _text_of(metadata)
    if problem:
        return None, add_problem(brief, "metadata_unreadable", f"{place} metadata is {problem}")
    if not content.strip():
        return None, brief
    try:
        return read_metadata(content).document, brief
    except BadMetadata as exc:
        what = f"{place} metadata is {_unusable(exc.reason)}"
        return None, add_problem(brief, "metadata_unreadable", what)


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
