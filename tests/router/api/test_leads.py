"""Lists of leads over HTTP, as older clients ask for them."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from router.campaigns.leads import MAX_BYTES
from tests.fakes_personas import until
from tests.router.api.rig import Rig, open_rig
from tests.router.campaigns.test_workbook import workbook

CSV = b"phone,prospect_name\n312 555 0101,Ann\n312-555-0101,Ann again\n+1 312 555 0102,=Bob\n"


async def sent(
    client: httpx.AsyncClient, raw: bytes = CSV, name: str = "one.csv", base: str = "/api"
) -> httpx.Response:
    return await client.post(f"{base}/csv/upload", files={"file": (name, raw)})


@pytest.fixture
async def client(rig: Rig) -> AsyncIterator[httpx.AsyncClient]:
    async with rig.client() as client:
        client.headers.update(await rig.token("operator"))
        yield client


@pytest.mark.parametrize("base", ["/api", "/api/agentic"])
async def test_a_list_is_uploaded_listed_selected_previewed_and_deleted(
    client: httpx.AsyncClient, base: str
) -> None:
    uploaded = (await sent(client, base=base)).json()
    assert (uploaded["ok"], uploaded["name"]) == (True, "one.csv")
    assert uploaded["report"] == [
        {
            "row": 3,
            "cause": "duplicate",
            "first_row": 2,
            "fix": "remove the row, or the other one with this number",
        }
    ]

    selected = await client.post(f"{base}/csv/select", data={"name": "one.csv"})
    assert selected.json() == {"ok": True, "name": "one.csv"}
    (listed,) = (await client.get(f"{base}/csv/list")).json()["files"]
    assert (listed["name"], listed["size"], listed["active"]) == ("one.csv", len(CSV), True)
    assert listed["mtime"] > 0

    asked = {"name": "one.csv", "limit": "1", "numbers": "clear"}
    shown = (await client.get(f"{base}/csv/preview", params=asked)).json()
    assert shown["columns"] == ["phone", "prospect_name"]
    assert shown["rows"] == [{"row": 2, "phone": "+13125550101", "prospect_name": "Ann"}]

    assert (await client.delete(f"{base}/csv/one.csv")).json()["ok"]
    assert (await client.delete(f"{base}/csv/one.csv")).status_code == 404


async def test_numbers_are_masked_for_who_does_not_ask_for_them(
    rig: Rig, client: httpx.AsyncClient
) -> None:
    await sent(client)
    viewer = await rig.token("viewer")

    asked = {"name": "one.csv"}
    shown = await client.get("/api/csv/preview", params=asked, headers=viewer)
    clear = await client.get(
        "/api/csv/preview", params={**asked, "numbers": "clear"}, headers=viewer
    )

    assert "3125550101" not in shown.text
    assert clear.status_code == 403


async def test_exports_hold_no_formulas_and_can_be_uploaded_again(
    client: httpx.AsyncClient,
) -> None:
    await sent(client)

    exported = await client.get("/api/csv/export", params={"name": "one.csv"})
    bad = await client.get("/api/csv/bad", params={"name": "one.csv"})
    again = (await sent(client, exported.content, "two.csv")).json()

    assert "'=Bob" in exported.text
    assert (again["leads"], again["bad"]) == (2, 0)
    assert "duplicate" in bad.text


async def test_a_path_is_not_a_name(client: httpx.AsyncClient) -> None:
    uploaded = await sent(client, name="../../etc/passwd")

    assert uploaded.json()["name"] == "passwd"
    for path in ("/api/csv/..%2Fpasswd", "/api/csv/%2e%2e"):
        assert (await client.delete(path)).status_code in (404, 405)


async def test_what_is_too_large_is_refused_while_it_comes(client: httpx.AsyncClient) -> None:
    a_little = await sent(client, bytes(MAX_BYTES + 1))
    much = await sent(client, bytes(MAX_BYTES + 200_000))

    assert [one.status_code for one in (a_little, much)] == [413, 413]


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"x", {"content-type": "text/csv"}, 415),
        (b"x", {"content-type": "multipart/form-data"}, 400),
        (b"--c\r\nrubbish", {"content-type": "multipart/form-data; boundary=b"}, 400),
        (b"--b--\r\n", {"content-type": "multipart/form-data; boundary=b"}, 422),
    ],
)
async def test_what_is_no_upload_is_refused(
    client: httpx.AsyncClient, content: bytes, headers: dict[str, str], status: int
) -> None:
    answer = await client.post("/api/csv/upload", content=content, headers=headers)

    assert answer.status_code == status
    assert answer.json()["fix"]


async def test_what_is_no_list_says_what_to_do(client: httpx.AsyncClient) -> None:
    answer = await sent(client, b"name\nAnn\n")

    assert (answer.status_code, answer.json()["code"]) == (422, "no_phone_column")


async def test_ten_uploads_a_minute_are_enough(client: httpx.AsyncClient) -> None:
    answers = [(await sent(client)).status_code for _ in range(11)]

    assert answers == [200] * 10 + [429]


async def test_another_tenants_lists_are_not_there(rig: Rig, client: httpx.AsyncClient) -> None:
    await sent(client)
    other = await rig.token("admin", tenant="other")
    name = {"name": "one.csv"}

    listed = await client.get("/api/csv/list", headers=other)
    answers = [
        await client.get("/api/csv/preview", params=name, headers=other),
        await client.get("/api/csv/export", params=name, headers=other),
        await client.get("/api/csv/bad", params=name, headers=other),
        await client.post("/api/csv/select", json=name, headers=other),
        await client.delete("/api/csv/one.csv", headers=other),
    ]

    assert listed.json() == {"files": []}
    assert [one.status_code for one in answers] == [404] * 5


async def test_lists_that_the_settings_name_are_read_at_start(tmp_path: Path) -> None:
    folder = tmp_path / "lists"
    folder.mkdir()
    (folder / "more.csv").write_bytes(b"phone\n+13125550103\n")
    (folder / "rubbish.csv").write_bytes(b"\0")
    (folder / "sheet.XLSX").write_bytes(workbook(["phone"], ["+13125550104"]))
    (folder / "~$sheet.xlsx").write_bytes(b"open in Excel")
    (folder / "notes.txt").write_bytes(b"phone\n+13125550105\n")
    (tmp_path / "main.csv").write_bytes(CSV)

    changed = {"leads_csv_path": tmp_path / "main.csv", "leads_csv_dir": folder}
    async with open_rig(tmp_path, **changed) as rig, rig.client() as client:
        headers = await rig.token("viewer")

        async def active() -> list[str]:
            files = (await client.get("/api/csv/list", headers=headers)).json()["files"]
            return [one["name"] for one in files if one["active"]]

        while not await active():  # the test's own deadline ends it
            await until(lambda: True)
        files = (await client.get("/api/csv/list", headers=headers)).json()["files"]

    listed = [("main.csv", 2), ("more.csv", 1), ("sheet.XLSX", 1)]
    assert [(one["name"], one["leads"]) for one in files] == listed
