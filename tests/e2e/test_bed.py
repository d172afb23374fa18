"""The test bed itself: one call goes the whole way."""

from router.demo.timeline import CallTimes
from tests.e2e.bed import Bed

NUMBER = "+13125550101"
PERSONAS = {
    "13125550101": {
        "persona_name": "Ann",
        "personality": "You are Ann of Example Limited.",
        "welcome_message": "Hello, this is Ann.",
    }
}


async def test_a_caller_is_greeted_by_the_persona_of_the_dialed_number(bed: Bed) -> None:
    async with bed.phone(NUMBER) as caller:
        heard = await caller.wait_for_words(timeout_s=30)

    assert heard[0].text == "Hello, this is Ann."
    assert bed.persona_api.requests["13125550101"] == 1
    assert None not in [getattr(caller.times, name) for name in CallTimes.__slots__]


async def test_the_next_test_of_a_module_finds_the_same_bed_with_new_counters(bed: Bed) -> None:
    assert not bed.persona_api.requests

    async with bed.phone(NUMBER) as caller:
        await caller.wait_for_answer(timeout_s=30)

    assert len(caller.agents) == 1
