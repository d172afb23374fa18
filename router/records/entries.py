"""What the journal has, read back."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import sqlalchemy as sa

from router.db import Store
from router.records.journal import WATCH, Decided, journal
from router.records.pages import Page, page_of
from router.routing import Event, Participant


@dataclass(frozen=True, slots=True)
class Entry:
    """One delivery as the journal has it. Nothing but ``again`` is personal data."""

    id: int
    received_at: float
    status: int
    verdict: str
    because: str
    decision: Decided | None
    event_id: str | None
    event: str | None
    room_sid: str | None
    call_id: str | None
    attempt: int | None
    source: str | None
    version: str | None
    tenant: str
    answer_ms: float | None
    stages: Mapping[str, float]
    body: Mapping[str, Any]
    again: "Again | None" = field(repr=False)  # None: no call to answer

    @property
    def by_watch(self) -> bool:
        """Whether no delivery told it: the watch over the rooms saw or did it."""
        return (self.event or "").startswith(WATCH)

    @property
    def participant(self) -> Mapping[str, Any]:
        """The party that it is about, as far as that may be shown."""
        party: Mapping[str, Any] = self.body.get("participant") or {}
        return party

    def as_shown(self) -> Event:
        """Return the event, as far as it may be shown."""
        return Event(
            event_id=self.event_id or "",
            name="participant_joined" if self.by_watch else self.event or "",
            created_at=float(self.body.get("created_at", 0.0)),
            room="",
            room_sid=self.room_sid or "",
            participant=Participant(
                sid=str(self.participant.get("sid", "")),
                identity="",
                kind=self.kind,
                attributes=self.attributes,
            )
            if self.participant
            else None,
            room_created_at=float((self.body.get("room") or {}).get("created_at", 0.0)),
        )

    @property
    def kind(self) -> str:
        """SIP, AGENT …; empty without a participant."""
        return str(self.participant.get("kind", ""))

    @property
    def attributes(self) -> Mapping[str, str]:
        """The participant's attributes, as far as they may be shown."""
        attributes: Mapping[str, str] = self.participant.get("attributes") or {}
        return attributes


@dataclass(frozen=True, slots=True)
class Again:
    """What deciding on a call again takes. Personal data: never shown."""

    event: Event
    number: str | None  # E.164, as it was understood then
    region: str | None

    @property
    def attributes(self) -> Mapping[str, str]:
        """The caller's attributes, as far as they decide."""
        return self.event.participant.attributes if self.event.participant else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Which:
    """Which deliveries; None: any."""

    id: int | None = None
    verdict: str | None = None
    event: str | None = None
    call_id: str | None = None


@dataclass(frozen=True, slots=True)
class Raised:
    """How often the watch did something in a while, and when last (Unix seconds)."""

    action: str
    times: int
    last_at: float


_NEWEST = sa.select(journal).order_by(journal.c.id.desc())


async def named(store: Store, name: str, tenant: str | None = None) -> list[Entry]:
    """Return the entries of *name*: an entry's id, an event's, or a call's; oldest first."""
    newest = _NEWEST if tenant is None else _NEWEST.where(journal.c.tenant == tenant)
    if name.isascii() and name.isdigit() and len(name) < len(str(2**63)):
        return await _entries(store, newest.where(journal.c.id == int(name)))
    column = journal.c.event_id if name.startswith("EV_") else journal.c.call_id
    return await _entries(store, newest.where(column == name))


async def last_calls(store: Store, most: int) -> list[Entry]:
    """Return the last *most* deliveries of callers, oldest first."""
    return await _entries(store, _NEWEST.where(journal.c.replay.is_not(None)).limit(most))


async def deliveries_of(
    store: Store, tenant: str, which: Which, cursor: str | None = None, limit: int = 50
) -> Page[Entry]:
    """Return a tenant's deliveries, whatever they tell, the latest first; raises BadCursor."""
    select = sa.select(journal).where(journal.c.tenant == tenant)
    for name in ("verdict", "event", "call_id"):
        if (value := getattr(which, name)) is not None:
            select = select.where(journal.c[name] == value)
    if which.id is not None:
        select = select.where(journal.c.id == which.id)
    found = await page_of(store, select, (journal.c.id,), cursor, limit)
    return Page(tuple(_entry(row) for row in found.rows), found.next)


async def raised(store: Store, tenant: str, since: float, actions: Collection[str]) -> list[Raised]:
    """Count what the watch did for a tenant's calls from *since* on, the latest first."""
    last_at = sa.func.max(journal.c.received_at)
    select = (
        sa.select(journal.c.event, sa.func.count(), last_at)
        .where(
            sa.text("status = 0"),  # as the index has it
            journal.c.tenant == tenant,
            journal.c.received_at >= since,
            journal.c.event.in_([f"{WATCH}{action}" for action in actions]),
        )
        .group_by(journal.c.event)
        .order_by(last_at.desc())
    )
    rows = await store.read(lambda connection: connection.execute(select).all())
    return [Raised(event.removeprefix(WATCH), times, at) for event, times, at in rows]


async def failed_calls(store: Store, most: int) -> list[Entry]:
    """Return the newest delivery of each call that was never dispatched, oldest first."""
    others = journal.alias()
    same = others.c.room_sid == journal.c.room_sid
    done = sa.exists().where(same, others.c.verdict.in_(["dispatched", "duplicate"]))
    later = sa.exists().where(same, others.c.replay.is_not(None), others.c.id > journal.c.id)
    failed = _NEWEST.where(journal.c.replay.is_not(None), ~done, ~later)
    return await _entries(store, failed.limit(most))


async def of_room(store: Store, room_sid: str, most: int = 1_000) -> list[Entry]:
    """Return the deliveries of one room, oldest first."""
    return await _entries(store, _NEWEST.where(journal.c.room_sid == room_sid).limit(most))


async def _entries(store: Store, select: sa.Select[Any]) -> list[Entry]:
    rows = await store.read(lambda connection: connection.execute(select).mappings().all())
    return [_entry(row) for row in reversed(rows)]


def _entry(row: sa.RowMapping) -> Entry:
    values = dict(row)
    kept = json.loads(values.pop("replay") or "null")
    values["stages"] = json.loads(row["stages"])
    values["body"] = json.loads(row["body"] or "{}")
    entry = Entry(**values, again=None)
    return replace(entry, again=_again(entry, kept)) if kept else entry


def _again(entry: Entry, kept: Mapping[str, Any]) -> Again:
    event = entry.as_shown()
    whole = {"identity": kept["identity"], "attributes": kept["attributes"]}
    if event.participant is not None:
        event = event._replace(participant=event.participant._replace(**whole))
    return Again(event._replace(room=kept["room"]), kept["number"], kept["region"])
