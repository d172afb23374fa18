"""Calls as LiveKit tells of them: a room rings, its deliveries are sent, it ends."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from tests.bench import load
from tests.faults.rooms import FakeRooms
from tests.faults.webhooks import FakeWebhooks, paced


def _bench_key() -> tuple[str, str]:
    return load.KEY, load.SECRET


@dataclass(kw_only=True, slots=True)
class Callers:
    """Places calls. Each of their deliveries is sent *copies* times, each copy by itself.

    *signs* gives key and secret at the moment of a call. After its deliveries a call waits
    *found_s* at most for a dispatch, and lasts *held_s* from then on.
    """

    livekit: FakeRooms
    hooks: FakeWebhooks
    copies: int = 1
    found_s: float = 20.0
    held_s: float = 0.5
    signs: Callable[[], tuple[str, str]] = _bench_key
    rooms: list[str] = field(default_factory=list)
    unanswered: int = 0
    _calls: set[asyncio.Task[None]] = field(default_factory=set)

    async def place(self, count: int, *, per_s: float) -> None:
        """Place *count* calls, and wait until the last is over."""
        await paced(count, per_s, self.begin)
        await self.over()

    async def place_until(self, done: Callable[[], bool], *, per_s: float) -> None:
        """Place calls until *done*, and wait until the last is over."""
        while not done():
            self.begin(len(self.rooms))
            await asyncio.sleep(1 / per_s)
        await self.over()

    def begin(self, index: int) -> None:
        """Place one call."""
        task = asyncio.create_task(self._call(index))
        self._calls.add(task)

    async def over(self) -> None:
        """Wait until every call is over; a defect in one of them is raised."""
        await asyncio.gather(*self._calls)

    async def _call(self, index: int) -> None:
        key, secret = self.signs()
        requests = load.call(load.number(index), few=True, key=key, secret=secret)
        room = self.livekit.ring(requests[0])
        self.rooms.append(room)
        await asyncio.gather(*(self.hooks.room(requests) for _ in range(self.copies)))
        with suppress(TimeoutError):
            async with asyncio.timeout(self.found_s):
                while self.livekit.rooms[room].agent is None:  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
        self.unanswered += self.livekit.rooms[room].agent is None
        await asyncio.sleep(self.held_s)
        self.livekit.close(room)
