"""Where calls are placed while parts fail: the real server and routers, a fault proxy on each line.

Agents are light ones unless a scenario starts real ones. Every caller is a phone that looks, all
the time, at who is publishing in its room.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from livekit import api

from router.db import Store
from router.demo.deliveries import body
from router.demo.errors import CallFailed
from router.demo.livekit_server import WEBHOOK_EVENTS, LiveKitServer
from router.demo.persona_api import PersonaApi
from router.demo.phone import Phone
from router.demo.processes import Child
from router.demo.services import AgentProcess, RouterProcess
from router.demo.settings import PROJECT, DemoSettings
from router.events import sign
from router.records.leases import Lease
from tests.faults.light_agent import NAME, REGISTERED
from tests.faults.plain_router import PlainRouter
from tests.faults.proxy import FaultProxy
from tests.faults.scenario import Ground

DID = "+13125550170"
PERSONA = {
    "persona_name": "Harbour",
    "personality": "You are brief.",
    "welcome_message": "Harbour desk, good day.",
}
SAMPLE_S = 0.05
ASK_TIMEOUT_S = 5.0
LIGHT_START_TIMEOUT_S = 30.0
DIAL_TIMEOUT_S = 20.0
DIALS = 3  # on a busy machine the SDK now and then loses an answer, which says nothing about us
DIALS_AT_ONCE = 4  # a phone's setup is work for both cores
SERVER_LOAD = 0.7  # LiveKit's own limit; the demo's server has none


class LightAgent(AgentProcess):
    """``tests.faults.light_agent`` with *manners*, as on its command line."""

    def __init__(self, folder: Path, livekit: LiveKitServer, *manners: str) -> None:
        environ = DemoSettings.load().environ
        super().__init__(folder, livekit, environ=environ, settings={"PYTHONPATH": str(PROJECT)})
        self.manners = manners

    @property
    def arguments(self) -> tuple[str, ...]:  # type: ignore[override]  # a constant up to here
        """What Python runs."""
        return ("tests.faults.light_agent", *self.manners)

    async def _wait(self, child: Child) -> None:
        before = child.log().count(REGISTERED)
        await child.wait_until(
            lambda: child.log().count(REGISTERED) > before,
            timeout_s=LIGHT_START_TIMEOUT_S,
            what="registration with LiveKit",
        )


@dataclass(slots=True)
class Line:
    """One call: a phone, and whom it saw publish."""

    phone: Phone
    samples: list[tuple[float, tuple[str, ...]]] = field(default_factory=list)  # monotonic, sids

    @property
    def publishing(self) -> tuple[str, ...]:
        """Who publishes now, by sid."""
        return self.phone.agents_publishing

    @property
    def most_at_once(self) -> int:
        """The greatest number of agents that published at one moment."""
        return max((len(sids) for _, sids in self.samples), default=0)

    @property
    def voices(self) -> set[str]:
        """The sids of all who ever published."""
        return {sid for _, sids in self.samples for sid in sids}

    @property
    def rang_s(self) -> float | None:
        """From the caller in the room to the agent in the room; None: nobody came."""
        times = self.phone.times
        if times.joined_at is None or times.agent_joined_at is None:
            return None
        return times.agent_joined_at - times.joined_at

    @property
    def answered(self) -> bool:
        """Whether somebody could be heard: an agent, or the router as last resort."""
        return self.phone.times.track_subscribed_at is not None

    @property
    def answered_s(self) -> float | None:
        """From the caller in the room to the end of the ringing; None: it rings."""
        times = self.phone.times
        if times.joined_at is None or times.track_subscribed_at is None:
            return None
        return times.track_subscribed_at - times.joined_at

    @property
    def ended(self) -> bool:
        """Whether the call was ended from the other side."""
        return self.phone.times.ended_at is not None

    def first_other_than(self, sids: set[str]) -> float | None:
        """Return when somebody new was first seen publishing; monotonic."""
        return next((at for at, seen in self.samples if set(seen) - sids), None)

    async def look(self) -> None:
        """Keep a sample every 50 ms until cancelled."""
        while True:
            self.samples.append((time.monotonic(), self.publishing))
            await asyncio.sleep(SAMPLE_S)


@dataclass(frozen=True, slots=True)
class Stage:
    """What runs."""

    folder: Path
    livekit: LiveKitServer
    routers: tuple[RouterProcess, ...]
    hooks: tuple[FaultProxy, ...]  # from LiveKit to each router
    to_livekit: FaultProxy  # from the routers
    client: api.LiveKitAPI

    def light_agent(self, name: str, *manners: str) -> LightAgent:
        """Return a worker, to be started."""
        return LightAgent(self.folder / name, self.livekit, *manners)

    def real_agent(self, name: str) -> AgentProcess:
        """Return our own worker, to be started."""
        return AgentProcess(
            self.folder / name,
            self.livekit,
            environ=DemoSettings.load().environ,
            settings={"AGENT_IDLE_PROCESSES": "4"},
        )

    @asynccontextmanager
    async def calls(self, count: int, *, every_s: float = 0.0) -> AsyncIterator[list[Line]]:
        """Place *count* calls, one after the other; hang all up at the end."""
        lines = [Line(self._phone()) for _ in range(count)]
        limit = asyncio.Semaphore(DIALS_AT_ONCE)
        looking: list[asyncio.Task[None]] = []

        async def dial(line: Line, after_s: float) -> None:
            await asyncio.sleep(after_s)
            async with limit:
                looking.append(asyncio.create_task(line.look()))
                await self._dial(line)

        try:
            await asyncio.gather(*(dial(line, n * every_s) for n, line in enumerate(lines)))
            yield lines
        finally:
            for task in looking:
                task.cancel()
            await asyncio.gather(*looking, return_exceptions=True)
            await asyncio.gather(*(line.phone.hang_up() for line in lines))

    async def _dial(self, line: Line) -> None:
        for tries_left in reversed(range(DIALS)):
            try:
                await line.phone.dial(timeout_s=DIAL_TIMEOUT_S)
            except CallFailed:
                await line.phone.hang_up()
                if not tries_left:
                    raise
                line.phone, line.samples = self._phone(), []
            else:
                return

    def _phone(self) -> Phone:
        server = self.livekit
        return Phone(server.url, server.api_key, server.api_secret, dialed=DID, record=False)

    async def listed(self, room: str) -> list[api.AgentDispatch]:
        """Return the dispatches of our agent that stand in *room*."""
        async with asyncio.timeout(ASK_TIMEOUT_S):
            listed = await self.client.agent_dispatch.list_dispatch(room)
        return [one for one in listed if one.agent_name and not one.state.deleted_at]

    async def dispatches(self, room: str) -> int:
        """Return how many dispatches of our agent stand in *room*."""
        return len(await self.listed(room))

    async def dispatch(self, room: str, metadata: str) -> None:
        """Send our agent into *room*, as LiveKit might when it repeats itself."""
        request = api.CreateAgentDispatchRequest(agent_name=NAME, room=room, metadata=metadata)
        async with asyncio.timeout(ASK_TIMEOUT_S):
            await self.client.agent_dispatch.create_dispatch(request)

    async def room_sid(self, line: Line) -> str:
        """Return the sid of a call's room."""
        async with asyncio.timeout(ASK_TIMEOUT_S):
            request = api.ListRoomsRequest(names=[line.phone.room])
            return (await self.client.room.list_rooms(request)).rooms[0].sid

    async def deliver(self, line: Line, *, copies: int) -> None:
        """Tell the routers in turn, all at once, that the caller of *line* joined."""
        phone, server = line.phone, self.livekit
        content = body(
            room=phone.room,
            room_sid=await self.room_sid(line),
            attributes=phone.attributes,
            identity=phone.identity,
        )
        token = sign(content, time.time(), server.api_key, server.api_secret.encode())
        headers = {"Authorization": token, "Content-Type": "application/webhook+json"}
        async with httpx.AsyncClient(timeout=20.0, trust_env=False) as http:
            urls = [self.routers[n % len(self.routers)].webhook_url for n in range(copies)]
            await asyncio.gather(
                *(http.post(url, content=content, headers=headers) for url in urls)
            )


