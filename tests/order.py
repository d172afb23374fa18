"""In which order tests are handed to the workers, and which of them stay together.

The tests of a file stay together, because they share servers; the scenarios of `tests/faults` share
nothing. What takes long comes first, so that in the end no worker waits for another; but only two
workers begin with it, as each of those tests is half a dozen processes.
"""

from typing import Any, Final

import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

HEAVY: Final = ("tests/e2e/", "tests/faults/", "tests/browser/")
HEAVY_AT_ONCE: Final = 2
APART: Final = "tests/faults/test_quick.py"


class LongestFirst(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Hands out the files as :func:`sort` has them."""

    def __init__(self, config: pytest.Config, log: Any) -> None:
        config.option.loadscopereorder = False  # by the number of tests, which says little
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return nodeid if file == APART else file

    def _assign_work_unit(self, node: Any) -> None:
        if self.nodes.index(node) >= HEAVY_AT_ONCE:
            light = next((scope for scope in self.workqueue if not _is_heavy(scope)), None)
            if light is not None:
                self.workqueue.move_to_end(light, last=False)
        super()._assign_work_unit(node)


def sort(items: list[pytest.Item]) -> None:
    """Put what takes long first; the tests of a file keep their order."""
    items.sort(key=lambda item: not _is_heavy(item.nodeid))


def _is_heavy(nodeid: str) -> bool:
    return nodeid.startswith(HEAVY)
