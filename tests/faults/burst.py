"""More calls at once than the worker may start: LiveKit then drops jobs, and nobody is told."""

from functools import partial

from tests.bench.report import percentile
from tests.faults.plain_router import PlainRouter
from tests.faults.scenario import Control, Ground, Scenario, Seen
from tests.faults.stage import SERVER_LOAD, open_stage, settle

CALLS = {"quick": 6, "full": 16}
STARTS_AT_ONCE = {"quick": 3, "full": 6}  # the worker's load is at LiveKit's limit with so many
WAIT_S = 45.0
PLAIN_WAIT_S = 4.0  # a plain router is done long before


async def burst(ground: Ground, *, plain: bool) -> Seen:
    """Place the calls as fast as the machine can."""
    instead = PlainRouter() if plain else None
    quick = ground.size == "quick"
    starts = f"--starts-at-once={STARTS_AT_ONCE[ground.size]}"
    async with (
        open_stage(
            ground,
            plain=instead,
            target_load=SERVER_LOAD,
            settings={"ANSWER_TIMEOUT_S": "1.5"} if quick else None,
        ) as stage,
        stage.light_agent("agent", starts, f"--start-s={1.5 if quick else 3.0}"),
        stage.calls(CALLS[ground.size]) as lines,
    ):
        await settle(lines, timeout_s=PLAIN_WAIT_S if plain else WAIT_S)
        rang = [line.rang_s for line in lines if line.answered and line.rang_s is not None]
        on = sum(not line.answered and not line.ended for line in lines)
        ended = len(lines) - len(rang) - on
        crowded = sum(len(line.voices) > 1 for line in lines)
        slowest = f", {percentile(rang, 50):.1f} s in the middle and {max(rang):.1f} s at most"
    return Seen(
        holds=len(rang) == len(lines) and not crowded,
        figures=f"{len(lines)} calls at once: {len(rang)} answered{slowest if rang else ''}, "
        f"{on} ring on, {ended} ended, {crowded} had more than one agent",
    )


SCENARIOS = (
    Scenario(
        name="burst",
        fault="a burst of 16 calls on a worker at LiveKit's load limit",
        must="all answered, one agent each",
        run=partial(burst, plain=False),
        controls=(
            Control(
                name="plain_router",
                bad="a router that dispatches once",
                run=partial(burst, plain=True),
            ),
        ),
        needs_livekit=True,
    ),
)
