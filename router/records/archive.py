"""The records of calls, read: one call, lists by cursor, facts, transcripts.

Lists run newest first. A cursor is what the last row of a page was; pages stay right while calls
come in.
"""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from personas.reports import AnyCallEvent, TurnEvent, read_event
from router.db import Store
from router.records.call_tables import calls, events, fact_counts, facts
from router.records.pages import MAX_PAGE, Page, page_of


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRecord:
    """A call's record; times are Unix seconds."""

    call_id: str
    tenant: str
    direction: str
    room: str | None
    room_sid: str | None
    sip_call_id: str | None
    caller: str | None
    dialed_number: str | None
    trunk: str | None
    persona_name: str | None
    persona_version: str | None
    persona_origin: str | None
    persona_because: str | None
    language: str | None
    campaign_id: str | None
    lead_id: str | None
    started_at: float
    answered_at: float | None
    ended_at: float | None  # None: it goes on, as far as is known
    ring_ms: float | None
    disposition: str | None
    reason: str | None
    duration_s: float | None
    closed_by: str | None  # agent, or router: a guess
    qualification: str | None
    attempts: int
    turns: int
    facts: int
    tool_calls: int
    problems: int
    opened_by: str  # router, or agent: another backend dispatched it
    heard_at: float

    def cells(self) -> dict[str, Any]:
        """Return it by name; of many rows, ``asdict`` takes longer than the database."""
        return {name: getattr(self, name) for name in CallRecord.__slots__}


@dataclass(frozen=True, slots=True, kw_only=True)
class FactRecord:
    """Something that a caller told."""

    call_id: str
    attempt: int
    seq: int
    fact_id: str
    caller: str | None
    at: float
    category: str
    information: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFilter:
    """Which calls; None: any."""

    tenant: str
    caller: str | None = None
    dialed_number: str | None = None
    persona_name: str | None = None
    disposition: str | None = None
    qualification: str | None = None
    campaign_id: str | None = None
    direction: str | None = None
    is_open: bool | None = None
    since: float | None = None  # unix seconds, included
    until: float | None = None  # not included


@dataclass(frozen=True, slots=True, kw_only=True)
class FactFilter:
    """Which facts; None: any."""

    tenant: str
    category: str | None = None
    caller: str | None = None
    call_id: str | None = None
    since: float | None = None
    until: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """How much there is."""

    calls: int
    open_calls: int
    facts: int
    facts_by_category: dict[str, int]


_FACT = [facts.c[name] for name in FactRecord.__slots__]
_FACT_ORDER = (facts.c.at, facts.c.call_id, facts.c.attempt, facts.c.seq)
_CALL_ORDER = (calls.c.started_at, calls.c.call_id)
_EQUAL = (
    "caller",
    "dialed_number",
    "persona_name",
    "disposition",
    "qualification",
    "campaign_id",
    "direction",
)


