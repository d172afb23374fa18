"""The one seam to the database: SQLite or PostgreSQL, with its schema up to date.

SQLAlchemy Core runs in threads of its own, one for SQLite, which has one writer, a few for
PostgreSQL. Measured, that is a fifth of the time that its asyncio driver for SQLite takes, which
crosses threads for each call of the driver. While a SQLite transaction is under way, what else is
to be written waits, and is then committed together.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self, TypeVar

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, MetaData, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

import router.migrations
from router.errors import StoreUnavailable

T = TypeVar("T")
Work = Callable[[Connection], T]

metadata = MetaData()

DEADLINE_S = 2.0  # for a caller of `write` or `read`
LOCK_WAIT_MS = 1500  # for another process's transaction
POSTGRES_THREADS = 4
MIGRATION_LOCK = 7462735  # any number, as long as every replica takes the same


class Store:
    """A database at *url*: ``sqlite:///file`` or ``postgresql://…``."""

    def __init__(self, url: str) -> None:
        self._engine = _engine(url)
        self.is_sqlite = self._engine.dialect.name == "sqlite"
        threads = 1 if self.is_sqlite else POSTGRES_THREADS
        self._writers = ThreadPoolExecutor(threads, thread_name_prefix="store-write")
        self._readers = ThreadPoolExecutor(2, thread_name_prefix="store-read")
        self._waiting: list[tuple[Work[Any], asyncio.Future[Any]]] = []
        self._committing: asyncio.Task[None] | None = None

    async def open(self) -> Self:
        """Bring the schema to the newest revision; several replicas may start together.

        Raises:
            StoreUnavailable: the database cannot be opened.
        """
        try:
            await asyncio.get_running_loop().run_in_executor(self._writers, self._upgrade)
        except SQLAlchemyError as exc:
            raise StoreUnavailable(type(exc).__name__) from exc
        return self

    async def aclose(self) -> None:
        """Commit what is waiting, and close every connection."""
        if self._committing is not None:
            await self._committing
        await asyncio.to_thread(self._close)

    async def write(self, work: Work[T]) -> T:
        """Run *work* in a transaction that is committed when this returns.

        *work* may run twice, the first time without effect: it must touch nothing but the database.

        Raises:
            StoreUnavailable: the database did not answer in time or refused. After ``timeout`` it
                may yet be done.
        """
        return await self._within_deadline(self._write(work))

    async def read(self, work: Work[T]) -> T:
        """Run *work*, which only reads.

        Raises:
            StoreUnavailable: the database did not answer in time or refused.
        """
        loop = asyncio.get_running_loop()
        return await self._within_deadline(loop.run_in_executor(self._readers, self._read, work))

    async def _within_deadline(self, answer: "asyncio.Future[T] | Any") -> T:
        try:
            async with asyncio.timeout(DEADLINE_S):
                found: T = await answer
        except TimeoutError as exc:
            raise StoreUnavailable("timeout") from exc
        except SQLAlchemyError as exc:
            raise StoreUnavailable(type(exc).__name__) from exc
        return found

    async def _write(self, work: Work[T]) -> T:
        loop = asyncio.get_running_loop()
        if not self.is_sqlite:  # a server commits many at a time by itself
            return await loop.run_in_executor(self._writers, self._alone, work)
        done: asyncio.Future[T] = loop.create_future()
        self._waiting.append((work, done))
        if self._committing is None:
            self._committing = loop.create_task(self._commit_waiting())
        return await done

    async def _commit_waiting(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, []
                works = [work for work, _ in batch]
                answers = await loop.run_in_executor(self._writers, self._together, works)
                for (_, done), (answer, error) in zip(batch, answers, strict=True):
                    if done.done():  # its caller gave up
                        continue
                    if error is None:
                        done.set_result(answer)
                    else:
                        done.set_exception(error)
        finally:
            self._committing = None

    # ---- in the threads ----

    def _together(self, works: Sequence[Work[Any]]) -> list[tuple[Any, Exception | None]]:
        try:
            with self._engine.begin() as connection:
                return [(work(connection), None) for work in works]
        except Exception as exc:  # noqa: BLE001  # handed to the callers, each its own
            if len(works) == 1:
                return [(None, exc)]
        # One of them failed and took the others along: now each by itself.
        return [self._together([work])[0] for work in works]

    def _alone(self, work: Work[T]) -> T:
        with self._engine.begin() as connection:
            return work(connection)

    def _read(self, work: Work[T]) -> T:
        with self._engine.connect() as connection:
            reading = connection.execution_options(reads_only=True)
            return work(reading)

    def _upgrade(self) -> None:
        with self._engine.begin() as connection:
            if not self.is_sqlite:
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})")
            config = Config()
            folder = Path(router.migrations.__file__).parent
            config.set_main_option("script_location", str(folder))
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    def _close(self) -> None:
        self._writers.shutdown()
        self._readers.shutdown()
        self._engine.dispose()


def _engine(url: str) -> Engine:
    parsed = make_url(url)
    if parsed.get_backend_name() == "postgresql":
        return create_engine(
            parsed.set(drivername="postgresql+psycopg"),
            pool_pre_ping=True,
            pool_size=POSTGRES_THREADS + 2,
            connect_args={
                "connect_timeout": int(DEADLINE_S),
                "options": f"-c statement_timeout={int(DEADLINE_S * 1000)}",
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
        pragmas = ("journal_mode=WAL", "synchronous=NORMAL", f"busy_timeout={LOCK_WAIT_MS}")
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # The write lock comes first: two processes could otherwise both read, and only then find
        # that one of them may write.
        reads_only = connection.get_execution_options().get("reads_only", False)
        connection.exec_driver_sql("BEGIN" if reads_only else "BEGIN IMMEDIATE")

    return engine
