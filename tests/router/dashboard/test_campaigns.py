"""Campaigns on pages: made, changed, copied, put away, imported, and looked at before a launch."""

import re
from html import unescape

import httpx

from router.campaigns.model import read_campaign
from router.dashboard.campaign_form import changes_of, fields_of
from tests.router.api.rig import Rig
from tests.router.dashboard.rig import csrf_of, signed_in

MODULE = b"""
import os
os.abort()
ENHANCED_DEMANDIFY_CALLER_INSTRUCTIONS = "Be brief."
SESSION_INSTRUCTION = "Hello [Prospect Name] of [Company Name]."
"""
LEADS = (
    b"phone,prospect_name,resource_name,consent,consent_at,consent_source\n"
    b"+13125550101,Ann,Lakeside,calls,2026-01-01,form\n"
    b"+13125550102,Bo,Lakeside,,,\n"
    b"911,Cy,Lakeside,,,\n"
)


async def sent(client: httpx.AsyncClient, path: str, **fields: str) -> httpx.Response:
    csrf = csrf_of((await client.get("/campaigns")).text)
    return await client.post(path, data={"csrf": csrf, **fields})


def form_of(page: str) -> dict[str, str]:
    """Read what a browser would send back of the form that changes a campaign."""
    form = page.split('class="edit">')[1].split("</form>", maxsplit=1)[0]
    found = {}
    for tag in re.findall(r"<input[^>]*>", form):
        given = {name: unescape(value) for name, value in re.findall(r'(\w+)="([^"]*)"', tag)}
        if given.get("type") != "checkbox":
            found[given["name"]] = given.get("value", "")
        elif " checked" in tag:
            found[given["name"]] = "on"
    for name, text in re.findall(r'<textarea name="(\w+)"[^>]*>([^<]*)</textarea>', form):
        found[name] = unescape(text)
    return found


def test_the_fields_of_a_form_are_read_back_as_the_same_campaign() -> None:
    campaign = read_campaign(
        {
            "name": "Spring",
            "session_text": "Hello.\nBye.",
            "personas": [{"id": "mia", "weight": 3}, {"id": "two words"}],
            "retries": {"busy": {"times": 2, "after_s": 900}},
            "window": {"days": ["mon", "fri"], "opens": "09:30", "closes": "17:00"},
            "countries": ["DE", "US"],
            "budget_calls": 40,
            "budget_calls_per_day": 0,
            "budget_minutes": 1234567.5,
            "budget_minutes_per_day": 90,
            "recorded": True,
            "calls_per_second": 0.5,
            "tools": False,
        }
    )
    kept = {"key": campaign.key, "module": campaign.module}

    assert read_campaign(changes_of(fields_of(campaign)) | kept) == campaign


async def test_a_campaign_is_made_changed_copied_and_put_away_and_the_audit_knows(
    rig: Rig, client: httpx.AsyncClient
) -> None:
    made = await sent(client, "/campaigns", name="Spring <b>Sale</b>")
    page = await client.get(made.headers["location"])
    form = form_of(page.text) | {"session_text": "Hello [Prospect Name].", "day_sun": ""}
    form |= {"budget_minutes_per_day": "90,5", "budget_calls_per_day": "12", "recorded": "on"}
    changed = await client.post(f"{made.headers['location']}/change", data=form)
    again = await client.get(changed.headers["location"])
    copied = await sent(client, f"{made.headers['location']}/duplicate", name="Summer")
    put_away = await sent(client, f"{made.headers['location']}/archive", archived="true")
    listed = await client.get(put_away.headers["location"])
    away = await client.get("/campaigns?archived=true")

    assert made.headers["location"] == "/campaigns/spring-b-sale-b"
    assert "Spring &lt;b&gt;Sale" in page.text
    assert form_of(again.text)["session_text"] == "Hello [Prospect Name]."
    assert "day_sun" not in form_of(again.text)
    found = form_of(again.text)
    assert (found["budget_minutes_per_day"], found["budget_calls_per_day"]) == ("90.5", "12")
    assert found["recorded"] == "on"
    assert form_of(again.text)["day_sat"] == "on"
    assert copied.headers["location"] == "/campaigns/summer"
    assert "spring-b-sale-b" not in listed.text.split("<main")[1]
    assert "spring-b-sale-b" in away.text
    deeds = await rig.services.access.accounts.deeds("default")
    assert {deed.did for deed in deeds} == {
        "campaign.added",
        "campaign.changed",
        "campaign.archived",
    }