class Archive:
    """Reads records; everything raises StoreUnavailable when the database does not answer."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def get(self, call_id: str, tenant: str) -> CallRecord | None:
        """Return a call's record, if *tenant* has one."""
        select = sa.select(calls).where(calls.c.call_id == call_id, calls.c.tenant == tenant)
        row = await self._store.read(lambda c: c.execute(select).mappings().first())
        return CallRecord(**row) if row else None

    async def page(
        self, which: CallFilter, cursor: str | None = None, limit: int = 50
    ) -> Page[CallRecord]:
        """Return calls, the one that began last first; raises BadCursor."""
        # Open calls are few, by an index of theirs; an expression keeps the planner off the rest.
        tenant = calls.c.tenant.concat("") if which.is_open else calls.c.tenant
        select = sa.select(calls).where(tenant == which.tenant)
        for name in _EQUAL:
            if (value := getattr(which, name)) is not None:
                select = select.where(calls.c[name] == value)
        if which.is_open is not None:
            ended = calls.c.ended_at
            select = select.where(ended.is_(None) if which.is_open else ended.is_not(None))
        select = _within(select, calls.c.started_at, which.since, which.until)
        found = await page_of(self._store, select, _CALL_ORDER, cursor, limit)
        return Page(tuple(CallRecord(**row) for row in found.rows), found.next)

    async def facts(
        self, which: FactFilter, cursor: str | None = None, limit: int = 50
    ) -> Page[FactRecord]:
        """Return facts, the latest first; raises BadCursor."""
        # One call's facts are few, by the key; an expression keeps the planner off lists' indexes.
        tenant = facts.c.tenant if which.call_id is None else facts.c.tenant.concat("")
        select = sa.select(*_FACT).where(tenant == which.tenant)
        for name in ("category", "caller", "call_id"):
            if (value := getattr(which, name)) is not None:
                select = select.where(facts.c[name] == value)
        select = _within(select, facts.c.at, which.since, which.until)
        found = await page_of(self._store, select, _FACT_ORDER, cursor, limit)
        return Page(tuple(FactRecord(**row) for row in found.rows), found.next)

    async def facts_so_far(self, call_id: str) -> tuple[FactRecord, ...]:
        """Return what was told in a call, in order."""
        select = (
            sa.select(*_FACT)
            .where(facts.c.call_id == call_id)
            .order_by(facts.c.attempt, facts.c.seq)
            .limit(MAX_PAGE)
        )
        found = await self._store.read(lambda c: c.execute(select).mappings().all())
        return tuple(FactRecord(**row) for row in found)

    async def facts_of_caller(
        self,
        caller: str,
        *,
        tenant: str,
        category: str | None = None,
        besides: str | None = None,
        limit: int = 20,
    ) -> tuple[FactRecord, ...]:
        """Return what a caller told, the latest first, but not in the call *besides*."""
        select = sa.select(*_FACT).where(facts.c.tenant == tenant, facts.c.caller == caller)
        if category is not None:
            select = select.where(facts.c.category == category)
        if besides is not None:
            select = select.where(facts.c.call_id != besides)
        found = await page_of(self._store, select, _FACT_ORDER, None, limit)
        return tuple(FactRecord(**row) for row in found.rows)

    async def totals(self, tenant: str) -> Totals:
        """Count what a tenant has."""
        number = sa.select(sa.func.count()).select_from(calls)
        of_tenant = number.where(calls.c.tenant == tenant)
        of_those = number.where(calls.c.tenant.concat("") == tenant)  # by the index of open calls
        own, counted = fact_counts.c, sa.func.sum(fact_counts.c.number)
        by_category = (
            sa.select(own.category, counted)
            .where(own.tenant == tenant)
            .group_by(own.category)
            .having(counted > 0)
            .order_by(own.category)
        )

        def count(connection: sa.Connection) -> Totals:
            categories = {row[0]: int(row[1]) for row in connection.execute(by_category)}
            still_open = of_those.where(calls.c.ended_at.is_(None))
            return Totals(
                calls=connection.execute(of_tenant).scalar_one(),
                open_calls=connection.execute(still_open).scalar_one(),
                facts=sum(categories.values()),
                facts_by_category=categories,
            )

        return await self._store.read(count)

    async def timeline(self, call_id: str) -> tuple[AnyCallEvent, ...]:
        """Return everything that agents told of a call: by attempt, in order."""
        select = (
            sa.select(events.c.body)
            .where(events.c.call_id == call_id, events.c.attempt > 0)
            .order_by(events.c.attempt, events.c.seq)
        )
        found = await self._store.read(lambda c: c.execute(select).scalars().all())
        return tuple(read_event(body) for body in found)

    async def transcript(self, call_id: str) -> tuple[TurnEvent, ...]:
        """Return what was said in a call, in order."""
        told = await self.timeline(call_id)
        return tuple(event for event in told if isinstance(event, TurnEvent))


def _within(
    select: sa.Select[Any], at: sa.Column[float], since: float | None, until: float | None
) -> sa.Select[Any]:
    if since is not None:
        select = select.where(at >= since)
    if until is not None:
        select = select.where(at < until)
    return select
