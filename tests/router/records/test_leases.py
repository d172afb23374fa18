"""A job that one replica does at a time, on each database."""

import asyncio

from router.db import Store
from router.records.leases import Lease
from tests.fakes_personas import FakeClock


def lease(store: Store, clock: FakeClock, owner: str, name: str = "sweep") -> Lease:
    return Lease(store, name, owner=owner, for_s=2.5, clock=clock)


async def test_of_many_one_holds_it(store: Store, clock: FakeClock) -> None:
    held = await asyncio.gather(*(lease(store, clock, f"r{number}").hold() for number in range(8)))

    assert sum(held) == 1


async def test_the_holder_keeps_it_by_renewing(store: Store, clock: FakeClock) -> None:
    mine, other = lease(store, clock, "a"), lease(store, clock, "b")
    for _ in range(5):
        assert await mine.hold()
        clock.advance(2.0)
        assert not await other.hold()


async def test_another_takes_over_when_it_runs_out(store: Store, clock: FakeClock) -> None:
    mine, other = lease(store, clock, "a"), lease(store, clock, "b")
    assert await mine.hold()
    clock.advance(2.5)

    assert await other.hold()
    assert not await mine.hold()


async def test_a_lease_that_is_given_up_is_free_at_once(store: Store, clock: FakeClock) -> None:
    mine, other = lease(store, clock, "a"), lease(store, clock, "b")
    assert await mine.hold()
    await other.give_up()
    assert not await other.hold()

    await mine.give_up()

    assert await other.hold()


async def test_leases_of_different_names_do_not_meet(store: Store, clock: FakeClock) -> None:
    assert await lease(store, clock, "a", "sweep").hold()
    assert await lease(store, clock, "b", "prune").hold()
