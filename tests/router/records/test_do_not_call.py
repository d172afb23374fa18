"""The do-not-call list on each database."""

from collections.abc import AsyncIterator

import pytest

from router.db import Store
from router.records.do_not_call import DoNotCall, campaign_scope
from tests.fakes_personas import FakeClock

ONE, TWO = "+13125550101", "+13125550102"


@pytest.fixture
async def entries(store_url: str) -> AsyncIterator[DoNotCall]:
    store = await Store(store_url).open()
    yield DoNotCall(store, clock=FakeClock())
    await store.aclose()


async def test_the_first_wish_stands(entries: DoNotCall) -> None:
    assert await entries.add(ONE, source="api", reason="asked to")
    assert not await entries.add(ONE, source="cli", reason="again")

    wish = await entries.holds(ONE)

    assert wish is not None
    assert (wish.source, wish.reason) == ("api", "asked to")


async def test_of_many_those_that_are_new_are_counted(entries: DoNotCall) -> None:
    many = [f"+1312555{number:04}" for number in range(2_345)]
    await entries.add(many[0], source="api")

    assert await entries.add_all(many, source="csv") == len(many) - 1
    assert await entries.add_all(many, source="csv") == 0
    assert await entries.add_all((), source="csv") == 0
    assert await entries.holds(many[-1]) is not None


async def test_a_wish_is_taken_back_where_it_was_made(entries: DoNotCall) -> None:
    await entries.add(ONE, source="api", scope=campaign_scope("spring"))

    assert not await entries.remove(ONE)
    assert await entries.remove(ONE, scope=campaign_scope("spring"))
    assert await entries.holds(ONE, campaign_id="spring") is None


async def test_a_tenant_has_a_list_of_its_own(entries: DoNotCall) -> None:
    await entries.add(ONE, source="api", tenant="acme")

    assert await entries.holds(ONE) is None
    assert await entries.holds(ONE, tenant="acme") is not None
    assert not await entries.remove(ONE)
    assert (await entries.page()).rows == ()


async def test_pages_follow_one_another(entries: DoNotCall) -> None:
    await entries.add_all([ONE, TWO, "+13125550103"], source="csv")

    first = await entries.page(limit=2)
    rest = await entries.page(limit=2, cursor=first.next)

    assert [one.number for one in (*first.rows, *rest.rows)] == ["+13125550103", TWO, ONE]
    assert rest.next is None
    assert [one.number for one in (await entries.page(number=TWO)).rows] == [TWO]
    assert (await entries.page(scope=campaign_scope("spring"))).rows == ()
