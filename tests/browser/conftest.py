"""Debian's chromium, and a router with a few calls that it looks at."""

import asyncio
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvicorn
from playwright.async_api import Browser, BrowserContext, async_playwright

from tests.absent import absent
from tests.router.api.rig import PASSWORD, Rig, open_rig
from tests.router.dashboard.rig import ENDED, conversation, rung, told

HOW = "as root on Debian: apt-get install chromium"
EMAIL = "ann@example.org"
OVER, RUNNING = "0123456789abcdef0123456789abcdef", "f" * 32


@dataclass(frozen=True, slots=True)
class Site:
    """A router that serves, and where."""

    rig: Rig
    url: str

    async def sign_in(self, context: BrowserContext) -> None:
        """Sign *context* in through the form."""
        page = await context.new_page()
        await page.goto(f"{self.url}/login")
        await page.fill("#email", EMAIL)
        await page.fill("#password", PASSWORD)
        await page.press("#password", "Enter")
        await page.wait_for_selector(".tiles")
        await page.close()


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    found = shutil.which("chromium")
    if found is None:
        absent("chromium", HOW)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=found, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield browser
        await browser.close()


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with open_site(tmp_path) as site:
        yield site


@asynccontextmanager
async def open_site(folder: Path) -> AsyncIterator[Site]:
    """Serve a router with two calls and an admin."""
    async with open_rig(folder) as rig:
        await rig.user(EMAIL, "admin")
        now = time.time()
        await told(rig, OVER, *conversation(), ENDED, at=now - 600)
        await rung(rig, OVER, now - 600)
        await told(rig, RUNNING, *conversation()[:3], at=now - 20)
        config = uvicorn.Config(rig.app, port=0, lifespan="off", log_config=None)
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve())
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.02)
        port = server.servers[0].sockets[0].getsockname()[1]
        try:
            yield Site(rig, f"http://127.0.0.1:{port}")
        finally:
            server.should_exit = True
            await serving
