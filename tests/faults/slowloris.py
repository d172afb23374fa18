"""Hundreds of connections that say next to nothing, beside deliveries."""

import asyncio
import random
import resource
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Final

from tests.bench import load, processes
from tests.bench.report import percentile
from tests.faults.scenario import Control, Ground, Scenario, Seen
from tests.faults.webhooks import FakeWebhooks, paced

SLOW: Final = 500
PER_S: Final = 50
SECONDS = {"quick": 4, "full": 60}
FILES: Final = 512  # that the server's process may open
IN_TIME_S: Final = 10.0  # a delivery that is not answered by then is not served
ENOUGH: Final = 20  # that were not served: there is no need to go on
_BEGUN: Final = (
    b"",
    b"P",
    b"POST /livekit-webhook HTTP/1.1\r\n",
    b"POST /livekit-webhook HTTP/1.1\r\nHost: router\r\nX-Slow: ",
    b"POST /livekit-webhook HTTP/1.1\r\nHost: router\r\nContent-Length: 60000\r\n\r\n{",
)


class Slow:
    """Connections that are opened again as soon as they are cut."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._chance = random.Random(5)  # noqa: S311  # the same run each time
        # Ended by this and not by cancelling: half a connection would be left behind.
        self._over = asyncio.create_task(asyncio.Event().wait())
        self.open = 0
        self.cut = 0

    async def one(self) -> None:
        """Hold one connection open, a byte now and then, until it is over."""
        while not self._over.done():
            with suppress(OSError):
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
                self.open += 1
                try:
                    await self._drip(reader, writer)
                finally:
                    self.open -= 1
                    self.cut += 1
                    writer.transport.abort()  # what it has not sent yet would keep it open
            await asyncio.sleep(0.1)

    async def _drip(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(self._chance.choice(_BEGUN))
        ended = asyncio.create_task(reader.read(1))
        try:
            while not ended.done() and not self._over.done():
                pause_s = self._chance.uniform(0.5, 2.0)
                waiting = {ended, self._over}
                await asyncio.wait(waiting, timeout=pause_s, return_when=asyncio.FIRST_COMPLETED)
                writer.write(b"x")
        finally:
            ended.cancel()
            await asyncio.gather(ended, return_exceptions=True)  # it was cut, as it should be

    def end(self) -> None:
        """Have them all end."""
        self._over.cancel()


@asynccontextmanager
async def _slow_ones(port: int) -> AsyncIterator[Slow]:
    slow = Slow(port)
    tasks = [asyncio.create_task(slow.one()) for _ in range(SLOW)]
    try:
        yield slow
    finally:
        slow.end()
        await asyncio.wait(tasks)


async def run(ground: Ground, target: processes.Running) -> Seen:
    """Send deliveries, half of them over new connections, beside the slow ones."""
    resource.prlimit(target.child.pid, resource.RLIMIT_NOFILE, (FILES, FILES))
    took: list[float] = []
    served = 0
    async with AsyncExitStack() as stack:
        slow = await stack.enter_async_context(_slow_ones(target.port))
        kept = await stack.enter_async_context(FakeWebhooks(lambda: target.port))
        await asyncio.sleep(1.0)  # so that the slow ones are there first

        async def deliver(request: bytes, index: int) -> None:
            nonlocal served
            began = time.monotonic()
            with suppress(TimeoutError):
                async with asyncio.timeout(IN_TIME_S), AsyncExitStack() as own:
                    hooks = kept
                    if index % 2:
                        hooks = FakeWebhooks(lambda: target.port)
                        await own.enter_async_context(hooks)
                    answer = await hooks.once(request, target.port)
                    served += answer.status == 200
            took.append(time.monotonic() - began)

        tasks: list[asyncio.Task[None]] = []
        requests: list[bytes] = []

        def begin(index: int) -> None:
            if not requests:
                requests.extend(load.call(load.number(index)))
            tasks.append(asyncio.create_task(deliver(requests.pop(0), index)))

        count = PER_S * SECONDS[ground.size]
        await paced(count, PER_S, begin)
        left = set(tasks)
        while left and len(took) - served < ENOUGH:
            _, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
        for task in left:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)  # those that were cancelled
        pressed = slow.open + slow.cut >= SLOW
    return Seen(
        holds=served == count and pressed,
        figures=(
            f"{SLOW} slow connections, opened again {slow.cut:,} times: {served:,} of {count:,} "
            f"deliveries served, p99 {percentile(took, 99) * 1000:.0f} ms"
        ),
    )


async def itself(ground: Ground) -> Seen:
    """Run against the router as `serve` runs it."""
    async with (
        processes.edge(ground.folder) as edge,
        processes.router(ground.folder, livekit_port=edge, edge_port=edge) as router,
    ):
        return await run(ground, router)


async def plain(ground: Ground) -> Seen:
    """Run against uvicorn as it is."""
    async with processes.plain_app(ground.folder) as running:
        return await run(ground, running)


SCENARIOS = (
    Scenario(
        name="slowloris",
        fault="500 slowloris connections beside 50 deliveries/s, of a process that may open "
        f"{FILES} files",
        must="100 % of the valid ones served",
        run=itself,
        controls=(Control(name="plain_uvicorn", bad="has no deadline for a request", run=plain),),
    ),
)
