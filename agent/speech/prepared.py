"""An utterance whose audio is made while something else is still going on."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

import structlog
from livekit import rtc

log = structlog.get_logger(__name__)

HEAD_START_S: Final = 0.4
SPEED: Final = 4.0
MAX_FRAMES: Final = 3000  # a queue that is full waits: an utterance may be long


class Prepared:
    """Starts to synthesise *text* at once and keeps the audio until it is wanted."""

    def __init__(self, text: str, frames: AsyncIterator[rtc.AudioFrame]) -> None:
        self.text = text
        self._queue: asyncio.Queue[rtc.AudioFrame | None] = asyncio.Queue(MAX_FRAMES)
        self._sounds: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._pump(frames), name="prepare_utterance")

    async def sounds(self, timeout_s: float) -> bool:
        """Wait for the first frame; ``False``: there will be none, or not in time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                return await asyncio.shield(self._sounds)
        return False

    async def frames(self) -> AsyncIterator[rtc.AudioFrame]:
        """Give the audio from its beginning, once, and faster than it is spoken.

        Not all of it at a stroke: LiveKit analyses what it is given before it plays the first of
        it, and ten seconds of speech would hold up the first word by a tenth of a second.
        """
        given_s = 0.0
        while (frame := await self._queue.get()) is not None:
            yield frame
            given_s += frame.duration
            if given_s > HEAD_START_S:
                await asyncio.sleep(frame.duration / SPEED)

    async def aclose(self) -> None:
        """Stop; audio that nobody took is dropped."""
        self._task.cancel()
        await asyncio.wait({self._task})

    async def _pump(self, frames: AsyncIterator[rtc.AudioFrame]) -> None:
        try:
            async for frame in frames:
                await self._queue.put(frame)
                if not self._sounds.done():
                    self._sounds.set_result(True)
        except Exception as exc:  # noqa: BLE001 - however a voice fails, the session says it again
            log.warning("utterance.not_prepared", error=type(exc).__name__)
        finally:
            if not self._sounds.done():
                self._sounds.set_result(False)
        await self._queue.put(None)
