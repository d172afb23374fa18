"""A calendar that is only looked at: what is booked in it stays free."""

from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo

from personas.options import Calendar
from router.errors import BookingRefused
from router.principals import DEFAULT_TENANT
from router.tools.calendars import Booking, CalendarPort
from router.tools.slots import Span

NOT_FREE = "That time is not free, or no appointments begin then."


@dataclass(frozen=True, slots=True)
class RehearsedCalendar:
    """Answers as *real* would, and takes nothing."""

    real: CalendarPort

    async def free(
        self, calendar: Calendar, day: date, zone: ZoneInfo, tenant: str = DEFAULT_TENANT
    ) -> list[Span]:
        """Return what is free on *day*; raises CalendarAway."""
        return await self.real.free(calendar, day, zone, tenant)

    async def book(
        self, calendar: Calendar, start: datetime, zone: ZoneInfo, booking: Booking
    ) -> Span:
        """Return the appointment that would be taken; raises BookingRefused and CalendarAway."""
        day, starts = start.astimezone(zone).date(), int(start.timestamp())
        free = await self.real.free(calendar, day, zone, booking.tenant)
        found = next((span for span in free if span.starts == starts), None)
        if found is None:
            raise BookingRefused(NOT_FREE)
        return found
