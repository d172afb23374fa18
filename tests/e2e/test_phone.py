"""The phone and the server of the test bed, without router and agent."""

import asyncio
import json
import wave
from array import array
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from livekit import api, rtc

from router.demo.errors import CallFailed
from router.demo.livekit_server import LiveKitServer
from router.demo.phone import Phone

RECORDED = Path(__file__).parents[1] / "samples" / "livekit_deliveries.jsonl"
HZ = 24_000
TONE = array("h", (9000 if n % 60 < 30 else -9000 for n in range(HZ // 50))).tobytes()


def phone(server: LiveKitServer, **options: object) -> Phone:
    made = {"dialed": "+13125550101", **options}
    return Phone(server.url, server.api_key, server.api_secret, **made)  # type: ignore[arg-type]


def recorded_attributes(line: int) -> dict[str, str]:
    delivery = json.loads(RECORDED.read_text(encoding="utf-8").splitlines()[line - 1])
    found = json.loads(delivery["body"])["participant"]["attributes"]
    assert isinstance(found, dict)
    return found


@asynccontextmanager
async def agent(server: LiveKitServer, room: str) -> AsyncIterator[rtc.Room]:
    """A participant of kind AGENT that sounds a tone."""
    token = (
        api.AccessToken(server.api_key, server.api_secret)
        .with_identity("agent-AJ_test")
        .with_kind("agent")
        .with_grants(api.VideoGrants(room_join=True, room=room))
    )
    connection = rtc.Room()
    await connection.connect(server.url, token.to_jwt())
    source = rtc.AudioSource(HZ, 1, queue_size_ms=100)
    track = rtc.LocalAudioTrack.create_audio_track("voice", source)
    await connection.local_participant.publish_track(
        track, rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
    )

    async def sound() -> None:
        while True:
            await source.capture_frame(rtc.AudioFrame(TONE, HZ, 1, HZ // 50))

    sounding = asyncio.create_task(sound())
    try:
        yield connection
    finally:
        sounding.cancel()
        await asyncio.wait([sounding])
        await source.aclose()
        await connection.disconnect()


@pytest.mark.parametrize(
    ("options", "line"),
    [
        pytest.param({}, 2, id="inbound"),
        pytest.param({"hidden": True}, 9, id="hidden"),
        pytest.param({"outbound": True}, 32, id="outbound"),
    ],
)
async def test_livekit_sees_a_phone_as_it_sees_the_sip_gateway(
    livekit: LiveKitServer, options: dict[str, bool], line: int
) -> None:
    async with (
        phone(livekit, **options) as caller,
        api.LiveKitAPI(livekit.http_url, livekit.api_key, livekit.api_secret) as client,
    ):
        seen = await client.room.get_participant(
            api.RoomParticipantIdentity(room=caller.room, identity=caller.identity)
        )

    recorded = recorded_attributes(line)
    assert seen.kind == api.ParticipantInfo.Kind.SIP
    assert set(seen.attributes) == set(recorded)
    assert seen.attributes["sip.callStatus"] == recorded["sip.callStatus"]


async def test_an_agents_track_answers_the_call_and_its_sound_is_recorded(
    livekit: LiveKitServer, tmp_path: Path
) -> None:
    async with (
        phone(livekit) as caller,
        agent(livekit, caller.room),
        api.LiveKitAPI(livekit.http_url, livekit.api_key, livekit.api_secret) as client,
    ):
        await caller.wait_for_answer(timeout_s=10)
        await caller.wait_for_audio(timeout_s=10)
        seen = await client.room.get_participant(
            api.RoomParticipantIdentity(room=caller.room, identity=caller.identity)
        )
        caller.recording.save(tmp_path / "heard.wav")
        frames = len(caller.recording) // 2  # it grows on while the phone hears

    assert seen.attributes["sip.callStatus"] == "active"
    times = caller.times
    assert times.dialed_at is not None
    assert times.joined_at is not None
    assert times.agent_joined_at is not None
    assert times.track_subscribed_at is not None
    assert times.first_audio_at is not None
    assert times.dialed_at < times.joined_at < times.agent_joined_at
    assert times.agent_joined_at <= times.track_subscribed_at < times.first_audio_at
    assert caller.agents == ("agent-AJ_test",)
    with wave.open(str(tmp_path / "heard.wav")) as heard:
        assert heard.getnframes() == frames > 0


async def test_the_agents_transcription_is_heard_and_the_callers_words_arrive(
    livekit: LiveKitServer,
) -> None:
    words: asyncio.Queue[str] = asyncio.Queue()
    reading: set[asyncio.Task[None]] = set()

    async def keep(reader: rtc.TextStreamReader) -> None:
        await words.put(await reader.read_all())

    def on_text(reader: rtc.TextStreamReader, _identity: str) -> None:
        reading.add(asyncio.create_task(keep(reader)))

    async with phone(livekit) as caller, agent(livekit, caller.room) as connection:
        connection.register_text_stream_handler("lk.chat", on_text)
        await caller.wait_for_answer(timeout_s=10)

        await caller.say("Who is there?")
        writer = await connection.local_participant.stream_text(
            topic="lk.transcription", attributes={"lk.segment_id": "SG_1"}
        )
        await writer.write("This is ")
        await writer.write("Ann.")
        await writer.aclose()
        heard = await caller.wait_for_words(timeout_s=10, containing="Ann")

        assert await asyncio.wait_for(words.get(), timeout=10) == "Who is there?"
    assert [one.text for one in heard] == ["This is Ann."]
    assert caller.times.first_word_at == heard[0].began_at


async def test_a_phone_notices_that_the_room_is_gone(livekit: LiveKitServer) -> None:
    async with (
        phone(livekit) as caller,
        api.LiveKitAPI(livekit.http_url, livekit.api_key, livekit.api_secret) as client,
    ):
        await client.room.delete_room(api.DeleteRoomRequest(room=caller.room))

        await caller.wait_for_end(timeout_s=10)


async def test_a_wait_ends_with_an_error_that_says_what_did_not_come(
    livekit: LiveKitServer,
) -> None:
    async with phone(livekit) as caller:
        with pytest.raises(CallFailed, match=r"no agent in the room in 0\.1 s"):
            await caller.wait_for_agent(timeout_s=0.1)


async def test_a_caller_with_a_wrong_key_is_refused(livekit: LiveKitServer) -> None:
    stranger = Phone(livekit.url, "nobody", "x" * 40, dialed="+13125550101")

    with pytest.raises(CallFailed, match="LiveKit refused the caller"):
        await stranger.dial()
