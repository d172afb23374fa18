"""Stores for tests: every suite that takes ``store_url`` runs on SQLite and on PostgreSQL."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import cast

import pytest

from router import db
from router.db import Store
from tests import postgres
from tests.absent import absent
from tests.fakes_personas import FakeClock
from tests.migrated import Shared, sqlite_at
from tests.router.api.rig import Rig, open_rig

DATABASE_S = 20.0


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let databases take longer than a caller would wait: the machine may be busy with tests."""
    monkeypatch.setattr(db, "DEADLINE_S", DATABASE_S)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[postgres.Postgres]:
    if postgres.binaries() is None:
        absent("PostgreSQL", postgres.HOW)
    with postgres.running() as server:
        yield server


@pytest.fixture(
    params=[
        pytest.param("sqlite"),
        pytest.param("postgresql", marks=pytest.mark.postgres),
    ]
)
def postgres_or_sqlite(request: pytest.FixtureRequest) -> postgres.Postgres | None:
    """PostgreSQL, or None for SQLite: what takes this runs on both."""
    if request.param == "sqlite":
        return None
    return cast("postgres.Postgres", request.getfixturevalue("postgres_server"))


@pytest.fixture(scope="session")
def shared_databases(postgres_server: postgres.Postgres) -> Shared:
    return Shared(postgres_server)


@pytest.fixture
def store_url(
    request: pytest.FixtureRequest, postgres_or_sqlite: postgres.Postgres | None, tmp_path: Path
) -> Iterator[str]:
    """Address of a database with its schema and no rows."""
    if postgres_or_sqlite is None:
        yield sqlite_at(tmp_path / "store.db")
        return
    shared: Shared = request.getfixturevalue("shared_databases")
    with shared.one() as url:
        yield url


@pytest.fixture
def empty_url(postgres_or_sqlite: postgres.Postgres | None, tmp_path: Path) -> str:
    """Address of a database without a schema."""
    if postgres_or_sqlite is None:
        return f"sqlite:///{tmp_path / 'store.db'}"
    return postgres_or_sqlite.new_database()


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[Store]:
    """An empty database of this test's own."""
    store = await Store(store_url).open()
    yield store
    await store.aclose()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    """A router in this process."""
    async with open_rig(tmp_path) as rig:
        yield rig
