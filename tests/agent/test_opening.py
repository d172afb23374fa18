import asyncio
from collections.abc import AsyncIterator

import pytest_asyncio

from agent.opening import LONGEST_S, Opening


class FakeClock:
    """Sleeps that end when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0
        self._sleeping: list[tuple[float, asyncio.Event]] = []

    async def sleep(self, seconds: float) -> None:
        until = self.now + seconds
        woken = asyncio.Event()
        self._sleeping.append((until, woken))
        await woken.wait()

    async def advance(self, seconds: float) -> None:
        await settle()
        self.now += seconds
        for until, woken in self._sleeping:
            if until <= self.now:
                woken.set()
        await settle()


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


class Heard:
    """A call that has just been answered."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.opening = Opening(silence_s=2.5, sleep=self.clock.sleep)
        self.ours = asyncio.create_task(self.opening.is_ours())


@pytest_asyncio.fixture
async def answered() -> AsyncIterator[Heard]:
    heard = Heard()
    await settle()
    yield heard
    heard.ours.cancel()
    await asyncio.wait({heard.ours})


async def test_a_callee_who_says_nothing_is_greeted_after_the_silence(answered: Heard) -> None:
    await answered.clock.advance(2.4)
    early = answered.ours.done()
    await answered.clock.advance(0.2)

    assert not early
    assert await answered.ours


async def test_a_callee_who_speaks_first_is_answered_and_not_greeted(answered: Heard) -> None:
    await answered.clock.advance(1.0)
    answered.opening.on_sound(speaking=True)
    answered.opening.on_words()
    await settle()

    assert answered.ours.done()
    assert not await answered.ours


async def test_words_that_came_before_anybody_listened_count(answered: Heard) -> None:
    opening = Opening(sleep=answered.clock.sleep)
    opening.on_words()

    assert not await opening.is_ours()


async def test_the_silence_counts_from_the_end_of_a_noise(answered: Heard) -> None:
    await answered.clock.advance(2.0)
    answered.opening.on_sound(speaking=True)
    await answered.clock.advance(4.0)
    answered.opening.on_sound(speaking=False)
    await answered.clock.advance(2.0)
    early = answered.ours.done()
    await answered.clock.advance(1.0)

    assert not early
    assert await answered.ours


async def test_a_line_that_is_never_silent_is_greeted_all_the_same(answered: Heard) -> None:
    answered.opening.on_sound(speaking=True)
    await answered.clock.advance(LONGEST_S - 1)
    early = answered.ours.done()
    await answered.clock.advance(2)

    assert not early
    assert await answered.ours
