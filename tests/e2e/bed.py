"""The test bed: everything real, on loopback, in processes of its own."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from router.demo.livekit_server import WEBHOOK_EVENTS, LiveKitServer
from router.demo.persona_api import PersonaApi
from router.demo.phone import Phone
from router.demo.services import AgentProcess, RouterProcess
from router.demo.settings import DemoSettings
from tests.fakes_sip import FakeSip, open_sip


@dataclass(frozen=True, slots=True)
class Bed:
    """What runs; each part can be stopped, killed, started again or set to fail."""

    livekit: LiveKitServer
    persona_api: PersonaApi
    router: RouterProcess
    agent: AgentProcess
    sip: FakeSip | None = None  # between LiveKit and the agent

    def phone(self, dialed: str = "", **options: Any) -> Phone:
        """Return a phone that calls *dialed*; use it with ``async with``."""
        server = self.livekit
        return Phone(server.url, server.api_key, server.api_secret, dialed=dialed, **options)


@asynccontextmanager
async def open_bed(
    folder: Path,
    program: Path,
    *,
    personas: Mapping[str, Mapping[str, Any] | str] | None = None,
    router_settings: Mapping[str, str] | None = None,
    agent_settings: Mapping[str, str] | None = None,
    include_events: tuple[str, ...] | None = WEBHOOK_EVENTS,
    with_sip: bool = False,
) -> AsyncIterator[Bed]:
    """Start a bed; logs and state are in *folder*, settings are environment variables.

    *with_sip*: the agent reaches LiveKit through a stand-in of its SIP service.
    """
    environ = DemoSettings.load().environ
    async with AsyncExitStack() as stack:
        persona_api = stack.enter_context(PersonaApi(personas))
        router = RouterProcess(
            folder / "router",
            environ=environ,
            persona_api_base=persona_api.url,
            # no warm-up: the tests count what the persona API is asked
            # patience: on a busy machine an agent takes its time, and a second one would be sent
            settings={
                "DEFAULT_REGION": "US",
                "PERSONA_WARM_UP": "0",
                "ANSWER_TIMEOUT_S": "10",
                **(router_settings or {}),
            },
        )
        livekit = await stack.enter_async_context(
            LiveKitServer(
                program,
                webhook_urls=[router.webhook_url],
                include_events=include_events,
                log_path=folder / "livekit-server.log",
            )
        )
        router.connect(livekit)
        await stack.enter_async_context(router)
        sip = stack.enter_context(open_sip(livekit)) if with_sip else None
        address = {"LIVEKIT_URL": sip.url} if sip else {}
        agent = await stack.enter_async_context(
            AgentProcess(
                folder / "agent",
                livekit,
                environ=environ,
                settings={"AGENT_IDLE_PROCESSES": "2", **address, **(agent_settings or {})},
            )
        )
        yield Bed(livekit, persona_api, router, agent, sip)
