"""Campaigns over HTTP, as we and as older clients ask for them."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.router.api.rig import Rig, open_rig


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    (tmp_path / "filed.yaml").write_text("name: From a file\n", encoding="utf-8")
    (tmp_path / "broken.yaml").write_text("name: [\n", encoding="utf-8")
    async with open_rig(tmp_path, campaigns_dir=tmp_path) as rig:
        yield rig


@pytest.fixture
async def client(rig: Rig) -> AsyncIterator[httpx.AsyncClient]:
    async with rig.client() as client:
        client.headers.update(await rig.token("operator"))
        yield client


async def keys(client: httpx.AsyncClient) -> dict[str, str]:
    items = (await client.get("/api/campaigns")).json()["items"]
    return {one["key"]: one["origin"] for one in items}


async def test_the_default_those_in_files_and_those_made_are_listed(
    client: httpx.AsyncClient,
) -> None:
    await client.post("/api/campaigns", json={"name": "Spring Sale", "tools": False})

    assert await keys(client) == {"default": "builtin", "filed": "file", "spring-sale": "made"}
    items = (await client.get("/api/campaigns")).json()["items"]
    assert [one["tools"] for one in items] == [True, True, False]


async def test_a_campaign_is_made_changed_copied_and_put_away(client: httpx.AsyncClient) -> None:
    made = await client.post("/api/campaigns", data={"name": "Spring", "concurrency": "3"})
    assert (made.status_code, made.json()["concurrency"]) == (201, 3)

    changed = await client.patch("/api/campaigns/spring", json={"session_text": "Hello."})
    copied = await client.post("/api/campaigns/spring/duplicate", json={"name": "Summer"})
    put_away = await client.post("/api/campaigns/spring/archive", json={})

    assert (changed.json()["session_text"], changed.json()["concurrency"]) == ("Hello.", 3)
    assert (copied.json()["key"], copied.json()["session_text"]) == ("summer", "Hello.")
    assert put_away.status_code == 204
    items = (await client.get("/api/campaigns")).json()["items"]
    assert [one["key"] for one in items if one["archived"]] == ["spring"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("POST", "", {"name": "Default"}, 409, "key_taken"),
        ("POST", "", {"name": "a", "concurrency": 0}, 422, "bad_body"),
        ("PATCH", "/default", {"name": "b"}, 409, "read_only"),
        ("PATCH", "/filed", {"name": "b"}, 409, "read_only"),
        ("PATCH", "/nothing", {"name": "b"}, 404, "no_such_campaign"),
        ("PATCH", "/one", {"concurrency": "many"}, 422, "invalid"),
        ("POST", "/nothing/archive", {}, 404, "no_such_campaign"),
        ("POST", "/nothing/duplicate", {"name": "b"}, 404, "no_such_campaign"),
    ],
)
async def test_what_cannot_be_done_says_why(
    client: httpx.AsyncClient,
    *,
    method: str,
    path: str,
    body: dict[str, object],
    status: int,
    code: str,
) -> None:
    await client.post("/api/campaigns", json={"name": "One"})

    answer = await client.request(method, f"/api/campaigns{path}", json=body)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.json()["fix"]


@pytest.mark.parametrize("base", ["/api", "/api/agentic"])
@pytest.mark.parametrize("kind", ["form", "multipart", "json"])
async def test_older_clients_make_list_and_change_campaigns(
    client: httpx.AsyncClient, base: str, kind: str
) -> None:
    def sent(fields: dict[str, str]) -> dict[str, object]:
        if kind == "multipart":
            return {"files": {name: (None, value) for name, value in fields.items()}}
        return {"data" if kind == "form" else "json": fields}

    legacy = f"{base}/campaigns/legacy"
    made = await client.post(
        f"{legacy}/create",
        **sent({"name": "Old", "agent_text": "A", "session_text": "S", "module": "old.prompts"}),  # type: ignore[arg-type]
    )
    changed = await client.post(
        f"{legacy}/update",
        **sent({"module": "old.prompts", "session_text": "T"}),  # type: ignore[arg-type]
    )
    listed = (await client.get(f"{legacy}/list")).json()

    assert made.json() == {"ok": True, "name": "Old", "module": "old.prompts", "key": "old"}
    assert changed.json()["ok"]
    assert listed["custom"] == [{"name": "Old", "module": "old.prompts"}]
    assert listed["builtin"][0] == {
        "name": "Default",
        "module": "default",
        "builtin": True,
        "key": "default",
    }
    items = (await client.get(f"{base}/campaigns")).json()["items"]
    assert [(one["agent_text"], one["session_text"]) for one in items if one["key"] == "old"] == [
        ("A", "T")
    ]


async def test_nobody_sees_or_changes_another_tenants_campaigns(
    rig: Rig, client: httpx.AsyncClient
) -> None:
    await client.post("/api/campaigns", json={"name": "One"})
    other = await rig.token("admin", tenant="other")

    listed = (await client.get("/api/campaigns", headers=other)).json()["items"]
    changed = await client.patch("/api/campaigns/one", json={"name": "x"}, headers=other)

    assert "one" not in [item["key"] for item in listed]
    assert changed.status_code == 404
