"""What a campaign is: whom it calls how, and what is said. Pure."""

import re
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from router.errors import CampaignRefused

MAX_TEXT_CHARS: Final = 60_000
_TIME: Final = r"^([01]\d|2[0-3]):[0-5]\d$"
KEY: Final = r"^[a-z0-9][a-z0-9_-]{0,63}$"
Text: TypeAlias = Annotated[str, Field(max_length=MAX_TEXT_CHARS)]
Day: TypeAlias = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
#: How a call may end so that it is made again. Not ``uncertain``: a phone may have rung.
Retried: TypeAlias = Literal["no_answer", "busy", "voicemail", "failed"]
DAYS: Final[tuple[Day, ...]] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def _visible(value: str) -> str:
    if not value.strip() or not value.isprintable():
        raise ValueError("has to be a line of text")
    return value.strip()


class _Value(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False
    )


class WeightedPersona(_Value):
    """One of the personas that speak; those with more weight speak more often."""

    id: Annotated[str, Field(min_length=1, max_length=200)]
    weight: Annotated[int, Field(ge=1, le=1000)] = 1


class Retry(_Value):
    """When a lead is called again."""

    times: Annotated[int, Field(ge=1, le=10)]
    after_s: Annotated[float, Field(ge=60, le=30 * 86_400)]


class Window(_Value):
    """When people may be called, by their own clock; a policy may say less."""

    days: tuple[Day, ...] = DAYS
    opens: Annotated[str, Field(pattern=_TIME)] = "00:00"
    closes: Annotated[str, Field(pattern=_TIME, description="not any more at this time")] = "23:59"

    @model_validator(mode="after")
    def _in_order(self) -> "Window":
        if self.opens >= self.closes:
            raise ValueError("opens has to be before closes")
        return self


class CampaignFields(_Value):
    """What an operator says about a campaign."""

    name: Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_visible)]
    agent_text: Annotated[Text, Field(description="the agent's instructions")] = ""
    session_text: Annotated[Text, Field(description="the script, with placeholders")] = ""
    personas: Annotated[tuple[WeightedPersona, ...], Field(max_length=50)] = ()
    trunk_id: Annotated[str, Field(pattern=r"^[\w-]{0,100}$")] = ""
    caller_number: Annotated[str, Field(pattern=r"^(\+[1-9]\d{6,14})?$")] = ""
    concurrency: Annotated[int, Field(ge=1, le=1000)] = 10
    calls_per_second: Annotated[float, Field(gt=0, le=100)] = 1.0
    retries: dict[Retried, Retry] = {}
    window: Window = Window()
    consent: Annotated[
        str,
        Field(max_length=60, pattern=r"^[\w-]*$", description="what a lead must have agreed to"),
    ] = ""
    countries: Annotated[
        tuple[Annotated[str, Field(pattern=r"^[A-Z]{2}$")], ...],
        Field(max_length=250, description="where it may call; none: wherever a policy is shipped"),
    ] = ()
    budget_calls: Annotated[int | None, Field(ge=0, description="calls in all")] = None
    budget_calls_per_day: Annotated[
        int | None, Field(ge=0, description="calls in any 24 hours")
    ] = None
    budget_minutes: Annotated[float | None, Field(ge=0, description="of talking, in all")] = None
    budget_minutes_per_day: Annotated[
        float | None, Field(ge=0, description="of talking, in any 24 hours")
    ] = None
    auto_next: bool = False
    tools: bool = True
    recorded: Annotated[
        bool, Field(description="calls are recorded, by whomever: it is said at the beginning")
    ] = False
    module: Annotated[str, Field(max_length=200, description="its name for older clients")] = ""


class Campaign(CampaignFields):
    """A campaign."""

    key: Annotated[str, Field(pattern=KEY)]


DEFAULT: Final = Campaign(
    key="default",
    name="Default",
    module="default",
    agent_text=(
        "You call on behalf of the company named in the script. Say at the beginning that you are"
        " an automated assistant. Be brief, and end the call when you are asked to."
    ),
    session_text=(
        "Hello [Prospect Name], this is an automated assistant calling for [Resource Name]."
        " Do you have a minute?"
    ),
)


def key_of(name: str) -> str:
    """Make a key of a campaign's name: ``Spring Sale!`` → ``spring-sale``."""
    key = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:64]
    return key or "campaign"


def read_campaign(document: Any) -> Campaign:
    """Read a campaign; one without a key gets it from its name.

    Raises:
        CampaignRefused: ``invalid``; the fix names the fields and no values.
    """
    if isinstance(document, dict) and "key" not in document:
        document = {**document, "key": key_of(str(document.get("name", "")))}
    if isinstance(document, dict) and not document.get("module"):
        document = {**document, "module": str(document["key"]).replace("-", "_")}
    try:
        return Campaign.model_validate(document)
    except ValidationError as exc:
        errors = exc.errors(include_url=False, include_input=False, include_context=False)
        said = "; ".join(
            f"{'.'.join(map(str, error['loc'])) or 'campaign'}: {error['msg']}"
            for error in errors[:5]
        )
        raise CampaignRefused("invalid", fix=said) from None
