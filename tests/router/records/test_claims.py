"""The claim of a call, on each database."""

import asyncio
import itertools
from pathlib import Path

import pytest
import sqlalchemy as sa

import router.app
from router.db import Store, metadata
from router.errors import StoreUnavailable
from router.records.claims import KEPT_S, Claim, Claims, Held, Settled, Taken
from router.recovery import Watched
from tests.fakes_personas import HOUSE, FakeClock
from tests.router.locks import writing_elsewhere

LEASE_S = 6.0


@pytest.fixture
def routers(store: Store, clock: FakeClock) -> list[Claims]:
    """Three replicas on one database."""
    ids = itertools.count(1)
    return [
        Claims(
            store,
            owner=f"router-{number}",
            lease_s=LEASE_S,
            clock=clock,
            new_id=lambda: f"call-{next(ids)}",
        )
        for number in range(3)
    ]


async def take(claims: Claims, room: str = "RM_1", sip_call: str | None = "SCL_1") -> Taken:
    return await claims.take(room=f"call-{room}", room_sid=room, sip_call_id=sip_call)


async def settle(claims: Claims, claim: Claim) -> None:
    failures: list[StoreUnavailable] = []
    claims.dispatched(
        claim,
        dispatch_id="AD_1",
        persona_source="api",
        persona_version="sha256:0",
        failed=failures.append,
    )
    await claims._store.flush()
    assert failures == []


def not_written(error: StoreUnavailable) -> None:
    pytest.fail(error.reason)


async def states(store: Store) -> list[str]:
    select = sa.select(metadata.tables["claims"].c.state)
    return list(await store.read(lambda connection: connection.execute(select).scalars().all()))


