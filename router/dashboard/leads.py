"""Lists of leads: upload with a report, preview, the active one, delete."""

import csv
import io
from collections import Counter
from typing import Annotated, Any, Final
from urllib.parse import quote

from pydantic import Field
from starlette.responses import Response

from router.api.calls import WhichNumbers
from router.api.leads import add_list, cells_of, delete_list, find_list, select_list
from router.campaigns import workbook
from router.campaigns.leads import FIXES, MAX_BYTES
from router.cells import unguarded
from router.dashboard.pages import Visit, to
from router.errors import RequestRefused

ROWS: Final = 50
BAD_ROWS: Final = 50
Position = Annotated[int, Field(ge=0, le=10_000_000)]


class WhichRows(WhichNumbers):
    """Which leads of a list."""

    after: Position = 0


async def list_lists(visit: Visit) -> Response:
    """Show all lists, those that are being written, and the form to upload one."""
    leads = visit.services.leads
    return visit.render(
        "leads.html",
        imports=await leads.imports(visit.tenant),
        rows=await leads.lists(visit.tenant),
        max_bytes=MAX_BYTES,
        workbooks=workbook.is_there(),
    )


async def upload(visit: Visit) -> Response:
    """Keep a file, and show what has become of it."""
    if visit.sent is None or not visit.sent.name:
        raise RequestRefused("no_file", status=422, fix="choose a file")
    added, _ = await add_list(visit, visit.sent.name, visit.sent.raw)
    if visit.form.get("select"):
        await select_list(visit, added.name)
    return _to(added.name)


async def show(visit: Visit) -> Response:
    """Show a list: its leads, and the rows that are none."""
    asked: WhichRows = visit.query
    found = await find_list(visit, visit.path("name"))
    page = await visit.services.leads.page(found, after=asked.after, limit=ROWS)
    rows = [
        {"position": one.position, "row": one.row, "cells": cells_of(one.lead, found.columns)}
        for one in page
    ]
    clear = asked.numbers == "clear"
    bad = await visit.services.leads.bad_csv(visit.tenant, found.name) if found.bad else ""
    report, causes = _report(bad or "")
    shown = await visit.shown({"rows": rows, "report": report}, clear=clear)
    return visit.render(
        "lead_list.html",
        found=found,
        rows=shown["rows"],
        clear=clear,
        after=asked.after,
        before=max(0, asked.after - ROWS),
        last=page[-1].position if page else asked.after,
        report=shown["report"],
        causes=causes.most_common(),
        fixes=FIXES,
    )


async def select(visit: Visit) -> Response:
    """Make it the active one."""
    await select_list(visit, visit.path("name"))
    return _to(visit.path("name"))


async def delete(visit: Visit) -> Response:
    """Delete it, if it was said twice."""
    name = visit.path("name")
    if not visit.form.get("sure"):
        raise RequestRefused("not_sure", status=422, fix="tick the box beside the button")
    await delete_list(visit, name)
    return to("/leads")


def _report(bad_csv: str) -> tuple[list[dict[str, Any]], Counter[str]]:
    """Read the first bad rows, and count the causes of all."""
    rows: list[dict[str, Any]] = []
    causes: Counter[str] = Counter()
    for one in csv.reader(io.StringIO(bad_csv, newline="")):
        row, cause = one[-3:-1]
        if cause not in FIXES:
            continue  # the columns' names
        causes[cause] += 1
        if len(rows) < BAD_ROWS:
            cells = [unguarded(cell) for cell in one[:-3]]
            rows.append({"row": int(row), "cause": cause, "cells": cells})
    return rows, causes


def _to(name: str) -> Response:
    return to(f"/leads/{quote(name, safe='')}")
