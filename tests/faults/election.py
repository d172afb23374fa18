"""Every delivery comes nine times over three routers, and one dispatch starts two jobs."""

import asyncio
import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from tests.e2e.evidence import until
from tests.faults.scenario import Control, Ground, Scenario, Seen
from tests.faults.stage import Line, Stage, open_stage, settle

ROUTERS = 3
COPIES = 9  # of each delivery: LiveKit sends each router one
AT_ONCE = 4
WAIT_S = 30.0
AFTER_S = 10.0  # then exactly one agent publishes
QUICK_AFTER_S = 3.0


@dataclass(frozen=True, slots=True)
class Held:
    """What one caller saw."""

    dispatches: int  # by the routers
    most_at_once: int
    voices: int  # agents that ever published
    at_the_end: int


def judged(rooms: Sequence[Held], *, voices: int) -> Seen:
    """Judge what the callers saw; *voices*: how many agents may follow each other."""
    twice = sum(one.dispatches > 1 for one in rooms)
    crowded = sum(one.most_at_once > 1 for one in rooms)
    alone = sum(one.at_the_end == 0 for one in rooms)
    more = sum(one.at_the_end > 1 for one in rooms)
    changed = sum(one.voices > voices for one in rooms)
    return Seen(
        holds=not (twice or crowded or alone or more or changed) and bool(rooms),
        figures=f"{len(rooms)} rooms: {twice} dispatched twice, {crowded} with two publishing in "
        f"one 50 ms sample, {changed} in which the agent was put out by its like; in the end "
        f"{alone} callers alone, {more} with two agents",
    )


async def two_jobs(ground: Ground, *, later: bool = False, manners: Sequence[str] = ()) -> Seen:
    """Place calls whose every delivery is repeated, and start each job twice, at once or later.

    *later*: the second job is of the next attempt, and takes a running call over. With *manners*
    the agents are light ones, and few.
    """
    quick = ground.size == "quick"
    left = 3 if quick else 12 if later or manners else 40
    rooms: list[Held] = []
    hold = partial(_hold, later=later, after_s=QUICK_AFTER_S if quick else AFTER_S)
    async with open_stage(ground, routers=1 if manners else ROUTERS) as stage:
        light = quick or manners
        agent = stage.light_agent("agent", *manners) if light else stage.real_agent("agent")
        async with agent:
            while left > 0:
                placed, left = min(left, AT_ONCE), left - AT_ONCE
                async with stage.calls(placed) as lines:
                    rooms += await asyncio.gather(
                        *(hold(stage, line, late=n % 2 == 0) for n, line in enumerate(lines))
                    )
                ground.say(f"{len(rooms)} calls")
    return judged(rooms, voices=2 if later else 1)


async def _hold(stage: Stage, line: Line, *, late: bool, later: bool, after_s: float) -> Held:
    await stage.deliver(line, copies=COPIES - len(stage.routers))
    metadata = await until(partial(_metadata, stage, line), what="dispatch")
    if late or later:  # LiveKit repeats its internal call after 3 s, or it was a slow race
        await settle([line], timeout_s=WAIT_S)
    if later:
        metadata = json.dumps(_next_attempt(json.loads(metadata)))
    known = line.voices
    await stage.dispatch(line.phone.room, metadata)
    await settle([line], timeout_s=WAIT_S)
    if later:
        with contextlib.suppress(AssertionError):  # it is judged by what is seen in the end
            await until(lambda: line.voices - known, timeout_s=WAIT_S, what="takeover")
    await asyncio.sleep(after_s)
    return Held(
        dispatches=await stage.dispatches(line.phone.room) - 1,
        most_at_once=line.most_at_once,
        voices=len(line.voices),
        at_the_end=len(line.publishing),
    )


async def _metadata(stage: Stage, line: Line) -> str:
    """Return the job metadata of the first dispatch in the room; "" while there is none."""
    listed = await stage.listed(line.phone.room)
    return listed[0].metadata if listed else ""


def _next_attempt(document: dict[str, Any]) -> dict[str, Any]:
    call = document["_call"]
    return document | {"_call": call | {"attempt": call["attempt"] + 1}}


FIXED = Control(
    name="fixed_identity",
    bad="one fixed agent identity for a room, and no election",
    run=partial(two_jobs, manners=("--no-election", "--fixed-identity")),
)
NO_ELECTION = Control(
    name="no_election",
    bad="agents that do not elect one of them",
    run=partial(two_jobs, later=True, manners=("--no-election",)),
)
SCENARIOS = (
    Scenario(
        name="election",
        fault="9 copies of each delivery over 3 replicas, and two jobs of one dispatch",
        must="one dispatch; never two agents publishing in any 50 ms sample, exactly one after "
        "10 s, and it is the same all the time",
        run=two_jobs,
        controls=(FIXED,),
        needs_livekit=True,
    ),
    Scenario(
        name="takeover",
        fault="the same, and the second job is of the next attempt and comes into a running call",
        must="never two agents publishing in any 50 ms sample, exactly one after 10 s",
        run=partial(two_jobs, later=True),
        controls=(NO_ELECTION,),
        quick=False,
        needs_livekit=True,
    ),
)
