"""Whether something that fails is to be asked at all. Pure: no I/O, and the clock is given.

closed     it is asked. Some failures in a row, or too many among the last answers: open.
open       it is left alone for a while; then half open.
half open  one request, the probe, may go. It is answered: closed. It fails: open again.

It does not say what a failure is, and it does not retry, wait or log.
"""

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


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of the requests that were sent; times are of the clock that is given."""

    opened_at: float | None = None  # None: closed
    row: int = 0  # failures in a row
    last: tuple[bool, ...] = ()  # True: a failure

    def state(self, now: float, limits: Limits) -> BreakerState:
        """Say what it is at *now*."""
        if self.opened_at is None:
            return "closed"
        return "half_open" if now - self.opened_at >= limits.open_s else "open"

    def after(self, *, failure: bool, now: float, limits: Limits) -> "Standing":
        """Add how a request ended that was sent while it was closed, and still is."""
        row = self.row + 1 if failure else 0
        last = (*self.last, failure)[-limits.window :]
        full = len(last) == limits.window
        if row >= limits.in_a_row or (full and sum(last) >= limits.share * limits.window):
            return Standing(opened_at=now)
        return Standing(row=row, last=last)


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
        self._standing = Standing()
        self._probe: Permit | None = None
        self._epoch = 0  # what a request of an earlier one says is old news

    @property
    def state(self) -> BreakerState:
        """What it is at this moment."""
        return self._standing.state(self._clock(), self._limits)

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
            self._turn(Standing())
        else:
            self._note(permit, failure=False)

    def failed(self, permit: Permit) -> None:
        """Hear that the request of *permit* failed."""
        if permit is self._probe:
            self._turn(Standing(opened_at=self._clock()))
        else:
            self._note(permit, failure=True)

    def withdrawn(self, permit: Permit) -> None:
        """Hear that the request of *permit* was not sent, or that nobody knows how it ended."""
        if permit is self._probe:
            self._probe = None

    def _note(self, permit: Permit, *, failure: bool) -> None:
        if self._standing.opened_at is not None or permit.epoch != self._epoch:
            return
        after = self._standing.after(failure=failure, now=self._clock(), limits=self._limits)
        if after.opened_at is None:
            self._standing = after
        else:
            self._turn(after)

    def _turn(self, standing: Standing) -> None:
        self._standing = standing
        self._probe = None
        self._epoch += 1
        self._changed("closed" if standing.opened_at is None else "open")
