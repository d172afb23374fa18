"""Who must not be called: by number, since when and because of what.

A wish counts everywhere, or for all that a tenant does, or for one of its campaigns. The gate reads
``scopes_of`` in the transaction that allows a dial, under the lock of the person. A call that is
about to be made, or rings, is stopped by the transaction that keeps the wish.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, Literal

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from router.db import Store, metadata
from router.errors import StoreUnavailable
from router.principals import DEFAULT_TENANT, EVERY_TENANT
from router.records.attempts import forbid_in
from router.records.notices import Happened, announce
from router.records.pages import Page, page_of
from router.records.person_locks import lock_people

EVERYWHERE: Final = "everywhere"  # for every tenant
OF_TENANT: Final = "tenant"  # for all that the row's tenant does
_CAMPAIGN: Final = "campaign:"
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
#: The wishes that count for a campaign of a tenant, or for the tenant.
_COUNTS: Final = ((do_not_call.c.tenant == EVERY_TENANT) & (do_not_call.c.scope == EVERYWHERE)) | (
    (do_not_call.c.tenant == sa.bindparam("tenant"))
    & do_not_call.c.scope.in_(sa.bindparam("scopes", expanding=True))
)
_SCOPES: Final = (  # each dial asks for them; to build a query takes longer than to run it
    sa.select(do_not_call.c.number, do_not_call.c.scope)
    .where(do_not_call.c.number.in_(sa.bindparam("numbers", expanding=True)), _COUNTS)
    .order_by(do_not_call.c.scope)
)


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
    return f"{_CAMPAIGN}{campaign_id}"[:120]


class DoNotCall:
    """The list. *clock* gives Unix seconds; *count* is told of every wish, stored or not_stored."""

    def __init__(
        self,
        store: Store,
        *,
        clock: Callable[[], float],
        count: Callable[[str, int], None] = lambda _outcome, _wishes: None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._count = count
        dialect = sqlite if store.is_sqlite else postgresql
        self._insert = dialect.insert(do_not_call).on_conflict_do_nothing()

    async def add(
        self,
        number: str,
        *,
        source: Source,
        scope: str = OF_TENANT,
        call_id: str | None = None,
        reason: str = "",
        tenant: str = DEFAULT_TENANT,
    ) -> bool:
        """Put a number (E.164) on the list, unless it is there: the first wish stands.

        Raises:
            StoreUnavailable: the database did not answer.
        """
        row = self._row(number, source=source, scope=scope, tenant=tenant)
        row |= {"call_id": call_id, "reason": reason[:1000]}
        return bool(await self._written([row]))

    async def add_all(
        self,
        numbers: Sequence[str],
        *,
        source: Source,
        scope: str = OF_TENANT,
        tenant: str = DEFAULT_TENANT,
    ) -> int:
        """Put many on the list, a thousand at a time; return how many were not there yet.

        Raises:
            StoreUnavailable: the database did not answer; those before are on the list.
        """
        added = 0
        waiting = iter(numbers)
        while some := tuple(islice(waiting, AT_ONCE)):
            rows = [self._row(one, source=source, scope=scope, tenant=tenant) for one in some]
            added += await self._written(rows)
        return added

    async def _written(self, rows: Sequence[dict[str, Any]]) -> int:
        try:
            added = await self._store.write(lambda connection: self._add(connection, rows))
        except StoreUnavailable:
            self._count("not_stored", len(rows))
            raise
        self._count("stored", len(rows))
        return added

    async def remove(
        self, number: str, *, scope: str = OF_TENANT, tenant: str = DEFAULT_TENANT
    ) -> bool:
        """Take a number off the list; False: it was not there. Raises StoreUnavailable."""
        listed = do_not_call.c
        delete = sa.delete(do_not_call).where(
            listed.tenant == _of(scope, tenant), listed.number == number, listed.scope == scope
        )
        return bool(await self._store.write(lambda c: c.execute(delete).rowcount))

    async def page(
        self,
        tenant: str = DEFAULT_TENANT,
        *,
        number: str | None = None,
        scope: str | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Page[Entry]:
        """Return entries, the latest first; raises BadCursor and StoreUnavailable."""
        owner = _of(scope or OF_TENANT, tenant)
        select = sa.select(*_ENTRY).where(do_not_call.c.tenant == owner)
        if number is not None:
            select = select.where(do_not_call.c.number == number)
        if scope is not None:
            select = select.where(do_not_call.c.scope == scope)
        found = await page_of(self._store, select, _ORDER, cursor, limit)
        return Page(tuple(Entry(**row) for row in found.rows), found.next)

    async def holds(
        self, number: str, *, campaign_id: str | None = None, tenant: str = DEFAULT_TENANT
    ) -> Entry | None:
        """Return the wish that forbids to call *number*, if any; raises StoreUnavailable."""
        select = sa.select(*_ENTRY).where(do_not_call.c.number == number, _COUNTS)
        asked = _counting(tenant, campaign_id)
        found = await self._store.read(lambda c: c.execute(select, asked).mappings().first())
        return Entry(**found) if found else None

    def _row(self, number: str, *, source: Source, scope: str, tenant: str) -> dict[str, Any]:
        return {
            "tenant": _of(scope, tenant),
            "number": number,
            "scope": scope,
            "since": self._clock(),
            "source": source,
            "call_id": None,
            "reason": "",
        }

    def _add(self, connection: sa.Connection, rows: Sequence[dict[str, Any]]) -> int:
        """Insert *rows*, which are of one tenant and scope; return how many are new.

        Those who want to hear of the new ones will.
        """
        lock_people(connection, (row["number"] for row in rows))
        listed = do_not_call.c
        before = sa.select(listed.number).where(
            listed.tenant == rows[0]["tenant"],
            listed.scope == rows[0]["scope"],
            listed.number.in_([row["number"] for row in rows]),
        )
        known = set(connection.scalars(before))
        connection.execute(self._insert, rows)
        _forbid(connection, rows)
        new = [row for row in rows if row["number"] not in known]
        announce(connection, [_news(row) for row in new], self._clock())
        return len(new)


def scopes_of(
    connection: sa.Connection, tenant: str, numbers: Sequence[str], campaign_id: str | None
) -> Mapping[str, Sequence[str]]:
    """Read in which scopes *numbers* (E.164) must not be called, in somebody else's transaction.

    Those that are on no list are not in it.
    """
    asked = _counting(tenant, campaign_id) | {"numbers": numbers}
    found: dict[str, tuple[str, ...]] = {}
    for number, scope in connection.execute(_SCOPES, asked):
        found[number] = (*found.get(number, ()), scope)
    return found


def _news(row: Mapping[str, Any]) -> Happened:
    """Say it to whom it concerns; other tenants are not told why."""
    told = ("number", "scope", "since", "source", "call_id", "reason")
    untold = {"reason": ""} if row["tenant"] == EVERY_TENANT else {}
    return Happened(
        type="number.opted_out",
        tenant=row["tenant"],
        key=f"{row['number']} {row['scope']} {row['since']}",
        at=row["since"],
        data={name: row[name] for name in told} | untold,
        call_id=row["call_id"],
    )


def _forbid(connection: sa.Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Stop the calls that *rows*, of one tenant and scope, forbid, where nobody has answered."""
    scope, tenant = rows[0]["scope"], rows[0]["tenant"]
    forbid_in(
        connection,
        [row["number"] for row in rows],
        "asked not to be called",
        at=rows[0]["since"],
        tenant=None if scope == EVERYWHERE else tenant,
        campaign=scope.removeprefix(_CAMPAIGN) if scope.startswith(_CAMPAIGN) else None,
    )


def _of(scope: str, tenant: str) -> str:
    return EVERY_TENANT if scope == EVERYWHERE else tenant


def _counting(tenant: str, campaign_id: str | None) -> dict[str, Any]:
    """Give the values of ``_COUNTS`` for a campaign of a tenant, or for the tenant."""
    scopes = [OF_TENANT, *([campaign_scope(campaign_id)] if campaign_id else [])]
    return {"tenant": tenant, "scopes": scopes}
