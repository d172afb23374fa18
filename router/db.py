"""The one seam to the database: an engine for SQLite or PostgreSQL, and its schema up to date."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Dialect, MetaData, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

import router.migrations

metadata = MetaData()

_DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+psycopg"}
POOL_TIMEOUT_S = 2.0


def _async_url(url: str) -> URL:
    parsed = make_url(url)
    return parsed.set(drivername=_DRIVERS[parsed.get_backend_name()])


def connect(url: str) -> AsyncEngine:
    """Return an engine for *url* (``sqlite:///file`` or ``postgresql://…``); opens nothing yet."""
    parsed = _async_url(url)
    if parsed.get_backend_name() == "postgresql":
        return create_async_engine(parsed, pool_timeout=POOL_TIMEOUT_S, pool_pre_ping=True)
    if parsed.database:
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_async_engine(parsed, pool_timeout=POOL_TIMEOUT_S)

    @event.listens_for(engine.sync_engine, "connect")
    def _pragmas(connection: object, _record: object) -> None:
        connection.isolation_level = None  # type: ignore[attr-defined]  # the event types no driver
        cursor = connection.cursor()  # type: ignore[attr-defined]  # the same
        # WAL: readers never wait for the writer. NORMAL: a committed row survives the death of
        # the process; a power cut may lose the last few, which the election in the room covers.
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "busy_timeout=2000"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def _begin(connection: Connection) -> None:
        # The driver would begin late and weakly: two replicas could then both read and only then
        # find that one may write. So a transaction takes the write lock first, unless it only reads.
        reads_only = connection.get_execution_options().get("reads_only", False)
        connection.exec_driver_sql("BEGIN" if reads_only else "BEGIN IMMEDIATE")

    return engine


async def upgrade(engine: AsyncEngine) -> None:
    """Bring the schema to the newest revision; safe when several replicas start together."""
    async with engine.begin() as connection:
        await connection.run_sync(_upgrade)


def _upgrade(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7462735)")  # our own number
    config = Config()
    config.set_main_option("script_location", str(Path(router.migrations.__file__).parent))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def is_sqlite(dialect: Dialect) -> bool:
    """Tell whether *dialect* is SQLite's; the other one is PostgreSQL's."""
    return dialect.name == "sqlite"
