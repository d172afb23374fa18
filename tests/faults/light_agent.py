"""A worker at the level of LiveKit's protocol: our election and signs of life, silence for speech.

``python -m tests.faults.light_agent`` holds all its calls in one process, which starts in half a
second and costs little, so that it can be late, overloaded, killed and frozen by the dozen.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
import time
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final

import aiohttp
from livekit import api, rtc
from livekit.protocol import agent, models

from agent import election, job
from personas.contract import ATTRIBUTE_ATTEMPT, ATTRIBUTE_BEAT, ATTRIBUTE_CALL

NAME: Final = "friday-ai-agent"
REGISTERED: Final = "worker.registered"
STATUS_EVERY_S: Final = 2.5  # as livekit-agents does
TARGET_LOAD: Final = 0.7  # from which on the server sends no more
BEAT_S: Final = 2.0
PING_S: Final = 30.0
SOUND_HZ: Final = 16_000


def say(event: str, **keys: object) -> None:
    """Write one line of the log."""
    sys.stdout.write(json.dumps({"event": event, "at": time.time(), **keys}) + "\n")
    sys.stdout.flush()


@dataclass(frozen=True, slots=True, kw_only=True)
class Manners:
    """How this worker differs from a good one."""

    late_s: float = 0.0  # each availability request is answered after this
    late_for_s: float = 0.0  # counted from the first request
    starts_at_once: int = 0  # a call costs load for a while when it starts; 0: none
    start_s: float = 3.0
    no_election: bool = False  # whoever is sent publishes
    fixed_identity: bool = False  # one identity for a room; goes with the one above

    @classmethod
    def from_arguments(cls, arguments: list[str]) -> "Manners":
        """Read ``--late-s 4`` and the like."""
        parser = argparse.ArgumentParser()
        parser.add_argument("--late-s", type=float, default=0.0)
        parser.add_argument("--late-for-s", type=float, default=0.0)
        parser.add_argument("--starts-at-once", type=int, default=0)
        parser.add_argument("--start-s", type=float, default=3.0)
        parser.add_argument("--no-election", action="store_true")
        parser.add_argument("--fixed-identity", action="store_true")
        return cls(**vars(parser.parse_args(arguments)))


@dataclass(slots=True)
class Worker:
    """Speaks LiveKit's agent protocol over one websocket."""

    manners: Manners
    url: str
    api_key: str
    api_secret: str
    _socket: Any = None
    _asked_at: float | None = None  # the first availability request; monotonic
    _started_at: list[float] = field(default_factory=list)  # calls; monotonic
    _calls: dict[str, "Call"] = field(default_factory=dict)  # by job id
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def run(self) -> None:
        """Register, and hold what calls come, until cancelled."""
        token = api.AccessToken(self.api_key, self.api_secret)
        jwt = token.with_grants(api.VideoGrants(agent=True)).to_jwt()
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(
                f"{self.url}/agent",
                headers={"Authorization": f"Bearer {jwt}"},
                heartbeat=PING_S,
            ) as self._socket,
        ):
            await self._send(
                register=agent.RegisterWorkerRequest(
                    type=agent.JobType.JT_ROOM,
                    agent_name=NAME,
                    version="1.8.9",
                    allowed_permissions=models.ParticipantPermission(
                        can_publish=True,
                        can_subscribe=True,
                        can_publish_data=True,
                        can_update_metadata=True,
                        agent=True,
                    ),
                )
            )
            self._spawn(self._report())
            async for message in self._socket:
                self._hear(agent.ServerMessage.FromString(message.data))

    async def aclose(self) -> None:
        """Leave every call."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _hear(self, message: agent.ServerMessage) -> None:
        match message.WhichOneof("message"):
            case "register":
                say(REGISTERED)
            case "availability":
                self._spawn(self._answer(message.availability.job))
            case "assignment":
                self._spawn(self._hold(message.assignment))
            case "termination":
                if call := self._calls.get(message.termination.job_id):
                    call.leave("terminated")
            case _:
                pass

    async def _answer(self, asked: agent.Job) -> None:
        now = time.monotonic()
        self._asked_at = self._asked_at or now
        if now - self._asked_at < self.manners.late_for_s:
            await asyncio.sleep(self.manners.late_s)
        answer = agent.AvailabilityResponse(job_id=asked.id, available=self.load() < TARGET_LOAD)
        if answer.available:
            self._started_at.append(time.monotonic())
            turn = job.turn_of(asked.metadata)
            fixed = self.manners.fixed_identity
            answer.participant_identity = f"agent-{asked.room.name}" if fixed else f"a-{asked.id}"
            answer.participant_attributes.update(
                {
                    election.ATTRIBUTE_AGENT_NAME: NAME,
                    ATTRIBUTE_ATTEMPT: str(turn.attempt),
                    ATTRIBUTE_CALL: turn.call_id,
                }
            )
        await self._send(availability=answer)
        await self._send_status()

    def load(self) -> float:
        """Return the load of the calls that have started lately, in turn with the limit."""
        if not self.manners.starts_at_once:
            return 0.0
        since = time.monotonic() - self.manners.start_s
        self._started_at = [at for at in self._started_at if at > since]
        return TARGET_LOAD * len(self._started_at) / self.manners.starts_at_once

    async def _hold(self, assignment: agent.JobAssignment) -> None:
        given = assignment.job
        call = self._calls[given.id] = Call(given, elected=not self.manners.no_election)
        await self._send(
            update_job=agent.UpdateJobStatus(job_id=given.id, status=agent.JobStatus.JS_RUNNING)
        )
        try:
            url = assignment.url or self.url
            because = await call.hold(url, assignment.token, self._remove)
        except (rtc.ConnectError, TimeoutError) as exc:
            because = type(exc).__name__
        say("job.left", attempt=call.attempt, because=because)
        del self._calls[given.id]
        await self._send(
            update_job=agent.UpdateJobStatus(job_id=given.id, status=agent.JobStatus.JS_SUCCESS)
        )

    async def _remove(self, room: str, identities: tuple[str, ...]) -> None:
        async with api.LiveKitAPI(self.url, self.api_key, self.api_secret, failover=False) as asked:
            await election.remove(asked, room, identities)

    async def _report(self) -> None:
        while True:
            await self._send_status()
            await asyncio.sleep(STATUS_EVERY_S)

    async def _send_status(self) -> None:
        await self._send(
            update_worker=agent.UpdateWorkerStatus(
                load=self.load(),
                status=agent.WorkerStatus.WS_AVAILABLE,
                job_count=len(self._calls),
            )
        )

    async def _send(self, **message: Any) -> None:
        if not self._socket.closed:
            await self._socket.send_bytes(agent.WorkerMessage(**message).SerializeToString())

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class Call:
    """One job: join, be elected, publish, give signs of life, leave with the caller."""

    def __init__(self, given: agent.Job, *, elected: bool) -> None:
        turn = job.turn_of(given.metadata)
        self.attempt = turn.attempt
        self._call_id = turn.call_id
        self._name = given.room.name
        self._elected = elected
        self._over: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def leave(self, because: str) -> None:
        """Have :meth:`hold` end."""
        if not self._over.done():
            self._over.set_result(because)

    async def hold(self, url: str, token: str, remove: Any) -> str:
        """Hold the call; return why it is over."""
        room = rtc.Room()
        room.on("disconnected", lambda reason: self.leave(f"disconnected: {reason}"))
        room.on("participant_connected", self._on_newcomer)
        room.on("participant_disconnected", self._on_gone)
        doing: list[asyncio.Task[None]] = []
        try:
            async with asyncio.timeout(10):
                await room.connect(url, token, rtc.RoomOptions(auto_subscribe=False))
            rivals = [one for p in room.remote_participants.values() if (one := self._rival(p))]
            verdict = election.on_arrival(self.attempt, rivals if self._elected else ())
            if isinstance(verdict, election.Leave):
                self.leave(verdict.because)
            else:
                say("job.held", attempt=self.attempt)
                await remove(self._name, verdict.remove)
                source = rtc.AudioSource(SOUND_HZ, 1)
                track = rtc.LocalAudioTrack.create_audio_track("silence", source)
                await room.local_participant.publish_track(track)
                doing = [
                    asyncio.create_task(_be_silent(source)),
                    asyncio.create_task(_beat(room)),
                ]
            return await self._over
        finally:
            for task in doing:
                task.cancel()
            await asyncio.gather(*doing, return_exceptions=True)
            await room.disconnect()

    def _rival(self, participant: rtc.RemoteParticipant) -> election.Rival | None:
        return election.rival_in(participant, agent_name=NAME, call_id=self._call_id)

    def _on_newcomer(self, participant: rtc.RemoteParticipant) -> None:
        if self._elected and (rival := self._rival(participant)):
            verdict = election.on_newcomer(self.attempt, rival)
            if isinstance(verdict, election.Leave):
                self.leave(verdict.because)

    def _on_gone(self, participant: rtc.RemoteParticipant) -> None:
        if participant.kind == rtc.ParticipantKind.PARTICIPANT_KIND_SIP:
            self.leave("the caller hung up")


async def _be_silent(source: rtc.AudioSource) -> None:
    """The source takes a frame only when it has room, so it paces us."""
    frame = rtc.AudioFrame.create(SOUND_HZ, 1, SOUND_HZ // 10)
    try:
        while True:
            await source.capture_frame(frame)
    finally:
        await source.aclose()


async def _beat(room: rtc.Room) -> None:
    for beat in count(1):
        try:
            async with asyncio.timeout(BEAT_S):
                await room.local_participant.set_attributes({ATTRIBUTE_BEAT: str(beat)})
        except Exception as exc:  # noqa: BLE001 - the SDK raises bare exceptions
            say("beat.missed", error=type(exc).__name__)
        await asyncio.sleep(BEAT_S)


async def main() -> None:
    """Work until SIGTERM."""
    worker = Worker(
        Manners.from_arguments(sys.argv[1:]),
        os.environ["LIVEKIT_URL"],
        os.environ["LIVEKIT_API_KEY"],
        os.environ["LIVEKIT_API_SECRET"],
    )
    running = asyncio.create_task(worker.run())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
    await asyncio.wait({running})
    await worker.aclose()
    if not running.cancelled() and (failure := running.exception()) is not None:
        say("worker.failed", error=type(failure).__name__)
        sys.exit(1)


if __name__ == "__main__":
    asyncio.run(main())
