"""Bodies are read by counting and in time."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import pytest

from router.bodies import Bodies
from router.errors import DeliveryRefused

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
DEADLINE_S = 5.0


def pieces(*contents: bytes, then_hang: bool = False) -> Receive:
    left = list(contents)

    async def receive() -> MutableMapping[str, Any]:
        if not left:
            await asyncio.Event().wait()
        more = len(left) > 1 or then_hang
        return {"type": "http.request", "body": left.pop(0), "more_body": more}

    return receive


async def refusal(reading: Awaitable[bytes]) -> tuple[str, int]:
    with pytest.raises(DeliveryRefused) as refused:
        async with asyncio.timeout(DEADLINE_S):
            await reading
    return refused.value.reason, refused.value.status


async def test_pieces_are_put_together() -> None:
    assert await Bodies(10).read(pieces(b"abc", b"", b"def")) == b"abcdef"


async def test_one_byte_too_many_is_413_and_no_more_is_read() -> None:
    bodies = Bodies(4)

    assert await bodies.read(pieces(b"abcd")) == b"abcd"
    assert await refusal(bodies.read(pieces(b"abc", b"de", then_hang=True))) == ("too_large", 413)


async def test_a_sender_who_goes_away_is_400() -> None:
    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.disconnect"}

    assert await refusal(Bodies(4).read(receive)) == ("cut_off", 400)


async def test_each_slow_body_is_ended_in_time_beside_quick_ones() -> None:
    bodies, limit_s = Bodies(10, 0.1), 0.1
    loop = asyncio.get_running_loop()

    async def slow(after_s: float) -> float:
        await asyncio.sleep(after_s)
        began = loop.time()
        assert await refusal(bodies.read(pieces(b"a", then_hang=True))) == ("slow_body", 503)
        return loop.time() - began

    slow_ones = [asyncio.create_task(slow(after_s)) for after_s in (0.0, 0.03, 0.06)]
    assert await bodies.read(pieces(b"quick")) == b"quick"
    took = await asyncio.gather(*slow_ones)

    assert all(limit_s * 0.9 <= took_s < limit_s + 1.0 for took_s in took)
    assert await bodies.read(pieces(b"again")) == b"again"


async def test_somebody_elses_cancellation_is_not_swallowed() -> None:
    reading = asyncio.create_task(Bodies(10).read(pieces(b"a", then_hang=True)))
    await asyncio.sleep(0)

    reading.cancel()

    with pytest.raises(asyncio.CancelledError):
        await reading
