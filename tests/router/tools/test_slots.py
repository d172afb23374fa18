from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personas.options import Calendar, Hours
from router.tools.slots import Span, free_of, in_part, in_words, local, spans_of

BERLIN = ZoneInfo("Europe/Berlin")
ALL_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MONDAY = date(2026, 11, 23)


def calendar(opens: str, closes: str, minutes: int = 30) -> Calendar:
    hours = Hours(days=ALL_DAYS, opens=opens, closes=closes)
    return Calendar(hours=(hours,), slot_minutes=minutes)


def walls(spans: list[Span], zone: ZoneInfo = BERLIN) -> list[str]:
    return [f"{local(span.starts, zone):%H:%M}" for span in spans]


def test_a_day_is_cut_into_appointments_that_end_in_time() -> None:
    assert walls(spans_of(calendar("09:00", "10:45"), MONDAY, BERLIN)) == [
        "09:00",
        "09:30",
        "10:00",
    ]


def test_without_hours_it_is_a_working_day() -> None:
    assert len(spans_of(Calendar(slot_minutes=60), MONDAY, BERLIN)) == 8
    assert spans_of(Calendar(), date(2026, 11, 22), BERLIN) == []


def test_when_clocks_go_forward_the_hour_that_is_not_there_has_no_appointments() -> None:
    forward = spans_of(calendar("01:00", "05:00", 60), date(2026, 3, 29), BERLIN)

    assert walls(forward) == ["01:00", "03:00", "04:00"]


def test_when_clocks_go_back_the_hour_that_comes_twice_has_them_twice() -> None:
    back = spans_of(calendar("01:00", "04:00", 60), date(2026, 10, 25), BERLIN)

    assert walls(back) == ["01:00", "02:00", "02:00", "03:00"]
    assert len({span.starts for span in back}) == 4


def test_open_beyond_midnight() -> None:
    assert walls(spans_of(calendar("22:00", "01:00", 60), MONDAY, BERLIN)) == [
        "22:00",
        "23:00",
        "00:00",
    ]


def test_what_is_taken_or_past_is_not_free() -> None:
    spans = spans_of(calendar("09:00", "12:00", 60), MONDAY, BERLIN)
    half_past_nine = Span(spans[0].starts + 1800, spans[0].starts + 5400)

    assert walls(free_of(spans, [half_past_nine], 0)) == ["11:00"]
    assert walls(free_of(spans, [], spans[0].starts)) == ["10:00", "11:00"]


def test_the_part_of_the_day_is_by_the_clock_on_the_wall() -> None:
    spans = spans_of(calendar("08:00", "20:00", 240), MONDAY, BERLIN)

    assert walls(in_part(spans, "Morning", BERLIN)) == ["08:00"]
    assert walls(in_part(spans, "afternoon", BERLIN)) == ["12:00", "16:00"]
    assert walls(in_part(spans, "sometime", BERLIN)) == ["08:00", "12:00", "16:00"]


def test_the_model_is_told_the_exact_beginning() -> None:
    spans = spans_of(calendar("09:00", "10:00", 60), MONDAY, BERLIN)

    assert in_words(spans, MONDAY, BERLIN) == (
        "Free on Monday, 23 November 2026, Europe/Berlin time: "
        "09:00 (start 2026-11-23T09:00+01:00)."
    )
    assert in_words([], MONDAY, BERLIN) == "Nothing is free on Monday, 23 November 2026."


@given(
    st.dates(min_value=date(2020, 1, 1), max_value=date(2035, 12, 31)),
    st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC"]),
    st.integers(5, 480),
    st.integers(0, 23),
    st.integers(0, 23),
)
def test_appointments_of_any_day_follow_one_another_and_never_overlap(
    day: date, zone: str, minutes: int, opens: int, closes: int
) -> None:
    where = ZoneInfo(zone)
    spans = spans_of(calendar(f"{opens:02}:15", f"{closes:02}:45", minutes), day, where)

    assert all(a.ends <= b.starts for a, b in pairwise(spans))
    assert all(span.ends - span.starts == minutes * 60 for span in spans)
    for span in spans:
        at = datetime.fromtimestamp(span.starts, UTC)
        assert abs(at - datetime(day.year, day.month, day.day, 12, tzinfo=UTC)) < timedelta(days=3)


@pytest.mark.parametrize("other", [Span(10, 20), Span(15, 16), Span(0, 11), Span(19, 30)])
def test_spans_overlap_when_they_share_a_moment(other: Span) -> None:
    assert Span(10, 20).overlaps(other)
    assert other.overlaps(Span(10, 20))
    assert not Span(10, 20).overlaps(Span(20, 30))
