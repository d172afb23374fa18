"""What callers, leads, personas and operators write is run by no browser, on no page."""

import csv
import io
import time
from functools import partial
from urllib.parse import quote, urlsplit

import pytest
from playwright.async_api import Browser, ConsoleMessage, Dialog, Request

from personas.model import Persona
from personas.reports import Fact, Turn
from router.campaigns.model import read_campaign
from router.errors import CampaignRefused
from router.principals import Principal
from router.records.journal import Delivered
from router.records.snapshots import Snapshots
from tests.browser.conftest import Site
from tests.router.api.rig import Rig
from tests.router.dashboard.rig import ENDED, conversation, more, told
from tests.router.dashboard.test_hostile import PAYLOADS

WHOLE = "a" * 32
AT_ONCE = 50
SAFE = """() => [...document.scripts].every(one => one.src.startsWith(location.origin + '/assets/'))
  && ![...document.querySelectorAll('*')].some(
    one => [...one.attributes].some(attribute => attribute.name.startsWith('on')))
  && !document.querySelector('iframe, base, object, embed, meta[http-equiv]')
  && [...document.links].every(one => one.origin === location.origin)"""


async def furnish(rig: Rig) -> str:
    """Put every payload into every field that takes it; return the address of a persona's diff."""
    services, now = rig.services, time.time()
    for number, text in enumerate(PAYLOADS[::6]):
        await told(rig, f"h{number}", *conversation(text), ENDED, at=now - 900, text=text)
    await told(rig, WHOLE, at=now - 60)
    for first in range(0, len(PAYLOADS), AT_ONCE):
        said = [Turn(by="caller", text=text) for text in PAYLOADS[first : first + AT_ONCE]]
        facts = [
            Fact(id=f"f{first}-{place}", category=turn.text, information=turn.text)
            for place, turn in enumerate(said)
        ]
        await more(rig, WHOLE, [*said, *facts], at=now - 30, first=2 + 2 * first)
    versions = []
    for number, text in enumerate(("before", "\n".join(PAYLOADS))):
        persona = Persona.from_document({"personality": text, "persona_name": PAYLOADS[number]})
        write = partial(Snapshots(services.store, clock=time.time).write, persona=persona)
        await services.store.write(write)
        spoke = conversation()[0].model_copy(update={"version": persona.version})
        await told(rig, f"spoke{number}", spoke, ENDED, at=now - 40 + number)
        versions.append(persona.version)
    await _by_operators(rig, now)
    return f"/numbers/diff?before={quote(versions[0])}&version={quote(versions[1])}"


async def _by_operators(rig: Rig, now: float) -> None:
    services = rig.services
    rows = io.StringIO()
    writer = csv.writer(rows)
    writer.writerow(["phone", "prospect_name", "notes", "company"])
    for number, text in enumerate(PAYLOADS):
        phone = f"+1312555{number:04}" if number % 3 else text
        writer.writerow([phone, text, text, text])
    await services.leads.add("default", "hostile.csv", rows.getvalue().encode())
    await services.leads.select("default", "hostile.csv")
    accounts = services.access.accounts
    by = Principal(who="test", tenant="default", role="admin")
    for number, text in enumerate(PAYLOADS[::6]):
        await accounts.add_token(text, "viewer", by=text)
        await accounts.note(by, "test.hostile", text)
        await services.do_not_call.add(f"+1312555{number:04}", source="api", reason=text)
        services.journal.note(Delivered(now, 200, "ignored", text))
        try:
            campaign = read_campaign(
                {"name": text[:100], "key": f"c{number}", "agent_text": text, "session_text": text}
            )
        except CampaignRefused:
            continue  # what is no line is no name
        await services.campaigns.add("default", campaign)
    for text in PAYLOADS[::20]:
        await services.hooks.add(f"https://crm.example.org/{text}", ["alert.raised"], note=text)
    assert await services.journal.write()


@pytest.mark.timeout(300)
async def test_three_hundred_payloads_run_on_no_page(browser: Browser, site: Site) -> None:
    diff = await furnish(site.rig)
    troubles: list[str] = []

    def asked(request: Request) -> None:
        url = urlsplit(request.url)
        if url.netloc != urlsplit(site.url).netloc or url.path == "/api/tokens":
            troubles.append(f"asked for {request.url}")

    def said(message: ConsoleMessage) -> None:
        if message.type == "error":  # an inline script that the policy stopped, too
            troubles.append(message.text)

    async def opened(dialog: Dialog) -> None:
        troubles.append(f"dialog {dialog.message}")
        await dialog.dismiss()

    context = await browser.new_context()
    await site.sign_in(context)
    context.on("request", asked)
    context.on("console", said)
    page = await context.new_page()
    page.on("dialog", opened)
    for path in (
        "/",
        "/calls?limit=500&numbers=clear",
        f"/calls?caller={quote(PAYLOADS[0])}",
        f"/calls/{WHOLE}?numbers=clear",
        "/calls/h0?numbers=clear",
        "/numbers?numbers=clear",
        diff,
        "/who?number=" + quote(PAYLOADS[6]),
        "/campaigns",
        "/campaigns/c0",
        "/leads",
        "/leads/hostile.csv?numbers=clear",
        "/dialer",
        "/dnc?numbers=clear&limit=500",
        "/webhooks?limit=500",
        "/hooks",
        "/settings",
        "/docs",
    ):
        await page.goto(site.url + path)

        assert urlsplit(page.url).path == urlsplit(path).path
        assert await page.evaluate(SAFE), path
        assert troubles == [], path
    await context.close()
