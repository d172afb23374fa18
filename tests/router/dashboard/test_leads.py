"""Lists of leads and wishes not to be called, on pages."""

import httpx

from tests.router.api.rig import Rig
from tests.router.campaigns.test_workbook import workbook
from tests.router.dashboard.rig import begun, csrf_of, signed_in

ROWS = [f"+1312555{number:04},Person {number}," for number in range(100, 160)]
CSV = "\n".join(
    ["phone,prospect_name,note", "4.91E+11,Excel,x", "+13125550100,Ann,y", *ROWS, "12,Bo,=1+1"]
).encode()


async def uploaded(client: httpx.AsyncClient, raw: bytes = CSV, **fields: str) -> httpx.Response:
    csrf = csrf_of((await client.get("/leads")).text)
    files = {"file": ("../one two.csv", raw)}
    return await client.post("/leads", data={"csrf": csrf, **fields}, files=files)


async def test_an_upload_leads_to_its_report_and_its_leads_page_by_page(
    client: httpx.AsyncClient,
) -> None:
    done = await uploaded(client, select="on")
    page = (await client.get(done.headers["location"])).text
    older = page.split('" rel="next"')[0].rpartition('href="')[2].replace("&amp;", "&")
    last = (await client.get(older)).text
    clear = (await client.get(f"{done.headers['location']}?numbers=clear")).text
    listed = (await client.get("/leads")).text

    assert done.headers["location"] == "/leads/one%20two.csv"
    assert "excel number" in page
    assert "format the column as text" in page
    assert "Person 149" in page
    assert "Person 150" not in page
    assert "Person 159" in last
    assert "+13125550101" in clear
    assert "+13125550101" not in page
    assert 'href="/leads/one%20two.csv#bad">3</a>' in listed
    assert "active" in listed.split("<main")[1]


async def test_a_list_is_made_the_active_one_and_deleted_when_it_was_said_twice(
    rig: Rig, client: httpx.AsyncClient
) -> None:
    path = (await uploaded(client)).headers["location"]
    form = {"csrf": csrf_of((await client.get(path)).text)}
    await client.post(f"{path}/select", data=form)
    active = await rig.services.leads.find("default")
    unsure = await client.post(f"{path}/delete", data=form)
    sure = await client.post(f"{path}/delete", data=form | {"sure": "on"})

    assert active is not None
    assert active.name == "one two.csv"
    assert (unsure.status_code, sure.headers["location"]) == (422, "/leads")
    assert await rig.services.leads.lists("default") == []
    deeds = [deed.did for deed in await rig.services.access.accounts.deeds("default")]
    assert sorted(deeds) == ["leads.deleted", "leads.selected", "leads.uploaded"]


async def test_a_list_that_is_being_written_is_shown_with_how_far_it_is(
    rig: Rig, client: httpx.AsyncClient
) -> None:
    before = (await client.get("/leads")).text
    await begun(rig, "summer.csv", leads=2_000)
    during = (await client.get("/leads")).text

    assert "hx-get" not in before
    assert "is being imported, 0 of 2000 leads" in during
    assert 'hx-trigger="every 2s"' in during
    assert "No list yet" not in during


async def test_a_workbook_is_a_list_as_well(client: httpx.AsyncClient) -> None:
    page = (await client.get("/leads")).text
    raw = workbook(["phone", "prospect_name"], [13125550101, "Ann"], ["none", "Bo"])
    done = await uploaded(client, raw)
    shown = (await client.get(done.headers["location"])).text

    assert 'accept=".csv,text/csv,.xlsx"' in page
    assert "Ann" in shown
    assert "bad number" in shown


async def test_what_is_no_list_says_why_and_a_forged_form_does_nothing(
    rig: Rig, client: httpx.AsyncClient
) -> None:
    bad = await uploaded(client, b"name\nAnn\n")
    none = await client.post("/leads", data={"csrf": csrf_of((await client.get("/leads")).text)})
    forged = await client.post("/leads", files={"file": ("one.csv", CSV)})

    assert (bad.status_code, "one of them is phone" in bad.text) == (422, True)
    assert none.status_code == 415
    assert forged.status_code == 403
    assert await rig.services.leads.lists("default") == []


async def test_a_wish_is_added_found_removed_and_imported(
    rig: Rig, client: httpx.AsyncClient
) -> None:
    empty = (await client.get("/dnc")).text
    form = {"csrf": csrf_of(empty)}
    await client.post("/dnc", data=form | {"number": "(312) 555-0101", "reason": "<i>asked</i>"})
    await client.post("/dnc", data=form | {"number": "+13125550102", "campaign_id": "default"})
    page = (await client.get("/dnc")).text
    found = (await client.get("/dnc?number=312-555-0101&numbers=clear")).text
    await client.post(
        "/dnc/remove", data=form | {"number": "+13125550102", "campaign_id": "default"}
    )
    files = {"file": ("wishes.csv", b"number\n+13125550101\n+13125550103\nnone\n")}
    imported = (await client.post("/dnc/import", data=form, files=files)).text
    bad = await client.post("/dnc", data=form | {"number": "none"})

    assert "Nobody is on the list." in empty
    assert "3125550101" not in page
    assert "&lt;i&gt;asked" in page
    assert "+13125550101" in found
    assert "+13125550102" not in found
    listed = (await rig.services.do_not_call.page("default")).rows
    assert {one.number for one in listed} == {"+13125550101", "+13125550103"}
    assert "<b>1</b><span>numbers are new" in imported
    assert (bad.status_code, "DEFAULT_REGION" in bad.text) == (422, True)


async def test_viewers_see_lists_and_no_wishes(rig: Rig, client: httpx.AsyncClient) -> None:
    path = (await uploaded(client)).headers["location"]
    async with rig.client() as viewer:
        await signed_in(rig, viewer, "viewer")
        page, dnc = await viewer.get(path), await viewer.get("/dnc")
        clear = await viewer.get(f"{path}?numbers=clear")

    assert "Person 100" in page.text
    assert 'href="/dnc"' not in page.text
    assert '<form method="post" action="/leads' not in page.text
    assert (dnc.status_code, clear.status_code) == (403, 403)
