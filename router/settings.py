"""The router's environment, read once; everything downstream receives plain values."""

import importlib.util
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import phonenumbers
from pydantic import AfterValidator, AliasChoices, Field, SecretStr, ValidationInfo, field_validator

from personas.logs import LogFormat, LogLevel
from personas.settings import Environment

MIN_SECRET_BYTES = 32
NumberForm = Literal["dialed", "e164", "national"]
NUMBER_FORMS: tuple[NumberForm, ...] = ("dialed", "e164", "national")


def _known_region(value: str | None) -> str | None:
    if value is None or value.upper() in phonenumbers.SUPPORTED_REGIONS:
        return value.upper() if value else None
    raise ValueError("is not a region; use two letters such as US or DE")


def _pairs(text: str) -> dict[str, str]:
    answer = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        key, separator, value = item.partition("=")
        if not separator or not key.strip() or not value.strip():
            raise ValueError("must be a list such as ST_one=VALUE,ST_two=VALUE")
        answer[key.strip()] = value.strip()
    return answer


def _check_length(secret: str, *, dev: bool) -> None:
    if not secret or (len(secret.encode()) < MIN_SECRET_BYTES and not dev):
        raise ValueError(
            f"holds a secret shorter than {MIN_SECRET_BYTES} bytes; `openssl rand -hex 32` makes "
            "one, or start with --dev on your own machine"
        )


def _words(text: str) -> tuple[str, ...]:
    return tuple(filter(None, (part.strip() for part in text.split(","))))


Region = Annotated[str | None, AfterValidator(_known_region)]


