"""Whose our numbers are, and what comes of it for records and the journal, on each database."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from personas.phone import read_dialed
from personas.reports import CallReport, Fact, Opened, numbered
from router.db import Store
from router.records.archive import FactFilter
from router.records.calls import Calls, Dispatched
from router.records.entries import Which, deliveries_of
from router.records.journal import Delivered, Journal
from router.records.numbers import Numbers
from router.routing import Event, Participant
from tests.fakes_personas import FakeClock

NUMBER, OTHER, CALLER = "+4930901820", "+13125550100", "+13125550123"


@dataclass
class Bench:
    store: Store
    clock: FakeClock
    numbers: Numbers
    calls: Calls


@pytest.fixture
async def bench(store_url: str) -> AsyncIterator[Bench]:
    store, clock = await Store(store_url).open(), FakeClock()
    numbers = Numbers(store, clock=clock)
    yield Bench(store, clock, numbers, Calls(store, clock=clock, tenant_of=numbers.tenant_of))
    await store.aclose()


def dispatched(call_id: str, number: str | None) -> Dispatched:
    return Dispatched(
        call_id=call_id,
        attempt=1,
        room="call-x",
        room_sid=f"RM_{call_id}",
        sip_call_id=None,
        caller=CALLER,
        dialed_number=number,
        trunk=None,
        persona_name="Mia",
        persona_version="v",
        persona_origin="api",
        persona_because="asked",
        language="en",
        started_at=1.0,
    )


async def test_a_number_is_the_first_tenants_until_it_is_given_away(bench: Bench) -> None:
    assert bench.numbers.tenant_of(NUMBER) == "default"

    await bench.numbers.assign(NUMBER, "north")
    await bench.numbers.assign(OTHER, "south")

    assert bench.numbers.tenant_of(None, NUMBER) == "north"
    assert [one.number for one in await bench.numbers.list("north")] == [NUMBER]
    assert await bench.numbers.release(NUMBER)
    assert not await bench.numbers.release(NUMBER)
    assert bench.numbers.tenant_of(NUMBER) == "default"
    assert [one.tenant for one in await bench.numbers.list()] == ["south"]


async def test_another_replica_hears_of_it(bench: Bench) -> None:
    other = Numbers(bench.store, clock=bench.clock)
    for tenant in ("north", "south"):
        bench.clock.advance(1)
        await bench.numbers.assign(NUMBER, tenant)
        await other.load()

        assert other.tenant_of(NUMBER) == tenant


async def test_a_call_and_what_is_told_in_it_are_of_the_tenant_of_the_dialed_number(
    bench: Bench,
) -> None:
    await bench.numbers.assign(NUMBER, "north")
    bench.calls.dispatched(dispatched("c1", NUMBER))
    await bench.store.flush()
    fact = numbered(Fact(id="f1", category="x", information="y"), seq=1, attempt=1, at=2.0)
    await bench.calls.take(CallReport(call_id="c1", events=(fact,)))
    await bench.numbers.assign(NUMBER, "south")  # a number that changes hands takes nothing along

    assert await bench.calls.get("c1", "default") is None
    assert await bench.calls.get("c1", "south") is None
    assert await bench.calls.get("c1", "north") is not None
    assert len((await bench.calls.facts(FactFilter(tenant="north"))).rows) == 1
    assert (await bench.calls.facts(FactFilter(tenant="default"))).rows == ()


async def test_a_call_that_its_agent_opened_is_its_tenants_once_it_says_its_number(
    bench: Bench,
) -> None:
    await bench.numbers.assign(NUMBER, "north")
    opened = Opened(room="r", caller=CALLER, dialed_number=NUMBER, direction="inbound")
    fact = Fact(id="f1", category="x", information="y")
    late = [numbered(event, seq=seq, attempt=1, at=2.0) for seq, event in ((2, fact), (1, opened))]
    for event in late:  # the fact comes first
        await bench.calls.take(CallReport(call_id="c1", events=(event,)))

    found = await bench.calls.get("c1", "north")
    facts = (await bench.calls.facts(FactFilter(tenant="north"))).rows

    assert found is not None
    assert [(one.information, one.caller) for one in facts] == [("y", CALLER)]


async def test_what_happens_in_the_room_of_a_call_is_of_its_tenant_too(bench: Bench) -> None:
    await bench.numbers.assign(NUMBER, "north")
    journal = Journal(
        bench.store, max_rows=100, days=1, clock=bench.clock, tenant_of=bench.numbers.tenant_of
    )
    dialed = read_dialed(NUMBER, None)
    agent = Participant("PA_a", "agent", "AGENT", {})
    caller = Participant("PA_c", "sip", "SIP", {"sip.trunkPhoneNumber": OTHER})
    for room, who, number in (
        ("RM_1", caller, dialed),
        ("RM_1", agent, None),
        ("RM_2", agent, None),
    ):
        event = Event(f"EV_{room}{who.sid}", "participant_joined", 1.0, "r", room, who)
        journal.note(Delivered(1.0, 200, "ignored", "", "ignore", event, number))
    assert await journal.write()

    theirs = (await deliveries_of(bench.store, "north", Which())).rows
    first = (await deliveries_of(bench.store, "default", Which())).rows

    assert [one.room_sid for one in theirs] == ["RM_1", "RM_1"]
    assert [one.room_sid for one in first] == ["RM_2"]
    assert (await deliveries_of(bench.store, "default", Which(id=theirs[0].id))).rows == ()
