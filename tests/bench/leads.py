"""How long a large list of leads takes to import, and how much memory it leaves behind."""

import resource
import time
from pathlib import Path

from router.db import Store
from router.records.leads import Leads
from tests.bench.report import Figure, Say

LEADS = 50_000
TIMES = 5
WARM = 2  # imports until all is loaded and allocated
WANTED_S = 60.0
WANTED = 1.1
_MIB = 1024 * 1024


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
