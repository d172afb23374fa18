"""What people have agreed to: what, when, from where, and what they took back. For the gate.

One row for a number and what was agreed to: the latest agreement, and the latest withdrawal, which
counts for agreements in lists of leads as well.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, Final, Literal

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from router.campaigns.consent import Agreement, Consent
from router.db import Store, metadata
from router.records.pages import Page, page_of
from router.records.person_locks import lock_people

AT_ONCE: Final = 500  # rows in one transaction
MAX_WHAT_CHARS: Final = 60
MAX_SOURCE_CHARS: Final = 200
Via = Literal["call", "api", "csv", "cli"]

consents = sa.Table(
    "consents",
    metadata,
    sa.Column("tenant", sa.String(40), primary_key=True),
    sa.Column("number", sa.String(20), primary_key=True),
    sa.Column("what", sa.String(MAX_WHAT_CHARS), primary_key=True),
    sa.Column("since", sa.Float),
    sa.Column("source", sa.String(MAX_SOURCE_CHARS)),
    sa.Column("withdrawn_at", sa.Float),
    sa.Column("via", sa.String(8), nullable=False),
    sa.Column("noted_at", sa.Float, nullable=False),
)
_SHOWN: Final = tuple(column for column in consents.c if column.name != "tenant")
_ORDER: Final = (consents.c.noted_at, consents.c.number, consents.c.what)
_OF_NUMBERS: Final = (  # each dial asks for it; to build a query takes longer than to run it
    sa.select(*_SHOWN)
    .where(
        consents.c.tenant == sa.bindparam("tenant"),
        consents.c.number.in_(sa.bindparam("numbers", expanding=True)),
    )
    .order_by(consents.c.what)
)


@dataclass(frozen=True, slots=True)
class Given:
    """An agreement to keep."""

    number: str  # E.164
    consent: Consent


class Consents:
    """All of them. *clock* gives Unix seconds. Each method raises StoreUnavailable."""

    def __init__(self, store: Store, *, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        insert = (sqlite if store.is_sqlite else postgresql).insert(consents)
        new, row = insert.excluded, consents.c
        key = [row.tenant, row.number, row.what]
        later = new.since >= sa.func.coalesce(row.since, new.since)
        self._give = insert.on_conflict_do_update(
            index_elements=key,
            set_={
                name: sa.case((later, new[name]), else_=row[name])
                for name in ("since", "source", "via", "noted_at")
            },
        )
        later = new.withdrawn_at >= sa.func.coalesce(row.withdrawn_at, new.withdrawn_at)
        self._withdraw = insert.on_conflict_do_update(
            index_elements=key,
            set_={
                name: sa.case((later, new[name]), else_=row[name])
                for name in ("withdrawn_at", "via", "noted_at")
            },
        )

    async def give(self, tenant: str, given: Sequence[Given], *, via: Via) -> None:
        """Keep agreements, the latest of each, some hundreds at a time."""
        waiting = iter(given)
        while some := tuple(islice(waiting, AT_ONCE)):
            rows = [
                self._row(tenant, one.number, one.consent.what, via)
                | {"since": one.consent.since, "source": one.consent.source[:MAX_SOURCE_CHARS]}
                for one in some
            ]
            await self._store.write(partial(self._put, statement=self._give, rows=rows))

    async def withdraw(self, tenant: str, number: str, what: str, *, via: Via) -> None:
        """Note that it was taken back now, whether it was known or stands in a list of leads."""
        row = self._row(tenant, number, what, via) | {"withdrawn_at": self._clock()}
        await self._store.write(partial(self._put, statement=self._withdraw, rows=[row]))

    async def page(
        self,
        tenant: str,
        *,
        number: str | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Page[Agreement]:
        """Return what is known, the latest first; raises BadCursor."""
        select = sa.select(*_SHOWN).where(consents.c.tenant == tenant)
        if number is not None:
            select = select.where(consents.c.number == number)
        found = await page_of(self._store, select, _ORDER, cursor, limit)
        return Page(tuple(Agreement(**row) for row in found.rows), found.next)

    async def by_number(self, tenant: str) -> Mapping[str, Sequence[Agreement]]:
        """Give all that is known, by number (E.164)."""
        query = sa.select(*_SHOWN).where(consents.c.tenant == tenant)
        rows = await self._store.read(lambda c: c.execute(query).mappings().all())
        found: dict[str, list[Agreement]] = {}
        for row in rows:
            found.setdefault(row["number"], []).append(Agreement(**row))
        return found

    def _row(self, tenant: str, number: str, what: str, via: Via) -> dict[str, Any]:
        empty = {"since": None, "source": None, "withdrawn_at": None}
        known = {"tenant": tenant, "number": number, "what": what.lower()[:MAX_WHAT_CHARS]}
        return {**empty, **known, "via": via, "noted_at": self._clock()}

    @staticmethod
    def _put(connection: sa.Connection, statement: Any, rows: Sequence[dict[str, Any]]) -> None:
        lock_people(connection, (row["number"] for row in rows))
        connection.execute(statement, rows)


def agreements_of(
    connection: sa.Connection, tenant: str, numbers: Sequence[str]
) -> Mapping[str, Sequence[Agreement]]:
    """Read what is known of *numbers*, in somebody else's transaction."""
    found: dict[str, list[Agreement]] = {}
    asked = {"tenant": tenant, "numbers": numbers}
    for row in connection.execute(_OF_NUMBERS, asked).mappings():
        found.setdefault(row["number"], []).append(Agreement(**row))
    return found
