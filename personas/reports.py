"""What the agent tells the router about a call: events, numbered for each attempt. Pure: no I/O.

A batch (``CallReport``) goes by POST to ``_call.report.url`` with the call's token. It may be sent
again, and batches may arrive in any order: an event is known by (call_id, attempt, seq). Text that
is too long is cut, and what neither a database nor UTF-8 can hold is replaced: a report is never
refused for what a caller said.
"""

import re
from collections.abc import Callable
from typing import Annotated, Any, Final, Literal, TypeAlias, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, model_validator

MAX_EVENTS: Final = 100  # in one report: a ringing call may have to wait for its transaction
MAX_REPORT_BYTES: Final = 512 * 1024
MAX_SEQ: Final = 100_000  # events of one attempt
MAX_CALL_ID_CHARS: Final = 40

_UNFIT: Final = re.compile("[\0\ud800-\udfff]")

_FROZEN = ConfigDict(
    frozen=True,
    extra="ignore",  # a newer agent may say more
    hide_input_in_errors=True,
    allow_inf_nan=False,
)


def _cut(chars: int) -> Callable[[Any], Any]:
    def cut(value: Any) -> Any:
        return _UNFIT.sub("�", value[:chars]) if isinstance(value, str) else value

    return cut


Word = Annotated[str, BeforeValidator(_cut(200))]
Sentence = Annotated[str, BeforeValidator(_cut(1_000))]
Words = Annotated[str, BeforeValidator(_cut(20_000))]
Milliseconds = Annotated[float, Field(ge=0, le=86_400_000)]
Count = Annotated[int, Field(ge=0, lt=2**53)]


class Opened(BaseModel):
    """The agent was elected and stays in the room; said again when the phone is picked up."""

    model_config = _FROZEN

    kind: Literal["opened"] = "opened"
    direction: Literal["inbound", "outbound"] | None = None
    room: Word | None = None
    room_sid: Word | None = None
    dialed_number: Word | None = Field(default=None, description="E.164, or as the trunk gave it")
    caller: Word | None = Field(default=None, description="the other side; null: withheld")
    sip_call_id: Word | None = None
    trunk: Word | None = None
    language: Word | None = None
    campaign_id: Word | None = None
    lead_id: Word | None = None
    answered_at: float | None = Field(
        default=None,
        ge=0,
        le=1e11,
        description="picked up, Unix seconds; null: not yet",
    )


class PersonaApplied(BaseModel):
    """From here on this persona speaks."""

    model_config = _FROZEN

    kind: Literal["persona_applied"] = "persona_applied"
    version: Word = Field(description="the persona's content hash, sha256:<64 hex>")
    origin: Word = Field(description="api, stale, last_known_good, file, house or job")
    because: Sentence = ""
    name: Word | None = None
    language: Word | None = None


class Fact(BaseModel):
    """Something that the caller told, as the tool ``share_information`` wrote it down."""

    model_config = _FROZEN

    kind: Literal["fact"] = "fact"
    id: Annotated[Word, Field(min_length=1)] = Field(description="unique within the call")
    category: Word
    information: Words


class Turn(BaseModel):
    """One utterance."""

    model_config = _FROZEN

    kind: Literal["turn"] = "turn"
    by: Literal["agent", "caller"]
    text: Words
    interrupted: bool = False


class ToolCall(BaseModel):
    """The model used a tool."""

    model_config = _FROZEN

    kind: Literal["tool_call"] = "tool_call"
    name: Word
    ok: bool
    duration_ms: Milliseconds = 0.0
    detail: Sentence = ""


class Latency(BaseModel):
    """From the end of the caller's words to the agent's first audio, and what it consists of."""

    model_config = _FROZEN

    kind: Literal["latency"] = "latency"
    total_ms: Milliseconds | None = Field(default=None, description="end of speech → first audio")
    stt_ms: Milliseconds | None = Field(default=None, description="end of speech → transcript")
    end_of_turn_ms: Milliseconds | None = Field(
        default=None, description="end of speech → the turn is taken to be over"
    )
    llm_ms: Milliseconds | None = Field(default=None, description="to the first token")
    tts_ms: Milliseconds | None = Field(default=None, description="first text → first audio")


class Usage(BaseModel):
    """What a provider's model was used for so far in this attempt; the latest one counts."""

    model_config = _FROZEN

    kind: Literal["usage"] = "usage"
    stage: Literal["stt", "llm", "tts", "interruption", "end_of_turn"]
    provider: Word
    model: Word
    input_tokens: Count = 0
    cached_tokens: Count = Field(default=0, description="of the input tokens")
    output_tokens: Count = 0
    characters: Count = Field(default=0, description="spoken")
    audio_s: float = Field(default=0.0, ge=0, description="heard or spoken, in seconds")
    requests: Count = 0


