"""What an agent is given of before, on both databases."""

from collections.abc import AsyncIterator

import pytest
import sqlalchemy as sa

from personas.model import Persona
from personas.reports import CallReport, Event, Fact, Opened, numbered
from router.db import Store
from router.recall import Recall
from router.records.calls import Calls

NOW = 1_800_000_000.0
CALLER = "+4930901820"
PLAIN = Persona.from_document({"personality": "You are brief."})
REMEMBERS = Persona.from_document({"personality": "You are brief.", "remember": True})


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[Store]:
    store = await Store(store_url).open()
    calls = Calls(store, clock=lambda: NOW)
    for number, call_id in enumerate(("before", "now")):
        told: list[Event] = [
            Opened(room="r", caller=CALLER),
            Fact(id="1", category="personal_info", information=f"{call_id}: first"),
            Fact(id="2", category="debt_info", information=f"{call_id}: second"),
        ]
        events = [
            numbered(event, seq=seq, attempt=1, at=NOW + 100 * number + seq)
            for seq, event in enumerate(told, 1)
        ]
        await calls.take(CallReport(call_id=call_id, events=tuple(events)))
    yield store
    await store.aclose()


async def told(
    store: Store, persona: Persona, *, caller: str | None = CALLER, resume: bool = False
) -> list[str]:
    recall = Recall(Calls(store, clock=lambda: NOW))
    memory = await recall.memory(persona, call_id="now", caller=caller, resume=resume)
    return [fact["information"] for fact in memory]


async def test_a_persona_that_remembers_is_given_the_callers_earlier_calls(store: Store) -> None:
    assert await told(store, REMEMBERS) == ["before: first", "before: second"]


async def test_a_persona_that_does_not_is_given_nothing(store: Store) -> None:
    assert await told(store, PLAIN) == []
    assert await told(store, REMEMBERS, caller=None) == []
    assert await told(store, REMEMBERS, caller="+13125550123") == []


@pytest.mark.parametrize("caller", [CALLER, None])
async def test_who_takes_a_call_over_is_given_what_was_told_in_it(
    store: Store, caller: str | None
) -> None:
    assert await told(store, PLAIN, caller=caller, resume=True) == ["now: first", "now: second"]


async def test_a_database_that_is_away_costs_the_memory_and_not_the_call(store: Store) -> None:
    await store.write(lambda connection: connection.execute(sa.text("DROP TABLE facts")))

    assert await told(store, REMEMBERS) == []
