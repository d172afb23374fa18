"""The seam to the database: transactions, deadlines, one error."""

import asyncio
import sqlite3
import threading
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
from tests.router.locks import writing_elsewhere

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


def not_written(error: StoreUnavailable) -> None:
    pytest.fail(error.reason)


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


# ---- past the threads ---------------------------------------------------------------------

_INSERT = "INSERT INTO notes (text) VALUES (?)"


def quick(store: Store) -> Callable[[str], int | None]:
    tried = store.quick(
        (sqlite if store.is_sqlite else postgresql).insert(notes).on_conflict_do_nothing(), ["text"]
    )
    return lambda text: tried({"text": text})


async def test_a_quick_insert_is_done_at_once_or_not_at_all(store: Store) -> None:
    insert = quick(store)

    answers = [insert("a"), insert("a")]

    assert answers == ([1, 0] if store.is_sqlite else [None, None])
    assert await texts(store) == (["a"] if store.is_sqlite else [])


async def test_a_quick_update_says_how_many_rows_it_touched(store: Store) -> None:
    await add(store, "old")
    change = sa.update(notes).where(notes.c.text == sa.bindparam("of"))
    update = store.quick(change.values(text=sa.bindparam("to")), ())

    answers = [update({"of": "old", "to": "new"}), update({"of": "old", "to": "newer"})]

    assert answers == ([1, 0] if store.is_sqlite else [None, None])
    assert await texts(store) == (["new"] if store.is_sqlite else ["old"])


async def test_what_was_done_quickly_is_there_for_everyone(store: Store, store_url: str) -> None:
    done = quick(store)("quick")

    other = Store(store_url)
    assert await texts(other) == (["quick"] if done else [])
    await add(store, "slow")
    assert await texts(other) == (["quick", "slow"] if done else ["slow"])
    await other.aclose()


async def test_who_is_quick_waits_for_nobody(store: Store, store_url: str) -> None:
    async with writing_elsewhere(store_url):
        assert quick(store)("mine") is None
        assert store.quick_many(_INSERT, [("mine",)]) is False

    assert await texts(store) == []


async def test_after_a_lock_it_is_quick_again(store: Store, store_url: str) -> None:
    async with writing_elsewhere(store_url):
        assert not store.quick_many(_INSERT, [("during",)])

    assert store.quick_many(_INSERT, [("after",)]) is store.is_sqlite
    assert (quick(store)("too") == 1) is store.is_sqlite


async def test_before_the_store_is_open_nothing_is_done_quickly(store_url: str) -> None:
    store = Store(store_url)

    assert quick(store)("a") is None
    assert store.quick_many(_INSERT, [("a",)]) is False


async def test_many_rows_are_done_quickly_together(store: Store) -> None:
    done = store.quick_many(_INSERT, [("a",), ("b",)])

    assert done is store.is_sqlite
    assert await texts(store) == (["a", "b"] if done else [])


async def test_of_many_rows_with_a_conflict_none_is_done_and_nothing_stays_locked(
    store: Store,
) -> None:
    await add(store, "twice")

    assert store.quick_many(_INSERT, [("a",), ("twice",), ("b",)]) is False

    await add(store, "later")
    assert await texts(store) == ["later", "twice"]


async def test_a_defect_in_one_of_many_rows_leaves_nothing_locked(store: Store) -> None:
    if store.is_sqlite:
        with pytest.raises(UnicodeEncodeError):
            store.quick_many(_INSERT, [("a",), ("\ud800",)])

    await add(store, "later")
    assert await texts(store) == ["later"]


def adding(*new: str) -> Callable[[sa.Connection], int]:
    def work(connection: sa.Connection) -> int:
        for text in new:
            connection.execute(sa.insert(notes), {"text": text})
        return len(new)

    return work


async def test_a_few_records_are_made_at_once_together_or_not_at_all(store: Store) -> None:
    await add(store, "twice")

    answers = [store.at_once(adding("a", "b")), store.at_once(adding("c", "twice"))]

    assert answers == ([2, None] if store.is_sqlite else [None, None])
    assert await texts(store) == (["a", "b", "twice"] if store.is_sqlite else ["twice"])


async def test_what_is_made_at_once_waits_for_nobody(store: Store, store_url: str) -> None:
    async with writing_elsewhere(store_url):
        assert store.at_once(adding("during")) is None

    assert store.at_once(adding("after")) == (1 if store.is_sqlite else None)
    assert await texts(store) == (["after"] if store.is_sqlite else [])


