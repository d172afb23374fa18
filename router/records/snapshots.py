"""Personas as they were sent to agents, by version, for a call that has to go on.

An agent that dies is replaced by one that speaks as the same persona, whatever the source says by
then. A version is written when it is sent for the first time, and marked as in use once an hour.
"""

import zlib
from collections.abc import Callable
from typing import Final

import sqlalchemy as sa
from cachetools import TTLCache
from sqlalchemy.dialects import postgresql, sqlite

from personas.errors import PersonaInvalid
from personas.model import Persona
from router.db import Store, metadata

KEPT_S: Final = 24 * 3600.0  # after it was sent last, give or take the hour
MARK_EVERY_S: Final = 3600.0
MAX_KEPT: Final = 10_000  # the newest of them
_MARKED: Final = 4_000  # versions of which we know when we marked them

snapshots = sa.Table(
    "snapshots",
    metadata,
    sa.Column("version", sa.String(80), primary_key=True),
    sa.Column("document", sa.LargeBinary, nullable=False),  # its text, compressed
    sa.Column("kept_at", sa.Float, nullable=False),
)


class Snapshots:
    """The table, for the one who writes claims. *clock* gives Unix seconds."""

    def __init__(self, store: Store, *, clock: Callable[[], float], kept_s: float = KEPT_S) -> None:
        self._clock = clock
        self._kept_s = kept_s
        insert = (sqlite if store.is_sqlite else postgresql).insert(snapshots)
        self._insert = insert.on_conflict_do_update(
            index_elements=["version"], set_={"kept_at": insert.excluded.kept_at}
        )
        self._marked: TTLCache[str, None] = TTLCache(_MARKED, MARK_EVERY_S, timer=clock)

    def due(self, version: str) -> bool:
        """Say whether *version* has to be written (again), and take it for written."""
        if version in self._marked:
            return False
        self._marked[version] = None
        return True

    def failed(self, version: str) -> None:
        """Take note that *version* was not written."""
        self._marked.pop(version, None)

    def write(self, connection: sa.Connection, persona: Persona) -> None:
        """Write *persona* within a transaction."""
        document = zlib.compress(persona.raw.encode(), 1)
        row = {"version": persona.version, "document": document, "kept_at": self._clock()}
        connection.execute(self._insert, row)

    def forget(self, connection: sa.Connection) -> None:
        """Delete, within a transaction, what was not sent for long, and what is too much."""
        newest = sa.select(snapshots.c.kept_at).order_by(snapshots.c.kept_at.desc())
        last = connection.scalar(newest.offset(MAX_KEPT).limit(1)) or 0.0
        before = max(last, self._clock() - self._kept_s)
        connection.execute(sa.delete(snapshots).where(snapshots.c.kept_at <= before))


def read(document: bytes | None) -> Persona | None:
    """Return the persona that *document* holds; None: there is none, or it is damaged."""
    if document is None:
        return None
    try:
        return Persona.from_json(zlib.decompress(document))
    except (zlib.error, PersonaInvalid):
        return None
