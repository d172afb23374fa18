"""The outbox: what happened, in order, for those who watch. Bounded by count and by age.

A notice is written in the transaction of the change that it tells, so it is there exactly if the
change is. It holds no personal data: what was said is read from the call's own events, and goes
with them.

Readers go by position. On SQLite, which has one writer, that is the row's id. On PostgreSQL ids
are given before the commit, so a lower one may be seen after a higher one; there a position begins
with the transaction, and a row is read when every transaction before its own is over. Nothing can
come in before what was read; a transaction that lasts, whosever it is, holds notices up.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Final, NamedTuple, Self, TypeVar

import sqlalchemy as sa
from pydantic_core import to_json

from router.db import Store, metadata, sqlite_text
from router.records.call_tables import calls, events

T = TypeVar("T")

KEPT_S: Final = 3600.0
MAX_ROWS: Final = 200_000
PRUNE_CHUNK: Final = 500
_HIGHEST: Final = 2**63 - 1

#: Kinds of notices, and the topic by which one asks for them.
TOPIC_OF: Final[Mapping[str, str]] = {
    "call.began": "calls",
    "call.answered": "calls",
    "call.changed": "calls",
    "call.ended": "calls",
    "turn": "turns",
    "fact": "facts",
    "tool_call": "tools",
    "problem": "problems",
    "deliveries": "deliveries",
    "alert": "alerts",
    "attempt.changed": "attempts",
    "run.changed": "runs",
}
TOPICS: Final = tuple(sorted(set(TOPIC_OF.values())))

outbox = sa.Table(
    "outbox",
    metadata,
    sa.Column(
        "id",
        sa.BigInteger().with_variant(sa.Integer, "sqlite"),
        primary_key=True,
        autoincrement=True,
    ),
    sa.Column("txid", sa.BigInteger, nullable=False, server_default=sa.FetchedValue()),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("tenant", sa.String(64), nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("call_id", sa.String(40)),
    sa.Column("attempt", sa.Integer),
    sa.Column("seq", sa.Integer),
    sa.Column("body", sa.Text),
    sqlite_autoincrement=True,
)
#: Columns that a writer gives, in this order.
WRITTEN: Final = ("at", "tenant", "kind", "call_id", "attempt", "seq", "body")


class Position(NamedTuple):
    """Where a reader is; ``str`` writes it, ``read`` reads that."""

    txid: int
    id: int

    def __str__(self) -> str:
        return f"{self.txid}-{self.id}"

    @classmethod
    def read(cls, text: str) -> Self | None:
        """Read a position; None: it is none."""
        txid, dash, number = text.partition("-")
        parts = (txid, number)
        if not dash or not all(one.isascii() and one.isdigit() and len(one) < 20 for one in parts):  # noqa: PLR2004
            return None
        found = cls(int(txid), int(number))
        return found if max(found) <= _HIGHEST else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something that happened. Call, attempt and seq name the event of a call that tells more."""

    at: float  # Unix seconds: when it was written
    tenant: str
    kind: str
    call_id: str | None = None
    attempt: int | None = None
    seq: int | None = None
    body: str | None = None  # JSON; never personal data

    @classmethod
    def of(cls, kind: str, at: float, tenant: str, call_id: str | None = None, **body: Any) -> Self:
        """Make one whose *body* is told with it."""
        text = to_json(body).decode() if body else None
        return cls(at=at, tenant=tenant, kind=kind, call_id=call_id, body=text)

    def row(self) -> dict[str, Any]:
        """Return what is written, by column."""
        return {name: getattr(self, name) for name in WRITTEN}


@dataclass(frozen=True, slots=True)
class Read:
    """A notice as it was read, with the event of the call that it names."""

    position: Position
    notice: Notice
    told: str | None  # JSON; None: there is none (any more)


_NOTE: Final = sa.insert(outbox)
#: One notice, as SQLite's driver takes it.
NOTE_TEXT: Final = sqlite_text(_NOTE, WRITTEN)


def note(connection: sa.Connection, notices: Iterable[Notice]) -> None:
    """Write *notices* in the transaction of the change that they tell."""
    if rows := [notice.row() for notice in notices]:
        connection.execute(_NOTE, rows)


