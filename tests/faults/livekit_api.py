"""LiveKit's API fails at CreateDispatch: refuses, hangs, or does it and the answer is lost."""

import asyncio
from dataclasses import dataclass
from functools import partial

from tests.faults.plain_router import PlainRouter
from tests.faults.proxy import Hang, LoseAnswer, RequestFault, Unavailable
from tests.faults.scenario import Control, Ground, Scenario, Seen
from tests.faults.stage import Stage, open_stage, settle

CREATE = "/CreateDispatch"
HANG_S = 20.0
FAULTS: dict[str, RequestFault] = {
    "503": Unavailable(),
    f"hangs {HANG_S:g} s": Hang(HANG_S),
    f"hangs {HANG_S:g} s, then does it": Hang(HANG_S, does=True),
    "answer lost": LoseAnswer(),
}
IN_QUICK = ("answer lost",)
FAULTY_S = 4.0  # then new requests are answered again
SETTLE_S = 30.0
LATER_S = 3.0  # for one more agent to come


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the calls of one fault."""

    fault: str
    calls: int
    answered: int
    doubled: int  # rooms in which more than one dispatch stands
    crowded: int  # rooms in which more than one agent ever published

    @property
    def good(self) -> bool:
        return self.answered == self.calls and not self.doubled and not self.crowded

    def __str__(self) -> str:
        return (
            f"{self.fault}: {self.answered} of {self.calls} answered, {self.doubled} dispatched "
            f"twice, {self.crowded} with more than one agent"
        )


async def fail(ground: Ground, *, plain: bool) -> Seen:
    """Place calls under each fault, one after the other."""
    instead = PlainRouter(repeats=2) if plain else None
    quick = ground.size == "quick"
    outcomes = []
    async with open_stage(ground, plain=instead) as stage, stage.light_agent("agent"):
        for name in IN_QUICK if plain or quick else FAULTS:
            outcomes.append(await _calls(stage, name, count=2 if quick else 6))
            ground.say(str(outcomes[-1]))
    return Seen(all(one.good for one in outcomes), "; ".join(map(str, outcomes)))


async def _calls(stage: Stage, name: str, count: int) -> Outcome:
    fault = FAULTS[name]
    stage.to_livekit.requests = {CREATE: fault}
    async with stage.calls(count, every_s=0.1) as lines:
        await asyncio.sleep(FAULTY_S)
        stage.to_livekit.requests = {}
        await settle(lines, timeout_s=SETTLE_S)
        answered = [line for line in lines if line.answered]
        standing = [await stage.dispatches(line.phone.room) for line in answered]
        await asyncio.sleep(HANG_S if isinstance(fault, Hang) and fault.does else LATER_S)
        return Outcome(
            name,
            calls=count,
            answered=sum(len(line.publishing) == 1 for line in answered),
            doubled=sum(one > 1 for one in standing),
            crowded=sum(len(line.voices) > 1 for line in lines),
        )


SCENARIOS = (
    Scenario(
        name="livekit_api",
        fault="LiveKit's API at CreateDispatch: 503, hangs 20 s, answer lost after doing it",
        must="one agent each",
        run=partial(fail, plain=False),
        controls=(
            Control(
                name="blind_repeat",
                bad="a router that does the request again when no answer comes",
                run=partial(fail, plain=True),
            ),
        ),
        needs_livekit=True,
    ),
)
