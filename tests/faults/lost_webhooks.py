"""LiveKit's webhooks never arrive: only the sweep over the rooms can find the callers."""

from functools import partial

from tests.bench.report import percentile
from tests.faults.proxy import Drop
from tests.faults.scenario import Control, Ground, Scenario, Seen
from tests.faults.stage import open_stage, settle

WITHIN_S = 4.0  # from the caller in the room to the agent in the room, p99
WAIT_S = 15.0
CALLS = {"quick": 3, "full": 60}
AT_ONCE = 10
EVERY_S = 0.7


async def lose_webhooks(ground: Ground, *, watch: bool) -> Seen:
    """Place calls of which the router is told nothing."""
    rang: list[float] = []
    crowded = missed = 0
    left = CALLS[ground.size] if watch else 2
    wait_s = WAIT_S if watch else WITHIN_S + 2
    async with open_stage(ground, watch=watch) as stage, stage.light_agent("agent"):
        stage.hooks[0].fault = Drop()
        while left > 0:
            placed, left = min(left, AT_ONCE), left - AT_ONCE
            async with stage.calls(placed, every_s=EVERY_S) as lines:
                await settle(lines, timeout_s=wait_s)
            rang += [line.rang_s for line in lines if line.answered and line.rang_s is not None]
            missed += sum(not line.answered for line in lines)
            crowded += sum(len(line.voices) > 1 for line in lines)
            ground.say(f"{max(left, 0)} calls left")
    calls = len(rang) + missed
    p99 = percentile(rang, 99) if rang else 0.0
    shown = f"; join → agent p50 {percentile(rang, 50):.1f} s, p99 {p99:.1f} s" if rang else ""
    in_time = ground.size == "quick" or p99 <= WITHIN_S  # a test judges no seconds
    return Seen(
        holds=not missed and not crowded and in_time,
        figures=f"{calls} calls: {len(rang)} answered, {crowded} by more than one agent{shown}",
    )


SCENARIOS = (
    Scenario(
        name="lost_webhooks",
        fault="all webhooks lost",
        must=f"every call answered; join → agent p99 ≤ {WITHIN_S:g} s",
        run=partial(lose_webhooks, watch=True),
        controls=(
            Control(
                name="no_sweep",
                bad="a router that does not sweep over the rooms",
                run=partial(lose_webhooks, watch=False),
            ),
        ),
        needs_livekit=True,
    ),
)
