"""How fast a campaign dials, and how much of all capacity it may take. Pure: no I/O, no clock.

The bucket holds one call: it is empty after each, and full again after 1/rate seconds. So between
two calls there are never less than 1/rate seconds, and no second has more than the rate allows,
whoever takes: what is kept is one number, the time of the next call.
"""

from dataclasses import dataclass
from typing import Final

SLOWEST: Final = 0.01  # of the campaign's rate: a brake that is not let go of would stop it


#: From where on the pace falls, and where next to nothing is left: shares of what there is.
CPU: Final = (0.75, 0.95)
MEMORY: Final = (0.85, 0.97)
WORKERS: Final = (0.55, 0.70)  # LiveKit gives no job to a worker at 0.7


@dataclass(frozen=True, slots=True)
class Busyness:
    """How much of what there is is in use, each from 0 to 1."""

    cpu: float = 0.0
    memory: float = 0.0
    workers: float = 0.0  # of the agents' worker that is least busy


def pace_factor(load: Busyness) -> float:
    """Say which part of the pace is left: 1 while calls are well, 0 where they would suffer."""
    limits = ((load.cpu, CPU), (load.memory, MEMORY), (load.workers, WORKERS))
    return min(
        max(0.0, min(1.0, (worst - used) / (worst - well))) for used, (well, worst) in limits
    )


def wait_s(next_at: float, now: float) -> float:
    """Say how long until a call may be made; 0: at once."""
    return max(0.0, next_at - now)


def taken(next_at: float, now: float, per_second: float, brake: float = 1.0) -> float:
    """Take a call at *now*, which is not before *next_at*; return when the next may be made.

    *brake* is the part of the rate that is left while calls would suffer, 1.0 for all of it.
    """
    rate = per_second * min(1.0, max(SLOWEST, brake))
    return max(next_at, now) + 1.0 / rate


def outbound_room(capacity: int, reserved: int, inbound: int) -> int:
    """Say how many outbound calls there may be, of *capacity* calls in all.

    *reserved* of them are kept for callers, and those who have called, *inbound*, come first.
    """
    return max(0, capacity - max(reserved, inbound))
