"""What every test shares."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests import redis_server

settings.register_profile("bounded", max_examples=60, deadline=None, derandomize=True)
settings.load_profile("bounded")

HERE = Path(__file__).parent
#: What starts systems of processes runs one after the other, in one worker, beside the rest.
WHOLE = frozenset({"e2e", "faults"})


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Say which tests stay together when `make test` spreads them over workers."""
    for item in items:
        where = item.path.relative_to(HERE).parts
        group = "whole" if where[0] in WHOLE else "/".join(where)
        item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[redis_server.RedisServer]:
    """Give an empty Redis of this test's own."""
    if not redis_server.present():
        if os.environ.get("CI") == "true":
            pytest.fail(f"Redis is missing: {redis_server.HOW}")
        pytest.skip(f"SKIPPED, NOT TESTED: Redis is missing; {redis_server.HOW}")
    with redis_server.running(tmp_path) as server:
        yield server