class RouterSettings(Environment):
    """Every knob of the router; a test keeps README's table equal to it."""

    fixes: ClassVar[Mapping[str, str]] = {
        "livekit_url": "the address of LiveKit, such as ws://127.0.0.1:7880",
        "livekit_api_key": "the key that LiveKit signs its webhooks with",
        "livekit_api_secret": "the secret of LIVEKIT_API_KEY in LiveKit's configuration",
    }

    # First, because the checks of the secrets depend on it.
    router_dev: bool = Field(
        default=False, description="development: short secrets are accepted (`serve --dev`)"
    )
    livekit_url: str = Field(
        pattern=r"^(wss?|https?)://[^/\s]+", description="address of LiveKit (ws, wss, http, https)"
    )
    livekit_api_key: str = Field(min_length=1, description="key of LiveKit's API and webhooks")
    livekit_api_secret: SecretStr = Field(description="its secret, 32 bytes or more")
    livekit_webhook_keys: SecretStr = Field(
        default=SecretStr(""),
        description="further `key:secret` pairs that may sign webhooks, separated by commas",
    )
    persona_api_base: str = Field(
        default="https://devcrm.xeny.ai/apis/api/public/mobile",
        pattern=r"^(https?://\S+|off)$",
        description="persona API; asked as `<base>/<number>`; `off` for none",
    )
    persona_api_token: SecretStr = Field(
        default=SecretStr(""), description="bearer token of the persona API"
    )
    persona_api_forms: str = Field(
        default="dialed,e164,national",
        description="in which notations, in order, the API is asked for a number",
    )
    persona_number_fields: str = Field(
        default="mobile,number,did,dialed_number",
        description="fields of an answer that must hold the number that was asked for",
    )
    persona_budget_s: float = Field(
        default=2.0, gt=0, le=60, description="the longest that a caller waits for the lookup"
    )
    persona_cache_mib: int = Field(
        default=8,
        ge=1,
        description="memory for copies of the API's answers; 8 MiB hold about 2,000 personas",
    )
    persona_dir: Path | None = Field(
        default=None, description="folder of `<number>.yaml` personas, read as they change"
    )
    persona_max_stale_s: float | None = Field(
        default=None,
        ge=0,
        description="seconds after which no copy speaks; a document's `max_stale_s` can say less",
    )
    persona_warm_up: int = Field(
        default=1000, ge=0, le=50_000, description="known numbers that are looked up at start"
    )
    redis_url: SecretStr = Field(
        default=SecretStr(""),
        description="Redis through which routers share personas and purges: `redis://…`, `rediss://…`",
    )
    agent_to_dispatch: str = Field(
        default="friday-ai-agent",
        min_length=1,
        validation_alias=AliasChoices("AGENT_TO_DISPATCH", "LK_AGENT_NAME"),
        description="name of the agent that answers",
    )
    default_region: Region = Field(
        default=None, description="region of numbers that come without a country code, as `US`"
    )
    trunk_regions: str = Field(
        default="", description="region by trunk where it differs: `ST_one=DE,ST_two=GB`"
    )
    trunk_numbers: str = Field(
        default="", description="number by trunk, for calls that hide theirs: `ST_one=+4930901820`"
    )
    fallback_agent: str = Field(
        default="", description="agent that is sent when ours has not come time after time"
    )
    answer_timeout_s: float = Field(
        default=3.0,
        gt=0,
        le=60,
        description="how long an agent may take to join before another is sent",
    )
    fallback_number: str = Field(
        default="",
        pattern=r"^(|\+[1-9]\d{5,14}|sips?:[^\s@]+@\S+|tel:\+\d+)$",
        description="where callers go whom no agent answers: E.164, `sip:` or `tel:`",
    )
    last_resort_calls: int = Field(
        default=4,
        ge=0,
        le=100,
        description="callers whom the router answers itself at the same time; 0: none",
    )
    house_recordings: Path | None = Field(
        default=None,
        description="folder of `<language>.wav` for them, and `<language>-goodbye.wav`",
    )
    dispatch_timeout_s: float = Field(
        default=3.0, gt=0, le=5, description="the longest that LiveKit may take for one request"
    )
    api_jwt_secret: SecretStr = Field(
        default=SecretStr(""),
        description="signs the JWTs of machine clients (HS256, 32 bytes or more); empty: none",
    )
    max_deliveries: int = Field(
        default=200,
        ge=1,
        le=10_000,
        description="deliveries that are answered at the same time; more wait, 2 s at most",
    )
    state_dir: Path = Field(
        default=Path("state"), description="folder of the database and last-known-good personas"
    )
    database_url: str = Field(
        default="",
        pattern=r"^(|sqlite:///\S+|postgresql://\S+)$",
        description="`sqlite:///file` or `postgresql://…`; default: a SQLite file in STATE_DIR",
    )
    journal_max_rows: int = Field(
        default=100_000, ge=0, description="deliveries kept in the journal; 0: none"
    )
    journal_days: float = Field(
        default=7.0, gt=0, description="how long a delivery is kept in the journal, in days"
    )
    records_days: float = Field(
        default=90.0, gt=0, description="how long a call's record is kept, in days"
    )
    transcripts_days: float = Field(
        default=90.0,
        gt=0,
        description="how long what was said is kept, in days; with the record at most",
    )
    facts_days: float = Field(
        default=90.0,
        gt=0,
        description="how long what callers told is kept, in days; with the record at most",
    )
    snapshots_days: float = Field(
        default=1.0, ge=1, description="how long a persona is kept as it was sent, in days"
    )
    leads_days: float = Field(
        default=365.0,
        gt=0,
        description="how long a list of leads is kept after its upload, in days",
    )
    attempts_days: float = Field(
        default=365.0, ge=31, description="how long a dial is remembered, in days"
    )
    notices_days: float = Field(
        default=30.0, ge=2, description="how long what hooks were told is kept, in days"
    )
    appointments_days: float = Field(
        default=365.0, gt=0, description="how long an appointment is kept after its end, in days"
    )
    audit_days: float = Field(
        default=730.0, gt=0, description="how long the audit says who changed what, in days"
    )
    agent_workers: str = Field(
        default="",
        description="health ports of agents whose load slows campaigns: `http://agent-1:8081`, …",
    )
    tool_hosts: str = Field(
        default="",
        description="hosts that HTTP tools of personas may ask, as `api.example.org,10.0.0.5:8443`",
    )
    tool_secrets_dir: Path | None = Field(
        default=None, description="folder with a file for each bearer token that HTTP tools name"
    )
    recording_path: str = Field(
        default="",
        pattern=r"^(|[^\s]*\{call_id\}[^\s]*)$",
        description="file for the recording of a call, as `{tenant}/{call_id}.ogg`; empty: none",
    )
    recording_s3_bucket: str = Field(
        default="", description="bucket for recordings; empty: a file on LiveKit's egress machine"
    )
    recording_s3_region: str = Field(default="", description="its region")
    recording_s3_endpoint: str = Field(
        default="", pattern=r"^(|https?://\S+)$", description="its address, if it is not Amazon's"
    )
    recording_s3_access_key: str = Field(default="", description="key of the bucket")
    recording_s3_secret: SecretStr = Field(default=SecretStr(""), description="its secret")
    hook_private_hosts: str = Field(
        default="",
        description="hosts without public address that hooks may reach, as `crm.lan,10.0.0.5:8443`",
    )
    calcom_api_key: SecretStr = Field(
        default=SecretStr(""), description="key of Cal.com, for calendars of that provider"
    )
    calcom_api_base: str = Field(
        default="https://api.cal.com/v2",
        pattern=r"^https?://\S+$",
        description="address of Cal.com's API",
    )
    leads_csv_path: Path | None = Field(
        default=None, description="list of leads that is read at start and made the active one"
    )
    leads_csv_dir: Path | None = Field(
        default=None,
        description="folder of lists of leads, `.csv` or `.xlsx`, that are read at start",
    )
    sip_trunk_id: str = Field(
        default="", description="LiveKit's outbound trunk (`ST_…`) of campaigns that name none"
    )
    max_calls: int = Field(
        default=30, ge=1, le=100_000, description="calls at the same time that agents can hold"
    )
    inbound_reserved_calls: int = Field(
        default=10,
        ge=0,
        le=100_000,
        description="of them, kept for callers",
    )
    pace_by_load: bool = Field(
        default=True,
        description="whether campaigns slow down while this machine or the workers are busy",
    )
    campaigns_dir: Path | None = Field(
        default=None, description="folder of `<key>.yaml` campaigns, read as they change"
    )
    campaign_prompt_module: str = Field(
        default="",
        description="Python file or module whose constants are a campaign's prompts; never run",
    )
    campaign_agent_name: str = Field(
        default="ENHANCED_DEMANDIFY_CALLER_INSTRUCTIONS",
        pattern=r"^[A-Za-z_]\w*$",
        description="constant of that module with the agent's instructions",
    )
    campaign_session_name: str = Field(
        default="SESSION_INSTRUCTION",
        pattern=r"^[A-Za-z_]\w*$",
        description="constant of that module with the script",
    )
    run_single_call: bool = Field(
        default=False, description="`campaign run` calls one lead alone, as older dialers did"
    )
    lead_index: int = Field(
        default=1, ge=1, description="which one, by its place in the list, from 1"
    )
    public_url: str = Field(
        default="",
        pattern=r"^(|https?://\S+)$",
        description="where agents reach the router; default: HOST and PORT, if HOST is one address",
    )
    host: str = Field(default="127.0.0.1", description="address to listen on")
    port: int = Field(default=8080, ge=0, le=65535, description="port to listen on; 0 for any")
    log_format: LogFormat = Field(default="json", description="json or console")
    log_level: LogLevel = Field(default="INFO", description="DEBUG, INFO, WARNING or ERROR")

    @field_validator("trunk_regions")
    @classmethod
    def _regions(cls, value: str) -> str:
        for region in _pairs(value).values():
            _known_region(region)
        return value

    @field_validator("trunk_numbers")
    @classmethod
    def _numbers(cls, value: str) -> str:
        _pairs(value)
        return value

    @field_validator("redis_url")
    @classmethod
    def _redis(cls, value: SecretStr) -> SecretStr:
        if not re.fullmatch(r"|rediss?://\S+|unix://\S+", value.get_secret_value()):
            raise ValueError("must be an address such as redis://127.0.0.1:6379/0")
        if value.get_secret_value() and importlib.util.find_spec("redis") is None:
            raise ValueError("needs the extra `redis`: pip install 'persona-router[redis]'")
        return value

    @field_validator("persona_api_forms")
    @classmethod
    def _forms(cls, value: str) -> str:
        if not _words(value) or set(_words(value)) - set(NUMBER_FORMS):
            raise ValueError("must list one or more of dialed, e164, national")
        return value

    @field_validator("livekit_api_secret")
    @classmethod
    def _long_secret(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        _check_length(value.get_secret_value(), dev=info.data.get("router_dev", False))
        return value

    @field_validator("api_jwt_secret")
    @classmethod
    def _long_or_no_secret(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        if value.get_secret_value():
            _check_length(value.get_secret_value(), dev=info.data.get("router_dev", False))
        return value

    @field_validator("livekit_webhook_keys")
    @classmethod
    def _long_secrets(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        for pair in _words(value.get_secret_value()):
            key, _, secret = pair.partition(":")
            if not key.strip() or not secret.strip():
                raise ValueError("must be a list such as key:secret,key:secret")
            _check_length(secret.strip(), dev=info.data.get("router_dev", False))
        return value

    def webhook_keys(self) -> dict[str, str]:
        """Return every key that may sign a webhook, with its secret."""
        keys = {}
        for pair in _words(self.livekit_webhook_keys.get_secret_value()):
            key, _, secret = pair.partition(":")
            keys[key.strip()] = secret.strip()
        return keys | {self.livekit_api_key: self.livekit_api_secret.get_secret_value()}

    def api_base(self) -> str | None:
        """Return the base address of the persona API, or None when it is switched off."""
        return None if self.persona_api_base == "off" else self.persona_api_base.rstrip("/")

    def number_forms(self) -> tuple[NumberForm, ...]:
        """Return the notations in which the API is asked, in order."""
        return tuple(
            form for word in _words(self.persona_api_forms) for form in NUMBER_FORMS if form == word
        )

    def number_fields(self) -> tuple[str, ...]:
        """Return the fields of an answer that must hold the number asked for."""
        return _words(self.persona_number_fields)

    def region_by_trunk(self) -> dict[str, str]:
        """Return the region of each trunk that has one of its own."""
        return {trunk: region.upper() for trunk, region in _pairs(self.trunk_regions).items()}

    def number_by_trunk(self) -> dict[str, str]:
        """Return the number of each trunk that was given one."""
        return _pairs(self.trunk_numbers)

    def workers(self) -> tuple[str, ...]:
        """Return the addresses of the health ports of agents."""
        return _words(self.agent_workers)

    def report_url(self) -> str | None:
        """Return where agents report to; None where that is not known."""
        base = self.public_url.rstrip("/")
        if not base and self.port and self.host not in {"", "0.0.0.0", "::"}:  # noqa: S104
            host = f"[{self.host}]" if ":" in self.host else self.host
            base = f"http://{host}:{self.port}"
        return f"{base}/api/reports" if base else None

    def store_url(self) -> str:
        """Return the database's address in the form in which the operator gave it."""
        return self.database_url or f"sqlite:///{self.state_dir / 'persona-router.db'}"
