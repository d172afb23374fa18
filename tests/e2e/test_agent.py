"""The agent alone: a real server, a real worker process, callers that listen; no router."""

import asyncio
import time
from pathlib import Path

from livekit import api, rtc

from personas.sources.files import shipped
from router.demo.livekit_server import LiveKitServer
from tests.e2e.worker import (
    CALLER,
    PERSONA,
    WELCOME,
    Worker,
    agents_in,
    dispatch,
    events,
    is_calm,
    metadata,
    phone,
    until,
)
from tests.faults.stage import Line


async def test_the_caller_hears_the_persona_and_the_room_ends_with_the_call(
    livekit: LiveKitServer, worker: Worker, client: api.LiveKitAPI
) -> None:
    async with phone(livekit) as caller:
        await dispatch(client, caller.room, metadata())

        await caller.wait_for_audio(timeout_s=15)
        first = await caller.wait_for_words(timeout_s=15)
        await caller.say("Who are you?")
        await caller.wait_for_words(timeout_s=15, count=2, containing="harbour hotel.")
        agent = (await agents_in(client, caller.room))[0]
        hung_up_at = time.monotonic()

    rooms = [caller.room]
    while rooms and time.monotonic() - hung_up_at < 5:
        listed = await client.room.list_rooms(api.ListRoomsRequest(names=[caller.room]))
        rooms = [room.name for room in listed.rooms]
    assert first[0].text.strip() == WELCOME
    assert agent.attributes["persona.name"] == "Mira"
    assert agent.attributes["persona.version"] == PERSONA.version
    assert agent.attributes["persona.origin"] == "api"
    assert int(agent.attributes["persona.beat"]) >= 1
    assert agent.identity.startswith("agent-")
    assert not rooms
    await until(lambda: events(worker, "call.ended"))
    ended, applied = events(worker, "call.ended")[0], events(worker, "persona.applied")[0]
    assert ended["reason"] == "the caller hung up"
    assert ended["turns"] == 3
    assert applied["call_id"] == "c1"
    assert applied["version"] == PERSONA.version
    assert is_calm(worker)
    assert CALLER.lstrip("+") not in worker.log()
    assert "Harbour" not in worker.log()


async def test_two_dispatches_at_once_leave_one_agent(
    livekit: LiveKitServer, worker: Worker, client: api.LiveKitAPI
) -> None:
    async with phone(livekit) as caller:
        await asyncio.gather(
            dispatch(client, caller.room, metadata()), dispatch(client, caller.room, metadata())
        )

        await caller.wait_for_words(timeout_s=15)
        await until(lambda: events(worker, "election.lost"))
        await caller.wait_until(lambda p: len(p.agents_present) == 1, timeout_s=5, what="one agent")
        present = caller.agents_present

    assert len(present) == 1
    assert len(caller.utterances) == 1
    assert len(events(worker, "persona.applied")) == 1


async def test_a_later_attempt_takes_over(
    livekit: LiveKitServer, worker: Worker, client: api.LiveKitAPI
) -> None:
    async with phone(livekit) as caller:
        await dispatch(client, caller.room, metadata())
        await caller.wait_for_words(timeout_s=15)
        first = caller.agents_present[0]
        line = Line(caller)
        looking = asyncio.create_task(line.look())

        await dispatch(client, caller.room, metadata(attempt=2))
        await caller.wait_for_words(timeout_s=15, count=2)
        await caller.wait_until(
            lambda p: len(p.agents_present) == 1 and p.agents_present[0] != first,
            timeout_s=10,
            what="the second agent alone",
        )
        agent = (await agents_in(client, caller.room))[0]
        looking.cancel()

    assert line.most_at_once == 1  # the caller never heard two
    assert agent.attributes["persona.attempt"] == "2"
    # It gives way when it sees its successor, who puts it out if it is slow to see.
    await until(lambda: events(worker, "election.lost") or events(worker, "rival.removed"))
    second = agent.identity.removeprefix("agent-")
    await until(lambda: any(one["job_id"] == second for one in events(worker, "call.ended")))
    for ended in events(worker, "call.ended"):
        assert ended["job_id"] == second or ended["reason"] == "the room closed"
    assert is_calm(worker)


async def test_broken_metadata_is_answered_by_the_house_persona(
    livekit: LiveKitServer, worker: Worker, client: api.LiveKitAPI
) -> None:
    async with phone(livekit) as caller:
        await dispatch(client, caller.room, '{"personality": ')

        words = await caller.wait_for_words(timeout_s=15)

    assert words[0].text.strip() == (shipped("house").welcome_message or "").strip()
    applied = events(worker, "persona.applied")[0]
    assert applied["origin"] == "house"
    assert applied["problems"] == ["metadata_unreadable: job metadata is not JSON: house persona"]


async def test_a_caller_may_bring_a_greeting_of_their_own(
    livekit: LiveKitServer, worker: Worker, client: api.LiveKitAPI
) -> None:
    token = (
        api.AccessToken(livekit.api_key, livekit.api_secret)
        .with_identity("web-caller")
        .with_metadata('{"custom_greeting": "Welcome back, Ruth."}')
        .with_grants(api.VideoGrants(room_join=True, room="greeted"))
    )
    said: asyncio.Queue[str] = asyncio.Queue()
    reading: set[asyncio.Task[None]] = set()

    async def read(reader: rtc.TextStreamReader) -> None:
        await said.put(await reader.read_all())

    room = rtc.Room()
    room.register_text_stream_handler(
        "lk.transcription", lambda reader, _: reading.add(asyncio.create_task(read(reader)))
    )
    await room.connect(livekit.url, token.to_jwt())
    await dispatch(client, "greeted", metadata())
    async with asyncio.timeout(15):
        greeting = await said.get()
    await room.disconnect()

    assert greeting.strip() == "Welcome back, Ruth."
    await until(lambda: events(worker, "call.ended"))


async def test_an_agent_that_is_sent_after_the_caller_hung_up_does_not_stay(
    worker: Worker, client: api.LiveKitAPI
) -> None:
    await dispatch(client, "hung-up", metadata())

    await until(lambda: events(worker, "call.not_held"), timeout_s=15)
    assert events(worker, "call.not_held")[0]["reason"] == "nobody came"


async def test_a_campaign_call_that_livekit_cannot_dial_ends_with_a_disposition(
    worker: Worker, client: api.LiveKitAPI
) -> None:
    sample = Path(__file__).parents[1] / "samples" / "metadata" / "job_campaign_call.json"

    await dispatch(client, "campaign", sample.read_text(encoding="utf-8"))

    await until(lambda: events(worker, "outbound.failed"))
    assert events(worker, "outbound.failed")[0]["disposition"] in {"failed", "uncertain"}
