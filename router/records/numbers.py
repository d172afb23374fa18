"""Our numbers, and whose each is: a number that nobody has entered is the first tenant's.

Calls ask while a phone rings, so what is entered is held in memory and read again every few
seconds; where it was changed here, it holds at once. A record keeps the tenant that it began with.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import sqlalchemy as sa
import structlog
from sqlalchemy.dialects import postgresql, sqlite

from router.db import Store, metadata
from router.errors import StoreUnavailable
from router.principals import DEFAULT_TENANT

log = structlog.get_logger(__name__)

REFRESH_S: Final = 5.0

numbers = sa.Table(
    "numbers",
    metadata,
    sa.Column("number", sa.String(20), primary_key=True),
    sa.Column("tenant", sa.String(40), nullable=False),
    sa.Column("since", sa.Float, nullable=False),
)


@dataclass(frozen=True, slots=True)
class OwnNumber:
    """A number that belongs to a tenant."""

    number: str  # E.164
    tenant: str
    since: float  # Unix seconds


class Numbers:
    """The table, and a copy of it in memory. *clock* gives Unix seconds."""

    def __init__(self, store: Store, *, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        self._tenants: Mapping[str, str] = MappingProxyType({})
        self._seen: tuple[int, float] = (0, 0.0)
        insert = (sqlite if store.is_sqlite else postgresql).insert(numbers)
        self._upsert = insert.on_conflict_do_update(
            index_elements=["number"],
            set_={"tenant": insert.excluded.tenant, "since": insert.excluded.since},
        )

    def tenant_of(self, *which: str | None) -> str:
        """Return whose the first of these numbers (E.164) is that is anybody's."""
        known = self._tenants
        found = (known.get(number) for number in which if number)
        return next((tenant for tenant in found if tenant is not None), DEFAULT_TENANT)

    async def load(self) -> None:
        """Read the table again if it has changed; raises StoreUnavailable."""
        seen = await self._store.read(_seen)
        if seen != self._seen:
            every = sa.select(numbers.c.number, numbers.c.tenant)
            rows = await self._store.read(lambda c: c.execute(every).all())
            self._tenants = MappingProxyType({row.number: row.tenant for row in rows})
            self._seen = seen

    async def run(self) -> None:
        """Keep the copy fresh until cancelled."""
        while True:
            await asyncio.sleep(REFRESH_S)
            try:
                await self.load()
            except StoreUnavailable as exc:
                log.warning("numbers.not_read", reason=exc.reason)

    async def assign(self, number: str, tenant: str) -> None:
        """Have a number (E.164) belong to *tenant*; raises StoreUnavailable."""
        row = {"number": number, "tenant": tenant, "since": self._clock()}
        await self._store.write(lambda c: c.execute(self._upsert, row))
        await self.load()

    async def release(self, number: str) -> bool:
        """Give a number back to the first tenant; False: it was nobody else's."""
        gone = sa.delete(numbers).where(numbers.c.number == number)
        done = bool(await self._store.write(lambda c: c.execute(gone).rowcount))
        await self.load()
        return done

    async def list(self, tenant: str | None = None) -> Sequence[OwnNumber]:
        """List the numbers of one tenant, or of all; raises StoreUnavailable."""
        query: sa.Select[Any] = sa.select(numbers).order_by(numbers.c.number)
        if tenant is not None:
            query = query.where(numbers.c.tenant == tenant)
        rows = await self._store.read(lambda c: c.execute(query).all())
        return [OwnNumber(row.number, row.tenant, row.since) for row in rows]


def _seen(connection: sa.Connection) -> tuple[int, float]:
    row = connection.execute(sa.select(sa.func.count(), sa.func.max(numbers.c.since))).one()
    return int(row[0]), float(row[1] or 0.0)
