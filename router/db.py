"""The one seam to the database: SQLite or PostgreSQL, with its schema up to date.

SQLAlchemy Core runs in threads of its own, one for SQLite, which has one writer, a few for
PostgreSQL. Measured, that is a fifth of the time that its asyncio driver for SQLite takes, which
crosses threads for each call of the driver. While a SQLite transaction is under way, what else is
to be written waits, and is then committed together.

For the few rows that a call needs there is a way past the threads: ``quick`` and ``quick_many``,
and ``at_once`` for a few records.
"""

import asyncio
import itertools
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Self, TypeVar, cast

from sqlalchemy import Connection, Insert, MetaData, Update
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError

from router.engines import open_engine
from router.errors import StoreUnavailable
from router.schema import UPGRADE_WAIT_MS, upgrade

T = TypeVar("T")
Work = Callable[[Connection], T]
Note = Callable[[str, float, str | None], None]
Raw = Callable[[sqlite3.Connection], None]

metadata = MetaData()

DEADLINE_S = 2.0  # for a caller of `write` or `read`
SOON_S = 0.01  # how long `write_soon` waits for a transaction to join
MANY = 64  # brief writes of one transaction
POSTGRES_THREADS = 4


@dataclass(frozen=True, slots=True)
class _Write:
    work: Work[Any]
    done: Callable[[Any, Exception | None], None]  # called in the event loop
    brief: bool = False  # a row or two of a call
    raw: Raw | None = None


_Answer = tuple[Any, Exception | None]


def _hand_over(waiting: "asyncio.Future[T]", answer: T, error: Exception | None) -> None:
    if waiting.done():  # its caller gave up
        return
    if error is None:
        waiting.set_result(answer)
    else:
        waiting.set_exception(error)


