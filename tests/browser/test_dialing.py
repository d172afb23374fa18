"""An operator's way in a real browser: upload, report, preview, a call by a click, its end, a note.

Real are the router, livekit-server, and an agent in a process of its own; LiveKit's SIP service is
played at the Twirp edge.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from livekit import api
from playwright.async_api import Browser, Page, expect

from router.demo import binary
from router.demo.livekit_server import LiveKitServer
from router.demo.processes import free_port
from router.demo.services import AgentProcess
from router.demo.settings import DemoSettings
from router.records.archive import CallFilter, CallRecord
from router.records.outcomes import AttemptFilter, Outcomes
from tests.absent import absent
from tests.browser.conftest import EMAIL, Site
from tests.fakes_sip import TRUNK, Callee, FakeSip
from tests.router.api.rig import open_rig
from tests.router.daytime import leads_csv
from tests.router.serving import serving

ANSWERS, BUSY, UNWILLING = (f"+1312555010{digit}" for digit in range(3))
MORE = [f"+1312555{number:04}" for number in range(110, 130)]
PATIENCE_MS = 60_000


@dataclass(frozen=True, slots=True)
class Desk:
    """Everything that runs."""

    site: Site
    sip: FakeSip


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    program = binary.find(DemoSettings.load())
    if program is None:
        absent("livekit-server", "make setup")
    callees = {ANSWERS: Callee("answered", rings_s=1.0), BUSY: Callee("busy", rings_s=0.5)}
    callees |= {MORE[0]: Callee("busy", rings_s=0.5), MORE[1]: Callee("busy", rings_s=5.0)}
    async with AsyncExitStack() as stack:
        livekit = await stack.enter_async_context(
            LiveKitServer(program, log_path=tmp_path / "livekit-server.log")
        )
        sip = await stack.enter_async_context(FakeSip(livekit, callees))
        port = free_port()
        rig = await stack.enter_async_context(
            open_rig(
                tmp_path / "router",
                livekit_url=sip.url,
                livekit_api_key=livekit.api_key,
                livekit_api_secret=livekit.api_secret,
                sip_trunk_id=TRUNK,
                public_url=f"http://127.0.0.1:{port}",
            )
        )
        url = await stack.enter_async_context(serving(rig.app, port))
        await rig.user(EMAIL, "admin")
        await rig.services.do_not_call.add(UNWILLING, source="api")
        agent = AgentProcess(
            tmp_path / "agent",
            livekit,
            environ=DemoSettings.load().environ,
            settings={"LIVEKIT_URL": sip.url, "SIP_TRUNK_ID": TRUNK, "ROUTER_URL": url},
        )
        await stack.enter_async_context(agent)
        yield Desk(Site(rig, url), sip)


async def test_an_operator_uploads_leads_calls_the_first_ends_the_call_and_keeps_a_note(
    browser: Browser, desk: Desk, tmp_path: Path
) -> None:
    leads = tmp_path / "spring.csv"
    leads.write_bytes(leads_csv(ANSWERS, BUSY, UNWILLING, *MORE, "4.91E+11"))
    site = desk.site
    context = await browser.new_context()
    context.set_default_timeout(PATIENCE_MS)
    await site.sign_in(context)
    page = await context.new_page()

    report, preview = await uploaded(page, site, leads)

    await turned(page)
    await page.keyboard.press("Enter")  # the first one is highlighted
    await page.get_by_text("A real phone will ring.").wait_for()
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/dialer*")
    await page.locator("#live .tag.live", has_text="answered").wait_for()  # without a reload
    await (await desk.sip.phone_in(desk.sip.dialed[0].room_name)).wait_for_words(timeout_s=60)
    await page.get_by_role("button", name="End call").click()
    await page.get_by_text("Nobody is being called.").wait_for()

    await page.get_by_role("link", name="Note").click()
    await page.get_by_label("Note").fill("Wants <b>prices</b> by mail.")
    await page.get_by_label("Ended as").select_option("interested")
    await page.get_by_role("button", name="Keep").click()
    await page.wait_for_url("**/dialer?*at=2*")  # back, and the second one is highlighted
    await page.keyboard.press("Enter")  # not asked again
    await page.locator("#p2 .tag", has_text="busy").wait_for()
    await page.keyboard.press("Enter")
    await page.get_by_role("link", name="Back").wait_for()
    refused = await page.inner_text("main")
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/dialer?*at=4*")

    attempts = await Outcomes(site.rig.services.store).page(AttemptFilter(tenant="default"))
    third, second, first = attempts.rows
    assert "the spreadsheet has rounded the number" in report
    assert "do-not-call" in preview
    assert (first.number, first.note) == (ANSWERS, "Wants <b>prices</b> by mail.")
    assert (first.disposition, second.state, third.state) == ("interested", "busy", "refused")
    assert [request.sip_call_to for request in desk.sip.dialed] == [ANSWERS, BUSY]
    assert desk.sip.dialed[0].participant_identity == first.identity
    assert "does not want to be called" in refused
    record = await recorded(desk, first.attempt_id)
    assert (record.direction, record.campaign_id) == ("outbound", "default")

    await one_after_another(page)
    assert [request.sip_call_to for request in desk.sip.dialed[2:]] == MORE[:2]

    theirs = await sent_by_another_backend(desk)
    await page.goto(f"{site.url}/calls/{theirs.call_id}")
    assert (theirs.disposition, theirs.campaign_id, theirs.opened_by) == ("busy", "theirs", "agent")
    assert "outbound" in await page.inner_text("main")
    assert len(desk.sip.dialed) == 5
    await context.close()


async def uploaded(page: Page, site: Site, leads: Path) -> tuple[str, str]:
    """Upload a list through its form; return its report, and the preview of a launch."""
    await page.goto(f"{site.url}/leads")
    await page.set_input_files("input[type=file]", leads)
    await page.get_by_role("button", name="Upload").click()
    await page.wait_for_url("**/leads/spring.csv")
    report = await page.inner_text("#bad")
    await page.goto(f"{site.url}/campaigns/default/launch")
    return report, await page.inner_text("main")


async def turned(page: Page) -> None:
    """Go to the dialer, to its second page and back, by keys."""
    await page.keyboard.press("g")
    await page.keyboard.press("d")
    await page.wait_for_url("**/dialer")
    await page.keyboard.press("n")
    await page.wait_for_url("**/dialer?after=20")
    await page.keyboard.press("p")
    await page.get_by_role("button", name="Call now 1 Person 1").wait_for()


async def one_after_another(page: Page) -> None:
    """Have leads called by themselves, and stop while the second of them is."""
    await page.get_by_label("Campaign").select_option("default")
    await page.get_by_role("button", name="Choose").click()
    await page.get_by_label("Call the next one by itself").check()
    await page.get_by_role("button", name="Call now 4 Person 4").focus()
    await page.keyboard.press("Enter")
    await page.locator("#live h2 .tag", has_text="running").wait_for()
    await page.locator("#p4 .tag", has_text="busy").wait_for()
    await page.locator("#p5 .tag.live").wait_for()
    await page.get_by_role("button", name="Call now 20 Person 20").focus()
    await expect(page.get_by_role("button", name="Stop after current")).to_be_in_viewport()
    await page.get_by_role("button", name="Stop after current").click()
    await page.locator("#p5 .tag", has_text="busy").wait_for()
    await page.locator("#live h2 .tag", has_text="idle").wait_for()
    assert await page.get_by_label("Call the next one by itself").is_checked()


async def sent_by_another_backend(desk: Desk) -> CallRecord:
    """Dispatch an agent past the router, as a backend with a dialer of its own does."""
    settings = desk.site.rig.services.settings
    job = {"phone_number": BUSY, "contactName": "Ruth Alder", "campaignId": "theirs"}
    request = api.CreateAgentDispatchRequest(
        agent_name=settings.agent_to_dispatch, room="theirs-1", metadata=json.dumps(job)
    )
    secret = settings.livekit_api_secret.get_secret_value()
    async with api.LiveKitAPI(desk.sip.http_url, settings.livekit_api_key, secret) as client:
        await client.agent_dispatch.create_dispatch(request)
    which = CallFilter(tenant="default", campaign_id="theirs", is_open=False)
    async with asyncio.timeout(60):
        while not (page := await desk.site.rig.services.calls.page(which, None, 1)).rows:  # noqa: ASYNC110
            await asyncio.sleep(0.1)  # the agent reports it; there is no event
    return page.rows[0]


async def recorded(desk: Desk, call_id: str) -> CallRecord:
    """Wait for the record of a call to be closed."""
    async with asyncio.timeout(30):
        while True:
            record = await desk.site.rig.services.calls.get(call_id, "default")
            if record is not None and record.ended_at is not None:
                return record
            await asyncio.sleep(0.1)  # the agent reports it; there is no event
