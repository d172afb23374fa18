"""Has LiveKit record calls (Egress, the sound of a room) where their persona wants it.

It is asked by the agent, after that has said so. Whatever goes wrong here costs the recording and
never the call.
"""

import asyncio
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from router.errors import LiveKitUnavailable, StoreUnavailable, ToolRefused
from router.records.recordings import RecordingRows

log = structlog.get_logger(__name__)

EVERY_S: Final = 5.0
NOT_RECORDED: Final = "The call is not recorded."


class Egress(Protocol):
    """What it needs of LiveKit; both raise LiveKitUnavailable."""

    async def record(self, room: str, path: str) -> str:
        """Begin to record a room; return LiveKit's id of it."""
        ...

    async def stop_recording(self, egress_id: str) -> None:
        """End it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorder:
    """Begins recordings, and ends those that outlast their call."""

    livekit: Egress
    rows: RecordingRows
    path: str  # with {call_id} and perhaps {tenant} in it; empty: nothing is recorded

    async def start(self, call_id: str, tenant: str, room: str) -> str:
        """Begin to record a call, once; return a sentence.

        Raises:
            ToolRefused: it is not recorded.
            StoreUnavailable: the database did not answer, so it is not recorded.
        """
        if not self.path:
            log.warning("recording.refused", call_id=call_id, because="RECORDING_PATH is not set")
            raise ToolRefused(NOT_RECORDED, status=409)
        path = self.path.replace("{call_id}", call_id).replace("{tenant}", tenant)
        if not await self.rows.ask(call_id, tenant, path):
            return "The call is recorded already."
        try:
            egress_id = await self.livekit.record(room, path)
        except LiveKitUnavailable as exc:
            log.error("recording.not_begun", call_id=call_id, reason=exc.reason)
            await self.rows.failed(call_id, exc.reason)
            raise ToolRefused(NOT_RECORDED, status=409) from exc
        await self.rows.began(call_id, egress_id)
        log.info("recording.begun", call_id=call_id)
        return "The call is recorded."

    async def run(self) -> None:
        """End what outlasts its call, until cancelled. A room that closes ends its own."""
        while True:
            await asyncio.sleep(EVERY_S)
            await self.turn()

    async def turn(self) -> None:
        """Do it once. Never raises."""
        try:
            for egress_id in await self.rows.outlasting():
                await self._stop(egress_id)
        except StoreUnavailable as exc:
            log.warning("recordings.not_looked_at", reason=exc.reason)
        except Exception:  # the next turn may do better
            log.exception("recordings.crashed")

    async def _stop(self, egress_id: str) -> None:
        try:
            await self.livekit.stop_recording(egress_id)
        except LiveKitUnavailable as exc:
            if exc.reason in {"timeout", "not_reached"}:
                return  # again in a moment
            log.info("recording.over", reason=exc.reason)  # its room has ended it
        await self.rows.stopping(egress_id)
