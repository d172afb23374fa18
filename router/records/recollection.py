"""What is known of a call while it goes on: who it is with, and what they told, now and before."""

from dataclasses import dataclass
from typing import Final, Literal, cast

import sqlalchemy as sa

from router.db import Store
from router.principals import DEFAULT_TENANT
from router.records.call_tables import calls, facts

MAX_GOING_ON: Final = 1_000


@dataclass(frozen=True, slots=True)
class CallAbout:
    """Which call it is."""

    direction: Literal["inbound", "outbound"]
    other_side: str | None  # the caller or the callee; None: withheld
    room: str | None
    ended: bool
    tenant: str = DEFAULT_TENANT


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
        about = calls.c
        select = sa.select(
            about.direction, about.caller, about.room, about.ended_at, about.tenant
        ).where(about.call_id == call_id)
        found = await self._store.read(lambda connection: connection.execute(select).first())
        if found is None:
            return None
        direction = cast("Literal['inbound', 'outbound']", found.direction)
        ended = found.ended_at is not None
        return CallAbout(direction, found.caller, found.room, ended, found.tenant)

    async def going_on(self, dialed_number: str | None) -> list[tuple[str, str, str | None]]:
        """Return id, dialed number and persona version of inbound calls that are open.

        Raises:
            StoreUnavailable: the database did not answer.
        """
        about = calls.c
        select = (
            sa.select(about.call_id, about.dialed_number, about.persona_version)
            .where(
                about.ended_at.is_(None),
                about.direction == "inbound",
                about.dialed_number.is_not(None),
            )
            .order_by(about.started_at.desc())
            .limit(MAX_GOING_ON)
        )
        if dialed_number is not None:
            select = select.where(about.dialed_number == dialed_number)
        rows = await self._store.read(lambda connection: connection.execute(select).all())
        return [(row.call_id, row.dialed_number, row.persona_version) for row in rows]

    async def told(
        self,
        call_id: str,
        other_side: str | None,
        *,
        category: str | None,
        limit: int,
        tenant: str = DEFAULT_TENANT,
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
            .where(known.tenant == tenant, theirs)
            .order_by(known.at.desc())
            .limit(limit)
        )
        if category:
            select = select.where(known.category == category)
        rows = await self._store.read(lambda connection: connection.execute(select).all())
        return [
            ToldFact(row.category, row.information, row.at, row.call_id == call_id) for row in rows
        ]
