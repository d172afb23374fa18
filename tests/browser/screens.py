"""Takes the pictures of docs/screens: every page, on a desk and on a phone, in both themes.

python -m tests.browser.screens
"""

import asyncio
import tempfile
from pathlib import Path
from typing import Final, Literal

from playwright.async_api import Browser, async_playwright

from tests.browser.conftest import OVER, Site, open_site, spoken

FOLDER: Final = Path(__file__).parents[2] / "docs" / "screens"
PAGES: Final = {
    "overview": "/",
    "calls": "/calls",
    "call": f"/calls/{OVER}",
    "dialer": "/dialer?campaign=spring-check-ups",
    "attempt": f"/attempts/{16:031}a",
    "campaigns": "/campaigns",
    "campaign": "/campaigns/spring-check-ups",
    "launch": "/campaigns/spring-check-ups/launch",
    "leads": "/leads",
    "lead-list": "/leads/check-ups.csv",
    "dnc": "/dnc",
    "who": "/who?number=%2B4930901820",
    "numbers": "/numbers?numbers=clear",
    "webhooks": "/webhooks",
    "hooks": "/hooks",
    "delivery": "/webhooks/1",
    "api": "/docs",
    "health": "/system",
    "settings": "/settings",
}
THEMES: Final[tuple[Literal["light", "dark"], ...]] = ("light", "dark")
SIZES: Final = {"desktop": (1280, 800), "phone": (390, 844)}


async def take(browser: Browser, site: Site) -> None:
    """Take all pictures of *site*."""
    diff = await spoken(site.rig)
    for theme in THEMES:
        for size, (width, height) in SIZES.items():
            context = await browser.new_context(
                color_scheme=theme, viewport={"width": width, "height": height}
            )
            page = await context.new_page()
            await page.goto(f"{site.url}/login")
            await page.screenshot(path=FOLDER / f"login-{size}-{theme}.png")
            await site.sign_in(context)
            for name, path in {**PAGES, "diff": diff}.items():
                await page.goto(site.url + path)
                if name == "overview":
                    await page.locator("#rings canvas").wait_for()
                await page.screenshot(path=FOLDER / f"{name}-{size}-{theme}.png", full_page=True)
            await context.close()


async def main() -> None:
    """Start everything, take them, end everything."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        async with open_site(Path(folder)) as site, async_playwright() as playwright:
            browser = await playwright.chromium.launch(
                executable_path="/usr/bin/chromium", args=["--no-sandbox"]
            )
            await take(browser, site)
            await browser.close()


if __name__ == "__main__":
    asyncio.run(main())
