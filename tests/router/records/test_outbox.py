"""The outbox, on both databases: nothing lost, nothing double, nothing out of order."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import closing

import psycopg
import pytest
import sqlalchemy as sa

from personas.reports import (
    AnyCallEvent,
    CallReport,
    Closed,
    Event,
    Fact,
    Opened,
    PersonaApplied,
    Turn,
    numbered,
)
from router.db import Store
from router.records.calls import Calls
from router.records.journal import Delivered, Journal
from router.records.outbox import PRUNE_CHUNK, Notice, Outbox, Position, Read, note
from router.routing import Event as Webhook
from router.routing import Participant
from tests.router.locks import writing_elsewhere
from tests.router.records.test_calls import NOW, FakeClock, dispatched

START = Position(0, 0)


class Bench:
    def __init__(self, store: Store) -> None:
        self.store = store
        self.clock = FakeClock()
        self.outbox = Outbox(store, clock=self.clock, max_rows=1_000, kept_s=60)

    async def note(self, *kinds: str) -> None:
        made = [Notice.of(kind, self.clock(), "default") for kind in kinds]
        await self.store.write(lambda connection: note(connection, made))

    async def read(self, after: Position = START, limit: int = 1_000) -> Sequence[Read]:
        found = await self.outbox.after(after, limit, lambda one: one)
        return [one for one in found if one.notice.kind != "outbox.began"]

    async def kinds(self, after: Position = START) -> list[str]:
        return [one.notice.kind for one in await self.read(after)]


@pytest.fixture
async def bench(store_url: str) -> AsyncIterator[Bench]:
    store = await Store(store_url).open()
    yield Bench(store)
    await store.aclose()


def event(seq: int, what: Event) -> AnyCallEvent:
    return numbered(what, seq=seq, attempt=1, at=NOW + seq)


async def test_readers_go_on_where_they_were(bench: Bench) -> None:
    await bench.note("one", "two")
    first = await bench.read(limit=2)
    await bench.note("three", "four")

    rest = await bench.read(first[-1].position)

    assert [one.notice.kind for one in [*first, *rest]] == ["one", "two", "three", "four"]
    assert await bench.outbox.head() == rest[-1].position
    assert await bench.kinds(rest[-1].position) == []


async def test_a_change_that_is_rolled_back_is_not_told(bench: Bench) -> None:
    def fail(connection: sa.Connection) -> None:
        note(connection, [Notice.of("never", NOW, "default")])
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await bench.store.write(fail)
    await bench.note("after")

    assert await bench.kinds() == ["after"]


@pytest.mark.postgres
async def test_a_lower_id_that_is_committed_later_is_not_lost(
    request: pytest.FixtureRequest,
) -> None:
    url = request.getfixturevalue("postgres_server").new_database()
    store = await Store(url).open()
    bench = Bench(store)
    insert = b"INSERT INTO outbox (at, tenant, kind) VALUES (0, 'default', %s)"
    with closing(psycopg.connect(url)) as slow, closing(psycopg.connect(url)) as quick:
        slow.execute(insert, ("slow",))
        quick.execute(insert, ("quick",))
        quick.commit()

        held_up = await bench.read()
        slow.commit()
        both = await bench.read()

    assert held_up == []
    assert [one.notice.kind for one in both] == ["slow", "quick"]
    await store.aclose()


async def test_what_is_old_goes_and_who_asks_for_it_hears_that_it_is_gone(bench: Bench) -> None:
    await bench.note("one", "two")
    early = (await bench.read())[0].position
    assert await bench.outbox.has_all_after(early)
    bench.clock.now += 61
    await bench.note("three")

    while await bench.outbox.prune():
        pass

    assert await bench.kinds() == ["two", "three"]
    assert not await bench.outbox.has_all_after(early)
    assert await bench.outbox.has_all_after((await bench.read())[0].position)
    assert not await bench.outbox.has_all_after(Position(10**9, 10**9))


async def test_there_are_never_many_more_than_wanted(bench: Bench) -> None:
    await bench.note(*["x"] * (1_000 + PRUNE_CHUNK + 7))

    assert await bench.outbox.prune() == PRUNE_CHUNK
    assert await bench.outbox.prune() == 7
    assert await bench.outbox.prune() == 0
    assert len(await bench.read(limit=5_000)) == 1_001


async def test_ids_are_never_given_twice(bench: Bench) -> None:
    await bench.note("one")
    before = await bench.outbox.head()
    await bench.store.write(lambda connection: connection.execute(sa.text("DELETE FROM outbox")))

    await bench.note("two")

    assert await bench.outbox.head() > before


@pytest.mark.parametrize(
    "text", ["", "1", "1-", "-1", "1-x", "1--2", "٣-1", f"1-{2**63}", "1" * 99]
)
def test_what_is_no_position_is_none(text: str) -> None:
    assert Position.read(text) is None
    assert Position.read("7-21") == Position(7, 21)


async def test_a_call_is_told_from_its_beginning_to_its_end(bench: Bench) -> None:
    calls = Calls(bench.store, clock=bench.clock)
    calls.dispatched(dispatched())
    await bench.store.flush()
    told = (
        event(1, Opened(room="room-c1", answered_at=NOW + 0.5)),
        event(2, PersonaApplied(version="sha256:two", origin="api", because="!", name="Tom")),
        event(3, Turn(by="agent", text="Hello.")),
        event(4, Fact(id="f1", category="qualification", information="interested")),
        event(5, Closed(reason="bye", disposition="answered", duration_s=4.0, facts=1)),
    )
    await calls.take(CallReport(call_id="c1", events=told))
    await calls.take(CallReport(call_id="c1", events=told))  # again: nothing new

    found = await bench.read()

    assert [one.notice.kind for one in found] == [
        "call.began",
        "call.answered",
        "call.changed",
        "turn",
        "fact",
        "call.ended",
    ]
    assert {one.notice.call_id for one in found} == {"c1"}
    assert json.loads(found[3].told or "")["text"] == "Hello."
    assert json.loads(found[5].notice.body or "")["disposition"] == "answered"
    assert not any("Hello" in (one.notice.body or "") for one in found)


async def test_the_end_that_the_router_sees_is_told_once(bench: Bench) -> None:
    calls = Calls(bench.store, clock=bench.clock)
    await calls.take(CallReport(call_id="c1", events=(event(1, Opened(room="r")),)))

    await calls.ended(["c1"], "the room is gone")
    await calls.ended(["c1"], "the room is gone")

    assert await bench.kinds() == ["call.began", "call.ended"]


async def test_a_call_that_was_begun_while_the_database_was_busy_is_told_too(
    bench: Bench, store_url: str
) -> None:
    calls = Calls(bench.store, clock=bench.clock)
    async with writing_elsewhere(store_url):
        calls.dispatched(dispatched())
    await bench.store.flush()

    assert await bench.kinds() == ["call.began"]


async def test_deliveries_that_are_written_together_are_told_together(bench: Bench) -> None:
    journal = Journal(bench.store, max_rows=100, days=1, clock=bench.clock)
    for status in (200, 503):
        journal.note(Delivered(NOW, status, "dispatched", "because"))

    assert await journal.write()

    (found,) = await bench.read()
    entries = json.loads(found.notice.body or "")["entries"]
    assert [(one["status"], one["verdict"]) for one in entries] == [
        (200, "dispatched"),
        (503, "dispatched"),
    ]


async def test_each_tenant_hears_of_its_own_deliveries(bench: Bench) -> None:
    whose = {"1": "north", "2": "default"}
    journal = Journal(
        bench.store, max_rows=100, days=1, clock=bench.clock, tenant_of=lambda one: whose[one or ""]
    )
    for number, status in (("1", 200), ("2", 201), ("1", 202)):
        caller = Participant("PA_1", "caller", "SIP", {"sip.trunkPhoneNumber": number}, NOW)
        rings = Webhook("EV_1", "participant_joined", NOW, "room", f"RM_{number}", caller, NOW)
        journal.note(Delivered(NOW, status, "dispatched", "because", "answer", rings))

    assert await journal.write()

    told = {one.notice.tenant: json.loads(one.notice.body or "") for one in await bench.read()}
    statuses = {who: [entry["status"] for entry in one["entries"]] for who, one in told.items()}
    assert statuses == {"north": [200, 202], "default": [201]}