@asynccontextmanager
async def open_stage(
    ground: Ground,
    *,
    routers: int = 1,
    plain: PlainRouter | None = None,
    watch: bool = True,
    target_load: float = 2.0,
    settings: dict[str, str] | None = None,
) -> AsyncIterator[Stage]:
    """Start a server and *routers* over one store, or *plain* in their place.

    Without *watch* the lease of the sweep is another's, who does nothing with it.
    """
    assert ground.livekit_server is not None
    environ = DemoSettings.load().environ
    store_url = f"sqlite:///{ground.folder / 'router.db'}"
    if not watch:
        await _hold_the_sweep(store_url)
    async with AsyncExitStack() as stack:
        persona_api = stack.enter_context(PersonaApi({DID[1:]: PERSONA}))
        shared = {"DEFAULT_REGION": "US", "DATABASE_URL": store_url, **(settings or {})}
        replicas = tuple(
            RouterProcess(
                ground.folder / f"router-{number}",
                environ=environ,
                persona_api_base=persona_api.url,
                settings=shared,
            )
            for number in range(0 if plain else routers)
        )
        if plain:
            await stack.enter_async_context(plain)
        ports = [plain.port] if plain else [one.port for one in replicas]
        hooks = [await stack.enter_async_context(FaultProxy(port)) for port in ports]
        server = LiveKitServer(
            ground.livekit_server,
            webhook_urls=[f"http://127.0.0.1:{hook.port}/livekit-webhook" for hook in hooks],
            include_events=WEBHOOK_EVENTS,
            target_load=target_load,
            log_path=ground.folder / "livekit-server.log",
        )
        await stack.enter_async_context(server)
        line = await stack.enter_async_context(FaultProxy(urlsplit(server.url).port or 0))
        through = f"ws://127.0.0.1:{line.port}"
        for one in replicas:
            one.connect(server)
            one.env["LIVEKIT_URL"] = through
            stack.push_async_callback(one.stop)
        await asyncio.gather(*(one.start() for one in replicas))
        if plain:
            plain.connect(url=through, api_key=server.api_key, api_secret=server.api_secret)
        client = await stack.enter_async_context(
            api.LiveKitAPI(server.http_url, server.api_key, server.api_secret, failover=False)
        )
        yield Stage(ground.folder, server, replicas, tuple(hooks), line, client)


async def _hold_the_sweep(store_url: str) -> None:
    store = Store(store_url)
    await store.open()
    try:
        lease = Lease(store, "sweep", owner="silent", for_s=24 * 3600, clock=time.time)
        assert await lease.hold()
    finally:
        await store.aclose()


async def settle(lines: Sequence[Line], *, timeout_s: float) -> None:
    """Wait until each call was answered or ended, or *timeout_s* have passed."""

    async def settled(line: Line) -> None:
        with contextlib.suppress(CallFailed):
            await line.phone.wait_until(
                lambda _: line.answered or line.ended, timeout_s=timeout_s, what="answer"
            )

    await asyncio.gather(*map(settled, lines))
