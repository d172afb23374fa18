"""The seam to the database: transactions, deadlines, one error."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import OperationalError

from router import db
from router.db import Store
from router.errors import StoreUnavailable

metadata = sa.MetaData()
notes = sa.Table("notes", metadata, sa.Column("text", sa.Text, primary_key=True))


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[Store]:
    store = await Store(store_url).open()
    await store.write(metadata.create_all)
    yield store
    await store.aclose()


async def add(store: Store, text: str) -> None:
    await store.write(lambda connection: connection.execute(sa.insert(notes), {"text": text}))


async def texts(store: Store) -> list[str]:
    rows = await store.read(lambda connection: connection.execute(sa.select(notes)).all())
    return sorted(row.text for row in rows)


async def test_what_was_written_can_be_read(store: Store) -> None:
    await add(store, "a")

    assert await texts(store) == ["a"]


async def test_many_writes_at_once_are_all_kept(store: Store) -> None:
    await asyncio.gather(*(add(store, f"{number:03}") for number in range(100)))

    assert await texts(store) == [f"{number:03}" for number in range(100)]


async def test_a_write_that_fails_takes_no_other_along(store: Store) -> None:
    await add(store, "twice")

    answers = await asyncio.gather(
        *(add(store, text) for text in ["a", "twice", "b", "twice", "c"]), return_exceptions=True
    )

    assert [type(answer) for answer in answers] == [
        type(None),
        StoreUnavailable,
        type(None),
        StoreUnavailable,
        type(None),
    ]
    assert await texts(store) == ["a", "b", "c", "twice"]


async def test_a_defect_in_our_own_work_is_not_disguised(store: Store) -> None:
    def broken(_connection: sa.Connection) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await store.write(broken)


async def test_what_is_locked_is_tried_once_for_all_who_wait(tmp_path: Path) -> None:
    store = await Store(f"sqlite:///{tmp_path / 'store.db'}").open()
    tried: list[int] = []

    def locked(number: int) -> Callable[[sa.Connection], None]:
        def work(_connection: sa.Connection) -> None:
            tried.append(number)
            cause = sqlite3.OperationalError("database is locked")
            cause.sqlite_errorcode = sqlite3.SQLITE_BUSY
            raise OperationalError("", {}, cause)

        return work

    writes = [store.write(locked(number)) for number in range(3)]
    outcomes = await asyncio.gather(*writes, return_exceptions=True)

    assert tried == [0]
    assert all(isinstance(one, StoreUnavailable) and one.passing for one in outcomes)
    await store.aclose()


async def test_a_database_that_is_locked_is_given_up_after_the_deadline(
    store: Store, store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(db, "DEADLINE_S", 0.1)
    release = asyncio.Event()
    other = Store(store_url)

    def lock(connection: sa.Connection) -> None:
        connection.execute(sa.insert(notes), {"text": "same"})
        loop.call_soon_threadsafe(locked.set)
        asyncio.run_coroutine_threadsafe(release.wait(), loop).result(5)

    loop, locked = asyncio.get_running_loop(), asyncio.Event()
    holding = asyncio.create_task(other.write(lock))
    await locked.wait()

    with pytest.raises(StoreUnavailable, match="timeout"):
        await add(store, "same")

    release.set()
    with pytest.raises(StoreUnavailable):
        await holding
    await other.aclose()


async def test_a_reader_does_not_wait_for_a_writer(store: Store) -> None:
    await add(store, "before")
    release, locked = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def slow(connection: sa.Connection) -> None:
        connection.execute(sa.insert(notes), {"text": "during"})
        loop.call_soon_threadsafe(locked.set)
        asyncio.run_coroutine_threadsafe(release.wait(), loop).result(5)

    writing = asyncio.create_task(store.write(slow))
    await locked.wait()

    assert await texts(store) == ["before"]

    release.set()
    await writing
    assert await texts(store) == ["before", "during"]


def insert_soon(store: Store, text: str) -> list[StoreUnavailable]:
    failures: list[StoreUnavailable] = []
    store.write_soon(lambda c: c.execute(sa.insert(notes), {"text": text}), failures.append)
    return failures


async def test_what_may_wait_is_written_before_a_later_write(tmp_path: Path) -> None:
    store = await Store(f"sqlite:///{tmp_path / 'store.db'}").open()
    await store.write(metadata.create_all)
    insert_soon(store, "first")

    found = await store.write(lambda c: c.execute(sa.select(notes)).scalars().all())

    assert list(found) == ["first"]
    await store.aclose()


async def test_what_may_wait_is_written_by_itself_if_nothing_else_comes(store: Store) -> None:
    failures = insert_soon(store, "alone")

    deadline = time.monotonic() + 5

    while not (found := await texts(store)) and time.monotonic() < deadline:
        pass  # reading goes through a thread, so the loop runs on

    assert found == ["alone"]
    assert failures == []


async def test_closing_writes_what_may_still_wait(store: Store, store_url: str) -> None:
    insert_soon(store, "last")
    add_too = asyncio.create_task(add(store, "with it"))
    await asyncio.sleep(0)

    await store.aclose()

    await add_too
    again = await Store(store_url).open()
    assert await texts(again) == ["last", "with it"]
    await again.aclose()


async def test_who_does_not_wait_is_told_when_it_was_not_written(store: Store) -> None:
    await add(store, "twice")
    failures = insert_soon(store, "twice")

    await add(store, "another")
    await store.flush()

    assert [failure.reason for failure in failures] == ["IntegrityError"]
    assert await texts(store) == ["another", "twice"]


def quick(store: Store) -> Callable[[str], bool]:
    tried = store.quick_insert(
        (sqlite if store.is_sqlite else postgresql).insert(notes).on_conflict_do_nothing(), ["text"]
    )
    return lambda text: tried({"text": text})


async def test_a_quick_insert_is_done_at_once_or_not_at_all(store: Store) -> None:
    insert = quick(store)

    answers = [insert("a"), insert("a")]

    assert answers == [store.is_sqlite, False]
    assert await texts(store) == (["a"] if store.is_sqlite else [])


async def test_a_quick_insert_waits_for_nobody(store: Store, store_url: str) -> None:
    release, locked = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    other = Store(store_url)

    def hold(connection: sa.Connection) -> None:
        connection.execute(sa.insert(notes), {"text": "other"})
        loop.call_soon_threadsafe(locked.set)
        asyncio.run_coroutine_threadsafe(release.wait(), loop).result(5)

    holding = asyncio.create_task(other.write(hold))
    await locked.wait()

    assert quick(store)("mine") is False

    release.set()
    await holding
    assert await texts(store) == ["other"]
    await other.aclose()


async def test_a_quick_insert_before_the_store_is_open_is_not_done(store_url: str) -> None:
    assert quick(Store(store_url))("a") is False
