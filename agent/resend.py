"""Sends what job processes left on disk: they ended, or were killed, before the router had it all.

It runs in the worker's main process, at start and every few seconds. A file whose writer lives is
locked and left alone. What becomes too much or too old is dropped, and said aloud.
"""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal, TypeAlias

import structlog

from agent.sender import Sender, pack
from agent.spool import BEGUN, Spooled, SpoolFile, files_in

log = structlog.get_logger(__name__)

EVERY_S: Final = 5.0
LAST_TURN_S: Final = 3.0
BEGUN_S: Final = 3600.0

Turn: TypeAlias = Literal["sent", "kept", "busy"]


class Resender:
    """Empties a spool folder that holds at most *max_bytes*, none of it older than *max_age_s*."""

    def __init__(
        self,
        folder: Path,
        sender: Sender,
        *,
        max_bytes: int,
        max_age_s: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._folder = folder
        self._sender = sender
        self._max_bytes = max_bytes
        self._max_age_s = max_age_s
        self._clock = clock
        self._waiting = False

    async def run(self) -> None:
        """Resend until cancelled."""
        while True:
            await self.turn()
            await asyncio.sleep(EVERY_S)

    async def aclose(self) -> None:
        """Try once more, for a moment: the last calls have just ended."""
        try:
            async with asyncio.timeout(LAST_TURN_S):
                await self.turn()
        except TimeoutError:
            log.warning("spool.left", fix="it is sent when the worker starts again")
        await self._sender.aclose()

    async def turn(self) -> None:
        """Go once through the folder. Never raises."""
        try:
            paths = await asyncio.to_thread(files_in, self._folder)
            turns: set[Turn] = set()
            for path in paths:
                turns.add(await self._resend(path))
                if "kept" in turns:  # the router is away: the others wait as well
                    break
            if "kept" in turns and not self._waiting:  # once, however long it lasts
                fix = "see whether the router answers: its PUBLIC_URL, our ROUTER_URL"
                log.warning("reports.waiting", files=len(paths), fix=fix)
            self._waiting = "kept" in turns
            await asyncio.to_thread(self._bound)
        except OSError as exc:
            log.error("spool.not_read", error=type(exc).__name__, fix="see REPORT_SPOOL_DIR")

    async def _resend(self, path: Path) -> Turn:
        file = SpoolFile.take_over(path)  # in no thread: cancelled there, it would stay locked
        if file is None:
            return "busy"
        try:
            spooled = await asyncio.to_thread(file.read)
            if spooled is None:
                log.error("spool.unreadable", file=path.name)
                return "busy"
            if spooled.unreadable:
                log.error("spool.damaged", file=path.name, events=spooled.unreadable)
            if not await self._send(spooled):
                return "kept"
            await asyncio.to_thread(path.unlink, missing_ok=True)
        finally:
            file.close()
        log.info("report.resent", call_id=spooled.address.call_id, events=len(spooled.events))
        return "sent"

    async def _send(self, spooled: Spooled) -> bool:
        """Send everything; False: the router is away."""
        left, most = list(spooled.events), len(spooled.events)
        while left:
            count, body = pack(spooled.address.call_id, left, most)
            outcome = await self._sender.send(spooled.address, body)
            if outcome == "later":
                return False
            if outcome == "refused" and count > 1:
                most = count // 2
                continue
            if outcome == "refused":
                log.error("report.dropped", call_id=spooled.address.call_id, kind=left[0].kind)
            del left[:count]
            most = max(len(left), 1)
        return True

    def _bound(self) -> None:
        now, held = self._clock(), 0
        for path in self._folder.glob(f"*{BEGUN}"):
            if now - path.stat().st_mtime > BEGUN_S:
                path.unlink()
        for path in reversed(files_in(self._folder)):  # the newest stay
            file = SpoolFile.take_over(path)
            if file is None:
                continue
            try:
                facts = path.stat()
                held += facts.st_size
                age_s = now - facts.st_mtime
                if age_s > self._max_age_s or held > self._max_bytes:
                    held -= facts.st_size
                    because = "old" if age_s > self._max_age_s else "too much"
                    path.unlink()
                    log.error(
                        "report.dropped",
                        file=path.name,
                        bytes=facts.st_size,
                        because=because,
                        fix="see why the router does not answer; REPORT_SPOOL_MIB and _DAYS",
                    )
            finally:
                file.close()
