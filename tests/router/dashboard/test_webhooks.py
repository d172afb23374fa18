"""Deliveries for people and programs: lists, one of them, deciding again, lines to copy."""

import csv
import io
import shlex
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.router.api.rig import Rig, open_rig
from tests.router.dashboard.rig import CALLER, DIALED, csrf_of, rung, signed_in

CALL = "b" * 32


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with open_rig(tmp_path, public_url="https://router.example.org") as rig:
        await rung(rig, CALL)
        yield rig


async def test_a_list_has_filters_pages_and_twins_and_no_number(rig: Rig) -> None:
    async with rig.client() as client:
        headers = await rig.token("operator")
        every = await client.get("/api/deliveries", headers=headers)
        first = (await client.get("/api/deliveries?limit=1", headers=headers)).json()
        path = f"/api/deliveries?limit=1&cursor={first['next']}"
        second = (await client.get(path, headers=headers)).json()
        path = "/api/deliveries?verdict=dispatched&format=csv"
        (row,) = csv.DictReader(io.StringIO((await client.get(path, headers=headers)).text))
        viewer = await client.get("/api/deliveries", headers=await rig.token("viewer"))
        await signed_in(rig, client, "operator")
        page = (await client.get("/webhooks?verdict=dispatched")).text
        none = (await client.get("/webhooks?verdict=held")).text

    ids = [one["id"] for one in every.json()["items"]]
    assert [first["items"][0]["id"], second["items"][0]["id"]] == ids == sorted(ids, reverse=True)
    assert second["next"] is None
    assert (row["verdict"], row["call_id"], row["took_ms"]) == ("dispatched", CALL, "80.5")
    assert viewer.status_code == 403
    assert f'href="/webhooks/{row["id"]}"' in page
    assert "/api/deliveries?verdict=dispatched&amp;format=csv" in page
    assert "No delivery is like that." in none
    for number in (CALLER, DIALED):
        assert number[3:] not in every.text + page


async def test_a_delivery_is_shown_whole_and_can_be_decided_on_again(rig: Rig) -> None:
    async with rig.client() as client:
        headers = await rig.token("operator")
        items = (await client.get("/api/deliveries", headers=headers)).json()["items"]
        ids = {one["verdict"]: one["id"] for one in items}
        path = f"/api/deliveries/{ids['dispatched']}/replay"
        dry = (await client.post(path, json={}, headers=headers)).json()
        sent = (await client.post(path, json={"redrive": True}, headers=headers)).json()
        deeds = (await client.get("/api/audit", headers=await rig.token("admin"))).json()
        await signed_in(rig, client, "operator")
        url = f"/webhooks/{ids['dispatched']}"
        page = (await client.get(url)).text
        forged = await client.post(url, data={"redrive": "no", "csrf": "guessed"})
        replayed = await client.post(url, data={"redrive": "no", "csrf": csrf_of(page)})
        joined = (await client.get(f"/webhooks/{ids['ignored']}")).text

    assert {"source", "version"} <= set(dry["changed"])  # there is no persona API here
    assert (dry["now"]["number"], dry["redrive"]) == ("DE […20]", None)
    assert sent["redrive"]["outcome"] == "gone"
    assert deeds["items"][0]["did"] == "delivery.redriven"
    for shown in ("65 ms", "dispatched", "Send it again"):
        assert shown in page
    assert forged.status_code == 403
    assert "source" in replayed.text
    assert "Send it again" not in joined


async def test_the_lines_to_copy_are_commands_without_secrets(rig: Rig) -> None:
    async with rig.client() as client:
        await signed_in(rig, client, "operator")
        items = (await client.get("/api/deliveries?verdict=dispatched")).json()["items"]
        page = (await client.get(f"/webhooks/{items[0]['id']}")).text

    lines = [part.partition("</pre>")[0] for part in page.split("<pre id=")[1:]]
    trigger, curl = (
        shlex.split(line.partition(">")[2].replace("&#34;", '"').replace("&#39;", "'"))
        for line in lines
    )
    assert trigger[:3] == ["persona-router", "trigger", "participant_joined"]
    assert trigger[3:5] == ["--to", "https://router.example.org"]
    assert trigger[-4:] == ["--number", "$NUMBER", "--from", "$CALLER"]
    assert curl[:4] == [
        "curl",
        "-X",
        "POST",
        f"https://router.example.org/api/deliveries/{items[0]['id']}/replay",
    ]
    assert curl[-1] == '{"redrive": false}'
    assert "Authorization: Bearer $TOKEN" in curl


async def test_what_is_not_there_is_not_found(rig: Rig) -> None:
    async with rig.client() as client:
        headers = await rig.token("operator")
        for name in ("999", "x", "9" * 30, "-1"):
            answer = await client.get(f"/api/deliveries/{name}", headers=headers)
            assert answer.json()["code"] == "no_such_delivery"
