"""A list of leads goes up in a real browser, which says how far it is."""

from pathlib import Path

from playwright.async_api import Browser

from router.campaigns.leads import MAX_BYTES
from tests.browser.conftest import Site
from tests.router.campaigns.test_workbook import workbook
from tests.router.dashboard.rig import begun

ROWS = [[f"+1312555{number:04}", f"Person {number}"] for number in range(3_000)]


async def test_an_upload_says_how_far_it_is_and_what_is_wrong_with_a_file(
    browser: Browser, site: Site, tmp_path: Path
) -> None:
    large, bad, good = (tmp_path / name for name in ("large.csv", "bad.csv", "summer.xlsx"))
    large.write_bytes(b"phone\n" * (MAX_BYTES // 6 + 1))
    bad.write_bytes(b"name\nAnn\n")
    good.write_bytes(workbook(["phone", "prospect_name"], *ROWS, ["4.91E+11", "Excel"]))
    await begun(site.rig, good.name, leads=2_000)  # another upload of that name
    context = await browser.new_context(locale="en-GB")
    await site.sign_in(context)
    page = await context.new_page()
    said: list[str] = []

    def note(text: str) -> None:
        said.append(text)

    await page.expose_function("told", note)
    await page.goto(f"{site.url}/leads")
    await page.get_by_text("is being imported, 0 of 2000 leads").wait_for()

    await page.set_input_files("input[type=file]", large)
    await page.get_by_role("button", name="Upload").click()
    await page.get_by_text("The file is larger than 10 MiB.").wait_for()

    await page.set_input_files("input[type=file]", bad)
    await page.get_by_role("button", name="Upload").click()
    await page.get_by_text("the first row names the columns").wait_for()

    await page.goto(f"{site.url}/leads")
    await page.evaluate(
        """() => new MutationObserver(() => told(document.getElementById("far").innerText))
          .observe(document.getElementById("far"), {childList: true, subtree: true})"""
    )
    await page.set_input_files("input[type=file]", good)
    await page.get_by_role("button", name="Upload").click()
    await page.wait_for_url("**/leads/summer.xlsx", timeout=60_000)
    report = await page.inner_text("#bad")

    assert any("is being sent" in one and "MiB" in one for one in said)
    assert any("being read" in one for one in said)
    assert any("being kept: 0 / 2,000" in one for one in said)
    assert "the spreadsheet has rounded the number" in report
    await context.close()
