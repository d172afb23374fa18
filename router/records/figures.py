"""What the calls of a day have in common: counts and percentiles, by the hour.

The database counts each hour once and this process keeps what it said: nobody reads a day's calls
to show a page. The hours that calls still change (this one, the last, and the one that is only
partly within the day) are counted each time. The others are counted in the background, from the
start on, and again now and then, a few at a time, for what is reported late or deleted.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import ceil
from typing import Any, Final

import sqlalchemy as sa
import structlog
from cachetools import LRUCache

from router.db import Store
from router.errors import StoreUnavailable
from router.records.call_tables import calls
from router.records.journal import journal

log = structlog.get_logger(__name__)

HOUR_S: Final = 3600
DAY_HOURS: Final = 24
FRESH_HOURS: Final = 2  # this one and the last: nearly all that changes is in them
AGAIN_S: Final = 300.0  # after which an older hour is counted again
AGAIN_AT_ONCE: Final = 2
EVERY_S: Final = 20.0  # between two looks for hours that are missing or old
MAX_SPAN_S: Final = 4 * HOUR_S  # of one reading, which has a deadline
MAX_TENANTS: Final = 100  # of whom hours are counted before anybody looks
MAX_HOURS: Final = 25 * MAX_TENANTS  # that are kept


@dataclass(slots=True)
class Hour:
    """One hour's calls."""

    calls: int = 0
    with_problems: int = 0
    by_origin: Counter[str] = field(default_factory=Counter)
    by_persona: Counter[str] = field(default_factory=Counter)
    by_disposition: Counter[str] = field(default_factory=Counter)
    rings: Counter[int] = field(default_factory=Counter)  # ms, three digits of them, → calls
    ring_p50_ms: float | None = None  # of the rings
    ring_p95_ms: float | None = None
    answers: Counter[int] = field(default_factory=Counter)  # hundredths of a ms → deliveries


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One hour of a chart."""

    at: int  # Unix seconds, when it began
    calls: int
    ring_p50_ms: float | None  # None: no call was picked up
    ring_p95_ms: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Counts of calls that began since a time; the largest first."""

    since: float  # Unix seconds
    calls: int
    by_origin: Sequence[tuple[str, int]]
    by_persona: Sequence[tuple[str, int]]
    by_disposition: Sequence[tuple[str, int]]
    ring_p50_ms: float | None  # None: no call was picked up
    ring_p95_ms: float | None
    answer_p50_ms: float | None  # None: the journal has no call that was dispatched
    answer_p95_ms: float | None
    with_problems: int
    hours: Sequence[Point]  # in order; the first may be a part of one


