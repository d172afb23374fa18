"""Lists of leads: each a file that was uploaded, one of them the active one of its tenant.

A list is written in small transactions, since calls that ring need the database too, and becomes
visible with the last of them, all at once. What a crash leaves behind goes with a later import.
"""

import asyncio
import hashlib
import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from router.campaigns.leads import COLUMNS, Lead, LeadTable, read_leads, write_bad
from router.db import Store, metadata
from router.errors import LeadsRefused

MAX_NAME_CHARS: Final = 100
BATCH_ROWS: Final = 500  # in one transaction: some ten milliseconds
FORGOTTEN_S: Final = 3600.0  # an import that is older than this has died
MAX_PAGE: Final = 1_000

lead_lists = sa.Table(
    "lead_lists",
    metadata,
    sa.Column("id", sa.String(16), primary_key=True),
    sa.Column("tenant", sa.String(64), nullable=False, index=True),
    sa.Column("name", sa.String(MAX_NAME_CHARS), nullable=False),
    sa.Column("uploaded_at", sa.Float, nullable=False),
    sa.Column("ready", sa.Boolean, nullable=False),
    sa.Column("active", sa.Boolean, nullable=False),
    sa.Column("size", sa.Integer, nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("columns", sa.Text, nullable=False),
    sa.Column("leads", sa.Integer, nullable=False),
    sa.Column("bad", sa.Integer, nullable=False),
    sa.Column("bad_csv", sa.Text, nullable=False),
)
leads = sa.Table(
    "leads",
    metadata,
    sa.Column("list_id", sa.String(16), primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("row", sa.Integer, nullable=False),
    *(sa.Column(name, sa.Text, nullable=False) for name in COLUMNS),
    sa.Column("variables", sa.Text, nullable=False),
    sqlite_with_rowid=False,
)
_SHOWN: Final = (
    lead_lists.c.id,
    lead_lists.c.name,
    lead_lists.c.uploaded_at,
    lead_lists.c.active,
    lead_lists.c.size,
    lead_lists.c.digest,
    lead_lists.c.columns,
    lead_lists.c.leads,
    lead_lists.c.bad,
)


@dataclass(frozen=True, slots=True)
class LeadList:
    """A list, without its leads."""

    id: str
    name: str
    uploaded_at: float  # Unix seconds
    active: bool
    size: int  # bytes, of the file
    digest: str  # SHA-256 of the file
    columns: tuple[str, ...]
    leads: int
    bad: int  # rows that are no leads


@dataclass(frozen=True, slots=True)
class StoredLead:
    """A lead, and where it stands."""

    position: int  # in its list, from 1: LEAD_INDEX of older dialers
    row: int  # of the file
    lead: Lead


@dataclass(frozen=True, slots=True)
class Import:
    """A list that is being read, or written."""

    name: str
    began_at: float  # Unix seconds
    read: int  # rows of the file, so far
    leads: int  # 0: not known before all rows are read
    kept: int  # of them, so far


class Leads:
    """All lists in one database. *clock* gives Unix seconds; *region* is of short numbers."""

    def __init__(self, store: Store, *, clock: Callable[[], float], region: str | None) -> None:
        self._store = store
        self._clock = clock
        self._region = region
        self._reading: dict[str, tuple[str, Import]] = {}  # by list, with the tenant

    async def add(
        self,
        tenant: str,
        name: str,
        raw: bytes,
        progress: Callable[[str, int], None] = lambda _step, _rows: None,
    ) -> tuple[LeadList, LeadTable]:
        """Read a file and keep it under *name*, in place of a list of that name, or not at all.

        *progress* is told how many rows were ``read``, and then ``kept``; from any thread.

        Raises:
            LeadsRefused: the file or its name cannot be used; nothing has changed.
            StoreUnavailable: the database did not answer; nothing has changed.
        """
        named = file_name(name)
        list_id, began_at = secrets.token_hex(8), self._clock()

        def told(rows: int) -> None:
            if list_id in self._reading:  # else nobody waits for it any more
                self._reading[list_id] = (tenant, Import(named, began_at, rows, 0, 0))
            progress("read", rows)

        self._reading[list_id] = (tenant, Import(named, began_at, 0, 0, 0))
        try:
            table = await asyncio.to_thread(read_leads, raw, self._region, told)
        finally:
            self._reading.pop(list_id, None)
        row = {
            "id": list_id,
            "tenant": tenant,
            "name": named,
            "uploaded_at": began_at,
            "ready": False,
            "active": False,
            "size": len(raw),
            "digest": hashlib.sha256(raw).hexdigest(),
            "columns": json.dumps(table.columns),
            "leads": len(table.leads),
            "bad": len(table.bad),
            "bad_csv": write_bad(table) if table.bad else "",
        }
        await self._store.write(lambda c: c.execute(sa.insert(lead_lists), row), patient=True)
        for first in range(0, len(table.leads), BATCH_ROWS):
            rows = _rows(list_id, table, first)
            await self._store.write(
                lambda c, rows=rows: c.execute(sa.insert(leads), rows),  # type: ignore[misc]
                patient=True,
            )
            progress("kept", first + len(rows))
        forgotten = self._clock() - FORGOTTEN_S
        mine = (lead_lists.c.tenant == tenant) & (lead_lists.c.name == named)

        def show(connection: sa.Connection) -> bool:
            before = connection.execute(
                sa.select(lead_lists.c.id, lead_lists.c.active).where(mine, lead_lists.c.ready)
            ).all()
            active = any(one.active for one in before)
            dead = ~lead_lists.c.ready & (lead_lists.c.uploaded_at < forgotten)
            gone = [
                *(one.id for one in before),
                *connection.scalars(sa.select(lead_lists.c.id).where(dead)),
            ]
            _delete(connection, gone)
            ready = sa.update(lead_lists).where(lead_lists.c.id == list_id)
            connection.execute(ready.values(ready=True, active=active))
            return active

        active = await self._store.write(show, patient=True)
        return _list({**row, "active": active}), table

    async def lists(self, tenant: str) -> Sequence[LeadList]:
        """List a tenant's lists by name."""
        query = sa.select(*_SHOWN).where(lead_lists.c.tenant == tenant, lead_lists.c.ready)
        query = query.order_by(lead_lists.c.name)
        rows = await self._store.read(lambda c: c.execute(query).mappings().all())
        return [_list(dict(row)) for row in rows]

    async def imports(self, tenant: str) -> Sequence[Import]:
        """List the imports that are under way: being read in this process, written by any."""
        kept = sa.select(sa.func.coalesce(sa.func.max(leads.c.position), 0))
        kept = kept.where(leads.c.list_id == lead_lists.c.id)
        query = sa.select(
            lead_lists.c.name,
            lead_lists.c.uploaded_at,
            lead_lists.c.leads + lead_lists.c.bad,
            lead_lists.c.leads,
            kept.scalar_subquery(),
        ).where(
            lead_lists.c.tenant == tenant,
            ~lead_lists.c.ready,
            lead_lists.c.uploaded_at > self._clock() - FORGOTTEN_S,
        )
        rows = await self._store.read(lambda c: c.execute(query.order_by(lead_lists.c.name)).all())
        reading = [one for of, one in tuple(self._reading.values()) if of == tenant]
        return [*sorted(reading, key=lambda one: one.name), *(Import(*row) for row in rows)]

    async def find(self, tenant: str, name: str | None = None) -> LeadList | None:
        """Find a list by name, or the active one."""
        query = sa.select(*_SHOWN).where(lead_lists.c.tenant == tenant, lead_lists.c.ready)
        query = query.where(lead_lists.c.active if name is None else lead_lists.c.name == name)
        row = await self._store.read(lambda c: c.execute(query).mappings().first())
        return None if row is None else _list(dict(row))

    async def page(self, found: LeadList, *, after: int = 0, limit: int) -> Sequence[StoredLead]:
        """Give the leads behind position *after*, in their order, ``MAX_PAGE`` at most."""
        return await self._store.read(lambda c: leads_after(c, found.id, after, limit))

    async def of_number(self, found: LeadList, number: str) -> StoredLead | None:
        """Find a number (E.164) in a list."""
        query = sa.select(leads).where(leads.c.list_id == found.id, leads.c.phone == number)
        row = await self._store.read(lambda c: c.execute(query).mappings().first())
        return None if row is None else stored_lead(dict(row))

    async def all(self, found: LeadList) -> Sequence[StoredLead]:
        """Give every lead of a list, read page by page."""
        answer: list[StoredLead] = []
        while page := await self.page(
            found, after=answer[-1].position if answer else 0, limit=MAX_PAGE
        ):
            answer += page
        return answer

    async def at(self, list_id: str, position: int) -> StoredLead | None:
        """Give one lead; None: its list has been deleted."""
        query = sa.select(leads).where(leads.c.list_id == list_id, leads.c.position == position)
        row = await self._store.read(lambda c: c.execute(query).mappings().first())
        return None if row is None else stored_lead(dict(row))

    async def bad_csv(self, tenant: str, name: str) -> str | None:
        """Give the bad rows of a list, to be put right; None: there is no such list."""
        query = sa.select(lead_lists.c.bad_csv).where(
            lead_lists.c.tenant == tenant, lead_lists.c.name == name, lead_lists.c.ready
        )
        return await self._store.read(lambda c: c.scalar(query))

    async def select(self, tenant: str, name: str) -> bool:
        """Make a list the active one; False: there is no such list."""
        of_tenant = (lead_lists.c.tenant == tenant) & lead_lists.c.ready

        def select(connection: sa.Connection) -> bool:
            named = of_tenant & (lead_lists.c.name == name)
            if connection.scalar(sa.select(lead_lists.c.id).where(named)) is None:
                return False
            connection.execute(
                sa.update(lead_lists).where(of_tenant).values(active=lead_lists.c.name == name)
            )
            return True

        return await self._store.write(select)

    async def delete(self, tenant: str, name: str) -> bool:
        """Delete a list with its leads; False: there is no such list."""
        named = (lead_lists.c.tenant == tenant) & (lead_lists.c.name == name) & lead_lists.c.ready

        def delete(connection: sa.Connection) -> bool:
            gone = connection.scalars(sa.select(lead_lists.c.id).where(named)).all()
            _delete(connection, gone)
            return bool(gone)

        return await self._store.write(delete, patient=True)


def file_name(sent: str) -> str:
    """Give the name under which a file is kept: what stands behind the last slash, and no path.

    Raises:
        LeadsRefused: ``bad_name``.
    """
    name = sent.replace("\\", "/").rsplit("/", 1)[-1].strip()
    if not name.strip(".") or not name.isprintable() or len(name) > MAX_NAME_CHARS:
        fix = f"give the file a name such as leads.csv, {MAX_NAME_CHARS} characters at most"
        raise LeadsRefused("bad_name", fix=fix)
    return name


def _delete(connection: sa.Connection, list_ids: Sequence[str]) -> None:
    connection.execute(sa.delete(leads).where(leads.c.list_id.in_(list_ids)))
    connection.execute(sa.delete(lead_lists).where(lead_lists.c.id.in_(list_ids)))


def _rows(list_id: str, table: LeadTable, first: int) -> list[dict[str, Any]]:
    return [
        {
            "list_id": list_id,
            "position": position,
            "row": row,
            **{name: getattr(lead, name) for name in COLUMNS},
            "variables": json.dumps(dict(lead.variables), ensure_ascii=False),
        }
        for position, (row, lead) in enumerate(table.leads[first : first + BATCH_ROWS], first + 1)
    ]


def _list(row: dict[str, Any]) -> LeadList:
    values = {column.name: row[column.name] for column in _SHOWN}
    return LeadList(**{**values, "columns": tuple(json.loads(values["columns"]))})


def leads_after(
    connection: sa.Connection, list_id: str, after: int, limit: int
) -> Sequence[StoredLead]:
    """Read the leads of a list behind position *after*, in somebody else's transaction."""
    query = sa.select(leads).where(leads.c.list_id == list_id, leads.c.position > after)
    query = query.order_by(leads.c.position).limit(min(limit, MAX_PAGE))
    return [stored_lead(dict(row)) for row in connection.execute(query).mappings()]


def stored_lead(row: dict[str, Any]) -> StoredLead:
    """Read the row of a lead."""
    known = {name: row[name] for name in COLUMNS}
    lead = Lead(**known, variables=json.loads(row["variables"]))
    return StoredLead(row["position"], row["row"], lead)
