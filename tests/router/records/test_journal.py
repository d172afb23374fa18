"""The journal on each database: what it keeps, what it hides, how it stays small."""

import asyncio
import json
import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from personas.contract import Origin
from personas.phone import read_dialed
from router.db import Store
from router.demo.deliveries import joined
from router.errors import DeliveryRefused, StoreUnavailable
from router.events import verify
from router.records import entries
from router.records.journal import (
    BATCH,
    DAY_S,
    MAX_WAITING,
    OTHERS_AT_ONCE,
    REFUSED_AT_ONCE,
    SLICE,
    Delivered,
    Journal,
    journal,
)
from router.routing import Event, Participant
from tests.fakes_personas import FakeClock
from tests.router.locks import writing_elsewhere
from tests.samples import KEY, SECRET, deliveries

DID = "+13125550142"
CALLER = "+4930901820"
NAMES = "Erika Mustermann"


class Bench:
    def __init__(self, store: Store, **limits: Any) -> None:
        self.clock = FakeClock(1_800_000_000.0)
        self.counted: Counter[str] = Counter()
        self.journal = Journal(
            store,
            **{"max_rows": 1_000, "days": 7.0, **limits},
            clock=self.clock,
            count=lambda outcome, rows: self.counted.update({outcome: rows}),
        )

    def delivered(self, event: Event | None = None, **fields: Any) -> Delivered:
        event = event or joined(number=DID, caller=CALLER)
        return Delivered(self.clock(), 200, "dispatched", "it was asked", "answer", event, **fields)


async def rows(store: Store) -> list[dict[str, Any]]:
    found = await store.read(
        lambda connection: connection.execute(sa.select(journal).order_by(journal.c.id)).all()
    )
    return [dict(row._mapping) for row in found]


async def test_a_delivery_is_kept_with_its_verdict_reason_and_timings(store: Store) -> None:
    bench = Bench(store)
    origin = Origin(source="api", version="sha256:1", because="it was asked")
    bench.journal.note(
        bench.delivered(
            dialed=read_dialed(DID),
            call_id="call-1",
            attempt=1,
            origin=origin,
            stages={"verify": 0.2, "claim": 1.5},
        )
    )
    await bench.journal.write()

    [entry] = await entries.last_calls(store, 10)

    assert (entry.verdict, entry.decision, entry.because) == (
        "dispatched",
        "answer",
        "it was asked",
    )
    assert (entry.call_id, entry.attempt, entry.source, entry.version) == (
        "call-1",
        1,
        "api",
        "sha256:1",
    )
    assert entry.stages == {"verify": 0.2, "claim": 1.5}
    assert entry.again is not None
    assert (entry.again.number, entry.again.region) == (DID, "US")
    assert entry.again.event.room == "call-explained"
    assert bench.counted == {"written": 1}


async def test_no_number_name_or_secret_is_in_what_may_be_shown(store: Store) -> None:
    bench = Bench(store)
    for one in (*deliveries(), *deliveries("sip_outbound_deliveries")):
        event = verify(one.authorization, one.body, one.received_at, {KEY: SECRET})
        bench.journal.note(bench.delivered(event, dialed=read_dialed("8655701159", "US")))
    attributes = {
        "sip.ruleID": "SDR_1",
        "sip.phoneNumber": "alice",
        "sip.trunkPhoneNumber": DID,
        "customer": NAMES,
        f"number.{CALLER}": "1",
        "persona.call": f"written by a caller {CALLER}",
    }
    party = Participant("PA_1", f"sip_{CALLER}", "SIP", attributes)
    event = Event("EV_1", "participant_joined", 0.0, f"call-_{CALLER}_x", "RM_1", party)
    bench.journal.note(bench.delivered(event))
    await bench.journal.write()

    kept = await rows(store)

    assert len(kept) == len(deliveries()) + len(deliveries("sip_outbound_deliveries")) + 1
    shown = repr(
        [
            {**row, "replay": None, "body": json.loads(row["body"]) if row["body"] else None}
            for row in kept
        ]
    )
    for canary in (DID, CALLER, "8655701159", "8655701160", "18655550", "sipp", NAMES, "alice"):
        assert canary.lstrip("+") not in shown, canary
    assert "turnPassword" not in json.dumps(kept)
    assert "[…59]" in shown
    assert repr(CALLER) not in repr(await entries.last_calls(store, 1))


