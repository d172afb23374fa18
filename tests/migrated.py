"""Databases that have their schema already: a copy takes a fifth of what the migrations take."""

import asyncio
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from router.db import Store
from tests.postgres import Postgres

VERSION = "alembic_version"
LOCKED_MS = 2000  # how long to wait for what a test left open
TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
#: Columns whose values a row brings, and does not get from the database.
COLUMNS = """
    SELECT column_name FROM information_schema.columns
    WHERE table_name = %s AND column_default IS NULL AND is_identity = 'NO'
"""


@dataclass(frozen=True, slots=True)
class Template:
    """A database as the migrations leave it, and with which rows, as SQL that writes them."""

    name: str
    tables: frozenset[str]
    rows: tuple[sql.Composed, ...]


def sqlite_at(path: Path) -> str:
    """Put a database with the newest schema and no rows at *path*; return its address."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_sqlite())
    return f"sqlite:///{path}"


class Shared:
    """Databases of one PostgreSQL, with the newest schema and no rows.

    Who is done with one leaves it, emptied, to the next: each is a thousand files, and to remove
    hundreds of them took a minute in the end.
    """

    def __init__(self, server: Postgres) -> None:
        self._server = server
        self._free: list[str] = []

    @contextmanager
    def one(self) -> Iterator[str]:
        """Lend one; give its address."""
        template = self._template
        url = self._free.pop() if self._free else self._server.new_database(like=template.name)
        yield url
        if _emptied(url, template):
            self._free.append(url)

    @cached_property
    def _template(self) -> Template:
        url = self._server.new_database()
        _migrate(url)
        with psycopg.connect(url) as connection:
            tables = frozenset(name for (name,) in connection.execute(TABLES))
            rows = tuple(row for table in tables - {VERSION} for row in _rows(connection, table))
        return Template(url.rpartition("/")[2], tables, rows)


def _rows(connection: psycopg.Connection[Any], table: str) -> Iterator[sql.Composed]:
    names = [name for (name,) in connection.execute(COLUMNS, [table])]
    columns = sql.SQL(", ").join(map(sql.Identifier, names))
    select = sql.SQL("SELECT {} FROM {}").format(columns, sql.Identifier(table))
    for row in connection.execute(select) if names else ():
        values = sql.SQL(", ").join(map(sql.Literal, row))
        yield sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
            sql.Identifier(table), columns, values
        )


def _emptied(url: str, template: Template) -> bool:
    """Make a database as the template is; say whether it is: one that lacks a table stays so."""
    try:
        with psycopg.connect(url, options=f"-c lock_timeout={LOCKED_MS}") as connection:
            found = frozenset(name for (name,) in connection.execute(TABLES))
            if not template.tables <= found:
                return False
            for name in found - template.tables:
                connection.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(name)))
            filled = sql.SQL(", ").join(map(sql.Identifier, template.tables - {VERSION}))
            connection.execute(sql.SQL("TRUNCATE {} RESTART IDENTITY CASCADE").format(filled))
            for row in template.rows:
                connection.execute(row)
    except psycopg.Error:  # killed, or locked by what a test left
        return False
    return True


@cache
def _sqlite() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "new.db"
        _migrate(f"sqlite:///{file}")
        assert [file] == list(file.parent.iterdir())  # no journal is left beside it
        return file.read_bytes()


def _migrate(url: str) -> None:
    async def migrate() -> None:
        store = await Store(url).open()
        await store.aclose()

    with ThreadPoolExecutor(1) as thread:  # an event loop may be running in this one
        thread.submit(asyncio.run, migrate()).result()