async def test_a_defect_in_what_is_made_at_once_leaves_nothing_locked(store: Store) -> None:
    def broken(connection: sa.Connection) -> None:
        adding("lost")(connection)
        raise ZeroDivisionError

    assert store.at_once(broken) is None

    await add(store, "later")
    assert await texts(store) == ["later"]


async def test_what_is_made_at_once_finds_what_was_to_be_written_soon(store: Store) -> None:
    store.write_soon(adding("first"), not_written)

    found = store.at_once(lambda c: list(c.execute(sa.select(notes)).scalars()))

    assert found == (["first"] if store.is_sqlite else None)
    await store.flush()
    assert await texts(store) == ["first"]


async def test_before_the_store_is_open_nothing_is_made_at_once(store_url: str) -> None:
    assert Store(store_url).at_once(adding("a")) is None


async def test_what_is_brief_takes_no_thread_on_sqlite(store: Store) -> None:
    made_in: list[int] = []

    def work(_connection: sa.Connection) -> None:
        made_in.append(threading.get_ident())

    await store.write(work, brief=True)
    store.write_soon(work, not_written)
    await store.flush()
    await store.write(work)

    here = threading.get_ident()
    assert [one == here for one in made_in] == [store.is_sqlite, store.is_sqlite, False]


async def test_what_is_written_soon_may_be_done_by_the_driver_alone(
    store: Store, store_url: str
) -> None:
    def raw(connection: sqlite3.Connection) -> None:
        connection.execute(_INSERT, ("by the driver",)).close()

    store.write_soon(adding("as usual"), not_written, raw=raw)
    store.write_soon(adding("too"), not_written)
    await store.flush()
    first = await texts(store)
    async with writing_elsewhere(store_url):
        store.write_soon(adding("in a thread"), not_written, raw=raw)
        await asyncio.sleep(0.05)  # the loop has tried by then
    await store.flush()

    assert first == (["by the driver", "too"] if store.is_sqlite else ["as usual", "too"])
    assert await texts(store) == sorted([*first, "in a thread"])


async def test_who_is_told_of_a_failure_and_fails_holds_nobody_up(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    def defect(_error: StoreUnavailable) -> None:
        raise ZeroDivisionError

    await add(store, "twice")
    store.write_soon(adding("twice"), defect)

    async with asyncio.timeout(10):
        await store.flush()
    assert "ZeroDivisionError" in caplog.text


async def test_what_is_brief_is_done_though_another_process_writes(
    store: Store, store_url: str
) -> None:
    async with writing_elsewhere(store_url):
        added = asyncio.create_task(store.write(adding("patient"), brief=True))
        await asyncio.sleep(0.05)  # longer than it would take
        assert not added.done() or not store.is_sqlite

    assert await added == 1
    assert await texts(store) == ["patient"]


async def test_what_is_brief_keeps_its_turn_among_the_rest(tmp_path: Path) -> None:
    store = await Store(f"sqlite:///{tmp_path / 'store.db'}").open()
    await store.write(metadata.create_all)
    seen: list[str] = []

    def note(text: str) -> Callable[[sa.Connection], None]:
        return lambda _connection: seen.append(text)

    turns = [("a", True), ("b", False), ("c", True), ("d", True)]
    await asyncio.gather(*(store.write(note(text), brief=brief) for text, brief in turns))

    assert seen == ["a", "b", "c", "d"]
    await store.aclose()


async def test_what_may_wait_stays_behind_what_was_done_quickly(tmp_path: Path) -> None:
    store = await Store(f"sqlite:///{tmp_path / 'store.db'}").open()
    await store.write(metadata.create_all)
    change = sa.update(notes).where(notes.c.text == "quick").values(text="changed")
    store.write_soon(lambda c: c.execute(change), not_written)

    assert quick(store)("quick") == 1

    await store.flush()
    assert await texts(store) == ["changed"]
    await store.aclose()


async def test_what_somebody_waited_for_is_noted_with_its_seconds(store_url: str) -> None:
    noted: list[tuple[str, str | None]] = []
    store = await Store(
        store_url,
        note=lambda work, took_s, failure: noted.append((work, failure if took_s else "")),
    ).open()
    await store.write(metadata.create_all)
    noted.clear()

    await add(store, "once")
    with pytest.raises(StoreUnavailable):
        await add(store, "once")
    await texts(store)

    assert noted == [("write", None), ("write", "IntegrityError"), ("read", None)]
    await store.aclose()
