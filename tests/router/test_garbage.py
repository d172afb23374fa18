"""Garbage is collected when nobody is ringing, and the interpreter is left as it was."""

import asyncio
import gc
import weakref
from collections.abc import Iterator

import pytest

from router.garbage import ENOUGH, LATER, WHOLE_S, YOUNG_TURNS, Collector


class Knot:
    """Garbage that counting references does not find."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def by_hand() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def tie() -> "weakref.ref[Knot]":
    """Make enough garbage to be worth a look."""
    knots = [Knot() for _ in range(ENOUGH * 2)]
    return weakref.ref(knots[0])


def test_garbage_is_collected_while_nobody_rings() -> None:
    knot = tie()

    assert Collector(busy=lambda: False).turn() is not None
    assert knot() is None


def test_a_call_does_not_wait_for_it() -> None:
    knot = tie()
    busy = [True]
    collector = Collector(busy=lambda: busy[0])

    assert collector.turn() is None
    assert knot() is not None
    busy.clear()
    busy.append(False)
    assert collector.turn() is not None
    assert knot() is None


def test_little_is_not_worth_a_look() -> None:
    gc.collect()

    assert Collector(busy=lambda: False).turn() is None


def test_what_was_left_is_looked_at_now_and_then_and_everything_seldom() -> None:
    now = [0.0]
    collector = Collector(busy=lambda: False, monotonic=lambda: now[0])
    tie()
    assert collector.turn() == 2  # it has not looked yet

    looked = []
    for _ in range(YOUNG_TURNS):
        tie()
        looked.append(collector.turn())
    now[0] += WHOLE_S
    tie()

    assert sorted(looked, key=str) == [0] * (YOUNG_TURNS - 1) + [1]
    assert collector.turn() == 2


async def test_the_interpreter_waits_longer_meanwhile_and_is_left_as_it_was() -> None:
    before, frozen = gc.get_threshold(), gc.get_freeze_count()
    running = asyncio.create_task(Collector(busy=lambda: False).run())
    await asyncio.sleep(0)

    assert gc.get_threshold() == LATER
    assert gc.get_freeze_count() > frozen
    running.cancel()
    await asyncio.wait([running])
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0
