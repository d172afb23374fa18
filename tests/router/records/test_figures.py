"""Figures of a day, on both databases: the same as counting every call."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from personas.reports import Closed, Opened, Problem
from router.db import Store
from router.records.call_tables import calls
from router.records.figures import AGAIN_S, HOUR_S, DayFigures, percentile
from router.records.journal import Delivered, Journal
from tests.router.records.test_calls import NOW, Bench, event


@pytest.fixture
async def bench(store_url: str) -> AsyncIterator[Bench]:
    store = await Store(store_url).open()
    yield Bench(store)
    await store.aclose()


async def call(bench: Bench, number: int, *, ago_s: float, ring_ms: float, **more: Any) -> None:
    at, call_id = bench.clock.now - ago_s, f"c{number}"
    await bench.dispatch(call_id, started_at=at, **more)
    opened = Opened(room="r", answered_at=at + ring_ms / 1000)
    closed = Closed(reason="bye", disposition="answered", duration_s=1.0, facts=0)
    events = (event(1, opened), event(2, Problem(what="slow")), event(3, closed))
    await bench.tell(*events[: 2 + number % 2], call_id=call_id)


async def test_a_day_is_counted_by_persona_origin_end_and_hour(bench: Bench) -> None:
    figures = DayFigures(bench.store, clock=bench.clock)
    for number in range(6):
        ago_s = (number * 5 + 0.5) * HOUR_S  # the last one is of the day before
        await call(bench, number, ago_s=ago_s, ring_ms=100.0 * (number + 1), persona_name="Ann")
    await call(bench, 7, ago_s=60, ring_ms=12_345.6, persona_origin="house")

    day = await figures.of("default")

    assert (day.calls, day.with_problems) == (6, 6)
    assert day.by_persona == [("Ann", 5), ("Sarah", 1)]
    assert day.by_origin == [("api", 5), ("house", 1)]
    assert dict(day.by_disposition) == {"": 3, "answered": 3}
    assert (day.ring_p50_ms, day.ring_p95_ms) == (300.0, 12_300.0)
    assert sum(hour.calls for hour in day.hours) == 6
    assert len(day.hours) == 25
    assert day.hours[-1].at == NOW // HOUR_S * HOUR_S
    assert (await figures.of("north")).calls == 0


async def test_answers_to_webhooks_are_counted_by_the_hour_of_their_delivery(
    bench: Bench,
) -> None:
    figures = DayFigures(bench.store, clock=bench.clock)
    journal = Journal(bench.store, max_rows=1_000, days=7, clock=bench.clock)
    for ago_h, answer_ms in ((0, 3.219), (5, 4.5), (9, 250.77), (23, 1_204.9), (30, 9_000.0)):
        at = bench.clock.now - ago_h * HOUR_S - 1
        journal.note(Delivered(at, 200, "dispatched", "", answer_ms=answer_ms))
        journal.note(Delivered(at, 200, "ignored", "", tenant="north"))
    assert await journal.write()

    day = await figures.of("default")

    assert (day.calls, day.answer_p50_ms, day.answer_p95_ms) == (0, 4.5, 1_204.0)
    assert (await figures.of("north")).answer_p50_ms is None


async def test_what_is_new_and_what_is_told_late_is_counted(bench: Bench) -> None:
    figures = DayFigures(bench.store, clock=bench.clock)
    await call(bench, 1, ago_s=10 * HOUR_S, ring_ms=100)
    assert (await figures.of("default")).calls == 1

    await call(bench, 2, ago_s=60, ring_ms=100)
    assert (await figures.of("default")).calls == 2
    bench.clock.now += 3 * HOUR_S
    await call(bench, 3, ago_s=3 * HOUR_S + 30, ring_ms=100)  # it began three hours ago
    assert (await figures.of("default")).calls == 3

    await call(bench, 4, ago_s=12 * HOUR_S, ring_ms=100)
    bench.clock.now += AGAIN_S
    assert (await figures.of("default")).calls == 3  # nobody who looks waits for that
    for _ in range(25):  # a few old hours at a time
        await figures.turn()
    assert (await figures.of("default")).calls == 4
    bench.clock.now += 14 * HOUR_S
    assert (await figures.of("default")).calls == 2


async def test_the_first_look_finds_the_day_counted_for_every_tenant(bench: Bench) -> None:
    for number, tenant in enumerate(("default", "north", "south")):
        await call(bench, number, ago_s=(5 + number) * HOUR_S, ring_ms=100, tenant=tenant)
    figures = DayFigures(bench.store, clock=bench.clock)
    await figures.turn()
    await bench.store.write(lambda c: c.execute(sa.delete(calls)))

    for tenant in ("default", "north", "south"):
        assert (await figures.of(tenant)).calls == 1  # nothing of these hours is read again


async def test_counting_rests_while_calls_ring_and_outlives_a_database_that_is_away(
    bench: Bench, tmp_path: Path
) -> None:
    asked = asyncio.Event()

    def busy() -> bool:
        asked.set()
        return True

    figures = DayFigures(bench.store, clock=bench.clock)
    await call(bench, 1, ago_s=5 * HOUR_S, ring_ms=100)
    task = asyncio.create_task(figures.run(busy=busy))
    await asked.wait()
    task.cancel()
    await asyncio.wait({task})
    assert (await figures.of("default")).calls == 1

    store = Store(f"sqlite:///{tmp_path / 'empty.db'}")  # without a schema
    await DayFigures(store, clock=bench.clock).turn()
    await store.aclose()


def test_a_percentile_is_the_value_that_so_many_do_not_exceed() -> None:
    rings = Counter({100: 94, 200: 1, 900: 5})

    assert (percentile(rings, 0.5), percentile(rings, 0.95), percentile(rings, 1)) == (
        100,
        200,
        900,
    )
    assert percentile(Counter(), 0.5) is None
