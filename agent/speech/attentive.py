"""Ears that must answer in time.

A service that takes a caller's words and never says what they were looks like a caller who says
nothing. So the words are told from silence by their loudness: after *timeout_s* in which at least
:data:`SPOKEN_S` were loud and nothing came back, the next in the chain hears. The last in a chain
has nobody after it and is never given up for that: it may be a television that is loud.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from livekit import rtc
from livekit.agents import APIConnectOptions, APITimeoutError, stt
from livekit.agents.types import DEFAULT_API_CONNECT_OPTIONS, NOT_GIVEN, NotGivenOr
from livekit.agents.utils import AudioBuffer

SPOKEN_S: Final = 1.0
LOUD: Final = 500.0  # of 32,768: quiet speech on a telephone is at about 1,000
_LOOK_EVERY_S: Final = 0.1


class Patience:
    """How long words have gone unanswered, by *clock* (seconds)."""

    def __init__(self, timeout_s: float, clock: Callable[[], float]) -> None:
        self._timeout_s = timeout_s
        self._clock = clock
        self._since: float | None = None
        self._loud_s = 0.0

    def spoke(self, frame: rtc.AudioFrame) -> None:
        """Take what the caller sent."""
        samples = np.frombuffer(frame.data, dtype=np.int16).astype(np.float32)
        if samples.size and float(np.sqrt(np.mean(samples**2))) > LOUD:
            self._since = self._since or self._clock()
            self._loud_s += frame.duration

    def answered(self) -> None:
        """Something was understood, or at least heard."""
        self._since, self._loud_s = None, 0.0

    @property
    def is_lost(self) -> bool:
        """Whether it has taken too long."""
        if self._since is None or self._loud_s < SPOKEN_S:
            return False
        return self._clock() - self._since > self._timeout_s


def attentive(ears: stt.STT[Any], *, timeout_s: float) -> stt.STT[Any]:
    """Have every stream of *ears* fail that leaves words unanswered."""
    opened = ears.stream

    def stream(
        *,
        language: NotGivenOr[str] = NOT_GIVEN,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
    ) -> stt.RecognizeStream:
        return _watched(opened(language=language, conn_options=conn_options), timeout_s)

    ears.stream = stream  # type: ignore[method-assign] # this instance's alone
    return ears


def _watched(stream: stt.RecognizeStream, timeout_s: float) -> stt.RecognizeStream:
    patience = Patience(timeout_s, asyncio.get_running_loop().time)
    run, push = stream._run, stream.push_frame  # noqa: SLF001 - its task looks it up later
    channel = stream._event_ch  # noqa: SLF001 - where its events go, whoever reads them
    send = channel.send_nowait

    def send_nowait(value: stt.SpeechEvent) -> None:
        if value.type is not stt.SpeechEventType.RECOGNITION_USAGE:
            patience.answered()
        send(value)

    def push_frame(frame: rtc.AudioFrame) -> None:
        patience.spoke(frame)
        push(frame)

    async def run_attentively() -> None:
        task = asyncio.ensure_future(run())
        try:
            while not task.done():
                await asyncio.wait({task}, timeout=_LOOK_EVERY_S)
                if patience.is_lost:
                    raise APITimeoutError("nothing was understood in time")
            task.result()
        finally:
            # not waited for: Azure's library takes its time to stop
            task.cancel()
            task.add_done_callback(lambda done: done.cancelled() or done.exception())

    channel.send_nowait = send_nowait  # type: ignore[method-assign] # this stream's alone
    stream.push_frame = push_frame  # type: ignore[method-assign]
    stream._run = run_attentively  # type: ignore[method-assign] # noqa: SLF001
    return stream


def prompt(ears: stt.STT[Any], *, timeout_s: float) -> stt.STT[Any]:
    """Bound how long *ears*, which take one sentence at a time, may think about each."""
    recognize = ears._recognize_impl  # noqa: SLF001 - under the plugin's own retries

    async def in_time(
        buffer: AudioBuffer,
        *,
        language: NotGivenOr[str] = NOT_GIVEN,
        conn_options: APIConnectOptions,
    ) -> stt.SpeechEvent:
        try:
            async with asyncio.timeout(timeout_s):
                return await recognize(buffer, language=language, conn_options=conn_options)
        except TimeoutError:
            raise APITimeoutError("nothing was understood in time") from None

    ears._recognize_impl = in_time  # type: ignore[method-assign] # noqa: SLF001
    return ears
