"""The deliveries of made-up calls, as LiveKit sends them: recorded bodies under other names.

A call is the ten recorded deliveries of an inbound call and a second track of the agent, which
background audio makes: a dozen, of which one is the SIP caller joining.
"""

import random
import secrets
import time
from typing import Final

from router.events import sign
from tests.samples import deliveries

KEY: Final = "benchkey"
SECRET: Final = "bench_secret_bench_secret_bench_secret"
PER_CALL: Final = 12
JOIN: Final = 1  # which of them is the caller joining

_TEN = tuple(one.body.decode() for one in deliveries()[14:21] + deliveries()[27:30])
_DOZEN = (*_TEN[:5], _TEN[4], _TEN[7], *_TEN[5:])
#: A few a call, for runs in which the callers are what matters.
_FEW = (_TEN[1], _TEN[3], _TEN[6], _TEN[9])
FEW: Final = len(_FEW)


def number(index: int) -> str:
    """Return a made-up number in the United States, one of ten million."""
    return f"+1312{2_000_000 + index % 8_000_000:07d}"


def caller() -> str:
    """Return a number that calls, made up anew each time."""
    return f"+1312555{random.randrange(10_000):04d}"  # noqa: S311  # no secret


def call(
    dialed: str,
    *,
    few: bool = False,
    room_sid: str = "",
    room: str = "",
    key: str = KEY,
    secret: str = SECRET,
) -> list[bytes]:
    """Return the HTTP requests of one call to *dialed*, signed now, in their order."""
    room_sid = room_sid or f"RM_{secrets.token_hex(6)}"
    names = {
        "call-_sipp_XpSqUR7mfZG4": room or room_of(room_sid),
        "RM_2nqWTUVPnjdz": room_sid,
        "SCL_wcmU7zzYRcx9": f"SCL_{secrets.token_hex(6)}",
        "+18655701160": dialed,
        "sipp": caller(),
    }
    requests = []
    for body in _FEW if few else _DOZEN:
        text = body.replace('"id":"EV_', f'"id":"EV_{secrets.token_hex(3)}')
        for recorded, made_up in names.items():
            text = text.replace(recorded, made_up)
        requests.append(request(text.encode(), key=key, secret=secret))
    return requests


def room_of(room_sid: str) -> str:
    """Return the name of the room that has this sid."""
    return f"call-bench-{room_sid}"


def request(body: bytes, *, key: str = KEY, secret: str = SECRET) -> bytes:
    """Return the request that delivers *body*, with the header fields that LiveKit sends."""
    return (
        b"POST /livekit-webhook HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n"
        b"User-Agent: Go-http-client/1.1\r\nContent-Length: "
        + str(len(body)).encode()
        + b"\r\nAuthorization: "
        + sign(body, time.time(), key, secret.encode()).encode()
        + b"\r\nContent-Type: application/webhook+json\r\nAccept-Encoding: gzip\r\n\r\n"
        + body
    )
