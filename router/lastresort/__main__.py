"""The party that speaks for the router in one room: its own process, for livekit.rtc is native.

It is told by lines of JSON on stdin: first ``{"url", "token", "caller"}``, then any number of
``{"play": path or null}``; the end of stdin is the end of it. It tells by lines on stdout:
``{"event": …}`` with ``answered``, ``played``, or how it ended: ``agent_came``, ``caller_gone``,
``dismissed`` by the end of stdin, or ``failed`` with a ``reason``. It never stays beside an agent,
and holds no secret but its token.
"""

import asyncio
import contextlib
import json
import os
import sys
import threading
from pathlib import Path
from typing import Any, Final

from livekit import rtc

from router.lastresort.sound import SoundUnusable, read, tone

CONNECT_S: Final = 8.0
ACTIVE_S: Final = 3.0  # for the phone to be picked up, once our track is there
LEAVE_S: Final = 2.0
LIMIT_S: Final = 120.0
RATE: Final = 48_000
FRAME_S: Final = 0.02
QUEUE_MS: Final = 200
STATUS: Final = "sip.callStatus"
ACTIVE: Final = "active"

Json = dict[str, Any]


class Party:
    """Our participant in the caller's room."""

    def __init__(self, orders: "asyncio.Queue[Json | None]", first: Json) -> None:
        self._orders = orders
        self._first = first
        self._caller: str = first["caller"]
        self._room = rtc.Room()
        self._over: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._active = asyncio.Event()
        self._to_play: asyncio.Queue[str | None] = asyncio.Queue()

    async def hold(self) -> None:
        """Join, answer, play what we are told to, until it is over."""
        room = self._room
        room.on("participant_connected", self._look_at)
        room.on("participant_disconnected", self._on_left)
        room.on("participant_attributes_changed", lambda _changed, who: self._look_at(who))
        room.on("disconnected", lambda _reason: self._end("caller_gone"))
        speaking = asyncio.create_task(self._speak())
        listening = asyncio.create_task(self._listen())
        try:
            either: set[asyncio.Future[Any]] = {speaking, self._over}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if self._over.done():
                tell(self._over.result())
            else:
                await speaking
        finally:
            speaking.cancel()
            listening.cancel()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LEAVE_S):
                    await room.disconnect()

    async def _speak(self) -> None:
        room = self._room
        async with asyncio.timeout(CONNECT_S):
            await room.connect(self._first["url"], self._first["token"])
        there = room.remote_participants
        for participant in there.values():
            self._look_at(participant)
        if self._caller not in there:
            self._end("caller_gone")
        if self._over.done():
            return
        source = rtc.AudioSource(RATE, 1, queue_size_ms=QUEUE_MS)
        track = rtc.LocalAudioTrack.create_audio_track("house", source)
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
        async with asyncio.timeout(CONNECT_S):
            await room.local_participant.publish_track(track, options)
        with contextlib.suppress(TimeoutError):  # then it is spoken to all the same
            async with asyncio.timeout(ACTIVE_S):
                await self._active.wait()
        tell("answered")
        while True:
            await self._play(source, await self._to_play.get())

    async def _listen(self) -> None:
        while (order := await self._orders.get()) is not None:
            self._to_play.put_nowait(order["play"])
        self._end("dismissed")

    async def _play(self, source: rtc.AudioSource, path: str | None) -> None:
        said: Json = {}
        try:
            sound = read(Path(path)) if path else tone()
        except SoundUnusable as exc:
            sound, said = tone(), {"unusable": str(exc)}
        resampler = rtc.AudioResampler(sound.rate, RATE)
        step = 2 * int(sound.rate * FRAME_S)
        for at in range(0, len(sound.pcm), step):
            for frame in resampler.push(bytearray(sound.pcm[at : at + step])):
                await source.capture_frame(frame)  # it waits for room, so it paces us
        for frame in resampler.flush():
            await source.capture_frame(frame)
        await source.wait_for_playout()
        tell("played", **said)

    def _look_at(self, participant: rtc.Participant) -> None:
        if participant.kind == rtc.ParticipantKind.PARTICIPANT_KIND_AGENT:
            self._end("agent_came")
        elif participant.identity == self._caller and participant.attributes.get(STATUS) == ACTIVE:
            self._active.set()

    def _on_left(self, participant: rtc.RemoteParticipant) -> None:
        if participant.identity == self._caller:
            self._end("caller_gone")

    def _end(self, word: str) -> None:
        if not self._over.done():
            self._over.set_result(word)


def tell(event: str, **more: str) -> None:
    """Write one line to the router."""
    with contextlib.suppress(OSError):  # it has died: the end of stdin tells us so
        sys.stdout.write(json.dumps({"event": event, **more}) + "\n")
        sys.stdout.flush()


def _listen(loop: asyncio.AbstractEventLoop, orders: "asyncio.Queue[Json | None]") -> None:
    """Put what stdin says on *orders*; ``None`` when the router is gone or has had enough."""
    rest = b""
    with contextlib.suppress(RuntimeError):  # the loop is closed: it is over
        # Not through sys.stdin: its lock would be held when the interpreter ends.
        while chunk := os.read(0, 65_536):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                loop.call_soon_threadsafe(orders.put_nowait, json.loads(line))
        loop.call_soon_threadsafe(orders.put_nowait, None)


async def main() -> None:
    """Hold one call."""
    orders: asyncio.Queue[Json | None] = asyncio.Queue()
    listen = threading.Thread(
        target=_listen, args=(asyncio.get_running_loop(), orders), daemon=True
    )
    listen.start()
    first = await orders.get()
    if first is None:
        return
    try:
        async with asyncio.timeout(LIMIT_S):
            await Party(orders, first).hold()
    except Exception as exc:  # noqa: BLE001  # whatever it is, the router has to go on
        tell("failed", reason=type(exc).__name__)


if __name__ == "__main__":
    asyncio.run(main())
