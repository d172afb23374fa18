"""Who must not be called: by number, everywhere or by one campaign, since when and because of what.

Whoever dials asks ``holds`` before each dial.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from router.db import Store, metadata
from router.records.call_tables import TENANT

EVERYWHERE: Final = "everywhere"
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


@dataclass(frozen=True, slots=True)
class Entry:
    """One wish not to be called."""

    number: str  # E.164
    scope: str
    since: float  # Unix seconds
    source: str


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
    ) -> None:
        """Put a number (E.164) on the list; the first wish stands. Raises StoreUnavailable."""
        row = {
            "tenant": TENANT,
            "number": number,
            "scope": scope,
            "since": self._clock(),
            "source": source,
            "call_id": call_id,
            "reason": reason[:1000],
        }
        await self._store.write(lambda connection: connection.execute(self._insert, row))

    async def holds(self, number: str, *, campaign_id: str | None = None) -> Entry | None:
        """Return the wish that forbids to call *number*, if any; raises StoreUnavailable."""
        scopes = [EVERYWHERE, *([campaign_scope(campaign_id)] if campaign_id else [])]
        listed = do_not_call.c
        select = sa.select(listed.number, listed.scope, listed.since, listed.source).where(
            listed.tenant == TENANT, listed.number == number, listed.scope.in_(scopes)
        )
        found = await self._store.read(lambda connection: connection.execute(select).first())
        return Entry(*found) if found else None

    async def numbers(self, *, campaign_id: str | None = None) -> frozenset[str]:
        """Return every number (E.164) that must not be called; raises StoreUnavailable."""
        scopes = [EVERYWHERE, *([campaign_scope(campaign_id)] if campaign_id else [])]
        listed = do_not_call.c
        select = sa.select(listed.number).where(listed.tenant == TENANT, listed.scope.in_(scopes))
        rows = await self._store.read(lambda connection: connection.scalars(select).all())
        return frozenset(rows)
