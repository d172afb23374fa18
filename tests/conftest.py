"""What every test shares."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests import order, redis_server
from tests.absent import absent

settings.register_profile("bounded", max_examples=60, deadline=None, derandomize=True)
settings.load_profile("bounded")


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> order.LongestFirst:
    return order.LongestFirst(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order.sort(items)


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[redis_server.RedisServer]:
    """Give an empty Redis of this test's own."""
    if not redis_server.present():
        absent("Redis", redis_server.HOW)
    with redis_server.running(tmp_path) as server:
        yield server
