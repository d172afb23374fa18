"""The port to calendars, and the two tools over it: what is free, and to take it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final, Protocol
from zoneinfo import ZoneInfo

from personas.options import Calendar
from router.errors import BookingRefused, CalendarAway, ToolRefused
from router.principals import DEFAULT_TENANT
from router.tools.slots import Span, in_part, in_words, local, said_day

MAX_NAME_CHARS: Final = 200
MAX_NOTES_CHARS: Final = 1_000
_EMAIL: Final = re.compile(r"[^@\s]{1,64}@[^@\s]{1,190}")
BAD_DAY: Final = "Give the day as YYYY-MM-DD; get_current_time tells what day it is."
BAD_START: Final = "Use one of the beginnings exactly as check_calendar gave them."


@dataclass(frozen=True, slots=True, kw_only=True)
class Booking:
    """Who wants an appointment, and in which call."""

    call_id: str
    name: str
    tenant: str = DEFAULT_TENANT
    email: str | None = None
    phone: str | None = None
    notes: str = ""


class CalendarPort(Protocol):
    """One kind of calendar. Each method may raise CalendarAway."""

    async def free(
        self, calendar: Calendar, day: date, zone: ZoneInfo, tenant: str = DEFAULT_TENANT
    ) -> list[Span]:
        """Return the appointments of *day* that can be had."""
        ...

    async def book(
        self, calendar: Calendar, start: datetime, zone: ZoneInfo, booking: Booking
    ) -> Span:
        """Take the appointment that begins at *start*; asked again by the same call: the same one.

        Raises:
            BookingRefused: it cannot be had, or the calendar wants to know more.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CalendarTools:
    """Runs ``check_calendar`` and ``book_appointment``; answers are sentences for the model.

    What cannot be had is an answer, too: only a calendar that is away raises ToolRefused, and the
    agent then withdraws the tools.
    """

    ports: Mapping[str, CalendarPort]  # by provider

    async def check(
        self,
        calendar: Calendar,
        zone: ZoneInfo,
        arguments: Mapping[str, Any],
        tenant: str = DEFAULT_TENANT,
    ) -> str:
        """Say what is free on one day."""
        try:
            day = date.fromisoformat(str(arguments.get("day", "")).strip()[:10])
        except ValueError:
            return BAD_DAY
        part = arguments.get("part_of_day")
        try:
            spans = await self._port(calendar).free(calendar, day, zone, tenant)
        except CalendarAway as exc:
            raise _away(exc) from exc
        wanted = in_part(spans, part if isinstance(part, str) else None, zone)
        if spans and not wanted:
            return f"Not at that time of day. {in_words(spans, day, zone)}"
        return in_words(wanted, day, zone)

    async def book(
        self, calendar: Calendar, zone: ZoneInfo, arguments: Mapping[str, Any], booking: Booking
    ) -> str:
        """Take one appointment."""
        start = _start_of(arguments.get("start"), zone)
        if start is None:
            return BAD_START
        if not booking.name:
            return "Ask for the caller's name first."
        try:
            span = await self._port(calendar).book(calendar, start, zone, booking)
        except BookingRefused as exc:
            return exc.reason
        except CalendarAway as exc:
            raise _away(exc) from exc
        at = local(span.starts, zone)
        return f"Booked: {said_day(at.date())}, {at:%H:%M} ({zone.key} time)."

    def _port(self, calendar: Calendar) -> CalendarPort:
        port = self.ports.get(calendar.provider)
        if port is None:
            raise CalendarAway("not configured")
        return port


def _away(exc: CalendarAway) -> ToolRefused:
    return ToolRefused(f"The calendar cannot be reached: {exc.reason}.", status=409)


def booking_of(
    arguments: Mapping[str, Any],
    *,
    call_id: str,
    phone: str | None,
    tenant: str = DEFAULT_TENANT,
) -> Booking:
    """Read who wants an appointment from a tool's arguments."""
    email = str(arguments.get("email") or "").strip()
    return Booking(
        call_id=call_id,
        tenant=tenant,
        name=" ".join(str(arguments.get("name") or "").split())[:MAX_NAME_CHARS],
        email=email if _EMAIL.fullmatch(email) else None,
        phone=phone,
        notes=" ".join(str(arguments.get("notes") or "").split())[:MAX_NOTES_CHARS],
    )


def _start_of(value: Any, zone: ZoneInfo) -> datetime | None:
    try:
        start = datetime.fromisoformat(str(value).strip())
        start = start if start.tzinfo else start.replace(tzinfo=zone)
        start.timestamp()
    except (ValueError, OverflowError):
        return None
    return start
