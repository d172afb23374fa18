"""Stores for tests: every suite that takes ``store_url`` runs on SQLite and on PostgreSQL."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import postgres


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[postgres.Postgres]:
    if postgres.binaries() is None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"PostgreSQL is missing: {postgres.HOW}")
        pytest.skip(f"SKIPPED, NOT TESTED: PostgreSQL is missing; {postgres.HOW}")
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
