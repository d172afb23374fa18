"""The agent's environment, read once; everything downstream receives plain values."""

import os
from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import AliasChoices, Field, SecretStr, model_validator

from agent.providers import KINDS, NEEDS, PACKAGES, is_installed, missing, wanted
from personas.logs import LogFormat, LogLevel
from personas.providers import Kind
from personas.settings import Environment

SpeechSetting = Literal["auto", "offline", "providers"]
SpeechMode = Literal["offline", "providers"]
TurnDetection = Literal["vad", "model"]


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
        description="offline, providers, or auto: offline while hearing, thinking or speaking has"
        " no provider with its keys",
    )
    speech_timeout_s: float = Field(
        default=5.0,
        gt=0,
        le=30,
        description="how long a provider may keep a caller waiting before the next one is asked",
    )
    deepgram_api_key: SecretStr | None = Field(default=None, description="hears and speaks")
    deepgram_base_url: str = Field(
        default="https://api.deepgram.com/v1", description="address of its API"
    )
    azure_speech_key: SecretStr | None = Field(default=None, description="hears and speaks")
    azure_speech_region: str | None = Field(default=None, description="its region, or")
    azure_speech_host: str | None = Field(
        default=None, description="the host that hears (`wss://…`), and"
    )
    azure_speech_endpoint: str | None = Field(
        default=None, description="the endpoint that speaks (`https://…/cognitiveservices/v1`)"
    )
    azure_openai_api_key: SecretStr | None = Field(
        default=None, description="thinks; hears and speaks with a deployment for it"
    )
    azure_openai_endpoint: str | None = Field(default=None, description="its endpoint")
    azure_openai_deployment: str | None = Field(
        default=None, description="its deployment of a language model"
    )
    azure_openai_stt_deployment: str | None = Field(
        default=None, description="its deployment of a model that hears"
    )
    azure_openai_tts_deployment: str | None = Field(
        default=None, description="its deployment of a model that speaks"
    )
    openai_api_version: str = Field(default="2024-10-21", description="version of its API")
    openai_api_key: SecretStr | None = Field(
        default=None, description="thinks, hears, speaks; speech to speech"
    )
    openai_base_url: str = Field(
        default="https://api.openai.com/v1", description="address of its API"
    )
    openai_llm_model: str = Field(default="gpt-4.1-mini", description="its language model")
    openai_stt_model: str = Field(
        default="gpt-4o-mini-transcribe", description="its model that hears"
    )
    openai_tts_model: str = Field(default="gpt-4o-mini-tts", description="its model that speaks")
    openai_tts_voice: str = Field(default="ash", description="its voice")
    openai_realtime_model: str = Field(
        default="gpt-realtime", description="its model for speech to speech"
    )
    openai_realtime_voice: str = Field(default="marin", description="the voice of that model")
    eleven_api_key: SecretStr | None = Field(
        default=None, description="ElevenLabs speaks (extra `elevenlabs`)"
    )
    elevenlabs_base_url: str = Field(
        default="https://api.elevenlabs.io/v1", description="address of its API"
    )
    elevenlabs_model: str = Field(default="eleven_turbo_v2_5", description="its model")
    elevenlabs_voice: str = Field(
        default="hpp4J3VqNfWAUOO0d1Us", description="its voice for personas that name none"
    )
    google_api_key: SecretStr | None = Field(
        default=None, description="Gemini Live, speech to speech (extra `google`)"
    )
    google_base_url: str = Field(
        default="https://generativelanguage.googleapis.com", description="address of its API"
    )
    google_realtime_model: str = Field(
        default="gemini-2.5-flash-native-audio-preview-12-2025", description="its model"
    )
    google_realtime_voice: str = Field(default="Puck", description="its voice")
    turn_detection: TurnDetection = Field(
        default="vad",
        description="who decides that the caller has finished: `vad` (silence), or `model`,"
        " LiveKit's turn detector on this machine",
    )
    noise_cancellation: bool = Field(
        default=False,
        description="cancel noise of the line; needs LiveKit Cloud and its package"
        " `livekit-plugins-noise-cancellation`",
    )

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
        if self.speech == "providers" and (lacking := self.missing_keys()):
            raise ValueError(
                f"SPEECH=providers needs {', '.join(lacking)}; set them, or SPEECH=offline"
            )
        return self

    def missing_for(self, kind: Kind, provider: str) -> tuple[str, ...]:
        """Name what *provider* lacks for *kind*: settings, or LiveKit's plugin for it."""
        lacking = missing(NEEDS[kind][provider], self._is_set)
        package = PACKAGES[provider]
        return lacking if is_installed(package) else (*lacking, f"the package {package}")

    def usable(self, kind: Kind) -> tuple[str, ...]:
        """Name the providers of *kind* that have all they need, in the order of the table."""
        return tuple(name for name in NEEDS[kind] if not self.missing_for(kind, name))

    def missing_keys(self) -> tuple[str, ...]:
        """Say, for each kind that no provider can do, what would have to be set."""
        return tuple(wanted(kind) for kind in KINDS if not self.usable(kind))

    def _is_set(self, variable: str) -> bool:
        return bool(getattr(self, variable.lower()))

    @property
    def speech_mode(self) -> SpeechMode:
        """Which speech is used: ``auto`` becomes offline when a kind has no provider."""
        if self.speech == "auto":
            return "offline" if self.missing_keys() else "providers"
        return self.speech
