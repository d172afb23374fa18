"""What a large list of leads costs: its import, its memory, the pages that show it, a preview."""

import asyncio
import resource
import time
from pathlib import Path

from router.db import Store
from router.records.leads import Leads
from tests.bench.report import Figure, Say
from tests.bench.rows import WANTED_MS, p95
from tests.router.api.rig import Rig, open_rig

LEADS = 50_000
TIMES = 5
WARM = 2  # imports until all is loaded and allocated
WANTED_S = 60.0
WANTED = 1.1
_MIB = 1024 * 1024
LAUNCH = "/campaigns/default/launch?list=leads.csv"
PAGES = (
    "/leads",
    "/leads/leads.csv?after=25000",
    "/campaigns/default",
    "/dialer?list=leads.csv&after=25000",
    LAUNCH,
)
ENOUGH_S = 600.0  # for a launch to be counted
LOOK_S = 0.5


def _file(first: int) -> bytes:
    rows = "".join(
        f"+1312{first + number:07},Person {number},Company {number % 900},{number}@example.org,"
        f"America/Chicago,calls,2026-01-02,form {number % 7}\n"
        for number in range(LEADS)
    )
    names = "phone,prospect_name,company_name,email,timezone,consent,consent_at,consent_source"
    return f"{names}\n{rows}".encode()


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()


async def measure(folder: Path, say: Say) -> list[Figure]:
    """Measure all of it."""
    return [*await _imports(folder, say), *await _pages(folder / "pages", say)]


async def _pages(folder: Path, say: Say) -> list[Figure]:
    """Ask for every page that shows a list, the launch preview while it is counted and after."""
    async with open_rig(folder) as rig:
        await rig.services.leads.add("default", "leads.csv", _file(2_000_000))
        await rig.services.leads.select("default", "leads.csv")
        headers = await rig.token("operator")
        began = time.monotonic()
        taken = {f"{LAUNCH} while it is counted": (await p95(rig, LAUNCH, headers)).ms}
        await _whole(rig, headers, began + ENOUGH_S)
        counted_s = time.monotonic() - began
        for path in PAGES:
            taken[path] = (await p95(rig, path, headers)).ms
    for path, took in taken.items():
        say(f"{LEADS:,} leads: {path} {took:.0f} ms")
    say(f"launch counted in {counted_s:.0f} s")
    return [
        Figure(
            f"pages with {LEADS:,} leads, p95; the launch was counted in {counted_s:.0f} s",
            ", ".join(f"`{path}`: {took:.0f} ms" for path, took in taken.items()),
            f"under {WANTED_MS:g} ms",
            met=max(taken.values()) < WANTED_MS,
        )
    ]


async def _whole(rig: Rig, headers: dict[str, str], until: float) -> None:
    path = "/api/campaigns/default/preview?list=leads.csv"
    async with rig.client() as client:
        while not (await client.get(path, headers=headers)).json().get("whole"):  # or a problem
            if time.monotonic() > until:
                raise AssertionError("the launch is not counted yet")
            await asyncio.sleep(LOOK_S)


async def _imports(folder: Path, say: Say) -> list[Figure]:
    """Import a list in place of itself, a few times."""
    store = await Store(f"sqlite:///{folder / 'leads.db'}").open()
    leads = Leads(store, clock=time.time, region="US")
    took_s: list[float] = []
    resident: list[int] = []
    for turn in range(TIMES):
        began = time.monotonic()
        added, _ = await leads.add("default", "leads.csv", _file(2_000_000 + turn))
        took_s.append(time.monotonic() - began)
        resident.append(_resident())
        say(f"{added.leads} leads in {took_s[-1]:.1f} s, {resident[-1] / _MIB:.0f} MiB")
    await store.aclose()
    early, late = resident[WARM - 1], resident[-1]
    return [
        Figure(
            f"import of {LEADS:,} leads",
            f"{max(took_s):.1f} s at most of {len(took_s)}",
            f"under {WANTED_S:g} s",
            met=max(took_s) < WANTED_S,
        ),
        Figure(
            f"memory after {TIMES} such imports, against after {WARM}",
            f"{late / _MIB:.0f} MiB against {early / _MIB:.0f} MiB: {late / early:.2f}x",
            f"flat: at most {WANTED:g}x",
            met=late / early <= WANTED,
        ),
    ]
