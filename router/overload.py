"""How many deliveries are answered at once, and which wait for how long.

Only verified deliveries take a place here: nobody else can fill it.
"""

import asyncio
import math
from collections import deque

MAX_WAIT_S = 2.0
WEIGHT = 1 / 32  # of one delivery in the mean time that answering takes
FIRST_GUESS_S = 0.02
AGAIN_AT_MOST_S = 5
LOADED_SHARE = 0.5  # of the places; from there on what is no delivery is refused


class Gate:
    """Lets *limit* deliveries be answered at once; others wait in order, or are told to come again.

    Use it as: ``if not enter() and (again_in_s := await wait()): …`` refuse, else answer and
    ``leave``.
    """

    def __init__(self, limit: int, *, max_wait_s: float = MAX_WAIT_S) -> None:
        self._limit = limit
        self._max_wait_s = max_wait_s
        self._loaded_from = max(1, math.ceil(limit * LOADED_SHARE))
        self._service_s = FIRST_GUESS_S
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._refused = 0
        self.in_flight = 0

    @property
    def waiting(self) -> int:
        """How many wait for a place."""
        return sum(not place.done() for place in self._waiting)

    @property
    def loaded(self) -> bool:
        """Whether everything but deliveries shall be refused."""
        return self.in_flight >= self._loaded_from

    def enter(self) -> bool:
        """Take a place if one is free."""
        if self.in_flight >= self._limit:
            return False
        self.in_flight += 1
        return True

    async def wait(self) -> int | None:
        """Wait for a place; return None with it, or else in how many seconds to come again.

        Who would wait longer than ``max_wait_s`` is told so at once. The guess rests on how many
        wait and how long answering took lately; who waits that long after all is told then.
        """
        if self.expected_wait_s() > self._max_wait_s:
            return self._again_in_s()
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            async with asyncio.timeout(self._max_wait_s):
                await place
        except TimeoutError:
            if _given(place):  # in the same moment: it is ours
                return None
            return self._again_in_s()
        except asyncio.CancelledError:
            if _given(place):
                self._free()
            raise
        return None

    def expected_wait_s(self) -> float:
        """Guess how long the next to come would wait."""
        if self.in_flight < self._limit:
            return 0.0
        return (self._present() + 1) * self._service_s / self._limit

    def leave(self, took_s: float) -> None:
        """Give a place back after *took_s* seconds of answering."""
        self._service_s += (took_s - self._service_s) * WEIGHT
        self._free()

    def _free(self) -> None:
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)  # the place goes on to the next
                return
        self.in_flight -= 1

    def _present(self) -> int:
        while self._waiting and self._waiting[0].done():
            self._waiting.popleft()
        return len(self._waiting)

    def _again_in_s(self) -> int:
        self._refused += 1
        # Not all in the same second; LiveKit tries five times, so not too soon either.
        spread_s = self._refused % 3
        wait_s = math.ceil(max(self.expected_wait_s(), self._max_wait_s)) + spread_s
        return min(wait_s, AGAIN_AT_MOST_S)


def _given(place: asyncio.Future[None]) -> bool:
    return place.done() and not place.cancelled()
