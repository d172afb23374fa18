"""Random tables of leads go out as CSV and come back."""

import asyncio
import csv
import io
from collections.abc import Callable, Iterable
from typing import Final

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router.campaigns.leads import COLUMNS, Lead, read_leads, write_leads
from router.errors import LeadsRefused
from tests.faults.scenario import Control, Ground, Scenario, Seen, Size
from tests.router.campaigns.test_leads import LEADS

TABLES: Final[dict[Size, int]] = {"quick": 100, "full": 10_000}
CONTROL_TABLES: Final = 300


def unguarded(leads: Iterable[Lead]) -> str:
    """Write a table as many programs do, formulas and all."""
    listed = tuple(leads)
    names = sorted({name for lead in listed for name in lead.variables})
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow((*COLUMNS, *names))
    for lead in listed:
        known = [getattr(lead, name) for name in COLUMNS]
        writer.writerow([*known, *map(lead.variables.get, names)])
    return text.getvalue()


def differing(tables: int, write: Callable[[Iterable[Lead]], str]) -> tuple[int, int, int]:
    """Write and read; return how many tables there were, differ, and hold a formula."""
    seen = differ = formulas = 0

    @settings(
        max_examples=tables,
        suppress_health_check=list(HealthCheck),
        database=None,
        deadline=None,  # of one table: a busy machine is no fault
    )
    @given(st.lists(LEADS, min_size=1, max_size=8, unique_by=lambda lead: lead.phone))
    def check(leads: list[Lead]) -> None:
        nonlocal seen, differ, formulas
        seen += 1
        text = write(leads)
        cells = [cell for row in csv.reader(io.StringIO(text, newline="")) for cell in row]
        formulas += any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in cells)
        try:
            table = read_leads(text.encode("utf-8-sig"))
        except LeadsRefused:
            differ += 1
            return
        differ += [lead for _, lead in table.leads] != leads or bool(table.bad)

    check()
    return seen, differ, formulas


async def tried(tables: int, write: Callable[[Iterable[Lead]], str]) -> Seen:
    """Try it with so many."""
    seen, differ, formulas = await asyncio.to_thread(differing, tables, write)
    return Seen(
        holds=seen >= tables and not (differ or formulas),
        figures=f"{seen:,} tables: {differ:,} came back otherwise, {formulas:,} with a formula",
    )


async def run(ground: Ground) -> Seen:
    """Write cells as an export does."""
    return await tried(TABLES[ground.size], write_leads)


async def plain(_: Ground) -> Seen:
    """Write cells as they are."""
    return await tried(CONTROL_TABLES, unguarded)


SCENARIOS = (
    Scenario(
        name="lead_tables",
        fault="10,000 random tables of leads: formulas, quotes, line breaks, any letters",
        must="import(export(x)) == x, and no cell is a formula",
        run=run,
        quick=False,  # tests/router/campaigns/test_leads.py has the small size
        controls=(Control(name="plain", bad="writes cells as they are", run=plain),),
    ),
)
