"""Who speaks first on a call that we dialed: the callee, or after a silence we do, once.

Whoever picks up says something; to talk over that is rude, and to wait for it for ever is worse.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

SILENCE_S: Final = 2.5
LONGEST_S: Final = 12.0  # a line that only makes noise is greeted all the same

Sleep = Callable[[float], Awaitable[object]]


class Opening:
    """Listens from the moment of the answer; *sleep* stands in for the clock in tests."""

    def __init__(self, *, silence_s: float = SILENCE_S, sleep: Sleep = asyncio.sleep) -> None:
        self._silence_s = silence_s
        self._sleep = sleep
        self._speaking = False
        self._answered = False  # the callee's words are there, and will be answered
        self._changed = asyncio.Event()

    def on_sound(self, *, speaking: bool) -> None:
        """Take note that the callee began, or stopped, to make a sound."""
        self._speaking = speaking
        self._changed.set()

    def on_words(self) -> None:
        """Take note of words of the callee, which the model answers."""
        self._answered = True
        self._changed.set()

    async def is_ours(self) -> bool:
        """Wait until it is settled: ``True``, the callee is silent and has to be greeted.

        A sound without words puts the greeting off, up to ``LONGEST_S`` in all.
        """
        longest = asyncio.create_task(self._pass(LONGEST_S))
        try:
            while not self._answered:
                self._changed.clear()
                change = asyncio.create_task(self._change())
                silence = asyncio.create_task(
                    self._change() if self._speaking else self._pass(self._silence_s)
                )
                try:
                    await asyncio.wait(
                        {longest, change, silence}, return_when=asyncio.FIRST_COMPLETED
                    )
                    if not self._changed.is_set():
                        return True
                finally:
                    await _end(change, silence)
            return False
        finally:
            await _end(longest)

    async def _pass(self, seconds: float) -> None:
        await self._sleep(seconds)

    async def _change(self) -> None:
        await self._changed.wait()


async def _end(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
