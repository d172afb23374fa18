"""Admins manage hooks; nobody else sees them."""

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes_personas import until
from tests.hook_receiver import Receiver
from tests.router.api.rig import Rig, open_rig

URL = "https://crm.example.org/hooks/0123456789"


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with open_rig(tmp_path, hook_private_hosts="127.0.0.1") as rig:
        yield rig


async def test_a_hook_is_made_with_a_secret_that_is_shown_once(rig: Rig) -> None:
    admin = await rig.token("admin")
    async with rig.client() as client:
        wanted = {"url": URL, "events": ["call.ended"], "note": "CRM"}
        made = await client.post("/api/hooks", json=wanted, headers=admin)
        hook = made.json()
        listed = await client.get("/api/hooks", headers=admin)
        other = await client.post(f"/api/hooks/{hook['id']}/secret", headers=admin)
        changed = await client.patch(
            f"/api/hooks/{hook['id']}", json={"disabled": True, "note": "old"}, headers=admin
        )
        disabled = await client.get("/api/hooks", headers=admin)
        removed = await client.delete(f"/api/hooks/{hook['id']}", headers=admin)
        deeds = await client.get("/api/audit", headers=admin)

    assert made.status_code == 201
    assert hook["secret"].startswith("whsec_")
    assert other.json()["secret"].startswith("whsec_")
    assert "whsec_" not in listed.text
    [shown] = listed.json()["items"]
    assert (shown["url"], shown["events"], shown["disabled_at"]) == (URL, ["call.ended"], None)
    assert (changed.status_code, removed.status_code) == (204, 204)
    assert disabled.json()["items"][0]["disabled_because"] == "operator"
    did = [deed["did"] for deed in deeds.json()["items"]]
    assert did == ["hook.removed", "hook.changed", "hook.secret_rotated", "hook.added"]
    assert "crm.example.org" not in deeds.text


async def test_a_running_router_tells_and_tells_again(rig: Rig) -> None:
    admin = await rig.token("admin")
    number = {"number": "+13125550123"}
    async with rig.client() as client, Receiver() as receiver:
        made = (await client.post("/api/hooks", json={"url": receiver.url}, headers=admin)).json()
        await client.post("/api/dnc", json=number, headers=admin)
        await until(lambda: len(receiver.told) == 1)
        await rig.services.notifier.settled()
        page = await client.get("/api/hooks/notices?state=delivered", headers=admin)
        [notice] = page.json()["items"]
        once = await client.post(f"/api/hooks/notices/{notice['id']}/replay", headers=admin)
        await until(lambda: len(receiver.told) == 2)
        await rig.services.notifier.settled()
        times = {"since": time.time() - 60, "delivered_too": True}
        path = f"/api/hooks/{made['id']}/replay"
        ranged = await client.post(path, json=times, headers=admin)
        await until(lambda: len(receiver.told) == 3)
        as_csv = await client.get("/api/hooks/notices?format=csv", headers=admin)

    assert once.status_code == 204
    assert ranged.json() == {"replayed": 1}
    assert {told.webhook_id for told in receiver.told} == {notice["event_id"]}
    assert all(told.is_signed_with(made["secret"]) for told in receiver.told)
    assert receiver.told[0].document["data"]["number"] == number["number"]
    assert as_csv.text.splitlines()[0].startswith("id,hook_id,event_id,type")


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("POST", "/api/hooks", {"url": "ftp://x"}, 422, "bad_url"),
        ("POST", "/api/hooks", {"url": "http://169.254.169.254/"}, 422, "address_refused"),
        ("POST", "/api/hooks", {"url": URL, "events": ["call.begun"]}, 422, "bad_body"),
        ("POST", "/api/hooks", {"url": URL, "events": []}, 422, "bad_body"),
        ("PATCH", "/api/hooks/x", {"disabled": True}, 404, "no_such_hook"),
        ("PATCH", "/api/hooks/x", {"url": "http://[::1]/"}, 422, "address_refused"),
        ("DELETE", "/api/hooks/x", None, 404, "no_such_hook"),
        ("POST", "/api/hooks/x/secret", None, 404, "no_such_hook"),
        ("POST", "/api/hooks/x/replay", {"since": 0}, 404, "no_such_hook"),
        ("POST", "/api/hooks/notices/1/replay", None, 404, "no_such_notice"),
        ("POST", "/api/hooks/notices/x/replay", None, 404, "no_such_notice"),
        ("GET", "/api/hooks/notices?cursor=x", None, 422, "bad_cursor"),
    ],
)
async def test_what_cannot_be_done_says_why(
    rig: Rig, *, method: str, path: str, body: object, status: int, code: str
) -> None:
    async with rig.client() as client:
        answer = await client.request(method, path, json=body, headers=await rig.token("admin"))

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.json()["fix"]


async def test_another_tenant_sees_and_changes_nothing(rig: Rig) -> None:
    ours, theirs = await rig.token("admin"), await rig.token("admin", "acme")
    async with rig.client() as client:
        hook = (await client.post("/api/hooks", json={"url": URL}, headers=ours)).json()
        seen = await client.get("/api/hooks", headers=theirs)
        rotated = await client.post(f"/api/hooks/{hook['id']}/secret", headers=theirs)

    assert seen.json()["items"] == []
    assert rotated.status_code == 404