async def test_what_deciding_takes_is_kept_of_calls_alone(store: Store) -> None:
    bench = Bench(store)
    bench.journal.note(bench.delivered())
    bench.journal.note(bench.delivered()._replace(decided="ignore", verdict="ignored"))
    await bench.journal.write()

    answered, ignored = await rows(store)

    assert DID in answered["replay"]
    assert ignored["replay"] is None


async def test_an_agents_join_is_found_by_its_call(store: Store) -> None:
    bench = Bench(store)
    agent = Participant("PA_2", "agent-AJ_1", "AGENT", {"persona.call": "call-1"})
    event = Event("EV_2", "participant_joined", 0.0, "call-1", "RM_1", agent)
    bench.journal.note(bench.delivered(event)._replace(decided="ignore", verdict="ignored"))
    await bench.journal.write()

    [entry] = await entries.named(store, "call-1")

    assert (entry.kind, entry.attributes["persona.call"]) == ("AGENT", "call-1")
    assert [one.id for one in await entries.named(store, "EV_2")] == [entry.id]
    assert [one.id for one in await entries.named(store, str(entry.id))] == [entry.id]


async def test_it_never_holds_more_rows_than_it_may(store: Store) -> None:
    bench = Bench(store, max_rows=300)
    for number in range(1_400):
        bench.journal.note(bench.delivered(call_id=f"call-{number}"))
    await bench.journal.write()

    await bench.journal.prune()

    kept = await rows(store)
    assert [row["call_id"] for row in kept] == [f"call-{number}" for number in range(1_100, 1_400)]


async def test_what_is_too_old_goes_and_with_it_the_numbers(store: Store) -> None:
    bench = Bench(store)
    bench.journal.note(bench.delivered(call_id="old"))
    bench.clock.advance(7 * DAY_S + 1)
    bench.journal.note(bench.delivered(call_id="new"))
    await bench.journal.write()

    await bench.journal.prune()

    assert [row["call_id"] for row in await rows(store)] == ["new"]


async def test_the_task_writes_and_prunes_by_itself(store: Store) -> None:
    bench = Bench(store, max_rows=100)
    running = asyncio.create_task(bench.journal.run())
    for number in range(500):
        bench.journal.note(bench.delivered(call_id=f"call-{number}"))

    async with asyncio.timeout(10):
        while len(await rows(store)) != 100:  # noqa: ASYNC110  # the database has no event
            await asyncio.sleep(0.02)

    running.cancel()
    await asyncio.wait({running})


async def test_of_a_flood_that_is_not_ours_little_is_kept(store: Store) -> None:
    bench = Bench(store)
    for _ in range(1_000):
        bench.journal.note_refused(bench.clock(), DeliveryRefused("no_token", status=401))
    bench.clock.advance(120.0)
    for _ in range(10):
        bench.journal.note_refused(bench.clock(), DeliveryRefused("no_token", status=401))
    await bench.journal.write()

    kept = await rows(store)

    assert len(kept) == REFUSED_AT_ONCE + 2
    assert {(row["status"], row["verdict"], row["because"]) for row in kept} == {
        (401, "refused", "no_token")
    }
    assert bench.counted["left_out"] == 1_010 - len(kept)


async def test_under_load_tracks_are_left_out_before_people_and_people_before_calls(
    store: Store,
) -> None:
    bench = Bench(store)
    for name in ("track_published", "participant_left", "participant_joined"):
        event = joined(number=DID, caller=CALLER)._replace(name=name)
        decided: Any = "answer" if name == "participant_joined" else "ignore"
        for _ in range(1_000 if decided == "answer" else 5_000):
            bench.journal.note(bench.delivered(event)._replace(decided=decided))
    await bench.journal.write()

    kept = Counter(row["event"] for row in await rows(store))

    assert kept["participant_joined"] == 1_000
    assert kept["track_published"] == OTHERS_AT_ONCE / 2 + 1
    assert kept["participant_left"] == OTHERS_AT_ONCE / 2 - 1
    assert bench.counted["left_out"] + bench.counted["written"] == 11_000
    assert bench.counted["dropped"] == 0


