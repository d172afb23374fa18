"""The outbound leg: a real server, a real worker, and a stand-in for LiveKit's SIP service."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from livekit import api

from router.demo.livekit_server import LiveKitServer
from router.demo.phone import Phone
from router.demo.services import AgentProcess
from router.demo.settings import DemoSettings
from router.events import verify
from router.routing import Event
from tests.fakes_sip import TRUNK, Callee, FakeSip, recorded
from tests.samples import KEY, SECRET, deliveries

AGENT = "friday-ai-agent"
ANSWERS, BUSY, DECLINES, SILENT, AWAY, LOST, CUT, NOBODYS, LATE = (
    f"+1312555010{digit}" for digit in range(9)
)
CALLEES = {
    ANSWERS: Callee("answered"),
    BUSY: Callee("busy"),
    DECLINES: Callee("decline"),
    SILENT: Callee("noanswer", rings_s=0.5),
    AWAY: Callee("unavailable"),
    LOST: Callee("lost"),
    CUT: Callee("cut"),
    NOBODYS: Callee("no_such_number"),
    LATE: Callee("answered", rings_s=0.5, late_s=1.0),
}
pytestmark = pytest.mark.asyncio(loop_scope="module")


class Line:
    """A server, a worker that dials, and whoever is dialed."""

    def __init__(
        self, livekit: LiveKitServer, sip: FakeSip, agent: AgentProcess, told: list[Event]
    ) -> None:
        self.livekit = livekit
        self.told = told  # by LiveKit's webhooks
        self.sip = sip
        self.agent = agent
        self.client = api.LiveKitAPI(
            livekit.http_url, livekit.api_key, livekit.api_secret, failover=False
        )

    async def dispatch(self, room: str, job: Mapping[str, Any] | str) -> None:
        text = job if isinstance(job, str) else json.dumps(job)
        request = api.CreateAgentDispatchRequest(agent_name=AGENT, room=room, metadata=text)
        async with asyncio.timeout(5):
            await self.client.agent_dispatch.create_dispatch(request)

    async def rooms(self) -> set[str]:
        async with asyncio.timeout(5):
            listed = await self.client.room.list_rooms(api.ListRoomsRequest())
        return {room.name for room in listed.rooms}

    def events(self, name: str) -> list[dict[str, Any]]:
        lines = self.agent.log_path.read_text(encoding="utf-8").splitlines()
        parsed = [json.loads(line) for line in lines if line.startswith("{")]
        return [line for line in parsed if line["event"] == name]

    def phone(self, **options: Any) -> Phone:
        livekit = self.livekit
        return Phone(livekit.url, livekit.api_key, livekit.api_secret, **options)

    def dialed_into(self, room: str) -> int:
        return sum(request.room_name == room for request in self.sip.dialed)


@asynccontextmanager
async def hearing(told: list[Event]) -> AsyncIterator[tuple[str, dict[str, bytes]]]:
    """Take LiveKit's deliveries, once their keys are known; give the address, and the keys."""
    keys: dict[str, bytes] = {}

    async def take(request: web.Request) -> web.Response:
        body = await request.read()
        told.append(verify(request.headers["Authorization"], body, time.time(), keys))
        return web.Response()

    app = web.Application()
    app.router.add_post("/livekit-webhook", take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/livekit-webhook", keys
    await runner.cleanup()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def line(logs: Path, livekit_program: Path) -> AsyncIterator[Line]:
    folder = logs / "outbound"
    folder.mkdir()
    told: list[Event] = []
    async with (
        hearing(told) as (url, keys),
        LiveKitServer(
            livekit_program, webhook_urls=[url], log_path=folder / "livekit-server.log"
        ) as livekit,
        FakeSip(livekit, CALLEES) as sip,
    ):
        keys[livekit.api_key] = livekit.api_secret.encode()
        agent = AgentProcess(
            folder / "agent",
            livekit,
            environ=DemoSettings.load().environ,
            settings={"LIVEKIT_URL": sip.url, "SIP_TRUNK_ID": TRUNK, "AGENT_IDLE_PROCESSES": "2"},
        )
        async with agent:
            made = Line(livekit, sip, agent, told)
            yield made
            await made.client.aclose()


async def until(happened: Callable[[], Any], *, timeout_s: float = 20.0) -> Any:
    async with asyncio.timeout(timeout_s):
        while not (it := happened()):  # noqa: ASYNC110
            await asyncio.sleep(0.05)  # what another process writes; there is no event
    return it


def campaign_call(number: str, **changes: Any) -> dict[str, Any]:
    job = {"phone_number": number, "contactName": "Ruth Alder", "campaignPrompt": "Ask {name}."}
    return {**job, **changes}


@pytest.mark.parametrize(
    "row",
    recorded(),
    ids=[f"{r['case']}-{r['request']['wait_until_answered']}" for r in recorded()],
)
async def test_the_stand_in_answers_like_what_was_recorded(
    line: Line, row: Mapping[str, Any]
) -> None:
    case: Any = row["case"]
    number = "+13125550188"
    line.sip.callees[number] = Callee("answered" if case == "unknown_trunk" else case, rings_s=0.1)
    trunk = "ST_doesnotexist" if case == "unknown_trunk" else TRUNK
    room = f"conform-{case}-{row['request']['wait_until_answered']}"
    request = {**row["request"], "sip_trunk_id": trunk, "sip_call_to": number, "room_name": room}

    async with aiohttp.ClientSession() as session, asyncio.timeout(20):
        url = f"{line.sip.http_url}/twirp/livekit.SIP/CreateSIPParticipant"
        async with session.post(url, json=request) as answer:
            status, said = answer.status, await answer.json()

    expected = json.loads(row["body"])
    assert status == row["status"]
    assert said.keys() == expected.keys()
    assert said.get("meta") == expected.get("meta")
    assert (room in line.sip.phones) == (case != "unknown_trunk")


def came_and_left(events: Sequence[Event], room: str) -> list[Any]:
    """Say what deliveries told of the callee in a room: in LiveKit's words, without the values."""
    return [
        (event.name, who.left_because, sorted(who.attributes), who.attributes["sip.callStatus"])
        for event in events
        if event.room == room and (who := event.participant) is not None and who.kind == "SIP"
        if event.name in {"participant_joined", "participant_left"}
    ]


@pytest.mark.parametrize(
    "case", ["answered", "busy", "decline", "noanswer", "unavailable", "nobody_listening"]
)
async def test_the_stand_ins_callees_come_and_leave_like_what_was_recorded(
    line: Line, case: Any
) -> None:
    past = [
        verify(one.authorization, one.body, one.received_at, {KEY: SECRET})
        for one in deliveries("sip_outbound_deliveries")
    ]
    expected = came_and_left(past, f"rec-{case}-wait")
    number, room = "+13125550187", f"left-{case}"
    line.sip.callees[number] = Callee(case, rings_s=0.1)
    request = {"sip_trunk_id": TRUNK, "sip_call_to": number, "room_name": room}
    request |= {"participant_identity": "out-1"}

    async with aiohttp.ClientSession() as session, asyncio.timeout(20):
        url = f"{line.sip.http_url}/twirp/livekit.SIP/CreateSIPParticipant"
        async with session.post(url, json={**request, "wait_until_answered": True}) as answer:
            await answer.read()
        if case == "answered":
            await line.client.room.delete_room(api.DeleteRoomRequest(room=room))
    await until(lambda: len(came_and_left(line.told, room)) == len(expected))

    assert came_and_left(line.told, room) == expected


async def test_a_callee_who_says_nothing_is_greeted_once(line: Line) -> None:
    await line.dispatch("out-silent", campaign_call(ANSWERS))
    callee = await line.sip.phone_in("out-silent")

    said = await callee.wait_for_words(timeout_s=20)

    assert callee.identity == "out-1"
    assert len(said) == 1
    assert callee.times.active_at is not None
    assert said[0].began_at - callee.times.active_at > 2.0
    request = line.sip.dialed[-1]
    assert request.wait_until_answered
    assert request.ringing_timeout.seconds >= 80
    assert line.dialed_into("out-silent") == 1
    await callee.hang_up()


async def test_a_callee_who_speaks_first_is_answered_and_not_greeted(line: Line) -> None:
    await line.dispatch("out-speaks", campaign_call(ANSWERS))
    callee = await line.sip.phone_in("out-speaks")
    await callee.wait_until(lambda one: one.times.active_at, timeout_s=20, what="answer")
    await until(lambda: line.events("outbound.connected"))

    await callee.say("Who are you?")
    said = await callee.wait_for_words(timeout_s=20)
    await asyncio.sleep(3.0)  # longer than the silence after which it would have greeted

    assert len(said) == len(callee.utterances) == 1
    await callee.hang_up()


@pytest.mark.parametrize(
    ("number", "disposition", "sip_status"),
    [
        (BUSY, "busy", 486),
        (DECLINES, "declined", 603),
        (SILENT, "no_answer", None),
        (AWAY, "failed", 503),
        (CUT, "uncertain", None),
        (NOBODYS, "invalid_number", 404),
    ],
)
async def test_a_callee_who_is_not_reached_is_told_from_the_others_and_the_room_ends(
    line: Line, number: str, disposition: str, sip_status: int | None
) -> None:
    room = f"out-{disposition}"
    before = len(line.events("outbound.failed"))

    await line.dispatch(room, campaign_call(number))
    failed = await until(lambda: line.events("outbound.failed")[before:])

    assert (failed[0]["disposition"], failed[0]["sip_status"]) == (disposition, sip_status)
    async with asyncio.timeout(10):
        while room in await line.rooms():  # noqa: ASYNC110 - the server tells nobody
            await asyncio.sleep(0.05)
    assert line.dialed_into(room) == 1


async def test_when_livekits_answer_is_lost_whoever_picked_up_is_talked_to(line: Line) -> None:
    await line.dispatch("out-lost", campaign_call(LOST))
    callee = await line.sip.phone_in("out-lost")

    await callee.wait_for_words(timeout_s=25)

    assert line.dialed_into("out-lost") == 1
    await callee.hang_up()


async def test_when_livekits_answer_is_late_the_callee_is_talked_to_once(line: Line) -> None:
    await line.dispatch("out-late", campaign_call(LATE))
    callee = await line.sip.phone_in("out-late")

    said = await callee.wait_for_words(timeout_s=30)

    assert len(said) == 1
    assert line.dialed_into("out-late") == 1
    await callee.hang_up()


async def test_whoever_is_in_the_room_is_talked_to_and_not_dialed(line: Line) -> None:
    async with line.phone(caller=ANSWERS, outbound=True, room="out-there") as callee:
        await line.dispatch("out-there", campaign_call(ANSWERS))
        await callee.wait_for_agent(timeout_s=15)
        await callee.set_call_status("active")

        await callee.wait_for_words(timeout_s=20)

    assert line.dialed_into("out-there") == 0


async def test_a_later_attempt_looks_and_never_dials(line: Line) -> None:
    origin = {"source": "house", "version": "sha256:0", "because": "made up"}
    call = {"call_id": "c2", "room": "r", "origin": origin, "attempt": 2, "direction": "outbound"}

    await line.dispatch("out-again", {**campaign_call(ANSWERS), "_call": call})
    failed = await until(
        lambda: [one for one in line.events("outbound.failed") if "again" in one["because"]],
        timeout_s=40,
    )

    assert failed[0]["disposition"] == "uncertain"
    assert line.dialed_into("out-again") == 0


@pytest.mark.parametrize(
    ("job", "disposition"),
    [
        (campaign_call(ANSWERS, outbound_trunk_id="ST_doesnotexist"), "failed"),
        (campaign_call("call me"), "invalid_number"),
        (campaign_call("911"), "invalid_number"),
    ],
    ids=["unknown-trunk", "no-number", "too-short"],
)
async def test_what_cannot_be_dialed_is_refused_without_a_ring(
    line: Line, job: dict[str, Any], disposition: str, request: pytest.FixtureRequest
) -> None:
    room = f"out-{request.node.callspec.id}"
    before = len(line.events("outbound.failed"))

    await line.dispatch(room, job)
    failed = await until(lambda: line.events("outbound.failed")[before:])

    assert failed[0]["disposition"] == disposition
    assert room not in line.sip.phones


async def test_nothing_of_a_callee_is_in_the_log(line: Line) -> None:
    log = line.agent.log_path.read_text(encoding="utf-8")

    for secret in ("Ruth", "Alder", "3125550", "Ask "):
        assert secret not in log
    names = ("dispatch.received", "direction.detected", "outbound.started", "session.started")
    assert all(line.events(name) for name in names)
