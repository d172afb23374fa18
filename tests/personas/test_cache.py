import asyncio
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from structlog.testing import capture_logs

from personas.cache import Cache, Copy, Landed, Windows
from personas.errors import PersonaInvalid, PersonaNotFound, PersonaUnavailable
from tests.fakes_personas import FakeClock, until

WINDOWS = Windows()


class Getter:
    """A fetch that ends when the test says so."""

    def __init__(self) -> None:
        self.held: list[Any] = []
        self.ends: list[asyncio.Future[str]] = []

    async def __call__(self, held: str | None) -> str:
        self.held.append(held)
        end: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.ends.append(end)
        return await end


async def ok(_held: str | None) -> str:
    return "value"


def failing(error: Exception) -> Any:
    async def get(_held: str | None) -> str:
        raise error

    return get


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def cache(clock: FakeClock) -> Cache[str, str]:
    return Cache(clock=clock)


@pytest.mark.parametrize(
    ("age_s", "freshness"),
    [
        (0.0, "fresh"),
        (59.9, "fresh"),
        (60.0, "revalidating"),
        (599.9, "revalidating"),
        (600.0, "stale"),
        (86_399.9, "stale"),
        (86_400.0, None),
    ],
)
async def test_a_copy_ages(
    cache: Cache[str, str], clock: FakeClock, age_s: float, freshness: Any
) -> None:
    await cache.fetch("k", ok, patience_s=1)
    clock.advance(age_s)

    copy = cache.peek("k")

    assert (copy.freshness if copy else None) == freshness
    if copy:
        assert copy.value == "value"
        assert copy.age_s == pytest.approx(age_s)


@pytest.mark.parametrize(("age_s", "believed"), [(0.0, True), (29.9, True), (30.0, False)])
async def test_an_absence_is_believed_for_a_while(
    cache: Cache[str, str], clock: FakeClock, age_s: float, believed: bool
) -> None:
    landed = await cache.fetch("k", failing(PersonaNotFound()), patience_s=1)
    clock.advance(age_s)

    copy = cache.peek("k")

    assert landed is not None
    assert isinstance(landed.error, PersonaNotFound)
    assert (copy is not None and copy.freshness == "absent") == believed


async def test_an_absence_replaces_the_copy(cache: Cache[str, str], clock: FakeClock) -> None:
    await cache.fetch("k", ok, patience_s=1)
    await cache.fetch("k", failing(PersonaNotFound()), patience_s=1)
    clock.advance(WINDOWS.absent_s)

    assert cache.peek("k") is None


@pytest.mark.parametrize("error", [PersonaUnavailable(), PersonaInvalid(), KeyError("bug")])
async def test_a_failure_leaves_the_copy(
    cache: Cache[str, str], clock: FakeClock, error: Exception
) -> None:
    await cache.fetch("k", ok, patience_s=1)
    clock.advance(100)

    with capture_logs() as logs:
        landed = await cache.fetch("k", failing(error), patience_s=1)

    assert landed == Landed(None, error)
    assert cache.peek("k") == Copy("value", 100.0, "revalidating")
    assert [entry["event"] for entry in logs] == (
        ["persona_fetch.broken"] if isinstance(error, KeyError) else []
    )


async def test_many_callers_share_one_fetch(cache: Cache[str, str]) -> None:
    get = Getter()
    waiting = [asyncio.create_task(cache.fetch("k", get, patience_s=5)) for _ in range(20)]
    await until(lambda: len(get.ends) == 1)

    get.ends[0].set_result("one")

    assert await asyncio.gather(*waiting) == [Landed("one")] * 20
    assert len(get.ends) == 1


async def test_a_caller_who_hangs_up_does_not_end_the_fetch(cache: Cache[str, str]) -> None:
    get = Getter()
    leaving = asyncio.create_task(cache.fetch("k", get, patience_s=5))
    staying = asyncio.create_task(cache.fetch("k", get, patience_s=5))
    await until(lambda: len(get.ends) == 1)

    leaving.cancel()
    await asyncio.wait({leaving})
    get.ends[0].set_result("late")

    assert leaving.cancelled()
    assert await staying == Landed("late")


async def test_a_late_answer_lands_for_the_next_call(cache: Cache[str, str]) -> None:
    get = Getter()

    assert await cache.fetch("k", get, patience_s=0.001) is None
    assert cache.peek("k") is None

    get.ends[0].set_result("late")
    await until(lambda: cache.peek("k") is not None)

    assert cache.peek("k") == Copy("late", 0.0, "fresh")


