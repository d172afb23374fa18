"""Reads request bodies, by counting and in time."""

import asyncio
from collections.abc import Generator
from typing import Any

from starlette.types import Message, Receive

from router.errors import DeliveryRefused

BODY_S = 3.0


class Bodies:
    """Reads bodies of at most *max_bytes*, each within *limit_s*.

    A timeout costs as much as parsing a delivery does, and nearly every body is there when it is
    asked for. So asking comes first, and the timeout when that has to wait.
    """

    def __init__(self, max_bytes: int, limit_s: float = BODY_S) -> None:
        self._max_bytes = max_bytes
        self._limit_s = limit_s

    async def read(self, receive: Receive) -> bytes:
        """Return the body that *receive* gives.

        Raises:
            DeliveryRefused: 413 when it is too large, 503 when it takes too long (LiveKit shall
                deliver again), 400 when the sender is gone.
        """
        steps = receive().__await__()
        try:
            waits_for = next(steps)
        except StopIteration as done:
            message: Message = done.value
            body = self._add(b"", message)
            return await self._in_time(body, receive) if message.get("more_body") else body
        return await self._in_time(b"", receive, _Begun(steps, waits_for))

    async def _in_time(self, body: bytes, receive: Receive, begun: "_Begun | None" = None) -> bytes:
        try:
            async with asyncio.timeout(self._limit_s):
                while True:
                    message = await (begun or receive())
                    begun = None
                    body = self._add(body, message)
                    if not message.get("more_body"):
                        return body
        except TimeoutError:
            raise DeliveryRefused("slow_body", status=503) from None

    def _add(self, body: bytes, message: Message) -> bytes:
        if message["type"] == "http.disconnect":
            raise DeliveryRefused("cut_off", status=400)
        body += message.get("body", b"")
        if len(body) > self._max_bytes:
            raise DeliveryRefused("too_large", status=413)
        return body


class _Begun:
    """A call to ``receive`` that has taken its first step, and now waits for *waits_for*.

    It has to be awaited before the task waits for anything else: that future is marked as ours.
    """

    def __init__(self, steps: Generator[Any, Any, Message], waits_for: object) -> None:
        self._steps = steps
        self._waits_for = waits_for

    def __await__(self) -> Generator[Any, Any, Message]:
        """Wait on, and then go on."""
        try:
            yield self._waits_for
        except BaseException:  # cancelled, as by the timeout
            self._steps.close()
            raise
        return (yield from self._steps)