ProblemCode: TypeAlias = Literal[
    "metadata_empty",
    "metadata_unreadable",
    "layout_unknown",
    "call_unreadable",
    "required_missing",
    "field_ignored",
    "persona_unusable",
    "persona_file_unusable",
    "version_mismatch",
    "dialed_mismatch",
    "not_reached",
    "other",
]


def _known_code(value: Any) -> Any:
    return value if value in get_args(ProblemCode) else "other"  # a newer agent may know more


class Problem(BaseModel):
    """Something went wrong, and the call went on or not."""

    model_config = _FROZEN

    kind: Literal["problem"] = "problem"
    what: Sentence
    code: Annotated[ProblemCode, BeforeValidator(_known_code)] = Field(
        default="other", description="one of few, for metrics"
    )


class Closed(BaseModel):
    """The call is over for this agent."""

    model_config = _FROZEN

    kind: Literal["closed"] = "closed"
    reason: Sentence
    disposition: Word = Field(description="answered, no_answer, busy, voicemail, transferred, …")
    duration_s: float = Field(default=0.0, ge=0)
    facts: Count = Field(default=0, description="how many the agent noted")


Event: TypeAlias = (
    Opened | PersonaApplied | Fact | Turn | ToolCall | Latency | Usage | Problem | Closed
)


class CallEvent(BaseModel):
    """What every event has on the wire, beside the fields of its kind."""

    model_config = _FROZEN

    seq: int = Field(ge=1, le=MAX_SEQ, description="from 1, for each attempt, without gaps")
    attempt: int = Field(ge=1, le=10_000)
    at: float = Field(ge=0, le=1e11, description="Unix seconds, by the agent's clock")


class OpenedEvent(CallEvent, Opened):
    """``opened`` on the wire."""


class PersonaAppliedEvent(CallEvent, PersonaApplied):
    """``persona_applied`` on the wire."""


class FactEvent(CallEvent, Fact):
    """``fact`` on the wire."""


class TurnEvent(CallEvent, Turn):
    """``turn`` on the wire."""


class ToolCallEvent(CallEvent, ToolCall):
    """``tool_call`` on the wire."""


class LatencyEvent(CallEvent, Latency):
    """``latency`` on the wire."""


class UsageEvent(CallEvent, Usage):
    """``usage`` on the wire."""


class ProblemEvent(CallEvent, Problem):
    """``problem`` on the wire."""


class ClosedEvent(CallEvent, Closed):
    """``closed`` on the wire."""


AnyCallEvent: TypeAlias = Annotated[
    OpenedEvent
    | PersonaAppliedEvent
    | FactEvent
    | TurnEvent
    | ToolCallEvent
    | LatencyEvent
    | UsageEvent
    | ProblemEvent
    | ClosedEvent,
    Field(discriminator="kind"),
]
_ANY: Final[TypeAdapter[AnyCallEvent]] = TypeAdapter(AnyCallEvent)


class CallReport(BaseModel):
    """A batch of one attempt's events, in any order."""

    model_config = _FROZEN

    call_id: str = Field(min_length=1, max_length=MAX_CALL_ID_CHARS)
    events: tuple[AnyCallEvent, ...] = Field(min_length=1, max_length=MAX_EVENTS)

    @model_validator(mode="after")
    def _of_one_attempt(self) -> "CallReport":
        if len({event.attempt for event in self.events}) != 1:
            raise ValueError("the events of a report belong to one attempt")
        return self

    @property
    def attempt(self) -> int:
        """The attempt that all events belong to."""
        return self.events[0].attempt


class Acknowledged(BaseModel):
    """The router's answer to a report."""

    model_config = _FROZEN

    acknowledged: int = Field(
        ge=0, description="every event of the attempt up to this seq is stored; later ones may be"
    )


def numbered(event: Event, *, seq: int, attempt: int, at: float) -> AnyCallEvent:
    """Make *event* one that can be sent."""
    return _ANY.validate_python({**event.model_dump(), "seq": seq, "attempt": attempt, "at": at})


def read_event(text: str | bytes) -> AnyCallEvent:
    """Read one event as the wire has it; raises ``ValueError``."""
    return _ANY.validate_json(text)


def json_schema() -> dict[str, Any]:
    """Describe a report (JSON Schema, draft 2020-12)."""
    return CallReport.model_json_schema()
