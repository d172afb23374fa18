"""One reader of the outbox for all streams of this process, while there are any.

It asks a few times a second for what is new and keeps the latest notices for all streams together.
A stream is a position and nothing else: what is not kept here any more it reads from the outbox.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from itertools import takewhile
from typing import Final

import structlog
from pydantic_core import from_json, to_json

from router.api.masks import masked_record
from router.errors import StoreUnavailable
from router.records.outbox import PRUNE_CHUNK, TOPIC_OF, Outbox, Position, Read

log = structlog.get_logger(__name__)

POLL_S: Final = 0.25
BATCH: Final = 200
KEPT: Final = 2_000
MAX_STREAMS: Final = 100
AFTER_FAILURE_S: Final = 2.0
PRUNE_EVERY_S: Final = 60.0


class Told:
    """A notice as streams tell it; ``wire`` is made once, in a thread, with numbers masked."""

    __slots__ = ("call_id", "kind", "position", "tenant", "topic", "wire")

    def __init__(self, read: Read) -> None:
        self.position = read.position
        self.tenant = read.notice.tenant
        self.kind = read.notice.kind
        self.topic = TOPIC_OF.get(read.notice.kind, "")
        self.call_id = read.notice.call_id
        self.wire = wire_of(read)


def wire_of(read: Read) -> bytes:
    """Return a notice as an event of a stream: its id, its kind and what is told, as JSON."""
    notice = read.notice
    document = {"kind": notice.kind, "at": notice.at}
    for text in (notice.body, read.told):
        if text is not None:
            document |= from_json(text)
    if notice.call_id is not None:
        document["call_id"] = notice.call_id
    return event(read.position, notice.kind, to_json(masked_record(document)))


def event(position: Position, kind: str, json: bytes) -> bytes:
    """Return an event of a stream."""
    return f"id: {position}\nevent: {kind}\ndata: ".encode() + json + b"\n\n"


class Feed:
    """Hands what is new to every stream. *busy*: calls come first, ask a little later."""

    def __init__(
        self,
        outbox: Outbox,
        *,
        busy: Callable[[], bool] = lambda: False,
        poll_s: float = POLL_S,
        kept: int = KEPT,
        max_streams: int = MAX_STREAMS,
    ) -> None:
        self.outbox = outbox
        self.ending = asyncio.Event()
        self._busy = busy
        self._poll_s = poll_s
        self._kept = kept
        self._max_streams = max_streams
        self._streams = 0
        self._wanted = asyncio.Event()
        self._news = asyncio.Event()
        self._recent: deque[Told] = deque()
        self._start: Position | None = None  # everything after it is in ``_recent``
        self._read_to = Position(0, 0)

    @property
    def full(self) -> bool:
        """Whether there are as many streams as there may be."""
        return self._streams >= self._max_streams

    @property
    def streams(self) -> int:
        """How many there are."""
        return self._streams

    async def run(self) -> None:
        """Read for those who listen, and prune, until cancelled."""
        loop = asyncio.get_running_loop()
        prune_at = loop.time()
        while True:
            try:
                if loop.time() >= prune_at:
                    prune_at = loop.time() + PRUNE_EVERY_S
                    await self._prune()
                if self._streams and not self._busy():
                    await self._poll()
            except StoreUnavailable as exc:
                log.warning("feed.not_read", reason=exc.reason)
                await asyncio.sleep(AFTER_FAILURE_S)
            except Exception:  # a defect must not end the feed for good
                log.exception("feed.crashed")
                await asyncio.sleep(AFTER_FAILURE_S)
            await self._pause(prune_at - loop.time())

    async def follow(
        self, after: Position, *, beat_s: float
    ) -> AsyncGenerator[Sequence[Told], None]:
        """Give everything after a position, in order; nothing at all at least every *beat_s*.

        Raises:
            StoreUnavailable: what is not kept here could not be read.
        """
        self._streams += 1
        self._wanted.set()
        try:
            while True:
                news = self._news  # before looking: what comes in meanwhile is not missed
                batch: Sequence[Told] | None = self._kept_after(after)
                if batch is None:
                    batch = await self.outbox.after(after, BATCH, Told)
                if batch:
                    after = batch[-1].position
                    yield batch
                    continue
                try:
                    async with asyncio.timeout(beat_s):
                        await news.wait()
                except TimeoutError:
                    yield ()
        finally:
            self._streams -= 1
            if not self._streams:
                self._wanted.clear()

    def _kept_after(self, position: Position) -> list[Told] | None:
        """Return what is kept after *position*; None: it does not reach back so far."""
        if self._start is None or position < self._start:
            return None
        new = takewhile(lambda one: one.position > position, reversed(self._recent))
        return list(new)[::-1]

    async def _pause(self, prune_in_s: float) -> None:
        if self._streams:
            await asyncio.sleep(self._poll_s)
            return
        self._start = None  # nobody reads on: what comes now is not kept
        self._recent.clear()
        try:
            async with asyncio.timeout(max(0.0, prune_in_s)):
                await self._wanted.wait()
        except TimeoutError:
            pass

    async def _poll(self) -> None:
        if self._start is None:
            self._start = self._read_to = await self.outbox.head()
            self._tell()
        while True:
            batch = await self.outbox.after(self._read_to, BATCH, Told)
            if not batch:
                return
            self._recent.extend(batch)
            self._read_to = batch[-1].position
            while len(self._recent) > self._kept:
                self._start = self._recent.popleft().position
            self._tell()
            if len(batch) < BATCH:
                return

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    async def _prune(self) -> None:
        while await self.outbox.prune() == PRUNE_CHUNK:
            pass
