"""How SQLite and PostgreSQL are connected to: locks, journal, memory, deadlines."""

from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url

LOCK_WAIT_MS: Final = 1500  # for another process's transaction
PAGES_KIB: Final = 512


def open_engine(url: str, *, threads: int, deadline_s: float) -> Engine:
    """Return an engine for the database at *url*.

    PostgreSQL has connections for as many *threads*, and ends a statement after *deadline_s*.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() == "postgresql":
        return create_engine(
            parsed.set(drivername="postgresql+psycopg"),
            pool_pre_ping=True,
            pool_size=threads + 2,
            connect_args={
                "connect_timeout": int(deadline_s),
                "options": f"-c statement_timeout={int(deadline_s * 1000)}",
            },
        )
    if parsed.database:
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(parsed, connect_args={"check_same_thread": False})

    @event.listens_for(engine, "connect")
    def _connected(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # transactions begin where `_begin` says
        # WAL: readers never wait for the writer. NORMAL: a committed row survives the death of
        # the process; a power cut may lose the last few, which the election in the room covers.
        # Each connection keeps pages of its own, 2 MiB by default; the system has them as well.
        pragmas = (
            "journal_mode=WAL",
            "synchronous=NORMAL",
            f"busy_timeout={LOCK_WAIT_MS}",
            f"cache_size=-{PAGES_KIB}",
        )
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # The write lock comes first: two processes could otherwise both read, and only then find
        # that one of them may write.
        reads_only = connection.get_execution_options().get("reads_only", False)
        connection.exec_driver_sql("BEGIN" if reads_only else "BEGIN IMMEDIATE")

    return engine
