"""Cyclic garbage is collected between calls, not in the middle of one.

The interpreter collects when enough is made, and most is made while a call is answered: one call in
ten waited a millisecond for it (measured). For a process that serves, and nothing else.
"""

import asyncio
import gc
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

EVERY_S: Final = 1.0
ENOUGH: Final = 700  # new objects that are worth a look; the interpreter's own number
YOUNG_TURNS: Final = 10  # looks at what is new, for one at what those have left
WHOLE_S: Final = 600.0  # between looks at everything, which take tens of milliseconds
#: When calls leave no moment free, the interpreter helps itself, as before but later.
LATER: Final = (50_000, 20, 100)


@dataclass(slots=True)
class Collector:
    """Collects when *busy* says that no call is being answered."""

    busy: Callable[[], bool]
    monotonic: Callable[[], float] = time.monotonic
    _looks: int = 0
    _whole_at: float = field(default=float("-inf"))

    async def run(self) -> None:
        """Collect until cancelled. What is there when it begins is taken to stay."""
        before = gc.get_threshold()
        gc.collect()
        gc.freeze()
        gc.set_threshold(*LATER)
        self._whole_at = self.monotonic()
        try:
            while True:
                await asyncio.sleep(EVERY_S)
                self.turn()
        finally:
            gc.set_threshold(*before)
            gc.unfreeze()

    def turn(self) -> int | None:
        """Collect if it is the moment; return the oldest generation that was looked at."""
        if self.busy() or gc.get_count()[0] < ENOUGH:
            return None
        self._looks += 1
        now = self.monotonic()
        generation = 0 if self._looks % YOUNG_TURNS else 1
        if now - self._whole_at >= WHOLE_S:
            self._whole_at, generation = now, 2
        gc.collect(generation)
        return generation