class Outbox:
    """Reads the outbox, and removes what is old. *clock* gives Unix seconds.

    Everything raises StoreUnavailable when the database does not answer.
    """

    def __init__(
        self,
        store: Store,
        *,
        clock: Callable[[], float],
        max_rows: int = MAX_ROWS,
        kept_s: float = KEPT_S,
    ) -> None:
        self._store = store
        self._clock = clock
        self._max_rows = max_rows
        self._kept_s = kept_s
        row = outbox.c
        self._order = (row.id,) if store.is_sqlite else (row.txid, row.id)
        # of a snapshot: the first transaction that is not over
        first_open = sa.text("txid < (pg_snapshot_xmin(pg_current_snapshot())::text)::bigint")
        self._settled = sa.true() if store.is_sqlite else first_open

    async def head(self) -> Position:
        """Return the position of the newest notice that can be read."""
        newest = self._positions(newest=True).where(self._settled).limit(1)
        return await self._store.read(lambda c: _position(c.execute(newest).first()))

    async def after(self, position: Position, limit: int, make: Callable[[Read], T]) -> Sequence[T]:
        """Return what *make* makes, in a thread, of up to *limit* notices after *position*."""
        same_event = (
            (events.c.call_id == outbox.c.call_id)
            & (events.c.attempt == outbox.c.attempt)
            & (events.c.seq == outbox.c.seq)
        )
        select = (
            sa.select(outbox, events.c.body.label("told"), calls.c.tenant.label("of_call"))
            .outerjoin(events, same_event)
            .outerjoin(calls, calls.c.call_id == outbox.c.call_id)
            .where(self._beyond(position), self._settled)
            .order_by(*self._order)
            .limit(limit)
        )
        return await self._store.read(
            lambda connection: [make(_read(row)) for row in connection.execute(select)]
        )

    async def has_all_after(self, position: Position) -> bool:
        """Whether nothing after *position* is gone, and *position* is none of another database."""
        oldest, newest = self._positions().limit(1), self._positions(newest=True).limit(1)

        def look(connection: sa.Connection) -> bool:
            first = _position(connection.execute(oldest).first())
            last = _position(connection.execute(newest).first())
            return first <= position <= last

        return await self._store.read(look)

    async def prune(self) -> int:
        """Remove up to ``PRUNE_CHUNK`` notices, the oldest first; return how many.

        The newest of those that are to go stays: it says up to where the others were.
        """
        before = self._clock() - self._kept_s
        over = self._positions(newest=True).offset(self._max_rows).limit(1)
        oldest = sa.select(outbox.c.txid, outbox.c.id, outbox.c.at).order_by(*self._order)

        def look(connection: sa.Connection) -> list[int]:
            last_over = _position(connection.execute(over).first())
            rows = connection.execute(oldest.limit(PRUNE_CHUNK + 1)).all()
            doomed = takewhile(
                lambda row: row.at < before or Position(row.txid, row.id) <= last_over, rows
            )
            return [row.id for row in doomed][:-1]

        if doomed := await self._store.read(look):
            gone = sa.delete(outbox).where(outbox.c.id.in_(doomed))
            await self._store.write(lambda connection: connection.execute(gone))
        return len(doomed)

    def _positions(self, *, newest: bool = False) -> sa.Select[tuple[int, int]]:
        order = [column.desc() for column in self._order] if newest else list(self._order)
        return sa.select(outbox.c.txid, outbox.c.id).order_by(*order)

    def _beyond(self, position: Position) -> sa.ColumnElement[bool]:
        if self._store.is_sqlite:
            return outbox.c.id > position.id
        return sa.tuple_(outbox.c.txid, outbox.c.id) > sa.tuple_(position.txid, position.id)


def _position(row: Any) -> Position:
    return Position(0, 0) if row is None else Position(row.txid, row.id)


def _read(row: Any) -> Read:
    values = {name: getattr(row, name) for name in WRITTEN}
    # whose call it is may have become known later
    notice = Notice(**(values | {"tenant": row.of_call or row.tenant}))
    return Read(Position(row.txid, row.id), notice, row.told)
