"""`consent …`: what people have agreed to. They write to the database themselves."""

import json
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from router.cli.kept import AsJson, bytes_of, e164, settings_for, with_store
from router.principals import DEFAULT_TENANT

if TYPE_CHECKING:
    from router.campaigns.consent import Agreement
    from router.records.consents import Consents
    from router.settings import RouterSettings

T = TypeVar("T")

app = typer.Typer(help="What people have agreed to.", no_args_is_help=True)

Number = Annotated[str, typer.Argument(help="As E.164, or as in DEFAULT_REGION.")]
What = Annotated[str, typer.Option("--what", help="What it is that they agree to.")]
Tenant = Annotated[str, typer.Option("--tenant", help="Whose people.")]
Dev = Annotated[bool, typer.Option("--dev", help="Accept short secrets.")]


@app.command("list")
def list_agreements(
    clear: Annotated[bool, typer.Option("--clear", help="Print the numbers in full.")] = False,
    as_json: AsJson = False,
    tenant: Tenant = DEFAULT_TENANT,
    dev: Dev = False,
) -> None:
    """List them, the latest first; numbers are masked."""
    from personas.logs import masked

    found = _with_consents(lambda kept: _all(kept, tenant), settings_for(dev))
    if as_json:
        rows = [asdict(one) for one in found]
        print(json.dumps(rows if clear else masked(rows)))
        return
    if not found:
        print("there are none; `persona-router consent add NUMBER`", file=sys.stderr)
    for one in found:
        row = asdict(one) if clear else masked(asdict(one))
        state = "stands" if one.stands else "withdrawn"
        print(f"{row['number']:<17} {one.what:<12} {state:<10} {one.source or ''}")


@app.command()
def add(
    number: Number,
    source: Annotated[str, typer.Option("--source", help="Where it was given.")],
    what: What = "calls",
    tenant: Tenant = DEFAULT_TENANT,
    dev: Dev = False,
) -> None:
    """Keep that somebody has agreed, now."""
    from router.campaigns.consent import Consent
    from router.records.consents import Given

    settings = settings_for(dev)
    given = Given(e164(number, settings), Consent(what.lower(), time.time(), source))
    _with_consents(lambda kept: kept.give(tenant, [given], via="cli"), settings)
    print("added")


@app.command()
def withdraw(
    number: Number, what: What = "calls", tenant: Tenant = DEFAULT_TENANT, dev: Dev = False
) -> None:
    """Note that somebody takes it back, now; it counts for lists of leads as well."""
    settings = settings_for(dev)
    wanted = e164(number, settings)
    _with_consents(lambda kept: kept.withdraw(tenant, wanted, what, via="cli"), settings)
    print("withdrawn")


@app.command("import")
def import_agreements(
    file: Annotated[Path, typer.Argument(help="A list with the columns of consent.")],
    tenant: Tenant = DEFAULT_TENANT,
    dev: Dev = False,
) -> None:
    """Keep the agreements of a file with the columns that a list of leads has."""
    from router.campaigns.consent import consents_of
    from router.campaigns.leads import MAX_BYTES, read_leads
    from router.records.consents import Given

    settings = settings_for(dev)
    raw = bytes_of(file, MAX_BYTES)
    table = read_leads(raw, settings.default_region)
    given = [
        Given(lead.phone, one) for _, lead in table.leads for one in consents_of(lead.variables)
    ]
    _with_consents(lambda kept: kept.give(tenant, given, via="csv"), settings)
    print(f"imported: {len(given)} agreements")
    if table.bad:
        print(f"{len(table.bad)} rows without a number", file=sys.stderr)


async def _all(kept: "Consents", tenant: str) -> "list[Agreement]":
    return [one for known in (await kept.by_number(tenant)).values() for one in known]


def _with_consents(work: Callable[["Consents"], Awaitable[T]], settings: "RouterSettings") -> T:
    from router.records.consents import Consents

    return with_store(settings, lambda store: work(Consents(store, clock=time.time)))
