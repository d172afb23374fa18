"""When appointments can begin, by opening hours and what is taken. Pure: no I/O, no clock."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from personas.options import Calendar, Hours

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
#: When a calendar says nothing of its hours.
USUAL_HOURS: Final = (
    Hours(days=("mon", "tue", "wed", "thu", "fri"), opens="09:00", closes="17:00"),
)
_PARTS: Final = {"morning": (0, 12), "afternoon": (12, 17), "evening": (17, 24)}
_SHOWN: Final = 24


@dataclass(frozen=True, slots=True)
class Span:
    """From *starts* to *ends*, Unix seconds."""

    starts: int
    ends: int

    def overlaps(self, other: "Span") -> bool:
        """Whether they have a moment in common."""
        return self.starts < other.ends and other.starts < self.ends


def spans_of(calendar: Calendar, day: date, zone: ZoneInfo) -> list[Span]:
    """Cut the opening hours of *day* into appointments.

    Hours are by the clock on the wall; appointments follow one another in real time. On the day on
    which clocks go forward there are fewer of them, and on the day on which they go back more.
    """
    length = calendar.slot_minutes * 60
    found: dict[int, Span] = {}
    for hours in calendar.hours or USUAL_HOURS:
        if DAYS[day.weekday()] not in hours.days:
            continue
        opens = _at(day, hours.opens, zone, fold=0)
        closes = _at(day, hours.closes, zone, fold=1)
        if hours.closes <= hours.opens:  # open beyond midnight
            closes = _at(day + timedelta(days=1), hours.closes, zone, fold=1)
        for starts in range(opens, closes - length + 1, length):
            found[starts] = Span(starts, starts + length)
    return [found[starts] for starts in sorted(found)]


def free_of(spans: Iterable[Span], taken: Sequence[Span], now: float) -> list[Span]:
    """Leave those that nobody has and that have not begun."""
    return [
        span
        for span in spans
        if span.starts > now and not any(span.overlaps(other) for other in taken)
    ]


def in_part(spans: Iterable[Span], part_of_day: str | None, zone: ZoneInfo) -> list[Span]:
    """Leave those that begin in the morning, afternoon or evening; another word: all."""
    first, last = _PARTS.get((part_of_day or "").strip().lower(), (0, 24))
    return [span for span in spans if first <= local(span.starts, zone).hour < last]


def local(at: float, zone: ZoneInfo) -> datetime:
    """Give a moment as the clock on the wall shows it."""
    return datetime.fromtimestamp(at, UTC).astimezone(zone)


def said_day(day: date) -> str:
    """Say a day: ``Monday, 23 November 2026``."""
    return f"{day:%A}, {day.day} {day:%B %Y}"


def in_words(spans: Sequence[Span], day: date, zone: ZoneInfo) -> str:
    """Tell the model what is free, with the exact beginning of each."""
    if not spans:
        return f"Nothing is free on {said_day(day)}."
    times = ", ".join(
        f"{at:%H:%M} (start {at.isoformat(timespec='minutes')})"
        for at in (local(span.starts, zone) for span in spans[:_SHOWN])
    )
    return f"Free on {said_day(day)}, {zone.key} time: {times}."


def _at(day: date, clock: str, zone: ZoneInfo, *, fold: int) -> int:
    hour, minute = map(int, clock.split(":"))
    wall = datetime.combine(day, time(hour, minute, fold=fold), tzinfo=zone)
    return int(wall.timestamp())
