"""The built-in calendar on each database."""

import asyncio
from datetime import date, datetime
from zoneinfo import ZoneInfo

import pytest

from personas.options import Calendar, Hours
from router.db import Store
from router.errors import BookingRefused
from router.records.appointments import BuiltInCalendar
from router.tools.calendars import Booking
from tests.fakes_personas import FakeClock

BERLIN = ZoneInfo("Europe/Berlin")
DAY = date(2026, 11, 23)
NINE = datetime(2026, 11, 23, 9, 0, tzinfo=BERLIN)
HOURS = (Hours(days=("mon",), opens="09:00", closes="12:00"),)
CALENDAR = Calendar(name="desk", hours=HOURS, slot_minutes=60)


@pytest.fixture
def desk(store: Store) -> BuiltInCalendar:
    clock = FakeClock()
    clock.now = datetime(2026, 11, 20, tzinfo=BERLIN).timestamp()
    return BuiltInCalendar(store, clock=clock)


def booking(call_id: str = "c1") -> Booking:
    return Booking(call_id=call_id, name="Ruth", email="ruth@example.org", notes="Tooth, left")


async def test_what_is_booked_is_not_free_any_more(desk: BuiltInCalendar) -> None:
    assert len(await desk.free(CALENDAR, DAY, BERLIN)) == 3

    span = await desk.book(CALENDAR, NINE, BERLIN, booking())

    assert span.starts == int(NINE.timestamp())
    assert span not in await desk.free(CALENDAR, DAY, BERLIN)
    assert len(await desk.free(Calendar(name="other", hours=HOURS), DAY, BERLIN)) == 6


async def test_of_many_callers_at_once_one_gets_it(desk: BuiltInCalendar) -> None:
    tries = (desk.book(CALENDAR, NINE, BERLIN, booking(f"c{number}")) for number in range(12))

    outcomes = await asyncio.gather(*tries, return_exceptions=True)

    refused = [one for one in outcomes if isinstance(one, BookingRefused)]
    assert len(refused) == 11
    assert "10:00" in refused[0].reason


async def test_appointments_of_different_lengths_do_not_overlap_either(
    desk: BuiltInCalendar,
) -> None:
    longer = CALENDAR.model_copy(update={"slot_minutes": 90})
    tries = [
        desk.book(CALENDAR, NINE.replace(hour=10), BERLIN, booking("short")),
        desk.book(longer, NINE, BERLIN, booking("long")),
    ]

    outcomes = await asyncio.gather(*tries, return_exceptions=True)

    assert len([one for one in outcomes if isinstance(one, BookingRefused)]) == 1


async def test_the_same_call_asks_again_and_has_it(desk: BuiltInCalendar) -> None:
    first = await desk.book(CALENDAR, NINE, BERLIN, booking())

    assert await desk.book(CALENDAR, NINE, BERLIN, booking()) == first
    assert len(await desk.upcoming("desk", since=0)) == 1


@pytest.mark.parametrize(
    "start",
    [
        NINE.replace(minute=10),
        NINE.replace(hour=8),
        NINE.replace(hour=12),
        NINE.replace(day=24),
        datetime(2026, 11, 16, 9, 0, tzinfo=BERLIN),
    ],
)
async def test_a_time_that_is_none_is_refused(desk: BuiltInCalendar, start: datetime) -> None:
    with pytest.raises(BookingRefused):
        await desk.book(CALENDAR, start, BERLIN, booking())
