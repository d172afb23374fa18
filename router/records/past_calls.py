"""Whom we have called, and which numbers are ours, as the records of calls tell."""

from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from personas.phone import parse
from router.db import Store
from router.records.call_tables import calls


class PastCalls:
    """Questions about calls that were. Each raises StoreUnavailable."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def called(self, tenant: str, since: float) -> Mapping[str, Sequence[float]]:
        """Give when each number was called, by number (E.164); of all campaigns."""
        query = sa.select(calls.c.caller, calls.c.dialed_number, calls.c.started_at).where(
            calls.c.tenant == tenant,
            calls.c.direction == "outbound",
            calls.c.started_at > since,
        )
        rows = await self._store.read(lambda c: c.execute(query).all())
        found: dict[str, list[float]] = {}
        for row in rows:
            # Who dials writes the callee into either, as the layout of the job has it.
            for number in {_number(row.caller), _number(row.dialed_number)}:
                found.setdefault(number, []).append(row.started_at)
        return found

    async def made(self, tenant: str, campaign_id: str) -> int:
        """Count the calls of a campaign."""
        query = (
            sa.select(sa.func.count())
            .select_from(calls)
            .where(
                calls.c.tenant == tenant,
                calls.c.direction == "outbound",
                calls.c.campaign_id == campaign_id,
            )
        )
        return await self._store.read(lambda c: c.scalar(query)) or 0

    async def own_numbers(self, tenant: str) -> frozenset[str]:
        """Give the numbers at which people have called us."""
        query = sa.select(calls.c.dialed_number).distinct()
        query = query.where(calls.c.tenant == tenant, calls.c.direction == "inbound")
        rows = await self._store.read(lambda c: c.scalars(query).all())
        return frozenset(_number(one) for one in rows)


def _number(value: str | None) -> str:
    """Give E.164 where that can be read."""
    parsed = parse(value) if value else None
    return parsed.e164 if parsed else value or ""
