"""Attempts over HTTP: made if the gate allows it, ended, annotated, listed; of one's own tenant."""

import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from router.demo.deliveries import body
from router.events import sign
from tests.router.api.rig import Rig, open_rig
from tests.router.daytime import leads_csv
from tests.samples import KEY, SECRET

ANN, BO = "+13125550101", "+13125550102"


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with open_rig(tmp_path) as rig:
        await rig.services.leads.add("default", "one.csv", leads_csv(ANN, BO))
        await rig.services.leads.select("default", "one.csv")
        yield rig


@pytest.fixture
async def client(rig: Rig) -> AsyncIterator[httpx.AsyncClient]:
    async with rig.client() as client:
        client.headers.update(await rig.token("operator"))
        yield client


@pytest.mark.parametrize("base", ["/api", "/api/agentic"])
async def test_a_lead_is_called_with_another_persona_annotated_and_the_call_ended(
    client: httpx.AsyncClient, base: str
) -> None:
    made = await client.post(f"{base}/attempts", json={"lead": 2, "persona": "lakeside-dental"})
    path = f"{base}/attempts/{made.json()['attempt_id']}"
    twice = await client.post(f"{base}/attempts", json={"number": BO})
    noted = await client.patch(path, json={"note": "asked for prices"})
    ended = await client.post(f"{path}/end")
    (listed,) = (await client.get(f"{base}/attempts?numbers=clear&campaign=default")).json()[
        "items"
    ]

    assert made.status_code == 201
    assert BO not in made.text
    assert (twice.status_code, twice.json()["code"]) == (409, "being_called")
    assert noted.json()["note"] == "asked for prices"
    assert ended.status_code == 204
    assert (listed["number"], listed["position"]) == (BO, 2)
    assert listed["hang_up"] == "an operator hung up"
    assert listed["verdict"]["allowed"]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 422, "bad_body"),
        ({"number": ANN, "lead": 1}, 422, "bad_body"),
        ({"number": "none"}, 422, "not_a_number"),
        ({"number": "+13125550199"}, 409, "no_consent"),
        ({"lead": 3}, 404, "no_lead"),
        ({"lead": 1, "list": "two.csv"}, 404, "no_such_list"),
        ({"lead": 1, "campaign": "spring"}, 404, "no_such_campaign"),
    ],
)
async def test_who_cannot_be_called_is_not_and_the_answer_says_what_to_do(
    client: httpx.AsyncClient, body: dict[str, object], status: int, code: str
) -> None:
    answer = await client.post("/api/attempts", json=body)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.json()["fix"]


async def test_another_tenant_sees_and_ends_nothing(rig: Rig, client: httpx.AsyncClient) -> None:
    made = (await client.post("/api/attempts", json={"lead": 1})).json()["attempt_id"]
    theirs = await rig.token("operator", tenant="other")
    async with rig.client() as stranger:
        stranger.headers.update(theirs)
        shown = await stranger.get(f"/api/attempts/{made}")
        ended = await stranger.post(f"/api/attempts/{made}/end")
        noted = await stranger.patch(f"/api/attempts/{made}", json={"note": "x"})
        listed = await stranger.get("/api/attempts")

    assert [one.status_code for one in (shown, ended, noted)] == [404, 404, 404]
    assert listed.json()["items"] == []


async def test_what_livekit_delivers_of_a_calls_room_is_kept_with_the_attempt(
    rig: Rig, client: httpx.AsyncClient
) -> None:
    made = (await client.post("/api/attempts", json={"lead": 1})).json()["attempt_id"]
    content = body(room=f"out-{made}", room_sid="RM_1", attributes={}, kind="AGENT")
    headers = {"Authorization": sign(content, time.time(), KEY, SECRET)}

    answer = await client.post("/livekit-webhook", content=content, headers=headers)
    await rig.services.engine.turn()

    shown = (await client.get(f"/api/attempts/{made}")).json()
    assert answer.status_code == 200
    assert shown["heard"]["agent_seen_at"]
    assert shown["heard"]["left_as"] is None
