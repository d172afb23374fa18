"""Keeps the records of calls true while nobody reports: closes them.

A call's own agent closes its record. Where that does not happen, the end is seen here: the claim
has ended, the room is not listed any more, or nothing was heard for hours. Every replica does it:
what is closed is not closed again.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import structlog

from router.errors import LiveKitUnavailable, StoreUnavailable
from router.records.calls import Calls

log = structlog.get_logger(__name__)

EVERY_S = 5.0
GIVE_UP_EVERY_S = 60.0


class RoomList(Protocol):
    """LiveKit's list of rooms."""

    async def rooms(self) -> Mapping[str, str]:
        """Return every room, sid → name; raises LiveKitUnavailable."""
        ...


@dataclass(kw_only=True, slots=True)
class Bookkeeping:
    """Looks after the records."""

    calls: Calls
    livekit: RoomList
    monotonic: Callable[[], float] = time.monotonic
    _gave_up_at: float = float("-inf")

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            await asyncio.sleep(EVERY_S)
            await self.turn()

    async def aclose(self) -> None:
        """Close the records of rooms that have finished since the last turn. Never raises."""
        try:
            await self.calls.close_finished()
        except StoreUnavailable as exc:
            log.warning("records.not_kept_up", kind=type(exc).__name__, reason=exc.reason)

    async def turn(self) -> None:
        """Do once what is due. Never raises."""
        try:
            await self.calls.close_finished()
            await self.calls.close_ended()
            await self._close_vanished()
            if self.monotonic() - self._gave_up_at >= GIVE_UP_EVERY_S:
                self._gave_up_at = self.monotonic()
                await self._give_up()
        except (StoreUnavailable, LiveKitUnavailable) as exc:
            log.warning("records.not_kept_up", kind=type(exc).__name__, reason=exc.reason)
        except Exception:  # the next turn may do better
            log.exception("records.upkeep_crashed")

    async def _close_vanished(self) -> None:
        silent = await self.calls.silent()
        if not silent:
            return
        rooms = await self.livekit.rooms()
        gone = [call.call_id for call in silent if call.room_sid and call.room_sid not in rooms]
        if gone:
            await self.calls.ended(gone, "the room is gone")
            log.info("records.closed", because="the room is gone", count=len(gone))

    async def _give_up(self) -> None:
        if given_up := await self.calls.give_up_silent():
            log.info("records.closed", because="nothing was heard of it", count=given_up)
