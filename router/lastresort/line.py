"""The process that is in a caller's room for us: started, told what to play, ended.

A process, so that a crash of native code costs one call and not the router, and so that the router
holds neither that code nor its memory. It is given a token for one room, and dies with us: the end
of its stdin is the end of it.
"""

import asyncio
import contextlib
import json
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Self

COMMAND: Final = (sys.executable, "-m", "router.lastresort")
END_S: Final = 3.0
#: How it may end by itself; ``dismissed`` is our own doing.
ENDS: Final = frozenset({"agent_came", "caller_gone", "failed", "dismissed"})


class LineOver(Exception):
    """It cannot go on, for the reason ``word``: one of ``ENDS``, or ours (``end``)."""

    def __init__(self, word: str, detail: str = "") -> None:
        super().__init__(word)
        self.word = word
        self.detail = detail


class Line:
    """One process in one room; ``async with`` starts and ends it."""

    def __init__(
        self, *, url: str, token: str, caller: str, command: Sequence[str] = COMMAND
    ) -> None:
        self._first = {"url": url, "token": token, "caller": caller}
        self._command = command
        self._process: Process
        self._reading: asyncio.Task[None]
        self._told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.over: asyncio.Future[LineOver] = asyncio.get_running_loop().create_future()

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=PIPE,
            stdout=PIPE,
            stderr=DEVNULL,  # livekit.rtc writes names of rooms there, and those hold numbers
        )
        self._reading = asyncio.create_task(self._read())
        self._tell(self._first)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stdin.close()
        try:
            async with asyncio.timeout(END_S):
                await self._process.wait()
        except TimeoutError:
            pass
        finally:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            self._reading.cancel()
            await self._process.wait()

    async def answered(self) -> None:
        """Wait until the caller hears us.

        Raises:
            LineOver: it has ended before.
        """
        await self._next()

    async def play(self, path: Path | None) -> str:
        """Play a recording, or a tone; return what was wrong with the recording, if it was.

        Raises:
            LineOver: it has ended before the recording did.
        """
        self._tell({"play": str(path) if path else None})
        return str((await self._next()).get("unusable", ""))

    def end(self, word: str) -> None:
        """Have whoever waits here be told that it is over."""
        self._end(LineOver(word))

    async def _next(self) -> dict[str, Any]:
        told = asyncio.ensure_future(self._told.get())
        either: set[asyncio.Future[Any]] = {told, self.over}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if self.over.done():
                raise self.over.result()
            return told.result()
        finally:
            told.cancel()

    async def _read(self) -> None:
        assert self._process.stdout is not None  # noqa: S101  # it is a pipe
        async for line in self._process.stdout:
            try:
                told = json.loads(line)
                event = str(told["event"])
            except (ValueError, TypeError, KeyError):  # a library that prints
                continue
            if event in ENDS:
                self._end(LineOver(event, str(told.get("reason", ""))))
            else:
                self._told.put_nowait(told)
        code = await self._process.wait()
        self._end(LineOver("failed", f"the process ended with {code}"))

    def _end(self, over: LineOver) -> None:
        if not self.over.done():
            self.over.set_result(over)

    def _tell(self, order: dict[str, Any]) -> None:
        self._stdin.write(json.dumps(order).encode() + b"\n")

    @property
    def _stdin(self) -> asyncio.StreamWriter:
        assert self._process.stdin is not None  # noqa: S101  # it is a pipe
        return self._process.stdin
