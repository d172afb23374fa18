"""Whether the persona API is to be asked at all. Pure: no I/O, and the clock is given.

closed     it is asked. Some failures in a row, or too many among the last answers: open.
open       it is left alone for a while; then half open.
half open  one request, the probe, may go. It is answered: closed. It fails: open again.

It does not say what a failure is, and it does not retry, wait or log.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

BreakerState = Literal["closed", "open", "half_open"]
BREAKER_STATES: Final[tuple[BreakerState, ...]] = ("closed", "open", "half_open")


@dataclass(frozen=True, slots=True)
class Limits:
    """When a breaker opens, and for how long."""

    in_a_row: int = 5  # failures
    window: int = 20  # the last answers that the share is taken of, once there are so many
    share: float = 0.5  # of failures among them
    open_s: float = 10.0


@dataclass(frozen=True, slots=True, eq=False)
class Permit:
    """Leave to send one request. Say how it ended, exactly once; more is not heard."""

    epoch: int


class Breaker:
    """One breaker. *clock* gives monotonic seconds; *changed* is told "open" and "closed"."""

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        limits: Limits | None = None,
        changed: Callable[[BreakerState], None] = lambda _state: None,
    ) -> None:
        self._clock = clock
        self._limits = limits or Limits()
        self._changed = changed
        self._opened_at: float | None = None  # None: closed
        self._probe: Permit | None = None
        self._epoch = 0  # what a request of an earlier one says is old news
        self._row = 0
        self._last: deque[bool] = deque(maxlen=self._limits.window)  # True: a failure

    @property
    def state(self) -> BreakerState:
        """What it is at this moment."""
        if self._opened_at is None:
            return "closed"
        return "half_open" if self._clock() - self._opened_at >= self._limits.open_s else "open"

    def ask(self) -> Permit | None:
        """Give leave to send a request; ``None``: do not send it."""
        state = self.state
        if state == "closed":
            return Permit(self._epoch)
        if state == "open" or self._probe is not None:
            return None
        self._probe = Permit(self._epoch)
        return self._probe

    def answered(self, permit: Permit) -> None:
        """Hear that the request of *permit* was answered."""
        if permit is self._probe:
            self._turn(None)
        elif self._counts(permit):
            self._row = 0
            self._note(failure=False)

    def failed(self, permit: Permit) -> None:
        """Hear that the request of *permit* failed."""
        if permit is self._probe:
            self._turn(self._clock())
        elif self._counts(permit):
            self._row += 1
            self._note(failure=True)

    def withdrawn(self, permit: Permit) -> None:
        """Hear that the request of *permit* was not sent, or that nobody knows how it ended."""
        if permit is self._probe:
            self._probe = None

    def _counts(self, permit: Permit) -> bool:
        return self._opened_at is None and permit.epoch == self._epoch

    def _note(self, *, failure: bool) -> None:
        self._last.append(failure)
        limits = self._limits
        full = len(self._last) == limits.window
        if self._row >= limits.in_a_row or (
            full and sum(self._last) >= limits.share * limits.window
        ):
            self._turn(self._clock())

    def _turn(self, opened_at: float | None) -> None:
        self._opened_at = opened_at
        self._probe = None
        self._epoch += 1
        self._row = 0
        self._last.clear()
        self._changed("closed" if opened_at is None else "open")
