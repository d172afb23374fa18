"""LiveKit's key is changed while calls come in: old, both, new; one router after the other."""

import asyncio

from tests.faults.callers import Callers
from tests.faults.replicas import Replicas
from tests.faults.rooms import FakeRooms
from tests.faults.scenario import Control, Ground, Scenario, Seen
from tests.faults.webhooks import FakeWebhooks

OLD = ("oldkey", "old_secret_old_secret_old_secret_old_secret")
NEW = ("newkey", "new_secret_new_secret_new_secret_new_secret")
PER_S = {"quick": 5.0, "full": 20.0}
REPLICAS = {"quick": 2, "full": 3}
BETWEEN_S = {"quick": 0.5, "full": 10.0}  # how long each stage lasts


def _keys(own: tuple[str, str], further: tuple[str, str] | None = None) -> dict[str, str]:
    return {
        "LIVEKIT_API_KEY": own[0],
        "LIVEKIT_API_SECRET": own[1],
        "LIVEKIT_WEBHOOK_KEYS": ":".join(further) if further else "",
    }


async def run(ground: Ground, *, both: bool = True) -> Seen:
    """Change the key while calls come in."""
    signing = OLD
    async with (
        FakeRooms() as livekit,
        Replicas(
            ground.folder, livekit, count=REPLICAS[ground.size], settings=_keys(OLD)
        ) as routers,
        FakeWebhooks(routers.pick) as hooks,
    ):

        async def rotate() -> None:
            nonlocal signing
            await asyncio.sleep(BETWEEN_S[ground.size])
            if both:
                await routers.restart_in_turn(_keys(OLD, NEW))
                await asyncio.sleep(BETWEEN_S[ground.size])
            signing = NEW
            await asyncio.sleep(BETWEEN_S[ground.size])
            await routers.restart_in_turn(_keys(NEW, OLD if both else None))
            await asyncio.sleep(BETWEEN_S[ground.size])
            if both and ground.size == "full":  # takes away what nobody uses any more
                await routers.restart_in_turn(_keys(NEW))
                await asyncio.sleep(BETWEEN_S[ground.size])

        rotating = asyncio.create_task(rotate())
        callers = Callers(livekit=livekit, hooks=hooks, signs=lambda: signing)
        await callers.place_until(rotating.done, per_s=PER_S[ground.size])
        await rotating
    refused = hooks.tries[401]
    lost = sum(count for status, count in hooks.ended.items() if status != 200)
    return Seen(
        holds=not (refused or lost or callers.unanswered),
        figures=(
            f"{hooks.ended.total():,} deliveries of {len(callers.rooms):,} calls: {refused} "
            f"refused, {lost} lost; {callers.unanswered} calls without a dispatch"
        ),
    )


async def itself(ground: Ground) -> Seen:
    """Rotate as the README says."""
    return await run(ground)


async def at_once(ground: Ground) -> Seen:
    """Rotate without a time in which both keys are good."""
    return await run(ground, both=False)


SCENARIOS = (
    Scenario(
        name="rotation",
        fault="key rotation old → both → new, with rolling restarts",
        must="0 refused",
        run=itself,
        controls=(
            Control(
                name="at_once", bad="goes from the old key to the new without both", run=at_once
            ),
        ),
    ),
)
