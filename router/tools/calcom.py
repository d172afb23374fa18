"""Cal.com as a calendar, through version 2 of its API."""

import asyncio
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

import httpx

from personas.options import Calendar
from router.errors import BookingRefused, CalendarAway
from router.principals import DEFAULT_TENANT
from router.tools.calendars import Booking
from router.tools.slots import Span

DEADLINE_S: Final = 6.0
SLOTS_VERSION: Final = "2024-09-04"
BOOKINGS_VERSION: Final = "2024-08-13"
EMAIL_NEEDED: Final = "The calendar needs an e-mail address: ask the caller for it."
REFUSED: Final = "That time cannot be had. Look with check_calendar what is free."


class CalCom:
    """Asks Cal.com at *base*; a calendar's name is the id of an event type."""

    def __init__(self, client: httpx.AsyncClient, *, base: str, api_key: str) -> None:
        self._client = client
        self._base = base.rstrip("/")
        self._key = api_key

    async def free(
        self,
        calendar: Calendar,
        day: date,
        zone: ZoneInfo,
        tenant: str = DEFAULT_TENANT,  # noqa: ARG002 - its calendars are known by their ids
    ) -> list[Span]:
        """Return what is free on *day*; raises CalendarAway."""
        query = {
            "eventTypeId": calendar.name,
            "start": day.isoformat(),
            "end": (day + timedelta(days=1)).isoformat(),
            "timeZone": zone.key,
        }
        answer = await self._ask("GET", "slots", SLOTS_VERSION, params=query)
        if answer.status_code != httpx.codes.OK:
            raise CalendarAway(f"status {answer.status_code}")
        try:
            found = answer.json()["data"].get(day.isoformat(), [])
            starts = sorted(int(datetime.fromisoformat(one["start"]).timestamp()) for one in found)
        except (ValueError, KeyError, TypeError, AttributeError) as exc:
            raise CalendarAway("its answer cannot be read") from exc
        length = calendar.slot_minutes * 60
        return [Span(at, at + length) for at in starts]

    async def book(
        self, calendar: Calendar, start: datetime, zone: ZoneInfo, booking: Booking
    ) -> Span:
        """Take one; raises BookingRefused and CalendarAway."""
        if booking.email is None:
            raise BookingRefused(EMAIL_NEEDED)
        if not calendar.name.isdigit():
            raise CalendarAway("its name is no event type's id")
        attendee = {"name": booking.name, "email": booking.email, "timeZone": zone.key}
        wanted = {
            "start": start.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            "eventTypeId": int(calendar.name),
            "attendee": attendee | ({"phoneNumber": booking.phone} if booking.phone else {}),
            "metadata": {"call_id": booking.call_id},
        }
        answer = await self._ask("POST", "bookings", BOOKINGS_VERSION, json=wanted)
        if answer.status_code in (httpx.codes.BAD_REQUEST, httpx.codes.CONFLICT):
            raise BookingRefused(REFUSED)
        if answer.status_code not in (httpx.codes.OK, httpx.codes.CREATED):
            raise CalendarAway(f"status {answer.status_code}")
        try:
            at = int(datetime.fromisoformat(answer.json()["data"]["start"]).timestamp())
        except (ValueError, KeyError, TypeError) as exc:
            raise CalendarAway("its answer cannot be read") from exc
        return Span(at, at + calendar.slot_minutes * 60)

    async def _ask(self, method: str, path: str, version: str, **request: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self._key}", "cal-api-version": version}
        try:
            async with asyncio.timeout(DEADLINE_S):
                return await self._client.request(
                    method, f"{self._base}/{path}", headers=headers, **request
                )
        except (httpx.HTTPError, TimeoutError) as exc:
            raise CalendarAway("it did not answer") from exc
