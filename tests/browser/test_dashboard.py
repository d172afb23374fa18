"""The dashboard in a real browser: a call that goes on, keys, and what axe finds."""

import time
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, ConsoleMessage, Route

from personas.reports import Turn
from router.dashboard.alerts import MEANINGS
from tests.browser.conftest import OVER, RUNNING, Site, spoken
from tests.router.dashboard.rig import conversation, more, rung, told
from tests.router.dashboard.test_alerts import did

AXE = Path(__file__).parent / "vendored" / "axe.min.js"
PAGES = (
    "/",
    "/calls",
    f"/calls/{OVER}",
    f"/calls/{RUNNING}",
    "/campaigns",
    "/campaigns/default",
    "/campaigns/spring-check-ups",
    "/campaigns/spring-check-ups/launch",
    "/dialer?campaign=spring-check-ups",
    f"/attempts/{16:031}a",
    "/leads",
    "/leads/check-ups.csv",
    "/dnc?numbers=clear",
    "/who?number=101",
    "/numbers?numbers=clear",
    "/webhooks",
    "/webhooks/1",
    "/hooks",
    "/docs",
    "/system",
    "/settings",
)


async def test_an_open_overview_shows_a_new_call_and_an_open_call_its_next_words(
    browser: Browser, site: Site
) -> None:
    troubles: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            troubles.append(message.text)

    context = await browser.new_context()
    context.on("console", note)
    await site.sign_in(context)
    overview, call, webhooks = [await context.new_page() for _ in range(3)]
    await call.goto(f"{site.url}/calls/{RUNNING}")
    said = Turn(by="agent", text="Then I shall see you tomorrow at nine.")
    await more(site.rig, RUNNING, [said], at=time.time(), first=5)
    await call.get_by_text("see you tomorrow at nine").wait_for(timeout=15_000)

    await overview.goto(site.url)
    await told(site.rig, "e" * 32, *conversation(), at=time.time())
    await overview.locator(f'a[href="/calls/{"e" * 32}"]').first.wait_for(timeout=15_000)

    await webhooks.goto(f"{site.url}/webhooks")
    await rung(site.rig, "d" * 32)
    await webhooks.locator(f'a[href="/calls/{"d" * 32}"]').first.wait_for(timeout=15_000)
    await overview.reload()
    await overview.locator("#volume canvas").wait_for(timeout=15_000)
    await overview.locator("#rings canvas").wait_for(timeout=15_000)
    asked = await overview.evaluate(
        "performance.getEntriesByType('resource').filter(one => one.name.endsWith('/')).length"
    )

    hours, calls = await overview.evaluate("drawn.get('volume').data")
    assert all(hour % 3600 == 0 for hour in hours)
    assert sum(calls) == 3
    assert troubles == []
    assert asked < 10  # nobody asks again and again

    refused: list[str] = []

    async def refuse_once(route: Route) -> None:
        if refused:
            await route.continue_()
        else:
            refused.append(route.request.url)
            await route.fulfill(status=503)

    await overview.route(f"{site.url}/", refuse_once)
    await did(site.rig, "given_up", time.time())
    await overview.get_by_text(MEANINGS["given_up"].said).wait_for(timeout=30_000)
    assert refused == [f"{site.url}/"]
    await context.close()


async def test_keys_move_about_and_can_be_switched_off(browser: Browser, site: Site) -> None:
    context = await browser.new_context()
    await site.sign_in(context)
    page = await context.new_page()
    await page.goto(f"{site.url}/calls")

    await page.keyboard.press("j")
    await page.keyboard.press("j")
    await page.keyboard.press("Enter")
    await page.wait_for_url(f"**/calls/{OVER}")
    await page.keyboard.press("g")
    await page.keyboard.press("c")
    await page.wait_for_url("**/calls")
    await page.keyboard.press("/")
    await page.wait_for_function("document.activeElement.id === 'search'")
    await page.keyboard.press("Tab")
    await page.locator("h1").click()
    await page.keyboard.press("?")
    await page.locator("#keys-on").uncheck()
    await page.get_by_role("button", name="Close").click()
    await page.keyboard.press("?")

    assert not await page.locator("#sheet").is_visible()
    await context.close()


async def test_pages_can_be_read_without_scripts(browser: Browser, site: Site) -> None:
    context = await browser.new_context(java_script_enabled=False)
    await site.sign_in(context)
    page = await context.new_page()
    await page.goto(f"{site.url}/calls/{OVER}")

    assert "toothache" in await page.inner_text("main")
    assert "UTC" in await page.inner_text("main")
    await context.close()


@pytest.mark.timeout(300)  # two dozen pages, and axe is slow on a busy machine
async def test_axe_finds_nothing_on_any_page(browser: Browser, site: Site) -> None:
    context = await browser.new_context(bypass_csp=True)  # axe is injected
    page = await context.new_page()
    found: dict[str, Any] = {}

    async def look(path: str) -> None:
        await page.emulate_media(color_scheme="light")
        await page.goto(site.url + path)
        await page.add_script_tag(path=AXE)
        note(f"{path} light", await page.evaluate("axe.run()"))
        await page.emulate_media(color_scheme="dark")  # of which only the colors differ
        note(f"{path} dark", await page.evaluate("axe.run({runOnly: ['color-contrast']})"))

    def note(where: str, run: Any) -> None:
        for one in run["violations"]:
            found[f"{where} {one['id']}"] = [node["html"] for node in one["nodes"][:3]]

    await look("/login")
    await site.sign_in(context)
    for path in (*PAGES, await spoken(site.rig), "/calls/unknown"):
        await look(path)

    assert found == {}
    await context.close()
