"""What an agent knows about its call, and the steps in which it learns it. Pure: no I/O."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final, Literal, TypeAlias

from personas.contract import CallConfig
from personas.model import Persona, Voice
from personas.options import NO_OPTIONS, PersonaOptions, read_options
from personas.reports import ProblemCode

Place: TypeAlias = Literal["room", "job", "participant"]
Direction: TypeAlias = Literal["inbound", "outbound"]
VoiceSource: TypeAlias = Literal["persona", "agent_config", "house", "none"]

MAX_KEYS_NAMED: Final = 40


@dataclass(frozen=True, slots=True)
class Found:
    """One source that had something to say: where, in which layout, under which keys."""

    place: Place
    layout: str
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with what was sent; ``what`` names fields and holds no values."""

    code: ProblemCode  # one of few, fit for a metric's label
    what: str

    def __str__(self) -> str:
        return self.what


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
    voice_source: VoiceSource = "none"  # none: the language's default voice speaks
    variables: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    options: PersonaOptions = NO_OPTIONS  # of the persona that speaks: tools, models, limits

    call: CallConfig | None = None  # None: not dispatched by our router
    direction: Direction = "inbound"
    phone_number: str | None = None  # the number that the job asks us to dial
    campaign_id: str | None = None  # as another backend names its campaign
    trunk_id: str | None = None  # over which trunk, if the job says so
    others_may_dial: bool = False  # whoever sent the job may dial, so look before

    version: str = ""  # content hash of what the persona was read from
    origin: str = (
        "house"  # api, stale, last_known_good, file, house; or job: sent by another backend
    )
    because: str = ""
    found: tuple[Found, ...] = ()
    problems: tuple[Problem, ...] = ()

    @property
    def customer_known(self) -> bool:
        """Whether anything sent the name of the other side."""
        return "name" in self.variables

    @property
    def phone_known(self) -> bool:
        """Whether anything sent the number of the other side."""
        return "phone" in self.variables or bool(self.call and self.call.caller)


# ---- the steps -----------------------------------------------------------------------------


def speaking_as(persona: Persona, brief: Brief, *, origin: str, because: str = "") -> Brief:
    """Take everything that is said, and how, from *persona*."""
    options, problems = read_options(persona.document)
    voiced: VoiceSource = "house" if origin == "house" else "persona"
    return replace(
        brief,
        options=options,
        problems=(*brief.problems, *(Problem("field_ignored", problem) for problem in problems)),
        persona_name=persona.persona_name,
        personality=persona.personality,
        conversation_structure=persona.conversation_structure,
        welcome_message=persona.welcome_message,
        closing_message=persona.closing_message,
        language=persona.language,
        voice=persona.voice,
        voice_source=voiced if persona.voice else "none",
        version=persona.version,
        origin=origin,
        because=because or brief.because,
    )


def fall_back(brief: Brief, code: ProblemCode, reason: str) -> Brief:
    """Leave the house persona, which every brief starts with, and say why."""
    return replace(add_problem(brief, code, f"{reason}: house persona"), because=reason)


def add_problem(brief: Brief, code: ProblemCode, what: str) -> Brief:
    """Add one fault of what was sent."""
    return replace(brief, problems=(*brief.problems, Problem(code, what)))


def missing(brief: Brief, name: str) -> Brief:
    """Name a field that its layout requires."""
    return add_problem(brief, "required_missing", f"{name} is missing")


def seen(brief: Brief, place: Place, layout: str, document: Mapping[str, Any]) -> Brief:
    """Note that a place had something to say."""
    keys = tuple(key[:40] for key in sorted(document)[:MAX_KEYS_NAMED])
    return replace(brief, found=(*brief.found, Found(place, layout, keys)))


def with_values(variables: Mapping[str, str], *sources: Mapping[str, str | None]) -> dict[str, str]:
    """Add what *sources* have; the later wins."""
    given = {key: value for source in sources for key, value in source.items() if value}
    return {**variables, **given}
