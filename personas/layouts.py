"""What other backends put into metadata: the layouts beside our own, read leniently. Pure: no I/O.

Every layout is a model, from which its JSON Schema is made. A schema says what a sender has to keep
to; reading takes what it can: a field of the wrong type is left out and named, and what is required
and missing is for the reader to say, since there is a caller who has to be answered anyway.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal, TypeAlias, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema

MAX_TEXT_CHARS: Final = 100_000
DEFAULT_VOICE_PROVIDER: Final = "elevenlabs"  # of an agent config that names none

LayoutName: TypeAlias = Literal["agent-config", "campaign-call", "campaign-context", "greeting"]
LayoutT = TypeVar("LayoutT", bound=BaseModel)


def text(value: Any) -> str | None:
    """Take text, or a whole number as some backends send ids; blank text is none.

    Raises:
        ValueError: it is something else.
    """
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**20:
        return str(value)
    if isinstance(value, str):
        return value.strip()[:MAX_TEXT_CHARS] or None
    if value is None:
        return None
    raise ValueError("not text")


Text = Annotated[str | None, BeforeValidator(text)]
Needed = Annotated[Text, WithJsonSchema({"type": "string", "minLength": 1})]


def _config(title: str, *required: str) -> ConfigDict:
    return ConfigDict(
        frozen=True,
        extra="ignore",
        hide_input_in_errors=True,
        title=title,
        json_schema_extra={"required": list(required)} if required else None,
    )


class AgentConfig(BaseModel):
    """Who speaks, as the backends of agent configs write it."""

    model_config = _config("Agent config", "name", "voice_external_id")

    agent_id: Text = Field(default=None, description="the sender's own id; not read")
    name: Needed = Field(default=None, description="what the agent is called")
    voice_external_id: Needed = Field(default=None, description="the provider's name of the voice")
    voice_provider: Text = Field(default=None, description="elevenlabs when it is not there")
    language: Text = Field(default=None, description="de, en")
    greeting_outbound: Text = Field(default=None, description="spoken first")
    character: Text = Field(default=None, description="what the agent is like")
    prompt: Text = Field(default=None, description="what the agent does")


class LeadData(BaseModel):
    """What is known about the person at the other end; facts, never orders."""

    model_config = _config("Lead data")

    company: Text = None
    job_title: Text = None
    email: Text = None
    timezone: Text = None
    resource_name: Text = Field(default=None, description="on whose behalf the agent calls")
    address: Text = None
    city: Text = None
    state: Text = None
    zip_code: Text = None
    country: Text = None
    notes: Text = None


class AgentConfigCall(BaseModel):
    """Job metadata with an ``agent_config``."""

    model_config = _config("Job metadata: agent config", "agent_config")

    agent_config: AgentConfig = AgentConfig()
    customer_name: Text = None
    phone_number: Text = Field(
        default=None, description="the other side; dialed when there is a trunk and nobody comes"
    )
    outbound_trunk_id: Text = Field(default=None, description="SIP_TRUNK_ID when it is not there")
    call_reason: Text = None
    lead_data: LeadData = LeadData()


class CampaignCall(BaseModel):
    """Job metadata that asks the agent to dial: ``phone_number`` without ``agent_config``."""

    model_config = _config("Job metadata: campaign call", "phone_number")

    phone_number: Needed = Field(default=None, description="the number that is dialed, as E.164")
    agent_id: Text = Field(
        default=None, alias="agentId", description="id of a persona file in PERSONA_DIR"
    )
    campaign_id: Text = Field(default=None, alias="campaignId")
    call_type: Text = Field(default=None, alias="callType")
    contact_name: Text = Field(default=None, alias="contactName")
    campaign_prompt: Text = Field(default=None, alias="campaignPrompt")
    outbound_trunk_id: Text = Field(default=None, description="SIP_TRUNK_ID when it is not there")


class ContactInfo(BaseModel):
    """The other side of a campaign's call."""

    model_config = _config("Contact")

    name: Text = None
    email: Text = None
    phone: Text = None


class CampaignContext(BaseModel):
    """Room metadata with a ``campaignPrompt``."""

    model_config = _config("Room metadata: campaign context", "campaignPrompt")

    campaign_prompt: Needed = Field(default=None, alias="campaignPrompt")
    contact_info: ContactInfo = Field(default=ContactInfo(), alias="contactInfo")
    assistant_id: Text = Field(default=None, alias="assistantId", description="not read")
    campaign_id: Text = Field(default=None, alias="campaignId")


class Greeting(BaseModel):
    """Participant metadata with a greeting for this call alone."""

    model_config = _config("Participant metadata: greeting", "custom_greeting")

    custom_greeting: Needed = Field(default=None, description="spoken first")


LAYOUTS: Final[Mapping[LayoutName, type[BaseModel]]] = MappingProxyType(
    {
        "agent-config": AgentConfigCall,
        "campaign-call": CampaignCall,
        "campaign-context": CampaignContext,
        "greeting": Greeting,
    }
)


def read_layout(layout: type[LayoutT], document: Mapping[str, Any]) -> tuple[LayoutT, list[str]]:
    """Read *document* as *layout*, and name each field that cannot be used, as ``outer.inner``."""
    given = {
        key: dict(value) if isinstance(value, dict) else value for key, value in document.items()
    }
    problems: list[str] = []
    while True:
        try:
            return layout.model_validate(given), problems
        except ValidationError as exc:
            for place in {error["loc"][:2] for error in exc.errors(include_url=False)}:
                *outer, key = place
                holder: dict[Any, Any] = given[str(outer[0])] if outer else given
                del holder[key]
                problems.append(".".join(map(str, place)))


def json_schema(layout: LayoutName) -> dict[str, Any]:
    """Describe *layout* for whoever writes it (JSON Schema, draft 2020-12)."""
    schema = LAYOUTS[layout].model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
