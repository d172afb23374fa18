"""What every test shares."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests import redis_server

settings.register_profile("bounded", max_examples=60, deadline=None, derandomize=True)
settings.load_profile("bounded")


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[redis_server.RedisServer]:
    """Give an empty Redis of this test's own."""
    if not redis_server.present():
        if os.environ.get("CI") == "true":
            pytest.fail(f"Redis is missing: {redis_server.HOW}")
        pytest.skip(f"SKIPPED, NOT TESTED: Redis is missing; {redis_server.HOW}")
    with redis_server.running(tmp_path) as server:
        yield server
