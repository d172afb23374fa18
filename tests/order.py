"""In which order tests are handed to the workers, and which of them stay together.

The tests of a file stay together, because they share servers; the scenarios of `tests/faults` share
nothing. What takes long comes first, so that in the end no worker waits for another.
"""

from typing import Any, Final

import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

FIRST: Final = ("tests/e2e/", "tests/faults/", "tests/browser/", "tests/providers/")
APART: Final = "tests/faults/test_quick.py"


class LongestFirst(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Hands out the files as :func:`sort` has them."""

    def __init__(self, config: pytest.Config, log: Any) -> None:
        config.option.loadscopereorder = False  # by the number of tests, which says little
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return nodeid if file == APART else file


def sort(items: list[pytest.Item]) -> None:
    """Put what takes long first; the tests of a file keep their order."""
    items.sort(key=lambda item: _rank(item.nodeid))


def _rank(nodeid: str) -> int:
    ranks = (rank for rank, start in enumerate(FIRST) if nodeid.startswith(start))
    return next(ranks, len(FIRST))
