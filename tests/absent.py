"""What a test needs and this machine has not got: said loudly, and on CI a failure."""

import os
from typing import NoReturn

import pytest


def absent(what: str, how: str) -> NoReturn:
    """End the test: *what* is missing, *how* it is to be had."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what} is missing: {how}")
    pytest.skip(f"SKIPPED, NOT TESTED: {what} is missing; {how}")
