"""Stores for tests: every suite that takes ``store_url`` runs on SQLite and on PostgreSQL."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from router.db import Store
from tests import postgres
from tests.absent import absent
from tests.fakes_personas import FakeClock
from tests.router.api.rig import Rig, open_rig


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
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'store.db'}"
    server: postgres.Postgres = request.getfixturevalue("postgres_server")
    return server.new_database()


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
