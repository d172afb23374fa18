"""Who asks not to be called is not, even in the middle of it, on each database."""

from collections.abc import AsyncIterator

import pytest

from router.db import Store
from router.records.attempts import Attempt, Attempts
from router.records.do_not_call import EVERYWHERE, DoNotCall, campaign_scope
from tests.faults import opt_outs
from tests.faults.opt_outs import NOON, judge, order_for

NUMBER = "+13125550101"


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[Store]:
    store = await Store(store_url).open()
    yield store
    await store.aclose()


def attempts_of(store: Store) -> Attempts:
    made = iter(range(100))
    return Attempts(
        store,
        clock=lambda: NOON,
        new_id=lambda: f"{next(made):032x}",
        owner="one",
        judge=judge,
    )


@pytest.mark.parametrize(
    ("scope", "tenant", "stops"),
    [
        ("tenant", "default", True),
        (EVERYWHERE, "other", True),
        (campaign_scope("default"), "default", True),
        (campaign_scope("another"), "default", False),
        ("tenant", "other", False),
    ],
)
async def test_a_wish_stops_the_call_that_is_about_to_be_made(
    store: Store, scope: str, tenant: str, stops: bool
) -> None:
    attempts = attempts_of(store)
    claimed = await attempts.claim(order_for(NUMBER))
    assert isinstance(claimed, Attempt)
    await DoNotCall(store, clock=lambda: NOON).add(NUMBER, source="api", scope=scope, tenant=tenant)

    assert await attempts.dialing(claimed.attempt_id) is not stops


async def test_a_wish_stops_what_rings_and_no_conversation(store: Store) -> None:
    attempts, wishes = attempts_of(store), DoNotCall(store, clock=lambda: NOON)
    ringing, talking = "+13125550102", "+13125550103"
    for number in (ringing, talking):
        claimed = await attempts.claim(order_for(number))
        assert isinstance(claimed, Attempt)
        assert await attempts.dialing(claimed.attempt_id)
        if number == talking:
            await attempts.answered(claimed.attempt_id, NOON)

    await wishes.add_all([ringing, talking], source="csv")

    found = {one.number: one.hang_up for one in await attempts.open()}
    assert found == {ringing: "asked not to be called", talking: None}


async def test_of_many_who_opt_out_while_they_are_called_none_is_dialed_after(
    store_url: str,
) -> None:
    board, ringing = await opt_outs.on(store_url, 60)

    assert len(board.wished) == 60
    assert board.claimed
    assert (board.late, ringing) == (0, 0)
