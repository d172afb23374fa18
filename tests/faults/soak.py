"""The same load for a long time: nothing goes wrong, and nothing piles up."""

import asyncio
from collections.abc import Sequence
from typing import Final

from tests.bench import load
from tests.bench.processes import Running
from tests.bench.report import median, percentile
from tests.faults.replicas import Replicas
from tests.faults.rooms import FakeRooms
from tests.faults.scenario import Control, Ground, Scenario, Seen, Size
from tests.faults.webhooks import FakeWebhooks, paced

PER_S: Final = 50.0
NUMBERS: Final = 200
WARM_S: dict[Size, float] = {"quick": 5.0, "full": 60.0}
SOAK_S: dict[Size, float] = {"quick": 15.0, "full": 600.0}
BAD_SOAK_S: Final = 120.0  # long enough for the control to be caught
SHARE: Final = 0.1  # of the time, at either end, over which memory is looked at
DRIFT: Final = 0.05
_MIB: Final = 1024 * 1024


async def run(ground: Ground, soak_s: float, policy: str = "") -> Seen:
    """Deliver evenly, and look at the process's memory."""
    resident: list[int] = []
    took: list[float] = []
    async with (
        FakeRooms() as livekit,
        Replicas(ground.folder, livekit, count=1, policy=policy) as routers,
        FakeWebhooks(routers.pick) as hooks,
    ):
        [router] = routers.routers
        running, loop = Running(router.child, router.port), asyncio.get_running_loop()
        tasks: set[asyncio.Task[None]] = set()
        requests: list[bytes] = []
        seconds = WARM_S[ground.size] + soak_s

        async def deliver(request: bytes) -> None:
            began = loop.time()
            answer = await hooks.once(request, router.port)
            hooks.ended[answer.status] += 1
            took.append(loop.time() - began)

        def begin(index: int) -> None:
            if not requests:
                requests.extend(load.call(load.number(index // load.PER_CALL % NUMBERS)))
            task = asyncio.create_task(deliver(requests.pop(0)))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            if index % PER_S == 0:
                resident.append(running.resident_bytes())
            if index % (60 * PER_S) == 0:
                ground.say(f"{index / PER_S:.0f} s: {resident[-1] / _MIB:.1f} MiB")

        await paced(int(seconds * PER_S), PER_S, begin)
        await asyncio.gather(*tasks)
    early, late = _ends(resident[int(WARM_S[ground.size]) :])
    errors = sum(count for status, count in hooks.ended.items() if status != 200)
    return Seen(
        holds=not errors and late / early - 1 < DRIFT,
        figures=(
            f"{hooks.ended.total():,} deliveries in {seconds / 60:.1f} min: {errors} errors, p99 "
            f"{percentile(took, 99) * 1000:.0f} ms; memory {early / _MIB:.1f} MiB after the "
            f"warm-up, {late / _MIB:.1f} MiB at the end: {late / early - 1:+.1%}"
        ),
    )


def _ends(resident: Sequence[int]) -> tuple[float, float]:
    part = max(1, int(len(resident) * SHARE))
    return median(resident[:part]), median(resident[-part:])


async def itself(ground: Ground) -> Seen:
    """Run with our router."""
    return await run(ground, SOAK_S[ground.size])


async def keeps(ground: Ground) -> Seen:
    """Run with a router that keeps what it is sent."""
    return await run(ground, min(BAD_SOAK_S, SOAK_S[ground.size]), policy="keeps")


SCENARIOS = (
    Scenario(
        name="soak",
        fault="50 deliveries/s for 10 min",
        must="0 errors, memory drift < 5 %",
        run=itself,
        controls=(Control(name="keeps", bad="keeps the calls that it was sent", run=keeps),),
        quick=False,
    ),
)
