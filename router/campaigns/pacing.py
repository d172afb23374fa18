"""How fast a campaign dials, and how much of all capacity it may take. Pure: no I/O, no clock.

The bucket holds one call: it is empty after each, and full again after 1/rate seconds. So between
two calls there are never less than 1/rate seconds, and no second has more than the rate allows,
whoever takes: what is kept is one number, the time of the next call.
"""

from typing import Final

SLOWEST: Final = 0.01  # of the campaign's rate: a brake that is not let go of would stop it


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
