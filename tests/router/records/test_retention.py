"""Every kind of data goes when it is old, on each database, and what is young stays."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import sqlalchemy as sa

from personas.reports import CallReport, Closed, Event, Fact, Opened, ToolCall, Turn, numbered
from router.db import Store
from router.metrics import Metrics
from router.records.accounts import audit
from router.records.appointments import appointments
from router.records.attempts import call_attempt
from router.records.calls import Calls
from router.records.erasures import erased_calls
from router.records.hooks import Hooks
from router.records.leads import Leads
from router.records.leases import Lease
from router.records.retention import CHUNK, DAY_S, kinds
from router.records.runs import campaign_runs, run_waits
from router.sweeper import AFRESH_S, Sweeper
from tests.fakes_personas import FakeClock
from tests.hook_receiver import SEAL

NOW = 1_800_000_000.0
CSV = b"phone,prospect_name\n+13125550101,Ruth\n+13125550102,Ben\n"


@dataclass(frozen=True)
class Kept:
    """Settings that differ from kind to kind."""

    records_days: float = 90
    transcripts_days: float = 10
    facts_days: float = 20
    leads_days: float = 30
    attempts_days: float = 40
    notices_days: float = 50
    appointments_days: float = 60
    audit_days: float = 70


class Bench:
    def __init__(self, store: Store) -> None:
        self.store = store
        self.clock = FakeClock(NOW)
        self.metrics = Metrics()

    def sweeper(self, owner: str = "a") -> Sweeper:
        return Sweeper(
            store=self.store,
            lease=Lease(self.store, "retention", owner=owner, for_s=150, clock=self.clock),
            kinds=kinds(Kept()),
            metrics=self.metrics,
            clock=self.clock,
        )

    async def call(self, call_id: str = "c1", *events: Event) -> None:
        said = events or (
            Opened(direction="inbound", caller="+13125550101"),
            Turn(by="caller", text="I am Ruth"),
            ToolCall(name="look", ok=True, detail="Ruth"),
            Fact(id="f1", category="qualification", information="hot"),
            Closed(reason="done", disposition="answered"),
        )
        at = self.clock()
        made = tuple(numbered(one, seq=n, attempt=1, at=at) for n, one in enumerate(said, 1))
        await Calls(self.store, clock=self.clock).take(CallReport(call_id=call_id, events=made))

    async def count(self, table: str) -> int:
        text = sa.text(f"SELECT count(*) FROM {table}")  # noqa: S608
        return int(await self.store.read(lambda c: c.execute(text).scalar_one()))

    async def insert(self, table: sa.Table, **values: object) -> None:
        row = {
            column.name: values.get(column.name, _blank(column))
            for column in table.c
            if column.name in values or not column.nullable
        }
        if table is audit:
            row.pop("id")
        await self.store.write(lambda c: c.execute(sa.insert(table), row))


def _blank(column: sa.Column[object]) -> object:
    return column.type.python_type()


@pytest.fixture
async def bench(store_url: str) -> AsyncIterator[Bench]:
    store = await Store(store_url).open()
    yield Bench(store)
    await store.aclose()


async def test_words_go_first_and_a_repeated_report_does_not_bring_them_back(bench: Bench) -> None:
    await bench.call()
    calls = Calls(bench.store, clock=bench.clock)
    told_at = bench.clock()
    sweeper = bench.sweeper()

    bench.clock.now = NOW + 11 * DAY_S
    await sweeper.turn()
    assert [turn.text for turn in await calls.transcript("c1")] == [""]
    assert await bench.count("facts") == 1

    bench.clock.now = NOW + 21 * DAY_S
    await sweeper.turn()
    assert await bench.count("facts") == 0
    record = await calls.get("c1", "default")
    assert record is not None
    assert (record.qualification, record.turns, record.disposition) == (None, 1, "answered")

    bench.clock.now = told_at
    await bench.call()
    everything = sa.text("SELECT body FROM call_events")
    bodies = await bench.store.read(lambda c: c.execute(everything).scalars().all())
    assert len(bodies) == 5
    assert not any("Ruth" in body or "hot" in body for body in bodies)
    assert await bench.count("facts") == 0


async def test_old_calls_go_with_all_that_is_known_of_them(bench: Bench) -> None:
    for number in range(CHUNK + 1):
        rang = Opened(direction="outbound", dialed_number="+13125550101")
        await bench.call(f"c{number}", rang, Closed(reason="done", disposition="answered"))
    assert await bench.count("rung") == CHUNK + 1
    bench.clock.now = NOW + 91 * DAY_S
    await bench.call("young")
    await bench.call("open", Opened(direction="inbound"))

    await bench.sweeper().turn()

    assert await bench.count("calls") == 2
    assert await bench.count("call_events") == 6
    assert await bench.count("rung") == 0
    assert await bench.count("facts") == 1
    assert bench.metrics.deleted["calls"]._value.get() == CHUNK + 1


async def test_an_old_list_goes_unless_it_is_being_called(bench: Bench) -> None:
    leads = Leads(bench.store, clock=bench.clock, region="US")
    await leads.add("default", "old.csv", CSV)
    called, _ = await leads.add("default", "called.csv", CSV)
    await bench.insert(
        campaign_runs, tenant="default", campaign="spring", list_id=called.id, state="paused"
    )
    bench.clock.now = NOW + 31 * DAY_S
    await leads.add("default", "young.csv", CSV)

    await bench.sweeper().turn()

    assert [found.name for found in await leads.lists("default")] == ["called.csv", "young.csv"]
    assert await bench.count("leads") == 4


async def test_dials_notices_appointments_and_the_audit_have_their_days(bench: Bench) -> None:
    async def fill(name: str) -> None:
        at = bench.clock()
        settled = {"settled": True, "ended_at": at, "claimed_at": at}
        await bench.insert(call_attempt, attempt_id=name, room=name, **settled)
        await bench.insert(
            appointments, id=name, calendar=name, starts_at=int(at), ends_at=int(at) + 60
        )
        await bench.insert(audit, at=at, did="test")
        hooks.alert("given_up", name, None)
        await bench.store.flush()

    hooks = Hooks(bench.store, clock=bench.clock, seal=SEAL)
    await hooks.add("https://crm.example.org/", ["alert.raised"])
    await fill("old")
    await bench.insert(call_attempt, attempt_id="open", room="open", claimed_at=NOW)
    sweeper, tables = bench.sweeper(), ("call_attempt", "notices", "appointments", "audit")

    left = {}
    for days in (39, 41, 51, 61, 71):
        bench.clock.now = NOW + days * DAY_S
        await sweeper.turn()
        left[days] = [await bench.count(table) for table in tables]
    assert left == {
        39: [2, 1, 1, 1],
        41: [1, 1, 1, 1],
        51: [1, 0, 1, 1],
        61: [1, 0, 0, 1],
        71: [1, 0, 0, 0],
    }

    await fill("young")
    await sweeper.turn()
    assert [await bench.count(table) for table in tables] == [2, 1, 1, 1]


async def test_runs_that_are_over_erased_ids_and_empty_counts_go_too(bench: Bench) -> None:
    for campaign, state in (("autumn", "idle"), ("spring", "paused")):
        run = {"run_id": campaign, "tenant": "default", "campaign": campaign, "changed_at": NOW}
        await bench.insert(campaign_runs, state=state, **run)
        await bench.insert(run_waits, run_id=campaign, position=1)
    await bench.insert(erased_calls, call_id="c0", at=NOW)
    await bench.call()
    sweeper, tables = bench.sweeper(), ("campaign_runs", "run_waits", "erased_calls", "fact_counts")

    left = {}
    for days in (19, 41, 91):
        bench.clock.now = NOW + days * DAY_S
        await sweeper.turn()
        left[days] = [await bench.count(table) for table in tables]

    assert left == {19: [2, 2, 1, 1], 41: [1, 1, 1, 0], 91: [1, 1, 0, 0]}


async def test_one_replica_sweeps_at_a_time(bench: Bench) -> None:
    await bench.call()
    assert await bench.sweeper("b").lease.hold()
    bench.clock.now = NOW + 91 * DAY_S
    other = bench.sweeper("a")
    assert await bench.sweeper("b").lease.hold()

    await other.turn()
    assert await bench.count("calls") == 1

    await bench.sweeper("b").lease.give_up()
    await other.turn()
    assert await bench.count("calls") == 0


async def test_what_came_late_is_found_when_it_is_looked_for_afresh(bench: Bench) -> None:
    sweeper = bench.sweeper()
    sweeper._reached["transcripts"] = NOW + 1
    sweeper._afresh_at = NOW
    await bench.call()
    bench.clock.now = NOW + 11 * DAY_S - AFRESH_S
    sweeper._afresh_at = bench.clock()
    await sweeper.turn()
    calls = Calls(bench.store, clock=bench.clock)
    assert [turn.text for turn in await calls.transcript("c1")] == ["I am Ruth"]

    bench.clock.advance(AFRESH_S)
    await sweeper.turn()
    assert [turn.text for turn in await calls.transcript("c1")] == [""]
