"""What is known of a call while it goes on: who it is with, and what they told, now and before."""

from dataclasses import dataclass
from typing import Literal, cast

import sqlalchemy as sa

from router.db import Store
from router.records.call_tables import TENANT, calls, facts


@dataclass(frozen=True, slots=True)
class CallAbout:
    """Which call it is."""

    direction: Literal["inbound", "outbound"]
    other_side: str | None  # the caller or the callee; None: withheld
    ended: bool


@dataclass(frozen=True, slots=True)
class ToldFact:
    """One fact, of this call or an earlier one."""

    category: str
    information: str
    at: float  # Unix seconds
    of_this_call: bool


class Recollection:
    """Reads the records of calls."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def about(self, call_id: str) -> CallAbout | None:
        """Return who a call is with; None: there is no record. Raises StoreUnavailable."""
        select = sa.select(calls.c.direction, calls.c.caller, calls.c.ended_at).where(
            calls.c.call_id == call_id
        )
        found = await self._store.read(lambda connection: connection.execute(select).first())
        if found is None:
            return None
        direction = cast("Literal['inbound', 'outbound']", found.direction)
        return CallAbout(direction, found.caller, found.ended_at is not None)

    async def told(
        self, call_id: str, other_side: str | None, *, category: str | None, limit: int
    ) -> list[ToldFact]:
        """Return what was told in this call and, by the same number, before; the newest first.

        Raises:
            StoreUnavailable: the database did not answer.
        """
        known = facts.c
        theirs = known.call_id == call_id
        if other_side:
            theirs |= known.caller == other_side
        select = (
            sa.select(known.category, known.information, known.at, known.call_id)
            .where(known.tenant == TENANT, theirs)
            .order_by(known.at.desc())
            .limit(limit)
        )
        if category:
            select = select.where(known.category == category)
        rows = await self._store.read(lambda connection: connection.execute(select).all())
        return [
            ToldFact(row.category, row.information, row.at, row.call_id == call_id) for row in rows
        ]
