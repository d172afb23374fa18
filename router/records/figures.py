"""What the calls of a while have in common: counts and percentiles for the overview."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Final

import sqlalchemy as sa

from router.db import Store
from router.records.call_tables import calls

MOST: Final = 20_000  # calls that the figures are made of, the latest


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Counts of calls that began since a time; the largest first."""

    calls: int
    by_origin: Sequence[tuple[str, int]]
    by_persona: Sequence[tuple[str, int]]
    by_disposition: Sequence[tuple[str, int]]
    ring_p50_ms: float | None  # None: no call was picked up
    ring_p95_ms: float | None
    with_problems: int


async def figures_of(store: Store, tenant: str, since: float) -> Figures:
    """Count the calls of *tenant* that began at *since* (Unix seconds) or later.

    Raises:
        StoreUnavailable: the database did not answer.
    """
    select = (
        sa.select(
            calls.c.persona_origin,
            calls.c.persona_name,
            calls.c.disposition,
            calls.c.ring_ms,
            calls.c.problems,
        )
        .where(calls.c.tenant == tenant, calls.c.started_at >= since)
        .order_by(calls.c.started_at.desc())
        .limit(MOST)
    )
    rows = await store.read(lambda connection: connection.execute(select).all())
    rings = sorted(row.ring_ms for row in rows if row.ring_ms is not None)
    return Figures(
        calls=len(rows),
        by_origin=Counter(row.persona_origin or "" for row in rows).most_common(10),
        by_persona=Counter(row.persona_name or "" for row in rows).most_common(10),
        by_disposition=Counter(row.disposition or "" for row in rows).most_common(12),
        ring_p50_ms=percentile(rings, 0.5),
        ring_p95_ms=percentile(rings, 0.95),
        with_problems=sum(row.problems > 0 for row in rows),
    )


def percentile(ordered: Sequence[float], share: float) -> float | None:
    """Return the value that *share* of them do not exceed (nearest rank)."""
    if not ordered:
        return None
    return ordered[max(0, ceil(len(ordered) * share) - 1)]
