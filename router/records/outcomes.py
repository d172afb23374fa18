"""What has become of attempts, for those who look: lists, the last one of a number, figures."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from router.db import Store
from router.records.attempts import Attempt, attempt_of, call_attempt
from router.records.call_tables import calls
from router.records.pages import Page, page_of

MINUTE_S: Final = 60.0
HOUR_S: Final = 3600.0
_ORDER: Final = (call_attempt.c.claimed_at, call_attempt.c.attempt_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptFilter:
    """Which attempts; None does not matter."""

    tenant: str
    campaign: str | None = None
    state: str | None = None
    number: str | None = None
    list_id: str | None = None


@dataclass(frozen=True, slots=True)
class Figures:
    """How a campaign has done since some time."""

    by_state: Mapping[str, int]
    refused: Mapping[str, int]  # by the gate, by cause
    failed: Mapping[str, int]  # by cause
    dialed: int
    answered: int
    qualified: int  # calls that somebody, or the agent, has qualified
    last_minute: int  # dialed
    last_hour: int


class Outcomes:
    """Questions about attempts. Each raises StoreUnavailable."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def page(
        self, which: AttemptFilter, cursor: str | None = None, limit: int = 50
    ) -> Page[Attempt]:
        """Give a page of attempts, the latest first; raises BadCursor."""
        query = sa.select(call_attempt).where(call_attempt.c.tenant == which.tenant)
        for name in ("campaign", "state", "number", "list_id"):
            if (value := getattr(which, name)) is not None:
                query = query.where(call_attempt.c[name] == value)
        found = await page_of(self._store, query, _ORDER, cursor, limit)
        return Page(tuple(attempt_of(row) for row in found.rows), found.next)

    async def last_of(self, tenant: str, numbers: Collection[str]) -> Mapping[str, Attempt]:
        """Give the last attempt of each of *numbers* (E.164), of any campaign."""
        query = sa.select(call_attempt).where(
            call_attempt.c.tenant == tenant, call_attempt.c.number.in_(numbers)
        )
        query = query.order_by(call_attempt.c.claimed_at)
        rows = await self._store.read(lambda c: c.execute(query).mappings().all())
        return {row["number"]: attempt_of(row) for row in rows}

    async def figures(self, tenant: str, campaign: str, *, since: float, now: float) -> Figures:
        """Count a campaign's attempts that began after *since*; Unix seconds."""
        row = call_attempt.c
        mine = sa.and_(row.tenant == tenant, row.campaign == campaign, row.claimed_at >= since)
        by_cause = (
            sa.select(
                row.state,
                row.because,
                sa.func.count(),
                sa.func.count(row.dialed_at),
                sa.func.count(row.answered_at),
            )
            .where(mine)
            .group_by(row.state, row.because)
        )
        dialed = sa.select(
            *(sa.func.count(sa.case((row.dialed_at > now - ago, 1))) for ago in (MINUTE_S, HOUR_S))
        ).where(mine, row.claimed_at > now - 2 * HOUR_S)
        qualified = sa.select(sa.func.count()).where(
            calls.c.tenant == tenant,
            calls.c.campaign_id == campaign,
            calls.c.started_at >= since,
            calls.c.qualification.is_not(None),
        )

        def read(connection: sa.Connection) -> Any:
            return (
                connection.execute(by_cause).all(),
                connection.execute(dialed).one(),
                connection.scalar(qualified),
            )

        rows, (minute, hour), marked = await self._store.read(read)
        by_state: dict[str, int] = {}
        causes: dict[str, dict[str, int]] = {"refused": {}, "failed": {}}
        for state, because, count, *_ in rows:
            by_state[state] = by_state.get(state, 0) + count
            if state in causes:
                causes[state][because] = count
        return Figures(
            by_state,
            causes["refused"],
            causes["failed"],
            sum(one[3] for one in rows),
            sum(one[4] for one in rows),
            marked or 0,
            minute,
            hour,
        )
