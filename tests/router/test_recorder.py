"""Recordings: asked for by the call's agent, begun by LiveKit's Egress, seen in its webhooks."""

import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from livekit.protocol.egress import EgressInfo, RoomCompositeEgressRequest, StopEgressRequest

from personas.reports import CallReport, Closed, Event, Opened, numbered
from personas.tokens import call_token
from router.demo.persona_api import PersonaApi
from router.errors import DeliveryRefused
from router.events import sign, verify
from router.principals import Role
from tests.fakes_personas import document
from tests.router.test_app import Running, ringing, started
from tests.samples import KEY, SECRET

DID = "+13125550100"
S3 = {
    "recording_path": "{tenant}/{call_id}.ogg",
    "recording_s3_bucket": "calls",
    "recording_s3_access_key": "made-up",
    "recording_s3_secret": "made-up-too",
}


class Egress:
    """One call in a running router, whose LiveKit has a fake Egress."""

    def __init__(self, running: Running) -> None:
        self.running = running
        self.call_id = ""

    async def ring(self) -> None:
        await self.running.deliver(ringing())
        await self.running.services.store.flush()
        [request] = self.running.dispatched()
        self.call_id = json.loads(request.metadata)["_call"]["call_id"]

    async def ask(self) -> httpx.Response:
        return await self.running.client.post(
            f"/api/calls/{self.call_id}/tools/record_call",
            json={"arguments": {}},
            headers={"Authorization": f"Bearer {self._token()}"},
        )

    async def tell(self, *events: Event) -> None:
        made = [numbered(one, seq=n, attempt=1, at=time.time()) for n, one in enumerate(events, 1)]
        report = CallReport(call_id=self.call_id, events=tuple(made)).model_dump_json()
        headers = {"Authorization": f"Bearer {self._token()}"}
        answer = await self.running.client.post("/api/reports", content=report, headers=headers)
        assert answer.status_code == 200

    async def hear(self, name: str, **info: Any) -> None:
        egress = {"egressId": "EG_1", "roomName": "call-1", **info}
        content = json.dumps({"event": name, "id": f"EV_{name}", "egressInfo": egress}).encode()
        assert (await self.running.deliver(content)).status_code == 200
        await self.running.services.store.flush()

    async def shown(self, role: Role = "operator") -> dict[str, Any]:
        headers = await self._token_of(role)
        answer = await self.running.client.get(f"/api/calls/{self.call_id}", headers=headers)
        recording: dict[str, Any] = answer.json()["recording"]
        return recording

    def requests(self, method: str) -> list[bytes]:
        return [body for name, body, _ in self.running.livekit.asked if name == method]

    def _token(self) -> str:
        return call_token(self.call_id, SECRET.decode(), time.time())

    async def _token_of(self, role: Role) -> dict[str, str]:
        accounts = self.running.services.access.accounts
        _, shown = await accounts.add_token("test", role, by="test")
        return {"Authorization": f"Bearer {shown}"}


@pytest.fixture
async def egress(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Egress]:
    changed: dict[str, Any] = {"record": True, **S3} | getattr(request, "param", {})
    record = changed.pop("record")
    with PersonaApi({DID.removeprefix("+"): document(DID, record=record)}) as api:
        settings: dict[str, Any] = {
            "persona_api_base": api.url,
            "port": 8080,
        }
        async with started(tmp_path, **settings, **changed) as running:
            running.livekit.answers["StartRoomCompositeEgress"] = (
                200,
                EgressInfo(egress_id="EG_1").SerializeToString(),
            )
            found = Egress(running)
            await found.ring()
            yield found


async def test_a_recording_is_begun_once_and_livekit_tells_where_it_is(egress: Egress) -> None:
    first, again = await egress.ask(), await egress.ask()
    assert (first.status_code, again.status_code) == (200, 200)
    assert (await egress.shown())["state"] == "starting"

    await egress.hear("egress_started", status="EGRESS_ACTIVE", startedAt="1700000000000000000")
    assert (await egress.shown())["state"] == "active"
    await egress.hear(
        "egress_ended",
        status="EGRESS_COMPLETE",
        startedAt="1700000000000000000",
        endedAt="1700000060000000000",
        fileResults=[{"location": "https://calls.example.org/default/170000000012.ogg"}],
    )
    await egress.hear("egress_updated", status="EGRESS_ENDING")

    [raw] = egress.requests("StartRoomCompositeEgress")
    asked = RoomCompositeEgressRequest.FromString(raw)
    assert (asked.room_name, asked.audio_only) == ("call-1", True)
    [file] = asked.file_outputs
    assert file.filepath == f"default/{egress.call_id}.ogg"
    assert (file.s3.bucket, file.s3.secret) == ("calls", "made-up-too")
    recording = await egress.shown()
    assert recording["state"] == "complete"
    assert recording["location"] == "https://calls.example.org/default/170000000012.ogg"
    assert (recording["started_at"], recording["ended_at"]) == (1_700_000_000, 1_700_000_060)
    to_viewers = await egress.shown("viewer")
    assert to_viewers == recording | {"path": None, "location": None}


@pytest.mark.parametrize(
    ("egress", "status"),
    [({"record": False}, 404), ({"recording_path": ""}, 409)],
    indirect=["egress"],
)
async def test_nothing_is_recorded_that_was_not_asked_for(egress: Egress, status: int) -> None:
    answer = await egress.ask()

    assert answer.status_code == status
    assert egress.requests("StartRoomCompositeEgress") == []
    assert await egress.shown() is None


async def test_an_egress_that_is_away_costs_the_recording_and_not_the_call(egress: Egress) -> None:
    egress.running.livekit.answers["StartRoomCompositeEgress"] = (
        503,
        b'{"code": "unavailable", "msg": "no egress"}',
    )

    answer = await egress.ask()
    await egress.tell(Opened(direction="inbound"))

    assert answer.status_code == 409
    recording = await egress.shown()
    assert (recording["state"], recording["error"]) == ("failed", "unavailable")


async def test_what_outlasts_its_call_is_stopped_once(egress: Egress) -> None:
    await egress.ask()
    recorder = egress.running.services.recorder
    await recorder.turn()
    assert egress.requests("StopEgress") == []

    await egress.tell(Opened(direction="inbound"), Closed(reason="done", disposition="answered"))
    await recorder.turn()
    await recorder.turn()

    [raw] = egress.requests("StopEgress")
    assert StopEgressRequest.FromString(raw).egress_id == "EG_1"
    assert (await egress.shown())["state"] == "stopping"


async def test_an_egress_that_has_ended_by_itself_is_not_asked_again(egress: Egress) -> None:
    egress.running.livekit.answers["StopEgress"] = (412, b'{"code": "failed_precondition"}')
    await egress.ask()
    await egress.tell(Opened(direction="inbound"), Closed(reason="done", disposition="answered"))

    await egress.running.services.recorder.turn()
    await egress.running.services.recorder.turn()

    assert len(egress.requests("StopEgress")) == 1


@pytest.mark.parametrize("results", [["x"], [[]]])
def test_an_egress_that_makes_no_sense_is_refused(results: list[Any]) -> None:
    info = {"egressId": "EG_1", "fileResults": results}
    content = json.dumps({"event": "egress_ended", "id": "EV_1", "egressInfo": info}).encode()

    with pytest.raises(DeliveryRefused):
        verify(sign(content, 1_700_000_000, KEY, SECRET), content, 1_700_000_000, {KEY: SECRET})
