"""Operators read and change who is not called."""

import pytest

from router.number_lists import MAX_BYTES
from tests.router.api.rig import Rig

NUMBER = "+13125550123"
CSV = {"Content-Type": "text/csv"}


async def test_a_number_is_added_shown_masked_and_removed(rig: Rig) -> None:
    operator, admin = await rig.token("operator"), await rig.token("admin")
    async with rig.client() as client:
        wish = {"number": "(312) 555-0123", "reason": f"never call {NUMBER}"}
        added = await client.post("/api/dnc", json=wish, headers=operator)
        again = await client.post("/api/dnc", json=wish, headers=operator)
        masked = await client.get("/api/dnc", headers=operator)
        clear = await client.get("/api/dnc?numbers=clear", headers=operator)
        removed = await client.delete("/api/dnc", params={"number": NUMBER}, headers=operator)
        missing = await client.delete("/api/dnc", params={"number": NUMBER}, headers=operator)
        deeds = await client.get("/api/audit", headers=admin)

    assert (added.json(), again.json()) == ({"added": True}, {"added": False})
    assert "5550123" not in masked.text
    (row,) = clear.json()["items"]
    assert (row["number"], row["scope"], row["source"]) == (NUMBER, "tenant", "api")
    assert (removed.status_code, missing.status_code) == (204, 404)
    assert missing.json()["code"] == "no_such_entry"
    did = [deed["did"] for deed in deeds.json()["items"]]
    assert did == ["dnc.removed", "numbers.revealed", "dnc.added", "dnc.added"]
    assert "5550123" not in deeds.text


async def test_a_list_goes_in_and_out_as_csv(rig: Rig) -> None:
    operator = await rig.token("operator")
    text = f"name,number\nRuth,{NUMBER}\nBen,+13125550124\nEva,soon\n"
    async with rig.client() as client:
        path = "/api/dnc/import"
        first = await client.post(path, content=text, headers=operator | CSV)
        shown = await client.get("/api/dnc?format=csv&numbers=clear", headers=operator)
        back = await client.post(path, content=shown.content, headers=operator | CSV)

    assert first.json() == {"added": 2, "known": 0, "bad": 1, "bad_lines": [4]}
    assert shown.text.splitlines()[0] == "number,scope,since,source,call_id,reason"
    assert back.json() == {"added": 0, "known": 2, "bad": 0, "bad_lines": []}


async def test_one_campaign_can_be_told_to_leave_a_number_alone(rig: Rig) -> None:
    operator = await rig.token("operator")
    async with rig.client() as client:
        wish = {"number": NUMBER, "campaign_id": "spring"}
        await client.post("/api/dnc", json=wish, headers=operator)
        of_campaign = await client.get("/api/dnc?campaign_id=spring", headers=operator)
        of_other = await client.get("/api/dnc?campaign_id=autumn", headers=operator)

    assert [row["scope"] for row in of_campaign.json()["items"]] == ["campaign:spring"]
    assert of_other.json()["items"] == []
    assert await rig.services.do_not_call.holds(NUMBER) is None


@pytest.mark.parametrize(
    ("method", "path", "content", "kind", "status", "code"),
    [
        ("POST", "/api/dnc", b'{"number": "soon"}', "application/json", 422, "number_unknown"),
        ("POST", "/api/dnc", b"{}", "application/json", 422, "bad_body"),
        ("DELETE", "/api/dnc", b"", "application/json", 422, "bad_query"),
        ("POST", "/api/dnc/import", b"{}", "application/json", 415, "not_csv"),
        ("POST", "/api/dnc/import", b"1" * (MAX_BYTES + 1), "text/csv", 413, "too_large"),
        ("GET", "/api/dnc?number=soon", b"", "application/json", 422, "number_unknown"),
        ("GET", "/api/dnc?cursor=x", b"", "application/json", 422, "bad_cursor"),
    ],
)
async def test_what_cannot_be_done_says_why(
    rig: Rig, *, method: str, path: str, content: bytes, kind: str, status: int, code: str
) -> None:
    headers = await rig.token("operator") | {"Content-Type": kind}
    async with rig.client() as client:
        answer = await client.request(method, path, content=content, headers=headers)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.json()["fix"]


async def test_only_an_admin_of_the_first_tenant_keeps_a_number_from_every_tenant(
    rig: Rig,
) -> None:
    wish = {"number": NUMBER, "everywhere": True}
    operator = await rig.token("operator")
    other, admin = await rig.token("admin", "acme"), await rig.token("admin")
    async with rig.client() as client:
        answers = [
            await client.post("/api/dnc", json=wish, headers=who)
            for who in (operator, other, admin)
        ]
        both = await client.post("/api/dnc", json={**wish, "campaign_id": "a"}, headers=admin)
        listed = await client.get("/api/dnc?everywhere=true", headers=admin)

    assert [one.status_code for one in (*answers, both)] == [403, 403, 200, 422]
    assert [row["scope"] for row in listed.json()["items"]] == ["everywhere"]
    assert await rig.services.do_not_call.holds(NUMBER, tenant="acme") is not None


async def test_another_tenant_has_another_list(rig: Rig) -> None:
    ours, theirs = await rig.token("operator"), await rig.token("operator", "acme")
    async with rig.client() as client:
        await client.post("/api/dnc", json={"number": NUMBER}, headers=ours)
        seen = await client.get("/api/dnc", headers=theirs)
        removed = await client.delete("/api/dnc", params={"number": NUMBER}, headers=theirs)

    assert seen.json()["items"] == []
    assert removed.status_code == 404
