"""A caller without a SIP gateway: LiveKit sees what the gateway would show it.

The phone joins a room as a participant of kind SIP with the gateway's attributes, sends audio,
turns ``sip.callStatus`` to ``active`` when it has somebody's track, and measures. ``livekit.rtc``
comes with the extra ``agent`` and is imported only when a phone dials.
"""

import asyncio
import contextlib
import secrets
import time
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import replace
from itertools import cycle
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any, Self

from router.demo.deliveries import caller_attributes
from router.demo.errors import CallFailed, SetupFailed
from router.demo.sound import (
    FRAME_MS,
    HEARD_HZ,
    SPOKEN_FRAME,
    SPOKEN_HZ,
    Recording,
    comfort_noise,
    is_audible,
)
from router.demo.timeline import CallTimes, Utterance

if TYPE_CHECKING:
    from livekit import rtc

DIAL_TIMEOUT_S = 15.0
HANG_UP_TIMEOUT_S = 5.0
REQUEST_TIMEOUT_S = 2.0

TOPIC_TRANSCRIPTION = "lk.transcription"
TOPIC_CHAT = "lk.chat"
_SEGMENT_ID = "lk.segment_id"


class Phone:
    """One call, from dialing to hanging up; ``async with`` does both.

    *dialed* is the number that is called, in the notation in which a trunk would give it, *caller*
    the one that calls. *hidden*: the gateway shows neither. *outbound*: a leg that we dial, whose
    ``sip.callStatus`` starts as ``dialing`` and changes only by :meth:`set_call_status`.
    *identity* and *metadata* are those of its participant.
    *static_agent* is dispatched by LiveKit itself when the room is made, with *static_metadata*.
    """

    def __init__(
        self,
        url: str,
        api_key: str,
        api_secret: str,
        *,
        dialed: str = "",
        caller: str = "+13125550123",
        hidden: bool = False,
        outbound: bool = False,
        trunk_id: str = "",
        room: str = "",
        identity: str = "",
        metadata: str = "",
        static_agent: str = "",
        static_metadata: str = "",
        record: bool = True,
    ) -> None:
        self._url = url
        self._api_key = api_key
        self._api_secret = api_secret
        self._outbound = outbound
        self._static_agent = static_agent
        self._static_metadata = static_metadata
        self._record = record
        self.attributes = _gateway_attributes(
            dialed=dialed, caller=caller, trunk_id=trunk_id, hidden=hidden, outbound=outbound
        )
        shown = "p" if hidden else caller
        self.identity = identity or f"sip_{secrets.token_hex(8) if hidden else caller}"
        self._metadata = metadata
        self.name = f"Phone {shown}"
        self.room = room or f"call-_{shown}_{secrets.token_urlsafe(9)}"
        self._times = CallTimes()
        self._utterances: dict[str, Utterance] = {}
        self._agents: list[str] = []
        self.recording = Recording()
        self._speech: deque[bytes] = deque()
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._connection: rtc.Room | None = None
        self._rtc: ModuleType | None = None

    @property
    def times(self) -> CallTimes:
        """What was measured so far."""
        return self._times

    @property
    def utterances(self) -> tuple[Utterance, ...]:
        """What the agent said so far, in order."""
        return tuple(self._utterances.values())

    @property
    def agents(self) -> tuple[str, ...]:
        """Identities of all agents that were seen in the room, in order."""
        return tuple(self._agents)

    @property
    def agents_present(self) -> tuple[str, ...]:
        """Identities of the agents that are in the room now."""
        if self._connection is None:
            return ()
        return tuple(
            one.identity for one in self._connection.remote_participants.values() if _is_agent(one)
        )

    @property
    def agents_publishing(self) -> tuple[str, ...]:
        """The sids of the agents in the room that have published a track at this moment."""
        if self._connection is None:
            return ()
        there = self._connection.remote_participants.values()
        return tuple(one.sid for one in there if _is_agent(one) and one.track_publications)

    @property
    def others(self) -> tuple[str, ...]:
        """Identities of everybody else who is in the room now."""
        return tuple(self._connection.remote_participants) if self._connection else ()

    @property
    def agent_attributes(self) -> dict[str, str]:
        """The attributes of the agent that is in the room now; empty when there is none."""
        if self._connection is None:
            return {}
        there = [one for one in self._connection.remote_participants.values() if _is_agent(one)]
        return dict(there[-1].attributes) if there else {}

    # ---- what a caller does ---------------------------------------------------------------

    async def dial(self, *, timeout_s: float = DIAL_TIMEOUT_S) -> None:
        """Join the room and start sending audio.

        Raises:
            SetupFailed: livekit.rtc is not installed.
            CallFailed: LiveKit did not let us in, in time.
        """
        self._rtc = livekit_rtc()
        room: rtc.Room = self._rtc.Room()
        room.on("participant_connected", self._on_participant)
        room.on("track_subscribed", self._on_track)
        room.on("disconnected", lambda _reason: self._note(ended_at=time.time()))
        room.on("participant_disconnected", lambda _who: self._changed.set())
        room.register_text_stream_handler(TOPIC_TRANSCRIPTION, self._on_transcription)
        self._connection = room
        self._note(dialed_at=time.time())
        try:
            async with asyncio.timeout(timeout_s):
                await room.connect(self._url, self._token())
                self._note(joined_at=time.time())
                for participant in room.remote_participants.values():
                    self._on_participant(participant)
                await self._publish(room)
        except TimeoutError as exc:
            raise CallFailed(f"the call was not set up in {timeout_s:g} s") from exc
        except self._rtc.ConnectError as exc:
            raise CallFailed(f"LiveKit refused the caller: {exc.message}") from exc

    async def say(self, text: str) -> None:
        """Send *text* as the caller's words (LiveKit's text input)."""
        await self._request(self._room_now().local_participant.send_text(text, topic=TOPIC_CHAT))

    def speak(self, pcm: bytes) -> None:
        """Say *pcm* (16 bit, mono, :data:`SPOKEN_HZ`) as sound, after what is being said."""
        size = 2 * SPOKEN_FRAME
        pieces = (pcm[at : at + size] for at in range(0, len(pcm), size))
        self._speech.extend(piece.ljust(size, b"\0") for piece in pieces)

    async def press(self, key: str) -> None:
        """Press one key of the keypad (DTMF)."""
        codes = {**{str(digit): digit for digit in range(10)}, "*": 10, "#": 11}
        me = self._room_now().local_participant
        await self._request(me.publish_dtmf(code=codes[key], digit=key))

    async def send_data(self, data: bytes, *, topic: str) -> None:
        """Send a data packet to everybody in the room."""
        await self._request(self._room_now().local_participant.publish_data(data, topic=topic))

    async def set_call_status(self, status: str) -> None:
        """Set ``sip.callStatus``, as the gateway does when a call's state changes."""
        me = self._room_now().local_participant
        changed = {"sip.callStatus": status}
        if self._outbound and status == "active":  # the far end has a name for the call by now
            changed |= _tags()
        for last in (False, False, True):
            try:  # again: LiveKit's answer is lost now and then, though it is done
                await self._request(me.set_attributes(changed))
                break
            except CallFailed:
                if last:
                    raise
        if status == "active":
            self._note(active_at=time.time())

    async def hang_up(self, because: str = "CLIENT_INITIATED") -> None:
        """Leave the room; harmless when the call is over already.

        *because* is LiveKit's name of the reason: a gateway says how a call has ended.
        """
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._connection is not None:
            reason = livekit_rtc().DisconnectReason.Value(because)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(HANG_UP_TIMEOUT_S):
                    await self._connection.disconnect(reason=reason)
            self._note(ended_at=time.time())  # the room does not always get to say so itself

    # ---- what a caller waits for ----------------------------------------------------------

    async def wait_for_agent(self, *, timeout_s: float) -> str:
        """Wait for the first agent in the room; return its identity."""
        await self._wait(lambda: self._agents, timeout_s, "agent in the room")
        return self._agents[0]

    async def wait_for_answer(self, *, timeout_s: float) -> None:
        """Wait until an agent's track is subscribed and the call is active."""
        await self._wait(lambda: self._times.active_at, timeout_s, "answer")

    async def wait_for_audio(self, *, timeout_s: float) -> None:
        """Wait for the agent's first sound."""
        await self._wait(lambda: self._times.first_audio_at, timeout_s, "sound of the agent")

    async def wait_for_words(
        self, *, timeout_s: float, count: int = 1, containing: str = ""
    ) -> tuple[Utterance, ...]:
        """Wait for *count* finished utterances, one of them with *containing*; return them all."""

        def finished() -> bool:
            done = [one for one in self.utterances if one.ended_at]
            return len(done) >= count and any(containing in one.text for one in done)

        await self._wait(finished, timeout_s, f"utterance {count} of the agent")
        return self.utterances

    async def wait_for_end(self, *, timeout_s: float) -> None:
        """Wait until the call was ended from the other side."""
        await self._wait(lambda: self._times.ended_at, timeout_s, "end of the call")

    async def wait_until(
        self, happened: Callable[["Phone"], object], *, timeout_s: float, what: str
    ) -> None:
        """Wait for anything else that this phone sees.

        Raises:
            CallFailed: it did not come in time, as with every wait here.
        """
        await self._wait(lambda: happened(self), timeout_s, what)

    # ---- what LiveKit tells us ------------------------------------------------------------

    def _on_participant(self, participant: "rtc.RemoteParticipant") -> None:
        if _is_agent(participant):
            self._agents.append(participant.identity)
            self._note(agent_joined_at=time.time())

    def _on_track(
        self,
        track: "rtc.RemoteTrack",
        _publication: "rtc.RemoteTrackPublication",
        participant: "rtc.RemoteParticipant",
    ) -> None:
        rtc = self._module()
        # As at the gateway, whoever is no caller answers: an agent, or a router as last resort.
        caller = participant.kind == rtc.ParticipantKind.PARTICIPANT_KIND_SIP
        if track.kind != rtc.TrackKind.KIND_AUDIO or caller:
            return
        self._note(track_subscribed_at=time.time())
        if not self._outbound and self._times.active_at is None:
            self._spawn(self.set_call_status("active"))
        if self._record:
            self._spawn(self._listen(track))

    def _on_transcription(self, reader: "rtc.TextStreamReader", identity: str) -> None:
        if identity == self.identity:
            reader.close()  # our own words, as the agent understood them
        else:
            self._spawn(self._read(reader))

    async def _read(self, reader: "rtc.TextStreamReader") -> None:
        segment = (reader.info.attributes or {}).get(_SEGMENT_ID) or reader.info.stream_id
        text = ""
        began_at: float | None = None
        try:
            async for chunk in reader:
                text += chunk
                began_at = began_at or time.time()
                self._note(first_word_at=began_at)
                self._utterances[segment] = Utterance(text, began_at)
        except self._module().StreamError:
            return  # the call ended in the middle of a sentence
        finally:
            reader.close()
        if began_at is not None:
            self._utterances[segment] = Utterance(text, began_at, ended_at=time.time())
            self._changed.set()

    async def _listen(self, track: "rtc.RemoteTrack") -> None:
        rtc = self._module()
        stream = rtc.AudioStream(track, sample_rate=HEARD_HZ, frame_size_ms=FRAME_MS)
        try:
            async for event in stream:
                samples: memoryview[int] = event.frame.data
                self.recording.add(samples.cast("B"))
                if self._times.first_audio_at is None and is_audible(samples):
                    self._note(first_audio_at=time.time())
        finally:
            await stream.aclose()

    # ---- below ----------------------------------------------------------------------------

    def _token(self) -> str:
        from livekit import api  # takes 0.6 s

        token = (
            api.AccessToken(self._api_key, self._api_secret)
            .with_identity(self.identity)
            .with_name(self.name)
            .with_kind("sip")
            .with_attributes(self.attributes)
            .with_metadata(self._metadata)
            .with_grants(
                api.VideoGrants(room_join=True, room=self.room, can_update_own_metadata=True)
            )
        )
        if self._static_agent:
            agent = api.RoomAgentDispatch(
                agent_name=self._static_agent, metadata=self._static_metadata
            )
            token = token.with_room_config(api.RoomConfiguration(agents=[agent]))
        return token.to_jwt()

    async def _publish(self, room: "rtc.Room") -> None:
        rtc = self._module()
        source = rtc.AudioSource(SPOKEN_HZ, 1, queue_size_ms=5 * FRAME_MS)
        track = rtc.LocalAudioTrack.create_audio_track("caller", source)
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
        await room.local_participant.publish_track(track, options)
        self._spawn(self._breathe(source))

    async def _breathe(self, source: "rtc.AudioSource") -> None:
        """Send what is said, else comfort noise; the source takes a frame only when it has room."""
        rtc = self._module()
        try:
            for noise in cycle(comfort_noise()):
                pcm = self._speech.popleft() if self._speech else noise
                await source.capture_frame(rtc.AudioFrame(pcm, SPOKEN_HZ, 1, SPOKEN_FRAME))
        finally:
            await source.aclose()

    def _note(self, **times: float) -> None:
        """Keep the first time of each name, and wake whoever waits."""
        fresh = {name: at for name, at in times.items() if getattr(self._times, name) is None}
        self._times = replace(self._times, **fresh)
        self._changed.set()

    async def _wait(self, happened: Callable[[], object], timeout_s: float, what: str) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                while not happened():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise CallFailed(f"no {what} in {timeout_s:g} s") from None

    async def _request(self, doing: Coroutine[Any, Any, object]) -> None:
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                await doing
        except TimeoutError:
            raise CallFailed(f"LiveKit did not answer in {REQUEST_TIMEOUT_S:g} s") from None

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _room_now(self) -> "rtc.Room":
        if self._connection is None or not self._connection.isconnected():
            raise CallFailed("there is no call")
        return self._connection

    def _module(self) -> Any:
        return self._rtc

    async def __aenter__(self) -> Self:
        try:
            await self.dial()
        except BaseException:
            await self.hang_up()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.hang_up()


