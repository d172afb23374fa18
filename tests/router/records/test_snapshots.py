"""Personas as they were sent: kept with the claim, found again, forgotten; on both databases."""

from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa

from personas.model import Persona
from router.db import Store
from router.errors import StoreUnavailable
from router.records.claims import Claim, Claims, Spoke
from router.records.snapshots import KEPT_S, MARK_EVERY_S, MAX_KEPT, read, snapshots
from tests.fakes_personas import FakeClock, persona

SARAH = persona("+13125550100", persona_name="Sarah")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(now=1_800_000_000.0)


@pytest.fixture
def claims(store: Store, clock: FakeClock) -> Claims:
    return Claims(store, owner="router-1", lease_s=6.0, clock=clock, new_id=lambda: "call-1")


async def dispatch(claims: Claims, spoken: Persona = SARAH) -> None:
    taken = await claims.take(room="call-1", room_sid="RM_1", sip_call_id="SCL_1")
    claim = taken if isinstance(taken, Claim) else Claim("call-1", 1)
    failures: list[StoreUnavailable] = []
    claims.dispatched(
        claim,
        dispatch_id="AD_1",
        persona_source="api",
        persona_version=spoken.version,
        persona=spoken,
        failed=failures.append,
    )
    await claims._store.flush()
    assert failures == []


async def kept(store: Store) -> dict[str, float]:
    select = sa.select(snapshots.c.version, snapshots.c.kept_at)
    rows = await store.read(lambda connection: connection.execute(select).all())
    return {row.version: row.kept_at for row in rows}


async def test_a_call_knows_who_spoke_to_it_word_for_word(claims: Claims) -> None:
    await dispatch(claims)

    spoke = await claims.spoke("call-1")

    assert spoke is not None
    assert spoke == Spoke("api", SARAH.version, SARAH)
    assert spoke.persona is not None
    assert spoke.persona.raw == SARAH.raw


async def test_a_call_that_nobody_was_sent_to_knows_nobody(claims: Claims) -> None:
    await claims.take(room="call-1", room_sid="RM_1", sip_call_id="SCL_1")

    assert await claims.spoke("call-1") is None
    assert await claims.spoke("call-2") is None


async def test_a_dispatch_of_unknown_outcome_counts_as_sent(claims: Claims) -> None:
    claim = await claims.take(room="call-1", room_sid="RM_1", sip_call_id="SCL_1")
    assert isinstance(claim, Claim)

    await claims.unknown(claim, persona_source="file", persona=SARAH)

    assert await claims.spoke("call-1") == Spoke("file", SARAH.version, SARAH)


async def test_an_attempt_that_failed_does_not_make_the_call_forget_who_spoke(
    claims: Claims,
) -> None:
    await dispatch(claims)
    [call] = await claims.watched()
    again = await claims.next_attempt(call, failures=0)
    assert again is not None

    await claims.release(again)

    assert await claims.spoke("call-1") == Spoke("api", SARAH.version, SARAH)


async def test_a_version_is_written_once_and_marked_once_an_hour(
    claims: Claims, store: Store, clock: FakeClock
) -> None:
    began = clock.now
    for _ in range(3):
        await dispatch(claims)
        clock.advance(60)
    before = await kept(store)
    clock.advance(MARK_EVERY_S)

    await dispatch(claims)

    assert before == {SARAH.version: began}
    assert await kept(store) == {SARAH.version: clock.now}


async def test_what_was_not_sent_for_a_day_is_forgotten_and_its_call_told_so(
    claims: Claims, clock: FakeClock, store: Store
) -> None:
    await dispatch(claims)
    clock.advance(KEPT_S - 1)
    await claims.forget()
    still = await kept(store)
    clock.advance(2)
    await claims.forget()

    assert list(still) == [SARAH.version]
    assert await kept(store) == {}
    assert await claims.spoke("call-1") == Spoke("api", SARAH.version, None)


def _insert(rows: list[dict[str, Any]], connection: sa.Connection) -> None:
    connection.execute(sa.insert(snapshots), rows)


async def test_of_too_many_the_newest_are_kept(
    claims: Claims, store: Store, clock: FakeClock
) -> None:
    rows = [
        {"version": f"sha256:{n}", "document": b"", "kept_at": clock.now - MAX_KEPT - 5 + n}
        for n in range(MAX_KEPT + 5)
    ]
    for first in range(0, len(rows), 1_000):  # a write has two seconds
        some = rows[first : first + 1_000]
        await store.write(partial(_insert, some))

    await claims.forget()

    left = await kept(store)
    assert len(left) == MAX_KEPT
    assert "sha256:4" not in left


@pytest.mark.parametrize("document", [None, b"", b"rubbish"])
def test_a_damaged_snapshot_is_none(document: bytes | None) -> None:
    assert read(document) is None


async def test_a_snapshot_that_could_not_be_written_is_tried_again(
    claims: Claims, store: Store
) -> None:
    await claims.take(room="call-1", room_sid="RM_1", sip_call_id="SCL_1")
    await store.write(lambda c: c.exec_driver_sql("ALTER TABLE snapshots RENAME TO away"))
    failures: list[StoreUnavailable] = []

    async def dispatched() -> None:
        claims.dispatched(
            Claim("call-1", 1),
            dispatch_id="AD_1",
            persona_source="api",
            persona_version=SARAH.version,
            persona=SARAH,
            failed=failures.append,
        )
        await store.flush()

    await dispatched()
    await store.write(lambda c: c.exec_driver_sql("ALTER TABLE away RENAME TO snapshots"))
    await dispatched()

    assert len(failures) == 1
    assert await claims.spoke("call-1") == Spoke("api", SARAH.version, SARAH)
