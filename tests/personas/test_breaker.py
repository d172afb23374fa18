from collections import deque

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from personas.breaker import Breaker, BreakerState, Limits, Permit
from tests.fakes_personas import FakeClock

LIMITS = Limits(in_a_row=3, window=6, share=0.5, open_s=10.0)


class Bench:
    """A breaker, its clock, and what it told."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.told: list[BreakerState] = []
        self.breaker = Breaker(clock=self.clock, limits=LIMITS, changed=self.told.append)

    def permit(self) -> Permit:
        permit = self.breaker.ask()
        assert permit is not None
        return permit

    def answers(self, outcomes: str) -> None:
        """``.`` an answer, ``x`` a failure."""
        for outcome in outcomes:
            (self.breaker.failed if outcome == "x" else self.breaker.answered)(self.permit())


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.mark.parametrize(
    ("outcomes", "state"),
    [
        pytest.param("", "closed", id="nothing yet"),
        pytest.param("xx", "closed", id="too few"),
        pytest.param("xxx", "open", id="in a row"),
        pytest.param("xx.xx", "closed", id="an answer between"),
        pytest.param(".xx.x", "closed", id="half, of too few"),
        pytest.param(".xx.x.", "open", id="half of the window"),
        pytest.param(".....x.x.", "closed", id="a third of the window"),
        pytest.param("x.x......x", "closed", id="old failures are forgotten"),
    ],
)
def test_it_opens_after_failures_in_a_row_or_a_share_of_them(
    bench: Bench, outcomes: str, state: BreakerState
) -> None:
    bench.answers(outcomes)

    assert bench.breaker.state == state
    assert bench.told == (["open"] if state == "open" else [])


def test_open_it_lets_nothing_through_until_its_time_is_over(bench: Bench) -> None:
    bench.answers("xxx")
    bench.clock.advance(9.9)
    assert bench.breaker.ask() is None

    bench.clock.advance(0.1)

    assert bench.breaker.state == "half_open"
    assert bench.breaker.ask() is not None
    assert bench.breaker.ask() is None


@pytest.mark.parametrize("answered", [True, False])
def test_the_probe_decides(bench: Bench, *, answered: bool) -> None:
    bench.answers("xxx")
    bench.clock.advance(10)
    probe = bench.permit()

    (bench.breaker.answered if answered else bench.breaker.failed)(probe)

    assert bench.breaker.state == ("closed" if answered else "open")
    assert bench.told == ["open", "closed" if answered else "open"]


def test_a_probe_that_was_not_sent_leaves_its_place_to_another(bench: Bench) -> None:
    bench.answers("xxx")
    bench.clock.advance(10)

    bench.breaker.withdrawn(bench.permit())

    assert bench.breaker.ask() is not None


def test_old_news_changes_nothing(bench: Bench) -> None:
    early = [bench.permit() for _ in range(4)]
    bench.answers("xxx")
    bench.clock.advance(10)
    probe = bench.permit()

    bench.breaker.answered(early[0])
    bench.breaker.failed(early[1])
    bench.breaker.withdrawn(early[2])
    assert bench.breaker.state == "half_open"
    bench.breaker.answered(probe)
    for permit in early:
        bench.breaker.failed(permit)

    assert bench.told == ["open", "closed"]


def test_closed_again_it_has_forgotten_what_was_before(bench: Bench) -> None:
    bench.answers("xxx")
    bench.clock.advance(10)
    bench.breaker.answered(bench.permit())

    bench.answers("xx")

    assert bench.breaker.state == "closed"


class BreakerOverTime(RuleBasedStateMachine):
    """Any order of requests, ends and waiting, against a model that knows its history."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.breaker = Breaker(clock=self.clock, limits=LIMITS)
        self.state: BreakerState = "closed"
        self.opened_at = 0.0
        self.life = 0
        self.history: deque[bool] = deque(maxlen=LIMITS.window)
        self.flying: list[tuple[Permit, int, bool]] = []  # with the life it is of; is it the probe

    def probing(self) -> bool:
        return any(probe and life == self.life for _, life, probe in self.flying)

    def turn(self, state: BreakerState) -> None:
        self.state = state
        self.life += 1
        self.opened_at = self.clock.now
        self.history.clear()

    @rule()
    def ask(self) -> None:
        permit = self.breaker.ask()

        allowed = self.state == "closed" or (self.state == "half_open" and not self.probing())
        assert (permit is not None) == allowed
        if permit is not None:
            self.flying.append((permit, self.life, self.state == "half_open"))

    @precondition(lambda self: self.flying)
    @rule(pick=st.integers(0, 50), end=st.sampled_from(["answered", "failed", "withdrawn"]))
    def land(self, pick: int, end: str) -> None:
        permit, life, probe = self.flying.pop(pick % len(self.flying))

        getattr(self.breaker, end)(permit)
        self.breaker.withdrawn(permit)  # as a `finally` does

        if life != self.life or end == "withdrawn":
            return
        if probe:
            self.turn("closed" if end == "answered" else "open")
            return
        self.history.append(end == "failed")
        row = 0
        for failure in self.history:
            row = row + 1 if failure else 0
        full = len(self.history) == LIMITS.window
        if row >= LIMITS.in_a_row or (full and sum(self.history) >= LIMITS.window / 2):
            self.turn("open")

    @rule(seconds=st.sampled_from([0.1, 5.0, 9.9, 10.0, 100.0]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)
        if self.state == "open" and self.clock.now - self.opened_at >= LIMITS.open_s:
            self.state = "half_open"

    @invariant()
    def it_is_what_the_model_says(self) -> None:
        assert self.breaker.state == self.state

    @invariant()
    def at_most_one_probe_is_under_way(self) -> None:
        assert sum(probe and life == self.life for _, life, probe in self.flying) <= 1


TestBreakerOverTime = BreakerOverTime.TestCase
