"""The agent's environment, read once; everything downstream receives plain values."""

import os
from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import AliasChoices, Field, SecretStr, model_validator

from personas.logs import LogFormat, LogLevel
from personas.settings import Environment

SpeechSetting = Literal["auto", "offline", "providers"]
SpeechMode = Literal["offline", "providers"]


def _cores() -> int:
    return os.cpu_count() or 1


class AgentSettings(Environment):
    """Every knob of the agent worker."""

    fixes: ClassVar = {
        "livekit_url": "ws://… or wss://… of the LiveKit server",
        "livekit_api_key": "the key of the LiveKit server",
        "livekit_api_secret": "the secret that belongs to LIVEKIT_API_KEY",
        "sip_trunk_id": "the id of an outbound trunk of LiveKit, ST_…",
        "speech": "auto, offline or providers",
        "log_format": "json or console",
    }

    livekit_url: str = Field(
        pattern=r"^(wss?|https?)://", description="address of LiveKit (ws, wss, http, https)"
    )
    livekit_api_key: str = Field(min_length=1, description="key of LiveKit's API")
    livekit_api_secret: SecretStr = Field(min_length=1, description="its secret")
    agent_to_dispatch: str = Field(
        default="friday-ai-agent",
        min_length=1,
        validation_alias=AliasChoices("AGENT_TO_DISPATCH", "LK_AGENT_NAME"),
        description="name under which the worker takes calls; the router's must be the same",
    )

    persona_dir: Path | None = Field(
        default=None, description="folder of `house.yaml` and of the personas of campaigns"
    )
    force_first_message: bool = Field(
        default=True, description="a persona without a welcome message greets through the model"
    )
    sip_trunk_id: str | None = Field(
        default=None,
        pattern=r"^[\w-]{1,100}$",
        description="outbound trunk of LiveKit (`ST_…`) for jobs that ask to dial and name none",
    )

    speech: SpeechSetting = Field(
        default="auto",
        description="offline, providers, or auto: offline while one of the keys below is missing",
    )
    deepgram_api_key: SecretStr | None = Field(default=None, description="speech to text")
    azure_speech_key: SecretStr | None = Field(default=None, description="text to speech")
    azure_speech_region: str | None = Field(default=None, description="its region, or")
    azure_speech_endpoint: str | None = Field(default=None, description="its endpoint instead")
    azure_openai_api_key: SecretStr | None = Field(default=None, description="language model")
    azure_openai_endpoint: str | None = Field(default=None, description="its endpoint")
    azure_openai_deployment: str | None = Field(default=None, description="its deployment")
    openai_api_version: str = Field(default="2024-10-21", description="version of its API")

    router_url: str = Field(
        default="",
        pattern=r"^(|https?://\S+)$",
        description="where calls are reported to; default: where the router that sent the job says",
    )
    report_spool_dir: Path = Field(
        default=Path("state/spool"),
        description="folder of reports that the router has not acknowledged",
    )
    report_spool_mib: int = Field(
        default=512, ge=1, description="the most that it holds; then the oldest are dropped"
    )
    report_spool_days: float = Field(
        default=7.0, gt=0, description="how long a report waits there, in days"
    )

    log_format: LogFormat = Field(default="json", description="json or console")
    log_level: LogLevel = Field(default="INFO", description="DEBUG, INFO, WARNING or ERROR")
    agent_health_host: str = Field(
        default="127.0.0.1", description="address on which the worker answers health checks"
    )
    agent_health_port: int = Field(default=8081, ge=0, le=65535, description="its port; 0 for any")
    agent_idle_processes: int = Field(
        default_factory=lambda: min(_cores(), 4),
        ge=1,
        le=64,
        description="processes kept warm for the next calls; by default one a core, at most 4",
    )
    agent_max_call_s: float = Field(
        default=3600.0,
        ge=10,
        le=86_400,
        description="longest call, in seconds; a persona may say less",
    )
    agent_max_calls: int = Field(
        default_factory=lambda: 5 * _cores(),
        ge=1,
        description="calls that this worker holds at the same time; by default 5 a core",
    )

    @model_validator(mode="after")
    def _providers_have_their_keys(self) -> Self:
        if self.speech == "providers" and (missing := self.missing_keys()):
            raise ValueError(
                f"SPEECH=providers needs {', '.join(missing)}; set them, or SPEECH=offline"
            )
        return self

    def missing_keys(self) -> tuple[str, ...]:
        """Name the variables that the speech providers need and that are not set."""
        needed = {
            "DEEPGRAM_API_KEY": self.deepgram_api_key,
            "AZURE_SPEECH_KEY": self.azure_speech_key,
            "AZURE_SPEECH_REGION": self.azure_speech_region or self.azure_speech_endpoint,
            "AZURE_OPENAI_API_KEY": self.azure_openai_api_key,
            "AZURE_OPENAI_ENDPOINT": self.azure_openai_endpoint,
            "AZURE_OPENAI_DEPLOYMENT": self.azure_openai_deployment,
        }
        return tuple(name for name, value in needed.items() if not value)

    @property
    def speech_mode(self) -> SpeechMode:
        """Which speech is used: ``auto`` becomes offline when a provider's key is missing."""
        if self.speech == "auto":
            return "offline" if self.missing_keys() else "providers"
        return self.speech