async def test_what_is_more_than_may_wait_is_dropped_and_counted(store: Store) -> None:
    bench = Bench(store)

    for _ in range(MAX_WAITING + 5):
        bench.journal.note(bench.delivered())

    assert bench.counted == {"dropped": 5}


async def test_a_database_that_refuses_costs_entries_and_nothing_else(store: Store) -> None:
    bench = Bench(store)
    await store.write(lambda connection: connection.execute(sa.text("DROP TABLE journal")))
    for _ in range(150):
        bench.journal.note(bench.delivered())

    assert not await bench.journal.write()
    assert not await bench.journal.write()
    await bench.journal.prune()

    assert bench.counted == {"dropped": 150}
    with pytest.raises(StoreUnavailable):
        await entries.last_calls(store, 1)


async def test_entries_wait_while_the_database_is_away(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'calls.db'}"
    store = await Store(url).open()
    bench = Bench(store)
    await store.write(lambda connection: connection.exec_driver_sql("PRAGMA busy_timeout=1"))
    other = sqlite3.connect(tmp_path / "calls.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    for _ in range(150):
        bench.journal.note(bench.delivered())

    assert not await bench.journal.write()
    other.execute("ROLLBACK")
    other.close()
    assert await bench.journal.write()

    assert bench.counted == {"written": 150}
    assert len(await rows(store)) == 150
    await store.aclose()


async def test_text_that_a_database_could_not_hold_takes_no_other_along(store: Store) -> None:
    bench = Bench(store)
    odd = Event("EV_\0" + "x" * 500, "n\0" + "y" * 500, 0.0, "r\0", "RM_\0" + "z" * 500, None)
    bench.journal.note(bench.delivered(odd, call_id="odd"))
    bench.journal.note(bench.delivered(call_id="plain"))

    assert await bench.journal.write()

    assert [row["call_id"] for row in await rows(store)] == ["odd", "plain"]


async def test_more_than_a_slice_is_written_in_its_order(store: Store) -> None:
    bench = Bench(store)
    ids = [f"{number:03}" for number in range(2 * BATCH + SLICE + 1)]
    for call_id in ids:
        bench.journal.note(bench.delivered(call_id=call_id))

    assert await bench.journal.write()

    assert [row["call_id"] for row in await rows(store)] == ids
    assert bench.counted == {"written": len(ids)}


async def test_with_sqlite_others_go_on_between_two_slices(store: Store) -> None:
    bench, turns = Bench(store), 0
    for _ in range(5 * SLICE):
        bench.journal.note(bench.delivered())

    writing = asyncio.create_task(bench.journal.write())
    while not writing.done():
        turns += 1
        await asyncio.sleep(0)

    assert writing.result()
    assert turns > 5


async def test_while_somebody_else_writes_the_journal_waits_for_them(
    store: Store, store_url: str
) -> None:
    bench = Bench(store)
    for number in range(SLICE + 1):
        bench.journal.note(bench.delivered(call_id=str(number)))

    async with writing_elsewhere(store_url):
        writing = asyncio.create_task(bench.journal.write())
        await asyncio.sleep(0)
        assert bench.counted == {}

    assert await writing
    assert [row["call_id"] for row in await rows(store)] == [str(n) for n in range(SLICE + 1)]


async def test_none_are_kept_where_none_are_wanted(store: Store) -> None:
    bench = Bench(store, max_rows=0)
    bench.journal.note(bench.delivered())
    await bench.journal.aclose()

    assert await rows(store) == []


async def test_failed_calls_are_those_that_were_never_dispatched(store: Store) -> None:
    bench = Bench(store)

    def note(room: str, verdict: str, decided: Any = "answer") -> None:
        event = joined(number=DID, room=room)
        one = bench.delivered(event, call_id=f"{room}-{verdict}")
        bench.journal.note(one._replace(verdict=verdict, decided=decided))

    for room, verdict in [
        ("lost", "failed"),
        ("lost", "held"),
        ("recovered", "failed"),
        ("recovered", "dispatched"),
        ("well", "dispatched"),
        ("crashed", "crashed"),
    ]:
        note(room, verdict, None if verdict == "crashed" else "answer")
    note("idle", "ignored", "ignore")
    await bench.journal.write()

    failed = await entries.failed_calls(store, 10)

    assert [one.call_id for one in failed] == ["lost-held", "crashed-crashed"]
