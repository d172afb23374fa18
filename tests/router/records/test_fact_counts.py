"""Counts of facts that the database keeps, on both: the same as counting the facts."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

import router.migrations
from personas.reports import Fact, Opened
from router.db import Store
from router.errors import StoreUnavailable
from router.records.call_tables import calls, drop_empty_counts, fact_counts, facts
from router.records.calls import Calls
from router.records.retention import delete_calls, delete_words
from tests.router.records.test_calls import Bench, event

NORTH = "+493090182001"


@pytest.fixture
async def bench(store_url: str) -> AsyncIterator[Bench]:
    store = await Store(store_url).open()
    made = Bench(store)
    made.calls = Calls(
        store,
        clock=made.clock,
        tenant_of=lambda *numbers: "north" if NORTH in numbers else "default",
    )
    yield made
    await store.aclose()


def _by_category(connection: sa.Connection, tenant: str) -> dict[str, int]:
    category = facts.c.category
    select = sa.select(category, sa.func.count()).where(facts.c.tenant == tenant)
    return {row[0]: row[1] for row in connection.execute(select.group_by(category))}


async def counted(bench: Bench) -> dict[str, dict[str, int]]:
    """Return what is kept by tenant and category; it has to be what there is."""
    kept = {}
    for tenant in ("default", "north"):
        totals = await bench.calls.totals(tenant)
        rows = await bench.store.read(partial(_by_category, tenant=tenant))
        assert totals.facts_by_category == rows
        assert totals.facts == sum(totals.facts_by_category.values())
        kept[tenant] = totals.facts_by_category
    return kept


def told(seq: int, category: str) -> Fact:
    return Fact(id=f"f{seq}", category=category, information="yes")


async def tell(bench: Bench, call_id: str, *categories: str) -> None:
    events = [event(seq, told(seq, one)) for seq, one in enumerate(categories, 1)]
    await bench.tell(*events, call_id=call_id)


async def test_facts_are_counted_once_and_no_more_when_they_are_deleted(bench: Bench) -> None:
    await tell(bench, "c1", "request", "request", "schedule")
    await tell(bench, "c1", "request", "request", "schedule", "personal_info")  # once more
    await tell(bench, "c2", "request")
    await tell(bench, "c3", "schedule")
    now = {"personal_info": 1, "request": 3, "schedule": 2}
    assert await counted(bench) == {"default": now, "north": {}}

    await bench.store.write(lambda c: delete_words(c, ["c1"], ["fact"]))
    assert (await counted(bench))["default"] == {"request": 1, "schedule": 1}
    await bench.store.write(lambda c: delete_calls(c, ["c1", "c2", "c3"]))
    assert (await counted(bench))["default"] == {}

    await bench.store.write(drop_empty_counts)
    rows = await bench.store.read(lambda c: c.execute(sa.select(fact_counts)).all())
    assert rows == []  # not even the names of categories


async def test_facts_of_a_call_that_turns_out_to_be_another_tenants_go_along(bench: Bench) -> None:
    await tell(bench, "c1", "request", "schedule")
    await tell(bench, "c2", "request")
    await bench.tell(event(3, Opened(dialed_number=NORTH, caller="+13125550107")), call_id="c1")

    now = {"default": {"request": 1}, "north": {"request": 1, "schedule": 1}}
    assert await counted(bench) == now


async def test_a_transaction_that_is_not_committed_counts_nothing(bench: Bench) -> None:
    await tell(bench, "c1", "request")

    def fail(connection: sa.Connection) -> None:
        connection.execute(sa.delete(facts))
        connection.execute(sa.text("SELECT nothing FROM nowhere"))

    with pytest.raises(StoreUnavailable):
        await bench.store.write(fail)
    assert (await counted(bench))["default"] == {"request": 1}


async def test_many_who_write_and_delete_at_once_count_right(bench: Bench, store_url: str) -> None:
    others = [await Store(store_url).open() for _ in range(2)]
    try:
        benches = [bench, *(Bench(store) for store in others)]
        kinds = ("request", "schedule", "personal_info")
        await asyncio.gather(
            *(
                tell(benches[number % 3], f"c{number}", *kinds[number % 3 :], *kinds)
                for number in range(30)
            )
        )
        gone = [[f"c{number}"] for number in range(10)]
        await asyncio.gather(
            *(
                benches[n % 3].store.write(lambda c, ids=ids: delete_calls(c, ids))  # type: ignore[misc] # mypy cannot infer a lambda with a default
                for n, ids in enumerate(gone)
            ),
            *(tell(benches[number % 3], f"c{number}", *kinds) for number in range(30, 40)),
        )
    finally:
        for store in others:
            await store.aclose()
    assert sum((await counted(bench))["default"].values()) > 0


async def test_facts_from_before_the_counts_are_counted_by_the_upgrade(bench: Bench) -> None:
    await tell(bench, "c1", "request", "request", "schedule")

    def step(connection: sa.Connection, revision: str) -> None:
        config = Config()
        config.set_main_option("script_location", str(Path(router.migrations.__file__).parent))
        config.attributes["connection"] = connection
        (command.downgrade if revision != "head" else command.upgrade)(config, revision)

    await bench.store.write(lambda c: step(c, "0017"))
    await bench.store.write(lambda c: c.execute(sa.delete(calls)))
    await bench.store.write(lambda c: c.execute(sa.delete(facts).where(facts.c.seq == 1)))
    await bench.store.write(lambda c: step(c, "head"))
    assert (await counted(bench))["default"] == {"request": 1, "schedule": 1}