class DayFigures:
    """Figures of the last 24 hours. *clock* gives Unix seconds."""

    def __init__(self, store: Store, *, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        self._kept: LRUCache[tuple[str, int], tuple[Hour, float]] = LRUCache(MAX_HOURS)
        self._counting = asyncio.Lock()

    async def run(self, *, busy: Callable[[], bool]) -> None:
        """Keep the hours counted until cancelled, but not while it is *busy*."""
        while True:
            if not busy():
                await self.turn()
            await asyncio.sleep(EVERY_S)

    async def turn(self) -> None:
        """Count what is missing or old, of every tenant that has calls. Never raises."""
        try:
            for tenant in await self._store.read(_tenants):
                now = self._clock()
                hours = _whole_hours(now)
                await self._count_missing(tenant, hours, now)
                await self._count(tenant, self._old(tenant, hours, now), now)
        except StoreUnavailable as exc:
            log.warning("figures.not_counted", reason=exc.reason)
        except Exception:  # the next turn may do better
            log.exception("figures.crashed")

    async def of(self, tenant: str) -> Figures:
        """Count the calls of *tenant* that began within a day.

        Raises:
            StoreUnavailable: the database did not answer.
        """
        now = self._clock()
        older = _whole_hours(now)
        await self._count_missing(tenant, older, now)
        since, first, last = now - DAY_HOURS * HOUR_S, older[0] - 1, older[-1] + FRESH_HOURS
        spans = (since, float(older[0] * HOUR_S)), (float((older[-1] + 1) * HOUR_S), None)
        fresh = await self._store.read(partial(_counted, tenant=tenant, spans=spans))
        hours = range(first, last + 1)
        kept = {hour: self._kept.get((tenant, hour), (Hour(), 0.0))[0] for hour in older}
        parts = [kept.get(hour) or fresh.get(hour, Hour()) for hour in hours]
        return _figures(since, hours, parts)

    async def _count_missing(self, tenant: str, hours: Iterable[int], now: float) -> None:
        """Count those of *hours* that nobody has; who comes meanwhile waits for it."""
        if all((tenant, hour) in self._kept for hour in hours):
            return
        async with self._counting:
            missing = [hour for hour in hours if (tenant, hour) not in self._kept]
            await self._count(tenant, missing, now)

    async def _count(self, tenant: str, hours: Sequence[int], now: float) -> None:
        for span in _spans(hours):
            found = await self._store.read(partial(_counted, tenant=tenant, spans=(span,)))
            for hour in hours:
                if span[0] <= hour * HOUR_S < span[1]:
                    self._kept[tenant, hour] = found.get(hour, Hour()), now

    def _old(self, tenant: str, hours: Iterable[int], now: float) -> list[int]:
        """Return those of *hours* that are to be counted again."""
        counted = {hour: kept for hour in hours if (kept := self._kept.get((tenant, hour)))}
        old = [hour for hour, (_, at) in counted.items() if at <= now - AGAIN_S]
        return sorted(sorted(old, key=lambda hour: counted[hour][1])[:AGAIN_AT_ONCE])


def _whole_hours(now: float) -> range:
    """Return the hours that lie within the day before *now* and have not much to come."""
    since = now - DAY_HOURS * HOUR_S
    return range(int(since // HOUR_S) + 1, int(now // HOUR_S) - FRESH_HOURS + 1)


def percentile(rings: Counter[int], share: float) -> float | None:
    """Return the value that *share* of them do not exceed (nearest rank)."""
    wanted = ceil(rings.total() * share)
    for value in sorted(rings):
        wanted -= rings[value]
        if wanted <= 0:
            return float(value)
    return None


def _spans(hours: Sequence[int]) -> list[tuple[float, float]]:
    """Return *hours*, ascending, as spans of seconds: a few adjacent ones together."""
    spans: list[tuple[float, float]] = []
    for hour in hours:
        begin, end = float(hour * HOUR_S), float((hour + 1) * HOUR_S)
        if spans and spans[-1][1] == begin and end - spans[-1][0] <= MAX_SPAN_S:
            spans[-1] = spans[-1][0], end
        else:
            spans.append((begin, end))
    return spans


def _tenants(connection: sa.Connection) -> list[str]:
    """Return who has calls, by a step of the index for each."""
    found: list[str] = []
    lowest = sa.select(sa.func.min(calls.c.tenant))
    while (name := connection.scalar(lowest)) is not None and len(found) < MAX_TENANTS:
        found.append(name)
        lowest = sa.select(sa.func.min(calls.c.tenant)).where(calls.c.tenant > name)
    return found


def _counted(
    connection: sa.Connection, tenant: str, spans: Iterable[tuple[float, float | None]]
) -> dict[int, Hour]:
    """Count by the hour what began in *spans*, of which none shares an hour with another."""
    found: dict[int, Hour] = {}
    for since, until in spans:
        found |= _counted_in(connection, tenant, since, until)
    return found


def _counted_in(
    connection: sa.Connection, tenant: str, since: float, until: float | None
) -> dict[int, Hour]:
    row = calls.c
    within = (row.tenant == tenant) & (row.started_at >= since)
    if until is not None:
        within &= row.started_at < until
    hour = _hour_of(row.started_at)
    names = (row.persona_origin, row.persona_name, row.disposition)
    troubled = sa.func.sum(sa.case((row.problems > 0, 1), else_=0))
    groups = sa.select(hour, *names, sa.func.count(), troubled).where(within)
    found: dict[int, Hour] = {}
    for at, origin, persona, disposition, number, problems in connection.execute(
        groups.group_by(hour, *names)
    ):
        one = found.setdefault(int(at), Hour())
        one.calls += number
        one.with_problems += int(problems)
        one.by_origin[origin or ""] += number
        one.by_persona[persona or ""] += number
        one.by_disposition[disposition or ""] += number
    ring = _three_digits(row.ring_ms)
    rings = sa.select(hour, ring, sa.func.count()).where(within, row.ring_ms.is_not(None))
    for at, ms, number in connection.execute(rings.group_by(hour, ring)):
        found[int(at)].rings[int(ms)] += number
    of_journal = (journal.c.tenant == tenant) & (journal.c.received_at >= since)
    if until is not None:
        of_journal &= journal.c.received_at < until
    hour, took = _hour_of(journal.c.received_at), _three_digits(journal.c.answer_ms * 100)
    answers = sa.select(hour, took, sa.func.count()).where(
        of_journal, journal.c.answer_ms.is_not(None)
    )
    for at, hundredths, number in connection.execute(answers.group_by(hour, took)):
        found.setdefault(int(at), Hour()).answers[int(hundredths)] += number
    for one in found.values():
        one.ring_p50_ms = percentile(one.rings, 0.5)
        one.ring_p95_ms = percentile(one.rings, 0.95)
    return found


def _hour_of(at: sa.Column[float]) -> sa.ColumnElement[int]:
    return sa.cast(sa.func.floor(at / HOUR_S), sa.Integer)


def _three_digits(value: sa.ColumnElement[float]) -> sa.ColumnElement[int]:
    """Round down to a whole one, from 1,000 on to ten, from 10,000 on to a hundred."""

    def to(step: int) -> sa.ColumnElement[int]:
        return sa.cast(sa.func.floor(value / step), sa.Integer) * step

    return sa.case((value < 1_000, to(1)), (value < 10_000, to(10)), else_=to(100))  # noqa: PLR2004


def _hundredth(value: float | None) -> float | None:
    return None if value is None else value / 100


def _figures(since: float, hours: Sequence[int], parts: Sequence[Hour]) -> Figures:
    def together(name: str) -> Counter[Any]:
        whole: Counter[Any] = Counter()
        for part in parts:
            whole.update(getattr(part, name))
        return whole

    rings, answers = together("rings"), together("answers")
    return Figures(
        since=since,
        calls=sum(part.calls for part in parts),
        by_origin=together("by_origin").most_common(10),
        by_persona=together("by_persona").most_common(10),
        by_disposition=together("by_disposition").most_common(12),
        ring_p50_ms=percentile(rings, 0.5),
        ring_p95_ms=percentile(rings, 0.95),
        answer_p50_ms=_hundredth(percentile(answers, 0.5)),
        answer_p95_ms=_hundredth(percentile(answers, 0.95)),
        with_problems=sum(part.with_problems for part in parts),
        hours=[
            Point(
                at=hour * HOUR_S,
                calls=part.calls,
                ring_p50_ms=part.ring_p50_ms,
                ring_p95_ms=part.ring_p95_ms,
            )
            for hour, part in zip(hours, parts, strict=True)
        ],
    )
