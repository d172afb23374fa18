"""What time it is for the persona or for the other side, as one says it. Pure."""

from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import phonenumbers
from phonenumbers import timezone

_PARTS: Final = ((5, "at night"), (12, "in the morning"), (18, "in the afternoon"))
_LATE: Final = 22


def zone_for(home: str | None, number: str | None, at: datetime) -> ZoneInfo:
    """Pick the persona's own zone, else that of the E.164 *number* of the other side, else UTC.

    A number that may be in several zones counts when it is the same time in all of them.
    """
    names = (home,) if home else _zones_of(number)
    zones = [zone for name in names if (zone := _zone(name)) is not None]
    if zones and len({at.astimezone(zone).utcoffset() for zone in zones}) == 1:
        return zones[0]
    return ZoneInfo("UTC")


def spoken_time(at: datetime, zone: ZoneInfo) -> str:
    """Say what *at* is in *zone*: ``Saturday, 21 November 2026, 11:38 in the morning …``."""
    local = at.astimezone(zone)
    part = next((name for until, name in _PARTS if local.hour < until), "in the evening")
    part = "at night" if local.hour >= _LATE else part
    place = "UTC" if zone.key == "UTC" else f"{zone.key.rpartition('/')[2]} time"
    day = f"{local:%A}, {local.day} {local:%B %Y}"
    return f"{day}, {local:%H:%M} {part} ({place.replace('_', ' ')})"


def told(at: datetime, home: str | None, number: str | None) -> str:
    """Say what *at* is, to a model that asked; *home* and *number* as for ``zone_for``."""
    return f"It is {spoken_time(at, zone_for(home, number, at))}."


def now() -> datetime:
    """Read the clock."""
    return datetime.now(UTC)


def _zones_of(number: str | None) -> tuple[str, ...]:
    if not number:
        return ()
    try:
        parsed = phonenumbers.parse(number, None)
    except phonenumbers.NumberParseException:
        return ()
    return tuple(timezone.time_zones_for_number(parsed))


def _zone(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return None  # "Etc/Unknown" and the like
