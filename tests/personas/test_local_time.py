from datetime import UTC, datetime

import pytest

from personas.local_time import spoken_time, zone_for

SUMMER = datetime(2026, 7, 4, 12, 0, tzinfo=UTC)
WINTER = datetime(2026, 1, 4, 3, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("home", "number", "zone"),
    [
        ("Asia/Kolkata", "+4930901820", "Asia/Kolkata"),
        (None, "+4930901820", "Europe/Berlin"),
        (None, "+13125550123", "America/Chicago"),
        (None, "+18005550123", "UTC"),  # a freephone number may be anywhere
        (None, "+7", "UTC"),
        (None, "nonsense", "UTC"),
        (None, None, "UTC"),
    ],
)
def test_the_zone_is_the_personas_else_the_numbers_else_utc(
    home: str | None, number: str | None, zone: str
) -> None:
    assert zone_for(home, number, SUMMER).key == zone


@pytest.mark.parametrize(
    ("at", "number", "said"),
    [
        (SUMMER, "+4930901820", "Saturday, 4 July 2026, 14:00 in the afternoon (Berlin time)"),
        (WINTER, "+4930901820", "Sunday, 4 January 2026, 04:00 at night (Berlin time)"),
        (WINTER, "+13125550123", "Saturday, 3 January 2026, 21:00 in the evening (Chicago time)"),
        (SUMMER, None, "Saturday, 4 July 2026, 12:00 in the afternoon (UTC)"),
    ],
)
def test_the_time_is_said_as_people_say_it(at: datetime, number: str | None, said: str) -> None:
    assert spoken_time(at, zone_for(None, number, at)) == said
