"""`leads …`: lists of people to call. They write to the database themselves."""

import json
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from router.cli.exits import NotThere
from router.cli.kept import AsJson, bytes_of, settings_for, with_store
from router.principals import DEFAULT_TENANT

if TYPE_CHECKING:
    from router.campaigns.leads import LeadTable
    from router.db import Store
    from router.records.leads import LeadList, Leads

T = TypeVar("T")
SHOWN_ROWS = 20

app = typer.Typer(help="Lists of people to call.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="The list's name, as `leads list` shows it.")]
Tenant = Annotated[str, typer.Option("--tenant", help="Whose lists.")]
Dev = Annotated[bool, typer.Option("--dev", help="Accept short secrets.")]


@app.command("import")
def import_list(
    file: Annotated[Path, typer.Argument(help="A CSV file, or a workbook (.xlsx).")],
    name: Annotated[str, typer.Option("--name", help="Its name here; default: the file's.")] = "",
    bad: Annotated[Path | None, typer.Option("--bad", help="Write the bad rows there.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Only read it.")] = False,
    select: Annotated[bool, typer.Option("--select", help="Make it the active list.")] = False,
    tenant: Tenant = DEFAULT_TENANT,
    dev: Dev = False,
) -> None:
    """Import a list of leads; its bad rows are reported and left out."""
    from router.campaigns.leads import MAX_BYTES, read_leads, write_bad
    from router.settings import RouterSettings

    raw = bytes_of(file, MAX_BYTES)

    async def add(leads: "Leads") -> "LeadTable":
        with _progress() as told:
            added, table = await leads.add(tenant, name or file.name, raw, told)
        if select:
            await leads.select(tenant, added.name)
        return table

    if check:
        region = RouterSettings.load(router_dev=dev or None).default_region
        with _progress() as told:
            table = read_leads(raw, region, partial(told, "read"))
    else:
        table = _with_leads(add, dev)
    _report(table)
    if bad is not None:
        bad.write_text(write_bad(table), encoding="utf-8-sig", newline="")
    print(f"{'read' if check else 'imported'}: {len(table.leads)} leads, {len(table.bad)} bad rows")


@app.command("list")
def list_lists(as_json: AsJson = False, tenant: Tenant = DEFAULT_TENANT, dev: Dev = False) -> None:
    """List the lists; the active one has a star."""
    found = _with_leads(lambda leads: leads.lists(tenant), dev)
    if as_json:
        print(json.dumps([asdict(one) for one in found]))
        return
    if not found:
        print("there are none yet; `persona-router leads import FILE`", file=sys.stderr)
    for one in found:
        star = "*" if one.active else " "
        print(f"{star} {one.name:<40} {one.leads:>7} leads  {one.bad:>6} bad")


@app.command()
def preview(
    name: Name,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000)] = 10,
    tenant: Tenant = DEFAULT_TENANT,
    dev: Dev = False,
) -> None:
    """Show the first leads of a list."""
    from router.campaigns.leads import write_leads

    async def first(leads: "Leads") -> str:
        found = await _found(leads, tenant, name)
        return write_leads(one.lead for one in await leads.page(found, limit=limit))

    print(_with_leads(first, dev), end="")


@app.command()
def select(name: Name, tenant: Tenant = DEFAULT_TENANT, dev: Dev = False) -> None:
    """Make a list the active one."""
    if not _with_leads(lambda leads: leads.select(tenant, name), dev):
        raise _no_such_list()
    print(f"selected: {name}")


@app.command()
def export(name: Name, tenant: Tenant = DEFAULT_TENANT, dev: Dev = False) -> None:
    """Print a list as CSV, which `leads import` reads again."""
    from router.campaigns.leads import write_leads

    async def everything(leads: "Leads") -> str:
        found = await _found(leads, tenant, name)
        return write_leads(one.lead for one in await leads.all(found))

    print(_with_leads(everything, dev), end="")


@app.command()
def delete(name: Name, tenant: Tenant = DEFAULT_TENANT, dev: Dev = False) -> None:
    """Delete a list with its leads."""
    if not _with_leads(lambda leads: leads.delete(tenant, name), dev):
        raise _no_such_list()
    print(f"deleted: {name}")


@contextmanager
def _progress() -> Iterator[Callable[[str, int], None]]:
    """Show on a terminal how far an import is; elsewhere nothing."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _step, _rows: None
        return
    with console.status("reading …") as status:
        yield lambda step, rows: status.update(f"{rows:,} rows {step}")


def _with_leads(work: Callable[["Leads"], Awaitable[T]], dev: bool) -> T:
    from personas import logs
    from router.lead_files import read_lead_files
    from router.records.leads import Leads

    settings = settings_for(dev)
    logs.configure(log_format="console", level="WARNING")

    async def run(store: "Store") -> T:
        leads = Leads(store, clock=time.time, region=settings.default_region)
        await read_lead_files(leads, settings.leads_csv_path, settings.leads_csv_dir)
        return await work(leads)

    return with_store(settings, run)


async def _found(leads: "Leads", tenant: str, name: str) -> "LeadList":
    found = await leads.find(tenant, name)
    if found is None:
        raise _no_such_list()
    return found


def _no_such_list() -> NotThere:
    return NotThere("there is no such list; `persona-router leads list` shows them")


def _report(table: "LeadTable") -> None:
    from router.campaigns.leads import FIXES

    for one in table.bad[:SHOWN_ROWS]:
        again = f" of row {one.first_row}" if one.first_row else ""
        print(f"row {one.row}: {one.cause}{again}; {FIXES[one.cause]}", file=sys.stderr)
    if len(table.bad) > SHOWN_ROWS:
        counts = Counter(one.cause for one in table.bad)
        said = ", ".join(f"{number} {cause}" for cause, number in counts.most_common())
        print(f"all bad rows: {said}; --bad FILE writes them", file=sys.stderr)
