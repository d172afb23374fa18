"""The agent alone: a real server, a real worker process, callers that listen; no router."""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest_asyncio
from livekit import api, rtc

from personas.contract import CallConfig, Origin, encode
from personas.model import Persona
from personas.sources.files import shipped
from router.demo.livekit_server import LiveKitServer
from router.demo.phone import Phone
from router.demo.processes import Child
from tests.faults.stage import Line

AGENT = "friday-ai-agent"
OWN_STALL_S = 0.05  # processor time of a stall from which on it is ours
DIALED = "+13125550100"
CALLER = "+13125550123"
WELCOME = "Harbour hotel, Mira speaking."
PERSONA = Persona.from_document(
    {
        "persona_name": "Mira",
        "personality": "You are Mira, the front desk of a harbour hotel.",
        "welcome_message": WELCOME,
        "closing_message": "Fair winds!",
        "language": "en",
    }
)


@asynccontextmanager
async def running_worker(livekit: LiveKitServer, folder: Path) -> AsyncIterator[Child]:
    """Run ``python -m agent`` until the block ends."""
    passed_on = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    worker = Child(
        "agent",
        [sys.executable, "-m", "agent"],
        log_path=folder / "agent.log",
        cwd=folder,
        env={
            **passed_on,
            "LIVEKIT_URL": livekit.url,
            "LIVEKIT_API_KEY": livekit.api_key,
            "LIVEKIT_API_SECRET": livekit.api_secret,
            "SPEECH": "offline",
            "AGENT_HEALTH_PORT": "0",
            "AGENT_IDLE_PROCESSES": "2",
        },
    )
    try:
        await worker.wait_until(
            lambda: "registered worker" in worker.log(), timeout_s=60, what="registration"
        )
        yield worker
    finally:
        await worker.stop()


@pytest_asyncio.fixture
async def worker(livekit: LiveKitServer, folder: Path) -> AsyncIterator[Child]:
    async with running_worker(livekit, folder) as running:
        yield running


@pytest_asyncio.fixture
async def client(livekit: LiveKitServer) -> AsyncIterator[api.LiveKitAPI]:
    made = api.LiveKitAPI(livekit.http_url, livekit.api_key, livekit.api_secret, failover=False)
    yield made
    await made.aclose()


def phone(livekit: LiveKitServer, **options: Any) -> Phone:
    server = (livekit.url, livekit.api_key, livekit.api_secret)
    return Phone(*server, dialed=DIALED, caller=CALLER, **options)


def metadata(persona: Persona = PERSONA, *, attempt: int = 1) -> str:
    origin = Origin(source="api", version=persona.version, because="the API answered")
    call = CallConfig(call_id="c1", room="r", origin=origin, attempt=attempt)
    return encode(persona, call, shipped("house")).text


async def dispatch(client: api.LiveKitAPI, room: str, text: str) -> None:
    request = api.CreateAgentDispatchRequest(agent_name=AGENT, room=room, metadata=text)
    async with asyncio.timeout(5):
        await client.agent_dispatch.create_dispatch(request)


async def agents_in(client: api.LiveKitAPI, room: str) -> list[api.ParticipantInfo]:
    async with asyncio.timeout(5):
        listed = await client.room.list_participants(api.ListParticipantsRequest(room=room))
    return [one for one in listed.participants if one.kind == api.ParticipantInfo.Kind.AGENT]