async def test_keys_are_fetched_side_by_side_and_never_mixed_up(cache: Cache[str, str]) -> None:
    one, two = Getter(), Getter()
    first = asyncio.create_task(cache.fetch("1", one, patience_s=5))
    second = asyncio.create_task(cache.fetch("2", two, patience_s=5))
    await until(lambda: bool(one.ends and two.ends))

    two.ends[0].set_result("two")
    one.ends[0].set_result("one")

    assert (await first, await second) == (Landed("one"), Landed("two"))
    assert [copy and copy.value for copy in map(cache.peek, "12")] == ["one", "two"]


async def test_a_fetch_is_told_what_is_held(cache: Cache[str, str]) -> None:
    get = Getter()
    await cache.fetch("k", ok, patience_s=1)

    await cache.fetch("k", get, patience_s=0.001)

    assert get.held == ["value"]
    await cache.aclose()


async def test_closing_ends_the_fetches(cache: Cache[str, str]) -> None:
    get = Getter()
    waiting = asyncio.create_task(cache.fetch("k", get, patience_s=5))
    await until(lambda: len(get.ends) == 1)

    await cache.aclose()

    assert await waiting is None
    assert get.ends[0].cancelled()
    assert cache.peek("k") is None
    await cache.aclose()


async def test_the_number_of_copies_is_bounded_and_the_idlest_goes(clock: FakeClock) -> None:
    cache: Cache[int, str] = Cache(clock=clock, max_entries=3)
    for key in range(3):
        await cache.fetch(key, ok, patience_s=1)
    cache.peek(0)

    await cache.fetch(3, failing(PersonaNotFound()), patience_s=1)

    assert len(cache) == 3
    assert cache.peek(0) is not None
    assert cache.peek(1) is None


async def test_the_bytes_of_all_copies_are_bounded(clock: FakeClock) -> None:
    cache: Cache[int, str] = Cache(clock=clock, max_entries=100, max_bytes=1000, size=len)

    async def large(_held: str | None) -> str:
        return "x" * 400

    for key in range(5):
        await cache.fetch(key, large, patience_s=1)

    assert len(cache) == 2


async def test_the_many_small_copies_of_a_large_cache_all_fit(clock: FakeClock) -> None:
    cache: Cache[int, str] = Cache(clock=clock, max_entries=1000)

    for key in range(1000):
        await cache.fetch(key, ok, patience_s=1)

    assert len(cache) == 1000


async def test_a_value_larger_than_the_cache_is_given_but_not_kept(clock: FakeClock) -> None:
    cache: Cache[int, str] = Cache(clock=clock, max_entries=10, max_bytes=100, size=len)

    async def huge(_held: str | None) -> str:
        return "x" * 101

    assert await cache.fetch(1, huge, patience_s=1) == Landed("x" * 101)
    assert cache.peek(1) is None


async def test_a_value_may_be_old_when_it_comes(clock: FakeClock) -> None:
    cache: Cache[str, float] = Cache(clock=clock, age_s=lambda value: value)

    cache.offer("k", 70.0)
    older = cache.peek("k")
    cache.offer("k", 90.0)
    unchanged = cache.peek("k")
    cache.offer("k", 20.0)

    assert older == unchanged == Copy(70.0, 70.0, "revalidating")
    assert cache.peek("k") == Copy(20.0, 20.0, "fresh")


async def test_a_value_that_somebody_else_has_does_not_hide_a_newer_absence(
    clock: FakeClock,
) -> None:
    cache: Cache[str, float] = Cache(clock=clock, age_s=lambda value: value)

    async def absent(_held: float | None) -> float:
        raise PersonaNotFound

    await cache.fetch("k", absent, patience_s=1)
    cache.offer("k", 1.0)

    assert cache.peek("k") == Copy(None, 0.0, "absent")


@pytest.mark.parametrize("max_age_s", [0.0, 30.0, 100.0, 1000.0, 1e9])
async def test_a_value_can_ask_to_be_believed_for_less(clock: FakeClock, max_age_s: float) -> None:
    cache: Cache[str, str] = Cache(clock=clock, max_age_s=lambda _value: max_age_s)
    await cache.fetch("k", ok, patience_s=1)
    limit = min(max_age_s, WINDOWS.on_error_s)

    clock.advance(limit * 0.99)
    before = cache.peek("k")
    clock.now = 1000 + limit
    after = cache.peek("k")

    assert (before is not None) == (max_age_s > 0)
    assert after is None


async def test_a_purge_forgets_copies_and_absences_of_the_keys_it_concerns(
    cache: Cache[str, str],
) -> None:
    await cache.fetch("a1", ok, patience_s=1)
    await cache.fetch("a2", failing(PersonaNotFound()), patience_s=1)
    await cache.fetch("b", ok, patience_s=1)

    cache.purge(lambda key: key.startswith("a"))

    assert [cache.peek(key) is None for key in ("a1", "a2", "b")] == [True, True, False]
    assert cache.purges == 1


