"""The built-in calendar: appointments in the records store, none of which overlap."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from personas.options import Calendar
from router.db import Store, metadata
from router.errors import BookingRefused, CalendarAway, StoreUnavailable
from router.principals import DEFAULT_TENANT
from router.tools.calendars import Booking
from router.tools.slots import Span, free_of, in_words, local, spans_of

appointments = sa.Table(
    "appointments",
    metadata,
    sa.Column("tenant", sa.String(40), primary_key=True),
    sa.Column("calendar", sa.String(200), primary_key=True),
    sa.Column("starts_at", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("ends_at", sa.BigInteger, nullable=False),
    sa.Column("id", sa.String(40), nullable=False, unique=True),
    sa.Column("call_id", sa.String(40), nullable=False),
    sa.Column("name", sa.String(200), nullable=False),
    sa.Column("email", sa.String(300)),
    sa.Column("phone", sa.String(40)),
    sa.Column("notes", sa.Text, nullable=False),
    sa.Column("made_at", sa.Float, nullable=False),
)

TAKEN = "Somebody else has just taken that time."
CLOSED = "That is no time at which appointments begin."
_LONGEST_S = 24 * 3600  # of an appointment: how far before a span one may begin that overlaps it


@dataclass(frozen=True, slots=True)
class Appointment:
    """One row."""

    id: str
    span: Span
    name: str
    email: str | None
    phone: str | None
    notes: str
    made_at: float


class BuiltInCalendar:
    """Appointments of all calendars by their names. *clock* gives Unix seconds."""

    def __init__(self, store: Store, *, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock

    async def free(
        self, calendar: Calendar, day: date, zone: ZoneInfo, tenant: str = DEFAULT_TENANT
    ) -> list[Span]:
        """Return what is free on *day*; raises CalendarAway."""
        spans = spans_of(calendar, day, zone)
        if not spans:
            return []
        whole = Span(spans[0].starts, spans[-1].ends)
        try:
            taken = await self._store.read(lambda c: _overlapping(c, tenant, calendar.name, whole))
        except StoreUnavailable as exc:
            raise CalendarAway("the database did not answer") from exc
        return free_of(spans, [span for span, _ in taken], self._clock())

    async def book(
        self, calendar: Calendar, start: datetime, zone: ZoneInfo, booking: Booking
    ) -> Span:
        """Take one; raises BookingRefused and CalendarAway.

        Two callers who ask at the same moment wait for each other: SQLite has one writer, and on
        PostgreSQL a lock for each calendar does it, since no unique key forbids two appointments
        of different lengths to overlap.
        """
        starts, now = int(start.timestamp()), self._clock()
        day = local(starts, zone).date()
        spans = {span.starts: span for span in spans_of(calendar, day, zone)}
        span = spans.get(starts)
        if span is None or starts <= now:
            raise BookingRefused(CLOSED)

        def take(connection: sa.Connection) -> bool:
            if connection.dialect.name == "postgresql":
                lock = sa.func.pg_advisory_xact_lock(
                    sa.func.hashtext(f"calendar {booking.tenant} {calendar.name}")
                )
                connection.execute(sa.select(lock))
            for other, call_id in _overlapping(connection, booking.tenant, calendar.name, span):
                return other == span and call_id == booking.call_id
            connection.execute(
                sa.insert(appointments).values(
                    tenant=booking.tenant,
                    calendar=calendar.name,
                    starts_at=span.starts,
                    ends_at=span.ends,
                    id=uuid.uuid4().hex,
                    call_id=booking.call_id,
                    name=booking.name,
                    email=booking.email,
                    phone=booking.phone,
                    notes=booking.notes,
                    made_at=now,
                )
            )
            return True

        try:
            taken = await self._store.write(take)
        except StoreUnavailable as exc:
            raise CalendarAway("the database did not answer") from exc
        if not taken:
            free = await self.free(calendar, day, zone, booking.tenant)
            raise BookingRefused(f"{TAKEN} {in_words(free, day, zone)}")
        return span

    async def upcoming(
        self, name: str, *, since: float, tenant: str = DEFAULT_TENANT
    ) -> list[Appointment]:
        """Return the appointments of a calendar that end after *since*; raises StoreUnavailable."""
        mine = (appointments.c.tenant == tenant) & (appointments.c.calendar == name)
        select = (
            sa.select(appointments)
            .where(mine, appointments.c.ends_at > since)
            .order_by(appointments.c.starts_at)
        )
        rows = await self._store.read(lambda connection: connection.execute(select).all())
        return [
            Appointment(
                row.id,
                Span(row.starts_at, row.ends_at),
                row.name,
                row.email,
                row.phone,
                row.notes,
                row.made_at,
            )
            for row in rows
        ]


def _overlapping(
    connection: sa.Connection, tenant: str, name: str, span: Span
) -> list[tuple[Span, str]]:
    at = appointments.c
    select = sa.select(at.starts_at, at.ends_at, at.call_id).where(
        at.tenant == tenant,
        at.calendar == name,
        at.starts_at < span.ends,
        at.starts_at > span.starts - _LONGEST_S,
        at.ends_at > span.starts,
    )
    return [(Span(row.starts_at, row.ends_at), row.call_id) for row in connection.execute(select)]
