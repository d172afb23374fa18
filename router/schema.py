"""Brings a database's schema to the newest revision; several replicas may start together."""

import time
from pathlib import Path
from typing import Any, Final

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import OperationalError

import router.migrations
from router.engines import LOCK_WAIT_MS

UPGRADE_WAIT_MS: Final = 20_000  # for another replica's upgrade
UPGRADE_PAUSE_S: Final = 0.05
MIGRATION_LOCK: Final = 7462735  # any number, as long as every replica takes the same


def upgrade(engine: Engine) -> None:
    """Upgrade, again for a while if another replica is in the way.

    The first to open a SQLite file changes how it keeps its journal, and for that SQLite lets the
    others fail at once instead of waiting for the lock.
    """
    last = time.monotonic() + UPGRADE_WAIT_MS / 1000
    while True:
        try:
            return _upgrade(engine)
        except OperationalError:
            if not _is_sqlite(engine) or time.monotonic() > last or not _is_there(engine):
                raise
            time.sleep(UPGRADE_PAUSE_S)


def _is_sqlite(engine: Engine) -> bool:
    return engine.dialect.name == "sqlite"


def _is_there(engine: Engine) -> bool:
    database = engine.url.database
    return database is not None and Path(database).is_file()


def _upgrade(engine: Engine) -> None:
    with engine.connect() as connection:
        if not _is_sqlite(engine):
            _migrate(connection, f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})")
            return
        _wait_for_lock(connection, UPGRADE_WAIT_MS)  # for replicas that start together
        _migrate(connection)
        _wait_for_lock(connection, LOCK_WAIT_MS)


def _wait_for_lock(connection: Connection, wait_ms: int) -> None:
    driver: Any = connection.connection.driver_connection
    driver.execute(f"PRAGMA busy_timeout={wait_ms}").close()


def _migrate(connection: Connection, *first: str) -> None:
    with connection.begin():
        for statement in first:
            connection.exec_driver_sql(statement)
        config = Config()
        folder = Path(router.migrations.__file__).parent
        config.set_main_option("script_location", str(folder))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