async def test_who_waits_while_a_purge_comes_gets_what_was_fetched_after_it(
    cache: Cache[str, str],
) -> None:
    get, other = Getter(), Getter()
    waiting = [asyncio.create_task(cache.fetch("k", get, patience_s=5)) for _ in range(3)]
    untouched = asyncio.create_task(cache.fetch("other", other, patience_s=5))
    await until(lambda: len(get.ends) == 1 and len(other.ends) == 1)

    cache.purge(lambda key: key == "k")
    await until(lambda: len(get.ends) == 2)
    assert get.ends[0].cancelled()
    get.ends[1].set_result("after")
    other.ends[0].set_result("other")

    assert await asyncio.gather(*waiting) == [Landed("after")] * 3
    assert await untouched == Landed("other")
    assert cache.peek("k") == Copy("after", 0.0, "fresh")


@pytest.mark.parametrize("answer", ["before", PersonaNotFound()])
async def test_a_source_that_answers_after_the_purge_all_the_same_is_not_believed(
    cache: Cache[str, str], answer: str | PersonaNotFound
) -> None:
    asked: list[str] = []

    async def stubborn(_held: str | None) -> str:
        asked.append("x")
        if len(asked) > 1:
            return "after"
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if isinstance(answer, PersonaNotFound):
                raise answer from None
        return "before"

    waiting = asyncio.create_task(cache.fetch("k", stubborn, patience_s=5))
    await until(lambda: len(asked) == 1)
    cache.purge(lambda _key: True)

    assert await waiting == Landed("after")
    assert cache.peek("k") == Copy("after", 0.0, "fresh")


KEYS = ("a", "b")


class CacheOverTime(RuleBasedStateMachine):
    """Any order of fetches, answers and waiting, against a model that is a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.clock = FakeClock()
        self.cache: Cache[str, str] = Cache(clock=self.clock)
        self.stored: dict[str, tuple[str | None, float]] = {}
        self.flying: dict[str, asyncio.Future[str]] = {}
        self.values = 0

    def teardown(self) -> None:
        self.loop.run_until_complete(self.cache.aclose())
        self.loop.close()

    def settle(self) -> None:
        for _ in range(5):
            self.loop.run_until_complete(asyncio.sleep(0))

    @rule(key=st.sampled_from(KEYS))
    def start(self, key: str) -> None:
        async def get(held: str | None) -> str:
            assert key not in self.flying, "two fetches of one key"
            assert held == self.stored.get(key, (None, 0.0))[0]
            self.flying[key] = asyncio.get_running_loop().create_future()
            return await self.flying[key]

        async def start() -> None:
            self.cache.start(key, get)

        self.loop.run_until_complete(start())
        self.settle()

    @precondition(lambda self: self.flying)
    @rule(
        pick=st.integers(0, 1),
        outcome=st.sampled_from(["ok", "ok", "absent", "unavailable", "invalid", "bug"]),
    )
    def land(self, pick: int, outcome: str) -> None:
        key = sorted(self.flying)[pick % len(self.flying)]
        end = self.flying.pop(key)
        if outcome == "ok":
            self.values += 1
            value = f"{key}{self.values}"
            end.set_result(value)
            self.stored[key] = (value, self.clock.now)
        elif outcome == "absent":
            end.set_exception(PersonaNotFound())
            self.stored[key] = (None, self.clock.now)
        else:
            errors = {"unavailable": PersonaUnavailable(), "invalid": PersonaInvalid()}
            end.set_exception(errors.get(outcome, KeyError("bug")))
        with capture_logs():
            self.settle()

    @rule(key=st.sampled_from(KEYS))
    def purge(self, key: str) -> None:
        self.cache.purge(lambda other: other == key)
        self.stored.pop(key, None)
        self.flying.pop(key, None)
        self.settle()

    @rule(seconds=st.sampled_from([0.5, 29.5, 30.0, 59.5, 60.0, 540.0, 600.0, 86_000.0]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @invariant()
    def a_copy_is_what_was_stored_under_its_key_and_as_old_as_it_is(self) -> None:
        for key in KEYS:
            assert self.cache.peek(key) == self.expected(key)

    def expected(self, key: str) -> Copy[str] | None:
        if key not in self.stored:
            return None
        value, stored_at = self.stored[key]
        age_s = self.clock.now - stored_at
        if value is None:
            return Copy(None, age_s, "absent") if age_s < WINDOWS.absent_s else None
        if age_s < WINDOWS.fresh_s:
            return Copy(value, age_s, "fresh")
        if age_s < WINDOWS.revalidate_s:
            return Copy(value, age_s, "revalidating")
        return Copy(value, age_s, "stale") if age_s < WINDOWS.on_error_s else None


TestCacheOverTime = CacheOverTime.TestCase
