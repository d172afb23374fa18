"""A real call on the real server, looked at while it goes on."""

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, expect

from router.demo import binary
from router.demo.settings import DemoSettings
from tests.absent import absent
from tests.e2e.bed import Bed, open_bed

NUMBER = "13125550173"
PERSONAS = {
    NUMBER: {
        "persona_name": "Mira",
        "personality": "You are Mira, of the harbour hotel.",
        "welcome_message": "Harbour hotel, Mira speaking.",
    }
}
SOON_S = 2.0  # after the webhook
TRIES = 3  # calls, on a machine that is busy with other tests
ANSWER_S = 45.0
SHOWN_MS = 30_000


@pytest.fixture
async def bed(tmp_path: Path) -> AsyncIterator[Bed]:
    program = binary.find(DemoSettings.load())
    if program is None:
        absent("livekit-server", "`make test` builds it")
    settings = {"ROUTER_DEV": "1"}  # nobody has to sign in on this machine
    async with open_bed(tmp_path, program, personas=PERSONAS, router_settings=settings) as bed:
        yield bed


async def turns(page: Page) -> list[str]:
    return await page.locator(".turns li p").all_inner_texts()


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_a_call_appears_at_once_and_grows_while_it_is_spoken(
    browser: Browser, bed: Bed
) -> None:
    context = await browser.new_context()
    overview = await context.new_page()
    await overview.goto(bed.router.url)
    took: list[float] = []
    while not took or (min(took) > SOON_S and len(took) < TRIES):
        async with bed.phone(NUMBER) as caller:
            row = overview.locator("tr[data-row]:has(.tag.live) a")
            await row.wait_for(timeout=SHOWN_MS)
            appeared = time.time()
            call = await context.new_page()
            await call.goto(bed.router.url + str(await row.get_attribute("href")))
            began = await call.locator("dd time").first.get_attribute("datetime")
            took.append(appeared - await overview.evaluate("at => Date.parse(at) / 1000", began))

            await expect(call.locator(".turns").get_by_text("Mira speaking")).to_be_visible(
                timeout=SHOWN_MS
            )
            await caller.wait_for_words(timeout_s=ANSWER_S)
            await caller.say("Who are you?")
            await expect(call.locator(".turns .caller").get_by_text("Who are you?")).to_be_visible(
                timeout=SHOWN_MS
            )
            await expect(call.locator(".tag.live")).to_be_visible()  # it still goes on

            bed.router.kill()
            await caller.say("Are you still there?")
            await caller.wait_for_words(timeout_s=ANSWER_S, count=2)
            await bed.router.start()
            await expect(
                call.locator(".turns .caller").get_by_text("Are you still there?")
            ).to_be_visible(timeout=SHOWN_MS)
            await caller.hang_up()
        await expect(call.locator(".tag.live")).to_have_count(0, timeout=SHOWN_MS)
        heard = await turns(call)
        await call.reload()

        assert await turns(call) == heard
        assert len(set(heard)) == len(heard)
        await call.close()
        await expect(overview.locator(".tag.live")).to_have_count(0, timeout=SHOWN_MS)

    assert min(took) < SOON_S
    await context.close()
