"""Operators keep what people have agreed to, and what they took back."""

from pathlib import Path

import pytest

from tests.router.api.rig import open_rig

NUMBER = "+13125550123"
LIST = f"""phone,consent,consent_at,consent_source
{NUMBER},calls;recording,2026-01-02,form
+13125550124,calls,,form
12,calls,2026-01-02,form
"""


async def test_consent_is_given_listed_taken_back_and_imported(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig, rig.client() as client:
        operator, other = await rig.token("operator"), await rig.token("operator", "acme")
        wish = {"number": "(312) 555-0123", "source": "fair", "since": 100.0}
        given = await client.post("/api/consents", json=wish, headers=operator)
        taken = await client.delete("/api/consents", params={"number": NUMBER}, headers=operator)
        masked = await client.get("/api/consents", headers=operator)
        csv = {**operator, "Content-Type": "text/csv"}
        imported = await client.post("/api/consents/import", content=LIST, headers=csv)
        clear = await client.get(
            "/api/consents", params={"number": NUMBER, "numbers": "clear"}, headers=operator
        )
        theirs = await client.get("/api/consents", headers=other)
        deeds = await client.get("/api/audit", headers=await rig.token("admin"))

    assert (given.status_code, taken.status_code) == (204, 204)
    assert "5550123" not in masked.text + deeds.text
    assert imported.json() == {"kept": 2, "without": 1, "bad": 1}
    shown = {row["what"]: row for row in clear.json()["items"]}
    assert shown["calls"]["source"] == "form"
    assert shown["calls"]["withdrawn_at"] > shown["calls"]["since"] > 100.0
    assert shown["recording"]["withdrawn_at"] is None
    assert theirs.json()["items"] == []
    did = [deed["did"] for deed in deeds.json()["items"]]
    assert {"consent.given", "consent.withdrawn", "consent.imported"} <= set(did)


@pytest.mark.parametrize(
    ("method", "path", "content", "kind", "status", "code"),
    [
        (
            "POST",
            "/api/consents",
            b'{"number": "soon", "source": "x"}',
            "json",
            422,
            "number_unknown",
        ),
        ("POST", "/api/consents", b'{"number": "+13125550123"}', "json", 422, "bad_body"),
        ("DELETE", "/api/consents", b"", "json", 422, "bad_query"),
        ("GET", "/api/consents?cursor=x", b"", "json", 422, "bad_cursor"),
        ("POST", "/api/consents/import", b"{}", "json", 415, "not_csv"),
        ("POST", "/api/consents/import", b"a,b\n", "csv", 422, "no_phone_column"),
    ],
)
async def test_what_cannot_be_done_says_why(
    tmp_path: Path, *, method: str, path: str, content: bytes, kind: str, status: int, code: str
) -> None:
    of = {"json": "application/json", "csv": "text/csv"}
    async with open_rig(tmp_path) as rig, rig.client() as client:
        headers = await rig.token("operator") | {"Content-Type": of[kind]}
        answer = await client.request(method, path, content=content, headers=headers)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
