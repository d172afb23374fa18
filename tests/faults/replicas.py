"""Several routers over one database, each a process of its own, as they run behind a balancer."""

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from itertools import cycle
from pathlib import Path
from typing import Self

from router.demo.services import RouterProcess
from router.demo.settings import PROJECT, DemoSettings
from tests.bench.load import KEY, SECRET
from tests.bench.processes import ListeningRouter
from tests.fakes import FakeLiveKit


class Naive(ListeningRouter):
    """A known-bad router: ``naive.py`` with one of its policies, in POLICY."""

    name = "naive"
    arguments = ("tests.faults.naive",)


class Replicas:
    """*count* routers beside *livekit*; *settings* are environment variables. ``async with`` it."""

    def __init__(
        self,
        folder: Path,
        livekit: FakeLiveKit,
        *,
        count: int = 3,
        persona_api_base: str = "off",
        settings: Mapping[str, str] | None = None,
        policy: str = "",
        database_url: str = "",
    ) -> None:
        own = {
            "LIVEKIT_URL": livekit.url,
            "LIVEKIT_API_KEY": KEY,
            "LIVEKIT_API_SECRET": SECRET,
            "DATABASE_URL": database_url or f"sqlite:///{folder / 'calls.db'}",
            "DEFAULT_REGION": "US",
            "PERSONA_WARM_UP": "0",
            "POLICY": policy,
            "PYTHONPATH": str(PROJECT),
            **(settings or {}),
        }
        make = Naive if policy else ListeningRouter
        environ = DemoSettings.load().environ
        self.routers: Sequence[RouterProcess] = [
            make(
                folder / f"router-{index}",
                environ=environ,
                persona_api_base=persona_api_base,
                settings=own,
            )
            for index in range(count)
        ]
        self._turn = cycle(self.routers)
        self._stopped: RouterProcess | None = None
        self.killed = 0

    def pick(self) -> int:
        """Give the port of the next one; a killed one is not noticed, a stopped one is."""
        router = next(self._turn)
        if router is self._stopped and len(self.routers) > 1:
            router = next(self._turn)
        return router.port

    async def restart_in_turn(
        self, settings: Mapping[str, str] | None = None, *, pause_s: float = 0.2
    ) -> None:
        """Stop one after the other with SIGTERM and start it again, with new *settings*."""
        for router in self.routers:
            await router.stop()
            self._stopped = router
            router.env |= settings or {}
            await router.start()
            self._stopped = None
            await asyncio.sleep(pause_s)

    async def kill_at_random(self, until: Callable[[], bool], *, every_s: float) -> None:
        """Kill one at a time, as ``kill -9`` does, and start it again, until told."""
        chance = random.Random(4)  # noqa: S311  # the same run each time
        while not until():
            await asyncio.sleep(chance.uniform(0.5, 1.5) * every_s)
            router = chance.choice(self.routers)
            router.kill()
            self.killed += 1
            await router.start()

    def logged(self, event: str) -> int:
        """Count a log event over all of them, over all their lives."""
        return sum(
            router.log_path.read_text(encoding="utf-8").count(f'"{event}"')
            for router in self.routers
        )

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            for router in self.routers:
                stack.push_async_callback(router.stop)
            await asyncio.gather(*(router.start() for router in self.routers))
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()
