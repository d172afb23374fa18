"""Answer a caller whom no agent answered: pick up, say that we are sorry, hand on or say goodbye.

It is bounded in number and in time, stops as soon as an agent comes, and holds the call's claim
while it goes on, so that another router takes over within a lease when this one dies.
"""

import asyncio
import importlib.util
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal, Protocol, cast

import structlog

from router.errors import LiveKitUnavailable, StoreUnavailable
from router.lastresort.line import COMMAND, Line, LineOver
from router.lastresort.recordings import Recordings, choose
from router.metrics import Metrics
from router.records.claims import Claim, Claims
from router.recovery import Watched
from router.routing import KIND_AGENT, Participant

log = structlog.get_logger(__name__)

How = Literal["transferred", "goodbye", "agent_came", "caller_gone", "taken_over", "failed", "busy"]
LIMIT_S: Final = 90.0  # of one call, all in all
RENEW_S: Final = 2.0  # a third of the shortest lease
LEAVE_S: Final = 10.0  # for a caller who is handed on to leave the room
IDENTITY: Final = "last-resort"

BECAUSE: Final[dict[How, str]] = {
    "transferred": "handed on to FALLBACK_NUMBER by the router itself",
    "goodbye": "the house recording was played by the router itself",
    "agent_came": "an agent came while the router itself answered",
    "taken_over": "another router took the call over",
    "caller_gone": "the caller left while the router itself answered",
    "failed": "the router itself could not answer either",
    "busy": "the router itself answers as many callers as it may",
}


def available() -> bool:
    """Tell whether the extra is there: LiveKit's rtc package, which is not loaded for that."""
    try:
        return importlib.util.find_spec("livekit.rtc") is not None
    except ModuleNotFoundError:
        return False


class Rooms(Protocol):
    """What it needs of LiveKit; all of it but the token raises LiveKitUnavailable."""

    url: str

    def join_token(self, room: str, identity: str) -> str:
        """Make a token to join *room* with, and to speak there."""
        ...

    async def participants(self, room: str) -> Sequence[Participant]:
        """Return who is in a room."""
        ...

    async def transfer(self, room: str, identity: str, to: str) -> None:
        """Hand a SIP participant on."""
        ...

    async def remove(self, room: str, identity: str) -> None:
        """Take a participant out."""
        ...

    async def end(self, room: str) -> None:
        """Delete a room."""
        ...


@dataclass(frozen=True, slots=True)
class Stranded:
    """A caller without an agent, and the claim of their call."""

    call: Watched
    claim: Claim
    caller: str  # identity
    language: str | None


@dataclass(kw_only=True, slots=True)
class LastResort:
    """Answers up to *most* callers at a time; hands them on to *number* if there is one."""

    livekit: Rooms
    claims: Claims
    metrics: Metrics
    most: int
    number: str = ""  # E.164, sip: or tel:
    folder: Path | None = None  # of recordings
    command: Sequence[str] = COMMAND
    limit_s: float = LIMIT_S
    renew_s: float = RENEW_S
    leave_s: float = LEAVE_S
    _taken: int = field(default=0)

    async def answer(self, stranded: Stranded) -> How:
        """Answer one caller, and bring the call to an end unless somebody else has it.

        Raises:
            LiveKitUnavailable: the call could not be ended.
            StoreUnavailable: that it ended could not be written down.
        """
        call = stranded.call
        loop = asyncio.get_running_loop()
        began = loop.time()
        how, detail = "busy", ""
        if self._taken < self.most:
            self._taken += 1
            try:
                how, detail = await self._answer(stranded)
            finally:
                self._taken -= 1
        known = cast("How", how)
        self.metrics.last_resort[known].inc()
        (log.error if known in {"failed", "busy"} else log.warning)(
            "call.last_resort",
            call_id=call.call_id,
            how=known,
            detail=detail,
            language=stranded.language,
            took_s=round(loop.time() - began, 1),
        )
        await self._end(stranded, known)
        return known

    async def _answer(self, stranded: Stranded) -> tuple[str, str]:
        room = stranded.call.room
        try:
            there = await self.livekit.participants(room)
            if any(one.kind == KIND_AGENT for one in there):
                return "agent_came", ""
            recordings = await asyncio.to_thread(choose, stranded.language, self.folder)
            line = Line(
                url=self.livekit.url,
                token=self.livekit.join_token(room, f"{IDENTITY}-{secrets.token_hex(4)}"),
                caller=stranded.caller,
                command=self.command,
            )
            async with asyncio.timeout(self.limit_s), line:
                holding = asyncio.create_task(self._hold(stranded.claim, line))
                try:
                    return await self._speak(line, stranded, recordings), ""
                finally:
                    holding.cancel()
        except LineOver as exc:
            return exc.word, exc.detail
        except TimeoutError:
            return "failed", "it took too long"
        except LiveKitUnavailable as exc:
            return "failed", exc.reason
        except OSError as exc:  # no process could be started, or it does not listen
            return "failed", type(exc).__name__

    async def _speak(self, line: Line, stranded: Stranded, recordings: Recordings) -> How:
        await line.answered()
        await self._play(line, recordings.sorry)
        if self.number and await self._transferred(line, stranded):
            return "transferred"
        if recordings.goodbye is not None:
            await self._play(line, recordings.goodbye)
        return "goodbye"

    async def _play(self, line: Line, path: Path | None) -> None:
        if unusable := await line.play(path):
            fix = "make it a WAV file of 16-bit samples"
            log.error("recording.unusable", file=path and path.name, reason=unusable, fix=fix)

    async def _transferred(self, line: Line, stranded: Stranded) -> bool:
        """Hand the caller on; the end of their leg may come before LiveKit's answer."""
        room = stranded.call.room
        asking = asyncio.create_task(self.livekit.transfer(room, stranded.caller, self.number))
        either: set[asyncio.Future[Any]] = {asking, line.over}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if line.over.done() and line.over.result().word != "caller_gone":
                raise line.over.result()
            await asyncio.wait({asking}, timeout=self.leave_s)
            if not asking.done():
                raise LineOver("caller_gone")
            await asking
        except LiveKitUnavailable as exc:
            log.error("call.not_transferred", call_id=stranded.call.call_id, reason=exc.reason)
            return False
        finally:
            asking.cancel()
        await asyncio.wait({line.over}, timeout=self.leave_s)
        return True

    async def _hold(self, claim: Claim, line: Line) -> None:
        """Renew the claim's lease until cancelled; without it the call is another router's."""
        while True:
            await asyncio.sleep(self.renew_s)
            try:
                if not await self.claims.renew(claim):
                    line.end("taken_over")
                    return
            except StoreUnavailable as exc:  # the caller is being spoken to: go on
                log.warning("call.not_renewed", call_id=claim.call_id, reason=exc.reason)

    async def _end(self, stranded: Stranded, how: How) -> None:
        call = replace(stranded.call, attempt=stranded.claim.attempt)
        if how in {"agent_came", "taken_over"}:
            return
        try:
            if how in {"failed", "busy"}:  # a phone that still rings gets 486: the carrier goes on
                await self.livekit.remove(call.room, stranded.caller)
            else:
                await self.livekit.end(call.room)
        except LiveKitUnavailable as exc:
            if exc.reason != "not_found":
                raise
        await self.claims.ended([call], BECAUSE[how])