def _gateway_attributes(
    *, dialed: str, caller: str, trunk_id: str, hidden: bool, outbound: bool
) -> dict[str, str]:
    """Return what LiveKit's SIP gateway puts on its participant at the moment it joins."""
    number, far = ("", "") if hidden else (dialed, caller)
    attributes = caller_attributes(number=number, caller=far, trunk_id=trunk_id)
    if hidden:
        del attributes["sip.hostname"]
    if outbound:
        del attributes["sip.ruleID"]
        return attributes | {"sip.callStatus": "dialing"}
    return attributes | _tags()


def _tags() -> dict[str, str]:
    """Return what SIP itself calls a call."""
    return {
        "sip.callIDFull": f"{secrets.token_hex(8)}@127.0.0.1",
        "sip.callTag": secrets.token_hex(8),
    }


def _is_agent(participant: "rtc.RemoteParticipant") -> bool:
    from livekit import rtc  # loaded when the phone dialed

    return participant.kind == rtc.ParticipantKind.PARTICIPANT_KIND_AGENT


def livekit_rtc() -> ModuleType:
    """Load livekit.rtc.

    Raises:
        SetupFailed: it is not installed.
    """
    try:
        from livekit import rtc  # comes with an extra, and is slow
    except ImportError as exc:
        raise SetupFailed(
            "the phone needs livekit.rtc, which comes with the extra `agent`: "
            "pip install 'persona-router[agent]'"
        ) from exc
    return rtc
