"""A campaign end to end: router, server, agent, and a stand-in for LiveKit's SIP service."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from router.access import operator_token
from router.demo.livekit_server import WEBHOOK_EVENTS, LiveKitServer
from router.demo.phone import Phone
from router.demo.services import AgentProcess, RouterProcess
from router.demo.settings import DemoSettings
from tests.fakes_sip import OWN_NUMBER, TRUNK, Callee, FakeSip

ANSWERS, BUSY, DECLINES, RINGS = (f"+1312555011{digit}" for digit in range(4))
CALLEES = {
    ANSWERS: Callee("answered"),
    BUSY: Callee("busy"),
    DECLINES: Callee("decline"),
    RINGS: Callee("noanswer", rings_s=60.0),
}
pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass
class Office:
    """Everything that a campaign needs, and whoever is called."""

    sip: FakeSip
    client: httpx.AsyncClient

    async def until(self, path: str, timeout_s: float = 60.0, **wanted: Any) -> dict[str, Any]:
        found: dict[str, Any] = {}
        async with asyncio.timeout(timeout_s):
            while not found or any(found[name] != value for name, value in wanted.items()):
                found = (await self.client.get(path)).json()
                await asyncio.sleep(0.1)  # what other processes do; there is no event
        return found

    async def upload(self, *numbers: str) -> None:
        """Make a list of these numbers the active one; where they live it is noon."""
        hour = datetime.now(UTC).hour
        offset = hour - 12
        zone = f"Etc/GMT{'+' if offset >= 0 else '-'}{abs(offset)}"
        rows = [f"{one},Ann {n},{zone},calls,2026-01-02,form" for n, one in enumerate(numbers)]
        head = "phone,prospect_name,timezone,consent,consent_at,consent_source"
        content = "\n".join([head, *rows]).encode()
        sent = await self.client.post("/api/csv/upload", files={"file": ("leads.csv", content)})
        assert sent.status_code == 200, sent.text
        await self.client.post("/api/csv/select", data={"name": "leads.csv"})

    async def callee(self, number: str) -> Phone:
        """Wait for the phone of *number*."""
        async with asyncio.timeout(60):
            while True:
                for one in self.sip.dialed:
                    if one.sip_call_to == number:
                        return await self.sip.phone_in(one.room_name)
                await asyncio.sleep(0.05)  # the stand-in tells of no number in particular

    async def attempts(self) -> list[dict[str, Any]]:
        answer = await self.client.get("/api/attempts?campaign=spring")
        items: list[dict[str, Any]] = answer.json()["items"]
        return items


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def office(logs: Path, livekit_program: Path) -> AsyncIterator[Office]:
    folder = logs / "campaigns"
    folder.mkdir()
    environ = DemoSettings.load().environ
    settings = {"DEFAULT_REGION": "US", "PACE_BY_LOAD": "false"}  # tests keep the machine busy
    router = RouterProcess(folder / "router", environ=environ, settings=settings)
    async with LiveKitServer(
        livekit_program,
        webhook_urls=[router.webhook_url],
        include_events=WEBHOOK_EVENTS,
        log_path=folder / "livekit-server.log",
    ) as livekit:
        router.connect(livekit)
        async with router, FakeSip(livekit, CALLEES) as sip:
            agent = AgentProcess(
                folder / "agent",
                livekit,
                environ=environ,
                settings={"LIVEKIT_URL": sip.url, "AGENT_IDLE_PROCESSES": "2"},
            )
            token = operator_token(livekit.api_secret, time.time())
            headers = {"Authorization": f"Bearer {token}"}
            async with (
                agent,
                httpx.AsyncClient(base_url=router.url, headers=headers, timeout=10) as client,
            ):
                made = await client.post(
                    "/api/campaigns",
                    json={
                        "name": "Spring",
                        "agent_text": "You call [Prospect Name].",
                        "session_text": "Hello [Prospect Name], this is an automated assistant.",
                        "trunk_id": TRUNK,
                        "caller_number": OWN_NUMBER,
                        "calls_per_second": 2,
                        "concurrency": 2,
                    },
                )
                assert made.status_code == 201, made.text
                yield Office(sip, client)


async def test_everybody_on_a_list_is_called_once_and_the_records_say_how_it_went(
    office: Office,
) -> None:
    await office.upload(ANSWERS, BUSY, DECLINES)

    started = await office.client.post("/api/campaigns/spring/run", json={})
    assert started.status_code == 200, started.text
    callee = await office.callee(ANSWERS)
    await callee.wait_for_words(timeout_s=30)
    going = (await office.client.get("/api/call/status")).json()
    await callee.hang_up()
    done = await office.until("/api/campaigns/spring/status", state="idle")

    assert (going["status"], going["lead"]["prospect_name"]) == ("running", "Ann 0")
    assert done["counts"] == {"answered": 1, "busy": 1, "declined": 1}
    [spoke] = [one for one in await office.attempts() if one["state"] == "answered"]
    assert spoke["heard"]["agent_seen_at"]
    assert spoke["heard"]["callee_seen_at"]
    requests = {one.sip_call_to: one for one in office.sip.dialed}
    assert len(office.sip.dialed) == len(requests) == 3
    for request in requests.values():
        assert request.participant_identity == request.room_name
        assert (request.sip_number, request.wait_until_answered) == (OWN_NUMBER, True)
    listed = (await office.client.get("/api/calls?campaign_id=spring")).json()["items"]
    assert sorted(one["disposition"] for one in listed) == ["answered", "busy", "declined"]
    assert {one["direction"] for one in listed} == {"outbound"}


async def test_a_phone_that_rings_stops_when_the_operator_ends_the_call(office: Office) -> None:
    await office.upload(RINGS)

    started = await office.client.post("/api/call/start", data={"index": 1, "campaign": "spring"})
    assert started.status_code == 200, started.text
    callee = await office.callee(RINGS)
    stopped = (await office.client.post("/api/call/stop")).json()

    assert stopped["status"] == "idle"
    await callee.wait_until(lambda one: one.times.ended_at, timeout_s=10, what="end")
    latest = (await office.attempts())[0]
    assert (latest["position"], latest["state"]) == (1, "canceled")
