"""Many copies of each delivery over several replicas, which are killed all the while."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass

from tests import postgres
from tests.faults.callers import Callers
from tests.faults.replicas import Replicas
from tests.faults.rooms import FakeRooms
from tests.faults.scenario import Control, Ground, Scenario, Seen
from tests.faults.webhooks import FakeWebhooks

LOST_OF = 16  # one answer to CreateDispatch in so many
HELD_S = 3.0  # how long a call lasts after its deliveries: what is dispatched too late is seen
#: A lease of 3 s, so that a killed router's calls are taken over sooner.
SETTINGS = {"PERSONA_BUDGET_S": "0.5", "DISPATCH_TIMEOUT_S": "1.5"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """How much of what."""

    calls: int
    per_s: float
    copies: int = 9
    replicas: int = 3
    kill_every_s: float = 0.0  # 0: never
    kills: int = 1_000_000  # at most
    scale: float = 0.25  # of the pauses between LiveKit's five tries
    held_s: float = 0.5
    policy: str = ""  # a known-bad router's


async def run(ground: Ground, plan: Plan) -> Seen:
    """Place the calls, and count the dispatches."""
    async with AsyncExitStack() as stack:
        livekit = await stack.enter_async_context(
            FakeRooms(loses=lambda number: number % LOST_OF == LOST_OF // 2)
        )
        database = ""
        if ground.size == "full" and not plan.policy and postgres.binaries() is not None:
            database = stack.enter_context(postgres.running()).new_database()
        routers = await stack.enter_async_context(
            Replicas(
                ground.folder,
                livekit,
                count=plan.replicas,
                settings=SETTINGS,
                policy=plan.policy,
                database_url=database,
            )
        )
        hooks = await stack.enter_async_context(FakeWebhooks(routers.pick, scale=plan.scale))
        callers = Callers(livekit=livekit, hooks=hooks, copies=plan.copies, held_s=plan.held_s)
        placing = asyncio.create_task(callers.place(plan.calls, per_s=plan.per_s))
        if plan.kill_every_s:
            await routers.kill_at_random(
                lambda: placing.done() or routers.killed >= plan.kills, every_s=plan.kill_every_s
            )
        await placing
        spare = routers.logged("call.not_claimed")
    attempts = livekit.per_attempt()
    doubles = sum(times - 1 for times in attempts.values())
    tested = bool(livekit.lost_answers) and bool(routers.killed or not plan.kill_every_s)
    stored = "PostgreSQL" if database else "SQLite"
    return Seen(
        holds=doubles == 0 and callers.unanswered == 0 and tested,
        figures=(
            f"{plan.calls:,} calls, {sum(hooks.tries.values()):,} deliveries to {plan.replicas} "
            f"over {stored}, {routers.killed} `kill -9`, {livekit.lost_answers} lost answers: "
            f"{len(attempts):,} attempts, {doubles} dispatched twice ({spare} claimed without the "
            f"database); {callers.unanswered} calls without a dispatch"
        ),
    )


async def itself(ground: Ground) -> Seen:
    """Run with our routers."""
    if ground.size == "full":
        return await run(
            ground, Plan(calls=1000, per_s=10, kill_every_s=1, scale=0.5, held_s=HELD_S)
        )
    return await run(ground, Plan(calls=20, per_s=10, kill_every_s=0.6, kills=4))


async def looks(ground: Ground) -> Seen:
    """Run with routers that look before they dispatch."""
    return await run(ground, Plan(calls=12, per_s=20, policy="looks"))


async def repeats(ground: Ground) -> Seen:
    """Run with a router that repeats what was not answered."""
    return await run(ground, Plan(calls=60, per_s=60, copies=2, replicas=1, policy="repeats"))


SCENARIOS = (
    Scenario(
        name="copies",
        fault="9 copies of each delivery over 3 replicas, `kill -9` of routers at random, "
        "LiveKit's answer lost after it has dispatched",
        must="exactly one dispatch for each attempt, and one for each call",
        run=itself,
        controls=(
            Control(
                name="list_before_create",
                bad="looks for a dispatch before it creates one",
                run=looks,
            ),
            Control(
                name="blind_repeat",
                bad="repeats CreateDispatch when its answer is lost",
                run=repeats,
            ),
        ),
    ),
)
