"""Starting, pausing and stopping campaigns over HTTP, and as older clients do it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from router.campaigns.gate import GateVerdict
from router.records.attempts import Attempt
from tests.fakes_dialing import FakeLine
from tests.router.api.rig import Rig, open_rig

#: Nobody here has agreed to anything: the gate refuses each, whatever the time of the day.
CSV = b"phone,prospect_name\n+13125550100,Ann\n+13125550101,Ben\n"


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with open_rig(tmp_path) as rig:
        await rig.services.leads.add("default", "leads.csv", CSV)
        await rig.services.leads.select("default", "leads.csv")
        yield rig


@pytest.fixture
async def client(rig: Rig) -> AsyncIterator[httpx.AsyncClient]:
    async with rig.client() as client:
        client.headers.update(await rig.token("operator"))
        yield client


async def until(client: httpx.AsyncClient, path: str, **wanted: Any) -> dict[str, Any]:
    async with asyncio.timeout(20):
        while True:
            found: dict[str, Any] = (await client.get(path)).json()
            if all(found[name] == value for name, value in wanted.items()):
                return found
            await asyncio.sleep(0.02)  # the engine works beside us


async def test_a_campaign_runs_through_its_list_and_says_why_nobody_was_called(
    client: httpx.AsyncClient,
) -> None:
    started = await client.post("/api/campaigns/default/run", json={})
    assert (started.status_code, started.json()["leads"]) == (200, 2)

    done = await until(client, "/api/campaigns/default/status", state="idle")

    assert (done["counts"], done["because"]) == ({"refused": 2}, "the list is done")
    listed = (await client.get("/api/attempts?campaign=default&state=refused")).json()["items"]
    assert [(one["position"], one["because"]) for one in listed] == [
        (2, "no_consent"),
        (1, "no_consent"),
    ]
    assert "312555" not in str(listed)


@pytest.mark.parametrize("prefix", ["/api", "/api/agentic"])
async def test_older_clients_call_a_lead_by_its_index_with_a_form(
    client: httpx.AsyncClient, prefix: str
) -> None:
    idle = (await client.get(f"{prefix}/call/status")).json()
    assert (idle["ok"], idle["status"], idle["lead"]) == (True, "idle", None)

    started = await client.post(
        f"{prefix}/call/start", data={"index": "2", "campaign": "Default", "what": "ever"}
    )

    assert started.status_code == 200
    done = await until(client, f"{prefix}/call/status", status="idle")
    assert (done["campaign"], done["module"], done["because"]) == (
        "default",
        "default",
        "no_consent",
    )
    listed = (await client.get("/api/attempts?campaign=default")).json()["items"]
    assert [one["position"] for one in listed] == [2]
    assert (await client.post(f"{prefix}/call/stop")).json()["status"] == "idle"


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/api/campaigns/none/run", {}, 404, "no_such_campaign"),
        ("/api/campaigns/default/run", {"list": "none.csv"}, 404, "no_list"),
        ("/api/campaigns/default/run", {"position": 3}, 404, "no_lead"),
        ("/api/call/start", {"index": "soon"}, 422, "no_lead"),
        ("/api/call/start", {"index": 0}, 422, "no_lead"),
        ("/api/call/start", {"index": 1, "campaign": "none"}, 404, "no_such_campaign"),
        ("/api/campaigns/default/run", {"mode": "twice"}, 422, "bad_body"),
    ],
)
async def test_what_cannot_be_started_says_why(
    client: httpx.AsyncClient, path: str, body: dict[str, Any], status: int, code: str
) -> None:
    answer = await client.post(path, json=body)

    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_stopping_ends_the_call_that_goes_on(rig: Rig, client: httpx.AsyncClient) -> None:
    engine, found = rig.services.engine, await rig.services.leads.find("default")
    assert found is not None
    known = await rig.services.campaigns.find("default", "default")
    assert known is not None
    await engine.runs.start("default", "default", found, mode="next", position=2, by="test")
    [lead] = await rig.services.leads.page(found, limit=1)
    attempts = engine.attempts
    attempts._judge = allow  # what the gate says is not what this is about
    order = engine.order(known, lead, tenant="default", list_id=found.id)
    claimed = await attempts.claim(order)
    assert isinstance(claimed, Attempt)
    assert await attempts.dialing(claimed.attempt_id)

    line = FakeLine()
    line.show(claimed.room)
    engine.dialer.livekit = line

    going = (await client.get("/api/call/status")).json()
    assert (going["status"], going["lead"]["prospect_name"], going["lead_index"]) == (
        "running",
        "Ann",
        1,
    )
    stopped = (await client.post("/api/call/stop")).json()

    assert (stopped["status"], stopped["lead"]) == ("idle", None)
    ended = await attempts.find(claimed.attempt_id)
    assert ended is not None
    assert ended.state == "canceled"


async def test_pausing_and_stopping_is_written_into_the_audit(
    rig: Rig, client: httpx.AsyncClient
) -> None:
    found = await rig.services.leads.find("default")
    assert found is not None
    runs = rig.services.engine.runs
    await runs.start("default", "default", found, mode="all", position=0, by="test")

    await client.post("/api/campaigns/default/stop", json={"now": True})

    deeds = await rig.services.access.accounts.deeds("default")
    assert any("campaign.stopped" in str(one) for one in deeds)


def allow(*_: object) -> GateVerdict:
    return GateVerdict(True, "allowed")
