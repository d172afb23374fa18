"""Delivers webhooks as LiveKit does: in each room one after the other, five tries, then never."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Self, TypeAlias

WAITS_S = (1.0, 2.0, 4.0, 8.0)  # between the five tries: at 0, 1, 3, 7 and 15 s
ANSWER_S = 30.0  # LiveKit's sender waits for ever
NO_ANSWER = 0
_OK, _BUSY, _FAULT = 200, 429, 500

_Stream: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True, slots=True)
class Answer:
    """What one try was answered; ``NO_ANSWER`` when the connection failed or broke."""

    status: int
    retry_after_s: float | None = None
    closes: bool = False

    @property
    def repeats(self) -> bool:
        """Whether LiveKit delivers again."""
        return self.status in {NO_ANSWER, _BUSY} or self.status >= _FAULT


class FakeWebhooks:
    """LiveKit's sender. *pick* gives the port of each try, as a load balancer would.

    *scale* shortens the pauses between tries; ``Retry-After`` is honoured as it is. Use it with
    ``async with``.
    """

    def __init__(self, pick: Callable[[], int], *, scale: float = 1.0) -> None:
        self._pick = pick
        self._scale = scale
        self._idle: dict[int, list[_Stream]] = defaultdict(list)
        self.tries: Counter[int] = Counter()  # by status
        self.ended: Counter[int] = Counter()  # deliveries, by the status of their last try

    async def deliver(self, request: bytes, *, port: int = 0) -> int:
        """Deliver, up to five times, to *port* or where is picked; give the last status."""
        answer = await self.once(request, port or self._pick())
        for wait_s in WAITS_S:
            if not answer.repeats:
                break
            pause_s = wait_s * self._scale
            if answer.retry_after_s is not None:
                pause_s = answer.retry_after_s
            await asyncio.sleep(pause_s)
            answer = await self.once(request, port or self._pick())
        self.ended[answer.status] += 1
        return answer.status

    async def room(self, requests: Sequence[bytes]) -> list[int]:
        """Deliver what one room has to say, in its order."""
        return [await self.deliver(request) for request in requests]

    async def once(self, request: bytes, port: int) -> Answer:
        """Try once."""
        try:
            async with asyncio.timeout(ANSWER_S):
                answer = await self._exchange(request, port)
        except (OSError, EOFError, TimeoutError):
            answer = Answer(NO_ANSWER)
        self.tries[answer.status] += 1
        return answer

    async def _exchange(self, request: bytes, port: int) -> Answer:
        idle = self._idle[port]
        while idle and idle[-1][0].at_eof():  # the other side has closed it
            idle.pop()[1].close()
        stream: _Stream = idle.pop() if idle else await asyncio.open_connection("127.0.0.1", port)
        reader, writer = stream
        try:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            fields = dict(
                line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line
            )
            await reader.readexactly(int(fields.get(b"content-length", b"0")))
        except BaseException:
            writer.transport.abort()
            raise
        retry_after = fields.get(b"retry-after")
        answer = Answer(
            status=int(head.split(b" ", 2)[1]),
            retry_after_s=float(retry_after) if retry_after else None,
            closes=fields.get(b"connection") == b"close",
        )
        if answer.closes:
            writer.close()
        else:
            idle.append(stream)
        return answer

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for streams in self._idle.values():
            for stream in streams:
                stream[1].close()
                with suppress(OSError):
                    await stream[1].wait_closed()


async def paced(count: int, per_s: float, start: Callable[[int], None]) -> None:
    """Call *start* with 0, 1, 2 … *per_s* times a second; what is late is caught up with."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    for index in range(count):
        await asyncio.sleep(max(0.0, began + index / per_s - loop.time()))
        start(index)