class Store:
    """A database at *url*: ``sqlite:///file`` or ``postgresql://…``.

    *note* is told of everything that somebody waited for: ``write`` or ``read``, its seconds, and
    why it was not done, if it was not.
    """

    def __init__(self, url: str, *, note: Note = lambda _work, _took_s, _failure: None) -> None:
        self._note = note
        self._engine = open_engine(url, threads=POSTGRES_THREADS, deadline_s=DEADLINE_S)
        self.is_sqlite = self._engine.dialect.name == "sqlite"
        threads = 1 if self.is_sqlite else POSTGRES_THREADS
        self._writers = ThreadPoolExecutor(threads, thread_name_prefix="store-write")
        self._readers = ThreadPoolExecutor(2, thread_name_prefix="store-read")
        self._writer: Connection | None = None
        self._here: Connection | None = None  # the event loop's own, which never waits
        self._quick: sqlite3.Connection | None = None  # what is under it
        self._waiting: list[_Write] = []
        self._soon: list[_Write] = []  # what the next transaction takes along
        self._soon_timer: asyncio.TimerHandle | None = None
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def open(self) -> Self:
        """Bring the schema to the newest revision; several replicas may start together.

        Raises:
            StoreUnavailable: the database cannot be opened.
        """
        try:
            await asyncio.get_running_loop().run_in_executor(self._writers, self._open)
        except SQLAlchemyError as exc:
            raise StoreUnavailable(type(exc).__name__) from exc
        return self

    async def flush(self) -> None:
        """Commit what is waiting, ``write_soon`` included."""
        self._commit_waiting()
        await self._idle.wait()

    async def aclose(self) -> None:
        """Commit what is waiting, and close every connection."""
        await self.flush()
        await asyncio.to_thread(self._close)

    async def write(self, work: Work[T], *, patient: bool = False, brief: bool = False) -> T:
        """Run *work* in a transaction that is committed when this returns.

        *work* may run twice, the first time without effect: it must touch nothing but the database.
        What is *brief*, a row or two, may be done in the event loop.

        Raises:
            StoreUnavailable: the database did not answer in time or refused. After ``timeout`` it
                may yet be done; who is *patient* has no such deadline.
        """
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        write = _Write(work, partial(_hand_over, done), brief)
        if self.is_sqlite:
            self._waiting.append(write)
            self._idle.clear()
            asyncio.get_running_loop().call_soon(self._commit_waiting)
        else:  # a server commits many at a time by itself
            self._commit([write])
        return await self._within_deadline("write", done, patient=patient)

    def write_soon(
        self,
        work: Work[Any],
        failed: Callable[[StoreUnavailable], None],
        *,
        raw: Raw | None = None,
    ) -> None:
        """Run *work*, which is brief, as ``write`` does, but up to ``SOON_S`` later.

        A later ``write`` to a SQLite store finds it done. *failed* is told if it could not be done.
        *raw* is the same work as SQLite's driver does it, in a third of the time.
        """

        def told(_answer: object, error: Exception | None) -> None:
            if error is not None:
                failed(StoreUnavailable(type(error).__name__))

        write = _Write(work, told, brief=True, raw=raw)
        if not self.is_sqlite:
            self._commit([write])
            return
        self._soon.append(write)
        self._idle.clear()
        if self._soon_timer is None:
            loop = asyncio.get_running_loop()
            self._soon_timer = loop.call_later(SOON_S, self._commit_soon)

    def quick(
        self, statement: Insert | Update, columns: Sequence[str]
    ) -> Callable[[Mapping[str, Any]], int | None]:
        """Return a function that does *statement* with a row of *columns* at once.

        It gives the number of rows that were touched. ``None``: nothing was done, because another
        connection is writing, the database is in trouble, or it is PostgreSQL. ``write`` then
        waits, or says what is wrong.

        It runs in the event loop, without a thread and without SQLAlchemy: measured, a quarter of
        the time of ``write``. SQLite needs tens of microseconds for a row, it is not allowed to
        wait for a lock, and checkpoints, which wait for the disk, are left to ``write``.
        """
        if not self.is_sqlite:
            return lambda _row: None
        text = sqlite_text(statement, columns)

        def tried(row: Mapping[str, Any]) -> int | None:
            if self._quick is None:
                return None
            try:
                return self._quick.execute(text, row).rowcount
            except sqlite3.Error:
                return None

        return tried

    def quick_many(
        self, text: str, rows: Sequence[Sequence[Any]], *more: tuple[str, Sequence[Any]]
    ) -> bool:
        """Do the statement *text* with each of a few *rows*, all or none; as ``quick`` does.

        *more* are statements that are done with them, each with one row. False: nothing was done.
        """
        if self._quick is None:
            return False
        try:
            self._quick.execute("BEGIN IMMEDIATE").close()
            try:
                self._quick.executemany(text, rows).close()
                for other, row in more:
                    self._quick.execute(other, row).close()
                self._quick.execute("COMMIT").close()
            except BaseException:
                self._quick.rollback()
                raise
        except sqlite3.Error:
            return False
        return True

    def at_once(self, work: Work[T]) -> T | None:
        """Run *work*, of about a millisecond, in a transaction in the event loop.

        None: nothing was done, because another connection is writing, the database is in trouble,
        or it is PostgreSQL. ``write`` then waits, or says what is wrong. A thread lets go of the
        interpreter with each row, and while the loop is busy it waits half a millisecond to get it
        back, with the database locked: what a call needs could not be written at once meanwhile.
        """
        self._commit_waiting()  # what came before is done before
        return None if self._under_way else self._made(work)

    async def scrub(self) -> None:
        """Leave nothing of what was deleted in the database's files, as far as it lies with it.

        SQLite's file is written anew and its journal emptied, and meanwhile nobody writes, for
        about a second for each hundred MiB; PostgreSQL is told to vacuum.

        Raises:
            StoreUnavailable: it was not done; what was deleted stays deleted.
        """
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._writers, self._scrub)
        except SQLAlchemyError as exc:
            raise StoreUnavailable(type(exc).__name__, passing=_is_passing(exc)) from exc

    async def read(self, work: Work[T]) -> T:
        """Run *work*, which only reads.

        Raises:
            StoreUnavailable: the database did not answer in time or refused.
        """
        loop = asyncio.get_running_loop()
        answer = loop.run_in_executor(self._readers, self._read, work)
        return await self._within_deadline("read", answer)

    async def _within_deadline(
        self, work: str, answer: "asyncio.Future[T]", *, patient: bool = False
    ) -> T:
        began, failure = time.perf_counter(), None
        try:
            async with asyncio.timeout(None if patient else DEADLINE_S):
                return await answer
        except TimeoutError as exc:
            failure = "timeout"
            raise StoreUnavailable(failure, passing=True) from exc
        except SQLAlchemyError as exc:
            failure = type(exc).__name__
            raise StoreUnavailable(failure, passing=_is_passing(exc)) from exc
        finally:
            self._note(work, time.perf_counter() - began, failure)

    def _made(self, work: Work[T]) -> T | None:
        if self._here is None:
            return None
        try:
            with self._here.begin():
                return work(self._here)
        except Exception:  # noqa: BLE001  # who tries next says what is wrong
            return None

    def _commit_soon(self) -> None:
        self._soon_timer = None
        self._commit_waiting()

    def _commit_waiting(self) -> None:
        if self._under_way or not (self._soon or self._waiting):
            return  # `_committed` comes back to it, or it is done
        if self._soon_timer is not None:
            self._soon_timer.cancel()
            self._soon_timer = None
        writes = self._soon + self._waiting
        self._soon, self._waiting = [], []
        if left := self._commit_brief(writes):
            self._commit(left)
        else:
            self._idle.set()

    def _commit_brief(self, writes: Sequence[_Write]) -> Sequence[_Write]:
        """Do here what is brief, up to the first that is not; return what is left.

        In a thread it would lock out the next calls' rows, which then came here too, and so on.
        """
        brief = list(itertools.islice(itertools.takewhile(lambda one: one.brief, writes), MANY))
        if not brief:
            return writes
        answers = self._made(lambda c: [self._briefly(one, c) for one in brief])
        if answers is None:
            return writes
        for write, answer in zip(brief, answers, strict=True):
            write.done(answer, None)
        return writes[len(brief) :]

    def _briefly(self, write: _Write, connection: Connection) -> Any:
        if write.raw is None or self._quick is None:
            return write.work(connection)
        return write.raw(self._quick)  # which is under *connection*, in its transaction

    def _commit(self, writes: Sequence[_Write]) -> None:
        """Have a thread do *writes* in one transaction."""
        self._under_way += 1
        self._idle.clear()
        loop = asyncio.get_running_loop()

        def committed(answers: "Future[list[_Answer]]") -> None:
            loop.call_soon_threadsafe(self._committed, writes, answers.result())

        works = [write.work for write in writes]
        self._writers.submit(self._together, works).add_done_callback(committed)

    def _committed(self, writes: Sequence[_Write], answers: "Sequence[_Answer]") -> None:
        self._under_way -= 1
        if self._waiting or (self._soon and self._soon_timer is None):
            self._commit_waiting()
        elif not self._under_way and not self._soon:
            self._idle.set()
        for write, (answer, error) in zip(writes, answers, strict=True):
            write.done(answer, error)

    # ---- in the threads ----

    def _together(self, works: Sequence[Work[Any]]) -> list[_Answer]:
        try:
            with self._transaction() as connection:
                return [(work(connection), None) for work in works]
        except Exception as exc:  # noqa: BLE001  # handed to the callers, each its own
            if len(works) == 1 or _is_passing(exc):  # locked or full, for each of them alike
                return [(None, exc)] * len(works)
        # One of them failed and took the others along: now each by itself.
        return [self._together([work])[0] for work in works]

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        if not self.is_sqlite:
            with self._engine.begin() as connection:
                yield connection
            return
        if self._writer is None:  # kept: to check one out of the pool costs as much as a write
            self._writer = self._engine.connect()
        try:
            with self._writer.begin():
                yield self._writer
        except BaseException:
            self._writer.close()
            self._writer = None
            raise

    def _read(self, work: Work[T]) -> T:
        with self._engine.connect() as connection:
            reading = connection.execution_options(reads_only=True)
            return work(reading)

    def _scrub(self) -> None:
        if not self.is_sqlite:
            with self._engine.connect() as connection:
                vacuum = connection.execution_options(isolation_level="AUTOCOMMIT")
                vacuum.exec_driver_sql("SET statement_timeout = 0")
                vacuum.exec_driver_sql("VACUUM")
                connection.invalidate()  # with its timeout
            return
        file = sqlite3.connect(str(self._engine.url.database), isolation_level=None)
        try:
            file.execute(f"PRAGMA busy_timeout={UPGRADE_WAIT_MS}").close()
            file.execute("PRAGMA secure_delete=ON").close()
            file.execute("VACUUM").close()
            file.execute("PRAGMA wal_checkpoint(TRUNCATE)").close()
        except sqlite3.Error as exc:
            raise OperationalError("VACUUM", None, exc) from exc
        finally:
            file.close()

    def _open(self) -> None:
        upgrade(self._engine)
        if self.is_sqlite:
            self._here = self._engine.connect()
            self._quick = cast("sqlite3.Connection", self._here.connection.driver_connection)
            for pragma in ("busy_timeout=0", "wal_autocheckpoint=0"):
                self._quick.execute(f"PRAGMA {pragma}").close()

    def _close(self) -> None:
        self._writers.shutdown()
        self._readers.shutdown()
        if self._writer is not None:
            self._writer.close()
        if self._here is not None:
            self._here.close()
        self._engine.dispose()


def sqlite_text(statement: Insert | Update, columns: Sequence[str] = ()) -> str:
    """Return *statement* as SQLite's driver takes it, with a named parameter for each value."""
    return str(statement.compile(dialect=sqlite.dialect(paramstyle="named"), column_keys=columns))


def _is_passing(exc: Exception) -> bool:
    """Whether it lies in the database's state: locked, full, gone."""
    if not isinstance(exc, OperationalError):
        return isinstance(exc, DBAPIError) and exc.connection_invalidated
    code = getattr(exc.orig, "sqlite_errorcode", None)
    return code != sqlite3.SQLITE_ERROR  # which is a statement that makes no sense