async def test_with_sqlite_a_claim_and_its_dispatch_are_written_at_once(
    routers: list[Claims], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not store.is_sqlite:
        return  # the other tests hold for both
    monkeypatch.setattr(store, "write", None)  # through threads nothing is written
    monkeypatch.setattr(store, "write_soon", None)

    taken = await take(routers[0])
    assert await states(store) == ["claimed"]
    assert isinstance(taken, Claim)
    routers[0].dispatched(
        taken, dispatch_id="AD_1", persona_source="api", persona_version="1", failed=not_written
    )

    assert await states(store) == ["dispatched"]


async def test_while_somebody_writes_a_claim_waits_and_is_taken(
    routers: list[Claims], store: Store, store_url: str
) -> None:
    async with writing_elsewhere(store_url):
        taking = asyncio.create_task(take(routers[0]))
        await asyncio.sleep(0)
        assert taking.done() is False

    taken = await taking
    assert taken == Claim(taken.call_id, 1)
    assert await states(store) == ["claimed"]


async def test_while_somebody_writes_a_dispatch_is_written_down_later(
    routers: list[Claims], store: Store, store_url: str
) -> None:
    taken = await take(routers[0])
    assert isinstance(taken, Claim)

    async with writing_elsewhere(store_url):
        routers[0].dispatched(
            taken, dispatch_id="AD_1", persona_source="api", persona_version="1", failed=not_written
        )

    await store.flush()
    assert await states(store) == ["dispatched"]


async def test_the_first_to_take_a_call_has_it(routers: list[Claims]) -> None:
    taken = await take(routers[0])

    assert isinstance(taken, Claim)
    assert taken.attempt == 1


async def test_while_it_is_claimed_nobody_else_gets_it(
    routers: list[Claims], clock: FakeClock
) -> None:
    await take(routers[0])
    clock.now += 2

    taken = await take(routers[1])

    assert isinstance(taken, Held)
    assert taken.for_s == pytest.approx(LEASE_S - 2)


@pytest.mark.parametrize(
    ("room", "sip_call"), [("RM_1", "SCL_2"), ("RM_2", "SCL_1"), ("RM_1", None)]
)
async def test_the_room_and_the_sip_call_each_make_it_the_same_call(
    routers: list[Claims], room: str, sip_call: str | None
) -> None:
    await take(routers[0])

    assert isinstance(await take(routers[1], room, sip_call), Held)


async def test_calls_without_a_sip_call_id_are_told_apart_by_room(routers: list[Claims]) -> None:
    taken = [await take(routers[0], room, None) for room in ("RM_1", "RM_2")]

    assert all(isinstance(one, Claim) for one in taken)


async def test_a_dispatched_call_is_settled_for_ever(
    routers: list[Claims], clock: FakeClock
) -> None:
    claim = await take(routers[0])
    assert isinstance(claim, Claim)
    await settle(routers[0], claim)
    clock.now += 3600

    assert await take(routers[1]) == Settled(claim.call_id, "dispatched")


async def test_an_unknown_dispatch_is_not_repeated_by_a_delivery(
    routers: list[Claims], clock: FakeClock
) -> None:
    claim = await take(routers[0])
    assert isinstance(claim, Claim)
    await routers[0].unknown(claim, persona_source="api", persona=HOUSE)
    clock.now += 3600

    assert await take(routers[1]) == Settled(claim.call_id, "unknown")


async def test_a_released_call_may_be_taken_at_once_as_the_next_attempt(
    routers: list[Claims],
) -> None:
    claim = await take(routers[0])
    assert isinstance(claim, Claim)
    await routers[0].release(claim)

    assert await take(routers[1]) == Claim(claim.call_id, 2)


async def test_a_dead_routers_claim_is_taken_over_when_its_lease_ends(
    routers: list[Claims], clock: FakeClock
) -> None:
    claim = await take(routers[0])
    assert isinstance(claim, Claim)
    clock.now += LEASE_S

    assert await take(routers[1]) == Claim(claim.call_id, 2)
    assert isinstance(await take(routers[2]), Held)


async def test_a_router_that_comes_back_late_changes_nothing(
    routers: list[Claims], clock: FakeClock
) -> None:
    old = await take(routers[0])
    assert isinstance(old, Claim)
    clock.now += LEASE_S
    await take(routers[1])

    await settle(routers[0], old)

    assert isinstance(await take(routers[2]), Held)


async def test_of_many_at_the_same_moment_one_gets_the_call(routers: list[Claims]) -> None:
    for number in range(10):
        taken = await asyncio.gather(
            *(take(router, f"RM_{number}", f"SCL_{number}") for router in routers * 3)
        )

        assert sum(isinstance(one, Claim) for one in taken) == 1
        assert sum(isinstance(one, Held) for one in taken) == 8


async def test_of_many_at_the_same_moment_one_takes_over(
    routers: list[Claims], clock: FakeClock
) -> None:
    await take(routers[0])
    clock.now += LEASE_S

    taken = await asyncio.gather(*(take(router) for router in routers * 3))

    assert [one.attempt for one in taken if isinstance(one, Claim)] == [2]


async def test_what_was_dispatched_is_written_down(routers: list[Claims], store: Store) -> None:
    claim = await take(routers[0])
    assert isinstance(claim, Claim)
    await settle(routers[0], claim)

    row = await store.read(lambda c: c.execute(sa.select(metadata.tables["claims"])).one())
    assert (row.state, row.dispatch_id, row.persona_source) == ("dispatched", "AD_1", "api")
    assert (row.owner, row.attempt, row.room) == ("router-0", 1, "call-RM_1")


async def test_the_migrations_make_the_tables_that_the_code_expects(store: Store) -> None:
    assert router.app.ROUTES  # whoever imports the application imports every table

    def columns(connection: sa.Connection) -> dict[str, set[str]]:
        seen = sa.inspect(connection)
        return {
            table: {column["name"] for column in seen.get_columns(table)}
            for table in seen.get_table_names()
            if table != "alembic_version"
        }

    made = await store.read(columns)

    assert made == {name: set(table.c.keys()) for name, table in metadata.tables.items()}


async def test_replicas_that_start_together_may_all_upgrade(empty_url: str) -> None:
    stores = [Store(empty_url) for _ in range(3)]
    try:
        await asyncio.gather(*(store.open() for store in stores))
    finally:
        for store in stores:
            await store.aclose()


async def test_a_database_that_cannot_be_opened_is_one_error_of_ours(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}")  # a folder, not a file
    claims = Claims(store, owner="r", lease_s=LEASE_S, clock=FakeClock(), new_id=lambda: "c")

    with pytest.raises(StoreUnavailable):
        await store.open()
    with pytest.raises(StoreUnavailable):
        await take(claims)
    await store.aclose()


# ---- what the watch does --------------------------------------------------------------------


async def watched(claims: Claims) -> Watched:
    [call] = await claims.watched()
    return call


async def test_the_watch_sees_each_call_that_has_not_ended(
    routers: list[Claims], clock: FakeClock
) -> None:
    await take(routers[0])

    call = await watched(routers[1])

    assert (call.room_sid, call.room, call.state) == ("RM_1", "call-RM_1", "claimed")
    assert (call.attempt, call.failures) == (1, 0)
    assert (call.lease_until, call.updated_at) == (clock.now + LEASE_S, clock.now)
    await routers[1].ended([call], "the room is gone")
    assert await routers[1].watched() == []


async def test_of_two_that_send_the_next_attempt_one_may(routers: list[Claims]) -> None:
    await take(routers[0])
    call = await watched(routers[0])

    claims = await asyncio.gather(*(router.next_attempt(call, failures=1) for router in routers))

    assert [claim for claim in claims if claim] == [Claim(call.call_id, 2)]
    again = await watched(routers[0])
    assert (again.state, again.attempt, again.failures) == ("claimed", 2, 1)


async def test_an_answered_call_starts_to_count_failures_anew(routers: list[Claims]) -> None:
    await take(routers[0])
    await routers[0].next_attempt(await watched(routers[0]), failures=3)

    await routers[0].answered(await watched(routers[0]))

    call = await watched(routers[0])
    assert (call.state, call.failures) == ("answered", 0)
    assert await take(routers[1]) == Settled(call.call_id, "answered")


async def test_a_call_that_has_ended_stays_so(routers: list[Claims]) -> None:
    await take(routers[0])
    call = await watched(routers[0])
    await routers[0].ended([call], "the caller is gone")

    await routers[1].answered(call)

    assert await routers[1].next_attempt(call, failures=0) is None
    assert await take(routers[1]) == Settled(call.call_id, "ended")


async def test_the_claim_of_a_call_that_ended_long_ago_is_forgotten(
    routers: list[Claims], clock: FakeClock
) -> None:
    for room in ("RM_1", "RM_2"):
        await take(routers[0], room, None)
    for call in await routers[0].watched():
        if call.room_sid == "RM_1":
            await routers[0].ended([call], "the room is gone")
    clock.now += KEPT_S + 1

    assert await routers[0].forget() == 1
    assert isinstance(await take(routers[0], "RM_1", None), Claim)
