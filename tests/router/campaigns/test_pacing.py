"""The pace, and the room that campaigns leave to callers."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from router.campaigns.pacing import SLOWEST, outbound_room, taken, wait_s

RATES = st.floats(min_value=0.05, max_value=100)


@given(RATES, st.lists(st.floats(min_value=0, max_value=5), max_size=60))
def test_no_window_ever_holds_more_than_the_rate_allows(rate: float, pauses: list[float]) -> None:
    now, next_at, calls = 1_000.0, 0.0, []
    for pause in pauses:
        now += pause
        if wait_s(next_at, now) == 0:
            calls.append(now)
            next_at = taken(next_at, now, rate)

    for first, second in itertools.pairwise(calls):
        assert second - first >= 1 / rate - 1e-6


@given(RATES, st.integers(min_value=2, max_value=200))
def test_whoever_asks_in_time_gets_the_whole_rate(rate: float, count: int) -> None:
    now = next_at = 1_000.0
    for _ in range(count):
        now += wait_s(next_at, now)
        next_at = taken(next_at, now, rate)

    assert abs((now - 1_000.0) - (count - 1) / rate) < 1e-6 * count


@given(RATES, st.floats(min_value=-1, max_value=2))
def test_a_brake_slows_and_neither_stops_nor_hurries(rate: float, brake: float) -> None:
    braked = taken(0.0, 1_000.0, rate, brake) - 1_000.0

    assert 1 / rate - 1e-9 <= braked <= 1 / (rate * SLOWEST) + 1e-6


@given(*[st.integers(min_value=0, max_value=500)] * 3)
def test_what_is_kept_for_callers_is_never_given_away(
    capacity: int, reserved: int, inbound: int
) -> None:
    room = outbound_room(capacity, reserved, inbound)

    assert room == 0 or room + max(reserved, inbound) <= capacity
