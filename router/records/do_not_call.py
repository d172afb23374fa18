"""Who must not be called: by number, everywhere or by one campaign, since when and because of what.

Whoever dials asks ``holds`` before each dial.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, Final, Literal

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from router.db import Store, metadata
from router.records.call_tables import TENANT
from router.records.notices import Happened, announce
from router.records.pages import Page, page_of

EVERYWHERE: Final = "everywhere"
AT_ONCE: Final = 1_000  # rows in one transaction
Source = Literal["call", "api", "csv", "cli"]

do_not_call = sa.Table(
    "do_not_call",
    metadata,
    sa.Column("tenant", sa.String(40), primary_key=True),
    sa.Column("number", sa.String(20), primary_key=True),
    sa.Column("scope", sa.String(120), primary_key=True),
    sa.Column("since", sa.Float, nullable=False),
    sa.Column("source", sa.String(8), nullable=False),
    sa.Column("call_id", sa.String(40)),
    sa.Column("reason", sa.Text, nullable=False),
)
_ENTRY: Final = tuple(column for column in do_not_call.c if column.name != "tenant")
_ORDER: Final = (do_not_call.c.since, do_not_call.c.number, do_not_call.c.scope)


@dataclass(frozen=True, slots=True)
class Entry:
    """One wish not to be called."""

    number: str  # E.164
    scope: str
    since: float  # Unix seconds
    source: str
    call_id: str | None
    reason: str


def campaign_scope(campaign_id: str) -> str:
    """Name the scope of one campaign."""
    return f"campaign:{campaign_id}"[:120]


class DoNotCall:
    """The list. *clock* gives Unix seconds."""

    def __init__(self, store: Store, *, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        dialect = sqlite if store.is_sqlite else postgresql
        self._insert = dialect.insert(do_not_call).on_conflict_do_nothing()

    async def add(
        self,
        number: str,
        *,
        source: Source,
        scope: str = EVERYWHERE,
        call_id: str | None = None,
        reason: str = "",
        tenant: str = TENANT,
    ) -> bool:
        """Put a number (E.164) on the list, unless it is there: the first wish stands.

        Raises:
            StoreUnavailable: the database did not answer.
        """
        row = self._row(number, source=source, scope=scope, tenant=tenant)
        row |= {"call_id": call_id, "reason": reason[:1000]}
        return await self._store.write(lambda connection: self._add_told(connection, row))

    async def add_all(
        self,
        numbers: Sequence[str],
        *,
        source: Source,
        scope: str = EVERYWHERE,
        tenant: str = TENANT,
    ) -> int:
        """Put many on the list, a thousand at a time; return how many were not there yet.

        Raises:
            StoreUnavailable: the database did not answer; those before are on the list.
        """
        added = 0
        waiting = iter(numbers)
        while some := tuple(islice(waiting, AT_ONCE)):
            rows = [self._row(one, source=source, scope=scope, tenant=tenant) for one in some]
            added += await self._store.write(partial(self._add, rows=rows))
        return added

    async def remove(self, number: str, *, scope: str = EVERYWHERE, tenant: str = TENANT) -> bool:
        """Take a number off the list; False: it was not there. Raises StoreUnavailable."""
        listed = do_not_call.c
        delete = sa.delete(do_not_call).where(
            listed.tenant == tenant, listed.number == number, listed.scope == scope
        )
        return bool(await self._store.write(lambda c: c.execute(delete).rowcount))

    async def page(
        self,
        tenant: str = TENANT,
        *,
        number: str | None = None,
        scope: str | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Page[Entry]:
        """Return entries, the latest first; raises BadCursor and StoreUnavailable."""
        select = sa.select(*_ENTRY).where(do_not_call.c.tenant == tenant)
        if number is not None:
            select = select.where(do_not_call.c.number == number)
        if scope is not None:
            select = select.where(do_not_call.c.scope == scope)
        found = await page_of(self._store, select, _ORDER, cursor, limit)
        return Page(tuple(Entry(**row) for row in found.rows), found.next)

    async def holds(
        self, number: str, *, campaign_id: str | None = None, tenant: str = TENANT
    ) -> Entry | None:
        """Return the wish that forbids to call *number*, if any; raises StoreUnavailable."""
        scopes = [EVERYWHERE, *([campaign_scope(campaign_id)] if campaign_id else [])]
        listed = do_not_call.c
        select = sa.select(*_ENTRY).where(
            listed.tenant == tenant, listed.number == number, listed.scope.in_(scopes)
        )
        found = await self._store.read(lambda c: c.execute(select).mappings().first())
        return Entry(**found) if found else None

    def _row(self, number: str, *, source: Source, scope: str, tenant: str) -> dict[str, Any]:
        return {
            "tenant": tenant,
            "number": number,
            "scope": scope,
            "since": self._clock(),
            "source": source,
            "call_id": None,
            "reason": "",
        }

    def _add_told(self, connection: sa.Connection, row: dict[str, Any]) -> bool:
        """Insert *row*, and have those hear of it who want to; False: it was there."""
        if not self._add(connection, [row]):
            return False
        told = ("number", "scope", "since", "source", "call_id", "reason")
        happened = Happened(
            type="number.opted_out",
            tenant=row["tenant"],
            key=f"{row['number']} {row['scope']} {row['since']}",
            at=row["since"],
            data={name: row[name] for name in told},
            call_id=row["call_id"],
        )
        announce(connection, [happened], self._clock())
        return True

    def _add(self, connection: sa.Connection, rows: Sequence[dict[str, Any]]) -> int:
        """Insert *rows*, which are of one tenant and scope; return how many are new."""
        listed = do_not_call.c
        known = sa.select(sa.func.count()).where(
            listed.tenant == rows[0]["tenant"],
            listed.scope == rows[0]["scope"],
            listed.number.in_([row["number"] for row in rows]),
        )
        before = connection.execute(known).scalar_one()
        connection.execute(self._insert, rows)
        return len(rows) - int(before)

    async def numbers(
        self, *, campaign_id: str | None = None, tenant: str = TENANT
    ) -> frozenset[str]:
        """Return every number (E.164) that must not be called; raises StoreUnavailable."""
        scopes = [EVERYWHERE, *([campaign_scope(campaign_id)] if campaign_id else [])]
        listed = do_not_call.c
        select = sa.select(listed.number).where(listed.tenant == tenant, listed.scope.in_(scopes))
        rows = await self._store.read(lambda connection: connection.scalars(select).all())
        return frozenset(rows)
