"""What a persona may ask for beyond its words: tools, models, limits of the call. Pure: no I/O.

Every field is optional, and one that cannot be used is left out with a problem in words: a persona
that has spoken until now must not fall silent over a field that its author meant otherwise.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal
from zoneinfo import available_timezones

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)
from pydantic.alias_generators import to_camel

_FROZEN = ConfigDict(
    frozen=True, extra="ignore", hide_input_in_errors=True, allow_inf_nan=False, title="Options"
)
Word = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
Sentence = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)]
ToolName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
Clock = Annotated[str, StringConstraints(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]
Address = Annotated[str, StringConstraints(pattern=r"^(\+[1-9][0-9]{6,14}|sips?:[^\s<>]{3,200})$")]
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


def _zone(name: str) -> str:
    if name not in available_timezones():
        raise ValueError("no such time zone")
    return name


def _named(value: Any) -> Any:
    """Read ``provider`` or ``provider/model`` as the object that it stands for."""
    if not isinstance(value, str):
        return value
    provider, _, model = value.partition("/")
    return {"provider": provider, "model": model or None}


Zone = Annotated[str, AfterValidator(_zone)]


class Service(BaseModel):
    """A provider's model: ``{provider: deepgram, model: nova-3}``, or as text ``deepgram/nova-3``.

    The names are lower case.
    """

    model_config = _FROZEN

    provider: Annotated[str, StringConstraints(to_lower=True, strip_whitespace=True, min_length=1)]
    model: Word | None = None


ServiceField = Annotated[Service, BeforeValidator(_named)]


class TransferTarget(BaseModel):
    """Somebody to whom a caller may be handed on."""

    model_config = _FROZEN

    name: Word = Field(description="what the model calls it: front desk")
    number: Address = Field(description="+13125550100, or sip:…")


class HttpTool(BaseModel):
    """A tool that the router runs as one HTTP request."""

    model_config = _FROZEN

    name: ToolName
    description: Sentence = Field(description="tells the model when to use it")
    parameters: dict[str, Any] = Field(
        default_factory=lambda: {"type": "object", "properties": {}},
        description="JSON Schema of the arguments",
    )
    url: Annotated[str, StringConstraints(pattern=r"^https?://[^\s]{1,2000}$")]
    method: Literal["GET", "POST", "PUT", "PATCH"] = "POST"
    secret: Word | None = Field(default=None, description="name of a bearer token of the router's")
    deadline_s: float = Field(default=5.0, gt=0, le=20)


class Hours(BaseModel):
    """Open from ``opens`` to ``closes`` on these days."""

    model_config = _FROZEN

    days: tuple[Weekday, ...] = Field(min_length=1)
    opens: Clock
    closes: Clock


class Calendar(BaseModel):
    """In which calendar appointments are made."""

    model_config = _FROZEN

    provider: Literal["builtin", "calcom"] = "builtin"
    name: Word = Field(default="default", description="Cal.com: the id of the event type")
    hours: tuple[Hours, ...] = ()
    slot_minutes: int = Field(default=30, ge=5, le=480)
    timezone: Zone | None = None


#: What every persona may use that names no tools.
DEFAULT_TOOLS: Final = (
    "share_information",
    "get_shared_information",
    "get_current_time",
    "end_call",
)
#: Facts are filed under these, and under those that a persona adds.
FACT_CATEGORIES: Final = (
    "contact_details",
    "debt_info",
    "personal_info",
    "qualification",
    "conversation_flow",
)


class PersonaOptions(BaseModel):
    """All of them; snake_case wins over camelCase."""

    model_config = ConfigDict(
        **_FROZEN,
        alias_generator=to_camel,
        populate_by_name=True,
    )

    tools: tuple[ToolName, ...] | None = Field(
        default=None,
        description="names of the tools that it may use; absent: the usual four, and those that "
        "it brings the means for",
    )
    http_tools: tuple[HttpTool, ...] = Field(default=(), description="tools of its own")
    fact_categories: tuple[ToolName, ...] = Field(default=(), description="besides the usual")
    remember: bool = Field(default=False, description="it may see facts of the caller's past calls")
    record: bool = Field(
        default=False, description="calls are recorded, after saying so; needs RECORDING_PATH"
    )
    recording_message: Sentence | None = Field(
        default=None, description="what is said before; absent: a sentence in its language"
    )
    transfer_targets: tuple[TransferTarget, ...] = ()
    calendar: Calendar | None = None
    timezone: Zone | None = Field(default=None, description="where it is at home")

    stt: ServiceField | None = Field(default=None, description="speech to text")
    llm: ServiceField | None = Field(default=None, description="language model")
    tts: ServiceField | None = Field(default=None, description="text to speech")
    speech_to_speech: ServiceField | None = Field(
        default=None, description="one model that hears and speaks, instead of the three"
    )

    max_duration_s: float | None = Field(default=None, ge=10, le=14_400)
    wrap_up_message: Sentence | None = Field(default=None, description="said when time is up")
    silence_s: float | None = Field(
        default=None, ge=2, le=300, description="silence of the caller before it is asked about"
    )
    silence_message: Sentence | None = Field(default=None, description="what it is asked with")
    detect_answering_machine: bool = Field(default=False, description="outbound calls only")
    voicemail_message: Sentence | None = Field(
        default=None, description="left on an answering machine; absent: hang up"
    )
    dtmf: dict[Annotated[str, StringConstraints(pattern=r"^[0-9*#A-D]$")], Sentence] = Field(
        default={}, description="what a key that the caller presses stands for"
    )

    @property
    def categories(self) -> tuple[str, ...]:
        """All categories for facts, each once."""
        return tuple(dict.fromkeys((*FACT_CATEGORIES, *self.fact_categories)))


#: How a document may spell each option, the one that wins first.
OPTION_SPELLINGS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {name: tuple(dict.fromkeys((name, to_camel(name)))) for name in PersonaOptions.model_fields}
)
NO_OPTIONS: Final = PersonaOptions()


def read_options(document: Mapping[str, Any]) -> tuple[PersonaOptions, tuple[str, ...]]:
    """Read what *document* asks for; each problem names a field, and never its value."""
    given = {
        name: document[key]
        for name, keys in OPTION_SPELLINGS.items()
        if (key := next((key for key in keys if document.get(key) is not None), None)) is not None
    }
    problems: list[str] = []
    while True:
        try:
            return PersonaOptions.model_validate(given), tuple(problems)
        except ValidationError as exc:
            broken = dict.fromkeys(str(error["loc"][0]) for error in exc.errors(include_url=False))
            for key in broken:
                name = next(name for name, keys in OPTION_SPELLINGS.items() if key in keys)
                del given[name]
                problems.append(f"{name}: cannot be used as it is written; it is left out")