async def until(happened: Callable[[], Any], *, timeout_s: float = 10.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not happened():  # noqa: ASYNC110
            await asyncio.sleep(0.02)  # what another process wrote or did; there is no event


async def ended(worker: Child) -> int | None:
    await until(lambda: worker.exit_code is not None)
    return worker.exit_code


def events(worker: Child, name: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in worker.log().splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == name]


def is_calm(worker: Child) -> bool:
    """Whether the worker had nothing to complain about; what the machine kept waiting is not it."""
    lines = worker.log().splitlines()
    return all(line.startswith("{") for line in lines) and not [
        line
        for line in map(json.loads, lines)
        if line["level"] not in ("debug", "info") and not kept_waiting(line)
    ]


def kept_waiting(line: dict[str, Any]) -> bool:
    """Whether a stall of the event loop is the machine's doing: hardly any of it was ours."""
    stalled = str(line["event"]).startswith("event loop blocked")
    return stalled and float(line["cpu_time"]) < OWN_STALL_S


async def test_the_caller_hears_the_persona_and_the_room_ends_with_the_call(
    livekit: LiveKitServer, worker: Child, client: api.LiveKitAPI
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
    livekit: LiveKitServer, worker: Child, client: api.LiveKitAPI
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
    livekit: LiveKitServer, worker: Child, client: api.LiveKitAPI
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
    assert len(events(worker, "election.lost")) == 1
    await until(lambda: events(worker, "call.ended"))
    assert [line["job_id"] for line in events(worker, "call.ended")] == [
        agent.identity.removeprefix("agent-")
    ]
    assert is_calm(worker)


async def test_broken_metadata_is_answered_by_the_house_persona(
    livekit: LiveKitServer, worker: Child, client: api.LiveKitAPI
) -> None:
    async with phone(livekit) as caller:
        await dispatch(client, caller.room, '{"personality": ')

        words = await caller.wait_for_words(timeout_s=15)

    assert words[0].text.strip() == (shipped("house").welcome_message or "").strip()
    applied = events(worker, "persona.applied")[0]
    assert applied["origin"] == "house"
    assert applied["problems"] == ["metadata_unreadable: job metadata is not JSON: house persona"]


async def test_a_caller_may_bring_a_greeting_of_their_own(
    livekit: LiveKitServer, worker: Child, client: api.LiveKitAPI
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


async def test_a_worker_that_is_told_to_stop_lets_the_call_finish(
    livekit: LiveKitServer, worker: Child, client: api.LiveKitAPI
) -> None:
    async with phone(livekit) as caller:
        await dispatch(client, caller.room, metadata())
        await caller.wait_for_words(timeout_s=15)
        worker.send(signal.SIGTERM)
        await until(lambda: events(worker, "draining worker"))
        await caller.say("Who are you?")
        await caller.wait_for_words(timeout_s=15, count=2, containing="harbour hotel.")
        assert worker.exit_code is None, "it ended while a call was going on"

    assert await ended(worker) == 0
    assert events(worker, "worker.stopped")


async def test_a_second_signal_ends_a_worker_at_once(
    livekit: LiveKitServer, worker: Child, client: api.LiveKitAPI
) -> None:
    async with phone(livekit) as caller:
        await dispatch(client, caller.room, metadata())
        await caller.wait_for_words(timeout_s=15)
        worker.send(signal.SIGTERM)
        await until(lambda: events(worker, "draining worker"))
        worker.send(signal.SIGTERM)

        assert await ended(worker) == 0

    assert events(worker, "worker.forced")


async def test_an_agent_that_is_sent_after_the_caller_hung_up_does_not_stay(
    worker: Child, client: api.LiveKitAPI
) -> None:
    await dispatch(client, "hung-up", metadata())

    await until(lambda: events(worker, "call.not_held"), timeout_s=15)
    assert events(worker, "call.not_held")[0]["reason"] == "nobody came"


async def test_a_campaign_call_that_livekit_cannot_dial_ends_with_a_disposition(
    worker: Child, client: api.LiveKitAPI
) -> None:
    sample = Path(__file__).parents[1] / "samples" / "metadata" / "job_campaign_call.json"

    await dispatch(client, "campaign", sample.read_text(encoding="utf-8"))

    await until(lambda: events(worker, "outbound.failed"))
    assert events(worker, "outbound.failed")[0]["disposition"] in {"failed", "uncertain"}
