"""Signed deliveries as LiveKit sends them, and a sender that is faster than what it measures."""

import asyncio
import random
import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from router.demo.deliveries import body, caller_attributes
from router.events import sign

KEY = "benchkey"
SECRET = secrets.token_hex(32)
#: One call's deliveries as the recordings have them; a dozen, of which one is the SIP join.
CALL: Sequence[tuple[str, str | None]] = (
    ("room_started", None),
    ("participant_joined", "SIP"),
    ("track_published", "SIP"),
    ("participant_joined", "AGENT"),
    ("track_published", "AGENT"),
    ("track_unpublished", "SIP"),
    ("participant_left", "SIP"),
    ("track_unpublished", "AGENT"),
    ("participant_left", "AGENT"),
    ("participant_connection_aborted", "SIP"),
    ("participant_left", "SIP"),
    ("room_finished", None),
)


def number(index: int) -> str:
    """Return a made-up number in the United States."""
    return f"+1312{2000000 + index:07d}"


def requests(calls: int, *, numbers: int, seed: int = 1) -> Iterator[bytes]:
    """Yield the HTTP requests of *calls* calls, each to one of *numbers* numbers, in order."""
    chance = random.Random(seed)  # noqa: S311  # repeatable load, not a secret
    for call in range(calls):
        room, sid = f"call-bench-{seed}-{call}", f"RM_{seed}_{call}_{secrets.token_hex(4)}"
        attributes = caller_attributes(
            number=number(chance.randrange(numbers)), caller="+13125550100"
        )
        for name, kind in CALL:
            content = body(
                name,
                room=room,
                room_sid=sid,
                kind=kind or "",
                attributes=attributes if kind == "SIP" else ({} if kind else None),
            )
            yield (
                b"POST /livekit-webhook HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                b"Content-Type: application/webhook+json\r\nAuthorization: "
                + sign(content, time.time(), KEY, SECRET.encode()).encode()
                + b"\r\nContent-Length: "
                + str(len(content)).encode()
                + b"\r\n\r\n"
                + content
            )


@dataclass(slots=True)
class Sent:
    """What came of a load."""

    seconds: float
    ok: int
    other: int


async def send(port: int, load: Sequence[bytes], *, connections: int) -> Sent:
    """Send *load* over *connections* kept-alive connections, each one request at a time."""
    waiting = iter(load)
    ok = other = 0

    async def one() -> None:
        nonlocal ok, other
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for request in waiting:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            if length and length != b"0":
                await reader.readexactly(int(length))
            if head.startswith(b"HTTP/1.1 200"):
                ok += 1
            else:
                other += 1
        writer.close()

    started = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(connections)))
    return Sent(time.perf_counter() - started, ok, other)