async def test_what_cannot_be_kept_comes_back_with_the_reason_and_what_was_typed(
    client: httpx.AsyncClient,
) -> None:
    await sent(client, "/campaigns", name="Spring")
    form = form_of((await client.get("/campaigns/spring")).text)
    typed = form | {"agent_text": "Be kind."}
    late = await client.post(
        "/campaigns/spring/change", data=typed | {"opens": "18:00", "closes": "09:00"}
    )
    word = await client.post("/campaigns/spring/change", data=typed | {"concurrency": "many"})
    long = await client.post("/campaigns/spring/change", data=typed | {"agent_text": "ä" * 60_001})

    assert [one.status_code for one in (late, word, long)] == [422, 422, 422]
    assert "opens has to be before closes" in late.text
    assert "concurrency: write a number" in word.text
    assert form_of(late.text)["agent_text"] == "Be kind."
    assert form_of((await client.get("/campaigns/spring")).text)["agent_text"] == ""


async def test_forms_need_their_token_and_viewers_are_offered_none(
    rig: Rig, client: httpx.AsyncClient
) -> None:
    forged = await client.post("/campaigns", data={"name": "Spring"})
    async with rig.client() as viewer:
        await signed_in(rig, viewer, "viewer")
        pages = [(await viewer.get(path)).text for path in ("/campaigns", "/campaigns/default")]

    assert forged.status_code == 403
    assert not any('action="/campaigns' in page for page in pages)
    assert all(
        one.campaign.key == "default" for one in await rig.services.campaigns.list("default")
    )


async def test_a_prompt_module_is_imported_and_not_run(client: httpx.AsyncClient) -> None:
    csrf = csrf_of((await client.get("/campaigns")).text)
    files = {"file": ("spring_sale.py", MODULE)}
    done = await client.post("/campaigns/import", data={"csrf": csrf}, files=files)
    page = (await client.get(done.headers["location"])).text
    forged = await client.post("/campaigns/import", files={"file": ("other.py", MODULE)})
    bad = await client.post(
        "/campaigns/import", data={"csrf": csrf}, files={"file": ("bad.py", b"x = 1")}
    )

    assert done.headers["location"] == "/campaigns/spring-sale"
    assert "Hello [Prospect Name] of [Company Name]." in page
    assert forged.status_code == 403
    assert (bad.status_code, "SESSION_INSTRUCTION" in bad.text) == (422, True)


async def test_the_launch_preview_counts_leads_by_cause_and_shows_a_script(
    rig: Rig, client: httpx.AsyncClient
) -> None:
    empty = (await client.get("/campaigns/default/launch")).text
    await rig.services.leads.add("default", "one.csv", LEADS)
    page = (await client.get("/campaigns/default/launch?list=one.csv&row=2")).text
    gone = await client.get("/campaigns/default/launch?list=two.csv")

    assert 'href="/leads"' in empty.split("<main")[1].split("</nav>")[1]
    assert "without consent" in page
    assert "it would take" in page
    assert "Hello Bo, this is an automated assistant" in page
    assert 'href="/leads/one.csv#bad"' in page
    assert gone.status_code == 404


async def test_lists_have_twins(client: httpx.AsyncClient) -> None:
    page = (await client.get("/campaigns")).text
    rows = (await client.get("/api/campaigns?format=csv")).text.splitlines()

    assert 'href="/api/campaigns?format=csv"' in page
    assert rows[0].startswith("key,name,origin,archived")
    assert rows[1].startswith("default,Default,builtin,false")
