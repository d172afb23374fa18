"""The outbound leg: a real server, a real worker, and a stand-in for LiveKit's SIP service."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from livekit import api

from router.demo.livekit_server import LiveKitServer
from router.demo.phone import Phone
from router.demo.services import AgentProcess
from router.demo.settings import DemoSettings
from tests.fakes_sip import TRUNK, Callee, FakeSip, recorded

AGENT = "friday-ai-agent"
ANSWERS, BUSY, DECLINES, SILENT, AWAY, LOST, CUT = (f"+1312555010{digit}" for digit in range(7))
CALLEES = {
    ANSWERS: Callee("answered"),
    BUSY: Callee("busy"),
    DECLINES: Callee("decline"),
    SILENT: Callee("noanswer", rings_s=0.5),
    AWAY: Callee("unavailable"),
    LOST: Callee("lost"),
    CUT: Callee("cut"),
}
pytestmark = pytest.mark.asyncio(loop_scope="module")


class Line:
    """A server, a worker that dials, and whoever is dialed."""

    def __init__(self, livekit: LiveKitServer, sip: FakeSip, agent: AgentProcess) -> None:
        self.livekit = livekit
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


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def line(logs: Path, livekit_program: Path) -> AsyncIterator[Line]:
    folder = logs / "outbound"
    folder.mkdir()
    server = LiveKitServer(livekit_program, log_path=folder / "livekit-server.log")
    async with server as livekit, FakeSip(livekit, CALLEES) as sip:
        agent = AgentProcess(
            folder / "agent",
            livekit,
            environ=DemoSettings.load().environ,
            settings={"LIVEKIT_URL": sip.url, "SIP_TRUNK_ID": TRUNK, "AGENT_IDLE_PROCESSES": "2"},
        )
        async with agent:
            made = Line(livekit, sip, agent)
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
