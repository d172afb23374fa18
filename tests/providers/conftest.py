"""All the providers on loopback, and settings that point at them."""

import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from livekit.agents.utils import http_context

from agent import speech
from agent.job import Brief
from agent.settings import AgentSettings
from agent.speech.keys import trust
from tests.providers.azure import FakeAzure
from tests.providers.certificate import make
from tests.providers.deepgram import FakeDeepgram
from tests.providers.elevenlabs import FakeElevenLabs
from tests.providers.google import FakeGemini
from tests.providers.openai import FakeOpenAI
from tests.providers.service import FakeService

TIMEOUT_S = 1.0


class FakeAzureOpenAI(FakeOpenAI):
    """The same protocol at another address, with another voice."""

    hz = 880.0


@dataclass
class Services:
    """Every provider, up and well."""

    deepgram: FakeDeepgram = field(default_factory=FakeDeepgram)
    azure: FakeAzure = field(default_factory=FakeAzure)
    openai: FakeOpenAI = field(default_factory=FakeOpenAI)
    azure_openai: FakeAzureOpenAI = field(default_factory=FakeAzureOpenAI)
    elevenlabs: FakeElevenLabs = field(default_factory=FakeElevenLabs)
    google: FakeGemini = field(default_factory=FakeGemini)

    opened: list[speech.Speech] = field(default_factory=list)

    def choose(self, brief: Brief, **changes: Any) -> speech.Speech:
        """The speech of a call over these services; closed when the test is done."""
        self.opened.append(speech.choose(self.settings(**changes), brief))
        return self.opened[-1]

    def of(self, provider: str) -> FakeService:
        """The service of *provider*."""
        service: FakeService = getattr(self, provider)
        return service

    def all(self) -> tuple[FakeService, ...]:
        """Each of them."""
        return tuple(one for one in vars(self).values() if isinstance(one, FakeService))

    def environment(self, **changes: str) -> dict[str, str]:
        """Environment variables of an agent that uses them all."""
        return {
            "SPEECH": "providers",
            "SPEECH_TIMEOUT_S": str(TIMEOUT_S),
            "DEEPGRAM_API_KEY": "deepgram-key",
            "DEEPGRAM_BASE_URL": f"{self.deepgram.url}/v1",
            "AZURE_SPEECH_KEY": "azure-key",
            "AZURE_SPEECH_HOST": self.azure.host,
            "AZURE_SPEECH_ENDPOINT": self.azure.endpoint,
            "AZURE_OPENAI_API_KEY": "azure-openai-key",
            "AZURE_OPENAI_ENDPOINT": self.azure_openai.url,
            "AZURE_OPENAI_DEPLOYMENT": "thinks",
            "AZURE_OPENAI_STT_DEPLOYMENT": "hears",
            "AZURE_OPENAI_TTS_DEPLOYMENT": "speaks",
            "OPENAI_API_KEY": "openai-key",
            "OPENAI_BASE_URL": f"{self.openai.url}/v1",
            "ELEVEN_API_KEY": "elevenlabs-key",
            "ELEVENLABS_BASE_URL": f"{self.elevenlabs.url}/v1",
            "GOOGLE_API_KEY": "google-key",
            "GOOGLE_BASE_URL": self.google.url,
            **changes,
        }

    def settings(self, **changes: Any) -> AgentSettings:
        """The same as settings."""
        given: dict[str, Any] = {name.lower(): value for name, value in self.environment().items()}
        return AgentSettings(
            livekit_url="ws://127.0.0.1:1",
            livekit_api_key="key",
            livekit_api_secret="a secret of no less than 32 bytes",
            **{**given, **changes},
        )


@pytest.fixture
def certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ssl.SSLContext]:
    """A certificate that is trusted: Google's library speaks TLS to whatever address it has."""
    context, public = make(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(public))
    trust.cache_clear()
    yield context
    trust.cache_clear()


@pytest_asyncio.fixture
async def services(certificate: ssl.SSLContext) -> AsyncIterator[Services]:
    """The providers, and an HTTP session for the plugins, as a job has one."""
    made = Services()
    made.google.tls = certificate
    async with AsyncExitStack() as stack:
        for service in made.all():
            await stack.enter_async_context(service)
        await stack.enter_async_context(http_context.open())
        yield made
        for parts in made.opened:
            await parts.aclose()
