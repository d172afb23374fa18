"""Places for deliveries: who waits, who is told to come again."""

import asyncio

import pytest

from router.overload import Gate

DEADLINE_S = 5.0


def full(limit: int = 2, *, max_wait_s: float = 2.0, took_s: float | None = None) -> Gate:
    gate = Gate(limit, max_wait_s=max_wait_s)
    for _ in range(500 if took_s is not None else 0):
        assert gate.enter()
        gate.leave(took_s or 0.0)
    while gate.enter():
        pass
    return gate


def test_places_are_counted_and_given_back() -> None:
    gate = Gate(2)

    assert (gate.enter(), gate.enter(), gate.enter()) == (True, True, False)
    gate.leave(0.01)
    assert gate.enter()
    assert gate.in_flight == 2


def test_from_half_of_the_places_on_all_else_is_to_be_refused() -> None:
    gate = Gate(4)

    seen = []
    while gate.enter():
        seen.append(gate.loaded)

    assert seen == [False, True, True, True]


async def test_who_waits_gets_the_place_in_the_order_of_coming() -> None:
    gate, order = full(1), []

    async def come(name: str) -> None:
        assert await gate.wait() is None
        order.append(name)
        gate.leave(0.001)

    tasks = [asyncio.create_task(come(name)) for name in "abc"]
    await asyncio.sleep(0)
    gate.leave(0.001)
    async with asyncio.timeout(DEADLINE_S):
        await asyncio.gather(*tasks)

    assert order == ["a", "b", "c"]
    assert gate.in_flight == 0


async def test_who_would_wait_longer_is_told_at_once_when_to_come_again() -> None:
    gate = full(2, took_s=4.5)  # a place is free every 2.25 s

    again_in_s = [await gate.wait() for _ in range(3)]

    assert gate.expected_wait_s() == pytest.approx(2.25, rel=0.01)
    assert len(set(again_in_s)) > 1  # not all in the same second
    assert all(wait_s is not None and 2 <= wait_s <= 5 for wait_s in again_in_s)


async def test_who_waited_so_long_after_all_is_told_then() -> None:
    gate = full(1, max_wait_s=0.02, took_s=0.001)

    assert await gate.wait() is not None
    gate.leave(0.001)
    assert gate.in_flight == 0


async def test_a_place_is_not_lost_with_one_who_goes_away() -> None:
    gate = full(1)
    gone = asyncio.create_task(gate.wait())
    waits = asyncio.create_task(gate.wait())
    await asyncio.sleep(0)

    gone.cancel()
    await asyncio.wait({gone})
    gate.leave(0.001)
    assert await waits is None
    gate.leave(0.001)

    assert gate.in_flight == 0


async def test_a_place_that_was_just_given_goes_on_when_its_owner_goes_away() -> None:
    gate = full(1)
    gone = asyncio.create_task(gate.wait())
    await asyncio.sleep(0)

    gate.leave(0.001)
    gone.cancel()
    await asyncio.wait({gone})

    assert gate.in_flight == 0


async def test_the_guess_counts_those_who_wait() -> None:
    gate = full(2, took_s=0.5)
    assert gate.expected_wait_s() == pytest.approx(0.25, rel=0.01)

    waiting = [asyncio.create_task(gate.wait()) for _ in range(7)]
    await asyncio.sleep(0)

    assert gate.expected_wait_s() == pytest.approx(2.0, rel=0.01)
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    assert gate.expected_wait_s() == pytest.approx(0.25, rel=0.01)


async def test_it_says_how_many_wait() -> None:
    gate = full(1)
    waiting = [asyncio.create_task(gate.wait()) for _ in range(3)]
    await asyncio.sleep(0)
    before = gate.waiting

    waiting[0].cancel()
    await asyncio.wait({waiting[0]})

    assert (before, gate.waiting) == (3, 2)
    for task in waiting[1:]:
        task.cancel()
    await asyncio.wait(waiting)
