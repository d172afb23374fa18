"""What the calls of a day have in common: counts and percentiles, by the hour.

The database counts each hour once and this process keeps what it said: nobody reads a day's calls
to show a page. The hours that calls still change (this one, the last, and the one that is only
partly within the day) are counted each time; the others again now and then, a few at a time, for
what is reported late or deleted.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import ceil
from typing import Any, Final

import sqlalchemy as sa
from cachetools import LRUCache

from router.db import Store
from router.records.call_tables import calls

HOUR_S: Final = 3600
DAY_HOURS: Final = 24
FRESH_HOURS: Final = 2  # this one and the last: nearly all that changes is in them
AGAIN_S: Final = 300.0  # after which an older hour is counted again
AGAIN_AT_ONCE: Final = 2
MAX_SPAN_S: Final = 4 * HOUR_S  # of one reading, which has a deadline
MAX_HOURS: Final = 2_000  # that are kept, of all tenants


@dataclass(slots=True)
class Hour:
    """One hour's calls."""

    calls: int = 0
    with_problems: int = 0
    by_origin: Counter[str] = field(default_factory=Counter)
    by_persona: Counter[str] = field(default_factory=Counter)
    by_disposition: Counter[str] = field(default_factory=Counter)
    rings: Counter[int] = field(default_factory=Counter)  # ms, three digits of them, → calls


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
    with_problems: int
    hours: Sequence[Point]  # in order; the first may be a part of one


class DayFigures:
    """Figures of the last 24 hours. *clock* gives Unix seconds."""

    def __init__(self, store: Store, *, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        self._kept: LRUCache[tuple[str, int], tuple[Hour, float]] = LRUCache(MAX_HOURS)

    async def of(self, tenant: str) -> Figures:
        """Count the calls of *tenant* that began within a day.

        Raises:
            StoreUnavailable: the database did not answer.
        """
        now = self._clock()
        since, this = now - DAY_HOURS * HOUR_S, int(now // HOUR_S)
        hours = range(int(since // HOUR_S), this + 1)
        again = self._again(tenant, hours[1:], this, now)
        counted: dict[int, Hour] = {}
        for begin, end in [(since, (hours[0] + 1) * HOUR_S), *_spans(again)]:
            counting = partial(_counted, tenant=tenant, since=begin, until=end)
            counted |= await self._store.read(counting)
        for hour in again:
            self._kept[tenant, hour] = counted.get(hour, Hour()), now
        parts = [counted.get(hours[0], Hour()), *(self._of(tenant, hour) for hour in hours[1:])]
        return _figures(since, hours, parts)

    def _of(self, tenant: str, hour: int) -> Hour:
        kept = self._kept.get((tenant, hour))
        return kept[0] if kept is not None else Hour()

    def _again(self, tenant: str, hours: Iterable[int], this: int, now: float) -> list[int]:
        """Return which of *hours* are to be counted."""
        wanted, old = set[int](), list[tuple[float, int]]()
        for hour in hours:
            kept = self._kept.get((tenant, hour))
            # An hour that was this one or the last when it was counted has gone on since.
            if kept is None or hour > this - FRESH_HOURS or kept[1] < (hour + 2) * HOUR_S:
                wanted.add(hour)
            elif kept[1] <= now - AGAIN_S:
                old.append((kept[1], hour))
        return sorted(wanted | {hour for _, hour in sorted(old)[:AGAIN_AT_ONCE]})


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


def _counted(connection: sa.Connection, tenant: str, since: float, until: float) -> dict[int, Hour]:
    """Count by the hour what began in a span."""
    row = calls.c
    within = (row.tenant == tenant) & (row.started_at >= since) & (row.started_at < until)
    hour = sa.cast(sa.func.floor(row.started_at / HOUR_S), sa.Integer)
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
    return found


def _three_digits(ms: sa.Column[float]) -> sa.ColumnElement[int]:
    """Round to the millisecond, from a second on to ten, from ten seconds on to a hundred."""

    def to(step: int) -> sa.ColumnElement[int]:
        return sa.cast(sa.func.floor(ms / step), sa.Integer) * step

    return sa.case((ms < 1_000, to(1)), (ms < 10_000, to(10)), else_=to(100))  # noqa: PLR2004


def _figures(since: float, hours: Sequence[int], parts: Sequence[Hour]) -> Figures:
    def together(name: str) -> Counter[Any]:
        whole: Counter[Any] = Counter()
        for part in parts:
            whole.update(getattr(part, name))
        return whole

    rings = together("rings")
    return Figures(
        since=since,
        calls=sum(part.calls for part in parts),
        by_origin=together("by_origin").most_common(10),
        by_persona=together("by_persona").most_common(10),
        by_disposition=together("by_disposition").most_common(12),
        ring_p50_ms=percentile(rings, 0.5),
        ring_p95_ms=percentile(rings, 0.95),
        with_problems=sum(part.with_problems for part in parts),
        hours=[
            Point(
                at=hour * HOUR_S,
                calls=part.calls,
                ring_p50_ms=percentile(part.rings, 0.5),
                ring_p95_ms=percentile(part.rings, 0.95),
            )
            for hour, part in zip(hours, parts, strict=True)
        ],
    )
