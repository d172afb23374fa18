"""The seam to the database: transactions, deadlines, one error."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import sqlalchemy as sa

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
