"""`dnc …`: who must not be called. They write to the database themselves."""

import json
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from router.cli.exits import CheckFailed, NotThere
from router.cli.kept import AsJson, bytes_of, e164, settings_for, with_store
from router.principals import DEFAULT_TENANT

if TYPE_CHECKING:
    from router.records.do_not_call import DoNotCall, Entry
    from router.settings import RouterSettings

T = TypeVar("T")
SHOWN_LINES = 20

app = typer.Typer(help="Who must not be called.", no_args_is_help=True)

Number = Annotated[str, typer.Argument(help="As E.164, or as in DEFAULT_REGION.")]
Campaign = Annotated[str, typer.Option("--campaign", help="For this campaign alone, by its id.")]
Tenant = Annotated[str, typer.Option("--tenant", help="Whose list.")]
Everywhere = Annotated[bool, typer.Option("--everywhere", help="For every tenant.")]
Dev = Annotated[bool, typer.Option("--dev", help="Accept short secrets.")]


@app.command("list")
def list_entries(
    clear: Annotated[bool, typer.Option("--clear", help="Print the numbers in full.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    as_json: AsJson = False,
    everywhere: Everywhere = False,
    tenant: Tenant = DEFAULT_TENANT,
    dev: Dev = False,
) -> None:
    """List them, the latest first; numbers are masked."""
    from personas.logs import masked
    from router.api.tables import csv_of
    from router.records.do_not_call import Entry

    found = _with_list(lambda entries: _all(entries, tenant, everywhere), settings_for(dev))
    rows = [asdict(one) if clear else masked(asdict(one)) for one in found]
    if as_json:
        print(json.dumps(rows))
        return
    if as_csv:
        print(csv_of(rows, [field.name for field in fields(Entry)]), end="")
        return
    if not rows:
        print("nobody is on it; `persona-router dnc add NUMBER`", file=sys.stderr)
    for row in rows:
        day = time.strftime("%Y-%m-%d", time.gmtime(row["since"]))
        print(f"{row['number']:<17} {row['scope']:<24} {day} {row['source']}")


@app.command()
def add(
    number: Number,
    reason: Annotated[str, typer.Option("--reason", help="Why, in words.")] = "",
    campaign: Campaign = "",
    everywhere: Everywhere = False,
    tenant: Tenant = DEFAULT_TENANT,
    dev: Dev = False,
) -> None:
    """Have a number not be called."""
    settings = settings_for(dev)
    wanted = e164(number, settings)
    added = _with_list(
        lambda entries: entries.add(
            wanted, source="cli", scope=_scope(campaign, everywhere), reason=reason, tenant=tenant
        ),
        settings,
    )
    print("added" if added else "it was there already")


@app.command()
def remove(
    number: Number,
    campaign: Campaign = "",
    everywhere: Everywhere = False,
    tenant: Tenant = DEFAULT_TENANT,
    dev: Dev = False,
) -> None:
    """Have a number be called again."""
    settings = settings_for(dev)
    wanted = e164(number, settings)
    scope = _scope(campaign, everywhere)
    if not _with_list(lambda entries: entries.remove(wanted, scope=scope, tenant=tenant), settings):
        raise NotThere("it is not on the list; `persona-router dnc list` shows who is")
    print("removed")


@app.command("import")
def import_entries(
    file: Annotated[Path, typer.Argument(help="A CSV file.")],
    campaign: Campaign = "",
    everywhere: Everywhere = False,
    tenant: Tenant = DEFAULT_TENANT,
    dev: Dev = False,
) -> None:
    """Have the numbers of a CSV file not be called; exits with 6 when a line holds none."""
    from router.number_lists import MAX_BYTES, read_numbers

    settings = settings_for(dev)
    raw = bytes_of(file, MAX_BYTES)
    if len(raw) > MAX_BYTES:
        raise CheckFailed(f"the file has more than {MAX_BYTES // 1024 // 1024} MiB; split it")
    found = read_numbers(raw, settings.default_region)
    scope = _scope(campaign, everywhere)
    added = _with_list(
        lambda entries: entries.add_all(found.numbers, source="csv", scope=scope, tenant=tenant),
        settings,
    )
    print(f"imported: {added} added, {len(found.numbers) - added} were there already")
    if found.bad_lines:
        lines = ", ".join(map(str, found.bad_lines[:SHOWN_LINES]))
        more = ", …" if len(found.bad_lines) > SHOWN_LINES else ""
        raise CheckFailed(
            f"no number in {len(found.bad_lines)} lines ({lines}{more}); write E.164, or set "
            "DEFAULT_REGION"
        )


async def _all(entries: "DoNotCall", tenant: str, everywhere: bool) -> "list[Entry]":
    from router.records.do_not_call import EVERYWHERE
    from router.records.pages import MAX_PAGE

    found: list[Entry] = []
    cursor: str | None = None
    while True:
        page = await entries.page(
            tenant, scope=EVERYWHERE if everywhere else None, cursor=cursor, limit=MAX_PAGE
        )
        found += page.rows
        cursor = page.next
        if cursor is None:
            return found


def _with_list(work: Callable[["DoNotCall"], Awaitable[T]], settings: "RouterSettings") -> T:
    from router.records.do_not_call import DoNotCall

    return with_store(settings, lambda store: work(DoNotCall(store, clock=time.time)))


def _scope(campaign: str, everywhere: bool) -> str:
    from router.records.do_not_call import EVERYWHERE, OF_TENANT, campaign_scope

    if campaign and everywhere:
        raise typer.BadParameter("give --campaign or --everywhere")
    if everywhere:
        return EVERYWHERE
    return campaign_scope(campaign) if campaign else OF_TENANT
