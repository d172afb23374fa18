"""Routers are stopped and started one after the other, while calls come in."""

import asyncio

from tests.faults.callers import Callers
from tests.faults.replicas import Replicas
from tests.faults.rooms import FakeRooms
from tests.faults.scenario import Control, Ground, Scenario, Seen
from tests.faults.webhooks import FakeWebhooks

ROUNDS = {"quick": 1, "full": 5}
PER_S = {"quick": 8.0, "full": 20.0}
REPLICAS = {"quick": 2, "full": 3}


async def run(ground: Ground, policy: str = "") -> Seen:
    """Restart all of them in turn, several times over."""
    rounds = 1 if policy else ROUNDS[ground.size]
    async with (
        FakeRooms() as livekit,
        Replicas(ground.folder, livekit, count=REPLICAS[ground.size], policy=policy) as routers,
        FakeWebhooks(routers.pick) as hooks,
    ):

        async def restart() -> None:
            for _ in range(rounds):
                await routers.restart_in_turn()

        restarting = asyncio.create_task(restart())
        callers = Callers(livekit=livekit, hooks=hooks, found_s=3.0 if policy else 20.0)
        await callers.place_until(restarting.done, per_s=PER_S[ground.size])
        await restarting
    per_room = dict.fromkeys(callers.rooms, 0)
    for (room, _), times in livekit.per_attempt().items():
        per_room[room] += times
    doubles = sum(times > 1 for times in per_room.values())
    unanswered = sum(times == 0 for times in per_room.values())
    lost = sum(count for status, count in hooks.ended.items() if status != 200)
    return Seen(
        holds=not (doubles or unanswered or lost),
        figures=(
            f"{len(per_room):,} calls, {hooks.ended.total():,} deliveries, "
            f"{rounds * len(routers.routers)} restarts: {lost} deliveries lost, {unanswered} calls "
            f"without a dispatch, {doubles} with two"
        ),
    )


async def itself(ground: Ground) -> Seen:
    """Run with our routers."""
    return await run(ground)


async def later(ground: Ground) -> Seen:
    """Run with routers that answer first and dispatch later."""
    return await run(ground, policy="later")


SCENARIOS = (
    Scenario(
        name="rolling",
        fault="rolling restart of 3 replicas under load",
        must="0 lost, 0 double",
        run=itself,
        controls=(
            Control(
                name="answers_first", bad="answers a delivery before it has dispatched", run=later
            ),
        ),
    ),
)
