"""What a trunk's single number is known from, and how often LiveKit is asked."""

import asyncio

from router.errors import LiveKitUnavailable
from router.routing import NumberingPlan
from router.trunks import FRESH_S, Trunks
from tests.fakes import FakeTrunk, FakeTrunkDirectory
from tests.fakes_personas import FakeClock

DID, OTHER = "+13125550100", "+4930901820"


async def test_what_the_operator_wrote_wins_over_what_livekit_says() -> None:
    directory = FakeTrunkDirectory([FakeTrunk("ST_1", [DID]), FakeTrunk("ST_2", [DID])])
    plan = NumberingPlan(default_region="US", number_by_trunk={"ST_1": OTHER})

    learned = await Trunks(plan, directory, clock=FakeClock()).learn()

    assert learned.number_by_trunk == {"ST_1": OTHER, "ST_2": DID}
    assert learned.default_region == "US"


async def test_many_calls_at_once_ask_once_and_again_after_a_while() -> None:
    directory, clock = FakeTrunkDirectory(), FakeClock()
    trunks = Trunks(NumberingPlan(), directory, clock=clock)

    await asyncio.gather(*(trunks.learn() for _ in range(20)))
    asked_at_once = directory.asked
    clock.advance(FRESH_S)
    await trunks.learn()

    assert (asked_at_once, directory.asked) == (1, 2)


async def test_a_livekit_that_does_not_answer_is_not_asked_for_each_call() -> None:
    directory = FakeTrunkDirectory(failing=LiveKitUnavailable("timeout"))
    trunks = Trunks(NumberingPlan(number_by_trunk={"ST_1": DID}), directory, clock=FakeClock())

    plans = [await trunks.learn() for _ in range(3)]

    assert directory.asked == 1
    assert plans == [NumberingPlan(number_by_trunk={"ST_1": DID})] * 3


async def test_what_was_known_stays_known_while_livekit_is_away() -> None:
    directory, clock = FakeTrunkDirectory([FakeTrunk("ST_1", [DID])]), FakeClock()
    trunks = Trunks(NumberingPlan(), directory, clock=clock)
    await trunks.learn()
    clock.advance(FRESH_S)
    directory.failing = LiveKitUnavailable("timeout")

    assert (await trunks.learn()).number_by_trunk == {"ST_1": DID}
